/* See request.h. */
#include "gateway/broker/request.h"

#include <openssl/crypto.h>
#include <string.h>

#include "gateway/broker/names.h"
#include "gateway/broker/operation.h"
#include "gateway/broker/report.h"

#define OPERATION_NS (20ull * 1000000000ull)
#define LUN_MAX      255u
#define ENTRIES_MAX  256u

static int check_iqn(const char *iqn, struct hf_errmsg *message)
{
	return hf_name_is_iscsi(iqn)
		       ? 0
		       : hf_fail(message, HF_EINVAL, "the target's name is not a valid iSCSI name");
}

static int check_lun(const Holdfast__BrokerLun *lun, struct hf_errmsg *message)
{
	if (lun->lun < 1 || lun->lun > LUN_MAX)
		return hf_fail(message, HF_EINVAL, "a LUN is a number from 1 to %u", LUN_MAX);
	if (lun->volume == 0)
		return hf_fail(message, HF_EINVAL, "no volume is named");
	if (lun->size_bytes == 0 || lun->size_bytes % 512 || lun->size_bytes > 1ull << 50)
		return hf_fail(message, HF_EINVAL, "the size is no multiple of 512 up to 1 PiB");
	if (lun->block_size != 0 && lun->block_size != 512 && lun->block_size != 4096)
		return hf_fail(message, HF_EINVAL, "a block has 512 or 4096 bytes");
	if (lun->block_size && lun->size_bytes % lun->block_size)
		return hf_fail(message, HF_EINVAL, "the size is no multiple of the block size");
	if (!hf_name_is_serial(lun->serial))
		return hf_fail(message, HF_EINVAL, "the serial number is not valid");
	return check_iqn(lun->iqn, message);
}

static int check_entries(char *const *entries, size_t count, bool (*is_valid)(const char *),
			 const char *what, struct hf_errmsg *message)
{
	if (count > ENTRIES_MAX)
		return hf_fail(message, HF_ETOOBIG, "more than %u entries in the access list",
			       ENTRIES_MAX);
	for (size_t i = 0; i < count; i++) {
		if (!is_valid(entries[i]))
			return hf_fail(message, HF_EINVAL, "entry %zu of the access list is no %s",
				       i + 1, what);
		for (size_t j = 0; j < i; j++)
			if (strcmp(entries[i], entries[j]) == 0)
				return hf_fail(message, HF_EINVAL,
					       "entry %zu of the access list is there twice",
					       i + 1);
	}
	return 0;
}

static int check_account(const char *what, const char *user, const char *secret,
			 struct hf_errmsg *message)
{
	if (!user[0] && !secret[0])
		return 0;
	if (!hf_name_is_user(user))
		return hf_fail(message, HF_EINVAL, "the %s user is not valid", what);
	if (!hf_name_is_secret(secret))
		return hf_fail(message, HF_EINVAL, "the %s secret is not valid", what);
	return 0;
}

static int check_access(const Holdfast__BrokerAccess *access, struct hf_errmsg *message)
{
	int err = check_iqn(access->iqn, message);

	if (err == 0)
		err = check_entries(access->initiators, access->n_initiators, hf_name_is_iscsi,
				    "initiator's name", message);
	if (err == 0)
		err = check_entries(access->addresses, access->n_addresses, hf_name_is_address,
				    "address", message);
	if (err == 0)
		err = check_account("CHAP", access->chap_user, access->chap_secret, message);
	if (err == 0)
		err = check_account("mutual CHAP", access->mutual_user, access->mutual_secret,
				    message);
	if (err)
		return err;
	for (size_t i = 0; i < access->n_addresses; i++)
		if (strcmp(access->addresses[i], "ALL") == 0 &&
		    access->n_addresses + access->n_initiators > 1)
			return hf_fail(message, HF_EINVAL, "ALL stands alone in an access list");
	if (access->mutual_user[0] && !access->chap_user[0])
		return hf_fail(message, HF_EINVAL, "mutual CHAP needs CHAP");
	if (access->mutual_user[0] && (strcmp(access->mutual_user, access->chap_user) == 0 ||
				       strcmp(access->mutual_secret, access->chap_secret) == 0))
		return hf_fail(message, HF_EINVAL,
			       "mutual CHAP needs a user and a secret of its own");
	return 0;
}

static int check(const Holdfast__BrokerRequest *request, struct hf_errmsg *message)
{
	switch (request->kind_case) {
	case HOLDFAST__BROKER_REQUEST__KIND_SHOW:
		return 0;
	case HOLDFAST__BROKER_REQUEST__KIND_CREATE_TARGET:
		return check_iqn(request->create_target->iqn, message);
	case HOLDFAST__BROKER_REQUEST__KIND_DELETE_TARGET:
		return check_iqn(request->delete_target, message);
	case HOLDFAST__BROKER_REQUEST__KIND_ADD_LUN:
		return check_lun(request->add_lun, message);
	case HOLDFAST__BROKER_REQUEST__KIND_REMOVE_LUN:
		if (request->remove_lun->lun < 1 || request->remove_lun->lun > LUN_MAX)
			return hf_fail(message, HF_EINVAL, "a LUN is a number from 1 to %u",
				       LUN_MAX);
		return check_iqn(request->remove_lun->iqn, message);
	case HOLDFAST__BROKER_REQUEST__KIND_SET_ACCESS:
		return check_access(request->set_access, message);
	case HOLDFAST__BROKER_REQUEST__KIND_OPEN_PORTAL:
	case HOLDFAST__BROKER_REQUEST__KIND_CLOSE_PORTAL:
		/* One union member for both: the string. */
		return hf_name_is_portal(request->open_portal)
			       ? 0
			       : hf_fail(message, HF_EINVAL, "a portal is ADDRESS:PORT");
	case HOLDFAST__BROKER_REQUEST__KIND_RESTART:
		if (request->restart->boot.len != HF_TGT_BOOT_BYTES)
			return hf_fail(message, HF_EINVAL, "no run of tgtd is named");
		return 0;
	default:
		return hf_fail(message, HF_EPROTO, "the question is not known");
	}
}

int hf_broker_request_decode(const uint8_t *bytes, size_t length, Holdfast__BrokerRequest **request,
			     struct hf_errmsg *message)
{
	int err;

	*request = holdfast__broker_request__unpack(NULL, length, bytes);
	if (!*request)
		return hf_fail(message, HF_EPROTO, "the question cannot be read");
	err = check(*request, message);
	if (err) {
		hf_broker_request_free(*request);
		*request = NULL;
	}
	return err;
}

static void wipe(char *secret)
{
	OPENSSL_cleanse(secret, strlen(secret));
}

void hf_broker_request_free(Holdfast__BrokerRequest *request)
{
	if (!request)
		return;
	if (request->kind_case == HOLDFAST__BROKER_REQUEST__KIND_SET_ACCESS) {
		if (request->set_access->chap_secret[0])
			wipe(request->set_access->chap_secret);
		if (request->set_access->mutual_secret[0])
			wipe(request->set_access->mutual_secret);
	}
	holdfast__broker_request__free_unpacked(request, NULL);
}

int hf_broker_request_execute(const char *tgt_socket, const Holdfast__BrokerRequest *request,
			      Holdfast__BrokerState **state, struct hf_errmsg *message)
{
	struct hf_operation op = {
		.socket = tgt_socket,
		.deadline_ns = hf_tgt_now_ns() + OPERATION_NS,
		.message = message,
	};

	*state = NULL;
	switch (request->kind_case) {
	case HOLDFAST__BROKER_REQUEST__KIND_SHOW:
		return hf_op_report(&op, state);
	case HOLDFAST__BROKER_REQUEST__KIND_CREATE_TARGET:
		return hf_op_create_target(&op, request->create_target->iqn);
	case HOLDFAST__BROKER_REQUEST__KIND_DELETE_TARGET:
		return hf_op_delete_target(&op, request->delete_target);
	case HOLDFAST__BROKER_REQUEST__KIND_ADD_LUN:
		return hf_op_add_lun(&op, request->add_lun);
	case HOLDFAST__BROKER_REQUEST__KIND_REMOVE_LUN:
		return hf_op_remove_lun(&op, request->remove_lun);
	case HOLDFAST__BROKER_REQUEST__KIND_SET_ACCESS:
		return hf_op_set_access(&op, request->set_access);
	case HOLDFAST__BROKER_REQUEST__KIND_OPEN_PORTAL:
		return hf_op_open_portal(&op, request->open_portal);
	case HOLDFAST__BROKER_REQUEST__KIND_CLOSE_PORTAL:
		return hf_op_close_portal(&op, request->close_portal);
	case HOLDFAST__BROKER_REQUEST__KIND_RESTART:
		return hf_op_restart(&op, request->restart->boot.data, request->restart->boot.len);
	default:
		return HF_EPROTO;
	}
}

const char *hf_broker_request_verb(const Holdfast__BrokerRequest *request)
{
	static const char *const verbs[] = {
		[HOLDFAST__BROKER_REQUEST__KIND_SHOW] = "show",
		[HOLDFAST__BROKER_REQUEST__KIND_CREATE_TARGET] = "create_target",
		[HOLDFAST__BROKER_REQUEST__KIND_DELETE_TARGET] = "delete_target",
		[HOLDFAST__BROKER_REQUEST__KIND_ADD_LUN] = "add_lun",
		[HOLDFAST__BROKER_REQUEST__KIND_REMOVE_LUN] = "remove_lun",
		[HOLDFAST__BROKER_REQUEST__KIND_SET_ACCESS] = "set_access",
		[HOLDFAST__BROKER_REQUEST__KIND_OPEN_PORTAL] = "open_portal",
		[HOLDFAST__BROKER_REQUEST__KIND_CLOSE_PORTAL] = "close_portal",
		[HOLDFAST__BROKER_REQUEST__KIND_RESTART] = "restart",
	};

	return verbs[request->kind_case];
}

const char *hf_broker_request_name(const Holdfast__BrokerRequest *request)
{
	switch (request->kind_case) {
	case HOLDFAST__BROKER_REQUEST__KIND_CREATE_TARGET:
		return request->create_target->iqn;
	case HOLDFAST__BROKER_REQUEST__KIND_DELETE_TARGET:
		return request->delete_target;
	case HOLDFAST__BROKER_REQUEST__KIND_ADD_LUN:
		return request->add_lun->iqn;
	case HOLDFAST__BROKER_REQUEST__KIND_REMOVE_LUN:
		return request->remove_lun->iqn;
	case HOLDFAST__BROKER_REQUEST__KIND_SET_ACCESS:
		return request->set_access->iqn;
	case HOLDFAST__BROKER_REQUEST__KIND_OPEN_PORTAL:
	case HOLDFAST__BROKER_REQUEST__KIND_CLOSE_PORTAL:
		return request->open_portal;
	default:
		return "";
	}
}
