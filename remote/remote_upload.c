/* Uploads: each object is encoded by a worker, then PUT under a name that must not exist yet, and
 * repeated until the store answers. Whether it counts is decided in remote_look.c. Core's thread.
 *
 *   ENCODING ──▶ STORING ──answered──▶ ANSWERED ──look──▶ counted
 *                  │  ▲                   ▲
 *              exists │ gone again        │ same bytes: an answer of ours was lost
 *                  ▼  │                   │
 *                COMPARING ───────────────┴── other bytes ──▶ FAILED
 *
 * Fencing and closing end an upload in any state, and drop what was answered but not counted. */
#include "remote/remote_impl.h"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>

#define MEMORY_WAIT_NS (100 * HF_NS_PER_MS)

void hf_put_free(struct hf_put *put)
{
	HF_CHECK_MAGIC(put, HF_PUT_MAGIC);
	hf_env_timer_cancel(put->remote->env, &put->again);
	free(put->header.extents);
	free(put->object.chunks);
	free(put->bytes);
	put->magic = 0;
	free(put);
}

/* What an upload is told when the remote side takes no more. */
static int end_status(const struct hf_remote *remote)
{
	return remote->closing ? HF_ECANCELED : remote->fenced ? HF_EFENCED : 0;
}

static void tell(struct hf_put *put, int status)
{
	struct hf_remote_upload *upload = put->upload;

	put->upload = NULL;
	free(put->bytes);
	put->bytes = NULL;
	if (!upload)
		return;
	upload->status = status;
	upload->stored_bytes = put->object.stored_bytes;
	upload->done(upload);
}

/* The upload is over without success and the put with it. */
static void drop(struct hf_put *put, int status)
{
	hf_list_remove(&put->link);
	tell(put, status);
	hf_put_free(put);
}

/* Nothing after it can count any more, but the rest may still be asked to be stored. */
static void fail(struct hf_put *put, int status)
{
	hf_error("object %s: %s; nothing after it counts", put->retry.io.name, hf_err_text(status));
	put->state = HF_PUT_FAILED;
	tell(put, status);
}

/* ---- PUT ------------------------------------------------------------------------------------- */

static void put_retry_done(struct hf_retry *retry, int status);

static void submit(struct hf_put *put, enum hf_store_op op)
{
	struct hf_store_io *io = &put->retry.io;

	*io = (struct hf_store_io){.op = op};
	hf_name_object(io->name, &put->object.id);
	if (op == HF_STORE_PUT) {
		io->data = put->bytes;
		io->length = put->object.stored_bytes;
		io->if_absent = !put->unconditional;
	}
	put->state = op == HF_STORE_PUT ? HF_PUT_STORING : HF_PUT_COMPARING;
	hf_remote_busy(put->remote);
	hf_retry_start(&put->retry);
}

static void answered(struct hf_put *put)
{
	put->state = HF_PUT_ANSWERED;
	hf_look_schedule(put->remote);
	tell(put, 0);
}

static void stored(struct hf_put *put, int status)
{
	switch (status) {
	case 0:
		answered(put);
		break;
	case HF_EEXIST:
		submit(put, HF_STORE_GET);
		break;
	case HF_EUNSUPPORTED: /* the name is this start's own, so nothing is overwritten */
		if (!put->unconditional) {
			put->unconditional = true;
			submit(put, HF_STORE_PUT);
			break;
		}
		/* fall through */
	default:
		fail(put, status);
	}
}

static void compared(struct hf_put *put, int status)
{
	const struct hf_store_io *io = &put->retry.io;

	if (status == HF_ENOENT)
		submit(put, HF_STORE_PUT);
	else if (status)
		fail(put, status);
	else if (io->body_length == put->object.stored_bytes &&
		 memcmp(io->body, put->bytes, io->body_length) == 0)
		answered(put);
	else
		fail(put, HF_ECORRUPT);
}

static void put_retry_done(struct hf_retry *retry, int status)
{
	struct hf_put *put = hf_container_of(retry, struct hf_put, retry);
	struct hf_remote *remote = put->remote;
	void *body = retry->io.body;

	HF_CHECK_MAGIC(put, HF_PUT_MAGIC);
	if (end_status(remote))
		drop(put, end_status(remote));
	else if (put->state == HF_PUT_STORING)
		stored(put, status);
	else
		compared(put, status);
	free(body);
	hf_remote_idle(remote);
}

/* ---- Encoding -------------------------------------------------------------------------------- */

static void encode_run(struct hf_work *work)
{
	struct hf_put *put = hf_container_of(work, struct hf_put, work);
	const struct hf_object_id id = put->object.id;

	put->encode_status = hf_object_encode(&id, put->remote->data_key, put->salt, &put->header,
					      put->upload->payload, &put->bytes, &put->object);
}

static void encode(struct hf_put *put)
{
	put->state = HF_PUT_ENCODING;
	hf_remote_busy(put->remote);
	hf_env_work_submit(put->remote->env, &put->work);
}

static void encode_again_fired(struct hf_timer *timer)
{
	struct hf_put *put = hf_container_of(timer, struct hf_put, again);
	struct hf_remote *remote = put->remote;

	HF_CHECK_MAGIC(put, HF_PUT_MAGIC);
	if (end_status(remote))
		drop(put, end_status(remote));
	else
		encode(put);
	hf_remote_idle(remote);
}

static void encode_done(struct hf_work *work)
{
	struct hf_put *put = hf_container_of(work, struct hf_put, work);
	struct hf_remote *remote = put->remote;

	HF_CHECK_MAGIC(put, HF_PUT_MAGIC);
	if (end_status(remote)) {
		drop(put, end_status(remote));
	} else if (put->encode_status) {
		/* Only memory can be short. The bracket of busy passes to the timer. */
		hf_env_timer_set(remote->env, &put->again,
				 hf_env_now_ns(remote->env) + MEMORY_WAIT_NS);
		return;
	} else {
		submit(put, HF_STORE_PUT);
	}
	hf_remote_idle(remote);
}

/* ---- Beginning and ending -------------------------------------------------------------------- */

static struct hf_put *make_put(struct hf_remote *remote, struct hf_remote_upload *upload)
{
	size_t extents_bytes = upload->extent_count * sizeof *upload->extents;
	struct hf_put *put = calloc(1, sizeof *put);

	if (!put)
		return NULL;
	put->header.extents = malloc(extents_bytes + 1);
	if (!put->header.extents) {
		free(put);
		return NULL;
	}
	if (extents_bytes)
		memcpy(put->header.extents, upload->extents, extents_bytes);
	put->magic = HF_PUT_MAGIC;
	put->remote = remote;
	put->upload = upload;
	put->work.run = encode_run;
	put->work.done = encode_done;
	put->again.fired = encode_again_fired;
	put->retry.env = remote->env;
	put->retry.trouble = &remote->trouble;
	put->retry.done = put_retry_done;
	return put;
}

static void fill_header(struct hf_put *put)
{
	const struct hf_remote_upload *upload = put->upload;

	put->header.first_sequence = upload->first_sequence;
	put->header.last_sequence = upload->last_sequence;
	put->header.log_first = upload->log_first;
	put->header.log_last = upload->log_last;
	put->header.wall_ms = hf_env_wall_ms(put->remote->env);
	put->header.volume_size_bytes = put->remote->size_bytes;
	put->header.payload_bytes = upload->payload_bytes;
	put->header.extent_count = upload->extent_count;
}

void hf_put_begin_waiting(struct hf_remote *remote)
{
	while (!hf_list_empty(&remote->waiting)) {
		struct hf_remote_upload *upload =
			hf_container_of(remote->waiting.next, struct hf_remote_upload, link);
		struct hf_put *put = make_put(remote, upload);

		if (!put) {
			hf_remote_tick_at(remote, hf_env_now_ns(remote->env) + MEMORY_WAIT_NS);
			return;
		}
		hf_list_remove(&upload->link);
		hf_list_push_back(&remote->puts, &put->link);
		fill_header(put);
		remote->self.sequence++;
		put->object.id = remote->self;
		hf_env_random(remote->env, put->salt, sizeof put->salt);
		encode(put);
	}
}

void hf_remote_upload(struct hf_remote *remote, struct hf_remote_upload *upload)
{
	HF_CHECK_MAGIC(remote, HF_REMOTE_MAGIC);
	HF_ASSERT(remote->claimed);
	HF_ASSERT(upload->payload_bytes <= HF_OBJECT_PAYLOAD_MAX &&
		  upload->payload_bytes % HF_OBJECT_UNIT == 0);
	HF_ASSERT(upload->extent_count <= HF_OBJECT_EXTENTS_MAX);
	upload->stored_bytes = 0;
	if (end_status(remote)) {
		hf_remote_finish_upload(remote, upload, end_status(remote));
		return;
	}
	HF_ASSERT(upload->first_sequence == remote->next_sequence);
	HF_ASSERT(upload->last_sequence >= upload->first_sequence);
	remote->next_sequence = upload->last_sequence + 1;
	hf_list_push_back(&remote->waiting, &upload->link);
	hf_put_begin_waiting(remote);
}

/* What is with the store or a worker ends when that comes back; the rest on the next tick. */
void hf_put_cancel_all(struct hf_remote *remote)
{
	int status = end_status(remote);
	struct hf_list *link;

	HF_ASSERT(status);
	while ((link = hf_list_pop_front(&remote->waiting)) != NULL)
		hf_remote_finish_upload(
			remote, hf_container_of(link, struct hf_remote_upload, link), status);
	hf_list_for_each_safe (at, &remote->puts) {
		struct hf_put *put = hf_container_of(at, struct hf_put, link);

		if (put->state == HF_PUT_ANSWERED || put->state == HF_PUT_FAILED) {
			hf_list_remove(&put->link);
			hf_put_free(put);
		} else if (put->again.armed) {
			hf_env_timer_set(remote->env, &put->again, hf_env_now_ns(remote->env));
		} else if (hf_retry_is_active(&put->retry)) {
			hf_retry_cancel(&put->retry);
		}
	}
}
