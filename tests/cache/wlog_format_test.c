/* cache/wlog_format.h: every structure reads back as it was written, and no single flipped bit in
 * any of them passes (invariant 8). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "cache/wlog_format.h"

static struct hf_wlogfmt_super make_super(void)
{
	struct hf_wlogfmt_super super = {{0}};

	memcpy(super.uuid, "0123456789abcdef", 16);
	assert_int_equal(hf_wlogfmt_layout(&super, 4 << 20, 64 << 10), 0);
	return super;
}

static void test_layout_fits_the_disk(void **state)
{
	struct hf_wlogfmt_super super;

	(void)state;
	for (uint64_t disk = 1 << 20; disk < 40 << 20; disk += 333 * 4096) {
		assert_int_equal(hf_wlogfmt_layout(&super, disk, 64 << 10), 0);
		assert_true(super.table_offset[0] == 8192);
		assert_true(super.table_offset[1] == 8192 + super.table_bytes);
		assert_true(super.segments_offset == 8192 + 2ull * super.table_bytes);
		assert_true(super.segments_offset + (uint64_t)super.segment_count * 65536 <= disk);
		assert_true(super.table_bytes >=
			    HF_WLOGFMT_TABLE_HEAD + 4 +
				    super.segment_count * HF_WLOGFMT_TABLE_ENTRY);
	}
	assert_int_equal(hf_wlogfmt_layout(&super, 1 << 30, 64 << 20), 0);
	assert_int_equal(super.segment_count, 15);
	assert_int_equal(hf_wlogfmt_layout(&super, 1 << 20, 96 << 10), HF_EINVAL);
	assert_int_equal(hf_wlogfmt_layout(&super, 1 << 20, 32 << 10), HF_EINVAL);
	assert_int_equal(hf_wlogfmt_layout(&super, 1ull << 33, 128 << 20), HF_EINVAL);
	assert_int_equal(hf_wlogfmt_layout(&super, 1 << 18, 64 << 10), HF_ENOSPC);
	assert_int_equal(hf_wlogfmt_layout(&super, 0, 64 << 10), HF_ENOSPC);
	assert_int_equal(hf_wlogfmt_layout(&super, UINT64_MAX, 64 << 10), HF_ETOOBIG);
}

static void test_superblock(void **state)
{
	struct hf_wlogfmt_super super = make_super(), back;
	uint8_t block[HF_WLOG_BLOCK], zeros[HF_WLOG_BLOCK] = {0};

	(void)state;
	hf_wlogfmt_super_encode(&super, block);
	assert_int_equal(hf_wlogfmt_super_decode(&back, block), 0);
	assert_memory_equal(&super, &back, sizeof super);
	for (unsigned bit = 0; bit < 8 * HF_WLOG_BLOCK; bit++) {
		block[bit / 8] ^= 1 << bit % 8;
		assert_int_not_equal(hf_wlogfmt_super_decode(&back, block), 0);
		block[bit / 8] ^= 1 << bit % 8;
	}
	assert_int_equal(hf_wlogfmt_super_decode(&back, zeros), HF_ENOENT);
}

static void test_table(void **state)
{
	struct hf_wlogfmt_super super = make_super();
	struct hf_wlogfmt_table table = {7, 12, 900}, table_back;
	struct hf_wlogfmt_entry entries[64] = {{0}}, back[64];
	uint8_t bytes[HF_WLOG_BLOCK];

	(void)state;
	assert_true(super.segment_count <= 64 && super.table_bytes == sizeof bytes);
	entries[3] = (struct hf_wlogfmt_entry){9, 700, 800};
	entries[5] = (struct hf_wlogfmt_entry){10, 801, 0};
	entries[8] = (struct hf_wlogfmt_entry){11, 0, 0};
	hf_wlogfmt_table_encode(&super, &table, entries, bytes);
	assert_int_equal(hf_wlogfmt_table_decode(&super, &table_back, back, bytes), 0);
	assert_memory_equal(&table, &table_back, sizeof table);
	assert_memory_equal(entries, back, super.segment_count * sizeof entries[0]);
	for (unsigned bit = 0; bit < 8 * sizeof bytes; bit++) {
		bytes[bit / 8] ^= 1 << bit % 8;
		assert_int_not_equal(hf_wlogfmt_table_decode(&super, &table_back, back, bytes), 0);
		bytes[bit / 8] ^= 1 << bit % 8;
	}
	super.uuid[0] ^= 1;
	assert_int_equal(hf_wlogfmt_table_decode(&super, &table_back, back, bytes), HF_ECORRUPT);
}

static void test_table_refuses_nonsense_that_has_a_good_crc(void **state)
{
	static const struct hf_wlogfmt_entry nonsense[] = {
		{0, 1, 0}, {0, 0, 1}, {12, 1, 2}, {5, 9, 8}, {5, 0, 8}, {5, 1, 901},
	};
	struct hf_wlogfmt_super super = make_super();
	struct hf_wlogfmt_table table = {7, 12, 900}, table_back;
	struct hf_wlogfmt_entry entries[64] = {{0}}, back[64];
	uint8_t bytes[HF_WLOG_BLOCK];

	(void)state;
	for (size_t i = 0; i < sizeof nonsense / sizeof nonsense[0]; i++) {
		entries[0] = nonsense[i];
		hf_wlogfmt_table_encode(&super, &table, entries, bytes);
		assert_int_equal(hf_wlogfmt_table_decode(&super, &table_back, back, bytes),
				 HF_ECORRUPT);
	}
}

static uint8_t header[2 * HF_WLOG_BLOCK], payload[64 * HF_UNIT];

static struct hf_wlogfmt_head make_header(void)
{
	const struct hf_wlog_record records[] = {
		{.type = HF_RECORD_DATA, .volume = 7, .sequence = 1, .lba = 100, .length = 19},
		{.type = HF_RECORD_ZERO,
		 .volume = 7,
		 .sequence = 2,
		 .lba = 0,
		 .length = 1ull << 40},
		{.type = HF_RECORD_CONTROL, .volume = 8, .length = 700, .result = -5},
		{.type = HF_RECORD_UPLOADED, .volume = 7, .sequence = 1, .request = {"ring", 99}},
	};
	struct hf_wlogfmt_head head = {.serial = 3, .batch = 44, .durable_through = 43};
	uint32_t unit = 0;

	for (size_t i = 0; i < sizeof payload; i++)
		payload[i] = (uint8_t)(i * 31 + i / 512);
	memset(header, 0, sizeof header);
	head.used_bytes = HF_WLOGFMT_HEAD;
	for (size_t i = 0; i < 4; i++) {
		head.used_bytes += (uint32_t)hf_wlogfmt_record_encode(
			header + head.used_bytes, &records[i], unit, payload + unit * HF_UNIT);
		unit += (uint32_t)hf_wlogfmt_payload_units(records[i].type, records[i].length);
	}
	memcpy(head.uuid, "0123456789abcdef", 16);
	head.offset = 8192;
	head.header_bytes = HF_WLOG_BLOCK;
	head.payload_bytes = hf_wlogfmt_block_up(unit * HF_UNIT);
	head.record_count = 4;
	head.prev_crc = 0x12345678;
	hf_wlogfmt_head_encode(&head, header);
	return head;
}

static void test_batch_header(void **state)
{
	struct hf_wlogfmt_head head = make_header(), back;
	struct hf_wlogfmt_record record;
	size_t at = HF_WLOGFMT_HEAD;

	(void)state;
	assert_int_equal(hf_wlogfmt_head_decode(&back, header, head.used_bytes), 0);
	assert_memory_equal(&head, &back, sizeof head);
	assert_true(hf_wlogfmt_record_next(&head, header, &at, &record));
	assert_int_equal(record.type, HF_RECORD_DATA);
	assert_int_equal(record.crc_count, 3);
	assert_true(hf_wlogfmt_record_verify(&record, payload, false));
	assert_true(hf_wlogfmt_record_next(&head, header, &at, &record));
	assert_int_equal(record.type, HF_RECORD_ZERO);
	assert_true(record.length == 1ull << 40 && record.crc_count == 0);
	assert_true(hf_wlogfmt_record_next(&head, header, &at, &record));
	assert_true(record.payload_unit == 19 && record.length == 700 && record.result == -5);
	assert_true(hf_wlogfmt_record_next(&head, header, &at, &record));
	assert_true(record.request.id == 99 && memcmp(record.request.ring, "ring", 5) == 0);
	assert_false(hf_wlogfmt_record_next(&head, header, &at, &record));
	assert_int_equal(hf_wlogfmt_head_decode(&back, header, head.used_bytes - 1), HF_ECORRUPT);
	assert_int_equal(hf_wlogfmt_head_decode(&back, header, 3), HF_ECORRUPT);
}

static void test_no_flipped_bit_passes_in_header_or_payload(void **state)
{
	struct hf_wlogfmt_head head = make_header(), back;
	struct hf_wlogfmt_record record;
	size_t at = HF_WLOGFMT_HEAD;

	(void)state;
	for (unsigned bit = 0; bit < 8 * head.used_bytes; bit++) {
		header[bit / 8] ^= 1 << bit % 8;
		assert_int_not_equal(hf_wlogfmt_head_decode(&back, header, sizeof header), 0);
		header[bit / 8] ^= 1 << bit % 8;
	}
	assert_true(hf_wlogfmt_record_next(&head, header, &at, &record));
	for (unsigned bit = 0; bit < 8 * 19 * HF_UNIT; bit += 7) {
		payload[bit / 8] ^= 1 << bit % 8;
		assert_false(hf_wlogfmt_record_verify(&record, payload, false));
		payload[bit / 8] ^= 1 << bit % 8;
	}
	record.lba++;
	assert_false(hf_wlogfmt_record_verify(&record, payload, false));
	record.lba--;
	record.volume++;
	assert_false(hf_wlogfmt_record_verify(&record, payload, false));
}

/* Invariant 8: what was written as lost is as it was written, and is nobody's payload. */
static void test_a_lost_piece_is_whole_and_not_read(void **state)
{
	struct hf_wlogfmt_head head = make_header();
	struct hf_wlogfmt_record record;
	size_t at = HF_WLOGFMT_HEAD;

	(void)state;
	hf_wlogfmt_record_spoil(header + at, 1);
	assert_true(hf_wlogfmt_record_next(&head, header, &at, &record));
	assert_false(hf_wlogfmt_record_verify(&record, payload, false));
	assert_true(hf_wlogfmt_record_verify(&record, payload, true));
	payload[9 * HF_UNIT] ^= 1; /* torn all the same */
	assert_false(hf_wlogfmt_record_verify(&record, payload, true));
	payload[9 * HF_UNIT] ^= 1;
}

static void test_descriptors_move_with_their_checksums(void **state)
{
	struct hf_wlogfmt_head head = make_header(), back;
	static uint8_t moved[HF_WLOG_BLOCK], shifted[70 * HF_UNIT];
	const struct hf_wlog_record first = {.type = HF_RECORD_DATA, .lba = 5, .length = 3};
	struct hf_wlogfmt_record record;
	size_t at = HF_WLOGFMT_HEAD, used = HF_WLOGFMT_HEAD;

	(void)state;
	memcpy(shifted + 3 * HF_UNIT, payload, 21 * HF_UNIT);
	used += hf_wlogfmt_record_encode(moved + used, &first, 0, shifted);
	assert_int_equal(hf_wlogfmt_records_shift(&head, header, 3, moved + used), 21);
	head.used_bytes += (uint32_t)used - HF_WLOGFMT_HEAD;
	head.record_count++;
	head.payload_bytes = hf_wlogfmt_block_up(24 * HF_UNIT);
	hf_wlogfmt_head_encode(&head, moved);
	assert_int_equal(hf_wlogfmt_head_decode(&back, moved, sizeof moved), 0);
	while (hf_wlogfmt_record_next(&back, moved, &at, &record))
		assert_true(hf_wlogfmt_record_verify(
			&record, shifted + record.payload_unit * HF_UNIT, false));
}

static void test_footer(void **state)
{
	struct hf_wlogfmt_footer footer = {"0123456789abcdef", 3, 10, 19, 19, 32768, 5000, 99, 10};
	struct hf_wlogfmt_footer back;
	uint8_t block[HF_WLOG_BLOCK];

	(void)state;
	hf_wlogfmt_footer_encode(&footer, block);
	assert_int_equal(hf_wlogfmt_footer_decode(&back, 65536, block), 0);
	assert_memory_equal(&footer, &back, sizeof footer);
	for (unsigned bit = 0; bit < 8 * HF_WLOG_BLOCK; bit++) {
		block[bit / 8] ^= 1 << bit % 8;
		assert_int_not_equal(hf_wlogfmt_footer_decode(&back, 65536, block), 0);
		block[bit / 8] ^= 1 << bit % 8;
	}
	footer.body_bytes = 65536 - 32768 - HF_WLOG_BLOCK + 1;
	hf_wlogfmt_footer_encode(&footer, block);
	assert_int_equal(hf_wlogfmt_footer_decode(&back, 65536, block), HF_ECORRUPT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_layout_fits_the_disk),
		cmocka_unit_test(test_superblock),
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_table_refuses_nonsense_that_has_a_good_crc),
		cmocka_unit_test(test_batch_header),
		cmocka_unit_test(test_no_flipped_bit_passes_in_header_or_payload),
		cmocka_unit_test(test_a_lost_piece_is_whole_and_not_read),
		cmocka_unit_test(test_descriptors_move_with_their_checksums),
		cmocka_unit_test(test_footer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
