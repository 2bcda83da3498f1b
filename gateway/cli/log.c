/* The verb `log`: the write logs of the gateway, asked of holdfast-volumed on its socket, which
 * answers root and its own uid. Blocking; main thread. */
#include "base/ids.h"
#include "gateway/cli/cli.h"
#include "net/local.h"
#include "proto/local.pb-c.h"

#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ASK_DEADLINE_MS  5000u
#define MAKE_DEADLINE_MS 3600000u /* a log is written once from end to end */
#define MIB              (1 << 20)

static const char usage[] =
	"log list [--json] | log add PATH SIZE | log remove PATH | log forget PATH";

static int ask(const char *run_dir, const Holdfast__VolumedRequest *question, uint64_t deadline_ms,
	       Holdfast__VolumedAnswer **answer, struct hf_errmsg *message)
{
	size_t size = holdfast__volumed_request__get_packed_size(question), length;
	uint8_t *packed = malloc(size + 1), *bytes = NULL;
	char path[PATH_MAX];
	int err;

	if (!packed)
		return hf_fail(message, HF_ENOMEM, "out of memory");
	holdfast__volumed_request__pack(question, packed);
	snprintf(path, sizeof path, "%s/volumed.sock", run_dir);
	err = hf_local_ask(path, packed, size, deadline_ms, &bytes, &length, message);
	free(packed);
	if (err)
		return hf_fail_in(message, err, "holdfast-volumed does not answer");
	*answer = holdfast__volumed_answer__unpack(NULL, length, bytes);
	free(bytes);
	if (!*answer)
		return hf_fail(message, HF_EPROTO, "holdfast-volumed: the answer makes no sense");
	if ((*answer)->error == 0)
		return 0;
	err = hf_fail(message, -(*answer)->error, "%s", (*answer)->reason);
	holdfast__volumed_answer__free_unpacked(*answer, NULL);
	*answer = NULL;
	return err;
}

static void print_log(const Holdfast__VolumedLog *log)
{
	printf("%s: %s, %.1f of %.1f MiB free, %llu volumes, %llu records to upload", log->path,
	       log->state, (double)log->free_bytes / MIB, (double)log->total_bytes / MIB,
	       (unsigned long long)log->volumes, (unsigned long long)log->needed_records);
	if (log->full_in_s)
		printf(", full in %llu s", (unsigned long long)log->full_in_s);
	printf("%s%s\n", log->reason[0] ? ": " : "", log->reason);
}

static json_t *log_json(const Holdfast__VolumedLog *log)
{
	return json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I}", "path", log->path,
			 "state", log->state, "reason", log->reason, "volumes",
			 (json_int_t)log->volumes, "total_bytes", (json_int_t)log->total_bytes,
			 "free_bytes", (json_int_t)log->free_bytes, "written_bytes",
			 (json_int_t)log->written_bytes, "full_in_s", (json_int_t)log->full_in_s,
			 "needed_records", (json_int_t)log->needed_records);
}

static int list(const char *run_dir, bool as_json)
{
	Holdfast__VolumedStatusRequest status = HOLDFAST__VOLUMED_STATUS_REQUEST__INIT;
	Holdfast__VolumedRequest question = HOLDFAST__VOLUMED_REQUEST__INIT;
	Holdfast__VolumedAnswer *answer = NULL;
	struct hf_errmsg message = {""};
	json_t *logs = json_array();
	int err;

	question.kind_case = HOLDFAST__VOLUMED_REQUEST__KIND_STATUS;
	question.status = &status;
	err = ask(run_dir, &question, ASK_DEADLINE_MS, &answer, &message);
	for (size_t i = 0; !err && answer->status && i < answer->status->n_logs; i++) {
		if (as_json)
			json_array_append_new(logs, log_json(answer->status->logs[i]));
		else
			print_log(answer->status->logs[i]);
	}
	if (!err && as_json) {
		json_dumpf(logs, stdout, JSON_INDENT(2));
		putchar('\n');
	}
	json_decref(logs);
	if (err)
		return hf_cli_fail("log list", err, &message);
	holdfast__volumed_answer__free_unpacked(answer, NULL);
	return 0;
}

static int change(const char *run_dir, const char *verb, const Holdfast__VolumedRequest *question)
{
	Holdfast__VolumedAnswer *answer = NULL;
	struct hf_errmsg message = {""};
	int err = ask(run_dir, question, MAKE_DEADLINE_MS, &answer, &message);

	if (err)
		return hf_cli_fail(verb, err, &message);
	holdfast__volumed_answer__free_unpacked(answer, NULL);
	return 0;
}

static int add(const char *run_dir, const char *path, const char *size)
{
	Holdfast__VolumedRequest question = HOLDFAST__VOLUMED_REQUEST__INIT;
	Holdfast__VolumedAddLog log = HOLDFAST__VOLUMED_ADD_LOG__INIT;
	struct hf_errmsg message = {""};
	char *copy = strdup(path);
	int err;

	if (!copy)
		return hf_cli_fail("log add", HF_ENOMEM, &message);
	log.path = copy;
	if (hf_size_parse(size, &log.size_bytes) != 0) {
		hf_fail(&message, HF_EINVAL, "\"%s\" is no size, such as 4GiB", size);
		err = hf_cli_fail("log add", HF_EINVAL, &message);
	} else {
		question.kind_case = HOLDFAST__VOLUMED_REQUEST__KIND_ADD_LOG;
		question.add_log = &log;
		err = change(run_dir, "log add", &question);
	}
	if (!err)
		printf("%s takes volumes\n", path);
	free(copy);
	return err;
}

static int remove_log(const char *run_dir, const char *path)
{
	Holdfast__VolumedRequest question = HOLDFAST__VOLUMED_REQUEST__INIT;
	char *copy = strdup(path);
	int err;

	if (!copy)
		return hf_err_exit_status(HF_ENOMEM);
	question.kind_case = HOLDFAST__VOLUMED_REQUEST__KIND_REMOVE_LOG;
	question.remove_log = copy;
	err = change(run_dir, "log remove", &question);
	if (!err)
		printf("%s drains; it is gone when \"log list\" does not show it any more\n", path);
	free(copy);
	return err;
}

static int forget_log(const char *run_dir, const char *path)
{
	Holdfast__VolumedRequest question = HOLDFAST__VOLUMED_REQUEST__INIT;
	char *copy = strdup(path);
	int err;

	if (!copy)
		return hf_err_exit_status(HF_ENOMEM);
	question.kind_case = HOLDFAST__VOLUMED_REQUEST__KIND_FORGET_LOG;
	question.forget_log = copy;
	err = change(run_dir, "log forget", &question);
	if (!err)
		printf("%s is not waited for from the next start of holdfast-volumed on\n", path);
	free(copy);
	return err;
}

int hf_cli_log(int argc, char **argv)
{
	const char *run_dir = NULL, *words[3] = {NULL};
	bool as_json = false;
	const struct hf_cli_option options[] = {{.name = "--run-dir", .value = &run_dir},
						{.name = "--json", .flag = &as_json},
						{.name = NULL}};
	int count = hf_cli_parse("log", argc, argv, options, words, 3);

	if (count < 0)
		return 2;
	if (!run_dir)
		run_dir = getenv("HOLDFAST_GATEWAY_RUN");
	if (!run_dir || !run_dir[0]) {
		fprintf(stderr,
			"%s log: where are the gateway's sockets? Give --run-dir or set "
			"HOLDFAST_GATEWAY_RUN\n",
			HF_CLI_NAME);
		return 2;
	}
	if (count == 1 && strcmp(words[0], "list") == 0)
		return list(run_dir, as_json);
	if (count == 3 && strcmp(words[0], "add") == 0)
		return add(run_dir, words[1], words[2]);
	if (count == 2 && strcmp(words[0], "remove") == 0)
		return remove_log(run_dir, words[1]);
	if (count == 2 && strcmp(words[0], "forget") == 0)
		return forget_log(run_dir, words[1]);
	fprintf(stderr, "Usage: %s %s\n", HF_CLI_NAME, usage);
	return 2;
}
