/* SPDX-License-Identifier: GPL-2.0-only
 * Part of the Holdfast backing store, which tgtd loads; see docs/LICENSING.md. */
/* The memory tier of a session, the shim's end: blocks that volumed keeps in memory which it alone
 * may write, read here without a hop (docs/protocol/ring.md, "Memory tier"). tgtd's main thread;
 * nothing blocks.
 *
 * volumed is believed in what the blocks hold and in nothing else: the shape is taken once, checked
 * against the file's size, and every access is bounded by that, whatever the memory holds later. */
#ifndef HF_TARGET_TIER_H
#define HF_TARGET_TIER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "cache/tier_layout.h"

struct hf_shim_tier {
	const uint8_t *base; /* NULL: there is none */
	uint64_t bytes, sets, blocks_offset;
	/* The ring's: bits that tell volumed which entries are used, and hits by handle. */
	uint8_t *marks;
	uint64_t *hits;
};

/* Maps what came with TIER; the descriptor stays the caller's. `ring` is the session's memory.
 * 0, or HF_EPROTO if it could shrink, could be written here, or is no tier; HF_ENOMEM. */
int hf_shim_tier_open(struct hf_shim_tier *tier, int fd, uint8_t *ring);
/* Harmless if there is none. */
void hf_shim_tier_close(struct hf_shim_tier *tier);

/* A volume was bound: its hits count from 0. */
void hf_shim_tier_begin(const struct hf_shim_tier *tier, uint32_t handle);

/* Copies [offset, offset + length) of the volume to `to` if the tier has all of it; what was copied
 * is then one state of the range. False: the range is to be asked of volumed, and `to` may hold
 * anything. Bytes, multiples of 8. */
bool hf_shim_tier_read(const struct hf_shim_tier *tier, uint32_t handle, uint64_t offset,
		       uint64_t length, void *to);

#endif
