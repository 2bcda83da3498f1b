/* The disk itself, without iSCSI, as a peer for scripts/bench. Usage: raw OP FILE BLOCK SECONDS.
 *
 * One thread, one operation at a time, with O_DIRECT on a file that exists and was written before
 * (one that is merely reserved is slower):
 *   durable   writes one block after another, an fdatasync after each
 *   read      reads one block after another */
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/bench/histogram.h"

static bool do_one(int fd, bool writes, uint8_t *block, uint64_t length, uint64_t offset)
{
	ssize_t n = writes ? pwrite(fd, block, length, (off_t)offset)
			   : pread(fd, block, length, (off_t)offset);

	return n == (ssize_t)length && (!writes || fdatasync(fd) == 0);
}

static bool run(int fd, bool writes, uint8_t *block, uint64_t length, uint64_t blocks,
		double seconds)
{
	static struct histogram times;
	struct report report = {0};
	uint64_t began_ns = bench_now_ns(), last_ns = began_ns;
	uint64_t end_ns = began_ns + (uint64_t)(seconds * 1e9);

	while (last_ns < end_ns) {
		uint64_t now_ns;

		if (!do_one(fd, writes, block, length, report.ops % blocks * length))
			return false;
		now_ns = bench_now_ns();
		histogram_add(&times, now_ns - last_ns);
		last_ns = now_ns;
		report.ops++;
		report.bytes += length;
	}
	report.gap_ns = times.max_ns;
	report.seconds = (double)(last_ns - began_ns) / 1e9;
	bench_print_report(&report, &times);
	return true;
}

int main(int argc, char **argv)
{
	bool writes, ok;
	uint64_t length, seed = 1;
	struct stat stat;
	uint8_t *block;
	int fd;

	if (argc != 5 || (strcmp(argv[1], "durable") != 0 && strcmp(argv[1], "read") != 0)) {
		fprintf(stderr, "usage: %s durable|read FILE BLOCK SECONDS\n", argv[0]);
		return 2;
	}
	writes = strcmp(argv[1], "durable") == 0;
	length = bench_parse_size(argv[3]);
	fd = open(argv[2], O_RDWR | O_DIRECT | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &stat) != 0 || length == 0 || length % 4096 != 0 ||
	    (uint64_t)stat.st_size < length) {
		perror(argv[2]);
		return 1;
	}
	block = aligned_alloc(4096, length);
	if (!block)
		return 1;
	for (size_t i = 0; i < length; i++)
		block[i] = (uint8_t)bench_next_random(&seed);
	ok = run(fd, writes, block, length, (uint64_t)stat.st_size / length, strtod(argv[4], NULL));
	if (!ok)
		perror(argv[2]);
	free(block);
	close(fd);
	return !ok;
}
