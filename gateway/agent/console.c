/* The appliance's console, RUN_DIR/agent.sock (docs/protocol/local.md): what holdfast-gateway asks.
 * root and the agent's own uid only. Loop's thread. */
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/ids.h"
#include "gateway/agent/agent_internal.h"
#include "net/fingerprint.h"
#include "proto/local.pb-c.h"

#define PROBLEMS_MAX 64u

static void reply(struct hf_local_request *request, const Holdfast__ConsoleAnswer *answer)
{
	size_t length = holdfast__console_answer__get_packed_size(answer);
	uint8_t *bytes = malloc(length + 1);

	HF_ASSERT(bytes);
	holdfast__console_answer__pack(answer, bytes);
	hf_local_reply(request, bytes, length);
	free(bytes);
}

static void fill_activation(struct hf_agent *agent, Holdfast__ConsoleStatus *status)
{
	static char activated[] = "activated", none[] = "";
	struct hf_activation_status activation;

	if (!agent->activation) {
		status->activation_state = activated;
		return;
	}
	hf_activation_status(agent->activation, &activation);
	status->activation_state = (char *)(uintptr_t)activation.state;
	status->activation_key = (char *)(uintptr_t)activation.key;
	status->claimed_by = (char *)(uintptr_t)activation.claimed_by;
	status->last_error = (char *)(uintptr_t)activation.last_error;
	status->connection_state = none;
}

static void fill_connection(struct hf_agent *agent, Holdfast__ConsoleStatus *status)
{
	struct hf_uplink_status uplink;

	if (!agent->uplink)
		return;
	hf_uplink_status(agent->uplink, &uplink);
	status->connection_state = (char *)(uintptr_t)uplink.state;
	status->connection_epoch = uplink.epoch;
	status->connection_endpoint = (char *)(uintptr_t)uplink.endpoint;
	status->standby_endpoint = (char *)(uintptr_t)uplink.standby;
	status->last_error = (char *)(uintptr_t)uplink.last_error;
	status->provider_clock_known = uplink.provider_clock_known;
	status->provider_ahead_ms = uplink.provider_ahead_ms;
}

static void answer_status(struct hf_agent *agent, struct hf_local_request *request)
{
	Holdfast__ConsoleAnswer answer = HOLDFAST__CONSOLE_ANSWER__INIT;
	Holdfast__ConsoleStatus status = HOLDFAST__CONSOLE_STATUS__INIT;
	char fingerprint[HF_FINGERPRINT_TEXT_MAX], gateway[HF_ID_TEXT_MAX];
	char *problems[PROBLEMS_MAX];
	Holdfast__Applied applied;

	fill_activation(agent, &status);
	fill_connection(agent, &status);
	status.fingerprint = hf_key_fingerprint(agent->identity.public_key, fingerprint);
	if (agent->desired.gateway)
		status.gateway_id = hf_id_format(HF_ID_GATEWAY, agent->desired.gateway, gateway);
	hf_desired_applied(&agent->desired, &applied);
	status.incarnation = applied.incarnation;
	status.generation = applied.generation;
	status.n_problems = hf_reconciler_problems(agent->reconciler, problems, PROBLEMS_MAX);
	status.problems = problems;
	answer.status = &status;
	reply(request, &answer);
	for (size_t i = 0; i < status.n_problems; i++)
		free(problems[i]);
}

static void answer_error(struct hf_local_request *request, int err, const char *reason)
{
	Holdfast__ConsoleAnswer answer = HOLDFAST__CONSOLE_ANSWER__INIT;

	answer.error = -err;
	if (err)
		answer.reason = (char *)(uintptr_t)reason;
	reply(request, &answer);
}

static void refuse(struct hf_agent *agent, struct hf_local_request *request, const char *reason)
{
	int err =
		agent->activation ? hf_activation_refuse(agent->activation, reason) : HF_ENOTREADY;

	answer_error(request, err,
		     agent->activation ? "there is no claim to refuse now"
				       : "this gateway is activated already");
}

static void on_request(void *context, struct hf_local_request *request, const uint8_t *bytes,
		       size_t length)
{
	struct hf_agent *agent = context;
	Holdfast__ConsoleRequest *question = holdfast__console_request__unpack(NULL, length, bytes);

	HF_CHECK_MAGIC(agent, HF_AGENT_MAGIC);
	if (!question)
		answer_error(request, HF_EPROTO, "the request cannot be decoded");
	else if (question->kind_case == HOLDFAST__CONSOLE_REQUEST__KIND_STATUS)
		answer_status(agent, request);
	else if (question->kind_case == HOLDFAST__CONSOLE_REQUEST__KIND_REFUSE_ACTIVATION)
		refuse(agent, request, question->refuse_activation);
	else
		answer_error(request, HF_EUNSUPPORTED, "this version knows no such request");
	holdfast__console_request__free_unpacked(question, NULL);
}

int hf_console_open(struct hf_agent *agent, struct hf_errmsg *message)
{
	char path[256];
	struct hf_local_server_config config = {
		.path = path, .mode = 0600, .request = on_request, .context = agent};

	snprintf(path, sizeof path, "%s/agent.sock", agent->config->run_dir);
	return hf_local_listen(agent->loop, &config, &agent->console, message);
}
