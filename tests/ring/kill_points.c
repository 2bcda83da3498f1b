/* See kill_points.h. */
#include "tests/ring/kill_points.h"

#include <signal.h>
#include <stddef.h>

#include "gateway/volumed/ring_host_impl.h"
#include "target/ring_memory.h"

struct kill_switch *kill_switch;

void kill_point_reached(enum kill_point point)
{
	if (!kill_switch || kill_switch->point != (uint32_t)point || kill_switch->countdown == 0)
		return;
	if (--kill_switch->countdown > 0)
		return;
	kill_switch->kills++;
	raise(SIGKILL);
}

#define STEP(point, type, name, parameters, arguments)                                             \
	type __real_##name parameters;                                                             \
	type __wrap_##name parameters;                                                             \
	type __wrap_##name parameters                                                              \
	{                                                                                          \
		kill_point_reached(point);                                                         \
		return __real_##name arguments;                                                    \
	}

STEP(V_WELCOMES, int, hf_ring_host_greet,
     (struct hf_ring_host * host, struct hf_ring_session *session), (host, session))
STEP(V_BINDS, void, hf_ring_session_bound,
     (struct hf_ring_session * session, uint32_t handle, const struct hf_volume_status *status),
     (session, handle, status))
STEP(V_EMPTIES_WAKE, bool, hf_ring_memory_woken, (struct hf_ring_memory * memory), (memory))
STEP(V_TAKES, void, hf_ring_memory_take,
     (struct hf_ring_memory * memory, struct hf_ring_submission *submission), (memory, submission))
STEP(V_SHOWS_TAKEN, void, hf_ring_memory_taken, (struct hf_ring_memory * memory), (memory))
STEP(V_PLACES, void, hf_ring_memory_place,
     (struct hf_ring_memory * memory, const struct hf_ring_completion *completion),
     (memory, completion))
STEP(V_PUBLISHES, void, hf_ring_memory_publish, (struct hf_ring_memory * memory), (memory))
STEP(V_WAKES, void, hf_ring_memory_wake, (struct hf_ring_memory * memory), (memory))

STEP(S_PLACES, void, hf_shim_memory_place,
     (struct hf_shim_memory * memory, const struct hf_ring_submission *submission),
     (memory, submission))
STEP(S_PUBLISHES, void, hf_shim_memory_publish, (struct hf_shim_memory * memory), (memory))
STEP(S_WAKES, void, hf_shim_memory_wake, (struct hf_shim_memory * memory), (memory))
STEP(S_EMPTIES_WAKE, void, hf_shim_memory_woken, (struct hf_shim_memory * memory), (memory))
STEP(S_COLLECTS, void, hf_shim_memory_collect,
     (struct hf_shim_memory * memory, struct hf_ring_completion *completion), (memory, completion))
STEP(S_SHOWS_COLLECTED, void, hf_shim_memory_collected, (struct hf_shim_memory * memory), (memory))
STEP(S_SHOWS_OLDEST, void, hf_shim_memory_set_oldest,
     (struct hf_shim_memory * memory, uint64_t oldest_unfinished), (memory, oldest_unfinished))
