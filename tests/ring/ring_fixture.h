/* The ring's host and an honest shim in one process, and a client that says whatever a test wants
 * it to. One thread turns both loops. */
#ifndef HF_TESTS_RING_RING_FIXTURE_H
#define HF_TESTS_RING_RING_FIXTURE_H

#include <stdbool.h>
#include <stdint.h>

#include "gateway/volumed/ring_host.h"
#include "target/ring_memory.h"
#include "tests/ring/memory_core.h"
#include "tests/ring/shim_loop.h"

#define HONEST_VOLUME  0xa1u
#define HOSTILE_VOLUME 0xb2u
#define VOLUME_BYTES   (16u << 20)
#define TIER_BYTES     (8u << 20) /* of two rings together, unless a test says otherwise */

struct hostile {
	int socket;
	struct hf_shim_memory memory;
	uint8_t uuid[16];
	uint32_t handle; /* of HOSTILE_VOLUME */
	uint64_t next_id;
};

extern uint64_t ring_fixture_tier_bytes; /* for the next host */

/* Host, core and honest shim, its volume bound. Aborts on failure. */
void ring_fixture_open(void);
void ring_fixture_close(void);
/* Turns both loops until nothing is ready. */
void ring_fixture_turn(void);
/* The same until `condition` holds; false after five seconds. */
bool ring_fixture_wait(bool (*condition)(void *context), void *context);
struct hf_core *ring_fixture_core(void);
struct hf_ring_host *ring_fixture_host(void);
/* The honest one; its LUN has HONEST_VOLUME. */
struct hf_shim *ring_fixture_shim(void);
struct hf_shim_lun *ring_fixture_lun(void);
uv_loop_t *ring_fixture_loop(void);
const char *ring_fixture_folder(void);
/* The honest shim writes a page and reads it back. */
bool ring_fixture_honest_is_served(void);

/* For cmocka: the teardown fails if the honest ring is not served, a descriptor that was handed
 * over is still open, or another ring is still there. */
int ring_fixture_setup(void **state);
int ring_fixture_teardown(void **state);

void hostile_connect(struct hostile *hostile);
void hostile_send(struct hostile *hostile, const void *message, size_t length, const int *fds,
		  unsigned fd_count);
/* A greeting without fault, on a connection. */
void hostile_send_greeting(struct hostile *hostile);
/* Connects and greets. */
void hostile_greet(struct hostile *hostile);
/* A greeting and HOSTILE_VOLUME bound. */
void hostile_open(struct hostile *hostile);
void hostile_tell(struct hostile *hostile, uint32_t type, uint64_t volume);
/* The next message for it, within five seconds; false if there is none. */
bool hostile_hears(struct hostile *hostile, struct hf_ring_message *message);
/* volumed ends the connection, within five seconds. */
bool hostile_is_dropped(struct hostile *hostile);
/* Submits one descriptor (its id is chosen if 0) and waits for its answer; HF_ECONN if volumed
 * hangs up instead. */
int hostile_asks(struct hostile *hostile, struct hf_ring_submission submission);
void hostile_close(struct hostile *hostile);

#endif
