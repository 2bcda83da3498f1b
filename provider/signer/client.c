/* The typed face of net/local.h for questions to the signer (client.h). Loop's thread. */
#include "provider/signer/client.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "net/local.h"

#define ASK_MAGIC       0x61736b71u
#define ASK_DEADLINE_MS 5000u

struct hf_signer_client {
	struct hf_local_client *local;
	void (*closed)(void *);
	void *context;
};

struct ask {
	uint32_t magic;
	void (*answered)(void *context, int err, const char *reason,
			 const Holdfast__SignerAnswer *answer);
	void *context;
};

int hf_signer_client_open(uv_loop_t *loop, const char *run_dir, uid_t uid,
			  struct hf_signer_client **client)
{
	struct hf_signer_client *c = calloc(1, sizeof *c);
	char path[PATH_MAX];
	int err;

	if (!c)
		return HF_ENOMEM;
	snprintf(path, sizeof path, "%s/signer.sock", run_dir);
	err = hf_local_client_open(loop, path, &c->local);
	if (err) {
		free(c);
		return err;
	}
	hf_local_client_trust(c->local, uid);
	*client = c;
	return 0;
}

static void local_answered(void *context, int status, const uint8_t *bytes, size_t length)
{
	struct ask *ask = context;
	Holdfast__SignerAnswer *answer = NULL;

	HF_CHECK_MAGIC(ask, ASK_MAGIC);
	if (status == 0) {
		answer = holdfast__signer_answer__unpack(NULL, length, bytes);
		if (!answer || answer->ca_key.len == 0)
			status = HF_EPROTO;
	}
	if (status)
		ask->answered(ask->context, status,
			      status == HF_EPROTO ? "the signer's answer is not understood"
						  : "the signer is away",
			      NULL);
	else if (answer->error)
		ask->answered(ask->context, -answer->error, answer->reason, NULL);
	else
		ask->answered(ask->context, 0, "", answer);
	if (answer) {
		/* Answers carry encrypted secrets only; nothing to wipe. */
		holdfast__signer_answer__free_unpacked(answer, NULL);
	}
	ask->magic = 0;
	free(ask);
}

void hf_signer_ask(struct hf_signer_client *client, const Holdfast__SignerRequest *request,
		   void (*answered)(void *context, int err, const char *reason,
				    const Holdfast__SignerAnswer *answer),
		   void *context)
{
	size_t length = holdfast__signer_request__get_packed_size(request);
	struct ask *ask = calloc(1, sizeof *ask);
	uint8_t *bytes = malloc(length + 1);

	HF_ASSERT(ask && bytes);
	ask->magic = ASK_MAGIC;
	ask->answered = answered;
	ask->context = context;
	holdfast__signer_request__pack(request, bytes);
	hf_local_call(client->local, bytes, length, ASK_DEADLINE_MS, local_answered, ask);
	/* The question may hold a plain secret on its way to be encrypted. */
	explicit_bzero(bytes, length);
	free(bytes);
}

static void local_closed(void *context)
{
	struct hf_signer_client *client = context;

	if (client->closed)
		client->closed(client->context);
	free(client);
}

bool hf_signer_error_passes(int err)
{
	switch (err) {
	case HF_ENOMEM:
	case HF_EIO:
	case HF_ENOSPC:
	case HF_ECORRUPT:
	case HF_EBUSY:
	case HF_ETIMEDOUT:
	case HF_ENOTREADY:
	case HF_ECANCELED:
	case HF_ECONN:
	case HF_EAGAIN:
		return true;
	default:
		return false;
	}
}

void hf_signer_client_close(struct hf_signer_client *client, void (*closed)(void *), void *context)
{
	client->closed = closed;
	client->context = context;
	hf_local_client_close(client->local, local_closed, client);
}
