/* base/metrics.h: https://prometheus.io/docs/instrumenting/exposition_formats/, text format. */
#include "base/metrics.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

#define FIRST_BYTES 8192u

static const uint32_t bucket_ends_ms[HF_LATENCY_BUCKETS] = {
	1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 30000, 60000};

void hf_metrics_begin(struct hf_metrics *metrics)
{
	memset(metrics, 0, sizeof *metrics);
}

static bool reserve(struct hf_metrics *metrics, size_t length)
{
	size_t capacity = metrics->capacity ? metrics->capacity : FIRST_BYTES;
	char *grown;

	while (capacity < metrics->used + length + 1)
		capacity *= 2;
	if (capacity == metrics->capacity)
		return true;
	grown = realloc(metrics->text, capacity);
	if (!grown) {
		metrics->failed = true;
		return false;
	}
	metrics->text = grown;
	metrics->capacity = capacity;
	return true;
}

__attribute__((format(printf, 2, 3))) static void append(struct hf_metrics *metrics,
							 const char *format, ...)
{
	va_list args, again;
	int length;

	if (metrics->failed)
		return;
	va_start(args, format);
	va_copy(again, args);
	length = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (length >= 0 && reserve(metrics, (size_t)length)) {
		vsnprintf(metrics->text + metrics->used, (size_t)length + 1, format, again);
		metrics->used += (size_t)length;
	}
	va_end(again);
}

/* Backslash, quote and line feed are escaped; other control characters have no place there. */
static void append_label(struct hf_metrics *metrics, const char *name, const char *value,
			 bool first)
{
	append(metrics, "%s%s=\"", first ? "{" : ",", name);
	for (; *value; value++) {
		if (*value == '\\' || *value == '"')
			append(metrics, "\\%c", *value);
		else if (*value == '\n')
			append(metrics, "\\n");
		else
			append(metrics, "%c", (unsigned char)*value < ' ' ? '?' : *value);
	}
	append(metrics, "\"");
}

static bool is_clean(const char *name)
{
	return name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_")] == '\0';
}

char *hf_metrics_end(struct hf_metrics *metrics, size_t *length)
{
	char *text = metrics->text;

	if (metrics->failed || !text) {
		free(text);
		return NULL;
	}
	*length = metrics->used;
	return text;
}

void hf_metrics_family(struct hf_metrics *metrics, const char *name, const char *type,
		       const char *help)
{
	HF_ASSERT(is_clean(name));
	metrics->family = name;
	append(metrics, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void hf_metrics_value(struct hf_metrics *metrics, double value, const char *label1,
		      const char *value1, const char *label2, const char *value2)
{
	append(metrics, "%s", metrics->family);
	if (label1)
		append_label(metrics, label1, value1, true);
	if (label1 && label2)
		append_label(metrics, label2, value2, false);
	append(metrics, "%s %.15g\n", label1 ? "}" : "", value);
}

void hf_metrics_gauge(struct hf_metrics *metrics, const char *name, const char *help, double value)
{
	hf_metrics_family(metrics, name, "gauge", help);
	hf_metrics_value(metrics, value, NULL, NULL, NULL, NULL);
}

void hf_metrics_counter(struct hf_metrics *metrics, const char *name, const char *help,
			double value)
{
	hf_metrics_family(metrics, name, "counter", help);
	hf_metrics_value(metrics, value, NULL, NULL, NULL, NULL);
}

void hf_latency_add(struct hf_latency *latency, uint64_t ms)
{
	unsigned i = 0;

	while (i < HF_LATENCY_BUCKETS && ms > bucket_ends_ms[i])
		i++;
	latency->counts[i]++;
	latency->sum_ms += ms;
}

void hf_metrics_latency(struct hf_metrics *metrics, const char *name, const char *help,
			const struct hf_latency *latency)
{
	uint64_t count = 0;

	hf_metrics_family(metrics, name, "histogram", help);
	for (unsigned i = 0; i < HF_LATENCY_BUCKETS; i++) {
		count += latency->counts[i];
		append(metrics, "%s_bucket{le=\"%g\"} %" PRIu64 "\n", name,
		       bucket_ends_ms[i] / 1000.0, count);
	}
	count += latency->counts[HF_LATENCY_BUCKETS];
	append(metrics, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n%s_sum %.15g\n%s_count %" PRIu64 "\n",
	       name, count, name, (double)latency->sum_ms / 1000.0, name, count);
}
