/* What counts. A PUT counts into the recovery point only after a look at the claims that began
 * after the PUT was answered and shows none above ours; one look covers all PUTs before it. A
 * higher claim fences us: from then on nothing of ours counts, whatever is still on its way
 * (invariants 2 and 5). Our own claim gone means that the volume was deleted. An idle holder looks
 * too, though rarely: it must not serve reads of a volume that somebody else writes. Core's thread.
 */
#include "remote/remote_impl.h"
#include "base/log.h"
#include "remote/maps.h"

#include <inttypes.h>
#include <stdlib.h>

#define MEMORY_WAIT_NS (100 * HF_NS_PER_MS)
#define IDLE_INTERVALS 15u /* between looks when nothing waits to be counted */

static void look_done(struct hf_retry *retry, int status);

static void look(struct hf_remote *remote)
{
	struct hf_store_io *io = &remote->look.io;

	hf_list_for_each (at, &remote->puts) {
		struct hf_put *put = hf_container_of(at, struct hf_put, link);

		put->in_look = put->state == HF_PUT_ANSWERED;
	}
	hf_checkpoint_before_look(remote);
	hf_blocks_before_look(remote);
	hf_env_timer_cancel(remote->env, &remote->look_timer);
	remote->look_again = false;
	remote->last_look_ns = hf_env_now_ns(remote->env);
	*io = (struct hf_store_io){.op = HF_STORE_LIST, .limit = 2};
	hf_name_claims(io->name, remote->self.tenant, remote->self.volume);
	hf_name_claim(io->after, remote->self.tenant, remote->self.volume, remote->self.start - 1);
	remote->look.env = remote->env;
	remote->look.trouble = &remote->trouble;
	remote->look.done = look_done;
	hf_remote_busy(remote);
	hf_retry_start(&remote->look);
}

static void look_timer_fired(struct hf_timer *timer)
{
	look(hf_container_of(timer, struct hf_remote, look_timer));
}

static void look_at(struct hf_remote *remote, uint64_t due_ns)
{
	if (remote->look_timer.armed && remote->look_timer.due_ns <= due_ns)
		return;
	remote->look_timer.fired = look_timer_fired;
	hf_env_timer_set(remote->env, &remote->look_timer, due_ns);
}

static bool something_waits(const struct hf_remote *remote)
{
	hf_list_for_each (at, &remote->puts) {
		if (hf_container_of(at, struct hf_put, link)->state == HF_PUT_ANSWERED)
			return true;
	}
	return hf_checkpoint_waits(remote);
}

void hf_look_schedule(struct hf_remote *remote)
{
	uint64_t now = hf_env_now_ns(remote->env);
	uint64_t due = remote->last_look_ns + remote->look_interval_ns;

	if (remote->closing || remote->fenced || hf_retry_is_active(&remote->look))
		return;
	look_at(remote, remote->last_look_ns && due > now ? due : now);
}

void hf_look_when_idle(struct hf_remote *remote)
{
	look_at(remote, hf_env_now_ns(remote->env) + IDLE_INTERVALS * remote->look_interval_ns);
}

void hf_remote_look(struct hf_remote *remote)
{
	HF_CHECK_MAGIC(remote, HF_REMOTE_MAGIC);
	if (!remote->claimed || remote->closing || remote->fenced)
		return;
	remote->look_again = true;
	if (!hf_retry_is_active(&remote->look))
		look_at(remote, hf_env_now_ns(remote->env));
}

void hf_look_cancel(struct hf_remote *remote)
{
	hf_env_timer_cancel(remote->env, &remote->look_timer);
	hf_retry_cancel(&remote->look);
}

/* ---- What a look shows ----------------------------------------------------------------------- */

static void fence(struct hf_remote *remote, uint64_t by)
{
	char name[HF_STORE_NAME_MAX + 1];

	hf_name_claim(name, remote->self.tenant, remote->self.volume, remote->self.start);
	if (by)
		hf_warn("claim %s is fenced: start %" PRIx64 " has taken over", name, by);
	else
		hf_warn("claim %s is gone: the volume is being deleted", name);
	remote->fenced = true;
	hf_put_cancel_all(remote);
	hf_checkpoint_cancel(remote);
	hf_retry_cancel(&remote->doom);
	if (remote->fenced_cb)
		remote->fenced_cb(remote->context);
}

/* True if ours is there and the highest; else who is (0: nobody, ours is gone). */
static bool still_ours(const struct hf_remote *remote, const struct hf_store_io *io, uint64_t *by)
{
	char prefix[HF_STORE_NAME_MAX + 1];
	uint64_t number;
	bool seen = false;

	*by = 0;
	hf_name_claims(prefix, remote->self.tenant, remote->self.volume);
	for (unsigned i = 0; i < io->name_count; i++) {
		if (!hf_name_number(io->names[i].name, prefix, &number))
			continue;
		if (number > remote->self.start)
			*by = number;
		seen = seen || number == remote->self.start;
	}
	return seen && !*by;
}

/* Into table and map; 0, or HF_ENOMEM: call again. */
static int count_put(struct hf_remote *remote, struct hf_put *put)
{
	int err = put->in_table ? 0 : hf_remote_add_object(remote, &put->object);

	if (err)
		return err;
	put->in_table = true;
	return hf_remote_add_extents(remote, &put->header, &put->extents_in_map);
}

/* The unbroken run of what was answered before the look. */
static void count(struct hf_remote *remote)
{
	while (!hf_list_empty(&remote->puts) && !remote->closing && !remote->hold_counting) {
		struct hf_put *put = hf_container_of(remote->puts.next, struct hf_put, link);

		if (put->state != HF_PUT_ANSWERED || !put->in_look)
			return;
		if (count_put(remote, put)) {
			look_at(remote, hf_env_now_ns(remote->env) + MEMORY_WAIT_NS);
			return;
		}
		hf_list_remove(&put->link);
		remote->uncovered_header_bytes +=
			hf_object_body_bytes(put->header.extent_count, put->header.chunk_count);
		hf_put_free(put);
		if (remote->advanced_cb)
			remote->advanced_cb(remote->context, remote->recovery_point);
	}
}

static void next_look(struct hf_remote *remote)
{
	if (remote->closing || remote->fenced)
		return;
	if (remote->look_again)
		look_at(remote, hf_env_now_ns(remote->env));
	else if (something_waits(remote))
		hf_look_schedule(remote);
	else
		hf_look_when_idle(remote);
}

static void look_done(struct hf_retry *retry, int status)
{
	struct hf_remote *remote = hf_container_of(retry, struct hf_remote, look);
	struct hf_store_name *names = retry->io.names;
	uint64_t by;

	HF_CHECK_MAGIC(remote, HF_REMOTE_MAGIC);
	if (!remote->closing && status == 0) {
		if (still_ours(remote, &retry->io, &by)) {
			hf_checkpoint_after_look(remote);
			count(remote);
			hf_checkpoint_consider(remote, false);
			hf_maps_balance(remote->maps);
		} else {
			fence(remote, by);
		}
		hf_blocks_after_look(remote);
	} else if (!remote->closing) {
		hf_error("claims %s cannot be listed: %s", retry->io.name, hf_err_text(status));
	}
	free(names);
	next_look(remote);
	hf_remote_idle(remote);
}
