/* The changes of store_setting.h: CA file (worker) → environment → state file (worker) → done.
 *
 * The store that STATE_DIR remembers may be away at the start (a folder that is not mounted): it is
 * wanted all the same, and opening it is tried again every second until it works or another one is
 * set. */
#include "gateway/volumed/store_setting.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/log.h"

#define CHANGE_MAGIC 0x48465353u
#define RETRY_MS     1000u

struct change {
	uint32_t magic;
	struct hf_store_setting *setting;
	struct hf_list link;
	Holdfast__VolumedStore *store;
	enum { NEW = 1, STORED, RETRY } kind; /* STORED, RETRY: it comes from STATE_DIR */
	char ca_path[PATH_MAX];
	struct hf_work work;
	struct hf_env_uv_store_change env;
	int status;
	struct hf_errmsg message;
	void (*done)(void *context, int status, const struct hf_errmsg *message);
	void *context;
};

struct hf_store_setting {
	const struct hf_state *state;
	struct hf_env_uv *env;
	const char *proxy, *proxy_credentials; /* "": none */
	Holdfast__VolumedStore *current;       /* NULL: none yet */
	bool in_use;                           /* the environment has it; else `retry` is armed */
	struct hf_timer retry;
	struct hf_list changes; /* the first is under way */
	unsigned count;
};

static void begin(struct change *change);

static void try_again_later(struct hf_store_setting *setting)
{
	struct hf_env *env = hf_env_uv_table(setting->env);

	hf_env_timer_set(env, &setting->retry, hf_env_now_ns(env) + RETRY_MS * HF_NS_PER_MS);
}

static void keep_or_drop(struct change *change)
{
	struct hf_store_setting *setting = change->setting;
	bool is_away = change->kind != NEW && change->status && change->status != HF_EINVAL;

	if (change->status && !is_away) {
		if (change->kind != RETRY)
			hf_control_store_free(change->store);
		if (setting->current && !setting->in_use)
			try_again_later(setting);
		return;
	}
	if (change->kind != RETRY) {
		hf_control_store_free(setting->current);
		setting->current = change->store;
	}
	setting->in_use = !is_away;
	if (is_away)
		try_again_later(setting);
	else
		hf_info("store: %s", setting->current->url);
}

static void finish(struct change *change)
{
	struct hf_store_setting *setting = change->setting;

	hf_list_remove(&change->link);
	setting->count--;
	keep_or_drop(change);
	change->done(change->context, change->status, &change->message);
	change->magic = 0;
	free(change);
	if (!hf_list_empty(&setting->changes))
		begin(hf_container_of(setting->changes.next, struct change, link));
}

static void save_run(struct hf_work *work)
{
	struct change *change = hf_container_of(work, struct change, work);
	const struct hf_state *state = change->setting->state;

	change->status = hf_state_save_store(state, change->store, &change->message);
	if (!change->status)
		hf_state_drop_old_ca(state, change->ca_path);
}

static void save_done(struct hf_work *work)
{
	struct change *change = hf_container_of(work, struct change, work);

	HF_CHECK_MAGIC(change, CHANGE_MAGIC);
	finish(change);
}

static void applied(struct hf_env_uv_store_change *env)
{
	struct change *change = hf_container_of(env, struct change, env);

	HF_CHECK_MAGIC(change, CHANGE_MAGIC);
	change->status = env->status;
	change->message = env->message;
	if (change->status || change->kind != NEW) {
		finish(change);
		return;
	}
	change->work = (struct hf_work){.run = save_run, .done = save_done};
	hf_env_work_submit(hf_env_uv_table(change->setting->env), &change->work);
}

static const char *text_or_null(const char *text)
{
	return text[0] ? text : NULL;
}

static void ca_run(struct hf_work *work)
{
	struct change *change = hf_container_of(work, struct change, work);

	change->status = hf_state_write_ca(change->setting->state, change->store, change->ca_path,
					   &change->message);
}

static void ca_done(struct hf_work *work)
{
	struct change *change = hf_container_of(work, struct change, work);
	const Holdfast__VolumedStore *store = change->store;

	HF_CHECK_MAGIC(change, CHANGE_MAGIC);
	if (change->status) {
		finish(change);
		return;
	}
	change->env = (struct hf_env_uv_store_change){
		.config = {.url = store->url,
			   .region = text_or_null(store->region),
			   .access_key = text_or_null(store->access_key),
			   .secret_key = text_or_null(store->secret_key),
			   .session_token = text_or_null(store->session_token),
			   .ca_file = text_or_null(change->ca_path),
			   .proxy = text_or_null(change->setting->proxy),
			   .proxy_credentials_file =
				   text_or_null(change->setting->proxy_credentials)},
		.done = applied,
	};
	hf_env_uv_set_store(change->setting->env, &change->env);
}

static bool is_current(const struct hf_store_setting *setting, const Holdfast__VolumedStore *store)
{
	const Holdfast__VolumedStore *current = setting->current;

	return current && strcmp(current->url, store->url) == 0 &&
	       strcmp(current->region, store->region) == 0 &&
	       strcmp(current->access_key, store->access_key) == 0 &&
	       strcmp(current->secret_key, store->secret_key) == 0 &&
	       strcmp(current->session_token, store->session_token) == 0 &&
	       strcmp(current->ca, store->ca) == 0;
}

static void begin(struct change *change)
{
	change->work = (struct hf_work){.run = ca_run, .done = ca_done};
	hf_env_work_submit(hf_env_uv_table(change->setting->env), &change->work);
}

static void add(struct hf_store_setting *setting, Holdfast__VolumedStore *store, int kind,
		void (*done)(void *context, int status, const struct hf_errmsg *message),
		void *context)
{
	struct hf_errmsg message = {""};
	struct change *change = NULL;
	int err = 0;

	if (setting->count >= HF_STORE_CHANGES_MAX)
		err = hf_fail(&message, HF_EBUSY, "%u changes are waiting", HF_STORE_CHANGES_MAX);
	else if (!(change = calloc(1, sizeof *change)))
		err = hf_fail(&message, HF_ENOMEM, "out of memory");
	if (err) {
		if (kind != RETRY)
			hf_control_store_free(store);
		done(context, err, &message);
		return;
	}
	*change = (struct change){.magic = CHANGE_MAGIC,
				  .setting = setting,
				  .store = store,
				  .kind = kind,
				  .done = done,
				  .context = context};
	hf_list_push_back(&setting->changes, &change->link);
	if (setting->count++ == 0)
		begin(change);
}

void hf_store_setting_change(struct hf_store_setting *setting, Holdfast__VolumedStore *store,
			     void (*done)(void *context, int status,
					  const struct hf_errmsg *message),
			     void *context)
{
	struct hf_errmsg message = {""};

	if (setting->count > 0 || !is_current(setting, store)) {
		add(setting, store, NEW, done, context);
		return;
	}
	hf_control_store_free(store);
	done(context, 0, &message);
}

bool hf_store_setting_restore(struct hf_store_setting *setting,
			      void (*done)(void *context, int status,
					   const struct hf_errmsg *message),
			      void *context)
{
	Holdfast__VolumedStore *store;
	struct hf_errmsg message = {""};
	int err = hf_state_load_store(setting->state, &store, &message);

	if (err == HF_ENOENT)
		return false;
	if (err)
		done(context, err, &message);
	else
		add(setting, store, STORED, done, context);
	return true;
}

static void retried(void *context, int status, const struct hf_errmsg *message)
{
	(void)context;
	if (status && status != HF_ECANCELED)
		hf_debug("store: %s", message->text);
}

static void retry_fired(struct hf_timer *timer)
{
	struct hf_store_setting *setting = hf_container_of(timer, struct hf_store_setting, retry);

	if (!setting->in_use && setting->count == 0)
		add(setting, setting->current, RETRY, retried, NULL);
}

bool hf_store_setting_in_use(const struct hf_store_setting *setting)
{
	return setting->in_use;
}

struct hf_store_setting *hf_store_setting_create(const struct hf_state *state,
						 struct hf_env_uv *env, const char *proxy,
						 const char *proxy_credentials)
{
	struct hf_store_setting *setting = calloc(1, sizeof *setting);

	if (!setting)
		return NULL;
	setting->state = state;
	setting->env = env;
	setting->proxy = proxy;
	setting->proxy_credentials = proxy_credentials;
	setting->retry.fired = retry_fired;
	hf_list_init(&setting->changes);
	return setting;
}

void hf_store_setting_destroy(struct hf_store_setting *setting)
{
	HF_ASSERT(hf_list_empty(&setting->changes));
	hf_control_store_free(setting->current);
	free(setting);
}
