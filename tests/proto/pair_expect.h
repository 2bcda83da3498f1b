/* What tests of sessions expect at the end. */
#ifndef HF_TESTS_PROTO_PAIR_EXPECT_H
#define HF_TESTS_PROTO_PAIR_EXPECT_H

#include "tests/proto/pair.h"

/* It has ended, once, with this error, and that was its last word. */
static inline void expect_ended(const struct side *side, int err)
{
	assert_int_equal(hf_session_state(side->session), HF_SESSION_ENDED);
	assert_int_equal(last_event(side)->type, HF_EVENT_ENDED);
	assert_int_equal(last_event(side)->status, err);
	assert_int_equal(count_events(side, HF_EVENT_ENDED), 1);
}

#endif
