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
};

/* In memory that all processes of the test share. */
struct kill_switch {
	uint32_t point; /* enum kill_point */
	uint32_t countdown;
	uint32_t kills; /* that happened */
};

extern struct kill_switch *kill_switch;
/* Dies here if the switch says so. */
void kill_point_reached(enum kill_point point);

#endif
