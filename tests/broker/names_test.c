/* What may be passed to tgtd, and what an address entry covers (invariants 7 and 9). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "gateway/broker/names.h"

struct row {
	const char *text;
	bool valid;
};

static void expect(bool (*is_valid)(const char *), const struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (is_valid(rows[i].text) != rows[i].valid)
			fail_msg("\"%s\" must be %s", rows[i].text,
				 rows[i].valid ? "valid" : "refused");
}
#define EXPECT(is_valid, rows) expect(is_valid, rows, sizeof(rows) / sizeof((rows)[0]))

static void iscsi_names(void **state)
{
	static const struct row rows[] = {
		{"iqn.2026-11.org.example:a.b-c", true},
		{"iqn.2026-11.org", true},
		{"eui.0123456789abcdef", true},
		{"naa.0123456789abcdef", true},
		{"naa.0123456789abcdef0123456789abcdef", true},
		{"", false},
		{"iqn.", false},
		{"iqn.2026-11.", false},
		{"iqn.26-11.org.example", false},
		{"iqn.2026-11.org.example:a,b", false},
		{"iqn.2026-11.org.example:a b", false},
		{"iqn.2026-11.org.example:a\n", false},
		{"iqn.2026-11.org.example:a_b", false},
		{"iqn.2026-11.org.example:\xc3\xa4", false},
		{"eui.0123456789abcde", false},
		{"naa.0123456789abcdef0", false},
		{"ALL", false},
	};
	char longest[225];

	(void)state;
	EXPECT(hf_name_is_iscsi, rows);
	memset(longest, 'a', sizeof longest);
	memcpy(longest, "iqn.2026-11.", 12);
	longest[223] = '\0';
	assert_true(hf_name_is_iscsi(longest));
	longest[223] = 'a';
	longest[224] = '\0';
	assert_false(hf_name_is_iscsi(longest));
}

static void addresses(void **state)
{
	static const struct row rows[] = {
		{"ALL", true},
		{"10.0.0.1", true},
		{"10.0.0.0/8", true},
		{"::1", true},
		{"2001:db8::/32", true},
		{"127.0.0.0/31", true},
		{"", false},
		{"all", false},
		{"10.0.0", false},
		{"10.0.0.256", false},
		{"10.0.0.1/8", false},
		{"10.0.0.0/", false},
		{"10.0.0.0/33", false},
		{"10.0.0.0/32", false},
		{"0.0.0.0/0", false},
		{"10.0.0.0/-1", false},
		{"10.0.0.0/8,ALL", false},
		{"2001:db8::1/32", false},
		{"[::1]", false},
		{"host", false},
		{"10.0.0.0/8 ", false},
	};

	(void)state;
	EXPECT(hf_name_is_address, rows);
}

static void matches(void **state)
{
	(void)state;
	assert_true(hf_name_address_matches("ALL", "10.0.0.1"));
	assert_true(hf_name_address_matches("10.0.0.1", "10.0.0.1"));
	assert_false(hf_name_address_matches("10.0.0.1", "10.0.0.2"));
	assert_true(hf_name_address_matches("10.0.0.0/8", "10.255.0.2"));
	assert_false(hf_name_address_matches("10.0.0.0/8", "11.0.0.2"));
	assert_true(hf_name_address_matches("10.0.0.128/25", "10.0.0.129"));
	assert_false(hf_name_address_matches("10.0.0.128/25", "10.0.0.127"));
	assert_true(hf_name_address_matches("2001:db8::/32", "2001:db8:1::1"));
	assert_false(hf_name_address_matches("2001:db8::/32", "2001:db9::1"));
	assert_false(hf_name_address_matches("10.0.0.0/8", "::1"));
	assert_false(hf_name_address_matches("10.0.0.0/8", "?"));
}

static void portals(void **state)
{
	static const struct row rows[] = {
		{"127.0.0.1:3260", true},    {"0.0.0.0:1", true},
		{"[::1]:65535", true},       {"", false},
		{"127.0.0.1", false},        {"127.0.0.1:0", false},
		{"127.0.0.1:65536", false},  {"127.0.0.1:", false},
		{"127.0.0.1:-1", false},     {"[127.0.0.1]:3260", false},
		{"::1:3260", false},         {"[::1:3260", false},
		{"[]:3260", false},          {"host:3260", false},
		{"127.0.0.1:3260,1", false},
	};

	(void)state;
	EXPECT(hf_name_is_portal, rows);
}

static void accounts(void **state)
{
	static const struct row users[] = {
		{"anna", true},  {"iqn.2026-11.org:a", true},
		{"a=b", true},   {"", false},
		{"a b", false},  {"a,b", false},
		{"a\t", false},  {".hf-guard", false},
		{".hf-", false}, {"\xc3\xa4", false},
	};
	static const struct row serials[] = {
		{"vol-1", true}, {"", false}, {"a b", false}, {"a,b", false}, {"a/b", false}};
	char text[130];

	(void)state;
	EXPECT(hf_name_is_user, users);
	EXPECT(hf_name_is_serial, serials);
	memset(text, 'x', sizeof text);
	text[128] = '\0';
	assert_true(hf_name_is_secret(text));
	text[128] = 'x';
	text[129] = '\0';
	assert_false(hf_name_is_secret(text));
	text[64] = '\0';
	assert_true(hf_name_is_user(text));
	text[64] = 'x';
	text[65] = '\0';
	assert_false(hf_name_is_user(text));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(iscsi_names), cmocka_unit_test(addresses),
		cmocka_unit_test(matches),     cmocka_unit_test(portals),
		cmocka_unit_test(accounts),
	};

	return cmocka_run_group_tests_name("broker names", tests, NULL, NULL);
}
