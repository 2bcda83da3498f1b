/* The common half of all stores: reads the URL, checks every operation before a store sees it, and
 * answers refused ones from the loop, so that `done` never comes from inside the submit. */
#include "remote/store_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/assert.h"
#include "base/bytes.h"

#define NAME_CHARACTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"

bool hf_store_name_is_valid(const char *name)
{
	size_t length = strnlen(name, HF_STORE_NAME_MAX + 1), part;
	unsigned depth = 0;

	if (length == 0 || length > HF_STORE_NAME_MAX)
		return false;
	for (;;) {
		part = strspn(name, NAME_CHARACTERS);
		if (part == 0 || (part == 1 && name[0] == '.') ||
		    (part == 2 && name[0] == '.' && name[1] == '.'))
			return false;
		if (++depth > HF_STORE_DEPTH_MAX)
			return false;
		name += part;
		if (*name == '\0')
			return true;
		if (*name++ != '/')
			return false;
	}
}

/* A prefix may be empty and may end anywhere in a name, but reaches no further than names do. */
static bool prefix_is_valid(const char *prefix)
{
	size_t length = strnlen(prefix, HF_STORE_NAME_MAX + 1);

	return length <= HF_STORE_NAME_MAX && prefix[0] != '/' &&
	       strspn(prefix, NAME_CHARACTERS "/") == length && !strstr(prefix, "//");
}

static int check(const struct hf_store *store, const struct hf_store_io *io)
{
	if (store->closing)
		return HF_ECANCELED;
	if (store->pending > HF_STORE_PENDING_MAX)
		return HF_EAGAIN;
	if (io->op == HF_STORE_LIST) {
		bool after_ends = memchr(io->after, 0, sizeof io->after) != NULL;

		return prefix_is_valid(io->name) && after_ends ? 0 : HF_EINVAL;
	}
	if (!hf_store_name_is_valid(io->name))
		return HF_EINVAL;
	if (io->op == HF_STORE_PUT && io->length > HF_STORE_OBJECT_MAX)
		return HF_ETOOBIG;
	if (io->op == HF_STORE_GET && io->range_length > HF_STORE_OBJECT_MAX)
		return HF_ETOOBIG;
	return 0;
}

static void later_closed(uv_handle_t *handle)
{
	struct hf_store *store = handle->data;
	void (*closed)(void *) = store->closed;
	void *context = store->closed_context;

	HF_CHECK_MAGIC(store, HF_STORE_MAGIC);
	HF_ASSERT(store->pending == 0);
	store->magic = 0;
	store->ops->destroy(store);
	if (closed)
		closed(context);
}

static void later_fired(uv_timer_t *timer)
{
	struct hf_store *store = timer->data;
	struct hf_list batch, *link;

	HF_CHECK_MAGIC(store, HF_STORE_MAGIC);
	hf_list_init(&batch);
	hf_list_splice_back(&batch, &store->deferred);
	while ((link = hf_list_pop_front(&batch)) != NULL) {
		struct hf_store_io *io = hf_container_of(link, struct hf_store_io, link);

		hf_store_finish(store, io, io->status);
	}
	if (!store->closing || !hf_list_empty(&store->deferred))
		return;
	if (!store->close_started) {
		store->close_started = true;
		store->ops->close(store);
	} else if (store->handles_closed && !uv_is_closing((uv_handle_t *)timer)) {
		uv_close((uv_handle_t *)timer, later_closed);
	}
}

static void run_later(struct hf_store *store)
{
	int err = uv_timer_start(&store->later, later_fired, 0, 0);

	HF_ASSERT(err == 0);
}

void hf_store_submit(struct hf_store *store, struct hf_store_io *io)
{
	uint64_t deadline_ns = io->deadline_ns;

	HF_CHECK_MAGIC(store, HF_STORE_MAGIC);
	HF_ASSERT(io->done != NULL);
	io->body = NULL;
	io->body_length = 0;
	io->names = NULL;
	io->name_count = 0;
	io->more = false;
	store->pending++;
	io->status = check(store, io);
	if (io->status != 0) {
		hf_list_push_back(&store->deferred, &io->link);
		run_later(store);
		return;
	}
	if (deadline_ns == 0)
		deadline_ns = uv_hrtime() + store->default_deadline_ms * HF_NS_PER_MS;
	store->ops->submit(store, io, deadline_ns);
}

void hf_store_finish(struct hf_store *store, struct hf_store_io *io, int status)
{
	HF_ASSERT(store->pending > 0);
	store->pending--;
	if (status != 0) {
		free(io->body);
		free(io->names);
		io->body = NULL;
		io->body_length = 0;
		io->names = NULL;
		io->name_count = 0;
		io->more = false;
	}
	io->status = status;
	io->done(io);
}

int hf_store_base_init(struct hf_store *store, const struct hf_store_ops *ops, uv_loop_t *loop)
{
	store->magic = HF_STORE_MAGIC;
	store->ops = ops;
	store->loop = loop;
	hf_list_init(&store->deferred);
	store->later.data = store;
	return uv_timer_init(loop, &store->later) == 0 ? 0 : HF_ENOMEM;
}

int hf_store_open(uv_loop_t *loop, const struct hf_store_config *config, struct hf_store **store,
		  struct hf_errmsg *message)
{
	static const char dir[] = "dir:", http[] = "s3+http://", https[] = "s3+https://";
	const char *url = config->url;
	int err;

	*store = NULL;
	if (!url)
		return hf_fail(message, HF_EINVAL, "no store is named");
	if (strncmp(url, dir, strlen(dir)) == 0)
		err = hf_store_dir_open(loop, url + strlen(dir), store, message);
	else if (strncmp(url, http, strlen(http)) == 0)
		err = hf_store_s3_open(loop, config, false, url + strlen(http), store, message);
	else if (strncmp(url, https, strlen(https)) == 0)
		err = hf_store_s3_open(loop, config, true, url + strlen(https), store, message);
	else
		err = hf_fail(message, HF_EINVAL,
			      "a store is dir:/PATH or s3+https://HOST[:PORT]/BUCKET[/PREFIX]");
	if (err == 0)
		(*store)->default_deadline_ms =
			config->default_deadline_ms ? config->default_deadline_ms : 60000;
	return err;
}

int hf_store_set_credentials(struct hf_store *store, const char *access_key, const char *secret_key,
			     const char *session_token)
{
	HF_CHECK_MAGIC(store, HF_STORE_MAGIC);
	if (!store->ops->set_credentials)
		return 0;
	return store->ops->set_credentials(store, access_key, secret_key, session_token);
}

void hf_store_close(struct hf_store *store, void (*closed)(void *context), void *context)
{
	HF_CHECK_MAGIC(store, HF_STORE_MAGIC);
	HF_ASSERT(!store->closing);
	store->closing = true;
	store->closed = closed;
	store->closed_context = context;
	run_later(store);
}

void hf_store_closed(struct hf_store *store)
{
	store->handles_closed = true;
	run_later(store);
}

/* ---- Probe: does a second conditional PUT of one name fail as it must? ---- */

#define PROBE_MAGIC 0x48465052u

enum probe_step { PROBE_CREATE, PROBE_CREATE_AGAIN, PROBE_REMOVE };

struct probe {
	uint32_t magic;
	enum probe_step step;
	struct hf_store *store;
	struct hf_store_io io;
	int status;
	struct hf_store_features features;
	void (*probed)(void *context, int status, const struct hf_store_features *features);
	void *context;
};

static void probe_next(struct probe *probe, enum probe_step step)
{
	probe->step = step;
	probe->io.op = step == PROBE_REMOVE ? HF_STORE_DELETE : HF_STORE_PUT;
	hf_store_submit(probe->store, &probe->io);
}

static void probe_end(struct probe *probe, int status)
{
	probe->probed(probe->context, status, &probe->features);
	probe->magic = 0;
	free(probe);
}

static void probe_done(struct hf_store_io *io)
{
	struct probe *probe = hf_container_of(io, struct probe, io);

	HF_CHECK_MAGIC(probe, PROBE_MAGIC);
	switch (probe->step) {
	case PROBE_CREATE:
		/* The name is random, so "exists" can only be our own first try, repeated. */
		if (io->status == HF_EUNSUPPORTED)
			probe_end(probe, 0);
		else if (io->status != 0 && io->status != HF_EEXIST)
			probe_end(probe, io->status);
		else
			probe_next(probe, PROBE_CREATE_AGAIN);
		return;
	case PROBE_CREATE_AGAIN:
		probe->features.conditional_put = io->status == HF_EEXIST;
		if (io->status != HF_EEXIST)
			probe->status = io->status;
		probe_next(probe, PROBE_REMOVE);
		return;
	case PROBE_REMOVE:
		probe_end(probe, probe->status ? probe->status : io->status);
		return;
	}
}

void hf_store_probe(struct hf_store *store,
		    void (*probed)(void *context, int status, const struct hf_store_features *),
		    void *context)
{
	static const char content[] = "holdfast looks whether conditional PUT works\n";
	struct probe *probe = calloc(1, sizeof *probe);
	uint8_t random[16];
	char hex[33];

	HF_ASSERT(probe != NULL);
	HF_ASSERT(getrandom(random, sizeof random, 0) == (ssize_t)sizeof random);
	hf_hex_encode(hex, random, sizeof random);
	probe->magic = PROBE_MAGIC;
	probe->store = store;
	probe->probed = probed;
	probe->context = context;
	snprintf(probe->io.name, sizeof probe->io.name, ".holdfast-probe/%s", hex);
	probe->io.data = content;
	probe->io.length = sizeof content - 1;
	probe->io.if_absent = true;
	probe->io.done = probe_done;
	probe_next(probe, PROBE_CREATE);
}
