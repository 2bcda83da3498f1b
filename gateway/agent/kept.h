/* What the agent keeps in STATE_DIR (docs/format/agent-state.md), so that it serves after a reboot
 * without the provider. Each file is replaced as a whole; blocking, but small and rare. */
#ifndef HF_GATEWAY_AGENT_KEPT_H
#define HF_GATEWAY_AGENT_KEPT_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "gateway/agent/deleted.h"
#include "gateway/agent/plan.h"
#include "net/dial.h"
#include "net/seal.h"
#include "net/sign.h"
#include "proto/channel.pb-c.h"
#include "proto/local.pb-c.h"

#define HF_KEPT_MAX (4u << 20) /* bytes of a file's body */

struct hf_kept {
	const char *folder; /* STATE_DIR */
};

/* The keys, made at the first start. */
int hf_kept_keys(const struct hf_kept *kept, struct hf_sign_key *identity,
		 struct hf_seal_key *sealing, struct hf_errmsg *message);

/* What activation gave. HF_ENOENT: not activated; HF_ECORRUPT. Freed with
 * holdfast__activate_issued__free_unpacked(…, NULL). */
int hf_kept_activated(const struct hf_kept *kept, Holdfast__ActivateIssued **issued,
		      struct hf_errmsg *message);
int hf_kept_set_activated(const struct hf_kept *kept, const Holdfast__ActivateIssued *issued,
			  struct hf_errmsg *message);

/* The last document that was taken, as it was signed. HF_ENOENT, HF_ECORRUPT. */
int hf_kept_document(const struct hf_kept *kept, Holdfast__Signed **packet,
		     struct hf_errmsg *message);
int hf_kept_set_document(const struct hf_kept *kept, const Holdfast__Signed *packet,
			 struct hf_errmsg *message);

/* The highest connection epoch that was seen; 0 if none or if the file is damaged. */
uint64_t hf_kept_epoch(const struct hf_kept *kept);
int hf_kept_set_epoch(const struct hf_kept *kept, uint64_t epoch, struct hf_errmsg *message);

/* For which version of a volume access was set, in this run of tgtd: so that a new agent does not
 * touch what is right. 0 if it is not known. */
struct hf_kept_access {
	uint64_t volume, version;
};
/* `tgtd`: which of them. */
size_t hf_kept_access(const struct hf_kept *kept, unsigned tgtd, const uint8_t *boot,
		      size_t boot_length, struct hf_kept_access *list, size_t capacity);
int hf_kept_set_access(const struct hf_kept *kept, unsigned tgtd, const uint8_t *boot,
		       size_t boot_length, const struct hf_kept_access *list, size_t count,
		       struct hf_errmsg *message);

/* Which tgtd a volume is on, so that it is found at the same portal after a restart. */
struct hf_kept_place {
	uint64_t volume;
	uint32_t tgtd;
};
size_t hf_kept_places(const struct hf_kept *kept, struct hf_kept_place *list, size_t capacity);
int hf_kept_set_places(const struct hf_kept *kept, const struct hf_kept_place *list, size_t count,
		       struct hf_errmsg *message);

/* The newest document that was ever taken, apart from the document itself: should that be damaged,
 * an older one is refused all the same. All zero if there is none, or if the file is damaged. */
struct hf_kept_newest {
	uint64_t incarnation, generation, sequence;
	uint8_t hash[HF_HASH_BYTES];
};
void hf_kept_newest(const struct hf_kept *kept, struct hf_kept_newest *newest);
int hf_kept_set_newest(const struct hf_kept *kept, const struct hf_kept_newest *newest,
		       struct hf_errmsg *message);

/* Network settings, confirmed and being tried (network.h). HF_ENOENT, HF_ECORRUPT. */
int hf_kept_network(const struct hf_kept *kept, Holdfast__KeptNetwork **state,
		    struct hf_errmsg *message);
int hf_kept_set_network(const struct hf_kept *kept, const Holdfast__KeptNetwork *state,
			struct hf_errmsg *message);

/* Volumes that a restored registry left out (left.h), as a Document. HF_ENOENT, HF_ECORRUPT. */
int hf_kept_left(const struct hf_kept *kept, Holdfast__Document **left, struct hf_errmsg *message);
/* NULL: none. */
int hf_kept_set_left(const struct hf_kept *kept, const Holdfast__Document *left,
		     struct hf_errmsg *message);

/* What was deleted here; empty if there is nothing, or if the file is damaged, which is told. */
void hf_kept_deleted(const struct hf_kept *kept, struct hf_deleted *deleted);
int hf_kept_set_deleted(const struct hf_kept *kept, const struct hf_deleted *deleted,
			struct hf_errmsg *message);

/* The ratchet token of the last Held; 0 bytes if there is none, or if the file is damaged. */
#define HF_KEPT_TOKEN_BYTES 16u
size_t hf_kept_token(const struct hf_kept *kept, uint8_t token[HF_KEPT_TOKEN_BYTES]);
int hf_kept_set_token(const struct hf_kept *kept, const uint8_t token[HF_KEPT_TOKEN_BYTES],
		      struct hf_errmsg *message);

/* When it was last known to be at least this late, since 1970; 0 if never. */
int64_t hf_kept_time(const struct hf_kept *kept);
int hf_kept_set_time(const struct hf_kept *kept, int64_t time_s, struct hf_errmsg *message);

/* Where the provider's processes were when the holder said so last; what is damaged is left out. */
void hf_kept_endpoints(const struct hf_kept *kept, struct hf_endpoints *endpoints);
int hf_kept_set_endpoints(const struct hf_kept *kept, const struct hf_endpoints *endpoints,
			  struct hf_errmsg *message);

/* The file format, for tests and the fuzzer: checks and gives the body inside `bytes`. */
enum hf_kept_kind {
	HF_KEPT_ACTIVATED = 1,
	HF_KEPT_DOCUMENT = 2,
	HF_KEPT_EPOCH = 3,
	HF_KEPT_ACCESS = 4, /* `access`, of the second tgtd `access-2` and so on */
	HF_KEPT_PLACES = 5,
	HF_KEPT_NEWEST = 6,
	HF_KEPT_NETWORK = 7,
	HF_KEPT_LEFT = 8,
	HF_KEPT_DELETED = 9,
	HF_KEPT_TOKEN = 20,
	HF_KEPT_TIME = 21,
	HF_KEPT_ENDPOINTS = 30,
};
int hf_kept_parse(const uint8_t *bytes, size_t length, enum hf_kept_kind kind, const uint8_t **body,
		  size_t *body_length);

#endif
