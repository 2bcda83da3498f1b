/* The control socket, RUN_DIR/volumed.sock (proto/local.proto, Volumed*; docs/protocol/
 * volumed-control.md): decodes each question, hands it to the volumes or the store's setting, and
 * answers. The loop's thread. */
#ifndef HF_GATEWAY_VOLUMED_CONTROL_H
#define HF_GATEWAY_VOLUMED_CONTROL_H

#include "gateway/volumed/logs.h"
#include "gateway/volumed/ring_host.h"
#include "gateway/volumed/store_setting.h"
#include "gateway/volumed/volumes.h"

struct hf_control;

struct hf_control_config {
	uv_loop_t *loop;
	const char *path; /* of the socket, at most 107 bytes */
	struct hf_core *core;
	struct hf_volumes *volumes;
	struct hf_store_setting *store;
	const struct hf_alarms *alarms;
	const struct hf_ring_host *rings;
	struct hf_logs *logs;
};

/* Listens; everything in `config` outlives it. 0 or HF_E… with the reason. */
int hf_control_open(const struct hf_control_config *config, struct hf_control **control,
		    struct hf_errmsg *message);
/* Takes no more questions. Changes under way go on; their answers are dropped. */
void hf_control_close(struct hf_control *control, void (*closed)(void *context), void *context);

#endif
