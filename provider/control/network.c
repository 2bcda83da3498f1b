/* Network settings of gateways (network.h). */
#include "provider/control/network.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/ids.h"
#include "base/log.h"
#include "proto/action.pb-c.h"
#include "provider/control/publish.h"

#define CONFIRM_MS       10000u
#define CONFIRMING_MAGIC 0x636f6e66u

/* ---- In the document ---- */

static void split(const char *lines, Holdfast__Network *settings)
{
	char *copy = strdup(lines), *rest = copy, *line;

	settings->endpoints = calloc(HF_REG_ENDPOINTS_MAX, sizeof(char *));
	HF_ASSERT(copy && settings->endpoints);
	while ((line = strsep(&rest, "\n")) != NULL && settings->n_endpoints < HF_REG_ENDPOINTS_MAX)
		if (*line) {
			settings->endpoints[settings->n_endpoints] = strdup(line);
			HF_ASSERT(settings->endpoints[settings->n_endpoints]);
			settings->n_endpoints++;
		}
	free(copy);
}

int hf_network_entry(struct hf_control *control, uint64_t gateway, Holdfast__Network **out)
{
	struct hf_reg_network network;
	Holdfast__Network *settings;
	int err = hf_registry_network_get(control->reg, gateway, &network);

	*out = NULL;
	if (err)
		return err == HF_ENOENT ? 0 : err;
	settings = malloc(sizeof *settings);
	HF_ASSERT(settings);
	holdfast__network__init(settings);
	settings->version = network.version;
	settings->confirm_ms = network.confirm_ms;
	split(network.endpoints, settings);
	if (network.proxy[0]) {
		settings->proxy = strdup(network.proxy);
		HF_ASSERT(settings->proxy);
	}
	if (network.sealed_length) {
		settings->sealed.data = malloc(network.sealed_length);
		HF_ASSERT(settings->sealed.data);
		memcpy(settings->sealed.data, network.sealed, network.sealed_length);
		settings->sealed.len = network.sealed_length;
	}
	*out = settings;
	return 0;
}

/* ---- Confirming ---- */

struct confirming {
	uint32_t magic;
	struct hf_control *control;
	uint64_t gateway, epoch;
};

static void send_confirmation(struct hf_channel *channel, const ProtobufCBinaryData *packet)
{
	Holdfast__Request request = HOLDFAST__REQUEST__INIT;

	request.remaining_ms = CONFIRM_MS;
	request.kind_case = HOLDFAST__REQUEST__KIND_CONFIRM;
	request.confirm = holdfast__signed__unpack(NULL, packet->len, packet->data);
	if (request.confirm &&
	    hf_session_request(channel->link.session, hf_link_now_ms(&channel->link), &request,
			       &channel->confirm_request) != 0)
		channel->confirm_request = 0;
	holdfast__signed__free_unpacked(request.confirm, NULL);
	hf_link_rearm(&channel->link);
}

static void on_signed(void *context, int err, const char *reason,
		      const Holdfast__SignerAnswer *answer)
{
	struct confirming *confirming = context;
	struct hf_channel *channel;

	HF_CHECK_MAGIC(confirming, CONFIRMING_MAGIC);
	channel = hf_channel_find(confirming->control, confirming->gateway);
	if (!err && answer->n_results == 1 && answer->results[0]->error == 0) {
		if (channel && channel->epoch == confirming->epoch)
			send_confirmation(channel, &answer->results[0]->signed_change);
	} else {
		hf_warn("a confirmation is not signed: %s", err ? reason
							    : answer->n_results == 1
								    ? answer->results[0]->reason
								    : "");
	}
	/* Else with the next tick. */
	if (channel)
		channel->confirming = false;
	confirming->magic = 0;
	free(confirming);
}

static void ask_signer(struct hf_channel *channel, ProtobufCBinaryData confirmation)
{
	Holdfast__SignerRequest request = HOLDFAST__SIGNER_REQUEST__INIT;
	Holdfast__SignerBatch batch = HOLDFAST__SIGNER_BATCH__INIT;
	Holdfast__SignerOrder order = HOLDFAST__SIGNER_ORDER__INIT, *orders[] = {&order};
	Holdfast__SignerAction part = HOLDFAST__SIGNER_ACTION__INIT;
	struct confirming *confirming = calloc(1, sizeof *confirming);

	HF_ASSERT(confirming);
	*confirming = (struct confirming){CONFIRMING_MAGIC, channel->control, channel->gateway,
					  channel->epoch};
	part.tenant = channel->tenant;
	part.gateway = channel->gateway;
	part.kind_case = HOLDFAST__SIGNER_ACTION__KIND_CONFIRMATION;
	part.confirmation = confirmation;
	order.kind_case = HOLDFAST__SIGNER_ORDER__KIND_ACTION;
	order.action = &part;
	batch.orders = orders;
	batch.n_orders = 1;
	request.kind_case = HOLDFAST__SIGNER_REQUEST__KIND_BATCH;
	request.batch = &batch;
	channel->confirming = true;
	hf_signer_ask(channel->control->signer, &request, on_signed, confirming);
}

/* Of the settings as the newest document has them, to the bit. */
static bool hash_of(struct hf_channel *channel, uint8_t hash[HF_HASH_BYTES])
{
	Holdfast__Document *document = NULL;
	uint8_t *bytes;
	size_t length;
	bool found;

	if (hf_publish_newest(channel->control, channel->gateway, &document) != 0)
		return false;
	found = document->network && document->incarnation == channel->network_incarnation &&
		document->network->version == channel->network_version;
	if (found) {
		length = holdfast__network__get_packed_size(document->network);
		bytes = malloc(length + 1);
		HF_ASSERT(bytes);
		holdfast__network__pack(document->network, bytes);
		hf_sha256(bytes, length, hash);
		free(bytes);
	}
	holdfast__document__free_unpacked(document, NULL);
	return found;
}

void hf_network_tick(struct hf_channel *channel)
{
	Holdfast__Confirmation confirmation = HOLDFAST__CONFIRMATION__INIT;
	uint8_t hash[HF_HASH_BYTES], bytes[128];

	if (!channel->confirm_wanted || channel->confirming || channel->confirm_request ||
	    channel->link.ended || !hash_of(channel, hash))
		return;
	confirmation.incarnation = channel->network_incarnation;
	confirmation.version = channel->network_version;
	confirmation.hash = (ProtobufCBinaryData){sizeof hash, hash};
	ask_signer(channel, (ProtobufCBinaryData){
				    holdfast__confirmation__pack(&confirmation, bytes), bytes});
}

void hf_network_reported(struct hf_channel *channel, const Holdfast__NetworkReport *report)
{
	size_t used = 0;

	channel->network_state = report ? (uint32_t)report->state : 0;
	channel->network_incarnation = report ? report->incarnation : 0;
	channel->network_version = report ? report->version : 0;
	for (const char *c = report ? report->reason : ""; *c && used < HF_REG_REASON_MAX; c++)
		channel->network_reason[used++] = *c < ' ' || *c > '~' ? '?' : *c;
	channel->network_reason[used] = '\0';
	/* Heard over them, on this very connection. */
	channel->confirm_wanted = report && report->proved &&
				  report->state == HOLDFAST__NETWORK_STATE__NETWORK_PROVISIONAL;
	hf_network_tick(channel);
}

bool hf_network_answered(struct hf_channel *channel, const struct hf_session_event *event)
{
	char id[HF_ID_TEXT_MAX];

	if (event->request != channel->confirm_request)
		return false;
	channel->confirm_request = 0;
	if (event->status == 0 && event->answer->error == 0)
		channel->confirm_wanted = false;
	if (event->status == 0 && event->answer->error)
		hf_warn("%s refuses a confirmation: %.100s",
			hf_id_format(HF_ID_GATEWAY, channel->gateway, id), event->answer->reason);
	return true;
}

const char *hf_network_state_text(uint32_t state)
{
	switch (state) {
	case HOLDFAST__NETWORK_STATE__NETWORK_CONFIRMED:
		return "confirmed";
	case HOLDFAST__NETWORK_STATE__NETWORK_PROVISIONAL:
		return "provisional";
	case HOLDFAST__NETWORK_STATE__NETWORK_ROLLED_BACK:
		return "rolled back";
	default:
		return "not reported";
	}
}
