/* A program that runs one seed after the other until it has seen so many recoveries:
 *
 *     NAME [--recoveries N] [--from SEED] [--jobs N] [--seed SEED] [-v]
 *
 * Jobs are processes with seeds of their own. A seed that fails, or dies of a signal, is printed.
 */
#ifndef HF_TESTS_SIM_SEEDS_H
#define HF_TESTS_SIM_SEEDS_H

#include <stdbool.h>
#include <stdint.h>

struct seeds {
	const char *name;
	uint64_t recoveries; /* unless the command line says otherwise */
	/* Adds to *recoveries. False: it failed, and has said how. */
	bool (*run)(uint64_t seed, uint64_t *recoveries);
	/* What came together in so many seeds. */
	void (*print)(uint64_t seeds);
};

int seeds_main(const struct seeds *seeds, int argc, char **argv);

#endif
