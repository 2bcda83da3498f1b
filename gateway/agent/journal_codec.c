/* The table of journal.h and its encoding. Pure: no disk, no clock.
 *
 *   header   magic, version, flags, forgotten, sequence, CRC32C
 *   record   magic, type, length, action, sequence, CRC32C of all; payload; padded to 8 bytes */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/crc32c.h"
#include "gateway/agent/journal.h"

#define VERSION      1u
#define HEADER_BYTES 40u
#define RECORD_BYTES 32u
#define RECORD_MAGIC 0x4a414648u /* "HFAJ" */
#define FLAG_LOST    1u
#define BEGUN_BYTES  (8u + HF_JOURNAL_HASH_BYTES)
#define ENDED_BYTES  16u
#define PAYLOAD_MAX  (ENDED_BYTES + HF_JOURNAL_REASON_MAX + HF_JOURNAL_REPORT_MAX)

enum record_type { RECORD_BEGUN = 1, RECORD_ENDED = 2, RECORD_FORGET = 3 };

static const char magic[8] = {'h', 'f', 'j', 'r', 'n', 'l', '-', '1'};

/* ---- The table ---- */

void hf_journal_table_init(struct hf_journal_table *table)
{
	memset(table, 0, sizeof *table);
	hf_list_init(&table->actions);
}

static void free_action(struct hf_journal_action *action)
{
	free(action->mark);
	free((void *)(uintptr_t)action->result.reason);
	free((void *)(uintptr_t)action->result.report);
	free(action);
}

static void remove_action(struct hf_journal_table *table, struct hf_journal_action *action)
{
	hf_list_remove(&action->link);
	table->count--;
	free_action(action);
}

void hf_journal_table_end(struct hf_journal_table *table)
{
	hf_list_for_each_safe (at, &table->actions)
		remove_action(table, hf_container_of(at, struct hf_journal_action, link));
}

struct hf_journal_action *hf_journal_table_find(const struct hf_journal_table *table,
						uint64_t action)
{
	hf_list_for_each (at, &table->actions) {
		struct hf_journal_action *found =
			hf_container_of(at, struct hf_journal_action, link);

		if (found->action == action)
			return found;
	}
	return NULL;
}

/* One byte more, so that a text ends and an empty one is not NULL. */
static uint8_t *copy(const void *bytes, size_t length)
{
	uint8_t *copied = malloc(length + 1);

	if (!copied)
		return NULL;
	if (length)
		memcpy(copied, bytes, length);
	copied[length] = '\0';
	return copied;
}

int hf_journal_table_begin(struct hf_journal_table *table, const struct hf_journal_action *action)
{
	struct hf_journal_action *added = calloc(1, sizeof *added);

	if (!added)
		return HF_ENOMEM;
	added->mark = copy(action->mark, action->mark_length);
	if (!added->mark) {
		free(added);
		return HF_ENOMEM;
	}
	added->mark_length = action->mark_length;
	added->action = action->action;
	added->sequence = action->sequence;
	added->kind = action->kind;
	memcpy(added->hash, action->hash, sizeof added->hash);
	hf_list_push_back(&table->actions, &added->link);
	table->count++;
	if (action->sequence > table->sequence)
		table->sequence = action->sequence;
	table->begun_since = true;
	return 0;
}

int hf_journal_table_finish(struct hf_journal_table *table, uint64_t action,
			    const struct hf_journal_result *result)
{
	struct hf_journal_action *found = hf_journal_table_find(table, action);
	uint8_t *reason, *report;

	if (!found || found->ended)
		return HF_ENOENT;
	reason = copy(result->reason, strlen(result->reason));
	report = copy(result->report, result->report_length);
	if (!reason || !report) {
		free(reason);
		free(report);
		return HF_ENOMEM;
	}
	found->ended = true;
	found->result = *result;
	found->result.reason = (char *)reason;
	found->result.report = report;
	return 0;
}

void hf_journal_table_forget(struct hf_journal_table *table, uint64_t action)
{
	hf_list_for_each_safe (at, &table->actions) {
		struct hf_journal_action *found =
			hf_container_of(at, struct hf_journal_action, link);

		if (found->action <= action && found->ended)
			remove_action(table, found);
	}
	if (action > table->forgotten)
		table->forgotten = action;
}

enum hf_journal_verdict hf_journal_judge(const struct hf_journal_table *table, uint64_t action,
					 uint64_t sequence,
					 const uint8_t hash[HF_JOURNAL_HASH_BYTES],
					 bool sent_before)
{
	const struct hf_journal_action *found = hf_journal_table_find(table, action);

	if (found)
		return memcmp(found->hash, hash, sizeof found->hash) == 0 ? HF_JOURNAL_KNOWN
									  : HF_JOURNAL_OTHER;
	if (action <= table->forgotten)
		return HF_JOURNAL_STALE;
	if (sequence <= table->sequence)
		return table->lost ? HF_JOURNAL_UNKNOWN : HF_JOURNAL_STALE;
	if (table->lost && !table->begun_since && sent_before)
		return HF_JOURNAL_UNKNOWN;
	return table->count < HF_JOURNAL_ACTIONS_MAX ? HF_JOURNAL_FRESH : HF_JOURNAL_FULL;
}

/* ---- Records ---- */

static size_t padded(size_t length)
{
	return (length + 7) & ~(size_t)7;
}

static uint32_t record_checksum(const uint8_t *record, size_t payload)
{
	static const uint8_t zero[4];
	uint32_t crc = hf_crc32c(0, record, 28);

	crc = hf_crc32c(crc, zero, sizeof zero);
	return hf_crc32c(crc, record + RECORD_BYTES, padded(payload));
}

/* A record with room for its payload, zeroed; sealed by `seal`. */
static uint8_t *make_record(enum record_type type, uint64_t action, uint64_t sequence,
			    size_t payload, size_t *length)
{
	uint8_t *record = calloc(1, RECORD_BYTES + padded(payload));

	if (!record)
		return NULL;
	*length = RECORD_BYTES + padded(payload);
	hf_put_le32(record, RECORD_MAGIC);
	hf_put_le32(record + 4, (uint32_t)type);
	hf_put_le32(record + 8, (uint32_t)payload);
	hf_put_le64(record + 12, action);
	hf_put_le64(record + 20, sequence);
	return record;
}

static void seal(uint8_t *record)
{
	hf_put_le32(record + 28, record_checksum(record, hf_get_le32(record + 8)));
}

int hf_journal_encode_begun(const struct hf_journal_action *action, uint8_t **bytes, size_t *length)
{
	uint8_t *record, *payload;

	HF_ASSERT(action->mark_length <= HF_JOURNAL_MARK_MAX);
	record = make_record(RECORD_BEGUN, action->action, action->sequence,
			     BEGUN_BYTES + action->mark_length, length);
	if (!record)
		return HF_ENOMEM;
	payload = record + RECORD_BYTES;
	hf_put_le32(payload, action->kind);
	memcpy(payload + 8, action->hash, HF_JOURNAL_HASH_BYTES);
	if (action->mark_length)
		memcpy(payload + BEGUN_BYTES, action->mark, action->mark_length);
	seal(record);
	*bytes = record;
	return 0;
}

int hf_journal_encode_ended(uint64_t action, const struct hf_journal_result *result,
			    uint8_t **bytes, size_t *length)
{
	size_t reason = strlen(result->reason);
	uint8_t *record, *payload;

	HF_ASSERT(reason <= HF_JOURNAL_REASON_MAX &&
		  result->report_length <= HF_JOURNAL_REPORT_MAX);
	record = make_record(RECORD_ENDED, action, 0, ENDED_BYTES + reason + result->report_length,
			     length);
	if (!record)
		return HF_ENOMEM;
	payload = record + RECORD_BYTES;
	hf_put_le32(payload, result->outcome);
	hf_put_le32(payload + 4, (uint32_t)result->error);
	hf_put_le32(payload + 8, (uint32_t)reason);
	memcpy(payload + ENDED_BYTES, result->reason, reason);
	if (result->report_length)
		memcpy(payload + ENDED_BYTES + reason, result->report, result->report_length);
	seal(record);
	*bytes = record;
	return 0;
}

int hf_journal_encode_forget(uint64_t action, uint8_t **bytes, size_t *length)
{
	*bytes = make_record(RECORD_FORGET, action, 0, 0, length);
	if (!*bytes)
		return HF_ENOMEM;
	seal(*bytes);
	return 0;
}

/* The payload's length, or -1: not a whole, sound record. */
static int64_t check_record(const uint8_t *bytes, size_t length)
{
	size_t payload;

	if (length < RECORD_BYTES || hf_get_le32(bytes) != RECORD_MAGIC)
		return -1;
	payload = hf_get_le32(bytes + 8);
	if (payload > PAYLOAD_MAX || RECORD_BYTES + padded(payload) > length)
		return -1;
	return hf_get_le32(bytes + 28) == record_checksum(bytes, payload) ? (int64_t)payload : -1;
}

static int take_begun(struct hf_journal_table *table, const uint8_t *record, size_t length)
{
	struct hf_journal_action action = {.action = hf_get_le64(record + 12),
					   .sequence = hf_get_le64(record + 20)};
	const uint8_t *payload = record + RECORD_BYTES;

	if (length < BEGUN_BYTES || length - BEGUN_BYTES > HF_JOURNAL_MARK_MAX ||
	    table->count >= HF_JOURNAL_ACTIONS_MAX || action.action == 0 ||
	    hf_journal_table_find(table, action.action))
		return HF_ECORRUPT;
	action.kind = hf_get_le32(payload);
	memcpy(action.hash, payload + 8, sizeof action.hash);
	action.mark = (uint8_t *)(uintptr_t)payload + BEGUN_BYTES;
	action.mark_length = length - BEGUN_BYTES;
	return hf_journal_table_begin(table, &action);
}

static int take_ended(struct hf_journal_table *table, const uint8_t *record, size_t length)
{
	const uint8_t *payload = record + RECORD_BYTES;
	char reason[HF_JOURNAL_REASON_MAX + 1];
	struct hf_journal_result result = {.reason = reason};
	size_t reason_length;
	int err;

	if (length < ENDED_BYTES)
		return HF_ECORRUPT;
	reason_length = hf_get_le32(payload + 8);
	if (reason_length > HF_JOURNAL_REASON_MAX || reason_length > length - ENDED_BYTES ||
	    memchr(payload + ENDED_BYTES, '\0', reason_length))
		return HF_ECORRUPT;
	result.outcome = hf_get_le32(payload);
	result.error = (int32_t)hf_get_le32(payload + 4);
	memcpy(reason, payload + ENDED_BYTES, reason_length);
	reason[reason_length] = '\0';
	result.report = payload + ENDED_BYTES + reason_length;
	result.report_length = length - ENDED_BYTES - reason_length;
	if (result.report_length > HF_JOURNAL_REPORT_MAX)
		return HF_ECORRUPT;
	err = hf_journal_table_finish(table, hf_get_le64(record + 12), &result);
	return err == HF_ENOENT ? HF_ECORRUPT : err;
}

static int take_record(struct hf_journal_table *table, const uint8_t *record, size_t length)
{
	switch (hf_get_le32(record + 4)) {
	case RECORD_BEGUN:
		return take_begun(table, record, length);
	case RECORD_ENDED:
		return take_ended(table, record, length);
	case RECORD_FORGET:
		hf_journal_table_forget(table, hf_get_le64(record + 12));
		return 0;
	default: /* a later version's */
		return HF_ECORRUPT;
	}
}

/* ---- The whole ---- */

static uint32_t header_checksum(const uint8_t *bytes)
{
	return hf_crc32c(0, bytes, HEADER_BYTES - 8);
}

static int decode_header(const uint8_t *bytes, size_t length, struct hf_journal_table *table)
{
	if (length < HEADER_BYTES || memcmp(bytes, magic, sizeof magic) != 0 ||
	    hf_get_le32(bytes + 8) != VERSION ||
	    hf_get_le32(bytes + HEADER_BYTES - 8) != header_checksum(bytes))
		return HF_ECORRUPT;
	table->lost = (hf_get_le32(bytes + 12) & FLAG_LOST) != 0;
	table->forgotten = hf_get_le64(bytes + 16);
	table->sequence = hf_get_le64(bytes + 24);
	return 0;
}

/* The next sound record after damage, or `length`. */
static size_t find_record(const uint8_t *bytes, size_t from, size_t length)
{
	size_t at = from;

	while (at + RECORD_BYTES <= length && check_record(bytes + at, length - at) < 0)
		at += 8;
	return at + RECORD_BYTES <= length ? at : length;
}

/* What lies behind the last sound record: was it whole once? A write that was cut short leaves the
 * beginning of a record, or zeros; with anything else, something was there that may have been acted
 * upon. */
static bool was_whole(const uint8_t *bytes, size_t length)
{
	uint8_t header[RECORD_BYTES];
	uint32_t crc;

	if (length < 4 || hf_get_le32(bytes) == 0)
		return false;
	if (hf_get_le32(bytes) != RECORD_MAGIC)
		return true;
	if (length < RECORD_BYTES)
		return false;
	if (hf_get_le32(bytes + 8) <= PAYLOAD_MAX &&
	    RECORD_BYTES + padded(hf_get_le32(bytes + 8)) <= length)
		return true;
	/* Only its length may be wrong. */
	memcpy(header, bytes, sizeof header);
	for (size_t cut = 0; cut < 8 && cut <= length - RECORD_BYTES; cut++) {
		hf_put_le32(header + 8, (uint32_t)(length - RECORD_BYTES - cut));
		memset(header + 28, 0, 4);
		crc = hf_crc32c(hf_crc32c(0, header, sizeof header), bytes + RECORD_BYTES,
				length - RECORD_BYTES);
		if (crc == hf_get_le32(bytes + 28))
			return true;
	}
	return false;
}

static void note_lost(struct hf_journal_table *table)
{
	table->lost = true;
	table->begun_since = false;
}

int hf_journal_decode(const uint8_t *bytes, size_t length, struct hf_journal_table *table,
		      size_t *good_bytes)
{
	size_t at = HEADER_BYTES;

	*good_bytes = 0;
	if (length > HF_JOURNAL_FILE_MAX || decode_header(bytes, length, table) != 0) {
		table->lost = true;
		return HF_ECORRUPT;
	}
	table->begun_since = false;
	while (at < length) {
		int64_t payload = check_record(bytes + at, length - at);
		size_t next;
		int err;

		if (payload < 0) {
			next = find_record(bytes, at + 8, length);
			if (next < length || was_whole(bytes + at, length - at))
				note_lost(table);
			if (next == length)
				break; /* torn, or the last one is damaged */
			at = next;
			continue;
		}
		err = take_record(table, bytes + at, (size_t)payload);
		if (err == HF_ENOMEM)
			return err;
		if (err)
			note_lost(table);
		at += RECORD_BYTES + padded((size_t)payload);
	}
	*good_bytes = at < length ? at : length;
	return 0;
}

struct buffer {
	uint8_t *bytes;
	size_t length;
};

/* Takes the record over. */
static int append(struct buffer *buffer, int err, uint8_t *record, size_t length)
{
	uint8_t *grown;

	if (err)
		return err;
	grown = realloc(buffer->bytes, buffer->length + length);
	if (grown) {
		memcpy(grown + buffer->length, record, length);
		buffer->bytes = grown;
		buffer->length += length;
	}
	free(record);
	return grown ? 0 : HF_ENOMEM;
}

static int append_action(struct buffer *buffer, const struct hf_journal_action *action)
{
	uint8_t *record = NULL;
	size_t length = 0;
	int err = hf_journal_encode_begun(action, &record, &length);

	err = append(buffer, err, record, length);
	if (err || !action->ended)
		return err;
	err = hf_journal_encode_ended(action->action, &action->result, &record, &length);
	return append(buffer, err, record, length);
}

int hf_journal_encode(const struct hf_journal_table *table, uint8_t **bytes, size_t *length)
{
	struct buffer buffer = {calloc(1, HEADER_BYTES), HEADER_BYTES};
	bool lost = table->lost && !table->begun_since;
	int err = buffer.bytes ? 0 : HF_ENOMEM;

	if (err)
		return err;
	memcpy(buffer.bytes, magic, sizeof magic);
	hf_put_le32(buffer.bytes + 8, VERSION);
	hf_put_le32(buffer.bytes + 12, lost ? FLAG_LOST : 0);
	hf_put_le64(buffer.bytes + 16, table->forgotten);
	hf_put_le64(buffer.bytes + 24, table->sequence);
	hf_put_le32(buffer.bytes + HEADER_BYTES - 8, header_checksum(buffer.bytes));
	hf_list_for_each (at, &table->actions) {
		err = append_action(&buffer, hf_container_of(at, struct hf_journal_action, link));
		if (err) {
			free(buffer.bytes);
			return err;
		}
	}
	*bytes = buffer.bytes;
	*length = buffer.length;
	return 0;
}
