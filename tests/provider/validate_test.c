/* Checks of administrators' requests (provider/control/validate.h) and the state shown for a volume
 * (status.h): pure, by tables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "proto/channel.pb-c.h"
#include "provider/control/config.h"
#include "provider/control/status.h"
#include "provider/control/validate.h"

static void expect(int err, int wanted, const struct hf_errmsg *message, const char *what)
{
	if (err != wanted)
		fail_msg("%s: %s, not %s (%s)", what, hf_err_name(err), hf_err_name(wanted),
			 message->text);
	/* Invariant 9: a refusal says why. */
	assert_true(err == 0 || message->text[0] != '\0');
}

static void test_names(void **state)
{
	static const struct {
		const char *name;
		int err;
	} rows[] = {
		{"a", 0},
		{"A-z0.9_-", 0},
		{"1234567890123456789012345678901234567890123456789012345678901234", 0},
		{"12345678901234567890123456789012345678901234567890123456789012345", HF_EINVAL},
		{"", HF_EINVAL},
		{"with space", HF_EINVAL},
		{"slash/", HF_EINVAL},
		{"\xc3\xa9", HF_EINVAL},
		{"new\nline", HF_EINVAL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct hf_errmsg message = {""};

		expect(hf_validate_name("volume", rows[i].name, &message), rows[i].err, &message,
		       rows[i].name);
	}
}

static void test_sizes(void **state)
{
	static const struct {
		uint64_t size;
		int err;
	} rows[] = {
		{1 << 20, 0},
		{(1 << 20) + 4096, 0},
		{32ull << 40, 0},
		{(1 << 20) - 4096, HF_EINVAL},
		{0, HF_EINVAL},
		{(32ull << 40) + 4096, HF_EINVAL},
		{(1 << 20) + 512, HF_EINVAL},
		{(1 << 20) + 1, HF_EINVAL},
		{UINT64_MAX, HF_EINVAL},
	};
	struct hf_errmsg message = {""};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		expect(hf_validate_size(rows[i].size, &message), rows[i].err, &message, "size");
	/* The refusal of an odd size names the next good one. */
	hf_validate_size(10000000, &message);
	assert_non_null(strstr(message.text, "10002432"));
}

static void test_initiators(void **state)
{
	static const struct {
		const char *text;
		int err;
	} rows[] = {
		{"iqn.2004-10.com.ubuntu:01:abc", 0},
		{"iqn.1991-05.com.microsoft:host.example", 0},
		{"iqn.2004-10.com.example", 0},
		{"eui.02004567a425678d", 0},
		{"naa.52004567ba64678d", 0},
		{"naa.62004567ba64678d0123456789abcdef", 0},
		{"192.0.2.7", 0},
		{"192.0.2.0/24", 0},
		{"2001:db8::1", 0},
		{"2001:db8::/32", 0},
		{"", HF_EINVAL},
		{"ALL", HF_EINVAL},
		{"iqn.2004-10.", HF_EINVAL},
		{"iqn.04-10.com.example:x", HF_EINVAL},
		{"iqn.2004-10.com.Example:x", HF_EINVAL},
		{"iqn.2004-10.com.example:a,b", HF_EINVAL},
		{"iqn.2004-10.com.example:a b", HF_EINVAL},
		{"eui.02004567a425678", HF_EINVAL},
		{"naa.5200", HF_EINVAL},
		{"192.0.2.256", HF_EINVAL},
		{"192.0.2.0/33", HF_EINVAL},
		{"192.0.2.7/24", HF_EINVAL},
		{"192.0.2.7/32", HF_EINVAL},
		{"0.0.0.0/0", HF_EINVAL},
		{"2001:db8::1/32", HF_EINVAL},
		{"192.0.2.0/", HF_EINVAL},
		{"192.0.2.0/x", HF_EINVAL},
		{"2001:db8::/129", HF_EINVAL},
		{"host.example", HF_EINVAL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct hf_errmsg message = {""};

		expect(hf_validate_initiator(rows[i].text, &message), rows[i].err, &message,
		       rows[i].text);
	}
}

static void test_chap(void **state)
{
	static const struct {
		const char *user, *secret, *mutual_user, *mutual_secret;
		int err;
	} rows[] = {
		{"", "", "", "", 0},
		{"alice", "twelve-chars", "", "", 0},
		{"alice", "twelve-chars", "gateway", "other-twelve", 0},
		{"alice", "eleven-char", "", "", HF_EINVAL},
		{"alice", "", "", "", HF_EINVAL},
		{"", "twelve-chars", "", "", HF_EINVAL},
		{"", "", "gateway", "other-twelve", HF_EINVAL},
		{"alice", "twelve-chars", "gateway", "twelve-chars", HF_EINVAL},
		{"alice", "twelve-chars", "gateway", "short", HF_EINVAL},
		{"al ice", "twelve-chars", "", "", HF_EINVAL},
		{"alice", "twelve chars", "", "", HF_EINVAL},
		{"alice", "twelve,chars", "", "", HF_EINVAL},
		{"alice", "0123456789012345678901234567890123456789012345678901234567890123x", "",
		 "", HF_EINVAL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct hf_errmsg message = {""};

		expect(hf_validate_chap(rows[i].user, rows[i].secret, rows[i].mutual_user,
					rows[i].mutual_secret, &message),
		       rows[i].err, &message, rows[i].secret);
		/* No secret in a message. */
		assert_true(rows[i].secret[0] == '\0' || !strstr(message.text, rows[i].secret));
	}
}

/* What is shown, from what is desired (version 10) and what was reported. */
static void test_states(void **state)
{
	static const struct {
		enum hf_reg_desired desired;
		bool created;
		unsigned reported;
		uint64_t version;
		const char *status;
	} rows[] = {
		{HF_REG_ATTACHED, false, 0, 0, "creating"},
		{HF_REG_ATTACHED, false, HOLDFAST__VOLUME_STATE__VOLUME_CREATING, 10, "creating"},
		{HF_REG_ATTACHED, true, 0, 0, "attaching"},
		{HF_REG_ATTACHED, true, HOLDFAST__VOLUME_STATE__VOLUME_ATTACHING, 10, "attaching"},
		{HF_REG_ATTACHED, true, HOLDFAST__VOLUME_STATE__VOLUME_DETACHED, 9, "attaching"},
		{HF_REG_ATTACHED, true, HOLDFAST__VOLUME_STATE__VOLUME_AVAILABLE, 9, "attaching"},
		{HF_REG_ATTACHED, true, HOLDFAST__VOLUME_STATE__VOLUME_AVAILABLE, 10, "available"},
		{HF_REG_ATTACHED, true, HOLDFAST__VOLUME_STATE__VOLUME_FAILED, 10, "failed"},
		{HF_REG_ATTACHED, true, HOLDFAST__VOLUME_STATE__VOLUME_FAILED, 9, "attaching"},
		{HF_REG_DETACHED, true, HOLDFAST__VOLUME_STATE__VOLUME_AVAILABLE, 9, "detaching"},
		{HF_REG_DETACHED, true, HOLDFAST__VOLUME_STATE__VOLUME_DETACHED, 9, "detaching"},
		{HF_REG_DETACHED, true, HOLDFAST__VOLUME_STATE__VOLUME_DETACHED, 10, "detached"},
		{HF_REG_DELETED, true, HOLDFAST__VOLUME_STATE__VOLUME_DETACHED, 9, "deleting"},
		{HF_REG_DELETED, true, HOLDFAST__VOLUME_STATE__VOLUME_DELETING, 10, "deleting"},
		{HF_REG_DELETED, true, HOLDFAST__VOLUME_STATE__VOLUME_FAILED, 10, "failed"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct hf_reg_placement p = {.desired = rows[i].desired, .version = 10};

		p.report.state = rows[i].reported;
		p.report.version = rows[i].version;
		assert_string_equal(hf_status_text(hf_status_derive(&p, rows[i].created)),
				    rows[i].status);
	}
}

/* A configuration that cannot work is refused with the key and what it wants. */
static void test_configurations(void **state)
{
	static const char good[] = "run_dir = /r\nstate_dir = /s\nchannel_listen = 127.0.0.1:1\n"
				   "activation_listen = [::1]:2\n";
	static const struct {
		const char *text, *named;
	} rows[] = {
		{"store_url = dir:/x\n", NULL},
		{"store_url = s3+https://h/b\nstore_credentials = /c\n", NULL},
		{"store_url = s3+https://h/b\n", "store_credentials"},
		{"store_url = ftp://x\n", "store_url"},
		{"store_url = dir:relative\n", "store_url"},
		{"store_url = dir:/x\nchannel_advertise = nonsense\n", "channel_advertise"},
		{"store_url = dir:/x\nping_interval_ms = 1\n", "ping_interval_ms"},
		{"store_url = dir:/x\nreport_interval_ms = 0\n", "report_interval_ms"},
		{"store_url = dir:/x\nactivation_key_s = 99999999\n", "activation_key_s"},
		{"store_url = dir:/x\niqn_prefix = Holdfast\n", "iqn_prefix"},
		{"store_url = dir:/x\niqn_prefix = iqn.2026-11.net.x:y\n", "iqn_prefix"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct hf_control_config config = {0};
		struct hf_errmsg message = {""};
		char text[512];
		int err;

		snprintf(text, sizeof text, "%s%s", good, rows[i].text);
		err = hf_conf_parse("test", text, hf_control_keys, &config, &message);
		if (!err)
			err = hf_control_config_check(&config, &message);
		expect(err, rows[i].named ? HF_EINVAL : 0, &message, rows[i].text);
		if (rows[i].named)
			assert_non_null(strstr(message.text, rows[i].named));
		hf_conf_free(hf_control_keys, &config);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),      cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_initiators), cmocka_unit_test(test_chap),
		cmocka_unit_test(test_states),     cmocka_unit_test(test_configurations),
	};

	return cmocka_run_group_tests_name("checks", tests, NULL, NULL);
}
