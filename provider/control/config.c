/* The keys of holdfast-provider and the checks that span them (config.h). Start-up only. */
#include "provider/control/config.h"

#include <stddef.h>
#include <string.h>

#include "net/dial.h"
#include "provider/control/validate.h"

#define FIELD(name) offsetof(struct hf_control_config, name)

const struct hf_conf_key hf_control_keys[] = {
	{"run_dir", HF_CONF_TEXT, FIELD(run_dir), NULL, "folder of the socket provider.sock"},
	{"signer_dir", HF_CONF_TEXT, FIELD(signer_dir), "",
	 "folder of the socket signer.sock (empty: run_dir)"},
	{"signer_uid", HF_CONF_NUMBER, FIELD(signer_uid), "0",
	 "whose signer.sock is to be trusted beside root's and our own", 0, UINT32_MAX - 1},
	{"state_dir", HF_CONF_TEXT, FIELD(state_dir), NULL, "folder of the registry and own key"},
	{"registry", HF_CONF_TEXT, FIELD(registry), "sqlite",
	 "sqlite (registry.db in state_dir), postgres://USER@HOST/DATABASE?… or postgres:/FILE "
	 "that holds such a URL (0600)"},
	{"route", HF_CONF_TEXT, FIELD(route), "local",
	 "local (one process) or tls://HOST:PORT,… of the NATS servers between several"},
	{"route_name", HF_CONF_TEXT, FIELD(route_name), "",
	 "name that each NATS server's certificate carries"},
	{"route_ca", HF_CONF_TEXT, FIELD(route_ca), "",
	 "PEM file that the NATS servers' certificates chain to"},
	{"route_credentials", HF_CONF_TEXT, FIELD(route_credentials), "",
	 "file (0600) with user and password, or nkey and nkey_seed (a file)"},
	{"channel_listen", HF_CONF_TEXT, FIELD(channel_listen), NULL,
	 "addr:port for management connections"},
	{"activation_listen", HF_CONF_TEXT, FIELD(activation_listen), NULL,
	 "addr:port for gateways that are not activated yet"},
	{"channel_advertise", HF_CONF_TEXT, FIELD(channel_advertise), "",
	 "host:port, … that gateways are told to connect to (empty: channel_listen)"},
	{"store_url", HF_CONF_TEXT, FIELD(store_url), NULL,
	 "dir:/path or s3+https://HOST[:PORT]/BUCKET[/PREFIX]"},
	{"store_region", HF_CONF_TEXT, FIELD(store_region), "us-east-1", "region for signatures"},
	{"store_credentials", HF_CONF_TEXT, FIELD(store_credentials), "",
	 "file (0600) with access_key and secret_key"},
	{"store_ca", HF_CONF_TEXT, FIELD(store_ca), "",
	 "PEM file that the store's certificate chains to (empty: the system's)"},
	{"iqn_prefix", HF_CONF_TEXT, FIELD(iqn_prefix), "iqn.2026-11.net.holdfast",
	 "naming authority of the targets"},
	{"metrics_listen", HF_CONF_TEXT, FIELD(metrics_listen), "",
	 "addr:port or :port (loopback) of the page for Prometheus (empty: none)"},
	{"webhook_url", HF_CONF_TEXT, FIELD(webhook_url), "",
	 "http:// or https:// URL that is told of lost gateways (empty: none)"},
	{"webhook_secret", HF_CONF_TEXT, FIELD(webhook_secret), "",
	 "file (0600) with the secret that signs what it is told, one line"},
	{"webhook_ca", HF_CONF_TEXT, FIELD(webhook_ca), "",
	 "PEM file that the webhook's certificate chains to (empty: the system's)"},
	{"lost_after_ms", HF_CONF_NUMBER, FIELD(lost_after_ms), "15000",
	 "without a connection, after which a gateway counts as lost", 100, 3600000},
	{"ping_interval_ms", HF_CONF_NUMBER, FIELD(ping_interval_ms), "20000",
	 "between pings on an idle connection", 100, 600000},
	{"report_interval_ms", HF_CONF_NUMBER, FIELD(report_interval_ms), "60000",
	 "between reports of a gateway", 50, 600000},
	{"watch_interval_ms", HF_CONF_NUMBER, FIELD(watch_interval_ms), "1000",
	 "the same while somebody looks at it", 50, 600000},
	{"process_name", HF_CONF_TEXT, FIELD(process_name), "",
	 "of this process among several, for people (empty: the host's name)"},
	{"process_endpoint", HF_CONF_TEXT, FIELD(process_endpoint), "",
	 "host:port where gateways reach this very process (empty: channel_advertise if it is "
	 "one, else channel_listen)"},
	{"capacity", HF_CONF_NUMBER, FIELD(capacity), "16000", "connections of gateways at most", 1,
	 HF_CHANNELS_MAX},
	{"accept_per_s", HF_CONF_NUMBER, FIELD(accept_per_s), "300",
	 "handshakes begun a second (0: no limit)", 0, 100000},
	{"accept_burst", HF_CONF_NUMBER, FIELD(accept_burst), "32",
	 "handshakes begun at once after quiet", 1, 4096},
	{"handshakes_max", HF_CONF_NUMBER, FIELD(handshakes_max), "512", "handshakes in progress",
	 1, HF_CHANNELS_MAX},
	{"reconnects_per_minute", HF_CONF_NUMBER, FIELD(reconnects_per_minute), "12",
	 "of one gateway; one that connects more often has to wait (0: no limit)", 0, 60000},
	{"standby_spread_ms", HF_CONF_NUMBER, FIELD(standby_spread_ms), "10000",
	 "a gateway opens its standby within", 0, 600000},
	{"drain_window_ms", HF_CONF_NUMBER, FIELD(drain_window_ms), "30000",
	 "over which gateways are sent elsewhere when the process stops", 0, 3600000},
	{"rebalance_per_s", HF_CONF_NUMBER, FIELD(rebalance_per_s), "50",
	 "gateways sent to processes that hold fewer (0: none)", 0, 10000},
	{"activation_key_s", HF_CONF_NUMBER, FIELD(activation_key_s), "3600",
	 "life of an activation key", 1, 604800},
	{NULL},
};

static int check_endpoint(const char *key, const char *value, struct hf_errmsg *message)
{
	char host[256];
	uint16_t port;

	if (hf_endpoint_parse(value, host, sizeof host, &port) == 0)
		return 0;
	return hf_fail(message, HF_EINVAL, "`%s` wants host:port, not `%.60s`", key, value);
}

/* Sent to the wrong process, a gateway would be sent on for ever. */
static int check_own_endpoint(const struct hf_control_config *config, struct hf_errmsg *message)
{
	const char *listen = config->channel_listen;

	if (config->process_endpoint[0])
		return check_endpoint("process_endpoint", config->process_endpoint, message);
	if (strcmp(config->registry, "sqlite") == 0 || !strpbrk(config->channel_advertise, ", ") ||
	    (strncmp(listen, "0.0.0.0:", 8) != 0 && strncmp(listen, "[::]:", 5) != 0))
		return 0;
	return hf_fail(message, HF_EINVAL,
		       "`process_endpoint` is missing: which of `channel_advertise` is this "
		       "process?");
}

int hf_control_config_check(const struct hf_control_config *config, struct hf_errmsg *message)
{
	struct hf_endpoints advertised;
	int err = check_endpoint("channel_listen", config->channel_listen, message);

	if (!err)
		err = check_endpoint("activation_listen", config->activation_listen, message);
	if (!err && config->channel_advertise[0])
		err = hf_endpoints_parse(config->channel_advertise, &advertised, message) == 0
			      ? 0
			      : hf_fail_in(message, HF_EINVAL, "`channel_advertise`");
	if (!err)
		err = check_own_endpoint(config, message);
	if (!err && strncmp(config->store_url, "dir:/", 5) != 0 &&
	    strncmp(config->store_url, "s3+http", 7) != 0)
		err = hf_fail(message, HF_EINVAL,
			      "`store_url` wants dir:/path or s3+https://HOST/BUCKET");
	if (!err && strncmp(config->store_url, "s3+", 3) == 0 && !config->store_credentials[0])
		err = hf_fail(message, HF_EINVAL, "`store_credentials` is missing for %s",
			      config->store_url);
	/* It may hold a password and is not repeated. */
	if (!err && strcmp(config->registry, "sqlite") != 0 &&
	    strncmp(config->registry, "postgres:/", 10) != 0)
		err = hf_fail(message, HF_EINVAL,
			      "`registry` wants sqlite, postgres://… or postgres:/FILE");
	if (!err)
		err = hf_validate_iqn_prefix(config->iqn_prefix, message);
	if (!err && config->webhook_url[0] && strncmp(config->webhook_url, "http://", 7) != 0 &&
	    strncmp(config->webhook_url, "https://", 8) != 0)
		err = hf_fail(message, HF_EINVAL, "`webhook_url` wants http://… or https://…");
	if (!err && (config->webhook_url[0] == '\0') != (config->webhook_secret[0] == '\0'))
		err = hf_fail(message, HF_EINVAL,
			      "`webhook_url` and `webhook_secret` belong together");
	return err;
}
