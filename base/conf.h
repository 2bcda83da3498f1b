/* Configuration files: lines of `key = value`, `#` starts a comment. Every program names its keys
 * in a table; an unknown key, a repeated one or a bad value is refused with file and line. */
#ifndef HF_BASE_CONF_H
#define HF_BASE_CONF_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum hf_conf_type {
	HF_CONF_TEXT,   /* char *, malloc'ed */
	HF_CONF_SIZE,   /* uint64_t bytes: 64MiB */
	HF_CONF_NUMBER, /* uint64_t */
	HF_CONF_BOOL,   /* int: yes or no */
};

struct hf_conf_key {
	const char *name;
	enum hf_conf_type type;
	size_t offset;       /* of the field in the program's struct */
	const char *initial; /* as if written in the file; NULL: required */
	const char *help;
	uint64_t least, most; /* of a size or number; most 0: any */
};

/* Reads `path` into `target`; `keys` ends with a NULL name. 0 or HF_EINVAL, HF_ENOENT, HF_EACCES
 * with file, line and what to do in `message`. */
int hf_conf_read(const char *path, const struct hf_conf_key *keys, void *target,
		 struct hf_errmsg *message);
/* The same from text already in memory (for fuzzing); `name` is for messages. */
int hf_conf_parse(const char *name, const char *text, const struct hf_conf_key *keys, void *target,
		  struct hf_errmsg *message);
/* Frees the text fields. */
void hf_conf_free(const struct hf_conf_key *keys, void *target);

#endif
