/* The configuration of holdfast-volumed (docs/operations/volumed.md). Start-up only. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "gateway/volumed/volumed.h"

#define KEY(kind, field, value, text)                                                              \
	{                                                                                          \
		.name = #field, .type = HF_CONF_##kind,                                            \
		.offset = offsetof(struct hf_volumed_config, field), .initial = (value),           \
		.help = (text),                                                                    \
	}

const struct hf_conf_key hf_volumed_keys[] = {
	KEY(TEXT, run_dir, NULL, "folder of the sockets ring.sock and volumed.sock"),
	KEY(TEXT, state_dir, NULL, "folder of the log and of what is remembered; private"),
	KEY(TEXT, log_file, "", "the write log; empty: STATE_DIR/log"),
	KEY(SIZE, log_size, "1GiB", "of a log that is made at the first start"),
	KEY(SIZE, segment_size, "64MiB", "of a log that is made: 32MiB or 64MiB"),
	KEY(SIZE, object_size, "16MiB", "an object is closed at this payload"),
	KEY(NUMBER, object_timer_ms, "2000", "or when its first write is this old"),
	KEY(NUMBER, uploads, "4", "objects under way at once"),
	KEY(NUMBER, read_deadline_ms, "25000",
	    "of a read that needs the store; below the initiators'"),
	KEY(NUMBER, claims_look_ms, "2000", "between looks at the claims"),
	KEY(SIZE, cache_size, "64MiB", "memory for chunks that were fetched"),
	KEY(NUMBER, requests, "4096", "under way at once; more wait"),
	KEY(NUMBER, tgt_uid, "0", "may connect to ring.sock beside root and this uid; 0: none"),
	{NULL},
};

static int check_range(const char *name, uint64_t value, uint64_t least, uint64_t most,
		       struct hf_errmsg *message)
{
	if (value >= least && value <= most)
		return 0;
	return hf_fail(message, HF_EINVAL, "%s = %llu is not between %llu and %llu", name,
		       (unsigned long long)value, (unsigned long long)least,
		       (unsigned long long)most);
}

static int check_numbers(const struct hf_volumed_config *c, struct hf_errmsg *message)
{
	const struct {
		const char *name;
		uint64_t value, least, most;
	} ranges[] = {
		/* The largest write, 8 MiB, must fit into a batch, which is half a segment. */
		{"segment_size", c->segment_size, 32u << 20, 64u << 20},
		{"log_size", c->log_size, 1u << 20, 1ull << 46},
		{"object_size", c->object_size, 64u << 10, 64u << 20},
		{"object_timer_ms", c->object_timer_ms, 10, 3600000},
		{"uploads", c->uploads, 1, 64},
		{"read_deadline_ms", c->read_deadline_ms, 100, 600000},
		{"claims_look_ms", c->claims_look_ms, 10, 3600000},
		{"cache_size", c->cache_size, 1u << 20, 1ull << 40},
		{"requests", c->requests, 16, 65536},
		{"tgt_uid", c->tgt_uid, 0, UINT32_MAX - 1},
	};

	for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
		int err = check_range(ranges[i].name, ranges[i].value, ranges[i].least,
				      ranges[i].most, message);

		if (err)
			return err;
	}
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
	if (strlen(c->run_dir) + strlen("/volumed.sock") >= sizeof address->sun_path)
		return hf_fail(message, HF_EINVAL,
			       "run_dir is too long: the path of a socket holds %zu bytes",
			       sizeof address->sun_path - 1);
	if (strlen(c->state_dir) > PATH_MAX - 128 || strlen(c->log_file) > PATH_MAX - 128)
		return hf_fail(message, HF_EINVAL, "state_dir or log_file is too long");
	return 0;
}

int hf_volumed_check_config(void *context, struct hf_errmsg *message)
{
	struct hf_volumed_config *config = context;
	int err = check_paths(config, message);

	if (!err)
		err = check_numbers(config, message);
	if (err || config->log_file[0])
		return err;
	free(config->log_file);
	if (asprintf(&config->log_file, "%s/log", config->state_dir) < 0) {
		config->log_file = NULL;
		return hf_fail(message, HF_ENOMEM, "out of memory");
	}
	return 0;
}
