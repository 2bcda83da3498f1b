/* A TLS connection on a libuv loop, of either side: uv_poll and SSL_set_fd, TCP_NODELAY, a deadline
 * for the handshake and a bounded queue of what is to be written. All calls and callbacks on the
 * loop's thread. The process must ignore SIGPIPE. */
#ifndef HF_NET_STREAM_H
#define HF_NET_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/err.h"
#include "net/hop.h"
#include "net/sign.h"
#include "net/tls.h"

#define HF_STREAM_QUEUE_MAX    (8u << 20) /* bytes not yet written */
#define HF_STREAM_HANDSHAKE_MS 10000u

struct hf_stream;

/* Who is at the other end, known once the handshake is done. */
struct hf_peer {
	char address[64]; /* "addr:port" */
	bool certified;   /* a certificate of our authority was shown */
	bool expired;     /* and it has expired (only with allow_expired) */
	bool server;
	uint64_t tenant, gateway; /* of the certificate */
	uint8_t public_key[HF_KEY_BYTES];
	int64_t not_before_s, not_after_s; /* of the certificate, since 1970 */
	uint8_t issuer[8];                 /* id of its authority (net/identity.h) */
};

struct hf_stream_callbacks {
	/* The handshake is done. `peer` lives as long as the stream. */
	void (*opened)(void *context, const struct hf_peer *peer);
	void (*received)(void *context, const uint8_t *bytes, size_t length);
	/* The connection ended or failed: 0 for an orderly end by the peer or after
	 * hf_stream_finish, else HF_ECONN, HF_EAUTH, HF_ETIMEDOUT. Comes at most once, before or
	 * after opened; the owner then calls hf_stream_close. */
	void (*lost)(void *context, int err, const char *reason);
	void *context;
};

/* Takes over the connected or connecting non-blocking socket, also on failure. `name`: what a
 * client checks the server's certificate for (host name or address; NULL with a TLS that does not
 * judge). No callback from inside. */
int hf_stream_open(uv_loop_t *loop, struct hf_tls *tls, int fd, const char *name,
		   const struct hf_stream_callbacks *callbacks, struct hf_stream **stream);
/* Callbacks from now on; for a stream that was handed over (listener, dialler). */
void hf_stream_set_callbacks(struct hf_stream *stream, const struct hf_stream_callbacks *callbacks);
const struct hf_peer *hf_stream_peer(const struct hf_stream *stream);
/* Where it was lost, from `lost` on. */
enum hf_hop hf_stream_lost_at(const struct hf_stream *stream);
/* Bytes that only the two ends of this very connection know, once its handshake is done (RFC 8446
 * 7.5): whoever stands between has two connections, and two different ones. 0 or HF_ECONN; also
 * at a server that asks for certificates, which has forgotten the handshake. */
int hf_stream_binding(const struct hf_stream *stream, uint8_t binding[HF_BINDING_BYTES]);
/* Copies and queues. HF_EBUSY when the queue is full, HF_ECONN when it was lost. */
int hf_stream_write(struct hf_stream *stream, const uint8_t *bytes, size_t length);
/* No more writes; what is queued is sent, then TLS is shut down and `lost` comes with 0. */
void hf_stream_finish(struct hf_stream *stream);
/* No callback afterwards but `closed` (may be NULL), later; then the memory is freed. */
void hf_stream_close(struct hf_stream *stream, void (*closed)(void *context), void *context);

/* ---- Listening ---- */

struct hf_listener;

struct hf_listener_config {
	const char *address; /* addr:port; port 0 picks one; IPv6 as [addr]:port */
	struct hf_tls *tls;
	/* In handshake or alive at once; 0: 16384. When there are as many, the oldest one in
	 * handshake makes room for the next. */
	unsigned streams_max;
	/* Handshakes begun a second and after quiet at once; who comes beyond waits in the kernel's
	 * queue, which holds about what is begun in the time a client waits. 0: as many as come. */
	uint32_t accept_per_s, accept_burst;
	/* In handshake at once; 0: streams_max. Beyond, whoever has been at it for more than a
	 * second makes room for the next. */
	unsigned handshakes_max;
	/* A stream whose handshake is done; the owner closes it. Set its callbacks in here. */
	void (*accepted)(void *context, struct hf_stream *stream);
	void *context;
};
int hf_listener_open(uv_loop_t *loop, const struct hf_listener_config *config,
		     struct hf_listener **listener, struct hf_errmsg *message);
/* Connections wait for their turn (accept_per_s). NULL is not. */
bool hf_listener_busy(const struct hf_listener *listener);
uint16_t hf_listener_port(const struct hf_listener *listener);
struct hf_listener_counts {
	uint64_t accepted;    /* TCP connections */
	uint64_t refused;     /* of them closed at once: no room */
	uint64_t opened;      /* handshakes done */
	uint64_t failed;      /* handshakes that failed or took too long */
	uint64_t crowded_out; /* handshakes that made room for others */
};
/* Since it was opened. */
void hf_listener_counts(const struct hf_listener *listener, struct hf_listener_counts *counts);
/* Certificates may be renewed: new connections use this one. */
void hf_listener_set_tls(struct hf_listener *listener, struct hf_tls *tls);
/* Streams already handed over stay; those in handshake are closed. */
void hf_listener_close(struct hf_listener *listener, void (*closed)(void *context), void *context);

#endif
