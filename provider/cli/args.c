/* Tables of verbs and options, and the one loop that reads a command line by them (args.h). */
#include "provider/cli/args.h"

#include <stdlib.h>
#include <string.h>

#include "base/ids.h"

#define DEFAULT_TIMEOUT_MS 60000u
#define TIMEOUT_MAX_S      86400ul

static const struct option {
	unsigned bit;
	const char *name;
	const char *value; /* NULL: a flag */
	const char *help;
} options[] = {
	{HF_OPT_NAME, "--name", "NAME", "1 to 64 of A-Z a-z 0-9 . _ -"},
	{HF_OPT_GATEWAY, "--gateway", "GATEWAY", "its id (sgw-…) or name"},
	{HF_OPT_SIZE, "--size", "SIZE", "1MiB to 32TiB, a multiple of 4KiB; KiB, MiB, GiB, TiB"},
	{HF_OPT_WRITE_CACHE, "--write-cache", "on|off",
	 "on: durable only after a flush or FUA (default: off)"},
	{HF_OPT_BLOCK_SIZE, "--block-size", "512|4096",
	 "bytes of a logical block, for good (default: 512)"},
	{HF_OPT_CHAP_USER, "--chap-user", "USER", "initiators must authenticate as this"},
	{HF_OPT_CHAP_SECRET_FILE, "--chap-secret-file", "FILE",
	 "its secret: first line, 12 to 64 characters"},
	{HF_OPT_MUTUAL_USER, "--mutual-user", "USER", "the target authenticates itself as this"},
	{HF_OPT_MUTUAL_SECRET_FILE, "--mutual-secret-file", "FILE", "its secret, another one"},
	{HF_OPT_INITIATOR, "--initiator", "IQN|ADDRESS",
	 "may log in; repeat for more (default: loopback only, "
	 "with CHAP: all)"},
	{HF_OPT_DRY_RUN, "--dry-run", NULL,
	 "change nothing; ask the gateway which steps it would take"},
	{HF_OPT_EXPIRES, "--expires", "SECONDS", "not begun later than this (default: a day)"},
	{HF_OPT_ENDPOINT, "--endpoint", "HOST:PORT",
	 "of a provider; repeat for more (default: those of the activation)"},
	{HF_OPT_PROXY, "--proxy", "http://HOST:PORT", "to reach them through (default: none)"},
	{HF_OPT_PROXY_USER, "--proxy-user", "USER", "that the proxy asks for"},
	{HF_OPT_PROXY_PASSWORD_FILE, "--proxy-password-file", "FILE",
	 "its password: first line; only the gateway reads it"},
	{HF_OPT_CONFIRM, "--confirm-within", "SECONDS",
	 "the gateway rolls them back unless it is heard by then (default: 60)"},
	{HF_OPT_TGTD, "--tgtd", "N", "which tgtd of the gateway, from 1 (default: all)"},
	{HF_OPT_FORCE, "--force", NULL,
	 "although it costs something: initiators that are logged in, gateways"},
	{HF_OPT_WAIT, "--wait", NULL, "return when the gateway has reported it done"},
	{HF_OPT_TIMEOUT, "--timeout", "SECONDS", "of --wait (default: 60), or how long to watch"},
	{HF_OPT_JSON, "--json", NULL, "print JSON"},
	{HF_OPT_RUN_DIR, "--run-dir", "DIR",
	 "where provider.sock is (default: HOLDFAST_PROVIDER_RUN)"},
	{HF_OPT_CLAIMANT, "--claimant", "NUMBER", "as `gateway claimants` lists it"},
	{HF_OPT_HELP, "--help", NULL, "print this"},
	{0, NULL, NULL, NULL},
};

static const struct hf_cli_verb verbs[] = {
	{HF_VERB_INFO, "", "info", NULL, 0, HF_OPT_ALWAYS, "about the provider itself"},
	{HF_VERB_GATEWAY_LIST, "gateway", "list", NULL, 0, HF_OPT_ALWAYS, "all gateways"},
	{HF_VERB_GATEWAY_SHOW, "gateway", "show", "GATEWAY", 0, HF_OPT_ALWAYS, "one gateway"},
	{HF_VERB_GATEWAY_WATCH, "gateway", "watch", "GATEWAY", 0, HF_OPT_ALWAYS | HF_OPT_TIMEOUT,
	 "one line a second about it"},
	{HF_VERB_GATEWAY_EVENTS, "gateway", "events", "GATEWAY", 0, HF_OPT_ALWAYS,
	 "what happened there last: alarms, states of volumes, restarts"},
	{HF_VERB_GATEWAY_ACTIVATE, "gateway", "activate", "KEY", HF_OPT_NAME, HF_OPT_ALWAYS,
	 "enter the activation key that a gateway shows; prints who it is, for confirm"},
	{HF_VERB_GATEWAY_CONFIRM, "gateway", "confirm", "GATEWAY", 0,
	 HF_OPT_ALWAYS | HF_OPT_WAITING,
	 "give the activated gateway its certificate, after comparing the fingerprint"},
	{HF_VERB_GATEWAY_REVOKE, "gateway", "revoke", "GATEWAY", 0, HF_OPT_ALWAYS,
	 "turn it away for good; its volumes may be attached elsewhere"},
	{HF_VERB_GATEWAY_CLAIMANTS, "gateway", "claimants", "GATEWAY", 0, HF_OPT_ALWAYS,
	 "machines that claim to be this gateway, after its disk was copied"},
	{HF_VERB_GATEWAY_ACCEPT, "gateway", "accept", "GATEWAY", HF_OPT_CLAIMANT, HF_OPT_ALWAYS,
	 "say which of them it is; the others are turned away"},
	{HF_VERB_SIGNER_ROTATE, "signer", "rotate", NULL, 0, HF_OPT_ALWAYS,
	 "replace the key that signs changes; gateways follow by themselves"},
	{HF_VERB_SIGNER_CA, "signer", "ca", "rotate|status|retire", 0, HF_OPT_ALWAYS | HF_OPT_FORCE,
	 "replace the authority of all certificates: another one is made, gateways follow by "
	 "themselves, and the old one retires when none depends on it (retire --force: before)"},
	{HF_VERB_GATEWAY_ACT, "gateway", "act", "GATEWAY", 0,
	 HF_OPT_ALWAYS | HF_OPT_WAITING | HF_OPT_EXPIRES | HF_OPT_TGTD,
	 "have something done once: restart-target, restart-volumed, rescan, diagnose, snapshot, "
	 "update; kept while the gateway is away",
	 "ACTION"},
	{HF_VERB_GATEWAY_PLAN, "gateway", "plan", "GATEWAY", 0, HF_OPT_ALWAYS,
	 "ask the gateway which steps it would take now; it takes none"},
	{HF_VERB_GATEWAY_NETWORK, "gateway", "network", "GATEWAY", 0,
	 HF_OPT_ALWAYS | HF_OPT_ENDPOINT | HF_OPT_PROXY | HF_OPT_PROXY_USER |
		 HF_OPT_PROXY_PASSWORD_FILE | HF_OPT_CONFIRM,
	 "how it is to reach the provider from now on; tried first, and taken back by itself"},
	{HF_VERB_ACTION_LIST, "action", "list", NULL, 0, HF_OPT_ALWAYS | HF_OPT_GATEWAY,
	 "what was to be done once, newest first"},
	{HF_VERB_ACTION_SHOW, "action", "show", "ACTION", 0, HF_OPT_ALWAYS,
	 "one of them, with its report"},
	{HF_VERB_VOLUME_CREATE, "volume", "create", NULL,
	 HF_OPT_GATEWAY | HF_OPT_NAME | HF_OPT_SIZE,
	 HF_OPT_ALWAYS | HF_OPT_WAITING | HF_OPT_WRITE_CACHE | HF_OPT_CHAP_USER |
		 HF_OPT_CHAP_SECRET_FILE | HF_OPT_MUTUAL_USER | HF_OPT_MUTUAL_SECRET_FILE |
		 HF_OPT_INITIATOR | HF_OPT_BLOCK_SIZE | HF_OPT_DRY_RUN,
	 "create a volume on a gateway"},
	{HF_VERB_VOLUME_LIST, "volume", "list", NULL, 0, HF_OPT_ALWAYS, "all volumes"},
	{HF_VERB_VOLUME_SHOW, "volume", "show", "VOLUME", 0, HF_OPT_ALWAYS, "one volume"},
	{HF_VERB_VOLUME_ATTACH, "volume", "attach", "VOLUME", HF_OPT_GATEWAY,
	 HF_OPT_ALWAYS | HF_OPT_WAITING | HF_OPT_FORCE | HF_OPT_DRY_RUN,
	 "attach a detached volume to a gateway; with --force one whose gateway was revoked"},
	{HF_VERB_VOLUME_DETACH, "volume", "detach", "VOLUME", 0,
	 HF_OPT_ALWAYS | HF_OPT_WAITING | HF_OPT_DRY_RUN,
	 "take its LUN away after everything was uploaded"},
	{HF_VERB_VOLUME_GROW, "volume", "grow", "VOLUME", HF_OPT_SIZE,
	 HF_OPT_ALWAYS | HF_OPT_WAITING | HF_OPT_DRY_RUN,
	 "make it larger while it is used; it cannot shrink"},
	{HF_VERB_VOLUME_CHAP, "volume", "chap", "VOLUME",
	 HF_OPT_CHAP_USER | HF_OPT_CHAP_SECRET_FILE,
	 HF_OPT_ALWAYS | HF_OPT_WAITING | HF_OPT_MUTUAL_USER | HF_OPT_MUTUAL_SECRET_FILE,
	 "another secret for its initiators; open sessions go on. Mutual CHAP stays unless given"},
	{HF_VERB_VOLUME_DELETE, "volume", "delete", "VOLUME", 0,
	 HF_OPT_ALWAYS | HF_OPT_WAITING | HF_OPT_FORCE | HF_OPT_DRY_RUN,
	 "delete a volume and all its data"},
};

/* By their number in proto/action.proto; `plan` has a verb of its own. */
static const char *const actions[] = {
	[1] = "restart-target", [2] = "restart-volumed", [3] = "diagnose",
	[4] = "rescan",         [6] = "snapshot",        [7] = "update",
};

#define VERB_COUNT (sizeof verbs / sizeof verbs[0])

static void help_options(FILE *out, unsigned mask)
{
	char left[64];

	for (const struct option *o = options; o->name; o++) {
		if (!(mask & o->bit))
			continue;
		snprintf(left, sizeof left, "%s%s%s", o->name, o->value ? " " : "",
			 o->value ? o->value : "");
		fprintf(out, "  %-28s %s\n", left, o->help);
	}
}

void hf_cli_help(FILE *out, const struct hf_cli_verb *verb)
{
	if (verb) {
		fprintf(out, "usage: holdfast %s%s%s%s%s%s%s [options]\n\n%s\n\n", verb->group,
			verb->group[0] ? " " : "", verb->name, verb->operand ? " " : "",
			verb->operand ? verb->operand : "", verb->second ? " " : "",
			verb->second ? verb->second : "", verb->help);
		if (verb->required) {
			fprintf(out, "Required:\n");
			help_options(out, verb->required);
		}
		fprintf(out, "Options:\n");
		help_options(out, verb->optional);
		return;
	}
	fprintf(out, "usage: holdfast [--run-dir DIR] VERB …\n\n");
	for (size_t i = 0; i < VERB_COUNT; i++) {
		char left[64];

		snprintf(left, sizeof left, "%s%s%s %s%s%s", verbs[i].group,
			 verbs[i].group[0] ? " " : "", verbs[i].name,
			 verbs[i].operand ? verbs[i].operand : "", verbs[i].second ? " " : "",
			 verbs[i].second ? verbs[i].second : "");
		fprintf(out, "  %-28s %s\n", left, verbs[i].help);
	}
	fprintf(out, "\nholdfast VERB --help tells the options of a verb; holdfast --version the "
		     "version.\n");
}

static int read_timeout(const char *value, struct hf_cli_args *args, struct hf_errmsg *message)
{
	char *end;
	unsigned long seconds = strtoul(value, &end, 10);

	if (value[0] < '0' || value[0] > '9' || *end || seconds == 0 || seconds > TIMEOUT_MAX_S)
		return hf_fail(message, HF_EINVAL, "--timeout wants 1 to %lu seconds, not `%.40s`",
			       TIMEOUT_MAX_S, value);
	args->timeout_ms = (uint32_t)seconds * 1000;
	return 0;
}

static int read_number(const char *option, const char *value, unsigned long most, uint32_t *number,
		       struct hf_errmsg *message)
{
	char *end;
	unsigned long read = strtoul(value, &end, 10);

	if (value[0] < '0' || value[0] > '9' || *end || read == 0 || read > most)
		return hf_fail(message, HF_EINVAL, "%s wants 1 to %lu, not `%.40s`", option, most,
			       value);
	*number = (uint32_t)read;
	return 0;
}

static int read_action(const char *value, struct hf_cli_args *args, struct hf_errmsg *message)
{
	for (uint32_t i = 1; i < sizeof actions / sizeof actions[0]; i++)
		if (actions[i] && strcmp(actions[i], value) == 0) {
			args->action = i;
			return 0;
		}
	return hf_fail(message, HF_EINVAL, "`%.40s` is no action; see holdfast gateway act --help",
		       value);
}

static int read_size(const char *value, struct hf_cli_args *args, struct hf_errmsg *message)
{
	if (hf_size_parse(value, &args->size_bytes) != 0)
		return hf_fail(message, HF_EINVAL,
			       "--size wants a number with KiB, MiB, GiB or TiB, such as 10GiB, "
			       "not `%.40s`",
			       value);
	return 0;
}

static int read_write_cache(const char *value, struct hf_cli_args *args, struct hf_errmsg *message)
{
	if (strcmp(value, "on") != 0 && strcmp(value, "off") != 0)
		return hf_fail(message, HF_EINVAL, "--write-cache wants on or off, not `%.40s`",
			       value);
	args->write_cache = strcmp(value, "on") == 0;
	return 0;
}

static int read_block_size(const char *value, struct hf_cli_args *args, struct hf_errmsg *message)
{
	if (strcmp(value, "512") != 0 && strcmp(value, "4096") != 0)
		return hf_fail(message, HF_EINVAL, "--block-size wants 512 or 4096, not `%.40s`",
			       value);
	args->block_size = (uint32_t)strtoul(value, NULL, 10);
	return 0;
}

static int read_claimant(const char *value, struct hf_cli_args *args, struct hf_errmsg *message)
{
	char *end;
	unsigned long number = strtoul(value, &end, 10);

	if (value[0] < '0' || value[0] > '9' || *end || number == 0 || number > UINT32_MAX)
		return hf_fail(message, HF_EINVAL, "--claimant wants a number, not `%.40s`", value);
	args->claimant = (uint32_t)number;
	return 0;
}

static int read_value(unsigned bit, const char *value, struct hf_cli_args *args,
		      struct hf_errmsg *message)
{
	switch (bit) {
	case HF_OPT_RUN_DIR:
		args->run_dir = value;
		return 0;
	case HF_OPT_NAME:
		args->name = value;
		return 0;
	case HF_OPT_GATEWAY:
		args->gateway = value;
		return 0;
	case HF_OPT_CHAP_USER:
		args->chap_user = value;
		return 0;
	case HF_OPT_CHAP_SECRET_FILE:
		args->chap_secret_file = value;
		return 0;
	case HF_OPT_MUTUAL_USER:
		args->mutual_user = value;
		return 0;
	case HF_OPT_MUTUAL_SECRET_FILE:
		args->mutual_secret_file = value;
		return 0;
	case HF_OPT_INITIATOR:
		if (args->initiator_count == HF_CLI_INITIATORS_MAX)
			return hf_fail(message, HF_EINVAL, "--initiator: at most %u",
				       HF_CLI_INITIATORS_MAX);
		args->initiators[args->initiator_count++] = value;
		return 0;
	case HF_OPT_SIZE:
		return read_size(value, args, message);
	case HF_OPT_BLOCK_SIZE:
		return read_block_size(value, args, message);
	case HF_OPT_TIMEOUT:
		return read_timeout(value, args, message);
	case HF_OPT_CLAIMANT:
		return read_claimant(value, args, message);
	case HF_OPT_PROXY:
		args->proxy = value;
		return 0;
	case HF_OPT_PROXY_USER:
		args->proxy_user = value;
		return 0;
	case HF_OPT_PROXY_PASSWORD_FILE:
		args->proxy_password_file = value;
		return 0;
	case HF_OPT_ENDPOINT:
		if (args->endpoint_count == HF_CLI_INITIATORS_MAX)
			return hf_fail(message, HF_EINVAL, "--endpoint: at most %u",
				       HF_CLI_INITIATORS_MAX);
		args->endpoints[args->endpoint_count++] = value;
		return 0;
	case HF_OPT_CONFIRM:
		return read_number("--confirm-within", value, 3600, &args->confirm_s, message);
	case HF_OPT_EXPIRES:
		return read_number("--expires", value, 30 * TIMEOUT_MAX_S, &args->expires_s,
				   message);
	case HF_OPT_TGTD:
		return read_number("--tgtd", value, 8, &args->tgtd, message);
	default:
		return read_write_cache(value, args, message);
	}
}

static const struct option *find_option(const char *text)
{
	for (const struct option *o = options; o->name; o++)
		if (strcmp(o->name, text) == 0)
			return o;
	return NULL;
}

/* Takes argv[*i] and, if it wants one, its value (also as --name=value). */
static int take_option(int argc, char **argv, int *i, struct hf_cli_args *args,
		       struct hf_errmsg *message)
{
	char *equals = strchr(argv[*i], '=');
	const struct option *o;
	const char *value;
	char name[32];

	snprintf(name, sizeof name, "%.*s", equals ? (int)(equals - argv[*i]) : 31, argv[*i]);
	o = find_option(name);
	if (!o)
		return hf_fail(message, HF_EINVAL, "unknown option `%.60s`", argv[*i]);
	if ((args->given & o->bit) && o->bit != HF_OPT_INITIATOR && o->bit != HF_OPT_ENDPOINT)
		return hf_fail(message, HF_EINVAL, "%s is given twice", o->name);
	args->given |= o->bit;
	if (!o->value)
		return equals ? hf_fail(message, HF_EINVAL, "%s takes no value", o->name) : 0;
	value = equals ? equals + 1 : *i + 1 < argc ? argv[++*i] : NULL;
	if (!value || value[0] == '\0')
		return hf_fail(message, HF_EINVAL, "%s wants %s", o->name, o->value);
	return read_value(o->bit, value, args, message);
}

static int find_verb(const char *const *words, size_t word_count, struct hf_cli_args *args,
		     struct hf_errmsg *message)
{
	size_t used = 0, operands;

	for (size_t i = 0; i < VERB_COUNT && !args->verb; i++) {
		used = verbs[i].group[0] ? 2 : 1;
		if (word_count >= used && (used == 1 || strcmp(words[0], verbs[i].group) == 0) &&
		    strcmp(words[used - 1], verbs[i].name) == 0)
			args->verb = &verbs[i];
	}
	if (args->given & HF_OPT_HELP)
		return 0;
	if (word_count == 0)
		return hf_fail(message, HF_EINVAL, "a verb is missing; see holdfast --help");
	if (!args->verb)
		return hf_fail(message, HF_EINVAL,
			       "unknown verb `%.40s%s%.40s`; see holdfast --help", words[0],
			       word_count > 1 ? " " : "", word_count > 1 ? words[1] : "");
	if (args->verb->operand && word_count == used)
		return hf_fail(message, HF_EINVAL, "%s is missing", args->verb->operand);
	operands = (args->verb->operand ? 1u : 0) + (args->verb->second ? 1u : 0);
	if (word_count > used + operands)
		return hf_fail(message, HF_EINVAL, "unexpected `%.60s`", words[word_count - 1]);
	if (args->verb->second && word_count < used + 2)
		return hf_fail(message, HF_EINVAL, "%s is missing", args->verb->second);
	args->operand = args->verb->operand ? words[used] : NULL;
	args->second = args->verb->second ? words[used + 1] : NULL;
	return args->second ? read_action(args->second, args, message) : 0;
}

static int check_options(const struct hf_cli_args *args, struct hf_errmsg *message)
{
	const struct hf_cli_verb *verb = args->verb;

	for (const struct option *o = options; o->name; o++) {
		if ((args->given & o->bit) && !((verb->required | verb->optional) & o->bit))
			return hf_fail(message, HF_EINVAL, "%s does not belong to `%s %s`", o->name,
				       verb->group, verb->name);
		if ((verb->required & o->bit) && !(args->given & o->bit))
			return hf_fail(message, HF_EINVAL, "%s %s is missing", o->name, o->value);
	}
	if (!args->chap_user != !args->chap_secret_file)
		return hf_fail(message, HF_EINVAL,
			       "--chap-user and --chap-secret-file belong together");
	if (!args->mutual_user != !args->mutual_secret_file)
		return hf_fail(message, HF_EINVAL,
			       "--mutual-user and --mutual-secret-file belong together");
	if (args->mutual_user && !args->chap_user)
		return hf_fail(message, HF_EINVAL, "--mutual-user needs --chap-user too");
	if (!args->proxy_user != !args->proxy_password_file)
		return hf_fail(message, HF_EINVAL,
			       "--proxy-user and --proxy-password-file belong together");
	if (args->proxy_user && !args->proxy)
		return hf_fail(message, HF_EINVAL, "--proxy-user needs --proxy too");
	if ((args->given & HF_OPT_DRY_RUN) && (args->given & HF_OPT_WAIT))
		return hf_fail(message, HF_EINVAL, "--dry-run waits by itself, without --wait");
	if ((args->given & HF_OPT_TIMEOUT) && !(args->given & HF_OPT_WAIT) &&
	    (verb->optional & HF_OPT_WAIT))
		return hf_fail(message, HF_EINVAL, "--timeout belongs to --wait");
	return 0;
}

int hf_cli_parse(int argc, char **argv, struct hf_cli_args *args, struct hf_errmsg *message)
{
	const char *words[4];
	size_t word_count = 0;
	bool only_words = false;
	int err = 0;

	memset(args, 0, sizeof *args);
	args->timeout_ms = DEFAULT_TIMEOUT_MS;
	for (int i = 1; !err && i < argc; i++) {
		if (!only_words && strcmp(argv[i], "--") == 0)
			only_words = true;
		else if (!only_words && strncmp(argv[i], "--", 2) == 0)
			err = take_option(argc, argv, &i, args, message);
		else if (word_count == sizeof words / sizeof words[0])
			err = hf_fail(message, HF_EINVAL, "unexpected `%.60s`", argv[i]);
		else
			words[word_count++] = argv[i];
	}
	if (!err)
		err = find_verb(words, word_count, args, message);
	if (!err && !(args->given & HF_OPT_HELP))
		err = check_options(args, message);
	return err;
}
