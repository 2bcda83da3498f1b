/* Epochs for those who connected and for standbys whose other connection is lost. Whoever comes in
 * one turn of the loop is answered in the next one, all from one transaction: a storm costs a sync
 * for many, a single gateway waits for nobody. While the listener lets others wait for admission,
 * those whose handshake is done wait for each other a little, too; promotions never do.
 *
 * A promotion is a compare-and-swap: the registry's epoch must not be above the one that the
 * gateway knew when it lost the other connection. So of two standbys, or of a standby and a gateway
 * that dialled again, one wins, and no connection is held that another one has overtaken (invariant
 * 5). Loop's thread. */
#include <inttypes.h>
#include <string.h>

#include "base/ids.h"
#include "base/log.h"
#include "provider/control/admin.h"
#include "provider/control/channel.h"
#include "provider/control/claimants.h"
#include "provider/control/flaps.h"
#include "provider/control/fleet.h"
#include "proto/reasons.h"

#define GRANTS_AT_ONCE    256u
#define GATHER_MS         30u /* while others wait for admission */
#define RETRY_UNKNOWN_MS  300000u
#define RETRY_REGISTRY_MS 5000u
#define RETRY_BEATEN_MS   500u
#define SETTLE_MS         3000u
#define RETRY_FULL_MS     10000u
#define BEATEN            "another connection was given a higher epoch"
#define STANDBY_REPORT_MS 3600000u /* a standby reports when something changes */

/* ---- Within the transaction ---- */

static int check_gateway(const struct hf_channel *channel, const struct hf_reg_grant *grant,
			 struct hf_errmsg *why)
{
	const struct hf_peer *peer = hf_stream_peer(channel->link.stream);

	if (grant->err == HF_ECORRUPT)
		return hf_fail(why, grant->err, "this gateway's row in the registry is damaged");
	if (grant->err || grant->tenant != channel->tenant)
		return hf_fail(why, HF_EACCES, HF_REASON_UNKNOWN);
	if (grant->state != HF_REG_GATEWAY_ACTIVE)
		return hf_fail(why, HF_EACCES,
			       grant->state == HF_REG_GATEWAY_REVOKED ? HF_REASON_REVOKED
								      : HF_REASON_NOT_ACTIVE);
	if (memcmp(peer->public_key, grant->identity_key, HF_KEY_BYTES) != 0)
		return hf_fail(why, HF_EACCES, HF_REASON_WRONG_KEY);
	return 0;
}

/* Is it the machine that kept the last token? Asked before each epoch that is given, whichever way
 * it is asked for. */
static int check_token(struct hf_channel *channel, struct hf_reg_grant *grant,
		       struct hf_errmsg *why)
{
	int err = hf_claimants_check(channel, grant);

	if (err)
		return hf_fail(why, err, "the signer has to say first how to judge a token");
	if (!channel->suspect || channel->wanted == HF_WANTED_ACTIVE || channel->token_told)
		return 0;
	/* What its Connect showed may be of before its other connection's last Held, so nothing
	 * follows from it. */
	channel->suspect = false;
	return hf_fail(why, HF_EFENCED, "a standby has to show its token; connect anew");
}

/* Decides what it is given; HF_EACCES, HF_EFENCED, HF_ERANGE, HF_ENOTREADY: nothing. */
static int decide(struct hf_channel *channel, struct hf_reg_grant *grant, struct hf_errmsg *why)
{
	bool promotion = channel->wanted == HF_WANTED_PROMOTION;
	int err = check_gateway(channel, grant, why);

	if (err || channel->wanted == HF_WANTED_PARKED || channel->renewal_only)
		return err;
	/* Before its token: who was overtaken knows an older one. */
	if (promotion && grant->epoch > channel->named_epoch)
		return hf_fail(why, HF_EFENCED, BEATEN);
	err = check_token(channel, grant, why);
	if (err || channel->suspect)
		return err;
	err = hf_reg_grant_next(grant, channel->named_epoch, promotion);
	if (err == HF_EFENCED)
		return hf_fail(why, err, BEATEN);
	if (err)
		return hf_fail(why, err, "the last epoch is beyond all bounds");
	channel->granted_epoch = grant->next_epoch;
	grant->version = channel->version;
	grant->applied_incarnation = channel->applied_incarnation;
	grant->applied_generation = channel->applied_generation;
	if (channel->signer_key_known) {
		hf_tokens_make(channel->control, channel->gateway, channel->granted_epoch,
			       channel->next_token);
		grant->next_token = channel->next_token;
	}
	return 0;
}

static bool is_gateways(int err)
{
	return err == HF_EACCES || err == HF_EFENCED || err == HF_ERANGE || err == HF_ENOTREADY;
}

/* ---- Afterwards ---- */

static void turn_away(struct hf_channel *channel, int err, const char *reason)
{
	uint32_t wait_ms = RETRY_REGISTRY_MS;
	char id[HF_ID_TEXT_MAX];

	/* A standby waits for the registry: what it has to offer is worth more than a new try. */
	if (!is_gateways(err) && channel->wanted == HF_WANTED_PROMOTION) {
		channel->promotion_due = true;
		return;
	}
	if (err == HF_EACCES)
		wait_ms = RETRY_UNKNOWN_MS;
	else if (err == HF_EFENCED)
		wait_ms = RETRY_BEATEN_MS;
	hf_warn("%s turned away: %s", hf_id_format(HF_ID_GATEWAY, channel->gateway, id), reason);
	hf_channel_retry(channel, wait_ms, reason, "");
}

/* The new epoch is durable; whoever held the gateway before has no effect from now on. */
static void take_over(struct hf_channel *channel, uint64_t epoch)
{
	struct hf_channel *older = hf_channel_find(channel->control, channel->gateway);

	if (!older || older == channel)
		return;
	/* Another run of the agent while the one before still spoke may be another machine with a
	 * copy of its disk: the first one comes back within a second, and shows it. */
	if (memcmp(older->boot, channel->boot, sizeof channel->boot) != 0)
		channel->apply_not_before_ms = hf_link_now_ms(&channel->link) + SETTLE_MS;
	hf_session_raise_floor(older->link.session, epoch);
	hf_channel_fenced(older);
}

static void hold(struct hf_channel *channel, const struct hf_reg_grant *grant)
{
	struct hf_control *control = channel->control;
	Holdfast__Held held = HOLDFAST__HELD__INIT;
	char id[HF_ID_TEXT_MAX];

	take_over(channel, channel->granted_epoch);
	hf_fleet_fill_held(channel, &held);
	channel->epoch = held.epoch = channel->granted_epoch;
	held.clock_ms = hf_control_wall_ms();
	control->counts.held++;
	if (channel->signer_key_known) {
		held.token.data = channel->next_token;
		held.token.len = sizeof channel->next_token;
		channel->token_unkept = true;
	}
	if (hf_session_hold(channel->link.session, hf_link_now_ms(&channel->link), &held) != 0)
		return;
	channel->held_ms = hf_link_now_ms(&channel->link);
	channel->counted = true;
	control->held_count++;
	hf_info("%s held with epoch %" PRIu64 " from %s",
		hf_id_format(HF_ID_GATEWAY, channel->gateway, id), channel->epoch,
		channel->address);
	hf_delivery_start(channel, grant);
	hf_admin_changed(control, 0, channel->gateway);
	/* Whoever has a connection of it that nobody told that it is dead, or waits for it. */
	hf_route_notify_others(control->route, channel->gateway);
}

static void park(struct hf_channel *channel)
{
	Holdfast__Parked parked = HOLDFAST__PARKED__INIT;

	hf_fleet_fill_parked(channel->control, &parked);
	if (hf_session_park(channel->link.session, hf_link_now_ms(&channel->link), &parked) == 0 &&
	    (channel->suspect || channel->capability >= HF_CAPABILITY_STANDBY))
		hf_delivery_subscribe(channel, STANDBY_REPORT_MS);
}

/* No epoch, no subscription, no document: only the next certificate, then it is sent away. */
static void park_for_renewal(struct hf_channel *channel)
{
	Holdfast__Parked parked = HOLDFAST__PARKED__INIT;
	char id[HF_ID_TEXT_MAX];

	hf_info("%s comes with a certificate that has expired",
		hf_id_format(HF_ID_GATEWAY, channel->gateway, id));
	if (hf_session_park(channel->link.session, hf_link_now_ms(&channel->link), &parked) == 0)
		hf_renewal_tick(channel);
}

static void finish(struct hf_channel *channel, const struct hf_reg_grant *grant, int err,
		   const char *reason)
{
	if (channel->link.ended)
		return;
	if (err)
		turn_away(channel, err, reason);
	else if (channel->renewal_only)
		park_for_renewal(channel);
	else if (channel->suspect && channel->wanted == HF_WANTED_PROMOTION)
		hf_delivery_subscribe(channel, STANDBY_REPORT_MS); /* is it there at all? */
	else if (channel->suspect || channel->wanted == HF_WANTED_PARKED)
		park(channel);
	else
		hold(channel, grant);
	hf_link_rearm(&channel->link);
}

/* ---- A turn's worth ---- */

struct turn {
	struct hf_channel *channels[GRANTS_AT_ONCE];
	struct hf_reg_grant grants[GRANTS_AT_ONCE];
	int errors[GRANTS_AT_ONCE];
	struct hf_errmsg reasons[GRANTS_AT_ONCE];
	unsigned count;
};

/* Each gateway once: of two connections the second finds what the first was given. */
static bool has_gateway(const struct turn *turn, uint64_t gateway)
{
	for (unsigned i = 0; i < turn->count; i++)
		if (turn->grants[i].gateway == gateway)
			return true;
	return false;
}

static void gather(struct hf_control *control, struct turn *turn)
{
	turn->count = 0;
	while (!hf_list_empty(&control->granting) && turn->count < GRANTS_AT_ONCE) {
		struct hf_channel *channel =
			hf_container_of(control->granting.next, struct hf_channel, granting);

		HF_CHECK_MAGIC(channel, HF_CHANNEL_MAGIC);
		if (has_gateway(turn, channel->gateway))
			return;
		hf_list_remove(&channel->granting);
		if (channel->link.ended)
			continue;
		turn->grants[turn->count].gateway = channel->gateway;
		turn->channels[turn->count++] = channel;
	}
}

static int grant_all(struct hf_control *control, struct turn *turn)
{
	int err = hf_registry_begin(control->reg);

	if (err)
		return err;
	err = hf_registry_grants_look(control->reg, turn->grants, turn->count);
	for (unsigned i = 0; !err && i < turn->count; i++)
		turn->errors[i] = decide(turn->channels[i], &turn->grants[i], &turn->reasons[i]);
	if (!err)
		err = hf_registry_grants_give(control->reg, turn->grants, turn->count,
					      hf_control_wall_ms());
	for (unsigned i = 0; !err && i < turn->count; i++)
		if (turn->grants[i].next_epoch)
			err = hf_authorities_note(turn->channels[i]);
	return hf_registry_end(control->reg, err);
}

static void flush(uv_idle_t *idle)
{
	struct hf_control *control = idle->data;
	static struct turn turn; /* loop's thread only; too big for its stack */
	int err;

	HF_CHECK_MAGIC(control, HF_CONTROL_MAGIC);
	gather(control, &turn);
	if (hf_list_empty(&control->granting))
		uv_idle_stop(idle);
	if (turn.count == 0)
		return;
	err = grant_all(control, &turn);
	for (unsigned i = 0; i < turn.count; i++)
		finish(turn.channels[i], &turn.grants[i], err ? err : turn.errors[i],
		       err ? "the registry does not answer" : turn.reasons[i].text);
}

/* ---- The public face ---- */

/* In a storm handshakes end one by one, as they are admitted, and a commit is a sync. */
static void gathered(uv_timer_t *timer)
{
	struct hf_control *control = timer->data;

	uv_idle_start(&control->grant_turn, flush);
}

void hf_grants_open(struct hf_control *control)
{
	hf_list_init(&control->granting);
	uv_timer_init(control->loop, &control->grant_timer);
	control->grant_timer.data = control;
	uv_idle_init(control->loop, &control->grant_turn);
	control->grant_turn.data = control;
}

void hf_grants_close(struct hf_control *control)
{
	uv_close((uv_handle_t *)&control->grant_turn, NULL);
	uv_close((uv_handle_t *)&control->grant_timer, NULL);
}

static void ask(struct hf_channel *channel, enum hf_channel_wanted what, uint64_t named_epoch)
{
	struct hf_control *control = channel->control;

	if (!hf_list_empty(&channel->granting) || control->stopping)
		return;
	channel->wanted = what;
	channel->named_epoch = named_epoch;
	hf_list_push_back(&control->granting, &channel->granting);
	if (what == HF_WANTED_PROMOTION || !hf_listener_busy(control->channel_listener))
		uv_idle_start(&control->grant_turn, flush);
	else if (!uv_is_active((uv_handle_t *)&control->grant_timer))
		uv_timer_start(&control->grant_timer, gathered, GATHER_MS, 0);
}

/* Full, draining, or a gateway that comes too often: it is told when and where to come instead. */
static bool refused(struct hf_channel *channel)
{
	struct hf_control *control = channel->control;
	const char *reason = NULL, *to = NULL;
	uint32_t wait_ms = 0, random;
	char id[HF_ID_TEXT_MAX];

	hf_random(&random, sizeof random);
	if (control->draining || hf_fleet_full(control)) {
		reason = control->draining ? "this process drains" : "this process is full";
		to = hf_fleet_elsewhere(control);
		wait_ms = to ? RETRY_BEATEN_MS : RETRY_FULL_MS + random % RETRY_FULL_MS;
	} else {
		wait_ms = hf_flaps_wait_ms(control, channel->gateway);
		reason = "this gateway connects too often";
	}
	if (wait_ms == 0)
		return false;
	hf_warn("%s has to wait %u ms: %s", hf_id_format(HF_ID_GATEWAY, channel->gateway, id),
		wait_ms, reason);
	hf_channel_retry(channel, wait_ms, reason, to ? to : "");
	return true;
}

void hf_grants_connected(struct hf_channel *channel, const Holdfast__Connect *connect)
{
	if (refused(channel))
		return;
	snprintf(channel->version, sizeof channel->version, "%s", connect->version);
	for (char *c = channel->version; *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
	channel->capability = connect->capability;
	if (connect->boot.len == sizeof channel->boot)
		memcpy(channel->boot, connect->boot.data, sizeof channel->boot);
	channel->signer_key_known = connect->signer_key.len == HF_KEY_ID_BYTES;
	if (channel->signer_key_known)
		memcpy(channel->signer_key_id, connect->signer_key.data, HF_KEY_ID_BYTES);
	channel->authorities = connect->authorities;
	channel->token_length =
		connect->token.len == sizeof channel->token ? connect->token.len : 0;
	if (channel->token_length)
		memcpy(channel->token, connect->token.data, sizeof channel->token);
	if (connect->applied)
		hf_delivery_note_applied(channel, connect->applied);
	ask(channel,
	    connect->role == HOLDFAST__ROLE__ROLE_STANDBY ? HF_WANTED_PARKED : HF_WANTED_ACTIVE,
	    connect->last_epoch);
}

void hf_grants_reported(struct hf_channel *channel, const Holdfast__Report *report)
{
	char id[HF_ID_TEXT_MAX];

	if (report->applied)
		hf_delivery_note_applied(channel, report->applied);
	if (report->path != HOLDFAST__PATH_STATE__PATH_LOST || channel->renewal_only ||
	    channel->suspect) {
		channel->promotion_due = false;
		return;
	}
	hf_info("%s says on its standby that epoch %" PRIu64 " is lost",
		hf_id_format(HF_ID_GATEWAY, channel->gateway, id), report->path_epoch);
	channel->token_told = report->token.len == sizeof channel->token;
	if (channel->token_told) {
		memcpy(channel->token, report->token.data, sizeof channel->token);
		channel->token_length = sizeof channel->token;
	}
	ask(channel, HF_WANTED_PROMOTION, report->path_epoch);
}

void hf_grants_tick(struct hf_channel *channel)
{
	if (!channel->promotion_due || channel->link.ended || channel->epoch > 0)
		return;
	channel->promotion_due = false;
	ask(channel, HF_WANTED_PROMOTION, channel->named_epoch);
}
