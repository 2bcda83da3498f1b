/* What a process tells the registry about its connections and learns from it, beside the changes
 * that travel: watch.c. Loop's thread. */
#ifndef HF_PROVIDER_CONTROL_WATCH_H
#define HF_PROVIDER_CONTROL_WATCH_H

#include "provider/control/control.h"

/* Before the first connection is taken: this process is there. */
int hf_watch_open(struct hf_control *control, struct hf_errmsg *message);
/* Once a second, before everything else: is the registry there, is it still the same incarnation;
 * stores which connections ended. */
void hf_watch_tick(struct hf_control *control);
/* A hint, from this process or another: there may be work for this gateway, it may have another
 * holder, or its state has changed. */
void hf_watch_hinted(void *control, uint64_t gateway);
/* The connection of this epoch ended. */
void hf_watch_left(struct hf_control *control, uint64_t gateway, uint64_t epoch);
/* The process stops: none of its connections remains. */
void hf_watch_close(struct hf_control *control);
/* Is a gateway with this row connected, to whichever process? One that has been silent for 5 s
 * holds nothing, as far as anybody can know. */
bool hf_watch_connected(struct hf_control *control, const struct hf_reg_gateway *gateway);
/* The other processes that were seen to beat within the last 5 s. */
void hf_watch_peers(struct hf_control *control,
		    void (*visit)(void *context, const struct hf_reg_process *row), void *context);
/* How long nothing may be heard of a gateway, or of a process, until it is taken to be lost: two
 * pings and a quarter. A process is then forgotten, and its gateways are held by nobody as far as
 * the registry knows; should it live after all, it says again what it holds. */
uint64_t hf_watch_patience_ms(const struct hf_control *control);
/* Has the registry been there for so long? Else who was not heard may have had nowhere to say it.
 */
bool hf_watch_settled(struct hf_control *control);
/* Where gateways reach this process; "": unknown. Valid until the loop turns. */
const char *hf_watch_endpoint(struct hf_control *control, uint64_t process);

#endif
