/* Encoding of requests.h. No state. */
#include "gateway/agent/requests.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "gateway/agent/access.h"

static int pack(const ProtobufCMessage *message, uint8_t **bytes, size_t *length)
{
	*length = protobuf_c_message_get_packed_size(message);
	*bytes = malloc(*length + 1);
	if (!*bytes)
		return HF_ENOMEM;
	protobuf_c_message_pack(message, *bytes);
	return 0;
}

bool hf_step_is_volumeds(enum hf_step step)
{
	return step == HF_STEP_ATTACH || step == HF_STEP_DETACH || step == HF_STEP_REMOVE;
}

/* ---- Secrets ---- */

/* protobuf-c shares one empty string among all that are not set; that one is never written. */
static void wipe_text(char *text)
{
	if (text && text[0])
		explicit_bzero(text, strlen(text));
}

static void free_secrets(Holdfast__VolumeSecrets *secrets)
{
	if (!secrets)
		return;
	if (secrets->wrap_key.len)
		explicit_bzero(secrets->wrap_key.data, secrets->wrap_key.len);
	wipe_text(secrets->chap_secret);
	wipe_text(secrets->mutual_secret);
	holdfast__volume_secrets__free_unpacked(secrets, NULL);
}

static int open_secrets(const struct hf_request_context *context, Holdfast__VolumeSecrets **secrets,
			struct hf_errmsg *message)
{
	const Holdfast__Volume *entry = context->entry;
	const Holdfast__Tombstone *tombstone = context->tombstone;
	const ProtobufCBinaryData *sealed = entry ? &entry->sealed : &tombstone->sealed;
	char purpose[HF_PURPOSE_MAX];
	uint8_t *plain;
	size_t length;
	int err;

	hf_purpose_volume(entry ? entry->volume : tombstone->volume,
			  entry ? entry->version : tombstone->version, purpose);
	err = hf_unseal(context->sealing, purpose, sealed->data, sealed->len, &plain, &length);
	if (err)
		return hf_fail(message, err, "its secrets cannot be unsealed: %s",
			       hf_err_text(err));
	*secrets = holdfast__volume_secrets__unpack(NULL, length, plain);
	hf_wipe_free(plain, length);
	if (!*secrets)
		return hf_fail(message, HF_EINVAL, "its secrets cannot be decoded");
	return 0;
}

/* ---- volumed ---- */

static int pack_attach(const struct hf_request_context *context,
		       const Holdfast__VolumeSecrets *secrets, uint8_t **bytes, size_t *length)
{
	Holdfast__VolumedRequest request = HOLDFAST__VOLUMED_REQUEST__INIT;
	Holdfast__VolumedAttach attach = HOLDFAST__VOLUMED_ATTACH__INIT;
	const Holdfast__Volume *entry = context->entry;

	attach.tenant = context->tenant;
	attach.volume = entry->volume;
	attach.size_bytes = entry->size_bytes;
	attach.attach_epoch = entry->attach_epoch;
	attach.write_cache = entry->write_cache;
	attach.create = entry->create;
	attach.wrap_key = secrets->wrap_key;
	attach.tgtd = context->tgtd;
	request.kind_case = HOLDFAST__VOLUMED_REQUEST__KIND_ATTACH;
	request.attach = &attach;
	return pack(&request.base, bytes, length);
}

static int pack_detach(const struct hf_request_context *context, uint8_t **bytes, size_t *length)
{
	Holdfast__VolumedRequest request = HOLDFAST__VOLUMED_REQUEST__INIT;

	request.kind_case = HOLDFAST__VOLUMED_REQUEST__KIND_DETACH;
	request.detach = context->entry->volume;
	return pack(&request.base, bytes, length);
}

static int pack_remove(const struct hf_request_context *context,
		       const Holdfast__VolumeSecrets *secrets, uint8_t **bytes, size_t *length)
{
	Holdfast__VolumedRequest request = HOLDFAST__VOLUMED_REQUEST__INIT;
	Holdfast__VolumedRemove removal = HOLDFAST__VOLUMED_REMOVE__INIT;

	removal.tenant = context->tenant;
	removal.volume = context->tombstone->volume;
	removal.wrap_key = secrets->wrap_key;
	request.kind_case = HOLDFAST__VOLUMED_REQUEST__KIND_REMOVE_VOLUME;
	request.remove_volume = &removal;
	return pack(&request.base, bytes, length);
}

int hf_request_set_store(const Holdfast__Store *store, const struct hf_seal_key *sealing,
			 uint8_t **bytes, size_t *length, struct hf_errmsg *message)
{
	Holdfast__VolumedRequest request = HOLDFAST__VOLUMED_REQUEST__INIT;
	Holdfast__VolumedStore setting = HOLDFAST__VOLUMED_STORE__INIT;
	Holdfast__StoreSecrets *secrets = NULL;
	uint8_t *plain = NULL;
	size_t plain_length = 0;
	int err = 0;

	setting.url = store->url;
	setting.region = store->region;
	setting.ca = store->ca;
	if (store->sealed.len > 0) {
		err = hf_unseal(sealing, HF_PURPOSE_STORE, store->sealed.data, store->sealed.len,
				&plain, &plain_length);
		if (err)
			return hf_fail(message, err,
				       "the store's credentials cannot be unsealed: %s",
				       hf_err_text(err));
		secrets = holdfast__store_secrets__unpack(NULL, plain_length, plain);
		hf_wipe_free(plain, plain_length);
		if (!secrets)
			return hf_fail(message, HF_EINVAL,
				       "the store's credentials cannot be decoded");
		setting.access_key = secrets->access_key;
		setting.secret_key = secrets->secret_key;
		setting.session_token = secrets->session_token;
	}
	request.kind_case = HOLDFAST__VOLUMED_REQUEST__KIND_SET_STORE;
	request.set_store = &setting;
	err = pack(&request.base, bytes, length);
	if (secrets) {
		wipe_text(secrets->secret_key);
		wipe_text(secrets->session_token);
		holdfast__store_secrets__free_unpacked(secrets, NULL);
	}
	return err ? hf_fail(message, err, "out of memory") : 0;
}

/* ---- The broker ---- */

static int pack_access(const struct hf_request_context *context,
		       const Holdfast__VolumeSecrets *secrets, uint8_t **bytes, size_t *length)
{
	Holdfast__BrokerRequest request = HOLDFAST__BROKER_REQUEST__INIT;
	Holdfast__BrokerAccess access = HOLDFAST__BROKER_ACCESS__INIT;
	const Holdfast__Volume *entry = context->entry;
	struct hf_access list;

	hf_access_of(entry, &list);
	access.iqn = entry->target;
	access.initiators = list.names;
	access.n_initiators = list.name_count;
	access.addresses = list.addresses;
	access.n_addresses = list.address_count;
	access.chap_user = entry->chap_user;
	access.mutual_user = entry->mutual_user;
	if (entry->chap_user[0])
		access.chap_secret = secrets->chap_secret;
	if (entry->mutual_user[0])
		access.mutual_secret = secrets->mutual_secret;
	request.kind_case = HOLDFAST__BROKER_REQUEST__KIND_SET_ACCESS;
	request.set_access = &access;
	return pack(&request.base, bytes, length);
}

static int pack_create_target(const char *iqn, uint8_t **bytes, size_t *length)
{
	Holdfast__BrokerRequest request = HOLDFAST__BROKER_REQUEST__INIT;
	Holdfast__BrokerTarget target = HOLDFAST__BROKER_TARGET__INIT;

	target.iqn = (char *)(uintptr_t)iqn;
	request.kind_case = HOLDFAST__BROKER_REQUEST__KIND_CREATE_TARGET;
	request.create_target = &target;
	return pack(&request.base, bytes, length);
}

int hf_request_delete_target(const char *iqn, uint8_t **bytes, size_t *length)
{
	Holdfast__BrokerRequest request = HOLDFAST__BROKER_REQUEST__INIT;

	request.kind_case = HOLDFAST__BROKER_REQUEST__KIND_DELETE_TARGET;
	request.delete_target = (char *)(uintptr_t)iqn;
	return pack(&request.base, bytes, length);
}

static int pack_add_lun(const struct hf_request_context *context, uint8_t **bytes, size_t *length)
{
	Holdfast__BrokerRequest request = HOLDFAST__BROKER_REQUEST__INIT;
	Holdfast__BrokerLun lun = HOLDFAST__BROKER_LUN__INIT;
	const Holdfast__Volume *entry = context->entry;

	lun.iqn = entry->target;
	lun.lun = entry->lun;
	lun.volume = entry->volume;
	lun.size_bytes = entry->size_bytes;
	lun.write_cache = entry->write_cache;
	lun.serial = entry->serial;
	lun.block_size = entry->block_size;
	request.kind_case = HOLDFAST__BROKER_REQUEST__KIND_ADD_LUN;
	request.add_lun = &lun;
	return pack(&request.base, bytes, length);
}

static int pack_remove_lun(const struct hf_request_context *context, uint8_t **bytes,
			   size_t *length)
{
	Holdfast__BrokerRequest request = HOLDFAST__BROKER_REQUEST__INIT;
	Holdfast__BrokerLunName name = HOLDFAST__BROKER_LUN_NAME__INIT;

	name.iqn = (char *)(uintptr_t)context->iqn;
	name.lun = context->lun;
	request.kind_case = HOLDFAST__BROKER_REQUEST__KIND_REMOVE_LUN;
	request.remove_lun = &name;
	return pack(&request.base, bytes, length);
}

int hf_request_portal(bool open, const char *portal, uint8_t **bytes, size_t *length)
{
	Holdfast__BrokerRequest request = HOLDFAST__BROKER_REQUEST__INIT;

	if (open) {
		request.kind_case = HOLDFAST__BROKER_REQUEST__KIND_OPEN_PORTAL;
		request.open_portal = (char *)(uintptr_t)portal;
	} else {
		request.kind_case = HOLDFAST__BROKER_REQUEST__KIND_CLOSE_PORTAL;
		request.close_portal = (char *)(uintptr_t)portal;
	}
	return pack(&request.base, bytes, length);
}

/* ---- Either ---- */

int hf_request_restart(bool volumed, const uint8_t *boot, size_t boot_length, uint64_t action,
		       uint8_t **bytes, size_t *length)
{
	Holdfast__VolumedRequest to_volumed = HOLDFAST__VOLUMED_REQUEST__INIT;
	Holdfast__VolumedRestart restart_volumed = HOLDFAST__VOLUMED_RESTART__INIT;
	Holdfast__BrokerRequest to_broker = HOLDFAST__BROKER_REQUEST__INIT;
	Holdfast__BrokerRestart restart_tgtd = HOLDFAST__BROKER_RESTART__INIT;
	ProtobufCBinaryData run = {.len = boot_length, .data = (uint8_t *)(uintptr_t)boot};

	restart_volumed.boot = restart_tgtd.boot = run;
	restart_volumed.action = restart_tgtd.action = action;
	to_volumed.kind_case = HOLDFAST__VOLUMED_REQUEST__KIND_RESTART;
	to_volumed.restart = &restart_volumed;
	to_broker.kind_case = HOLDFAST__BROKER_REQUEST__KIND_RESTART;
	to_broker.restart = &restart_tgtd;
	return pack(volumed ? &to_volumed.base : &to_broker.base, bytes, length);
}

/* ---- All ---- */

static bool needs_secrets(enum hf_step step, const struct hf_request_context *context)
{
	return step == HF_STEP_ATTACH || step == HF_STEP_REMOVE ||
	       (step == HF_STEP_SET_ACCESS && context->entry->chap_user[0]);
}

static int pack_step(enum hf_step step, const struct hf_request_context *context,
		     const Holdfast__VolumeSecrets *secrets, uint8_t **bytes, size_t *length)
{
	switch (step) {
	case HF_STEP_ATTACH:
		return pack_attach(context, secrets, bytes, length);
	case HF_STEP_CREATE_TARGET:
		return pack_create_target(context->iqn, bytes, length);
	case HF_STEP_SET_ACCESS:
		return pack_access(context, secrets, bytes, length);
	case HF_STEP_ADD_LUN:
		return pack_add_lun(context, bytes, length);
	case HF_STEP_REMOVE_LUN:
		return pack_remove_lun(context, bytes, length);
	case HF_STEP_DELETE_TARGET:
		return hf_request_delete_target(context->iqn, bytes, length);
	case HF_STEP_DETACH:
		return pack_detach(context, bytes, length);
	case HF_STEP_REMOVE:
		return pack_remove(context, secrets, bytes, length);
	case HF_STEP_NONE:
		break;
	}
	HF_ASSERT(!"a step without a request");
	return HF_EINVAL;
}

int hf_request_of_step(enum hf_step step, const struct hf_request_context *context, uint8_t **bytes,
		       size_t *length, struct hf_errmsg *message)
{
	Holdfast__VolumeSecrets *secrets = NULL;
	int err = 0;

	if (needs_secrets(step, context))
		err = open_secrets(context, &secrets, message);
	if (err)
		return err;
	err = pack_step(step, context, secrets, bytes, length);
	free_secrets(secrets);
	return err ? hf_fail(message, err, "out of memory") : 0;
}

int hf_answer_read(bool volumed, const uint8_t *bytes, size_t length, struct hf_errmsg *message)
{
	Holdfast__VolumedAnswer *from_volumed = NULL;
	Holdfast__BrokerAnswer *from_broker = NULL;
	int err = HF_EPROTO;

	hf_fail(message, 0, "an answer that cannot be decoded");
	if (volumed)
		from_volumed = holdfast__volumed_answer__unpack(NULL, length, bytes);
	else
		from_broker = holdfast__broker_answer__unpack(NULL, length, bytes);
	if (from_volumed || from_broker) {
		const char *reason = volumed ? from_volumed->reason : from_broker->reason;

		err = -(volumed ? from_volumed->error : from_broker->error);
		hf_fail(message, 0, "%s", reason[0] ? reason : hf_err_text(err));
	}
	holdfast__volumed_answer__free_unpacked(from_volumed, NULL);
	holdfast__broker_answer__free_unpacked(from_broker, NULL);
	return err;
}
