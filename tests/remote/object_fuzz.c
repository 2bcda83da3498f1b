/* Any bytes as a key ring, a claim, a base and an object: refused or read, never a crash
 * (invariant 9). The body that is authenticated in real life is also fed unsealed, since whoever
 * holds the key can seal anything. */
#include "remote/chain.h"
#include "remote/keyring.h"
#include "remote/object.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t key[HF_KEY_BYTES] = {4, 5, 6};
static const struct hf_object_id id = {
	.tenant = 0x11, .volume = 0x22, .epoch = 3, .start = 4, .sequence = 5};

static void read_chunks(const struct hf_object *object, const uint8_t *data, size_t size)
{
	static uint8_t plain[HF_CHUNK_BYTES];

	for (uint32_t i = 0; i < object->chunk_count && i < 8; i++) {
		const struct hf_chunk *chunk = &object->chunks[i];

		if (object->data_offset + (size_t)chunk->offset + chunk->stored_bytes <= size)
			hf_chunk_decode(object, key, i, data + object->data_offset + chunk->offset,
					plain);
	}
}

static void read_object(const uint8_t *data, size_t size)
{
	struct hf_object_header header;
	struct hf_object object;
	struct hf_errmsg message;

	if (hf_object_decode_header(&id, key, data, size, &header, &object, &message))
		return;
	read_chunks(&object, data, size);
	free(header.extents);
	free(object.chunks);
}

static void read_body(const uint8_t *data, size_t size)
{
	struct hf_object_header header;
	struct hf_errmsg message;

	if (hf_object_read_body(id.volume, data, size, &header, &message))
		return;
	free(header.extents);
	free(header.chunks);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t data_key[HF_KEY_BYTES];
	struct hf_errmsg message;
	struct hf_claim claim;
	struct hf_base base;

	hf_keyring_read(id.tenant, id.volume, key, data, size, data_key, &message);
	hf_claim_read(id.tenant, id.volume, id.start, key, data, size, &claim, &message);
	if (!hf_base_read(&id, key, data, size, &base, &message))
		hf_base_free(&base);
	read_object(data, size);
	read_body(data, size);
	return 0;
}
