/* An initiator that writes, reads and verifies all the time, for tests that kill processes under
 * it. Usage: verifier PORTAL TARGET LUN keep|reconnect.
 *
 * It keeps DEPTH commands under way: overlapping writes and reads of a few blocks, half of the
 * commands reads of a few among them, which tgtd may answer from memory; all checked against
 * model.h, and COMPARE AND WRITE on counters of which it is the only writer. On each line
 * "check" on standard input it lets everything under way end, reads every block, prints one JSON
 * line of what it saw since the last, and goes on; on end of input it does so a last time and
 * ends. Commands time out after 30 s. With "keep" a lost session or any failed command is a
 * failure; with "reconnect" (tgtd is what is killed) the session may be lost, and then a COMPARE
 * AND WRITE that was under way may have taken effect before the initiator issued it anew.
 *
 * One thread. Exit 0 if nothing was wrong. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <iscsi/iscsi.h>
#include <iscsi/scsi-lowlevel.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "tests/crash/model.h"

#define DEPTH             16u
#define COUNTERS          4u
#define COUNTER_LBA       ((uint64_t)MODEL_BLOCKS * 8 + 2048)
#define LBA_BYTES         512u
#define BLOCKS_MAX        8u /* of one write or read */
#define HOT_BLOCKS        24u
#define COMMAND_TIMEOUT_S 30

enum kind { READ, WRITE, COMPARE_AND_WRITE, COUNTER_READ };

struct command {
	struct client *client;
	enum kind kind;
	unsigned block, count; /* or the counter's number */
	uint64_t id, issued, began_ms;
	bool busy;
	bool settles; /* issued when nothing else was under way: what it sees is the truth */
	uint8_t data[BLOCKS_MAX * MODEL_BLOCK_BYTES];
};

struct client {
	struct iscsi_context *iscsi;
	struct model *model;
	int lun;
	bool reconnect, failed;
	bool draining; /* nothing new but what check() asks for */
	unsigned under_way, settle_next, sessions_lost;
	uint64_t next_id, seed;
	uint64_t counters[COUNTERS];
	struct command commands[DEPTH], counter_commands[COUNTERS];
	/* since the last report */
	uint64_t writes, reads, swaps, uncertain, worst_ms;
};

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static uint64_t next_random(struct client *c)
{
	c->seed ^= c->seed << 13;
	c->seed ^= c->seed >> 7;
	c->seed ^= c->seed << 17;
	return c->seed;
}

static void violation(struct client *c, const char *what, unsigned place, uint64_t saw)
{
	fprintf(stderr, "violation: %s at %u: %" PRIu64 "\n", what, place, saw);
	c->failed = true;
}

static void verify_blocks(struct client *c, const struct command *command, const uint8_t *data)
{
	for (unsigned i = 0; i < command->count; i++) {
		unsigned block = command->block + i;
		uint64_t id;

		if (!model_value(data + i * MODEL_BLOCK_BYTES, block, &id))
			violation(c, "a block of no single write", block, id);
		else if (!model_admits(c->model, block, id, command->issued))
			violation(c, "a value that was replaced or never written", block, id);
		else if (command->settles)
			model_settle(c->model, block, id);
	}
}

static void finish_counter_read(struct client *c, const struct command *command,
				const uint8_t *data)
{
	uint64_t saw = hf_get_le64(data), expected = c->counters[command->block];

	if (saw != expected && saw != expected + 1)
		violation(c, "a counter that is neither before nor after", command->block, saw);
	c->counters[command->block] = saw;
}

static void finish(struct client *c, struct command *command, struct scsi_task *task)
{
	uint64_t now = model_tick(c->model);

	switch (command->kind) {
	case READ:
		if (task->datain.size != (int)(command->count * MODEL_BLOCK_BYTES))
			violation(c, "a short read", command->block, (uint64_t)task->datain.size);
		else
			verify_blocks(c, command, task->datain.data);
		c->reads++;
		break;
	case WRITE:
		for (unsigned i = 0; i < command->count; i++)
			model_answered(c->model, command->block + i, command->id, now);
		c->writes++;
		break;
	case COMPARE_AND_WRITE:
		c->counters[command->block]++;
		c->swaps++;
		break;
	case COUNTER_READ:
		finish_counter_read(c, command, task->datain.data);
		break;
	}
}

static void issue(struct client *c, struct command *command);

static bool is_transient(const struct scsi_task *task, int status)
{
	return status == SCSI_STATUS_BUSY || status == SCSI_STATUS_TASK_SET_FULL ||
	       (status == SCSI_STATUS_CHECK_CONDITION &&
		task->sense.key == SCSI_SENSE_UNIT_ATTENTION);
}

/* A miscompare after a lost session is no error: the command was issued anew. Look what is there.
 */
static bool look_at_counter(struct client *c, struct command *command, const struct scsi_task *task,
			    int status)
{
	if (command->kind != COMPARE_AND_WRITE || !c->reconnect ||
	    status != SCSI_STATUS_CHECK_CONDITION || task->sense.key != SCSI_SENSE_MISCOMPARE)
		return false;
	c->uncertain++;
	command->kind = COUNTER_READ;
	return true;
}

static void command_done(struct iscsi_context *iscsi, int status, void *data, void *private_data)
{
	struct command *command = private_data;
	struct client *c = command->client;
	struct scsi_task *task = data;
	uint64_t took_ms = now_ms() - command->began_ms;
	bool again = false;

	(void)iscsi;
	c->worst_ms = took_ms > c->worst_ms ? took_ms : c->worst_ms;
	if (status == SCSI_STATUS_GOOD) {
		finish(c, command, task);
	} else if (is_transient(task, status) || look_at_counter(c, command, task, status)) {
		again = true;
	} else {
		fprintf(stderr, "violation: kind %d ended with status %#x sense %#x/%#x: %s\n",
			command->kind, (unsigned)status, task ? (unsigned)task->sense.key : 0,
			task ? (unsigned)task->sense.ascq : 0, iscsi_get_error(c->iscsi));
		c->failed = true;
	}
	if (task)
		scsi_free_scsi_task(task);
	if (again) {
		issue(c, command);
		return;
	}
	command->busy = false;
	c->under_way--;
}

static void issue(struct client *c, struct command *command)
{
	uint64_t lba = (uint64_t)command->block * (MODEL_BLOCK_BYTES / LBA_BYTES);
	uint32_t bytes = command->count * MODEL_BLOCK_BYTES;
	struct scsi_task *task = NULL;

	switch (command->kind) {
	case READ:
		task = iscsi_read16_task(c->iscsi, c->lun, lba, bytes, LBA_BYTES, 0, 0, 0, 0, 0,
					 command_done, command);
		break;
	case WRITE:
		task = iscsi_write16_task(c->iscsi, c->lun, lba, command->data, bytes, LBA_BYTES, 0,
					  0, 0, 0, 0, command_done, command);
		break;
	case COMPARE_AND_WRITE:
		task = iscsi_compareandwrite_task(c->iscsi, c->lun, COUNTER_LBA + command->block,
						  command->data, 2 * LBA_BYTES, LBA_BYTES, 0, 0, 0,
						  0, 0, command_done, command);
		break;
	case COUNTER_READ:
		task = iscsi_read16_task(c->iscsi, c->lun, COUNTER_LBA + command->block, LBA_BYTES,
					 LBA_BYTES, 0, 0, 0, 0, 0, command_done, command);
		break;
	}
	if (!task) {
		fprintf(stderr, "violation: cannot issue: %s\n", iscsi_get_error(c->iscsi));
		c->failed = true;
		command->busy = false;
		c->under_way--;
	}
}

static void start_block_command(struct client *c, struct command *command)
{
	uint64_t now = model_tick(c->model);

	command->kind = next_random(c) % 4 ? WRITE : READ;
	command->count = 1 + (unsigned)(next_random(c) % BLOCKS_MAX);
	command->block = (unsigned)(next_random(c) % (MODEL_BLOCKS - command->count + 1));
	if (next_random(c) % 2) {
		command->kind = READ;
		command->count = 1 + (unsigned)(next_random(c) % 2);
		command->block = (unsigned)(next_random(c) % HOT_BLOCKS);
	}
	if (c->draining) { /* the last word of this round: every block, once */
		command->kind = READ;
		command->count = BLOCKS_MAX;
		command->block = c->settle_next;
		c->settle_next += BLOCKS_MAX;
	}
	command->settles = c->draining;
	command->issued = now;
	command->id = command->kind == WRITE ? c->next_id++ : 0;
	for (unsigned i = 0; command->kind == WRITE && i < command->count; i++) {
		model_issued(c->model, command->block + i, command->id, now);
		model_fill(command->data + i * MODEL_BLOCK_BYTES, command->block + i, command->id);
	}
}

static void start_swap(struct client *c, struct command *command, unsigned counter)
{
	command->kind = COMPARE_AND_WRITE;
	command->block = counter;
	memset(command->data, 0, 2 * LBA_BYTES);
	hf_put_le64(command->data, c->counters[counter]);
	hf_put_le64(command->data + LBA_BYTES, c->counters[counter] + 1);
}

static void begin(struct client *c, struct command *command)
{
	command->client = c;
	command->busy = true;
	command->began_ms = now_ms();
	c->under_way++;
	issue(c, command);
}

static void prune(struct client *c)
{
	uint64_t oldest = model_tick(c->model);

	for (unsigned i = 0; i < DEPTH; i++)
		if (c->commands[i].busy && c->commands[i].kind == READ &&
		    c->commands[i].issued < oldest)
			oldest = c->commands[i].issued;
	model_prune(c->model, oldest);
}

static void fill_queue(struct client *c)
{
	prune(c);
	for (unsigned i = 0; i < DEPTH; i++) {
		if (c->commands[i].busy || (c->draining && c->settle_next >= MODEL_BLOCKS))
			continue;
		start_block_command(c, &c->commands[i]);
		begin(c, &c->commands[i]);
	}
	for (unsigned i = 0; i < COUNTERS && !c->draining; i++) {
		if (c->counter_commands[i].busy)
			continue;
		start_swap(c, &c->counter_commands[i], i);
		begin(c, &c->counter_commands[i]);
	}
}

/* One turn: waits for the target or for standard input. 1: a line came, 0: nothing, -1: its end. */
static int turn(struct client *c)
{
	struct pollfd fds[2] = {
		{.fd = iscsi_get_fd(c->iscsi), .events = (short)iscsi_which_events(c->iscsi)},
		{.fd = STDIN_FILENO, .events = c->draining ? 0 : POLLIN}};
	char line[64];
	ssize_t n;

	if (poll(fds, c->draining ? 1 : 2, 100) < 0 && errno != EINTR)
		return -1;
	/* Called without events too, so that libiscsi sees time pass. */
	if (iscsi_service(c->iscsi, fds[0].revents) < 0) {
		c->sessions_lost++;
		if (!c->reconnect) {
			violation(c, "the session was lost", 0, 0);
			return -1;
		}
		iscsi_reconnect(c->iscsi);
	}
	if (c->draining || !(fds[1].revents & (POLLIN | POLLHUP)))
		return 0;
	n = read(STDIN_FILENO, line, sizeof line);
	return n > 0 ? 1 : -1;
}

static void report(struct client *c)
{
	printf("{\"ok\": %s, \"writes\": %" PRIu64 ", \"reads\": %" PRIu64
	       ", \"compare_and_writes\": %" PRIu64 ", \"uncertain\": %" PRIu64
	       ", \"worst_ms\": %" PRIu64 ", \"sessions_lost\": %u}\n",
	       c->failed ? "false" : "true", c->writes, c->reads, c->swaps, c->uncertain,
	       c->worst_ms, c->sessions_lost);
	fflush(stdout);
	c->writes = c->reads = c->swaps = c->uncertain = c->worst_ms = 0;
}

/* Lets everything end, then reads and settles every block and every counter. */
static void check(struct client *c)
{
	c->draining = true;
	c->settle_next = MODEL_BLOCKS; /* first only wait */
	while (c->under_way > 0 && !c->failed)
		turn(c);
	c->settle_next = 0;
	for (unsigned i = 0; i < COUNTERS && !c->failed; i++) {
		c->counter_commands[i].kind = COUNTER_READ;
		c->counter_commands[i].block = i;
		begin(c, &c->counter_commands[i]);
	}
	do {
		if (!c->failed)
			fill_queue(c);
		turn(c);
	} while (!c->failed && (c->under_way > 0 || c->settle_next < MODEL_BLOCKS));
	report(c);
	c->draining = false;
}

static int log_in(struct client *c, char **argv)
{
	c->iscsi = iscsi_create_context("iqn.2026-11.net.holdfast:verifier");
	HF_ASSERT(c->iscsi != NULL);
	iscsi_set_targetname(c->iscsi, argv[2]);
	iscsi_set_session_type(c->iscsi, ISCSI_SESSION_NORMAL);
	iscsi_set_header_digest(c->iscsi, ISCSI_HEADER_DIGEST_NONE_CRC32C);
	iscsi_set_timeout(c->iscsi, COMMAND_TIMEOUT_S);
	if (c->reconnect)
		iscsi_set_reconnect_max_retries(c->iscsi, -1);
	else
		iscsi_set_noautoreconnect(c->iscsi, 1);
	if (iscsi_full_connect_sync(c->iscsi, argv[1], c->lun) != 0) {
		fprintf(stderr, "login: %s\n", iscsi_get_error(c->iscsi));
		return -1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	static struct client c;
	int line = 0;

	if (argc != 5 || (strcmp(argv[4], "keep") != 0 && strcmp(argv[4], "reconnect") != 0)) {
		fprintf(stderr, "usage: %s PORTAL TARGET LUN keep|reconnect\n", argv[0]);
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	c.lun = atoi(argv[3]);
	c.reconnect = strcmp(argv[4], "reconnect") == 0;
	c.model = model_create();
	c.next_id = 1;
	c.seed = now_ms() | 1;
	if (log_in(&c, argv) != 0)
		return 1;
	while (line >= 0 && !c.failed) {
		fill_queue(&c);
		line = turn(&c);
		if (line != 0 && !c.failed)
			check(&c);
	}
	if (c.failed)
		report(&c);
	return c.failed;
}
