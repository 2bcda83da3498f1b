/* Promise: the picture in docs/protocol/channel.md is the table both sides obey (session_rules.c),
 * row by row. Usage: test_proto_rules FILE. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "proto/session.h"

#define HEADING "## What may travel when"

static const char *document;

static void format_row(const struct hf_session_rule *rule, char *row, size_t size)
{
	size_t used;
	bool first = true;

	used = (size_t)snprintf(row, size, "| %s | %s | %s | ", rule->message,
				rule->from == HF_SIDE_GATEWAY ? "gateway" : "provider",
				rule->kind == HF_SESSION_MANAGEMENT ? "management" : "activation");
	for (unsigned state = 0; state < HF_SESSION_ENDED; state++) {
		if (!(rule->states & (1u << state)))
			continue;
		used += (size_t)snprintf(row + used, size - used, "%s%s", first ? "" : ", ",
					 hf_session_state_text((enum hf_session_state)state));
		first = false;
	}
	snprintf(row + used, size - used, " | %s |\n",
		 rule->next < 0 ? "the same"
				: hf_session_state_text((enum hf_session_state)rule->next));
}

static void test_the_document_shows_the_table(void **state)
{
	static char text[200000];
	FILE *file = fopen(document, "r");
	unsigned rows = 0;
	char *section, *end;
	char row[300];

	(void)state;
	assert_non_null(file);
	assert_true(fread(text, 1, sizeof text - 1, file) > 0);
	fclose(file);
	section = strstr(text, HEADING);
	assert_non_null(section);
	end = strstr(section + strlen(HEADING), "\n## ");
	if (end)
		*end = '\0';
	for (unsigned i = 0; i < hf_session_rule_count; i++) {
		format_row(&hf_session_rules[i], row, sizeof row);
		if (!strstr(section, row))
			fail_msg("the document lacks: %s", row);
	}
	for (char *at = section; (at = strstr(at, "\n| ")) != NULL; at++)
		rows++;
	assert_int_equal(rows, hf_session_rule_count + 2); /* with its head and the rule below */
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_document_shows_the_table),
	};

	if (argc != 2) {
		fprintf(stderr, "usage: %s FILE\n", argv[0]);
		return 2;
	}
	document = argv[1];
	return cmocka_run_group_tests(tests, NULL, NULL);
}
