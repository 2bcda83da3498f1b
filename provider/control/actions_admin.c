/* Questions of the administrator about one-shot actions and dry runs (admin.h). Loop's thread. */
#include <string.h>

#include "base/ids.h"
#include "provider/control/actions.h"
#include "provider/control/admin.h"
#include "provider/control/publish.h"
#include "provider/control/volumes.h"

#define EXPIRES_S 86400u
#define LISTED    200u
#define PLAN_MS   20000u /* a dry run is over before, or nobody answers it */

static const char *remark(struct hf_control *control, const struct hf_reg_gateway *gateway)
{
	if (hf_action_away(control, gateway))
		return "the gateway is away; the action is stored and waits for it";
	return hf_publish_obstacle(control);
}

void hf_admin_act(struct hf_control *control, struct hf_local_request *request,
		  const Holdfast__AdminAct *act, uint32_t wait_ms)
{
	struct hf_reg_action action = {.kind = act->kind, .tgtd = act->tgtd};
	struct hf_errmsg message = {""};
	struct hf_reg_gateway gateway;
	char who[32];
	int err = hf_find_gateway(control, act->gateway, &gateway, &message);

	action.expires_ms =
		hf_control_wall_ms() + 1000ull * (act->expires_s ? act->expires_s : EXPIRES_S);
	if (!err)
		err = hf_action_request(control, hf_admin_who(request, who), &gateway, &action,
					&message);
	if (err)
		hf_admin_reply(request, err, message.text, NULL);
	else
		hf_wait_action(control, request, action.number, gateway.id,
			       remark(control, &gateway), wait_ms);
}

struct listing {
	struct hf_control *control;
	json_t *list;
};

static int list_action(void *context, const struct hf_reg_action *action)
{
	struct listing *listing = context;

	json_array_append_new(listing->list, hf_action_json(listing->control, action));
	return 0;
}

void hf_admin_action_list(struct hf_control *control, struct hf_local_request *request,
			  const char *text)
{
	struct listing listing = {control, json_array()};
	struct hf_reg_gateway gateway = {.id = 0};
	struct hf_errmsg message = {""};
	int err = text[0] ? hf_find_gateway(control, text, &gateway, &message) : 0;

	if (!err)
		err = hf_registry_action_visit(control->reg, gateway.id, LISTED, list_action,
					       &listing);
	hf_admin_reply(request, err, err ? message.text : "", listing.list);
}

void hf_admin_action_show(struct hf_control *control, struct hf_local_request *request,
			  const char *text)
{
	struct hf_reg_action action;
	struct hf_errmsg message = {""};
	json_t *object = NULL;
	uint64_t number;
	int err = hf_id_parse(HF_ID_ACTION, text, &number);

	if (!err)
		err = hf_registry_action_get(control->reg, number, &action);
	if (err) {
		hf_fail(&message, err, "there is no action %.40s; see `holdfast action list`",
			text);
	} else {
		object = hf_action_json(control, &action);
		hf_reg_action_free(&action);
	}
	hf_admin_reply(request, err == HF_EINVAL ? HF_ENOENT : err, message.text, object);
}

void hf_admin_plan(struct hf_control *control, struct hf_local_request *request, uint64_t gateway,
		   Holdfast__Document *document)
{
	struct hf_reg_action action;
	struct hf_errmsg message = {""};
	struct hf_reg_gateway row;
	char who[32];
	int err = hf_registry_gateway_get(control->reg, gateway, &row);

	if (!err && !document)
		err = hf_publish_build(control, &row, &document);
	if (!err)
		err = hf_action_plan(control, hf_admin_who(request, who), &row, document, &action,
				     &message);
	holdfast__document__free_unpacked(document, NULL);
	if (err)
		hf_admin_reply(request, err, message.text, NULL);
	else
		hf_wait_action(control, request, action.number, gateway, "", PLAN_MS);
}
