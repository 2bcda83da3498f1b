/* What every registry promises to the processes that hold connections: promotion of a standby, and
 * the table of processes. Each test starts with an empty database. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "provider/registry/grants.h"
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
	memcpy(gateway.identity_key, &id, sizeof id);
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

#define MANY 300u

/* Invariant 5 holds for each of many that are granted at once; who is not known gets nothing, and
 * keeps nobody else from his. What is given is what single calls give. */
static void test_many_are_granted_at_once(void **state)
{
	static struct hf_reg_grant grants[MANY];
	static uint8_t tokens[MANY][HF_REG_TOKEN_SIZE];
	struct hf_reg_gateway gateway;
	enum hf_reg_shown shown;

	(void)state;
	assert_int_equal(hf_registry_begin(reg), 0);
	for (unsigned i = 0; i < MANY; i++) {
		char name[16];

		snprintf(name, sizeof name, "g%u", i);
		if (i != 7)
			insert_gateway(i + 1, name);
		grants[i].gateway = i + 1;
	}
	assert_int_equal(hf_registry_end(reg, 0), 0);
	assert_int_equal(hf_registry_begin(reg), 0);
	assert_int_equal(hf_registry_grants_look(reg, grants, MANY), 0);
	for (unsigned i = 0; i < MANY; i++) {
		assert_int_equal(grants[i].err, i == 7 ? HF_ENOENT : 0);
		assert_int_equal(hf_reg_grant_shown(&grants[i], NULL, 0), HF_REG_SHOWN_RIGHT);
		/* A third is given nothing, as those that are only parked. */
		if (i % 3 == 0)
			continue;
		assert_int_equal(hf_reg_grant_next(&grants[i], i, false), i == 7 ? HF_ENOENT : 0);
		grants[i].version = "v";
		memset(tokens[i], (int)i % 250 + 1, sizeof tokens[i]);
		grants[i].next_token = i % 2 ? tokens[i] : NULL;
	}
	assert_int_equal(hf_registry_grants_give(reg, grants, MANY, 5), 0);
	assert_int_equal(hf_registry_end(reg, 0), 0);
	for (unsigned i = 0; i < MANY; i++) {
		bool token = i % 3 && i % 2 && i != 7;

		if (i == 7)
			continue;
		assert_int_equal(hf_registry_gateway_get(reg, i + 1, &gateway), 0);
		assert_int_equal(gateway.epoch, i % 3 ? i + 1 : 0);
		assert_int_equal(
			hf_registry_token_check(reg, i + 1, tokens[i], sizeof tokens[i], &shown),
			0);
		assert_int_equal(shown, HF_REG_SHOWN_RIGHT);
		assert_int_equal(
			hf_registry_token_check(reg, i + 1, (const uint8_t[16]){255}, 16, &shown),
			0);
		assert_int_equal(shown, token ? HF_REG_SHOWN_OTHER : HF_REG_SHOWN_RIGHT);
	}
}

/* What fails among many fails all of the transaction, and the next one goes well. */
static void test_one_of_many_fails(void **state)
{
	static const uint8_t token[HF_REG_TOKEN_SIZE] = {1};
	struct hf_reg_grant grants[3] = {{.gateway = 1}, {.gateway = 2}, {.gateway = 3}};
	struct hf_reg_gateway gateway;
	uint64_t epoch;

	(void)state;
	insert_gateway(1, "a");
	insert_gateway(3, "c");
	assert_int_equal(hf_registry_begin(reg), 0);
	assert_int_equal(hf_registry_grants_look(reg, grants, 3), 0);
	for (unsigned i = 0; i < 3; i++) {
		grants[i].version = "v";
		grants[i].next_epoch = 9;
		grants[i].next_token = token; /* of a gateway that does not exist */
	}
	assert_int_equal(hf_registry_grants_give(reg, grants, 3, 5), HF_ENOENT);
	assert_int_equal(hf_registry_end(reg, HF_ENOENT), HF_ENOENT);
	assert_int_equal(hf_registry_gateway_get(reg, 1, &gateway), 0);
	assert_int_equal(gateway.epoch, 0);
	assert_int_equal(hf_registry_gateway_grant(reg, 1, 0, 1, "v", &epoch), 0);
	assert_int_equal(epoch, 1);
}

int registry_contract_holders(const struct registry_implementation *implementation)
{
#define CONTRACT_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		CONTRACT_TEST(test_promotion_compares_and_swaps),
		CONTRACT_TEST(test_many_are_granted_at_once),
		CONTRACT_TEST(test_one_of_many_fails),
	};

	impl = implementation;
	return cmocka_run_group_tests_name("holders", tests, NULL, NULL);
}
