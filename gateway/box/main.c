/* holdfast-tgtd-box: starts tgtd in its box and stays outside as its parent. It hands on what tgtd
 * says, agrees to the start of tgtd and to no other, and ends when tgtd does; when it ends itself,
 * tgtd is killed. One thread; the child goes through the steps of box.h and becomes tgtd. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <linux/close_range.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "gateway/box/box.h"
#include "net/daemon.h"

#define LOCK_TRIES   500u
#define LOCK_WAIT_US 20000u

#define KEY(kind, key, field, value, text, ...)                                                    \
	{                                                                                          \
		.name = (key), .type = HF_CONF_##kind,                                             \
		.offset = offsetof(struct hf_box_config, field), .initial = (value),               \
		.help = (text), __VA_ARGS__                                                        \
	}

static const struct hf_conf_key keys[] = {
	KEY(TEXT, "folder", folder, NULL, "of this tgtd alone: its management socket"),
	KEY(TEXT, "ring_dir", ring_dir, NULL, "with volumed's ring.sock and nothing else"),
	KEY(TEXT, "plugin_dir", plugin_dir, NULL, "with bs_holdfast.so and nothing else"),
	KEY(TEXT, "program", program, "/usr/sbin/tgtd", "what to start"),
	KEY(NUMBER, "control", control, NULL, "tgtd's control number; the socket is FOLDER/tgt.N",
	    1, HF_BOX_CONTROL_MAX),
	KEY(TEXT, "boot_portal", boot_portal, NULL,
	    "addr:port that tgtd opens first and the agent closes; never its portal"),
	KEY(TEXT, "portals", portals, "", "addr:port, … that it may open later; empty: any"),
	KEY(NUMBER, "uid", uid, NULL, "that tgtd and its broker run as, nobody else", 1,
	    UINT32_MAX - 1),
	KEY(NUMBER, "gid", gid, NULL, "the same for the group", 1, UINT32_MAX - 1),
	KEY(SIZE, "memory_max", memory_max_bytes, "2GiB", "private memory", 64u << 20, 1ull << 40),
	KEY(NUMBER, "files_max", files_max, "4096", "open files; two a session", 64, 1u << 20),
	KEY(NUMBER, "landlock_least", landlock_least, "0",
	    "refuse to start below this version of Landlock", 0, 64),
	{NULL},
};

static int check(void *context, struct hf_errmsg *message)
{
	struct hf_box_config *config = context;
	const char *const paths[] = {config->folder, config->ring_dir, config->plugin_dir,
				     config->program};

	for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
		if (paths[i][0] != '/')
			return hf_fail(message, HF_EINVAL, "`%.60s` is no absolute path", paths[i]);
	if (strlen(config->folder) > HF_BOX_FOLDER_MAX)
		return hf_fail(message, HF_EINVAL, "folder is longer than %u bytes",
			       HF_BOX_FOLDER_MAX);
	return 0;
}

struct box {
	const struct hf_box_config *config;
	struct hf_box_needs needs;
	int landlock;
	int lock;      /* held by tgtd too, so that its end is known */
	int output[2]; /* what tgtd says */
	int listener[2];
	int alive[2];
	pid_t child;
};

static int failed(struct hf_errmsg *message, const char *what)
{
	int code = errno;

	return hf_fail(message, hf_err_from_errno(code), "%s: %s", what, strerror(code));
}

/* ---- The child ---- */

static int send_listener(int socket, int listener, struct hf_errmsg *message)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof listener)];
	} control = {0};
	char zero = 0;
	struct iovec byte = {&zero, 1};
	struct msghdr handed = {.msg_iov = &byte,
				.msg_iovlen = 1,
				.msg_control = &control,
				.msg_controllen = sizeof control};

	control.header = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof listener),
					  .cmsg_level = SOL_SOCKET,
					  .cmsg_type = SCM_RIGHTS};
	memcpy(CMSG_DATA(&control.header), &listener, sizeof listener);
	if (sendmsg(socket, &handed, 0) != 1)
		return failed(message, "handing over the filter");
	close(listener);
	return 0;
}

/* Dies with its parent, also if that has died already. */
static int follow_parent(const struct box *box, struct hf_errmsg *message)
{
	struct pollfd parent = {.fd = box->alive[0]};

	if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
		return failed(message, "following the launcher");
	return poll(&parent, 1, 0) == 0 ? 0 : HF_ECANCELED;
}

static int take_streams(const struct box *box, struct hf_errmsg *message)
{
	int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (nothing < 0 || dup2(nothing, STDIN_FILENO) < 0 ||
	    dup2(box->output[1], STDOUT_FILENO) < 0 || dup2(box->output[1], STDERR_FILENO) < 0)
		return failed(message, "/dev/null");
	/* Whatever our own parent left open is not for tgtd. */
	if (syscall(SYS_close_range, 3u, ~0u, CLOSE_RANGE_CLOEXEC) != 0)
		return failed(message, "closing what is open");
	return 0;
}

/* Of the environment only what is the plugin's. */
static void set_environment(void)
{
	char **from = environ, **to = environ;

	for (; *from; from++)
		if (strncmp(*from, "HOLDFAST_", 9) == 0)
			*to++ = *from;
	*to = NULL;
	setenv("TGT_IPC_SOCKET", HF_BOX_RUN "/tgt", 1);
	setenv("HOLDFAST_RING_SOCKET", HF_BOX_RING "/ring.sock", 1);
	/* Loaded first, the plugin also stands in for some of the C library (target/preload.c). */
	setenv("LD_PRELOAD", HF_BOX_PLUGINS "/bs_holdfast.so", 1);
}

static int enter(struct box *box, struct hf_errmsg *message)
{
	int listener, err = 0;

	if (unshare(CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP) != 0)
		return failed(message, "namespaces of its own are needed");
	set_environment();
	err = hf_box_root_enter(box->config, &box->needs, message);
	if (!err)
		err = take_streams(box, message);
	if (!err)
		err = hf_box_limits_set(box->config, message);
	if (!err)
		err = hf_box_identity_drop(box->config, message);
	if (!err && (access(HF_BOX_PLUGINS, R_OK | X_OK) != 0 || access(HF_BOX_RING, X_OK) != 0))
		err = failed(message, "uid cannot enter plugin_dir or ring_dir");
	if (!err)
		err = follow_parent(box, message);
	if (!err)
		err = hf_box_landlock_enter(box->config, box->landlock, message);
	if (!err)
		err = hf_box_filter_enter(&listener, message);
	return err ? err : send_listener(box->listener[1], listener, message);
}

static _Noreturn void become_tgtd(struct box *box)
{
	struct hf_errmsg message = {""};
	char control[16], portal[128];
	sigset_t none;
	int err;

	close(box->output[0]);
	close(box->listener[0]);
	close(box->alive[1]);
	err = enter(box, &message);
	if (err) {
		hf_error("the box cannot be made: %s", message.text);
		_exit(hf_err_exit_status(err));
	}
	snprintf(control, sizeof control, "%u", (unsigned)box->config->control);
	snprintf(portal, sizeof portal, "portal=%s", box->config->boot_portal);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	/* The lock goes with it; everything else is closed on exec. */
	fcntl(box->lock, F_SETFD, 0);
	execl(box->config->program, "tgtd", "-f", "-C", control, "--iscsi", portal, (char *)NULL);
	hf_error("%s: %s", box->config->program, strerror(errno));
	_exit(hf_err_exit_status(HF_EIO));
}

/* ---- The launcher ---- */

/* One tgtd a folder. The one before may take a moment to end: it holds the lock until then. */
static int take_lock(struct box *box, struct hf_errmsg *message)
{
	char path[HF_BOX_FOLDER_MAX + 16];

	snprintf(path, sizeof path, "%s.lock", box->config->folder);
	box->lock = open(path, O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (box->lock < 0)
		return failed(message, path);
	for (unsigned tries = 0; tries < LOCK_TRIES; tries++) {
		if (flock(box->lock, LOCK_EX | LOCK_NB) == 0)
			return 0;
		usleep(LOCK_WAIT_US);
	}
	return hf_fail(message, HF_EBUSY, "%s: another tgtd uses it", box->config->folder);
}

static int start(struct box *box, struct hf_errmsg *message)
{
	if (pipe2(box->output, O_CLOEXEC) != 0 || pipe2(box->alive, O_CLOEXEC) != 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, box->listener) != 0)
		return failed(message, "pipes");
	if (unshare(CLONE_NEWPID) != 0)
		return failed(message, "process numbers of its own are needed");
	box->child = fork();
	if (box->child < 0)
		return failed(message, "fork");
	if (box->child == 0)
		become_tgtd(box);
	close(box->output[1]);
	close(box->listener[1]);
	close(box->alive[0]);
	return 0;
}

static int receive_listener(int socket)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {0};
	char byte;
	struct iovec vector = {&byte, 1};
	struct msghdr taken = {.msg_iov = &vector,
			       .msg_iovlen = 1,
			       .msg_control = &control,
			       .msg_controllen = sizeof control};
	int listener = -1;

	if (recvmsg(socket, &taken, MSG_CMSG_CLOEXEC) == 1 &&
	    taken.msg_controllen == sizeof control && control.header.cmsg_type == SCM_RIGHTS)
		memcpy(&listener, CMSG_DATA(&control.header), sizeof listener);
	return listener;
}

/* What tgtd says goes through us, so that it holds no descriptor of a journal it could cut. */
static bool pass_on(int from)
{
	char text[4096];
	ssize_t length = read(from, text, sizeof text);

	for (ssize_t at = 0, put; at < length; at += put) {
		put = write(STDERR_FILENO, text + at, (size_t)(length - at));
		if (put <= 0)
			break;
	}
	return length > 0;
}

static int status_of(int status)
{
	if (WIFSIGNALED(status)) {
		hf_warn("tgtd was ended by signal %d", WTERMSIG(status));
		return 128 + WTERMSIG(status);
	}
	hf_info("tgtd ended with %d", WEXITSTATUS(status));
	return WEXITSTATUS(status);
}

static int watch(struct box *box, int signals)
{
	enum { OUTPUT, LISTENER, SIGNALS, COUNT };
	struct pollfd watched[COUNT] = {
		{box->output[0], POLLIN, 0}, {box->listener[0], POLLIN, 0}, {signals, POLLIN, 0}};
	bool handed = false;
	int started = 0, status = 0;

	for (;;) {
		struct signalfd_siginfo info;

		if (poll(watched, COUNT, -1) < 0 && errno != EINTR)
			break;
		if (watched[OUTPUT].revents && !pass_on(box->output[0]))
			watched[OUTPUT].fd = -1;
		if (watched[LISTENER].revents && handed) {
			hf_box_filter_answer(watched[LISTENER].fd, &started);
		} else if (watched[LISTENER].revents) {
			watched[LISTENER].fd = receive_listener(box->listener[0]);
			handed = true;
		}
		if (handed && watched[LISTENER].revents & (POLLHUP | POLLERR))
			watched[LISTENER].fd = -1;
		if (!watched[SIGNALS].revents ||
		    read(signals, &info, sizeof info) != (ssize_t)sizeof info)
			continue;
		if (info.ssi_signo != SIGCHLD)
			kill(box->child, SIGKILL); /* tgtd ignores SIGTERM and keeps nothing */
		else if (waitpid(box->child, &status, WNOHANG) == box->child)
			break;
	}
	while (watched[OUTPUT].fd >= 0 && pass_on(box->output[0]))
		;
	return status_of(status);
}

static int prepare(struct box *box, struct hf_errmsg *message)
{
	const char *gap;
	int err;

	if (geteuid() != 0)
		return hf_fail(message, HF_EACCES,
			       "only root can make the box; tgtd itself runs as uid %u",
			       (unsigned)box->config->uid);
	box->landlock = hf_box_landlock_version();
	if ((uint64_t)box->landlock < box->config->landlock_least)
		return hf_fail(message, HF_EUNSUPPORTED,
			       "this kernel has version %d of Landlock (0: none, or not turned "
			       "on), landlock_least asks for %u",
			       box->landlock, (unsigned)box->config->landlock_least);
	gap = hf_box_landlock_gap(box->landlock);
	if (gap)
		hf_warn("this kernel has version %d of Landlock (0: none, or not turned on), so %s",
			box->landlock, gap);
	err = hf_box_folder_make(box->config, message);
	if (!err)
		err = take_lock(box, message);
	return err ? err : hf_box_needs_find(box->config, &box->needs, message);
}

static int run(const struct hf_box_config *config)
{
	struct box box = {.config = config};
	struct hf_errmsg message = {""};
	sigset_t waited;
	int signals, err;

	sigemptyset(&waited);
	sigaddset(&waited, SIGCHLD);
	sigaddset(&waited, SIGTERM);
	sigaddset(&waited, SIGINT);
	err = prepare(&box, &message); /* its own children are waited for there */
	sigprocmask(SIG_BLOCK, &waited, NULL);
	signals = signalfd(-1, &waited, SFD_CLOEXEC);
	if (!err)
		err = signals < 0 ? failed(&message, "signals") : start(&box, &message);
	hf_box_needs_free(&box.needs);
	if (err) {
		hf_error("%s", message.text);
		return hf_err_exit_status(err);
	}
	hf_info("tgtd starts as uid %u, process %d", (unsigned)config->uid, (int)box.child);
	return watch(&box, signals);
}

int main(int argc, char **argv)
{
	static const struct hf_daemon daemon = {
		.name = "holdfast-tgtd-box",
		.purpose = "Starts tgtd where it can do no more than serve iSCSI.",
		.keys = keys,
		.check = check,
	};
	struct hf_box_config config = {0};
	int status = hf_daemon_start(&daemon, argc, argv, &config);

	if (status < 0)
		status = run(&config);
	hf_conf_free(keys, &config);
	return status;
}
