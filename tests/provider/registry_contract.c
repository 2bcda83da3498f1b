/* What every registry promises (registry.h), one promise a test. Each starts with an empty
 * database. */
#include "tests/provider/registry_contract_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const struct registry_implementation *impl;
struct hf_registry *reg;
static struct hf_reg_info info;

void open_again(uint64_t now_ms)
{
	struct hf_errmsg message = {""};

	assert_int_equal(impl->open(now_ms, &reg, &message), 0);
	assert_int_equal(hf_registry_info(reg, &info), 0);
}

static int set_up(void **state)
{
	(void)state;
	impl->prepare();
	open_again(1000);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	hf_registry_close(reg);
	impl->clean();
	return 0;
}

static struct hf_reg_gateway make_gateway(uint64_t id, const char *name)
{
	struct hf_reg_gateway g = {.id = id, .tenant = info.tenant};

	g.state = HF_REG_GATEWAY_ACTIVE;
	snprintf(g.name, sizeof g.name, "%s", name);
	memset(g.identity_key, (int)id, sizeof g.identity_key);
	memset(g.sealing_key, (int)id + 1, sizeof g.sealing_key);
	snprintf(g.portal, sizeof g.portal, "192.0.2.1:3260");
	return g;
}

static struct hf_reg_volume make_volume(uint64_t id, const char *name, uint64_t gateway)
{
	struct hf_reg_volume v = {.id = id, .tenant = info.tenant, .gateway = gateway};

	snprintf(v.name, sizeof v.name, "%s", name);
	v.size_bytes = 1 << 20;
	v.attach_epoch = 1;
	v.lun = 1;
	v.block_size = 4096;
	snprintf(v.initiators, sizeof v.initiators, "192.0.2.7\niqn.2004-10.com.example:a");
	memset(v.secrets, 0xa5, 100);
	v.secrets_length = 100;
	return v;
}

static struct hf_reg_activation make_activation(uint8_t number, uint64_t expires_ms)
{
	struct hf_reg_activation a = {.state = HF_REG_ACTIVATION_OFFERED, .expires_ms = expires_ms};

	memset(a.number, number, sizeof a.number);
	memset(a.check, number + 1, sizeof a.check);
	memset(a.identity_key, number + 2, sizeof a.identity_key);
	memset(a.sealing_key, number + 3, sizeof a.sealing_key);
	memset(a.request, number, 300);
	a.request_length = 300;
	return a;
}

void insert_gateway(uint64_t id, const char *name)
{
	struct hf_reg_gateway g = make_gateway(id, name);

	assert_int_equal(hf_registry_gateway_insert(reg, &g), 0);
}

/* A new database has an incarnation and a tenant, and keeps both over a close. */
static void test_identity_survives_reopen(void **state)
{
	struct hf_reg_info before = info;

	(void)state;
	assert_true(info.incarnation == 1000 && info.tenant != 0 && info.schema > 0);
	hf_registry_close(reg);
	open_again(9999);
	assert_true(info.incarnation == before.incarnation && info.tenant == before.tenant &&
		    info.schema == before.schema);
}

/* A restored copy gets an incarnation above its own and above what is asked for. */
static void test_new_incarnation_is_higher(void **state)
{
	(void)state;
	assert_int_equal(hf_registry_new_incarnation(reg, 5000), 0);
	hf_registry_info(reg, &info);
	assert_int_equal(info.incarnation, 5000);
	assert_int_equal(hf_registry_new_incarnation(reg, 10), 0);
	hf_registry_info(reg, &info);
	assert_int_equal(info.incarnation, 5001);
}

/* A transaction is all or nothing, also over a close without commit. */
static void test_rollback_undoes_all(void **state)
{
	struct hf_reg_gateway g;
	char value[16];

	(void)state;
	assert_int_equal(hf_registry_begin(reg), 0);
	insert_gateway(7, "seven");
	assert_int_equal(hf_registry_setting_put(reg, "k", "v"), 0);
	assert_int_equal(hf_registry_end(reg, HF_ECANCELED), HF_ECANCELED);
	assert_int_equal(hf_registry_gateway_get(reg, 7, &g), HF_ENOENT);
	assert_int_equal(hf_registry_setting_get(reg, "k", value, sizeof value), HF_ENOENT);

	assert_int_equal(hf_registry_begin(reg), 0);
	insert_gateway(7, "seven");
	assert_int_equal(hf_registry_end(reg, 0), 0);
	hf_registry_close(reg);
	open_again(1);
	assert_int_equal(hf_registry_gateway_get(reg, 7, &g), 0);
}

static void test_settings(void **state)
{
	char value[16];

	(void)state;
	assert_int_equal(hf_registry_setting_put(reg, "k", "one"), 0);
	assert_int_equal(hf_registry_setting_put(reg, "k", "two"), 0);
	assert_int_equal(hf_registry_setting_get(reg, "k", value, sizeof value), 0);
	assert_string_equal(value, "two");
	assert_int_equal(hf_registry_setting_get(reg, "k", value, 2), HF_ECORRUPT);
}

/* What goes in comes out, every field. */
static void test_gateway_round_trip(void **state)
{
	struct hf_reg_gateway in = make_gateway(0xfedcba9876543210ull, "gw.1_a-b"), out;

	(void)state;
	in.state = HF_REG_GATEWAY_CLAIMED;
	in.epoch = 3;
	in.generation = 4;
	in.applied_incarnation = 5;
	in.applied_generation = 6;
	in.last_seen_ms = 7;
	in.process = 8;
	in.work = 9;
	in.work_done = 10;
	snprintf(in.reason, sizeof in.reason, "because");
	snprintf(in.host, sizeof in.host, "h.example");
	snprintf(in.version, sizeof in.version, "0.1.0");
	assert_int_equal(hf_registry_gateway_insert(reg, &in), 0);
	assert_int_equal(hf_registry_gateway_get(reg, in.id, &out), 0);
	assert_memory_equal(&in, &out, sizeof in);
	assert_int_equal(hf_registry_gateway_find(reg, info.tenant, "gw.1_a-b", &out), 0);
	assert_int_equal(out.id, in.id);
	assert_int_equal(hf_registry_gateway_find(reg, info.tenant + 1, "gw.1_a-b", &out),
			 HF_ENOENT);
}

/* A name belongs to one gateway; one that was refused gives it back. */
static void test_gateway_names_are_unique(void **state)
{
	struct hf_reg_gateway second = make_gateway(2, "same"), found;

	(void)state;
	insert_gateway(1, "same");
	assert_int_equal(hf_registry_gateway_insert(reg, &second), HF_EEXIST);
	assert_int_equal(hf_registry_gateway_set_state(reg, 1, HF_REG_GATEWAY_REFUSED, "no"), 0);
	assert_int_equal(hf_registry_gateway_insert(reg, &second), 0);
	assert_int_equal(hf_registry_gateway_find(reg, info.tenant, "same", &found), 0);
	assert_int_equal(found.id, 2);
	assert_int_equal(hf_registry_gateway_set_state(reg, 99, HF_REG_GATEWAY_ACTIVE, ""),
			 HF_ENOENT);
}

/* Invariant 5: a granted epoch is above the database's and above the one the gateway names, and is
 * durable. */
static void test_epochs_only_rise(void **state)
{
	uint64_t epoch;

	(void)state;
	insert_gateway(1, "a");
	assert_int_equal(hf_registry_gateway_grant(reg, 1, 0, 1, "v", &epoch), 0);
	assert_int_equal(epoch, 1);
	assert_int_equal(hf_registry_gateway_grant(reg, 1, 41, 1, "v", &epoch), 0);
	assert_int_equal(epoch, 42);
	hf_registry_close(reg);
	open_again(1);
	assert_int_equal(hf_registry_gateway_grant(reg, 1, 5, 1, "v", &epoch), 0);
	assert_int_equal(epoch, 43);
	assert_int_equal(hf_registry_gateway_grant(reg, 1, UINT64_MAX, 1, "v", &epoch), HF_ERANGE);
	assert_int_equal(hf_registry_gateway_grant(reg, 1, 43 + (1ull << 32), 1, "v", &epoch),
			 HF_ERANGE);
	assert_int_equal(hf_registry_gateway_grant(reg, 1, 43, 1, "v", &epoch), 0);
	assert_int_equal(epoch, 44);
	assert_int_equal(hf_registry_gateway_grant(reg, 9, 0, 1, "v", &epoch), HF_ENOENT);
}

/* Invariant 5: a holder whose epoch is not the highest writes nothing. */
static void test_old_holder_is_fenced(void **state)
{
	struct hf_reg_volume v = make_volume(5, "v", 1);
	struct hf_reg_placement p = {.volume = 5, .gateway = 1, .desired = HF_REG_ATTACHED};
	struct hf_reg_gateway g;
	uint64_t old, new;

	(void)state;
	insert_gateway(1, "a");
	assert_int_equal(hf_registry_volume_insert(reg, &v), 0);
	assert_int_equal(hf_registry_placement_put(reg, &p), 0);
	hf_registry_gateway_grant(reg, 1, 0, 1, "v", &old);
	assert_int_equal(hf_registry_gateway_seen(reg, 1, old, 10, 2, 3), 0);
	hf_registry_gateway_grant(reg, 1, 0, 1, "v", &new);
	assert_int_equal(hf_registry_gateway_seen(reg, 1, old, 20, 8, 9), HF_EFENCED);
	p.report.state = 2;
	assert_int_equal(hf_registry_placement_report(reg, old, &p), HF_EFENCED);
	assert_int_equal(hf_registry_placement_report(reg, new, &p), 0);
	hf_registry_gateway_get(reg, 1, &g);
	assert_int_equal(g.applied_generation, 3);
	assert_int_equal(hf_registry_gateway_seen(reg, 9, old, 20, 8, 9), HF_ENOENT);
}

static int collect_work(void *context, const struct hf_reg_work *work)
{
	struct hf_reg_work *list = context;

	while (list->gateway)
		list++;
	*list = *work;
	return 0;
}

static unsigned work_now(struct hf_reg_work *list)
{
	unsigned count = 0;

	memset(list, 0, 4 * sizeof list[0]);
	assert_int_equal(hf_registry_work_visit(reg, collect_work, list), 0);
	while (list[count].gateway)
		count++;
	return count;
}

/* A holder finds what there is to do for its gateways by looking, and only there, until it says
 * that it has looked; a hint that was lost loses nothing. */
static void test_work_is_found_by_its_holder(void **state)
{
	struct hf_reg_document d = {.gateway = 1, .generation = 1, .bytes = (const uint8_t *)""};
	struct hf_reg_work list[4], old;
	struct hf_reg_gateway g;
	uint64_t epoch;

	(void)state;
	insert_gateway(1, "a");
	insert_gateway(2, "b");
	hf_registry_set_process(reg, 77);
	assert_int_equal(hf_registry_gateway_grant(reg, 1, 0, 1, "v", &epoch), 0);
	assert_int_equal(work_now(list), 0);
	assert_int_equal(hf_registry_work_add(reg, 1), 0);
	assert_int_equal(hf_registry_work_add(reg, 2), 0); /* which nobody holds */
	assert_int_equal(work_now(list), 1);
	assert_true(list[0].gateway == 1 && list[0].epoch == epoch);
	assert_int_equal(hf_registry_document_put(reg, &d), 0);
	old = list[0];
	assert_int_equal(hf_registry_work_done(reg, &old), 0);
	assert_int_equal(work_now(list), 1);
	assert_int_equal(hf_registry_work_done(reg, &list[0]), 0);
	assert_int_equal(hf_registry_work_done(reg, &old), 0);
	assert_int_equal(work_now(list), 0);
	assert_int_equal(hf_registry_work_add(reg, 9), HF_ENOENT);

	/* Another process takes the gateway over: what is done and what is not are its business. */
	assert_int_equal(hf_registry_work_add(reg, 1), 0);
	hf_registry_set_process(reg, 78);
	assert_int_equal(work_now(list), 0);
	assert_int_equal(hf_registry_gateway_grant(reg, 1, 0, 1, "v", &epoch), 0);
	assert_int_equal(hf_registry_gateway_get(reg, 1, &g), 0);
	assert_true(g.process == 78 && g.work == g.work_done);
	assert_int_equal(hf_registry_work_done(reg, &old), HF_EFENCED);
	assert_int_equal(hf_registry_gateway_left(reg, 1, old.epoch, 50), HF_EFENCED);
	assert_int_equal(hf_registry_gateway_left(reg, 1, epoch, 50), 0);
	assert_int_equal(hf_registry_gateway_get(reg, 1, &g), 0);
	assert_true(g.process == 0 && g.last_seen_ms == 50 && g.epoch == epoch);
}

static int collect_id(void *context, const struct hf_reg_gateway *gateway)
{
	uint64_t *ids = context;

	while (*ids)
		ids++;
	*ids = gateway->id;
	return 0;
}

/* Invariant 4: a change without its signed document is found until the document is there. */
static void test_unsigned_changes_are_found(void **state)
{
	struct hf_reg_document d = {.gateway = 1, .incarnation = info.incarnation};
	uint64_t ids[8] = {0}, generation;

	(void)state;
	insert_gateway(1, "a");
	insert_gateway(2, "b");
	assert_int_equal(hf_registry_gateway_unsigned(reg, HF_REG_BEFORE_ALL, collect_id, ids), 0);
	assert_int_equal(ids[0], 0);
	assert_int_equal(hf_registry_gateway_bump(reg, 1, &generation), 0);
	assert_int_equal(generation, 1);
	assert_int_equal(hf_registry_gateway_unsigned(reg, HF_REG_BEFORE_ALL, collect_id, ids), 0);
	assert_true(ids[0] == 1 && ids[1] == 0);
	d.generation = 1;
	d.bytes = (const uint8_t *)"signed";
	d.length = 6;
	assert_int_equal(hf_registry_document_put(reg, &d), 0);
	memset(ids, 0, sizeof ids);
	assert_int_equal(hf_registry_gateway_unsigned(reg, HF_REG_BEFORE_ALL, collect_id, ids), 0);
	assert_int_equal(ids[0], 0);
	/* A new incarnation has no documents at all. */
	assert_int_equal(hf_registry_new_incarnation(reg, 0), 0);
	assert_int_equal(hf_registry_gateway_unsigned(reg, HF_REG_BEFORE_ALL, collect_id, ids), 0);
	assert_int_equal(ids[0], 1);
	assert_int_equal(hf_registry_gateway_bump(reg, 9, &generation), HF_ENOENT);
}

/* Invariant 4: only a newer document takes the place of the one there. */
static void test_documents_only_rise(void **state)
{
	struct hf_reg_document d = {.gateway = 1, .incarnation = 10, .generation = 5}, out;

	(void)state;
	insert_gateway(1, "a");
	memset(d.hash, 3, sizeof d.hash);
	d.bytes = (const uint8_t *)"five";
	d.length = 4;
	assert_int_equal(hf_registry_document_put(reg, &d), 0);
	assert_int_equal(hf_registry_document_put(reg, &d), HF_ESTALE);
	d.generation = 4;
	assert_int_equal(hf_registry_document_put(reg, &d), HF_ESTALE);
	d.incarnation = 11;
	d.generation = 1;
	d.bytes = (const uint8_t *)"";
	d.length = 0;
	assert_int_equal(hf_registry_document_put(reg, &d), 0);
	assert_int_equal(hf_registry_document_get(reg, 1, &out), 0);
	assert_true(out.incarnation == 11 && out.generation == 1 && out.length == 0);
	assert_memory_equal(out.hash, d.hash, sizeof d.hash);
	free((void *)(uintptr_t)out.bytes);
	assert_int_equal(hf_registry_document_head(reg, 1, &out), 0);
	assert_null(out.bytes);
	assert_int_equal(hf_registry_document_get(reg, 2, &out), HF_ENOENT);
}

static void test_activation_life(void **state)
{
	struct hf_reg_activation in = make_activation(1, 5000), other = make_activation(9, 5000);
	struct hf_reg_activation out;

	(void)state;
	assert_int_equal(hf_registry_activation_put(reg, &in), 0);
	assert_int_equal(hf_registry_activation_get(reg, in.number, &out), 0);
	assert_memory_equal(&in, &out, sizeof in);
	in.state = HF_REG_ACTIVATION_ISSUED;
	in.gateway = 77;
	in.wrong_tries = 2;
	in.certificate_length = 50;
	assert_int_equal(hf_registry_activation_put(reg, &in), 0);
	assert_int_equal(hf_registry_activation_by_identity(reg, in.identity_key, &out), 0);
	assert_memory_equal(&in, &out, sizeof in);
	assert_int_equal(hf_registry_activation_by_gateway(reg, 77, &out), 0);
	memcpy(other.identity_key, in.identity_key, sizeof in.identity_key);
	assert_int_equal(hf_registry_activation_put(reg, &other), HF_EEXIST);
	assert_int_equal(hf_registry_activation_get(reg, other.number, &out), HF_ENOENT);
}

/* Keys run out; what was issued stays, and a gateway that was claimed but never confirmed is
 * refused. */
static void test_activation_purge(void **state)
{
	struct hf_reg_activation old = make_activation(1, 1000), fresh = make_activation(20, 9000);
	struct hf_reg_activation claimed = make_activation(40, 1000);
	struct hf_reg_activation issued = make_activation(60, 1000), out;
	struct hf_reg_gateway g = make_gateway(7, "claimed");
	unsigned offered;

	(void)state;
	g.state = HF_REG_GATEWAY_CLAIMED;
	assert_int_equal(hf_registry_gateway_insert(reg, &g), 0);
	claimed.state = HF_REG_ACTIVATION_CLAIMED;
	claimed.gateway = 7;
	issued.state = HF_REG_ACTIVATION_ISSUED;
	hf_registry_activation_put(reg, &old);
	hf_registry_activation_put(reg, &fresh);
	hf_registry_activation_put(reg, &claimed);
	hf_registry_activation_put(reg, &issued);
	assert_int_equal(hf_registry_activation_purge(reg, 999, &offered), 0);
	assert_int_equal(offered, 2);
	assert_int_equal(hf_registry_activation_purge(reg, 1000, &offered), 0);
	assert_int_equal(offered, 1);
	assert_int_equal(hf_registry_activation_get(reg, old.number, &out), HF_ENOENT);
	assert_int_equal(hf_registry_activation_get(reg, issued.number, &out), 0);
	hf_registry_gateway_get(reg, 7, &g);
	assert_int_equal(g.state, HF_REG_GATEWAY_REFUSED);
	assert_true(strlen(g.reason) > 0);
}

static int count_volume(void *context, const struct hf_reg_volume *volume)
{
	(void)volume;
	++*(unsigned *)context;
	return 0;
}

/* Volumes come out as they went in; a name is free again once its volume is gone. */
static void test_volume_life(void **state)
{
	struct hf_reg_volume in = make_volume(5, "data", 1), out,
			     second = make_volume(6, "data", 1);
	unsigned count = 0;

	(void)state;
	insert_gateway(1, "a");
	assert_int_equal(hf_registry_volume_insert(reg, &in), 0);
	assert_int_equal(hf_registry_volume_get(reg, 5, &out), 0);
	assert_memory_equal(&in, &out, sizeof in);
	assert_int_equal(hf_registry_volume_insert(reg, &second), HF_EEXIST);
	in.gone = true;
	in.created = true;
	in.attach_epoch = 9;
	assert_int_equal(hf_registry_volume_update(reg, &in), 0);
	assert_int_equal(hf_registry_volume_find(reg, info.tenant, "data", &out), HF_ENOENT);
	assert_int_equal(hf_registry_volume_insert(reg, &second), 0);
	assert_int_equal(hf_registry_volume_find(reg, info.tenant, "data", &out), 0);
	assert_int_equal(out.id, 6);
	assert_int_equal(hf_registry_volume_visit(reg, count_volume, &count), 0);
	assert_int_equal(count, 1);
	assert_int_equal(hf_registry_volume_remove(reg, 5), 0);
	assert_int_equal(hf_registry_volume_remove(reg, 5), HF_ENOENT);
	in.id = 99;
	assert_int_equal(hf_registry_volume_update(reg, &in), HF_ENOENT);
}

static int sum_versions(void *context, const struct hf_reg_placement *placement)
{
	*(uint64_t *)context += placement->version;
	return 0;
}

/* A change of what is desired keeps what was reported; a volume stays while anybody knows it. */
static void test_placements(void **state)
{
	struct hf_reg_volume v = make_volume(5, "v", 1);
	struct hf_reg_placement p = {.volume = 5,
				     .gateway = 1,
				     .desired = HF_REG_ATTACHED,
				     .attach_epoch = 1,
				     .version = 10},
				out;
	uint64_t epoch, sum = 0;

	(void)state;
	insert_gateway(1, "a");
	insert_gateway(2, "b");
	assert_int_equal(hf_registry_placement_put(reg, &p), HF_ENOENT);
	assert_int_equal(hf_registry_volume_insert(reg, &v), 0);
	assert_int_equal(hf_registry_placement_put(reg, &p), 0);
	hf_registry_gateway_grant(reg, 1, 0, 1, "v", &epoch);
	p.report = (struct hf_reg_report){.state = 2,
					  .version = 10,
					  .error = 3,
					  .reason = "why",
					  .recovery_point = 4,
					  .lag_bytes = 5,
					  .age_ms = 6,
					  .sessions = 7,
					  .size_bytes = 9,
					  .portal = "192.0.2.1:3260",
					  .reported_ms = 8};
	assert_int_equal(hf_registry_placement_report(reg, epoch, &p), 0);
	p.desired = HF_REG_DETACHED;
	p.version = 11;
	assert_int_equal(hf_registry_placement_put(reg, &p), 0);
	assert_int_equal(hf_registry_placement_get(reg, 5, 1, &out), 0);
	p.since = 10;
	assert_memory_equal(&p, &out, sizeof p);
	p.gateway = 2;
	p.version = 100;
	assert_int_equal(hf_registry_placement_put(reg, &p), 0);
	hf_registry_placement_visit(reg, 5, 0, sum_versions, &sum);
	assert_int_equal(sum, 111);
	hf_registry_placement_visit(reg, 0, 2, sum_versions, &sum);
	assert_int_equal(sum, 211);
	assert_int_equal(hf_registry_volume_remove(reg, 5), HF_EBUSY);
	assert_int_equal(hf_registry_placement_remove(reg, 5, 1), 0);
	assert_int_equal(hf_registry_placement_remove(reg, 5, 1), HF_ENOENT);
	assert_int_equal(hf_registry_placement_remove(reg, 5, 2), 0);
	assert_int_equal(hf_registry_volume_remove(reg, 5), 0);
}

static int stop_at_first(void *context, const struct hf_reg_gateway *gateway)
{
	(void)gateway;
	++*(unsigned *)context;
	return 17;
}

static void test_visits_can_end(void **state)
{
	unsigned count = 0;

	(void)state;
	insert_gateway(1, "a");
	insert_gateway(2, "b");
	assert_int_equal(hf_registry_gateway_visit(reg, stop_at_first, &count), 17);
	assert_int_equal(count, 1);
}

static void test_audit(void **state)
{
	struct hf_reg_audit entry = {1, "uid 0", "volume create", "vol-1", "x"};
	uint64_t count;

	(void)state;
	assert_int_equal(hf_registry_audit_add(reg, &entry), 0);
	assert_int_equal(hf_registry_audit_add(reg, &entry), 0);
	assert_int_equal(hf_registry_audit_count(reg, &count), 0);
	assert_int_equal(count, 2);
}

int registry_contract_run(const struct registry_implementation *implementation)
{
#define CONTRACT_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		CONTRACT_TEST(test_identity_survives_reopen),
		CONTRACT_TEST(test_new_incarnation_is_higher),
		CONTRACT_TEST(test_rollback_undoes_all),
		CONTRACT_TEST(test_settings),
		CONTRACT_TEST(test_gateway_round_trip),
		CONTRACT_TEST(test_gateway_names_are_unique),
		CONTRACT_TEST(test_epochs_only_rise),
		CONTRACT_TEST(test_old_holder_is_fenced),
		CONTRACT_TEST(test_work_is_found_by_its_holder),
		CONTRACT_TEST(test_unsigned_changes_are_found),
		CONTRACT_TEST(test_documents_only_rise),
		CONTRACT_TEST(test_activation_life),
		CONTRACT_TEST(test_activation_purge),
		CONTRACT_TEST(test_volume_life),
		CONTRACT_TEST(test_placements),
		CONTRACT_TEST(test_visits_can_end),
		CONTRACT_TEST(test_audit),
		CONTRACT_TEST(test_action_life),
		CONTRACT_TEST(test_actions_keep_their_order),
		CONTRACT_TEST(test_actions_are_signed_anew_in_their_order),
		CONTRACT_TEST(test_late_signatures_keep_the_order),
		CONTRACT_TEST(test_actions_expire_only_unsent),
		CONTRACT_TEST(test_actions_are_bounded),
		CONTRACT_TEST(test_deltas),
		CONTRACT_TEST(test_network_settings),
		CONTRACT_TEST(test_what_was_told),
		CONTRACT_TEST(test_what_is_never_told),
		CONTRACT_TEST(test_since_when),
		CONTRACT_TEST(test_what_a_gateway_says),
	};

	impl = implementation;
	return registry_contract_alerts(implementation) +
	       registry_contract_processes(implementation) +
	       registry_contract_holders(implementation) +
	       registry_contract_identity(implementation) +
	       cmocka_run_group_tests_name(implementation->name, tests, NULL, NULL);
}
