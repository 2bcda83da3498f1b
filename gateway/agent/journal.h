/* The journal of one-shot actions: what was begun, with what is needed to decide later whether it
 * had its effect, and what became of it. Two halves: the table with its encoding (journal_codec.c,
 * pure), and the file it is kept in (journal.c: blocking, each call is durable when it returns).
 * docs/format/agent-state.md has every bit.
 *
 * An action is begun in the journal before its effect and ended in it before its answer. One that
 * is in the journal is never begun again; one that is not is begun only above every sequence that
 * was (invariant 4). Provider's `Forget` takes ended ones out; their sequence stays. */
#ifndef HF_GATEWAY_AGENT_JOURNAL_H
#define HF_GATEWAY_AGENT_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"

#define HF_JOURNAL_HASH_BYTES  32u
#define HF_JOURNAL_ACTIONS_MAX 64u         /* not yet forgotten */
#define HF_JOURNAL_MARK_MAX    1024u       /* bytes */
#define HF_JOURNAL_REASON_MAX  255u        /* bytes */
#define HF_JOURNAL_REPORT_MAX  (48u << 10) /* bytes */
#define HF_JOURNAL_FILE_MAX    (8u << 20)  /* bytes; it is rewritten long before */

/* What became of an action, as it was and will be answered. */
struct hf_journal_result {
	uint32_t outcome; /* enum ActionOutcome of proto/action.proto */
	int32_t error;    /* positive number of an HF_E…, 0: none */
	const char *reason;
	const uint8_t *report;
	size_t report_length;
};

struct hf_journal_action {
	struct hf_list link;
	uint64_t action, sequence;
	uint32_t kind; /* enum ActionKind */
	uint8_t hash[HF_JOURNAL_HASH_BYTES];
	uint8_t *mark; /* of the kind: what shows later whether the effect was had */
	size_t mark_length;
	bool ended;
	struct hf_journal_result result; /* once ended; owned */
};

/* ---- The table, pure ---- */

struct hf_journal_table {
	struct hf_list actions; /* in the order they were begun */
	unsigned count;
	uint64_t forgotten; /* actions up to this number */
	uint64_t sequence;  /* highest that was begun */
	bool lost;          /* a journal before this one, or a part of it, cannot be read */
	bool begun_since;   /* … and an action was begun after that was noticed */
};

void hf_journal_table_init(struct hf_journal_table *table);
void hf_journal_table_end(struct hf_journal_table *table);

/* Reads a file's bytes into a table. 0; HF_ECORRUPT: not a journal at all (the table is empty and
 * `lost`). Damage in the middle: what can be read is, and `lost` is set. `*good_bytes`: where the
 * next record goes; a torn one at the end, which was never acted upon, is left out. HF_ENOMEM. */
int hf_journal_decode(const uint8_t *bytes, size_t length, struct hf_journal_table *table,
		      size_t *good_bytes);
/* The whole table as a file, malloc'ed. HF_ENOMEM. */
int hf_journal_encode(const struct hf_journal_table *table, uint8_t **bytes, size_t *length);

/* One record each, malloc'ed. HF_ENOMEM. */
int hf_journal_encode_begun(const struct hf_journal_action *action, uint8_t **bytes,
			    size_t *length);
int hf_journal_encode_ended(uint64_t action, const struct hf_journal_result *result,
			    uint8_t **bytes, size_t *length);
int hf_journal_encode_forget(uint64_t action, uint8_t **bytes, size_t *length);

/* The same changes to the table. Fields are copied. HF_ENOMEM. */
int hf_journal_table_begin(struct hf_journal_table *table, const struct hf_journal_action *action);
int hf_journal_table_finish(struct hf_journal_table *table, uint64_t action,
			    const struct hf_journal_result *result);
/* Ended ones up to `action` leave. */
void hf_journal_table_forget(struct hf_journal_table *table, uint64_t action);
struct hf_journal_action *hf_journal_table_find(const struct hf_journal_table *table,
						uint64_t action);

/* What is to be done with an action that arrives. */
enum hf_journal_verdict {
	HF_JOURNAL_FRESH,   /* begin it */
	HF_JOURNAL_KNOWN,   /* it is in the table, ended or under way */
	HF_JOURNAL_OTHER,   /* its number is in the table with another content */
	HF_JOURNAL_STALE,   /* replayed, reordered, or forgotten: never begin it */
	HF_JOURNAL_UNKNOWN, /* it may have been in what was lost: never begin it */
	HF_JOURNAL_FULL,    /* no room until the provider lets some be forgotten */
};
enum hf_journal_verdict hf_journal_judge(const struct hf_journal_table *table, uint64_t action,
					 uint64_t sequence,
					 const uint8_t hash[HF_JOURNAL_HASH_BYTES],
					 bool sent_before);

/* ---- The file ---- */

struct hf_journal;

/* FOLDER/journal, made if it is missing. A damaged one is told in the log and put aside as
 * `journal.damaged`. Then, and where one is missing beside a document, `floor_sequence` (of that
 * document, 0: none) counts as begun, and what may have been in it is judged unknown. */
int hf_journal_open(const char *folder, uint64_t floor_sequence, struct hf_journal **journal,
		    struct hf_errmsg *message);
const struct hf_journal_table *hf_journal_table(const struct hf_journal *journal);
/* Durable when they return 0; else the table is as before. HF_EIO, HF_ENOSPC, HF_ENOMEM. */
int hf_journal_begin(struct hf_journal *journal, const struct hf_journal_action *action,
		     struct hf_errmsg *message);
int hf_journal_finish(struct hf_journal *journal, uint64_t action,
		      const struct hf_journal_result *result, struct hf_errmsg *message);
/* Both at once: it was never begun and never will be. */
int hf_journal_settle(struct hf_journal *journal, const struct hf_journal_action *action,
		      const struct hf_journal_result *result, struct hf_errmsg *message);
int hf_journal_forget(struct hf_journal *journal, uint64_t action, struct hf_errmsg *message);
void hf_journal_close(struct hf_journal *journal);

#endif
