/* The rules of paths.h. Everything that follows is computed from the state, never remembered beside
 * it, so that no order of events can leave a wish behind. */
#include "proto/paths.h"

#include "base/assert.h"
#include "proto/session.h"

static unsigned other(unsigned i)
{
	HF_ASSERT(i < HF_PATHS);
	return 1 - i;
}

void hf_paths_init(struct hf_paths *paths, uint64_t epoch)
{
	*paths = (struct hf_paths){.epoch = epoch, .moving = -1};
}

int hf_paths_active(const struct hf_paths *paths)
{
	for (unsigned i = 0; i < HF_PATHS; i++)
		if (paths->path[i].phase == HF_PATHS_HELD && paths->path[i].epoch == paths->epoch)
			return (int)i;
	return -1;
}

/* ---- What happened ---- */

void hf_paths_dialling(struct hf_paths *paths, unsigned i)
{
	HF_ASSERT(i < HF_PATHS && paths->path[i].phase == HF_PATHS_RESTING);
	paths->path[i].phase = HF_PATHS_DIALLING;
}

/* Active, unless the other one is, or is about to be. A parked one is not: its promotion has had
 * the time of a back-off. */
Holdfast__Role hf_paths_connected(struct hf_paths *paths, unsigned i)
{
	const struct hf_paths_path *two = &paths->path[other(i)];
	bool taken =
		two->phase == HF_PATHS_HELD || (two->phase == HF_PATHS_ASKED && two->asked_active);

	HF_ASSERT(paths->path[i].phase == HF_PATHS_DIALLING);
	paths->path[i].phase = HF_PATHS_ASKED;
	paths->path[i].asked_active = !taken || paths->moving == (int)i;
	return paths->path[i].asked_active ? HOLDFAST__ROLE__ROLE_ACTIVE
					   : HOLDFAST__ROLE__ROLE_STANDBY;
}

void hf_paths_held(struct hf_paths *paths, unsigned i, const Holdfast__Held *held)
{
	struct hf_paths_path *path = &paths->path[i], *two = &paths->path[other(i)];

	HF_ASSERT(i < HF_PATHS && held->epoch > paths->epoch);
	two->overtaken = two->phase == HF_PATHS_ASKED && two->asked_active;
	path->phase = HF_PATHS_HELD;
	path->leaving = false;
	path->capable = held->capability >= HF_CAPABILITY_STANDBY;
	path->process = held->process;
	path->epoch = paths->epoch = held->epoch;
	path->subscribed = 0;
	paths->lead = i;
	paths->moving = -1;
}

void hf_paths_parked(struct hf_paths *paths, unsigned i, const Holdfast__Parked *parked)
{
	struct hf_paths_path *path = &paths->path[i];

	HF_ASSERT(path->phase == HF_PATHS_ASKED);
	path->phase = HF_PATHS_PARKED;
	path->capable = parked->capability >= HF_CAPABILITY_STANDBY;
	path->process = parked->process;
	path->subscribed = 0;
}

void hf_paths_subscribed(struct hf_paths *paths, unsigned i, uint64_t subscription)
{
	HF_ASSERT(i < HF_PATHS);
	paths->path[i].subscribed = subscription;
}

void hf_paths_ended(struct hf_paths *paths, unsigned i)
{
	HF_ASSERT(i < HF_PATHS);
	paths->path[i] = (struct hf_paths_path){0};
	if (hf_paths_active(paths) < 0)
		paths->moving = -1;
}

enum hf_paths_leave hf_paths_drain(struct hf_paths *paths, unsigned i, bool there)
{
	const struct hf_paths_path *two = &paths->path[other(i)];

	if (hf_paths_active(paths) != (int)i || !paths->path[i].capable)
		return HF_LEAVE_END;
	if (two->phase == HF_PATHS_PARKED && two->capable && there) {
		paths->path[i].leaving = true;
		return HF_LEAVE_PROMOTE;
	}
	paths->moving = (int)other(i);
	return HF_LEAVE_DIAL;
}

/* ---- What follows ---- */

bool hf_paths_wants_dial(const struct hf_paths *paths, unsigned i)
{
	const struct hf_paths_path *two = &paths->path[other(i)];
	int active = hf_paths_active(paths);

	if (paths->path[i].phase != HF_PATHS_RESTING)
		return false;
	if (paths->moving == (int)i)
		return true;
	if (active >= 0)
		return paths->elsewhere && paths->standby_due && paths->path[active].capable;
	/* One of the two is enough until something is held. A standby that is parked is one too,
	 * but nobody promises that it will be promoted. */
	return two->phase == HF_PATHS_PARKED || two->phase == HF_PATHS_HELD ||
	       (two->phase == HF_PATHS_RESTING && i == paths->lead);
}

/* What ends the one ends the other too. */
static bool shares_process(const struct hf_paths *paths, unsigned i)
{
	int active = hf_paths_active(paths);

	return active >= 0 && active != (int)i && paths->elsewhere &&
	       !paths->path[active].leaving && paths->path[i].process != 0 &&
	       paths->path[i].process == paths->path[active].process;
}

bool hf_paths_must_close(const struct hf_paths *paths, unsigned i)
{
	const struct hf_paths_path *path = &paths->path[i];
	int active = hf_paths_active(paths);

	if (path->phase == HF_PATHS_HELD)
		return path->epoch < paths->epoch;
	if (path->phase == HF_PATHS_ASKED && path->overtaken)
		return true;
	if (path->phase == HF_PATHS_PARKED)
		return !path->capable || paths->moving == (int)i || shares_process(paths, i);
	if (path->phase == HF_PATHS_DIALLING || path->phase == HF_PATHS_ASKED)
		return active >= 0 && paths->moving != (int)i &&
		       !(paths->elsewhere && paths->path[active].capable);
	return false;
}

Holdfast__PathState hf_paths_tells(const struct hf_paths *paths, unsigned i)
{
	const struct hf_paths_path *two = &paths->path[other(i)];

	return two->phase == HF_PATHS_HELD && two->epoch == paths->epoch && !two->leaving
		       ? HOLDFAST__PATH_STATE__PATH_HELD
		       : HOLDFAST__PATH_STATE__PATH_LOST;
}
