/* Requesting and signing one-shot actions (actions.h); actions_send.c sends them. */
#include "provider/control/actions.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/ids.h"
#include "base/log.h"
#include "provider/control/admin.h"

#define SIGNING_MAGIC 0x7369676eu
#define BATCH_MAX     256u
#define BATCH_BYTES   (1u << 20) /* of documents; one alone may have more */
#define PLAN_MS       15000u     /* nobody waits longer for a dry run */

/* ---- Requesting ---- */

int hf_action_request(struct hf_control *control, const char *who,
		      const struct hf_reg_gateway *gateway, struct hf_reg_action *action,
		      struct hf_errmsg *message)
{
	char object[HF_ID_TEXT_MAX];
	int err;

	if (gateway->state != HF_REG_GATEWAY_ACTIVE)
		return hf_fail(message, HF_EACCES, "gateway %s is not active", gateway->name);
	action->gateway = gateway->id;
	snprintf(action->who, sizeof action->who, "%s", who);
	err = hf_registry_begin(control->reg);
	if (!err) {
		err = hf_registry_action_add(control->reg, action, hf_control_wall_ms());
		if (!err)
			hf_control_audit(control, who, hf_action_kind_text(action->kind),
					 hf_id_format(HF_ID_ACTION, action->number, object),
					 gateway->name);
		err = hf_registry_end(control->reg, err);
	}
	if (err == HF_EBUSY)
		return hf_fail(message, err, "%u actions of gateway %s have not ended",
			       HF_REG_ACTIONS_OPEN_MAX, gateway->name);
	if (err == HF_EUNKNOWN)
		return hf_fail(message, err, "%.200s; look at the actions of the gateway",
			       hf_registry_why(control->reg));
	if (err)
		return hf_fail(message, err, "nothing was requested: %.200s",
			       hf_registry_why(control->reg));
	hf_actions_tick(control);
	return 0;
}

bool hf_action_away(struct hf_control *control, const struct hf_reg_gateway *gateway)
{
	return !hf_channel_find(control, gateway->id) &&
	       (gateway->process == 0 || gateway->process == hf_registry_process(control->reg));
}

static void clear(ProtobufCBinaryData *secret)
{
	free(secret->data);
	*secret = (ProtobufCBinaryData){0, NULL};
}

int hf_action_plan(struct hf_control *control, const char *who,
		   const struct hf_reg_gateway *gateway, Holdfast__Document *document,
		   struct hf_reg_action *action, struct hf_errmsg *message)
{
	int err;

	if (hf_action_away(control, gateway))
		return hf_fail(message, HF_ENOTREADY,
			       "gateway %s is away and cannot be asked what it would do",
			       gateway->name);
	for (size_t i = 0; i < document->n_volumes; i++)
		clear(&document->volumes[i]->sealed);
	for (size_t i = 0; i < document->n_tombstones; i++)
		clear(&document->tombstones[i]->sealed);
	if (document->store)
		clear(&document->store->sealed);
	if (document->network)
		clear(&document->network->sealed);
	memset(action, 0, sizeof *action);
	action->kind = HOLDFAST__ACTION_KIND__ACTION_PLAN;
	action->expires_ms = hf_control_wall_ms() + PLAN_MS;
	action->document_length = holdfast__document__get_packed_size(document);
	action->document = malloc(action->document_length + 1);
	HF_ASSERT(action->document);
	holdfast__document__pack(document, action->document);
	err = hf_action_request(control, who, gateway, action, message);
	hf_reg_action_free(action);
	return err;
}

/* ---- Signing ---- */

struct signing {
	uint32_t magic;
	struct hf_control *control;
	size_t count, bytes;
	uint64_t numbers[BATCH_MAX], gateways[BATCH_MAX];
	Holdfast__SignerOrder orders[BATCH_MAX], *list[BATCH_MAX];
	Holdfast__SignerAction parts[BATCH_MAX];
};

static ProtobufCBinaryData encode(const struct hf_reg_action *from)
{
	Holdfast__Action action = HOLDFAST__ACTION__INIT;
	ProtobufCBinaryData bytes;

	action.action = from->number;
	action.kind = (Holdfast__ActionKind)from->kind;
	action.tgtd = from->tgtd;
	action.document = (ProtobufCBinaryData){from->document_length, from->document};
	bytes.len = holdfast__action__get_packed_size(&action);
	bytes.data = malloc(bytes.len + 1);
	HF_ASSERT(bytes.data);
	holdfast__action__pack(&action, bytes.data);
	return bytes;
}

static int add_order(void *context, const struct hf_reg_action *action)
{
	struct signing *signing = context;
	size_t i = signing->count;
	Holdfast__SignerAction *part = &signing->parts[i];
	struct hf_reg_gateway gateway;

	if (i == BATCH_MAX || (i > 0 && signing->bytes + action->document_length > BATCH_BYTES))
		return 1;
	holdfast__signer_order__init(&signing->orders[i]);
	holdfast__signer_action__init(part);
	part->tenant = signing->control->info.tenant;
	part->gateway = action->gateway;
	part->kind_case = HOLDFAST__SIGNER_ACTION__KIND_ACTION;
	part->action = encode(action);
	if (hf_registry_gateway_get(signing->control->reg, action->gateway, &gateway) == 0)
		part->sequence_floor = gateway.sequence;
	signing->orders[i].kind_case = HOLDFAST__SIGNER_ORDER__KIND_ACTION;
	signing->orders[i].action = part;
	signing->list[i] = &signing->orders[i];
	signing->numbers[i] = action->number;
	signing->gateways[i] = action->gateway;
	signing->bytes += action->document_length;
	signing->count++;
	return 0;
}

static void free_signing(struct signing *signing)
{
	for (size_t i = 0; i < signing->count; i++)
		free(signing->parts[i].action.data);
	signing->magic = 0;
	free(signing);
}

/* The signer will not have it: that is how it ends. */
static int end_refused(struct hf_control *control, uint64_t number, uint64_t gateway,
		       const Holdfast__SignerResult *result)
{
	struct hf_reg_action action = {.number = number,
				       .gateway = gateway,
				       .outcome = HOLDFAST__ACTION_OUTCOME__OUTCOME_REFUSED,
				       .error = result->error,
				       .forgotten = true};

	snprintf(action.reason, sizeof action.reason, "the signer: %s", result->reason);
	return hf_registry_action_end(control->reg, 0, &action, hf_control_wall_ms());
}

/* The sequence of the change that the signer made; 0: it cannot be read. */
static uint64_t sequence_of(const ProtobufCBinaryData *bytes)
{
	Holdfast__Signed *outer = holdfast__signed__unpack(NULL, bytes->len, bytes->data);
	Holdfast__Change *change =
		outer ? holdfast__change__unpack(NULL, outer->body.len, outer->body.data) : NULL;
	uint64_t sequence = change ? change->sequence : 0;

	holdfast__change__free_unpacked(change, NULL);
	holdfast__signed__free_unpacked(outer, NULL);
	return sequence;
}

/* `stored` false: nothing has changed, and the tick tries again. */
static int store_one(struct signing *signing, size_t i, const Holdfast__SignerResult *result,
		     bool *stored)
{
	struct hf_control *control = signing->control;
	uint64_t number = signing->numbers[i];
	char id[HF_ID_TEXT_MAX];
	int err;

	*stored = false;
	if (result->error == 0) {
		err = hf_registry_action_signed(
			control->reg, number, sequence_of(&result->signed_change),
			result->signed_change.data, result->signed_change.len);
	} else if (hf_signer_error_passes(-result->error)) {
		hf_warn("%s waits: %s", hf_id_format(HF_ID_ACTION, number, id), result->reason);
		return 0;
	} else {
		err = end_refused(control, number, signing->gateways[i], result);
	}
	*stored = err == 0;
	return err == HF_ENOENT || err == HF_ESTALE ? 0 : err;
}

/* All of them in one transaction. What somebody else stored meanwhile stays. */
static int store(struct signing *signing, const Holdfast__SignerAnswer *answer, bool *progress)
{
	struct hf_control *control = signing->control;
	int err = hf_registry_begin(control->reg);
	bool stored;

	*progress = false;
	if (err)
		return err;
	for (size_t i = 0; !err && i < signing->count; i++) {
		err = store_one(signing, i, answer->results[i], &stored);
		*progress |= stored;
	}
	return hf_registry_end(control->reg, err);
}

static void on_signed(void *context, int err, const char *reason,
		      const Holdfast__SignerAnswer *answer)
{
	struct signing *signing = context;
	struct hf_control *control = signing->control;
	bool progress = false;

	HF_CHECK_MAGIC(signing, SIGNING_MAGIC);
	control->signing_actions = false;
	if (!err && answer->n_results != signing->count)
		err = HF_EPROTO;
	if (!err)
		err = store(signing, answer, &progress);
	/* The tick tries again. */
	if (err && err != HF_ECONN && err != HF_ETIMEDOUT)
		hf_error("actions are not signed: %s", reason[0] ? reason : hf_err_text(err));
	for (size_t i = 0; !err && i < signing->count; i++) {
		hf_route_notify(control->route, signing->gateways[i]);
		hf_admin_changed(control, 0, signing->gateways[i]);
	}
	free_signing(signing);
	if (!err && progress)
		hf_actions_tick(control);
}

static void sign(struct hf_control *control)
{
	Holdfast__SignerRequest request = HOLDFAST__SIGNER_REQUEST__INIT;
	Holdfast__SignerBatch batch = HOLDFAST__SIGNER_BATCH__INIT;
	struct signing *signing = calloc(1, sizeof *signing);
	int err;

	HF_ASSERT(signing);
	signing->magic = SIGNING_MAGIC;
	signing->control = control;
	err = hf_registry_action_unsigned(control->reg, BATCH_MAX, add_order, signing);
	if (err < 0 || signing->count == 0) {
		free_signing(signing);
		return;
	}
	batch.orders = signing->list;
	batch.n_orders = signing->count;
	request.kind_case = HOLDFAST__SIGNER_REQUEST__KIND_BATCH;
	request.batch = &batch;
	control->signing_actions = true;
	hf_signer_ask(control->signer, &request, on_signed, signing);
}

void hf_actions_tick(struct hf_control *control)
{
	if (control->stopping)
		return;
	hf_registry_action_expire(control->reg, hf_control_wall_ms(),
				  HOLDFAST__ACTION_OUTCOME__OUTCOME_EXPIRED, -HF_ETIMEDOUT,
				  "the gateway did not come in time; nothing was done");
	if (!control->signing_actions)
		sign(control);
}

/* ---- For people ---- */

static const char *const kinds[] = {
	[HOLDFAST__ACTION_KIND__ACTION_RESTART_TARGET] = "restart-target",
	[HOLDFAST__ACTION_KIND__ACTION_RESTART_VOLUMED] = "restart-volumed",
	[HOLDFAST__ACTION_KIND__ACTION_DIAGNOSE] = "diagnose",
	[HOLDFAST__ACTION_KIND__ACTION_RESCAN] = "rescan",
	[HOLDFAST__ACTION_KIND__ACTION_PLAN] = "plan",
	[HOLDFAST__ACTION_KIND__ACTION_SNAPSHOT] = "snapshot",
	[HOLDFAST__ACTION_KIND__ACTION_UPDATE] = "update",
};

const char *hf_action_kind_text(uint32_t kind)
{
	return kind < sizeof kinds / sizeof kinds[0] && kinds[kind] ? kinds[kind] : "unknown";
}

static const char *state_text(const struct hf_reg_action *action)
{
	static const char *const outcomes[] = {
		[HOLDFAST__ACTION_OUTCOME__OUTCOME_DONE] = "done",
		[HOLDFAST__ACTION_OUTCOME__OUTCOME_FAILED] = "failed",
		[HOLDFAST__ACTION_OUTCOME__OUTCOME_UNKNOWN] = "unknown",
		[HOLDFAST__ACTION_OUTCOME__OUTCOME_EXPIRED] = "expired",
		[HOLDFAST__ACTION_OUTCOME__OUTCOME_REFUSED] = "refused",
	};

	if (action->state == HF_REG_ACTION_REQUESTED)
		return "requested";
	if (action->state == HF_REG_ACTION_READY)
		return action->sent ? "sent" : "stored";
	return action->outcome < sizeof outcomes / sizeof outcomes[0] && outcomes[action->outcome]
		       ? outcomes[action->outcome]
		       : "unknown";
}

static json_t *planned_json(const Holdfast__PlannedVolume *planned)
{
	char id[HF_ID_TEXT_MAX];
	json_t *steps = json_array(), *object;

	for (size_t i = 0; i < planned->n_steps; i++)
		json_array_append_new(steps, json_string(planned->steps[i]));
	object = json_pack("{s:s, s:o, s:b}", "volume_id",
			   hf_id_format(HF_ID_VOLUME, planned->volume, id), "steps", steps,
			   "waiting", (int)planned->waiting);
	if (planned->error)
		json_object_set_new(object, "reason", json_string(planned->reason));
	return object;
}

static void add_plan(json_t *object, const struct hf_reg_action *action)
{
	Holdfast__PlanReport *plan =
		holdfast__plan_report__unpack(NULL, action->report_length, action->report);
	json_t *volumes = json_array();

	for (size_t i = 0; plan && i < plan->n_volumes; i++)
		json_array_append_new(volumes, planned_json(plan->volumes[i]));
	json_object_set_new(object, "plan", volumes);
	if (plan && plan->error)
		json_object_set_new(object, "would_be_refused", json_string(plan->reason));
	if (plan)
		json_object_set_new(object, "network_changes", json_boolean(plan->network_changes));
	holdfast__plan_report__free_unpacked(plan, NULL);
}

json_t *hf_action_json(struct hf_control *control, const struct hf_reg_action *action)
{
	struct hf_reg_gateway gateway = {.name = ""};
	char id[HF_ID_TEXT_MAX], gateway_id[HF_ID_TEXT_MAX];
	json_t *object;

	hf_registry_gateway_get(control->reg, action->gateway, &gateway);
	object = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I}", "action_id",
			   hf_id_format(HF_ID_ACTION, action->number, id), "kind",
			   hf_action_kind_text(action->kind), "state", state_text(action), "reason",
			   action->reason, "gateway_id",
			   hf_id_format(HF_ID_GATEWAY, action->gateway, gateway_id), "gateway_name",
			   gateway.name, "who", action->who, "sent", (json_int_t)action->sent,
			   "created_at", (json_int_t)(action->created_ms / 1000));
	if (!object)
		return NULL;
	if (action->expires_ms)
		json_object_set_new(object, "expires_at",
				    json_integer((json_int_t)(action->expires_ms / 1000)));
	if (action->ended_ms)
		json_object_set_new(object, "ended_at",
				    json_integer((json_int_t)(action->ended_ms / 1000)));
	if (action->error)
		json_object_set_new(object, "error", json_string(hf_err_name(-action->error)));
	if (action->kind == HOLDFAST__ACTION_KIND__ACTION_PLAN && action->report)
		add_plan(object, action);
	else if (action->report_length)
		json_object_set_new(
			object, "report",
			json_stringn((const char *)action->report, action->report_length));
	return object;
}
