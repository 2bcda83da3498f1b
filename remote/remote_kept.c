/* Blocks of checkpoints in the read cache, behind remote/kept.h. Core's thread. */
#include "remote/kept.h"

#include <string.h>

static struct hf_read_cache_key key_of(const struct hf_map_object *object,
				       const struct hf_map_spot *spot)
{
	struct hf_read_cache_key key = {
		.volume = object->id.volume,
		.chunk = spot->offset, /* a block is longer than the number of its pieces */
		.class = HF_READ_CACHE_MAP,
	};

	memcpy(key.tag, object->salt, sizeof key.tag);
	return key;
}

static size_t piece_bytes(const struct hf_kept *kept)
{
	size_t left = kept->length - kept->have;

	return left < HF_READ_CACHE_CHUNK_MAX ? left : HF_READ_CACHE_CHUNK_MAX;
}

static void kept_got(struct hf_read_cache_get *get);

/* The next piece: false when all are there, or one is not (`failed`), or its disk is asked. */
static bool step(struct hf_kept *kept)
{
	struct hf_read_cache_get *get = &kept->get;

	if (kept->have == kept->length)
		return false;
	*get = (struct hf_read_cache_get){
		.key = kept->key,
		.length = (uint32_t)piece_bytes(kept),
		.done = kept_got,
	};
	switch (hf_read_cache_look(kept->remote->cache, get)) {
	case HF_READ_CACHE_HERE:
		memcpy(kept->bytes + kept->have, get->bytes, get->length);
		kept->have += get->length;
		kept->key.chunk++;
		return true;
	case HF_READ_CACHE_ON_DISK:
		kept->asking = true;
		hf_remote_busy(kept->remote);
		hf_read_cache_get(kept->remote->cache, get);
		return false;
	default:
		kept->failed = true;
		return false;
	}
}

static void run(struct hf_kept *kept)
{
	while (step(kept))
		continue;
}

static void kept_got(struct hf_read_cache_get *get)
{
	struct hf_kept *kept = hf_container_of(get, struct hf_kept, get);
	struct hf_remote *remote = kept->remote;

	kept->asking = false;
	if (get->status) {
		kept->failed = true;
	} else {
		memcpy(kept->bytes + kept->have, get->bytes, get->length);
		kept->have += get->length;
		kept->key.chunk++;
		run(kept);
	}
	if (!kept->asking)
		kept->done(kept, kept->failed ? HF_ENOENT : 0);
	hf_remote_idle(remote);
}

int hf_kept_read(struct hf_kept *kept, const struct hf_map_object *object,
		 const struct hf_map_spot *spot, uint8_t *bytes)
{
	kept->key = key_of(object, spot);
	kept->bytes = bytes;
	kept->length = spot->stored_bytes;
	kept->have = 0;
	kept->failed = !kept->remote->cache || kept->remote->closing;
	if (!kept->failed)
		run(kept);
	return kept->failed ? HF_ENOENT : kept->asking ? HF_EAGAIN : 0;
}

void hf_kept_write(struct hf_remote *remote, const struct hf_map_object *object,
		   const struct hf_map_spot *spot, const uint8_t *bytes)
{
	struct hf_read_cache_key key = key_of(object, spot);
	size_t length = spot->stored_bytes;

	for (size_t at = 0; at < length; key.chunk++) {
		size_t piece = length - at < HF_READ_CACHE_CHUNK_MAX ? length - at
								     : HF_READ_CACHE_CHUNK_MAX;

		hf_read_cache_put(remote->cache, &key, bytes + at, piece);
		at += piece;
	}
}
