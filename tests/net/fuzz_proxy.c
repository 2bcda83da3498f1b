/* Any bytes as a proxy's answer, taken in pieces whose sizes the first byte chooses: no crash, no
 * memory beyond the struct, an end within HF_PROXY_ANSWER_MAX bytes, and the same verdict as in one
 * piece. */
#include <string.h>

#include "base/assert.h"
#include "net/proxy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int take(const uint8_t *data, size_t size, size_t piece, struct hf_errmsg *message)
{
	struct hf_proxy proxy = {.host = "p", .port = 1};
	struct hf_proxy_answer answer;
	size_t at = 0, taken;

	hf_proxy_answer_init(&answer);
	while (at < size && !answer.done) {
		int err = hf_proxy_answer_take(
			&answer, data + at, size - at < piece ? size - at : piece, &taken, message);

		if (err)
			return err;
		at += taken;
		HF_ASSERT(at <= HF_PROXY_ANSWER_MAX);
	}
	for (const char *c = answer.phrase; *c; c++)
		HF_ASSERT(*c >= ' ' && *c <= '~');
	return answer.done ? hf_proxy_answer_judge(&answer, &proxy, "host:1", size - at, message)
			   : HF_EAGAIN;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hf_errmsg one = {""}, pieces = {""};
	int err;

	if (size == 0)
		return 0;
	err = take(data + 1, size - 1, size, &one);
	HF_ASSERT(take(data + 1, size - 1, 1u + data[0], &pieces) == err);
	HF_ASSERT(strcmp(one.text, pieces.text) == 0);
	return 0;
}
