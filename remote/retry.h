/* A store operation that is repeated with back-off and full jitter until it is answered. Core's
 * thread; the memory is the caller's and stays until `done`. */
#ifndef HF_REMOTE_RETRY_H
#define HF_REMOTE_RETRY_H

#include <stdbool.h>

#include "base/env.h"

struct hf_retry {
	struct hf_store_io io; /* the caller fills the operation; the answer stays here */
	struct hf_env *env;
	uint64_t deadline_ns;     /* the last moment to try; 0: for ever */
	bool permission_is_final; /* HF_EACCES and HF_EAUTH end it; else credentials may come */
	int *trouble;             /* set to the last error and to 0 when answered; may be NULL */
	/* Exactly once, never from inside hf_retry_start or _cancel. Status: that of the answer
	 * (0; HF_EEXIST, HF_ENOENT, HF_ERANGE; HF_EINVAL, HF_ETOOBIG, HF_EUNSUPPORTED),
	 * HF_ETIMEDOUT past the deadline, HF_ECANCELED after a cancel. GET's body and LIST's names
	 * are the caller's if the status is 0, and NULL otherwise. */
	void (*done)(struct hf_retry *retry, int status);

	/* private */
	struct hf_timer timer;
	unsigned tries;
	bool running, waiting, cancelled;
	int last_error; /* of the last try, for messages */
};

void hf_retry_start(struct hf_retry *retry);
/* Harmless when nothing is under way. A try that is at the store is waited for. */
void hf_retry_cancel(struct hf_retry *retry);
bool hf_retry_is_active(const struct hf_retry *retry);

#endif
