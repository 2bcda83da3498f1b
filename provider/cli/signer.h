/* What `holdfast` asks the signer itself, over SIGNER_RUN/signer-admin.sock, because the provider
 * must not be able to ask it. Main thread; blocks. */
#ifndef HF_PROVIDER_CLI_SIGNER_H
#define HF_PROVIDER_CLI_SIGNER_H

#include "proto/provider.pb-c.h"
#include "provider/cli/args.h"

/* Asked and answered; `*answer` is freed with holdfast__signer_answer__free_unpacked(…, NULL). */
int hf_cli_ask_signer(const struct hf_cli_args *args, const Holdfast__SignerRequest *request,
		      Holdfast__SignerAnswer **answer, struct hf_errmsg *message);
/* A person entered this activation key. */
int hf_cli_approve(const struct hf_cli_args *args, struct hf_errmsg *message);
/* A new signing key; prints its fingerprint. */
int hf_cli_rotate(const struct hf_cli_args *args, struct hf_errmsg *message);

#endif
