/* holdfast-provider: reads its configuration, runs the loop until SIGTERM. */
#include <stdlib.h>
#include <sys/resource.h>

#include "base/log.h"
#include "net/daemon.h"
#include "provider/control/drain.h"
#include "provider/control/process.h"

/* A connection is a file; the soft limit of a shell is far below what may connect. */
static void raise_file_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

static void stop(void *context)
{
	hf_drain_begin(context);
}

static int run(struct hf_control *control)
{
	struct hf_errmsg message = {""};
	struct hf_daemon_signals signals;
	uv_loop_t loop;
	int err;

	raise_file_limit();
	uv_loop_init(&loop);
	err = hf_control_start(control, &loop, &message);
	if (err) {
		hf_error("%s", message.text);
		hf_control_stop(control);
	} else {
		hf_daemon_signals_open(&loop, &signals, stop, control);
		hf_info("ready");
	}
	uv_run(&loop, UV_RUN_DEFAULT);
	if (!err) {
		hf_daemon_signals_close(&signals);
		uv_run(&loop, UV_RUN_DEFAULT);
	}
	hf_control_free(control);
	uv_loop_close(&loop);
	return err ? err : control->failed;
}

static int check(void *config, struct hf_errmsg *message)
{
	return hf_control_config_check(config, message);
}

int main(int argc, char **argv)
{
	static struct hf_control control;
	const struct hf_daemon_option options[] = {
		{"--new-incarnation",
		 "after the registry was restored from a backup: documents count anew, above all "
		 "that were sent",
		 &control.new_incarnation},
		{NULL},
	};
	const struct hf_daemon daemon = {
		.name = "holdfast-provider",
		.purpose = "Holds the gateways' connections and keeps their desired state.",
		.keys = hf_control_keys,
		.options = options,
		.check = check,
	};
	int status = hf_daemon_start(&daemon, argc, argv, &control.config);

	if (status < 0)
		status = hf_err_exit_status(run(&control));
	hf_conf_free(hf_control_keys, &control.config);
	return status;
}
