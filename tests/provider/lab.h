/* A provider for tests: the real holdfast-signer and holdfast-provider in a folder of their own,
 * and questions to them over the administrator's socket, on the test's loop. Everything waits for a
 * condition with a deadline; nothing sleeps. */
#ifndef HF_TESTS_PROVIDER_LAB_H
#define HF_TESTS_PROVIDER_LAB_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

#include "net/local.h"
#include "proto/provider.pb-c.h"

struct lab {
	uv_loop_t loop;
	uv_timer_t tick; /* so that a wait notices its deadline */
	char folder[64];
	pid_t signer, provider;
	uint16_t channel_port, activation_port;
	struct hf_local_client *client;
};

struct lab_answer {
	bool done;
	int err;
	char reason[512];
	json_t *json; /* dropped by lab_forget */
};

/* Path of a provider to run instead of the one that is shipped; NULL: that one. */
extern const char *lab_provider_program;
/* Starts both; `extra` is appended to the provider's configuration. */
void lab_up(struct lab *lab, const char *extra);
/* Stops both (exit status 0 is asserted) and removes the folder. */
void lab_down(struct lab *lab);
void lab_start_signer(struct lab *lab);
void lab_start_provider(struct lab *lab);
void lab_start_provider_with(struct lab *lab, const char *option);
/* Waits until the provider listens and learns its ports. */
void lab_wait_ready(struct lab *lab);
void lab_stop(pid_t *pid, int signal);

/* Runs the loop until `condition` is true; fails the test after 15 s. */
void lab_until(struct lab *lab, bool (*condition)(void *context), void *context, const char *what);
/* Turns the loop for a moment's worth of events, for "nothing happens" after a known event. */
void lab_turn(struct lab *lab);

/* Asks without waiting; the answer comes while the loop runs. */
void lab_ask(struct lab *lab, const Holdfast__AdminRequest *request, struct lab_answer *answer);
void lab_wait_answer(struct lab *lab, struct lab_answer *answer);
void lab_forget(struct lab_answer *answer);

/* An administrator has read this key from a gateway's console; part of lab_activate. */
void lab_approve(struct lab *lab, const char *key);
/* Asked and answered. */
void lab_activate(struct lab *lab, const char *key, const char *name, struct lab_answer *answer);
void lab_confirm(struct lab *lab, const char *gateway, struct lab_answer *answer);
void lab_show_gateway(struct lab *lab, const char *gateway, struct lab_answer *answer);
void lab_show_volume(struct lab *lab, const char *volume, struct lab_answer *answer);
void lab_info(struct lab *lab, struct lab_answer *answer);
/* Fields of the answer's object. */
const char *lab_text(const struct lab_answer *answer, const char *key);
uint64_t lab_number(const struct lab_answer *answer, const char *key);

#endif
