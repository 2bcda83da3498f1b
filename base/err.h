/* Errors. Functions return 0 or a negative HF_E…; this one list also gives the text that people
 * read, the exit status of a program, the code on the wire and the SCSI sense a command ends with.
 * Numbers are part of the wire protocols and of the log (a record stores a request's result): only
 * add, never renumber. */
#ifndef HF_BASE_ERR_H
#define HF_BASE_ERR_H

#include <stdint.h>

/* X(name, number, exit status, sense key, ASC/ASCQ, text) — SPC-4 4.5.6, tables 43 and 44.
 *
 * What passes by itself is NOT READY, OPERATION IN PROGRESS (04/07), which Linux tries again after
 * a delay. IN PROCESS OF BECOMING READY (04/01) would say it better, but qemu turns it into
 * EINPROGRESS, which `qemu-img convert` takes for its own mark of "no error yet": a failed read
 * then ends as zeros and success. */
#define HF_ERRORS(X)                                                                               \
	X(EINVAL, 1, 2, 0x05, 0x2400, "invalid argument")                                          \
	X(ENOMEM, 2, 1, 0x0b, 0x5500, "out of memory or of a bounded resource")                    \
	X(EIO, 3, 1, 0x04, 0x4400, "input/output error")                                           \
	X(ENOSPC, 4, 1, 0x07, 0x2707, "no space left")                                             \
	X(ECORRUPT, 5, 3, 0x03, 0x1100, "stored data fails its checksum")                          \
	X(ENOENT, 6, 4, 0x05, 0x2500, "not found")                                                 \
	X(EEXIST, 7, 5, 0x05, 0x2400, "exists already")                                            \
	X(EBUSY, 8, 6, 0x02, 0x0407, "in use")                                                     \
	X(ETIMEDOUT, 9, 7, 0x02, 0x0407, "deadline passed")                                        \
	X(EACCES, 10, 8, 0x05, 0x2002, "not permitted")                                            \
	X(EFENCED, 11, 9, 0x02, 0x0403, "fenced: another holder has taken over")                   \
	X(ENOTREADY, 12, 7, 0x02, 0x0407, "not ready")                                             \
	X(EPROTO, 13, 1, 0x0b, 0x4e00, "protocol violation")                                       \
	X(ETOOBIG, 14, 2, 0x05, 0x2400, "larger than the limit")                                   \
	X(ECANCELED, 15, 1, 0x0b, 0x0000, "cancelled")                                             \
	X(EMISCOMPARE, 16, 1, 0x0e, 0x1d00, "miscompare during verify operation")                  \
	X(ERANGE, 17, 2, 0x05, 0x2100, "logical block address out of range")                       \
	X(ECONN, 18, 7, 0x02, 0x0407, "connection failed or was lost")                             \
	X(EUNSUPPORTED, 19, 2, 0x05, 0x2000, "not supported")                                      \
	X(ESTALE, 20, 9, 0x02, 0x0407, "older than what is in force")                              \
	X(EAUTH, 21, 8, 0x05, 0x2002, "authentication or signature failed")                        \
	X(EAGAIN, 22, 7, 0x02, 0x0407, "try again later")                                          \
	X(EUNKNOWN, 23, 1, 0x0b, 0x0000, "the outcome is not known")                               \
	X(EBADEXTENT, 24, 1, 0x03, 0x1100, "the extent was lost and has not been overwritten")

enum hf_err {
	HF_OK = 0,
#define X(name, number, exit_status, key, asc, text) HF_##name = -(number),
	HF_ERRORS(X)
#undef X
};

/* Text of an error, static storage, never NULL; unknown codes give "unknown error". */
const char *hf_err_text(int err);
/* The symbolic name without the prefix, such as "ENOSPC"; static storage. */
const char *hf_err_name(int err);
/* Exit status of a program that ends with this error: 0 for HF_OK, else 1..9. */
int hf_err_exit_status(int err);
/* The HF_E… that fits an errno value (positive); EIO where nothing fits better. */
int hf_err_from_errno(int errno_value);
/* SCSI sense of an error: key 0x0..0xe in *key, ASC in the high and ASCQ in the low byte of *asc.
 */
void hf_err_sense(int err, uint8_t *key, uint16_t *asc);

/* A message built on the way up: each caller may put its context in front. Fixed size, so that an
 * error path allocates nothing; text is always terminated. */
struct hf_errmsg {
	char text[256];
};
/* Sets the message (printf) and returns `err`, for `return hf_fail(msg, HF_EINVAL, "…")`. `msg` may
 * be NULL. */
int hf_fail(struct hf_errmsg *msg, int err, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* Puts context in front: "opening x: <old text>". Returns `err`. */
int hf_fail_in(struct hf_errmsg *msg, int err, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif
