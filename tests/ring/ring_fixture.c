/* See ring_fixture.h. */
#include "tests/ring/ring_fixture.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/assert.h"

#define WAIT_MS 5000u
#define PAGE    4096u

static char folder[64], socket_path[96], disk_path[96];
static uv_loop_t loop;
static struct hf_core *core;
static struct hf_ring_host *host;
static struct hf_shim *shim;
static struct hf_shim_lun *lun;
static unsigned times_bound;
uint64_t ring_fixture_tier_bytes = TIER_BYTES;

static void volume_changed(void *context, uint64_t volume)
{
	(void)context;
	if (host)
		hf_ring_host_volume_changed(host, volume);
}

static bool range_changed(void *context, uint64_t volume, uint64_t offset, uint64_t length)
{
	(void)context;
	return host && hf_ring_host_range_changed(host, volume, offset, length);
}

static void range_holds(void *context, uint64_t volume, uint64_t offset, uint64_t length,
			const void *bytes)
{
	(void)context;
	hf_ring_host_range_holds(host, volume, offset, length, bytes);
}

static void bound(void *owner, uint64_t size_bytes, uint32_t flags)
{
	(void)owner;
	(void)flags;
	HF_ASSERT(size_bytes == VOLUME_BYTES);
	times_bound++;
}

static bool is_bound(void *context)
{
	(void)context;
	return times_bound > 0;
}

struct hf_core *ring_fixture_core(void)
{
	return core;
}

struct hf_ring_host *ring_fixture_host(void)
{
	return host;
}

struct hf_shim *ring_fixture_shim(void)
{
	return shim;
}

struct hf_shim_lun *ring_fixture_lun(void)
{
	return lun;
}

uv_loop_t *ring_fixture_loop(void)
{
	return &loop;
}

const char *ring_fixture_folder(void)
{
	return folder;
}

void ring_fixture_turn(void)
{
	for (unsigned i = 0; i < 4; i++) {
		uv_run(&loop, UV_RUN_NOWAIT);
		shim_loop_turn(0);
	}
}

bool ring_fixture_wait(bool (*condition)(void *context), void *context)
{
	uint64_t start_ms = shim_loop.now_ms();

	while (!condition(context)) {
		if (shim_loop.now_ms() - start_ms > WAIT_MS)
			return false;
		ring_fixture_turn();
	}
	return true;
}

void ring_fixture_open(void)
{
	struct hf_errmsg message;

	strcpy(folder, "/tmp/holdfast-ring-XXXXXX");
	HF_ASSERT(mkdtemp(folder));
	snprintf(socket_path, sizeof socket_path, "%s/ring.sock", folder);
	snprintf(disk_path, sizeof disk_path, "%s/disk", folder);
	HF_ASSERT(uv_loop_init(&loop) == 0);
	core = memory_core_open(&(struct memory_core_config){.loop = &loop,
							     .path = disk_path,
							     .volume_changed = volume_changed,
							     .range_changed = range_changed,
							     .range_holds = range_holds});
	memory_core_attach(core, HONEST_VOLUME, VOLUME_BYTES, false);
	memory_core_attach(core, HOSTILE_VOLUME, VOLUME_BYTES, false);
	HF_ASSERT(hf_ring_host_open(
			  &(struct hf_ring_host_config){.loop = &loop,
							.core = core,
							.path = socket_path,
							.tgt_uid = HF_RING_HOST_NO_UID,
							.tier_bytes = ring_fixture_tier_bytes,
							.tier_rings = 2},
			  &host, &message) == 0);
	times_bound = 0;
	HF_ASSERT(hf_shim_open(&(struct hf_shim_config){.loop = &shim_loop,
							.socket = socket_path,
							.deadline_ms = 60000},
			       &shim) == 0);
	HF_ASSERT(hf_shim_lun_open(shim, HONEST_VOLUME, bound, NULL, &lun) == 0);
	HF_ASSERT(ring_fixture_wait(is_bound, NULL));
}

static void host_closed(void *context)
{
	*(bool *)context = true;
}

static bool is_true(void *context)
{
	return *(bool *)context;
}

void ring_fixture_close(void)
{
	bool closed = false;

	hf_ring_host_close(host, host_closed, &closed);
	HF_ASSERT(ring_fixture_wait(is_true, &closed));
	host = NULL;
	hf_shim_abandon(shim);
	shim_loop_reset();
	memory_core_close(core);
	uv_run(&loop, UV_RUN_DEFAULT);
	HF_ASSERT(uv_loop_close(&loop) == 0);
	unlink(disk_path);
	unlink(socket_path);
	rmdir(folder);
}

/* ---- The honest one ---- */

struct transfer {
	uint8_t page[PAGE];
	bool done;
	int status;
};

static void fill(struct hf_shim_request *request, void *slot)
{
	memcpy(slot, ((struct transfer *)request->owner)->page, PAGE);
}

static void take(struct hf_shim_request *request, const void *slot)
{
	memcpy(((struct transfer *)request->owner)->page, slot, PAGE);
}

static void transferred(struct hf_shim_request *request)
{
	struct transfer *transfer = request->owner;

	transfer->status = request->status;
	transfer->done = true;
}

static bool is_done(void *context)
{
	return ((struct transfer *)context)->done;
}

static bool run(struct transfer *transfer, enum hf_op op, uint64_t offset)
{
	struct hf_shim_request *request = hf_shim_request_get(lun);

	HF_ASSERT(request != NULL);
	request->op = op;
	request->offset = offset;
	request->length = request->data_length = PAGE;
	request->fill = op == HF_OP_WRITE ? fill : NULL;
	request->take = op == HF_OP_READ ? take : NULL;
	request->done = transferred;
	request->owner = transfer;
	transfer->done = false;
	hf_shim_submit(request);
	return ring_fixture_wait(is_done, transfer) && transfer->status == 0;
}

bool ring_fixture_honest_is_served(void)
{
	static struct transfer written, read;
	static uint64_t round;
	uint64_t offset = ++round % (VOLUME_BYTES / PAGE) * PAGE;

	memset(written.page, (int)(round % 255) + 1, PAGE);
	return run(&written, HF_OP_WRITE, offset) && run(&read, HF_OP_READ, offset) &&
	       memcmp(written.page, read.page, PAGE) == 0;
}

/* ---- The hostile one ---- */

void hostile_connect(struct hostile *hostile)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	*hostile = (struct hostile){.next_id = 1};
	strcpy(address.sun_path, socket_path);
	hostile->socket = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	HF_ASSERT(hostile->socket >= 0);
	while (connect(hostile->socket, (struct sockaddr *)&address, sizeof address) != 0) {
		HF_ASSERT(errno == EAGAIN);
		ring_fixture_turn();
	}
	HF_ASSERT(getrandom(hostile->uuid, 16, 0) == 16);
	HF_ASSERT(hf_shim_memory_open(&hostile->memory, hostile->uuid, 1) == 0);
}

static void send_message(struct hostile *hostile, const void *message, size_t length,
			 const int *fds, unsigned fd_count)
{
	struct iovec iov = {(void *)(uintptr_t)message, length};
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(16 * sizeof(int))];
	} control = {0};
	struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};

	if (fd_count > 0) {
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(fd_count * sizeof(int));
		memcpy(CMSG_DATA(&control.header), fds, fd_count * sizeof(int));
		header.msg_control = &control;
		header.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
	}
	(void)!sendmsg(hostile->socket, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
}

void hostile_send(struct hostile *hostile, const void *message, size_t length, const int *fds,
		  unsigned fd_count)
{
	send_message(hostile, message, length, fds, fd_count);
	ring_fixture_turn();
}

void hostile_send_greeting(struct hostile *hostile)
{
	struct hf_ring_message hello = {.type = HF_RING_HELLO};
	const int fds[3] = {hostile->memory.memfd, hostile->memory.wake_volumed_fd,
			    hostile->memory.wake_shim_fd};

	memcpy(hello.uuid, hostile->uuid, 16);
	send_message(hostile, &hello, sizeof hello, fds, 3);
}

void hostile_greet(struct hostile *hostile)
{
	hostile_connect(hostile);
	hostile_send_greeting(hostile);
	ring_fixture_turn();
}

void hostile_tell(struct hostile *hostile, uint32_t type, uint64_t volume)
{
	struct hf_ring_message message = {.type = type, .volume = volume};

	hostile_send(hostile, &message, sizeof message, NULL, 0);
}

struct hearing {
	struct hostile *hostile;
	struct hf_ring_message message;
	ssize_t got;
};

static bool something_came(void *context)
{
	struct hearing *hearing = context;

	hearing->got = recv(hearing->hostile->socket, &hearing->message, sizeof hearing->message,
			    MSG_DONTWAIT);
	return hearing->got >= 0 || errno != EAGAIN;
}

bool hostile_hears(struct hostile *hostile, struct hf_ring_message *message)
{
	struct hearing hearing = {.hostile = hostile};

	if (!ring_fixture_wait(something_came, &hearing) || hearing.got <= 0)
		return false;
	*message = hearing.message;
	return true;
}

bool hostile_is_dropped(struct hostile *hostile)
{
	struct hearing hearing = {.hostile = hostile};

	while (ring_fixture_wait(something_came, &hearing)) {
		if (hearing.got <= 0)
			return true;
	}
	return false;
}

void hostile_open(struct hostile *hostile)
{
	struct hf_ring_message message;

	hostile_greet(hostile);
	HF_ASSERT(hostile_hears(hostile, &message) && message.type == HF_RING_WELCOME &&
		  message.status == 0);
	hostile_tell(hostile, HF_RING_BIND, HOSTILE_VOLUME);
	HF_ASSERT(hostile_hears(hostile, &message) && message.type == HF_RING_BOUND);
	hostile->handle = message.handle;
}

static bool completed_or_dropped(void *context)
{
	struct hostile *hostile = context;
	char byte;

	return hf_shim_memory_completed(&hostile->memory) != 0 ||
	       recv(hostile->socket, &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 0;
}

int hostile_asks(struct hostile *hostile, struct hf_ring_submission submission)
{
	struct hf_ring_completion completion;

	if (submission.id == 0)
		submission.id = hostile->next_id++;
	hf_shim_memory_place(&hostile->memory, &submission);
	hf_shim_memory_publish(&hostile->memory);
	hf_shim_memory_wake(&hostile->memory);
	if (!ring_fixture_wait(completed_or_dropped, hostile))
		return HF_ETIMEDOUT;
	if (hf_shim_memory_completed(&hostile->memory) <= 0)
		return HF_ECONN;
	hf_shim_memory_collect(&hostile->memory, &completion);
	hf_shim_memory_collected(&hostile->memory);
	return completion.id == submission.id ? completion.status : HF_EPROTO;
}

void hostile_close(struct hostile *hostile)
{
	close(hostile->socket);
	hf_shim_memory_close(&hostile->memory);
	ring_fixture_turn();
}

/* ---- For cmocka ---- */

static unsigned open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned count = 0;

	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

static unsigned fds_before;

static bool fds_are_back(void *context)
{
	(void)context;
	return open_fds() == fds_before;
}

int ring_fixture_setup(void **state)
{
	(void)state;
	ring_fixture_open();
	fds_before = open_fds();
	return 0;
}

/* Whatever the test did: the other ring works, and every descriptor handed over was closed. */
int ring_fixture_teardown(void **state)
{
	bool fine = ring_fixture_honest_is_served() && ring_fixture_wait(fds_are_back, NULL) &&
		    hf_ring_host_rings(host) == 1;

	(void)state;
	ring_fixture_close();
	return fine ? 0 : -1;
}
