/* A simulated world with volume cores for scenario tests: each call runs virtual time until what it
 * asked for has ended. Host h has the core of gateway h. */
#ifndef HF_TESTS_CORE_CORE_WORLD_H
#define HF_TESTS_CORE_CORE_WORLD_H

#include "base/assert.h"
#include "gateway/volumed/core.h"
#include "tests/sim/sim_env.h"

#define WORLD_HOSTS    2u
#define WORLD_VOLUME   0x51ull
#define WORLD_TENANT   7ull
#define WORLD_SIZE     (1u << 20) /* of the volume, bytes */
#define WORLD_PATIENCE (900 * HF_NS_PER_S)

struct core_world {
	struct sim *sim;
	struct hf_core *cores[WORLD_HOSTS];
	unsigned alarms;
	char last_alarm[256];
	uint64_t read_deadline_ms;
	uint64_t keep_bytes; /* 0 at first */
	bool misses_a_log;   /* beside the one that is there */
	uint64_t least_version;
};

/* A world with formatted disks and no process. */
struct core_world *world_create(uint64_t seed);
void world_destroy(struct core_world *world);
/* For cmocka: closes what runs and destroys the world that *state is. */
int world_teardown(void **state);
void world_boot(struct core_world *world, unsigned host);
/* The status; the core is there only if it is 0. */
int world_try_boot(struct core_world *world, unsigned host);
void world_close(struct core_world *world, unsigned host);
/* SIGKILL or, with `power`, a loss of power. */
void world_die(struct core_world *world, unsigned host, bool power);

struct hf_volume_config world_config(bool create);
/* Statuses of the change; -1000 if it does not end. */
int world_attach(struct core_world *world, unsigned host, struct hf_volume_config config);
int world_detach(struct core_world *world, unsigned host, bool force);
int world_delete(struct core_world *world, unsigned host);
/* Starts a deletion and does not wait. */
void world_delete_start(struct core_world *world, unsigned host);
/* Starts a detach and does not wait; *done is set when it ended. */
struct hf_volume_change *world_detach_start(struct core_world *world, unsigned host, bool *done);

/* A request that lives until world_request_free. */
struct world_request {
	struct hf_request request;
	bool done;
};
struct world_request *world_submit(struct core_world *world, unsigned host, enum hf_op op,
				   uint64_t offset, uint64_t length, void *data,
				   uint32_t data_length, uint64_t id, uint32_t flags);
int world_wait(struct core_world *world, struct world_request *request);
/* Submit, wait, free. */
int world_do(struct core_world *world, unsigned host, enum hf_op op, uint64_t offset,
	     uint64_t length, void *data, uint32_t data_length);
int world_write(struct core_world *world, unsigned host, uint64_t offset, uint64_t length,
		uint8_t fill);
/* 0 and every byte is `fill`; a status; or 1 if some byte is not. */
int world_expect(struct core_world *world, unsigned host, uint64_t offset, uint64_t length,
		 uint8_t fill);
/* The name of the last object with data that the store holds. */
void world_object_name(struct core_world *world, char *name);
struct hf_volume_status world_status(struct core_world *world, unsigned host);
bool world_wait_state(struct core_world *world, unsigned host, enum hf_volume_state state);
/* Until the store covers everything. */
bool world_wait_uploaded(struct core_world *world, unsigned host);

#endif
