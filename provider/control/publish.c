/* From desired state to a signed document: build it from the registry, have the signer seal, number
 * and sign it, store it, give a hint. Desired state is committed first, with its generation; a
 * gateway whose newest generation has no document yet is found again every second, so neither a
 * crash nor an absent signer loses a change (invariant 4). Loop's thread. */
#include "provider/control/publish.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/ids.h"
#include "base/log.h"
#include "proto/document.pb-c.h"

#define PUBLISHING_MAGIC 0x7075626cu

struct publishing {
	uint32_t magic;
	struct hf_control *control;
	struct hf_list entry;
	uint64_t gateway, incarnation, generation;
};

/* ---- Building ---- */

struct building {
	struct hf_control *control;
	Holdfast__Document *document;
	size_t room;
};

static char *copy_text(const char *text)
{
	char *copy = strdup(text);

	HF_ASSERT(copy);
	return copy;
}

static ProtobufCBinaryData copy_bytes(const uint8_t *bytes, size_t length)
{
	ProtobufCBinaryData copy = {.len = length, .data = malloc(length + 1)};

	HF_ASSERT(copy.data);
	memcpy(copy.data, bytes, length);
	return copy;
}

static void split_initiators(const char *lines, Holdfast__Volume *volume)
{
	char *copy = copy_text(lines), *rest = copy, *line;
	size_t count = 1;

	for (const char *c = lines; *c; c++)
		count += *c == '\n';
	volume->initiators = calloc(count, sizeof volume->initiators[0]);
	HF_ASSERT(volume->initiators);
	while ((line = strsep(&rest, "\n")) != NULL)
		if (*line)
			volume->initiators[volume->n_initiators++] = copy_text(line);
	free(copy);
}

static Holdfast__Volume *volume_entry(const struct hf_reg_volume *v,
				      const struct hf_reg_placement *p)
{
	Holdfast__Volume *entry = malloc(sizeof *entry);
	char serial[17];

	HF_ASSERT(entry);
	holdfast__volume__init(entry);
	snprintf(serial, sizeof serial, "%016" PRIx64, v->id);
	entry->volume = v->id;
	entry->version = p->version;
	entry->name = copy_text(v->name);
	entry->size_bytes = v->size_bytes;
	entry->attachment = p->desired == HF_REG_ATTACHED ? HOLDFAST__ATTACHMENT__ATTACHED
							  : HOLDFAST__ATTACHMENT__DETACHED;
	entry->attach_epoch = p->attach_epoch;
	entry->write_cache = v->write_cache;
	entry->target = copy_text(v->target);
	entry->lun = v->lun;
	split_initiators(v->initiators, entry);
	entry->chap_user = copy_text(v->chap_user);
	entry->mutual_user = copy_text(v->mutual_user);
	entry->sealed = copy_bytes(v->secrets, v->secrets_length);
	entry->create = !v->created;
	entry->serial = copy_text(serial);
	if (v->block_size != 512)
		entry->block_size = v->block_size;
	return entry;
}

static Holdfast__Tombstone *tombstone_entry(const struct hf_reg_volume *v,
					    const struct hf_reg_placement *p)
{
	Holdfast__Tombstone *entry = malloc(sizeof *entry);

	HF_ASSERT(entry);
	holdfast__tombstone__init(entry);
	entry->volume = v->id;
	entry->version = p->version;
	entry->sealed = copy_bytes(v->secrets, v->secrets_length);
	return entry;
}

/* A gateway that does not know the feature refuses the document instead of serving it wrongly. */
static void require(Holdfast__Document *d, const char *feature)
{
	for (size_t i = 0; i < d->n_requires; i++)
		if (strcmp(d->requires[i], feature) == 0)
			return;
	d->requires = reallocarray(d->requires, d->n_requires + 1, sizeof *d->requires);
	HF_ASSERT(d->requires);
	d->requires[d->n_requires++] = copy_text(feature);
}

static int add_placement(void *context, const struct hf_reg_placement *placement)
{
	struct building *b = context;
	Holdfast__Document *d = b->document;
	struct hf_reg_volume volume;
	int err = hf_registry_volume_get(b->control->reg, placement->volume, &volume);

	if (err)
		return err;
	if (d->n_volumes == b->room || d->n_tombstones == b->room)
		return HF_ETOOBIG;
	if (placement->desired == HF_REG_ATTACHED && volume.block_size != 512)
		require(d, "block-4096");
	if (placement->desired == HF_REG_DELETED)
		d->tombstones[d->n_tombstones++] = tombstone_entry(&volume, placement);
	else
		d->volumes[d->n_volumes++] = volume_entry(&volume, placement);
	return 0;
}

static Holdfast__Store *store_entry(const struct hf_control *control)
{
	Holdfast__Store *store = malloc(sizeof *store);

	HF_ASSERT(store);
	holdfast__store__init(store);
	store->url = copy_text(control->config.store_url);
	store->region = copy_text(control->config.store_region);
	store->ca = copy_text(control->store_ca);
	if (control->store_sealed_length > 0)
		store->sealed = copy_bytes(control->store_sealed, control->store_sealed_length);
	return store;
}

static int build(struct hf_control *control, const struct hf_reg_gateway *gateway,
		 Holdfast__Document **document)
{
	Holdfast__Document *d = malloc(sizeof *d);
	struct building b = {.control = control, .document = d, .room = HF_VOLUMES_PER_GATEWAY_MAX};
	int err;

	HF_ASSERT(d);
	holdfast__document__init(d);
	d->incarnation = control->info.incarnation;
	d->generation = gateway->generation;
	d->volumes = calloc(b.room, sizeof(Holdfast__Volume *));
	d->tombstones = calloc(b.room, sizeof(Holdfast__Tombstone *));
	HF_ASSERT(d->volumes && d->tombstones);
	d->store = store_entry(control);
	err = hf_registry_placement_visit(control->reg, 0, gateway->id, add_placement, &b);
	if (err)
		holdfast__document__free_unpacked(d, NULL);
	else
		*document = d;
	return err;
}

/* ---- Signing and storing ---- */

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

static int store_document(struct publishing *p, const ProtobufCBinaryData *bytes)
{
	struct hf_reg_document document = {
		.gateway = p->gateway,
		.incarnation = p->incarnation,
		.generation = p->generation,
		.bytes = bytes->data,
		.length = bytes->len,
	};
	int err = hash_inside(bytes, document.hash);

	return err ? err : hf_registry_document_put(p->control->reg, &document);
}

static void signed_by_signer(void *context, int err, const char *reason,
			     const Holdfast__SignerAnswer *answer)
{
	struct publishing *p = context;
	struct hf_control *control = p->control;
	char id[HF_ID_TEXT_MAX];

	HF_CHECK_MAGIC(p, PUBLISHING_MAGIC);
	hf_id_format(HF_ID_GATEWAY, p->gateway, id);
	if (err == HF_ECONN || err == HF_ETIMEDOUT) {
		if (control->signer_away_since_ms == 0) {
			control->signer_away_since_ms = hf_control_wall_ms();
			hf_warn("the signer is away; changes wait for it");
		}
	} else {
		control->signer_away_since_ms = 0;
	}
	if (!err)
		err = store_document(p, &answer->signed_change);
	snprintf(control->publish_problem, sizeof control->publish_problem, "%s",
		 err ? (reason[0] ? reason : hf_err_text(err)) : "");
	if (err && control->signer_away_since_ms == 0)
		hf_error("%s generation %" PRIu64 " is not published: %s", id, p->generation,
			 control->publish_problem);
	if (!err) {
		hf_info("%s has generation %" PRIu64, id, p->generation);
		hf_route_notify(control->route, p->gateway);
	}
	hf_list_remove(&p->entry);
	p->magic = 0;
	if (!err)
		hf_publish_gateway(control, p->gateway);
	free(p);
}

static void ask_signer(struct publishing *p, const struct hf_reg_gateway *gateway,
		       const Holdfast__Document *document)
{
	Holdfast__SignerRequest request = HOLDFAST__SIGNER_REQUEST__INIT;
	Holdfast__SignerDocument order = HOLDFAST__SIGNER_DOCUMENT__INIT;
	size_t length = holdfast__document__get_packed_size(document);
	uint8_t *bytes = malloc(length + 1);

	HF_ASSERT(bytes);
	holdfast__document__pack(document, bytes);
	order.tenant = gateway->tenant;
	order.gateway = gateway->id;
	order.document.data = bytes;
	order.document.len = length;
	order.sealing_key.data = (uint8_t *)(uintptr_t)gateway->sealing_key;
	order.sealing_key.len = sizeof gateway->sealing_key;
	request.kind_case = HOLDFAST__SIGNER_REQUEST__KIND_DOCUMENT;
	request.document = &order;
	hf_signer_ask(p->control->signer, &request, signed_by_signer, p);
	free(bytes);
}

static bool is_publishing(struct hf_control *control, uint64_t gateway)
{
	hf_list_for_each (cursor, &control->publishing)
		if (hf_container_of(cursor, struct publishing, entry)->gateway == gateway)
			return true;
	return false;
}

static int publish(void *context, const struct hf_reg_gateway *gateway)
{
	struct hf_control *control = context;
	Holdfast__Document *document;
	struct publishing *p;
	int err;

	if (control->stopping || !control->store_ready || is_publishing(control, gateway->id))
		return 0;
	err = build(control, gateway, &document);
	if (err) {
		hf_error("building generation %" PRIu64 ": %s", gateway->generation,
			 hf_err_text(err));
		return 0;
	}
	p = calloc(1, sizeof *p);
	HF_ASSERT(p);
	p->magic = PUBLISHING_MAGIC;
	p->control = control;
	p->gateway = gateway->id;
	p->incarnation = document->incarnation;
	p->generation = document->generation;
	hf_list_push_back(&control->publishing, &p->entry);
	ask_signer(p, gateway, document);
	holdfast__document__free_unpacked(document, NULL);
	return 0;
}

void hf_publish_tick(struct hf_control *control)
{
	int err = hf_registry_gateway_unsigned(control->reg, publish, control);

	/* Said once: the registry may stay away for long, and connections are held without it. */
	if (err && !control->registry_warned)
		hf_error("looking for unsigned changes: %s", hf_registry_why(control->reg));
	control->registry_warned = err != 0;
}

void hf_publish_gateway(struct hf_control *control, uint64_t gateway)
{
	struct hf_reg_document head = {0};
	struct hf_reg_gateway row;

	if (hf_registry_gateway_get(control->reg, gateway, &row) != 0 ||
	    row.state != HF_REG_GATEWAY_ACTIVE || row.generation == 0)
		return;
	hf_registry_document_head(control->reg, gateway, &head);
	if (head.incarnation != control->info.incarnation || head.generation != row.generation)
		publish(control, &row);
}

const char *hf_publish_obstacle(struct hf_control *control)
{
	if (control->signer_away_since_ms)
		return "the signer is away; the change waits for it";
	if (!control->store_ready)
		return "the store's credentials wait for the signer";
	return control->publish_problem;
}
