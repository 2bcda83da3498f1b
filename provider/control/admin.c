/* Questions of the administrator's command over RUN_DIR/provider.sock: decode, validate, act,
 * answer with JSON. Only root and the provider's own uid may connect (net/local.h). Loop's thread.
 */
#include "provider/control/admin.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "provider/control/activation.h"
#include "provider/control/claimants.h"
#include "provider/control/network.h"
#include "provider/control/status.h"
#include "provider/control/validate.h"
#include "provider/control/volumes.h"
#include "provider/control/lookers.h"

#define ANSWER_MAX (HF_LOCAL_FRAME_MAX - 64u)

void hf_admin_reply(struct hf_local_request *request, int err, const char *reason, json_t *json)
{
	Holdfast__AdminAnswer answer = HOLDFAST__ADMIN_ANSWER__INIT;
	char *text = json ? json_dumps(json, JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL;
	size_t length;
	uint8_t *bytes;

	if (!err && !text) {
		err = HF_ENOMEM;
		reason = "the answer could not be put together";
	}
	answer.error = -err;
	answer.reason = (char *)(uintptr_t)(err && !reason[0] ? hf_err_text(err) : reason);
	answer.json = text ? text : answer.json;
	length = holdfast__admin_answer__get_packed_size(&answer);
	if (length > ANSWER_MAX) {
		answer.error = -HF_ETOOBIG;
		answer.reason = (char *)(uintptr_t) "the list is too long for one answer";
		answer.json = (char *)(uintptr_t) "";
		length = holdfast__admin_answer__get_packed_size(&answer);
	}
	bytes = malloc(length + 1);
	HF_ASSERT(bytes);
	holdfast__admin_answer__pack(&answer, bytes);
	hf_local_reply(request, bytes, length);
	free(bytes);
	free(text);
	json_decref(json);
}

const char *hf_admin_who(struct hf_local_request *request, char text[32])
{
	snprintf(text, 32, "uid %lu", (unsigned long)hf_local_request_uid(request));
	return text;
}

struct listing {
	struct hf_control *control;
	json_t *list;
};

static int list_gateway(void *context, const struct hf_reg_gateway *gateway)
{
	struct listing *listing = context;

	json_array_append_new(listing->list, hf_status_gateway_json(listing->control, gateway));
	return 0;
}

static int list_volume(void *context, const struct hf_reg_volume *volume)
{
	struct listing *listing = context;
	json_t *object = hf_status_volume_json(listing->control, volume);

	if (!object)
		return HF_EIO;
	json_array_append_new(listing->list, object);
	return 0;
}

static void answer_list(struct hf_control *control, struct hf_local_request *request, bool gateways)
{
	struct listing listing = {control, json_array()};
	int err = gateways ? hf_registry_gateway_visit(control->reg, list_gateway, &listing)
			   : hf_registry_volume_visit(control->reg, list_volume, &listing);

	hf_admin_reply(request, err, err ? "the registry does not answer" : "", listing.list);
}

static void show_gateway(struct hf_control *control, struct hf_local_request *request,
			 const char *text)
{
	struct hf_errmsg message = {""};
	struct hf_reg_gateway gateway;
	int err = hf_find_gateway(control, text, &gateway, &message);

	if (!err)
		hf_lookers_add(control, gateway.id);
	hf_admin_reply(request, err, message.text,
		       err ? NULL : hf_status_gateway_json(control, &gateway));
}

static void activate(struct hf_control *control, struct hf_local_request *request,
		     const Holdfast__AdminActivate *activate)
{
	struct hf_errmsg message = {""};
	struct hf_reg_gateway gateway;
	char who[32];
	int err = hf_claim_activate(control, hf_admin_who(request, who), activate->key,
				    activate->name, &gateway, &message);

	if (!err)
		hf_fail(&message, 0,
			"compare the fingerprint with the gateway's console, then: holdfast "
			"gateway confirm %s",
			gateway.name);
	hf_admin_reply(request, err, message.text,
		       err ? NULL : hf_status_gateway_json(control, &gateway));
}

struct confirmation {
	struct hf_control *control;
	struct hf_local_request *request;
	uint64_t gateway;
	uint32_t wait_ms;
};

static void confirmed(void *context, int err, const char *reason)
{
	struct confirmation *c = context;
	struct hf_reg_gateway gateway;

	if (!err)
		err = hf_registry_gateway_get(c->control->reg, c->gateway, &gateway);
	if (err)
		hf_admin_reply(c->request, err, reason, NULL);
	else
		hf_wait_gateway(c->control, c->request, &gateway, HF_GOAL_HELD, c->wait_ms);
	free(c);
}

static void confirm(struct hf_control *control, struct hf_local_request *request, const char *text,
		    uint32_t wait_ms)
{
	struct hf_errmsg message = {""};
	struct hf_reg_gateway gateway;
	struct confirmation *c;
	char who[32];
	int err = hf_find_gateway(control, text, &gateway, &message);

	if (err) {
		hf_admin_reply(request, err, message.text, NULL);
		return;
	}
	c = calloc(1, sizeof *c);
	HF_ASSERT(c);
	*c = (struct confirmation){control, request, gateway.id, wait_ms};
	hf_claim_confirm(control, hf_admin_who(request, who), gateway.id, confirmed, c);
}

/* attach, detach, delete: change what is desired, then wait if asked to. */
static void change_volume(struct hf_control *control, struct hf_local_request *request,
			  const Holdfast__AdminRequest *admin)
{
	struct hf_errmsg message = {""};
	struct hf_reg_gateway gateway;
	struct hf_reg_volume volume;
	struct hf_dry_run dry_run = {NULL};
	enum hf_goal goal = HF_GOAL_NONE;
	bool attached = false;
	const char *text = admin->kind_case == HOLDFAST__ADMIN_REQUEST__KIND_VOLUME_ATTACH
				   ? admin->volume_attach->volume
			   : admin->kind_case == HOLDFAST__ADMIN_REQUEST__KIND_VOLUME_GROW
				   ? admin->volume_grow->volume
				   : admin->volume_detach->volume;
	char who[32];
	int err = hf_find_volume(control, text, &volume, &message);

	hf_admin_who(request, who);
	if (err) {
		hf_admin_reply(request, err, message.text, NULL);
		return;
	}
	control->dry_run = admin->dry_run ? &dry_run : NULL;
	switch (admin->kind_case) {
	case HOLDFAST__ADMIN_REQUEST__KIND_VOLUME_SHOW:
		goal = HF_GOAL_FRESH;
		break;
	case HOLDFAST__ADMIN_REQUEST__KIND_VOLUME_ATTACH:
		goal = HF_GOAL_AVAILABLE;
		err = hf_find_gateway(control, admin->volume_attach->gateway, &gateway, &message);
		if (!err)
			err = hf_volume_attach(control, who, &volume, &gateway,
					       admin->volume_attach->force, &message);
		break;
	case HOLDFAST__ADMIN_REQUEST__KIND_VOLUME_DETACH:
		goal = HF_GOAL_DETACHED;
		err = hf_volume_detach(control, who, &volume, &message);
		break;
	case HOLDFAST__ADMIN_REQUEST__KIND_VOLUME_GROW:
		err = hf_volume_grow(control, who, &volume, admin->volume_grow->size_bytes,
				     &attached, &message);
		goal = attached ? HF_GOAL_AVAILABLE : HF_GOAL_DETACHED;
		break;
	default:
		goal = HF_GOAL_GONE;
		err = hf_volume_delete(control, who, &volume, admin->volume_delete->force,
				       &message);
		break;
	}
	control->dry_run = NULL;
	if (err)
		hf_admin_reply(request, err, message.text, NULL);
	else if (admin->dry_run)
		hf_admin_plan(control, request, volume.gateway, dry_run.document);
	else
		hf_wait_volume(control, request, &volume, goal, admin->wait_ms);
}

static void try_create(struct hf_control *control, struct hf_local_request *request,
		       const Holdfast__AdminVolumeCreate *create)
{
	struct hf_dry_run dry_run = {NULL};
	struct hf_errmsg message = {""};
	struct hf_reg_gateway gateway;
	struct hf_reg_volume volume = {.id = 0};
	char who[32];
	int err = hf_find_gateway(control, create->gateway, &gateway, &message);

	if (!err)
		err = hf_volume_may_create(control, create->name, &gateway, &message);
	if (!err) {
		hf_create_volume_row(control, create, &gateway, &volume);
		control->dry_run = &dry_run;
		err = hf_volume_create(control, hf_admin_who(request, who), &volume, &message);
		control->dry_run = NULL;
	}
	if (err)
		hf_admin_reply(request, err, message.text, NULL);
	else
		hf_admin_plan(control, request, gateway.id, dry_run.document);
}

static void plan_gateway(struct hf_control *control, struct hf_local_request *request,
			 const char *text)
{
	struct hf_errmsg message = {""};
	struct hf_reg_gateway gateway;
	int err = hf_find_gateway(control, text, &gateway, &message);

	if (err)
		hf_admin_reply(request, err, message.text, NULL);
	else
		hf_admin_plan(control, request, gateway.id, NULL);
}

static void dispatch(struct hf_control *control, struct hf_local_request *request,
		     const Holdfast__AdminRequest *admin)
{
	struct hf_errmsg message = {""};
	int err = hf_validate_request(admin, &message);

	if (err) {
		hf_admin_reply(request, err, message.text, NULL);
		return;
	}
	switch (admin->kind_case) {
	case HOLDFAST__ADMIN_REQUEST__KIND_INFO:
		hf_admin_reply(request, 0, "", hf_status_info_json(control));
		break;
	case HOLDFAST__ADMIN_REQUEST__KIND_AUTHORITIES:
		hf_admin_reply(request, 0, "", hf_authorities_json(control));
		break;
	case HOLDFAST__ADMIN_REQUEST__KIND_GATEWAY_LIST:
	case HOLDFAST__ADMIN_REQUEST__KIND_VOLUME_LIST:
		answer_list(control, request,
			    admin->kind_case == HOLDFAST__ADMIN_REQUEST__KIND_GATEWAY_LIST);
		break;
	case HOLDFAST__ADMIN_REQUEST__KIND_GATEWAY_SHOW:
		show_gateway(control, request, admin->gateway_show->gateway);
		break;
	case HOLDFAST__ADMIN_REQUEST__KIND_ACTIVATE:
		activate(control, request, admin->activate);
		break;
	case HOLDFAST__ADMIN_REQUEST__KIND_CONFIRM:
		confirm(control, request, admin->confirm->gateway, admin->wait_ms);
		break;
	case HOLDFAST__ADMIN_REQUEST__KIND_GATEWAY_REVOKE:
		hf_claimants_revoke(control, request, admin->gateway_revoke->gateway);
		break;
	case HOLDFAST__ADMIN_REQUEST__KIND_GATEWAY_CLAIMANTS:
		hf_claimants_list(control, request, admin->gateway_claimants->gateway);
		break;
	case HOLDFAST__ADMIN_REQUEST__KIND_GATEWAY_ACCEPT:
		hf_claimants_accept(control, request, admin->gateway_accept);
		break;
	case HOLDFAST__ADMIN_REQUEST__KIND_VOLUME_CREATE:
		if (admin->dry_run)
			try_create(control, request, admin->volume_create);
		else
			hf_create_volume(control, request, admin->volume_create, admin->wait_ms);
		break;
	case HOLDFAST__ADMIN_REQUEST__KIND_VOLUME_CHAP:
		hf_change_chap(control, request, admin->volume_chap, admin->wait_ms);
		break;
	case HOLDFAST__ADMIN_REQUEST__KIND_ACT:
		hf_admin_act(control, request, admin->act, admin->wait_ms);
		break;
	case HOLDFAST__ADMIN_REQUEST__KIND_ACTION_LIST:
		hf_admin_action_list(control, request, admin->action_list->gateway);
		break;
	case HOLDFAST__ADMIN_REQUEST__KIND_ACTION_SHOW:
		hf_admin_action_show(control, request, admin->action_show->action);
		break;
	case HOLDFAST__ADMIN_REQUEST__KIND_GATEWAY_NETWORK:
		hf_network_set(control, request, admin->gateway_network);
		break;
	case HOLDFAST__ADMIN_REQUEST__KIND_GATEWAY_PLAN:
		plan_gateway(control, request, admin->gateway_plan->gateway);
		break;
	default:
		change_volume(control, request, admin);
		break;
	}
}

static void wipe_text(char *text)
{
	explicit_bzero(text, strlen(text));
}

static void wipe_secrets(Holdfast__AdminRequest *admin)
{
	if (admin->kind_case == HOLDFAST__ADMIN_REQUEST__KIND_VOLUME_CREATE) {
		wipe_text(admin->volume_create->chap_secret);
		wipe_text(admin->volume_create->mutual_secret);
	} else if (admin->kind_case == HOLDFAST__ADMIN_REQUEST__KIND_VOLUME_CHAP) {
		wipe_text(admin->volume_chap->chap_secret);
		wipe_text(admin->volume_chap->mutual_secret);
	} else if (admin->kind_case == HOLDFAST__ADMIN_REQUEST__KIND_GATEWAY_NETWORK) {
		wipe_text(admin->gateway_network->proxy_password);
	}
}

static void asked(void *context, struct hf_local_request *request, const uint8_t *bytes,
		  size_t length)
{
	struct hf_control *control = context;
	Holdfast__AdminRequest *admin;

	HF_CHECK_MAGIC(control, HF_CONTROL_MAGIC);
	admin = holdfast__admin_request__unpack(NULL, length, bytes);
	if (!admin) {
		hf_admin_reply(request, HF_EPROTO, "this is not a request", NULL);
		return;
	}
	dispatch(control, request, admin);
	wipe_secrets(admin);
	holdfast__admin_request__free_unpacked(admin, NULL);
}

int hf_admin_open(struct hf_control *control, struct hf_errmsg *message)
{
	char path[PATH_MAX];
	struct hf_local_server_config config = {
		.path = path, .mode = 0600, .request = asked, .context = control};

	snprintf(path, sizeof path, "%s/provider.sock", control->config.run_dir);
	return hf_local_listen(control->loop, &config, &control->admin, message);
}

void hf_admin_close(struct hf_control *control)
{
	hf_creating_close(control);
	hf_network_set_close(control);
	hf_waiting_close(control);
	if (control->admin)
		hf_local_server_close(control->admin, NULL, NULL);
	control->admin = NULL;
}
