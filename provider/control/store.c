/* Where the gateways are to put volumes' objects: URL, region, CA and credentials of the
 * configuration. The credentials are encrypted by the signer before they touch the registry; when
 * anything of it changed since the last start, every gateway gets a new generation. Loop's thread.
 */
#include "provider/control/control.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/file.h"
#include "base/log.h"
#include "net/seal.h"
#include "proto/document.pb-c.h"
#include "provider/signer/purpose.h"

#define CA_FILE_MAX   (256u << 10)
#define COMPARE_TICKS 5u

struct credentials {
	char *access_key, *secret_key;
};

static const struct hf_conf_key credential_keys[] = {
	{"access_key", HF_CONF_TEXT, offsetof(struct credentials, access_key), NULL, "access key"},
	{"secret_key", HF_CONF_TEXT, offsetof(struct credentials, secret_key), NULL, "secret key"},
	{NULL},
};

/* The credentials as a plain encoded StoreSecrets, to be wiped; NULL and 0 if none are needed. */
static int read_credentials(const struct hf_control *control, uint8_t **plain, size_t *length,
			    struct hf_errmsg *message)
{
	Holdfast__StoreSecrets secrets = HOLDFAST__STORE_SECRETS__INIT;
	struct credentials credentials = {NULL, NULL};
	uint8_t *text = NULL;
	size_t text_length;
	struct stat st;
	int err;

	*plain = NULL;
	*length = 0;
	if (!control->config.store_credentials[0])
		return 0;
	if (stat(control->config.store_credentials, &st) == 0 && (st.st_mode & 077) != 0)
		return hf_fail(message, HF_EACCES, "%s: others can read it; chmod 600",
			       control->config.store_credentials);
	err = hf_file_read(control->config.store_credentials, 4096, &text, &text_length, message);
	if (err)
		return err;
	err = hf_conf_parse(control->config.store_credentials, (char *)text, credential_keys,
			    &credentials, message);
	hf_wipe_free(text, text_length);
	if (!err) {
		secrets.access_key = credentials.access_key;
		secrets.secret_key = credentials.secret_key;
		*length = holdfast__store_secrets__get_packed_size(&secrets);
		*plain = malloc(*length);
		err = *plain ? 0 : HF_ENOMEM;
		if (*plain)
			holdfast__store_secrets__pack(&secrets, *plain);
	}
	if (credentials.secret_key)
		explicit_bzero(credentials.secret_key, strlen(credentials.secret_key));
	hf_conf_free(credential_keys, &credentials);
	return err;
}

static int read_ca(struct hf_control *control, struct hf_errmsg *message)
{
	FILE *file;
	size_t length;

	control->store_ca = calloc(1, CA_FILE_MAX);
	if (!control->store_ca)
		return HF_ENOMEM;
	if (!control->config.store_ca[0])
		return 0;
	file = fopen(control->config.store_ca, "re");
	if (!file)
		return hf_fail(message, HF_ENOENT, "%s: cannot be opened",
			       control->config.store_ca);
	length = fread(control->store_ca, 1, CA_FILE_MAX - 1, file);
	fclose(file);
	if (!strstr(control->store_ca, "-----BEGIN CERTIFICATE-----") || length == CA_FILE_MAX - 1)
		return hf_fail(message, HF_EINVAL, "%s: not a PEM certificate",
			       control->config.store_ca);
	return 0;
}

/* What the gateways were last told, as a hash: a changed one makes a new generation. */
static void fingerprint_of(const struct hf_control *control, const uint8_t *plain, size_t length,
			   char text[2 * HF_HASH_BYTES + 1])
{
	const char *parts[] = {control->config.store_url, control->config.store_region,
			       control->store_ca};
	uint8_t hashes[4][HF_HASH_BYTES], all[HF_HASH_BYTES];

	for (unsigned i = 0; i < 3; i++)
		hf_sha256(parts[i], strlen(parts[i]), hashes[i]);
	hf_sha256(plain, length, hashes[3]);
	hf_sha256(hashes, sizeof hashes, all);
	hf_hex_encode(text, all, sizeof all);
}

struct id_list {
	size_t count;
	uint64_t ids[HF_CHANNELS_MAX];
};

static int collect(void *context, const struct hf_reg_gateway *gateway)
{
	struct id_list *list = context;

	if (gateway->generation == 0)
		return 0;
	if (list->count == HF_CHANNELS_MAX)
		return HF_ETOOBIG;
	list->ids[list->count++] = gateway->id;
	return 0;
}

static int bump_all(struct hf_control *control)
{
	struct id_list *list = calloc(1, sizeof *list);
	uint64_t generation;
	int err;

	if (!list)
		return HF_ENOMEM;
	err = hf_registry_gateway_visit(control->reg, collect, list);
	for (size_t i = 0; !err && i < list->count; i++)
		err = hf_registry_gateway_bump(control->reg, list->ids[i], &generation);
	free(list);
	return err;
}

static int recall(struct hf_control *control)
{
	char hex[2 * HF_REG_SECRET_MAX + 1];
	int err = hf_registry_setting_get(control->reg, "store_sealed", hex, sizeof hex);

	if (err)
		return err;
	control->store_sealed_length = strlen(hex) / 2;
	return hf_hex_decode(control->store_sealed, control->store_sealed_length, hex);
}

/* Another process with the same settings may have been first: its secret is as good. */
static int remember(struct hf_control *control, const char *fingerprint)
{
	char hex[2 * HF_REG_SECRET_MAX + 1], known[2 * HF_HASH_BYTES + 1] = "";
	int err = hf_registry_begin(control->reg);

	if (err)
		return err;
	hf_registry_setting_get(control->reg, "store_fingerprint", known, sizeof known);
	if (strcmp(fingerprint, known) == 0)
		return hf_registry_end(control->reg, recall(control));
	hf_hex_encode(hex, control->store_sealed, control->store_sealed_length);
	err = hf_registry_setting_put(control->reg, "store_sealed", hex);
	if (!err)
		err = hf_registry_setting_put(control->reg, "store_fingerprint", fingerprint);
	if (!err)
		err = bump_all(control);
	return hf_registry_end(control->reg, err);
}

struct asking {
	struct hf_control *control;
	char fingerprint[2 * HF_HASH_BYTES + 1];
};

static void secret_answered(void *context, int err, const char *reason,
			    const Holdfast__SignerAnswer *answer)
{
	struct asking *asking = context;
	struct hf_control *control = asking->control;

	HF_CHECK_MAGIC(control, HF_CONTROL_MAGIC);
	control->asking_store = false;
	if (!err && answer->secret.len > HF_REG_SECRET_MAX)
		err = HF_ETOOBIG;
	if (!err) {
		memcpy(control->store_sealed, answer->secret.data, answer->secret.len);
		control->store_sealed_length = answer->secret.len;
		err = remember(control, asking->fingerprint);
	}
	if (err && !control->store_warned)
		hf_warn("the store's credentials are not encrypted yet: %s", reason);
	control->store_warned = err != 0;
	control->store_ready = err == 0;
	free(asking);
}

static int encrypt(struct hf_control *control, uint8_t *plain, size_t length,
		   const char *fingerprint)
{
	Holdfast__SignerRequest request = HOLDFAST__SIGNER_REQUEST__INIT;
	Holdfast__SignerNewSecret order = HOLDFAST__SIGNER_NEW_SECRET__INIT;
	char purpose[HF_PURPOSE_MAX];
	struct asking *asking = calloc(1, sizeof *asking);

	if (!asking)
		return HF_ENOMEM;
	asking->control = control;
	snprintf(asking->fingerprint, sizeof asking->fingerprint, "%s", fingerprint);
	hf_signer_purpose_store(control->info.tenant, purpose);
	order.plain.data = plain;
	order.plain.len = length;
	order.purpose = purpose;
	request.kind_case = HOLDFAST__SIGNER_REQUEST__KIND_NEW_SECRET;
	request.new_secret = &order;
	control->asking_store = true;
	hf_signer_ask(control->signer, &request, secret_answered, asking);
	return 0;
}

static int prepare(struct hf_control *control, struct hf_errmsg *message)
{
	char fingerprint[2 * HF_HASH_BYTES + 1], known[2 * HF_HASH_BYTES + 1] = "";
	uint8_t *plain;
	size_t length;
	int err = read_credentials(control, &plain, &length, message);

	if (err)
		return err;
	fingerprint_of(control, plain, length, fingerprint);
	memcpy(control->store_fingerprint, fingerprint, sizeof fingerprint);
	hf_registry_setting_get(control->reg, "store_fingerprint", known, sizeof known);
	if (strcmp(fingerprint, known) == 0 && recall(control) == 0) {
		control->store_ready = true;
	} else if (length == 0) {
		control->store_sealed_length = 0;
		err = remember(control, fingerprint);
		control->store_ready = err == 0;
	} else {
		err = encrypt(control, plain, length, fingerprint);
	}
	hf_wipe_free(plain, length);
	return err;
}

int hf_store_settings_open(struct hf_control *control, struct hf_errmsg *message)
{
	int err = read_ca(control, message);

	return err ? err : prepare(control, message);
}

/* Whoever was started last is right. With older settings a process builds no documents, or gateways
 * would be sent from one store to the other and back. */
static void compare(struct hf_control *control)
{
	char known[2 * HF_HASH_BYTES + 1] = "";
	bool differs;

	if (control->alone || (!control->store_ready && !control->store_differs) ||
	    control->store_ticks++ % COMPARE_TICKS != 0 ||
	    hf_registry_setting_get(control->reg, "store_fingerprint", known, sizeof known) != 0)
		return;
	differs = strcmp(known, control->store_fingerprint) != 0;
	if (differs == control->store_differs)
		return;
	control->store_differs = differs;
	control->store_ready = false;
	if (differs)
		hf_error("another process was started with other store settings than this one: "
			 "it signs no changes until it is restarted with the same");
	else
		hf_info("all processes have the same store settings again");
}

void hf_store_settings_tick(struct hf_control *control)
{
	struct hf_errmsg message = {""};

	compare(control);
	if (control->store_differs || control->store_ready || control->asking_store ||
	    prepare(control, &message) == 0)
		return;
	if (!control->store_warned)
		hf_warn("the store's settings: %s", message.text);
	control->store_warned = true;
}

void hf_store_settings_close(struct hf_control *control)
{
	free(control->store_ca);
	control->store_ca = NULL;
}
