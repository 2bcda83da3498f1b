/* swarm_prepare --registry FILE|postgres://… --run-dir DIR --count N --seed S --out FILE: makes N
 * active gateways in the registry, has the signer that listens in DIR certify them, and writes who
 * they are. What activation does for one gateway with a person looking on, this does for thousands
 * at once. */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <uv.h>

#include "net/identity.h"
#include "provider/registry/registry.h"
#include "provider/signer/client.h"
#include "tests/channel/identities.h"

#define ASKED_AT_ONCE 48u

static struct {
	const char *registry, *run_dir, *out;
	struct identities all;
	struct hf_signer_client *signer;
	unsigned asked, answered;
} prepare;

static void add_gateways(void)
{
	struct hf_errmsg message = {""};
	struct hf_registry *reg;
	struct hf_reg_info info;
	struct identity identity;

	if (hf_registry_open(prepare.registry, (uint64_t)time(NULL) * 1000, &reg, &message) != 0)
		die("%s", message.text);
	if (hf_registry_info(reg, &info) != 0 || hf_registry_begin(reg) != 0)
		die("the registry: %s", hf_registry_why(reg));
	prepare.all.tenant = info.tenant;
	for (unsigned i = 0; i < prepare.all.count; i++) {
		struct hf_reg_gateway row = {.tenant = info.tenant,
					     .state = HF_REG_GATEWAY_ACTIVE,
					     .host = "swarm.example",
					     .version = "0.1.0",
					     .portal = "192.0.2.1:3260"};

		identity_derive(prepare.all.seed, i, &identity);
		row.id = identity.gateway;
		snprintf(row.name, sizeof row.name, "swarm-%06u", i);
		memcpy(row.identity_key, identity.key.public_key, HF_KEY_BYTES);
		memcpy(row.sealing_key, identity.sealing.public_key, HF_KEY_BYTES);
		if (hf_registry_gateway_insert(reg, &row) != 0)
			die("%s: %s", row.name, hf_registry_why(reg));
	}
	if (hf_registry_end(reg, 0) != 0)
		die("the registry: %s", hf_registry_why(reg));
	hf_registry_close(reg);
}

static void ask_more(void);

static void certified(void *context, int err, const char *reason,
		      const Holdfast__SignerAnswer *answer)
{
	unsigned index = (unsigned)(uintptr_t)context;

	if (err)
		die("the signer: %s (%s)", reason, hf_err_name(err));
	certificate_set(&prepare.all.certificates[index], answer->certificate.data,
			answer->certificate.len);
	if (prepare.answered++ == 0) {
		certificate_set(&prepare.all.authority, answer->ca_certificate.data,
				answer->ca_certificate.len);
		memcpy(prepare.all.signer_key, answer->signer_key.data, HF_KEY_BYTES);
	}
	ask_more();
	if (prepare.answered == prepare.all.count)
		hf_signer_client_close(prepare.signer, NULL, NULL);
}

static void ask(unsigned index)
{
	Holdfast__SignerRequest request = HOLDFAST__SIGNER_REQUEST__INIT;
	Holdfast__SignerCertificate order = HOLDFAST__SIGNER_CERTIFICATE__INIT;
	struct identity identity;

	identity_derive(prepare.all.seed, index, &identity);
	if (hf_request_make(&identity.key, "gateway", &order.request.data, &order.request.len) != 0)
		die("out of memory");
	order.tenant = prepare.all.tenant;
	order.gateway = identity.gateway;
	order.identity_key = (ProtobufCBinaryData){HF_KEY_BYTES, identity.key.public_key};
	order.sealing_key = (ProtobufCBinaryData){HF_KEY_BYTES, identity.sealing.public_key};
	request.kind_case = HOLDFAST__SIGNER_REQUEST__KIND_CERTIFICATE;
	request.certificate = &order;
	hf_signer_ask(prepare.signer, &request, certified, (void *)(uintptr_t)index);
	free(order.request.data);
}

static void ask_more(void)
{
	while (prepare.asked < prepare.all.count &&
	       prepare.asked - prepare.answered < ASKED_AT_ONCE)
		ask(prepare.asked++);
}

static void certify(void)
{
	uv_loop_t loop;

	prepare.all.certificates = calloc(prepare.all.count, sizeof *prepare.all.certificates);
	if (!prepare.all.certificates)
		die("out of memory");
	uv_loop_init(&loop);
	if (hf_signer_client_open(&loop, prepare.run_dir, 0, &prepare.signer) != 0)
		die("no signer in %s", prepare.run_dir);
	ask_more();
	uv_run(&loop, UV_RUN_DEFAULT);
	uv_loop_close(&loop);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"registry", required_argument, NULL, 'r'},
						{"run-dir", required_argument, NULL, 'd'},
						{"count", required_argument, NULL, 'n'},
						{"seed", required_argument, NULL, 's'},
						{"out", required_argument, NULL, 'o'},
						{NULL, 0, NULL, 0}};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'r')
			prepare.registry = optarg;
		else if (option == 'd')
			prepare.run_dir = optarg;
		else if (option == 'n')
			prepare.all.count = (unsigned)strtoul(optarg, NULL, 10);
		else if (option == 's')
			prepare.all.seed = strtoull(optarg, NULL, 10);
		else if (option == 'o')
			prepare.out = optarg;
		else
			return 2;
	}
	if (!prepare.registry || !prepare.run_dir || !prepare.out || prepare.all.count == 0)
		die("--registry, --run-dir, --count and --out are wanted");
	add_gateways();
	certify();
	identities_write(&prepare.all, prepare.out);
	identities_free(&prepare.all);
	return 0;
}
