/* Times, random numbers and the report of the load programs; see histogram.h. */
#include "tests/bench/histogram.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

uint64_t bench_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t bench_next_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

/* Below 16 each value has its own bucket; above, the leading bit and the four after it. */
static unsigned bucket_of(uint64_t ns)
{
	unsigned top;

	if (ns < 16)
		return (unsigned)ns;
	top = 63u - (unsigned)__builtin_clzll(ns);
	return (top - 3) * 16 + (unsigned)(ns >> (top - 4) & 15);
}

static double bucket_end_ns(unsigned bucket)
{
	unsigned top = bucket / 16 + 3;

	if (bucket < 16)
		return bucket + 1;
	return (double)(17 + bucket % 16) * (double)(1ull << (top - 4));
}

void histogram_add(struct histogram *h, uint64_t ns)
{
	h->count++;
	h->max_ns = ns > h->max_ns ? ns : h->max_ns;
	h->buckets[bucket_of(ns)]++;
}

double histogram_quantile_us(const struct histogram *h, double quantile)
{
	uint64_t wanted = (uint64_t)(quantile * (double)h->count), seen = 0;

	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		seen += h->buckets[i];
		if (h->buckets[i] && seen > wanted)
			return bucket_end_ns(i) / 1000;
	}
	return (double)h->max_ns / 1000;
}

static double seconds_of(struct timeval t)
{
	return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

void bench_print_report(const struct report *report, const struct histogram *h)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	printf("{\"ops\": %" PRIu64 ", \"bytes\": %" PRIu64 ", \"seconds\": %.6f"
	       ", \"p50_us\": %.1f, \"p99_us\": %.1f, \"max_us\": %.1f, \"gap_us\": %.1f"
	       ", \"errors\": %" PRIu64 ", \"sessions_lost\": %" PRIu64
	       ", \"cpu_seconds\": %.4f}\n",
	       report->ops, report->bytes, report->seconds, histogram_quantile_us(h, 0.5),
	       histogram_quantile_us(h, 0.99), (double)h->max_ns / 1000,
	       (double)report->gap_ns / 1000, report->errors, report->sessions_lost,
	       seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime));
}

uint64_t bench_parse_size(const char *text)
{
	char *end;
	uint64_t value = strtoull(text, &end, 10);

	switch (*end) {
	case 'G':
		value *= 1024;
		/* fall through */
	case 'M':
		value *= 1024;
		/* fall through */
	case 'K':
		value *= 1024;
		end++;
		break;
	default:
		break;
	}
	if (end == text || *end) {
		fprintf(stderr, "not a number: %s\n", text);
		exit(2);
	}
	return value;
}
