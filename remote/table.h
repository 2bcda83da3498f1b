/* Headers of counted objects as reads need them: salt, tag and chunk table. Fetched from the store
 * when somebody asks and kept within a share of the process's memory for maps, oldest use first
 * out, so that a volume of a million objects costs no more than one of a hundred. Core's thread.
 *
 *   absent ──need──▶ fetching ──header──▶ ready ──not pinned, memory short──▶ absent
 *                       │ ▲  │
 *          damaged, 1st └─┘  └─ 2nd, missing, deadline ──▶ its waits are told; absent */
#ifndef HF_REMOTE_TABLE_H
#define HF_REMOTE_TABLE_H

#include "base/list.h"
#include "remote/object.h"
#include "remote/retry.h"

#define HF_TABLE_BUCKETS 512u

struct hf_table {
	uint32_t magic;
	struct hf_remote *remote;
	uint64_t index; /* of the object in the volume */
	bool ready, again;
	unsigned pins; /* > 0: stays in memory */
	struct hf_list in_bucket;
	struct hf_list in_order; /* ready: in the maps' list, oldest use first */
	struct hf_list waits;
	struct hf_retry retry;
	struct hf_object object;
};

struct hf_table_wait {
	struct hf_list link;
	struct hf_table *table; /* with status 0 it is pinned for the wait */
	void (*done)(struct hf_table_wait *wait, int status);
};

void hf_tables_init(struct hf_remote *remote);
/* 0: it is there, wait->table is pinned. HF_EAGAIN: `done` will be called, never from inside this
 * call: 0, HF_ECORRUPT, HF_ENOENT, HF_ETIMEDOUT, HF_ENOMEM, HF_ECANCELED. Else HF_ENOMEM. */
int hf_table_need(struct hf_remote *remote, uint64_t index, struct hf_table_wait *wait,
		  uint64_t deadline_ns);
/* A wait that is not interested any more; `done` does not come. */
void hf_table_leave(struct hf_table_wait *wait);
struct hf_table *hf_table_pin(struct hf_table *table);
void hf_table_unpin(struct hf_table *table);
/* Keeps the header of an object that was just counted, if memory allows. Takes over its chunks. */
void hf_table_add(struct hf_remote *remote, uint64_t index, struct hf_object *object);
void hf_tables_cancel_all(struct hf_remote *remote);
void hf_tables_free(struct hf_remote *remote);

#endif
