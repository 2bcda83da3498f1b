/* A checkpoint of a volume's map, in bytes. A *map object* is a sealed form of kind 5 whose header
 * says what leaves it holds and, in the last object of a checkpoint, has the *root*; behind it lie
 * *blocks*: encoded leaves (docs/format/map-leaf.md) and pages of the index, each compressed,
 * encrypted and checksummed for itself, so that one is fetched by a range.
 *
 *   root ──▶ pages: 1024 leaves each ──▶ leaves, in this or older map objects
 *    └────▶ links: which objects it describes; map objects that it needs
 *
 * No state, any thread. docs/format/checkpoints.md has every bit. */
#ifndef HF_REMOTE_MAP_ROOT_H
#define HF_REMOTE_MAP_ROOT_H

#include "base/extmap.h"
#include "remote/chain.h"

#define HF_MAP_PAGE_LEAVES    1024u       /* 8 GiB of address space */
#define HF_MAP_FIRST_GET      (64u << 10) /* bytes; longer headers take a second GET */
#define HF_MAP_HEADER_MAX     (64u << 20) /* bytes, before compression */
#define HF_MAP_OBJECTS_MAX    65536u      /* that a root needs */
#define HF_MAP_OBJECT_BYTES   (32u << 20) /* of blocks; what is more goes into another one */
#define HF_MAP_PAGE_HEAD      8u
#define HF_MAP_ENTRY_BYTES    20u
#define HF_MAP_PAGE_BYTES_MAX (HF_MAP_PAGE_HEAD + HF_MAP_PAGE_LEAVES * HF_MAP_ENTRY_BYTES)
#define HF_MAP_BLOCK_MAX      HF_EXTMAP_LEAF_BYTES_MAX /* bytes, plain; a page is shorter */

/* What a block is: a leaf's number, or a page's with this bit. */
#define HF_MAP_IS_PAGE (1ull << 63)

/* Numbers are in the store: only add. */
enum hf_map_block_kind { HF_MAP_BLOCK_RAW = 1, HF_MAP_BLOCK_ZSTD = 2 };

/* Where a block lies. */
struct hf_map_spot {
	uint32_t object; /* number of the map object, from 1 */
	uint32_t offset; /* from its first block, in bytes */
	uint32_t stored_bytes : 24;
	uint32_t kind : 8; /* enum hf_map_block_kind */
	uint32_t crc;      /* CRC32C of the plain bytes, seeded with volume and what it is */
};

struct hf_map_entry {
	uint32_t leaf; /* in the page */
	struct hf_map_spot spot;
};

struct hf_map_page {
	uint32_t count;
	struct hf_map_entry entries[]; /* ascending */
};

struct hf_map_page_ref {
	uint64_t number; /* first leaf / HF_MAP_PAGE_LEAVES */
	struct hf_map_spot spot;
	uint64_t leaves[HF_MAP_PAGE_LEAVES / 64]; /* bits: which exist */
	struct hf_map_page *page;                 /* NULL: not in memory */
	bool used;                                /* since the clock's hand came by */
};

/* A map object that a root needs, or that is to be deleted (then no byte of it is live). */
struct hf_map_object {
	uint32_t number;
	struct hf_object_id id;
	uint8_t salt[HF_SALT_BYTES];
	uint32_t data_offset; /* of its first block, in bytes */
	uint32_t block_bytes; /* of all its blocks */
	uint64_t live_bytes;  /* of blocks that the root still needs */
};

struct hf_map_root {
	uint32_t number;                     /* of the map object it lies in */
	uint64_t size_bytes;                 /* of the volume */
	uint64_t recovery_point;             /* what the map stands for */
	uint64_t object_count, stored_bytes; /* of the objects it describes */
	uint64_t wall_ms;
	struct hf_chain_link *links; /* the last one may be that of the writer itself */
	uint32_t link_count;
	struct hf_map_object *objects; /* by number */
	uint32_t object_refs;
	struct hf_map_page_ref *pages; /* by number */
	uint32_t page_count;
};

/* An empty one, or NULL when out of memory. Pages in memory belong to the root. */
struct hf_map_root *hf_map_root_new(void);
/* Without the pages that are in memory. */
struct hf_map_root *hf_map_root_copy(const struct hf_map_root *root);
void hf_map_root_free(struct hf_map_root *root);
/* NULL if there is none. */
struct hf_map_page_ref *hf_map_root_page(const struct hf_map_root *root, uint64_t number);
struct hf_map_object *hf_map_root_object(const struct hf_map_root *root, uint32_t number);
/* The page, made if it is not there; what is not in it yet is filled by the caller. NULL when out
 * of memory. Moves the others. */
struct hf_map_page_ref *hf_map_root_add_page(struct hf_map_root *root, uint64_t number);
int hf_map_root_add_object(struct hf_map_root *root, const struct hf_map_object *object);
/* NULL if the leaf is not in the page. */
const struct hf_map_entry *hf_map_page_entry(const struct hf_map_page *page, uint64_t leaf);

/* ---- Blocks ---------------------------------------------------------------------------------- */

/* Builds one map object. Slow: meant for a worker. */
struct hf_map_writer {
	struct hf_map_object object; /* block_bytes grows */
	uint8_t key[HF_KEY_BYTES];
	uint8_t *bytes;
	size_t capacity;
	uint64_t *leaves; /* what lies in it */
	uint32_t leaf_count, leaf_capacity;
};

/* `object` gives number, id and salt. 0 or HF_ENOMEM, as all of them. */
int hf_map_writer_begin(struct hf_map_writer *writer, const struct hf_map_object *object,
			const uint8_t data_key[HF_KEY_BYTES]);
/* Adds a leaf (its number) or a page (its number with HF_MAP_IS_PAGE). */
int hf_map_writer_add(struct hf_map_writer *writer, uint64_t what, const void *plain, size_t length,
		      struct hf_map_spot *spot);
/* Gives the malloc'ed bytes of the whole object; `root` NULL: another one has it. HF_ETOOBIG if
 * the header is longer than the format allows. Sets the object's data_offset. */
int hf_map_writer_finish(struct hf_map_writer *writer, const struct hf_map_root *root,
			 uint8_t **bytes, size_t *length);
void hf_map_writer_free(struct hf_map_writer *writer);

/* Decodes a block from its stored bytes into `plain`, which holds HF_MAP_BLOCK_MAX bytes. 0;
 * HF_ECORRUPT if anything differs from what was encoded; HF_ENOMEM. */
int hf_map_block_decode(const struct hf_map_object *object, const uint8_t data_key[HF_KEY_BYTES],
			uint64_t what, const struct hf_map_spot *spot, const uint8_t *stored,
			size_t stored_length, uint8_t *plain, size_t *length);

/* ---- Pages and headers ----------------------------------------------------------------------- */

/* Writes at most HF_MAP_PAGE_BYTES_MAX; returns the length. */
size_t hf_map_page_encode(const struct hf_map_page *page, uint8_t *out);
/* Reads any bytes as the page that `ref` names: exactly the leaves that it says, in map objects of
 * the root. Gives a malloc'ed page. 0, HF_ECORRUPT, HF_ENOMEM. */
int hf_map_page_decode(const struct hf_map_root *root, const struct hf_map_page_ref *ref,
		       const uint8_t *bytes, size_t length, struct hf_map_page **page);

/* Reads the header at the start of any bytes as the map object named `id`. `root` may be given as
 * NULL in return: the object has none. `leaves` (malloc'ed, `leaf_count`) may be NULL. 0,
 * HF_ECORRUPT, HF_EUNSUPPORTED, HF_EAUTH, HF_ENOMEM. */
int hf_map_header_decode(const struct hf_object_id *id, const uint8_t data_key[HF_KEY_BYTES],
			 const uint8_t *bytes, size_t length, struct hf_map_root **root,
			 uint64_t **leaves, uint32_t *leaf_count, struct hf_errmsg *message);

/* ---- Between map_root.c and map_codec.c ---- */

/* Reads an unsealed body; gives number and data_offset of `self`. */
int hf_map_body_read(struct hf_map_object *self, const uint8_t *body, size_t body_bytes,
		     struct hf_map_root **root, uint64_t **leaves, uint32_t *leaf_count,
		     struct hf_errmsg *message);

size_t hf_map_root_bytes(const struct hf_map_root *root);
void hf_map_root_write(const struct hf_map_root *root, uint8_t *out);
/* Reads the unsealed bytes of a root; `self` is the map object it lies in. */
int hf_map_root_read(const struct hf_map_object *self, const uint8_t *bytes, size_t length,
		     struct hf_map_root **root, struct hf_errmsg *message);

#endif
