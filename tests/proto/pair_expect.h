/* What tests of sessions set up, and expect at the end. */
#ifndef HF_TESTS_PROTO_PAIR_EXPECT_H
#define HF_TESTS_PROTO_PAIR_EXPECT_H

#include <stdlib.h>

#include "tests/proto/pair.h"

static inline int pair_setup(void **state)
{
	struct pair *pair = malloc(sizeof *pair);

	pair_open(pair, HF_SESSION_MANAGEMENT);
	*state = pair;
	return 0;
}

static inline int pair_setup_activation(void **state)
{
	struct pair *pair = malloc(sizeof *pair);

	pair_open(pair, HF_SESSION_ACTIVATION);
	*state = pair;
	return 0;
}

static inline int pair_teardown(void **state)
{
	pair_close(*state);
	free(*state);
	return 0;
}

/* It has ended, once, with this error, and that was its last word. */
static inline void expect_ended(const struct side *side, int err)
{
	assert_int_equal(hf_session_state(side->session), HF_SESSION_ENDED);
	assert_int_equal(last_event(side)->type, HF_EVENT_ENDED);
	assert_int_equal(last_event(side)->status, err);
	assert_int_equal(count_events(side, HF_EVENT_ENDED), 1);
}

#endif
