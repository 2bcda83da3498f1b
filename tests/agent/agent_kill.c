/* Kills the agent at one call of one function: "function:before|after:count" in HOLDFAST_KILL_AT.
 * The linker puts these in front of the real ones (--wrap) in the program that the tests run; none
 * of it is in what is shipped. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gateway/agent/actions_internal.h"
#include "proto/session.h"

static void reached(const char *function, const char *when)
{
	static unsigned count;
	const char *wanted = getenv("HOLDFAST_KILL_AT");
	char name[64], at[16];
	unsigned number;

	if (!wanted || sscanf(wanted, "%63[^:]:%15[^:]:%u", name, at, &number) != 3 ||
	    strcmp(name, function) != 0 || strcmp(at, when) != 0)
		return;
	if (++count == number)
		raise(SIGKILL);
}

#define WRAP(type, function, parameters, arguments)                                                \
	type __real_##function parameters;                                                         \
	type __wrap_##function parameters;                                                         \
	type __wrap_##function parameters                                                          \
	{                                                                                          \
		type wrapped;                                                                      \
                                                                                                   \
		reached(#function, "before");                                                      \
		wrapped = __real_##function arguments;                                             \
		reached(#function, "after");                                                       \
		return wrapped;                                                                    \
	}

WRAP(int, hf_journal_begin,
     (struct hf_journal * journal, const struct hf_journal_action *action,
      struct hf_errmsg *message),
     (journal, action, message))
WRAP(int, hf_journal_finish,
     (struct hf_journal * journal, uint64_t action, const struct hf_journal_result *result,
      struct hf_errmsg *message),
     (journal, action, result, message))
WRAP(int, hf_journal_settle,
     (struct hf_journal * journal, const struct hf_journal_action *action,
      const struct hf_journal_result *result, struct hf_errmsg *message),
     (journal, action, result, message))
WRAP(int, hf_journal_forget,
     (struct hf_journal * journal, uint64_t action, struct hf_errmsg *message),
     (journal, action, message))
WRAP(int, hf_session_answer, (struct hf_session * session, const Holdfast__Answer *answer),
     (session, answer))
WRAP(int, hf_answer_read,
     (bool volumed, const uint8_t *bytes, size_t length, struct hf_errmsg *message),
     (volumed, bytes, length, message))
WRAP(int, hf_request_restart,
     (bool volumed, const uint8_t *boot, size_t boot_length, uint64_t action, uint8_t **bytes,
      size_t *length),
     (volumed, boot, boot_length, action, bytes, length))
WRAP(int, hf_kept_set_newest,
     (const struct hf_kept *kept, const struct hf_kept_newest *newest, struct hf_errmsg *message),
     (kept, newest, message))
WRAP(int, hf_kept_set_document,
     (const struct hf_kept *kept, const Holdfast__Signed *packet, struct hf_errmsg *message),
     (kept, packet, message))
WRAP(int, hf_kept_set_network,
     (const struct hf_kept *kept, const Holdfast__KeptNetwork *state, struct hf_errmsg *message),
     (kept, state, message))
WRAP(int, hf_kept_set_deleted,
     (const struct hf_kept *kept, const struct hf_deleted *deleted, struct hf_errmsg *message),
     (kept, deleted, message))
WRAP(int, hf_kept_set_left,
     (const struct hf_kept *kept, const Holdfast__Document *left, struct hf_errmsg *message),
     (kept, left, message))
WRAP(int, fdatasync, (int fd), (fd))
