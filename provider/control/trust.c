/* The provider's own key and certificate, and the public keys of the signer. Kept in the state
 * folder, so that a provider that starts while the signer is away still holds connections; asked
 * from the signer when missing or at two thirds of the certificate's life. Loop's thread. */
#include "provider/control/control.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/file.h"
#include "base/log.h"
#include "net/dial.h"
#include "net/identity.h"
#include "provider/control/activation.h"
#include "provider/control/channel.h"
#include "provider/control/process.h"

#define NAMES_MAX 16u

static void path_of(const struct hf_control *control, const char *name, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%s/%s", control->config.state_dir, name);
}

static int open_listeners(struct hf_control *control, struct hf_errmsg *message)
{
	struct hf_tls_options options = {
		.server = true,
		.alpn = HF_ALPN_MANAGEMENT,
		.key = &control->server_key,
		.certificate = control->certificate,
		.certificate_length = control->certificate_length,
		.authority = control->authority,
		.authority_length = control->authority_length,
		.allow_expired = true, /* to be renewed */
	};
	struct hf_tls *channel_tls = NULL, *activation_tls = NULL;
	int err = hf_tls_create(&options, &channel_tls, message);

	options.alpn = HF_ALPN_ACTIVATION;
	options.authority = NULL;
	options.authority_length = 0;
	options.allow_expired = false;
	if (!err)
		err = hf_tls_create(&options, &activation_tls, message);
	if (!err)
		err = hf_channel_listen(control, channel_tls, message);
	if (!err)
		err = hf_activation_listen(control, activation_tls, message);
	hf_tls_destroy(channel_tls);
	hf_tls_destroy(activation_tls);
	return err;
}

size_t hf_trust_authority_length(const struct hf_control *control)
{
	uint8_t id[HF_AUTHORITY_ID_BYTES];

	return hf_authority_first(control->authority, control->authority_length, id);
}

/* Of the authority in use, the first of the list. */
static int first_key(const uint8_t *list, size_t length, uint8_t key[HF_KEY_BYTES])
{
	uint8_t id[HF_AUTHORITY_ID_BYTES];
	size_t first = hf_authority_first(list, length, id);

	return first ? hf_certificate_key(list, first, key) : HF_EINVAL;
}

/* Takes a certificate and the authorities; HF_EINVAL if they do not fit the own key. */
static int adopt(struct hf_control *control, const uint8_t *certificate, size_t certificate_length,
		 const uint8_t *authority, size_t authority_length)
{
	struct hf_certificate_info info;
	uint8_t *mine, *theirs;

	if (hf_certificate_parse(certificate, certificate_length, &info) != 0 || !info.server ||
	    memcmp(info.public_key, control->server_key.public_key, HF_KEY_BYTES) != 0 ||
	    first_key(authority, authority_length, control->authority_key) != 0)
		return HF_EINVAL;
	mine = malloc(certificate_length);
	theirs = malloc(authority_length);
	if (!mine || !theirs) {
		free(mine);
		free(theirs);
		return HF_ENOMEM;
	}
	memcpy(mine, certificate, certificate_length);
	memcpy(theirs, authority, authority_length);
	free(control->certificate);
	free(control->authority);
	control->certificate = mine;
	control->certificate_length = certificate_length;
	control->authority = theirs;
	control->authority_length = authority_length;
	control->certificate_renew_s =
		info.not_after_s - (info.not_after_s - info.not_before_s) / 3;
	return 0;
}

static int load_kept(struct hf_control *control)
{
	char path[PATH_MAX];
	uint8_t *certificate = NULL, *authority = NULL, *key = NULL;
	size_t certificate_length, authority_length, key_length;
	int err;

	path_of(control, "server.crt", path);
	err = hf_file_read(path, HF_CERTIFICATE_MAX, &certificate, &certificate_length, NULL);
	path_of(control, "authority.crt", path);
	if (!err)
		err = hf_file_read(path, HF_AUTHORITIES_BYTES_MAX, &authority, &authority_length,
				   NULL);
	path_of(control, "signer.pub", path);
	if (!err)
		err = hf_file_read(path, HF_KEY_BYTES, &key, &key_length, NULL);
	if (!err && key_length != HF_KEY_BYTES)
		err = HF_ECORRUPT;
	if (!err)
		err = adopt(control, certificate, certificate_length, authority, authority_length);
	if (!err)
		memcpy(control->signer_key, key, HF_KEY_BYTES);
	free(certificate);
	free(authority);
	free(key);
	return err;
}

static int keep(struct hf_control *control, struct hf_errmsg *message)
{
	char path[PATH_MAX];
	int err;

	path_of(control, "signer.pub", path);
	err = hf_file_replace(path, control->signer_key, HF_KEY_BYTES, 0600, message);
	path_of(control, "authority.crt", path);
	if (!err)
		err = hf_file_replace(path, control->authority, control->authority_length, 0600,
				      message);
	path_of(control, "server.crt", path);
	if (!err)
		err = hf_file_replace(path, control->certificate, control->certificate_length, 0600,
				      message);
	return err;
}

void hf_control_trust_keep_signer_key(struct hf_control *control)
{
	struct hf_errmsg message;
	char path[PATH_MAX];

	path_of(control, "signer.pub", path);
	if (hf_file_replace(path, control->signer_key, HF_KEY_BYTES, 0600, &message) != 0)
		hf_error("%s", message.text); /* asked again at the next start */
}

static void certificate_answered(void *context, int err, const char *reason,
				 const Holdfast__SignerAnswer *answer)
{
	struct hf_control *control = context;
	const ProtobufCBinaryData *authorities;
	struct hf_errmsg message = {""};

	HF_CHECK_MAGIC(control, HF_CONTROL_MAGIC);
	control->asking_trust = false;
	if (!err && answer->signer_key.len != HF_KEY_BYTES)
		err = HF_EPROTO;
	if (!err) {
		/* An older signer names the one only. */
		authorities =
			answer->authorities.len ? &answer->authorities : &answer->ca_certificate;
		err = adopt(control, answer->certificate.data, answer->certificate.len,
			    authorities->data, authorities->len);
	}
	if (err) {
		if (!control->trust_warned)
			hf_warn("waiting for a certificate of our own: %s",
				reason[0] ? reason : hf_err_text(err));
		control->trust_warned = true;
		return;
	}
	control->trust_warned = false;
	hf_tokens_learn(control, answer);
	if (!control->trusted)
		memcpy(control->signer_key, answer->signer_key.data, HF_KEY_BYTES);
	err = keep(control, &message);
	if (!err && !control->stopping)
		err = open_listeners(control, &message);
	control->trusted = err == 0;
	if (!err) {
		hf_authorities_learn(control, answer);
		hf_rotation_settle(control);
		return;
	}
	/* Not to be mended by trying again; the supervisor and a person should see it. */
	hf_error("%s", message.text);
	control->failed = err;
	hf_control_stop(control);
}

static bool add_name(char names[][256], size_t *count, const char *endpoint)
{
	uint16_t port;

	if (*count == NAMES_MAX || endpoint[0] == '\0' ||
	    hf_endpoint_parse(endpoint, names[*count], 256, &port) != 0)
		return false;
	for (size_t i = 0; i < *count; i++)
		if (strcmp(names[i], names[*count]) == 0)
			return false;
	++*count;
	return true;
}

static void ask_certificate(struct hf_control *control)
{
	Holdfast__SignerRequest request = HOLDFAST__SIGNER_REQUEST__INIT;
	Holdfast__SignerCertificate order = HOLDFAST__SIGNER_CERTIFICATE__INIT;
	char names[NAMES_MAX][256], *pointers[NAMES_MAX];
	struct hf_endpoints advertised;
	size_t count = 0;

	if (hf_endpoints_parse(control->config.channel_advertise, &advertised, NULL) == 0)
		for (size_t i = 0; i < advertised.count; i++)
			add_name(names, &count, advertised.text[i]);
	add_name(names, &count, control->config.channel_listen);
	add_name(names, &count, control->config.activation_listen);
	for (size_t i = 0; i < count; i++)
		pointers[i] = names[i];
	if (hf_request_make(&control->server_key, "holdfast-provider", &order.request.data,
			    &order.request.len) != 0)
		return;
	order.server = true;
	order.identity_key.data = control->server_key.public_key;
	order.identity_key.len = HF_KEY_BYTES;
	order.names = pointers;
	order.n_names = count;
	request.kind_case = HOLDFAST__SIGNER_REQUEST__KIND_CERTIFICATE;
	request.certificate = &order;
	control->asking_trust = true;
	hf_signer_ask(control->signer, &request, certificate_answered, control);
	free(order.request.data);
}

int hf_trust_take_authorities(struct hf_control *control, const uint8_t *list, size_t length,
			      struct hf_errmsg *message)
{
	uint8_t key[HF_KEY_BYTES], *copy;
	char path[PATH_MAX];
	int err = first_key(list, length, key);

	if (err ||
	    (length == control->authority_length && memcmp(list, control->authority, length) == 0))
		return err ? hf_fail(message, err, "these are none") : 0;
	copy = malloc(length);
	if (!copy)
		return hf_fail(message, HF_ENOMEM, "out of memory");
	memcpy(copy, list, length);
	free(control->authority);
	control->authority = copy;
	control->authority_length = length;
	hf_info("the provider's authorities are others now (list %" PRIu64 ")",
		control->authorities_version);
	path_of(control, "authority.crt", path);
	err = hf_file_replace(path, list, length, 0600, message);
	if (memcmp(key, control->authority_key, sizeof key) != 0) {
		memcpy(control->authority_key, key, sizeof key);
		hf_registry_activation_void(control->reg);
		hf_activation_void(control);
		ask_certificate(control);
	}
	return err ? err : open_listeners(control, message);
}

int hf_control_trust_open(struct hf_control *control, struct hf_errmsg *message)
{
	char path[PATH_MAX];
	int err;

	path_of(control, "server.key", path);
	err = hf_sign_key_file(path, &control->server_key, message);
	if (err)
		return err;
	if (load_kept(control) == 0) {
		err = open_listeners(control, message);
		control->trusted = err == 0;
		hf_rotation_settle(control);
	}
	/* Names in the configuration may have changed: a fresh certificate at each start. */
	if (!err)
		ask_certificate(control);
	return err;
}

void hf_control_trust_tick(struct hf_control *control)
{
	if (!control->asking_trust &&
	    (!control->trusted || time(NULL) >= control->certificate_renew_s))
		ask_certificate(control);
}

void hf_control_trust_close(struct hf_control *control)
{
	free(control->certificate);
	free(control->authority);
	control->certificate = control->authority = NULL;
	explicit_bzero(&control->server_key, sizeof control->server_key);
}
