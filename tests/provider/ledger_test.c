/* The signer's ledger: batches of orders with one sync, the files of earlier versions, and damage
 * to one entry. It syncs with calls that this program counts. */
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/ids.h"
#include "tests/provider/signer_fixture.h"

static unsigned syncs;

/* The library's calls come here instead of libc's. */
int fsync(int fd)
{
	syncs++;
	return (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
	syncs++;
	return (int)syscall(SYS_fdatasync, fd);
}

/* ---- Batches ---- */

#define ORDERS_MAX 1025u

struct orders {
	Holdfast__SignerOrder order[ORDERS_MAX], *pointers[ORDERS_MAX];
	Holdfast__SignerDocument document[ORDERS_MAX];
	uint8_t bytes[ORDERS_MAX][256];
	size_t count;
};

static struct orders orders;

static void add_order(uint64_t gateway, uint64_t generation, const char *url)
{
	size_t i = orders.count++;
	Holdfast__Document document = HOLDFAST__DOCUMENT__INIT;
	Holdfast__Store store = HOLDFAST__STORE__INIT;

	assert_true(i < ORDERS_MAX);
	document.incarnation = 1;
	document.generation = generation;
	document.store = &store;
	store.url = (char *)(uintptr_t)url;
	holdfast__signer_order__init(&orders.order[i]);
	holdfast__signer_document__init(&orders.document[i]);
	orders.pointers[i] = &orders.order[i];
	orders.order[i].kind_case = HOLDFAST__SIGNER_ORDER__KIND_DOCUMENT;
	orders.order[i].document = &orders.document[i];
	orders.document[i].tenant = TENANT;
	orders.document[i].gateway = gateway;
	orders.document[i].sealing_key = sf_binary(sf_sealing.public_key, HF_KEY_BYTES);
	orders.document[i].document =
		sf_binary(orders.bytes[i], holdfast__document__pack(&document, orders.bytes[i]));
}

static Holdfast__SignerAnswer *ask_batch(void)
{
	Holdfast__SignerRequest request = HOLDFAST__SIGNER_REQUEST__INIT;
	Holdfast__SignerBatch batch = HOLDFAST__SIGNER_BATCH__INIT;
	Holdfast__SignerAnswer *answer;

	batch.orders = orders.pointers;
	batch.n_orders = orders.count;
	request.kind_case = HOLDFAST__SIGNER_REQUEST__KIND_BATCH;
	request.batch = &batch;
	answer = sf_ask(&request);
	orders.count = 0;
	return answer;
}

static void certify(uint64_t gateway)
{
	struct hf_sign_key key;
	Holdfast__SignerAnswer *answer;

	hf_sign_key_make(&key);
	answer = sf_certify_gateway(TENANT, gateway, &key, key.public_key, sf_sealing.public_key);
	assert_int_equal(answer->error, 0);
	sf_drop(answer);
}

static uint64_t sequence_in(const Holdfast__SignerAnswer *answer, size_t i, uint64_t gateway)
{
	Holdfast__Change *change =
		sf_change_in(&answer->results[i]->signed_change, answer->signer_key.data, gateway);
	uint64_t sequence = change->sequence;

	holdfast__change__free_unpacked(change, NULL);
	return sequence;
}

/* Each order of a batch stands for itself, is answered in its place, and counts in its gateway's
 * sequence; asked again, also after a restart, it gets the same answer. */
static void test_orders_stand_for_themselves(void **state)
{
	Holdfast__SignerAnswer *first, *again;

	(void)state;
	certify(1);
	certify(2);
	for (int i = 0; i < 2; i++) {
		add_order(1, 5, "dir:/a");
		add_order(3, 5, "dir:/a"); /* never certified */
		add_order(2, 7, "dir:/a");
		add_order(2, 6, "dir:/a"); /* older than the one before it */
		add_order(1, 6, "dir:/b");
		if (i == 0)
			first = ask_batch();
		hf_signer_close(sf_signer);
		sf_open_signer();
	}
	assert_int_equal(first->error, 0);
	assert_int_equal(first->n_results, 5);
	assert_int_equal(sequence_in(first, 0, 1), 1);
	assert_int_equal(-first->results[1]->error, HF_ENOENT);
	assert_true(strlen(first->results[1]->reason) > 0);
	assert_int_equal(sequence_in(first, 2, 2), 1);
	assert_int_equal(-first->results[3]->error, HF_ESTALE);
	assert_int_equal(first->results[3]->signed_change.len, 0);
	assert_int_equal(sequence_in(first, 4, 1), 2);
	again = ask_batch();
	assert_int_equal(-again->results[0]->error, HF_ESTALE); /* 6 was signed since */
	for (size_t i = 2; i < 5; i += 2) {
		assert_int_equal(again->results[i]->error, 0);
		assert_int_equal(again->results[i]->signed_change.len,
				 first->results[i]->signed_change.len);
		assert_memory_equal(again->results[i]->signed_change.data,
				    first->results[i]->signed_change.data,
				    first->results[i]->signed_change.len);
	}
	sf_drop(first);
	sf_drop(again);
}

/* A batch is one sync, however long; a single order is one as well. */
static void test_a_batch_is_one_sync(void **state)
{
	Holdfast__SignerAnswer *answer;

	(void)state;
	for (uint64_t gateway = 1; gateway <= 300; gateway++)
		certify(gateway);
	for (uint64_t generation = 1; generation <= 2; generation++) {
		for (uint64_t gateway = 1; gateway <= 300; gateway++)
			add_order(gateway, generation, "dir:/a");
		syncs = 0;
		answer = ask_batch();
		assert_int_equal(answer->error, 0);
		assert_int_equal(answer->n_results, 300);
		/* One for the write-ahead log; now and then it is taken into the database. */
		assert_in_range(syncs, 1, 3);
		sf_drop(answer);
	}
}

/* Invariant 9: a batch that is empty or past its bound is refused as a whole. */
static void test_batch_bounds(void **state)
{
	Holdfast__SignerAnswer *answer = ask_batch();

	(void)state;
	assert_int_equal(-answer->error, HF_EINVAL);
	sf_drop(answer);
	certify(1);
	for (unsigned i = 0; i <= HF_SIGNER_BATCH_MAX; i++)
		add_order(1, i + 1, "dir:/a");
	answer = ask_batch();
	assert_int_equal(-answer->error, HF_EINVAL);
	assert_int_equal(answer->n_results, 0);
	sf_drop(answer);
	add_order(1, 1, "dir:/a");
	answer = ask_batch(); /* nothing of the refused one was signed */
	assert_int_equal(answer->results[0]->error, 0);
	assert_int_equal(sequence_in(answer, 0, 1), 1);
	sf_drop(answer);
}

/* ---- Damage, and the files of earlier versions ---- */

static void run_sql(const char *sql)
{
	char path[96];
	sqlite3 *db;

	snprintf(path, sizeof path, "%s/ledger.db", sf_folder);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

/* An entry that was damaged stops that gateway, by name, and no other; it is never guessed. */
static void test_damaged_entry_is_refused(void **state)
{
	Holdfast__SignerAnswer *answer;
	char id[HF_ID_TEXT_MAX];

	(void)state;
	certify(1);
	certify(2);
	hf_signer_close(sf_signer);
	run_sql("UPDATE gateways SET entry = CAST(substr(entry, 1, 20) || x'ee' || "
		"substr(entry, 22) AS BLOB) WHERE gateway = 1");
	sf_open_signer();
	add_order(1, 1, "dir:/a");
	add_order(2, 1, "dir:/a");
	answer = ask_batch();
	assert_int_equal(-answer->results[0]->error, HF_ECORRUPT);
	assert_non_null(strstr(answer->results[0]->reason, hf_id_format(HF_ID_GATEWAY, 1, id)));
	assert_int_equal(answer->results[1]->error, 0);
	sf_drop(answer);
}

/* Two signers on one folder would sign with the same sequence. */
static void test_one_signer_a_folder(void **state)
{
	struct hf_signer_config config = {sf_folder, 30, 30, true};
	struct hf_errmsg message = {""};
	struct hf_signer *second;

	(void)state;
	assert_int_equal(hf_signer_open(&config, &second, &message), HF_EBUSY);
	assert_true(message.text[0]);
}

static void old_path(uint64_t gateway, char path[128])
{
	char id[HF_ID_TEXT_MAX];

	snprintf(path, 128, "%s/gateways/%s", sf_folder, hf_id_format(HF_ID_GATEWAY, gateway, id));
}

/* As the version before wrote it. */
static void write_old_entry(uint64_t gateway, uint64_t generation, bool damaged)
{
	Holdfast__SignerLedger entry = HOLDFAST__SIGNER_LEDGER__INIT;
	uint8_t bytes[512] = "holdfast-ledger\1";
	char path[128];
	size_t length;
	FILE *file;

	entry.tenant = TENANT;
	entry.gateway = gateway;
	entry.identity_key = sf_binary(sf_identity.public_key, HF_KEY_BYTES);
	entry.sealing_key = sf_binary(sf_sealing.public_key, HF_KEY_BYTES);
	entry.sequence = 40 + generation;
	entry.incarnation = 1;
	entry.generation = generation;
	length = holdfast__signer_ledger__pack(&entry, bytes + 20);
	hf_put_le32(bytes + 16, hf_crc32c(0, bytes + 20, length) ^ damaged);
	old_path(gateway, path);
	file = fopen(path, "we");
	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, 20 + length, file), 20 + length);
	fclose(file);
}

static void make_old_folder(void)
{
	char path[96];

	snprintf(path, sizeof path, "%s/gateways", sf_folder);
	assert_int_equal(mkdir(path, 0700), 0);
}

static void expect_imported(uint64_t next_sequence)
{
	Holdfast__SignerAnswer *answer;

	add_order(1, next_sequence - 40, "dir:/a");
	add_order(2, next_sequence - 40, "dir:/a");
	add_order(3, next_sequence - 40, "dir:/a");
	answer = ask_batch();
	assert_int_equal(sequence_in(answer, 0, 1), next_sequence);
	assert_int_equal(-answer->results[1]->error, HF_ECORRUPT);
	assert_int_equal(sequence_in(answer, 2, 3), next_sequence);
	sf_drop(answer);
}

/* What earlier versions wrote goes on where it was: sequences and generations count on, a damaged
 * file still stops its gateway only. A start that was cut short before the folder got its other
 * name takes nothing back that was signed since. */
static void test_old_files_are_taken_over(void **state)
{
	char folder[96], imported[96];
	struct stat st;

	(void)state;
	snprintf(folder, sizeof folder, "%s/gateways", sf_folder);
	snprintf(imported, sizeof imported, "%s/gateways.imported", sf_folder);
	hf_signer_close(sf_signer);
	make_old_folder();
	for (uint64_t gateway = 1; gateway <= 3; gateway++)
		write_old_entry(gateway, 9, gateway == 2);
	sf_open_signer();
	assert_int_not_equal(stat(folder, &st), 0);
	assert_int_equal(stat(imported, &st), 0);
	expect_imported(50);
	hf_signer_close(sf_signer);
	assert_int_equal(rename(imported, folder), 0);
	sf_open_signer();
	assert_int_not_equal(stat(folder, &st), 0);
	expect_imported(51);
}

int main(void)
{
#define LEDGER_TEST(name) cmocka_unit_test_setup_teardown(name, sf_set_up, sf_tear_down)
	const struct CMUnitTest tests[] = {
		LEDGER_TEST(test_orders_stand_for_themselves),
		LEDGER_TEST(test_a_batch_is_one_sync),
		LEDGER_TEST(test_batch_bounds),
		LEDGER_TEST(test_damaged_entry_is_refused),
		LEDGER_TEST(test_one_signer_a_folder),
		LEDGER_TEST(test_old_files_are_taken_over),
	};

	return cmocka_run_group_tests_name("ledger", tests, NULL, NULL);
}
