/* What a tgtd that was taken over would try. tests/box/containment.py has the launcher start this
 * program in tgtd's place, and starts it once without a box. Each attempt prints a line, "NAME
 * denied|done REASON"; nothing it does harms anybody but its own process. What it needs to know
 * stands in the file TARGETS, `key value` lines, which lies among the plugins. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/io_uring.h>
#include <linux/netlink.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define TARGETS  "/usr/lib/tgt/backing-store/targets"
#define KEYS_MAX 32

static struct {
	char key[32], value[256];
} targets[KEYS_MAX];

static const char *target(const char *key)
{
	for (int i = 0; i < KEYS_MAX; i++)
		if (strcmp(targets[i].key, key) == 0)
			return targets[i].value;
	return "";
}

static pid_t target_pid(const char *key)
{
	return (pid_t)strtol(target(key), NULL, 10);
}

static void read_targets(void)
{
	const char *named = getenv("HOLDFAST_PROBE_TARGETS");
	FILE *file = fopen(named ? named : TARGETS, "re");

	if (!file)
		exit(2);
	for (int i = 0; i < KEYS_MAX; i++)
		if (fscanf(file, "%31s %255s", targets[i].key, targets[i].value) != 2)
			break;
	fclose(file);
}

/* ---- Attempts: 0 when it worked, -1 with errno when not ---- */

static int try_open(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0600);

	if (fd < 0)
		return -1;
	close(fd);
	if (flags & O_CREAT)
		unlink(path);
	return 0;
}

static int try_connect_unix(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0), result;

	snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
	result = connect(fd, (struct sockaddr *)&address, sizeof address);
	close(fd);
	return result;
}

static int try_connect_abstract(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0), result;

	strcpy(address.sun_path + 1, target("abstract"));
	result = connect(fd, (struct sockaddr *)&address,
			 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
				     strlen(target("abstract"))));
	close(fd);
	return result;
}

static int try_tcp(const char *key, int (*attempt)(int, const struct sockaddr *, socklen_t))
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	int fd = socket(AF_INET, SOCK_STREAM, 0), result;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	address.sin_port = htons((uint16_t)strtoul(target(key), NULL, 10));
	result = attempt(fd, (struct sockaddr *)&address, sizeof address);
	close(fd);
	return result;
}

static int try_fast_open(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	ssize_t sent;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	address.sin_port = htons((uint16_t)strtoul(target("port"), NULL, 10));
	sent = sendto(fd, "x", 1, MSG_FASTOPEN, (struct sockaddr *)&address, sizeof address);
	close(fd);
	return sent == 1 ? 0 : -1;
}

static int try_socket(int family, int type, int protocol)
{
	int fd = socket(family, type, protocol);

	if (fd < 0)
		return -1;
	close(fd);
	return 0;
}

/* In a child where that is possible, so that this program goes on. */
static int try_exec(void)
{
	char name[] = "probe", option[] = "--exec";
	char *const arguments[] = {name, option, NULL}, *const nothing[] = {NULL};
	int status;
	pid_t child = fork();

	if (child == 0) {
		execve(target("program"), arguments, nothing);
		_exit(1);
	}
	if (child < 0) /* then in this one: if it works, the lines after this are missing */
		return execve(target("program"), arguments, nothing);
	waitpid(child, &status, 0);
	errno = EPERM;
	return WIFEXITED(status) && WEXITSTATUS(status) == 42 ? 0 : -1;
}

static int try_fork(void)
{
	pid_t child = fork();

	if (child == 0)
		_exit(0);
	if (child > 0)
		waitpid(child, NULL, 0);
	return child < 0 ? -1 : 0;
}

static int try_user_namespace(void)
{
	int status;
	pid_t child = fork();

	if (child == 0)
		_exit(unshare(CLONE_NEWUSER) == 0 ? 0 : 1);
	if (child < 0)
		return unshare(CLONE_NEWUSER);
	waitpid(child, &status, 0);
	errno = EPERM;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -1;
}

static int try_ptrace(pid_t pid)
{
	if (ptrace(PTRACE_SEIZE, pid, NULL, NULL) != 0)
		return -1;
	kill(pid, SIGSTOP); /* one must stop to be let go */
	waitpid(pid, NULL, __WALL);
	ptrace(PTRACE_DETACH, pid, NULL, NULL);
	kill(pid, SIGCONT);
	return 0;
}

static int try_memory_of(pid_t pid)
{
	char byte;
	struct iovec local = {&byte, 1}, remote = {(void *)strtoul(target("address"), NULL, 0), 1};

	return process_vm_readv(pid, &local, 1, &remote, 1, 0) == 1 ? 0 : -1;
}

static int try_mount(void)
{
	if (unshare(CLONE_NEWNS) != 0 || mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
		return -1;
	return mount("tmpfs", "/usr", "tmpfs", 0, NULL) == 0 ? umount("/usr") : -1;
}

static int try_code(int flags_first)
{
	void *page = mmap(NULL, 4096, flags_first, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int result;

	if (page == MAP_FAILED)
		return -1;
	result = mprotect(page, 4096, PROT_READ | PROT_EXEC);
	munmap(page, 4096);
	return result;
}

static int try_more_files(void)
{
	struct rlimit limit;

	getrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_max < 4)
		return -1;
	limit.rlim_max = 4097;
	limit.rlim_cur = 4097;
	return setrlimit(RLIMIT_NOFILE, &limit);
}

static int try_ring(void)
{
	struct io_uring_params parameters = {0};
	long fd = syscall(SYS_io_uring_setup, 1, &parameters);

	if (fd < 0)
		return -1;
	close((int)fd);
	return 0;
}

static int try_shared_memory(void)
{
	int id = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);

	return id < 0 ? -1 : shmctl(id, IPC_RMID, NULL);
}

static void tell(const char *name, int result)
{
	printf("%s %s %s\n", name, result == 0 ? "done" : "denied",
	       result == 0 ? "-" : strerrorname_np(errno));
	fflush(stdout);
}

static void attempt_files(void)
{
	char path[300];

	tell("open_state", try_open(target("state"), O_RDONLY | O_DIRECTORY));
	tell("read_volume_key", try_open(target("volume_key"), O_RDONLY));
	tell("read_identity_key", try_open(target("identity_key"), O_RDONLY));
	tell("read_passwd", try_open("/etc/passwd", O_RDONLY));
	tell("list_processes", try_open("/proc/1/status", O_RDONLY));
	tell("write_root", try_open("/written", O_WRONLY | O_CREAT));
	tell("write_tmp", try_open("/tmp/written", O_WRONLY | O_CREAT));
	tell("write_dev_shm", try_open("/dev/shm/written", O_WRONLY | O_CREAT));
	snprintf(path, sizeof path, "%s/written", target("run"));
	tell("write_run_dir", try_open(path, O_WRONLY | O_CREAT));
	tell("write_plugin", try_open(target("plugin"), O_WRONLY));
	tell("write_ring_dir", try_open(target("in_ring_dir"), O_WRONLY | O_CREAT));
	tell("replace_ring_socket", rename(target("ring_decoy"), target("ring_socket")));
	tell("write_core_pattern", try_open("/proc/sys/kernel/core_pattern", O_WRONLY));
}

static void attempt_others(void)
{
	tell("connect_volumed", try_connect_unix(target("volumed")));
	tell("connect_agent", try_connect_unix(target("agent")));
	tell("connect_broker", try_connect_unix(target("broker")));
	tell("connect_abstract", try_connect_abstract());
	tell("connect_tcp", try_tcp("port", connect));
	tell("connect_by_fast_open", try_fast_open());
	tell("listen_elsewhere", try_tcp("free_port", bind));
	tell("ptrace_broker", try_ptrace(target_pid("broker_pid")));
	tell("read_memory_of_broker", try_memory_of(target_pid("broker_pid")));
	tell("signal_broker", kill(target_pid("broker_pid"), SIGCONT));
	tell("signal_volumed", kill(target_pid("volumed_pid"), SIGCONT));
	tell("raw_socket", try_socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
	tell("packet_socket", try_socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL)));
	tell("netlink_socket", try_socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE));
	tell("udp_socket", try_socket(AF_INET, SOCK_DGRAM, 0));
	tell("mptcp_socket", try_socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP));
}

static void attempt_kernel(void)
{
	tell("fork", try_fork());
	tell("user_namespace", try_user_namespace());
	tell("mount", try_mount());
	tell("chroot", chroot("/"));
	tell("become_root", setresuid(0, 0, 0));
	tell("raise_limit", try_more_files());
	tell("shared_memory", try_shared_memory());
	tell("io_uring", try_ring());
	tell("executable_memory", try_code(PROT_READ | PROT_WRITE));
	tell("exec", try_exec());
}

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "--exec") == 0)
		return 42;
	read_targets();
	attempt_files();
	attempt_others();
	attempt_kernel();
	tell("write_own_folder", try_open(target("own"), O_WRONLY | O_CREAT));
	printf("end\n");
	return 0;
}
