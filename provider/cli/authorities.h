/* `holdfast signer ca`: another authority takes the place of the one in use. The signer is asked
 * itself; who depends on what is known to the provider. Main thread; blocks. */
#ifndef HF_PROVIDER_CLI_AUTHORITIES_H
#define HF_PROVIDER_CLI_AUTHORITIES_H

#include <jansson.h>

#include "provider/cli/args.h"

/* `show` asks the provider for hf_authorities_json's object. */
int hf_cli_authorities(const struct hf_cli_args *args,
		       int (*show)(void *context, json_t **object, struct hf_errmsg *message),
		       void *context, struct hf_errmsg *message);

#endif
