/* What every registry promises to the processes that hold connections: promotion of a standby, and
 * the table of processes. Each test starts with an empty database. */
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

static void insert_gateway(uint64_t id, const char *name)
{
	struct hf_reg_gateway gateway = {.id = id, .state = HF_REG_GATEWAY_ACTIVE};
	struct hf_reg_info info;

	assert_int_equal(hf_registry_info(reg, &info), 0);
	gateway.tenant = info.tenant;
	snprintf(gateway.name, sizeof gateway.name, "%s", name);
	memset(gateway.identity_key, (int)id, sizeof gateway.identity_key);
	assert_int_equal(hf_registry_gateway_insert(reg, &gateway), 0);
}

/* Invariant 5: a standby gets the next epoch only if nobody was granted one above that which its
 * gateway lost; what the database does not know yet (it was restored) is no obstacle. */
static void test_promotion_compares_and_swaps(void **state)
{
	uint64_t epoch;

	(void)state;
	insert_gateway(1, "a");
	assert_int_equal(hf_registry_gateway_grant(reg, 1, 6, 1, "v", &epoch), 0);
	assert_int_equal(epoch, 7);
	assert_int_equal(hf_registry_gateway_promote(reg, 1, 6, 1, "v", &epoch), HF_EFENCED);
	assert_int_equal(hf_registry_gateway_promote(reg, 1, 7, 1, "v", &epoch), 0);
	assert_int_equal(epoch, 8);
	assert_int_equal(hf_registry_gateway_promote(reg, 1, 7, 1, "v", &epoch), HF_EFENCED);
	assert_int_equal(hf_registry_gateway_promote(reg, 1, 20, 1, "v", &epoch), 0);
	assert_int_equal(epoch, 21);
	assert_int_equal(hf_registry_gateway_promote(reg, 1, UINT64_MAX, 1, "v", &epoch),
			 HF_ERANGE);
	assert_int_equal(hf_registry_gateway_promote(reg, 1, 21 + (1ull << 32), 1, "v", &epoch),
			 HF_ERANGE);
	assert_int_equal(hf_registry_gateway_promote(reg, 9, 1, 1, "v", &epoch), HF_ENOENT);
}

int registry_contract_holders(const struct registry_implementation *implementation)
{
#define CONTRACT_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		CONTRACT_TEST(test_promotion_compares_and_swaps),
	};

	impl = implementation;
	return cmocka_run_group_tests_name("holders", tests, NULL, NULL);
}
