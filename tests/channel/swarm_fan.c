/* swarm_fan --registry FILE --identities FILE [--count N]: one change to all gateways at once. The
 * desired state of each counts one up, in one transaction, as when an administrator changes what
 * concerns them all; a provider finds what is not signed yet. Prints µs since 1970 when that was
 * durable. */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "provider/registry/registry.h"
#include "tests/channel/identities.h"

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void change_all(struct hf_registry *reg, const struct identities *all, unsigned count)
{
	int err = hf_registry_begin(reg);

	for (unsigned i = 0; !err && i < count; i++) {
		struct identity identity;
		uint64_t generation;

		identity_derive(all->seed, i, &identity);
		err = hf_registry_gateway_bump(reg, identity.gateway, &generation);
	}
	if (err || hf_registry_end(reg, err) != 0)
		die("the registry: %s", hf_registry_why(reg));
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"registry", required_argument, NULL, 'r'},
						{"identities", required_argument, NULL, 'i'},
						{"count", required_argument, NULL, 'n'},
						{NULL, 0, NULL, 0}};
	const char *where = NULL;
	struct identities all = {0};
	struct hf_errmsg message = {""};
	struct hf_registry *reg;
	unsigned count = 0;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'r')
			where = optarg;
		else if (option == 'i')
			identities_read(&all, optarg);
		else if (option == 'n')
			count = (unsigned)strtoul(optarg, NULL, 10);
		else
			return 2;
	}
	if (!where || all.count == 0)
		die("--registry and --identities are wanted");
	if (hf_registry_open(where, 1, &reg, &message) != 0)
		die("%s", message.text);
	change_all(reg, &all, count && count < all.count ? count : all.count);
	printf("%" PRIu64 "\n", now_us());
	hf_registry_close(reg);
	identities_free(&all);
	return 0;
}
