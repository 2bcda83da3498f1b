/* What each 4 KiB block of a volume may hold, given which writes were issued and answered when.
 * A block's admissible values are the writes that no later write has surely replaced: W replaces V
 * when W was issued after V was answered, and is itself answered before the read is issued. */
#ifndef HF_TESTS_CRASH_MODEL_H
#define HF_TESTS_CRASH_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#define MODEL_BLOCK_BYTES 4096u
#define MODEL_BLOCKS      256u /* few, so that writes overlap all the time */
#define MODEL_VALUES_MAX  96u  /* remembered for one block */

struct model;

struct model *model_create(void);
void model_destroy(struct model *model);

/* The clock of issues and answers; counts up by one a call. */
uint64_t model_tick(struct model *model);
/* A write of value `id` (> 0) to a block was issued at `now`, answered at `now`. */
void model_issued(struct model *model, unsigned block, uint64_t id, uint64_t now);
void model_answered(struct model *model, unsigned block, uint64_t id, uint64_t now);
/* May a read that was issued at `issued` see `id`? (0: never written.) */
bool model_admits(const struct model *model, unsigned block, uint64_t id, uint64_t issued);
/* Nothing is under way and a read saw `id`: from now on the block holds exactly that. */
void model_settle(struct model *model, unsigned block, uint64_t id);
/* No read under way was issued before `oldest_read`: forget what can never be seen again. */
void model_prune(struct model *model, uint64_t oldest_read);

/* The content of a block for a value: every 16 bytes name value and block. */
void model_fill(uint8_t *bytes, unsigned block, uint64_t id);
/* The value a block holds; false if its bytes are of no one value or of another block. */
bool model_value(const uint8_t *bytes, unsigned block, uint64_t *id);

#endif
