/* Two initiators on one LUN that grows under them, for grow.py. Arguments: the LUN's URL, its block
 * size. Tells "ready" when both have logged in; then reads the new size in bytes from standard
 * input. Promises: each session gets the unit attention 2A/09 (capacity data has changed) exactly
 * once, then READ CAPACITY tells the new size; what is written past the old end through one
 * session is read through the other. */
#include <inttypes.h>
#include <iscsi/iscsi.h>
#include <iscsi/scsi-lowlevel.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TURNS_MAX 200 /* of 50 ms, until the unit attention is there */

static void fail(const char *what, struct iscsi_context *iscsi)
{
	fprintf(stderr, "%s%s%s\n", what, iscsi ? ": " : "", iscsi ? iscsi_get_error(iscsi) : "");
	exit(1);
}

static struct iscsi_context *log_in(const char *url_text, const char *name, int *lun)
{
	struct iscsi_context *iscsi = iscsi_create_context(name);
	struct iscsi_url *url = iscsi ? iscsi_parse_full_url(iscsi, url_text) : NULL;

	if (!url)
		fail("no URL", iscsi);
	iscsi_set_targetname(iscsi, url->target);
	iscsi_set_session_type(iscsi, ISCSI_SESSION_NORMAL);
	iscsi_set_header_digest(iscsi, ISCSI_HEADER_DIGEST_NONE_CRC32C);
	*lun = url->lun;
	if (iscsi_full_connect_sync(iscsi, url->portal, url->lun) != 0)
		fail("login", iscsi);
	iscsi_destroy_url(url);
	return iscsi;
}

/* 1: unit attention 2A/09; 0: good; ends the program for anything else. */
static int look(struct iscsi_context *iscsi, int lun)
{
	struct scsi_task *task = iscsi_testunitready_sync(iscsi, lun);
	int attention;

	if (!task)
		fail("TEST UNIT READY", iscsi);
	attention = task->status == SCSI_STATUS_CHECK_CONDITION &&
		    task->sense.key == SCSI_SENSE_UNIT_ATTENTION && task->sense.ascq == 0x2a09;
	if (!attention && task->status != SCSI_STATUS_GOOD)
		fail("TEST UNIT READY: another condition", iscsi);
	scsi_free_scsi_task(task);
	return attention;
}

static uint64_t capacity(struct iscsi_context *iscsi, int lun, uint32_t block_size)
{
	struct scsi_task *task = iscsi_readcapacity16_sync(iscsi, lun);
	struct scsi_readcapacity16 *data = task ? scsi_datain_unmarshall(task) : NULL;
	uint64_t bytes;

	if (!data || task->status != SCSI_STATUS_GOOD)
		fail("READ CAPACITY", iscsi);
	if (data->block_length != block_size)
		fail("READ CAPACITY: another block size", NULL);
	bytes = (data->returned_lba + 1) * data->block_length;
	scsi_free_scsi_task(task);
	return bytes;
}

static void expect_growth(struct iscsi_context *iscsi, int lun, uint64_t size, uint32_t block_size)
{
	int turns = 0;

	while (!look(iscsi, lun)) {
		if (++turns == TURNS_MAX)
			fail("no unit attention", NULL);
		poll(NULL, 0, 50);
	}
	for (int i = 0; i < 3; i++)
		if (look(iscsi, lun))
			fail("a second unit attention", NULL);
	if (capacity(iscsi, lun, block_size) != size)
		fail("READ CAPACITY does not tell the new size", NULL);
}

int main(int argc, char **argv)
{
	uint32_t block_size = argc == 3 ? (uint32_t)strtoul(argv[2], NULL, 10) : 0;
	struct iscsi_context *first, *second;
	uint8_t data[8192], *back;
	struct scsi_task *task;
	uint64_t before, after;
	int lun;

	if (argc != 3 || block_size == 0)
		fail("usage: grow_client URL BLOCK_SIZE", NULL);
	first = log_in(argv[1], "iqn.2026-11.net.holdfast:first", &lun);
	second = log_in(argv[1], "iqn.2026-11.net.holdfast:second", &lun);
	while (look(first, lun) || look(second, lun))
		;
	before = capacity(first, lun, block_size);
	printf("ready %" PRIu64 "\n", before);
	fflush(stdout);
	if (scanf("%" SCNu64, &after) != 1)
		fail("no new size", NULL);
	expect_growth(first, lun, after, block_size);
	expect_growth(second, lun, after, block_size);
	memset(data, 0x5a, sizeof data);
	task = iscsi_write16_sync(first, lun, before / block_size, data, sizeof data,
				  (int)block_size, 0, 0, 1, 0, 0);
	if (!task || task->status != SCSI_STATUS_GOOD)
		fail("a write past the old end", first);
	scsi_free_scsi_task(task);
	task = iscsi_read16_sync(second, lun, before / block_size, sizeof data, (int)block_size, 0,
				 0, 0, 0, 0);
	if (!task || task->status != SCSI_STATUS_GOOD)
		fail("a read past the old end", second);
	back = task->datain.data;
	if (task->datain.size != (int)sizeof data || memcmp(back, data, sizeof data) != 0)
		fail("other data came back", NULL);
	scsi_free_scsi_task(task);
	printf("grown\n");
	iscsi_logout_sync(first);
	iscsi_logout_sync(second);
	return 0;
}
