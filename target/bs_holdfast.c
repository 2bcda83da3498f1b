/* SPDX-License-Identifier: GPL-2.0-only
 * Part of the Holdfast backing store, which tgtd loads; see docs/LICENSING.md. */
/* The backing store `holdfast`: what tgtd loads, and the life of a LUN. tgtd's main thread alone;
 * nothing here blocks it, and nothing starts before the first LUN, because tgtd forks after it has
 * loaded its plugins.
 *
 * A LUN is made with path=vol-<16 hex digits> and bsopts=size=<bytes>[:wce=1][:block=4096]; it
 * opens whether or not holdfast-volumed is there. HOLDFAST_RING_SOCKET names volumed's socket,
 * HOLDFAST_DEADLINE_MS how long a command may take (25000), HOLDFAST_WATCHDOG_MS how long an
 * initiator that takes no data may hold up the others (2000; 0: for ever); HOLDFAST_SOCKETS=0
 * leaves tgtd's connections to tgtd (sockets.h). */
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/ids.h"
#include "base/log.h"
#include "target/lun.h"
#include "target/sockets.h"
#include "target/tgt_calls.h"
#include "target/watchdog.h"

#define RING_SOCKET "/run/holdfast/ring.sock"

#define BUFFER_BYTES_MAX (8 << 20)
#define HEAP_SPARE_BYTES (64 << 20) /* kept by the process when it is free */

__attribute__((visibility("default"))) void register_bs_module(void);

static struct tgt_bst template;
static struct hf_shim *shim; /* one in a tgtd; made with the first LUN */
static struct tgt_event flush_event;

/* ---- tgtd's event loop for the ring ---- */

static int watch(int fd, int events, void (*ready)(int fd, int events, void *data), void *data)
{
	return hf_tgt.tgt_event_add(fd, events, ready, data);
}

static void unwatch(int fd)
{
	hf_tgt.tgt_event_del(fd);
}

/* Runs before tgtd waits again: one wake of volumed for all the commands that came together. */
static void flush(struct tgt_event *event)
{
	if (hf_sockets_more())
		hf_tgt.tgt_add_sched_event(event);
	else
		hf_shim_flush(event->data);
}

static void soon(struct hf_shim *ring)
{
	flush_event.data = ring;
	hf_tgt.tgt_add_sched_event(&flush_event);
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static const struct hf_shim_loop loop = {
	.watch = watch,
	.unwatch = unwatch,
	.soon = soon,
	.now_ms = now_ms,
};

/* A number from the environment, at most 3,600,000; `otherwise` if there is none. */
static uint32_t setting(const char *name, uint32_t otherwise)
{
	const char *text = getenv(name);
	char *end;
	unsigned long value = text ? strtoul(text, &end, 10) : 0;

	return !text || end == text || *end || value > 3600000 ? otherwise : (uint32_t)value;
}

static void start_watchdog(void)
{
	uint32_t stall_ms = setting("HOLDFAST_WATCHDOG_MS", HF_WATCHDOG_STALL_MS);

	if (stall_ms > 0 && hf_watchdog_start(stall_ms, watch) != 0)
		hf_error("no watchdog: an initiator that takes no data can hold up all others");
}

static int open_ring(void)
{
	const char *socket = getenv("HOLDFAST_RING_SOCKET");
	uint32_t deadline_ms = setting("HOLDFAST_DEADLINE_MS", HF_SHIM_DEADLINE_MS);
	int err;

	if (shim)
		return 0;
	hf_tgt.tgt_init_sched_event(&flush_event, flush, NULL);
	err = hf_shim_open(
		&(struct hf_shim_config){
			.loop = &loop,
			.socket = socket && *socket ? socket : RING_SOCKET,
			.deadline_ms = deadline_ms ? deadline_ms : HF_SHIM_DEADLINE_MS,
		},
		&shim);
	if (err)
		hf_error("the ring cannot be made: %s", hf_err_text(err));
	else
		start_watchdog();
	return err;
}

/* ---- Life of a LUN ---- */

struct options {
	uint64_t size_bytes;
	uint32_t block_bytes;
	bool write_cache;
};

/* One of ":wce=<0|1>" and ":block=<512|4096>"; what follows it, or NULL. */
static const char *parse_setting(const char *text, struct options *options)
{
	static const struct {
		const char *text;
		uint32_t block_bytes;
		bool write_cache;
	} settings[] = {
		{":wce=0", 0, false},
		{":wce=1", 0, true},
		{":block=512", 512, false},
		{":block=4096", 4096, false},
	};

	for (unsigned i = 0; i < sizeof settings / sizeof settings[0]; i++) {
		size_t length = strlen(settings[i].text);

		if (strncmp(text, settings[i].text, length) != 0 ||
		    (text[length] != ':' && text[length] != '\0'))
			continue;
		if (settings[i].block_bytes)
			options->block_bytes = settings[i].block_bytes;
		else
			options->write_cache = settings[i].write_cache;
		return text + length;
	}
	return NULL;
}

/* "size=<bytes>", then settings in any order. */
static int parse_options(const char *text, struct options *options)
{
	char *end;

	*options = (struct options){.block_bytes = 512};
	if (!text || strncmp(text, "size=", 5) != 0 || text[5] < '0' || text[5] > '9')
		return HF_EINVAL;
	errno = 0;
	options->size_bytes = strtoull(text + 5, &end, 10);
	if (errno || options->size_bytes == 0 || options->size_bytes % 4096 != 0 ||
	    options->size_bytes > INT64_MAX)
		return HF_EINVAL;
	for (text = end; text && *text != '\0';)
		text = parse_setting(text, options);
	return text ? 0 : HF_EINVAL;
}

static int lun_init(struct tgt_lu *lu, char *text)
{
	struct hf_lun *lun = hf_lun_of(lu);
	struct hf_errmsg message;
	struct options options;

	if (hf_tgt_check_lu(lu, &template, &message) != 0) {
		hf_error("LUN refused: %s", message.text);
		return TGT_INVALID_REQUEST;
	}
	if (lu->block_shift != 9) {
		hf_error("LUN refused: the size of blocks is set in bsopts");
		return TGT_INVALID_REQUEST;
	}
	if (parse_options(text, &options) != 0) {
		hf_error("LUN refused: bsopts=size=<bytes, a multiple of 4096>[:wce=<0|1>]"
			 "[:block=<512|4096>] is needed");
		return TGT_INVALID_REQUEST;
	}
	*lun = (struct hf_lun){.lu = lu, .size_bytes = options.size_bytes};
	hf_lun_take_over(lu, options.block_bytes, options.write_cache);
	return TGT_SUCCESS;
}

static int lun_open(struct tgt_lu *lu, char *path, int *fd, uint64_t *size_bytes)
{
	struct hf_lun *lun = hf_lun_of(lu);
	uint64_t volume;
	int err;

	if (hf_id_parse(HF_ID_VOLUME, path, &volume) != 0) {
		hf_error("LUN refused: %s is no volume", path);
		return -EINVAL;
	}
	if (lun->ring || open_ring() != 0)
		return -EIO;
	hf_reservations_forget(&lun->reservations);
	*fd = -1;
	*size_bytes = lun->size_bytes;
	hf_lun_set_size(lu, lun->size_bytes); /* hf_lun_changed compares with it */
	hf_lun_identify(lu, volume);
	err = hf_shim_lun_open(shim, volume, hf_lun_changed, lun, &lun->ring);
	if (err) {
		hf_error("LUN refused: %s: %s", path, hf_err_text(err));
		return -EBUSY;
	}
	return 0;
}

static void lun_close(struct tgt_lu *lu)
{
	struct hf_lun *lun = hf_lun_of(lu);

	if (lun->ring)
		hf_shim_lun_close(lun->ring);
	lun->ring = NULL;
}

static void lun_exit(struct tgt_lu *lu)
{
	lun_close(lu);
	hf_reservations_forget(&hf_lun_of(lu)->reservations);
}

/* Commands come through the LUN's dispatch table; only what tgt still routes itself lands here. */
static int submit(struct tgt_cmd *cmd)
{
	(void)cmd;
	return EIO;
}

/* ---- Registration ---- */

static struct tgt_bst template = {
	.name = "holdfast",
	.data_size = sizeof(struct hf_lun),
	.open = lun_open,
	.close = lun_close,
	.init = lun_init,
	.exit = lun_exit,
	.submit = submit,
};

void register_bs_module(void)
{
	static unsigned char codes[] = {
		0x00, 0x03, 0x04, 0x08, 0x0a, 0x12, 0x15, 0x16, 0x17, 0x1a, 0x1b, 0x1d, 0x1e, 0x25,
		0x28, 0x2a, 0x2e, 0x2f, 0x34, 0x35, 0x41, 0x42, 0x55, 0x5a, 0x5e, 0x5f, 0x88, 0x89,
		0x8a, 0x8e, 0x8f, 0x90, 0x91, 0x93, 0x9e, 0xa0, 0xa3, 0xa8, 0xaa, 0xae, 0xaf,
	};
	struct hf_errmsg message;

	/* tgtd takes a buffer from the heap for each command. From its own choice of limits on,
	 * each of 128 KiB and more is mapped, its pages faulted in, and unmapped again, which at 1
	 * MiB takes a third of its time. */
	mallopt(M_MMAP_THRESHOLD, BUFFER_BYTES_MAX);
	mallopt(M_TRIM_THRESHOLD, HEAP_SPARE_BYTES);
	hf_log_init("bs_holdfast");
	if (setting("HOLDFAST_SOCKETS", 1) == 0)
		hf_sockets_disable();
	if (hf_tgt_calls_find(&message) != 0) {
		hf_error("not registered: %s", message.text);
		return;
	}
	hf_tgt.bs_create_opcode_map(&template, codes, sizeof codes);
	if (!(template.supported_ops[0] >> 0x28 & 1) || template.open != lun_open) {
		hf_error("not registered: this tgtd's backing stores are laid out differently");
		return;
	}
	hf_tgt.register_backingstore_template(&template);
	hf_info("registered");
}
