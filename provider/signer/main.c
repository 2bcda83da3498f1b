/* holdfast-signer: the process around signer.h. One loop, one thread: questions of the provider
 * over RUN_DIR/signer.sock, of administrators over RUN_DIR/signer-admin.sock, answered in order.
 * Who may ask where is decided by the uid that the kernel tells. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

#include "base/log.h"
#include "net/local.h"
#include "net/daemon.h"
#include "provider/signer/signer.h"

struct config {
	char *run_dir, *state_dir;
	uint64_t gateway_days, server_days, provider_uid;
	int approval;
};

static const struct hf_conf_key keys[] = {
	{"run_dir", HF_CONF_TEXT, offsetof(struct config, run_dir), NULL,
	 "folder of the socket signer.sock"},
	{"state_dir", HF_CONF_TEXT, offsetof(struct config, state_dir), NULL,
	 "folder of the keys; only this process may read it; back it up"},
	{"gateway_certificate_days", HF_CONF_NUMBER, offsetof(struct config, gateway_days), "90",
	 "life of a gateway's certificate; it is renewed at two thirds", 1, 36500},
	{"server_certificate_days", HF_CONF_NUMBER, offsetof(struct config, server_days), "90",
	 "life of the provider's own certificate", 1, 36500},
	{"provider_uid", HF_CONF_NUMBER, offsetof(struct config, provider_uid), "0",
	 "may ask at signer.sock beside root and our own uid; 0: nobody else", 0, UINT32_MAX - 1},
	{"approval", HF_CONF_BOOL, offsetof(struct config, approval), "yes",
	 "no: the provider's word is enough for a new gateway"},
	{NULL},
};

struct process {
	uv_loop_t loop;
	const struct config *config;
	struct hf_signer *signer;
	struct hf_local_server *server, *admin_server;
	struct hf_daemon_signals signals;
};

static void give_answer(struct process *process, enum hf_signer_asker asker,
			struct hf_local_request *request, const uint8_t *bytes, size_t length)
{
	size_t answer_length = 0;
	uint8_t *answer = hf_signer_answer(process->signer, asker, bytes, length, &answer_length);

	/* An empty answer is no SignerAnswer with keys; the provider asks again. */
	hf_local_reply(request, answer, answer ? answer_length : 0);
	free(answer);
}

static void asked(void *context, struct hf_local_request *request, const uint8_t *bytes,
		  size_t length)
{
	give_answer(context, HF_SIGNER_PROVIDER, request, bytes, length);
}

static void asked_by_administrator(void *context, struct hf_local_request *request,
				   const uint8_t *bytes, size_t length)
{
	give_answer(context, HF_SIGNER_ADMINISTRATOR, request, bytes, length);
}

static int allow_provider(void *context, uid_t uid)
{
	const struct process *process = context;

	return process->config->provider_uid != 0 && uid == process->config->provider_uid;
}

static void stop(void *context)
{
	struct process *process = context;

	hf_local_server_close(process->server, NULL, NULL);
	hf_local_server_close(process->admin_server, NULL, NULL);
	hf_daemon_signals_close(&process->signals);
}

static int listen_at(struct process *process, const char *name,
		     struct hf_local_server_config *local, struct hf_local_server **server,
		     struct hf_errmsg *message)
{
	char path[PATH_MAX];

	snprintf(path, sizeof path, "%s/%s", process->config->run_dir, name);
	local->path = path;
	local->context = process;
	return hf_local_listen(&process->loop, local, server, message);
}

static int open_sockets(struct process *process, struct hf_errmsg *message)
{
	/* Another uid must get as far as the check of who it is. */
	struct hf_local_server_config provider = {.mode = process->config->provider_uid ? 0666
											: 0600,
						  .allow_uid = allow_provider,
						  .request = asked};
	struct hf_local_server_config admin = {.mode = 0600, .request = asked_by_administrator};
	int err = listen_at(process, "signer.sock", &provider, &process->server, message);

	if (err)
		return err;
	err = listen_at(process, "signer-admin.sock", &admin, &process->admin_server, message);
	if (err)
		hf_local_server_close(process->server, NULL, NULL);
	return err;
}

static int serve(struct process *process, struct hf_errmsg *message)
{
	const struct config *config = process->config;
	struct hf_signer_config core = {.state_dir = config->state_dir,
					.gateway_days = config->gateway_days,
					.server_days = config->server_days,
					.no_approval = !config->approval};
	int err = hf_signer_open(&core, &process->signer, message);

	if (err)
		return err;
	uv_loop_init(&process->loop);
	err = open_sockets(process, message);
	if (!err) {
		hf_daemon_signals_open(&process->loop, &process->signals, stop, process);
		hf_info("ready at %s/signer.sock", config->run_dir);
	}
	uv_run(&process->loop, UV_RUN_DEFAULT);
	uv_loop_close(&process->loop);
	hf_signer_close(process->signer);
	return err;
}

int main(int argc, char **argv)
{
	static const struct hf_daemon daemon = {
		.name = "holdfast-signer",
		.purpose = "Owns the provider's keys: issues certificates, signs changes, keeps "
			   "secrets.",
		.keys = keys,
	};
	struct config config = {0};
	struct process process = {.config = &config};
	struct hf_errmsg message = {""};
	int status = hf_daemon_start(&daemon, argc, argv, &config);

	if (status < 0) {
		int err = serve(&process, &message);
		if (err)
			hf_error("%s", message.text);
		status = hf_err_exit_status(err);
	}
	hf_conf_free(keys, &config);
	return status;
}
