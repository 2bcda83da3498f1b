/* The steps that all operations are made of; see operation.h. */
#include "gateway/broker/operation.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

#define CALL_NS  (5000ull * 1000000ull) /* tgtd answers at once, or it is stuck */
#define PAUSE_MS 20

static int ask_once(struct hf_operation *op, const struct hf_tgt_request *request, const char *what,
		    struct hf_tgt_answer *answer)
{
	uint64_t deadline_ns = hf_tgt_now_ns() + CALL_NS;
	int err;

	if (deadline_ns > op->deadline_ns)
		deadline_ns = op->deadline_ns;
	err = hf_tgt_call(op->socket, request, deadline_ns, answer);
	if (err == HF_ECONN)
		return hf_fail(op->message, err, "%s: tgtd is not there, or ended meanwhile", what);
	if (err)
		return hf_fail(op->message, err, "%s: tgtd: %s", what, hf_err_text(err));
	op->pid = answer->pid;
	return 0;
}

static int result(struct hf_operation *op, uint32_t error, uint32_t tolerated, const char *what)
{
	if (error == HF_TGT_OK || error == tolerated)
		return 0;
	return hf_fail(op->message, hf_tgt_error_code(error), "%s: %s (%u)", what,
		       hf_tgt_error_text(error), error);
}

int hf_op_ask(struct hf_operation *op, const struct hf_tgt_request *request, uint32_t tolerated,
	      const char *what, char **text)
{
	struct hf_tgt_answer answer;
	int err = ask_once(op, request, what, &answer);

	if (text)
		*text = NULL;
	if (err)
		return err;
	err = result(op, answer.error, tolerated, what);
	if (err || !text) {
		free(answer.text);
		return err;
	}
	*text = answer.text ? answer.text : calloc(1, 1);
	return *text ? 0 : HF_ENOMEM;
}

int hf_op_pause(struct hf_operation *op)
{
	if (hf_tgt_now_ns() >= op->deadline_ns)
		return HF_ETIMEDOUT;
	poll(NULL, 0, PAUSE_MS);
	return 0;
}

int hf_op_ask_until(struct hf_operation *op, const struct hf_tgt_request *request, uint32_t active,
		    uint32_t tolerated, const char *what)
{
	for (;;) {
		struct hf_tgt_answer answer;
		int err = ask_once(op, request, what, &answer);

		if (err)
			return err;
		free(answer.text);
		if (answer.error != active)
			return result(op, answer.error, tolerated, what);
		if (hf_op_pause(op) != 0)
			return result(op, answer.error, tolerated, what);
	}
}

int hf_op_show(struct hf_operation *op, struct hf_tgt_state *state)
{
	const struct hf_tgt_request request = {.mode = HF_TGT_TARGET, .op = HF_TGT_SHOW, .tid = -1};
	char *text;
	int err;

	memset(state, 0, sizeof *state);
	err = hf_op_ask(op, &request, HF_TGT_OK, "list the targets", &text);
	if (err)
		return err;
	err = hf_tgt_show_parse(text, state, op->message);
	free(text);
	return err;
}
