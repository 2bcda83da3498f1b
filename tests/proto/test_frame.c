/* Promises of frames and parts: bytes in any pieces give the same frames; what is oversized, cut
 * short, replayed, skipped or out of order is refused with a reason, and holds no more memory than
 * the limit (invariant 9). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "proto/frame.h"

struct bytes {
	uint8_t *data;
	size_t length;
};

static int append(void *context, const uint8_t *bytes, size_t length)
{
	struct bytes *all = context;

	all->data = realloc(all->data, all->length + length);
	memcpy(all->data + all->length, bytes, length);
	all->length += length;
	return 0;
}

static struct bytes two_messages(void)
{
	struct bytes all = {0};

	assert_int_equal(hf_message_write(5, 1, (const uint8_t *)"hello", 5, append, &all), 0);
	assert_int_equal(hf_message_write(5, 2, NULL, 0, append, &all), 0);
	return all;
}

/* Feeds two pieces; counts frames. */
static unsigned feed_split(const struct bytes *all, size_t cut)
{
	struct hf_frame_reader reader = {0};
	unsigned frames = 0;

	for (int half = 0; half < 2; half++) {
		size_t start = half ? cut : 0, end = half ? all->length : cut;

		while (start < end) {
			Holdfast__Frame *frame;
			size_t taken;
			int found = hf_frame_read(&reader, all->data + start, end - start, &taken,
						  &frame);

			assert_true(found >= 0);
			start += taken;
			if (found != 1)
				continue;
			assert_int_equal(frame->epoch, 5);
			assert_int_equal(frame->message, ++frames);
			assert_int_equal(frame->body.len, frames == 1 ? 5 : 0);
			hf_frame_free(frame);
		}
	}
	assert_null(reader.frame); /* nothing is held between frames */
	return frames;
}

static void test_every_split(void **state)
{
	struct bytes all = two_messages();

	(void)state;
	for (size_t cut = 0; cut <= all.length; cut++)
		assert_int_equal(feed_split(&all, cut), 2);
	free(all.data);
}

static void test_cut_short_is_never_a_frame(void **state)
{
	struct bytes all = two_messages();
	size_t first = 4 + hf_get_be32(all.data);

	(void)state;
	for (size_t length = 0; length < first; length++) {
		struct hf_frame_reader reader = {0};
		Holdfast__Frame *frame;
		size_t taken;

		assert_int_equal(hf_frame_read(&reader, all.data, length, &taken, &frame), 0);
		assert_int_equal(taken, length);
		hf_frame_reader_end(&reader);
	}
	free(all.data);
}

static void test_lengths_out_of_bounds(void **state)
{
	static const uint32_t lengths[] = {0, HF_FRAME_MAX + 1, 0x7fffffff, UINT32_MAX};

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct hf_frame_reader reader = {0};
		Holdfast__Frame *frame;
		uint8_t bytes[4];
		size_t taken;

		hf_put_be32(bytes, lengths[i]);
		assert_int_equal(hf_frame_read(&reader, bytes, 4, &taken, &frame), HF_EPROTO);
		hf_frame_reader_end(&reader);
	}
}

static void test_content_that_is_no_frame(void **state)
{
	static const uint8_t bytes[] = {0, 0, 0, 3, 0xff, 0xff, 0xff};
	struct hf_frame_reader reader = {0};
	Holdfast__Frame *frame;
	size_t taken;

	(void)state;
	assert_int_equal(hf_frame_read(&reader, bytes, sizeof bytes, &taken, &frame), HF_EPROTO);
	hf_frame_reader_end(&reader);
}

static void test_biggest_frame_fits(void **state)
{
	static uint8_t body[HF_FRAME_BODY_MAX];
	struct bytes all = {0};

	(void)state;
	assert_int_equal(hf_message_write(UINT64_MAX, UINT64_MAX, body, sizeof body, append, &all),
			 0);
	assert_true(hf_get_be32(all.data) <= HF_FRAME_MAX);
	free(all.data);
}

/* ---- Parts ---- */

static int read_part(struct hf_message_reader *reader, uint64_t epoch, uint64_t message,
		     uint32_t part, uint32_t parts, size_t length)
{
	Holdfast__Frame frame = HOLDFAST__FRAME__INIT;
	const uint8_t *body;
	const char *reason = NULL;
	uint8_t *data = calloc(1, length + 1);
	size_t body_length;
	int found;

	frame.epoch = epoch;
	frame.message = message;
	frame.part = part;
	frame.parts = parts;
	frame.body = (ProtobufCBinaryData){length, data};
	found = hf_message_read(reader, &frame, &body, &body_length, &reason);
	free(data);
	assert_true(found >= 0 || reason);
	return found == 1 ? (int)body_length : found;
}

static void test_parts_make_a_message(void **state)
{
	struct hf_message_reader reader = {.message_max_bytes = 100};

	(void)state;
	assert_int_equal(read_part(&reader, 0, 1, 0, 3, 10), 0);
	assert_int_equal(read_part(&reader, 0, 1, 1, 3, 20), 0);
	assert_int_equal(read_part(&reader, 0, 1, 2, 3, 5), 35);
	assert_int_equal(read_part(&reader, 0, 2, 0, 1, 7), 7);
	hf_message_reader_end(&reader);
}

struct bad_part {
	uint64_t epoch, message;
	uint32_t part, parts;
	size_t length;
	int err;
};

static void test_bad_parts(void **state)
{
	/* What may not follow a complete message 1 and part 0 of 3 of message 2, epoch 4. */
	static const struct bad_part bad[] = {
		{4, 1, 0, 1, 1, HF_EPROTO},    /* replayed */
		{4, 2, 0, 3, 1, HF_EPROTO},    /* the same part again */
		{4, 2, 2, 3, 1, HF_EPROTO},    /* a part skipped */
		{4, 2, 1, 2, 1, HF_EPROTO},    /* another number of parts */
		{5, 2, 1, 3, 1, HF_EPROTO},    /* another epoch */
		{4, 3, 0, 1, 1, HF_EPROTO},    /* another message between parts */
		{4, 2, 1, 0, 1, HF_EPROTO},    /* no parts */
		{4, 2, 1, 3, 100, HF_ETOOBIG}, /* past the limit */
		{4, 2, 3, 3, 1, HF_EPROTO},    {4, 0, 1, 3, 1, HF_EPROTO},
	};

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct hf_message_reader reader = {.message_max_bytes = 100};

		assert_int_equal(read_part(&reader, 4, 1, 0, 1, 3), 3);
		assert_int_equal(read_part(&reader, 4, 2, 0, 3, 10), 0);
		assert_int_equal(read_part(&reader, bad[i].epoch, bad[i].message, bad[i].part,
					   bad[i].parts, bad[i].length),
				 bad[i].err);
		hf_message_reader_end(&reader);
	}
}

static void test_too_many_parts(void **state)
{
	struct hf_message_reader reader = {.message_max_bytes = 100};

	(void)state;
	assert_int_equal(read_part(&reader, 0, 1, 0, HF_FRAME_PARTS_MAX + 1, 1), HF_EPROTO);
	hf_message_reader_end(&reader);
}

static void test_big_message_round_trip(void **state)
{
	size_t length = 3 * HF_FRAME_BODY_MAX + 17, at = 0;
	struct hf_message_reader messages = {.message_max_bytes = 1 << 20};
	struct hf_frame_reader frames = {0};
	uint8_t *body = malloc(length);
	struct bytes all = {0};
	const uint8_t *got = NULL;
	size_t got_length = 0;
	int complete = 0;

	(void)state;
	for (size_t i = 0; i < length; i++)
		body[i] = (uint8_t)(i * 7 >> 4);
	assert_int_equal(hf_message_write(9, 1, body, length, append, &all), 0);
	while (at < all.length) {
		Holdfast__Frame *frame;
		const char *reason;
		size_t taken, piece = all.length - at < 1000 ? all.length - at : 1000;

		if (hf_frame_read(&frames, all.data + at, piece, &taken, &frame) == 1) {
			complete += hf_message_read(&messages, frame, &got, &got_length, &reason);
			hf_frame_free(frame);
		}
		at += taken;
	}
	assert_int_equal(complete, 1);
	assert_int_equal(got_length, length);
	assert_memory_equal(got, body, length);
	hf_message_reader_end(&messages);
	free(body);
	free(all.data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_split),
		cmocka_unit_test(test_cut_short_is_never_a_frame),
		cmocka_unit_test(test_lengths_out_of_bounds),
		cmocka_unit_test(test_content_that_is_no_frame),
		cmocka_unit_test(test_biggest_frame_fits),
		cmocka_unit_test(test_parts_make_a_message),
		cmocka_unit_test(test_bad_parts),
		cmocka_unit_test(test_too_many_parts),
		cmocka_unit_test(test_big_message_round_trip),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
