/* Promises of documents (invariant 4): an older one is refused, an equal one must have the equal
 * hash and changes nothing, a volume leaves only by a tombstone, what is required and not known is
 * refused; and (invariant 7) only the pinned signer, for this gateway, is heard. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/agent/document.h"
#include "gateway/agent/kept.h"

#define TENANT  3u
#define GATEWAY 4u

static struct hf_sign_key signer;

/* A document under construction: up to four volumes and two tombstones. */
struct draft {
	Holdfast__Document document;
	Holdfast__Volume volumes[4], *volume_list[4];
	Holdfast__Tombstone tombstones[2], *tombstone_list[2];
	char targets[4][40];
	char *requires_list[2];
};

static void draft_init(struct draft *draft, uint64_t incarnation, uint64_t generation)
{
	memset(draft, 0, sizeof *draft);
	holdfast__document__init(&draft->document);
	draft->document.incarnation = incarnation;
	draft->document.generation = generation;
	draft->document.volumes = draft->volume_list;
	draft->document.tombstones = draft->tombstone_list;
}

static Holdfast__Volume *draft_volume(struct draft *draft, uint64_t volume)
{
	size_t i = draft->document.n_volumes++;
	Holdfast__Volume *entry = &draft->volumes[i];

	holdfast__volume__init(entry);
	draft->volume_list[i] = entry;
	snprintf(draft->targets[i], sizeof draft->targets[i], "iqn.2026-11.test:v%u",
		 (unsigned)volume);
	entry->volume = volume;
	entry->version = 1;
	entry->size_bytes = 1 << 20;
	entry->attachment = HOLDFAST__ATTACHMENT__ATTACHED;
	entry->attach_epoch = 5;
	entry->target = draft->targets[i];
	entry->lun = 1;
	return entry;
}

static void draft_tombstone(struct draft *draft, uint64_t volume)
{
	size_t i = draft->document.n_tombstones++;

	holdfast__tombstone__init(&draft->tombstones[i]);
	draft->tombstone_list[i] = &draft->tombstones[i];
	draft->tombstones[i].volume = volume;
	draft->tombstones[i].version = 2;
}

static void draft_require(struct draft *draft, char *feature)
{
	draft->requires_list[0] = feature;
	draft->document.requires = draft->requires_list;
	draft->document.n_requires = 1;
}

static Holdfast__Signed *sign(const struct draft *draft, const struct hf_sign_key *key,
			      uint64_t tenant, uint64_t gateway, uint64_t sequence)
{
	size_t length = holdfast__document__get_packed_size(&draft->document), signed_length;
	Holdfast__Change change = HOLDFAST__CHANGE__INIT;
	uint8_t *bytes = malloc(length + 1), *signed_bytes;
	Holdfast__Signed *packet;

	holdfast__document__pack(&draft->document, bytes);
	change.tenant = tenant;
	change.gateway = gateway;
	change.sequence = sequence;
	change.kind_case = HOLDFAST__CHANGE__KIND_DOCUMENT;
	change.document = (ProtobufCBinaryData){length, bytes};
	assert_int_equal(hf_change_sign(key, &change, &signed_bytes, &signed_length), 0);
	packet = holdfast__signed__unpack(NULL, signed_length, signed_bytes);
	free(bytes);
	free(signed_bytes);
	return packet;
}

static struct hf_document *open_draft(const struct draft *draft, uint64_t sequence)
{
	Holdfast__Signed *packet = sign(draft, &signer, TENANT, GATEWAY, sequence);
	struct hf_document *document = NULL;
	struct hf_errmsg message;

	assert_int_equal(
		hf_document_open(signer.public_key, TENANT, GATEWAY, packet, &document, &message),
		0);
	holdfast__signed__free_unpacked(packet, NULL);
	return document;
}

/* May the document of `next` with that sequence follow the one of `current` with sequence 10? */
static int check(const struct draft *current, const struct draft *next, uint64_t sequence)
{
	struct hf_document *a = current ? open_draft(current, 10) : NULL;
	struct hf_document *b = open_draft(next, sequence);
	struct hf_errmsg message = {""};
	int err = hf_document_check(a, b, &message);

	assert_true(err == 0 || err == HF_EEXIST || message.text[0]);
	hf_document_free(a);
	hf_document_free(b);
	return err;
}

static int check_newest(const struct hf_kept_newest *newest, const struct draft *next,
			uint64_t sequence)
{
	struct hf_document *document = open_draft(next, sequence);
	struct hf_errmsg message = {""};
	int err = hf_document_check_newest(newest, document, &message);

	assert_true(err == 0 || message.text[0]);
	hf_document_free(document);
	return err;
}

static void test_the_first_and_the_next(void **state)
{
	struct draft first, next;

	(void)state;
	draft_init(&first, 1, 1);
	draft_volume(&first, 7);
	assert_int_equal(check(NULL, &first, 1), 0);
	draft_init(&next, 1, 2);
	draft_volume(&next, 7);
	draft_volume(&next, 8)->version = 2;
	assert_int_equal(check(&first, &next, 11), 0);
	draft_init(&next, 2, 1); /* a restored database: a higher incarnation wins */
	draft_volume(&next, 7);
	assert_int_equal(check(&first, &next, 11), 0);
}

static void test_older_is_refused(void **state)
{
	struct draft current, older;

	(void)state;
	draft_init(&current, 2, 5);
	draft_init(&older, 2, 4);
	assert_int_equal(check(&current, &older, 11), HF_ESTALE);
	draft_init(&older, 1, 99);
	assert_int_equal(check(&current, &older, 11), HF_ESTALE);
}

static void test_replayed_sequence_is_refused(void **state)
{
	struct draft current, next;

	(void)state;
	draft_init(&current, 1, 1);
	draft_init(&next, 1, 2);
	assert_int_equal(check(&current, &next, 10), HF_ESTALE);
	assert_int_equal(check(&current, &next, 9), HF_ESTALE);
	assert_int_equal(check(&current, &next, 11), 0);
}

static void test_equal_generation(void **state)
{
	struct draft current, same, other;

	(void)state;
	draft_init(&current, 1, 3);
	draft_volume(&current, 7);
	draft_init(&same, 1, 3);
	draft_volume(&same, 7);
	assert_int_equal(check(&current, &same, 10), HF_EEXIST);
	draft_init(&other, 1, 3);
	draft_volume(&other, 7)->size_bytes = 2 << 20;
	assert_int_equal(check(&current, &other, 11), HF_EINVAL);
}

static void test_a_volume_leaves_by_a_tombstone_only(void **state)
{
	struct draft current, next;

	(void)state;
	draft_init(&current, 1, 1);
	draft_volume(&current, 7);
	draft_volume(&current, 8);
	draft_init(&next, 1, 2);
	draft_volume(&next, 7);
	assert_int_equal(check(&current, &next, 11), HF_EINVAL);
	draft_tombstone(&next, 8);
	assert_int_equal(check(&current, &next, 11), 0);
}

static void test_a_deleted_volume_does_not_come_back(void **state)
{
	struct draft current, next;

	(void)state;
	draft_init(&current, 1, 1);
	draft_tombstone(&current, 7);
	draft_init(&next, 1, 2);
	assert_int_equal(check(&current, &next, 11), 0); /* the tombstone itself may go */
	draft_volume(&next, 7)->version = 2;
	assert_int_equal(check(&current, &next, 11), HF_EINVAL);
}

static int check_deleted(const struct hf_deleted *deleted, const struct draft *current,
			 const struct draft *next)
{
	struct hf_document *a = current ? open_draft(current, 10) : NULL;
	struct hf_document *b = open_draft(next, 11);
	struct hf_errmsg message = {""};
	int err = hf_document_check_deleted(deleted, a, b, &message);

	assert_true(err == 0 || message.text[0]);
	hf_document_free(a);
	hf_document_free(b);
	return err;
}

/* … also not when the tombstone has left the document long ago. */
static void test_what_was_deleted_is_remembered(void **state)
{
	struct hf_deleted deleted = {NULL, 0};
	struct draft current, next;

	(void)state;
	draft_init(&current, 1, 1);
	draft_tombstone(&current, 7);
	assert_true(hf_deleted_add(&deleted, &current.document));
	assert_false(hf_deleted_add(&deleted, &current.document));
	draft_init(&current, 1, 2);
	draft_init(&next, 1, 3);
	draft_volume(&next, 7)->version = 3;
	assert_int_equal(check_deleted(&deleted, &current, &next), HF_EINVAL);
	assert_int_equal(check_deleted(&deleted, NULL, &next), HF_EINVAL);
	/* A restored registry may have forgotten it: that volume alone fails (reconcile.h). */
	draft_init(&next, 2, 3);
	draft_volume(&next, 7)->version = 3;
	assert_int_equal(check_deleted(&deleted, &current, &next), 0);
	hf_deleted_end(&deleted);
}

/* Each entry has a version of its own, which only rises: an entry of before is not taken, whatever
 * document it stands in. */
static void test_a_version_does_not_go_back(void **state)
{
	struct draft current, next;

	(void)state;
	draft_init(&current, 1, 5);
	draft_volume(&current, 7)->version = 4;
	draft_init(&next, 1, 6);
	draft_volume(&next, 7)->version = 3;
	assert_int_equal(check(&current, &next, 11), HF_EINVAL);
	next.volumes[0].version = 4;
	assert_int_equal(check(&current, &next, 11), 0);
	/* entry to tombstone */
	draft_init(&next, 1, 6);
	draft_tombstone(&next, 7); /* version 2 */
	assert_int_equal(check(&current, &next, 11), HF_EINVAL);
	next.tombstones[0].version = 6;
	assert_int_equal(check(&current, &next, 11), 0);
	/* tombstone to tombstone */
	draft_init(&current, 1, 6);
	draft_tombstone(&current, 7);
	draft_init(&next, 1, 7);
	draft_tombstone(&next, 7);
	next.tombstones[0].version = 1;
	assert_int_equal(check(&current, &next, 11), HF_EINVAL);
}

/* A volume that was not here comes in a generation after the one in force, and says so. */
static void test_what_comes_anew_is_newer(void **state)
{
	struct draft current, next;

	(void)state;
	draft_init(&current, 1, 5);
	draft_init(&next, 1, 8);
	draft_volume(&next, 7)->version = 5;
	assert_int_equal(check(&current, &next, 11), HF_EINVAL);
	next.volumes[0].version = 6;
	assert_int_equal(check(&current, &next, 11), 0);
}

/* A restored registry has forgotten: that is no reason to refuse all of what it says (a document
 * of its own incarnation would be). */
static void test_a_restored_registry_bricks_nothing(void **state)
{
	struct draft current, next;

	(void)state;
	draft_init(&current, 1, 5);
	draft_volume(&current, 7);
	draft_volume(&current, 8);
	draft_tombstone(&current, 9);
	draft_init(&next, 2, 1000);
	draft_volume(&next, 7)->attach_epoch = 4; /* was attached once more since */
	next.volumes[0].version = 1000;
	draft_volume(&next, 9)->version = 1000; /* was deleted since; 8 was made since */
	assert_int_equal(check(&current, &next, 11), 0);
	next.document.incarnation = 1;
	assert_int_equal(check(&current, &next, 11), HF_EINVAL);
}

static void test_attach_epoch_does_not_go_back(void **state)
{
	struct draft current, next;

	(void)state;
	draft_init(&current, 1, 1);
	draft_volume(&current, 7);
	draft_init(&next, 1, 2);
	draft_volume(&next, 7)->attach_epoch = 4;
	assert_int_equal(check(&current, &next, 11), HF_EINVAL);
}

static void test_block_size_is_for_good(void **state)
{
	struct draft current, next;

	(void)state;
	draft_init(&current, 1, 1);
	draft_volume(&current, 7)->block_size = 512;
	draft_init(&next, 1, 2);
	draft_volume(&next, 7)->block_size = 4096;
	assert_int_equal(check(&current, &next, 11), HF_EINVAL);
	draft_init(&next, 1, 2);
	draft_volume(&next, 7)->block_size = 0; /* as before there was a choice */
	assert_int_equal(check(&current, &next, 11), 0);
}

/* The kept document may be damaged; what is known of it apart still refuses older ones. */
static void test_the_newest_is_known_apart(void **state)
{
	struct hf_kept_newest newest = {.incarnation = 1, .generation = 5, .sequence = 10};
	struct draft next;

	(void)state;
	draft_init(&next, 1, 4);
	assert_int_equal(check_newest(&newest, &next, 11), HF_ESTALE);
	draft_init(&next, 1, 6);
	assert_int_equal(check_newest(&newest, &next, 10), HF_ESTALE);
	assert_int_equal(check_newest(&newest, &next, 11), 0);
	draft_init(&next, 1, 5);
	assert_int_equal(check_newest(&newest, &next, 10), HF_EINVAL); /* another content */
	draft_init(&next, 2, 1);
	assert_int_equal(check_newest(&newest, &next, 11), 0);
	memset(&newest, 0, sizeof newest); /* nothing is known */
	draft_init(&next, 1, 1);
	assert_int_equal(check_newest(&newest, &next, 1), 0);
}

static void test_unknown_requirement_is_refused(void **state)
{
	struct draft next;

	(void)state;
	draft_init(&next, 1, 1);
	draft_require(&next, (char[]){"volume-1"});
	assert_int_equal(check(NULL, &next, 1), 0);
	draft_require(&next, (char[]){"time-travel"});
	assert_int_equal(check(NULL, &next, 1), HF_EUNSUPPORTED);
}

static void test_contradictions_are_refused(void **state)
{
	struct draft next;

	(void)state;
	draft_init(&next, 1, 1);
	draft_volume(&next, 7);
	draft_tombstone(&next, 7);
	assert_int_equal(check(NULL, &next, 1), HF_EINVAL);
	draft_init(&next, 1, 1);
	draft_volume(&next, 7);
	draft_volume(&next, 7);
	assert_int_equal(check(NULL, &next, 1), HF_EINVAL);
	draft_init(&next, 1, 1);
	draft_volume(&next, 0);
	assert_int_equal(check(NULL, &next, 1), HF_EINVAL);
	draft_init(&next, 1, 1);
	draft_volume(&next, 7);
	draft_volume(&next, 8)->target = next.targets[0];
	assert_int_equal(check(NULL, &next, 1), HF_EINVAL);
	draft_init(&next, 0, 1);
	assert_int_equal(check(NULL, &next, 1), HF_EINVAL);
}

/* ---- Who may say it ---- */

static int open_signed(const struct hf_sign_key *key, uint64_t tenant, uint64_t gateway,
		       void (*change)(Holdfast__Signed *))
{
	struct hf_document *document = NULL;
	struct hf_errmsg message = {""};
	Holdfast__Signed *packet;
	struct draft draft;
	int err;

	draft_init(&draft, 1, 1);
	draft_volume(&draft, 7);
	packet = sign(&draft, key, tenant, gateway, 1);
	if (change)
		change(packet);
	err = hf_document_open(signer.public_key, TENANT, GATEWAY, packet, &document, &message);
	assert_true(err == 0 || message.text[0]);
	holdfast__signed__free_unpacked(packet, NULL);
	hf_document_free(document);
	return err;
}

static void flip_body(Holdfast__Signed *packet)
{
	packet->body.data[packet->body.len / 2] ^= 1;
}

static void flip_signature(Holdfast__Signed *packet)
{
	packet->signature.data[7] ^= 1;
}

static void cut_signature(Holdfast__Signed *packet)
{
	packet->signature.len--;
}

static void flip_key(Holdfast__Signed *packet)
{
	packet->key.data[0] ^= 1;
}

static void test_only_the_signer_for_this_gateway(void **state)
{
	struct hf_sign_key other;

	(void)state;
	hf_sign_key_make(&other);
	assert_int_equal(open_signed(&signer, TENANT, GATEWAY, NULL), 0);
	assert_int_equal(open_signed(&other, TENANT, GATEWAY, NULL), HF_EAUTH);
	assert_int_equal(open_signed(&signer, TENANT, GATEWAY + 1, NULL), HF_EAUTH);
	assert_int_equal(open_signed(&signer, TENANT + 1, GATEWAY, NULL), HF_EAUTH);
	assert_int_equal(open_signed(&signer, TENANT, GATEWAY, flip_body), HF_EAUTH);
	assert_int_equal(open_signed(&signer, TENANT, GATEWAY, flip_signature), HF_EAUTH);
	assert_int_equal(open_signed(&signer, TENANT, GATEWAY, cut_signature), HF_EAUTH);
	assert_int_equal(open_signed(&signer, TENANT, GATEWAY, flip_key), HF_EAUTH);
}

static void test_a_change_that_is_no_document(void **state)
{
	Holdfast__Change change = HOLDFAST__CHANGE__INIT;
	struct hf_document *document = NULL;
	struct hf_errmsg message;
	Holdfast__Signed *packet;
	uint8_t bytes[] = {0xff, 0xff}, *encoded;
	size_t length;

	(void)state;
	change.tenant = TENANT;
	change.gateway = GATEWAY;
	for (int kind = 0; kind < 2; kind++) {
		change.kind_case =
			kind ? HOLDFAST__CHANGE__KIND_DOCUMENT : HOLDFAST__CHANGE__KIND_ACTION;
		change.document = (ProtobufCBinaryData){sizeof bytes, bytes};
		assert_int_equal(hf_change_sign(&signer, &change, &encoded, &length), 0);
		packet = holdfast__signed__unpack(NULL, length, encoded);
		assert_int_equal(hf_document_open(signer.public_key, TENANT, GATEWAY, packet,
						  &document, &message),
				 HF_EINVAL);
		holdfast__signed__free_unpacked(packet, NULL);
		free(encoded);
	}
}

/* ---- Entries ---- */

static void test_entries_that_cannot_be_served(void **state)
{
	struct hf_errmsg message;
	Holdfast__Volume *entry;
	struct draft draft;
	char *initiator;
	const char *bad_initiators[] = {"nobody",     "iqn.", "10.0.0.300", "10.0.0.0/33", "a,b",
					"127.0.0.1/", ""};
	const char *good_initiators[] = {"iqn.2026-11.a:b", "10.0.0.0/8", "::1",
					 "fe80::/64",       "eui.02",     "10.1.2.3"};

	(void)state;
	draft_init(&draft, 1, 1);
	entry = draft_volume(&draft, 7);
	assert_int_equal(hf_document_check_entry(entry, &message), 0);
	entry->size_bytes = 4097;
	assert_int_equal(hf_document_check_entry(entry, &message), HF_EINVAL);
	entry->size_bytes = 4096;
	entry->lun = 0;
	assert_int_equal(hf_document_check_entry(entry, &message), HF_EINVAL);
	entry->lun = 1;
	entry->target = (char[]){"iqn.2026-11.test:a,b"};
	assert_int_equal(hf_document_check_entry(entry, &message), HF_EINVAL);
	entry->target = draft.targets[0];
	entry->mutual_user = (char[]){"m"};
	assert_int_equal(hf_document_check_entry(entry, &message), HF_EINVAL);
	entry->chap_user = (char[]){"u"};
	assert_int_equal(hf_document_check_entry(entry, &message), 0);
	entry->initiators = &initiator;
	entry->n_initiators = 1;
	for (size_t i = 0; i < sizeof bad_initiators / sizeof bad_initiators[0]; i++) {
		initiator = (char *)(uintptr_t)bad_initiators[i];
		assert_int_equal(hf_document_check_entry(entry, &message), HF_EINVAL);
	}
	for (size_t i = 0; i < sizeof good_initiators / sizeof good_initiators[0]; i++) {
		initiator = (char *)(uintptr_t)good_initiators[i];
		assert_int_equal(hf_document_check_entry(entry, &message), 0);
	}
}

static int make_signer(void **state)
{
	(void)state;
	return hf_sign_key_make(&signer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_first_and_the_next),
		cmocka_unit_test(test_older_is_refused),
		cmocka_unit_test(test_replayed_sequence_is_refused),
		cmocka_unit_test(test_equal_generation),
		cmocka_unit_test(test_a_volume_leaves_by_a_tombstone_only),
		cmocka_unit_test(test_a_deleted_volume_does_not_come_back),
		cmocka_unit_test(test_what_was_deleted_is_remembered),
		cmocka_unit_test(test_a_version_does_not_go_back),
		cmocka_unit_test(test_what_comes_anew_is_newer),
		cmocka_unit_test(test_a_restored_registry_bricks_nothing),
		cmocka_unit_test(test_attach_epoch_does_not_go_back),
		cmocka_unit_test(test_block_size_is_for_good),
		cmocka_unit_test(test_the_newest_is_known_apart),
		cmocka_unit_test(test_unknown_requirement_is_refused),
		cmocka_unit_test(test_contradictions_are_refused),
		cmocka_unit_test(test_only_the_signer_for_this_gateway),
		cmocka_unit_test(test_a_change_that_is_no_document),
		cmocka_unit_test(test_entries_that_cannot_be_served),
	};
	return cmocka_run_group_tests(tests, make_signer, NULL);
}
