/* What the control socket is asked (proto/local.proto, VolumedRequest), decoded and checked field
 * by field before anything acts on it. No state, any thread. */
#ifndef HF_GATEWAY_VOLUMED_REQUEST_H
#define HF_GATEWAY_VOLUMED_REQUEST_H

#include <limits.h>

#include "base/err.h"
#include "gateway/volumed/core.h"
#include "proto/local.pb-c.h"

#define HF_VOLUME_SIZE_MAX    (64ull << 40) /* bytes */
#define HF_VOLUMED_BOOT_BYTES 16u           /* that tell a run of volumed from every other */

enum hf_control_verb {
	HF_CONTROL_SET_STORE = 1,
	HF_CONTROL_ATTACH,
	HF_CONTROL_DETACH,
	HF_CONTROL_REMOVE,
	HF_CONTROL_STATUS,
	HF_CONTROL_ADD_LOG,
	HF_CONTROL_REMOVE_LOG,
	HF_CONTROL_FORGET_LOG,
	HF_CONTROL_RESTART,
};

struct hf_control_request {
	enum hf_control_verb verb;
	struct hf_volume_config config;      /* ATTACH: all; DETACH, REMOVE: volume */
	bool force;                          /* DETACH */
	bool has_key;                        /* REMOVE: tenant and wrap_key were given */
	Holdfast__VolumedStore *store;       /* SET_STORE: owned */
	char log_path[PATH_MAX];             /* ADD_, REMOVE_, FORGET_LOG */
	uint64_t log_bytes;                  /* ADD_LOG */
	uint8_t boot[HF_VOLUMED_BOOT_BYTES]; /* RESTART */
	uint64_t action;                     /* RESTART: for whose sake */
};

/* 0, or HF_EPROTO (no such message), HF_EUNSUPPORTED (a kind this version does not know), HF_EINVAL
 * with the field in `message`. On success the request is to be freed. */
int hf_control_decode(const uint8_t *bytes, size_t length, struct hf_control_request *request,
		      struct hf_errmsg *message);
/* Wipes the secrets and frees. */
void hf_control_request_free(struct hf_control_request *request);

/* The same checks for what was stored (state.c). */
int hf_control_check_attach(const Holdfast__VolumedAttach *attach, struct hf_volume_config *config,
			    struct hf_errmsg *message);
int hf_control_check_store(const Holdfast__VolumedStore *store, struct hf_errmsg *message);
void hf_control_store_free(Holdfast__VolumedStore *store);

#endif
