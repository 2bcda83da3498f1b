/* One attempt of an S3 operation as an HTTP request: its URL, its signed headers, and curl's
 * callbacks that send the payload and gather the answer. */
#include "remote/store_s3.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/assert.h"

#define CONNECT_TIMEOUT_MS 5000L
/* A transfer that moves nothing for so long is given up and tried again. A PUT gets longer: its
 * server commits before it answers. */
#define STALL_READ_S          6L
#define STALL_PUT_S           15L
#define TRANSFER_BUFFER_BYTES (256L << 10)

#define EMPTY_SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

/* ---- The answer as it arrives ---- */

static bool header_is(const char *line, size_t length, const char *name, const char **value)
{
	size_t name_length = strlen(name);

	if (length <= name_length || strncasecmp(line, name, name_length) != 0 ||
	    line[name_length] != ':')
		return false;
	*value = line + name_length + 1;
	while (**value == ' ' || **value == '\t')
		(*value)++;
	return true;
}

/* A decimal number that ends with `end`; `*at` goes past it. */
static bool take_number(const char **at, char end, uint64_t *value)
{
	size_t digits = strspn(*at, "0123456789");

	if (digits == 0 || digits > 18 || (*at)[digits] != end)
		return false;
	*value = strtoull(*at, NULL, 10);
	*at += digits + (end != '\0');
	return true;
}

/* "bytes 5-9/10" (RFC 9110 14.4) */
static void take_content_range(struct hf_s3_answer *answer, const char *value)
{
	static const char unit[] = "bytes ";

	if (strncmp(value, unit, strlen(unit)) != 0)
		return;
	value += strlen(unit);
	answer->has_range = take_number(&value, '-', &answer->range_start) &&
			    take_number(&value, '/', &answer->range_end) &&
			    take_number(&value, '\0', &answer->range_total);
}

/* "HTTP/1.1 206 Partial Content"; 0 if it is not that. */
static int status_code(const char *line)
{
	const char *space = strchr(line, ' ');
	long code = space ? strtol(space + 1, NULL, 10) : 0;

	return code >= 100 && code <= 999 ? (int)code : 0;
}

static size_t take_header(char *bytes, size_t one, size_t length, void *context)
{
	struct hf_s3_op *op = context;
	struct hf_s3_answer *answer = &op->answer;
	const char *value;
	char line[512];
	size_t kept = length < sizeof line - 1 ? length : sizeof line - 1;

	(void)one;
	memcpy(line, bytes, kept);
	while (kept > 0 && (line[kept - 1] == '\r' || line[kept - 1] == '\n'))
		kept--;
	line[kept] = '\0';
	if (strncmp(line, "HTTP/", 5) == 0) {
		/* Also after an interim answer (1xx): what came before does not count. */
		answer->http = status_code(line);
		answer->length = -1;
		answer->has_range = false;
		answer->date = 0;
	} else if (header_is(line, kept, "content-length", &value)) {
		uint64_t told;

		answer->length = take_number(&value, '\0', &told) ? (int64_t)told : -1;
	} else if (header_is(line, kept, "content-range", &value)) {
		take_content_range(answer, value);
	} else if (header_is(line, kept, "date", &value)) {
		time_t date = curl_getdate(value, NULL);

		answer->date = date > 0 ? (int64_t)date : 0;
	}
	return length;
}

static size_t body_limit(const struct hf_s3_op *op)
{
	const struct hf_store_io *io = op->io;

	if (op->answer.http < 200 || op->answer.http > 299)
		return HF_S3_ERROR_BODY_MAX;
	if (io->op == HF_STORE_LIST)
		return HF_S3_LIST_BODY_MAX;
	if (io->op != HF_STORE_GET)
		return HF_S3_ERROR_BODY_MAX;
	return io->range_length ? io->range_length : HF_STORE_OBJECT_MAX;
}

static bool make_room(struct hf_s3_answer *answer, size_t needed, size_t limit)
{
	size_t room = answer->body_room ? 2 * answer->body_room : 4096;
	char *body;

	if (answer->length > 0 && (uint64_t)answer->length <= limit && answer->body_room == 0)
		room = (size_t)answer->length;
	if (room < needed)
		room = needed;
	if (room > limit)
		room = limit;
	body = realloc(answer->body, room + 1);
	if (!body)
		return false;
	answer->body = body;
	answer->body_room = room;
	return true;
}

static size_t take_body(char *bytes, size_t one, size_t length, void *context)
{
	struct hf_s3_op *op = context;
	struct hf_s3_answer *answer = &op->answer;
	size_t limit = body_limit(op), take = length;

	(void)one;
	if (answer->body_length + take > limit) {
		if (answer->http >= 200 && answer->http <= 299) {
			answer->refused = HF_ETOOBIG;
			return 0;
		}
		take = limit - answer->body_length;
	}
	if (answer->body_length + take > answer->body_room &&
	    !make_room(answer, answer->body_length + take, limit)) {
		answer->refused = HF_ENOMEM;
		return 0;
	}
	if (take > 0)
		memcpy(answer->body + answer->body_length, bytes, take);
	answer->body_length += take;
	return length;
}

/* ---- The payload as it leaves ---- */

static size_t give_payload(char *target, size_t one, size_t room, void *context)
{
	struct hf_s3_op *op = context;
	size_t left = op->io->length - op->sent_bytes;
	size_t take = one * room < left ? one * room : left;

	if (take > 0)
		memcpy(target, (const char *)op->io->data + op->sent_bytes, take);
	op->sent_bytes += take;
	return take;
}

/* curl sends again when a kept connection turns out to be dead. */
static int seek_payload(void *context, curl_off_t offset, int origin)
{
	struct hf_s3_op *op = context;

	if (origin != SEEK_SET || offset < 0 || (uint64_t)offset > op->io->length)
		return CURL_SEEKFUNC_FAIL;
	op->sent_bytes = (size_t)offset;
	return CURL_SEEKFUNC_OK;
}

/* ---- The request ---- */

static const char *const methods[] = {
	[HF_STORE_PUT] = "PUT",
	[HF_STORE_GET] = "GET",
	[HF_STORE_LIST] = "GET",
	[HF_STORE_DELETE] = "DELETE",
};

struct parts {
	char path[8 + sizeof((struct hf_s3_place *)0)->bucket + 2 * HF_STORE_NAME_MAX];
	char query[HF_SIGV4_QUERY_MAX];
	char url[HF_SIGV4_QUERY_MAX + 2048];
	char date[HF_SIGV4_DATE_MAX];
	char range[64];
	struct hf_sigv4_field headers[8];
	unsigned header_count;
};

static int make_query(const struct hf_s3_op *op, char *query)
{
	const struct hf_store_io *io = op->io;
	char prefix[2 * HF_STORE_NAME_MAX + 2], after[HF_S3_KEY_MAX + 1], limit[16];
	struct hf_sigv4_field fields[5] = {
		{"list-type", "2"}, {"encoding-type", "url"}, {"max-keys", limit},
		{"prefix", prefix}, {"start-after", after},
	};
	unsigned wanted =
		io->limit && io->limit < HF_STORE_LIST_MAX ? io->limit : HF_STORE_LIST_MAX;

	query[0] = '\0';
	if (io->op != HF_STORE_LIST)
		return 0;
	snprintf(limit, sizeof limit, "%u", wanted);
	snprintf(prefix, sizeof prefix, "%s%s", op->store->place.prefix, io->name);
	if (op->marker[0])
		snprintf(after, sizeof after, "%s", op->marker);
	else
		snprintf(after, sizeof after, "%s%s", op->store->place.prefix, io->after);
	return hf_sigv4_query(fields, op->marker[0] || io->after[0] ? 5 : 4, query);
}

static int make_url(const struct hf_s3_op *op, struct parts *parts)
{
	const struct hf_s3_place *place = &op->store->place;
	bool is_list = op->io->op == HF_STORE_LIST;
	int err, n;

	n = snprintf(parts->path, sizeof parts->path, "/%s%s%s%s", place->bucket,
		     is_list ? "" : "/", is_list ? "" : place->prefix, is_list ? "" : op->io->name);
	if (n < 0 || (size_t)n >= sizeof parts->path)
		return HF_ETOOBIG;
	err = make_query(op, parts->query);
	if (err)
		return err;
	n = snprintf(parts->url, sizeof parts->url, "%s://%s%s%s%s", place->tls ? "https" : "http",
		     place->host, parts->path, parts->query[0] ? "?" : "", parts->query);
	return n > 0 && (size_t)n < sizeof parts->url ? 0 : HF_ETOOBIG;
}

static void add_field(struct parts *parts, const char *name, const char *value)
{
	HF_ASSERT(parts->header_count < sizeof parts->headers / sizeof parts->headers[0]);
	parts->headers[parts->header_count++] = (struct hf_sigv4_field){name, value};
}

static const char *payload_hash(const struct hf_s3_op *op)
{
	return op->io->op == HF_STORE_PUT ? op->payload_sha256 : EMPTY_SHA256;
}

static void make_headers(const struct hf_s3_op *op, struct parts *parts)
{
	const struct hf_store_io *io = op->io;
	const struct hf_s3_store *store = op->store;

	hf_sigv4_date((int64_t)time(NULL) + store->clock_offset_s, parts->date);
	add_field(parts, "Host", store->place.host);
	add_field(parts, "x-amz-content-sha256", payload_hash(op));
	add_field(parts, "x-amz-date", parts->date);
	if (store->credentials.session_token)
		add_field(parts, "x-amz-security-token", store->credentials.session_token);
	if (io->op == HF_STORE_PUT && io->if_absent)
		add_field(parts, "If-None-Match", "*");
	if (io->op == HF_STORE_GET && (io->range_start || io->range_length)) {
		if (io->range_length)
			snprintf(parts->range, sizeof parts->range, "bytes=%" PRIu64 "-%" PRIu64,
				 io->range_start, io->range_start + (io->range_length - 1));
		else
			snprintf(parts->range, sizeof parts->range, "bytes=%" PRIu64 "-",
				 io->range_start);
		add_field(parts, "Range", parts->range);
	}
}

static int append(struct hf_s3_op *op, const char *name, const char *value)
{
	char line[4096 + 64];
	struct curl_slist *longer;

	snprintf(line, sizeof line, "%s:%s%s", name, value[0] ? " " : "", value);
	longer = curl_slist_append(op->headers, line);
	if (!longer)
		return HF_ENOMEM;
	op->headers = longer;
	return 0;
}

static int sign(struct hf_s3_op *op, struct parts *parts)
{
	char authorization[HF_SIGV4_AUTHORIZATION_MAX];
	struct hf_sigv4_request request = {
		.method = methods[op->io->op],
		.path = parts->path,
		.query = parts->query,
		.headers = parts->headers,
		.header_count = parts->header_count,
		.payload_sha256 = payload_hash(op),
		.date = parts->date,
	};
	int err = hf_sigv4_authorize(&op->store->signer, &request, authorization);

	for (unsigned i = 0; err == 0 && i < parts->header_count; i++)
		err = append(op, parts->headers[i].name, parts->headers[i].value);
	if (err == 0)
		err = append(op, "Authorization", authorization);
	/* No "Expect: 100-continue": it costs a round trip before each PUT. */
	if (err == 0)
		err = append(op, "Expect", "");
	return err;
}

static void set_transport(struct hf_s3_op *op)
{
	const struct hf_s3_store *store = op->store;
	CURL *easy = op->easy;
	uint64_t now_ns = uv_hrtime();
	uint64_t left_ms =
		op->deadline_ns > now_ns ? (op->deadline_ns - now_ns) / HF_NS_PER_MS + 1 : 1;

	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, store->place.tls ? "https" : "http");
	hf_s3_proxy_apply(&store->proxy, easy);
	curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, TRANSFER_BUFFER_BYTES);
	curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, TRANSFER_BUFFER_BYTES);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, left_ms > 86400000 ? 86400000L : (long)left_ms);
	curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
	curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME,
			 op->io->op == HF_STORE_PUT ? STALL_PUT_S : STALL_READ_S);
	curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	if (store->ca_file) {
		/* Only this authority: without the second line the system's count too. */
		curl_easy_setopt(easy, CURLOPT_CAINFO, store->ca_file);
		curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
	}
}

int hf_s3_request_prepare(struct hf_s3_op *op)
{
	struct parts parts = {.header_count = 0};
	CURL *easy = op->easy;
	int err = make_url(op, &parts);

	if (err)
		return err;
	make_headers(op, &parts);
	err = sign(op, &parts);
	if (err)
		return err;
	curl_easy_reset(easy);
	op->answer = (struct hf_s3_answer){.length = -1};
	op->sent_bytes = 0;
	op->curl_error[0] = '\0';
	set_transport(op);
	curl_easy_setopt(easy, CURLOPT_PRIVATE, op);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, op->curl_error);
	curl_easy_setopt(easy, CURLOPT_USERAGENT, "holdfast/" HF_VERSION);
	curl_easy_setopt(easy, CURLOPT_URL, parts.url);
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, op->headers);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_header);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, op);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, op);
	if (op->io->op == HF_STORE_PUT) {
		curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
		curl_easy_setopt(easy, CURLOPT_READFUNCTION, give_payload);
		curl_easy_setopt(easy, CURLOPT_READDATA, op);
		curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, seek_payload);
		curl_easy_setopt(easy, CURLOPT_SEEKDATA, op);
		curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)op->io->length);
	} else if (op->io->op == HF_STORE_DELETE) {
		curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, "DELETE");
	}
	return 0;
}

void hf_s3_request_reset(struct hf_s3_op *op)
{
	curl_slist_free_all(op->headers);
	op->headers = NULL;
	free(op->answer.body);
	op->answer = (struct hf_s3_answer){.length = -1};
}
