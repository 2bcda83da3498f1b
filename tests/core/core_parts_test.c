/* The parts of the core that need no world: range locks, the overlay against a plain array, and
 * control state as bytes (docs/format/control-state.md). */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/volumed/core_state.h"

/* ---- Range locks -------------------------------------------------------------------------------
 */

static unsigned granted_count;
static struct hf_core_lock *granted_last;

static void granted(struct hf_core_lock *lock)
{
	granted_count++;
	granted_last = lock;
}

/* Overlapping locks are granted one after the other in the order of asking; others at once. */
static void test_locks_are_granted_in_order(void **state)
{
	struct hf_core_range ranges[4] = {{0, 8}, {4, 8}, {10, 2}, {100, 1}};
	struct hf_core_lock locks[4] = {{0}};
	struct hf_list list;

	(void)state;
	hf_list_init(&list);
	granted_count = 0;
	for (unsigned i = 0; i < 4; i++) {
		locks[i].ranges = &ranges[i];
		locks[i].range_count = 1;
		locks[i].granted = granted;
	}
	assert_true(hf_core_lock_acquire(&list, &locks[0]));
	assert_false(hf_core_lock_acquire(&list, &locks[1]));
	assert_false(hf_core_lock_acquire(&list, &locks[2])); /* behind one that waits */
	assert_true(hf_core_lock_acquire(&list, &locks[3]));
	hf_core_lock_release(&list, &locks[0]);
	assert_int_equal(granted_count, 1);
	assert_ptr_equal(granted_last, &locks[1]);
	hf_core_lock_release(&list, &locks[1]);
	assert_ptr_equal(granted_last, &locks[2]);
	hf_core_lock_release(&list, &locks[3]);
	hf_core_lock_release(&list, &locks[2]);
	assert_int_equal(granted_count, 2);
	assert_true(hf_list_empty(&list));
}

static void test_a_waiting_lock_can_be_given_up(void **state)
{
	struct hf_core_range range = {0, 8};
	struct hf_core_lock locks[3] = {{0}};
	struct hf_list list;

	(void)state;
	hf_list_init(&list);
	granted_count = 0;
	for (unsigned i = 0; i < 3; i++) {
		locks[i].ranges = &range;
		locks[i].range_count = 1;
		locks[i].granted = granted;
		assert_int_equal(hf_core_lock_acquire(&list, &locks[i]), i == 0);
	}
	hf_core_lock_release(&list, &locks[1]);
	assert_int_equal(granted_count, 0);
	hf_core_lock_release(&list, &locks[0]);
	assert_ptr_equal(granted_last, &locks[2]);
	hf_core_lock_release(&list, &locks[2]);
}

#define RANGES 12u

/* In order, with gaps. */
static unsigned make_ranges(struct hf_core_range *ranges, uint64_t *seed)
{
	uint64_t at = 0;
	unsigned count;

	for (count = 0; count < RANGES; count++) {
		*seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
		ranges[count].lba = at + (*seed >> 33) % 40 + 1;
		ranges[count].length = (*seed >> 45) % 4 + 1;
		at = ranges[count].lba + ranges[count].length;
	}
	return count;
}

/* Of many ranges against many: as if each were compared with each. */
static void test_locks_of_many_ranges(void **state)
{
	uint64_t seed = 1;
	unsigned both[2] = {0};

	(void)state;
	for (unsigned round = 0; round < 2000; round++) {
		struct hf_core_range ranges[2][RANGES];
		struct hf_core_lock locks[2] = {{.granted = granted}, {.granted = granted}};
		struct hf_list list;
		bool overlap = false;

		hf_list_init(&list);
		for (unsigned i = 0; i < 2; i++) {
			locks[i].ranges = ranges[i];
			locks[i].range_count = make_ranges(ranges[i], &seed);
		}
		for (unsigned i = 0; i < RANGES * RANGES; i++) {
			const struct hf_core_range *a = &ranges[0][i / RANGES];
			const struct hf_core_range *b = &ranges[1][i % RANGES];

			overlap |= a->lba < b->lba + b->length && b->lba < a->lba + a->length;
		}
		assert_true(hf_core_lock_acquire(&list, &locks[0]));
		assert_int_equal(hf_core_lock_acquire(&list, &locks[1]), !overlap);
		both[overlap]++;
		hf_core_lock_release(&list, &locks[0]);
		hf_core_lock_release(&list, &locks[1]);
	}
	assert_true(both[0] > 10 && both[1] > 10);
}

/* ---- The overlay -------------------------------------------------------------------------------
 */

#define UNITS   64u
#define RECORDS 400u

static void overlay_check(const struct hf_extmap *overlay, const uint64_t *owners,
			  const struct hf_core_entry *entries)
{
	for (uint64_t u = 0; u < UNITS; u++) {
		struct hf_core_piece piece;
		bool found = hf_core_overlay_find(overlay, u, 1, &piece);

		assert_int_equal(found, owners[u] != 0);
		if (!found)
			continue;
		if (entries[owners[u]].type == HF_RECORD_ZERO) {
			assert_int_equal(piece.source, HF_CORE_FROM_ZERO);
			continue;
		}
		assert_int_equal(piece.source, HF_CORE_FROM_LOG);
		assert_int_equal(piece.place.source, entries[owners[u]].place.source);
		assert_int_equal(piece.place.unit,
				 entries[owners[u]].place.unit + (u - entries[owners[u]].lba));
	}
}

/* Records come, are covered in order, and now and then are written elsewhere: the overlay always
 * names the newest record that is not covered, and none that is (invariant 2's other half). */
static void test_overlay_drops_exactly_what_is_covered(void **state)
{
	static struct hf_core_entry entries[RECORDS + 1];
	struct hf_extmap *overlay = hf_extmap_create();
	uint64_t owners[UNITS] = {0};
	uint64_t covered = 0;

	(void)state;
	srand(7);
	for (uint64_t s = 1; s <= RECORDS; s++) {
		struct hf_core_entry *entry = &entries[s];

		entry->type = rand() % 3 ? HF_RECORD_DATA : HF_RECORD_ZERO;
		entry->length = 1 + (uint64_t)rand() % 12;
		entry->lba = (uint64_t)rand() % (UNITS - entry->length);
		entry->place = (struct hf_place){.source = 1 + s / 50, .unit = s * 16};
		hf_core_overlay_insert(overlay, s, entry);
		for (uint64_t u = 0; u < entry->length; u++)
			owners[entry->lba + u] = s;
		if (rand() % 8 == 0) {
			struct hf_place to = {.source = 100 + s, .unit = 3};
			uint64_t moved = covered + 1 + (uint64_t)rand() % (s - covered);

			hf_core_overlay_move(overlay, &entries[moved], to);
			if (entries[moved].type == HF_RECORD_DATA)
				entries[moved].place = to;
		}
		while (s - covered > 20 || (s > covered && rand() % 3 == 0)) {
			covered++;
			hf_core_overlay_drop(overlay, covered, &entries[covered], NULL);
			for (uint64_t u = 0; u < UNITS; u++)
				if (owners[u] == covered)
					owners[u] = 0;
		}
		overlay_check(overlay, owners, entries);
	}
	hf_extmap_destroy(overlay);
}

/* ---- Control state -----------------------------------------------------------------------------
 */

struct seen {
	unsigned volumes, rings, results;
	struct hf_core_state_volume volume;
	struct hf_core_result result;
	uint64_t oldest;
};

static void see_volume(void *context, const struct hf_core_state_volume *volume)
{
	struct seen *seen = context;

	seen->volumes++;
	seen->volume = *volume;
}

static void see_ring(void *context, const uint8_t uuid[16], uint64_t oldest_unfinished)
{
	struct seen *seen = context;

	seen->rings++;
	seen->oldest = oldest_unfinished;
	assert_int_equal(uuid[0], 0xee);
}

static void see_result(void *context, const uint8_t uuid[16], const struct hf_core_result *result)
{
	struct seen *seen = context;

	(void)uuid;
	seen->results++;
	seen->result = *result;
}

static struct hf_core *small_core(void)
{
	struct hf_core *core = hf_core_alloc(sizeof *core);
	struct hf_core_log *log = hf_core_log_create(core, 0);
	const struct hf_volume_config config = {.volume = 5,
						.tenant = 6,
						.size_bytes = 8192,
						.attach_epoch = 9,
						.write_cache = true};
	struct hf_core_volume *volume;
	struct hf_request_id id = {.ring = {0xee}, .id = 1030};

	hf_list_init(&core->volumes);
	hf_list_init(&core->rings);
	for (unsigned i = 0; i < HF_CORE_VOLUME_BUCKETS; i++)
		hf_list_init(&core->volume_buckets[i]);
	volume = hf_core_volume_create(core, &config);
	hf_core_log_pin(volume, log);
	volume->in_log = true;
	volume->moves = 4;
	volume->stay_first = 15;
	volume->stay_count = 1;
	volume->stays[0] =
		(struct hf_core_stay){.log = {7}, .since_batch = 2, .first = 12, .last = 14};
	volume->counted_through = 11;
	volume->since_batch = 3;
	volume->held_epoch = 8;
	volume->next_sequence = 21;
	hf_core_ring_progress(core, id.ring, 1025);
	hf_core_results_recovered(log, &id, 5, 20, HF_OK);
	id.id = 1024; /* below the oldest unfinished: not kept */
	hf_core_results_recovered(log, &id, 5, 19, HF_OK);
	id.id = 1031; /* of a volume that is in another log */
	hf_core_results_recovered(log, &id, 6, 19, HF_OK);
	return core;
}

static void small_core_free(struct hf_core *core)
{
	struct hf_core_volume *volume =
		hf_container_of(core->volumes.next, struct hf_core_volume, link);

	hf_core_log_pin(volume, NULL);
	hf_extmap_destroy(volume->overlay);
	hf_extmap_destroy(volume->clean);
	hf_list_remove(&volume->link);
	free(volume);
	hf_core_rings_free(core);
	hf_core_log_destroy(core->logs[0]);
	free(core);
}

/* "Once": rings that died long ago, of which another log has records still, take nothing from one
 * that lives. */
static void test_recovery_forgets_no_ring_for_others(void **state)
{
	struct hf_core *core = small_core();
	struct hf_request_id id = {.ring = {77}, .id = 3};
	struct hf_core_result *result;

	(void)state;
	core->recovering = true;
	hf_core_results_recovered(core->logs[0], &id, 5, 20, HF_OK);
	for (unsigned i = 0; i < 3 * HF_CORE_RINGS_MAX; i++) {
		struct hf_request_id other = {.ring = {1, (uint8_t)i}, .id = 9};

		hf_core_results_recovered(core->logs[0], &other, 5, 19, HF_OK);
	}
	hf_core_results_validate(core);
	core->recovering = false;
	assert_int_equal(hf_core_results_look(core, &id, &result), HF_CORE_ENDED);
	small_core_free(core);
}

static void test_state_says_what_went_in(void **state)
{
	struct hf_core *core = small_core();
	struct seen seen = {0};
	struct hf_core_state_visitor visitor = {&seen, see_volume, see_ring, see_result};
	uint8_t bytes[4096];
	size_t length = hf_core_state_encode(core->logs[0], bytes, sizeof bytes);

	(void)state;
	assert_int_equal(length, 32 + 96 + 40 + 32 + 32);
	assert_int_equal(hf_core_state_decode(bytes, length, &visitor), 0);
	assert_int_equal(seen.volumes, 1);
	assert_int_equal(seen.volume.volume, 5);
	assert_int_equal(seen.volume.tenant, 6);
	assert_int_equal(seen.volume.size_bytes, 8192);
	assert_int_equal(seen.volume.attach_epoch, 9);
	assert_int_equal(seen.volume.uploaded_through, 11);
	assert_int_equal(seen.volume.last_sequence, 20);
	assert_int_equal(seen.volume.since_batch, 3);
	assert_int_equal(seen.volume.held_epoch, 8);
	assert_int_equal(seen.volume.moves, 4);
	assert_int_equal(seen.volume.stay_first, 15);
	assert_int_equal(seen.volume.stay_count, 1);
	assert_int_equal(seen.volume.stays[0].log[0], 7);
	assert_int_equal(seen.volume.stays[0].since_batch, 2);
	assert_int_equal(seen.volume.stays[0].first, 12);
	assert_int_equal(seen.volume.stays[0].last, 14);
	assert_true(seen.volume.write_cache);
	assert_int_equal(seen.rings, 1);
	assert_int_equal(seen.oldest, 1025);
	assert_int_equal(seen.results, 1);
	assert_int_equal(seen.result.id, 1030);
	assert_int_equal(seen.result.volume, 5);
	assert_int_equal(seen.result.sequence, 20);
	small_core_free(core);
}

/* What the first version wrote, of one log, still opens. */
static void test_state_of_version_1_is_read(void **state)
{
	struct seen seen = {0};
	struct hf_core_state_visitor visitor = {&seen, see_volume, see_ring, see_result};
	uint8_t bytes[8 + 80] = {1};
	uint8_t whole[32 + 80] = {0x48, 0x46, 0x43, 0x53, 1, 0, 0, 0, 1};
	uint8_t *volume = bytes + 8;

	(void)state;
	volume[0] = 5;
	volume[17] = 0x20;
	volume[32] = 11;
	volume[48] = 1;
	volume[56] = 3;
	memcpy(whole + 32, volume, 80);
	whole[16] = sizeof whole;
	assert_int_equal(hf_core_control_decode(bytes, sizeof bytes, &visitor), 0);
	assert_int_equal(hf_core_state_decode(whole, sizeof whole, &visitor), 0);
	assert_int_equal(seen.volumes, 2);
	assert_int_equal(seen.volume.size_bytes, 8192);
	assert_int_equal(seen.volume.uploaded_through, 11);
	assert_int_equal(seen.volume.since_batch, 3);
	assert_int_equal(seen.volume.moves + seen.volume.stay_count, 0);
}

/* Invariant 9: cut or changed control state is refused before any of it is used, or means
 * something else that is whole. */
static void test_damaged_state_is_refused(void **state)
{
	struct hf_core *core = small_core();
	struct seen seen = {0};
	struct hf_core_state_visitor visitor = {&seen, see_volume, see_ring, see_result};
	uint8_t bytes[4096], copy[4096];
	size_t length = hf_core_state_encode(core->logs[0], bytes, sizeof bytes);

	(void)state;
	for (size_t cut = 0; cut < length; cut++)
		assert_int_equal(hf_core_state_decode(bytes, cut, &visitor), HF_ECORRUPT);
	assert_int_equal(seen.volumes + seen.rings + seen.results, 0);
	visitor.ring = NULL;
	for (size_t at = 0; at < 32; at++) {
		if (at >= 24)
			continue; /* reserved */
		memcpy(copy, bytes, length);
		copy[at] ^= 0x81;
		assert_int_equal(hf_core_state_decode(copy, length, &visitor), HF_ECORRUPT);
	}
	small_core_free(core);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_locks_are_granted_in_order),
		cmocka_unit_test(test_locks_of_many_ranges),
		cmocka_unit_test(test_a_waiting_lock_can_be_given_up),
		cmocka_unit_test(test_overlay_drops_exactly_what_is_covered),
		cmocka_unit_test(test_recovery_forgets_no_ring_for_others),
		cmocka_unit_test(test_state_says_what_went_in),
		cmocka_unit_test(test_state_of_version_1_is_read),
		cmocka_unit_test(test_damaged_state_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
