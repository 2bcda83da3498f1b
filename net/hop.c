/* The table of net/hop.h. Any thread. */
#include "net/hop.h"

#include "base/assert.h"

static const struct {
	const char *name;
	int exit_status;
} hops[] = {
#define X(name, text, status) {text, status},
	HF_HOPS(X)
#undef X
};

const char *hf_hop_name(enum hf_hop hop)
{
	HF_ASSERT((unsigned)hop < HF_HOP_COUNT);
	return hops[hop].name;
}

int hf_hop_exit_status(enum hf_hop hop)
{
	HF_ASSERT((unsigned)hop < HF_HOP_COUNT);
	return hops[hop].exit_status;
}
