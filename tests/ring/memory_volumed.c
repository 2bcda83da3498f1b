/* The ring's host on a core in memory, as a program: what tests of the shim need of volumed when
 * the log and the store are not their subject.
 *
 * memory_volumed SOCKET FILE VOLUME=SIZE[,wce] …   until SIGTERM. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/ids.h"
#include "base/log.h"
#include "gateway/volumed/ring_host.h"
#include "tests/ring/memory_core.h"

static struct hf_ring_host *host;

static void volume_changed(void *context, uint64_t volume)
{
	(void)context;
	if (host)
		hf_ring_host_volume_changed(host, volume);
}

static void closed(void *context)
{
	memory_core_close(context);
}

static void stop(uv_signal_t *handle, int number)
{
	(void)number;
	hf_ring_host_close(host, closed, handle->data);
	uv_close((uv_handle_t *)handle, NULL);
}

static int attach(struct hf_core *core, char *text)
{
	char *equals = strchr(text, '='), *comma = strchr(text, ',');
	uint64_t volume, size_bytes;

	if (!equals)
		return HF_EINVAL;
	*equals = '\0';
	if (comma)
		*comma = '\0';
	if (hf_id_parse(HF_ID_VOLUME, text, &volume) != 0 ||
	    hf_size_parse(equals + 1, &size_bytes) != 0)
		return HF_EINVAL;
	memory_core_attach(core, volume, size_bytes, comma && strcmp(comma + 1, "wce") == 0);
	return 0;
}

int main(int argc, char **argv)
{
	uv_loop_t *loop = uv_default_loop();
	struct hf_errmsg message;
	struct hf_core *core;
	uv_signal_t signal_handle;

	hf_log_init("memory_volumed");
	signal(SIGPIPE, SIG_IGN);
	if (argc < 3) {
		fprintf(stderr, "usage: %s SOCKET FILE VOLUME=SIZE[,wce] …\n", argv[0]);
		return 2;
	}
	core = memory_core_open(&(struct memory_core_config){
		.loop = loop, .path = argv[2], .volume_changed = volume_changed});
	for (int i = 3; i < argc; i++) {
		if (attach(core, argv[i]) != 0) {
			fprintf(stderr, "%s: no VOLUME=SIZE\n", argv[i]);
			return 2;
		}
	}
	if (hf_ring_host_open(&(struct hf_ring_host_config){.loop = loop,
							    .core = core,
							    .path = argv[1],
							    .tgt_uid = HF_RING_HOST_NO_UID},
			      &host, &message) != 0) {
		hf_error("%s", message.text);
		return 1;
	}
	uv_signal_init(loop, &signal_handle);
	signal_handle.data = core;
	uv_signal_start(&signal_handle, stop, SIGTERM);
	hf_info("listening");
	uv_run(loop, UV_RUN_DEFAULT);
	return 0;
}
