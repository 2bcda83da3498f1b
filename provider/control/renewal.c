/* Certificates of gateways, renewed over the channel at two thirds of their life. One that has
 * expired still gets its gateway a session, parked and good for nothing but the next certificate;
 * so a gateway that was away for a month comes back. Loop's thread. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/ids.h"
#include "base/log.h"
#include "net/identity.h"
#include "provider/control/channel.h"

#define RENEWAL_MAGIC 0x726e7761u
#define AT_ONCE_MAX   64u /* at the signer */
#define AGAIN_MS      60000u
#define SOON_MS       2000u /* the signer was away, or has no room */
#define COME_BACK_MS  500u

struct hf_renewal {
	uint32_t magic;
	struct hf_control *control;
	struct hf_channel *channel; /* NULL: it is gone */
};

static int64_t two_thirds(int64_t not_before_s, int64_t not_after_s)
{
	return not_after_s - (not_after_s - not_before_s) / 3;
}

void hf_renewal_open(struct hf_channel *channel)
{
	const struct hf_peer *peer = hf_stream_peer(channel->link.stream);

	channel->renew_s = two_thirds(peer->not_before_s, peer->not_after_s);
	memcpy(channel->issuer, peer->issuer, sizeof channel->issuer);
}

static int send_certificate(struct hf_channel *channel, const Holdfast__SignerAnswer *answer)
{
	struct hf_certificate_info info;
	Holdfast__Signed *packet;
	int err = hf_certificate_parse(answer->certificate.data, answer->certificate.len, &info);

	if (err)
		return err;
	packet = holdfast__signed__unpack(NULL, answer->signed_change.len,
					  answer->signed_change.data);
	if (!packet)
		return HF_EPROTO;
	channel->next_renew_s = two_thirds(info.not_before_s, info.not_after_s);
	memcpy(channel->next_issuer, info.issuer, sizeof channel->next_issuer);
	err = hf_rotation_send(channel, HF_ROTATING_CERTIFICATE, packet);
	holdfast__signed__free_unpacked(packet, NULL);
	return err;
}

static void answered(void *context, int err, const char *reason,
		     const Holdfast__SignerAnswer *answer)
{
	struct hf_renewal *renewal = context;
	struct hf_channel *channel = renewal->channel;
	char id[HF_ID_TEXT_MAX];

	HF_CHECK_MAGIC(renewal, RENEWAL_MAGIC);
	renewal->control->renewal_count--;
	renewal->magic = 0;
	free(renewal);
	if (!channel)
		return;
	channel->renewal = NULL;
	channel->renew_not_before_ms = hf_link_now_ms(&channel->link) +
				       (err && hf_signer_error_passes(err) ? SOON_MS : AGAIN_MS);
	if (channel->link.ended)
		return;
	if (!err)
		err = send_certificate(channel, answer);
	if (err)
		hf_warn("%s: its certificate is not renewed: %s",
			hf_id_format(HF_ID_GATEWAY, channel->gateway, id),
			reason[0] ? reason : hf_err_text(err));
}

static void ask(struct hf_channel *channel)
{
	Holdfast__SignerRequest request = HOLDFAST__SIGNER_REQUEST__INIT;
	Holdfast__SignerRenewal order = HOLDFAST__SIGNER_RENEWAL__INIT;
	struct hf_renewal *renewal = calloc(1, sizeof *renewal);

	HF_ASSERT(renewal);
	renewal->magic = RENEWAL_MAGIC;
	renewal->control = channel->control;
	renewal->channel = channel;
	channel->renewal = renewal;
	channel->control->renewal_count++;
	order.tenant = channel->tenant;
	order.gateway = channel->gateway;
	if (channel->authorities == channel->control->authorities_version)
		order.authority = (ProtobufCBinaryData){sizeof channel->control->next_authority,
							channel->control->next_authority};
	request.kind_case = HOLDFAST__SIGNER_REQUEST__KIND_RENEWAL;
	request.renewal = &order;
	hf_signer_ask(channel->control->signer, &request, answered, renewal);
}

static bool is_due(const struct hf_channel *channel)
{
	return (int64_t)time(NULL) >= channel->renew_s || hf_authorities_behind(channel) ||
	       hf_authorities_follows(channel);
}

void hf_renewal_tick(struct hf_channel *channel)
{
	if (channel->link.ended || channel->renewal || !channel->signer_key_known ||
	    (channel->epoch == 0 && !channel->renewal_only) || !is_due(channel) ||
	    hf_link_now_ms(&channel->link) < channel->renew_not_before_ms ||
	    channel->control->renewal_count >= AT_ONCE_MAX)
		return;
	/* It must trust the key that signs the certificate first, and the authority. */
	if (!hf_rotation_pending(channel) && !hf_authorities_behind(channel))
		ask(channel);
}

void hf_renewal_done(struct hf_channel *channel)
{
	char id[HF_ID_TEXT_MAX];

	channel->renew_s = channel->next_renew_s;
	memcpy(channel->issuer, channel->next_issuer, sizeof channel->issuer);
	/* Should that fail, the next connection is noted. */
	if (hf_authorities_note(channel) != 0)
		hf_warn("%s: the authority of its certificate is not noted",
			hf_id_format(HF_ID_GATEWAY, channel->gateway, id));
	hf_info("%s has a new certificate", hf_id_format(HF_ID_GATEWAY, channel->gateway, id));
	if (channel->renewal_only)
		hf_channel_retry(channel, COME_BACK_MS,
				 "the certificate was renewed; connect with it", "");
}

void hf_renewal_close(struct hf_channel *channel)
{
	if (channel->renewal)
		channel->renewal->channel = NULL;
	channel->renewal = NULL;
}
