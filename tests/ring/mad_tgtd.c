/* A tgtd gone mad, for mad_tgtd.py: lies in every message, descriptor and index, and changes its
 * memory under the reader all the time. Its seed fixes what it tries, not when.
 *
 * mad_tgtd SOCKET VOLUME OTHERS-VOLUME SEED SECONDS
 *
 * Exit 0; 1 if it got hold of a byte of the honest ring (honest_ring.c marks each of its blocks).
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "target/ring_memory.h"
#include "tests/ring/mad_tgtd.h"

#define STEPS        2000u
#define UNDER_WAY    256u
#define PAGES_USED   2048u /* of the data area, mostly */
#define HANDLES_MAX  16u
#define VOLUME_BYTES (64ull << 20)

static struct sockaddr_un address = {.sun_family = AF_UNIX};
static uint64_t own_volume, others_volume;
static unsigned sessions, submitted, answered, refused;

/* ---- Chance ---- */

static _Thread_local uint64_t state;

static uint64_t chance(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static bool one_in(unsigned n)
{
	return chance() % n == 0;
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- What a session lies about; each has some of these, and payload that changes ---- */

#define HEADER      0x01u
#define DESCRIPTORS 0x02u
#define COMPLETIONS 0x04u
#define MESSAGES    0x08u
#define FIELDS      0x10u
#define INDICES     0x20u
#define OLDEST      0x40u
#define GREETING    0x80u

/* ---- The scribbler: changes memory that volumed reads ---- */

static struct {
	uint8_t *base;
	unsigned lies;
	uint64_t seed;
	bool stop; /* atomic */
} scribbler;

/* The races are meant. */
__attribute__((no_sanitize_thread)) static void scribble(void)
{
	volatile uint8_t *base = scribbler.base;

	if ((scribbler.lies & HEADER) && one_in(1000))
		base[chance() % 192] = (uint8_t)chance();
	if ((scribbler.lies & DESCRIPTORS) && one_in(4))
		base[HF_RING_SUBMISSIONS_OFFSET + chance() % HF_RING_SUBMISSIONS_BYTES] =
			(uint8_t)chance();
	if ((scribbler.lies & COMPLETIONS) && one_in(4))
		base[HF_RING_COMPLETIONS_OFFSET + chance() % HF_RING_COMPLETIONS_BYTES] =
			(uint8_t)chance();
	base[HF_RING_DATA_OFFSET + chance() % ((uint64_t)PAGES_USED * HF_RING_PAGE)] =
		(uint8_t)chance();
}

static void *scribble_on(void *unused)
{
	state = scribbler.seed;
	while (!__atomic_load_n(&scribbler.stop, __ATOMIC_RELAXED)) {
		for (unsigned i = 0; i < 64; i++)
			scribble();
		sched_yield();
	}
	return unused;
}

/* ---- One session ---- */

struct mad {
	int socket;
	struct hf_shim_memory memory;
	uint8_t uuid[16];
	uint32_t handles[HANDLES_MAX];
	unsigned handle_count;
	uint64_t next_id;
	unsigned lies, under_way;
	bool over;
};

static void send_fds(struct mad *mad, const void *bytes, size_t length, const int *fds,
		     unsigned count)
{
	struct iovec iov = {(void *)(uintptr_t)bytes, length};
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(16 * sizeof(int))];
	} control = {0};
	struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};

	if (count > 0) {
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(&control.header), fds, count * sizeof(int));
		header.msg_control = &control;
		header.msg_controllen = CMSG_SPACE(count * sizeof(int));
	}
	(void)!sendmsg(mad->socket, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* A descriptor that is not what it is taken for; the caller closes it. */
static int wrong_fd(void)
{
	int fd = memfd_create("mad", MFD_CLOEXEC | MFD_ALLOW_SEALING), pipe_fds[2];

	switch (chance() % 4) {
	case 0: /* can be cut short under the reader */
		HF_ASSERT(ftruncate(fd, (off_t)HF_RING_BYTES) == 0);
		return fd;
	case 1: /* is */
		HF_ASSERT(ftruncate(fd, (off_t)(chance() % HF_RING_BYTES)) == 0);
		return fd;
	case 2:
		close(fd);
		HF_ASSERT(pipe2(pipe_fds, O_CLOEXEC) == 0);
		close(pipe_fds[0]);
		return pipe_fds[1];
	default:
		close(fd);
		return open("/dev/null", O_RDWR | O_CLOEXEC);
	}
}

static void greet(struct mad *mad)
{
	struct hf_ring_message hello = {.type = HF_RING_HELLO, .flags = (uint32_t)chance() & 1};
	int fds[5] = {mad->memory.memfd, mad->memory.wake_volumed_fd, mad->memory.wake_shim_fd,
		      mad->memory.memfd, mad->memory.memfd};
	int wrong = -1;
	unsigned count = 3;

	memcpy(hello.uuid, mad->uuid, 16);
	if (!(mad->lies & GREETING)) {
		send_fds(mad, &hello, 48, fds, 3);
		return;
	}
	if (one_in(2)) {
		wrong = wrong_fd();
		fds[chance() % 3] = wrong;
	}
	if (one_in(4))
		count = (unsigned)(chance() % 6);
	if (one_in(4))
		hello.uuid[chance() % 16] ^= 1;
	send_fds(mad, &hello, one_in(32) ? chance() % 48 : 48, fds, count);
	if (wrong >= 0) {
		(void)!ftruncate(wrong, 0);
		close(wrong);
	}
}

static uint64_t some_volume(void)
{
	switch (chance() % 4) {
	case 0:
		return others_volume;
	case 1:
		return others_volume + chance() % 8;
	case 2:
		return chance();
	default:
		return own_volume;
	}
}

static void say_something(struct mad *mad)
{
	struct hf_ring_message both[2] = {{0}}, *message = &both[0]; /* one may be too long */

	*message = (struct hf_ring_message){
		.type = (uint32_t)(1 + chance() % 10),
		.volume = some_volume(),
		.status = (int32_t)chance(),
		.handle = (uint32_t)chance(),
		.flags = (uint32_t)chance(),
		.size_bytes = chance(),
	};

	if (one_in(2))
		message->type = HF_RING_BIND;
	send_fds(mad, both, one_in(64) ? chance() % 64 : 48, &mad->memory.memfd,
		 one_in(64) ? 1 : 0);
}

static void hear(struct mad *mad)
{
	struct hf_ring_message message;
	ssize_t got;

	while ((got = recv(mad->socket, &message, sizeof message, MSG_DONTWAIT)) > 0) {
		if (message.type == HF_RING_BOUND && mad->handle_count < HANDLES_MAX)
			mad->handles[mad->handle_count++] = message.handle;
		refused += message.type == HF_RING_WELCOME && message.status != 0;
	}
	mad->over = got == 0;
}

static void submit_something(struct mad *mad)
{
	struct hf_ring_submission submission = {
		.id = mad->next_id++,
		.op = (uint32_t)(1 + chance() % HF_OP_RECALL),
		.flags = (uint32_t)chance() & 1,
		.volume = mad->handle_count ? mad->handles[chance() % mad->handle_count]
					    : (uint32_t)chance() % HF_RING_VOLUMES_MAX,
		.data_page = (uint32_t)(chance() % PAGES_USED),
		.offset = chance() % (VOLUME_BYTES / 512) * 512,
	};

	submission.length = submission.data_length = 512 * (uint32_t)(1 + chance() % 64);
	if (submission.op == HF_OP_WRITE_SAME)
		submission.data_length = one_in(2) ? 512 : 4096;
	if (submission.op == HF_OP_COMPARE_AND_WRITE)
		submission.data_length *= 2;
	if (submission.op == HF_OP_UNMAP)
		submission.data_length = 16 * (uint32_t)(1 + chance() % 256);
	if (submission.op == HF_OP_ZERO || submission.op == HF_OP_VERIFY ||
	    submission.op == HF_OP_FLUSH || submission.op == HF_OP_CANCEL)
		submission.data_length = 0;
	if (submission.op == HF_OP_KEEP || submission.op == HF_OP_RECALL) {
		submission.length = 0;
		submission.data_length = HF_RING_KEEP_MAX;
	}
	if (submission.op == HF_OP_CANCEL)
		submission.offset = mad->next_id - chance() % 64;
	if ((mad->lies & FIELDS) && one_in(8))
		((uint8_t *)&submission)[chance() % sizeof submission] = (uint8_t)chance();
	hf_shim_memory_place(&mad->memory, &submission);
	submitted++;
	mad->under_way++;
}

static void step(struct mad *mad)
{
	int count;

	for (uint64_t i = chance() % 16; i > 0 && mad->under_way < UNDER_WAY; i--)
		submit_something(mad);
	if ((mad->lies & INDICES) && one_in(100))
		mad->memory.submit_tail += chance() % 2048;
	hf_shim_memory_publish(&mad->memory);
	hf_shim_memory_wake(&mad->memory);
	if ((mad->lies & MESSAGES) && one_in(16))
		say_something(mad);
	count = hf_shim_memory_completed(&mad->memory);
	if (count > 0 && !((mad->lies & INDICES) && one_in(50))) {
		answered += (unsigned)count;
		mad->under_way -=
			(unsigned)count < mad->under_way ? (unsigned)count : mad->under_way;
		mad->memory.complete_head += (unsigned)count;
		hf_shim_memory_collected(&mad->memory);
	}
	if ((mad->lies & OLDEST) && one_in(8))
		hf_shim_memory_set_oldest(&mad->memory, mad->next_id - chance() % 128);
	poll(&(struct pollfd){.fd = mad->memory.wake_shim_fd, .events = POLLIN}, 1, 1);
	hear(mad);
}

/* ---- What it must never see ---- */

static bool holds_the_mark(const uint8_t *bytes, size_t length)
{
	uint64_t mark = HONEST_MARK;

	return memmem(bytes, length, &mark, sizeof mark) != NULL;
}

static void look_for_others(const struct mad *mad)
{
	if (!holds_the_mark(mad->memory.base, HF_RING_DATA_OFFSET) &&
	    !holds_the_mark(mad->memory.base + HF_RING_DATA_OFFSET,
			    (uint64_t)PAGES_USED * HF_RING_PAGE + HF_RING_TRANSFER_MAX))
		return;
	fprintf(stderr, "a byte of another ring's volume came into reach\n");
	exit(1);
}

/* Its own, and what another ring holds, which it must never get. */
static void bind_everything(struct mad *mad)
{
	for (unsigned i = 0; i < 3; i++) {
		struct hf_ring_message own = {.type = HF_RING_BIND, .volume = own_volume + i};
		struct hf_ring_message others = {.type = HF_RING_BIND, .volume = others_volume + i};

		send_fds(mad, &own, sizeof own, NULL, 0);
		send_fds(mad, &others, sizeof others, NULL, 0);
	}
}

static void run_session(void)
{
	uint64_t lies = chance();
	struct mad mad = {.next_id = 1 + chance() % 1000000,
			  .lies = (unsigned)(lies & lies >> 8 & 0xff)};
	pthread_t thread;

	for (unsigned i = 0; i < 16; i++)
		mad.uuid[i] = (uint8_t)chance();
	mad.socket = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (connect(mad.socket, (struct sockaddr *)&address, sizeof address) != 0) {
		fprintf(stderr, "volumed is not there any more\n");
		exit(1);
	}
	HF_ASSERT(hf_shim_memory_open(&mad.memory, mad.uuid, mad.next_id) == 0);
	scribbler.base = mad.memory.base;
	scribbler.lies = mad.lies;
	scribbler.seed = chance() | 1;
	scribbler.stop = false;
	greet(&mad);
	hear(&mad);
	bind_everything(&mad);
	HF_ASSERT(pthread_create(&thread, NULL, scribble_on, NULL) == 0);
	for (unsigned i = 0; i < STEPS && !mad.over; i++)
		step(&mad);
	__atomic_store_n(&scribbler.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	look_for_others(&mad);
	close(mad.socket);
	hf_shim_memory_close(&mad.memory);
	sessions++;
}

int main(int argc, char **argv)
{
	uint64_t end_ms;

	if (argc != 6)
		return 2;
	signal(SIGPIPE, SIG_IGN);
	snprintf(address.sun_path, sizeof address.sun_path, "%s", argv[1]);
	own_volume = strtoull(argv[2], NULL, 16);
	others_volume = strtoull(argv[3], NULL, 16);
	state = strtoull(argv[4], NULL, 10) * 0x9e3779b97f4a7c15ull + 1;
	end_ms = now_ms() + strtoull(argv[5], NULL, 10) * 1000;
	while (now_ms() < end_ms)
		run_session();
	printf("seed %s: %u sessions, %u refused, %u descriptors, %u answers\n", argv[4], sessions,
	       refused, submitted, answered);
	return 0;
}
