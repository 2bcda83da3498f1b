/* What tgtd says of itself: its `show` texts, read into structures. Pure. The text is not trusted:
 * initiators choose part of it (their name and alias, which may hold line ends), so a text whose
 * parts do not stand in tgtd's order, or that names a target twice, is refused as a whole. */
#ifndef HF_GATEWAY_BROKER_TGT_SHOW_H
#define HF_GATEWAY_BROKER_TGT_SHOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define HF_TGT_NAME_MAX    224u  /* bytes of an iSCSI name, with the terminator */
#define HF_TGT_ACCOUNT_MAX 160u  /* of an account's name */
#define HF_TGT_ITEMS_MAX   4096u /* targets; LUNs, sessions, accounts, entries of one target */

struct hf_tgt_session {
	uint64_t sid;
	uint32_t cid;
	char initiator[HF_TGT_NAME_MAX];
	char address[64];
};

struct hf_tgt_lun {
	uint64_t lun;
	uint64_t volume;     /* from the path "vol-…"; 0: another kind of LUN */
	uint64_t size_mb;    /* as tgtd rounds it */
	uint32_t block_size; /* bytes */
	bool online;
};

struct hf_tgt_account {
	char user[HF_TGT_ACCOUNT_MAX];
};

struct hf_tgt_acl {
	char entry[HF_TGT_NAME_MAX]; /* an address, ALL, or an initiator's name */
};

struct hf_tgt_target {
	int32_t tid;
	char name[HF_TGT_NAME_MAX];
	bool ready;
	struct hf_tgt_session *sessions;
	struct hf_tgt_lun *luns;
	struct hf_tgt_account *accounts; /* incoming, in tgtd's order */
	struct hf_tgt_acl *acls;
	size_t session_count, lun_count, account_count, acl_count;
	char outgoing[HF_TGT_ACCOUNT_MAX]; /* "": none */
};

struct hf_tgt_state {
	struct hf_tgt_target *targets;
	size_t target_count;
};

/* Reads `show` of all targets. 0; HF_EPROTO; HF_ENOMEM. On failure nothing is left to free. */
int hf_tgt_show_parse(const char *text, struct hf_tgt_state *state, struct hf_errmsg *message);
void hf_tgt_state_free(struct hf_tgt_state *state);
/* By name; NULL if there is none. */
struct hf_tgt_target *hf_tgt_find(const struct hf_tgt_state *state, const char *name);

/* The next "addr:port" of a portal listing from `*at` on, into `portal`; false at the end. */
bool hf_tgt_portal_next(const char **at, char *portal, size_t size);

/* Is it an initiator's name, and not an address? */
bool hf_tgt_is_iscsi_name(const char *entry);

#endif
