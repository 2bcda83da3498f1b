/* SPDX-License-Identifier: GPL-2.0-only
 * Part of the Holdfast backing store, which tgtd loads; see docs/LICENSING.md. */
/* Keeps one stalled initiator from freezing all others: tgt 1.0.85 repeats a send that would block
 * for as long as the peer does not read, and serves nobody meanwhile. A thread of its own, which
 * blocks every signal, asks tgtd's loop for a beat; without one for `stall_ms` it shuts down the
 * TCP connections of this process whose send queue is full and did not move, and after four times
 * as long also those that only sip. tgtd sees a broken connection and goes on; that initiator logs
 * in again. */
#ifndef HF_TARGET_WATCHDOG_H
#define HF_TARGET_WATCHDOG_H

#include <stdint.h>

#include "base/err.h"

#define HF_WATCHDOG_STALL_MS     2000u /* by default */
#define HF_WATCHDOG_STALL_MS_MIN 100u

/* Starts it for the life of the process, which must not fork afterwards. `watch` is the loop's, for
 * a level-triggered event. Once a process. 0 or HF_ENOMEM. */
int hf_watchdog_start(uint32_t stall_ms,
		      int (*watch)(int fd, int events,
				   void (*ready)(int fd, int events, void *data), void *data));

#endif
