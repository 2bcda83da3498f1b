/* The simulator's random numbers: splitmix64, one stream per purpose so that a change in one place
 * does not shuffle all the others. */
#ifndef HF_TESTS_SIM_RNG_H
#define HF_TESTS_SIM_RNG_H

#include <stdbool.h>
#include <stdint.h>

struct sim_rng {
	uint64_t state;
};

static inline uint64_t sim_rng_next(struct sim_rng *rng)
{
	uint64_t z = rng->state += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

/* 0 … bound - 1; bound > 0. */
static inline uint64_t sim_rng_below(struct sim_rng *rng, uint64_t bound)
{
	return sim_rng_next(rng) % bound;
}

static inline bool sim_rng_chance(struct sim_rng *rng, uint32_t per_million)
{
	return per_million != 0 && sim_rng_below(rng, 1000000) < per_million;
}

#endif
