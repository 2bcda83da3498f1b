/* The settings of network.h:
 *
 *   confirmed ─ a document brings others ─▶ provisional ─ Confirmation ─▶ confirmed
 *       ▲                                        │
 *       └──────── rolled back (refused) ◀── time is up */
#include "gateway/agent/network.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/assert.h"
#include "base/file.h"
#include "base/log.h"
#include "proto/local.pb-c.h"

#define NETWORK_MAGIC 0x4e455457u
#define SWITCH_MS     50u /* so that the answer to the document still leaves */

struct hf_network {
	uint32_t magic;
	struct hf_network_config config;
	struct hf_proxy proxy; /* the local one, if has_proxy */
	bool has_proxy;
	struct hf_endpoints issued;
	Holdfast__KeptNetwork *state;
	Holdfast__Network *confirmed, *provisional; /* of the state; NULL: none */
	uint64_t serial;
	uv_timer_t until;     /* a roll-back */
	uv_timer_t switching; /* `changed` is on its way */
	unsigned open;
	void (*closed)(void *context);
	void *closed_context;
};

static uint64_t wall_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static uint32_t confirm_ms(const Holdfast__Network *settings)
{
	uint32_t ms = settings->confirm_ms ? settings->confirm_ms : HF_NETWORK_CONFIRM_MS;

	if (ms < HF_NETWORK_CONFIRM_MIN_MS)
		return HF_NETWORK_CONFIRM_MIN_MS;
	return ms < HF_NETWORK_CONFIRM_MAX_MS ? ms : HF_NETWORK_CONFIRM_MAX_MS;
}

/* ---- The state ---- */

static ProtobufCBinaryData pack(const Holdfast__Network *settings)
{
	ProtobufCBinaryData bytes;

	bytes.len = holdfast__network__get_packed_size(settings);
	bytes.data = malloc(bytes.len + 1);
	HF_ASSERT(bytes.data);
	holdfast__network__pack(settings, bytes.data);
	return bytes;
}

static Holdfast__Network *unpack(const ProtobufCBinaryData *bytes)
{
	return bytes->len ? holdfast__network__unpack(NULL, bytes->len, bytes->data) : NULL;
}

static Holdfast__KeptNetwork *copy_state(const Holdfast__KeptNetwork *state)
{
	size_t length = holdfast__kept_network__get_packed_size(state);
	uint8_t *bytes = malloc(length + 1);
	Holdfast__KeptNetwork *copy;

	HF_ASSERT(bytes);
	holdfast__kept_network__pack(state, bytes);
	copy = holdfast__kept_network__unpack(NULL, length, bytes);
	free(bytes);
	HF_ASSERT(copy);
	return copy;
}

static void take_state(struct hf_network *network, Holdfast__KeptNetwork *state)
{
	holdfast__network__free_unpacked(network->confirmed, NULL);
	holdfast__network__free_unpacked(network->provisional, NULL);
	holdfast__kept_network__free_unpacked(network->state, NULL);
	network->state = state;
	network->confirmed = unpack(&state->confirmed);
	network->provisional = unpack(&state->provisional);
}

/* Takes `next` over; it counts only once it is kept. */
static int keep(struct hf_network *network, Holdfast__KeptNetwork *next, struct hf_errmsg *message)
{
	int err = hf_kept_set_network(network->config.kept, next, message);

	if (err)
		holdfast__kept_network__free_unpacked(next, NULL);
	else
		take_state(network, next);
	return err;
}

static void clear(ProtobufCBinaryData *bytes)
{
	free(bytes->data);
	*bytes = (ProtobufCBinaryData){0, NULL};
}

static void set_text(char **field, const char *text)
{
	if (*field && (*field)[0])
		free(*field);
	*field = strdup(text);
	HF_ASSERT(*field);
}

/* ---- Steps ---- */

static void on_switch(uv_timer_t *timer)
{
	struct hf_network *network = timer->data;

	HF_CHECK_MAGIC(network, NETWORK_MAGIC);
	network->serial++;
	network->config.changed(network->config.context);
}

/* Until then diallers use what was in force before: what they connect meanwhile proves nothing. */
static void switch_soon(struct hf_network *network)
{
	uv_timer_start(&network->switching, on_switch, SWITCH_MS, 0);
}

static void roll_back(struct hf_network *network)
{
	Holdfast__KeptNetwork *next = copy_state(network->state);
	struct hf_errmsg message;

	next->refused_incarnation = next->provisional_incarnation;
	next->refused_version = network->provisional->version;
	set_text(&next->refused_reason, "the provider was not reached with them in time");
	clear(&next->provisional);
	hf_warn("network settings of version %" PRIu64 " are rolled back: %s",
		next->refused_version, next->refused_reason);
	if (keep(network, next, &message) != 0) {
		/* The old ones are used all the same; the next start rolls back again. */
		hf_error("that cannot be kept: %s", message.text);
		holdfast__network__free_unpacked(network->provisional, NULL);
		network->provisional = NULL;
	}
	switch_soon(network);
}

static void on_time_up(uv_timer_t *timer)
{
	struct hf_network *network = timer->data;

	HF_CHECK_MAGIC(network, NETWORK_MAGIC);
	if (network->provisional)
		roll_back(network);
}

/* What is left of the time; a clock that was set back gives no more than all of it. */
static void wait_for_confirmation(struct hf_network *network)
{
	uint64_t now_ms = wall_ms(), until_ms = network->state->until_ms, left_ms = 0;

	if (until_ms > now_ms)
		left_ms = until_ms - now_ms;
	if (left_ms > confirm_ms(network->provisional))
		left_ms = confirm_ms(network->provisional);
	uv_timer_start(&network->until, on_time_up, left_ms, 0);
}

static void try_settings(struct hf_network *network, uint64_t incarnation,
			 const Holdfast__Network *settings)
{
	Holdfast__KeptNetwork *next = copy_state(network->state);
	struct hf_errmsg message;

	clear(&next->provisional);
	next->provisional = pack(settings);
	next->provisional_incarnation = incarnation;
	next->until_ms = wall_ms() + confirm_ms(settings);
	if (keep(network, next, &message) != 0) {
		hf_error("new network settings cannot be kept, so they are not tried: %s",
			 message.text);
		return;
	}
	hf_info("network settings of version %" PRIu64 " are tried for %u ms", settings->version,
		confirm_ms(settings));
	wait_for_confirmation(network);
	switch_soon(network);
}

bool hf_network_would_change(const struct hf_network *network, uint64_t incarnation,
			     const Holdfast__Network *settings)
{
	const Holdfast__KeptNetwork *state = network->state;

	if (!settings || settings->version == 0)
		return false;
	if (network->confirmed && state->confirmed_incarnation == incarnation &&
	    network->confirmed->version == settings->version)
		return false;
	if (network->provisional && state->provisional_incarnation == incarnation &&
	    network->provisional->version == settings->version)
		return false;
	return state->refused_incarnation != incarnation ||
	       state->refused_version != settings->version;
}

void hf_network_document(struct hf_network *network, uint64_t incarnation,
			 const Holdfast__Network *settings)
{
	HF_CHECK_MAGIC(network, NETWORK_MAGIC);
	if (hf_network_would_change(network, incarnation, settings))
		try_settings(network, incarnation, settings);
}

static bool is_about(const Holdfast__Confirmation *confirmation, uint64_t incarnation,
		     const Holdfast__Network *settings, const ProtobufCBinaryData *bytes)
{
	uint8_t hash[HF_HASH_BYTES];

	if (!settings || confirmation->incarnation != incarnation ||
	    confirmation->version != settings->version || confirmation->hash.len != sizeof hash)
		return false;
	hf_sha256(bytes->data, bytes->len, hash);
	return memcmp(hash, confirmation->hash.data, sizeof hash) == 0;
}

int hf_network_confirm(struct hf_network *network, const Holdfast__Confirmation *confirmation,
		       struct hf_errmsg *message)
{
	const Holdfast__KeptNetwork *state = network->state;
	Holdfast__KeptNetwork *next;
	int err;

	HF_CHECK_MAGIC(network, NETWORK_MAGIC);
	if (is_about(confirmation, state->confirmed_incarnation, network->confirmed,
		     &state->confirmed))
		return 0;
	if (!is_about(confirmation, state->provisional_incarnation, network->provisional,
		      &state->provisional))
		return hf_fail(message, HF_ESTALE,
			       "network settings of version %" PRIu64 " are not those being tried",
			       confirmation->version);
	next = copy_state(state);
	clear(&next->confirmed);
	next->confirmed = next->provisional;
	next->confirmed_incarnation = next->provisional_incarnation;
	next->provisional = (ProtobufCBinaryData){0, NULL};
	err = keep(network, next, message);
	if (err)
		return err;
	uv_timer_stop(&network->until);
	hf_info("network settings of version %" PRIu64 " are confirmed", confirmation->version);
	return 0;
}

/* ---- Using them ---- */

static const Holdfast__Network *in_force(const struct hf_network *network)
{
	return network->provisional ? network->provisional : network->confirmed;
}

size_t hf_network_endpoints(const struct hf_network *network, const char **list)
{
	const Holdfast__Network *settings = in_force(network);
	size_t count = settings ? settings->n_endpoints : 0;

	if (count > HF_DIAL_ENDPOINTS_MAX)
		return 0;
	for (size_t i = 0; i < count; i++)
		list[i] = settings->endpoints[i];
	return count;
}

static int set_endpoints(struct hf_network *network, struct hf_dialler *dialler)
{
	const Holdfast__Network *settings = in_force(network);
	const char *list[HF_DIAL_ENDPOINTS_MAX];
	size_t count;

	if (network->config.provider[0])
		return 0; /* the dialler has them from the start */
	if (settings && settings->n_endpoints > 0 &&
	    settings->n_endpoints <= HF_DIAL_ENDPOINTS_MAX &&
	    hf_dialler_set_endpoints(dialler, (const char *const *)settings->endpoints,
				     settings->n_endpoints) == 0)
		return 0;
	count = hf_endpoints_list(&network->issued, list);
	return hf_dialler_set_endpoints(dialler, list, count);
}

/* The dialler reads credentials from a file, anew for each connection. */
static int write_credentials(struct hf_network *network, const Holdfast__Network *settings,
			     char path[PATH_MAX], struct hf_errmsg *message)
{
	Holdfast__NetworkSecrets *secrets;
	char purpose[HF_PURPOSE_MAX], text[HF_PROXY_CREDENTIALS_MAX + 2];
	uint8_t *plain;
	size_t length;
	int err;

	hf_purpose_network(settings->version, purpose);
	err = hf_unseal(network->config.sealing, purpose, settings->sealed.data,
			settings->sealed.len, &plain, &length);
	if (err)
		return hf_fail(message, err, "the proxy's credentials cannot be unsealed");
	secrets = holdfast__network_secrets__unpack(NULL, length, plain);
	hf_wipe_free(plain, length);
	if (!secrets)
		return hf_fail(message, HF_EINVAL, "the proxy's credentials cannot be decoded");
	snprintf(path, PATH_MAX, "%s/proxy", network->config.kept->folder);
	length = (size_t)snprintf(text, sizeof text, "%s:%s\n", secrets->proxy_user,
				  secrets->proxy_password);
	err = length < sizeof text ? hf_file_replace(path, text, length, 0600, message)
				   : hf_fail(message, HF_ETOOBIG, "the credentials are too long");
	explicit_bzero(text, sizeof text);
	if (secrets->proxy_password[0])
		explicit_bzero(secrets->proxy_password, strlen(secrets->proxy_password));
	holdfast__network_secrets__free_unpacked(secrets, NULL);
	return err;
}

int hf_network_use(struct hf_network *network, struct hf_dialler *dialler,
		   struct hf_errmsg *message)
{
	const Holdfast__Network *settings = in_force(network);
	char path[PATH_MAX] = "";
	struct hf_proxy proxy;
	int err = 0;

	HF_CHECK_MAGIC(network, NETWORK_MAGIC);
	set_endpoints(network, dialler);
	if (network->has_proxy) {
		hf_dialler_set_proxy(dialler, &network->proxy);
		return 0;
	}
	if (!settings || !settings->proxy[0]) {
		hf_dialler_set_proxy(dialler, NULL);
		return 0;
	}
	if (settings->sealed.len)
		err = write_credentials(network, settings, path, message);
	if (hf_proxy_parse(settings->proxy, err ? "" : path, &proxy, message) != 0)
		return HF_EINVAL;
	hf_dialler_set_proxy(dialler, &proxy);
	return err;
}

uint64_t hf_network_serial(const struct hf_network *network)
{
	return network->serial;
}

bool hf_network_proves(const struct hf_network *network, uint64_t serial)
{
	return serial == network->serial && !uv_is_active((const uv_handle_t *)&network->switching);
}

bool hf_network_report(const struct hf_network *network, Holdfast__NetworkReport *report)
{
	const Holdfast__KeptNetwork *state = network->state;
	uint64_t now_ms = wall_ms();

	holdfast__network_report__init(report);
	if (network->provisional) {
		report->incarnation = state->provisional_incarnation;
		report->version = network->provisional->version;
		report->state = HOLDFAST__NETWORK_STATE__NETWORK_PROVISIONAL;
		report->remaining_ms = state->until_ms > now_ms ? state->until_ms - now_ms : 0;
		return true;
	}
	/* The newer of the two is what the document says last. */
	if (state->refused_version &&
	    (!network->confirmed || state->refused_incarnation > state->confirmed_incarnation ||
	     (state->refused_incarnation == state->confirmed_incarnation &&
	      state->refused_version > network->confirmed->version))) {
		report->incarnation = state->refused_incarnation;
		report->version = state->refused_version;
		report->state = HOLDFAST__NETWORK_STATE__NETWORK_ROLLED_BACK;
		report->reason = state->refused_reason;
		return true;
	}
	if (!network->confirmed)
		return false;
	report->incarnation = state->confirmed_incarnation;
	report->version = network->confirmed->version;
	report->state = HOLDFAST__NETWORK_STATE__NETWORK_CONFIRMED;
	return true;
}

/* ---- Opening and closing ---- */

static void load(struct hf_network *network)
{
	Holdfast__KeptNetwork *state;
	struct hf_errmsg message;
	int err = hf_kept_network(network->config.kept, &state, &message);

	if (err) {
		if (err != HF_ENOENT)
			hf_error("%s; the provider is reached as at activation", message.text);
		state = malloc(sizeof *state);
		HF_ASSERT(state);
		holdfast__kept_network__init(state);
	}
	take_state(network, state);
	if (network->provisional)
		wait_for_confirmation(network);
}

static void on_closed(uv_handle_t *handle)
{
	struct hf_network *network = handle->data;
	void (*closed)(void *) = network->closed;
	void *context = network->closed_context;

	if (--network->open)
		return;
	holdfast__network__free_unpacked(network->confirmed, NULL);
	holdfast__network__free_unpacked(network->provisional, NULL);
	holdfast__kept_network__free_unpacked(network->state, NULL);
	network->magic = 0;
	free(network);
	if (closed)
		closed(context);
}

void hf_network_close(struct hf_network *network, void (*closed)(void *context), void *context)
{
	HF_CHECK_MAGIC(network, NETWORK_MAGIC);
	network->closed = closed;
	network->closed_context = context;
	network->open = 2;
	uv_close((uv_handle_t *)&network->until, on_closed);
	uv_close((uv_handle_t *)&network->switching, on_closed);
}

int hf_network_open(const struct hf_network_config *config, struct hf_network **out,
		    struct hf_errmsg *message)
{
	const Holdfast__ActivateIssued *issued = config->issued;
	struct hf_network *network = calloc(1, sizeof *network);

	if (!network)
		return hf_fail(message, HF_ENOMEM, "out of memory");
	network->magic = NETWORK_MAGIC;
	network->config = *config;
	network->config.issued = NULL;
	network->config.proxy = NULL;
	network->has_proxy = config->proxy != NULL;
	if (config->proxy)
		network->proxy = *config->proxy;
	for (size_t i = 0; i < issued->n_endpoints && i < HF_DIAL_ENDPOINTS_MAX; i++)
		snprintf(network->issued.text[network->issued.count++], HF_ENDPOINT_MAX, "%s",
			 issued->endpoints[i]);
	uv_timer_init(config->loop, &network->until);
	uv_timer_init(config->loop, &network->switching);
	network->until.data = network->switching.data = network;
	load(network);
	*out = network;
	return 0;
}
