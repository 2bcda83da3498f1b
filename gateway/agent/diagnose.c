/* The report of a diagnosis: what a person at the provider wants to see of a gateway that he cannot
 * log in to. Text, bounded, without secrets. Loop's thread. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <time.h>

#include "base/bytes.h"
#include "base/ids.h"
#include "gateway/agent/actions_internal.h"

#define PROBLEMS_MAX 64u
#define CUT          "\n[cut here]\n"

static void write_machine(FILE *out, const struct hf_desired *desired)
{
	struct utsname system;
	struct statvfs disk;
	struct timespec wall, up;

	if (uname(&system) == 0)
		fprintf(out, "host %s, %s %s %s\n", system.nodename, system.sysname, system.release,
			system.machine);
	clock_gettime(CLOCK_REALTIME, &wall);
	clock_gettime(CLOCK_BOOTTIME, &up);
	fprintf(out, "clock %lld s since 1970, up %lld s\n", (long long)wall.tv_sec,
		(long long)up.tv_sec);
	if (statvfs(desired->kept->folder, &disk) == 0)
		fprintf(out, "state folder: %llu MiB free of %llu\n",
			(unsigned long long)disk.f_bavail * disk.f_frsize >> 20,
			(unsigned long long)disk.f_blocks * disk.f_frsize >> 20);
}

static void write_process(FILE *out, const struct hf_desired *desired, uint32_t process)
{
	char hex[2 * HF_BOOT_MAX + 1] = "never seen";
	uint8_t boot[HF_BOOT_MAX];
	bool answers;
	size_t length = hf_reconciler_boot(desired->reconciler, process, boot, &answers);

	if (length)
		hf_hex_encode(hex, boot, length);
	if (process == HF_PROCESS_VOLUMED)
		fprintf(out, "volumed");
	else
		fprintf(out, "tgtd %u", process + 1);
	fprintf(out, ": %s, run %s\n", answers ? "answers" : "does not answer", hex);
}

static void write_volumes(FILE *out, const Holdfast__Report *report)
{
	char id[HF_ID_TEXT_MAX];

	fprintf(out, "buffer: %" PRIu64 " of %" PRIu64 " bytes used\n", report->buffer_used_bytes,
		report->buffer_total_bytes);
	for (size_t i = 0; i < report->n_alarms; i++)
		fprintf(out, "alarm: %s\n", report->alarms[i]);
	for (size_t i = 0; i < report->n_volumes; i++) {
		const Holdfast__VolumeReport *volume = report->volumes[i];

		fprintf(out,
			"%s: state %d, version %" PRIu64 ", portal %s, sessions %" PRIu64
			", lag %" PRIu64 " bytes, %" PRIu64 " ms%s%s\n",
			hf_id_format(HF_ID_VOLUME, volume->volume, id), (int)volume->state,
			volume->version, volume->portal[0] ? volume->portal : "-", volume->sessions,
			volume->recovery_point_lag_bytes, volume->recovery_point_age_ms,
			volume->reason[0] ? ": " : "", volume->reason);
	}
}

static void write_problems(FILE *out, struct hf_reconciler *reconciler)
{
	char *problems[PROBLEMS_MAX];
	size_t count = hf_reconciler_problems(reconciler, problems, PROBLEMS_MAX);

	for (size_t i = 0; i < count; i++) {
		fprintf(out, "problem: %s\n", problems[i]);
		free(problems[i]);
	}
}

static void write_all(FILE *out, struct hf_actions *actions)
{
	const struct hf_journal_table *table = hf_journal_table(actions->journal);
	struct hf_desired *desired = actions->config.desired;
	Holdfast__Report report = HOLDFAST__REPORT__INIT;
	char id[HF_ID_TEXT_MAX];
	Holdfast__Applied applied;

	fprintf(out, "holdfast-agent %s, %s\n", HF_VERSION,
		hf_id_format(HF_ID_GATEWAY, desired->gateway, id));
	write_machine(out, desired);
	hf_desired_applied(desired, &applied);
	fprintf(out, "document: incarnation %" PRIu64 ", generation %" PRIu64 "\n",
		applied.incarnation, applied.generation);
	fprintf(out, "journal: %u actions, forgotten up to %" PRIu64 "%s\n", table->count,
		table->forgotten, table->lost ? ", was damaged" : "");
	if (actions->config.describe)
		actions->config.describe(actions->config.context, out);
	write_process(out, desired, HF_PROCESS_VOLUMED);
	for (uint32_t i = 0; i < hf_reconciler_tgtds(desired->reconciler); i++)
		write_process(out, desired, i);
	write_problems(out, desired->reconciler);
	hf_reconciler_report(desired->reconciler, &report);
	write_volumes(out, &report);
	hf_reconciler_report_free(&report);
}

uint8_t *hf_diagnose(struct hf_actions *actions, size_t *length)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, length);

	HF_ASSERT(out);
	write_all(out, actions);
	HF_ASSERT(fclose(out) == 0);
	if (*length > HF_JOURNAL_REPORT_MAX) {
		*length = HF_JOURNAL_REPORT_MAX;
		memcpy(text + *length - strlen(CUT), CUT, sizeof CUT);
	}
	return (uint8_t *)text;
}
