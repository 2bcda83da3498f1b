/* The S3 store: life of a store and of its operations.
 *
 *   submit → HASHING (long PUTs: SHA-256 on a worker) → READY → ACTIVE → done
 *                                                        ↑        ↓
 *                                                      WAITING ← trouble that may pass
 *
 * Tries go on until the operation's deadline, each after a random part ("full jitter") of a pause
 * that doubles from 50 ms to 3 s. Long PUTs never take every connection: a read that misses, or a
 * look at the claims, must not queue behind 16 MiB uploads; nor do reads starve the uploads. */
#include "remote/store_s3.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"

#define BULK_BYTES          (128u << 10) /* a PUT from this size on is hashed by a worker */
#define PAUSE_FIRST_MS      50u
#define PAUSE_MAX_MS        3000u
#define CONNECTIONS_DEFAULT 8u

static void start_ready(struct hf_s3_store *store);

static struct hf_s3_op *op_of(struct hf_list *link)
{
	struct hf_s3_op *op = hf_container_of(link, struct hf_s3_op, link);

	HF_CHECK_MAGIC(op, HF_S3_OP_MAGIC);
	return op;
}

static void move(struct hf_s3_op *op, enum hf_s3_state state)
{
	struct hf_s3_store *store = op->store;
	struct hf_list *lists[] = {
		[HF_S3_HASHING] = &store->hashing,
		[HF_S3_READY] = op->bulk ? &store->ready_bulk : &store->ready,
		[HF_S3_ACTIVE] = &store->active,
		[HF_S3_WAITING] = &store->waiting,
	};

	hf_list_remove(&op->link);
	op->state = state;
	hf_list_push_back(lists[state], &op->link);
}

static void op_end(struct hf_s3_op *op, int status)
{
	struct hf_s3_store *store = op->store;
	struct hf_store_io *io = op->io;

	hf_list_remove(&op->link);
	hf_s3_request_reset(op);
	op->magic = 0;
	free(op);
	hf_store_finish(&store->base, io, status);
}

/* ---- Time: deadlines and second tries ---- */

static void timer_fired(uv_timer_t *timer);

static void earliest(const struct hf_list *list, bool due, uint64_t *next_ns)
{
	hf_list_for_each (link, list) {
		const struct hf_s3_op *op = hf_container_of(link, struct hf_s3_op, link);
		uint64_t at_ns = due && op->due_ns < op->deadline_ns ? op->due_ns : op->deadline_ns;

		if (at_ns < *next_ns)
			*next_ns = at_ns;
	}
}

static void set_timer(struct hf_s3_store *store)
{
	uint64_t next_ns = UINT64_MAX, now_ns = uv_hrtime();

	earliest(&store->ready, false, &next_ns);
	earliest(&store->ready_bulk, false, &next_ns);
	earliest(&store->waiting, true, &next_ns);
	if (next_ns == UINT64_MAX) {
		uv_timer_stop(&store->timer);
		return;
	}
	uv_update_time(store->base.loop);
	uv_timer_start(&store->timer, timer_fired,
		       next_ns > now_ns ? (next_ns - now_ns) / HF_NS_PER_MS + 1 : 0, 0);
}

static void sort_by_time(struct hf_list *list, uint64_t now_ns, struct hf_list *late)
{
	hf_list_for_each_safe (link, list) {
		struct hf_s3_op *op = op_of(link);

		if (op->deadline_ns <= now_ns) {
			hf_list_remove(&op->link);
			hf_list_push_back(late, &op->link);
		} else if (op->state == HF_S3_WAITING && op->due_ns <= now_ns) {
			move(op, HF_S3_READY);
		}
	}
}

static void end_late(struct hf_s3_op *op)
{
	hf_warn("store: deadline passed after %u tries of %s (%s)", op->attempts, op->io->name,
		op->last_error ? hf_err_text(op->last_error) : "never tried");
	op_end(op, op->last_error ? op->last_error : HF_ETIMEDOUT);
}

static void timer_fired(uv_timer_t *timer)
{
	struct hf_s3_store *store = timer->data;
	uint64_t now_ns = uv_hrtime();
	struct hf_list late, *link;

	HF_CHECK_MAGIC(&store->base, HF_STORE_MAGIC);
	hf_list_init(&late);
	sort_by_time(&store->waiting, now_ns, &late);
	sort_by_time(&store->ready, now_ns, &late);
	sort_by_time(&store->ready_bulk, now_ns, &late);
	while ((link = hf_list_pop_front(&late)) != NULL)
		end_late(op_of(link));
	start_ready(store);
}

static void try_again_later(struct hf_s3_op *op)
{
	unsigned doublings = op->attempts < 8 ? op->attempts : 8;
	uint64_t pause_ms = PAUSE_FIRST_MS << (doublings ? doublings - 1 : 0);
	uint32_t random = 0;

	if (pause_ms > PAUSE_MAX_MS)
		pause_ms = PAUSE_MAX_MS;
	if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
		random = UINT32_MAX;
	pause_ms = 1 + (pause_ms * random >> 32);
	op->due_ns = uv_hrtime() + pause_ms * HF_NS_PER_MS;
	move(op, HF_S3_WAITING);
}

/* ---- Attempts ---- */

static void leave_connection(struct hf_s3_op *op)
{
	struct hf_s3_store *store = op->store;

	HF_ASSERT(store->idle_count < HF_S3_CONNECTIONS_MAX);
	store->idle[store->idle_count++] = op->easy;
	op->easy = NULL;
	store->active_count--;
	store->bulk_count -= op->bulk;
}

static void attempt_finished(CURL *easy, CURLcode code)
{
	struct hf_s3_store *store;
	struct hf_s3_op *op;
	enum hf_s3_verdict verdict;
	void *private = NULL;
	int status = HF_EIO;

	curl_easy_getinfo(easy, CURLINFO_PRIVATE, &private);
	op = private;
	HF_CHECK_MAGIC(op, HF_S3_OP_MAGIC);
	store = op->store;
	if (code != CURLE_OK)
		hf_s3_proxy_refused(&store->proxy, easy, uv_hrtime());
	leave_connection(op);
	verdict = hf_s3_answer_judge(op, code, &status);
	hf_s3_request_reset(op);
	op->last_error = status;
	if (verdict == HF_S3_FINAL)
		op_end(op, status);
	else if (uv_hrtime() >= op->deadline_ns)
		end_late(op);
	else if (verdict == HF_S3_AT_ONCE)
		move(op, HF_S3_READY);
	else
		try_again_later(op);
	start_ready(store);
}

static CURL *take_connection(struct hf_s3_store *store)
{
	return store->idle_count > 0 ? store->idle[--store->idle_count] : curl_easy_init();
}

/* True if it is under way now. */
static bool start_attempt(struct hf_s3_op *op)
{
	struct hf_s3_store *store = op->store;
	int err;

	op->easy = take_connection(store);
	if (!op->easy)
		return false;
	store->active_count++;
	store->bulk_count += op->bulk;
	op->attempts++;
	move(op, HF_S3_ACTIVE);
	err = hf_s3_request_prepare(op);
	if (err == 0)
		err = hf_curl_add(store->curl, op->easy);
	if (err == 0)
		return true;
	leave_connection(op);
	hf_s3_request_reset(op);
	op->last_error = err;
	try_again_later(op);
	return false;
}

/* Neither kind takes the other's last connections while that waits. */
static struct hf_s3_op *next_ready(struct hf_s3_store *store)
{
	bool has_short = !hf_list_empty(&store->ready);
	bool has_bulk = !hf_list_empty(&store->ready_bulk) && store->bulk_count < store->bulk_max;
	unsigned short_count = store->active_count - store->bulk_count;

	if (store->active_count >= store->connections_max)
		return NULL;
	if (has_short && (!has_bulk || short_count < store->bulk_max))
		return op_of(store->ready.next);
	return has_bulk ? op_of(store->ready_bulk.next) : NULL;
}

static void start_ready(struct hf_s3_store *store)
{
	struct hf_s3_op *op;

	if (store->base.close_started)
		return;
	while ((op = next_ready(store)) != NULL)
		if (!start_attempt(op))
			break;
	set_timer(store);
}

static void hash_payload(uv_work_t *work)
{
	struct hf_s3_op *op = hf_container_of(work, struct hf_s3_op, hashing);

	op->hash_error = hf_sigv4_hash(op->io->data, op->io->length, op->payload_sha256);
}

static void maybe_close(struct hf_s3_store *store);

static void hashed(uv_work_t *work, int uv_status)
{
	struct hf_s3_op *op = hf_container_of(work, struct hf_s3_op, hashing);
	struct hf_s3_store *store = op->store;

	HF_CHECK_MAGIC(op, HF_S3_OP_MAGIC);
	if (store->base.close_started) {
		op_end(op, HF_ECANCELED);
		maybe_close(store);
	} else if (uv_status != 0 || op->hash_error) {
		op_end(op, HF_ENOMEM);
	} else {
		move(op, HF_S3_READY);
		start_ready(store);
	}
}

static void s3_submit(struct hf_store *base, struct hf_store_io *io, uint64_t deadline_ns)
{
	struct hf_s3_store *store = hf_container_of(base, struct hf_s3_store, base);
	struct hf_s3_op *op = calloc(1, sizeof *op);

	HF_ASSERT(op != NULL);
	op->magic = HF_S3_OP_MAGIC;
	op->store = store;
	op->io = io;
	op->deadline_ns = deadline_ns;
	op->bulk = io->op == HF_STORE_PUT && io->length >= BULK_BYTES;
	hf_list_init(&op->link);
	if (op->bulk) {
		move(op, HF_S3_HASHING);
		HF_ASSERT(uv_queue_work(base->loop, &op->hashing, hash_payload, hashed) == 0);
		return;
	}
	if (io->op == HF_STORE_PUT)
		HF_ASSERT(hf_sigv4_hash(io->data, io->length, op->payload_sha256) == 0);
	move(op, HF_S3_READY);
	/* Past its deadline already: the timer ends it, not a connection's time-out. */
	if (deadline_ns > uv_hrtime())
		start_ready(store);
	else
		set_timer(store);
}

/* ---- Credentials ---- */

static int s3_set_credentials(struct hf_store *base, const char *access_key, const char *secret_key,
			      const char *session_token)
{
	struct hf_s3_store *store = hf_container_of(base, struct hf_s3_store, base);
	int err = hf_s3_credentials_set(&store->credentials, access_key, secret_key, session_token);

	if (err)
		return err;
	hf_sigv4_wipe(&store->signer);
	store->signer.access_key = store->credentials.access_key;
	store->signer.secret_key = store->credentials.secret_key;
	return 0;
}

/* ---- Closing ---- */

static void timer_closed(uv_handle_t *handle)
{
	struct hf_s3_store *store = handle->data;

	hf_store_closed(&store->base);
}

static void curl_closed(void *context)
{
	struct hf_s3_store *store = context;

	store->curl = NULL;
	uv_close((uv_handle_t *)&store->timer, timer_closed);
}

static void maybe_close(struct hf_s3_store *store)
{
	if (hf_list_empty(&store->hashing))
		hf_curl_close(store->curl, curl_closed, store);
}

static void s3_close(struct hf_store *base)
{
	struct hf_s3_store *store = hf_container_of(base, struct hf_s3_store, base);
	struct hf_list *lists[] = {&store->active, &store->ready, &store->ready_bulk,
				   &store->waiting};

	uv_timer_stop(&store->timer);
	for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
		while (!hf_list_empty(lists[i])) {
			struct hf_s3_op *op = op_of(lists[i]->next);

			if (op->state == HF_S3_ACTIVE) {
				hf_curl_remove(store->curl, op->easy);
				leave_connection(op);
			}
			op_end(op, HF_ECANCELED);
		}
	}
	hf_list_for_each (link, &store->hashing)
		uv_cancel((uv_req_t *)&op_of(link)->hashing);
	maybe_close(store);
}

static void s3_destroy(struct hf_store *base)
{
	struct hf_s3_store *store = hf_container_of(base, struct hf_s3_store, base);

	while (store->idle_count > 0)
		curl_easy_cleanup(store->idle[--store->idle_count]);
	hf_sigv4_wipe(&store->signer);
	hf_s3_credentials_free(&store->credentials);
	free(store->region);
	free(store->ca_file);
	hf_s3_proxy_close(&store->proxy);
	free(store);
}

static const struct hf_store_ops s3_ops = {
	.submit = s3_submit,
	.set_credentials = s3_set_credentials,
	.close = s3_close,
	.destroy = s3_destroy,
};

/* ---- Opening ---- */

static int configure(struct hf_s3_store *store, const struct hf_store_config *config,
		     struct hf_errmsg *message)
{
	const char *region = config->region && config->region[0] ? config->region : "us-east-1";
	unsigned connections =
		config->connections_max ? config->connections_max : CONNECTIONS_DEFAULT;
	int err;

	if (strlen(region) > 64 || strpbrk(region, "/\r\n, "))
		return hf_fail(message, HF_EINVAL, "store: the region is not valid");
	if (connections > HF_S3_CONNECTIONS_MAX)
		connections = HF_S3_CONNECTIONS_MAX;
	store->connections_max = connections;
	store->bulk_max = connections - (connections >= 4 ? connections / 4 : connections / 2);
	if (config->ca_file && access(config->ca_file, R_OK) != 0)
		return hf_fail(message, HF_ENOENT, "store: cannot read the CA file %s",
			       config->ca_file);
	err = hf_s3_credentials_set(&store->credentials, config->access_key, config->secret_key,
				    config->session_token);
	if (err)
		return hf_fail(message, err,
			       "store: access key or secret key missing or not valid");
	store->region = strdup(region);
	store->ca_file = config->ca_file ? strdup(config->ca_file) : NULL;
	if (!store->region || (config->ca_file && !store->ca_file))
		return HF_ENOMEM;
	err = hf_s3_proxy_open(&store->proxy, config->proxy, config->proxy_credentials_file,
			       message);
	if (err)
		return hf_fail_in(message, err, "store: the proxy");
	store->signer = (struct hf_sigv4_signer){
		.access_key = store->credentials.access_key,
		.secret_key = store->credentials.secret_key,
		.region = store->region,
		.service = "s3",
	};
	return 0;
}

int hf_store_s3_open(uv_loop_t *loop, const struct hf_store_config *config, bool tls,
		     const char *rest, struct hf_store **out, struct hf_errmsg *message)
{
	static bool curl_ready;
	struct hf_s3_store *store = calloc(1, sizeof *store);
	int err;

	if (!store)
		return HF_ENOMEM;
	if (!curl_ready && curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
		free(store);
		return hf_fail(message, HF_ENOMEM, "store: curl does not start");
	}
	curl_ready = true;
	hf_list_init(&store->hashing);
	hf_list_init(&store->ready);
	hf_list_init(&store->ready_bulk);
	hf_list_init(&store->active);
	hf_list_init(&store->waiting);
	err = hf_s3_place_parse(&store->place, tls, rest, message);
	if (err == 0)
		err = configure(store, config, message);
	if (err)
		goto err_after_alloc;
	err = HF_ENOMEM;
	store->curl = hf_curl_open(loop, store->connections_max, attempt_finished);
	if (!store->curl)
		goto err_after_alloc;
	HF_ASSERT(uv_timer_init(loop, &store->timer) == 0);
	store->timer.data = store;
	HF_ASSERT(hf_store_base_init(&store->base, &s3_ops, loop) == 0);
	*out = &store->base;
	return 0;

err_after_alloc:
	s3_destroy(&store->base);
	return err;
}
