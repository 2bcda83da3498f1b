/* Which system calls tgtd may make: a list of what it, its C library and the plugin use; everything
 * else answers EPERM. Calls without conditions come first: the kernel remembers for them that the
 * filter always allows (since 5.11), so that they cost next to nothing. Starting a program is put
 * to the launcher (seccomp's user notification), who agrees once: to tgtd itself. */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <sched.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/assert.h"
#include "gateway/box/box.h"

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#else
#error "target/tgt_abi.h and this filter know x86-64 only"
#endif
#define X32_BIT      0x40000000u
#define PROGRAM_MAX  512u
#define SOCKET_TYPES 0xfu /* without SOCK_NONBLOCK and SOCK_CLOEXEC */

static const int allowed[] = {
	/* Every command. */
	SYS_epoll_wait,
	SYS_epoll_ctl,
	SYS_epoll_pwait,
	SYS_read,
	SYS_write,
	SYS_readv,
	SYS_writev,
	SYS_recvmsg,
	SYS_recvfrom,
	SYS_futex,
	SYS_timerfd_settime,
	/* Memory, threads, time. */
	SYS_brk,
	SYS_munmap,
	SYS_mremap,
	SYS_madvise,
	SYS_membarrier,
	SYS_set_robust_list,
	SYS_rseq,
	SYS_set_tid_address,
	SYS_gettid,
	SYS_getpid,
	SYS_getppid,
	SYS_sched_yield,
	SYS_sched_getaffinity,
	SYS_exit,
	SYS_exit_group,
	SYS_restart_syscall,
	SYS_arch_prctl,
	SYS_clock_gettime,
	SYS_clock_getres,
	SYS_clock_nanosleep,
	SYS_nanosleep,
	SYS_gettimeofday,
	SYS_time,
	SYS_setitimer,
	SYS_getitimer,
	SYS_timerfd_create,
	SYS_timerfd_gettime,
	SYS_getrandom,
	SYS_sysinfo,
	SYS_uname,
	/* Signals: only itself is there to be reached. */
	SYS_rt_sigaction,
	SYS_rt_sigprocmask,
	SYS_rt_sigreturn,
	SYS_rt_sigtimedwait,
	SYS_sigaltstack,
	SYS_kill,
	SYS_tgkill,
	/* Descriptors. */
	SYS_close,
	SYS_fcntl,
	SYS_ioctl,
	SYS_dup,
	SYS_dup2,
	SYS_dup3,
	SYS_pipe,
	SYS_pipe2,
	SYS_poll,
	SYS_ppoll,
	SYS_select,
	SYS_pselect6,
	SYS_eventfd2,
	SYS_signalfd4,
	SYS_epoll_create,
	SYS_epoll_create1,
	SYS_memfd_create,
	SYS_preadv2,
	SYS_pread64,
	SYS_pwrite64,
	SYS_preadv,
	SYS_pwritev,
	SYS_lseek,
	SYS_ftruncate,
	SYS_fallocate,
	/* Files, as far as there are any. */
	SYS_open,
	SYS_openat,
	SYS_stat,
	SYS_fstat,
	SYS_lstat,
	SYS_newfstatat,
	SYS_statx,
	SYS_statfs,
	SYS_access,
	SYS_faccessat,
	SYS_faccessat2,
	SYS_readlink,
	SYS_readlinkat,
	SYS_getdents64,
	SYS_unlink,
	SYS_mkdir,
	SYS_flock,
	SYS_getcwd,
	SYS_umask,
	/* Sockets, once made. */
	SYS_bind,
	SYS_connect,
	SYS_listen,
	SYS_accept,
	SYS_accept4,
	SYS_getsockname,
	SYS_getpeername,
	SYS_setsockopt,
	SYS_getsockopt,
	SYS_shutdown,
	/* Who am I. */
	SYS_getuid,
	SYS_geteuid,
	SYS_getgid,
	SYS_getegid,
	SYS_getrlimit,
	SYS_setrlimit,
};

struct program {
	struct sock_filter code[PROGRAM_MAX];
	unsigned short length;
};

static void add(struct program *p, unsigned short code, uint32_t k, unsigned char yes,
		unsigned char no)
{
	HF_ASSERT(p->length < PROGRAM_MAX);
	p->code[p->length++] = (struct sock_filter){code, yes, no, k};
}

static void load(struct program *p, size_t offset)
{
	add(p, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0);
}

/* The low half of an argument; none that is looked at needs more. */
static void load_argument(struct program *p, unsigned index)
{
	load(p, offsetof(struct seccomp_data, args) + index * sizeof(uint64_t));
}

static void give(struct program *p, uint32_t answer)
{
	add(p, BPF_RET | BPF_K, answer, 0, 0);
}

/* If the loaded value is `value`, the answer is this. */
static void give_if(struct program *p, uint32_t value, uint32_t answer)
{
	add(p, BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1);
	give(p, answer);
}

static void give_if_any(struct program *p, uint32_t bits, uint32_t answer)
{
	add(p, BPF_JMP | BPF_JSET | BPF_K, bits, 0, 1);
	give(p, answer);
}

/* Begins what is said of one call; with conditions_end, which every path of it ends before. */
static unsigned short conditions_begin(struct program *p, int call)
{
	add(p, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)call, 0, 0);
	return (unsigned short)(p->length - 1);
}

static void conditions_end(struct program *p, unsigned short begun)
{
	HF_ASSERT(p->length - begun - 1 <= 255);
	p->code[begun].jf = (unsigned char)(p->length - begun - 1);
}

#define ALLOW  SECCOMP_RET_ALLOW
#define REFUSE (SECCOMP_RET_ERRNO | EPERM)

/* Pairs can be had of other families too, whose code the kernel would load for it. */
static void add_pair(struct program *p)
{
	unsigned short begun = conditions_begin(p, SYS_socketpair);

	load_argument(p, 0);
	give_if(p, AF_UNIX, ALLOW);
	give(p, REFUSE);
	conditions_end(p, begun);
}

/* Unix sockets, and TCP. */
static void add_socket(struct program *p)
{
	unsigned short begun = conditions_begin(p, SYS_socket);

	load_argument(p, 0);
	give_if(p, AF_UNIX, ALLOW);
	add(p, BPF_JMP | BPF_JEQ | BPF_K, AF_INET, 1, 0);
	add(p, BPF_JMP | BPF_JEQ | BPF_K, AF_INET6, 0, 3); /* past 3: refuse */
	load_argument(p, 1);
	add(p, BPF_ALU | BPF_AND | BPF_K, SOCKET_TYPES, 0, 0);
	add(p, BPF_JMP | BPF_JEQ | BPF_K, SOCK_STREAM, 1, 0);
	give(p, REFUSE);
	load_argument(p, 2); /* Landlock looks at TCP only, not at MPTCP or SCTP */
	give_if(p, 0, ALLOW);
	give_if(p, IPPROTO_TCP, ALLOW);
	give(p, REFUSE);
	conditions_end(p, begun);
}

/* A connection that begins with its first data does not pass by connect(). */
static void add_send(struct program *p, int call, unsigned flags)
{
	unsigned short begun = conditions_begin(p, call);

	load_argument(p, flags);
	give_if_any(p, MSG_FASTOPEN, REFUSE);
	give(p, ALLOW);
	conditions_end(p, begun);
}

/* Threads, but no processes. clone3 hides its flags behind a pointer; without it the C library
 * falls back to clone. */
static void add_clone(struct program *p)
{
	unsigned short begun = conditions_begin(p, SYS_clone);

	load_argument(p, 0);
	give_if_any(p, CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID, REFUSE);
	give_if_any(p, CLONE_THREAD, ALLOW);
	give(p, REFUSE);
	conditions_end(p, begun);
	give_if(p, SYS_clone3, SECCOMP_RET_ERRNO | ENOSYS);
}

/* What is written is not executed: code comes from files, which cannot be written here. */
static void add_memory(struct program *p)
{
	unsigned short begun = conditions_begin(p, SYS_mmap);

	load_argument(p, 2);
	add(p, BPF_JMP | BPF_JSET | BPF_K, PROT_EXEC, 1, 0);
	give(p, ALLOW);
	give_if_any(p, PROT_WRITE, REFUSE);
	load_argument(p, 3);
	give_if_any(p, MAP_ANONYMOUS, REFUSE);
	give(p, ALLOW);
	conditions_end(p, begun);
	begun = conditions_begin(p, SYS_mprotect);
	load_argument(p, 2);
	give_if_any(p, PROT_EXEC, REFUSE);
	give(p, ALLOW);
	conditions_end(p, begun);
}

static void add_rest(struct program *p)
{
	unsigned short begun = conditions_begin(p, SYS_prctl);

	load_argument(p, 0);
	give_if(p, PR_SET_NAME, ALLOW);
	give(p, REFUSE);
	conditions_end(p, begun);
	/* Of itself; others are not to be seen anyway. */
	begun = conditions_begin(p, SYS_prlimit64);
	load_argument(p, 0);
	give_if(p, 0, ALLOW);
	give(p, REFUSE);
	conditions_end(p, begun);
	give_if(p, SYS_execve, SECCOMP_RET_USER_NOTIF);
}

static void build(struct program *p)
{
	p->length = 0;
	load(p, offsetof(struct seccomp_data, arch));
	add(p, BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0);
	give(p, SECCOMP_RET_KILL_PROCESS);
	load(p, offsetof(struct seccomp_data, nr));
	add(p, BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 0, 1);
	give(p, SECCOMP_RET_KILL_PROCESS);
	for (size_t i = 0; i < sizeof allowed / sizeof allowed[0]; i++)
		give_if(p, (uint32_t)allowed[i], ALLOW);
	add_socket(p);
	add_pair(p);
	add_send(p, SYS_sendto, 3);
	add_send(p, SYS_sendmsg, 2);
	add_clone(p);
	add_memory(p);
	add_rest(p);
	give(p, REFUSE);
}

int hf_box_filter_enter(int *listener, struct hf_errmsg *message)
{
	static struct program program;
	struct sock_fprog handed = {.filter = program.code};

	build(&program);
	handed.len = program.length;
	*listener = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
				 SECCOMP_FILTER_FLAG_NEW_LISTENER, &handed);
	if (*listener < 0)
		return hf_fail(message, hf_err_from_errno(errno), "seccomp: %s", strerror(errno));
	return 0;
}

void hf_box_filter_answer(int listener, int *started)
{
	struct seccomp_notif_resp answer = {0};
	struct seccomp_notif question = {0};

	if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &question) != 0)
		return; /* it has ended meanwhile */
	answer.id = question.id;
	if (!*started)
		answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
	else
		answer.error = -EPERM;
	*started = 1;
	ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
}
