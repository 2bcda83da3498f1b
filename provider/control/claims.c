/* What the administrator does with a gateway that shows an activation key: activate (enter the key,
 * which proves that nobody swapped a public key on the way), confirm (the signer issues the
 * certificate, which leaves over the connection that is already held), and what the gateway's owner
 * may do in between: refuse. A key is good for one claim. Loop's thread. */
#include "provider/control/activation.h"

#include <stdlib.h>
#include <string.h>

#include "base/ids.h"
#include "base/log.h"
#include "net/activation_key.h"
#include "provider/control/admin.h"
#include "provider/control/channel.h"
#include "provider/control/publish.h"
#include "provider/control/validate.h"

#define WRONG_TRIES_MAX 3u

/* ---- Activate ---- */

static int check_hash(struct hf_control *control, struct hf_reg_activation *a, const uint8_t *hash,
		      struct hf_errmsg *message)
{
	if (hf_activation_hash_compare(a->check, hash) == 0)
		return 0;
	/* The number is right and the hash is not: a swapped key, or a guess. Few tries. What was
	 * claimed is past that: a slip must not take a gateway's certificate away. */
	if (a->state != HF_REG_ACTIVATION_OFFERED)
		return hf_fail(message, HF_EAUTH, "this key was used already, and is not quite it");
	if (++a->wrong_tries >= WRONG_TRIES_MAX)
		a->state = HF_REG_ACTIVATION_REFUSED;
	hf_registry_activation_put(control->reg, a);
	if (a->state == HF_REG_ACTIVATION_REFUSED)
		hf_activation_push(control, a);
	return hf_fail(message, HF_EAUTH,
		       "the key does not fit the keys of the gateway that is connected under its "
		       "number: somebody between may have swapped a public key; do not activate "
		       "over this network");
}

static int find_claimable(struct hf_control *control, const uint8_t *number, const uint8_t *hash,
			  struct hf_reg_activation *a, struct hf_errmsg *message)
{
	int err = hf_registry_activation_get(control->reg, number, a);

	if (err == HF_ENOENT)
		return hf_fail(message, err,
			       "no gateway shows this key: it ran out, or belongs to another "
			       "provider");
	if (err)
		return hf_fail(message, err, "the registry: %.200s", hf_registry_why(control->reg));
	err = check_hash(control, a, hash, message);
	if (err)
		return err;
	if (a->state != HF_REG_ACTIVATION_OFFERED)
		return hf_fail(message, HF_EEXIST, "this key was used already");
	if (a->expires_ms <= hf_control_wall_ms())
		return hf_fail(message, HF_ETIMEDOUT,
			       "this key ran out; the gateway shows a new "
			       "one");
	return 0;
}

static uint64_t random_id(void)
{
	uint64_t id;

	do
		hf_random(&id, sizeof id);
	while (id == 0);
	return id;
}

/* Within a transaction. */
static int claim(struct hf_control *control, const char *who, struct hf_reg_activation *a,
		 struct hf_reg_gateway *gateway)
{
	char id[HF_ID_TEXT_MAX];
	int err;

	a->state = HF_REG_ACTIVATION_CLAIMED;
	a->gateway = gateway->id;
	err = hf_registry_gateway_insert(control->reg, gateway);
	if (!err)
		err = hf_registry_activation_put(control->reg, a);
	if (!err)
		hf_control_audit(control, who, "gateway activate",
				 hf_id_format(HF_ID_GATEWAY, gateway->id, id), gateway->name);
	return err;
}

static void gateway_from(const struct hf_control *control, const struct hf_reg_activation *a,
			 const char *name, struct hf_reg_gateway *gateway)
{
	memset(gateway, 0, sizeof *gateway);
	gateway->id = random_id();
	gateway->tenant = control->info.tenant;
	snprintf(gateway->name, sizeof gateway->name, "%s", name);
	gateway->state = HF_REG_GATEWAY_CLAIMED;
	memcpy(gateway->identity_key, a->identity_key, HF_KEY_BYTES);
	memcpy(gateway->sealing_key, a->sealing_key, HF_KEY_BYTES);
	memcpy(gateway->host, a->host, sizeof gateway->host);
	memcpy(gateway->version, a->version, sizeof gateway->version);
	memcpy(gateway->portal, a->portal, sizeof gateway->portal);
}

int hf_claim_activate(struct hf_control *control, const char *who, const char *key,
		      const char *name, struct hf_reg_gateway *gateway, struct hf_errmsg *message)
{
	uint8_t number[HF_ACTIVATION_NUMBER_BYTES], hash[HF_ACTIVATION_HASH_BYTES];
	uint64_t now_ms = uv_now(control->loop);
	struct hf_reg_activation a;
	int wrong, err = hf_validate_name("gateway", name, message);

	if (err)
		return err;
	if (hf_activation_key_parse(key, number, hash) != 0)
		return hf_fail(message, HF_EINVAL,
			       "this is not an activation key, or it is "
			       "mistyped");
	if (!hf_bucket_has(&control->wrong_keys, now_ms))
		return hf_fail(message, HF_EAGAIN, "too many wrong keys; wait a minute");
	if (hf_registry_gateway_find(control->reg, control->info.tenant, name, gateway) == 0)
		return hf_fail(message, HF_EEXIST, "a gateway named %s exists", name);
	/* In one transaction: the key may be entered at another process too. */
	err = hf_registry_begin(control->reg);
	if (err)
		return hf_fail(message, err, "the registry: %.200s", hf_registry_why(control->reg));
	wrong = find_claimable(control, number, hash, &a, message);
	if (!wrong) {
		gateway_from(control, &a, name, gateway);
		err = claim(control, who, &a, gateway);
	}
	if (wrong == HF_ENOENT || wrong == HF_EAUTH) {
		hf_bucket_take(&control->wrong_keys, now_ms);
		hf_warn("a wrong activation key was entered by %s", who);
	}
	/* A wrong try is stored, too. */
	err = hf_registry_end(control->reg, wrong && wrong != HF_EAUTH ? wrong : err);
	if (wrong)
		return wrong;
	if (err)
		return hf_fail(message, err, "the claim cannot be stored: %.200s",
			       hf_registry_why(control->reg));
	hf_activation_push(control, &a);
	return 0;
}

/* ---- Refuse ---- */

static void make_printable(char *to, size_t size, const char *reason)
{
	snprintf(to, size, "refused by the gateway%s%s", reason && reason[0] ? ": " : "",
		 reason ? reason : "");
	for (char *c = to; *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
}

void hf_claim_refused(struct hf_control *control, const uint8_t *identity_key, const char *reason)
{
	char text[HF_REG_REASON_MAX + 1], id[HF_ID_TEXT_MAX];
	struct hf_reg_activation a;
	int err;

	make_printable(text, sizeof text, reason);
	if (hf_registry_begin(control->reg) != 0)
		return;
	err = hf_registry_activation_by_identity(control->reg, identity_key, &a);
	a.state = HF_REG_ACTIVATION_REFUSED;
	a.certificate_length = 0;
	if (!err)
		err = hf_registry_activation_put(control->reg, &a);
	if (!err && a.gateway)
		err = hf_registry_gateway_set_state(control->reg, a.gateway, HF_REG_GATEWAY_REFUSED,
						    text);
	if (!err && a.gateway)
		hf_control_audit(control, "gateway", "activate refuse",
				 hf_id_format(HF_ID_GATEWAY, a.gateway, id), text);
	err = hf_registry_end(control->reg, err);
	if (err || !a.gateway)
		return;
	hf_warn("%s: %s", hf_id_format(HF_ID_GATEWAY, a.gateway, id), text);
	hf_channel_drop(control, a.gateway, text);
	hf_admin_changed(control, 0, a.gateway);
}

/* ---- Confirm ---- */

struct confirming {
	struct hf_control *control;
	uint64_t gateway;
	char who[32];
	void (*confirmed)(void *context, int err, const char *reason);
	void *context;
};

static int load_claimed(struct hf_control *control, uint64_t id, struct hf_reg_gateway *gateway,
			struct hf_reg_activation *a, struct hf_errmsg *message)
{
	int err = hf_registry_gateway_get(control->reg, id, gateway);

	if (err)
		return hf_fail(message, err, "there is no such gateway");
	if (gateway->state == HF_REG_GATEWAY_REFUSED)
		return hf_fail(message, HF_EACCES, "%s", gateway->reason);
	if (gateway->state == HF_REG_GATEWAY_ACTIVE)
		return hf_fail(message, HF_EEXIST, "%s is active already", gateway->name);
	err = hf_registry_activation_by_gateway(control->reg, id, a);
	if (err)
		return hf_fail(message, HF_ETIMEDOUT, "its activation key ran out");
	return 0;
}

/* Certificate, state and first generation; within a transaction. */
static int store_issued(struct confirming *c, struct hf_reg_activation *a)
{
	struct hf_control *control = c->control;
	char id[HF_ID_TEXT_MAX];
	uint64_t generation;
	int err = hf_registry_activation_put(control->reg, a);

	if (!err)
		err = hf_registry_gateway_set_state(control->reg, c->gateway, HF_REG_GATEWAY_ACTIVE,
						    "");
	if (!err)
		err = hf_registry_gateway_bump(control->reg, c->gateway, &generation);
	if (!err)
		hf_control_audit(control, c->who, "gateway confirm",
				 hf_id_format(HF_ID_GATEWAY, c->gateway, id), "");
	return err;
}

static int take_certificate(struct confirming *c, const Holdfast__SignerAnswer *answer,
			    struct hf_errmsg *message)
{
	struct hf_registry *reg = c->control->reg;
	struct hf_reg_gateway gateway;
	struct hf_reg_activation a;
	int err;

	if (answer->certificate.len == 0 || answer->certificate.len > sizeof a.certificate)
		return hf_fail(message, HF_EPROTO, "the signer's certificate is unfit");
	err = hf_registry_begin(reg);
	if (err)
		return hf_fail(message, err, "the registry: %.200s", hf_registry_why(reg));
	/* The gateway may have refused while the signer worked. */
	err = load_claimed(c->control, c->gateway, &gateway, &a, message);
	if (!err) {
		memcpy(a.certificate, answer->certificate.data, answer->certificate.len);
		a.certificate_length = answer->certificate.len;
		a.state = HF_REG_ACTIVATION_ISSUED;
		err = store_issued(c, &a);
	}
	err = hf_registry_end(reg, err);
	if (err && message->text[0])
		return err;
	if (err)
		return hf_fail(message, err, "the certificate cannot be stored: %.200s",
			       hf_registry_why(reg));
	hf_activation_push(c->control, &a);
	hf_publish_gateway(c->control, c->gateway);
	return 0;
}

static void certificate_answered(void *context, int err, const char *reason,
				 const Holdfast__SignerAnswer *answer)
{
	struct confirming *c = context;
	struct hf_errmsg message = {""};

	if (err)
		hf_fail(&message, err, "nothing was confirmed: %s", reason);
	else
		err = take_certificate(c, answer, &message);
	c->confirmed(c->context, err, message.text);
	free(c);
}

static void ask_certificate(struct confirming *c, const struct hf_reg_gateway *gateway,
			    const struct hf_reg_activation *a)
{
	Holdfast__SignerRequest request = HOLDFAST__SIGNER_REQUEST__INIT;
	Holdfast__SignerCertificate order = HOLDFAST__SIGNER_CERTIFICATE__INIT;

	order.tenant = gateway->tenant;
	order.gateway = gateway->id;
	order.request.data = (uint8_t *)(uintptr_t)a->request;
	order.request.len = a->request_length;
	order.identity_key.data = (uint8_t *)(uintptr_t)a->identity_key;
	order.identity_key.len = HF_KEY_BYTES;
	order.sealing_key.data = (uint8_t *)(uintptr_t)a->sealing_key;
	order.sealing_key.len = HF_KEY_BYTES;
	order.number.data = (uint8_t *)(uintptr_t)a->number;
	order.number.len = sizeof a->number;
	request.kind_case = HOLDFAST__SIGNER_REQUEST__KIND_CERTIFICATE;
	request.certificate = &order;
	hf_signer_ask(c->control->signer, &request, certificate_answered, c);
}

void hf_claim_confirm(struct hf_control *control, const char *who, uint64_t id,
		      void (*confirmed)(void *context, int err, const char *reason), void *context)
{
	struct hf_errmsg message = {""};
	struct hf_reg_gateway gateway;
	struct hf_reg_activation a;
	struct confirming *c;
	int err = load_claimed(control, id, &gateway, &a, &message);

	if (err) {
		confirmed(context, err, message.text);
		return;
	}
	c = calloc(1, sizeof *c);
	HF_ASSERT(c);
	c->control = control;
	c->gateway = id;
	snprintf(c->who, sizeof c->who, "%s", who);
	c->confirmed = confirmed;
	c->context = context;
	ask_certificate(c, &gateway, &a);
}
