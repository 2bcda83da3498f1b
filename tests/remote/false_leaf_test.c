/* A leaf of a checkpoint that is well encrypted and formed, but names data that there cannot be:
 * who wrote it had the key, and was wrong or an enemy. It is damage like any other (invariant 8),
 * not the end of the process that serves other tenants' volumes. */
#include "remote/map_root.h"
#include "remote/remote_impl.h"
#include "tests/remote/actor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static struct mem_store store;
static struct actor actor;

static void set_true(struct hf_remote_checkpoint *checkpoint)
{
	*(bool *)checkpoint->owner = true;
}

/* One object, and a checkpoint of it. */
static void make_volume(void)
{
	bool written = false;
	struct hf_remote_checkpoint checkpoint = {.done = set_true, .owner = &written};

	actor_init(&actor, &store, 1);
	actor_open_now(&actor, 1, 0);
	actor_upload(&actor);
	actor_run(&actor, &actor.uploads[0].done);
	actor_answer_looks(&actor);
	hf_remote_checkpoint(actor.remote, &checkpoint);
	actor_run(&actor, &written);
	assert_int_equal(checkpoint.status, 0);
}

static size_t make_leaf(struct hf_place place, uint8_t *leaf)
{
	struct hf_extmap *map = hf_extmap_create_stored();
	const struct hf_extent extent = {.length = 1, .kind = HF_EXTENT_DATA, .place = place};
	size_t length;

	assert_int_equal(hf_extmap_insert(map, &extent), 0);
	length = hf_extmap_leaf_encode(map, 0, leaf, HF_EXTMAP_LEAF_BYTES_MAX);
	hf_extmap_destroy(map);
	return length;
}

/* Writes the checkpoint anew, with this leaf. */
static void put_leaf(const uint8_t *leaf, size_t leaf_length)
{
	const struct hf_remote *remote = actor.remote;
	struct hf_map_root *root = hf_map_root_copy(remote->root);
	struct hf_map_page *page = calloc(1, sizeof *page + sizeof page->entries[0]);
	uint8_t plain[HF_MAP_PAGE_HEAD + HF_MAP_ENTRY_BYTES], *bytes;
	char name[HF_STORE_NAME_MAX + 1];
	struct hf_map_writer writer;
	size_t length;

	assert_true(root->object_refs == 1 && root->page_count == 1);
	assert_int_equal(hf_map_writer_begin(&writer, &root->objects[0], remote->data_key), 0);
	page->count = 1;
	assert_int_equal(hf_map_writer_add(&writer, 0, leaf, leaf_length, &page->entries[0].spot),
			 0);
	length = hf_map_page_encode(page, plain);
	assert_int_equal(
		hf_map_writer_add(&writer, HF_MAP_IS_PAGE, plain, length, &root->pages[0].spot), 0);
	root->objects[0].block_bytes = writer.object.block_bytes;
	root->objects[0].live_bytes = writer.object.block_bytes;
	assert_int_equal(hf_map_writer_finish(&writer, root, &bytes, &length), 0);
	hf_name_map(name, &root->objects[0].id);
	assert_non_null(mem_find(&store, name));
	mem_put(&store, name, bytes, length);
	free(bytes);
	free(page);
	hf_map_writer_free(&writer);
	hf_map_root_free(root);
}

static void note_load(struct hf_remote_load *load)
{
	*(bool *)load->owner = true;
}

static void note_read(struct hf_remote_read *read)
{
	*(bool *)read->owner = true;
}

/* Reads block 0 as a reader does, who has nothing but the store: the status of what fails first. */
static int read_it(void)
{
	uint8_t buffer[512];
	bool loaded = false, done = false;
	struct hf_remote_load load = {.length = 1, .done = note_load, .owner = &loaded};
	struct hf_remote_read read = {
		.length = 1, .buffer = buffer, .done = note_read, .owner = &done};
	struct hf_extent extent;
	uint64_t leaf;

	actor_init(&actor, &store, 2);
	actor_open_now(&actor, 0, 0);
	assert_int_equal(actor.open.headers_read, 0);
	hf_remote_load(actor.remote, &load);
	actor_run(&actor, &loaded);
	if (load.status)
		return load.status;
	assert_int_equal(hf_extmap_look(hf_remote_map(actor.remote), 0, 1, &extent, &leaf),
			 HF_EXTMAP_FOUND);
	read.place = extent.place;
	hf_remote_read(actor.remote, &read);
	actor_run(&actor, &done);
	return read.status;
}

static void check_place(struct hf_place place, int status, bool map_damaged)
{
	uint8_t *leaf = malloc(HF_EXTMAP_LEAF_BYTES_MAX);

	make_volume();
	put_leaf(leaf, make_leaf(place, leaf));
	free(leaf);
	actor_end(&actor, false);
	assert_int_equal(read_it(), status);
	assert_int_equal(hf_remote_map_damaged(actor.remote) != NULL, map_damaged);
	actor_end(&actor, false);
	mem_store_free(&store);
}

static void test_honest(void **state)
{
	(void)state;
	check_place((struct hf_place){.source = 0, .unit = 0}, 0, false);
}

static void test_object_that_is_not(void **state)
{
	(void)state;
	check_place((struct hf_place){.source = 1, .unit = 0}, HF_ECORRUPT, true);
	check_place((struct hf_place){.source = (1ull << HF_EXTMAP_SOURCE_BITS) - 1}, HF_ECORRUPT,
		    true);
}

/* Only the header of the object tells: the read fails, and nothing else does. */
static void test_past_the_object(void **state)
{
	(void)state;
	check_place((struct hf_place){.unit = (1u << HF_EXTMAP_UNIT_BITS) - 1}, HF_ECORRUPT, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_honest),
		cmocka_unit_test(test_object_that_is_not),
		cmocka_unit_test(test_past_the_object),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
