/* libcurl's multi interface on a libuv loop: sockets become uv_poll handles, curl's one timer a
 * uv_timer. HTTP only knows easy handles; what a transfer means is its owner's. Private to
 * remote/store*.c; everything on the loop's thread. */
#ifndef HF_REMOTE_STORE_CURL_H
#define HF_REMOTE_STORE_CURL_H

#include <curl/curl.h>
#include <uv.h>

struct hf_curl;

/* `finished` is called from the loop, never from inside hf_curl_add; the easy handle has been taken
 * out by then and may be used again. NULL when out of memory. */
struct hf_curl *hf_curl_open(uv_loop_t *loop, unsigned connections_max,
			     void (*finished)(CURL *easy, CURLcode code));
int hf_curl_add(struct hf_curl *curl, CURL *easy);
/* Takes out a transfer that has not finished; `finished` does not come. */
void hf_curl_remove(struct hf_curl *curl, CURL *easy);
/* No transfer may be left. `closed` is the last thing that happens. */
void hf_curl_close(struct hf_curl *curl, void (*closed)(void *context), void *context);

#endif
