/* CRC32C through ISA-L. No state, any thread. */
#include "base/crc32c.h"
#include "base/assert.h"
#include "base/bytes.h"

#include <limits.h>
#include <isa-l/crc.h>

uint32_t hf_crc32c(uint32_t crc, const void *bytes, size_t length)
{
	HF_ASSERT(length <= INT_MAX);
	/* ISA-L takes and gives the register, not the complement that the standard publishes, and
	 * its prototype lacks the const it keeps. */
	return ~crc32_iscsi((unsigned char *)(uintptr_t)bytes, (int)length, ~crc);
}

uint32_t hf_crc32c_block(uint64_t volume, uint64_t lba, const void *bytes, size_t length)
{
	uint8_t seed[16];

	hf_put_le64(seed, volume);
	hf_put_le64(seed + 8, lba);
	return hf_crc32c(hf_crc32c(0, seed, sizeof seed), bytes, length);
}
