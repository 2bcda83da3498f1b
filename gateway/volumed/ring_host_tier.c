/* The memory tiers of the rings: their memory, which session has one, and what the core's changes
 * and reads mean to it. The core's thread, which is the loop's.
 *
 * A tier belongs to one ring of one process: nobody else ever gets its descriptor, so a ring can
 * see only what was read through it. A session that ends leaves it empty, and the next session of
 * the same ring takes it over. Its memory counts until the process is gone, since that may have it
 * mapped as long as it lives; a ring for which nothing is left goes without a tier.
 *
 * The order that readers rely on: the core calls hf_ring_host_range_changed in the turn in which a
 * change becomes visible to reads, before the request that changed it is answered. A completion is
 * published after that, so a shim that knows of the end of a write no longer finds what it
 * replaced. */
#include "gateway/volumed/ring_host_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"
#include "cache/tier.h"
#include "cache/tier_layout.h"

#define TIER_MAGIC 0x72746965u
#define BUCKETS    256u

struct bound {
	struct hf_list link; /* in a bucket while bound */
	struct hf_ring_tier *tier;
	uint64_t volume;
};

struct hf_ring_tier {
	uint32_t magic;
	struct hf_list link;
	uint8_t uuid[16];
	pid_t pid;
	int pidfd, memfd;
	void *memory;
	struct hf_tier *content;
	struct hf_ring_session *session;           /* NULL: between two */
	struct bound volumes[HF_RING_VOLUMES_MAX]; /* by handle */
};

struct hf_ring_tiers {
	uint64_t share_bytes; /* of one ring */
	unsigned rings_max, count;
	struct hf_list tiers;
	struct hf_list buckets[BUCKETS]; /* struct bound, by volume */
};

/* ---- Memory ---- */

static bool open_memory(struct hf_ring_tier *tier, uint64_t bytes)
{
	tier->memfd = memfd_create("holdfast-tier", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (tier->memfd < 0 || ftruncate(tier->memfd, (off_t)bytes) != 0)
		return false;
	tier->memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, tier->memfd, 0);
	if (tier->memory == MAP_FAILED) {
		tier->memory = NULL;
		return false;
	}
	/* From here on nobody can map it writable, write to it or change its size. */
	if (fcntl(tier->memfd, F_ADD_SEALS,
		  F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) != 0)
		return false;
	tier->content = hf_tier_create(tier->memory, bytes);
	return tier->content != NULL;
}

static void tier_free(struct hf_ring_tiers *tiers, struct hf_ring_tier *tier)
{
	HF_ASSERT(!tier->session);
	hf_list_remove(&tier->link);
	hf_tier_destroy(tier->content);
	if (tier->memory)
		munmap(tier->memory, tiers->share_bytes);
	if (tier->memfd >= 0)
		close(tier->memfd);
	if (tier->pidfd >= 0)
		close(tier->pidfd);
	tier->magic = 0;
	free(tier);
}

static bool process_is_gone(const struct hf_ring_tier *tier)
{
	struct pollfd wait = {.fd = tier->pidfd, .events = POLLIN};

	return poll(&wait, 1, 0) > 0;
}

/* What the dead left. */
static void reap(struct hf_ring_tiers *tiers)
{
	hf_list_for_each_safe (link, &tiers->tiers) {
		struct hf_ring_tier *tier = hf_container_of(link, struct hf_ring_tier, link);

		if (tier->session || !process_is_gone(tier))
			continue;
		tier_free(tiers, tier);
		tiers->count--;
	}
}

static struct hf_ring_tier *tier_create(struct hf_ring_tiers *tiers,
					const struct hf_ring_session *session)
{
	struct hf_ring_tier *tier = calloc(1, sizeof *tier);

	if (!tier)
		return NULL;
	tier->magic = TIER_MAGIC;
	tier->pid = session->pid;
	tier->memfd = -1;
	memcpy(tier->uuid, session->uuid, 16);
	hf_list_init(&tier->link);
	tier->pidfd = pidfd_open(session->pid, 0);
	if (tier->pidfd < 0 || !open_memory(tier, tiers->share_bytes)) {
		hf_warn("no memory tier for the ring of pid=%d: %s", (int)session->pid,
			strerror(errno));
		tier_free(tiers, tier);
		return NULL;
	}
	hf_list_push_back(&tiers->tiers, &tier->link);
	tiers->count++;
	return tier;
}

static struct hf_ring_tier *tier_for(struct hf_ring_tiers *tiers,
				     const struct hf_ring_session *session)
{
	reap(tiers);
	hf_list_for_each (link, &tiers->tiers) {
		struct hf_ring_tier *tier = hf_container_of(link, struct hf_ring_tier, link);

		if (!tier->session && tier->pid == session->pid &&
		    memcmp(tier->uuid, session->uuid, 16) == 0)
			return tier;
	}
	if (tiers->count < tiers->rings_max)
		return tier_create(tiers, session);
	if (tiers->rings_max > 0)
		hf_info("no memory tier is left for the ring of pid=%d", (int)session->pid);
	return NULL;
}

/* ---- Sessions ---- */

static bool send_tier(const struct hf_ring_session *session, const struct hf_ring_tier *tier,
		      uint64_t bytes)
{
	struct hf_ring_message message = {.type = HF_RING_TIER, .size_bytes = bytes};
	struct iovec iov = {&message, sizeof message};
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct msghdr header = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof control,
	};

	control.header.cmsg_level = SOL_SOCKET;
	control.header.cmsg_type = SCM_RIGHTS;
	control.header.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&control.header), &tier->memfd, sizeof(int));
	return sendmsg(session->socket, &header, MSG_DONTWAIT | MSG_NOSIGNAL) ==
	       (ssize_t)sizeof message;
}

void hf_ring_tier_open(struct hf_ring_session *session)
{
	struct hf_ring_tiers *tiers = hf_ring_host_tiers(session->host);
	struct hf_ring_tier *tier;

	/* Messages keep their order; a shim that already does not read goes without. */
	if (session->state != HF_RING_SERVING || session->owed_count > 0)
		return;
	tier = tier_for(tiers, session);
	if (!tier || !send_tier(session, tier, tiers->share_bytes))
		return;
	hf_tier_use_marks(tier->content, session->memory.base + HF_RING_TIER_MARKS_OFFSET,
			  HF_RING_TIER_MARKS);
	tier->session = session;
	session->tier = tier;
}

void hf_ring_tier_close(struct hf_ring_session *session)
{
	struct hf_ring_tier *tier = session->tier;

	if (!tier)
		return;
	HF_CHECK_MAGIC(tier, TIER_MAGIC);
	hf_tier_forget_all(tier->content);
	hf_tier_use_marks(tier->content, NULL, 0);
	for (unsigned i = 0; i < HF_RING_VOLUMES_MAX; i++)
		if (tier->volumes[i].tier)
			hf_list_remove(&tier->volumes[i].link);
	memset(tier->volumes, 0, sizeof tier->volumes);
	tier->session = NULL;
	session->tier = NULL;
}

void hf_ring_tier_bound(struct hf_ring_session *session, uint32_t handle)
{
	struct hf_ring_tiers *tiers = hf_ring_host_tiers(session->host);
	struct bound *bound;

	if (!session->tier)
		return;
	bound = &session->tier->volumes[handle];
	HF_ASSERT(!bound->tier);
	bound->tier = session->tier;
	bound->volume = session->bindings[handle].volume;
	hf_list_push_back(&tiers->buckets[bound->volume % BUCKETS], &bound->link);
}

void hf_ring_tier_unbound(struct hf_ring_session *session, uint32_t handle)
{
	struct bound *bound = session->tier ? &session->tier->volumes[handle] : NULL;

	if (!bound || !bound->tier)
		return;
	hf_tier_forget(session->tier->content, handle);
	hf_list_remove(&bound->link);
	*bound = (struct bound){0};
}

/* ---- What the core tells ---- */

static struct bound *bound_of(struct hf_ring_tiers *tiers, uint64_t volume, uint32_t *handle)
{
	hf_list_for_each (link, &tiers->buckets[volume % BUCKETS]) {
		struct bound *bound = hf_container_of(link, struct bound, link);

		if (bound->volume != volume)
			continue;
		*handle = (uint32_t)(bound - bound->tier->volumes);
		return bound;
	}
	return NULL;
}

bool hf_ring_host_range_changed(struct hf_ring_host *host, uint64_t volume, uint64_t offset,
				uint64_t length)
{
	uint32_t handle;
	struct bound *bound = bound_of(hf_ring_host_tiers(host), volume, &handle);

	return bound && hf_tier_changed(bound->tier->content, handle, offset, length);
}

void hf_ring_host_range_holds(struct hf_ring_host *host, uint64_t volume, uint64_t offset,
			      uint64_t length, const void *bytes)
{
	uint32_t handle;
	struct bound *bound = bound_of(hf_ring_host_tiers(host), volume, &handle);

	if (bound)
		hf_tier_filled(bound->tier->content, handle, offset, length,
			       hf_tier_moment(bound->tier->content), bytes);
}

/* Fenced, detached, failed, come again: whatever it is, what was known of the volume is not known
 * any more. Rare, so all of it goes. */
void hf_ring_tier_volume_changed(struct hf_ring_tiers *tiers, uint64_t volume)
{
	uint32_t handle;
	struct bound *bound = bound_of(tiers, volume, &handle);

	if (bound)
		hf_tier_forget(bound->tier->content, handle);
}

uint64_t hf_ring_tier_moment(const struct hf_ring_session *session)
{
	return session->tier ? hf_tier_moment(session->tier->content) : 0;
}

void hf_ring_tier_filled(struct hf_ring_session *session, uint32_t handle,
			 const struct hf_request *request, uint64_t moment, const void *bytes)
{
	/* A session that took its tier over after the read began has none of its moments. */
	if (session->tier && session->tier->volumes[handle].tier)
		hf_tier_filled(session->tier->content, handle, request->offset, request->length,
			       moment, bytes);
}

/* ---- Status ---- */

uint64_t hf_ring_host_tier_hits(const struct hf_ring_host *host, uint64_t volume)
{
	uint32_t handle;
	struct bound *bound = bound_of(hf_ring_host_tiers(host), volume, &handle);

	return bound ? hf_ring_memory_tier_hits(&bound->tier->session->memory, handle) : 0;
}

void hf_ring_host_tier_status(const struct hf_ring_host *host,
			      struct hf_ring_host_tier_status *status)
{
	struct hf_ring_tiers *tiers = hf_ring_host_tiers(host);

	*status = (struct hf_ring_host_tier_status){0};
	hf_list_for_each (link, &tiers->tiers) {
		struct hf_tier_counts counts;

		hf_tier_count(hf_container_of(link, struct hf_ring_tier, link)->content, &counts);
		status->bytes += tiers->share_bytes;
		status->used_bytes += counts.used * HF_TIER_BLOCK;
	}
}

/* ---- Life ---- */

struct hf_ring_tiers *hf_ring_tiers_create(uint64_t bytes, unsigned rings)
{
	struct hf_ring_tiers *tiers = calloc(1, sizeof *tiers);

	if (!tiers)
		return NULL;
	hf_list_init(&tiers->tiers);
	for (unsigned i = 0; i < BUCKETS; i++)
		hf_list_init(&tiers->buckets[i]);
	tiers->share_bytes = rings > 0 ? bytes / rings / HF_TIER_BLOCK * HF_TIER_BLOCK : 0;
	if (tiers->share_bytes >= HF_TIER_BYTES_MIN)
		tiers->rings_max = rings;
	return tiers;
}

void hf_ring_tiers_destroy(struct hf_ring_tiers *tiers)
{
	hf_list_for_each_safe (link, &tiers->tiers)
		tier_free(tiers, hf_container_of(link, struct hf_ring_tier, link));
	free(tiers);
}
