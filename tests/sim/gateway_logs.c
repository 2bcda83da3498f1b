/* What happens to single logs of the gateway of tests/sim/gateway.h: one is drained and removed,
 * one is lost while the others live. */
#include <limits.h>
#include <string.h>

#include "base/assert.h"
#include "tests/sim/gateway.h"

#define HOST 0u

static void drained(struct hf_core_log_change *change)
{
	struct gateway *gateway = change->owner;

	gateway->drains += change->status == 0;
}

void gateway_drain(struct gateway *gateway, unsigned log)
{
	struct hf_core_log_change *change = &gateway->drain;

	*change = (struct hf_core_log_change){
		.disk = gateway_disk_of(log), .done = drained, .owner = gateway};
	sim_select(gateway->sim, HOST);
	hf_core_log_drain(gateway->core, change);
}

/* Without the log: what is elsewhere serves and misses nothing, what may be in it is refused or
 * failed, never served from something older. Marks those. */
static void check_without(struct gateway *gateway, bool *lost)
{
	struct model *model = gateway->model;
	struct hf_volume_status status;

	for (unsigned i = 0; i < model->volume_count && model->problem[0] == '\0'; i++) {
		struct model_volume *volume = &model->volumes[i];

		if (hf_core_volume_status(gateway->core, volume->number, &status) != 0) {
			lost[i] = true;
			if (gateway_attach_one(gateway, i) != HF_ENOTREADY)
				model_fail(model, "volume %u, maybe in a missing log, is served",
					   i);
		} else if (status.state == HF_VOLUME_FAILED) {
			lost[i] = true;
		} else {
			gateway_check_survival_of(gateway, i);
			if (gateway_attach_one(gateway, i) != 0)
				model_fail(model, "volume %u of another log is refused", i);
			else
				gateway_check_content_of(gateway, i);
		}
	}
}

/* A person gives the log up: its volumes are opened from the store. */
static void open_from_store(struct gateway *gateway, unsigned index, uint64_t point)
{
	struct model_volume *volume = &gateway->model->volumes[index];

	volume->promised = point;
	if (gateway_log_of(gateway, index) != UINT_MAX) {
		gateway_detach_start(gateway, index, true);
		if (!gateway_detach_wait(gateway, index))
			return;
	}
	volume->epoch++;
	if (gateway_attach_one(gateway, index) != 0)
		model_fail(gateway->model, "volume %u is not opened from the store: %s", index,
			   gateway->changes[index].message.text);
	else
		gateway_check_survival_of(gateway, index);
}

void gateway_lose_log(struct gateway *gateway, unsigned log, const uint64_t *points)
{
	struct model *model = gateway->model;
	bool lost[MODEL_VOLUMES_MAX] = {false}, expected = gateway->expect_alarms;

	gateway->expect_alarms = true;
	sim_store_outage(gateway->sim, false);
	sim_disk_replace(gateway->sim, HOST, gateway_disk_of(log));
	if (!gateway_boot(gateway))
		return;
	check_without(gateway, lost);
	sim_kill(gateway->sim, HOST);
	gateway_died(gateway, true);
	if (model->problem[0] != '\0')
		return;
	gateway_format(gateway, log);
	if (!gateway_boot(gateway))
		return;
	for (unsigned i = 0; i < model->volume_count && model->problem[0] == '\0'; i++) {
		if (lost[i])
			open_from_store(gateway, i, points[i]);
		else
			gateway_check_survival_of(gateway, i);
	}
	if (model->problem[0] == '\0' && gateway_attach(gateway, false))
		gateway_check_content(gateway);
	gateway->expect_alarms = expected;
}
