/* Checks of administrators' requests (validate.h). Pure. */
#include "provider/control/validate.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "net/dial.h"
#include "proto/action.pb-c.h"
#include "provider/registry/registry.h"

#define NAME_CHARS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"
/* What RFC 3722 leaves of an iSCSI name in ASCII; no comma, so that it can stand in a list. */
#define ISCSI_CHARS    "abcdefghijklmnopqrstuvwxyz0123456789.:-"
#define CHAP_USER_MAX  64u /* what a gateway takes */
#define TGTDS_MAX      8u
#define CREDENTIAL_MAX 200u
#define CONFIRM_MAX_S  3600u
#define EXPIRES_MAX_S  (30u * 86400u)

int hf_validate_name(const char *what, const char *name, struct hf_errmsg *message)
{
	size_t length = strlen(name);

	if (length == 0)
		return hf_fail(message, HF_EINVAL, "the %s's name is missing", what);
	if (length > HF_REG_NAME_MAX || strspn(name, NAME_CHARS) != length)
		return hf_fail(message, HF_EINVAL,
			       "the %s's name must be 1 to %u of A-Z a-z 0-9 . _ -", what,
			       HF_REG_NAME_MAX);
	return 0;
}

int hf_validate_size(uint64_t size_bytes, struct hf_errmsg *message)
{
	unsigned long long next = (size_bytes | (HF_VOLUME_SIZE_UNIT - 1)) + 1;

	if (size_bytes < HF_VOLUME_SIZE_MIN || size_bytes > HF_VOLUME_SIZE_MAX)
		return hf_fail(message, HF_EINVAL,
			       "a volume's size is 1MiB to 32TiB, not %llu "
			       "bytes",
			       (unsigned long long)size_bytes);
	if (size_bytes % HF_VOLUME_SIZE_UNIT != 0)
		return hf_fail(message, HF_EINVAL,
			       "a volume's size is a multiple of %u bytes; next to %llu is %llu",
			       HF_VOLUME_SIZE_UNIT, (unsigned long long)size_bytes, next);
	return 0;
}

/* iqn.YYYY-MM.domain[:anything] */
static int is_iqn(const char *name)
{
	static const char shape[] = "iqn.dddd-dd.";

	for (size_t i = 0; shape[i]; i++)
		if (shape[i] == 'd' ? !isdigit((unsigned char)name[i]) : name[i] != shape[i])
			return 0;
	name += sizeof shape - 1;
	return isalnum((unsigned char)name[0]) && name[strspn(name, ISCSI_CHARS)] == '\0';
}

static int is_hex_name(const char *name, const char *prefix, size_t digits)
{
	return strncmp(name, prefix, 4) == 0 && strlen(name) == 4 + digits &&
	       strspn(name + 4, "0123456789abcdefABCDEF") == digits;
}

/* The bits after the prefix are zero: 192.0.2.0/24, not 192.0.2.7/24. */
static int is_network(const unsigned char *bytes, unsigned long prefix, unsigned bits)
{
	for (unsigned long i = prefix; i < bits; i++)
		if (bytes[i / 8] >> (7 - i % 8) & 1)
			return 0;
	/* A whole-length prefix is an address, and 0 would be everybody. */
	return prefix > 0 && prefix < bits;
}

static int is_address(const char *text)
{
	char address[INET6_ADDRSTRLEN];
	const char *slash = strchr(text, '/');
	size_t length = slash ? (size_t)(slash - text) : strlen(text);
	unsigned char bytes[16];
	unsigned long bits;
	char *end;
	int v4, v6;

	if (length >= sizeof address)
		return 0;
	memcpy(address, text, length);
	address[length] = '\0';
	v4 = inet_pton(AF_INET, address, bytes) == 1;
	v6 = inet_pton(AF_INET6, address, bytes) == 1;
	if (!slash || (!v4 && !v6))
		return v4 || v6;
	bits = strtoul(slash + 1, &end, 10);
	return isdigit((unsigned char)slash[1]) && *end == '\0' &&
	       is_network(bytes, bits, v4 ? 32u : 128u);
}

int hf_validate_initiator(const char *initiator, struct hf_errmsg *message)
{
	if (strlen(initiator) <= HF_REG_IQN_MAX &&
	    (is_iqn(initiator) || is_hex_name(initiator, "eui.", 16) ||
	     is_hex_name(initiator, "naa.", 16) || is_hex_name(initiator, "naa.", 32) ||
	     is_address(initiator)))
		return 0;
	return hf_fail(message, HF_EINVAL,
		       "an initiator is a name such as iqn.2004-10.com.example:host1 (lower case), "
		       "eui.…, naa.…, or an address such as 192.0.2.7 or 192.0.2.0/24, not `%.60s`",
		       initiator);
}

int hf_validate_iqn_prefix(const char *prefix, struct hf_errmsg *message)
{
	if (is_iqn(prefix) && !strchr(prefix, ':') && strlen(prefix) <= 150)
		return 0;
	return hf_fail(message, HF_EINVAL,
		       "`iqn_prefix` wants iqn.YYYY-MM.reversed.domain in lower case, not `%.60s`",
		       prefix);
}

static int is_printable(const char *text)
{
	for (; *text; text++)
		if (*text < '!' || *text > '~' || *text == ',')
			return 0;
	return 1;
}

static int check_account(const char *what, const char *user, const char *secret,
			 struct hf_errmsg *message)
{
	size_t length = strlen(secret);

	if (!is_printable(user) || strlen(user) > CHAP_USER_MAX || strncmp(user, ".hf-", 4) == 0)
		return hf_fail(message, HF_EINVAL,
			       "the %s user is 1 to %u printable ASCII characters without spaces "
			       "and commas",
			       what, CHAP_USER_MAX);
	if (length < HF_CHAP_SECRET_MIN || length > HF_CHAP_SECRET_MAX)
		return hf_fail(message, HF_EINVAL,
			       "the %s secret must have %u to %u characters (some initiators take "
			       "no more than 16), not %zu",
			       what, HF_CHAP_SECRET_MIN, HF_CHAP_SECRET_MAX, length);
	if (!is_printable(secret))
		return hf_fail(message, HF_EINVAL,
			       "the %s secret must be printable ASCII without spaces and commas",
			       what);
	return 0;
}

int hf_validate_chap(const char *user, const char *secret, const char *mutual_user,
		     const char *mutual_secret, struct hf_errmsg *message)
{
	int err = 0;

	if (!user[0] != !secret[0] || !mutual_user[0] != !mutual_secret[0])
		return hf_fail(message, HF_EINVAL, "CHAP needs both, a user and a secret");
	if (mutual_user[0] && !user[0])
		return hf_fail(message, HF_EINVAL, "mutual CHAP needs CHAP of the initiator too");
	if (user[0])
		err = check_account("CHAP", user, secret, message);
	if (!err && mutual_user[0])
		err = check_account("mutual CHAP", mutual_user, mutual_secret, message);
	/* RFC 7143, 9.2.1: a peer that knows one secret must not be able to reflect it. */
	if (!err && mutual_user[0] && strcmp(secret, mutual_secret) == 0)
		err = hf_fail(message, HF_EINVAL, "the two CHAP secrets must differ");
	return err;
}

static int validate_create(const Holdfast__AdminVolumeCreate *create, struct hf_errmsg *message)
{
	int err = hf_validate_name("volume", create->name, message);

	if (!err && create->gateway[0] == '\0')
		err = hf_fail(message, HF_EINVAL, "a gateway is missing");
	if (!err)
		err = hf_validate_size(create->size_bytes, message);
	if (!err && create->block_size != 0 && create->block_size != HF_VOLUME_BLOCK_SIZE &&
	    create->block_size != HF_VOLUME_BLOCK_SIZE_LARGE)
		err = hf_fail(message, HF_EINVAL, "a block has 512 or 4096 bytes, not %u",
			      create->block_size);
	if (!err)
		err = hf_validate_chap(create->chap_user, create->chap_secret, create->mutual_user,
				       create->mutual_secret, message);
	if (!err && create->n_initiators > HF_VOLUME_INITIATORS_MAX)
		err = hf_fail(message, HF_EINVAL, "at most %u initiators",
			      HF_VOLUME_INITIATORS_MAX);
	for (size_t i = 0; !err && i < create->n_initiators; i++)
		err = hf_validate_initiator(create->initiators[i], message);
	return err;
}

static int check_reference(const char *what, const char *text, struct hf_errmsg *message)
{
	if (text[0] == '\0')
		return hf_fail(message, HF_EINVAL, "a %s is missing", what);
	if (strlen(text) > HF_REG_NAME_MAX || strspn(text, NAME_CHARS) != strlen(text))
		return hf_fail(message, HF_EINVAL, "`%.70s` is neither the id nor the name of a %s",
			       text, what);
	return 0;
}

static int validate_chap(const Holdfast__AdminChap *chap, struct hf_errmsg *message)
{
	int err = check_reference("volume", chap->volume, message);

	if (!err && !chap->chap_user[0])
		err = hf_fail(message, HF_EINVAL, "a CHAP user is missing");
	return err ? err
		   : hf_validate_chap(chap->chap_user, chap->chap_secret, chap->mutual_user,
				      chap->mutual_secret, message);
}

static int validate_act(const Holdfast__AdminAct *act, struct hf_errmsg *message)
{
	if (act->kind == 0 || act->kind == HOLDFAST__ACTION_KIND__ACTION_PLAN ||
	    act->kind > HOLDFAST__ACTION_KIND__ACTION_UPDATE)
		return hf_fail(message, HF_EINVAL, "there is no such action");
	if (act->tgtd > TGTDS_MAX)
		return hf_fail(message, HF_EINVAL, "a gateway has at most %u tgtd", TGTDS_MAX);
	if (act->expires_s > EXPIRES_MAX_S)
		return hf_fail(message, HF_EINVAL, "an action waits at most 30 days");
	return check_reference("gateway", act->gateway, message);
}

static int check_endpoint(const char *what, const char *text, struct hf_errmsg *message)
{
	char host[HF_REG_HOST_MAX + 1];
	uint16_t port;

	if (strlen(text) > HF_REG_PORTAL_MAX ||
	    hf_endpoint_parse(text, host, sizeof host, &port) != 0 || port == 0)
		return hf_fail(message, HF_EINVAL, "%s `%.60s` is not host:port", what, text);
	return 0;
}

/* What RFC 7617 lets pass as it is. */
static bool is_credential(const char *text)
{
	size_t length = strlen(text);

	for (size_t i = 0; i < length; i++)
		if (text[i] < ' ' || text[i] > '~')
			return false;
	return length <= CREDENTIAL_MAX;
}

static int validate_network(const Holdfast__AdminNetwork *settings, struct hf_errmsg *message)
{
	int err = check_reference("gateway", settings->gateway, message);

	if (!err && settings->n_endpoints > HF_REG_ENDPOINTS_MAX)
		err = hf_fail(message, HF_EINVAL, "at most %u endpoints", HF_REG_ENDPOINTS_MAX);
	for (size_t i = 0; !err && i < settings->n_endpoints; i++)
		err = check_endpoint("the endpoint", settings->endpoints[i], message);
	if (!err && settings->confirm_s > CONFIRM_MAX_S)
		err = hf_fail(message, HF_EINVAL, "settings are tried for at most an hour");
	if (!err && !settings->proxy_user[0] != !settings->proxy_password[0])
		err = hf_fail(message, HF_EINVAL, "a proxy's user and password belong together");
	if (!err && settings->proxy_user[0] && !settings->proxy[0])
		err = hf_fail(message, HF_EINVAL, "credentials without a proxy");
	if (!err && (!is_credential(settings->proxy_user) || strchr(settings->proxy_user, ':')))
		err = hf_fail(message, HF_EINVAL,
			      "a proxy's user has 1 to %u printable characters without a colon",
			      CREDENTIAL_MAX);
	if (!err && !is_credential(settings->proxy_password))
		err = hf_fail(message, HF_EINVAL,
			      "a proxy's password has 1 to %u printable characters",
			      CREDENTIAL_MAX);
	if (err || !settings->proxy[0])
		return err;
	if (strncmp(settings->proxy, "http://", 7) != 0)
		return hf_fail(message, HF_EINVAL, "a proxy is http://host:port");
	return check_endpoint("the proxy", settings->proxy + 7, message);
}

static bool is_tried(const Holdfast__AdminRequest *request)
{
	switch (request->kind_case) {
	case HOLDFAST__ADMIN_REQUEST__KIND_VOLUME_CREATE:
	case HOLDFAST__ADMIN_REQUEST__KIND_VOLUME_ATTACH:
	case HOLDFAST__ADMIN_REQUEST__KIND_VOLUME_DETACH:
	case HOLDFAST__ADMIN_REQUEST__KIND_VOLUME_GROW:
	case HOLDFAST__ADMIN_REQUEST__KIND_VOLUME_DELETE:
		return true;
	default:
		return false;
	}
}

int hf_validate_request(const Holdfast__AdminRequest *request, struct hf_errmsg *message)
{
	int err;

	if (request->wait_ms > HF_WAIT_MAX_MS)
		return hf_fail(message, HF_EINVAL, "waiting is limited to a day");
	if (request->dry_run && !is_tried(request))
		return hf_fail(message, HF_EINVAL, "only changes of volumes can be tried");
	switch (request->kind_case) {
	case HOLDFAST__ADMIN_REQUEST__KIND_INFO:
	case HOLDFAST__ADMIN_REQUEST__KIND_GATEWAY_LIST:
	case HOLDFAST__ADMIN_REQUEST__KIND_VOLUME_LIST:
	case HOLDFAST__ADMIN_REQUEST__KIND_AUTHORITIES:
		return 0;
	case HOLDFAST__ADMIN_REQUEST__KIND_GATEWAY_SHOW:
		return check_reference("gateway", request->gateway_show->gateway, message);
	case HOLDFAST__ADMIN_REQUEST__KIND_GATEWAY_PLAN:
		return check_reference("gateway", request->gateway_plan->gateway, message);
	case HOLDFAST__ADMIN_REQUEST__KIND_GATEWAY_NETWORK:
		return validate_network(request->gateway_network, message);
	case HOLDFAST__ADMIN_REQUEST__KIND_ACT:
		return validate_act(request->act, message);
	case HOLDFAST__ADMIN_REQUEST__KIND_ACTION_LIST:
		return request->action_list->gateway[0]
			       ? check_reference("gateway", request->action_list->gateway, message)
			       : 0;
	case HOLDFAST__ADMIN_REQUEST__KIND_ACTION_SHOW:
		return check_reference("action", request->action_show->action, message);
	case HOLDFAST__ADMIN_REQUEST__KIND_GATEWAY_REVOKE:
		return check_reference("gateway", request->gateway_revoke->gateway, message);
	case HOLDFAST__ADMIN_REQUEST__KIND_GATEWAY_CLAIMANTS:
		return check_reference("gateway", request->gateway_claimants->gateway, message);
	case HOLDFAST__ADMIN_REQUEST__KIND_GATEWAY_ACCEPT:
		return check_reference("gateway", request->gateway_accept->gateway, message);
	case HOLDFAST__ADMIN_REQUEST__KIND_CONFIRM:
		return check_reference("gateway", request->confirm->gateway, message);
	case HOLDFAST__ADMIN_REQUEST__KIND_ACTIVATE:
		return hf_validate_name("gateway", request->activate->name, message);
	case HOLDFAST__ADMIN_REQUEST__KIND_VOLUME_CREATE:
		return validate_create(request->volume_create, message);
	case HOLDFAST__ADMIN_REQUEST__KIND_VOLUME_CHAP:
		return validate_chap(request->volume_chap, message);
	case HOLDFAST__ADMIN_REQUEST__KIND_VOLUME_SHOW:
		return check_reference("volume", request->volume_show->volume, message);
	case HOLDFAST__ADMIN_REQUEST__KIND_VOLUME_ATTACH:
		err = check_reference("volume", request->volume_attach->volume, message);
		return err ? err
			   : check_reference("gateway", request->volume_attach->gateway, message);
	case HOLDFAST__ADMIN_REQUEST__KIND_VOLUME_DETACH:
		if (request->volume_detach->force)
			return hf_fail(message, HF_EUNSUPPORTED,
				       "a forced detach is not supported yet");
		return check_reference("volume", request->volume_detach->volume, message);
	case HOLDFAST__ADMIN_REQUEST__KIND_VOLUME_GROW:
		err = check_reference("volume", request->volume_grow->volume, message);
		return err ? err : hf_validate_size(request->volume_grow->size_bytes, message);
	case HOLDFAST__ADMIN_REQUEST__KIND_VOLUME_DELETE:
		return check_reference("volume", request->volume_delete->volume, message);
	default:
		return hf_fail(message, HF_EUNSUPPORTED, "the provider does not know this request");
	}
}
