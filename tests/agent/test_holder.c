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
#include "tests/agent/agent_child.h"

#define IN_FORCE 5u /* generation that every test starts with */

struct holder {
	struct agent_child child;
	struct hf_sign_key own; /* the attacker's */
	uint64_t sequence;
};

/* ---- Changes ---- */

struct forgery {
	uint64_t tenant, gateway, sequence, generation;
	const char *url; /* so that documents of one generation differ */
	const struct hf_sign_key *key;
};

static Holdfast__Signed *sign_change(const Holdfast__Change *change, const struct hf_sign_key *key)
{
	Holdfast__Signed *packet;
	uint8_t *bytes;
	size_t length;

	assert_int_equal(hf_change_sign(key, change, &bytes, &length), 0);
	packet = holdfast__signed__unpack(NULL, length, bytes);
	assert_non_null(packet);
	free(bytes);
	return packet;
}

static Holdfast__Signed *sign_document(const struct forgery *f)
{
	Holdfast__Document document = HOLDFAST__DOCUMENT__INIT;
	Holdfast__Change change = HOLDFAST__CHANGE__INIT;
	Holdfast__Store store = HOLDFAST__STORE__INIT;
	uint8_t bytes[256];

	document.incarnation = 1;
	document.generation = f->generation;
	document.store = &store;
	store.url = (char *)(uintptr_t)f->url;
	change.tenant = f->tenant;
	change.gateway = f->gateway;
	change.sequence = f->sequence;
	change.kind_case = HOLDFAST__CHANGE__KIND_DOCUMENT;
	change.document.data = bytes;
	change.document.len = holdfast__document__pack(&document, bytes);
	return sign_change(&change, f->key);
}

static int send_as(struct holder *h, Holdfast__Request__KindCase kind, Holdfast__Signed *packet)
{
	Holdfast__Request request = HOLDFAST__REQUEST__INIT;

	request.kind_case = kind;
	request.apply = packet; /* the oneof's members are all of this type */
	return agent_child_answer(&h->child, fake_provider_ask(&h->child.provider, &request));
}

/* Sends and frees. */
static int apply(struct holder *h, Holdfast__Signed *packet)
{
	int err = send_as(h, HOLDFAST__REQUEST__KIND_APPLY, packet);

	holdfast__signed__free_unpacked(packet, NULL);
	return err;
}

static int rotate(struct holder *h, Holdfast__Signed *packet)
{
	int err = send_as(h, HOLDFAST__REQUEST__KIND_ROTATE, packet);

	holdfast__signed__free_unpacked(packet, NULL);
	return err;
}

/* What the true signer signed for this gateway. */
static struct forgery honest(struct holder *h, uint64_t generation)
{
	return (struct forgery){.tenant = FAKE_TENANT,
				.gateway = FAKE_GATEWAY,
				.sequence = ++h->sequence,
				.generation = generation,
				.url = "dir:/good",
				.key = &h->child.provider.signer};
}

static int apply_honest(struct holder *h, uint64_t generation)
{
	struct forgery f = honest(h, generation);

	return apply(h, sign_document(&f));
}

/* ---- What the agent keeps ---- */

static const char *const kept[] = {"activated", "document", "newest"};
#define KEPT_COUNT (sizeof kept / sizeof kept[0])

struct snapshot {
	uint8_t *bytes[KEPT_COUNT];
	size_t length[KEPT_COUNT];
};

static void take_snapshot(const struct holder *h, struct snapshot *s)
{
	char path[160];

	for (size_t i = 0; i < KEPT_COUNT; i++) {
		snprintf(path, sizeof path, "%s/%s", h->child.state_dir, kept[i]);
		assert_int_equal(hf_file_read(path, 1 << 20, &s->bytes[i], &s->length[i], NULL), 0);
	}
}

static void assert_unchanged(const struct holder *h, struct snapshot *before)
{
	struct snapshot now;

	take_snapshot(h, &now);
	for (size_t i = 0; i < KEPT_COUNT; i++) {
		assert_int_equal(now.length[i], before->length[i]);
		assert_memory_equal(now.bytes[i], before->bytes[i], now.length[i]);
		free(now.bytes[i]);
		free(before->bytes[i]);
	}
}

/* ---- Fixture ---- */

static int setup(void **state)
{
	struct holder *h = calloc(1, sizeof *h);

	agent_child_open(&h->child);
	hf_sign_key_make(&h->own);
	assert_int_equal(apply_honest(h, IN_FORCE), 0);
	*state = h;
	return 0;
}

static int teardown(void **state)
{
	struct holder *h = *state;

	agent_child_close(&h->child);
	free(h);
	return 0;
}

/* After all of it the gateway still takes what its signer says, and nothing else was in between. */
static void expect_well(struct holder *h, uint64_t generation)
{
	assert_int_equal(apply_honest(h, generation), 0);
	assert_int_equal(h->child.provider.observed_generation, generation);
}

/* ---- Tests ---- */

static void test_forged_changes(void **state)
{
	struct holder *h = *state;
	struct forgery f = honest(h, IN_FORCE + 1), own = f;
	struct snapshot before;
	Holdfast__Signed *packet;

	take_snapshot(h, &before);
	own.key = &h->own;
	assert_int_equal(apply(h, sign_document(&own)), HF_EAUTH);
	/* The signer's name on the attacker's signature. */
	packet = sign_document(&own);
	hf_sign_key_id(h->child.provider.signer.public_key, packet->key.data);
	assert_int_equal(apply(h, packet), HF_EAUTH);
	/* Each byte of a true signature, and of what it covers. */
	for (size_t i = 0; i < HF_SIGNATURE_BYTES; i += 9) {
		packet = sign_document(&f);
		packet->signature.data[i] ^= 1;
		assert_int_equal(apply(h, packet), HF_EAUTH);
	}
	packet = sign_document(&f);
	for (size_t i = 0; i < packet->body.len; i++) {
		packet->body.data[i] ^= 0x40;
		assert_int_equal(send_as(h, HOLDFAST__REQUEST__KIND_APPLY, packet), HF_EAUTH);
		packet->body.data[i] ^= 0x40;
	}
	/* As another kind of request than it was signed for. */
	assert_int_not_equal(send_as(h, HOLDFAST__REQUEST__KIND_ACT, packet), 0);
	assert_int_not_equal(send_as(h, HOLDFAST__REQUEST__KIND_CONFIRM, packet), 0);
	assert_int_not_equal(send_as(h, HOLDFAST__REQUEST__KIND_ROTATE, packet), 0);
	holdfast__signed__free_unpacked(packet, NULL);
	assert_unchanged(h, &before);
	expect_well(h, IN_FORCE + 1);
}

/* Changes that the same signer truly signed, for another gateway, another tenant, or for all. */
static void test_changes_of_others(void **state)
{
	struct holder *h = *state;
	struct forgery f = honest(h, IN_FORCE + 1);
	struct snapshot before;

	take_snapshot(h, &before);
	f.gateway = FAKE_GATEWAY + 1;
	assert_int_equal(apply(h, sign_document(&f)), HF_EAUTH);
	f.gateway = FAKE_GATEWAY;
	f.tenant = FAKE_TENANT + 1;
	assert_int_equal(apply(h, sign_document(&f)), HF_EAUTH);
	f.tenant = f.gateway = 0;
	assert_int_equal(apply(h, sign_document(&f)), HF_EAUTH);
	assert_unchanged(h, &before);
	expect_well(h, IN_FORCE + 1);
}

static void test_replayed_and_reordered_changes(void **state)
{
	struct holder *h = *state;
	struct forgery old = honest(h, IN_FORCE + 1), newer = honest(h, IN_FORCE + 2), f;
	struct snapshot before;

	assert_int_equal(apply(h, sign_document(&newer)), 0); /* the newer one first */
	take_snapshot(h, &before);
	assert_int_equal(apply(h, sign_document(&old)), HF_ESTALE);
	assert_int_equal(apply(h, sign_document(&newer)), 0); /* again: nothing changes */
	assert_unchanged(h, &before);
	take_snapshot(h, &before);
	f = newer;
	f.url = "dir:/other"; /* another document of that generation */
	f.sequence = ++h->sequence;
	assert_int_equal(apply(h, sign_document(&f)), HF_EINVAL);
	f = honest(h, IN_FORCE + 3);
	f.sequence = old.sequence; /* newer in its generation, of an older sequence */
	assert_int_equal(apply(h, sign_document(&f)), HF_ESTALE);
	assert_unchanged(h, &before);
	/* Nor after a kill, when all that it knows is on its disk. */
	take_snapshot(h, &before);
	agent_child_kill(&h->child);
	agent_child_start(&h->child, NULL);
	assert_int_equal(h->child.provider.connect_generation, IN_FORCE + 2);
	assert_int_equal(apply(h, sign_document(&old)), HF_ESTALE);
	assert_unchanged(h, &before);
	expect_well(h, IN_FORCE + 3);
}

/* An epoch that is not above the last one holds nothing, so no change can come with it. */
static void test_old_epochs(void **state)
{
	struct holder *h = *state;
	struct fake_provider *p = &h->child.provider;
	unsigned ended = p->management.ended;
	struct snapshot before;

	take_snapshot(h, &before);
	p->next_epoch = 1;
	fake_provider_cut(p, &p->management);
	RUN_UNTIL(&h->child.loop, p->management.ended >= ended + 2); /* the cut, and its refusal */
	assert_unchanged(h, &before);
	p->next_epoch = 100;
	RUN_UNTIL(&h->child.loop,
		  p->management.stream && p->management.session &&
			  hf_session_state(p->management.session) == HF_SESSION_HELD &&
			  hf_session_epoch(p->management.session) >= 100);
	expect_well(h, IN_FORCE + 1);
}

/* Nothing at the gateway can tell that something is withheld; but it says in each Connect, to
 * whichever process it reaches, what it has, and the next honest one brings the newest. */
static void test_withheld_changes(void **state)
{
	struct holder *h = *state;
	struct fake_provider *p = &h->child.provider;
	unsigned connections = p->management.connections;

	honest(h, IN_FORCE + 1);
	honest(h, IN_FORCE + 2); /* signed, and never sent */
	fake_provider_cut(p, &p->management);
	RUN_UNTIL(&h->child.loop,
		  p->management.connections > connections &&
			  hf_session_state(p->management.session) == HF_SESSION_HELD);
	assert_int_equal(p->connect_generation, IN_FORCE);
	expect_well(h, IN_FORCE + 2);
}

static Holdfast__Signed *sign_rotation(const Holdfast__Rotation *rotation, uint64_t tenant,
				       uint64_t gateway, const struct hf_sign_key *key)
{
	Holdfast__Change change = HOLDFAST__CHANGE__INIT;
	uint8_t bytes[HF_CERTIFICATE_MAX];

	change.tenant = tenant;
	change.gateway = gateway;
	change.sequence = 1;
	change.kind_case = HOLDFAST__CHANGE__KIND_ROTATION;
	change.rotation.data = bytes;
	change.rotation.len = holdfast__rotation__pack(rotation, bytes);
	return sign_change(&change, key);
}

static Holdfast__Signed *sign_link(const struct hf_sign_key *next, uint64_t tenant,
				   uint64_t gateway, const struct hf_sign_key *key)
{
	Holdfast__Rotation rotation = HOLDFAST__ROTATION__INIT;

	rotation.signer_key.data = (uint8_t *)(uintptr_t)next->public_key;
	rotation.signer_key.len = HF_KEY_BYTES;
	return sign_rotation(&rotation, tenant, gateway, key);
}

/* The pinned key changes only by its own word for all gateways, only forwards, and whatever the key
 * before it signs is worth nothing afterwards, over a kill too. */
static void test_rotations_of_the_signers_key(void **state)
{
	struct holder *h = *state;
	struct hf_sign_key first = h->child.provider.signer, second, third;
	struct forgery f = honest(h, IN_FORCE + 1);
	struct snapshot before;

	hf_sign_key_make(&second);
	hf_sign_key_make(&third);
	take_snapshot(h, &before);
	assert_int_equal(rotate(h, sign_link(&h->own, 0, 0, &h->own)), HF_EAUTH);
	assert_int_equal(rotate(h, sign_link(&h->own, FAKE_TENANT, FAKE_GATEWAY, &first)),
			 HF_EINVAL);
	assert_int_equal(rotate(h, sign_link(&third, 0, 0, &second)), HF_EAUTH); /* a link later */
	assert_unchanged(h, &before);
	assert_int_equal(rotate(h, sign_link(&second, 0, 0, &first)), 0);
	assert_int_equal(rotate(h, sign_link(&third, 0, 0, &second)), 0);
	take_snapshot(h, &before);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(rotate(h, sign_link(&second, 0, 0, &first)), HF_EAUTH);
		assert_int_equal(rotate(h, sign_link(&first, 0, 0, &third)), HF_EINVAL);
		assert_int_equal(apply(h, sign_document(&f)), HF_EAUTH); /* by the first key */
		agent_child_kill(&h->child);
		agent_child_start(&h->child, NULL);
		/* The document on its disk, which the first key signed, serves on. */
		assert_int_equal(h->child.provider.connect_generation, IN_FORCE);
	}
	assert_unchanged(h, &before);
	h->child.provider.signer = third;
	expect_well(h, IN_FORCE + 1);
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
	packet = sign_rotation(&rotation, FAKE_TENANT, FAKE_GATEWAY, signer);
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

	take_snapshot(h, &before);
	assert_int_equal(rotate(h, sign_certificate(h, FAKE_GATEWAY, mine, year_s, &h->own)),
			 HF_EAUTH);
	assert_int_equal(rotate(h, sign_certificate(h, FAKE_GATEWAY + 1, mine, year_s, signer)),
			 HF_EAUTH);
	assert_int_equal(
		rotate(h, sign_certificate(h, FAKE_GATEWAY, h->own.public_key, year_s, signer)),
		HF_EAUTH);
	assert_int_equal(rotate(h, sign_certificate(h, FAKE_GATEWAY, mine, 3600, signer)),
			 HF_ESTALE);
	assert_unchanged(h, &before);
	assert_int_equal(rotate(h, sign_certificate(h, FAKE_GATEWAY, mine, year_s, signer)), 0);
	assert_int_equal(rotate(h, sign_certificate(h, FAKE_GATEWAY, mine, year_s / 2, signer)),
			 HF_ESTALE);
	agent_child_kill(&h->child);
	agent_child_start(&h->child, NULL);
	assert_in_range(hf_stream_peer(h->child.provider.management.stream)->not_after_s,
			time(NULL) + year_s - 600, time(NULL) + year_s);
	expect_well(h, IN_FORCE + 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
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
