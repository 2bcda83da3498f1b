/* Opening a volume, first part: the key ring, the claim, the tombstone. Each step is one store
 * operation whose answer starts the next. Core's thread.
 *
 *   key ring ──claiming──▶ list claims ──▶ read the newest ──▶ create the next ─┐
 *      │                        ▲  ▲        (its epoch above ours: fenced)      │
 *      │                        │  └───────────── exists, not ours ─────────────┤
 *      └──reading──▶ tombstone ─┘                                       ours ▼
 *                                                                       tombstone
 *   then remote_chain.c: base, newest checkpoint (remote_map.c), run, headers (remote_headers.c),
 * own base, last look at the claims
 *
 * The claim comes before every list whose result matters: what an older incarnation counted was in
 * the store before the claim was, so the list shows it. */
#include "remote/remote_impl.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- Steps in general ------------------------------------------------------------------------ */

struct hf_store_io *hf_opening_io(struct hf_opening *opening, enum hf_store_op op)
{
	opening->retry.io = (struct hf_store_io){.op = op};
	return &opening->retry.io;
}

void hf_opening_submit(struct hf_opening *opening, void (*done)(struct hf_retry *retry, int))
{
	opening->retry.done = done;
	hf_retry_start(&opening->retry);
}

void hf_opening_resubmit_plain(struct hf_opening *opening)
{
	HF_ASSERT(opening->retry.io.op == HF_STORE_PUT);
	opening->retry.io.if_absent = false;
	hf_retry_start(&opening->retry);
}

static void opening_end(struct hf_opening *opening, int status)
{
	struct hf_remote_open *open = opening->open;

	hf_base_free(&opening->base);
	free(opening->base_bytes);
	free(opening->maps);
	opening->magic = 0;
	free(opening);
	open->impl = NULL;
	open->status = status;
	open->opened(open);
}

void hf_opening_fail(struct hf_opening *opening, int status)
{
	HF_ASSERT(status);
	hf_remote_free(opening->remote);
	opening_end(opening, status);
}

void hf_opening_succeed(struct hf_opening *opening)
{
	struct hf_remote_open *open = opening->open;
	struct hf_remote *remote = opening->remote;

	remote->trouble = 0;
	remote->open = true;
	remote->next_sequence = remote->recovery_point + 1;
	if (open->claim)
		hf_look_when_idle(remote);
	open->remote = remote;
	open->size_bytes = remote->size_bytes;
	opening_end(opening, 0);
}

struct hf_opening *hf_opening_of(struct hf_retry *retry, int status)
{
	static const char *const verbs[] = {"reading", "writing"};
	struct hf_opening *opening = hf_container_of(retry, struct hf_opening, retry);
	struct hf_errmsg *message = &opening->open->message;
	const char *verb = verbs[retry->io.op == HF_STORE_PUT];

	HF_CHECK_MAGIC(opening, HF_OPENING_MAGIC);
	if (status == 0 || status == HF_EEXIST || status == HF_ENOENT ||
	    (status == HF_EUNSUPPORTED && retry->io.if_absent))
		return opening;
	if (status == HF_ECANCELED)
		hf_fail(message, status, "the opening was cancelled");
	else if (status == HF_ETIMEDOUT && retry->last_error)
		hf_fail(message, status, "%s %s in the store: deadline passed, last error: %s",
			verb, retry->io.name, hf_err_text(retry->last_error));
	else
		hf_fail(message, status, "%s %s in the store: %s", verb, retry->io.name,
			hf_err_text(status));
	hf_opening_fail(opening, status);
	return NULL;
}

/* "NAME: <why>" with the name of the operation that just ended. */
static void fail_at(struct hf_opening *opening, int status)
{
	hf_fail_in(&opening->open->message, status, "%s", opening->retry.io.name);
	hf_opening_fail(opening, status);
}

/* ---- Tombstone ------------------------------------------------------------------------------- */

static void list_claims(struct hf_opening *opening, const char *after);

static void tombstone_read(struct hf_retry *retry, int status)
{
	struct hf_opening *opening = hf_opening_of(retry, status);

	if (!opening)
		return;
	free(retry->io.body);
	if (status == 0) {
		hf_fail(&opening->open->message, HF_ENOENT, "%s: the volume is being deleted",
			retry->io.name);
		hf_opening_fail(opening, HF_ENOENT);
	} else if (opening->open->claim) {
		hf_opening_find_base(opening, opening->remote->self.start - 1);
	} else {
		list_claims(opening, "");
	}
}

static void read_tombstone(struct hf_opening *opening)
{
	const struct hf_remote_open *open = opening->open;

	hf_name_tombstone(hf_opening_io(opening, HF_STORE_GET)->name, open->tenant, open->volume);
	hf_opening_submit(opening, tombstone_read);
}

/* ---- Claim ----------------------------------------------------------------------------------- */

static void read_newest_claim(struct hf_opening *opening);

static void have_claim(struct hf_opening *opening)
{
	opening->remote->self.start = opening->newest_claim;
	opening->remote->claimed = true;
	read_tombstone(opening);
}

static void claim_written(struct hf_retry *retry, int status)
{
	struct hf_opening *opening = hf_opening_of(retry, status);

	if (!opening)
		return;
	if (status == HF_EUNSUPPORTED) {
		hf_opening_resubmit_plain(opening);
		return;
	}
	opening->newest_claim++;
	if (status == 0 && retry->io.if_absent)
		have_claim(opening);
	else
		read_newest_claim(opening); /* somebody's, or ours whose answer was lost */
}

static void write_claim(struct hf_opening *opening)
{
	struct hf_remote *remote = opening->remote;
	uint8_t salt[HF_SALT_BYTES];
	struct hf_store_io *io;

	opening->own.id = remote->self;
	opening->own.id.start = opening->newest_claim + 1;
	opening->own.wall_ms = hf_env_wall_ms(remote->env);
	hf_env_random(remote->env, salt, sizeof salt);
	if (hf_claim_write(&opening->own, remote->data_key, salt, opening->claim_bytes)) {
		hf_fail(&opening->open->message, HF_ENOMEM, "making a claim: out of memory");
		hf_opening_fail(opening, HF_ENOMEM);
		return;
	}
	io = hf_opening_io(opening, HF_STORE_PUT);
	hf_name_claim(io->name, remote->self.tenant, remote->self.volume, opening->own.id.start);
	io->data = opening->claim_bytes;
	io->length = sizeof opening->claim_bytes;
	io->if_absent = true;
	hf_opening_submit(opening, claim_written);
}

static void judge_newest_claim(struct hf_opening *opening, const struct hf_claim *newest)
{
	if (memcmp(newest->nonce, opening->own.nonce, sizeof newest->nonce) == 0) {
		have_claim(opening);
	} else if (newest->id.epoch > opening->remote->self.epoch) {
		hf_fail(&opening->open->message, HF_EFENCED,
			"%s: attach epoch %" PRIu64 " is in force, ours is %" PRIu64,
			opening->retry.io.name, newest->id.epoch, opening->remote->self.epoch);
		hf_opening_fail(opening, HF_EFENCED);
	} else {
		write_claim(opening);
	}
}

static void newest_claim_read(struct hf_retry *retry, int status)
{
	struct hf_opening *opening = hf_opening_of(retry, status);
	struct hf_claim newest;

	if (!opening)
		return;
	if (status == 0)
		status = hf_claim_read(opening->remote->self.tenant, opening->remote->self.volume,
				       opening->newest_claim, opening->remote->data_key,
				       retry->io.body, retry->io.body_length, &newest,
				       &opening->open->message);
	else
		hf_fail(&opening->open->message, status, "gone while the volume is opened");
	free(retry->io.body);
	if (status)
		fail_at(opening, status);
	else
		judge_newest_claim(opening, &newest);
}

static void read_newest_claim(struct hf_opening *opening)
{
	const struct hf_object_id *self = &opening->remote->self;

	hf_name_claim(hf_opening_io(opening, HF_STORE_GET)->name, self->tenant, self->volume,
		      opening->newest_claim);
	hf_opening_submit(opening, newest_claim_read);
}

static void claims_known(struct hf_opening *opening)
{
	if (!opening->open->claim)
		hf_opening_find_base(opening, opening->newest_claim);
	else if (opening->newest_claim)
		read_newest_claim(opening);
	else
		write_claim(opening);
}

static void claims_listed(struct hf_retry *retry, int status)
{
	struct hf_opening *opening = hf_opening_of(retry, status);
	char prefix[HF_STORE_NAME_MAX + 1], after[HF_STORE_NAME_MAX + 1] = "";
	uint64_t number;
	bool more;

	if (!opening)
		return;
	hf_name_claims(prefix, opening->remote->self.tenant, opening->remote->self.volume);
	for (unsigned i = 0; i < retry->io.name_count; i++) {
		memcpy(after, retry->io.names[i].name, sizeof after);
		if (hf_name_number(after, prefix, &number) && number > opening->newest_claim)
			opening->newest_claim = number;
	}
	more = retry->io.more && retry->io.name_count > 0;
	free(retry->io.names);
	if (more)
		list_claims(opening, after);
	else
		claims_known(opening);
}

static void list_claims(struct hf_opening *opening, const char *after)
{
	struct hf_store_io *io = hf_opening_io(opening, HF_STORE_LIST);

	hf_name_claims(io->name, opening->remote->self.tenant, opening->remote->self.volume);
	strcpy(io->after, after);
	hf_opening_submit(opening, claims_listed);
}

/* ---- Key ring -------------------------------------------------------------------------------- */

static void read_keyring(struct hf_opening *opening);

static void keyring_written(struct hf_retry *retry, int status)
{
	struct hf_opening *opening = hf_opening_of(retry, status);

	if (!opening)
		return;
	if (status == HF_EUNSUPPORTED)
		hf_opening_resubmit_plain(opening);
	else
		read_keyring(opening); /* whichever of two creators was first */
}

static void write_keyring(struct hf_opening *opening)
{
	const struct hf_remote_open *open = opening->open;
	uint8_t salt[HF_SALT_BYTES], data_key[HF_KEY_BYTES];
	struct hf_store_io *io;
	int err;

	hf_env_random(open->env, salt, sizeof salt);
	hf_env_random(open->env, data_key, sizeof data_key);
	err = hf_keyring_write(open->tenant, open->volume, open->wrap_key, salt, data_key,
			       opening->keyring);
	hf_crypt_wipe(data_key, sizeof data_key);
	if (err) {
		hf_fail(&opening->open->message, err, "making a key ring: %s", hf_err_text(err));
		hf_opening_fail(opening, err);
		return;
	}
	io = hf_opening_io(opening, HF_STORE_PUT);
	hf_name_keyring(io->name, open->tenant, open->volume);
	io->data = opening->keyring;
	io->length = sizeof opening->keyring;
	io->if_absent = true;
	hf_opening_submit(opening, keyring_written);
}

/* Only where nothing is may a key ring be made: a new one would bury what an old one opens. What is
 * there may be another creator's doing, who made the key ring since we asked: ask once more. */
static void volume_listed(struct hf_retry *retry, int status)
{
	struct hf_opening *opening = hf_opening_of(retry, status);
	char tombstone[HF_STORE_NAME_MAX + 1];

	if (!opening)
		return;
	if (retry->io.name_count)
		memcpy(opening->found, retry->io.names[0].name, sizeof opening->found);
	free(retry->io.names);
	hf_name_tombstone(tombstone, opening->open->tenant, opening->open->volume);
	if (!opening->found[0]) {
		write_keyring(opening);
	} else if (strcmp(opening->found, tombstone) == 0) {
		hf_fail(&opening->open->message, HF_ENOENT, "%s: the volume is being deleted",
			tombstone);
		hf_opening_fail(opening, HF_ENOENT);
	} else {
		read_keyring(opening);
	}
}

static void keyring_missing(struct hf_opening *opening)
{
	const struct hf_remote_open *open = opening->open;
	struct hf_store_io *io;

	if (!open->create) {
		hf_fail(&opening->open->message, HF_ENOENT,
			"no such volume in the store: %s is not there", opening->retry.io.name);
		hf_opening_fail(opening, HF_ENOENT);
		return;
	}
	if (opening->found[0]) {
		hf_fail(&opening->open->message, HF_ECORRUPT,
			"%s is there, but the key ring %s is missing", opening->found,
			opening->retry.io.name);
		hf_opening_fail(opening, HF_ECORRUPT);
		return;
	}
	io = hf_opening_io(opening, HF_STORE_LIST);
	hf_name_volume(io->name, open->tenant, open->volume);
	io->limit = 1;
	hf_opening_submit(opening, volume_listed);
}

/* A volume of the same number but with another key ring is another volume. */
static int name_in_cache(struct hf_remote *remote)
{
	static const uint8_t salt[HF_SALT_BYTES];
	uint8_t name[HF_KEY_BYTES];
	int err = hf_crypt_derive(remote->data_key, salt, "read cache", name);

	memcpy(remote->cache_id, name, sizeof remote->cache_id);
	return err;
}

static void keyring_read(struct hf_retry *retry, int status)
{
	struct hf_opening *opening = hf_opening_of(retry, status);
	const struct hf_remote_open *open;

	if (!opening)
		return;
	if (status == HF_ENOENT) {
		keyring_missing(opening);
		return;
	}
	open = opening->open;
	status = hf_keyring_read(open->tenant, open->volume, open->wrap_key, retry->io.body,
				 retry->io.body_length, opening->remote->data_key,
				 &opening->open->message);
	free(retry->io.body);
	if (status == HF_EAUTH)
		hf_fail(&opening->open->message, status,
			"the key does not open it; give the volume's own key");
	if (!status)
		status = name_in_cache(opening->remote);
	if (status)
		fail_at(opening, status);
	else if (open->claim)
		list_claims(opening, "");
	else
		read_tombstone(opening);
}

static void read_keyring(struct hf_opening *opening)
{
	hf_name_keyring(hf_opening_io(opening, HF_STORE_GET)->name, opening->open->tenant,
			opening->open->volume);
	hf_opening_submit(opening, keyring_read);
}

/* ---- Beginning ------------------------------------------------------------------------------- */

static void no_memory_fired(struct hf_timer *timer)
{
	struct hf_remote_open *open = hf_container_of(timer, struct hf_remote_open, timer);

	open->status = hf_fail(&open->message, HF_ENOMEM, "opening a volume: out of memory");
	open->opened(open);
}

static struct hf_opening *make_opening(struct hf_remote_open *open)
{
	struct hf_opening *opening = calloc(1, sizeof *opening);
	struct hf_remote *remote = opening ? hf_remote_new(open->env, open->maps) : NULL;

	if (!remote) {
		free(opening);
		return NULL;
	}
	opening->magic = HF_OPENING_MAGIC;
	opening->open = open;
	opening->remote = remote;
	opening->retry.env = open->env;
	opening->retry.deadline_ns = open->deadline_ns;
	opening->retry.permission_is_final = open->deadline_ns != 0;
	remote->self.tenant = open->tenant;
	remote->self.volume = open->volume;
	remote->self.epoch = open->attach_epoch;
	remote->cache = open->cache;
	hf_checkpoint_settings(remote, &open->checkpoints);
	remote->advanced_cb = open->advanced;
	remote->fenced_cb = open->fenced;
	remote->context = open->context;
	remote->look_interval_ns =
		(open->claims_look_ms ? open->claims_look_ms : 2000) * HF_NS_PER_MS;
	return opening;
}

void hf_remote_open_start(struct hf_remote_open *open)
{
	struct hf_opening *opening;

	HF_ASSERT(open->tenant && open->volume && open->opened);
	open->remote = NULL;
	open->status = 0;
	open->map_damaged = false;
	open->headers_read = 0;
	open->message.text[0] = '\0';
	open->impl = opening = make_opening(open);
	if (!opening) {
		open->timer.fired = no_memory_fired;
		hf_env_timer_set(open->env, &open->timer, hf_env_now_ns(open->env));
		return;
	}
	hf_env_random(open->env, opening->own.nonce, sizeof opening->own.nonce);
	read_keyring(opening);
}

void hf_remote_open_cancel(struct hf_remote_open *open)
{
	struct hf_opening *opening = open->impl;

	if (!opening)
		return;
	HF_CHECK_MAGIC(opening, HF_OPENING_MAGIC);
	hf_retry_cancel(&opening->retry);
	hf_opening_cancel_headers(opening);
}
