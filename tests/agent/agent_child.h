/* The real agent as a process of its own, between stand-ins of its provider, broker and volumed in
 * the test: so that it can be killed at any point and started again on the same state. */
#ifndef HF_TESTS_AGENT_AGENT_CHILD_H
#define HF_TESTS_AGENT_AGENT_CHILD_H

#include <sys/types.h>

#include "tests/agent/fake_gateway.h"
#include "tests/agent/fake_provider.h"

struct agent_child {
	struct test_loop loop;
	struct fake_gateway gateway;
	struct fake_provider provider;
	char config[128], state_dir[96];
	pid_t pid; /* 0: not running */
};

/* Starts the stand-ins, writes the configuration, starts the agent, activates it, waits until it is
 * held. */
void agent_child_open(struct agent_child *child);
void agent_child_close(struct agent_child *child);
/* The same for a test: *state is the child. */
int agent_child_setup(void **state);
int agent_child_teardown(void **state);
/* `kill_at`: "function:before|after:count", where it kills itself; NULL: nowhere. Waits for its
 * connection to be held unless it dies before. */
void agent_child_start(struct agent_child *child, const char *kill_at);
/* SIGKILL, and waits for its end. */
void agent_child_kill(struct agent_child *child);
/* True once it has ended by itself; then `pid` is 0. */
bool agent_child_died(struct agent_child *child);
/* Waits for the answer to this request; its error. */
int agent_child_answer(struct agent_child *child, uint64_t request);

#endif
