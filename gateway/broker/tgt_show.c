/* See tgt_show.h. Line by line; indentation and headings are those of tgt_target_show_all() in tgt
 * 1.0.85. Unknown lines inside a part are passed over, unknown or repeated parts are not. */
#include "gateway/broker/tgt_show.h"

#include <stdlib.h>
#include <string.h>

#include "base/ids.h"

#define TAB1 "    "
#define TAB2 TAB1 TAB1
#define TAB3 TAB2 TAB1
#define TAB4 TAB3 TAB1

enum part { PART_NONE, PART_SYSTEM, PART_NEXUS, PART_LUN, PART_ACCOUNT, PART_ACL };

static const char *const headings[] = {
	[PART_SYSTEM] = TAB1 "System information:", [PART_NEXUS] = TAB1 "I_T nexus information:",
	[PART_LUN] = TAB1 "LUN information:",       [PART_ACCOUNT] = TAB1 "Account information:",
	[PART_ACL] = TAB1 "ACL information:",
};

struct reader {
	struct hf_tgt_state *state;
	struct hf_tgt_target *target; /* the last one */
	enum part part;
	const char *line; /* terminated copy of the line */
};

/* Makes room for one more zeroed item; NULL when there is none. */
static void *grow(void *items_pointer, size_t *count, size_t size)
{
	void **items = items_pointer;
	char *bigger;

	if (*count >= HF_TGT_ITEMS_MAX)
		return NULL;
	if ((*count & (*count - 1)) == 0) {
		size_t room = *count ? 2 * *count : 1;

		bigger = realloc(*items, room * size);
		if (!bigger)
			return NULL;
		*items = bigger;
	}
	bigger = (char *)*items + *count * size;
	memset(bigger, 0, size);
	(*count)++;
	return bigger;
}

/* The rest of the line after `prefix`, or NULL. */
static const char *after(const char *line, const char *prefix)
{
	size_t length = strlen(prefix);

	return strncmp(line, prefix, length) == 0 ? line + length : NULL;
}

static int copy(char *target, size_t size, const char *text, size_t length)
{
	if (length == 0 || length >= size)
		return HF_EPROTO;
	memcpy(target, text, length);
	target[length] = '\0';
	return 0;
}

/* A decimal number of at most `digits_max` digits, up to the character `end`. */
static int number(const char *text, char end, size_t digits_max, uint64_t *value)
{
	size_t digits = strspn(text, "0123456789");

	if (digits == 0 || digits > digits_max || text[digits] != end)
		return HF_EPROTO;
	*value = strtoull(text, NULL, 10);
	return 0;
}

static int read_target(struct reader *reader, const char *rest)
{
	struct hf_tgt_state *state = reader->state;
	const char *name = strstr(rest, ": ");
	struct hf_tgt_target *target;
	uint64_t tid;

	if (number(rest, ':', 9, &tid) != 0 || !name)
		return HF_EPROTO;
	name += 2;
	if (reader->target && reader->part != PART_ACL)
		return HF_EPROTO;
	for (size_t i = 0; i < state->target_count; i++)
		if (state->targets[i].tid == (int32_t)tid ||
		    strcmp(state->targets[i].name, name) == 0)
			return HF_EPROTO;
	target = grow(&state->targets, &state->target_count, sizeof *target);
	if (!target)
		return HF_ENOMEM;
	target->tid = (int32_t)tid;
	reader->target = target;
	reader->part = PART_NONE;
	return copy(target->name, sizeof target->name, name, strlen(name));
}

static int read_system(struct reader *reader)
{
	const char *rest = after(reader->line, TAB2 "State: ");

	if (rest)
		reader->target->ready = strcmp(rest, "ready") == 0;
	return 0;
}

static int read_initiator(struct hf_tgt_session *session, const char *rest)
{
	const char *alias = strstr(rest, " alias: ");

	if (!alias)
		return HF_EPROTO;
	return copy(session->initiator, sizeof session->initiator, rest, (size_t)(alias - rest));
}

static int read_nexus(struct reader *reader)
{
	struct hf_tgt_target *target = reader->target;
	struct hf_tgt_session *session =
		target->session_count ? &target->sessions[target->session_count - 1] : NULL;
	const char *rest = after(reader->line, TAB2 "I_T nexus: ");
	uint64_t value;

	if (rest) {
		session = grow(&target->sessions, &target->session_count, sizeof *session);
		return session ? number(rest, '\0', 19, &session->sid) : HF_ENOMEM;
	}
	if (!session)
		return HF_EPROTO;
	rest = after(reader->line, TAB3 "Initiator: ");
	if (rest)
		return read_initiator(session, rest);
	rest = after(reader->line, TAB3 "Connection: ");
	if (rest) {
		int err = number(rest, '\0', 9, &value);

		session->cid = err ? 0 : (uint32_t)value;
		return err;
	}
	rest = after(reader->line, TAB4 "IP Address: ");
	if (rest)
		return copy(session->address, sizeof session->address, rest, strlen(rest));
	return 0;
}

/* "64 MB, Block size: 512" */
static int read_size(const char *text, struct hf_tgt_lun *lun)
{
	static const char middle[] = " MB, Block size: ";
	size_t digits = strspn(text, "0123456789");
	uint64_t block_size;

	if (number(text, ' ', 19, &lun->size_mb) != 0 ||
	    strncmp(text + digits, middle, strlen(middle)) != 0 ||
	    number(text + digits + strlen(middle), '\0', 9, &block_size) != 0)
		return HF_EPROTO;
	lun->block_size = (uint32_t)block_size;
	return 0;
}

static int read_lun(struct reader *reader)
{
	struct hf_tgt_target *target = reader->target;
	struct hf_tgt_lun *lun = target->lun_count ? &target->luns[target->lun_count - 1] : NULL;
	const char *rest = after(reader->line, TAB2 "LUN: ");

	if (rest) {
		lun = grow(&target->luns, &target->lun_count, sizeof *lun);
		return lun ? number(rest, '\0', 19, &lun->lun) : HF_ENOMEM;
	}
	if (!lun)
		return HF_EPROTO;
	rest = after(reader->line, TAB3 "Size: ");
	if (rest && read_size(rest, lun) != 0)
		return HF_EPROTO;
	rest = after(reader->line, TAB3 "Online: ");
	if (rest)
		lun->online = strcmp(rest, "Yes") == 0;
	rest = after(reader->line, TAB3 "Backing store path: ");
	if (rest && hf_id_parse(HF_ID_VOLUME, rest, &lun->volume) != 0)
		lun->volume = 0;
	return 0;
}

static int read_account(struct reader *reader)
{
	static const char outgoing[] = " (outgoing)";
	struct hf_tgt_target *target = reader->target;
	const char *rest = after(reader->line, TAB2);
	struct hf_tgt_account *account;
	size_t length;

	if (!rest)
		return HF_EPROTO;
	length = strlen(rest);
	if (length > strlen(outgoing) && strcmp(rest + length - strlen(outgoing), outgoing) == 0)
		return copy(target->outgoing, sizeof target->outgoing, rest,
			    length - strlen(outgoing));
	account = grow(&target->accounts, &target->account_count, sizeof *account);
	return account ? copy(account->user, sizeof account->user, rest, length) : HF_ENOMEM;
}

static int read_acl(struct reader *reader)
{
	struct hf_tgt_target *target = reader->target;
	const char *rest = after(reader->line, TAB2);
	struct hf_tgt_acl *acl;

	if (!rest)
		return HF_EPROTO;
	acl = grow(&target->acls, &target->acl_count, sizeof *acl);
	return acl ? copy(acl->entry, sizeof acl->entry, rest, strlen(rest)) : HF_ENOMEM;
}

static int read_line(struct reader *reader)
{
	static int (*const readers[])(struct reader *) = {
		[PART_SYSTEM] = read_system,   [PART_NEXUS] = read_nexus, [PART_LUN] = read_lun,
		[PART_ACCOUNT] = read_account, [PART_ACL] = read_acl,
	};
	const char *rest = after(reader->line, "Target ");

	if (rest)
		return read_target(reader, rest);
	if (!reader->target)
		return HF_EPROTO;
	for (enum part part = PART_SYSTEM; part <= PART_ACL; part++) {
		if (strcmp(reader->line, headings[part]) != 0)
			continue;
		if (part != reader->part + 1)
			return HF_EPROTO;
		reader->part = part;
		return 0;
	}
	return reader->part == PART_NONE ? HF_EPROTO : readers[reader->part](reader);
}

int hf_tgt_show_parse(const char *text, struct hf_tgt_state *state, struct hf_errmsg *message)
{
	struct reader reader = {.state = state};
	unsigned lines = 0;
	char line[2048];
	int err = 0;

	memset(state, 0, sizeof *state);
	while (err == 0 && *text) {
		size_t length = strcspn(text, "\n");

		lines++;
		err = length < sizeof line ? 0 : HF_EPROTO;
		if (err)
			break;
		memcpy(line, text, length);
		line[length] = '\0';
		reader.line = line;
		err = read_line(&reader);
		text += length + (text[length] == '\n');
	}
	if (err == 0 && reader.target && reader.part != PART_ACL)
		err = HF_EPROTO;
	if (err) {
		hf_tgt_state_free(state);
		hf_fail(message, err, "tgtd's listing of targets makes no sense in line %u", lines);
	}
	return err;
}

void hf_tgt_state_free(struct hf_tgt_state *state)
{
	for (size_t i = 0; i < state->target_count; i++) {
		free(state->targets[i].sessions);
		free(state->targets[i].luns);
		free(state->targets[i].accounts);
		free(state->targets[i].acls);
	}
	free(state->targets);
	memset(state, 0, sizeof *state);
}

struct hf_tgt_target *hf_tgt_find(const struct hf_tgt_state *state, const char *name)
{
	for (size_t i = 0; i < state->target_count; i++)
		if (strcmp(state->targets[i].name, name) == 0)
			return &state->targets[i];
	return NULL;
}

bool hf_tgt_portal_next(const char **at, char *portal, size_t size)
{
	while (**at) {
		size_t length = strcspn(*at, "\n");
		const char *rest = after(*at, "Portal: ");
		size_t address = rest ? strcspn(rest, ",\n") : 0;

		*at += length + ((*at)[length] == '\n');
		if (rest && copy(portal, size, rest, address) == 0)
			return true;
	}
	return false;
}

bool hf_tgt_is_iscsi_name(const char *entry)
{
	return strncmp(entry, "iqn.", 4) == 0 || strncmp(entry, "eui.", 4) == 0 ||
	       strncmp(entry, "naa.", 4) == 0;
}
