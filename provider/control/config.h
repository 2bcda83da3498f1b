/* The configuration file of holdfast-provider. */
#ifndef HF_PROVIDER_CONTROL_CONFIG_H
#define HF_PROVIDER_CONTROL_CONFIG_H

#include <stdint.h>

#include "base/conf.h"

#define HF_CHANNELS_MAX 16384u /* connections that a process can hold */

struct hf_control_config {
	char *run_dir, *state_dir, *registry, *signer_dir;
	char *route, *route_name, *route_ca, *route_credentials;
	char *channel_listen, *activation_listen, *channel_advertise;
	char *store_url, *store_region, *store_credentials, *store_ca;
	char *iqn_prefix, *process_name, *process_endpoint;
	char *metrics_listen; /* "": not served */
	char *webhook_url, *webhook_secret, *webhook_ca;
	uint64_t lost_after_ms, watch_interval_ms;
	uint64_t capacity, accept_per_s, accept_burst, handshakes_max, reconnects_per_minute;
	uint64_t standby_spread_ms, drain_window_ms, rebalance_per_s;
	uint64_t ping_interval_ms, report_interval_ms, activation_key_s, signer_uid;
};

extern const struct hf_conf_key hf_control_keys[];

/* What the table cannot say: addresses, ranges, URL, prefix. HF_EINVAL with the key and what it
 * wants. */
int hf_control_config_check(const struct hf_control_config *config, struct hf_errmsg *message);

#endif
