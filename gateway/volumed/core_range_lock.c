/* The order of writes that overlap: a lock waits for every earlier lock that overlaps it, held or
 * waiting, and is granted when the last of them is released. So overlapping writes happen one after
 * the other in the order of their submission, and a COMPARE AND WRITE has its range to itself from
 * its read to its write. Reads take no lock: each sees the map of one moment. Core's thread. */
#include "gateway/volumed/core_internal.h"

static bool ranges_overlap(const struct hf_core_range *a, const struct hf_core_range *b)
{
	return a->lba < b->lba + b->length && b->lba < a->lba + a->length;
}

/* Both are in order and without overlaps of their own, so one walk over both is enough: 256 ranges
 * against 256, of as many UNMAPs as initiators like to send, are many. */
static bool locks_overlap(const struct hf_core_lock *a, const struct hf_core_lock *b)
{
	for (unsigned i = 0, j = 0; i < a->range_count && j < b->range_count;) {
		const struct hf_core_range *x = &a->ranges[i], *y = &b->ranges[j];

		if (ranges_overlap(x, y))
			return true;
		if (x->lba < y->lba)
			i++;
		else
			j++;
	}
	return false;
}

bool hf_core_lock_acquire(struct hf_list *locks, struct hf_core_lock *lock)
{
	lock->blockers = 0;
	hf_list_for_each (cursor, locks) {
		if (locks_overlap(hf_container_of(cursor, struct hf_core_lock, link), lock))
			lock->blockers++;
	}
	hf_list_push_back(locks, &lock->link);
	return lock->blockers == 0;
}

void hf_core_lock_release(struct hf_list *locks, struct hf_core_lock *lock)
{
	struct hf_list ready;
	struct hf_list *entry;

	hf_list_init(&ready);
	for (entry = lock->link.next; entry != locks; entry = entry->next) {
		struct hf_core_lock *later = hf_container_of(entry, struct hf_core_lock, link);

		if (!locks_overlap(lock, later))
			continue;
		HF_ASSERT(later->blockers > 0);
		if (--later->blockers == 0)
			hf_list_push_back(&ready, &later->ready);
	}
	hf_list_remove(&lock->link);
	while ((entry = hf_list_pop_front(&ready)) != NULL) {
		struct hf_core_lock *next = hf_container_of(entry, struct hf_core_lock, ready);

		next->granted(next);
	}
}
