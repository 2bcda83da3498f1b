/* See memory_core.h. */
#include "tests/ring/memory_core.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/list.h"

#define FILE_BYTES (1ull << 34) /* sparse */
#define BATCH      5u           /* requests executed at once when they rest before */

struct hf_core {
	struct memory_core_config config;
	struct memory_disk *disk;
	struct hf_list queue, cancelled;
	uv_timer_t timer, cancel_timer;
	unsigned handles_open;
	bool held;
	unsigned appetite;
};

struct memory_disk *memory_core_disk(struct hf_core *core)
{
	return core->disk;
}

static struct memory_volume *volume_of(struct hf_core *core, uint64_t volume)
{
	for (uint64_t i = 0; i < core->disk->volume_count; i++) {
		if (core->disk->volumes[i].volume == volume)
			return &core->disk->volumes[i];
	}
	return NULL;
}

static uint8_t *data_of(struct hf_core *core, const struct memory_volume *volume)
{
	return (uint8_t *)core->disk + volume->data_offset;
}

static uint8_t *mapped_of(struct hf_core *core, const struct memory_volume *volume)
{
	return (uint8_t *)core->disk + volume->mapped_offset;
}

/* ---- Executing ---- */

static void changed(struct hf_core *core, const struct memory_volume *volume, uint64_t offset,
		    uint64_t length, const void *data)
{
	if (core->config.range_changed &&
	    core->config.range_changed(core->config.context, volume->volume, offset, length) &&
	    data)
		core->config.range_holds(core->config.context, volume->volume, offset, length,
					 data);
}

static void put(struct hf_core *core, const struct memory_volume *volume, uint64_t offset,
		const void *data, uint64_t length)
{
	memcpy(data_of(core, volume) + offset, data, length);
	memset(mapped_of(core, volume) + offset / 512, 1, length / 512);
	changed(core, volume, offset, length, data);
}

static void put_zeros(struct hf_core *core, const struct memory_volume *volume, uint64_t offset,
		      uint64_t length)
{
	memset(data_of(core, volume) + offset, 0, length);
	memset(mapped_of(core, volume) + offset / 512, 0, length / 512);
	changed(core, volume, offset, length, NULL);
}

static int compare_and_write(struct hf_core *core, const struct memory_volume *volume,
			     struct hf_request *request)
{
	const uint8_t *expected = request->data;
	const uint8_t *medium = data_of(core, volume) + request->offset;

	for (uint64_t i = 0; i < request->length; i++) {
		if (expected[i] != medium[i]) {
			request->info = i;
			return HF_EMISCOMPARE;
		}
	}
	put(core, volume, request->offset, expected + request->length, request->length);
	return 0;
}

static int unmap(struct hf_core *core, const struct memory_volume *volume,
		 const struct hf_request *request)
{
	struct hf_ring_range ranges[HF_RING_UNMAP_RANGES_MAX];
	unsigned count = request->data_length / sizeof ranges[0];

	memcpy(ranges, request->data, request->data_length);
	for (unsigned i = 0; i < count; i++) {
		if (ranges[i].offset > volume->size_bytes ||
		    ranges[i].length > volume->size_bytes - ranges[i].offset)
			return HF_ERANGE;
	}
	for (unsigned i = 0; i < count; i++)
		put_zeros(core, volume, ranges[i].offset, ranges[i].length);
	return 0;
}

static int lba_status(struct hf_core *core, const struct memory_volume *volume,
		      struct hf_request *request)
{
	const uint8_t *mapped = mapped_of(core, volume);
	struct hf_ring_lba_status *status = request->data;
	unsigned room = request->data_length / sizeof *status, count = 0;
	uint64_t at = request->offset / 512, end = (request->offset + request->length) / 512;

	while (at < end && count < room) {
		uint64_t from = at;

		while (at < end && mapped[at] == mapped[from])
			at++;
		status[count++] = (struct hf_ring_lba_status){
			.offset = from * 512,
			.length = (at - from) * 512,
			.provisioning = mapped[from] ? 0 : 1,
		};
	}
	request->data_given = count * sizeof *status;
	return 0;
}

static int execute(struct hf_core *core, const struct memory_volume *volume,
		   struct hf_request *request)
{
	uint8_t *medium;

	if (request->offset > volume->size_bytes ||
	    request->length > volume->size_bytes - request->offset)
		return HF_ERANGE;
	medium = data_of(core, volume) + request->offset;
	switch (request->op) {
	case HF_OP_READ:
		memcpy(request->data, medium, request->length);
		if (request->verified)
			request->verified(request, medium);
		return 0;
	case HF_OP_WRITE:
		put(core, volume, request->offset, request->data, request->length);
		return 0;
	case HF_OP_ZERO:
		put_zeros(core, volume, request->offset, request->length);
		return 0;
	case HF_OP_WRITE_SAME:
		for (uint64_t at = 0; at < request->length; at += 512)
			put(core, volume, request->offset + at, request->data, 512);
		return 0;
	case HF_OP_COMPARE_AND_WRITE:
		return compare_and_write(core, volume, request);
	case HF_OP_UNMAP:
		return unmap(core, volume, request);
	case HF_OP_LBA_STATUS:
		return lba_status(core, volume, request);
	case HF_OP_FLUSH:
	case HF_OP_VERIFY:
		return 0;
	default:
		return HF_EUNSUPPORTED;
	}
}

static bool is_logged(const struct hf_request *request)
{
	return request->op != HF_OP_READ && request->op != HF_OP_FLUSH &&
	       request->op != HF_OP_VERIFY && request->op != HF_OP_LBA_STATUS;
}

/* ---- Once ---- */

static struct memory_result *place_of(struct hf_core *core, const struct hf_request_id *id)
{
	uint64_t hash;

	memcpy(&hash, id->ring, sizeof hash);
	return &core->disk->results[(hash + id->id) % MEMORY_RESULTS];
}

static bool is_result_of(const struct memory_result *result, const struct hf_request_id *id)
{
	return result->used && result->request.id == id->id &&
	       memcmp(result->request.ring, id->ring, 16) == 0;
}

static void step(struct hf_core *core, enum memory_step at, const struct hf_request *request)
{
	if (core->config.step)
		core->config.step(at, request);
}

static void run(struct hf_core *core, struct hf_request *request)
{
	const struct memory_volume *volume = volume_of(core, request->volume);
	struct memory_result *result = place_of(core, &request->id);

	if (!volume || !volume->attached) {
		request->status = HF_ENOTREADY;
		return;
	}
	if (is_logged(request) && is_result_of(result, &request->id)) {
		request->status = result->status;
		request->info = result->info;
		core->disk->repeated++;
		return;
	}
	step(core, MEMORY_ACCEPTED, request);
	request->status = execute(core, volume, request);
	if (!is_logged(request))
		return;
	core->disk->executed++;
	if (volume == core->disk->volumes && request->offset / 4096 < MEMORY_PAGES_COUNTED)
		core->disk->executions[request->offset / 4096]++;
	*result = (struct memory_result){request->id, request->status, 1, request->info};
	step(core, MEMORY_LOGGED, request);
}

static void arm(struct hf_core *core);

static void turn(uv_timer_t *timer)
{
	struct hf_core *core = timer->data;
	struct hf_list batch, *link;

	if (core->held)
		return;
	hf_list_init(&batch);
	for (unsigned i = 0; i < BATCH || core->config.delay_ms == 0; i++) {
		link = hf_list_pop_front(&core->queue);
		if (!link)
			break;
		hf_list_push_back(&batch, link);
	}
	hf_list_for_each (at, &batch)
		run(core, hf_container_of(at, struct hf_request, link));
	while ((link = hf_list_pop_front(&batch)) != NULL) {
		struct hf_request *request = hf_container_of(link, struct hf_request, link);

		step(core, MEMORY_ANSWERED, request);
		request->done(request);
	}
	arm(core);
}

static void arm(struct hf_core *core)
{
	if (!hf_list_empty(&core->queue) && !uv_is_active((uv_handle_t *)&core->timer))
		uv_timer_start(&core->timer, turn, core->config.delay_ms, 0);
}

void hf_core_hold(struct hf_core *core)
{
	(void)core;
}

void hf_core_release(struct hf_core *core)
{
	(void)core;
}

unsigned hf_core_appetite(const struct hf_core *core)
{
	return core->appetite;
}

void memory_core_set_appetite(struct hf_core *core, unsigned appetite)
{
	core->appetite = appetite;
}

void hf_core_submit(struct hf_core *core, struct hf_request *request)
{
	request->status = 0;
	hf_list_push_back(&core->queue, &request->link);
	arm(core);
}

static void end_cancelled(uv_timer_t *timer)
{
	struct hf_core *core = timer->data;
	struct hf_list *link;

	while ((link = hf_list_pop_front(&core->cancelled)) != NULL) {
		struct hf_request *request = hf_container_of(link, struct hf_request, link);

		request->status = HF_ECANCELED;
		request->done(request);
	}
}

void hf_core_cancel(struct hf_core *core, struct hf_request *request)
{
	if (core->config.commits_at_once && request->id.id % 2 == 0)
		return;
	hf_list_for_each_safe (at, &core->queue) {
		if (at != &request->link)
			continue;
		hf_list_remove(&request->link);
		hf_list_push_back(&core->cancelled, &request->link);
		uv_timer_start(&core->cancel_timer, end_cancelled, 0, 0);
	}
}

void hf_core_ring_progress(struct hf_core *core, const uint8_t ring[16], uint64_t oldest_unfinished)
{
	(void)core;
	(void)ring;
	(void)oldest_unfinished;
}

void hf_core_ring_forget(struct hf_core *core, const uint8_t ring[16])
{
	(void)ring;
	core->disk->forgotten++;
}

int hf_core_volume_status(struct hf_core *core, uint64_t number, struct hf_volume_status *status)
{
	const struct memory_volume *volume = volume_of(core, number);

	if (!volume)
		return HF_ENOENT;
	*status = (struct hf_volume_status){
		.accepting = true,
		.volume = number,
		.size_bytes = volume->size_bytes,
		.state = volume->attached ? HF_VOLUME_ATTACHED : HF_VOLUME_DETACHED,
		.write_cache = volume->write_cache,
	};
	return 0;
}

/* What was answered is on the "disk". */
bool hf_core_volume_is_durable(struct hf_core *core, uint64_t number)
{
	const struct memory_volume *volume = volume_of(core, number);

	return volume && volume->attached;
}

/* ---- Opening ---- */

void memory_core_attach(struct hf_core *core, uint64_t number, uint64_t size_bytes,
			bool write_cache)
{
	struct memory_volume *volume = volume_of(core, number);

	if (!volume) {
		HF_ASSERT(core->disk->volume_count < MEMORY_VOLUMES_MAX);
		volume = &core->disk->volumes[core->disk->volume_count];
		volume->volume = number;
		volume->data_offset = core->disk->end_offset;
		volume->mapped_offset = volume->data_offset + (1ull << 30);
		core->disk->end_offset = volume->mapped_offset + (1ull << 22);
		HF_ASSERT(core->disk->end_offset <= FILE_BYTES);
		core->disk->volume_count++;
	}
	HF_ASSERT(size_bytes <= 1ull << 30);
	volume->size_bytes = size_bytes;
	volume->write_cache = write_cache;
	volume->attached = 1;
	if (core->config.volume_changed)
		core->config.volume_changed(core->config.context, number);
}

void memory_core_detach(struct hf_core *core, uint64_t number)
{
	volume_of(core, number)->attached = 0;
	if (core->config.volume_changed)
		core->config.volume_changed(core->config.context, number);
}

unsigned memory_core_waiting(struct hf_core *core)
{
	unsigned count = 0;

	hf_list_for_each (at, &core->queue)
		count++;
	return count;
}

void memory_core_hold(struct hf_core *core, bool hold)
{
	core->held = hold;
	if (!hold)
		arm(core);
}

struct hf_core *memory_core_open(const struct memory_core_config *config)
{
	struct hf_core *core = calloc(1, sizeof *core);
	int fd = open(config->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	HF_ASSERT(core && fd >= 0 && ftruncate(fd, (off_t)FILE_BYTES) == 0);
	core->config = *config;
	core->disk =
		mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	close(fd);
	HF_ASSERT(core->disk != MAP_FAILED);
	if (core->disk->end_offset == 0)
		core->disk->end_offset = (sizeof *core->disk + 4095) / 4096 * 4096;
	hf_list_init(&core->queue);
	hf_list_init(&core->cancelled);
	uv_timer_init(config->loop, &core->timer);
	uv_timer_init(config->loop, &core->cancel_timer);
	core->timer.data = core->cancel_timer.data = core;
	core->handles_open = 2;
	return core;
}

static void core_closed(uv_handle_t *handle)
{
	struct hf_core *core = handle->data;

	if (--core->handles_open > 0)
		return;
	munmap(core->disk, FILE_BYTES);
	free(core);
}

void memory_core_close(struct hf_core *core)
{
	HF_ASSERT(hf_list_empty(&core->queue));
	uv_close((uv_handle_t *)&core->timer, core_closed);
	uv_close((uv_handle_t *)&core->cancel_timer, core_closed);
}
