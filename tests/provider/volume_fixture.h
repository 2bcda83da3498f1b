/* What the tests on volumes share: a lab with an active gateway "gw", and the administrator's
 * questions about volumes. */
#ifndef HF_TESTS_PROVIDER_VOLUME_FIXTURE_H
#define HF_TESTS_PROVIDER_VOLUME_FIXTURE_H

#include "tests/provider/test_gateway.h"

#define VOLUME_BYTES (1ull << 30)

extern struct lab lab;
extern struct test_gateway gw, other; /* `gw` has joined as "gw", `other` has not */

int volume_set_up(void **state);
int volume_tear_down(void **state);
#define VOLUME_TEST(name) cmocka_unit_test_setup_teardown(name, volume_set_up, volume_tear_down)

/* Asked; the answer comes while the loop runs. */
void ask_create(const char *gateway, const char *name, uint32_t wait_ms, struct lab_answer *answer);
void ask_detach(const char *volume, uint32_t wait_ms, struct lab_answer *answer);
void ask_confirm(const char *gateway, struct lab_answer *answer);
/* Asked and answered (waiting 10 s for the state, where not said otherwise); the error. */
int create(const char *gateway, const char *name, uint32_t wait_ms);
int change(int kind, const char *volume, const char *gateway, bool force, uint32_t wait_ms,
	   struct lab_answer *answer);
int attach(const char *volume, const char *gateway);
int detach(const char *volume);
int remove_volume(const char *volume, bool force);

/* Waits until the volume is shown with this status. */
void expect_status(const char *volume, const char *status);
/* Waits until gw's document has at least so many entries. */
void wait_entries(size_t volumes, size_t tombstones);
/* Condition on a gateway: its one volume's objects are known to exist. */
bool is_created(void *gateway);
/* Condition: gw's newest document is signed. */
bool all_signed(void *context);

#endif
