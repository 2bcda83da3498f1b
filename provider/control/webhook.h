/* Tells alerts out of band: each is one signed POST of JSON to `webhook_url`
 * (docs/protocol/webhook.md). At least once and not in order: an alert stays in the registry until
 * it was answered with 2xx, is tried again with back-off for a day, and has a number that tells
 * repetitions. One request at a time, in libuv's pool of threads; all else on the loop's thread. */
#ifndef HF_PROVIDER_CONTROL_WEBHOOK_H
#define HF_PROVIDER_CONTROL_WEBHOOK_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define HF_WEBHOOK_SECRET_MIN 16u
#define HF_WEBHOOK_SECRET_MAX 256u
#define HF_WEBHOOK_HEX_MAX    65u

struct hf_control;

/* Reads the secret. Without a URL alerts are only logged. */
int hf_webhook_open(struct hf_control *control, struct hf_errmsg *message);
/* Once a second. */
void hf_webhook_tick(struct hf_control *control);
/* Waits for nothing: what is under way ends with the loop. */
void hf_webhook_close(struct hf_control *control);

/* The signature: HMAC-SHA-256 of "TIMESTAMP.BODY", hexadecimal. Pure. */
void hf_webhook_sign(const char *secret, uint64_t timestamp_s, const char *body,
		     char hex[HF_WEBHOOK_HEX_MAX]);

#endif
