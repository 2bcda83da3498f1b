/* Activation: connections of gateways that are not activated yet (activation.c), and what the
 * administrator does with them (claims.c). docs/protocol/provider.md has the picture. Loop's
 * thread. */
#ifndef HF_PROVIDER_CONTROL_ACTIVATION_H
#define HF_PROVIDER_CONTROL_ACTIVATION_H

#include "provider/control/control.h"

/* Opens the listener, or gives the one there another certificate. */
int hf_activation_listen(struct hf_control *control, struct hf_tls *tls, struct hf_errmsg *message);
/* The state of this activation changed: tell the gateway, if it is connected. */
void hf_activation_push(struct hf_control *control, const struct hf_reg_activation *activation);
bool hf_activation_connected(struct hf_control *control, const uint8_t *identity_key);
/* The keys that are shown were made with another signer's key: new ones follow. */
void hf_activation_void(struct hf_control *control);
/* Once a second: keys that ran out. */
void hf_activation_tick(struct hf_control *control);
void hf_activation_close_all(struct hf_control *control);

/* ---- claims.c ---- */

/* Enters a key: the gateway that shows it becomes claimed under this name. HF_EINVAL (mistyped, bad
 * name), HF_ENOENT (nobody shows it), HF_EEXIST (used, or the name is taken), HF_EAUTH (its hash
 * is not that of these keys), HF_ETIMEDOUT (ran out), HF_EAGAIN (too many wrong tries). */
int hf_claim_activate(struct hf_control *control, const char *who, const char *key,
		      const char *name, struct hf_reg_gateway *gateway, struct hf_errmsg *message);
/* Has the certificate issued and hands it out. `confirmed` comes once, maybe from inside. */
void hf_claim_confirm(struct hf_control *control, const char *who, uint64_t gateway,
		      void (*confirmed)(void *context, int err, const char *reason), void *context);
/* The gateway's owner does not want it. */
void hf_claim_refused(struct hf_control *control, const uint8_t *identity_key, const char *reason);

#endif
