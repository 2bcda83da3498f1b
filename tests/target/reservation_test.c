/* The rules of persistent reservations (SPC-4 5.9), without tgt: what target/reservations.py does
 * not reach, and the form in which they are kept, which must survive any bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "target/reservation.h"

static struct hf_pr pr;
static struct hf_pr_outcome outcome;

static struct hf_pr_port port(unsigned number)
{
	struct hf_pr_port made;
	char name[64];

	snprintf(name, sizeof name, "iqn.2026-11.example:%u", number);
	assert_true(hf_pr_port_make(&made, name, (const uint8_t *)"\x80\0\0\0\0\1"));
	return made;
}

static enum hf_pr_verdict out(unsigned from, enum hf_pr_action action, uint64_t key,
			      uint64_t action_key, uint8_t type)
{
	struct hf_pr_command command = {
		.action = action, .key = key, .action_key = action_key, .type = type};
	struct hf_pr_port initiator = port(from);

	return hf_pr_out(&pr, &initiator, &command, &outcome);
}

static int setup(void **state)
{
	(void)state;
	memset(&pr, 0, sizeof pr);
	return 0;
}

static void names_have_a_limit(void **state)
{
	static char name[300];
	struct hf_pr_port made;

	(void)state;
	memset(name, 'x', sizeof name - 1);
	assert_false(hf_pr_port_make(&made, name, (const uint8_t *)"\0\0\0\0\0\0"));
	assert_false(hf_pr_port_make(&made, "", (const uint8_t *)"\0\0\0\0\0\0"));
	name[223] = '\0'; /* RFC 7143, 4.2.7.1 */
	assert_true(hf_pr_port_make(&made, name, (const uint8_t *)"\x40\x01\xab\0\0\xff"));
	assert_int_equal(made.bytes % 4, 0);
	assert_string_equal((const char *)made.id + 4 + 223, ",i,0x4001ab0000ff");
}

static void registrants_have_a_limit(void **state)
{
	(void)state;
	for (unsigned i = 0; i < HF_PR_REGISTRANTS_MAX; i++)
		assert_int_equal(out(i, HF_PR_REGISTER, 0, i + 1, 0), HF_PR_GOOD);
	assert_int_equal(out(500, HF_PR_REGISTER, 0, 1, 0), HF_PR_NO_RESOURCES);
	assert_false(outcome.changed);
	assert_int_equal(out(0, HF_PR_RESERVE, 1, 0, HF_PR_WRITE_EXCLUSIVE), HF_PR_GOOD);
	/* The holder keeps its place when others go. */
	assert_int_equal(out(127, HF_PR_RESERVE, 128, 0, 1), HF_PR_CONFLICT);
	for (unsigned i = 1; i < HF_PR_REGISTRANTS_MAX; i++)
		assert_int_equal(out(i, HF_PR_REGISTER, i + 1, 0, 0), HF_PR_GOOD);
	assert_int_equal(pr.count, 1);
	assert_int_equal(pr.type, HF_PR_WRITE_EXCLUSIVE);
}

static void the_holder_is_found_after_others_went(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++)
		out(i, HF_PR_REGISTER, 0, i + 1, 0);
	out(2, HF_PR_RESERVE, 3, 0, HF_PR_EXCLUSIVE_ACCESS);
	out(0, HF_PR_REGISTER, 1, 0, 0);
	assert_int_equal(pr.registrants[pr.holder].key, 3);
	/* PREEMPT of one that is not the holder leaves the reservation. */
	assert_int_equal(out(1, HF_PR_PREEMPT, 2, 4, HF_PR_WRITE_EXCLUSIVE), HF_PR_GOOD);
	assert_int_equal(pr.type, HF_PR_EXCLUSIVE_ACCESS);
	assert_int_equal(pr.registrants[pr.holder].key, 3);
	assert_int_equal(outcome.attention[2], HF_PR_REGISTRATIONS_PREEMPTED);
	assert_false(outcome.aborted[2]);
	/* PREEMPT AND ABORT of the holder takes it. */
	assert_int_equal(out(1, HF_PR_PREEMPT_AND_ABORT, 2, 3, HF_PR_WRITE_EXCLUSIVE), HF_PR_GOOD);
	assert_true(outcome.aborted[1] && !outcome.aborted[0]);
	assert_int_equal(pr.count, 1);
	assert_int_equal(pr.registrants[pr.holder].key, 2);
}

static void all_registrants_are_preempted_with_key_0(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 3; i++)
		out(i, HF_PR_REGISTER, 0, i + 1, 0);
	out(0, HF_PR_RESERVE, 1, 0, HF_PR_WRITE_EXCLUSIVE_ALL);
	assert_int_equal(out(1, HF_PR_PREEMPT, 2, 0, 2), HF_PR_INVALID_CDB);
	assert_int_equal(out(1, HF_PR_PREEMPT, 2, 0, HF_PR_WRITE_EXCLUSIVE), HF_PR_GOOD);
	assert_int_equal(pr.count, 1);
	assert_int_equal(pr.type, HF_PR_WRITE_EXCLUSIVE);
	assert_int_equal(pr.holder, 0);
}

static void parameters_are_checked(void **state)
{
	uint8_t cdb[10] = {0x5f, HF_PR_REGISTER, [8] = 24}, list[24 + 64] = {0};
	struct hf_pr_command command;
	struct hf_pr_port to = port(1);

	(void)state;
	assert_int_equal(hf_pr_parse_out(cdb, list, 24, &command), HF_PR_GOOD);
	assert_int_equal(hf_pr_parse_out(cdb, list, 23, &command), HF_PR_LIST_LENGTH);
	cdb[8] = 25;
	assert_int_equal(hf_pr_parse_out(cdb, list, sizeof list, &command), HF_PR_LIST_LENGTH);
	cdb[8] = 24;
	list[20] = 0x08; /* SPEC_I_PT */
	assert_int_equal(hf_pr_parse_out(cdb, list, 24, &command), HF_PR_INVALID_PARAMETER);
	list[20] = 0;
	cdb[1] = 8;
	assert_int_equal(hf_pr_parse_out(cdb, list, 24, &command), HF_PR_INVALID_CDB);
	cdb[1] = HF_PR_REGISTER_AND_MOVE;
	list[19] = 1;
	hf_put_be32(list + 20, to.bytes);
	memcpy(list + 24, to.id, to.bytes);
	cdb[8] = (uint8_t)(24 + to.bytes);
	assert_int_equal(hf_pr_parse_out(cdb, list, sizeof list, &command), HF_PR_GOOD);
	assert_memory_equal(&command.to, &to, sizeof to);
	hf_put_be32(list + 20, UINT32_MAX);
	assert_int_equal(hf_pr_parse_out(cdb, list, sizeof list, &command),
			 HF_PR_INVALID_PARAMETER);
}

/* ---- To be kept ---- */

static void what_is_kept_comes_back(void **state)
{
	static uint8_t bytes[HF_PR_ENCODED_MAX];
	static struct hf_pr back;
	size_t length;

	(void)state;
	for (unsigned i = 0; i < HF_PR_REGISTRANTS_MAX; i++)
		out(i, HF_PR_REGISTER, 0, i + 1, 0);
	out(100, HF_PR_RESERVE, 101, 0, HF_PR_EXCLUSIVE_ACCESS_REGISTRANTS);
	length = hf_pr_encode(&pr, bytes);
	assert_true(hf_pr_decode(bytes, length, &back));
	assert_memory_equal(&back, &pr, sizeof pr);
	for (size_t cut = 1; cut < length; cut++)
		assert_false(hf_pr_decode(bytes, cut, &back));
	assert_true(hf_pr_decode(bytes, 0, &back) && back.count == 0);
}

static void any_bytes_are_refused_or_sound(void **state)
{
	static uint8_t whole[HF_PR_ENCODED_MAX], answer[HF_PR_IN_BYTES_MAX];
	static struct hf_pr back;
	uint64_t noise = 88172645463325252ull;
	size_t length;

	(void)state;
	for (unsigned i = 0; i < 5; i++)
		out(i, HF_PR_REGISTER, 0, i + 1, 0);
	out(3, HF_PR_RESERVE, 4, 0, HF_PR_WRITE_EXCLUSIVE);
	length = hf_pr_encode(&pr, whole);
	for (unsigned round = 0; round < 200000; round++) {
		uint8_t *bytes = malloc(length); /* its end is watched in the asan build */

		memcpy(bytes, whole, length);
		for (unsigned i = 0; i <= round % 3; i++) {
			noise ^= noise << 13;
			noise ^= noise >> 7;
			noise ^= noise << 17;
			bytes[noise % (round % 2 ? length : 30)] ^= (uint8_t)(noise >> 32);
		}
		if (hf_pr_decode(bytes, length - noise % 2, &back)) {
			assert_true(back.type == HF_PR_NONE || back.holder < back.count);
			for (uint8_t action = 0; action < 4; action++)
				assert_true(hf_pr_in(&back, action, answer) <= sizeof answer);
		}
		free(bytes);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, setup)
	const struct CMUnitTest tests[] = {
		TEST(names_have_a_limit),
		TEST(registrants_have_a_limit),
		TEST(the_holder_is_found_after_others_went),
		TEST(all_registrants_are_preempted_with_key_0),
		TEST(parameters_are_checked),
		TEST(what_is_kept_comes_back),
		TEST(any_bytes_are_refused_or_sound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
