/* volumed trusts nothing that a shim says (DESIGN, section 5; invariant 9): each lie is answered
 * with an error or ends the liar's connection, volumed neither stops nor waits nor leaks, and
 * another ring is served as before. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "tests/ring/ring_fixture.h"

/* ---- Messages ---- */

static void messages_of_another_size(void **state)
{
	static const size_t sizes[] = {1, 47, 49, 4096, 65536};
	uint8_t *bytes = calloc(1, 65536);

	(void)state;
	bytes[0] = HF_RING_HELLO;
	for (unsigned i = 0; i < 5; i++) {
		struct hostile hostile;

		hostile_connect(&hostile);
		hostile_send(&hostile, bytes, sizes[i], (int[]){hostile.memory.memfd}, 1);
		assert_true(hostile_is_dropped(&hostile));
		hostile_close(&hostile);
	}
	free(bytes);
}

static void messages_out_of_place(void **state)
{
	(void)state;
	for (unsigned lie = 0; lie < 9; lie++) {
		struct hostile hostile;

		if (lie < 2)
			hostile_connect(&hostile);
		else
			hostile_open(&hostile);
		switch (lie) {
		case 0:
			hostile_tell(&hostile, HF_RING_BIND, HOSTILE_VOLUME);
			break;
		case 1:
			hostile_tell(&hostile, 77, 0);
			break;
		case 2:
			hostile_tell(&hostile, HF_RING_HELLO, 0);
			break;
		case 3:
			hostile_tell(&hostile, HF_RING_BIND, HOSTILE_VOLUME); /* twice */
			break;
		case 4:
			hostile_tell(&hostile, HF_RING_BIND, 0);
			break;
		case 5:
			hostile_tell(&hostile, HF_RING_UNBIND, HONEST_VOLUME); /* not its */
			break;
		case 6:
			hostile_tell(&hostile, HF_RING_WELCOME, 0);
			break;
		case 7:
			hostile_tell(&hostile, 0xffffffff, 0);
			break;
		case 8: {
			struct hf_ring_message message = {.type = HF_RING_RESUME};

			hostile_send(&hostile, &message, sizeof message,
				     (int[]){hostile.memory.memfd}, 1);
		}
		}
		assert_true(hostile_is_dropped(&hostile));
		hostile_close(&hostile);
	}
}

static void more_volumes_than_a_ring_has(void **state)
{
	struct hostile hostile;

	(void)state;
	hostile_open(&hostile);
	for (unsigned i = 0; i < HF_RING_VOLUMES_MAX; i++)
		hostile_tell(&hostile, HF_RING_BIND, 0x10000 + i);
	assert_true(hostile_is_dropped(&hostile));
	hostile_close(&hostile);
}

static void another_rings_volume(void **state)
{
	struct hf_ring_message message;
	struct hostile hostile;

	(void)state;
	hostile_greet(&hostile);
	assert_true(hostile_hears(&hostile, &message));
	hostile_tell(&hostile, HF_RING_BIND, HONEST_VOLUME);
	hostile_tell(&hostile, HF_RING_BIND, HOSTILE_VOLUME);
	assert_true(hostile_hears(&hostile, &message));
	assert_int_equal(message.type, HF_RING_BOUND);
	assert_true(message.volume == HOSTILE_VOLUME); /* the other one is held: not yet */
	for (uint32_t handle = 0; handle < 4; handle++) {
		if (handle == message.handle)
			continue;
		assert_int_equal(
			hostile_asks(&hostile, (struct hf_ring_submission){.op = HF_OP_READ,
									   .volume = handle,
									   .length = 4096,
									   .data_length = 4096}),
			HF_EACCES);
	}
	hostile_close(&hostile);
}

static void it_does_not_read_its_messages(void **state)
{
	struct hostile hostile;

	(void)state;
	hostile_open(&hostile);
	for (unsigned i = 0; i < 4000; i++) {
		memory_core_attach(ring_fixture_core(), HOSTILE_VOLUME, VOLUME_BYTES, i % 2);
		ring_fixture_turn();
	}
	assert_int_equal(hf_ring_host_rings(ring_fixture_host()), 1);
	hostile_close(&hostile);
}

static void many_who_connect_and_say_nothing(void **state)
{
	static struct hostile silent[100], last;

	(void)state;
	for (unsigned i = 0; i < 100; i++)
		hostile_connect(&silent[i]);
	hostile_open(&last); /* there is room for who has something to say */
	hostile_close(&last);
	for (unsigned i = 0; i < 100; i++)
		hostile_close(&silent[i]);
}

static struct hf_ring_header *header_of(struct hostile *hostile)
{
	return (struct hf_ring_header *)hostile->memory.base;
}

/* ---- Descriptors ---- */

static struct hf_ring_submission good_read(const struct hostile *hostile)
{
	return (struct hf_ring_submission){
		.op = HF_OP_READ, .volume = hostile->handle, .length = 4096, .data_length = 4096};
}

#define ASK(expected, ...)                                                                         \
	do {                                                                                       \
		struct hf_ring_submission s = good_read(&hostile);                                 \
		__VA_ARGS__;                                                                       \
		assert_int_equal(hostile_asks(&hostile, s), expected);                             \
	} while (0)

static void descriptors_that_lie(void **state)
{
	struct hostile hostile;

	(void)state;
	hostile_open(&hostile);
	ASK(0, (void)s);
	ASK(HF_EACCES, s.volume = HF_RING_VOLUMES_MAX);
	ASK(HF_EACCES, s.volume = UINT32_MAX);
	ASK(HF_EUNSUPPORTED, s.op = 0);
	ASK(HF_EUNSUPPORTED, s.op = HF_OP_RECALL + 1);
	ASK(HF_EUNSUPPORTED, s.op = UINT32_MAX);
	ASK(HF_EUNSUPPORTED, s.flags = 4);
	ASK(HF_EINVAL, s.data_page = HF_RING_DATA_BYTES / HF_RING_PAGE);
	ASK(HF_EINVAL, s.data_page = UINT32_MAX);
	ASK(HF_EINVAL, s.data_page = HF_RING_DATA_BYTES / HF_RING_PAGE - 1; s.length = 8192;
	    s.data_length = 8192);
	ASK(HF_ETOOBIG, s.data_length = HF_RING_TRANSFER_MAX + 512; s.length = s.data_length);
	ASK(HF_ETOOBIG, s.data_length = UINT32_MAX);
	ASK(HF_EINVAL, s.offset = 1);
	ASK(HF_EINVAL, s.length = 511; s.data_length = 511);
	ASK(HF_EINVAL, s.data_length = 512);
	ASK(HF_EINVAL, s.length = 0; s.data_length = 0);
	ASK(HF_ERANGE, s.offset = UINT64_MAX - 511);
	ASK(HF_ERANGE, s.offset = VOLUME_BYTES);
	ASK(HF_ERANGE, s.op = HF_OP_ZERO; s.length = UINT64_MAX - 511; s.offset = 512;
	    s.data_length = 0);
	ASK(HF_EINVAL, s.op = HF_OP_WRITE_SAME; s.data_length = 1024);
	ASK(HF_EINVAL, s.op = HF_OP_WRITE_SAME; s.length = 4608);
	ASK(HF_EINVAL, s.op = HF_OP_COMPARE_AND_WRITE);
	ASK(HF_EINVAL, s.op = HF_OP_UNMAP; s.data_length = 15);
	ASK(HF_EINVAL, s.op = HF_OP_UNMAP; s.data_length = 16 * (HF_RING_UNMAP_RANGES_MAX + 1));
	ASK(HF_EINVAL, s.op = HF_OP_LBA_STATUS; s.data_length = 8);
	ASK(HF_EINVAL, s.op = HF_OP_VERIFY; s.length = HF_RING_TRANSFER_MAX + 512;
	    s.data_length = 0);
	ASK(HF_EINVAL, s.op = HF_OP_FLUSH);
	ASK(HF_EINVAL, s.op = HF_OP_KEEP);
	ASK(HF_EINVAL, s.op = HF_OP_KEEP; s.length = 0; s.data_length = HF_RING_KEEP_MAX + 1);
	ASK(HF_EINVAL, s.op = HF_OP_KEEP; s.length = 0; s.data_length = 0);
	ASK(HF_EINVAL, s.op = HF_OP_RECALL; s.length = 0);
	ASK(0, s.op = HF_OP_CANCEL; s.offset = 12345); /* of nothing */
	ASK(0, (void)s);
	header_of(&hostile)->oldest_unfinished = hostile.next_id + 5;
	ASK(HF_EINVAL, (void)s); /* it said that this one was answered */
	hostile_close(&hostile);
}

static void a_number_used_twice(void **state)
{
	struct hostile hostile;

	(void)state;
	hostile_open(&hostile);
	ASK(0, s.id = 5);
	ASK(HF_ECONN, s.id = 5);
	assert_true(hostile_is_dropped(&hostile));
	hostile_close(&hostile);
}

static void indices_that_lie(void **state)
{
	static const uint64_t lies[] = {HF_RING_ENTRIES + 1, UINT64_MAX, 1ull << 63, 0xdeadbeef};

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct hostile hostile;

		hostile_open(&hostile);
		header_of(&hostile)->submit_tail = lies[i];
		hf_shim_memory_wake(&hostile.memory);
		assert_true(hostile_is_dropped(&hostile));
		hostile_close(&hostile);
		hostile_open(&hostile);
		header_of(&hostile)->complete_head = lies[i];
		ASK(HF_ECONN, (void)s);
		assert_true(hostile_is_dropped(&hostile));
		hostile_close(&hostile);
	}
}

static void it_never_collects(void **state)
{
	struct hostile hostile;

	(void)state;
	hostile_open(&hostile);
	for (unsigned i = 0; i < 2 * HF_RING_ENTRIES; i++) {
		struct hf_ring_submission s = good_read(&hostile);

		s.id = hostile.next_id++;
		hf_shim_memory_place(&hostile.memory, &s);
		hf_shim_memory_publish(&hostile.memory);
		hf_shim_memory_wake(&hostile.memory);
		ring_fixture_turn();
	}
	assert_true(hostile_is_dropped(&hostile));
	hostile_close(&hostile);
}

/* All descriptors name the same pages: what volumed copies is bounded by the data area all the
 * same.
 */
static void payloads_that_overlap(void **state)
{
	unsigned fit = HF_RING_DATA_BYTES / HF_RING_TRANSFER_MAX;
	struct hostile hostile;

	(void)state;
	hostile_open(&hostile);
	memory_core_hold(ring_fixture_core(), true);
	for (unsigned i = 0; i <= fit; i++) {
		struct hf_ring_submission s = good_read(&hostile);

		assert_int_equal(hf_ring_host_rings(ring_fixture_host()), 2);
		s.id = hostile.next_id++;
		s.length = s.data_length = HF_RING_TRANSFER_MAX;
		hf_shim_memory_place(&hostile.memory, &s);
		hf_shim_memory_publish(&hostile.memory);
		hf_shim_memory_wake(&hostile.memory);
		ring_fixture_turn();
	}
	memory_core_hold(ring_fixture_core(), false);
	assert_true(hostile_is_dropped(&hostile));
	hostile_close(&hostile);
}

/* An eventfd that would block: its flags and its counter are the shim's to change at any time. */
static void an_eventfd_that_blocks(void **state)
{
	uint64_t full = UINT64_MAX - 1;
	struct hostile hostile;

	(void)state;
	hostile_open(&hostile);
	assert_int_equal(fcntl(hostile.memory.wake_shim_fd, F_SETFL, 0), 0);
	assert_int_equal(fcntl(hostile.memory.wake_volumed_fd, F_SETFL, 0), 0);
	assert_int_equal(write(hostile.memory.wake_shim_fd, &full, sizeof full), sizeof full);
	alarm(20);
	for (unsigned i = 0; i < 100; i++)
		ASK(0, (void)s);
	alarm(0);
	hostile_close(&hostile);
}

/* ---- Noise ---- */

static uint64_t noise_state = 88172645463325252ull;

static uint64_t noise(void)
{
	noise_state ^= noise_state << 13;
	noise_state ^= noise_state >> 7;
	noise_state ^= noise_state << 17;
	return noise_state;
}

static void make_noise(struct hostile *hostile)
{
	struct hf_ring_submission submission;
	uint8_t message[64];

	switch (noise() % 8) {
	case 0: /* anywhere in the header, sparing what is read only once */
		hostile->memory.base[64 + noise() % 128] = (uint8_t)noise();
		break;
	case 1:
		for (unsigned i = 0; i < sizeof message; i++)
			message[i] = (uint8_t)noise();
		message[0] = (uint8_t)(noise() % 10);
		memset(message + 1, 0, 3);
		hostile_send(hostile, message, noise() % 4 ? 48 : noise() % 64, NULL, 0);
		break;
	default:
		for (unsigned i = 0; i < sizeof submission; i++)
			((uint8_t *)&submission)[i] = (uint8_t)noise();
		if (noise() % 8)
			submission.id = hostile->next_id++;
		if (noise() % 4)
			submission.op = 1 + noise() % HF_OP_RECALL;
		if (noise() % 4)
			submission.volume = hostile->handle;
		if (noise() % 4)
			submission.flags = noise() % 2;
		if (noise() % 4)
			submission.length = submission.data_length = 512 * (noise() % 64);
		if (noise() % 4)
			submission.data_page = (uint32_t)(noise() % 32768);
		if (noise() % 4)
			submission.offset = noise() % VOLUME_BYTES / 512 * 512;
		hf_shim_memory_place(&hostile->memory, &submission);
		hf_shim_memory_publish(&hostile->memory);
	}
	hf_shim_memory_wake(&hostile->memory);
	hf_shim_memory_collected(&hostile->memory);
	ring_fixture_turn();
}

static void noise_of_every_kind(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 200; round++) {
		struct hostile hostile;

		hostile_open(&hostile);
		for (unsigned i = 0; i < 40; i++)
			make_noise(&hostile);
		hostile_close(&hostile);
		if (round % 20 == 0)
			assert_true(ring_fixture_honest_is_served());
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, ring_fixture_setup, ring_fixture_teardown)
	const struct CMUnitTest tests[] = {
		TEST(messages_of_another_size),
		TEST(messages_out_of_place),
		TEST(more_volumes_than_a_ring_has),
		TEST(another_rings_volume),
		TEST(it_does_not_read_its_messages),
		TEST(many_who_connect_and_say_nothing),
		TEST(descriptors_that_lie),
		TEST(a_number_used_twice),
		TEST(indices_that_lie),
		TEST(it_never_collects),
		TEST(payloads_that_overlap),
		TEST(an_eventfd_that_blocks),
		TEST(noise_of_every_kind),
	};

	if (!getenv("HOLDFAST_LOG"))
		setenv("HOLDFAST_LOG", "error", 1);
	hf_log_init("hostile_test");
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
