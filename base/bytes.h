/* Integers in bytes: everything on disk, in objects and in the ring is little-endian; SCSI is
 * big-endian. No alignment is assumed. */
#ifndef HF_BASE_BYTES_H
#define HF_BASE_BYTES_H

#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define HF_BYTES_ACCESSORS(bits, order, from, to)                                                  \
	static inline uint##bits##_t hf_get_##order##bits(const void *p)                           \
	{                                                                                          \
		uint##bits##_t v;                                                                  \
		memcpy(&v, p, sizeof v);                                                           \
		return from(v);                                                                    \
	}                                                                                          \
	static inline void hf_put_##order##bits(void *p, uint##bits##_t v)                         \
	{                                                                                          \
		v = to(v);                                                                         \
		memcpy(p, &v, sizeof v);                                                           \
	}
HF_BYTES_ACCESSORS(16, le, le16toh, htole16)
HF_BYTES_ACCESSORS(32, le, le32toh, htole32)
HF_BYTES_ACCESSORS(64, le, le64toh, htole64)
HF_BYTES_ACCESSORS(16, be, be16toh, htobe16)
HF_BYTES_ACCESSORS(32, be, be32toh, htobe32)
HF_BYTES_ACCESSORS(64, be, be64toh, htobe64)
#undef HF_BYTES_ACCESSORS

/* Lower-case hexadecimal of `length` bytes into `text` (2 * length + 1 characters). */
void hf_hex_encode(char *text, const void *bytes, size_t length);
/* Reads exactly 2 * length hexadecimal digits and the end of the string; 0 or HF_EINVAL. */
int hf_hex_decode(void *bytes, size_t length, const char *text);
/* True if all bytes are zero. */
int hf_is_zero(const void *bytes, size_t length);

#endif
