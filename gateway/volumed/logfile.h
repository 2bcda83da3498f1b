/* The file that holds the write log: made once, zero-written (a merely allocated file was measured
 * 2.7 times slower), locked for one process, opened for direct I/O. Blocking; start-up only. */
#ifndef HF_GATEWAY_VOLUMED_LOGFILE_H
#define HF_GATEWAY_VOLUMED_LOGFILE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct hf_logfile {
	int fd;
	uint64_t size_bytes;
	bool fresh; /* still called PATH.new and to be formatted; then hf_logfile_keep */
	const char *path;
};

/* One open of a log a process: closing another descriptor of the file would drop the lock.
 *
 * Opens `path` (kept by reference), or makes PATH.new of `size_bytes` (not 0) if there is none. 0,
 * or HF_EBUSY (another process has it), HF_EINVAL (no regular file), HF_ENOSPC, HF_EUNSUPPORTED (no
 * direct I/O there), HF_EACCES, HF_EIO with the reason in `message`. */
int hf_logfile_open(const char *path, uint64_t size_bytes, struct hf_logfile *file,
		    struct hf_errmsg *message);
/* A fresh file is formatted and synced: gives it its name, durably. */
int hf_logfile_keep(struct hf_logfile *file, struct hf_errmsg *message);
void hf_logfile_close(struct hf_logfile *file);

#endif
