/* Puts a raw image into a store as a volume, through remote/ and nothing else, so that
 * `holdfast-gateway export` can be tested without a gateway. Every MiB of the image is one object;
 * stretches of zeros become ZERO extents. Each run is a start of its own.
 * Usage: make_volume STORE_URL KEY_FILE VOLUME TENANT IMAGE [CA_FILE]; credentials as `export`. */
#include "base/assert.h"
#include "base/bytes.h"
#include "base/ids.h"
#include "base/log.h"
#include "gateway/cli/key_file.h"
#include "gateway/volumed/env_uv.h"
#include "remote/remote.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OBJECT_BYTES (1u << 20)
#define PIECE_BYTES  4096u
#define UNIT         512u

static struct {
	struct hf_env_uv *env;
	struct hf_env_uv_store_change store;
	struct hf_remote_open open;
	struct hf_remote *remote;
	FILE *image;
	uint64_t size_bytes, at_bytes, counted, last;
	struct hf_object_extent extents[OBJECT_BYTES / PIECE_BYTES];
	struct hf_remote_upload upload;
	struct hf_remote_checkpoint checkpoint;
	uint8_t payload[OBJECT_BYTES];
	int status;
} run;

static void closed(void *context)
{
	(void)context;
}

static void remote_closed(void *context)
{
	(void)context;
	hf_env_uv_close(run.env, closed, NULL);
}

static void end(int status)
{
	run.status = status;
	if (run.remote)
		hf_remote_close(run.remote, remote_closed, NULL);
	else
		remote_closed(NULL);
}

static void checkpointed(struct hf_remote_checkpoint *checkpoint)
{
	end(checkpoint->status);
}

static void advanced(void *context, uint64_t recovery_point)
{
	(void)context;
	run.counted = recovery_point;
	if (run.at_bytes != run.size_bytes || recovery_point != run.last)
		return;
	run.checkpoint.done = checkpointed;
	hf_remote_checkpoint(run.remote, &run.checkpoint);
}

static void upload_next(void);

static void uploaded(struct hf_remote_upload *upload)
{
	if (upload->status)
		end(upload->status);
	else if (run.at_bytes < run.size_bytes)
		upload_next();
	else
		hf_remote_look(run.remote);
}

/* Payload lies backwards, since an object may lay it out as it likes. */
static void upload_next(void)
{
	size_t length = fread(run.payload, 1, sizeof run.payload, run.image), pieces;

	HF_ASSERT(length > 0 && length % PIECE_BYTES == 0);
	pieces = length / PIECE_BYTES;
	for (size_t i = 0; i < pieces; i++) {
		const uint8_t *piece = run.payload + i * PIECE_BYTES;
		bool zero = hf_is_zero(piece, PIECE_BYTES);

		run.extents[i] = (struct hf_object_extent){
			.lba = (run.at_bytes + i * PIECE_BYTES) / UNIT,
			.length = PIECE_BYTES / UNIT,
			.kind = zero ? HF_EXTENT_ZERO : HF_EXTENT_DATA,
			.payload_unit = zero ? 0 : i * PIECE_BYTES / UNIT,
		};
	}
	run.upload = (struct hf_remote_upload){
		.first_sequence = run.last + 1,
		.last_sequence = run.last + pieces,
		.extents = run.extents,
		.extent_count = (unsigned)pieces,
		.payload = run.payload,
		.payload_bytes = length,
		.done = uploaded,
	};
	run.last += pieces;
	run.at_bytes += length;
	hf_remote_upload(run.remote, &run.upload);
}

static void opened(struct hf_remote_open *open)
{
	run.remote = open->remote;
	if (open->status) {
		fprintf(stderr, "%s\n", open->message.text);
		end(open->status);
		return;
	}
	run.last = hf_remote_recovery_point(open->remote);
	upload_next();
}

static void store_set(struct hf_env_uv_store_change *change)
{
	if (change->status) {
		fprintf(stderr, "%s\n", change->message.text);
		end(change->status);
		return;
	}
	run.open.env = hf_env_uv_table(run.env);
	run.open.attach_epoch = 1;
	run.open.claim = run.open.create = true;
	run.open.size_bytes = run.size_bytes;
	run.open.advanced = advanced;
	run.open.opened = opened;
	hf_remote_open_start(&run.open);
}

int main(int argc, char **argv)
{
	struct hf_env_uv_config config = {.loop = uv_default_loop()};
	struct hf_errmsg message = {""};

	HF_ASSERT(argc == 6 || argc == 7);
	hf_log_init("make_volume");
	if (hf_id_parse(HF_ID_VOLUME, argv[3], &run.open.volume) ||
	    hf_id_parse(HF_ID_TENANT, argv[4], &run.open.tenant) ||
	    hf_key_file_read(argv[2], run.open.volume, run.open.wrap_key, &message)) {
		fprintf(stderr, "%s\n", message.text);
		return 1;
	}
	run.image = fopen(argv[5], "rb");
	HF_ASSERT(run.image && fseek(run.image, 0, SEEK_END) == 0);
	run.size_bytes = (uint64_t)ftell(run.image);
	rewind(run.image);
	HF_ASSERT(hf_env_uv_open(&config, &run.env, &message) == 0);
	run.store.config = (struct hf_store_config){
		.url = argv[1],
		.access_key = getenv("AWS_ACCESS_KEY_ID"),
		.secret_key = getenv("AWS_SECRET_ACCESS_KEY"),
		.ca_file = argv[6], /* NULL if there is none */
	};
	run.store.done = store_set;
	hf_env_uv_set_store(run.env, &run.store);
	uv_run(config.loop, UV_RUN_DEFAULT);
	uv_loop_close(config.loop);
	fclose(run.image);
	return run.status ? 1 : 0;
}
