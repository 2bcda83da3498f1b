/* The next signing key. The one in use signs its public half for every gateway of this provider (a
 * change of tenant 0 and gateway 0), so that a gateway that pinned any earlier key can follow link
 * by link; then the old secret is gone.
 *
 *   sign.key.next written → link committed → sign.key.next renamed to sign.key
 *
 * A signer that was killed in between finds the link's key in sign.key.next and ends it, or finds
 * no link and throws sign.key.next away. Signer's thread. */
#include "provider/signer/signer_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"

#define LINKS_MAX 1024u /* a hello carries them all */

static int path_of(const struct hf_signer *signer, const char *name, char path[PATH_MAX],
		   struct hf_errmsg *message)
{
	if (snprintf(path, PATH_MAX, "%s/%s", signer->state_dir, name) >= PATH_MAX)
		return hf_fail(message, HF_ETOOBIG, "%.100s…: path is too long", signer->state_dir);
	return 0;
}

/* ---- Links ---- */

struct newest {
	unsigned count;
	struct hf_ledger_rotation link; /* without its statement */
};

static int note_newest(void *context, const struct hf_ledger_rotation *rotation)
{
	struct newest *newest = context;

	newest->count++;
	newest->link = *rotation;
	return 0;
}

static int add_link(struct hf_signer *signer, const struct hf_sign_key *next,
		    struct hf_errmsg *reason)
{
	Holdfast__Rotation rotation = HOLDFAST__ROTATION__INIT;
	Holdfast__Change change = HOLDFAST__CHANGE__INIT;
	struct hf_ledger_rotation link;
	uint8_t bytes[64], *statement;
	int err;

	rotation.signer_key.data = (uint8_t *)(uintptr_t)next->public_key;
	rotation.signer_key.len = HF_KEY_BYTES;
	change.kind_case = HOLDFAST__CHANGE__KIND_ROTATION;
	change.rotation.data = bytes;
	change.rotation.len = holdfast__rotation__pack(&rotation, bytes);
	memcpy(link.old_key, signer->sign_key.public_key, HF_KEY_BYTES);
	memcpy(link.new_key, next->public_key, HF_KEY_BYTES);
	err = hf_change_sign_with(signer->signing, &change, &statement, &link.length);
	if (err)
		return err;
	link.statement = statement;
	err = hf_ledger_begin(signer->ledger, reason);
	if (!err) {
		err = hf_ledger_rotation_add(signer->ledger, &link, reason);
		err = hf_ledger_end(signer->ledger, err, reason);
	}
	free(statement);
	return err;
}

/* ---- The key's file ---- */

/* Puts sign.key.next in the place of sign.key; it is the one of the newest link. */
static int replace_key(struct hf_signer *signer, struct hf_errmsg *message)
{
	char now[PATH_MAX], next[PATH_MAX];
	int err = path_of(signer, "sign.key", now, message);

	if (!err)
		err = path_of(signer, "sign.key.next", next, message);
	if (!err && rename(next, now) != 0)
		err = hf_fail(message, hf_err_from_errno(errno), "%s: %s", now, strerror(errno));
	if (!err)
		err = hf_file_sync_folder_at(AT_FDCWD, now, message);
	return err;
}

int hf_signer_rotation_recover(struct hf_signer *signer, struct hf_errmsg *message)
{
	struct newest newest = {0};
	struct hf_sign_key next;
	char path[PATH_MAX];
	bool waiting;
	int err = hf_ledger_rotation_visit(signer->ledger, note_newest, &newest, message);

	if (!err)
		err = path_of(signer, "sign.key.next", path, message);
	if (err)
		return err;
	waiting = access(path, F_OK) == 0;
	if (newest.count == 0 ||
	    memcmp(newest.link.new_key, signer->sign_key.public_key, HF_KEY_BYTES) == 0) {
		/* Made, and never linked: nobody knows it. */
		if (waiting && unlink(path) != 0)
			return hf_fail(message, hf_err_from_errno(errno), "%s: %s", path,
				       strerror(errno));
		return 0;
	}
	if (waiting)
		err = hf_sign_key_file(path, &next, message);
	if (!err && (!waiting || memcmp(next.public_key, newest.link.new_key, HF_KEY_BYTES) != 0))
		err = hf_fail(message, HF_ECORRUPT,
			      "sign.key in %s is not the key of the newest rotation in ledger.db; "
			      "restore both from the same backup",
			      signer->state_dir);
	if (!err)
		err = replace_key(signer, message);
	if (!err)
		err = hf_signer_use_key(signer, &next);
	if (!err)
		hf_info("ended the rotation of the signing key that was cut short");
	explicit_bzero(&next, sizeof next);
	return err;
}

int hf_signer_rotate(struct hf_signer *signer, struct hf_signer_result *result)
{
	struct newest newest = {0};
	struct hf_signing *signing = NULL;
	struct hf_sign_key next;
	char path[PATH_MAX];
	int err = hf_ledger_rotation_visit(signer->ledger, note_newest, &newest, &result->reason);

	if (!err && newest.count == LINKS_MAX)
		err = hf_fail(&result->reason, HF_ENOSPC, "the signing key was rotated %u times",
			      LINKS_MAX);
	if (!err)
		err = path_of(signer, "sign.key.next", path, &result->reason);
	if (!err)
		err = hf_sign_key_file(path, &next, &result->reason);
	if (!err)
		err = hf_signing_open(&next, &signing);
	if (!err)
		err = add_link(signer, &next, &result->reason);
	if (err) {
		hf_signing_close(signing);
		return err;
	}
	/* From here on it is the key, whatever becomes of the files: the next start mends them. */
	err = replace_key(signer, &result->reason);
	if (err)
		hf_error("the new signing key is in force, and still called sign.key.next: %s",
			 result->reason.text);
	hf_signing_close(signer->signing);
	signer->signing = signing;
	signer->sign_key = next;
	explicit_bzero(&next, sizeof next);
	hf_info("the signing key was rotated");
	return 0;
}

/* ---- For the provider ---- */

static int collect(void *context, const struct hf_ledger_rotation *rotation)
{
	struct hf_signer_result *result = context;
	ProtobufCBinaryData *more =
		reallocarray(result->rotations, result->rotation_count + 1, sizeof *more);
	uint8_t *copy = malloc(rotation->length + 1);

	if (more)
		result->rotations = more;
	if (!more || !copy) {
		free(copy);
		return HF_ENOMEM;
	}
	memcpy(copy, rotation->statement, rotation->length);
	more[result->rotation_count++] =
		(ProtobufCBinaryData){.len = rotation->length, .data = copy};
	return 0;
}

int hf_signer_rotation_list(struct hf_signer *signer, struct hf_signer_result *result)
{
	return hf_ledger_rotation_visit(signer->ledger, collect, result, &result->reason);
}

void hf_signer_rotation_free(struct hf_signer_result *result)
{
	for (size_t i = 0; i < result->rotation_count; i++)
		free(result->rotations[i].data);
	free(result->rotations);
}
