/* An initiator at the ring, for kill_points_volumed.py: the ring's client without tgtd.
 *
 * ring_writer SOCKET ANSWERS write   WRITE and COMPARE AND WRITE, a page each, many at once; counts
 *                                    the answers of each in the file ANSWERS. Exit 0 if all were
 *                                    answered with success.
 * ring_writer SOCKET ANSWERS read    A new ring reads every page, twice: what was answered is
 * there, the rest is there whole or not at all, and nothing changes. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/log.h"
#include "tests/ring/shim_loop.h"

#define VOLUME      0xe1u
#define REQUESTS    240u
#define OUTSTANDING 24u
#define PAGE        4096u
#define GIVE_UP_MS  40000u

static struct hf_shim_lun *lun;
static uint8_t *answers;
static unsigned outstanding, failed;
static bool is_bound;
static uint8_t seen[REQUESTS][PAGE];

static void give_up(const char *reason)
{
	fprintf(stderr, "%s\n", reason);
	exit(1);
}

static void fill_pattern(uint8_t *bytes, unsigned index)
{
	for (size_t i = 0; i < PAGE; i++)
		bytes[i] = (uint8_t)(index * 31 + i / 512 + 1);
}

static void fill(struct hf_shim_request *request, void *slot)
{
	uint8_t *bytes = slot;

	if (request->op == HF_OP_COMPARE_AND_WRITE) {
		memset(bytes, 0, PAGE); /* the page was never written */
		bytes += PAGE;
	}
	fill_pattern(bytes, (unsigned)(request->offset / PAGE));
}

static void answered(struct hf_shim_request *request)
{
	unsigned index = (unsigned)(request->offset / PAGE);

	answers[index]++;
	if (request->status != 0) {
		fprintf(stderr, "page %u: %s\n", index, hf_err_text(request->status));
		failed++;
	}
	outstanding--;
}

static void take(struct hf_shim_request *request, const void *slot)
{
	memcpy(seen[request->offset / PAGE], slot, PAGE);
}

static void submit(unsigned index, enum hf_op op)
{
	struct hf_shim_request *request = hf_shim_request_get(lun);

	if (!request)
		give_up("no request left");
	request->op = op;
	request->offset = (uint64_t)index * PAGE;
	request->length = PAGE;
	request->data_length = op == HF_OP_COMPARE_AND_WRITE ? 2 * PAGE : PAGE;
	request->fill = op == HF_OP_READ ? NULL : fill;
	request->take = op == HF_OP_READ ? take : NULL;
	request->done = answered;
	outstanding++;
	hf_shim_submit(request);
}

static void turn(void)
{
	static uint64_t start_ms;

	if (start_ms == 0)
		start_ms = shim_loop.now_ms();
	shim_loop_turn(10);
	if (shim_loop.now_ms() - start_ms > GIVE_UP_MS)
		give_up("waited too long");
}

static void write_all(void)
{
	unsigned next = 0;

	while (next < REQUESTS || outstanding > 0) {
		for (; next < REQUESTS && outstanding < OUTSTANDING; next++)
			submit(next, next % 3 == 2 ? HF_OP_COMPARE_AND_WRITE : HF_OP_WRITE);
		turn();
	}
}

static void read_all(void)
{
	for (unsigned i = 0; i < REQUESTS; i++)
		submit(i, HF_OP_READ);
	while (outstanding > 0)
		turn();
}

static void check_what_was_read(const uint8_t *before)
{
	static uint8_t first[REQUESTS][PAGE];

	read_all();
	memcpy(first, seen, sizeof first);
	for (unsigned i = 0; i < REQUESTS; i++) {
		uint8_t wanted[PAGE];

		fill_pattern(wanted, i);
		if (memcmp(seen[i], wanted, PAGE) != 0 && (before[i] || !hf_is_zero(seen[i], PAGE)))
			give_up("a page is lost or torn");
	}
	read_all();
	if (memcmp(first, seen, sizeof first) != 0)
		give_up("something of the old ring happened after the new one was bound");
}

static void bound(void *owner, uint64_t size_bytes, uint32_t flags)
{
	(void)owner;
	(void)size_bytes;
	(void)flags;
	is_bound = true;
}

static void map_answers(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	answers = mmap(NULL, REQUESTS, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (fd < 0 || answers == MAP_FAILED)
		give_up("the file of answers");
	close(fd);
}

int main(int argc, char **argv)
{
	uint8_t before[REQUESTS];
	struct hf_shim *shim;

	if (argc != 4)
		return 2;
	hf_log_init("ring_writer");
	signal(SIGPIPE, SIG_IGN);
	map_answers(argv[2]);
	memcpy(before, answers, REQUESTS);
	if (hf_shim_open(&(struct hf_shim_config){.loop = &shim_loop,
						  .socket = argv[1],
						  .deadline_ms = 60000},
			 &shim) != 0 ||
	    hf_shim_lun_open(shim, VOLUME, bound, NULL, &lun) != 0)
		give_up("the ring");
	while (!is_bound)
		turn();
	if (strcmp(argv[3], "write") == 0)
		write_all();
	else
		check_what_was_read(before);
	return failed ? 1 : 0;
}
