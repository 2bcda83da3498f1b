/* An initiator that tries to get in without the secret, as often as it can, for rotation.py.
 * Arguments: the target's URL without a user, the CHAP user. Until standard input ends it logs in
 * without CHAP, with a wrong secret, as a wrong user and with the guard's name; then it tells how
 * often each was refused. It ends with 1 as soon as one is let in. */
#include <iscsi/iscsi.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define KINDS 4

static const char *const kinds[KINDS] = {"no CHAP", "wrong secret", "wrong user", "guard"};

/* 0: let in; 1: refused by the target; -1: the connection itself failed. */
static int try_once(const char *url_text, const char *user, const char *secret)
{
	struct iscsi_context *iscsi = iscsi_create_context("iqn.2026-11.org.example:hammer");
	struct iscsi_url *url = iscsi_parse_full_url(iscsi, url_text);
	int result = -1;

	iscsi_set_noautoreconnect(iscsi, 1);
	iscsi_set_targetname(iscsi, url->target);
	iscsi_set_session_type(iscsi, ISCSI_SESSION_NORMAL);
	if (user)
		iscsi_set_initiator_username_pwd(iscsi, user, secret);
	if (iscsi_connect_sync(iscsi, url->portal) == 0)
		result = iscsi_login_sync(iscsi) == 0 ? 0 : 1;
	iscsi_disconnect(iscsi);
	iscsi_destroy_url(url);
	iscsi_destroy_context(iscsi);
	return result;
}

int main(int argc, char **argv)
{
	const char *const users[KINDS] = {NULL, argc == 3 ? argv[2] : "", "somebody", ".hf-guard"};
	unsigned long refused[KINDS] = {0}, failed = 0;
	struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};

	if (argc != 3)
		return 2;
	for (unsigned kind = 0; poll(&input, 1, 0) == 0; kind = (kind + 1) % KINDS) {
		int result = try_once(argv[1], users[kind], "guessed-secret");

		if (result == 0) {
			printf("LET IN: %s, after %lu tries of that kind\n", kinds[kind],
			       refused[kind]);
			return 1;
		}
		if (result < 0)
			failed++;
		else
			refused[kind]++;
	}
	for (unsigned kind = 0; kind < KINDS; kind++)
		printf("%lu ", refused[kind]);
	printf("%lu\n", failed);
	return 0;
}
