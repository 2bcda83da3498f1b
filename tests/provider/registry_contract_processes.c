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

	(void)state;
	held_by(77, 1, "a");
	assert_int_equal(hf_registry_process_beat(reg, &self), 0);
	self.beat_ms = 6;
	self.held = 7;
	self.parked = 8;
	self.capacity = 9;
	self.draining = true;
	assert_int_equal(hf_registry_process_beat(reg, &self), 0);
	held_by(78, 2, "b");
	self.id = 77;
	assert_int_equal(hf_registry_process_visit(reg, collect, list), 0);
	assert_memory_equal(&list[0], &self, sizeof self);
	assert_int_equal(list[1].id, 0);
	assert_int_equal(hf_registry_process_forget(reg, 77), 0);
	assert_int_equal(process_of(1), 0);
	assert_int_equal(process_of(2), 78);
	memset(list, 0, sizeof list);
	assert_int_equal(hf_registry_process_visit(reg, collect, list), 0);
	assert_int_equal(list[0].id, 0);
	assert_int_equal(hf_registry_forget_holders(reg), 0);
	assert_int_equal(process_of(2), 0);
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
	assert_int_equal(hf_registry_gateway_unsigned(reg, sum_ids, &sum), 0);
	assert_int_equal(sum, 1 + 4);
}

int registry_contract_processes(const struct registry_implementation *implementation)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_processes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_unsigned_changes_are_the_holders, set_up,
						tear_down),
	};

	impl = implementation;
	return cmocka_run_group_tests_name(implementation->name, tests, NULL, NULL);
}
