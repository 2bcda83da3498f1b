/* Requests between processes of one machine: a Unix socket, frames of a little-endian u32 length
 * and as many bytes (a protobuf message), answered in any order by number. Peers are known by the
 * uid the kernel tells (SO_PEERCRED). Frame: {u32 length of the rest, u32 request number, bytes}.
 */
#ifndef HF_NET_LOCAL_H
#define HF_NET_LOCAL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

#include "base/err.h"

#define HF_LOCAL_FRAME_MAX (4u << 20) /* bytes */

/* ---- Server ---- */

struct hf_local_server;
struct hf_local_request; /* one question; must be replied to exactly once, from any callback */

struct hf_local_server_config {
	const char *path; /* at most 107 bytes; a stale socket there is replaced */
	mode_t mode;      /* of the socket, such as 0600 */
	/* May this peer connect? root and the server's own uid always may. NULL: only those. */
	int (*allow_uid)(void *context, uid_t uid);
	/* A question. `bytes` is valid only during the call. */
	void (*request)(void *context, struct hf_local_request *request, const uint8_t *bytes,
			size_t length);
	void *context;
	unsigned connections_max; /* 0: 64 */
	unsigned requests_max;    /* unanswered, each connection; more are not read; 0: 64 */
};
int hf_local_listen(uv_loop_t *loop, const struct hf_local_server_config *config,
		    struct hf_local_server **server, struct hf_errmsg *message);
/* Copies the answer and frees the request; harmless if its connection is gone. */
void hf_local_reply(struct hf_local_request *request, const uint8_t *bytes, size_t length);
uid_t hf_local_request_uid(const struct hf_local_request *request);
void hf_local_server_close(struct hf_local_server *server, void (*closed)(void *), void *context);

/* ---- Client on a loop: connects when needed, reconnects after a loss ---- */

struct hf_local_client;
int hf_local_client_open(uv_loop_t *loop, const char *path, struct hf_local_client **client);
/* `answered` exactly once, later: status 0 and bytes (valid during the call), HF_ECONN (also when
 * the connection was lost after the question was sent), HF_ETIMEDOUT. */
void hf_local_call(struct hf_local_client *client, const uint8_t *bytes, size_t length,
		   uint64_t deadline_ms,
		   void (*answered)(void *context, int status, const uint8_t *bytes, size_t length),
		   void *context);
/* Speaks only with a server whose socket was made by root, our own uid or this one, as the kernel
 * tells (SO_PEERCRED); another counts as not there. Without this call: with any. */
void hf_local_client_trust(struct hf_local_client *client, uid_t uid);
void hf_local_client_close(struct hf_local_client *client, void (*closed)(void *), void *context);

/* ---- For command lines: one question, blocking. The answer is malloc'ed. ---- */
int hf_local_ask(const char *path, const uint8_t *bytes, size_t length, uint64_t deadline_ms,
		 uint8_t **answer, size_t *answer_length, struct hf_errmsg *message);

#endif
