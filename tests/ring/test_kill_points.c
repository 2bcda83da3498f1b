/* docs/kill-points.md, row by row: volumed or the shim is killed between two of its steps, three
 * times at places that differ, and what the row promises is looked at.
 *
 * Real processes, real kills: the test forks volumed (ring host and a core in a file that outlives
 * it) and the shim (the ring's client). The parent starts again what died. What the tests assert:
 *   once        every request is answered once and executed once, also a COMPARE AND WRITE
 *   no zombies  after a volume is bound to a new ring nothing of the old one is executed */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "gateway/volumed/ring_host.h"
#include "tests/ring/kill_points.h"
#include "tests/ring/memory_core.h"
#include "tests/ring/shim_loop.h"

#define VOLUME         0xa1u
#define VOLUME_BYTES   (64u << 20)
#define REQUESTS       240u
#define OUTSTANDING    24u
#define PAGE           4096u
#define GIVE_UP_MS     20000u
#define LONG_DEADLINE  60000u
#define SHORT_DEADLINE 300u

/* What the processes of one test share beside the disk. */
struct board {
	struct kill_switch kill;
	uint32_t answered[REQUESTS]; /* times */
	int32_t status[REQUESTS];
	uint32_t bound;             /* times the shim was told so */
	uint64_t executed_at_bound; /* disk's counter, at the second ring's BOUND */
	uint32_t hold;              /* volumed executes nothing */
	uint32_t waiting;           /* requests that rest in volumed's core */
	uint32_t delay_ms;
	uint32_t commits_at_once;
	uint32_t deadline_ms;
};

static struct board *board;
static char folder[] = "/tmp/holdfast-kill-XXXXXX";
static char socket_path[64], disk_path[64];
static struct memory_disk *disk;

/* ---- volumed ---- */

static struct hf_ring_host *host;
static struct hf_core *core;

static void volume_changed(void *context, uint64_t volume)
{
	(void)context;
	if (host)
		hf_ring_host_volume_changed(host, volume);
}

static void core_step(enum memory_step at, const struct hf_request *request)
{
	(void)request;
	if (at == MEMORY_ACCEPTED)
		kill_point_reached(V_LOGS);
	else if (at == MEMORY_LOGGED)
		kill_point_reached(V_ANSWERS_LOGGED);
}

static void look_at_board(uv_timer_t *timer)
{
	(void)timer;
	memory_core_hold(core, board->hold);
	board->waiting = memory_core_waiting(core);
}

static void run_volumed(void)
{
	uv_loop_t *loop = uv_default_loop();
	struct hf_errmsg message;
	uv_timer_t timer;

	core = memory_core_open(&(struct memory_core_config){
		.loop = loop,
		.path = disk_path,
		.step = core_step,
		.delay_ms = board->delay_ms,
		.commits_at_once = board->commits_at_once,
		.volume_changed = volume_changed,
	});
	memory_core_attach(core, VOLUME, VOLUME_BYTES, false);
	if (hf_ring_host_open(&(struct hf_ring_host_config){.loop = loop,
							    .core = core,
							    .path = socket_path,
							    .tgt_uid = HF_RING_HOST_NO_UID},
			      &host, &message) != 0)
		_exit(3);
	uv_timer_init(loop, &timer);
	uv_timer_start(&timer, look_at_board, 0, 2);
	uv_run(loop, UV_RUN_DEFAULT);
	_exit(4);
}

/* ---- The shim, and its initiator ---- */

static struct hf_shim_lun *lun;
static unsigned next_request, outstanding;

static void fill_pattern(uint8_t *bytes, unsigned index, size_t length)
{
	for (size_t i = 0; i < length; i++)
		bytes[i] = (uint8_t)(index * 31 + i / 512 + 1);
}

static void fill(struct hf_shim_request *request, void *slot)
{
	uint8_t *bytes = slot;

	if (request->op == HF_OP_COMPARE_AND_WRITE) {
		memset(bytes, 0, PAGE); /* the page was never written */
		bytes += PAGE;
	}
	fill_pattern(bytes, (unsigned)(request->offset / PAGE), PAGE);
}

static void answered(struct hf_shim_request *request)
{
	unsigned index = (unsigned)(request->offset / PAGE);

	board->answered[index]++;
	board->status[index] = request->status;
	outstanding--;
}

static bool submit_one(unsigned index)
{
	struct hf_shim_request *request = hf_shim_request_get(lun);
	bool compare = index % 3 == 2;

	if (!request)
		return false;
	request->op = compare ? HF_OP_COMPARE_AND_WRITE : HF_OP_WRITE;
	request->offset = (uint64_t)index * PAGE;
	request->length = PAGE;
	request->data_length = compare ? 2 * PAGE : PAGE;
	request->fill = fill;
	request->done = answered;
	outstanding++;
	hf_shim_submit(request);
	return true;
}

static void bound(void *owner, uint64_t size_bytes, uint32_t flags)
{
	(void)owner;
	(void)flags;
	if (size_bytes != VOLUME_BYTES)
		_exit(5);
	board->executed_at_bound = disk->executed;
	board->bound++;
}

static void open_shim(void)
{
	struct hf_shim *shim;

	if (hf_shim_open(&(struct hf_shim_config){.loop = &shim_loop,
						  .socket = socket_path,
						  .deadline_ms = board->deadline_ms},
			 &shim) != 0 ||
	    hf_shim_lun_open(shim, VOLUME, bound, NULL, &lun) != 0)
		_exit(6);
}

static void give_up_after(uint64_t start_ms)
{
	if (shim_loop.now_ms() - start_ms > GIVE_UP_MS)
		_exit(7);
}

static void run_writer(void)
{
	uint64_t start_ms = shim_loop.now_ms();

	open_shim();
	while (next_request < REQUESTS || outstanding > 0) {
		while (next_request < REQUESTS && outstanding < OUTSTANDING &&
		       submit_one(next_request))
			next_request++;
		shim_loop_turn(10);
		give_up_after(start_ms);
	}
	_exit(0);
}

static void check_page(struct hf_shim_request *request, const void *slot)
{
	unsigned index = (unsigned)(request->offset / PAGE);
	uint8_t wanted[PAGE];

	fill_pattern(wanted, index, PAGE);
	if (board->answered[index] == 1 && memcmp(slot, wanted, PAGE) != 0)
		_exit(8);
}

static void read_done(struct hf_shim_request *request)
{
	if (request->status != 0)
		_exit(9);
	outstanding--;
}

/* A new tgtd: binds the volume, reads here and there, and sees nothing of the old ring happen. */
static void run_reader(void)
{
	uint64_t start_ms = shim_loop.now_ms();
	uint64_t executed;

	open_shim();
	while (board->bound == 0) {
		shim_loop_turn(10);
		give_up_after(start_ms);
	}
	executed = board->executed_at_bound;
	for (unsigned index = 0; index < REQUESTS; index += 6) {
		struct hf_shim_request *request = hf_shim_request_get(lun);

		request->op = HF_OP_READ;
		request->offset = (uint64_t)index * PAGE;
		request->length = request->data_length = PAGE;
		request->take = check_page;
		request->done = read_done;
		outstanding++;
		hf_shim_submit(request);
	}
	while (outstanding > 0) {
		shim_loop_turn(10);
		give_up_after(start_ms);
	}
	_exit(disk->executed == executed ? 0 : 10);
}

/* ---- The supervisor ---- */

static pid_t start(void (*role)(void))
{
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	shim_loop_reset();
	role();
	_exit(11);
}

static void reap(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void arm(enum kill_point point, uint32_t countdown)
{
	board->kill.point = point;
	board->kill.countdown = countdown;
}

/* Runs the writer to its end while volumed dies and comes back; returns the writer's status. */
static int supervise(const uint32_t *countdowns, unsigned count, enum kill_point point)
{
	pid_t writer, volumed;
	unsigned used = 1;

	arm(point, countdowns[0]);
	volumed = start(run_volumed);
	writer = start(run_writer);
	for (;;) {
		int status;
		pid_t pid = waitpid(-1, &status, 0);

		if (pid == writer) {
			reap(volumed);
			return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
		}
		if (used < count)
			arm(point, countdowns[used++]);
		volumed = start(run_volumed);
	}
}

static int setup(void **state)
{
	int fd;

	(void)state;
	snprintf(socket_path, sizeof socket_path, "%s/ring.sock", folder);
	snprintf(disk_path, sizeof disk_path, "%s/disk", folder);
	unlink(disk_path);
	unlink(socket_path);
	memset(board, 0, sizeof *board);
	board->deadline_ms = LONG_DEADLINE;
	kill_switch = &board->kill;
	fd = open(disk_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, 1ll << 34) != 0)
		return -1;
	disk = mmap(NULL, sizeof *disk, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return disk == MAP_FAILED ? -1 : 0;
}

static int teardown(void **state)
{
	(void)state;
	munmap(disk, sizeof *disk);
	unlink(disk_path);
	unlink(socket_path);
	return 0;
}

/* ---- Rows: volumed dies ---- */

static void volumed_dies(enum kill_point point)
{
	const uint32_t countdowns[] = {point == V_WELCOMES || point == V_BINDS ? 1 : 3, 1, 4};
	unsigned kills = point == V_WELCOMES || point == V_BINDS ? 2 : 3;

	assert_int_equal(supervise(countdowns, kills, point), 0);
	assert_int_equal(board->kill.kills, kills);
	for (unsigned i = 0; i < REQUESTS; i++) {
		assert_int_equal(board->answered[i], 1);
		assert_int_equal(board->status[i], 0);
		assert_int_equal(disk->executions[i], 1);
	}
	assert_int_equal(disk->executed, REQUESTS);
}

#define VOLUMED_ROW(row, point)                                                                    \
	static void row(void **state)                                                              \
	{                                                                                          \
		(void)state;                                                                       \
		volumed_dies(point);                                                               \
	}

VOLUMED_ROW(V1_before_it_welcomes, V_WELCOMES)
VOLUMED_ROW(V2_before_it_binds, V_BINDS)
VOLUMED_ROW(V3_before_it_empties_the_wake, V_EMPTIES_WAKE)
VOLUMED_ROW(V4_before_it_takes_a_descriptor, V_TAKES)
VOLUMED_ROW(V5_before_it_shows_what_it_took, V_SHOWS_TAKEN)
VOLUMED_ROW(V6_before_it_logs, V_LOGS)
VOLUMED_ROW(V7_logged_and_nothing_said, V_ANSWERS_LOGGED)
VOLUMED_ROW(V8_before_it_places_a_completion, V_PLACES)
VOLUMED_ROW(V9_before_it_publishes_a_completion, V_PUBLISHES)
VOLUMED_ROW(V10_before_it_wakes_the_shim, V_WAKES)

/* ---- Rows: tgtd dies ---- */

static void tgtd_dies(enum kill_point point)
{
	static const uint32_t countdowns[] = {1, 3, 6};

	for (unsigned i = 0; i < 3; i++) {
		pid_t volumed, writer, reader;
		int status;

		assert_int_equal(teardown(NULL), 0);
		assert_int_equal(setup(NULL), 0);
		board->delay_ms = 15;       /* so that something rests in volumed … */
		board->commits_at_once = 1; /* … and half of it past cancelling */
		arm(point, countdowns[i]);
		volumed = start(run_volumed);
		writer = start(run_writer);
		waitpid(writer, &status, 0);
		assert_true(WIFSIGNALED(status));
		assert_int_equal(board->kill.kills, 1);
		arm(KILL_NOWHERE, 0);
		board->bound = 0;
		reader = start(run_reader);
		waitpid(reader, &status, 0);
		reap(volumed);
		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), 0);
		for (unsigned request = 0; request < REQUESTS; request++) {
			assert_true(board->answered[request] <= 1);
			assert_true(disk->executions[request] <= 1);
			if (board->answered[request])
				assert_int_equal(disk->executions[request], 1);
		}
		assert_int_equal(disk->forgotten, 1); /* the dead ring's results */
	}
}

#define TGTD_ROW(row, point)                                                                       \
	static void row(void **state)                                                              \
	{                                                                                          \
		(void)state;                                                                       \
		tgtd_dies(point);                                                                  \
	}

TGTD_ROW(S1_before_it_places_a_descriptor, S_PLACES)
TGTD_ROW(S2_before_it_publishes_a_descriptor, S_PUBLISHES)
TGTD_ROW(S3_before_it_wakes_volumed, S_WAKES)
TGTD_ROW(S4_before_it_empties_the_wake, S_EMPTIES_WAKE)
TGTD_ROW(S5_before_it_collects, S_COLLECTS)
TGTD_ROW(S6_before_it_shows_what_it_collected, S_SHOWS_COLLECTED)
TGTD_ROW(S7_before_it_shows_its_oldest, S_SHOWS_OLDEST)

/* ---- Rows: deadlines ---- */

static unsigned count_status(int status)
{
	unsigned count = 0;

	for (unsigned i = 0; i < REQUESTS; i++)
		count += board->answered[i] == 1 && board->status[i] == status;
	return count;
}

/* D1: the deadline passes while volumed has the requests and does nothing: a CANCEL, confirmed. */
static void D1_deadline_while_volumed_rests(void **state)
{
	pid_t volumed, writer;
	int status;

	(void)state;
	board->deadline_ms = SHORT_DEADLINE;
	board->delay_ms = 3600000; /* nothing is logged before it is cancelled */
	volumed = start(run_volumed);
	writer = start(run_writer);
	waitpid(writer, &status, 0);
	reap(volumed);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_int_equal(count_status(HF_ETIMEDOUT), REQUESTS);
	assert_int_equal(disk->executed, 0);
}

/* D2: the deadline passes while volumed is dead: answered, and never executed afterwards. */
static void D2_deadline_while_volumed_is_dead(void **state)
{
	pid_t volumed, writer, reader;
	unsigned lost, done;
	int status;

	(void)state;
	board->deadline_ms = SHORT_DEADLINE;
	board->hold = 1;
	volumed = start(run_volumed);
	writer = start(run_writer);
	while (board->waiting < OUTSTANDING && waitpid(writer, &status, WNOHANG) == 0)
		usleep(1000);
	reap(volumed);
	assert_int_equal(waitpid(writer, &status, 0), writer);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	lost = count_status(HF_ETIMEDOUT);
	done = count_status(0);
	assert_int_equal(lost + done, REQUESTS);
	assert_true(lost >= OUTSTANDING);
	board->hold = 0;
	board->bound = 0;
	board->deadline_ms = LONG_DEADLINE;
	volumed = start(run_volumed);
	memset(board->answered, 0, sizeof board->answered);
	reader = start(run_reader);
	waitpid(reader, &status, 0);
	reap(volumed);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_int_equal(disk->executed, 0);
}

int main(void)
{
#define ROW(row) cmocka_unit_test_setup_teardown(row, setup, teardown)
	const struct CMUnitTest tests[] = {
		ROW(V1_before_it_welcomes),
		ROW(V2_before_it_binds),
		ROW(V3_before_it_empties_the_wake),
		ROW(V4_before_it_takes_a_descriptor),
		ROW(V5_before_it_shows_what_it_took),
		ROW(V6_before_it_logs),
		ROW(V7_logged_and_nothing_said),
		ROW(V8_before_it_places_a_completion),
		ROW(V9_before_it_publishes_a_completion),
		ROW(V10_before_it_wakes_the_shim),
		ROW(S1_before_it_places_a_descriptor),
		ROW(S2_before_it_publishes_a_descriptor),
		ROW(S3_before_it_wakes_volumed),
		ROW(S4_before_it_empties_the_wake),
		ROW(S5_before_it_collects),
		ROW(S6_before_it_shows_what_it_collected),
		ROW(S7_before_it_shows_its_oldest),
		ROW(D1_deadline_while_volumed_rests),
		ROW(D2_deadline_while_volumed_is_dead),
	};
	int failed;

	if (!getenv("HOLDFAST_LOG"))
		setenv("HOLDFAST_LOG", "error", 1);
	hf_log_init("test_kill_points");
	signal(SIGPIPE, SIG_IGN);
	board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	if (board == MAP_FAILED || !mkdtemp(folder))
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(folder);
	return failed;
}
