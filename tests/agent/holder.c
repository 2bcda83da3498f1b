/* tests/agent/holder.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/file.h"
#include "net/identity.h"
#include "tests/agent/holder.h"

/* ---- Changes ---- */

Holdfast__Signed *holder_sign(const Holdfast__Change *change, const struct hf_sign_key *key)
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

Holdfast__Signed *holder_document(const struct forgery *f)
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
	return holder_sign(&change, f->key);
}

int holder_send(struct holder *h, Holdfast__Request__KindCase kind, Holdfast__Signed *packet)
{
	Holdfast__Request request = HOLDFAST__REQUEST__INIT;

	request.kind_case = kind;
	request.apply = packet; /* the oneof's members are all of this type */
	return agent_child_answer(&h->child, fake_provider_ask(&h->child.provider, &request));
}

/* Sends and frees. */
int holder_apply(struct holder *h, Holdfast__Signed *packet)
{
	int err = holder_send(h, HOLDFAST__REQUEST__KIND_APPLY, packet);

	holdfast__signed__free_unpacked(packet, NULL);
	return err;
}

int holder_rotate(struct holder *h, Holdfast__Signed *packet)
{
	int err = holder_send(h, HOLDFAST__REQUEST__KIND_ROTATE, packet);

	holdfast__signed__free_unpacked(packet, NULL);
	return err;
}

/* What the true signer signed for this gateway. */
struct forgery holder_honest(struct holder *h, uint64_t generation)
{
	return (struct forgery){.tenant = FAKE_TENANT,
				.gateway = FAKE_GATEWAY,
				.sequence = ++h->sequence,
				.generation = generation,
				.url = "dir:/good",
				.key = &h->child.provider.signer};
}

int holder_apply_honest(struct holder *h, uint64_t generation)
{
	struct forgery f = holder_honest(h, generation);

	return holder_apply(h, holder_document(&f));
}

/* ---- What the agent keeps ---- */

static const char *const kept[] = {"activated", "document", "newest", "journal"};
#define KEPT_COUNT (sizeof kept / sizeof kept[0])

HF_STATIC_ASSERT(KEPT_COUNT == HOLDER_KEPT, "each has its place");

void holder_look(const struct holder *h, struct snapshot *s)
{
	char path[160];

	for (size_t i = 0; i < KEPT_COUNT; i++) {
		snprintf(path, sizeof path, "%s/%s", h->child.state_dir, kept[i]);
		s->bytes[i] = NULL;
		s->length[i] = 0;
		if (access(path, F_OK) == 0)
			assert_int_equal(
				hf_file_read(path, 1 << 20, &s->bytes[i], &s->length[i], NULL), 0);
	}
}

void holder_unchanged(const struct holder *h, struct snapshot *before)
{
	struct snapshot now;

	holder_look(h, &now);
	for (size_t i = 0; i < KEPT_COUNT; i++) {
		assert_int_equal(now.length[i], before->length[i]);
		if (now.length[i])
			assert_memory_equal(now.bytes[i], before->bytes[i], now.length[i]);
		free(now.bytes[i]);
		free(before->bytes[i]);
	}
}

/* ---- Fixture ---- */

int holder_setup(void **state)
{
	struct holder *h = calloc(1, sizeof *h);

	agent_child_open(&h->child);
	hf_sign_key_make(&h->own);
	assert_int_equal(holder_apply_honest(h, IN_FORCE), 0);
	*state = h;
	return 0;
}

int holder_teardown(void **state)
{
	struct holder *h = *state;

	agent_child_close(&h->child);
	free(h);
	return 0;
}

/* After all of it the gateway still takes what its signer says, and nothing else was in between. */
void holder_expect_well(struct holder *h, uint64_t generation)
{
	assert_int_equal(holder_apply_honest(h, generation), 0);
	assert_int_equal(h->child.provider.observed_generation, generation);
}

Holdfast__Signed *holder_rotation(const Holdfast__Rotation *rotation, uint64_t tenant,
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
	return holder_sign(&change, key);
}
