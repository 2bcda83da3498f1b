/* What the makers of this folder's corpora share: who their things are, and how a file is written.
 */
#ifndef HF_TESTS_REMOTE_CORPUS_FILE_H
#define HF_TESTS_REMOTE_CORPUS_FILE_H

#include <stdio.h>
#include <stdlib.h>

#include "remote/crypt.h"
#include "remote/names.h"

static const uint8_t key[HF_KEY_BYTES] = {4, 5, 6};
static const uint8_t salt[HF_SALT_BYTES] = {10, 11, 12};
static const struct hf_object_id id = {
	.tenant = 0x11, .volume = 0x22, .epoch = 3, .start = 4, .sequence = 5};
static const char *folder;

static inline void write_file(const char *name, const uint8_t *bytes, size_t length)
{
	char path[4096];
	FILE *file;

	snprintf(path, sizeof path, "%s/%s", folder, name);
	file = fopen(path, "wb");
	if (!file || fwrite(bytes, 1, length, file) != length || fclose(file) != 0) {
		perror(path);
		exit(1);
	}
}

#endif
