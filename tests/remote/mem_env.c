/* The store and the process behind tests/remote/mem_env.h. */
#include "tests/remote/mem_env.h"
#include "base/assert.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Store ----------------------------------------------------------------------------------- */

struct mem_object *mem_find(struct mem_store *store, const char *name)
{
	for (unsigned i = 0; i < store->count; i++)
		if (strcmp(store->objects[i].name, name) == 0)
			return &store->objects[i];
	return NULL;
}

void mem_remove(struct mem_store *store, const char *name)
{
	struct mem_object *object = mem_find(store, name);

	if (!object)
		return;
	free(object->bytes);
	store->count--;
	memmove(object, object + 1,
		(size_t)(&store->objects[store->count] - object) * sizeof *object);
}

void mem_put(struct mem_store *store, const char *name, const void *bytes, size_t length)
{
	unsigned at = 0;

	mem_remove(store, name);
	store->objects = realloc(store->objects, (store->count + 1) * sizeof *store->objects);
	HF_ASSERT(store->objects);
	while (at < store->count && strcmp(store->objects[at].name, name) < 0)
		at++;
	memmove(&store->objects[at + 1], &store->objects[at],
		(store->count - at) * sizeof *store->objects);
	store->count++;
	store->objects[at].bytes = malloc(length + 1);
	HF_ASSERT(store->objects[at].bytes);
	memcpy(store->objects[at].bytes, bytes, length);
	store->objects[at].length = length;
	strcpy(store->objects[at].name, name);
}

void mem_copy(struct mem_store *to, const struct mem_store *from)
{
	mem_store_free(to);
	for (unsigned i = 0; i < from->count; i++)
		mem_put(to, from->objects[i].name, from->objects[i].bytes, from->objects[i].length);
}

void mem_store_free(struct mem_store *store)
{
	while (store->count)
		free(store->objects[--store->count].bytes);
	free(store->objects);
	store->objects = NULL;
}

/* ---- Operations ------------------------------------------------------------------------------ */

static int do_put(struct mem_store *store, const struct hf_store_io *io)
{
	store->puts++;
	if (io->if_absent && store->no_conditional_put)
		return HF_EUNSUPPORTED;
	if (io->if_absent && mem_find(store, io->name))
		return HF_EEXIST;
	mem_put(store, io->name, io->data, io->length);
	return 0;
}

static int do_get(struct mem_store *store, struct hf_store_io *io)
{
	const struct mem_object *object = mem_find(store, io->name);
	size_t length;

	store->gets++;
	if (!object)
		return HF_ENOENT;
	if (io->range_start >= object->length)
		return HF_ERANGE;
	length = object->length - (size_t)io->range_start;
	if (io->range_length && io->range_length < length)
		length = io->range_length;
	io->body = malloc(length);
	HF_ASSERT(io->body);
	memcpy(io->body, object->bytes + io->range_start, length);
	io->body_length = length;
	return 0;
}

static int do_list(struct mem_store *store, struct hf_store_io *io)
{
	unsigned limit = io->limit ? io->limit : 1000;

	store->lists++;
	io->names = calloc(store->count + 1, sizeof *io->names);
	HF_ASSERT(io->names);
	io->name_count = 0;
	io->more = false;
	for (unsigned i = 0; i < store->count; i++) {
		const struct mem_object *object = &store->objects[i];

		if (strncmp(object->name, io->name, strlen(io->name)) != 0 ||
		    strcmp(object->name, io->after) <= 0)
			continue;
		if (io->name_count == limit) {
			io->more = true;
			break;
		}
		memcpy(io->names[io->name_count].name, object->name, sizeof object->name);
		io->names[io->name_count++].size_bytes = object->length;
	}
	return 0;
}

static int execute(struct mem_store *store, struct hf_store_io *io)
{
	switch (io->op) {
	case HF_STORE_PUT:
		return do_put(store, io);
	case HF_STORE_GET:
		return do_get(store, io);
	case HF_STORE_LIST:
		return do_list(store, io);
	default:
		store->deletes++;
		mem_remove(store, io->name);
		return 0;
	}
}

void mem_answer(struct mem_env *env, struct hf_store_io *io, enum mem_fault fault)
{
	hf_list_remove(&io->link);
	if (env->dead) {
		io->status = HF_ECANCELED;
	} else if (fault == MEM_REFUSED) {
		io->status = HF_ECONN;
	} else {
		io->status = execute(env->store, io);
		if (fault == MEM_LOST) {
			free(io->body);
			free(io->names);
			io->body = NULL;
			io->names = NULL;
			io->status = HF_ETIMEDOUT;
		}
	}
	io->done(io);
}

/* ---- The table ------------------------------------------------------------------------------- */

static struct mem_env *of(struct hf_env *env)
{
	return hf_container_of(env, struct mem_env, env);
}

static uint64_t now_ns(struct hf_env *env)
{
	return of(env)->now_ns;
}

static uint64_t wall_ms(struct hf_env *env)
{
	return 1700000000000u + of(env)->now_ns / HF_NS_PER_MS;
}

static void random_bytes(struct hf_env *env, void *bytes, size_t length)
{
	uint8_t *out = bytes;

	for (size_t i = 0; i < length; i++) {
		of(env)->random = of(env)->random * 6364136223846793005u + 1442695040888963407u;
		out[i] = (uint8_t)(of(env)->random >> 56);
	}
}

static void timer_cancel(struct hf_env *env, struct hf_timer *timer)
{
	(void)env;
	if (!timer->armed)
		return;
	timer->armed = false;
	hf_list_remove(&timer->link);
}

static void timer_set(struct hf_env *env, struct hf_timer *timer, uint64_t due_ns)
{
	timer_cancel(env, timer);
	timer->due_ns = due_ns;
	timer->armed = true;
	hf_list_push_back(&of(env)->timers, &timer->link);
}

static void store_submit(struct hf_env *env, struct hf_store_io *io)
{
	io->body = NULL;
	io->names = NULL;
	hf_list_push_back(&of(env)->ios, &io->link);
}

static void work_submit(struct hf_env *env, struct hf_work *work)
{
	hf_list_push_back(&of(env)->works, &work->link);
}

void mem_env_init(struct mem_env *env, struct mem_store *store, uint64_t seed)
{
	static const struct hf_env_ops ops = {
		.now_ns = now_ns,
		.wall_ms = wall_ms,
		.random = random_bytes,
		.timer_set = timer_set,
		.timer_cancel = timer_cancel,
		.store_submit = store_submit,
		.work_submit = work_submit,
	};

	*env = (struct mem_env){.env = {.ops = &ops}, .store = store, .now_ns = HF_NS_PER_S};
	env->random = seed * 0x9e3779b97f4a7c15u + 1;
	hf_list_init(&env->ios);
	hf_list_init(&env->works);
	hf_list_init(&env->timers);
}

/* ---- Running --------------------------------------------------------------------------------- */

struct hf_store_io *mem_pending(struct mem_env *env, unsigned index)
{
	hf_list_for_each (at, &env->ios) {
		if (index-- == 0)
			return hf_container_of(at, struct hf_store_io, link);
	}
	return NULL;
}

static struct hf_timer *earliest(struct mem_env *env)
{
	struct hf_timer *first = NULL;

	hf_list_for_each (at, &env->timers) {
		struct hf_timer *timer = hf_container_of(at, struct hf_timer, link);

		if (!first || timer->due_ns < first->due_ns)
			first = timer;
	}
	return first;
}

bool mem_next_timer(struct mem_env *env)
{
	struct hf_timer *timer = earliest(env);

	if (!timer)
		return false;
	if (timer->due_ns > env->now_ns)
		env->now_ns = timer->due_ns;
	timer_cancel(&env->env, timer);
	timer->fired(timer);
	return true;
}

void mem_settle(struct mem_env *env)
{
	for (;;) {
		struct hf_list *link = hf_list_pop_front(&env->works);
		struct hf_timer *timer = earliest(env);

		if (link) {
			struct hf_work *work = hf_container_of(link, struct hf_work, link);

			work->run(work);
			work->done(work);
		} else if (timer && timer->due_ns <= env->now_ns) {
			mem_next_timer(env);
		} else {
			return;
		}
	}
}

void mem_run(struct mem_env *env, const bool *flag)
{
	for (unsigned i = 0; i < 1000000 && !*flag; i++) {
		struct hf_store_io *io;

		mem_settle(env);
		if (*flag)
			return;
		io = mem_pending(env, 0);
		if (io)
			mem_answer(env, io, MEM_OK);
		else
			HF_ASSERT(mem_next_timer(env));
	}
	HF_ASSERT(*flag);
}
