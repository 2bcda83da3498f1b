/* See thread.h. A thread keeps the processor for at least one of its turns, whoever wakes
 * meanwhile: that of an ordinary thread is about 3 ms, and the clock that ends it may tick every 4
 * ms. */
#include "base/thread.h"

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#define HASTY_TURN_NS   200000u
#define WORKING_TURN_NS 100000u /* the least there is */
#define WORKING_NICE    10      /* SCHED_IDLE would get next to nothing, and work has to go on */

static void set(uint64_t turn_ns, int32_t nice)
{
	struct { /* sched_setattr(2); the C library has none */
		uint32_t size, sched_policy;
		uint64_t sched_flags;
		int32_t sched_nice;
		uint32_t sched_priority;
		uint64_t sched_runtime, sched_deadline, sched_period;
	} attr = {.size = sizeof attr};

	if (syscall(SYS_sched_getattr, 0, &attr, sizeof attr, 0) != 0 ||
	    attr.sched_policy != SCHED_OTHER)
		return;
	attr.sched_runtime = turn_ns;
	if (attr.sched_nice < nice)
		attr.sched_nice = nice;
	(void)syscall(SYS_sched_setattr, 0, &attr, 0);
}

void hf_thread_is_hasty(void)
{
	set(HASTY_TURN_NS, -20);
}

void hf_thread_gives_way(void)
{
	static __thread bool given;

	if (!given)
		set(WORKING_TURN_NS, WORKING_NICE);
	given = true;
}
