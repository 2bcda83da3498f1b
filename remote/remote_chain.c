/* Opening a volume, second part: find the newest incarnation before ours that has a base, see how
 * far the run of its own objects goes past the newest checkpoint (remote_map.c), have the headers
 * of what is newer read (remote_headers.c), then seal our own base and look at the claims once
 * more. Core's thread.
 *
 *   claim N-1 ──▶ its base ──there──▶ checkpoint ──▶ list its objects ──▶ headers ──▶ own base ──▶
 *      ▲             │ not there: it never began                             │      look ──▶ open
 *      └── N-2, … ───┘                                                       └──reader──▶ open
 */
#include "remote/remote_impl.h"
#include "base/log.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- Own base, last look --------------------------------------------------------------------- */

static void last_look_done(struct hf_retry *retry, int status)
{
	struct hf_opening *opening = hf_opening_of(retry, status);
	char prefix[HF_STORE_NAME_MAX + 1];
	uint64_t number, highest = 0;

	if (!opening)
		return;
	hf_name_claims(prefix, opening->remote->self.tenant, opening->remote->self.volume);
	for (unsigned i = 0; i < retry->io.name_count; i++)
		if (hf_name_number(retry->io.names[i].name, prefix, &number) && number > highest)
			highest = number;
	free(retry->io.names);
	if (highest == opening->remote->self.start) {
		hf_opening_succeed(opening);
		return;
	}
	if (highest)
		hf_fail(&opening->open->message, HF_EFENCED,
			"%s%016" PRIx64 " was claimed while we opened as %016" PRIx64, prefix,
			highest, opening->remote->self.start);
	else
		hf_fail(&opening->open->message, HF_ENOENT, "%s: the volume is being deleted",
			prefix);
	hf_opening_fail(opening, highest ? HF_EFENCED : HF_ENOENT);
}

static void last_look(struct hf_opening *opening)
{
	const struct hf_object_id *self = &opening->remote->self;
	struct hf_store_io *io = hf_opening_io(opening, HF_STORE_LIST);

	hf_name_claims(io->name, self->tenant, self->volume);
	hf_name_claim(io->after, self->tenant, self->volume, self->start - 1);
	io->limit = 2;
	hf_opening_submit(opening, last_look_done);
}

static void own_base_read(struct hf_retry *retry, int status)
{
	struct hf_opening *opening = hf_opening_of(retry, status);
	bool same;

	if (!opening)
		return;
	same = status == 0 && retry->io.body_length == opening->base_length &&
	       memcmp(retry->io.body, opening->base_bytes, opening->base_length) == 0;
	free(retry->io.body);
	if (same) {
		last_look(opening);
		return;
	}
	hf_fail(&opening->open->message, HF_ECORRUPT, "%s: exists and is not ours", retry->io.name);
	hf_opening_fail(opening, HF_ECORRUPT);
}

static void own_base_written(struct hf_retry *retry, int status)
{
	struct hf_opening *opening = hf_opening_of(retry, status);

	if (!opening)
		return;
	if (status == HF_EUNSUPPORTED) {
		hf_opening_resubmit_plain(opening);
	} else if (status == HF_EEXIST) {
		hf_name_base(hf_opening_io(opening, HF_STORE_GET)->name, &opening->remote->self);
		hf_opening_submit(opening, own_base_read);
	} else {
		last_look(opening);
	}
}

/* What we continue from: the base before, and what of its own incarnation is there. */
static int make_base(struct hf_opening *opening)
{
	struct hf_remote *remote = opening->remote;
	const struct hf_chain_link own = {
		.epoch = opening->base.id.epoch,
		.start = opening->base.id.start,
		.first_object = 1,
		.last_object = opening->run,
		.last_sequence = remote->recovery_point,
	};
	uint8_t salt[HF_SALT_BYTES];
	int err = opening->run ? hf_base_add_link(&opening->base, &own) : 0;

	if (err)
		return err;
	opening->base.id = remote->self;
	opening->base.size_bytes = remote->size_bytes;
	opening->base.recovery_point = remote->recovery_point;
	opening->base.wall_ms = hf_env_wall_ms(remote->env);
	opening->base.checkpoint = (struct hf_object_id){0};
	if (remote->root)
		opening->base.checkpoint =
			hf_map_root_object(remote->root, remote->root->number)->id;
	hf_env_random(remote->env, salt, sizeof salt);
	return hf_base_write(&opening->base, remote->data_key, salt, &opening->base_bytes,
			     &opening->base_length);
}

static int settle_size(struct hf_opening *opening)
{
	struct hf_remote *remote = opening->remote;
	uint64_t asked = opening->open->size_bytes;

	if (asked == 0 && remote->size_bytes == 0)
		return hf_fail(&opening->open->message, HF_EINVAL,
			       "a volume without a size cannot be started");
	if (asked != 0 && asked < remote->size_bytes)
		return hf_fail(&opening->open->message, HF_EINVAL,
			       "the volume has %" PRIu64 " bytes in the store, asked were %" PRIu64
			       "; it may only grow",
			       remote->size_bytes, asked);
	if (asked)
		remote->size_bytes = asked;
	return 0;
}

void hf_opening_seal(struct hf_opening *opening)
{
	struct hf_store_io *io;
	int err;

	if (!opening->open->claim) {
		hf_opening_succeed(opening);
		return;
	}
	err = settle_size(opening);
	if (!err && (err = make_base(opening)) != 0)
		hf_fail(&opening->open->message, err, "making a base: %s", hf_err_text(err));
	if (err) {
		hf_opening_fail(opening, err);
		return;
	}
	io = hf_opening_io(opening, HF_STORE_PUT);
	hf_name_base(io->name, &opening->remote->self);
	io->data = opening->base_bytes;
	io->length = opening->base_length;
	io->if_absent = true;
	hf_opening_submit(opening, own_base_written);
}

/* ---- The run of the base's own incarnation --------------------------------------------------- */

static void list_run(struct hf_opening *opening, const char *after);

static void run_listed(struct hf_retry *retry, int status)
{
	struct hf_opening *opening = hf_opening_of(retry, status);
	char prefix[HF_STORE_NAME_MAX + 1], after[HF_STORE_NAME_MAX + 1] = "";
	uint64_t number;
	bool gap = false;

	if (!opening)
		return;
	hf_name_incarnation(prefix, &opening->base.id);
	for (unsigned i = 0; i < retry->io.name_count && !gap; i++) {
		memcpy(after, retry->io.names[i].name, sizeof after);
		if (!hf_name_number(after, prefix, &number))
			continue;
		gap = number != opening->run + 1;
		opening->run += !gap;
		if (gap)
			hf_warn("object %s is there, but not all before it: nothing past object "
				"%016" PRIx64 " of that start counts",
				after, opening->run);
	}
	gap = gap || !retry->io.more || !retry->io.name_count;
	free(retry->io.names);
	if (gap)
		hf_opening_read_headers(opening);
	else
		list_run(opening, after);
}

static void list_run(struct hf_opening *opening, const char *after)
{
	struct hf_store_io *io = hf_opening_io(opening, HF_STORE_LIST);

	hf_name_incarnation(io->name, &opening->base.id);
	strcpy(io->after, after);
	hf_opening_submit(opening, run_listed);
}

void hf_opening_list_run(struct hf_opening *opening)
{
	char after[HF_STORE_NAME_MAX + 1] = "";
	struct hf_object_id last = opening->base.id;

	last.sequence = opening->run;
	if (opening->run)
		hf_name_object(after, &last);
	list_run(opening, after);
}

/* ---- The newest base before ours ------------------------------------------------------------- */

static void read_candidate(struct hf_opening *opening);

static void base_found(struct hf_opening *opening)
{
	struct hf_remote *remote = opening->remote;

	opening->has_base = true;
	remote->size_bytes = opening->base.size_bytes;
	if (!opening->open->claim)
		remote->self = opening->base.id;
	hf_opening_find_map(opening);
}

static void base_read(struct hf_retry *retry, int status)
{
	struct hf_opening *opening = hf_opening_of(retry, status);
	int err;

	if (!opening)
		return;
	if (status == HF_ENOENT) { /* claimed, and never began */
		opening->candidate.start--;
		read_candidate(opening);
		return;
	}
	err = hf_base_read(&opening->candidate, opening->remote->data_key, retry->io.body,
			   retry->io.body_length, &opening->base, &opening->open->message);
	free(retry->io.body);
	if (err) {
		hf_fail_in(&opening->open->message, err, "%s", retry->io.name);
		hf_opening_fail(opening, err);
		return;
	}
	base_found(opening);
}

static void candidate_read(struct hf_retry *retry, int status)
{
	struct hf_opening *opening = hf_opening_of(retry, status);
	struct hf_claim claim;
	int err;

	if (!opening)
		return;
	if (status == HF_ENOENT) {
		opening->candidate.start--;
		read_candidate(opening);
		return;
	}
	err = hf_claim_read(opening->candidate.tenant, opening->candidate.volume,
			    opening->candidate.start, opening->remote->data_key, retry->io.body,
			    retry->io.body_length, &claim, &opening->open->message);
	free(retry->io.body);
	if (err) {
		hf_fail_in(&opening->open->message, err, "%s", retry->io.name);
		hf_opening_fail(opening, err);
		return;
	}
	opening->candidate.epoch = claim.id.epoch;
	hf_name_base(hf_opening_io(opening, HF_STORE_GET)->name, &opening->candidate);
	hf_opening_submit(opening, base_read);
}

static void read_candidate(struct hf_opening *opening)
{
	const struct hf_object_id *candidate = &opening->candidate;

	if (candidate->start > 0) {
		hf_name_claim(hf_opening_io(opening, HF_STORE_GET)->name, candidate->tenant,
			      candidate->volume, candidate->start);
		hf_opening_submit(opening, candidate_read);
	} else if (opening->open->claim) {
		hf_opening_seal(opening); /* a volume that never began: nothing to continue */
	} else {
		hf_fail(&opening->open->message, HF_ENOENT,
			"the volume has a key ring, but no gateway has started it yet");
		hf_opening_fail(opening, HF_ENOENT);
	}
}

void hf_opening_find_base(struct hf_opening *opening, uint64_t newest_start)
{
	opening->candidate = (struct hf_object_id){
		.tenant = opening->remote->self.tenant,
		.volume = opening->remote->self.volume,
		.start = newest_start,
	};
	read_candidate(opening);
}
