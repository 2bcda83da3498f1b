/* One object of a volume: a sealed header (which writes it holds, where they lie in the volume,
 * how its payload is cut) and the payload in chunks of 64 KiB, each compressed, encrypted and
 * checksummed for itself so that a read fetches little. No state, any thread.
 * docs/format/objects.md, "Objects". */
#ifndef HF_REMOTE_OBJECT_H
#define HF_REMOTE_OBJECT_H

#include "remote/remote.h"
#include "remote/sealed.h"

#define HF_OBJECT_UNIT      512u        /* bytes; addresses and places are counted in these */
#define HF_CHUNK_BYTES      (64u << 10) /* of payload; the last one may be shorter */
#define HF_CHUNK_UNITS      (HF_CHUNK_BYTES / HF_OBJECT_UNIT)
#define HF_CHUNKS_MAX       (HF_OBJECT_PAYLOAD_MAX / HF_CHUNK_BYTES)
#define HF_OBJECT_FIRST_GET (64u << 10) /* bytes; longer headers take a second GET */

/* Numbers are in the store: only add. */
enum hf_chunk_kind {
	HF_CHUNK_ZERO = 0, /* all zeros, nothing is stored */
	HF_CHUNK_RAW = 1,
	HF_CHUNK_ZSTD = 2,
};

struct hf_chunk {
	uint32_t stored_bytes : 24; /* cipher text and its tag; 0 for ZERO */
	uint32_t kind : 8;          /* enum hf_chunk_kind */
	uint32_t crc;               /* CRC32C of the plain bytes, continued from `seed` */
	uint32_t seed;   /* from the volume and the LBAs of the extents in it; not stored */
	uint32_t offset; /* from the first chunk, in bytes; not stored */
};

struct hf_object_header {
	uint64_t first_sequence, last_sequence; /* of the volume */
	uint64_t wall_ms;
	uint64_t volume_size_bytes;
	uint64_t log_first, log_last; /* batches of the local log it came from; 0: not told */
	uint64_t payload_bytes;       /* multiple of 512 */
	struct hf_object_extent *extents;
	uint32_t extent_count;
	struct hf_chunk *chunks;
	uint32_t chunk_count;
};

/* What the remote side keeps of a counted object. */
struct hf_object {
	struct hf_object_id id;
	uint8_t salt[HF_SALT_BYTES];
	uint8_t tag[HF_TAG_BYTES]; /* of the header: names this very content */
	uint64_t payload_bytes;
	uint64_t last_sequence; /* volume sequence with which it ends */
	uint32_t data_offset;   /* of the first chunk in the object, in bytes */
	uint32_t stored_bytes;  /* of the whole object */
	uint32_t chunk_count;
	struct hf_chunk *chunks; /* malloc'ed, owned */
};

/* Encodes a whole object. `header` gives all but the chunks, which are filled (malloc'ed); its
 * extents fulfil the contract of struct hf_remote_upload. Gives malloc'ed bytes, and the object as
 * it is kept, which takes the chunks over. 0 or HF_ENOMEM. Slow: meant for a worker. */
int hf_object_encode(const struct hf_object_id *id, const uint8_t data_key[HF_KEY_BYTES],
		     const uint8_t salt[HF_SALT_BYTES], struct hf_object_header *header,
		     const void *payload, uint8_t **bytes, struct hf_object *object);

/* Reads the header at the start of any bytes as the object named `id`. On success the extents
 * belong to the caller and the chunks to `object`. 0; HF_ECORRUPT, HF_EUNSUPPORTED, HF_EAUTH,
 * HF_ENOMEM with the reason, but without the name, in `message`. */
int hf_object_decode_header(const struct hf_object_id *id, const uint8_t data_key[HF_KEY_BYTES],
			    const uint8_t *bytes, size_t length, struct hf_object_header *header,
			    struct hf_object *object, struct hf_errmsg *message);

/* Plain bytes of chunk `number`: 64 KiB, or what is left of the payload. */
size_t hf_chunk_plain_bytes(uint64_t payload_bytes, uint32_t number);
/* Decodes chunk `number` from its stored bytes into `plain` (hf_chunk_plain_bytes of it). 0;
 * HF_ECORRUPT if anything differs from what was encoded (then `plain` is undefined); HF_ENOMEM. */
int hf_chunk_decode(const struct hf_object *object, const uint8_t data_key[HF_KEY_BYTES],
		    uint32_t number, const uint8_t *stored, void *plain);

/* ---- Between object.c and object_codec.c ---- */

/* Fills `seed` of every chunk from the extents. */
void hf_object_seed_chunks(uint64_t volume, struct hf_object_header *header);
size_t hf_object_body_bytes(uint32_t extent_count, uint32_t chunk_count);
void hf_object_write_body(const struct hf_object_header *header, uint8_t *body);
int hf_object_read_body(uint64_t volume, const uint8_t *body, size_t body_bytes,
			struct hf_object_header *header, struct hf_errmsg *message);

#endif
