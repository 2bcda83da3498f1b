/* The shared memory between a shim in tgtd and holdfast-volumed, and the messages of the Unix
 * socket that hands it over. With tier_layout.h the only header of cache/ that target/ may
 * include: structs and constants, no functions but inline helpers.
 *
 * For each connection the shim creates a memfd, seals it against shrinking and growing, and passes
 * it with two eventfds over run_dir/ring.sock (SOCK_SEQPACKET); the ring's uuid and the ids of its
 * requests outlive the connection. volumed trusts nothing in it: each descriptor is copied
 * once and then checked; payload is copied once before it is checksummed. All integers native
 * (same machine, x86-64, little-endian); indices are free-running and masked.
 * docs/protocol/ring.md has the rules. */
#ifndef HF_CACHE_RING_LAYOUT_H
#define HF_CACHE_RING_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

#define HF_RING_MAGIC            0x474e495244464fu
#define HF_RING_VERSION          1u
#define HF_RING_ENTRIES          1024u /* requests under way, power of two */
#define HF_RING_PAGE             4096u
#define HF_RING_DATA_BYTES       (128u << 20) /* data area; pages are touched when used */
#define HF_RING_TRANSFER_MAX     (8u << 20)   /* bytes of one request's payload */
#define HF_RING_VOLUMES_MAX      256u         /* LUNs of one tgtd */
#define HF_RING_UNMAP_RANGES_MAX 256u         /* in one UNMAP */
#define HF_RING_KEEP_MAX         65536u       /* bytes of one KEEP */

/* What a request asks for. Offsets and lengths in bytes, multiples of 512. Numbers are shared by
 * two binaries that may differ in age: only add. */
enum hf_op {
	HF_OP_READ = 1,
	HF_OP_WRITE = 2,
	HF_OP_FLUSH = 3, /* everything acknowledged before is durable when it ends */
	HF_OP_ZERO = 4,  /* WRITE SAME of zeros: one range, no payload */
	HF_OP_WRITE_SAME =
		5, /* payload is one block, 512 or 4096; `length` the range, ≤ TRANSFER_MAX */
	HF_OP_COMPARE_AND_WRITE = 6, /* payload is the expected then the new data; length of one */
	HF_OP_UNMAP = 7,             /* payload is hf_ring_range[], all or none */
	HF_OP_LBA_STATUS = 8,        /* answer is hf_ring_lba_status[] in the payload space */
	HF_OP_VERIFY = 9,            /* read and check against the checksums, no payload */
	HF_OP_CANCEL = 10, /* `offset` is the id to cancel, of the same volume; ends after it */
	HF_OP_KEEP = 11,   /* payload is kept for the volume's shims, in place of the last one */
	HF_OP_RECALL = 12, /* answer is what was kept last, in the payload space */
};

#define HF_REQUEST_FUA 0x1u /* durable before it ends, whatever the write cache says */
/* WRITE: since the LUN's last one the shim has answered a flush by itself. A hint: who flushes
 * after each write is synced ahead. */
#define HF_REQUEST_FLUSHED 0x2u

struct hf_ring_range {
	uint64_t offset, length; /* bytes */
};

struct hf_ring_lba_status {
	uint64_t offset, length; /* bytes */
	uint32_t provisioning;   /* 0 mapped, 1 deallocated (SBC-3 5.4) */
	uint32_t reserved;
};

struct hf_ring_submission {
	uint64_t id;          /* counts up in a ring's life, never given to another request; > 0 */
	uint32_t op;          /* enum hf_op */
	uint32_t flags;       /* HF_REQUEST_… */
	uint32_t volume;      /* handle from BOUND */
	uint32_t data_page;   /* first page of the payload in the data area */
	uint64_t offset;      /* bytes in the volume */
	uint64_t length;      /* bytes in the volume */
	uint32_t data_length; /* bytes of payload, in or out */
	uint32_t deadline_ms; /* 0: the shim's CANCEL is the deadline */
	uint64_t reserved[2];
};
_Static_assert(sizeof(struct hf_ring_submission) == 64, "submission layout");

struct hf_ring_completion {
	uint64_t id;
	int32_t status;       /* 0 or negative HF_E… */
	uint32_t data_length; /* bytes of payload given (LBA_STATUS) */
	uint64_t info;        /* miscompare: byte offset of the first difference */
};
_Static_assert(sizeof(struct hf_ring_completion) == 24, "completion layout");

/* Page 0. Each line of 64 bytes has one writer. */
struct hf_ring_header {
	/* shim, at creation */
	uint64_t magic;
	uint32_t version, entries;
	uint8_t uuid[16]; /* of this ring; new in each tgtd */
	uint64_t data_bytes;
	uint8_t pad0[24];
	/* shim */
	uint64_t submit_tail;
	uint64_t complete_head;
	uint64_t oldest_unfinished; /* every id below it has been answered to tgtd */
	uint8_t pad1[40];
	/* volumed */
	uint64_t submit_head;
	uint64_t complete_tail;
	/* WRITEs need no wake as long as submit_tail does not pass it: volumed looks by itself. */
	uint64_t quiet_through;
	uint8_t pad2[40];
};
_Static_assert(sizeof(struct hf_ring_header) == 192, "ring header layout");
_Static_assert(offsetof(struct hf_ring_header, submit_tail) == 64, "ring header layout");
_Static_assert(offsetof(struct hf_ring_header, submit_head) == 128, "ring header layout");

/* By handle, a byte each, volumed's: 1 as long as everything that was answered of the volume is
 * durable, so that a FLUSH would have nothing to do. */
#define HF_RING_DURABLE_OFFSET 1024u

/* Of a session with a memory tier (cache/tier_layout.h), both untrusted hints: how many reads the
 * shim answered from it, by handle (uint64_t, the shim's); which of its entries it used, a bit each
 * (the shim sets them, volumed clears them). */
#define HF_RING_TIER_HITS_OFFSET   2048u
#define HF_RING_TIER_MARKS         65536u /* entry modulo this */
#define HF_RING_SUBMISSIONS_OFFSET HF_RING_PAGE
#define HF_RING_SUBMISSIONS_BYTES  (HF_RING_ENTRIES * 64u) /* one descriptor a cache line */
#define HF_RING_COMPLETIONS_OFFSET (HF_RING_SUBMISSIONS_OFFSET + HF_RING_SUBMISSIONS_BYTES)
#define HF_RING_COMPLETIONS_BYTES  (HF_RING_ENTRIES * 32u)
#define HF_RING_TIER_MARKS_OFFSET  (HF_RING_COMPLETIONS_OFFSET + HF_RING_ENTRIES * 24u)
#define HF_RING_DATA_OFFSET        (HF_RING_COMPLETIONS_OFFSET + HF_RING_COMPLETIONS_BYTES)
#define HF_RING_BYTES              ((uint64_t)HF_RING_DATA_OFFSET + HF_RING_DATA_BYTES)
_Static_assert(HF_RING_DURABLE_OFFSET + HF_RING_VOLUMES_MAX <= HF_RING_TIER_HITS_OFFSET, "durable");
_Static_assert(HF_RING_TIER_HITS_OFFSET + HF_RING_VOLUMES_MAX * 8u <= HF_RING_PAGE, "tier hits");
_Static_assert(HF_RING_TIER_MARKS_OFFSET + HF_RING_TIER_MARKS / 8 <= HF_RING_DATA_OFFSET,
	       "tier marks");

/* Messages of ring.sock, one a packet. HELLO carries {memfd, eventfd to volumed, eventfd to shim}.
 */
enum hf_ring_message_type {
	HF_RING_HELLO = 1,   /* shim → volumed, first; a resumed ring has the same uuid */
	HF_RING_WELCOME = 2, /* volumed → shim; status */
	HF_RING_BIND = 3,    /* shim → volumed: volume */
	HF_RING_BOUND = 4, /* volumed → shim: volume, handle, size, flags. May come late: when the
			      volume is known and no other ring, also no dead one, holds it */
	HF_RING_UNBIND = 5,  /* shim → volumed: volume; nothing of it is under way */
	HF_RING_UNBOUND = 6, /* volumed → shim: volume */
	HF_RING_CHANGED = 7, /* volumed → shim: size or state of a bound volume changed */
	HF_RING_RESUME = 8,  /* shim → volumed: every request that an earlier session left
				unfinished has been submitted again */
	HF_RING_TIER = 9,    /* volumed → shim, with a descriptor: the session's memory tier, of
				size_bytes; to who said HF_RING_TAKES_TIER */
};

/* Flags of HELLO: what the shim understands. */
#define HF_RING_TAKES_TIER 0x1u

struct hf_ring_message {
	uint32_t type;
	int32_t status;
	uint64_t volume; /* the volume's number (base/ids.h) */
	uint32_t handle;
	uint32_t flags; /* HF_VOLUME_…; HELLO: HF_RING_TAKES_… */
	uint64_t size_bytes;
	uint8_t uuid[16]; /* HELLO: the ring's */
};
_Static_assert(sizeof(struct hf_ring_message) == 48, "ring message layout");

#define HF_VOLUME_WRITE_CACHE                                                                      \
	0x1u                     /* WCE=1: acknowledged after the write, durable after a flush     \
				  */
#define HF_VOLUME_NOT_READY 0x2u /* fenced or detached: NOT READY to the initiator */

#endif
