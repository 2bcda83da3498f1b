/* One file in which all gateways of a swarm keep what a real one keeps in its state folder: records
 * gathered while the last batch was being synced go out as the next batch, one write and one
 * fdatasync (on a thread of libuv), and only then are those who wait told. Loop's thread.
 *
 * A record is {u32 magic, u32 CRC32C of the rest, u32 gateway, u32 kind, u32 length, bytes}. A torn
 * one ends the journal when it is read again. */
#ifndef HF_TESTS_CHANNEL_SHARED_JOURNAL_H
#define HF_TESTS_CHANNEL_SHARED_JOURNAL_H

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct shared_journal;

enum journal_kind {
	JOURNAL_EPOCH = 1,    /* u64: the highest seen */
	JOURNAL_DOCUMENT = 2, /* an encoded Signed */
	JOURNAL_TOKEN = 3,
	JOURNAL_SIGNER = 4,      /* the key that is pinned from now on */
	JOURNAL_CERTIFICATE = 5, /* DER, from now on */
};

/* Reads what is there, oldest first, then opens it for more. Ends the program on failure. */
struct shared_journal *journal_open(uv_loop_t *loop, const char *path,
				    void (*found)(void *context, uint32_t gateway,
						  enum journal_kind kind, const uint8_t *bytes,
						  size_t length),
				    void *context);
void journal_add(struct shared_journal *journal, uint32_t gateway, enum journal_kind kind,
		 const void *bytes, size_t length);
/* Everything added so far is durable when `durable` is called, later. */
void journal_wait(struct shared_journal *journal, void (*durable)(void *context), void *context);
/* After the last batch. */
void journal_close(struct shared_journal *journal);

#endif
