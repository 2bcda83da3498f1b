/* What must be true of the volumes, kept beside the gateway under test by the crash simulator.
 *
 * Every write has a stamp, and the bytes it writes tell stamp and address, so that each unit (512
 * bytes) of a volume tells whose it is. The model sees the log's order of writes (the simulator
 * listens to hf_wlog_append) as a journal for each volume: after a death the journal is cut to what
 * the gateway says survived, which must be at least what was promised, and then everything the
 * volume holds is known exactly.
 *
 * Because overlapping writes happen in the order of their submission, the outcome of each request
 * is known when it is submitted: `ahead` is the volume after everything submitted. `behind` is the
 * volume after everything that ended. Memory comes from sim_keep_*. */
#ifndef HF_TESTS_SIM_MODEL_H
#define HF_TESTS_SIM_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/volumed/core.h"

#define MODEL_VOLUMES_MAX 4u
#define MODEL_RANGES_MAX  4u
#define MODEL_UNITS_MAX   512u /* of one volume */

struct model_range {
	uint32_t lba, length; /* units */
};

/* One request of the simulated shim. */
struct model_op {
	uint32_t stamp; /* its index */
	uint8_t volume; /* index */
	enum hf_op op;
	bool fua, zeros; /* zeros: WRITE SAME of a zero block */
	struct model_range ranges[MODEL_RANGES_MAX];
	unsigned range_count;
	struct hf_request request;
	uint8_t *data; /* the request's payload */
	uint32_t data_length;
	bool ended, delivered; /* delivered: the shim has seen the completion */
	bool dropped;          /* the shim died with it, or it was cancelled in time */
	bool survived;         /* submitted again, and its records were in the log already */
	int predicted;         /* status */
	uint64_t predicted_info;
	uint64_t sequence;           /* last one in the journal, 0: none */
	uint64_t submitted, done_at; /* ticks */
	uint64_t promise;            /* FLUSH: sequence that is durable when it ends */
	uint32_t window;             /* READ: no older op was under way when it was submitted */
	uint64_t tier_moment;        /* READ: the memory tier's, when it was submitted */
	uint32_t *before;            /* READ: `behind` of its range at submission */
};

/* One record of the log. */
struct model_record {
	uint32_t stamp; /* of the units; 0 for zeros */
	uint32_t op;    /* stamp of the request */
	struct model_range range;
	bool ends_append;
};

struct model_volume {
	uint64_t number;
	/* The window of the volume that is used: `units` from `first_lba`, across the end of a leaf
	 * of the map. Addresses in the model are relative to it. */
	uint64_t first_lba, window_bytes;
	uint32_t units;
	bool write_cache;
	uint64_t epoch;
	/* The volume after record base_sequence, and the records after it. */
	uint32_t base[MODEL_UNITS_MAX];
	uint64_t base_sequence;
	struct model_record *records;
	size_t count, capacity;
	uint32_t ahead[MODEL_UNITS_MAX], behind[MODEL_UNITS_MAX];
	uint64_t promised;       /* highest sequence that must survive */
	uint64_t published;      /* highest recovery point that was reported */
	uint64_t ended_sequence; /* highest sequence of a request that has ended */
};

struct model {
	struct model_volume volumes[MODEL_VOLUMES_MAX];
	unsigned volume_count;
	struct model_op **ops; /* by stamp; 0 is unused */
	size_t op_count, op_capacity;
	uint64_t ticks;
	uint64_t copies;   /* appends that wrote records again */
	char problem[256]; /* first thing found wrong, "" if none */
};

void model_init(struct model *model);
void model_free(struct model *model);
void model_fail(struct model *model, const char *format, ...) __attribute__((format(printf, 2, 3)));
struct model_volume *model_find(struct model *model, uint64_t number);

struct model_op *model_op_new(struct model *model);
/* The bytes of one unit with this stamp. */
void model_unit(const struct model *model, uint32_t stamp, uint32_t lba, uint8_t *bytes);
/* Whose bytes they are: the stamp, or UINT32_MAX if nobody ever wrote this there. */
uint32_t model_whose(const struct model *model, const uint8_t *bytes, uint32_t lba,
		     unsigned volume);

/* At (re)submission: predicts the outcome and moves `ahead`. `survived`: its records are in the
 * journal already, so it is to be answered and not executed. */
void model_submitted(struct model *model, struct model_op *op, bool survived);
/* At the end: checks the outcome, moves `behind` and the promises. */
void model_ended(struct model *model, struct model_op *op);
/* The log's view: records of one append, in order. */
void model_appended(struct model *model, const struct hf_wlog_append *append);

/* The volume's content after record `sequence`. */
void model_image(const struct model_volume *volume, uint64_t sequence, uint32_t *image);
bool model_is_append_end(const struct model_volume *volume, uint64_t sequence);
/* After a death: records past `sequence` did not survive. */
void model_cut(struct model *model, struct model_volume *volume, uint64_t sequence);
/* Records up to `sequence` can never be cut again. */
void model_settle(struct model_volume *volume, uint64_t sequence);
/* Compares what was read of the whole volume with an image. */
void model_compare(struct model *model, const struct model_volume *volume, const uint8_t *bytes,
		   const uint32_t *image, const char *what);

#endif
