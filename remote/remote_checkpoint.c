/* Checkpoints of a volume's map: when one is written, and what is in it. Core's thread.
 *
 *   COLLECTING ──all there──▶ moment ──▶ ENCODING ──▶ STORING ⇄ COMPARING ──▶ ANSWERED ──look──▶
 *   in force
 *
 * A checkpoint holds the leaves that changed since the one before, as of one moment: partial leaves
 * (newer runs over a base that is not in memory) and the pages of the index that will change are
 * loaded before, while reads, writes and uploads go on and may make further ones partial; after a
 * few rounds, counting waits until the moment has come. The moment itself is one turn of the event
 * loop. It describes counted objects only, since nothing else is in the map (invariant 2).
 *
 * Fencing, closing and damage end it in any state; its leaves are dirty again then. */
#include "remote/checkpoint.h"
#include "base/log.h"
#include "remote/maps.h"

#include <stdlib.h>
#include <string.h>

#define PASSES_MAX          4u /* of collecting, before counting is held up */
#define AGAIN_AFTER_NS      (30 * HF_NS_PER_S)
#define DEFAULT_OBJECTS     256u
#define DEFAULT_HEADERS     (16u << 20)
#define DEFAULT_AGE_MS      600000u
#define DEFAULT_INTERVAL_MS 10000u

/* ---- When ------------------------------------------------------------------------------------ */

void hf_checkpoint_settings(struct hf_remote *remote, const struct hf_remote_checkpoints *given)
{
	struct hf_remote_checkpoints *own = &remote->checkpoints;

	*own = *given;
	own->objects = own->objects ? own->objects : DEFAULT_OBJECTS;
	own->header_bytes = own->header_bytes ? own->header_bytes : DEFAULT_HEADERS;
	own->age_ms = own->age_ms ? own->age_ms : DEFAULT_AGE_MS;
	own->interval_ms = own->interval_ms ? own->interval_ms : DEFAULT_INTERVAL_MS;
}

static uint64_t covered_objects(const struct hf_remote *remote)
{
	return remote->root ? remote->root->object_count : 0;
}

static void begin(struct hf_remote *remote);

static bool may_begin(const struct hf_remote *remote)
{
	return remote->claimed && remote->open && !remote->closing && !remote->fenced &&
	       !remote->checkpoint && !remote->map_damaged &&
	       remote->object_count > covered_objects(remote);
}

void hf_checkpoint_consider(struct hf_remote *remote, bool memory_is_short)
{
	const struct hf_remote_checkpoints *rule = &remote->checkpoints;
	uint64_t now = hf_env_now_ns(remote->env);
	uint64_t objects = remote->object_count - covered_objects(remote);

	if (!may_begin(remote))
		return;
	if (remote->uncovered_since_ns == 0)
		remote->uncovered_since_ns = now;
	if (!hf_list_empty(&remote->asks)) {
		begin(remote);
	} else if (now >= remote->next_checkpoint_ns &&
		   (memory_is_short || objects >= rule->objects ||
		    remote->uncovered_header_bytes >= rule->header_bytes ||
		    now - remote->uncovered_since_ns >= rule->age_ms * HF_NS_PER_MS)) {
		begin(remote);
	}
}

/* ---- Asked ----------------------------------------------------------------------------------- */

static void ask_deadline_fired(struct hf_timer *timer)
{
	struct hf_remote_checkpoint *ask =
		hf_container_of(timer, struct hf_remote_checkpoint, timer);

	hf_list_remove(&ask->link);
	ask->status = HF_ETIMEDOUT;
	ask->done(ask);
}

/* Those that are covered, or all when there is a failure to tell; on the next tick. */
static void answer_asks(struct hf_remote *remote, int status)
{
	hf_list_for_each_safe (at, &remote->asks) {
		struct hf_remote_checkpoint *ask =
			hf_container_of(at, struct hf_remote_checkpoint, link);

		if (!status && ask->objects > covered_objects(remote))
			continue;
		hf_env_timer_cancel(remote->env, &ask->timer);
		hf_list_remove(&ask->link);
		ask->status = status;
		hf_list_push_back(&remote->finished_asks, &ask->link);
		hf_remote_tick_at(remote, hf_env_now_ns(remote->env));
	}
}

void hf_remote_checkpoint(struct hf_remote *remote, struct hf_remote_checkpoint *ask)
{
	int status = hf_checkpoint_end_status(remote);

	HF_CHECK_MAGIC(remote, HF_REMOTE_MAGIC);
	HF_ASSERT(remote->claimed);
	ask->objects = remote->object_count;
	ask->timer = (struct hf_timer){.fired = ask_deadline_fired};
	hf_list_push_back(&remote->asks, &ask->link);
	if (ask->deadline_ns)
		hf_env_timer_set(remote->env, &ask->timer, ask->deadline_ns);
	if (!status && remote->map_damaged)
		status = HF_ECORRUPT;
	answer_asks(remote, status);
	hf_checkpoint_consider(remote, false);
}

/* ---- Ending ---------------------------------------------------------------------------------- */

void hf_checkpoint_free(struct hf_checkpoint *checkpoint)
{
	HF_CHECK_MAGIC(checkpoint, HF_CHECKPOINT_MAGIC);
	HF_ASSERT(checkpoint->wanting == 0);
	for (unsigned i = 0; i < checkpoint->part_count; i++)
		free(checkpoint->parts[i].bytes);
	free(checkpoint->parts);
	free(checkpoint->salts);
	free(checkpoint->leaves);
	free(checkpoint->raw);
	free(checkpoint->victim_leaves);
	hf_map_root_free(checkpoint->next);
	checkpoint->remote->checkpoint = NULL;
	checkpoint->magic = 0;
	free(checkpoint);
}

/* Counting may have waited for the moment. */
static void release_counting(struct hf_remote *remote)
{
	if (!remote->hold_counting)
		return;
	remote->hold_counting = false;
	hf_look_schedule(remote);
}

void hf_checkpoint_fail(struct hf_checkpoint *checkpoint, int status)
{
	struct hf_remote *remote = checkpoint->remote;

	if (!hf_checkpoint_end_status(remote))
		hf_warn("a checkpoint could not be written: %s", hf_err_text(status));
	for (uint32_t i = 0; i < checkpoint->leaf_count; i++)
		if (checkpoint->leaves[i].writing)
			hf_extmap_leaf_end_write(remote->map, checkpoint->leaves[i].leaf, false);
	hf_checkpoint_free(checkpoint);
	remote->next_checkpoint_ns = hf_env_now_ns(remote->env) + AGAIN_AFTER_NS;
	answer_asks(remote, status);
	if (!hf_checkpoint_end_status(remote))
		release_counting(remote);
}

void hf_checkpoint_succeeded(struct hf_remote *remote)
{
	remote->checkpoints_written++;
	answer_asks(remote, 0);
	hf_maps_balance(remote->maps);
	hf_checkpoint_consider(remote, false);
}

/* What is with the store or a worker ends when that comes back. */
void hf_checkpoint_cancel(struct hf_remote *remote)
{
	struct hf_checkpoint *checkpoint = remote->checkpoint;
	int status = hf_checkpoint_end_status(remote);

	HF_ASSERT(status);
	if (!checkpoint) {
		answer_asks(remote, status);
		return;
	}
	for (unsigned i = 0; i < HF_CHECKPOINT_WANTS; i++) {
		struct hf_checkpoint_want *want = &checkpoint->wants[i];

		if (!want->checkpoint)
			continue;
		hf_block_leave(&want->wait);
		want->checkpoint = NULL;
		checkpoint->wanting--;
	}
	if (hf_retry_is_active(&checkpoint->retry))
		hf_retry_cancel(&checkpoint->retry);
	else if (checkpoint->state != HF_CHECKPOINT_ENCODING)
		hf_checkpoint_fail(checkpoint, status);
}

/* ---- The moment ------------------------------------------------------------------------------ */

static int add_leaf(struct hf_checkpoint *checkpoint, uint64_t leaf, bool writing)
{
	size_t need = checkpoint->raw_bytes + HF_EXTMAP_LEAF_BYTES_MAX;
	struct hf_checkpoint_leaf *added;
	void *more;

	if (checkpoint->leaf_count == checkpoint->leaf_capacity) {
		uint32_t capacity = checkpoint->leaf_capacity ? checkpoint->leaf_capacity * 2 : 64;

		more = realloc(checkpoint->leaves, capacity * sizeof *added);
		if (!more)
			return HF_ENOMEM;
		checkpoint->leaves = more;
		checkpoint->leaf_capacity = capacity;
	}
	if (need > checkpoint->raw_capacity) {
		more = realloc(checkpoint->raw, need + need / 2);
		if (!more)
			return HF_ENOMEM;
		checkpoint->raw = more;
		checkpoint->raw_capacity = need + need / 2;
	}
	added = &checkpoint->leaves[checkpoint->leaf_count++];
	*added = (struct hf_checkpoint_leaf){.leaf = leaf, .offset = checkpoint->raw_bytes};
	added->length = (uint32_t)hf_extmap_leaf_encode(checkpoint->remote->map, leaf,
							checkpoint->raw + checkpoint->raw_bytes,
							HF_EXTMAP_LEAF_BYTES_MAX);
	added->writing = writing;
	checkpoint->raw_bytes += added->length;
	return 0;
}

/* Whether the leaf still lies in the victim; *known is false while its page is not in memory. */
static bool lies_in_victim(const struct hf_checkpoint *checkpoint, uint64_t leaf, bool *known)
{
	const struct hf_map_page_ref *ref =
		hf_map_root_page(checkpoint->remote->root, leaf / HF_MAP_PAGE_LEAVES);
	const struct hf_map_entry *entry =
		ref && ref->page ? hf_map_page_entry(ref->page, leaf) : NULL;

	*known = !ref || ref->page;
	return entry && entry->spot.object == checkpoint->victim.number;
}

/* The next leaf of the victim that is in memory, unchanged; false if none. */
static bool next_moved(struct hf_checkpoint *checkpoint, uint64_t *leaf)
{
	struct hf_remote *remote = checkpoint->remote;
	bool known;

	for (; checkpoint->next_victim < checkpoint->victim_count; checkpoint->next_victim++) {
		*leaf = checkpoint->victim_leaves[checkpoint->next_victim];
		if (hf_extmap_leaf_state(remote->map, *leaf) == HF_EXTMAP_LEAF_CLEAN &&
		    lies_in_victim(checkpoint, *leaf, &known))
			return true;
	}
	return false;
}

/* Dirty leaves and moved ones, both ascending, merged. */
static int take_leaves(struct hf_checkpoint *checkpoint)
{
	struct hf_extmap *map = checkpoint->remote->map;
	uint64_t dirty, moved, from = 0;
	bool has_moved, partial, has_dirty = hf_extmap_leaf_next_dirty(map, 0, &dirty, &partial);
	int err = 0;

	checkpoint->next_victim = 0;
	has_moved = next_moved(checkpoint, &moved);
	while (!err && (has_dirty || has_moved)) {
		if (has_dirty && (!has_moved || dirty < moved)) {
			HF_ASSERT(!partial);
			err = add_leaf(checkpoint, dirty, true);
			from = dirty + 1;
			has_dirty = hf_extmap_leaf_next_dirty(map, from, &dirty, &partial);
		} else {
			err = add_leaf(checkpoint, moved, false);
			checkpoint->next_victim++;
			has_moved = next_moved(checkpoint, &moved);
		}
	}
	return err;
}

static int take_links(struct hf_map_root *next, const struct hf_remote *remote)
{
	struct hf_chain_link *links = malloc((remote->run_count + 1) * sizeof *links);

	if (!links)
		return HF_ENOMEM;
	for (uint32_t i = 0; i < remote->run_count; i++)
		links[i] = remote->runs[i].link;
	free(next->links);
	next->links = links;
	next->link_count = remote->run_count;
	next->size_bytes = remote->size_bytes;
	next->recovery_point = remote->recovery_point;
	next->object_count = remote->object_count;
	next->stored_bytes = remote->stored_bytes;
	next->wall_ms = hf_env_wall_ms(remote->env);
	return 0;
}

/* A copy that has room for every leaf. */
static int take_page(struct hf_checkpoint *checkpoint, uint64_t number)
{
	const struct hf_map_root *root = checkpoint->remote->root;
	const struct hf_map_page_ref *old = root ? hf_map_root_page(root, number) : NULL;
	struct hf_map_page_ref *ref = hf_map_root_add_page(checkpoint->next, number);

	if (!ref)
		return HF_ENOMEM;
	if (ref->page)
		return 0;
	ref->page = malloc(sizeof *ref->page + HF_MAP_PAGE_LEAVES * sizeof ref->page->entries[0]);
	if (!ref->page)
		return HF_ENOMEM;
	ref->page->count = 0;
	if (!old)
		return 0;
	HF_ASSERT(old->page);
	ref->page->count = old->page->count;
	memcpy(ref->page->entries, old->page->entries,
	       old->page->count * sizeof old->page->entries[0]);
	return 0;
}

static int take_pages(struct hf_checkpoint *checkpoint)
{
	const struct hf_map_root *root = checkpoint->remote->root;
	uint64_t last = UINT64_MAX;

	for (uint32_t i = 0; i < checkpoint->leaf_count; i++) {
		uint64_t number = checkpoint->leaves[i].leaf / HF_MAP_PAGE_LEAVES;
		int err = number == last ? 0 : take_page(checkpoint, number);

		if (err)
			return err;
		last = number;
	}
	for (uint32_t i = 0; root && checkpoint->victim.number && i < root->page_count; i++) {
		const struct hf_map_page_ref *ref = &root->pages[i];
		int err = ref->spot.object == checkpoint->victim.number && ref->page
				  ? take_page(checkpoint, ref->number)
				  : 0;

		if (err)
			return err;
	}
	return 0;
}

static void moment(struct hf_checkpoint *checkpoint)
{
	struct hf_remote *remote = checkpoint->remote;
	int err = take_leaves(checkpoint);

	checkpoint->next = remote->root ? hf_map_root_copy(remote->root) : hf_map_root_new();
	if (!err)
		err = checkpoint->next ? take_links(checkpoint->next, remote) : HF_ENOMEM;
	if (!err)
		err = take_pages(checkpoint);
	if (err) {
		for (uint32_t i = 0; i < checkpoint->leaf_count; i++)
			checkpoint->leaves[i].writing = false;
		hf_checkpoint_fail(checkpoint, err);
		return;
	}
	for (uint32_t i = 0; i < checkpoint->leaf_count; i++)
		if (checkpoint->leaves[i].writing)
			hf_extmap_leaf_begin_write(remote->map, checkpoint->leaves[i].leaf);
	remote->uncovered_header_bytes = 0;
	remote->uncovered_since_ns = 0;
	release_counting(remote);
	hf_checkpoint_encode(checkpoint);
}

/* ---- Collecting ------------------------------------------------------------------------------ */

static void want_there(struct hf_block_wait *wait, int status)
{
	struct hf_checkpoint_want *want = hf_container_of(wait, struct hf_checkpoint_want, wait);
	struct hf_checkpoint *checkpoint = want->checkpoint;

	HF_CHECK_MAGIC(checkpoint, HF_CHECKPOINT_MAGIC);
	want->checkpoint = NULL;
	checkpoint->wanting--;
	if (status && !checkpoint->status)
		checkpoint->status = status;
	hf_checkpoint_collect(checkpoint);
}

/* The first leaf of the next page that lies in the victim; false if there is none. */
static bool next_page(struct hf_checkpoint *checkpoint, uint64_t *leaf)
{
	const struct hf_map_root *root = checkpoint->remote->root;

	while (checkpoint->victim.number && checkpoint->next_page < root->page_count) {
		const struct hf_map_page_ref *ref = &root->pages[checkpoint->next_page++];

		*leaf = ref->number * HF_MAP_PAGE_LEAVES;
		if (ref->spot.object == checkpoint->victim.number)
			return true;
	}
	return false;
}

/* The next thing that has to be in memory: a page, or a leaf with its page. False past the last. */
static bool next_need(struct hf_checkpoint *checkpoint, uint64_t *leaf, bool *whole)
{
	if (hf_extmap_leaf_next_dirty(checkpoint->remote->map, checkpoint->next_leaf, leaf,
				      whole)) {
		checkpoint->next_leaf = *leaf + 1;
		return true;
	}
	checkpoint->next_leaf = UINT64_MAX;
	while (checkpoint->next_victim < checkpoint->victim_count) {
		bool known, lies;

		*leaf = checkpoint->victim_leaves[checkpoint->next_victim++];
		lies = lies_in_victim(checkpoint, *leaf, &known);
		*whole = known;
		if (lies || !known)
			return true;
	}
	*whole = false;
	return next_page(checkpoint, leaf);
}

static void want_more(struct hf_checkpoint *checkpoint)
{
	struct hf_remote *remote = checkpoint->remote;
	uint64_t leaf;
	bool whole;

	while (checkpoint->wanting < HF_CHECKPOINT_WANTS && !checkpoint->status &&
	       next_need(checkpoint, &leaf, &whole)) {
		struct hf_checkpoint_want *want = checkpoint->wants;
		int err;

		while (want->checkpoint)
			want++;
		want->wait.done = want_there;
		err = whole ? hf_leaf_need(remote, leaf, &want->wait, 0)
			    : hf_page_need(remote, leaf / HF_MAP_PAGE_LEAVES, &want->wait, 0);
		if (err == HF_EAGAIN) {
			want->checkpoint = checkpoint;
			checkpoint->wanting++;
			checkpoint->wanted_any = true;
		} else if (err) {
			checkpoint->status = err;
		}
	}
}

/* Half of an object is in the map: memory was short. */
static bool counting_is_cut(const struct hf_remote *remote)
{
	return !hf_list_empty(&remote->puts) &&
	       hf_container_of(remote->puts.next, struct hf_put, link)->in_table;
}

void hf_checkpoint_collect(struct hf_checkpoint *checkpoint)
{
	struct hf_remote *remote = checkpoint->remote;

	for (;;) {
		want_more(checkpoint);
		if (checkpoint->wanting)
			return;
		if (!checkpoint->status && counting_is_cut(remote))
			checkpoint->status = HF_ENOMEM;
		if (checkpoint->status) {
			hf_checkpoint_fail(checkpoint, checkpoint->status);
			return;
		}
		if (!checkpoint->wanted_any)
			break;
		checkpoint->wanted_any = false;
		checkpoint->next_leaf = 0;
		checkpoint->next_victim = 0;
		checkpoint->next_page = 0;
		if (++checkpoint->passes >= PASSES_MAX)
			remote->hold_counting = true;
	}
	moment(checkpoint);
}

static void begin(struct hf_remote *remote)
{
	struct hf_checkpoint *checkpoint = calloc(1, sizeof *checkpoint);
	uint64_t now = hf_env_now_ns(remote->env);

	remote->next_checkpoint_ns = now + remote->checkpoints.interval_ms * HF_NS_PER_MS;
	if (!checkpoint) {
		answer_asks(remote, HF_ENOMEM);
		return;
	}
	checkpoint->magic = HF_CHECKPOINT_MAGIC;
	checkpoint->remote = remote;
	remote->checkpoint = checkpoint;
	if (!hf_checkpoint_clean(checkpoint))
		hf_checkpoint_collect(checkpoint);
}
