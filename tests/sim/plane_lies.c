/* What a holder sends that it should not, in sim_plane: by an error, or because it means ill. Now
 * and then the registry gives it a document of before, or a delta in which something is changed.
 * The gateway must take neither. */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/plane.h"

#define LIES       2000u   /* per million documents */
#define DELTA_LIES 100000u /* deltas */
#define REMEMBERED 4u

int __real_hf_registry_document_get(struct hf_registry *reg, uint64_t gateway,
				    struct hf_reg_document *document);
int __wrap_hf_registry_document_get(struct hf_registry *reg, uint64_t gateway,
				    struct hf_reg_document *document);
int __real_hf_registry_delta_get(struct hf_registry *reg, uint64_t gateway,
				 struct hf_reg_delta *delta);
int __wrap_hf_registry_delta_get(struct hf_registry *reg, uint64_t gateway,
				 struct hf_reg_delta *delta);

static struct {
	uint64_t gateway;
	uint8_t *bytes;
	size_t length;
} old[REMEMBERED];

static uint8_t *copy(const uint8_t *bytes, size_t length)
{
	uint8_t *out = malloc(length + 1);

	HF_ASSERT(out);
	memcpy(out, bytes, length);
	return out;
}

static void remember(uint64_t gateway, const struct hf_reg_document *document)
{
	unsigned at = (unsigned)sim_below(REMEMBERED);

	free(old[at].bytes);
	old[at].gateway = gateway;
	old[at].length = document->length;
	old[at].bytes = copy(document->bytes, document->length);
}

int __wrap_hf_registry_document_get(struct hf_registry *reg, uint64_t gateway,
				    struct hf_reg_document *document)
{
	unsigned at = (unsigned)sim_below(REMEMBERED);
	int err = __real_hf_registry_document_get(reg, gateway, document);

	if (err)
		return err;
	if (sim_chance(LIES) && old[at].bytes) {
		/* Also one of another gateway. */
		free((void *)(uintptr_t)document->bytes);
		document->bytes = copy(old[at].bytes, old[at].length);
		document->length = old[at].length;
	} else if (sim_chance(100000)) {
		remember(gateway, document);
	}
	return 0;
}

int __wrap_hf_registry_delta_get(struct hf_registry *reg, uint64_t gateway,
				 struct hf_reg_delta *delta)
{
	int err = __real_hf_registry_delta_get(reg, gateway, delta);

	if (!err && delta->length && sim_chance(DELTA_LIES))
		((uint8_t *)(uintptr_t)delta->bytes)[sim_below(delta->length)] ^= 1;
	return err;
}

void sim_lies_close(void)
{
	for (unsigned i = 0; i < REMEMBERED; i++)
		free(old[i].bytes);
	memset(old, 0, sizeof old);
}
