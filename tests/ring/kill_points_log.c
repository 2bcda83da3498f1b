/* The steps of the real log: a request is given to it, its batch is written, synced, answered. */
#include <sys/uio.h>
#include <unistd.h>

#include "cache/wlog.h"
#include "tests/ring/kill_points.h"

STEP(V_LOGS, void, hf_wlog_append, (struct hf_wlog * log, struct hf_wlog_append *append),
     (log, append))
STEP(V_WRITES_BATCH, ssize_t, pwritev, (int fd, const struct iovec *iov, int count, off_t offset),
     (fd, iov, count, offset))

int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
int __wrap_fdatasync(int fd)
{
	int result;

	kill_point_reached(V_SYNCS_BATCH);
	result = __real_fdatasync(fd);
	kill_point_reached(V_ANSWERS_LOGGED);
	return result;
}
