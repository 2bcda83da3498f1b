/* Promises of the journal (invariant 4): what it says was begun or ended is there after any crash;
 * what is in it is never begun again, and neither is what was in it before; damage makes nothing
 * look new. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "gateway/agent/journal.h"

struct fixture {
	char folder[40], path[64];
	struct hf_journal *journal;
	struct hf_errmsg message;
};

static void open_journal(struct fixture *f, uint64_t floor)
{
	if (hf_journal_open(f->folder, floor, &f->journal, &f->message) != 0)
		fail_msg("%s", f->message.text);
}

static void reopen(struct fixture *f)
{
	hf_journal_close(f->journal);
	open_journal(f, 0);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	strcpy(f->folder, "/tmp/hf-journal-XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	snprintf(f->path, sizeof f->path, "%s/journal", f->folder);
	open_journal(f, 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char path[80];

	hf_journal_close(f->journal);
	unlink(f->path);
	snprintf(path, sizeof path, "%s.damaged", f->path);
	unlink(path);
	rmdir(f->folder);
	free(f);
	return 0;
}

static struct hf_journal_action action_of(uint64_t number)
{
	struct hf_journal_action action = {.action = number,
					   .sequence = 100 + number,
					   .kind = 1,
					   .mark = (uint8_t *)(uintptr_t) "mark",
					   .mark_length = 4};

	memset(action.hash, (int)number, sizeof action.hash);
	return action;
}

static void begin(struct fixture *f, uint64_t number)
{
	struct hf_journal_action action = action_of(number);

	assert_int_equal(hf_journal_begin(f->journal, &action, &f->message), 0);
}

static void finish(struct fixture *f, uint64_t number, const char *report, size_t length)
{
	struct hf_journal_result result = {.outcome = 2,
					   .error = 9,
					   .reason = "too late",
					   .report = (const uint8_t *)report,
					   .report_length = length};

	assert_int_equal(hf_journal_finish(f->journal, number, &result, &f->message), 0);
}

static enum hf_journal_verdict judge(struct fixture *f, uint64_t number, bool sent_before)
{
	struct hf_journal_action action = action_of(number);

	return hf_journal_judge(hf_journal_table(f->journal), number, action.sequence, action.hash,
				sent_before);
}

static const struct hf_journal_action *find(struct fixture *f, uint64_t number)
{
	return hf_journal_table_find(hf_journal_table(f->journal), number);
}

static void test_what_was_kept_is_found_again(void **state)
{
	struct fixture *f = *state;

	begin(f, 1);
	finish(f, 1, "report", 6);
	begin(f, 2);
	reopen(f);
	assert_int_equal(hf_journal_table(f->journal)->count, 2);
	assert_true(find(f, 1)->ended);
	assert_int_equal(find(f, 1)->result.outcome, 2);
	assert_int_equal(find(f, 1)->result.error, 9);
	assert_string_equal(find(f, 1)->result.reason, "too late");
	assert_int_equal(find(f, 1)->result.report_length, 6);
	assert_memory_equal(find(f, 1)->result.report, "report", 6);
	assert_false(find(f, 2)->ended);
	assert_int_equal(find(f, 2)->mark_length, 4);
	assert_memory_equal(find(f, 2)->mark, "mark", 4);
	assert_false(hf_journal_table(f->journal)->lost);
}

static void test_nothing_is_begun_twice(void **state)
{
	struct fixture *f = *state;
	uint8_t other[HF_JOURNAL_HASH_BYTES] = {0};

	assert_int_equal(judge(f, 5, false), HF_JOURNAL_FRESH);
	begin(f, 5);
	for (int again = 0; again < 2; again++) {
		assert_int_equal(judge(f, 5, true), HF_JOURNAL_KNOWN);
		assert_int_equal(judge(f, 4, false), HF_JOURNAL_STALE);
		assert_int_equal(
			hf_journal_judge(hf_journal_table(f->journal), 5, 200, other, false),
			HF_JOURNAL_OTHER);
		/* A new number under an old sequence is a replay too. */
		assert_int_equal(
			hf_journal_judge(hf_journal_table(f->journal), 9, 105, other, false),
			HF_JOURNAL_STALE);
		assert_int_equal(judge(f, 6, true), HF_JOURNAL_FRESH);
		reopen(f);
	}
}

static void test_what_is_forgotten_stays_done(void **state)
{
	struct fixture *f = *state;

	begin(f, 1);
	finish(f, 1, "", 0);
	begin(f, 2);
	assert_int_equal(hf_journal_forget(f->journal, 2, &f->message), 0);
	for (int again = 0; again < 2; again++) {
		assert_null(find(f, 1));
		assert_non_null(find(f, 2)); /* it has not ended */
		assert_int_equal(judge(f, 1, false), HF_JOURNAL_STALE);
		assert_int_equal(judge(f, 2, false), HF_JOURNAL_KNOWN);
		reopen(f);
	}
	finish(f, 2, "", 0);
	assert_int_equal(hf_journal_forget(f->journal, 3, &f->message), 0);
	reopen(f);
	assert_int_equal(hf_journal_table(f->journal)->count, 0);
	assert_int_equal(judge(f, 3, false), HF_JOURNAL_STALE);
	assert_int_equal(judge(f, 4, false), HF_JOURNAL_FRESH);
}

/* Bounds: it takes no more than so many, and its file does not grow with the history. */
static void test_it_is_bounded(void **state)
{
	struct fixture *f = *state;
	char *report = calloc(1, HF_JOURNAL_REPORT_MAX);
	struct stat info;

	for (uint64_t i = 1; i <= HF_JOURNAL_ACTIONS_MAX; i++)
		begin(f, i);
	assert_int_equal(judge(f, 1000, false), HF_JOURNAL_FULL);
	for (uint64_t i = 1; i <= HF_JOURNAL_ACTIONS_MAX; i++)
		finish(f, i, report, HF_JOURNAL_REPORT_MAX);
	reopen(f);
	assert_int_equal(hf_journal_table(f->journal)->count, HF_JOURNAL_ACTIONS_MAX);
	assert_int_equal(hf_journal_forget(f->journal, HF_JOURNAL_ACTIONS_MAX, &f->message), 0);
	for (uint64_t i = 100; i < 400; i++) {
		begin(f, i);
		finish(f, i, report, 4096);
		assert_int_equal(hf_journal_forget(f->journal, i, &f->message), 0);
	}
	assert_int_equal(stat(f->path, &info), 0);
	assert_true(info.st_size < 1 << 20);
	reopen(f);
	assert_int_equal(judge(f, 399, false), HF_JOURNAL_STALE);
	assert_int_equal(judge(f, 400, false), HF_JOURNAL_FRESH);
	free(report);
}

static void write_prefix(struct fixture *f, const uint8_t *bytes, size_t length)
{
	assert_int_equal(hf_file_replace(f->path, bytes, length, 0600, &f->message), 0);
}

/* Power is cut at every byte of an append: the record is there whole or not at all, and what was
 * kept before it is there always. */
static void test_power_cut_at_every_byte(void **state)
{
	struct fixture *f = *state;
	uint8_t *bytes;
	size_t length, before;
	struct stat info;

	begin(f, 1);
	assert_int_equal(stat(f->path, &info), 0);
	before = (size_t)info.st_size;
	finish(f, 1, "report", 6);
	hf_journal_close(f->journal);
	assert_int_equal(hf_file_read(f->path, 1 << 20, &bytes, &length, &f->message), 0);
	assert_true(length > before);
	for (size_t cut = before; cut <= length; cut++) {
		write_prefix(f, bytes, cut);
		open_journal(f, 0);
		assert_false(hf_journal_table(f->journal)->lost);
		assert_non_null(find(f, 1));
		assert_int_equal(find(f, 1)->ended, cut == length);
		begin(f, 2); /* and it goes on from there */
		reopen(f);
		assert_int_equal(hf_journal_table(f->journal)->count, 2);
		hf_journal_close(f->journal);
	}
	free(bytes);
	open_journal(f, 0);
}

/* Any byte of it is damaged: nothing that was in it is ever taken for new. Only the last record may
 * look as if it had been torn. */
static void test_damage_makes_nothing_new(void **state)
{
	struct fixture *f = *state;
	uint8_t *bytes;
	size_t length, last;
	struct stat info;

	begin(f, 1);
	finish(f, 1, "", 0);
	begin(f, 2);
	assert_int_equal(stat(f->path, &info), 0);
	last = (size_t)info.st_size;
	finish(f, 2, "", 0);
	hf_journal_close(f->journal);
	assert_int_equal(hf_file_read(f->path, 1 << 20, &bytes, &length, &f->message), 0);
	for (size_t at = 0; at < last; at++) {
		bytes[at] ^= 0x10;
		write_prefix(f, bytes, length);
		open_journal(f, 102);
		for (uint64_t number = 1; number <= 2; number++) {
			enum hf_journal_verdict verdict = judge(f, number, true);

			assert_true(verdict == HF_JOURNAL_KNOWN || verdict == HF_JOURNAL_UNKNOWN);
		}
		assert_int_equal(judge(f, 3, false), HF_JOURNAL_FRESH);
		hf_journal_close(f->journal);
		bytes[at] ^= 0x10;
	}
	free(bytes);
	write_prefix(f, (const uint8_t *)"nonsense", 8);
	open_journal(f, 0);
	/* Nothing is known at all: what may have come before is unknown until something new came.
	 */
	assert_int_equal(judge(f, 2, true), HF_JOURNAL_UNKNOWN);
	reopen(f);
	assert_int_equal(judge(f, 2, true), HF_JOURNAL_UNKNOWN);
	begin(f, 3);
	assert_int_equal(judge(f, 2, true), HF_JOURNAL_UNKNOWN);
	assert_int_equal(judge(f, 4, true), HF_JOURNAL_FRESH);
}

/* The last record is whole and damaged: what it had begun may have been done, and is not taken for
 * what a cut write had only begun to say. */
static void test_a_damaged_last_record_is_not_torn(void **state)
{
	struct fixture *f = *state;
	uint8_t *bytes;
	size_t length, before;
	struct stat info;

	begin(f, 1);
	finish(f, 1, "", 0);
	assert_int_equal(stat(f->path, &info), 0);
	before = (size_t)info.st_size;
	begin(f, 2);
	hf_journal_close(f->journal);
	assert_int_equal(hf_file_read(f->path, 1 << 20, &bytes, &length, &f->message), 0);
	for (size_t at = before; at < length; at++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			bytes[at] ^= (uint8_t)(1u << bit);
			write_prefix(f, bytes, length);
			open_journal(f, 0);
			assert_int_equal(judge(f, 2, true), HF_JOURNAL_UNKNOWN);
			assert_int_equal(judge(f, 1, true), HF_JOURNAL_KNOWN);
			hf_journal_close(f->journal);
			bytes[at] ^= (uint8_t)(1u << bit);
		}
	}
	free(bytes);
	open_journal(f, 0);
}

/* A folder that lost its journal but not its document. */
static void test_a_missing_journal_makes_nothing_new(void **state)
{
	struct fixture *f = *state;

	begin(f, 1);
	finish(f, 1, "", 0);
	hf_journal_close(f->journal);
	assert_int_equal(unlink(f->path), 0);
	open_journal(f, 102);
	assert_int_equal(judge(f, 1, false), HF_JOURNAL_UNKNOWN);
	assert_int_equal(judge(f, 3, true), HF_JOURNAL_UNKNOWN);
	assert_int_equal(judge(f, 3, false), HF_JOURNAL_FRESH);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_what_was_kept_is_found_again, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nothing_is_begun_twice, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_is_forgotten_stays_done, setup, teardown),
		cmocka_unit_test_setup_teardown(test_it_is_bounded, setup, teardown),
		cmocka_unit_test_setup_teardown(test_power_cut_at_every_byte, setup, teardown),
		cmocka_unit_test_setup_teardown(test_damage_makes_nothing_new, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_damaged_last_record_is_not_torn, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_missing_journal_makes_nothing_new, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
