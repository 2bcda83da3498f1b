/* The process holdfast-volumed: its configuration, and the steps from nothing to serving and back.
 */
#ifndef HF_GATEWAY_VOLUMED_VOLUMED_H
#define HF_GATEWAY_VOLUMED_VOLUMED_H

#include <stdint.h>

#include "base/conf.h"

struct hf_volumed_config {
	char *run_dir, *ring_dir, *state_dir;
	char *log_file;        /* empty: STATE_DIR/log */
	uint64_t log_size;     /* bytes, of a log that is made */
	uint64_t segment_size; /* bytes, of a log that is made */
	uint64_t object_size;  /* bytes, the rest as in struct hf_core_config; 0: its default */
	uint64_t object_timer_ms, uploads, read_deadline_ms, claims_look_ms;
	uint64_t log_horizon_ms, write_wait_ms;
	uint64_t cache_size;      /* bytes */
	char *cache_file;         /* empty: STATE_DIR/cache */
	uint64_t cache_disk_size; /* bytes; 0: none */
	uint64_t memory_tier;     /* bytes; 0: none */
	uint64_t log_keep;        /* bytes; 0: none */
	uint64_t log_memory;      /* bytes; 0: none */
	uint64_t memory_tier_rings;
	uint64_t map_memory; /* bytes */
	uint64_t requests;
	uint64_t tgt_uid;        /* of the first tgtd, which may connect to ring.sock; 0: none */
	uint64_t tgtds;          /* the next ones' uids follow */
	char *proxy;             /* http://host:port to an S3 store; "": none */
	char *proxy_credentials; /* file with user:password; "": none */
};

extern const struct hf_conf_key hf_volumed_keys[];

/* What the table of keys cannot say, of a struct hf_volumed_config; fills in log_file and
 * cache_file. 0 or
 * HF_EINVAL, HF_ENOMEM. */
int hf_volumed_check_config(void *config, struct hf_errmsg *message);

/* Runs until SIGTERM or SIGINT, or until a step fails. 0 or why it failed (logged). */
int hf_volumed_run(const struct hf_volumed_config *config);

#endif
