/* What must be true of a gateway of tests/sim/gateway.h: recovery points, survival, content. */
#include <string.h>

#include "base/assert.h"
#include "tests/sim/gateway.h"

#define HOST        0u
#define PATIENCE_NS (600 * HF_NS_PER_S)

void gateway_note_points(struct gateway *gateway)
{
	struct hf_volume_status status;

	for (unsigned i = 0; i < gateway->model->volume_count; i++) {
		struct model_volume *volume = &gateway->model->volumes[i];

		if (hf_core_volume_status(gateway->core, volume->number, &status) != 0)
			continue;
		if (status.recovery_point > status.last_sequence)
			model_fail(gateway->model, "volume %u: recovery point past the log", i);
		if (status.recovery_point < volume->published && status.state == HF_VOLUME_OPENING)
			continue; /* the store has not been asked yet since the start */
		if (status.recovery_point < volume->published)
			model_fail(gateway->model, "volume %u: recovery point went back", i);
		else
			volume->published = status.recovery_point;
		if (volume->published == volume->base_sequence + volume->count &&
		    status.lag_bytes != 0)
			model_fail(gateway->model, "volume %u: lag without writes", i);
		model_settle(volume, volume->published);
	}
}

void gateway_check_survival_of(struct gateway *gateway, unsigned index)
{
	struct model_volume *volume = &gateway->model->volumes[index];
	struct hf_volume_status status;

	if (hf_core_volume_status(gateway->core, volume->number, &status) != 0) {
		model_fail(gateway->model, "volume %u was forgotten", index);
		return;
	}
	if (status.last_sequence < volume->promised)
		model_fail(gateway->model,
			   "invariant 1: volume %u came back at record %llu, but %llu was "
			   "acknowledged as durable",
			   index, (unsigned long long)status.last_sequence,
			   (unsigned long long)volume->promised);
	model_cut(gateway->model, volume, status.last_sequence);
	volume->promised = status.last_sequence; /* and is durable now */
}

void gateway_check_survival(struct gateway *gateway)
{
	for (unsigned i = 0; i < gateway->model->volume_count; i++)
		gateway_check_survival_of(gateway, i);
}

static bool check_read_done;

static void check_read_ended(struct hf_request *request)
{
	(void)request;
	check_read_done = true;
}

static void check_volume(struct gateway *gateway, struct model_volume *volume)
{
	struct hf_request *request = sim_keep_alloc(sizeof *request);
	uint8_t *bytes = sim_keep_alloc(volume->window_bytes);

	request->op = HF_OP_READ;
	request->volume = volume->number;
	request->offset = volume->first_lba * HF_UNIT;
	request->length = request->data_length = (uint32_t)volume->window_bytes;
	request->data = bytes;
	request->done = check_read_ended;
	check_read_done = false;
	sim_select(gateway->sim, HOST);
	hf_core_submit(gateway->core, request);
	if (!sim_wait_flag(gateway->sim, &check_read_done, PATIENCE_NS))
		model_fail(gateway->model, "reading a volume hangs");
	else if (request->status != 0)
		model_fail(gateway->model, "reading a volume: %s", hf_err_name(request->status));
	else
		model_compare(gateway->model, volume, bytes, volume->behind, "local content");
	sim_keep_free(bytes);
	sim_keep_free(request);
}

void gateway_check_content_of(struct gateway *gateway, unsigned volume)
{
	check_volume(gateway, &gateway->model->volumes[volume]);
}

void gateway_check_content(struct gateway *gateway)
{
	for (unsigned i = 0; i < gateway->model->volume_count; i++)
		if (gateway->model->problem[0] == '\0')
			check_volume(gateway, &gateway->model->volumes[i]);
}
