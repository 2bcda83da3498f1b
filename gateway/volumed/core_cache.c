/* The read cache of a core: one for all volumes. It opens when the log has recovered and reads its
 * disk behind the start; it closes when no volume has a remote side any more. Core's thread. */
#include "gateway/volumed/core_internal.h"

void hf_core_cache_open(struct hf_core *core)
{
	struct hf_rcache_config config = {
		.env = core->env,
		.disk = core->config.cache_disk ? core->config.cache_disk : HF_RCACHE_NO_DISK,
		.memory_bytes = core->config.cache_bytes,
	};

	core->cache = hf_rcache_create(&config);
	HF_ASSERT(core->cache != NULL);
}

static void cache_closed(void *context)
{
	struct hf_core *core = context;

	HF_CHECK_MAGIC(core, HF_CORE_MAGIC);
	hf_core_enter(core);
	core->cache_closed = true;
	hf_core_leave(core);
}

bool hf_core_cache_close(struct hf_core *core)
{
	if (core->cache) {
		hf_rcache_close(core->cache, cache_closed, core);
		core->cache = NULL;
	}
	return core->cache_closed;
}
