/* swarm_fan --registry FILE --signer-key FILE --identities FILE: one change to all gateways at
 * once. Signs the next document of each, and stores all of them in one transaction, as a provider
 * with a batch signature would. Prints µs since 1970 when that was durable. The signer's own ledger
 * does not know of it: nothing else may be signed for these gateways afterwards. */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "proto/document.pb-c.h"
#include "provider/registry/registry.h"
#include "tests/channel/identities.h"

#define FAR_AHEAD 1000000u /* above every sequence of the signer's */

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* The document that is there, or one without volumes. */
static Holdfast__Document *newest(struct hf_registry *reg, uint64_t gateway)
{
	struct hf_reg_document kept;
	Holdfast__Document *document = NULL;
	Holdfast__Signed *packet;
	Holdfast__Change *change;

	if (hf_registry_document_get(reg, gateway, &kept) != 0) {
		document = malloc(sizeof *document);
		if (document)
			holdfast__document__init(document);
		return document;
	}
	packet = holdfast__signed__unpack(NULL, kept.length, kept.bytes);
	change = holdfast__change__unpack(NULL, packet->body.len, packet->body.data);
	document = holdfast__document__unpack(NULL, change->document.len, change->document.data);
	holdfast__change__free_unpacked(change, NULL);
	holdfast__signed__free_unpacked(packet, NULL);
	free((void *)(uintptr_t)kept.bytes);
	return document;
}

static void sign(struct hf_registry *reg, const struct hf_sign_key *key, uint64_t tenant,
		 uint64_t incarnation, struct hf_reg_document *row)
{
	Holdfast__Document *document = newest(reg, row->gateway);
	Holdfast__Change change = HOLDFAST__CHANGE__INIT;
	uint8_t *bytes, *encoded;

	if (!document)
		die("the kept document does not decode");
	document->incarnation = row->incarnation = incarnation;
	document->generation = row->generation;
	bytes = malloc(holdfast__document__get_packed_size(document) + 1);
	if (!bytes)
		die("out of memory");
	change.tenant = tenant;
	change.gateway = row->gateway;
	change.sequence = FAR_AHEAD + row->generation;
	change.kind_case = HOLDFAST__CHANGE__KIND_DOCUMENT;
	change.document.len = holdfast__document__pack(document, bytes);
	change.document.data = bytes;
	hf_sha256(bytes, change.document.len, row->hash);
	if (hf_change_sign(key, &change, &encoded, &row->length) != 0)
		die("signing failed");
	row->bytes = encoded;
	free(bytes);
	holdfast__document__free_unpacked(document, NULL);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"registry", required_argument, NULL, 'r'},
						{"signer-key", required_argument, NULL, 'k'},
						{"identities", required_argument, NULL, 'i'},
						{NULL, 0, NULL, 0}};
	const char *path = NULL, *key_path = NULL;
	struct identities all = {0};
	struct hf_errmsg message = {""};
	struct hf_reg_document *rows;
	struct hf_sign_key key;
	struct hf_registry *reg;
	struct hf_reg_info info;
	int option, err;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'r')
			path = optarg;
		else if (option == 'k')
			key_path = optarg;
		else if (option == 'i')
			identities_read(&all, optarg);
		else
			return 2;
	}
	if (!path || !key_path || all.count == 0)
		die("--registry, --signer-key and --identities are wanted");
	if (hf_sign_key_file(key_path, &key, &message) != 0 ||
	    hf_registry_open_sqlite(path, 1, &reg, &message) != 0)
		die("%s", message.text);
	rows = calloc(all.count, sizeof *rows);
	if (!rows || hf_registry_info(reg, &info) != 0)
		die("the registry: %s", hf_registry_why(reg));
	err = hf_registry_begin(reg);
	for (unsigned i = 0; i < all.count; i++) {
		struct identity identity;

		identity_derive(all.seed, i, &identity);
		rows[i].gateway = identity.gateway;
		if (err || hf_registry_gateway_bump(reg, identity.gateway, &rows[i].generation))
			die("the registry: %s", hf_registry_why(reg));
		sign(reg, &key, all.tenant, info.incarnation, &rows[i]);
	}
	for (unsigned i = 0; !err && i < all.count; i++)
		err = hf_registry_document_put(reg, &rows[i]);
	if (err || hf_registry_end(reg, err) != 0)
		die("the registry: %s", hf_registry_why(reg));
	printf("%" PRIu64 "\n", now_us());
	hf_registry_close(reg);
	for (unsigned i = 0; i < all.count; i++)
		free((void *)(uintptr_t)rows[i].bytes);
	free(rows);
	identities_free(&all);
	return 0;
}
