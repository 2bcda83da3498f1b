/* What the answer to an S3 operation means: success with its fields checked, a final refusal, or
 * trouble that may pass. "Not found" decides over data, so it is believed only with the code
 * NoSuchKey: a missing bucket, or a page of some proxy, is an error and not an absent object. */
#include "remote/store_s3.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "remote/store_xml.h"

static const char *operation_name(const struct hf_store_io *io)
{
	static const char *const names[] = {"PUT", "GET", "LIST", "DELETE"};

	return names[io->op];
}

/* ---- curl ---- */

static enum hf_s3_verdict judge_transport(struct hf_s3_op *op, CURLcode code, int *status)
{
	switch (code) {
	case CURLE_OPERATION_TIMEDOUT:
		*status = HF_ETIMEDOUT;
		return HF_S3_PASSING;
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_ISSUER_ERROR:
		*status = HF_EAUTH;
		return HF_S3_FINAL;
	case CURLE_OUT_OF_MEMORY:
		*status = HF_ENOMEM;
		return HF_S3_FINAL;
	case CURLE_URL_MALFORMAT:
		*status = HF_EINVAL;
		return HF_S3_FINAL;
	case CURLE_WRITE_ERROR:
		if (op->answer.refused) {
			*status = op->answer.refused;
			return HF_S3_FINAL;
		}
		/* fall through */
	default:
		*status = HF_ECONN;
		return HF_S3_PASSING;
	}
}

/* ---- Errors of the store ---- */

/* S3 "Error Responses", and what RADOS Gateway and Swift send beside them. */
static const struct {
	int http;         /* 0: any */
	const char *code; /* NULL: any */
	int status;
	enum hf_s3_verdict verdict;
} refusals[] = {
	{0, "NoSuchBucket", HF_EACCES, HF_S3_FINAL},
	{404, "NoSuchKey", HF_ENOENT, HF_S3_FINAL},
	{412, NULL, HF_EEXIST, HF_S3_FINAL},
	{416, NULL, HF_ERANGE, HF_S3_FINAL},
	/* Two conditional PUTs at once: neither is decided yet. */
	{409, "ConditionalRequestConflict", HF_EAGAIN, HF_S3_PASSING},
	{409, "OperationAborted", HF_EAGAIN, HF_S3_PASSING},
	{400, "RequestTimeout", HF_EAGAIN, HF_S3_PASSING},
	{400, "EntityTooLarge", HF_ETOOBIG, HF_S3_FINAL},
	{413, NULL, HF_ETOOBIG, HF_S3_FINAL},
	{403, "QuotaExceeded", HF_ENOSPC, HF_S3_FINAL},
	{507, NULL, HF_ENOSPC, HF_S3_FINAL},
	{403, "SignatureDoesNotMatch", HF_EAUTH, HF_S3_FINAL},
	{403, "InvalidAccessKeyId", HF_EAUTH, HF_S3_FINAL},
	{403, "RequestTimeTooSkewed", HF_EAUTH, HF_S3_FINAL},
	{0, "ExpiredToken", HF_EAUTH, HF_S3_FINAL},
	{0, "InvalidToken", HF_EAUTH, HF_S3_FINAL},
	{0, "AuthorizationHeaderMalformed", HF_EAUTH, HF_S3_FINAL},
	{401, NULL, HF_EAUTH, HF_S3_FINAL},
	{403, NULL, HF_EACCES, HF_S3_FINAL},
	{501, NULL, HF_EUNSUPPORTED, HF_S3_FINAL},
	{408, NULL, HF_EAGAIN, HF_S3_PASSING},
	{429, NULL, HF_EAGAIN, HF_S3_PASSING},
	{500, NULL, HF_EAGAIN, HF_S3_PASSING},
	{502, NULL, HF_EAGAIN, HF_S3_PASSING},
	{503, NULL, HF_EAGAIN, HF_S3_PASSING},
	{504, NULL, HF_EAGAIN, HF_S3_PASSING},
};

/* The server's clock is the one that counts for signatures; adopted once an operation. */
static bool adopt_clock(struct hf_s3_op *op)
{
	int64_t offset_s = op->answer.date - (int64_t)time(NULL);

	if (op->skew_seen || op->answer.date == 0)
		return false;
	op->skew_seen = true;
	hf_warn("store: the server's clock is %lld s from ours, signing by its clock",
		(long long)offset_s);
	op->store->clock_offset_s = offset_s;
	return true;
}

static enum hf_s3_verdict judge_refusal(struct hf_s3_op *op, int *status)
{
	const struct hf_s3_answer *answer = &op->answer;
	enum hf_s3_verdict verdict = HF_S3_FINAL;
	char code[64] = "";

	if (answer->body)
		hf_xml_error_code(answer->body, answer->body_length, code, sizeof code);
	*status = answer->http >= 500 ? HF_EAGAIN : HF_EIO;
	for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
		if ((refusals[i].http && refusals[i].http != answer->http) ||
		    (refusals[i].code && strcmp(refusals[i].code, code) != 0))
			continue;
		*status = refusals[i].status;
		verdict = refusals[i].verdict;
		break;
	}
	if (strcmp(code, "RequestTimeTooSkewed") == 0 && adopt_clock(op))
		return HF_S3_AT_ONCE;
	if (op->io->op == HF_STORE_DELETE && *status == HF_ENOENT) {
		*status = 0;
		return HF_S3_FINAL;
	}
	if (verdict == HF_S3_PASSING)
		hf_debug("store: %s %s: HTTP %d %s", operation_name(op->io), op->io->name,
			 answer->http, code);
	else if (*status != HF_ENOENT && *status != HF_EEXIST && *status != HF_ERANGE)
		hf_warn("store: %s %s: HTTP %d %s", operation_name(op->io), op->io->name,
			answer->http, code);
	return verdict;
}

/* ---- Success ---- */

/* A GET counts only if its length was told and it is the range asked for. */
static enum hf_s3_verdict judge_get(struct hf_s3_op *op, int *status)
{
	struct hf_s3_answer *answer = &op->answer;
	struct hf_store_io *io = op->io;
	bool ranged = io->range_start > 0 || io->range_length > 0;

	*status = HF_EIO;
	if (answer->length < 0 || (uint64_t)answer->length != answer->body_length)
		return HF_S3_PASSING;
	if (ranged) {
		uint64_t wanted_end = io->range_length ? io->range_start + io->range_length - 1
						       : answer->range_total - 1;

		if (answer->http != 206 || !answer->has_range || answer->range_total == 0)
			return HF_S3_FINAL;
		if (wanted_end >= answer->range_total)
			wanted_end = answer->range_total - 1;
		if (answer->range_start != io->range_start || answer->range_end != wanted_end ||
		    answer->body_length != wanted_end - io->range_start + 1)
			return HF_S3_FINAL;
	} else if (answer->http != 200) {
		return HF_S3_FINAL;
	}
	if (!answer->body && !(answer->body = malloc(1))) {
		*status = HF_ENOMEM;
		return HF_S3_FINAL;
	}
	io->body = answer->body;
	io->body_length = answer->body_length;
	answer->body = NULL;
	*status = 0;
	return HF_S3_FINAL;
}

struct take {
	struct hf_s3_op *op;
	unsigned limit;
	char last[HF_S3_KEY_MAX + 1];
};

/* Names that are not ours are skipped; an answer out of order is no answer. */
static int take_key(void *context, const char *key, uint64_t size_bytes)
{
	struct take *take = context;
	struct hf_store_io *io = take->op->io;
	const char *own = take->op->store->place.prefix, *name = key + strlen(own);
	struct hf_store_name *found;

	if (strlen(key) > HF_S3_KEY_MAX || strcmp(key, take->last) <= 0 ||
	    strncmp(key, own, strlen(own)) != 0 || strncmp(name, io->name, strlen(io->name)) != 0)
		return HF_EPROTO;
	strcpy(take->last, key);
	if (!hf_store_name_is_valid(name) || strcmp(name, io->after) <= 0)
		return 0;
	if (io->name_count == take->limit)
		return HF_EPROTO;
	found = &io->names[io->name_count++];
	strcpy(found->name, name);
	found->size_bytes = size_bytes;
	return 0;
}

static enum hf_s3_verdict judge_list(struct hf_s3_op *op, int *status)
{
	struct hf_store_io *io = op->io;
	struct take take = {.op = op, .limit = io->limit};

	if (take.limit == 0 || take.limit > HF_STORE_LIST_MAX)
		take.limit = HF_STORE_LIST_MAX;
	if (!io->names)
		io->names = calloc(take.limit, sizeof *io->names);
	if (!io->names) {
		*status = HF_ENOMEM;
		return HF_S3_FINAL;
	}
	io->name_count = 0;
	strcpy(take.last, op->marker);
	*status = hf_xml_list(op->answer.body ? op->answer.body : "", op->answer.body_length,
			      &io->more, take_key, &take);
	if (*status) {
		*status = HF_EIO;
		return HF_S3_PASSING;
	}
	if (!io->more || io->name_count > 0)
		return HF_S3_FINAL;
	/* A page of strangers' names only: go on behind it. */
	if (strcmp(take.last, op->marker) <= 0) {
		*status = HF_EIO;
		return HF_S3_PASSING;
	}
	strcpy(op->marker, take.last);
	return HF_S3_AT_ONCE;
}

enum hf_s3_verdict hf_s3_answer_judge(struct hf_s3_op *op, CURLcode code, int *status)
{
	int http = op->answer.http;

	if (code != CURLE_OK) {
		enum hf_s3_verdict verdict = judge_transport(op, code, status);

		hf_log_write(verdict == HF_S3_FINAL ? HF_LOG_WARN : HF_LOG_DEBUG,
			     "store: %s %s: %s", operation_name(op->io), op->io->name,
			     op->curl_error[0] ? op->curl_error : curl_easy_strerror(code));
		return verdict;
	}
	if (http < 200 || http > 299)
		return judge_refusal(op, status);
	switch (op->io->op) {
	case HF_STORE_GET:
		return judge_get(op, status);
	case HF_STORE_LIST:
		return judge_list(op, status);
	default:
		*status = 0;
		return HF_S3_FINAL;
	}
}
