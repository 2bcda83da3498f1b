/* What a connection to the provider passes on its way, in this order. Whoever fails says at which
 * of them, so that a person knows where to look. */
#ifndef HF_NET_HOP_H
#define HF_NET_HOP_H

/* X(name, text, exit status of `holdfast-gateway doctor` when it is the one that fails) */
#define HF_HOPS(X)                                                                                 \
	X(CONFIGURATION, "configuration", 10)                                                      \
	X(DNS, "dns", 11)                                                                          \
	X(TCP, "tcp", 12)                                                                          \
	X(PROXY, "proxy", 13)                                                                      \
	X(TLS, "tls", 14)                                                                          \
	X(CLOCK, "clock", 15)                                                                      \
	X(AUTHORIZATION, "authorization", 16)                                                      \
	X(PROVIDER, "provider", 17)

enum hf_hop {
#define X(name, text, status) HF_HOP_##name,
	HF_HOPS(X)
#undef X
		HF_HOP_COUNT
};

/* Static storage. */
const char *hf_hop_name(enum hf_hop hop);
int hf_hop_exit_status(enum hf_hop hop);

#endif
