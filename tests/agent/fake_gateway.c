/* The stand-ins of fake_gateway.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/agent/fake_gateway.h"
#include "tests/lib/folder.h"

static void note(struct fake_gateway *fake, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void note(struct fake_gateway *fake, const char *format, ...)
{
	size_t used = strlen(fake->log);
	va_list args;

	if (used)
		used += (size_t)snprintf(fake->log + used, sizeof fake->log - used, "; ");
	va_start(args, format);
	vsnprintf(fake->log + used, sizeof fake->log - used, format, args);
	va_end(args);
}

struct fake_target *fake_target(struct fake_gateway *fake, const char *iqn)
{
	for (size_t i = 0; i < fake->target_count; i++)
		if (strcmp(fake->targets[i].iqn, iqn) == 0)
			return &fake->targets[i];
	return NULL;
}

struct fake_volume *fake_volume(struct fake_gateway *fake, uint64_t volume)
{
	for (size_t i = 0; i < fake->volume_count; i++)
		if (fake->volumes[i].volume == volume)
			return &fake->volumes[i];
	return NULL;
}

bool fake_portal(const struct fake_gateway *fake, const char *portal)
{
	size_t length = strlen(portal);

	for (size_t i = 0; i < fake->portal_count; i++)
		if (strncmp(fake->portals[i], portal, length) == 0 &&
		    fake->portals[i][length] == ',')
			return true;
	return false;
}

static void reply(struct hf_local_request *request, const ProtobufCMessage *message)
{
	size_t length = protobuf_c_message_get_packed_size(message);
	uint8_t *bytes = malloc(length + 1);

	protobuf_c_message_pack(message, bytes);
	hf_local_reply(request, bytes, length);
	free(bytes);
}

/* ---- The broker ---- */

static void reply_show(struct fake_gateway *fake, struct hf_local_request *request)
{
	Holdfast__BrokerAnswer answer = HOLDFAST__BROKER_ANSWER__INIT;
	Holdfast__BrokerState state = HOLDFAST__BROKER_STATE__INIT;
	Holdfast__BrokerTargetState targets[FAKE_MAX], *target_list[FAKE_MAX];
	Holdfast__BrokerLunState luns[FAKE_MAX], *lun_list[FAKE_MAX];
	char *initiators[FAKE_MAX][4], *addresses[FAKE_MAX][4], *portals[4];

	for (size_t i = 0; i < fake->target_count; i++) {
		struct fake_target *from = &fake->targets[i];

		holdfast__broker_target_state__init(&targets[i]);
		holdfast__broker_lun_state__init(&luns[i]);
		target_list[i] = &targets[i];
		lun_list[i] = &luns[i];
		targets[i].iqn = from->iqn;
		targets[i].chap_user = from->chap_user;
		luns[i].lun = from->lun;
		luns[i].volume = from->volume;
		targets[i].luns = &lun_list[i];
		targets[i].n_luns = from->volume ? 1 : 0;
		for (size_t j = 0; j < from->initiator_count; j++)
			initiators[i][j] = from->initiators[j];
		for (size_t j = 0; j < from->address_count; j++)
			addresses[i][j] = from->addresses[j];
		targets[i].initiators = initiators[i];
		targets[i].n_initiators = from->initiator_count;
		targets[i].addresses = addresses[i];
		targets[i].n_addresses = from->address_count;
	}
	for (size_t i = 0; i < fake->portal_count; i++)
		portals[i] = fake->portals[i];
	state.targets = target_list;
	state.n_targets = fake->target_count;
	state.portals = portals;
	state.n_portals = fake->portal_count;
	state.boot = (ProtobufCBinaryData){sizeof fake->boot, fake->boot};
	answer.state = &state;
	reply(request, &answer.base);
}

static int create_target(struct fake_gateway *fake, const char *iqn)
{
	note(fake, "create %s", iqn);
	assert_null(fake_target(fake, iqn));
	assert_true(fake->target_count < FAKE_MAX);
	memset(&fake->targets[fake->target_count], 0, sizeof fake->targets[0]);
	snprintf(fake->targets[fake->target_count++].iqn, sizeof fake->targets[0].iqn, "%s", iqn);
	return 0;
}

static int delete_target(struct fake_gateway *fake, const char *iqn)
{
	struct fake_target *target = fake_target(fake, iqn);

	note(fake, "delete %s", iqn);
	if (!target)
		return HF_ENOENT;
	*target = fake->targets[--fake->target_count];
	return 0;
}

static int add_lun(struct fake_gateway *fake, const Holdfast__BrokerLun *lun)
{
	struct fake_target *target = fake_target(fake, lun->iqn);

	note(fake, "lun %s", lun->iqn);
	if (fake->fail_add_lun) {
		fake->fail_add_lun--;
		return HF_EIO;
	}
	assert_non_null(target);
	target->volume = lun->volume;
	target->lun = lun->lun;
	return 0;
}

static int set_access(struct fake_gateway *fake, const Holdfast__BrokerAccess *access)
{
	struct fake_target *target = fake_target(fake, access->iqn);

	note(fake, "access %s", access->iqn);
	assert_non_null(target);
	target->initiator_count = access->n_initiators;
	target->address_count = access->n_addresses;
	for (size_t i = 0; i < access->n_initiators; i++)
		snprintf(target->initiators[i], 64, "%s", access->initiators[i]);
	for (size_t i = 0; i < access->n_addresses; i++)
		snprintf(target->addresses[i], 64, "%s", access->addresses[i]);
	snprintf(target->chap_user, sizeof target->chap_user, "%s", access->chap_user);
	snprintf(target->chap_secret, sizeof target->chap_secret, "%s", access->chap_secret);
	return 0;
}

static int open_portal(struct fake_gateway *fake, const char *portal)
{
	note(fake, "open %s", portal);
	snprintf(fake->portals[fake->portal_count++], 32, "%.29s,1", portal);
	return 0;
}

static int close_portal(struct fake_gateway *fake, const char *portal)
{
	note(fake, "close %s", portal);
	for (size_t i = 0; i < fake->portal_count; i++)
		if (strncmp(fake->portals[i], portal, strlen(portal)) == 0) {
			memmove(fake->portals[i], fake->portals[--fake->portal_count], 32);
			return 0;
		}
	return HF_ENOENT;
}

static int change_tgtd(struct fake_gateway *fake, const Holdfast__BrokerRequest *question)
{
	struct fake_target *target;

	switch (question->kind_case) {
	case HOLDFAST__BROKER_REQUEST__KIND_CREATE_TARGET:
		return create_target(fake, question->create_target->iqn);
	case HOLDFAST__BROKER_REQUEST__KIND_DELETE_TARGET:
		return delete_target(fake, question->delete_target);
	case HOLDFAST__BROKER_REQUEST__KIND_ADD_LUN:
		return add_lun(fake, question->add_lun);
	case HOLDFAST__BROKER_REQUEST__KIND_REMOVE_LUN:
		note(fake, "unlun %s", question->remove_lun->iqn);
		target = fake_target(fake, question->remove_lun->iqn);
		assert_non_null(target);
		assert_int_equal(question->remove_lun->lun, target->lun);
		target->volume = 0;
		return 0;
	case HOLDFAST__BROKER_REQUEST__KIND_SET_ACCESS:
		return set_access(fake, question->set_access);
	case HOLDFAST__BROKER_REQUEST__KIND_OPEN_PORTAL:
		return open_portal(fake, question->open_portal);
	case HOLDFAST__BROKER_REQUEST__KIND_CLOSE_PORTAL:
		return close_portal(fake, question->close_portal);
	case HOLDFAST__BROKER_REQUEST__KIND_RESTART:
		if (question->restart->boot.len != sizeof fake->boot ||
		    memcmp(question->restart->boot.data, fake->boot, sizeof fake->boot) != 0)
			return HF_ESTALE;
		fake->tgtd_restarts++;
		fake_restart_tgtd(fake);
		return 0;
	default:
		fail();
		return HF_EINVAL;
	}
}

static void on_broker(void *context, struct hf_local_request *request, const uint8_t *bytes,
		      size_t length)
{
	Holdfast__BrokerRequest *question = holdfast__broker_request__unpack(NULL, length, bytes);
	Holdfast__BrokerAnswer answer = HOLDFAST__BROKER_ANSWER__INIT;

	assert_non_null(question);
	if (question->kind_case == HOLDFAST__BROKER_REQUEST__KIND_SHOW) {
		reply_show(context, request);
	} else {
		answer.error = -change_tgtd(context, question);
		answer.reason = answer.error ? (char[]){"as the test wants"} : (char[]){""};
		reply(request, &answer.base);
	}
	holdfast__broker_request__free_unpacked(question, NULL);
}

/* ---- volumed ---- */

static void reply_status(struct fake_gateway *fake, struct hf_local_request *request)
{
	Holdfast__VolumedAnswer answer = HOLDFAST__VOLUMED_ANSWER__INIT;
	Holdfast__VolumedStatus status = HOLDFAST__VOLUMED_STATUS__INIT;
	Holdfast__VolumedVolume volumes[FAKE_MAX], *list[FAKE_MAX];

	for (size_t i = 0; i < fake->volume_count; i++) {
		holdfast__volumed_volume__init(&volumes[i]);
		list[i] = &volumes[i];
		volumes[i].volume = fake->volumes[i].volume;
		volumes[i].state = fake->volumes[i].state;
		volumes[i].attach_epoch = fake->volumes[i].attach_epoch;
	}
	status.volumes = list;
	status.n_volumes = fake->volume_count;
	status.pid = fake->pid;
	status.boot = (ProtobufCBinaryData){sizeof fake->pid, (uint8_t *)&fake->pid};
	status.alarms = &fake->alarm;
	status.n_alarms = fake->alarm ? 1 : 0;
	answer.status = &status;
	reply(request, &answer.base);
}

static int attach(struct fake_gateway *fake, const Holdfast__VolumedAttach *attach)
{
	struct fake_volume *volume = fake_volume(fake, attach->volume);

	note(fake, "attach %u", (unsigned)attach->volume);
	if (fake->fail_attach_error && attach->volume == fake->fail_attach_volume)
		return fake->fail_attach_error;
	if (!volume)
		volume = &fake->volumes[fake->volume_count++];
	volume->volume = attach->volume;
	volume->attach_epoch = attach->attach_epoch;
	volume->state = 2;
	assert_int_equal(attach->wrap_key.len, 32);
	memcpy(volume->wrap_key, attach->wrap_key.data, 32);
	return 0;
}

static int change_volumed(struct fake_gateway *fake, const Holdfast__VolumedRequest *question)
{
	struct fake_volume *volume;

	switch (question->kind_case) {
	case HOLDFAST__VOLUMED_REQUEST__KIND_SET_STORE:
		note(fake, "store");
		snprintf(fake->store_url, sizeof fake->store_url, "%s", question->set_store->url);
		snprintf(fake->store_secret, sizeof fake->store_secret, "%s",
			 question->set_store->secret_key);
		return 0;
	case HOLDFAST__VOLUMED_REQUEST__KIND_ATTACH:
		return attach(fake, question->attach);
	case HOLDFAST__VOLUMED_REQUEST__KIND_DETACH:
		note(fake, "detach %u", (unsigned)question->detach);
		volume = fake_volume(fake, question->detach);
		if (volume)
			volume->state = 4;
		return 0;
	case HOLDFAST__VOLUMED_REQUEST__KIND_REMOVE_VOLUME:
		note(fake, "remove %u", (unsigned)question->remove_volume->volume);
		volume = fake_volume(fake, question->remove_volume->volume);
		if (volume)
			*volume = fake->volumes[--fake->volume_count];
		return 0;
	case HOLDFAST__VOLUMED_REQUEST__KIND_RESTART:
		if (question->restart->boot.len != sizeof fake->pid ||
		    memcmp(question->restart->boot.data, &fake->pid, sizeof fake->pid) != 0)
			return HF_ESTALE;
		fake->volumed_restarts++;
		fake->pid++;
		return 0;
	default:
		fail();
		return HF_EINVAL;
	}
}

static void on_volumed(void *context, struct hf_local_request *request, const uint8_t *bytes,
		       size_t length)
{
	Holdfast__VolumedRequest *question = holdfast__volumed_request__unpack(NULL, length, bytes);
	Holdfast__VolumedAnswer answer = HOLDFAST__VOLUMED_ANSWER__INIT;

	assert_non_null(question);
	if (question->kind_case == HOLDFAST__VOLUMED_REQUEST__KIND_STATUS) {
		reply_status(context, request);
	} else {
		answer.error = -change_volumed(context, question);
		reply(request, &answer.base);
	}
	holdfast__volumed_request__free_unpacked(question, NULL);
}

/* ---- Processes ---- */

static void start(struct fake_gateway *fake, const char *name, struct hf_local_server **server,
		  void (*request)(void *, struct hf_local_request *, const uint8_t *, size_t))
{
	char path[128];
	struct hf_local_server_config config = {
		.path = path, .mode = 0600, .request = request, .context = fake};
	struct hf_errmsg message;

	snprintf(path, sizeof path, "%s/%s", fake->folder, name);
	assert_int_equal(hf_local_listen(&fake->loop->loop, &config, server, &message), 0);
}

static void on_closed(void *context)
{
	((struct fake_gateway *)context)->closing--;
}

static void stop(struct fake_gateway *fake, struct hf_local_server **server)
{
	fake->closing++;
	hf_local_server_close(*server, on_closed, fake);
	*server = NULL;
	RUN_UNTIL(fake->loop, fake->closing == 0);
}

void fake_start_broker(struct fake_gateway *fake)
{
	start(fake, fake->broker_name, &fake->broker, on_broker);
}

void fake_stop_broker(struct fake_gateway *fake)
{
	stop(fake, &fake->broker);
}

void fake_start_volumed(struct fake_gateway *fake)
{
	fake->pid++;
	start(fake, "volumed.sock", &fake->volumed, on_volumed);
}

void fake_stop_volumed(struct fake_gateway *fake)
{
	stop(fake, &fake->volumed);
}

void fake_restart_tgtd(struct fake_gateway *fake)
{
	fake->target_count = 0;
	fake->portal_count = 1;
	snprintf(fake->portals[0], 32, "127.0.0.1:4999,1");
	fake->boot[0]++;
}

void fake_open(struct fake_gateway *fake, struct test_loop *loop)
{
	memset(fake, 0, sizeof *fake);
	fake->loop = loop;
	fake->pid = 100;
	fake->broker_name = "broker.sock";
	strcpy(fake->folder, "/tmp/hf-agent-XXXXXX");
	assert_non_null(mkdtemp(fake->folder));
	fake_restart_tgtd(fake);
	fake_start_broker(fake);
	fake_start_volumed(fake);
}

void fake_open_second(struct fake_gateway *second, const struct fake_gateway *first)
{
	memset(second, 0, sizeof *second);
	second->loop = first->loop;
	second->broker_name = "broker-2.sock";
	memcpy(second->folder, first->folder, sizeof second->folder);
	fake_restart_tgtd(second);
	fake_start_broker(second);
}

void fake_close(struct fake_gateway *fake)
{
	if (fake->broker)
		fake_stop_broker(fake);
	if (fake->volumed)
		fake_stop_volumed(fake);
	folder_remove(fake->folder);
}
