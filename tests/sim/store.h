/* The virtual object store: a sorted table of named objects, shared by every host of a world. The
 * effects of operations; timing and failures belong to sim_env.c. */
#ifndef HF_TESTS_SIM_STORE_H
#define HF_TESTS_SIM_STORE_H

#include "base/env.h"
#include "tests/sim/sim_env.h"

struct sim_stored; /* an object, counted, so that two worlds can share it */

struct sim_store {
	struct sim_stored **objects; /* in byte order of their names */
	unsigned count, capacity;
};

/* What was done with checkpoints, over all worlds of the process: to see that something was. */
struct sim_store_maps {
	uint64_t puts, block_gets, deletes;
};
extern struct sim_store_maps sim_store_maps;

void sim_store_init(struct sim_store *store, const struct sim_store *from);
void sim_store_free(struct sim_store *store);
const struct sim_object *sim_store_get(const struct sim_store *store, unsigned index);
/* The first name that is not below `name`; *exact if it is that one. */
unsigned sim_store_seek(const struct sim_store *store, const char *name, bool *exact);
void sim_store_set(struct sim_store *store, const char *name, const void *bytes, size_t length);
void sim_store_remove(struct sim_store *store, const char *name);
/* What the operation does, and its status. GET's and LIST's answers are allocated on the selected
 * heap. */
int sim_store_apply(struct sim_store *store, struct hf_store_io *io);

#endif
