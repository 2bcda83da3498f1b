/* Map objects that are not needed any more, or nearly. Deleting: what the root in force needs no
 * byte of, one after the other; a root goes on listing such an object until its deletion was
 * answered, so that nothing is forgotten when a process dies in between. Cleaning: a checkpoint
 * moves the live leaves and pages of one map object of which most is dead. Core's thread. */
#include "remote/checkpoint.h"

#include <stdlib.h>
#include <string.h>

#define DOOMED_MAX    4096u
#define LIVE_QUARTERS 1u   /* of four: at most so much of a victim is live */
#define OBJECTS_LOTS  128u /* that a root needs: then the emptiest is a victim anyway */

/* ---- Deleting -------------------------------------------------------------------------------- */

static bool is_same(const struct hf_object_id *a, const struct hf_object_id *b)
{
	return a->epoch == b->epoch && a->start == b->start && a->sequence == b->sequence;
}

void hf_doom(struct hf_remote *remote, const struct hf_object_id *id)
{
	struct hf_object_id *doomed;

	for (unsigned i = 0; i < remote->doomed_count; i++)
		if (is_same(&remote->doomed[i], id))
			return;
	if (remote->doomed_count == DOOMED_MAX)
		return; /* the next root lists it still */
	doomed = realloc(remote->doomed, (remote->doomed_count + 1) * sizeof *doomed);
	if (!doomed)
		return;
	doomed[remote->doomed_count++] = *id;
	remote->doomed = doomed;
}

/* The root in force need not list it any more. */
static void forget(struct hf_remote *remote, const struct hf_object_id *id)
{
	struct hf_map_root *root = remote->root;

	for (uint32_t i = 0; root && i < root->object_refs; i++) {
		if (!is_same(&root->objects[i].id, id) || root->objects[i].live_bytes)
			continue;
		root->object_refs--;
		memmove(&root->objects[i], &root->objects[i + 1],
			(root->object_refs - i) * sizeof *root->objects);
		return;
	}
}

static void doomed_deleted(struct hf_retry *retry, int status)
{
	struct hf_remote *remote = hf_container_of(retry, struct hf_remote, doom);

	HF_CHECK_MAGIC(remote, HF_REMOTE_MAGIC);
	if (!hf_checkpoint_end_status(remote)) {
		if (status == 0)
			forget(remote, &remote->dooming);
		hf_doom_start(remote);
	}
	hf_remote_idle(remote);
}

/* A store that refuses to delete costs space; the next root still lists what is left. */
void hf_doom_start(struct hf_remote *remote)
{
	if (!remote->doomed_count || hf_retry_is_active(&remote->doom))
		return;
	remote->dooming = remote->doomed[--remote->doomed_count];
	remote->doom = (struct hf_retry){
		.io = {.op = HF_STORE_DELETE},
		.env = remote->env,
		.permission_is_final = true,
		.done = doomed_deleted,
	};
	hf_name_map(remote->doom.io.name, &remote->dooming);
	hf_remote_busy(remote);
	hf_retry_start(&remote->doom);
}

/* ---- Cleaning -------------------------------------------------------------------------------- */

static const struct hf_map_object *choose(const struct hf_map_root *root)
{
	const struct hf_map_object *best = NULL;

	for (uint32_t i = 0; root && i < root->object_refs; i++) {
		const struct hf_map_object *object = &root->objects[i];

		if (object->live_bytes == 0)
			continue;
		if (!best ||
		    object->live_bytes * best->block_bytes < best->live_bytes * object->block_bytes)
			best = object;
	}
	if (best && (best->live_bytes * 4 <= (uint64_t)best->block_bytes * LIVE_QUARTERS ||
		     root->object_refs > OBJECTS_LOTS))
		return best;
	return NULL;
}

static void get_victim(struct hf_checkpoint *checkpoint)
{
	struct hf_store_io *io = &checkpoint->retry.io;

	*io = (struct hf_store_io){.op = HF_STORE_GET,
				   .range_length = checkpoint->victim.data_offset};
	hf_name_map(io->name, &checkpoint->victim.id);
	hf_remote_busy(checkpoint->remote);
	hf_retry_start(&checkpoint->retry);
}

static int by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Without its header it cannot be cleaned now; the checkpoint goes on all the same. */
static void victim_got(struct hf_retry *retry, int status)
{
	struct hf_checkpoint *checkpoint = hf_container_of(retry, struct hf_checkpoint, retry);
	struct hf_remote *remote = checkpoint->remote;
	struct hf_map_root *root = NULL;
	struct hf_errmsg message;

	HF_CHECK_MAGIC(checkpoint, HF_CHECKPOINT_MAGIC);
	if (!status)
		status = hf_map_header_decode(&checkpoint->victim.id, remote->data_key,
					      retry->io.body, retry->io.body_length, &root,
					      &checkpoint->victim_leaves, &checkpoint->victim_count,
					      &message);
	hf_map_root_free(root);
	free(retry->io.body);
	retry->io.body = NULL;
	if (status)
		checkpoint->victim.number = 0;
	else
		qsort(checkpoint->victim_leaves, checkpoint->victim_count, sizeof(uint64_t),
		      by_number);
	if (hf_checkpoint_end_status(remote))
		hf_checkpoint_fail(checkpoint, hf_checkpoint_end_status(remote));
	else
		hf_checkpoint_collect(checkpoint);
	hf_remote_idle(remote);
}

bool hf_checkpoint_clean(struct hf_checkpoint *checkpoint)
{
	const struct hf_map_object *victim = choose(checkpoint->remote->root);

	if (!victim)
		return false;
	checkpoint->victim = *victim;
	checkpoint->retry.env = checkpoint->remote->env;
	checkpoint->retry.trouble = &checkpoint->remote->trouble;
	checkpoint->retry.done = victim_got;
	get_victim(checkpoint);
	return true;
}
