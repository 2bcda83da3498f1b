/* Gateways that connect again and again: each may so and so often, then it has to wait. Kept for
 * the gateways that connected last, in a table of fixed size. Loop's thread. */
#ifndef HF_PROVIDER_CONTROL_FLAPS_H
#define HF_PROVIDER_CONTROL_FLAPS_H

#include "provider/control/control.h"

int hf_flaps_open(struct hf_control *control, struct hf_errmsg *message);
void hf_flaps_close(struct hf_control *control);
/* A connection of this gateway, counted. 0: let it in; else how long it is to stay away. */
uint32_t hf_flaps_wait_ms(struct hf_control *control, uint64_t gateway);

#endif
