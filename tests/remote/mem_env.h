/* A process and a store in memory for the tests of remote/: every store operation waits until the
 * test answers it, in any order and with a fault if it likes, so that interleavings and crash
 * points can be enumerated. Several processes (mem_env) share one mem_store. Virtual time. */
#ifndef HF_TESTS_REMOTE_MEM_ENV_H
#define HF_TESTS_REMOTE_MEM_ENV_H

#include "base/env.h"

struct mem_object {
	char name[HF_STORE_NAME_MAX + 1];
	uint8_t *bytes;
	size_t length;
};

struct mem_store {
	struct mem_object *objects; /* in byte order of names */
	unsigned count;
	bool no_conditional_put; /* answers HF_EUNSUPPORTED */
	unsigned gets, puts, lists, deletes;
};

struct mem_object *mem_find(struct mem_store *store, const char *name);
void mem_put(struct mem_store *store, const char *name, const void *bytes, size_t length);
void mem_remove(struct mem_store *store, const char *name);
void mem_copy(struct mem_store *to, const struct mem_store *from);
void mem_store_free(struct mem_store *store);

struct mem_env {
	struct hf_env env;
	struct mem_store *store;
	uint64_t now_ns, random;
	struct hf_list ios, works, timers; /* in order of submission */
	bool dead; /* operations have no effect any more and end with HF_ECANCELED */
};

void mem_env_init(struct mem_env *env, struct mem_store *store, uint64_t seed);

enum mem_fault {
	MEM_OK,
	MEM_LOST,    /* has its effect, but the answer is HF_ETIMEDOUT */
	MEM_REFUSED, /* HF_ECONN, and nothing happened */
};

/* The oldest operation under way, or the one at `index`; NULL if there are fewer. */
struct hf_store_io *mem_pending(struct mem_env *env, unsigned index);
void mem_answer(struct mem_env *env, struct hf_store_io *io, enum mem_fault fault);
/* Work and timers that are due now, until only store operations are under way. */
void mem_settle(struct mem_env *env);
/* Goes on to the next timer; false if there is none. */
bool mem_next_timer(struct mem_env *env);
/* Answers everything in order until the flag is set; fails the test if nothing is left to do. */
void mem_run(struct mem_env *env, const bool *flag);

#endif
