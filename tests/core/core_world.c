/* The world of tests/core/core_world.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "cache/wlog.h"
#include "tests/core/core_world.h"

#define DISK_SIZE (1u << 20)

struct format_job {
	struct hf_wlog_format format;
	bool done;
};

static void formatted(struct hf_wlog_format *format)
{
	hf_container_of(format, struct format_job, format)->done = true;
}

static void world_format(struct core_world *world, unsigned host)
{
	struct format_job *job = sim_keep_alloc(sizeof *job);

	job->format.env = sim_env(world->sim, host);
	job->format.uuid[0] = (uint8_t)(1 + host);
	job->format.segment_bytes = 64u << 10;
	job->format.done = formatted;
	sim_select(world->sim, host);
	hf_wlog_format_start(&job->format);
	HF_ASSERT(sim_wait_flag(world->sim, &job->done, WORLD_PATIENCE) && job->format.status == 0);
	sim_keep_free(job);
}

struct core_world *world_create(uint64_t seed)
{
	struct sim_config config = {.seed = seed,
				    .host_count = WORLD_HOSTS,
				    .disk_size_bytes = {DISK_SIZE},
				    .store_delay_ns = 5 * HF_NS_PER_MS};
	struct core_world *world = sim_keep_alloc(sizeof *world);

	setenv("HOLDFAST_LOG", "error", 0);
	hf_log_init("core_test");
	world->sim = sim_create(&config);
	world->read_deadline_ms = 2000;
	for (unsigned i = 0; i < WORLD_HOSTS; i++)
		world_format(world, i);
	return world;
}

void world_destroy(struct core_world *world)
{
	sim_destroy(world->sim);
	sim_keep_free(world);
}

int world_teardown(void **state)
{
	struct core_world *world = *state;

	for (unsigned i = 0; i < WORLD_HOSTS; i++)
		if (world->cores[i])
			world_close(world, i);
	world_destroy(world);
	return 0;
}

/* ---- Processes ---------------------------------------------------------------------------------
 */

static void alarmed(void *context, uint64_t volume, const char *text)
{
	struct core_world *world = context;

	(void)volume;
	world->alarms++;
	snprintf(world->last_alarm, sizeof world->last_alarm, "%s", text);
}

struct open_job {
	struct hf_core_open open;
	bool done;
};

static void core_opened(struct hf_core_open *open)
{
	hf_container_of(open, struct open_job, open)->done = true;
}

int world_try_boot(struct core_world *world, unsigned host)
{
	struct open_job *job = sim_keep_alloc(sizeof *job);
	struct hf_core_config *config = &job->open.config;
	int status;

	config->env = sim_env(world->sim, host);
	config->object_bytes = 32u << 10;
	config->object_timer_ms = 50;
	config->read_deadline_ms = world->read_deadline_ms;
	config->claims_look_ms = 50;
	config->cache_bytes = 1u << 20;
	config->keep_bytes = world->keep_bytes;
	if (world->misses_a_log) {
		config->disk_count = 2;
		config->disks[1] = HF_CORE_NO_DISK;
	}
	config->least_version[0] = world->least_version;
	config->context = world;
	config->alarm = alarmed;
	job->open.opened = core_opened;
	sim_select(world->sim, host);
	hf_core_open_start(&job->open);
	HF_ASSERT(sim_wait_flag(world->sim, &job->done, WORLD_PATIENCE));
	world->cores[host] = job->open.core;
	status = job->open.status;
	sim_keep_free(job);
	return status;
}

void world_boot(struct core_world *world, unsigned host)
{
	HF_ASSERT(world_try_boot(world, host) == 0);
}

static void core_closed(void *context)
{
	*(bool *)context = true;
}

void world_close(struct core_world *world, unsigned host)
{
	bool *done = sim_keep_alloc(sizeof *done);

	sim_select(world->sim, host);
	hf_core_close(world->cores[host], core_closed, done);
	HF_ASSERT(sim_wait_flag(world->sim, done, WORLD_PATIENCE));
	HF_ASSERT(sim_heap_count(world->sim, host) == 0); /* nothing leaks */
	world->cores[host] = NULL;
	sim_keep_free(done);
}

void world_die(struct core_world *world, unsigned host, bool power)
{
	if (power)
		sim_power_cut(world->sim, host);
	else
		sim_kill(world->sim, host);
	world->cores[host] = NULL;
}

/* ---- Volumes -----------------------------------------------------------------------------------
 */

struct hf_volume_config world_config(bool create)
{
	struct hf_volume_config config = {.tenant = WORLD_TENANT,
					  .volume = WORLD_VOLUME,
					  .size_bytes = WORLD_SIZE,
					  .attach_epoch = 1,
					  .create = create};

	memset(config.wrap_key, 0x33, sizeof config.wrap_key);
	return config;
}

struct change_job {
	struct hf_volume_change change;
	bool done;
};

static void changed(struct hf_volume_change *change)
{
	*(bool *)change->owner = true;
}

static int change_run(struct core_world *world, unsigned host, struct hf_volume_config config,
		      bool force,
		      void (*start)(struct hf_core *core, struct hf_volume_change *change))
{
	struct change_job *job = sim_keep_alloc(sizeof *job);
	int status = -1000;

	job->change.config = config;
	job->change.force = force;
	job->change.done = changed;
	job->change.owner = &job->done;
	sim_select(world->sim, host);
	start(world->cores[host], &job->change);
	HF_ASSERT(!job->done);
	if (sim_wait_flag(world->sim, &job->done, WORLD_PATIENCE))
		status = job->change.status;
	sim_keep_free(job);
	return status;
}

int world_attach(struct core_world *world, unsigned host, struct hf_volume_config config)
{
	return change_run(world, host, config, false, hf_core_attach);
}

int world_detach(struct core_world *world, unsigned host, bool force)
{
	return change_run(world, host, world_config(false), force, hf_core_detach);
}

int world_delete(struct core_world *world, unsigned host)
{
	return change_run(world, host, world_config(false), false, hf_core_delete);
}

static void change_free(struct hf_volume_change *change)
{
	sim_keep_free(change);
}

void world_delete_start(struct core_world *world, unsigned host)
{
	struct hf_volume_change *change = sim_keep_alloc(sizeof *change);

	change->config.volume = WORLD_VOLUME;
	change->done = change_free;
	sim_select(world->sim, host);
	hf_core_delete(world->cores[host], change);
}

struct hf_volume_change *world_detach_start(struct core_world *world, unsigned host, bool *done)
{
	struct hf_volume_change *change = sim_keep_alloc(sizeof *change);

	change->config.volume = WORLD_VOLUME;
	change->done = changed;
	change->owner = done;
	*done = false;
	sim_select(world->sim, host);
	hf_core_detach(world->cores[host], change);
	return change;
}

/* ---- Requests ----------------------------------------------------------------------------------
 */

static void request_done(struct hf_request *request)
{
	struct world_request *own = hf_container_of(request, struct world_request, request);

	HF_ASSERT(!own->done);
	own->done = true;
}

struct world_request *world_submit(struct core_world *world, unsigned host, enum hf_op op,
				   uint64_t offset, uint64_t length, void *data,
				   uint32_t data_length, uint64_t id, uint32_t flags)
{
	struct world_request *own = sim_keep_alloc(sizeof *own);

	own->request.op = op;
	own->request.flags = flags;
	own->request.volume = WORLD_VOLUME;
	own->request.offset = offset;
	own->request.length = length;
	own->request.data = data;
	own->request.data_length = data_length;
	own->request.id.id = id;
	own->request.id.ring[0] = id ? 9 : 0;
	own->request.done = request_done;
	sim_select(world->sim, host);
	hf_core_submit(world->cores[host], &own->request);
	HF_ASSERT(!own->done);
	return own;
}

int world_wait(struct core_world *world, struct world_request *request)
{
	int status = -1000;

	if (sim_wait_flag(world->sim, &request->done, WORLD_PATIENCE))
		status = request->request.status;
	return status;
}

int world_do(struct core_world *world, unsigned host, enum hf_op op, uint64_t offset,
	     uint64_t length, void *data, uint32_t data_length)
{
	struct world_request *own =
		world_submit(world, host, op, offset, length, data, data_length, 0, 0);
	int status = world_wait(world, own);

	sim_keep_free(own);
	return status;
}

int world_write(struct core_world *world, unsigned host, uint64_t offset, uint64_t length,
		uint8_t fill)
{
	uint8_t *data = sim_keep_alloc(length);
	int status;

	memset(data, fill, length);
	status = world_do(world, host, HF_OP_WRITE, offset, length, data, (uint32_t)length);
	sim_keep_free(data);
	return status;
}

int world_expect(struct core_world *world, unsigned host, uint64_t offset, uint64_t length,
		 uint8_t fill)
{
	uint8_t *data = sim_keep_alloc(length);
	int status = world_do(world, host, HF_OP_READ, offset, length, data, (uint32_t)length);

	for (uint64_t i = 0; status == 0 && i < length; i++)
		if (data[i] != fill)
			status = 1;
	sim_keep_free(data);
	return status;
}

void world_object_name(struct core_world *world, char *name)
{
	const struct sim_object *object;

	name[0] = '\0';
	for (unsigned i = 0; (object = sim_store_at(world->sim, i)) != NULL; i++)
		if (!strstr(object->name, "claims") && !strstr(object->name, "keyring") &&
		    !strstr(object->name, "base"))
			strcpy(name, object->name);
	HF_ASSERT(name[0] != '\0');
}

struct hf_volume_status world_status(struct core_world *world, unsigned host)
{
	struct hf_volume_status status = {0};

	if (hf_core_volume_status(world->cores[host], WORLD_VOLUME, &status) != 0)
		status.state = HF_VOLUME_DETACHED;
	return status;
}

struct wanted {
	struct core_world *world;
	unsigned host;
	enum hf_volume_state state;
};

static bool state_reached(void *context)
{
	struct wanted *wanted = context;

	return world_status(wanted->world, wanted->host).state == wanted->state;
}

bool world_wait_state(struct core_world *world, unsigned host, enum hf_volume_state state)
{
	struct wanted wanted = {.world = world, .host = host, .state = state};

	return sim_wait(world->sim, state_reached, &wanted, WORLD_PATIENCE);
}

static bool all_uploaded(void *context)
{
	struct wanted *wanted = context;
	struct hf_volume_status status = world_status(wanted->world, wanted->host);

	return status.recovery_point == status.last_sequence && status.lag_bytes == 0;
}

bool world_wait_uploaded(struct core_world *world, unsigned host)
{
	struct wanted wanted = {.world = world, .host = host};

	return sim_wait(world->sim, all_uploaded, &wanted, WORLD_PATIENCE);
}
