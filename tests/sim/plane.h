/* The world of sim_plane: the management plane as it is shipped, in virtual time drawn from a seed.
 * The product's own files run here unchanged, whole processes of them: holdfast-provider
 * (provider/control, its registry's SQL on SQLite in memory), holdfast-agent (gateway/agent with
 * session, journal, reconciler, network settings), the signer's core. What they reach the world by
 * is replaced when the program is linked:
 *
 *   plane_uv.c      libuv's timers: a loop each, in one virtual time
 *   plane_net.c     listeners, paths, streams: bytes that are late, cut or silent
 *   plane_local.c   local sockets: the signer, volumed, the broker, the administrator's
 *   plane_disk.c    the agents' files and what of them is synced
 *   plane_db.c      a database that all providers share, that goes away and forgets commits
 *   plane_env.c     clocks, random numbers, keys, certificates, log
 *   plane_lies.c    what a holder sends that it should not
 *   plane_machine.c volumed and tgtd of each gateway: where effects happen
 *
 * A process dies between any two of its steps: from then on nothing that it does has an effect, and
 * at the end of the moment it is taken apart. What happened is noted in the world, out of reach of
 * everything under test; plane_check.c judges by that alone. One thread. */
#ifndef HF_TESTS_SIM_PLANE_H
#define HF_TESTS_SIM_PLANE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "gateway/agent/agent.h"
#include "net/stream.h"
#include "proto/provider.pb-c.h"
#include "provider/control/control.h"
#include "provider/signer/signer.h"
#include "tests/sim/rng.h"

#define SIM_GATEWAYS  4u
#define SIM_PROVIDERS 3u
#define SIM_NEVER     UINT64_MAX

/* ---- plane_uv.c: loops ---- */

struct sim_process;

struct sim_post;

struct sim_loop {
	uv_loop_t uv;                /* first */
	struct sim_process *process; /* NULL: the world's own */
	uv_timer_t **timers;         /* a heap, the earliest first */
	unsigned count, room;
	uint64_t started;
	struct sim_post *first, *last;
	uv_idle_t *idle; /* there is one at most */
};

void sim_loop_open(struct sim_loop *loop, struct sim_process *process);
void sim_loop_close(struct sim_loop *loop);
/* When something of it is due; SIM_NEVER: nothing ever. */
uint64_t sim_loop_due_ms(const struct sim_loop *loop);
/* Everything that is due. */
void sim_loop_turn(struct sim_loop *loop);
/* Only what was put off to the next turn, such as close callbacks. False: there was nothing. */
bool sim_loop_turn_posts(struct sim_loop *loop);
/* In the loop's next turn, in order. */
void sim_post(struct sim_loop *loop, void (*call)(void *context), void *context);

/* ---- Processes ---- */

enum sim_kind { SIM_PROVIDER, SIM_AGENT };

struct sim_process {
	enum sim_kind kind;
	unsigned index;
	struct sim_loop loop;
	bool running;          /* between its start and the end of its burial */
	bool dead;             /* nothing of what it still does has an effect */
	bool stopping;         /* a provider that was told to stop drains */
	uint64_t base_back_ms; /* a provider's: the database answers it from then on */
	int64_t skew_ms;       /* of its clock */
	uv_timer_t start;
	uint64_t stop_by_ms;
	union {
		struct hf_control *control;
		struct hf_agent *agent;
	};
};

/* ---- What the world knows of a gateway ---- */

struct sim_signed {
	uint64_t sequence, incarnation, generation;
	uint8_t hash[HF_HASH_BYTES];
};

struct sim_gateway {
	uint64_t id;
	char name[16];
	struct hf_agent_config config;
	/* Out of the agent's reach. */
	uint64_t held_epoch; /* highest that was kept */
	uint64_t took_incarnation, took_generation, took_sequence;
	uint64_t asked_changes, asked_bytes; /* documents and deltas that reached it */
	struct sim_signed *signed_changes;   /* what the signer ever signed for it */
	size_t signed_count, signed_room;
	struct sim_machine *machine;
};

/* A one-shot action that was accepted. */
struct sim_action {
	uint64_t number;
	unsigned gateway;
	uint32_t kind;
	unsigned effects;
	uint64_t accepted_ms;
	bool restored; /* accepted, or of a time, that a restored database does not know */
};

/* A volume as the administrator knows it. */
struct sim_volume {
	char name[24];
	bool there, deleting, under_way;
	bool shrunk; /* a restored database wants less than it has */
	unsigned gateway;
	uint64_t size_bytes;
	bool attached;
};

#define SIM_VOLUMES 24u /* so that documents are large enough for deltas */

struct sim_world {
	struct sim_rng rng;
	uint64_t seed, now_ms;
	struct sim_loop loop; /* network, sockets, starts */
	struct sim_process providers[SIM_PROVIDERS], agents[SIM_GATEWAYS];
	struct sim_process *current; /* whose code runs; NULL: nobody's */
	struct sim_gateway gateways[SIM_GATEWAYS];
	struct conn *delivering; /* bytes of this one are being taken by a gateway */
	bool silent_path[SIM_GATEWAYS][SIM_PROVIDERS];
	uint64_t tenant, incarnation;
	struct hf_signer *signer;
	bool signer_away;
	char folder[64]; /* the signer's ledger */
	struct hf_control_config provider_config[SIM_PROVIDERS];

	struct sim_volume volumes[SIM_VOLUMES];
	unsigned volumes_made;
	struct sim_action *actions;
	size_t action_count, action_room;
	uint64_t commands, accepted, refused, unknown, effects, restores, deaths;
	bool calm;   /* nothing goes wrong any more */
	bool failed; /* said so */
	bool backed_up;
	bool new_incarnation; /* the next provider that starts is told */
	uint64_t commands_at_backup;
	bool structure_changed; /* since the backup */
	bool restore_due, damage_due[SIM_GATEWAYS];
};

extern struct sim_world sim_world;

uint64_t sim_below(uint64_t bound);
/* Out of a million; never when calm. */
bool sim_chance(uint32_t per_million);
void sim_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* A step of the current process. True: it is dead by now, and the step has no effect. */
bool sim_step_dies(void);
/* As `process`; gives who it was before, for sim_leave. */
struct sim_process *sim_enter(struct sim_process *process);
void sim_leave(struct sim_process *before);
/* A timer of the world's own. */
void sim_after(uv_timer_t *timer, uint64_t wait_ms, uv_timer_cb call, void *data);

/* ---- plane_world.c ---- */

void sim_open(uint64_t seed);
void sim_close(void);
void sim_step(void);
/* It ends now, as by kill -9; it comes back by itself. */
void sim_kill(struct sim_process *process);
/* It dies, and comes back then. */
void sim_away(unsigned gateway, uint64_t back_ms);
/* A provider is told to stop, and drains. */
void sim_stop(struct sim_process *process);
struct sim_process *sim_provider_of(const char *endpoint);
void sim_endpoint(unsigned provider, char text[32]);

/* ---- plane_net.c ---- */

void sim_net_open(void);
void sim_net_close(void);
/* Something happens to a connection. */
void sim_net_trouble(void);
/* Nothing that is under way between these two arrives any more, and nobody is told. */
void sim_net_silence(unsigned gateway, unsigned provider);
/* The epoch that this connection was held with, as its gateway kept it; 0: it was not. */
uint64_t sim_conn_epoch(const struct conn *conn);
void sim_conn_held(struct conn *conn, uint64_t epoch);
struct sim_process *sim_conn_provider(const struct conn *conn);

/* ---- plane_local.c ---- */

void sim_local_open(void);
void sim_local_close(void);
/* A question at a provider's administrator's socket. `answered` once: NULL if it died first. False:
 * nobody listens. */
bool sim_admin_ask(struct sim_process *provider, const Holdfast__AdminRequest *request,
		   void (*answered)(void *context, const Holdfast__AdminAnswer *answer),
		   void *context);

/* ---- plane_disk.c ---- */

void sim_disk_open(void);
void sim_disk_close(void);
/* What a death leaves of files that were written and not synced. */
void sim_disk_crash(unsigned gateway);
void sim_disk_damage_journal(unsigned gateway);

/* ---- plane_db.c ---- */

void sim_db_open(void);
void sim_db_close(void);
void sim_db_backup(void);
void sim_db_restore(void);
/* SQL of the world's own, past everything under test. `number`: of the first column; false: no row.
 */
bool sim_db_look(const char *sql, uint64_t key, const char *text, uint64_t *numbers,
		 unsigned count);

/* ---- plane_machine.c ---- */

struct sim_machine *sim_machine_open(unsigned gateway);
void sim_machine_close(struct sim_machine *machine);
/* malloc'ed answers; NULL: it is away. */
uint8_t *sim_machine_volumed(struct sim_machine *machine, const uint8_t *bytes, size_t length,
			     size_t *answer_length);
uint8_t *sim_machine_broker(struct sim_machine *machine, const uint8_t *bytes, size_t length,
			    size_t *answer_length);
/* tgtd or volumed dies by itself. */
void sim_machine_trouble(struct sim_machine *machine);
/* When a run of that process (0: tgtd, 1: volumed) ended last, by whatever. */
uint64_t sim_machine_ended_ms(const struct sim_machine *machine, unsigned process);
/* Is it served as asked? */
bool sim_machine_serves(const struct sim_machine *machine, uint64_t volume, uint64_t size_bytes,
			uint64_t attach_epoch);
bool sim_machine_knows(const struct sim_machine *machine, uint64_t volume);

/* ---- plane_lies.c ---- */

void sim_lies_close(void);

/* ---- plane_commands.c ---- */

void sim_command(void);
/* The database forgot what came after its backup. */
void sim_commands_restored(void);

/* ---- plane_check.c ---- */

void sim_check_kept(unsigned gateway, const char *name, const uint8_t *bytes, size_t length);
void sim_check_signed(const uint8_t *answer, size_t length);
void sim_check_effect(unsigned gateway, uint64_t action, uint32_t process);
bool sim_check_settled(bool say);

#endif
