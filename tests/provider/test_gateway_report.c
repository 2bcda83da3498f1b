/* What the test gateway reports: its document as if all of it were carried out (test_gateway.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "tests/provider/test_gateway.h"

static void fill_volume(const struct test_gateway *g, Holdfast__VolumeReport *report,
			uint64_t volume, uint64_t version, int state)
{
	static char reason[] = "disk on fire";

	holdfast__volume_report__init(report);
	report->volume = volume;
	report->version = version;
	report->state = g->fail_volumes ? HOLDFAST__VOLUME_STATE__VOLUME_FAILED : state;
	report->error = g->fail_volumes ? -HF_EIO : 0;
	report->reason = g->fail_volumes ? reason : report->reason;
	report->recovery_point = 42;
	report->recovery_point_lag_bytes = g->lag_bytes;
	report->recovery_point_age_ms = g->lag_bytes ? 1500 : 0;
	report->sessions = g->sessions;
	report->attach_epoch = g->attach_epoch;
}

void tg_report(struct test_gateway *g)
{
	Holdfast__Report report = HOLDFAST__REPORT__INIT;
	Holdfast__Applied applied = HOLDFAST__APPLIED__INIT;
	Holdfast__NetworkReport network = HOLDFAST__NETWORK_REPORT__INIT;
	Holdfast__VolumeReport volumes[64], *pointers[64];
	char reason[] = "not\nreached";
	size_t count = 0;

	if (g->epoch == 0 || g->subscription == 0 || g->ended)
		return;
	for (size_t i = 0; g->document && !g->mute_volumes && i < g->document->n_volumes; i++) {
		const Holdfast__Volume *v = g->document->volumes[i];

		fill_volume(g, &volumes[count++], v->volume, v->version,
			    v->attachment == HOLDFAST__ATTACHMENT__ATTACHED
				    ? HOLDFAST__VOLUME_STATE__VOLUME_AVAILABLE
				    : HOLDFAST__VOLUME_STATE__VOLUME_DETACHED);
	}
	for (size_t i = 0; g->document && !g->mute_volumes && i < g->document->n_tombstones; i++)
		fill_volume(g, &volumes[count++], g->document->tombstones[i]->volume,
			    g->document->tombstones[i]->version,
			    HOLDFAST__VOLUME_STATE__VOLUME_DELETED);
	if (g->left_out)
		fill_volume(g, &volumes[count++], g->left_out, 1,
			    HOLDFAST__VOLUME_STATE__VOLUME_AVAILABLE);
	for (size_t i = 0; i < count; i++)
		pointers[i] = &volumes[i];
	applied.incarnation = g->incarnation;
	applied.generation = g->generation;
	applied.hash.data = g->hash;
	applied.hash.len = sizeof g->hash;
	report.subscription = g->subscription;
	report.applied = &applied;
	report.volumes = pointers;
	report.n_volumes = count;
	if (g->network_state && g->document && g->document->network) {
		network.incarnation = g->incarnation;
		network.version = g->document->network->version;
		network.state = (Holdfast__NetworkState)g->network_state;
		network.proved = g->network_proved;
		network.reason = reason;
		report.network = &network;
	}
	report.buffer_total_bytes = 1000;
	report.volumed_running = report.target_running = true;
	hf_session_report(g->session, &report);
}

void tg_report_path(struct test_gateway *g, int path, uint64_t epoch)
{
	Holdfast__Report report = HOLDFAST__REPORT__INIT;

	report.subscription = g->subscription;
	report.path = path;
	report.path_epoch = epoch;
	if (!g->keeps_token_back)
		report.token = (ProtobufCBinaryData){g->token_length, g->token};
	assert_int_equal(hf_session_report(g->session, &report), 0);
}
