/* The remote map as the core sees it: leaves that are not in memory are loaded before a read looks
 * again, a detach leaves a checkpoint behind, and a checkpoint that is damaged makes the volume's
 * remote side open once more and build its map from the headers of all objects, which are all
 * there. Core's thread. */
#include "gateway/volumed/core_map.h"

#define LOADS_MAX             64u /* for one attempt of a read: leaves may go again at once */
#define LEAVE_CHECKPOINT_S    10u /* a detach waits so long for its checkpoint */
#define LBA_STATUS_DEADLINE_S 5u

/* ---- Damage ------------------------------------------------------------------------------------
 */

/* The map cannot be had from the checkpoint: opens again, while reads wait as for any opening. */
static void map_damaged(struct hf_core_volume *volume)
{
	const char *name = volume->remote ? hf_remote_map_damaged(volume->remote) : NULL;

	if (!name || volume->closing_remote || volume->state != HF_VOLUME_ATTACHED)
		return;
	hf_core_alarm(volume->core, volume->config.volume,
		      "checkpoint %s is damaged; its map is being built from the objects", name);
	volume->rebuild_map = true;
	hf_core_volume_set_state(volume, HF_VOLUME_OPENING, 0, "%s", "");
	hf_core_remote_close(volume);
}

/* ---- Reads -------------------------------------------------------------------------------------
 */

static void read_loaded(struct hf_remote_load *load)
{
	struct hf_core_read *read = hf_container_of(load, struct hf_core_read, load);
	struct hf_core_volume *volume = read->volume;
	struct hf_core *core = volume->core;
	int status = load->status;

	hf_core_enter(core);
	if (status == HF_ECORRUPT)
		map_damaged(volume);
	if (volume->rebuild_map && !hf_core_remote_is_there(volume) && !core->closing)
		status = 0; /* waits for the map to be built */
	if (status == 0 && ++read->loads >= LOADS_MAX)
		status = HF_ENOTREADY;
	hf_core_read_loaded(read, hf_core_status_from_remote(volume, status));
	hf_core_leave(core);
}

/* The first leaf of the range that is absent; false if none is. */
static bool find_absent(const struct hf_core_volume *volume, uint64_t at, uint64_t end,
			uint64_t *leaf)
{
	const struct hf_extmap *map = hf_remote_map(volume->remote);
	enum hf_extmap_found found = HF_EXTMAP_FOUND;
	struct hf_extent extent;

	while (at < end && found == HF_EXTMAP_FOUND) {
		found = hf_extmap_look(map, at, end - at, &extent, leaf);
		if (found == HF_EXTMAP_FOUND)
			at = extent.lba + extent.length;
	}
	return found == HF_EXTMAP_ABSENT;
}

/* The same of a range that the overlay does not have: what the log still has needs no map. */
static bool find_absent_uploaded(const struct hf_core_volume *volume, uint64_t at, uint64_t end,
				 uint64_t *leaf)
{
	struct hf_core_piece part;

	while (at < end) {
		bool found = hf_core_clean_find(volume, at, end - at, &part);
		uint64_t gap_end = found ? part.lba : end;

		if (gap_end > at && find_absent(volume, at, gap_end, leaf))
			return true;
		at = found ? part.lba + part.length : end;
	}
	return false;
}

bool hf_core_map_is_there(struct hf_core_read *read)
{
	const struct hf_core_volume *volume = read->volume;
	uint64_t at = read->lba, end = read->lba + read->length, leaf;
	struct hf_core_piece part;
	bool absent = false;

	while (at < end && !absent) {
		bool found = hf_core_overlay_find(volume->overlay, at, end - at, &part);
		uint64_t gap_end = found ? part.lba : end;

		if (gap_end > at)
			absent = find_absent_uploaded(volume, at, gap_end, &leaf);
		at = found ? part.lba + part.length : end;
	}
	if (!absent)
		return true;
	at = leaf * HF_EXTMAP_LEAF_UNITS;
	read->load = (struct hf_remote_load){
		.lba = at > read->lba ? at : read->lba,
		.deadline_ns = read->deadline_ns,
		.done = read_loaded,
	};
	read->load.length = end - read->load.lba;
	hf_remote_load(volume->remote, &read->load);
	return false;
}

/* ---- LBA status --------------------------------------------------------------------------------
 */

static void status_loaded(struct hf_remote_load *load)
{
	struct hf_core_read *read = hf_container_of(load, struct hf_core_read, load);
	struct hf_core *core = read->volume->core;
	int status = load->status;

	hf_core_enter(core);
	if (status == HF_ECORRUPT)
		map_damaged(read->volume);
	if (status == 0 && ++read->loads >= LOADS_MAX)
		status = HF_ENOTREADY;
	hf_core_lba_status_loaded(read, status);
	hf_core_leave(core);
}

void hf_core_map_load_for_status(struct hf_core_read *read, uint64_t at)
{
	read->load = (struct hf_remote_load){
		.lba = at,
		.length = 1,
		.deadline_ns = hf_env_now_ns(read->volume->core->env) +
			       LBA_STATUS_DEADLINE_S * HF_NS_PER_S,
		.done = status_loaded,
	};
	hf_remote_load(read->volume->remote, &read->load);
}

/* ---- Leaving -----------------------------------------------------------------------------------
 */

static void leave_checkpointed(struct hf_remote_checkpoint *ask)
{
	struct hf_core_volume *volume = ask->owner;
	struct hf_core *core;

	HF_CHECK_MAGIC(volume, HF_CORE_VOLUME_MAGIC);
	core = volume->core;
	hf_core_enter(core);
	core->holds--;
	volume->checkpointing = false;
	volume->checkpointed = true; /* or not: it costs the next opening time, no more */
	hf_core_leave_step(volume);
	hf_core_leave(core);
}

bool hf_core_map_is_checkpointed(struct hf_core_volume *volume)
{
	struct hf_core *core = volume->core;

	if (!volume->remote || volume->closing_remote || volume->checkpointed)
		return true;
	if (volume->checkpointing)
		return false;
	volume->checkpointing = true;
	core->holds++;
	volume->checkpoint = (struct hf_remote_checkpoint){
		.deadline_ns = hf_env_now_ns(core->env) + LEAVE_CHECKPOINT_S * HF_NS_PER_S,
		.done = leave_checkpointed,
		.owner = volume,
	};
	hf_remote_checkpoint(volume->remote, &volume->checkpoint);
	return false;
}
