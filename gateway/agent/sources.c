/* The questions of sources.h. Each source has its own timer: armed while no question is under way.
 */
#include "gateway/agent/sources.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

#define ANSWER_MS 5000u

static void ask(struct hf_source *source);

static void on_timer(uv_timer_t *timer)
{
	ask(timer->data);
}

static void ask_later(struct hf_source *source, uint64_t wait_ms)
{
	if (!source->owner->closing)
		uv_timer_start(&source->timer, on_timer, wait_ms, 0);
}

static void finish(struct hf_source *source, bool known, bool anew)
{
	struct hf_sources *sources = source->owner;

	source->asking = false;
	source->tried = true;
	anew = anew || (known && !source->known);
	source->known = known;
	if (known) {
		source->answered = source->started;
		source->seen_ms = uv_now(source->timer.loop);
	}
	if (sources->closing)
		return;
	sources->changed(sources->context, anew);
	/* `changed` may have asked for the next question at once. */
	if (source->again)
		ask_later(source, 0);
	else if (!uv_is_active((uv_handle_t *)&source->timer))
		ask_later(source, sources->interval_ms(sources->context));
	source->again = false;
}

static int by_name(const void *a, const void *b)
{
	const Holdfast__BrokerTargetState *const *x = a, *const *y = b;

	return strcmp((*x)->iqn, (*y)->iqn);
}

static int by_number(const void *a, const void *b)
{
	const Holdfast__VolumedVolume *const *x = a, *const *y = b;

	return (*x)->volume < (*y)->volume ? -1 : (*x)->volume > (*y)->volume;
}

static bool same_boot(const Holdfast__BrokerState *a, const Holdfast__BrokerState *b)
{
	return a && a->boot.len == b->boot.len &&
	       (a->boot.len == 0 || memcmp(a->boot.data, b->boot.data, a->boot.len) == 0);
}

static void on_broker(void *context, int status, const uint8_t *bytes, size_t length)
{
	struct hf_source *source = context;
	struct hf_sources *sources = source->owner;
	Holdfast__BrokerAnswer *answer = NULL;
	bool anew = false;

	if (status == 0)
		answer = holdfast__broker_answer__unpack(NULL, length, bytes);
	if (answer && answer->error == 0 && answer->state) {
		Holdfast__BrokerState **state = &sources->targets[source->tgtd];

		anew = !same_boot(*state, answer->state);
		holdfast__broker_state__free_unpacked(*state, NULL);
		*state = answer->state;
		if ((*state)->n_targets)
			qsort((*state)->targets, (*state)->n_targets, sizeof(void *), by_name);
		answer->state = NULL;
		holdfast__broker_answer__free_unpacked(answer, NULL);
		finish(source, true, anew);
		return;
	}
	holdfast__broker_answer__free_unpacked(answer, NULL);
	finish(source, false, false);
}

static void on_volumed(void *context, int status, const uint8_t *bytes, size_t length)
{
	struct hf_source *source = context;
	struct hf_sources *sources = source->owner;
	Holdfast__VolumedAnswer *answer = NULL;
	bool anew;

	if (status == 0)
		answer = holdfast__volumed_answer__unpack(NULL, length, bytes);
	if (answer && answer->error == 0 && answer->status) {
		anew = !sources->status || sources->status->pid != answer->status->pid;
		holdfast__volumed_status__free_unpacked(sources->status, NULL);
		sources->status = answer->status;
		if (sources->status->n_volumes)
			qsort(sources->status->volumes, sources->status->n_volumes, sizeof(void *),
			      by_number);
		answer->status = NULL;
		holdfast__volumed_answer__free_unpacked(answer, NULL);
		finish(source, true, anew);
		return;
	}
	holdfast__volumed_answer__free_unpacked(answer, NULL);
	finish(source, false, false);
}

static void ask_broker(struct hf_source *source)
{
	Holdfast__BrokerRequest request = HOLDFAST__BROKER_REQUEST__INIT;
	Holdfast__BrokerShow show = HOLDFAST__BROKER_SHOW__INIT;
	uint8_t bytes[16];

	request.kind_case = HOLDFAST__BROKER_REQUEST__KIND_SHOW;
	request.show = &show;
	hf_local_call(source->client, bytes, holdfast__broker_request__pack(&request, bytes),
		      ANSWER_MS, on_broker, source);
}

static void ask_volumed(struct hf_source *source)
{
	Holdfast__VolumedRequest request = HOLDFAST__VOLUMED_REQUEST__INIT;
	Holdfast__VolumedStatusRequest status = HOLDFAST__VOLUMED_STATUS_REQUEST__INIT;
	uint8_t bytes[16];

	request.kind_case = HOLDFAST__VOLUMED_REQUEST__KIND_STATUS;
	request.status = &status;
	hf_local_call(source->client, bytes, holdfast__volumed_request__pack(&request, bytes),
		      ANSWER_MS, on_volumed, source);
}

static void ask(struct hf_source *source)
{
	source->asking = true;
	source->started++;
	if (source == &source->owner->volumed)
		ask_volumed(source);
	else
		ask_broker(source);
}

/* What is under way may be answered with what was before: then once more. */
static void ask_now(struct hf_source *source)
{
	if (source->asking)
		source->again = true;
	else
		ask_later(source, 0);
}

void hf_sources_ask_now(struct hf_sources *sources)
{
	for (unsigned i = 0; i < sources->tgtd_count; i++)
		ask_now(&sources->brokers[i]);
	ask_now(&sources->volumed);
}

static bool is_known(const struct hf_source *source, uint64_t grace_ms)
{
	return source->known ||
	       (source->answered && uv_now(source->timer.loop) - source->seen_ms < grace_ms);
}

void hf_sources_actual(const struct hf_sources *sources, unsigned tgtd, uint64_t grace_ms,
		       struct hf_actual *actual)
{
	actual->target_known = is_known(&sources->brokers[tgtd], grace_ms);
	actual->target = sources->targets[tgtd];
	actual->volumed_known = is_known(&sources->volumed, grace_ms);
	actual->volumed = sources->status;
}

/* ---- Opening and closing ---- */

static void part_closed(struct hf_sources *sources)
{
	if (--sources->open)
		return;
	for (unsigned i = 0; i < sources->tgtd_count; i++) {
		holdfast__broker_state__free_unpacked(sources->targets[i], NULL);
		sources->targets[i] = NULL;
	}
	holdfast__volumed_status__free_unpacked(sources->status, NULL);
	sources->status = NULL;
	sources->closed(sources->closed_context);
}

static void on_client_closed(void *context)
{
	part_closed(context);
}

static void on_timer_closed(uv_handle_t *handle)
{
	part_closed(((struct hf_source *)handle->data)->owner);
}

static int open_source(struct hf_sources *sources, struct hf_source *source, uv_loop_t *loop,
		       const char *path, struct hf_errmsg *message)
{
	source->owner = sources;
	if (hf_local_client_open(loop, path, &source->client) != 0)
		return hf_fail(message, HF_EINVAL, "%s: the path is too long for a socket", path);
	source->timer.data = source;
	uv_timer_init(loop, &source->timer);
	sources->open += 2;
	return 0;
}

void hf_broker_socket(const char *run_dir, unsigned tgtd, char *path, size_t size)
{
	if (tgtd == 0)
		snprintf(path, size, "%s/broker.sock", run_dir);
	else
		snprintf(path, size, "%s/broker-%u.sock", run_dir, tgtd + 1);
}

int hf_sources_open(struct hf_sources *sources, uv_loop_t *loop, const char *run_dir,
		    uid_t local_uid, struct hf_errmsg *message)
{
	char path[256];
	int err;

	snprintf(path, sizeof path, "%s/volumed.sock", run_dir);
	err = open_source(sources, &sources->volumed, loop, path, message);
	if (!err)
		hf_local_client_trust(sources->volumed.client, local_uid);
	for (unsigned i = 0; !err && i < sources->tgtd_count; i++) {
		sources->brokers[i].tgtd = i;
		hf_broker_socket(run_dir, i, path, sizeof path);
		err = open_source(sources, &sources->brokers[i], loop, path, message);
		if (!err)
			hf_local_client_trust(sources->brokers[i].client, local_uid);
	}
	if (!err)
		hf_sources_ask_now(sources);
	return err;
}

static void close_source(struct hf_source *source)
{
	if (!source->client)
		return;
	hf_local_client_close(source->client, on_client_closed, source->owner);
	uv_close((uv_handle_t *)&source->timer, on_timer_closed);
}

void hf_sources_close(struct hf_sources *sources, void (*closed)(void *context), void *context)
{
	HF_ASSERT(!sources->closing);
	sources->closing = true;
	sources->closed = closed;
	sources->closed_context = context;
	sources->open++; /* so that it ends below even if nothing was opened */
	for (unsigned i = 0; i < sources->tgtd_count; i++)
		close_source(&sources->brokers[i]);
	close_source(&sources->volumed);
	part_closed(sources);
}
