/* What runs here, for the doctor (doctor.h): the agent's own connection, from which authorization
 * and the provider's answer are known; volumed, each tgtd's broker, and the disks of the write
 * logs. Main thread. */
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "gateway/agent/sources.h"
#include "gateway/cli/ask.h"
#include "gateway/cli/doctor.h"
#include "proto/reasons.h"

#define FREE_PARTS_LEAST 10u         /* a log with less than a tenth free is worth a word */
#define DISK_LEAST       (64u << 20) /* bytes of a disk that STATE_DIR needs to go on */

static bool is_turned_away(const char *reason)
{
	return strstr(reason, HF_REASON_UNKNOWN) || strstr(reason, HF_REASON_NOT_ACTIVE) ||
	       strstr(reason, HF_REASON_WRONG_KEY) || strstr(reason, HF_REASON_REVOKED);
}

static void say_local(struct hf_doctor *doctor, const char *name, enum hf_doctor_result result,
		      const char *advice, const char *text)
{
	hf_doctor_say(doctor, name, result, HF_DOCTOR_LOCAL_STATUS, advice, "%s", text);
}

/* ---- The agent's connection ---- */

static void judge_connection(struct hf_doctor *doctor, const Holdfast__ConsoleStatus *status)
{
	char text[400];
	bool held = strcmp(status->connection_state, "held") == 0;

	if (held) {
		snprintf(text, sizeof text, "held with epoch %" PRIu64, status->connection_epoch);
		hf_doctor_say_hop(doctor, HF_HOP_AUTHORIZATION, HF_DOCTOR_GOOD, NULL,
				  status->gateway_id);
		hf_doctor_say_hop(doctor, HF_HOP_PROVIDER, HF_DOCTOR_GOOD, NULL, text);
	} else if (is_turned_away(status->last_error)) {
		hf_doctor_say_hop(doctor, HF_HOP_AUTHORIZATION, HF_DOCTOR_FAILED,
				  "ask the provider's administrator: `holdfast gateway show`",
				  status->last_error);
	} else {
		snprintf(text, sizeof text, "%s; the agent says: %s",
			 status->connection_state[0] ? status->connection_state : "not connected",
			 status->last_error[0] ? status->last_error : "nothing yet");
		hf_doctor_say_hop(
			doctor, HF_HOP_PROVIDER, HF_DOCTOR_FAILED,
			"the way is free, so it is the provider's turn, or the agent tries "
			"again within a minute; look again",
			text);
	}
}

static void judge_activation(struct hf_doctor *doctor, const Holdfast__ConsoleStatus *status)
{
	char text[400];

	snprintf(text, sizeof text, "this gateway is not activated: %s", status->activation_state);
	hf_doctor_say_hop(doctor, HF_HOP_AUTHORIZATION, HF_DOCTOR_FAILED,
			  status->activation_key[0]
				  ? "enter the key of `holdfast-gateway activation` at the provider"
				  : "see `holdfast-gateway activation`",
			  text);
}

void hf_doctor_agent(struct hf_doctor *doctor)
{
	Holdfast__ConsoleAnswer *answer = NULL;
	struct hf_errmsg message = {""};

	/* With the way itself broken the agent can only say the same. */
	if (doctor->failed_hop != HF_HOP_COUNT) {
		hf_doctor_say_hop(doctor, HF_HOP_PROVIDER, HF_DOCTOR_SKIPPED, NULL, "not reached");
		return;
	}
	if (hf_cli_ask_agent_status(doctor->config.run_dir, &answer, &message) != 0) {
		hf_doctor_say_hop(doctor, HF_HOP_AUTHORIZATION, HF_DOCTOR_SKIPPED, NULL,
				  "only the agent knows, and it does not answer");
		return;
	}
	if (doctor->activated)
		judge_connection(doctor, answer->status);
	else
		judge_activation(doctor, answer->status);
	holdfast__console_answer__free_unpacked(answer, NULL);
}

/* ---- The parts ---- */

static void look_at_agent(struct hf_doctor *doctor)
{
	Holdfast__ConsoleAnswer *answer = NULL;
	struct hf_errmsg message = {""};
	char text[600];

	if (hf_cli_ask_agent_status(doctor->config.run_dir, &answer, &message) != 0) {
		say_local(doctor, "agent", HF_DOCTOR_FAILED,
			  "start holdfast-agent; see its journal", message.text);
		return;
	}
	if (answer->status->n_problems > 0)
		snprintf(text, sizeof text, "%zu problems, first: %s", answer->status->n_problems,
			 answer->status->problems[0]);
	else
		snprintf(text, sizeof text, "generation %" PRIu64, answer->status->generation);
	say_local(doctor, "agent", answer->status->n_problems ? HF_DOCTOR_WARNING : HF_DOCTOR_GOOD,
		  "see `holdfast-gateway status`", text);
	holdfast__console_answer__free_unpacked(answer, NULL);
}

static void look_at_log(struct hf_doctor *doctor, const Holdfast__VolumedLog *log)
{
	uint64_t total = log->total_bytes;
	bool little = total && log->free_bytes < total / FREE_PARTS_LEAST;
	bool missing = strcmp(log->state, "missing") == 0;
	char text[600], path[512];
	struct statvfs disk;

	snprintf(path, sizeof path, "%s", log->path);
	snprintf(text, sizeof text, "%s %s%s%s, %.1f of %.1f MiB free", log->path, log->state,
		 log->reason[0] ? ": " : "", log->reason, (double)log->free_bytes / (1 << 20),
		 (double)total / (1 << 20));
	if (missing)
		say_local(doctor, "log", HF_DOCTOR_FAILED,
			  "bring its disk back, or `holdfast-gateway log forget` gives it up",
			  text);
	else
		say_local(doctor, "log", little ? HF_DOCTOR_WARNING : HF_DOCTOR_GOOD,
			  "writes are slowed as it fills: more upload, or another log", text);
	if (!missing && statvfs(dirname(path), &disk) == 0 &&
	    (uint64_t)disk.f_bavail * disk.f_frsize < DISK_LEAST)
		say_local(doctor, "disk", HF_DOCTOR_WARNING, "make room", path);
}

static void look_at_volumed(struct hf_doctor *doctor)
{
	Holdfast__VolumedAnswer *answer = NULL;
	struct hf_errmsg message = {""};
	const Holdfast__VolumedStatus *status;
	char text[600];

	if (hf_cli_ask_volumed(doctor->config.run_dir, &answer, &message) != 0) {
		say_local(doctor, "volumed", HF_DOCTOR_FAILED,
			  "start holdfast-volumed; see its journal", message.text);
		return;
	}
	status = answer->status;
	snprintf(text, sizeof text, "%zu volumes, store %s%s%s", status->n_volumes,
		 status->store_reachable ? "reachable" : "away",
		 status->n_alarms ? ", alarm: " : "",
		 status->n_alarms ? status->alarms[status->n_alarms - 1] : "");
	say_local(doctor, "volumed",
		  status->store_reachable || status->n_volumes == 0 ? HF_DOCTOR_GOOD
								    : HF_DOCTOR_WARNING,
		  "the object store does not answer; a proxy for it is volumed's `proxy`", text);
	for (size_t i = 0; i < status->n_logs; i++)
		look_at_log(doctor, status->logs[i]);
	holdfast__volumed_answer__free_unpacked(answer, NULL);
}

static void look_at_brokers(struct hf_doctor *doctor)
{
	struct hf_errmsg message = {""};
	char path[256], text[300];
	unsigned tgtds = 0;
	size_t targets;

	/* As many as there are portals. */
	for (const char *at = doctor->config.portal; *(at += strspn(at, ", "));
	     at += strcspn(at, ", "))
		tgtds++;
	for (unsigned i = 0; i < tgtds && i < HF_TGTDS_MAX; i++) {
		hf_broker_socket(doctor->config.run_dir, i, path, sizeof path);
		if (hf_cli_ask_broker(path, &targets, &message) != 0) {
			say_local(doctor, "broker", HF_DOCTOR_FAILED,
				  "start holdfast-broker and tgtd; see their journals",
				  message.text);
			continue;
		}
		snprintf(text, sizeof text, "tgtd answers, %zu targets", targets);
		say_local(doctor, "broker", HF_DOCTOR_GOOD, NULL, text);
	}
}

void hf_doctor_local(struct hf_doctor *doctor)
{
	look_at_agent(doctor);
	look_at_volumed(doctor);
	look_at_brokers(doctor);
}
