/* Who the simulated gateways are: keys and numbers derived from a seed, certificates of the real
 * signer from a file that swarm_prepare wrote. Any thread; read once, then only looked at. */
#ifndef HF_TESTS_CHANNEL_IDENTITIES_H
#define HF_TESTS_CHANNEL_IDENTITIES_H

#include <stddef.h>
#include <stdint.h>

#include "net/seal.h"
#include "net/sign.h"

/* Everything about gateway `index` that follows from the seed. */
struct identity {
	uint64_t gateway;
	struct hf_sign_key key;
	struct hf_seal_key sealing;
};
void identity_derive(uint64_t seed, unsigned index, struct identity *identity);

struct certificate {
	uint8_t *der;
	size_t length;
};

struct identities {
	uint64_t seed, tenant;
	uint8_t signer_key[HF_KEY_BYTES];
	struct certificate authority;
	struct certificate *certificates; /* of gateway 0 … count - 1 */
	unsigned count;
};

/* End the program with a message on failure: they are tools of tests. */
/* A copy of these bytes instead of what it was. */
void certificate_set(struct certificate *certificate, const uint8_t *der, size_t length);
void identities_write(const struct identities *all, const char *path);
void identities_read(struct identities *all, const char *path);
void identities_free(struct identities *all);

/* Ends the program with the text on standard error. */
_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
