/* The backing store refuses a tgtd that is not what target/tgt_abi.h says, before it writes into
 * it: this program plays such a tgtd. Built twice: once it lacks a function that is needed. */
#include <dlfcn.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "target/tgt_abi.h"

#define EXPORTED __attribute__((visibility("default")))

static struct tgt_bst theirs, *registered;
static bool maps_opcodes;

/* What a plugin finds in tgtd; only these are called before a LUN exists. */
EXPORTED int register_backingstore_template(struct tgt_bst *bst);
EXPORTED struct tgt_bst *get_backingstore_template(const char *name);
EXPORTED void bs_create_opcode_map(struct tgt_bst *bst, unsigned char *opcodes, int count);

int register_backingstore_template(struct tgt_bst *bst)
{
	registered = bst;
	return 0;
}

struct tgt_bst *get_backingstore_template(const char *name)
{
	return strcmp(name, "rdwr") == 0 && theirs.name ? &theirs : NULL;
}

void bs_create_opcode_map(struct tgt_bst *bst, unsigned char *opcodes, int count)
{
	for (int i = 0; maps_opcodes && i < count; i++)
		bst->supported_ops[opcodes[i] / 64] |= 1ul << opcodes[i] % 64;
}

#define NEVER_CALLED(name)                                                                         \
	EXPORTED void name(void);                                                                  \
	void name(void)                                                                            \
	{                                                                                          \
		abort();                                                                           \
	}
NEVER_CALLED(tgt_event_add)
NEVER_CALLED(tgt_event_del)
NEVER_CALLED(tgt_init_sched_event)
NEVER_CALLED(tgt_add_sched_event)
NEVER_CALLED(target_cmd_io_done)
NEVER_CALLED(target_cmd_perform)
NEVER_CALLED(sense_data_build)
NEVER_CALLED(sense_data_build_with_info)
NEVER_CALLED(find_mode_page)
NEVER_CALLED(ua_sense_add_other_it_nexus)
NEVER_CALLED(ua_sense_add_it_nexus)
NEVER_CALLED(iscsi_transportid)
#ifndef LACKS_A_FUNCTION
NEVER_CALLED(device_reserved)
#endif

static int open_nothing(struct tgt_lu *lu, char *path, int *fd, uint64_t *size)
{
	(void)lu;
	(void)path;
	(void)fd;
	(void)size;
	return -1;
}

static int submit_nothing(struct tgt_cmd *cmd)
{
	(void)cmd;
	return -1;
}

static int setup(void **state)
{
	(void)state;
	registered = NULL;
	maps_opcodes = true;
	theirs = (struct tgt_bst){.name = "rdwr",
				  .data_size = 200,
				  .open = open_nothing,
				  .submit = submit_nothing,
				  .supported_ops = {1ul << 0x28}};
	return 0;
}

/* Loads the plugin as tgtd does, and unloads nothing: tgtd does not either. */
static void load(void)
{
	void *plugin = dlopen(getenv("HF_PLUGIN"), RTLD_NOW | RTLD_LOCAL);
	void (*entry)(void);

	if (!plugin)
		fail_msg("%s", dlerror());
	*(void **)&entry = dlsym(plugin, "register_bs_module");
	assert_non_null(entry);
	entry();
}

#ifdef LACKS_A_FUNCTION
static void without_a_function(void **state)
{
	(void)state;
	load();
	assert_null(registered);
}
#else
static void with_no_store_that_we_know(void **state)
{
	(void)state;
	theirs.name = NULL;
	load();
	assert_null(registered);
}

static void with_a_store_laid_out_otherwise(void **state)
{
	(void)state;
	theirs.name = "not where the name should be";
	load();
	assert_null(registered);
	setup(NULL);
	theirs.supported_ops[0] = 0;
	load();
	assert_null(registered);
	setup(NULL);
	theirs.data_size = 0;
	load();
	assert_null(registered);
}

static void with_a_map_of_commands_elsewhere(void **state)
{
	(void)state;
	maps_opcodes = false;
	load();
	assert_null(registered);
}

static void as_it_should_be(void **state)
{
	(void)state;
	load();
	assert_non_null(registered);
	assert_string_equal(registered->name, "holdfast");
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
#ifdef LACKS_A_FUNCTION
		cmocka_unit_test_setup(without_a_function, setup),
#else
		cmocka_unit_test_setup(with_no_store_that_we_know, setup),
		cmocka_unit_test_setup(with_a_store_laid_out_otherwise, setup),
		cmocka_unit_test_setup(with_a_map_of_commands_elsewhere, setup),
		cmocka_unit_test_setup(as_it_should_be, setup),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
