/* Hexadecimal and zero tests of base/bytes.h. No state, any thread. */
#include "base/bytes.h"
#include "base/err.h"

void hf_hex_encode(char *text, const void *bytes, size_t length)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *p = bytes;

	for (size_t i = 0; i < length; i++) {
		text[2 * i] = digits[p[i] >> 4];
		text[2 * i + 1] = digits[p[i] & 15];
	}
	text[2 * length] = '\0';
}

static int digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int hf_hex_decode(void *bytes, size_t length, const char *text)
{
	uint8_t *p = bytes;

	for (size_t i = 0; i < length; i++) {
		int high = digit_value(text[2 * i]);
		int low = high < 0 ? -1 : digit_value(text[2 * i + 1]);

		if (low < 0)
			return HF_EINVAL;
		p[i] = (uint8_t)(high << 4 | low);
	}
	return text[2 * length] == '\0' ? 0 : HF_EINVAL;
}

int hf_is_zero(const void *bytes, size_t length)
{
	const char *p = bytes;

	return length == 0 || (p[0] == 0 && memcmp(p, p + 1, length - 1) == 0);
}
