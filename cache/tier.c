/* The memory tier of one ring, volumed's side (cache/tier.h).
 *
 * Which entry holds which block is kept in memory of our own; the shared table is only written.
 * An entry's life:
 *
 *   EMPTY (0 or odd) ──fill: version odd, key, bytes, version even──▶ HELD (even)
 *     ▲                                                                  │
 *     └───────────── changed, forgotten, evicted: version odd ◀──────────┘
 *
 * A read that was under way while its range changed may carry older bytes. So changes are numbered,
 * the last CHANGES of them are remembered, and a read fills only blocks that no change since its
 * beginning touched; one that is older than what is remembered fills nothing.
 *
 * What gets in: a block that is read for the second time as far as a table of fingerprints
 * remembers; one that was in the tier when it was written to comes back with its next read, or at
 * once if it was used. So a scan passes by. What goes: in its
 * set, the first block that the shim has not used since the hand came by the last time (CLOCK). If
 * all were used, the newcomer has to come again. */
#include "cache/tier.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "cache/tier_layout.h"

#define TIER_MAGIC  0x48465449u
#define CHANGES     1024u /* remembered; power of two */
#define NO_KEY      UINT64_MAX
#define GHOST_RATIO 2u /* fingerprints for each block of the tier */
#define HANDLES     (1u << (64 - HF_TIER_KEY_BLOCK_BITS))

/* What changes without payload of their own (UNMAP, zeros) may cost: a look is one entry of a scan,
 * and finding one block costs as much as some of them. */
#define LONG_BLOCKS   2048u /* more than a write has */
#define FIND_LOOKS    16u
#define FILL_LOOKS    64u /* paid for by a block that comes in */
#define SCANS_ALLOWED 32u

struct change {
	uint32_t handle;
	uint64_t first, last; /* blocks */
};

/* A volume's part of the tier. */
struct volume {
	uint32_t held;  /* entries */
	uint64_t looks; /* for its long changes, that were not paid for */
};

struct hf_tier {
	uint32_t magic;
	uint8_t *memory;
	uint64_t sets, entry_count, ghost_count, blocks_offset;
	uint64_t *keys;     /* of each entry; NO_KEY: empty */
	uint64_t *versions; /* as written last */
	uint8_t *hands;     /* of each set */
	uint16_t *ghosts;   /* fingerprints of what was read once */
	uint8_t *marks;
	uint32_t mark_count;
	uint64_t change_count; /* so many changes there have been */
	struct change changes[CHANGES];
	struct volume volumes[HANDLES];
	struct hf_tier_counts counts;
};

/* ---- Stores into the shared memory -------------------------------------------------------------
 *
 * The odd version is in place before anything else changes, because each store after it releases,
 * and the even one releases them all. */

static struct hf_tier_entry *entry_at(const struct hf_tier *tier, uint64_t entry)
{
	return (struct hf_tier_entry *)(void *)(tier->memory + HF_TIER_TABLE_OFFSET) + entry;
}

static uint64_t *block_at(const struct hf_tier *tier, uint64_t entry)
{
	return (uint64_t *)(void *)(tier->memory + tier->blocks_offset + entry * HF_TIER_BLOCK);
}

static void entry_close(struct hf_tier *tier, uint64_t entry)
{
	if (tier->versions[entry] % 2 != 0)
		return;
	tier->versions[entry]++;
	__atomic_store_n(&entry_at(tier, entry)->version, tier->versions[entry], __ATOMIC_RELEASE);
}

static void entry_open(struct hf_tier *tier, uint64_t entry)
{
	HF_ASSERT(tier->versions[entry] % 2 != 0);
	tier->versions[entry]++;
	__atomic_store_n(&entry_at(tier, entry)->version, tier->versions[entry], __ATOMIC_RELEASE);
}

/* Closed while it happens. */
static void entry_write(struct hf_tier *tier, uint64_t entry, uint64_t key, const uint8_t *bytes)
{
	uint64_t *to = block_at(tier, entry), word;

	__atomic_store_n(&entry_at(tier, entry)->key, key, __ATOMIC_RELEASE);
	for (size_t i = 0; i < HF_TIER_BLOCK / sizeof word; i++) {
		memcpy(&word, bytes + i * sizeof word, sizeof word);
		__atomic_store_n(&to[i], word, __ATOMIC_RELEASE);
	}
}

/* ---- What was read once ------------------------------------------------------------------------
 */

static uint64_t mix(uint64_t key)
{
	key *= 0x9e3779b97f4a7c15ull;
	key ^= key >> 32;
	return key * 0xd6e8feb86659fd93ull;
}

static uint16_t *ghost_at(const struct hf_tier *tier, uint64_t key, uint16_t *fingerprint)
{
	uint64_t hash = mix(key);

	*fingerprint = (uint16_t)(hash >> 48 | 1);
	return &tier->ghosts[hash & (tier->ghost_count - 1)];
}

static void ghost_put(struct hf_tier *tier, uint64_t key)
{
	uint16_t fingerprint, *ghost = ghost_at(tier, key, &fingerprint);

	*ghost = fingerprint;
}

/* True if it was there; else it is now. */
static bool ghost_seen(struct hf_tier *tier, uint64_t key)
{
	uint16_t fingerprint, *ghost = ghost_at(tier, key, &fingerprint);
	bool seen = *ghost == fingerprint;

	*ghost = fingerprint;
	return seen;
}

static void ghost_clear(struct hf_tier *tier, uint64_t key)
{
	uint16_t fingerprint, *ghost = ghost_at(tier, key, &fingerprint);

	*ghost = 0;
}

/* ---- Entries -----------------------------------------------------------------------------------
 */

static struct volume *volume_of(struct hf_tier *tier, uint64_t key)
{
	return &tier->volumes[key >> HF_TIER_KEY_BLOCK_BITS];
}

static bool find(const struct hf_tier *tier, uint64_t key, uint64_t *entry)
{
	uint64_t first = hf_tier_set(key, tier->sets) * HF_TIER_WAYS;

	for (*entry = first; *entry < first + HF_TIER_WAYS; ++*entry)
		if (tier->keys[*entry] == key)
			return true;
	return false;
}

static void drop(struct hf_tier *tier, uint64_t entry)
{
	entry_close(tier, entry);
	volume_of(tier, tier->keys[entry])->held--;
	tier->keys[entry] = NO_KEY;
	tier->counts.used--;
}

/* True if the shim used it since the last time; that is forgotten now. */
static bool take_mark(struct hf_tier *tier, uint64_t entry)
{
	uint32_t bit = (uint32_t)(entry & (tier->mark_count - 1));
	uint8_t mask = (uint8_t)(1u << bit % 8);

	if (!tier->marks || !(__atomic_load_n(&tier->marks[bit / 8], __ATOMIC_RELAXED) & mask))
		return false;
	__atomic_fetch_and(&tier->marks[bit / 8], (uint8_t)~mask, __ATOMIC_RELAXED);
	return true;
}

/* An empty entry of the key's set, or one made so; false if all are in use. */
static bool make_room(struct hf_tier *tier, uint64_t key, uint64_t *entry)
{
	uint64_t set = hf_tier_set(key, tier->sets);
	uint8_t *hand = &tier->hands[set];

	for (unsigned i = 0; i < HF_TIER_WAYS; i++) {
		*entry = set * HF_TIER_WAYS + i;
		if (tier->keys[*entry] == NO_KEY)
			return true;
	}
	for (unsigned i = 0; i < HF_TIER_WAYS; i++) {
		*entry = set * HF_TIER_WAYS + *hand;
		*hand = (uint8_t)((*hand + 1) % HF_TIER_WAYS);
		if (take_mark(tier, *entry))
			continue;
		drop(tier, *entry);
		tier->counts.evicted++;
		return true;
	}
	return false;
}

static void fill(struct hf_tier *tier, uint64_t key, const uint8_t *bytes)
{
	struct volume *volume = volume_of(tier, key);
	uint64_t entry;

	if (find(tier, key, &entry) || !ghost_seen(tier, key) || !make_room(tier, key, &entry))
		return;
	ghost_clear(tier, key);
	entry_close(tier, entry); /* one that was never used is 0, which is even */
	take_mark(tier, entry);
	entry_write(tier, entry, key, bytes);
	entry_open(tier, entry);
	tier->keys[entry] = key;
	volume->held++;
	volume->looks -= volume->looks < FILL_LOOKS ? volume->looks : FILL_LOOKS;
	tier->counts.used++;
	tier->counts.filled++;
}

/* ---- Changes -----------------------------------------------------------------------------------
 */

static void note(struct hf_tier *tier, uint32_t handle, uint64_t first, uint64_t last)
{
	tier->changes[tier->change_count++ % CHANGES] =
		(struct change){.handle = handle, .first = first, .last = last};
}

static bool changed_since(const struct hf_tier *tier, uint64_t moment, uint32_t handle,
			  uint64_t block)
{
	if (tier->change_count - moment > CHANGES)
		return true;
	for (uint64_t i = moment; i < tier->change_count; i++) {
		const struct change *change = &tier->changes[i % CHANGES];

		if (change->handle == handle && change->first <= block && block <= change->last)
			return true;
	}
	return false;
}

/* True if the shim used it. */
static bool drop_changed(struct hf_tier *tier, uint64_t entry)
{
	ghost_put(tier, tier->keys[entry]); /* its next read brings it back */
	drop(tier, entry);
	tier->counts.dropped++;
	return take_mark(tier, entry);
}

static bool drop_found(struct hf_tier *tier, uint64_t first, uint64_t last)
{
	bool used = false;
	uint64_t entry;

	for (uint64_t key = first; key <= last; key++)
		if (find(tier, key, &entry))
			used |= drop_changed(tier, entry);
	return used;
}

static bool drop_scanned(struct hf_tier *tier, uint64_t first, uint64_t last)
{
	const struct volume *volume = volume_of(tier, first);
	bool used = false;

	for (uint64_t entry = 0; entry < tier->entry_count && volume->held > 0; entry++)
		if (tier->keys[entry] >= first && tier->keys[entry] <= last &&
		    tier->keys[entry] != NO_KEY)
			used |= drop_changed(tier, entry);
	return used;
}

/* An UNMAP of 256 ranges is a small command, and each range can be as long as the volume. Who sends
 * many of them loses what the tier has of the volume, and then they cost nothing any more. */
static bool drop_range(struct hf_tier *tier, uint64_t first, uint64_t last)
{
	struct volume *volume = volume_of(tier, first);
	uint64_t blocks = last - first + 1, looks = tier->entry_count;

	if (volume->held == 0)
		return false;
	if (blocks < tier->entry_count / FIND_LOOKS)
		looks = blocks * FIND_LOOKS;
	tier->counts.looks += looks;
	if (blocks > LONG_BLOCKS)
		volume->looks += looks;
	if (volume->looks > SCANS_ALLOWED * tier->entry_count) {
		first = first >> HF_TIER_KEY_BLOCK_BITS << HF_TIER_KEY_BLOCK_BITS;
		last = first | ((1ull << HF_TIER_KEY_BLOCK_BITS) - 1);
		looks = tier->entry_count;
	}
	return looks < tier->entry_count ? drop_found(tier, first, last)
					 : drop_scanned(tier, first, last);
}

/* Everything of a range is dropped before anything of its new content can come in, so a reader
 * never sees a part of a change. */
bool hf_tier_changed(struct hf_tier *tier, uint32_t handle, uint64_t offset, uint64_t length)
{
	uint64_t first = offset / HF_TIER_BLOCK, last;

	HF_CHECK_MAGIC(tier, TIER_MAGIC);
	if (length == 0)
		return false;
	last = (offset + (length - 1)) / HF_TIER_BLOCK;
	note(tier, handle, first, last);
	return drop_range(tier, hf_tier_key(handle, first), hf_tier_key(handle, last));
}

void hf_tier_forget(struct hf_tier *tier, uint32_t handle)
{
	HF_CHECK_MAGIC(tier, TIER_MAGIC);
	note(tier, handle, 0, UINT64_MAX);
	for (uint64_t entry = 0; entry < tier->entry_count; entry++)
		if (tier->keys[entry] >> HF_TIER_KEY_BLOCK_BITS == handle)
			drop(tier, entry);
}

void hf_tier_forget_all(struct hf_tier *tier)
{
	HF_CHECK_MAGIC(tier, TIER_MAGIC);
	tier->change_count += CHANGES + 1; /* nothing that is under way may come in */
	for (uint64_t entry = 0; entry < tier->entry_count; entry++)
		if (tier->keys[entry] != NO_KEY)
			drop(tier, entry);
	memset(tier->ghosts, 0, tier->ghost_count * sizeof *tier->ghosts);
}

/* ---- Reads -------------------------------------------------------------------------------------
 */

uint64_t hf_tier_moment(const struct hf_tier *tier)
{
	return tier->change_count;
}

void hf_tier_filled(struct hf_tier *tier, uint32_t handle, uint64_t offset, uint64_t length,
		    uint64_t moment, const void *bytes)
{
	uint64_t block = (offset + HF_TIER_BLOCK - 1) / HF_TIER_BLOCK;
	uint64_t end = (offset + length) / HF_TIER_BLOCK;

	HF_CHECK_MAGIC(tier, TIER_MAGIC);
	if (length > (uint64_t)HF_TIER_READ_BLOCKS * HF_TIER_BLOCK)
		return;
	for (; block < end; block++) {
		const uint8_t *from = (const uint8_t *)bytes + (block * HF_TIER_BLOCK - offset);

		if (!changed_since(tier, moment, handle, block))
			fill(tier, hf_tier_key(handle, block), from);
	}
}

/* ---- Life --------------------------------------------------------------------------------------
 */

void hf_tier_use_marks(struct hf_tier *tier, uint8_t *marks, uint32_t count)
{
	HF_ASSERT(!marks || (count >= 8 && (count & (count - 1)) == 0));
	tier->marks = marks;
	tier->mark_count = count;
}

void hf_tier_count(const struct hf_tier *tier, struct hf_tier_counts *counts)
{
	*counts = tier->counts;
	counts->blocks = tier->entry_count;
}

static void write_header(const struct hf_tier *tier, uint64_t bytes)
{
	struct hf_tier_header header = {
		.magic = HF_TIER_MAGIC,
		.version = HF_TIER_VERSION,
		.ways = HF_TIER_WAYS,
		.sets = tier->sets,
		.blocks_offset = tier->blocks_offset,
		.bytes = bytes,
	};

	memcpy(tier->memory, &header, sizeof header);
}

struct hf_tier *hf_tier_create(void *memory, uint64_t bytes)
{
	struct hf_tier *tier = calloc(1, sizeof *tier);

	HF_ASSERT(bytes >= HF_TIER_BYTES_MIN && bytes <= HF_TIER_BYTES_MAX &&
		  bytes % HF_TIER_BLOCK == 0);
	if (!tier)
		return NULL;
	tier->magic = TIER_MAGIC;
	tier->memory = memory;
	tier->sets = hf_tier_sets_of(bytes);
	tier->entry_count = tier->sets * HF_TIER_WAYS;
	tier->blocks_offset = hf_tier_blocks_offset(tier->sets);
	tier->ghost_count = 1;
	while (tier->ghost_count < GHOST_RATIO * tier->entry_count)
		tier->ghost_count *= 2;
	HF_ASSERT(tier->blocks_offset + tier->entry_count * HF_TIER_BLOCK <= bytes);
	tier->keys = malloc(tier->entry_count * sizeof *tier->keys);
	tier->versions = calloc(tier->entry_count, sizeof *tier->versions);
	tier->hands = calloc(tier->sets, sizeof *tier->hands);
	tier->ghosts = calloc(tier->ghost_count, sizeof *tier->ghosts);
	if (!tier->keys || !tier->versions || !tier->hands || !tier->ghosts) {
		hf_tier_destroy(tier);
		return NULL;
	}
	memset(tier->keys, 0xff, tier->entry_count * sizeof *tier->keys);
	write_header(tier, bytes);
	return tier;
}

void hf_tier_destroy(struct hf_tier *tier)
{
	if (!tier)
		return;
	HF_CHECK_MAGIC(tier, TIER_MAGIC);
	free(tier->keys);
	free(tier->versions);
	free(tier->hands);
	free(tier->ghosts);
	tier->magic = 0;
	free(tier);
}
