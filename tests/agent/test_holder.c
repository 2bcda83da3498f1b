/* A holder that was taken over (invariants 4, 5 and 7): it speaks to the real agent in a process of
 * its own, over the provider's own TLS, has every change that was ever signed for anybody, and no
 * signing key. What it forges, replays, reorders or passes on from other gateways and tenants takes
 * no effect: what the agent keeps does not change by a byte. What it withholds comes with the next
 * holder, to whom the gateway says what it has. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/file.h"
#include "net/identity.h"
#include "tests/agent/holder.h"

/* ---- Tests ---- */

static void test_forged_changes(void **state)
{
	struct holder *h = *state;
	struct forgery f = holder_honest(h, IN_FORCE + 1), own = f;
	struct snapshot before;
	Holdfast__Signed *packet;

	holder_look(h, &before);
	own.key = &h->own;
	assert_int_equal(holder_apply(h, holder_document(&own)), HF_EAUTH);
	/* The signer's name on the attacker's signature. */
	packet = holder_document(&own);
	hf_sign_key_id(h->child.provider.signer.public_key, packet->key.data);
	assert_int_equal(holder_apply(h, packet), HF_EAUTH);
	/* Each byte of a true signature, and of what it covers. */
	for (size_t i = 0; i < HF_SIGNATURE_BYTES; i += 9) {
		packet = holder_document(&f);
		packet->signature.data[i] ^= 1;
		assert_int_equal(holder_apply(h, packet), HF_EAUTH);
	}
	packet = holder_document(&f);
	for (size_t i = 0; i < packet->body.len; i++) {
		packet->body.data[i] ^= 0x40;
		assert_int_equal(holder_send(h, HOLDFAST__REQUEST__KIND_APPLY, packet), HF_EAUTH);
		packet->body.data[i] ^= 0x40;
	}
	/* As another kind of request than it was signed for. */
	assert_int_not_equal(holder_send(h, HOLDFAST__REQUEST__KIND_ACT, packet), 0);
	assert_int_not_equal(holder_send(h, HOLDFAST__REQUEST__KIND_CONFIRM, packet), 0);
	assert_int_not_equal(holder_send(h, HOLDFAST__REQUEST__KIND_ROTATE, packet), 0);
	holdfast__signed__free_unpacked(packet, NULL);
	holder_unchanged(h, &before);
	holder_expect_well(h, IN_FORCE + 1);
}

/* Changes that the same signer truly signed, for another gateway, another tenant, or for all. */
static void test_changes_of_others(void **state)
{
	struct holder *h = *state;
	struct forgery f = holder_honest(h, IN_FORCE + 1);
	struct snapshot before;

	holder_look(h, &before);
	f.gateway = FAKE_GATEWAY + 1;
	assert_int_equal(holder_apply(h, holder_document(&f)), HF_EAUTH);
	f.gateway = FAKE_GATEWAY;
	f.tenant = FAKE_TENANT + 1;
	assert_int_equal(holder_apply(h, holder_document(&f)), HF_EAUTH);
	f.tenant = f.gateway = 0;
	assert_int_equal(holder_apply(h, holder_document(&f)), HF_EAUTH);
	holder_unchanged(h, &before);
	holder_expect_well(h, IN_FORCE + 1);
}

static void test_replayed_and_reordered_changes(void **state)
{
	struct holder *h = *state;
	struct forgery old = holder_honest(h, IN_FORCE + 1), newer = holder_honest(h, IN_FORCE + 2),
		       f;
	struct snapshot before;

	assert_int_equal(holder_apply(h, holder_document(&newer)), 0); /* the newer one first */
	holder_look(h, &before);
	assert_int_equal(holder_apply(h, holder_document(&old)), HF_ESTALE);
	assert_int_equal(holder_apply(h, holder_document(&newer)), 0); /* again: nothing changes */
	holder_unchanged(h, &before);
	holder_look(h, &before);
	f = newer;
	f.url = "dir:/other"; /* another document of that generation */
	f.sequence = ++h->sequence;
	assert_int_equal(holder_apply(h, holder_document(&f)), HF_EINVAL);
	f = holder_honest(h, IN_FORCE + 3);
	f.sequence = old.sequence; /* newer in its generation, of an older sequence */
	assert_int_equal(holder_apply(h, holder_document(&f)), HF_ESTALE);
	holder_unchanged(h, &before);
	/* Nor after a kill, when all that it knows is on its disk. */
	holder_look(h, &before);
	agent_child_kill(&h->child);
	agent_child_start(&h->child, NULL);
	assert_int_equal(h->child.provider.connect_generation, IN_FORCE + 2);
	assert_int_equal(holder_apply(h, holder_document(&old)), HF_ESTALE);
	holder_unchanged(h, &before);
	holder_expect_well(h, IN_FORCE + 3);
}

/* An epoch that is not above the last one holds nothing, so no change can come with it. */
static void test_old_epochs(void **state)
{
	struct holder *h = *state;
	struct fake_provider *p = &h->child.provider;
	unsigned ended = p->management.ended;
	struct snapshot before;

	holder_look(h, &before);
	p->next_epoch = 1;
	fake_provider_cut(p, &p->management);
	RUN_UNTIL(&h->child.loop, p->management.ended >= ended + 2); /* the cut, and its refusal */
	holder_unchanged(h, &before);
	p->next_epoch = 100;
	RUN_UNTIL(&h->child.loop,
		  p->management.stream && p->management.session &&
			  hf_session_state(p->management.session) == HF_SESSION_HELD &&
			  hf_session_epoch(p->management.session) >= 100);
	holder_expect_well(h, IN_FORCE + 1);
}

/* Nothing at the gateway can tell that something is withheld; but it says in each Connect, to
 * whichever process it reaches, what it has, and the next honest one brings the newest. */
static void test_withheld_changes(void **state)
{
	struct holder *h = *state;
	struct fake_provider *p = &h->child.provider;
	unsigned connections = p->management.connections;

	holder_honest(h, IN_FORCE + 1);
	holder_honest(h, IN_FORCE + 2); /* signed, and never sent */
	fake_provider_cut(p, &p->management);
	RUN_UNTIL(&h->child.loop,
		  p->management.connections > connections &&
			  hf_session_state(p->management.session) == HF_SESSION_HELD);
	assert_int_equal(p->connect_generation, IN_FORCE);
	holder_expect_well(h, IN_FORCE + 2);
}

static Holdfast__Signed *sign_link(const struct hf_sign_key *next, uint64_t tenant,
				   uint64_t gateway, const struct hf_sign_key *key)
{
	Holdfast__Rotation rotation = HOLDFAST__ROTATION__INIT;

	rotation.signer_key.data = (uint8_t *)(uintptr_t)next->public_key;
	rotation.signer_key.len = HF_KEY_BYTES;
	return holder_rotation(&rotation, tenant, gateway, key);
}

/* The pinned key changes only by its own word for all gateways, only forwards, and whatever the key
 * before it signs is worth nothing afterwards, over a kill too. */
static void test_rotations_of_the_signers_key(void **state)
{
	struct holder *h = *state;
	struct hf_sign_key first = h->child.provider.signer, second, third;
	struct forgery f = holder_honest(h, IN_FORCE + 1);
	struct snapshot before;

	hf_sign_key_make(&second);
	hf_sign_key_make(&third);
	holder_look(h, &before);
	assert_int_equal(holder_rotate(h, sign_link(&h->own, 0, 0, &h->own)), HF_EAUTH);
	assert_int_equal(holder_rotate(h, sign_link(&h->own, FAKE_TENANT, FAKE_GATEWAY, &first)),
			 HF_EINVAL);
	assert_int_equal(holder_rotate(h, sign_link(&third, 0, 0, &second)),
			 HF_EAUTH); /* a link later */
	holder_unchanged(h, &before);
	assert_int_equal(holder_rotate(h, sign_link(&second, 0, 0, &first)), 0);
	assert_int_equal(holder_rotate(h, sign_link(&third, 0, 0, &second)), 0);
	holder_look(h, &before);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(holder_rotate(h, sign_link(&second, 0, 0, &first)), HF_EAUTH);
		assert_int_equal(holder_rotate(h, sign_link(&first, 0, 0, &third)), HF_EINVAL);
		assert_int_equal(holder_apply(h, holder_document(&f)),
				 HF_EAUTH); /* by the first key */
		agent_child_kill(&h->child);
		agent_child_start(&h->child, NULL);
		/* The document on its disk, which the first key signed, serves on. */
		assert_int_equal(h->child.provider.connect_generation, IN_FORCE);
	}
	holder_unchanged(h, &before);
	h->child.provider.signer = third;
	holder_expect_well(h, IN_FORCE + 1);
}

static Holdfast__Signed *sign_certificate(struct holder *h, uint64_t gateway, const uint8_t *key,
					  int64_t until_s, const struct hf_sign_key *signer)
{
	struct fake_provider *p = &h->child.provider;
	struct hf_certificate_order order = {.authority_key = &p->authority_key,
					     .authority = p->authority,
					     .authority_length = p->authority_length,
					     .tenant = FAKE_TENANT,
					     .gateway = gateway,
					     .not_before_s = time(NULL) - 3600,
					     .not_after_s = time(NULL) + until_s};
	Holdfast__Rotation rotation = HOLDFAST__ROTATION__INIT;
	struct hf_errmsg message;
	Holdfast__Signed *packet;

	memcpy(order.public_key, key, HF_KEY_BYTES);
	assert_int_equal(hf_certificate_issue(&order, &rotation.certificate.data,
					      &rotation.certificate.len, &message),
			 0);
	packet = holder_rotation(&rotation, FAKE_TENANT, FAKE_GATEWAY, signer);
	free(rotation.certificate.data);
	return packet;
}

/* A certificate is taken for this gateway and its key only, signed by its signer, and when it lasts
 * longer than the one in use; it is shown from the next connection on, after a kill too. */
static void test_rotations_of_the_certificate(void **state)
{
	struct holder *h = *state;
	const struct hf_sign_key *signer = &h->child.provider.signer;
	const uint8_t *mine = h->child.provider.keys.identity;
	const int64_t year_s = 365 * 86400;
	struct snapshot before;

	holder_look(h, &before);
	assert_int_equal(holder_rotate(h, sign_certificate(h, FAKE_GATEWAY, mine, year_s, &h->own)),
			 HF_EAUTH);
	assert_int_equal(
		holder_rotate(h, sign_certificate(h, FAKE_GATEWAY + 1, mine, year_s, signer)),
		HF_EAUTH);
	assert_int_equal(holder_rotate(h, sign_certificate(h, FAKE_GATEWAY, h->own.public_key,
							   year_s, signer)),
			 HF_EAUTH);
	assert_int_equal(holder_rotate(h, sign_certificate(h, FAKE_GATEWAY, mine, 3600, signer)),
			 HF_ESTALE);
	holder_unchanged(h, &before);
	assert_int_equal(holder_rotate(h, sign_certificate(h, FAKE_GATEWAY, mine, year_s, signer)),
			 0);
	assert_int_equal(
		holder_rotate(h, sign_certificate(h, FAKE_GATEWAY, mine, year_s / 2, signer)),
		HF_ESTALE);
	agent_child_kill(&h->child);
	agent_child_start(&h->child, NULL);
	assert_in_range(hf_stream_peer(h->child.provider.management.stream)->not_after_s,
			time(NULL) + year_s - 600, time(NULL) + year_s);
	holder_expect_well(h, IN_FORCE + 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, holder_setup, holder_teardown)
	const struct CMUnitTest tests[] = {
		T(test_forged_changes),
		T(test_changes_of_others),
		T(test_replayed_and_reordered_changes),
		T(test_old_epochs),
		T(test_withheld_changes),
		T(test_rotations_of_the_signers_key),
		T(test_rotations_of_the_certificate),
	};

	return cmocka_run_group_tests_name("holder", tests, NULL, NULL);
}
