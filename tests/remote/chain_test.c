/* Promise (invariants 2 and 5): one holder. However openings, uploads and looks of several
 * processes interleave, and wherever one of them dies, what any of them was told counts stays in
 * the volume, the store holds one history, and at most the highest claimer goes on.
 *
 * A schedule is a list of choices: which process has its oldest store operation answered next (or
 * dies). All schedules are enumerated depth first by running the story again with the next list;
 * each ends with a look of everybody and the check. Reads that nothing can change are answered at
 * once, since their order makes no difference. */
#include "base/log.h"
#include "tests/remote/actor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define ACTORS_MAX  3u
#define CHOICES_MAX 256u

static struct mem_store store, initial;

/* ---- Schedules ------------------------------------------------------------------------------- */

static struct {
	unsigned taken[CHOICES_MAX], options[CHOICES_MAX];
	unsigned length, at;
	uint64_t random; /* not 0: choices past the prefix are drawn */
} schedule;

static unsigned choose(unsigned options)
{
	unsigned at = schedule.at++;

	assert_true(at < CHOICES_MAX);
	if (at >= schedule.length) {
		schedule.length = at + 1;
		schedule.taken[at] = 0;
		if (schedule.random) {
			schedule.random = schedule.random * 6364136223846793005u + 1;
			schedule.taken[at] = (unsigned)(schedule.random >> 33) % options;
		}
	}
	schedule.options[at] = options;
	return schedule.taken[at];
}

/* The next schedule in depth-first order; false after the last. */
static bool next_schedule(void)
{
	schedule.length = schedule.at;
	schedule.at = 0;
	while (schedule.length > 0) {
		unsigned last = schedule.length - 1;

		if (++schedule.taken[last] < schedule.options[last])
			return true;
		schedule.length--;
	}
	return false;
}

static void print_schedule(void)
{
	print_error("schedule:");
	for (unsigned i = 0; i < schedule.at; i++)
		print_error(" %u", schedule.taken[i]);
	print_error("\n");
}

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			print_schedule();                                                          \
			fail_msg("line %d: %s", __LINE__, #condition);                             \
		}                                                                                  \
	} while (0)

/* ---- Stories --------------------------------------------------------------------------------- */

struct player {
	struct actor actor;
	bool playing;
	bool mortal;
	bool checkpoints;               /* writes one after the first object that counts */
	uint64_t told;                  /* the most it was ever told counts */
	uint64_t saw[ACTOR_WRITES_MAX]; /* who wrote what it found when it opened */
	uint64_t found;
	bool seen;
};

/* But for checkpoints nothing is deleted in these stories, and nothing overwritten, so a read of
 * what exists has one answer. */
static bool is_indifferent(const struct hf_store_io *io)
{
	return io->op == HF_STORE_GET && !strstr(io->name, "/map/") &&
	       (mem_find(&store, io->name) || strstr(io->name, "/tombstone"));
}

/* What an actor does by itself: uploads once it is open, asks for a look when all are answered. */
static void let_live(struct player *player, unsigned uploads)
{
	struct actor *actor = &player->actor;
	struct hf_store_io *io;

	for (;;) {
		mem_settle(&actor->env);
		io = mem_pending(&actor->env, 0);
		if (io && is_indifferent(io)) {
			mem_answer(&actor->env, io, MEM_OK);
			continue;
		}
		break;
	}
	if (!actor->remote || actor->fenced)
		return;
	if (!player->seen) {
		player->seen = true;
		if (!actor_try_view(actor, player->saw, &player->found)) {
			player->told = player->found;
			return; /* fenced */
		}
	}
	while (actor->upload_count < uploads)
		actor_upload(actor);
	mem_settle(&actor->env);
	if (actor->counted > player->told)
		player->told = actor->counted;
	if (!io && !mem_pending(&actor->env, 0) &&
	    (actor->counted < player->found + uploads ||
	     (player->checkpoints && hf_remote_checkpoints_written(actor->remote) == 0))) {
		hf_remote_look(actor->remote);
		mem_settle(&actor->env);
	}
}

static unsigned pending_count(struct player *player)
{
	unsigned count = 0;

	while (mem_pending(&player->actor.env, count))
		count++;
	return count;
}

static void check_history(struct player *players, unsigned count)
{
	uint64_t who[ACTOR_WRITES_MAX] = {0};
	uint64_t recovery_point = actor_history(&store, who);

	for (unsigned i = 0; i < count; i++) {
		struct player *player = &players[i];

		CHECK(player->told <= recovery_point);
		for (uint64_t w = player->found + 1; w <= player->told; w++)
			CHECK(who[w] == player->actor.who);
		/* What it found when it opened is the history too, as far as it was told so. */
		for (uint64_t w = 1; player->told > player->found && w <= player->found; w++)
			CHECK(who[w] == player->saw[w]);
	}
}

/* Plays until nothing is pending. Each choice answers one operation of one actor; with `deaths`
 * left, one more option each kills the actor, with its operation answered or not. */
static void play(struct player *players, unsigned count, unsigned uploads, unsigned deaths)
{
	for (;;) {
		struct {
			struct player *player;
			unsigned index;
			int death; /* 1: before its effect, 2: after it */
		} options[64];
		unsigned n = 0, chosen;
		struct hf_store_io *io;

		for (unsigned i = 0; i < count; i++) {
			struct player *player = &players[i];

			if (!player->playing)
				continue;
			let_live(player, uploads);
			for (unsigned k = 0; k < pending_count(player); k++) {
				options[n].player = player;
				options[n].index = k;
				options[n++].death = 0;
			}
			for (int death = 1;
			     death <= 2 && deaths && player->mortal && pending_count(player);
			     death++) {
				options[n].player = player;
				options[n].index = 0;
				options[n++].death = death;
			}
		}
		if (n == 0)
			return;
		chosen = choose(n);
		io = mem_pending(&options[chosen].player->actor.env, options[chosen].index);
		if (options[chosen].death) {
			deaths--;
			if (options[chosen].death == 2)
				mem_answer(&options[chosen].player->actor.env, io, MEM_LOST);
			actor_end(&options[chosen].player->actor, true);
			options[chosen].player->playing = false;
		} else {
			mem_answer(&options[chosen].player->actor.env, io, MEM_OK);
		}
	}
}

/* Everybody who is open asks again; all but the highest must be fenced then. */
static void check_one_holder(struct player *players, unsigned count)
{
	uint64_t highest = 0;
	unsigned holders = 0;

	for (unsigned i = 0; i < count; i++) {
		struct actor *actor = &players[i].actor;

		if (!players[i].playing)
			continue;
		CHECK(actor->opened);
		CHECK(actor->open.status == 0 || actor->open.status == HF_EFENCED);
		CHECK(actor->open.status || !actor->open.map_damaged);
		if (!actor->remote)
			continue;
		hf_remote_look(actor->remote);
		mem_settle(&actor->env);
		while (mem_pending(&actor->env, 0)) {
			mem_answer(&actor->env, mem_pending(&actor->env, 0), MEM_OK);
			mem_settle(&actor->env);
		}
		if (actor->counted > players[i].told)
			players[i].told = actor->counted;
		if (hf_remote_start(actor->remote) > highest)
			highest = hf_remote_start(actor->remote);
		holders += !actor->fenced;
		CHECK(actor->fenced == hf_remote_is_fenced(actor->remote));
	}
	CHECK(holders <= 1);
	for (unsigned i = 0; i < count; i++)
		if (players[i].playing && players[i].actor.remote && !players[i].actor.fenced)
			CHECK(hf_remote_start(players[i].actor.remote) == highest);
}

/* A last claimer, alone, always gets the volume and everything that was ever told to count. */
static void check_successor(struct player *players, unsigned count, uint64_t epoch)
{
	struct player last = {.playing = true};

	actor_init(&last.actor, &store, 77);
	actor_open_now(&last.actor, epoch, 0);
	last.found = last.told = actor_view(&last.actor, last.saw);
	for (unsigned i = 0; i < count; i++)
		CHECK(players[i].told <= last.found);
	actor_upload(&last.actor);
	mem_settle(&last.actor.env);
	mem_answer(&last.actor.env, mem_pending(&last.actor.env, 0), MEM_OK);
	hf_remote_look(last.actor.remote);
	mem_settle(&last.actor.env);
	mem_answer(&last.actor.env, mem_pending(&last.actor.env, 0), MEM_OK);
	CHECK(last.actor.counted == last.found + 1);
	CHECK(actor_checkpoint(&last.actor) == 0);
	actor_end(&last.actor, false);
	check_history(players, count);
}

struct story {
	unsigned holders; /* already open, with `uploads` under way */
	unsigned claimers;
	uint64_t claimer_epoch; /* holders have epoch 1 */
	unsigned uploads;
	unsigned deaths;
	bool holders_die;
	bool fresh; /* the volume does not exist before */
	bool checkpoints;
};

static void tell(const struct story *story)
{
	static struct player players[ACTORS_MAX];
	unsigned count = story->holders + story->claimers;

	memset(players, 0, sizeof players);
	mem_copy(&store, &initial);
	if (story->fresh)
		mem_store_free(&store);
	for (unsigned i = 0; i < count; i++) {
		players[i].playing = true;
		players[i].mortal = i >= story->holders || story->holders_die;
		actor_init(&players[i].actor, &store, i + 1);
		players[i].checkpoints = story->checkpoints;
		if (story->checkpoints)
			players[i].actor.checkpoints.objects = 1;
		if (i < story->holders)
			actor_open_now(&players[i].actor, 1, 0);
		else
			actor_open(&players[i].actor, story->claimer_epoch);
	}
	play(players, count, story->uploads, story->deaths);
	check_one_holder(players, count);
	check_history(players, count);
	check_successor(players, count, story->claimer_epoch);
	for (unsigned i = 0; i < count; i++)
		if (players[i].playing)
			actor_end(&players[i].actor, false);
}

static void prepare_with(bool checkpoint)
{
	struct actor actor;

	mem_store_free(&initial);
	actor_init(&actor, &initial, 50);
	actor_open_now(&actor, 1, 0);
	actor_upload(&actor);
	actor_run(&actor, &actor.uploads[0].done);
	if (checkpoint) {
		actor_answer_looks(&actor);
		assert_int_equal(actor_checkpoint(&actor), 0);
	}
	actor_end(&actor, false);
}

static void every_schedule(const struct story *story)
{
	unsigned stories = 0;

	prepare_with(story->checkpoints);
	memset(&schedule, 0, sizeof schedule);
	do {
		tell(story);
		stories++;
	} while (next_schedule());
	print_message("%u schedules\n", stories);
}

static void random_schedules(const struct story *story, unsigned stories)
{
	prepare_with(story->checkpoints);
	for (unsigned i = 0; i < stories; i++) {
		memset(&schedule, 0, sizeof schedule);
		schedule.random = i * 0x9e3779b97f4a7c15u + 1;
		tell(story);
	}
}

static void prepare(void)
{
	prepare_with(false);
}

/* ---- Tests ----------------------------------------------------------------------------------- */

static void two_claimers_race_for_a_volume(void **state)
{
	(void)state;
	every_schedule(&(struct story){.claimers = 2, .claimer_epoch = 1, .uploads = 1});
}

static void two_claimers_race_to_create(void **state)
{
	(void)state;
	every_schedule(
		&(struct story){.claimers = 2, .claimer_epoch = 1, .uploads = 1, .fresh = true});
}

static void a_claimer_takes_over_from_a_busy_holder(void **state)
{
	(void)state;
	every_schedule(
		&(struct story){.holders = 1, .claimers = 1, .claimer_epoch = 2, .uploads = 2});
}

static void a_lone_claimer_may_die_anywhere(void **state)
{
	(void)state;
	every_schedule(
		&(struct story){.claimers = 1, .claimer_epoch = 1, .uploads = 2, .deaths = 1});
	every_schedule(&(struct story){
		.claimers = 1, .claimer_epoch = 1, .uploads = 1, .deaths = 1, .fresh = true});
}

static void a_claimer_may_die_beside_a_holder(void **state)
{
	(void)state;
	every_schedule(&(struct story){
		.holders = 1, .claimers = 1, .claimer_epoch = 2, .uploads = 1, .deaths = 1});
}

static void three_at_once_with_deaths(void **state)
{
	(void)state;
	random_schedules(
		&(struct story){
			.holders = 1, .claimers = 2, .claimer_epoch = 2, .uploads = 3, .deaths = 2},
		3000);
	random_schedules(
		&(struct story){.claimers = 3, .claimer_epoch = 1, .uploads = 2, .deaths = 1},
		3000);
}

/* Everybody writes a checkpoint as soon as something counts, and deletes what it supersedes:
 * whoever opens finds a map whose leaves are all there. */
static void a_claimer_takes_over_while_a_checkpoint_is_written(void **state)
{
	(void)state;
	every_schedule(&(struct story){.holders = 1,
				       .claimers = 1,
				       .claimer_epoch = 2,
				       .uploads = 1,
				       .checkpoints = true});
}

static void a_writer_of_checkpoints_may_die_anywhere(void **state)
{
	(void)state;
	every_schedule(&(struct story){
		.claimers = 1, .claimer_epoch = 1, .uploads = 2, .deaths = 1, .checkpoints = true});
}

static void checkpoints_of_three_with_deaths(void **state)
{
	(void)state;
	random_schedules(&(struct story){.holders = 1,
					 .claimers = 2,
					 .claimer_epoch = 2,
					 .uploads = 2,
					 .deaths = 2,
					 .holders_die = true,
					 .checkpoints = true},
			 3000);
	random_schedules(&(struct story){.claimers = 3,
					 .claimer_epoch = 1,
					 .uploads = 2,
					 .deaths = 1,
					 .checkpoints = true},
			 3000);
}

/* The provider's epoch decides who may claim: a lower one is refused, also when it comes late. */
static void a_lower_epoch_never_claims(void **state)
{
	struct actor actor;

	(void)state;
	prepare();
	mem_copy(&store, &initial);
	actor_init(&actor, &store, 1);
	actor_open_now(&actor, 2, 0);
	actor_end(&actor, false);
	actor_init(&actor, &store, 2);
	actor_open_now(&actor, 1, HF_EFENCED);
	assert_non_null(strstr(actor.open.message.text, "epoch"));
	actor_end(&actor, false);
	actor_init(&actor, &store, 3);
	actor_open_now(&actor, 2, 0);
	assert_int_equal(hf_remote_start(actor.remote), 3);
	actor_end(&actor, false);
}

/* A claim without a base is someone who never began: readers and claimers go past it. */
static void claims_without_a_base_are_passed_over(void **state)
{
	uint64_t who[ACTOR_WRITES_MAX];
	struct actor actor;

	(void)state;
	prepare();
	mem_copy(&store, &initial);
	for (unsigned i = 0; i < 3; i++) {
		actor_init(&actor, &store, 10 + i);
		actor_open(&actor, 1);
		for (;;) {
			struct hf_store_io *io = mem_pending(&actor.env, 0);

			if (io->op == HF_STORE_PUT && strstr(io->name, "/base"))
				break;
			mem_answer(&actor.env, io, MEM_OK);
		}
		actor_end(&actor, true);
	}
	assert_int_equal(actor_history(&store, who), 1);
	assert_int_equal(who[1], 50);
	actor_init(&actor, &store, 20);
	actor_open_now(&actor, 1, 0);
	assert_int_equal(hf_remote_start(actor.remote), 5);
	assert_int_equal(hf_remote_recovery_point(actor.remote), 1);
	actor_end(&actor, false);
}

/* Answers the actor's operations up to and without the PUT of a name that ends like this. */
static void run_to_put(struct actor *actor, const char *part)
{
	for (;;) {
		struct hf_store_io *io = mem_pending(&actor->env, 0);

		assert_non_null(io);
		if (io->op == HF_STORE_PUT && strstr(io->name, part))
			return;
		mem_answer(&actor->env, io, MEM_OK);
	}
}

/* Whoever was overtaken between claim and open is told so, and not that something is damaged. */
static void an_overtaken_claimer_is_fenced_at_once(void **state)
{
	struct actor slow, fast;

	(void)state;
	prepare();
	mem_copy(&store, &initial);
	actor_init(&slow, &store, 1);
	actor_open(&slow, 1);
	run_to_put(&slow, "/base");
	actor_init(&fast, &store, 2);
	actor_open_now(&fast, 1, 0);
	actor_run(&slow, &slow.opened);
	assert_int_equal(slow.open.status, HF_EFENCED);
	actor_end(&slow, false);
	actor_end(&fast, false);
}

/* A claim, a base or a key ring whose answer was lost is recognised as one's own. */
static void lost_answers_cost_no_further_claim(void **state)
{
	static const char *const parts[] = {"/keyring", "/claims/", "/base"};

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct actor actor;

		mem_store_free(&store);
		actor_init(&actor, &store, 1);
		actor_open(&actor, 1);
		run_to_put(&actor, parts[i]);
		mem_answer(&actor.env, mem_pending(&actor.env, 0), MEM_LOST);
		actor_run(&actor, &actor.opened);
		assert_int_equal(actor.open.status, 0);
		assert_int_equal(hf_remote_start(actor.remote), 1);
		assert_int_equal(store.count, 3);
		actor_end(&actor, false);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_lower_epoch_never_claims),
		cmocka_unit_test(claims_without_a_base_are_passed_over),
		cmocka_unit_test(an_overtaken_claimer_is_fenced_at_once),
		cmocka_unit_test(lost_answers_cost_no_further_claim),
		cmocka_unit_test(two_claimers_race_for_a_volume),
		cmocka_unit_test(two_claimers_race_to_create),
		cmocka_unit_test(a_claimer_takes_over_from_a_busy_holder),
		cmocka_unit_test(a_lone_claimer_may_die_anywhere),
		cmocka_unit_test(a_claimer_may_die_beside_a_holder),
		cmocka_unit_test(three_at_once_with_deaths),
		cmocka_unit_test(a_claimer_takes_over_while_a_checkpoint_is_written),
		cmocka_unit_test(a_writer_of_checkpoints_may_die_anywhere),
		cmocka_unit_test(checkpoints_of_three_with_deaths),
	};
	int failed;

	setenv("HOLDFAST_LOG", "error", 1);
	hf_log_init("chain_test");
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	mem_store_free(&store);
	mem_store_free(&initial);
	return failed;
}
