/* Requests down a held connection: the subscription to reports, and the newest signed document
 * whenever the gateway does not have it. One document is under way at a time; what changed
 * meanwhile follows as the newest, not as a history (invariant 4). That there is something new is
 * told by a hint or, once a second, found in the registry. Loop's thread. */
#include "provider/control/channel.h"
#include "provider/control/claimants.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/ids.h"
#include "base/log.h"
#include "provider/control/actions.h"
#include "provider/control/events.h"
#include "provider/control/lookers.h"
#include "provider/control/network.h"
#include "provider/control/publish.h"
#include "provider/registry/grants.h"
#include "provider/registry/told.h"

#define APPLY_MS         60000u
#define SUBSCRIBE_MS     10000u
#define AFTER_REFUSAL_MS 30000u
#define AFTER_TIMEOUT_MS 1000u
#define DELTA_CAPABILITY 2u
#define WORK_AT_ONCE     512u
#define WORK_ROUNDS      (HF_CHANNELS_MAX / WORK_AT_ONCE)

static int order_of(uint64_t incarnation_a, uint64_t generation_a, uint64_t incarnation_b,
		    uint64_t generation_b)
{
	if (incarnation_a != incarnation_b)
		return incarnation_a < incarnation_b ? -1 : 1;
	if (generation_a != generation_b)
		return generation_a < generation_b ? -1 : 1;
	return 0;
}

/* What cannot be helped, for people; NULL: nothing. */
void hf_delivery_refused(struct hf_channel *channel, const char *reason)
{
	free(channel->refused_reason);
	channel->refused_reason = reason ? strndup(reason, HF_REG_REASON_MAX) : NULL;
	for (char *c = channel->refused_reason; c && *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
}

void hf_delivery_subscribe(struct hf_channel *channel, uint32_t interval_ms)
{
	Holdfast__Subscribe subscribe = HOLDFAST__SUBSCRIBE__INIT;
	Holdfast__Request request = HOLDFAST__REQUEST__INIT;

	subscribe.subscription = ++channel->subscription;
	subscribe.interval_ms = interval_ms;
	if (channel->epoch > 0)
		hf_events_ask(channel, &subscribe);
	request.remaining_ms = SUBSCRIBE_MS;
	request.kind_case = HOLDFAST__REQUEST__KIND_SUBSCRIBE;
	request.subscribe = &subscribe;
	if (hf_session_request(channel->link.session, hf_link_now_ms(&channel->link), &request,
			       &channel->subscribe_request) == 0)
		hf_counts_asked(channel, channel->subscribe_request, request.kind_case);
}

static void subscribe(struct hf_channel *channel)
{
	hf_delivery_subscribe(channel, hf_lookers_interval_ms(channel));
}

uint64_t hf_delivery_look(struct hf_channel *channel)
{
	subscribe(channel);
	hf_link_rearm(&channel->link);
	return channel->subscription;
}

void hf_delivery_note_applied(struct hf_channel *channel, const Holdfast__Applied *applied)
{
	channel->applied_incarnation = applied->incarnation;
	channel->applied_generation = applied->generation;
	memset(channel->applied_hash, 0, sizeof channel->applied_hash);
	if (applied->hash.len == sizeof channel->applied_hash)
		memcpy(channel->applied_hash, applied->hash.data, sizeof channel->applied_hash);
}

void hf_delivery_applied(struct hf_channel *channel, const Holdfast__Applied *applied)
{
	bool changed = channel->applied_incarnation != applied->incarnation ||
		       channel->applied_generation != applied->generation;

	channel->look_again |= changed;
	hf_delivery_note_applied(channel, applied);
	/* Without room for a write now, a later report stores it (reports.c). */
	if (changed && hf_bucket_take(&channel->writes, hf_link_now_ms(&channel->link)))
		hf_seen_note(channel);
}

/* Does the gateway need this document? Also says when it cannot be helped. */
static bool needs(struct hf_channel *channel, const struct hf_reg_document *head)
{
	int order = order_of(head->incarnation, head->generation, channel->applied_incarnation,
			     channel->applied_generation);
	char reason[HF_REG_REASON_MAX + 1];

	if (order > 0)
		return true;
	if (order == 0 && memcmp(head->hash, channel->applied_hash, sizeof head->hash) == 0)
		return false;
	snprintf(reason, sizeof reason,
		 "the gateway has applied (%" PRIu64 ", %" PRIu64
		 "), which is %s; was the registry "
		 "restored? see --new-incarnation",
		 channel->applied_incarnation, channel->applied_generation,
		 order ? "newer than the registry's" : "another document of the same generation");
	hf_delivery_refused(channel, reason);
	return false;
}

/* Has the gateway exactly what the newest delta is against? */
static bool delta_fits(const struct hf_channel *channel, const struct hf_reg_document *document,
		       const struct hf_reg_delta *delta)
{
	return delta->incarnation == document->incarnation &&
	       delta->generation == document->generation &&
	       delta->base_incarnation == channel->applied_incarnation &&
	       delta->base_generation == channel->applied_generation &&
	       memcmp(delta->base_hash, channel->applied_hash, sizeof delta->base_hash) == 0;
}

/* HF_ENOENT: the whole is to be sent. */
static int send_delta(struct hf_channel *channel, const struct hf_reg_document *document)
{
	Holdfast__ApplyDelta apply = HOLDFAST__APPLY_DELTA__INIT;
	Holdfast__Request request = HOLDFAST__REQUEST__INIT;
	struct hf_reg_delta delta;
	int err;

	if (channel->capability < DELTA_CAPABILITY || channel->full_wanted ||
	    hf_registry_delta_get(channel->control->reg, channel->gateway, &delta) != 0)
		return HF_ENOENT;
	err = delta_fits(channel, document, &delta)
		      ? hf_change_without_document(document->bytes, document->length, &apply.change)
		      : HF_ENOENT;
	if (!err) {
		apply.delta =
			(ProtobufCBinaryData){delta.length, (uint8_t *)(uintptr_t)delta.bytes};
		request.remaining_ms = APPLY_MS;
		request.kind_case = HOLDFAST__REQUEST__KIND_APPLY_DELTA;
		request.apply_delta = &apply;
		err = hf_session_request(channel->link.session, hf_link_now_ms(&channel->link),
					 &request, &channel->apply_request);
		holdfast__signed__free_unpacked(apply.change, NULL);
	}
	free((void *)(uintptr_t)delta.bytes);
	return err;
}

static int send_document(struct hf_channel *channel, const struct hf_reg_document *document)
{
	Holdfast__Request request = HOLDFAST__REQUEST__INIT;
	int err = send_delta(channel, document);

	if (err != HF_ENOENT)
		return err;
	request.remaining_ms = APPLY_MS;
	request.kind_case = HOLDFAST__REQUEST__KIND_APPLY;
	request.apply = holdfast__signed__unpack(NULL, document->length, document->bytes);
	if (!request.apply)
		return HF_ECORRUPT;
	err = hf_session_request(channel->link.session, hf_link_now_ms(&channel->link), &request,
				 &channel->apply_request);
	holdfast__signed__free_unpacked(request.apply, NULL);
	if (err)
		channel->apply_request = 0;
	else
		hf_counts_asked(channel, channel->apply_request, request.kind_case);
	return err;
}

/* Before it is sent: whether the gateway may know of what is in it must not be forgotten. */
static int note_told(struct hf_channel *channel, const struct hf_reg_document *document,
		     uint64_t told)
{
	int err = document->generation <= told
			  ? 0
			  : hf_registry_gateway_told(channel->control->reg, channel->gateway,
						     channel->epoch, document->generation);

	if (err == HF_EFENCED)
		hf_channel_fenced(channel);
	return err;
}

static void look(struct hf_channel *channel)
{
	struct hf_reg_document document;
	char id[HF_ID_TEXT_MAX];
	uint64_t told;
	int err;

	if (channel->epoch == 0 || channel->link.ended || channel->apply_request != 0 ||
	    hf_rotation_pending(channel) ||
	    hf_link_now_ms(&channel->link) < channel->apply_not_before_ms)
		return;
	err = hf_registry_document_head(channel->control->reg, channel->gateway, &document);
	channel->look_again = err && err != HF_ENOENT;
	if (err || !needs(channel, &document))
		return;
	/* Until the gateway says that it has it. */
	channel->look_again = true;
	told = document.told;
	err = hf_registry_document_get(channel->control->reg, channel->gateway, &document);
	if (err)
		return;
	if (note_told(channel, &document, told) != 0) {
		free((void *)(uintptr_t)document.bytes); /* a later one follows */
		return;
	}
	channel->apply_incarnation = document.incarnation;
	channel->apply_generation = document.generation;
	memcpy(channel->apply_hash, document.hash, sizeof channel->apply_hash);
	err = send_document(channel, &document);
	free((void *)(uintptr_t)document.bytes);
	if (err) {
		channel->apply_not_before_ms = hf_link_now_ms(&channel->link) + AFTER_REFUSAL_MS;
		hf_warn("%s: generation %" PRIu64 " cannot be sent: %s",
			hf_id_format(HF_ID_GATEWAY, channel->gateway, id),
			channel->apply_generation, hf_err_text(err));
	}
	hf_link_rearm(&channel->link);
}

void hf_delivery_check(struct hf_channel *channel)
{
	channel->look_again = true;
	look(channel);
	hf_actions_check(channel);
}

/* Of thousands in a storm hardly any has something to be sent, so nobody asks for each. */
void hf_delivery_start(struct hf_channel *channel, const struct hf_reg_grant *grant)
{
	struct hf_reg_document head = {.incarnation = grant->document_incarnation,
				       .generation = grant->document_generation};

	memcpy(head.hash, grant->document_hash, sizeof head.hash);
	subscribe(channel);
	/* Whoever was away follows the signer's key also when it lacks nothing else. */
	if (hf_rotation_pending(channel) || (head.generation > 0 && needs(channel, &head)))
		hf_delivery_check(channel);
	else if (grant->has_actions)
		hf_actions_check(channel);
}

static void apply_done(struct hf_channel *channel, const Holdfast__Answer *answer)
{
	Holdfast__Applied sent = HOLDFAST__APPLIED__INIT;

	sent.incarnation = channel->apply_incarnation;
	sent.generation = channel->apply_generation;
	sent.hash.data = channel->apply_hash;
	sent.hash.len = sizeof channel->apply_hash;
	hf_delivery_refused(channel, NULL);
	channel->full_wanted = false;
	hf_delivery_applied(channel, &sent);
	if (answer->result_case == HOLDFAST__ANSWER__RESULT_APPLY)
		hf_reports_take_volumes(channel, answer->apply->volumes, answer->apply->n_volumes);
	hf_delivery_check(channel);
}

/* The signer's ledger was restored, and counts what the gateway has taken already: it goes on above
 * that, with a generation of its own. True: the next document is on its way. */
static bool sequence_is_behind(struct hf_channel *channel, const Holdfast__Answer *answer)
{
	struct hf_control *control = channel->control;
	struct hf_reg_document document;
	uint64_t sent, generation;
	int err;

	if (answer->error != -HF_ESTALE || answer->sequence == 0 ||
	    hf_registry_document_get(control->reg, channel->gateway, &document) != 0)
		return false;
	sent = hf_change_sequence(document.bytes, document.length);
	free((void *)(uintptr_t)document.bytes);
	if (sent > answer->sequence || document.generation != channel->apply_generation)
		return false;
	err = hf_registry_begin(control->reg);
	if (err)
		return false;
	err = hf_registry_gateway_sequence(control->reg, channel->gateway, answer->sequence);
	if (!err)
		err = hf_registry_gateway_bump(control->reg, channel->gateway, &generation);
	err = hf_registry_end(control->reg, err);
	if (err)
		return false;
	hf_publish_gateway(control, channel->gateway);
	return true;
}

static void apply_failed(struct hf_channel *channel, int status, const Holdfast__Answer *answer)
{
	uint64_t now_ms = hf_link_now_ms(&channel->link);
	bool unknown_key = answer && answer->error == -HF_EAUTH;
	char id[HF_ID_TEXT_MAX], reason[HF_REG_REASON_MAX + 1];
	bool soon = !answer || sequence_is_behind(channel, answer);

	channel->apply_not_before_ms =
		now_ms + (soon || unknown_key ? AFTER_TIMEOUT_MS : AFTER_REFUSAL_MS);
	/* Signed with a key that followed just now: the gateway is told of that first. */
	if (unknown_key)
		channel->control->hello_due_ms = 0;
	snprintf(reason, sizeof reason, "generation %" PRIu64 " %s: %s", channel->apply_generation,
		 answer ? "was refused by the gateway" : "was not answered",
		 answer ? answer->reason : hf_err_text(status));
	hf_delivery_refused(channel, reason);
	hf_warn("%s: %s", hf_id_format(HF_ID_GATEWAY, channel->gateway, id),
		channel->refused_reason ? channel->refused_reason : "");
}

void hf_delivery_answered(struct hf_channel *channel, const struct hf_session_event *event)
{
	/* It keeps the token before it answers anything. */
	if (channel->token_unkept && event->status == 0)
		channel->token_answered = true;
	if (hf_claimants_answered(channel, event) || hf_actions_answered(channel, event) ||
	    hf_network_answered(channel, event) || hf_rotation_answered(channel, event))
		return;
	if (event->request != channel->apply_request) {
		if (event->request == channel->subscribe_request && event->status == HF_ETIMEDOUT &&
		    channel->epoch > 0)
			subscribe(channel);
		return;
	}
	channel->apply_request = 0;
	if (channel->link.ended || event->status == HF_ECONN || event->status == HF_ECANCELED)
		return;
	if (event->status == 0 && event->answer->error == 0) {
		apply_done(channel, event->answer);
	} else if (event->status == 0 && event->answer->full_wanted && !channel->full_wanted) {
		channel->full_wanted = true;
		hf_delivery_check(channel);
	} else {
		apply_failed(channel, event->status, event->status ? NULL : event->answer);
	}
}

/* The gateways of this process with something to look at, a bounded number at a time. */
struct found {
	unsigned count;
	struct hf_reg_work work[WORK_AT_ONCE];
};

static int collect_work(void *context, const struct hf_reg_work *work)
{
	struct found *found = context;

	found->work[found->count++] = *work;
	return found->count == WORK_AT_ONCE;
}

static int store_looked(struct hf_control *control, const struct found *found)
{
	int err = hf_registry_begin(control->reg);

	if (err)
		return err;
	for (unsigned i = 0; i < found->count && !err; i++) {
		err = hf_registry_work_done(control->reg, &found->work[i]);
		/* Somebody else's by now. */
		if (err == HF_EFENCED)
			err = 0;
	}
	return hf_registry_end(control->reg, err);
}

/* True: there may be more. */
static bool look_for_work(struct hf_control *control)
{
	struct found found = {0};
	struct hf_channel *channel;
	int err = hf_registry_work_visit(control->reg, collect_work, &found);

	if (err < 0 || found.count == 0 || store_looked(control, &found) != 0)
		return false;
	for (unsigned i = 0; i < found.count; i++) {
		channel = hf_channel_find(control, found.work[i].gateway);
		if (!channel || channel->epoch != found.work[i].epoch)
			continue;
		channel->look_again = channel->act_again = true;
		hf_lookers_counted(channel, found.work[i].looks);
	}
	return found.count == WORK_AT_ONCE;
}

void hf_delivery_look_at_all(struct hf_control *control)
{
	for (unsigned i = 0; i < HF_CHANNEL_BUCKETS; i++)
		hf_list_for_each (cursor, &control->channels[i])
			hf_container_of(cursor, struct hf_channel, entry)->look_again = true;
}

/* Those whose gateways have kept their tokens since the last second, in one transaction. */
static void note_tokens(struct hf_control *control)
{
	struct hf_channel *found[WORK_AT_ONCE];
	unsigned count = 0;
	int err = 0;

	for (unsigned i = 0; i < HF_CHANNEL_BUCKETS; i++)
		hf_list_for_each (cursor, &control->channels[i]) {
			struct hf_channel *channel =
				hf_container_of(cursor, struct hf_channel, entry);

			if (channel->token_answered && channel->token_unkept &&
			    count < WORK_AT_ONCE)
				found[count++] = channel;
		}
	if (count == 0 || hf_registry_begin(control->reg) != 0)
		return;
	for (unsigned i = 0; !err && i < count; i++) {
		err = hf_registry_token_kept(control->reg, found[i]->gateway, found[i]->epoch);
		if (err == HF_EFENCED)
			err = 0;
	}
	if (hf_registry_end(control->reg, err) == 0)
		while (count > 0)
			found[--count]->token_unkept = false;
}

void hf_delivery_tick(struct hf_control *control)
{
	for (unsigned rounds = 0; rounds < WORK_ROUNDS && look_for_work(control); rounds++)
		;
	note_tokens(control);
	for (unsigned i = 0; i < HF_CHANNEL_BUCKETS; i++)
		hf_list_for_each_safe (cursor, &control->channels[i]) {
			struct hf_channel *channel =
				hf_container_of(cursor, struct hf_channel, entry);

			if (channel->look_again)
				look(channel);
			if (channel->act_again)
				hf_actions_check(channel);
			if (channel->confirm_wanted)
				hf_network_tick(channel);
			hf_grants_tick(channel);
			hf_renewal_tick(channel);
		}
}
