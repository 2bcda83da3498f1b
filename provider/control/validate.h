/* What an administrator may ask for: each check says what is wrong and what would be right. Pure;
 * any thread. */
#ifndef HF_PROVIDER_CONTROL_VALIDATE_H
#define HF_PROVIDER_CONTROL_VALIDATE_H

#include "base/err.h"
#include "proto/provider.pb-c.h"

#define HF_VOLUME_SIZE_MIN         (1ull << 20)
#define HF_VOLUME_SIZE_MAX         (32ull << 40)
#define HF_VOLUME_SIZE_UNIT        4096u
#define HF_VOLUME_BLOCK_SIZE       512u
#define HF_VOLUME_BLOCK_SIZE_LARGE 4096u
#define HF_VOLUME_INITIATORS_MAX   16u
#define HF_CHAP_SECRET_MIN         12u /* characters; RFC 7143, 9.2.1 wants 96 bits */
#define HF_CHAP_SECRET_MAX         64u
#define HF_WAIT_MAX_MS             86400000u

/* All HF_EINVAL, HF_ERANGE. */
int hf_validate_name(const char *what, const char *name, struct hf_errmsg *message);
int hf_validate_size(uint64_t size_bytes, struct hf_errmsg *message);
/* iqn., eui. or naa. name (RFC 7143, 4.2.7), an address, or address/prefix length. */
int hf_validate_initiator(const char *initiator, struct hf_errmsg *message);
int hf_validate_iqn_prefix(const char *prefix, struct hf_errmsg *message);
int hf_validate_chap(const char *user, const char *secret, const char *mutual_user,
		     const char *mutual_secret, struct hf_errmsg *message);
/* Any request, before it is acted on; whether names are taken is asked later. */
int hf_validate_request(const Holdfast__AdminRequest *request, struct hf_errmsg *message);

#endif
