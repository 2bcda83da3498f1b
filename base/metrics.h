/* Figures about a running program in Prometheus' text format (version 0.0.4), and the histogram of
 * latencies that stands in it. Names are ours, so they are asserted to be clean; label values may
 * hold anything and are escaped. Pure; any thread. */
#ifndef HF_BASE_METRICS_H
#define HF_BASE_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HF_METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

struct hf_metrics {
	char *text; /* malloc'ed, grows */
	size_t used, capacity;
	bool failed; /* out of memory; then there is no text */
	const char *family;
};

void hf_metrics_begin(struct hf_metrics *metrics);
/* The text, malloc'ed and NUL-terminated, or NULL: out of memory. */
char *hf_metrics_end(struct hf_metrics *metrics, size_t *length);

/* Begins a family; all of its values follow. A counter's name ends in _total. `type`: "counter",
 * "gauge" or "histogram". */
void hf_metrics_family(struct hf_metrics *metrics, const char *name, const char *type,
		       const char *help);
/* A value of the family, with up to two labels; a NULL name ends them. */
void hf_metrics_value(struct hf_metrics *metrics, double value, const char *label1,
		      const char *value1, const char *label2, const char *value2);
/* A family of one value without labels. */
void hf_metrics_gauge(struct hf_metrics *metrics, const char *name, const char *help, double value);
void hf_metrics_counter(struct hf_metrics *metrics, const char *name, const char *help,
			double value);

/* ---- Latencies ---- */

/* Upper ends in milliseconds: 1, 2, 5, 10 … 60000, and above. */
#define HF_LATENCY_BUCKETS 15u
struct hf_latency {
	uint64_t counts[HF_LATENCY_BUCKETS + 1];
	uint64_t sum_ms;
};
void hf_latency_add(struct hf_latency *latency, uint64_t ms);
/* A whole family of type histogram, in seconds. */
void hf_metrics_latency(struct hf_metrics *metrics, const char *name, const char *help,
			const struct hf_latency *latency);

#endif
