/* The pace of writes: how a log that fills up slows its volumes down, smoothly and before it is
 * full, so that what is left lasts. docs/design/back-pressure.md has the formula with its figures;
 * constants here are its. Core's thread.
 *
 * A write that may not go yet waits here, has no sequence, and can be cancelled. No write waits
 * longer than `write_wait_ms` from when it came: while there is any room for its volume it goes
 * then, whatever the pace; without room it ends with HF_EBUSY (TASK SET FULL at the initiator), not
 * logged. What goes to the log finds room there. */
#include "gateway/volumed/core_internal.h"

#define PACE_LOOK_NS     (250 * HF_NS_PER_MS) /* the rate is looked at again after this */
#define BURST_NS         (500 * HF_NS_PER_MS) /* goes together: so much of the rate, */
#define BURST_BYTES      65536.0              /* but no more than this */
#define GROUP_BYTES      8192.0               /* what a group takes beside its writes */
#define LATE_TOGETHER_NS HF_NS_PER_S
#define DRAIN_WINDOW_NS  (2 * HF_NS_PER_S)
#define DRAIN_TRUST      60.0 /* the drain is counted on for so much less than the horizon */
#define PART_S           1.0  /* in this time what is left of its own part may go */
#define RECORD_BYTES     128u /* what a record takes beside its payload */

static uint64_t write_bytes(const struct hf_core_job *job)
{
	return job->append.payload_bytes + (uint64_t)job->append.record_count * RECORD_BYTES;
}

static uint64_t log_left_bytes(const struct hf_core_log *log)
{
	uint64_t free_bytes = hf_wlog_free_bytes(log->wlog);

	return free_bytes > log->append_bytes ? free_bytes - log->append_bytes : 0;
}

/* ---- The controller ----------------------------------------------------------------------------
 */

static uint64_t part_bytes(const struct hf_core_log *log)
{
	return hf_wlog_total_bytes(log->wlog) / 4 / log->pinned;
}

/* What other volumes have not used of the quarter that is set aside in equal parts. */
static uint64_t set_aside_bytes(const struct hf_core_volume *volume)
{
	const struct hf_core_log *log = volume->home;
	uint64_t part = part_bytes(log), bytes = 0;

	hf_list_for_each (cursor, &volume->core->volumes) {
		const struct hf_core_volume *other =
			hf_container_of(cursor, struct hf_core_volume, link);

		if (other != volume && other->home == log && other->lag_bytes < part)
			bytes += part - other->lag_bytes;
	}
	return bytes;
}

static uint64_t volume_left_bytes(const struct hf_core_volume *volume)
{
	uint64_t left = log_left_bytes(volume->home), aside = set_aside_bytes(volume);

	return left > aside ? left - aside : 0;
}

double hf_core_pace_rate(double left_bytes, double full_rate_bytes, double drain_rate,
			 double horizon_s, unsigned writers)
{
	double x = left_bytes / full_rate_bytes;
	double trust = left_bytes / (horizon_s / DRAIN_TRUST);

	if (x >= 1)
		return 1e18;
	if (drain_rate > trust)
		drain_rate = trust; /* it may have ended a moment ago */
	return drain_rate * x + left_bytes / horizon_s * x / (1 - x) / writers;
}

/* Bytes a second that the store took of the volume, of late. */
static double drain_rate(struct hf_core_volume *volume, uint64_t now_ns)
{
	double past_s = (double)(now_ns - volume->drain_ns) / 1e9;
	double window_s = (double)DRAIN_WINDOW_NS / 1e9;

	if (now_ns - volume->drain_ns < PACE_LOOK_NS)
		return volume->drain_rate;
	volume->drain_rate += ((double)volume->drained_bytes / past_s - volume->drain_rate) *
			      past_s / (past_s + window_s);
	volume->drained_bytes = 0;
	volume->drain_ns = now_ns;
	return volume->drain_rate;
}

static unsigned writers_of(const struct hf_core_log *log)
{
	unsigned count = 0;

	hf_list_for_each (cursor, &log->core->volumes) {
		const struct hf_core_volume *volume =
			hf_container_of(cursor, struct hf_core_volume, link);

		count += volume->home == log && !hf_list_empty(&volume->paced);
	}
	return count ? count : 1;
}

/* Brings the debt up to now; the rate in force. */
static double pace_update(struct hf_core_volume *volume, uint64_t now_ns)
{
	const struct hf_core_config *config = &volume->core->config;
	double own = ((double)part_bytes(volume->home) - (double)volume->lag_bytes) / PART_S;
	double rate = hf_core_pace_rate(
		(double)volume_left_bytes(volume),
		(double)hf_wlog_total_bytes(volume->home->wlog) / 2, drain_rate(volume, now_ns),
		(double)config->write_horizon_ms / 1e3, writers_of(volume->home));

	if (rate < own)
		rate = own; /* its own part is there for it, whatever others hold */
	volume->pace_debt -= rate * ((double)(now_ns - volume->pace_ns) / 1e9);
	if (volume->pace_debt < 0)
		volume->pace_debt = 0;
	volume->pace_ns = now_ns;
	return rate;
}

/* ---- Waiting -----------------------------------------------------------------------------------
 */

static uint64_t job_deadline_ns(const struct hf_core_job *job)
{
	return job->born_ns + job->core->config.write_wait_ms * HF_NS_PER_MS;
}

static void pace_arm(struct hf_core_volume *volume, double rate, uint64_t now_ns)
{
	struct hf_core_job *job = hf_container_of(volume->paced.next, struct hf_core_job, link);
	double wait_s =
		rate > 0 ? volume->pace_debt / rate : 1e9; /* all of it, for the next group */
	uint64_t due_ns = now_ns + PACE_LOOK_NS;

	if (wait_s * 1e9 < (double)PACE_LOOK_NS)
		due_ns = now_ns + (uint64_t)(wait_s * 1e9);
	if (job_deadline_ns(job) > now_ns && job_deadline_ns(job) < due_ns)
		due_ns = job_deadline_ns(job);
	hf_env_timer_set(volume->core->env, &volume->pace_timer,
			 due_ns > now_ns ? due_ns : now_ns + HF_NS_PER_MS);
}

/* The given-up have no pace; the leaving make room by leaving. */
static bool is_unpaced(const struct hf_core_volume *volume)
{
	return volume->core->closing || volume->move || hf_core_volume_is_given_up(volume) ||
	       volume->state == HF_VOLUME_FENCED || volume->state == HF_VOLUME_FAILED;
}

/* Writes that go one by one take a block for each header: some go together, then the debt has to be
 * paid before the next do. */
static double burst_bytes(double rate)
{
	double bytes = rate * ((double)BURST_NS / 1e9);

	return bytes < BURST_BYTES ? bytes : BURST_BYTES;
}

/* 1: the first that waits goes, -1: it ends, 0: it waits on. */
static int pace_decide(struct hf_core_volume *volume, const struct hf_core_job *job, double rate,
		       bool grouped, uint64_t now_ns)
{
	/* What would be late soon goes with what is. */
	bool late = now_ns + (grouped ? LATE_TOGETHER_NS : 0) >= job_deadline_ns(job);

	if (is_unpaced(volume) || !hf_wlog_takes(volume->home->wlog, &job->append))
		return 1; /* at its end, one way or another */
	if (!hf_wlog_has_room(volume->home->wlog, &job->append) || volume_left_bytes(volume) == 0)
		return late ? -1 : 0;
	return late || volume->pace_debt <= burst_bytes(rate);
}

void hf_core_pace_run(struct hf_core_volume *volume)
{
	uint64_t now_ns = hf_env_now_ns(volume->core->env);
	bool grouped = false;
	double rate;

	if (volume->pacing)
		return;
	volume->pacing = true;
	rate = is_unpaced(volume) ? 0 : pace_update(volume, now_ns);
	while (!hf_list_empty(&volume->paced)) {
		struct hf_core_job *job =
			hf_container_of(volume->paced.next, struct hf_core_job, link);
		int go = pace_decide(volume, job, rate, grouped, now_ns);

		if (go == 0) {
			pace_arm(volume, rate, now_ns);
			break;
		}
		hf_list_remove(&job->link);
		if (go > 0) {
			volume->pace_debt += (double)write_bytes(job) + (grouped ? 0 : GROUP_BYTES);
			grouped = true;
			hf_core_write_go(job);
		} else {
			hf_core_write_refuse(job, HF_EBUSY);
		}
	}
	volume->pacing = false;
}

void hf_core_pace_due(struct hf_timer *timer)
{
	struct hf_core_volume *volume = hf_container_of(timer, struct hf_core_volume, pace_timer);
	struct hf_core *core = volume->core;

	HF_CHECK_MAGIC(volume, HF_CORE_VOLUME_MAGIC);
	hf_core_enter(core);
	hf_core_pace_run(volume);
	hf_core_leave(core);
}

void hf_core_pace_room(struct hf_core_log *log)
{
	hf_list_for_each_safe (cursor, &log->core->volumes) {
		struct hf_core_volume *volume =
			hf_container_of(cursor, struct hf_core_volume, link);

		if (volume->home == log && !hf_list_empty(&volume->paced))
			hf_core_pace_run(volume);
	}
}

bool hf_core_pace_holds(struct hf_core_job *job)
{
	struct hf_core_volume *volume = job->volume;

	if (is_unpaced(volume) ||
	    (hf_list_empty(&volume->paced) &&
	     log_left_bytes(volume->home) >= hf_wlog_total_bytes(volume->home->wlog) / 2))
		return false;
	if (volume->pace_ns == 0) {
		volume->pace_ns = volume->drain_ns = hf_env_now_ns(volume->core->env);
		volume->drained_bytes = 0;
	}
	job->state = HF_CORE_JOB_BUDGET;
	hf_list_push_back(&volume->paced, &job->link);
	if (!volume->pace_timer.armed)
		hf_core_pace_run(volume);
	return true;
}

/* ---- Status ------------------------------------------------------------------------------------
 */

void hf_core_pace_sample(struct hf_core_log *log)
{
	uint64_t now_ns = hf_env_now_ns(log->core->env), left = log_left_bytes(log);
	double past_s = (double)(now_ns - log->sample_ns) / 1e9, rate;

	if (log->sample_ns != 0 && past_s < 1)
		return;
	if (log->sample_ns != 0) {
		rate = ((double)log->sample_bytes - (double)left) / past_s;
		log->fill_rate += (rate - log->fill_rate) * past_s / (past_s + 5);
	}
	log->sample_ns = now_ns;
	log->sample_bytes = left;
}

uint64_t hf_core_pace_full_in_s(struct hf_core_log *log)
{
	hf_core_pace_sample(log);
	if (log->fill_rate < 1)
		return UINT64_MAX;
	return (uint64_t)((double)log_left_bytes(log) / log->fill_rate);
}
