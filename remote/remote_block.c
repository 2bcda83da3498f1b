/* Blocks of checkpoints, fetched when the map needs them: one ranged GET each, decoded by a worker,
 * installed into index or map, then everybody who waits is told. A block that is damaged or missing
 * is fetched once more; a holder looks at the claims before, since a higher one may have replaced
 * and deleted what we still use. What fails again is damage: reported, never served (invariant 8).
 * Core's thread.
 *
 * What the read cache has (remote_kept.c) is not fetched.
 *
 *   getting ──▶ decoding ──good──▶ installed, told
 *     ▲  ▲          │
 *     │  └─ look ◀──┴─ 1st time ── damaged, missing ── 2nd time ──▶ HF_ECORRUPT
 */
#include "remote/remote_impl.h"
#include "base/log.h"
#include "remote/kept.h"
#include "remote/maps.h"

#include <stdlib.h>
#include <string.h>

#define BLOCK_MAGIC 0x424c4f43u

struct hf_block {
	uint32_t magic;
	struct hf_remote *remote;
	struct hf_list link; /* in remote->blocks while it can be joined */
	struct hf_list waits;
	uint64_t what;                      /* as for hf_map_writer_add */
	struct hf_map_spot spot, page_spot; /* of it, and of the page that says so */
	struct hf_map_object object;        /* a copy: roots come and go */
	bool again;                         /* the second GET */
	bool suspect; /* waiting for a look that begins now or later, before the second GET */
	bool in_look; /* that look is under way */
	bool is_kept; /* came from the read cache */
	struct hf_kept kept;
	struct hf_retry retry;
	struct hf_work work;
	int status;
	uint8_t *plain;
	size_t length;
};

static void get_block(struct hf_block *block)
{
	struct hf_store_io *io = &block->retry.io;

	*io = (struct hf_store_io){
		.op = HF_STORE_GET,
		.range_start = block->object.data_offset + (uint64_t)block->spot.offset,
		.range_length = block->spot.stored_bytes,
	};
	hf_name_map(io->name, &block->object.id);
	hf_remote_busy(block->remote);
	hf_retry_start(&block->retry);
}

static void settle(struct hf_block *block, int status)
{
	struct hf_list *link;

	hf_list_remove(&block->link);
	while ((link = hf_list_pop_front(&block->waits)) != NULL) {
		struct hf_block_wait *wait = hf_container_of(link, struct hf_block_wait, link);

		wait->block = NULL;
		wait->done(wait, status);
	}
	free(block->retry.io.body);
	free(block->plain);
	block->magic = 0;
	free(block);
}

/* ---- What came ------------------------------------------------------------------------------- */

static bool is_spot(const struct hf_map_spot *a, const struct hf_map_spot *b)
{
	return a->object == b->object && a->offset == b->offset;
}

/* Whether it still lies there by the root in force. A leaf does if its page does, since a page
 * never changes. */
static bool is_current(const struct hf_block *block)
{
	uint64_t number = block->what & HF_MAP_IS_PAGE ? block->what & ~HF_MAP_IS_PAGE
						       : block->what / HF_MAP_PAGE_LEAVES;
	const struct hf_map_page_ref *page = hf_map_root_page(block->remote->root, number);

	return page && is_spot(&page->spot, &block->page_spot);
}

/* A leaf names only objects that its checkpoint describes. */
static int install_leaf(struct hf_block *block)
{
	struct hf_remote *remote = block->remote;
	uint64_t end;
	int err = hf_extmap_leaf_sources(block->plain, block->length, &end);

	if (!err && end > remote->root->object_count)
		err = HF_ECORRUPT;
	return err ? err
		   : hf_extmap_leaf_install(remote->map, block->what, block->plain, block->length);
}

static int install(struct hf_block *block)
{
	struct hf_remote *remote = block->remote;
	struct hf_map_page_ref *ref;
	int err;

	if (!is_current(block))
		return 0; /* whoever waits finds out where it lies now */
	if (!(block->what & HF_MAP_IS_PAGE))
		return install_leaf(block);
	ref = hf_map_root_page(remote->root, block->what & ~HF_MAP_IS_PAGE);
	ref->used = true;
	if (ref->page)
		return 0;
	err = hf_map_page_decode(remote->root, ref, block->plain, block->length, &ref->page);
	remote->page_bytes += hf_maps_page_bytes(ref->page);
	return err;
}

static void decode_run(struct hf_work *work)
{
	struct hf_block *block = hf_container_of(work, struct hf_block, work);

	block->plain = malloc(HF_MAP_BLOCK_MAX);
	block->status =
		!block->plain ? HF_ENOMEM
			      : hf_map_block_decode(&block->object, block->remote->data_key,
						    block->what, &block->spot, block->retry.io.body,
						    block->retry.io.body_length, block->plain,
						    &block->length);
}

static void report(struct hf_block *block)
{
	struct hf_remote *remote = block->remote;
	const char *kind = block->what & HF_MAP_IS_PAGE ? "page" : "leaf";

	hf_error("checkpoint %s: %s %llu is damaged or missing", block->retry.io.name, kind,
		 (unsigned long long)(block->what & ~HF_MAP_IS_PAGE));
	remote->map_damaged = true;
	memcpy(remote->damaged_map, block->retry.io.name, sizeof remote->damaged_map);
}

/* Damaged or missing. True if it will be fetched once more. */
static bool doubt(struct hf_block *block)
{
	struct hf_remote *remote = block->remote;

	if (block->again || remote->closing || remote->fenced || hf_list_empty(&block->waits))
		return false;
	block->again = true;
	if (!remote->claimed) {
		get_block(block);
		return true;
	}
	block->suspect = true;
	hf_remote_busy(remote); /* until the look */
	hf_remote_look(remote);
	return true;
}

static int end_status(const struct hf_remote *remote, int status)
{
	return remote->closing ? HF_ECANCELED : remote->fenced ? HF_EFENCED : status;
}

static void block_end(struct hf_block *block, int status)
{
	struct hf_remote *remote = block->remote;

	if (status == HF_ENOENT || status == HF_ERANGE)
		status = HF_ECORRUPT;
	if (status == HF_ECORRUPT && !is_current(block))
		status = 0; /* deleted since: a newer checkpoint of our own has it elsewhere */
	if (status == HF_ECORRUPT && doubt(block))
		return;
	status = end_status(remote, status);
	if (status == HF_ECORRUPT)
		report(block);
	settle(block, status);
	if (!status)
		hf_maps_balance(remote->maps);
}

static void decode_done(struct hf_work *work)
{
	struct hf_block *block = hf_container_of(work, struct hf_block, work);
	struct hf_remote *remote = block->remote;

	HF_CHECK_MAGIC(block, BLOCK_MAGIC);
	if (!block->status && !end_status(remote, 0))
		block->status = install(block);
	if (!block->status && !block->is_kept && !end_status(remote, 0))
		hf_kept_write(remote, &block->object, &block->spot, block->retry.io.body);
	free(block->retry.io.body);
	block->retry.io.body = NULL;
	if (block->status) {
		free(block->plain);
		block->plain = NULL;
	}
	if (block->status == HF_ECORRUPT && block->is_kept && !end_status(remote, 0)) {
		block->is_kept = false; /* of no more use than if it were not there */
		get_block(block);
	} else {
		block_end(block, block->status);
	}
	hf_remote_idle(remote);
}

static void decode(struct hf_block *block)
{
	hf_remote_busy(block->remote);
	hf_env_work_submit(block->remote->env, &block->work);
}

static void block_got(struct hf_retry *retry, int status)
{
	struct hf_block *block = hf_container_of(retry, struct hf_block, retry);
	struct hf_remote *remote = block->remote;

	HF_CHECK_MAGIC(block, BLOCK_MAGIC);
	if (status) {
		block_end(block, status);
	} else {
		decode(block);
	}
	hf_remote_idle(remote);
}

static void block_kept(struct hf_kept *kept, int status)
{
	struct hf_block *block = hf_container_of(kept, struct hf_block, kept);

	HF_CHECK_MAGIC(block, BLOCK_MAGIC);
	if (end_status(block->remote, 0) || hf_list_empty(&block->waits)) {
		settle(block, end_status(block->remote, HF_ECANCELED));
		return;
	}
	block->is_kept = status == 0;
	if (block->is_kept) {
		decode(block);
		return;
	}
	free(block->retry.io.body);
	get_block(block);
}

/* From the read cache if it is there, else from the store. */
static void begin(struct hf_block *block)
{
	uint8_t *bytes = malloc(block->spot.stored_bytes);
	int err;

	block->kept = (struct hf_kept){.remote = block->remote, .done = block_kept};
	err = bytes ? hf_kept_read(&block->kept, &block->object, &block->spot, bytes) : HF_ENOENT;
	if (err == HF_ENOENT) {
		free(bytes);
		get_block(block);
		return;
	}
	block->retry.io.body = bytes;
	block->retry.io.body_length = block->spot.stored_bytes;
	block->is_kept = err == 0;
	if (block->is_kept)
		decode(block);
}

void hf_blocks_before_look(struct hf_remote *remote)
{
	hf_list_for_each (at, &remote->blocks) {
		struct hf_block *block = hf_container_of(at, struct hf_block, link);

		block->in_look = block->suspect;
	}
}

void hf_blocks_after_look(struct hf_remote *remote)
{
	hf_list_for_each_safe (at, &remote->blocks) {
		struct hf_block *block = hf_container_of(at, struct hf_block, link);

		if (!block->suspect || (!block->in_look && !end_status(remote, 0)))
			continue;
		block->suspect = false;
		if (end_status(remote, 0))
			settle(block, end_status(remote, 0));
		else
			get_block(block);
		hf_remote_idle(remote);
	}
}

void hf_blocks_cancel_all(struct hf_remote *remote)
{
	hf_list_for_each (at, &remote->blocks) {
		struct hf_block *block = hf_container_of(at, struct hf_block, link);

		if (hf_retry_is_active(&block->retry))
			hf_retry_cancel(&block->retry);
	}
}

/* ---- Who wants it ---------------------------------------------------------------------------- */

static struct hf_block *find(const struct hf_remote *remote, uint64_t what)
{
	hf_list_for_each (at, &remote->blocks) {
		struct hf_block *block = hf_container_of(at, struct hf_block, link);

		if (block->what == what && is_current(block))
			return block;
	}
	return NULL;
}

static void join(struct hf_block *block, struct hf_block_wait *wait, uint64_t deadline_ns)
{
	struct hf_retry *retry = &block->retry;

	if (hf_list_empty(&block->waits) || !deadline_ns ||
	    (retry->deadline_ns && deadline_ns > retry->deadline_ns))
		retry->deadline_ns = deadline_ns;
	wait->block = block;
	hf_list_push_back(&block->waits, &wait->link);
}

static int fetch(struct hf_remote *remote, uint64_t what, const struct hf_map_spot *spot,
		 const struct hf_map_page_ref *page, struct hf_block_wait *wait,
		 uint64_t deadline_ns)
{
	struct hf_block *block = find(remote, what);
	bool fresh = !block;

	if (fresh && !(block = calloc(1, sizeof *block)))
		return HF_ENOMEM;
	if (fresh) {
		block->magic = BLOCK_MAGIC;
		block->remote = remote;
		block->what = what;
		block->spot = *spot;
		block->page_spot = page->spot;
		block->object = *hf_map_root_object(remote->root, spot->object);
		block->retry = (struct hf_retry){
			.env = remote->env, .trouble = &remote->trouble, .done = block_got};
		block->work = (struct hf_work){.run = decode_run, .done = decode_done};
		hf_list_init(&block->waits);
		hf_list_push_back(&remote->blocks, &block->link);
	}
	join(block, wait, deadline_ns);
	if (fresh)
		begin(block);
	return HF_EAGAIN;
}

int hf_page_need(struct hf_remote *remote, uint64_t number, struct hf_block_wait *wait,
		 uint64_t deadline_ns)
{
	struct hf_map_page_ref *ref = remote->root ? hf_map_root_page(remote->root, number) : NULL;

	if (!ref || ref->page) {
		if (ref)
			ref->used = true;
		return 0;
	}
	if (remote->closing || remote->fenced)
		return end_status(remote, 0);
	return fetch(remote, number | HF_MAP_IS_PAGE, &ref->spot, ref, wait, deadline_ns);
}

int hf_leaf_need(struct hf_remote *remote, uint64_t leaf, struct hf_block_wait *wait,
		 uint64_t deadline_ns)
{
	enum hf_extmap_state state = hf_extmap_leaf_state(remote->map, leaf);
	const struct hf_map_page_ref *ref;
	const struct hf_map_entry *entry;
	int err;

	if (state != HF_EXTMAP_LEAF_ABSENT && state != HF_EXTMAP_LEAF_PARTIAL)
		return 0;
	err = hf_page_need(remote, leaf / HF_MAP_PAGE_LEAVES, wait, deadline_ns);
	if (err)
		return err;
	if (remote->closing || remote->fenced)
		return end_status(remote, 0);
	ref = hf_map_root_page(remote->root, leaf / HF_MAP_PAGE_LEAVES);
	HF_ASSERT(ref && ref->page); /* what is absent has a bit in a page */
	entry = hf_map_page_entry(ref->page, leaf);
	HF_ASSERT(entry);
	return fetch(remote, leaf, &entry->spot, ref, wait, deadline_ns);
}

void hf_block_leave(struct hf_block_wait *wait)
{
	struct hf_block *block = wait->block;

	HF_CHECK_MAGIC(block, BLOCK_MAGIC);
	hf_list_remove(&wait->link);
	wait->block = NULL;
	if (!hf_list_empty(&block->waits) || block->suspect)
		return;
	/* Nobody joins a GET that was given up: it may be waiting for a store that is away. */
	hf_list_remove(&block->link);
	hf_retry_cancel(&block->retry);
}
