/* How the threads of this machine share its processors. Hints: Linux 6.12 and later take the
 * runtime of an ordinary thread as the length of its turns. Where it is not taken, nothing changes.
 */
#ifndef HF_BASE_THREAD_H
#define HF_BASE_THREAD_H

/* The calling thread does little each time it wakes, and others wait for it: short turns, so that
 * it gets the processor soon, and not a larger share of it. */
void hf_thread_is_hasty(void);

/* The calling thread works for long, and nobody waits for it: it gives way soon, and where others
 * are ready to run it gets a ninth of what they get. An unprivileged thread cannot take that back.
 * Calls after the first cost nothing. */
void hf_thread_gives_way(void);

#endif
