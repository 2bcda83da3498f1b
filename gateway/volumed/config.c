/* The configuration of holdfast-volumed (docs/operations/volumed.md). Start-up only. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "gateway/volumed/ring_host.h"
#include "gateway/volumed/volumed.h"
#include "net/proxy.h"

/* The ends of the range are those of a size or number; none for a text. */
#define KEY(kind, field, value, text, ...)                                                         \
	{                                                                                          \
		.name = #field, .type = HF_CONF_##kind,                                            \
		.offset = offsetof(struct hf_volumed_config, field), .initial = (value),           \
		.help = (text), __VA_ARGS__                                                        \
	}

const struct hf_conf_key hf_volumed_keys[] = {
	KEY(TEXT, run_dir, NULL, "folder of the socket volumed.sock"),
	KEY(TEXT, ring_dir, "", "folder of ring.sock; empty: run_dir"),
	KEY(TEXT, state_dir, NULL, "folder of the log and of what is remembered; private"),
	KEY(TEXT, log_file, "", "the write log; empty: STATE_DIR/log"),
	KEY(SIZE, log_size, "1GiB", "of a log that is made at the first start", 1u << 20,
	    1ull << 46),
	/* The largest write, 8 MiB, must fit into a batch, which is half a segment. */
	KEY(SIZE, segment_size, "64MiB", "of a log that is made: 32MiB or 64MiB", 32u << 20,
	    64u << 20),
	KEY(SIZE, object_size, "16MiB", "an object is closed at this payload", 64u << 10,
	    64u << 20),
	KEY(NUMBER, object_timer_ms, "2000", "or when its first write is this old", 10, 3600000),
	KEY(NUMBER, uploads, "4", "objects under way at once", 1, 64),
	KEY(NUMBER, read_deadline_ms, "25000",
	    "of a read that needs the store; below the initiators'", 100, 600000),
	KEY(NUMBER, log_horizon_ms, "600000", "how long a log that fills up is made to last", 1000,
	    86400000),
	KEY(NUMBER, write_wait_ms, "20000", "no write waits longer for room; below the initiators'",
	    100, 600000),
	KEY(NUMBER, claims_look_ms, "2000", "between looks at the claims", 10, 3600000),
	KEY(SIZE, cache_size, "64MiB", "memory for chunks that were fetched", 1u << 20, 1ull << 40),
	KEY(TEXT, cache_file, "", "the read cache's disk tier; empty: STATE_DIR/cache"),
	KEY(SIZE, cache_disk_size, "4GiB", "of it, at most half of what is free; 0: none", 0,
	    1ull << 44),
	KEY(SIZE, log_keep, "1GiB",
	    "of it, uploaded and kept for reads while room is plenty; 0: none", 0, 1ull << 46),
	KEY(SIZE, log_memory, "64MiB",
	    "memory for what was logged last, so that uploads need not read it back; 0: none", 0,
	    1ull << 40),
	KEY(SIZE, memory_tier, "64MiB", "memory from which tgtd answers reads itself; 0: none", 0,
	    64ull << 30),
	KEY(NUMBER, memory_tier_rings, "1", "tgtd that share it, the first to come", 1, 32),
	KEY(SIZE, map_memory, "256MiB", "memory for the maps of all volumes", 1u << 20, 1ull << 40),
	KEY(NUMBER, requests, "4096", "under way at once; more wait", 16, 65536),
	KEY(NUMBER, tgt_uid, "0", "may connect to ring.sock beside root and this uid; 0: none", 0,
	    UINT32_MAX - 1),
	KEY(NUMBER, tgtds, "1", "tgtd, the first with tgt_uid, each next with one more", 1,
	    HF_RING_TGTDS_MAX),
	KEY(TEXT, proxy, "", "http://host:port of the HTTP proxy to an S3 store"),
	KEY(TEXT, proxy_credentials, "", "file (0600) with one line user:password for the proxy"),
	{NULL},
};

static int check_segments(const struct hf_volumed_config *c, struct hf_errmsg *message)
{
	if ((c->segment_size & (c->segment_size - 1)) != 0)
		return hf_fail(message, HF_EINVAL, "segment_size is not a power of two");
	/* 6 segments at least, and the tables before them. */
	if (c->log_size / c->segment_size < 7)
		return hf_fail(message, HF_EINVAL,
			       "log_size is less than 7 segments of segment_size");
	return 0;
}

static int check_paths(const struct hf_volumed_config *c, struct hf_errmsg *message)
{
	const struct sockaddr_un *address = NULL;

	if (c->run_dir[0] != '/' || c->state_dir[0] != '/')
		return hf_fail(message, HF_EINVAL, "run_dir and state_dir must be absolute");
	if (c->log_file[0] && c->log_file[0] != '/')
		return hf_fail(message, HF_EINVAL, "log_file must be absolute");
	if (c->ring_dir[0] && c->ring_dir[0] != '/')
		return hf_fail(message, HF_EINVAL, "ring_dir must be absolute");
	if (strlen(c->ring_dir) + strlen("/ring.sock") >= sizeof address->sun_path)
		return hf_fail(message, HF_EINVAL, "ring_dir is too long");
	if (c->cache_file[0] && c->cache_file[0] != '/')
		return hf_fail(message, HF_EINVAL, "cache_file must be absolute");
	if (strlen(c->run_dir) + strlen("/volumed.sock") >= sizeof address->sun_path)
		return hf_fail(message, HF_EINVAL,
			       "run_dir is too long: the path of a socket holds %zu bytes",
			       sizeof address->sun_path - 1);
	if (strlen(c->state_dir) > PATH_MAX - 128 || strlen(c->log_file) > PATH_MAX - 128 ||
	    strlen(c->cache_file) > PATH_MAX - 128)
		return hf_fail(message, HF_EINVAL, "state_dir, log_file or cache_file is too long");
	return 0;
}

/* An empty path becomes STATE_DIR/NAME. */
static int fill_path(const struct hf_volumed_config *c, char **path, const char *name,
		     struct hf_errmsg *message)
{
	if ((*path)[0])
		return 0;
	free(*path);
	if (asprintf(path, "%s/%s", c->state_dir, name) < 0) {
		*path = NULL;
		return hf_fail(message, HF_ENOMEM, "out of memory");
	}
	return 0;
}

int hf_volumed_check_config(void *context, struct hf_errmsg *message)
{
	struct hf_volumed_config *config = context;
	struct hf_proxy proxy;
	int err = check_paths(config, message);

	if (!err && config->proxy[0])
		err = hf_proxy_parse(config->proxy, config->proxy_credentials, &proxy, message);
	else if (!err && config->proxy_credentials[0])
		err = hf_fail(message, HF_EINVAL, "`proxy_credentials` without `proxy`");
	if (!err)
		err = check_segments(config, message);
	if (!err)
		err = fill_path(config, &config->log_file, "log", message);
	if (!err)
		err = fill_path(config, &config->cache_file, "cache", message);
	return err;
}
