/* An actor of the tests: a process with one volume's remote side, that writes recognisable blocks.
 * Write `sequence` of an actor goes to LBA (`sequence` - 1) * ACTOR_STRIDE and says who wrote it,
 * so that a reader can tell whose history the store holds. */
#ifndef HF_TESTS_REMOTE_ACTOR_H
#define HF_TESTS_REMOTE_ACTOR_H

#include "remote/remote.h"
#include "tests/remote/mem_env.h"

#define ACTOR_TENANT      0xaau
#define ACTOR_VOLUME      0xbbu
#define ACTOR_STRIDE      1u /* all in one leaf: each checkpoint supersedes the one before */
#define ACTOR_SIZE        (1ull << 40)
#define ACTOR_UPLOADS_MAX 8u
#define ACTOR_WRITES_MAX  64u

struct actor {
	struct mem_env env;
	struct hf_remote_open open;
	struct hf_remote *remote;
	bool opened, closed, fenced;
	uint64_t counted; /* the last `advanced`, or the recovery point at opening */
	uint64_t counted_calls;
	uint64_t who; /* written into each block */
	/* May be set before it opens. */
	struct hf_remote_maps *maps;
	struct hf_remote_checkpoints checkpoints;
	bool rebuild_map;
	uint64_t size_bytes; /* 0: ACTOR_SIZE */
	struct actor_upload {
		struct hf_remote_upload upload;
		struct hf_object_extent extent;
		uint8_t block[512];
		bool done;
	} uploads[ACTOR_UPLOADS_MAX];
	unsigned upload_count;
	bool in_call; /* to assert that no callback comes from inside a call */
};

void actor_init(struct actor *actor, struct mem_store *store, uint64_t who);
/* Starts opening; `opened` tells. Claiming with this epoch, or reading when it is 0. */
void actor_open(struct actor *actor, uint64_t epoch);
void actor_open_with(struct actor *actor, uint64_t epoch, struct hf_read_cache *cache);
/* One write as one object, the next of this actor. */
void actor_upload(struct actor *actor);
/* Opens, runs until open; asserts the status. */
void actor_open_now(struct actor *actor, uint64_t epoch, int status);
void actor_run(struct actor *actor, const bool *flag);
/* Lets every look that is due be answered, and no PUT. */
void actor_answer_looks(struct actor *actor);
/* Begins to close an open one: `closed` tells. */
void actor_close(struct actor *actor);
/* Ends it orderly or, when the process `died`, without any further effect on the store. */
void actor_end(struct actor *actor, bool died);

/* Who wrote each write 1 … the recovery point of the store, as a fresh reader sees it: asserts that
 * nothing past the recovery point is in the map. Returns the recovery point; 0 if nothing began. */
uint64_t actor_history(struct mem_store *store, uint64_t *who);
/* The same for an open actor's own map. */
uint64_t actor_view(struct actor *actor, uint64_t *who);
/* False: it turned out to be fenced meanwhile. */
bool actor_try_view(struct actor *actor, uint64_t *who, uint64_t *recovery_point);
/* Loads what is absent on the way to the first extent in the range. 0 and *found, or the status of
 * the load that failed. Answers looks too: what is missing may tell that the actor is fenced. */
int actor_look(struct actor *actor, uint64_t lba, uint64_t length, struct hf_extent *extent,
	       bool *found);
/* Asks for a checkpoint and lets everything be answered until it is there. Returns its status. */
int actor_checkpoint(struct actor *actor);

#endif
