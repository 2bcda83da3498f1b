/* Letting a batch fill.
 *
 * A commit costs the same whether it carries one append or thirty, and those whose appends the last
 * one ended are about to send their next. `expected` is how many are under way when commits end:
 * what one ended and what had gathered by then, the most of late (it sinks by an eighth a commit).
 * The next batch waits for three quarters of them, so that the others are worked on while it is
 * written, but no longer than two commits take and at most FILL_MAX_NS from the end of the last.
 * What comes alone or by two never waits. */
#include "cache/wlog_private.h"

#define FILL_MAX_NS  (300 * 1000ull)
#define FILL_LOOK_NS (30 * 1000ull)
#define FILL_BYTES   (512u << 10) /* of payload: a commit of so much is well used */

/* What gathers this soon after a commit was under way with what the commit ended. */
static void fill_look(struct hf_wlog *log, uint32_t gathered)
{
	struct wlog_fill *fill = &log->fill;

	if (fill->expected < fill->ended + gathered)
		fill->expected = fill->ended + gathered;
}

void hf_wlog_fill_note(struct hf_wlog *log, const struct wlog_batch *batch)
{
	struct wlog_fill *fill = &log->fill;
	uint64_t took_ns;

	fill->ended_ns = hf_env_now_ns(log->env);
	took_ns = fill->ended_ns - fill->started_ns;
	fill->commit_ns = fill->commit_ns ? (3 * fill->commit_ns + took_ns) / 4 : took_ns;
	fill->ended = batch->append_count;
	fill->expected -= (fill->expected + 7) / 8;
	fill_look(log, 0);
}

static void fill_fired(struct hf_timer *timer)
{
	struct hf_wlog *log = hf_container_of(timer, struct hf_wlog, fill.timer);

	HF_CHECK_MAGIC(log, WLOG_MAGIC);
	hf_wlog_pump(log);
}

void hf_wlog_fill_stop(struct hf_wlog *log)
{
	log->fill.missing = 0;
	hf_env_timer_cancel(log->env, &log->fill.timer);
}

bool hf_wlog_fill_waits(struct hf_wlog *log, const struct wlog_batch *batch)
{
	struct wlog_fill *fill = &log->fill;
	uint64_t wait_ns = 2 * fill->commit_ns < FILL_MAX_NS ? 2 * fill->commit_ns : FILL_MAX_NS;
	uint64_t now_ns = hf_env_now_ns(log->env);
	uint32_t wanted;

	if (now_ns < fill->ended_ns + FILL_LOOK_NS)
		fill_look(log, batch->append_count);
	wanted = fill->expected * 3 / 4;
	fill->missing = 0;
	if (batch->append_count >= wanted || batch->payload_bytes >= FILL_BYTES || batch->reserve ||
	    batch->state || batch->link.next != &log->queue || !hf_list_empty(&log->flushes) ||
	    now_ns >= fill->ended_ns + wait_ns)
		return false;
	fill->missing = wanted - batch->append_count;
	if (fill->timer.armed)
		return true;
	fill->timer.fired = fill_fired;
	hf_env_timer_set(log->env, &fill->timer, fill->ended_ns + wait_ns);
	return true;
}
