/* The model of tests/sim/model.h. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "tests/sim/model.h"
#include "tests/sim/sim_env.h"

void model_init(struct model *model)
{
	memset(model, 0, sizeof *model);
	model->op_count = 1;
	model->ticks = 1;
}

void model_free(struct model *model)
{
	for (size_t i = 1; i < model->op_count; i++) {
		sim_keep_free(model->ops[i]->data);
		sim_keep_free(model->ops[i]->before);
		sim_keep_free(model->ops[i]);
	}
	sim_keep_free(model->ops);
	for (unsigned i = 0; i < model->volume_count; i++)
		sim_keep_free(model->volumes[i].records);
}

void model_fail(struct model *model, const char *format, ...)
{
	va_list args;

	if (model->problem[0] != '\0')
		return;
	va_start(args, format);
	vsnprintf(model->problem, sizeof model->problem, format, args);
	va_end(args);
}

struct model_volume *model_find(struct model *model, uint64_t number)
{
	for (unsigned i = 0; i < model->volume_count; i++)
		if (model->volumes[i].number == number)
			return &model->volumes[i];
	return NULL;
}

struct model_op *model_op_new(struct model *model)
{
	struct model_op *op = sim_keep_alloc(sizeof *op);

	if (model->op_count >= model->op_capacity) {
		model->op_capacity = model->op_capacity ? model->op_capacity * 2 : 256;
		model->ops = sim_keep_resize(model->ops, model->op_capacity * sizeof(*model->ops));
	}
	op->stamp = (uint32_t)model->op_count;
	model->ops[model->op_count++] = op;
	return op;
}

/* ---- Bytes -------------------------------------------------------------------------------------
 */

void model_unit(const struct model *model, uint32_t stamp, uint32_t lba, uint8_t *bytes)
{
	const struct model_op *op;

	memset(bytes, 0, HF_UNIT);
	if (stamp == 0)
		return;
	op = model->ops[stamp];
	if (op->op == HF_OP_WRITE_SAME)
		lba = op->ranges[0].lba; /* the same block everywhere */
	for (unsigned i = 0; i < HF_UNIT; i += 16) {
		hf_put_le32(bytes + i, stamp);
		hf_put_le32(bytes + i + 4, lba);
		hf_put_le64(bytes + i + 8, (uint64_t)stamp * 0x9e3779b97f4a7c15ull + lba + i);
	}
}

static bool op_covers(const struct model_op *op, uint32_t lba)
{
	for (unsigned i = 0; i < op->range_count; i++)
		if (lba >= op->ranges[i].lba && lba - op->ranges[i].lba < op->ranges[i].length)
			return true;
	return false;
}

uint32_t model_whose(const struct model *model, const uint8_t *bytes, uint32_t lba, unsigned volume)
{
	uint32_t stamp = hf_get_le32(bytes);
	uint8_t expected[HF_UNIT];

	if (stamp >= model->op_count)
		return UINT32_MAX;
	if (stamp != 0 &&
	    (model->ops[stamp]->volume != volume || !op_covers(model->ops[stamp], lba)))
		return UINT32_MAX;
	model_unit(model, stamp, lba, expected);
	return memcmp(bytes, expected, HF_UNIT) == 0 ? stamp : UINT32_MAX;
}

/* The stamp its units get. */
static uint32_t op_unit_stamp(const struct model_op *op)
{
	if (op->op == HF_OP_ZERO || op->op == HF_OP_UNMAP || op->zeros)
		return 0;
	return op->stamp;
}

static void image_apply(uint32_t *image, const struct model_op *op)
{
	for (unsigned i = 0; i < op->range_count; i++)
		for (uint32_t u = 0; u < op->ranges[i].length; u++)
			image[op->ranges[i].lba + u] = op_unit_stamp(op);
}

/* ---- Requests ----------------------------------------------------------------------------------
 */

static bool op_is_write(const struct model_op *op)
{
	return op->op == HF_OP_WRITE || op->op == HF_OP_ZERO || op->op == HF_OP_WRITE_SAME ||
	       op->op == HF_OP_COMPARE_AND_WRITE || op->op == HF_OP_UNMAP;
}

static void predict_compare(const struct model *model, struct model_op *op, const uint32_t *image)
{
	uint8_t unit[HF_UNIT];

	for (uint32_t u = 0; u < op->ranges[0].length; u++) {
		model_unit(model, image[op->ranges[0].lba + u], op->ranges[0].lba + u, unit);
		for (unsigned i = 0; i < HF_UNIT; i++) {
			if (op->data[u * HF_UNIT + i] == unit[i])
				continue;
			op->predicted = HF_EMISCOMPARE;
			op->predicted_info = u * HF_UNIT + i;
			return;
		}
	}
}

static void submitted_read(struct model *model, struct model_op *op)
{
	const struct model_volume *volume = &model->volumes[op->volume];

	op->before = sim_keep_alloc(op->ranges[0].length * sizeof *op->before);
	memcpy(op->before, volume->behind + op->ranges[0].lba,
	       op->ranges[0].length * sizeof *op->before);
}

void model_submitted(struct model *model, struct model_op *op, bool survived)
{
	struct model_volume *volume = &model->volumes[op->volume];

	op->submitted = model->ticks++;
	op->ended = false;
	op->survived = survived;
	op->predicted = 0;
	op->predicted_info = 0;
	if (op->op == HF_OP_READ)
		submitted_read(model, op);
	if (op->op == HF_OP_FLUSH)
		op->promise = volume->ended_sequence;
	if (survived || !op_is_write(op))
		return;
	if (op->op == HF_OP_COMPARE_AND_WRITE)
		predict_compare(model, op, volume->ahead);
	if (op->predicted == 0)
		image_apply(volume->ahead, op);
}

/* A read may see the unit as it was at submission, or as any write left it that had not ended by
 * then. */
static bool read_is_admissible(const struct model *model, const struct model_op *op, uint32_t unit,
			       uint32_t whose)
{
	uint32_t lba = op->ranges[0].lba + unit;

	if (op->before[unit] == whose)
		return true;
	for (size_t i = op->window; i < model->op_count; i++) {
		const struct model_op *other = model->ops[i];

		if (other->volume == op->volume && op_is_write(other) && other->submitted != 0 &&
		    !other->dropped && !other->survived && op_unit_stamp(other) == whose &&
		    op_covers(other, lba) && (!other->ended || other->done_at > op->submitted))
			return true;
	}
	return false;
}

static void check_read(struct model *model, const struct model_op *op)
{
	for (uint32_t u = 0; u < op->ranges[0].length; u++) {
		uint32_t lba = op->ranges[0].lba + u;
		uint32_t whose = model_whose(model, op->data + u * HF_UNIT, lba, op->volume);

		if (whose == UINT32_MAX || !read_is_admissible(model, op, u, whose)) {
			model_fail(model,
				   "read %u of volume %u: unit %u holds write %u, expected %u or "
				   "one under way",
				   op->stamp, op->volume, lba, whose, op->before[u]);
			return;
		}
	}
}

void model_ended(struct model *model, struct model_op *op)
{
	struct model_volume *volume = &model->volumes[op->volume];

	op->done_at = model->ticks++;
	op->ended = true;
	if (op->request.status != op->predicted || op->request.info != op->predicted_info) {
		model_fail(model, "op %u (%d) of volume %u ended with %s/%llu, expected %s/%llu",
			   op->stamp, (int)op->op, op->volume, hf_err_name(op->request.status),
			   (unsigned long long)op->request.info, hf_err_name(op->predicted),
			   (unsigned long long)op->predicted_info);
		return;
	}
	if (op->request.status != 0)
		return;
	if (op->op == HF_OP_READ)
		check_read(model, op);
	if (op->op == HF_OP_FLUSH && op->promise > volume->promised)
		volume->promised = op->promise;
	if (!op_is_write(op) || op->range_count == 0)
		return;
	if (op->sequence == 0) {
		model_fail(model, "op %u of volume %u ended well without a record", op->stamp,
			   op->volume);
		return;
	}
	if (op->sequence > volume->ended_sequence)
		volume->ended_sequence = op->sequence;
	if ((!volume->write_cache || op->fua) && op->sequence > volume->promised)
		volume->promised = op->sequence;
	if (!op->survived)
		image_apply(volume->behind, op);
}

/* ---- The journal -------------------------------------------------------------------------------
 */

static void journal_push(struct model *model, struct model_volume *volume,
			 const struct hf_wlog_record *record, bool ends_append)
{
	struct model_op *op = model->ops[record->request.id];
	struct model_record *to;

	if (record->sequence != volume->base_sequence + volume->count + 1) {
		model_fail(model, "volume %llu: record %llu follows record %llu",
			   (unsigned long long)volume->number, (unsigned long long)record->sequence,
			   (unsigned long long)(volume->base_sequence + volume->count));
		return;
	}
	if (volume->count == volume->capacity) {
		volume->capacity = volume->capacity ? volume->capacity * 2 : 64;
		volume->records = sim_keep_resize(volume->records,
						  volume->capacity * sizeof *volume->records);
	}
	to = &volume->records[volume->count++];
	to->op = op->stamp;
	to->stamp = record->type == HF_RECORD_ZERO ? 0 : op->stamp;
	to->range.lba = (uint32_t)(record->lba - volume->first_lba);
	to->range.length = (uint32_t)record->length;
	to->ends_append = ends_append;
}

/* Records may be written again as they are (copying forward), one append or several in one. */
static bool is_a_copy(const struct model_volume *volume, const struct hf_wlog_append *append)
{
	for (unsigned i = 0; i < append->record_count; i++) {
		const struct hf_wlog_record *record = &append->records[i];
		const struct model_record *known;

		if (record->type != HF_RECORD_DATA && record->type != HF_RECORD_ZERO)
			continue; /* what is said of the volume */
		if (record->sequence > volume->base_sequence + volume->count)
			return false;
		if (record->sequence <= volume->base_sequence)
			continue; /* too old to tell */
		known = &volume->records[record->sequence - volume->base_sequence - 1];
		if (known->op != record->request.id ||
		    known->range.lba != record->lba - volume->first_lba ||
		    known->range.length != record->length)
			return false;
	}
	return true;
}

void model_appended(struct model *model, const struct hf_wlog_append *append)
{
	const struct hf_wlog_record *first = &append->records[0];
	struct model_volume *volume = model_find(model, first->volume);
	struct model_op *op;

	if (!volume || (first->type != HF_RECORD_DATA && first->type != HF_RECORD_ZERO))
		return;
	if (first->request.id == 0 || first->request.id >= model->op_count) {
		model_fail(model, "a record of no request");
		return;
	}
	op = model->ops[first->request.id];
	if (op->sequence != 0 && is_a_copy(volume, append)) {
		model->copies++;
		return;
	}
	if (op->sequence != 0) {
		model_fail(model, "op %u of volume %u is executed twice: record %llu and now %llu",
			   op->stamp, op->volume, (unsigned long long)op->sequence,
			   (unsigned long long)first->sequence);
		return;
	}
	for (unsigned i = 0; i < append->record_count; i++)
		journal_push(model, volume, &append->records[i], i + 1 == append->record_count);
	op->sequence = append->records[append->record_count - 1].sequence;
}

static void record_apply(uint32_t *image, const struct model_record *record)
{
	for (uint32_t u = 0; u < record->range.length; u++)
		image[record->range.lba + u] = record->stamp;
}

void model_image(const struct model_volume *volume, uint64_t sequence, uint32_t *image)
{
	memcpy(image, volume->base, sizeof volume->base);
	for (size_t i = 0; i < volume->count && volume->base_sequence + i < sequence; i++)
		record_apply(image, &volume->records[i]);
}

bool model_is_append_end(const struct model_volume *volume, uint64_t sequence)
{
	if (sequence <= volume->base_sequence)
		return true;
	return volume->records[sequence - volume->base_sequence - 1].ends_append;
}

void model_cut(struct model *model, struct model_volume *volume, uint64_t sequence)
{
	uint64_t last = volume->base_sequence + volume->count;

	if (sequence < volume->base_sequence || sequence > last) {
		model_fail(model,
			   "volume %llu came back at record %llu, which is not in %llu … %llu",
			   (unsigned long long)volume->number, (unsigned long long)sequence,
			   (unsigned long long)volume->base_sequence, (unsigned long long)last);
		return;
	}
	if (!model_is_append_end(volume, sequence)) {
		model_fail(model, "volume %llu came back at record %llu, inside an append",
			   (unsigned long long)volume->number, (unsigned long long)sequence);
		return;
	}
	for (uint64_t s = sequence + 1; s <= last; s++)
		model->ops[volume->records[s - volume->base_sequence - 1].op]->sequence = 0;
	volume->count = (size_t)(sequence - volume->base_sequence);
	volume->ended_sequence = sequence;
	model_image(volume, sequence, volume->behind);
	memcpy(volume->ahead, volume->behind, sizeof volume->ahead);
}

void model_settle(struct model_volume *volume, uint64_t sequence)
{
	size_t drop;

	if (sequence <= volume->base_sequence)
		return;
	drop = (size_t)(sequence - volume->base_sequence);
	if (drop > volume->count)
		return;
	for (size_t i = 0; i < drop; i++)
		record_apply(volume->base, &volume->records[i]);
	memmove(volume->records, volume->records + drop,
		(volume->count - drop) * sizeof *volume->records);
	volume->count -= drop;
	volume->base_sequence = sequence;
}

void model_compare(struct model *model, const struct model_volume *volume, const uint8_t *bytes,
		   const uint32_t *image, const char *what)
{
	unsigned index = (unsigned)(volume - model->volumes);

	for (uint32_t u = 0; u < volume->units; u++) {
		uint32_t whose = model_whose(model, bytes + (size_t)u * HF_UNIT, u, index);

		if (whose != image[u]) {
			model_fail(model, "%s: volume %u unit %u holds write %u, expected %u", what,
				   index, u, whose, image[u]);
			return;
		}
	}
}
