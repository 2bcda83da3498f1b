/* One question to the broker: decoded, checked, done, answered. Decoding and answering are pure;
 * doing blocks and belongs on the worker thread. */
#ifndef HF_GATEWAY_BROKER_REQUEST_H
#define HF_GATEWAY_BROKER_REQUEST_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "proto/local.pb-c.h"

/* Decodes and checks every argument; 0, or HF_EPROTO, HF_EINVAL with the reason. The caller frees
 * with hf_broker_request_free. */
int hf_broker_request_decode(const uint8_t *bytes, size_t length, Holdfast__BrokerRequest **request,
			     struct hf_errmsg *message);
/* Overwrites the secrets first. NULL is harmless. */
void hf_broker_request_free(Holdfast__BrokerRequest *request);

/* Does it: asks tgtd at `tgt_socket`. For `show`, `*state` is malloc'ed (holdfast__broker_state__
 * free_unpacked). */
int hf_broker_request_execute(const char *tgt_socket, const Holdfast__BrokerRequest *request,
			      Holdfast__BrokerState **state, struct hf_errmsg *message);

/* What it asks for, for the journal: a verb and a name, no secret. */
const char *hf_broker_request_verb(const Holdfast__BrokerRequest *request);
const char *hf_broker_request_name(const Holdfast__BrokerRequest *request);

#endif
