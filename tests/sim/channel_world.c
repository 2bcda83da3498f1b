/* Time and the things in it (channel_world.h): the next moment is the earliest at which anything is
 * due. */
#include "tests/sim/channel_world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"

#define START_MS 1800000000000u /* the wall's */

/* Signatures by a hash: what is tested here is order, and a real one costs more than all the rest.
 */
int __wrap_hf_sign(const struct hf_sign_key *key, const char *domain, const void *bytes,
		   size_t length, uint8_t signature[HF_SIGNATURE_BYTES]);
int __wrap_hf_sign_verify(const uint8_t public_key[HF_KEY_BYTES], const char *domain,
			  const void *bytes, size_t length,
			  const uint8_t signature[HF_SIGNATURE_BYTES]);

int __wrap_hf_sign(const struct hf_sign_key *key, const char *domain, const void *bytes,
		   size_t length, uint8_t signature[HF_SIGNATURE_BYTES])
{
	(void)domain;
	memset(signature, key->public_key[0], HF_SIGNATURE_BYTES);
	hf_sha256(bytes, length, signature);
	return 0;
}

int __wrap_hf_sign_verify(const uint8_t public_key[HF_KEY_BYTES], const char *domain,
			  const void *bytes, size_t length,
			  const uint8_t signature[HF_SIGNATURE_BYTES])
{
	uint8_t expected[HF_SIGNATURE_BYTES];
	struct hf_sign_key key = {{0}, {0}};

	memcpy(key.public_key, public_key, HF_KEY_BYTES);
	__wrap_hf_sign(&key, domain, bytes, length, expected);
	return memcmp(expected, signature, sizeof expected) == 0 ? 0 : HF_EAUTH;
}

uint64_t world_below(struct world *world, uint64_t bound)
{
	return sim_rng_below(&world->rng, bound);
}

bool world_chance(struct world *world, uint32_t per_million)
{
	return !world->calm && sim_rng_chance(&world->rng, per_million);
}

uint64_t world_wall_ms(const struct world *world)
{
	return (uint64_t)((int64_t)(START_MS + world->now_ms) + world->wall_skew_ms);
}

void world_fail(struct world *world, const char *format, ...)
{
	va_list arguments;

	if (world->failed)
		return;
	world->failed = true;
	printf("seed %llu at %llu ms: ", (unsigned long long)world->seed,
	       (unsigned long long)world->now_ms);
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	putchar('\n');
}

static void add_gateway(struct world *world, unsigned index, uint64_t tenant)
{
	struct hf_reg_gateway row = {
		.id = 100 + index, .tenant = tenant, .state = HF_REG_GATEWAY_ACTIVE};

	snprintf(row.name, sizeof row.name, "gateway-%u", index);
	row.identity_key[0] = row.sealing_key[0] = (uint8_t)(index + 1);
	HF_ASSERT(hf_registry_gateway_insert(world->reg, &row) == 0);
	world->gateways[index].id = row.id;
	world->gateways[index].due_ms = world_below(world, 1000);
}

void world_open(struct world *world, uint64_t seed)
{
	struct hf_errmsg message = {""};
	struct hf_reg_info info;

	memset(world, 0, sizeof *world);
	world->seed = world->rng.state = seed;
	memset(&world->key, 0x5a, sizeof world->key);
	/* In memory, whatever the machine calls so: a commit's sync costs nothing there. */
	snprintf(world->path, sizeof world->path, "/dev/shm/hf-sim-channel-%d", (int)getpid());
	unlink(world->path);
	HF_ASSERT(hf_registry_open_sqlite(world->path, 7, &world->reg, &message) == 0);
	HF_ASSERT(hf_registry_info(world->reg, &info) == 0);
	world->incarnation = info.incarnation;
	for (unsigned i = 0; i < GATEWAYS; i++)
		add_gateway(world, i, info.tenant);
	for (unsigned i = 0; i < PROVIDERS; i++)
		world->providers[i] = (struct sim_provider){.has_database = true};
}

void world_close(struct world *world)
{
	static const char *const endings[] = {"", ".backup", "-wal", "-shm", "-journal"};
	char path[80];

	for (unsigned i = 0; i < CONNECTIONS; i++) {
		struct conn *conn = &world->conns[i];

		for (unsigned s = 0; s < 2 && conn->used; s++) {
			hf_session_destroy(conn->sides[s]);
			free(conn->from[s].bytes);
		}
	}
	for (unsigned i = 0; i < GATEWAYS; i++) {
		gateway_close(&world->gateways[i]);
		free(world->signers[i].packet);
		for (unsigned j = 0; j < REMEMBERED; j++)
			free(world->signers[i].old[j]);
	}
	hf_registry_close(world->reg);
	for (unsigned i = 0; i < sizeof endings / sizeof endings[0]; i++) {
		snprintf(path, sizeof path, "%s%s", world->path, endings[i]);
		unlink(path);
	}
}

/* ---- One moment ---- */

static uint64_t next_ms(const struct world *world)
{
	uint64_t due_ms = NEVER;

	for (unsigned i = 0; i < PROVIDERS; i++)
		if (world->providers[i].due_ms < due_ms)
			due_ms = world->providers[i].due_ms;
	for (unsigned i = 0; i < GATEWAYS; i++)
		if (world->gateways[i].due_ms < due_ms)
			due_ms = world->gateways[i].due_ms;
	for (unsigned i = 0; i < CONNECTIONS; i++)
		if (world->conns[i].used && conn_due_ms(&world->conns[i]) < due_ms)
			due_ms = conn_due_ms(&world->conns[i]);
	return due_ms;
}

/* Deaths that were decided in the middle of something, and sessions that have ended: not from
 * inside their own events. */
static void clean_up(struct world *world)
{
	for (unsigned i = 0; i < PROVIDERS; i++)
		if (world->providers[i].dying)
			provider_die(world, i, world_chance(world, 300000));
	for (unsigned i = 0; i < GATEWAYS; i++)
		if (world->gateways[i].dying)
			gateway_die(world, i);
	for (unsigned i = 0; i < CONNECTIONS; i++) {
		struct conn *conn = &world->conns[i];

		for (unsigned s = 0; s < 2 && conn->used; s++)
			if (conn->sides[s] && conn->ended[s])
				conn_leave(world, conn, s, false);
		conn_collect(conn);
	}
}

void world_step(struct world *world)
{
	uint64_t due_ms = next_ms(world);

	if (due_ms > world->now_ms)
		world->now_ms = due_ms;
	for (unsigned i = 0; i < PROVIDERS; i++)
		if (world->providers[i].due_ms <= world->now_ms)
			provider_due(world, i);
	for (unsigned i = 0; i < GATEWAYS; i++)
		if (world->gateways[i].due_ms <= world->now_ms)
			gateway_due(world, i);
	for (unsigned i = 0; i < CONNECTIONS; i++) {
		struct conn *conn = &world->conns[i];

		for (unsigned s = 0; s < 2 && conn->used; s++) {
			if (conn->from[s].due_ms <= world->now_ms)
				conn_deliver(world, conn, s);
			conn_tick(world, conn, s);
		}
	}
	clean_up(world);
}
