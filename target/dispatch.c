/* SPDX-License-Identifier: GPL-2.0-only
 * Part of the Holdfast backing store, which tgtd loads; see docs/LICENSING.md. */
/* The way of a command: understood, let through by reservations, performed by its part. What ends
 * later may come here twice: first for what volumed keeps, then for itself. */
#include "base/log.h"
#include "target/command.h"
#include "target/tgt_calls.h"

#define PERSISTENT_RESERVE_IN  0x5e
#define PERSISTENT_RESERVE_OUT 0x5f
#define RESERVE_6              0x16
#define RELEASE_6              0x17
#define NO_MEDIUM_KEY          0x02
#define NO_MEDIUM_ASC          0x3a00

/* A tgtd whose commands look different is told so in its log, and its initiators BUSY. */
static bool is_understood(const struct tgt_cmd *cmd)
{
	static bool understood, reported;

	understood = understood || hf_tgt_check_cmd(cmd);
	if (!understood && !reported)
		hf_error("this tgtd's commands are laid out in another way: refused");
	reported = !understood;
	return understood;
}

/* tgt's own functions, by operation code; the same for every disk. */
static int (*tgts_own[256])(int host_no, struct tgt_cmd *cmd);

void hf_command_guard(struct tgt_lu *lu, uint8_t code)
{
	struct tgt_operation *operation = &lu->device_type.ops[code];

	tgts_own[code] = operation->perform;
	operation->perform = hf_command_perform;
}

/* RESERVE(6) and RELEASE(6) have rules of their own; beside registrations they conflict (SPC-4
 * 5.9.3, CRH is 0). The reservation itself is tgt's, and ends with its session. */
static bool is_kept_out_by_reserve_6(struct tgt_cmd *cmd)
{
	if (cmd->cdb[0] == RESERVE_6 || cmd->cdb[0] == RELEASE_6)
		return hf_reservations_any(hf_lun_of(cmd->lu));
	return hf_tgt.device_reserved(cmd);
}

/* A status, or HF_COMMAND_PENDING. */
static int perform(struct tgt_cmd *cmd)
{
	uint8_t code = cmd->cdb[0];
	int status;

	if (is_kept_out_by_reserve_6(cmd))
		return SAM_RESERVATION_CONFLICT;
	if (!hf_lun_of(cmd->lu)->ring) /* made without a path, or taken off line */
		return tgts_own[code] ? tgts_own[code](0, cmd)
				      : hf_command_refuse(cmd, NO_MEDIUM_KEY, NO_MEDIUM_ASC);
	status = hf_reservations_check(cmd);
	if (status != SAM_GOOD)
		return status;
	if (tgts_own[code])
		return tgts_own[code](0, cmd);
	if (code == PERSISTENT_RESERVE_IN)
		return hf_reservations_in(cmd);
	if (code == PERSISTENT_RESERVE_OUT)
		return hf_reservations_out(cmd);
	return hf_command_medium(cmd);
}

int hf_command_perform(int host_no, struct tgt_cmd *cmd)
{
	int status;

	(void)host_no;
	if (!is_understood(cmd))
		return SAM_BUSY;
	status = perform(cmd);
	if (status != HF_COMMAND_PENDING)
		return status;
	cmd->state |= TGT_CMD_ASYNC_BIT;
	return SAM_GOOD;
}

void hf_command_resume(struct tgt_cmd *cmd)
{
	int status = perform(cmd);

	if (status != HF_COMMAND_PENDING)
		hf_command_end(cmd, status);
}
