/* Who may hand a ring to volumed, and what a ring must be: everything else is hung up on, nothing
 * handed over leaks, and another ring is served as before (invariant 9). */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "tests/ring/ring_fixture.h"

/* ---- Greetings ---- */

static struct hf_ring_header *header_of(struct hostile *hostile)
{
	return (struct hf_ring_header *)hostile->memory.base;
}

static void greet_with(struct hostile *hostile, const int *fds, unsigned count)
{
	struct hf_ring_message hello = {.type = HF_RING_HELLO};

	memcpy(hello.uuid, hostile->uuid, 16);
	hostile_send(hostile, &hello, sizeof hello, fds, count);
	assert_true(hostile_is_dropped(hostile));
	hostile_close(hostile);
}

static int make_memfd(uint64_t bytes, int seals)
{
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0 && ftruncate(fd, (off_t)bytes) == 0);
	if (seals)
		assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
	return fd;
}

static void memory_that_could_shrink(void **state)
{
	const struct {
		uint64_t bytes;
		int seals;
	} bad[] = {
		{HF_RING_BYTES, 0},
		{HF_RING_BYTES, F_SEAL_GROW | F_SEAL_SEAL},
		{HF_RING_BYTES, F_SEAL_SHRINK | F_SEAL_GROW},
		{HF_RING_BYTES - 4096, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL},
		{HF_RING_BYTES + 4096, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL},
		{0, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL},
		{HF_RING_BYTES, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL}, /* empty */
		{HF_RING_BYTES, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL | F_SEAL_WRITE},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct hostile hostile;
		int memfd = make_memfd(bad[i].bytes, bad[i].seals);

		hostile_connect(&hostile);
		greet_with(
			&hostile,
			(int[]){memfd, hostile.memory.wake_volumed_fd, hostile.memory.wake_shim_fd},
			3);
		close(memfd);
	}
}

static void descriptors_of_another_kind(void **state)
{
	(void)state;
	for (unsigned which = 0; which < 3; which++) {
		for (unsigned kind = 0; kind < 4; kind++) {
			struct hostile hostile;
			int other[2], fds[3];

			hostile_connect(&hostile);
			fds[0] = hostile.memory.memfd;
			fds[1] = hostile.memory.wake_volumed_fd;
			fds[2] = hostile.memory.wake_shim_fd;
			assert_int_equal(pipe2(other, O_CLOEXEC), 0);
			if (kind == 2) {
				close(other[0]);
				other[0] = open("/dev/zero", O_RDWR | O_CLOEXEC);
			}
			if (kind == 3) {
				close(other[0]);
				other[0] = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
			}
			fds[which] = other[kind == 1];
			/* A pipe to wake volumed does no harm until it is found out. */
			if (which == 1)
				(void)!write(other[1], "x", 1);
			greet_with(&hostile, fds, which == 1 && kind < 2 ? 2 : 3);
			close(other[0]);
			close(other[1]);
		}
	}
}

static void too_few_and_too_many_descriptors(void **state)
{
	(void)state;
	for (unsigned count = 0; count <= 12; count++) {
		struct hostile hostile;
		int fds[12];

		if (count == 3)
			continue;
		hostile_connect(&hostile);
		for (unsigned i = 0; i < 12; i++)
			fds[i] = hostile.memory.memfd;
		greet_with(&hostile, fds, count);
	}
}

static void headers_that_lie(void **state)
{
	(void)state;
	for (unsigned lie = 0; lie < 8; lie++) {
		struct hostile hostile;

		hostile_connect(&hostile);
		switch (lie) {
		case 0:
			header_of(&hostile)->magic++;
			break;
		case 1:
			header_of(&hostile)->version++;
			break;
		case 2:
			header_of(&hostile)->entries *= 2;
			break;
		case 3:
			header_of(&hostile)->data_bytes += 4096;
			break;
		case 4:
			header_of(&hostile)->uuid[3] ^= 1;
			break;
		case 5:
			header_of(&hostile)->submit_head = 7;
			break;
		case 6:
			header_of(&hostile)->complete_tail = 1;
			break;
		case 7:
			memset(hostile.uuid, 0, 16);
			break;
		}
		greet_with(&hostile,
			   (int[]){hostile.memory.memfd, hostile.memory.wake_volumed_fd,
				   hostile.memory.wake_shim_fd},
			   3);
	}
}

/* ---- Who may connect ---- */

/* A child of that uid greets without fault: exits 0 if it is welcomed, 1 if it is hung up on. */
static void greet_as(uid_t uid, const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct hf_ring_message message;
	struct hostile hostile;
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	memset(hostile.uuid, 7, sizeof hostile.uuid);
	strcpy(address.sun_path, path);
	if (setgid(uid) != 0 || setuid(uid) != 0 ||
	    connect(fd, (struct sockaddr *)&address, sizeof address) != 0 ||
	    hf_shim_memory_open(&hostile.memory, hostile.uuid, 1) != 0)
		_exit(2);
	hostile.socket = fd;
	hostile_send_greeting(&hostile);
	_exit(recv(fd, &message, sizeof message, 0) == (ssize_t)sizeof message &&
			      message.status == 0
		      ? 0
		      : 1);
}

struct child {
	pid_t pid;
	int status;
};

static bool has_ended(void *context)
{
	struct child *child = context;

	return waitpid(child->pid, &child->status, WNOHANG) > 0;
}

static void host_closed(void *context)
{
	*(bool *)context = true;
}

static bool is_true(void *context)
{
	return *(bool *)context;
}

/* Another host in the same loop, for the uid 4711. */
static struct hf_ring_host *
open_other(char path[96], uint32_t (*tgtd_of)(void *context, uint64_t volume), void *context)
{
	struct hf_ring_host *other;
	struct hf_errmsg message;

	snprintf(path, 96, "%s/other.sock", ring_fixture_folder());
	chmod(ring_fixture_folder(), 0755);
	assert_int_equal(
		hf_ring_host_open(&(struct hf_ring_host_config){.loop = ring_fixture_loop(),
								.core = ring_fixture_core(),
								.path = path,
								.tgt_uid = 4711,
								.tgtd_of = tgtd_of,
								.tgtd_context = context},
				  &other, &message),
		0);
	return other;
}

static void close_other(struct hf_ring_host *other)
{
	bool closed = false;

	hf_ring_host_close(other, host_closed, &closed);
	assert_true(ring_fixture_wait(is_true, &closed));
}

static void only_known_uids(void **state)
{
	static const struct {
		uid_t uid;
		int outcome;
	} expected[] = {{0, 0}, {4711, 0}, {4712, 1}, {65534, 1}};
	struct hf_ring_host *other;
	char path[96];

	(void)state;
	if (geteuid() != 0)
		return; /* only root can be somebody else */
	other = open_other(path, NULL, NULL);
	for (unsigned i = 0; i < sizeof expected / sizeof expected[0]; i++) {
		struct child child = {.pid = fork()};

		if (child.pid == 0)
			greet_as(expected[i].uid, path);
		assert_true(ring_fixture_wait(has_ended, &child));
		assert_int_equal(WEXITSTATUS(child.status), expected[i].outcome);
	}
	close_other(other);
}

#define BINDS 128u

static uint32_t somebody_elses(void *context, uint64_t volume)
{
	(void)volume;
	++*(unsigned *)context;
	return 1;
}

/* Connects as tgtd, whose uid is 4711. */
static void greet_as_tgtd(struct hostile *hostile, const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct hf_ring_message message;

	*hostile = (struct hostile){.uuid = {4, 7, 1, 1}};
	strcpy(address.sun_path, path);
	hostile->socket = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(seteuid(4711), 0);
	assert_int_equal(connect(hostile->socket, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(seteuid(0), 0);
	assert_int_equal(hf_shim_memory_open(&hostile->memory, hostile->uuid, 1), 0);
	hostile_send_greeting(hostile);
	assert_true(hostile_hears(hostile, &message) && message.type == HF_RING_WELCOME);
}

/* What waits to be bound is looked at once a turn, however many messages ask for it: many that wait
 * for ever and a message for each look would keep all others waiting. */
static void many_binds_are_one_look(void **state)
{
	struct hf_ring_message message_out;
	struct hf_ring_host *other;
	struct hostile hostile;
	unsigned asked = 0;
	char path[96];

	(void)state;
	if (geteuid() != 0)
		return; /* only root can be somebody else */
	other = open_other(path, somebody_elses, &asked);
	greet_as_tgtd(&hostile, path);
	for (uint64_t volume = 1; volume <= BINDS; volume++) {
		message_out = (struct hf_ring_message){.type = HF_RING_BIND, .volume = volume};
		assert_int_equal(send(hostile.socket, &message_out, sizeof message_out, 0),
				 sizeof message_out);
	}
	ring_fixture_turn();
	assert_in_range(asked, BINDS, 16 * BINDS);
	hostile_close(&hostile);
	close_other(other);
}

/* Once: a ring that comes back after volumed's death and is lost before it binds anything keeps the
 * results that wait for it; one that gave up its volumes does not. */
static void what_waits_for_a_ring_is_kept(void **state)
{
	const struct memory_disk *disk = memory_core_disk(ring_fixture_core());
	struct hostile hostile;
	struct hf_ring_message message;

	(void)state;
	hostile_greet(&hostile);
	hostile_close(&hostile);
	ring_fixture_turn();
	assert_int_equal(disk->forgotten, 0);
	hostile_open(&hostile);
	hostile_tell(&hostile, HF_RING_UNBIND, HOSTILE_VOLUME);
	assert_true(hostile_hears(&hostile, &message) && message.type == HF_RING_UNBOUND);
	hostile_close(&hostile);
	ring_fixture_turn();
	assert_int_equal(disk->forgotten, 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, ring_fixture_setup, ring_fixture_teardown)
	const struct CMUnitTest tests[] = {
		TEST(memory_that_could_shrink),
		TEST(descriptors_of_another_kind),
		TEST(too_few_and_too_many_descriptors),
		TEST(headers_that_lie),
		TEST(only_known_uids),
		TEST(many_binds_are_one_look),
		TEST(what_waits_for_a_ring_is_kept),
	};

	if (!getenv("HOLDFAST_LOG"))
		setenv("HOLDFAST_LOG", "error", 1);
	hf_log_init("greeting_test");
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
