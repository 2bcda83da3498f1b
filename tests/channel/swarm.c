/* swarm --identities FILE --folder DIR --endpoint ADDR:PORT … [--from N] [--count N]
 * [--in-flight N] [--standby]: runs N simulated gateways (swarm.h) until SIGTERM. DIR keeps journal
 * and ledger; a swarm that starts again in it goes on where the killed one was. One line of JSON on
 * standard output whenever something changed, at most every 50 ms. */
#include "tests/channel/swarm.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define TICK_MS 10u
/* Begun in a tick. To make keys and certificates ready takes this one process a while for each; a
 * storm of as many machines would not wait for each other. */
#define DIALS_MAX 20u
#define LINES_MAX 65536u
#define LINE_MAX_ 400u

static struct swarm swarm;
static uv_timer_t tick_timer;
static uv_signal_t term;
static const char *folder;

/* ---- The ledger ---- */

static void flush_ledger(void)
{
	/* In the page cache it outlives this process, which is all that dies in a test. */
	if (swarm.lines_used && write(swarm.ledger, swarm.lines, swarm.lines_used) < 0)
		die("the ledger cannot be written");
	swarm.lines_used = 0;
}

void swarm_ledger(struct sim_gateway *g, const char *kind, uint64_t a, uint64_t b, uint64_t c,
		  const char *text)
{
	struct timespec now;
	int length;

	clock_gettime(CLOCK_REALTIME, &now);
	if (LINES_MAX - swarm.lines_used < LINE_MAX_)
		flush_ledger();
	length = snprintf(swarm.lines + swarm.lines_used, LINE_MAX_,
			  "%lld %s %016" PRIx64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64
			  " %.200s\n",
			  (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000, kind,
			  g->identity.gateway, g->paths.epoch, a, b, c, text);
	swarm.lines_used += (size_t)length;
	/* What was answered stands in the ledger before the answer leaves. */
	if (kind[0] == 'a')
		flush_ledger();
}

/* ---- Time ---- */

static void dial_due(uint64_t now_ms)
{
	unsigned dials = 0;

	for (unsigned i = 0; i < swarm.count && dials < DIALS_MAX &&
			     swarm.counts.states[SIM_DIALLING] + swarm.counts.states[SIM_ASKING] <
				     swarm.in_flight_max;
	     i++) {
		struct sim_gateway *g = &swarm.gateways[swarm.cursor++ % swarm.count];

		for (unsigned n = 0; n < HF_PATHS; n++)
			if (g->path[n].state == SIM_WAITING && now_ms >= g->path[n].due_ms) {
				sim_dial(&g->path[n]);
				dials++;
			}
	}
}

static void print_status(bool always)
{
	static struct swarm_counts last;
	static uint64_t last_ms;
	const struct swarm_counts *c = &swarm.counts;
	struct timespec now;

	if (!always && (memcmp(&last, c, sizeof last) == 0 || uv_now(swarm.loop) < last_ms + 50))
		return;
	last = *c;
	last_ms = uv_now(swarm.loop);
	clock_gettime(CLOCK_REALTIME, &now);
	printf("{\"time\": %lld.%06ld, \"waiting\": %" PRIu64 ", \"dialling\": %" PRIu64
	       ", \"held\": %" PRIu64 ", \"parked\": %" PRIu64 ", \"dialled\": %" PRIu64
	       ", \"refused\": %" PRIu64 ", \"retried\": %" PRIu64 ", \"ended\": %" PRIu64
	       ", \"applied\": %" PRIu64 ", \"deltas\": %" PRIu64 ", \"stale\": %" PRIu64
	       ", \"failed\": %" PRIu64 ", \"reports\": %" PRIu64 "}\n",
	       (long long)now.tv_sec, now.tv_nsec / 1000, c->states[SIM_WAITING],
	       c->states[SIM_DIALLING] + c->states[SIM_ASKING], c->states[SIM_HELD],
	       c->states[SIM_PARKED], c->dialled, c->refused, c->retried, c->ended, c->applied,
	       c->deltas, c->stale, c->failed, c->reports);
	fflush(stdout);
}

static void tick(uv_timer_t *timer)
{
	static unsigned at;
	uint64_t now_ms = uv_now(timer->loop);

	if (swarm.counts.states[SIM_WAITING])
		dial_due(now_ms);
	/* A share of them each turn: all within a tenth of a second. */
	for (unsigned i = 0; i < swarm.count / 10 + 1; i++)
		sim_tick(&swarm.gateways[at++ % swarm.count], now_ms);
	flush_ledger();
	print_status(false);
}

static void stop(uv_signal_t *handle, int number)
{
	(void)number;
	swarm.stopping = true;
	uv_close((uv_handle_t *)handle, NULL);
	uv_close((uv_handle_t *)&tick_timer, NULL);
	for (unsigned i = 0; i < swarm.count; i++)
		sim_close(&swarm.gateways[i]);
}

/* ---- Start ---- */

static void recall(void *context, uint32_t index, enum journal_kind kind, const uint8_t *bytes,
		   size_t length)
{
	(void)context;
	if (index < swarm.from || index >= swarm.from + swarm.count)
		die("the journal speaks of gateway %u, which is not in this swarm", index);
	sim_recall(&swarm.gateways[index - swarm.from], kind, bytes, length);
}

static void add_endpoint(const char *text)
{
	struct sockaddr_in *to = &swarm.endpoints[swarm.endpoint_count];
	char *host = swarm.hosts[swarm.endpoint_count];
	uint16_t port;

	if (swarm.endpoint_count == ENDPOINTS_MAX ||
	    hf_endpoint_parse(text, host, sizeof swarm.hosts[0], &port) != 0 ||
	    inet_pton(AF_INET, host, &to->sin_addr) != 1)
		die("`%s` is no endpoint", text);
	to->sin_family = AF_INET;
	to->sin_port = htons(port);
	swarm.endpoint_count++;
}

static void open_files(void)
{
	char path[PATH_MAX];

	snprintf(path, sizeof path, "%s/ledger", folder);
	swarm.ledger = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	swarm.lines = malloc(LINES_MAX);
	if (swarm.ledger < 0 || !swarm.lines)
		die("%s cannot be written", path);
	swarm.gateways = calloc(swarm.count, sizeof *swarm.gateways);
	if (!swarm.gateways)
		die("out of memory");
	snprintf(swarm.actions, sizeof swarm.actions, "%s/actions", folder);
	if (mkdir(swarm.actions, 0700) != 0 && errno != EEXIST)
		die("%s cannot be made", swarm.actions);
	for (unsigned i = 0; i < swarm.count; i++) {
		sim_init(&swarm, &swarm.gateways[i], swarm.from + i);
		sim_actions_recall(&swarm.gateways[i]);
	}
	snprintf(path, sizeof path, "%s/journal", folder);
	swarm.journal = journal_open(swarm.loop, path, recall, NULL);
	for (unsigned i = 0; i < swarm.count; i++)
		sim_settle(&swarm.gateways[i]);
}

static void read_options(int argc, char **argv)
{
	static const struct option options[] = {{"identities", required_argument, NULL, 'i'},
						{"folder", required_argument, NULL, 'd'},
						{"endpoint", required_argument, NULL, 'e'},
						{"from", required_argument, NULL, 'f'},
						{"count", required_argument, NULL, 'n'},
						{"in-flight", required_argument, NULL, 'w'},
						{"standby", no_argument, NULL, 's'},
						{"first", required_argument, NULL, '1'},
						{NULL, 0, NULL, 0}};
	int option;

	swarm.in_flight_max = UINT_MAX;
	swarm.first = -1;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'i')
			identities_read(&swarm.all, optarg);
		else if (option == 'd')
			folder = optarg;
		else if (option == 'e')
			add_endpoint(optarg);
		else if (option == 'f')
			swarm.from = (unsigned)strtoul(optarg, NULL, 10);
		else if (option == 'n')
			swarm.count = (unsigned)strtoul(optarg, NULL, 10);
		else if (option == 'w')
			swarm.in_flight_max = (unsigned)strtoul(optarg, NULL, 10);
		else if (option == 's')
			swarm.standby = true;
		else if (option == '1')
			swarm.first = (int)strtol(optarg, NULL, 10);
		else
			exit(2);
	}
	if (swarm.count == 0 && swarm.all.count > swarm.from)
		swarm.count = swarm.all.count - swarm.from;
	if (!folder || swarm.endpoint_count == 0 || swarm.count == 0 ||
	    swarm.from + swarm.count > swarm.all.count)
		die("--identities, --folder and --endpoint are wanted, and as many identities");
}

static void raise_file_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

int main(int argc, char **argv)
{
	uv_loop_t loop;

	signal(SIGPIPE, SIG_IGN);
	raise_file_limit();
	uv_loop_init(&loop);
	swarm.loop = &loop;
	read_options(argc, argv);
	open_files();
	uv_timer_init(&loop, &tick_timer);
	uv_timer_start(&tick_timer, tick, 0, TICK_MS);
	uv_signal_init(&loop, &term);
	uv_signal_start(&term, stop, SIGTERM);
	print_status(true);
	uv_run(&loop, UV_RUN_DEFAULT);
	flush_ledger();
	print_status(true);
	for (unsigned i = 0; i < swarm.count; i++)
		sim_free(&swarm.gateways[i]);
	journal_close(swarm.journal);
	free(swarm.gateways);
	free(swarm.lines);
	identities_free(&swarm.all);
	uv_loop_close(&loop);
	return 0;
}
