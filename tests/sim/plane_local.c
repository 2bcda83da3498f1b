/* Local sockets of sim_plane (net/local.h): questions that take a moment, whose asker or answerer
 * may die meanwhile. What the signer, volumed and the brokers answer comes from the world; a server
 * that the product opens (the administrator's) is asked by the world. */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/plane.h"

#define SERVERS_MAX 32u

struct hf_local_server {
	char path[108];
	struct hf_local_server_config config;
	struct sim_process *owner;
};

/* A question of the world to a server. */
struct hf_local_request {
	struct hf_list link; /* of the questions that are open */
	struct sim_process *owner;
	void (*answered)(void *context, const Holdfast__AdminAnswer *answer);
	void *context;
};

struct hf_local_client {
	char path[108];
	struct sim_process *owner;
	struct hf_list calls;
	bool closing;
	void (*closed)(void *context);
	void *closed_context;
};

struct call {
	struct hf_list link; /* of its client, or alone */
	struct hf_local_client *client;
	struct sim_process *owner;
	char path[108];
	uint8_t *question, *answer;
	size_t question_length, answer_length;
	int status;
	void (*answered)(void *context, int status, const uint8_t *bytes, size_t length);
	void *context;
	uv_timer_t timer;
};

static struct hf_local_server *servers[SERVERS_MAX];
static struct hf_list requests;

/* ---- Asking ---- */

static void free_call(struct call *call)
{
	hf_list_remove(&call->link);
	if (call->timer.loop)
		uv_timer_stop(&call->timer);
	free(call->question);
	free(call->answer);
	free(call);
}

static void end_call(struct call *call, int status)
{
	hf_list_remove(&call->link);
	call->answered(call->context, status, call->answer, status ? 0 : call->answer_length);
	free_call(call);
}

static void on_answer(uv_timer_t *timer)
{
	struct call *call = timer->data;
	struct sim_process *was;

	if (!call->client) {
		free_call(call);
		return;
	}
	if (call->client->closing || call->owner->dead)
		return; /* ended with its client */
	was = sim_enter(call->owner);
	end_call(call, call->status);
	sim_leave(was);
}

static uint8_t *ask_signer(const struct call *call, size_t *length)
{
	uint8_t *answer;

	if (sim_world.signer_away)
		return NULL;
	answer = hf_signer_answer(sim_world.signer, HF_SIGNER_PROVIDER, call->question,
				  call->question_length, length);
	if (answer)
		sim_check_signed(answer, *length);
	return answer;
}

static uint8_t *ask_machine(const struct call *call, size_t *length)
{
	struct sim_machine *machine = sim_world.gateways[call->owner->index].machine;

	if (strstr(call->path, "/volumed.sock"))
		return sim_machine_volumed(machine, call->question, call->question_length, length);
	return sim_machine_broker(machine, call->question, call->question_length, length);
}

/* The question arrives, also of one who has died since: now and then. */
static void on_question(uv_timer_t *timer)
{
	struct call *call = timer->data;
	struct sim_process *was = sim_enter(NULL);
	bool orphan = !call->client || call->owner->dead;

	if (!orphan || sim_below(2))
		call->answer = strstr(call->path, "/signer.sock")
				       ? ask_signer(call, &call->answer_length)
				       : ask_machine(call, &call->answer_length);
	sim_leave(was);
	call->status = call->answer && !sim_chance(3000) ? 0 : HF_ECONN;
	sim_after(&call->timer, sim_below(4), on_answer, call);
}

void hf_local_call(struct hf_local_client *client, const uint8_t *bytes, size_t length,
		   uint64_t deadline_ms,
		   void (*answered)(void *context, int status, const uint8_t *bytes, size_t length),
		   void *context)
{
	struct call *call = calloc(1, sizeof *call);

	(void)deadline_ms;
	HF_ASSERT(call);
	call->question = malloc(length + 1);
	HF_ASSERT(call->question);
	memcpy(call->question, bytes, length);
	call->question_length = length;
	call->client = client;
	call->owner = client->owner;
	memcpy(call->path, client->path, sizeof call->path);
	call->answered = answered;
	call->context = context;
	hf_list_push_back(&client->calls, &call->link);
	if (!sim_step_dies())
		sim_after(&call->timer, sim_below(4), on_question, call);
	sim_step_dies();
}

int hf_local_client_open(uv_loop_t *loop, const char *path, struct hf_local_client **out)
{
	struct hf_local_client *client = calloc(1, sizeof *client);

	(void)loop;
	HF_ASSERT(client && strlen(path) < sizeof client->path);
	strcpy(client->path, path);
	client->owner = sim_world.current;
	hf_list_init(&client->calls);
	*out = client;
	return 0;
}

void hf_local_client_trust(struct hf_local_client *client, uid_t uid)
{
	(void)client;
	(void)uid;
}

/* What is on its way may still arrive; its answer reaches nobody. */
static void client_closed(void *context)
{
	struct hf_local_client *client = context;

	while (!hf_list_empty(&client->calls)) {
		struct call *call = hf_container_of(client->calls.next, struct call, link);

		hf_list_remove(&call->link);
		call->answered(call->context, HF_ECANCELED, NULL, 0);
		call->client = NULL;
		if (!call->timer.loop || !uv_is_active((uv_handle_t *)&call->timer))
			free_call(call);
	}
	if (client->closed)
		client->closed(client->closed_context);
	free(client);
}

void hf_local_client_close(struct hf_local_client *client, void (*closed)(void *), void *context)
{
	client->closing = true;
	client->closed = closed;
	client->closed_context = context;
	sim_post(&client->owner->loop, client_closed, client);
}

/* ---- Servers ---- */

int hf_local_listen(uv_loop_t *loop, const struct hf_local_server_config *config,
		    struct hf_local_server **out, struct hf_errmsg *message)
{
	struct hf_local_server *server = calloc(1, sizeof *server);

	(void)loop;
	(void)message;
	HF_ASSERT(server);
	server->config = *config;
	server->owner = sim_world.current;
	snprintf(server->path, sizeof server->path, "%s", config->path);
	for (unsigned i = 0; i < SERVERS_MAX; i++)
		if (!servers[i]) {
			servers[i] = *out = server;
			return 0;
		}
	HF_ASSERT(!"too many servers");
	return HF_EBUSY;
}

struct closing {
	void (*closed)(void *context);
	void *context;
	struct hf_local_server *server;
};

static void answer_request(struct hf_local_request *request, const Holdfast__AdminAnswer *answer)
{
	hf_list_remove(&request->link);
	request->answered(request->context, answer);
	free(request);
}

static void server_closed(void *context)
{
	struct closing *closing = context;

	/* Who still waits learns that nobody answers. */
	hf_list_for_each_safe (at, &requests) {
		struct hf_local_request *request =
			hf_container_of(at, struct hf_local_request, link);

		if (request->owner == closing->server->owner)
			answer_request(request, NULL);
	}
	if (closing->closed)
		closing->closed(closing->context);
	free(closing->server);
	free(closing);
}

void hf_local_server_close(struct hf_local_server *server, void (*closed)(void *), void *context)
{
	struct closing *closing = calloc(1, sizeof *closing);

	HF_ASSERT(closing);
	*closing = (struct closing){closed, context, server};
	for (unsigned i = 0; i < SERVERS_MAX; i++)
		if (servers[i] == server)
			servers[i] = NULL;
	sim_post(&server->owner->loop, server_closed, closing);
}

uid_t hf_local_request_uid(const struct hf_local_request *request)
{
	(void)request;
	return 0;
}

void hf_local_reply(struct hf_local_request *request, const uint8_t *bytes, size_t length)
{
	Holdfast__AdminAnswer *answer = NULL;
	struct sim_process *was;

	if (!request->owner->dead) {
		answer = holdfast__admin_answer__unpack(NULL, length, bytes);
		HF_ASSERT(answer);
	}
	was = sim_enter(NULL);
	answer_request(request, answer);
	sim_leave(was);
	if (answer)
		holdfast__admin_answer__free_unpacked(answer, NULL);
}

static struct hf_local_server *find_server(const struct sim_process *owner)
{
	for (unsigned i = 0; i < SERVERS_MAX; i++)
		if (servers[i] && servers[i]->owner == owner)
			return servers[i];
	return NULL;
}

bool sim_admin_ask(struct sim_process *provider, const Holdfast__AdminRequest *question,
		   void (*answered)(void *context, const Holdfast__AdminAnswer *answer),
		   void *context)
{
	struct hf_local_server *server =
		provider->running && !provider->dead ? find_server(provider) : NULL;
	struct hf_local_request *request;
	struct sim_process *was;
	uint8_t bytes[2048];
	size_t length = holdfast__admin_request__get_packed_size(question);

	if (!server)
		return false;
	HF_ASSERT(length <= sizeof bytes);
	holdfast__admin_request__pack(question, bytes);
	request = calloc(1, sizeof *request);
	HF_ASSERT(request);
	request->owner = provider;
	request->answered = answered;
	request->context = context;
	hf_list_push_back(&requests, &request->link);
	was = sim_enter(provider);
	server->config.request(server->config.context, request, bytes, length);
	sim_leave(was);
	return true;
}

void sim_local_open(void)
{
	memset(servers, 0, sizeof servers);
	hf_list_init(&requests);
}

/* Orphans on their way are let arrive first. */
void sim_local_close(void)
{
	for (unsigned i = 0; i < SERVERS_MAX; i++)
		HF_ASSERT(!servers[i]);
	HF_ASSERT(hf_list_empty(&requests));
}
