/* Asks holdfast-volumed one question on its control socket, for scripts:
 *
 *   ask_volumed SOCKET store URL [ACCESS SECRET [CA_FILE]]
 *   ask_volumed SOCKET attach VOLUME TENANT SIZE EPOCH KEY_HEX [create] [write-cache]
 *   ask_volumed SOCKET detach|detach-force|remove VOLUME
 *   ask_volumed SOCKET remove VOLUME TENANT KEY_HEX
 *   ask_volumed SOCKET status
 *   ask_volumed SOCKET raw HEX
 *
 * Prints the answer as JSON; exit status as the error's. */
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/ids.h"
#include "net/local.h"
#include "proto/local.pb-c.h"

#define DEADLINE_MS 60000u

static uint8_t key[32];

static uint64_t number(enum hf_id_kind kind, const char *text)
{
	uint64_t id;

	if (hf_id_parse(kind, text, &id) != 0)
		id = strtoull(text, NULL, 0);
	return id;
}

static char *read_text(const char *path)
{
	FILE *file = fopen(path, "re");
	char *text = calloc(1, 65537);

	if (!file || !text || fread(text, 1, 65536, file) == 0)
		exit(2);
	fclose(file);
	return text;
}

static void fill_store(Holdfast__VolumedRequest *question, int argc, char **argv)
{
	static Holdfast__VolumedStore store = HOLDFAST__VOLUMED_STORE__INIT;

	store.url = argv[0];
	if (argc >= 3) {
		store.access_key = argv[1];
		store.secret_key = argv[2];
	}
	if (argc >= 4)
		store.ca = read_text(argv[3]);
	question->kind_case = HOLDFAST__VOLUMED_REQUEST__KIND_SET_STORE;
	question->set_store = &store;
}

static void fill_attach(Holdfast__VolumedRequest *question, int argc, char **argv)
{
	static Holdfast__VolumedAttach attach = HOLDFAST__VOLUMED_ATTACH__INIT;

	attach.volume = number(HF_ID_VOLUME, argv[0]);
	attach.tenant = number(HF_ID_TENANT, argv[1]);
	if (hf_size_parse(argv[2], &attach.size_bytes) != 0)
		exit(2);
	attach.attach_epoch = strtoull(argv[3], NULL, 0);
	if (hf_hex_decode(key, sizeof key, argv[4]) != 0)
		exit(2);
	attach.wrap_key = (ProtobufCBinaryData){.data = key, .len = sizeof key};
	for (int i = 5; i < argc; i++) {
		attach.create |= strcmp(argv[i], "create") == 0;
		attach.write_cache |= strcmp(argv[i], "write-cache") == 0;
		if (strncmp(argv[i], "tgtd=", 5) == 0)
			attach.tgtd = (uint32_t)strtoul(argv[i] + 5, NULL, 10);
	}
	question->kind_case = HOLDFAST__VOLUMED_REQUEST__KIND_ATTACH;
	question->attach = &attach;
}

static void fill_remove(Holdfast__VolumedRequest *question, int argc, char **argv)
{
	static Holdfast__VolumedRemove removal = HOLDFAST__VOLUMED_REMOVE__INIT;

	question->kind_case = HOLDFAST__VOLUMED_REQUEST__KIND_REMOVE;
	question->remove = number(HF_ID_VOLUME, argv[0]);
	if (argc < 3)
		return;
	removal.volume = question->remove;
	removal.tenant = number(HF_ID_TENANT, argv[1]);
	if (hf_hex_decode(key, sizeof key, argv[2]) != 0)
		exit(2);
	removal.wrap_key = (ProtobufCBinaryData){.data = key, .len = sizeof key};
	question->kind_case = HOLDFAST__VOLUMED_REQUEST__KIND_REMOVE_VOLUME;
	question->remove_volume = &removal;
}

static bool fill(Holdfast__VolumedRequest *question, const char *verb, int argc, char **argv)
{
	static Holdfast__VolumedStatusRequest status = HOLDFAST__VOLUMED_STATUS_REQUEST__INIT;

	if (strcmp(verb, "status") == 0) {
		question->kind_case = HOLDFAST__VOLUMED_REQUEST__KIND_STATUS;
		question->status = &status;
	} else if (strcmp(verb, "store") == 0 && argc >= 1) {
		fill_store(question, argc, argv);
	} else if (strcmp(verb, "attach") == 0 && argc >= 5) {
		fill_attach(question, argc, argv);
	} else if (strcmp(verb, "detach") == 0 && argc >= 1) {
		question->kind_case = HOLDFAST__VOLUMED_REQUEST__KIND_DETACH;
		question->detach = number(HF_ID_VOLUME, argv[0]);
	} else if (strcmp(verb, "detach-force") == 0 && argc >= 1) {
		question->kind_case = HOLDFAST__VOLUMED_REQUEST__KIND_DETACH_FORCE;
		question->detach_force = number(HF_ID_VOLUME, argv[0]);
	} else if (strcmp(verb, "remove") == 0 && argc >= 1) {
		fill_remove(question, argc, argv);
	} else {
		return false;
	}
	return true;
}

static json_t *volume_json(const Holdfast__VolumedVolume *volume)
{
	char id[HF_ID_TEXT_MAX];
	json_t *json = json_object();

	json_object_set_new(json, "volume",
			    json_string(hf_id_format(HF_ID_VOLUME, volume->volume, id)));
	json_object_set_new(json, "state", json_string(volume->state_text));
	json_object_set_new(json, "error", json_integer(volume->error));
	json_object_set_new(json, "reason", json_string(volume->reason));
#define NUMBER(field) json_object_set_new(json, #field, json_integer((json_int_t)volume->field))
	NUMBER(size_bytes);
	NUMBER(attach_epoch);
	NUMBER(start);
	NUMBER(recovery_point);
	NUMBER(last_sequence);
	NUMBER(lag_bytes);
	NUMBER(age_ms);
	NUMBER(read_ops);
	NUMBER(read_bytes);
	NUMBER(write_ops);
	NUMBER(write_bytes);
	NUMBER(uploaded_objects);
	NUMBER(uploaded_bytes);
	NUMBER(fetched_bytes);
	NUMBER(bad_extents);
	NUMBER(memory_tier_hits);
#undef NUMBER
	return json;
}

static json_t *cache_json(const Holdfast__VolumedCache *cache)
{
	json_t *json = json_object();

#define NUMBER(field) json_object_set_new(json, #field, json_integer((json_int_t)cache->field))
	NUMBER(memory_bytes);
	NUMBER(memory_hits);
	NUMBER(memory_hit_bytes);
	NUMBER(disk_bytes);
	NUMBER(disk_limit_bytes);
	NUMBER(disk_hits);
	NUMBER(disk_hit_bytes);
	NUMBER(disk_written_bytes);
	NUMBER(misses);
	NUMBER(damaged);
	NUMBER(recovered_chunks);
	NUMBER(loading);
	NUMBER(disk_lost);
#undef NUMBER
	return json;
}

static json_t *status_json(const Holdfast__VolumedStatus *status)
{
	json_t *json = json_object(), *volumes = json_array(), *alarms = json_array();
	char boot[33];

#define NUMBER(field) json_object_set_new(json, #field, json_integer((json_int_t)status->field))
	NUMBER(log_total_bytes);
	NUMBER(log_free_bytes);
	NUMBER(log_written_bytes);
	NUMBER(requests_under_way);
	NUMBER(uploads_under_way);
	NUMBER(pid);
	NUMBER(rings);
	NUMBER(memory_tier_bytes);
	NUMBER(memory_tier_used_bytes);
#undef NUMBER
	HF_ASSERT(status->boot.len == 16);
	hf_hex_encode(boot, status->boot.data, 16);
	json_object_set_new(json, "boot", json_string(boot));
	json_object_set_new(json, "store_reachable", json_boolean(status->store_reachable));
	for (size_t i = 0; i < status->n_volumes; i++)
		json_array_append_new(volumes, volume_json(status->volumes[i]));
	for (size_t i = 0; i < status->n_alarms; i++)
		json_array_append_new(alarms, json_string(status->alarms[i]));
	json_object_set_new(json, "volumes", volumes);
	json_object_set_new(json, "cache", cache_json(status->cache));
	json_object_set_new(json, "alarms", alarms);
	return json;
}

static int print(const uint8_t *bytes, size_t length)
{
	Holdfast__VolumedAnswer *answer = holdfast__volumed_answer__unpack(NULL, length, bytes);
	json_t *json = json_object();
	int err;

	if (!answer)
		return HF_EPROTO;
	err = -answer->error;
	json_object_set_new(json, "error", json_string(hf_err_name(err)));
	json_object_set_new(json, "reason", json_string(answer->reason));
	if (answer->status)
		json_object_set_new(json, "status", status_json(answer->status));
	json_dumpf(json, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(json);
	holdfast__volumed_answer__free_unpacked(answer, NULL);
	return err;
}

int main(int argc, char **argv)
{
	Holdfast__VolumedRequest question = HOLDFAST__VOLUMED_REQUEST__INIT;
	uint8_t bytes[80000], *answer = NULL;
	struct hf_errmsg message = {""};
	size_t length, answer_length;
	int err;

	if (argc == 4 && strcmp(argv[2], "raw") == 0) {
		length = strlen(argv[3]) / 2;
		if (length > sizeof bytes || hf_hex_decode(bytes, length, argv[3]) != 0)
			return 2;
	} else if (argc < 3 || !fill(&question, argv[2], argc - 3, argv + 3)) {
		fprintf(stderr, "usage: ask_volumed SOCKET VERB ...\n");
		return 2;
	} else {
		length = holdfast__volumed_request__pack(&question, bytes);
	}
	err = hf_local_ask(argv[1], bytes, length, DEADLINE_MS, &answer, &answer_length, &message);
	if (err) {
		fprintf(stderr, "ask_volumed: %s\n", message.text);
		return hf_err_exit_status(err);
	}
	err = print(answer, answer_length);
	free(answer);
	return hf_err_exit_status(err);
}
