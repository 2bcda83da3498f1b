/* Dialling with back-off: keeps trying a list of endpoints in turn, from a random one on, until a
 * TLS handshake succeeds, with full jitter between tries: a random wait of 0.5 s up to a ceiling
 * that doubles from 1 s to 60 s. Names are asked for anew at each try, and each try may go through
 * a proxy (net/path.h). All calls and callbacks on the loop's thread. */
#ifndef HF_NET_DIAL_H
#define HF_NET_DIAL_H

#include <stdint.h>
#include <uv.h>

#include "base/err.h"
#include "net/path.h"
#include "net/stream.h"
#include "net/tls.h"

#define HF_BACKOFF_MIN_MS 500u
#define HF_BACKOFF_MAX_MS 60000u

/* ---- Back-off, pure ---- */

struct hf_backoff {
	unsigned failures; /* since the last success */
};
/* The next wait, given 32 random bits; counts the failure. */
uint32_t hf_backoff_next_ms(struct hf_backoff *backoff, uint32_t random);

/* "host:port" or "[v6]:port"; HF_EINVAL. */
int hf_endpoint_parse(const char *text, char *host, size_t host_size, uint16_t *port);

#define HF_DIAL_ENDPOINTS_MAX 16u
#define HF_ENDPOINT_MAX       300u /* bytes of "host:port" */

/* A list as it stands in a configuration: "host:port, host:port …". */
struct hf_endpoints {
	char text[HF_DIAL_ENDPOINTS_MAX][HF_ENDPOINT_MAX];
	size_t count;
};
/* At least one, at most HF_DIAL_ENDPOINTS_MAX, each with a port above 0; HF_EINVAL with which. */
int hf_endpoints_parse(const char *text, struct hf_endpoints *endpoints, struct hf_errmsg *message);
/* Pointers to them, for hf_dialler_open; gives how many. */
size_t hf_endpoints_list(const struct hf_endpoints *endpoints,
			 const char *list[HF_DIAL_ENDPOINTS_MAX]);

/* ---- The dialler ---- */

struct hf_dialler;

struct hf_dialler_callbacks {
	/* The stream is the callee's; set its callbacks in here. The dialler rests until
	 * hf_dialler_again. */
	void (*connected)(void *context, struct hf_stream *stream);
	/* A try failed; the next comes in wait_ms. `err` 0: a connection was lost, and its owner
	 * knows better why. May be NULL. */
	void (*waiting)(void *context, uint32_t wait_ms, int err, const char *reason);
	void *context;
};

/* Endpoints are copied. Starts at once. */
int hf_dialler_open(uv_loop_t *loop, struct hf_tls *tls, const char *const *endpoints,
		    size_t endpoint_count, const struct hf_dialler_callbacks *callbacks,
		    struct hf_dialler **dialler, struct hf_errmsg *message);
/* The next tries use this one; certificates may be renewed. */
void hf_dialler_set_tls(struct hf_dialler *dialler, struct hf_tls *tls);
/* The connection was lost: dial again after the back-off, at least at_least_ms and a random part of
 * half of that from now. */
void hf_dialler_again(struct hf_dialler *dialler, uint32_t at_least_ms);
/* The connection proved good (Held): the back-off starts from its beginning next time. */
void hf_dialler_good(struct hf_dialler *dialler);
/* Tried before all others, once (Drain); "host:port", or "": none. */
int hf_dialler_prefer(struct hf_dialler *dialler, const char *endpoint);
/* Left out from now on while there are others; "": none. */
void hf_dialler_avoid(struct hf_dialler *dialler, const char *endpoint);
/* Other endpoints from the next round on, copied; what is not host:port is left out. HF_EINVAL:
 * none is, and the ones there are stay. */
int hf_dialler_set_endpoints(struct hf_dialler *dialler, const char *const *endpoints,
			     size_t endpoint_count);
/* Where the connection that was handed over leads, or the last try went; "host:port". */
const char *hf_dialler_endpoint(const struct hf_dialler *dialler);
/* Without waiting: a round begins now (from rest, or instead of the wait). */
void hf_dialler_now(struct hf_dialler *dialler);
/* No more tries until hf_dialler_now or _again. */
void hf_dialler_rest(struct hf_dialler *dialler);
/* From the next try on through this proxy (copied); NULL: without. Said right after opening, it
 * counts for the first try. */
void hf_dialler_set_proxy(struct hf_dialler *dialler, const struct hf_proxy *proxy);
void hf_dialler_close(struct hf_dialler *dialler, void (*closed)(void *context), void *context);

#endif
