/* What the files of a checkpoint being written share: remote_checkpoint.c decides when, collects
 * what it needs and takes the map as of one moment; remote_checkpoint_store.c encodes, stores and
 * counts it and deletes what it superseded. Core's thread; `encode_run` is a worker's and touches
 * only what the checkpoint owns. */
#ifndef HF_REMOTE_CHECKPOINT_H
#define HF_REMOTE_CHECKPOINT_H

#include "remote/remote_impl.h"

#define HF_CHECKPOINT_MAGIC 0x43484b50u
#define HF_CHECKPOINT_WANTS 8u

enum hf_checkpoint_state {
	HF_CHECKPOINT_COLLECTING, /* partial leaves and pages are being loaded */
	HF_CHECKPOINT_ENCODING,
	HF_CHECKPOINT_STORING,
	HF_CHECKPOINT_COMPARING, /* the name exists: is it ours? */
	HF_CHECKPOINT_ANSWERED,  /* all in the store; counts after a look */
};

struct hf_checkpoint_want {
	struct hf_checkpoint *checkpoint; /* NULL: free */
	struct hf_block_wait wait;
};

struct hf_checkpoint_leaf {
	uint64_t leaf;
	size_t offset; /* in `raw` */
	uint32_t length;
	bool writing; /* begin_write was called; else it is only moved */
};

struct hf_checkpoint_part {
	struct hf_map_object object;
	uint8_t *bytes;
	size_t length;
};

struct hf_checkpoint {
	uint32_t magic;
	enum hf_checkpoint_state state;
	struct hf_remote *remote;

	/* Collecting. */
	struct hf_checkpoint_want wants[HF_CHECKPOINT_WANTS];
	unsigned wanting, passes;
	bool wanted_any;
	uint64_t next_leaf;
	int status;
	bool cleaning;               /* the header of `victim` is being read */
	struct hf_map_object victim; /* number 0: none */
	uint64_t *victim_leaves;
	uint32_t victim_count, next_victim;
	uint32_t next_page; /* of the root: those that lie in the victim move too */

	/* The map as of one moment. */
	struct hf_checkpoint_leaf *leaves; /* ascending */
	uint32_t leaf_count, leaf_capacity;
	uint8_t *raw;
	size_t raw_bytes, raw_capacity;
	struct hf_map_root *next; /* with the pages that change */

	/* In the store. */
	struct hf_object_id id;           /* of the part before the first */
	struct hf_checkpoint_part *parts; /* the last one has the root */
	uint8_t (*salts)[HF_SALT_BYTES];
	unsigned part_count, part_max, at_part;
	int encode_status;
	bool in_look; /* answered before the look under way began */
	bool unconditional;
	struct hf_work work;
	struct hf_retry retry;
};

/* remote_checkpoint.c */
void hf_checkpoint_fail(struct hf_checkpoint *checkpoint, int status);
/* It is the root in force now. */
void hf_checkpoint_succeeded(struct hf_remote *remote);
void hf_checkpoint_free(struct hf_checkpoint *checkpoint);

/* remote_checkpoint_store.c */
void hf_checkpoint_encode(struct hf_checkpoint *checkpoint);
/* What the owner is told when the remote side takes no more; 0 while it does. */
int hf_checkpoint_end_status(const struct hf_remote *remote);

/* remote_clean.c */

/* Looks for a map object of which little is live and has its header read; hf_checkpoint_collect
 * goes on after that. False if there is none. */
bool hf_checkpoint_clean(struct hf_checkpoint *checkpoint);
void hf_checkpoint_collect(struct hf_checkpoint *checkpoint);

#endif
