/* Writes the first inputs of the fuzz target's corpus: one good thing of each kind and some damaged
 * ones. Usage: corpus_make DIR. Run by hand when the format changes; its output is kept. */
#include "remote/chain.h"
#include "remote/keyring.h"
#include "remote/object.h"

#include <string.h>

#include "tests/remote/corpus_file.h"

static void write_object(void)
{
	static uint8_t payload[3 * HF_CHUNK_BYTES];
	struct hf_object_extent extents[] = {
		{.lba = 1, .length = 200, .kind = HF_EXTENT_DATA, .payload_unit = 100},
		{.lba = 300, .length = 50, .kind = HF_EXTENT_ZERO},
		{.lba = 400, .length = 10, .kind = HF_EXTENT_DATA},
		{.lba = 500, .length = 1, .kind = HF_EXTENT_BAD},
	};
	struct hf_object_header header = {.first_sequence = 1,
					  .last_sequence = 4,
					  .volume_size_bytes = 1 << 20,
					  .payload_bytes = sizeof payload - 512,
					  .extents = extents,
					  .extent_count = 4};
	struct hf_object object;
	uint8_t *bytes, body[4096];

	memset(payload, 'a', HF_CHUNK_BYTES);
	if (hf_object_encode(&id, key, salt, &header, payload, &bytes, &object))
		exit(1);
	write_file("object", bytes, object.stored_bytes);
	write_file("object-cut-in-chunk", bytes, object.stored_bytes - 3);
	write_file("object-cut-in-header", bytes, 200);
	bytes[130] ^= 1;
	write_file("object-flipped", bytes, object.stored_bytes);
	hf_object_write_body(&header, body);
	write_file("body", body, hf_object_body_bytes(4, 3));
	body[60] = 200;
	write_file("body-many-chunks", body, hf_object_body_bytes(4, 3));
	memset(body + 48, 0xff, 16);
	write_file("body-huge-counts", body, hf_object_body_bytes(4, 3));
	free(object.chunks);
	free(bytes);
}

int main(int argc, char **argv)
{
	struct hf_base base = {.id = id, .size_bytes = 1 << 20, .recovery_point = 9};
	struct hf_claim claim = {.id = id};
	uint8_t keyring[HF_KEYRING_BYTES], claimed[HF_CLAIM_BYTES], *bytes;
	size_t length;

	if (argc != 2)
		return 2;
	folder = argv[1];
	write_object();
	claim.id.sequence = 0;
	if (hf_keyring_write(id.tenant, id.volume, key, salt, key, keyring) ||
	    hf_claim_write(&claim, key, salt, claimed) ||
	    hf_base_add_link(&base, &(struct hf_chain_link){1, 1, 1, 2, 9}) ||
	    hf_base_write(&base, key, salt, &bytes, &length))
		return 1;
	write_file("keyring", keyring, sizeof keyring);
	write_file("claim", claimed, sizeof claimed);
	write_file("base", bytes, length);
	write_file("base-cut", bytes, length - 8);
	write_file("nothing", bytes, 0);
	free(bytes);
	hf_base_free(&base);
	return 0;
}
