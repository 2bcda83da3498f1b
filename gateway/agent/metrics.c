/* gateway/agent/metrics.h. A source that is away is told by its `up`; its figures are then left
 * out, rather than told as they were. */
#include "gateway/agent/metrics.h"

#include <string.h>

#include "base/assert.h"
#include "base/ids.h"
#include "base/metrics.h"
#include "gateway/agent/agent_internal.h"
#include "gateway/agent/reconcile_internal.h"

static void put_agent(struct hf_metrics *m, struct hf_agent *agent)
{
	struct hf_uplink_status uplink = {.state = ""};
	Holdfast__Applied applied;

	if (agent->uplink)
		hf_uplink_status(agent->uplink, &uplink);
	hf_desired_applied(&agent->desired, &applied);
	hf_metrics_family(m, "holdfast_gateway_info", "gauge", "The running version.");
	hf_metrics_value(m, 1, "version", HF_VERSION, NULL, NULL);
	hf_metrics_gauge(m, "holdfast_gateway_activated", "1: it belongs to a provider.",
			 agent->uplink != NULL);
	hf_metrics_gauge(m, "holdfast_gateway_connection_held",
			 "1: the provider holds the management connection.",
			 strcmp(uplink.state, "held") == 0);
	hf_metrics_gauge(m, "holdfast_gateway_connection_epoch",
			 "Epoch of the connection, 0 while there is none.", (double)uplink.epoch);
	hf_metrics_gauge(m, "holdfast_gateway_generation", "Of the document in force.",
			 (double)applied.generation);
}

static void put_targets(struct hf_metrics *m, const struct hf_reconciler *reconciler)
{
	const struct hf_sources *sources = &reconciler->sources;

	hf_metrics_family(m, "holdfast_gateway_target_up", "gauge",
			  "1: the tgtd of that portal answers.");
	for (unsigned t = 0; t < sources->tgtd_count; t++)
		hf_metrics_value(m, sources->brokers[t].known, "portal",
				 reconciler->tgtds[t].portal, NULL, NULL);
	hf_metrics_family(m, "holdfast_gateway_sessions", "gauge", "iSCSI sessions, by target.");
	for (unsigned t = 0; t < sources->tgtd_count; t++)
		for (size_t i = 0; sources->targets[t] && i < sources->targets[t]->n_targets; i++)
			hf_metrics_value(m, sources->targets[t]->targets[i]->sessions, "target",
					 sources->targets[t]->targets[i]->iqn, NULL, NULL);
}

static void put_buffer(struct hf_metrics *m, const Holdfast__VolumedStatus *status)
{
	hf_metrics_gauge(m, "holdfast_gateway_buffer_bytes", "Size of the upload buffer.",
			 (double)status->log_total_bytes);
	hf_metrics_gauge(m, "holdfast_gateway_buffer_used_bytes", "Of it, not free.",
			 (double)(status->log_total_bytes - status->log_free_bytes));
	hf_metrics_gauge(m, "holdfast_gateway_buffer_full_in_seconds",
			 "As it fills now; 0: it does not fill.", (double)status->log_full_in_s);
	hf_metrics_counter(m, "holdfast_gateway_commit_bytes_total",
			   "Written to the logs by commits.", (double)status->log_written_bytes);
	hf_metrics_gauge(m, "holdfast_gateway_store_up", "1: the object store answers.",
			 status->store_reachable);
	hf_metrics_gauge(m, "holdfast_gateway_requests", "iSCSI requests under way.",
			 (double)status->requests_under_way);
	hf_metrics_gauge(m, "holdfast_gateway_uploads", "Objects being uploaded.",
			 (double)status->uploads_under_way);
	hf_metrics_gauge(m, "holdfast_gateway_alarms", "Alarms of volumed that are kept.",
			 (double)status->n_alarms);
	hf_metrics_family(m, "holdfast_gateway_log_free_bytes", "gauge", "Of each write log.");
	for (size_t i = 0; i < status->n_logs; i++)
		hf_metrics_value(m, (double)status->logs[i]->free_bytes, "log",
				 status->logs[i]->path, "state", status->logs[i]->state);
}

static void put_cache(struct hf_metrics *m, const Holdfast__VolumedCache *cache)
{
	if (!cache)
		return;
	hf_metrics_family(m, "holdfast_gateway_cache_hits_total", "counter",
			  "Chunks found in the read cache, by tier.");
	hf_metrics_value(m, (double)cache->memory_hits, "tier", "memory", NULL, NULL);
	hf_metrics_value(m, (double)cache->disk_hits, "tier", "disk", NULL, NULL);
	hf_metrics_counter(m, "holdfast_gateway_cache_misses_total",
			   "Chunks fetched from the store.", (double)cache->misses);
	hf_metrics_family(m, "holdfast_gateway_cache_used_bytes", "gauge",
			  "What the read cache holds, by tier.");
	hf_metrics_value(m, (double)cache->memory_bytes, "tier", "memory", NULL, NULL);
	hf_metrics_value(m, (double)cache->disk_bytes, "tier", "disk", NULL, NULL);
	hf_metrics_counter(m, "holdfast_gateway_cache_damaged_total",
			   "Blocks of the cache's disk that failed their check.",
			   (double)cache->damaged);
}

/* The families of volumes, each a field of what volumed says. */
static const struct {
	const char *name, *type, *help;
	size_t offset; /* of a uint64_t */
	double scale;
} volume_families[] = {
#define FIELD(field) offsetof(Holdfast__VolumedVolume, field)
	{"holdfast_volume_size_bytes", "gauge", "Size of the volume.", FIELD(size_bytes), 1},
	{"holdfast_volume_recovery_point_lag_bytes", "gauge",
	 "Durable here and not yet in the store.", FIELD(lag_bytes), 1},
	{"holdfast_volume_recovery_point_age_seconds", "gauge",
	 "Age of the oldest write that is not yet in the store.", FIELD(age_ms), 0.001},
	{"holdfast_volume_read_operations_total", "counter", "Reads.", FIELD(read_ops), 1},
	{"holdfast_volume_read_bytes_total", "counter", "Bytes read.", FIELD(read_bytes), 1},
	{"holdfast_volume_write_operations_total", "counter", "Writes.", FIELD(write_ops), 1},
	{"holdfast_volume_write_bytes_total", "counter", "Bytes written.", FIELD(write_bytes), 1},
	{"holdfast_volume_uploaded_objects_total", "counter", "Objects uploaded.",
	 FIELD(uploaded_objects), 1},
	{"holdfast_volume_uploaded_bytes_total", "counter", "Bytes uploaded.",
	 FIELD(uploaded_bytes), 1},
	{"holdfast_volume_fetched_bytes_total", "counter", "Bytes fetched from the store.",
	 FIELD(fetched_bytes), 1},
	{"holdfast_volume_memory_tier_hits_total", "counter",
	 "Reads that tgtd answered from shared memory.", FIELD(memory_tier_hits), 1},
	{"holdfast_volume_bad_extents", "gauge", "Extents that were lost and not overwritten.",
	 FIELD(bad_extents), 1},
#undef FIELD
};

static void put_volumes(struct hf_metrics *m, const Holdfast__VolumedStatus *status)
{
	char id[HF_ID_TEXT_MAX];

	hf_metrics_family(m, "holdfast_volume_up", "gauge", "1: no error, by state.");
	for (size_t i = 0; i < status->n_volumes; i++)
		hf_metrics_value(m, status->volumes[i]->error == 0, "volume",
				 hf_id_format(HF_ID_VOLUME, status->volumes[i]->volume, id),
				 "state", status->volumes[i]->state_text);
	for (size_t f = 0; f < sizeof volume_families / sizeof volume_families[0]; f++) {
		hf_metrics_family(m, volume_families[f].name, volume_families[f].type,
				  volume_families[f].help);
		for (size_t i = 0; i < status->n_volumes; i++) {
			const uint8_t *volume = (const uint8_t *)status->volumes[i];
			uint64_t value;

			memcpy(&value, volume + volume_families[f].offset, sizeof value);
			hf_metrics_value(m, (double)value * volume_families[f].scale, "volume",
					 hf_id_format(HF_ID_VOLUME, status->volumes[i]->volume, id),
					 NULL, NULL);
		}
	}
}

char *hf_agent_metrics_page(void *context, const char *path, size_t *length)
{
	struct hf_agent *agent = context;
	const Holdfast__VolumedStatus *status;
	struct hf_metrics metrics;

	HF_CHECK_MAGIC(agent, HF_AGENT_MAGIC);
	if (strcmp(path, "/metrics") != 0)
		return NULL;
	status =
		agent->reconciler->sources.volumed.known ? agent->reconciler->sources.status : NULL;
	hf_metrics_begin(&metrics);
	put_agent(&metrics, agent);
	hf_metrics_gauge(&metrics, "holdfast_gateway_volumed_up", "1: volumed answers.",
			 status != NULL);
	put_targets(&metrics, agent->reconciler);
	if (status) {
		put_buffer(&metrics, status);
		put_cache(&metrics, status->cache);
		put_volumes(&metrics, status);
	}
	return hf_metrics_end(&metrics, length);
}
