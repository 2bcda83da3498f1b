/* The verb `doctor` (doctor.h): configuration first, then hop by hop, then what it all means. */
#include "gateway/cli/doctor.h"

#include <jansson.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gateway/cli/cli.h"

#define CONFIG_VARIABLE "HOLDFAST_GATEWAY_CONFIG"
#define CONFIG_DEFAULT  "/etc/holdfast/agent.conf"

static const char *const results[] = {"good", "warning", "skipped", "failed"};

void hf_doctor_say(struct hf_doctor *doctor, const char *name, enum hf_doctor_result result,
		   int status, const char *advice, const char *format, ...)
{
	struct hf_doctor_check *check = &doctor->checks[doctor->count];
	va_list args;

	if (doctor->count == HF_DOCTOR_CHECKS_MAX)
		return;
	doctor->count++;
	check->name = name;
	check->result = result;
	check->advice = advice;
	va_start(args, format);
	vsnprintf(check->text, sizeof check->text, format, args);
	va_end(args);
	if (result == HF_DOCTOR_FAILED && !doctor->failed_status) {
		doctor->failed_status = status;
		doctor->failed_name = name;
	}
}

void hf_doctor_say_hop(struct hf_doctor *doctor, enum hf_hop hop, enum hf_doctor_result result,
		       const char *advice, const char *text)
{
	hf_doctor_say(doctor, hf_hop_name(hop), result, hf_hop_exit_status(hop), advice, "%s",
		      text);
}

/* ---- Configuration ---- */

static bool fail_configuration(struct hf_doctor *doctor, const char *advice, const char *text)
{
	hf_doctor_say_hop(doctor, HF_HOP_CONFIGURATION, HF_DOCTOR_FAILED, advice, text);
	return false;
}

/* Never makes a key: a gateway without one is one that has not run yet. */
static bool read_identity(struct hf_doctor *doctor)
{
	struct hf_errmsg message = {""};
	char path[PATH_MAX];

	snprintf(path, sizeof path, "%s/identity.key", doctor->config.state_dir);
	if (access(path, F_OK) != 0)
		return true; /* not activated, then */
	if (hf_sign_key_file(path, &doctor->identity, &message) == 0)
		return true;
	return fail_configuration(doctor, "run this as root, or as the agent's user", message.text);
}

static bool read_activation(struct hf_doctor *doctor)
{
	struct hf_kept kept = {.folder = doctor->config.state_dir};
	struct hf_errmsg message = {""};
	int err = hf_kept_activated(&kept, &doctor->issued, &message);

	doctor->activated = err == 0;
	if (err == 0 || err == HF_ENOENT)
		return true;
	return fail_configuration(doctor, "restore `state_dir`, or remove it and activate anew",
				  message.text);
}

static bool find_endpoints(struct hf_doctor *doctor)
{
	const struct hf_agent_config *config = &doctor->config;
	struct hf_kept kept = {.folder = config->state_dir};
	struct hf_errmsg message = {""};

	if (!doctor->activated || config->provider[0])
		return hf_endpoints_parse(doctor->activated ? config->provider : config->activation,
					  &doctor->endpoints, &message) == 0 ||
		       fail_configuration(doctor, NULL, message.text);
	hf_kept_endpoints(&kept, &doctor->endpoints);
	for (size_t i = 0; i < doctor->issued->n_endpoints; i++)
		if (doctor->endpoints.count < HF_DIAL_ENDPOINTS_MAX)
			snprintf(doctor->endpoints.text[doctor->endpoints.count++], HF_ENDPOINT_MAX,
				 "%s", doctor->issued->endpoints[i]);
	return true;
}

static bool check_proxy(struct hf_doctor *doctor)
{
	char credentials[HF_PROXY_CREDENTIALS_MAX + 1];
	struct hf_errmsg message = {""};
	int err;

	doctor->proxied = hf_agent_proxy(&doctor->config, &doctor->proxy);
	if (!doctor->proxied)
		return true;
	err = hf_proxy_credentials(&doctor->proxy, credentials, &message);
	explicit_bzero(credentials, sizeof credentials);
	return err == 0 || fail_configuration(doctor, NULL, message.text);
}

static bool check_configuration(struct hf_doctor *doctor)
{
	struct hf_errmsg message = {""};
	int err = hf_conf_read(doctor->config_path, hf_agent_keys, &doctor->config, &message);

	doctor->config_read = err == 0;
	if (!err)
		err = hf_agent_check_config(&doctor->config, &message);
	if (err)
		return fail_configuration(doctor, "mend the agent's configuration and restart it",
					  message.text);
	if (!read_identity(doctor) || !read_activation(doctor) || !find_endpoints(doctor) ||
	    !check_proxy(doctor))
		return false;
	hf_doctor_say_hop(doctor, HF_HOP_CONFIGURATION, HF_DOCTOR_GOOD, NULL, doctor->config_path);
	return true;
}

static void examine(struct hf_doctor *doctor)
{
	doctor->failed_hop = HF_HOP_COUNT;
	if (check_configuration(doctor)) {
		hf_doctor_probe(doctor);
		hf_doctor_clock(doctor);
		hf_doctor_agent(doctor);
	}
	if (doctor->config_read)
		hf_doctor_local(doctor);
}

/* ---- What people see ---- */

static void print_json(const struct hf_doctor *doctor)
{
	json_t *checks = json_array(), *said;

	for (unsigned i = 0; i < doctor->count; i++) {
		const struct hf_doctor_check *check = &doctor->checks[i];
		json_t *text = json_string(check->text);

		json_array_append_new(
			checks, json_pack("{s:s, s:s, s:o, s:s?}", "name", check->name, "result",
					  results[check->result], "text",
					  text ? text : json_string("?"), "advice",
					  check->result == HF_DOCTOR_GOOD ? NULL : check->advice));
	}
	said = json_pack("{s:b, s:s?, s:o}", "good", doctor->failed_status == 0, "failing",
			 doctor->failed_name, "checks", checks);
	json_dumpf(said, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(said);
}

/* What peers said is in the texts; none of it may steer the terminal. */
static void print_plain(const char *text)
{
	for (const unsigned char *c = (const unsigned char *)text; *c; c++)
		putchar(*c < ' ' || *c == 0x7f || (*c == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0) ? '?'
											      : *c);
}

static void print_text(const struct hf_doctor *doctor)
{
	for (unsigned i = 0; i < doctor->count; i++) {
		const struct hf_doctor_check *check = &doctor->checks[i];

		printf("%-14s %-8s ", check->name,
		       check->result == HF_DOCTOR_FAILED ? "FAILED" : results[check->result]);
		print_plain(check->text);
		putchar('\n');
		if (check->advice && check->result != HF_DOCTOR_GOOD)
			printf("%-14s          → %s\n", "", check->advice);
	}
	if (doctor->failed_status)
		printf("\nIt fails at: %s\n", doctor->failed_name);
}

int hf_cli_doctor(int argc, char **argv)
{
	static struct hf_doctor doctor;
	bool json = false;
	const struct hf_cli_option options[] = {
		{.name = "--config", .value = &doctor.config_path},
		{.name = "--json", .flag = &json},
		{.name = NULL},
	};

	if (hf_cli_parse("doctor", argc, argv, options, NULL, 0) < 0)
		return hf_err_exit_status(HF_EINVAL);
	if (!doctor.config_path)
		doctor.config_path = getenv(CONFIG_VARIABLE);
	if (!doctor.config_path || !doctor.config_path[0])
		doctor.config_path = CONFIG_DEFAULT;
	examine(&doctor);
	if (json)
		print_json(&doctor);
	else
		print_text(&doctor);
	hf_conf_free(hf_agent_keys, &doctor.config);
	if (doctor.issued)
		holdfast__activate_issued__free_unpacked(doctor.issued, NULL);
	explicit_bzero(&doctor.identity, sizeof doctor.identity);
	return doctor.failed_status;
}
