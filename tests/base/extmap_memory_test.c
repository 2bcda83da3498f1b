/* 32 volumes of 32 TiB with ten million extents between them in 1 GiB of memory: packed densely, so
 * that leaves are worth dropping, and scattered, so that the directory is all there is. What a leaf
 * holds follows from its number, which stands in for the store; memory is what the whole process
 * takes, so nothing is left out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/extmap.h"

#define VOLUMES       32u
#define VOLUME_LEAVES (1u << 22) /* 32 TiB */
#define MEMORY_LIMIT  (1ull << 30)
#define LOOKS         20000u

/* A sanitizer's own memory says nothing about ours, and its time is short. */
#ifdef __has_feature
#define HAS_FEATURE(name) __has_feature(name)
#else
#define HAS_FEATURE(name) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) ||                               \
	HAS_FEATURE(address_sanitizer) || HAS_FEATURE(thread_sanitizer)
#define EXTENTS 200000u
#define SPARSE  950u
#else
#define EXTENTS 10000000u
#define SPARSE  19u
#endif

static uint64_t random_state = 1;

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

static uint64_t draw(uint64_t bound)
{
	random_state += 0x9e3779b97f4a7c15u;
	return mix(random_state) % bound;
}

/* What a leaf of a volume holds: `count` extents, evenly spread. */
struct content {
	unsigned count, units; /* of one extent */
	uint64_t object;
};

typedef struct content content_of(unsigned volume, uint64_t leaf);

/* Every other 4 KiB from the start of the volume on. */
static struct content dense(unsigned volume, uint64_t leaf)
{
	struct content content = {.units = 8, .object = volume * 1000 + leaf};

	if (leaf < EXTENTS / VOLUMES / 1024)
		content.count = 1024;
	return content;
}

/* One leaf in nineteen has something: 4 KiB, or two or three of them. */
static struct content sparse(unsigned volume, uint64_t leaf)
{
	uint64_t drawn = mix((uint64_t)volume << 32 | leaf);
	struct content content = {.units = 8, .object = drawn >> 32};

	if (drawn % SPARSE == 0)
		content.count = 1 + (unsigned)(drawn / SPARSE % 8 == 0) +
				(unsigned)(drawn / SPARSE % 3 == 0);
	return content;
}

static struct hf_extent extent_of(const struct content *content, uint64_t leaf, unsigned i)
{
	return (struct hf_extent){
		.lba = leaf * HF_EXTMAP_LEAF_UNITS +
		       (uint64_t)i * (HF_EXTMAP_LEAF_UNITS / content->count),
		.length = content->units,
		.kind = HF_EXTENT_DATA,
		.place = {.source = content->object, .unit = (uint64_t)i * content->units},
	};
}

static size_t resident_bytes(const char *which)
{
	size_t length = strlen(which), kib = 0;
	FILE *file = fopen("/proc/self/status", "r");
	char line[256];

	assert_non_null(file);
	while (fgets(line, sizeof line, file))
		if (strncmp(line, which, length) == 0)
			kib = strtoull(line + length, NULL, 10);
	fclose(file);
	return kib * 1024;
}

struct world {
	struct hf_extmap *maps[VOLUMES];
	content_of *content;
	uint64_t leaves;    /* of a volume, that are used */
	size_t limit_bytes; /* of all maps, for what may be dropped */
	size_t extents, loads;
};

static size_t maps_bytes(const struct world *world)
{
	size_t bytes = 0;

	for (unsigned i = 0; i < VOLUMES; i++)
		bytes += hf_extmap_memory_bytes(world->maps[i]);
	return bytes;
}

static void write_leaf(struct world *world, unsigned volume, uint64_t leaf)
{
	struct content content = world->content(volume, leaf);

	for (unsigned i = 0; i < content.count; i++) {
		struct hf_extent extent = extent_of(&content, leaf, i);

		assert_int_equal(hf_extmap_insert(world->maps[volume], &extent), 0);
	}
	world->extents += content.count;
}

/* Leaves in scattered order, as random writes come. */
static void fill(struct world *world)
{
	for (uint64_t i = 0; i < VOLUME_LEAVES; i++) {
		uint64_t leaf = (i * 2654435761u + 12345) % VOLUME_LEAVES;

		for (unsigned volume = 0; volume < VOLUMES; volume++)
			write_leaf(world, volume, leaf);
	}
}

static void checkpoint(struct hf_extmap *map)
{
	static uint8_t buffer[HF_EXTMAP_LEAF_BYTES_MAX];
	uint64_t leaf = 0;
	bool partial;

	while (hf_extmap_leaf_next_dirty(map, leaf, &leaf, &partial)) {
		assert_false(partial);
		assert_true(hf_extmap_leaf_encode(map, leaf, buffer, sizeof buffer) > 0);
		hf_extmap_leaf_begin_write(map, leaf);
		hf_extmap_leaf_end_write(map, leaf, true);
	}
}

static void shrink(struct world *world)
{
	for (unsigned i = 0; i < VOLUMES; i++)
		hf_extmap_shrink(world->maps[i], world->limit_bytes / VOLUMES);
}

/* What the store would answer. */
static void load(struct world *world, unsigned volume, uint64_t leaf)
{
	static uint8_t bytes[HF_EXTMAP_LEAF_BYTES_MAX];
	struct content content = world->content(volume, leaf);
	struct hf_extmap *scratch = hf_extmap_create_stored();
	size_t length;

	for (unsigned i = 0; i < content.count; i++) {
		struct hf_extent extent = extent_of(&content, leaf, i);

		assert_int_equal(hf_extmap_insert(scratch, &extent), 0);
	}
	length = hf_extmap_leaf_encode(scratch, leaf, bytes, sizeof bytes);
	assert_int_equal(hf_extmap_leaf_install(world->maps[volume], leaf, bytes, length), 0);
	hf_extmap_destroy(scratch);
	world->loads++;
}

static void look_at_random(struct world *world)
{
	unsigned volume = (unsigned)draw(VOLUMES), i;
	uint64_t leaf = draw(world->leaves), asked;
	struct content content = world->content(volume, leaf);
	struct hf_extent expected, found;
	enum hf_extmap_found result;

	if (content.count == 0) {
		assert_int_equal(hf_extmap_look(world->maps[volume], leaf * HF_EXTMAP_LEAF_UNITS,
						HF_EXTMAP_LEAF_UNITS, &found, &asked),
				 HF_EXTMAP_NONE);
		return;
	}
	i = (unsigned)draw(content.count);
	expected = extent_of(&content, leaf, i);
	result = hf_extmap_look(world->maps[volume], expected.lba, 8, &found, &asked);
	if (result == HF_EXTMAP_ABSENT) {
		assert_int_equal(asked, leaf);
		load(world, volume, leaf);
		result = hf_extmap_look(world->maps[volume], expected.lba, 8, &found, &asked);
		hf_extmap_shrink(world->maps[volume], world->limit_bytes / VOLUMES);
	}
	assert_int_equal(result, HF_EXTMAP_FOUND);
	assert_true(found.lba == expected.lba && found.length == expected.length);
	assert_true(found.place.source == expected.place.source &&
		    found.place.unit == expected.place.unit);
}

static void measure(const struct world *world, const char *name, const char *when)
{
	size_t resident = resident_bytes("VmRSS:"), peak = resident_bytes("VmHWM:");

	printf("%s, %s: %zu extents, maps %zu MiB, %.1f bytes an extent; process %zu MiB, at most "
	       "%zu MiB\n",
	       name, when, world->extents, maps_bytes(world) >> 20,
	       (double)maps_bytes(world) / (double)world->extents, resident >> 20, peak >> 20);
	assert_true(maps_bytes(world) < MEMORY_LIMIT);
#if EXTENTS == 10000000u
	assert_true(peak < MEMORY_LIMIT);
#endif
}

static void play(const char *name, content_of *content, uint64_t leaves, size_t limit_bytes)
{
	struct world world = {.content = content, .leaves = leaves, .limit_bytes = limit_bytes};

	for (unsigned i = 0; i < VOLUMES; i++)
		world.maps[i] = hf_extmap_create_stored();
	fill(&world);
	assert_true(world.extents >= EXTENTS / 1024 * 990);
	measure(&world, name, "all of it newer than the checkpoint");
	for (unsigned i = 0; i < VOLUMES; i++)
		checkpoint(world.maps[i]);
	shrink(&world);
	measure(&world, name, "shrunk");
	for (unsigned i = 0; i < LOOKS; i++)
		look_at_random(&world);
	measure(&world, name, "after random look-ups");
	assert_true(world.loads > 0);
	printf("%zu of %u look-ups loaded a leaf\n", world.loads, LOOKS);
	for (unsigned i = 0; i < VOLUMES; i++)
		hf_extmap_destroy(world.maps[i]);
}

static void test_dense(void **state)
{
	(void)state;
	play("dense", dense, EXTENTS / VOLUMES / 1024, EXTENTS * 3);
}

static void test_sparse(void **state)
{
	(void)state;
	play("sparse", sparse, VOLUME_LEAVES, EXTENTS * 27);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dense),
		cmocka_unit_test(test_sparse),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
