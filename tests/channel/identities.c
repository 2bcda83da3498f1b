/* identities.h. The file: magic, seed, tenant, count, signer's key, authority, certificates;
 * numbers little-endian, each certificate behind its u32 length. */
#include "tests/channel/identities.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

#define MAGIC "hf-identities-1\n"

_Noreturn void die(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	exit(1);
}

static void derive(uint64_t seed, unsigned index, char purpose, uint8_t out[HF_HASH_BYTES])
{
	uint8_t bytes[13];

	bytes[0] = (uint8_t)purpose;
	hf_put_le64(bytes + 1, seed);
	hf_put_le32(bytes + 9, index);
	hf_sha256(bytes, sizeof bytes, out);
}

void identity_derive(uint64_t seed, unsigned index, struct identity *identity)
{
	uint8_t hash[HF_HASH_BYTES];

	derive(seed, index, 'n', hash);
	identity->gateway = (hf_get_le64(hash) & INT64_MAX) | 1;
	derive(seed, index, 'i', identity->key.secret);
	derive(seed, index, 's', identity->sealing.secret);
	if (hf_sign_key_public(&identity->key) != 0 || hf_seal_key_public(&identity->sealing) != 0)
		die("keys cannot be derived");
}

void certificate_set(struct certificate *certificate, const uint8_t *der, size_t length)
{
	uint8_t *copy = malloc(length + 1);

	if (!copy)
		die("out of memory");
	memcpy(copy, der, length);
	free(certificate->der);
	*certificate = (struct certificate){copy, length};
}

static void put(FILE *file, const void *bytes, size_t length)
{
	if (fwrite(bytes, 1, length, file) != length)
		die("the identities cannot be written");
}

static void put_u64(FILE *file, uint64_t value)
{
	uint8_t bytes[8];

	hf_put_le64(bytes, value);
	put(file, bytes, sizeof bytes);
}

static void put_certificate(FILE *file, const struct certificate *certificate)
{
	put_u64(file, certificate->length);
	put(file, certificate->der, certificate->length);
}

void identities_write(const struct identities *all, const char *path)
{
	FILE *file = fopen(path, "we");

	if (!file)
		die("%s cannot be written", path);
	put(file, MAGIC, 16);
	put_u64(file, all->seed);
	put_u64(file, all->tenant);
	put_u64(file, all->count);
	put(file, all->signer_key, sizeof all->signer_key);
	put_certificate(file, &all->authority);
	for (unsigned i = 0; i < all->count; i++)
		put_certificate(file, &all->certificates[i]);
	if (fclose(file) != 0)
		die("%s cannot be written", path);
}

static void get(FILE *file, void *bytes, size_t length)
{
	if (fread(bytes, 1, length, file) != length)
		die("the identities are cut off");
}

static uint64_t get_u64(FILE *file)
{
	uint8_t bytes[8];

	get(file, bytes, sizeof bytes);
	return hf_get_le64(bytes);
}

static void get_certificate(FILE *file, struct certificate *certificate)
{
	certificate->length = get_u64(file);
	if (certificate->length > 65536)
		die("no certificate is as long");
	certificate->der = malloc(certificate->length + 1);
	if (!certificate->der)
		die("out of memory");
	get(file, certificate->der, certificate->length);
}

void identities_read(struct identities *all, const char *path)
{
	FILE *file = fopen(path, "re");
	char magic[16];

	if (!file)
		die("%s cannot be read", path);
	get(file, magic, sizeof magic);
	if (memcmp(magic, MAGIC, sizeof magic) != 0)
		die("%s holds no identities", path);
	all->seed = get_u64(file);
	all->tenant = get_u64(file);
	all->count = (unsigned)get_u64(file);
	get(file, all->signer_key, sizeof all->signer_key);
	get_certificate(file, &all->authority);
	all->certificates = calloc(all->count + 1, sizeof *all->certificates);
	if (!all->certificates)
		die("out of memory");
	for (unsigned i = 0; i < all->count; i++)
		get_certificate(file, &all->certificates[i]);
	fclose(file);
}

void identities_free(struct identities *all)
{
	for (unsigned i = 0; i < all->count; i++)
		free(all->certificates[i].der);
	free(all->certificates);
	free(all->authority.der);
}
