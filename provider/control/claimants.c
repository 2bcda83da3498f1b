/* Gateways that are turned away: revoked ones, and those whose identity two machines claim, until
 * an administrator decides. Whoever bars one writes it into the registry; every process looks there
 * once a second and ends what it has of it. Loop's thread. */
#include "provider/control/claimants.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/log.h"
#include "provider/control/admin.h"
#include "provider/control/channel.h"
#include "provider/control/status.h"
#include "provider/control/volumes.h"

#define LOOK_BACK_MS   60000u /* the clocks of processes may differ by less */
#define BARRED_AT_ONCE 256u
#define REVOKED        "this gateway was revoked"
#define REVOKED_MS     300000u
#define CONTESTED_MS   500u   /* to be noted as a claimant */
#define AGAIN_MS       30000u /* until somebody has decided */
#define CONTESTED      "two machines claim to be this gateway; the provider's operator decides"

/* ---- At a Connect ---- */

static int note_claimant(struct hf_channel *channel)
{
	struct hf_reg_claimant claimant = {.gateway = channel->gateway,
					   .token_length = channel->token_length,
					   .last_ms = hf_control_wall_ms()};

	memcpy(claimant.token, channel->token, sizeof claimant.token);
	memcpy(claimant.boot, channel->boot, sizeof claimant.boot);
	snprintf(claimant.address, sizeof claimant.address, "%s", channel->address);
	snprintf(claimant.version, sizeof claimant.version, "%s", channel->version);
	return hf_registry_claimant_note(channel->control->reg, &claimant);
}

int hf_claimants_check(struct hf_channel *channel, struct hf_reg_grant *grant)
{
	enum hf_reg_shown shown = hf_reg_grant_shown(grant, channel->token, channel->token_length);
	int err = HF_EAUTH;

	/* A registry that was restored from a backup knows older tokens than the gateway, and has
	 * forgotten epochs that the gateway was given: that is no copy, if the token proves it. */
	if (shown == HF_REG_SHOWN_OTHER && channel->named_epoch > grant->epoch)
		err = hf_tokens_check(channel->control, channel->gateway, channel->named_epoch,
				      channel->token, channel->token_length);
	/* It may crash before it keeps the next one, and then shows this one again. */
	if (err == 0)
		hf_reg_grant_believe(grant, channel->token, channel->token_length);
	channel->suspect = shown != HF_REG_SHOWN_RIGHT && err != 0;
	return err == HF_ENOTREADY ? err : 0;
}

bool hf_claimants_answered(struct hf_channel *channel, const struct hf_session_event *event)
{
	const char *reason = CONTESTED;
	char id[HF_ID_TEXT_MAX];
	int err;

	if (!channel->suspect)
		return false;
	if (channel->link.ended || event->status != 0)
		return true;
	err = note_claimant(channel);
	if (err == HF_EACCES)
		reason = "the provider's operator decided that another machine is this gateway; "
			 "erase this one's state to activate it anew";
	else if (err)
		reason = "the registry does not answer";
	hf_error("%s at %s: %s", hf_id_format(HF_ID_GATEWAY, channel->gateway, id),
		 channel->address, reason);
	hf_channel_retry(channel, AGAIN_MS, reason, "");
	return true;
}

/* ---- Once a second ---- */

struct barred {
	unsigned count;
	uint64_t gateways[BARRED_AT_ONCE];
};

static int collect_barred(void *context, uint64_t gateway)
{
	struct barred *barred = context;

	barred->gateways[barred->count++] = gateway;
	return barred->count == BARRED_AT_ONCE;
}

/* Ending a connection writes to the registry, so not during the visit. */
static void drop_barred(struct hf_control *control, uint64_t gateway)
{
	struct hf_reg_gateway row;

	if (!hf_channel_any(control, gateway) ||
	    hf_registry_gateway_get(control->reg, gateway, &row) != 0)
		return;
	if (row.state == HF_REG_GATEWAY_REVOKED)
		hf_channel_drop_all(control, gateway, REVOKED_MS, REVOKED);
	else
		hf_channel_drop_all(control, gateway, CONTESTED_MS, CONTESTED);
}

void hf_claimants_tick(struct hf_control *control)
{
	uint64_t now_ms = hf_control_wall_ms();
	struct barred barred = {.count = 0};

	hf_registry_barred_visit(control->reg, now_ms > LOOK_BACK_MS ? now_ms - LOOK_BACK_MS : 1,
				 collect_barred, &barred);
	for (unsigned i = 0; i < barred.count; i++)
		drop_barred(control, barred.gateways[i]);
}

/* ---- What an administrator asks ---- */

struct revoking {
	struct hf_control *control;
	struct hf_local_request *request;
	uint64_t gateway;
};

static void signer_told(void *context, int err, const char *reason,
			const Holdfast__SignerAnswer *answer)
{
	struct revoking *r = context;
	struct hf_errmsg message = {""};
	struct hf_reg_gateway gateway;

	(void)answer;
	/* One that the signer never knew can have nothing signed either. */
	if (err && err != HF_ENOENT)
		hf_fail(&message, err,
			"it is revoked here, but the signer was not told: %.120s; say it again",
			reason[0] ? reason : hf_err_text(err));
	else
		err = hf_registry_gateway_get(r->control->reg, r->gateway, &gateway);
	hf_admin_reply(r->request, err, message.text,
		       err ? NULL : hf_status_gateway_json(r->control, &gateway));
	free(r);
}

static void tell_signer(struct revoking *r, uint64_t tenant)
{
	Holdfast__SignerRequest request = HOLDFAST__SIGNER_REQUEST__INIT;
	Holdfast__SignerRevocation order = HOLDFAST__SIGNER_REVOCATION__INIT;

	order.tenant = tenant;
	order.gateway = r->gateway;
	request.kind_case = HOLDFAST__SIGNER_REQUEST__KIND_REVOCATION;
	request.revocation = &order;
	hf_signer_ask(r->control->signer, &request, signer_told, r);
}

static int bar(struct hf_control *control, const char *who, const struct hf_reg_gateway *gateway)
{
	char id[HF_ID_TEXT_MAX];
	int err = hf_registry_begin(control->reg);

	if (err)
		return err;
	err = hf_registry_gateway_revoke(control->reg, gateway->id, "revoked by an administrator",
					 hf_control_wall_ms());
	if (!err)
		hf_control_audit(control, who, "gateway revoke",
				 hf_id_format(HF_ID_GATEWAY, gateway->id, id), gateway->name);
	return hf_registry_end(control->reg, err);
}

void hf_claimants_revoke(struct hf_control *control, struct hf_local_request *request,
			 const char *text)
{
	struct hf_errmsg message = {""};
	struct hf_reg_gateway gateway;
	struct revoking *r;
	char who[32];
	int err = hf_find_gateway(control, text, &gateway, &message);

	if (!err)
		err = bar(control, hf_admin_who(request, who), &gateway);
	if (err) {
		hf_admin_reply(request, err,
			       message.text[0] ? message.text : "the registry does not answer",
			       NULL);
		return;
	}
	hf_channel_drop_all(control, gateway.id, REVOKED_MS, REVOKED);
	r = calloc(1, sizeof *r);
	HF_ASSERT(r);
	*r = (struct revoking){control, request, gateway.id};
	tell_signer(r, gateway.tenant);
}

static int list_claimant(void *context, const struct hf_reg_claimant *claimant)
{
	char boot[2 * sizeof claimant->boot + 1], token[2 * HF_REG_TOKEN_SIZE + 1];
	uint8_t hash[HF_HASH_BYTES];
	json_t *object = json_object();

	/* The token itself is what its gateway proves itself with. */
	hf_sha256(claimant->token, claimant->token_length, hash);
	hf_hex_encode(token, hash, 4);
	hf_hex_encode(boot, claimant->boot, sizeof claimant->boot);
	json_object_set_new(object, "claimant", json_integer((json_int_t)claimant->number));
	json_object_set_new(object, "state",
			    json_string(claimant->rejected ? "rejected" : "waiting"));
	json_object_set_new(object, "address", json_string(claimant->address));
	json_object_set_new(object, "version", json_string(claimant->version));
	json_object_set_new(object, "token", json_string(claimant->token_length ? token : ""));
	json_object_set_new(object, "boot", json_string(boot));
	hf_status_set_time(object, "first_seen", claimant->first_ms);
	hf_status_set_time(object, "last_seen", claimant->last_ms);
	json_array_append_new(context, object);
	return 0;
}

void hf_claimants_list(struct hf_control *control, struct hf_local_request *request,
		       const char *text)
{
	struct hf_errmsg message = {""};
	struct hf_reg_gateway gateway;
	json_t *list = json_array();
	int err = hf_find_gateway(control, text, &gateway, &message);

	if (!err)
		err = hf_registry_claimant_visit(control->reg, gateway.id, list_claimant, list);
	hf_admin_reply(request, err, message.text, list);
}

void hf_claimants_accept(struct hf_control *control, struct hf_local_request *request,
			 const Holdfast__AdminAccept *accept)
{
	struct hf_errmsg message = {""};
	struct hf_reg_gateway gateway;
	char who[32], id[HF_ID_TEXT_MAX], number[32];
	int err = hf_find_gateway(control, accept->gateway, &gateway, &message);

	if (!err) {
		err = hf_registry_begin(control->reg);
		if (!err) {
			snprintf(number, sizeof number, "claimant %" PRIu64, accept->claimant);
			err = hf_registry_claimant_accept(control->reg, gateway.id,
							  accept->claimant);
			if (!err)
				hf_control_audit(
					control, hf_admin_who(request, who), "gateway accept",
					hf_id_format(HF_ID_GATEWAY, gateway.id, id), number);
			err = hf_registry_end(control->reg, err);
		}
		if (err == HF_ENOENT)
			hf_fail(&message, err, "there is no such claimant");
	}
	hf_admin_reply(request, err, message.text,
		       err ? NULL : hf_status_gateway_json(control, &gateway));
}
