/* Promises of STATE_DIR: what was kept comes back; a damaged file is refused by name, whatever byte
 * is damaged (invariants 8, 9); access marks count for one run of tgtd only. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "gateway/agent/kept.h"
#include "tests/lib/folder.h"

struct fixture {
	char folder[32];
	struct hf_kept kept;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	strcpy(f->folder, "/tmp/hf-kept-XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	f->kept.folder = f->folder;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	folder_remove(f->folder);
	free(f);
	return 0;
}

static void test_nothing_is_kept_yet(void **state)
{
	struct fixture *f = *state;
	Holdfast__ActivateIssued *issued;
	Holdfast__Signed *packet;
	struct hf_errmsg message;

	assert_int_equal(hf_kept_activated(&f->kept, &issued, &message), HF_ENOENT);
	assert_int_equal(hf_kept_document(&f->kept, &packet, &message), HF_ENOENT);
	assert_true(hf_kept_epoch(&f->kept) == 0);
}

static void test_what_was_kept_comes_back(void **state)
{
	Holdfast__ActivateIssued issued = HOLDFAST__ACTIVATE_ISSUED__INIT, *read_issued;
	Holdfast__Signed packet = HOLDFAST__SIGNED__INIT, *read_packet;
	struct fixture *f = *state;
	struct hf_errmsg message;
	uint8_t body[] = {1, 2, 3};

	issued.gateway = 4;
	packet.body = (ProtobufCBinaryData){sizeof body, body};
	assert_int_equal(hf_kept_set_activated(&f->kept, &issued, &message), 0);
	assert_int_equal(hf_kept_set_document(&f->kept, &packet, &message), 0);
	assert_int_equal(hf_kept_set_epoch(&f->kept, 1ull << 40, &message), 0);
	assert_int_equal(hf_kept_activated(&f->kept, &read_issued, &message), 0);
	assert_true(read_issued->gateway == 4);
	assert_int_equal(hf_kept_document(&f->kept, &read_packet, &message), 0);
	assert_int_equal(read_packet->body.len, 3);
	assert_memory_equal(read_packet->body.data, body, 3);
	assert_true(hf_kept_epoch(&f->kept) == 1ull << 40);
	holdfast__activate_issued__free_unpacked(read_issued, NULL);
	holdfast__signed__free_unpacked(read_packet, NULL);
}

static void test_keys_stay_the_same(void **state)
{
	struct fixture *f = *state;
	struct hf_sign_key identity, identity2;
	struct hf_seal_key sealing, sealing2;
	struct hf_errmsg message;

	assert_int_equal(hf_kept_keys(&f->kept, &identity, &sealing, &message), 0);
	assert_int_equal(hf_kept_keys(&f->kept, &identity2, &sealing2, &message), 0);
	assert_memory_equal(&identity, &identity2, sizeof identity);
	assert_memory_equal(&sealing, &sealing2, sizeof sealing);
}

static void test_every_damaged_byte_is_noticed(void **state)
{
	Holdfast__ActivateIssued issued = HOLDFAST__ACTIVATE_ISSUED__INIT, *read_issued;
	struct fixture *f = *state;
	struct hf_errmsg message;
	char path[64];
	uint8_t *bytes;
	size_t length;

	issued.gateway = 0x1234567890abcdefull;
	assert_int_equal(hf_kept_set_activated(&f->kept, &issued, &message), 0);
	snprintf(path, sizeof path, "%s/activated", f->folder);
	assert_int_equal(hf_file_read(path, 4096, &bytes, &length, &message), 0);
	for (size_t i = 0; i < length; i++) {
		bytes[i] ^= 0x20;
		assert_int_equal(hf_file_replace(path, bytes, length, 0600, &message), 0);
		assert_int_equal(hf_kept_activated(&f->kept, &read_issued, &message), HF_ECORRUPT);
		assert_non_null(strstr(message.text, path));
		bytes[i] ^= 0x20;
	}
	for (size_t cut = 0; cut < length; cut++) {
		assert_int_equal(hf_file_replace(path, bytes, cut, 0600, &message), 0);
		assert_int_equal(hf_kept_activated(&f->kept, &read_issued, &message), HF_ECORRUPT);
	}
	free(bytes);
}

static void test_a_file_of_another_kind(void **state)
{
	struct fixture *f = *state;
	Holdfast__Signed *packet;
	struct hf_errmsg message;
	char from[64], to[64];

	assert_int_equal(hf_kept_set_epoch(&f->kept, 5, &message), 0);
	snprintf(from, sizeof from, "%s/epoch", f->folder);
	snprintf(to, sizeof to, "%s/document", f->folder);
	assert_int_equal(rename(from, to), 0);
	assert_int_equal(hf_kept_document(&f->kept, &packet, &message), HF_ECORRUPT);
}

static void test_access_marks_are_of_one_boot(void **state)
{
	static const struct hf_kept_access list[] = {{7, 1}, {8, 5}};
	static const struct hf_kept_place placed[] = {{7, 0}, {8, 1}};
	struct hf_kept_place places[4];
	struct hf_kept_newest newest;
	struct hf_kept_access read[4];
	struct fixture *f = *state;
	struct hf_errmsg message;

	assert_int_equal(hf_kept_places(&f->kept, places, 4), 0);
	assert_int_equal(hf_kept_set_places(&f->kept, placed, 2, &message), 0);
	assert_int_equal(hf_kept_places(&f->kept, places, 4), 2);
	assert_true(places[1].volume == placed[1].volume && places[1].tgtd == 1);
	hf_kept_newest(&f->kept, &newest);
	assert_int_equal(newest.generation, 0);
	newest = (struct hf_kept_newest){1, 2, 3, {4}};
	assert_int_equal(hf_kept_set_newest(&f->kept, &newest, &message), 0);
	memset(&newest, 0, sizeof newest);
	hf_kept_newest(&f->kept, &newest);
	assert_true(newest.incarnation == 1 && newest.generation == 2 && newest.sequence == 3 &&
		    newest.hash[0] == 4);
	assert_int_equal(
		hf_kept_set_access(&f->kept, 0, (const uint8_t *)"boot", 4, list, 2, &message), 0);
	assert_int_equal(hf_kept_access(&f->kept, 0, (const uint8_t *)"boot", 4, read, 4), 2);
	assert_memory_equal(read, list, sizeof list);
	assert_int_equal(hf_kept_access(&f->kept, 0, (const uint8_t *)"boot", 4, read, 1), 1);
	assert_int_equal(hf_kept_access(&f->kept, 0, (const uint8_t *)"tool", 4, read, 4), 0);
	assert_int_equal(hf_kept_access(&f->kept, 0, (const uint8_t *)"bo", 2, read, 4), 0);
}

static void test_endpoints_come_back(void **state)
{
	struct hf_endpoints out = {.text = {"127.0.0.1:7001", "provider.example:443"}, .count = 2};
	struct hf_endpoints in;
	struct fixture *f = *state;
	struct hf_errmsg message;
	char path[64];

	hf_kept_endpoints(&f->kept, &in);
	assert_int_equal(in.count, 0);
	assert_int_equal(hf_kept_set_endpoints(&f->kept, &out, &message), 0);
	hf_kept_endpoints(&f->kept, &in);
	assert_int_equal(in.count, 2);
	assert_string_equal(in.text[1], out.text[1]);
	/* What is no endpoint is left out, whoever wrote it. */
	strcpy(out.text[0], "no port");
	assert_int_equal(hf_kept_set_endpoints(&f->kept, &out, &message), 0);
	hf_kept_endpoints(&f->kept, &in);
	assert_int_equal(in.count, 1);
	assert_string_equal(in.text[0], out.text[1]);
	snprintf(path, sizeof path, "%s/endpoints", f->folder);
	assert_int_equal(truncate(path, 40), 0);
	hf_kept_endpoints(&f->kept, &in);
	assert_int_equal(in.count, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_nothing_is_kept_yet),    T(test_what_was_kept_comes_back),
		T(test_keys_stay_the_same),     T(test_every_damaged_byte_is_noticed),
		T(test_a_file_of_another_kind), T(test_access_marks_are_of_one_boot),
		T(test_endpoints_come_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
