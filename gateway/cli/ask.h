/* What the verbs ask the gateway's daemons over their sockets. Blocking, 5 s each; main thread. */
#ifndef HF_GATEWAY_CLI_ASK_H
#define HF_GATEWAY_CLI_ASK_H

#include <stddef.h>

#include "base/err.h"
#include "proto/local.pb-c.h"

/* Each: 0, or HF_E… with who does not answer and why. Free the answer with …__free_unpacked. */
int hf_cli_ask_agent(const char *run_dir, const Holdfast__ConsoleRequest *question,
		     Holdfast__ConsoleAnswer **answer, struct hf_errmsg *message);
/* `(*answer)->status` is there. */
int hf_cli_ask_agent_status(const char *run_dir, Holdfast__ConsoleAnswer **answer,
			    struct hf_errmsg *message);
int hf_cli_ask_volumed(const char *run_dir, Holdfast__VolumedAnswer **answer,
		       struct hf_errmsg *message);
/* How many targets the broker's tgtd has. */
int hf_cli_ask_broker(const char *path, size_t *targets, struct hf_errmsg *message);

#endif
