/* What every registry promises about lost gateways and alerts (registry.h): lost once, and only by
 * who holds it; an alert is taken by one at a time and stays until it is done; what waits is
 * bounded. */
#include "tests/provider/registry_contract.h"
#include "provider/registry/alerts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define GATEWAY 0xf123456789abcdefull /* ids fill all 64 bits */

static const struct registry_implementation *impl;
static struct hf_registry *reg;

static int set_up(void **state)
{
	struct hf_errmsg message = {""};
	struct hf_reg_info info;
	struct hf_reg_gateway g = {.id = GATEWAY, .state = HF_REG_GATEWAY_ACTIVE};
	uint64_t epoch;

	(void)state;
	impl->prepare();
	assert_int_equal(impl->open(1000, &reg, &message), 0);
	assert_int_equal(hf_registry_info(reg, &info), 0);
	g.tenant = info.tenant;
	snprintf(g.name, sizeof g.name, "gateway");
	memset(g.identity_key, 1, sizeof g.identity_key);
	memset(g.sealing_key, 2, sizeof g.sealing_key);
	assert_int_equal(hf_registry_gateway_insert(reg, &g), 0);
	hf_registry_set_process(reg, 77);
	assert_int_equal(hf_registry_gateway_grant(reg, GATEWAY, 0, 1000, "v", &epoch), 0);
	assert_int_equal(epoch, 1);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	hf_registry_close(reg);
	impl->clean();
	return 0;
}

static int count_one(void *context, uint64_t gateway)
{
	assert_true(gateway == GATEWAY);
	++*(unsigned *)context;
	return 0;
}

static int count_unheld(void *context, uint64_t gateway, uint64_t epoch)
{
	assert_true(gateway == GATEWAY && epoch == 1);
	++*(unsigned *)context;
	return 0;
}

static unsigned unheld_since(uint64_t before_ms)
{
	unsigned count = 0;

	assert_int_equal(hf_registry_unheld_visit(reg, before_ms, count_unheld, &count), 0);
	return count;
}

static void test_lost_once_and_found_once(void **state)
{
	unsigned lost = 0;
	uint64_t at_ms, count;
	bool dropped;

	(void)state;
	assert_int_equal(unheld_since(1001), 0);
	assert_int_equal(hf_registry_process_forget(reg, 77, 0), 0);
	assert_int_equal(unheld_since(1001), 1);
	assert_int_equal(unheld_since(1000), 0);
	assert_int_equal(hf_registry_lost_since(reg, GATEWAY, &at_ms), HF_ENOENT);
	assert_int_equal(hf_registry_gateway_found(reg, GATEWAY, 4000, "", &dropped), HF_ENOENT);
	assert_int_equal(hf_registry_gateway_lost(reg, GATEWAY, 1, 5000, "silent", &dropped), 0);
	assert_int_equal(hf_registry_gateway_lost(reg, GATEWAY, 1, 6000, "silent", &dropped),
			 HF_EEXIST);
	assert_int_equal(hf_registry_lost_since(reg, GATEWAY, &at_ms), 0);
	assert_int_equal(at_ms, 5000);
	assert_int_equal(hf_registry_lost_visit(reg, count_one, &lost), 0);
	assert_int_equal(lost, 1);
	assert_int_equal(unheld_since(1001), 0);
	assert_int_equal(hf_registry_gateway_found(reg, GATEWAY, 7000, "back", &dropped), 0);
	assert_int_equal(hf_registry_gateway_found(reg, GATEWAY, 7000, "back", &dropped),
			 HF_ENOENT);
	assert_int_equal(hf_registry_alert_count(reg, &count), 0);
	assert_int_equal(count, 2);
}

/* Invariant 5: who was fenced has nothing to say about the gateway. */
static void test_only_the_holder_loses_it(void **state)
{
	uint64_t epoch, count;
	bool dropped;

	(void)state;
	assert_int_equal(hf_registry_gateway_grant(reg, GATEWAY, 1, 2000, "v", &epoch), 0);
	assert_int_equal(hf_registry_gateway_lost(reg, GATEWAY, 1, 5000, "silent", &dropped),
			 HF_EFENCED);
	assert_int_equal(hf_registry_gateway_lost(reg, 7, 1, 5000, "silent", &dropped), HF_ENOENT);
	assert_int_equal(hf_registry_alert_count(reg, &count), 0);
	assert_int_equal(count, 0);
}

static void test_an_alert_is_taken_until_it_is_done(void **state)
{
	struct hf_reg_alert first, again;
	bool dropped;

	(void)state;
	assert_int_equal(hf_registry_alert_take(reg, 9000, 9500, &first), HF_ENOENT);
	assert_int_equal(hf_registry_gateway_lost(reg, GATEWAY, 1, 5000, "silent", &dropped), 0);
	assert_int_equal(hf_registry_alert_take(reg, 4999, 9500, &first), HF_ENOENT);
	assert_int_equal(hf_registry_alert_take(reg, 9000, 9500, &first), 0);
	assert_true(first.gateway == GATEWAY && first.kind == HF_REG_ALERT_LOST);
	assert_int_equal(first.at_ms, 5000);
	assert_int_equal(first.attempts, 1);
	assert_string_equal(first.detail, "silent");
	assert_int_equal(hf_registry_alert_take(reg, 9499, 9999, &again), HF_ENOENT);
	assert_int_equal(hf_registry_alert_take(reg, 9500, 9999, &again), 0); /* its taker died */
	assert_true(again.number == first.number && again.attempts == 2);
	assert_int_equal(hf_registry_alert_later(reg, first.number, 20000), 0);
	assert_int_equal(hf_registry_alert_take(reg, 19999, 29999, &again), HF_ENOENT);
	assert_int_equal(hf_registry_alert_take(reg, 20000, 29999, &again), 0);
	assert_int_equal(hf_registry_alert_done(reg, first.number), 0);
	assert_int_equal(hf_registry_alert_done(reg, first.number), HF_ENOENT);
	assert_int_equal(hf_registry_alert_take(reg, 99999, 99999, &again), HF_ENOENT);
}

static void test_what_waits_is_bounded(void **state)
{
	struct hf_reg_alert oldest;
	unsigned drops = 0;
	uint64_t count;
	bool dropped;

	(void)state;
	assert_int_equal(hf_registry_begin(reg), 0);
	for (unsigned i = 0; i < HF_REG_ALERTS_MAX / 2 + 5; i++) {
		assert_int_equal(hf_registry_gateway_lost(reg, GATEWAY, 1, 1000 + i, "x", &dropped),
				 0);
		drops += dropped;
		assert_int_equal(hf_registry_gateway_found(reg, GATEWAY, 1000 + i, "y", &dropped),
				 0);
		drops += dropped;
	}
	assert_int_equal(hf_registry_end(reg, 0), 0);
	assert_int_equal(hf_registry_alert_count(reg, &count), 0);
	assert_int_equal(count, HF_REG_ALERTS_MAX);
	assert_int_equal(drops, 10);
	assert_int_equal(hf_registry_alert_take(reg, 9000, 9500, &oldest), 0);
	assert_int_equal(oldest.at_ms, 1005);
}

/* An alert that nobody takes for long makes room only when too many wait, not because many others
 * came and went. */
static void test_an_old_alert_outlasts_those_that_were_taken(void **state)
{
	struct hf_reg_alert alert;
	uint64_t count;
	bool dropped;

	(void)state;
	assert_int_equal(hf_registry_begin(reg), 0);
	assert_int_equal(hf_registry_gateway_lost(reg, GATEWAY, 1, 1, "old", &dropped), 0);
	assert_int_equal(hf_registry_alert_take(reg, 1, 1000000, &alert), 0);
	for (unsigned i = 0; i < HF_REG_ALERTS_MAX + 5; i++) {
		assert_int_equal(i % 2 ? hf_registry_gateway_lost(reg, GATEWAY, 1, 2, "x", &dropped)
				       : hf_registry_gateway_found(reg, GATEWAY, 2, "y", &dropped),
				 0);
		assert_false(dropped);
		assert_int_equal(hf_registry_alert_take(reg, 2, 9, &alert), 0);
		assert_int_equal(hf_registry_alert_done(reg, alert.number), 0);
	}
	assert_int_equal(hf_registry_end(reg, 0), 0);
	assert_int_equal(hf_registry_alert_count(reg, &count), 0);
	assert_int_equal(count, 1);
	assert_int_equal(hf_registry_alert_take(reg, 1000000, 1000001, &alert), 0);
	assert_string_equal(alert.detail, "old");
}

int registry_contract_alerts(const struct registry_implementation *implementation)
{
#define CONTRACT_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		CONTRACT_TEST(test_lost_once_and_found_once),
		CONTRACT_TEST(test_only_the_holder_loses_it),
		CONTRACT_TEST(test_an_alert_is_taken_until_it_is_done),
		CONTRACT_TEST(test_what_waits_is_bounded),
		CONTRACT_TEST(test_an_old_alert_outlasts_those_that_were_taken),
	};

	impl = implementation;
	return cmocka_run_group_tests_name(implementation->name, tests, NULL, NULL);
}
