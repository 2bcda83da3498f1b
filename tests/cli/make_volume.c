/* Puts a raw image into a store as a volume, through remote/ and nothing else, so that
 * `holdfast-gateway export` can be tested without a gateway. Every MiB of the image is one object;
 * stretches of zeros become ZERO extents. Each run is a start of its own.
 * Usage: make_volume STORE_URL KEY_FILE VOLUME TENANT IMAGE [CA_FILE]; credentials as `export`. */
#include "base/assert.h"
#include "base/bytes.h"
#include "tests/lib/put_volume.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OBJECT_BYTES (1u << 20)
#define PIECE_BYTES  4096u
#define UNIT         512u

static struct {
	FILE *image;
	uint64_t size_bytes, at_bytes, counted, last;
	struct hf_object_extent extents[OBJECT_BYTES / PIECE_BYTES];
	struct hf_remote_upload upload;
	uint8_t payload[OBJECT_BYTES];
} run;

static struct put_volume put;

static void advanced(void *context, uint64_t recovery_point)
{
	(void)context;
	run.counted = recovery_point;
	if (run.at_bytes != run.size_bytes || recovery_point != run.last)
		return;
	put_volume_finish(&put);
}

static void upload_next(void);

static void uploaded(struct hf_remote_upload *upload)
{
	if (upload->status)
		put_volume_end(&put, upload->status);
	else if (run.at_bytes < run.size_bytes)
		upload_next();
	else
		hf_remote_look(put.remote);
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
	hf_remote_upload(put.remote, &run.upload);
}

static void begin(void)
{
	run.last = hf_remote_recovery_point(put.remote);
	upload_next();
}

int main(int argc, char **argv)
{
	int status;

	HF_ASSERT(argc == 6 || argc == 7);
	run.image = fopen(argv[5], "rb");
	HF_ASSERT(run.image && fseek(run.image, 0, SEEK_END) == 0);
	run.size_bytes = (uint64_t)ftell(run.image);
	rewind(run.image);
	put.open.size_bytes = run.size_bytes;
	put.open.advanced = advanced;
	put.begin = begin;
	put.ca_file = argv[6]; /* NULL if there is none */
	status = put_volume_run(&put, argv);
	fclose(run.image);
	return status;
}
