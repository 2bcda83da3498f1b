/* The server of net/local.h, on its loop's thread. The server owns its connections; a request owns
 * itself from the question to the reply, and only remembers its connection as long as that lives.
 *
 * What a peer can make the server hold is bounded: a request counts against its connection until
 * its answer is written out, and past requests_max nothing more is read. */
#include "net/local.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/list.h"
#include "net/local_frame.h"

#define SERVER_MAGIC            0x4c535256u
#define CONNECTION_MAGIC        0x4c434f4eu
#define REQUEST_MAGIC           0x4c524551u
#define CONNECTIONS_MAX_DEFAULT 64u
#define REQUESTS_MAX_DEFAULT    64u
#define READ_BYTES              65536u

struct hf_local_server {
	uint32_t magic;
	struct hf_local_server_config config;
	uv_pipe_t listener;
	struct hf_list connections;
	unsigned connection_count;
	bool closing, listener_closed;
	void (*closed)(void *);
	void *closed_context;
	char read_buffer[READ_BYTES]; /* one read is handled before the next one starts */
};

struct connection {
	uint32_t magic;
	struct hf_local_server *server;
	struct hf_list link;
	uv_pipe_t pipe;
	uid_t uid;
	struct hf_local_buffer input;
	struct hf_list requests; /* not yet replied to */
	unsigned outstanding;    /* requests and answers not yet written */
	bool paused, handling, closing;
};

struct hf_local_request {
	uint32_t magic;
	struct connection *connection; /* NULL when it is gone */
	struct hf_list link;
	uint32_t number;
	uid_t uid;
};

struct answer {
	uv_write_t write;
	struct connection *connection;
	uint8_t *frame;
};

static void handle_input(struct connection *connection);

static void server_end_if_empty(struct hf_local_server *server)
{
	if (!server->closing || !server->listener_closed || server->connection_count)
		return;
	if (server->closed)
		server->closed(server->closed_context);
	server->magic = 0;
	free(server);
}

static void on_connection_closed(uv_handle_t *handle)
{
	struct connection *connection = handle->data;
	struct hf_local_server *server;

	HF_CHECK_MAGIC(connection, CONNECTION_MAGIC);
	server = connection->server;
	hf_list_remove(&connection->link);
	server->connection_count--;
	hf_local_buffer_free(&connection->input);
	connection->magic = 0;
	free(connection);
	server_end_if_empty(server);
}

static void connection_close(struct connection *connection)
{
	if (connection->closing)
		return;
	connection->closing = true;
	hf_list_for_each_safe (at, &connection->requests) {
		hf_list_remove(at);
		hf_container_of(at, struct hf_local_request, link)->connection = NULL;
	}
	uv_close((uv_handle_t *)&connection->pipe, on_connection_closed);
}

static void on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
	struct connection *connection = handle->data;

	(void)suggested;
	*buffer = uv_buf_init(connection->server->read_buffer, READ_BYTES);
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer)
{
	struct connection *connection = stream->data;

	HF_CHECK_MAGIC(connection, CONNECTION_MAGIC);
	if (count == 0)
		return;
	if (count < 0 || hf_local_buffer_append(&connection->input, (const uint8_t *)buffer->base,
						(size_t)count) != 0) {
		connection_close(connection);
		return;
	}
	handle_input(connection);
}

/* Stops reading while the peer has too much under way, and goes on afterwards. */
static void update_pause(struct connection *connection)
{
	bool full = connection->outstanding >= connection->server->config.requests_max;

	if (connection->closing || full == connection->paused)
		return;
	connection->paused = full;
	if (full)
		uv_read_stop((uv_stream_t *)&connection->pipe);
	else if (uv_read_start((uv_stream_t *)&connection->pipe, on_allocate, on_read) != 0)
		connection_close(connection);
}

static int handle_frame(struct connection *connection, uint32_t number, const uint8_t *bytes,
			size_t length)
{
	struct hf_local_server *server = connection->server;
	struct hf_local_request *request = calloc(1, sizeof *request);

	if (!request)
		return HF_ENOMEM;
	request->magic = REQUEST_MAGIC;
	request->connection = connection;
	request->number = number;
	request->uid = connection->uid;
	hf_list_push_back(&connection->requests, &request->link);
	connection->outstanding++;
	server->config.request(server->config.context, request, bytes, length);
	return 0;
}

/* Handles whole frames as long as the peer may ask. A reply from inside the callback comes back
 * here; `handling` keeps that from nesting. */
static void handle_input(struct connection *connection)
{
	const uint8_t *bytes;
	uint32_t number;
	size_t length;
	int found = 0;

	if (connection->handling || connection->closing)
		return;
	connection->handling = true;
	while (!connection->closing &&
	       connection->outstanding < connection->server->config.requests_max) {
		found = hf_local_buffer_next(&connection->input, &number, &bytes, &length);
		if (found == 1)
			found = handle_frame(connection, number, bytes, length) == 0 ? 1 : -1;
		if (found != 1)
			break;
	}
	connection->handling = false;
	if (found < 0)
		connection_close(connection);
	else
		update_pause(connection);
}

static void on_answer_written(uv_write_t *write, int status)
{
	struct answer *answer = hf_container_of(write, struct answer, write);
	struct connection *connection = answer->connection;

	HF_CHECK_MAGIC(connection, CONNECTION_MAGIC);
	free(answer->frame);
	free(answer);
	connection->outstanding--;
	if (status != 0)
		connection_close(connection);
	else
		handle_input(connection);
}

static int send_answer(struct connection *connection, uint32_t number, const uint8_t *bytes,
		       size_t length)
{
	struct answer *answer = calloc(1, sizeof *answer);
	uv_buf_t buffer;

	if (!answer)
		return HF_ENOMEM;
	answer->connection = connection;
	answer->frame = hf_local_frame_make(number, bytes, length);
	if (!answer->frame)
		goto err_after_alloc;
	buffer = uv_buf_init((char *)answer->frame, (unsigned)(HF_LOCAL_HEADER_BYTES + length));
	if (uv_write(&answer->write, (uv_stream_t *)&connection->pipe, &buffer, 1,
		     on_answer_written) != 0)
		goto err_after_alloc;
	return 0;

err_after_alloc:
	free(answer->frame);
	free(answer);
	return HF_ENOMEM;
}

void hf_local_reply(struct hf_local_request *request, const uint8_t *bytes, size_t length)
{
	struct connection *connection;

	HF_CHECK_MAGIC(request, REQUEST_MAGIC);
	connection = request->connection;
	hf_list_remove(&request->link);
	if (connection) {
		HF_CHECK_MAGIC(connection, CONNECTION_MAGIC);
		if (send_answer(connection, request->number, bytes, length) != 0) {
			connection->outstanding--;
			connection_close(connection);
		}
	}
	request->magic = 0;
	free(request);
}

uid_t hf_local_request_uid(const struct hf_local_request *request)
{
	HF_CHECK_MAGIC(request, REQUEST_MAGIC);
	return request->uid;
}

/* ---- Accepting ---- */

static bool uid_allowed(const struct hf_local_server_config *config, uid_t uid)
{
	return uid == 0 || uid == geteuid() ||
	       (config->allow_uid && config->allow_uid(config->context, uid));
}

static int peer_uid(const uv_pipe_t *pipe, uid_t *uid)
{
	struct ucred peer;
	socklen_t length = sizeof peer;
	uv_os_fd_t fd;

	if (uv_fileno((const uv_handle_t *)pipe, &fd) != 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0)
		return HF_EACCES;
	*uid = peer.uid;
	return 0;
}

static void on_connection(uv_stream_t *listener, int status)
{
	struct hf_local_server *server = listener->data;
	struct connection *connection;

	HF_CHECK_MAGIC(server, SERVER_MAGIC);
	if (status != 0 || server->closing)
		return;
	connection = calloc(1, sizeof *connection);
	HF_ASSERT(connection); /* libuv would listen no more; the supervisor starts us again */
	connection->magic = CONNECTION_MAGIC;
	connection->server = server;
	connection->pipe.data = connection;
	hf_list_init(&connection->requests);
	uv_pipe_init(listener->loop, &connection->pipe, 0);
	hf_list_push_back(&server->connections, &connection->link);
	server->connection_count++;
	if (uv_accept(listener, (uv_stream_t *)&connection->pipe) != 0 ||
	    server->connection_count > server->config.connections_max ||
	    peer_uid(&connection->pipe, &connection->uid) != 0 ||
	    !uid_allowed(&server->config, connection->uid) ||
	    uv_read_start((uv_stream_t *)&connection->pipe, on_allocate, on_read) != 0)
		connection_close(connection);
}

/* ---- Opening and closing ---- */

/* libuv says EACCES for a folder that is missing; people want to know. */
static int check_folder(const char *path, struct hf_errmsg *message)
{
	char folder[sizeof((struct sockaddr_un *)0)->sun_path];
	char *slash;

	memcpy(folder, path, strlen(path) + 1);
	slash = strrchr(folder, '/');
	if (!slash || slash == folder)
		return 0;
	*slash = '\0';
	if (access(folder, F_OK) == 0)
		return 0;
	return hf_fail(message, hf_err_from_errno(errno), "%s: %s", folder, strerror(errno));
}

/* Removes a socket that nobody listens on; one that answers belongs to a running process. */
static int remove_stale(const char *path, struct hf_errmsg *message)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct stat info;
	int fd, connected;

	if (lstat(path, &info) != 0)
		return errno == ENOENT ? 0
				       : hf_fail(message, hf_err_from_errno(errno), "%s: %s", path,
						 strerror(errno));
	if (!S_ISSOCK(info.st_mode))
		return hf_fail(message, HF_EEXIST, "%s: exists and is not a socket", path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return hf_fail(message, hf_err_from_errno(errno), "%s: %s", path, strerror(errno));
	memcpy(address.sun_path, path, strlen(path) + 1);
	connected =
		connect(fd, (struct sockaddr *)&address, sizeof address) == 0 || errno == EAGAIN;
	close(fd);
	if (connected)
		return hf_fail(message, HF_EBUSY, "%s: another process listens there", path);
	if (unlink(path) != 0 && errno != ENOENT)
		return hf_fail(message, hf_err_from_errno(errno), "%s: %s", path, strerror(errno));
	return 0;
}

static void on_listener_closed(uv_handle_t *handle)
{
	struct hf_local_server *server = handle->data;

	HF_CHECK_MAGIC(server, SERVER_MAGIC);
	server->listener_closed = true;
	server_end_if_empty(server);
}

void hf_local_server_close(struct hf_local_server *server, void (*closed)(void *), void *context)
{
	HF_CHECK_MAGIC(server, SERVER_MAGIC);
	HF_ASSERT(!server->closing);
	server->closing = true;
	server->closed = closed;
	server->closed_context = context;
	hf_list_for_each_safe (at, &server->connections)
		connection_close(hf_container_of(at, struct connection, link));
	uv_close((uv_handle_t *)&server->listener, on_listener_closed);
}

int hf_local_listen(uv_loop_t *loop, const struct hf_local_server_config *config,
		    struct hf_local_server **out, struct hf_errmsg *message)
{
	struct hf_local_server *server;
	int err, uv_err;

	if (strlen(config->path) >= sizeof((struct sockaddr_un *)0)->sun_path)
		return hf_fail(message, HF_EINVAL, "%s: a socket's path has at most 107 bytes",
			       config->path);
	err = check_folder(config->path, message);
	if (!err)
		err = remove_stale(config->path, message);
	if (err)
		return err;
	server = calloc(1, sizeof *server);
	if (!server)
		return hf_fail(message, HF_ENOMEM, "%s: out of memory", config->path);
	server->magic = SERVER_MAGIC;
	server->config = *config;
	if (!config->connections_max)
		server->config.connections_max = CONNECTIONS_MAX_DEFAULT;
	if (!config->requests_max)
		server->config.requests_max = REQUESTS_MAX_DEFAULT;
	hf_list_init(&server->connections);
	server->listener.data = server;
	uv_pipe_init(loop, &server->listener, 0);
	uv_err = uv_pipe_bind(&server->listener, config->path);
	/* Before listen nobody can connect, so the mode is never wider than asked for. */
	if (uv_err == 0 && chmod(config->path, config->mode) != 0)
		uv_err = -errno;
	if (uv_err == 0)
		uv_err = uv_listen((uv_stream_t *)&server->listener, 64, on_connection);
	if (uv_err != 0) {
		err = hf_fail(message, hf_err_from_errno(-uv_err), "%s: %s", config->path,
			      uv_strerror(uv_err));
		hf_local_server_close(server, NULL, NULL);
		return err;
	}
	server->config.path = NULL; /* the caller's, not kept */
	*out = server;
	return 0;
}
