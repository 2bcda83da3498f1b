/* A holder that was taken over, for the tests of what it can do: the provider's own TLS, every
 * change that was ever signed for anybody, and no signing key. It speaks to the real agent. */
#ifndef HF_TESTS_AGENT_HOLDER_H
#define HF_TESTS_AGENT_HOLDER_H

#include "tests/agent/agent_child.h"

#define IN_FORCE    5u /* generation that every test starts with */
#define HOLDER_KEPT 4u

struct holder {
	struct agent_child child;
	struct hf_sign_key own; /* the attacker's */
	uint64_t sequence;
};

struct forgery {
	uint64_t tenant, gateway, sequence, generation;
	const char *url; /* so that documents of one generation differ */
	const struct hf_sign_key *key;
};

/* What the agent keeps. */
struct snapshot {
	uint8_t *bytes[HOLDER_KEPT];
	size_t length[HOLDER_KEPT];
};

int holder_setup(void **state);
int holder_teardown(void **state);
/* The change, signed. */
Holdfast__Signed *holder_sign(const Holdfast__Change *change, const struct hf_sign_key *key);
Holdfast__Signed *holder_document(const struct forgery *f);
Holdfast__Signed *holder_rotation(const Holdfast__Rotation *rotation, uint64_t tenant,
				  uint64_t gateway, const struct hf_sign_key *key);
/* What the true signer signed for this gateway. */
struct forgery holder_honest(struct holder *h, uint64_t generation);
/* As a request of this kind; the answer's error. */
int holder_send(struct holder *h, Holdfast__Request__KindCase kind, Holdfast__Signed *packet);
/* Sent and freed. */
int holder_apply(struct holder *h, Holdfast__Signed *packet);
int holder_rotate(struct holder *h, Holdfast__Signed *packet);
int holder_apply_honest(struct holder *h, uint64_t generation);

void holder_look(const struct holder *h, struct snapshot *s);
/* Nothing has changed by a byte; frees it. */
void holder_unchanged(const struct holder *h, struct snapshot *before);
/* After all of it the gateway still takes what its signer says, and nothing else was in between. */
void holder_expect_well(struct holder *h, uint64_t generation);

#endif
