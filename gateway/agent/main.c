/* holdfast-agent: the control plane of the gateway. Reads its configuration, runs agent.c until
 * SIGTERM or SIGINT. */
#include "base/log.h"
#include "gateway/agent/agent.h"
#include "net/daemon.h"

struct program {
	uv_loop_t loop;
	struct hf_daemon_signals signals;
	struct hf_agent *agent;
};

static void on_agent_closed(void *context)
{
	struct program *program = context;

	hf_daemon_signals_close(&program->signals);
}

static void on_stop(void *context)
{
	struct program *program = context;

	if (program->agent) /* else it could not start, and the loop is about to end */
		hf_agent_close(program->agent, on_agent_closed, program);
}

static int run(const struct hf_agent_config *config)
{
	static struct program program;
	struct hf_errmsg message = {""};
	int err;

	uv_loop_init(&program.loop);
	err = hf_daemon_signals_open(&program.loop, &program.signals, on_stop, &program);
	if (!err)
		err = hf_agent_open(&program.loop, config, &program.agent, &message);
	if (err)
		hf_error("%s", message.text);
	uv_run(&program.loop, UV_RUN_DEFAULT);
	uv_loop_close(&program.loop);
	return err;
}

static int check(void *config, struct hf_errmsg *message)
{
	return hf_agent_check_config(config, message);
}

int main(int argc, char **argv)
{
	static const struct hf_daemon daemon = {
		.name = "holdfast-agent",
		.purpose = "Keeps the management connection and makes the gateway what it says.",
		.keys = hf_agent_keys,
		.check = check,
	};
	struct hf_agent_config config = {0};
	int status = hf_daemon_start(&daemon, argc, argv, &config);

	if (status < 0)
		status = hf_err_exit_status(run(&config));
	hf_conf_free(hf_agent_keys, &config);
	return status;
}
