/* The common start and end of every daemon (net/daemon.h). Main thread. */
#include "net/daemon.h"

#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

static void print_help(const struct hf_daemon *daemon)
{
	printf("usage: %s --config FILE [--check-config]\n\n%s\n\nKeys of the configuration "
	       "(`key = value`, # starts a comment):\n",
	       daemon->name, daemon->purpose);
	for (const struct hf_conf_key *key = daemon->keys; key->name; key++)
		printf("  %-24s %s%s%s%s\n", key->name, key->help,
		       key->initial ? " (default: " : " (required)",
		       key->initial ? (key->initial[0] ? key->initial : "empty") : "",
		       key->initial ? ")" : "");
	printf("\nOptions:\n  --check-config           read the configuration and end\n"
	       "  --version                print the version and end\n"
	       "  --help                   print this and end\n");
	for (const struct hf_daemon_option *o = daemon->options; o && o->name; o++)
		printf("  %-24s %s\n", o->name, o->help);
}

static bool take_option(const struct hf_daemon *daemon, const char *arg)
{
	for (const struct hf_daemon_option *o = daemon->options; o && o->name; o++)
		if (strcmp(o->name, arg) == 0)
			return *o->given = true;
	return false;
}

int hf_daemon_start(const struct hf_daemon *daemon, int argc, char **argv, void *config)
{
	struct hf_errmsg message = {""};
	const char *path = NULL;
	bool check_only = false;
	int err;

	hf_log_init(daemon->name);
	signal(SIGPIPE, SIG_IGN);
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--help") == 0) {
			print_help(daemon);
			return 0;
		} else if (strcmp(argv[i], "--version") == 0) {
			printf("%s %s\n", daemon->name, HF_VERSION);
			return 0;
		} else if (strcmp(argv[i], "--check-config") == 0) {
			check_only = true;
		} else if (strcmp(argv[i], "--config") == 0 && i + 1 < argc) {
			path = argv[++i];
		} else if (!take_option(daemon, argv[i])) {
			fprintf(stderr, "%s: unknown or incomplete argument `%s`; see %s --help\n",
				daemon->name, argv[i], daemon->name);
			return hf_err_exit_status(HF_EINVAL);
		}
	}
	if (!path) {
		fprintf(stderr, "%s: --config FILE is required; see %s --help\n", daemon->name,
			daemon->name);
		return hf_err_exit_status(HF_EINVAL);
	}
	err = hf_conf_read(path, daemon->keys, config, &message);
	if (!err && daemon->check)
		err = daemon->check(config, &message);
	if (err)
		fprintf(stderr, "%s: %s\n", daemon->name, message.text);
	else if (check_only)
		printf("%s: good\n", path);
	if (err || check_only)
		return hf_err_exit_status(err);
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	return -1;
}

static void signal_caught(uv_signal_t *handle, int number)
{
	struct hf_daemon_signals *signals = handle->data;

	if (signals->stopping)
		_exit(128 + number);
	signals->stopping = true;
	hf_info("stopping");
	signals->stop(signals->context);
}

int hf_daemon_signals_open(uv_loop_t *loop, struct hf_daemon_signals *signals,
			   void (*stop)(void *context), void *context)
{
	signals->stop = stop;
	signals->context = context;
	signals->stopping = false;
	uv_signal_init(loop, &signals->term);
	uv_signal_init(loop, &signals->interrupt);
	signals->term.data = signals->interrupt.data = signals;
	if (uv_signal_start(&signals->term, signal_caught, SIGTERM) != 0 ||
	    uv_signal_start(&signals->interrupt, signal_caught, SIGINT) != 0)
		return HF_EIO;
	uv_unref((uv_handle_t *)&signals->term);
	uv_unref((uv_handle_t *)&signals->interrupt);
	return 0;
}

void hf_daemon_signals_close(struct hf_daemon_signals *signals)
{
	uv_close((uv_handle_t *)&signals->term, NULL);
	uv_close((uv_handle_t *)&signals->interrupt, NULL);
}

int hf_daemon_become(uid_t uid, gid_t gid, struct hf_errmsg *message)
{
	if (setgroups(0, NULL) != 0 || setresgid(gid, gid, gid) != 0 ||
	    setresuid(uid, uid, uid) != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return hf_fail(message, hf_err_from_errno(errno), "becoming uid %u: %s",
			       (unsigned)uid, strerror(errno));
	/* The change of uid has turned it on or off as the system is set up. */
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	return 0;
}

int hf_daemon_private_folder(const char *path, struct hf_errmsg *message)
{
	struct stat st;

	if (mkdir(path, 0700) != 0 && errno != EEXIST)
		return hf_fail(message, hf_err_from_errno(errno), "%s: %s", path, strerror(errno));
	if (stat(path, &st) != 0)
		return hf_fail(message, hf_err_from_errno(errno), "%s: %s", path, strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return hf_fail(message, HF_EINVAL, "%s: not a folder", path);
	if (st.st_uid != geteuid())
		return hf_fail(message, HF_EACCES,
			       "%s: belongs to uid %u, not to this service's %u", path,
			       (unsigned)st.st_uid, (unsigned)geteuid());
	if ((st.st_mode & 077) == 0)
		return 0;
	hf_warn("%s: others could reach it (mode %03o); closing it to 700", path,
		(unsigned)(st.st_mode & 0777));
	if (chmod(path, 0700) != 0)
		return hf_fail(message, hf_err_from_errno(errno), "%s: %s", path, strerror(errno));
	return 0;
}
