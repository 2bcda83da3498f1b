/* The files of kept.h: 24 bytes of header with a checksum, then the body. Loop's thread. */
#include "gateway/agent/kept.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/file.h"
#include "base/log.h"

#define HEADER_BYTES 24u
#define ACCESS_ENTRY 16u
#define PLACE_ENTRY  12u
#define NEWEST_BYTES (24u + HF_HASH_BYTES)

static const char magic[8] = {'h', 'f', 'k', 'e', 'p', 't', '-', '1'};
static const char *const names[] = {
	[HF_KEPT_ACTIVATED] = "activated", [HF_KEPT_DOCUMENT] = "document",
	[HF_KEPT_EPOCH] = "epoch",         [HF_KEPT_ACCESS] = "access",
	[HF_KEPT_PLACES] = "places",       [HF_KEPT_NEWEST] = "newest",
	[HF_KEPT_NETWORK] = "network",     [HF_KEPT_LEFT] = "left",
	[HF_KEPT_DELETED] = "deleted",     [HF_KEPT_TOKEN] = "token",
	[HF_KEPT_TIME] = "time",           [HF_KEPT_ENDPOINTS] = "endpoints",
};

static uint32_t checksum(const uint8_t *header, const uint8_t *body, size_t length)
{
	return hf_crc32c(hf_crc32c(0, header + 8, 8), body, length);
}

int hf_kept_parse(const uint8_t *bytes, size_t length, enum hf_kept_kind kind, const uint8_t **body,
		  size_t *body_length)
{
	if (length < HEADER_BYTES || memcmp(bytes, magic, sizeof magic) != 0 ||
	    hf_get_le32(bytes + 8) != (uint32_t)kind ||
	    hf_get_le32(bytes + 12) != length - HEADER_BYTES || hf_get_le32(bytes + 20) != 0 ||
	    hf_get_le32(bytes + 16) != checksum(bytes, bytes + HEADER_BYTES, length - HEADER_BYTES))
		return HF_ECORRUPT;
	*body = bytes + HEADER_BYTES;
	*body_length = length - HEADER_BYTES;
	return 0;
}

static void path_of(const struct hf_kept *kept, const char *name, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%s/%s", kept->folder, name);
}

/* The whole file, malloc'ed, with its body checked. */
static int read_named(const struct hf_kept *kept, const char *name, enum hf_kept_kind kind,
		      uint8_t **file, const uint8_t **body, size_t *body_length,
		      struct hf_errmsg *message)
{
	char path[PATH_MAX];
	size_t length;
	int err;

	path_of(kept, name, path);
	err = hf_file_read(path, HF_KEPT_MAX + HEADER_BYTES, file, &length, message);
	if (err)
		return err;
	err = hf_kept_parse(*file, length, kind, body, body_length);
	if (err) {
		free(*file);
		return hf_fail(message, err, "%s: damaged, or not a file of this kind", path);
	}
	return 0;
}

static int write_named(const struct hf_kept *kept, const char *name, enum hf_kept_kind kind,
		       const uint8_t *body, size_t length, struct hf_errmsg *message)
{
	char path[PATH_MAX];
	uint8_t *file;
	int err;

	path_of(kept, name, path);
	if (length > HF_KEPT_MAX)
		return hf_fail(message, HF_ETOOBIG, "%s: larger than %u bytes", path, HF_KEPT_MAX);
	file = calloc(1, HEADER_BYTES + length);
	if (!file)
		return hf_fail(message, HF_ENOMEM, "%s: out of memory", path);
	memcpy(file, magic, sizeof magic);
	hf_put_le32(file + 8, (uint32_t)kind);
	hf_put_le32(file + 12, (uint32_t)length);
	if (length)
		memcpy(file + HEADER_BYTES, body, length);
	hf_put_le32(file + 16, checksum(file, file + HEADER_BYTES, length));
	err = hf_file_replace(path, file, HEADER_BYTES + length, 0600, message);
	free(file);
	return err;
}

static int read_kept(const struct hf_kept *kept, enum hf_kept_kind kind, uint8_t **file,
		     const uint8_t **body, size_t *body_length, struct hf_errmsg *message)
{
	return read_named(kept, names[kind], kind, file, body, body_length, message);
}

static int write_kept(const struct hf_kept *kept, enum hf_kept_kind kind, const uint8_t *body,
		      size_t length, struct hf_errmsg *message)
{
	return write_named(kept, names[kind], kind, body, length, message);
}

int hf_kept_keys(const struct hf_kept *kept, struct hf_sign_key *identity,
		 struct hf_seal_key *sealing, struct hf_errmsg *message)
{
	char path[PATH_MAX];
	int err;

	path_of(kept, "identity.key", path);
	err = hf_sign_key_file(path, identity, message);
	if (err)
		return err;
	path_of(kept, "sealing.key", path);
	return hf_seal_key_file(path, sealing, message);
}

/* ---- Messages ---- */

static int read_message(const struct hf_kept *kept, enum hf_kept_kind kind,
			const ProtobufCMessageDescriptor *type, ProtobufCMessage **out,
			struct hf_errmsg *message)
{
	const uint8_t *body;
	uint8_t *file;
	size_t length;
	int err = read_kept(kept, kind, &file, &body, &length, message);

	if (err)
		return err;
	*out = protobuf_c_message_unpack(type, NULL, length, body);
	free(file);
	return *out ? 0 : hf_fail(message, HF_ECORRUPT, "%s: damaged", names[kind]);
}

static int write_message(const struct hf_kept *kept, enum hf_kept_kind kind,
			 const ProtobufCMessage *content, struct hf_errmsg *message)
{
	size_t length = protobuf_c_message_get_packed_size(content);
	uint8_t *body = malloc(length + 1);
	int err;

	if (!body)
		return hf_fail(message, HF_ENOMEM, "%s: out of memory", names[kind]);
	protobuf_c_message_pack(content, body);
	err = write_kept(kept, kind, body, length, message);
	free(body);
	return err;
}

int hf_kept_activated(const struct hf_kept *kept, Holdfast__ActivateIssued **issued,
		      struct hf_errmsg *message)
{
	ProtobufCMessage *out;
	int err = read_message(kept, HF_KEPT_ACTIVATED, &holdfast__activate_issued__descriptor,
			       &out, message);

	if (!err)
		*issued = (void *)out;
	return err;
}

int hf_kept_set_activated(const struct hf_kept *kept, const Holdfast__ActivateIssued *issued,
			  struct hf_errmsg *message)
{
	return write_message(kept, HF_KEPT_ACTIVATED, &issued->base, message);
}

int hf_kept_document(const struct hf_kept *kept, Holdfast__Signed **packet,
		     struct hf_errmsg *message)
{
	ProtobufCMessage *out;
	int err =
		read_message(kept, HF_KEPT_DOCUMENT, &holdfast__signed__descriptor, &out, message);

	if (!err)
		*packet = (void *)out;
	return err;
}

int hf_kept_set_document(const struct hf_kept *kept, const Holdfast__Signed *packet,
			 struct hf_errmsg *message)
{
	return write_message(kept, HF_KEPT_DOCUMENT, &packet->base, message);
}

int hf_kept_network(const struct hf_kept *kept, Holdfast__KeptNetwork **state,
		    struct hf_errmsg *message)
{
	ProtobufCMessage *out;
	int err = read_message(kept, HF_KEPT_NETWORK, &holdfast__kept_network__descriptor, &out,
			       message);

	if (!err)
		*state = (void *)out;
	return err;
}

int hf_kept_set_network(const struct hf_kept *kept, const Holdfast__KeptNetwork *state,
			struct hf_errmsg *message)
{
	return write_message(kept, HF_KEPT_NETWORK, &state->base, message);
}

int hf_kept_left(const struct hf_kept *kept, Holdfast__Document **left, struct hf_errmsg *message)
{
	ProtobufCMessage *out;
	int err = read_message(kept, HF_KEPT_LEFT, &holdfast__document__descriptor, &out, message);

	if (!err)
		*left = (void *)out;
	return err;
}

int hf_kept_set_left(const struct hf_kept *kept, const Holdfast__Document *left,
		     struct hf_errmsg *message)
{
	Holdfast__Document none = HOLDFAST__DOCUMENT__INIT;

	return write_message(kept, HF_KEPT_LEFT, left ? &left->base : &none.base, message);
}

/* ---- Numbers ---- */

/* Exactly `size` bytes; false if there are none, or if the file is damaged, which is told. */
static bool read_fixed(const struct hf_kept *kept, enum hf_kept_kind kind, uint8_t *bytes,
		       size_t size)
{
	struct hf_errmsg message;
	const uint8_t *body;
	uint8_t *file;
	size_t length;
	int err = read_kept(kept, kind, &file, &body, &length, &message);

	if (err && err != HF_ENOENT)
		hf_warn("%s", message.text);
	if (err)
		return false;
	if (length == size)
		memcpy(bytes, body, size);
	free(file);
	return length == size;
}

static uint64_t read_number(const struct hf_kept *kept, enum hf_kept_kind kind)
{
	uint8_t body[8];

	return read_fixed(kept, kind, body, sizeof body) ? hf_get_le64(body) : 0;
}

static int write_number(const struct hf_kept *kept, enum hf_kept_kind kind, uint64_t number,
			struct hf_errmsg *message)
{
	uint8_t body[8];

	hf_put_le64(body, number);
	return write_kept(kept, kind, body, sizeof body, message);
}

uint64_t hf_kept_epoch(const struct hf_kept *kept)
{
	return read_number(kept, HF_KEPT_EPOCH);
}

int hf_kept_set_epoch(const struct hf_kept *kept, uint64_t epoch, struct hf_errmsg *message)
{
	return write_number(kept, HF_KEPT_EPOCH, epoch, message);
}

int64_t hf_kept_time(const struct hf_kept *kept)
{
	return (int64_t)read_number(kept, HF_KEPT_TIME);
}

int hf_kept_set_time(const struct hf_kept *kept, int64_t time_s, struct hf_errmsg *message)
{
	return write_number(kept, HF_KEPT_TIME, (uint64_t)time_s, message);
}

size_t hf_kept_token(const struct hf_kept *kept, uint8_t token[HF_KEPT_TOKEN_BYTES])
{
	return read_fixed(kept, HF_KEPT_TOKEN, token, HF_KEPT_TOKEN_BYTES) ? HF_KEPT_TOKEN_BYTES
									   : 0;
}

int hf_kept_set_token(const struct hf_kept *kept, const uint8_t token[HF_KEPT_TOKEN_BYTES],
		      struct hf_errmsg *message)
{
	return write_kept(kept, HF_KEPT_TOKEN, token, HF_KEPT_TOKEN_BYTES, message);
}

/* ---- Lists ---- */

static const char *access_name(unsigned tgtd, char name[16])
{
	if (tgtd == 0)
		return names[HF_KEPT_ACCESS];
	snprintf(name, 16, "%s-%u", names[HF_KEPT_ACCESS], tgtd + 1);
	return name;
}

/* u32 length of boot, boot, then {u64 volume, u64 version} … */
size_t hf_kept_access(const struct hf_kept *kept, unsigned tgtd, const uint8_t *boot,
		      size_t boot_length, struct hf_kept_access *list, size_t capacity)
{
	struct hf_errmsg message;
	const uint8_t *body;
	uint8_t *file;
	size_t length, count = 0, at;
	char name[16];

	if (read_named(kept, access_name(tgtd, name), HF_KEPT_ACCESS, &file, &body, &length,
		       &message) != 0)
		return 0;
	at = 4 + boot_length;
	if (length >= at && hf_get_le32(body) == boot_length &&
	    (boot_length == 0 || memcmp(body + 4, boot, boot_length) == 0))
		for (; at + ACCESS_ENTRY <= length && count < capacity; at += ACCESS_ENTRY) {
			list[count].volume = hf_get_le64(body + at);
			list[count++].version = hf_get_le64(body + at + 8);
		}
	free(file);
	return count;
}

int hf_kept_set_access(const struct hf_kept *kept, unsigned tgtd, const uint8_t *boot,
		       size_t boot_length, const struct hf_kept_access *list, size_t count,
		       struct hf_errmsg *message)
{
	size_t length = 4 + boot_length + count * ACCESS_ENTRY;
	uint8_t *body = malloc(length), *at = body;
	char name[16];
	int err;

	if (!body)
		return hf_fail(message, HF_ENOMEM, "access: out of memory");
	hf_put_le32(at, (uint32_t)boot_length);
	at += 4;
	if (boot_length)
		memcpy(at, boot, boot_length);
	at += boot_length;
	for (size_t i = 0; i < count; i++, at += ACCESS_ENTRY) {
		hf_put_le64(at, list[i].volume);
		hf_put_le64(at + 8, list[i].version);
	}
	err = write_named(kept, access_name(tgtd, name), HF_KEPT_ACCESS, body, length, message);
	free(body);
	return err;
}

/* {u64 volume, u32 tgtd} … */
size_t hf_kept_places(const struct hf_kept *kept, struct hf_kept_place *list, size_t capacity)
{
	struct hf_errmsg message;
	const uint8_t *body;
	uint8_t *file;
	size_t length, count = 0;
	int err = read_kept(kept, HF_KEPT_PLACES, &file, &body, &length, &message);

	if (err && err != HF_ENOENT)
		hf_warn("%s", message.text);
	if (err)
		return 0;
	for (size_t at = 0; at + PLACE_ENTRY <= length && count < capacity; at += PLACE_ENTRY) {
		list[count].volume = hf_get_le64(body + at);
		list[count++].tgtd = hf_get_le32(body + at + 8);
	}
	free(file);
	return count;
}

int hf_kept_set_places(const struct hf_kept *kept, const struct hf_kept_place *list, size_t count,
		       struct hf_errmsg *message)
{
	uint8_t *body = malloc(count * PLACE_ENTRY + 1);
	int err;

	if (!body)
		return hf_fail(message, HF_ENOMEM, "places: out of memory");
	for (size_t i = 0; i < count; i++) {
		hf_put_le64(body + i * PLACE_ENTRY, list[i].volume);
		hf_put_le32(body + i * PLACE_ENTRY + 8, list[i].tgtd);
	}
	err = write_kept(kept, HF_KEPT_PLACES, body, count * PLACE_ENTRY, message);
	free(body);
	return err;
}

/* {u64 volume} …, oldest first */
void hf_kept_deleted(const struct hf_kept *kept, struct hf_deleted *deleted)
{
	struct hf_errmsg message;
	const uint8_t *body;
	uint8_t *file;
	size_t length;
	int err = read_kept(kept, HF_KEPT_DELETED, &file, &body, &length, &message);

	*deleted = (struct hf_deleted){NULL, 0};
	if (err && err != HF_ENOENT)
		hf_error("%s; deleted volumes are known by their versions only", message.text);
	if (err)
		return;
	if (length / 8 <= HF_DELETED_MAX)
		deleted->volumes = calloc(length / 8 + 1, sizeof *deleted->volumes);
	for (size_t at = 0; deleted->volumes && at + 8 <= length; at += 8)
		deleted->volumes[deleted->count++] = hf_get_le64(body + at);
	free(file);
}

int hf_kept_set_deleted(const struct hf_kept *kept, const struct hf_deleted *deleted,
			struct hf_errmsg *message)
{
	uint8_t *body = malloc(deleted->count * 8 + 1);
	int err;

	if (!body)
		return hf_fail(message, HF_ENOMEM, "deleted: out of memory");
	for (size_t i = 0; i < deleted->count; i++)
		hf_put_le64(body + i * 8, deleted->volumes[i]);
	err = write_kept(kept, HF_KEPT_DELETED, body, deleted->count * 8, message);
	free(body);
	return err;
}

/* A line each. */
static void take_endpoint(struct hf_endpoints *endpoints, const char *line, size_t length)
{
	char *text = endpoints->text[endpoints->count], host[256];
	uint16_t port;

	if (length == 0 || length >= HF_ENDPOINT_MAX || memchr(line, '\0', length))
		return;
	memcpy(text, line, length);
	text[length] = '\0';
	if (hf_endpoint_parse(text, host, sizeof host, &port) == 0)
		endpoints->count++;
}

void hf_kept_endpoints(const struct hf_kept *kept, struct hf_endpoints *endpoints)
{
	struct hf_errmsg message;
	const uint8_t *body;
	uint8_t *file;
	size_t length, begin = 0;
	int err = read_kept(kept, HF_KEPT_ENDPOINTS, &file, &body, &length, &message);

	endpoints->count = 0;
	if (err && err != HF_ENOENT)
		hf_warn("%s", message.text);
	if (err)
		return;
	for (size_t at = 0; at < length && endpoints->count < HF_DIAL_ENDPOINTS_MAX; at++)
		if (body[at] == '\n') {
			take_endpoint(endpoints, (const char *)body + begin, at - begin);
			begin = at + 1;
		}
	free(file);
}

int hf_kept_set_endpoints(const struct hf_kept *kept, const struct hf_endpoints *endpoints,
			  struct hf_errmsg *message)
{
	char body[HF_DIAL_ENDPOINTS_MAX * (HF_ENDPOINT_MAX + 1)];
	size_t length = 0;

	for (size_t i = 0; i < endpoints->count; i++)
		length += (size_t)snprintf(body + length, sizeof body - length, "%s\n",
					   endpoints->text[i]);
	return write_kept(kept, HF_KEPT_ENDPOINTS, (const uint8_t *)body, length, message);
}

/* ---- The newest document ---- */

void hf_kept_newest(const struct hf_kept *kept, struct hf_kept_newest *newest)
{
	struct hf_errmsg message;
	const uint8_t *body;
	uint8_t *file;
	size_t length;
	int err = read_kept(kept, HF_KEPT_NEWEST, &file, &body, &length, &message);

	memset(newest, 0, sizeof *newest);
	if (err && err != HF_ENOENT)
		hf_warn("%s", message.text);
	if (err)
		return;
	if (length == NEWEST_BYTES) {
		newest->incarnation = hf_get_le64(body);
		newest->generation = hf_get_le64(body + 8);
		newest->sequence = hf_get_le64(body + 16);
		memcpy(newest->hash, body + 24, HF_HASH_BYTES);
	}
	free(file);
}

int hf_kept_set_newest(const struct hf_kept *kept, const struct hf_kept_newest *newest,
		       struct hf_errmsg *message)
{
	uint8_t body[NEWEST_BYTES];

	hf_put_le64(body, newest->incarnation);
	hf_put_le64(body + 8, newest->generation);
	hf_put_le64(body + 16, newest->sequence);
	memcpy(body + 24, newest->hash, HF_HASH_BYTES);
	return write_kept(kept, HF_KEPT_NEWEST, body, sizeof body, message);
}
