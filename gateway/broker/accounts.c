/* CHAP accounts of a target.
 *
 * tgtd keeps a target's incoming accounts in an array of which it reads only the first COUNT
 * places: taking one out of the middle hides those behind it and makes a later `show` crash tgtd;
 * taking the last one leaves a target that lets anybody in. So a target that asks for CHAP holds
 *
 *   0  the guard, ".hf-guard": one account for all targets, with a secret that nobody knows
 *   1  the marker, ".hf-mark-SALT-IN-OUT": equally useless, its name says which secrets are set
 *   2  the user
 *
 * and changes from the end: user out, marker out, new marker in, new user in. At every moment the
 * guard makes tgtd ask for CHAP, and the array has no hole; in between, log-ins fail.
 *
 * tgtd does not tell secrets, and knows a user's name only once for all targets. The marker's IN
 * and OUT are PBKDF2 of user and secret under SALT: so a change that changes nothing is seen as
 * such also by a broker that was restarted, and a name used on two targets with two secrets is
 * refused instead of silently changing the other target's secret. */
#include "gateway/broker/operation.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/assert.h"
#include "base/bytes.h"

#define GUARD       ".hf-guard"
#define MARK        ".hf-mark-"
#define SALT_BYTES  8
#define PRINT_BYTES 16
#define ROUNDS      2000
#define NO_PRINT    "0"
#define PRINT_TEXT  (2 * PRINT_BYTES + 1)
#define USER_TEXT   64

struct marker {
	char salt[2 * SALT_BYTES + 1];
	char in[PRINT_TEXT], out[PRINT_TEXT];
};

/* ---- Markers ---- */

static void fingerprint(const char *salt, const char *user, const char *secret,
			char print[PRINT_TEXT])
{
	uint8_t digest[PRINT_BYTES];
	char salt_and_user[2 * SALT_BYTES + USER_TEXT + 2];
	int length;

	if (!user[0]) {
		strcpy(print, NO_PRINT);
		return;
	}
	length = snprintf(salt_and_user, sizeof salt_and_user, "%s/%s", salt, user);
	HF_ASSERT(length > 0 && (size_t)length < sizeof salt_and_user);
	HF_ASSERT(PKCS5_PBKDF2_HMAC(secret, (int)strlen(secret), (const uint8_t *)salt_and_user,
				    length, ROUNDS, EVP_sha256(), sizeof digest, digest) == 1);
	hf_hex_encode(print, digest, sizeof digest);
}

static void random_hex(char *text, size_t bytes)
{
	uint8_t random[32];

	HF_ASSERT(bytes <= sizeof random && getrandom(random, bytes, 0) == (ssize_t)bytes);
	hf_hex_encode(text, random, bytes);
}

static bool is_print(const char *text)
{
	return strcmp(text, NO_PRINT) == 0 || (strlen(text) == 2 * PRINT_BYTES &&
					       strspn(text, "0123456789abcdef") == 2 * PRINT_BYTES);
}

static bool read_marker(const struct hf_tgt_target *target, struct marker *marker)
{
	const char *text;

	if (target->account_count < 2)
		return false;
	text = target->accounts[1].user;
	return strncmp(text, MARK, strlen(MARK)) == 0 &&
	       sscanf(text + strlen(MARK), "%16[0-9a-f]-%32[0-9a-f]-%32[0-9a-f]", marker->salt,
		      marker->in, marker->out) == 3 &&
	       strlen(marker->salt) == 2 * SALT_BYTES && is_print(marker->in) &&
	       is_print(marker->out);
}

static bool is_guarded(const struct hf_tgt_target *target)
{
	return target->account_count > 0 && strcmp(target->accounts[0].user, GUARD) == 0;
}

const char *hf_accounts_user(const struct hf_tgt_target *target)
{
	for (size_t i = 0; i < target->account_count; i++)
		if (strncmp(target->accounts[i].user, ".hf-", 4) != 0)
			return target->accounts[i].user;
	return "";
}

bool hf_accounts_match(const struct hf_tgt_target *target, const Holdfast__BrokerAccess *access)
{
	struct marker marker;
	char in[PRINT_TEXT], out[PRINT_TEXT];

	if (!access->chap_user[0])
		return target->account_count == 0 && !target->outgoing[0];
	if (!is_guarded(target) || target->account_count != 3 || !read_marker(target, &marker) ||
	    strcmp(target->accounts[2].user, access->chap_user) != 0 ||
	    strcmp(target->outgoing, access->mutual_user) != 0)
		return false;
	fingerprint(marker.salt, access->chap_user, access->chap_secret, in);
	fingerprint(marker.salt, access->mutual_user, access->mutual_secret, out);
	return strcmp(marker.in, in) == 0 && strcmp(marker.out, out) == 0;
}

/* ---- One name, several targets ---- */

static bool has_user(const struct hf_tgt_target *target, const char *user)
{
	for (size_t i = 0; i < target->account_count; i++)
		if (strcmp(target->accounts[i].user, user) == 0)
			return true;
	return strcmp(target->outgoing, user) == 0;
}

static bool other_has_user(const struct hf_tgt_state *state, const struct hf_tgt_target *target,
			   const char *user)
{
	for (size_t i = 0; i < state->target_count; i++)
		if (state->targets[i].tid != target->tid && has_user(&state->targets[i], user))
			return true;
	return false;
}

/* Does the target, which has this user, have it with this secret? */
static bool has_secret(const struct hf_tgt_target *target, const char *user, const char *secret)
{
	struct marker marker;
	char print[PRINT_TEXT];

	if (!read_marker(target, &marker))
		return false;
	fingerprint(marker.salt, user, secret, print);
	return strcmp(strcmp(target->outgoing, user) == 0 ? marker.out : marker.in, print) == 0;
}

static int check_shared(struct hf_operation *op, const struct hf_tgt_state *state,
			const struct hf_tgt_target *target, const char *user, const char *secret)
{
	for (size_t i = 0; user[0] && i < state->target_count; i++) {
		const struct hf_tgt_target *other = &state->targets[i];

		if (other->tid != target->tid && has_user(other, user) &&
		    !has_secret(other, user, secret))
			return hf_fail(op->message, HF_EBUSY,
				       "CHAP user %s has another secret on %s: one name, one "
				       "secret on a gateway",
				       user, other->name);
	}
	return 0;
}

/* ---- Steps ---- */

static int account(struct hf_operation *op, enum hf_tgt_op verb, int32_t tid,
		   enum hf_tgt_direction direction, const char *user, uint32_t tolerated)
{
	static const char *const what[] = {
		[HF_TGT_DELETE] = "delete an account",
		[HF_TGT_BIND] = "bind an account",
		[HF_TGT_UNBIND] = "unbind an account",
	};
	char parameters[HF_TGT_ACCOUNT_MAX + 8];
	const struct hf_tgt_request request = {.mode = HF_TGT_ACCOUNT,
					       .op = verb,
					       .tid = tid,
					       .direction = direction,
					       .parameters = parameters};

	snprintf(parameters, sizeof parameters, "user=%s", user);
	return hf_op_ask(op, &request, tolerated, what[verb], NULL);
}

/* Makes an account; one of that name that nobody else uses is replaced. */
static int make_account(struct hf_operation *op, const char *user, const char *secret,
			bool keep_existing)
{
	char parameters[HF_TGT_ACCOUNT_MAX + 256];
	const struct hf_tgt_request request = {
		.mode = HF_TGT_ACCOUNT, .op = HF_TGT_NEW, .parameters = parameters};
	int err = 0, n;

	if (!keep_existing)
		err = account(op, HF_TGT_DELETE, 0, HF_TGT_INCOMING, user, HF_TGT_NO_USER);
	if (err)
		return err;
	n = snprintf(parameters, sizeof parameters, "user=%s,password=%s", user, secret);
	if (n < 0 || (size_t)n >= sizeof parameters)
		err = hf_fail(op->message, HF_ETOOBIG, "the account is too long");
	else
		err = hf_op_ask(op, &request, keep_existing ? HF_TGT_USER_EXISTS : HF_TGT_OK,
				"create an account", NULL);
	OPENSSL_cleanse(parameters, sizeof parameters);
	return err;
}

/* An account that nobody can use. */
static int make_dummy(struct hf_operation *op, const char *user)
{
	char secret[65];
	int err;

	random_hex(secret, 32);
	err = make_account(op, user, secret, true);
	OPENSSL_cleanse(secret, sizeof secret);
	return err;
}

/* Takes the accounts out from the end, down to `keep`. */
static int unbind_from_end(struct hf_operation *op, const struct hf_tgt_target *target, size_t keep)
{
	int err = 0;

	for (size_t i = target->account_count; err == 0 && i > keep; i--)
		err = account(op, HF_TGT_UNBIND, target->tid, HF_TGT_INCOMING,
			      target->accounts[i - 1].user, HF_TGT_NO_USER);
	if (err == 0 && target->outgoing[0])
		err = account(op, HF_TGT_UNBIND, target->tid, HF_TGT_OUTGOING, target->outgoing,
			      HF_TGT_NO_USER);
	return err;
}

static void make_marker(const Holdfast__BrokerAccess *access, char user[HF_TGT_ACCOUNT_MAX])
{
	struct marker marker;

	random_hex(marker.salt, SALT_BYTES);
	fingerprint(marker.salt, access->chap_user, access->chap_secret, marker.in);
	fingerprint(marker.salt, access->mutual_user, access->mutual_secret, marker.out);
	snprintf(user, HF_TGT_ACCOUNT_MAX, MARK "%s-%s-%s", marker.salt, marker.in, marker.out);
}

static int bind_new(struct hf_operation *op, const struct hf_tgt_state *state,
		    const struct hf_tgt_target *target, const Holdfast__BrokerAccess *access)
{
	char marker[HF_TGT_ACCOUNT_MAX];
	int32_t tid = target->tid;
	int err;

	make_marker(access, marker);
	err = make_dummy(op, marker);
	if (err == 0)
		err = make_account(op, access->chap_user, access->chap_secret,
				   other_has_user(state, target, access->chap_user));
	if (err == 0 && access->mutual_user[0])
		err = make_account(op, access->mutual_user, access->mutual_secret,
				   other_has_user(state, target, access->mutual_user));
	if (err == 0 && access->mutual_user[0])
		err = account(op, HF_TGT_BIND, tid, HF_TGT_OUTGOING, access->mutual_user,
			      HF_TGT_OK);
	if (err == 0)
		err = account(op, HF_TGT_BIND, tid, HF_TGT_INCOMING, marker, HF_TGT_OK);
	if (err == 0)
		err = account(op, HF_TGT_BIND, tid, HF_TGT_INCOMING, access->chap_user, HF_TGT_OK);
	return err;
}

static void forget(struct hf_operation *op, const struct hf_tgt_state *state,
		   const struct hf_tgt_target *target, const char *user,
		   const Holdfast__BrokerAccess *access)
{
	if (!user[0] || strcmp(user, GUARD) == 0 || other_has_user(state, target, user) ||
	    (access &&
	     (strcmp(user, access->chap_user) == 0 || strcmp(user, access->mutual_user) == 0)))
		return;
	account(op, HF_TGT_DELETE, 0, HF_TGT_INCOMING, user, HF_TGT_NO_USER);
}

static void forget_all(struct hf_operation *op, const struct hf_tgt_state *state,
		       const struct hf_tgt_target *target, const Holdfast__BrokerAccess *access)
{
	for (size_t i = 0; i < target->account_count; i++)
		forget(op, state, target, target->accounts[i].user, access);
	forget(op, state, target, target->outgoing, access);
}

void hf_accounts_forget(struct hf_operation *op, const struct hf_tgt_state *state,
			const struct hf_tgt_target *target)
{
	forget_all(op, state, target, NULL);
}

int hf_accounts_set(struct hf_operation *op, const struct hf_tgt_state *state,
		    const struct hf_tgt_target *target, const Holdfast__BrokerAccess *access)
{
	int err;

	if (target->account_count > 0 && !is_guarded(target))
		return hf_fail(op->message, HF_EPROTO,
			       "%s has accounts that are not the broker's: delete the target",
			       target->name);
	err = check_shared(op, state, target, access->chap_user, access->chap_secret);
	if (err == 0)
		err = check_shared(op, state, target, access->mutual_user, access->mutual_secret);
	if (err)
		return err;
	if (!access->chap_user[0]) {
		err = unbind_from_end(op, target, 0);
	} else {
		if (!is_guarded(target))
			err = make_dummy(op, GUARD);
		if (err == 0 && !is_guarded(target))
			err = account(op, HF_TGT_BIND, target->tid, HF_TGT_INCOMING, GUARD,
				      HF_TGT_OK);
		if (err == 0)
			err = unbind_from_end(op, target, 1);
		if (err == 0)
			err = bind_new(op, state, target, access);
	}
	if (err == 0)
		forget_all(op, state, target, access);
	return err;
}
