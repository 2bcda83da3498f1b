/* hf_local_ask of net/local.h: one question for a command line, blocking with a deadline. */
#include "net/local.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "net/local_frame.h"

#define QUESTION_NUMBER 1u

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static int wait_for(int fd, short events, uint64_t until_ms)
{
	struct pollfd poller = {.fd = fd, .events = events};
	uint64_t at = now_ms();
	int ready;

	if (at >= until_ms)
		return HF_ETIMEDOUT;
	ready = poll(&poller, 1, until_ms - at > 3600000 ? 3600000 : (int)(until_ms - at));
	if (ready < 0 && errno != EINTR)
		return HF_ECONN;
	return 0;
}

static int write_all(int fd, const uint8_t *bytes, size_t length, uint64_t until_ms)
{
	ssize_t n;
	int err;

	while (length) {
		n = send(fd, bytes, length, MSG_NOSIGNAL);
		if (n >= 0) {
			bytes += n;
			length -= (size_t)n;
		} else if (errno != EAGAIN && errno != EINTR) {
			return HF_ECONN;
		} else if ((err = wait_for(fd, POLLOUT, until_ms)) != 0) {
			return err;
		}
	}
	return 0;
}

static int read_answer(int fd, uint64_t until_ms, uint8_t **answer, size_t *answer_length)
{
	struct hf_local_buffer input = {0};
	const uint8_t *bytes;
	uint8_t chunk[16384];
	uint32_t number;
	ssize_t n;
	int err = 0, found;

	while (!err) {
		found = hf_local_buffer_next(&input, &number, &bytes, answer_length);
		if (found == 1 && number == QUESTION_NUMBER)
			break;
		n = found == 0 ? recv(fd, chunk, sizeof chunk, 0) : 0;
		if (found < 0)
			err = HF_EPROTO;
		else if (n > 0)
			err = hf_local_buffer_append(&input, chunk, (size_t)n);
		else if (found == 0 && (n == 0 || (errno != EAGAIN && errno != EINTR)))
			err = HF_ECONN;
		else if (found == 0)
			err = wait_for(fd, POLLIN, until_ms);
	}
	if (!err) {
		*answer = malloc(*answer_length + 1);
		if (*answer)
			memcpy(*answer, bytes, *answer_length);
		else
			err = HF_ENOMEM;
	}
	hf_local_buffer_free(&input);
	return err;
}

static int connect_to(const char *path, uint64_t until_ms, int *out)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return hf_err_from_errno(errno);
	memcpy(address.sun_path, path, strlen(path) + 1);
	while (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
		/* EAGAIN: the backlog is full; there is nothing to poll on, so look again. */
		if (errno != EAGAIN || now_ms() >= until_ms) {
			int err = errno == EACCES ? HF_EACCES : HF_ECONN;

			close(fd);
			return err;
		}
		poll(NULL, 0, 5);
	}
	*out = fd;
	return 0;
}

int hf_local_ask(const char *path, const uint8_t *bytes, size_t length, uint64_t deadline_ms,
		 uint8_t **answer, size_t *answer_length, struct hf_errmsg *message)
{
	uint64_t until_ms = now_ms() + deadline_ms;
	uint8_t *frame;
	int fd = -1, err;

	if (strlen(path) >= sizeof((struct sockaddr_un *)0)->sun_path)
		return hf_fail(message, HF_EINVAL, "%s: a socket's path has at most 107 bytes",
			       path);
	if (length > HF_LOCAL_FRAME_MAX)
		return hf_fail(message, HF_ETOOBIG, "%s: the request is too big", path);
	frame = hf_local_frame_make(QUESTION_NUMBER, bytes, length);
	if (!frame)
		return hf_fail(message, HF_ENOMEM, "%s: out of memory", path);
	err = connect_to(path, until_ms, &fd);
	if (!err) {
		err = write_all(fd, frame, HF_LOCAL_HEADER_BYTES + length, until_ms);
		if (!err)
			err = read_answer(fd, until_ms, answer, answer_length);
		close(fd);
	}
	hf_local_frame_free(frame, length);
	return err ? hf_fail(message, err, "%s: %s", path, hf_err_text(err)) : 0;
}
