/* Puts volumes into a store that are too large and too scattered to be written through a LUN in a
 * test, through remote/ and nothing else; each ends with a checkpoint of its map. An extent is one
 * unit, all of its bytes are `pattern` of its number, and its number gives its address:
 * tests/volumed/large_maps.py knows the same rule.
 * Usage: make_scattered STORE_URL KEY_FILE VOLUME TENANT SIZE_BYTES OBJECTS dense|sparse */
#include "base/assert.h"
#include "base/ids.h"
#include "base/log.h"
#include "gateway/cli/key_file.h"
#include "gateway/volumed/env_uv.h"
#include "remote/remote.h"

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
	struct hf_env_uv *env;
	struct hf_env_uv_store_change store;
	struct hf_remote_open open;
	struct hf_remote *remote;
	bool dense;
	uint64_t objects, begun, ended;
	struct upload uploads[AHEAD];
	struct hf_remote_checkpoint checkpoint;
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

static void checkpoint_done(struct hf_remote_checkpoint *checkpoint)
{
	end(checkpoint->status);
}

static void advanced(void *context, uint64_t recovery_point)
{
	(void)context;
	if (recovery_point < run.objects)
		return;
	run.checkpoint.done = checkpoint_done;
	hf_remote_checkpoint(run.remote, &run.checkpoint);
}

static void upload_next(struct upload *upload);

static void uploaded(struct hf_remote_upload *upload)
{
	run.ended++;
	if (upload->status)
		end(upload->status);
	else if (run.begun < run.objects)
		upload_next(hf_container_of(upload, struct upload, upload));
	else if (run.ended == run.objects)
		hf_remote_look(run.remote);
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
	hf_remote_upload(run.remote, &upload->upload);
}

static void opened(struct hf_remote_open *open)
{
	run.remote = open->remote;
	if (open->status) {
		fprintf(stderr, "%s\n", open->message.text);
		end(open->status);
		return;
	}
	HF_ASSERT(hf_remote_recovery_point(open->remote) == 0);
	for (unsigned i = 0; i < AHEAD && run.begun < run.objects; i++)
		upload_next(&run.uploads[i]);
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
	run.open.claims_look_ms = 20;
	run.open.claim = run.open.create = true;
	run.open.advanced = advanced;
	run.open.opened = opened;
	hf_remote_open_start(&run.open);
}

int main(int argc, char **argv)
{
	struct hf_env_uv_config config = {.loop = uv_default_loop()};
	struct hf_errmsg message = {""};

	HF_ASSERT(argc == 8);
	hf_log_init("make_scattered");
	if (hf_id_parse(HF_ID_VOLUME, argv[3], &run.open.volume) ||
	    hf_id_parse(HF_ID_TENANT, argv[4], &run.open.tenant) ||
	    hf_key_file_read(argv[2], run.open.volume, run.open.wrap_key, &message)) {
		fprintf(stderr, "%s\n", message.text);
		return 1;
	}
	run.open.size_bytes = strtoull(argv[5], NULL, 10);
	run.objects = strtoull(argv[6], NULL, 10);
	run.dense = strcmp(argv[7], "dense") == 0;
	HF_ASSERT(run.objects > 0 && run.objects <= 5); /* of those of sparse, none meet */
	HF_ASSERT(hf_env_uv_open(&config, &run.env, &message) == 0);
	run.store.config = (struct hf_store_config){.url = argv[1]};
	run.store.done = store_set;
	hf_env_uv_set_store(run.env, &run.store);
	uv_run(config.loop, UV_RUN_DEFAULT);
	uv_loop_close(config.loop);
	return run.status ? 1 : 0;
}
