/* Questions and answers of control.h. A question that becomes a change leaves here with its
 * hf_local_request and comes back through answer_change, perhaps after the socket is closed. */
#include "gateway/volumed/control.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/log.h"
#include "gateway/volumed/status.h"
#include "net/local.h"
#include "net/sign.h"

#define CONTROL_MAGIC 0x48464354u

struct hf_control {
	uint32_t magic;
	struct hf_control_config config;
	struct hf_local_server *server;
	uint8_t boot[HF_VOLUMED_BOOT_BYTES]; /* of this run */
	void (*closed)(void *context);
	void *closed_context;
};

static void answer(struct hf_local_request *question, const Holdfast__VolumedAnswer *answer)
{
	size_t length = holdfast__volumed_answer__get_packed_size(answer);
	uint8_t *bytes = malloc(length + 1);

	HF_ASSERT(bytes);
	holdfast__volumed_answer__pack(answer, bytes);
	hf_local_reply(question, bytes, length);
	free(bytes);
}

static void answer_change(void *context, int status, const struct hf_errmsg *message)
{
	Holdfast__VolumedAnswer result = HOLDFAST__VOLUMED_ANSWER__INIT;

	result.error = -status;
	if (status)
		result.reason = (char *)(message->text[0] ? message->text : hf_err_text(status));
	answer(context, &result);
}

/* What rings know of volumes and the core does not. */
static void add_tiers(const struct hf_ring_host *rings, Holdfast__VolumedStatus *status)
{
	struct hf_ring_host_tier_status tiers;

	hf_ring_host_tier_status(rings, &tiers);
	status->memory_tier_bytes = tiers.bytes;
	status->memory_tier_used_bytes = tiers.used_bytes;
	for (size_t i = 0; i < status->n_volumes; i++)
		status->volumes[i]->memory_tier_hits =
			hf_ring_host_tier_hits(rings, status->volumes[i]->volume);
}

static void answer_status(struct hf_control *control, struct hf_local_request *question)
{
	Holdfast__VolumedAnswer result = HOLDFAST__VOLUMED_ANSWER__INIT;
	struct hf_status_source source = {
		.core = control->config.core,
		.volumes = control->config.volumes,
		.alarms = control->config.alarms,
		.logs = control->config.logs,
		.rings = hf_ring_host_rings(control->config.rings),
		.store_in_use = hf_store_setting_in_use(control->config.store),
	};

	result.status = hf_status_create(&source);
	add_tiers(control->config.rings, result.status);
	result.status->boot.data = malloc(sizeof control->boot);
	HF_ASSERT(result.status->boot.data);
	result.status->boot.len = sizeof control->boot;
	memcpy(result.status->boot.data, control->boot, sizeof control->boot);
	answer(question, &result);
	hf_status_free(result.status);
}

/* Ends as after SIGTERM, if it is this run that is meant; the supervisor starts the next one. */
static int restart(const struct hf_control *control, const struct hf_control_request *request,
		   struct hf_errmsg *message)
{
	if (memcmp(request->boot, control->boot, sizeof control->boot) != 0)
		return hf_fail(message, HF_ESTALE, "that run of volumed has ended");
	hf_info("ends for action %" PRIu64 ", to be started again", request->action);
	raise(SIGTERM);
	return 0;
}

static void asked(void *context, struct hf_local_request *question, const uint8_t *bytes,
		  size_t length)
{
	struct hf_control *control = context;
	struct hf_control_request request;
	struct hf_errmsg message = {""};
	int err = hf_control_decode(bytes, length, &request, &message);

	HF_CHECK_MAGIC(control, CONTROL_MAGIC);
	if (err) {
		hf_warn("refused a question of uid %u: %s",
			(unsigned)hf_local_request_uid(question), message.text);
		answer_change(question, err, &message);
		return;
	}
	switch (request.verb) {
	case HF_CONTROL_STATUS:
		answer_status(control, question);
		break;
	case HF_CONTROL_ADD_LOG:
		hf_logs_add(control->config.logs, request.log_path, request.log_bytes,
			    answer_change, question);
		break;
	case HF_CONTROL_REMOVE_LOG:
		hf_logs_remove(control->config.logs, request.log_path, answer_change, question);
		break;
	case HF_CONTROL_FORGET_LOG:
		err = hf_logs_forget(control->config.logs, request.log_path, &message);
		answer_change(question, err, &message);
		break;
	case HF_CONTROL_RESTART:
		err = restart(control, &request, &message);
		answer_change(question, err, &message);
		break;
	case HF_CONTROL_SET_STORE:
		hf_store_setting_change(control->config.store, request.store, answer_change,
					question);
		request.store = NULL;
		break;
	case HF_CONTROL_ATTACH:
	case HF_CONTROL_DETACH:
	case HF_CONTROL_REMOVE:
		hf_volumes_change(control->config.volumes, &request, answer_change, question);
		break;
	}
	hf_control_request_free(&request);
}

int hf_control_open(const struct hf_control_config *config, struct hf_control **control_out,
		    struct hf_errmsg *message)
{
	struct hf_control *control = calloc(1, sizeof *control);
	struct hf_local_server_config server = {
		.path = config->path, .mode = 0600, .request = asked, .context = control};
	int err;

	if (!control)
		return hf_fail(message, HF_ENOMEM, "out of memory");
	control->magic = CONTROL_MAGIC;
	control->config = *config;
	hf_random(control->boot, sizeof control->boot);
	err = hf_local_listen(config->loop, &server, &control->server, message);
	if (err) {
		free(control);
		return err;
	}
	*control_out = control;
	return 0;
}

static void server_closed(void *context)
{
	struct hf_control *control = context;
	void (*closed)(void *) = control->closed;
	void *closed_context = control->closed_context;

	HF_CHECK_MAGIC(control, CONTROL_MAGIC);
	control->magic = 0;
	free(control);
	closed(closed_context);
}

void hf_control_close(struct hf_control *control, void (*closed)(void *context), void *context)
{
	HF_CHECK_MAGIC(control, CONTROL_MAGIC);
	control->closed = closed;
	control->closed_context = context;
	hf_local_server_close(control->server, server_closed, control);
}
