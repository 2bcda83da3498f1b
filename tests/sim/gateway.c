/* The gateway of tests/sim/gateway.h. */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "cache/wlog.h"
#include "tests/sim/gateway.h"

#define HOST         0u
#define PATIENCE_NS  (600 * HF_NS_PER_S) /* virtual; what takes longer hangs */
#define TENANT       7u
#define SEGMENT_SIZE (64u << 10)

#define STICKY_OPS_MAX 200u /* a completion is taken before so many later requests have come */

/* The listener: every append passes here on its way from the core to the log. */
static struct model *listening;

void __real_hf_wlog_append(struct hf_wlog *log, struct hf_wlog_append *append);
void __wrap_hf_wlog_append(struct hf_wlog *log, struct hf_wlog_append *append);

void __wrap_hf_wlog_append(struct hf_wlog *log, struct hf_wlog_append *append)
{
	if (listening)
		model_appended(listening, append);
	__real_hf_wlog_append(log, append);
}

static void alarmed(void *context, uint64_t volume, const char *text)
{
	struct gateway *gateway = context;

	if (!gateway->expect_alarms)
		model_fail(gateway->model, "alarm of volume %llx: %s", (unsigned long long)volume,
			   text);
}

static void volume_changed(void *context, uint64_t volume)
{
	sim_tier_volume_changed(&((struct gateway *)context)->tier, volume);
}

static void range_holds(void *context, uint64_t volume, uint64_t offset, uint64_t length,
			const void *bytes)
{
	sim_tier_range_holds(&((struct gateway *)context)->tier, volume, offset, length, bytes);
}

static bool range_changed(void *context, uint64_t volume, uint64_t offset, uint64_t length)
{
	return sim_tier_range_changed(&((struct gateway *)context)->tier, volume, offset, length);
}

void gateway_init(struct gateway *gateway, struct sim *sim, struct model *model)
{
	memset(gateway, 0, sizeof *gateway);
	gateway->sim = sim;
	gateway->model = model;
	gateway->ring[0] = 1;
	sim_tier_init(&gateway->tier, model);
	listening = model;
}

void gateway_free(struct gateway *gateway)
{
	sim_tier_free(&gateway->tier);
}

/* ---- The process -------------------------------------------------------------------------------
 */

static bool format_done;

static void formatted(struct hf_wlog_format *format)
{
	(void)format;
	format_done = true;
}

void gateway_format(struct gateway *gateway, unsigned log)
{
	struct hf_wlog_format *format = sim_keep_alloc(sizeof *format);

	format->env = sim_env(gateway->sim, HOST);
	format->disk = gateway_disk_of(log);
	format->uuid[0] = (uint8_t)(sim_random(gateway->sim) | 1);
	format->uuid[1] = (uint8_t)log;
	format->uuid[2] = (uint8_t)++gateway->formats;
	format->segment_bytes = SEGMENT_SIZE;
	format->done = formatted;
	format->force = true;
	sim_select(gateway->sim, HOST);
	for (unsigned tries = 0; tries < 10; tries++) { /* the disk has errors now and then */
		format_done = false;
		hf_wlog_format_start(format);
		if (!sim_wait_flag(gateway->sim, &format_done, PATIENCE_NS) || format->status == 0)
			break;
	}
	if (!format_done || format->status != 0)
		model_fail(gateway->model, "formatting: %d %s", format->status,
			   format->message.text);
	sim_keep_free(format);
}

static void core_opened(struct hf_core_open *open)
{
	struct gateway *gateway = hf_container_of(open, struct gateway, open);

	gateway->opened = true;
}

bool gateway_boot(struct gateway *gateway)
{
	struct hf_core_config *config = &gateway->open.config;

	memset(&gateway->open, 0, sizeof gateway->open);
	config->env = sim_env(gateway->sim, HOST);
	config->disk_count = gateway->log_count;
	for (unsigned i = 0; i < gateway->log_count; i++)
		config->disks[i] = gateway_disk_of(i);
	config->object_bytes = 12u << 10;
	config->object_records = 11;
	config->object_timer_ms = 30;
	config->uploads_max = 4;
	config->turn_records = 3; /* a crash between any two turns */
	config->read_deadline_ms = 300000;
	config->claims_look_ms = 40;
	config->map_bytes = 1; /* leaves and headers go as soon as nobody uses them */
	config->checkpoints =
		(struct hf_remote_checkpoints){.objects = 3, .age_ms = 300, .interval_ms = 50};
	config->write_horizon_ms = 1000;
	config->write_wait_ms = 1000000; /* nothing is refused for want of room */
	config->cache_bytes = 14u << 10; /* one chunk: most hits are the disk's */
	config->cache_disk = GATEWAY_CACHE_DISK;
	/* Little, so that some of it is still there and some is not; or nothing. */
	config->log_memory_bytes = sim_random(gateway->sim) % 3 * (48u << 10);
	config->keep_bytes = sim_random(gateway->sim) % 4 ? 1u << 30 : 0;
	config->requests_max = 16;
	config->context = gateway;
	config->alarm = alarmed;
	config->volume_changed = volume_changed;
	config->range_changed = range_changed;
	config->range_holds = range_holds;
	gateway->open.opened = core_opened;
	gateway->opened = false;
	sim_select(gateway->sim, HOST);
	hf_core_open_start(&gateway->open);
	if (!sim_wait_flag(gateway->sim, &gateway->opened, PATIENCE_NS)) {
		model_fail(gateway->model, "opening hangs");
		return false;
	}
	gateway->core = gateway->open.core;
	if (!gateway->core)
		model_fail(gateway->model, "opening: %s (%s)", hf_err_name(gateway->open.status),
			   gateway->open.message.text);
	else if (gateway->dead_ring[0] != 0)
		hf_core_ring_forget(gateway->core, gateway->dead_ring);
	if (gateway->core)
		sim_tier_start(&gateway->tier);
	memset(gateway->dead_ring, 0, sizeof gateway->dead_ring);
	return gateway->core != NULL;
}

/* What a person would look at first. */
static void describe(const struct gateway *gateway)
{
	struct hf_volume_status volume;
	struct hf_core_status core;

	hf_core_status(gateway->core, &core);
	printf("log: %llu of %llu bytes free; requests %llu, uploads %llu\n",
	       (unsigned long long)core.log_free_bytes, (unsigned long long)core.log_total_bytes,
	       (unsigned long long)core.requests_under_way,
	       (unsigned long long)core.uploads_under_way);
	for (unsigned i = 0; i < gateway->model->volume_count; i++) {
		hf_core_volume_status(gateway->core, gateway->model->volumes[i].number, &volume);
		printf("volume %u: state %d (%s), recovery point %llu of %llu\n", i,
		       (int)volume.state, volume.reason, (unsigned long long)volume.recovery_point,
		       (unsigned long long)volume.last_sequence);
	}
	for (unsigned i = 0; i < gateway->flight_count; i++)
		if (!gateway->flight[i]->ended)
			printf("op %u: %d of volume %u\n", gateway->flight[i]->stamp,
			       (int)gateway->flight[i]->op, gateway->flight[i]->volume);
}

static void change_done(struct hf_volume_change *change)
{
	*(bool *)change->owner = true;
}

static bool change_wait(struct gateway *gateway, unsigned volume, const char *what)
{
	struct hf_volume_change *change = &gateway->changes[volume];

	if (!sim_wait_flag(gateway->sim, &gateway->changes_done[volume], PATIENCE_NS)) {
		describe(gateway);
		model_fail(gateway->model, "%s of volume %u hangs", what, volume);
	} else if (change->status != 0)
		model_fail(gateway->model, "%s of volume %u: %s (%s)", what, volume,
			   hf_err_name(change->status), change->message.text);
	return gateway->model->problem[0] == '\0';
}

static void change_prepare(struct gateway *gateway, unsigned index, bool create)
{
	const struct model_volume *volume = &gateway->model->volumes[index];
	struct hf_volume_change *change = &gateway->changes[index];

	memset(change, 0, sizeof *change);
	change->config.tenant = TENANT;
	change->config.volume = volume->number;
	change->config.size_bytes = volume->first_lba * HF_UNIT + volume->window_bytes;
	change->config.attach_epoch = volume->epoch;
	change->config.write_cache = volume->write_cache;
	change->config.create = create;
	memset(change->config.wrap_key, 0x5a, sizeof change->config.wrap_key);
	change->done = change_done;
	change->owner = &gateway->changes_done[index];
	gateway->changes_done[index] = false;
}

void gateway_attach_start(struct gateway *gateway, bool create)
{
	sim_select(gateway->sim, HOST);
	for (unsigned i = 0; i < gateway->model->volume_count; i++) {
		change_prepare(gateway, i, create);
		hf_core_attach(gateway->core, &gateway->changes[i]);
	}
}

bool gateway_attach(struct gateway *gateway, bool create)
{
	gateway_attach_start(gateway, create);
	for (unsigned i = 0; i < gateway->model->volume_count; i++)
		if (!change_wait(gateway, i, "attaching"))
			return false;
	return true;
}

int gateway_attach_one(struct gateway *gateway, unsigned volume)
{
	sim_select(gateway->sim, HOST);
	change_prepare(gateway, volume, false);
	hf_core_attach(gateway->core, &gateway->changes[volume]);
	if (!sim_wait_flag(gateway->sim, &gateway->changes_done[volume], PATIENCE_NS))
		model_fail(gateway->model, "attaching volume %u hangs", volume);
	return gateway->changes[volume].status;
}

void gateway_move(struct gateway *gateway, unsigned volume, unsigned log)
{
	sim_select(gateway->sim, HOST);
	hf_core_volume_move(gateway->core, gateway->model->volumes[volume].number, log);
}

unsigned gateway_log_of(struct gateway *gateway, unsigned volume)
{
	struct hf_volume_status status;

	if (hf_core_volume_status(gateway->core, gateway->model->volumes[volume].number, &status) !=
	    0)
		return UINT_MAX;
	return status.log;
}

void gateway_detach_start(struct gateway *gateway, unsigned volume, bool force)
{
	sim_select(gateway->sim, HOST);
	change_prepare(gateway, volume, false);
	gateway->changes[volume].force = force;
	hf_core_detach(gateway->core, &gateway->changes[volume]);
}

bool gateway_detach_wait(struct gateway *gateway, unsigned volume)
{
	return change_wait(gateway, volume, "detaching");
}

bool gateway_knows_all(const struct gateway *gateway)
{
	struct hf_volume_status status;

	for (unsigned i = 0; i < gateway->model->volume_count; i++)
		if (hf_core_volume_status(gateway->core, gateway->model->volumes[i].number,
					  &status) != 0)
			return false;
	return true;
}

static bool close_done;

static void core_closed(void *context)
{
	(void)context;
	close_done = true;
}

bool gateway_close(struct gateway *gateway)
{
	close_done = false;
	gateway->closing = true;
	sim_select(gateway->sim, HOST);
	hf_core_close(gateway->core, core_closed, NULL);
	if (!sim_wait_flag(gateway->sim, &close_done, PATIENCE_NS))
		model_fail(gateway->model, "closing hangs");
	sim_tier_stop(&gateway->tier);
	if (close_done && sim_heap_count(gateway->sim, HOST) != 0)
		model_fail(gateway->model, "closing leaves %zu bytes of memory",
			   sim_heap_count(gateway->sim, HOST));
	gateway->closing = false;
	return close_done;
}

void gateway_died(struct gateway *gateway, bool ring_dies)
{
	gateway->core = NULL;
	sim_tier_died(&gateway->tier);
	gateway->undelivered = 0;
	gateway->cancelling = NULL;
	if (ring_dies) {
		for (unsigned i = 0; i < gateway->flight_count; i++)
			gateway->flight[i]->dropped = true;
		gateway->flight_count = 0;
		memcpy(gateway->dead_ring, gateway->ring, sizeof gateway->ring);
		gateway->ring[0]++;
	}
}

/* ---- The shim ----------------------------------------------------------------------------------
 */

static void cancelled_in_time(struct gateway *gateway, struct model_op *op)
{
	struct model_volume *volume = &gateway->model->volumes[op->volume];

	if (op->sequence != 0)
		model_fail(gateway->model, "op %u was cancelled, and is in the log", op->stamp);
	HF_ASSERT(gateway->flight[gateway->flight_count - 1] == op);
	gateway->flight_count--;
	op->dropped = true;
	memcpy(volume->ahead, gateway->ahead_before, sizeof volume->ahead);
	gateway->cancels++;
}

static void request_done(struct hf_request *request)
{
	struct gateway *gateway = request->owner;
	struct model_op *op = hf_container_of(request, struct model_op, request);

	if (gateway->closing && request->status == HF_ECANCELED)
		return; /* not executed */
	if (op == gateway->cancelling) {
		gateway->cancelling = NULL;
		if (request->status == HF_ECANCELED) {
			cancelled_in_time(gateway, op);
			return;
		}
	}
	gateway->undelivered++;
	model_ended(gateway->model, op);
}

static void op_release(struct model_op *op)
{
	op->delivered = true;
	sim_keep_free(op->data);
	sim_keep_free(op->before);
	op->data = NULL;
	op->before = NULL;
}

static void request_verified(struct hf_request *request, const void *bytes)
{
	struct gateway *gateway = request->owner;

	sim_tier_verified(&gateway->tier, hf_container_of(request, struct model_op, request),
			  bytes);
}

/* As the shim does: what the memory tier has is answered at once. */
static bool answered_inline(struct gateway *gateway, struct model_op *op)
{
	if (op->op != HF_OP_READ)
		return false;
	if (!sim_tier_read(&gateway->tier, op)) {
		sim_tier_begin(&gateway->tier, op);
		op->request.verified = request_verified;
		return false;
	}
	gateway->undelivered++;
	model_ended(gateway->model, op);
	return true;
}

void gateway_submit(struct gateway *gateway, struct model_op *op, bool survived)
{
	struct hf_request *request = &op->request;

	memset(request, 0, sizeof *request);
	request->op = op->op;
	request->flags = op->fua ? HF_REQUEST_FUA : 0;
	request->volume = gateway->model->volumes[op->volume].number;
	memcpy(request->id.ring, gateway->ring, sizeof gateway->ring);
	request->id.id = op->stamp;
	if (op->op != HF_OP_UNMAP && op->range_count > 0) {
		request->offset =
			(gateway->model->volumes[op->volume].first_lba + op->ranges[0].lba) *
			HF_UNIT;
		request->length = (uint64_t)op->ranges[0].length * HF_UNIT;
	}
	request->data = op->data;
	request->data_length = op->data_length;
	request->done = request_done;
	request->owner = gateway;
	op->window = gateway->flight[0]->stamp;
	model_submitted(gateway->model, op, survived);
	sim_select(gateway->sim, HOST);
	if (!answered_inline(gateway, op))
		hf_core_submit(gateway->core, request);
}

static void check_tier_block(struct gateway *gateway, struct model_op *op)
{
	struct model *model = gateway->model;

	op->window =
		gateway->flight_count > 0 ? gateway->flight[0]->stamp : (uint32_t)model->op_count;
	if (!sim_tier_read(&gateway->tier, op))
		return;
	model_submitted(model, op, false);
	model_ended(model, op);
	sim_keep_free(op->before);
}

/* Requests that the core never hears of have no stamp. */
void gateway_check_tier(struct gateway *gateway)
{
	struct model_op op = {.op = HF_OP_READ, .range_count = 1};

	op.data = sim_keep_alloc((size_t)8 * HF_UNIT);
	for (unsigned v = 0; v < gateway->model->volume_count; v++)
		for (uint32_t lba = 0; lba < gateway->model->volumes[v].units; lba += 8) {
			op.volume = (uint8_t)v;
			op.ranges[0] = (struct model_range){.lba = lba, .length = 8};
			check_tier_block(gateway, &op);
		}
	sim_keep_free(op.data);
}

void gateway_submit_cancelled(struct gateway *gateway, struct model_op *op)
{
	memcpy(gateway->ahead_before, gateway->model->volumes[op->volume].ahead,
	       sizeof gateway->ahead_before);
	gateway->cancelling = op;
	gateway_submit(gateway, op, false);
	sim_select(gateway->sim, HOST);
	hf_core_cancel(gateway->core, &op->request);
}

void gateway_deliver(struct gateway *gateway, bool all)
{
	unsigned kept = 0;
	uint64_t oldest;

	for (unsigned i = 0; i < gateway->flight_count; i++) {
		struct model_op *op = gateway->flight[i];

		/* Some completions lie there long, while the log moves on below them. */
		bool takes = sim_random_below(gateway->sim, op->stamp % 16 == 0 ? 400 : 3) == 0 ||
			     gateway->model->op_count - op->stamp > STICKY_OPS_MAX;

		if (op->ended && (all || takes)) {
			gateway->undelivered--;
			op_release(op);
		} else {
			gateway->flight[kept++] = op;
		}
	}
	gateway->flight_count = kept;
	oldest = kept > 0 ? gateway->flight[0]->stamp : gateway->model->op_count;
	sim_select(gateway->sim, HOST);
	hf_core_ring_progress(gateway->core, gateway->ring, oldest);
}

void gateway_resubmit(struct gateway *gateway)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < gateway->flight_count; i++) {
		struct model_op *op = gateway->flight[i];

		/* What changes nothing is not worth repeating. */
		if (op->op == HF_OP_READ || op->op == HF_OP_FLUSH)
			op->dropped = true;
		else
			gateway->flight[kept++] = op;
	}
	gateway->flight_count = kept;
	for (unsigned i = 0; i < kept; i++)
		gateway_submit(gateway, gateway->flight[i], gateway->flight[i]->sequence != 0);
}

bool gateway_idle(struct gateway *gateway)
{
	return gateway->undelivered == gateway->flight_count;
}

static bool idle_or_wrong(void *context)
{
	struct gateway *gateway = context;

	return gateway_idle(gateway) || gateway->model->problem[0] != '\0';
}

bool gateway_settle(struct gateway *gateway)
{
	if (!sim_wait(gateway->sim, idle_or_wrong, gateway, PATIENCE_NS)) {
		describe(gateway);
		model_fail(gateway->model, "%u requests hang",
			   gateway->flight_count - gateway->undelivered);
	}
	return gateway->model->problem[0] == '\0';
}
