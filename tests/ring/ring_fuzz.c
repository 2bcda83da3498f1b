/* Fuzz target: what one shim says and writes, byte by byte. An input is a list of acts, each a byte
 * that names it and what it needs: a descriptor, a message, a write into the header, a wake. After
 * each input the honest ring beside it must be served. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/log.h"
#include "tests/ring/ring_fixture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *bytes;
	size_t left;
};

/* Zeros where the input has ended. */
static void take(struct input *input, void *to, size_t length)
{
	size_t given = length < input->left ? length : input->left;

	memset(to, 0, length);
	memcpy(to, input->bytes, given);
	input->bytes += given;
	input->left -= given;
}

static void act(struct hostile *hostile, struct input *input)
{
	struct hf_ring_submission submission;
	struct hf_ring_message message;
	uint8_t what, offset;
	uint64_t word;

	take(input, &what, 1);
	switch (what % 6) {
	case 0:
		take(input, &submission, sizeof submission);
		hf_shim_memory_place(&hostile->memory, &submission);
		break;
	case 1: /* a descriptor that gets further */
		take(input, &submission, sizeof submission);
		submission.id = hostile->next_id++;
		submission.volume = hostile->handle;
		hf_shim_memory_place(&hostile->memory, &submission);
		break;
	case 2:
		take(input, &message, sizeof message);
		hostile_send(hostile, &message, sizeof message, NULL, 0);
		break;
	case 3: /* the lines of the header that are read again */
		take(input, &offset, 1);
		take(input, &word, sizeof word);
		memcpy(hostile->memory.base + 64 + offset % 120, &word, sizeof word);
		break;
	case 4:
		hf_shim_memory_publish(&hostile->memory);
		hf_shim_memory_wake(&hostile->memory);
		break;
	default:
		ring_fixture_turn();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {data, size};
	static bool opened;
	struct hostile hostile;

	if (!opened) {
		setenv("HOLDFAST_LOG", "error", 1);
		hf_log_init("ring_fuzz");
		ring_fixture_open();
		atexit(ring_fixture_close);
		opened = true;
	}
	hostile_open(&hostile);
	while (input.left > 0)
		act(&hostile, &input);
	hf_shim_memory_publish(&hostile.memory);
	hf_shim_memory_wake(&hostile.memory);
	ring_fixture_turn();
	hostile_close(&hostile);
	HF_ASSERT(ring_fixture_honest_is_served());
	return 0;
}
