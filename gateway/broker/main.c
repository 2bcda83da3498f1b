/* holdfast-broker: the only process that speaks to tgtd's management socket, under tgtd's uid, and
 * only what proto/local.proto names. Main thread: the loop. */
#include <stddef.h>

#include "base/assert.h"
#include "base/log.h"
#include "gateway/broker/service.h"
#include "net/daemon.h"

struct config {
	char *run_dir, *socket, *tgt_socket;
	uint64_t agent_uid, uid, gid;
};

static const struct hf_conf_key keys[] = {
	{"run_dir", HF_CONF_TEXT, offsetof(struct config, run_dir), NULL,
	 "folder of the sockets, which tgtd's uid does not own"},
	{"socket", HF_CONF_TEXT, offsetof(struct config, socket), "broker.sock",
	 "its own socket's name there; another one for each tgtd"},
	{"tgt_socket", HF_CONF_TEXT, offsetof(struct config, tgt_socket), NULL,
	 "tgtd's management socket, with its control number: PATH.N"},
	{"agent_uid", HF_CONF_NUMBER, offsetof(struct config, agent_uid), "0",
	 "uid that may ask beside root and our own; 0: none", 0, UINT32_MAX - 1},
	{"uid", HF_CONF_NUMBER, offsetof(struct config, uid), "0",
	 "tgtd's, taken on once the socket is made; 0: stays what it is", 0, UINT32_MAX - 1},
	{"gid", HF_CONF_NUMBER, offsetof(struct config, gid), "0", "the same for the group", 0,
	 UINT32_MAX - 1},
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
	/* The socket is root's, so that the agent knows whom it asks; tgtd wants its own uid. */
	if (config->uid && (err = hf_daemon_become(config->uid, config->gid, &message)) != 0) {
		hf_error("%s", message.text);
		return hf_err_exit_status(err);
	}
	HF_ASSERT(hf_daemon_signals_open(&broker.loop, &broker.signals, stop, &broker) == 0);
	hf_info("asking tgtd at %s", config->tgt_socket);
	uv_run(&broker.loop, UV_RUN_DEFAULT);
	HF_ASSERT(uv_loop_close(&broker.loop) == 0);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct hf_daemon daemon = {
		.name = "holdfast-broker",
		.purpose = "Does on tgtd what Holdfast's agent asks for, and nothing else.",
		.keys = keys,
	};
	struct config config = {0};
	int status = hf_daemon_start(&daemon, argc, argv, &config);

	if (status < 0) {
		const struct hf_service_config service = {
			.run_dir = config.run_dir,
			.socket = config.socket,
			.tgt_socket = config.tgt_socket,
			.agent_uid = (uid_t)config.agent_uid,
			.uid = (uid_t)config.uid,
			.gid = (gid_t)config.gid,
		};

		status = run(&service);
	}
	hf_conf_free(keys, &config);
	return status;
}
