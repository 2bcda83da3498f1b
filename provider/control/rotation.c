/* The signer's key as it is followed by others: asked from the signer every few seconds, told to
 * each gateway link by link from the one that it has pinned, before any document. When the key has
 * changed, every gateway's desired state counts as changed, so that all of it is signed anew by the
 * way that publishing knows (publish.c). Loop's thread. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/log.h"
#include "provider/control/activation.h"
#include "provider/control/channel.h"

#define HELLO_MS         2000u
#define ROTATE_MS        30000u
#define AFTER_REFUSAL_MS 30000u
#define SETTING          "signer_key"

struct hf_rotation_link {
	uint8_t old_id[HF_KEY_ID_BYTES];
	uint8_t next_id[HF_KEY_ID_BYTES];
	Holdfast__Signed *packet;
};

/* ---- The links ---- */

static void forget_links(struct hf_control *control)
{
	for (size_t i = 0; i < control->link_count; i++)
		holdfast__signed__free_unpacked(control->links[i].packet, NULL);
	free(control->links);
	control->links = NULL;
	control->link_count = 0;
}

/* The signer's own words, over a socket that only it can have made: not verified again here. */
static int read_link(const ProtobufCBinaryData *bytes, struct hf_rotation_link *link)
{
	Holdfast__Rotation *rotation = NULL;
	Holdfast__Change *change = NULL;
	int err = HF_EPROTO;

	link->packet = holdfast__signed__unpack(NULL, bytes->len, bytes->data);
	if (link->packet && link->packet->key.len == HF_KEY_ID_BYTES)
		change = holdfast__change__unpack(NULL, link->packet->body.len,
						  link->packet->body.data);
	if (change && change->kind_case == HOLDFAST__CHANGE__KIND_ROTATION)
		rotation = holdfast__rotation__unpack(NULL, change->rotation.len,
						      change->rotation.data);
	if (rotation && rotation->signer_key.len == HF_KEY_BYTES) {
		memcpy(link->old_id, link->packet->key.data, HF_KEY_ID_BYTES);
		hf_sign_key_id(rotation->signer_key.data, link->next_id);
		err = 0;
	}
	if (rotation)
		holdfast__rotation__free_unpacked(rotation, NULL);
	if (change)
		holdfast__change__free_unpacked(change, NULL);
	if (err && link->packet)
		holdfast__signed__free_unpacked(link->packet, NULL);
	return err;
}

static int take_links(struct hf_control *control, const Holdfast__SignerAnswer *answer)
{
	if (answer->n_rotations == control->link_count)
		return 0;
	forget_links(control);
	control->links = calloc(answer->n_rotations, sizeof control->links[0]);
	if (!control->links)
		return HF_ENOMEM;
	for (size_t i = 0; i < answer->n_rotations; i++) {
		int err = read_link(&answer->rotations[i], &control->links[i]);

		if (err)
			return err;
		control->link_count++;
	}
	return 0;
}

static const struct hf_rotation_link *link_from(const struct hf_control *control,
						const uint8_t id[HF_KEY_ID_BYTES])
{
	for (size_t i = 0; i < control->link_count; i++)
		if (memcmp(control->links[i].old_id, id, HF_KEY_ID_BYTES) == 0)
			return &control->links[i];
	return NULL;
}

/* ---- A new key ---- */

static int note_key(struct hf_control *control, const char *hex)
{
	char known[2 * HF_KEY_BYTES + 1];
	int err = hf_registry_setting_get(control->reg, SETTING, known, sizeof known);

	if (err && err != HF_ENOENT)
		return err;
	if (!err && strcmp(known, hex) == 0)
		return 0;
	/* The first time there is nothing that another key has signed. */
	if (!err)
		err = hf_registry_gateway_bump_all(control->reg);
	if (!err)
		err = hf_registry_activation_void(control->reg);
	return err && err != HF_ENOENT ? err : hf_registry_setting_put(control->reg, SETTING, hex);
}

/* Whichever process sees it first has everything signed anew. */
void hf_rotation_settle(struct hf_control *control)
{
	char hex[2 * HF_KEY_BYTES + 1];
	int err;

	if (control->signer_key_noted)
		return;
	err = hf_registry_begin(control->reg);

	if (err)
		return;
	hf_hex_encode(hex, control->signer_key, HF_KEY_BYTES);
	err = hf_registry_end(control->reg, note_key(control, hex));
	if (err)
		hf_error("the signer's key cannot be noted: %s", hf_registry_why(control->reg));
	control->signer_key_noted = err == 0;
}

static void hello_answered(void *context, int err, const char *reason,
			   const Holdfast__SignerAnswer *answer)
{
	struct hf_control *control = context;

	(void)reason;
	HF_CHECK_MAGIC(control, HF_CONTROL_MAGIC);
	control->asking_hello = false;
	control->hello_due_ms = uv_now(control->loop) + HELLO_MS;
	if (err || answer->signer_key.len != HF_KEY_BYTES || control->stopping)
		return;
	hf_tokens_learn(control, answer);
	hf_authorities_learn(control, answer);
	err = take_links(control, answer);
	if (err) {
		hf_error("the signer's rotations are not understood: %s", hf_err_text(err));
		return;
	}
	if (memcmp(control->signer_key, answer->signer_key.data, HF_KEY_BYTES) != 0) {
		hf_info("the signer's key was rotated");
		memcpy(control->signer_key, answer->signer_key.data, HF_KEY_BYTES);
		control->signer_key_noted = false;
		hf_control_trust_keep_signer_key(control);
		hf_activation_void(control);
		hf_delivery_look_at_all(control);
	}
	hf_rotation_settle(control);
}

void hf_rotation_tick(struct hf_control *control)
{
	Holdfast__SignerRequest request = HOLDFAST__SIGNER_REQUEST__INIT;
	Holdfast__SignerHello hello = HOLDFAST__SIGNER_HELLO__INIT;

	if (!control->trusted || control->asking_hello ||
	    uv_now(control->loop) < control->hello_due_ms)
		return;
	request.kind_case = HOLDFAST__SIGNER_REQUEST__KIND_HELLO;
	request.hello = &hello;
	control->asking_hello = true;
	hf_signer_ask(control->signer, &request, hello_answered, control);
}

void hf_rotation_close(struct hf_control *control)
{
	forget_links(control);
}

/* ---- To one gateway ---- */

int hf_rotation_send(struct hf_channel *channel, enum hf_channel_rotating what,
		     Holdfast__Signed *packet)
{
	Holdfast__Request request = HOLDFAST__REQUEST__INIT;
	int err;

	request.remaining_ms = ROTATE_MS;
	request.kind_case = HOLDFAST__REQUEST__KIND_ROTATE;
	request.rotate = packet;
	err = hf_session_request(channel->link.session, hf_link_now_ms(&channel->link), &request,
				 &channel->rotate_request);
	channel->rotating = err ? HF_ROTATING_NOTHING : what;
	hf_link_rearm(&channel->link);
	return err;
}

bool hf_rotation_pending(struct hf_channel *channel)
{
	const struct hf_rotation_link *link;
	uint8_t id[HF_KEY_ID_BYTES];

	if (channel->rotating != HF_ROTATING_NOTHING)
		return true;
	if (!channel->signer_key_known)
		return false;
	hf_sign_key_id(channel->control->signer_key, id);
	if (memcmp(id, channel->signer_key_id, sizeof id) == 0)
		return hf_authorities_pending(channel);
	channel->look_again = true;
	if (hf_link_now_ms(&channel->link) < channel->rotate_not_before_ms)
		return true;
	link = link_from(channel->control, channel->signer_key_id);
	if (!link) {
		hf_delivery_refused(channel,
				    "the gateway has pinned a key that the signer does not know; "
				    "was the signer's folder restored?");
		return true;
	}
	hf_rotation_send(channel, HF_ROTATING_SIGNER, link->packet);
	return true;
}

static void refused(struct hf_channel *channel, const struct hf_session_event *event)
{
	char id[HF_ID_TEXT_MAX], reason[HF_REG_REASON_MAX + 1];

	channel->rotate_not_before_ms = hf_link_now_ms(&channel->link) + AFTER_REFUSAL_MS;
	snprintf(reason, sizeof reason, "a rotation was not taken by the gateway: %s",
		 event->status ? hf_err_text(event->status) : event->answer->reason);
	hf_delivery_refused(channel, reason);
	hf_warn("%s: %s", hf_id_format(HF_ID_GATEWAY, channel->gateway, id),
		channel->refused_reason ? channel->refused_reason : "");
}

bool hf_rotation_answered(struct hf_channel *channel, const struct hf_session_event *event)
{
	enum hf_channel_rotating what = channel->rotating;
	const struct hf_rotation_link *link;

	if (what == HF_ROTATING_NOTHING || event->request != channel->rotate_request)
		return false;
	channel->rotating = HF_ROTATING_NOTHING;
	channel->rotate_request = 0;
	if (channel->link.ended || event->status == HF_ECONN || event->status == HF_ECANCELED)
		return true;
	if (event->status != 0 || event->answer->error != 0) {
		refused(channel, event);
		return true;
	}
	hf_delivery_refused(channel, NULL);
	if (what == HF_ROTATING_CERTIFICATE) {
		hf_renewal_done(channel);
		return true;
	}
	if (what == HF_ROTATING_AUTHORITIES) {
		channel->authorities = channel->told_authorities;
		hf_renewal_tick(channel);
		return true;
	}
	link = link_from(channel->control, channel->signer_key_id);
	if (link)
		memcpy(channel->signer_key_id, link->next_id, HF_KEY_ID_BYTES);
	channel->apply_not_before_ms = 0;
	hf_delivery_check(channel);
	return true;
}
