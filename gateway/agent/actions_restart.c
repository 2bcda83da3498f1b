/* Restarts of tgtd and volumed (actions_internal.h). "Restart" means that the run which the mark
 * names ends, and another one answers. Broker and volumed end only the run that is named, so asking
 * twice, also by the next agent after a crash, ends one run once. Loop's thread. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "gateway/agent/actions_internal.h"

#define ASK_AGAIN_MS 1000u

/* ---- Marks ---- */

static int add_mark(struct hf_actions *actions, uint32_t process, struct hf_errmsg *message)
{
	struct hf_mark *mark = &actions->marks[actions->mark_count];
	bool answers;

	memset(mark, 0, sizeof *mark);
	mark->actions = actions;
	mark->process = process;
	mark->boot_length = hf_reconciler_boot(actions->config.desired->reconciler, process,
					       mark->boot, &answers);
	if (mark->boot_length == 0)
		return hf_fail(message, HF_ENOTREADY, "%s has not been seen yet",
			       process == HF_PROCESS_VOLUMED ? "volumed" : "that tgtd");
	actions->mark_count++;
	return 0;
}

int hf_restart_marks(struct hf_actions *actions, uint32_t kind, uint32_t tgtd,
		     struct hf_errmsg *message)
{
	unsigned count = hf_reconciler_tgtds(actions->config.desired->reconciler);
	int err = 0;

	actions->mark_count = 0;
	if (kind == HOLDFAST__ACTION_KIND__ACTION_RESTART_VOLUMED)
		return add_mark(actions, HF_PROCESS_VOLUMED, message);
	if (tgtd > count)
		return hf_fail(message, HF_EINVAL, "there are %u tgtd here", count);
	for (uint32_t i = 0; !err && i < count; i++)
		if (tgtd == 0 || tgtd == i + 1)
			err = add_mark(actions, i, message);
	return err;
}

/* {u32 process, u32 length, boot} … */
size_t hf_restart_encode(const struct hf_actions *actions, uint8_t out[HF_JOURNAL_MARK_MAX])
{
	size_t at = 0;

	for (unsigned i = 0; i < actions->mark_count; i++) {
		const struct hf_mark *mark = &actions->marks[i];

		HF_ASSERT(at + 8 + mark->boot_length <= HF_JOURNAL_MARK_MAX);
		hf_put_le32(out + at, mark->process);
		hf_put_le32(out + at + 4, (uint32_t)mark->boot_length);
		memcpy(out + at + 8, mark->boot, mark->boot_length);
		at += 8 + mark->boot_length;
	}
	return at;
}

int hf_restart_decode(struct hf_actions *actions, const uint8_t *bytes, size_t length)
{
	unsigned count = hf_reconciler_tgtds(actions->config.desired->reconciler);

	actions->mark_count = 0;
	for (size_t at = 0; at < length;) {
		struct hf_mark *mark = &actions->marks[actions->mark_count];

		if (actions->mark_count == HF_MARKS_MAX || length - at < 8)
			return HF_ECORRUPT;
		memset(mark, 0, sizeof *mark);
		mark->actions = actions;
		mark->process = hf_get_le32(bytes + at);
		mark->boot_length = hf_get_le32(bytes + at + 4);
		at += 8;
		if (mark->boot_length == 0 || mark->boot_length > HF_BOOT_MAX ||
		    mark->boot_length > length - at ||
		    (mark->process != HF_PROCESS_VOLUMED && mark->process >= count))
			return HF_ECORRUPT;
		memcpy(mark->boot, bytes + at, mark->boot_length);
		at += mark->boot_length;
		actions->mark_count++;
	}
	return actions->mark_count ? 0 : HF_ECORRUPT;
}

/* ---- Carrying out ---- */

struct asking {
	struct hf_actions *actions;
	uint64_t action;
	unsigned mark;
};

static void take_answer(struct hf_mark *mark, int err, const char *reason)
{
	mark->asking = false;
	if (!err || err == HF_ESTALE) {
		mark->gone = true;
		return;
	}
	/* An older broker or volumed; a nonsense question stays one. */
	mark->refused = err == HF_EUNSUPPORTED || err == HF_EPROTO || err == HF_EINVAL;
	mark->error = err;
	snprintf(mark->reason, sizeof mark->reason, "%s", reason);
}

static void on_answered(void *context, int err, const char *reason)
{
	struct asking *asking = context;
	struct hf_actions *actions = asking->actions;
	struct hf_mark *mark = &actions->marks[asking->mark];
	bool mine = actions->running == asking->action;

	free(asking);
	HF_CHECK_MAGIC(actions, HF_ACTIONS_MAGIC);
	actions->asking--;
	if (actions->closing)
		hf_actions_maybe_closed(actions);
	else if (mine)
		take_answer(mark, err, reason);
}

static void ask(struct hf_actions *actions, unsigned index, uint64_t now_ms)
{
	struct hf_mark *mark = &actions->marks[index];
	struct asking *asking = calloc(1, sizeof *asking);

	HF_ASSERT(asking);
	*asking = (struct asking){actions, actions->running, index};
	mark->asking = true;
	mark->ask_at_ms = now_ms + ASK_AGAIN_MS;
	actions->asking++;
	hf_reconciler_restart(actions->config.desired->reconciler, mark->process, mark->boot,
			      mark->boot_length, actions->running, on_answered, asking);
}

/* Is another run there? */
static void look(struct hf_actions *actions, struct hf_mark *mark, bool *seen)
{
	uint8_t boot[HF_BOOT_MAX];
	bool answers;
	size_t length = hf_reconciler_boot(actions->config.desired->reconciler, mark->process, boot,
					   &answers);

	*seen = length > 0;
	if (length && (length != mark->boot_length || memcmp(boot, mark->boot, length) != 0)) {
		mark->gone = true;
		mark->back = answers;
	}
}

static void decide_late(struct hf_actions *actions, const struct hf_mark *mark, bool seen)
{
	if (actions->resumed && !seen)
		hf_actions_finish(actions, HOLDFAST__ACTION_OUTCOME__OUTCOME_UNKNOWN, HF_EUNKNOWN,
				  "the agent ended in between, and the process has not been seen "
				  "since");
	else if (mark->gone)
		hf_actions_finish(actions, HOLDFAST__ACTION_OUTCOME__OUTCOME_FAILED, HF_ENOTREADY,
				  "it was ended, and has not come back");
	else
		hf_actions_finish(actions, HOLDFAST__ACTION_OUTCOME__OUTCOME_FAILED,
				  mark->error ? mark->error : HF_ETIMEDOUT,
				  mark->reason[0] ? mark->reason : "it could not be ended in time");
}

void hf_restart_tick(struct hf_actions *actions)
{
	uint64_t now_ms = uv_now(actions->config.loop);
	bool all = true;

	for (unsigned i = 0; i < actions->mark_count; i++) {
		struct hf_mark *mark = &actions->marks[i];
		bool seen;

		look(actions, mark, &seen);
		if (mark->back)
			continue;
		if (mark->refused) {
			hf_actions_finish(actions, HOLDFAST__ACTION_OUTCOME__OUTCOME_FAILED,
					  mark->error, mark->reason);
			return;
		}
		if (now_ms >= actions->deadline_ms) {
			decide_late(actions, mark, seen);
			return;
		}
		all = false;
		if (!mark->gone && !mark->asking && now_ms >= mark->ask_at_ms)
			ask(actions, i, now_ms);
	}
	if (all)
		hf_actions_finish(actions, HOLDFAST__ACTION_OUTCOME__OUTCOME_DONE, 0, "");
}
