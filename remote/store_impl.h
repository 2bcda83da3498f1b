/* What the stores share behind remote/store.h: one base that checks operations and answers those
 * that never start, and a table that each kind of store fills. Private to remote/store*.c; all on
 * the store's loop. */
#ifndef HF_REMOTE_STORE_IMPL_H
#define HF_REMOTE_STORE_IMPL_H

#include "remote/store.h"

#define HF_STORE_MAGIC       0x48465354u
#define HF_STORE_PENDING_MAX 4096u        /* operations under way; more are answered HF_EAGAIN */
#define HF_STORE_OBJECT_MAX  (256u << 20) /* bytes of one object; more is HF_ETOOBIG */
#define HF_STORE_LIST_MAX    1000u        /* names in one answer, as in S3 ListObjectsV2 */
#define HF_STORE_DEPTH_MAX   16u          /* components of a name */

struct hf_store_ops {
	/* A valid operation, with its deadline on uv_hrtime(). Ends through hf_store_finish. */
	void (*submit)(struct hf_store *store, struct hf_store_io *io, uint64_t deadline_ns);
	/* NULL where there are none. */
	int (*set_credentials)(struct hf_store *store, const char *access_key,
			       const char *secret_key, const char *session_token);
	/* Ends what is under way with HF_ECANCELED and closes the handles, then calls
	 * hf_store_closed. Never from inside hf_store_close. */
	void (*close)(struct hf_store *store);
	/* Frees the store itself. */
	void (*destroy)(struct hf_store *store);
};

/* First member of every store. */
struct hf_store {
	uint32_t magic;
	const struct hf_store_ops *ops;
	uv_loop_t *loop;
	uint64_t default_deadline_ms;
	unsigned pending;        /* operations submitted and not finished */
	struct hf_list deferred; /* operations that were refused, answered by `later` */
	uv_timer_t later;
	bool closing;        /* hf_store_close was called */
	bool close_started;  /* ops->close was */
	bool handles_closed; /* hf_store_closed was */
	void (*closed)(void *context);
	void *closed_context;
};

/* The two kinds; `rest` is the URL after its scheme. */
int hf_store_dir_open(uv_loop_t *loop, const char *rest, struct hf_store **store,
		      struct hf_errmsg *message);
int hf_store_s3_open(uv_loop_t *loop, const struct hf_store_config *config, bool tls,
		     const char *rest, struct hf_store **store, struct hf_errmsg *message);

int hf_store_base_init(struct hf_store *store, const struct hf_store_ops *ops, uv_loop_t *loop);
void hf_store_finish(struct hf_store *store, struct hf_store_io *io, int status);
void hf_store_closed(struct hf_store *store);

/* True for a whole object name: components of [A-Za-z0-9._-], none empty, "." or "..". */
bool hf_store_name_is_valid(const char *name);

#endif
