/* Fuzz target: any bytes as a rotation that the true signer signed (for this gateway or for all, by
 * the first byte), or as the signed change itself. Promise (invariant 9): refused with a reason or
 * understood, whatever a certificate, a key or a list of authorities holds; nothing of it is kept,
 * because there is no folder to keep it in. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "gateway/agent/trust.h"
#include "net/identity.h"

#define TENANT  7u
#define GATEWAY 9u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct hf_sign_key identity, signer, authority_key;
static uint8_t *authority, *certificate;
static size_t authority_length, certificate_length;

static void prepare(void)
{
	struct hf_certificate_order order = {.tenant = TENANT, .gateway = GATEWAY};
	struct hf_errmsg message;

	memset(identity.secret, 1, HF_KEY_BYTES);
	memset(signer.secret, 2, HF_KEY_BYTES);
	memset(authority_key.secret, 3, HF_KEY_BYTES);
	HF_ASSERT(hf_sign_key_public(&identity) == 0 && hf_sign_key_public(&signer) == 0 &&
		  hf_sign_key_public(&authority_key) == 0);
	HF_ASSERT(hf_authority_make(&authority_key, "fuzz", 86400, &authority, &authority_length) ==
		  0);
	order.authority_key = &authority_key;
	order.authority = authority;
	order.authority_length = authority_length;
	memcpy(order.public_key, identity.public_key, HF_KEY_BYTES);
	HF_ASSERT(hf_certificate_issue(&order, &certificate, &certificate_length, &message) == 0);
}

static Holdfast__Signed *sign(const uint8_t *data, size_t size, bool for_all)
{
	Holdfast__Change change = HOLDFAST__CHANGE__INIT;
	Holdfast__Signed *packet;
	uint8_t *bytes;
	size_t length;

	change.tenant = for_all ? 0 : TENANT;
	change.gateway = for_all ? 0 : GATEWAY;
	change.sequence = 1;
	change.kind_case = HOLDFAST__CHANGE__KIND_ROTATION;
	change.rotation = (ProtobufCBinaryData){size, (uint8_t *)(uintptr_t)data};
	HF_ASSERT(hf_change_sign(&signer, &change, &bytes, &length) == 0);
	packet = holdfast__signed__unpack(NULL, length, bytes);
	free(bytes);
	return packet;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Holdfast__ActivateIssued issued = HOLDFAST__ACTIVATE_ISSUED__INIT;
	struct hf_kept kept = {.folder = "/proc/none"};
	struct hf_trust trust = {.kept = &kept, .identity = &identity, .issued = &issued};
	struct hf_errmsg message = {""};
	enum hf_trust_news news = HF_TRUST_SIGNER;
	Holdfast__Signed *packet;

	if (!authority)
		prepare();
	if (size == 0)
		return 0;
	issued.tenant = TENANT;
	issued.gateway = GATEWAY;
	issued.signer_key = (ProtobufCBinaryData){HF_KEY_BYTES, signer.public_key};
	issued.ca_certificate = (ProtobufCBinaryData){authority_length, authority};
	issued.certificate = (ProtobufCBinaryData){certificate_length, certificate};
	packet = data[0] % 3 == 2 ? holdfast__signed__unpack(NULL, size - 1, data + 1)
				  : sign(data + 1, size - 1, data[0] % 3 == 0);
	if (!packet)
		return 0;
	if (hf_trust_rotate(&trust, packet, &news, &message) != 0)
		HF_ASSERT(message.text[0] != '\0');
	HF_ASSERT(news == HF_TRUST_NOTHING);
	holdfast__signed__free_unpacked(packet, NULL);
	return 0;
}
