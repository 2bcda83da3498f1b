/* From desired state to a signed document: build it from the registry (publish_build.c), have the
 * signer seal, number and sign it, store it, give a hint. Desired state is committed first, with
 * its generation; a gateway whose newest generation has no document yet is found again every
 * second, so neither a crash nor an absent signer loses a change (invariant 4).
 *
 * Gateways wait in one list and go to the signer in batches: one sync of its and one transaction of
 * ours for up to BATCH_MAX of them, and what comes while two batches are under way makes the next.
 * Loop's thread. */
#include "provider/control/publish.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/ids.h"
#include "base/log.h"
#include "proto/document.pb-c.h"

#define PUBLISHING_MAGIC 0x7075626cu
#define BATCH_MAGIC      0x62617463u
#define BATCH_MAX        512u
#define BATCH_BYTES      (1u << 20) /* of documents; one alone may have more */
#define BATCHES_MAX      2u         /* at the signer at once */
#define WAITING_MAX      (BATCHES_MAX * BATCH_MAX)
#define AFTER_REFUSAL_MS 1000u
#define REFUSALS_MAX     4u /* each doubles the wait */

struct publishing {
	uint32_t magic;
	struct hf_list entry;
	uint64_t gateway, incarnation, generation;
	bool at_signer, again;  /* again: it changed since the document was built */
	unsigned refusals;      /* in a row */
	uint64_t not_before_ms; /* loop's clock: it was refused, and another try comes later */
};

struct batch {
	uint32_t magic;
	struct hf_control *control;
	struct publishing *parts[BATCH_MAX];
	size_t count;
};

/* ---- The list ---- */

static struct publishing *find(struct hf_control *control, uint64_t gateway)
{
	hf_list_for_each (cursor, &control->publishing) {
		struct publishing *p = hf_container_of(cursor, struct publishing, entry);

		HF_CHECK_MAGIC(p, PUBLISHING_MAGIC);
		if (p->gateway == gateway)
			return p;
	}
	return NULL;
}

static void drop(struct hf_control *control, struct publishing *p)
{
	hf_list_remove(&p->entry);
	control->publishing_count--;
	p->magic = 0;
	free(p);
}

/* Whom the signer refused waits in the list for another try, but not in the way of others. */
static bool make_room(struct hf_control *control)
{
	hf_list_for_each (cursor, &control->publishing) {
		struct publishing *p = hf_container_of(cursor, struct publishing, entry);

		if (p->at_signer || p->not_before_ms <= uv_now(control->loop))
			continue;
		drop(control, p);
		return true;
	}
	return false;
}

/* False: there is no room; it is found again by a tick. */
static bool add(struct hf_control *control, uint64_t gateway, bool may_displace)
{
	struct publishing *p;

	if (find(control, gateway))
		return true;
	if (control->publishing_count == WAITING_MAX && !(may_displace && make_room(control)))
		return false;
	p = calloc(1, sizeof *p);
	HF_ASSERT(p);
	p->magic = PUBLISHING_MAGIC;
	p->gateway = gateway;
	hf_list_push_back(&control->publishing, &p->entry);
	control->publishing_count++;
	return true;
}

/* ---- Storing ---- */

/* The hash of the document inside what the signer gave back. */
static int hash_inside(const ProtobufCBinaryData *bytes, uint8_t hash[HF_HASH_BYTES])
{
	Holdfast__Signed *outer = holdfast__signed__unpack(NULL, bytes->len, bytes->data);
	Holdfast__Change *change =
		outer ? holdfast__change__unpack(NULL, outer->body.len, outer->body.data) : NULL;
	int err = HF_EPROTO;

	if (change && change->kind_case == HOLDFAST__CHANGE__KIND_DOCUMENT) {
		hf_sha256(change->document.data, change->document.len, hash);
		err = 0;
	}
	if (change)
		holdfast__change__free_unpacked(change, NULL);
	if (outer)
		holdfast__signed__free_unpacked(outer, NULL);
	return err;
}

static int store_document(struct hf_control *control, const struct publishing *p,
			  const ProtobufCBinaryData *bytes)
{
	struct hf_reg_document document = {
		.gateway = p->gateway,
		.incarnation = p->incarnation,
		.generation = p->generation,
		.bytes = bytes->data,
		.length = bytes->len,
	};
	int err = hash_inside(bytes, document.hash);

	if (!err)
		err = hf_publish_delta(control, &document);
	/* What came before is damaged: whoever has it gets the whole. */
	if (err == HF_ECORRUPT)
		err = 0;
	if (!err)
		err = hf_registry_document_put(control->reg, &document);
	/* Somebody else stored this one, or a newer one. */
	return err == HF_ESTALE ? 0 : err;
}

/* All that were signed, in one transaction. */
static int store_all(struct batch *batch, const Holdfast__SignerAnswer *answer)
{
	struct hf_control *control = batch->control;
	int err = hf_registry_begin(control->reg);

	if (err)
		return err;
	for (size_t i = 0; !err && i < batch->count; i++)
		if (answer->results[i]->error == 0)
			err = store_document(control, batch->parts[i],
					     &answer->results[i]->signed_change);
	return hf_registry_end(control->reg, err);
}

/* ---- The signer's answer ---- */

static void note_presence(struct hf_control *control, int err)
{
	if (err != HF_ECONN && err != HF_ETIMEDOUT) {
		control->signer_away_since_ms = 0;
	} else if (control->signer_away_since_ms == 0) {
		control->signer_away_since_ms = hf_control_wall_ms();
		hf_warn("the signer is away; changes wait for it");
	}
}

static void note_problem(struct hf_control *control, const struct publishing *p, const char *text)
{
	char id[HF_ID_TEXT_MAX];

	snprintf(control->publish_problem, sizeof control->publish_problem, "%s", text);
	hf_error("%s generation %" PRIu64 " is not published: %s",
		 hf_id_format(HF_ID_GATEWAY, p->gateway, id), p->generation, text);
}

/* One of the batch: published, refused, or to be asked again. */
static void conclude(struct hf_control *control, struct publishing *p,
		     const Holdfast__SignerResult *result)
{
	bool again = p->again || result->error == -HF_EAGAIN;
	char id[HF_ID_TEXT_MAX];

	if (result->error == 0) {
		hf_debug("%s has generation %" PRIu64, hf_id_format(HF_ID_GATEWAY, p->gateway, id),
			 p->generation);
		hf_route_notify(control->route, p->gateway);
	} else if (result->error != -HF_EAGAIN) {
		note_problem(control, p, result->reason);
		p->not_before_ms = uv_now(control->loop) + (AFTER_REFUSAL_MS << p->refusals);
		if (p->refusals < REFUSALS_MAX)
			p->refusals++;
	}
	p->at_signer = p->again = false;
	if (again)
		p->not_before_ms = 0;
	else if (result->error == 0)
		drop(control, p);
}

static void look(struct hf_control *control, bool may_displace);

static void signed_by_signer(void *context, int err, const char *reason,
			     const Holdfast__SignerAnswer *answer)
{
	struct batch *batch = context;
	struct hf_control *control = batch->control;

	HF_CHECK_MAGIC(batch, BATCH_MAGIC);
	control->publishing_batches--;
	note_presence(control, err);
	/* Gateways must follow the key before they take this: ask for the links now. */
	if (!err && memcmp(answer->signer_key.data, control->signer_key, HF_KEY_BYTES) != 0)
		control->hello_due_ms = 0;
	if (!err && answer->n_results != batch->count)
		err = HF_EPROTO;
	if (!err)
		err = store_all(batch, answer);
	control->publish_problem[0] = '\0';
	if (err && control->signer_away_since_ms == 0)
		note_problem(control, batch->parts[0], reason[0] ? reason : hf_err_text(err));
	for (size_t i = 0; i < batch->count; i++)
		if (err)
			drop(control, batch->parts[i]); /* the tick finds it again */
		else
			conclude(control, batch->parts[i], answer->results[i]);
	if (!err)
		hf_info("%zu %s published", batch->count, batch->count == 1 ? "change" : "changes");
	batch->magic = 0;
	free(batch);
	if (!err)
		look(control, false);
}

/* ---- Asking ---- */

static Holdfast__SignerOrder *order_for(const struct hf_reg_gateway *gateway,
					const Holdfast__Document *document)
{
	Holdfast__SignerOrder *order = malloc(sizeof *order);
	Holdfast__SignerDocument *d = malloc(sizeof *d);

	HF_ASSERT(order && d);
	holdfast__signer_order__init(order);
	holdfast__signer_document__init(d);
	order->kind_case = HOLDFAST__SIGNER_ORDER__KIND_DOCUMENT;
	order->document = d;
	d->tenant = gateway->tenant;
	d->gateway = gateway->id;
	d->sequence_floor = gateway->sequence;
	d->document.len = holdfast__document__get_packed_size(document);
	d->document.data = malloc(d->document.len + 1);
	d->sealing_key.len = sizeof gateway->sealing_key;
	d->sealing_key.data = malloc(sizeof gateway->sealing_key);
	HF_ASSERT(d->document.data && d->sealing_key.data);
	holdfast__document__pack(document, d->document.data);
	memcpy(d->sealing_key.data, gateway->sealing_key, sizeof gateway->sealing_key);
	return order;
}

/* A document newer than what is desired (of a registry that was put together from two backups, say)
 * would stand in the way of every change until generations had got past it; so they leap. */
static void leap(struct hf_control *control, const struct hf_reg_gateway *gateway,
		 uint64_t generation)
{
	char id[HF_ID_TEXT_MAX];
	int err = hf_registry_gateway_leap(control->reg, gateway->id, generation);

	hf_warn("%s has a document of generation %" PRIu64 ", and %" PRIu64
		" is desired: it goes on above both%s",
		hf_id_format(HF_ID_GATEWAY, gateway->id, id), generation, gateway->generation,
		err ? ", when the registry answers" : "");
}

static bool is_unsigned(struct hf_control *control, const struct hf_reg_gateway *gateway)
{
	struct hf_reg_document head = {0};

	if (gateway->state != HF_REG_GATEWAY_ACTIVE || gateway->generation == 0)
		return false;
	hf_registry_document_head(control->reg, gateway->id, &head);
	if (head.incarnation != control->info.incarnation)
		return head.incarnation < control->info.incarnation;
	if (head.generation > gateway->generation)
		leap(control, gateway, head.generation);
	return head.generation < gateway->generation;
}

/* The order of this gateway, or NULL: there is nothing to sign. */
static Holdfast__SignerOrder *next_order(struct hf_control *control, struct publishing *p)
{
	Holdfast__SignerOrder *order;
	Holdfast__Document *document;
	struct hf_reg_gateway gateway;
	int err;

	if (hf_registry_gateway_get(control->reg, p->gateway, &gateway) != 0 ||
	    !is_unsigned(control, &gateway))
		return NULL;
	err = hf_publish_build(control, &gateway, &document);
	if (err) {
		hf_error("building generation %" PRIu64 ": %s", gateway.generation,
			 hf_err_text(err));
		return NULL;
	}
	/* Another process may have changed what was read in between; a change counts the generation
	 * up, so what was read under one number belongs together. */
	if (hf_registry_gateway_get(control->reg, p->gateway, &gateway) != 0 ||
	    gateway.generation != document->generation) {
		holdfast__document__free_unpacked(document, NULL);
		return NULL;
	}
	p->incarnation = document->incarnation;
	p->generation = document->generation;
	order = order_for(&gateway, document);
	holdfast__document__free_unpacked(document, NULL);
	return order;
}

/* Fills a batch from the list; what does not fit stays for the next. */
static void fill(struct batch *batch, Holdfast__SignerBatch *orders)
{
	size_t bytes = 0;

	hf_list_for_each_safe (cursor, &batch->control->publishing) {
		struct publishing *p = hf_container_of(cursor, struct publishing, entry);
		Holdfast__SignerOrder *order;

		if (p->at_signer || p->not_before_ms > uv_now(batch->control->loop))
			continue;
		order = next_order(batch->control, p);
		if (!order) {
			drop(batch->control, p);
			continue;
		}
		bytes += order->document->document.len;
		if (batch->count > 0 && bytes > BATCH_BYTES) {
			holdfast__signer_order__free_unpacked(order, NULL);
			return;
		}
		p->at_signer = true;
		orders->orders[batch->count] = order;
		batch->parts[batch->count++] = p;
		if (batch->count == BATCH_MAX)
			return;
	}
}

static bool send_batch(struct hf_control *control)
{
	Holdfast__SignerRequest request = HOLDFAST__SIGNER_REQUEST__INIT;
	Holdfast__SignerBatch orders = HOLDFAST__SIGNER_BATCH__INIT;
	struct batch *batch = calloc(1, sizeof *batch);

	orders.orders = calloc(BATCH_MAX, sizeof(void *));
	HF_ASSERT(batch && orders.orders);
	batch->magic = BATCH_MAGIC;
	batch->control = control;
	fill(batch, &orders);
	orders.n_orders = batch->count;
	request.kind_case = HOLDFAST__SIGNER_REQUEST__KIND_BATCH;
	request.batch = &orders;
	if (batch->count > 0) {
		control->publishing_batches++;
		hf_signer_ask(control->signer, &request, signed_by_signer, batch);
	}
	for (size_t i = 0; i < orders.n_orders; i++)
		holdfast__signer_order__free_unpacked(orders.orders[i], NULL);
	free(orders.orders);
	if (orders.n_orders > 0)
		return true;
	free(batch);
	return false;
}

static void pump(struct hf_control *control)
{
	if (control->stopping || !control->store_ready)
		return;
	while (control->publishing_batches < BATCHES_MAX && send_batch(control))
		;
}

struct looking {
	struct hf_control *control;
	bool may_displace;
	unsigned found;
};

static int find_unsigned(void *context, const struct hf_reg_gateway *gateway)
{
	struct looking *looking = context;

	if (!add(looking->control, gateway->id, looking->may_displace))
		return HF_EAGAIN;
	looking->control->publish_after = gateway->id;
	looking->found++;
	return 0;
}

/* From where the last look ended: everybody has a turn, however many are refused again and again.
 */
static void look(struct hf_control *control, bool may_displace)
{
	struct looking looking = {control, may_displace, 0};
	int err = control->stopping
			  ? 0
			  : hf_registry_gateway_unsigned(control->reg, control->publish_after,
							 find_unsigned, &looking);

	if (err == HF_EAGAIN)
		err = 0; /* the list is full */
	else if (looking.found < HF_REG_UNSIGNED_MAX)
		control->publish_after = HF_REG_BEFORE_ALL;
	if (err && hf_registry_ready(control->reg))
		hf_error("looking for unsigned changes: %s", hf_registry_why(control->reg));
	pump(control);
}

/* Once a second those who were refused make room, and are tried again when their turn comes. */
void hf_publish_tick(struct hf_control *control)
{
	look(control, true);
}

void hf_publish_gateway(struct hf_control *control, uint64_t gateway)
{
	struct publishing *p;

	add(control, gateway, true);
	p = find(control, gateway);
	if (p) {
		p->again = p->at_signer;
		p->not_before_ms = 0;
	}
	pump(control);
}

void hf_publish_close(struct hf_control *control)
{
	hf_list_for_each_safe (cursor, &control->publishing)
		drop(control, hf_container_of(cursor, struct publishing, entry));
}

const char *hf_publish_obstacle(struct hf_control *control)
{
	if (control->registry_away_since_ms)
		return "the registry is away: connections are held, changes wait for it";
	if (control->signer_away_since_ms)
		return "the signer is away; the change waits for it";
	if (control->store_differs)
		return "this process has other store settings than one that was started later: "
		       "restart it with the same; changes wait where it holds";
	if (!control->store_ready)
		return "the store's credentials wait for the signer";
	return control->publish_problem;
}
