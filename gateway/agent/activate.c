/* The gateway's half of activation (activate.h).
 *
 * Trust: the server's certificate is not judged. What is trusted is what the activation key binds:
 * the gateway hashes its own keys and the root keys it was offered, and the provider only lets a
 * claim through whose key has the same hash. What is issued must then be of those very keys. */
#include "gateway/agent/activate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"
#include "gateway/agent/wire.h"
#include "net/dial.h"
#include "net/identity.h"

#define ACTIVATION_MAGIC 0x41435456u
#define REFUSED_REST_MS  5000u

struct hf_activation {
	uint32_t magic;
	struct hf_activation_config config;
	struct hf_tls *tls;
	struct hf_dialler *dialler;
	struct hf_wire *wire; /* NULL: not connected */
	uint8_t *request;     /* PKCS#10 */
	size_t request_length;
	struct hf_activation_keys keys; /* the provider's half as offered */
	const char *state;
	char key[HF_ACTIVATION_TEXT_MAX];
	char claimed_by[200], last_error[200];
	uint32_t retry_ms;
	bool closing;
	void (*closed)(void *context);
	void *closed_context;
};

/* What a server says that nobody has judged is shown at the console, beside the key and the
 * fingerprint: it must not steer the terminal or forge a line. */
static void keep_printable(char *text)
{
	for (; *text; text++)
		if (*text < ' ' || *text > '~')
			*text = '?';
}

static void note_error(struct hf_activation *activation, const char *text)
{
	snprintf(activation->last_error, sizeof activation->last_error, "%s", text);
	keep_printable(activation->last_error);
}

/* ---- What the provider says ---- */

static bool is_key(const ProtobufCBinaryData *data)
{
	return data->len == HF_KEY_BYTES;
}

static void heard_offer(struct hf_activation *activation, const Holdfast__ActivateOffer *offer)
{
	uint8_t hash[HF_ACTIVATION_HASH_BYTES];

	if (offer->number.len != HF_ACTIVATION_NUMBER_BYTES || !is_key(&offer->ca_key) ||
	    !is_key(&offer->signer_key)) {
		hf_session_end(hf_wire_session(activation->wire), HF_EPROTO,
			       "an offer with fields of wrong size");
		return;
	}
	memcpy(activation->keys.authority, offer->ca_key.data, HF_KEY_BYTES);
	memcpy(activation->keys.signer, offer->signer_key.data, HF_KEY_BYTES);
	hf_activation_hash(offer->number.data, &activation->keys, hash);
	hf_activation_key_format(offer->number.data, hash, activation->key);
	activation->state = "offered";
	activation->claimed_by[0] = '\0';
	activation->last_error[0] = '\0';
	hf_dialler_good(activation->dialler);
	hf_info("activation key: %s (enter it at the provider within %u s)", activation->key,
		offer->expires_s);
}

static void heard_claimed(struct hf_activation *activation,
			  const Holdfast__ActivateClaimed *claimed)
{
	activation->state = "claimed";
	snprintf(activation->claimed_by, sizeof activation->claimed_by, "%s for %s as %s",
		 claimed->by, claimed->tenant, claimed->name);
	keep_printable(activation->claimed_by);
	hf_warn("this gateway is claimed by %s; `holdfast-gateway activation refuse` refuses it",
		activation->claimed_by);
}

static int check_endpoints(const Holdfast__ActivateIssued *issued, struct hf_errmsg *message)
{
	char host[256];
	uint16_t port;

	if (issued->n_endpoints == 0 || issued->n_endpoints > HF_DIAL_ENDPOINTS_MAX)
		return hf_fail(message, HF_EINVAL, "no usable list of endpoints");
	for (size_t i = 0; i < issued->n_endpoints; i++)
		if (hf_endpoint_parse(issued->endpoints[i], host, sizeof host, &port) != 0)
			return hf_fail(message, HF_EINVAL, "`%.60s` is no endpoint",
				       issued->endpoints[i]);
	return 0;
}

/* Is what was issued ours, and from whom the key named? */
static int check_issued(const Holdfast__ActivateIssued *issued,
			const struct hf_activation_keys *keys, struct hf_errmsg *message)
{
	const ProtobufCBinaryData *certificate = &issued->certificate;
	const ProtobufCBinaryData *authority = &issued->ca_certificate;
	uint8_t authority_key[HF_KEY_BYTES];
	struct hf_certificate_info info;

	if (hf_certificate_key(authority->data, authority->len, authority_key) != 0 ||
	    memcmp(authority_key, keys->authority, HF_KEY_BYTES) != 0)
		return hf_fail(message, HF_EAUTH, "the authority is not the one that was offered");
	if (!is_key(&issued->signer_key) ||
	    memcmp(issued->signer_key.data, keys->signer, HF_KEY_BYTES) != 0)
		return hf_fail(message, HF_EAUTH, "the signer is not the one that was offered");
	if (hf_certificate_verify(authority->data, authority->len, certificate->data,
				  certificate->len, message) != 0)
		return HF_EAUTH;
	if (hf_certificate_parse(certificate->data, certificate->len, &info) != 0 || info.server ||
	    memcmp(info.public_key, keys->identity, HF_KEY_BYTES) != 0)
		return hf_fail(message, HF_EAUTH, "the certificate is not for this gateway's key");
	if (info.gateway != issued->gateway || info.tenant != issued->tenant || !info.gateway ||
	    !info.tenant)
		return hf_fail(message, HF_EAUTH,
			       "the certificate names another gateway than the message");
	return check_endpoints(issued, message);
}

static void heard_issued(struct hf_activation *activation, const Holdfast__ActivateIssued *issued)
{
	struct hf_errmsg message;
	int err = check_issued(issued, &activation->keys, &message);

	if (!err)
		err = hf_kept_set_activated(activation->config.kept, issued, &message);
	if (err) {
		hf_session_end(hf_wire_session(activation->wire), err, message.text);
		return;
	}
	hf_info("activated");
	activation->config.issued(activation->config.context);
}

static void heard_end(struct hf_activation *activation, const struct hf_session_event *event)
{
	struct hf_wire *wire = activation->wire;

	if (activation->closing || !wire)
		return;
	activation->wire = NULL;
	hf_wire_close(wire, true);
	if (strcmp(activation->state, "refused") != 0) {
		hf_info("activation connection ended: %s", event->reason);
		note_error(activation, event->reason);
		activation->state = "activating";
	}
	activation->key[0] = '\0';
	hf_dialler_again(activation->dialler, activation->retry_ms);
	activation->retry_ms = 0;
}

static void on_event(void *context, const struct hf_session_event *event)
{
	struct hf_activation *activation = context;

	HF_CHECK_MAGIC(activation, ACTIVATION_MAGIC);
	switch (event->type) {
	case HF_EVENT_OFFER:
		heard_offer(activation, event->offer);
		break;
	case HF_EVENT_CLAIMED:
		heard_claimed(activation, event->claimed);
		break;
	case HF_EVENT_ISSUED:
		heard_issued(activation, event->issued);
		break;
	case HF_EVENT_RETRY:
		activation->retry_ms = event->retry_ms;
		break;
	case HF_EVENT_ENDED:
		heard_end(activation, event);
		break;
	default:
		break;
	}
}

/* ---- The hello ---- */

static int say_hello(struct hf_activation *activation, const struct hf_stream *stream)
{
	Holdfast__ActivateHello hello = HOLDFAST__ACTIVATE_HELLO__INIT;
	uint8_t proof[HF_SIGNATURE_BYTES], binding[HF_BINDING_BYTES];
	char host[256] = "", version[] = HF_VERSION, portal[128];
	int err;

	gethostname(host, sizeof host - 1);
	hello.identity_key = (ProtobufCBinaryData){HF_KEY_BYTES, activation->keys.identity};
	hello.sealing_key = (ProtobufCBinaryData){HF_KEY_BYTES, activation->keys.sealing};
	hello.request = (ProtobufCBinaryData){activation->request_length, activation->request};
	hello.host = host;
	hello.version = version;
	snprintf(portal, sizeof portal, "%.*s", (int)strcspn(activation->config.portal, ", "),
		 activation->config.portal);
	hello.portal = portal;
	err = hf_stream_binding(stream, binding);
	if (!err)
		err = hf_hello_prove(activation->config.identity, &hello, binding, proof);
	if (err)
		return err;
	hello.proof = (ProtobufCBinaryData){sizeof proof, proof};
	err = hf_session_hello(hf_wire_session(activation->wire), hf_wire_now_ms(activation->wire),
			       &hello);
	hf_wire_sent(activation->wire);
	return err;
}

static void on_connected(void *context, struct hf_stream *stream)
{
	struct hf_activation *activation = context;
	struct hf_wire_config config = {
		.kind = HF_SESSION_ACTIVATION, .event = on_event, .context = activation};

	HF_CHECK_MAGIC(activation, ACTIVATION_MAGIC);
	if (hf_wire_open(activation->config.loop, stream, &config, &activation->wire) != 0) {
		hf_dialler_again(activation->dialler, 0);
		return;
	}
	if (say_hello(activation, stream) != 0 && activation->wire)
		hf_session_end(hf_wire_session(activation->wire), HF_ENOMEM,
			       "the hello cannot be sent");
}

static void on_waiting(void *context, uint32_t wait_ms, int err, const char *reason)
{
	struct hf_activation *activation = context;

	if (err &&
	    (activation->last_error[0] == '\0' || strcmp(activation->state, "activating") == 0))
		note_error(activation, reason);
	hf_info("activation endpoint %s: %s; trying again in %u ms", activation->config.endpoints,
		reason, wait_ms);
}

/* ---- The public face ---- */

void hf_activation_status(const struct hf_activation *activation,
			  struct hf_activation_status *status)
{
	HF_CHECK_MAGIC(activation, ACTIVATION_MAGIC);
	status->state = activation->state;
	status->key = activation->key;
	status->claimed_by = activation->claimed_by;
	status->last_error = activation->last_error;
}

int hf_activation_refuse(struct hf_activation *activation, const char *reason)
{
	enum hf_session_state state;

	HF_CHECK_MAGIC(activation, ACTIVATION_MAGIC);
	if (!activation->wire)
		return HF_ENOTREADY;
	state = hf_session_state(hf_wire_session(activation->wire));
	if (state != HF_SESSION_OFFERED && state != HF_SESSION_CLAIMED)
		return HF_ENOTREADY;
	hf_warn("the claim is refused: %s", reason);
	activation->state = "refused";
	activation->retry_ms = REFUSED_REST_MS;
	return hf_session_refuse(hf_wire_session(activation->wire), reason);
}

static void on_dialler_closed(void *context)
{
	struct hf_activation *activation = context;
	void (*closed)(void *) = activation->closed;
	void *closed_context = activation->closed_context;

	HF_CHECK_MAGIC(activation, ACTIVATION_MAGIC);
	hf_tls_destroy(activation->tls);
	free(activation->request);
	activation->magic = 0;
	free(activation);
	if (closed)
		closed(closed_context);
}

void hf_activation_close(struct hf_activation *activation, void (*closed)(void *context),
			 void *context)
{
	HF_CHECK_MAGIC(activation, ACTIVATION_MAGIC);
	HF_ASSERT(!activation->closing);
	activation->closing = true;
	activation->closed = closed;
	activation->closed_context = context;
	if (activation->wire)
		hf_wire_close(activation->wire, true);
	activation->wire = NULL;
	hf_dialler_close(activation->dialler, on_dialler_closed, activation);
}

static int open_parts(struct hf_activation *activation, struct hf_errmsg *message)
{
	struct hf_tls_options tls = {.alpn = HF_ALPN_ACTIVATION};
	struct hf_dialler_callbacks callbacks = {
		.connected = on_connected, .waiting = on_waiting, .context = activation};
	const char *list[HF_DIAL_ENDPOINTS_MAX];
	struct hf_endpoints endpoints;
	int err = hf_endpoints_parse(activation->config.endpoints, &endpoints, message);

	if (!err)
		err = hf_tls_create(&tls, &activation->tls, message);

	if (err)
		return err;
	err = hf_request_make(activation->config.identity, "holdfast-gateway", &activation->request,
			      &activation->request_length);
	if (err)
		return hf_fail(message, err, "the certificate request cannot be made");
	err = hf_dialler_open(activation->config.loop, activation->tls, list,
			      hf_endpoints_list(&endpoints, list), &callbacks, &activation->dialler,
			      message);
	if (!err)
		hf_dialler_set_proxy(activation->dialler, activation->config.proxy);
	return err;
}

int hf_activation_open(const struct hf_activation_config *config, struct hf_activation **out,
		       struct hf_errmsg *message)
{
	struct hf_activation *activation = calloc(1, sizeof *activation);
	int err;

	if (!activation)
		return hf_fail(message, HF_ENOMEM, "out of memory");
	activation->magic = ACTIVATION_MAGIC;
	activation->config = *config;
	activation->state = "activating";
	memcpy(activation->keys.identity, config->identity->public_key, HF_KEY_BYTES);
	memcpy(activation->keys.sealing, config->sealing->public_key, HF_KEY_BYTES);
	err = open_parts(activation, message);
	if (err) {
		hf_tls_destroy(activation->tls);
		free(activation->request);
		free(activation);
		return err;
	}
	*out = activation;
	return 0;
}
