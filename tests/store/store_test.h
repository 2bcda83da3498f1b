/* Stores in tests: opens the one that is asked for and turns its operations into calls that wait,
 * by running the loop. Whoever links this must call store_test_open first. */
#ifndef HF_TESTS_STORE_STORE_TEST_H
#define HF_TESTS_STORE_STORE_TEST_H

#include "remote/store.h"

struct store_test {
	uv_loop_t loop;
	struct hf_store *store;
	char folder[64]; /* of a directory store that was made for the test, else "" */
};

/* "dir": a directory store in a folder of its own. "env": what HF_TEST_STORE_URL, _ACCESS_KEY,
 * _SECRET_KEY and _CA name. Ends the program when it cannot. */
void store_test_open(struct store_test *test, const char *kind);
/* The same store's configuration from the environment, for tests that open their own. */
struct hf_store_config store_test_env_config(void);
/* Closes, checks that nothing is left on the loop, removes the folder. */
void store_test_close(struct store_test *test);

/* Each returns the status; `deadline_ms` 0 is the store's default. */
int store_test_put(struct store_test *test, const char *name, const void *data, size_t length,
		   bool if_absent, uint64_t deadline_ms);
int store_test_get(struct store_test *test, const char *name, uint64_t start, size_t length,
		   void **body, size_t *body_length, uint64_t deadline_ms);
int store_test_delete(struct store_test *test, const char *name);
/* Fills `io`; the caller frees io->names. */
int store_test_list(struct store_test *test, struct hf_store_io *io, const char *prefix,
		    const char *after, unsigned limit);
/* Runs the loop until *flag or 60 s have passed; false when they have. */
bool store_test_wait(struct store_test *test, const bool *flag);
void store_test_name(struct hf_store_io *io, const char *name);

#endif
