/* Decoding and checking of request.h. */
#include "gateway/volumed/request.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

static int check_text(const char *field, const char *text, size_t most, struct hf_errmsg *message)
{
	size_t length = strlen(text);

	if (length > most)
		return hf_fail(message, HF_EINVAL, "%s is longer than %zu bytes", field, most);
	for (size_t i = 0; i < length; i++)
		if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
			return hf_fail(message, HF_EINVAL, "%s holds a control character", field);
	return 0;
}

int hf_control_check_store(const Holdfast__VolumedStore *store, struct hf_errmsg *message)
{
	const struct {
		const char *field, *text;
		size_t most;
	} fields[] = {
		{"url", store->url, 1024},
		{"region", store->region, 64},
		{"access_key", store->access_key, 256},
		{"secret_key", store->secret_key, 256},
		{"session_token", store->session_token, 8192},
	};

	for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
		int err = check_text(fields[i].field, fields[i].text, fields[i].most, message);

		if (err)
			return err;
	}
	if (store->url[0] == '\0')
		return hf_fail(message, HF_EINVAL, "url is missing");
	if (strlen(store->ca) > 65536)
		return hf_fail(message, HF_EINVAL, "ca is longer than 65536 bytes");
	return 0;
}

static int take_key(const ProtobufCBinaryData *key, struct hf_volume_config *config,
		    struct hf_errmsg *message)
{
	if (key->len != HF_WRAP_KEY_BYTES)
		return hf_fail(message, HF_EINVAL, "wrap_key has %zu bytes instead of %u", key->len,
			       HF_WRAP_KEY_BYTES);
	if (hf_is_zero(key->data, key->len))
		return hf_fail(message, HF_EINVAL, "wrap_key is zero");
	memcpy(config->wrap_key, key->data, HF_WRAP_KEY_BYTES);
	return 0;
}

int hf_control_check_attach(const Holdfast__VolumedAttach *attach, struct hf_volume_config *config,
			    struct hf_errmsg *message)
{
	*config = (struct hf_volume_config){
		.tenant = attach->tenant,
		.volume = attach->volume,
		.size_bytes = attach->size_bytes,
		.attach_epoch = attach->attach_epoch,
		.write_cache = attach->write_cache,
		.create = attach->create,
		.tgtd = attach->tgtd,
	};
	if (attach->tenant == 0)
		return hf_fail(message, HF_EINVAL, "tenant is missing");
	if (attach->volume == 0)
		return hf_fail(message, HF_EINVAL, "volume is missing");
	if (attach->attach_epoch == 0)
		return hf_fail(message, HF_EINVAL, "attach_epoch is missing");
	if (attach->size_bytes == 0 || attach->size_bytes % 4096 != 0 ||
	    attach->size_bytes > HF_VOLUME_SIZE_MAX)
		return hf_fail(message, HF_EINVAL,
			       "size_bytes is not a multiple of 4096 between 4096 and %llu",
			       (unsigned long long)HF_VOLUME_SIZE_MAX);
	return take_key(&attach->wrap_key, config, message);
}

static int check_remove(const Holdfast__VolumedRemove *remove, struct hf_control_request *request,
			struct hf_errmsg *message)
{
	request->config.tenant = remove->tenant;
	request->config.volume = remove->volume;
	request->has_key = true;
	if (remove->tenant == 0)
		return hf_fail(message, HF_EINVAL, "tenant is missing");
	if (remove->volume == 0)
		return hf_fail(message, HF_EINVAL, "volume is missing");
	return take_key(&remove->wrap_key, &request->config, message);
}

static int check_volume(uint64_t volume, struct hf_control_request *request,
			struct hf_errmsg *message)
{
	request->config.volume = volume;
	return volume ? 0 : hf_fail(message, HF_EINVAL, "volume is missing");
}

static int check_log(const char *path, struct hf_control_request *request,
		     struct hf_errmsg *message)
{
	size_t length = strlen(path);

	/* Beside it lies PATH.new while it is made. */
	if (path[0] != '/' || length + sizeof ".new" > sizeof request->log_path ||
	    request->log_bytes > 1ull << 46)
		return hf_fail(message, HF_EINVAL, "a log has an absolute path and at most 64 TiB");
	memcpy(request->log_path, path, length + 1);
	return 0;
}

static int check(Holdfast__VolumedRequest *decoded, struct hf_control_request *request,
		 struct hf_errmsg *message)
{
	int err;

	switch (decoded->kind_case) {
	case HOLDFAST__VOLUMED_REQUEST__KIND_SET_STORE:
		request->verb = HF_CONTROL_SET_STORE;
		err = hf_control_check_store(decoded->set_store, message);
		if (!err) {
			request->store = decoded->set_store;
			decoded->kind_case = HOLDFAST__VOLUMED_REQUEST__KIND__NOT_SET;
		}
		return err;
	case HOLDFAST__VOLUMED_REQUEST__KIND_RESTART:
		request->verb = HF_CONTROL_RESTART;
		if (decoded->restart->boot.len != sizeof request->boot)
			return hf_fail(message, HF_EINVAL, "no run of volumed is named");
		memcpy(request->boot, decoded->restart->boot.data, sizeof request->boot);
		request->action = decoded->restart->action;
		return 0;
	case HOLDFAST__VOLUMED_REQUEST__KIND_ATTACH:
		request->verb = HF_CONTROL_ATTACH;
		return hf_control_check_attach(decoded->attach, &request->config, message);
	case HOLDFAST__VOLUMED_REQUEST__KIND_DETACH:
		request->verb = HF_CONTROL_DETACH;
		return check_volume(decoded->detach, request, message);
	case HOLDFAST__VOLUMED_REQUEST__KIND_DETACH_FORCE:
		request->verb = HF_CONTROL_DETACH;
		request->force = true;
		return check_volume(decoded->detach_force, request, message);
	case HOLDFAST__VOLUMED_REQUEST__KIND_REMOVE:
		request->verb = HF_CONTROL_REMOVE;
		return check_volume(decoded->remove, request, message);
	case HOLDFAST__VOLUMED_REQUEST__KIND_REMOVE_VOLUME:
		request->verb = HF_CONTROL_REMOVE;
		return check_remove(decoded->remove_volume, request, message);
	case HOLDFAST__VOLUMED_REQUEST__KIND_STATUS:
		request->verb = HF_CONTROL_STATUS;
		return 0;
	case HOLDFAST__VOLUMED_REQUEST__KIND_ADD_LOG:
		request->verb = HF_CONTROL_ADD_LOG;
		request->log_bytes = decoded->add_log->size_bytes;
		return check_log(decoded->add_log->path, request, message);
	case HOLDFAST__VOLUMED_REQUEST__KIND_REMOVE_LOG:
		request->verb = HF_CONTROL_REMOVE_LOG;
		return check_log(decoded->remove_log, request, message);
	case HOLDFAST__VOLUMED_REQUEST__KIND_FORGET_LOG:
		request->verb = HF_CONTROL_FORGET_LOG;
		return check_log(decoded->forget_log, request, message);
	default:
		return hf_fail(message, HF_EUNSUPPORTED, "this version knows no such request");
	}
}

static void wipe_text(char *text)
{
	explicit_bzero(text, strlen(text));
}

static void wipe_key(ProtobufCBinaryData *key)
{
	if (key->len > 0)
		explicit_bzero(key->data, key->len);
}

/* protobuf-c gives absent strings a shared constant, which must not be written. */
static void wipe_store(Holdfast__VolumedStore *store)
{
	if (store->secret_key[0])
		wipe_text(store->secret_key);
	if (store->session_token[0])
		wipe_text(store->session_token);
}

void hf_control_store_free(Holdfast__VolumedStore *store)
{
	if (!store)
		return;
	wipe_store(store);
	holdfast__volumed_store__free_unpacked(store, NULL);
}

static void wipe(Holdfast__VolumedRequest *decoded)
{
	if (decoded->kind_case == HOLDFAST__VOLUMED_REQUEST__KIND_SET_STORE)
		wipe_store(decoded->set_store);
	else if (decoded->kind_case == HOLDFAST__VOLUMED_REQUEST__KIND_ATTACH)
		wipe_key(&decoded->attach->wrap_key);
	else if (decoded->kind_case == HOLDFAST__VOLUMED_REQUEST__KIND_REMOVE_VOLUME)
		wipe_key(&decoded->remove_volume->wrap_key);
}

int hf_control_decode(const uint8_t *bytes, size_t length, struct hf_control_request *request,
		      struct hf_errmsg *message)
{
	Holdfast__VolumedRequest *decoded;
	int err;

	memset(request, 0, sizeof *request);
	decoded = holdfast__volumed_request__unpack(NULL, length, bytes);
	if (!decoded)
		return hf_fail(message, HF_EPROTO, "the request cannot be decoded");
	err = check(decoded, request, message);
	wipe(decoded);
	holdfast__volumed_request__free_unpacked(decoded, NULL);
	if (err)
		hf_control_request_free(request);
	return err;
}

void hf_control_request_free(struct hf_control_request *request)
{
	hf_control_store_free(request->store);
	explicit_bzero(request, sizeof *request);
}
