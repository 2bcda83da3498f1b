/* provider/cli/signer.h. */
#include "provider/cli/signer.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "net/fingerprint.h"
#include "net/local.h"
#include "proto/provider.pb-c.h"

#define DEADLINE_MS   10000u
#define REQUEST_BYTES 512u

static int socket_path(const struct hf_cli_args *args, char path[PATH_MAX],
		       struct hf_errmsg *message)
{
	const char *folder = getenv("HOLDFAST_SIGNER_RUN");

	if (!folder || !folder[0])
		folder = args->run_dir;
	if (!folder || !folder[0])
		folder = getenv("HOLDFAST_PROVIDER_RUN");
	if (!folder || !folder[0])
		return hf_fail(message, HF_EINVAL,
			       "where is the signer? Set HOLDFAST_SIGNER_RUN (its run_dir)");
	if (snprintf(path, PATH_MAX, "%s/signer-admin.sock", folder) > 107)
		return hf_fail(message, HF_ETOOBIG, "the run folder's path is too long: %.100s…",
			       folder);
	return 0;
}

int hf_cli_ask_signer(const struct hf_cli_args *args, const Holdfast__SignerRequest *request,
		      Holdfast__SignerAnswer **answer, struct hf_errmsg *message)
{
	uint8_t bytes[REQUEST_BYTES], *reply = NULL;
	size_t length = holdfast__signer_request__get_packed_size(request), reply_length = 0;
	char path[PATH_MAX];
	int err = socket_path(args, path, message);

	if (!err && length > sizeof bytes)
		err = hf_fail(message, HF_ETOOBIG, "the question to the signer is too long");
	if (err)
		return err;
	holdfast__signer_request__pack(request, bytes);
	err = hf_local_ask(path, bytes, length, DEADLINE_MS, &reply, &reply_length, message);
	if (err)
		return hf_fail_in(message, err, "the signer does not answer at %s", path);
	*answer = holdfast__signer_answer__unpack(NULL, reply_length, reply);
	free(reply);
	if (!*answer)
		return hf_fail(message, HF_EPROTO, "the signer's answer is not understood");
	if ((*answer)->error == 0)
		return 0;
	err = hf_fail(message, -(*answer)->error, "the signer: %.200s", (*answer)->reason);
	holdfast__signer_answer__free_unpacked(*answer, NULL);
	return err;
}

int hf_cli_approve(const struct hf_cli_args *args, struct hf_errmsg *message)
{
	Holdfast__SignerRequest request = HOLDFAST__SIGNER_REQUEST__INIT;
	Holdfast__SignerApproval approval = HOLDFAST__SIGNER_APPROVAL__INIT;
	Holdfast__SignerAnswer *answer;
	int err;

	approval.key = (char *)(uintptr_t)args->operand;
	request.kind_case = HOLDFAST__SIGNER_REQUEST__KIND_APPROVAL;
	request.approval = &approval;
	err = hf_cli_ask_signer(args, &request, &answer, message);
	if (!err)
		holdfast__signer_answer__free_unpacked(answer, NULL);
	return err;
}

int hf_cli_rotate(const struct hf_cli_args *args, struct hf_errmsg *message)
{
	Holdfast__SignerRequest request = HOLDFAST__SIGNER_REQUEST__INIT;
	Holdfast__SignerRotation rotation = HOLDFAST__SIGNER_ROTATION__INIT;
	char fingerprint[HF_FINGERPRINT_TEXT_MAX];
	Holdfast__SignerAnswer *answer;
	int err;

	request.kind_case = HOLDFAST__SIGNER_REQUEST__KIND_ROTATION;
	request.rotation = &rotation;
	err = hf_cli_ask_signer(args, &request, &answer, message);
	if (err)
		return err;
	if (answer->signer_key.len != HF_KEY_BYTES)
		err = hf_fail(message, HF_EPROTO, "the signer's answer is not understood");
	else if (args->given & HF_OPT_JSON)
		printf("{\"signer_fingerprint\": \"%s\"}\n",
		       hf_key_fingerprint(answer->signer_key.data, fingerprint));
	else
		printf("signer fingerprint:          %s\n",
		       hf_key_fingerprint(answer->signer_key.data, fingerprint));
	holdfast__signer_answer__free_unpacked(answer, NULL);
	return err;
}
