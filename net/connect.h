/* A TCP connection to a name, whichever of its addresses answers first (RFC 8305): addresses of
 * both families in turn, the next one 250 ms after the last or as soon as that failed; at most
 * HF_CONNECT_ADDRESSES of them, HF_CONNECT_MS for all. The name is asked for anew each time. All
 * calls and callbacks on the loop's thread. */
#ifndef HF_NET_CONNECT_H
#define HF_NET_CONNECT_H

#include <stdint.h>
#include <sys/socket.h>
#include <uv.h>

#include "base/err.h"
#include "net/hop.h"

#define HF_CONNECT_ADDRESSES 8u
#define HF_CONNECT_DELAY_MS  250u   /* RFC 8305 5 */
#define HF_CONNECT_MS        10000u /* of one race */
#define HF_ADDRESS_TEXT_MAX  64u    /* "addr:port" */

struct hf_connect;

struct hf_connect_callbacks {
	/* The name's addresses in the order in which they are tried. May be NULL. */
	void (*resolved)(void *context, const char *addresses);
	/* The descriptor is the callee's: non-blocking, connected. The race rests until
	 * hf_connect_more or hf_connect_close. `address`: "addr:port". */
	void (*connected)(void *context, int fd, const char *address);
	/* No address is left (HF_HOP_TCP), or the name gave none (HF_HOP_DNS). */
	void (*failed)(void *context, enum hf_hop hop, int err, const char *reason);
	void *context;
};

/* `host`: a name or an address. No callback from inside. 0 or HF_ENOMEM. */
int hf_connect_open(uv_loop_t *loop, const char *host, uint16_t port,
		    const struct hf_connect_callbacks *callbacks, struct hf_connect **connect);
/* What was connected last was no good: race those that are left. The others it beat count as left.
 */
void hf_connect_more(struct hf_connect *race);
/* No callback afterwards; frees itself when its handles have closed. */
void hf_connect_close(struct hf_connect *race);

/* ---- Pure, for tests ---- */

struct hf_connect_address {
	struct sockaddr_storage address;
	socklen_t length;
};
/* Puts addresses into the order in which they are tried: the first stays the first, then the
 * families take turns, each in its own order (RFC 8305 4). */
void hf_connect_interleave(struct hf_connect_address *addresses, unsigned count);

#endif
