/* An initiator that makes load on LUNs and says how fast they were, for scripts/bench.
 *
 * One thread with one poll loop over all sessions: each URL gets --sessions sessions, each session
 * keeps --depth commands under way for --seconds, or until it has moved --bytes. Then it lets what
 * is under way end and prints one line of JSON. Times are from a command's issue to its end. A
 * command that fails is counted and goes on; a session that is lost ends the run, exit 1.
 *
 * Payload is random and does not compress; each write takes another part of it. */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <iscsi/iscsi.h>
#include <iscsi/scsi-lowlevel.h>

#include "base/assert.h"
#include "tests/bench/histogram.h"

#define LBA_BYTES         512u
#define SESSIONS_MAX      64u
#define DEPTH_MAX         1024u
#define PAYLOAD_BYTES     (16u << 20)
#define COMMAND_TIMEOUT_S 30
#define POLL_MS           100

enum op { RANDOM_WRITE, RANDOM_READ, SEQUENTIAL_WRITE, SEQUENTIAL_READ, WRITE_AND_SYNC, OP_COUNT };

static const char *const op_names[OP_COUNT] = {"randwrite", "randread", "seqwrite", "seqread",
					       "write+sync"};

struct slot {
	struct session *session;
	uint8_t *buffer; /* for reads */
	uint64_t began_ns;
	bool syncs; /* the second half of write+sync is under way */
};

struct session {
	struct load *load;
	struct iscsi_context *iscsi;
	int lun;
	uint64_t next_block, moved_bytes;
	unsigned under_way;
	struct slot *slots;
};

struct load {
	enum op op;
	uint64_t block_bytes, span_bytes, bytes_max, seed;
	unsigned depth, sessions_per_url, session_count;
	double seconds;
	bool fua, lost;
	uint64_t began_ns, end_ns, last_ns;
	uint8_t *payload;
	struct session sessions[SESSIONS_MAX];
	struct histogram times;
	struct report report;
};

static void issue(struct slot *slot);

/* ---- Commands -------------------------------------------------------------------------------- */

static void go_on(struct slot *slot)
{
	struct session *s = slot->session;
	struct load *l = s->load;

	if (l->lost || bench_now_ns() >= l->end_ns || s->moved_bytes >= l->bytes_max)
		return;
	slot->began_ns = bench_now_ns();
	slot->syncs = false;
	s->moved_bytes += l->block_bytes;
	issue(slot);
}

static void count_end(struct load *l, const struct slot *slot, bool good)
{
	uint64_t now = bench_now_ns();

	if (now - l->last_ns > l->report.gap_ns)
		l->report.gap_ns = now - l->last_ns;
	l->last_ns = now;
	if (!good) {
		l->report.errors++;
		return;
	}
	l->report.ops++;
	l->report.bytes += l->block_bytes;
	histogram_add(&l->times, now - slot->began_ns);
}

static void command_done(struct iscsi_context *iscsi, int status, void *data, void *private_data)
{
	struct slot *slot = private_data;
	struct load *l = slot->session->load;
	struct scsi_task *task = data;

	slot->session->under_way--;
	if (status != SCSI_STATUS_GOOD && l->report.errors == 0)
		fprintf(stderr, "a command ended with %#x, sense %#x/%#x: %s\n", (unsigned)status,
			task ? (unsigned)task->sense.key : 0, task ? (unsigned)task->sense.ascq : 0,
			iscsi_get_error(iscsi));
	if (task)
		scsi_free_scsi_task(task);
	if (status == SCSI_STATUS_GOOD && l->op == WRITE_AND_SYNC && !slot->syncs) {
		slot->syncs = true;
		issue(slot);
		return;
	}
	count_end(l, slot, status == SCSI_STATUS_GOOD);
	go_on(slot);
}

static uint64_t choose_block(struct session *s)
{
	uint64_t blocks = s->load->span_bytes / s->load->block_bytes;

	if (s->load->op == SEQUENTIAL_READ || s->load->op == SEQUENTIAL_WRITE)
		return s->next_block++ % blocks;
	return bench_next_random(&s->load->seed) % blocks;
}

static struct scsi_task *read_task(struct slot *slot, uint64_t lba)
{
	struct session *s = slot->session;
	struct load *l = s->load;
	struct scsi_task *task = iscsi_read16_task(s->iscsi, s->lun, lba, (uint32_t)l->block_bytes,
						   LBA_BYTES, 0, 0, 0, 0, 0, command_done, slot);

	if (task)
		scsi_task_add_data_in_buffer(task, (int)l->block_bytes, slot->buffer);
	return task;
}

static struct scsi_task *write_task(struct slot *slot, uint64_t lba)
{
	struct session *s = slot->session;
	struct load *l = s->load;
	uint64_t places = (PAYLOAD_BYTES - l->block_bytes) / 64 + 1;
	uint8_t *from = l->payload + bench_next_random(&l->seed) % places * 64;

	return iscsi_write16_task(s->iscsi, s->lun, lba, from, (uint32_t)l->block_bytes, LBA_BYTES,
				  0, 0, l->fua, 0, 0, command_done, slot);
}

static void issue(struct slot *slot)
{
	struct session *s = slot->session;
	struct scsi_task *task;
	uint64_t lba;

	if (slot->syncs) {
		task = iscsi_synchronizecache16_task(s->iscsi, s->lun, 0, 0, 0, 0, command_done,
						     slot);
	} else {
		lba = choose_block(s) * (s->load->block_bytes / LBA_BYTES);
		task = s->load->op == RANDOM_READ || s->load->op == SEQUENTIAL_READ
			       ? read_task(slot, lba)
			       : write_task(slot, lba);
	}
	if (task) {
		s->under_way++;
		return;
	}
	fprintf(stderr, "cannot issue: %s\n", iscsi_get_error(s->iscsi));
	s->load->lost = true;
}

/* ---- The loop -------------------------------------------------------------------------------- */

static void turn(struct load *l)
{
	struct pollfd fds[SESSIONS_MAX];

	for (unsigned i = 0; i < l->session_count; i++)
		fds[i] = (struct pollfd){.fd = iscsi_get_fd(l->sessions[i].iscsi),
					 .events = (short)iscsi_which_events(l->sessions[i].iscsi)};
	if (poll(fds, l->session_count, POLL_MS) < 0 && errno != EINTR)
		HF_ASSERT(!"poll");
	for (unsigned i = 0; i < l->session_count && !l->lost; i++) {
		if (iscsi_service(l->sessions[i].iscsi, fds[i].revents) == 0)
			continue;
		fprintf(stderr, "a session was lost: %s\n", iscsi_get_error(l->sessions[i].iscsi));
		l->report.sessions_lost++;
		l->lost = true;
	}
}

static bool is_busy(const struct load *l)
{
	for (unsigned i = 0; i < l->session_count; i++)
		if (l->sessions[i].under_way > 0)
			return true;
	return false;
}

static void run(struct load *l)
{
	l->began_ns = l->last_ns = bench_now_ns();
	l->end_ns = l->began_ns + (uint64_t)(l->seconds * 1e9);
	for (unsigned i = 0; i < l->session_count; i++)
		for (unsigned n = 0; n < l->depth; n++)
			go_on(&l->sessions[i].slots[n]);
	while (is_busy(l) && !l->lost)
		turn(l);
	l->report.seconds = (double)(l->last_ns - l->began_ns) / 1e9;
}

/* ---- Start and end --------------------------------------------------------------------------- */

static void *allocate(size_t bytes)
{
	void *memory = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);

	HF_ASSERT(memory != NULL);
	memset(memory, 0, bytes);
	return memory;
}

static void make_slots(struct load *l, struct session *s)
{
	bool reads = l->op == RANDOM_READ || l->op == SEQUENTIAL_READ;

	s->load = l;
	s->slots = allocate(l->depth * sizeof *s->slots);
	for (unsigned i = 0; i < l->depth; i++) {
		s->slots[i].session = s;
		s->slots[i].buffer = reads ? allocate(l->block_bytes) : NULL;
	}
}

static bool log_in(struct load *l, const char *url_text)
{
	struct session *s = &l->sessions[l->session_count++];
	char name[64];
	struct iscsi_url *url;
	bool ok = false;

	snprintf(name, sizeof name, "iqn.2026-11.net.holdfast:bench-%u", l->session_count);
	s->iscsi = iscsi_create_context(name);
	HF_ASSERT(s->iscsi != NULL);
	url = iscsi_parse_full_url(s->iscsi, url_text);
	if (url) {
		s->lun = url->lun;
		iscsi_set_targetname(s->iscsi, url->target);
		iscsi_set_session_type(s->iscsi, ISCSI_SESSION_NORMAL);
		iscsi_set_header_digest(s->iscsi, ISCSI_HEADER_DIGEST_NONE);
		iscsi_set_initial_r2t(s->iscsi, ISCSI_INITIAL_R2T_NO);
		iscsi_set_timeout(s->iscsi, COMMAND_TIMEOUT_S);
		iscsi_set_noautoreconnect(s->iscsi, 1);
		ok = iscsi_full_connect_sync(s->iscsi, url->portal, url->lun) == 0;
		iscsi_destroy_url(url);
	}
	if (!ok)
		fprintf(stderr, "%s: %s\n", url_text, iscsi_get_error(s->iscsi));
	make_slots(l, s);
	return ok;
}

static void log_out(struct load *l)
{
	for (unsigned i = 0; i < l->session_count; i++) {
		struct session *s = &l->sessions[i];

		if (!l->lost)
			iscsi_logout_sync(s->iscsi);
		iscsi_destroy_context(s->iscsi); /* cancels what a lost session left */
		for (unsigned n = 0; n < l->depth; n++)
			free(s->slots[n].buffer);
		free(s->slots);
	}
}

static enum op parse_op(const char *text)
{
	for (unsigned i = 0; i < OP_COUNT; i++)
		if (strcmp(text, op_names[i]) == 0)
			return (enum op)i;
	fprintf(stderr, "no such operation: %s\n", text);
	exit(2);
}

static void parse(struct load *l, int argc, char **argv)
{
	static const struct option options[] = {
		{"op", required_argument, NULL, 'o'},
		{"block", required_argument, NULL, 'b'},
		{"depth", required_argument, NULL, 'd'},
		{"sessions", required_argument, NULL, 'n'},
		{"seconds", required_argument, NULL, 's'},
		{"span", required_argument, NULL, 'S'},
		{"bytes", required_argument, NULL, 'B'},
		{"seed", required_argument, NULL, 'r'},
		{"fua", no_argument, NULL, 'f'},
		{NULL, 0, NULL, 0},
	};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'o':
			l->op = parse_op(optarg);
			break;
		case 'b':
			l->block_bytes = bench_parse_size(optarg);
			break;
		case 'd':
			l->depth = (unsigned)bench_parse_size(optarg);
			break;
		case 'n':
			l->sessions_per_url = (unsigned)bench_parse_size(optarg);
			break;
		case 's':
			l->seconds = strtod(optarg, NULL);
			break;
		case 'S':
			l->span_bytes = bench_parse_size(optarg);
			break;
		case 'B':
			l->bytes_max = bench_parse_size(optarg);
			break;
		case 'r':
			l->seed = bench_parse_size(optarg) * 2 + 1;
			break;
		case 'f':
			l->fua = true;
			break;
		default:
			exit(2);
		}
	}
}

static bool is_sane(const struct load *l, unsigned urls)
{
	return urls > 0 && l->sessions_per_url > 0 && urls * l->sessions_per_url <= SESSIONS_MAX &&
	       l->depth > 0 && l->depth <= DEPTH_MAX && l->block_bytes > 0 &&
	       l->block_bytes % LBA_BYTES == 0 && l->block_bytes <= PAYLOAD_BYTES &&
	       l->span_bytes >= l->block_bytes && l->seconds > 0;
}

static void make_payload(struct load *l)
{
	uint64_t seed = l->seed;

	l->payload = allocate(PAYLOAD_BYTES);
	for (size_t i = 0; i < PAYLOAD_BYTES; i += sizeof seed) {
		bench_next_random(&seed);
		memcpy(l->payload + i, &seed, sizeof seed);
	}
}

int main(int argc, char **argv)
{
	static struct load l = {.block_bytes = 4096,
				.span_bytes = 1u << 30,
				.bytes_max = UINT64_MAX,
				.seed = 1,
				.depth = 1,
				.sessions_per_url = 1,
				.seconds = 3};
	bool ok = true;

	parse(&l, argc, argv);
	if (!is_sane(&l, (unsigned)(argc - optind))) {
		fprintf(stderr,
			"usage: %s [--op randwrite|randread|seqwrite|seqread|write+sync] "
			"[--block BYTES] [--depth N] [--sessions N] [--seconds S] [--span BYTES] "
			"[--bytes N] [--seed N] [--fua] iscsi://PORTAL/TARGET/LUN...\n",
			argv[0]);
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	make_payload(&l);
	for (int i = optind; i < argc && ok; i++)
		for (unsigned n = 0; n < l.sessions_per_url && ok; n++)
			ok = log_in(&l, argv[i]);
	if (ok) {
		run(&l);
		bench_print_report(&l.report, &l.times);
	}
	log_out(&l);
	free(l.payload);
	return !ok || l.lost;
}
