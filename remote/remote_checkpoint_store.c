/* The second half of a checkpoint: a worker compresses and encrypts its leaves and pages into one
 * map object, or several of 32 MiB of which the last one has the root; they are PUT one after the
 * other under names that must not exist yet; a look at the claims that began after the last answer
 * makes the root the one in force, as it makes objects count. Only then is what no root needs any
 * more deleted. Core's thread. */
#include "remote/checkpoint.h"
#include "remote/kept.h"
#include "remote/maps.h"

#include <stdlib.h>
#include <string.h>

int hf_checkpoint_end_status(const struct hf_remote *remote)
{
	return remote->closing ? HF_ECANCELED : remote->fenced ? HF_EFENCED : 0;
}

/* ---- Encoding, in a worker ------------------------------------------------------------------- */

struct encoder {
	struct hf_checkpoint *checkpoint;
	struct hf_map_root *next;
	struct hf_map_writer writer;
};

static void account(struct encoder *encoder, const struct hf_map_spot *spot, bool live)
{
	struct hf_map_object *object = hf_map_root_object(encoder->next, spot->object);

	HF_ASSERT(object && (live || object->live_bytes >= spot->stored_bytes));
	object->live_bytes += live ? spot->stored_bytes : -(uint64_t)spot->stored_bytes;
}

static int begin_part(struct encoder *encoder)
{
	struct hf_checkpoint *checkpoint = encoder->checkpoint;
	struct hf_checkpoint_part *part = &checkpoint->parts[checkpoint->part_count];
	int err;

	HF_ASSERT(checkpoint->part_count < checkpoint->part_max);
	part->object = (struct hf_map_object){
		.number = encoder->next->number + 1,
		.id = checkpoint->id,
	};
	part->object.id.sequence += checkpoint->part_count + 1;
	memcpy(part->object.salt, checkpoint->salts[checkpoint->part_count], HF_SALT_BYTES);
	err = hf_map_writer_begin(&encoder->writer, &part->object, checkpoint->remote->data_key);
	if (!err)
		err = hf_map_root_add_object(encoder->next, &part->object);
	if (err)
		return err;
	checkpoint->part_count++;
	encoder->next->number++;
	return 0;
}

static int end_part(struct encoder *encoder, bool last)
{
	struct hf_checkpoint *checkpoint = encoder->checkpoint;
	struct hf_checkpoint_part *part = &checkpoint->parts[checkpoint->part_count - 1];
	struct hf_map_object *own = hf_map_root_object(encoder->next, part->object.number);
	int err;

	own->block_bytes = encoder->writer.object.block_bytes;
	err = hf_map_writer_finish(&encoder->writer, last ? encoder->next : NULL, &part->bytes,
				   &part->length);
	own->data_offset = encoder->writer.object.data_offset;
	hf_map_writer_free(&encoder->writer);
	return err;
}

static int add_block(struct encoder *encoder, uint64_t what, const void *plain, size_t length,
		     struct hf_map_spot *spot)
{
	int err = 0;

	if (encoder->writer.object.block_bytes >= HF_MAP_OBJECT_BYTES) {
		err = end_part(encoder, false);
		if (!err)
			err = begin_part(encoder);
	}
	if (!err)
		err = hf_map_writer_add(&encoder->writer, what, plain, length, spot);
	if (!err)
		account(encoder, spot, true);
	return err;
}

/* Puts the entry of a leaf in, or takes it out if there is nowhere to point to. */
static void set_entry(struct encoder *encoder, uint64_t leaf, const struct hf_map_spot *spot)
{
	struct hf_map_page_ref *ref = hf_map_root_page(encoder->next, leaf / HF_MAP_PAGE_LEAVES);
	struct hf_map_entry *entries = ref->page->entries;
	uint32_t number = (uint32_t)(leaf % HF_MAP_PAGE_LEAVES), at = 0, *count = &ref->page->count;

	while (at < *count && entries[at].leaf < number)
		at++;
	if (at < *count && entries[at].leaf == number) {
		account(encoder, &entries[at].spot, false);
		memmove(&entries[at], &entries[at + 1], (--*count - at) * sizeof *entries);
	}
	ref->leaves[number / 64] &= ~(1ull << number % 64);
	if (!spot)
		return;
	memmove(&entries[at + 1], &entries[at], ((*count)++ - at) * sizeof *entries);
	entries[at] = (struct hf_map_entry){.leaf = number, .spot = *spot};
	ref->leaves[number / 64] |= 1ull << number % 64;
}

static int encode_leaves(struct encoder *encoder)
{
	const struct hf_checkpoint *checkpoint = encoder->checkpoint;

	for (uint32_t i = 0; i < checkpoint->leaf_count; i++) {
		const struct hf_checkpoint_leaf *leaf = &checkpoint->leaves[i];
		struct hf_map_spot spot;
		int err = leaf->length
				  ? add_block(encoder, leaf->leaf, checkpoint->raw + leaf->offset,
					      leaf->length, &spot)
				  : 0;

		if (err)
			return err;
		set_entry(encoder, leaf->leaf, leaf->length ? &spot : NULL);
	}
	return 0;
}

/* Gives back the room for entries that did not come. */
static struct hf_map_page *trim(struct hf_map_page *page)
{
	struct hf_map_page *trimmed =
		page ? realloc(page, sizeof *page + page->count * sizeof page->entries[0]) : NULL;

	return trimmed ? trimmed : page;
}

static int encode_pages(struct encoder *encoder)
{
	struct hf_map_root *next = encoder->next;
	uint8_t *plain = malloc(HF_MAP_PAGE_BYTES_MAX);
	uint32_t kept = 0;
	int err = plain ? 0 : HF_ENOMEM;

	for (uint32_t i = 0; i < next->page_count && !err; i++) {
		struct hf_map_page_ref ref = next->pages[i];

		if (ref.page && ref.spot.object)
			account(encoder, &ref.spot, false);
		if (ref.page && ref.page->count == 0) {
			free(ref.page);
			next->pages[i].page = NULL;
			continue;
		}
		if (ref.page)
			err = add_block(encoder, ref.number | HF_MAP_IS_PAGE, plain,
					hf_map_page_encode(ref.page, plain), &ref.spot);
		ref.page = trim(ref.page);
		next->pages[i].page = NULL;
		next->pages[kept++] = ref;
	}
	if (!err)
		next->page_count = kept;
	free(plain);
	return err;
}

static void encode_run(struct hf_work *work)
{
	struct hf_checkpoint *checkpoint = hf_container_of(work, struct hf_checkpoint, work);
	struct encoder encoder = {.checkpoint = checkpoint, .next = checkpoint->next};
	int err = begin_part(&encoder);

	if (!err)
		err = encode_leaves(&encoder);
	if (!err)
		err = encode_pages(&encoder);
	if (!err)
		err = end_part(&encoder, true);
	hf_map_writer_free(&encoder.writer);
	checkpoint->encode_status = err;
}

/* ---- PUT ------------------------------------------------------------------------------------- */

static void submit(struct hf_checkpoint *checkpoint, enum hf_store_op op)
{
	const struct hf_checkpoint_part *part = &checkpoint->parts[checkpoint->at_part];
	struct hf_store_io *io = &checkpoint->retry.io;

	*io = (struct hf_store_io){.op = op};
	hf_name_map(io->name, &part->object.id);
	if (op == HF_STORE_PUT) {
		io->data = part->bytes;
		io->length = part->length;
		io->if_absent = !checkpoint->unconditional;
	}
	checkpoint->state = op == HF_STORE_PUT ? HF_CHECKPOINT_STORING : HF_CHECKPOINT_COMPARING;
	hf_remote_busy(checkpoint->remote);
	hf_retry_start(&checkpoint->retry);
}

static void answered(struct hf_checkpoint *checkpoint)
{
	if (++checkpoint->at_part < checkpoint->part_count) {
		submit(checkpoint, HF_STORE_PUT);
		return;
	}
	checkpoint->state = HF_CHECKPOINT_ANSWERED;
	hf_look_schedule(checkpoint->remote);
}

static void stored(struct hf_checkpoint *checkpoint, int status)
{
	if (status == 0) {
		answered(checkpoint);
	} else if (status == HF_EEXIST) {
		submit(checkpoint, HF_STORE_GET);
	} else if (status == HF_EUNSUPPORTED && !checkpoint->unconditional) {
		checkpoint->unconditional = true; /* the name is this start's own */
		submit(checkpoint, HF_STORE_PUT);
	} else {
		hf_checkpoint_fail(checkpoint, status);
	}
}

static void compared(struct hf_checkpoint *checkpoint, int status)
{
	const struct hf_checkpoint_part *part = &checkpoint->parts[checkpoint->at_part];
	const struct hf_store_io *io = &checkpoint->retry.io;

	if (status == HF_ENOENT)
		submit(checkpoint, HF_STORE_PUT);
	else if (status)
		hf_checkpoint_fail(checkpoint, status);
	else if (io->body_length == part->length &&
		 memcmp(io->body, part->bytes, part->length) == 0)
		answered(checkpoint);
	else
		hf_checkpoint_fail(checkpoint, HF_ECORRUPT);
}

static void checkpoint_retry_done(struct hf_retry *retry, int status)
{
	struct hf_checkpoint *checkpoint = hf_container_of(retry, struct hf_checkpoint, retry);
	struct hf_remote *remote = checkpoint->remote;
	void *body = retry->io.body;

	HF_CHECK_MAGIC(checkpoint, HF_CHECKPOINT_MAGIC);
	if (hf_checkpoint_end_status(remote))
		hf_checkpoint_fail(checkpoint, hf_checkpoint_end_status(remote));
	else if (checkpoint->state == HF_CHECKPOINT_STORING)
		stored(checkpoint, status);
	else
		compared(checkpoint, status);
	free(body);
	hf_remote_idle(remote);
}

static void encode_done(struct hf_work *work)
{
	struct hf_checkpoint *checkpoint = hf_container_of(work, struct hf_checkpoint, work);
	struct hf_remote *remote = checkpoint->remote;

	HF_CHECK_MAGIC(checkpoint, HF_CHECKPOINT_MAGIC);
	if (hf_checkpoint_end_status(remote)) {
		hf_checkpoint_fail(checkpoint, hf_checkpoint_end_status(remote));
	} else if (checkpoint->encode_status) {
		hf_checkpoint_fail(checkpoint, checkpoint->encode_status);
	} else {
		free(checkpoint->raw);
		checkpoint->raw = NULL;
		remote->map_sequence += checkpoint->part_count; /* these names are used now */
		submit(checkpoint, HF_STORE_PUT);
	}
	hf_remote_idle(remote);
}

/* How many map objects it can be cut into at most. */
static unsigned parts_max(const struct hf_checkpoint *checkpoint)
{
	uint64_t bytes = checkpoint->raw_bytes + (uint64_t)checkpoint->leaf_count * HF_TAG_BYTES;

	for (uint32_t i = 0; i < checkpoint->next->page_count; i++)
		if (checkpoint->next->pages[i].page)
			bytes += HF_MAP_PAGE_BYTES_MAX + HF_TAG_BYTES;
	return (unsigned)(bytes / HF_MAP_OBJECT_BYTES) + 1;
}

void hf_checkpoint_encode(struct hf_checkpoint *checkpoint)
{
	struct hf_env *env = checkpoint->remote->env;

	checkpoint->part_max = parts_max(checkpoint);
	checkpoint->parts = calloc(checkpoint->part_max, sizeof *checkpoint->parts);
	checkpoint->salts = calloc(checkpoint->part_max, sizeof *checkpoint->salts);
	if (!checkpoint->parts || !checkpoint->salts) {
		hf_checkpoint_fail(checkpoint, HF_ENOMEM);
		return;
	}
	hf_env_random(env, checkpoint->salts, checkpoint->part_max * sizeof *checkpoint->salts);
	checkpoint->id = checkpoint->remote->self;
	checkpoint->id.sequence = checkpoint->remote->map_sequence;
	checkpoint->retry.env = env;
	checkpoint->retry.trouble = &checkpoint->remote->trouble;
	checkpoint->retry.done = checkpoint_retry_done;
	checkpoint->work = (struct hf_work){.run = encode_run, .done = encode_done};
	checkpoint->state = HF_CHECKPOINT_ENCODING;
	hf_remote_busy(checkpoint->remote);
	hf_env_work_submit(env, &checkpoint->work);
}

/* ---- In force -------------------------------------------------------------------------------- */

/* Pages in memory that did not change go on to the new root; those that did are there already. */
static void move_pages(struct hf_map_root *from, struct hf_map_root *to)
{
	for (uint32_t i = 0; from && i < from->page_count; i++) {
		struct hf_map_page_ref *old = &from->pages[i];
		struct hf_map_page_ref *new = hf_map_root_page(to, old->number);

		if (!new || new->page || new->spot.object != old->spot.object ||
		    new->spot.offset != old->spot.offset)
			continue;
		new->page = old->page;
		old->page = NULL;
	}
}

static void keep_block(const struct hf_checkpoint *checkpoint, const struct hf_map_spot *spot)
{
	const struct hf_map_object *object =
		hf_map_root_object(checkpoint->remote->root, spot->object);
	unsigned part = object->number - checkpoint->parts[0].object.number;

	hf_kept_write(checkpoint->remote, object, spot,
		      checkpoint->parts[part].bytes + object->data_offset + spot->offset);
}

/* What was just written can be read without the store. */
static void keep_blocks(const struct hf_checkpoint *checkpoint)
{
	const struct hf_remote *remote = checkpoint->remote;
	uint64_t last = UINT64_MAX;

	for (uint32_t i = 0; remote->cache && i < checkpoint->leaf_count; i++) {
		uint64_t leaf = checkpoint->leaves[i].leaf;
		const struct hf_map_page_ref *page =
			hf_map_root_page(remote->root, leaf / HF_MAP_PAGE_LEAVES);

		if (page && page->number != last)
			keep_block(checkpoint, &page->spot);
		if (page && checkpoint->leaves[i].length)
			keep_block(checkpoint, &hf_map_page_entry(page->page, leaf)->spot);
		last = page ? page->number : last;
	}
}

static void doom(struct hf_remote *remote, const struct hf_map_root *root)
{
	for (uint32_t i = 0; i < root->object_refs; i++)
		if (root->objects[i].live_bytes == 0 && root->objects[i].number != root->number)
			hf_doom(remote, &root->objects[i].id);
}

bool hf_checkpoint_waits(const struct hf_remote *remote)
{
	return remote->checkpoint && remote->checkpoint->state == HF_CHECKPOINT_ANSWERED;
}

void hf_checkpoint_before_look(struct hf_remote *remote)
{
	struct hf_checkpoint *checkpoint = remote->checkpoint;

	if (checkpoint)
		checkpoint->in_look = checkpoint->state == HF_CHECKPOINT_ANSWERED;
}

void hf_checkpoint_after_look(struct hf_remote *remote)
{
	struct hf_checkpoint *checkpoint = remote->checkpoint;
	struct hf_map_root *old = remote->root;

	if (!checkpoint || !checkpoint->in_look)
		return;
	HF_ASSERT(checkpoint->state == HF_CHECKPOINT_ANSWERED);
	remote->root = checkpoint->next;
	checkpoint->next = NULL;
	move_pages(old, remote->root);
	hf_maps_count_pages(remote);
	keep_blocks(checkpoint);
	hf_map_root_free(old);
	for (uint32_t i = 0; i < checkpoint->leaf_count; i++)
		if (checkpoint->leaves[i].writing)
			hf_extmap_leaf_end_write(remote->map, checkpoint->leaves[i].leaf, true);
	hf_checkpoint_free(checkpoint);
	doom(remote, remote->root);
	hf_doom_start(remote);
	hf_checkpoint_succeeded(remote);
}
