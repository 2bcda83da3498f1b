/* SPDX-License-Identifier: GPL-2.0-only
 * Part of the Holdfast backing store, which tgtd loads; see docs/LICENSING.md. */
/* The shim's connection to volumed: comes, goes and comes again; the states are drawn in
 * ring_client_impl.h. Each session has new memory, the ring's name and the requests' ids stay. */
#include "target/ring_client_impl.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"

#define MESSAGES_A_TURN 64u

/* ---- The end of a session ---- */

static void release_session(struct hf_shim *shim)
{
	shim->loop->unwatch(shim->socket);
	if (shim->state == HF_SHIM_SERVING)
		shim->loop->unwatch(shim->memory.wake_shim_fd);
	close(shim->socket);
	shim->socket = -1;
	hf_shim_tier_close(&shim->tier);
	hf_shim_memory_close(&shim->memory);
	shim->state = HF_SHIM_AWAY;
	shim->leaving_count = 0;
}

/* volumed has ended the connection: by its death, or after it had drained what was under way. */
static void session_ended(struct hf_shim *shim)
{
	if (shim->state == HF_SHIM_SERVING) {
		/* What it answered before its end counts. */
		hf_shim_requests_collect(shim);
		hf_warn("volumed went away: %u requests wait for its return", shim->flying);
	}
	release_session(shim);
	hf_shim_requests_lost(shim);
	hf_shim_session_tick(shim);
}

void hf_shim_session_hang_up(struct hf_shim *shim, const char *reason)
{
	hf_error("%s: connecting anew", reason);
	if (shim->state == HF_SHIM_SERVING)
		shim->loop->unwatch(shim->memory.wake_shim_fd);
	shim->state = HF_SHIM_HUNG_UP;
	shutdown(shim->socket, SHUT_WR);
}

/* ---- Messages out ---- */

static bool send_message(struct hf_shim *shim, const struct hf_ring_message *message)
{
	return send(shim->socket, message, sizeof *message, MSG_DONTWAIT | MSG_NOSIGNAL) ==
	       (ssize_t)sizeof *message;
}

static bool send_hello(struct hf_shim *shim)
{
	struct hf_ring_message hello = {.type = HF_RING_HELLO, .flags = HF_RING_TAKES_TIER};
	struct iovec iov = {&hello, sizeof hello};
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(3 * sizeof(int))];
	} control = {0};
	struct msghdr header = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof control,
	};
	int fds[3] = {shim->memory.memfd, shim->memory.wake_volumed_fd, shim->memory.wake_shim_fd};

	memcpy(hello.uuid, shim->uuid, 16);
	control.header.cmsg_level = SOL_SOCKET;
	control.header.cmsg_type = SCM_RIGHTS;
	control.header.cmsg_len = CMSG_LEN(sizeof fds);
	memcpy(CMSG_DATA(&control.header), fds, sizeof fds);
	return sendmsg(shim->socket, &header, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)sizeof hello;
}

static bool is_leaving(const struct hf_shim *shim, uint64_t volume)
{
	for (unsigned i = 0; i < shim->leaving_count; i++) {
		if (shim->leaving[i] == volume)
			return true;
	}
	return false;
}

/* What cannot be sent now is tried again by the next tick. */
static void bind_all(struct hf_shim *shim)
{
	hf_shim_for_each_lun(lun, shim)
	{
		struct hf_ring_message bind = {.type = HF_RING_BIND, .volume = lun->volume};

		if (lun->state != HF_SHIM_UNBOUND || is_leaving(shim, lun->volume))
			continue;
		if (!send_message(shim, &bind))
			return;
		lun->state = HF_SHIM_ASKED;
	}
}

void hf_shim_session_unbind(struct hf_shim *shim, uint64_t volume)
{
	struct hf_ring_message unbind = {.type = HF_RING_UNBIND, .volume = volume};

	HF_ASSERT(shim->state == HF_SHIM_SERVING || shim->state == HF_SHIM_HUNG_UP);
	if (shim->state != HF_SHIM_SERVING)
		return;
	if (shim->leaving_count == HF_RING_VOLUMES_MAX || !send_message(shim, &unbind)) {
		hf_shim_session_hang_up(shim, "volumed does not take messages");
		return;
	}
	shim->leaving[shim->leaving_count++] = volume;
}

void hf_shim_session_resumed(struct hf_shim *shim)
{
	struct hf_ring_message resume = {.type = HF_RING_RESUME};

	if (shim->resumed || shim->state != HF_SHIM_SERVING)
		return;
	hf_shim_for_each_lun(lun, shim)
	{
		if (lun->state != HF_SHIM_BOUND || !hf_list_empty(&lun->resubmit))
			return;
	}
	shim->resumed = send_message(shim, &resume);
}

/* ---- Messages in ---- */

static void wake_ready(int fd, int events, void *data)
{
	struct hf_shim *shim = data;

	(void)fd;
	(void)events;
	HF_CHECK_MAGIC(shim, HF_SHIM_MAGIC);
	hf_shim_memory_woken(&shim->memory);
	hf_shim_requests_collect(shim);
}

static void welcome(struct hf_shim *shim, const struct hf_ring_message *message)
{
	if (message->status != 0) {
		if (!shim->away_logged)
			hf_error("volumed refuses the ring: %s", hf_err_text(message->status));
		shim->away_logged = true;
		return; /* it ends the connection */
	}
	if (shim->loop->watch(shim->memory.wake_shim_fd, EPOLLIN, wake_ready, shim) != 0) {
		hf_shim_session_hang_up(shim, "no memory to watch the ring");
		return;
	}
	hf_info("volumed is there");
	shim->away_logged = false;
	shim->state = HF_SHIM_SERVING;
	shim->resumed = false;
	bind_all(shim);
}

static struct hf_shim_lun *lun_asked(struct hf_shim *shim, uint64_t volume)
{
	if (is_leaving(shim, volume))
		return NULL;
	hf_shim_for_each_lun(lun, shim)
	{
		if (lun->volume == volume)
			return lun;
	}
	return NULL;
}

static void tell_owner(const struct hf_shim_lun *lun, const struct hf_ring_message *message)
{
	if (!lun->closed)
		lun->changed(lun->owner, message->size_bytes, message->flags);
}

static void bound(struct hf_shim *shim, const struct hf_ring_message *message)
{
	struct hf_shim_lun *lun = lun_asked(shim, message->volume);

	if (!lun)
		return; /* closed meanwhile */
	if (lun->state != HF_SHIM_ASKED) {
		hf_shim_session_hang_up(shim, "volumed bound what was not asked for");
		return;
	}
	lun->handle = message->handle;
	hf_shim_tier_begin(&shim->tier, lun->handle);
	lun->state = HF_SHIM_BOUND;
	tell_owner(lun, message);
	hf_shim_pump_all(shim);
}

static void unbound(struct hf_shim *shim, uint64_t volume)
{
	for (unsigned i = 0; i < shim->leaving_count; i++) {
		if (shim->leaving[i] == volume) {
			shim->leaving[i] = shim->leaving[--shim->leaving_count];
			break;
		}
	}
	bind_all(shim);
}

/* Without it everything works as well, only slower. */
static void take_tier(struct hf_shim *shim, int fd)
{
	int err = shim->tier.base ? HF_EPROTO : HF_EINVAL;

	if (fd >= 0 && !shim->tier.base)
		err = hf_shim_tier_open(&shim->tier, fd, shim->memory.base);
	if (err)
		hf_warn("volumed's memory tier is not used: %s", hf_err_text(err));
}

static void dispatch(struct hf_shim *shim, const struct hf_ring_message *message, int fd)
{
	struct hf_shim_lun *lun;

	if (shim->state == HF_SHIM_GREETED && message->type == HF_RING_WELCOME) {
		welcome(shim, message);
		return;
	}
	if (shim->state != HF_SHIM_SERVING)
		return;
	switch (message->type) {
	case HF_RING_BOUND:
		bound(shim, message);
		return;
	case HF_RING_UNBOUND:
		unbound(shim, message->volume);
		return;
	case HF_RING_TIER:
		take_tier(shim, fd);
		return;
	case HF_RING_CHANGED:
		lun = lun_asked(shim, message->volume);
		if (lun)
			tell_owner(lun, message);
		return;
	default:
		hf_shim_session_hang_up(shim, "volumed sent an unknown message");
	}
}

/* One message, and the descriptor that came with it or -1, which is the caller's to close. */
static ssize_t receive(int socket, struct hf_ring_message *message, int *fd)
{
	struct iovec iov = {message, sizeof *message};
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct msghdr header = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof control,
	};
	ssize_t got = recvmsg(socket, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	struct cmsghdr *first = got >= 0 ? CMSG_FIRSTHDR(&header) : NULL;

	*fd = -1;
	if (first && first->cmsg_level == SOL_SOCKET && first->cmsg_type == SCM_RIGHTS &&
	    first->cmsg_len == CMSG_LEN(sizeof *fd))
		memcpy(fd, CMSG_DATA(first), sizeof *fd);
	return got;
}

static void socket_ready(int fd, int events, void *data)
{
	struct hf_shim *shim = data;

	(void)events;
	HF_CHECK_MAGIC(shim, HF_SHIM_MAGIC);
	for (unsigned i = 0; i < MESSAGES_A_TURN; i++) {
		struct hf_ring_message message;
		int passed_fd;
		ssize_t got = receive(fd, &message, &passed_fd);

		if (got < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (got <= 0) {
			session_ended(shim);
			return;
		}
		if (got == (ssize_t)sizeof message)
			dispatch(shim, &message, passed_fd);
		else if (shim->state != HF_SHIM_HUNG_UP)
			hf_shim_session_hang_up(shim, "volumed sent a message of another size");
		if (passed_fd >= 0)
			close(passed_fd);
	}
}

/* ---- Connecting ---- */

static void connect_now(struct hf_shim *shim)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return;
	shim->address.sun_family = AF_UNIX;
	if (connect(fd, (struct sockaddr *)&shim->address, sizeof shim->address) != 0) {
		if (!shim->away_logged)
			hf_warn("%s: %s: waiting for volumed", shim->address.sun_path,
				strerror(errno));
		shim->away_logged = true;
		goto err_after_socket;
	}
	if (hf_shim_memory_open(&shim->memory, shim->uuid, hf_shim_oldest(shim)) != 0)
		goto err_after_socket;
	shim->socket = fd;
	if (!send_hello(shim) || shim->loop->watch(fd, EPOLLIN, socket_ready, shim) != 0)
		goto err_after_memory;
	shim->state = HF_SHIM_GREETED;
	return;

err_after_memory:
	hf_shim_memory_close(&shim->memory);
	shim->socket = -1;
err_after_socket:
	close(fd);
}

void hf_shim_session_advance(struct hf_shim *shim)
{
	hf_shim_session_tick(shim);
	if (shim->state == HF_SHIM_AWAY && shim->lun_count > 0)
		connect_now(shim);
	else if (shim->state == HF_SHIM_SERVING)
		bind_all(shim);
}

/* ---- The timer ---- */

static bool has_to_wait(const struct hf_shim *shim)
{
	return !hf_list_empty(&shim->aged) ||
	       (shim->lun_count > 0 && (shim->state != HF_SHIM_SERVING || !shim->resumed));
}

/* Faster while volumed is away: initiators wait for it. */
static void set_timer(struct hf_shim *shim, bool on)
{
	uint32_t tick_ms = shim->state == HF_SHIM_AWAY ? HF_SHIM_AWAY_TICK_MS : HF_SHIM_TICK_MS;
	struct timespec period = {.tv_nsec = on ? tick_ms * 1000000l : 0};
	struct itimerspec spec = {.it_interval = period, .it_value = period};

	if (!on)
		tick_ms = 0;
	if (shim->tick_ms == tick_ms)
		return;
	shim->tick_ms = tick_ms;
	timerfd_settime(shim->timer_fd, 0, &spec, NULL);
}

void hf_shim_session_tick(struct hf_shim *shim)
{
	set_timer(shim, true);
}

static void tick(int fd, int events, void *data)
{
	struct hf_shim *shim = data;
	uint64_t count;

	(void)events;
	HF_CHECK_MAGIC(shim, HF_SHIM_MAGIC);
	if (read(fd, &count, sizeof count) != (ssize_t)sizeof count)
		return;
	hf_shim_requests_expire(shim);
	hf_shim_session_advance(shim);
	hf_shim_session_resumed(shim);
	set_timer(shim, has_to_wait(shim));
}

int hf_shim_session_open(struct hf_shim *shim)
{
	shim->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (shim->timer_fd < 0)
		return HF_ENOMEM;
	if (shim->loop->watch(shim->timer_fd, EPOLLIN, tick, shim) != 0) {
		close(shim->timer_fd);
		return HF_ENOMEM;
	}
	return 0;
}

void hf_shim_session_close(struct hf_shim *shim)
{
	if (shim->state != HF_SHIM_AWAY)
		release_session(shim);
	shim->loop->unwatch(shim->timer_fd);
	close(shim->timer_fd);
}
