/* Any bytes at the control socket: decoded and checked, or refused with a reason; never more. */
#include <stdint.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "gateway/volumed/request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hf_control_request request;
	struct hf_errmsg message = {""};

	if (hf_control_decode(data, size, &request, &message) != 0) {
		if (message.text[0] == '\0')
			abort();
		return 0;
	}
	if (request.verb == HF_CONTROL_ATTACH &&
	    (request.config.volume == 0 || request.config.size_bytes % 4096 != 0 ||
	     hf_is_zero(request.config.wrap_key, sizeof request.config.wrap_key)))
		abort();
	hf_control_request_free(&request);
	return 0;
}
