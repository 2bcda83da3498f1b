/* The S3 store's own types, shared by its files: store_s3.c (life of a store and of an operation),
 * store_s3_url.c (configuration), store_s3_request.c (one attempt, as HTTP),
 * store_s3_answer.c (what an answer means). Everything on the store's loop but the hashing. */
#ifndef HF_REMOTE_STORE_S3_H
#define HF_REMOTE_STORE_S3_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "remote/sigv4.h"
#include "remote/store_curl.h"
#include "remote/store_impl.h"

#define HF_S3_OP_MAGIC        0x48465333u
#define HF_S3_CONNECTIONS_MAX 64u
#define HF_S3_KEY_MAX         1024u       /* bytes of a key in S3 */
#define HF_S3_ERROR_BODY_MAX  (16u << 10) /* of an error's text; the rest is ignored */
#define HF_S3_LIST_BODY_MAX   (8u << 20)

/* Where the store is, from the URL. */
struct hf_s3_place {
	bool tls;
	char host[270]; /* HOST[:PORT], as in the Host header */
	char bucket[64];
	char prefix[HF_STORE_NAME_MAX + 2]; /* "" or "PREFIX/" */
};

struct hf_s3_credentials {
	char *access_key, *secret_key, *session_token; /* the last may be NULL */
};

/* store_s3_proxy.c */
struct hf_s3_proxy {
	char *url;                            /* NULL: none */
	char *credentials_file, *credentials; /* NULL: none; never logged */
	uint64_t warned_ns;
};

/* The answer to one attempt, while it arrives. */
struct hf_s3_answer {
	int http;       /* status code; 0: none yet */
	int64_t length; /* Content-Length; -1: not told */
	int64_t date;   /* of the server, Unix seconds; 0: not told */
	bool has_range; /* Content-Range was told: */
	uint64_t range_start, range_end, range_total;
	int refused; /* why we stopped reading (HF_E…), 0: we did not */
	char *body;
	size_t body_length, body_room;
};

enum hf_s3_state {
	HF_S3_HASHING, /* a worker computes the payload's SHA-256 */
	HF_S3_READY,   /* waits for a connection */
	HF_S3_ACTIVE,  /* curl has it */
	HF_S3_WAITING, /* failed in passing, tries again at `due_ns` */
};

struct hf_s3_op {
	uint32_t magic;
	struct hf_s3_store *store;
	struct hf_store_io *io;
	enum hf_s3_state state;
	struct hf_list link; /* in the store's list of that state */
	uint64_t deadline_ns, due_ns;
	unsigned attempts;
	int last_error; /* of the last attempt; 0: none yet */
	bool skew_seen; /* the server's clock was adopted once */
	bool bulk;      /* a long upload: leaves connections for the others */
	uv_work_t hashing;
	int hash_error;
	char payload_sha256[HF_SIGV4_HEX_MAX];
	/* of the attempt */
	CURL *easy;
	struct curl_slist *headers;
	size_t sent_bytes;
	struct hf_s3_answer answer;
	char curl_error[CURL_ERROR_SIZE];
	char marker[HF_S3_KEY_MAX + 1]; /* LIST: list after this key of the bucket */
};

struct hf_s3_store {
	struct hf_store base;
	struct hf_s3_place place;
	struct hf_s3_credentials credentials;
	struct hf_sigv4_signer signer;
	char *region, *ca_file;
	struct hf_s3_proxy proxy;
	int64_t clock_offset_s; /* the server's clock minus ours, once it complained */
	unsigned connections_max;
	unsigned bulk_max; /* connections that one kind may take while the other waits */
	struct hf_curl *curl;
	CURL *idle[HF_S3_CONNECTIONS_MAX]; /* easy handles to use again */
	unsigned idle_count;
	struct hf_list hashing, ready, ready_bulk, active, waiting;
	unsigned active_count, bulk_count;
	uv_timer_t timer; /* the next deadline or try */
};

/* Reads "HOST[:PORT]/BUCKET[/PREFIX]"; 0 or HF_EINVAL. */
int hf_s3_place_parse(struct hf_s3_place *place, bool tls, const char *text,
		      struct hf_errmsg *message);
/* Copies; replaces what `credentials` held. 0, HF_EINVAL, HF_ENOMEM (then nothing changed). */
int hf_s3_credentials_set(struct hf_s3_credentials *credentials, const char *access_key,
			  const char *secret_key, const char *session_token);
void hf_s3_credentials_free(struct hf_s3_credentials *credentials);

/* Copies; HF_EACCES, HF_EINVAL … if the credentials cannot be read. */
int hf_s3_proxy_open(struct hf_s3_proxy *proxy, const char *url, const char *credentials_file,
		     struct hf_errmsg *message);
void hf_s3_proxy_forget(struct hf_s3_proxy *proxy); /* the credentials */
void hf_s3_proxy_close(struct hf_s3_proxy *proxy);
void hf_s3_proxy_apply(const struct hf_s3_proxy *proxy, CURL *easy);
/* An attempt failed: if the proxy refused the tunnel, says so (once a minute) and reads the
 * credentials again. */
void hf_s3_proxy_refused(struct hf_s3_proxy *proxy, CURL *easy, uint64_t now_ns);

/* Prepares op->easy for one signed attempt; 0 or HF_E…. */
int hf_s3_request_prepare(struct hf_s3_op *op);
/* Frees what belongs to the attempt (not the easy handle). */
void hf_s3_request_reset(struct hf_s3_op *op);

enum hf_s3_verdict {
	HF_S3_FINAL,   /* the operation ends with this status */
	HF_S3_PASSING, /* may go better next time */
	HF_S3_AT_ONCE, /* try again now: the clock was adopted, or a LIST goes on */
};
/* What the finished attempt means; on success fills the answer of op->io. */
enum hf_s3_verdict hf_s3_answer_judge(struct hf_s3_op *op, CURLcode code, int *status);

#endif
