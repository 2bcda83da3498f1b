/* Intrusive doubly linked lists. The list owns nothing; an entry is in at most one list per link.
 */
#ifndef HF_BASE_LIST_H
#define HF_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct hf_list {
	struct hf_list *next, *prev;
};

#define hf_container_of(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))

static inline void hf_list_init(struct hf_list *head)
{
	head->next = head->prev = head;
}

static inline bool hf_list_empty(const struct hf_list *head)
{
	return head->next == head;
}

static inline void hf_list_insert_between(struct hf_list *entry, struct hf_list *prev,
					  struct hf_list *next)
{
	entry->prev = prev;
	entry->next = next;
	prev->next = entry;
	next->prev = entry;
}

static inline void hf_list_push_back(struct hf_list *head, struct hf_list *entry)
{
	hf_list_insert_between(entry, head->prev, head);
}

static inline void hf_list_push_front(struct hf_list *head, struct hf_list *entry)
{
	hf_list_insert_between(entry, head, head->next);
}

/* Takes the entry out and leaves it an empty list of its own, so that removing twice is harmless.
 */
static inline void hf_list_remove(struct hf_list *entry)
{
	entry->prev->next = entry->next;
	entry->next->prev = entry->prev;
	hf_list_init(entry);
}

/* First entry, taken out; NULL if the list is empty. */
static inline struct hf_list *hf_list_pop_front(struct hf_list *head)
{
	struct hf_list *first = head->next;

	if (first == head)
		return NULL;
	hf_list_remove(first);
	return first;
}

/* Moves everything from `from` to the end of `to`; `from` is empty afterwards. */
/* Counts: for figures, not for loops. */
static inline size_t hf_list_length(const struct hf_list *head)
{
	size_t length = 0;

	for (const struct hf_list *at = head->next; at != head; at = at->next)
		length++;
	return length;
}

static inline void hf_list_splice_back(struct hf_list *to, struct hf_list *from)
{
	if (hf_list_empty(from))
		return;
	from->next->prev = to->prev;
	to->prev->next = from->next;
	from->prev->next = to;
	to->prev = from->prev;
	hf_list_init(from);
}

#define hf_list_for_each(cursor, head)                                                             \
	for (struct hf_list *cursor = (head)->next; cursor != (head); cursor = cursor->next)
#define hf_list_for_each_safe(cursor, head)                                                        \
	for (struct hf_list *cursor = (head)->next, *cursor##_next = cursor->next;                 \
	     cursor != (head); cursor = cursor##_next, cursor##_next = cursor->next)

#endif
