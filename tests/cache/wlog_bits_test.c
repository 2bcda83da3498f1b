/* Every single flipped bit of a small write log, one after the other (invariants 8 and 9):
 * recovery, a refusal that names the place, or a read that fails with an alarm; never a durable
 * record silently missing, never wrong data. Exhaustive over all that was ever written; of sectors
 * that are still zeros, which nothing reads, a bit each. Two processes share the work. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/bytes.h"
#include "tests/cache/wlog_image.h"

#define SECTOR    512u
#define PROCESSES 2u

static struct image image = {.records = 8, .segments = 6, .units_max = 20};

static unsigned flip_bits(uint64_t sector, unsigned share)
{
	bool used = !hf_is_zero(image.bytes + sector, SECTOR);
	unsigned flipped = 0;

	for (uint64_t bit = share; bit < SECTOR * 8; bit += used ? PROCESSES : SECTOR * 8) {
		uint64_t at = sector + bit / 8;
		uint8_t byte = image.bytes[at] ^ (uint8_t)(1 << bit % 8);

		image_try(&image, at, &byte, 1);
		flipped++;
	}
	return flipped;
}

static void flip_share(unsigned share)
{
	unsigned flipped = 0;

	for (uint64_t sector = 0; sector < image.length; sector += SECTOR)
		flipped += flip_bits(sector, share);
	printf("%u bits: %u opened whole, %u refused by name; %u reads refused\n", flipped,
	       image.opened_whole, image.refused, image.reads_refused);
	assert_true(image.opened_whole > 1000 && image.refused > 1000 &&
		    image.reads_refused > 1000);
}

static void test_no_flipped_bit_gives_wrong_data(void **state)
{
	int status;
	pid_t child;

	(void)state;
	image_build(&image);
	assert_true(image.newest >= 2);
	fflush(stdout);
	child = fork();
	assert_true(child >= 0);
	flip_share(child == 0);
	if (child == 0) {
		fflush(stdout);
		_exit(0); /* a failed assertion has left by another way, with its text */
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_flipped_bit_gives_wrong_data),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
