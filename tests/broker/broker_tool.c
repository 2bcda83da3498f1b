/* Asks the broker one question, for tests: broker_tool SOCKET VERB [ARGUMENT …]. Arguments by verb:
 *   show
 *   create IQN | delete IQN | open ADDR:PORT | close ADDR:PORT
 *   lun IQN LUN VOLUME SIZE SERIAL WRITE_CACHE
 *   remove IQN LUN
 *   access IQN INITIATORS ADDRESSES USER SECRET MUTUAL_USER MUTUAL_SECRET   (lists split at ' ')
 *   raw HEX                                                    (bytes in place of a question)
 * Prints the answer as JSON; the exit status is 0 whatever the answer says. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "net/local.h"
#include "proto/local.pb-c.h"

static char *argument(char ***arguments)
{
	HF_ASSERT(**arguments != NULL);
	return *(*arguments)++;
}

static size_t split(char *text, char **items)
{
	size_t count = 0;

	for (char *item = strtok(text, " "); item; item = strtok(NULL, " "))
		items[count++] = item;
	return count;
}

static uint8_t *pack(const Holdfast__BrokerRequest *request, size_t *length)
{
	uint8_t *bytes = malloc(holdfast__broker_request__get_packed_size(request) + 1);

	HF_ASSERT(bytes);
	*length = holdfast__broker_request__pack(request, bytes);
	return bytes;
}

static uint8_t *make_access(char **arguments, size_t *length)
{
	Holdfast__BrokerRequest request = HOLDFAST__BROKER_REQUEST__INIT;
	Holdfast__BrokerAccess access = HOLDFAST__BROKER_ACCESS__INIT;
	char *initiators[300], *addresses[300];

	request.kind_case = HOLDFAST__BROKER_REQUEST__KIND_SET_ACCESS;
	request.set_access = &access;
	access.iqn = argument(&arguments);
	access.initiators = initiators;
	access.n_initiators = split(argument(&arguments), initiators);
	access.addresses = addresses;
	access.n_addresses = split(argument(&arguments), addresses);
	access.chap_user = argument(&arguments);
	access.chap_secret = argument(&arguments);
	access.mutual_user = argument(&arguments);
	access.mutual_secret = argument(&arguments);
	return pack(&request, length);
}

static uint8_t *make_lun(char **arguments, size_t *length)
{
	Holdfast__BrokerRequest request = HOLDFAST__BROKER_REQUEST__INIT;
	Holdfast__BrokerLun lun = HOLDFAST__BROKER_LUN__INIT;

	request.kind_case = HOLDFAST__BROKER_REQUEST__KIND_ADD_LUN;
	request.add_lun = &lun;
	lun.iqn = argument(&arguments);
	lun.lun = (uint32_t)strtoul(argument(&arguments), NULL, 10);
	lun.volume = strtoull(argument(&arguments), NULL, 16);
	lun.size_bytes = strtoull(argument(&arguments), NULL, 10);
	lun.serial = argument(&arguments);
	lun.write_cache = strcmp(argument(&arguments), "on") == 0;
	return pack(&request, length);
}

static uint8_t *make_simple(const char *verb, char **arguments, size_t *length)
{
	Holdfast__BrokerRequest request = HOLDFAST__BROKER_REQUEST__INIT;
	Holdfast__BrokerShow show = HOLDFAST__BROKER_SHOW__INIT;
	Holdfast__BrokerTarget target = HOLDFAST__BROKER_TARGET__INIT;
	Holdfast__BrokerLunName name = HOLDFAST__BROKER_LUN_NAME__INIT;

	if (strcmp(verb, "show") == 0) {
		request.kind_case = HOLDFAST__BROKER_REQUEST__KIND_SHOW;
		request.show = &show;
	} else if (strcmp(verb, "create") == 0) {
		request.kind_case = HOLDFAST__BROKER_REQUEST__KIND_CREATE_TARGET;
		target.iqn = argument(&arguments);
		request.create_target = &target;
	} else if (strcmp(verb, "delete") == 0) {
		request.kind_case = HOLDFAST__BROKER_REQUEST__KIND_DELETE_TARGET;
		request.delete_target = argument(&arguments);
	} else if (strcmp(verb, "remove") == 0) {
		request.kind_case = HOLDFAST__BROKER_REQUEST__KIND_REMOVE_LUN;
		name.iqn = argument(&arguments);
		name.lun = (uint32_t)strtoul(argument(&arguments), NULL, 10);
		request.remove_lun = &name;
	} else {
		request.kind_case = strcmp(verb, "open") == 0
					    ? HOLDFAST__BROKER_REQUEST__KIND_OPEN_PORTAL
					    : HOLDFAST__BROKER_REQUEST__KIND_CLOSE_PORTAL;
		request.open_portal = argument(&arguments);
	}
	return pack(&request, length);
}

static uint8_t *make_raw(const char *hex, size_t *length)
{
	uint8_t *bytes = malloc(strlen(hex) / 2 + 1);

	*length = strlen(hex) / 2;
	HF_ASSERT(bytes && hf_hex_decode(bytes, *length, hex) == 0);
	return bytes;
}

static json_t *strings(char *const *items, size_t count)
{
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, json_string(items[i]));
	return list;
}

static json_t *target_json(const Holdfast__BrokerTargetState *target)
{
	json_t *luns = json_array();

	for (size_t i = 0; i < target->n_luns; i++)
		json_array_append_new(luns,
				      json_pack("{s:i, s:I, s:b}", "lun", (int)target->luns[i]->lun,
						"volume", (json_int_t)target->luns[i]->volume,
						"online", target->luns[i]->online));
	return json_pack("{s:s, s:o, s:o, s:o, s:s, s:s, s:i}", "iqn", target->iqn, "luns", luns,
			 "initiators", strings(target->initiators, target->n_initiators),
			 "addresses", strings(target->addresses, target->n_addresses), "chap_user",
			 target->chap_user, "mutual_user", target->mutual_user, "sessions",
			 (int)target->sessions);
}

static void print_answer(const uint8_t *bytes, size_t length)
{
	Holdfast__BrokerAnswer *answer = holdfast__broker_answer__unpack(NULL, length, bytes);
	json_t *json, *targets = json_array();
	char boot[33] = "";

	HF_ASSERT(answer != NULL);
	json = json_pack("{s:i, s:s}", "error", answer->error, "reason", answer->reason);
	if (answer->state) {
		for (size_t i = 0; i < answer->state->n_targets; i++)
			json_array_append_new(targets, target_json(answer->state->targets[i]));
		HF_ASSERT(answer->state->boot.len == 16);
		hf_hex_encode(boot, answer->state->boot.data, 16);
		json_object_set_new(json, "boot", json_string(boot));
		json_object_set_new(json, "pid", json_integer((json_int_t)answer->state->pid));
		json_object_set_new(json, "portals",
				    strings(answer->state->portals, answer->state->n_portals));
		json_object_set(json, "targets", targets);
	}
	json_dumpf(json, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(targets);
	json_decref(json);
	holdfast__broker_answer__free_unpacked(answer, NULL);
}

int main(int argc, char **argv)
{
	struct hf_errmsg message = {""};
	uint8_t *question, *answer;
	size_t length, answer_length;
	int err;

	HF_ASSERT(argc >= 3);
	if (strcmp(argv[2], "access") == 0)
		question = make_access(argv + 3, &length);
	else if (strcmp(argv[2], "lun") == 0)
		question = make_lun(argv + 3, &length);
	else if (strcmp(argv[2], "raw") == 0)
		question = make_raw(argv[3], &length);
	else
		question = make_simple(argv[2], argv + 3, &length);
	err = hf_local_ask(argv[1], question, length, 30000, &answer, &answer_length, &message);
	free(question);
	if (err) {
		fprintf(stderr, "broker_tool: %s\n", message.text);
		return hf_err_exit_status(err);
	}
	print_answer(answer, answer_length);
	free(answer);
	return 0;
}
