/* What else the product asks the system for, in sim_plane: the time by each process's own clock,
 * random numbers from the seed, keys, signatures, seals and certificates that cost little (what is
 * tested here is order, not cryptography), and a log that nobody reads. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/bytes.h"
#include "base/file.h"
#include "base/log.h"
#include "net/daemon.h"
#include "net/identity.h"
#include "net/seal.h"
#include "tests/sim/plane.h"

#define START_MS      1900000000000u /* the wall's, in 2030 */
#define CERTIFICATE   96u
#define LIFE_S        (400ll * 86400)
#define SEAL_OVERHEAD (HF_KEY_BYTES + HF_PURPOSE_MAX)

/* ---- Time and chance ---- */

time_t __wrap_time(time_t *out);
int __wrap_clock_gettime(clockid_t clock, struct timespec *out);
ssize_t __wrap_getrandom(void *bytes, size_t length, unsigned flags);
void __wrap_hf_random(void *bytes, size_t length);

static uint64_t wall_ms(void)
{
	int64_t skew_ms = sim_world.current ? sim_world.current->skew_ms : 0;

	return (uint64_t)((int64_t)(START_MS + sim_world.now_ms) + skew_ms);
}

time_t __wrap_time(time_t *out)
{
	time_t now_s = (time_t)(wall_ms() / 1000);

	if (out)
		*out = now_s;
	return now_s;
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *out)
{
	uint64_t now_ms = clock == CLOCK_REALTIME ? wall_ms() : sim_world.now_ms;

	out->tv_sec = (time_t)(now_ms / 1000);
	out->tv_nsec = (long)(now_ms % 1000) * 1000000;
	return 0;
}

void __wrap_hf_random(void *bytes, size_t length)
{
	uint8_t *at = bytes;

	while (length > 0) {
		uint64_t random = sim_rng_next(&sim_world.rng);
		size_t piece = length < sizeof random ? length : sizeof random;

		memcpy(at, &random, piece);
		at += piece;
		length -= piece;
	}
}

ssize_t __wrap_getrandom(void *bytes, size_t length, unsigned flags)
{
	(void)flags;
	__wrap_hf_random(bytes, length);
	return (ssize_t)length;
}

/* ---- Keys: a secret is the hash of its file's name ---- */

int __wrap_hf_sign_key_file(const char *path, struct hf_sign_key *key, struct hf_errmsg *message);
int __wrap_hf_seal_key_file(const char *path, struct hf_seal_key *key, struct hf_errmsg *message);
int __wrap_hf_sign(const struct hf_sign_key *key, const char *domain, const void *bytes,
		   size_t length, uint8_t signature[HF_SIGNATURE_BYTES]);
int __wrap_hf_sign_verify(const uint8_t public_key[HF_KEY_BYTES], const char *domain,
			  const void *bytes, size_t length,
			  const uint8_t signature[HF_SIGNATURE_BYTES]);

static void make_key(const char *path, uint8_t secret[HF_KEY_BYTES], uint8_t open[HF_KEY_BYTES])
{
	hf_sha256(path, strlen(path), secret);
	hf_sha256(secret, HF_KEY_BYTES, open);
	if (hf_file_replace(path, "key", 3, 0600, NULL) != 0)
		HF_ASSERT(sim_world.current);
}

int __wrap_hf_sign_key_file(const char *path, struct hf_sign_key *key, struct hf_errmsg *message)
{
	(void)message;
	make_key(path, key->secret, key->public_key);
	return 0;
}

int __wrap_hf_seal_key_file(const char *path, struct hf_seal_key *key, struct hf_errmsg *message)
{
	(void)message;
	make_key(path, key->secret, key->public_key);
	return 0;
}

static void sign(const uint8_t open[HF_KEY_BYTES], const void *bytes, size_t length,
		 uint8_t signature[HF_SIGNATURE_BYTES])
{
	hf_sha256(bytes, length, signature);
	memcpy(signature + HF_HASH_BYTES, open, HF_KEY_BYTES);
}

int __wrap_hf_sign(const struct hf_sign_key *key, const char *domain, const void *bytes,
		   size_t length, uint8_t signature[HF_SIGNATURE_BYTES])
{
	(void)domain;
	sign(key->public_key, bytes, length, signature);
	return 0;
}

int __wrap_hf_sign_verify(const uint8_t public_key[HF_KEY_BYTES], const char *domain,
			  const void *bytes, size_t length,
			  const uint8_t signature[HF_SIGNATURE_BYTES])
{
	uint8_t expected[HF_SIGNATURE_BYTES];

	(void)domain;
	sign(public_key, bytes, length, expected);
	return memcmp(expected, signature, sizeof expected) == 0 ? 0 : HF_EAUTH;
}

/* A key made ready is the key. */
int __wrap_hf_signing_open(const struct hf_sign_key *key, struct hf_signing **signing);
void __wrap_hf_signing_close(struct hf_signing *signing);
int __wrap_hf_signing_sign(struct hf_signing *signing, const char *domain, const void *bytes,
			   size_t length, uint8_t signature[HF_SIGNATURE_BYTES]);
void __wrap_hf_signing_id(const struct hf_signing *signing, uint8_t id[HF_KEY_ID_BYTES]);

int __wrap_hf_signing_open(const struct hf_sign_key *key, struct hf_signing **signing)
{
	struct hf_sign_key *copy = malloc(sizeof *copy);

	HF_ASSERT(copy);
	*copy = *key;
	*signing = (struct hf_signing *)copy;
	return 0;
}

void __wrap_hf_signing_close(struct hf_signing *signing)
{
	free(signing);
}

int __wrap_hf_signing_sign(struct hf_signing *signing, const char *domain, const void *bytes,
			   size_t length, uint8_t signature[HF_SIGNATURE_BYTES])
{
	return __wrap_hf_sign((const struct hf_sign_key *)signing, domain, bytes, length,
			      signature);
}

void __wrap_hf_signing_id(const struct hf_signing *signing, uint8_t id[HF_KEY_ID_BYTES])
{
	hf_sign_key_id(((const struct hf_sign_key *)signing)->public_key, id);
}

/* ---- Seals: the key, the purpose, the plain bytes ---- */

int __wrap_hf_seal(const uint8_t public_key[HF_KEY_BYTES], const char *purpose, const void *plain,
		   size_t plain_length, uint8_t **sealed, size_t *sealed_length);
int __wrap_hf_seal_repeatable(const struct hf_seal_key *sealer,
			      const uint8_t public_key[HF_KEY_BYTES], const char *purpose,
			      const void *plain, size_t plain_length, uint8_t **sealed,
			      size_t *sealed_length);
int __wrap_hf_unseal(const struct hf_seal_key *key, const char *purpose, const uint8_t *sealed,
		     size_t sealed_length, uint8_t **plain, size_t *plain_length);

int __wrap_hf_seal(const uint8_t public_key[HF_KEY_BYTES], const char *purpose, const void *plain,
		   size_t plain_length, uint8_t **sealed, size_t *sealed_length)
{
	uint8_t *out = calloc(1, SEAL_OVERHEAD + plain_length);

	HF_ASSERT(out && strlen(purpose) < HF_PURPOSE_MAX);
	memcpy(out, public_key, HF_KEY_BYTES);
	strcpy((char *)out + HF_KEY_BYTES, purpose);
	if (plain_length)
		memcpy(out + SEAL_OVERHEAD, plain, plain_length);
	*sealed = out;
	*sealed_length = SEAL_OVERHEAD + plain_length;
	return 0;
}

int __wrap_hf_seal_repeatable(const struct hf_seal_key *sealer,
			      const uint8_t public_key[HF_KEY_BYTES], const char *purpose,
			      const void *plain, size_t plain_length, uint8_t **sealed,
			      size_t *sealed_length)
{
	(void)sealer;
	return __wrap_hf_seal(public_key, purpose, plain, plain_length, sealed, sealed_length);
}

int __wrap_hf_unseal(const struct hf_seal_key *key, const char *purpose, const uint8_t *sealed,
		     size_t sealed_length, uint8_t **plain, size_t *plain_length)
{
	if (sealed_length < SEAL_OVERHEAD)
		return HF_EINVAL;
	if (memcmp(sealed, key->public_key, HF_KEY_BYTES) != 0 ||
	    strcmp((const char *)sealed + HF_KEY_BYTES, purpose) != 0)
		return HF_EAUTH;
	*plain_length = sealed_length - SEAL_OVERHEAD;
	*plain = malloc(*plain_length + 1);
	HF_ASSERT(*plain);
	memcpy(*plain, sealed + SEAL_OVERHEAD, *plain_length);
	return 0;
}

/* ---- Certificates: their fields one after the other ---- */

static int make_certificate(bool server, uint64_t tenant, uint64_t gateway,
			    const uint8_t key[HF_KEY_BYTES], uint8_t **der, size_t *length)
{
	*der = calloc(1, CERTIFICATE);
	HF_ASSERT(*der);
	memcpy(*der, "certificate", 12);
	(*der)[15] = server;
	hf_put_le64(*der + 16, tenant);
	hf_put_le64(*der + 24, gateway);
	memcpy(*der + 32, key, HF_KEY_BYTES);
	hf_put_le64(*der + 64, START_MS / 1000);
	memcpy(*der + 72, key, HF_AUTHORITY_ID_BYTES);
	*length = CERTIFICATE;
	return 0;
}

int hf_request_make(const struct hf_sign_key *key, const char *common_name, uint8_t **der,
		    size_t *der_length)
{
	(void)common_name;
	return make_certificate(false, 0, 0, key->public_key, der, der_length);
}

int hf_request_check(const uint8_t *der, size_t der_length, uint8_t public_key[HF_KEY_BYTES])
{
	return hf_certificate_key(der, der_length, public_key);
}

int hf_authority_make(const struct hf_sign_key *key, const char *common_name,
		      uint64_t valid_seconds, uint8_t **der, size_t *der_length)
{
	(void)common_name;
	(void)valid_seconds;
	return make_certificate(false, 0, 0, key->public_key, der, der_length);
}

int hf_certificate_issue(const struct hf_certificate_order *order, uint8_t **der,
			 size_t *der_length, struct hf_errmsg *message)
{
	int err = make_certificate(order->server, order->tenant, order->gateway, order->public_key,
				   der, der_length);

	(void)message;
	memcpy(*der + 72, order->authority + 72, HF_AUTHORITY_ID_BYTES);
	return err;
}

size_t hf_authority_first(const uint8_t *authorities, size_t length,
			  uint8_t id[HF_AUTHORITY_ID_BYTES])
{
	if (length < CERTIFICATE || memcmp(authorities, "certificate", 12) != 0)
		return 0;
	memcpy(id, authorities + 72, HF_AUTHORITY_ID_BYTES);
	return CERTIFICATE;
}

unsigned hf_authorities_count(const uint8_t *authorities, size_t length,
			      uint8_t last[HF_AUTHORITY_ID_BYTES])
{
	size_t count = length / CERTIFICATE;
	uint8_t id[HF_AUTHORITY_ID_BYTES];

	if (count == 0 || count > HF_AUTHORITIES_MAX || length % CERTIFICATE != 0 ||
	    hf_authority_first(authorities + length - CERTIFICATE, CERTIFICATE, id) == 0)
		return 0;
	if (last)
		memcpy(last, id, sizeof id);
	return (unsigned)count;
}

int hf_authorities_find(const uint8_t *authorities, size_t length,
			const uint8_t id[HF_AUTHORITY_ID_BYTES])
{
	for (size_t at = 0; at + CERTIFICATE <= length; at += CERTIFICATE)
		if (memcmp(authorities + at + 72, id, HF_AUTHORITY_ID_BYTES) == 0)
			return (int)(at / CERTIFICATE);
	return -1;
}

int hf_certificate_parse(const uint8_t *der, size_t der_length, struct hf_certificate_info *info)
{
	if (der_length != CERTIFICATE || memcmp(der, "certificate", 12) != 0)
		return HF_EINVAL;
	memset(info, 0, sizeof *info);
	info->server = der[15];
	info->tenant = hf_get_le64(der + 16);
	info->gateway = hf_get_le64(der + 24);
	memcpy(info->public_key, der + 32, HF_KEY_BYTES);
	memcpy(info->issuer, der + 72, sizeof info->issuer);
	info->not_before_s = (int64_t)hf_get_le64(der + 64);
	info->not_after_s = info->not_before_s + LIFE_S;
	return 0;
}

int hf_certificate_key(const uint8_t *der, size_t der_length, uint8_t public_key[HF_KEY_BYTES])
{
	struct hf_certificate_info info;
	int err = hf_certificate_parse(der, der_length, &info);

	if (!err)
		memcpy(public_key, info.public_key, HF_KEY_BYTES);
	return err;
}

int hf_certificate_verify(const uint8_t *authority, size_t authority_length, const uint8_t *der,
			  size_t der_length, struct hf_errmsg *message)
{
	(void)authority;
	(void)authority_length;
	(void)der;
	(void)der_length;
	(void)message;
	return 0;
}

int hf_certificate_verify_at(const uint8_t *authority, size_t authority_length, const uint8_t *der,
			     size_t der_length, int64_t at_s, struct hf_errmsg *message)
{
	(void)at_s;
	return hf_certificate_verify(authority, authority_length, der, der_length, message);
}

/* ---- The rest ---- */

int __wrap_hf_daemon_private_folder(const char *path, struct hf_errmsg *message);
void __wrap_hf_log_write(enum hf_log_level level, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

int __wrap_hf_daemon_private_folder(const char *path, struct hf_errmsg *message)
{
	(void)path;
	(void)message;
	return 0;
}

/* HF_SIM_LOG in the environment shows what the product says. */
void __wrap_hf_log_write(enum hf_log_level level, const char *format, ...)
{
	static int wanted = -1;
	const struct sim_process *process = sim_world.current;
	va_list list;

	if (wanted < 0)
		wanted = getenv("HF_SIM_LOG") != NULL;
	if (!wanted)
		return;
	fprintf(stderr, "%8llu %s%u%s %d: ", (unsigned long long)sim_world.now_ms,
		!process                     ? "-"
		: process->kind == SIM_AGENT ? "g"
					     : "p",
		process ? process->index : 0, process && process->dead ? " (dead)" : "", level);
	va_start(list, format);
	vfprintf(stderr, format, list);
	va_end(list);
	fputc('\n', stderr);
}
