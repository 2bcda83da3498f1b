/* Fuzz target: both readers of S3's XML on arbitrary bytes. */
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "remote/store_xml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int found(void *context, const char *key, uint64_t size_bytes)
{
	unsigned *count = context;

	HF_ASSERT(strlen(key) <= HF_XML_TEXT_MAX && size_bytes < UINT64_MAX);
	return ++*count > 100000;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned count = 0;
	char code[32];
	bool truncated;

	hf_xml_error_code((const char *)data, size, code, sizeof code);
	HF_ASSERT(strlen(code) < sizeof code);
	hf_xml_list((const char *)data, size, &truncated, found, &count);
	return 0;
}
