/* See agent_child.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/agent/agent_child.h"

static void write_config(struct agent_child *child)
{
	FILE *file;

	snprintf(child->config, sizeof child->config, "%s/agent.conf", child->gateway.folder);
	snprintf(child->state_dir, sizeof child->state_dir, "%s/state", child->gateway.folder);
	file = fopen(child->config, "we");
	assert_non_null(file);
	fprintf(file, "run_dir = %s\nstate_dir = %s\nactivation = %s\nportal = 127.0.0.1:3999\n",
		child->gateway.folder, child->state_dir, child->provider.activation_address);
	assert_int_equal(fclose(file), 0);
}

static void run_agent(const struct agent_child *child, const char *kill_at)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (kill_at)
		setenv("HOLDFAST_KILL_AT", kill_at, 1);
	setenv("HOLDFAST_LOG", "error", 0);
	execl(HF_AGENT_TO_KILL, "holdfast-agent", "--config", child->config, NULL);
	_exit(127);
}

bool agent_child_died(struct agent_child *child)
{
	int status;

	if (child->pid && waitpid(child->pid, &status, WNOHANG) == child->pid)
		child->pid = 0;
	return child->pid == 0;
}

static bool is_held(const struct fake_link *link)
{
	return link->stream && link->session && hf_session_state(link->session) == HF_SESSION_HELD;
}

void agent_child_start(struct agent_child *child, const char *kill_at)
{
	unsigned before = child->provider.management.connections;

	assert_int_equal(child->pid, 0);
	child->pid = fork();
	assert_true(child->pid >= 0);
	if (child->pid == 0)
		run_agent(child, kill_at);
	RUN_UNTIL(&child->loop, (child->provider.management.connections > before &&
				 is_held(&child->provider.management)) ||
					agent_child_died(child));
}

void agent_child_kill(struct agent_child *child)
{
	if (!child->pid)
		return;
	kill(child->pid, SIGKILL);
	waitpid(child->pid, NULL, 0);
	child->pid = 0;
}

int agent_child_answer(struct agent_child *child, uint64_t request)
{
	RUN_UNTIL(&child->loop, child->provider.answered == request);
	return child->provider.answer_error;
}

static void activate(struct agent_child *child)
{
	struct fake_link *link = &child->provider.activation;

	child->pid = fork();
	assert_true(child->pid >= 0);
	if (child->pid == 0)
		run_agent(child, NULL);
	RUN_UNTIL(&child->loop,
		  link->session && hf_session_state(link->session) == HF_SESSION_OFFERED);
	fake_provider_claim(&child->provider);
	fake_provider_issue(&child->provider, NULL);
	RUN_UNTIL(&child->loop, is_held(&child->provider.management));
}

void agent_child_open(struct agent_child *child)
{
	signal(SIGPIPE, SIG_IGN);
	memset(child, 0, sizeof *child);
	test_loop_open(&child->loop);
	fake_open(&child->gateway, &child->loop);
	fake_provider_open(&child->provider, &child->loop);
	write_config(child);
	activate(child);
}

void agent_child_close(struct agent_child *child)
{
	agent_child_kill(child);
	fake_provider_close(&child->provider);
	fake_close(&child->gateway);
	test_loop_close(&child->loop);
}

int agent_child_setup(void **state)
{
	struct agent_child *child = calloc(1, sizeof *child);

	assert_non_null(child);
	agent_child_open(child);
	*state = child;
	return 0;
}

int agent_child_teardown(void **state)
{
	agent_child_close(*state);
	free(*state);
	return 0;
}
