/* How people compare a gateway's key on two screens: the first 128 bits of the SHA-256 of its
 * public identity key, as eight groups of four hexadecimal digits, "0123:4567:…". Any thread. */
#ifndef HF_NET_FINGERPRINT_H
#define HF_NET_FINGERPRINT_H

#include <stdint.h>

#include "net/sign.h"

#define HF_FINGERPRINT_TEXT_MAX 40u /* bytes, with the terminator */

char *hf_key_fingerprint(const uint8_t public_key[HF_KEY_BYTES],
			 char text[HF_FINGERPRINT_TEXT_MAX]);

#endif
