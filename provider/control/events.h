/* The newest events of a gateway, with its connection: bounded, in memory only. A gateway tells
 * them again to whoever holds it next, so nothing is lost with a process. Loop's thread. */
#ifndef HF_PROVIDER_CONTROL_EVENTS_H
#define HF_PROVIDER_CONTROL_EVENTS_H

#include <jansson.h>
#include <stdint.h>

#include "proto/channel.pb-c.h"

#define HF_EVENTS_KEPT     32u /* of a gateway; the oldest make room, and are counted */
#define HF_EVENT_TEXT_KEPT 200u

struct hf_channel;

/* Takes those that follow what is there; a number that does not is let be. */
void hf_events_take(struct hf_channel *channel, const Holdfast__Report *report);
/* Says in a subscription what need not be told again. */
void hf_events_ask(const struct hf_channel *channel, Holdfast__Subscribe *subscribe);
/* A list, oldest first. */
json_t *hf_events_json(const struct hf_channel *channel);
void hf_events_free(struct hf_channel *channel);

#endif
