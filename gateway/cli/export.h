/* Rebuilding a volume as a raw image from the object store and the key alone (invariant 2: what it
 * writes is the recovery point). The steps, each of which starts the next:
 *
 *   store open ──▶ find the tenant ──▶ open the volume ──▶ copy ──▶ close volume, store ──▶ end
 *                  export_find.c       remote/             export_copy.c
 *
 * A failure or a signal goes straight to closing; the image is kept only if all went well. One
 * libuv loop, main thread; the environment's threads do the work. */
#ifndef HF_GATEWAY_CLI_EXPORT_H
#define HF_GATEWAY_CLI_EXPORT_H

#include "gateway/cli/image.h"
#include "gateway/volumed/env_uv.h"
#include "remote/remote.h"
#include "remote/retry.h"

#define HF_EXPORT_MAGIC      0x4845584fu
#define HF_EXPORT_READS_MAX  16u          /* under way at once */
#define HF_EXPORT_READ_BYTES (256u << 10) /* of one */

struct hf_export;

struct hf_export_read {
	struct hf_remote_read read;
	struct hf_export *export;
	uint64_t lba;
	bool busy;
	uint8_t *buffer;
};

struct hf_export {
	uint32_t magic;
	const char *volume_text, *file;
	uint64_t volume, tenant; /* tenant 0: to be found */
	struct hf_errmsg message;
	int status; /* the first failure; nothing new is begun after it */

	uv_loop_t loop;
	uv_signal_t interrupt, terminate;
	struct hf_env_uv *env_uv;
	struct hf_env *env;
	struct hf_env_uv_store_change store;
	struct hf_rcache *cache; /* in memory; NULL: none could be had */

	/* export_find.c */
	struct hf_retry find;
	char tenant_seen[HF_STORE_NAME_MAX + 1];

	struct hf_remote_open open;
	struct hf_remote *remote;
	bool ending;

	/* export_copy.c */
	struct hf_image image;
	bool image_open;
	struct hf_export_summary {
		uint64_t size_bytes, recovery_point, objects, stored_bytes;
	} summary;
	uint64_t next_lba, end_lba; /* units */
	struct hf_export_read reads[HF_EXPORT_READS_MAX];
	unsigned reads_busy;
	struct hf_remote_load load; /* of a leaf of the map */
	bool loading;
	bool rebuild; /* a checkpoint is damaged: all over again, from the objects' headers */
	uint64_t data_bytes, fetched_bytes;
	uint64_t last_progress_ns;
};

/* The first failure; a later one changes nothing. Then the next step notices. */
void hf_export_fail(struct hf_export *export, int status, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* Closes what is open and lets the loop end. Harmless when called again. */
void hf_export_end(struct hf_export *export);

/* export_find.c: makes sure that the volume is there, and of which tenant; then `hf_export_open` or
 * `hf_export_end`. */
void hf_export_find(struct hf_export *export);
void hf_export_open(struct hf_export *export);
/* Closes the volume and opens it again with `rebuild` in mind. */
void hf_export_open_again(struct hf_export *export);
/* export_copy.c: then hf_export_end. */
void hf_export_copy(struct hf_export *export);
void hf_export_copy_free(struct hf_export *export);

#endif
