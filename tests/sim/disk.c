/* See disk.h. Sectors are 512 bytes, the unit in which a loss of power tears. */
#include "tests/sim/disk.h"
#include "base/assert.h"
#include "tests/sim/sim_env.h"

#include <string.h>

#define SECTOR 512u
#define PAGE   4096u

struct unsynced {
	struct hf_list link;
	uint64_t order; /* among the disk's completed writes, from 1 */
	uint64_t offset;
	size_t length;
	uint8_t data[];
};

/* How much of the unsynced writes a loss of power leaves, drawn once for each loss. */
enum survival { LOSE_ALL, KEEP_ALL, EACH_SECTOR, EACH_WRITE, PREFIX, FEW_SECTORS, SURVIVALS };

void sim_disk_init(struct sim_disk *disk, uint64_t size_bytes)
{
	HF_ASSERT(size_bytes % PAGE == 0);
	memset(disk, 0, sizeof *disk);
	disk->size_bytes = size_bytes;
	disk->current = sim_keep_alloc(size_bytes);
	disk->stable = sim_keep_alloc(size_bytes);
	disk->differs = sim_keep_alloc(size_bytes / PAGE);
	hf_list_init(&disk->unsynced);
}

static void drop_unsynced(struct sim_disk *disk)
{
	struct hf_list *link;

	while ((link = hf_list_pop_front(&disk->unsynced)) != NULL)
		sim_keep_free(hf_container_of(link, struct unsynced, link));
}

void sim_disk_free(struct sim_disk *disk)
{
	drop_unsynced(disk);
	sim_keep_free(disk->current);
	sim_keep_free(disk->stable);
	sim_keep_free(disk->differs);
}

void sim_disk_clear(struct sim_disk *disk)
{
	uint64_t size_bytes = disk->size_bytes;

	sim_disk_free(disk);
	sim_disk_init(disk, size_bytes);
}

void sim_disk_read(const struct sim_disk *disk, uint64_t offset, const struct iovec *iov,
		   unsigned iov_count)
{
	for (unsigned i = 0; i < iov_count; i++) {
		memcpy(iov[i].iov_base, disk->current + offset, iov[i].iov_len);
		offset += iov[i].iov_len;
	}
}

static void note(struct sim_disk *disk, uint64_t offset, const uint8_t *bytes, size_t length)
{
	struct unsynced *write = sim_keep_resize(NULL, sizeof *write + length);

	write->order = ++disk->writes_completed;
	write->offset = offset;
	write->length = length;
	memcpy(write->data, bytes, length);
	hf_list_push_back(&disk->unsynced, &write->link);
	memcpy(disk->current + offset, bytes, length);
	memset(disk->differs + offset / PAGE, 1,
	       (offset + length + PAGE - 1) / PAGE - offset / PAGE);
}

static uint8_t *gather(const struct iovec *iov, unsigned iov_count, size_t *length)
{
	size_t total = 0, at = 0;
	uint8_t *bytes;

	for (unsigned i = 0; i < iov_count; i++)
		total += iov[i].iov_len;
	bytes = sim_keep_resize(NULL, total);
	for (unsigned i = 0; i < iov_count; i++) {
		memcpy(bytes + at, iov[i].iov_base, iov[i].iov_len);
		at += iov[i].iov_len;
	}
	*length = total;
	return bytes;
}

void sim_disk_write(struct sim_disk *disk, uint64_t offset, const struct iovec *iov,
		    unsigned iov_count)
{
	size_t length;
	uint8_t *bytes = gather(iov, iov_count, &length);

	note(disk, offset, bytes, length);
	sim_keep_free(bytes);
}

void sim_disk_write_part(struct sim_disk *disk, uint64_t offset, const struct iovec *iov,
			 unsigned iov_count, struct sim_rng *rng, bool whole_only)
{
	uint64_t mode = sim_rng_below(rng, whole_only ? 2 : 4);
	size_t length, at = 0;
	uint8_t *bytes = gather(iov, iov_count, &length);

	if (mode == 1)
		note(disk, offset, bytes, length);
	if (mode == 2) { /* a prefix */
		at = sim_rng_below(rng, length / SECTOR) * SECTOR;
		if (at > 0)
			note(disk, offset, bytes, at);
	}
	if (mode == 3)
		for (at = 0; at < length; at += SECTOR)
			if (sim_rng_next(rng) & 1)
				note(disk, offset + at, bytes + at, SECTOR);
	sim_keep_free(bytes);
}

void sim_disk_sync(struct sim_disk *disk, uint64_t through)
{
	while (!hf_list_empty(&disk->unsynced)) {
		struct unsynced *write =
			hf_container_of(disk->unsynced.next, struct unsynced, link);

		if (write->order > through)
			break;
		memcpy(disk->stable + write->offset, write->data, write->length);
		hf_list_remove(&write->link);
		sim_keep_free(write);
	}
}

static void survive(struct sim_disk *disk, const struct unsynced *write, unsigned keep_of_16,
		    struct sim_rng *rng)
{
	for (size_t at = 0; at < write->length; at += SECTOR)
		if (sim_rng_below(rng, 16) < keep_of_16)
			memcpy(disk->stable + write->offset + at, write->data + at, SECTOR);
}

void sim_disk_sync_fail(struct sim_disk *disk, uint64_t through, struct sim_rng *rng)
{
	static const unsigned keeps[] = {0, 0, 8, 15, 16};
	unsigned keep = keeps[sim_rng_below(rng, sizeof keeps / sizeof keeps[0])];

	while (!hf_list_empty(&disk->unsynced)) {
		struct unsynced *write =
			hf_container_of(disk->unsynced.next, struct unsynced, link);

		if (write->order > through)
			break;
		survive(disk, write, keep, rng);
		hf_list_remove(&write->link);
		sim_keep_free(write);
	}
}

static unsigned count_unsynced(const struct sim_disk *disk)
{
	unsigned count = 0;

	hf_list_for_each (link, &disk->unsynced)
		count++;
	return count;
}

static unsigned keep_of_16(enum survival survival, unsigned index, unsigned prefix,
			   struct sim_rng *rng, bool whole_only)
{
	switch (survival) {
	case KEEP_ALL:
		return 16;
	case EACH_SECTOR:
		return whole_only ? 16 : 8;
	case EACH_WRITE:
		return sim_rng_next(rng) & 1 ? 16 : 0;
	case PREFIX:
		return index < prefix ? 16 : index > prefix || whole_only ? 0 : 8;
	case FEW_SECTORS:
		return whole_only ? 16 : 15;
	default:
		return 0;
	}
}

void sim_disk_power_cut(struct sim_disk *disk, struct sim_rng *rng, bool whole_only)
{
	enum survival survival = (enum survival)sim_rng_below(rng, SURVIVALS);
	unsigned index = 0, prefix = (unsigned)sim_rng_below(rng, count_unsynced(disk) + 1);

	hf_list_for_each (link, &disk->unsynced) {
		const struct unsynced *write = hf_container_of(link, struct unsynced, link);

		survive(disk, write, keep_of_16(survival, index, prefix, rng, whole_only), rng);
		index++;
	}
	drop_unsynced(disk);
	for (uint64_t page = 0; page < disk->size_bytes / PAGE; page++)
		if (disk->differs[page])
			memcpy(disk->current + page * PAGE, disk->stable + page * PAGE, PAGE);
	memset(disk->differs, 0, disk->size_bytes / PAGE);
}

void sim_disk_damage(struct sim_disk *disk, uint64_t offset, const void *bytes, size_t length)
{
	HF_ASSERT(offset <= disk->size_bytes && length <= disk->size_bytes - offset);
	memcpy(disk->current + offset, bytes, length);
	memcpy(disk->stable + offset, bytes, length);
}

int sim_disk_fault_next(struct sim_disk *disk, enum hf_disk_op op)
{
	struct sim_disk_fault *fault = &disk->faults[op];

	if (!fault->armed)
		return 0;
	if (fault->countdown > 0) {
		fault->countdown--;
		return 0;
	}
	if (--fault->count == 0)
		fault->armed = false;
	return fault->status;
}
