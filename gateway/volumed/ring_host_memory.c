/* The shared memory of one session: mapping it, and every load and store that volumed makes in it.
 * One function a step, so that the tests of docs/kill-points.md can end the process between any
 * two. The shim may write anything anywhere at any time: each value is loaded once, into memory of
 * our own, and checked there. */
#include "gateway/volumed/ring_host_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define SEALS_NEEDED (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)
#define MASK         (HF_RING_ENTRIES - 1)

static struct hf_ring_header *header(const struct hf_ring_memory *memory)
{
	return (struct hf_ring_header *)memory->base;
}

static int check_memfd(int fd, struct hf_errmsg *message)
{
	struct stat stat;
	int seals = fcntl(fd, F_GET_SEALS);

	if (seals < 0)
		return hf_fail(message, HF_EPROTO, "the memory handed over is no memfd");
	if ((seals & SEALS_NEEDED) != SEALS_NEEDED)
		return hf_fail(message, HF_EPROTO, "the memory is not sealed (%#x)",
			       (unsigned)seals);
	if (fstat(fd, &stat) != 0 || (uint64_t)stat.st_size != HF_RING_BYTES)
		return hf_fail(message, HF_EPROTO, "the memory has another size");
	return 0;
}

static int check_header(const struct hf_ring_memory *memory, const uint8_t uuid[16],
			struct hf_errmsg *message)
{
	struct hf_ring_header copy;

	memcpy(&copy, memory->base, sizeof copy);
	if (copy.magic != HF_RING_MAGIC || copy.version != HF_RING_VERSION)
		return hf_fail(message, HF_EPROTO, "no ring of version %u", HF_RING_VERSION);
	if (copy.entries != HF_RING_ENTRIES || copy.data_bytes != HF_RING_DATA_BYTES)
		return hf_fail(message, HF_EPROTO, "the ring has another shape");
	if (memcmp(copy.uuid, uuid, 16) != 0)
		return hf_fail(message, HF_EPROTO, "the ring's name differs from its greeting");
	if (copy.submit_head != 0 || copy.complete_tail != 0)
		return hf_fail(message, HF_EPROTO, "the ring's memory was used before");
	return 0;
}

/* A write() to the shim's eventfd could block for ever: the flags of a file belong to both ends,
 * so the shim may clear O_NONBLOCK and fill the counter. The kernel's own signal of a finished
 * io_uring operation never blocks. */
static int open_wake_up(struct hf_ring_memory *memory, int fd, struct hf_errmsg *message)
{
	int err = io_uring_queue_init(8, &memory->wake_up, 0);

	if (err < 0)
		return hf_fail(message, HF_EUNSUPPORTED, "io_uring: %s", strerror(-err));
	memory->wake_ready = true;
	if (io_uring_register_eventfd(&memory->wake_up, fd) < 0)
		return hf_fail(message, HF_EPROTO, "the shim's wake-up is no eventfd");
	return 0;
}

int hf_ring_memory_open(struct hf_ring_memory *memory, const int fds[3], const uint8_t uuid[16],
			struct hf_errmsg *message)
{
	void *base;
	int err = check_memfd(fds[0], message);

	*memory = (struct hf_ring_memory){.wake_fd = fds[1]};
	if (err)
		goto out;
	base = mmap(NULL, HF_RING_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fds[0], 0);
	if (base == MAP_FAILED) {
		err = hf_fail(message, HF_EPROTO, "mapping the ring: %s", strerror(errno));
		goto out;
	}
	memory->base = base;
	err = check_header(memory, uuid, message);
	if (!err)
		err = open_wake_up(memory, fds[2], message);
out:
	close(fds[0]);
	close(fds[2]);
	if (err)
		hf_ring_memory_close(memory);
	return err;
}

void hf_ring_memory_close(struct hf_ring_memory *memory)
{
	if (memory->wake_ready)
		io_uring_queue_exit(&memory->wake_up);
	if (memory->base)
		munmap(memory->base, HF_RING_BYTES);
	if (memory->wake_fd >= 0)
		close(memory->wake_fd);
	*memory = (struct hf_ring_memory){.wake_fd = -1};
}

bool hf_ring_memory_woken(struct hf_ring_memory *memory)
{
	uint64_t count;
	struct iovec iov = {&count, sizeof count};

	/* RWF_NOWAIT because O_NONBLOCK is not ours to rely on. */
	return preadv2(memory->wake_fd, &iov, 1, -1, RWF_NOWAIT) == (ssize_t)sizeof count ||
	       errno == EAGAIN || errno == EINTR;
}

int hf_ring_memory_submitted(const struct hf_ring_memory *memory)
{
	uint64_t tail = __atomic_load_n(&header(memory)->submit_tail, __ATOMIC_ACQUIRE);

	if (tail - memory->submit_head > HF_RING_ENTRIES)
		return HF_EPROTO;
	return (int)(tail - memory->submit_head);
}

void hf_ring_memory_take(struct hf_ring_memory *memory, struct hf_ring_submission *submission)
{
	const volatile uint64_t *from =
		(const volatile uint64_t *)(memory->base + HF_RING_SUBMISSIONS_OFFSET +
					    (memory->submit_head & MASK) * sizeof *submission);
	uint64_t words[sizeof *submission / sizeof(uint64_t)];

	for (unsigned i = 0; i < sizeof words / sizeof words[0]; i++)
		words[i] = from[i];
	memcpy(submission, words, sizeof *submission);
	memory->submit_head++;
}

void hf_ring_memory_taken(struct hf_ring_memory *memory)
{
	__atomic_store_n(&header(memory)->submit_head, memory->submit_head, __ATOMIC_RELEASE);
}

/* The fence is the other half of the one in hf_shim_memory_needs_wake: either the shim sees what is
 * stored here, or its new tail is seen here. */
bool hf_ring_memory_be_quiet(struct hf_ring_memory *memory, uint64_t quiet_through)
{
	if (quiet_through != memory->quiet_through) {
		memory->quiet_through = quiet_through;
		__atomic_store_n(&header(memory)->quiet_through, quiet_through, __ATOMIC_RELAXED);
	}
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return hf_ring_memory_submitted(memory) != 0;
}

uint64_t hf_ring_memory_oldest(const struct hf_ring_memory *memory)
{
	return __atomic_load_n(&header(memory)->oldest_unfinished, __ATOMIC_ACQUIRE);
}

int hf_ring_memory_check_room(struct hf_ring_memory *memory)
{
	uint64_t head = __atomic_load_n(&header(memory)->complete_head, __ATOMIC_ACQUIRE);
	uint64_t uncollected = memory->complete_tail - memory->complete_head;

	/* It only moves forward, and not past what there is. */
	if (head - memory->complete_head > uncollected)
		return HF_EPROTO;
	memory->complete_head = head;
	return memory->complete_tail - head < HF_RING_ENTRIES ? 0 : HF_EPROTO;
}

void hf_ring_memory_place(struct hf_ring_memory *memory,
			  const struct hf_ring_completion *completion)
{
	uint8_t *to = memory->base + HF_RING_COMPLETIONS_OFFSET +
		      (memory->complete_tail & MASK) * sizeof *completion;

	memcpy(to, completion, sizeof *completion);
	memory->complete_tail++;
}

void hf_ring_memory_publish(struct hf_ring_memory *memory)
{
	__atomic_store_n(&header(memory)->complete_tail, memory->complete_tail, __ATOMIC_RELEASE);
}

void hf_ring_memory_wake(struct hf_ring_memory *memory)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&memory->wake_up);

	if (sqe)
		io_uring_prep_nop(sqe);
	io_uring_submit(&memory->wake_up);
	io_uring_cq_advance(&memory->wake_up, io_uring_cq_ready(&memory->wake_up));
}

void hf_ring_memory_set_durable(struct hf_ring_memory *memory, uint32_t handle, bool durable)
{
	__atomic_store_n(memory->base + HF_RING_DURABLE_OFFSET + handle, (uint8_t)durable,
			 __ATOMIC_RELEASE);
}

uint64_t hf_ring_memory_tier_hits(const struct hf_ring_memory *memory, uint32_t handle)
{
	const uint64_t *hits =
		(const uint64_t *)(const void *)(memory->base + HF_RING_TIER_HITS_OFFSET);

	return __atomic_load_n(&hits[handle], __ATOMIC_RELAXED);
}

void *hf_ring_memory_data(const struct hf_ring_memory *memory, uint32_t page)
{
	return memory->base + HF_RING_DATA_OFFSET + (uint64_t)page * HF_RING_PAGE;
}
