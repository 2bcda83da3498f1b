/* Times of operations, and what both programs of this folder say about themselves at the end. One
 * thread; no memory but the struct. */
#ifndef HF_TESTS_BENCH_HISTOGRAM_H
#define HF_TESTS_BENCH_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_BUCKETS (64u * 16u)

/* Buckets of a sixteenth of a power of two: a quantile is at most 6 % too high. */
struct histogram {
	uint64_t count, max_ns;
	uint64_t buckets[HISTOGRAM_BUCKETS];
};

struct report {
	uint64_t ops, bytes, errors, sessions_lost;
	uint64_t gap_ns; /* the longest time in which nothing ended */
	double seconds;
};

uint64_t bench_now_ns(void);
uint64_t bench_next_random(uint64_t *seed); /* *seed is never 0 */

void histogram_add(struct histogram *h, uint64_t ns);

/* The upper end of the bucket in which the quantile (0 to 1) lies; 0 if nothing was added. */
double histogram_quantile_us(const struct histogram *h, double quantile);

/* One line of JSON on standard output, with this process's own CPU time. */
void bench_print_report(const struct report *report, const struct histogram *h);

/* A number with an optional suffix K, M or G (powers of 1024); ends the process if it is none. */
uint64_t bench_parse_size(const char *text);

#endif
