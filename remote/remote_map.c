/* Opening a volume, between the base and the run of its own objects: the newest usable checkpoint.
 * Those of the base's own incarnation come first, the newest first, then the one that the base
 * names. It is usable if the objects that it describes are the first of those that the base counts;
 * its leaves are absent then, and only headers of later objects are read. If it is damaged the map
 * is built from the headers of all objects, which are all there, and the owner is told. Core's
 * thread.
 *
 *   list BASE/map/ ──▶ newest ──root──▶ usable ──▶ run past it
 *         ▲             │  │ ▲ no root    └── damaged ──▶ the whole run
 *         └─ gone ──────┘  └─┴─▶ older, then the one the base names; none: the whole run
 */
#include "remote/remote_impl.h"
#include "base/log.h"
#include "remote/maps.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define MAPS_MAX  4096u /* listed that are remembered, to be deleted if no root needs them */
#define TRIES_MAX 3u    /* of listing: the holder deletes what it has superseded */

static void list_maps(struct hf_opening *opening, const char *after);

/* The map is built from all headers. */
static void without_checkpoint(struct hf_opening *opening)
{
	for (unsigned i = 0; i < opening->map_count; i++)
		hf_doom(opening->remote, &opening->maps[i]);
	if (opening->base.checkpoint.sequence)
		hf_doom(opening->remote, &opening->base.checkpoint);
	hf_opening_list_run(opening);
}

static void map_is_damaged(struct hf_opening *opening)
{
	char name[HF_STORE_NAME_MAX + 1];

	hf_name_map(name, &opening->map);
	hf_error("checkpoint %s: %s; building the map from the headers of all objects", name,
		 opening->open->message.text);
	hf_fail_in(&opening->open->message, HF_ECORRUPT, "checkpoint %s", name);
	opening->open->map_damaged = true;
	without_checkpoint(opening);
}

/* ---- Usable ---------------------------------------------------------------------------------- */

static bool is_same(const struct hf_object_id *a, const struct hf_object_id *b)
{
	return a->epoch == b->epoch && a->start == b->start && a->sequence == b->sequence;
}

/* Whether the root's link `i` is a beginning of what the base counts. */
static bool link_fits(const struct hf_base *base, const struct hf_map_root *root, uint32_t i)
{
	const struct hf_chain_link *link = &root->links[i], *own;
	bool last = i + 1 == root->link_count;

	if (i >= base->link_count)
		return i == base->link_count && last && link->epoch == base->id.epoch &&
		       link->start == base->id.start;
	own = &base->links[i];
	if (link->epoch != own->epoch || link->start != own->start)
		return false;
	if (link->last_object == own->last_object)
		return link->last_sequence == own->last_sequence;
	return last && link->last_object < own->last_object &&
	       link->last_sequence < own->last_sequence;
}

static bool is_usable(const struct hf_base *base, const struct hf_map_root *root)
{
	for (uint32_t i = 0; i < root->link_count; i++)
		if (!link_fits(base, root, i))
			return false;
	return true;
}

/* ---- In force -------------------------------------------------------------------------------- */

static int mark_leaves(struct hf_remote *remote)
{
	for (uint32_t i = 0; i < remote->root->page_count; i++) {
		const struct hf_map_page_ref *ref = &remote->root->pages[i];

		for (uint32_t leaf = 0; leaf < HF_MAP_PAGE_LEAVES; leaf++) {
			int err = ref->leaves[leaf / 64] >> leaf % 64 & 1
					  ? hf_extmap_leaf_mark_absent(
						    remote->map,
						    ref->number * HF_MAP_PAGE_LEAVES + leaf)
					  : 0;

			if (err)
				return err;
		}
	}
	return 0;
}

static int take_runs(struct hf_remote *remote)
{
	const struct hf_map_root *root = remote->root;
	uint64_t index = 0;

	remote->runs = malloc(root->link_count * sizeof *remote->runs);
	if (!remote->runs)
		return HF_ENOMEM;
	remote->run_capacity = remote->run_count = root->link_count;
	for (uint32_t i = 0; i < root->link_count; i++) {
		remote->runs[i].link = root->links[i];
		remote->runs[i].first_index = index;
		index += root->links[i].last_object;
	}
	remote->object_count = root->object_count;
	remote->stored_bytes = root->stored_bytes;
	remote->recovery_point = root->recovery_point;
	if (root->size_bytes > remote->size_bytes)
		remote->size_bytes = root->size_bytes;
	return 0;
}

/* What is listed and not needed, or needed no more, goes when our own first one is in force. */
static void doom_rest(struct hf_opening *opening)
{
	const struct hf_map_root *root = opening->remote->root;

	for (unsigned i = 0; i < opening->map_count; i++) {
		bool needed = false;

		for (uint32_t k = 0; k < root->object_refs && !needed; k++)
			needed = is_same(&root->objects[k].id, &opening->maps[i]);
		if (!needed)
			hf_doom(opening->remote, &opening->maps[i]);
	}
}

static void adopt(struct hf_opening *opening, struct hf_map_root *root)
{
	struct hf_remote *remote = opening->remote;
	const struct hf_chain_link *last = &root->links[root->link_count - 1];
	int err;

	remote->root = root;
	err = take_runs(remote);
	if (!err)
		err = mark_leaves(remote);
	if (err) {
		hf_fail(&opening->open->message, err, "taking over a checkpoint: %s",
			hf_err_text(err));
		hf_opening_fail(opening, err);
		return;
	}
	opening->at_link = root->link_count - 1;
	opening->at_object = last->last_object;
	if (opening->at_link == opening->base.link_count)
		opening->run = last->last_object;
	doom_rest(opening);
	hf_opening_list_run(opening);
}

/* ---- Reading --------------------------------------------------------------------------------- */

static void map_got(struct hf_retry *retry, int status);

static void get_map(struct hf_opening *opening, size_t length)
{
	struct hf_store_io *io = hf_opening_io(opening, HF_STORE_GET);

	io->range_length = length;
	hf_name_map(io->name, &opening->map);
	hf_opening_submit(opening, map_got);
}

static void next_map(struct hf_opening *opening)
{
	if (opening->maps_left > 0)
		opening->map = opening->maps[--opening->maps_left];
	else if (opening->base.checkpoint.sequence &&
		 !is_same(&opening->map, &opening->base.checkpoint))
		opening->map = opening->base.checkpoint;
	else {
		without_checkpoint(opening);
		return;
	}
	get_map(opening, HF_MAP_FIRST_GET);
}

static void map_read(struct hf_opening *opening, struct hf_map_root *root)
{
	if (!root) { /* the first parts of one that was cut short */
		next_map(opening);
	} else if (is_usable(&opening->base, root)) {
		adopt(opening, root);
	} else {
		hf_map_root_free(root);
		hf_fail(&opening->open->message, HF_ECORRUPT,
			"describes objects that are not the volume's");
		map_is_damaged(opening);
	}
}

static void map_is_gone(struct hf_opening *opening)
{
	if (++opening->map_tries < TRIES_MAX) {
		opening->map_count = 0;
		opening->map = (struct hf_object_id){0};
		list_maps(opening, "");
		return;
	}
	hf_fail(&opening->open->message, HF_ENOENT, "it is missing");
	map_is_damaged(opening);
}

static void map_got(struct hf_retry *retry, int status)
{
	/* Out of range: it is empty, which is damage. */
	struct hf_opening *opening = hf_opening_of(retry, status == HF_ERANGE ? 0 : status);
	struct hf_errmsg *message;
	struct hf_map_root *root = NULL;
	size_t header_bytes;
	int err;

	if (!opening)
		return;
	if (status == HF_ENOENT) {
		map_is_gone(opening);
		return;
	}
	message = &opening->open->message;
	err = hf_sealed_header_bytes(&opening->map, HF_SEALED_MAP, retry->io.body,
				     retry->io.body_length, &header_bytes, message);
	if (!err && header_bytes > retry->io.body_length &&
	    retry->io.body_length == HF_MAP_FIRST_GET) {
		free(retry->io.body);
		get_map(opening, header_bytes);
		return;
	}
	if (!err)
		err = hf_map_header_decode(&opening->map, opening->remote->data_key, retry->io.body,
					   retry->io.body_length, &root, NULL, NULL, message);
	free(retry->io.body);
	if (!err)
		map_read(opening, root);
	else if (err == HF_ECORRUPT || err == HF_EAUTH)
		map_is_damaged(opening);
	else
		hf_opening_fail(opening, err);
}

/* ---- Listing --------------------------------------------------------------------------------- */

static int remember(struct hf_opening *opening, uint64_t sequence)
{
	struct hf_object_id *maps;

	if (opening->map_count == MAPS_MAX) /* the oldest is of least interest */
		memmove(opening->maps, opening->maps + 1,
			--opening->map_count * sizeof *opening->maps);
	maps = realloc(opening->maps, (opening->map_count + 1) * sizeof *maps);
	if (!maps)
		return HF_ENOMEM;
	opening->maps = maps;
	maps[opening->map_count] = opening->base.id;
	maps[opening->map_count++].sequence = sequence;
	return 0;
}

static void maps_listed(struct hf_retry *retry, int status)
{
	struct hf_opening *opening = hf_opening_of(retry, status);
	char prefix[HF_STORE_NAME_MAX + 1], after[HF_STORE_NAME_MAX + 1] = "";
	uint64_t number;
	int err = 0;
	bool more;

	if (!opening)
		return;
	hf_name_maps(prefix, &opening->base.id);
	for (unsigned i = 0; i < retry->io.name_count && !err; i++) {
		memcpy(after, retry->io.names[i].name, sizeof after);
		if (hf_name_number(after, prefix, &number))
			err = remember(opening, number);
	}
	more = retry->io.more && retry->io.name_count > 0;
	free(retry->io.names);
	if (err) {
		hf_fail(&opening->open->message, err, "listing checkpoints: out of memory");
		hf_opening_fail(opening, err);
	} else if (more) {
		list_maps(opening, after);
	} else {
		opening->maps_left = opening->open->rebuild_map ? 0 : opening->map_count;
		if (opening->open->rebuild_map)
			without_checkpoint(opening);
		else
			next_map(opening);
	}
}

static void list_maps(struct hf_opening *opening, const char *after)
{
	struct hf_store_io *io = hf_opening_io(opening, HF_STORE_LIST);

	hf_name_maps(io->name, &opening->base.id);
	strcpy(io->after, after);
	hf_opening_submit(opening, maps_listed);
}

void hf_opening_find_map(struct hf_opening *opening)
{
	list_maps(opening, "");
}
