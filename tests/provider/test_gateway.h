/* A gateway for tests: the real TLS, session, keys and documents, and instead of an iSCSI target a
 * few flags. On the lab's loop. */
#ifndef HF_TESTS_PROVIDER_TEST_GATEWAY_H
#define HF_TESTS_PROVIDER_TEST_GATEWAY_H

#include "net/activation_key.h"
#include "net/seal.h"
#include "net/stream.h"
#include "proto/action.pb-c.h"
#include "proto/document.pb-c.h"
#include "proto/session.h"
#include "tests/provider/lab.h"

struct test_gateway {
	struct lab *lab;
	struct hf_sign_key identity;
	struct hf_seal_key sealing;

	/* One connection at a time. */
	struct hf_stream *stream;
	struct hf_session *session;
	uv_timer_t timer;
	bool activation, connected, ended, closed;
	char ended_reason[256], retry_reason[256];
	int ended_status;

	/* Activation */
	char key[HF_ACTIVATION_TEXT_MAX]; /* as its console shows it; "" until offered */
	uint8_t number[HF_ACTIVATION_NUMBER_BYTES];
	bool claimed, issued, swap_authority, break_proof;
	bool copy_proof; /* in the hello: that of the one before, as somebody who heard it would */
	uint8_t last_proof[HF_SIGNATURE_BYTES];
	const char *host, *portal; /* in the hello; NULL: good ones */
	uint64_t id, tenant;
	uint8_t certificate[2048], authority[2048];
	size_t certificate_length, authority_length;
	uint8_t signer_key[HF_KEY_BYTES];
	char endpoint[128];

	/* Management */
	uint64_t epoch, last_epoch, subscription;
	uint8_t token[16]; /* of the last Held */
	size_t token_length;
	bool keeps_token_back;            /* says nothing of it when its standby is lost */
	unsigned renewals;                /* certificates that came by Rotate */
	uint64_t incarnation, generation; /* applied */
	uint8_t hash[HF_HASH_BYTES];
	Holdfast__Document *document; /* the last applied */
	uint64_t sequence;            /* of the last change */
	unsigned applies, deltas;     /* whole and as differences */
	size_t applied_bytes;         /* that both took on the wire */
	uint32_t capability;
	bool spoil_deltas; /* takes none, as if it had another base */
	/* One-shot actions, as it had their effects: the tests' own count. */
	struct {
		uint64_t number;
		uint32_t kind;
		unsigned effects, deliveries;
		bool sent_before, expired;
	} acts[64];
	unsigned act_count;
	int act_error;   /* answers this instead */
	int act_outcome; /* 0: done */
	uint64_t forgotten;
	int network_state; /* to report of the document's settings; 0: nothing */
	bool network_proved;
	unsigned confirmations;
	uint64_t attach_epoch; /* to report of each volume */
	bool refuse_replays;   /* else they fail the test */
	bool keep_left_out;    /* reports on with what a higher incarnation left out */
	uint64_t left_out;
	bool refuse_applies, silent, mute_volumes;
	bool fail_volumes;    /* report everything as failed */
	uint64_t lag_bytes;   /* to report */
	uint64_t sessions;    /* to report */
	char chap_secret[80]; /* of the first volume, unsealed */
	uint8_t wrap_key[32];
};

void tg_init(struct test_gateway *gateway, struct lab *lab);
void tg_free(struct test_gateway *gateway);

/* Connects to the activation endpoint and says hello. */
void tg_hello(struct test_gateway *gateway);
void tg_wait_offer(struct test_gateway *gateway);
void tg_refuse(struct test_gateway *gateway, const char *reason);
/* Connects to the management endpoint with its certificate. */
void tg_connect(struct test_gateway *gateway);
void tg_connect_as(struct test_gateway *gateway, int role);
void tg_wait_held(struct test_gateway *gateway);
/* Offer, activate, confirm, connect: an active gateway under this name. */
void tg_join(struct test_gateway *gateway, const char *name);
/* Drops the connection as a lost network would. */
void tg_drop(struct test_gateway *gateway);
void tg_wait_ended(struct test_gateway *gateway);
/* On a parked connection: how the other one is. */
void tg_report_path(struct test_gateway *gateway, int path, uint64_t epoch);
/* Within a request: answers it; takes the action in it. */
void tg_answer(struct test_gateway *gateway, Holdfast__Answer *message,
	       const Holdfast__Request *request);
/* Of Held: its epoch and token. */
void tg_held(struct test_gateway *g, const Holdfast__Held *held);
/* Of Rotate: the next certificate, checked as a gateway does. */
void tg_take_certificate(struct test_gateway *g, const Holdfast__Signed *packet);
void tg_act(struct test_gateway *gateway, const Holdfast__Request *request);
void tg_confirmed(struct test_gateway *gateway, const Holdfast__Request *request);
/* Sends a report now. */
void tg_report(struct test_gateway *gateway);

/* Gives it a certificate that this authority signed: a foreign one, or the provider's own when the
 * test has stolen its key. Validity in seconds since 1970. */
void tg_forge(struct test_gateway *gateway, const struct hf_sign_key *authority,
	      int64_t not_before_s, int64_t not_after_s);

/* A TCP connection under way to a port of 127.0.0.1. */
int tg_dial(uint16_t port);

#endif
