/* What every registry promises of one-shot actions and deltas (registry_contract.h). */
#include "tests/provider/registry_contract_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static uint64_t add_action(uint64_t gateway, uint64_t expires_ms, uint64_t now_ms)
{
	struct hf_reg_action a = {.gateway = gateway,
				  .kind = 1,
				  .tgtd = 2,
				  .who = "uid 0",
				  .expires_ms = expires_ms,
				  .document = (uint8_t *)(uintptr_t) "doc",
				  .document_length = 3};

	assert_int_equal(hf_registry_action_add(reg, &a, now_ms), 0);
	return a.number;
}

static int first_action(void *context, const struct hf_reg_action *action)
{
	*(struct hf_reg_action *)context = *action;
	return 1;
}

static void end_action(uint64_t epoch, uint64_t number, uint64_t gateway, int expected)
{
	struct hf_reg_action end = {.number = number,
				    .gateway = gateway,
				    .outcome = 2,
				    .error = 9,
				    .reason = "late",
				    .report = (uint8_t *)(uintptr_t) "report",
				    .report_length = 6};

	assert_int_equal(hf_registry_action_end(reg, epoch, &end, 77), expected);
}

/* Requested, signed, sent, ended, forgotten, in this order and each once. */
void test_action_life(void **state)
{
	struct hf_reg_action a;
	uint64_t number, epoch;

	(void)state;
	insert_gateway(1, "a");
	assert_int_equal(hf_registry_gateway_grant(reg, 1, 0, 5, "1", &epoch), 0);
	number = add_action(1, 500, 50);
	assert_int_equal(hf_registry_action_next(reg, 1, &a), 0);
	assert_int_equal(a.state, HF_REG_ACTION_REQUESTED);
	hf_reg_action_free(&a);
	assert_int_equal(hf_registry_action_sent(reg, number, 1, epoch), HF_ENOENT);
	assert_int_equal(hf_registry_action_unsigned(reg, 9, first_action, &a), 1);
	assert_true(a.number == number);
	assert_int_equal(hf_registry_action_signed(reg, number, 1, (const uint8_t *)"packet", 6),
			 0);
	assert_int_equal(hf_registry_action_signed(reg, number, 1, (const uint8_t *)"other", 5),
			 HF_ENOENT);
	assert_int_equal(hf_registry_action_unsigned(reg, 9, first_action, &a), 0);
	assert_int_equal(hf_registry_action_sent(reg, number, 1, epoch + 1), HF_EFENCED);
	assert_int_equal(hf_registry_action_sent(reg, number, 1, epoch), 0);
	assert_int_equal(hf_registry_action_next(reg, 1, &a), 0);
	assert_int_equal(a.sent, 1);
	assert_int_equal(a.packet_length, 6);
	assert_memory_equal(a.packet, "packet", 6);
	assert_memory_equal(a.document, "doc", 3);
	hf_reg_action_free(&a);
	end_action(epoch + 1, number, 1, HF_EFENCED);
	end_action(epoch, number, 1, 0);
	end_action(epoch, number, 1, HF_ENOENT);
	hf_registry_close(reg);
	open_again(1000);
	assert_int_equal(hf_registry_action_get(reg, number, &a), 0);
	assert_int_equal(a.state, HF_REG_ACTION_ENDED);
	assert_int_equal(a.outcome, 2);
	assert_int_equal(a.error, 9);
	assert_string_equal(a.reason, "late");
	assert_memory_equal(a.report, "report", 6);
	assert_int_equal(a.ended_ms, 77);
	assert_int_equal(a.tgtd, 2);
	assert_int_equal(a.document_length, 0);
	hf_reg_action_free(&a);
	assert_int_equal(hf_registry_action_forgettable(reg, 1, &epoch), 0);
	assert_true(epoch == number);
	assert_int_equal(hf_registry_action_forgotten(reg, 1, number), 0);
	assert_int_equal(hf_registry_action_forgettable(reg, 1, &epoch), 0);
	assert_true(epoch == 0);
	assert_int_equal(hf_registry_action_get(reg, number + 1, &a), HF_ENOENT);
}

/* Of one gateway they are signed and sent in their order, and nothing is forgotten past one that
 * has not ended. */
void test_actions_keep_their_order(void **state)
{
	uint64_t first, second, other, number, epoch;
	struct hf_reg_action a;

	(void)state;
	insert_gateway(1, "a");
	insert_gateway(2, "b");
	assert_int_equal(hf_registry_gateway_grant(reg, 1, 0, 5, "1", &epoch), 0);
	first = add_action(1, 0, 50);
	second = add_action(1, 0, 40);
	other = add_action(2, 0, 90);
	assert_true(first < second && second < other);
	assert_int_equal(hf_registry_action_unsigned(reg, 9, first_action, &a), 1);
	assert_true(a.number == first);
	assert_int_equal(hf_registry_action_next(reg, 1, &a), 0);
	assert_true(a.number == first);
	hf_reg_action_free(&a);
	end_action(0, second, 1, 0);
	assert_int_equal(hf_registry_action_forgettable(reg, 1, &number), 0);
	assert_true(number == 0);
	end_action(0, first, 1, 0);
	assert_int_equal(hf_registry_action_forgettable(reg, 1, &number), 0);
	assert_true(number == second);
	assert_int_equal(hf_registry_action_visit(reg, 0, 9, first_action, &a), 1);
	assert_true(a.number == other);
	assert_int_equal(hf_registry_action_visit(reg, 1, 9, first_action, &a), 1);
	assert_true(a.number == second);
}

/* What is signed anew gets a higher sequence than what was signed behind it meanwhile, which the
 * gateway would refuse then as past. */
void test_actions_are_signed_anew_in_their_order(void **state)
{
	uint64_t ended, first, second, other;
	struct hf_reg_action a;

	(void)state;
	insert_gateway(1, "a");
	insert_gateway(2, "b");
	ended = add_action(1, 0, 40);
	first = add_action(1, 0, 50);
	other = add_action(2, 0, 60);
	second = add_action(1, 0, 70);
	assert_int_equal(hf_registry_action_signed(reg, ended, 1, (const uint8_t *)"e", 1), 0);
	assert_int_equal(hf_registry_action_signed(reg, first, 2, (const uint8_t *)"f", 1), 0);
	assert_int_equal(hf_registry_action_signed(reg, other, 3, (const uint8_t *)"o", 1), 0);
	assert_int_equal(hf_registry_action_signed(reg, second, 4, (const uint8_t *)"s", 1), 0);
	end_action(0, ended, 1, 0);
	assert_int_equal(hf_registry_action_unsign(reg, ended), HF_ENOENT);
	assert_int_equal(hf_registry_action_unsign(reg, first), 0);
	assert_int_equal(hf_registry_action_get(reg, second, &a), 0);
	assert_int_equal(a.state, HF_REG_ACTION_REQUESTED);
	hf_reg_action_free(&a);
	assert_int_equal(hf_registry_action_get(reg, other, &a), 0);
	assert_int_equal(a.state, HF_REG_ACTION_READY);
	hf_reg_action_free(&a);
}

static void sign_action(uint64_t number, uint64_t sequence, int expected)
{
	assert_int_equal(hf_registry_action_signed(reg, number, sequence, (const uint8_t *)"p", 1),
			 expected);
}

/* A signature that was under way while another was taken back, or was made twice, is not kept where
 * its sequence would be past when its turn comes. */
void test_late_signatures_keep_the_order(void **state)
{
	uint64_t first, second, third;

	(void)state;
	insert_gateway(1, "a");
	first = add_action(1, 0, 50);
	second = add_action(1, 0, 60);
	third = add_action(1, 0, 70);
	sign_action(second, 1, HF_ESTALE); /* nobody knows yet what the first one gets */
	sign_action(first, 2, 0);
	assert_int_equal(hf_registry_action_unsign(reg, first), 0);
	sign_action(second, 3, HF_ESTALE); /* under way while the first was taken back */
	sign_action(first, 2, HF_ESTALE);  /* as late: what the gateway did not take */
	sign_action(first, 4, 0);
	sign_action(first, 5, HF_ENOENT);
	sign_action(second, 3, HF_ESTALE);
	end_action(0, first, 1, 0);
	sign_action(second, 3, HF_ESTALE); /* the gateway has begun a later one */
	sign_action(second, 6, 0);
	sign_action(third, 7, 0);
}

void test_actions_expire_only_unsent(void **state)
{
	uint64_t early, late, sent, epoch;
	struct hf_reg_action a;

	(void)state;
	insert_gateway(1, "a");
	assert_int_equal(hf_registry_gateway_grant(reg, 1, 0, 5, "1", &epoch), 0);
	sent = add_action(1, 60, 50);
	early = add_action(1, 60, 50);
	late = add_action(1, 0, 50);
	assert_int_equal(hf_registry_action_signed(reg, sent, 1, (const uint8_t *)"p", 1), 0);
	assert_int_equal(hf_registry_action_sent(reg, sent, 1, epoch), 0);
	assert_int_equal(hf_registry_action_expire(reg, 60, 4, 9, "late"), 0);
	assert_int_equal(hf_registry_action_get(reg, early, &a), 0);
	assert_int_equal(a.state, HF_REG_ACTION_ENDED);
	assert_int_equal(a.outcome, 4);
	assert_true(a.forgotten);
	hf_reg_action_free(&a);
	assert_int_equal(hf_registry_action_get(reg, sent, &a), 0);
	assert_int_equal(a.state, HF_REG_ACTION_READY);
	hf_reg_action_free(&a);
	assert_int_equal(hf_registry_action_get(reg, late, &a), 0);
	assert_int_equal(a.state, HF_REG_ACTION_REQUESTED);
	hf_reg_action_free(&a);
}

static int count_action(void *context, const struct hf_reg_action *action)
{
	(void)action;
	++*(unsigned *)context;
	return 0;
}

/* Bounded, and no number comes twice. */
void test_actions_are_bounded(void **state)
{
	struct hf_reg_action a = {.gateway = 1, .kind = 1};
	uint64_t last = 0;
	unsigned count = 0;

	(void)state;
	insert_gateway(1, "a");
	for (unsigned i = 0; i < HF_REG_ACTIONS_OPEN_MAX; i++)
		last = add_action(1, 0, 50);
	assert_int_equal(hf_registry_action_add(reg, &a, 50), HF_EBUSY);
	for (uint64_t number = 50; number <= last; number++)
		end_action(0, number, 1, 0);
	for (unsigned i = 0; i < 2 * HF_REG_ACTIONS_KEPT; i++) {
		uint64_t number = add_action(1, 0, 50);

		assert_true(number == last + 1);
		last = number;
		end_action(0, number, 1, 0);
		assert_int_equal(hf_registry_action_forgotten(reg, 1, number), 0);
	}
	assert_int_equal(hf_registry_action_visit(reg, 1, 1000, count_action, &count), 0);
	assert_true(count <= HF_REG_ACTIONS_KEPT + 1);
}

void test_network_settings(void **state)
{
	struct hf_reg_network network = {.gateway = 1,
					 .version = 7,
					 .endpoints = "a:1\nb:2",
					 .proxy = "http://p:3",
					 .confirm_ms = 5};
	struct hf_reg_network read;

	(void)state;
	insert_gateway(1, "a");
	assert_int_equal(hf_registry_network_get(reg, 1, &read), HF_ENOENT);
	assert_int_equal(hf_registry_network_put(reg, &network), 0);
	network.version = 8;
	assert_int_equal(hf_registry_network_put(reg, &network), 0);
	assert_int_equal(hf_registry_network_get(reg, 1, &read), 0);
	assert_int_equal(read.version, 8);
	assert_string_equal(read.endpoints, "a:1\nb:2");
	assert_string_equal(read.proxy, "http://p:3");
	assert_int_equal(read.confirm_ms, 5);
	assert_int_equal(read.sealed_length, 0);
	/* A proxy's credentials, which go with the settings that they came with. */
	memcpy(network.sealed, "sealed", 6);
	network.sealed_length = 6;
	assert_int_equal(hf_registry_network_put(reg, &network), 0);
	assert_int_equal(hf_registry_network_get(reg, 1, &read), 0);
	assert_int_equal(read.sealed_length, 6);
	assert_memory_equal(read.sealed, "sealed", 6);
	network.sealed_length = 0;
	assert_int_equal(hf_registry_network_put(reg, &network), 0);
	assert_int_equal(hf_registry_network_get(reg, 1, &read), 0);
	assert_int_equal(read.sealed_length, 0);
}

void test_deltas(void **state)
{
	struct hf_reg_delta delta = {.gateway = 1,
				     .incarnation = 2,
				     .generation = 3,
				     .base_incarnation = 2,
				     .base_generation = 2,
				     .bytes = (const uint8_t *)"delta",
				     .length = 5};
	struct hf_reg_delta read;

	(void)state;
	insert_gateway(1, "a");
	assert_int_equal(hf_registry_delta_get(reg, 1, &read), HF_ENOENT);
	memset(delta.base_hash, 7, sizeof delta.base_hash);
	assert_int_equal(hf_registry_delta_put(reg, &delta), 0);
	delta.generation = 4;
	assert_int_equal(hf_registry_delta_put(reg, &delta), 0);
	assert_int_equal(hf_registry_delta_get(reg, 1, &read), 0);
	assert_int_equal(read.generation, 4);
	assert_int_equal(read.base_generation, 2);
	assert_memory_equal(read.base_hash, delta.base_hash, sizeof read.base_hash);
	assert_int_equal(read.length, 5);
	assert_memory_equal(read.bytes, "delta", 5);
	free((void *)(uintptr_t)read.bytes);
}
