/* SPDX-License-Identifier: GPL-2.0-only
 * Part of the Holdfast backing store, which tgtd loads; see docs/LICENSING.md. */
/* The shared memory of one session, the shim's end: made, sealed, handed over, and every load and
 * store that the shim makes in it. One function a step, so that the tests of docs/kill-points.md
 * can end the process between any two. */
#ifndef HF_TARGET_RING_MEMORY_H
#define HF_TARGET_RING_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "cache/ring_layout.h"

struct hf_shim_memory {
	uint8_t *base;
	int memfd;
	int wake_volumed_fd; /* eventfds */
	int wake_shim_fd;
	uint64_t submit_tail, complete_head;
	bool urgent; /* something else than WRITEs was placed since the last look at a wake */
};

/* New memory for a session of the ring `uuid`. 0 or a negative HF_E…. */
int hf_shim_memory_open(struct hf_shim_memory *memory, const uint8_t uuid[16],
			uint64_t oldest_unfinished);
/* Harmless on memory that is zeroed or closed. */
void hf_shim_memory_close(struct hf_shim_memory *memory);

/* First byte of a page of the data area. */
void *hf_shim_memory_data(const struct hf_shim_memory *memory, uint32_t page);
/* Writes a descriptor where volumed does not look yet. */
void hf_shim_memory_place(struct hf_shim_memory *memory,
			  const struct hf_ring_submission *submission);
/* Shows the descriptors placed to volumed. */
void hf_shim_memory_publish(struct hf_shim_memory *memory);
/* Whether volumed needs a wake for what was published: it says itself what it would sleep through.
 */
bool hf_shim_memory_needs_wake(struct hf_shim_memory *memory);
void hf_shim_memory_wake(struct hf_shim_memory *memory);
void hf_shim_memory_woken(struct hf_shim_memory *memory);
/* Number of completions to collect, or HF_EPROTO if the tail is impossible. */
int hf_shim_memory_completed(const struct hf_shim_memory *memory);
/* Everything that was collected of this handle is durable. */
bool hf_shim_memory_is_durable(const struct hf_shim_memory *memory, uint32_t handle);
void hf_shim_memory_collect(struct hf_shim_memory *memory, struct hf_ring_completion *completion);
/* Tells volumed that the completions collected are free. */
void hf_shim_memory_collected(struct hf_shim_memory *memory);
void hf_shim_memory_set_oldest(struct hf_shim_memory *memory, uint64_t oldest_unfinished);

#endif
