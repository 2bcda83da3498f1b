/* How often a gateway reports: every `report_interval_ms`, and every `watch_interval_ms` while
 * somebody looks. Whoever asks for a gateway, or for a volume of it, looks for the ten seconds
 * after the question; whoever goes on looking asks again. Loop's thread. */
#ifndef HF_PROVIDER_CONTROL_LOOKERS_H
#define HF_PROVIDER_CONTROL_LOOKERS_H

#include <stdbool.h>
#include <stdint.h>

#define HF_LOOKER_MS    10000u
#define HF_TELL_LOOK_MS 4000u /* its holder is told again at most so often */

struct hf_channel;
struct hf_control;

/* Somebody looks at this gateway, wherever it is held; its holder stores then at once what is
 * reported. */
void hf_lookers_add(struct hf_control *control, uint64_t gateway);
/* So often the registry says that somebody looked through another process. */
void hf_lookers_counted(struct hf_channel *channel, uint64_t looks);
/* Must what is reported be stored for somebody at another process? */
bool hf_lookers_elsewhere(const struct hf_channel *channel);
/* The interval of a subscription that is made now. */
uint32_t hf_lookers_interval_ms(const struct hf_channel *channel);
/* The channel goes. */
void hf_lookers_forget(struct hf_channel *channel);
/* Once a second. */
void hf_lookers_tick(struct hf_control *control);

#endif
