/* The table of flaps.h: a bucket for each gateway, found by a hash; of two that fall into one place
 * the later stays, so that a storm of thousands cannot fill it and a single one is not forgotten
 * easily. */
#include "provider/control/flaps.h"

#include <stdlib.h>

#define PLACES  4096u
#define BURST   20.0
#define WAIT_MS 5000u /* and as much again at random */

struct hf_flaps {
	struct {
		uint64_t gateway;
		struct hf_bucket bucket;
	} places[PLACES];
};

int hf_flaps_open(struct hf_control *control, struct hf_errmsg *message)
{
	control->flaps = calloc(1, sizeof *control->flaps);
	return control->flaps ? 0 : hf_fail(message, HF_ENOMEM, "out of memory");
}

void hf_flaps_close(struct hf_control *control)
{
	free(control->flaps);
	control->flaps = NULL;
}

uint32_t hf_flaps_wait_ms(struct hf_control *control, uint64_t gateway)
{
	double per_minute = (double)control->config.reconnects_per_minute;
	uint64_t now_ms = uv_now(control->loop);
	size_t at = (gateway ^ gateway >> 32) % PLACES;
	uint32_t random;

	if (per_minute == 0)
		return 0;
	if (control->flaps->places[at].gateway != gateway) {
		control->flaps->places[at].gateway = gateway;
		control->flaps->places[at].bucket =
			(struct hf_bucket){BURST, BURST, per_minute, now_ms};
	}
	if (hf_bucket_take(&control->flaps->places[at].bucket, now_ms))
		return 0;
	hf_random(&random, sizeof random);
	return WAIT_MS + random % WAIT_MS;
}
