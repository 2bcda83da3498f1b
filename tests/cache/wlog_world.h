/* A write log on the disk of a simulated world, for tests that tell one story: open, append one
 * record, read, flush, close. Every wait has a deadline in virtual time. */
#ifndef HF_TESTS_CACHE_WLOG_WORLD_H
#define HF_TESTS_CACHE_WLOG_WORLD_H

#include "cache/wlog.h"
#include "tests/sim/sim_env.h"

#define WORLD_SEGMENT (64u << 10)
#define WORLD_VOLUME  7u
#define WORLD_DURABLE 1u
#define WORLD_RESERVE 2u
#define WORLD_UNITS   128u

struct world {
	struct sim *sim;
	struct hf_wlog *log;
	uint64_t keep_bytes; /* for the next open */
	unsigned alarms, moved;
	unsigned recovered;      /* DATA records */
	unsigned refused;        /* recovered DATA records that read as HF_ECORRUPT */
	uint64_t whole_segments; /* closed ones that the last open had to read from end to end */
	struct hf_place last_moved;
	struct hf_errmsg message;
	uint64_t sequence;
	struct {
		uint64_t lba, length;
		struct hf_place place;
		uint64_t sequence;
	} records[200]; /* recovered, in order */
	bool flag;
	int status;
};

struct world_append {
	struct hf_wlog_append append;
	struct hf_wlog_record record;
	bool done;
};

struct world_reading {
	struct hf_wlog_read read;
	uint8_t *buffer;
	bool done;
};

/* A fresh world with a formatted disk of so many segments. */
void world_begin(struct world *world, uint64_t seed, unsigned segments);
void world_begin_blank(struct world *world, uint64_t seed, unsigned segments);
void world_end(struct world *world);
int world_format(struct world *world, uint32_t segment_bytes, bool force);
/* Formats for so many events; true if it was done by then. */
bool world_format_cut(struct world *world, unsigned events);
/* Opens; the status. Then (again) everything but the log is as after world_begin. */
int world_try_open(struct world *world);
/* Opens for so many events; the process has to die then. */
void world_open_cut(struct world *world, unsigned events);
/* Opens, or fails the test. */
void world_open(struct world *world);
void world_close(struct world *world);

/* Appends one DATA record whose payload follows from each unit's LBA. */
void world_append(struct world *world, struct world_append *append, uint64_t lba, uint64_t units,
		  unsigned flags);
void world_wait(struct world *world, const bool *flag);
void world_flush(struct world *world);
/* Reads `length` units from `from` units behind the place, as LBA `lba`; checks what is given. */
int world_read(struct world *world, uint64_t lba, struct hf_place place, uint64_t from,
	       uint64_t length);
void world_read_start(struct world *world, struct world_reading *reading, uint64_t lba,
		      struct hf_place place, uint64_t from, uint64_t length);
/* Fails unless the payload is right for the address. */
void world_check(const uint8_t *bytes, uint64_t lba, uint64_t units);

#endif
