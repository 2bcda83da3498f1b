/* base/ids.h and base/bytes.h: text forms are read exactly or refused, bytes have one order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/ids.h"

static void test_ids_round_trip(void **state)
{
	static const enum hf_id_kind kinds[] = {HF_ID_VOLUME, HF_ID_TENANT, HF_ID_GATEWAY};
	static const uint64_t numbers[] = {1, 0x0123456789abcdef, UINT64_MAX};
	char text[HF_ID_TEXT_MAX];

	(void)state;
	for (size_t k = 0; k < 3; k++)
		for (size_t i = 0; i < 3; i++) {
			uint64_t number = 0;

			hf_id_format(kinds[k], numbers[i], text);
			assert_int_equal(hf_id_parse(kinds[k], text, &number), 0);
			assert_true(number == numbers[i]);
		}
	assert_string_equal(hf_id_format(HF_ID_VOLUME, 0x0123456789abcdef, text),
			    "vol-0123456789abcdef");
}

static void test_ids_refuse_what_is_not_exactly_one(void **state)
{
	static const char *const wrong[] = {
		"",
		"vol-",
		"vol-0123456789abcde",
		"vol-0123456789abcdef0",
		"vol-0123456789ABCDEF",
		"vol-0123456789abcdeg",
		"t-0123456789abcdef",
		"vol-0000000000000000",
		" vol-0123456789abcdef",
		"vol- 123456789abcdef",
		"vol-0x23456789abcdef",
	};
	uint64_t number;

	(void)state;
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
		assert_int_equal(hf_id_parse(HF_ID_VOLUME, wrong[i], &number), HF_EINVAL);
}

static void test_sizes(void **state)
{
	static const struct {
		const char *text;
		int status;
		uint64_t size_bytes;
	} sizes[] = {
		{"0", 0, 0},
		{"512", 0, 512},
		{"64MiB", 0, 64ull << 20},
		{"16777215TiB", 0, 16777215ull << 40},
		{"16777216TiB", HF_ERANGE, 0},
		{"99999999999999999999", HF_ERANGE, 0},
		{"", HF_EINVAL, 0},
		{"-1", HF_EINVAL, 0},
		{"+1", HF_EINVAL, 0},
		{" 1", HF_EINVAL, 0},
		{"1 KiB", HF_EINVAL, 0},
		{"1MB", HF_EINVAL, 0},
		{"1kib", HF_EINVAL, 0},
		{"1.5GiB", HF_EINVAL, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		uint64_t size_bytes = 0;

		assert_int_equal(hf_size_parse(sizes[i].text, &size_bytes), sizes[i].status);
		assert_true(size_bytes == sizes[i].size_bytes);
	}
}

static void test_hexadecimal(void **state)
{
	uint8_t bytes[4] = {0x00, 0x9a, 0xff, 0x10}, back[4];
	char text[9];

	(void)state;
	hf_hex_encode(text, bytes, 4);
	assert_string_equal(text, "009aff10");
	assert_int_equal(hf_hex_decode(back, 4, "009AfF10"), 0);
	assert_memory_equal(back, bytes, 4);
	assert_int_equal(hf_hex_decode(back, 4, "009aff1"), HF_EINVAL);
	assert_int_equal(hf_hex_decode(back, 4, "009aff100"), HF_EINVAL);
	assert_int_equal(hf_hex_decode(back, 4, "009aff1g"), HF_EINVAL);
	assert_int_equal(hf_hex_decode(back, 0, ""), 0);
}

static void test_byte_order_and_zeros(void **state)
{
	uint8_t bytes[9] = {0};

	(void)state;
	assert_true(hf_is_zero(bytes, 9) && hf_is_zero(bytes, 1) && hf_is_zero(bytes, 0));
	hf_put_le32(bytes + 1, 0x01020304);
	assert_memory_equal(bytes, "\0\4\3\2\1", 5);
	assert_int_equal(hf_get_be32(bytes + 1), 0x04030201);
	hf_put_be64(bytes + 1, 0x0102030405060708);
	assert_memory_equal(bytes, "\0\1\2\3\4\5\6\7\10", 9);
	assert_true(hf_get_le64(bytes + 1) == 0x0807060504030201);
	hf_put_le16(bytes, 0xfffe);
	assert_int_equal(hf_get_be16(bytes), 0xfeff);
	memset(bytes, 0, sizeof bytes);
	bytes[8] = 1;
	assert_false(hf_is_zero(bytes, 9));
	assert_true(hf_is_zero(bytes, 8));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ids_round_trip),
		cmocka_unit_test(test_ids_refuse_what_is_not_exactly_one),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_hexadecimal),
		cmocka_unit_test(test_byte_order_and_zeros),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
