/* tests/provider/lab.h. */
#include "tests/provider/lab.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <fcntl.h>
#include <unistd.h>
#include <cmocka.h>

#include "tests/lib/folder.h"

#define DEADLINE_MS 15000u

static void write_config(struct lab *lab, const char *name, const char *text)
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof path, "%s/%s", lab->folder, name);
	file = fopen(path, "we");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

const char *lab_provider_program;

static pid_t start(struct lab *lab, const char *program, const char *config, const char *option)
{
	char binary[512], path[128], log[128];
	pid_t pid;

	if (lab_provider_program && strcmp(program, "holdfast-provider") == 0)
		snprintf(binary, sizeof binary, "%s", lab_provider_program);
	else
		snprintf(binary, sizeof binary, "%s/%s", HF_BIN_DIR, program);
	snprintf(path, sizeof path, "%s/%s", lab->folder, config);
	snprintf(log, sizeof log, "%s/%s.log", lab->folder, program);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);

		/* A test that fails half-way leaves no process behind. */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (fd < 0 || dup2(fd, STDERR_FILENO) < 0 || dup2(fd, STDOUT_FILENO) < 0)
			_exit(99);
		execl(binary, binary, "--config", path, option, (char *)NULL);
		_exit(98);
	}
	return pid;
}

void lab_start_signer(struct lab *lab)
{
	lab->signer = start(lab, "holdfast-signer", "signer.conf", NULL);
}

void lab_start_provider_with(struct lab *lab, const char *option)
{
	lab->provider = start(lab, "holdfast-provider", "provider.conf", option);
}

void lab_start_provider(struct lab *lab)
{
	lab_start_provider_with(lab, NULL);
}

void lab_stop(pid_t *pid, int signal_number)
{
	int status;

	if (*pid <= 0)
		return;
	assert_int_equal(kill(*pid, signal_number), 0);
	assert_int_equal(waitpid(*pid, &status, 0), *pid);
	if (signal_number == SIGTERM)
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	*pid = 0;
}

static void tick(uv_timer_t *timer)
{
	(void)timer;
}

void lab_up(struct lab *lab, const char *extra)
{
	char text[2048], path[96];

	memset(lab, 0, sizeof *lab);
	snprintf(lab->folder, sizeof lab->folder, "/tmp/hf-provider-XXXXXX");
	assert_non_null(mkdtemp(lab->folder));
	for (int i = 0; i < 3; i++) {
		static const char *const names[] = {"run", "signer", "provider"};

		snprintf(path, sizeof path, "%s/%s", lab->folder, names[i]);
		assert_int_equal(mkdir(path, 0700), 0);
	}
	snprintf(text, sizeof text, "run_dir = %s/run\nstate_dir = %s/signer\n", lab->folder,
		 lab->folder);
	write_config(lab, "signer.conf", text);
	snprintf(text, sizeof text,
		 "run_dir = %s/run\nstate_dir = %s/provider\nchannel_listen = 127.0.0.1:0\n"
		 "activation_listen = 127.0.0.1:0\nstore_url = dir:%s/store\n"
		 "report_interval_ms = 100\n%s",
		 lab->folder, lab->folder, lab->folder, extra);
	write_config(lab, "provider.conf", text);
	uv_loop_init(&lab->loop);
	uv_timer_init(&lab->loop, &lab->tick);
	uv_timer_start(&lab->tick, tick, 20, 20);
	snprintf(path, sizeof path, "%s/run/provider.sock", lab->folder);
	assert_int_equal(hf_local_client_open(&lab->loop, path, &lab->client), 0);
	lab_start_signer(lab);
	lab_start_provider(lab);
	lab_wait_ready(lab);
}

void lab_down(struct lab *lab)
{
	lab_stop(&lab->provider, SIGTERM);
	lab_stop(&lab->signer, SIGTERM);
	hf_local_client_close(lab->client, NULL, NULL);
	uv_close((uv_handle_t *)&lab->tick, NULL);
	uv_run(&lab->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&lab->loop), 0);
	folder_remove(lab->folder);
}

void lab_until(struct lab *lab, bool (*condition)(void *context), void *context, const char *what)
{
	uint64_t deadline = uv_hrtime() / 1000000 + DEADLINE_MS;

	while (!condition(context)) {
		if (uv_hrtime() / 1000000 > deadline)
			fail_msg("not within %u ms: %s", DEADLINE_MS, what);
		uv_run(&lab->loop, UV_RUN_ONCE);
	}
}

void lab_turn(struct lab *lab)
{
	for (int i = 0; i < 10; i++)
		uv_run(&lab->loop, UV_RUN_ONCE);
}

/* ---- Questions ---- */

static void answered(void *context, int status, const uint8_t *bytes, size_t length)
{
	struct lab_answer *answer = context;
	Holdfast__AdminAnswer *message;

	answer->done = true;
	answer->err = status;
	if (status)
		return;
	message = holdfast__admin_answer__unpack(NULL, length, bytes);
	assert_non_null(message);
	answer->err = -message->error;
	snprintf(answer->reason, sizeof answer->reason, "%s", message->reason);
	if (message->json[0]) {
		answer->json = json_loads(message->json, 0, NULL);
		assert_non_null(answer->json);
	}
	/* Invariant 9: an error always says why. */
	assert_true(message->error == 0 || message->reason[0]);
	holdfast__admin_answer__free_unpacked(message, NULL);
}

void lab_ask(struct lab *lab, const Holdfast__AdminRequest *request, struct lab_answer *answer)
{
	uint8_t bytes[8192];
	size_t length = holdfast__admin_request__pack(request, bytes);

	memset(answer, 0, sizeof *answer);
	hf_local_call(lab->client, bytes, length, 30000, answered, answer);
}

static bool is_done(void *context)
{
	return ((struct lab_answer *)context)->done;
}

void lab_wait_answer(struct lab *lab, struct lab_answer *answer)
{
	lab_until(lab, is_done, answer, "an answer of the provider");
}

void lab_forget(struct lab_answer *answer)
{
	json_decref(answer->json);
	memset(answer, 0, sizeof *answer);
}

static void ask_and_wait(struct lab *lab, const Holdfast__AdminRequest *request,
			 struct lab_answer *answer)
{
	lab_ask(lab, request, answer);
	lab_wait_answer(lab, answer);
}

static char *mutable_text(const char *text)
{
	return (char *)(uintptr_t)text;
}

/* As the command does: the signer hears of the key from the administrator. */
void lab_approve(struct lab *lab, const char *key)
{
	Holdfast__SignerRequest request = HOLDFAST__SIGNER_REQUEST__INIT;
	Holdfast__SignerApproval approval = HOLDFAST__SIGNER_APPROVAL__INIT;
	uint8_t bytes[256], *reply;
	size_t length;
	char path[96];

	approval.key = mutable_text(key);
	request.kind_case = HOLDFAST__SIGNER_REQUEST__KIND_APPROVAL;
	request.approval = &approval;
	if (holdfast__signer_request__get_packed_size(&request) > sizeof bytes)
		return;
	length = holdfast__signer_request__pack(&request, bytes);
	snprintf(path, sizeof path, "%s/run/signer-admin.sock", lab->folder);
	/* Where the signer is away, or the key is none, the test sees it at the provider. */
	if (hf_local_ask(path, bytes, length, 5000, &reply, &length, NULL) == 0)
		free(reply);
}

void lab_activate(struct lab *lab, const char *key, const char *name, struct lab_answer *answer)
{
	Holdfast__AdminRequest request = HOLDFAST__ADMIN_REQUEST__INIT;
	Holdfast__AdminActivate activate = HOLDFAST__ADMIN_ACTIVATE__INIT;

	activate.key = mutable_text(key);
	activate.name = mutable_text(name);
	lab_approve(lab, key);
	request.kind_case = HOLDFAST__ADMIN_REQUEST__KIND_ACTIVATE;
	request.activate = &activate;
	ask_and_wait(lab, &request, answer);
}

void lab_confirm(struct lab *lab, const char *gateway, struct lab_answer *answer)
{
	Holdfast__AdminRequest request = HOLDFAST__ADMIN_REQUEST__INIT;
	Holdfast__AdminConfirm confirm = HOLDFAST__ADMIN_CONFIRM__INIT;

	confirm.gateway = mutable_text(gateway);
	request.kind_case = HOLDFAST__ADMIN_REQUEST__KIND_CONFIRM;
	request.confirm = &confirm;
	ask_and_wait(lab, &request, answer);
}

void lab_show_gateway(struct lab *lab, const char *gateway, struct lab_answer *answer)
{
	Holdfast__AdminRequest request = HOLDFAST__ADMIN_REQUEST__INIT;
	Holdfast__AdminGatewayName name = HOLDFAST__ADMIN_GATEWAY_NAME__INIT;

	name.gateway = mutable_text(gateway);
	request.kind_case = HOLDFAST__ADMIN_REQUEST__KIND_GATEWAY_SHOW;
	request.gateway_show = &name;
	ask_and_wait(lab, &request, answer);
}

void lab_show_volume(struct lab *lab, const char *volume, struct lab_answer *answer)
{
	Holdfast__AdminRequest request = HOLDFAST__ADMIN_REQUEST__INIT;
	Holdfast__AdminVolumeName name = HOLDFAST__ADMIN_VOLUME_NAME__INIT;

	name.volume = mutable_text(volume);
	request.kind_case = HOLDFAST__ADMIN_REQUEST__KIND_VOLUME_SHOW;
	request.volume_show = &name;
	ask_and_wait(lab, &request, answer);
}

void lab_info(struct lab *lab, struct lab_answer *answer)
{
	Holdfast__AdminRequest request = HOLDFAST__ADMIN_REQUEST__INIT;
	Holdfast__AdminInfo info = HOLDFAST__ADMIN_INFO__INIT;

	request.kind_case = HOLDFAST__ADMIN_REQUEST__KIND_INFO;
	request.info = &info;
	ask_and_wait(lab, &request, answer);
}

const char *lab_text(const struct lab_answer *answer, const char *key)
{
	const char *text = json_string_value(json_object_get(answer->json, key));

	return text ? text : "";
}

uint64_t lab_number(const struct lab_answer *answer, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(answer->json, key));
}

static bool is_ready(void *context)
{
	struct lab *lab = context;
	struct lab_answer answer;
	bool ready;

	lab_info(lab, &answer);
	ready = answer.err == 0 && json_is_true(json_object_get(answer.json, "ready"));
	lab->channel_port = (uint16_t)lab_number(&answer, "channel_port");
	lab->activation_port = (uint16_t)lab_number(&answer, "activation_port");
	lab_forget(&answer);
	return ready;
}

void lab_wait_ready(struct lab *lab)
{
	lab_until(lab, is_ready, lab, "the provider is ready");
}
