/* The write logs beside the first (log_file): added and removed while volumed runs, remembered in
 * STATE_DIR/logs. The loop's thread; making a file and remembering block it for moments, which only
 * a person's request causes. */
#ifndef HF_GATEWAY_VOLUMED_LOGS_H
#define HF_GATEWAY_VOLUMED_LOGS_H

#include "gateway/volumed/alarms.h"
#include "gateway/volumed/env_uv.h"
#include "gateway/volumed/logfile.h"
#include "gateway/volumed/state.h"

#define HF_LOGS_MAX (HF_CORE_LOGS_MAX - 1)

struct hf_logs;

/* `first` is log_file's path, `first_disk` the disk it will have; all by reference. */
struct hf_logs *hf_logs_create(const struct hf_state *state, struct hf_alarms *alarms,
			       const char *first, unsigned first_disk, uint32_t segment_bytes);
void hf_logs_destroy(struct hf_logs *logs);

/* Before a first log that was made anew gets its name: what is remembered of the one that is gone
 * would have the next start refuse it. Before hf_logs_open. */
int hf_logs_first_made(struct hf_logs *logs, struct hf_errmsg *message);
/* Opens what is remembered and gives each a disk of the environment. A log that cannot be opened is
 * missing: an alarm tells. `disks` gets up to HF_LOGS_MAX numbers, HF_CORE_NO_DISK for a missing
 * one; returns how many. 0 or more, or why STATE_DIR/logs cannot be read. */
int hf_logs_open(struct hf_logs *logs, struct hf_env_uv *env, unsigned *disks,
		 struct hf_errmsg *message);
/* Which logs the first and then the others are to be, and how old they may be. */
void hf_logs_expect(const struct hf_logs *logs, struct hf_core_config *config);
/* The core serves: what was being drained goes on. */
void hf_logs_start(struct hf_logs *logs, struct hf_core *core);
/* The core is closed. */
void hf_logs_stop(struct hf_logs *logs);

/* `answered` once. Adding: when the log takes volumes. Removing: when it is noted; it drains then.
 */
void hf_logs_add(struct hf_logs *logs, const char *path, uint64_t size_bytes,
		 void (*answered)(void *context, int status, const struct hf_errmsg *message),
		 void *context);
void hf_logs_remove(struct hf_logs *logs, const char *path,
		    void (*answered)(void *context, int status, const struct hf_errmsg *message),
		    void *context);
/* A missing one will not come back: from the next start on it is not waited for, and what was in it
 * alone is lost. Its file is left. */
int hf_logs_forget(struct hf_logs *logs, const char *path, struct hf_errmsg *message);
/* The path of the log on this disk; of a missing one of the order in which they are remembered. */
const char *hf_logs_path(const struct hf_logs *logs, unsigned disk, unsigned missing_index);

#endif
