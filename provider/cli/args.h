/* The command line of `holdfast`: which verbs there are, what each takes, and reading it. Secrets
 * come from files only, so no option takes one as its value. Main thread. */
#ifndef HF_PROVIDER_CLI_ARGS_H
#define HF_PROVIDER_CLI_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"

#define HF_CLI_INITIATORS_MAX 16u

/* Options, as bits of what a verb takes. */
enum {
	HF_OPT_RUN_DIR = 1 << 0,
	HF_OPT_JSON = 1 << 1,
	HF_OPT_WAIT = 1 << 2,
	HF_OPT_TIMEOUT = 1 << 3,
	HF_OPT_NAME = 1 << 4,
	HF_OPT_GATEWAY = 1 << 5,
	HF_OPT_SIZE = 1 << 6,
	HF_OPT_WRITE_CACHE = 1 << 7,
	HF_OPT_CHAP_USER = 1 << 8,
	HF_OPT_CHAP_SECRET_FILE = 1 << 9,
	HF_OPT_MUTUAL_USER = 1 << 10,
	HF_OPT_MUTUAL_SECRET_FILE = 1 << 11,
	HF_OPT_INITIATOR = 1 << 12,
	HF_OPT_FORCE = 1 << 13,
	HF_OPT_HELP = 1 << 14,
	HF_OPT_BLOCK_SIZE = 1 << 15,
	HF_OPT_CLAIMANT = 1 << 24,
	HF_OPT_DRY_RUN = 1 << 16,
	HF_OPT_EXPIRES = 1 << 17,
	HF_OPT_TGTD = 1 << 18,
	HF_OPT_ENDPOINT = 1 << 19,
	HF_OPT_PROXY = 1 << 20,
	HF_OPT_CONFIRM = 1 << 21,
	HF_OPT_PROXY_USER = 1 << 25,
	HF_OPT_PROXY_PASSWORD_FILE = 1 << 26,
};
#define HF_OPT_ALWAYS  (HF_OPT_RUN_DIR | HF_OPT_JSON | HF_OPT_HELP)
#define HF_OPT_WAITING (HF_OPT_WAIT | HF_OPT_TIMEOUT)

enum hf_cli_verb_number {
	HF_VERB_INFO,
	HF_VERB_GATEWAY_LIST,
	HF_VERB_GATEWAY_SHOW,
	HF_VERB_GATEWAY_WATCH,
	HF_VERB_GATEWAY_EVENTS,
	HF_VERB_GATEWAY_ACTIVATE,
	HF_VERB_GATEWAY_CONFIRM,
	HF_VERB_GATEWAY_REVOKE,
	HF_VERB_GATEWAY_CLAIMANTS,
	HF_VERB_GATEWAY_ACCEPT,
	HF_VERB_SIGNER_ROTATE,
	HF_VERB_SIGNER_CA,
	HF_VERB_GATEWAY_ACT,
	HF_VERB_GATEWAY_PLAN,
	HF_VERB_GATEWAY_NETWORK,
	HF_VERB_ACTION_LIST,
	HF_VERB_ACTION_SHOW,
	HF_VERB_VOLUME_CREATE,
	HF_VERB_VOLUME_LIST,
	HF_VERB_VOLUME_SHOW,
	HF_VERB_VOLUME_ATTACH,
	HF_VERB_VOLUME_DETACH,
	HF_VERB_VOLUME_GROW,
	HF_VERB_VOLUME_CHAP,
	HF_VERB_VOLUME_DELETE,
};

struct hf_cli_verb {
	enum hf_cli_verb_number number;
	const char *group, *name; /* "volume", "create"; group "" for a verb alone */
	const char *operand;      /* what stands without an option, such as "VOLUME"; NULL: none */
	unsigned required, optional; /* options */
	const char *help;
	const char *second; /* another operand after it; NULL: none */
};

struct hf_cli_args {
	const struct hf_cli_verb *verb; /* NULL: only help was asked for */
	unsigned given;                 /* options */
	const char *operand, *second;
	const char *run_dir, *name, *gateway;
	const char *chap_user, *chap_secret_file, *mutual_user, *mutual_secret_file;
	const char *initiators[HF_CLI_INITIATORS_MAX];
	size_t initiator_count;
	uint64_t size_bytes;
	uint32_t timeout_ms;
	uint32_t block_size; /* bytes; 0: not given */
	uint32_t claimant;
	uint32_t expires_s; /* 0: not given */
	uint32_t confirm_s; /* 0: not given */
	const char *endpoints[HF_CLI_INITIATORS_MAX], *proxy;
	const char *proxy_user, *proxy_password_file;
	size_t endpoint_count;
	uint32_t tgtd;   /* from 1; 0: all */
	uint32_t action; /* enum ActionKind, of `second` */
	bool write_cache;
};

/* Reads argv; pointers stay into it. HF_EINVAL with what is wrong and where help is. With --help
 * the rest is not checked. */
int hf_cli_parse(int argc, char **argv, struct hf_cli_args *args, struct hf_errmsg *message);
/* Of one verb, or of all. */
void hf_cli_help(FILE *out, const struct hf_cli_verb *verb);

#endif
