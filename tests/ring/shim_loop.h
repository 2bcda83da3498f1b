/* A loop for the ring's client in tests: epoll, and nothing else. */
#ifndef HF_TESTS_RING_SHIM_LOOP_H
#define HF_TESTS_RING_SHIM_LOOP_H

#include <stdbool.h>

#include "target/ring_client.h"

extern const struct hf_shim_loop shim_loop;

/* Handles what is ready, waiting up to `wait_ms` for something. */
void shim_loop_turn(int wait_ms);
/* Forgets every descriptor, after a fork or hf_shim_abandon. */
void shim_loop_reset(void);

#endif
