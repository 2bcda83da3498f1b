/* See service.h. Questions are decoded and checked as they come, then wait in line; one at a time
 * goes to a worker thread, where it may block on tgtd up to its deadline. The loop itself never
 * waits for tgtd. */
#include "gateway/broker/service.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/list.h"
#include "base/log.h"
#include "gateway/broker/request.h"
#include "net/local.h"

#define SERVICE_MAGIC 0x48464253u
#define JOB_MAGIC     0x48464a4fu

struct hf_service {
	uint32_t magic;
	uv_loop_t *loop;
	struct hf_service_config config;
	struct hf_local_server *server;
	struct hf_list waiting;
	struct job *running;
	bool closing, server_closed;
	void (*closed)(void *context);
	void *closed_context;
};

struct job {
	uint32_t magic;
	struct hf_service *service;
	struct hf_local_request *question;
	Holdfast__BrokerRequest *request;
	Holdfast__BrokerState *state;
	struct hf_errmsg message;
	int status;
	uv_work_t work;
	struct hf_list link;
};

static void reply(struct hf_local_request *question, int status, const struct hf_errmsg *message,
		  Holdfast__BrokerState *state)
{
	Holdfast__BrokerAnswer answer = HOLDFAST__BROKER_ANSWER__INIT;
	uint8_t *bytes;
	size_t length;

	answer.error = -status;
	if (status)
		answer.reason =
			(char *)(uintptr_t)(message->text[0] ? message->text : hf_err_text(status));
	answer.state = state;
	length = holdfast__broker_answer__get_packed_size(&answer);
	bytes = malloc(length + 1);
	HF_ASSERT(bytes);
	holdfast__broker_answer__pack(&answer, bytes);
	hf_local_reply(question, bytes, length);
	free(bytes);
}

static void log_job(const struct job *job)
{
	const char *verb = hf_broker_request_verb(job->request);
	const char *name = hf_broker_request_name(job->request);

	if (job->status)
		hf_warn("%s %s: %s", verb, name,
			job->message.text[0] ? job->message.text : hf_err_text(job->status));
	else if (job->request->kind_case != HOLDFAST__BROKER_REQUEST__KIND_SHOW)
		hf_info("%s %s: done", verb, name);
}

static void job_end(struct job *job)
{
	reply(job->question, job->status, &job->message, job->state);
	if (job->state)
		holdfast__broker_state__free_unpacked(job->state, NULL);
	hf_broker_request_free(job->request);
	job->magic = 0;
	free(job);
}

static void maybe_closed(struct hf_service *service)
{
	void (*closed)(void *) = service->closed;
	void *context = service->closed_context;

	if (!service->closing || !service->server_closed || service->running)
		return;
	service->magic = 0;
	free(service);
	closed(context);
}

static void execute(uv_work_t *work)
{
	struct job *job = hf_container_of(work, struct job, work);

	job->status = hf_broker_request_execute(job->service->config.tgt_socket, job->request,
						&job->state, &job->message);
}

static void start_next(struct hf_service *service);

static void executed(uv_work_t *work, int uv_status)
{
	struct job *job = hf_container_of(work, struct job, work);
	struct hf_service *service = job->service;

	HF_CHECK_MAGIC(job, JOB_MAGIC);
	HF_ASSERT(uv_status == 0 && service->running == job);
	service->running = NULL;
	log_job(job);
	job_end(job);
	start_next(service);
	maybe_closed(service);
}

static void start_next(struct hf_service *service)
{
	struct hf_list *link;

	if (service->running || (link = hf_list_pop_front(&service->waiting)) == NULL)
		return;
	service->running = hf_container_of(link, struct job, link);
	HF_ASSERT(uv_queue_work(service->loop, &service->running->work, execute, executed) == 0);
}

static void asked(void *context, struct hf_local_request *question, const uint8_t *bytes,
		  size_t length)
{
	struct hf_service *service = context;
	struct hf_errmsg message = {""};
	Holdfast__BrokerRequest *request;
	struct job *job;
	int err;

	HF_CHECK_MAGIC(service, SERVICE_MAGIC);
	err = hf_broker_request_decode(bytes, length, &request, &message);
	if (err) {
		hf_warn("refused a question of uid %u: %s",
			(unsigned)hf_local_request_uid(question), message.text);
		reply(question, err, &message, NULL);
		return;
	}
	job = calloc(1, sizeof *job);
	HF_ASSERT(job);
	job->magic = JOB_MAGIC;
	job->service = service;
	job->question = question;
	job->request = request;
	hf_list_push_back(&service->waiting, &job->link);
	start_next(service);
}

static int allow_uid(void *context, uid_t uid)
{
	struct hf_service *service = context;

	return uid == service->config.agent_uid;
}

int hf_service_open(uv_loop_t *loop, const struct hf_service_config *config,
		    struct hf_service **out, struct hf_errmsg *message)
{
	struct hf_service *service = calloc(1, sizeof *service);
	struct hf_local_server_config server = {
		.mode = 0666, /* who may is told by uid, not by the file's mode */
		.allow_uid = allow_uid,
		.request = asked,
		.context = service,
		.connections_max = 16,
		.requests_max = 16,
	};
	char path[512];
	int err;

	if (!service)
		return HF_ENOMEM;
	service->magic = SERVICE_MAGIC;
	service->loop = loop;
	service->config = *config;
	hf_list_init(&service->waiting);
	snprintf(path, sizeof path, "%s/%s", config->run_dir, config->socket);
	server.path = path;
	err = hf_local_listen(loop, &server, &service->server, message);
	if (err) {
		free(service);
		return err;
	}
	*out = service;
	return 0;
}

static void server_closed(void *context)
{
	struct hf_service *service = context;

	HF_CHECK_MAGIC(service, SERVICE_MAGIC);
	service->server_closed = true;
	maybe_closed(service);
}

void hf_service_close(struct hf_service *service, void (*closed)(void *context), void *context)
{
	struct hf_list *link;

	HF_CHECK_MAGIC(service, SERVICE_MAGIC);
	service->closing = true;
	service->closed = closed;
	service->closed_context = context;
	while ((link = hf_list_pop_front(&service->waiting)) != NULL) {
		struct job *job = hf_container_of(link, struct job, link);

		job->status = HF_ECANCELED;
		job_end(job);
	}
	hf_local_server_close(service->server, server_closed, service);
}
