/* Finding the volume in the store: TENANT/VOLUME/keyring with the tenant that was given, or the one
 * under which a key ring of that volume lies. One name is listed per top-level folder, however much
 * it holds. Main thread. */
#include "gateway/cli/export.h"
#include "base/assert.h"
#include "base/ids.h"
#include "remote/names.h"

#include <stdlib.h>
#include <string.h>

#define DEADLINE_NS (30 * HF_NS_PER_S)

static void list_next(struct hf_export *export, const char *after);

static void submit(struct hf_export *export, void (*done)(struct hf_retry *retry, int status))
{
	export->find.env = export->env;
	export->find.deadline_ns = hf_env_now_ns(export->env) + DEADLINE_NS;
	export->find.permission_is_final = true;
	export->find.done = done;
	hf_retry_start(&export->find);
}

static struct hf_export *find_of(struct hf_retry *retry)
{
	struct hf_export *export = hf_container_of(retry, struct hf_export, find);

	HF_CHECK_MAGIC(export, HF_EXPORT_MAGIC);
	return export;
}

static void fail_store(struct hf_export *export, int status)
{
	int last = export->find.last_error ? export->find.last_error : status;

	if (status == HF_EACCES || status == HF_EAUTH)
		hf_export_fail(export, status,
			       "the store and we do not trust each other: check AWS_ACCESS_KEY_ID "
			       "and AWS_SECRET_ACCESS_KEY, and --ca for its certificate");
	else if (status == HF_ECANCELED)
		hf_export_fail(export, status, "interrupted");
	else
		hf_export_fail(export, status, "the store does not answer: %s; check --store",
			       hf_err_text(last));
	hf_export_end(export);
}

/* "t-…0" is the first name after everything under "t-…/". Under a name of full length is nothing.
 */
static void next_tenant(struct hf_export *export)
{
	char after[HF_STORE_NAME_MAX + 1];

	strcpy(after, export->tenant_seen);
	if (strlen(after) < HF_STORE_NAME_MAX)
		strcat(after, "0");
	list_next(export, after);
}

static void keyring_looked_for(struct hf_retry *retry, int status)
{
	struct hf_export *export = find_of(retry);
	bool given = export->tenant_seen[0] == '\0';
	char tenant[HF_ID_TEXT_MAX];

	free(retry->io.body);
	retry->io.body = NULL;
	if (status == 0 || status == HF_ERANGE) {
		if (!given)
			hf_id_parse(HF_ID_TENANT, export->tenant_seen, &export->tenant);
		hf_export_open(export);
	} else if (status == HF_ENOENT && !given) {
		next_tenant(export);
	} else if (status == HF_ENOENT) {
		hf_export_fail(export, HF_ENOENT, "no volume %s of tenant %s in this store",
			       export->volume_text,
			       hf_id_format(HF_ID_TENANT, export->tenant, tenant));
		hf_export_end(export);
	} else {
		fail_store(export, status);
	}
}

static void look_for_keyring(struct hf_export *export, uint64_t tenant)
{
	export->find.io = (struct hf_store_io){.op = HF_STORE_GET, .range_length = 1};
	hf_name_keyring(export->find.io.name, tenant, export->volume);
	submit(export, keyring_looked_for);
}

static void name_listed(struct hf_retry *retry, int status)
{
	struct hf_export *export = find_of(retry);
	bool any = status == 0 && retry->io.name_count > 0;
	uint64_t tenant;

	if (any) {
		strcpy(export->tenant_seen, retry->io.names[0].name);
		export->tenant_seen[strcspn(export->tenant_seen, "/")] = '\0';
	}
	free(retry->io.names);
	retry->io.names = NULL;
	if (status) {
		fail_store(export, status);
	} else if (!any) {
		hf_export_fail(export, HF_ENOENT, "no volume %s in this store; check --store",
			       export->volume_text);
		hf_export_end(export);
	} else if (hf_id_parse(HF_ID_TENANT, export->tenant_seen, &tenant) == 0) {
		look_for_keyring(export, tenant);
	} else {
		next_tenant(export);
	}
}

static void list_next(struct hf_export *export, const char *after)
{
	export->find.io = (struct hf_store_io){.op = HF_STORE_LIST, .limit = 1};
	strcpy(export->find.io.after, after);
	submit(export, name_listed);
}

void hf_export_find(struct hf_export *export)
{
	if (export->tenant)
		look_for_keyring(export, export->tenant);
	else
		list_next(export, "");
}
