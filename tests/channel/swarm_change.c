/* swarm_change --socket PROVIDER.SOCK --gateways K --rate R --seconds S: an administrator who never
 * rests. Makes a volume on each of the first K gateways of a swarm and waits until it is there;
 * then, R times a second, grows one of them to a size that no other change has. A line a change on
 * standard output: size in bytes, µs since 1970 when it was asked for, µs until it was accepted, 0
 * or the error. Who compares the sizes with the swarm's ledger knows how long each took. */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <uv.h>

#include "net/local.h"
#include "proto/provider.pb-c.h"
#include "tests/channel/identities.h"

#define FIRST_BYTES   (64ull << 20)
#define STEP_BYTES    4096u
#define CREATING_MAX  32u /* at once */
#define CREATE_MS     60000u
#define NAME_MAX_TEXT 32u

struct change {
	uint64_t size_bytes, asked_us;
};

static struct {
	const char *socket;
	unsigned gateways, rate, seconds;
	uv_loop_t loop;
	uv_timer_t timer;
	struct hf_local_client *client;
	unsigned creating, created;
	uint64_t changes, wanted, answered;
} run = {.gateways = 100, .rate = 50, .seconds = 10};

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void ask(Holdfast__AdminRequest *request,
		void (*answered)(void *, int, const uint8_t *, size_t), void *context)
{
	uint8_t bytes[512];
	size_t length = holdfast__admin_request__pack(request, bytes);

	hf_local_call(run.client, bytes, length, 2 * CREATE_MS, answered, context);
}

/* 0 or the error, positive. */
static int error_of(int status, const uint8_t *bytes, size_t length)
{
	Holdfast__AdminAnswer *answer;
	int error = -status;

	if (status)
		return error;
	answer = holdfast__admin_answer__unpack(NULL, length, bytes);
	if (!answer)
		die("an answer that cannot be decoded");
	error = answer->error;
	if (error)
		fprintf(stderr, "%s\n", answer->reason);
	holdfast__admin_answer__free_unpacked(answer, NULL);
	return error;
}

/* ---- Volumes ---- */

static void start_changes(void);

static void created(void *context, int status, const uint8_t *bytes, size_t length);

static void create_more(void)
{
	while (run.creating < run.gateways && run.creating - run.created < CREATING_MAX) {
		Holdfast__AdminRequest request = HOLDFAST__ADMIN_REQUEST__INIT;
		Holdfast__AdminVolumeCreate create = HOLDFAST__ADMIN_VOLUME_CREATE__INIT;
		char gateway[NAME_MAX_TEXT], name[NAME_MAX_TEXT];

		snprintf(gateway, sizeof gateway, "swarm-%06u", run.creating);
		snprintf(name, sizeof name, "vol-%06u", run.creating++);
		create.gateway = gateway;
		create.name = name;
		create.size_bytes = FIRST_BYTES;
		request.wait_ms = CREATE_MS;
		request.kind_case = HOLDFAST__ADMIN_REQUEST__KIND_VOLUME_CREATE;
		request.volume_create = &create;
		ask(&request, created, NULL);
	}
}

static void created(void *context, int status, const uint8_t *bytes, size_t length)
{
	(void)context;
	if (error_of(status, bytes, length) != 0)
		die("a volume cannot be made");
	if (++run.created == run.gateways)
		start_changes();
	else
		create_more();
}

/* ---- Changes ---- */

static void changed(void *context, int status, const uint8_t *bytes, size_t length)
{
	struct change *change = context;

	printf("%" PRIu64 " %" PRIu64 " %" PRIu64 " %d\n", change->size_bytes, change->asked_us,
	       now_us() - change->asked_us, error_of(status, bytes, length));
	free(change);
	if (++run.answered == run.wanted) {
		uv_close((uv_handle_t *)&run.timer, NULL);
		hf_local_client_close(run.client, NULL, NULL);
	}
}

static void change_one(uv_timer_t *timer)
{
	Holdfast__AdminRequest request = HOLDFAST__ADMIN_REQUEST__INIT;
	Holdfast__AdminGrow grow = HOLDFAST__ADMIN_GROW__INIT;
	struct change *change = calloc(1, sizeof *change);
	char name[NAME_MAX_TEXT];

	if (!change)
		die("out of memory");
	if (run.changes == run.wanted) {
		uv_timer_stop(timer);
		free(change);
		return;
	}
	snprintf(name, sizeof name, "vol-%06u", (unsigned)(run.changes % run.gateways));
	change->size_bytes = FIRST_BYTES + ++run.changes * STEP_BYTES;
	change->asked_us = now_us();
	grow.volume = name;
	grow.size_bytes = change->size_bytes;
	request.kind_case = HOLDFAST__ADMIN_REQUEST__KIND_VOLUME_GROW;
	request.volume_grow = &grow;
	ask(&request, changed, change);
}

static void start_changes(void)
{
	run.wanted = (uint64_t)run.rate * run.seconds;
	uv_timer_start(&run.timer, change_one, 1000, 1000 / run.rate);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"socket", required_argument, NULL, 's'},
						{"gateways", required_argument, NULL, 'k'},
						{"rate", required_argument, NULL, 'r'},
						{"seconds", required_argument, NULL, 't'},
						{NULL, 0, NULL, 0}};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		unsigned number = optarg ? (unsigned)strtoul(optarg, NULL, 10) : 0;

		if (option == 's')
			run.socket = optarg;
		else if (option == 'k')
			run.gateways = number;
		else if (option == 'r')
			run.rate = number;
		else if (option == 't')
			run.seconds = number;
		else
			return 2;
	}
	if (!run.socket || !run.gateways || !run.rate || !run.seconds)
		die("--socket, and --gateways, --rate, --seconds above 0, are wanted");
	uv_loop_init(&run.loop);
	uv_timer_init(&run.loop, &run.timer);
	if (hf_local_client_open(&run.loop, run.socket, &run.client) != 0)
		die("%s is no socket", run.socket);
	create_more();
	uv_run(&run.loop, UV_RUN_DEFAULT);
	uv_loop_close(&run.loop);
	return 0;
}
