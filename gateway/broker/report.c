/* See report.h. A message is built as protobuf-c would unpack it, each part malloc'ed, so that its
 * own function frees it. */
#include "gateway/broker/report.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

static void *make(size_t size)
{
	void *memory = calloc(1, size);

	HF_ASSERT(memory);
	return memory;
}

/* Appends to a repeated field. */
static void push(void *items_pointer, size_t *count, void *item)
{
	void ***items = items_pointer;

	*items = realloc(*items, (*count + 1) * sizeof **items);
	HF_ASSERT(*items);
	(*items)[(*count)++] = item;
}

static char *text(const char *from)
{
	char *copy = strdup(from);

	HF_ASSERT(copy);
	return copy;
}

static void set_text(char **field, const char *from)
{
	/* Empty stays protobuf-c's own empty string. */
	if (from[0])
		*field = text(from);
}

static Holdfast__BrokerTargetState *make_target(const struct hf_tgt_target *from)
{
	Holdfast__BrokerTargetState *target = make(sizeof *target);

	holdfast__broker_target_state__init(target);
	set_text(&target->iqn, from->name);
	set_text(&target->chap_user, hf_accounts_user(from));
	set_text(&target->mutual_user, from->outgoing);
	target->sessions = (uint32_t)from->session_count;
	for (size_t i = 0; i < from->acl_count; i++) {
		const char *entry = from->acls[i].entry;

		if (hf_tgt_is_iscsi_name(entry))
			push(&target->initiators, &target->n_initiators, text(entry));
		else
			push(&target->addresses, &target->n_addresses, text(entry));
	}
	for (size_t i = 0; i < from->lun_count; i++) {
		Holdfast__BrokerLunState *lun;

		if (from->luns[i].lun == 0)
			continue;
		lun = make(sizeof *lun);
		holdfast__broker_lun_state__init(lun);
		lun->lun = (uint32_t)from->luns[i].lun;
		lun->volume = from->luns[i].volume;
		lun->online = from->luns[i].online;
		lun->size_mb = from->luns[i].size_mb;
		lun->block_size = from->luns[i].block_size;
		push(&target->luns, &target->n_luns, lun);
	}
	return target;
}

static void set_process(Holdfast__BrokerState *state, pid_t pid)
{
	state->pid = (uint64_t)pid;
	state->boot.data = make(HF_TGT_BOOT_BYTES);
	state->boot.len = HF_TGT_BOOT_BYTES;
	hf_tgt_boot(pid, state->boot.data);
}

int hf_op_report(struct hf_operation *op, Holdfast__BrokerState **out)
{
	struct hf_tgt_state listing;
	Holdfast__BrokerState *state;
	char portal[128], *portals;
	const char *at;
	pid_t pid;
	int err = hf_op_show(op, &listing);

	if (err)
		return err;
	pid = op->pid;
	err = hf_op_show_portals(op, &portals);
	if (err)
		goto err_after_listing;
	if (op->pid != pid) {
		free(portals);
		err = hf_fail(op->message, HF_EAGAIN, "tgtd was restarted meanwhile");
		goto err_after_listing;
	}
	state = make(sizeof *state);
	holdfast__broker_state__init(state);
	set_process(state, pid);
	for (size_t i = 0; i < listing.target_count; i++)
		push(&state->targets, &state->n_targets, make_target(&listing.targets[i]));
	at = portals;
	while (hf_tgt_portal_next(&at, portal, sizeof portal))
		push(&state->portals, &state->n_portals, text(portal));
	free(portals);
	*out = state;
err_after_listing:
	hf_tgt_state_free(&listing);
	return err;
}
