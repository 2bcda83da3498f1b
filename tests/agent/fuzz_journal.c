/* Fuzz target: any bytes as the journal of actions. Promises: damage never crashes; what was read
 * can be written and is read again as the same. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "gateway/agent/journal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_same(const struct hf_journal_table *a, const struct hf_journal_table *b)
{
	HF_ASSERT(a->count == b->count && a->forgotten == b->forgotten);
	HF_ASSERT(a->sequence == b->sequence);
	hf_list_for_each (at, &a->actions) {
		const struct hf_journal_action *x =
			hf_container_of(at, struct hf_journal_action, link);
		const struct hf_journal_action *y = hf_journal_table_find(b, x->action);

		HF_ASSERT(y && y->ended == x->ended && y->kind == x->kind &&
			  y->mark_length == x->mark_length);
		if (x->ended)
			HF_ASSERT(strcmp(x->result.reason, y->result.reason) == 0 &&
				  x->result.report_length == y->result.report_length);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hf_journal_table table, again;
	uint8_t *bytes;
	size_t good, length;

	hf_journal_table_init(&table);
	hf_journal_table_init(&again);
	if (hf_journal_decode(data, size, &table, &good) == 0) {
		HF_ASSERT(good <= size && table.count <= HF_JOURNAL_ACTIONS_MAX);
		HF_ASSERT(hf_journal_encode(&table, &bytes, &length) == 0);
		HF_ASSERT(hf_journal_decode(bytes, length, &again, &good) == 0 && good == length);
		check_same(&table, &again);
		free(bytes);
	} else {
		HF_ASSERT(table.lost && table.count == 0);
	}
	hf_journal_table_end(&table);
	hf_journal_table_end(&again);
	return 0;
}
