/* The signer holds desired state forward by itself (invariant 4), whatever a provider asks that was
 * taken over or restored: nothing deleted returns, no version goes back, sequences go on above what
 * a gateway has; and a proxy's credentials reach only the gateway they are for (invariant 7). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "provider/signer/purpose.h"
#include "tests/provider/signer_fixture.h"

struct draft {
	Holdfast__Document document;
	Holdfast__Volume volume, *volumes[1];
	Holdfast__Tombstone tombstone, *tombstones[1];
	Holdfast__SignerAnswer *secret;
};

/* One volume, one tombstone of it, or neither. */
static void draft_init(struct draft *draft, uint64_t incarnation, uint64_t generation)
{
	memset(draft, 0, sizeof *draft);
	holdfast__document__init(&draft->document);
	holdfast__volume__init(&draft->volume);
	holdfast__tombstone__init(&draft->tombstone);
	draft->secret = sf_new_secret(TENANT, VOLUME);
	draft->volumes[0] = &draft->volume;
	draft->tombstones[0] = &draft->tombstone;
	draft->volume.volume = draft->tombstone.volume = VOLUME;
	draft->volume.version = draft->tombstone.version = generation;
	draft->volume.attach_epoch = 5;
	draft->volume.sealed = draft->tombstone.sealed = draft->secret->secret;
	draft->document.incarnation = incarnation;
	draft->document.generation = generation;
	draft->document.volumes = draft->volumes;
	draft->document.tombstones = draft->tombstones;
}

static Holdfast__SignerAnswer *sign(const Holdfast__Document *document, uint64_t floor)
{
	Holdfast__SignerRequest request = HOLDFAST__SIGNER_REQUEST__INIT;
	Holdfast__SignerDocument order = HOLDFAST__SIGNER_DOCUMENT__INIT;
	uint8_t bytes[4096];

	order.tenant = TENANT;
	order.gateway = GATEWAY;
	order.sequence_floor = floor;
	order.sealing_key = sf_binary(sf_sealing.public_key, HF_KEY_BYTES);
	order.document = sf_binary(bytes, holdfast__document__pack(document, bytes));
	request.kind_case = HOLDFAST__SIGNER_REQUEST__KIND_DOCUMENT;
	request.document = &order;
	return sf_ask(&request);
}

/* Signs it, and gives its draft back. */
static int sign_draft(struct draft *draft)
{
	Holdfast__SignerAnswer *answer = sign(&draft->document, 0);
	int err = -answer->error;

	assert_true(err == 0 || answer->reason[0]);
	sf_drop(answer);
	sf_drop(draft->secret);
	return err;
}

static int sign_volume(uint64_t incarnation, uint64_t generation, uint64_t version, uint64_t epoch)
{
	struct draft draft;

	draft_init(&draft, incarnation, generation);
	draft.document.n_volumes = 1;
	draft.volume.version = version;
	draft.volume.attach_epoch = epoch;
	return sign_draft(&draft);
}

static int sign_tombstone(uint64_t generation)
{
	struct draft draft;

	draft_init(&draft, 1, generation);
	draft.document.n_tombstones = 1;
	return sign_draft(&draft);
}

static int sign_nothing(uint64_t generation)
{
	struct draft draft;

	draft_init(&draft, 1, generation);
	return sign_draft(&draft);
}

static void test_versions_and_epochs_do_not_go_back(void **state)
{
	(void)state;
	sf_certify();
	assert_int_equal(sign_volume(1, 5, 4, 5), 0);
	assert_int_equal(sign_volume(1, 6, 3, 5), HF_EINVAL);
	assert_int_equal(sign_volume(1, 6, 4, 4), HF_EINVAL);
	assert_int_equal(sign_volume(1, 6, 4, 5), 0);
	/* A registry that was restored, as its administrator says. */
	assert_int_equal(sign_volume(2, 6, 3, 4), 0);
	assert_int_equal(sign_volume(2, 7, 2, 4), HF_EINVAL);
}

/* … however long ago its tombstone was signed, and over a restart. */
static void test_what_was_deleted_is_not_signed_again(void **state)
{
	(void)state;
	sf_certify();
	assert_int_equal(sign_volume(1, 1, 1, 5), 0);
	assert_int_equal(sign_tombstone(2), 0);
	assert_int_equal(sign_tombstone(3), 0);
	assert_int_equal(sign_volume(1, 4, 4, 6), HF_EINVAL);
	assert_int_equal(sign_nothing(4), 0);
	hf_signer_close(sf_signer);
	sf_open_signer();
	assert_int_equal(sign_volume(1, 5, 5, 6), HF_EINVAL);
	assert_int_equal(sign_nothing(6), 0);
	assert_int_equal(sign_volume(2, 1, 1, 5), 0); /* the gateway holds it up */
	assert_int_equal(sign_volume(2, 2, 1, 5), 0);
}

static uint64_t sequence_of(uint64_t generation, uint64_t floor)
{
	Holdfast__SignerAnswer *answer;
	Holdfast__Change *change;
	struct draft draft;
	uint64_t sequence;

	draft_init(&draft, 1, generation);
	answer = sign(&draft.document, floor);
	assert_int_equal(answer->error, 0);
	change = sf_change_of(answer);
	sequence = change->sequence;
	holdfast__change__free_unpacked(change, NULL);
	sf_drop(answer);
	sf_drop(draft.secret);
	return sequence;
}

/* A ledger that was restored goes on above what the gateway took; nobody can use the numbers up. */
static void test_sequences_go_on_above_the_gateway(void **state)
{
	uint64_t first;

	(void)state;
	sf_certify();
	first = sequence_of(1, 0);
	assert_true(sequence_of(2, first) == first + 1);
	assert_true(sequence_of(3, 1000) == 1001);
	assert_true(sequence_of(4, 1) == 1002);
	assert_true(sequence_of(5, UINT64_MAX) == 1003);
	assert_true(sequence_of(6, 1ull << 40) == 1004);
}

static Holdfast__SignerAnswer *credentials_for(uint64_t tenant, uint64_t gateway)
{
	Holdfast__SignerRequest request = HOLDFAST__SIGNER_REQUEST__INIT;
	Holdfast__SignerNewSecret order = HOLDFAST__SIGNER_NEW_SECRET__INIT;
	Holdfast__NetworkSecrets secrets = HOLDFAST__NETWORK_SECRETS__INIT;
	char purpose[HF_PURPOSE_MAX], user[] = "u", password[] = "correct-horse";
	uint8_t plain[64];

	secrets.proxy_user = user;
	secrets.proxy_password = password;
	hf_signer_purpose_network(tenant, gateway, purpose);
	order.plain = sf_binary(plain, holdfast__network_secrets__pack(&secrets, plain));
	order.purpose = purpose;
	request.kind_case = HOLDFAST__SIGNER_REQUEST__KIND_NEW_SECRET;
	request.new_secret = &order;
	return sf_ask(&request);
}

static Holdfast__SignerAnswer *sign_network(uint64_t generation,
					    const Holdfast__SignerAnswer *secret)
{
	Holdfast__Network network = HOLDFAST__NETWORK__INIT;
	Holdfast__SignerAnswer *answer;
	struct draft draft;

	draft_init(&draft, 1, generation);
	network.version = 7;
	network.proxy = (char[]){"http://p:1"};
	network.sealed = secret->secret;
	draft.document.network = &network;
	answer = sign(&draft.document, 0);
	sf_drop(draft.secret);
	return answer;
}

/* The gateway, and only it, opens what the provider keeps encrypted; of another gateway or tenant
 * nothing is sealed to it. The same settings are the same bytes in each generation, so that their
 * confirmation holds. */
static void test_proxy_credentials_are_sealed_to_their_gateway(void **state)
{
	Holdfast__SignerAnswer *secret = credentials_for(TENANT, GATEWAY), *answer;
	ProtobufCBinaryData before = {0, NULL};
	Holdfast__Document *document;
	Holdfast__Change *change;
	char purpose[HF_PURPOSE_MAX];
	uint8_t *plain;
	size_t length;

	(void)state;
	sf_certify();
	assert_int_equal(secret->error, 0);
	for (uint64_t generation = 1; generation <= 2; generation++) {
		answer = sign_network(generation, secret);
		assert_int_equal(answer->error, 0);
		change = sf_change_of(answer);
		document = holdfast__document__unpack(NULL, change->document.len,
						      change->document.data);
		assert_non_null(document);
		hf_purpose_network(7, purpose);
		assert_int_equal(hf_unseal(&sf_sealing, purpose, document->network->sealed.data,
					   document->network->sealed.len, &plain, &length),
				 0);
		assert_non_null(memmem(plain, length, "correct-horse", 13));
		hf_wipe_free(plain, length);
		if (before.data) {
			assert_int_equal(before.len, document->network->sealed.len);
			assert_memory_equal(before.data, document->network->sealed.data,
					    before.len);
			free(before.data);
		}
		before = document->network->sealed;
		document->network->sealed = (ProtobufCBinaryData){0, NULL};
		holdfast__document__free_unpacked(document, NULL);
		holdfast__change__free_unpacked(change, NULL);
		sf_drop(answer);
	}
	free(before.data);
	sf_drop(secret);
	for (int other = 0; other < 2; other++) {
		secret = credentials_for(TENANT + (other == 0), GATEWAY + (other == 1));
		answer = sign_network(3, secret);
		assert_int_equal(answer->error, -HF_EAUTH);
		sf_drop(answer);
		sf_drop(secret);
	}
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, sf_set_up, sf_tear_down)
	const struct CMUnitTest tests[] = {
		T(test_versions_and_epochs_do_not_go_back),
		T(test_what_was_deleted_is_not_signed_again),
		T(test_sequences_go_on_above_the_gateway),
		T(test_proxy_credentials_are_sealed_to_their_gateway),
	};

	return cmocka_run_group_tests_name("signer follow", tests, NULL, NULL);
}
