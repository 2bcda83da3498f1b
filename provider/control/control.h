/* holdfast-provider: one process, one loop, one thread. It holds the gateways' connections, keeps
 * desired state in the registry, has every change signed by the signer, and answers the
 * administrator's command. Here is what its parts share; each part has its own file:
 *
 *   trust.c        the provider's own key and certificate, the signer's public keys
 *   store.c        where volumes' objects go, and its credentials (encrypted)
 *   publish.c      desired state → document (publish_build.c) → signed → registry → hint
 *   channel.c      held connections: who is there
 *   grants.c       who holds, with which epoch; standbys and their promotion
 *   fleet.c        the provider's processes, their loads; balance.c: who gives gateways to whom
 *   drain.c        sending gateways to other processes
 *   flaps.c        gateways that connect again and again
 *   delivery.c     what travels on them: documents down
 *   reports.c      … and reports up, into memory and, coarse, into the registry
 *   watch.c        … and what of the registry is shared with other processes
 *   seen.c         what gateways have applied, into the registry in batches
 *   rotation.c     the signer's key as others follow it; renewal.c: gateways' certificates
 *   claimants.c    who is turned away: revoked, or two machines of one identity
 *   authorities.c  the authorities that are trusted, and one that takes the other's place
 *   tokens.c       what tells a gateway from a copy of its disk
 *   activation.c   activation connections; claims.c: activate and confirm
 *   volumes.c      the administrator's changes of desired state
 *   status.c       what of it people see
 *   actions.c      one-shot actions; actions_send.c: down to the gateway, and what became of them
 *   admin.c        the questions; waiting.c: until a state is reported; creating.c: new volumes */
#ifndef HF_PROVIDER_CONTROL_CONTROL_H
#define HF_PROVIDER_CONTROL_CONTROL_H

#include <jansson.h>
#include <stdbool.h>
#include <uv.h>

#include "base/assert.h"
#include "base/list.h"
#include "net/http.h"
#include "net/local.h"
#include "net/sign.h"
#include "net/stream.h"
#include "provider/control/config.h"
#include "provider/control/link.h"
#include "provider/control/metrics.h"
#include "provider/registry/registry.h"
#include "provider/route/route.h"
#include "provider/signer/client.h"

#define HF_CONTROL_MAGIC 0x63747274u

#define HF_CHANNEL_BUCKETS          1024u
#define HF_CHANNELS_PER_GATEWAY_MAX 8u
#define HF_ACTIVATIONS_MAX          256u  /* connections at once */
#define HF_ACTIVATIONS_PER_HOST_MAX 16u   /* of one address */
#define HF_OFFERS_MAX               1000u /* keys that nobody has entered yet */
#define HF_WAITERS_MAX              256u
#define HF_TOLD_LOOKS               64u
#define HF_VOLUMES_PER_GATEWAY_MAX  512u /* so that any document fits a message */

/* Who may do how much: a bucket that holds `burst` and gains `per_minute` a minute. */
struct hf_bucket {
	double tokens;
	double burst, per_minute;
	uint64_t last_ms;
};
bool hf_bucket_has(struct hf_bucket *bucket, uint64_t now_ms);
bool hf_bucket_take(struct hf_bucket *bucket, uint64_t now_ms);

struct hf_control {
	uint32_t magic;
	uv_loop_t *loop;
	struct hf_control_config config;
	struct hf_registry *reg;
	uint64_t process; /* random: this run of this process, for the registry */
	struct hf_reg_info info;

	/* watch.c */
	uint64_t registry_away_since_ms; /* 0: it answers; for people */
	struct hf_left *left;            /* connections that ended, not stored yet */
	size_t left_count;
	bool alone; /* no other process can be at the registry */
	struct hf_peer_process *peers;
	size_t peer_count;
	uint64_t peers_read_ms; /* loop's clock */
	uint64_t peers_seen_ms; /* when all of them were read last */
	uint64_t watching_ms;   /* since when the registry has been there */
	unsigned reclaim_next;  /* bucket of channels; HF_CHANNEL_BUCKETS: nothing to say again */

	struct hf_signer_client *signer;
	struct hf_route *route;
	uv_timer_t second;     /* pending work is looked for once a second */
	struct hf_wheel wheel; /* deadlines of all links */
	bool stopping, new_incarnation;
	int failed; /* why it stopped by itself; 0: it was told to */

	/* lookers.c */
	struct hf_list watched; /* channels that somebody looks at */
	struct hf_told_look {
		uint64_t gateway, until_ms; /* loop's clock; its holder knows so long */
	} told_looks[HF_TOLD_LOOKS];

	/* lost.c, webhook.c */
	struct hf_list missing; /* gateways whose connection ended a moment ago */
	unsigned lost_ticks;
	bool more_unheld; /* than one look took */
	struct hf_webhook *webhook;

	/* metrics.c */
	struct hf_counts counts;
	struct hf_http *metrics; /* NULL: not served */

	/* trust.c */
	struct hf_sign_key server_key;
	uint8_t *certificate, *authority; /* DER; of the authorities all, the one in use first */
	size_t certificate_length, authority_length;
	int64_t certificate_renew_s; /* since 1970 */
	uint8_t authority_key[HF_KEY_BYTES], signer_key[HF_KEY_BYTES];
	bool asking_trust, trusted, trust_warned;
	uint64_t signer_away_since_ms; /* 0: it answers; for people */

	/* rotation.c, renewal.c */
	struct hf_rotation_link *links; /* how signing keys followed one another, oldest first */
	size_t link_count;
	bool asking_hello, signer_key_noted;
	uint64_t hello_due_ms;
	unsigned renewal_count; /* at the signer */

	/* authorities.c */
	uint64_t authorities_version;         /* of the list that the signer gave; 0: not yet */
	struct Holdfast__Signed *authorities; /* the same, for gateways */
	uint8_t next_authority[HF_REG_AUTHORITY_SIZE]; /* the last of the list */
	bool authority_follows;                        /* it takes the place of another */
	bool asking_retirement;
	uint64_t retirement_due_ms;
	unsigned authorities_sent; /* in this second */

	/* tokens.c */
	uint8_t token_key[HF_KEY_BYTES];
	bool token_key_known;

	/* store.c */
	uint8_t store_sealed[HF_REG_SECRET_MAX]; /* encrypted by the signer */
	size_t store_sealed_length;
	char *store_ca; /* PEM text */
	bool asking_store, store_ready, store_warned;
	char store_fingerprint[2 * HF_HASH_BYTES + 1]; /* of this process' settings */
	bool store_differs; /* another process was started with other settings since */
	unsigned store_ticks;

	/* channel.c, activation.c */
	struct hf_listener *channel_listener, *activation_listener;
	struct hf_list channels[HF_CHANNEL_BUCKETS];
	unsigned channel_count;
	unsigned held_count; /* of them, those with an epoch */
	struct hf_list seen; /* channels of which the registry has to learn */
	uv_timer_t seen_timer;
	struct hf_list granting; /* grants.c: channels that wait for an epoch or to be parked */
	uv_idle_t grant_turn;
	uv_timer_t grant_timer;
	struct hf_flaps *flaps; /* flaps.c */
	struct hf_fleet *fleet; /* fleet.c */

	/* drain.c */
	bool draining;
	uint64_t drain_ms; /* loop's clock: when it began */
	uv_timer_t drain_timer;

	struct hf_list activations;
	unsigned activation_count;
	struct hf_bucket offers;     /* new keys */
	struct hf_bucket wrong_keys; /* tries at `gateway activate` that fail */

	/* publish.c */
	struct hf_list publishing; /* gateways whose document waits for the signer, or is there */
	unsigned publishing_count, publishing_batches;
	uint64_t publish_after;    /* publish.c: where the look for unsigned changes goes on */
	char publish_problem[256]; /* of the last document; "": none */

	bool signing_actions;       /* actions.c: a batch of them is at the signer */
	struct hf_dry_run *dry_run; /* volumes.c: a change is only tried; NULL: it is made */

	/* admin.c */
	struct hf_local_server *admin;
	struct hf_list waiters;
	unsigned waiter_count;
	struct hf_list creating;         /* volumes whose secrets are at the signer */
	struct hf_list network_settings; /* likewise */
};

/* Milliseconds since 1970, by the registry's clock where several processes share one: they compare
 * what each of them wrote there, and their machines' clocks may differ by anything. */
uint64_t hf_control_wall_ms(void);
/* What the registry's clock shows; 0: it has none. */
void hf_control_time_is(uint64_t now_ms);
/* Where gateways reach this very process, "host:port". */
void hf_control_own_endpoint(const struct hf_control *control, char *text, size_t size);
/* Where gateways are told to connect to, "host:port". */
void hf_control_endpoint(const struct hf_control *control, char *text, size_t size);
void hf_control_audit(struct hf_control *control, const char *who, const char *action,
		      const char *object, const char *detail);

/* ---- trust.c ---- */

/* Reads the own key and what is kept of the signer's; the rest is asked once a second until it is
 * there, then the listeners open. */
int hf_control_trust_open(struct hf_control *control, struct hf_errmsg *message);
void hf_control_trust_tick(struct hf_control *control);
void hf_control_trust_close(struct hf_control *control);
/* `control->signer_key` has changed. */
void hf_control_trust_keep_signer_key(struct hf_control *control);

/* ---- rotation.c ---- */

/* Notes which key signs now; if it was another one, everything is to be signed anew. To be called
 * when the key is first known, so that a rotation right afterwards is seen. */
void hf_rotation_settle(struct hf_control *control);

/* The certificate of the authority in use: the first of the list. */
size_t hf_trust_authority_length(const struct hf_control *control);
/* Another list of authorities: trusted from now on, kept, and a certificate of our own is asked for
 * if another one is in use now. */
int hf_trust_take_authorities(struct hf_control *control, const uint8_t *list, size_t length,
			      struct hf_errmsg *message);

/* ---- authorities.c ---- */

/* The signer has said which authorities there are. */
void hf_authorities_learn(struct hf_control *control, const Holdfast__SignerAnswer *answer);
/* Once a second: when nobody depends on the old one any more, it retires. */
void hf_authorities_tick(struct hf_control *control);
void hf_authorities_close(struct hf_control *control);
/* For people: which there are, and who depends on the one that goes. */
json_t *hf_authorities_json(struct hf_control *control);

/* ---- tokens.c ---- */

/* Reads the key that was learned before. */
int hf_tokens_open(struct hf_control *control, struct hf_errmsg *message);
/* The signer has answered; keeps its key. */
void hf_tokens_learn(struct hf_control *control, const Holdfast__SignerAnswer *answer);
/* A token for the holding of that epoch, which nobody else can make. */
void hf_tokens_make(const struct hf_control *control, uint64_t gateway, uint64_t epoch,
		    uint8_t token[HF_REG_TOKEN_SIZE]);
/* Was it made for an epoch around that one? HF_EAUTH: no; HF_ENOTREADY: nobody can say. */
int hf_tokens_check(const struct hf_control *control, uint64_t gateway, uint64_t epoch,
		    const uint8_t *token, size_t length);

/* ---- store.c ---- */

int hf_store_settings_open(struct hf_control *control, struct hf_errmsg *message);
void hf_store_settings_tick(struct hf_control *control);
void hf_store_settings_close(struct hf_control *control);

#endif
