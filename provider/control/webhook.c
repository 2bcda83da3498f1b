/* provider/control/webhook.h. The alert is taken from the registry for LEASE_MS: a process that
 * dies under the request leaves it to be taken again, which is why it may be told twice. */
#include "provider/control/webhook.h"

#include <curl/curl.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/secret_file.h"
#include "net/sign.h"
#include "provider/control/control.h"
#include "provider/registry/alerts.h"

#define WEBHOOK_MAGIC 0x77686f6fu
#define LEASE_MS      60000u
#define REQUEST_MS    10000L
#define CONNECT_MS    5000L
#define BACKOFF_MS    1000u
#define BACKOFF_MAX   300000u
#define GIVE_UP_MS    (24u * 3600u * 1000u)

struct hf_webhook {
	uint32_t magic;
	struct hf_control *control; /* NULL: it was closed under a request */
	char secret[HF_WEBHOOK_SECRET_MAX + 1];
	char *url, *ca;
	bool posting;
	/* The request under way; the worker's while it works. */
	uv_work_t work;
	struct hf_reg_alert alert;
	char *body;
	long status; /* 0: no answer */
	char error[CURL_ERROR_SIZE];
};

void hf_webhook_sign(const char *secret, uint64_t timestamp_s, const char *body,
		     char hex[HF_WEBHOOK_HEX_MAX])
{
	uint8_t digest[32];
	unsigned length = 0;
	char *text = NULL;
	int n = asprintf(&text, "%" PRIu64 ".%s", timestamp_s, body);

	HF_ASSERT(n > 0 &&
		  HMAC(EVP_sha256(), secret, (int)strlen(secret), (uint8_t *)text, (size_t)n,
		       digest, &length) &&
		  length == sizeof digest);
	hf_hex_encode(hex, digest, sizeof digest);
	free(text);
}

/* ---- The request, on a worker ---- */

static size_t ignore_answer(char *bytes, size_t size, size_t count, void *context)
{
	(void)bytes;
	(void)context;
	return size * count;
}

static struct curl_slist *make_headers(const struct hf_webhook *webhook)
{
	uint64_t now_s = (uint64_t)time(NULL);
	char hex[HF_WEBHOOK_HEX_MAX], line[160];
	struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");

	hf_webhook_sign(webhook->secret, now_s, webhook->body, hex);
	snprintf(line, sizeof line, "Holdfast-Timestamp: %" PRIu64, now_s);
	headers = curl_slist_append(headers, line);
	snprintf(line, sizeof line, "Holdfast-Signature: v1=%s", hex);
	headers = curl_slist_append(headers, line);
	return curl_slist_append(headers, "Expect:");
}

static void post(uv_work_t *work)
{
	struct hf_webhook *webhook = work->data;
	struct curl_slist *headers = make_headers(webhook);
	CURL *easy = curl_easy_init();

	webhook->status = 0;
	snprintf(webhook->error, sizeof webhook->error, "out of memory");
	if (easy && headers) {
		curl_easy_setopt(easy, CURLOPT_URL, webhook->url);
		curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
		curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
		curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
		curl_easy_setopt(easy, CURLOPT_POSTFIELDS, webhook->body);
		curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, ignore_answer);
		curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, webhook->error);
		curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
		curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, REQUEST_MS);
		curl_easy_setopt(easy, CURLOPT_MAXFILESIZE, 1L << 20);
		if (webhook->ca[0])
			curl_easy_setopt(easy, CURLOPT_CAINFO, webhook->ca);
		if (curl_easy_perform(easy) == CURLE_OK)
			curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &webhook->status);
	}
	curl_slist_free_all(headers);
	curl_easy_cleanup(easy);
}

/* ---- Before and after, on the loop's thread ---- */

static void format_time(uint64_t at_ms, char text[24])
{
	time_t at_s = (time_t)(at_ms / 1000);
	struct tm tm;

	if (!gmtime_r(&at_s, &tm) || strftime(text, 24, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		snprintf(text, 24, "?");
}

static char *make_body(struct hf_control *control, const struct hf_reg_alert *alert)
{
	struct hf_reg_gateway gateway = {.id = alert->gateway};
	char id[HF_ID_TEXT_MAX], tenant[HF_ID_TEXT_MAX], at[24];
	json_t *said;
	char *body;

	hf_registry_gateway_get(control->reg, alert->gateway, &gateway);
	format_time(alert->at_ms, at);
	said = json_pack("{s:I, s:s, s:s, s:s, s:s, s:s, s:s, s:I}", "id",
			 (json_int_t)alert->number, "event",
			 alert->kind == HF_REG_ALERT_LOST ? "gateway.lost" : "gateway.recovered",
			 "at", at, "gateway_id", hf_id_format(HF_ID_GATEWAY, alert->gateway, id),
			 "gateway_name", gateway.name, "tenant_id",
			 hf_id_format(HF_ID_TENANT, gateway.tenant, tenant), "reason",
			 alert->detail, "attempt", (json_int_t)alert->attempts);
	body = json_dumps(said, JSON_COMPACT);
	json_decref(said);
	return body;
}

static void end(struct hf_webhook *webhook)
{
	explicit_bzero(webhook->secret, sizeof webhook->secret);
	free(webhook->url);
	free(webhook->ca);
	webhook->magic = 0;
	free(webhook);
}

static void try_later(struct hf_control *control, const struct hf_webhook *webhook)
{
	const struct hf_reg_alert *alert = &webhook->alert;
	uint64_t now_ms = hf_control_wall_ms(), wait_ms = BACKOFF_MAX;
	uint32_t random;

	hf_random(&random, sizeof random);
	if (alert->attempts < 9)
		wait_ms = (uint64_t)BACKOFF_MS << (alert->attempts - 1);
	wait_ms = wait_ms / 2 + random % (wait_ms / 2 + 1);
	if (now_ms < alert->at_ms + GIVE_UP_MS) {
		hf_warn("alert %" PRIu64 " was not taken (%ld%s%s); again in %" PRIu64 " s",
			alert->number, webhook->status, webhook->status ? "" : ": ",
			webhook->status ? "" : webhook->error, wait_ms / 1000);
		hf_registry_alert_later(control->reg, alert->number, now_ms + wait_ms);
		return;
	}
	control->counts.alarms_failed++;
	hf_error("alert %" PRIu64 " is given up: nobody took it for a day", alert->number);
	hf_registry_alert_done(control->reg, alert->number);
}

static void posted(uv_work_t *work, int status)
{
	struct hf_webhook *webhook = work->data;
	struct hf_control *control = webhook->control;

	HF_CHECK_MAGIC(webhook, WEBHOOK_MAGIC);
	free(webhook->body);
	webhook->body = NULL;
	webhook->posting = false;
	if (!control) {
		end(webhook);
		return;
	}
	if (status == 0 && webhook->status / 100 == 2) {
		control->counts.alarms_sent++;
		hf_registry_alert_done(control->reg, webhook->alert.number);
		hf_webhook_tick(control); /* the next one, if there is one */
	} else {
		try_later(control, webhook);
	}
}

void hf_webhook_tick(struct hf_control *control)
{
	struct hf_webhook *webhook = control->webhook;
	uint64_t now_ms = hf_control_wall_ms();

	if (!webhook || webhook->posting || !hf_registry_ready(control->reg) ||
	    hf_registry_alert_take(control->reg, now_ms, now_ms + LEASE_MS, &webhook->alert) != 0)
		return;
	if (!webhook->url[0]) { /* it stands in the log */
		hf_registry_alert_done(control->reg, webhook->alert.number);
		return;
	}
	webhook->body = make_body(control, &webhook->alert);
	if (!webhook->body)
		return;
	webhook->work.data = webhook;
	webhook->posting = uv_queue_work(control->loop, &webhook->work, post, posted) == 0;
}

int hf_webhook_open(struct hf_control *control, struct hf_errmsg *message)
{
	const struct hf_control_config *config = &control->config;
	struct hf_webhook *webhook = calloc(1, sizeof *webhook);
	int err = 0;

	if (!webhook || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
		free(webhook);
		return hf_fail(message, HF_ENOMEM, "out of memory");
	}
	webhook->magic = WEBHOOK_MAGIC;
	webhook->control = control;
	webhook->url = strdup(config->webhook_url);
	webhook->ca = strdup(config->webhook_ca);
	HF_ASSERT(webhook->url && webhook->ca);
	if (webhook->url[0])
		err = hf_secret_line_read(config->webhook_secret, webhook->secret,
					  sizeof webhook->secret, message);
	if (!err && webhook->url[0] && strlen(webhook->secret) < HF_WEBHOOK_SECRET_MIN)
		err = hf_fail(message, HF_EINVAL, "%s: a secret has at least %u characters",
			      config->webhook_secret, HF_WEBHOOK_SECRET_MIN);
	if (err)
		end(webhook);
	else
		control->webhook = webhook;
	return err;
}

void hf_webhook_close(struct hf_control *control)
{
	struct hf_webhook *webhook = control->webhook;

	control->webhook = NULL;
	if (!webhook)
		return;
	webhook->control = NULL;
	if (!webhook->posting)
		end(webhook);
}
