/* SPDX-License-Identifier: GPL-2.0-only
 * Part of the Holdfast backing store, which tgtd loads; see docs/LICENSING.md. */
/* Reservations as bytes: the answers of PERSISTENT RESERVE IN (SPC-4 6.14), and the form in which
 * volumed keeps them. */
#include <string.h>

#include "base/bytes.h"
#include "target/reservation.h"

#define KEPT_VERSION      1u
#define KEPT_HEADER_BYTES 16u

static bool is_all(enum hf_pr_type type)
{
	return type == HF_PR_WRITE_EXCLUSIVE_ALL || type == HF_PR_EXCLUSIVE_ACCESS_ALL;
}

/* ---- PERSISTENT RESERVE IN ---- */

static size_t put_header(const struct hf_pr *pr, uint8_t *to, size_t additional)
{
	hf_put_be32(to, pr->generation);
	hf_put_be32(to + 4, (uint32_t)additional);
	return 8 + additional;
}

static size_t read_keys(const struct hf_pr *pr, uint8_t *to)
{
	for (unsigned i = 0; i < pr->count; i++)
		hf_put_be64(to + 8 + 8 * (size_t)i, pr->registrants[i].key);
	return put_header(pr, to, 8 * (size_t)pr->count);
}

static size_t read_reservation(const struct hf_pr *pr, uint8_t *to)
{
	if (pr->type == HF_PR_NONE)
		return put_header(pr, to, 0);
	memset(to + 8, 0, 16);
	if (!is_all(pr->type))
		hf_put_be64(to + 8, pr->registrants[pr->holder].key);
	to[21] = (uint8_t)pr->type;
	return put_header(pr, to, 16);
}

static size_t report_capabilities(uint8_t *to)
{
	memset(to, 0, 8);
	hf_put_be16(to, 8);
	to[2] = 0x05; /* ATP_C, PTPL_C */
	to[3] = 0x81; /* TMV, PTPL_A */
	to[4] = 0xea; /* every type */
	to[5] = 0x01;
	return 8;
}

static size_t read_full_status(const struct hf_pr *pr, uint8_t *to)
{
	size_t at = 8;

	for (unsigned i = 0; i < pr->count; i++) {
		const struct hf_pr_registrant *one = &pr->registrants[i];
		bool holds = pr->type != HF_PR_NONE && (is_all(pr->type) || pr->holder == i);

		memset(to + at, 0, 24);
		hf_put_be64(to + at, one->key);
		to[at + 12] = holds ? 0x01 : 0;
		to[at + 13] = holds ? (uint8_t)pr->type : 0;
		hf_put_be16(to + at + 18, 1);
		hf_put_be32(to + at + 20, one->port.bytes);
		memcpy(to + at + 24, one->port.id, one->port.bytes);
		at += 24 + (size_t)one->port.bytes;
	}
	return put_header(pr, to, at - 8);
}

size_t hf_pr_in(const struct hf_pr *pr, uint8_t action, uint8_t *to)
{
	switch (action) {
	case 0:
		return read_keys(pr, to);
	case 1:
		return read_reservation(pr, to);
	case 2:
		return report_capabilities(to);
	case 3:
		return read_full_status(pr, to);
	default:
		return 0;
	}
}

/* ---- To be kept ---- */

size_t hf_pr_encode(const struct hf_pr *pr, uint8_t *to)
{
	size_t at = KEPT_HEADER_BYTES;

	memset(to, 0, KEPT_HEADER_BYTES);
	hf_put_le32(to, KEPT_VERSION);
	hf_put_le32(to + 4, pr->generation);
	hf_put_le16(to + 8, (uint16_t)pr->type);
	hf_put_le16(to + 10, pr->type == HF_PR_NONE ? 0 : pr->holder);
	hf_put_le16(to + 12, pr->count);
	for (unsigned i = 0; i < pr->count; i++) {
		const struct hf_pr_registrant *one = &pr->registrants[i];

		hf_put_le64(to + at, one->key);
		hf_put_le16(to + at + 8, one->port.bytes);
		memcpy(to + at + 10, one->port.id, one->port.bytes);
		at += 10 + (size_t)one->port.bytes;
	}
	return at;
}

static bool decode_registrant(const uint8_t *from, size_t bytes, struct hf_pr_registrant *one,
			      size_t *used)
{
	if (bytes < 10)
		return false;
	one->key = hf_get_le64(from);
	one->port.bytes = hf_get_le16(from + 8);
	if (one->key == 0 || one->port.bytes > sizeof one->port.id || one->port.bytes < 24 ||
	    one->port.bytes > bytes - 10)
		return false;
	memcpy(one->port.id, from + 10, one->port.bytes);
	*used = 10 + (size_t)one->port.bytes;
	return true;
}

static bool is_sound(const struct hf_pr *pr)
{
	bool known = pr->type == HF_PR_NONE || pr->type == HF_PR_WRITE_EXCLUSIVE ||
		     pr->type == HF_PR_EXCLUSIVE_ACCESS ||
		     (pr->type >= HF_PR_WRITE_EXCLUSIVE_REGISTRANTS &&
		      pr->type <= HF_PR_EXCLUSIVE_ACCESS_ALL);

	return known && (pr->type == HF_PR_NONE || pr->holder < pr->count);
}

bool hf_pr_decode(const uint8_t *from, size_t bytes, struct hf_pr *pr)
{
	size_t at = KEPT_HEADER_BYTES;
	unsigned count;

	memset(pr, 0, sizeof *pr);
	if (bytes == 0)
		return true;
	if (bytes < KEPT_HEADER_BYTES || hf_get_le32(from) != KEPT_VERSION)
		return false;
	pr->generation = hf_get_le32(from + 4);
	pr->type = (enum hf_pr_type)hf_get_le16(from + 8);
	pr->holder = hf_get_le16(from + 10);
	count = hf_get_le16(from + 12);
	if (count > HF_PR_REGISTRANTS_MAX)
		return false;
	for (; pr->count < count; pr->count++) {
		size_t used;

		if (!decode_registrant(from + at, bytes - at, &pr->registrants[pr->count], &used))
			return false;
		at += used;
	}
	return at == bytes && is_sound(pr);
}
