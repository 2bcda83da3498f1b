/* The HTTP proxy on the way to the provider: where it is, what CONNECT asks of it (RFC 9110 9.3.6)
 * and what its answer means. The answer's parser is pure and bounded; nothing of what a proxy says
 * is trusted, it only carries our TLS. */
#ifndef HF_NET_PROXY_H
#define HF_NET_PROXY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define HF_PROXY_HOST_MAX        256u
#define HF_PROXY_CREDENTIALS_MAX 512u   /* bytes of "user:password" */
#define HF_PROXY_REQUEST_MAX     2048u  /* bytes of a CONNECT */
#define HF_PROXY_ANSWER_MAX      16384u /* bytes of all its headers; more are refused */
#define HF_PROXY_INTERIM_MAX     8u     /* 1xx answers before the one that counts */

struct hf_proxy {
	char host[HF_PROXY_HOST_MAX];
	uint16_t port;
	/* With "user:password" in one line, 0600; "" for none. It is read anew for each
	 * connection, so that a new password needs no restart. */
	char credentials_file[4096];
};

/* "http://HOST:PORT" (a trailing slash is let be) and the path of the credentials, "" for none.
 * HF_EINVAL, with what to write instead: a user in the URL would end up in logs and is refused. */
int hf_proxy_parse(const char *url, const char *credentials_file, struct hf_proxy *proxy,
		   struct hf_errmsg *message);
/* "user:password" of the file, NUL-terminated; "" if the proxy has no file. HF_ENOENT, HF_EACCES
 * (others may read it), HF_EINVAL. Wipe it after use. Blocking; a small file. */
int hf_proxy_credentials(const struct hf_proxy *proxy, char text[HF_PROXY_CREDENTIALS_MAX + 1],
			 struct hf_errmsg *message);
/* The CONNECT for "host:port" with the credentials as they are now; its length in *length. Wipe it
 * after use. */
int hf_proxy_request(const struct hf_proxy *proxy, const char *host, uint16_t port,
		     char text[HF_PROXY_REQUEST_MAX], size_t *length, struct hf_errmsg *message);

/* ---- The answer ---- */

struct hf_proxy_answer {
	int status;                      /* 0: none yet */
	char phrase[64];                 /* printable ASCII */
	char location[128];              /* of a redirection */
	bool html;                       /* Content-Type: text/html */
	bool offers_basic, offers_other; /* Proxy-Authenticate */
	int64_t date_s;                  /* since 1970, the proxy's clock; 0: not told */
	/* of the parser */
	size_t taken; /* bytes of all headers so far */
	unsigned interim;
	bool done;
	char line[512]; /* the rest of a longer line is dropped */
	size_t line_used;
};

void hf_proxy_answer_init(struct hf_proxy_answer *answer);
/* Takes bytes until the header is whole, then sets `done` and leaves the rest; *taken says how many
 * it took. 0, HF_EPROTO (no HTTP) or HF_ETOOBIG, with why. */
int hf_proxy_answer_take(struct hf_proxy_answer *answer, const uint8_t *bytes, size_t length,
			 size_t *taken, struct hf_errmsg *message);
/* Is the tunnel open? `rest`: bytes behind the header, which nobody sends who has opened one (TLS
 * clients speak first). `target`: "host:port" that was asked for. 0, or HF_EAUTH, HF_EACCES,
 * HF_ECONN, HF_EPROTO with what it means and what to do. */
int hf_proxy_answer_judge(const struct hf_proxy_answer *answer, const struct hf_proxy *proxy,
			  const char *target, size_t rest, struct hf_errmsg *message);

#endif
