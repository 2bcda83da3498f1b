/* What `holdfast` asks the signer itself, over SIGNER_RUN/signer-admin.sock, because the provider
 * must not be able to ask it. Main thread; blocks. */
#ifndef HF_PROVIDER_CLI_SIGNER_H
#define HF_PROVIDER_CLI_SIGNER_H

#include "provider/cli/args.h"

/* A person entered this activation key. */
int hf_cli_approve(const struct hf_cli_args *args, struct hf_errmsg *message);
/* A new signing key; prints its fingerprint. */
int hf_cli_rotate(const struct hf_cli_args *args, struct hf_errmsg *message);

#endif
