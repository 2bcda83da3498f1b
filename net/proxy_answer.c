/* What a proxy answers to CONNECT (net/proxy.h): a status line and headers (RFC 9112 4, 5), taken
 * byte by byte into one line of bounded length. Pure. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "net/proxy.h"

static const char not_http[] = "what answers there is no HTTP proxy; check host and port";

void hf_proxy_answer_init(struct hf_proxy_answer *answer)
{
	memset(answer, 0, sizeof *answer);
}

static void copy_printable(char *to, size_t size, const char *from)
{
	snprintf(to, size, "%s", from);
	for (; *to; to++)
		if (*to < ' ' || *to > '~')
			*to = '?';
}

static int status_line(struct hf_proxy_answer *answer, struct hf_errmsg *message)
{
	const char *line = answer->line;

	if (strncmp(line, "HTTP/1.", 7) != 0 || !isdigit((unsigned char)line[7]) ||
	    line[8] != ' ' || line[9] < '1' || line[9] > '9' || !isdigit((unsigned char)line[10]) ||
	    !isdigit((unsigned char)line[11]) || (line[12] != ' ' && line[12] != '\0'))
		return hf_fail(message, HF_EPROTO, "%s", not_http);
	answer->status = (line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0');
	copy_printable(answer->phrase, sizeof answer->phrase, line[12] ? line + 13 : "");
	return 0;
}

/* The value of the header with this name, or NULL. */
static const char *value_of(const char *line, const char *name)
{
	size_t length = strlen(name);

	if (strncasecmp(line, name, length) != 0 || line[length] != ':')
		return NULL;
	return line + length + 1 + strspn(line + length + 1, " \t");
}

static int64_t parse_date(const char *value)
{
	struct tm tm = {0};
	const char *end = strptime(value, "%a, %d %b %Y %H:%M:%S GMT", &tm);

	return end && *end == '\0' ? (int64_t)timegm(&tm) : 0;
}

static void header_line(struct hf_proxy_answer *answer)
{
	const char *line = answer->line, *value;

	if ((value = value_of(line, "Proxy-Authenticate")) != NULL) {
		/* Several schemes may stand in one header, each with parameters; to know whether
		 * Basic is among them is enough. */
		if (strcasestr(value, "Basic"))
			answer->offers_basic = true;
		else
			answer->offers_other = true;
	} else if ((value = value_of(line, "Location")) != NULL) {
		copy_printable(answer->location, sizeof answer->location, value);
	} else if ((value = value_of(line, "Content-Type")) != NULL) {
		answer->html = strncasecmp(value, "text/html", 9) == 0;
	} else if ((value = value_of(line, "Date")) != NULL) {
		answer->date_s = parse_date(value);
	}
}

/* An interim answer (1xx) is over: the one that counts follows. */
static int next_answer(struct hf_proxy_answer *answer, struct hf_errmsg *message)
{
	if (++answer->interim > HF_PROXY_INTERIM_MAX)
		return hf_fail(message, HF_EPROTO, "the proxy sends interim answers without end");
	answer->status = 0;
	return 0;
}

static int line_ended(struct hf_proxy_answer *answer, struct hf_errmsg *message)
{
	int err = 0;

	if (answer->line_used > 0 && answer->line[answer->line_used - 1] == '\r')
		answer->line_used--;
	answer->line[answer->line_used] = '\0';
	if (answer->status == 0)
		err = status_line(answer, message);
	else if (answer->line_used > 0)
		header_line(answer);
	else if (answer->status < 200)
		err = next_answer(answer, message);
	else
		answer->done = true;
	answer->line_used = 0;
	return err;
}

int hf_proxy_answer_take(struct hf_proxy_answer *answer, const uint8_t *bytes, size_t length,
			 size_t *taken, struct hf_errmsg *message)
{
	int err = 0;

	for (*taken = 0; !err && !answer->done && *taken < length; (*taken)++) {
		uint8_t byte = bytes[*taken];

		if (++answer->taken > HF_PROXY_ANSWER_MAX)
			return hf_fail(message, HF_ETOOBIG,
				       "the proxy's answer has more than %u bytes of headers",
				       HF_PROXY_ANSWER_MAX);
		if (byte == '\n')
			err = line_ended(answer, message);
		else if (byte == '\0')
			err = hf_fail(message, HF_EPROTO, "%s", not_http);
		else if (answer->line_used < sizeof answer->line - 1)
			answer->line[answer->line_used++] = (char)byte;
		else if (answer->status == 0)
			err = hf_fail(message, HF_EPROTO, "%s", not_http);
	}
	return err;
}

/* ---- What it means ---- */

static int judge_unauthorized(const struct hf_proxy_answer *answer, const struct hf_proxy *proxy,
			      struct hf_errmsg *message)
{
	if (answer->offers_other && !answer->offers_basic)
		return hf_fail(
			message, HF_EAUTH,
			"the proxy wants an authentication that is not Basic (407); let this "
			"gateway through without, or with Basic");
	if (!proxy->credentials_file[0])
		return hf_fail(
			message, HF_EAUTH,
			"the proxy wants a user and password (407); write user:password into "
			"a file (0600) and name it in `proxy_credentials`");
	return hf_fail(message, HF_EAUTH,
		       "the proxy does not accept the user and password of %.100s (407)",
		       proxy->credentials_file);
}

static int judge_opened(const struct hf_proxy_answer *answer, size_t rest,
			struct hf_errmsg *message)
{
	if (rest == 0 && !answer->html)
		return 0;
	if (answer->html)
		return hf_fail(
			message, HF_EPROTO,
			"a web page came instead of a tunnel: a login page of the network (a "
			"captive portal) answers in the proxy's place; log in there, or ask "
			"for an exception for this gateway");
	return hf_fail(message, HF_EPROTO, "the proxy spoke before TLS did; it is no tunnel");
}

int hf_proxy_answer_judge(const struct hf_proxy_answer *answer, const struct hf_proxy *proxy,
			  const char *target, size_t rest, struct hf_errmsg *message)
{
	int status = answer->status;

	if (status / 100 == 2)
		return judge_opened(answer, rest, message);
	if (status == 407)
		return judge_unauthorized(answer, proxy, message);
	if (status / 100 == 3 || status == 511)
		return hf_fail(
			message, HF_EPROTO,
			"a login page of the network (a captive portal) answers (%d %s); log "
			"in there, or ask for an exception for this gateway",
			status, answer->location[0] ? answer->location : answer->phrase);
	if (status == 401 || status == 403 || status == 405)
		return hf_fail(
			message, HF_EACCES,
			"the proxy does not allow CONNECT to %.80s (%d %s); ask for it to be "
			"allowed",
			target, status, answer->phrase);
	if (status == 502 || status == 503 || status == 504)
		return hf_fail(
			message, HF_ECONN,
			"the proxy cannot reach %.80s (%d %s); it may be down, unknown to the "
			"proxy's DNS or blocked behind the proxy",
			target, status, answer->phrase);
	return hf_fail(message, status / 100 == 5 ? HF_ECONN : HF_EPROTO,
		       "the proxy refused CONNECT to %.80s (%d %s)", target, status,
		       answer->phrase);
}
