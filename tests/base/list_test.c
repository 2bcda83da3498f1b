/* base/list.h: order is kept, and taking out twice is harmless. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/list.h"

struct item {
	int value;
	struct hf_list link;
};

static int sum_in_order(struct hf_list *head)
{
	int sum = 0;

	hf_list_for_each (link, head)
		sum = sum * 10 + hf_container_of(link, struct item, link)->value;
	return sum;
}

static void test_order_and_removal(void **state)
{
	struct item items[4] = {{1}, {2}, {3}, {4}};
	struct hf_list head, other;

	(void)state;
	hf_list_init(&head);
	hf_list_init(&other);
	assert_true(hf_list_empty(&head));
	assert_null(hf_list_pop_front(&head));
	hf_list_push_back(&head, &items[1].link);
	hf_list_push_back(&head, &items[2].link);
	hf_list_push_front(&head, &items[0].link);
	assert_int_equal(sum_in_order(&head), 123);
	hf_list_remove(&items[1].link);
	hf_list_remove(&items[1].link);
	assert_int_equal(sum_in_order(&head), 13);
	hf_list_push_back(&other, &items[3].link);
	hf_list_splice_back(&other, &head);
	assert_true(hf_list_empty(&head));
	assert_int_equal(sum_in_order(&other), 413);
	hf_list_splice_back(&other, &head);
	assert_int_equal(sum_in_order(&other), 413);
	hf_list_for_each_safe (link, &other)
		hf_list_remove(link);
	assert_true(hf_list_empty(&other));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order_and_removal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
