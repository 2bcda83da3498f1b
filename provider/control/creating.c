/* Secrets of volumes. Creation: the signer makes the wrap key and encrypts it with the CHAP
 * secrets, then everything is stored in one transaction. Other CHAP secrets: the signer puts them
 * beside the wrap key that it kept. Until then the secrets are in memory only; while the signer is
 * away the question waits, and if it does not come back in time nothing was changed. Loop's thread.
 */
#include "provider/control/admin.h"

#include <stdlib.h>
#include <string.h>

#include "net/seal.h"
#include "proto/document.pb-c.h"
#include "provider/control/status.h"
#include "provider/control/validate.h"
#include "provider/control/volumes.h"
#include "provider/signer/purpose.h"

#define CREATION_MAGIC 0x63726561u
#define SIGNER_WAIT_MS 5000u
#define CREATIONS_MAX  64u

struct creation {
	uint32_t magic;
	struct hf_control *control;
	struct hf_list entry;
	struct hf_local_request *request; /* NULL once answered; then only the signer is awaited */
	struct hf_reg_volume volume; /* a change of CHAP: as it was found, with the users to be */
	bool changes;                /* one that exists */
	uint8_t *plain;              /* an encoded VolumeSecrets, wiped at the end */
	size_t plain_length;
	uint32_t wait_ms;
	uint64_t give_up_ms; /* loop's clock */
	bool asking;
	char who[32];
};

static void end(struct creation *c)
{
	hf_list_remove(&c->entry);
	hf_wipe_free(c->plain, c->plain_length);
	c->magic = 0;
	free(c);
}

static void fail(struct creation *c, int err, const char *reason)
{
	hf_admin_reply(c->request, err, reason, NULL);
	end(c);
}

static void store_change(struct creation *c, const ProtobufCBinaryData *secret)
{
	struct hf_errmsg message = {""};
	struct hf_reg_volume volume = c->volume;
	struct hf_volume_chap chap = {.user = c->volume.chap_user,
				      .mutual_user = c->volume.mutual_user,
				      .from = c->volume.secrets,
				      .from_length = c->volume.secrets_length,
				      .secrets = secret->data,
				      .secrets_length = secret->len};
	bool attached;
	int err = hf_volume_chap(c->control, c->who, &volume, &chap, &attached, &message);

	if (err) {
		fail(c, err, message.text);
		return;
	}
	hf_wait_volume(c->control, c->request, &volume,
		       attached ? HF_GOAL_AVAILABLE : HF_GOAL_DETACHED, c->wait_ms);
	end(c);
}

static void store(struct creation *c, const ProtobufCBinaryData *secret)
{
	struct hf_errmsg message = {""};
	int err = 0;

	if (secret->len == 0 || secret->len > sizeof c->volume.secrets)
		err = hf_fail(&message, HF_EPROTO, "the signer's secret is unfit");
	if (!err) {
		memcpy(c->volume.secrets, secret->data, secret->len);
		c->volume.secrets_length = secret->len;
		c->volume.created_ms = hf_control_wall_ms();
		err = hf_volume_create(c->control, c->who, &c->volume, &message);
	}
	if (err) {
		fail(c, err, message.text);
		return;
	}
	hf_wait_volume(c->control, c->request, &c->volume, HF_GOAL_AVAILABLE, c->wait_ms);
	end(c);
}

static void secret_answered(void *context, int err, const char *reason,
			    const Holdfast__SignerAnswer *answer)
{
	struct creation *c = context;

	HF_CHECK_MAGIC(c, CREATION_MAGIC);
	c->asking = false;
	if (!c->request)
		end(c);
	else if (!err && c->changes)
		store_change(c, &answer->secret);
	else if (!err)
		store(c, &answer->secret);
	else if (err != HF_ECONN && err != HF_ETIMEDOUT)
		fail(c, err, reason);
	else if (uv_now(c->control->loop) >= c->give_up_ms)
		fail(c, HF_ENOTREADY,
		     c->changes ? "nothing was changed: the signer is away; try again when it runs"
				: "nothing was created: the signer is away and the volume's "
				  "secrets need it; try again when it runs");
}

static void ask(struct creation *c)
{
	Holdfast__SignerRequest request = HOLDFAST__SIGNER_REQUEST__INIT;
	Holdfast__SignerNewSecret order = HOLDFAST__SIGNER_NEW_SECRET__INIT;
	char purpose[HF_PURPOSE_MAX];

	hf_signer_purpose_volume(c->volume.tenant, c->volume.id, purpose);
	order.plain.data = c->plain;
	order.plain.len = c->plain_length;
	order.make_wrap_key = !c->changes;
	if (c->changes) {
		order.keeps.data = c->volume.secrets;
		order.keeps.len = c->volume.secrets_length;
	}
	order.purpose = purpose;
	request.kind_case = HOLDFAST__SIGNER_REQUEST__KIND_NEW_SECRET;
	request.new_secret = &order;
	c->asking = true;
	hf_signer_ask(c->control->signer, &request, secret_answered, c);
}

static void join_initiators(char **items, size_t count, char *lines, size_t size)
{
	size_t used = 0;

	lines[0] = '\0';
	for (size_t i = 0; i < count && used < size; i++)
		used += (size_t)snprintf(lines + used, size - used, "%s%s", i ? "\n" : "",
					 items[i]);
}

static int pack_secrets(struct creation *c, char *chap_secret, char *mutual_secret)
{
	Holdfast__VolumeSecrets secrets = HOLDFAST__VOLUME_SECRETS__INIT;

	secrets.chap_secret = chap_secret;
	secrets.mutual_secret = mutual_secret;
	c->plain_length = holdfast__volume_secrets__get_packed_size(&secrets);
	c->plain = malloc(c->plain_length + 1);
	if (!c->plain)
		return HF_ENOMEM;
	holdfast__volume_secrets__pack(&secrets, c->plain);
	return 0;
}

void hf_create_volume_row(struct hf_control *control, const Holdfast__AdminVolumeCreate *create,
			  const struct hf_reg_gateway *gateway, struct hf_reg_volume *v)
{
	do
		hf_random(&v->id, sizeof v->id);
	while (v->id == 0);
	v->tenant = control->info.tenant;
	v->gateway = gateway->id;
	v->size_bytes = create->size_bytes;
	v->write_cache = create->write_cache;
	v->block_size = create->block_size ? create->block_size : HF_VOLUME_BLOCK_SIZE;
	snprintf(v->name, sizeof v->name, "%s", create->name);
	snprintf(v->chap_user, sizeof v->chap_user, "%s", create->chap_user);
	snprintf(v->mutual_user, sizeof v->mutual_user, "%s", create->mutual_user);
	join_initiators(create->initiators, create->n_initiators, v->initiators,
			sizeof v->initiators);
}

static unsigned count_creations(const struct hf_control *control)
{
	unsigned count = 0;

	hf_list_for_each (cursor, &control->creating)
		count++;
	return count;
}

static struct creation *begin(struct hf_control *control, struct hf_local_request *request,
			      uint32_t wait_ms)
{
	struct creation *c = calloc(1, sizeof *c);

	HF_ASSERT(c);
	c->magic = CREATION_MAGIC;
	c->control = control;
	c->request = request;
	c->wait_ms = wait_ms;
	c->give_up_ms =
		uv_now(control->loop) + (wait_ms > SIGNER_WAIT_MS ? wait_ms : SIGNER_WAIT_MS);
	hf_admin_who(request, c->who);
	hf_list_push_back(&control->creating, &c->entry);
	return c;
}

static int check_count(const struct hf_control *control, struct hf_errmsg *message)
{
	if (count_creations(control) >= CREATIONS_MAX)
		return hf_fail(message, HF_EAGAIN, "too many volumes get new secrets");
	return 0;
}

static void go(struct creation *c, char *chap_secret, char *mutual_secret)
{
	if (pack_secrets(c, chap_secret, mutual_secret) != 0)
		fail(c, HF_ENOMEM, "out of memory");
	else
		ask(c);
}

void hf_create_volume(struct hf_control *control, struct hf_local_request *request,
		      const Holdfast__AdminVolumeCreate *create, uint32_t wait_ms)
{
	struct hf_errmsg message = {""};
	struct hf_reg_gateway gateway;
	struct creation *c;
	int err = hf_find_gateway(control, create->gateway, &gateway, &message);

	if (!err)
		err = hf_volume_may_create(control, create->name, &gateway, &message);
	if (!err)
		err = check_count(control, &message);
	if (err) {
		hf_admin_reply(request, err, message.text, NULL);
		return;
	}
	c = begin(control, request, wait_ms);
	hf_create_volume_row(control, create, &gateway, &c->volume);
	go(c, create->chap_secret, create->mutual_secret);
}

void hf_change_chap(struct hf_control *control, struct hf_local_request *request,
		    const Holdfast__AdminChap *chap, uint32_t wait_ms)
{
	struct hf_errmsg message = {""};
	struct hf_reg_volume volume;
	struct creation *c;
	int err = hf_find_volume(control, chap->volume, &volume, &message);

	if (!err)
		err = check_count(control, &message);
	if (err) {
		hf_admin_reply(request, err, message.text, NULL);
		return;
	}
	c = begin(control, request, wait_ms);
	c->changes = true;
	c->volume = volume;
	snprintf(c->volume.chap_user, sizeof c->volume.chap_user, "%s", chap->chap_user);
	snprintf(c->volume.mutual_user, sizeof c->volume.mutual_user, "%s", chap->mutual_user);
	go(c, chap->chap_secret, chap->mutual_secret);
}

void hf_creating_tick(struct hf_control *control)
{
	hf_list_for_each_safe (cursor, &control->creating) {
		struct creation *c = hf_container_of(cursor, struct creation, entry);

		if (!c->asking && c->request)
			ask(c);
	}
}

void hf_creating_close(struct hf_control *control)
{
	hf_list_for_each_safe (cursor, &control->creating) {
		struct creation *c = hf_container_of(cursor, struct creation, entry);

		hf_admin_reply(c->request, HF_ECANCELED,
			       c->changes ? "nothing was changed: the provider stops"
					  : "nothing was created: the provider stops",
			       NULL);
		c->request = NULL;
		if (!c->asking)
			end(c);
	}
}
