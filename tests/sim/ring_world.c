/* See ring_world.h. */
#include "tests/sim/ring_world.h"

#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include <uv.h>

#include "base/assert.h"
#include "gateway/volumed/ring_host.h"
#include "target/ring_client_impl.h"

#define VOLUMED      0u /* hosts */
#define SHIM         1u
#define SEGMENT_SIZE (64u << 10)
#define DISK_SIZE    (1536u << 10)
#define FDS_MAX      128
#define TICK_NS      (HF_SHIM_TICK_MS * HF_NS_PER_MS)
#define PATIENCE_NS  (600 * HF_NS_PER_S)
#define MAPPINGS_MAX 64u
#define RINGS_MAX    64u
#define TIER_BYTES   (128u << 10) /* less than the pages in use */

struct volumed {
	uv_loop_t loop;
	struct hf_ring_host *host;
	struct hf_core *core;
	struct hf_core_open open;
	bool opened;
	struct hf_volume_change changes[RING_WORLD_VOLUMES];
};

/* One world at a time. */
static struct ring_world *current;
static char socket_path[64];
static jmp_buf death;
static enum ring_process running; /* whose code runs */
static struct {
	unsigned countdown;
} armed[3];

void ring_world_fail(struct ring_world *world, const char *format, ...)
{
	va_list arguments;

	if (world->problem[0])
		return;
	va_start(arguments, format);
	vsnprintf(world->problem, sizeof world->problem, format, arguments);
	va_end(arguments);
}

/* ---- Steps ----------------------------------------------------------------------------------- */

void kill_point_reached(enum kill_point point)
{
	enum ring_process process = point < S_PLACES ? RING_VOLUMED : RING_SHIM;

	if (running == RING_NOBODY || armed[process].countdown == 0 ||
	    --armed[process].countdown > 0)
		return;
	current->kills_at[point]++;
	longjmp(death, (int)process);
}

void ring_world_arm(enum ring_process process, unsigned countdown)
{
	armed[process].countdown = countdown;
}

/* ---- What the kernel cleans up after a process, and its clocks --------------------------------
 */

static struct {
	void *base;
	size_t length;
	enum ring_process owner;
} mappings[MAPPINGS_MAX];

static struct {
	struct io_uring *key, ring;
} rings[RINGS_MAX];

void *__real_mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset);
int __real_munmap(void *address, size_t length);
int __wrap_munmap(void *address, size_t length);
int __real_io_uring_queue_init(unsigned entries, struct io_uring *ring, unsigned flags);
int __wrap_io_uring_queue_init(unsigned entries, struct io_uring *ring, unsigned flags);
void __real_io_uring_queue_exit(struct io_uring *ring);
void __wrap_io_uring_queue_exit(struct io_uring *ring);
int __wrap_timerfd_create(int clock, int flags);
int __wrap_timerfd_settime(int fd, int flags, const struct itimerspec *value,
			   struct itimerspec *old);
ssize_t __wrap_getrandom(void *bytes, size_t length, unsigned flags);
int __wrap_uv_timer_start(uv_timer_t *timer, uv_timer_cb callback, uint64_t timeout,
			  uint64_t repeat);

void *__wrap_mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset)
{
	void *base = __real_mmap(address, length, protection, flags, fd, offset);
	unsigned i = 0;

	while (i < MAPPINGS_MAX && mappings[i].base)
		i++;
	HF_ASSERT(i < MAPPINGS_MAX && base != MAP_FAILED);
	mappings[i].base = base;
	mappings[i].length = length;
	mappings[i].owner = running;
	return base;
}

int __wrap_munmap(void *address, size_t length)
{
	for (unsigned i = 0; i < MAPPINGS_MAX; i++)
		if (mappings[i].base == address)
			mappings[i].base = NULL;
	return __real_munmap(address, length);
}

int __wrap_io_uring_queue_init(unsigned entries, struct io_uring *ring, unsigned flags)
{
	int err = __real_io_uring_queue_init(entries, ring, flags);
	unsigned i = 0;

	while (i < RINGS_MAX && rings[i].key)
		i++;
	HF_ASSERT(i < RINGS_MAX && err == 0);
	rings[i].key = ring;
	rings[i].ring = *ring;
	return err;
}

void __wrap_io_uring_queue_exit(struct io_uring *ring)
{
	for (unsigned i = 0; i < RINGS_MAX; i++)
		if (rings[i].key == ring)
			rings[i].key = NULL;
	__real_io_uring_queue_exit(ring);
}

static void unmap_all_of(enum ring_process process)
{
	for (unsigned i = 0; i < MAPPINGS_MAX; i++)
		if (mappings[i].base && mappings[i].owner == process)
			munmap(mappings[i].base, mappings[i].length);
}

static bool ticking;
static uint64_t next_tick_ns;

int __wrap_timerfd_create(int clock, int flags)
{
	(void)clock;
	(void)flags;
	return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

int __wrap_timerfd_settime(int fd, int flags, const struct itimerspec *value,
			   struct itimerspec *old)
{
	(void)fd;
	(void)flags;
	(void)old;
	ticking = value->it_value.tv_nsec != 0;
	next_tick_ns = sim_now_ns(current->sim) + TICK_NS;
	return 0;
}

ssize_t __wrap_getrandom(void *bytes, size_t length, unsigned flags)
{
	(void)flags;
	for (size_t i = 0; i < length; i++)
		((uint8_t *)bytes)[i] = (uint8_t)sim_random(current->sim);
	return (ssize_t)length;
}

/* The host's timer is only the belt of its events. */
int __wrap_uv_timer_start(uv_timer_t *timer, uv_timer_cb callback, uint64_t timeout,
			  uint64_t repeat)
{
	(void)timer;
	(void)callback;
	(void)timeout;
	(void)repeat;
	return 0;
}

/* ---- The shim -------------------------------------------------------------------------------- */

static struct {
	void (*ready)(int fd, int events, void *data);
	void *data;
	int events;
} watched[FDS_MAX];
static struct hf_shim *to_flush;

static int shim_watch(int fd, int events, void (*ready)(int fd, int events, void *data), void *data)
{
	HF_ASSERT(fd < FDS_MAX && !watched[fd].ready);
	watched[fd].ready = ready;
	watched[fd].data = data;
	watched[fd].events = events;
	return 0;
}

static void shim_unwatch(int fd)
{
	watched[fd].ready = NULL;
}

static void shim_soon(struct hf_shim *shim)
{
	to_flush = shim;
}

static uint64_t shim_now_ms(void)
{
	return sim_now_ns(current->sim) / HF_NS_PER_MS + 1;
}

static const struct hf_shim_loop shim_loop = {
	.watch = shim_watch,
	.unwatch = shim_unwatch,
	.soon = shim_soon,
	.now_ms = shim_now_ms,
};

static void shim_flush(void)
{
	struct hf_shim *shim = to_flush;

	to_flush = NULL;
	if (shim)
		hf_shim_flush(shim);
}

static void shim_tick(struct hf_shim *shim)
{
	const uint64_t one = 1;

	if (!ticking || sim_now_ns(current->sim) < next_tick_ns)
		return;
	next_tick_ns = sim_now_ns(current->sim) + TICK_NS;
	HF_ASSERT(write(shim->timer_fd, &one, sizeof one) == (ssize_t)sizeof one);
}

static void shim_turn(struct ring_world *world)
{
	shim_flush();
	shim_tick(world->shim);
	for (int fd = 0; fd < FDS_MAX; fd++) {
		struct pollfd look = {.fd = fd, .events = (short)watched[fd].events};

		if (watched[fd].ready && poll(&look, 1, 0) == 1)
			watched[fd].ready(fd, look.revents, watched[fd].data);
	}
	shim_flush();
}

static void volume_told(void *owner, uint64_t size_bytes, uint32_t flags)
{
	(void)flags;
	if (size_bytes != RING_WORLD_VOLUME_BYTES)
		ring_world_fail(owner, "a LUN of %llu bytes", (unsigned long long)size_bytes);
}

void ring_world_boot_shim(struct ring_world *world)
{
	sim_select(world->sim, SHIM);
	running = RING_SHIM;
	HF_ASSERT(hf_shim_open(&(struct hf_shim_config){.loop = &shim_loop,
							.socket = socket_path,
							.deadline_ms = world->deadline_ms},
			       &world->shim) == 0);
	for (unsigned i = 0; i < RING_WORLD_VOLUMES; i++)
		HF_ASSERT(hf_shim_lun_open(world->shim, i + 1, volume_told, world,
					   &world->luns[i]) == 0);
	running = RING_NOBODY;
}

static void shim_fds(const struct hf_shim *shim, int fds[5])
{
	const struct hf_shim_memory *memory = &shim->memory;
	bool session = shim->state != HF_SHIM_AWAY;

	fds[0] = shim->timer_fd;
	fds[1] = session ? shim->socket : -1;
	fds[2] = session ? memory->memfd : -1;
	fds[3] = session ? memory->wake_volumed_fd : -1;
	fds[4] = session ? memory->wake_shim_fd : -1;
}

void ring_world_kill_shim(struct ring_world *world)
{
	int fds[5];

	running = RING_NOBODY;
	shim_fds(world->shim, fds);
	for (unsigned i = 0; i < 5; i++)
		if (fds[i] > 2)
			close(fds[i]);
	unmap_all_of(RING_SHIM);
	memset(watched, 0, sizeof watched);
	to_flush = NULL;
	ticking = false;
	sim_abandon_event(world->sim);
	sim_kill(world->sim, SHIM);
	world->shim = NULL;
}

/* ---- volumed --------------------------------------------------------------------------------- */

static void volume_changed(void *context, uint64_t volume)
{
	struct ring_world *world = context;

	if (world->volumed && world->volumed->host)
		hf_ring_host_volume_changed(world->volumed->host, volume);
}

static bool range_changed(void *context, uint64_t volume, uint64_t offset, uint64_t length)
{
	struct ring_world *world = context;

	return world->volumed && world->volumed->host &&
	       hf_ring_host_range_changed(world->volumed->host, volume, offset, length);
}

static void range_holds(void *context, uint64_t volume, uint64_t offset, uint64_t length,
			const void *bytes)
{
	struct ring_world *world = context;

	hf_ring_host_range_holds(world->volumed->host, volume, offset, length, bytes);
}

static void alarmed(void *context, uint64_t volume, const char *text)
{
	ring_world_fail(context, "alarm of volume %llu: %s", (unsigned long long)volume, text);
}

static void core_opened(struct hf_core_open *open)
{
	hf_container_of(open, struct volumed, open)->opened = true;
}

static void change_done(struct hf_volume_change *change)
{
	if (change->status != 0)
		ring_world_fail(current, "attaching: %s (%s)", hf_err_name(change->status),
				change->message.text);
	else if (change == &current->volumed->changes[RING_WORLD_VOLUMES - 1])
		current->created = true;
}

static void attach_all(struct ring_world *world)
{
	for (unsigned i = 0; i < RING_WORLD_VOLUMES; i++) {
		struct hf_volume_change *change = &world->volumed->changes[i];

		change->config = (struct hf_volume_config){
			.tenant = 7,
			.volume = i + 1,
			.size_bytes = RING_WORLD_VOLUME_BYTES,
			.attach_epoch = 1,
			.write_cache = i == RING_WORLD_CACHED,
			.create = !world->created,
		};
		memset(change->config.wrap_key, 0x5a, sizeof change->config.wrap_key);
		change->done = change_done;
		hf_core_attach(world->volumed->core, change);
	}
}

static void core_config(struct ring_world *world, struct hf_core_config *config)
{
	config->env = sim_env(world->sim, VOLUMED);
	config->object_bytes = 24u << 10;
	config->object_timer_ms = 30;
	config->read_deadline_ms = 300000;
	config->claims_look_ms = 40;
	config->cache_bytes = 256u << 10;
	config->context = world;
	config->volume_changed = volume_changed;
	config->alarm = alarmed;
	config->range_changed = range_changed;
	config->range_holds = range_holds;
}

/* One start in eight is cut short somewhere in its recovery. */
static bool recover(struct ring_world *world)
{
	struct volumed *volumed = world->volumed;
	uint64_t events = sim_random_below(world->sim, 8) == 0 ? sim_random_below(world->sim, 60)
							       : UINT64_MAX;

	hf_core_open_start(&volumed->open);
	while (!volumed->opened && events-- > 0)
		HF_ASSERT(sim_step(world->sim));
	if (!volumed->opened)
		return false;
	volumed->core = volumed->open.core;
	if (!volumed->core)
		ring_world_fail(world, "opening: %s (%s)", hf_err_name(volumed->open.status),
				volumed->open.message.text);
	return volumed->core != NULL;
}

bool ring_world_boot_volumed(struct ring_world *world)
{
	struct hf_errmsg message;

	world->boots++;
	sim_select(world->sim, VOLUMED);
	world->volumed = sim_keep_alloc(sizeof *world->volumed);
	core_config(world, &world->volumed->open.config);
	world->volumed->open.opened = core_opened;
	if (!recover(world)) {
		ring_world_kill_volumed(world);
		return false;
	}
	running = RING_VOLUMED;
	HF_ASSERT(uv_loop_init(&world->volumed->loop) == 0);
	attach_all(world);
	if (hf_ring_host_open(&(struct hf_ring_host_config){.loop = &world->volumed->loop,
							    .core = world->volumed->core,
							    .path = socket_path,
							    .tgt_uid = HF_RING_HOST_NO_UID,
							    .tier_bytes = TIER_BYTES,
							    .tier_rings = 1},
			      &world->volumed->host, &message) != 0)
		ring_world_fail(world, "listening: %s", message.text);
	running = RING_NOBODY;
	return true;
}

/* Every descriptor that is not the shim's. */
static void close_fds_of_volumed(const struct ring_world *world)
{
	int keep[5] = {-1, -1, -1, -1, -1};

	if (world->shim)
		shim_fds(world->shim, keep);
	for (int fd = 3; fd < FDS_MAX; fd++)
		if (fd != keep[0] && fd != keep[1] && fd != keep[2] && fd != keep[3] &&
		    fd != keep[4])
			close(fd);
}

static void volumed_gone(struct ring_world *world)
{
	running = RING_NOBODY;
	for (unsigned i = 0; i < RINGS_MAX; i++) {
		if (rings[i].key)
			__real_io_uring_queue_exit(&rings[i].ring);
		rings[i].key = NULL;
	}
	close_fds_of_volumed(world);
	unmap_all_of(RING_VOLUMED);
	sim_abandon_event(world->sim);
	sim_keep_free(world->volumed);
	world->volumed = NULL;
}

void ring_world_kill_volumed(struct ring_world *world)
{
	volumed_gone(world);
	sim_kill(world->sim, VOLUMED);
}

void ring_world_power_cut(struct ring_world *world)
{
	if (world->shim)
		ring_world_kill_shim(world);
	if (world->volumed)
		volumed_gone(world);
	sim_power_cut(world->sim, VOLUMED);
}

/* ---- Turns ----------------------------------------------------------------------------------- */

static void run_volumed(struct ring_world *world)
{
	sim_select(world->sim, VOLUMED);
	running = RING_VOLUMED;
	uv_run(&world->volumed->loop, UV_RUN_NOWAIT);
}

static void run_shim(struct ring_world *world)
{
	sim_select(world->sim, SHIM);
	running = RING_SHIM;
	shim_turn(world);
}

/* Completions of the core come from here: volumed's code. */
static void run_world(struct ring_world *world)
{
	running = RING_VOLUMED;
	if (!sim_step(world->sim) || sim_random_below(world->sim, 16) == 0)
		sim_run(world->sim, 10 * HF_NS_PER_MS);
}

enum ring_process ring_world_turn(struct ring_world *world)
{
	uint64_t who = sim_random_below(world->sim, 8);
	int dead = setjmp(death);

	if (dead == RING_VOLUMED)
		ring_world_kill_volumed(world);
	else if (dead == RING_SHIM)
		ring_world_kill_shim(world);
	else if (who < 2 && world->shim)
		run_shim(world);
	else if (who < 4 && world->volumed)
		run_volumed(world);
	else
		run_world(world);
	running = RING_NOBODY;
	return (enum ring_process)dead;
}

/* ---- Beginning and end ----------------------------------------------------------------------- */

static bool format_done;

static void formatted(struct hf_wlog_format *format)
{
	HF_ASSERT(format->status == 0);
	format_done = true;
}

void ring_world_init(struct ring_world *world, uint64_t seed, uint32_t deadline_ms)
{
	struct sim_config config = {.seed = seed, .host_count = 2};
	struct hf_wlog_format *format = sim_keep_alloc(sizeof *format);

	config.disk_size_bytes[0] = DISK_SIZE;
	memset(world, 0, sizeof *world);
	memset(armed, 0, sizeof armed);
	current = world;
	snprintf(socket_path, sizeof socket_path, "/tmp/hf-sim-ring-%d", (int)getpid());
	world->sim = sim_create(&config);
	world->deadline_ms = deadline_ms;
	sim_select(world->sim, VOLUMED);
	*format = (struct hf_wlog_format){.env = sim_env(world->sim, VOLUMED),
					  .uuid = {1},
					  .segment_bytes = SEGMENT_SIZE,
					  .done = formatted};
	format_done = false;
	hf_wlog_format_start(format);
	HF_ASSERT(sim_wait_flag(world->sim, &format_done, PATIENCE_NS));
	sim_keep_free(format);
}

void ring_world_free(struct ring_world *world)
{
	if (world->shim)
		ring_world_kill_shim(world);
	if (world->volumed)
		ring_world_kill_volumed(world);
	unlink(socket_path);
	sim_destroy(world->sim);
	current = NULL;
}
