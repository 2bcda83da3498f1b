/* A tgtd gone greedy, for greedy_tgtd.py: breaks no rule of a message, but takes as many
 * connections as it can get and keeps them, and in the last one sends a KEEP for each place of the
 * ring.
 *
 * greedy_tgtd SOCKET VOLUME
 *
 * Prints how many connections serve, how many KEEPs were performed and how many were refused
 * because another was under way; ends with its input. */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/err.h"
#include "target/ring_memory.h"

#define CONNECTIONS 40u
#define KEEPS       1000u
#define WAIT_MS     30000

struct one {
	int socket;
	struct hf_shim_memory memory;
};

static struct sockaddr_un address = {.sun_family = AF_UNIX};
static struct one all[CONNECTIONS];

static void send_hello(struct one *one, const uint8_t uuid[16])
{
	struct hf_ring_message hello = {.type = HF_RING_HELLO};
	struct iovec iov = {&hello, sizeof hello};
	int fds[3] = {one->memory.memfd, one->memory.wake_volumed_fd, one->memory.wake_shim_fd};
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof fds)];
	} control = {0};
	struct msghdr header = {.msg_iov = &iov,
				.msg_iovlen = 1,
				.msg_control = &control,
				.msg_controllen = sizeof control};

	memcpy(hello.uuid, uuid, 16);
	control.header.cmsg_level = SOL_SOCKET;
	control.header.cmsg_type = SCM_RIGHTS;
	control.header.cmsg_len = CMSG_LEN(sizeof fds);
	memcpy(CMSG_DATA(&control.header), fds, sizeof fds);
	(void)!sendmsg(one->socket, &header, MSG_NOSIGNAL);
}

/* The next message; false at the end of the connection. */
static bool hear(const struct one *one, struct hf_ring_message *message)
{
	struct pollfd wait = {.fd = one->socket, .events = POLLIN};

	HF_ASSERT(poll(&wait, 1, WAIT_MS) == 1);
	return recv(one->socket, message, sizeof *message, 0) == (ssize_t)sizeof *message;
}

static bool take_connection(struct one *one, uint8_t number)
{
	pid_t pid = getpid();
	uint8_t uuid[16] = {0x47, number, (uint8_t)pid, (uint8_t)(pid >> 8)};
	struct hf_ring_message welcome;

	one->socket = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	HF_ASSERT(connect(one->socket, (struct sockaddr *)&address, sizeof address) == 0);
	HF_ASSERT(hf_shim_memory_open(&one->memory, uuid, 1) == 0);
	send_hello(one, uuid);
	return hear(one, &welcome) && welcome.type == HF_RING_WELCOME && welcome.status == 0;
}

static uint32_t bind_one(struct one *one, uint64_t volume)
{
	struct hf_ring_message message = {.type = HF_RING_BIND, .volume = volume};

	HF_ASSERT(send(one->socket, &message, sizeof message, MSG_NOSIGNAL) ==
		  (ssize_t)sizeof message);
	HF_ASSERT(hear(one, &message) && message.type == HF_RING_BOUND);
	return message.handle;
}

static void keep_all(struct one *one, uint32_t handle, unsigned *kept, unsigned *refused)
{
	for (unsigned i = 0; i < KEEPS; i++)
		hf_shim_memory_place(&one->memory, &(struct hf_ring_submission){
							   .id = i + 1,
							   .op = HF_OP_KEEP,
							   .volume = handle,
							   .data_length = 512,
						   });
	hf_shim_memory_publish(&one->memory);
	hf_shim_memory_wake(&one->memory);
	for (unsigned answers = 0; answers < KEEPS;) {
		struct pollfd wait = {.fd = one->memory.wake_shim_fd, .events = POLLIN};
		int count = hf_shim_memory_completed(&one->memory);
		struct hf_ring_completion completion;

		HF_ASSERT(count > 0 || poll(&wait, 1, WAIT_MS) == 1);
		hf_shim_memory_woken(&one->memory);
		for (; count > 0; count--, answers++) {
			hf_shim_memory_collect(&one->memory, &completion);
			*kept += completion.status == 0;
			*refused += completion.status == HF_EBUSY;
		}
		hf_shim_memory_collected(&one->memory);
	}
}

int main(int argc, char **argv)
{
	unsigned serving = 0, kept = 0, refused = 0;
	struct one *last = NULL;
	char end;

	if (argc != 3)
		return 2;
	signal(SIGPIPE, SIG_IGN);
	snprintf(address.sun_path, sizeof address.sun_path, "%s", argv[1]);
	for (unsigned i = 0; i < CONNECTIONS; i++)
		if (take_connection(&all[i], (uint8_t)i)) {
			last = &all[i];
			serving++;
		}
	HF_ASSERT(last);
	keep_all(last, bind_one(last, strtoull(argv[2], NULL, 16)), &kept, &refused);
	printf("%u %u %u\n", serving, kept, refused);
	fflush(stdout);
	return read(STDIN_FILENO, &end, 1) == 0 ? 0 : 1;
}
