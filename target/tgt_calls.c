/* SPDX-License-Identifier: GPL-2.0-only
 * Part of the Holdfast backing store, which tgtd loads; see docs/LICENSING.md. */
/* See tgt_calls.h. A wrong layout would corrupt tgtd and every LUN of it, so whatever can be
 * recognised is compared before the first byte is written. */
#include "target/tgt_calls.h"

#include <dlfcn.h>
#include <malloc.h>
#include <string.h>

struct hf_tgt_calls hf_tgt;

static bool supports(const struct tgt_bst *bst, unsigned operation)
{
	return bst->supported_ops[operation / 64] >> (operation % 64) & 1;
}

static int find_symbols(struct hf_errmsg *message)
{
	static const struct {
		const char *name;
		void *place;
	} symbols[] = {
#define S(name) {#name, &hf_tgt.name}
		S(register_backingstore_template),
		S(get_backingstore_template),
		S(bs_create_opcode_map),
		S(tgt_event_add),
		S(tgt_event_del),
		S(tgt_init_sched_event),
		S(tgt_add_sched_event),
		S(target_cmd_io_done),
		S(target_cmd_perform),
		S(sense_data_build),
		S(sense_data_build_with_info),
		S(find_mode_page),
		S(ua_sense_add_other_it_nexus),
		S(ua_sense_add_it_nexus),
		S(device_reserved),
		S(iscsi_transportid),
#undef S
	};

	for (unsigned i = 0; i < sizeof symbols / sizeof symbols[0]; i++) {
		void *address = dlsym(RTLD_DEFAULT, symbols[i].name);

		if (!address)
			return hf_fail(message, HF_EUNSUPPORTED, "this tgtd has no %s",
				       symbols[i].name);
		memcpy(symbols[i].place, &address, sizeof address);
	}
	return 0;
}

int hf_tgt_calls_find(struct hf_errmsg *message)
{
	const struct tgt_bst *rdwr;
	int err = find_symbols(message);

	if (err)
		return err;
	rdwr = hf_tgt.get_backingstore_template("rdwr");
	if (!rdwr || strcmp(rdwr->name, "rdwr") != 0 || rdwr->data_size <= 0 || !rdwr->submit ||
	    !supports(rdwr, 0x28) || supports(rdwr, 0x05))
		return hf_fail(message, HF_EUNSUPPORTED,
			       "this tgtd's backing stores are laid out in another way");
	return 0;
}

/* The dispatch table of a disk: READ(10), READ(16) and WRITE(10) share a function, as do the codes
 * that mean nothing; UNMAP and VERIFY are others. */
static bool operations_look_right(const struct tgt_operation *ops)
{
	return ops[0x28].perform == ops[0x88].perform && ops[0x28].perform == ops[0x2a].perform &&
	       ops[0x01].perform == ops[0x02].perform && ops[0x28].perform != ops[0x01].perform &&
	       ops[0x2f].perform == ops[0x8f].perform && ops[0x2f].perform != ops[0x28].perform &&
	       ops[0x9e].service_actions != NULL && ops[0x9e].service_actions[0].action == 0x10;
}

int hf_tgt_check_lu(const struct tgt_lu *lu, const struct tgt_bst *bst, struct hf_errmsg *message)
{
	size_t needed = sizeof *lu + (size_t)bst->data_size;
	size_t usable = malloc_usable_size((void *)lu);

	if (usable < needed || usable > needed + 64)
		return hf_fail(message, HF_EUNSUPPORTED,
			       "this tgtd's LUNs are of another size (%zu)", usable);
	if (lu->bst != bst || lu->perform != hf_tgt.target_cmd_perform)
		return hf_fail(message, HF_EUNSUPPORTED,
			       "this tgtd's LUNs are laid out in another way");
	if (lu->device_type.type != 0 || !operations_look_right(lu->device_type.ops))
		return hf_fail(message, HF_EUNSUPPORTED, "no disk, or another table of commands");
	if (!lu->attributes.vpd[0x30] || lu->attributes.vpd[0x30]->size != 0x3c ||
	    !lu->attributes.vpd[0x32] || lu->attributes.vpd[0x32]->size != 4)
		return hf_fail(message, HF_EUNSUPPORTED, "this tgtd's VPD pages differ");
	return 0;
}

bool hf_tgt_check_cmd(const struct tgt_cmd *cmd)
{
	return cmd->lu && cmd->lu->perform == hf_tgt.target_cmd_perform && cmd->nexus_lu &&
	       cmd->nexus_lu->lu == cmd->lu && cmd->nexus_lu->nexus_id == cmd->nexus_id &&
	       cmd->nexus && cmd->nexus->id == cmd->nexus_id && cmd->cdb && cmd->cdb_length >= 16 &&
	       cmd->sense_length == 0;
}
