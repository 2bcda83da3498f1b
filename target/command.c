/* SPDX-License-Identifier: GPL-2.0-only
 * Part of the Holdfast backing store, which tgtd loads; see docs/LICENSING.md. */
/* See command.h. Everything that can be refused without volumed is refused at once; the rest goes
 * into the ring and ends in command_done. Lengths are counted in 64 bits from the CDB, and no more
 * is copied than the initiator's buffer holds. */
#include "target/command.h"

#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "target/cdb.h"
#include "target/tgt_calls.h"

/* Sense key and additional sense code, as hf_err_sense gives them for errors of volumed. */
struct sense {
	uint8_t key;
	uint16_t asc;
};

#define NONE                 ((struct sense){0, 0})
#define INVALID_FIELD        ((struct sense){0x05, 0x2400})
#define INVALID_PARAMETER    ((struct sense){0x05, 0x2600})
#define PARAMETER_LIST_BYTES ((struct sense){0x05, 0x1a00})
#define LBA_OUT_OF_RANGE     ((struct sense){0x05, 0x2100})
#define WRITE_PROTECTED      ((struct sense){0x07, 0x2700})

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint32_t block_bytes(const struct tgt_cmd *cmd)
{
	return 1u << cmd->lu->block_shift;
}

static void *in_buffer(const struct tgt_cmd *cmd)
{
	return (void *)(uintptr_t)cmd->in.buffer;
}

static uint8_t *out_buffer(const struct tgt_cmd *cmd)
{
	return (uint8_t *)(uintptr_t)cmd->out.buffer;
}

/* ---- Answers ---- */

/* What was transferred against what the initiator expected (RFC 7143, 11.4.5). */
static void set_residual(struct tgt_data_buffer *data, uint64_t bytes)
{
	data->residual = (int32_t)((int64_t)data->length - (int64_t)min_u64(bytes, INT32_MAX));
	data->transfer_length = (uint32_t)min_u64(bytes, data->length);
}

static int check_condition(struct tgt_cmd *cmd, struct sense sense, const uint64_t *information)
{
	set_residual(&cmd->in, 0);
	set_residual(&cmd->out, 0);
	memset(cmd->sense, 0, sizeof cmd->sense);
	if (information)
		hf_tgt.sense_data_build_with_info(cmd, sense.key, sense.asc, *information);
	else
		hf_tgt.sense_data_build(cmd, sense.key, sense.asc);
	return SAM_CHECK_CONDITION;
}

void hf_command_end(struct tgt_cmd *cmd, int result)
{
	hf_tgt.target_cmd_io_done(cmd, result);
}

void hf_command_failed(struct tgt_cmd *cmd, int err)
{
	struct sense sense;

	hf_err_sense(err, &sense.key, &sense.asc);
	hf_command_end(cmd, check_condition(cmd, sense, NULL));
}

static void command_done(struct hf_shim_request *request)
{
	struct tgt_cmd *cmd = request->owner;
	struct hf_lun *lun = hf_lun_of(cmd->lu);
	struct sense sense;
	int result = SAM_GOOD;

	if (request->status == 0) {
		cmd->sense_length = 0;
	} else if (request->status == HF_EBUSY) {
		/* No room in the log: the initiator is to send less, and this again (SAM-5 5.3.1).
		 */
		set_residual(&cmd->in, 0);
		set_residual(&cmd->out, 0);
		cmd->sense_length = 0;
		result = SAM_TASK_SET_FULL;
	} else {
		hf_err_sense(request->status, &sense.key, &sense.asc);
		result = check_condition(cmd, sense,
					 request->status == HF_EMISCOMPARE ? &request->info : NULL);
	}
	hf_command_end(cmd, result);
	if (lun->reservations.before)
		hf_reservations_command_ended(lun);
}

/* ---- Payload, each way ---- */

static void fill_out(struct hf_shim_request *request, void *slot)
{
	memcpy(slot, out_buffer(request->owner), request->data_length);
}

/* The list was checked when the command came, but it lies where the initiator can write: counted
 * again, against what was asked of the ring. */
static void fill_ranges(struct hf_shim_request *request, void *slot)
{
	const uint8_t *list = out_buffer(request->owner);
	uint32_t descriptors = hf_get_be16(list + 2) / 16;
	unsigned shift = ((struct tgt_cmd *)request->owner)->lu->block_shift;
	struct hf_ring_range *range = slot;
	struct hf_ring_range *end = range + request->data_length / sizeof *range;

	for (uint32_t i = 0; i < descriptors && i < HF_RING_UNMAP_RANGES_MAX && range < end; i++) {
		const uint8_t *descriptor = list + 8 + 16 * (size_t)i;

		if (hf_get_be32(descriptor + 8) == 0)
			continue;
		range->offset = hf_get_be64(descriptor) << shift;
		range->length = (uint64_t)hf_get_be32(descriptor + 8) << shift;
		range++;
	}
	memset(range, 0, (size_t)((uint8_t *)end - (uint8_t *)range));
}

static void take_in(struct hf_shim_request *request, const void *slot)
{
	struct tgt_cmd *cmd = request->owner;

	memcpy(in_buffer(cmd), slot, min_u64(request->data_length, cmd->in.length));
}

/* VERIFY with BYTCHK: the medium came in the slot; the initiator gave as much, or one block. */
static void take_compare(struct hf_shim_request *request, const void *slot)
{
	struct tgt_cmd *cmd = request->owner;
	bool one_block = (cmd->cdb[1] >> 1 & 3) == 3;
	const uint8_t *wanted = out_buffer(cmd), *medium = slot;

	for (uint32_t i = 0; i < request->data_length; i++) {
		if (medium[i] != wanted[one_block ? i % block_bytes(cmd) : i]) {
			request->status = HF_EMISCOMPARE;
			request->info = i;
			return;
		}
	}
}

/* Descriptors of GET LBA STATUS as they are written: as many as there is room for. */
struct lba_list {
	uint8_t *to;
	uint32_t room, count; /* descriptors */
	unsigned shift;
	uint64_t end; /* block after the last one described */
};

/* Describes what follows up to the block `end`; an extent may be too long for one descriptor. */
static void describe(struct lba_list *list, uint64_t end, uint8_t provisioning)
{
	while (list->end < end) {
		uint32_t blocks = (uint32_t)min_u64(end - list->end, UINT32_MAX);
		uint8_t *descriptor = list->to + 8 + 16 * (size_t)list->count;

		if (list->count < list->room) {
			memset(descriptor, 0, 16);
			hf_put_be64(descriptor, list->end);
			hf_put_be32(descriptor + 8, blocks);
			descriptor[12] = provisioning;
		}
		list->count++;
		list->end += blocks;
	}
}

/* The ring counts in 512 bytes: a block of which a part is mapped is mapped. */
static void describe_extent(struct lba_list *list, const struct hf_ring_lba_status *status)
{
	uint64_t block = 1ull << list->shift;
	uint64_t first = (status->offset + block - 1) >> list->shift;
	uint64_t end = (status->offset + status->length) >> list->shift;

	if (status->provisioning == 0) {
		describe(list, (status->offset + status->length + block - 1) >> list->shift, 0);
	} else if (first < end) {
		describe(list, first, 0);
		describe(list, end, 1);
	}
}

/* GET LBA STATUS (SBC-3 5.4): a header of 8 bytes, descriptors of 16. */
static void take_lba_status(struct hf_shim_request *request, const void *slot)
{
	const struct hf_ring_lba_status *status = slot;
	struct tgt_cmd *cmd = request->owner;
	uint32_t extents = request->data_given / sizeof *status;
	uint64_t room = min_u64(cmd->in.length, hf_get_be32(cmd->cdb + 10));
	struct lba_list list = {
		.to = in_buffer(cmd),
		.room = (uint32_t)((room - 8) / 16),
		.shift = cmd->lu->block_shift,
		.end = request->offset >> cmd->lu->block_shift,
	};

	for (uint32_t i = 0; i < extents; i++)
		describe_extent(&list, &status[i]);
	if (list.count == 0) /* what was told ends within the block */
		describe(&list, list.end + 1, 0);
	memset(list.to, 0, 8);
	hf_put_be32(list.to, 4 + 16 * list.count);
	set_residual(&cmd->in, 8 + 16 * min_u64(list.count, list.room));
}

/* ---- Into the ring ---- */

int hf_command_submit(struct tgt_cmd *cmd, const struct hf_shim_request *wanted)
{
	struct hf_shim_request *request = hf_shim_request_get(hf_lun_of(cmd->lu)->ring);

	if (!request)
		return SAM_TASK_SET_FULL;
	request->op = wanted->op;
	request->flags = wanted->flags;
	request->offset = wanted->offset;
	request->length = wanted->length;
	request->data_length = wanted->data_length;
	request->fill = wanted->fill;
	request->take = wanted->take;
	request->done = wanted->done ? wanted->done : command_done;
	request->owner = cmd;
	hf_shim_submit(request);
	return HF_COMMAND_PENDING;
}

static int refuse(struct tgt_cmd *cmd, struct sense sense)
{
	return check_condition(cmd, sense, NULL);
}

int hf_command_refuse(struct tgt_cmd *cmd, uint8_t key, uint16_t asc)
{
	return refuse(cmd, (struct sense){key, asc});
}

int hf_command_gave(struct tgt_cmd *cmd, uint64_t bytes)
{
	set_residual(&cmd->in, bytes);
	cmd->sense_length = 0;
	return SAM_GOOD;
}

static int good(struct tgt_cmd *cmd)
{
	set_residual(&cmd->in, 0);
	set_residual(&cmd->out, 0);
	cmd->sense_length = 0;
	return SAM_GOOD;
}

static uint64_t bytes_of(const struct tgt_cmd *cmd, const struct hf_cdb *cdb)
{
	return (uint64_t)cdb->blocks << cmd->lu->block_shift;
}

/* From the memory tier, at once. tgt itself holds back what ORDERED and HEAD OF QUEUE tasks keep
 * waiting; those themselves take the way through volumed. */
static bool read_inline(struct tgt_cmd *cmd, uint64_t offset, uint64_t length)
{
	return cmd->attribute == TGT_SIMPLE_TASK && length <= cmd->in.length &&
	       hf_shim_read_inline(hf_lun_of(cmd->lu)->ring, offset, length, in_buffer(cmd));
}

static int perform_read(struct tgt_cmd *cmd, const struct hf_cdb *cdb)
{
	uint64_t wanted = min_u64(bytes_of(cmd, cdb), cmd->in.length);
	uint64_t whole = (wanted + block_bytes(cmd) - 1) & ~(uint64_t)(block_bytes(cmd) - 1);

	if (bytes_of(cmd, cdb) > HF_RING_TRANSFER_MAX)
		return refuse(cmd, INVALID_FIELD);
	set_residual(&cmd->in, bytes_of(cmd, cdb));
	if (wanted == 0 || read_inline(cmd, cdb->lba << cmd->lu->block_shift, whole))
		return SAM_GOOD;
	return hf_command_submit(cmd, &(struct hf_shim_request){
					      .op = HF_OP_READ,
					      .offset = cdb->lba << cmd->lu->block_shift,
					      .length = whole,
					      .data_length = (uint32_t)whole,
					      .take = take_in,
				      });
}

/* Only whole blocks that the initiator gave are written. */
static int perform_write(struct tgt_cmd *cmd, const struct hf_cdb *cdb)
{
	uint64_t given =
		min_u64(bytes_of(cmd, cdb), cmd->out.length) & ~(uint64_t)(block_bytes(cmd) - 1);

	if (bytes_of(cmd, cdb) > HF_RING_TRANSFER_MAX)
		return refuse(cmd, INVALID_FIELD);
	set_residual(&cmd->out, bytes_of(cmd, cdb));
	if (given == 0)
		return SAM_GOOD;
	return hf_command_submit(cmd, &(struct hf_shim_request){
					      .op = HF_OP_WRITE,
					      .flags = cdb->force_unit ? HF_REQUEST_FUA : 0,
					      .offset = cdb->lba << cmd->lu->block_shift,
					      .length = given,
					      .data_length = (uint32_t)given,
					      .fill = fill_out,
				      });
}

/* SBC-3 5.43. Without a number of blocks it reaches to the end of the medium. With UNMAP the blocks
 * are unmapped whatever the block given holds, as tgt and LIO do (docs/design/target.md). */
static int perform_write_same(struct tgt_cmd *cmd, const struct hf_cdb *cdb)
{
	bool has_block = !cdb->no_data && cmd->out.length == block_bytes(cmd);
	struct hf_shim_request request = {
		.op = HF_OP_ZERO,
		.offset = cdb->lba << cmd->lu->block_shift,
		.length = bytes_of(cmd, cdb),
	};

	if (cdb->blocks == 0)
		request.length = cmd->lu->size - request.offset;
	if (cdb->anchor || cdb->numbered || request.length > HF_RING_TRANSFER_MAX)
		return refuse(cmd, INVALID_FIELD);
	if (!cdb->no_data && !has_block && !(cdb->unmap && cmd->out.length == 0))
		return refuse(cmd, PARAMETER_LIST_BYTES);
	if (has_block && !cdb->unmap && !hf_is_zero(out_buffer(cmd), block_bytes(cmd))) {
		request.op = HF_OP_WRITE_SAME;
		request.data_length = block_bytes(cmd);
		request.fill = fill_out;
	}
	return hf_command_submit(cmd, &request);
}

static int perform_compare_and_write(struct tgt_cmd *cmd, const struct hf_cdb *cdb)
{
	uint64_t bytes = bytes_of(cmd, cdb);

	if (cdb->blocks > HF_COMPARE_BLOCKS_MAX)
		return refuse(cmd, INVALID_FIELD);
	if (cmd->out.length != 2 * bytes)
		return refuse(cmd, INVALID_FIELD);
	if (bytes == 0)
		return good(cmd);
	return hf_command_submit(cmd, &(struct hf_shim_request){
					      .op = HF_OP_COMPARE_AND_WRITE,
					      .flags = cdb->force_unit ? HF_REQUEST_FUA : 0,
					      .offset = cdb->lba << cmd->lu->block_shift,
					      .length = bytes,
					      .data_length = (uint32_t)(2 * bytes),
					      .fill = fill_out,
				      });
}

/* BYTCHK 00b: the medium against its checksums; 01b: against the data given; 11b: each block
 * against one block given (SBC-3 5.33). */
static int perform_verify(struct tgt_cmd *cmd, const struct hf_cdb *cdb)
{
	uint64_t bytes = bytes_of(cmd, cdb);
	struct hf_shim_request request = {
		.op = HF_OP_VERIFY,
		.offset = cdb->lba << cmd->lu->block_shift,
		.length = bytes,
	};

	if (cdb->byte_check == 2 || bytes > HF_RING_TRANSFER_MAX)
		return refuse(cmd, INVALID_FIELD);
	if (bytes == 0)
		return good(cmd);
	if (cdb->byte_check != 0) {
		if (cmd->out.length < (cdb->byte_check == 3 ? block_bytes(cmd) : bytes))
			return refuse(cmd, PARAMETER_LIST_BYTES);
		request.op = HF_OP_READ;
		request.data_length = (uint32_t)bytes;
		request.take = take_compare;
	}
	return hf_command_submit(cmd, &request);
}

/* Checks the parameter list (SBC-3 5.28) and counts the ranges that are not empty. */
static struct sense check_unmap(const struct tgt_cmd *cmd, uint64_t list_bytes, uint32_t *ranges)
{
	const uint8_t *list = out_buffer(cmd);
	uint64_t blocks = cmd->lu->size >> cmd->lu->block_shift;
	uint32_t descriptors;

	*ranges = 0;
	if (list_bytes == 0)
		return NONE;
	if (list_bytes < 8)
		return PARAMETER_LIST_BYTES;
	descriptors = hf_get_be16(list + 2) / 16;
	if (8 + 16 * (uint64_t)descriptors > list_bytes)
		return PARAMETER_LIST_BYTES;
	if (descriptors > HF_RING_UNMAP_RANGES_MAX)
		return INVALID_PARAMETER;
	for (uint32_t i = 0; i < descriptors; i++) {
		uint64_t lba = hf_get_be64(list + 8 + 16 * (size_t)i);
		uint32_t count = hf_get_be32(list + 16 + 16 * (size_t)i);

		if (lba > blocks || count > blocks - lba)
			return LBA_OUT_OF_RANGE;
		*ranges += count > 0;
	}
	return NONE;
}

static int perform_unmap(struct tgt_cmd *cmd, const struct hf_cdb *cdb)
{
	struct sense sense;
	uint32_t ranges;

	if (cdb->anchor)
		return refuse(cmd, INVALID_FIELD);
	sense = check_unmap(cmd, min_u64(cdb->list_bytes, cmd->out.length), &ranges);
	if (sense.key)
		return refuse(cmd, sense);
	if (ranges == 0)
		return good(cmd);
	return hf_command_submit(
		cmd, &(struct hf_shim_request){
			     .op = HF_OP_UNMAP,
			     .data_length = ranges * (uint32_t)sizeof(struct hf_ring_range),
			     .fill = fill_ranges,
		     });
}

static int perform_lba_status(struct tgt_cmd *cmd, const struct hf_cdb *cdb)
{
	uint64_t offset = cdb->lba << cmd->lu->block_shift;
	uint64_t room = min_u64(cmd->in.length, cdb->list_bytes);
	uint64_t entries = room < 24 ? 1 : min_u64((room - 8) / 16, 1024);

	if (cdb->lba >= cmd->lu->size >> cmd->lu->block_shift)
		return refuse(cmd, LBA_OUT_OF_RANGE);
	if (room < 8)
		return refuse(cmd, INVALID_FIELD);
	return hf_command_submit(
		cmd, &(struct hf_shim_request){
			     .op = HF_OP_LBA_STATUS,
			     .offset = offset,
			     .length = cmd->lu->size - offset,
			     .data_length = (uint32_t)(entries * sizeof(struct hf_ring_lba_status)),
			     .take = take_lba_status,
		     });
}

/* IMMED is not looked at: the status comes when the flush has ended, which promises more. */
static int perform_synchronize(struct tgt_cmd *cmd)
{
	set_residual(&cmd->in, 0);
	if (cmd->attribute == TGT_SIMPLE_TASK && hf_shim_flush_inline(hf_lun_of(cmd->lu)->ring))
		return good(cmd);
	return hf_command_submit(cmd, &(struct hf_shim_request){.op = HF_OP_FLUSH});
}

/* ---- Checks that all share ---- */

static bool changes_the_medium(enum hf_cdb_kind kind)
{
	return kind == HF_CDB_WRITE || kind == HF_CDB_WRITE_SAME ||
	       kind == HF_CDB_COMPARE_AND_WRITE || kind == HF_CDB_UNMAP;
}

static struct sense check(const struct tgt_cmd *cmd, const struct hf_cdb *cdb)
{
	uint64_t blocks = cmd->lu->size >> cmd->lu->block_shift;
	const struct tgt_attributes *attributes = &cmd->lu->attributes;
	bool has_protect = cdb->kind != HF_CDB_UNMAP && cdb->kind != HF_CDB_LBA_STATUS &&
			   cdb->kind != HF_CDB_SYNCHRONIZE && cdb->kind != HF_CDB_PREFETCH;

	if (has_protect && cdb->protect != 0)
		return INVALID_FIELD;
	if (changes_the_medium(cdb->kind) &&
	    (attributes->readonly || attributes->software_write_protect))
		return WRITE_PROTECTED;
	if (cdb->kind == HF_CDB_UNMAP || cdb->kind == HF_CDB_LBA_STATUS)
		return NONE;
	if (cdb->lba > blocks || cdb->blocks > blocks - cdb->lba ||
	    (cdb->blocks == 0 && cdb->lba >= blocks && cdb->kind != HF_CDB_SYNCHRONIZE))
		return LBA_OUT_OF_RANGE;
	return NONE;
}

int hf_command_medium(struct tgt_cmd *cmd)
{
	struct hf_cdb cdb;
	struct sense sense;

	hf_cdb_decode(cmd->cdb, &cdb);
	sense = check(cmd, &cdb);
	if (sense.key)
		return refuse(cmd, sense);
	switch (cdb.kind) {
	case HF_CDB_READ:
		return perform_read(cmd, &cdb);
	case HF_CDB_WRITE:
		return perform_write(cmd, &cdb);
	case HF_CDB_WRITE_SAME:
		return perform_write_same(cmd, &cdb);
	case HF_CDB_COMPARE_AND_WRITE:
		return perform_compare_and_write(cmd, &cdb);
	case HF_CDB_VERIFY:
		return perform_verify(cmd, &cdb);
	case HF_CDB_SYNCHRONIZE:
		return perform_synchronize(cmd);
	case HF_CDB_PREFETCH:
		return good(cmd);
	case HF_CDB_UNMAP:
		return perform_unmap(cmd, &cdb);
	case HF_CDB_LBA_STATUS:
		return perform_lba_status(cmd, &cdb);
	case HF_CDB_OTHER:
		break;
	}
	return refuse(cmd, (struct sense){0x05, 0x2000});
}
