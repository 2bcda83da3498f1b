/* Deleting a volume from the store. Core's thread; needs no open volume and no key.
 *
 *   anything there? ──no──▶ done
 *      │ yes
 *      ▼
 *   tombstone ──▶ objects ──▶ bases ──▶ claims ──▶ anything left? ──▶ key ring ──▶ tombstone ──▶
 * done ▲                                │ yes: a holder was still uploading
 *                    └────────────────────────────────┘
 *
 * Whatever cuts it short leaves the tombstone, which makes openings fail and a second run finish.
 */
#include "remote/remote_impl.h"

#include <stdlib.h>
#include <string.h>

#define MAGIC       0x44454c45u
#define DELETES_MAX 8u   /* under way at once */
#define ROUNDS_MAX  100u /* over the whole volume, while a holder goes on uploading */

enum phase { FIND, MARK, OBJECTS, BASES, CLAIMS, KEYRING, UNMARK };

struct slot {
	struct deleting *deleting;
	struct hf_retry retry;
};

struct deleting {
	uint32_t magic;
	struct hf_remote_delete *deletion;
	enum phase phase;
	unsigned rounds;
	bool found; /* something to delete in this round */
	int status;
	char prefix[HF_STORE_NAME_MAX + 1], after[HF_STORE_NAME_MAX + 1];
	struct hf_retry list; /* and every other single operation */
	struct hf_store_name *names;
	unsigned name_count, next_name;
	bool more;
	struct slot slots[DELETES_MAX];
	unsigned busy;
};

static void step(struct deleting *deleting);

static void finish(struct deleting *deleting, int status)
{
	struct hf_remote_delete *deletion = deleting->deletion;

	free(deleting->names);
	deleting->magic = 0;
	free(deleting);
	deletion->impl = NULL;
	deletion->status = status;
	deletion->done(deletion);
}

/* ---- One name after the other ---------------------------------------------------------------- */

/* In which phase a name goes; what nobody knows goes with the objects. */
static enum phase phase_of(const struct deleting *deleting, const char *name)
{
	const char *rest = name + strlen(deleting->prefix);
	size_t length = strlen(rest);

	if (strcmp(rest, "keyring") == 0)
		return KEYRING;
	if (strcmp(rest, "tombstone") == 0)
		return UNMARK;
	if (strncmp(rest, "claims/", 7) == 0)
		return CLAIMS;
	return length > 5 && strcmp(rest + length - 5, "/base") == 0 ? BASES : OBJECTS;
}

static void name_deleted(struct hf_retry *retry, int status)
{
	struct slot *slot = hf_container_of(retry, struct slot, retry);
	struct deleting *deleting = slot->deleting;

	HF_CHECK_MAGIC(deleting, MAGIC);
	deleting->busy--;
	if (status && !deleting->status)
		deleting->status = status;
	else if (!status && deleting->phase == OBJECTS && !strstr(retry->io.name, "/map/"))
		deleting->deletion->deleted_objects++;
	step(deleting);
}

static struct slot *free_slot(struct deleting *deleting)
{
	for (unsigned i = 0; i < DELETES_MAX; i++)
		if (!hf_retry_is_active(&deleting->slots[i].retry))
			return &deleting->slots[i];
	return NULL;
}

static void delete_name(struct deleting *deleting, struct slot *slot, const char *name)
{
	struct hf_remote_delete *deletion = deleting->deletion;

	slot->deleting = deleting;
	slot->retry = (struct hf_retry){
		.env = deletion->env,
		.deadline_ns = deletion->deadline_ns,
		.permission_is_final = deletion->deadline_ns != 0,
		.done = name_deleted,
		.io = {.op = HF_STORE_DELETE},
	};
	strcpy(slot->retry.io.name, name);
	deleting->busy++;
	hf_retry_start(&slot->retry);
}

static void delete_names(struct deleting *deleting)
{
	struct slot *slot;

	while (!deleting->status && deleting->next_name < deleting->name_count &&
	       (slot = free_slot(deleting)) != NULL) {
		const char *name = deleting->names[deleting->next_name++].name;

		if (phase_of(deleting, name) != deleting->phase)
			continue;
		deleting->found = true;
		delete_name(deleting, slot, name);
	}
}

/* ---- Phases ---------------------------------------------------------------------------------- */

static void single_done(struct hf_retry *retry, int status);

static void submit(struct deleting *deleting, enum hf_store_op op)
{
	struct hf_store_io *io = &deleting->list.io;
	const struct hf_remote_delete *deletion = deleting->deletion;

	*io = (struct hf_store_io){.op = op};
	if (op == HF_STORE_LIST) {
		strcpy(io->name, deleting->prefix);
		strcpy(io->after, deleting->after);
	} else if (deleting->phase == KEYRING) {
		hf_name_keyring(io->name, deletion->tenant, deletion->volume);
	} else {
		hf_name_tombstone(io->name, deletion->tenant, deletion->volume);
		io->data = "deleted\n";
		io->length = 8;
	}
	deleting->list.done = single_done;
	hf_retry_start(&deleting->list);
}

static void begin_phase(struct deleting *deleting, enum phase phase)
{
	deleting->phase = phase;
	deleting->after[0] = '\0';
	if (phase == OBJECTS) {
		deleting->found = false;
		deleting->rounds++;
	}
	if (phase == MARK)
		submit(deleting, HF_STORE_PUT);
	else if (phase >= KEYRING)
		submit(deleting, HF_STORE_DELETE);
	else
		submit(deleting, HF_STORE_LIST);
}

static void end_phase(struct deleting *deleting)
{
	if (deleting->phase == UNMARK)
		finish(deleting, 0);
	else if (deleting->phase != CLAIMS || !deleting->found)
		begin_phase(deleting, deleting->phase + 1);
	else if (deleting->rounds < ROUNDS_MAX)
		begin_phase(deleting, OBJECTS);
	else
		finish(deleting, HF_EBUSY);
}

static void take_names(struct deleting *deleting)
{
	struct hf_store_io *io = &deleting->list.io;

	deleting->names = io->names;
	deleting->name_count = io->name_count;
	deleting->next_name = 0;
	deleting->more = io->more && io->name_count > 0;
	if (io->name_count)
		strcpy(deleting->after, io->names[io->name_count - 1].name);
}

static void single_done(struct hf_retry *retry, int status)
{
	struct deleting *deleting = hf_container_of(retry, struct deleting, list);
	bool listed = retry->io.op == HF_STORE_LIST;

	HF_CHECK_MAGIC(deleting, MAGIC);
	if (status) {
		finish(deleting, status);
	} else if (deleting->phase == FIND) {
		bool any = retry->io.name_count > 0;

		free(retry->io.names);
		if (any)
			begin_phase(deleting, MARK);
		else
			finish(deleting, 0);
	} else if (listed) {
		take_names(deleting);
		step(deleting);
	} else {
		end_phase(deleting);
	}
}

/* Goes on within a phase: names of this page, the next page, the next phase. */
static void step(struct deleting *deleting)
{
	delete_names(deleting);
	if (deleting->busy)
		return;
	free(deleting->names);
	deleting->names = NULL;
	deleting->name_count = 0;
	if (deleting->status)
		finish(deleting, deleting->status);
	else if (deleting->more)
		submit(deleting, HF_STORE_LIST);
	else
		end_phase(deleting);
}

static void no_memory_fired(struct hf_timer *timer)
{
	struct hf_remote_delete *deletion = hf_container_of(timer, struct hf_remote_delete, timer);

	deletion->status = HF_ENOMEM;
	deletion->done(deletion);
}

void hf_remote_delete_start(struct hf_remote_delete *deletion)
{
	struct deleting *deleting = calloc(1, sizeof *deleting);

	deletion->deleted_objects = 0;
	deletion->status = 0;
	deletion->impl = deleting;
	if (!deleting) {
		deletion->timer.fired = no_memory_fired;
		hf_env_timer_set(deletion->env, &deletion->timer, hf_env_now_ns(deletion->env));
		return;
	}
	deleting->magic = MAGIC;
	deleting->deletion = deletion;
	deleting->list.env = deletion->env;
	deleting->list.deadline_ns = deletion->deadline_ns;
	deleting->list.permission_is_final = deletion->deadline_ns != 0;
	hf_name_volume(deleting->prefix, deletion->tenant, deletion->volume);
	begin_phase(deleting, FIND);
}
