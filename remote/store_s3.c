#include "remote/store_impl.h"
int hf_store_s3_open(uv_loop_t *loop, const struct hf_store_config *config, bool tls,
		     const char *rest, struct hf_store **store, struct hf_errmsg *message)
{
	(void)loop, (void)config, (void)tls, (void)rest, (void)store;
	return hf_fail(message, HF_EUNSUPPORTED, "not here");
}
