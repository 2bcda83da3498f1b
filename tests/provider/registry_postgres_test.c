/* The registry's contract on PostgreSQL, and what only this database promises. registry_postgres.py
 * starts the server and says where it is; the server's process is stopped and continued here to
 * make it hang. */
#include "tests/provider/registry_contract.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include <libpq-fe.h>

static const char *url, *tcp_url;
static PGconn *plain; /* a connection beside the registry's */

static void run_sql(const char *sql)
{
	PGresult *result = PQexec(plain, sql);

	if (PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK)
		fail_msg("%s: %s", sql, PQerrorMessage(plain));
	PQclear(result);
}

static int number_of(const char *sql)
{
	PGresult *result = PQexec(plain, sql);
	int number = atoi(PQgetvalue(result, 0, 0));

	PQclear(result);
	return number;
}

static void prepare(void)
{
	run_sql("SET client_min_messages = error");
	run_sql("DROP SCHEMA IF EXISTS public CASCADE");
	run_sql("CREATE SCHEMA public");
}

static int open_database(uint64_t now_ms, struct hf_registry **reg, struct hf_errmsg *message)
{
	return hf_registry_open_postgres(url, now_ms, reg, message);
}

static void clean(void)
{
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- Two processes on one database ----------------------------------------------------------- */

static struct hf_registry *one, *two;

static int set_up(void **state)
{
	struct hf_reg_gateway gateway = {.id = 1, .state = HF_REG_GATEWAY_ACTIVE, .name = "a"};
	struct hf_reg_volume volume = {.id = 5, .gateway = 1, .name = "v"};
	struct hf_reg_placement placement = {.volume = 5, .gateway = 1, .desired = HF_REG_ATTACHED};
	struct hf_reg_info info;

	(void)state;
	prepare();
	assert_int_equal(open_database(1, &one, NULL), 0);
	assert_int_equal(open_database(2, &two, NULL), 0);
	hf_registry_set_process(two, 2);
	assert_int_equal(hf_registry_info(two, &info), 0);
	assert_int_equal(info.incarnation, 1);
	gateway.tenant = volume.tenant = info.tenant;
	assert_int_equal(hf_registry_gateway_insert(one, &gateway), 0);
	assert_int_equal(hf_registry_volume_insert(one, &volume), 0);
	assert_int_equal(hf_registry_placement_put(one, &placement), 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	hf_registry_close(one);
	hf_registry_close(two);
	return 0;
}

/* What a transaction read stays true until it ends: nobody else is in one, and who waits for that
 * is told that it is busy, soon. */
static void test_transactions_exclude_each_other(void **state)
{
	uint64_t began = now_ms();
	char value[8];

	(void)state;
	assert_int_equal(hf_registry_begin(one), 0);
	assert_int_equal(hf_registry_setting_put(one, "k", "1"), 0);
	assert_int_equal(hf_registry_begin(two), HF_EBUSY);
	assert_true(now_ms() - began < 3000);
	assert_int_equal(hf_registry_setting_get(two, "k", value, sizeof value), HF_ENOENT);
	assert_int_equal(hf_registry_end(one, 0), 0);
	assert_int_equal(hf_registry_begin(two), 0);
	assert_int_equal(hf_registry_setting_get(two, "k", value, sizeof value), 0);
	assert_int_equal(hf_registry_end(two, 0), 0);
}

/* Invariant 5: between the look at the epoch and the end of a holder's transaction no other process
 * is granted one. */
static void test_no_grant_inside_a_holders_transaction(void **state)
{
	struct hf_reg_placement p = {.volume = 5, .gateway = 1, .report = {.state = 2}};
	uint64_t epoch, next;

	(void)state;
	assert_int_equal(hf_registry_gateway_grant(one, 1, 0, 1, "v", &epoch), 0);
	assert_int_equal(hf_registry_begin(one), 0);
	assert_int_equal(hf_registry_placement_report(one, epoch, &p), 0);
	assert_int_equal(hf_registry_gateway_grant(two, 1, 0, 1, "v", &next), HF_EBUSY);
	assert_int_equal(hf_registry_end(one, 0), 0);
	assert_int_equal(hf_registry_gateway_grant(two, 1, 0, 1, "v", &next), 0);
	assert_int_equal(hf_registry_placement_report(one, epoch, &p), HF_EFENCED);
}

/* An error is not forgotten on the way to the end. */
static void test_failed_statement_spoils_the_transaction(void **state)
{
	struct hf_reg_volume twice = {.id = 5, .gateway = 1, .name = "other"};
	struct hf_reg_info info;
	char value[8];

	(void)state;
	hf_registry_info(one, &info);
	twice.tenant = info.tenant;
	assert_int_equal(hf_registry_begin(one), 0);
	assert_int_equal(hf_registry_setting_put(one, "k", "1"), 0);
	assert_int_equal(hf_registry_volume_insert(one, &twice), HF_EEXIST);
	assert_int_equal(hf_registry_end(one, 0), HF_EIO);
	assert_int_equal(hf_registry_setting_get(one, "k", value, sizeof value), HF_ENOENT);
}

/* Text that is no text is the caller's mistake, not the database's failure. */
static void test_text_is_utf8(void **state)
{
	(void)state;
	assert_int_equal(hf_registry_setting_put(one, "k", "\xff\xfe"), HF_EINVAL);
	assert_int_equal(hf_registry_setting_put(one, "k", "gr\xc3\xbc\xc3\x9f"), 0);
}

/* ---- Lost and found -------------------------------------------------------------------------- */

static void wait_ready(struct hf_registry *reg)
{
	uint64_t deadline = now_ms() + 10000;

	while (!hf_registry_ready(reg) && now_ms() < deadline)
		usleep(10000);
	assert_true(hf_registry_ready(reg));
}

static void cut_connections(void)
{
	run_sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
		"WHERE application_name = 'holdfast-provider'");
}

/* A connection that breaks costs a failed call; the next one is made in the background. */
static void test_reconnects(void **state)
{
	struct hf_reg_info info;
	int err;

	(void)state;
	cut_connections();
	err = hf_registry_info(one, &info);
	assert_int_equal(err, HF_ENOTREADY);
	assert_non_null(strstr(hf_registry_why(one), "lost"));
	wait_ready(one);
	assert_int_equal(hf_registry_info(one, &info), 0);
}

/* A transaction never goes on over another connection, and leaves nothing. */
static void test_broken_transaction_is_undone(void **state)
{
	char value[8];

	(void)state;
	assert_int_equal(hf_registry_begin(one), 0);
	assert_int_equal(hf_registry_setting_put(one, "k", "1"), 0);
	cut_connections();
	assert_int_equal(hf_registry_setting_put(one, "l", "2"), HF_ENOTREADY);
	assert_false(hf_registry_ready(one));
	assert_int_equal(hf_registry_setting_put(one, "m", "3"), HF_ENOTREADY);
	assert_int_equal(hf_registry_end(one, 0), HF_ENOTREADY);
	wait_ready(one);
	assert_int_equal(hf_registry_setting_get(one, "k", value, sizeof value), HF_ENOENT);
}

/* Whoever loses the connection at the commit is not told that nothing happened. */
static void test_lost_commit_is_unknown(void **state)
{
	(void)state;
	assert_int_equal(hf_registry_setting_put(two, "k", "0"), 0);
	assert_int_equal(hf_registry_begin(one), 0);
	assert_int_equal(hf_registry_setting_put(one, "k", "1"), 0);
	cut_connections();
	assert_int_equal(hf_registry_end(one, 0), HF_EUNKNOWN);
	assert_int_equal(hf_registry_setting_put(two, "k", "1"), HF_EUNKNOWN);
}

/* A database that hangs costs two seconds once; then calls fail at once until it answers again. */
static void test_hanging_server_costs_little(void **state)
{
	int backend = number_of("SELECT pid FROM pg_stat_activity WHERE query LIKE '%placements%' "
				"AND application_name = 'holdfast-provider' LIMIT 1");
	int server = atoi(getenv("HF_POSTGRES_PID"));
	struct hf_reg_info info;
	uint64_t began = now_ms(), once;

	(void)state;
	assert_true(backend > 0 && server > 0);
	kill(backend, SIGSTOP);
	kill(server, SIGSTOP);
	assert_int_equal(hf_registry_info(one, &info), HF_ENOTREADY);
	once = now_ms() - began;
	began = now_ms();
	for (int i = 0; i < 1000; i++)
		assert_int_equal(hf_registry_info(one, &info), HF_ENOTREADY);
	began = now_ms() - began;
	kill(server, SIGCONT);
	kill(backend, SIGCONT);
	assert_in_range(once, 1000, 3000);
	assert_in_range(began, 0, 500);
	wait_ready(one);
	assert_int_equal(hf_registry_info(one, &info), 0);
}

/* A process that stops inside a transaction does not keep the others out for ever. */
static void test_stuck_transaction_ends(void **state)
{
	uint64_t deadline = now_ms() + 10000;
	int err;

	(void)state;
	assert_int_equal(hf_registry_begin(one), 0);
	while ((err = hf_registry_begin(two)) == HF_EBUSY && now_ms() < deadline)
		;
	assert_int_equal(err, 0);
	assert_int_equal(hf_registry_end(two, 0), 0);
	assert_true(hf_registry_end(one, 0) != 0);
}

/* ---- What is refused at the start ------------------------------------------------------------ */

static void expect_refused(const char *where, int err, const char *text)
{
	struct hf_errmsg message = {""};
	struct hf_registry *reg;

	assert_int_equal(hf_registry_open_postgres(where, 1, &reg, &message), err);
	if (!strstr(message.text, text))
		fail_msg("\"%s\" says nothing of \"%s\"", message.text, text);
	assert_null(strstr(message.text, "secret"));
}

/* What is reported as done is on disk: a server that does not promise it is no registry. */
static void test_undurable_server_is_refused(void **state)
{
	(void)state;
	run_sql("ALTER ROLE holdfast SET synchronous_commit = off");
	expect_refused(url, HF_EUNSUPPORTED, "synchronous_commit");
	run_sql("ALTER ROLE holdfast RESET synchronous_commit");
	run_sql("ALTER SYSTEM SET fsync = off");
	run_sql("SELECT pg_reload_conf()");
	for (int i = 0; i < 500 && number_of("SELECT (current_setting('fsync') = 'on')::int"); i++)
		usleep(10000);
	expect_refused(url, HF_EUNSUPPORTED, "fsync");
	run_sql("ALTER SYSTEM RESET fsync");
	run_sql("SELECT pg_reload_conf()");
	for (int i = 0; i < 500 && !number_of("SELECT (current_setting('fsync') = 'on')::int"); i++)
		usleep(10000);
}

static void write_file(const char *path, const char *text, mode_t mode)
{
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	fputs(text, file);
	fclose(file);
	assert_int_equal(chmod(path, mode), 0);
}

/* The password may lie in a file of its own, which others must not read, and is never told. */
static void test_password_from_a_file(void **state)
{
	char path[] = "/tmp/hf-registry-url-XXXXXX", where[64];
	struct hf_errmsg message = {""};
	struct hf_registry *reg;
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	prepare();
	snprintf(where, sizeof where, "postgres:%s", path);
	write_file(path, tcp_url, 0644);
	expect_refused(where, HF_EACCES, path);
	write_file(path, tcp_url, 0600);
	if (hf_registry_open_postgres(where, 1, &reg, &message) != 0)
		fail_msg("%s", message.text);
	hf_registry_close(reg);
	unlink(path);
	expect_refused(where, HF_ENOENT, path);
	expect_refused("postgres://u:secret@127.0.0.1:1/x", HF_ENOTREADY, "127.0.0.1");
	expect_refused("postgres://u:sec/ret@host:1/secret", HF_EINVAL, "postgres://");
	expect_refused("postgres://u:secret@[", HF_EINVAL, "postgres://");
	expect_refused("dbname=secret nonsense", HF_EINVAL, "postgres://");
}

int main(void)
{
	static const struct registry_implementation postgres = {
		.name = "registry on PostgreSQL",
		.prepare = prepare,
		.open = open_database,
		.clean = clean,
	};
#define PAIR_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		PAIR_TEST(test_transactions_exclude_each_other),
		PAIR_TEST(test_no_grant_inside_a_holders_transaction),
		PAIR_TEST(test_failed_statement_spoils_the_transaction),
		PAIR_TEST(test_text_is_utf8),
		PAIR_TEST(test_reconnects),
		PAIR_TEST(test_broken_transaction_is_undone),
		PAIR_TEST(test_lost_commit_is_unknown),
		PAIR_TEST(test_hanging_server_costs_little),
		PAIR_TEST(test_stuck_transaction_ends),
		cmocka_unit_test(test_undurable_server_is_refused),
		cmocka_unit_test(test_password_from_a_file),
	};
	int failed;

	url = getenv("HF_POSTGRES");
	tcp_url = getenv("HF_POSTGRES_TCP");
	if (!url || !tcp_url) {
		puts("skipped: run by registry_postgres.py");
		return 77;
	}
	plain = PQconnectdb(url);
	if (PQstatus(plain) != CONNECTION_OK) {
		puts(PQerrorMessage(plain));
		return 1;
	}
	failed = registry_contract_run(&postgres);
	failed += cmocka_run_group_tests_name("PostgreSQL itself", tests, NULL, NULL);
	PQfinish(plain);
	return failed;
}
