/* tests/provider/volume_fixture.h. */
#include "tests/provider/volume_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

struct lab lab;
struct test_gateway gw, other;

int volume_set_up(void **state)
{
	(void)state;
	lab_up(&lab, "");
	tg_init(&gw, &lab);
	tg_init(&other, &lab);
	tg_join(&gw, "gw");
	return 0;
}

int volume_tear_down(void **state)
{
	(void)state;
	tg_free(&gw);
	tg_free(&other);
	lab_down(&lab);
	return 0;
}

/* ---- Questions ---- */

void ask_create(const char *gateway, const char *name, uint32_t wait_ms, struct lab_answer *answer)
{
	Holdfast__AdminRequest request = HOLDFAST__ADMIN_REQUEST__INIT;
	Holdfast__AdminVolumeCreate create = HOLDFAST__ADMIN_VOLUME_CREATE__INIT;
	char user[] = "alice", secret[] = "correct-horse", initiator[] = "192.0.2.0/24";
	char *initiators[] = {initiator};

	create.gateway = (char *)(uintptr_t)gateway;
	create.name = (char *)(uintptr_t)name;
	create.size_bytes = VOLUME_BYTES;
	create.chap_user = user;
	create.chap_secret = secret;
	create.initiators = initiators;
	create.n_initiators = 1;
	request.wait_ms = wait_ms;
	request.kind_case = HOLDFAST__ADMIN_REQUEST__KIND_VOLUME_CREATE;
	request.volume_create = &create;
	lab_ask(&lab, &request, answer);
}

int create(const char *gateway, const char *name, uint32_t wait_ms)
{
	struct lab_answer answer;
	int err;

	ask_create(gateway, name, wait_ms, &answer);
	lab_wait_answer(&lab, &answer);
	err = answer.err;
	lab_forget(&answer);
	return err;
}

void ask_detach(const char *volume, uint32_t wait_ms, struct lab_answer *answer)
{
	Holdfast__AdminRequest request = HOLDFAST__ADMIN_REQUEST__INIT;
	Holdfast__AdminVolumeName name = HOLDFAST__ADMIN_VOLUME_NAME__INIT;

	name.volume = (char *)(uintptr_t)volume;
	request.wait_ms = wait_ms;
	request.kind_case = HOLDFAST__ADMIN_REQUEST__KIND_VOLUME_DETACH;
	request.volume_detach = &name;
	lab_ask(&lab, &request, answer);
}

void ask_confirm(const char *gateway, struct lab_answer *answer)
{
	Holdfast__AdminRequest request = HOLDFAST__ADMIN_REQUEST__INIT;
	Holdfast__AdminConfirm confirm = HOLDFAST__ADMIN_CONFIRM__INIT;

	confirm.gateway = (char *)(uintptr_t)gateway;
	request.kind_case = HOLDFAST__ADMIN_REQUEST__KIND_CONFIRM;
	request.confirm = &confirm;
	lab_ask(&lab, &request, answer);
}

int change(int kind, const char *volume, const char *gateway, bool force, uint32_t wait_ms,
	   struct lab_answer *answer)
{
	Holdfast__AdminRequest request = HOLDFAST__ADMIN_REQUEST__INIT;
	Holdfast__AdminVolumeName name = HOLDFAST__ADMIN_VOLUME_NAME__INIT;
	Holdfast__AdminAttach attach = HOLDFAST__ADMIN_ATTACH__INIT;

	name.volume = attach.volume = (char *)(uintptr_t)volume;
	name.force = force;
	attach.gateway = (char *)(uintptr_t)gateway;
	attach.force = force;
	request.wait_ms = wait_ms;
	request.kind_case = kind;
	if (kind == HOLDFAST__ADMIN_REQUEST__KIND_VOLUME_ATTACH)
		request.volume_attach = &attach;
	else
		request.volume_detach = &name;
	lab_ask(&lab, &request, answer);
	lab_wait_answer(&lab, answer);
	return answer->err;
}

int attach(const char *volume, const char *gateway)
{
	struct lab_answer answer;
	int err = change(HOLDFAST__ADMIN_REQUEST__KIND_VOLUME_ATTACH, volume, gateway, false, 10000,
			 &answer);

	lab_forget(&answer);
	return err;
}

int detach(const char *volume)
{
	struct lab_answer answer;
	int err = change(HOLDFAST__ADMIN_REQUEST__KIND_VOLUME_DETACH, volume, "", false, 10000,
			 &answer);

	lab_forget(&answer);
	return err;
}

int remove_volume(const char *volume, bool force)
{
	struct lab_answer answer;
	int err = change(HOLDFAST__ADMIN_REQUEST__KIND_VOLUME_DELETE, volume, "", force, 10000,
			 &answer);

	lab_forget(&answer);
	return err;
}

struct wanted {
	const char *volume, *status;
};

static bool has_status(void *context)
{
	struct wanted *wanted = context;
	struct lab_answer answer;
	bool found;

	lab_show_volume(&lab, wanted->volume, &answer);
	found = strcmp(lab_text(&answer, "status"), wanted->status) == 0;
	lab_forget(&answer);
	return found;
}

void expect_status(const char *volume, const char *status)
{
	struct wanted wanted = {volume, status};

	lab_until(&lab, has_status, &wanted, status);
}

/* The gateway's document has at least so many volumes and tombstones. */
static size_t wanted_volumes, wanted_tombstones;

static bool has_entries(void *context)
{
	struct test_gateway *g = context;

	return g->document && g->document->n_volumes >= wanted_volumes &&
	       g->document->n_tombstones >= wanted_tombstones;
}

void wait_entries(size_t volumes, size_t tombstones)
{
	wanted_volumes = volumes;
	wanted_tombstones = tombstones;
	lab_until(&lab, has_entries, &gw, "the entries of a document");
}

bool is_created(void *context)
{
	struct test_gateway *g = context;

	return g->document && g->document->n_volumes == 1 && !g->document->volumes[0]->create;
}

bool all_signed(void *context)
{
	struct lab_answer answer;
	bool equal;

	(void)context;
	lab_show_gateway(&lab, "gw", &answer);
	equal = lab_number(&answer, "generation") == lab_number(&answer, "signed_generation");
	lab_forget(&answer);
	return equal;
}
