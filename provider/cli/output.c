/* Tables and lines from the provider's JSON (output.h). What came from a gateway (host, reason) is
 * printed with control characters replaced, so that it cannot steer a terminal. */
#include "provider/cli/output.h"

#include <inttypes.h>
#include <string.h>

#define CELL_MAX    64u
#define COLUMNS_MAX 8u

struct column {
	const char *key, *title;
};

static const struct column gateway_columns[] = {{"gateway_id", "GATEWAY"},
						{"name", "NAME"},
						{"state", "STATE"},
						{"connected", "CONNECTED"},
						{"volumes", "VOLUMES"},
						{"portal", "PORTAL"},
						{NULL, NULL}};
static const struct column volume_columns[] = {
	{"volume_id", "VOLUME"},     {"name", "NAME"},
	{"status", "STATUS"},        {"size_bytes", "SIZE"},
	{"gateway_name", "GATEWAY"}, {"recovery_point_lag_bytes", "LAG"},
	{"target", "TARGET"},        {NULL, NULL}};

static const struct column action_columns[] = {{"action_id", "ACTION"},
					       {"kind", "KIND"},
					       {"gateway_name", "GATEWAY"},
					       {"state", "STATE"},
					       {"who", "WHO"},
					       {"reason", "REASON"},
					       {NULL, NULL}};
static const struct column event_columns[] = {{"number", "NUMBER"}, {"at", "AT"},
					      {"kind", "KIND"},     {"volume_id", "VOLUME"},
					      {"text", "TEXT"},     {NULL, NULL}};

static void format_size(uint64_t bytes, char *text, size_t size)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
	unsigned unit = 0;

	while (unit < 4 && bytes >= 1024 && bytes % 1024 == 0) {
		bytes /= 1024;
		unit++;
	}
	snprintf(text, size, "%" PRIu64 "%s", bytes, units[unit]);
}

static void format_value(const char *key, const json_t *value, char *text, size_t size)
{
	if (json_is_string(value))
		snprintf(text, size, "%s", json_string_value(value));
	else if (json_is_integer(value) && strstr(key, "_bytes"))
		format_size((uint64_t)json_integer_value(value), text, size);
	else if (json_is_integer(value))
		snprintf(text, size, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	else if (json_is_real(value))
		snprintf(text, size, "%.1f", json_real_value(value));
	else if (json_is_boolean(value))
		snprintf(text, size, "%s", json_is_true(value) ? "yes" : "no");
	else
		snprintf(text, size, "-");
	for (char *c = text; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = '?';
}

static void print_table(FILE *out, const struct column *columns, const json_t *rows)
{
	size_t width[COLUMNS_MAX] = {0}, index;
	char cell[CELL_MAX];
	json_t *row;

	for (size_t c = 0; columns[c].key; c++)
		width[c] = strlen(columns[c].title);
	json_array_foreach(rows, index, row)
	{
		for (size_t c = 0; columns[c].key; c++) {
			format_value(columns[c].key, json_object_get(row, columns[c].key), cell,
				     sizeof cell);
			width[c] = strlen(cell) > width[c] ? strlen(cell) : width[c];
		}
	}
	for (size_t c = 0; columns[c].key; c++)
		fprintf(out, "%-*s%s", (int)width[c], columns[c].title,
			columns[c + 1].key ? "  " : "\n");
	json_array_foreach(rows, index, row)
	{
		for (size_t c = 0; columns[c].key; c++) {
			format_value(columns[c].key, json_object_get(row, columns[c].key), cell,
				     sizeof cell);
			fprintf(out, "%-*s%s", (int)width[c], cell,
				columns[c + 1].key ? "  " : "\n");
		}
	}
}

static void print_list_value(FILE *out, const json_t *list)
{
	char text[512];
	size_t index;
	json_t *item;

	json_array_foreach(list, index, item)
	{
		format_value("", item, text, sizeof text);
		fprintf(out, "%s%s", index ? ", " : "", text);
	}
	fputc('\n', out);
}

/* Lines of text from a gateway: nothing of it steers a terminal. */
static void print_report(FILE *out, const char *text)
{
	fputc('\n', out);
	for (; *text; text++)
		fputc(*text == '\n' || ((unsigned char)*text >= ' ' && *text != 0x7f) ? *text : '?',
		      out);
}

/* "vol-…: step, step" a line. */
static void print_plan(FILE *out, const json_t *volumes)
{
	json_t *volume;
	size_t index;

	if (json_array_size(volumes) == 0)
		fprintf(out, "nothing to do\n");
	json_array_foreach(volumes, index, volume)
	{
		const char *reason = json_string_value(json_object_get(volume, "reason"));

		fprintf(out, "%s: ", json_string_value(json_object_get(volume, "volume_id")));
		if (reason)
			fprintf(out, "fails: %s\n", reason);
		else
			print_list_value(out, json_object_get(volume, "steps"));
		if (json_is_true(json_object_get(volume, "waiting")))
			fprintf(out, "  … and waits for a process that is away\n");
	}
}

static void print_object(FILE *out, json_t *object)
{
	char label[64], text[512];
	const char *key;
	json_t *value;

	json_object_foreach(object, key, value)
	{
		if (json_is_null(value) || (json_is_string(value) && !json_string_length(value)) ||
		    strcmp(key, "events") == 0) /* `gateway events` */
			continue;
		if (strcmp(key, "report") == 0) {
			print_report(out, json_string_value(value));
			continue;
		}
		if (strcmp(key, "plan") == 0) {
			print_plan(out, value);
			continue;
		}
		snprintf(label, sizeof label, "%s:", key);
		for (char *c = label; *c; c++)
			if (*c == '_')
				*c = ' ';
		fprintf(out, "%-28s ", label);
		if (json_is_array(value)) {
			print_list_value(out, value);
			continue;
		}
		format_value(key, value, text, sizeof text);
		fprintf(out, "%s\n", text);
	}
}

void hf_cli_print(FILE *out, const struct hf_cli_verb *verb, const json_t *value, bool as_json)
{
	if (as_json) {
		json_dumpf(value, out, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
		fputc('\n', out);
	} else if (json_is_array(value)) {
		print_table(out,
			    verb->number == HF_VERB_GATEWAY_LIST     ? gateway_columns
			    : verb->number == HF_VERB_GATEWAY_EVENTS ? event_columns
			    : verb->number == HF_VERB_ACTION_LIST    ? action_columns
								     : volume_columns,
			    value);
	} else {
		print_object(out, (json_t *)(uintptr_t)value);
	}
}
