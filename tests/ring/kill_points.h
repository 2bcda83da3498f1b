/* Ends a process at a named step of the ring, for the rows of docs/kill-points.md. The steps are
 * the functions that touch the shared memory (and a few of the host's); the linker puts a wrapper
 * in front of each (--wrap), so nothing of this is in what is shipped. */
#ifndef HF_TESTS_RING_KILL_POINTS_H
#define HF_TESTS_RING_KILL_POINTS_H

#include <stdint.h>

enum kill_point {
	KILL_NOWHERE,
	/* volumed, before it … */
	V_WELCOMES,
	V_BINDS,
	V_EMPTIES_WAKE,
	V_TAKES,
	V_SHOWS_TAKEN,
	V_LOGS,
	V_WRITES_BATCH,   /* the real log: before pwritev */
	V_SYNCS_BATCH,    /* written, before fdatasync */
	V_ANSWERS_LOGGED, /* logged, nothing said yet */
	V_PLACES,
	V_PUBLISHES,
	V_WAKES,
	/* the shim, before it … */
	S_PLACES,
	S_PUBLISHES,
	S_WAKES,
	S_EMPTIES_WAKE,
	S_COLLECTS,
	S_SHOWS_COLLECTED,
	S_SHOWS_OLDEST,
	KILL_POINTS,
};

/* In memory that all processes of the test share. */
struct kill_switch {
	uint32_t point; /* enum kill_point */
	uint32_t countdown;
	uint32_t kills; /* that happened */
};

/* Of this process; a program that is started by itself finds it in the file that the environment's
 * HOLDFAST_KILL_SWITCH names. */
extern struct kill_switch *kill_switch;
/* Dies here if the switch says so. */
void kill_point_reached(enum kill_point point);

/* A wrapper that the linker puts in front of a function. */
#define STEP(point, type, name, parameters, arguments)                                             \
	type __real_##name parameters;                                                             \
	type __wrap_##name parameters;                                                             \
	type __wrap_##name parameters                                                              \
	{                                                                                          \
		kill_point_reached(point);                                                         \
		return __real_##name arguments;                                                    \
	}

#endif
