/* tgtd's listing: read as it is, cut anywhere it is refused, and an initiator that writes lines
 * into its alias cannot add or change a target (invariants 7 and 9). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/broker/tgt_show.h"

#define HEAD(tid, name, state)                                                                     \
	"Target " tid ": " name "\n    System information:\n        Driver: iscsi\n"               \
	"        State: " state "\n        Nop interval: 0\n        Nop count: 0\n"                \
	"    I_T nexus information:\n"
#define NEXUS(sid, alias)                                                                          \
	"        I_T nexus: " sid "\n"                                                             \
	"            Initiator: iqn.2026-11.org.example:host alias: " alias "\n"                   \
	"            Connection: 7\n                IP Address: 10.0.0.9\n"
#define LUNS "    LUN information:\n"
#define LUN(number, path, online)                                                                  \
	"        LUN: " number "\n            Type: disk\n            SCSI ID: IET\n"              \
	"            SCSI SN: x\n            Size: 67 MB, Block size: 512\n"                       \
	"            Online: " online "\n            Removable media: No\n"                        \
	"            Backing store type: holdfast\n            Backing store path: " path "\n"     \
	"            Backing store flags: \n"
#define TAIL "    Account information:\n    ACL information:\n"

static const char good[] = HEAD("1", "iqn.2026-11.org.example:one", "ready") NEXUS("3", "host")
	NEXUS("12", "none") LUNS LUN("0", "None", "Yes") LUN("1", "vol-00000000000000a1", "No")
		LUN("2", "/dev/sda", "Yes") "    Account information:\n        .hf-guard\n        "
					    "anna\n        back (outgoing)\n"
					    "    ACL information:\n        10.0.0.0/8\n        "
					    "iqn.2026-11.org.example:host\n" HEAD(
						    "7", "iqn.2026-11.org.example:two", "offline")
						    LUNS TAIL;

static void a_listing(void **test_state)
{
	struct hf_tgt_state state;
	struct hf_tgt_target *target;

	(void)test_state;
	assert_int_equal(hf_tgt_show_parse(good, &state, NULL), 0);
	assert_int_equal(state.target_count, 2);
	target = hf_tgt_find(&state, "iqn.2026-11.org.example:one");
	assert_non_null(target);
	assert_int_equal(target->tid, 1);
	assert_true(target->ready);
	assert_int_equal(target->session_count, 2);
	assert_int_equal(target->sessions[1].sid, 12);
	assert_int_equal(target->sessions[1].cid, 7);
	assert_string_equal(target->sessions[1].initiator, "iqn.2026-11.org.example:host");
	assert_string_equal(target->sessions[1].address, "10.0.0.9");
	assert_int_equal(target->lun_count, 3);
	assert_int_equal(target->luns[1].volume, 0xa1);
	assert_false(target->luns[1].online);
	assert_int_equal(target->luns[2].volume, 0);
	assert_int_equal(target->account_count, 2);
	assert_string_equal(target->accounts[1].user, "anna");
	assert_string_equal(target->outgoing, "back");
	assert_int_equal(target->acl_count, 2);
	assert_string_equal(target->acls[1].entry, "iqn.2026-11.org.example:host");
	assert_false(state.targets[1].ready);
	assert_null(hf_tgt_find(&state, "iqn.2026-11.org.example:three"));
	hf_tgt_state_free(&state);
	assert_int_equal(hf_tgt_show_parse("", &state, NULL), 0);
	assert_int_equal(state.target_count, 0);
}

/* A listing that ends early never hides a target's accounts or access list unnoticed. */
static void cut_listings(void **test_state)
{
	struct hf_tgt_state state;
	char text[sizeof good];

	(void)test_state;
	for (size_t length = 1; length < sizeof good - 1; length++) {
		memcpy(text, good, length);
		text[length] = '\0';
		/* What still reads as whole ends inside a target's access list. */
		if (hf_tgt_show_parse(text, &state, NULL) == 0) {
			assert_non_null(strstr(text, "ACL information:"));
			hf_tgt_state_free(&state);
		}
	}
}

static void expect_refused(const char *text)
{
	struct hf_errmsg message = {""};
	struct hf_tgt_state state;

	assert_int_equal(hf_tgt_show_parse(text, &state, &message), HF_EPROTO);
	assert_non_null(strstr(message.text, "line"));
	assert_int_equal(state.target_count, 0);
}

/* An alias may hold line ends. Whole parts that it adds stand where tgtd's own follow, or make a
 * second target of a number or name that is there. */
static void forged_alias(void **test_state)
{
	(void)test_state;
	expect_refused(HEAD("1", "iqn.2026-11.org.example:one", "ready") NEXUS("3", "x\n" LUNS)
			       LUNS TAIL);
	expect_refused(HEAD("1", "iqn.2026-11.org.example:one", "ready") NEXUS(
		"3", "x\n" LUNS TAIL HEAD("1", "iqn.2026-11.org.example:evil", "ready")) LUNS TAIL);
	expect_refused(HEAD("2", "iqn.2026-11.org.example:two",
			    "ready") LUNS TAIL HEAD("1", "iqn.2026-11.org.example:one", "ready")
			       NEXUS("3", "x\n" LUNS TAIL HEAD("2", "iqn.2026-11.org.example:evil",
							       "ready")) LUNS TAIL);
	expect_refused(HEAD("1", "iqn.2026-11.org.example:one", "ready")
			       NEXUS("3", "x\n    ACL information:\n        ALL") LUNS TAIL);
	expect_refused(HEAD("1", "iqn.2026-11.org.example:one", "ready")
			       NEXUS("3", "x\nTarget 9: iqn.2026-11.org.example:evil") LUNS TAIL);
}

static void nonsense(void **test_state)
{
	char *line = malloc(8192);

	(void)test_state;
	expect_refused("hello\n");
	expect_refused("Target x: iqn\n");
	expect_refused("Target 1: \n");
	expect_refused("Target 99999999999: iqn\n");
	expect_refused("Target 1: a\n    LUN information:\n");
	expect_refused(HEAD("1", "a", "ready") "    Nothing: x\n");
	expect_refused(HEAD("1", "a", "ready") LUNS "            Online: Yes\n");
	expect_refused(HEAD("1", "a", "ready") LUNS "        LUN: -1\n");
	memset(line, 'a', 8191);
	line[8191] = '\0';
	memcpy(line, "Target 1: ", 10);
	expect_refused(line);
	free(line);
}

static void portals(void **test_state)
{
	const char *at = "Portal: 127.0.0.1:45672,1\nother\nPortal: [::1]:3260,1\nPortal: \n";
	char portal[32];

	(void)test_state;
	assert_true(hf_tgt_portal_next(&at, portal, sizeof portal));
	assert_string_equal(portal, "127.0.0.1:45672");
	assert_true(hf_tgt_portal_next(&at, portal, sizeof portal));
	assert_string_equal(portal, "[::1]:3260");
	assert_false(hf_tgt_portal_next(&at, portal, sizeof portal));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_listing),    cmocka_unit_test(cut_listings),
		cmocka_unit_test(forged_alias), cmocka_unit_test(nonsense),
		cmocka_unit_test(portals),
	};

	return cmocka_run_group_tests_name("tgtd's listing", tests, NULL, NULL);
}
