/* The actors of tests/remote/actor.h. */
#include "tests/remote/actor.h"
#include "base/assert.h"
#include "base/bytes.h"

#include <stdarg.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

static void advanced(void *context, uint64_t recovery_point)
{
	struct actor *actor = context;

	HF_ASSERT(!actor->in_call && recovery_point > actor->counted);
	HF_ASSERT(recovery_point == hf_remote_recovery_point(actor->remote));
	actor->counted = recovery_point;
	actor->counted_calls++;
}

static void fenced(void *context)
{
	struct actor *actor = context;

	HF_ASSERT(!actor->in_call && !actor->fenced);
	actor->fenced = true;
}

static void opened(struct hf_remote_open *open)
{
	struct actor *actor = hf_container_of(open, struct actor, open);

	HF_ASSERT(!actor->in_call && !actor->opened);
	actor->opened = true;
	actor->remote = open->remote;
	if (open->status == 0)
		actor->counted = hf_remote_recovery_point(open->remote);
}

void actor_init(struct actor *actor, struct mem_store *store, uint64_t who)
{
	memset(actor, 0, sizeof *actor);
	mem_env_init(&actor->env, store, who);
	actor->who = who;
}

void actor_open(struct actor *actor, uint64_t epoch)
{
	actor_open_with(actor, epoch, NULL);
}

void actor_open_with(struct actor *actor, uint64_t epoch, struct hf_read_cache *cache)
{
	actor->opened = false;
	actor->open = (struct hf_remote_open){
		.env = &actor->env.env,
		.tenant = ACTOR_TENANT,
		.volume = ACTOR_VOLUME,
		.wrap_key = {1, 2, 3},
		.attach_epoch = epoch,
		.size_bytes = !epoch              ? 0
			      : actor->size_bytes ? actor->size_bytes
						  : ACTOR_SIZE,
		.claim = epoch != 0,
		.create = epoch != 0,
		.cache = cache,
		.maps = actor->maps,
		.checkpoints = actor->checkpoints,
		.rebuild_map = actor->rebuild_map,
		.advanced = advanced,
		.fenced = fenced,
		.context = actor,
		.opened = opened,
	};
	actor->in_call = true;
	hf_remote_open_start(&actor->open);
	actor->in_call = false;
}

void actor_run(struct actor *actor, const bool *flag)
{
	mem_run(&actor->env, flag);
}

void actor_open_now(struct actor *actor, uint64_t epoch, int status)
{
	actor_open(actor, epoch);
	actor_run(actor, &actor->opened);
	if (actor->open.status != status)
		print_error("opened with %d: %s\n", actor->open.status, actor->open.message.text);
	assert_int_equal(actor->open.status, status);
}

static void uploaded(struct hf_remote_upload *upload)
{
	struct actor_upload *own = hf_container_of(upload, struct actor_upload, upload);

	HF_ASSERT(!own->done && !((struct actor *)upload->owner)->in_call);
	own->done = true;
}

void actor_upload(struct actor *actor)
{
	struct actor_upload *own = &actor->uploads[actor->upload_count];
	uint64_t sequence = actor->upload_count ? own[-1].upload.last_sequence + 1
						: hf_remote_recovery_point(actor->remote) + 1;

	HF_ASSERT(actor->upload_count < ACTOR_UPLOADS_MAX);
	actor->upload_count++;
	memset(own, 0, sizeof *own);
	hf_put_le64(own->block, actor->who);
	hf_put_le64(own->block + 8, sequence);
	own->extent = (struct hf_object_extent){
		.lba = (sequence - 1) * ACTOR_STRIDE, .length = 1, .kind = HF_EXTENT_DATA};
	own->upload = (struct hf_remote_upload){
		.first_sequence = sequence,
		.last_sequence = sequence,
		.extents = &own->extent,
		.extent_count = 1,
		.payload = own->block,
		.payload_bytes = sizeof own->block,
		.done = uploaded,
		.owner = actor,
	};
	actor->in_call = true;
	hf_remote_upload(actor->remote, &own->upload);
	actor->in_call = false;
}

static void closed(void *context)
{
	((struct actor *)context)->closed = true;
}

void actor_answer_looks(struct actor *actor)
{
	struct hf_store_io *io;

	hf_remote_look(actor->remote);
	mem_settle(&actor->env);
	for (unsigned i = 0; (io = mem_pending(&actor->env, i)) != NULL;) {
		if (io->op == HF_STORE_LIST) {
			mem_answer(&actor->env, io, MEM_OK);
			mem_settle(&actor->env);
			i = 0;
		} else {
			i++;
		}
	}
}

void actor_close(struct actor *actor)
{
	hf_remote_close(actor->remote, closed, actor);
	actor->remote = NULL;
}

void actor_end(struct actor *actor, bool died)
{
	actor->env.dead = died;
	if (actor->open.impl) {
		hf_remote_open_cancel(&actor->open);
		actor_run(actor, &actor->opened);
	}
	if (actor->remote) {
		actor_close(actor);
		actor_run(actor, &actor->closed);
	}
	for (unsigned i = 0; i < actor->upload_count; i++)
		HF_ASSERT(actor->uploads[i].done);
	HF_ASSERT(hf_list_empty(&actor->env.ios) && hf_list_empty(&actor->env.timers));
}

/* ---- Reading histories ----------------------------------------------------------------------- */

static void read_done(struct hf_remote_read *read)
{
	*(bool *)read->owner = true;
}

/* Answers what a read needs, and nothing else that is under way but looks. */
static void run_gets(struct actor *actor, const bool *flag)
{
	for (unsigned i = 0; !*flag; i++) {
		struct hf_store_io *io;

		mem_settle(&actor->env);
		if (*flag)
			return;
		io = mem_pending(&actor->env, i);
		HF_ASSERT(io);
		if (io->op != HF_STORE_GET && io->op != HF_STORE_LIST)
			continue;
		mem_answer(&actor->env, io, MEM_OK);
		i = UINT32_MAX; /* from the oldest again */
	}
}

static uint64_t read_block(struct actor *actor, const struct hf_extent *extent)
{
	uint8_t block[512];
	bool done = false;
	struct hf_remote_read read = {
		.place = extent->place,
		.length = 1,
		.buffer = block,
		.done = read_done,
		.owner = &done,
	};

	hf_remote_read(actor->remote, &read);
	run_gets(actor, &done);
	assert_int_equal(read.status, 0);
	assert_int_equal(hf_get_le64(block + 8), extent->lba / ACTOR_STRIDE + 1);
	return hf_get_le64(block);
}

struct look {
	struct actor *actor;
	uint64_t lba, length, leaf;
	struct hf_extent *extent;
	enum hf_extmap_found found;
	bool done;
};

static void look_now(struct look *look)
{
	look->found = hf_extmap_look(hf_remote_map(look->actor->remote), look->lba, look->length,
				     look->extent, &look->leaf);
}

/* The leaf may go again as soon as this returns. */
static void load_done(struct hf_remote_load *load)
{
	struct look *look = load->owner;

	if (load->status == 0)
		look_now(look);
	look->done = true;
}

int actor_look(struct actor *actor, uint64_t lba, uint64_t length, struct hf_extent *extent,
	       bool *found)
{
	struct look look = {.actor = actor, .lba = lba, .length = length, .extent = extent};

	look_now(&look);
	for (unsigned tries = 0; look.found == HF_EXTMAP_ABSENT; tries++) {
		struct hf_remote_load load = {.lba = look.leaf * HF_EXTMAP_LEAF_UNITS,
					      .length = 1,
					      .done = load_done,
					      .owner = &look};

		assert_true(tries < 100);
		look.done = false;
		hf_remote_load(actor->remote, &load);
		run_gets(actor, &look.done);
		if (load.status)
			return load.status;
	}
	*found = look.found == HF_EXTMAP_FOUND;
	return 0;
}

bool actor_try_view(struct actor *actor, uint64_t *who, uint64_t *recovery_point)
{
	struct hf_extent extent;
	bool found;
	int err = 0;

	*recovery_point = hf_remote_recovery_point(actor->remote);
	HF_ASSERT(*recovery_point < ACTOR_WRITES_MAX);
	for (uint64_t w = 0; w < *recovery_point && !err; w++) {
		err = actor_look(actor, w * ACTOR_STRIDE, 1, &extent, &found);
		if (err)
			break;
		assert_true(found);
		who[w + 1] = read_block(actor, &extent);
	}
	if (!err)
		err = actor_look(actor, *recovery_point * ACTOR_STRIDE, ACTOR_SIZE / 512, &extent,
				 &found);
	if (!err)
		assert_false(found);
	else
		assert_int_equal(err, HF_EFENCED);
	return !err;
}

uint64_t actor_view(struct actor *actor, uint64_t *who)
{
	uint64_t recovery_point;

	assert_true(actor_try_view(actor, who, &recovery_point));
	return recovery_point;
}

static void checkpointed(struct hf_remote_checkpoint *ask)
{
	*(bool *)ask->owner = true;
}

int actor_checkpoint(struct actor *actor)
{
	bool done = false;
	struct hf_remote_checkpoint ask = {.done = checkpointed, .owner = &done};

	hf_remote_checkpoint(actor->remote, &ask);
	assert_false(done);
	actor_run(actor, &done);
	return ask.status;
}

uint64_t actor_history(struct mem_store *store, uint64_t *who)
{
	struct actor reader;
	uint64_t recovery_point = 0;

	actor_init(&reader, store, 0x9999);
	actor_open(&reader, 0);
	actor_run(&reader, &reader.opened);
	assert_false(reader.open.map_damaged);
	if (reader.open.status == 0)
		recovery_point = actor_view(&reader, who);
	else
		assert_int_equal(reader.open.status, HF_ENOENT);
	actor_end(&reader, false);
	return recovery_point;
}
