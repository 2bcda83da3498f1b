/* Claims and bases in bytes, behind remote/chain.h. No state, any thread. */
#include "remote/chain.h"
#include "base/bytes.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- Sealed bodies --------------------------------------------------------------------------- */

static int seal(struct hf_sealed *sealed, const uint8_t data_key[HF_KEY_BYTES],
		const uint8_t salt[HF_SALT_BYTES], const uint8_t *body, uint8_t *out)
{
	uint8_t key[HF_KEY_BYTES];
	int err;

	memcpy(sealed->salt, salt, HF_SALT_BYTES);
	err = hf_sealed_key(sealed, data_key, key);
	if (!err)
		err = hf_sealed_write(sealed, key, body, out);
	hf_crypt_wipe(key, sizeof key);
	return err;
}

static int unseal(const struct hf_sealed *sealed, const uint8_t data_key[HF_KEY_BYTES],
		  const uint8_t *bytes, size_t length, uint8_t *body, struct hf_errmsg *message)
{
	uint8_t key[HF_KEY_BYTES];
	int err = hf_sealed_key(sealed, data_key, key);

	if (!err)
		err = hf_sealed_open(sealed, key, bytes, length, body, message);
	hf_crypt_wipe(key, sizeof key);
	return err;
}

/* ---- Claims ---------------------------------------------------------------------------------- */

int hf_claim_write(const struct hf_claim *claim, const uint8_t data_key[HF_KEY_BYTES],
		   const uint8_t salt[HF_SALT_BYTES], uint8_t *out)
{
	uint8_t body[HF_CLAIM_BODY_BYTES];
	struct hf_sealed sealed = {
		.kind = HF_SEALED_CLAIM, .id = claim->id, .body_bytes = sizeof body};

	memcpy(body, claim->nonce, HF_CLAIM_NONCE_BYTES);
	hf_put_le64(body + HF_CLAIM_NONCE_BYTES, claim->wall_ms);
	return seal(&sealed, data_key, salt, body, out);
}

int hf_claim_read(uint64_t tenant, uint64_t volume, uint64_t start,
		  const uint8_t data_key[HF_KEY_BYTES], const uint8_t *bytes, size_t length,
		  struct hf_claim *claim, struct hf_errmsg *message)
{
	struct hf_object_id expected = {.tenant = tenant, .volume = volume, .start = start};
	uint8_t body[HF_CLAIM_BODY_BYTES];
	struct hf_sealed sealed;
	int err = hf_sealed_read_prefix(bytes, length, HF_SEALED_CLAIM, &sealed, message);

	if (err)
		return err;
	expected.epoch = sealed.id.epoch;
	err = hf_sealed_check_id(&sealed, &expected, message);
	if (err)
		return err;
	if (sealed.body_bytes != sizeof body)
		return hf_fail(message, HF_ECORRUPT, "a body of %u bytes", sealed.body_bytes);
	err = unseal(&sealed, data_key, bytes, length, body, message);
	if (err)
		return err;
	claim->id = sealed.id;
	memcpy(claim->nonce, body, HF_CLAIM_NONCE_BYTES);
	claim->wall_ms = hf_get_le64(body + HF_CLAIM_NONCE_BYTES);
	return 0;
}

/* ---- Bases ----------------------------------------------------------------------------------- */

enum {
	AT_SIZE = 0,
	AT_RECOVERY_POINT = 8,
	AT_WALL = 16,
	AT_COUNT = 24,
	AT_HAS_CHECKPOINT = 28,
	AT_LINKS = 32,
	LINK_BYTES = 40,
	CHECKPOINT_BYTES = 24, /* behind the links, in version 2 */
};
_Static_assert(AT_LINKS + (uint64_t)HF_CHAIN_MAX * LINK_BYTES + CHECKPOINT_BYTES <=
		       HF_SEALED_BODY_MAX,
	       "the longest chain fits a body");

static void write_base(const struct hf_base *base, uint8_t *body)
{
	uint8_t *end = body + AT_LINKS + (size_t)base->link_count * LINK_BYTES;

	hf_put_le64(body + AT_SIZE, base->size_bytes);
	hf_put_le64(body + AT_RECOVERY_POINT, base->recovery_point);
	hf_put_le64(body + AT_WALL, base->wall_ms);
	hf_put_le32(body + AT_COUNT, base->link_count);
	for (uint32_t i = 0; i < base->link_count; i++) {
		uint8_t *at = body + AT_LINKS + (size_t)i * LINK_BYTES;

		hf_put_le64(at, base->links[i].epoch);
		hf_put_le64(at + 8, base->links[i].start);
		hf_put_le64(at + 16, base->links[i].first_object);
		hf_put_le64(at + 24, base->links[i].last_object);
		hf_put_le64(at + 32, base->links[i].last_sequence);
	}
	if (base->checkpoint.sequence == 0)
		return;
	hf_put_le32(body + AT_HAS_CHECKPOINT, 1);
	hf_put_le64(end, base->checkpoint.epoch);
	hf_put_le64(end + 8, base->checkpoint.start);
	hf_put_le64(end + 16, base->checkpoint.sequence);
}

int hf_base_write(const struct hf_base *base, const uint8_t data_key[HF_KEY_BYTES],
		  const uint8_t salt[HF_SALT_BYTES], uint8_t **bytes, size_t *length)
{
	bool names = base->checkpoint.sequence != 0;
	size_t body_bytes =
		AT_LINKS + (size_t)base->link_count * LINK_BYTES + (names ? CHECKPOINT_BYTES : 0);
	uint8_t *body = calloc(1, body_bytes), *out = malloc(HF_SEALED_PREFIX_BYTES + body_bytes);
	struct hf_sealed sealed = {
		.kind = HF_SEALED_BASE,
		.version = names ? 2 : 1,
		.id = base->id,
		.body_bytes = (uint32_t)body_bytes,
	};
	int err = HF_ENOMEM;

	if (body && out) {
		write_base(base, body);
		err = seal(&sealed, data_key, salt, body, out);
	}
	free(body);
	if (err) {
		free(out);
		return err;
	}
	*bytes = out;
	*length = HF_SEALED_PREFIX_BYTES + body_bytes;
	return 0;
}

static int check_link(const struct hf_base *base, const struct hf_chain_link *link,
		      const struct hf_chain_link *before, struct hf_errmsg *message)
{
	bool ascending = !before || (link->start > before->start && link->epoch >= before->epoch &&
				     link->last_sequence > before->last_sequence);

	if (ascending && link->first_object == 1 && link->last_object >= 1 &&
	    link->start < base->id.start && link->epoch <= base->id.epoch &&
	    link->last_sequence <= base->recovery_point)
		return 0;
	return hf_fail(message, HF_ECORRUPT, "its link to %" PRIx64 ".%" PRIx64 " is impossible",
		       link->epoch, link->start);
}

static int read_links(struct hf_base *base, const uint8_t *body, struct hf_errmsg *message)
{
	for (uint32_t i = 0, count = hf_get_le32(body + AT_COUNT); i < count; i++) {
		const uint8_t *at = body + AT_LINKS + (size_t)i * LINK_BYTES;
		const struct hf_chain_link link = {
			.epoch = hf_get_le64(at),
			.start = hf_get_le64(at + 8),
			.first_object = hf_get_le64(at + 16),
			.last_object = hf_get_le64(at + 24),
			.last_sequence = hf_get_le64(at + 32),
		};
		int err = check_link(base, &link, i ? &base->links[i - 1] : NULL, message);

		if (!err)
			err = hf_base_add_link(base, &link);
		if (err)
			return err;
	}
	if (base->recovery_point !=
	    (base->link_count ? base->links[base->link_count - 1].last_sequence : 0))
		return hf_fail(message, HF_ECORRUPT,
			       "its chain does not end at its recovery point");
	return 0;
}

static int read_checkpoint(struct hf_base *base, const uint8_t *at, struct hf_errmsg *message)
{
	base->checkpoint = base->id;
	base->checkpoint.epoch = hf_get_le64(at);
	base->checkpoint.start = hf_get_le64(at + 8);
	base->checkpoint.sequence = hf_get_le64(at + 16);
	if (base->checkpoint.sequence && base->checkpoint.start < base->id.start &&
	    base->checkpoint.epoch <= base->id.epoch)
		return 0;
	return hf_fail(message, HF_ECORRUPT, "the checkpoint that it names is impossible");
}

static int read_base(struct hf_base *base, const uint8_t *body, size_t body_bytes,
		     struct hf_errmsg *message)
{
	uint32_t count = body_bytes < AT_LINKS ? 0 : hf_get_le32(body + AT_COUNT);
	uint32_t names = body_bytes < AT_LINKS ? 0 : hf_get_le32(body + AT_HAS_CHECKPOINT);
	size_t links_end = AT_LINKS + (size_t)count * LINK_BYTES;
	int err;

	if (body_bytes < AT_LINKS || count > HF_CHAIN_MAX || names > 1 ||
	    body_bytes != links_end + names * (size_t)CHECKPOINT_BYTES)
		return hf_fail(message, HF_ECORRUPT, "a body of %zu bytes", body_bytes);
	err = names ? read_checkpoint(base, body + links_end, message) : 0;
	if (err)
		return err;
	base->size_bytes = hf_get_le64(body + AT_SIZE);
	base->recovery_point = hf_get_le64(body + AT_RECOVERY_POINT);
	base->wall_ms = hf_get_le64(body + AT_WALL);
	return read_links(base, body, message);
}

int hf_base_read(const struct hf_object_id *id, const uint8_t data_key[HF_KEY_BYTES],
		 const uint8_t *bytes, size_t length, struct hf_base *base,
		 struct hf_errmsg *message)
{
	struct hf_sealed sealed;
	uint8_t *body;
	int err = hf_sealed_read_prefix(bytes, length, HF_SEALED_BASE, &sealed, message);

	if (!err)
		err = hf_sealed_check_id(&sealed, id, message);
	if (err)
		return err;
	body = malloc(sealed.body_bytes + 1);
	if (!body)
		return HF_ENOMEM;
	*base = (struct hf_base){.id = sealed.id};
	err = unseal(&sealed, data_key, bytes, length, body, message);
	if (!err)
		err = read_base(base, body, sealed.body_bytes, message);
	free(body);
	if (err)
		hf_base_free(base);
	return err;
}

int hf_base_add_link(struct hf_base *base, const struct hf_chain_link *link)
{
	struct hf_chain_link *links;

	if (base->link_count == HF_CHAIN_MAX)
		return HF_ETOOBIG;
	links = realloc(base->links, (base->link_count + 1) * sizeof *links);
	if (!links)
		return HF_ENOMEM;
	links[base->link_count++] = *link;
	base->links = links;
	return 0;
}

void hf_base_free(struct hf_base *base)
{
	free(base->links);
	base->links = NULL;
	base->link_count = 0;
}
