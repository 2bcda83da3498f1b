/* The verb `export`: arguments, environment, opening, closing and what is said at the end; the
 * steps are told in gateway/cli/export.h. Main thread. */
#include "gateway/cli/export.h"
#include "base/assert.h"
#include "base/ids.h"
#include "cache/rcache.h"
#include "gateway/cli/cli.h"
#include "gateway/cli/key_file.h"

#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VERB        "export"
#define CACHE_BYTES (64u << 20)
#define DEADLINE_NS (3600 * HF_NS_PER_S) /* of the opening, which may read every header */

void hf_export_fail(struct hf_export *export, int status, const char *format, ...)
{
	va_list args;

	if (export->status)
		return;
	export->status = status;
	va_start(args, format);
	vsnprintf(export->message.text, sizeof export->message.text, format, args);
	va_end(args);
}

/* ---- Ending ---------------------------------------------------------------------------------- */

static void env_closed(void *context)
{
	struct hf_export *export = context;

	HF_CHECK_MAGIC(export, HF_EXPORT_MAGIC);
	uv_close((uv_handle_t *)&export->interrupt, NULL);
	uv_close((uv_handle_t *)&export->terminate, NULL);
}

static void remote_closed(void *context)
{
	struct hf_export *export = context;

	export->remote = NULL;
	hf_rcache_destroy(export->cache);
	export->cache = NULL;
	hf_env_uv_close(export->env_uv, env_closed, export);
}

void hf_export_end(struct hf_export *export)
{
	if (export->ending)
		return;
	export->ending = true;
	if (export->remote)
		hf_remote_close(export->remote, remote_closed, export);
	else
		remote_closed(export);
}

/* Whatever waits for the store is cancelled and finds `status` set. */
static void interrupted(uv_signal_t *handle, int number)
{
	struct hf_export *export = handle->data;

	(void)number;
	HF_CHECK_MAGIC(export, HF_EXPORT_MAGIC);
	hf_export_fail(export, HF_ECANCELED, "interrupted; no image was written");
	hf_retry_cancel(&export->find);
	hf_remote_open_cancel(&export->open);
	hf_env_uv_close_store(export->env_uv);
	if (export->remote)
		hf_export_end(export);
}

/* ---- Opening --------------------------------------------------------------------------------- */

static void volume_opened(struct hf_remote_open *open)
{
	struct hf_export *export = open->context;

	HF_CHECK_MAGIC(export, HF_EXPORT_MAGIC);
	export->remote = open->remote;
	if (open->status)
		hf_export_fail(export, open->status, "%s", open->message.text);
	if (export->status)
		hf_export_end(export);
	else
		hf_export_copy(export);
}

void hf_export_open(struct hf_export *export)
{
	if (export->status) {
		hf_export_end(export);
		return;
	}
	if (!export->cache)
		export->cache =
			hf_rcache_create(&(struct hf_rcache_config){.env = export->env,
								    .disk = HF_RCACHE_NO_DISK,
								    .memory_bytes = CACHE_BYTES});
	export->open.rebuild_map = export->rebuild;
	export->open.env = export->env;
	export->open.tenant = export->tenant;
	export->open.volume = export->volume;
	export->open.deadline_ns = hf_env_now_ns(export->env) + DEADLINE_NS;
	export->open.cache = hf_rcache_table(export->cache);
	export->open.context = export;
	export->open.opened = volume_opened;
	hf_remote_open_start(&export->open);
}

static void closed_for_another(void *context)
{
	struct hf_export *export = context;

	HF_CHECK_MAGIC(export, HF_EXPORT_MAGIC);
	export->remote = NULL;
	hf_export_open(export);
}

void hf_export_open_again(struct hf_export *export)
{
	struct hf_remote *remote = export->remote;

	export->remote = NULL; /* a signal does not close it twice */
	hf_remote_close(remote, closed_for_another, export);
}

static void store_set(struct hf_env_uv_store_change *change)
{
	struct hf_export *export = hf_container_of(change, struct hf_export, store);

	HF_CHECK_MAGIC(export, HF_EXPORT_MAGIC);
	if (change->status)
		hf_export_fail(export, change->status, "%s", change->message.text);
	if (export->status)
		hf_export_end(export);
	else
		hf_export_find(export);
}

static void watch_signal(struct hf_export *export, uv_signal_t *handle, int number)
{
	HF_ASSERT(uv_signal_init(&export->loop, handle) == 0);
	handle->data = export;
	uv_signal_start(handle, interrupted, number);
	uv_unref((uv_handle_t *)handle);
}

static void run(struct hf_export *export)
{
	struct hf_env_uv_config config = {.loop = &export->loop};
	int err;

	HF_ASSERT(uv_loop_init(&export->loop) == 0);
	watch_signal(export, &export->interrupt, SIGINT);
	watch_signal(export, &export->terminate, SIGTERM);
	err = hf_env_uv_open(&config, &export->env_uv, &export->message);
	if (err) {
		export->status = err;
		env_closed(export);
	} else {
		export->env = hf_env_uv_table(export->env_uv);
		export->store.done = store_set;
		hf_env_uv_set_store(export->env_uv, &export->store);
	}
	uv_run(&export->loop, UV_RUN_DEFAULT);
	hf_export_copy_free(export);
	explicit_bzero(export->open.wrap_key, sizeof export->open.wrap_key);
	HF_ASSERT(uv_loop_close(&export->loop) == 0);
}

/* ---- What is said ---------------------------------------------------------------------------- */

static void say_json(const struct hf_export *export, double seconds)
{
	const struct hf_export_summary *summary = &export->summary;
	char tenant[HF_ID_TEXT_MAX];
	json_t *said = json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:f}", "volume_id",
				 export->volume_text, "tenant_id",
				 hf_id_format(HF_ID_TENANT, export->tenant, tenant), "file",
				 export->file, "size_bytes", (json_int_t)summary->size_bytes,
				 "recovery_point", (json_int_t)summary->recovery_point, "objects",
				 (json_int_t)summary->objects, "stored_bytes",
				 (json_int_t)summary->stored_bytes, "data_bytes",
				 (json_int_t) export->data_bytes, "fetched_bytes",
				 (json_int_t) export->fetched_bytes, "seconds", seconds);

	HF_ASSERT(said);
	json_dumpf(said, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(said);
}

static void say_text(const struct hf_export *export, double seconds)
{
	const struct hf_export_summary *summary = &export->summary;

	printf("%s: %" PRIu64 " bytes as of write %" PRIu64 " in %s\n"
	       "%" PRIu64 " objects of %.1f MiB, %.1f MiB of data written, %.1f s\n",
	       export->volume_text, summary->size_bytes, summary->recovery_point, export->file,
	       summary->objects, (double)summary->stored_bytes / (1 << 20),
	       (double)export->data_bytes / (1 << 20), seconds);
}

/* ---- Arguments ------------------------------------------------------------------------------- */

struct arguments {
	const char *positional[2];
	const char *store, *key, *region, *ca, *tenant;
	bool json;
};

static int parse(int argc, char **argv, struct arguments *arguments)
{
	const struct hf_cli_option options[] = {
		{.name = "--store", .value = &arguments->store},
		{.name = "--key", .value = &arguments->key},
		{.name = "--region", .value = &arguments->region},
		{.name = "--ca", .value = &arguments->ca},
		{.name = "--tenant", .value = &arguments->tenant},
		{.name = "--json", .flag = &arguments->json},
		{.name = NULL},
	};
	int count = hf_cli_parse(VERB, argc, argv, options, arguments->positional, 2);

	if (count < 0)
		return HF_EINVAL;
	if (count == 2 && arguments->store && arguments->key)
		return 0;
	fprintf(stderr,
		"%s %s: %s is missing\n"
		"usage: %s %s VOLUME FILE --store URL --key FILE [--region REGION] [--ca FILE] "
		"[--tenant TENANT] [--json]\n",
		HF_CLI_NAME, VERB,
		count < 1           ? "VOLUME"
		: count < 2         ? "FILE"
		: !arguments->store ? "--store"
				    : "--key",
		HF_CLI_NAME, VERB);
	return HF_EINVAL;
}

/* Of the environment; an empty one is none. */
static const char *variable(const char *name)
{
	const char *value = getenv(name);

	return value && value[0] ? value : NULL;
}

static int fill(struct hf_export *export, const struct arguments *arguments)
{
	export->magic = HF_EXPORT_MAGIC;
	export->volume_text = arguments->positional[0];
	export->file = arguments->positional[1];
	if (hf_id_parse(HF_ID_VOLUME, export->volume_text, &export->volume))
		return hf_fail(&export->message, HF_EINVAL,
			       "\"%s\" is no volume; it looks like vol-0123456789abcdef",
			       export->volume_text);
	if (arguments->tenant && hf_id_parse(HF_ID_TENANT, arguments->tenant, &export->tenant))
		return hf_fail(&export->message, HF_EINVAL,
			       "\"%s\" is no tenant; it looks like t-0123456789abcdef",
			       arguments->tenant);
	export->store.config = (struct hf_store_config){
		.url = arguments->store,
		.region = arguments->region,
		.access_key = variable("AWS_ACCESS_KEY_ID"),
		.secret_key = variable("AWS_SECRET_ACCESS_KEY"),
		.session_token = variable("AWS_SESSION_TOKEN"),
		.ca_file = arguments->ca ? arguments->ca : variable("HOLDFAST_STORE_CA"),
	};
	return hf_key_file_read(arguments->key, export->volume, export->open.wrap_key,
				&export->message);
}

int hf_cli_export(int argc, char **argv)
{
	static struct hf_export export;
	struct arguments arguments = {{NULL}};
	uint64_t began_ns = uv_hrtime();
	double seconds;
	int err = parse(argc, argv, &arguments);

	if (err)
		return hf_err_exit_status(err);
	err = fill(&export, &arguments);
	if (err)
		return hf_cli_fail(VERB, err, &export.message);
	run(&export);
	if (export.status)
		return hf_cli_fail(VERB, export.status, &export.message);
	seconds = (double)(uv_hrtime() - began_ns) / HF_NS_PER_S;
	if (arguments.json)
		say_json(&export, seconds);
	else
		say_text(&export, seconds);
	return 0;
}
