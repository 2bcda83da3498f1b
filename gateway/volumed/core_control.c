/* Appending control records: what changed of a volume, in the order of a log. Core's thread. */
#include <stdlib.h>
#include <string.h>

#include "gateway/volumed/core_state.h"

#define CONTROL_MAGIC 0x48464354u

struct core_control {
	uint32_t magic;
	struct hf_core_volume *volume;
	struct hf_core_log *log;
	void (*done)(struct hf_core_volume *volume, struct hf_core_log *log, uint64_t batch,
		     int status);
	struct hf_wlog_append append;
	struct hf_wlog_record records[2];
	uint8_t *payload;
};

static void control_appended(struct hf_wlog_append *append)
{
	struct core_control *control = hf_container_of(append, struct core_control, append);
	struct hf_core_log *log = control->log;
	struct hf_core *core = log->core;

	HF_CHECK_MAGIC(control, CONTROL_MAGIC);
	hf_core_enter(core);
	core->holds--;
	if (append->status == 0) {
		hf_core_segment_note(log, control->records[0].place.source);
		hf_core_segment_durable(log, control->records[0].place.source);
	}
	control->done(control->volume, log, control->records[0].batch, append->status);
	free(control->payload);
	control->magic = 0;
	free(control);
	hf_core_leave(core);
}

void hf_core_control_append(struct hf_core_log *log, enum hf_record_type type, uint64_t lba,
			    struct hf_core_volume *volume, const struct hf_core_state_volume *says,
			    void (*done)(struct hf_core_volume *volume, struct hf_core_log *log,
					 uint64_t batch, int status))
{
	struct core_control *control = hf_core_alloc(sizeof *control);
	size_t length;

	control->magic = CONTROL_MAGIC;
	control->volume = volume;
	control->log = log;
	control->done = done;
	control->records[0] = (struct hf_wlog_record){.type = type,
						      .volume = volume->config.volume,
						      .sequence = volume->next_sequence - 1,
						      .lba = lba};
	control->append = (struct hf_wlog_append){.records = control->records,
						  .record_count = 1,
						  .durable = true,
						  .reserve = true,
						  .done = control_appended};
	if (says) {
		control->payload = hf_core_control_encode(log->core, says,
							  type == HF_RECORD_HANDOVER, &length);
		control->records[1] = control->records[0];
		control->records[1].type = HF_RECORD_CONTROL;
		control->records[1].lba = 0;
		control->records[1].length = length;
		control->append.record_count = 2;
		control->append.payload = control->payload;
		control->append.payload_bytes = length;
	}
	log->core->holds++;
	hf_wlog_append(log->wlog, &control->append);
}
