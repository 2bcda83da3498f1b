/* An initiator (libiscsi) that looks at what a Holdfast LUN promises beyond the conformance suite.
 *
 * lun_probe URL write-cache 0|1    mode page 8 says so, and cannot be toggled
 * lun_probe URL write-cache-changes 0|1   one unit attention, then the same; prints "ready" before
 * lun_probe URL limits             VPD pages, and what happens beyond them
 * lun_probe URL miscompare         sense data of COMPARE AND WRITE and VERIFY
 * lun_probe URL grows BYTES        one unit attention, then the new size; prints "ready" before
 * lun_probe URL not-ready SECONDS  a write ends within that time as NOT READY
 *
 * Exit 0 if the promise holds, else 1 with what was seen. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <iscsi/iscsi.h>
#include <iscsi/scsi-lowlevel.h>

#include "base/bytes.h"

#define EXPECT(condition)                                                                          \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: not so: %s\n", __func__, __LINE__, #condition);    \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

static struct iscsi_context *iscsi;
static int lun;

struct outcome {
	int status;
	uint8_t key;
	uint16_t asc;
	bool has_information;
	uint32_t information;
	uint8_t data[4096]; /* what came, or its beginning */
	unsigned length;
};

static struct outcome outcome_of(struct scsi_task *task)
{
	struct outcome outcome = {.status = task->status};
	const uint8_t *sense = task->datain.data;

	if (task->status == SCSI_STATUS_CHECK_CONDITION) {
		outcome.key = task->sense.key;
		outcome.asc = (uint16_t)task->sense.ascq;
		if (task->datain.size >= 2 + 18 && (sense[2] & 0x7f) == 0x70) {
			outcome.has_information = sense[2] & 0x80;
			outcome.information = hf_get_be32(sense + 2 + 3);
		}
	} else if (task->datain.data) {
		outcome.length = (unsigned)task->datain.size;
		memcpy(outcome.data, task->datain.data,
		       outcome.length < sizeof outcome.data ? outcome.length : sizeof outcome.data);
	}
	scsi_free_scsi_task(task);
	return outcome;
}

static struct outcome command(const uint8_t *cdb, int cdb_length, const void *out,
			      uint32_t out_length, uint32_t in_length)
{
	uint8_t copy[16];
	struct scsi_task *task;
	struct iscsi_data data = {.data = (unsigned char *)(uintptr_t)out, .size = out_length};
	int direction = out_length ? SCSI_XFER_WRITE : in_length ? SCSI_XFER_READ : SCSI_XFER_NONE;

	memcpy(copy, cdb, (size_t)cdb_length);
	task = scsi_create_task(cdb_length, copy, direction,
				(int)(out_length ? out_length : in_length));
	EXPECT(task != NULL);
	EXPECT(iscsi_scsi_command_sync(iscsi, lun, task, out_length ? &data : NULL) != NULL);
	return outcome_of(task);
}

static void put_range(uint8_t *cdb, uint64_t lba, uint32_t blocks)
{
	hf_put_be64(cdb + 2, lba);
	hf_put_be32(cdb + 10, blocks);
}

/* ---- Promises ---- */

static void write_cache(bool on)
{
	struct outcome page = command((uint8_t[]){0x1a, 0x08, 0x08, 0, 0xff, 0}, 6, NULL, 0, 0xff);
	struct outcome mask = command((uint8_t[]){0x1a, 0x08, 0x48, 0, 0xff, 0}, 6, NULL, 0, 0xff);
	struct outcome toggled, after;
	uint8_t list[24] = {0};

	EXPECT(page.status == 0 && page.length >= 24 && page.data[4] == 0x08);
	EXPECT(!!(page.data[6] & 0x04) == on);
	EXPECT(page.data[2] & 0x10); /* DPOFUA */
	EXPECT(mask.status == 0 && mask.data[6] == 0);
	memcpy(list + 4, page.data + 4, 20);
	list[4] &= 0x3f;
	list[6] ^= 0x04;
	toggled = command((uint8_t[]){0x15, 0x10, 0, 0, 24, 0}, 6, list, 24, 0);
	EXPECT(toggled.status == SCSI_STATUS_CHECK_CONDITION && toggled.key == 5 &&
	       toggled.asc == 0x2600);
	after = command((uint8_t[]){0x1a, 0x08, 0x08, 0, 0xff, 0}, 6, NULL, 0, 0xff);
	EXPECT(after.data[6] == page.data[6]);
}

static void limits(void)
{
	static uint8_t unmap[8 + 16 * 257];
	uint8_t cdb[16] = {0x88};
	struct outcome page = command((uint8_t[]){0x12, 1, 0xb0, 0, 0xff, 0}, 6, NULL, 0, 0xff);
	struct outcome outcome;

	EXPECT(page.status == 0 && page.length == 0x40);
	EXPECT(page.data[5] == 128);                  /* COMPARE AND WRITE */
	EXPECT(hf_get_be32(page.data + 8) == 16384);  /* transfer */
	EXPECT(hf_get_be32(page.data + 24) == 256);   /* UNMAP descriptors */
	EXPECT(hf_get_be64(page.data + 36) == 16384); /* WRITE SAME */
	put_range(cdb, 0, 16385);
	outcome = command(cdb, 16, NULL, 0, 16385 * 512);
	EXPECT(outcome.key == 5 && outcome.asc == 0x2400);
	put_range(cdb, 0, 16384);
	outcome = command(cdb, 16, NULL, 0, 16384 * 512);
	EXPECT(outcome.status == 0 && outcome.length == 16384 * 512);
	hf_put_be16(unmap, sizeof unmap - 2);
	hf_put_be16(unmap + 2, 16 * 257);
	outcome = command((uint8_t[]){0x42, [7] = sizeof unmap >> 8, sizeof unmap & 0xff, 0}, 10,
			  unmap, sizeof unmap, 0);
	EXPECT(outcome.key == 5 && outcome.asc == 0x2600);
	outcome = command((uint8_t[16]){0x91, 0x02}, 16, NULL, 0, 0); /* IMMED */
	EXPECT(outcome.status == 0);
	outcome = command((uint8_t[16]){0x8b}, 16, NULL, 0, 0); /* ORWRITE */
	EXPECT(outcome.key == 5 && outcome.asc == 0x2000);
}

static void miscompare(void)
{
	static uint8_t blocks[4 * 512];
	uint8_t cdb[16] = {0x8a};
	struct outcome outcome;

	memset(blocks, 0x11, sizeof blocks);
	put_range(cdb, 64, 2);
	EXPECT(command(cdb, 16, blocks, 1024, 0).status == 0);
	blocks[700] ^= 1;
	cdb[0] = 0x89;
	memset(cdb + 10, 0, 4);
	cdb[13] = 2;
	outcome = command(cdb, 16, blocks, 2048, 0);
	EXPECT(outcome.key == 0xe && outcome.asc == 0x1d00);
	EXPECT(outcome.has_information && outcome.information == 700);
	blocks[700] ^= 1;
	EXPECT(command(cdb, 16, blocks, 2048, 0).status == 0);
	cdb[0] = 0x8f;
	cdb[1] = 0x02;
	put_range(cdb, 64, 2);
	EXPECT(command(cdb, 16, blocks, 1024, 0).status == 0);
	blocks[1023] ^= 1;
	outcome = command(cdb, 16, blocks, 1024, 0);
	EXPECT(outcome.key == 0xe && outcome.information == 1023);
	cdb[1] = 0x06; /* one block given */
	EXPECT(command(cdb, 16, blocks, 512, 0).status == 0);
}

static uint64_t capacity_bytes(void)
{
	struct outcome outcome = command((uint8_t[16]){0x9e, 0x10, [13] = 32}, 16, NULL, 0, 32);

	EXPECT(outcome.status == 0 && hf_get_be32(outcome.data + 8) == 512);
	return (hf_get_be64(outcome.data) + 1) * 512;
}

/* Exactly one unit attention, after the script was told to cause it. */
static void await_attention(uint16_t asc)
{
	struct outcome outcome;
	time_t end = time(NULL) + 30;

	printf("ready\n");
	fflush(stdout);
	do {
		outcome = command((uint8_t[6]){0}, 6, NULL, 0, 0);
		EXPECT(time(NULL) < end);
	} while (outcome.status == 0);
	EXPECT(outcome.key == 6 && outcome.asc == asc);
	EXPECT(command((uint8_t[6]){0}, 6, NULL, 0, 0).status == 0);
}

static void grows(uint64_t bytes)
{
	uint64_t before = capacity_bytes();

	await_attention(0x2a09);
	EXPECT(bytes > before && capacity_bytes() == bytes);
}

static void not_ready(unsigned seconds)
{
	static uint8_t block[512];
	uint8_t cdb[16] = {0x8a};
	struct outcome outcome;
	time_t start = time(NULL);

	put_range(cdb, 0, 1);
	outcome = command(cdb, 16, block, 512, 0);
	EXPECT(outcome.status == SCSI_STATUS_CHECK_CONDITION && outcome.key == 2);
	EXPECT(time(NULL) - start <= (time_t)seconds);
}

static void log_in(const char *text)
{
	struct iscsi_url *url;

	iscsi = iscsi_create_context("iqn.2026-11.net.holdfast:probe");
	EXPECT(iscsi != NULL);
	url = iscsi_parse_full_url(iscsi, text);
	EXPECT(url != NULL);
	lun = url->lun;
	iscsi_set_targetname(iscsi, url->target);
	iscsi_set_session_type(iscsi, ISCSI_SESSION_NORMAL);
	iscsi_set_header_digest(iscsi, ISCSI_HEADER_DIGEST_NONE_CRC32C);
	if (iscsi_connect_sync(iscsi, url->portal) != 0 || iscsi_login_sync(iscsi) != 0) {
		fprintf(stderr, "login: %s\n", iscsi_get_error(iscsi));
		exit(1);
	}
	iscsi_destroy_url(url);
	while (command((uint8_t[6]){0}, 6, NULL, 0, 0).key == 6) {
		/* unit attentions of a new session */
	}
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	log_in(argv[1]);
	if (strcmp(argv[2], "write-cache") == 0 && argc == 4)
		write_cache(atoi(argv[3]));
	else if (strcmp(argv[2], "write-cache-changes") == 0 && argc == 4) {
		await_attention(0x2a01);
		write_cache(atoi(argv[3]));
	} else if (strcmp(argv[2], "limits") == 0)
		limits();
	else if (strcmp(argv[2], "miscompare") == 0)
		miscompare();
	else if (strcmp(argv[2], "grows") == 0 && argc == 4)
		grows(strtoull(argv[3], NULL, 10));
	else if (strcmp(argv[2], "not-ready") == 0 && argc == 4)
		not_ready((unsigned)atoi(argv[3]));
	else
		return 2;
	iscsi_logout_sync(iscsi);
	iscsi_destroy_context(iscsi);
	return 0;
}
