/* holdfast-broker: the only process that speaks to tgtd's management socket, under tgtd's uid, and
 * only what proto/local.proto names. Main thread: the loop. */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"
#include "gateway/broker/service.h"
#include "net/daemon.h"

struct config {
	char *run_dir, *tgt_socket, *agent_uid;
};

static const struct hf_conf_key keys[] = {
	{"run_dir", HF_CONF_TEXT, offsetof(struct config, run_dir), NULL,
	 "folder of the sockets; broker.sock is made there"},
	{"tgt_socket", HF_CONF_TEXT, offsetof(struct config, tgt_socket), NULL,
	 "tgtd's management socket, with its control number: PATH.N"},
	{"agent_uid", HF_CONF_TEXT, offsetof(struct config, agent_uid), "",
	 "uid that may ask beside root and our own"},
	{NULL, HF_CONF_TEXT, 0, NULL, NULL},
};

struct broker {
	uv_loop_t loop;
	struct hf_daemon_signals signals;
	struct hf_service *service;
};

static void service_closed(void *context)
{
	struct broker *broker = context;

	hf_daemon_signals_close(&broker->signals);
}

static void stop(void *context)
{
	struct broker *broker = context;

	hf_service_close(broker->service, service_closed, broker);
}

static int run(const struct hf_service_config *config)
{
	struct hf_errmsg message = {""};
	struct broker broker;
	int err;

	HF_ASSERT(uv_loop_init(&broker.loop) == 0);
	err = hf_service_open(&broker.loop, config, &broker.service, &message);
	if (err) {
		hf_error("%s", message.text);
		uv_run(&broker.loop, UV_RUN_DEFAULT);
		uv_loop_close(&broker.loop);
		return hf_err_exit_status(err);
	}
	HF_ASSERT(hf_daemon_signals_open(&broker.loop, &broker.signals, stop, &broker) == 0);
	hf_info("asking tgtd at %s", config->tgt_socket);
	uv_run(&broker.loop, UV_RUN_DEFAULT);
	HF_ASSERT(uv_loop_close(&broker.loop) == 0);
	return 0;
}

static int read_uid(const char *text, uid_t *uid)
{
	unsigned long value;
	char *end;

	*uid = getuid();
	if (!text[0])
		return 0;
	errno = 0;
	value = strtoul(text, &end, 10);
	if (errno || *end || text[0] < '0' || text[0] > '9' || value >= (uid_t)-1)
		return HF_EINVAL;
	*uid = (uid_t)value;
	return 0;
}

int main(int argc, char **argv)
{
	static const struct hf_daemon daemon = {
		.name = "holdfast-broker",
		.purpose = "Does on tgtd what Holdfast's agent asks for, and nothing else.",
		.keys = keys,
	};
	struct hf_service_config service = {0};
	struct config config = {0};
	int status = hf_daemon_start(&daemon, argc, argv, &config);

	if (status < 0) {
		/* CHAP secrets pass through this memory: no core dump. */
		prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
		service.run_dir = config.run_dir;
		service.tgt_socket = config.tgt_socket;
		if (read_uid(config.agent_uid, &service.agent_uid) != 0) {
			fprintf(stderr, "%s: agent_uid: %s is no uid\n", daemon.name,
				config.agent_uid);
			status = hf_err_exit_status(HF_EINVAL);
		} else {
			status = run(&service);
		}
	}
	hf_conf_free(keys, &config);
	return status;
}
