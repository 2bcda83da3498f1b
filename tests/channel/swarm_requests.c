/* What a simulated gateway is asked: documents are checked by the agent's own rules, kept with a
 * sync, and answered; volumes are reported as the document wants them. */
#include "tests/channel/swarm.h"

#include <stdlib.h>
#include <string.h>

#define REPORT_MIN_MS 50u

void sim_answer(struct sim_gateway *g, Holdfast__Answer *message, uint64_t request, int err,
		const char *reason)
{
	message->request = request;
	message->error = -err;
	if (err)
		message->reason = (char *)(uintptr_t)reason;
	if (!g->wire)
		return;
	hf_session_answer(hf_wire_session(g->wire), message);
	if (g->wire)
		hf_wire_sent(g->wire);
}

void sim_answer_plainly(struct sim_gateway *g, uint64_t request, int err, const char *reason)
{
	Holdfast__Answer message = HOLDFAST__ANSWER__INIT;

	sim_answer(g, &message, request, err, reason);
}

/* ---- Volumes, as they would be once reconciled ---- */

struct volumes {
	Holdfast__VolumeReport *reports, **pointers;
	size_t count;
};

static void tell_volume(struct volumes *v, uint64_t volume, uint64_t version, int state,
			uint64_t size_bytes)
{
	Holdfast__VolumeReport *report = &v->reports[v->count];

	holdfast__volume_report__init(report);
	report->volume = volume;
	report->version = version;
	report->state = (Holdfast__VolumeState)state;
	report->size_bytes = size_bytes;
	v->pointers[v->count++] = report;
}

static void tell_volumes(const struct sim_gateway *g, struct volumes *v)
{
	const Holdfast__Document *d = g->current ? g->current->content : NULL;
	size_t room = d ? d->n_volumes + d->n_tombstones : 0;

	v->count = 0;
	v->reports = calloc(room + 1, sizeof *v->reports);
	v->pointers = calloc(room + 1, sizeof(Holdfast__VolumeReport *));
	if (!v->reports || !v->pointers)
		die("out of memory");
	for (size_t i = 0; d && i < d->n_volumes; i++) {
		bool attached = d->volumes[i]->attachment == HOLDFAST__ATTACHMENT__ATTACHED;

		tell_volume(v, d->volumes[i]->volume, d->volumes[i]->version,
			    attached ? HOLDFAST__VOLUME_STATE__VOLUME_AVAILABLE
				     : HOLDFAST__VOLUME_STATE__VOLUME_DETACHED,
			    attached ? d->volumes[i]->size_bytes : 0);
	}
	for (size_t i = 0; d && i < d->n_tombstones; i++)
		tell_volume(v, d->tombstones[i]->volume, d->tombstones[i]->version,
			    HOLDFAST__VOLUME_STATE__VOLUME_DELETED, 0);
}

static void free_volumes(struct volumes *v)
{
	free(v->reports);
	free(v->pointers);
}

static void fill_applied(struct sim_gateway *g, Holdfast__Applied *applied)
{
	holdfast__applied__init(applied);
	applied->incarnation = g->incarnation;
	applied->generation = g->generation;
	if (g->incarnation)
		applied->hash = (ProtobufCBinaryData){sizeof g->hash, g->hash};
}

void sim_report(struct sim_gateway *g)
{
	Holdfast__Report report = HOLDFAST__REPORT__INIT;
	Holdfast__Applied applied;
	struct volumes volumes;

	fill_applied(g, &applied);
	tell_volumes(g, &volumes);
	report.subscription = g->subscription;
	report.applied = &applied;
	report.volumes = volumes.pointers;
	report.n_volumes = volumes.count;
	report.buffer_total_bytes = 1u << 30;
	report.volumed_running = report.target_running = true;
	g->report_ms = uv_now(g->swarm->loop) + g->interval_ms;
	g->swarm->counts.reports++;
	hf_session_report(hf_wire_session(g->wire), &report);
	free_volumes(&volumes);
	if (g->wire)
		hf_wire_sent(g->wire);
}

static void subscribe(struct sim_gateway *g, const struct hf_session_event *event)
{
	const Holdfast__Subscribe *wanted = event->requested->subscribe;

	g->subscription = wanted->subscription;
	g->interval_ms = wanted->interval_ms;
	if (g->interval_ms && g->interval_ms < REPORT_MIN_MS)
		g->interval_ms = REPORT_MIN_MS;
	sim_answer_plainly(g, event->request, 0, NULL);
	if (g->interval_ms && g->wire)
		sim_report(g);
}

/* ---- Documents ---- */

/* Waits for the journal. */
struct applying {
	struct sim_gateway *gateway;
	unsigned connection;
	uint64_t request, epoch;
	uint64_t incarnation, generation, sequence, size_bytes;
	uint8_t hash[HF_HASH_BYTES];
};

static void answer_applied(struct sim_gateway *g, uint64_t request)
{
	Holdfast__Answer message = HOLDFAST__ANSWER__INIT;
	Holdfast__ApplyResult result = HOLDFAST__APPLY_RESULT__INIT;
	Holdfast__Applied applied;
	struct volumes volumes;

	fill_applied(g, &applied);
	tell_volumes(g, &volumes);
	result.observed = &applied;
	result.volumes = volumes.pointers;
	result.n_volumes = volumes.count;
	message.result_case = HOLDFAST__ANSWER__RESULT_APPLY;
	message.apply = &result;
	sim_answer(g, &message, request, 0, NULL);
	free_volumes(&volumes);
}

static void applied(void *context)
{
	struct applying *a = context;
	struct sim_gateway *g = a->gateway;
	char text[64];

	g->incarnation = a->incarnation;
	g->generation = a->generation;
	memcpy(g->hash, a->hash, sizeof g->hash);
	g->swarm->counts.applied++;
	snprintf(text, sizeof text, "on=%llu size=%llu", (unsigned long long)a->epoch,
		 (unsigned long long)a->size_bytes);
	swarm_ledger(g, "applied", a->incarnation, a->generation, a->sequence, text);
	if (g->wire && g->connections == a->connection)
		answer_applied(g, a->request);
	free(a);
}

static void take(struct sim_gateway *g, uint64_t request, struct hf_document *document,
		 const Holdfast__Signed *packet)
{
	size_t length = holdfast__signed__get_packed_size(packet);
	uint8_t *bytes = malloc(length + 1);
	struct applying *a = calloc(1, sizeof *a);

	if (!bytes || !a)
		die("out of memory");
	holdfast__signed__pack(packet, bytes);
	journal_add(g->swarm->journal, g->index, JOURNAL_DOCUMENT, bytes, length);
	free(bytes);
	a->gateway = g;
	a->connection = g->connections;
	a->request = request;
	a->epoch = g->epoch;
	a->incarnation = document->content->incarnation;
	a->generation = document->content->generation;
	a->sequence = document->sequence;
	a->size_bytes =
		document->content->n_volumes ? document->content->volumes[0]->size_bytes : 0;
	memcpy(a->hash, document->hash, sizeof a->hash);
	hf_document_free(g->current);
	g->current = document;
	journal_wait(g->swarm->journal, applied, a);
}

static void apply(struct sim_gateway *g, const struct hf_session_event *event)
{
	const struct identities *all = &g->swarm->all;
	struct hf_document *document;
	struct hf_errmsg why = {""};
	int err = hf_document_open(all->signer_key, all->tenant, g->identity.gateway,
				   event->requested->apply, &document, &why);

	if (!err) {
		err = hf_document_check(g->current, document, &why);
		if (!err) {
			take(g, event->request, document, event->requested->apply);
			return;
		}
		hf_document_free(document);
	}
	if (err == HF_EEXIST) {
		g->swarm->counts.stale++;
		answer_applied(g, event->request);
		return;
	}
	g->swarm->counts.failed++;
	swarm_ledger(g, "refused", (uint64_t)-err, 0, 0, why.text);
	sim_answer_plainly(g, event->request, err, why.text);
}

static void drain(struct sim_gateway *g, const struct hf_session_event *event)
{
	swarm_ledger(g, "drain", 0, 0, 0, event->requested->drain->endpoint);
	sim_answer_plainly(g, event->request, 0, NULL);
	if (g->wire)
		hf_session_end(hf_wire_session(g->wire), HF_EAGAIN,
			       "the provider asked to connect anew");
}

void sim_requested(struct sim_gateway *g, const struct hf_session_event *event)
{
	switch (event->requested->kind_case) {
	case HOLDFAST__REQUEST__KIND_APPLY:
		apply(g, event);
		break;
	case HOLDFAST__REQUEST__KIND_SUBSCRIBE:
		subscribe(g, event);
		break;
	case HOLDFAST__REQUEST__KIND_DRAIN:
		drain(g, event);
		break;
	case HOLDFAST__REQUEST__KIND_ACT:
		sim_act(g, event);
		break;
	case HOLDFAST__REQUEST__KIND_FORGET:
		sim_forget(g, event);
		break;
	default:
		sim_answer_plainly(g, event->request, HF_EUNSUPPORTED,
				   "the swarm does not serve the request");
		break;
	}
}
