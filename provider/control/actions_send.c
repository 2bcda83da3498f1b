/* Sending signed actions to the gateway that this process holds, one at a time in their order, and
 * storing what became of them (actions.h). Loop's thread. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/ids.h"
#include "base/log.h"
#include "provider/control/actions.h"
#include "provider/control/admin.h"
#include "provider/registry/told.h"

#define ACT_MS           60000u /* longer than any action takes */
#define FORGET_MS        10000u
#define AFTER_REFUSAL_MS 1000u
#define SIGN_TRIES       5u

static bool is_idle(const struct hf_channel *channel, uint64_t request)
{
	return channel->epoch != 0 && !channel->link.ended && request == 0;
}

/* ---- Act ---- */

static int send_action(struct hf_channel *channel, const struct hf_reg_action *action)
{
	Holdfast__ActionTerms terms = HOLDFAST__ACTION_TERMS__INIT;
	Holdfast__Request request = HOLDFAST__REQUEST__INIT;
	uint64_t now_ms = hf_control_wall_ms();
	int err;

	terms.expires = action->expires_ms != 0;
	if (action->expires_ms > now_ms)
		terms.remaining_ms = action->expires_ms - now_ms;
	terms.sent_before = action->sent > 0;
	request.remaining_ms = ACT_MS;
	request.kind_case = HOLDFAST__REQUEST__KIND_ACT;
	request.terms = &terms;
	request.act = holdfast__signed__unpack(NULL, action->packet_length, action->packet);
	if (!request.act)
		return HF_ECORRUPT;
	err = hf_session_request(channel->link.session, hf_link_now_ms(&channel->link), &request,
				 &channel->act_request);
	holdfast__signed__free_unpacked(request.act, NULL);
	if (err)
		channel->act_request = 0;
	return err;
}

static void send_next(struct hf_channel *channel)
{
	struct hf_registry *reg = channel->control->reg;
	struct hf_reg_action action;
	char id[HF_ID_TEXT_MAX];
	int err;

	if (!is_idle(channel, channel->act_request) ||
	    hf_link_now_ms(&channel->link) < channel->act_not_before_ms)
		return;
	err = hf_registry_action_next(reg, channel->gateway, &action);
	if (err == HF_ENOENT) {
		channel->act_again = false;
		return;
	}
	if (err)
		return;
	/* What is not signed yet comes back as new work. */
	channel->act_again = action.state == HF_REG_ACTION_READY;
	if (channel->act_again)
		err = hf_registry_action_sent(reg, action.number, channel->gateway, channel->epoch);
	if (err == HF_EFENCED)
		hf_channel_fenced(channel);
	if (!err && channel->act_again) {
		channel->act_number = action.number;
		channel->act_sent = action.sent + 1;
		err = send_action(channel, &action);
	}
	if (err && err != HF_EFENCED)
		hf_warn("%s cannot be sent: %s", hf_id_format(HF_ID_ACTION, action.number, id),
			hf_err_text(err));
	hf_reg_action_free(&action);
}

/* A gateway's text may hold anything, and a database refuses what is not UTF-8; what is kept is
 * printable ASCII. */
static void clean_text(char *text)
{
	for (char *c = text; *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
}

/* True if it is stored, or another had stored it. */
static bool store_end(struct hf_channel *channel, struct hf_reg_action *action)
{
	struct hf_control *control = channel->control;
	char id[HF_ID_TEXT_MAX];
	int err;

	action->number = channel->act_number;
	action->gateway = channel->gateway;
	clean_text(action->reason);
	err = hf_registry_action_end(control->reg, channel->epoch, action, hf_control_wall_ms());
	if (err == HF_EFENCED)
		hf_channel_fenced(channel);
	if (err && err != HF_ENOENT)
		return false;
	hf_info("%s ended%s%s", hf_id_format(HF_ID_ACTION, action->number, id),
		action->reason[0] ? ": " : "", action->reason);
	hf_admin_changed(control, 0, channel->gateway);
	return true;
}

static bool take_result(struct hf_channel *channel, const Holdfast__Answer *answer)
{
	struct hf_reg_action action = {0};
	Holdfast__ActionResult *result = NULL;
	bool stored = false;

	if (answer->result_case == HOLDFAST__ANSWER__RESULT_ACT)
		result = holdfast__action_result__unpack(NULL, answer->act.len, answer->act.data);
	if (result && result->action == channel->act_number) {
		action.outcome = result->outcome;
		action.error = result->error;
		snprintf(action.reason, sizeof action.reason, "%s", result->reason);
		action.report = result->report.data;
		action.report_length = result->report.len;
		stored = store_end(channel, &action);
	} else {
		hf_warn("an answer to another action than the one that was sent");
	}
	holdfast__action_result__free_unpacked(result, NULL);
	return stored;
}

/* Refused for good: an old gateway, or one that knows better. */
static bool take_refusal(struct hf_channel *channel, const Holdfast__Answer *answer)
{
	struct hf_reg_action action = {.outcome = HOLDFAST__ACTION_OUTCOME__OUTCOME_REFUSED,
				       .error = answer->error,
				       .forgotten = true};

	snprintf(action.reason, sizeof action.reason, "%s", answer->reason);
	return store_end(channel, &action);
}

/* The signer's ledger was restored (delivery.c). What was done before is known by its number, also
 * when it comes with another sequence. */
static bool sequence_is_behind(struct hf_channel *channel, const Holdfast__Answer *answer)
{
	struct hf_registry *reg = channel->control->reg;
	struct hf_reg_action action;
	uint64_t sent;

	if (answer->sequence == 0 || channel->act_sent >= SIGN_TRIES ||
	    hf_registry_action_get(reg, channel->act_number, &action) != 0)
		return false;
	sent = hf_change_sequence(action.packet, action.packet_length);
	hf_reg_action_free(&action);
	return sent > 0 && sent <= answer->sequence &&
	       hf_registry_gateway_sequence(reg, channel->gateway, answer->sequence) == 0;
}

static bool sign_anew(struct hf_channel *channel)
{
	hf_registry_action_unsign(channel->control->reg, channel->act_number);
	hf_actions_tick(channel->control);
	return false;
}

static void act_answered(struct hf_channel *channel, const struct hf_session_event *event)
{
	bool ended = false;

	channel->act_request = 0;
	if (channel->link.ended || event->status == HF_ECONN || event->status == HF_ECANCELED)
		return;
	if (event->status == 0 && event->answer->error == 0) {
		ended = take_result(channel, event->answer);
	} else if (event->status == 0) {
		switch (-event->answer->error) {
		case HF_EAUTH:
			/* The signer's key may be another one by now. */
			ended = channel->act_sent < SIGN_TRIES
					? sign_anew(channel)
					: take_refusal(channel, event->answer);
			break;
		case HF_ESTALE:
			ended = sequence_is_behind(channel, event->answer)
					? sign_anew(channel)
					: take_refusal(channel, event->answer);
			break;
		case HF_EUNSUPPORTED:
		case HF_EINVAL:
		case HF_ETOOBIG:
			ended = take_refusal(channel, event->answer);
			break;
		default:
			break; /* not begun: again */
		}
	}
	if (!ended)
		channel->act_not_before_ms = hf_link_now_ms(&channel->link) + AFTER_REFUSAL_MS;
	hf_actions_check(channel);
}

/* ---- Forget ---- */

/* What became of them is stored, so the gateway need not keep it. */
static void send_forget(struct hf_channel *channel)
{
	Holdfast__Request request = HOLDFAST__REQUEST__INIT;
	uint64_t number;

	if (!is_idle(channel, channel->forget_request) ||
	    hf_registry_action_forgettable(channel->control->reg, channel->gateway, &number) != 0 ||
	    number == 0)
		return;
	request.remaining_ms = FORGET_MS;
	request.kind_case = HOLDFAST__REQUEST__KIND_FORGET;
	request.forget = number;
	channel->forget_number = number;
	if (hf_session_request(channel->link.session, hf_link_now_ms(&channel->link), &request,
			       &channel->forget_request) != 0)
		channel->forget_request = 0;
}

static void forget_answered(struct hf_channel *channel, const struct hf_session_event *event)
{
	channel->forget_request = 0;
	/* Else it is said again, after the next action or at the next connection. */
	if (event->status == 0 && event->answer->error == 0 &&
	    hf_registry_action_forgotten(channel->control->reg, channel->gateway,
					 channel->forget_number) == 0)
		send_forget(channel);
}

/* ---- The channel ---- */

void hf_actions_check(struct hf_channel *channel)
{
	channel->act_again = true;
	send_next(channel);
	send_forget(channel);
	hf_link_rearm(&channel->link);
}

bool hf_actions_answered(struct hf_channel *channel, const struct hf_session_event *event)
{
	if (event->request == channel->act_request)
		act_answered(channel, event);
	else if (event->request == channel->forget_request)
		forget_answered(channel, event);
	else
		return false;
	return true;
}
