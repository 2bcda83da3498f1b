/* One volume's remote side while it is open: its counted objects and map, completions that
 * wait for a tick, and closing. The other files of remote_*.c are its verbs. Core's thread. */
#include "remote/remote_impl.h"
#include "remote/maps.h"

#include <stdlib.h>
#include <string.h>

#define OWN_MAPS_BYTES (256u << 20)

static void tick_fired(struct hf_timer *timer);

static bool take_maps(struct hf_remote *remote, struct hf_remote_maps *maps)
{
	remote->own_maps = !maps;
	remote->maps = maps ? maps : hf_remote_maps_create(OWN_MAPS_BYTES);
	remote->map = hf_extmap_create_stored();
	if (remote->maps)
		hf_list_push_back(&remote->maps->remotes, &remote->in_maps);
	return remote->maps && remote->map;
}

static void leave_maps(struct hf_remote *remote)
{
	hf_list_remove(&remote->in_maps);
	hf_map_root_free(remote->root);
	free(remote->doomed);
	if (remote->map)
		hf_extmap_destroy(remote->map);
	if (remote->own_maps)
		hf_remote_maps_destroy(remote->maps);
}

struct hf_remote *hf_remote_new(struct hf_env *env, struct hf_remote_maps *maps)
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
	hf_list_init(&remote->finished_loads);
	hf_list_init(&remote->finished_asks);
	hf_list_init(&remote->blocks);
	hf_list_init(&remote->asks);
	hf_list_init(&remote->in_maps);
	hf_tables_init(remote);
	if (!take_maps(remote, maps)) {
		leave_maps(remote);
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
	HF_ASSERT(hf_list_empty(&remote->waiting) && hf_list_empty(&remote->blocks));
	HF_ASSERT(!remote->checkpoint && hf_list_empty(&remote->asks));
	while ((link = hf_list_pop_front(&remote->puts)) != NULL)
		hf_put_free(hf_container_of(link, struct hf_put, link));
	hf_env_timer_cancel(remote->env, &remote->tick);
	hf_env_timer_cancel(remote->env, &remote->look_timer);
	hf_tables_free(remote);
	free(remote->runs);
	leave_maps(remote);
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
	struct hf_object_id id;

	hf_remote_object_id(remote, index, &id);
	hf_name_object(name, &id);
}

bool hf_remote_written_under(const struct hf_remote *remote, uint64_t after, uint64_t epoch,
			     uint64_t other_epoch)
{
	for (uint32_t i = remote->run_count; i-- > 0;) {
		const struct hf_chain_link *link = &remote->runs[i].link;

		if (link->last_sequence <= after)
			break;
		if (link->epoch != epoch && link->epoch != other_epoch)
			return false;
	}
	return true;
}

const char *hf_remote_map_damaged(const struct hf_remote *remote)
{
	return remote->map_damaged ? remote->damaged_map : NULL;
}

uint64_t hf_remote_checkpoints_written(const struct hf_remote *remote)
{
	return remote->checkpoints_written;
}

const struct hf_extmap *hf_remote_map(const struct hf_remote *remote)
{
	return remote->map;
}

/* ---- Counting -------------------------------------------------------------------------------- */

static int reserve_run(struct hf_remote *remote)
{
	uint32_t capacity = remote->run_capacity ? remote->run_capacity * 2 : 8;
	struct hf_run *runs;

	if (remote->run_count < remote->run_capacity)
		return 0;
	runs = realloc(remote->runs, capacity * sizeof *runs);
	if (!runs)
		return HF_ENOMEM;
	remote->runs = runs;
	remote->run_capacity = capacity;
	return 0;
}

/* The run that the object goes on, which a start's first object begins. NULL when out of memory. */
static struct hf_run *run_for(struct hf_remote *remote, const struct hf_object_id *id)
{
	struct hf_run *last = remote->run_count ? &remote->runs[remote->run_count - 1] : NULL;

	if (last && last->link.start == id->start && last->link.epoch == id->epoch)
		return last;
	if (reserve_run(remote))
		return NULL;
	last = &remote->runs[remote->run_count++];
	*last = (struct hf_run){
		.link = {.epoch = id->epoch, .start = id->start, .first_object = 1},
		.first_index = remote->object_count,
	};
	return last;
}

int hf_remote_add_object(struct hf_remote *remote, struct hf_object *object)
{
	struct hf_run *run = run_for(remote, &object->id);

	if (!run)
		return HF_ENOMEM;
	HF_ASSERT(object->id.sequence == run->link.last_object + 1);
	run->link.last_object++;
	run->link.last_sequence = object->last_sequence;
	remote->stored_bytes += object->stored_bytes;
	hf_table_add(remote, remote->object_count++, object);
	return 0;
}

void hf_remote_object_id(const struct hf_remote *remote, uint64_t index, struct hf_object_id *id)
{
	uint32_t from = 0, to = remote->run_count;

	HF_ASSERT(index < remote->object_count);
	while (to - from > 1) {
		uint32_t middle = from + (to - from) / 2;

		if (remote->runs[middle].first_index <= index)
			from = middle;
		else
			to = middle;
	}
	*id = remote->self;
	id->epoch = remote->runs[from].link.epoch;
	id->start = remote->runs[from].link.start;
	id->sequence = index - remote->runs[from].first_index + 1;
}

int hf_remote_add_extents(struct hf_remote *remote, const struct hf_object_header *header,
			  uint32_t *done)
{
	for (; *done < header->extent_count; ++*done) {
		const struct hf_object_extent *from = &header->extents[*done];
		struct hf_extent extent = {
			.lba = from->lba,
			.length = from->length,
			.kind = from->kind,
		};
		int err;

		if (extent.kind == HF_EXTENT_DATA)
			extent.place = (struct hf_place){.source = remote->object_count - 1,
							 .unit = from->payload_unit};
		err = hf_extmap_insert(remote->map, &extent);
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

void hf_remote_finish_load(struct hf_remote *remote, struct hf_remote_load *load, int status)
{
	load->status = status;
	hf_list_push_back(&remote->finished_loads, &load->link);
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
	while ((link = hf_list_pop_front(&remote->finished_loads)) != NULL) {
		struct hf_remote_load *load = hf_container_of(link, struct hf_remote_load, link);

		load->done(load);
	}
	while ((link = hf_list_pop_front(&remote->finished_asks)) != NULL) {
		struct hf_remote_checkpoint *ask =
			hf_container_of(link, struct hf_remote_checkpoint, link);

		ask->done(ask);
	}
}

static bool has_finished(const struct hf_remote *remote)
{
	return !hf_list_empty(&remote->finished_uploads) ||
	       !hf_list_empty(&remote->finished_reads) || !hf_list_empty(&remote->finished_loads) ||
	       !hf_list_empty(&remote->finished_asks);
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
	hf_blocks_after_look(remote);
	if (remote->busy > 0 || has_finished(remote))
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
	hf_tables_cancel_all(remote);
	hf_blocks_cancel_all(remote);
	hf_checkpoint_cancel(remote);
	hf_retry_cancel(&remote->doom);
	hf_remote_tick_at(remote, hf_env_now_ns(remote->env));
}
