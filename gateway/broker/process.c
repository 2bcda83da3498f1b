/* The process that tgtd is (operation.h): which run of it answers, and ending that one. The pid
 * alone is not enough, because it is given again; a pidfd that was checked after it was opened can
 * only mean the run that was meant. Worker thread. */
#include "gateway/broker/operation.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "base/bytes.h"

/* When the process began, in clock ticks since the machine did; 0 if it is gone. */
static uint64_t start_time(pid_t pid)
{
	char path[64], line[1024], *at;
	FILE *file;

	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	file = fopen(path, "re");
	if (!file)
		return 0;
	at = fgets(line, sizeof line, file);
	fclose(file);
	/* Field 22, counted after the name, which may hold anything. */
	at = at ? strrchr(line, ')') : NULL;
	for (int field = 2; at && field < 22; field++)
		at = strchr(at + 1, ' ');
	return at ? strtoull(at, NULL, 10) : 0;
}

void hf_tgt_boot(pid_t pid, uint8_t boot[HF_TGT_BOOT_BYTES])
{
	hf_put_le64(boot, (uint64_t)pid);
	hf_put_le64(boot + 8, start_time(pid));
}

int hf_op_restart(struct hf_operation *op, const uint8_t *boot, size_t length)
{
	uint8_t now[HF_TGT_BOOT_BYTES];
	uint64_t pid;
	int fd, err = 0;

	if (length != sizeof now)
		return hf_fail(op->message, HF_EINVAL, "a run of tgtd is named by %zu bytes",
			       sizeof now);
	pid = hf_get_le64(boot);
	fd = pid > 1 && pid <= INT32_MAX ? pidfd_open((pid_t)pid, 0) : -1;
	if (fd < 0)
		return hf_fail(op->message, HF_ESTALE, "that run of tgtd has ended");
	hf_tgt_boot((pid_t)pid, now);
	if (hf_get_le64(now + 8) == 0 || memcmp(now, boot, sizeof now) != 0)
		err = hf_fail(op->message, HF_ESTALE, "that run of tgtd has ended");
	else if (pidfd_send_signal(fd, SIGKILL, NULL, 0) != 0)
		err = hf_fail(op->message, errno == ESRCH ? HF_ESTALE : hf_err_from_errno(errno),
			      "ending tgtd: %s", strerror(errno));
	close(fd);
	return err;
}
