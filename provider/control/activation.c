/* Activation connections: anybody may open one, so each is bounded in number, per address, in time
 * and in what it may make the registry keep. What a gateway is told depends only on its keys' row
 * in the registry, so a connection that dropped continues where it was. Loop's thread. */
#include "provider/control/activation.h"

#include <stdlib.h>
#include <string.h>

#include "base/ids.h"
#include "base/log.h"
#include "net/activation_key.h"
#include "net/dial.h"
#include "net/sign.h"

#define CONNECTION_MAGIC 0x61637476u
#define RETRY_BAD_MS     300000u
#define RETRY_BUSY_MS    10000u
#define RETRY_NOW_MS     1000u
#define ISSUED_LINGER_MS 10000u

struct activation_connection {
	uint32_t magic;
	struct hf_control *control;
	struct hf_link link;
	struct hf_list entry;
	char address[64]; /* without the port */
	uint8_t identity_key[HF_KEY_BYTES];
	bool known;          /* the hello was taken */
	uint64_t expires_ms; /* since 1970, of its key */
	uint64_t issued_ms;  /* loop's clock; 0: not yet */
};

static void connection_closed(void *context)
{
	struct activation_connection *c = context;

	HF_CHECK_MAGIC(c, CONNECTION_MAGIC);
	hf_list_remove(&c->entry);
	c->control->activation_count--;
	c->magic = 0;
	free(c);
}

static struct activation_connection *find(struct hf_control *control, const uint8_t *identity_key)
{
	hf_list_for_each (cursor, &control->activations) {
		struct activation_connection *c =
			hf_container_of(cursor, struct activation_connection, entry);

		HF_CHECK_MAGIC(c, CONNECTION_MAGIC);
		if (c->known && !c->link.ended &&
		    memcmp(c->identity_key, identity_key, HF_KEY_BYTES) == 0)
			return c;
	}
	return NULL;
}

bool hf_activation_connected(struct hf_control *control, const uint8_t *identity_key)
{
	return find(control, identity_key) != NULL;
}

static void retry(struct activation_connection *c, uint32_t after_ms, const char *reason)
{
	hf_info("activation from %s turned away: %s", c->address, reason);
	hf_session_retry(c->link.session, after_ms, reason, "");
}

/* ---- What the gateway is told ---- */

static int tell_claimed(struct activation_connection *c, const struct hf_reg_gateway *gateway)
{
	Holdfast__ActivateClaimed claimed = HOLDFAST__ACTIVATE_CLAIMED__INIT;
	char tenant[HF_ID_TEXT_MAX];

	claimed.by = (char *)(uintptr_t) "the provider's administrator";
	claimed.tenant = hf_id_format(HF_ID_TENANT, gateway->tenant, tenant);
	claimed.name = (char *)(uintptr_t)gateway->name;
	return hf_session_claimed(c->link.session, &claimed);
}

static int tell_issued(struct activation_connection *c, const struct hf_reg_gateway *gateway,
		       const struct hf_reg_activation *activation)
{
	struct hf_control *control = c->control;
	Holdfast__ActivateIssued issued = HOLDFAST__ACTIVATE_ISSUED__INIT;
	struct hf_endpoints endpoints = {.count = 1};
	char *list[HF_DIAL_ENDPOINTS_MAX];

	/* The setting was checked; without it there is the one that we listen at. */
	if (hf_endpoints_parse(control->config.channel_advertise, &endpoints, NULL) != 0) {
		hf_control_endpoint(control, endpoints.text[0], sizeof endpoints.text[0]);
		endpoints.count = 1;
	}
	issued.gateway = gateway->id;
	issued.tenant = gateway->tenant;
	issued.certificate.data = (uint8_t *)(uintptr_t)activation->certificate;
	issued.certificate.len = activation->certificate_length;
	issued.ca_certificate.data = control->authority;
	issued.ca_certificate.len = hf_trust_authority_length(control);
	issued.signer_key.data = control->signer_key;
	issued.signer_key.len = HF_KEY_BYTES;
	issued.n_endpoints = hf_endpoints_list(&endpoints, (const char **)list);
	issued.endpoints = list;
	c->issued_ms = hf_link_now_ms(&c->link);
	return hf_session_issued(c->link.session, &issued);
}

/* Brings the gateway to the state of its row: offered → claimed → issued, or away. */
static void push(struct activation_connection *c, const struct hf_reg_activation *activation)
{
	struct hf_reg_gateway gateway;

	c->expires_ms = activation->expires_ms;
	if (activation->state == HF_REG_ACTIVATION_OFFERED)
		return;
	if (activation->state == HF_REG_ACTIVATION_REFUSED ||
	    hf_registry_gateway_get(c->control->reg, activation->gateway, &gateway) != 0) {
		retry(c, RETRY_NOW_MS, "this activation key is void; a new one follows");
		return;
	}
	if (hf_session_state(c->link.session) == HF_SESSION_OFFERED)
		tell_claimed(c, &gateway);
	if (activation->state == HF_REG_ACTIVATION_ISSUED &&
	    hf_session_state(c->link.session) == HF_SESSION_CLAIMED)
		tell_issued(c, &gateway, activation);
	hf_link_rearm(&c->link);
}

void hf_activation_push(struct hf_control *control, const struct hf_reg_activation *activation)
{
	struct activation_connection *c = find(control, activation->identity_key);

	if (c)
		push(c, activation);
}

/* ---- The hello ---- */

static bool is_printable(const char *text, size_t max)
{
	if (strlen(text) > max)
		return false;
	for (; *text; text++)
		if (*text < ' ' || *text > '~')
			return false;
	return true;
}

static int check_hello(const struct activation_connection *c, const Holdfast__ActivateHello *hello,
		       struct hf_errmsg *message)
{
	uint8_t binding[HF_BINDING_BYTES];
	char host[HF_REG_PORTAL_MAX + 1];
	uint16_t port;
	int err = hf_stream_binding(c->link.stream, binding);

	if (!err)
		err = hf_hello_check(hello, binding, message);

	if (err)
		return err;
	if (hello->request.len > HF_REG_REQUEST_MAX)
		return hf_fail(message, HF_ETOOBIG, "the certificate request is too long");
	if (!is_printable(hello->host, HF_REG_HOST_MAX) ||
	    !is_printable(hello->version, HF_REG_VERSION_MAX) ||
	    !is_printable(hello->portal, HF_REG_PORTAL_MAX))
		return hf_fail(message, HF_EINVAL,
			       "host, version and portal must be short printable text");
	if (hf_endpoint_parse(hello->portal, host, sizeof host, &port) != 0)
		return hf_fail(message, HF_EINVAL, "the portal must be host:port");
	return 0;
}

static void copy_metadata(struct hf_reg_activation *a, const Holdfast__ActivateHello *hello)
{
	snprintf(a->host, sizeof a->host, "%s", hello->host);
	snprintf(a->version, sizeof a->version, "%s", hello->version);
	snprintf(a->portal, sizeof a->portal, "%s", hello->portal);
}

static bool same_metadata(const struct hf_reg_activation *a, const Holdfast__ActivateHello *hello)
{
	return strcmp(a->host, hello->host) == 0 && strcmp(a->version, hello->version) == 0 &&
	       strcmp(a->portal, hello->portal) == 0;
}

static int new_offer(struct hf_control *control, const Holdfast__ActivateHello *hello,
		     struct hf_reg_activation *a)
{
	struct hf_activation_keys keys;

	memset(a, 0, sizeof *a);
	hf_random(a->number, sizeof a->number);
	a->state = HF_REG_ACTIVATION_OFFERED;
	memcpy(a->identity_key, hello->identity_key.data, HF_KEY_BYTES);
	memcpy(a->sealing_key, hello->sealing_key.data, HF_KEY_BYTES);
	memcpy(a->request, hello->request.data, hello->request.len);
	a->request_length = hello->request.len;
	a->expires_ms = hf_control_wall_ms() + control->config.activation_key_s * 1000;
	copy_metadata(a, hello);
	memcpy(keys.identity, a->identity_key, HF_KEY_BYTES);
	memcpy(keys.sealing, a->sealing_key, HF_KEY_BYTES);
	memcpy(keys.authority, control->authority_key, HF_KEY_BYTES);
	memcpy(keys.signer, control->signer_key, HF_KEY_BYTES);
	hf_activation_hash(a->number, &keys, a->check);
	return hf_registry_activation_put(control->reg, a);
}

/* Makes room for another row of the same identity: the old one is void. */
static int discard(struct hf_control *control, struct hf_reg_activation *a)
{
	unsigned offered;
	int err;

	a->expires_ms = 0;
	err = hf_registry_activation_put(control->reg, a);
	return err ? err
		   : hf_registry_activation_purge(control->reg, hf_control_wall_ms(), &offered);
}

/* Unknown keys cost a row: within the rate and the number of offers only. */
static int admit_new(struct activation_connection *c, const Holdfast__ActivateHello *hello,
		     unsigned offered, struct hf_reg_activation *a)
{
	struct hf_control *control = c->control;

	if (offered >= HF_OFFERS_MAX || !hf_bucket_take(&control->offers, hf_link_now_ms(&c->link)))
		return HF_EAGAIN;
	return new_offer(control, hello, a);
}

/* The row of these keys, or a new one. HF_EAUTH: claimed with other keys. What is written is within
 * the rate, also for keys that are known. */
static int row_within(struct activation_connection *c, const Holdfast__ActivateHello *hello,
		      struct hf_reg_activation *a)
{
	struct hf_control *control = c->control;
	unsigned offered = 0;
	bool same;
	int err = hf_registry_activation_purge(control->reg, hf_control_wall_ms(), &offered);

	if (!err)
		err = hf_registry_activation_by_identity(control->reg, hello->identity_key.data, a);
	if (err == HF_ENOENT)
		return admit_new(c, hello, offered, a);
	if (err)
		return err;
	same = memcmp(a->sealing_key, hello->sealing_key.data, HF_KEY_BYTES) == 0;
	if (a->state == HF_REG_ACTIVATION_ISSUED || a->state == HF_REG_ACTIVATION_CLAIMED)
		return same ? 0 : HF_EAUTH;
	if (a->state == HF_REG_ACTIVATION_OFFERED && same && same_metadata(a, hello))
		return 0;
	if (!hf_bucket_has(&control->offers, hf_link_now_ms(&c->link)))
		return HF_EAGAIN;
	if (a->state == HF_REG_ACTIVATION_OFFERED && same) {
		hf_bucket_take(&control->offers, hf_link_now_ms(&c->link));
		copy_metadata(a, hello);
		return hf_registry_activation_put(control->reg, a);
	}
	err = discard(control, a);
	return err ? err : admit_new(c, hello, offered, a);
}

/* In one transaction: the key may be entered at another process meanwhile. */
static int row_for(struct activation_connection *c, const Holdfast__ActivateHello *hello,
		   struct hf_reg_activation *a)
{
	int err = hf_registry_begin(c->control->reg);

	if (err)
		return err;
	return hf_registry_end(c->control->reg, row_within(c, hello, a));
}

static void offer(struct activation_connection *c, const struct hf_reg_activation *a)
{
	struct hf_control *control = c->control;
	struct activation_connection *older = find(control, a->identity_key);
	Holdfast__ActivateOffer message = HOLDFAST__ACTIVATE_OFFER__INIT;
	uint64_t now_ms = hf_control_wall_ms();

	if (older && older != c)
		hf_link_end(&older->link, HF_EFENCED, "the same gateway connected again");
	memcpy(c->identity_key, a->identity_key, HF_KEY_BYTES);
	c->known = true;
	message.number.data = (uint8_t *)(uintptr_t)a->number;
	message.number.len = sizeof a->number;
	message.ca_key.data = control->authority_key;
	message.ca_key.len = HF_KEY_BYTES;
	message.signer_key.data = control->signer_key;
	message.signer_key.len = HF_KEY_BYTES;
	message.expires_s =
		a->expires_ms > now_ms ? (uint32_t)((a->expires_ms - now_ms + 999) / 1000) : 1;
	if (hf_session_offer(c->link.session, hf_link_now_ms(&c->link), &message) == 0)
		push(c, a);
}

static void hello(struct activation_connection *c, const Holdfast__ActivateHello *message)
{
	struct hf_errmsg why = {""};
	struct hf_reg_activation *a = calloc(1, sizeof *a);
	int err = a ? check_hello(c, message, &why) : HF_ENOMEM;

	if (err) {
		retry(c, RETRY_BAD_MS, why.text);
	} else if ((err = row_for(c, message, a)) == 0) {
		offer(c, a);
	} else if (err == HF_EAUTH) {
		retry(c, RETRY_BAD_MS, "this identity was claimed with another sealing key");
	} else {
		retry(c, RETRY_BUSY_MS,
		      err == HF_EAGAIN ? "too many activations at once"
				       : "the registry does not answer");
	}
	free(a);
}

/* ---- Connections ---- */

static void connection_event(void *context, const struct hf_session_event *event)
{
	struct activation_connection *c = context;

	HF_CHECK_MAGIC(c, CONNECTION_MAGIC);
	switch (event->type) {
	case HF_EVENT_HELLO:
		hello(c, event->hello);
		break;
	case HF_EVENT_REFUSE:
		if (c->known)
			hf_claim_refused(c->control, c->identity_key, event->reason);
		break;
	case HF_EVENT_ENDED:
		hf_debug("activation connection from %s ended: %s", c->address,
			 event->reason ? event->reason : "");
		break;
	default:
		break;
	}
}

static unsigned count_from(struct hf_control *control, const char *address)
{
	unsigned count = 0;

	hf_list_for_each (cursor, &control->activations)
		count += strcmp(hf_container_of(cursor, struct activation_connection, entry)
					->address,
				address) == 0;
	return count;
}

static void connection_accepted(void *context, struct hf_stream *stream)
{
	struct hf_control *control = context;
	struct hf_session_config config = {.kind = HF_SESSION_ACTIVATION, .asking_ms = 10000};
	struct activation_connection *c = calloc(1, sizeof *c);
	char *colon;

	HF_CHECK_MAGIC(control, HF_CONTROL_MAGIC);
	HF_ASSERT(c);
	snprintf(c->address, sizeof c->address, "%s", hf_stream_peer(stream)->address);
	colon = strrchr(c->address, ':');
	if (colon)
		*colon = '\0';
	if (control->stopping || control->activation_count >= HF_ACTIVATIONS_MAX ||
	    count_from(control, c->address) >= HF_ACTIVATIONS_PER_HOST_MAX) {
		hf_warn("activation connection from %s dropped: too many", c->address);
		hf_stream_close(stream, NULL, NULL);
		free(c);
		return;
	}
	c->magic = CONNECTION_MAGIC;
	c->control = control;
	c->link.event = connection_event;
	c->link.closed = connection_closed;
	c->link.context = c;
	config.ping_interval_ms = (uint32_t)control->config.ping_interval_ms;
	if (hf_link_open(&c->link, &control->wheel, stream, &config) != 0) {
		free(c);
		return;
	}
	hf_list_push_back(&control->activations, &c->entry);
	control->activation_count++;
}

int hf_activation_listen(struct hf_control *control, struct hf_tls *tls, struct hf_errmsg *message)
{
	struct hf_listener_config config = {
		.address = control->config.activation_listen,
		.tls = tls,
		.streams_max = HF_ACTIVATIONS_MAX,
		.accepted = connection_accepted,
		.context = control,
	};

	if (control->activation_listener) {
		hf_listener_set_tls(control->activation_listener, tls);
		return 0;
	}
	return hf_listener_open(control->loop, &config, &control->activation_listener, message);
}

/* It may have been claimed or confirmed at another process. */
static void look_again(struct activation_connection *c)
{
	struct hf_reg_activation a;

	if (hf_registry_activation_by_identity(c->control->reg, c->identity_key, &a) == 0)
		push(c, &a);
}

void hf_activation_void(struct hf_control *control)
{
	hf_list_for_each (cursor, &control->activations)
		hf_container_of(cursor, struct activation_connection, entry)->expires_ms = 0;
}

void hf_activation_tick(struct hf_control *control)
{
	uint64_t now_ms = hf_control_wall_ms();
	unsigned offered;

	hf_registry_activation_purge(control->reg, now_ms, &offered);
	hf_list_for_each_safe (cursor, &control->activations) {
		struct activation_connection *c =
			hf_container_of(cursor, struct activation_connection, entry);

		if (c->link.ended || !c->known)
			continue;
		if (c->issued_ms && hf_link_now_ms(&c->link) > c->issued_ms + ISSUED_LINGER_MS)
			hf_link_end(&c->link, 0, "activated");
		else if (!c->issued_ms && c->expires_ms <= now_ms)
			retry(c, RETRY_NOW_MS, "the activation key ran out; a new one follows");
		else if (!c->issued_ms)
			look_again(c);
	}
}

void hf_activation_close_all(struct hf_control *control)
{
	hf_list_for_each_safe (cursor, &control->activations)
		hf_link_end(&hf_container_of(cursor, struct activation_connection, entry)->link,
			    HF_ECANCELED, "the provider stops");
}
