/* The steps of the shim's end of the ring. */
#include "target/ring_memory.h"
#include "tests/ring/kill_points.h"

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
