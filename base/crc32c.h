/* CRC32C (Castagnoli, RFC 3720 B.4), the checksum of every block on disk and in an object. */
#ifndef HF_BASE_CRC32C_H
#define HF_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* CRC of `length` bytes (any size) continued from `crc`; 0 starts a new one. ISA-L beneath. */
uint32_t hf_crc32c(uint32_t crc, const void *bytes, size_t length);

/* CRC of a volume's block, seeded with the volume's number and the block's LBA (in 512-byte
 * units), so that a block that was written or read at the wrong place fails (invariant 8). */
uint32_t hf_crc32c_block(uint64_t volume, uint64_t lba, const void *bytes, size_t length);

#endif
