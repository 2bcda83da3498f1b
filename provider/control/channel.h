/* A held management connection: who it is, what the gateway has and what it reported last. Made by
 * channel.c, used by delivery.c and reports.c. Loop's thread. */
#ifndef HF_PROVIDER_CONTROL_CHANNEL_H
#define HF_PROVIDER_CONTROL_CHANNEL_H

#include "provider/control/control.h"

#define HF_CHANNEL_MAGIC 0x6368616eu
#define HF_ASKED_MAX     4u /* requests of one gateway whose time is taken */

struct hf_live_volume {
	uint64_t volume;
	struct hf_reg_report report; /* newest */
	/* What the registry has of it. */
	uint32_t stored_state;
	int32_t stored_error;
	uint64_t stored_size;
	bool stored_used; /* sessions are logged in */
	uint64_t stored_version, stored_ms;
	uint64_t attach_epoch; /* that the gateway has it with; 0: it does not say */
};

enum hf_channel_wanted { HF_WANTED_ACTIVE, HF_WANTED_PARKED, HF_WANTED_PROMOTION };
enum hf_channel_rotating {
	HF_ROTATING_NOTHING,
	HF_ROTATING_SIGNER,
	HF_ROTATING_CERTIFICATE,
	HF_ROTATING_AUTHORITIES
};

struct hf_channel {
	uint32_t magic;
	struct hf_control *control;
	struct hf_link link;
	struct hf_list entry; /* of its bucket */
	uint64_t tenant, gateway;
	uint64_t epoch;      /* 0 until held */
	uint32_t capability; /* of the gateway's protocol */
	bool counted;        /* in control->held_count */
	uint64_t held_ms;    /* loop's clock: since when */

	unsigned told_fleet; /* fleet.c: which set of processes it knows */

	/* drain.c */
	uint64_t leave_ms; /* loop's clock: when it is told */
	bool told_to_leave;
	char address[64];
	bool told_silent; /* lost.c */
	/* events.c */
	struct hf_kept_event *events; /* oldest first */
	unsigned event_count;
	uint64_t events_run, events_last, events_lost;

	/* lookers.c */
	uint64_t looks;            /* through other processes, as the registry counts them */
	uint64_t watched_until_ms; /* loop's clock; 0: nobody looks */
	uint64_t shared_until_ms;  /* so long somebody looks through another process */
	struct hf_list watch_link;

	/* grants.c: what it waits for */
	struct hf_list granting; /* of control->granting; else empty */
	enum hf_channel_wanted wanted;
	uint64_t named_epoch, granted_epoch;
	bool promotion_due; /* the registry was away when it was to be promoted */
	char version[HF_REG_VERSION_MAX + 1];

	/* claimants.c: what it showed of itself */
	uint8_t boot[16];
	uint8_t token[HF_REG_TOKEN_SIZE], next_token[HF_REG_TOKEN_SIZE];
	size_t token_length;
	bool token_told;     /* with its wish to be promoted, so it is of now */
	bool suspect;        /* it is not the machine that kept the last token */
	bool token_unkept;   /* next_token was given, and the registry does not know it kept */
	bool token_answered; /* something was answered since: it is kept */

	/* rotation.c, renewal.c */
	bool signer_key_known; /* so it is of a version that follows rotations and keeps tokens */
	uint8_t signer_key_id[HF_KEY_ID_BYTES];
	enum hf_channel_rotating rotating;
	uint64_t rotate_request, rotate_not_before_ms, renew_not_before_ms;
	int64_t renew_s, next_renew_s; /* since 1970: two thirds of its certificate's life */
	struct hf_renewal *renewal;    /* asked from the signer; NULL: not */
	bool renewal_only;             /* its certificate has expired */

	/* authorities.c */
	uint64_t authorities, told_authorities; /* which list it has; 0: it follows none */
	uint8_t issuer[HF_REG_AUTHORITY_SIZE], next_issuer[HF_REG_AUTHORITY_SIZE]; /* of its
									certificate */

	/* delivery.c: what the gateway has, and what is under way */
	bool look_again; /* the registry may have something that was not sent yet */
	uint64_t applied_incarnation, applied_generation;
	uint8_t applied_hash[32];
	uint64_t apply_request; /* 0: none under way */
	uint64_t apply_incarnation, apply_generation;
	uint8_t apply_hash[32];
	bool full_wanted; /* the gateway cannot use the delta to the newest generation */
	uint64_t apply_not_before_ms; /* loop's clock, after a refusal */
	char *refused_reason;         /* NULL: none */
	uint64_t subscribe_request;
	struct hf_list seen; /* of control->seen, or alone */
	uint64_t
		subscription; /* number of the newest; a new one makes the gateway report at once */

	/* metrics.c: the newest requests, for how long they take */
	struct hf_asked {
		uint64_t request, asked_ms; /* loop's clock */
		int kind;
	} asked[HF_ASKED_MAX];

	/* actions_send.c */
	bool act_again;       /* there may be one to send */
	uint64_t act_request; /* 0: none under way */
	uint64_t act_number;
	uint64_t act_sent;          /* how often */
	uint64_t act_not_before_ms; /* loop's clock, after a refusal */
	uint64_t forget_request, forget_number;

	/* network.c */
	bool confirm_wanted;      /* they are being tried, and this connection proves them */
	bool confirming;          /* a confirmation is at the signer */
	uint64_t confirm_request; /* 0: none under way */
	uint32_t network_state;   /* enum NetworkState, as reported; 0: not */
	uint64_t network_incarnation, network_version;
	char network_reason[HF_REG_REASON_MAX + 1];

	/* reports.c */
	struct hf_live_volume *live;
	size_t live_count;
	uint64_t reported_ms; /* loop's clock; 0: never */
	uint64_t reported_subscription;
	bool clock_known;       /* the gateway says what time it has */
	int64_t clock_ahead_ms; /* of ours, at the newest report */
	uint64_t seen_stored_ms;
	struct hf_bucket writes; /* of the registry, that its reports may cause */
	uint64_t buffer_total_bytes, buffer_used_bytes;
	bool volumed_running, target_running;
	char *alarms; /* one a line; NULL: none */
};

/* Opens the listener, or gives the one there another certificate. */
int hf_channel_listen(struct hf_control *control, struct hf_tls *tls, struct hf_errmsg *message);
/* The one that holds this gateway now; NULL: it is away. */
struct hf_channel *hf_channel_find(struct hf_control *control, uint64_t gateway);
/* Sends it away, with the word when and where to come instead (hf_session_retry). */
int hf_channel_retry(struct hf_channel *channel, uint32_t after_ms, const char *reason,
		     const char *endpoint);
/* A registry's HF_EFENCED: somebody else holds this gateway by now. */
void hf_channel_fenced(struct hf_channel *channel);
/* The gateway may not connect any more. */
void hf_channel_drop(struct hf_control *control, uint64_t gateway, const char *reason);
/* Every connection of the gateway, active or not; it is told why, and when it may come again. */
void hf_channel_drop_all(struct hf_control *control, uint64_t gateway, uint32_t after_ms,
			 const char *reason);
bool hf_channel_any(struct hf_control *control, uint64_t gateway);
void hf_channel_close_all(struct hf_control *control);

/* ---- grants.c ---- */

void hf_grants_open(struct hf_control *control);
void hf_grants_close(struct hf_control *control);
/* Answered with Held, Parked or Retry in the next turn of the loop. */
void hf_grants_connected(struct hf_channel *channel, const Holdfast__Connect *connect);
/* A parked gateway says how its other connection is. */
void hf_grants_reported(struct hf_channel *channel, const Holdfast__Report *report);
/* Once a second. */
void hf_grants_tick(struct hf_channel *channel);

/* ---- rotation.c ---- */

void hf_rotation_tick(struct hf_control *control);
void hf_rotation_close(struct hf_control *control);
/* Does the gateway have to follow the signer's key first? Then that is under way, and nothing that
 * is signed with a later key can be sent. */
bool hf_rotation_pending(struct hf_channel *channel);
int hf_rotation_send(struct hf_channel *channel, enum hf_channel_rotating what,
		     Holdfast__Signed *packet);
/* Was this the answer to a rotation? */
bool hf_rotation_answered(struct hf_channel *channel, const struct hf_session_event *event);

/* ---- authorities.c ---- */

/* Has it an older list than the signer's? */
bool hf_authorities_behind(const struct hf_channel *channel);
/* Is its certificate of another authority than it will have to be? */
bool hf_authorities_follows(const struct hf_channel *channel);
/* Sends the list, if that is due; true: it is under way. */
bool hf_authorities_pending(struct hf_channel *channel);
/* During a rotation, when its certificate is of the new one: the registry learns it. */
int hf_authorities_note(struct hf_channel *channel);

/* ---- renewal.c ---- */

void hf_renewal_open(struct hf_channel *channel);
/* Once a second. */
void hf_renewal_tick(struct hf_channel *channel);
/* The gateway has kept its new certificate. */
void hf_renewal_done(struct hf_channel *channel);
void hf_renewal_close(struct hf_channel *channel);

/* ---- delivery.c ---- */

/* Why the gateway does not have what is desired, for people; NULL: it does. Made printable. */
void hf_delivery_refused(struct hf_channel *channel, const char *reason);
/* Opens a new subscription, which brings a report at once. */
void hf_delivery_subscribe(struct hf_channel *channel, uint32_t interval_ms);
/* As hf_delivery_applied, but in memory only. */
void hf_delivery_note_applied(struct hf_channel *channel, const Holdfast__Applied *applied);
/* Just held: subscribe, and send what there was to send when the grant was looked at. */
struct hf_reg_grant;
void hf_delivery_start(struct hf_channel *channel, const struct hf_reg_grant *grant);
/* Asks for a report of now; returns the number of the subscription that brings it. */
uint64_t hf_delivery_look(struct hf_channel *channel);
/* There may be something new: sends the newest document if the gateway does not have it, now or, if
 * something stands in the way, later. */
void hf_delivery_check(struct hf_channel *channel);
void hf_delivery_answered(struct hf_channel *channel, const struct hf_session_event *event);
/* The gateway says what it has applied. */
void hf_delivery_applied(struct hf_channel *channel, const Holdfast__Applied *applied);
void hf_delivery_tick(struct hf_control *control);
/* Everything may be new. */
void hf_delivery_look_at_all(struct hf_control *control);

/* ---- seen.c ---- */

void hf_seen_open(struct hf_control *control);
void hf_seen_close(struct hf_control *control);
/* The registry learns soon, with others in one transaction, that the gateway is here and what it
 * has applied. */
void hf_seen_note(struct hf_channel *channel);
/* Writes what is noted, such as before a channel goes. */
void hf_seen_flush(struct hf_control *control);

/* ---- reports.c ---- */

void hf_reports_take(struct hf_channel *channel, const Holdfast__Report *report);
void hf_reports_take_volumes(struct hf_channel *channel, Holdfast__VolumeReport **volumes,
			     size_t count);
/* The newest report on a placement: from memory if its gateway is held, else it stays the
 * registry's. */
void hf_reports_newest(struct hf_control *control, struct hf_reg_placement *placement);
void hf_reports_free(struct hf_channel *channel);

#endif
