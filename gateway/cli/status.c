/* The verbs `status` and `activation`: what the gateway's daemons answer on their sockets, for
 * people and as JSON. Blocking; main thread. */
#include "base/ids.h"
#include "gateway/cli/ask.h"
#include "gateway/cli/cli.h"

#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RUN_DIR_VARIABLE "HOLDFAST_GATEWAY_RUN"

/* ---- As JSON --------------------------------------------------------------------------------- */

static json_t *text_or_null(const char *text)
{
	return text && text[0] ? json_string(text) : json_null();
}

static void set(json_t *object, const char *name, uint64_t value)
{
	json_object_set_new(object, name, json_integer((json_int_t)value));
}

static json_t *strings(char **texts, size_t count)
{
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, json_string(texts[i]));
	return list;
}

static json_t *agent_json(const Holdfast__ConsoleStatus *status)
{
	json_t *said = json_object();

	json_object_set_new(said, "gateway_id", text_or_null(status->gateway_id));
	json_object_set_new(said, "activation_state", text_or_null(status->activation_state));
	json_object_set_new(said, "activation_key", text_or_null(status->activation_key));
	json_object_set_new(said, "fingerprint", text_or_null(status->fingerprint));
	json_object_set_new(said, "claimed_by", text_or_null(status->claimed_by));
	json_object_set_new(said, "connection_state", text_or_null(status->connection_state));
	set(said, "connection_epoch", status->connection_epoch);
	json_object_set_new(said, "connection_endpoint", text_or_null(status->connection_endpoint));
	json_object_set_new(said, "standby_endpoint", text_or_null(status->standby_endpoint));
	set(said, "incarnation", status->incarnation);
	set(said, "generation", status->generation);
	json_object_set_new(said, "problems", strings(status->problems, status->n_problems));
	json_object_set_new(said, "last_error", text_or_null(status->last_error));
	json_object_set_new(said, "provider_clock_ahead_ms",
			    status->provider_clock_known
				    ? json_integer((json_int_t)status->provider_ahead_ms)
				    : json_null());
	return said;
}

static json_t *volume_json(const Holdfast__VolumedVolume *volume)
{
	char text[HF_ID_TEXT_MAX];
	json_t *said = json_object();

	json_object_set_new(said, "volume_id",
			    json_string(hf_id_format(HF_ID_VOLUME, volume->volume, text)));
	json_object_set_new(said, "state", text_or_null(volume->state_text));
	json_object_set_new(said, "reason", text_or_null(volume->reason));
	set(said, "size_bytes", volume->size_bytes);
	set(said, "attach_epoch", volume->attach_epoch);
	set(said, "start", volume->start);
	set(said, "recovery_point", volume->recovery_point);
	set(said, "last_sequence", volume->last_sequence);
	set(said, "recovery_point_lag_bytes", volume->lag_bytes);
	json_object_set_new(said, "recovery_point_age_seconds",
			    json_real((double)volume->age_ms / 1000));
	set(said, "read_ops", volume->read_ops);
	set(said, "read_bytes", volume->read_bytes);
	set(said, "write_ops", volume->write_ops);
	set(said, "write_bytes", volume->write_bytes);
	set(said, "uploaded_objects", volume->uploaded_objects);
	set(said, "uploaded_bytes", volume->uploaded_bytes);
	set(said, "fetched_bytes", volume->fetched_bytes);
	set(said, "memory_tier_hits", volume->memory_tier_hits);
	set(said, "bad_extents", volume->bad_extents);
	return said;
}

static json_t *cache_json(const Holdfast__VolumedCache *cache)
{
	json_t *said = json_object();

	set(said, "memory_bytes", cache->memory_bytes);
	set(said, "memory_limit_bytes", cache->memory_limit_bytes);
	set(said, "memory_hits", cache->memory_hits);
	set(said, "memory_hit_bytes", cache->memory_hit_bytes);
	set(said, "disk_bytes", cache->disk_bytes);
	set(said, "disk_limit_bytes", cache->disk_limit_bytes);
	set(said, "disk_hits", cache->disk_hits);
	set(said, "disk_hit_bytes", cache->disk_hit_bytes);
	set(said, "disk_written_bytes", cache->disk_written_bytes);
	set(said, "misses", cache->misses);
	set(said, "evictions", cache->evictions);
	set(said, "damaged", cache->damaged);
	set(said, "recovered_chunks", cache->recovered_chunks);
	set(said, "index_bytes", cache->index_bytes);
	json_object_set_new(said, "loading", json_boolean(cache->loading));
	json_object_set_new(said, "disk_lost", json_boolean(cache->disk_lost));
	return said;
}

static json_t *volumed_json(const Holdfast__VolumedStatus *status)
{
	json_t *said = json_object(), *volumes = json_array();

	for (size_t i = 0; i < status->n_volumes; i++)
		json_array_append_new(volumes, volume_json(status->volumes[i]));
	set(said, "pid", status->pid);
	set(said, "log_total_bytes", status->log_total_bytes);
	set(said, "log_free_bytes", status->log_free_bytes);
	set(said, "log_full_in_s", status->log_full_in_s);
	set(said, "log_written_bytes", status->log_written_bytes);
	set(said, "memory_tier_bytes", status->memory_tier_bytes);
	set(said, "memory_tier_used_bytes", status->memory_tier_used_bytes);
	json_object_set_new(said, "store_reachable", json_boolean(status->store_reachable));
	if (status->cache)
		json_object_set_new(said, "read_cache", cache_json(status->cache));
	set(said, "requests_under_way", status->requests_under_way);
	set(said, "uploads_under_way", status->uploads_under_way);
	set(said, "rings", status->rings);
	json_object_set_new(said, "alarms", strings(status->alarms, status->n_alarms));
	json_object_set_new(said, "volumes", volumes);
	return said;
}

static void print_json(json_t *said)
{
	json_dumpf(said, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(said);
}

/* ---- For people ------------------------------------------------------------------------------ */

/* Reasons hold what peers said: the store, the provider, initiators. None of it may steer the
 * terminal; C1 controls come as two bytes of UTF-8. */
static void print_text(const char *text)
{
	for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
		bool control =
			*c < ' ' || *c == 0x7f || (*c == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0);

		putchar(control ? '?' : *c);
	}
}

static void print_line(const char *name, const char *value)
{
	if (!value || !value[0])
		return;
	printf("%-12s ", name);
	print_text(value);
	putchar('\n');
}

static void print_activation(const Holdfast__ConsoleStatus *status)
{
	print_line("activation", status->activation_state);
	print_line("key", status->activation_key);
	print_line("fingerprint", status->fingerprint);
	print_line("claimed by", status->claimed_by);
}

static void print_agent(const Holdfast__ConsoleStatus *status)
{
	print_line("gateway", status->gateway_id);
	print_activation(status);
	print_line("provider", status->connection_state);
	print_line("connected to", status->connection_endpoint);
	print_line("standby at", status->standby_endpoint);
	printf("%-12s %" PRIu64 "\n", "generation", status->generation);
	for (size_t i = 0; i < status->n_problems; i++)
		print_line("problem", status->problems[i]);
	print_line("last error", status->last_error);
}

static void print_cache(const Holdfast__VolumedCache *cache)
{
	uint64_t hits = cache->memory_hits + cache->disk_hits;

	printf("%-12s %.1f of %.1f MiB on disk%s, %.1f of %.1f MiB in memory", "read cache",
	       (double)cache->disk_bytes / (1 << 20), (double)cache->disk_limit_bytes / (1 << 20),
	       cache->disk_lost ? " (given up)" : "", (double)cache->memory_bytes / (1 << 20),
	       (double)cache->memory_limit_bytes / (1 << 20));
	if (hits + cache->misses > 0)
		printf(", %.1f %% hits", 100.0 * (double)hits / (double)(hits + cache->misses));
	putchar('\n');
}

static void print_volumed(const Holdfast__VolumedStatus *status)
{
	char text[HF_ID_TEXT_MAX];

	print_line("store", status->store_reachable ? "reachable" : "away");
	printf("%-12s %.1f of %.1f MiB free\n", "buffer",
	       (double)status->log_free_bytes / (1 << 20),
	       (double)status->log_total_bytes / (1 << 20));
	if (status->log_full_in_s)
		printf("%-12s in %llu s as it fills now\n", "full",
		       (unsigned long long)status->log_full_in_s);
	if (status->cache)
		print_cache(status->cache);
	for (size_t i = 0; i < status->n_alarms; i++)
		print_line("alarm", status->alarms[i]);
	if (status->n_volumes == 0)
		printf("no volumes\n");
	else
		printf("%-20s %-10s %10s %12s %8s  %s\n", "VOLUME", "STATE", "SIZE MiB",
		       "LAG BYTES", "AGE s", "REASON");
	for (size_t i = 0; i < status->n_volumes; i++) {
		const Holdfast__VolumedVolume *volume = status->volumes[i];

		printf("%-20s %-10s %10.1f %12" PRIu64 " %8.1f  ",
		       hf_id_format(HF_ID_VOLUME, volume->volume, text), volume->state_text,
		       (double)volume->size_bytes / (1 << 20), volume->lag_bytes,
		       (double)volume->age_ms / 1000);
		print_text(volume->reason);
		putchar('\n');
	}
}

/* ---- Verbs ----------------------------------------------------------------------------------- */

struct arguments {
	const char *run_dir;
	bool json;
	const char *positional[1];
	int count;
};

static int parse(const char *verb, int argc, char **argv, struct arguments *arguments, int max)
{
	const struct hf_cli_option options[] = {
		{.name = "--run-dir", .value = &arguments->run_dir},
		{.name = "--json", .flag = &arguments->json},
		{.name = NULL},
	};

	arguments->count = hf_cli_parse(verb, argc, argv, options, arguments->positional, max);
	if (arguments->count < 0)
		return HF_EINVAL;
	if (!arguments->run_dir)
		arguments->run_dir = getenv(RUN_DIR_VARIABLE);
	if (arguments->run_dir && arguments->run_dir[0])
		return 0;
	fprintf(stderr, "%s %s: where are the gateway's sockets? Give --run-dir or set %s\n",
		HF_CLI_NAME, verb, RUN_DIR_VARIABLE);
	return HF_EINVAL;
}

/* What one daemon said, or that it does not answer. */
static void put_part(json_t *said, const char *name, json_t *part, const struct hf_errmsg *message)
{
	char error_name[32];

	json_object_set_new(said, name, part ? part : json_null());
	snprintf(error_name, sizeof error_name, "%s_error", name);
	if (!part)
		json_object_set_new(said, error_name, json_string(message->text));
}

int hf_cli_status(int argc, char **argv)
{
	struct hf_errmsg agent_message = {""}, volumed_message = {""};
	Holdfast__ConsoleAnswer *agent = NULL;
	Holdfast__VolumedAnswer *volumed = NULL;
	struct arguments arguments = {NULL};
	int err = parse("status", argc, argv, &arguments, 0), agent_err, volumed_err;

	if (err)
		return hf_err_exit_status(err);
	agent_err = hf_cli_ask_agent_status(arguments.run_dir, &agent, &agent_message);
	volumed_err = hf_cli_ask_volumed(arguments.run_dir, &volumed, &volumed_message);
	if (arguments.json) {
		json_t *said = json_object();

		put_part(said, "agent", agent ? agent_json(agent->status) : NULL, &agent_message);
		put_part(said, "volumed", volumed ? volumed_json(volumed->status) : NULL,
			 &volumed_message);
		print_json(said);
	} else {
		if (agent)
			print_agent(agent->status);
		if (volumed)
			print_volumed(volumed->status);
	}
	if (agent_err)
		err = hf_cli_fail("status", agent_err, &agent_message);
	if (volumed_err)
		err = hf_cli_fail("status", volumed_err, &volumed_message);
	if (agent)
		holdfast__console_answer__free_unpacked(agent, NULL);
	if (volumed)
		holdfast__volumed_answer__free_unpacked(volumed, NULL);
	return err;
}

static int refuse(const struct arguments *arguments)
{
	char reason[] = "refused at the gateway's console";
	Holdfast__ConsoleRequest question = HOLDFAST__CONSOLE_REQUEST__INIT;
	Holdfast__ConsoleAnswer *answer = NULL;
	struct hf_errmsg message = {""};
	int err;

	question.kind_case = HOLDFAST__CONSOLE_REQUEST__KIND_REFUSE_ACTIVATION;
	question.refuse_activation = reason;
	err = hf_cli_ask_agent(arguments->run_dir, &question, &answer, &message);
	if (err)
		return hf_cli_fail("activation refuse", err, &message);
	holdfast__console_answer__free_unpacked(answer, NULL);
	if (!arguments->json)
		printf("the activation is refused\n");
	else
		print_json(json_pack("{s:b}", "refused", 1));
	return 0;
}

int hf_cli_activation(int argc, char **argv)
{
	Holdfast__ConsoleAnswer *answer = NULL;
	struct arguments arguments = {NULL};
	struct hf_errmsg message = {""};
	int err = parse("activation", argc, argv, &arguments, 1);

	if (err)
		return hf_err_exit_status(err);
	if (arguments.count == 1 && strcmp(arguments.positional[0], "refuse") == 0)
		return refuse(&arguments);
	if (arguments.count == 1) {
		fprintf(stderr, "%s activation: \"%s\"? Only \"refuse\" can stand here\n",
			HF_CLI_NAME, arguments.positional[0]);
		return 2;
	}
	err = hf_cli_ask_agent_status(arguments.run_dir, &answer, &message);
	if (err)
		return hf_cli_fail("activation", err, &message);
	if (arguments.json)
		print_json(agent_json(answer->status));
	else
		print_activation(answer->status);
	holdfast__console_answer__free_unpacked(answer, NULL);
	return 0;
}
