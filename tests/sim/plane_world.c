/* Time, processes and their lives in sim_plane (plane.h). The next moment is the earliest at which
 * anything is due on any loop. Deaths are decided in the middle of a step and carried out at the
 * end of the moment. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gateway/agent/kept.h"
#include "net/identity.h"
#include "provider/control/drain.h"
#include "provider/control/process.h"
#include "tests/lib/folder.h"
#include "tests/sim/plane.h"

#define DIES         60u  /* per million steps */
#define TURNS_MAX    1000 /* that a process needs to be taken apart */
#define STOP_MS      120000u
#define SILENT_DEATH 300000u

struct sim_world sim_world;

/* ---- Chance ---- */

uint64_t sim_below(uint64_t bound)
{
	return sim_rng_below(&sim_world.rng, bound);
}

bool sim_chance(uint32_t per_million)
{
	return !sim_world.calm && sim_rng_chance(&sim_world.rng, per_million);
}

void sim_fail(const char *format, ...)
{
	va_list arguments;

	if (sim_world.failed)
		return;
	sim_world.failed = true;
	printf("seed %llu at %llu ms: ", (unsigned long long)sim_world.seed,
	       (unsigned long long)sim_world.now_ms);
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	putchar('\n');
	fflush(stdout);
}

bool sim_step_dies(void)
{
	struct sim_process *process = sim_world.current;

	if (!process)
		return false;
	if (!process->dead && sim_chance(DIES))
		process->dead = true;
	return process->dead;
}

struct sim_process *sim_enter(struct sim_process *process)
{
	struct sim_process *was = sim_world.current;

	sim_world.current = process;
	return was;
}

void sim_leave(struct sim_process *before)
{
	sim_world.current = before;
}

/* ---- Addresses ---- */

void sim_endpoint(unsigned provider, char text[32])
{
	snprintf(text, 32, "10.0.0.%u:7000", provider + 1);
}

struct sim_process *sim_provider_of(const char *endpoint)
{
	char text[32];

	for (unsigned i = 0; i < SIM_PROVIDERS; i++) {
		sim_endpoint(i, text);
		if (strcmp(text, endpoint) == 0)
			return &sim_world.providers[i];
	}
	return NULL;
}

/* ---- The life of a process ---- */

static void start_later(struct sim_process *process, uint64_t wait_ms);

static void start_provider(struct sim_process *p)
{
	struct hf_errmsg message = {""};

	/* Who restores a database sets the clock right first: incarnations go by it. */
	if (sim_world.new_incarnation)
		p->skew_ms = 0;
	p->control = calloc(1, sizeof *p->control);
	HF_ASSERT(p->control);
	p->control->config = sim_world.provider_config[p->index];
	p->control->new_incarnation = sim_world.new_incarnation;
	if (hf_control_start(p->control, &p->loop.uv, &message) != 0)
		p->dead = true;
	else
		sim_world.new_incarnation = false;
}

static void start_agent(struct sim_process *p)
{
	struct hf_errmsg message = {""};

	if (hf_agent_open(&p->loop.uv, &sim_world.gateways[p->index].config, &p->agent, &message) !=
	    0)
		p->agent = NULL;
	if (!p->agent)
		p->dead = true;
}

static void on_start(uv_timer_t *timer)
{
	struct sim_process *process = timer->data;
	struct sim_process *was = sim_enter(process);

	process->running = true;
	process->dead = process->stopping = false;
	if (process->kind == SIM_PROVIDER)
		start_provider(process);
	else
		start_agent(process);
	sim_leave(was);
}

static void start_later(struct sim_process *process, uint64_t wait_ms)
{
	sim_after(&process->start, wait_ms, on_start, process);
}

static void agent_closed(void *context)
{
	struct sim_process *process = context;

	process->agent = NULL;
}

static bool is_over(const struct sim_process *p)
{
	if (p->loop.first)
		return false;
	return p->kind == SIM_AGENT ? p->agent == NULL : p->control->channel_count == 0;
}

static void take_apart(struct sim_process *p)
{
	struct sim_process *was = sim_enter(p);

	if (p->kind == SIM_PROVIDER)
		hf_control_stop(p->control);
	else if (p->agent)
		hf_agent_close(p->agent, agent_closed, p);
	for (unsigned turns = 0; !is_over(p); turns++) {
		HF_ASSERT(turns < TURNS_MAX);
		sim_loop_turn_posts(&p->loop);
	}
	if (p->kind == SIM_PROVIDER) {
		hf_control_free(p->control);
		free(p->control);
		p->control = NULL;
	}
	HF_ASSERT(p->loop.count == 0);
	sim_leave(was);
}

static void bury(struct sim_process *p)
{
	if (sim_chance(SILENT_DEATH))
		for (unsigned g = 0; g < SIM_GATEWAYS; g++)
			for (unsigned i = 0; i < SIM_PROVIDERS; i++)
				if (p == &sim_world.agents[g] || p == &sim_world.providers[i])
					sim_net_silence(g, i);
	take_apart(p);
	if (p->kind == SIM_AGENT)
		sim_disk_crash(p->index);
	if (p->kind == SIM_AGENT && sim_world.damage_due[p->index])
		sim_disk_damage_journal(p->index);
	if (p->kind == SIM_AGENT)
		sim_world.damage_due[p->index] = false;
	p->running = false;
	sim_world.deaths++;
	if (!uv_is_active((uv_handle_t *)&p->start))
		start_later(p,
			    p->kind == SIM_AGENT ? 100 + sim_below(3000) : 300 + sim_below(8000));
}

void sim_kill(struct sim_process *process)
{
	if (process->running)
		process->dead = true;
}

void sim_away(unsigned gateway, uint64_t back_ms)
{
	start_later(&sim_world.agents[gateway], back_ms - sim_world.now_ms);
	sim_kill(&sim_world.agents[gateway]);
}

void sim_stop(struct sim_process *process)
{
	struct sim_process *was;

	if (!process->running || process->dead || process->stopping)
		return;
	process->stopping = true;
	process->stop_by_ms = sim_world.now_ms + STOP_MS;
	was = sim_enter(process);
	hf_drain_begin(process->control);
	sim_leave(was);
}

/* One that has stopped in order, or by itself, or takes too long, goes like one that died. */
static bool has_ended(const struct sim_process *p)
{
	if (!p->running || p->dead)
		return p->running;
	if (p->kind == SIM_AGENT)
		return false;
	return (p->control->stopping && is_over(p)) ||
	       (p->stopping && sim_world.now_ms >= p->stop_by_ms);
}

/* The database of some time ago, as the administrator brings it back. */
static void restore(void)
{
	for (unsigned i = 0; i < SIM_PROVIDERS; i++) {
		struct sim_process *p = &sim_world.providers[i];

		p->base_back_ms = 0;
		if (!p->running)
			continue;
		p->dead = true;
		bury(p);
	}
	sim_db_restore();
	sim_world.restore_due = false;
	sim_world.new_incarnation = true;
	sim_world.restores++;
	sim_commands_restored();
}

/* ---- One moment ---- */

static struct sim_process *process_at(unsigned i)
{
	return i < SIM_PROVIDERS ? &sim_world.providers[i] : &sim_world.agents[i - SIM_PROVIDERS];
}

void sim_step(void)
{
	uint64_t due_ms = sim_loop_due_ms(&sim_world.loop), next_ms;

	for (unsigned i = 0; i < SIM_PROVIDERS + SIM_GATEWAYS; i++) {
		next_ms = sim_loop_due_ms(&process_at(i)->loop);
		if (process_at(i)->running && next_ms < due_ms)
			due_ms = next_ms;
	}
	HF_ASSERT(due_ms != SIM_NEVER);
	if (due_ms > sim_world.now_ms)
		sim_world.now_ms = due_ms;
	if (sim_loop_due_ms(&sim_world.loop) <= sim_world.now_ms)
		sim_loop_turn(&sim_world.loop);
	for (unsigned i = 0; i < SIM_PROVIDERS + SIM_GATEWAYS; i++) {
		struct sim_process *p = process_at(i);

		if (p->running && !p->dead && sim_loop_due_ms(&p->loop) <= sim_world.now_ms)
			sim_loop_turn(&p->loop);
		if (has_ended(p)) {
			p->dead = true;
			bury(p);
		}
	}
	if (sim_world.restore_due)
		restore();
}

/* ---- Opening: what activation and configuration would have given ---- */

static void configure_provider(unsigned i)
{
	char text[1024];
	struct hf_errmsg message = {""};
	int length = snprintf(
		text, sizeof text,
		"run_dir = /sim/p%u\nstate_dir = /sim/p%u/state\nsigner_dir = /sim/signer\n"
		"registry = postgres://sim@sim/sim\nroute = tls://sim:1\nprocess_name = p%u\n"
		"channel_listen = 10.0.0.%u:7000\nactivation_listen = 10.0.0.%u:7001\n"
		"store_url = dir:/sim/store\nping_interval_ms = 2000\nstandby_spread_ms = 1000\n"
		"drain_window_ms = 1000\nreconnects_per_minute = 0\n",
		i, i, i, i + 1, i + 1);

	HF_ASSERT(length > 0 && length < (int)sizeof text);
	memset(&sim_world.provider_config[i], 0, sizeof sim_world.provider_config[i]);
	HF_ASSERT(hf_conf_parse("provider", text, hf_control_keys, &sim_world.provider_config[i],
				&message) == 0);
	HF_ASSERT(hf_control_config_check(&sim_world.provider_config[i], &message) == 0);
}

static void configure_agent(unsigned i)
{
	char text[512];
	struct hf_errmsg message = {""};
	struct hf_agent_config *config = &sim_world.gateways[i].config;

	snprintf(text, sizeof text,
		 "run_dir = /sim/g%u\nstate_dir = /sim/g%u/state\nactivation = 10.0.0.1:7001\n"
		 "portal = 127.0.0.1:3260\n",
		 i, i);
	memset(config, 0, sizeof *config);
	HF_ASSERT(hf_conf_parse("agent", text, hf_agent_keys, config, &message) == 0);
	HF_ASSERT(hf_agent_check_config(config, &message) == 0);
}

static Holdfast__SignerAnswer *ask_signer(const Holdfast__SignerRequest *request)
{
	size_t length = holdfast__signer_request__get_packed_size(request), answer_length;
	uint8_t *bytes = malloc(length + 1), *answer;
	Holdfast__SignerAnswer *out;

	HF_ASSERT(bytes);
	holdfast__signer_request__pack(request, bytes);
	answer = hf_signer_answer(sim_world.signer, HF_SIGNER_PROVIDER, bytes, length,
				  &answer_length);
	HF_ASSERT(answer);
	out = holdfast__signer_answer__unpack(NULL, answer_length, answer);
	HF_ASSERT(out && out->error == 0);
	free(bytes);
	free(answer);
	return out;
}

/* What the gateway would have been issued, on its disk. */
static void issue(unsigned i, const struct hf_sign_key *identity, const uint8_t *sealing_key)
{
	struct sim_gateway *g = &sim_world.gateways[i];
	struct hf_kept kept = {.folder = g->config.state_dir};
	Holdfast__SignerRequest request = HOLDFAST__SIGNER_REQUEST__INIT;
	Holdfast__SignerCertificate order = HOLDFAST__SIGNER_CERTIFICATE__INIT;
	Holdfast__ActivateIssued issued = HOLDFAST__ACTIVATE_ISSUED__INIT;
	char texts[SIM_PROVIDERS][32], *endpoints[SIM_PROVIDERS];
	Holdfast__SignerAnswer *answer;
	struct hf_errmsg message;

	HF_ASSERT(hf_request_make(identity, "gw", &order.request.data, &order.request.len) == 0);
	order.tenant = sim_world.tenant;
	order.gateway = g->id;
	order.identity_key.data = (uint8_t *)(uintptr_t)identity->public_key;
	order.sealing_key.data = (uint8_t *)(uintptr_t)sealing_key;
	order.identity_key.len = order.sealing_key.len = HF_KEY_BYTES;
	request.kind_case = HOLDFAST__SIGNER_REQUEST__KIND_CERTIFICATE;
	request.certificate = &order;
	answer = ask_signer(&request);
	issued.gateway = g->id;
	issued.tenant = sim_world.tenant;
	issued.certificate = answer->certificate;
	issued.ca_certificate = answer->ca_certificate;
	issued.signer_key = answer->signer_key;
	issued.endpoints = endpoints;
	issued.n_endpoints = SIM_PROVIDERS;
	for (unsigned p = 0; p < SIM_PROVIDERS; p++) {
		sim_endpoint(p, texts[p]);
		endpoints[p] = texts[p];
	}
	HF_ASSERT(hf_kept_set_activated(&kept, &issued, &message) == 0);
	holdfast__signer_answer__free_unpacked(answer, NULL);
	free(order.request.data);
}

static void add_gateway(struct hf_registry *reg, unsigned i)
{
	struct sim_gateway *g = &sim_world.gateways[i];
	struct hf_kept kept = {.folder = NULL};
	struct hf_reg_gateway row = {.tenant = sim_world.tenant, .state = HF_REG_GATEWAY_ACTIVE};
	struct hf_sign_key identity;
	struct hf_seal_key sealing;
	struct hf_errmsg message;

	configure_agent(i);
	g->id = row.id = 100 + i;
	snprintf(g->name, sizeof g->name, "gateway-%u", i);
	memcpy(row.name, g->name, sizeof g->name);
	kept.folder = g->config.state_dir;
	HF_ASSERT(hf_kept_keys(&kept, &identity, &sealing, &message) == 0);
	memcpy(row.identity_key, identity.public_key, HF_KEY_BYTES);
	memcpy(row.sealing_key, sealing.public_key, HF_KEY_BYTES);
	HF_ASSERT(hf_registry_gateway_insert(reg, &row) == 0);
	issue(i, &identity, sealing.public_key);
	g->machine = sim_machine_open(i);
}

static void open_signer(void)
{
	struct hf_signer_config config = {.state_dir = sim_world.folder,
					  .gateway_days = 400,
					  .server_days = 400,
					  .no_approval = true};
	struct hf_errmsg message = {""};

	snprintf(sim_world.folder, sizeof sim_world.folder, "/dev/shm/hf-sim-signer-XXXXXX");
	HF_ASSERT(mkdtemp(sim_world.folder));
	if (hf_signer_open(&config, &sim_world.signer, &message) != 0) {
		printf("the signer: %s\n", message.text);
		abort();
	}
}

void sim_open(uint64_t seed)
{
	struct hf_registry *reg;
	struct hf_reg_info info;
	struct hf_errmsg message;

	memset(&sim_world, 0, sizeof sim_world);
	sim_world.seed = sim_world.rng.state = seed;
	sim_world.calm = true;
	sim_loop_open(&sim_world.loop, NULL);
	sim_net_open();
	sim_local_open();
	sim_disk_open();
	sim_db_open();
	open_signer();
	HF_ASSERT(hf_registry_open("postgres://sim", 1, &reg, &message) == 0);
	HF_ASSERT(hf_registry_info(reg, &info) == 0);
	sim_world.tenant = info.tenant;
	for (unsigned i = 0; i < SIM_PROVIDERS + SIM_GATEWAYS; i++) {
		struct sim_process *p = process_at(i);

		p->kind = i < SIM_PROVIDERS ? SIM_PROVIDER : SIM_AGENT;
		p->index = i < SIM_PROVIDERS ? i : i - SIM_PROVIDERS;
		sim_loop_open(&p->loop, p);
		if (p->kind == SIM_PROVIDER)
			configure_provider(i);
		else
			add_gateway(reg, p->index);
		start_later(p, sim_below(1000));
	}
	hf_registry_close(reg);
	sim_world.calm = false;
}

void sim_close(void)
{
	sim_world.calm = true;
	for (unsigned i = 0; i < SIM_PROVIDERS + SIM_GATEWAYS; i++) {
		struct sim_process *p = process_at(i);

		if (p->running) {
			p->dead = true;
			take_apart(p);
			p->running = false;
		}
		uv_timer_stop(&p->start);
	}
	while (sim_loop_due_ms(&sim_world.loop) != SIM_NEVER)
		sim_step();
	for (unsigned i = 0; i < SIM_PROVIDERS + SIM_GATEWAYS; i++)
		sim_loop_close(&process_at(i)->loop);
	sim_loop_close(&sim_world.loop);
	for (unsigned i = 0; i < SIM_GATEWAYS; i++) {
		sim_machine_close(sim_world.gateways[i].machine);
		free(sim_world.gateways[i].signed_changes);
		hf_conf_free(hf_agent_keys, &sim_world.gateways[i].config);
	}
	for (unsigned i = 0; i < SIM_PROVIDERS; i++)
		hf_conf_free(hf_control_keys, &sim_world.provider_config[i]);
	free(sim_world.actions);
	hf_signer_close(sim_world.signer);
	folder_remove(sim_world.folder);
	sim_lies_close();
	sim_net_close();
	sim_local_close();
	sim_disk_close();
	sim_db_close();
}
