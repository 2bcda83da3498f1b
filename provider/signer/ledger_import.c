/* Before the ledger was a database it was one file a gateway. They are taken over when a signer
 * opens such a folder for the first time: all in one transaction, then the folder gets another
 * name. A crash in between takes them over again, which changes nothing. A file that fails its
 * checksum becomes an entry that does: that gateway stays stopped, the others go on. Signer's
 * thread. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/file.h"
#include "base/ids.h"
#include "base/log.h"
#include "provider/signer/ledger_internal.h"

#define FILE_MAGIC  "holdfast-ledger\1"
#define FILE_HEADER 20u /* magic of 16 bytes, then the CRC, little-endian */
#define FILE_MAX    (16u << 20)

/* Of an entry that cannot be right, whatever its bytes are. */
static uint32_t wrong_crc(const uint8_t *bytes, size_t length)
{
	return ~hf_crc32c(0, bytes, length);
}

static int import_bytes(struct hf_ledger *ledger, uint64_t gateway, const uint8_t *bytes,
			size_t length, struct hf_errmsg *message)
{
	if (length < FILE_HEADER || memcmp(bytes, FILE_MAGIC, 16) != 0)
		return hf_ledger_put(ledger, gateway, wrong_crc(bytes, length), bytes, length,
				     message);
	return hf_ledger_put(ledger, gateway, hf_get_le32(bytes + 16), bytes + FILE_HEADER,
			     length - FILE_HEADER, message);
}

static int import_file(struct hf_ledger *ledger, const char *folder, const char *name,
		       uint64_t gateway, struct hf_errmsg *message)
{
	Holdfast__SignerLedger *known = NULL;
	char path[PATH_MAX];
	uint8_t *bytes;
	size_t length;
	int err = hf_ledger_load(ledger, gateway, &known, NULL);

	/* From a start that was cut short; what was signed since is newer than the file. */
	if (err == 0)
		holdfast__signer_ledger__free_unpacked(known, NULL);
	if (err != HF_ENOENT)
		return err == HF_ECORRUPT ? 0 : err;
	if (snprintf(path, sizeof path, "%s/%s", folder, name) >= PATH_MAX)
		return hf_fail(message, HF_ETOOBIG, "%.100s…: path is too long", folder);
	err = hf_file_read(path, FILE_MAX, &bytes, &length, message);
	if (err)
		return err;
	err = import_bytes(ledger, gateway, bytes, length, message);
	free(bytes);
	return err;
}

static int import_all(struct hf_ledger *ledger, DIR *dir, const char *folder, unsigned *count,
		      struct hf_errmsg *message)
{
	struct dirent *item;
	uint64_t gateway;
	int err = 0;

	while (!err && (errno = 0, item = readdir(dir)) != NULL) {
		/* What a replacement left half written is no entry. */
		if (hf_id_parse(HF_ID_GATEWAY, item->d_name, &gateway) != 0)
			continue;
		err = import_file(ledger, folder, item->d_name, gateway, message);
		++*count;
	}
	if (!err && errno != 0)
		err = hf_fail(message, hf_err_from_errno(errno), "%s: %s", folder, strerror(errno));
	return err;
}

int hf_ledger_import(struct hf_ledger *ledger, const char *state_dir, struct hf_errmsg *message)
{
	char folder[PATH_MAX], after[PATH_MAX];
	unsigned count = 0;
	DIR *dir;
	int err;

	if (snprintf(folder, sizeof folder, "%s/gateways", state_dir) >= PATH_MAX ||
	    snprintf(after, sizeof after, "%s/gateways.imported", state_dir) >= PATH_MAX)
		return hf_fail(message, HF_ETOOBIG, "%.100s…: path is too long", state_dir);
	dir = opendir(folder);
	if (!dir)
		return errno == ENOENT ? 0
				       : hf_fail(message, hf_err_from_errno(errno), "%s: %s",
						 folder, strerror(errno));
	err = hf_ledger_begin(ledger, message);
	if (!err) {
		err = import_all(ledger, dir, folder, &count, message);
		err = hf_ledger_end(ledger, err, message);
	}
	closedir(dir);
	if (!err && rename(folder, after) != 0)
		err = hf_fail(message, hf_err_from_errno(errno), "%s: %s", after, strerror(errno));
	if (!err)
		hf_info("took %u entries of the ledger over from %s", count, folder);
	return err;
}
