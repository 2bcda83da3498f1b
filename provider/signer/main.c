/* holdfast-signer: the process around signer.h. One loop, one thread: questions over
 * RUN_DIR/signer.sock, from its own uid and root only, answered in order. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#include "base/log.h"
#include "net/local.h"
#include "net/daemon.h"
#include "provider/signer/signer.h"

struct config {
	char *run_dir, *state_dir;
	uint64_t gateway_days, server_days;
};

static const struct hf_conf_key keys[] = {
	{"run_dir", HF_CONF_TEXT, offsetof(struct config, run_dir), NULL,
	 "folder of the socket signer.sock"},
	{"state_dir", HF_CONF_TEXT, offsetof(struct config, state_dir), NULL,
	 "folder of the keys; only this process may read it; back it up"},
	{"gateway_certificate_days", HF_CONF_NUMBER, offsetof(struct config, gateway_days), "3650",
	 "life of a gateway's certificate", 1, 36500},
	{"server_certificate_days", HF_CONF_NUMBER, offsetof(struct config, server_days), "90",
	 "life of the provider's own certificate", 1, 36500},
	{NULL},
};

struct process {
	uv_loop_t loop;
	struct hf_signer *signer;
	struct hf_local_server *server;
	struct hf_daemon_signals signals;
};

static void asked(void *context, struct hf_local_request *request, const uint8_t *bytes,
		  size_t length)
{
	struct process *process = context;
	size_t answer_length = 0;
	uint8_t *answer = hf_signer_answer(process->signer, bytes, length, &answer_length);

	/* An empty answer is no SignerAnswer with keys; the provider asks again. */
	hf_local_reply(request, answer, answer ? answer_length : 0);
	free(answer);
}

static void stop(void *context)
{
	struct process *process = context;

	hf_local_server_close(process->server, NULL, NULL);
	hf_daemon_signals_close(&process->signals);
}

static int serve(struct process *process, const struct config *config, struct hf_errmsg *message)
{
	struct hf_signer_config core = {config->state_dir, config->gateway_days,
					config->server_days};
	char path[PATH_MAX];
	struct hf_local_server_config local = {
		.path = path, .mode = 0600, .request = asked, .context = process};
	int err = hf_signer_open(&core, &process->signer, message);

	if (err)
		return err;
	snprintf(path, sizeof path, "%s/signer.sock", config->run_dir);
	uv_loop_init(&process->loop);
	err = hf_local_listen(&process->loop, &local, &process->server, message);
	if (!err) {
		hf_daemon_signals_open(&process->loop, &process->signals, stop, process);
		hf_info("ready at %s", path);
		uv_run(&process->loop, UV_RUN_DEFAULT);
	}
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
	struct process process = {.signer = NULL};
	struct hf_errmsg message = {""};
	int status = hf_daemon_start(&daemon, argc, argv, &config);

	if (status < 0) {
		int err = serve(&process, &config, &message);
		if (err)
			hf_error("%s", message.text);
		status = hf_err_exit_status(err);
	}
	hf_conf_free(keys, &config);
	return status;
}
