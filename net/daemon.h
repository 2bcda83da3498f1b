/* What every daemon does the same way: its command line (--config FILE,
 * --check-config, --version, --help), ignoring SIGPIPE, ending cleanly on SIGTERM and SIGINT. Each
 * holds keys or secrets in its memory: no core dump, no ptrace by its uid. Main thread only. */
#ifndef HF_NET_DAEMON_H
#define HF_NET_DAEMON_H

#include <stdbool.h>
#include <uv.h>

#include "base/conf.h"

struct hf_daemon_option {
	const char *name; /* such as "--new-incarnation"; a flag without a value */
	const char *help;
	bool *given;
};

struct hf_daemon {
	const char *name;                       /* of the program */
	const char *purpose;                    /* one line for --help */
	const struct hf_conf_key *keys;         /* of its configuration file */
	const struct hf_daemon_option *options; /* further flags, ends with a NULL name; or NULL */
	/* What the table of keys cannot say, also for --check-config; may fill in defaults. 0 or
	 * HF_E… with the reason. Or NULL. */
	int (*check)(void *config, struct hf_errmsg *message);
};

/* Reads the command line and the configuration into `config`. Returns -1 to go on, or the exit
 * status with which the program is to end now (help, version, a checked or a bad configuration;
 * everything has been said). */
int hf_daemon_start(const struct hf_daemon *daemon, int argc, char **argv, void *config);

/* Calls `stop` once, on the first SIGTERM or SIGINT; a second one ends the process at once. */
struct hf_daemon_signals {
	uv_signal_t term, interrupt;
	void (*stop)(void *context);
	void *context;
	bool stopping;
};
int hf_daemon_signals_open(uv_loop_t *loop, struct hf_daemon_signals *signals,
			   void (*stop)(void *context), void *context);
void hf_daemon_signals_close(struct hf_daemon_signals *signals);

/* From now on another uid and gid without privileges, for good; what is open stays. 0 or HF_E… . */
int hf_daemon_become(uid_t uid, gid_t gid, struct hf_errmsg *message);

/* Makes a folder (and not its parents) with mode 0700, or closes the one there to others. HF_EACCES
 * if it belongs to somebody else. */
int hf_daemon_private_folder(const char *path, struct hf_errmsg *message);

#endif
