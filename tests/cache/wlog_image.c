/* See wlog_image.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "tests/cache/wlog_image.h"
#include "tests/cache/wlog_world.h"

static uint64_t lba_of(unsigned record)
{
	return 1000 * record;
}

static uint64_t units_of(const struct image *image, unsigned record)
{
	return 1 + record * 13 % image->units_max;
}

void image_build(struct image *image)
{
	static struct world_append appends[IMAGE_RECORDS_MAX];
	struct world world;

	memset(appends, 0, sizeof appends);
	image->length = 4 * 4096 + image->segments * WORLD_SEGMENT;
	world_begin(&world, 77, image->segments);
	world_open(&world);
	for (unsigned i = 0; i < image->records; i++) {
		world_append(&world, &appends[i], lba_of(i), units_of(image, i), WORLD_DURABLE);
		world_wait(&world, &appends[i].done);
	}
	sim_run(world.sim, 3 * HF_NS_PER_S); /* idle long enough for the mark */
	image->newest = hf_wlog_active_segment(world.log);
	sim_power_cut(world.sim, 0);
	memcpy(image->bytes, sim_disk_bytes(world.sim, 0, 0), image->length);
	world_end(&world);
	image->opened_whole = image->refused = image->reads_refused = 0;
}

static void check_opened(struct image *image, struct world *world)
{
	assert_int_equal(world->recovered, image->records);
	for (unsigned i = 0; i < image->records; i++) {
		int status;

		assert_true(world->records[i].lba == lba_of(i) &&
			    world->records[i].length == units_of(image, i));
		status = world_read(world, world->records[i].lba, world->records[i].place, 0,
				    world->records[i].length);
		if (status) {
			assert_int_equal(status, HF_ECORRUPT);
			assert_true(world->alarms > 0);
			image->reads_refused++;
		}
	}
	image->opened_whole++;
}

void image_try(struct image *image, uint64_t offset, const uint8_t *bytes, size_t length)
{
	struct world world;

	world_begin_blank(&world, offset, image->segments);
	world.keep_bytes = image->keep_bytes;
	sim_disk_poke(world.sim, 0, 0, 0, image->bytes, image->length);
	sim_disk_poke(world.sim, 0, 0, offset, bytes, length);
	if (world_try_open(&world) == 0) {
		check_opened(image, &world);
	} else {
		assert_true(world.status == HF_ECORRUPT || world.status == HF_EUNSUPPORTED);
		assert_true(strstr(world.message.text, "offset") ||
			    strstr(world.message.text, "superblock"));
		assert_int_equal(sim_heap_count(world.sim, 0), 0);
		image->refused++;
	}
	world_end(&world);
}
