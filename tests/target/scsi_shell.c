/* An initiator (libiscsi) that sends what it is told, for scripted tests of more than one session.
 *
 * scsi_shell URL INITIATOR-NAME ISID-NUMBER
 *
 * Prints "ready" after the login and after the unit attentions of a new session. Then for each line
 * `CDB OUT IN-BYTES` (hexadecimal, `-` for no data out) one line `STATUS KEY ASC DATA`, numbers in
 * hexadecimal, DATA or `-`. Ends at the end of its input. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <iscsi/iscsi.h>
#include <iscsi/scsi-lowlevel.h>

#include "base/bytes.h"

#define LINE_BYTES (1 << 20)

static struct iscsi_context *iscsi;
static int lun;

static void fail(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, iscsi ? iscsi_get_error(iscsi) : "");
	exit(1);
}

static struct scsi_task *command(const uint8_t *cdb, int cdb_bytes, uint8_t *out, int out_bytes,
				 int in_bytes)
{
	struct iscsi_data data = {.data = out, .size = (size_t)out_bytes};
	int direction = out_bytes ? SCSI_XFER_WRITE : in_bytes ? SCSI_XFER_READ : SCSI_XFER_NONE;
	struct scsi_task *task = scsi_create_task(cdb_bytes, (unsigned char *)(uintptr_t)cdb,
						  direction, out_bytes ? out_bytes : in_bytes);

	if (!task || !iscsi_scsi_command_sync(iscsi, lun, task, out_bytes ? &data : NULL))
		fail("command");
	return task;
}

static void log_in(const char *text, const char *name, uint32_t isid)
{
	struct iscsi_url *url;
	struct scsi_task *task;
	int key;

	iscsi = iscsi_create_context(name);
	if (!iscsi)
		fail("context");
	url = iscsi_parse_full_url(iscsi, text);
	if (!url)
		fail("url");
	lun = url->lun;
	iscsi_set_isid_en(iscsi, 32473, isid);
	iscsi_set_targetname(iscsi, url->target);
	iscsi_set_session_type(iscsi, ISCSI_SESSION_NORMAL);
	iscsi_set_header_digest(iscsi, ISCSI_HEADER_DIGEST_NONE_CRC32C);
	if (iscsi_connect_sync(iscsi, url->portal) != 0 || iscsi_login_sync(iscsi) != 0)
		fail("login");
	iscsi_destroy_url(url);
	do {
		static const uint8_t test_unit_ready[6];

		task = command(test_unit_ready, 6, NULL, 0, 0);
		key = task->status == SCSI_STATUS_CHECK_CONDITION ? (int)task->sense.key : 0;
		scsi_free_scsi_task(task);
	} while (key == 6);
}

/* Bytes of a hexadecimal word; 0 for `-`. */
static int parse_hex(const char *text, uint8_t *bytes)
{
	size_t length = strcmp(text, "-") == 0 ? 0 : strlen(text) / 2;

	for (size_t i = 0; i < length; i++) {
		char digits[3] = {text[2 * i], text[2 * i + 1], '\0'};

		bytes[i] = (uint8_t)strtoul(digits, NULL, 16);
	}
	return (int)length;
}

static void answer(const struct scsi_task *task)
{
	bool sense = task->status == SCSI_STATUS_CHECK_CONDITION;
	int bytes = sense || !task->datain.data ? 0 : task->datain.size;

	printf("%x %x %x ", (unsigned)task->status, sense ? (unsigned)task->sense.key : 0,
	       sense ? (unsigned)task->sense.ascq : 0);
	for (int i = 0; i < bytes; i++)
		printf("%02x", task->datain.data[i]);
	printf("%s\n", bytes ? "" : "-");
	fflush(stdout);
}

int main(int argc, char **argv)
{
	static char line[LINE_BYTES], cdb_text[64], out_text[LINE_BYTES];
	static uint8_t cdb[32], out[LINE_BYTES / 2];
	int in_bytes;

	if (argc != 4)
		return 2;
	log_in(argv[1], argv[2], (uint32_t)strtoul(argv[3], NULL, 0));
	printf("ready\n");
	fflush(stdout);
	while (fgets(line, sizeof line, stdin) &&
	       sscanf(line, "%63s %s %d", cdb_text, out_text, &in_bytes) == 3) {
		int cdb_bytes = parse_hex(cdb_text, cdb);
		struct scsi_task *task =
			command(cdb, cdb_bytes, out, parse_hex(out_text, out), in_bytes);

		answer(task);
		scsi_free_scsi_task(task);
	}
	iscsi_logout_sync(iscsi);
	iscsi_destroy_context(iscsi);
	return 0;
}
