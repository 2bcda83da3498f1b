/* A stand-in of the provider on the test's own loop: real TLS, real sessions, real signatures, and
 * a test that decides what is said. Only for unit tests of the agent. */
#ifndef HF_TESTS_AGENT_FAKE_PROVIDER_H
#define HF_TESTS_AGENT_FAKE_PROVIDER_H

#include "net/activation_key.h"
#include "net/stream.h"
#include "proto/action.pb-c.h"
#include "proto/document.pb-c.h"
#include "proto/session.h"
#include "tests/net/loop.h"

#define FAKE_TENANT  3u
#define FAKE_GATEWAY 4u

/* The newest connection of a kind. */
struct fake_link {
	struct fake_provider *provider;
	struct hf_stream *stream;
	struct hf_session *session;
	unsigned connections; /* so far */
	unsigned ended;
};

struct fake_provider {
	struct test_loop *loop;
	struct hf_sign_key authority_key, signer, server_key;
	uint8_t *authority, *server;
	size_t authority_length, server_length;
	struct hf_tls *activation_tls, *management_tls;
	struct hf_listener *activation_listener, *management_listener;
	char activation_address[32], management_address[32];
	struct fake_link activation, management;
	unsigned closing;

	/* Of the gateway, as it said. */
	struct hf_activation_keys keys;
	uint8_t number[HF_ACTIVATION_NUMBER_BYTES];
	const char *claimed_by; /* NULL: "tester" */
	char refused[64];

	/* Management */
	uint64_t next_epoch; /* holds with it inside Connect */
	uint64_t connect_last_epoch, connect_generation;
	uint64_t answered; /* number of the last answer */
	int answer_error;
	char answer_reason[200];
	uint64_t observed_generation;
	bool full_wanted;
	Holdfast__ActionResult *result; /* of the last action that was answered */
	unsigned reports;
	int reported_state; /* of the first volume */
	struct {
		uint64_t volume, version, attach_epoch;
		int state;
		char reason[100];
	} volumes[16]; /* as last reported */
	size_t volume_count;
	int network_state; /* as last reported; 0: not */
	bool network_proved;
	uint64_t network_version;
	char network_reason[100];
	uint64_t sequence;
};

void fake_provider_open(struct fake_provider *provider, struct test_loop *loop);
void fake_provider_close(struct fake_provider *provider);
void fake_provider_claim(struct fake_provider *provider);
/* Issues; `change` may spoil it before it is sent. */
void fake_provider_issue(struct fake_provider *provider,
			 void (*change)(Holdfast__ActivateIssued *issued));
uint64_t fake_provider_apply(struct fake_provider *provider, const Holdfast__Document *document,
			     const struct hf_sign_key *signer);
/* The same as the difference to `base`; `spoil`: one that gives other bytes. */
uint64_t fake_provider_apply_delta(struct fake_provider *provider, const Holdfast__Document *base,
				   const Holdfast__Document *document, bool spoil);
/* A Signed over any kind of change, with this sequence. */
Holdfast__Signed *fake_provider_sign(struct fake_provider *provider, Holdfast__Change *change,
				     uint64_t sequence, const struct hf_sign_key *signer);
uint64_t fake_provider_act(struct fake_provider *provider, const Holdfast__Action *action,
			   uint64_t sequence, const Holdfast__ActionTerms *terms,
			   const struct hf_sign_key *signer);
uint64_t fake_provider_ask(struct fake_provider *provider, Holdfast__Request *request);
/* Cuts the newest connection of this kind. */
void fake_provider_cut(struct fake_provider *provider, struct fake_link *link);

#endif
