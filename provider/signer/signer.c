/* The signer's keys and the dispatch of its questions (signer.h). Signer's thread. */
#include "provider/signer/signer_internal.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "net/identity.h"
#include "net/daemon.h"

#define TOKEN_DOMAIN "holdfast-token-1"

static const char *const key_files[] = {"ca.key", "sign.key", "secrets.key", "ca.crt"};
enum { CA_KEY, SIGN_KEY, SECRETS_KEY, CA_CERTIFICATE, KEY_FILE_COUNT };

static int path_in(const char *folder, const char *name, char *path, struct hf_errmsg *message)
{
	if (snprintf(path, PATH_MAX, "%s/%s", folder, name) >= PATH_MAX)
		return hf_fail(message, HF_ETOOBIG, "%.100s…: path is too long", folder);
	return 0;
}

/* The certificate is written last, so its presence says that the first start was completed. */
static int check_complete(const char *folder, bool first_retired, struct hf_errmsg *message)
{
	char path[PATH_MAX];
	int err = path_in(folder, key_files[CA_CERTIFICATE], path, message);

	if (err || access(path, F_OK) != 0)
		return err;
	for (int i = first_retired ? CA_KEY + 1 : CA_KEY; i < KEY_FILE_COUNT; i++) {
		path_in(folder, key_files[i], path, NULL);
		if (access(path, F_OK) != 0)
			return hf_fail(message, HF_ECORRUPT,
				       "%s: missing beside the authority's certificate; restore it "
				       "from the backup of this folder",
				       path);
	}
	return 0;
}

/* That of the first start. */
static int load_authority(struct hf_signer_authority *first, const char *folder,
			  struct hf_errmsg *message)
{
	uint8_t public_key[HF_KEY_BYTES];
	char path[PATH_MAX];
	int err;

	first->number = 1;
	path_in(folder, key_files[CA_KEY], path, NULL);
	err = hf_sign_key_file(path, &first->key, message);
	if (err)
		return err;
	path_in(folder, key_files[CA_CERTIFICATE], path, NULL);
	if (access(path, F_OK) != 0) {
		err = hf_authority_make(&first->key, "Holdfast authority",
					HF_SIGNER_AUTHORITY_SECONDS, &first->certificate,
					&first->length);
		if (err)
			return hf_fail(message, err, "making the authority's certificate");
		hf_info("made a new authority in %s", folder);
		return hf_file_replace(path, first->certificate, first->length, 0600, message);
	}
	err = hf_file_read(path, HF_CERTIFICATE_MAX, &first->certificate, &first->length, message);
	if (err)
		return err;
	if (hf_certificate_key(first->certificate, first->length, public_key) ||
	    memcmp(public_key, first->key.public_key, HF_KEY_BYTES) != 0)
		return hf_fail(message, HF_ECORRUPT, "%s: is not for the key in ca.key", path);
	return 0;
}

static int load_keys(struct hf_signer *signer, const char *folder, struct hf_errmsg *message)
{
	char path[PATH_MAX];
	bool first_retired;
	int err = hf_signer_first_retired(signer, &first_retired, message);

	if (!err)
		err = check_complete(folder, first_retired, message);
	if (!err) {
		path_in(folder, key_files[SIGN_KEY], path, NULL);
		err = hf_sign_key_file(path, &signer->sign_key, message);
	}
	if (!err) {
		path_in(folder, key_files[SECRETS_KEY], path, NULL);
		err = hf_seal_key_file(path, &signer->secrets_key, message);
	}
	if (!err && !first_retired)
		err = load_authority(&signer->authority, folder, message);
	return err ? err : hf_signer_authorities_open(signer, message);
}

int hf_signer_use_key(struct hf_signer *signer, const struct hf_sign_key *key)
{
	struct hf_signing *signing;
	int err = hf_signing_open(key, &signing);

	if (err)
		return err;
	hf_signing_close(signer->signing);
	signer->signing = signing;
	signer->sign_key = *key;
	return 0;
}

int hf_signer_open(const struct hf_signer_config *config, struct hf_signer **signer,
		   struct hf_errmsg *message)
{
	struct hf_signer *s;
	int err = hf_daemon_private_folder(config->state_dir, message);

	if (err)
		return err;
	s = calloc(1, sizeof *s);
	if (!s)
		return hf_fail(message, HF_ENOMEM, "out of memory");
	s->magic = SIGNER_MAGIC;
	s->gateway_days = config->gateway_days;
	s->server_days = config->server_days;
	s->approval = !config->no_approval;
	s->state_dir = strdup(config->state_dir);
	err = s->state_dir ? hf_ledger_open(config->state_dir, &s->ledger, message) : HF_ENOMEM;
	if (!err)
		err = load_keys(s, config->state_dir, message);
	if (!err)
		err = hf_signer_use_key(s, &s->sign_key);
	if (!err)
		err = hf_signer_rotation_recover(s, message);
	if (err) {
		hf_signer_close(s);
		return err;
	}
	*signer = s;
	return 0;
}

void hf_signer_close(struct hf_signer *signer)
{
	if (!signer)
		return;
	HF_CHECK_MAGIC(signer, SIGNER_MAGIC);
	hf_signer_authorities_close(signer);
	hf_signing_close(signer->signing);
	hf_ledger_close(signer->ledger);
	free(signer->state_dir);
	hf_wipe_free(signer, sizeof *signer);
}

static int change_ledger(struct hf_signer *signer, const Holdfast__SignerRequest *request,
			 struct hf_signer_result *result)
{
	switch (request->kind_case) {
	case HOLDFAST__SIGNER_REQUEST__KIND_CERTIFICATE:
		result->with_trust = request->certificate->server;
		return hf_signer_certificate(signer, request->certificate, result);
	case HOLDFAST__SIGNER_REQUEST__KIND_DOCUMENT:
		return hf_signer_document(signer, request->document, result);
	case HOLDFAST__SIGNER_REQUEST__KIND_RENEWAL:
		return hf_signer_renewal(signer, request->renewal, result);
	case HOLDFAST__SIGNER_REQUEST__KIND_REVOCATION:
		return hf_signer_revocation(signer, request->revocation, result);
	case HOLDFAST__SIGNER_REQUEST__KIND_APPROVAL:
		return hf_signer_approval(signer, request->approval, result);
	case HOLDFAST__SIGNER_REQUEST__KIND_BATCH:
		return hf_signer_batch(signer, request->batch, result);
	default:
		return hf_fail(&result->reason, HF_EUNSUPPORTED, "unknown question to the signer");
	}
}

static bool is_administrators(const Holdfast__SignerRequest *request)
{
	return request->kind_case == HOLDFAST__SIGNER_REQUEST__KIND_APPROVAL ||
	       request->kind_case == HOLDFAST__SIGNER_REQUEST__KIND_ROTATION ||
	       request->kind_case == HOLDFAST__SIGNER_REQUEST__KIND_AUTHORITY ||
	       (request->kind_case == HOLDFAST__SIGNER_REQUEST__KIND_RETIREMENT &&
		request->retirement->force);
}

static int dispatch(struct hf_signer *signer, enum hf_signer_asker asker,
		    const Holdfast__SignerRequest *request, struct hf_signer_result *result)
{
	int err;

	if (is_administrators(request) && asker != HF_SIGNER_ADMINISTRATOR)
		return hf_fail(&result->reason, HF_EACCES,
			       "only an administrator may ask this, at signer-admin.sock");
	switch (request->kind_case) {
	case HOLDFAST__SIGNER_REQUEST__KIND_HELLO:
		result->with_trust = true;
		return hf_signer_rotation_list(signer, result);
	case HOLDFAST__SIGNER_REQUEST__KIND_NEW_SECRET:
		return hf_signer_new_secret(signer, request->new_secret, result);
	case HOLDFAST__SIGNER_REQUEST__KIND_ROTATION:
		return hf_signer_rotate(signer, result);
	case HOLDFAST__SIGNER_REQUEST__KIND_AUTHORITY:
		return hf_signer_authority_rotate(signer, result);
	case HOLDFAST__SIGNER_REQUEST__KIND_RETIREMENT:
		return hf_signer_authority_retire(signer, request->retirement, result);
	default:
		err = hf_ledger_begin(signer->ledger, &result->reason);
		if (err)
			return err;
		err = change_ledger(signer, request, result);
		return hf_ledger_end(signer->ledger, err, &result->reason);
	}
}

static ProtobufCBinaryData binary(const uint8_t *bytes, size_t length)
{
	return (ProtobufCBinaryData){.len = length, .data = (uint8_t *)(uintptr_t)bytes};
}

/* The same for as long as this folder is, so that a token is known again whatever became of the
 * registry. */
static void make_token_key(const struct hf_signer *signer, uint8_t key[HF_HASH_BYTES])
{
	hf_mac(signer->secrets_key.secret, TOKEN_DOMAIN, sizeof TOKEN_DOMAIN, key);
}

static uint8_t *encode(const struct hf_signer *signer, int err,
		       const struct hf_signer_result *result, size_t *length)
{
	Holdfast__SignerAnswer answer = HOLDFAST__SIGNER_ANSWER__INIT;
	uint8_t *bytes, token_key[HF_HASH_BYTES];

	answer.error = -err;
	answer.reason = (char *)(uintptr_t)result->reason.text;
	answer.ca_certificate = binary(signer->authority.certificate, signer->authority.length);
	answer.ca_key = binary(signer->authority.key.public_key, HF_KEY_BYTES);
	answer.authorities_version = signer->authorities_version;
	answer.gateways = result->gateways;
	answer.n_gateways = result->gateway_count;
	answer.signer_key = binary(signer->sign_key.public_key, HF_KEY_BYTES);
	if (!err) {
		answer.certificate = binary(result->certificate, result->certificate_length);
		answer.signed_change = binary(result->signed_change, result->signed_change_length);
		answer.secret = binary(result->secret, result->secret_length);
		answer.results = result->results;
		answer.n_results = result->result_count;
		answer.rotations = result->rotations;
		answer.n_rotations = result->rotation_count;
	}
	if (!err && result->with_trust) {
		make_token_key(signer, token_key);
		answer.token_key = binary(token_key, sizeof token_key);
		answer.authorities = binary(result->authorities, result->authorities_length);
		answer.authorities_statement = binary(result->statement, result->statement_length);
	}
	*length = holdfast__signer_answer__get_packed_size(&answer);
	bytes = malloc(*length);
	if (bytes)
		holdfast__signer_answer__pack(&answer, bytes);
	explicit_bzero(token_key, sizeof token_key);
	return bytes;
}

uint8_t *hf_signer_answer(struct hf_signer *signer, enum hf_signer_asker asker,
			  const uint8_t *request, size_t request_length, size_t *answer_length)
{
	struct hf_signer_result result = {.reason = {""}};
	Holdfast__SignerRequest *message;
	uint8_t *answer;
	int err;

	HF_CHECK_MAGIC(signer, SIGNER_MAGIC);
	message = holdfast__signer_request__unpack(NULL, request_length, request);
	if (!message)
		err = hf_fail(&result.reason, HF_EPROTO, "not a question to the signer");
	else
		err = dispatch(signer, asker, message, &result);
	if (!err && result.with_trust)
		err = hf_signer_authorities_list(signer, &result);
	if (err && result.reason.text[0] == '\0')
		hf_fail(&result.reason, err, "%s", hf_err_text(err));
	if (err)
		hf_warn("refused: %s", result.reason.text);
	if (message)
		holdfast__signer_request__free_unpacked(message, NULL);
	answer = encode(signer, err, &result, answer_length);
	free(result.certificate);
	free(result.signed_change);
	free(result.secret);
	free(result.authorities);
	free(result.statement);
	free(result.gateways);
	hf_signer_batch_free(&result);
	hf_signer_rotation_free(&result);
	return answer;
}
