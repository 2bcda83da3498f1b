/* Arguments of the verbs, behind gateway/cli/cli.h. */
#include "gateway/cli/cli.h"

#include <stdio.h>
#include <string.h>

int hf_cli_fail(const char *verb, int err, const struct hf_errmsg *message)
{
	fprintf(stderr, "%s %s: %s\n", HF_CLI_NAME, verb,
		message->text[0] ? message->text : hf_err_text(err));
	return hf_err_exit_status(err);
}

static const struct hf_cli_option *find(const struct hf_cli_option *options, const char *name)
{
	size_t length = strcspn(name, "=");

	for (; options->name; options++)
		if (strlen(options->name) == length && strncmp(options->name, name, length) == 0)
			return options;
	return NULL;
}

/* Takes `--name VALUE`, `--name=VALUE` or a flag; gives how many arguments that was, or -1. */
static int take_option(const char *verb, int left, char **at, const struct hf_cli_option *options)
{
	const struct hf_cli_option *option = find(options, at[0]);
	const char *equals = strchr(at[0], '=');

	if (!option) {
		fprintf(stderr, "%s %s: unknown option %s\n", HF_CLI_NAME, verb, at[0]);
		return -1;
	}
	if (option->flag ? equals != NULL : !equals && left < 2) {
		fprintf(stderr, "%s %s: %s takes %s value\n", HF_CLI_NAME, verb, option->name,
			option->flag ? "no" : "a");
		return -1;
	}
	if (option->flag) {
		*option->flag = true;
		return 1;
	}
	if (*option->value) {
		fprintf(stderr, "%s %s: %s is given twice\n", HF_CLI_NAME, verb, option->name);
		return -1;
	}
	*option->value = equals ? equals + 1 : at[1];
	return equals ? 1 : 2;
}

int hf_cli_parse(const char *verb, int argc, char **argv, const struct hf_cli_option *options,
		 const char **positional, int positional_max)
{
	int count = 0;

	for (int i = 0; i < argc;) {
		if (argv[i][0] == '-' && argv[i][1] != '\0') {
			int taken = take_option(verb, argc - i, argv + i, options);

			if (taken < 0)
				return -1;
			i += taken;
			continue;
		}
		if (count == positional_max) {
			fprintf(stderr, "%s %s: unexpected argument \"%s\"\n", HF_CLI_NAME, verb,
				argv[i]);
			return -1;
		}
		positional[count++] = argv[i++];
	}
	return count;
}
