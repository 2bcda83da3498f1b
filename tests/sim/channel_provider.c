/* A provider process of sim_channel: grants epochs, delivers the newest document, finds work once a
 * second, and signs what was changed and is not signed (channel.c, delivery.c, publish.c). All of
 * them share one registry; each has its number there, and may have lost it. */
#include "tests/sim/channel_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "proto/document.pb-c.h"

#define DIES_PER_MILLION 2000u
#define APPLY_MS         10000u
#define AFTER_REFUSAL_MS 3000u
#define TICK_MS          1000u
#define START_FROM       7u /* of a registry's incarnation */

static bool dies(struct world *world, unsigned index)
{
	struct sim_provider *p = &world->providers[index];

	if (!p->dying && world_chance(world, DIES_PER_MILLION))
		p->dying = true;
	return p->dying;
}

static struct hf_registry *registry_of(struct world *world, unsigned index)
{
	if (!world->providers[index].has_database)
		return NULL;
	hf_registry_set_process(world->reg, index + 1);
	return world->reg;
}

/* ---- Delivery ---- */

/* Now and then a holder sends something of before: by an error, or because it means ill. */
static Holdfast__Signed *packet_to_send(struct world *world, struct conn *conn,
					const struct hf_reg_document *document)
{
	const struct sim_signer *s = &world->signers[conn->gateway];
	unsigned old = (unsigned)world_below(world, REMEMBERED);
	Holdfast__Signed *packet;

	conn->lied = s->old[old] && world_chance(world, 30000);
	if (conn->lied)
		packet = holdfast__signed__unpack(NULL, s->old_length[old], s->old[old]);
	else
		packet = holdfast__signed__unpack(NULL, document->length, document->bytes);
	HF_ASSERT(packet);
	return packet;
}

static void deliver(struct world *world, struct conn *conn)
{
	struct hf_registry *reg = registry_of(world, conn->provider);
	Holdfast__Request request = HOLDFAST__REQUEST__INIT;
	struct hf_reg_document document;

	if (!reg || conn->epoch == 0 || conn->apply_request || conn->ended[AT_PROVIDER])
		return;
	if (world->now_ms < conn->not_before_ms) {
		conn->look_again = true;
		return;
	}
	conn->look_again = false;
	if (hf_registry_document_get(reg, world->gateways[conn->gateway].id, &document) != 0)
		return;
	if (document.incarnation > conn->applied_incarnation ||
	    (document.incarnation == conn->applied_incarnation &&
	     document.generation > conn->applied_generation)) {
		request.remaining_ms = APPLY_MS;
		request.kind_case = HOLDFAST__REQUEST__KIND_APPLY;
		request.apply = packet_to_send(world, conn, &document);
		conn->apply_incarnation = document.incarnation;
		conn->apply_generation = document.generation;
		if (hf_session_request(conn->sides[AT_PROVIDER], world->now_ms, &request,
				       &conn->apply_request) != 0)
			conn->apply_request = 0;
		holdfast__signed__free_unpacked(request.apply, NULL);
	}
	free((void *)(uintptr_t)document.bytes);
}

static void note_applied(struct world *world, struct conn *conn, uint64_t incarnation,
			 uint64_t generation)
{
	struct hf_registry *reg = registry_of(world, conn->provider);
	int err;

	conn->applied_incarnation = incarnation;
	conn->applied_generation = generation;
	conn->untold = !reg;
	if (!reg || dies(world, conn->provider))
		return;
	err = hf_registry_gateway_seen(reg, world->gateways[conn->gateway].id, conn->epoch,
				       world_wall_ms(world), incarnation, generation);
	check_fenced(world, conn->gateway, conn->epoch, err);
	if (err == HF_EFENCED)
		hf_session_end(conn->sides[AT_PROVIDER], err, "somebody else holds it");
}

static void answered(struct world *world, struct conn *conn, const struct hf_session_event *event)
{
	if (event->request != conn->apply_request)
		return;
	conn->apply_request = 0;
	if (event->status == 0 && event->answer->error == 0 && !conn->lied) {
		note_applied(world, conn, conn->apply_incarnation, conn->apply_generation);
		if (!world->providers[conn->provider].dying)
			deliver(world, conn);
		return;
	}
	conn->not_before_ms = world->now_ms + AFTER_REFUSAL_MS;
	conn->look_again = true;
}

/* ---- Holding ---- */

static void take_over(struct world *world, struct conn *conn)
{
	for (unsigned i = 0; i < CONNECTIONS; i++) {
		struct conn *older = &world->conns[i];

		if (!older->used || older == conn || older->gateway != conn->gateway ||
		    older->provider != conn->provider || !older->sides[AT_PROVIDER])
			continue;
		hf_session_raise_floor(older->sides[AT_PROVIDER], conn->epoch);
		hf_session_end(older->sides[AT_PROVIDER], HF_EFENCED, "another one is active");
	}
}

static void connected(struct world *world, struct conn *conn, const Holdfast__Connect *connect)
{
	struct hf_registry *reg = registry_of(world, conn->provider);
	struct hf_session *session = conn->sides[AT_PROVIDER];
	Holdfast__Held held = HOLDFAST__HELD__INIT;
	uint64_t epoch;

	if (!reg || hf_registry_gateway_grant(reg, connect->gateway, connect->last_epoch,
					      world_wall_ms(world), "sim", &epoch) != 0) {
		hf_session_retry(session, 1000, "the registry does not answer", "");
		return;
	}
	world->granted[conn->gateway] = epoch;
	if (dies(world, conn->provider))
		return;
	conn->epoch = held.epoch = epoch;
	take_over(world, conn);
	if (hf_session_hold(session, world->now_ms, &held) != 0)
		return;
	if (connect->applied)
		note_applied(world, conn, connect->applied->incarnation,
			     connect->applied->generation);
	if (!world->providers[conn->provider].dying)
		deliver(world, conn);
}

void provider_event(struct world *world, struct conn *conn, const struct hf_session_event *event)
{
	if (world->providers[conn->provider].dying)
		return;
	if (event->type == HF_EVENT_CONNECT)
		connected(world, conn, event->connect);
	else if (event->type == HF_EVENT_ANSWER)
		answered(world, conn, event);
}

/* ---- Changes ---- */

static unsigned index_of(const struct world *world, uint64_t gateway)
{
	for (unsigned i = 0; i < GATEWAYS; i++)
		if (world->gateways[i].id == gateway)
			return i;
	HF_ASSERT(!"a gateway of nobody");
	return 0;
}

/* Always the same content for a generation; no entry ever leaves. */
static size_t content(const struct world *world, uint64_t generation, uint8_t bytes[512])
{
	Holdfast__Document document = HOLDFAST__DOCUMENT__INIT;
	Holdfast__Volume volume = HOLDFAST__VOLUME__INIT, *volumes[] = {&volume};
	char target[] = "iqn.2026-11.net.holdfast:vol-1";

	volume.volume = volume.attach_epoch = volume.lun = 1;
	volume.version = generation;
	volume.size_bytes = 4096 * generation;
	volume.attachment = HOLDFAST__ATTACHMENT__ATTACHED;
	volume.target = target;
	document.incarnation = world->incarnation;
	document.generation = generation;
	document.volumes = volumes;
	document.n_volumes = 1;
	HF_ASSERT(holdfast__document__get_packed_size(&document) <= 512);
	return holdfast__document__pack(&document, bytes);
}

/* The same question gets the same answer; an older one none. */
static bool sign(struct world *world, unsigned gateway, uint64_t generation)
{
	struct sim_signer *s = &world->signers[gateway];
	Holdfast__Change change = HOLDFAST__CHANGE__INIT;
	uint8_t bytes[512];

	if (world->incarnation == s->incarnation && generation == s->generation)
		return true;
	if (world->incarnation < s->incarnation ||
	    (world->incarnation == s->incarnation && generation < s->generation))
		return false;
	free(s->old[s->sequence % REMEMBERED]);
	s->old[s->sequence % REMEMBERED] = s->packet;
	s->old_length[s->sequence % REMEMBERED] = s->length;
	s->incarnation = world->incarnation;
	s->generation = generation;
	change.tenant = TENANT;
	change.gateway = world->gateways[gateway].id;
	change.sequence = ++s->sequence;
	change.kind_case = HOLDFAST__CHANGE__KIND_DOCUMENT;
	change.document.len = content(world, generation, bytes);
	change.document.data = bytes;
	hf_sha256(bytes, change.document.len, s->hash);
	HF_ASSERT(hf_change_sign(&world->key, &change, &s->packet, &s->length) == 0);
	return true;
}

static struct conn *held_here(struct world *world, unsigned provider, unsigned gateway)
{
	for (unsigned i = 0; i < CONNECTIONS; i++) {
		struct conn *conn = &world->conns[i];

		if (conn->used && conn->provider == provider && conn->gateway == gateway &&
		    conn->sides[AT_PROVIDER] && !conn->ended[AT_PROVIDER] && conn->epoch)
			return conn;
	}
	return NULL;
}

static void publish(struct world *world, unsigned index, unsigned gateway, uint64_t generation)
{
	struct sim_signer *s = &world->signers[gateway];
	struct hf_reg_document row = {.gateway = world->gateways[gateway].id,
				      .incarnation = world->incarnation,
				      .generation = generation};
	struct conn *conn;

	if (!sign(world, gateway, generation) || dies(world, index))
		return;
	row.bytes = s->packet;
	row.length = s->length;
	memcpy(row.hash, s->hash, sizeof row.hash);
	hf_registry_document_put(registry_of(world, index), &row);
	/* A hint reaches whoever holds it, or is lost. */
	for (unsigned i = 0; i < PROVIDERS; i++) {
		conn = held_here(world, i, gateway);
		if (conn && !world_chance(world, 200000))
			deliver(world, conn);
	}
}

void provider_change(struct world *world, unsigned index, unsigned gateway)
{
	struct hf_registry *reg = registry_of(world, index);
	uint64_t generation;

	if (!reg || !world->providers[index].up ||
	    hf_registry_gateway_bump(reg, world->gateways[gateway].id, &generation) != 0)
		return;
	world->commands++;
	if (!dies(world, index))
		publish(world, index, gateway, generation);
}

/* ---- Once a second ---- */

struct list {
	struct hf_reg_work work[GATEWAYS];
	struct hf_reg_gateway rows[GATEWAYS];
	unsigned count;
};

static int collect_work(void *context, const struct hf_reg_work *work)
{
	struct list *list = context;

	list->work[list->count++] = *work;
	return 0;
}

static int collect_row(void *context, const struct hf_reg_gateway *row)
{
	struct list *list = context;

	list->rows[list->count++] = *row;
	return 0;
}

static void look_for_work(struct world *world, unsigned index)
{
	struct list list = {.count = 0};
	struct hf_registry *reg = registry_of(world, index);

	hf_registry_work_visit(reg, collect_work, &list);
	for (unsigned i = 0; i < list.count; i++) {
		unsigned gateway = index_of(world, list.work[i].gateway);
		struct conn *conn = held_here(world, index, gateway);
		int err = hf_registry_work_done(reg, &list.work[i]);

		check_fenced(world, gateway, list.work[i].epoch, err);
		if (conn && conn->epoch == list.work[i].epoch)
			conn->look_again = true;
	}
}

static void sign_what_is_not(struct world *world, unsigned index)
{
	struct list list = {.count = 0};

	hf_registry_gateway_unsigned(registry_of(world, index), HF_REG_BEFORE_ALL, collect_row,
				     &list);
	for (unsigned i = 0; i < list.count && !world->providers[index].dying; i++)
		publish(world, index, index_of(world, list.rows[i].id), list.rows[i].generation);
}

void provider_due(struct world *world, unsigned index)
{
	struct sim_provider *p = &world->providers[index];

	p->up = true;
	p->due_ms = world->now_ms + TICK_MS;
	if (!p->has_database)
		return;
	look_for_work(world, index);
	sign_what_is_not(world, index);
	/* As the next report would have it. */
	for (unsigned i = 0; i < CONNECTIONS && !p->dying; i++) {
		struct conn *conn = &world->conns[i];

		if (conn->used && conn->provider == index && conn->sides[AT_PROVIDER] &&
		    conn->untold && !conn->ended[AT_PROVIDER])
			note_applied(world, conn, conn->applied_incarnation,
				     conn->applied_generation);
	}
	for (unsigned i = 0; i < CONNECTIONS && !p->dying; i++)
		if (world->conns[i].used && world->conns[i].provider == index &&
		    world->conns[i].sides[AT_PROVIDER] && world->conns[i].look_again)
			deliver(world, &world->conns[i]);
}

void provider_die(struct world *world, unsigned index, bool silently)
{
	struct sim_provider *p = &world->providers[index];

	for (unsigned i = 0; i < CONNECTIONS; i++) {
		struct conn *conn = &world->conns[i];

		if (!conn->used || conn->provider != index || !conn->sides[AT_PROVIDER])
			continue;
		conn->silent |= silently;
		conn_leave(world, conn, AT_PROVIDER, true);
	}
	p->up = p->dying = false;
	p->due_ms = world->now_ms + 500 + world_below(world, 10000);
}

/* ---- The database of some time ago ---- */

static void copy_file(const char *from, const char *to)
{
	FILE *in = fopen(from, "re"), *out = fopen(to, "we");
	char bytes[65536];
	size_t length;

	HF_ASSERT(in && out);
	while ((length = fread(bytes, 1, sizeof bytes, in)) > 0)
		HF_ASSERT(fwrite(bytes, 1, length, out) == length);
	fclose(in);
	HF_ASSERT(fclose(out) == 0);
}

static void reopen(struct world *world, const char *from, const char *to)
{
	struct hf_errmsg message = {""};

	hf_registry_close(world->reg);
	copy_file(from, to);
	HF_ASSERT(hf_registry_open_sqlite(world->path, START_FROM, &world->reg, &message) == 0);
}

void provider_backup(struct world *world)
{
	char backup[80];

	snprintf(backup, sizeof backup, "%s.backup", world->path);
	reopen(world, world->path, backup);
	world->backed_up = true;
}

void provider_restore(struct world *world)
{
	struct hf_reg_info info;
	struct hf_reg_gateway row;
	char backup[80];

	for (unsigned i = 0; i < PROVIDERS; i++)
		provider_die(world, i, false);
	snprintf(backup, sizeof backup, "%s.backup", world->path);
	reopen(world, backup, world->path);
	HF_ASSERT(hf_registry_new_incarnation(world->reg, world->incarnation + 1) == 0);
	HF_ASSERT(hf_registry_info(world->reg, &info) == 0);
	world->incarnation = info.incarnation;
	for (unsigned i = 0; i < GATEWAYS; i++) {
		HF_ASSERT(hf_registry_gateway_get(world->reg, world->gateways[i].id, &row) == 0);
		world->granted[i] = row.epoch;
	}
}
