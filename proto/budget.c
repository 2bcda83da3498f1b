/* The allocator of budget.h. */
#include "proto/budget.h"

#include <stdlib.h>

#define BUDGET_FACTOR 32u
#define BUDGET_LEAST  65536u

static void *budget_alloc(void *data, size_t size)
{
	struct hf_budget *budget = data;

	if (size > budget->left_bytes)
		return NULL;
	budget->left_bytes -= size;
	return malloc(size);
}

static void budget_free(void *data, void *pointer)
{
	(void)data;
	free(pointer);
}

void hf_budget_init(struct hf_budget *budget, size_t message_length)
{
	budget->left_bytes = BUDGET_FACTOR * message_length + BUDGET_LEAST;
	budget->allocator = (ProtobufCAllocator){
		.alloc = budget_alloc, .free = budget_free, .allocator_data = budget};
}
