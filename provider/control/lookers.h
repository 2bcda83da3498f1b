/* How often a gateway reports: every `report_interval_ms`, and every `watch_interval_ms` while
 * somebody looks. Whoever asks for a gateway, or for a volume of it, looks for the ten seconds
 * after the question; whoever goes on looking asks again. Loop's thread. */
#ifndef HF_PROVIDER_CONTROL_LOOKERS_H
#define HF_PROVIDER_CONTROL_LOOKERS_H

#include <stdint.h>

#define HF_LOOKER_MS 10000u

struct hf_channel;
struct hf_control;

/* Somebody looks at this gateway; nothing happens if it is not held here. */
void hf_lookers_add(struct hf_control *control, uint64_t gateway);
/* The interval of a subscription that is made now. */
uint32_t hf_lookers_interval_ms(const struct hf_channel *channel);
/* The channel goes. */
void hf_lookers_forget(struct hf_channel *channel);
/* Once a second. */
void hf_lookers_tick(struct hf_control *control);

#endif
