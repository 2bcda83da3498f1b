/* Disk operations and worker jobs of the simulated env: when they complete and how they fail. An
 * operation takes effect at the moment it completes; what a write's buffer holds is compared with
 * what it held when the write was submitted, since the caller must leave it alone. */
#include "base/assert.h"
#include "base/crc32c.h"
#include "tests/sim/world.h"

struct sim_disk_job {
	struct hf_list link;
	struct sim_host *host;
	struct hf_disk_io *io;
	uint64_t writes_completed; /* SYNC: when it was submitted */
	uint32_t crc;              /* WRITE */
	size_t length;
	bool syncing; /* WRITE with a sync: the write is done */
};

static uint32_t crc_of(const struct hf_disk_io *io)
{
	uint32_t crc = 0;

	for (unsigned i = 0; i < io->iov_count; i++)
		crc = hf_crc32c(crc, io->iov[i].iov_base, io->iov[i].iov_len);
	return crc;
}

static int write_complete(struct sim_disk_job *job, struct sim_disk *disk)
{
	struct sim *sim = job->host->sim;
	struct hf_disk_io *io = job->io;
	int status = sim_disk_fault_next(disk, HF_DISK_WRITE);

	HF_ASSERT(crc_of(io) == job->crc);
	if (!status && sim_rng_chance(&sim->world_rng, sim->config.write_error_chance))
		status = HF_EIO;
	if (status)
		sim_disk_write_part(disk, io->offset, io->iov, io->iov_count, &sim->world_rng,
				    false);
	else
		sim_disk_write(disk, io->offset, io->iov, io->iov_count);
	sim->counts.writes++;
	sim->counts.written_bytes += job->length;
	return status;
}

static int sync_complete(struct sim_disk_job *job, struct sim_disk *disk)
{
	struct sim *sim = job->host->sim;
	int status = sim_disk_fault_next(disk, HF_DISK_SYNC);

	if (!status && sim_rng_chance(&sim->world_rng, sim->config.sync_error_chance))
		status = HF_EIO;
	if (status)
		sim_disk_sync_fail(disk, job->writes_completed, &sim->world_rng);
	else
		sim_disk_sync(disk, job->writes_completed);
	sim->counts.syncs++;
	return status;
}

static int read_complete(struct sim_disk_job *job, struct sim_disk *disk)
{
	struct hf_disk_io *io = job->io;
	int status = sim_disk_fault_next(disk, HF_DISK_READ);

	if (!status)
		sim_disk_read(disk, io->offset, io->iov, io->iov_count);
	job->host->sim->counts.reads++;
	job->host->sim->counts.read_bytes += job->length;
	return status;
}

static int complete(struct sim_disk_job *job)
{
	struct hf_disk_io *io = job->io;
	struct sim_disk *disk = &job->host->disks[io->disk];

	if (io->op != HF_DISK_SYNC &&
	    (io->offset > disk->size_bytes || job->length > disk->size_bytes - io->offset))
		return HF_EINVAL;
	if (job->syncing) {
		HF_ASSERT(crc_of(io) == job->crc);
		return sync_complete(job, disk);
	}
	switch (io->op) {
	case HF_DISK_READ:
		return read_complete(job, disk);
	case HF_DISK_WRITE:
		return write_complete(job, disk);
	case HF_DISK_SYNC:
		return sync_complete(job, disk);
	}
	HF_ASSERT(!"disk operation");
	return HF_EINVAL;
}

static void disk_due(struct sim_event *event);

static void schedule(struct sim_disk_job *job)
{
	struct sim *sim = job->host->sim;

	sim_schedule(sim, job->host, sim_delay_ns(sim, sim->config.disk_delay_ns), disk_due, job);
}

/* A write and a sync in one operation is still two on the disk: the process may die between. */
static bool goes_on(struct sim_disk_job *job)
{
	struct hf_disk_io *io = job->io;

	if (io->op != HF_DISK_WRITE || !io->sync || job->syncing)
		return false;
	io->wrote = io->status == 0;
	if (!io->wrote)
		return false;
	job->syncing = true;
	job->writes_completed = job->host->disks[io->disk].writes_completed;
	schedule(job);
	if (io->written)
		io->written(io);
	return true;
}

static void disk_due(struct sim_event *event)
{
	struct sim_disk_job *job = event->object;
	struct hf_disk_io *io = job->io;

	io->status = complete(job);
	if (goes_on(job))
		return;
	hf_list_remove(&job->link);
	sim_keep_free(job);
	io->done(io);
}

static size_t check_vector(const struct hf_disk_io *io)
{
	size_t length = 0;

	HF_ASSERT(io->iov_count >= 1 && io->iov_count <= HF_DISK_IOV_MAX);
	HF_ASSERT(io->offset % HF_DISK_ALIGN == 0);
	for (unsigned i = 0; i < io->iov_count; i++) {
		HF_ASSERT((uintptr_t)io->iov[i].iov_base % HF_DISK_ALIGN == 0);
		HF_ASSERT(io->iov[i].iov_len > 0 && io->iov[i].iov_len % HF_DISK_ALIGN == 0);
		length += io->iov[i].iov_len;
	}
	return length;
}

void sim_disk_submit(struct hf_env *env, struct hf_disk_io *io)
{
	struct sim_host *host = sim_host_of(env);
	struct sim_disk_job *job = sim_keep_alloc(sizeof *job);

	HF_ASSERT(io->disk < env->disk_count && io->done);
	job->host = host;
	job->io = io;
	job->writes_completed = host->disks[io->disk].writes_completed;
	if (io->op != HF_DISK_SYNC)
		job->length = check_vector(io);
	if (io->op == HF_DISK_WRITE)
		job->crc = crc_of(io);
	hf_list_push_back(&host->disk_ios, &job->link);
	schedule(job);
}

void sim_disk_ios_die(struct sim_host *host)
{
	struct sim *sim = host->sim;
	struct hf_list *link;

	while ((link = hf_list_pop_front(&host->disk_ios)) != NULL) {
		struct sim_disk_job *job = hf_container_of(link, struct sim_disk_job, link);
		struct hf_disk_io *io = job->io;
		struct sim_disk *disk = &host->disks[io->disk];

		if (io->op == HF_DISK_WRITE && !job->syncing && io->offset <= disk->size_bytes &&
		    job->length <= disk->size_bytes - io->offset)
			sim_disk_write_part(disk, io->offset, io->iov, io->iov_count,
					    &sim->world_rng, sim->config.keep_torn_whole);
		if ((io->op == HF_DISK_SYNC || job->syncing) && sim_rng_below(&sim->world_rng, 2))
			sim_disk_sync(disk, job->writes_completed);
		sim_keep_free(job);
	}
}

static void work_due(struct sim_event *event)
{
	struct hf_work *work = event->object;

	if (!work->impl)
		work->run(work);
	work->done(work);
}

/* The job runs at either end of its delay: a core that changes what a job owns meanwhile, or reads
 * it, is wrong in one of them. */
void sim_work_submit(struct hf_env *env, struct hf_work *work)
{
	struct sim_host *host = sim_host_of(env);
	bool early = sim_rng_below(&host->sim->world_rng, 2);

	HF_ASSERT(work->run && work->done);
	work->impl = early ? work : NULL;
	if (early)
		work->run(work);
	sim_schedule(host->sim, host, sim_delay_ns(host->sim, host->sim->config.work_delay_ns),
		     work_due, work);
}
