/* What a simulated gateway is asked: documents are checked by the agent's own rules, kept with a
 * sync, and answered; volumes are reported as the document wants them. */
#include "tests/channel/swarm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/delta.h"

#define REPORT_MIN_MS 50u

void sim_answer(struct sim_path *path, Holdfast__Answer *message, uint64_t request, int err,
		const char *reason)
{
	message->request = request;
	message->error = -err;
	if (err)
		message->reason = (char *)(uintptr_t)reason;
	if (!path || !path->wire)
		return;
	hf_session_answer(hf_wire_session(path->wire), message);
	if (path->wire)
		hf_wire_sent(path->wire);
}

void sim_answer_plainly(struct sim_path *path, uint64_t request, int err, const char *reason)
{
	Holdfast__Answer message = HOLDFAST__ANSWER__INIT;

	sim_answer(path, &message, request, err, reason);
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

void sim_report(struct sim_path *path)
{
	struct sim_gateway *g = path->gateway;
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
	hf_session_report(hf_wire_session(path->wire), &report);
	free_volumes(&volumes);
	if (path->wire)
		hf_wire_sent(path->wire);
}

void sim_tell(struct sim_path *path, Holdfast__PathState state)
{
	struct sim_gateway *g = path->gateway;
	Holdfast__Report report = HOLDFAST__REPORT__INIT;
	Holdfast__Applied applied;

	fill_applied(g, &applied);
	report.applied = &applied;
	report.subscription = g->paths.path[path->index].subscribed;
	report.path = state;
	report.path_epoch = g->paths.epoch;
	if (state == HOLDFAST__PATH_STATE__PATH_LOST)
		report.token = (ProtobufCBinaryData){g->token_length, g->token};
	hf_session_report(hf_wire_session(path->wire), &report);
	if (path->wire)
		hf_wire_sent(path->wire);
}

static void subscribe(struct sim_path *path, const struct hf_session_event *event)
{
	const Holdfast__Subscribe *wanted = event->requested->subscribe;
	struct sim_gateway *g = path->gateway;

	if (path->state == SIM_PARKED) {
		hf_paths_subscribed(&g->paths, path->index, wanted->subscription);
		path->told = 0;
		sim_answer_plainly(path, event->request, 0, NULL);
		sim_settle(g);
		return;
	}
	g->subscription = wanted->subscription;
	g->interval_ms = wanted->interval_ms;
	if (g->interval_ms && g->interval_ms < REPORT_MIN_MS)
		g->interval_ms = REPORT_MIN_MS;
	sim_answer_plainly(path, event->request, 0, NULL);
	if (g->interval_ms && path->wire)
		sim_report(path);
}

/* ---- Documents ---- */

/* Waits for the journal. */
struct applying {
	struct sim_gateway *gateway;
	unsigned connection;
	uint64_t request, epoch, newest;
	uint64_t incarnation, generation, sequence, size_bytes;
	uint8_t hash[HF_HASH_BYTES];
};

static void answer_applied(struct sim_gateway *g, unsigned connection, uint64_t request)
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
	sim_answer(sim_path_of(g, connection), &message, request, 0, NULL);
	free_volumes(&volumes);
}

static void applied(void *context)
{
	struct applying *a = context;
	struct sim_gateway *g = a->gateway;
	char text[96];

	g->incarnation = a->incarnation;
	g->generation = a->generation;
	memcpy(g->hash, a->hash, sizeof g->hash);
	g->swarm->counts.applied++;
	snprintf(text, sizeof text, "on=%llu of=%llu size=%llu", (unsigned long long)a->epoch,
		 (unsigned long long)a->newest, (unsigned long long)a->size_bytes);
	swarm_ledger(g, "applied", a->incarnation, a->generation, a->sequence, text);
	answer_applied(g, a->connection, a->request);
	free(a);
}

static void take(struct sim_path *path, uint64_t request, struct hf_document *document,
		 const Holdfast__Signed *packet)
{
	struct sim_gateway *g = path->gateway;
	size_t length = holdfast__signed__get_packed_size(packet);
	uint8_t *bytes = malloc(length + 1);
	struct applying *a = calloc(1, sizeof *a);

	if (!bytes || !a)
		die("out of memory");
	holdfast__signed__pack(packet, bytes);
	journal_add(g->swarm->journal, g->index, JOURNAL_DOCUMENT, bytes, length);
	free(bytes);
	a->gateway = g;
	a->connection = path->connection;
	a->request = request;
	a->epoch = g->paths.path[path->index].epoch;
	a->newest = g->paths.epoch;
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

void sim_refuse(struct sim_path *path, uint64_t request, int err, const char *reason,
		bool full_wanted)
{
	Holdfast__Answer message = HOLDFAST__ANSWER__INIT;

	message.full_wanted = full_wanted;
	path->gateway->swarm->counts.failed++;
	swarm_ledger(path->gateway, "refused", (uint64_t)-err, 0, 0, reason);
	sim_answer(path, &message, request, err, reason);
}

static void apply(struct sim_path *path, uint64_t request, const Holdfast__Signed *packet)
{
	struct sim_gateway *g = path->gateway;
	struct hf_document *document;
	struct hf_errmsg why = {""};
	int err = hf_document_open(g->signer_key, g->swarm->all.tenant, g->identity.gateway, packet,
				   &document, &why);

	if (!err) {
		err = hf_document_check(g->current, document, &why);
		if (!err) {
			take(path, request, document, packet);
			return;
		}
		hf_document_free(document);
	}
	if (err == HF_EEXIST) {
		g->swarm->counts.stale++;
		answer_applied(g, path->connection, request);
		return;
	}
	sim_refuse(path, request, err, why.text, false);
}

/* As the agent does it: nothing of what is put together counts before it is verified like any other
 * document. */
static void apply_delta(struct sim_path *path, uint64_t request, const Holdfast__ApplyDelta *delta)
{
	const struct hf_document *base = path->gateway->current;
	Holdfast__Signed *packet;
	uint8_t *bytes;
	size_t length;
	int err = delta->change
			  ? hf_delta_apply(base ? base->content : NULL, base ? base->hash : NULL,
					   delta->delta.data, delta->delta.len, &bytes, &length)
			  : HF_EINVAL;

	if (!err) {
		err = hf_change_with_document(delta->change, bytes, length, &packet);
		free(bytes);
	}
	if (err) {
		sim_refuse(path, request, err, "the delta does not fit", true);
		return;
	}
	path->gateway->swarm->counts.deltas++;
	apply(path, request, packet);
	holdfast__signed__free_unpacked(packet, NULL);
}

static void drain(struct sim_path *path, const struct hf_session_event *event)
{
	char endpoint[HF_ENDPOINT_MAX];

	snprintf(endpoint, sizeof endpoint, "%s", event->requested->drain->endpoint);
	swarm_ledger(path->gateway, "drain", 0, 0, 0, endpoint);
	sim_answer_plainly(path, event->request, 0, NULL);
	if (path->wire)
		sim_leave(path, endpoint);
}

/* ---- What arrives ---- */

static void serve(struct sim_path *path, const struct hf_session_event *event)
{
	const Holdfast__Request *requested = event->requested;
	int kind = (int)requested->kind_case;

	if (kind == HOLDFAST__REQUEST__KIND_SUBSCRIBE)
		subscribe(path, event);
	else if (kind == HOLDFAST__REQUEST__KIND_DRAIN)
		drain(path, event);
	else if (kind == HOLDFAST__REQUEST__KIND_PEERS) /* places are those of the command line */
		sim_answer_plainly(path, event->request, 0, NULL);
	else if (path->state != SIM_HELD)
		sim_answer_plainly(path, event->request, HF_EFENCED, "this connection is parked");
	else if (kind == HOLDFAST__REQUEST__KIND_APPLY)
		apply(path, event->request, requested->apply);
	else if (kind == HOLDFAST__REQUEST__KIND_APPLY_DELTA)
		apply_delta(path, event->request, requested->apply_delta);
	else if (kind == HOLDFAST__REQUEST__KIND_ACT)
		sim_act(path, event);
	else if (kind == HOLDFAST__REQUEST__KIND_FORGET)
		sim_forget(path, event);
	else if (kind == HOLDFAST__REQUEST__KIND_ROTATE)
		sim_rotate(path, event->request, requested->rotate);
	else if (kind == HOLDFAST__REQUEST__KIND_CONFIRM)
		sim_confirm(path, event->request, requested->confirm);
	else
		sim_answer_plainly(path, event->request, HF_EUNSUPPORTED,
				   "the swarm does not serve the request");
}

/* What came before the connection's epoch and token were durable. */
struct early {
	struct sim_gateway *gateway;
	unsigned connection;
	uint64_t request;
	size_t length;
	uint8_t bytes[];
};

static void serve_early(void *context)
{
	struct early *early = context;
	struct sim_path *path = sim_path_of(early->gateway, early->connection);
	struct hf_session_event event = {.request = early->request};
	Holdfast__Request *requested;

	if (path) {
		requested = holdfast__request__unpack(NULL, early->length, early->bytes);
		event.requested = requested;
		serve(path, &event);
		holdfast__request__free_unpacked(requested, NULL);
	}
	free(early);
}

void sim_requested(struct sim_path *path, const struct hf_session_event *event)
{
	size_t length = holdfast__request__get_packed_size(event->requested);
	struct early *early;

	if (!path->unkept) {
		serve(path, event);
		return;
	}
	early = malloc(sizeof *early + length);
	if (!early)
		die("out of memory");
	early->gateway = path->gateway;
	early->connection = path->connection;
	early->request = event->request;
	early->length = length;
	holdfast__request__pack(event->requested, early->bytes);
	journal_wait(path->gateway->swarm->journal, serve_early, early);
}
