/* Who may log in to a target. The order of steps keeps what is allowed, at every moment, within
 * what was allowed before or is to be allowed now: first entries of the access list go that are not
 * wanted, then the accounts change, then sessions that lost access are closed, then new entries
 * come. tgtd lets in whom the address list OR the name list allows. */
#include "gateway/broker/operation.h"

#include <stdio.h>
#include <string.h>

#include "gateway/broker/names.h"

static bool contains(char *const *list, size_t count, const char *text)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(list[i], text) == 0)
			return true;
	return false;
}

static bool is_wanted(const Holdfast__BrokerAccess *access, const char *entry)
{
	return contains(access->initiators, access->n_initiators, entry) ||
	       contains(access->addresses, access->n_addresses, entry);
}

static bool has_entry(const struct hf_tgt_target *target, const char *entry)
{
	for (size_t i = 0; i < target->acl_count; i++)
		if (strcmp(target->acls[i].entry, entry) == 0)
			return true;
	return false;
}

int hf_op_bind_acl(struct hf_operation *op, int32_t tid, const char *entry, bool bind)
{
	char parameters[HF_TGT_NAME_MAX + 32];
	const struct hf_tgt_request request = {.mode = HF_TGT_TARGET,
					       .op = bind ? HF_TGT_BIND : HF_TGT_UNBIND,
					       .tid = tid,
					       .parameters = parameters};

	snprintf(parameters, sizeof parameters, "%s=%s",
		 hf_tgt_is_iscsi_name(entry) ? "initiator-name" : "initiator-address", entry);
	return hf_op_ask(op, &request, bind ? HF_TGT_ACL_EXISTS : HF_TGT_NO_ACL,
			 bind ? "allow an initiator" : "refuse an initiator", NULL);
}

static int remove_unwanted(struct hf_operation *op, const struct hf_tgt_target *target,
			   const Holdfast__BrokerAccess *access)
{
	int err = 0;

	for (size_t i = 0; err == 0 && i < target->acl_count; i++)
		if (!is_wanted(access, target->acls[i].entry))
			err = hf_op_bind_acl(op, target->tid, target->acls[i].entry, false);
	return err;
}

static int add_missing(struct hf_operation *op, const struct hf_tgt_target *target,
		       char *const *entries, size_t count)
{
	int err = 0;

	for (size_t i = 0; err == 0 && i < count; i++)
		if (!has_entry(target, entries[i]))
			err = hf_op_bind_acl(op, target->tid, entries[i], true);
	return err;
}

static bool may_stay(const struct hf_tgt_session *session, const Holdfast__BrokerAccess *access)
{
	if (contains(access->initiators, access->n_initiators, session->initiator))
		return true;
	for (size_t i = 0; i < access->n_addresses; i++)
		if (hf_name_address_matches(access->addresses[i], session->address))
			return true;
	return false;
}

/* Sessions that were let in meanwhile are in a fresh listing. With `all`, CHAP is asked for and was
 * not before: nobody has shown who he is. A secret that changed closes nothing: a session shows
 * who it is when it begins. */
static int close_unwanted(struct hf_operation *op, const Holdfast__BrokerAccess *access, bool all)
{
	const struct hf_tgt_target *target;
	struct hf_tgt_state state;
	int err = hf_op_show(op, &state);

	if (err)
		return err;
	target = hf_tgt_find(&state, access->iqn);
	for (size_t i = 0; err == 0 && target && i < target->session_count; i++)
		if (all || !may_stay(&target->sessions[i], access))
			err = hf_op_close_session(op, target->tid, &target->sessions[i]);
	hf_tgt_state_free(&state);
	return err;
}

/* tgtd's own word for what was asked: nothing here is taken on trust. */
static int verify(struct hf_operation *op, const Holdfast__BrokerAccess *access)
{
	const struct hf_tgt_target *target;
	struct hf_tgt_state state;
	bool good;
	int err = hf_op_show(op, &state);

	if (err)
		return err;
	target = hf_tgt_find(&state, access->iqn);
	good = target && target->ready && hf_accounts_match(target, access) &&
	       target->acl_count == access->n_initiators + access->n_addresses;
	for (size_t i = 0; good && i < target->acl_count; i++)
		good = is_wanted(access, target->acls[i].entry);
	hf_tgt_state_free(&state);
	return good ? 0
		    : hf_fail(op->message, HF_EIO, "the access list of %s is not what was asked",
			      access->iqn);
}

int hf_op_set_access(struct hf_operation *op, const Holdfast__BrokerAccess *access)
{
	const struct hf_tgt_target *target;
	struct hf_tgt_state state;
	bool same_accounts, chap_is_new;
	int err = hf_op_show(op, &state);

	if (err)
		return err;
	target = hf_tgt_find(&state, access->iqn);
	if (!target) {
		err = hf_fail(op->message, HF_ENOENT, "there is no target %s", access->iqn);
		goto out;
	}
	same_accounts = hf_accounts_match(target, access);
	chap_is_new = access->chap_user[0] && target->account_count == 0;
	err = remove_unwanted(op, target, access);
	if (err == 0 && !same_accounts)
		err = hf_accounts_set(op, &state, target, access);
	if (err == 0)
		err = close_unwanted(op, access, chap_is_new);
	if (err == 0)
		err = add_missing(op, target, access->initiators, access->n_initiators);
	if (err == 0)
		err = add_missing(op, target, access->addresses, access->n_addresses);
	if (err == 0)
		err = verify(op, access);
out:
	hf_tgt_state_free(&state);
	return err;
}
