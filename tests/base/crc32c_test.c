/* base/crc32c.h gives the published CRC32C, in any pieces, and a block's differs by its place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "base/crc32c.h"

/* RFC 3720 B.4 and the check value of the CRC catalogue. */
static void test_published_vectors(void **state)
{
	uint8_t bytes[32];

	(void)state;
	assert_int_equal(hf_crc32c(0, "123456789", 9), 0xe3069283);
	assert_int_equal(hf_crc32c(0, "", 0), 0);
	memset(bytes, 0, sizeof bytes);
	assert_int_equal(hf_crc32c(0, bytes, 32), 0x8a9136aa);
	memset(bytes, 0xff, sizeof bytes);
	assert_int_equal(hf_crc32c(0, bytes, 32), 0x62a8ab43);
	for (int i = 0; i < 32; i++)
		bytes[i] = (uint8_t)i;
	assert_int_equal(hf_crc32c(0, bytes, 32), 0x46dd794e);
	for (int i = 0; i < 32; i++)
		bytes[i] = (uint8_t)(31 - i);
	assert_int_equal(hf_crc32c(0, bytes, 32), 0x113fdb5c);
}

static uint32_t bitwise(uint32_t crc, const uint8_t *bytes, size_t length)
{
	crc = ~crc;
	for (size_t i = 0; i < length; i++) {
		crc ^= bytes[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc & 1 ? crc >> 1 ^ 0x82f63b78 : crc >> 1;
	}
	return ~crc;
}

static void test_any_length_in_any_pieces(void **state)
{
	uint8_t bytes[1000];

	(void)state;
	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (uint8_t)(i * 197 + 13);
	for (size_t length = 0; length <= sizeof bytes; length += 7) {
		uint32_t expected = bitwise(0, bytes, length);
		size_t cut = length * 5 / 8;

		assert_int_equal(hf_crc32c(0, bytes, length), expected);
		assert_int_equal(hf_crc32c(hf_crc32c(0, bytes, cut), bytes + cut, length - cut),
				 expected);
	}
}

static void test_a_block_belongs_to_its_place(void **state)
{
	static const uint8_t block[512] = {1, 2, 3};
	uint8_t seeded[16 + 512] = {7, 0, 0, 0, 0, 0, 0, 0, 9};
	uint32_t here = hf_crc32c_block(7, 9, block, sizeof block);

	(void)state;
	memcpy(seeded + 16, block, sizeof block);
	assert_int_equal(here, hf_crc32c(0, seeded, sizeof seeded));
	assert_int_not_equal(here, hf_crc32c_block(7, 10, block, sizeof block));
	assert_int_not_equal(here, hf_crc32c_block(8, 9, block, sizeof block));
	assert_int_not_equal(here, hf_crc32c_block(9, 7, block, sizeof block));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_published_vectors),
		cmocka_unit_test(test_any_length_in_any_pieces),
		cmocka_unit_test(test_a_block_belongs_to_its_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
