/* `holdfast gateway watch`: one line a second about a gateway, as JSON or for people, until
 * --timeout, an interrupt or an error. Main thread. */
#ifndef HF_PROVIDER_CLI_WATCH_H
#define HF_PROVIDER_CLI_WATCH_H

#include <jansson.h>

#include "base/err.h"
#include "provider/cli/args.h"

/* `show` asks for the gateway; its JSON is the callee's to free. */
int hf_cli_watch(const struct hf_cli_args *args,
		 int (*show)(void *context, json_t **gateway, struct hf_errmsg *message),
		 void *context, struct hf_errmsg *message);

#endif
