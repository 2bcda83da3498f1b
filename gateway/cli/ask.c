/* gateway/cli/ask.h. */
#include "gateway/cli/ask.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "net/local.h"

#define DEADLINE_MS 5000u

/* Packs, asks, and gives the answer's bytes (malloc'ed). */
static int ask(const char *path, const ProtobufCMessage *question, uint8_t **bytes, size_t *length,
	       struct hf_errmsg *message)
{
	size_t size = protobuf_c_message_get_packed_size(question);
	uint8_t *packed = malloc(size + 1);
	int err;

	if (!packed)
		return hf_fail(message, HF_ENOMEM, "out of memory");
	protobuf_c_message_pack(question, packed);
	err = hf_local_ask(path, packed, size, DEADLINE_MS, bytes, length, message);
	free(packed);
	return err;
}

int hf_cli_ask_agent(const char *run_dir, const Holdfast__ConsoleRequest *question,
		     Holdfast__ConsoleAnswer **answer, struct hf_errmsg *message)
{
	uint8_t *bytes = NULL;
	char path[PATH_MAX];
	size_t length;
	int err;

	snprintf(path, sizeof path, "%s/agent.sock", run_dir);
	err = ask(path, &question->base, &bytes, &length, message);

	if (err)
		return hf_fail_in(message, err, "holdfast-agent does not answer");
	*answer = holdfast__console_answer__unpack(NULL, length, bytes);
	free(bytes);
	if (!*answer)
		return hf_fail(message, HF_EPROTO, "holdfast-agent: the answer makes no sense");
	if ((*answer)->error) {
		err = hf_fail(message, -(*answer)->error, "%s", (*answer)->reason);
		holdfast__console_answer__free_unpacked(*answer, NULL);
		*answer = NULL;
	}
	return err;
}

int hf_cli_ask_agent_status(const char *run_dir, Holdfast__ConsoleAnswer **answer,
			    struct hf_errmsg *message)
{
	Holdfast__ConsoleStatusRequest status = HOLDFAST__CONSOLE_STATUS_REQUEST__INIT;
	Holdfast__ConsoleRequest question = HOLDFAST__CONSOLE_REQUEST__INIT;
	int err;

	question.kind_case = HOLDFAST__CONSOLE_REQUEST__KIND_STATUS;
	question.status = &status;
	err = hf_cli_ask_agent(run_dir, &question, answer, message);
	if (!err && !(*answer)->status) {
		holdfast__console_answer__free_unpacked(*answer, NULL);
		*answer = NULL;
		err = hf_fail(message, HF_EPROTO, "holdfast-agent: the answer makes no sense");
	}
	return err;
}

int hf_cli_ask_volumed(const char *run_dir, Holdfast__VolumedAnswer **answer,
		       struct hf_errmsg *message)
{
	Holdfast__VolumedStatusRequest status = HOLDFAST__VOLUMED_STATUS_REQUEST__INIT;
	Holdfast__VolumedRequest question = HOLDFAST__VOLUMED_REQUEST__INIT;
	uint8_t *bytes = NULL;
	char path[PATH_MAX];
	size_t length;
	int err;

	question.kind_case = HOLDFAST__VOLUMED_REQUEST__KIND_STATUS;
	question.status = &status;
	snprintf(path, sizeof path, "%s/volumed.sock", run_dir);
	err = ask(path, &question.base, &bytes, &length, message);
	if (err)
		return hf_fail_in(message, err, "holdfast-volumed does not answer");
	*answer = holdfast__volumed_answer__unpack(NULL, length, bytes);
	free(bytes);
	if (*answer && (*answer)->error == 0 && (*answer)->status)
		return 0;
	err = *answer && (*answer)->error ? -(*answer)->error : HF_EPROTO;
	hf_fail(message, err, "holdfast-volumed: %s",
		*answer && (*answer)->error ? (*answer)->reason : "the answer makes no sense");
	holdfast__volumed_answer__free_unpacked(*answer, NULL);
	*answer = NULL;
	return err;
}

int hf_cli_ask_broker(const char *path, size_t *targets, struct hf_errmsg *message)
{
	Holdfast__BrokerShow show = HOLDFAST__BROKER_SHOW__INIT;
	Holdfast__BrokerRequest question = HOLDFAST__BROKER_REQUEST__INIT;
	Holdfast__BrokerAnswer *answer;
	uint8_t *bytes = NULL;
	size_t length;
	int err;

	question.kind_case = HOLDFAST__BROKER_REQUEST__KIND_SHOW;
	question.show = &show;
	err = ask(path, &question.base, &bytes, &length, message);
	if (err)
		return hf_fail_in(message, err, "holdfast-broker does not answer");
	answer = holdfast__broker_answer__unpack(NULL, length, bytes);
	free(bytes);
	if (!answer)
		return hf_fail(message, HF_EPROTO, "holdfast-broker: the answer makes no sense");
	if (answer->error)
		err = hf_fail(message, -answer->error, "holdfast-broker: %s", answer->reason);
	else
		*targets = answer->state ? answer->state->n_targets : 0;
	holdfast__broker_answer__free_unpacked(answer, NULL);
	return err;
}
