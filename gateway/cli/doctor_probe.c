/* The doctor's own connection to the provider (doctor.h): one path an endpoint until one succeeds.
 * A gateway's certificate is judged after our half of the handshake is done (TLS 1.3), so the
 * connection is kept a moment for the verdict. It says no Connect: the gateway's own connection is
 * not touched. Main thread. */
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "gateway/cli/doctor.h"
#include "net/path.h"
#include "proto/session.h"

#define VERDICT_MS 1000u /* for the provider to say that it does not take the certificate */

struct probe {
	struct hf_doctor *doctor;
	uv_loop_t loop;
	struct hf_tls *tls;
	struct hf_path *path;
	struct hf_stream *stream;
	uv_timer_t timer;
	const char *endpoint;
	char found[HF_HOP_COUNT][700]; /* of the endpoint that came furthest */
	bool passed[HF_HOP_COUNT];
	struct hf_path_failure failure; /* the furthest */
	bool failed;
};

static void on_passed(void *context, enum hf_hop hop, const char *text)
{
	struct probe *probe = context;

	probe->passed[hop] = true;
	snprintf(probe->found[hop], sizeof probe->found[hop], "%s", text);
}

static void end(struct probe *probe)
{
	probe->doctor->proxy_date_s = hf_path_proxy_date_s(probe->path);
	if (probe->stream)
		hf_stream_close(probe->stream, NULL, NULL);
	probe->stream = NULL;
	hf_path_close(probe->path);
	probe->path = NULL;
	uv_close((uv_handle_t *)&probe->timer, NULL);
}

static void note_failure(struct probe *probe, enum hf_hop hop, const char *reason)
{
	if (probe->failed && hop < probe->failure.hop)
		return;
	probe->failed = true;
	probe->failure.hop = hop;
	snprintf(probe->failure.reason, sizeof probe->failure.reason, "%s", reason);
}

static void on_failed(void *context, const struct hf_path_failure *failure)
{
	struct probe *probe = context;

	note_failure(probe, failure->hop, failure->reason);
	end(probe);
}

static void on_lost(void *context, int err, const char *reason)
{
	struct probe *probe = context;

	note_failure(probe, err == 0 ? HF_HOP_PROVIDER : hf_stream_lost_at(probe->stream), reason);
	end(probe);
}

static void on_verdict(uv_timer_t *timer)
{
	end(timer->data);
}

static void on_opened(void *context, struct hf_stream *stream)
{
	struct probe *probe = context;
	struct hf_stream_callbacks callbacks = {.lost = on_lost, .context = probe};

	probe->stream = stream;
	hf_stream_set_callbacks(stream, &callbacks);
	snprintf(probe->found[HF_HOP_TLS], sizeof probe->found[HF_HOP_TLS], "TLS 1.3 with %s at %s",
		 probe->endpoint, hf_stream_peer(stream)->address);
	probe->passed[HF_HOP_TLS] = true;
	uv_timer_start(&probe->timer, on_verdict, VERDICT_MS, 0);
}

/* True: this endpoint is good. */
static bool try_endpoint(struct probe *probe, const char *endpoint)
{
	struct hf_path_config config = {.loop = &probe->loop,
					.tls = probe->tls,
					.endpoint = endpoint,
					.proxy = probe->doctor->proxied ? &probe->doctor->proxy
									: NULL,
					.passed = on_passed,
					.opened = on_opened,
					.failed = on_failed,
					.context = probe};
	struct hf_errmsg message = {""};
	enum hf_hop before = probe->failed ? probe->failure.hop : HF_HOP_CONFIGURATION;
	bool good;

	probe->endpoint = endpoint;
	memset(probe->passed, 0, sizeof probe->passed);
	if (hf_path_open(&config, &probe->path, &message) != 0) {
		note_failure(probe, HF_HOP_CONFIGURATION, message.text);
		return false;
	}
	probe->timer.data = probe;
	uv_timer_init(&probe->loop, &probe->timer);
	uv_run(&probe->loop, UV_RUN_DEFAULT);
	good = probe->passed[HF_HOP_TLS] && (!probe->failed || probe->failure.hop == before);
	return good;
}

static int make_tls(struct probe *probe, struct hf_errmsg *message)
{
	const struct hf_doctor *doctor = probe->doctor;
	struct hf_tls_options options = {.alpn = HF_ALPN_ACTIVATION};

	if (doctor->activated) {
		options.alpn = HF_ALPN_MANAGEMENT;
		options.key = &doctor->identity;
		options.certificate = doctor->issued->certificate.data;
		options.certificate_length = doctor->issued->certificate.len;
		options.authority = doctor->issued->ca_certificate.data;
		options.authority_length = doctor->issued->ca_certificate.len;
	}
	return hf_tls_create(&options, &probe->tls, message);
}

/* ---- What it found ---- */

static const char *advice_of(enum hf_hop hop)
{
	switch (hop) {
	case HF_HOP_DNS:
		return "check the name servers of this machine, and the endpoint's name";
	case HF_HOP_TCP:
		return "check cable, route and firewall: this machine must reach that address and "
		       "port";
	case HF_HOP_CLOCK:
		return "set the clock (NTP), here and at the provider";
	case HF_HOP_AUTHORIZATION:
		return "ask the provider's administrator: `holdfast gateway show`";
	default:
		return NULL; /* the reason says it */
	}
}

static void tell(struct probe *probe, bool good)
{
	struct hf_doctor *doctor = probe->doctor;

	for (int hop = HF_HOP_DNS; hop <= HF_HOP_TLS; hop++) {
		bool here = !good && (int)probe->failure.hop == hop;

		if (hop == HF_HOP_PROXY && !doctor->proxied)
			hf_doctor_say_hop(doctor, HF_HOP_PROXY, HF_DOCTOR_SKIPPED, NULL,
					  "none is configured");
		else if (here)
			hf_doctor_say_hop(doctor, (enum hf_hop)hop, HF_DOCTOR_FAILED,
					  advice_of((enum hf_hop)hop), probe->failure.reason);
		else if (good || hop < (int)probe->failure.hop)
			hf_doctor_say_hop(doctor, (enum hf_hop)hop, HF_DOCTOR_GOOD, NULL,
					  probe->found[hop]);
		else
			hf_doctor_say_hop(doctor, (enum hf_hop)hop, HF_DOCTOR_SKIPPED, NULL,
					  "not reached");
	}
	if (good)
		return;
	doctor->failed_hop = probe->failure.hop;
	/* What failed after TLS has checks of its own, which say more where they know more. */
	if (probe->failure.hop == HF_HOP_CLOCK || probe->failure.hop == HF_HOP_AUTHORIZATION)
		hf_doctor_say_hop(doctor, probe->failure.hop, HF_DOCTOR_FAILED,
				  advice_of(probe->failure.hop), probe->failure.reason);
}

void hf_doctor_probe(struct hf_doctor *doctor)
{
	static struct probe probe;
	struct hf_errmsg message = {""};
	bool good = false;

	probe.doctor = doctor;
	if (make_tls(&probe, &message) != 0) {
		doctor->failed_hop = HF_HOP_CONFIGURATION;
		hf_doctor_say_hop(doctor, HF_HOP_CONFIGURATION, HF_DOCTOR_FAILED,
				  "restore `state_dir`, or remove it and activate anew",
				  message.text);
		return;
	}
	uv_loop_init(&probe.loop);
	for (size_t i = 0; !good && i < doctor->endpoints.count; i++)
		good = try_endpoint(&probe, doctor->endpoints.text[i]);
	tell(&probe, good);
	uv_loop_close(&probe.loop);
	hf_tls_destroy(probe.tls);
}
