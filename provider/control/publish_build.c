/* The document of a gateway, from the registry's rows: all that it is to have (publish.c). Secrets
 * in it are as the registry keeps them, encrypted by the signer. Loop's thread. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "provider/control/network.h"
#include "provider/control/publish.h"

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

int hf_publish_build(struct hf_control *control, const struct hf_reg_gateway *gateway,
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
	err = hf_network_entry(control, gateway->id, &d->network);
	if (!err)
		err = hf_registry_placement_visit(control->reg, 0, gateway->id, add_placement, &b);
	if (err)
		holdfast__document__free_unpacked(d, NULL);
	else
		*document = d;
	return err;
}
