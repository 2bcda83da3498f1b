/* What must hold in sim_plane, judged from what the world noted and not from what anybody under
 * test remembers (invariants 4 and 5):
 *
 *   - an epoch that a gateway keeps is above all it kept before;
 *   - a document that it takes is newer than what it took, came on its newest connection, and is
 * byte for byte one that the signer signed;
 *   - an action has its effect at most once, and was asked for;
 *   - at the end gateways and their volumes are what the registry wants, and every action is
 *     answered by what became of it. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/agent/desired.h"
#include "gateway/agent/kept.h"
#include "proto/action.pb-c.h"
#include "proto/document.pb-c.h"
#include "base/bytes.h"
#include "tests/sim/plane.h"

/* ---- What the signer signs ---- */

static struct sim_gateway *gateway_of(uint64_t id)
{
	for (unsigned i = 0; i < SIM_GATEWAYS; i++)
		if (sim_world.gateways[i].id == id)
			return &sim_world.gateways[i];
	return NULL;
}

static void note_signed(struct sim_gateway *g, const Holdfast__Change *change)
{
	Holdfast__Document *document =
		holdfast__document__unpack(NULL, change->document.len, change->document.data);
	struct sim_signed *s;

	HF_ASSERT(document);
	if (g->signed_count == g->signed_room) {
		g->signed_room = 2 * g->signed_room + 64;
		g->signed_changes =
			realloc(g->signed_changes, g->signed_room * sizeof *g->signed_changes);
		HF_ASSERT(g->signed_changes);
	}
	s = &g->signed_changes[g->signed_count++];
	s->sequence = change->sequence;
	s->incarnation = document->incarnation;
	s->generation = document->generation;
	hf_sha256(change->document.data, change->document.len, s->hash);
	holdfast__document__free_unpacked(document, NULL);
}

static Holdfast__Change *change_in(const uint8_t *bytes, size_t length)
{
	Holdfast__Signed *packet = holdfast__signed__unpack(NULL, length, bytes);
	Holdfast__Change *change;

	HF_ASSERT(packet);
	change = holdfast__change__unpack(NULL, packet->body.len, packet->body.data);
	holdfast__signed__free_unpacked(packet, NULL);
	HF_ASSERT(change);
	return change;
}

void sim_check_signed(const uint8_t *bytes, size_t length)
{
	Holdfast__SignerAnswer *answer = holdfast__signer_answer__unpack(NULL, length, bytes);

	HF_ASSERT(answer);
	for (size_t i = 0; i < answer->n_results; i++) {
		const ProtobufCBinaryData *packet = &answer->results[i]->signed_change;
		Holdfast__Change *change;

		if (answer->results[i]->error || packet->len == 0)
			continue;
		change = change_in(packet->data, packet->len);
		if (change->kind_case == HOLDFAST__CHANGE__KIND_DOCUMENT)
			note_signed(gateway_of(change->gateway), change);
		holdfast__change__free_unpacked(change, NULL);
	}
	holdfast__signer_answer__free_unpacked(answer, NULL);
}

static bool was_signed(const struct sim_gateway *g, const struct sim_signed *it)
{
	for (size_t i = g->signed_count; i-- > 0;)
		if (g->signed_changes[i].sequence == it->sequence)
			return memcmp(&g->signed_changes[i], it, sizeof *it) == 0;
	return false;
}

/* ---- What gateways keep ---- */

static void took(struct sim_gateway *g, const struct sim_signed *it)
{
	const struct conn *conn = sim_world.delivering;
	bool newer = it->incarnation != g->took_incarnation ? it->incarnation > g->took_incarnation
							    : it->generation > g->took_generation;

	if (!was_signed(g, it))
		sim_fail("%s takes a document that nobody signed so", g->name);
	/* The very same, which a crash had left half kept. */
	if (it->incarnation == g->took_incarnation && it->generation == g->took_generation &&
	    it->sequence == g->took_sequence)
		return;
	if (!newer)
		sim_fail("%s takes (%" PRIu64 ", %" PRIu64 ") after (%" PRIu64 ", %" PRIu64 ")",
			 g->name, it->incarnation, it->generation, g->took_incarnation,
			 g->took_generation);
	if (it->sequence <= g->took_sequence)
		sim_fail("%s takes sequence %" PRIu64 " after %" PRIu64, g->name, it->sequence,
			 g->took_sequence);
	if (!conn || sim_conn_epoch(conn) != g->held_epoch)
		sim_fail("%s takes a change of epoch %" PRIu64 " after epoch %" PRIu64, g->name,
			 conn ? sim_conn_epoch(conn) : 0, g->held_epoch);
	g->took_incarnation = it->incarnation;
	g->took_generation = it->generation;
	g->took_sequence = it->sequence;
}

static void kept_document(struct sim_gateway *g, const uint8_t *body, size_t length)
{
	Holdfast__Change *change = change_in(body, length);
	Holdfast__Document *document =
		holdfast__document__unpack(NULL, change->document.len, change->document.data);
	struct sim_signed it;

	HF_ASSERT(document);
	memset(&it, 0, sizeof it);
	it.sequence = change->sequence;
	it.incarnation = document->incarnation;
	it.generation = document->generation;
	hf_sha256(change->document.data, change->document.len, it.hash);
	took(g, &it);
	holdfast__document__free_unpacked(document, NULL);
	holdfast__change__free_unpacked(change, NULL);
}

static void kept_epoch(struct sim_gateway *g, uint64_t epoch)
{
	if (epoch <= g->held_epoch)
		sim_fail("%s is held with epoch %" PRIu64 " after %" PRIu64, g->name, epoch,
			 g->held_epoch);
	g->held_epoch = epoch;
	if (sim_world.delivering)
		sim_conn_held(sim_world.delivering, epoch);
}

void sim_check_kept(unsigned gateway, const char *name, const uint8_t *bytes, size_t length)
{
	struct sim_gateway *g = &sim_world.gateways[gateway];
	const uint8_t *body;
	size_t body_length;

	if (strcmp(name, "document") == 0 &&
	    hf_kept_parse(bytes, length, HF_KEPT_DOCUMENT, &body, &body_length) == 0)
		kept_document(g, body, body_length);
	else if (strcmp(name, "epoch") == 0 &&
		 hf_kept_parse(bytes, length, HF_KEPT_EPOCH, &body, &body_length) == 0)
		kept_epoch(g, hf_get_le64(body));
}

int __real_hf_desired_apply(struct hf_desired *desired, const Holdfast__Signed *packet,
			    struct hf_errmsg *message);
int __wrap_hf_desired_apply(struct hf_desired *desired, const Holdfast__Signed *packet,
			    struct hf_errmsg *message);
int __real_hf_desired_apply_delta(struct hf_desired *desired, const Holdfast__ApplyDelta *delta,
				  bool *full_wanted, struct hf_errmsg *message);
int __wrap_hf_desired_apply_delta(struct hf_desired *desired, const Holdfast__ApplyDelta *delta,
				  bool *full_wanted, struct hf_errmsg *message);

static void count_asked(size_t bytes)
{
	struct sim_gateway *g = &sim_world.gateways[sim_world.current->index];

	g->asked_changes++;
	g->asked_bytes += bytes;
}

int __wrap_hf_desired_apply(struct hf_desired *desired, const Holdfast__Signed *packet,
			    struct hf_errmsg *message)
{
	count_asked(holdfast__signed__get_packed_size(packet));
	return __real_hf_desired_apply(desired, packet, message);
}

int __wrap_hf_desired_apply_delta(struct hf_desired *desired, const Holdfast__ApplyDelta *delta,
				  bool *full_wanted, struct hf_errmsg *message)
{
	count_asked(holdfast__apply_delta__get_packed_size(delta));
	return __real_hf_desired_apply_delta(desired, delta, full_wanted, message);
}

/* ---- Writes of holders ---- */

/* `err` of a holder's write with this epoch, and what the registry says of it. */
static int fenced(uint64_t gateway, uint64_t epoch, int err)
{
	uint64_t newest = 0;

	if (err != 0 || !sim_world.current || sim_world.current->dead)
		return err;
	sim_db_look("SELECT epoch FROM gateways WHERE id = $1", gateway, NULL, &newest, 1);
	if (epoch != newest)
		sim_fail("epoch %" PRIu64 " of gateway %" PRIu64
			 " writes to the registry after %" PRIu64,
			 epoch, gateway, newest);
	return err;
}

int __real_hf_registry_gateway_seen(struct hf_registry *reg, uint64_t id, uint64_t epoch,
				    uint64_t now_ms, uint64_t incarnation, uint64_t generation);
int __wrap_hf_registry_gateway_seen(struct hf_registry *reg, uint64_t id, uint64_t epoch,
				    uint64_t now_ms, uint64_t incarnation, uint64_t generation);
int __real_hf_registry_work_done(struct hf_registry *reg, const struct hf_reg_work *work);
int __wrap_hf_registry_work_done(struct hf_registry *reg, const struct hf_reg_work *work);
int __real_hf_registry_action_sent(struct hf_registry *reg, uint64_t number, uint64_t gateway,
				   uint64_t epoch);
int __wrap_hf_registry_action_sent(struct hf_registry *reg, uint64_t number, uint64_t gateway,
				   uint64_t epoch);
int __real_hf_registry_action_end(struct hf_registry *reg, uint64_t epoch,
				  const struct hf_reg_action *action, uint64_t now_ms);
int __wrap_hf_registry_action_end(struct hf_registry *reg, uint64_t epoch,
				  const struct hf_reg_action *action, uint64_t now_ms);

int __wrap_hf_registry_gateway_seen(struct hf_registry *reg, uint64_t id, uint64_t epoch,
				    uint64_t now_ms, uint64_t incarnation, uint64_t generation)
{
	return fenced(
		id, epoch,
		__real_hf_registry_gateway_seen(reg, id, epoch, now_ms, incarnation, generation));
}

int __wrap_hf_registry_work_done(struct hf_registry *reg, const struct hf_reg_work *work)
{
	return fenced(work->gateway, work->epoch, __real_hf_registry_work_done(reg, work));
}

int __wrap_hf_registry_action_sent(struct hf_registry *reg, uint64_t number, uint64_t gateway,
				   uint64_t epoch)
{
	return fenced(gateway, epoch, __real_hf_registry_action_sent(reg, number, gateway, epoch));
}

int __wrap_hf_registry_action_end(struct hf_registry *reg, uint64_t epoch,
				  const struct hf_reg_action *action, uint64_t now_ms)
{
	return fenced(action->gateway, epoch,
		      __real_hf_registry_action_end(reg, epoch, action, now_ms));
}

/* ---- Effects of actions ---- */

void sim_check_effect(unsigned gateway, uint64_t number, uint32_t process)
{
	uint32_t wanted = process ? HOLDFAST__ACTION_KIND__ACTION_RESTART_VOLUMED
				  : HOLDFAST__ACTION_KIND__ACTION_RESTART_TARGET;

	sim_world.effects++;
	for (size_t i = sim_world.action_count; i-- > 0;) {
		struct sim_action *a = &sim_world.actions[i];

		if (a->number != number || a->gateway != gateway)
			continue;
		if (a->kind != wanted && !a->restored)
			sim_fail("action %" PRIu64 " does something else", number);
		if (++a->effects > 1)
			sim_fail("action %" PRIu64 " of gateway %u is done twice", number, gateway);
		return;
	}
	sim_fail("action %" PRIu64 " of gateway %u was never asked for", number, gateway);
}

/* ---- The end ---- */

static bool complain(bool say, const char *format, ...) __attribute__((format(printf, 2, 3)));

static bool complain(bool say, const char *format, ...)
{
	char text[256];
	va_list list;

	va_start(list, format);
	vsnprintf(text, sizeof text, format, list);
	va_end(list);
	if (say)
		sim_fail("never settled: %s", text);
	return false;
}

static bool gateway_settled(const struct sim_gateway *g, bool say)
{
	uint64_t n[5] = {0}, document[2] = {0};

	sim_db_look("SELECT generation, applied_incarnation, applied_generation, epoch, process "
		    "FROM gateways WHERE id = $1",
		    g->id, NULL, n, 5);
	sim_db_look("SELECT incarnation, generation FROM documents WHERE gateway = $1", g->id, NULL,
		    document, 2);
	if (n[0] == 0)
		return true;
	if (document[1] != n[0])
		return complain(say, "%s wants %" PRIu64 ", %" PRIu64 " is signed", g->name, n[0],
				document[1]);
	if (g->took_incarnation != document[0] || g->took_generation != document[1])
		return complain(
			say,
			"%s wants (%" PRIu64 ", %" PRIu64 ") and took (%" PRIu64 ", %" PRIu64 ")",
			g->name, document[0], document[1], g->took_incarnation, g->took_generation);
	if (n[1] != document[0] || n[2] != document[1])
		return complain(say, "that %s took (%" PRIu64 ", %" PRIu64 ") is not known",
				g->name, document[0], document[1]);
	if (n[3] != g->held_epoch || n[4] == 0)
		return complain(say,
				"%s is held with epoch %" PRIu64 ", the registry says %" PRIu64
				" by %" PRIx64,
				g->name, g->held_epoch, n[3], n[4]);
	return true;
}

static bool volume_settled(const struct sim_volume *v, bool say)
{
	const struct sim_machine *machine;
	uint64_t n[3];

	if (!v->name[0])
		return true;
	if (!sim_db_look("SELECT v.id, v.size_bytes, v.attach_epoch FROM volumes v WHERE v.gone = "
			 "$1 AND v.name = $2",
			 0, v->name, n, 3))
		return !v->there || v->deleting || complain(say, "%s is lost", v->name);
	if (v->deleting || !v->there)
		return complain(say, "%s is not deleted", v->name);
	for (unsigned g = 0; g < SIM_GATEWAYS; g++) {
		machine = sim_world.gateways[g].machine;
		if (v->attached && v->gateway == g
			    ? !v->shrunk && !sim_machine_serves(machine, n[0], n[1], n[2])
			    : sim_machine_knows(machine, n[0]))
			return complain(
				say, "%s is %s at gateway %u", v->name,
				v->attached && v->gateway == g ? "not served" : "still served", g);
	}
	return true;
}

/* Truthful: done is done once, what was refused or ran out was not done. */
static bool action_settled(const struct sim_action *a, bool say)
{
	uint64_t n[3]; /* state, outcome, forgotten */
	bool restart = a->kind == HOLDFAST__ACTION_KIND__ACTION_RESTART_TARGET ||
		       a->kind == HOLDFAST__ACTION_KIND__ACTION_RESTART_VOLUMED;

	if (!sim_db_look("SELECT state, outcome, forgotten FROM actions WHERE number = $1",
			 a->number, NULL, n, 3))
		return true; /* one of long ago, of which the list is kept short; or restored */
	if (n[0] != HF_REG_ACTION_ENDED || !n[2])
		return complain(say, "action %" PRIu64 " of gateway %u is in state %" PRIu64 "%s",
				a->number, a->gateway, n[0], n[2] ? "" : ", not forgotten");
	if (a->restored || !restart)
		return true;
	/* Done: the run that was meant has ended, for this action's sake or by itself. */
	if (n[1] == HOLDFAST__ACTION_OUTCOME__OUTCOME_DONE && a->effects != 1 &&
	    sim_machine_ended_ms(sim_world.gateways[a->gateway].machine,
				 a->kind == HOLDFAST__ACTION_KIND__ACTION_RESTART_VOLUMED) <
		    a->accepted_ms)
		sim_fail("action %" PRIu64 " is told to be done and was done %u times", a->number,
			 a->effects);
	if ((n[1] == HOLDFAST__ACTION_OUTCOME__OUTCOME_EXPIRED ||
	     n[1] == HOLDFAST__ACTION_OUTCOME__OUTCOME_REFUSED) &&
	    a->effects)
		sim_fail("action %" PRIu64 " is told not to have begun and was done", a->number);
	return true;
}

bool sim_check_settled(bool say)
{
	bool settled = true;

	for (unsigned i = 0; settled && i < SIM_GATEWAYS; i++)
		settled = gateway_settled(&sim_world.gateways[i], say);
	for (unsigned i = 0; settled && i < SIM_VOLUMES; i++)
		settled = volume_settled(&sim_world.volumes[i], say);
	for (size_t i = sim_world.action_count; settled && i-- > 0;)
		settled = action_settled(&sim_world.actions[i], say);
	return settled;
}
