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
	struct hf_remote_read read;
	bool done;
};

static void opened(struct hf_remote_open *open)
{
	hf_container_of(open, struct reader, open)->done = true;
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

static bool reader_open(struct reader *reader, const struct model_volume *volume)
{
	reader->open = (struct hf_remote_open){.env = sim_env(reader->world, 0),
					       .tenant = TENANT,
					       .volume = volume->number,
					       .opened = opened};
	memset(reader->open.wrap_key, 0x5a, sizeof reader->open.wrap_key);
	reader->done = false;
	hf_remote_open_start(&reader->open);
	if (!reader_wait(reader, "opening"))
		return false;
	if (reader->open.status != 0)
		model_fail(reader->model, "remote copy of volume %llx: %s (%s)",
			   (unsigned long long)volume->number, hf_err_name(reader->open.status),
			   reader->open.message.text);
	return reader->open.status == 0;
}

static bool reader_extent(struct reader *reader, const struct hf_extent *extent, uint8_t *bytes)
{
	if (extent->kind == HF_EXTENT_ZERO)
		return true;
	reader->read = (struct hf_remote_read){.place = extent->place,
					       .length = extent->length,
					       .buffer = bytes + extent->lba * HF_UNIT,
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
	uint8_t *bytes = sim_keep_alloc(volume->size_bytes);
	uint32_t *image = sim_keep_alloc(sizeof volume->base);
	struct hf_extent extent;
	uint64_t at = 0;

	while (at < volume->units && hf_extmap_find(hf_remote_map(reader->open.remote), at,
						    volume->units - at, &extent)) {
		at = extent.lba + extent.length;
		if (!reader_extent(reader, &extent, bytes))
			break;
	}
	model_image(volume, point, image);
	model_compare(reader->model, volume, bytes, image, "invariant 2: remote copy");
	sim_keep_free(image);
	sim_keep_free(bytes);
}

static uint64_t reader_volume(struct reader *reader, const struct model_volume *volume)
{
	unsigned index = (unsigned)(volume - reader->model->volumes);
	uint64_t point;

	if (!reader_open(reader, volume))
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
	reader->done = false;
	hf_remote_close(reader->open.remote, closed, reader);
	reader_wait(reader, "closing");
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
