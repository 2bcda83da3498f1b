/* The simulated world's clock, events and deaths; see sim_env.h. */
#include "tests/sim/sim_env.h"
#include "base/assert.h"
#include "tests/sim/world.h"

#include <string.h>

#define WALL_START_MS 1790000000000ull

/* ---- Clock and timers ------------------------------------------------------------------------ */

uint64_t sim_delay_ns(struct sim *sim, uint64_t mean_ns)
{
	uint64_t delay_ns = mean_ns / 4 + sim_rng_below(&sim->world_rng, mean_ns * 3 / 2);

	return sim_rng_below(&sim->world_rng, 16) == 0 ? 10 * delay_ns : delay_ns;
}

struct sim_event *sim_schedule(struct sim *sim, struct sim_host *host, uint64_t delay_ns,
			       void (*run)(struct sim_event *), void *object)
{
	struct sim_event *event = sim_events_add(&sim->events, sim->now_ns + delay_ns);

	event->host = host ? host->index : SIM_HOSTS_MAX;
	event->run = run;
	event->world = sim;
	event->object = object;
	return event;
}

static uint64_t now_ns(struct hf_env *env)
{
	struct sim_host *host = sim_host_of(env);

	return host->sim->now_ns - host->boot_ns;
}

static uint64_t wall_ms(struct hf_env *env)
{
	struct sim *sim = sim_host_of(env)->sim;

	return WALL_START_MS + sim->now_ns / HF_NS_PER_MS + (uint64_t)sim->wall_jump_ms;
}

static void random_bytes(struct hf_env *env, void *bytes, size_t length)
{
	struct sim_rng *rng = &sim_host_of(env)->sim->process_rng;
	uint8_t *p = bytes;

	for (size_t i = 0; i < length; i++)
		p[i] = (uint8_t)(sim_rng_next(rng) >> 32);
}

static void timer_due(struct sim_event *event)
{
	struct hf_timer *timer = event->object;

	timer->armed = false;
	timer->impl = NULL;
	timer->fired(timer);
}

static void timer_cancel(struct hf_env *env, struct hf_timer *timer)
{
	struct sim *sim = sim_host_of(env)->sim;
	struct sim_event *event = timer->impl;

	if (!timer->armed)
		return;
	HF_ASSERT(event && event->object == timer);
	sim_events_take(&sim->events, event);
	sim_events_release(&sim->events, event);
	timer->armed = false;
	timer->impl = NULL;
}

static void timer_set(struct hf_env *env, struct hf_timer *timer, uint64_t due_ns)
{
	struct sim_host *host = sim_host_of(env);
	struct sim *sim = host->sim;
	uint64_t now = now_ns(env), late_ns = sim_rng_below(&sim->world_rng, 100000);

	HF_ASSERT(timer->fired);
	timer_cancel(env, timer);
	timer->due_ns = due_ns;
	timer->armed = true;
	timer->impl = sim_schedule(sim, host, (due_ns > now ? due_ns - now : 0) + late_ns,
				   timer_due, timer);
}

static const struct hf_env_ops env_ops = {
	.now_ns = now_ns,
	.wall_ms = wall_ms,
	.random = random_bytes,
	.timer_set = timer_set,
	.timer_cancel = timer_cancel,
	.disk_submit = sim_disk_submit,
	.store_submit = sim_store_submit,
	.work_submit = sim_work_submit,
};

/* ---- The world ------------------------------------------------------------------------------- */

static void boot(struct sim_host *host)
{
	struct sim *sim = host->sim;

	/* A process's clock starts anywhere but at 0. */
	host->boot_ns = sim->now_ns - (1 + sim_rng_below(&sim->world_rng, sim->now_ns - 1));
}

static void host_init(struct sim *sim, unsigned index)
{
	struct sim_host *host = &sim->hosts[index];

	host->sim = sim;
	host->index = index;
	host->env.ops = &env_ops;
	host->env.disk_count = sim->config.disk_count;
	hf_list_init(&host->disk_ios);
	hf_list_init(&host->store_ios);
	sim_heap_init(&host->heap);
	for (unsigned i = 0; i < sim->config.disk_count; i++) {
		host->env.disk_size_bytes[i] = sim->config.disk_size_bytes[i];
		sim_disk_init(&host->disks[i], sim->config.disk_size_bytes[i]);
	}
	boot(host);
}

static void fill_defaults(struct sim_config *config)
{
	if (config->host_count == 0)
		config->host_count = 1;
	if (config->disk_count == 0)
		config->disk_count = 1;
	HF_ASSERT(config->host_count <= SIM_HOSTS_MAX && config->disk_count <= SIM_DISKS_MAX);
	for (unsigned i = 0; i < config->disk_count; i++)
		if (config->disk_size_bytes[i] == 0)
			config->disk_size_bytes[i] = 4u << 20;
	if (config->disk_delay_ns == 0)
		config->disk_delay_ns = 100000;
	if (config->store_delay_ns == 0)
		config->store_delay_ns = 20 * HF_NS_PER_MS;
	if (config->work_delay_ns == 0)
		config->work_delay_ns = 200000;
	if (config->store_deadline_ns == 0)
		config->store_deadline_ns = 60 * HF_NS_PER_S;
}

struct sim *sim_create_with_store(const struct sim_config *config, const struct sim *other)
{
	struct sim *sim = sim_keep_alloc(sizeof *sim);

	sim->config = *config;
	fill_defaults(&sim->config);
	sim->now_ns = HF_NS_PER_S;
	sim->world_rng.state = config->seed;
	sim->process_rng.state = ~config->seed;
	sim->test_rng.state = config->seed * 0x2545f4914f6cdd1du + 1;
	sim->host_count = sim->config.host_count;
	sim_store_init(&sim->store, other ? &other->store : NULL);
	for (unsigned i = 0; i < sim->host_count; i++)
		host_init(sim, i);
	sim_select(sim, 0);
	return sim;
}

struct sim *sim_create(const struct sim_config *config)
{
	return sim_create_with_store(config, NULL);
}

static void run_late_jobs(struct sim *sim)
{
	struct sim_event *event;

	while ((event = sim_events_first(&sim->events)) != NULL) {
		sim_events_take(&sim->events, event);
		event->run(event);
		sim_events_release(&sim->events, event);
	}
}

void sim_destroy(struct sim *sim)
{
	for (unsigned i = 0; i < sim->host_count; i++) {
		sim_kill(sim, i);
		sim_heap_destroy(&sim->hosts[i].heap);
		for (unsigned d = 0; d < sim->config.disk_count; d++)
			sim_disk_free(&sim->hosts[i].disks[d]);
	}
	run_late_jobs(sim); /* they own memory */
	sim_store_free(&sim->store);
	sim_events_free(&sim->events);
	sim_keep_free(sim);
}

/* ---- Running --------------------------------------------------------------------------------- */

struct hf_env *sim_env(struct sim *sim, unsigned host)
{
	HF_ASSERT(host < sim->host_count);
	return &sim->hosts[host].env;
}

void sim_select(struct sim *sim, unsigned host)
{
	HF_ASSERT(host < sim->host_count);
	sim_heap_select(&sim->hosts[host].heap);
}

bool sim_step(struct sim *sim)
{
	struct sim_event *event = sim_events_first(&sim->events);

	if (!event)
		return false;
	sim_events_take(&sim->events, event);
	sim->now_ns = event->due_ns;
	sim->counts.events++;
	if (event->host < sim->host_count)
		sim_select(sim, event->host);
	sim->running = event;
	event->run(event);
	sim->running = NULL;
	sim_events_release(&sim->events, event);
	return true;
}

bool sim_wait(struct sim *sim, bool (*until)(void *context), void *context, uint64_t limit_ns)
{
	uint64_t end_ns = sim->now_ns + limit_ns;

	while (!until(context)) {
		const struct sim_event *event = sim_events_first(&sim->events);

		if (!event || event->due_ns > end_ns)
			return false;
		sim_step(sim);
	}
	return true;
}

static bool flag_is_set(void *context)
{
	return *(const bool *)context;
}

bool sim_wait_flag(struct sim *sim, const bool *flag, uint64_t limit_ns)
{
	return sim_wait(sim, flag_is_set, (void *)(uintptr_t)flag, limit_ns);
}

void sim_run(struct sim *sim, uint64_t duration_ns)
{
	uint64_t end_ns = sim->now_ns + duration_ns;
	const struct sim_event *event;

	while ((event = sim_events_first(&sim->events)) != NULL && event->due_ns <= end_ns)
		sim_step(sim);
	sim->now_ns = end_ns;
}

uint64_t sim_now_ns(const struct sim *sim)
{
	return sim->now_ns;
}

void sim_wall_jump(struct sim *sim, int64_t jump_ms)
{
	sim->wall_jump_ms += jump_ms;
}

uint64_t sim_random(struct sim *sim)
{
	return sim_rng_next(&sim->test_rng);
}

uint64_t sim_random_below(struct sim *sim, uint64_t bound)
{
	return sim_rng_below(&sim->test_rng, bound);
}

/* ---- Death ----------------------------------------------------------------------------------- */

void sim_kill(struct sim *sim, unsigned host)
{
	struct sim_host *h = &sim->hosts[host];

	HF_ASSERT(!sim->running);
	sim_events_drop_host(&sim->events, host);
	sim_disk_ios_die(h);
	sim_store_ios_die(h);
	sim_heap_reset(&h->heap);
	boot(h);
}

void sim_power_cut(struct sim *sim, unsigned host)
{
	struct sim_host *h = &sim->hosts[host];

	sim_kill(sim, host);
	for (unsigned i = 0; i < sim->config.disk_count; i++)
		sim_disk_power_cut(&h->disks[i], &sim->world_rng, sim->config.keep_torn_whole);
}

void sim_abandon_event(struct sim *sim)
{
	if (sim->running)
		sim_events_release(&sim->events, sim->running);
	sim->running = NULL;
}

void sim_disk_replace(struct sim *sim, unsigned host, unsigned disk)
{
	HF_ASSERT(hf_list_empty(&sim->hosts[host].disk_ios));
	sim_disk_clear(&sim->hosts[host].disks[disk]);
}

/* ---- Faults and looking ---------------------------------------------------------------------- */

void sim_fail_disk(struct sim *sim, unsigned host, unsigned disk, enum hf_disk_op op,
		   unsigned countdown, unsigned count, int status)
{
	struct sim_disk_fault *fault = &sim->hosts[host].disks[disk].faults[op];

	fault->armed = count > 0;
	fault->countdown = countdown;
	fault->count = count;
	fault->status = status;
}

void sim_store_outage(struct sim *sim, bool away)
{
	sim->store_away = away;
}

void sim_store_fail_names(struct sim *sim, const char *part, int status)
{
	sim->store_fail_part = part;
	sim->store_fail_status = status;
}

void sim_chances(struct sim *sim, uint32_t write_error, uint32_t sync_error, uint32_t store_error)
{
	sim->config.write_error_chance = write_error;
	sim->config.sync_error_chance = sync_error;
	sim->config.store_error_chance = store_error;
}

const uint8_t *sim_disk_bytes(const struct sim *sim, unsigned host, unsigned disk)
{
	return sim->hosts[host].disks[disk].current;
}

void sim_disk_poke(struct sim *sim, unsigned host, unsigned disk, uint64_t offset,
		   const void *bytes, size_t length)
{
	sim_disk_damage(&sim->hosts[host].disks[disk], offset, bytes, length);
}

void sim_counts(const struct sim *sim, struct sim_counts *counts)
{
	*counts = sim->counts;
}

const struct sim_object *sim_store_at(const struct sim *sim, unsigned index)
{
	return sim_store_get(&sim->store, index);
}

const struct sim_object *sim_store_find(const struct sim *sim, const char *name)
{
	bool exact;
	unsigned index = sim_store_seek(&sim->store, name, &exact);

	return exact ? sim_store_get(&sim->store, index) : NULL;
}

void sim_store_poke(struct sim *sim, const char *name, const void *bytes, size_t length)
{
	if (bytes)
		sim_store_set(&sim->store, name, bytes, length);
	else
		sim_store_remove(&sim->store, name);
}

size_t sim_heap_count(const struct sim *sim, unsigned host)
{
	return sim->hosts[host].heap.count;
}
