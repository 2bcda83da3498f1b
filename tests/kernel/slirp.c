/* Runs a guest kernel behind user-mode networking: slirp FD COMMAND...
 *
 * The command gets descriptor FD, one end of a socket pair that carries Ethernet frames; the other
 * end is libvdeslirp's, whose thread routes them: the guest reaches the host's loopback as
 * 10.0.2.2 and nothing reaches the guest. Ends with the command's exit status; a signal to this
 * process ends the command. Needs no privilege and no kernel module. */
#include <errno.h>
#include <signal.h>
#include <slirp/libvdeslirp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define MTU 9000 /* bytes; larger ones hang */

static int fail(const char *what)
{
	fprintf(stderr, "slirp: %s: %s\n", what, strerror(errno));
	return EXIT_FAILURE;
}

static struct vdeslirp *network_open(void)
{
	SlirpConfig config;

	vdeslirp_init(&config, VDE_INIT_DEFAULT);
	config.in6_enabled = 0;
	config.if_mtu = MTU;
	config.if_mru = MTU;
	return vdeslirp_open(&config);
}

static _Noreturn void run(int from, int to, char **command)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (dup2(from, to) < 0)
		_exit(fail("dup2"));
	execvp(command[0], command);
	_exit(fail(command[0]));
}

int main(int argc, char **argv)
{
	struct vdeslirp *network;
	int status;
	pid_t pid;

	if (argc < 3 || atoi(argv[1]) < 3) {
		fprintf(stderr, "usage: slirp FD COMMAND...\n");
		return EXIT_FAILURE;
	}
	network = network_open();
	if (!network)
		return fail("vdeslirp_open");
	pid = fork();
	if (pid < 0)
		return fail("fork");
	if (pid == 0)
		run(vdeslirp_fd(network), atoi(argv[1]), argv + 2);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return fail("waitpid");
	vdeslirp_close(network);
	return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILURE;
}
