/* Gateways that are sent to other processes: all of them, over a window, when this process stops
 * (SIGTERM), and a few a second when others hold fewer. Loop's thread. */
#ifndef HF_PROVIDER_CONTROL_DRAIN_H
#define HF_PROVIDER_CONTROL_DRAIN_H

#include "provider/control/channel.h"

/* Stops accepting and sends everybody elsewhere; stops the process when nobody is left or the
 * window and some time are over. At once if there is no other process. */
void hf_drain_begin(struct hf_control *control);
void hf_drain_close(struct hf_control *control);
/* Once a second: moves what is above our share. */
void hf_drain_rebalance(struct hf_control *control);
/* Ends every connection with a time to come back at, so that not all come at once. */
void hf_drain_dismiss_all(struct hf_control *control, const char *reason);

#endif
