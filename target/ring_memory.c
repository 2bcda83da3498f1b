/* SPDX-License-Identifier: GPL-2.0-only
 * Part of the Holdfast backing store, which tgtd loads; see docs/LICENSING.md. */
/* See ring_memory.h. tgtd's main thread. */
#include "target/ring_memory.h"

#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#define MASK (HF_RING_ENTRIES - 1)

static struct hf_ring_header *header(const struct hf_shim_memory *memory)
{
	return (struct hf_ring_header *)memory->base;
}

static int make_sealed(void)
{
	int fd = memfd_create("holdfast-ring", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return -1;
	if (ftruncate(fd, (off_t)HF_RING_BYTES) != 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
		close(fd);
		return -1;
	}
	return fd;
}

int hf_shim_memory_open(struct hf_shim_memory *memory, const uint8_t uuid[16],
			uint64_t oldest_unfinished)
{
	void *base;

	*memory = (struct hf_shim_memory){
		.memfd = make_sealed(),
		.wake_volumed_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
		.wake_shim_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
	};
	if (memory->memfd < 0 || memory->wake_volumed_fd < 0 || memory->wake_shim_fd < 0)
		goto err;
	base = mmap(NULL, HF_RING_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, memory->memfd, 0);
	if (base == MAP_FAILED)
		goto err;
	memory->base = base;
	header(memory)->magic = HF_RING_MAGIC;
	header(memory)->version = HF_RING_VERSION;
	header(memory)->entries = HF_RING_ENTRIES;
	header(memory)->data_bytes = HF_RING_DATA_BYTES;
	memcpy(header(memory)->uuid, uuid, 16);
	hf_shim_memory_set_oldest(memory, oldest_unfinished);
	return 0;

err:
	hf_shim_memory_close(memory);
	return HF_ENOMEM;
}

static void close_fd(int fd)
{
	if (fd > 0)
		close(fd);
}

void hf_shim_memory_close(struct hf_shim_memory *memory)
{
	if (memory->base)
		munmap(memory->base, HF_RING_BYTES);
	close_fd(memory->memfd);
	close_fd(memory->wake_volumed_fd);
	close_fd(memory->wake_shim_fd);
	*memory = (struct hf_shim_memory){0};
}

void *hf_shim_memory_data(const struct hf_shim_memory *memory, uint32_t page)
{
	return memory->base + HF_RING_DATA_OFFSET + (uint64_t)page * HF_RING_PAGE;
}

void hf_shim_memory_place(struct hf_shim_memory *memory,
			  const struct hf_ring_submission *submission)
{
	uint8_t *to = memory->base + HF_RING_SUBMISSIONS_OFFSET +
		      (memory->submit_tail & MASK) * sizeof *submission;

	memcpy(to, submission, sizeof *submission);
	memory->submit_tail++;
	memory->urgent |= submission->op != HF_OP_WRITE;
}

void hf_shim_memory_publish(struct hf_shim_memory *memory)
{
	__atomic_store_n(&header(memory)->submit_tail, memory->submit_tail, __ATOMIC_RELEASE);
}

/* The fence is the other half of the one in hf_ring_memory_be_quiet: either volumed sees the new
 * tail before it sleeps, or what it has said about its sleep is seen here. */
bool hf_shim_memory_needs_wake(struct hf_shim_memory *memory)
{
	bool urgent = memory->urgent;

	memory->urgent = false;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return urgent || memory->submit_tail >
				 __atomic_load_n(&header(memory)->quiet_through, __ATOMIC_RELAXED);
}

void hf_shim_memory_wake(struct hf_shim_memory *memory)
{
	uint64_t one = 1;

	/* It fails only when the counter is full: volumed is awake then. */
	(void)!write(memory->wake_volumed_fd, &one, sizeof one);
}

void hf_shim_memory_woken(struct hf_shim_memory *memory)
{
	uint64_t count;

	(void)!read(memory->wake_shim_fd, &count, sizeof count);
}

int hf_shim_memory_completed(const struct hf_shim_memory *memory)
{
	uint64_t tail = __atomic_load_n(&header(memory)->complete_tail, __ATOMIC_ACQUIRE);

	if (tail - memory->complete_head > HF_RING_ENTRIES)
		return HF_EPROTO;
	return (int)(tail - memory->complete_head);
}

bool hf_shim_memory_is_durable(const struct hf_shim_memory *memory, uint32_t handle)
{
	return handle < HF_RING_VOLUMES_MAX &&
	       __atomic_load_n(memory->base + HF_RING_DURABLE_OFFSET + handle, __ATOMIC_ACQUIRE);
}

void hf_shim_memory_collect(struct hf_shim_memory *memory, struct hf_ring_completion *completion)
{
	const uint8_t *from = memory->base + HF_RING_COMPLETIONS_OFFSET +
			      (memory->complete_head & MASK) * sizeof *completion;

	memcpy(completion, from, sizeof *completion);
	memory->complete_head++;
}

void hf_shim_memory_collected(struct hf_shim_memory *memory)
{
	__atomic_store_n(&header(memory)->complete_head, memory->complete_head, __ATOMIC_RELEASE);
}

void hf_shim_memory_set_oldest(struct hf_shim_memory *memory, uint64_t oldest_unfinished)
{
	__atomic_store_n(&header(memory)->oldest_unfinished, oldest_unfinished, __ATOMIC_RELEASE);
}
