/* provider/cli/watch.h. Each question tells the provider that somebody looks, so the gateway
 * reports every second meanwhile. */
#include "provider/cli/watch.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static uint64_t number(const json_t *gateway, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(gateway, key));
}

static void print_plain(const char *text)
{
	for (; *text; text++)
		putchar((unsigned char)*text < ' ' || *text == 0x7f ? '?' : *text);
}

static void print_line(const json_t *gateway, bool as_json)
{
	const json_t *alarms = json_object_get(gateway, "alarms");
	size_t count = json_array_size(alarms);
	time_t now = time(NULL);
	char at[16] = "";
	struct tm tm;

	if (as_json) {
		json_dumpf(gateway, stdout, JSON_COMPACT);
		putchar('\n');
		return;
	}
	if (localtime_r(&now, &tm))
		strftime(at, sizeof at, "%H:%M:%S", &tm);
	printf("%s  %s  generation %" PRIu64 " of %" PRIu64 "  buffer %.1f of %.1f MiB  %zu alarms",
	       at, json_is_true(json_object_get(gateway, "connected")) ? "held" : "away",
	       number(gateway, "applied_generation"), number(gateway, "generation"),
	       (double)number(gateway, "buffer_used_bytes") / (1 << 20),
	       (double)number(gateway, "buffer_total_bytes") / (1 << 20), count);
	if (count > 0) {
		printf(": ");
		print_plain(json_string_value(json_array_get(alarms, count - 1)));
	}
	putchar('\n');
}

int hf_cli_watch(const struct hf_cli_args *args,
		 int (*show)(void *context, json_t **gateway, struct hf_errmsg *message),
		 void *context, struct hf_errmsg *message)
{
	const struct timespec second = {.tv_sec = 1};
	bool bounded = (args->given & HF_OPT_TIMEOUT) != 0;
	uint64_t end_ms = now_ms() + args->timeout_ms;
	json_t *gateway;
	int err;

	for (;;) {
		err = show(context, &gateway, message);
		if (err)
			return err;
		print_line(gateway, (args->given & HF_OPT_JSON) != 0);
		json_decref(gateway);
		if (fflush(stdout) != 0 || (bounded && now_ms() + 1000 > end_ms))
			return 0;
		nanosleep(&second, NULL);
	}
}
