/* provider/control/metrics.h. Everything is read when somebody asks; only what cannot be read later
 * is counted as it happens. */
#include "provider/control/metrics.h"

#include <stdlib.h>
#include <string.h>

#include "provider/control/channel.h"
#include "provider/registry/alerts.h"

static const struct {
	int kind; /* 0: all others */
	const char *name;
} kinds[HF_COUNTED_KINDS] = {
	{0, "other"},
	{HOLDFAST__REQUEST__KIND_APPLY, "apply"},
	{HOLDFAST__REQUEST__KIND_ACT, "act"},
	{HOLDFAST__REQUEST__KIND_CONFIRM, "confirm"},
	{HOLDFAST__REQUEST__KIND_FORGET, "forget"},
	{HOLDFAST__REQUEST__KIND_SUBSCRIBE, "subscribe"},
	{HOLDFAST__REQUEST__KIND_ROTATE, "rotate"},
	{HOLDFAST__REQUEST__KIND_DRAIN, "drain"},
};
static const char *const results[HF_RESULT_COUNT] = {"good", "refused", "lost"};

void hf_counts_asked(struct hf_channel *channel, uint64_t request, int kind)
{
	struct hf_asked *asked = &channel->asked[request % HF_ASKED_MAX];

	*asked = (struct hf_asked){request, hf_link_now_ms(&channel->link), kind};
}

void hf_counts_answered(struct hf_channel *channel, const struct hf_session_event *event)
{
	const struct hf_asked *asked = &channel->asked[event->request % HF_ASKED_MAX];
	struct hf_counts *counts = &channel->control->counts;
	enum hf_request_result result = event->status          ? HF_RESULT_LOST
					: event->answer->error ? HF_RESULT_REFUSED
							       : HF_RESULT_GOOD;
	bool known = asked->request == event->request;
	unsigned i = HF_COUNTED_KINDS - 1;

	while (i > 0 && (!known || kinds[i].kind != asked->kind))
		i--;
	counts->requests[i][result]++;
	if (known && !event->status)
		hf_latency_add(&counts->answers, hf_link_now_ms(&channel->link) - asked->asked_ms);
}

/* ---- The page ---- */

struct tally {
	unsigned held, parked, new_ones;
	unsigned waiting_for_document; /* held, and the gateway does not have the newest yet */
};

static void count_channels(struct hf_control *control, struct tally *tally)
{
	for (unsigned i = 0; i < HF_CHANNEL_BUCKETS; i++)
		hf_list_for_each (cursor, &control->channels[i]) {
			const struct hf_channel *channel =
				hf_container_of(cursor, struct hf_channel, entry);

			HF_CHECK_MAGIC(channel, HF_CHANNEL_MAGIC);
			if (channel->link.ended)
				continue;
			if (hf_session_state(channel->link.session) == HF_SESSION_HELD)
				tally->held++;
			else if (hf_session_state(channel->link.session) == HF_SESSION_PARKED)
				tally->parked++;
			else
				tally->new_ones++;
			tally->waiting_for_document += channel->epoch > 0 && channel->look_again;
		}
}

static void put_connections(struct hf_metrics *m, struct hf_control *control,
			    const struct tally *tally)
{
	const struct hf_counts *counts = &control->counts;
	struct hf_listener_counts listened = {0};

	hf_metrics_family(m, "holdfast_provider_connections", "gauge",
			  "Management connections of gateways, by state.");
	hf_metrics_value(m, tally->held, "state", "held", NULL, NULL);
	hf_metrics_value(m, tally->parked, "state", "parked", NULL, NULL);
	hf_metrics_value(m, tally->new_ones, "state", "new", NULL, NULL);
	hf_metrics_gauge(m, "holdfast_provider_activation_connections",
			 "Connections of gateways that are not activated yet.",
			 control->activation_count);
	if (control->channel_listener)
		hf_listener_counts(control->channel_listener, &listened);
	hf_metrics_family(m, "holdfast_provider_handshakes_total", "counter",
			  "TLS handshakes of management connections, by result.");
	hf_metrics_value(m, (double)listened.opened, "result", "good", NULL, NULL);
	hf_metrics_value(m, (double)listened.failed, "result", "failed", NULL, NULL);
	hf_metrics_value(m, (double)listened.crowded_out, "result", "crowded_out", NULL, NULL);
	hf_metrics_counter(m, "holdfast_provider_accepted_total",
			   "TCP connections accepted for management.", (double)listened.accepted);
	hf_metrics_counter(m, "holdfast_provider_admissions_refused_total",
			   "TCP connections closed at once, before TLS.", (double)listened.refused);
	hf_metrics_counter(m, "holdfast_provider_turned_away_total",
			   "Connections answered with Retry.", (double)counts->turned_away);
	hf_metrics_counter(m, "holdfast_provider_grants_total",
			   "Epochs granted: gateways held anew.", (double)counts->held);
}

static void put_requests(struct hf_metrics *m, const struct hf_counts *counts)
{
	hf_metrics_family(m, "holdfast_provider_requests_total", "counter",
			  "Requests to gateways that ended, by kind and result.");
	for (unsigned k = 0; k < HF_COUNTED_KINDS; k++)
		for (unsigned r = 0; r < HF_RESULT_COUNT; r++)
			hf_metrics_value(m, (double)counts->requests[k][r], "kind", kinds[k].name,
					 "result", results[r]);
	hf_metrics_latency(m, "holdfast_provider_request_seconds", "From a request to its answer.",
			   &counts->answers);
	hf_metrics_counter(m, "holdfast_provider_events_total", "Events of gateways.",
			   (double)counts->events);
	hf_metrics_counter(m, "holdfast_provider_events_dropped_total",
			   "Events that made room for newer ones.", (double)counts->events_dropped);
	hf_metrics_counter(m, "holdfast_provider_reports_total", "Reports of gateways.",
			   (double)counts->reports);
}

static void put_work(struct hf_metrics *m, struct hf_control *control, const struct tally *tally)
{
	hf_metrics_family(m, "holdfast_provider_work_queue", "gauge",
			  "What waits: commands that wait for a state, documents at the signer, "
			  "volumes being created, gateways without their newest document.");
	hf_metrics_value(m, control->waiter_count, "queue", "commands", NULL, NULL);
	hf_metrics_value(m, (double)hf_list_length(&control->publishing), "queue", "signing", NULL,
			 NULL);
	hf_metrics_value(m, (double)hf_list_length(&control->creating), "queue", "creating", NULL,
			 NULL);
	hf_metrics_value(m, tally->waiting_for_document, "queue", "documents", NULL, NULL);
	hf_metrics_counter(m, "holdfast_provider_registry_errors_total",
			   "Statements that the registry's database did not carry out.",
			   (double)hf_registry_errors(control->reg));
	hf_metrics_gauge(m, "holdfast_provider_signer_up", "1: the signer answers.",
			 control->signer_away_since_ms == 0);
	hf_metrics_gauge(m, "holdfast_provider_ready", "1: gateways are accepted.",
			 control->trusted);
}

static void put_alarms(struct hf_metrics *m, struct hf_control *control)
{
	const struct hf_counts *counts = &control->counts;
	uint64_t waiting = 0;

	hf_metrics_family(m, "holdfast_provider_alerts_total", "counter",
			  "Alerts of lost gateways, by what became of them in this process.");
	hf_metrics_value(m, (double)counts->alarms_raised, "what", "raised", NULL, NULL);
	hf_metrics_value(m, (double)counts->alarms_sent, "what", "sent", NULL, NULL);
	hf_metrics_value(m, (double)counts->alarms_failed, "what", "given_up", NULL, NULL);
	hf_metrics_value(m, (double)counts->alarms_dropped, "what", "dropped", NULL, NULL);
	if (hf_registry_alert_count(control->reg, &waiting) == 0)
		hf_metrics_gauge(m, "holdfast_provider_alerts_waiting",
				 "Alerts in the registry that nobody took yet.", (double)waiting);
}

char *hf_control_metrics_page(void *context, const char *path, size_t *length)
{
	struct hf_control *control = context;
	struct hf_metrics metrics;
	struct tally tally = {0};

	HF_CHECK_MAGIC(control, HF_CONTROL_MAGIC);
	if (strcmp(path, "/metrics") != 0)
		return NULL;
	count_channels(control, &tally);
	hf_metrics_begin(&metrics);
	hf_metrics_family(&metrics, "holdfast_provider_info", "gauge", "The running version.");
	hf_metrics_value(&metrics, 1, "version", HF_VERSION, NULL, NULL);
	put_connections(&metrics, control, &tally);
	put_requests(&metrics, &control->counts);
	put_work(&metrics, control, &tally);
	put_alarms(&metrics, control);
	return hf_metrics_end(&metrics, length);
}
