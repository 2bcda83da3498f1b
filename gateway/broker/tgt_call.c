/* See tgt_call.h. The numbers are in the machine's own byte order: it is the same machine. */
#include "gateway/broker/tgt_call.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"

#define NS_PER_MS 1000000ull

/* struct tgtadm_req and struct tgtadm_rsp of tgt 1.0.30 to 1.0.97. */
struct wire_request {
	uint32_t mode, op;
	char driver[64];
	uint32_t length;
	int32_t tid;
	uint64_t sid, lun;
	uint32_t cid, host, device_type, direction, pack, force;
};
HF_STATIC_ASSERT(sizeof(struct wire_request) == 120, "tgtd reads 120 bytes");

struct wire_answer {
	uint32_t error, length;
};

uint64_t hf_tgt_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Waits until the socket can be read or written; 0 or HF_ETIMEDOUT. */
static int wait_for(int fd, short events, uint64_t deadline_ns)
{
	for (;;) {
		struct pollfd poll_fd = {.fd = fd, .events = events};
		uint64_t now_ns = hf_tgt_now_ns();
		int n;

		if (now_ns >= deadline_ns)
			return HF_ETIMEDOUT;
		n = poll(&poll_fd, 1, (int)((deadline_ns - now_ns) / NS_PER_MS) + 1);
		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return HF_EIO;
	}
}

static int connect_to(const char *path, uint64_t deadline_ns)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd;

	if (strlen(path) >= sizeof address.sun_path)
		return HF_EINVAL;
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return HF_ENOMEM;
	while (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
		/* EAGAIN: tgtd's queue of connections is full, it has not come to accept. */
		bool full = errno == EAGAIN || errno == EINTR;
		bool late = hf_tgt_now_ns() >= deadline_ns;

		if (!full || late) {
			close(fd);
			return full ? HF_ETIMEDOUT : HF_ECONN;
		}
		poll(NULL, 0, 5);
	}
	return fd;
}

static int send_all(int fd, const char *bytes, size_t length, uint64_t deadline_ns)
{
	while (length > 0) {
		ssize_t n = send(fd, bytes, length, MSG_NOSIGNAL);
		int err;

		if (n > 0) {
			bytes += n;
			length -= (size_t)n;
			continue;
		}
		if (errno != EAGAIN && errno != EINTR)
			return HF_ECONN;
		err = wait_for(fd, POLLOUT, deadline_ns);
		if (err)
			return err;
	}
	return 0;
}

static int receive_all(int fd, char *bytes, size_t length, uint64_t deadline_ns)
{
	while (length > 0) {
		ssize_t n = recv(fd, bytes, length, 0);
		int err;

		if (n > 0) {
			bytes += n;
			length -= (size_t)n;
			continue;
		}
		/* The end before the answer: tgtd died over the question. */
		if (n == 0 || (errno != EAGAIN && errno != EINTR))
			return HF_ECONN;
		err = wait_for(fd, POLLIN, deadline_ns);
		if (err)
			return err;
	}
	return 0;
}

static int send_request(int fd, const struct hf_tgt_request *request, uint64_t deadline_ns)
{
	struct wire_request wire = {
		.mode = request->mode,
		.op = request->op,
		.driver = "iscsi",
		.tid = request->tid,
		.sid = request->sid,
		.lun = request->lun,
		.cid = request->cid,
		.direction = request->direction,
	};
	size_t length = request->parameters ? strlen(request->parameters) + 1 : 0;
	char bytes[sizeof wire + HF_TGT_PARAMETERS_MAX];
	int err;

	if (length > HF_TGT_PARAMETERS_MAX)
		return HF_ETOOBIG;
	wire.length = (uint32_t)(sizeof wire + length);
	memcpy(bytes, &wire, sizeof wire);
	if (length > 0)
		memcpy(bytes + sizeof wire, request->parameters, length);
	err = send_all(fd, bytes, sizeof wire + length, deadline_ns);
	OPENSSL_cleanse(bytes, sizeof bytes);
	return err;
}

static int receive_answer(int fd, struct hf_tgt_answer *answer, uint64_t deadline_ns)
{
	struct wire_answer wire;
	int err = receive_all(fd, (char *)&wire, sizeof wire, deadline_ns);

	if (err)
		return err;
	if (wire.length < sizeof wire)
		return HF_EPROTO;
	answer->error = wire.error;
	answer->length = wire.length - sizeof wire;
	if (answer->length > HF_TGT_ANSWER_MAX)
		return HF_ETOOBIG;
	if (answer->length == 0)
		return 0;
	answer->text = malloc(answer->length + 1);
	if (!answer->text)
		return HF_ENOMEM;
	answer->text[answer->length] = '\0';
	return receive_all(fd, answer->text, answer->length, deadline_ns);
}

int hf_tgt_call(const char *socket_path, const struct hf_tgt_request *request, uint64_t deadline_ns,
		struct hf_tgt_answer *answer)
{
	struct ucred peer = {.pid = 0};
	socklen_t peer_length = sizeof peer;
	int fd = connect_to(socket_path, deadline_ns), err;

	memset(answer, 0, sizeof *answer);
	if (fd < 0)
		return fd;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &peer_length) == 0)
		answer->pid = peer.pid;
	err = send_request(fd, request, deadline_ns);
	if (err == 0)
		err = receive_answer(fd, answer, deadline_ns);
	close(fd);
	if (err) {
		free(answer->text);
		answer->text = NULL;
		answer->length = 0;
	}
	return err;
}

static const struct {
	uint32_t error;
	int code;
	const char *text;
} errors[] = {
	{HF_TGT_OK, 0, "success"},
	{2, HF_ENOMEM, "tgtd is out of memory"},
	{3, HF_ENOTREADY, "tgtd has no iSCSI driver"},
	{HF_TGT_NO_TARGET, HF_ENOENT, "no such target"},
	{HF_TGT_NO_LUN, HF_ENOENT, "no such LUN"},
	{HF_TGT_NO_SESSION, HF_ENOENT, "no such session"},
	{HF_TGT_NO_CONNECTION, HF_ENOENT, "no such connection"},
	{HF_TGT_TARGET_EXISTS, HF_EEXIST, "the target exists"},
	{HF_TGT_LUN_EXISTS, HF_EEXIST, "the LUN exists"},
	{HF_TGT_ACL_EXISTS, HF_EEXIST, "the access list entry exists"},
	{HF_TGT_NO_ACL, HF_ENOENT, "no such access list entry"},
	{HF_TGT_USER_EXISTS, HF_EEXIST, "the account exists"},
	{HF_TGT_NO_USER, HF_ENOENT, "no such account"},
	{HF_TGT_INVALID, HF_EINVAL, "tgtd refuses the request"},
	{HF_TGT_TARGET_ACTIVE, HF_EBUSY, "the target has sessions"},
	{HF_TGT_LUN_ACTIVE, HF_EBUSY, "the LUN has commands under way"},
};

int hf_tgt_error_code(uint32_t error)
{
	for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++)
		if (errors[i].error == error)
			return errors[i].code;
	return HF_EIO;
}

const char *hf_tgt_error_text(uint32_t error)
{
	for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++)
		if (errors[i].error == error)
			return errors[i].text;
	return "tgtd failed";
}
