/* Notices gateways that are lost and gateways that are back, and sees to it that both are told out
 * of band (webhook.h). Loop's thread.
 *
 * Lost is an active gateway whose connection ended `lost_after_ms` ago without another one
 * anywhere, or that has been silent for two pings and a quarter: both within a minute at the usual
 * settings. The gateways of a process that died are watched by the others, from its last beat on
 * (watch.h). What is lost stands in the registry, so that several processes tell it once, and a
 * restart forgets nothing. */
#ifndef HF_PROVIDER_CONTROL_LOST_H
#define HF_PROVIDER_CONTROL_LOST_H

#include <stdint.h>

struct hf_control;

/* The connection that held this gateway with this epoch ended. */
void hf_lost_gone(struct hf_control *control, uint64_t gateway, uint64_t epoch, const char *why);
/* Once a second. */
void hf_lost_tick(struct hf_control *control);
void hf_lost_close(struct hf_control *control);

#endif
