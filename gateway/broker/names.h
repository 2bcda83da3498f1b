/* What the broker lets through to tgtd: every string of a request is checked here first, because
 * tgtd splits its parameters at commas and checks little. Pure. Each returns true if it is valid.
 */
#ifndef HF_GATEWAY_BROKER_NAMES_H
#define HF_GATEWAY_BROKER_NAMES_H

#include <stdbool.h>

/* An iSCSI name (RFC 7143 4.2.7): iqn., eui. or naa., at most 223 bytes. */
bool hf_name_is_iscsi(const char *text);
/* ALL, or an IPv4 or IPv6 address, with an optional /prefix of which all later bits are zero. */
bool hf_name_is_address(const char *text);
/* Does the numeric address `peer` fall under the entry? Both valid. */
bool hf_name_address_matches(const char *entry, const char *peer);
/* ADDRESS:PORT with a numeric address, IPv6 in brackets, port 1 … 65535. */
bool hf_name_is_portal(const char *text);
/* A CHAP user: 1 to 64 printable characters without space and comma; not one of the broker's own
 * (which begin with ".hf-"). */
bool hf_name_is_user(const char *text);
/* A CHAP secret: 1 to 128 printable characters without space and comma. How strong it must be is
 * the provider's to say. */
bool hf_name_is_secret(const char *text);
/* A unit serial number: 1 to 36 letters, digits, '-' and '_'. */
bool hf_name_is_serial(const char *text);

#endif
