/* One volume's remote side while it is open: its table of counted objects and map, completions that
 * wait for a tick, and closing. The other files of remote_*.c are its verbs. Core's thread. */
#include "remote/remote_impl.h"

#include <stdlib.h>
#include <string.h>

static void tick_fired(struct hf_timer *timer);

struct hf_remote *hf_remote_new(struct hf_env *env)
{
	struct hf_remote *remote = calloc(1, sizeof *remote);

	if (!remote)
		return NULL;
	remote->magic = HF_REMOTE_MAGIC;
	remote->env = env;
	remote->tick.fired = tick_fired;
	hf_list_init(&remote->waiting);
	hf_list_init(&remote->puts);
	hf_list_init(&remote->fetches);
	hf_list_init(&remote->finished_uploads);
	hf_list_init(&remote->finished_reads);
	remote->map = hf_extmap_create();
	if (!remote->map) {
		free(remote);
		return NULL;
	}
	return remote;
}

void hf_remote_free(struct hf_remote *remote)
{
	struct hf_list *link;

	HF_CHECK_MAGIC(remote, HF_REMOTE_MAGIC);
	HF_ASSERT(remote->busy == 0 && hf_list_empty(&remote->fetches));
	HF_ASSERT(hf_list_empty(&remote->waiting));
	while ((link = hf_list_pop_front(&remote->puts)) != NULL)
		hf_put_free(hf_container_of(link, struct hf_put, link));
	hf_env_timer_cancel(remote->env, &remote->tick);
	hf_env_timer_cancel(remote->env, &remote->look_timer);
	for (uint64_t i = 0; i < remote->object_count; i++)
		free(remote->objects[i].chunks);
	free(remote->objects);
	hf_extmap_destroy(remote->map);
	hf_crypt_wipe(remote->data_key, sizeof remote->data_key);
	remote->magic = 0;
	free(remote);
}

/* ---- Questions ------------------------------------------------------------------------------- */

uint64_t hf_remote_recovery_point(const struct hf_remote *remote)
{
	return remote->recovery_point;
}

uint64_t hf_remote_start(const struct hf_remote *remote)
{
	return remote->self.start;
}

uint64_t hf_remote_size_bytes(const struct hf_remote *remote)
{
	return remote->size_bytes;
}

bool hf_remote_is_fenced(const struct hf_remote *remote)
{
	return remote->fenced;
}

void hf_remote_set_size(struct hf_remote *remote, uint64_t size_bytes)
{
	HF_ASSERT(size_bytes >= remote->size_bytes);
	remote->size_bytes = size_bytes;
}

int hf_remote_trouble(const struct hf_remote *remote)
{
	return remote->trouble;
}

uint64_t hf_remote_object_count(const struct hf_remote *remote)
{
	return remote->object_count;
}

uint64_t hf_remote_stored_bytes(const struct hf_remote *remote)
{
	return remote->stored_bytes;
}

void hf_remote_object_name(const struct hf_remote *remote, uint64_t index, char *name)
{
	HF_ASSERT(index < remote->object_count);
	hf_name_object(name, &remote->objects[index].id);
}

bool hf_remote_written_under(const struct hf_remote *remote, uint64_t after, uint64_t epoch,
			     uint64_t other_epoch)
{
	for (uint64_t i = remote->object_count; i-- > 0;) {
		const struct hf_object *object = &remote->objects[i];

		if (object->last_sequence <= after)
			break;
		if (object->id.epoch != epoch && object->id.epoch != other_epoch)
			return false;
	}
	return true;
}

const struct hf_extmap *hf_remote_map(const struct hf_remote *remote)
{
	return remote->map;
}

/* ---- Counting -------------------------------------------------------------------------------- */

static int reserve_object(struct hf_remote *remote)
{
	uint64_t capacity = remote->object_capacity ? remote->object_capacity * 2 : 64;
	struct hf_object *objects;

	if (remote->object_count < remote->object_capacity)
		return 0;
	objects = realloc(remote->objects, capacity * sizeof *objects);
	if (!objects)
		return HF_ENOMEM;
	remote->objects = objects;
	remote->object_capacity = capacity;
	return 0;
}

int hf_remote_add_object(struct hf_remote *remote, const struct hf_object *object)
{
	int err = reserve_object(remote);

	if (err)
		return err;
	remote->objects[remote->object_count++] = *object;
	remote->stored_bytes += object->stored_bytes;
	return 0;
}

int hf_remote_add_extents(struct hf_remote *remote, const struct hf_object_header *header,
			  uint32_t *done)
{
	for (; *done < header->extent_count; ++*done) {
		const struct hf_object_extent *from = &header->extents[*done];
		const struct hf_extent extent = {
			.lba = from->lba,
			.length = from->length,
			.kind = from->kind,
			.place = {.source = remote->object_count - 1, .unit = from->payload_unit},
		};
		int err = hf_extmap_insert(remote->map, &extent);

		if (err)
			return err;
	}
	remote->recovery_point = header->last_sequence;
	return 0;
}

/* ---- Ticks and closing ----------------------------------------------------------------------- */

void hf_remote_tick_at(struct hf_remote *remote, uint64_t due_ns)
{
	if (!remote->tick.armed || due_ns < remote->tick.due_ns)
		hf_env_timer_set(remote->env, &remote->tick, due_ns);
}

void hf_remote_finish_upload(struct hf_remote *remote, struct hf_remote_upload *upload, int status)
{
	upload->status = status;
	hf_list_push_back(&remote->finished_uploads, &upload->link);
	hf_remote_tick_at(remote, hf_env_now_ns(remote->env));
}

void hf_remote_finish_read(struct hf_remote *remote, struct hf_remote_read *read, int status)
{
	read->status = status;
	hf_list_push_back(&remote->finished_reads, &read->link);
	hf_remote_tick_at(remote, hf_env_now_ns(remote->env));
}

void hf_remote_busy(struct hf_remote *remote)
{
	HF_CHECK_MAGIC(remote, HF_REMOTE_MAGIC);
	remote->busy++;
}

void hf_remote_idle(struct hf_remote *remote)
{
	HF_CHECK_MAGIC(remote, HF_REMOTE_MAGIC);
	HF_ASSERT(remote->busy > 0);
	remote->busy--;
	if (remote->closing && remote->busy == 0)
		hf_remote_tick_at(remote, hf_env_now_ns(remote->env));
}

static void tell_finished(struct hf_remote *remote)
{
	struct hf_list *link;

	while ((link = hf_list_pop_front(&remote->finished_uploads)) != NULL) {
		struct hf_remote_upload *upload =
			hf_container_of(link, struct hf_remote_upload, link);

		upload->done(upload);
	}
	while ((link = hf_list_pop_front(&remote->finished_reads)) != NULL) {
		struct hf_remote_read *read = hf_container_of(link, struct hf_remote_read, link);

		read->done(read);
	}
}

static void tick_fired(struct hf_timer *timer)
{
	struct hf_remote *remote = hf_container_of(timer, struct hf_remote, tick);
	void (*closed)(void *context);
	void *context;

	HF_CHECK_MAGIC(remote, HF_REMOTE_MAGIC);
	tell_finished(remote);
	if (!remote->closing) {
		hf_put_begin_waiting(remote);
		return;
	}
	if (remote->busy > 0 || !hf_list_empty(&remote->finished_uploads) ||
	    !hf_list_empty(&remote->finished_reads))
		return;
	closed = remote->closed;
	context = remote->closed_context;
	hf_remote_free(remote);
	closed(context);
}

void hf_remote_close(struct hf_remote *remote, void (*closed)(void *context), void *context)
{
	HF_CHECK_MAGIC(remote, HF_REMOTE_MAGIC);
	HF_ASSERT(!remote->closing);
	remote->closing = true;
	remote->closed = closed;
	remote->closed_context = context;
	hf_look_cancel(remote);
	hf_put_cancel_all(remote);
	hf_fetch_cancel_all(remote);
	hf_remote_tick_at(remote, hf_env_now_ns(remote->env));
}
