/* volumed and one tgtd with its broker, of a gateway of sim_plane: they keep what they are told,
 * whatever becomes of the agent, and refuse what makes no sense. Effects are told to the world. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "gateway/volumed/core.h"
#include "proto/local.pb-c.h"
#include "tests/sim/plane.h"

#define ENTRIES_MAX 64u
#define FAILS       4000u /* per million questions */
#define IQN_MAX     64u

struct volume {
	uint64_t volume, attach_epoch, size_bytes;
	uint32_t state;
};

struct target {
	char iqn[IQN_MAX];
	uint64_t volume; /* 0: no LUN */
	uint32_t lun;
	char chap_user[32];
	char initiators[4][64], addresses[4][64];
	unsigned initiator_count, address_count;
};

struct sim_machine {
	unsigned gateway;
	struct volume volumes[ENTRIES_MAX];
	unsigned volume_count;
	uint64_t removed[ENTRIES_MAX * 4]; /* for good */
	unsigned removed_count;
	struct target targets[ENTRIES_MAX];
	unsigned target_count;
	char portals[4][32];
	unsigned portal_count;
	uint64_t pid;  /* of volumed */
	uint64_t boot; /* of tgtd */
	uint64_t volumed_away_until_ms, tgtd_away_until_ms;
	uint64_t ended_ms[2]; /* the last run of tgtd, of volumed */
};

static struct volume *find_volume(const struct sim_machine *m, uint64_t volume)
{
	for (unsigned i = 0; i < m->volume_count; i++)
		if (m->volumes[i].volume == volume)
			return (struct volume *)(uintptr_t)&m->volumes[i];
	return NULL;
}

static struct target *find_target(const struct sim_machine *m, const char *iqn)
{
	for (unsigned i = 0; i < m->target_count; i++)
		if (strcmp(m->targets[i].iqn, iqn) == 0)
			return (struct target *)(uintptr_t)&m->targets[i];
	return NULL;
}

static uint8_t *pack(const ProtobufCMessage *message, size_t *length)
{
	uint8_t *bytes;

	*length = protobuf_c_message_get_packed_size(message);
	bytes = malloc(*length + 1);
	HF_ASSERT(bytes);
	protobuf_c_message_pack(message, bytes);
	return bytes;
}

/* ---- tgtd and its broker ---- */

/* As tgtd rounds (tgt 1.0.85, print_disksize()). */
static uint64_t megabytes(uint64_t size_bytes)
{
	uint64_t sectors = size_bytes / 512;

	return (sectors - (sectors / 625 - 974)) / 1950;
}

static void restart_tgtd(struct sim_machine *m)
{
	m->boot++;
	m->ended_ms[0] = sim_world.now_ms;
	m->target_count = 0;
	m->portal_count = 0;
	m->tgtd_away_until_ms = sim_world.now_ms + 50 + sim_below(500);
}

static uint8_t *show(struct sim_machine *m, size_t *length)
{
	Holdfast__BrokerAnswer answer = HOLDFAST__BROKER_ANSWER__INIT;
	Holdfast__BrokerState state = HOLDFAST__BROKER_STATE__INIT;
	Holdfast__BrokerTargetState targets[ENTRIES_MAX], *target_list[ENTRIES_MAX];
	Holdfast__BrokerLunState luns[ENTRIES_MAX], *lun_list[ENTRIES_MAX];
	char *initiators[ENTRIES_MAX][4], *addresses[ENTRIES_MAX][4], *portals[4];

	for (unsigned i = 0; i < m->target_count; i++) {
		struct target *from = &m->targets[i];
		const struct volume *volume = find_volume(m, from->volume);

		holdfast__broker_target_state__init(&targets[i]);
		holdfast__broker_lun_state__init(&luns[i]);
		target_list[i] = &targets[i];
		lun_list[i] = &luns[i];
		targets[i].iqn = from->iqn;
		targets[i].chap_user = from->chap_user;
		luns[i].lun = from->lun;
		luns[i].volume = from->volume;
		luns[i].block_size = 512;
		luns[i].size_mb = volume ? megabytes(volume->size_bytes) : 0;
		targets[i].luns = &lun_list[i];
		targets[i].n_luns = from->volume ? 1 : 0;
		for (unsigned j = 0; j < from->initiator_count; j++)
			initiators[i][j] = from->initiators[j];
		for (unsigned j = 0; j < from->address_count; j++)
			addresses[i][j] = from->addresses[j];
		targets[i].initiators = initiators[i];
		targets[i].n_initiators = from->initiator_count;
		targets[i].addresses = addresses[i];
		targets[i].n_addresses = from->address_count;
	}
	for (unsigned i = 0; i < m->portal_count; i++)
		portals[i] = m->portals[i];
	state.targets = target_list;
	state.n_targets = m->target_count;
	state.portals = portals;
	state.n_portals = m->portal_count;
	state.boot = (ProtobufCBinaryData){sizeof m->boot, (uint8_t *)&m->boot};
	answer.state = &state;
	return pack(&answer.base, length);
}

static int create_target(struct sim_machine *m, const char *iqn)
{
	if (find_target(m, iqn))
		return HF_EEXIST;
	HF_ASSERT(m->target_count < ENTRIES_MAX && strlen(iqn) < IQN_MAX);
	memset(&m->targets[m->target_count], 0, sizeof m->targets[0]);
	strcpy(m->targets[m->target_count++].iqn, iqn);
	return 0;
}

static int delete_target(struct sim_machine *m, const char *iqn)
{
	struct target *target = find_target(m, iqn);

	if (!target)
		return HF_ENOENT;
	*target = m->targets[--m->target_count];
	return 0;
}

static int add_lun(struct sim_machine *m, const Holdfast__BrokerLun *lun)
{
	struct target *target = find_target(m, lun->iqn);

	if (!target)
		return HF_ENOENT;
	if (target->volume)
		return HF_EEXIST;
	target->volume = lun->volume;
	target->lun = lun->lun;
	return 0;
}

static int set_access(struct sim_machine *m, const Holdfast__BrokerAccess *access)
{
	struct target *target = find_target(m, access->iqn);

	if (!target)
		return HF_ENOENT;
	HF_ASSERT(access->n_initiators <= 4 && access->n_addresses <= 4);
	target->initiator_count = (unsigned)access->n_initiators;
	target->address_count = (unsigned)access->n_addresses;
	for (size_t i = 0; i < access->n_initiators; i++)
		snprintf(target->initiators[i], 64, "%s", access->initiators[i]);
	for (size_t i = 0; i < access->n_addresses; i++)
		snprintf(target->addresses[i], 64, "%s", access->addresses[i]);
	snprintf(target->chap_user, sizeof target->chap_user, "%s", access->chap_user);
	return 0;
}

static int remove_lun(struct sim_machine *m, const Holdfast__BrokerLunName *name)
{
	struct target *target = find_target(m, name->iqn);

	if (!target || target->lun != name->lun || !target->volume)
		return HF_ENOENT;
	target->volume = 0;
	return 0;
}

static int move_portal(struct sim_machine *m, const char *portal, bool open)
{
	for (unsigned i = 0; i < m->portal_count; i++)
		if (strncmp(m->portals[i], portal, strcspn(portal, ",")) == 0) {
			if (!open)
				memmove(m->portals[i], m->portals[--m->portal_count], 32);
			return 0;
		}
	if (!open)
		return HF_ENOENT;
	HF_ASSERT(m->portal_count < 4);
	snprintf(m->portals[m->portal_count++], 32, "%.29s,1", portal);
	return 0;
}

static int restart_by_broker(struct sim_machine *m, const Holdfast__BrokerRestart *restart)
{
	if (restart->boot.len != sizeof m->boot ||
	    memcmp(restart->boot.data, &m->boot, sizeof m->boot) != 0)
		return HF_ESTALE;
	sim_check_effect(m->gateway, restart->action, 0);
	restart_tgtd(m);
	return 0;
}

static int change_tgtd(struct sim_machine *m, const Holdfast__BrokerRequest *question)
{
	switch (question->kind_case) {
	case HOLDFAST__BROKER_REQUEST__KIND_CREATE_TARGET:
		return create_target(m, question->create_target->iqn);
	case HOLDFAST__BROKER_REQUEST__KIND_DELETE_TARGET:
		return delete_target(m, question->delete_target);
	case HOLDFAST__BROKER_REQUEST__KIND_ADD_LUN:
		return add_lun(m, question->add_lun);
	case HOLDFAST__BROKER_REQUEST__KIND_REMOVE_LUN:
		return remove_lun(m, question->remove_lun);
	case HOLDFAST__BROKER_REQUEST__KIND_SET_ACCESS:
		return set_access(m, question->set_access);
	case HOLDFAST__BROKER_REQUEST__KIND_OPEN_PORTAL:
		return move_portal(m, question->open_portal, true);
	case HOLDFAST__BROKER_REQUEST__KIND_CLOSE_PORTAL:
		return move_portal(m, question->close_portal, false);
	case HOLDFAST__BROKER_REQUEST__KIND_RESTART:
		return restart_by_broker(m, question->restart);
	default:
		return HF_EUNSUPPORTED;
	}
}

uint8_t *sim_machine_broker(struct sim_machine *m, const uint8_t *bytes, size_t length,
			    size_t *answer_length)
{
	Holdfast__BrokerRequest *question = holdfast__broker_request__unpack(NULL, length, bytes);
	Holdfast__BrokerAnswer answer = HOLDFAST__BROKER_ANSWER__INIT;
	char reason[] = "as the world wants";
	uint8_t *out = NULL;

	HF_ASSERT(question);
	if (sim_world.now_ms >= m->tgtd_away_until_ms) {
		if (question->kind_case == HOLDFAST__BROKER_REQUEST__KIND_SHOW) {
			out = show(m, answer_length);
		} else {
			answer.error = sim_chance(FAILS) ? -HF_EIO : -change_tgtd(m, question);
			if (answer.error)
				answer.reason = reason;
			out = pack(&answer.base, answer_length);
		}
	}
	holdfast__broker_request__free_unpacked(question, NULL);
	return out;
}

/* ---- volumed ---- */

static uint8_t *status(struct sim_machine *m, size_t *length)
{
	Holdfast__VolumedAnswer answer = HOLDFAST__VOLUMED_ANSWER__INIT;
	Holdfast__VolumedStatus status = HOLDFAST__VOLUMED_STATUS__INIT;
	Holdfast__VolumedVolume volumes[ENTRIES_MAX], *list[ENTRIES_MAX];

	for (unsigned i = 0; i < m->volume_count; i++) {
		holdfast__volumed_volume__init(&volumes[i]);
		list[i] = &volumes[i];
		volumes[i].volume = m->volumes[i].volume;
		volumes[i].state = m->volumes[i].state;
		volumes[i].attach_epoch = m->volumes[i].attach_epoch;
		volumes[i].size_bytes = m->volumes[i].size_bytes;
	}
	status.volumes = list;
	status.n_volumes = m->volume_count;
	status.pid = m->pid;
	status.boot = (ProtobufCBinaryData){sizeof m->pid, (uint8_t *)&m->pid};
	answer.status = &status;
	return pack(&answer.base, length);
}

static int attach(struct sim_machine *m, const Holdfast__VolumedAttach *attach)
{
	struct volume *volume = find_volume(m, attach->volume);

	for (unsigned i = 0; i < m->removed_count; i++)
		if (m->removed[i] == attach->volume)
			sim_fail("volume %llx was deleted and comes back",
				 (unsigned long long)attach->volume);
	if (!volume) {
		HF_ASSERT(m->volume_count < ENTRIES_MAX);
		volume = &m->volumes[m->volume_count++];
		memset(volume, 0, sizeof *volume);
		volume->volume = attach->volume;
	}
	if (attach->attach_epoch < volume->attach_epoch)
		return HF_EFENCED;
	if (attach->size_bytes < volume->size_bytes)
		return HF_EINVAL;
	volume->attach_epoch = attach->attach_epoch;
	volume->size_bytes = attach->size_bytes;
	volume->state = HF_VOLUME_ATTACHED;
	sim_world.effects++;
	return 0;
}

static int detach(struct sim_machine *m, uint64_t number)
{
	struct volume *volume = find_volume(m, number);

	if (!volume)
		return HF_ENOENT;
	volume->state = HF_VOLUME_DETACHED;
	return 0;
}

static int remove_volume(struct sim_machine *m, uint64_t number)
{
	struct volume *volume = find_volume(m, number);

	if (!volume)
		return 0;
	*volume = m->volumes[--m->volume_count];
	if (m->removed_count < sizeof m->removed / sizeof m->removed[0])
		m->removed[m->removed_count++] = number;
	sim_world.effects++;
	return 0;
}

static void restart_volumed(struct sim_machine *m)
{
	m->pid++;
	m->ended_ms[1] = sim_world.now_ms;
	m->volumed_away_until_ms = sim_world.now_ms + 50 + sim_below(500);
}

static int restart_by_agent(struct sim_machine *m, const Holdfast__VolumedRestart *restart)
{
	if (restart->boot.len != sizeof m->pid ||
	    memcmp(restart->boot.data, &m->pid, sizeof m->pid) != 0)
		return HF_ESTALE;
	sim_check_effect(m->gateway, restart->action, 1);
	restart_volumed(m);
	return 0;
}

static int change_volumed(struct sim_machine *m, const Holdfast__VolumedRequest *question)
{
	switch (question->kind_case) {
	case HOLDFAST__VOLUMED_REQUEST__KIND_SET_STORE:
		return 0;
	case HOLDFAST__VOLUMED_REQUEST__KIND_ATTACH:
		return attach(m, question->attach);
	case HOLDFAST__VOLUMED_REQUEST__KIND_DETACH:
		return detach(m, question->detach);
	case HOLDFAST__VOLUMED_REQUEST__KIND_REMOVE_VOLUME:
		return remove_volume(m, question->remove_volume->volume);
	case HOLDFAST__VOLUMED_REQUEST__KIND_RESTART:
		return restart_by_agent(m, question->restart);
	default:
		return HF_EUNSUPPORTED;
	}
}

uint8_t *sim_machine_volumed(struct sim_machine *m, const uint8_t *bytes, size_t length,
			     size_t *answer_length)
{
	Holdfast__VolumedRequest *question = holdfast__volumed_request__unpack(NULL, length, bytes);
	Holdfast__VolumedAnswer answer = HOLDFAST__VOLUMED_ANSWER__INIT;
	char reason[] = "as the world wants";
	uint8_t *out = NULL;

	HF_ASSERT(question);
	if (sim_world.now_ms >= m->volumed_away_until_ms) {
		if (question->kind_case == HOLDFAST__VOLUMED_REQUEST__KIND_STATUS) {
			out = status(m, answer_length);
		} else {
			answer.error = sim_chance(FAILS) ? -HF_EIO : -change_volumed(m, question);
			if (answer.error)
				answer.reason = reason;
			out = pack(&answer.base, answer_length);
		}
	}
	holdfast__volumed_request__free_unpacked(question, NULL);
	return out;
}

/* ---- The world's hand ---- */

void sim_machine_trouble(struct sim_machine *m)
{
	if (sim_below(2))
		restart_volumed(m);
	else
		restart_tgtd(m);
}

static const struct target *target_of(const struct sim_machine *m, uint64_t volume)
{
	for (unsigned i = 0; i < m->target_count; i++)
		if (m->targets[i].volume == volume)
			return &m->targets[i];
	return NULL;
}

bool sim_machine_serves(const struct sim_machine *m, uint64_t number, uint64_t size_bytes,
			uint64_t attach_epoch)
{
	const struct volume *volume = find_volume(m, number);

	return volume && volume->state == HF_VOLUME_ATTACHED && volume->size_bytes == size_bytes &&
	       volume->attach_epoch == attach_epoch && target_of(m, number) != NULL &&
	       m->portal_count == 1;
}

bool sim_machine_knows(const struct sim_machine *m, uint64_t number)
{
	const struct volume *volume = find_volume(m, number);

	return (volume && volume->state == HF_VOLUME_ATTACHED) || target_of(m, number) != NULL;
}

uint64_t sim_machine_ended_ms(const struct sim_machine *m, unsigned process)
{
	return m->ended_ms[process];
}

struct sim_machine *sim_machine_open(unsigned gateway)
{
	struct sim_machine *m = calloc(1, sizeof *m);

	HF_ASSERT(m);
	m->gateway = gateway;
	m->pid = 100;
	m->boot = 1;
	return m;
}

void sim_machine_close(struct sim_machine *m)
{
	free(m);
}
