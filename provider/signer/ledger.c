/* Files of the ledger (ledger.h): magic, CRC32C of the rest, an encoded SignerLedger. */
#include "provider/signer/ledger.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/file.h"
#include "base/ids.h"
#include "net/sign.h"

#define LEDGER_MAGIC    "holdfast-ledger\1"
#define LEDGER_HEADER   20u /* magic of 16 bytes, then the CRC, little-endian */
#define LEDGER_FILE_MAX (16u << 20)

static int ledger_path(const char *folder, uint64_t gateway, char *path, struct hf_errmsg *message)
{
	char id[HF_ID_TEXT_MAX];

	hf_id_format(HF_ID_GATEWAY, gateway, id);
	if (snprintf(path, PATH_MAX, "%s/%s", folder, id) >= PATH_MAX)
		return hf_fail(message, HF_ETOOBIG, "%.100s…: path is too long", folder);
	return 0;
}

static int decode(const uint8_t *bytes, size_t length, uint64_t gateway,
		  Holdfast__SignerLedger **entry)
{
	if (length < LEDGER_HEADER || memcmp(bytes, LEDGER_MAGIC, 16) != 0)
		return HF_ECORRUPT;
	if (hf_get_le32(bytes + 16) != hf_crc32c(0, bytes + LEDGER_HEADER, length - LEDGER_HEADER))
		return HF_ECORRUPT;
	*entry = holdfast__signer_ledger__unpack(NULL, length - LEDGER_HEADER,
						 bytes + LEDGER_HEADER);
	if (!*entry)
		return HF_ECORRUPT;
	if ((*entry)->gateway == gateway && (*entry)->sealing_key.len == HF_KEY_BYTES &&
	    (*entry)->identity_key.len == HF_KEY_BYTES)
		return 0;
	holdfast__signer_ledger__free_unpacked(*entry, NULL);
	return HF_ECORRUPT;
}

int hf_ledger_load(const char *folder, uint64_t gateway, Holdfast__SignerLedger **entry,
		   struct hf_errmsg *message)
{
	char path[PATH_MAX];
	uint8_t *bytes;
	size_t length;
	int err = ledger_path(folder, gateway, path, message);

	if (!err)
		err = hf_file_read(path, LEDGER_FILE_MAX, &bytes, &length, message);
	if (err)
		return err;
	err = decode(bytes, length, gateway, entry);
	free(bytes);
	return err ? hf_fail(message, err, "%s: fails its checksum", path) : 0;
}

int hf_ledger_store(const char *folder, const Holdfast__SignerLedger *entry,
		    struct hf_errmsg *message)
{
	size_t length = LEDGER_HEADER + holdfast__signer_ledger__get_packed_size(entry);
	char path[PATH_MAX];
	uint8_t *bytes;
	int err = ledger_path(folder, entry->gateway, path, message);

	if (err)
		return err;
	if (length > LEDGER_FILE_MAX)
		return hf_fail(message, HF_ETOOBIG, "%s: the document is too large", path);
	bytes = malloc(length);
	if (!bytes)
		return hf_fail(message, HF_ENOMEM, "out of memory");
	memcpy(bytes, LEDGER_MAGIC, 16);
	holdfast__signer_ledger__pack(entry, bytes + LEDGER_HEADER);
	hf_put_le32(bytes + 16, hf_crc32c(0, bytes + LEDGER_HEADER, length - LEDGER_HEADER));
	err = hf_file_replace(path, bytes, length, 0600, message);
	free(bytes);
	return err;
}
