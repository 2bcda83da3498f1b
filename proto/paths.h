/* The two connections of a gateway, as a pure state machine (invariant 5): which one is to be
 * dialled, in which role, which one has to go, and what a standby is told of the other. The agent
 * and simulated gateways drive it; it knows no socket and no clock.
 *
 * There is at most one active path, and none or one standby. The standby exists only while the
 * active path's provider promotes standbys (capability 2) and there is another endpoint for it.
 * When the active path is lost, the standby says so at once and is promoted; the lost one, dialled
 * again after its back-off, becomes the standby, or the active one if nothing was promoted by then.
 *
 * After every call the owner looks again at wants_dial, must_close and tells. */
#ifndef HF_PROTO_PATHS_H
#define HF_PROTO_PATHS_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/channel.pb-c.h"

#define HF_PATHS 2u

enum hf_paths_phase {
	HF_PATHS_RESTING = 0, /* no connection; dialled when wants_dial says so */
	HF_PATHS_DIALLING,    /* also while it waits for its back-off */
	HF_PATHS_ASKED,       /* Connect was said */
	HF_PATHS_PARKED,
	HF_PATHS_HELD,
};

struct hf_paths_path {
	enum hf_paths_phase phase;
	bool asked_active;   /* ASKED: in which role */
	bool overtaken;      /* ASKED as active: the other one was held meanwhile */
	bool leaving;        /* HELD: it was told to leave, the standby is to take over */
	bool capable;        /* HELD, PARKED: the provider promotes standbys */
	uint64_t epoch;      /* HELD */
	uint64_t process;    /* HELD, PARKED: of the provider; 0: it did not say */
	uint64_t subscribed; /* PARKED: number of the newest subscription; 0: none */
};

struct hf_paths {
	struct hf_paths_path path[HF_PATHS];
	uint64_t epoch;   /* highest that any path was held with */
	unsigned lead;    /* dialled when none is held: the one that was active last */
	bool standby_due; /* the owner's timer: a standby may be dialled now */
	bool elsewhere;   /* there is more than one endpoint */
	int moving;       /* the path that is to become active elsewhere (Drain); -1: none */
};

/* `epoch`: the highest that was kept. */
void hf_paths_init(struct hf_paths *paths, uint64_t epoch);

/* ---- What happened ---- */

void hf_paths_dialling(struct hf_paths *paths, unsigned i);
/* The transport is there; Connect is said in the role that is returned. */
Holdfast__Role hf_paths_connected(struct hf_paths *paths, unsigned i);
void hf_paths_held(struct hf_paths *paths, unsigned i, const Holdfast__Held *held);
void hf_paths_parked(struct hf_paths *paths, unsigned i, const Holdfast__Parked *parked);
void hf_paths_subscribed(struct hf_paths *paths, unsigned i, uint64_t subscription);
/* The connection ended, for whatever reason, or its dialler was put to rest. */
void hf_paths_ended(struct hf_paths *paths, unsigned i);

enum hf_paths_leave {
	HF_LEAVE_END,     /* end it now and dial anew */
	HF_LEAVE_PROMOTE, /* the standby takes over; this one ends when it has */
	HF_LEAVE_DIAL,    /* the other path is dialled as the active one (a standby there is ended
			   * first); this one ends when that is held */
};
/* Drain came on path i. `there`: the standby's endpoint is the one that was named, or none was. */
enum hf_paths_leave hf_paths_drain(struct hf_paths *paths, unsigned i, bool there);

/* ---- What follows ---- */

/* A resting path that is to be dialled. */
bool hf_paths_wants_dial(const struct hf_paths *paths, unsigned i);
/* A path that has no place any more: held with a lower epoch than another, or a standby that nobody
 * would promote, or at the very process of the active one though there are others. Also a dialling
 * one that became needless, and one that asked to be active before the other one was held: what its
 * Connect showed is of before, and could be taken for a copy's. */
bool hf_paths_must_close(const struct hf_paths *paths, unsigned i);
/* The active path, or -1. */
int hf_paths_active(const struct hf_paths *paths);
/* What a report on parked path i says now. */
Holdfast__PathState hf_paths_tells(const struct hf_paths *paths, unsigned i);

#endif
