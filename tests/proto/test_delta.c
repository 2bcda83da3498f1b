/* Promises of deltas (invariant 4): the delta between two documents, put onto the one, gives the
 * other byte for byte, whatever came, went or changed; put onto anything else it is refused or
 * gives other bytes; the encoding of a document does not depend on the order it was built in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/sign.h"
#include "proto/delta.h"

#define VOLUMES_MAX 40u

static uint32_t draw(uint32_t *seed, uint32_t below)
{
	*seed = *seed * 1664525u + 1013904223u;
	return (*seed >> 8) % below;
}

static char *text(const char *from)
{
	char *copy = strdup(from);

	assert_non_null(copy);
	return copy;
}

static Holdfast__Volume *make_volume(uint64_t number, uint32_t *seed)
{
	Holdfast__Volume *volume = malloc(sizeof *volume);
	char name[32];

	holdfast__volume__init(volume);
	snprintf(name, sizeof name, "volume-%u", draw(seed, 3));
	volume->volume = number;
	volume->version = 1 + draw(seed, 2);
	volume->name = text(name);
	volume->size_bytes = 4096u << draw(seed, 2);
	volume->sealed.data = malloc(200);
	volume->sealed.len = 200;
	memset(volume->sealed.data, (int)number, 200);
	return volume;
}

/* Numbers 1 … VOLUMES_MAX are there, deleted or absent, by chance. */
static Holdfast__Document *make(uint64_t generation, uint32_t *seed)
{
	Holdfast__Document *document = malloc(sizeof *document);

	holdfast__document__init(document);
	document->incarnation = 1;
	document->generation = generation;
	document->volumes = calloc(VOLUMES_MAX, sizeof(void *));
	document->tombstones = calloc(VOLUMES_MAX, sizeof(void *));
	for (uint64_t number = VOLUMES_MAX; number > 0; number--) {
		uint32_t what = draw(seed, 8);

		if (what < 5) {
			document->volumes[document->n_volumes++] = make_volume(number, seed);
		} else if (what < 6) {
			Holdfast__Tombstone *tombstone = malloc(sizeof *tombstone);

			holdfast__tombstone__init(tombstone);
			tombstone->volume = number;
			tombstone->version = draw(seed, 2);
			document->tombstones[document->n_tombstones++] = tombstone;
		}
	}
	if (draw(seed, 3)) {
		document->store = malloc(sizeof *document->store);
		holdfast__store__init(document->store);
		document->store->url = text(draw(seed, 2) ? "dir:/a" : "dir:/b");
	}
	if (draw(seed, 2)) {
		document->network = malloc(sizeof *document->network);
		holdfast__network__init(document->network);
		document->network->version = draw(seed, 2);
	}
	if (draw(seed, 2)) {
		document->requires = calloc(2, sizeof(char *));
		document->n_requires = 2;
		document->requires[0] = text("volume-1");
		document->requires[1] = text("block-4096");
	}
	hf_document_sort(document);
	return document;
}

struct packed {
	uint8_t *bytes, hash[HF_DELTA_HASH_BYTES];
	size_t length;
};

static struct packed pack(const Holdfast__Document *document)
{
	struct packed packed = {.length = holdfast__document__get_packed_size(document)};

	packed.bytes = malloc(packed.length + 1);
	holdfast__document__pack(document, packed.bytes);
	hf_sha256(packed.bytes, packed.length, packed.hash);
	return packed;
}

static void test_any_change_comes_out_byte_for_byte(void **state)
{
	uint32_t seed = 1;

	(void)state;
	for (int round = 0; round < 300; round++) {
		Holdfast__Document *base = make(1, &seed), *next = make(2, &seed);
		struct packed from = pack(base), to = pack(next);
		uint8_t *delta, *bytes;
		size_t length, made;
		int err =
			hf_delta_make(base, from.hash, next, to.bytes, to.length, &delta, &length);

		if (err) { /* everything changed */
			assert_int_equal(err, HF_ENOENT);
		} else {
			assert_true(length < to.length);
			assert_int_equal(
				hf_delta_apply(base, from.hash, delta, length, &bytes, &made), 0);
			assert_int_equal(made, to.length);
			assert_memory_equal(bytes, to.bytes, made);
			free(bytes);
			/* Another base, also of the same numbers. */
			assert_int_equal(
				hf_delta_apply(next, to.hash, delta, length, &bytes, &made),
				HF_ESTALE);
			assert_int_equal(
				hf_delta_apply(base, to.hash, delta, length, &bytes, &made),
				HF_ESTALE);
			assert_int_equal(hf_delta_apply(NULL, NULL, delta, length, &bytes, &made),
					 HF_ESTALE);
			free(delta);
		}
		free(from.bytes);
		free(to.bytes);
		holdfast__document__free_unpacked(base, NULL);
		holdfast__document__free_unpacked(next, NULL);
	}
}

/* One of many volumes grows: the delta has the size of the change, not of the state. */
static void test_a_small_change_is_small(void **state)
{
	uint32_t seed = 7;
	Holdfast__Document *document = make(1, &seed);
	struct packed from = pack(document), to;
	Holdfast__Document *base = holdfast__document__unpack(NULL, from.length, from.bytes);
	uint8_t *delta;
	size_t length;

	(void)state;
	document->generation = 2;
	document->volumes[3]->size_bytes += 4096;
	to = pack(document);
	assert_int_equal(
		hf_delta_make(base, from.hash, document, to.bytes, to.length, &delta, &length), 0);
	assert_true(length < 400);
	free(delta);
	free(from.bytes);
	free(to.bytes);
	holdfast__document__free_unpacked(base, NULL);
	holdfast__document__free_unpacked(document, NULL);
}

static void test_the_encoding_does_not_depend_on_the_order(void **state)
{
	uint32_t seed = 9;
	Holdfast__Document *document = make(1, &seed);
	struct packed first = pack(document), again;

	(void)state;
	for (int round = 0; round < 50; round++) {
		for (size_t i = 0; i < document->n_volumes; i++) {
			size_t j = draw(&seed, (uint32_t)document->n_volumes);
			Holdfast__Volume *volume = document->volumes[i];

			document->volumes[i] = document->volumes[j];
			document->volumes[j] = volume;
		}
		hf_document_sort(document);
		again = pack(document);
		assert_int_equal(again.length, first.length);
		assert_memory_equal(again.bytes, first.bytes, first.length);
		free(again.bytes);
	}
	free(first.bytes);
	holdfast__document__free_unpacked(document, NULL);
}

/* A base in another order was not encoded by the rule: no delta is made against it. */
static void test_no_delta_that_would_not_fit(void **state)
{
	uint32_t seed = 11;
	Holdfast__Document *document = make(1, &seed);
	Holdfast__Volume *volume = document->volumes[0];
	struct packed packed;
	Holdfast__Document *base;
	uint8_t *delta;
	size_t length;

	(void)state;
	packed = pack(document);
	base = holdfast__document__unpack(NULL, packed.length, packed.bytes);
	free(packed.bytes);
	document->volumes[0] = document->volumes[1];
	document->volumes[1] = volume;
	document->generation = 2;
	packed = pack(document);
	assert_int_equal(hf_delta_make(base, packed.hash, document, packed.bytes, packed.length,
				       &delta, &length),
			 HF_ENOENT);
	free(packed.bytes);
	holdfast__document__free_unpacked(base, NULL);
	holdfast__document__free_unpacked(document, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_any_change_comes_out_byte_for_byte),
		cmocka_unit_test(test_a_small_change_is_small),
		cmocka_unit_test(test_the_encoding_does_not_depend_on_the_order),
		cmocka_unit_test(test_no_delta_that_would_not_fit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
