/* What recovery takes for a batch of a segment: exactly the next one of this log, this use of the
 * slot, this place and this history. Whatever else has a good checksum is left out, and past the
 * end only its statement of durable-through counts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "cache/wlog_private.h"

#define SEGMENT_BYTES (64u << 10)
#define BATCHES       5u

static struct hf_wlogfmt_super super = {.uuid = "0123456789abcde"};
static uint8_t bytes[SEGMENT_BYTES];
static struct hf_wlogfmt_head heads[BATCHES];

/* Writes a batch of one DATA record of 3 units at head->offset. */
static void put(struct hf_wlogfmt_head *head)
{
	const struct hf_wlog_record record = {
		.type = HF_RECORD_DATA, .volume = 1, .sequence = head->batch, .length = 3};
	uint8_t *header = bytes + head->offset, *payload = header + HF_WLOG_BLOCK;

	memset(header, 0, 2 * HF_WLOG_BLOCK);
	memset(payload, (int)head->batch, 3 * HF_UNIT);
	head->used_bytes = HF_WLOGFMT_HEAD + (uint32_t)hf_wlogfmt_record_encode(
						     header + HF_WLOGFMT_HEAD, &record, 0, payload);
	head->header_bytes = head->payload_bytes = HF_WLOG_BLOCK;
	head->record_count = 1;
	hf_wlogfmt_head_encode(head, header);
}

static int build(void **state)
{
	(void)state;
	assert_int_equal(hf_wlogfmt_layout(&super, 4 << 20, SEGMENT_BYTES), 0);
	memset(bytes, 0, sizeof bytes);
	for (unsigned i = 0; i < BATCHES; i++) {
		heads[i] = (struct hf_wlogfmt_head){
			.serial = 3,
			.batch = 10 + i,
			.durable_through = 8 + i,
			.offset = i * 2 * HF_WLOG_BLOCK,
			.prev_crc = i > 0 ? heads[i - 1].crc : 77,
		};
		memcpy(heads[i].uuid, super.uuid, sizeof heads[i].uuid);
		put(&heads[i]);
	}
	return 0;
}

static struct wlog_scan scan_all(uint64_t last)
{
	struct wlog_scan scan = {.super = &super, .serial = 3, .first_batch = 10};

	hf_wlog_scan_segment(&scan, bytes, last);
	return scan;
}

static uint32_t run_length(void)
{
	struct wlog_scan scan = scan_all(0);
	uint32_t count = scan.count;

	hf_wlog_scan_free(&scan);
	return count;
}

static void test_the_run_goes_to_its_end(void **state)
{
	struct wlog_scan scan = scan_all(0);

	(void)state;
	assert_int_equal(scan.count, BATCHES);
	assert_int_equal(scan.end, BATCHES * 2 * HF_WLOG_BLOCK);
	assert_true(scan.durable_through == 12 && scan.last_seen == 14);
	hf_wlog_scan_free(&scan);
	scan = scan_all(12);
	assert_int_equal(scan.count, 3);
	hf_wlog_scan_free(&scan);
}

static void test_only_the_next_batch_continues(void **state)
{
	(void)state;
	heads[2].serial = 2; /* an earlier use of the slot */
	put(&heads[2]);
	assert_int_equal(run_length(), 2);
	build(NULL);
	heads[2].prev_crc ^= 1; /* written after another batch than this one */
	put(&heads[2]);
	assert_int_equal(run_length(), 2);
	build(NULL);
	heads[2].uuid[0] ^= 1; /* another log */
	put(&heads[2]);
	assert_int_equal(run_length(), 2);
	build(NULL);
	heads[2].batch = 13; /* not the next */
	put(&heads[2]);
	assert_int_equal(run_length(), 2);
	build(NULL);
	/* The next, but written for another place. */
	memcpy(bytes + 4 * HF_WLOG_BLOCK, bytes + 6 * HF_WLOG_BLOCK, 2 * HF_WLOG_BLOCK);
	assert_int_equal(run_length(), 2);
	build(NULL);
	heads[0].batch = 9; /* not the first */
	put(&heads[0]);
	assert_int_equal(run_length(), 0);
}

/* A batch of the same number and place as before, of a history that a crash cut: what followed the
 * old one does not follow the new one. */
static void test_what_was_cut_does_not_come_back(void **state)
{
	(void)state;
	heads[2].durable_through--;
	put(&heads[2]);
	assert_int_equal(run_length(), 3);
}

static void test_past_the_end_only_the_claim_counts(void **state)
{
	struct wlog_scan scan;

	(void)state;
	bytes[4 * HF_WLOG_BLOCK + 20] ^= 1;
	scan = scan_all(0);
	assert_int_equal(scan.count, 2);
	assert_true(scan.durable_through == 9);
	hf_wlog_scan_past(&scan, bytes);
	assert_int_equal(scan.count, 2);
	assert_true(scan.durable_through == 12 && scan.last_seen == 14);
	hf_wlog_scan_free(&scan);
	/* Claims of another use of the slot are not of this log's past. */
	for (unsigned i = 3; i < BATCHES; i++) {
		heads[i].serial = 2;
		put(&heads[i]);
	}
	scan = scan_all(0);
	hf_wlog_scan_past(&scan, bytes);
	assert_true(scan.durable_through == 9 && scan.last_seen == 11);
	hf_wlog_scan_free(&scan);
}

static void test_torn_payload_cuts_only_past_durable_through(void **state)
{
	struct wlog_scan scan;

	(void)state;
	bytes[3 * HF_WLOG_BLOCK + 1000] ^= 1; /* batch 11 */
	bytes[9 * HF_WLOG_BLOCK + 1000] ^= 1; /* batch 14 */
	scan = scan_all(0);
	hf_wlog_scan_cut_torn(&scan, bytes);
	assert_int_equal(scan.count, 4);
	assert_int_equal(scan.end, 8 * HF_WLOG_BLOCK);
	hf_wlog_scan_free(&scan);
}

static void test_a_footers_body_is_the_same_run(void **state)
{
	static uint8_t body[BATCHES * HF_WLOG_BLOCK];
	struct wlog_scan scan = {.super = &super, .serial = 3, .first_batch = 10};
	uint32_t length = 0;

	(void)state;
	for (unsigned i = 0; i < BATCHES; i++) {
		memcpy(body + length, bytes + heads[i].offset, heads[i].used_bytes);
		length += heads[i].used_bytes;
	}
	assert_int_equal(hf_wlog_scan_body(&scan, body, length), 0);
	assert_int_equal(scan.count, BATCHES);
	assert_int_equal(scan.end, BATCHES * 2 * HF_WLOG_BLOCK);
	hf_wlog_scan_free(&scan);
	scan = (struct wlog_scan){.super = &super, .serial = 3, .first_batch = 10};
	assert_int_equal(hf_wlog_scan_body(&scan, body, length - 1), HF_ECORRUPT);
	hf_wlog_scan_free(&scan);
	scan = (struct wlog_scan){.super = &super, .serial = 4, .first_batch = 10};
	assert_int_equal(hf_wlog_scan_body(&scan, body, length), HF_ECORRUPT);
	hf_wlog_scan_free(&scan);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_the_run_goes_to_its_end, build),
		cmocka_unit_test_setup(test_only_the_next_batch_continues, build),
		cmocka_unit_test_setup(test_what_was_cut_does_not_come_back, build),
		cmocka_unit_test_setup(test_past_the_end_only_the_claim_counts, build),
		cmocka_unit_test_setup(test_torn_payload_cuts_only_past_durable_through, build),
		cmocka_unit_test_setup(test_a_footers_body_is_the_same_run, build),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
