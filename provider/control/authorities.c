/* Authorities as the signer names them: a list with a version, trusted here as soon as it is heard
 * and told to every gateway that follows lists (as a change that the signer signed). While one
 * takes the place of another, gateways' certificates are renewed under the new one (renewal.c); who
 * has one is noted in the registry, and when that is every active gateway, the signer is asked to
 * retire the old one. Loop's thread. */
#include <stdlib.h>
#include <string.h>

#include "base/ids.h"
#include "base/log.h"
#include "net/fingerprint.h"
#include "net/identity.h"
#include "provider/control/channel.h"
#include "provider/control/status.h"

#define RETIREMENT_MS 2000u
#define REFUSED_MS    300000u /* the signer knows of gateways that the registry does not */
#define SENT_MAX      256u    /* lists to gateways, in a second */

void hf_authorities_learn(struct hf_control *control, const Holdfast__SignerAnswer *answer)
{
	const ProtobufCBinaryData *list = &answer->authorities;
	struct hf_errmsg message = {""};
	Holdfast__Signed *packet;
	unsigned count = hf_authorities_count(list->data, list->len, control->next_authority);

	packet = holdfast__signed__unpack(NULL, answer->authorities_statement.len,
					  answer->authorities_statement.data);
	if (count == 0 || !packet) {
		holdfast__signed__free_unpacked(packet, NULL);
		return; /* an older signer */
	}
	holdfast__signed__free_unpacked(control->authorities, NULL);
	control->authorities = packet;
	control->authority_follows = count > 1;
	control->authorities_version = answer->authorities_version;
	if (control->trusted &&
	    hf_trust_take_authorities(control, list->data, list->len, &message) != 0)
		hf_error("the authorities that the signer names: %s", message.text);
}

void hf_authorities_close(struct hf_control *control)
{
	holdfast__signed__free_unpacked(control->authorities, NULL);
	control->authorities = NULL;
}

/* ---- To one gateway ---- */

bool hf_authorities_behind(const struct hf_channel *channel)
{
	return channel->authorities > 0 && channel->control->authorities &&
	       channel->authorities < channel->control->authorities_version;
}

bool hf_authorities_follows(const struct hf_channel *channel)
{
	return channel->authorities > 0 && channel->control->authorities &&
	       memcmp(channel->issuer, channel->control->next_authority, sizeof channel->issuer) !=
		       0;
}

bool hf_authorities_pending(struct hf_channel *channel)
{
	struct hf_control *control = channel->control;

	if (!hf_authorities_behind(channel) ||
	    hf_link_now_ms(&channel->link) < channel->rotate_not_before_ms)
		return false;
	channel->look_again = true;
	if (control->authorities_sent == SENT_MAX)
		return false;
	control->authorities_sent++;
	channel->told_authorities = control->authorities_version;
	return hf_rotation_send(channel, HF_ROTATING_AUTHORITIES, control->authorities) == 0;
}

int hf_authorities_note(struct hf_channel *channel)
{
	if (!channel->control->authority_follows)
		return 0;
	/* Whichever it is: what was issued may never have reached it. */
	return hf_registry_issuer_note(channel->control->reg, channel->gateway, channel->issuer);
}

/* ---- Retirement ---- */

static void retired(void *context, int err, const char *reason,
		    const Holdfast__SignerAnswer *answer)
{
	struct hf_control *control = context;

	(void)answer;
	HF_CHECK_MAGIC(control, HF_CONTROL_MAGIC);
	control->asking_retirement = false;
	if (!err)
		hf_info("no gateway depends on the old authority any more: it is retired");
	else if (err == HF_EBUSY) {
		hf_warn("the old authority cannot retire: %s", reason);
		control->retirement_due_ms = uv_now(control->loop) + REFUSED_MS;
		return;
	}
	control->hello_due_ms = 0;
}

static int count_one(void *context, const struct hf_reg_gateway *gateway)
{
	(void)gateway;
	++*(unsigned *)context;
	return 1; /* one is enough */
}

void hf_authorities_tick(struct hf_control *control)
{
	Holdfast__SignerRequest request = HOLDFAST__SIGNER_REQUEST__INIT;
	Holdfast__SignerRetirement order = HOLDFAST__SIGNER_RETIREMENT__INIT;
	unsigned depending = 0;

	control->authorities_sent = 0;
	if (!control->authority_follows || control->asking_retirement || control->stopping ||
	    uv_now(control->loop) < control->retirement_due_ms)
		return;
	control->retirement_due_ms = uv_now(control->loop) + RETIREMENT_MS;
	if (hf_registry_issuer_visit_others(control->reg, control->next_authority, count_one,
					    &depending) < 0 ||
	    depending > 0)
		return;
	request.kind_case = HOLDFAST__SIGNER_REQUEST__KIND_RETIREMENT;
	request.retirement = &order;
	control->asking_retirement = true;
	hf_signer_ask(control->signer, &request, retired, control);
}

/* ---- For people ---- */

static int add_depending(void *context, const struct hf_reg_gateway *gateway)
{
	char id[HF_ID_TEXT_MAX];

	json_array_append_new(context, json_pack("{s:s, s:s}", "gateway_id",
						 hf_id_format(HF_ID_GATEWAY, gateway->id, id),
						 "name", gateway->name));
	return 0;
}

json_t *hf_authorities_json(struct hf_control *control)
{
	json_t *list = json_array(), *depending = json_array();
	char fingerprint[HF_FINGERPRINT_TEXT_MAX];
	uint8_t key[HF_KEY_BYTES], id[HF_AUTHORITY_ID_BYTES];
	size_t one;

	for (size_t at = 0; at < control->authority_length; at += one) {
		one = hf_authority_first(control->authority + at, control->authority_length - at,
					 id);
		if (one == 0 || hf_certificate_key(control->authority + at, one, key) != 0)
			break;
		json_array_append_new(list, json_pack("{s:s, s:b}", "fingerprint",
						      hf_key_fingerprint(key, fingerprint),
						      "in_use", at == 0));
	}
	if (control->authority_follows)
		hf_registry_issuer_visit_others(control->reg, control->next_authority,
						add_depending, depending);
	return json_pack("{s:I, s:b, s:o, s:o}", "version",
			 (json_int_t)control->authorities_version, "rotating",
			 (int)control->authority_follows, "authorities", list, "depending",
			 depending);
}
