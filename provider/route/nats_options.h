/* The settings of the route over NATS as libnats wants them: servers, TLS, credentials. The files
 * named are read anew each time, so that what was mended there is found without a restart. */
#ifndef HF_PROVIDER_ROUTE_NATS_OPTIONS_H
#define HF_PROVIDER_ROUTE_NATS_OPTIONS_H

#include <nats/nats.h>

#include "provider/route/route.h"

/* Freed with natsOptions_Destroy. HF_EINVAL, HF_EACCES, HF_ENOENT: what is wrong with them. */
int hf_nats_options(const struct hf_route_nats *settings, natsOptions **options,
		    struct hf_errmsg *message);
/* HF_EINVAL, with libnats' last error on this thread. */
int hf_nats_refuse(struct hf_errmsg *message, natsStatus status, const char *what);

#endif
