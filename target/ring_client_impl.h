/* SPDX-License-Identifier: GPL-2.0-only
 * Part of the Holdfast backing store, which tgtd loads; see docs/LICENSING.md. */
/* What ring_client.c (requests) and ring_session.c (the connection) share. */
#ifndef HF_TARGET_RING_CLIENT_IMPL_H
#define HF_TARGET_RING_CLIENT_IMPL_H

#include <sys/un.h>

#include "target/ring_client.h"
#include "target/ring_memory.h"
#include "target/slots.h"
#include "target/tier.h"

#define HF_SHIM_TICK_MS      100u
#define HF_SHIM_AWAY_TICK_MS 20u
#define HF_SHIM_FLYING_MAX   (HF_RING_ENTRIES / 2) /* the other half is for CANCELs */
#define HF_SHIM_BUCKETS      1024u

#define HF_SHIM_MAGIC         0x7368696du
#define HF_SHIM_REQUEST_MAGIC 0x73726571u
#define HF_SHIM_LUN_MAGIC     0x736c756eu

/* The connection:
 *
 *   AWAY ──connected──▶ GREETED ──WELCOME──▶ SERVING
 *     ▲                    │                    │ we are not content
 *     │                    │                    ▼
 *     └──────────────── its end ◀──────────── HUNG_UP
 *
 * HUNG_UP: we have said that nothing more comes, and wait for volumed to end the connection, which
 * it does when nothing of this session can take effect any more. */
enum hf_shim_state { HF_SHIM_AWAY, HF_SHIM_GREETED, HF_SHIM_SERVING, HF_SHIM_HUNG_UP };

enum hf_shim_request_state { HF_SHIM_IDLE, HF_SHIM_WAITING, HF_SHIM_FLYING, HF_SHIM_RESUBMIT };

enum hf_shim_lun_state { HF_SHIM_UNBOUND, HF_SHIM_ASKED, HF_SHIM_BOUND };

struct hf_shim_lun {
	uint32_t magic;
	enum hf_shim_lun_state state;
	struct hf_shim *shim;
	struct hf_list link;
	uint64_t volume;
	uint32_t handle;
	void (*changed)(void *owner, uint64_t size_bytes, uint32_t flags);
	void *owner;
	unsigned requests;   /* not in the pool */
	bool closed;         /* goes with its last request */
	bool flushed;        /* inline, since the last WRITE */
	uint32_t used_pages; /* of the data area */
	/* flying and resubmit are in order of ids, every id of flying before those of resubmit. */
	struct hf_list waiting, resubmit, flying;
};

struct hf_shim {
	uint32_t magic;
	const struct hf_shim_loop *loop;
	uint32_t deadline_ms;
	struct sockaddr_un address;
	uint8_t uuid[16];
	uint64_t next_id;
	enum hf_shim_state state;
	int socket;
	int timer_fd;
	uint32_t tick_ms; /* 0: the timer is off */
	bool away_logged;
	bool soon; /* a flush was asked for */
	bool publish_owed;
	bool resumed; /* RESUME was sent in this session */
	struct hf_shim_memory memory;
	struct hf_shim_tier tier; /* of this session, if volumed gave one */
	struct hf_slots slots;
	unsigned flying;
	unsigned cancels;    /* CANCELs that volumed has not answered */
	bool space_short;    /* a request found no run of pages: nobody overtakes it */
	struct hf_list luns; /* who goes first next time is first */
	unsigned lun_count;
	/* UNBIND was sent, UNBOUND has not come: not to be bound again yet. */
	uint64_t leaving[HF_RING_VOLUMES_MAX];
	unsigned leaving_count;
	struct hf_shim_request *requests; /* HF_SHIM_REQUESTS_MAX */
	struct hf_list pool, numbered, aged;
	struct hf_list buckets[HF_SHIM_BUCKETS];
};

#define hf_shim_for_each_lun(lun, shim)                                                            \
	for (struct hf_shim_lun *lun = hf_shim_lun_at(shim, (shim)->luns.next), *lun##_next;       \
	     lun && (lun##_next = hf_shim_lun_at(shim, lun->link.next), true); lun = lun##_next)

static inline struct hf_shim_lun *hf_shim_lun_at(struct hf_shim *shim, struct hf_list *link)
{
	return link == &shim->luns ? NULL : hf_container_of(link, struct hf_shim_lun, link);
}

/* ring_client.c */
/* Places what can be placed. */
void hf_shim_pump_all(struct hf_shim *shim);
/* The session is over for volumed too: what was flying is to be submitted again. */
void hf_shim_requests_lost(struct hf_shim *shim);
/* Deadlines. */
void hf_shim_requests_expire(struct hf_shim *shim);
uint64_t hf_shim_oldest(const struct hf_shim *shim);

/* ring_session.c */
int hf_shim_session_open(struct hf_shim *shim);
void hf_shim_session_close(struct hf_shim *shim);
/* There is something to wait for: keeps the timer going. */
void hf_shim_session_tick(struct hf_shim *shim);
/* Connects, or binds what is not bound yet. */
void hf_shim_session_advance(struct hf_shim *shim);
/* Takes a closed LUN's volume back from volumed. */
void hf_shim_session_unbind(struct hf_shim *shim, uint64_t volume);
/* volumed broke the rules: no more from us, and wait for its end. */
void hf_shim_session_hang_up(struct hf_shim *shim, const char *reason);
/* Says RESUME once everything unfinished is submitted again. */
void hf_shim_session_resumed(struct hf_shim *shim);
/* Completions are there. */
void hf_shim_requests_collect(struct hf_shim *shim);

#endif
