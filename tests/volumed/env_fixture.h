/* A libuv loop with an environment on it and one file as its disk, for tests of env_*.c. */
#ifndef HF_TESTS_VOLUMED_ENV_FIXTURE_H
#define HF_TESTS_VOLUMED_ENV_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "gateway/volumed/env_uv.h"

#define FIXTURE_DISK_BYTES (4u << 20)

struct fixture {
	uv_loop_t loop;
	struct hf_env_uv *uv;
	struct hf_env *env;
	char directory[64];
	int fd;
	bool closed;
	pthread_t thread; /* the loop's */
};

/* cmocka set-up and tear-down; the state is the fixture. Tear-down closes the environment if the
 * test did not, and requires that nothing is left in the loop. */
int fixture_setup(void **state);
int fixture_teardown(void **state);
/* With the given file (NULL: a fresh one in the directory) as the disk. */
void fixture_open(struct fixture *fixture, const char *path, uint64_t size_bytes);
void fixture_close(struct fixture *fixture);
/* Runs the loop until *done reaches `wanted`; fails the test after 20 s. */
void fixture_run(struct fixture *fixture, const unsigned *done, unsigned wanted);

#endif
