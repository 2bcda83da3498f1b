/* The wrapped allocator (link options of hf_sim) and the sets of pointers behind it. An allocation
 * goes into the current heap's set; a free looks there first and then in the other heaps, since a
 * test may free in one process's event what another allocated. Pointers in no set (from libc, or
 * from before the world) are freed as ever. */
#include "tests/sim/heap.h"
#include "base/assert.h"
#include "tests/sim/sim_env.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS_INITIAL 1024u

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void __real_free(void *memory);
char *__real_strdup(const char *text);
int __real_posix_memalign(void **memory, size_t alignment, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void __wrap_free(void *memory);
char *__wrap_strdup(const char *text);
int __wrap_posix_memalign(void **memory, size_t alignment, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);

static struct sim_heap *heaps[SIM_HEAPS_MAX];
static struct sim_heap *current;

/* ---- A set of pointers ----------------------------------------------------------------------- */

static size_t home(const struct sim_heap *heap, const void *pointer)
{
	return ((uintptr_t)pointer >> 4) * 0x9e3779b97f4a7c15u >> 20 & (heap->capacity - 1);
}

static void put(struct sim_heap *heap, void *pointer)
{
	size_t i = home(heap, pointer);

	while (heap->slots[i])
		i = (i + 1) & (heap->capacity - 1);
	heap->slots[i] = pointer;
}

static void grow(struct sim_heap *heap)
{
	void **old = heap->slots;
	size_t old_capacity = heap->capacity;

	heap->capacity *= 2;
	heap->slots = __real_calloc(heap->capacity, sizeof *heap->slots);
	HF_ASSERT(heap->slots);
	for (size_t i = 0; i < old_capacity; i++)
		if (old[i])
			put(heap, old[i]);
	__real_free(old);
}

static void *add(void *pointer)
{
	if (!current || !pointer)
		return pointer;
	if (current->count * 2 >= current->capacity)
		grow(current);
	put(current, pointer);
	current->count++;
	return pointer;
}

/* Takes the pointer out; later members of its cluster move up so that no gap hides them. */
static int take(struct sim_heap *heap, const void *pointer)
{
	size_t mask = heap->capacity - 1, i = home(heap, pointer), hole;

	while (heap->slots[i] && heap->slots[i] != pointer)
		i = (i + 1) & mask;
	if (!heap->slots[i])
		return 0;
	hole = i;
	for (i = (i + 1) & mask; heap->slots[i]; i = (i + 1) & mask) {
		size_t wanted = home(heap, heap->slots[i]);

		if (((i - wanted) & mask) < ((i - hole) & mask))
			continue;
		heap->slots[hole] = heap->slots[i];
		hole = i;
	}
	heap->slots[hole] = NULL;
	heap->count--;
	return 1;
}

static void forget(const void *pointer)
{
	if (!pointer || (current && take(current, pointer)))
		return;
	for (size_t i = 0; i < SIM_HEAPS_MAX; i++)
		if (heaps[i] && heaps[i] != current && take(heaps[i], pointer))
			return;
}

void sim_heap_init(struct sim_heap *heap)
{
	size_t i = 0;

	heap->capacity = SLOTS_INITIAL;
	heap->count = 0;
	heap->slots = __real_calloc(heap->capacity, sizeof *heap->slots);
	HF_ASSERT(heap->slots);
	while (i < SIM_HEAPS_MAX && heaps[i])
		i++;
	HF_ASSERT(i < SIM_HEAPS_MAX);
	heaps[i] = heap;
}

void sim_heap_reset(struct sim_heap *heap)
{
	for (size_t i = 0; i < heap->capacity && heap->count > 0; i++) {
		if (!heap->slots[i])
			continue;
		__real_free(heap->slots[i]);
		heap->slots[i] = NULL;
		heap->count--;
	}
	HF_ASSERT(heap->count == 0);
}

void sim_heap_destroy(struct sim_heap *heap)
{
	sim_heap_reset(heap);
	__real_free(heap->slots);
	for (size_t i = 0; i < SIM_HEAPS_MAX; i++)
		if (heaps[i] == heap)
			heaps[i] = NULL;
	if (current == heap)
		current = NULL;
}

void sim_heap_select(struct sim_heap *heap)
{
	current = heap;
}

/* ---- The allocator --------------------------------------------------------------------------- */

void *__wrap_malloc(size_t size)
{
	return add(__real_malloc(size));
}

void *__wrap_calloc(size_t count, size_t size)
{
	return add(__real_calloc(count, size));
}

void *__wrap_realloc(void *memory, size_t size)
{
	forget(memory);
	return add(__real_realloc(memory, size));
}

void __wrap_free(void *memory)
{
	forget(memory);
	__real_free(memory);
}

char *__wrap_strdup(const char *text)
{
	return add(__real_strdup(text));
}

int __wrap_posix_memalign(void **memory, size_t alignment, size_t size)
{
	int err = __real_posix_memalign(memory, alignment, size);

	if (err == 0)
		add(*memory);
	return err;
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
	return add(__real_aligned_alloc(alignment, size));
}

void *sim_keep_alloc(size_t size)
{
	void *memory = __real_calloc(1, size ? size : 1);

	HF_ASSERT(memory);
	return memory;
}

void *sim_keep_resize(void *memory, size_t size)
{
	memory = __real_realloc(memory, size ? size : 1);
	HF_ASSERT(memory);
	return memory;
}

void sim_keep_free(void *memory)
{
	__real_free(memory);
}
