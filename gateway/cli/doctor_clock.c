/* This machine's clock (doctor.h), against what else tells the time: the certificates (a gateway
 * cannot be older than its own), the provider and the proxy, and whether the kernel's clock is kept
 * in step. Main thread. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/timex.h>
#include <time.h>

#include "gateway/cli/ask.h"
#include "gateway/cli/doctor.h"
#include "net/identity.h"

#define OFF_S 120 /* more than this is worth a word */

static const char advice[] = "set the clock (NTP); certificates and signatures are judged by it";

static void format(int64_t time_s, char text[24])
{
	time_t clock = (time_t)time_s;
	struct tm tm;

	if (!gmtime_r(&clock, &tm) || strftime(text, 24, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		snprintf(text, 24, "?");
}

static void say(struct hf_doctor *doctor, enum hf_doctor_result result, const char *text)
{
	hf_doctor_say_hop(doctor, HF_HOP_CLOCK, result, result == HF_DOCTOR_GOOD ? NULL : advice,
			  text);
}

/* False: the own certificate says that the clock is wrong, which has been said. */
static bool fits_certificate(struct hf_doctor *doctor, int64_t now_s)
{
	struct hf_certificate_info info;
	char now[24], limit[24], text[200];

	if (!doctor->activated || hf_certificate_parse(doctor->issued->certificate.data,
						       doctor->issued->certificate.len, &info) != 0)
		return true;
	format(now_s, now);
	if (now_s < info.not_before_s) {
		format(info.not_before_s, limit);
		snprintf(text, sizeof text,
			 "here it is %s, but this gateway got its certificate after %s: the clock "
			 "is behind",
			 now, limit);
		say(doctor, HF_DOCTOR_FAILED, text);
		return false;
	}
	if (now_s <= info.not_after_s)
		return true;
	format(info.not_after_s, limit);
	snprintf(
		text, sizeof text,
		"here it is %s, and this gateway's certificate was valid until %s: it was away for "
		"long and is renewed when it connects, or the clock is ahead",
		now, limit);
	say(doctor, HF_DOCTOR_WARNING, text);
	return false;
}

/* What the provider said of its own clock when it held the gateway. */
static bool ask_provider_ahead(struct hf_doctor *doctor, int64_t *ahead_s)
{
	Holdfast__ConsoleAnswer *answer = NULL;
	struct hf_errmsg message = {""};
	bool known;

	if (hf_cli_ask_agent_status(doctor->config.run_dir, &answer, &message) != 0)
		return false;
	known = answer->status->provider_clock_known;
	*ahead_s = answer->status->provider_ahead_ms / 1000;
	holdfast__console_answer__free_unpacked(answer, NULL);
	return known;
}

static bool is_off(int64_t off_s)
{
	return off_s > OFF_S || off_s < -OFF_S;
}

static void say_off(struct hf_doctor *doctor, const char *who, int64_t off_s, const char *now)
{
	char text[200];

	snprintf(text, sizeof text,
		 "here it is %s, the %s's clock is %" PRId64 " s %s: one of the two is wrong", now,
		 who, off_s > 0 ? off_s : -off_s, off_s > 0 ? "ahead" : "behind");
	say(doctor, HF_DOCTOR_WARNING, text);
}

void hf_doctor_clock(struct hf_doctor *doctor)
{
	int64_t now_s = (int64_t)time(NULL), proxy_s, provider_s = 0;
	struct timex state = {.modes = 0};
	char now[24], text[200], provider[80] = "";
	bool unsynchronized;

	if (doctor->failed_hop == HF_HOP_CLOCK || !fits_certificate(doctor, now_s))
		return;
	format(now_s, now);
	proxy_s = doctor->proxy_date_s ? doctor->proxy_date_s - now_s : 0;
	if (ask_provider_ahead(doctor, &provider_s))
		snprintf(provider, sizeof provider, "; the provider's differs by %" PRId64 " s",
			 provider_s);
	if (is_off(provider_s) || is_off(proxy_s)) {
		say_off(doctor, is_off(provider_s) ? "provider" : "proxy",
			is_off(provider_s) ? provider_s : proxy_s, now);
		return;
	}
	unsynchronized = adjtimex(&state) == TIME_ERROR || (state.status & STA_UNSYNC);
	snprintf(text, sizeof text, "%s%s%s", now,
		 unsynchronized ? "; no NTP keeps it in step (the kernel says: not synchronized)"
				: ", kept in step",
		 provider);
	say(doctor, unsynchronized ? HF_DOCTOR_WARNING : HF_DOCTOR_GOOD, text);
}
