/* What every registry promises about who a gateway is: the tokens that tell it from a copy of its
 * disk, claimants, revocation. Each test starts with an empty database. */
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
	memset(gateway.identity_key, (int)id, sizeof gateway.identity_key);
	assert_int_equal(hf_registry_gateway_insert(reg, &gateway), 0);
}

static int stop_at_first(void *context, const struct hf_reg_gateway *gateway)
{
	(void)gateway;
	++*(unsigned *)context;
	return 17;
}

static const uint8_t token_a[HF_REG_TOKEN_SIZE] = {1}, token_b[HF_REG_TOKEN_SIZE] = {2},
		     token_c[HF_REG_TOKEN_SIZE] = {3};

static enum hf_reg_shown shown(const uint8_t *token, size_t length)
{
	enum hf_reg_shown answer;

	assert_int_equal(hf_registry_token_check(reg, 1, token, length, &answer), 0);
	return answer;
}

/* The token that is known to be kept is right, and each that was given since, for any of them may
 * be the last that the gateway kept; any other shows that somebody else went on from a token that
 * this one had. */
static void test_tokens_tell_a_copy(void **state)
{
	uint64_t epoch;

	(void)state;
	insert_gateway(1, "a");
	assert_int_equal(shown(NULL, 0), HF_REG_SHOWN_RIGHT);
	assert_int_equal(hf_registry_gateway_grant(reg, 1, 0, 5, "1", &epoch), 0);
	assert_int_equal(hf_registry_token_next(reg, 1, token_a), 0);
	assert_int_equal(shown(token_a, 16), HF_REG_SHOWN_RIGHT);
	assert_int_equal(shown(NULL, 0), HF_REG_SHOWN_RIGHT); /* killed before it kept the first */
	assert_int_equal(shown(token_b, 16), HF_REG_SHOWN_OTHER);
	assert_int_equal(hf_registry_token_kept(reg, 1, epoch), 0);
	assert_int_equal(shown(NULL, 0), HF_REG_SHOWN_OTHER);
	assert_int_equal(hf_registry_token_next(reg, 1, token_b), 0);
	assert_int_equal(hf_registry_token_next(reg, 1, token_c), 0);
	assert_int_equal(shown(token_a, 16), HF_REG_SHOWN_RIGHT);
	assert_int_equal(shown(token_b, 16), HF_REG_SHOWN_RIGHT);
	assert_int_equal(shown(token_c, 16), HF_REG_SHOWN_RIGHT);
	assert_int_equal(hf_registry_token_kept(reg, 1, epoch - 1), HF_EFENCED);
	assert_int_equal(shown(token_a, 16), HF_REG_SHOWN_RIGHT);
	assert_int_equal(hf_registry_token_kept(reg, 1, epoch), 0);
	assert_int_equal(shown(token_a, 16), HF_REG_SHOWN_OTHER);
	assert_int_equal(shown(token_b, 16), HF_REG_SHOWN_OTHER);
	assert_int_equal(shown(token_c, 16), HF_REG_SHOWN_RIGHT);
	/* However often it is killed, the one that was kept stays right, and the list bounded. */
	for (uint8_t i = 10; i < 60; i++) {
		uint8_t next[HF_REG_TOKEN_SIZE] = {i};

		assert_int_equal(hf_registry_token_next(reg, 1, next), 0);
		assert_int_equal(shown(next, 16), HF_REG_SHOWN_RIGHT);
		assert_int_equal(shown(token_c, 16), HF_REG_SHOWN_RIGHT);
	}
	assert_int_equal(shown((const uint8_t[16]){20}, 16), HF_REG_SHOWN_OTHER);
}

/* A gateway that is ahead of a restored registry is believed, and once more if it crashes before it
 * keeps what it is given next. */
static void give_believing(const uint8_t *token, size_t length, const uint8_t *next)
{
	struct hf_reg_grant grant = {.gateway = 1};

	assert_int_equal(hf_registry_begin(reg), 0);
	assert_int_equal(hf_registry_grants_look(reg, &grant, 1), 0);
	hf_reg_grant_believe(&grant, token, length);
	assert_int_equal(hf_reg_grant_next(&grant, grant.epoch + 5, false), 0);
	grant.version = "1";
	grant.next_token = next;
	assert_int_equal(hf_registry_grants_give(reg, &grant, 1, 5), 0);
	assert_int_equal(hf_registry_end(reg, 0), 0);
}

static void test_believed_token_stays_right(void **state)
{
	static const uint8_t ours[HF_REG_TOKEN_SIZE] = {9};

	(void)state;
	insert_gateway(1, "a");
	assert_int_equal(hf_registry_token_next(reg, 1, token_a), 0);
	assert_int_equal(shown(ours, 16), HF_REG_SHOWN_OTHER);
	give_believing(ours, 16, token_b);
	assert_int_equal(shown(ours, 16), HF_REG_SHOWN_RIGHT);
	assert_int_equal(shown(token_b, 16), HF_REG_SHOWN_RIGHT);
	assert_int_equal(shown(token_a, 16), HF_REG_SHOWN_OTHER);
	assert_int_equal(shown(NULL, 0), HF_REG_SHOWN_OTHER);
	/* One that has none. */
	give_believing(NULL, 0, token_c);
	assert_int_equal(shown(NULL, 0), HF_REG_SHOWN_RIGHT);
	assert_int_equal(shown(ours, 16), HF_REG_SHOWN_OTHER);
}

static int note(const uint8_t *token, size_t length, uint64_t now_ms)
{
	struct hf_reg_claimant claimant = {.gateway = 1, .token_length = length, .last_ms = now_ms};

	if (length)
		memcpy(claimant.token, token, length);
	snprintf(claimant.address, sizeof claimant.address, "192.0.2.%u", (unsigned)now_ms % 250);
	return hf_registry_claimant_note(reg, &claimant);
}

struct listed {
	unsigned count, rejected;
	uint64_t numbers[HF_REG_CLAIMANTS_MAX], last_ms[HF_REG_CLAIMANTS_MAX];
};

static int list_claimant(void *context, const struct hf_reg_claimant *claimant)
{
	struct listed *listed = context;

	listed->numbers[listed->count] = claimant->number;
	listed->last_ms[listed->count++] = claimant->last_ms;
	listed->rejected += claimant->rejected;
	return 0;
}

static int count_id(void *context, uint64_t gateway)
{
	assert_int_equal(gateway, 1);
	++*(unsigned *)context;
	return 0;
}

static unsigned barred_since(uint64_t since_ms)
{
	unsigned count = 0;

	assert_int_equal(hf_registry_barred_visit(reg, since_ms, count_id, &count), 0);
	return count;
}

/* Claimants are told apart by their tokens and bar the gateway until one is accepted; the others
 * stay rejected. */
static void test_claimants_until_one_is_accepted(void **state)
{
	struct listed listed = {0};

	(void)state;
	insert_gateway(1, "a");
	insert_gateway(2, "b");
	assert_int_equal(hf_registry_token_next(reg, 1, token_a), 0);
	assert_int_equal(barred_since(1), 0);
	assert_int_equal(note(token_b, 16, 100), 0);
	assert_int_equal(barred_since(101), 0);
	assert_int_equal(barred_since(100), 1);
	assert_int_equal(note(token_a, 16, 200), 0);
	assert_int_equal(note(token_b, 16, 300), 0); /* seen again */
	assert_int_equal(note(NULL, 0, 400), 0);
	assert_int_equal(barred_since(101), 0); /* barred once */
	assert_int_equal(shown(token_a, 16), HF_REG_SHOWN_CONTESTED);
	assert_int_equal(hf_registry_claimant_visit(reg, 1, list_claimant, &listed), 0);
	assert_int_equal(listed.count, 3);
	assert_int_equal(listed.last_ms[0], 300);
	assert_int_equal(hf_registry_claimant_accept(reg, 1, 9), HF_ENOENT);
	assert_int_equal(hf_registry_claimant_accept(reg, 1, listed.numbers[0]), 0);
	assert_int_equal(shown(token_b, 16), HF_REG_SHOWN_RIGHT);
	assert_int_equal(shown(token_a, 16), HF_REG_SHOWN_OTHER);
	assert_int_equal(barred_since(1), 0);
	assert_int_equal(note(token_a, 16, 500), HF_EACCES);
	assert_int_equal(shown(token_b, 16), HF_REG_SHOWN_RIGHT);
	listed = (struct listed){0};
	assert_int_equal(hf_registry_claimant_visit(reg, 1, list_claimant, &listed), 0);
	assert_int_equal(listed.count, 2);
	assert_int_equal(listed.rejected, 2);
	for (uint8_t i = 10; i < 30; i++) {
		uint8_t other[HF_REG_TOKEN_SIZE] = {i};

		assert_int_equal(note(other, 16, 600), 0); /* bounded, and contested all the same */
	}
	assert_int_equal(shown(token_b, 16), HF_REG_SHOWN_CONTESTED);
}

/* A revoked gateway is found by every process, has nothing signed, and is not active any more. */
static void test_revocation_bars(void **state)
{
	struct hf_reg_gateway g;
	uint64_t generation;
	unsigned count = 0;

	(void)state;
	insert_gateway(1, "a");
	assert_int_equal(hf_registry_gateway_bump(reg, 1, &generation), 0);
	assert_int_equal(hf_registry_gateway_revoke(reg, 1, "stolen", 700), 0);
	assert_int_equal(hf_registry_gateway_revoke(reg, 7, "", 700), HF_ENOENT);
	assert_int_equal(barred_since(700), 1);
	assert_int_equal(barred_since(701), 0);
	assert_int_equal(hf_registry_gateway_get(reg, 1, &g), 0);
	assert_int_equal(g.state, HF_REG_GATEWAY_REVOKED);
	assert_string_equal(g.reason, "stolen");
	assert_int_equal(
		hf_registry_gateway_unsigned(reg, HF_REG_BEFORE_ALL, stop_at_first, &count), 0);
	assert_int_equal(count, 0);
}

/* Every active gateway that was ever changed is to be signed anew, and no other. */
static void test_all_are_to_be_signed_anew(void **state)
{
	struct hf_reg_gateway g;
	uint64_t generation;

	(void)state;
	insert_gateway(1, "a");
	insert_gateway(2, "b");
	insert_gateway(3, "c");
	assert_int_equal(hf_registry_gateway_bump(reg, 1, &generation), 0);
	assert_int_equal(hf_registry_gateway_bump(reg, 2, &generation), 0);
	assert_int_equal(hf_registry_gateway_revoke(reg, 2, "", 1), 0);
	assert_int_equal(hf_registry_gateway_bump_all(reg), 0);
	assert_int_equal(hf_registry_gateway_get(reg, 1, &g), 0);
	assert_int_equal(g.generation, 2);
	assert_int_equal(hf_registry_gateway_get(reg, 2, &g), 0);
	assert_int_equal(g.generation, 1);
	assert_int_equal(hf_registry_gateway_get(reg, 3, &g), 0);
	assert_int_equal(g.generation, 0);
}

int registry_contract_identity(const struct registry_implementation *implementation)
{
#define CONTRACT_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		CONTRACT_TEST(test_tokens_tell_a_copy),
		CONTRACT_TEST(test_believed_token_stays_right),
		CONTRACT_TEST(test_claimants_until_one_is_accepted),
		CONTRACT_TEST(test_revocation_bars),
		CONTRACT_TEST(test_all_are_to_be_signed_anew),
	};

	impl = implementation;
	return cmocka_run_group_tests_name("identity", tests, NULL, NULL);
}
