/* Copying the counted map into the image: data is read several pieces at once, in order of address
 * so that neighbours share fetches; zeros and what was never written stay holes. Main thread. */
#include "gateway/cli/export.h"
#include "base/assert.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define UNIT        512u
#define READ_UNITS  (HF_EXPORT_READ_BYTES / UNIT)
#define DEADLINE_NS (120 * HF_NS_PER_S)
#define PROGRESS_NS HF_NS_PER_S

static void advance(struct hf_export *export);

static void show_progress(struct hf_export *export, bool last)
{
	uint64_t now = hf_env_now_ns(export->env);

	if (!isatty(STDERR_FILENO) || (!last && now - export->last_progress_ns < PROGRESS_NS))
		return;
	export->last_progress_ns = now;
	fprintf(stderr, "\r%3" PRIu64 " %%, %" PRIu64 " MiB read%s",
		export->end_lba ? export->next_lba * 100 / export->end_lba : 100,
		export->data_bytes >> 20, last ? "\n" : "");
}

static void fail_read(struct hf_export_read *read, int status)
{
	struct hf_export *export = read->export;
	char name[HF_STORE_NAME_MAX + 1];

	hf_remote_object_name(export->remote, read->read.place.source, name);
	if (status == HF_ECORRUPT)
		hf_export_fail(export, status, "object %s is damaged: its bytes fail their checks",
			       name);
	else if (status == HF_ENOENT)
		hf_export_fail(export, HF_ECORRUPT, "object %s is missing from the store", name);
	else
		hf_export_fail(export, status, "reading object %s: %s", name, hf_err_text(status));
}

static void piece_read(struct hf_remote_read *done)
{
	struct hf_export_read *read = hf_container_of(done, struct hf_export_read, read);
	struct hf_export *export = read->export;
	struct hf_errmsg message = {""};
	int err;

	HF_CHECK_MAGIC(export, HF_EXPORT_MAGIC);
	read->busy = false;
	export->reads_busy--;
	export->fetched_bytes += done->fetched_bytes;
	if (done->status) {
		fail_read(read, done->status);
	} else if (!export->status) {
		export->data_bytes += done->length * UNIT;
		err = hf_image_write(&export->image, read->lba * UNIT, read->buffer,
				     done->length * UNIT, &message);
		if (err)
			hf_export_fail(export, err, "%s", message.text);
	}
	show_progress(export, false);
	advance(export);
}

static void start_read(struct hf_export *export, struct hf_export_read *read,
		       const struct hf_extent *extent)
{
	uint64_t length = extent->length < READ_UNITS ? extent->length : READ_UNITS;

	read->export = export;
	read->lba = extent->lba;
	read->busy = true;
	read->read = (struct hf_remote_read){
		.place = extent->place,
		.length = length,
		.buffer = read->buffer,
		.deadline_ns = hf_env_now_ns(export->env) + DEADLINE_NS,
		.done = piece_read,
	};
	export->reads_busy++;
	export->next_lba = extent->lba + length;
	hf_remote_read(export->remote, &read->read);
}

static void leaf_loaded(struct hf_remote_load *load)
{
	struct hf_export *export = hf_container_of(load, struct hf_export, load);

	HF_CHECK_MAGIC(export, HF_EXPORT_MAGIC);
	export->loading = false;
	if (load->status == HF_ECORRUPT && !export->rebuild)
		export->rebuild = true;
	else if (load->status)
		hf_export_fail(export, load->status, "reading the map: %s",
			       hf_err_text(load->status));
	advance(export);
}

static void load_leaf(struct hf_export *export, uint64_t leaf)
{
	export->loading = true;
	export->load = (struct hf_remote_load){
		.lba = leaf * HF_EXTMAP_LEAF_UNITS,
		.length = 1,
		.deadline_ns = hf_env_now_ns(export->env) + DEADLINE_NS,
		.done = leaf_loaded,
	};
	hf_remote_load(export->remote, &export->load);
}

/* The next extent of the map; false at the end, and while a leaf is being loaded. */
static bool next_extent(struct hf_export *export, struct hf_extent *extent)
{
	uint64_t leaf;

	if (export->status || export->loading || (export->rebuild && !export->open.rebuild_map))
		return false;
	switch (hf_extmap_look(hf_remote_map(export->remote), export->next_lba,
			       UINT64_MAX / UNIT - export->next_lba, extent, &leaf)) {
	case HF_EXTMAP_FOUND:
		break;
	case HF_EXTMAP_ABSENT:
		load_leaf(export, leaf);
		return false;
	default:
		return false;
	}
	if (extent->lba + extent->length <= export->end_lba)
		return true;
	hf_export_fail(export, HF_ECORRUPT, "the objects reach past the volume's %" PRIu64 " bytes",
		       export->summary.size_bytes);
	return false;
}

/* The next extent with data; false at the end, after a failure, or while a leaf is being loaded. */
static bool next_data(struct hf_export *export, struct hf_extent *extent)
{
	while (next_extent(export, extent)) {
		if (extent->kind == HF_EXTENT_DATA)
			return true;
		if (extent->kind == HF_EXTENT_BAD)
			hf_export_fail(export, HF_EBADEXTENT,
				       "bytes %" PRIu64 " to %" PRIu64
				       " of the volume were lost before they were uploaded",
				       extent->lba * UNIT, (extent->lba + extent->length) * UNIT);
		export->next_lba = extent->lba + extent->length;
	}
	return false;
}

static struct hf_export_read *idle_read(struct hf_export *export)
{
	for (unsigned i = 0; i < HF_EXPORT_READS_MAX; i++)
		if (!export->reads[i].busy)
			return &export->reads[i];
	return NULL;
}

static void finish(struct hf_export *export)
{
	struct hf_errmsg message = {""};
	int err;

	show_progress(export, true);
	if (!export->status) {
		export->image_open = false;
		err = hf_image_finish(&export->image, &message);
		if (err)
			hf_export_fail(export, err, "%s", message.text);
	}
	hf_export_end(export);
}

/* A checkpoint turned out to be damaged. The next opening may find later writes, so nothing of the
 * image is kept. */
static void begin_again(struct hf_export *export)
{
	hf_export_copy_free(export);
	export->next_lba = 0;
	export->data_bytes = 0;
	hf_export_open_again(export);
}

static void advance(struct hf_export *export)
{
	struct hf_export_read *read;
	struct hf_extent extent;

	while ((read = idle_read(export)) != NULL && next_data(export, &extent))
		start_read(export, read, &extent);
	if (export->reads_busy > 0 || export->loading)
		return;
	if (export->rebuild && !export->open.rebuild_map && !export->status)
		begin_again(export);
	else
		finish(export);
}

static int prepare(struct hf_export *export)
{
	struct hf_errmsg message = {""};
	uint64_t size = hf_remote_size_bytes(export->remote);
	int err;

	export->summary = (struct hf_export_summary){
		.size_bytes = size,
		.recovery_point = hf_remote_recovery_point(export->remote),
		.objects = hf_remote_object_count(export->remote),
		.stored_bytes = hf_remote_stored_bytes(export->remote),
	};
	export->end_lba = size / UNIT;
	for (unsigned i = 0; i < HF_EXPORT_READS_MAX; i++) {
		export->reads[i].buffer = malloc(HF_EXPORT_READ_BYTES);
		if (!export->reads[i].buffer) {
			hf_export_fail(export, HF_ENOMEM, "out of memory");
			return HF_ENOMEM;
		}
	}
	err = hf_image_create(&export->image, export->file, size, &message);
	if (err)
		hf_export_fail(export, err, "%s", message.text);
	else
		export->image_open = true;
	return err;
}

void hf_export_copy(struct hf_export *export)
{
	if (prepare(export))
		hf_export_end(export);
	else
		advance(export);
}

void hf_export_copy_free(struct hf_export *export)
{
	if (export->image_open)
		hf_image_discard(&export->image);
	for (unsigned i = 0; i < HF_EXPORT_READS_MAX; i++)
		free(export->reads[i].buffer);
	export->image_open = false;
	memset(export->reads, 0, sizeof export->reads);
}
