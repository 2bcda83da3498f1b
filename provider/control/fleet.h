/* The processes of this provider, as the registry's table shows them: this one's row is written
 * once a second and the others' are read. Whoever's row did not change for HF_FLEET_SILENT_MS is
 * not sent to; that is judged by our own clock, so that clocks that differ mislead nobody. Loop's
 * thread. */
#ifndef HF_PROVIDER_CONTROL_FLEET_H
#define HF_PROVIDER_CONTROL_FLEET_H

#include "provider/control/balance.h"
#include "provider/control/channel.h"

int hf_fleet_open(struct hf_control *control, struct hf_errmsg *message);
/* Once a second, after watch.c: looks at the others and tells gateways of those that came. */
void hf_fleet_tick(struct hf_control *control);
void hf_fleet_close(struct hf_control *control);

/* This process has as many connections as it takes. */
bool hf_fleet_full(struct hf_control *control);
/* Where one of our gateways could go: the endpoint of another process, lightly loaded; NULL: there
 * is none. Counts it there until the next look. */
const char *hf_fleet_elsewhere(struct hf_control *control);
/* As hf_balance_step, for this process. */
unsigned hf_fleet_excess(struct hf_control *control);
/* The other processes, for people. */
json_t *hf_fleet_json(const struct hf_control *control);
/* What Held says of the processes; the texts live as long as the fleet stays as it is. */
void hf_fleet_fill_held(struct hf_channel *channel, Holdfast__Held *held);
void hf_fleet_fill_parked(struct hf_control *control, Holdfast__Parked *parked);

#endif
