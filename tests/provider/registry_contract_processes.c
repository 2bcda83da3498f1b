/* What every registry promises to the several processes that share it: their table, and who may
 * sign whose changes. Each test starts with an empty database. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tests/provider/registry_contract.h"

static const struct registry_implementation *impl;
static struct hf_registry *reg;

static int set_up(void **state)
{
	struct hf_errmsg message = {""};

	(void)state;
	impl->prepare();
	return impl->open(1000, &reg, &message);
}

static int tear_down(void **state)
{
	(void)state;
	hf_registry_close(reg);
	impl->clean();
	return 0;
}

static uint64_t held_by(uint64_t process, uint64_t id, const char *name)
{
	struct hf_reg_gateway gateway = {.id = id, .state = HF_REG_GATEWAY_ACTIVE};
	struct hf_reg_info info;
	uint64_t epoch = 0, generation;

	assert_int_equal(hf_registry_info(reg, &info), 0);
	gateway.tenant = info.tenant;
	snprintf(gateway.name, sizeof gateway.name, "%s", name);
	memset(gateway.identity_key, (int)id, sizeof gateway.identity_key);
	assert_int_equal(hf_registry_gateway_insert(reg, &gateway), 0);
	assert_int_equal(hf_registry_gateway_bump(reg, id, &generation), 0);
	hf_registry_set_process(reg, process);
	if (process)
		assert_int_equal(hf_registry_gateway_grant(reg, id, 0, 1, "v", &epoch), 0);
	return epoch;
}

static uint64_t process_of(uint64_t id)
{
	struct hf_reg_gateway gateway;

	assert_int_equal(hf_registry_gateway_get(reg, id, &gateway), 0);
	return gateway.process;
}

static int collect(void *context, const struct hf_reg_process *process)
{
	struct hf_reg_process *list = context;

	while (list->id)
		list++;
	*list = *process;
	return 0;
}

/* Each process keeps one row, in which only what changes is written again; what a forgotten one
 * held is held by nobody. */
static void test_processes(void **state)
{
	struct hf_reg_process self = {.name = "host", .endpoint = "192.0.2.1:7001", .beat_ms = 5};
	struct hf_reg_process list[4] = {{0}};
	bool fresh;

	(void)state;
	held_by(77, 1, "a");
	assert_int_equal(hf_registry_process_beat(reg, &self, &fresh), 0);
	assert_true(fresh);
	self.beat_ms = 6;
	self.held = 7;
	self.parked = 8;
	self.capacity = 9;
	self.draining = true;
	assert_int_equal(hf_registry_process_beat(reg, &self, &fresh), 0);
	assert_false(fresh);
	held_by(78, 2, "b");
	self.id = 77;
	assert_int_equal(hf_registry_process_visit(reg, collect, list), 0);
	assert_memory_equal(&list[0], &self, sizeof self);
	assert_int_equal(list[1].id, 0);
	assert_int_equal(hf_registry_process_forget(reg, 77, 0), 0);
	assert_int_equal(process_of(1), 0);
	assert_int_equal(process_of(2), 78);
	memset(list, 0, sizeof list);
	assert_int_equal(hf_registry_process_visit(reg, collect, list), 0);
	assert_int_equal(list[0].id, 0);
	assert_int_equal(hf_registry_forget_holders(reg), 0);
	assert_int_equal(process_of(2), 0);
}

static uint64_t seen_of(uint64_t id)
{
	struct hf_reg_gateway gateway;

	assert_int_equal(hf_registry_gateway_get(reg, id, &gateway), 0);
	return gateway.last_seen_ms;
}

/* A process that was taken for dead and lives says again what it holds, but for what somebody else
 * was granted meanwhile. */
static void test_forgotten_by_mistake(void **state)
{
	struct hf_reg_process self = {.name = "host", .beat_ms = 5};
	uint64_t mine = held_by(77, 1, "mine"), taken = held_by(77, 2, "taken"), epoch;
	bool fresh;

	(void)state;
	assert_int_equal(hf_registry_process_beat(reg, &self, &fresh), 0);
	assert_int_equal(hf_registry_process_forget(reg, 77, 0), 0);
	assert_int_equal(seen_of(1), 1);
	hf_registry_set_process(reg, 78);
	assert_int_equal(hf_registry_gateway_grant(reg, 2, 0, 9, "v", &epoch), 0);
	hf_registry_set_process(reg, 77);
	assert_int_equal(hf_registry_process_beat(reg, &self, &fresh), 0);
	assert_true(fresh);
	assert_int_equal(hf_registry_gateway_held(reg, 1, mine), 0);
	assert_int_equal(hf_registry_gateway_held(reg, 2, taken), HF_EFENCED);
	assert_int_equal(process_of(1), 77);
	assert_int_equal(process_of(2), 78);
	/* One that stops says when its gateways were seen last. */
	assert_int_equal(hf_registry_process_forget(reg, 77, 50), 0);
	assert_int_equal(seen_of(1), 50);
	assert_int_equal(hf_registry_process_forget(reg, 78, 5), 0);
	assert_int_equal(seen_of(2), 9);
}

static int looks_of(void *context, const struct hf_reg_work *work)
{
	*(uint64_t *)context = work->looks;
	return 0;
}

/* Who looks through another process is found by the holder like any work; through the holder
 * itself, or where nobody holds, there is nobody to tell. */
static void test_looks_are_work_of_another(void **state)
{
	uint64_t looks = 0, epoch;

	(void)state;
	held_by(77, 1, "a");
	epoch = held_by(77, 2, "away");
	assert_int_equal(hf_registry_gateway_left(reg, 2, epoch, 1), 0);
	hf_registry_set_process(reg, 77);
	assert_int_equal(hf_registry_gateway_look(reg, 1), HF_ENOENT);
	hf_registry_set_process(reg, 78);
	assert_int_equal(hf_registry_gateway_look(reg, 2), HF_ENOENT);
	assert_int_equal(hf_registry_gateway_look(reg, 1), 0);
	assert_int_equal(hf_registry_gateway_look(reg, 1), 0);
	assert_int_equal(hf_registry_work_visit(reg, looks_of, &looks), 0);
	assert_int_equal(looks, 0);
	hf_registry_set_process(reg, 77);
	assert_int_equal(hf_registry_work_visit(reg, looks_of, &looks), 0);
	assert_int_equal(looks, 2);
}

static int sum_ids(void *context, const struct hf_reg_gateway *gateway)
{
	*(uint64_t *)context += gateway->id;
	return 0;
}

/* A change that nobody has signed is found by the holder, or by anybody where nobody holds. */
static void test_unsigned_changes_are_the_holders(void **state)
{
	uint64_t sum = 0, epoch;

	(void)state;
	epoch = held_by(77, 1, "mine");
	held_by(78, 2, "another's");
	held_by(78, 4, "nobody's");
	assert_int_equal(hf_registry_gateway_left(reg, 4, epoch, 1), 0);
	hf_registry_set_process(reg, 77);
	assert_int_equal(hf_registry_gateway_unsigned(reg, HF_REG_BEFORE_ALL, sum_ids, &sum), 0);
	assert_int_equal(sum, 1 + 4);
}

int registry_contract_processes(const struct registry_implementation *implementation)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_processes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_forgotten_by_mistake, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_looks_are_work_of_another, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_unsigned_changes_are_the_holders, set_up,
						tear_down),
	};

	impl = implementation;
	return cmocka_run_group_tests_name(implementation->name, tests, NULL, NULL);
}
