/* Opening a volume, third part: the headers of all counted objects, several GETs at once, taken
 * into table and map in order. Every header has to continue where the one before ended, and every
 * link of the chain to end where the base says. Core's thread. */
#include "remote/remote_impl.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static void step(struct hf_opening *opening);

/* ---- Which objects --------------------------------------------------------------------------- */

/* The next object in order; false past the last one. */
static bool next_object(struct hf_opening *opening, struct hf_object_id *id)
{
	const struct hf_base *base = &opening->base;

	*id = base->id;
	while (opening->at_link < base->link_count &&
	       opening->at_object >= base->links[opening->at_link].last_object) {
		opening->at_link++;
		opening->at_object = 0;
	}
	if (opening->at_link < base->link_count) {
		id->epoch = base->links[opening->at_link].epoch;
		id->start = base->links[opening->at_link].start;
	} else if (opening->at_object >= opening->run) {
		return false;
	}
	id->sequence = ++opening->at_object;
	return true;
}

/* ---- One header ------------------------------------------------------------------------------ */

static void get_header(struct hf_header_get *get, size_t length)
{
	struct hf_store_io *io = &get->retry.io;

	*io = (struct hf_store_io){.op = HF_STORE_GET, .range_length = length};
	hf_name_object(io->name, &get->id);
	get->busy = true;
	hf_retry_start(&get->retry);
}

static void fail_header(struct hf_header_get *get, int status)
{
	struct hf_opening *opening = get->opening;

	if (opening->header_status)
		return; /* the first failure is the one to tell */
	opening->header_status = status;
	if (status == HF_ENOENT) {
		opening->header_status = HF_ECORRUPT;
		hf_fail(&opening->open->message, HF_ECORRUPT,
			"object %s is missing, though the volume counts it", get->retry.io.name);
	} else if (status == HF_ECANCELED) {
		hf_fail(&opening->open->message, status, "the opening was cancelled");
	} else if (status == HF_ECORRUPT || status == HF_EAUTH || status == HF_EUNSUPPORTED) {
		hf_fail_in(&opening->open->message, status, "object %s", get->retry.io.name);
	} else {
		hf_fail(&opening->open->message, status, "reading object %s: %s",
			get->retry.io.name,
			hf_err_text(get->retry.last_error ? get->retry.last_error : status));
	}
	hf_opening_cancel_headers(opening);
}

static void take_header(struct hf_header_get *get)
{
	const struct hf_store_io *io = &get->retry.io;
	struct hf_opening *opening = get->opening;
	struct hf_errmsg *message = &opening->open->message;
	size_t header_bytes;
	int err;

	if (opening->header_status)
		return;
	err = hf_sealed_header_bytes(&get->id, HF_SEALED_OBJECT, io->body, io->body_length,
				     &header_bytes, message);
	if (!err && header_bytes > io->body_length && io->body_length == HF_OBJECT_FIRST_GET) {
		free(get->retry.io.body);
		get_header(get, header_bytes);
		return;
	}
	if (!err)
		err = hf_object_decode_header(&get->id, opening->remote->data_key, io->body,
					      io->body_length, &get->header, &get->object, message);
	if (err)
		fail_header(get, err == HF_EAUTH ? HF_ECORRUPT : err);
	else
		get->ready = true;
}

static void header_got(struct hf_retry *retry, int status)
{
	struct hf_header_get *get = hf_container_of(retry, struct hf_header_get, retry);
	struct hf_opening *opening = get->opening;

	HF_CHECK_MAGIC(opening, HF_OPENING_MAGIC);
	get->busy = false;
	if (status)
		fail_header(get, status);
	else
		take_header(get);
	if (get->busy)
		return; /* a longer header: the second GET is under way */
	free(retry->io.body);
	retry->io.body = NULL;
	step(opening);
}

/* ---- In order, into the map ------------------------------------------------------------------ */

static int check_order(struct hf_opening *opening, const struct hf_header_get *get)
{
	const struct hf_chain_link *link = get->link;

	if (get->header.first_sequence != opening->remote->recovery_point + 1)
		return hf_fail(&opening->open->message, HF_ECORRUPT,
			       "begins with write %" PRIu64 ", the one before ends with %" PRIu64,
			       get->header.first_sequence, opening->remote->recovery_point);
	if (link && link->last_object == get->id.sequence &&
	    link->last_sequence != get->header.last_sequence)
		return hf_fail(&opening->open->message, HF_ECORRUPT,
			       "ends with write %" PRIu64 ", the base says %" PRIu64,
			       get->header.last_sequence, link->last_sequence);
	return 0;
}

static int add_to_map(struct hf_remote *remote, struct hf_header_get *get)
{
	uint32_t done = 0;
	int err = hf_remote_add_object(remote, &get->object);

	if (err)
		return err;
	get->header.chunks = NULL; /* taken over */
	get->opening->open->headers_read++;
	remote->uncovered_header_bytes +=
		hf_object_body_bytes(get->header.extent_count, get->header.chunk_count);
	if (get->header.volume_size_bytes > remote->size_bytes)
		remote->size_bytes = get->header.volume_size_bytes;
	return hf_remote_add_extents(remote, &get->header, &done);
}

static void free_header(struct hf_header_get *get)
{
	free(get->header.extents);
	free(get->header.chunks);
	get->header.extents = NULL;
	get->header.chunks = NULL;
	get->ready = false;
}

static void take_first(struct hf_opening *opening)
{
	struct hf_header_get *get = &opening->gets[opening->first_get];
	int err = check_order(opening, get);

	if (!err && (err = add_to_map(opening->remote, get)) != 0)
		hf_fail(&opening->open->message, err, "%s", hf_err_text(err));
	if (err)
		fail_header(get, err);
	free_header(get);
	opening->first_get = (opening->first_get + 1) % HF_OPENING_GETS;
	opening->get_count--;
}

/* ---- All of them ----------------------------------------------------------------------------- */

static void fill_window(struct hf_opening *opening)
{
	struct hf_object_id id;

	while (opening->get_count < HF_OPENING_GETS && next_object(opening, &id)) {
		unsigned at = (opening->first_get + opening->get_count++) % HF_OPENING_GETS;
		struct hf_header_get *get = &opening->gets[at];

		*get = (struct hf_header_get){
			.opening = opening,
			.id = id,
			.link = opening->at_link < opening->base.link_count
					? &opening->base.links[opening->at_link]
					: NULL,
			.retry = {.env = opening->remote->env,
				  .deadline_ns = opening->retry.deadline_ns,
				  .permission_is_final = opening->retry.permission_is_final,
				  .done = header_got},
		};
		get_header(get, HF_OBJECT_FIRST_GET);
	}
}

static bool any_busy(const struct hf_opening *opening)
{
	for (unsigned i = 0; i < HF_OPENING_GETS; i++)
		if (opening->gets[i].busy)
			return true;
	return false;
}

static void step(struct hf_opening *opening)
{
	while (!opening->header_status && opening->get_count &&
	       opening->gets[opening->first_get].ready)
		take_first(opening);
	if (!opening->header_status)
		fill_window(opening);
	if (opening->header_status) {
		if (any_busy(opening))
			return;
		for (unsigned i = 0; i < HF_OPENING_GETS; i++)
			free_header(&opening->gets[i]);
		hf_opening_fail(opening, opening->header_status);
	} else if (opening->get_count == 0) {
		hf_opening_seal(opening);
	}
}

void hf_opening_read_headers(struct hf_opening *opening)
{
	step(opening);
}

void hf_opening_cancel_headers(struct hf_opening *opening)
{
	for (unsigned i = 0; i < HF_OPENING_GETS; i++)
		if (opening->gets[i].busy)
			hf_retry_cancel(&opening->gets[i].retry);
}
