/* Who tgtd is, and how much it may use. */
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "gateway/box/box.h"

#define THREADS_MAX 1024u /* of the uid, its brokers among them */
#define FILE_MAX    (1u << 30)

static int failed(struct hf_errmsg *message, const char *what)
{
	int code = errno;

	return hf_fail(message, hf_err_from_errno(code), "%s: %s", what, strerror(code));
}

static int drop_capabilities(struct hf_errmsg *message)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[2] = {{0}};

	if (syscall(SYS_capset, &header, none) != 0)
		return failed(message, "dropping capabilities");
	return 0;
}

int hf_box_identity_drop(const struct hf_box_config *config, struct hf_errmsg *message)
{
	gid_t gid = (gid_t)config->gid;
	uid_t uid = (uid_t)config->uid;

	for (unsigned long capability = 0; capability < 64; capability++)
		if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0 && errno != EINVAL)
			return failed(message, "dropping the bounding set");
	if (setgroups(0, NULL) != 0 || setresgid(gid, gid, gid) != 0 ||
	    setresuid(uid, uid, uid) != 0)
		return failed(message, "changing the uid");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return failed(message, "giving up new privileges");
	return drop_capabilities(message);
}

int hf_box_limits_set(const struct hf_box_config *config, struct hf_errmsg *message)
{
	const struct {
		int resource;
		rlim_t most;
	} limits[] = {
		{RLIMIT_CORE, 0},
		{RLIMIT_NOFILE, config->files_max},
		{RLIMIT_DATA, config->memory_max_bytes},
		{RLIMIT_FSIZE, FILE_MAX},
		{RLIMIT_NPROC, THREADS_MAX},
		{RLIMIT_MEMLOCK, 64 << 10},
		{RLIMIT_MSGQUEUE, 0},
		{RLIMIT_RTPRIO, 0},
	};

	for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
		struct rlimit now, limit = {limits[i].most, limits[i].most};

		if (getrlimit((__rlimit_resource_t)limits[i].resource, &now) != 0)
			return failed(message, "reading a limit");
		/* The hard limit may be below already; only root can raise it. */
		if (limit.rlim_max > now.rlim_max)
			limit.rlim_cur = limit.rlim_max = now.rlim_max;
		if (setrlimit((__rlimit_resource_t)limits[i].resource, &limit) != 0)
			return failed(message, "setting a limit");
	}
	return 0;
}
