/* Fuzz target: a command line (arguments separated by NUL) of `holdfast`. Promise (invariant 9):
 * read, or refused with a reason; no crash. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "provider/cli/args.h"

#define ARGS_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *copy = malloc(size + 2), *argv[ARGS_MAX + 1], program[] = "holdfast", *end, *at;
	struct hf_errmsg message = {""};
	struct hf_cli_args args;
	int argc = 1;

	HF_ASSERT(copy);
	memcpy(copy, data, size);
	copy[size] = copy[size + 1] = '\0';
	argv[0] = program;
	for (at = copy, end = copy + size; at < end && argc < ARGS_MAX; at += strlen(at) + 1)
		argv[argc++] = at;
	argv[argc] = NULL;
	if (hf_cli_parse(argc, argv, &args, &message) != 0)
		HF_ASSERT(message.text[0] != '\0');
	free(copy);
	return 0;
}
