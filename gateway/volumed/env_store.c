/* The object store on a thread of its own with a loop of its own: TLS, signing and a directory's
 * fsync must not delay the ring. Requests come over a locked queue and a uv_async; each is copied
 * into a call, so that the store's callback does not touch the caller's memory; answers go back
 * through hf_env_arrive and are copied there.
 *
 *   no store yet    calls are parked until one is set or their deadline passes (HF_ECONN)
 *   store replaced  what the old one had under way ends with HF_EAGAIN: try again
 *   stopping        everything ends with HF_ECANCELED, then the thread ends
 */
#include "gateway/volumed/env_impl.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"

#define CALL_MAGIC        0x48464341u
#define PARKED_DEFAULT_MS 60000u

struct hf_env_store_call {
	uint32_t magic;
	struct hf_env_uv *env;
	struct hf_store_io io; /* the store's, until done */
	struct hf_store_io *caller;
	struct hf_list link;
	uint64_t park_until_ns;
};

/* ---- The loop's thread ---- */

void hf_env_store_call_arrived(struct hf_list *link)
{
	struct hf_env_store_call *call = hf_container_of(link, struct hf_env_store_call, link);
	struct hf_store_io *io = call->caller;

	HF_CHECK_MAGIC(call, CALL_MAGIC);
	io->body = call->io.body;
	io->body_length = call->io.body_length;
	io->names = call->io.names;
	io->name_count = call->io.name_count;
	io->more = call->io.more;
	io->status = call->io.status;
	call->magic = 0;
	free(call);
	io->done(io);
}

void hf_env_store_submit_uv(struct hf_env *table, struct hf_store_io *io)
{
	struct hf_env_uv *env = hf_env_uv_of(table);
	struct hf_env_store *store = &env->store;
	struct hf_env_store_call *call = calloc(1, sizeof *call);

	HF_ASSERT(call);
	hf_env_began(env);
	*call = (struct hf_env_store_call){
		.magic = CALL_MAGIC, .env = env, .io = *io, .caller = io};
	if (env->store_closing) {
		call->io.status = HF_ECANCELED;
		hf_env_arrive(env, HF_ARRIVAL_STORE, &call->link);
		return;
	}
	pthread_mutex_lock(&store->lock);
	hf_list_push_back(&store->calls, &call->link);
	uv_async_send(&store->wake);
	pthread_mutex_unlock(&store->lock);
}

void hf_env_uv_set_store(struct hf_env_uv *env, struct hf_env_uv_store_change *change)
{
	struct hf_env_store *store = &env->store;

	HF_CHECK_MAGIC(env, HF_ENV_MAGIC);
	hf_env_began(env);
	change->message.text[0] = '\0';
	if (env->store_closing) {
		change->status = HF_ECANCELED;
		hf_env_arrive(env, HF_ARRIVAL_STORE_CHANGE, &change->link);
		return;
	}
	pthread_mutex_lock(&store->lock);
	hf_list_push_back(&store->changes, &change->link);
	uv_async_send(&store->wake);
	pthread_mutex_unlock(&store->lock);
}

/* ---- The store's thread: calls ---- */

static void end_call(struct hf_env_store_call *call, int status)
{
	call->io.status = status;
	hf_env_arrive(call->env, HF_ARRIVAL_STORE, &call->link);
}

static void call_done(struct hf_store_io *io)
{
	struct hf_env_store_call *call = hf_container_of(io, struct hf_env_store_call, io);

	HF_CHECK_MAGIC(call, CALL_MAGIC);
	if (io->status == HF_ECANCELED && !call->env->store.stopping)
		io->status = HF_EAGAIN;
	end_call(call, io->status);
}

static void parked_fired(uv_timer_t *handle);

static void arm_parked(struct hf_env_store *store)
{
	uint64_t now = uv_hrtime(), first = UINT64_MAX;

	hf_list_for_each (link, &store->parked) {
		struct hf_env_store_call *call =
			hf_container_of(link, struct hf_env_store_call, link);

		if (call->park_until_ns < first)
			first = call->park_until_ns;
	}
	if (first == UINT64_MAX) {
		uv_timer_stop(&store->parked_timer);
		return;
	}
	uv_timer_start(&store->parked_timer, parked_fired,
		       first > now ? (first - now) / HF_NS_PER_MS + 1 : 0, 0);
}

static void parked_fired(uv_timer_t *handle)
{
	struct hf_env_store *store = handle->data;
	uint64_t now = uv_hrtime();

	hf_list_for_each_safe (link, &store->parked) {
		struct hf_env_store_call *call =
			hf_container_of(link, struct hf_env_store_call, link);

		if (call->park_until_ns > now)
			continue;
		hf_list_remove(link);
		end_call(call, HF_ECONN);
	}
	arm_parked(store);
}

static void begin_call(struct hf_env_store *store, struct hf_env_store_call *call)
{
	if (store->stopping) {
		end_call(call, HF_ECANCELED);
	} else if (store->current) {
		call->io.done = call_done;
		hf_store_submit(store->current, &call->io);
	} else {
		call->park_until_ns = call->io.deadline_ns;
		if (call->park_until_ns == 0)
			call->park_until_ns = uv_hrtime() + PARKED_DEFAULT_MS * HF_NS_PER_MS;
		hf_list_push_back(&store->parked, &call->link);
	}
}

/* ---- The store's thread: which store ---- */

/* After the last store is closed nothing but our own handles is left in the loop. */
static void maybe_leave(struct hf_env_store *store)
{
	if (!store->stopping || store->current || store->stores_closing > 0 ||
	    uv_is_closing((uv_handle_t *)&store->wake))
		return;
	uv_close((uv_handle_t *)&store->wake, NULL);
	uv_close((uv_handle_t *)&store->parked_timer, NULL);
}

static void store_closed(void *context)
{
	struct hf_env_store *store = context;

	store->stores_closing--;
	maybe_leave(store);
}

static void close_current(struct hf_env_store *store)
{
	struct hf_store *old = store->current;

	if (!old)
		return;
	store->current = NULL;
	store->stores_closing++;
	hf_store_close(old, store_closed, store);
}

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

static bool is_only_credentials(const struct hf_env_store *store,
				const struct hf_store_config *config)
{
	return store->current && config->access_key && config->secret_key &&
	       same_text(store->url, config->url) && same_text(store->region, config->region) &&
	       same_text(store->ca_file, config->ca_file);
}

static void replace_text(char **text, const char *value)
{
	free(*text);
	*text = value ? strdup(value) : NULL;
	HF_ASSERT(!value || *text);
}

static void probed(void *context, int status, const struct hf_store_features *features)
{
	(void)context;
	if (status == 0)
		hf_info("store answers, conditional_put=%s",
			features->conditional_put ? "yes" : "no");
	else if (status != HF_ECANCELED)
		hf_warn("store does not answer yet: %s", hf_err_text(status));
}

static void apply_change(struct hf_env_store *store, struct hf_env_uv_store_change *change)
{
	const struct hf_store_config *config = &change->config;
	struct hf_store *opened = NULL;

	if (is_only_credentials(store, config)) {
		change->status =
			hf_store_set_credentials(store->current, config->access_key,
						 config->secret_key, config->session_token);
		return;
	}
	change->status = hf_store_open(&store->loop, config, &opened, &change->message);
	if (change->status)
		return;
	close_current(store);
	store->current = opened;
	replace_text(&store->url, config->url);
	replace_text(&store->region, config->region);
	replace_text(&store->ca_file, config->ca_file);
	hf_store_probe(opened, probed, NULL);
}

static void begin_all(struct hf_env_store *store, struct hf_list *calls)
{
	struct hf_list *link;

	while ((link = hf_list_pop_front(calls)) != NULL)
		begin_call(store, hf_container_of(link, struct hf_env_store_call, link));
}

static void store_wake_fired(uv_async_t *handle)
{
	struct hf_env_store *store = handle->data;
	struct hf_list calls, changes, *link;

	hf_list_init(&calls);
	hf_list_init(&changes);
	pthread_mutex_lock(&store->lock);
	hf_list_splice_back(&changes, &store->changes);
	hf_list_splice_back(&calls, &store->calls);
	store->stopping = store->stop;
	pthread_mutex_unlock(&store->lock);
	while ((link = hf_list_pop_front(&changes)) != NULL) {
		struct hf_env_uv_store_change *change =
			hf_container_of(link, struct hf_env_uv_store_change, link);

		if (store->stopping)
			change->status = HF_ECANCELED;
		else
			apply_change(store, change);
		hf_env_arrive(store->env, HF_ARRIVAL_STORE_CHANGE, &change->link);
	}
	if (store->stopping)
		close_current(store);
	if (store->stopping || store->current) {
		struct hf_list parked;

		hf_list_init(&parked);
		hf_list_splice_back(&parked, &store->parked);
		begin_all(store, &parked);
	}
	begin_all(store, &calls);
	arm_parked(store);
	maybe_leave(store);
}

static void *store_run(void *argument)
{
	struct hf_env_store *store = argument;
	struct hf_env_uv *env = store->env;

	uv_run(&store->loop, UV_RUN_DEFAULT);
	HF_ASSERT(uv_loop_close(&store->loop) == 0);
	pthread_mutex_lock(&env->arrivals_lock);
	store->stopped = true;
	hf_env_wake(env);
	pthread_mutex_unlock(&env->arrivals_lock);
	return NULL;
}

/* ---- Start and stop, the loop's thread ---- */

int hf_env_store_start(struct hf_env_uv *env)
{
	struct hf_env_store *store = &env->store;
	int err;

	store->env = env;
	hf_list_init(&store->calls);
	hf_list_init(&store->changes);
	hf_list_init(&store->parked);
	err = hf_err_from_errno(-uv_loop_init(&store->loop));
	if (err)
		return err;
	err = hf_err_from_errno(-uv_async_init(&store->loop, &store->wake, store_wake_fired));
	if (err)
		goto err_after_loop;
	uv_timer_init(&store->loop, &store->parked_timer);
	store->wake.data = store->parked_timer.data = store;
	pthread_mutex_init(&store->lock, NULL);
	err = hf_env_thread_start(&store->thread, "hf-store", store_run, store);
	if (err)
		goto err_after_handles;
	store->started = true;
	return 0;

err_after_handles:
	pthread_mutex_destroy(&store->lock);
	uv_close((uv_handle_t *)&store->wake, NULL);
	uv_close((uv_handle_t *)&store->parked_timer, NULL);
	uv_run(&store->loop, UV_RUN_DEFAULT);
err_after_loop:
	uv_loop_close(&store->loop);
	return err;
}

void hf_env_uv_close_store(struct hf_env_uv *env)
{
	struct hf_env_store *store = &env->store;

	HF_CHECK_MAGIC(env, HF_ENV_MAGIC);
	if (env->store_closing)
		return;
	env->store_closing = true;
	if (!store->started)
		return;
	pthread_mutex_lock(&store->lock);
	store->stop = true;
	uv_async_send(&store->wake);
	pthread_mutex_unlock(&store->lock);
}

void hf_env_store_join(struct hf_env_uv *env)
{
	struct hf_env_store *store = &env->store;

	if (!store->started)
		return;
	pthread_join(store->thread, NULL);
	pthread_mutex_destroy(&store->lock);
	free(store->url);
	free(store->region);
	free(store->ca_file);
}
