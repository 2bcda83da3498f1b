/* An initiator (libiscsi) that looks at what a Holdfast LUN promises beyond the conformance suite.
 *
 * lun_probe URL write-cache 0|1    mode page 8 says so, and cannot be toggled
 * lun_probe URL write-cache-changes 0|1   one unit attention, then the same; prints "ready" before
 * lun_probe URL limits             VPD pages, and what happens beyond them
 * lun_probe URL miscompare         sense data of COMPARE AND WRITE and VERIFY
 * lun_probe URL grows BYTES        one unit attention, then the new size; prints "ready" before
 * lun_probe URL thin               provisioning pages, UNMAP, WRITE SAME, GET LBA STATUS
 * lun_probe URL identity           prints what initiators recognise the disk by
 * lun_probe URL block BYTES        the size of a logical block
 * lun_probe URL fill LBA BLOCKS BYTE, holds LBA BYTE   writes blocks (64 at most), reads one
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
static uint32_t block_bytes; /* as READ CAPACITY says */

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
	uint32_t most = (8u << 20) / block_bytes;
	struct outcome page = command((uint8_t[]){0x12, 1, 0xb0, 0, 0xff, 0}, 6, NULL, 0, 0xff);
	struct outcome outcome;

	EXPECT(page.status == 0 && page.length == 0x40);
	EXPECT(page.data[5] == 128);                 /* COMPARE AND WRITE */
	EXPECT(hf_get_be32(page.data + 8) == most);  /* transfer */
	EXPECT(hf_get_be32(page.data + 24) == 256);  /* UNMAP descriptors */
	EXPECT(hf_get_be64(page.data + 36) == most); /* WRITE SAME */
	put_range(cdb, 0, most + 1);
	outcome = command(cdb, 16, NULL, 0, (most + 1) * block_bytes);
	EXPECT(outcome.key == 5 && outcome.asc == 0x2400);
	put_range(cdb, 0, most);
	outcome = command(cdb, 16, NULL, 0, most * block_bytes);
	EXPECT(outcome.status == 0 && outcome.length == most * block_bytes);
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
	static uint8_t blocks[4 * 4096];
	uint8_t cdb[16] = {0x8a};
	uint32_t bytes = 2 * block_bytes;
	struct outcome outcome;

	memset(blocks, 0x11, sizeof blocks);
	put_range(cdb, 64, 2);
	EXPECT(command(cdb, 16, blocks, bytes, 0).status == 0);
	blocks[bytes - 7] ^= 1;
	cdb[0] = 0x89;
	memset(cdb + 10, 0, 4);
	cdb[13] = 2;
	outcome = command(cdb, 16, blocks, 2 * bytes, 0);
	EXPECT(outcome.key == 0xe && outcome.asc == 0x1d00);
	EXPECT(outcome.has_information && outcome.information == bytes - 7);
	blocks[bytes - 7] ^= 1;
	EXPECT(command(cdb, 16, blocks, 2 * bytes, 0).status == 0);
	cdb[0] = 0x8f;
	cdb[1] = 0x02;
	put_range(cdb, 64, 2);
	EXPECT(command(cdb, 16, blocks, bytes, 0).status == 0);
	blocks[bytes - 1] ^= 1;
	outcome = command(cdb, 16, blocks, bytes, 0);
	EXPECT(outcome.key == 0xe && outcome.information == bytes - 1);
	cdb[1] = 0x06; /* one block given */
	EXPECT(command(cdb, 16, blocks, block_bytes, 0).status == 0);
}

/* ---- Thin provisioning (SBC-3 4.7) ---- */

static void fill(uint64_t lba, uint32_t blocks, uint8_t pattern)
{
	static uint8_t bytes[64 * 4096];
	uint8_t cdb[16] = {0x8a};

	memset(bytes, pattern, sizeof bytes);
	put_range(cdb, lba, blocks);
	EXPECT(command(cdb, 16, bytes, blocks * block_bytes, 0).status == 0);
}

static bool holds(uint64_t lba, uint8_t pattern)
{
	uint8_t cdb[16] = {0x88};
	struct outcome outcome;

	put_range(cdb, lba, 1);
	outcome = command(cdb, 16, NULL, 0, block_bytes);
	EXPECT(outcome.status == 0 && outcome.length == block_bytes);
	for (uint32_t i = 0; i < block_bytes; i++) {
		if (outcome.data[i] != pattern)
			return false;
	}
	return true;
}

/* The extent that begins at `lba` has so many blocks and this state. */
static bool is_extent(uint64_t lba, uint32_t blocks, uint8_t provisioning)
{
	uint8_t cdb[16] = {0x9e, 0x12};
	struct outcome outcome;

	put_range(cdb, lba, 24);
	outcome = command(cdb, 16, NULL, 0, 24);
	EXPECT(outcome.status == 0 && outcome.length == 24);
	return hf_get_be64(outcome.data + 8) == lba && hf_get_be32(outcome.data + 16) == blocks &&
	       outcome.data[20] == provisioning;
}

static int write_same(uint8_t opcode, uint8_t flags, uint64_t lba, uint32_t blocks, uint8_t pattern)
{
	uint8_t cdb[16] = {opcode, flags}, block[4096];

	memset(block, pattern, sizeof block);
	if (opcode == 0x41) {
		hf_put_be32(cdb + 2, (uint32_t)lba);
		hf_put_be16(cdb + 7, (uint16_t)blocks);
		return command(cdb, 10, block, block_bytes, 0).status;
	}
	put_range(cdb, lba, blocks);
	if (flags & 1)
		return command(cdb, 16, NULL, 0, 0).status;
	return command(cdb, 16, block, block_bytes, 0).status;
}

static void thin_pages(void)
{
	struct outcome limits = command((uint8_t[]){0x12, 1, 0xb0, 0, 0xff, 0}, 6, NULL, 0, 0xff);
	struct outcome medium = command((uint8_t[]){0x12, 1, 0xb1, 0, 0xff, 0}, 6, NULL, 0, 0xff);
	struct outcome thin = command((uint8_t[]){0x12, 1, 0xb2, 0, 0xff, 0}, 6, NULL, 0, 0xff);
	struct outcome size = command((uint8_t[16]){0x9e, 0x10, [13] = 32}, 16, NULL, 0, 32);
	uint32_t suitable = 4096 / block_bytes;

	EXPECT(hf_get_be32(limits.data + 20) == UINT32_MAX);
	EXPECT(hf_get_be32(limits.data + 28) == suitable);
	EXPECT(hf_get_be32(limits.data + 32) == 0x80000000);
	EXPECT(hf_get_be16(medium.data + 4) == 1);
	EXPECT((thin.data[5] & 0xe4) == 0xe4 && (thin.data[6] & 7) == 2);
	EXPECT((size.data[14] & 0xc0) == 0xc0);
	EXPECT(1u << (size.data[13] & 0xf) == suitable);
}

static void thin(void)
{
	uint8_t list[8 + 2 * 16] = {[1] = 6 + 32, [3] = 32};

	thin_pages();
	fill(1024, 64, 0x5a);
	EXPECT(is_extent(1024, 64, 0));
	hf_put_be64(list + 8, 1032);
	hf_put_be32(list + 16, 16);
	hf_put_be64(list + 24, 1080);
	hf_put_be32(list + 32, 8);
	EXPECT(command((uint8_t[]){0x42, [8] = sizeof list, 0}, 10, list, sizeof list, 0).status ==
	       0);
	EXPECT(is_extent(1024, 8, 0) && is_extent(1032, 16, 1) && is_extent(1048, 32, 0));
	EXPECT(is_extent(1036, 12, 1)); /* from the middle of one */
	EXPECT(holds(1031, 0x5a) && holds(1032, 0) && holds(1047, 0) && holds(1048, 0x5a));
	EXPECT(write_same(0x93, 0, 1032, 16, 0x77) == 0 && holds(1032, 0x77) && holds(1047, 0x77));
	EXPECT(is_extent(1024, 56, 0));
	EXPECT(write_same(0x93, 0x01, 1032, 8, 0) == 0 && holds(1039, 0)); /* NDOB */
	EXPECT(write_same(0x93, 0x08, 1040, 8, 0) == 0 && holds(1040, 0)); /* UNMAP */
	EXPECT(is_extent(1040, 8, 1) || is_extent(1040, 8, 0));
	EXPECT(write_same(0x41, 0x08, 1048, 8, 0) == 0 && holds(1055, 0));
	EXPECT(write_same(0x41, 0, 1056, 8, 0x33) == 0 && holds(1063, 0x33));
	EXPECT(holds(1064, 0x5a));
}

/* Serial number, designators, vendor and product. */
static void identity(void)
{
	static const uint8_t pages[] = {0x80, 0x83};

	for (unsigned i = 0; i < 2; i++) {
		struct outcome page =
			command((uint8_t[]){0x12, 1, pages[i], 0, 0xff, 0}, 6, NULL, 0, 0xff);

		EXPECT(page.status == 0 && page.length > 4);
		for (unsigned j = 4; j < page.length; j++)
			printf("%02x", page.data[j]);
		printf("\n");
	}
}

static uint64_t capacity_bytes(void)
{
	struct outcome outcome = command((uint8_t[16]){0x9e, 0x10, [13] = 32}, 16, NULL, 0, 32);

	EXPECT(outcome.status == 0);
	block_bytes = hf_get_be32(outcome.data + 8);
	return (hf_get_be64(outcome.data) + 1) * block_bytes;
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
	if (strcmp(argv[2], "not-ready") != 0)
		capacity_bytes();
	if (strcmp(argv[2], "write-cache") == 0 && argc == 4)
		write_cache(atoi(argv[3]));
	else if (strcmp(argv[2], "write-cache-changes") == 0 && argc == 4) {
		await_attention(0x2a01);
		write_cache(atoi(argv[3]));
	} else if (strcmp(argv[2], "limits") == 0)
		limits();
	else if (strcmp(argv[2], "miscompare") == 0)
		miscompare();
	else if (strcmp(argv[2], "thin") == 0)
		thin();
	else if (strcmp(argv[2], "identity") == 0)
		identity();
	else if (strcmp(argv[2], "fill") == 0 && argc == 6)
		fill(strtoull(argv[3], NULL, 10), (uint32_t)atoi(argv[4]), (uint8_t)atoi(argv[5]));
	else if (strcmp(argv[2], "holds") == 0 && argc == 5)
		EXPECT(holds(strtoull(argv[3], NULL, 10), (uint8_t)atoi(argv[4])));
	else if (strcmp(argv[2], "block") == 0 && argc == 4)
		EXPECT(block_bytes == (uint32_t)atoi(argv[3]));
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
