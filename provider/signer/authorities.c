/* The authority and the one that follows it. A rotation makes another authority; from then on both
 * are told to everybody (a list with a version, also as a change for all gateways), gateways'
 * certificates are renewed under the new one, and everything else is still issued by the one in
 * use, which all know. When no gateway depends on that any more it retires: its key is destroyed
 * and the other one takes its place.
 *
 *   ca-N.key written → row of the ledger committed: both are trusted
 *   row marked as retired, committed → key file of the old one removed
 *
 * What was cut short after a commit is ended at the next start. Signer's thread. */
#include "provider/signer/signer_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

#define DEPENDENTS_MAX 1024u /* are named */

static int key_path(const struct hf_signer *signer, uint64_t number, char path[PATH_MAX],
		    struct hf_errmsg *message)
{
	char name[40] = "ca.key";

	if (number > 1)
		snprintf(name, sizeof name, "ca-%" PRIu64 ".key", number);
	if (snprintf(path, PATH_MAX, "%s/%s", signer->state_dir, name) >= PATH_MAX)
		return hf_fail(message, HF_ETOOBIG, "%.100s…: path is too long", signer->state_dir);
	return 0;
}

static void drop(struct hf_signer_authority *authority)
{
	free(authority->certificate);
	explicit_bzero(authority, sizeof *authority);
}

/* ---- Opening ---- */

struct found {
	unsigned count, retired;
	bool first_retired;
	struct hf_signer_authority *in_use, *next;
	uint64_t gone[64]; /* the newest that are retired */
};

static int keep_copy(struct hf_signer_authority *to, const struct hf_ledger_authority *from)
{
	to->number = from->number;
	to->length = from->length;
	to->certificate = malloc(from->length + 1);
	if (!to->certificate)
		return HF_ENOMEM;
	memcpy(to->certificate, from->certificate, from->length);
	return 0;
}

static int note(void *context, const struct hf_ledger_authority *authority)
{
	struct found *found = context;

	found->count++;
	if (authority->retired) {
		found->gone[found->retired++ % 64] = authority->number;
		found->first_retired |= authority->number == 1;
		return 0;
	}
	if (!found->in_use)
		return 0;
	if (found->in_use->number == 0)
		return keep_copy(found->in_use, authority);
	if (found->in_use->number == authority->number)
		return 0; /* the first, which was read from its file */
	return found->next->number ? HF_ECORRUPT : keep_copy(found->next, authority);
}

int hf_signer_first_retired(struct hf_signer *signer, bool *retired, struct hf_errmsg *message)
{
	struct found found = {0};
	int err = hf_ledger_authority_visit(signer->ledger, note, &found, message);

	*retired = found.first_retired;
	return err;
}

/* Its key and its id; a key that is missing is not made anew. */
static int complete(struct hf_signer *signer, struct hf_signer_authority *authority,
		    struct hf_errmsg *message)
{
	uint8_t public_key[HF_KEY_BYTES];
	char path[PATH_MAX];
	int err = key_path(signer, authority->number, path, message);

	if (!err && access(path, F_OK) != 0)
		err = hf_fail(message, HF_ECORRUPT,
			      "%s: missing; restore it from the backup of this folder", path);
	if (!err)
		err = hf_sign_key_file(path, &authority->key, message);
	if (!err && (hf_authority_first(authority->certificate, authority->length, authority->id) !=
			     authority->length ||
		     hf_certificate_key(authority->certificate, authority->length, public_key) ||
		     memcmp(public_key, authority->key.public_key, HF_KEY_BYTES) != 0))
		err = hf_fail(message, HF_ECORRUPT, "%s: is not the key of its authority", path);
	return err;
}

static int add_row(struct hf_signer *signer, const struct hf_signer_authority *authority,
		   struct hf_errmsg *message)
{
	struct hf_ledger_authority row = {.number = authority->number,
					  .certificate = authority->certificate,
					  .length = authority->length};
	int err = hf_ledger_begin(signer->ledger, message);

	if (err)
		return err;
	err = hf_ledger_authority_add(signer->ledger, &row, message);
	return hf_ledger_end(signer->ledger, err, message);
}

static void remove_key(const struct hf_signer *signer, uint64_t number)
{
	struct hf_errmsg message;
	char path[PATH_MAX];

	if (key_path(signer, number, path, &message) == 0 && unlink(path) != 0 && errno != ENOENT)
		hf_error("%s: the key of a retired authority cannot be removed: %s", path,
			 strerror(errno));
}

int hf_signer_authorities_open(struct hf_signer *signer, struct hf_errmsg *message)
{
	struct found found = {.in_use = &signer->authority, .next = &signer->next};
	int err = hf_ledger_authority_visit(signer->ledger, note, &found, message);

	if (!err && found.count == 0) {
		err = add_row(signer, &signer->authority, message);
		found.count = 1;
	}
	if (!err && signer->authority.number == 0)
		err = hf_fail(message, HF_ECORRUPT, "the signer's ledger names no authority");
	if (!err)
		err = complete(signer, &signer->authority, message);
	if (!err && signer->next.number)
		err = complete(signer, &signer->next, message);
	if (err)
		return err;
	for (unsigned i = 0; i < found.retired && i < 64; i++)
		remove_key(signer, found.gone[i]);
	signer->authorities_version = found.count + found.retired;
	return 0;
}

void hf_signer_authorities_close(struct hf_signer *signer)
{
	drop(&signer->authority);
	drop(&signer->next);
}

/* ---- Rotation ---- */

int hf_signer_authority_rotate(struct hf_signer *signer, struct hf_signer_result *result)
{
	struct hf_signer_authority next = {.number = signer->authority.number + 1};
	struct hf_errmsg *reason = &result->reason;
	char path[PATH_MAX], name[64];
	int err;

	if (signer->next.number)
		return hf_fail(reason, HF_EBUSY, "another authority is taking the place already");
	snprintf(name, sizeof name, "Holdfast authority %" PRIu64, next.number);
	err = key_path(signer, next.number, path, reason);
	if (!err)
		err = hf_sign_key_file(path, &next.key, reason);
	if (!err)
		err = hf_authority_make(&next.key, name, HF_SIGNER_AUTHORITY_SECONDS,
					&next.certificate, &next.length);
	if (!err)
		err = complete(signer, &next, reason);
	if (!err)
		err = add_row(signer, &next, reason);
	if (err) {
		drop(&next);
		return err;
	}
	signer->next = next;
	signer->authorities_version++;
	explicit_bzero(&next, sizeof next);
	hf_info("made authority %" PRIu64 ", which is to take the place of the one in use",
		signer->next.number);
	return 0;
}

struct dependents {
	const struct hf_signer *signer;
	uint64_t *gateways;
	size_t count;
};

/* A gateway has a certificate of the other one, or it depends. */
static int note_dependent(void *context, uint64_t gateway, const Holdfast__SignerLedger *entry)
{
	struct dependents *dependents = context;
	const struct hf_signer_authority *next = &dependents->signer->next;

	if (entry &&
	    (entry->revoked || (entry->authority.len == sizeof next->id &&
				memcmp(entry->authority.data, next->id, sizeof next->id) == 0)))
		return 0;
	if (dependents->count < DEPENDENTS_MAX)
		dependents->gateways[dependents->count] = gateway;
	dependents->count++;
	return 0;
}

static int find_dependents(struct hf_signer *signer, bool force, struct hf_signer_result *result)
{
	struct dependents dependents = {.signer = signer};
	int err;

	dependents.gateways = calloc(DEPENDENTS_MAX, sizeof dependents.gateways[0]);
	if (!dependents.gateways)
		return HF_ENOMEM;
	err = hf_ledger_visit(signer->ledger, note_dependent, &dependents, &result->reason);
	result->gateways = dependents.gateways;
	result->gateway_count =
		dependents.count < DEPENDENTS_MAX ? dependents.count : DEPENDENTS_MAX;
	if (err || dependents.count == 0 || force)
		return err;
	return hf_fail(&result->reason, HF_EBUSY,
		       "%zu %s no certificate of the authority that follows", dependents.count,
		       dependents.count == 1 ? "gateway has" : "gateways have");
}

int hf_signer_authority_retire(struct hf_signer *signer, const Holdfast__SignerRetirement *order,
			       struct hf_signer_result *result)
{
	uint64_t number = signer->authority.number;
	int err;

	if (!signer->next.number)
		return hf_fail(&result->reason, HF_EINVAL,
			       "no other authority is there to take the place");
	err = find_dependents(signer, order->force, result);
	if (!err)
		err = hf_ledger_begin(signer->ledger, &result->reason);
	if (err)
		return err;
	err = hf_ledger_authority_retire(signer->ledger, number, &result->reason);
	err = hf_ledger_end(signer->ledger, err, &result->reason);
	if (err)
		return err;
	drop(&signer->authority);
	signer->authority = signer->next;
	explicit_bzero(&signer->next, sizeof signer->next);
	signer->authorities_version++;
	remove_key(signer, number);
	hf_info("authority %" PRIu64 " is retired%s; %zu gateways depended on it", number,
		order->force ? " by force" : "", result->gateway_count);
	return 0;
}

/* ---- For the provider and all gateways ---- */

static int make_statement(struct hf_signer *signer, struct hf_signer_result *result)
{
	Holdfast__Rotation rotation = HOLDFAST__ROTATION__INIT;
	Holdfast__Change change = HOLDFAST__CHANGE__INIT;
	uint8_t *bytes;
	int err;

	rotation.authorities.data = result->authorities;
	rotation.authorities.len = result->authorities_length;
	rotation.authorities_version = signer->authorities_version;
	bytes = malloc(holdfast__rotation__get_packed_size(&rotation));
	if (!bytes)
		return HF_ENOMEM;
	change.kind_case = HOLDFAST__CHANGE__KIND_ROTATION;
	change.rotation.data = bytes;
	change.rotation.len = holdfast__rotation__pack(&rotation, bytes);
	err = hf_change_sign_with(signer->signing, &change, &result->statement,
				  &result->statement_length);
	free(bytes);
	return err;
}

int hf_signer_authorities_list(struct hf_signer *signer, struct hf_signer_result *result)
{
	const struct hf_signer_authority *in_use = &signer->authority, *next = &signer->next;

	result->authorities_length = in_use->length + next->length;
	result->authorities = malloc(result->authorities_length + 1);
	if (!result->authorities)
		return HF_ENOMEM;
	memcpy(result->authorities, in_use->certificate, in_use->length);
	if (next->length)
		memcpy(result->authorities + in_use->length, next->certificate, next->length);
	return make_statement(signer, result);
}
