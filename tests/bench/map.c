/* What a map costs at its worst: every other 4 KiB of a volume, each an extent of its own. Prints
 * one line of JSON. `--random` inserts in random order instead of ascending; look-ups are at random
 * places in either case, half of them in gaps. Times are of the processor. Memory is what the
 * process has grown by, as the allocator and as the kernel see it. */
#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/extmap.h"

#define BLOCK_UNITS 8u /* 4 KiB */

static double now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static uint64_t random_state = 88172645463325252u;

static uint64_t draw(uint64_t bound)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state % bound;
}

static size_t allocated_bytes(void)
{
	struct mallinfo2 info = mallinfo2();

	return info.uordblks + info.hblkhd;
}

static size_t resident_bytes(void)
{
	unsigned long total, resident = 0;
	FILE *file = fopen("/proc/self/statm", "r");

	if (!file || fscanf(file, "%lu %lu", &total, &resident) != 2)
		resident = 0;
	if (file)
		fclose(file);
	return resident * (size_t)sysconf(_SC_PAGESIZE);
}

/* The i-th number of a permutation of 0 … count - 1: steps of a generator of full period in the
 * next power of two, those past the end left out. */
static uint64_t next_of_permutation(uint64_t *state, uint64_t count)
{
	uint64_t size = 1;

	while (size < count)
		size <<= 1;
	do
		*state = (*state * 2862933555777941757u + 3037000493u) & (size - 1);
	while (*state >= count);
	return *state;
}

static void insert(struct hf_extmap *map, uint64_t number)
{
	/* Objects of 16 MiB, the data of each in another order than its addresses. */
	const struct hf_extent extent = {
		.lba = 2 * BLOCK_UNITS * number,
		.length = BLOCK_UNITS,
		.kind = HF_EXTENT_DATA,
		.place = {.source = number / 4096, .unit = number * 5 % 4096 * BLOCK_UNITS},
	};

	if (hf_extmap_insert(map, &extent)) {
		fprintf(stderr, "out of memory after %llu extents\n", (unsigned long long)number);
		exit(1);
	}
}

static double look_up(struct hf_extmap *map, uint64_t count, uint64_t lookups)
{
	double start = now_s();
	uint64_t right = 0;

	for (uint64_t i = 0; i < lookups; i++) {
		uint64_t block = draw(2 * count), leaf;
		struct hf_extent found;
		bool any = hf_extmap_look(map, block * BLOCK_UNITS, BLOCK_UNITS, &found, &leaf) ==
			   HF_EXTMAP_FOUND;

		right +=
			any == (block % 2 == 0) && (!any || found.place.source == block / 2 / 4096);
	}
	if (right != lookups) {
		fprintf(stderr, "%llu look-ups were wrong\n",
			(unsigned long long)(lookups - right));
		exit(1);
	}
	return (now_s() - start) / (double)lookups;
}

int main(int argc, char **argv)
{
	bool random = argc > 1 && strcmp(argv[1], "--random") == 0;
	const char *number = argc > 1 + random ? argv[1 + random] : "10000000";
	uint64_t count = strtoull(number, NULL, 10), lookups = 4000000, state = 1;
	size_t allocated, resident;
	struct hf_extmap *map;
	double start, insert_s;

	if (count == 0 || argc > 2 + random) {
		fprintf(stderr, "usage: bench_map [--random] [EXTENTS]\n");
		return 2;
	}
	allocated = allocated_bytes();
	resident = resident_bytes();
	map = hf_extmap_create_stored();
	start = now_s();
	for (uint64_t i = 0; map && i < count; i++)
		insert(map, random ? next_of_permutation(&state, count) : i);
	insert_s = now_s() - start;
	if (!map || hf_extmap_count(map) != count) {
		fprintf(stderr, "the map does not hold what was put in\n");
		return 1;
	}
	allocated = allocated_bytes() - allocated;
	resident = resident_bytes() - resident;
	printf("{\"extents\": %llu, \"order\": \"%s\", \"bytes_per_extent\": %.3f, "
	       "\"resident_bytes_per_extent\": %.3f, \"counted_bytes_per_extent\": %.3f, "
	       "\"lookup_us\": %.4f, \"insert_us\": %.4f}\n",
	       (unsigned long long)count, random ? "random" : "ascending",
	       (double)allocated / (double)count, (double)resident / (double)count,
	       (double)hf_extmap_memory_bytes(map) / (double)count,
	       1e6 * look_up(map, count, lookups), 1e6 * insert_s / (double)count);
	hf_extmap_destroy(map);
	return 0;
}
