/* The registry's contract on SQLite, and what only this implementation promises: a file for nobody
 * else, a write-ahead log that is synced, and no touching of a newer schema. */
#include "tests/provider/registry_contract.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include <sqlite3.h>

static char folder[64], path[80];

static void prepare(void)
{
	snprintf(folder, sizeof folder, "/tmp/hf-registry-XXXXXX");
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof path, "%s/r.db", folder);
}

static int open_database(uint64_t now_ms, struct hf_registry **reg, struct hf_errmsg *message)
{
	return hf_registry_open_sqlite(path, now_ms, reg, message);
}

static void clean(void)
{
	static const char *const ends[] = {"", "-wal", "-shm"};
	char name[96];

	for (int i = 0; i < 3; i++) {
		snprintf(name, sizeof name, "%s%s", path, ends[i]);
		unlink(name);
	}
	rmdir(folder);
}

static int set_up(void **state)
{
	(void)state;
	prepare();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	clean();
	return 0;
}

static void run_sql(const char *sql)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

/* A database of the schema that the first release had opens, whole. */
static void test_released_schema_opens(void **state)
{
	static char sql[16384];
	struct hf_registry *reg;
	struct hf_reg_info info;
	struct hf_reg_gateway gateway;
	struct hf_reg_volume volume;
	FILE *file = fopen(GOLDEN_FOLDER "/registry-2.sql", "re");

	(void)state;
	assert_non_null(file);
	sql[fread(sql, 1, sizeof sql - 1, file)] = '\0';
	fclose(file);
	run_sql(sql);
	assert_int_equal(open_database(1, &reg, NULL), 0);
	assert_int_equal(hf_registry_info(reg, &info), 0);
	assert_true(info.schema > 2 && info.incarnation == 1000 && info.tenant == 77);
	assert_int_equal(hf_registry_gateway_find(reg, 77, "gw", &gateway), 0);
	assert_true(gateway.epoch == 42 && gateway.process == 0);
	assert_int_equal(hf_registry_volume_find(reg, 77, "data", &volume), 0);
	assert_int_equal(volume.gateway, gateway.id);
	hf_registry_close(reg);
}

/* Encrypted secrets and all: the file is the service's own. */
static void test_file_is_private(void **state)
{
	struct hf_registry *reg;
	struct stat st;
	mode_t mask = umask(0);

	(void)state;
	assert_int_equal(open_database(1, &reg, NULL), 0);
	umask(mask);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	hf_registry_close(reg);
}

/* An older program leaves a newer database alone and says so. */
static void test_newer_schema_is_refused(void **state)
{
	struct hf_errmsg message = {""};
	struct hf_registry *reg;

	(void)state;
	assert_int_equal(open_database(1, &reg, NULL), 0);
	hf_registry_close(reg);
	run_sql("UPDATE meta SET schema = 999");
	assert_int_equal(open_database(1, &reg, &message), HF_EUNSUPPORTED);
	assert_non_null(strstr(message.text, "999"));
}

/* Something else than a database is refused with its name. */
static void test_garbage_is_refused(void **state)
{
	struct hf_errmsg message = {""};
	struct hf_registry *reg;
	FILE *file = fopen(path, "we");

	(void)state;
	assert_non_null(file);
	for (int i = 0; i < 1000; i++)
		fputs("not a database ", file);
	fclose(file);
	assert_int_equal(open_database(1, &reg, &message), HF_ECORRUPT);
	assert_non_null(strstr(message.text, path));
}

/* A folder that does not exist. */
static void test_missing_folder_is_refused(void **state)
{
	struct hf_errmsg message = {""};
	struct hf_registry *reg;

	(void)state;
	assert_int_equal(hf_registry_open_sqlite("/nonexistent/r.db", 1, &reg, &message),
			 HF_ENOENT);
	assert_non_null(strstr(message.text, "/nonexistent/r.db"));
}

int main(void)
{
	static const struct registry_implementation sqlite = {
		.name = "registry on SQLite",
		.prepare = prepare,
		.open = open_database,
		.clean = clean,
	};
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_released_schema_opens, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_file_is_private, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_newer_schema_is_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_garbage_is_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_missing_folder_is_refused, set_up, tear_down),
	};
	int failed = registry_contract_run(&sqlite);

	return failed + cmocka_run_group_tests_name("SQLite itself", tests, NULL, NULL);
}
