/* See seeds.h. */
#include "tests/sim/seeds.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"

static uint64_t current_seed;

struct plan {
	uint64_t recoveries, seeds, first_seed, step;
	bool verbose;
};

static void aborted(int signal_number)
{
	char text[64];
	int length = snprintf(text, sizeof text, "seed %llu: died of signal %d\n",
			      (unsigned long long)current_seed, signal_number);

	if (write(STDOUT_FILENO, text, (size_t)length) < 0)
		_exit(3);
	_exit(2);
}

/* Exit status: 0, or 1 at the first seed that fails. */
static int run_plan(const struct seeds *seeds, const struct plan *plan)
{
	uint64_t count = 0, recoveries = 0;

	current_seed = plan->first_seed;
	for (; count < plan->seeds && recoveries < plan->recoveries; count++) {
		if (!seeds->run(current_seed, &recoveries))
			return 1;
		if (plan->verbose)
			seeds->print(count + 1);
		current_seed += plan->step;
	}
	seeds->print(count);
	return 0;
}

/* The same work by `jobs` processes, each with seeds of its own. */
static int run_jobs(const struct seeds *seeds, struct plan plan, uint64_t jobs)
{
	int result = 0, status;

	plan.step = jobs;
	plan.recoveries = (plan.recoveries + jobs - 1) / jobs;
	for (uint64_t i = 0; i < jobs; i++) {
		pid_t child = fork();

		if (child == 0) {
			result = run_plan(seeds, &plan);
			fflush(stdout);
			_exit(result);
		}
		if (child < 0)
			return 3;
		plan.first_seed++;
	}
	while (wait(&status) > 0)
		if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
			result = 1;
	return result;
}

static bool option(int argc, char **argv, int *i, const char *name, uint64_t *value)
{
	if (strcmp(argv[*i], name) != 0 || *i + 1 >= argc)
		return false;
	*value = strtoull(argv[++*i], NULL, 10);
	return true;
}

int seeds_main(const struct seeds *seeds, int argc, char **argv)
{
	struct plan plan = {
		.recoveries = seeds->recoveries, .seeds = UINT64_MAX, .first_seed = 1, .step = 1};
	uint64_t jobs = 1;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "-v") == 0) {
			plan.verbose = true;
		} else if (option(argc, argv, &i, "--seed", &plan.first_seed)) {
			plan.seeds = 1;
		} else if (!option(argc, argv, &i, "--recoveries", &plan.recoveries) &&
			   !option(argc, argv, &i, "--from", &plan.first_seed) &&
			   !option(argc, argv, &i, "--jobs", &jobs)) {
			fprintf(stderr,
				"usage: %s [--recoveries N] [--from SEED] [--jobs N] [--seed SEED] "
				"[-v]\n",
				seeds->name);
			return 2;
		}
	}
	setenv("HOLDFAST_LOG", "error", 0);
	hf_log_init(seeds->name);
	signal(SIGABRT, aborted);
	signal(SIGSEGV, aborted);
	return jobs > 1 ? run_jobs(seeds, plan, jobs) : run_plan(seeds, &plan);
}
