/* A ring that behaves, beside a mad one (mad_tgtd.py): writes and reads pages of two volumes of its
 * own and verifies every byte, until it is told to end (the end of its input).
 *
 * honest_ring SOCKET VOLUME VOLUME
 *
 * Prints "ready", and at the end what it did. Exit 1 at the first wrong byte, failed request, or
 * request that took longer than half a minute. */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "tests/ring/mad_tgtd.h"
#include "tests/ring/shim_loop.h"

#define PAGE        4096u
#define PAGES       512u /* of each volume */
#define LUNS        2u
#define OUTSTANDING 32u
#define LATE_MS     30000u

struct page {
	uint64_t version;
	bool busy;
	uint64_t since_ms;
};

static struct hf_shim_lun *luns[LUNS];
static uint64_t volumes[LUNS];
static struct page pages[LUNS][PAGES];
static unsigned bound_luns, outstanding;
static uint64_t writes, reads, longest_ms;

static void give_up(const char *what, const char *why)
{
	fprintf(stderr, "honest ring: %s: %s\n", what, why);
	exit(1);
}

static unsigned lun_number(const struct hf_shim_request *request)
{
	return request->lun == luns[1];
}

static void fill_pattern(uint64_t *words, unsigned lun, uint64_t index, uint64_t version)
{
	for (unsigned i = 0; i < PAGE / 8; i += 4) {
		words[i] = HONEST_MARK;
		words[i + 1] = volumes[lun];
		words[i + 2] = index;
		words[i + 3] = version;
	}
}

static void fill(struct hf_shim_request *request, void *slot)
{
	uint64_t index = request->offset / PAGE;

	fill_pattern(slot, lun_number(request), index, pages[lun_number(request)][index].version);
}

static void take(struct hf_shim_request *request, const void *slot)
{
	uint64_t index = request->offset / PAGE, wanted[PAGE / 8];
	uint64_t version = pages[lun_number(request)][index].version;

	if (version > 0)
		fill_pattern(wanted, lun_number(request), index, version);
	else
		memset(wanted, 0, sizeof wanted);
	if (memcmp(slot, wanted, PAGE) != 0)
		give_up("a page", "is not what was written");
}

static void done(struct hf_shim_request *request)
{
	struct page *page = &pages[lun_number(request)][request->offset / PAGE];
	uint64_t took_ms = shim_loop.now_ms() - page->since_ms;

	if (request->status != 0)
		give_up("a request", hf_err_text(request->status));
	longest_ms = took_ms > longest_ms ? took_ms : longest_ms;
	*(request->op == HF_OP_WRITE ? &writes : &reads) += 1;
	page->busy = false;
	outstanding--;
}

static void submit(unsigned lun, unsigned index, bool write)
{
	struct hf_shim_request *request = hf_shim_request_get(luns[lun]);
	struct page *page = &pages[lun][index];

	if (page->busy || !request)
		give_up("a request", "no room");
	page->busy = true;
	page->since_ms = shim_loop.now_ms();
	page->version += write;
	request->op = write ? HF_OP_WRITE : HF_OP_READ;
	request->offset = (uint64_t)index * PAGE;
	request->length = request->data_length = PAGE;
	request->fill = write ? fill : NULL;
	request->take = write ? NULL : take;
	request->done = done;
	outstanding++;
	hf_shim_submit(request);
}

static void bound(void *owner, uint64_t size_bytes, uint32_t flags)
{
	(void)owner;
	if (size_bytes < PAGES * PAGE || (flags & HF_VOLUME_NOT_READY))
		give_up("a volume", "is not ready");
	bound_luns++;
}

static void turn(void)
{
	shim_loop_turn(10);
	for (unsigned i = 0; i < LUNS * PAGES; i++) {
		const struct page *page = &pages[i / PAGES][i % PAGES];

		if (page->busy && shim_loop.now_ms() - page->since_ms > LATE_MS)
			give_up("a request", "is late");
	}
}

/* Writes or reads each page, when nothing else is under way. */
static void all_pages(bool write)
{
	while (outstanding > 0)
		turn();
	for (unsigned i = 0; i < LUNS * PAGES; i++) {
		submit(i / PAGES, i % PAGES, write);
		while (outstanding >= OUTSTANDING)
			turn();
	}
	while (outstanding > 0)
		turn();
}

static bool is_told_to_end(void)
{
	struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};

	return poll(&input, 1, 0) > 0;
}

int main(int argc, char **argv)
{
	uint64_t chance = 88172645463325252ull;
	struct hf_shim *shim;

	if (argc != 4)
		return 2;
	hf_log_init("honest_ring");
	signal(SIGPIPE, SIG_IGN);
	if (hf_shim_open(&(struct hf_shim_config){.loop = &shim_loop,
						  .socket = argv[1],
						  .deadline_ms = LATE_MS},
			 &shim) != 0)
		give_up("the ring", "cannot be made");
	for (unsigned i = 0; i < LUNS; i++) {
		volumes[i] = strtoull(argv[2 + i], NULL, 16);
		if (hf_shim_lun_open(shim, volumes[i], bound, NULL, &luns[i]) != 0)
			give_up("a LUN", "cannot be opened");
	}
	while (bound_luns < LUNS)
		turn();
	all_pages(true);
	printf("ready\n");
	fflush(stdout);
	while (!is_told_to_end()) {
		for (unsigned tries = 0; outstanding < OUTSTANDING && tries < 4 * OUTSTANDING;
		     tries++) {
			unsigned lun, index;

			chance ^= chance << 13;
			chance ^= chance >> 7;
			chance ^= chance << 17;
			lun = chance % LUNS;
			index = (unsigned)(chance >> 8) % PAGES;
			if (!pages[lun][index].busy)
				submit(lun, index, chance >> 40 & 1);
		}
		turn();
	}
	all_pages(false);
	printf("%llu writes, %llu reads verified, longest %llu ms\n", (unsigned long long)writes,
	       (unsigned long long)reads, (unsigned long long)longest_ms);
	return 0;
}
