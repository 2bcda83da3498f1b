/* base/err.h: one list gives text, name, exit status and sense of every error, and numbers stay. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <errno.h>
#include <cmocka.h>

#include "base/err.h"

/* The numbers are on the wire and on disk: this copy of them must never need a change. */
static void test_numbers_stay(void **state)
{
	static const struct {
		int err, number;
	} fixed[] = {
		{HF_EINVAL, 1},    {HF_ENOMEM, 2},   {HF_EIO, 3},           {HF_ENOSPC, 4},
		{HF_ECORRUPT, 5},  {HF_ENOENT, 6},   {HF_EEXIST, 7},        {HF_EBUSY, 8},
		{HF_ETIMEDOUT, 9}, {HF_EACCES, 10},  {HF_EFENCED, 11},      {HF_ENOTREADY, 12},
		{HF_EPROTO, 13},   {HF_ETOOBIG, 14}, {HF_ECANCELED, 15},    {HF_EMISCOMPARE, 16},
		{HF_ERANGE, 17},   {HF_ECONN, 18},   {HF_EUNSUPPORTED, 19}, {HF_ESTALE, 20},
		{HF_EAUTH, 21},    {HF_EAGAIN, 22},  {HF_EUNKNOWN, 23},     {HF_EBADEXTENT, 24},
	};

	(void)state;
	for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++)
		assert_int_equal(fixed[i].err, -fixed[i].number);
}

static void test_every_error_has_text_name_and_exit_status(void **state)
{
	(void)state;
#define X(name, number, exit_status, key, asc, text)                                               \
	assert_string_equal(hf_err_name(-(number)), #name);                                        \
	assert_string_equal(hf_err_text(-(number)), text);                                         \
	assert_int_equal(hf_err_exit_status(-(number)), exit_status);                              \
	assert_in_range(exit_status, 1, 9);
	HF_ERRORS(X)
#undef X
	assert_string_equal(hf_err_name(HF_OK), "OK");
	assert_int_equal(hf_err_exit_status(HF_OK), 0);
	assert_string_equal(hf_err_text(-9999), "unknown error");
	assert_string_equal(hf_err_name(-9999), "UNKNOWN");
	assert_int_equal(hf_err_exit_status(-9999), 1);
	assert_string_equal(hf_err_text(5), "unknown error");
}

/* SPC-4 table 43: MEDIUM ERROR for lost data, NOT READY while the store is away, ILLEGAL REQUEST
 * for an LBA out of range, MISCOMPARE; anything unknown is a HARDWARE ERROR. */
static void test_sense_tells_the_initiator_the_truth(void **state)
{
	uint16_t asc;
	uint8_t key;

	(void)state;
	hf_err_sense(HF_ECORRUPT, &key, &asc);
	assert_int_equal(key, 0x03);
	assert_int_equal(asc, 0x1100);
	hf_err_sense(HF_ENOTREADY, &key, &asc);
	assert_int_equal(key, 0x02);
	hf_err_sense(HF_ERANGE, &key, &asc);
	assert_int_equal(key, 0x05);
	assert_int_equal(asc, 0x2100);
	hf_err_sense(HF_EMISCOMPARE, &key, &asc);
	assert_int_equal(key, 0x0e);
	hf_err_sense(-9999, &key, &asc);
	assert_int_equal(key, 0x04);
	hf_err_sense(HF_OK, &key, &asc);
	assert_int_equal(key, 0);
	assert_int_equal(asc, 0);
}

static void test_errno_maps_to_the_nearest(void **state)
{
	(void)state;
	assert_int_equal(hf_err_from_errno(0), HF_OK);
	assert_int_equal(hf_err_from_errno(ENOSPC), HF_ENOSPC);
	assert_int_equal(hf_err_from_errno(EPERM), HF_EACCES);
	assert_int_equal(hf_err_from_errno(ECONNRESET), HF_ECONN);
	assert_int_equal(hf_err_from_errno(ENOTTY), HF_EIO);
}

static void test_messages_gain_context_and_never_overflow(void **state)
{
	struct hf_errmsg message = {"stale"};
	char longest[2 * sizeof message.text];

	(void)state;
	assert_int_equal(hf_fail(NULL, HF_EIO, "nowhere"), HF_EIO);
	assert_int_equal(hf_fail_in(NULL, HF_EIO, "nowhere"), HF_EIO);
	assert_int_equal(hf_fail(&message, HF_ENOENT, "no %s", "file"), HF_ENOENT);
	assert_int_equal(hf_fail_in(&message, HF_ENOENT, "opening %d", 7), HF_ENOENT);
	assert_string_equal(message.text, "opening 7: no file");
	message.text[0] = '\0';
	hf_fail_in(&message, HF_EIO, "reading");
	assert_string_equal(message.text, "reading: input/output error");
	memset(longest, 'x', sizeof longest);
	longest[sizeof longest - 1] = '\0';
	hf_fail(&message, HF_EIO, "%s", longest);
	hf_fail_in(&message, HF_EIO, "%s", longest);
	assert_int_equal(strlen(message.text), sizeof message.text - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers_stay),
		cmocka_unit_test(test_every_error_has_text_name_and_exit_status),
		cmocka_unit_test(test_sense_tells_the_initiator_the_truth),
		cmocka_unit_test(test_errno_maps_to_the_nearest),
		cmocka_unit_test(test_messages_gain_context_and_never_overflow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
