/* Promise of network settings (invariant 4): a connection proves the settings that it was made with
 * and no others, also one that is made in the moment between two. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/agent/network.h"
#include "tests/lib/folder.h"
#include "tests/net/loop.h"

struct fixture {
	struct test_loop loop;
	char folder[64];
	struct hf_kept kept;
	struct hf_seal_key sealing;
	Holdfast__ActivateIssued issued;
	struct hf_network *network;
	unsigned changes;
	bool closed;
};

static void on_changed(void *context)
{
	((struct fixture *)context)->changes++;
}

static void on_closed(void *context)
{
	((struct fixture *)context)->closed = true;
}

static void open_network(struct fixture *f)
{
	struct hf_network_config config = {.loop = &f->loop.loop,
					   .kept = &f->kept,
					   .sealing = &f->sealing,
					   .issued = &f->issued,
					   .provider = "",
					   .changed = on_changed,
					   .context = f};
	struct hf_errmsg message = {""};

	assert_int_equal(hf_network_open(&config, &f->network, &message), 0);
}

static void close_network(struct fixture *f)
{
	f->closed = false;
	hf_network_close(f->network, on_closed, f);
	RUN_UNTIL(&f->loop, f->closed);
}

static void bring(struct fixture *f, uint64_t version)
{
	Holdfast__Network settings = HOLDFAST__NETWORK__INIT;
	char *endpoints[] = {(char[]){"127.0.0.1:1"}};

	settings.version = version;
	settings.endpoints = endpoints;
	settings.n_endpoints = 1;
	settings.confirm_ms = 1000;
	hf_network_document(f->network, 1, &settings);
}

static void test_only_what_a_connection_was_made_with(void **state)
{
	struct fixture f = {.changes = 0};
	uint64_t before, between, after;

	(void)state;
	test_loop_open(&f.loop);
	snprintf(f.folder, sizeof f.folder, "/tmp/hf-network-XXXXXX");
	assert_non_null(mkdtemp(f.folder));
	f.kept.folder = f.folder;
	hf_seal_key_make(&f.sealing);
	holdfast__activate_issued__init(&f.issued);
	open_network(&f);
	before = hf_network_serial(f.network);
	assert_true(hf_network_proves(f.network, before));
	bring(&f, 7);
	/* Diallers still use the ones before, and may connect with them. */
	between = hf_network_serial(f.network);
	assert_false(hf_network_proves(f.network, before));
	assert_false(hf_network_proves(f.network, between));
	RUN_UNTIL(&f.loop, f.changes == 1);
	after = hf_network_serial(f.network);
	assert_false(hf_network_proves(f.network, before));
	assert_false(hf_network_proves(f.network, between));
	assert_true(hf_network_proves(f.network, after));
	/* The same when they are rolled back. */
	RUN_UNTIL(&f.loop, !hf_network_proves(f.network, after));
	between = hf_network_serial(f.network);
	assert_false(hf_network_proves(f.network, between));
	RUN_UNTIL(&f.loop, f.changes == 2);
	assert_false(hf_network_proves(f.network, after));
	assert_false(hf_network_proves(f.network, between));
	assert_true(hf_network_proves(f.network, hf_network_serial(f.network)));
	/* After a restart, connections are made with what is in force from the start. */
	bring(&f, 8);
	close_network(&f);
	open_network(&f);
	assert_true(hf_network_proves(f.network, hf_network_serial(f.network)));
	close_network(&f);
	folder_remove(f.folder);
	test_loop_close(&f.loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_only_what_a_connection_was_made_with),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
