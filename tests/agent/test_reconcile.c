/* Promises of the reconciler, against stand-ins of the broker and volumed on real sockets: portals
 * that are not ours are closed first and ours is opened last; a bad volume does not hold back
 * others; what fails is taken back and tried again; a restarted tgtd is provisioned anew, a
 * restarted agent disturbs nothing; nothing leaves the document without being gone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gateway/agent/reconcile.h"
#include "tests/agent/fake_gateway.h"

#define PORTAL   "127.0.0.1:3999"
#define PORTAL_2 "127.0.0.1:3998"

struct fixture {
	struct test_loop loop;
	struct fake_gateway fake;
	struct hf_kept kept;
	struct hf_seal_key sealing;
	struct hf_reconciler *reconciler;
	Holdfast__Document document;
	Holdfast__Volume volumes[6], *volume_list[6];
	Holdfast__Tombstone tombstones[6], *tombstone_list[6];
	Holdfast__Store store;
	char targets[6][40];
	const char *portals;
	unsigned changes;
	bool closed;
};

static void on_changed(void *context)
{
	((struct fixture *)context)->changes++;
}

static void open_reconciler(struct fixture *f)
{
	struct hf_reconciler_config config = {.loop = &f->loop.loop,
					      .run_dir = f->fake.folder,
					      .portals = f->portals,
					      .kept = &f->kept,
					      .sealing = &f->sealing,
					      .changed = on_changed,
					      .context = f};
	struct hf_errmsg message;

	assert_int_equal(hf_reconciler_open(&config, &f->reconciler, &message), 0);
}

static void on_closed(void *context)
{
	((struct fixture *)context)->closed = true;
}

static void close_reconciler(struct fixture *f)
{
	f->closed = false;
	hf_reconciler_close(f->reconciler, on_closed, f);
	RUN_UNTIL(&f->loop, f->closed);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	signal(SIGPIPE, SIG_IGN);
	test_loop_open(&f->loop);
	fake_open(&f->fake, &f->loop);
	f->kept.folder = f->fake.folder;
	hf_seal_key_make(&f->sealing);
	f->portals = PORTAL;
	open_reconciler(f);
	holdfast__document__init(&f->document);
	holdfast__store__init(&f->store);
	f->document.incarnation = f->document.generation = 1;
	f->document.volumes = f->volume_list;
	f->document.tombstones = f->tombstone_list;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	close_reconciler(f);
	fake_close(&f->fake);
	test_loop_close(&f->loop);
	for (size_t i = 0; i < 6; i++) {
		free(f->volumes[i].sealed.data);
		free(f->tombstones[i].sealed.data);
	}
	free(f);
	return 0;
}

/* ---- Documents ---- */

static ProtobufCBinaryData seal_secrets(struct fixture *f, uint64_t volume, uint64_t version)
{
	Holdfast__VolumeSecrets secrets = HOLDFAST__VOLUME_SECRETS__INIT;
	uint8_t key[32] = {1, 2, (uint8_t)volume}, plain[200];
	char purpose[HF_PURPOSE_MAX];
	ProtobufCBinaryData sealed;

	secrets.wrap_key = (ProtobufCBinaryData){sizeof key, key};
	secrets.chap_secret = (char[]){"chap secret of test"};
	hf_purpose_volume(volume, version, purpose);
	assert_int_equal(hf_seal(f->sealing.public_key, purpose, plain,
				 holdfast__volume_secrets__pack(&secrets, plain), &sealed.data,
				 &sealed.len),
			 0);
	return sealed;
}

static Holdfast__Volume *add_volume(struct fixture *f, uint64_t volume)
{
	size_t i = f->document.n_volumes++;
	Holdfast__Volume *entry = &f->volumes[i];

	holdfast__volume__init(entry);
	f->volume_list[i] = entry;
	snprintf(f->targets[i], sizeof f->targets[i], "iqn.2026-11.t:v%u", (unsigned)volume);
	entry->volume = volume;
	entry->version = 1;
	entry->size_bytes = 1 << 20;
	entry->attachment = HOLDFAST__ATTACHMENT__ATTACHED;
	entry->attach_epoch = 1;
	entry->target = f->targets[i];
	entry->lun = 1;
	entry->create = true;
	entry->sealed = seal_secrets(f, volume, 1);
	return entry;
}

static void put_document(struct fixture *f)
{
	f->document.generation++;
	hf_reconciler_set_document(f->reconciler, 5, &f->document);
}

/* The present report of a volume: its state, and its error through `error`. */
static int state_of(struct fixture *f, uint64_t volume, int *error)
{
	Holdfast__Report report = HOLDFAST__REPORT__INIT;
	int state = -1;

	hf_reconciler_report(f->reconciler, &report);
	for (size_t i = 0; i < report.n_volumes; i++)
		if (report.volumes[i]->volume == volume) {
			state = (int)report.volumes[i]->state;
			if (error)
				*error = -report.volumes[i]->error;
		}
	hf_reconciler_report_free(&report);
	return state;
}

#define AVAILABLE ((int)HOLDFAST__VOLUME_STATE__VOLUME_AVAILABLE)
#define FAILED    ((int)HOLDFAST__VOLUME_STATE__VOLUME_FAILED)
#define DETACHED  ((int)HOLDFAST__VOLUME_STATE__VOLUME_DETACHED)
#define DELETED   ((int)HOLDFAST__VOLUME_STATE__VOLUME_DELETED)

#define WAIT_STATE(f, volume, wanted) RUN_UNTIL(&(f)->loop, state_of(f, volume, NULL) == (wanted))

/* Position of a change in the log; fails the test if it is not there. */
static size_t position(const struct fixture *f, const char *what)
{
	const char *found = strstr(f->fake.log, what);

	if (!found)
		fail_msg("`%s` is not in: %s", what, f->fake.log);
	return (size_t)(found - f->fake.log);
}

/* ---- Tests ---- */

static void test_a_volume_is_made_in_order(void **state)
{
	struct fixture *f = *state;

	f->store.url = (char[]){"dir:/somewhere"};
	f->document.store = &f->store;
	add_volume(f, 7);
	put_document(f);
	WAIT_STATE(f, 7, AVAILABLE);
	assert_true(position(f, "close 127.0.0.1:4999") < position(f, "create iqn.2026-11.t:v7"));
	assert_true(position(f, "store") < position(f, "attach 7"));
	assert_true(position(f, "attach 7") < position(f, "create iqn.2026-11.t:v7"));
	assert_true(position(f, "access iqn.2026-11.t:v7") < position(f, "lun iqn.2026-11.t:v7"));
	assert_true(position(f, "lun iqn.2026-11.t:v7") < position(f, "open " PORTAL));
	assert_string_equal(fake_target(&f->fake, "iqn.2026-11.t:v7")->addresses[0], "127.0.0.1");
	assert_int_equal(fake_volume(&f->fake, 7)->wrap_key[2], 7);
	assert_string_equal(f->fake.store_url, "dir:/somewhere");
	assert_true(f->changes > 0);
}

static void test_portal_is_opened_after_all_targets(void **state)
{
	struct fixture *f = *state;

	for (uint64_t volume = 7; volume < 11; volume++)
		add_volume(f, volume);
	put_document(f);
	for (uint64_t volume = 7; volume < 11; volume++)
		WAIT_STATE(f, volume, AVAILABLE);
	assert_true(position(f, "lun iqn.2026-11.t:v7") < position(f, "open " PORTAL));
	assert_true(position(f, "lun iqn.2026-11.t:v8") < position(f, "open " PORTAL));
	assert_true(position(f, "lun iqn.2026-11.t:v9") < position(f, "open " PORTAL));
	assert_true(position(f, "lun iqn.2026-11.t:v10") < position(f, "open " PORTAL));
}

static void test_a_bad_volume_does_not_hold_back_others(void **state)
{
	struct fixture *f = *state;
	int error = 0;

	add_volume(f, 7)->lun = 0; /* cannot be served */
	add_volume(f, 8);
	f->volumes[1].sealed.data[20] ^= 1; /* cannot be unsealed */
	add_volume(f, 9);
	f->fake.fail_attach_volume = 9;
	f->fake.fail_attach_error = HF_ECORRUPT;
	add_volume(f, 10);
	put_document(f);
	WAIT_STATE(f, 10, AVAILABLE);
	assert_int_equal(state_of(f, 7, &error), FAILED);
	assert_int_equal(error, HF_EINVAL);
	assert_int_equal(state_of(f, 8, &error), FAILED);
	assert_int_equal(state_of(f, 9, &error), FAILED);
	assert_int_equal(error, HF_ECORRUPT);
	f->fake.fail_attach_error = 0; /* tried again, and good */
	WAIT_STATE(f, 9, AVAILABLE);
}

static void test_what_failed_is_taken_back(void **state)
{
	struct fixture *f = *state;

	f->fake.fail_add_lun = 1;
	add_volume(f, 7);
	put_document(f);
	WAIT_STATE(f, 7, AVAILABLE);
	assert_true(position(f, "lun iqn.2026-11.t:v7") < position(f, "delete iqn.2026-11.t:v7"));
	assert_non_null(strstr(f->fake.log + position(f, "delete iqn.2026-11.t:v7"),
			       "create iqn.2026-11.t:v7"));
}

static void test_chap_is_unsealed_for_the_broker(void **state)
{
	struct fixture *f = *state;

	add_volume(f, 7)->chap_user = (char[]){"user"};
	put_document(f);
	WAIT_STATE(f, 7, AVAILABLE);
	assert_string_equal(fake_target(&f->fake, "iqn.2026-11.t:v7")->chap_secret,
			    "chap secret of test");
	assert_string_equal(fake_target(&f->fake, "iqn.2026-11.t:v7")->addresses[0], "ALL");
}

static void test_restarted_tgtd_is_provisioned_anew(void **state)
{
	struct fixture *f = *state;

	add_volume(f, 7);
	add_volume(f, 8);
	put_document(f);
	WAIT_STATE(f, 7, AVAILABLE);
	WAIT_STATE(f, 8, AVAILABLE);
	f->fake.log[0] = '\0';
	fake_restart_tgtd(&f->fake);
	RUN_UNTIL(&f->loop, fake_portal(&f->fake, PORTAL));
	assert_non_null(fake_target(&f->fake, "iqn.2026-11.t:v7"));
	assert_non_null(fake_target(&f->fake, "iqn.2026-11.t:v8"));
	assert_true(position(f, "lun iqn.2026-11.t:v8") < position(f, "open " PORTAL));
	assert_null(strstr(f->fake.log, "attach"));
}

static void test_restarted_volumed_is_only_attached(void **state)
{
	struct fixture *f = *state;

	add_volume(f, 7);
	put_document(f);
	WAIT_STATE(f, 7, AVAILABLE);
	f->fake.log[0] = '\0';
	fake_stop_volumed(&f->fake);
	fake_start_volumed(&f->fake);
	RUN_UNTIL(&f->loop, f->fake.log[0]);
	WAIT_STATE(f, 7, AVAILABLE);
	assert_string_equal(f->fake.log, "attach 7");
}

static void test_a_new_agent_disturbs_nothing(void **state)
{
	struct fixture *f = *state;

	add_volume(f, 7)->chap_user = (char[]){"user"};
	put_document(f);
	WAIT_STATE(f, 7, AVAILABLE);
	close_reconciler(f);
	f->fake.log[0] = '\0';
	open_reconciler(f);
	put_document(f);
	WAIT_STATE(f, 7, AVAILABLE);
	assert_string_equal(f->fake.log, "attach 7"); /* which changes nothing there */
}

static void test_detach_and_attach_again(void **state)
{
	struct fixture *f = *state;
	Holdfast__Volume *entry = add_volume(f, 7);

	put_document(f);
	WAIT_STATE(f, 7, AVAILABLE);
	f->fake.log[0] = '\0';
	entry->attachment = HOLDFAST__ATTACHMENT__DETACHED;
	entry->version = 2;
	put_document(f);
	WAIT_STATE(f, 7, DETACHED);
	assert_string_equal(f->fake.log, "unlun iqn.2026-11.t:v7; delete iqn.2026-11.t:v7; "
					 "detach 7");
	entry->attachment = HOLDFAST__ATTACHMENT__ATTACHED;
	entry->version = 3;
	entry->attach_epoch = 2;
	free(entry->sealed.data);
	entry->sealed = seal_secrets(f, 7, 3);
	put_document(f);
	WAIT_STATE(f, 7, AVAILABLE);
	assert_int_equal(fake_volume(&f->fake, 7)->attach_epoch, 2);
}

static void test_tombstone_removes(void **state)
{
	struct fixture *f = *state;

	add_volume(f, 7);
	put_document(f);
	WAIT_STATE(f, 7, AVAILABLE);
	f->fake.log[0] = '\0';
	f->document.n_volumes = 0;
	holdfast__tombstone__init(&f->tombstones[0]);
	f->tombstone_list[0] = &f->tombstones[0];
	f->tombstones[0].volume = 7;
	f->tombstones[0].version = 2;
	f->tombstones[0].sealed = seal_secrets(f, 7, 2);
	f->document.n_tombstones = 1;
	put_document(f);
	WAIT_STATE(f, 7, DELETED);
	assert_string_equal(f->fake.log, "unlun iqn.2026-11.t:v7; delete iqn.2026-11.t:v7; "
					 "remove 7");
	f->document.n_tombstones = 0;
	put_document(f);
	assert_int_equal(state_of(f, 7, NULL), -1);
}

/* Invariant 9: also a document that turns a volume into a tombstone under its old version ends the
 * steps that were under way for the volume: they have nothing to work from any more. */
static void test_tombstone_of_the_same_version_ends_the_steps(void **state)
{
	struct fixture *f = *state;

	add_volume(f, 7);
	put_document(f);
	RUN_UNTIL(&f->loop, strstr(f->fake.log, "create iqn.2026-11.t:v7"));
	f->document.n_volumes = 0;
	f->document.n_tombstones = 1;
	f->tombstone_list[0] = &f->tombstones[0];
	holdfast__tombstone__init(&f->tombstones[0]);
	f->tombstones[0].volume = 7;
	f->tombstones[0].version = 1;
	f->tombstones[0].sealed = seal_secrets(f, 7, 1);
	put_document(f);
	WAIT_STATE(f, 7, DELETED);
	assert_null(fake_target(&f->fake, "iqn.2026-11.t:v7"));
}

static void test_targets_of_nobody_are_deleted(void **state)
{
	struct fixture *f = *state;

	snprintf(f->fake.targets[0].iqn, 64, "iqn.2026-11.t:left-over");
	f->fake.target_count = 1;
	add_volume(f, 7);
	put_document(f);
	WAIT_STATE(f, 7, AVAILABLE);
	RUN_UNTIL(&f->loop, !fake_target(&f->fake, "iqn.2026-11.t:left-over"));
}

static void test_works_on_when_the_broker_comes_late(void **state)
{
	struct fixture *f = *state;
	int error = 0;

	fake_stop_broker(&f->fake);
	add_volume(f, 7);
	put_document(f);
	RUN_UNTIL(&f->loop, fake_volume(&f->fake, 7));
	assert_int_equal(state_of(f, 7, &error), HOLDFAST__VOLUME_STATE__VOLUME_CREATING);
	fake_start_broker(&f->fake);
	WAIT_STATE(f, 7, AVAILABLE);
}

/* ---- Several tgtd ---- */

static void begin_two(struct fixture *f, struct fake_gateway *second)
{
	close_reconciler(f);
	fake_open_second(second, &f->fake);
	f->portals = PORTAL ", " PORTAL_2;
	open_reconciler(f);
	for (uint64_t volume = 1; volume <= 4; volume++)
		add_volume(f, volume);
	put_document(f);
	for (uint64_t volume = 1; volume <= 4; volume++)
		WAIT_STATE(f, volume, AVAILABLE);
	RUN_UNTIL(&f->loop, fake_portal(&f->fake, PORTAL) && fake_portal(second, PORTAL_2));
}

static void restart_reconciler(struct fixture *f)
{
	close_reconciler(f);
	f->fake.log[0] = '\0';
	open_reconciler(f);
	put_document(f);
	for (uint64_t volume = 1; volume <= 4; volume++)
		WAIT_STATE(f, volume, AVAILABLE);
}

static void test_volumes_are_spread_and_stay(void **state)
{
	struct fixture *f = *state;
	struct fake_gateway second;
	char path[128];

	begin_two(f, &second);
	assert_true(f->fake.target_count == 2 && second.target_count == 2);
	restart_reconciler(f); /* as it was kept */
	assert_null(strstr(f->fake.log, "create"));
	snprintf(path, sizeof path, "%s/places", f->fake.folder);
	assert_int_equal(unlink(path), 0);
	restart_reconciler(f); /* as their LUNs tell */
	assert_null(strstr(f->fake.log, "create"));
	assert_true(f->fake.target_count == 2 && second.target_count == 2);
	fake_stop_broker(&second);
}

static void test_one_tgtd_away_holds_back_its_own_only(void **state)
{
	struct fixture *f = *state;
	struct fake_gateway second;

	begin_two(f, &second);
	fake_stop_broker(&second);
	add_volume(f, 5); /* a place is found where somebody answers */
	fake_restart_tgtd(&f->fake);
	put_document(f);
	WAIT_STATE(f, 5, AVAILABLE);
	RUN_UNTIL(&f->loop, fake_portal(&f->fake, PORTAL));
	assert_int_equal(f->fake.target_count, 3);
	fake_restart_tgtd(&second);
	fake_start_broker(&second);
	RUN_UNTIL(&f->loop, fake_portal(&second, PORTAL_2));
	assert_int_equal(second.target_count, 2);
	fake_stop_broker(&second);
}

static void test_alarms_travel_with_reports(void **state)
{
	Holdfast__Report report = HOLDFAST__REPORT__INIT;
	struct fixture *f = *state;
	bool found = false;

	f->fake.alarm = (char[]){"a block is bad"};
	add_volume(f, 7);
	put_document(f);
	WAIT_STATE(f, 7, AVAILABLE);
	hf_reconciler_report(f->reconciler, &report);
	for (size_t i = 0; i < report.n_alarms; i++)
		found = found || strcmp(report.alarms[i], "a block is bad") == 0;
	assert_true(found);
	assert_string_equal(report.volumes[0]->portal, PORTAL);
	hf_reconciler_report_free(&report);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_a_volume_is_made_in_order),
		T(test_portal_is_opened_after_all_targets),
		T(test_a_bad_volume_does_not_hold_back_others),
		T(test_what_failed_is_taken_back),
		T(test_chap_is_unsealed_for_the_broker),
		T(test_restarted_tgtd_is_provisioned_anew),
		T(test_restarted_volumed_is_only_attached),
		T(test_a_new_agent_disturbs_nothing),
		T(test_detach_and_attach_again),
		T(test_tombstone_removes),
		T(test_tombstone_of_the_same_version_ends_the_steps),
		T(test_targets_of_nobody_are_deleted),
		T(test_works_on_when_the_broker_comes_late),
		T(test_volumes_are_spread_and_stay),
		T(test_one_tgtd_away_holds_back_its_own_only),
		T(test_alarms_travel_with_reports),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
