/* substitute_core.h. */
#include "tests/volumed/substitute_core.h"

#include "base/assert.h"

struct substitute_call substitute_calls[SUBSTITUTE_MAX];
unsigned substitute_count;

static void note(char verb, struct hf_volume_change *change)
{
	HF_ASSERT(substitute_count < SUBSTITUTE_MAX);
	substitute_calls[substitute_count++] = (struct substitute_call){verb, change};
}

void substitute_end(unsigned index, int status)
{
	struct hf_volume_change *change = substitute_calls[index].change;

	substitute_calls[index].change = NULL;
	change->status = status;
	change->message.text[0] = '\0';
	change->done(change);
}

void substitute_reset(void)
{
	substitute_count = 0;
}

void hf_core_attach(struct hf_core *core, struct hf_volume_change *change)
{
	(void)core;
	note('a', change);
}

void hf_core_detach(struct hf_core *core, struct hf_volume_change *change)
{
	(void)core;
	note('d', change);
}

void hf_core_delete(struct hf_core *core, struct hf_volume_change *change)
{
	(void)core;
	note('r', change);
}

int hf_core_volume_status(struct hf_core *core, uint64_t volume, struct hf_volume_status *status)
{
	(void)core;
	(void)volume;
	(void)status;
	return HF_ENOENT;
}
