/* One question to tgtd's management socket: tgt's binary protocol (docs/protocol/broker.md), one
 * request a connection. Blocking up to a deadline: called on the broker's worker thread only. */
#ifndef HF_GATEWAY_BROKER_TGT_CALL_H
#define HF_GATEWAY_BROKER_TGT_CALL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

#define HF_TGT_PARAMETERS_MAX 4096u      /* bytes, with the terminator; tgtd takes 8 KiB */
#define HF_TGT_ANSWER_MAX     (8u << 20) /* bytes of text */

/* Numbers of tgt's enum tgtadm_op, tgtadm_mode, tgtadm_account_dir. */
enum hf_tgt_op {
	HF_TGT_NEW = 0,
	HF_TGT_DELETE = 1,
	HF_TGT_SHOW = 2,
	HF_TGT_BIND = 3,
	HF_TGT_UNBIND = 4,
	HF_TGT_UPDATE = 5,
};

enum hf_tgt_mode {
	HF_TGT_SYSTEM = 0,
	HF_TGT_TARGET = 1,
	HF_TGT_DEVICE = 2,
	HF_TGT_PORTAL = 3,
	HF_TGT_CONNECTION = 6,
	HF_TGT_ACCOUNT = 7,
};

enum hf_tgt_direction { HF_TGT_INCOMING = 0, HF_TGT_OUTGOING = 1 };

/* What tgtd answers in `err`; only those that mean something to us. */
enum hf_tgt_error {
	HF_TGT_OK = 0,
	HF_TGT_NO_TARGET = 4,
	HF_TGT_NO_LUN = 5,
	HF_TGT_NO_SESSION = 6,
	HF_TGT_NO_CONNECTION = 7,
	HF_TGT_TARGET_EXISTS = 9,
	HF_TGT_LUN_EXISTS = 10,
	HF_TGT_ACL_EXISTS = 12,
	HF_TGT_NO_ACL = 13,
	HF_TGT_USER_EXISTS = 14,
	HF_TGT_NO_USER = 15,
	HF_TGT_INVALID = 17,
	HF_TGT_TARGET_ACTIVE = 19,
	HF_TGT_LUN_ACTIVE = 20,
};

struct hf_tgt_request {
	enum hf_tgt_mode mode;
	enum hf_tgt_op op;
	int32_t tid; /* -1: all targets */
	uint64_t sid, lun;
	uint32_t cid;
	enum hf_tgt_direction direction;
	const char *parameters; /* "k=v,k=v"; NULL: none. Never logged: may hold a secret. */
};

struct hf_tgt_answer {
	uint32_t error; /* enum hf_tgt_error, or another number of tgtd's */
	char *text;     /* malloc'ed and terminated, NULL if there was none */
	size_t length;
	pid_t pid; /* of tgtd, as the kernel tells */
};

/* 0 when tgtd answered (see answer->error); HF_ECONN (no tgtd there, or it died meanwhile),
 * HF_ETIMEDOUT, HF_EPROTO, HF_ETOOBIG, HF_ENOMEM. `deadline_ns` on CLOCK_MONOTONIC. The caller
 * frees answer->text. */
int hf_tgt_call(const char *socket_path, const struct hf_tgt_request *request, uint64_t deadline_ns,
		struct hf_tgt_answer *answer);
uint64_t hf_tgt_now_ns(void);

/* The HF_E… that fits tgtd's error, and its text. */
int hf_tgt_error_code(uint32_t error);
const char *hf_tgt_error_text(uint32_t error);

#endif
