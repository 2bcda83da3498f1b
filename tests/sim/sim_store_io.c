/* Store operations of the simulated env. An operation has its effect at one moment and is answered
 * at a later one; a death, a failure or a deadline may come between, so that the effect of what
 * was never answered is unknown, and may even come late. */
#include "base/assert.h"
#include "tests/sim/world.h"

#include <string.h>

struct sim_store_job {
	struct hf_list link;
	struct sim_host *host;
	struct hf_store_io *io;
	uint64_t deadline_ns; /* of the world's clock */
	bool effected;
};

/* A PUT or DELETE whose process has died or has been told that it failed, but which may still
 * arrive. Owns a copy of everything. */
struct late {
	struct hf_store_io io;
	uint8_t data[];
};

static void late_due(struct sim_event *event)
{
	struct late *late = event->object;
	struct sim *sim = event->world;

	sim_store_apply(&sim->store, &late->io);
	sim_keep_free(late);
}

static void come_late(struct sim *sim, const struct hf_store_io *io)
{
	size_t length = io->op == HF_STORE_PUT ? io->length : 0;
	struct late *late = sim_keep_alloc(sizeof *late + length);

	late->io = *io;
	if (length > 0)
		memcpy(late->data, io->data, length);
	late->io.data = late->data;
	sim_schedule(sim, NULL, sim_rng_below(&sim->world_rng, 40 * sim->config.store_delay_ns),
		     late_due, late);
}

static bool changes(const struct hf_store_io *io)
{
	return io->op == HF_STORE_PUT || io->op == HF_STORE_DELETE;
}

static void answer(struct sim_event *event)
{
	struct sim_store_job *job = event->object;
	struct hf_store_io *io = job->io;

	hf_list_remove(&job->link);
	sim_keep_free(job);
	io->done(io);
}

/* Fails; what changes the store may have done so already, or do so later. */
static int fail(struct sim *sim, struct hf_store_io *io, int status)
{
	uint64_t fate = sim_rng_below(&sim->world_rng, 4);

	if (changes(io) && fate <= 1)
		sim_store_apply(&sim->store, io);
	if (changes(io) && fate == 2)
		come_late(sim, io);
	return status;
}

static int transient(struct sim *sim)
{
	static const int statuses[] = {HF_EAGAIN, HF_ECONN, HF_ETIMEDOUT};

	return statuses[sim_rng_below(&sim->world_rng, 3)];
}

static void effect(struct sim_event *event)
{
	struct sim_store_job *job = event->object;
	struct sim *sim = job->host->sim;
	struct hf_store_io *io = job->io;
	uint64_t delay_ns = sim_delay_ns(sim, sim->config.store_delay_ns) / 2;

	if (sim->store_away && sim->now_ns < job->deadline_ns) {
		if (delay_ns > job->deadline_ns - sim->now_ns)
			delay_ns = job->deadline_ns - sim->now_ns;
		sim_schedule(sim, job->host, delay_ns, effect, job);
		return;
	}
	job->effected = true;
	if (sim->store_away)
		io->status = HF_ETIMEDOUT;
	else if (sim->store_fail_part && strstr(io->name, sim->store_fail_part))
		io->status = fail(sim, io, sim->store_fail_status);
	else if (sim_rng_chance(&sim->world_rng, sim->config.store_error_chance))
		io->status = fail(sim, io, transient(sim));
	else
		io->status = sim_store_apply(&sim->store, io);
	sim_schedule(sim, job->host, delay_ns, answer, job);
}

static void count(struct sim_counts *counts, enum hf_store_op op)
{
	uint64_t *const of[] = {
		[HF_STORE_PUT] = &counts->puts,
		[HF_STORE_GET] = &counts->gets,
		[HF_STORE_LIST] = &counts->lists,
		[HF_STORE_DELETE] = &counts->deletes,
	};

	++*of[op];
}

void sim_store_submit(struct hf_env *env, struct hf_store_io *io)
{
	struct sim_host *host = sim_host_of(env);
	struct sim *sim = host->sim;
	struct sim_store_job *job = sim_keep_alloc(sizeof *job);

	HF_ASSERT(io->done && memchr(io->name, 0, sizeof io->name));
	io->body = NULL;
	io->names = NULL;
	io->body_length = 0;
	io->name_count = 0;
	io->more = false;
	job->host = host;
	job->io = io;
	job->deadline_ns = io->deadline_ns ? io->deadline_ns + host->boot_ns
					   : sim->now_ns + sim->config.store_deadline_ns;
	hf_list_push_back(&host->store_ios, &job->link);
	count(&sim->counts, io->op);
	sim_schedule(sim, host, sim_delay_ns(sim, sim->config.store_delay_ns), effect, job);
}

void sim_store_ios_die(struct sim_host *host)
{
	struct sim *sim = host->sim;
	struct hf_list *link;

	while ((link = hf_list_pop_front(&host->store_ios)) != NULL) {
		struct sim_store_job *job = hf_container_of(link, struct sim_store_job, link);

		if (!job->effected && !sim->store_away && changes(job->io) &&
		    sim_rng_below(&sim->world_rng, 2))
			come_late(sim, job->io);
		sim_keep_free(job);
	}
}
