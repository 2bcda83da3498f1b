/* New network settings of a gateway (network.h). Credentials of a proxy are in memory only until
 * the signer has encrypted them; while it is away nothing is changed. Loop's thread. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/ids.h"
#include "net/seal.h"
#include "provider/control/admin.h"
#include "provider/control/network.h"
#include "provider/control/publish.h"
#include "provider/control/status.h"
#include "provider/control/volumes.h"
#include "provider/signer/purpose.h"

#define SETTING_MAGIC 0x6e657473u
#define SETTINGS_MAX  16u /* at the signer */

struct setting {
	uint32_t magic;
	struct hf_control *control;
	struct hf_list entry;
	struct hf_local_request *request; /* NULL once answered */
	struct hf_reg_gateway gateway;
	struct hf_reg_network network;
	char who[32];
};

static void join(char **items, size_t count, char *lines, size_t size)
{
	size_t used = 0;

	lines[0] = '\0';
	for (size_t i = 0; i < count && used < size; i++)
		used += (size_t)snprintf(lines + used, size - used, "%s%s", i ? "\n" : "",
					 items[i]);
}

static int commit(struct hf_control *control, const char *who, struct hf_reg_gateway *gateway,
		  struct hf_reg_network *network)
{
	char id[HF_ID_TEXT_MAX];
	int err = hf_registry_begin(control->reg);

	if (err)
		return err;
	err = hf_registry_gateway_bump(control->reg, gateway->id, &network->version);
	if (!err)
		err = hf_registry_network_put(control->reg, network);
	if (!err)
		hf_control_audit(control, who, "gateway network",
				 hf_id_format(HF_ID_GATEWAY, gateway->id, id), network->proxy);
	return hf_registry_end(control->reg, err);
}

/* Answers. The next generation carries them. */
static void store(struct setting *s)
{
	struct hf_control *control = s->control;
	struct hf_errmsg message = {""};
	int err = commit(control, s->who, &s->gateway, &s->network);

	if (err == HF_EUNKNOWN)
		hf_fail(&message, err, "%.200s; look at the gateway",
			hf_registry_why(control->reg));
	else if (err)
		hf_fail(&message, err, "nothing was changed: %.200s",
			hf_registry_why(control->reg));
	s->gateway.generation = s->network.version;
	if (!err)
		hf_publish_gateway(control, s->gateway.id);
	hf_admin_reply(s->request, err, message.text,
		       err ? NULL : hf_status_gateway_json(control, &s->gateway));
}

static void end(struct setting *s)
{
	hf_list_remove(&s->entry);
	s->magic = 0;
	free(s);
}

static void secret_answered(void *context, int err, const char *reason,
			    const Holdfast__SignerAnswer *answer)
{
	struct setting *s = context;

	HF_CHECK_MAGIC(s, SETTING_MAGIC);
	if (!err && (answer->secret.len == 0 || answer->secret.len > sizeof s->network.sealed))
		err = HF_EPROTO;
	if (s->request && err) {
		hf_admin_reply(s->request,
			       err == HF_ECONN || err == HF_ETIMEDOUT ? HF_ENOTREADY : err,
			       err == HF_ECONN || err == HF_ETIMEDOUT
				       ? "nothing was changed: the signer is away, and the proxy's "
					 "credentials need it"
			       : reason[0] ? reason
					   : hf_err_text(err),
			       NULL);
	} else if (s->request) {
		memcpy(s->network.sealed, answer->secret.data, answer->secret.len);
		s->network.sealed_length = answer->secret.len;
		store(s);
	}
	end(s);
}

/* Only the signer's answer of it is kept. */
static void encrypt(struct setting *s, const Holdfast__AdminNetwork *settings)
{
	Holdfast__SignerRequest request = HOLDFAST__SIGNER_REQUEST__INIT;
	Holdfast__SignerNewSecret order = HOLDFAST__SIGNER_NEW_SECRET__INIT;
	Holdfast__NetworkSecrets secrets = HOLDFAST__NETWORK_SECRETS__INIT;
	char purpose[HF_PURPOSE_MAX];

	secrets.proxy_user = settings->proxy_user;
	secrets.proxy_password = settings->proxy_password;
	order.plain.len = holdfast__network_secrets__get_packed_size(&secrets);
	order.plain.data = malloc(order.plain.len + 1);
	HF_ASSERT(order.plain.data);
	holdfast__network_secrets__pack(&secrets, order.plain.data);
	hf_signer_purpose_network(s->gateway.tenant, s->gateway.id, purpose);
	order.purpose = purpose;
	request.kind_case = HOLDFAST__SIGNER_REQUEST__KIND_NEW_SECRET;
	request.new_secret = &order;
	hf_signer_ask(s->control->signer, &request, secret_answered, s);
	hf_wipe_free(order.plain.data, order.plain.len);
}

static int check(struct hf_control *control, const Holdfast__AdminNetwork *settings,
		 struct hf_reg_gateway *gateway, struct hf_errmsg *message)
{
	int err = hf_find_gateway(control, settings->gateway, gateway, message);

	if (!err && gateway->state != HF_REG_GATEWAY_ACTIVE)
		err = hf_fail(message, HF_EACCES, "gateway %s is not active", gateway->name);
	if (!err && settings->proxy_user[0] &&
	    hf_list_length(&control->network_settings) >= SETTINGS_MAX)
		err = hf_fail(message, HF_EAGAIN, "too many settings are at the signer");
	return err;
}

void hf_network_set(struct hf_control *control, struct hf_local_request *request,
		    const Holdfast__AdminNetwork *settings)
{
	struct hf_errmsg message = {""};
	struct hf_reg_gateway gateway;
	struct setting *s;
	int err = check(control, settings, &gateway, &message);

	if (err) {
		hf_admin_reply(request, err, message.text, NULL);
		return;
	}
	s = calloc(1, sizeof *s);
	HF_ASSERT(s);
	s->magic = SETTING_MAGIC;
	s->control = control;
	s->request = request;
	s->gateway = gateway;
	s->network.gateway = gateway.id;
	s->network.confirm_ms = settings->confirm_s * 1000;
	join(settings->endpoints, settings->n_endpoints, s->network.endpoints,
	     sizeof s->network.endpoints);
	snprintf(s->network.proxy, sizeof s->network.proxy, "%s", settings->proxy);
	hf_admin_who(request, s->who);
	hf_list_push_back(&control->network_settings, &s->entry);
	if (settings->proxy_user[0]) {
		encrypt(s, settings);
		return;
	}
	store(s);
	end(s);
}

/* The signer's client ends with an answer to each question. */
void hf_network_set_close(struct hf_control *control)
{
	hf_list_for_each (cursor, &control->network_settings) {
		struct setting *s = hf_container_of(cursor, struct setting, entry);

		hf_admin_reply(s->request, HF_ECANCELED, "nothing was changed: the provider stops",
			       NULL);
		s->request = NULL;
	}
}
