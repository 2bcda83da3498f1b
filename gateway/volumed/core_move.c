/* How a volume changes the log that it is in. Its writes are held meanwhile; reads and uploads go
 * on, since what the old log has stays readable there until the store has it. Core's thread.
 *
 *   DRAIN  appends under way end, and the UPLOADED record if one is
 *   FLUSH  everything of the volume in the old log is durable
 *   IN     to the new log, durable: HANDOVER and a CONTROL with one move more, the results of its
 *          requests, and the stay in the old log                     ← from here on it is there
 *   OUT    to the old log, durable: HANDOVER with LBA 1
 *   end    the first write goes to the new log
 *
 * Whatever is lost in between, one rule decides: the log that claims it with most moves is right. A
 * crash between IN and OUT leaves two claims; nothing was written in between, so the old log alone
 * would do as well, and OUT is written at the next start. Only then does the new log hold what
 * nobody else has: without OUT, and with the new log missing at a start, the old one would serve
 * what is not the newest. */
#include <stdlib.h>
#include <string.h>

#include "gateway/volumed/core_state.h"

#define MOVE_MAGIC 0x48464d56u

enum move_phase { MOVE_DRAIN = 1, MOVE_FLUSH, MOVE_IN, MOVE_OUT };

struct hf_core_move {
	uint32_t magic;
	struct hf_core_volume *volume;
	struct hf_core_log *from, *to;
	enum move_phase phase;
	unsigned outs; /* records under way */
	struct hf_wlog_flush flush;
	struct hf_core_state_volume says;
};

/* ---- Stays -------------------------------------------------------------------------------------
 */

void hf_core_stays_trim(struct hf_core_volume *volume)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < volume->stay_count; i++)
		if (volume->stays[i].last > volume->uploaded_through)
			volume->stays[kept++] = volume->stays[i];
	volume->stay_count = kept;
}

bool hf_core_volume_was_in(const struct hf_core_volume *volume, const struct hf_core_log *log)
{
	for (unsigned i = 0; i < volume->stay_count; i++)
		if (memcmp(volume->stays[i].log, log->uuid, sizeof log->uuid) == 0)
			return true;
	return false;
}

/* ---- The end -----------------------------------------------------------------------------------
 */

static void move_end(struct hf_core_move *move)
{
	struct hf_core_volume *volume = move->volume;

	volume->move = NULL;
	move->magic = 0;
	free(move);
	hf_core_held_run(volume);
	if (volume->attach_wanted && !volume->core->closing) {
		volume->attach_wanted = false;
		hf_core_attach_log(volume);
	}
	hf_core_volume_changed(volume);
	hf_core_leave_step(volume);
}

static void out_logged(struct hf_core_volume *volume, struct hf_core_log *log, uint64_t batch,
		       int status)
{
	struct hf_core_move *move = volume->move;

	(void)log;
	(void)batch;
	(void)status; /* cancelled: it is written at the next start */
	HF_CHECK_MAGIC(move, MOVE_MAGIC);
	if (--move->outs == 0)
		move_end(move);
}

static void out_start(struct hf_core_move *move, struct hf_core_log *log)
{
	move->phase = MOVE_OUT;
	move->outs++;
	hf_core_control_append(log, HF_RECORD_HANDOVER, HF_CORE_HANDOVER_OUT_LBA, move->volume,
			       NULL, out_logged);
}

/* ---- The new log -------------------------------------------------------------------------------
 */

static void in_logged(struct hf_core_volume *volume, struct hf_core_log *log, uint64_t batch,
		      int status)
{
	struct hf_core_move *move = volume->move;

	HF_CHECK_MAGIC(move, MOVE_MAGIC);
	if (status != 0) {
		move_end(move);
		return;
	}
	volume->moves = move->says.moves;
	volume->since_batch = batch;
	volume->stay_first = move->says.stay_first;
	volume->stay_count = move->says.stay_count;
	memcpy(volume->stays, move->says.stays, sizeof volume->stays);
	hf_core_log_pin(volume, log);
	hf_core_stays_trim(volume);
	if (volume->core->closing)
		move_end(move);
	else
		out_start(move, move->from);
}

static void in_start(struct hf_core_move *move)
{
	struct hf_core_volume *volume = move->volume;
	struct hf_core_state_volume *says = &move->says;

	move->phase = MOVE_IN;
	hf_core_state_of(volume, says);
	if (says->last_sequence >= says->stay_first &&
	    says->last_sequence > volume->uploaded_through) {
		struct hf_core_stay *stay = &says->stays[says->stay_count++];

		memcpy(stay->log, move->from->uuid, sizeof stay->log);
		stay->since_batch = volume->since_batch;
		stay->first = volume->stay_first;
		stay->last = says->last_sequence;
	}
	says->moves++;
	says->since_batch = HF_CORE_SINCE_HERE;
	says->stay_first = says->last_sequence + 1;
	hf_core_control_append(move->to, HF_RECORD_HANDOVER, 0, volume, says, in_logged);
}

static void flush_done(struct hf_wlog_flush *flush)
{
	struct hf_core_move *move = hf_container_of(flush, struct hf_core_move, flush);
	struct hf_core *core = move->volume->core;

	HF_CHECK_MAGIC(move, MOVE_MAGIC);
	hf_core_enter(core);
	core->holds--;
	if (flush->status != 0 || move->to->state != HF_CORE_LOG_SERVING || core->closing)
		move_end(move);
	else
		in_start(move);
	hf_core_leave(core);
}

void hf_core_move_step(struct hf_core_volume *volume)
{
	struct hf_core_move *move = volume->move;

	if (!move || move->phase != MOVE_DRAIN || volume->appends > 0 || volume->uploaded_busy ||
	    volume->attach_records > 0)
		return;
	if (volume->core->closing) { /* its log may be closed already */
		move_end(move);
		return;
	}
	move->phase = MOVE_FLUSH;
	move->flush.done = flush_done;
	volume->core->holds++;
	hf_wlog_flush(move->from->wlog, &move->flush);
}

void hf_core_move_abort(struct hf_core_volume *volume)
{
	if (volume->move && volume->move->phase == MOVE_DRAIN)
		move_end(volume->move);
}

/* ---- Asked -------------------------------------------------------------------------------------
 */

static struct hf_core_move *move_create(struct hf_core_volume *volume)
{
	struct hf_core_move *move = hf_core_alloc(sizeof *move);

	move->magic = MOVE_MAGIC;
	move->volume = volume;
	volume->move = move;
	return move;
}

int hf_core_move_start(struct hf_core_volume *volume, struct hf_core_log *to)
{
	struct hf_core_move *move;

	hf_core_stays_trim(volume);
	if (volume->home == to)
		return 0;
	if (volume->move || volume->copying || !volume->in_log || !volume->home->wlog ||
	    volume->core->closing || volume->state == HF_VOLUME_DETACHING ||
	    volume->state == HF_VOLUME_DELETING || volume->stay_count == HF_CORE_STAYS_MAX ||
	    to->state != HF_CORE_LOG_SERVING)
		return HF_EBUSY;
	move = move_create(volume);
	move->from = volume->home;
	move->to = to;
	move->phase = MOVE_DRAIN;
	hf_core_move_step(volume);
	return 0;
}

int hf_core_volume_move(struct hf_core *core, uint64_t number, unsigned log_index)
{
	struct hf_core_volume *volume = hf_core_volume_find(core, number);
	struct hf_core_log *to = log_index < HF_CORE_LOGS_MAX ? core->logs[log_index] : NULL;
	int status;

	if (!volume || !to)
		return HF_ENOENT;
	hf_core_enter(core);
	status = hf_core_move_start(volume, to);
	hf_core_leave_later(core);
	return status;
}

void hf_core_move_tell_left(struct hf_core_volume *volume, struct hf_core_log *log)
{
	struct hf_core_move *move = volume->move ? volume->move : move_create(volume);

	out_start(move, log);
}
