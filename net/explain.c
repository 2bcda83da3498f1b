/* net/explain.h. Texts for the client's side say what to do there; a server's log says why somebody
 * was refused. */
#include "net/explain.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "net/sign.h"

/* RFC 8446 6.2 */
enum {
	ALERT_HANDSHAKE_FAILURE = 40,
	ALERT_BAD_CERTIFICATE = 42,
	ALERT_CERTIFICATE_REVOKED = 44,
	ALERT_CERTIFICATE_EXPIRED = 45,
	ALERT_CERTIFICATE_UNKNOWN = 46,
	ALERT_UNKNOWN_CA = 48,
	ALERT_ACCESS_DENIED = 49,
	ALERT_PROTOCOL_VERSION = 70,
	ALERT_CERTIFICATE_REQUIRED = 116,
	ALERT_NO_APPLICATION_PROTOCOL = 120,
};

static int trouble_is(enum hf_hop *hop, enum hf_hop where, int err)
{
	*hop = where;
	return err;
}

static void format_time(int64_t time_s, char text[24])
{
	time_t clock = (time_t)time_s;
	struct tm tm;

	if (!gmtime_r(&clock, &tm) || strftime(text, 24, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		snprintf(text, 24, "?");
}

static int64_t seconds_of(const ASN1_TIME *time)
{
	struct tm tm;

	return time && ASN1_TIME_to_tm(time, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

/* ---- The peer's certificate as judged here ---- */

void hf_tls_note_refused(X509_STORE_CTX *context)
{
	const SSL *ssl = X509_STORE_CTX_get_ex_data(context, SSL_get_ex_data_X509_STORE_CTX_idx());
	X509 *certificate = X509_STORE_CTX_get_current_cert(context);
	struct hf_tls_refused *refused = ssl ? SSL_get_app_data(ssl) : NULL;

	if (!refused || !certificate)
		return;
	refused->not_before_s = seconds_of(X509_get0_notBefore(certificate));
	refused->not_after_s = seconds_of(X509_get0_notAfter(certificate));
}

static int explain_times(const struct hf_tls_trouble *trouble, bool early, enum hf_hop *hop,
			 struct hf_errmsg *message)
{
	const struct hf_tls_refused *refused = SSL_get_app_data(trouble->ssl);
	char now[24], limit[24] = "?";

	if (refused)
		format_time(early ? refused->not_before_s : refused->not_after_s, limit);
	format_time(trouble->now_s, now);
	if (trouble->server)
		return hf_fail(message, trouble_is(hop, HF_HOP_CLOCK, HF_EAUTH),
			       "the gateway's certificate is %s %s, by our clock it is %s",
			       early ? "not valid before" : "not valid after", limit, now);
	if (early)
		return hf_fail(
			message, trouble_is(hop, HF_HOP_CLOCK, HF_EAUTH),
			"the provider's certificate is valid from %s, but here it is %s: this "
			"machine's clock is behind (or the provider's was ahead); set the "
			"clock",
			limit, now);
	return hf_fail(message, trouble_is(hop, HF_HOP_CLOCK, HF_EAUTH),
		       "the provider's certificate was valid until %s, and here it is %s: this "
		       "machine's clock is ahead, or the provider did not renew it",
		       limit, now);
}

/* Whoever issued the certificate is not known here. */
static bool is_stranger(long verdict)
{
	return verdict == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY ||
	       verdict == X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN;
}

static int explain_verdict(const struct hf_tls_trouble *trouble, long verdict, enum hf_hop *hop,
			   struct hf_errmsg *message)
{
	const char *text = X509_verify_cert_error_string(verdict);

	if (verdict == X509_V_ERR_CERT_NOT_YET_VALID || verdict == X509_V_ERR_CERT_HAS_EXPIRED)
		return explain_times(trouble, verdict == X509_V_ERR_CERT_NOT_YET_VALID, hop,
				     message);
	*hop = trouble->server ? HF_HOP_AUTHORIZATION : HF_HOP_TLS;
	if (trouble->server && is_stranger(verdict))
		return hf_fail(message, HF_EAUTH,
			       "the gateway's certificate was issued by an authority that is not "
			       "trusted here: another provider's, or one that was retired by "
			       "force; then the gateway has to be activated anew");
	if (trouble->server)
		return hf_fail(message, HF_EAUTH, "the gateway's certificate: %s", text);
	if (verdict == X509_V_ERR_HOSTNAME_MISMATCH || verdict == X509_V_ERR_IP_ADDRESS_MISMATCH)
		return hf_fail(
			message, HF_EAUTH,
			"the peer's certificate is for another name (%s): the endpoint or DNS "
			"leads to another server of the provider",
			text);
	if (is_stranger(verdict))
		return hf_fail(message, HF_EAUTH,
			       "the peer's certificate is of no authority that is known here: "
			       "somebody on the way opens TLS (ask for an exception), or the "
			       "provider's authority is another one now; if it was replaced by "
			       "force, this gateway has to be activated anew");
	return hf_fail(message, HF_EAUTH,
		       "the peer's certificate: %s; it is not of the provider that activated this "
		       "gateway: somebody on the way opens TLS (ask for an exception), or the "
		       "provider has new keys",
		       text);
}

/* ---- What the peer said of us ---- */

static int alert_of(unsigned long error)
{
	int reason = ERR_GET_REASON(error);

	return ERR_GET_LIB(error) == ERR_LIB_SSL && reason >= SSL_AD_REASON_OFFSET
		       ? reason - SSL_AD_REASON_OFFSET
		       : -1;
}

static int explain_alert(int alert, enum hf_hop *hop, struct hf_errmsg *message)
{
	static const struct {
		int alert, err;
		enum hf_hop hop;
		const char *text;
	} known[] = {
		{ALERT_BAD_CERTIFICATE, HF_EAUTH, HF_HOP_CLOCK,
		 "the provider does not take this gateway's certificate (bad certificate); most "
		 "often its clock says that the certificate is not valid yet"},
		{ALERT_CERTIFICATE_REVOKED, HF_EAUTH, HF_HOP_AUTHORIZATION,
		 "the provider has revoked this gateway's certificate"},
		{ALERT_CERTIFICATE_EXPIRED, HF_EAUTH, HF_HOP_CLOCK,
		 "the provider takes this gateway's certificate for expired: it is, or the "
		 "provider's clock is ahead"},
		{ALERT_CERTIFICATE_UNKNOWN, HF_EAUTH, HF_HOP_AUTHORIZATION,
		 "the provider does not take this gateway's certificate"},
		{ALERT_UNKNOWN_CA, HF_EAUTH, HF_HOP_AUTHORIZATION,
		 "the provider does not know who issued this gateway's certificate: this is "
		 "another "
		 "provider, or its authority was replaced while this gateway was away; then it has "
		 "to be activated anew"},
		{ALERT_ACCESS_DENIED, HF_EAUTH, HF_HOP_AUTHORIZATION,
		 "the provider denies this gateway access"},
		{ALERT_CERTIFICATE_REQUIRED, HF_EAUTH, HF_HOP_AUTHORIZATION,
		 "the provider wants a certificate, and none was shown"},
		{ALERT_NO_APPLICATION_PROTOCOL, HF_EPROTO, HF_HOP_TLS,
		 "TLS answers, but does not speak Holdfast's protocol (ALPN): the port is another "
		 "service's, or somebody on the way opens TLS"},
		{ALERT_PROTOCOL_VERSION, HF_EPROTO, HF_HOP_TLS,
		 "the other side does not speak TLS 1.3: an old proxy or another service"},
		{ALERT_HANDSHAKE_FAILURE, HF_EPROTO, HF_HOP_TLS,
		 "the other side agrees on no way to speak TLS: another service, or somebody on "
		 "the "
		 "way"},
	};

	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
		if (known[i].alert == alert)
			return hf_fail(message, trouble_is(hop, known[i].hop, known[i].err), "%s",
				       known[i].text);
	return hf_fail(
		message,
		trouble_is(hop, HF_HOP_TLS, alert >= 42 && alert <= 49 ? HF_EAUTH : HF_ECONN),
		"TLS: the other side gave up (alert %d)", alert);
}

/* ---- The rest ---- */

/* What came was not TLS at all. */
static bool is_plain(unsigned long error)
{
	int reason = ERR_GET_REASON(error);

	return ERR_GET_LIB(error) == ERR_LIB_SSL &&
	       (reason == SSL_R_WRONG_VERSION_NUMBER || reason == SSL_R_HTTP_REQUEST ||
		reason == SSL_R_PACKET_LENGTH_TOO_LONG || reason == SSL_R_BAD_RECORD_TYPE ||
		reason == SSL_R_UNEXPECTED_MESSAGE);
}

static int explain_cut(const struct hf_tls_trouble *trouble, enum hf_hop *hop,
		       struct hf_errmsg *message)
{
	const char *text = trouble->ssl_error == SSL_ERROR_SYSCALL && trouble->number
				   ? strerror(trouble->number)
				   : "the connection was cut";

	*hop = trouble->opened ? HF_HOP_PROVIDER : HF_HOP_TLS;
	if (trouble->opened || trouble->server)
		return hf_fail(message, HF_ECONN, "%s", text);
	return hf_fail(message, HF_ECONN,
		       "%s within the TLS handshake: the provider is overloaded or ending, or a "
		       "firewall lets TLS not pass",
		       text);
}

int hf_tls_explain(const struct hf_tls_trouble *trouble, enum hf_hop *hop,
		   struct hf_errmsg *message)
{
	long verdict = SSL_get_verify_result(trouble->ssl);
	unsigned long error = trouble->error;
	const char *text = error ? ERR_reason_error_string(error) : NULL;

	if (verdict != X509_V_OK && trouble->judges && !trouble->opened)
		return explain_verdict(trouble, verdict, hop, message);
	if (!error)
		return explain_cut(trouble, hop, message);
	if (ERR_GET_LIB(error) == ERR_LIB_SSL &&
	    ERR_GET_REASON(error) == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE)
		return hf_fail(message, trouble_is(hop, HF_HOP_AUTHORIZATION, HF_EAUTH),
			       "no certificate was shown");
	if (alert_of(error) >= 0 && !trouble->server)
		return explain_alert(alert_of(error), hop, message);
	if (is_plain(error) && !trouble->server && !trouble->opened)
		return hf_fail(
			message, trouble_is(hop, HF_HOP_TLS, HF_EPROTO),
			"what answers does not speak TLS: the port is another service's, or a "
			"login page of the network (a captive portal) answers in the "
			"provider's place");
	*hop = HF_HOP_TLS;
	return hf_fail(message,
		       alert_of(error) >= 42 && alert_of(error) <= 49 ? HF_EAUTH : HF_ECONN,
		       "TLS: %s", text ? text : "unknown error");
}
