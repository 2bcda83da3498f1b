/* holdfast-gateway: the appliance's local console. Finds the verb and hands over. */
#include "gateway/cli/cli.h"
#include "base/log.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help_text[] =
	"Usage: holdfast-gateway VERB …\n"
	"\n"
	"  status [--json] [--run-dir DIR]\n"
	"        the gateway's connection to its provider, its volumes and its upload buffer\n"
	"  activation [--json] [--run-dir DIR]\n"
	"        the activation key to enter at the provider, and who claimed this gateway\n"
	"  activation refuse [--run-dir DIR]\n"
	"        turn down whoever claimed this gateway\n"
	"  log list [--json] | log add PATH SIZE | log remove PATH | log forget PATH\n"
	"         [--run-dir DIR]\n"
	"        the write logs (upload buffers): one is best put on a disk of its own; one that "
	"is\n"
	"        removed is drained first; forget gives up one that is missing, and all that it\n"
	"        alone had\n"
	"  export VOLUME FILE --store URL --key FILE [--region REGION] [--ca FILE]\n"
	"         [--tenant TENANT] [--json]\n"
	"        rebuild a volume as a raw image from the object store alone; needs no running\n"
	"        gateway. URL: dir:/path or s3+https://HOST[:PORT]/BUCKET[/PREFIX]; credentials\n"
	"        for S3 come from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN,\n"
	"        the certificates its endpoint must chain to from --ca or HOLDFAST_STORE_CA\n"
	"\n"
	"  doctor [--json] [--config FILE]\n"
	"        which hop to the provider fails (name, connection, proxy, TLS, clock, "
	"authorization),\n"
	"        what to do, and how the gateway's own parts are. FILE is the agent's "
	"configuration,\n"
	"        else HOLDFAST_GATEWAY_CONFIG, else /etc/holdfast/agent.conf. Exit status: 0 "
	"good,\n"
	"        10 configuration, 11 name, 12 connection, 13 proxy, 14 TLS, 15 clock,\n"
	"        16 authorization, 17 the provider, 18 a part of the gateway\n"
	"\n"
	"  --help, --version\n"
	"\n"
	"The run directory of the gateway's daemons comes from --run-dir or from the variable\n"
	"HOLDFAST_GATEWAY_RUN.\n";

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
} verbs[] = {
	{"status", hf_cli_status}, {"activation", hf_cli_activation}, {"log", hf_cli_log},
	{"export", hf_cli_export}, {"doctor", hf_cli_doctor},
};

static bool asks_for_help(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
			return true;
	return false;
}

int main(int argc, char **argv)
{
	setenv("HOLDFAST_LOG", "warn", 0); /* a person reads this: no news is good news */
	hf_log_init(HF_CLI_NAME);
	signal(SIGPIPE, SIG_IGN);
	if (asks_for_help(argc, argv)) {
		fputs(help_text, stdout);
		return 0;
	}
	if (argc >= 2 && strcmp(argv[1], "--version") == 0) {
		printf("%s %s\n", HF_CLI_NAME, HF_VERSION);
		return 0;
	}
	for (size_t i = 0; argc >= 2 && i < sizeof verbs / sizeof verbs[0]; i++)
		if (strcmp(argv[1], verbs[i].name) == 0)
			return verbs[i].run(argc - 2, argv + 2);
	if (argc >= 2)
		fprintf(stderr, "%s: unknown verb \"%s\"; try --help\n", HF_CLI_NAME, argv[1]);
	else
		fputs(help_text, stderr);
	return 2;
}
