/* The crash tests' model must itself tell right from wrong: what a lost write, a write executed
 * twice and a torn block look like is refused, what concurrency allows is admitted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/crash/model.h"

static void write_answered(struct model *m, unsigned block, uint64_t id)
{
	model_issued(m, block, id, model_tick(m));
	model_answered(m, block, id, model_tick(m));
}

static void a_lost_write_is_refused(void **state)
{
	struct model *m = model_create();

	(void)state;
	write_answered(m, 3, 1);
	assert_true(model_admits(m, 3, 1, model_tick(m)));
	assert_false(model_admits(m, 3, 0, model_tick(m)));
	model_destroy(m);
}

static void a_write_executed_again_is_refused(void **state)
{
	struct model *m = model_create();

	(void)state;
	write_answered(m, 3, 1);
	write_answered(m, 3, 2);
	assert_false(model_admits(m, 3, 1, model_tick(m)));
	assert_false(model_admits(m, 3, 9, model_tick(m)));
	model_prune(m, model_tick(m));
	assert_true(model_admits(m, 3, 2, model_tick(m)));
	model_destroy(m);
}

static void concurrent_writes_are_both_admitted_until_settled(void **state)
{
	struct model *m = model_create();
	uint64_t before;

	(void)state;
	model_issued(m, 5, 1, model_tick(m));
	model_issued(m, 5, 2, model_tick(m));
	before = model_tick(m);
	model_answered(m, 5, 1, model_tick(m));
	assert_true(model_admits(m, 5, 0, before)); /* a read from before any answer */
	model_answered(m, 5, 2, model_tick(m));
	assert_true(model_admits(m, 5, 1, model_tick(m)));
	assert_true(model_admits(m, 5, 2, model_tick(m)));
	assert_false(model_admits(m, 5, 0, model_tick(m)));
	model_settle(m, 5, 2);
	assert_false(model_admits(m, 5, 1, model_tick(m)));
	model_destroy(m);
}

static void blocks_that_are_torn_or_misplaced_are_refused(void **state)
{
	uint8_t bytes[MODEL_BLOCK_BYTES];
	uint64_t id;

	(void)state;
	model_fill(bytes, 4, 77);
	assert_true(model_value(bytes, 4, &id));
	assert_int_equal(id, 77);
	assert_false(model_value(bytes, 5, &id));
	bytes[MODEL_BLOCK_BYTES - 512] ^= 1;
	assert_false(model_value(bytes, 4, &id));
	model_fill(bytes, 4, 0);
	assert_true(model_value(bytes, 9, &id)); /* zeros are of any block */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_lost_write_is_refused),
		cmocka_unit_test(a_write_executed_again_is_refused),
		cmocka_unit_test(concurrent_writes_are_both_admitted_until_settled),
		cmocka_unit_test(blocks_that_are_torn_or_misplaced_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
