/* The verbs of holdfast-gateway, the appliance's local console. Each gets the arguments after its
 * name and returns the program's exit status (base/err.h; 2 for wrong arguments), having said on
 * standard error what was wrong and what to do. Main thread only. */
#ifndef HF_GATEWAY_CLI_CLI_H
#define HF_GATEWAY_CLI_CLI_H

#include <stdbool.h>

#include "base/err.h"

#define HF_CLI_NAME "holdfast-gateway"

int hf_cli_status(int argc, char **argv);
int hf_cli_activation(int argc, char **argv);
int hf_cli_log(int argc, char **argv);
int hf_cli_export(int argc, char **argv);
int hf_cli_doctor(int argc, char **argv);

/* An option of a verb: `--name VALUE`, or a flag where `value` is NULL. */
struct hf_cli_option {
	const char *name; /* with the dashes */
	const char **value;
	bool *flag;
};

/* Sorts arguments into options (the table ends with a NULL name) and up to `positional_max` others;
 * gives how many others there are, or -1 after saying what is wrong. */
int hf_cli_parse(const char *verb, int argc, char **argv, const struct hf_cli_option *options,
		 const char **positional, int positional_max);
/* "holdfast-gateway VERB: message" on standard error; returns the exit status of `err`. */
int hf_cli_fail(const char *verb, int err, const struct hf_errmsg *message);

#endif
