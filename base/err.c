/* The tables behind base/err.h. No state, any thread. */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct row {
	const char *name, *text;
	int number, exit_status;
	uint8_t key;
	uint16_t asc;
} rows[] = {
#define X(name, number, exit_status, key, asc, text) {#name, text, number, exit_status, key, asc},
	HF_ERRORS(X)
#undef X
};

static const struct row *find(int err)
{
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (rows[i].number == -err)
			return &rows[i];
	return NULL;
}

const char *hf_err_text(int err)
{
	const struct row *row = find(err);

	if (err == HF_OK)
		return "success";
	return row ? row->text : "unknown error";
}

const char *hf_err_name(int err)
{
	const struct row *row = find(err);

	if (err == HF_OK)
		return "OK";
	return row ? row->name : "UNKNOWN";
}

int hf_err_exit_status(int err)
{
	const struct row *row = find(err);

	if (err == HF_OK)
		return 0;
	return row ? row->exit_status : 1;
}

void hf_err_sense(int err, uint8_t *key, uint16_t *asc)
{
	const struct row *row = find(err);

	*key = row ? row->key : 0x04;
	*asc = row ? row->asc : 0x4400;
	if (err == HF_OK)
		*key = 0, *asc = 0;
}

int hf_err_from_errno(int errno_value)
{
	switch (errno_value) {
	case 0:
		return HF_OK;
	case EINVAL:
	case ENAMETOOLONG:
		return HF_EINVAL;
	case ENOMEM:
	case EMFILE:
	case ENFILE:
		return HF_ENOMEM;
	case ENOSPC:
	case EDQUOT:
		return HF_ENOSPC;
	case ENOENT:
	case ENOTDIR:
		return HF_ENOENT;
	case EEXIST:
		return HF_EEXIST;
	case EBUSY:
	case EADDRINUSE:
	case ETXTBSY:
		return HF_EBUSY;
	case ETIMEDOUT:
		return HF_ETIMEDOUT;
	case EACCES:
	case EPERM:
	case EROFS:
		return HF_EACCES;
	case ECONNREFUSED:
	case ECONNRESET:
	case EPIPE:
	case ENOTCONN:
	case EHOSTUNREACH:
	case ENETUNREACH:
		return HF_ECONN;
	case EAGAIN:
		return HF_EAGAIN;
	case E2BIG:
	case EFBIG:
	case EMSGSIZE:
		return HF_ETOOBIG;
	case ECANCELED:
		return HF_ECANCELED;
	case EPROTO:
	case EBADMSG:
		return HF_EPROTO;
	case EOPNOTSUPP:
	case ENOSYS:
		return HF_EUNSUPPORTED;
	default:
		return HF_EIO;
	}
}

int hf_fail(struct hf_errmsg *msg, int err, const char *format, ...)
{
	va_list args;

	if (msg) {
		va_start(args, format);
		vsnprintf(msg->text, sizeof msg->text, format, args);
		va_end(args);
	}
	return err;
}

int hf_fail_in(struct hf_errmsg *msg, int err, const char *format, ...)
{
	char inner[sizeof msg->text];
	va_list args;
	size_t used;

	if (!msg)
		return err;
	memcpy(inner, msg->text, sizeof inner);
	va_start(args, format);
	vsnprintf(msg->text, sizeof msg->text, format, args);
	va_end(args);
	used = strlen(msg->text);
	snprintf(msg->text + used, sizeof msg->text - used, ": %s",
		 inner[0] ? inner : hf_err_text(err));
	return err;
}
