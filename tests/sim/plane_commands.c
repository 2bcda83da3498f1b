/* What the administrator asks in sim_plane, at any process that listens, and what the registry must
 * hold afterwards: what was accepted is there, what was refused is not, and of what was not
 * answered one of the two. The registry is looked at past the product. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/ids.h"
#include "proto/action.pb-c.h"
#include "tests/sim/plane.h"

#define MIB        1048576u
#define FIRST_SIZE (64ull * MIB)
#define VOLUME_LOOKS                                                                               \
	"SELECT v.id, v.size_bytes, p.desired, v.gateway FROM volumes v JOIN "                     \
	"placements p ON p.volume = v.id AND p.gateway = v.gateway WHERE v.gone = $1 "             \
	"AND v.name = $2"

enum { ID, SIZE, DESIRED, GATEWAY, CREATED, NUMBERS };
enum asked { CREATE, GROW, ATTACH, DETACH, DELETE, ACT, NETWORK };

struct command {
	enum asked asked;
	unsigned volume, gateway;
	uint64_t size_bytes;
	uint32_t kind;
	uint64_t newest_action; /* before it */
};

/* ---- What is there ---- */

static bool look(const struct sim_volume *v, uint64_t numbers[NUMBERS])
{
	return sim_db_look(VOLUME_LOOKS, 0, v->name, numbers, NUMBERS);
}

static bool is(const struct sim_volume *v, uint64_t size_bytes, bool attached, unsigned gateway)
{
	uint64_t numbers[NUMBERS];

	return look(v, numbers) && numbers[SIZE] == size_bytes &&
	       numbers[GATEWAY] == sim_world.gateways[gateway].id &&
	       numbers[DESIRED] == (attached ? HF_REG_ATTACHED : HF_REG_DETACHED);
}

static bool is_leaving(const struct sim_volume *v)
{
	uint64_t numbers[NUMBERS];

	return !look(v, numbers) || numbers[DESIRED] == HF_REG_DELETED;
}

static bool is_as_known(const struct sim_volume *v)
{
	uint64_t numbers[NUMBERS];

	if (v->deleting)
		return is_leaving(v);
	return v->there ? is(v, v->size_bytes, v->attached, v->gateway) : !look(v, numbers);
}

/* Would it be as the command wants it? */
static bool is_as_asked(const struct command *c)
{
	const struct sim_volume *v = &sim_world.volumes[c->volume];

	switch (c->asked) {
	case CREATE:
		return is(v, c->size_bytes, true, c->gateway);
	case GROW:
		return is(v, c->size_bytes, v->attached, v->gateway);
	case ATTACH:
		return is(v, v->size_bytes, true, c->gateway);
	case DETACH:
		return is(v, v->size_bytes, false, v->gateway);
	default:
		return is_leaving(v);
	}
}

static void take_as_asked(const struct command *c)
{
	struct sim_volume *v = &sim_world.volumes[c->volume];

	sim_world.structure_changed |= c->asked != GROW && c->asked != DETACH;
	switch (c->asked) {
	case CREATE:
		v->there = v->attached = true;
		v->gateway = c->gateway;
		v->size_bytes = c->size_bytes;
		break;
	case GROW:
		v->size_bytes = c->size_bytes;
		break;
	case ATTACH:
		v->attached = true;
		v->gateway = c->gateway;
		break;
	case DETACH:
		v->attached = false;
		break;
	default:
		v->deleting = true;
		break;
	}
}

static void judge_volume(const struct command *c, bool accepted, bool refused)
{
	const struct sim_volume *v = &sim_world.volumes[c->volume];
	bool done = is_as_asked(c);

	if (accepted && !done)
		sim_fail("command %u on %s was accepted and is not in the registry", c->asked,
			 v->name);
	else if (refused && !is_as_known(v))
		sim_fail("command %u on %s was refused, and %s changed", c->asked, v->name,
			 v->name);
	else if (!done && !is_as_known(v))
		sim_fail("%s is neither what it was nor what command %u wants", v->name, c->asked);
	if (done && !refused)
		take_as_asked(c);
}

/* ---- Actions ---- */

static void note_action(uint64_t number, const struct command *c)
{
	for (size_t i = 0; i < sim_world.action_count; i++)
		if (sim_world.actions[i].number == number &&
		    sim_world.actions[i].gateway == c->gateway) {
			sim_world.actions[i].restored = true; /* a number that was forgotten */
			return;
		}
	if (sim_world.action_count == sim_world.action_room) {
		sim_world.action_room = 2 * sim_world.action_room + 64;
		sim_world.actions = realloc(sim_world.actions,
					    sim_world.action_room * sizeof *sim_world.actions);
		HF_ASSERT(sim_world.actions);
	}
	sim_world.actions[sim_world.action_count++] =
		(struct sim_action){.number = number,
				    .gateway = c->gateway,
				    .kind = c->kind,
				    .accepted_ms = sim_world.now_ms};
}

static uint64_t newest_action(unsigned gateway)
{
	uint64_t number = 0;

	sim_db_look("SELECT COALESCE(MAX(number), 0) FROM actions WHERE gateway = $1",
		    sim_world.gateways[gateway].id, NULL, &number, 1);
	return number;
}

static void judge_action(const struct command *c, bool accepted, bool refused)
{
	uint64_t number = newest_action(c->gateway);

	if (accepted && number == c->newest_action)
		sim_fail("an action was accepted and is not in the registry");
	if (refused && number != c->newest_action)
		sim_fail("an action was refused and is in the registry");
	if (number != c->newest_action)
		note_action(number, c);
}

/* ---- Asking ---- */

static void answered(void *context, const Holdfast__AdminAnswer *answer)
{
	struct command *c = context;
	int err = answer ? -answer->error : HF_EUNKNOWN;
	bool accepted = err == 0, refused = err != 0 && err != HF_EUNKNOWN;

	sim_world.accepted += accepted;
	sim_world.refused += refused;
	sim_world.unknown += err == HF_EUNKNOWN;
	if (getenv("HF_SIM_REFUSED") && refused)
		printf("refused %u: %s: %s\n", c->asked, hf_err_name(err), answer->reason);
	if (c->asked == ACT)
		judge_action(c, accepted, refused);
	else if (c->asked != NETWORK)
		judge_volume(c, accepted, refused);
	if (c->asked != ACT && c->asked != NETWORK)
		sim_world.volumes[c->volume].under_way = false;
	free(c);
}

static void ask(struct command *c, const Holdfast__AdminRequest *request)
{
	struct sim_volume *v = &sim_world.volumes[c->volume];
	bool is_volumes = c->asked != ACT && c->asked != NETWORK;

	v->under_way |= is_volumes;
	if (sim_admin_ask(&sim_world.providers[sim_below(SIM_PROVIDERS)], request, answered, c)) {
		sim_world.commands++;
		return;
	}
	if (is_volumes)
		v->under_way = false;
	free(c);
}

static void create(struct command *c)
{
	static char names[][64] = {"iqn.2026-11.net.example.a-customer:database-server-1",
				   "iqn.2026-11.net.example.a-customer:database-server-2",
				   "iqn.2026-11.net.example.a-customer:database-server-3",
				   "iqn.2026-11.net.example.a-customer:the-backup-server"};
	char *initiators[] = {names[0], names[1], names[2], names[3]};
	Holdfast__AdminRequest request = HOLDFAST__ADMIN_REQUEST__INIT;
	Holdfast__AdminVolumeCreate order = HOLDFAST__ADMIN_VOLUME_CREATE__INIT;
	struct sim_volume *v = &sim_world.volumes[c->volume];

	memset(v, 0, sizeof *v);
	snprintf(v->name, sizeof v->name, "v%u", ++sim_world.volumes_made);
	c->asked = CREATE;
	c->size_bytes = order.size_bytes = FIRST_SIZE;
	order.name = v->name;
	order.gateway = sim_world.gateways[c->gateway].name;
	order.initiators = initiators;
	order.n_initiators = sizeof initiators / sizeof initiators[0];
	request.kind_case = HOLDFAST__ADMIN_REQUEST__KIND_VOLUME_CREATE;
	request.volume_create = &order;
	ask(c, &request);
}

static void grow(struct command *c)
{
	Holdfast__AdminRequest request = HOLDFAST__ADMIN_REQUEST__INIT;
	Holdfast__AdminGrow order = HOLDFAST__ADMIN_GROW__INIT;
	struct sim_volume *v = &sim_world.volumes[c->volume];

	c->asked = GROW;
	c->size_bytes = order.size_bytes = v->size_bytes + MIB;
	order.volume = v->name;
	request.kind_case = HOLDFAST__ADMIN_REQUEST__KIND_VOLUME_GROW;
	request.volume_grow = &order;
	ask(c, &request);
}

static void attach(struct command *c)
{
	Holdfast__AdminRequest request = HOLDFAST__ADMIN_REQUEST__INIT;
	Holdfast__AdminAttach order = HOLDFAST__ADMIN_ATTACH__INIT;

	c->asked = ATTACH;
	order.volume = sim_world.volumes[c->volume].name;
	order.gateway = sim_world.gateways[c->gateway].name;
	request.kind_case = HOLDFAST__ADMIN_REQUEST__KIND_VOLUME_ATTACH;
	request.volume_attach = &order;
	ask(c, &request);
}

static void by_name(struct command *c, enum asked asked)
{
	Holdfast__AdminRequest request = HOLDFAST__ADMIN_REQUEST__INIT;
	Holdfast__AdminVolumeName order = HOLDFAST__ADMIN_VOLUME_NAME__INIT;

	c->asked = asked;
	order.volume = sim_world.volumes[c->volume].name;
	order.force = asked == DELETE;
	if (asked == DELETE) {
		request.kind_case = HOLDFAST__ADMIN_REQUEST__KIND_VOLUME_DELETE;
		request.volume_delete = &order;
	} else {
		request.kind_case = HOLDFAST__ADMIN_REQUEST__KIND_VOLUME_DETACH;
		request.volume_detach = &order;
	}
	ask(c, &request);
}

static void act(struct command *c)
{
	static const uint32_t kinds[] = {HOLDFAST__ACTION_KIND__ACTION_RESTART_TARGET,
					 HOLDFAST__ACTION_KIND__ACTION_RESTART_VOLUMED,
					 HOLDFAST__ACTION_KIND__ACTION_RESTART_VOLUMED,
					 HOLDFAST__ACTION_KIND__ACTION_RESCAN,
					 HOLDFAST__ACTION_KIND__ACTION_DIAGNOSE};
	Holdfast__AdminRequest request = HOLDFAST__ADMIN_REQUEST__INIT;
	Holdfast__AdminAct order = HOLDFAST__ADMIN_ACT__INIT;

	c->asked = ACT;
	c->kind = order.kind = kinds[sim_below(5)];
	c->newest_action = newest_action(c->gateway);
	order.gateway = sim_world.gateways[c->gateway].name;
	order.expires_s = sim_below(4) ? 0 : 1 + (uint32_t)sim_below(60);
	request.kind_case = HOLDFAST__ADMIN_REQUEST__KIND_ACT;
	request.act = &order;
	ask(c, &request);
}

/* Settings that lead to some of the processes, or to nobody: then they have to be rolled back. */
static void network(struct command *c)
{
	Holdfast__AdminRequest request = HOLDFAST__ADMIN_REQUEST__INIT;
	Holdfast__AdminNetwork order = HOLDFAST__ADMIN_NETWORK__INIT;
	char texts[SIM_PROVIDERS][32], nowhere[] = "10.9.9.9:7000", *endpoints[SIM_PROVIDERS];
	unsigned first = (unsigned)sim_below(SIM_PROVIDERS);

	c->asked = NETWORK;
	order.gateway = sim_world.gateways[c->gateway].name;
	order.confirm_s = 10;
	order.endpoints = endpoints;
	order.n_endpoints = sim_below(SIM_PROVIDERS + 1);
	for (unsigned i = 0; i < order.n_endpoints; i++) {
		sim_endpoint((first + i) % SIM_PROVIDERS, texts[i]);
		endpoints[i] = texts[i];
	}
	if (order.n_endpoints && sim_below(3) == 0) {
		endpoints[0] = nowhere;
		order.n_endpoints = 1;
	}
	request.kind_case = HOLDFAST__ADMIN_REQUEST__KIND_GATEWAY_NETWORK;
	request.gateway_network = &order;
	ask(c, &request);
}

/* A gateway refuses documents that lack a volume it has: what a restored database does not know has
 * to be settled by people (docs/operations/provider.md). So for a while after a backup volumes only
 * grow. */
static bool keeps_structure(void)
{
	return sim_world.backed_up && sim_world.commands < sim_world.commands_at_backup + 300;
}

/* Mostly one of which something can be asked that is not refused. */
static bool find_volume(struct command *c)
{
	uint64_t numbers[NUMBERS];

	for (unsigned tries = 0; tries < 12; tries++) {
		struct sim_volume *v;

		c->volume = (unsigned)sim_below(SIM_VOLUMES);
		v = &sim_world.volumes[c->volume];
		if (v->under_way)
			continue;
		if (!v->there && !keeps_structure())
			return true;
		if (v->there &&
		    (sim_below(50) == 0 || (!v->deleting && look(v, numbers) && numbers[CREATED])))
			return true;
	}
	return false;
}

static void change_volume(struct command *c)
{
	struct sim_volume *v = &sim_world.volumes[c->volume];
	uint64_t draw = sim_below(100);

	if (!v->there || (v->deleting && !keeps_structure()))
		create(c); /* under another name: the one before may still be on its way out */
	else if (draw < 88 || keeps_structure())
		grow(c);
	else if (draw < 93)
		by_name(c, DETACH);
	else if (draw < 98)
		attach(c);
	else
		by_name(c, DELETE);
}

void sim_command(void)
{
	struct command *c = calloc(1, sizeof *c);
	uint64_t draw = sim_below(1000);

	HF_ASSERT(c);
	c->gateway = (unsigned)sim_below(SIM_GATEWAYS);
	if (draw < 60)
		act(c);
	else if (draw < 63)
		network(c);
	else if (find_volume(c))
		change_volume(c);
	else if (sim_below(10) == 0)
		act(c);
	else
		free(c);
}

/* ---- After a restore ---- */

void sim_commands_restored(void)
{
	for (unsigned i = 0; i < SIM_VOLUMES; i++) {
		struct sim_volume *v = &sim_world.volumes[i];
		uint64_t numbers[NUMBERS];

		v->there = look(v, numbers);
		v->deleting = v->there && numbers[DESIRED] == HF_REG_DELETED;
		if (!v->there)
			continue;
		v->shrunk |= numbers[SIZE] < v->size_bytes;
		v->size_bytes = numbers[SIZE];
		v->attached = numbers[DESIRED] == HF_REG_ATTACHED;
		for (unsigned g = 0; g < SIM_GATEWAYS; g++)
			if (sim_world.gateways[g].id == numbers[GATEWAY])
				v->gateway = g;
	}
	for (size_t i = 0; i < sim_world.action_count; i++)
		sim_world.actions[i].restored = true;
}
