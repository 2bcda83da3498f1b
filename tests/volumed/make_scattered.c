/* Puts volumes into a store that are too large and too scattered to be written through a LUN in a
 * test, through remote/ and nothing else; each ends with a checkpoint of its map. An extent is one
 * unit, all of its bytes are `pattern` of its number, and its number gives its address:
 * tests/volumed/large_maps.py knows the same rule.
 * Usage: make_scattered STORE_URL KEY_FILE VOLUME TENANT SIZE_BYTES OBJECTS dense|sparse */
#include "base/assert.h"
#include "tests/lib/put_volume.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UNIT   512u
#define AHEAD  2u /* objects under way: each holds 32 MiB */
#define OBJECT HF_OBJECT_EXTENTS_MAX

struct upload {
	struct hf_remote_upload upload;
	struct hf_object_extent extents[OBJECT];
	uint8_t payload[OBJECT * UNIT];
};

static struct {
	bool dense;
	uint64_t objects, begun, ended;
	struct upload uploads[AHEAD];
} run;

static struct put_volume put;

/* Dense: every other 4 KiB. Sparse: hardly two in 8 MiB. */
static uint64_t lba_of(uint64_t object, uint64_t i)
{
	if (run.dense)
		return (object * OBJECT + i) * 16;
	return (i << 20) + object * 200003 + i * 7919 % 16384;
}

static uint8_t pattern_of(uint64_t object, uint64_t i)
{
	return (uint8_t)(1 + (i * 5 + object) % 251);
}

static void advanced(void *context, uint64_t recovery_point)
{
	(void)context;
	if (recovery_point < run.objects)
		return;
	put_volume_finish(&put);
}

static void upload_next(struct upload *upload);

static void uploaded(struct hf_remote_upload *upload)
{
	run.ended++;
	if (upload->status)
		put_volume_end(&put, upload->status);
	else if (run.begun < run.objects)
		upload_next(hf_container_of(upload, struct upload, upload));
	else if (run.ended == run.objects)
		hf_remote_look(put.remote);
}

static void upload_next(struct upload *upload)
{
	uint64_t object = run.begun++;

	for (uint64_t i = 0; i < OBJECT; i++) {
		upload->extents[i] = (struct hf_object_extent){.lba = lba_of(object, i),
							       .length = 1,
							       .kind = HF_EXTENT_DATA,
							       .payload_unit = i};
		memset(upload->payload + i * UNIT, pattern_of(object, i), UNIT);
	}
	upload->upload = (struct hf_remote_upload){
		.first_sequence = object + 1,
		.last_sequence = object + 1,
		.extents = upload->extents,
		.extent_count = OBJECT,
		.payload = upload->payload,
		.payload_bytes = sizeof upload->payload,
		.done = uploaded,
	};
	hf_remote_upload(put.remote, &upload->upload);
}

static void begin(void)
{
	HF_ASSERT(hf_remote_recovery_point(put.remote) == 0);
	for (unsigned i = 0; i < AHEAD && run.begun < run.objects; i++)
		upload_next(&run.uploads[i]);
}

int main(int argc, char **argv)
{
	HF_ASSERT(argc == 8);
	run.objects = strtoull(argv[6], NULL, 10);
	run.dense = strcmp(argv[7], "dense") == 0;
	HF_ASSERT(run.objects > 0 && run.objects <= 5); /* of those of sparse, none meet */
	put.open.size_bytes = strtoull(argv[5], NULL, 10);
	put.open.claims_look_ms = 20;
	put.open.advanced = advanced;
	put.begin = begin;
	return put_volume_run(&put, argv);
}
