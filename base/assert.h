/* Assertions that stay on in release: what the programmer did wrong ends the process before it can
 * harm data. What the world did wrong (corrupt media, bad peers) is an error, never an assertion.
 */
#ifndef HF_BASE_ASSERT_H
#define HF_BASE_ASSERT_H

#include <stdio.h>
#include <stdlib.h>

#define HF_ASSERT(condition)                                                                       \
	do {                                                                                       \
		if (__builtin_expect(!(condition), 0)) {                                           \
			fprintf(stderr, "%s:%d: %s: assertion failed: %s\n", __FILE__, __LINE__,   \
				__func__, #condition);                                             \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

/* Objects that know themselves: a heap object starts with `uint32_t magic`, and every callback that
 * gets it back checks it. */
#define HF_CHECK_MAGIC(object, value) HF_ASSERT((object) != NULL && (object)->magic == (value))

#define HF_STATIC_ASSERT(condition, text) _Static_assert(condition, text)

#endif
