/* Appending control records: what changed of a volume, in the order of the log. Core's thread. */
#include <stdlib.h>
#include <string.h>

#include "gateway/volumed/core_internal.h"

#define CONTROL_MAGIC 0x48464354u

struct core_control {
	uint32_t magic;
	struct hf_core_volume *volume;
	uint64_t sequence;
	void (*done)(struct hf_core_volume *volume, uint64_t sequence, int status);
	struct hf_wlog_append append;
	struct hf_wlog_record records[2];
	uint8_t payload[HF_CORE_CONTROL_BYTES];
};

static void control_appended(struct hf_wlog_append *append)
{
	struct core_control *control = hf_container_of(append, struct core_control, append);
	struct hf_core_volume *volume = control->volume;
	struct hf_core *core;

	HF_CHECK_MAGIC(control, CONTROL_MAGIC);
	core = volume->core;
	hf_core_enter(core);
	core->holds--;
	if (append->status == 0) {
		hf_core_segment_note(core, control->records[0].place.source, false);
		hf_core_segment_durable(core, control->records[0].place.source);
		if (volume->since_batch == 0)
			volume->since_batch = control->records[0].batch;
	}
	control->done(volume, control->sequence, append->status);
	control->magic = 0;
	free(control);
	hf_core_leave(core);
}

void hf_core_control_append(struct hf_core_volume *volume, enum hf_record_type type,
			    uint64_t sequence,
			    void (*done)(struct hf_core_volume *volume, uint64_t sequence,
					 int status))
{
	struct core_control *control = hf_core_alloc(sizeof *control);

	control->magic = CONTROL_MAGIC;
	control->volume = volume;
	control->sequence = sequence;
	control->done = done;
	control->records[0] = (struct hf_wlog_record){
		.type = type, .volume = volume->config.volume, .sequence = sequence};
	control->append = (struct hf_wlog_append){.records = control->records,
						  .record_count = 1,
						  .durable = true,
						  .reserve = true,
						  .done = control_appended};
	if (type == HF_RECORD_ATTACH) {
		hf_core_control_encode(volume, control->payload);
		control->records[1] = (struct hf_wlog_record){.type = HF_RECORD_CONTROL,
							      .volume = volume->config.volume,
							      .sequence = sequence,
							      .length = HF_CORE_CONTROL_BYTES};
		control->append.record_count = 2;
		control->append.payload = control->payload;
		control->append.payload_bytes = HF_CORE_CONTROL_BYTES;
	}
	volume->core->holds++;
	hf_wlog_append(volume->core->log, &control->append);
}
