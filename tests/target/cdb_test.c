/* target/cdb.h: the fields of each form of a command lie where SBC-3 clause 5 puts them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "target/cdb.h"

static struct hf_cdb decode(const uint8_t bytes[16])
{
	struct hf_cdb cdb;

	hf_cdb_decode(bytes, &cdb);
	return cdb;
}

static void six_bytes(void **state)
{
	struct hf_cdb cdb = decode((uint8_t[16]){0x08, 0xff, 0x34, 0x56, 7});

	(void)state;
	assert_int_equal(cdb.kind, HF_CDB_READ);
	assert_int_equal(cdb.lba, 0x1f3456);
	assert_int_equal(cdb.blocks, 7);
	assert_int_equal(cdb.protect, 0);
	cdb = decode((uint8_t[16]){0x0a, 0, 0, 1, 0});
	assert_int_equal(cdb.kind, HF_CDB_WRITE);
	assert_int_equal(cdb.blocks, 256);
	assert_false(cdb.force_unit);
}

static void ten_twelve_and_sixteen_bytes(void **state)
{
	struct hf_cdb cdb =
		decode((uint8_t[16]){0x2a, 0x08, 0x81, 0x02, 0x03, 0x04, 0, 0xff, 0xfe});

	(void)state;
	assert_int_equal(cdb.kind, HF_CDB_WRITE);
	assert_int_equal(cdb.lba, 0x81020304u);
	assert_int_equal(cdb.blocks, 0xfffe);
	assert_true(cdb.force_unit);
	cdb = decode((uint8_t[16]){0xa8, 0xe0, 0, 0, 0, 5, 0x80, 0, 0, 1});
	assert_int_equal(cdb.kind, HF_CDB_READ);
	assert_int_equal(cdb.lba, 5);
	assert_int_equal(cdb.blocks, 0x80000001u);
	assert_int_equal(cdb.protect, 7);
	cdb = decode((uint8_t[16]){0x88, 0, 0x80, 0, 0, 0, 0, 0, 0, 9, 0xff, 0, 0, 2});
	assert_true(cdb.lba == 0x8000000000000009ull);
	assert_int_equal(cdb.blocks, 0xff000002u);
}

static void write_and_verify_is_durable(void **state)
{
	static const uint8_t codes[] = {0x2e, 0xae, 0x8e};

	(void)state;
	for (unsigned i = 0; i < sizeof codes; i++) {
		struct hf_cdb cdb = decode((uint8_t[16]){codes[i]});

		assert_int_equal(cdb.kind, HF_CDB_WRITE);
		assert_true(cdb.force_unit);
	}
}

static void flags_of_their_own(void **state)
{
	struct hf_cdb cdb = decode((uint8_t[16]){0x89, 0, [9] = 3, [10] = 0xff, [13] = 2});

	(void)state;
	assert_int_equal(cdb.kind, HF_CDB_COMPARE_AND_WRITE);
	assert_int_equal(cdb.blocks, 2);
	assert_int_equal(cdb.lba, 3);
	cdb = decode((uint8_t[16]){0x8f, 0x06});
	assert_int_equal(cdb.kind, HF_CDB_VERIFY);
	assert_int_equal(cdb.byte_check, 3);
	cdb = decode((uint8_t[16]){0x93, 0x09});
	assert_true(cdb.unmap && cdb.no_data && !cdb.anchor && !cdb.numbered && !cdb.force_unit);
	cdb = decode((uint8_t[16]){0x41, 0x17});
	assert_true(!cdb.unmap && !cdb.no_data && cdb.anchor && cdb.numbered);
	cdb = decode((uint8_t[16]){0x42, 0x01, [7] = 0x01, [8] = 0x18});
	assert_int_equal(cdb.kind, HF_CDB_UNMAP);
	assert_true(cdb.anchor);
	assert_int_equal(cdb.list_bytes, 0x118);
	cdb = decode((uint8_t[16]){0x9e, 0x12, [9] = 8, [10] = 1, [13] = 2});
	assert_int_equal(cdb.kind, HF_CDB_LBA_STATUS);
	assert_int_equal(cdb.lba, 8);
	assert_int_equal(cdb.list_bytes, 0x01000002);
}

static void what_is_not_ours(void **state)
{
	(void)state;
	assert_int_equal(decode((uint8_t[16]){0x00}).kind, HF_CDB_OTHER);
	assert_int_equal(decode((uint8_t[16]){0x8b}).kind, HF_CDB_OTHER); /* ORWRITE */
	assert_int_equal(decode((uint8_t[16]){0xff}).kind, HF_CDB_OTHER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(six_bytes),
		cmocka_unit_test(ten_twelve_and_sixteen_bytes),
		cmocka_unit_test(write_and_verify_is_durable),
		cmocka_unit_test(flags_of_their_own),
		cmocka_unit_test(what_is_not_ours),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
