/* The object store that volumed was told to use: applied to the environment, then remembered in
 * STATE_DIR, one change after the other. The loop's thread; files are written on a worker's. */
#ifndef HF_GATEWAY_VOLUMED_STORE_SETTING_H
#define HF_GATEWAY_VOLUMED_STORE_SETTING_H

#include "gateway/volumed/env_uv.h"
#include "gateway/volumed/state.h"

#define HF_STORE_CHANGES_MAX 64u /* waiting; more are HF_EBUSY */

struct hf_store_setting;

/* NULL: out of memory. What is given outlives it. `proxy` and `proxy_credentials`: as in the
 * configuration, "" for none; they count for every store. */
struct hf_store_setting *hf_store_setting_create(const struct hf_state *state,
						 struct hf_env_uv *env, const char *proxy,
						 const char *proxy_credentials);
/* Takes over `store`. `done` exactly once, later or from inside. The same store as before is done
 * at once. A store that is refused leaves the one before in use. */
void hf_store_setting_change(struct hf_store_setting *setting, Holdfast__VolumedStore *store,
			     void (*done)(void *context, int status,
					  const struct hf_errmsg *message),
			     void *context);
/* Applies what STATE_DIR remembers; false if that is nothing, and `done` does not come. A store
 * that cannot be opened now is tried again until it can, or until another one is set. */
bool hf_store_setting_restore(struct hf_store_setting *setting,
			      void (*done)(void *context, int status,
					   const struct hf_errmsg *message),
			      void *context);
/* A store is set and could be opened. */
bool hf_store_setting_in_use(const struct hf_store_setting *setting);
/* What is under way ends with the environment's store and workers; destroy after its close. */
void hf_store_setting_destroy(struct hf_store_setting *setting);

#endif
