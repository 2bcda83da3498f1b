/* A log that fills up, in virtual time (invariant 6): the store goes away while initiators write as
 * fast as they may. For ten minutes and beyond no command may take as long as an initiator waits
 * for it, and none may fail; a volume that cannot upload may not hold up one that can. Writes the
 * course as CSV for scripts/plot-pressure.
 *
 * Usage: sim_pressure [small | large | neighbours | pinned] [--csv] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/log.h"
#include "gateway/volumed/core.h"
#include "tests/sim/sim_env.h"

#define LLU(number) ((unsigned long long)(number))

#define MIB          (1ull << 20)
#define PATIENCE_NS  (600 * HF_NS_PER_S)
#define DEPTH_MAX    32u
#define CLIENTS_MAX  2u
#define TRICKLE_NS   (2 * HF_NS_PER_S)
#define INITIATOR_S  25 /* the shim's deadline; initiators wait 30 s */
#define VOLUME_BYTES (64 * MIB)
#define FIRST_VOLUME 0x51ull

struct scenario {
	const char *name;
	uint64_t log_bytes;
	uint32_t segment_bytes, write_bytes;
	unsigned depth, clients;
	uint64_t before_s, outage_s;
	bool neighbours; /* only the first volume cannot upload */
	bool trickle;    /* and it writes little: one command now and then */
};

static const struct scenario scenarios[] = {
	{"small", 96 * MIB, 1u << 20, 4096, 32, 1, 120, 900, false, false},
	{"large", 512 * MIB, 16u << 20, 1u << 20, 4, 1, 10, 600, false, false},
	{"neighbours", 96 * MIB, 1u << 20, 64u << 10, 8, 2, 60, 600, true, false},
	{"pinned", 96 * MIB, 1u << 20, 64u << 10, 8, 2, 20, 300, true, true},
};

struct client;

struct command {
	struct hf_request request;
	struct client *client;
	uint64_t started_ns;
	bool under_way;
};

struct client {
	struct course *course;
	uint64_t volume, next, done_bytes, busy;
	uint64_t started_ns;
	uint64_t worst_ns, window_worst_ns; /* of all; since the last line */
	struct command commands[DEPTH_MAX];
};

struct course {
	const struct scenario *scenario;
	struct sim *sim;
	struct hf_core *core;
	uint8_t *data;
	bool failed;
	struct client clients[CLIENTS_MAX];
};

static bool flag;

static void formatted(struct hf_wlog_format *format)
{
	(void)format;
	flag = true;
}

static void opened(struct hf_core_open *open)
{
	(void)open;
	flag = true;
}

static void attached(struct hf_volume_change *change)
{
	(void)change;
	flag = true;
}

static void quiet(void *context, uint64_t volume, const char *text)
{
	(void)context;
	(void)volume;
	(void)text;
}

static void wait_flag(struct course *course)
{
	HF_ASSERT(sim_wait_flag(course->sim, &flag, PATIENCE_NS));
	flag = false;
}

static void boot(struct course *course)
{
	const struct scenario *scenario = course->scenario;
	struct hf_wlog_format *format = sim_keep_alloc(sizeof *format);
	struct hf_core_open *open = sim_keep_alloc(sizeof *open);

	format->env = sim_env(course->sim, 0);
	format->uuid[0] = 1;
	format->segment_bytes = scenario->segment_bytes;
	format->done = formatted;
	hf_wlog_format_start(format);
	wait_flag(course);
	HF_ASSERT(format->status == 0);
	open->config.env = sim_env(course->sim, 0);
	open->config.object_bytes = 4 * MIB;
	open->config.alarm = quiet;
	open->opened = opened;
	hf_core_open_start(open);
	wait_flag(course);
	HF_ASSERT(open->core);
	course->core = open->core;
	sim_keep_free(format);
	sim_keep_free(open);
}

static void attach(struct course *course, uint64_t volume)
{
	struct hf_volume_change *change = sim_keep_alloc(sizeof *change);

	change->config = (struct hf_volume_config){.tenant = 7,
						   .volume = volume,
						   .size_bytes = VOLUME_BYTES,
						   .attach_epoch = 1,
						   .create = true};
	change->done = attached;
	hf_core_attach(course->core, change);
	wait_flag(course);
	HF_ASSERT(change->status == 0);
	sim_keep_free(change);
}

/* ---- Clients -----------------------------------------------------------------------------------
 */

static void fail(struct course *course, const char *what, uint64_t value)
{
	if (!course->failed)
		printf("%s: after %llu s: %s (%llu)\n", course->scenario->name,
		       LLU(sim_now_ns(course->sim) / HF_NS_PER_S), what, LLU(value));
	course->failed = true;
}

static void command_done(struct hf_request *request)
{
	struct command *command = hf_container_of(request, struct command, request);
	struct client *client = command->client;
	uint64_t took_ns = sim_now_ns(client->course->sim) - command->started_ns;

	command->under_way = false;
	if (took_ns > client->worst_ns)
		client->worst_ns = took_ns;
	if (took_ns > client->window_worst_ns)
		client->window_worst_ns = took_ns;
	if (took_ns > INITIATOR_S * HF_NS_PER_S)
		fail(client->course, "a command took too long, ms", took_ns / HF_NS_PER_MS);
	if (request->status == HF_EBUSY)
		client->busy++;
	else if (request->status != 0)
		fail(client->course, "a command failed", (uint64_t)-request->status);
	else
		client->done_bytes += request->length;
}

static void command_start(struct command *command)
{
	struct client *client = command->client;
	uint64_t bytes = client->course->scenario->write_bytes;
	struct hf_request *request = &command->request;

	memset(request, 0, sizeof *request);
	request->op = HF_OP_WRITE;
	request->volume = client->volume;
	request->offset = client->next++ * bytes % VOLUME_BYTES;
	request->length = request->data_length = (uint32_t)bytes;
	request->data = client->course->data;
	request->done = command_done;
	command->started_ns = sim_now_ns(client->course->sim);
	client->started_ns = command->started_ns;
	command->under_way = true;
	hf_core_submit(client->course->core, request);
}

static void client_start(struct client *client)
{
	const struct course *course = client->course;
	uint64_t pause_ns = course->scenario->trickle && client == course->clients ? TRICKLE_NS : 0;

	for (unsigned i = 0; i < course->scenario->depth; i++)
		if (!client->commands[i].under_way &&
		    sim_now_ns(course->sim) >= client->started_ns + pause_ns)
			command_start(&client->commands[i]);
}

static void print_line(struct course *course, uint64_t second)
{
	struct hf_core_status status;
	struct client *client = &course->clients[0];

	hf_core_status(course->core, &status);
	printf("%llu,%llu,%llu,%llu,%llu", LLU(second), LLU(status.log_free_bytes),
	       LLU(status.log_total_bytes), LLU(client->done_bytes),
	       LLU(client->window_worst_ns / HF_NS_PER_MS));
	if (course->scenario->clients > 1)
		printf(",%llu,%llu", LLU(course->clients[1].done_bytes),
		       LLU(course->clients[1].window_worst_ns / HF_NS_PER_MS));
	printf("\n");
	for (unsigned c = 0; c < CLIENTS_MAX; c++)
		course->clients[c].window_worst_ns = 0;
}

/* Clients that write as fast as they may, a little slower than the disk could. */
static void run(struct course *course, uint64_t seconds, bool csv)
{
	static uint64_t second;

	for (uint64_t end = second + seconds; second < end && !course->failed; second++) {
		uint64_t until_ns = sim_now_ns(course->sim) + HF_NS_PER_S;

		while (sim_now_ns(course->sim) < until_ns && !course->failed) {
			for (unsigned c = 0; c < course->scenario->clients; c++)
				client_start(&course->clients[c]);
			sim_run(course->sim, 20 * HF_NS_PER_MS);
		}
		if (csv)
			print_line(course, second);
	}
}

static void verdict(const struct course *course)
{
	for (unsigned c = 0; c < course->scenario->clients; c++) {
		const struct client *client = &course->clients[c];

		printf("%s: volume %u wrote %llu MiB, longest command %llu ms, told to come "
		       "again %llu times\n",
		       course->scenario->name, c, LLU(client->done_bytes / MIB),
		       LLU(client->worst_ns / HF_NS_PER_MS), LLU(client->busy));
	}
}

static void check_neighbours(struct course *course)
{
	const struct client *held = &course->clients[0], *free_one = &course->clients[1];

	if (free_one->worst_ns > 3 * HF_NS_PER_S)
		fail(course, "a volume that uploads waited for one that cannot, ms",
		     free_one->worst_ns / HF_NS_PER_MS);
	if (free_one->busy > 0)
		fail(course, "a volume that uploads was refused", free_one->busy);
	if (free_one->done_bytes < 4 * held->done_bytes)
		fail(course, "a volume that uploads wrote little, MiB", free_one->done_bytes / MIB);
}

static bool scenario_run(const struct scenario *scenario, bool csv)
{
	struct sim_config config = {.seed = 1,
				    .disk_size_bytes = {scenario->log_bytes},
				    .store_delay_ns = 20 * HF_NS_PER_MS};
	struct course *course = sim_keep_alloc(sizeof *course);
	bool good;

	course->scenario = scenario;
	course->sim = sim_create(&config);
	course->data = sim_keep_alloc(scenario->write_bytes);
	memset(course->data, 0x5a, scenario->write_bytes);
	sim_select(course->sim, 0);
	boot(course);
	for (unsigned c = 0; c < scenario->clients; c++) {
		struct client *client = &course->clients[c];

		client->course = course;
		client->volume = FIRST_VOLUME + c;
		attach(course, client->volume);
		for (unsigned i = 0; i < DEPTH_MAX; i++)
			client->commands[i].client = client;
	}
	if (csv)
		printf("second,free,total,written,worst_ms\n");
	if (scenario->neighbours)
		sim_store_fail_names(course->sim, "0000000000000051/", HF_ECONN);
	run(course, scenario->before_s, csv);
	if (!scenario->neighbours)
		sim_store_outage(course->sim, true);
	run(course, scenario->outage_s, csv);
	if (scenario->neighbours)
		check_neighbours(course);
	else if (course->clients[0].busy > 0)
		fail(course, "commands were told to come again", course->clients[0].busy);
	sim_store_outage(course->sim, false);
	run(course, 30, csv); /* and it comes back */
	if (!csv)
		verdict(course);
	good = !course->failed;
	sim_keep_free(course->data);
	sim_destroy(course->sim);
	sim_keep_free(course);
	return good;
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 && argv[1][0] != '-' ? argv[1] : NULL;
	bool csv = argc > 1 && strcmp(argv[argc - 1], "--csv") == 0, good = true;

	setenv("HOLDFAST_LOG", "error", 0);
	hf_log_init("sim_pressure");
	for (unsigned i = 0; i < sizeof scenarios / sizeof scenarios[0]; i++)
		if (!name || strcmp(name, scenarios[i].name) == 0)
			good &= scenario_run(&scenarios[i], csv);
	return good ? 0 : 1;
}
