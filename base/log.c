/* Lines of base/log.h: built in one buffer and written by one call, so lines of several threads do
 * not mix. */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *const level_names[] = {"debug", "info", "warn", "error"};
static const char *program_name = "holdfast";
static enum hf_log_level least_level = HF_LOG_INFO;

void hf_log_init(const char *program)
{
	const char *wanted = getenv("HOLDFAST_LOG");

	program_name = program;
	for (int i = 0; wanted && i < (int)(sizeof level_names / sizeof level_names[0]); i++)
		if (strcmp(wanted, level_names[i]) == 0)
			least_level = (enum hf_log_level)i;
}

void hf_log_write(enum hf_log_level level, const char *format, ...)
{
	char line[1024];
	struct timespec now;
	struct tm utc;
	va_list args;
	size_t used;
	int n;

	if (level < least_level)
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	used = strftime(line, sizeof line, "%Y-%m-%dT%H:%M:%S", &utc);
	n = snprintf(line + used, sizeof line - used, ".%03ldZ %-5s %s: ", now.tv_nsec / 1000000,
		     level_names[level], program_name);
	used += (size_t)n;
	va_start(args, format);
	n = vsnprintf(line + used, sizeof line - used, format, args);
	va_end(args);
	used += n > 0 ? (size_t)n : 0;
	if (used > sizeof line - 2)
		used = sizeof line - 2;
	/* A peer's text must not forge a line of its own. */
	for (size_t i = 0; i < used; i++)
		if ((unsigned char)line[i] < ' ')
			line[i] = '?';
	line[used++] = '\n';
	if (write(STDERR_FILENO, line, used) < 0)
		return;
}
