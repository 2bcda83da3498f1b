/* The reader of tests/sim/reader.h. It works in a world of its own that shares the store's
 * content as of now, so that nothing moves while it reads. */
#include <string.h>

#include "remote/remote.h"
#include "tests/sim/reader.h"

#define TENANT      7u
#define PATIENCE_NS (600 * HF_NS_PER_S)

struct reader {
	struct sim *world;
	struct model *model;
	struct hf_remote_open open;
	struct hf_remote_open rebuilt; /* the same volume, its map from all headers */
	struct hf_remote_read read;
	struct hf_remote_load load;
	bool done;
};

static void opened(struct hf_remote_open *open)
{
	((struct reader *)open->context)->done = true;
}

static void read_done(struct hf_remote_read *read)
{
	hf_container_of(read, struct reader, read)->done = true;
}

static void closed(void *context)
{
	((struct reader *)context)->done = true;
}

static bool reader_wait(struct reader *reader, const char *what)
{
	if (sim_wait_flag(reader->world, &reader->done, PATIENCE_NS))
		return true;
	model_fail(reader->model, "remote copy: %s hangs", what);
	return false;
}

static bool reader_open(struct reader *reader, const struct model_volume *volume,
			struct hf_remote_open *open, bool rebuild)
{
	*open = (struct hf_remote_open){.env = sim_env(reader->world, 0),
					.tenant = TENANT,
					.volume = volume->number,
					.rebuild_map = rebuild,
					.context = reader,
					.opened = opened};
	memset(open->wrap_key, 0x5a, sizeof open->wrap_key);
	reader->done = false;
	hf_remote_open_start(open);
	if (!reader_wait(reader, "opening"))
		return false;
	if (open->status != 0 || open->map_damaged)
		model_fail(reader->model, "remote copy of volume %llx: %s (%s)",
			   (unsigned long long)volume->number, hf_err_name(open->status),
			   open->message.text);
	return open->status == 0;
}

static void load_done(struct hf_remote_load *load)
{
	((struct reader *)load->owner)->done = true;
}

/* The next extent, loading what is absent; false at the end or after a failure. */
static bool reader_look(struct reader *reader, struct hf_remote *remote, uint64_t at, uint64_t end,
			struct hf_extent *extent)
{
	enum hf_extmap_found found;
	uint64_t leaf;

	while ((found = hf_extmap_look(hf_remote_map(remote), at, end - at, extent, &leaf)) ==
	       HF_EXTMAP_ABSENT) {
		reader->load = (struct hf_remote_load){.lba = leaf * HF_EXTMAP_LEAF_UNITS,
						       .length = 1,
						       .done = load_done,
						       .owner = reader};
		reader->done = false;
		hf_remote_load(remote, &reader->load);
		if (!reader_wait(reader, "loading a leaf"))
			return false;
		if (reader->load.status == 0)
			continue;
		model_fail(reader->model, "remote copy: a leaf of the checkpoint: %s",
			   hf_err_name(reader->load.status));
		return false;
	}
	return found == HF_EXTMAP_FOUND;
}

/* Without zeros, which are told while the leaf beneath is absent. */
static bool reader_next(struct reader *reader, struct hf_remote *remote, uint64_t at, uint64_t end,
			struct hf_extent *extent)
{
	while (at < end && reader_look(reader, remote, at, end, extent)) {
		if (extent->kind != HF_EXTENT_ZERO)
			return true;
		at = extent->lba + extent->length;
	}
	return false;
}

static bool reader_extent(struct reader *reader, const struct model_volume *volume,
			  const struct hf_extent *extent, uint8_t *bytes)
{
	if (extent->kind == HF_EXTENT_ZERO)
		return true;
	reader->read = (struct hf_remote_read){.place = extent->place,
					       .length = extent->length,
					       .buffer = bytes + (extent->lba - volume->first_lba) *
									 HF_UNIT,
					       .done = read_done};
	reader->done = false;
	hf_remote_read(reader->open.remote, &reader->read);
	if (!reader_wait(reader, "reading"))
		return false;
	if (extent->kind == HF_EXTENT_BAD || reader->read.status != 0)
		model_fail(reader->model, "remote copy: extent at %llu: %s",
			   (unsigned long long)extent->lba, hf_err_name(reader->read.status));
	return reader->model->problem[0] == '\0';
}

static void reader_compare(struct reader *reader, const struct model_volume *volume, uint64_t point)
{
	uint8_t *bytes = sim_keep_alloc(volume->window_bytes);
	uint32_t *image = sim_keep_alloc(sizeof volume->base);
	uint64_t at = volume->first_lba, end = at + volume->units;
	struct hf_extent extent;

	while (at < end && reader_next(reader, reader->open.remote, at, end, &extent)) {
		at = extent.lba + extent.length;
		if (!reader_extent(reader, volume, &extent, bytes))
			break;
	}
	model_image(volume, point, image);
	model_compare(reader->model, volume, bytes, image, "invariant 2: remote copy");
	sim_keep_free(image);
	sim_keep_free(bytes);
}

static void reader_close(struct reader *reader, struct hf_remote *remote)
{
	reader->done = false;
	hf_remote_close(remote, closed, reader);
	reader_wait(reader, "closing");
}

/* The map from the newest checkpoint and what came after it is the map from all headers. */
static void reader_compare_maps(struct reader *reader, const struct model_volume *volume)
{
	struct hf_extent one, other;
	uint64_t at = 0;
	bool more = true;

	if (!reader_open(reader, volume, &reader->rebuilt, true))
		return;
	while (more && reader->model->problem[0] == '\0') {
		more = reader_next(reader, reader->open.remote, at, UINT64_MAX - at, &one);
		if (reader_next(reader, reader->rebuilt.remote, at, UINT64_MAX - at, &other) !=
			    more ||
		    (more && (one.lba != other.lba || one.kind != other.kind ||
			      one.place.source != other.place.source ||
			      one.place.unit != other.place.unit)))
			model_fail(reader->model,
				   "invariant 2: the map of a checkpoint is another one at %llu",
				   (unsigned long long)at);
		/* Where the next leaf was absent an extent is cut. */
		at = one.lba + (one.length < other.length ? one.length : other.length);
	}
	reader_close(reader, reader->rebuilt.remote);
}

static uint64_t reader_volume(struct reader *reader, const struct model_volume *volume)
{
	unsigned index = (unsigned)(volume - reader->model->volumes);
	uint64_t point;

	if (!reader_open(reader, volume, &reader->open, false))
		return 0;
	point = hf_remote_recovery_point(reader->open.remote);
	if (point < volume->published)
		model_fail(reader->model,
			   "invariant 2: the store holds volume %u up to %llu, but %llu was "
			   "published",
			   index, (unsigned long long)point, (unsigned long long)volume->published);
	else if (point > volume->base_sequence + volume->count)
		model_fail(reader->model, "invariant 2: the store holds writes that never were");
	else if (!model_is_append_end(volume, point))
		model_fail(reader->model, "invariant 2: volume %u is cut inside write %llu", index,
			   (unsigned long long)point);
	else
		reader_compare(reader, volume, point);
	reader_compare_maps(reader, volume);
	reader_close(reader, reader->open.remote);
	return point;
}

void reader_check(struct sim *sim, struct model *model, uint64_t *points)
{
	struct sim_config config = {.seed = sim_random(sim), .disk_size_bytes = {4096}};
	struct reader *reader = sim_keep_alloc(sizeof *reader);

	reader->world = sim_create_with_store(&config, sim);
	reader->model = model;
	sim_select(reader->world, 0);
	for (unsigned i = 0; i < model->volume_count && model->problem[0] == '\0'; i++)
		points[i] = reader_volume(reader, &model->volumes[i]);
	sim_destroy(reader->world);
	sim_keep_free(reader);
	sim_select(sim, 0);
}
