/* Stand-ins of the broker (with a tgtd behind it) and of volumed, on the test's own loop: they keep
 * what they are told and write down in which order. Only for unit tests of the agent; the tests
 * that are end to end run the real ones. */
#ifndef HF_TESTS_AGENT_FAKE_GATEWAY_H
#define HF_TESTS_AGENT_FAKE_GATEWAY_H

#include "net/local.h"
#include "proto/local.pb-c.h"
#include "tests/net/loop.h"

#define FAKE_MAX 8u

struct fake_target {
	char iqn[64];
	uint64_t volume; /* 0: no LUN */
	uint32_t lun;
	char initiators[4][64], addresses[4][64];
	size_t initiator_count, address_count;
	char chap_user[32], chap_secret[32];
};

struct fake_volume {
	uint64_t volume, attach_epoch;
	uint32_t state;
	uint8_t wrap_key[32];
};

struct fake_gateway {
	struct test_loop *loop;
	char folder[64];
	struct hf_local_server *broker, *volumed;
	char log[4096]; /* changes in order, "; " between */
	/* tgtd */
	struct fake_target targets[FAKE_MAX];
	size_t target_count;
	char portals[4][32];
	size_t portal_count;
	uint8_t boot[4];
	/* volumed */
	struct fake_volume volumes[FAKE_MAX];
	size_t volume_count;
	uint64_t pid;
	char store_url[64], store_secret[32];
	/* Effects of one-shot actions, counted here and nowhere else. */
	unsigned tgtd_restarts, volumed_restarts;
	/* Faults: this many of these requests fail. */
	unsigned fail_add_lun;
	int fail_attach_error;
	uint64_t fail_attach_volume;
	const char *broker_name; /* of its socket */
	char *alarm;             /* volumed's only one, or NULL */
	unsigned closing;
};

void fake_open(struct fake_gateway *fake, struct test_loop *loop);
/* Another tgtd of the same gateway, in the first one's folder: only its broker, `broker-2.sock`. */
void fake_open_second(struct fake_gateway *second, const struct fake_gateway *first);
void fake_close(struct fake_gateway *fake);
void fake_start_broker(struct fake_gateway *fake);
void fake_stop_broker(struct fake_gateway *fake);
void fake_start_volumed(struct fake_gateway *fake);
void fake_stop_volumed(struct fake_gateway *fake);
/* A new tgtd: empty, with its throw-away portal. */
void fake_restart_tgtd(struct fake_gateway *fake);
struct fake_target *fake_target(struct fake_gateway *fake, const char *iqn);
struct fake_volume *fake_volume(struct fake_gateway *fake, uint64_t volume);
bool fake_portal(const struct fake_gateway *fake, const char *portal);

#endif
