/* How the provider is reached: the settings of the document, tried before they count. New ones are
 * provisional: kept on disk as such, used at once, and rolled back by the agent itself unless a
 * signed Confirmation arrives in time, so that a mistake costs minutes and not the channel. A
 * version that was rolled back is not tried again. Each step is on disk before it is taken, so that
 * a crash changes nothing of this. Loop's thread; blocks for small files. */
#ifndef HF_GATEWAY_AGENT_NETWORK_H
#define HF_GATEWAY_AGENT_NETWORK_H

#include <uv.h>

#include "gateway/agent/kept.h"
#include "net/dial.h"
#include "net/proxy.h"
#include "proto/action.pb-c.h"
#include "proto/document.pb-c.h"

#define HF_NETWORK_CONFIRM_MIN_MS 1000u
#define HF_NETWORK_CONFIRM_MS     60000u /* when the document says nothing */
#define HF_NETWORK_CONFIRM_MAX_MS 3600000u

struct hf_network;

struct hf_network_config {
	uv_loop_t *loop;
	const struct hf_kept *kept;
	const struct hf_seal_key *sealing;
	const Holdfast__ActivateIssued *issued; /* its endpoints, copied: without settings */
	const char *provider; /* endpoints of the local configuration, "" for none; they win */
	const struct hf_proxy *proxy; /* of the local configuration, or NULL; it wins too; copied */
	/* Other settings are to be used from now on: connect anew. */
	void (*changed)(void *context);
	void *context;
};

int hf_network_open(const struct hf_network_config *config, struct hf_network **network,
		    struct hf_errmsg *message);
/* A document is in force; `settings` may be NULL: it says nothing of them. */
void hf_network_document(struct hf_network *network, uint64_t incarnation,
			 const Holdfast__Network *settings);
/* Would it bring settings that are tried? */
bool hf_network_would_change(const struct hf_network *network, uint64_t incarnation,
			     const Holdfast__Network *settings);
/* The provider was reached with these. 0, also if they were confirmed before; HF_ESTALE: others are
 * in use, or none are provisional; HF_EIO: it cannot be kept, and does not count. */
int hf_network_confirm(struct hf_network *network, const Holdfast__Confirmation *confirmation,
		       struct hf_errmsg *message);
/* Makes a dialler use what is in force. HF_EAUTH and others: the proxy's credentials cannot be
 * used, and why; it dials without them. */
int hf_network_use(struct hf_network *network, struct hf_dialler *dialler,
		   struct hf_errmsg *message);
/* The endpoints that the settings in force name, for a list of HF_DIAL_ENDPOINTS_MAX; they live as
 * long as the settings. 0: they name none. */
size_t hf_network_endpoints(const struct hf_network *network, const char **list);
/* What a connection that is made now is made with, to be shown to hf_network_proves later. */
uint64_t hf_network_serial(const struct hf_network *network);
/* Was a connection of this serial made with what is in force? Never while other settings are in
 * force than those that diallers use, for a moment before `changed`. */
bool hf_network_proves(const struct hf_network *network, uint64_t serial);
/* For reports; strings point into it. False: no document ever brought settings. */
bool hf_network_report(const struct hf_network *network, Holdfast__NetworkReport *report);
void hf_network_close(struct hf_network *network, void (*closed)(void *context), void *context);

#endif
