/* The client of net/local.h, on its loop's thread. A call belongs to the client until it was
 * answered; each connection is an object of its own (`wire`), because a libuv handle must outlive
 * its close, and the client may have connected anew by then.
 *
 * Calls made while nothing is connected wait for the connection; when it fails or is lost, every
 * call that waits ends with HF_ECONN. The one who asked knows whether asking again is right. */
#include "net/local.h"

#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/list.h"
#include "base/log.h"
#include "net/local_frame.h"

#define CLIENT_MAGIC 0x4c434c49u
#define WIRE_MAGIC   0x4c574952u
#define CALLS_MAX    1024u
#define READ_BYTES   65536u

struct call {
	struct hf_list link;
	uint32_t number;
	uint64_t due_ms; /* on the clock of uv_now */
	int due_status;  /* what it ends with then */
	uint8_t *frame;  /* until it is handed to the wire */
	size_t length;   /* of the question in it */
	void (*answered)(void *context, int status, const uint8_t *bytes, size_t length);
	void *context;
};

struct wire {
	uint32_t magic;
	struct hf_local_client *client; /* NULL once the client let go of it */
	uv_pipe_t pipe;
	uv_connect_t connect;
	bool connected;
	struct hf_local_buffer input;
	char read_buffer[READ_BYTES];
};

struct hf_local_client {
	uint32_t magic;
	uv_loop_t *loop;
	char path[sizeof((struct sockaddr_un *)0)->sun_path];
	struct wire *wire; /* NULL: not connected and not connecting */
	struct hf_list calls;
	unsigned call_count;
	uint32_t last_number;
	uv_timer_t timer;
	bool closing, choosy;
	uid_t trusted; /* if choosy */
	void (*closed)(void *context);
	void *closed_context;
};

struct question {
	uv_write_t write;
	uint8_t *frame;
	size_t length;
};

static void call_end(struct hf_local_client *client, struct call *call, int status,
		     const uint8_t *bytes, size_t length)
{
	hf_list_remove(&call->link);
	client->call_count--;
	call->answered(call->context, status, bytes, length);
	hf_local_frame_free(call->frame, call->length);
	free(call);
}

static void on_wire_closed(uv_handle_t *handle)
{
	struct wire *wire = handle->data;

	HF_CHECK_MAGIC(wire, WIRE_MAGIC);
	hf_local_buffer_free(&wire->input);
	wire->magic = 0;
	free(wire);
}

static void drop_wire(struct hf_local_client *client)
{
	struct wire *wire = client->wire;

	if (!wire)
		return;
	client->wire = NULL;
	wire->client = NULL;
	uv_close((uv_handle_t *)&wire->pipe, on_wire_closed);
}

/* Ends the calls that wait now; those that callbacks make meanwhile are for the next connection. */
static void lose_wire(struct hf_local_client *client)
{
	struct hf_list lost;

	drop_wire(client);
	hf_list_init(&lost);
	hf_list_splice_back(&lost, &client->calls);
	while (!hf_list_empty(&lost))
		call_end(client, hf_container_of(lost.next, struct call, link), HF_ECONN, NULL, 0);
}

static struct call *find_call(struct hf_local_client *client, uint32_t number)
{
	hf_list_for_each (at, &client->calls)
		if (hf_container_of(at, struct call, link)->number == number)
			return hf_container_of(at, struct call, link);
	return NULL;
}

static void handle_input(struct wire *wire)
{
	const uint8_t *bytes;
	struct call *call;
	uint32_t number;
	size_t length;
	int found;

	/* A callback may close the client, which lets go of the wire. */
	while (wire->client) {
		found = hf_local_buffer_next(&wire->input, &number, &bytes, &length);
		if (found < 0)
			lose_wire(wire->client);
		if (found != 1)
			return;
		call = find_call(wire->client, number);
		if (call && !call->frame)
			call_end(wire->client, call, 0, bytes, length);
	}
}

static void on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
	struct wire *wire = handle->data;

	(void)suggested;
	*buffer = uv_buf_init(wire->read_buffer, READ_BYTES);
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer)
{
	struct wire *wire = stream->data;

	HF_CHECK_MAGIC(wire, WIRE_MAGIC);
	if (!wire->client || count == 0)
		return;
	if (count < 0 || hf_local_buffer_append(&wire->input, (const uint8_t *)buffer->base,
						(size_t)count) != 0) {
		lose_wire(wire->client);
		return;
	}
	handle_input(wire);
}

static void on_question_written(uv_write_t *write, int status)
{
	struct question *question = hf_container_of(write, struct question, write);

	(void)status; /* a failed write is seen by the reader as well */
	hf_local_frame_free(question->frame, question->length);
	free(question);
}

static int send_question(struct wire *wire, struct call *call)
{
	struct question *question = calloc(1, sizeof *question);
	uv_buf_t buffer =
		uv_buf_init((char *)call->frame, (unsigned)(HF_LOCAL_HEADER_BYTES + call->length));

	if (!question)
		return HF_ENOMEM;
	question->frame = call->frame;
	question->length = call->length;
	if (uv_write(&question->write, (uv_stream_t *)&wire->pipe, &buffer, 1,
		     on_question_written) != 0) {
		free(question);
		return HF_ECONN;
	}
	call->frame = NULL;
	return 0;
}

void hf_local_client_trust(struct hf_local_client *client, uid_t uid)
{
	HF_CHECK_MAGIC(client, CLIENT_MAGIC);
	client->choosy = true;
	client->trusted = uid;
}

static bool is_trusted(const struct hf_local_client *client, const struct wire *wire)
{
	struct ucred peer;
	socklen_t length = sizeof peer;
	uv_os_fd_t fd;

	if (!client->choosy)
		return true;
	if (uv_fileno((const uv_handle_t *)&wire->pipe, &fd) != 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0)
		return false;
	if (peer.uid == 0 || peer.uid == geteuid() || peer.uid == client->trusted)
		return true;
	hf_warn("%s is served by uid %u, which is not the one expected", client->path,
		(unsigned)peer.uid);
	return false;
}

static void on_connect(uv_connect_t *connect, int status)
{
	struct wire *wire = hf_container_of(connect, struct wire, connect);
	struct hf_local_client *client = wire->client;
	int err = 0;

	HF_CHECK_MAGIC(wire, WIRE_MAGIC);
	if (!client)
		return;
	if (status != 0 || !is_trusted(client, wire) ||
	    uv_read_start((uv_stream_t *)&wire->pipe, on_allocate, on_read) != 0) {
		lose_wire(client);
		return;
	}
	wire->connected = true;
	hf_list_for_each (at, &client->calls) {
		struct call *call = hf_container_of(at, struct call, link);

		if (call->frame && !err)
			err = send_question(wire, call);
	}
	if (err)
		lose_wire(client);
}

static int start_connecting(struct hf_local_client *client)
{
	struct wire *wire = calloc(1, sizeof *wire);

	if (!wire)
		return HF_ENOMEM;
	wire->magic = WIRE_MAGIC;
	wire->client = client;
	wire->pipe.data = wire;
	uv_pipe_init(client->loop, &wire->pipe, 0);
	client->wire = wire;
	uv_pipe_connect(&wire->connect, &wire->pipe, client->path, on_connect);
	return 0;
}

/* ---- Deadlines ---- */

static void arm_timer(struct hf_local_client *client);

static void on_timer(uv_timer_t *timer)
{
	struct hf_local_client *client = timer->data;
	uint64_t now_ms = uv_now(client->loop);
	struct hf_list due;

	HF_CHECK_MAGIC(client, CLIENT_MAGIC);
	hf_list_init(&due);
	hf_list_for_each_safe (at, &client->calls) {
		if (hf_container_of(at, struct call, link)->due_ms > now_ms)
			continue;
		hf_list_remove(at);
		hf_list_push_back(&due, at);
	}
	while (!hf_list_empty(&due)) {
		struct call *call = hf_container_of(due.next, struct call, link);

		call_end(client, call, call->due_status, NULL, 0);
	}
	arm_timer(client);
}

static void arm_timer(struct hf_local_client *client)
{
	uint64_t now_ms = uv_now(client->loop), due_ms = UINT64_MAX;

	if (client->closing)
		return;
	hf_list_for_each (at, &client->calls) {
		struct call *call = hf_container_of(at, struct call, link);

		if (call->due_ms < due_ms)
			due_ms = call->due_ms;
	}
	if (due_ms == UINT64_MAX)
		uv_timer_stop(&client->timer);
	else
		uv_timer_start(&client->timer, on_timer, due_ms > now_ms ? due_ms - now_ms : 0, 0);
}

/* ---- The public face ---- */

static void call_start(struct hf_local_client *client, struct call *call, const uint8_t *bytes,
		       size_t length)
{
	int err = 0;

	call->frame = hf_local_frame_make(call->number, bytes, length);
	call->length = length;
	if (!call->frame)
		err = length > HF_LOCAL_FRAME_MAX ? HF_ETOOBIG : HF_ENOMEM;
	else if (client->call_count > CALLS_MAX)
		err = HF_EBUSY;
	else if (!client->wire)
		err = start_connecting(client);
	else if (client->wire->connected)
		err = send_question(client->wire, call);
	if (err) {
		/* The answer must come later, never from inside the call. */
		call->due_ms = uv_now(client->loop);
		call->due_status = err;
	}
}

void hf_local_call(struct hf_local_client *client, const uint8_t *bytes, size_t length,
		   uint64_t deadline_ms,
		   void (*answered)(void *context, int status, const uint8_t *bytes, size_t length),
		   void *context)
{
	struct call *call;

	HF_CHECK_MAGIC(client, CLIENT_MAGIC);
	HF_ASSERT(!client->closing);
	call = calloc(1, sizeof *call);
	HF_ASSERT(call); /* without it there is no way to answer later */
	call->number = ++client->last_number;
	call->answered = answered;
	call->context = context;
	call->due_ms = uv_now(client->loop) + deadline_ms;
	call->due_status = HF_ETIMEDOUT;
	hf_list_push_back(&client->calls, &call->link);
	client->call_count++;
	call_start(client, call, bytes, length);
	arm_timer(client);
}

int hf_local_client_open(uv_loop_t *loop, const char *path, struct hf_local_client **out)
{
	struct hf_local_client *client;

	if (strlen(path) >= sizeof client->path)
		return HF_EINVAL;
	client = calloc(1, sizeof *client);
	if (!client)
		return HF_ENOMEM;
	client->magic = CLIENT_MAGIC;
	client->loop = loop;
	memcpy(client->path, path, strlen(path) + 1);
	hf_list_init(&client->calls);
	client->timer.data = client;
	uv_timer_init(loop, &client->timer);
	*out = client;
	return 0;
}

static void on_client_closed(uv_handle_t *handle)
{
	struct hf_local_client *client = handle->data;

	HF_CHECK_MAGIC(client, CLIENT_MAGIC);
	while (!hf_list_empty(&client->calls))
		call_end(client, hf_container_of(client->calls.next, struct call, link),
			 HF_ECANCELED, NULL, 0);
	if (client->closed)
		client->closed(client->closed_context);
	client->magic = 0;
	free(client);
}

void hf_local_client_close(struct hf_local_client *client, void (*closed)(void *), void *context)
{
	HF_CHECK_MAGIC(client, CLIENT_MAGIC);
	HF_ASSERT(!client->closing);
	client->closing = true;
	client->closed = closed;
	client->closed_context = context;
	drop_wire(client);
	uv_close((uv_handle_t *)&client->timer, on_client_closed);
}
