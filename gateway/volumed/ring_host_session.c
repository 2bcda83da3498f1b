/* One shim's connection: messages in, messages out, and its end.
 *
 *   GREETING ──HELLO──▶ SERVING ──lost or dropped──▶ DRAINING ──core idle──▶ CLOSING ──▶ freed
 *      └───────────────────────lost──────────────────────────────────────────▲
 *
 * DRAINING: what the core has not logged is cancelled, the rest ends as it would have. Only then
 * are memory and connection given up, so a shim that sees the end of its connection knows that
 * nothing of it can take effect any more, and its volumes can go to another ring. */
#include "gateway/volumed/ring_host_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/ids.h"
#include "base/log.h"

#define MESSAGES_A_TURN 64u
#define FDS_MAX         8u /* descriptors looked at in one message; more are a violation */

/* ---- The end ---- */

static void handle_closed(uv_handle_t *handle)
{
	struct hf_ring_session *session = handle->data;

	HF_CHECK_MAGIC(session, HF_RING_SESSION_MAGIC);
	if (--session->handles_open > 0)
		return;
	if (session->requests) {
		hf_ring_requests_close(session);
		hf_ring_memory_close(&session->memory);
	}
	close(session->socket);
	hf_ring_host_gone(session->host, session);
	free(session->owed);
	session->magic = 0;
	free(session);
}

void hf_ring_session_drained(struct hf_ring_session *session)
{
	HF_ASSERT(session->under_way == 0);
	session->state = HF_RING_CLOSING;
	uv_close((uv_handle_t *)&session->socket_poll, handle_closed);
	if (session->requests)
		uv_close((uv_handle_t *)&session->wake_poll, handle_closed);
}

static void end(struct hf_ring_session *session)
{
	if (session->state >= HF_RING_DRAINING)
		return;
	session->state = HF_RING_DRAINING;
	hf_ring_tier_close(session);
	uv_poll_stop(&session->socket_poll);
	if (session->requests) {
		uv_poll_stop(&session->wake_poll);
		hf_ring_requests_cancel(session);
	}
	if (session->under_way == 0)
		hf_ring_session_drained(session);
}

void hf_ring_session_drop(struct hf_ring_session *session, const char *reason)
{
	if (session->state >= HF_RING_DRAINING)
		return;
	hf_warn("ring dropped: %s pid=%d under_way=%u", reason, (int)session->pid,
		session->under_way);
	end(session);
}

/* ---- Messages out ---- */

static void socket_ready(uv_poll_t *poll, int status, int events);

static bool send_one(struct hf_ring_session *session, const struct hf_ring_message *message)
{
	return send(session->socket, message, sizeof *message, MSG_DONTWAIT | MSG_NOSIGNAL) ==
	       (ssize_t)sizeof *message;
}

static void send_owed(struct hf_ring_session *session)
{
	while (session->owed_count > 0 &&
	       send_one(session, &session->owed[session->owed_first % HF_RING_OWED_MAX])) {
		session->owed_first++;
		session->owed_count--;
	}
	uv_poll_start(&session->socket_poll,
		      UV_READABLE | (session->owed_count > 0 ? UV_WRITABLE : 0), socket_ready);
}

/* Messages keep their order; one that cannot go now waits, within a bound. A broken connection is
 * left to the reading side. */
static void tell(struct hf_ring_session *session, const struct hf_ring_message *message)
{
	if (session->state >= HF_RING_DRAINING)
		return;
	if (session->owed_count == 0 && send_one(session, message))
		return;
	if (session->owed_count == HF_RING_OWED_MAX) {
		hf_ring_session_drop(session, "it does not read its messages");
		return;
	}
	session->owed[(session->owed_first + session->owed_count++) % HF_RING_OWED_MAX] = *message;
	send_owed(session);
}

static uint32_t volume_flags(const struct hf_volume_status *status)
{
	bool ready = status->state == HF_VOLUME_OPENING || status->state == HF_VOLUME_ATTACHED;

	return (status->write_cache ? HF_VOLUME_WRITE_CACHE : 0) |
	       (ready ? 0 : HF_VOLUME_NOT_READY);
}

static void tell_volume(struct hf_ring_session *session, enum hf_ring_message_type type,
			uint32_t handle, const struct hf_volume_status *status)
{
	tell(session, &(struct hf_ring_message){
			      .type = type,
			      .volume = session->bindings[handle].volume,
			      .handle = handle,
			      .flags = volume_flags(status),
			      .size_bytes = status->size_bytes,
		      });
}

void hf_ring_session_bound(struct hf_ring_session *session, uint32_t handle,
			   const struct hf_volume_status *status)
{
	struct hf_ring_binding *binding = &session->bindings[handle];
	char text[HF_ID_TEXT_MAX];

	HF_ASSERT(binding->state == HF_RING_WAITING);
	binding->state = HF_RING_HELD;
	binding->changed = false;
	binding->last_id = 0;
	hf_ring_tier_bound(session, handle);
	hf_info("bound volume=%s handle=%u pid=%d",
		hf_id_format(HF_ID_VOLUME, binding->volume, text), handle, (int)session->pid);
	tell_volume(session, HF_RING_BOUND, handle, status);
}

void hf_ring_session_tell_changes(struct hf_ring_session *session)
{
	for (uint32_t i = 0; i < HF_RING_VOLUMES_MAX && session->state == HF_RING_SERVING; i++) {
		struct hf_ring_binding *binding = &session->bindings[i];
		struct hf_volume_status status = {.state = HF_VOLUME_DETACHED};

		if (binding->state != HF_RING_HELD || !binding->changed)
			continue;
		binding->changed = false;
		hf_ring_requests_unsure(session, i);
		/* An unknown volume has been detached: not ready, of no size. */
		hf_core_volume_status(hf_ring_host_core(session->host), binding->volume, &status);
		tell_volume(session, HF_RING_CHANGED, i, &status);
	}
}

/* ---- Messages in ---- */

static void wake_ready(uv_poll_t *poll, int status, int events)
{
	struct hf_ring_session *session = poll->data;

	HF_CHECK_MAGIC(session, HF_RING_SESSION_MAGIC);
	(void)events;
	if (status < 0 || !hf_ring_memory_woken(&session->memory)) {
		hf_ring_session_drop(session, "its wake-up is no eventfd");
		return;
	}
	hf_ring_requests_take(session);
}

static void close_all(const int *fds, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		close(fds[i]);
}

/* Starts to serve; on failure everything of HELLO is undone and the status goes to the shim. */
static int open_ring(struct hf_ring_session *session, const struct hf_ring_message *hello,
		     const int fds[3], struct hf_errmsg *message)
{
	int err;

	memcpy(session->uuid, hello->uuid, 16);
	err = hf_ring_memory_open(&session->memory, fds, hello->uuid, message);
	if (err)
		return err;
	if (uv_poll_init(hf_ring_host_loop(session->host), &session->wake_poll,
			 session->memory.wake_fd) != 0) {
		err = hf_fail(message, HF_EPROTO, "its wake-up cannot be polled");
		goto err_after_memory;
	}
	session->wake_poll.data = session;
	session->handles_open++;
	err = hf_ring_requests_open(session);
	if (err)
		goto err_after_poll;
	err = hf_ring_host_greet(session->host, session);
	if (err) {
		hf_fail(message, err, "its ring is another process's");
		goto err_after_requests;
	}
	uv_poll_start(&session->wake_poll, UV_READABLE, wake_ready);
	session->state = HF_RING_SERVING;
	return 0;

err_after_requests:
	hf_ring_requests_close(session);
err_after_poll:
	uv_close((uv_handle_t *)&session->wake_poll, handle_closed);
err_after_memory:
	hf_ring_memory_close(&session->memory);
	return err;
}

static void hello(struct hf_ring_session *session, const struct hf_ring_message *message,
		  const int *fds, unsigned fd_count)
{
	struct hf_errmsg reason;
	int err;

	if (fd_count != 3 || hf_is_zero(message->uuid, 16)) {
		close_all(fds, fd_count);
		hf_ring_session_drop(session, "its greeting lacks descriptors or a name");
		return;
	}
	err = open_ring(session, message, fds, &reason);
	if (err)
		memset(session->uuid, 0, sizeof session->uuid);
	tell(session, &(struct hf_ring_message){.type = HF_RING_WELCOME, .status = err});
	if (err) {
		hf_ring_session_drop(session, reason.text);
		return;
	}
	hf_info("ring opened pid=%d", (int)session->pid);
	if (message->flags & HF_RING_TAKES_TIER)
		hf_ring_tier_open(session);
}

static struct hf_ring_binding *binding_of(struct hf_ring_session *session, uint64_t volume)
{
	for (unsigned i = 0; i < HF_RING_VOLUMES_MAX; i++) {
		if (session->bindings[i].state != HF_RING_UNUSED &&
		    session->bindings[i].volume == volume)
			return &session->bindings[i];
	}
	return NULL;
}

static void bind_volume(struct hf_ring_session *session, uint64_t volume)
{
	if (volume == 0 || binding_of(session, volume)) {
		hf_ring_session_drop(session, "it binds a volume twice");
		return;
	}
	for (unsigned i = 0; i < HF_RING_VOLUMES_MAX; i++) {
		struct hf_ring_binding *binding = &session->bindings[i];

		if (binding->state != HF_RING_UNUSED)
			continue;
		*binding = (struct hf_ring_binding){.state = HF_RING_WAITING, .volume = volume};
		hf_list_init(&binding->unsure);
		hf_ring_host_bind(session->host);
		return;
	}
	hf_ring_session_drop(session, "it binds too many volumes");
}

static void unbind_volume(struct hf_ring_session *session, uint64_t volume)
{
	struct hf_ring_binding *binding = binding_of(session, volume);

	if (!binding || binding->under_way > 0) {
		hf_ring_session_drop(session, "it unbinds a volume that is unknown or in use");
		return;
	}
	hf_ring_tier_unbound(session, (uint32_t)(binding - session->bindings));
	hf_ring_requests_unsure(session, (uint32_t)(binding - session->bindings));
	hf_list_remove(&binding->unsure);
	if (binding->state == HF_RING_HELD)
		hf_list_remove(&binding->held);
	*binding = (struct hf_ring_binding){0};
	hf_ring_host_unbound(session->host, session, volume);
	tell(session, &(struct hf_ring_message){.type = HF_RING_UNBOUND, .volume = volume});
	hf_ring_host_bind(session->host);
}

static void dispatch(struct hf_ring_session *session, const struct hf_ring_message *message,
		     const int *fds, unsigned fd_count)
{
	if (session->state == HF_RING_GREETING && message->type == HF_RING_HELLO) {
		hello(session, message, fds, fd_count);
		return;
	}
	close_all(fds, fd_count);
	if (session->state != HF_RING_SERVING || fd_count > 0) {
		hf_ring_session_drop(session, "a message out of place");
		return;
	}
	switch (message->type) {
	case HF_RING_BIND:
		bind_volume(session, message->volume);
		return;
	case HF_RING_UNBIND:
		hf_ring_requests_take(session); /* submitted before, so it counts before */
		if (session->state == HF_RING_SERVING)
			unbind_volume(session, message->volume);
		return;
	case HF_RING_RESUME:
		hf_info("ring resumed pid=%d", (int)session->pid);
		return;
	default:
		hf_ring_session_drop(session, "an unknown message");
	}
}

static unsigned take_fds(struct msghdr *header, int fds[FDS_MAX])
{
	unsigned count = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c; c = CMSG_NXTHDR(header, c)) {
		size_t bytes = c->cmsg_len - CMSG_LEN(0);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		memcpy(&fds[count], CMSG_DATA(c), bytes);
		count += (unsigned)(bytes / sizeof(int));
	}
	return count;
}

/* One message; false when there is none, or the session is over. */
static bool receive(struct hf_ring_session *session)
{
	struct hf_ring_message message = {0};
	struct iovec iov = {&message, sizeof message};
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
	} control;
	struct msghdr header = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof control,
	};
	ssize_t got = recvmsg(session->socket, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	int fds[FDS_MAX];
	unsigned fd_count;

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (got <= 0) {
		hf_info("ring lost pid=%d under_way=%u", (int)session->pid, session->under_way);
		end(session);
		return false;
	}
	fd_count = take_fds(&header, fds);
	if (got != (ssize_t)sizeof message || (header.msg_flags & (MSG_TRUNC | MSG_CTRUNC))) {
		close_all(fds, fd_count);
		hf_ring_session_drop(session, "a message of another size");
		return false;
	}
	dispatch(session, &message, fds, fd_count);
	return session->state < HF_RING_DRAINING;
}

static void socket_ready(uv_poll_t *poll, int status, int events)
{
	struct hf_ring_session *session = poll->data;

	HF_CHECK_MAGIC(session, HF_RING_SESSION_MAGIC);
	if (status < 0) {
		end(session);
		return;
	}
	if (events & UV_WRITABLE)
		send_owed(session);
	for (unsigned i = 0; (events & UV_READABLE) && i < MESSAGES_A_TURN; i++) {
		if (!receive(session))
			break;
	}
}

int hf_ring_session_accept(struct hf_ring_host *host, int socket, pid_t pid, int tgtd)
{
	struct hf_ring_session *session = calloc(1, sizeof *session);

	if (!session)
		return HF_ENOMEM;
	session->owed = calloc(HF_RING_OWED_MAX, sizeof *session->owed);
	if (!session->owed ||
	    uv_poll_init(hf_ring_host_loop(host), &session->socket_poll, socket) != 0) {
		free(session->owed);
		free(session);
		return HF_ENOMEM;
	}
	session->magic = HF_RING_SESSION_MAGIC;
	session->state = HF_RING_GREETING;
	session->host = host;
	session->socket = socket;
	session->pid = pid;
	session->tgtd = tgtd;
	session->memory.wake_fd = -1;
	session->socket_poll.data = session;
	session->handles_open = 1;
	hf_list_init(&session->link);
	uv_poll_start(&session->socket_poll, UV_READABLE, socket_ready);
	return hf_ring_host_accepted(host, session);
}
