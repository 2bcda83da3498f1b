/* Fuzz target: an administrator's request as bytes → decoded and validated. Promise (invariant 9):
 * any input is either valid or refused with a reason, without a crash or a leak. */
#include <stdint.h>

#include "base/assert.h"
#include "provider/control/validate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Holdfast__AdminRequest *request = holdfast__admin_request__unpack(NULL, size, data);
	struct hf_errmsg message = {""};

	if (!request)
		return 0;
	if (hf_validate_request(request, &message) != 0)
		HF_ASSERT(message.text[0] != '\0');
	holdfast__admin_request__free_unpacked(request, NULL);
	return 0;
}
