/* Questions to the signer from the provider's loop: typed, answered later, exactly once. When the
 * signer is away the answer is HF_ECONN or HF_ETIMEDOUT; it is asked again by whoever still wants
 * the answer. Loop's thread. */
#ifndef HF_PROVIDER_SIGNER_CLIENT_H
#define HF_PROVIDER_SIGNER_CLIENT_H

#include <stdbool.h>
#include <uv.h>

#include "base/err.h"
#include "proto/provider.pb-c.h"

struct hf_signer_client;

/* Its socket must be root's, our own uid's or this uid's. */
int hf_signer_client_open(uv_loop_t *loop, const char *run_dir, uid_t uid,
			  struct hf_signer_client **client);
/* `err` is the transport's or the signer's own; `reason` is for people; `answer` is NULL when `err`
 * is not 0. Both are valid only during the call. */
void hf_signer_ask(struct hf_signer_client *client, const Holdfast__SignerRequest *request,
		   void (*answered)(void *context, int err, const char *reason,
				    const Holdfast__SignerAnswer *answer),
		   void *context);
/* Is this error of the signer's state (a full disk, a damaged entry that a backup mends) and not of
 * the question, so that the same question may be answered later? */
bool hf_signer_error_passes(int err);
void hf_signer_client_close(struct hf_signer_client *client, void (*closed)(void *), void *context);

#endif
