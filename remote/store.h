/* Object stores: a directory or an S3 endpoint, behind one asynchronous interface (the contract is
 * struct hf_store_io in base/env.h; tests/store/ runs the same contract test on each). A store
 * lives on a libuv loop; all calls and callbacks are on that loop's thread. */
#ifndef HF_REMOTE_STORE_H
#define HF_REMOTE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/env.h"
#include "base/err.h"

struct hf_store;

/* Where and how. Strings are copied at open. */
struct hf_store_config {
	/* "dir:/absolute/path" (the folder must exist; an empty one becomes a new store), or
	 * "s3+https://HOST[:PORT]/BUCKET[/PREFIX]", or "s3+http://…" for loopback tests. Path-style
	 * addressing. */
	const char *url;
	const char *region;        /* NULL: us-east-1 */
	const char *access_key;    /* S3; never logged */
	const char *secret_key;    /* S3; never logged */
	const char *session_token; /* NULL: none */
	const char *ca_file; /* PEM that the endpoint's certificate must chain to; NULL: system */
	/* HTTP proxy to an S3 store, "http://HOST:PORT", reached with CONNECT; NULL: none. */
	const char *proxy;
	/* File (0600) with user:password for it, read at open and when the proxy refuses; NULL:
	 * none.
	 */
	const char *proxy_credentials_file;
	unsigned connections_max;     /* 0: 8 */
	uint64_t default_deadline_ms; /* of an operation without one; 0: 60000 */
};

/* Checks the configuration and opens; no traffic yet. 0 or HF_EINVAL, HF_ENOENT, HF_EACCES, with
 * the reason in `message`. */
int hf_store_open(uv_loop_t *loop, const struct hf_store_config *config, struct hf_store **store,
		  struct hf_errmsg *message);
/* `deadline_ns` is on uv_hrtime(). */
void hf_store_submit(struct hf_store *store, struct hf_store_io *io);
/* What the endpoint was found to do, probed with an object under ".holdfast-probe/". */
struct hf_store_features {
	bool conditional_put; /* If-None-Match: * works */
};
void hf_store_probe(struct hf_store *store,
		    void (*probed)(void *context, int status, const struct hf_store_features *),
		    void *context);
/* New credentials (the channel renews them); attempts under way keep the old, later tries of the
 * same operation use the new. 0 or HF_EINVAL, HF_ENOMEM (then nothing changed). */
int hf_store_set_credentials(struct hf_store *store, const char *access_key, const char *secret_key,
			     const char *session_token);
/* Fails everything under way with HF_ECANCELED; memory is freed before `closed`. */
void hf_store_close(struct hf_store *store, void (*closed)(void *context), void *context);

#endif
