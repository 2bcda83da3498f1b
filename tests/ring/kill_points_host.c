/* The steps of volumed's end of the ring. */
#include "gateway/volumed/ring_host_impl.h"
#include "tests/ring/kill_points.h"

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
