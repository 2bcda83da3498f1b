/* Dialling with back-off: keeps trying a list of endpoints in turn until a TLS handshake succeeds,
 * with full jitter between tries: a random wait of 0.5 s up to a ceiling that doubles from 1 s to
 * 60 s. All calls and callbacks on the loop's thread. */
#ifndef HF_NET_DIAL_H
#define HF_NET_DIAL_H

#include <stdint.h>
#include <uv.h>

#include "base/err.h"
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

/* ---- The dialler ---- */

#define HF_DIAL_ENDPOINTS_MAX 16u

struct hf_dialler;

struct hf_dialler_callbacks {
	/* The stream is the callee's; set its callbacks in here. The dialler rests until
	 * hf_dialler_again. */
	void (*connected)(void *context, struct hf_stream *stream);
	/* A try failed (or was not made); the next comes in wait_ms. May be NULL. */
	void (*waiting)(void *context, uint32_t wait_ms, int err, const char *reason);
	void *context;
};

/* Endpoints are copied. Starts at once. */
int hf_dialler_open(uv_loop_t *loop, struct hf_tls *tls, const char *const *endpoints,
		    size_t endpoint_count, const struct hf_dialler_callbacks *callbacks,
		    struct hf_dialler **dialler, struct hf_errmsg *message);
/* The connection was lost: dial again after the back-off, at least at_least_ms from now. */
void hf_dialler_again(struct hf_dialler *dialler, uint32_t at_least_ms);
/* The connection proved good (Held): the back-off starts from its beginning next time. */
void hf_dialler_good(struct hf_dialler *dialler);
/* Tried before all others, once (Drain); "host:port". */
int hf_dialler_prefer(struct hf_dialler *dialler, const char *endpoint);
void hf_dialler_close(struct hf_dialler *dialler, void (*closed)(void *context), void *context);

#endif
