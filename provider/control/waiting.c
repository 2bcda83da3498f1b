/* Questions that wait for a state (--wait): looked at whenever something is reported, and once a
 * second for their deadline. A failure must last before it is the answer, because the gateway tries
 * again by itself. Loop's thread. */
#include "provider/control/admin.h"

#include <stdlib.h>
#include <string.h>

#include "base/ids.h"
#include "provider/control/actions.h"
#include "provider/control/channel.h"
#include "provider/control/status.h"
#include "provider/control/watch.h"
#include "provider/control/lookers.h"

#define WAITER_MAGIC    0x77616974u
#define FAILED_LASTS_MS 3000u
#define LOOK_MS         2000u

struct waiter {
	uint32_t magic;
	struct hf_control *control;
	struct hf_list entry;
	struct hf_local_request *request;
	enum hf_goal goal;
	uint64_t volume, gateway;
	uint64_t action;       /* HF_GOAL_ENDED: its number */
	uint64_t subscription; /* HF_GOAL_FRESH: whose report is waited for */
	char name[HF_REG_NAME_MAX + 1];
	uint64_t deadline_ms;     /* loop's clock */
	uint64_t failed_since_ms; /* 0: it is not failed */
};

static void forget(struct waiter *w)
{
	hf_list_remove(&w->entry);
	w->control->waiter_count--;
	w->magic = 0;
	free(w);
}

static void answer(struct waiter *w, int err, const char *reason, json_t *json)
{
	hf_admin_reply(w->request, err, reason, json);
	forget(w);
}

/* The change behind the question is stored; only how it stands cannot be said. Never told as an
 * error of the change: whoever is told so asks for it again. */
static void answer_unseen(struct hf_control *control, struct hf_local_request *request)
{
	char reason[HF_REG_REASON_MAX + 64];

	snprintf(reason, sizeof reason,
		 "it is stored; what became of it is not known, the registry does not answer: "
		 "%.200s",
		 hf_registry_why(control->reg));
	hf_admin_reply(request, HF_EUNKNOWN, reason, NULL);
}

static json_t *deleted_json(uint64_t volume, const char *name)
{
	char id[HF_ID_TEXT_MAX];

	return json_pack("{s:s, s:s, s:s}", "volume_id", hf_id_format(HF_ID_VOLUME, volume, id),
			 "name", name, "status", "deleted");
}

static bool reached(enum hf_goal goal, enum hf_status status)
{
	return (goal == HF_GOAL_AVAILABLE && status == HF_STATUS_AVAILABLE) ||
	       (goal == HF_GOAL_DETACHED && status == HF_STATUS_DETACHED);
}

static void answer_late(struct waiter *w, enum hf_status status, const char *why, json_t *json)
{
	char reason[HF_REG_REASON_MAX + 64];

	snprintf(reason, sizeof reason, "%s is still %s%s%s", w->name, hf_status_text(status),
		 why[0] ? ": " : "", why);
	answer(w, HF_ETIMEDOUT, reason, json);
}

/* It may come back before the deadline; the change itself is stored. */
static void registry_failed(struct waiter *w, int err, uint64_t now_ms)
{
	struct hf_local_request *request = w->request;
	struct hf_control *control = w->control;

	if ((err == HF_ENOTREADY || err == HF_EBUSY) && now_ms < w->deadline_ms)
		return;
	forget(w);
	answer_unseen(control, request);
}

static void check_volume(struct waiter *w, uint64_t now_ms)
{
	char why[HF_REG_REASON_MAX + 1];
	struct hf_reg_placement placement;
	struct hf_reg_volume volume;
	enum hf_status status;
	int err = hf_registry_volume_get(w->control->reg, w->volume, &volume);

	if (err == HF_ENOENT || (!err && volume.gone)) {
		answer(w, w->goal == HF_GOAL_GONE ? 0 : HF_ENOENT,
		       w->goal == HF_GOAL_GONE ? "" : "the volume was deleted",
		       deleted_json(w->volume, w->name));
		return;
	}
	if (!err)
		err = hf_status_of_volume(w->control, &volume, &placement, &status, why);
	if (err) {
		registry_failed(w, err, now_ms);
		return;
	}
	if (status != HF_STATUS_FAILED)
		w->failed_since_ms = 0;
	else if (w->failed_since_ms == 0)
		w->failed_since_ms = now_ms;
	if (reached(w->goal, status))
		answer(w, 0, "", hf_status_volume_json(w->control, &volume));
	else if (w->failed_since_ms && now_ms >= w->failed_since_ms + FAILED_LASTS_MS)
		answer(w, placement.report.error > 0 ? -placement.report.error : HF_EIO, why,
		       hf_status_volume_json(w->control, &volume));
	else if (now_ms >= w->deadline_ms)
		answer_late(w, status, why, hf_status_volume_json(w->control, &volume));
}

static void check_gateway(struct waiter *w, uint64_t now_ms)
{
	struct hf_reg_gateway gateway;
	int err = hf_registry_gateway_get(w->control->reg, w->gateway, &gateway);

	if (err)
		registry_failed(w, err, now_ms);
	else if (gateway.state == HF_REG_GATEWAY_REFUSED)
		answer(w, HF_EACCES, gateway.reason, hf_status_gateway_json(w->control, &gateway));
	else if (hf_watch_connected(w->control, &gateway))
		answer(w, 0, "", hf_status_gateway_json(w->control, &gateway));
	else if (now_ms >= w->deadline_ms)
		answer(w, HF_ETIMEDOUT, "the gateway has not connected with its certificate yet",
		       hf_status_gateway_json(w->control, &gateway));
}

static void check_fresh(struct waiter *w, uint64_t now_ms)
{
	struct hf_channel *channel = hf_channel_find(w->control, w->gateway);
	struct hf_reg_volume volume;
	int err;

	if (channel && channel->reported_subscription < w->subscription && now_ms < w->deadline_ms)
		return;
	err = hf_registry_volume_get(w->control->reg, w->volume, &volume);
	if (err)
		answer(w, err, err == HF_ENOENT ? "the volume was deleted" : "", NULL);
	else
		answer(w, 0, "", hf_status_volume_json(w->control, &volume));
}

static void check_action(struct waiter *w, uint64_t now_ms)
{
	struct hf_reg_action action;
	json_t *json;
	int err = hf_registry_action_get(w->control->reg, w->action, &action);

	if (err) {
		registry_failed(w, err, now_ms);
		return;
	}
	if (action.state == HF_REG_ACTION_ENDED || now_ms >= w->deadline_ms) {
		json = hf_action_json(w->control, &action);
		if (action.state != HF_REG_ACTION_ENDED)
			answer(w, HF_ETIMEDOUT,
			       action.sent ? "the gateway has not answered yet"
					   : "it has not reached the gateway yet",
			       json);
		else if (action.outcome == HOLDFAST__ACTION_OUTCOME__OUTCOME_DONE)
			answer(w, 0, "", json);
		else
			answer(w, action.error > 0 ? -action.error : HF_EIO, action.reason, json);
	}
	hf_reg_action_free(&action);
}

static void check(struct waiter *w)
{
	uint64_t now_ms = uv_now(w->control->loop);

	HF_CHECK_MAGIC(w, WAITER_MAGIC);
	if (w->goal == HF_GOAL_HELD)
		check_gateway(w, now_ms);
	else if (w->goal == HF_GOAL_ENDED)
		check_action(w, now_ms);
	else if (w->goal == HF_GOAL_FRESH)
		check_fresh(w, now_ms);
	else
		check_volume(w, now_ms);
}

static struct waiter *add(struct hf_control *control, struct hf_local_request *request,
			  enum hf_goal goal, uint32_t wait_ms)
{
	struct waiter *w;

	if (control->waiter_count >= HF_WAITERS_MAX) {
		hf_admin_reply(request, HF_EAGAIN,
			       "the change is accepted, but too many wait already", NULL);
		return NULL;
	}
	w = calloc(1, sizeof *w);
	HF_ASSERT(w);
	w->magic = WAITER_MAGIC;
	w->control = control;
	w->request = request;
	w->goal = goal;
	w->deadline_ms = uv_now(control->loop) + wait_ms;
	hf_list_push_back(&control->waiters, &w->entry);
	control->waiter_count++;
	return w;
}

/* The last report may be a second old, which is too old for somebody who has just written and wants
 * to know what is not in the store yet. */
static void wait_fresh(struct hf_control *control, struct hf_local_request *request,
		       const struct hf_reg_volume *volume)
{
	struct hf_channel *channel = hf_channel_find(control, volume->gateway);
	struct waiter *w;

	hf_lookers_add(control, volume->gateway);
	if (!channel || channel->epoch == 0 || control->waiter_count >= HF_WAITERS_MAX) {
		hf_admin_reply(request, 0, "", hf_status_volume_json(control, volume));
		return;
	}
	w = add(control, request, HF_GOAL_FRESH, LOOK_MS);
	w->volume = volume->id;
	w->gateway = volume->gateway;
	w->subscription = hf_delivery_look(channel);
}

void hf_wait_volume(struct hf_control *control, struct hf_local_request *request,
		    const struct hf_reg_volume *volume, enum hf_goal goal, uint32_t wait_ms)
{
	char why[HF_REG_REASON_MAX + 1] = "";
	struct hf_reg_placement placement;
	struct hf_reg_volume now;
	enum hf_status status;
	struct waiter *w;
	json_t *json;

	if (goal == HF_GOAL_FRESH) {
		wait_fresh(control, request, volume);
		return;
	}
	/* Its gateway was never told of it. */
	if (goal == HF_GOAL_GONE &&
	    hf_registry_volume_get(control->reg, volume->id, &now) == HF_ENOENT) {
		hf_admin_reply(request, 0, "", deleted_json(volume->id, volume->name));
		return;
	}
	if (wait_ms == 0 || goal == HF_GOAL_NONE) {
		if (goal != HF_GOAL_NONE)
			hf_status_of_volume(control, volume, &placement, &status, why);
		json = hf_status_volume_json(control, volume);
		if (json)
			hf_admin_reply(request, 0, why, json);
		else
			answer_unseen(control, request);
		return;
	}
	w = add(control, request, goal, wait_ms);
	if (!w)
		return;
	w->volume = volume->id;
	w->gateway = volume->gateway;
	snprintf(w->name, sizeof w->name, "%s", volume->name);
	check(w);
}

void hf_wait_gateway(struct hf_control *control, struct hf_local_request *request,
		     const struct hf_reg_gateway *gateway, enum hf_goal goal, uint32_t wait_ms)
{
	struct waiter *w;

	if (wait_ms == 0 || goal == HF_GOAL_NONE) {
		hf_admin_reply(request, 0, "", hf_status_gateway_json(control, gateway));
		return;
	}
	w = add(control, request, goal, wait_ms);
	if (!w)
		return;
	w->gateway = gateway->id;
	snprintf(w->name, sizeof w->name, "%s", gateway->name);
	check(w);
}

void hf_wait_action(struct hf_control *control, struct hf_local_request *request, uint64_t number,
		    uint64_t gateway, const char *remark, uint32_t wait_ms)
{
	struct hf_reg_action action;
	struct waiter *w;
	int err;

	if (wait_ms == 0) {
		err = hf_registry_action_get(control->reg, number, &action);
		if (err) {
			answer_unseen(control, request);
			return;
		}
		hf_admin_reply(request, 0, remark, hf_action_json(control, &action));
		hf_reg_action_free(&action);
		return;
	}
	w = add(control, request, HF_GOAL_ENDED, wait_ms);
	if (!w)
		return;
	w->action = number;
	w->gateway = gateway;
	check(w);
}

void hf_admin_changed(struct hf_control *control, uint64_t volume, uint64_t gateway)
{
	hf_list_for_each_safe (cursor, &control->waiters) {
		struct waiter *w = hf_container_of(cursor, struct waiter, entry);

		if ((volume && w->volume == volume) || (gateway && w->gateway == gateway))
			check(w);
	}
}

void hf_waiting_tick(struct hf_control *control)
{
	hf_list_for_each_safe (cursor, &control->waiters)
		check(hf_container_of(cursor, struct waiter, entry));
}

void hf_waiting_close(struct hf_control *control)
{
	hf_list_for_each_safe (cursor, &control->waiters)
		answer(hf_container_of(cursor, struct waiter, entry), HF_ECANCELED,
		       "the provider stops; the change itself is kept", NULL);
}
