/* Fuzz target: any bytes as a question to the signer, of a provider and of an administrator.
 * Promise (invariant 9): each is answered, refused with a reason, and the signer answers the next
 * one. What has no content (new keys, new authorities) is left out: it only fills the ledger. */
#include <stdlib.h>

#include "base/assert.h"
#include "base/log.h"
#include "provider/signer/signer.h"
#include "tests/lib/folder.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char folder[] = "/dev/shm/hf-signer-fuzz-XXXXXX";
static struct hf_signer *signer;

static void remove_folder(void)
{
	hf_signer_close(signer);
	folder_remove(folder);
}

static void prepare(void)
{
	struct hf_signer_config config = {
		.state_dir = folder, .gateway_days = 90, .server_days = 90, .no_approval = true};
	struct hf_errmsg message;

	HF_ASSERT(mkdtemp(folder));
	setenv("HOLDFAST_LOG", "error", 1);
	hf_log_init("fuzz");
	HF_ASSERT(hf_signer_open(&config, &signer, &message) == 0);
	atexit(remove_folder);
}

static bool has_content(const uint8_t *data, size_t size)
{
	Holdfast__SignerRequest *request = holdfast__signer_request__unpack(NULL, size, data);
	bool content =
		!request || (request->kind_case != HOLDFAST__SIGNER_REQUEST__KIND_ROTATION &&
			     request->kind_case != HOLDFAST__SIGNER_REQUEST__KIND_AUTHORITY &&
			     request->kind_case != HOLDFAST__SIGNER_REQUEST__KIND_RETIREMENT);

	holdfast__signer_request__free_unpacked(request, NULL);
	return content;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!signer)
		prepare();
	if (!has_content(data, size))
		return 0;
	for (int asker = HF_SIGNER_PROVIDER; asker <= HF_SIGNER_ADMINISTRATOR; asker++) {
		Holdfast__SignerAnswer *answer;
		size_t length;
		uint8_t *bytes =
			hf_signer_answer(signer, (enum hf_signer_asker)asker, data, size, &length);

		HF_ASSERT(bytes);
		answer = holdfast__signer_answer__unpack(NULL, length, bytes);
		HF_ASSERT(answer && answer->ca_key.len == HF_KEY_BYTES);
		HF_ASSERT(answer->error == 0 || answer->reason[0] != '\0');
		holdfast__signer_answer__free_unpacked(answer, NULL);
		free(bytes);
	}
	return 0;
}
