/* The inside of copying forward, shared by core_copy*.c: some records of one volume on their way to
 * another place of a log. Core's thread. */
#ifndef HF_GATEWAY_VOLUMED_CORE_COPY_H
#define HF_GATEWAY_VOLUMED_CORE_COPY_H

#include "gateway/volumed/core_state.h"

#define HF_CORE_COPY_MAGIC       0x48464350u
#define HF_CORE_COPY_RECORDS_MAX 128u /* in one append */

struct hf_core_copy {
	uint32_t magic;
	struct hf_core *core;
	uint64_t volume;               /* its number: it may go meanwhile */
	uint64_t source;               /* of the segment; moving out: of the log's any */
	struct hf_core_log *from, *to; /* the same unless `from` is drained */
	uint64_t first;                /* sequence */
	unsigned count;
	struct hf_place places[HF_CORE_COPY_RECORDS_MAX];
	struct hf_wlog_record records[HF_CORE_COPY_RECORDS_MAX + 2]; /* ATTACH, CONTROL of a stay */
	struct hf_wlog_append append;
	struct hf_core_state_volume says;
	uint8_t *payload;
	size_t payload_bytes;
	/* Reading (core_copy_read.c) */
	struct hf_list todo, again;
	struct hf_timer again_timer;
	unsigned under_way;
	bool failed; /* something is not there any more: nothing is copied */
	struct hf_wlog_lost *lost;
	unsigned lost_count, lost_capacity;
	void (*read)(struct hf_core_copy *copy);
};

/* Reads the payload of all records to `payload`, which it makes; what cannot be read is noted in
 * `lost`. `read` is called once, perhaps at once. */
void hf_core_copy_read(struct hf_core_copy *copy, void (*read)(struct hf_core_copy *copy));

#endif
