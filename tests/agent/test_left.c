/* Promises of the lists that outlive a document (invariant 4): what was deleted here, bounded, and
 * what a restored registry left out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>

#include "gateway/agent/document.h"
#include "gateway/agent/left.h"

/* A document with one volume or one tombstone. */
struct draft {
	Holdfast__Document document;
	Holdfast__Volume volume, *volumes[1];
	Holdfast__Tombstone tombstone, *tombstones[1];
};

static void draft_init(struct draft *draft, uint64_t volume, bool deleted)
{
	holdfast__document__init(&draft->document);
	holdfast__volume__init(&draft->volume);
	holdfast__tombstone__init(&draft->tombstone);
	draft->volumes[0] = &draft->volume;
	draft->tombstones[0] = &draft->tombstone;
	draft->volume.volume = draft->tombstone.volume = draft->document.generation = volume;
	draft->document.volumes = draft->volumes;
	draft->document.tombstones = draft->tombstones;
	draft->document.n_volumes = !deleted;
	draft->document.n_tombstones = deleted;
}

/* The list is bounded; what no longer stands in it is held off by its version. */
static void test_the_list_of_deleted_is_bounded(void **state)
{
	struct hf_deleted deleted = {NULL, 0};
	struct draft draft;

	(void)state;
	for (uint64_t i = 1; i <= 20; i++) {
		draft_init(&draft, i, true);
		hf_deleted_add(&deleted, &draft.document);
	}
	deleted.volumes = reallocarray(deleted.volumes, HF_DELETED_MAX, sizeof(uint64_t));
	assert_non_null(deleted.volumes);
	while (deleted.count < HF_DELETED_MAX) {
		deleted.volumes[deleted.count] = 1000 + deleted.count;
		deleted.count++;
	}
	draft_init(&draft, 21, true);
	assert_true(hf_deleted_add(&deleted, &draft.document));
	assert_int_equal(deleted.count, HF_DELETED_MAX);
	assert_false(hf_deleted_has(&deleted, 1)); /* the oldest */
	assert_true(hf_deleted_has(&deleted, 2));
	assert_true(hf_deleted_has(&deleted, 21));
	hf_deleted_end(&deleted);
}

static void test_what_a_restored_registry_leaves_out_stays(void **state)
{
	struct draft current, next;
	Holdfast__Document *left, *later, joined;

	(void)state;
	draft_init(&current, 8, false);
	draft_init(&next, 7, false);
	left = hf_left_after(NULL, &current.document, &next.document);
	assert_non_null(left);
	assert_int_equal(left->n_volumes, 1);
	assert_int_equal(left->volumes[0]->volume, 8);
	hf_left_join(&next.document, left, &joined);
	assert_int_equal(joined.n_volumes, 2);
	assert_true(joined.generation == 7);
	hf_left_join_end(&joined);
	/* The next document leaves it out again; then one names it. */
	later = hf_left_after(left, &next.document, &next.document);
	assert_non_null(later);
	assert_int_equal(later->n_volumes, 1);
	draft_init(&next, 8, true);
	assert_null(hf_left_after(later, NULL, &next.document));
	holdfast__document__free_unpacked(left, NULL);
	holdfast__document__free_unpacked(later, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_list_of_deleted_is_bounded),
		cmocka_unit_test(test_what_a_restored_registry_leaves_out_stays),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
