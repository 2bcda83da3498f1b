/* The broker's service: a socket in RUN_DIR, one operation on tgtd at a time. Loop's thread. */
#ifndef HF_GATEWAY_BROKER_SERVICE_H
#define HF_GATEWAY_BROKER_SERVICE_H

#include <sys/types.h>
#include <uv.h>

#include "base/err.h"

struct hf_service;

struct hf_service_config {
	const char *run_dir, *socket; /* its folder and name */
	const char *tgt_socket;       /* tgtd's, with its control number */
	uid_t agent_uid;              /* may ask, beside root and our own uid */
	uid_t uid;                    /* taken on when the socket is made; 0: none */
	gid_t gid;
};

/* The strings are the caller's until closed. 0 or an error with its reason. */
int hf_service_open(uv_loop_t *loop, const struct hf_service_config *config,
		    struct hf_service **service, struct hf_errmsg *message);
/* Finishes the operation under way, answers the others HF_ECANCELED. */
void hf_service_close(struct hf_service *service, void (*closed)(void *context), void *context);

#endif
