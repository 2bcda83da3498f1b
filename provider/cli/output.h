/* What `holdfast` prints: the provider's JSON as it is, or as tables for people. Main thread. */
#ifndef HF_PROVIDER_CLI_OUTPUT_H
#define HF_PROVIDER_CLI_OUTPUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "provider/cli/args.h"

/* A list of objects with the columns of the verb; an object as lines of `name: value`. */
void hf_cli_print(FILE *out, const struct hf_cli_verb *verb, const json_t *value, bool as_json);

#endif
