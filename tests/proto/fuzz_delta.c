/* Fuzz target: any bytes as a delta against a small document. Promises: never a crash, bounded
 * memory; what is built decodes and does not depend on chance. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "proto/delta.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t hash[HF_DELTA_HASH_BYTES] = {7};
	Holdfast__Document base = HOLDFAST__DOCUMENT__INIT, *built;
	Holdfast__Volume volumes[3], *list[3];
	Holdfast__Tombstone tombstone = HOLDFAST__TOMBSTONE__INIT, *stones[] = {&tombstone};
	uint8_t *bytes, *again;
	size_t length, again_length;

	for (uint64_t i = 0; i < 3; i++) {
		holdfast__volume__init(&volumes[i]);
		volumes[i].volume = i + 1;
		list[i] = &volumes[i];
	}
	tombstone.volume = 4;
	base.incarnation = 1;
	base.generation = 2;
	base.volumes = list;
	base.n_volumes = 3;
	base.tombstones = stones;
	base.n_tombstones = 1;
	if (hf_delta_apply(&base, hash, data, size, &bytes, &length) != 0)
		return 0;
	HF_ASSERT(length <= HF_DELTA_MAX);
	built = holdfast__document__unpack(NULL, length, bytes);
	HF_ASSERT(built);
	holdfast__document__free_unpacked(built, NULL);
	HF_ASSERT(hf_delta_apply(&base, hash, data, size, &again, &again_length) == 0);
	HF_ASSERT(length == again_length && memcmp(bytes, again, length) == 0);
	free(bytes);
	free(again);
	return 0;
}
