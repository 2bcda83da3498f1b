/* The registry is the truth of the provider: tenants, gateways, activations, volumes and where they
 * are placed, the newest signed document of each gateway, and the audit trail. One implementation,
 * in SQL that every database below it understands (db.h): SQLite for one process, another for
 * several; tests/provider/registry_contract.c is run on each.
 *
 * Calls block for as long as the database takes, belong to one thread, and leave nothing half done:
 * each is atomic, and several become one between begin and end. Transactions shut each other out,
 * so what one read stays true until it ends; after an error in one the only way on is end. What a
 * call reports as done is durable (outside a transaction) or becomes durable with the end. Records
 * are plain structs of fixed size, copied in and out; nothing is owned by the registry except the
 * registry itself.
 *
 * Errors: HF_ENOENT (no such row), HF_EEXIST (a name or key is taken), HF_EFENCED (a write of a
 * holder whose epoch is no longer the highest), HF_EBUSY (the database is locked by somebody else),
 * HF_ENOTREADY (the connection to it is lost, and being made again), HF_EUNKNOWN (it was lost after
 * a write was sent), HF_EIO, HF_ENOSPC, HF_ECORRUPT, HF_ENOMEM. */
#ifndef HF_PROVIDER_REGISTRY_REGISTRY_H
#define HF_PROVIDER_REGISTRY_REGISTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define HF_REG_NAME_MAX       64u  /* bytes without the terminator, [A-Za-z0-9._-] */
#define HF_REG_HOST_MAX       255u /* DNS name */
#define HF_REG_VERSION_MAX    63u
#define HF_REG_PORTAL_MAX     271u /* host:port */
#define HF_REG_IQN_MAX        223u /* RFC 7143, 4.2.7.1 */
#define HF_REG_REASON_MAX     255u
#define HF_REG_INITIATORS_MAX 4095u /* bytes of the list, one a line */
#define HF_REG_SECRET_MAX     1024u /* bytes of an encrypted secret */
#define HF_REG_REQUEST_MAX    2048u /* bytes of a certificate request or certificate, DER */
#define HF_REG_KEY_SIZE       32u
#define HF_REG_NUMBER_SIZE    8u  /* of an activation */
#define HF_REG_CHECK_SIZE     10u /* the hash half of an activation key */

struct hf_registry;

/* ---- Records --------------------------------------------------------------------------------- */

struct hf_reg_info {
	uint64_t incarnation; /* of this database; a restored copy gets a higher one */
	uint64_t tenant;      /* the one of a provider with a single tenant */
	uint64_t now_ms;      /* by the database's clock; 0: there is none but the asker's */
	uint32_t schema;
};

enum hf_reg_gateway_state {
	HF_REG_GATEWAY_PENDING = 1, /* confirmed, its certificate has not been issued yet */
	HF_REG_GATEWAY_CLAIMED = 2, /* its key was entered; waits for confirm */
	HF_REG_GATEWAY_ACTIVE = 3,
	HF_REG_GATEWAY_REFUSED = 4, /* by its owner, or its key ran out unconfirmed */
	HF_REG_GATEWAY_REVOKED = 5, /* turned away for good */
};

struct hf_reg_gateway {
	uint64_t id;
	uint64_t tenant;
	char name[HF_REG_NAME_MAX + 1]; /* unique in the tenant among those not refused */
	enum hf_reg_gateway_state state;
	char reason[HF_REG_REASON_MAX + 1];
	uint8_t identity_key[HF_REG_KEY_SIZE]; /* Ed25519, public */
	uint8_t sealing_key[HF_REG_KEY_SIZE];  /* X25519, public */
	uint64_t epoch;                        /* highest connection epoch granted */
	uint64_t generation; /* of the desired state; counts with every change, 0: never changed */
	uint64_t applied_incarnation;
	uint64_t applied_generation;
	uint64_t last_seen_ms; /* since 1970; 0: never */
	char host[HF_REG_HOST_MAX + 1];
	char version[HF_REG_VERSION_MAX + 1];
	char portal[HF_REG_PORTAL_MAX + 1];
	uint64_t process;   /* that `epoch` was granted to; 0: none, or its connection ended */
	uint64_t work;      /* counts up with everything that its holder has to look at */
	uint64_t work_done; /* how far the holder of `epoch` has looked */
	uint64_t looks;     /* through other processes, since `epoch` was granted */
	uint64_t told;      /* generations above this were never sent to it */
	uint64_t least;     /* none below this is sent any more */
	uint64_t sequence;  /* of the newest change it says it took, where that was a surprise */
};

/* A process of the provider, as it describes itself. */
struct hf_reg_process {
	uint64_t id;
	char name[HF_REG_HOST_MAX + 1];       /* of its machine */
	char endpoint[HF_REG_PORTAL_MAX + 1]; /* where gateways reach it, host:port */
	uint64_t beat_ms;                     /* its clock, since 1970; changes while it lives */
	uint64_t held, parked;                /* connections */
	uint64_t capacity;
	bool draining;
};

/* A gateway whose holder has something to look at. */
struct hf_reg_work {
	uint64_t gateway;
	uint64_t epoch;
	uint64_t work;
	uint64_t looks;
};

/* The token that tells a gateway from a copy of its disk. Each Held brings a new one; the gateway
 * shows the last that it kept. */
#define HF_REG_TOKEN_SIZE 16u
enum hf_reg_shown {
	HF_REG_SHOWN_RIGHT,     /* the last that was known to be kept, or one given since */
	HF_REG_SHOWN_OTHER,     /* somebody else has gone on from a token that this one had */
	HF_REG_SHOWN_CONTESTED, /* that was seen before, and nobody has decided yet */
};

enum hf_reg_activation_state {
	HF_REG_ACTIVATION_OFFERED = 1,
	HF_REG_ACTIVATION_CLAIMED = 2,
	HF_REG_ACTIVATION_ISSUED = 3, /* `certificate` may be handed out again to the same keys */
	HF_REG_ACTIVATION_REFUSED = 4,
};

struct hf_reg_activation {
	uint8_t number[HF_REG_NUMBER_SIZE]; /* the first half of the key */
	uint8_t check[HF_REG_CHECK_SIZE];   /* the second */
	enum hf_reg_activation_state state;
	uint8_t identity_key[HF_REG_KEY_SIZE]; /* unique */
	uint8_t sealing_key[HF_REG_KEY_SIZE];
	uint64_t expires_ms; /* since 1970 */
	uint32_t wrong_tries;
	uint64_t gateway; /* 0 while offered */
	char host[HF_REG_HOST_MAX + 1];
	char version[HF_REG_VERSION_MAX + 1];
	char portal[HF_REG_PORTAL_MAX + 1];
	uint8_t request[HF_REG_REQUEST_MAX]; /* PKCS#10, DER */
	size_t request_length;
	uint8_t certificate[HF_REG_REQUEST_MAX]; /* DER, once issued */
	size_t certificate_length;
};

struct hf_reg_volume {
	uint64_t id;
	uint64_t tenant;
	char name[HF_REG_NAME_MAX + 1]; /* unique in the tenant among those not gone */
	uint64_t size_bytes;
	uint64_t gateway;      /* of the newest placement */
	uint64_t attach_epoch; /* of the newest placement */
	uint32_t lun;
	uint32_t block_size; /* bytes: 512 or 4096 */
	bool write_cache;
	bool created; /* was reported available once: its objects exist */
	bool gone;    /* reported deleted; kept while other gateways still have to forget it */
	uint64_t created_ms; /* since 1970 */
	char target[HF_REG_IQN_MAX + 1];
	char chap_user[HF_REG_IQN_MAX + 1];
	char mutual_user[HF_REG_IQN_MAX + 1];
	char initiators[HF_REG_INITIATORS_MAX + 1]; /* one a line, without a newline at the end */
	uint8_t secrets[HF_REG_SECRET_MAX];         /* encrypted by the signer */
	size_t secrets_length;
};

/* What one gateway is told about one volume, and what it reported about it. A volume that moved has
 * several; each leaves only when its gateway reported the tombstone done. */
enum hf_reg_desired {
	HF_REG_ATTACHED = 1,
	HF_REG_DETACHED = 2,
	HF_REG_DELETED = 3,
};

struct hf_reg_report {
	uint32_t state;   /* enum holdfast VolumeState of channel.proto; 0: nothing reported yet */
	uint64_t version; /* of the entry that the state answers */
	int32_t error;    /* positive number of an HF_E…, 0: none */
	char reason[HF_REG_REASON_MAX + 1];
	uint64_t recovery_point; /* volume sequence */
	uint64_t lag_bytes;
	uint64_t age_ms;
	uint64_t sessions;
	uint64_t size_bytes;                /* that initiators find; 0: not reported */
	char portal[HF_REG_PORTAL_MAX + 1]; /* where; "": the gateway's */
	uint64_t reported_ms;               /* since 1970 */
};

struct hf_reg_placement {
	uint64_t volume;
	uint64_t gateway;
	enum hf_reg_desired desired;
	uint64_t attach_epoch;
	uint64_t version; /* generation of the gateway that last changed this */
	uint64_t since;   /* generation that brought the volume there; 0: before this was kept */
	struct hf_reg_report report;
};

struct hf_reg_document {
	uint64_t gateway;
	uint64_t incarnation;
	uint64_t generation;
	uint8_t hash[32]; /* SHA-256 of the Document's bytes */
	uint64_t told;    /* of the gateway; only hf_registry_document_head says it */
	const uint8_t
		*bytes; /* an encoded Signed; put: the caller's; get: malloc'ed, caller frees */
	size_t length;
};

/* How the newest document differs from the one before it (proto/delta.h). */
struct hf_reg_delta {
	uint64_t gateway;
	uint64_t incarnation, generation;
	uint64_t base_incarnation, base_generation;
	uint8_t base_hash[32];
	const uint8_t *bytes; /* put: the caller's; get: malloc'ed, caller frees */
	size_t length;
};

#define HF_REG_ENDPOINTS_MAX 16u

/* How a gateway is to reach the provider; without a row: as at its activation. */
struct hf_reg_network {
	uint64_t gateway;
	uint64_t version; /* generation that last changed this */
	char endpoints[HF_REG_ENDPOINTS_MAX *
		       (HF_REG_PORTAL_MAX + 1)]; /* one a line; "": as then */
	char proxy[HF_REG_PORTAL_MAX + 16];      /* http://host:port; "": none */
	uint32_t confirm_ms;                     /* 0: the gateway's own */
	uint8_t sealed[HF_REG_SECRET_MAX];       /* the proxy's credentials, by the signer */
	size_t sealed_length;                    /* 0: it wants none */
};

#define HF_REG_ACTIONS_OPEN_MAX 32u  /* of one gateway */
#define HF_REG_ACTIONS_KEPT     100u /* of one gateway, that have ended */
#define HF_REG_WHO_MAX          63u

enum hf_reg_action_state {
	HF_REG_ACTION_REQUESTED = 1, /* not signed yet */
	HF_REG_ACTION_READY = 2,     /* signed; `sent` says how often it was sent */
	HF_REG_ACTION_ENDED = 3,
};

/* A one-shot action of a gateway. Bytes are malloc'ed where a call gives them, and freed with
 * hf_reg_action_free; else NULL. */
struct hf_reg_action {
	uint64_t number; /* counts up over all gateways, never used twice */
	uint64_t gateway;
	uint32_t kind; /* enum ActionKind of proto/action.proto */
	uint32_t tgtd;
	enum hf_reg_action_state state;
	char who[HF_REG_WHO_MAX + 1];
	uint64_t created_ms, expires_ms, ended_ms; /* since 1970; 0: never */
	uint64_t sent;
	bool forgotten;   /* the gateway need not remember it any more */
	uint32_t outcome; /* enum ActionOutcome, once ended */
	int32_t error;    /* positive number of an HF_E…, 0: none */
	char reason[HF_REG_REASON_MAX + 1];
	uint8_t *document, *packet, *report; /* PLAN's; an encoded Signed; the answer's */
	size_t document_length, packet_length, report_length;
};

struct hf_reg_audit {
	uint64_t at_ms; /* since 1970 */
	const char *who;
	const char *action;
	const char *object;
	const char *detail; /* never a secret */
};

/* Visitors: return 0 to go on; anything else ends the visit and is returned. The record is valid
 * only during the call, in which the registry may be read but not written. */
typedef int (*hf_reg_gateway_visit)(void *context, const struct hf_reg_gateway *gateway);
typedef int (*hf_reg_volume_visit)(void *context, const struct hf_reg_volume *volume);
typedef int (*hf_reg_action_visit)(void *context, const struct hf_reg_action *action);
typedef int (*hf_reg_placement_visit)(void *context, const struct hf_reg_placement *placement);
typedef int (*hf_reg_process_visit)(void *context, const struct hf_reg_process *process);
typedef int (*hf_reg_work_visit)(void *context, const struct hf_reg_work *work);

/* ---- Calls ----------------------------------------------------------------------------------- */

/* Opens or creates a database in one SQLite file. `now_ms` becomes the incarnation of a new one. */
int hf_registry_open_sqlite(const char *path, uint64_t now_ms, struct hf_registry **reg,
			    struct hf_errmsg *message);
/* The same on PostgreSQL: a URL (postgres://USER@HOST/DATABASE?…) or `postgres:/FILE`, a file of
 * one line with such a URL or libpq's key=value, which others cannot read. Over a network the
 * server's certificate is checked unless the URL says otherwise. Waits a few seconds at most. */
int hf_registry_open_postgres(const char *where, uint64_t now_ms, struct hf_registry **reg,
			      struct hf_errmsg *message);
/* Whichever of the two `where` names. */
int hf_registry_open(const char *where, uint64_t now_ms, struct hf_registry **reg,
		     struct hf_errmsg *message);
/* NULL is fine. */
void hf_registry_close(struct hf_registry *reg);
/* The number of this process of the provider, for what is granted from now on; 1 if never said. */
void hf_registry_set_process(struct hf_registry *reg, uint64_t process);
uint64_t hf_registry_process(const struct hf_registry *reg);
/* False while the connection to the database is lost; then every call fails at once. */
bool hf_registry_ready(struct hf_registry *reg);
/* Of the last error, for the log; no secrets. Valid until the next call. */
const char *hf_registry_why(const struct hf_registry *reg);
/* How many statements and transactions the database did not carry out so far. */
uint64_t hf_registry_errors(const struct hf_registry *reg);

/* A transaction; they do not nest. */
int hf_registry_begin(struct hf_registry *reg);
/* Commits if `err` is 0, else undoes everything since begin. Returns the first error. After
 * HF_EUNKNOWN the connection was lost at the commit: all of it was done or nothing. */
int hf_registry_end(struct hf_registry *reg, int err);

int hf_registry_info(struct hf_registry *reg, struct hf_reg_info *info);

/* For a database restored from a backup: max(incarnation + 1, at_least), so that its documents are
 * newer than everything the gateways have seen; generations and the versions of all placements leap
 * ahead too, at least to `at_least`, so that no older report is taken for an answer to what is
 * desired now. The clock in milliseconds is a good `at_least`. */
int hf_registry_new_incarnation(struct hf_registry *reg, uint64_t at_least);

/* Small named texts, such as the fingerprint of the store's configuration. HF_ENOENT if never put.
 */
int hf_registry_setting_get(struct hf_registry *reg, const char *key, char *value, size_t size);

int hf_registry_setting_put(struct hf_registry *reg, const char *key, const char *value);

int hf_registry_gateway_insert(struct hf_registry *reg, const struct hf_reg_gateway *gateway);

int hf_registry_gateway_get(struct hf_registry *reg, uint64_t id, struct hf_reg_gateway *gateway);

/* By name, refused ones left out. */
int hf_registry_gateway_find(struct hf_registry *reg, uint64_t tenant, const char *name,
			     struct hf_reg_gateway *gateway);

/* All, by name. */
int hf_registry_gateway_visit(struct hf_registry *reg, hf_reg_gateway_visit visit, void *context);

int hf_registry_gateway_set_state(struct hf_registry *reg, uint64_t id,
				  enum hf_reg_gateway_state state, const char *reason);

/* Grants this process the next connection epoch: above both the database's and `at_least` (the one
 * the gateway names), durable before it is told (invariant 5). Whatever there is to do for the
 * gateway is the new holder's to find out. */
int hf_registry_gateway_grant(struct hf_registry *reg, uint64_t id, uint64_t at_least,
			      uint64_t now_ms, const char *version, uint64_t *epoch);

/* The same by compare-and-swap, for a standby: only if nobody was granted an epoch above `known`,
 * the one of the connection that the gateway lost, else HF_EFENCED. */
int hf_registry_gateway_promote(struct hf_registry *reg, uint64_t id, uint64_t known,
				uint64_t now_ms, const char *version, uint64_t *epoch);

/* What the holder of `epoch` learned; HF_EFENCED if a higher epoch was granted since. */
int hf_registry_gateway_seen(struct hf_registry *reg, uint64_t id, uint64_t epoch, uint64_t now_ms,
			     uint64_t applied_incarnation, uint64_t applied_generation);

/* The connection of this epoch ended; HF_EFENCED if a higher one was granted since. */
int hf_registry_gateway_left(struct hf_registry *reg, uint64_t id, uint64_t epoch, uint64_t now_ms);

/* The connection of this epoch is held by this process, which had been forgotten; HF_EFENCED. */
int hf_registry_gateway_held(struct hf_registry *reg, uint64_t id, uint64_t epoch);

/* Writes this process's row; `id` is that of hf_registry_set_process. `*fresh`: there was none, so
 * it begins, or was forgotten, and with it what it held. */
int hf_registry_process_beat(struct hf_registry *reg, const struct hf_reg_process *process,
			     bool *fresh);

/* All, also those that died; by endpoint. */
int hf_registry_process_visit(struct hf_registry *reg, hf_reg_process_visit visit, void *context);

/* It stops, or died: it holds nothing any more. Its gateways were seen at `seen_ms`; 0: when it
 * said so last. */
int hf_registry_process_forget(struct hf_registry *reg, uint64_t id, uint64_t seen_ms);

/* There is no other process than this one, which begins: nobody holds anything. */
int hf_registry_forget_holders(struct hf_registry *reg);

/* The desired state changes: generation + 1. */
int hf_registry_gateway_bump(struct hf_registry *reg, uint64_t id, uint64_t *generation);
/* The same, to above `generation`, if it is below. HF_ENOENT: it is not. */
int hf_registry_gateway_leap(struct hf_registry *reg, uint64_t id, uint64_t generation);

/* Active gateways whose desired state has no signed document yet, but for those that another
 * process holds, which finds them itself: at most HF_REG_UNSIGNED_MAX that follow `after` in the
 * order of the visit; HF_REG_BEFORE_ALL to begin. Only their `id` and `generation` are read, so
 * that a damaged row is in the way of no other gateway. */
#define HF_REG_BEFORE_ALL   (1ull << 63) /* ids are ordered as signed numbers */
#define HF_REG_UNSIGNED_MAX 1024u
int hf_registry_gateway_unsigned(struct hf_registry *reg, uint64_t after,
				 hf_reg_gateway_visit visit, void *context);

/* Something for the holder to look at, whichever process that is; goes into the transaction that
 * stores it. A new document adds it by itself. */
int hf_registry_work_add(struct hf_registry *reg, uint64_t gateway);

/* Somebody looks at it through this process: work for the other process that holds it. HF_ENOENT:
 * no other one does. */
int hf_registry_gateway_look(struct hf_registry *reg, uint64_t gateway);

/* What this process holds and has not looked at. Costs nothing where there is nothing to do. */
int hf_registry_work_visit(struct hf_registry *reg, hf_reg_work_visit visit, void *context);

/* The holder has looked at everything up to `work->work`, and keeps what is not finished yet in
 * mind; a later holder starts from what is stored. HF_EFENCED as above. */
int hf_registry_work_done(struct hf_registry *reg, const struct hf_reg_work *work);

/* ---- Who a gateway is (identity.c) ---- */

/* The desired state of every active gateway counts as changed, for example because it is to be
 * signed with another key. */
int hf_registry_gateway_bump_all(struct hf_registry *reg);

/* Activations that were not issued run out now: their keys were made with another signer's. */
int hf_registry_activation_void(struct hf_registry *reg);

/* Turned away for good: the state becomes revoked, and every process closes its connections. */
int hf_registry_gateway_revoke(struct hf_registry *reg, uint64_t id, const char *reason,
			       uint64_t now_ms);

/* Gateways that were barred since then: revoked, or with two claimants. Costs nothing when there
 * are none. */
int hf_registry_barred_visit(struct hf_registry *reg, uint64_t since_ms,
			     int (*visit)(void *context, uint64_t gateway), void *context);

/* What this token, shown by the gateway, says of it. */
int hf_registry_token_check(struct hf_registry *reg, uint64_t gateway, const uint8_t *token,
			    size_t length, enum hf_reg_shown *shown);
/* The next one, given with Held; goes into the transaction of its epoch. Those that were right stay
 * so until hf_registry_token_kept. */
int hf_registry_token_next(struct hf_registry *reg, uint64_t gateway,
			   const uint8_t next[HF_REG_TOKEN_SIZE]);
/* The gateway has kept the one that it was given with this epoch: no other is right any more. A
 * holder's write: HF_EFENCED. */
int hf_registry_token_kept(struct hf_registry *reg, uint64_t gateway, uint64_t epoch);

#define HF_REG_CLAIMANTS_MAX 8u
struct hf_reg_claimant {
	uint64_t gateway;
	uint64_t number; /* of the gateway, from 1 */
	uint8_t token[HF_REG_TOKEN_SIZE];
	size_t token_length; /* 0: it showed none */
	uint8_t boot[16];    /* of its agent's run, when it was last seen */
	char address[64];    /* when it was last seen */
	char version[HF_REG_VERSION_MAX + 1];
	bool rejected; /* another one was accepted */
	uint64_t first_ms, last_ms;
};
/* Notes one more claimant, or that one was seen again, by its token; the gateway is contested from
 * now on, and barred. HF_EACCES: it was rejected, and nothing changes. Beyond
 * HF_REG_CLAIMANTS_MAX none is listed. */
int hf_registry_claimant_note(struct hf_registry *reg, const struct hf_reg_claimant *claimant);
/* By number. */
int hf_registry_claimant_visit(struct hf_registry *reg, uint64_t gateway,
			       int (*visit)(void *context, const struct hf_reg_claimant *claimant),
			       void *context);
/* This one is the gateway; the others are rejected. HF_ENOENT. */
int hf_registry_claimant_accept(struct hf_registry *reg, uint64_t gateway, uint64_t number);

/* Inserts, or replaces the one with the same number. HF_EEXIST: another has the identity key. */
int hf_registry_activation_put(struct hf_registry *reg, const struct hf_reg_activation *activation);

int hf_registry_activation_get(struct hf_registry *reg, const uint8_t *number,
			       struct hf_reg_activation *activation);

int hf_registry_activation_by_identity(struct hf_registry *reg, const uint8_t *identity_key,
				       struct hf_reg_activation *activation);

int hf_registry_activation_by_gateway(struct hf_registry *reg, uint64_t gateway,
				      struct hf_reg_activation *activation);

/* Forgets what has expired and was never issued; gateways that were claimed through it become
 * refused ("the activation key ran out"). `offered` gets the number of offers that remain. */
int hf_registry_activation_purge(struct hf_registry *reg, uint64_t now_ms, unsigned *offered);

int hf_registry_volume_insert(struct hf_registry *reg, const struct hf_reg_volume *volume);

/* Everything but id, tenant and created_ms. */
int hf_registry_volume_update(struct hf_registry *reg, const struct hf_reg_volume *volume);

int hf_registry_volume_get(struct hf_registry *reg, uint64_t id, struct hf_reg_volume *volume);

/* By name, those gone left out. */
int hf_registry_volume_find(struct hf_registry *reg, uint64_t tenant, const char *name,
			    struct hf_reg_volume *volume);

/* All that are not gone, by name. */
int hf_registry_volume_visit(struct hf_registry *reg, hf_reg_volume_visit visit, void *context);

/* HF_EBUSY while placements remain. */
int hf_registry_volume_remove(struct hf_registry *reg, uint64_t id);

/* Inserts or replaces what is desired; the report of an existing one is kept. */
int hf_registry_placement_put(struct hf_registry *reg, const struct hf_reg_placement *placement);

int hf_registry_placement_get(struct hf_registry *reg, uint64_t volume, uint64_t gateway,
			      struct hf_reg_placement *placement);

/* Of a volume, of a gateway, or (0 matches any) all; by volume. */
int hf_registry_placement_visit(struct hf_registry *reg, uint64_t volume, uint64_t gateway,
				hf_reg_placement_visit visit, void *context);

/* Stores `placement->report`, a holder's write: HF_EFENCED if `epoch` is not the gateway's highest.
 */
int hf_registry_placement_report(struct hf_registry *reg, uint64_t epoch,
				 const struct hf_reg_placement *placement);

int hf_registry_placement_remove(struct hf_registry *reg, uint64_t volume, uint64_t gateway);

/* Keeps the newest document of a gateway, work for its holder; HF_ESTALE if one as new or newer is
 * there. */
int hf_registry_document_put(struct hf_registry *reg, const struct hf_reg_document *document);

int hf_registry_document_get(struct hf_registry *reg, uint64_t gateway,
			     struct hf_reg_document *document);

/* The same without its bytes, but with what the gateway may have been told. */
int hf_registry_document_head(struct hf_registry *reg, uint64_t gateway,
			      struct hf_reg_document *document);

/* Goes into the transaction that puts the newest document. */
int hf_registry_delta_put(struct hf_registry *reg, const struct hf_reg_delta *delta);
/* HF_ENOENT: there is none. */
int hf_registry_delta_get(struct hf_registry *reg, uint64_t gateway, struct hf_reg_delta *delta);

/* Within the transaction that bumps the generation. */
int hf_registry_network_put(struct hf_registry *reg, const struct hf_reg_network *network);
/* HF_ENOENT: never set. */
int hf_registry_network_get(struct hf_registry *reg, uint64_t gateway,
			    struct hf_reg_network *network);

/* ---- Authorities that follow one another ----------------------------------------------------- */

#define HF_REG_AUTHORITY_SIZE 8u /* its id (net/identity.h) */

/* The gateway has a certificate of this authority, and has kept it. */
int hf_registry_issuer_note(struct hf_registry *reg, uint64_t gateway,
			    const uint8_t authority[HF_REG_AUTHORITY_SIZE]);
/* Active gateways of which that is not known; only `id` and `name` are read. */
int hf_registry_issuer_visit_others(struct hf_registry *reg,
				    const uint8_t authority[HF_REG_AUTHORITY_SIZE],
				    hf_reg_gateway_visit visit, void *context);

/* ---- One-shot actions ------------------------------------------------------------------------ */

/* Requests one; kind, tgtd, who, expires_ms and document are the caller's. `action->number` gets
 * its number, above every one before. Old ones that have ended leave. HF_EBUSY: the gateway has
 * HF_REG_ACTIONS_OPEN_MAX that have not. */
int hf_registry_action_add(struct hf_registry *reg, struct hf_reg_action *action, uint64_t now_ms);
/* With its bytes. */
int hf_registry_action_get(struct hf_registry *reg, uint64_t number, struct hf_reg_action *action);
void hf_reg_action_free(struct hf_reg_action *action);
/* Of a gateway, or (0) all; newest first, at most `limit`; without their bytes. */
int hf_registry_action_visit(struct hf_registry *reg, uint64_t gateway, uint64_t limit,
			     hf_reg_action_visit visit, void *context);
/* Of each gateway the first that is not signed, if there is one; with its document. So they are
 * signed in the order of their numbers. */
int hf_registry_action_unsigned(struct hf_registry *reg, uint64_t limit, hf_reg_action_visit visit,
				void *context);
/* Keeps the signed action, with the sequence of its change; work for the holder. HF_ENOENT:
 * somebody else was first. HF_ESTALE: one before it is to be signed (anew), or has a sequence that
 * is not below, so that the gateway would refuse one of the two as past; it is to be signed again.
 */
int hf_registry_action_signed(struct hf_registry *reg, uint64_t number, uint64_t sequence,
			      const uint8_t *packet, size_t length);
/* The first that has not ended, with its packet; HF_ENOENT. Nothing after it may be sent. */
int hf_registry_action_next(struct hf_registry *reg, uint64_t gateway,
			    struct hf_reg_action *action);
/* Before it is sent; a holder's write: HF_EFENCED. HF_ENOENT: it has ended meanwhile. */
int hf_registry_action_sent(struct hf_registry *reg, uint64_t number, uint64_t gateway,
			    uint64_t epoch);
/* The gateway does not take its signature (the signer's key is another one by now): to be signed
 * anew, with those of the gateway that follow it. HF_ENOENT: it has ended. */
int hf_registry_action_unsign(struct hf_registry *reg, uint64_t number);
/* What became of it, from outcome, error, reason, report and forgotten; with `epoch` not 0 a
 * holder's write. HF_ENOENT: it had ended already. */
int hf_registry_action_end(struct hf_registry *reg, uint64_t epoch,
			   const struct hf_reg_action *action, uint64_t now_ms);
/* Ends what was never sent and is too late by now. */
int hf_registry_action_expire(struct hf_registry *reg, uint64_t now_ms, uint32_t outcome,
			      int32_t error, const char *reason);
/* Up to which number the gateway may forget; 0: there is nothing to forget. */
int hf_registry_action_forgettable(struct hf_registry *reg, uint64_t gateway, uint64_t *number);
int hf_registry_action_forgotten(struct hf_registry *reg, uint64_t gateway, uint64_t number);

int hf_registry_audit_add(struct hf_registry *reg, const struct hf_reg_audit *entry);

int hf_registry_audit_count(struct hf_registry *reg, uint64_t *count);

#endif
