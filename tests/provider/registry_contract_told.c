/* What every registry promises of what a gateway was told, and of what it says that a restored
 * registry does not know (registry_contract.h). */
#include "provider/registry/told.h"
#include "tests/provider/registry_contract_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static int put(uint64_t generation)
{
	struct hf_reg_document d = {.gateway = 1,
				    .incarnation = 10,
				    .generation = generation,
				    .bytes = (const uint8_t *)"x",
				    .length = 1};

	return hf_registry_document_put(reg, &d);
}

static uint64_t told(void)
{
	struct hf_reg_gateway g;

	assert_int_equal(hf_registry_gateway_get(reg, 1, &g), 0);
	return g.told;
}

/* What is stored while the gateway is held counts as told; while it is away, nothing does before
 * its next holder says that it sends it. */
void test_what_was_told(void **state)
{
	struct hf_reg_document head;
	uint64_t epoch;

	(void)state;
	insert_gateway(1, "a");
	assert_int_equal(put(3), 0);
	assert_int_equal(told(), 0);
	assert_int_equal(hf_registry_gateway_grant(reg, 1, 0, 1, "v", &epoch), 0);
	assert_int_equal(hf_registry_document_head(reg, 1, &head), 0);
	assert_int_equal(head.told, 0);
	assert_int_equal(hf_registry_gateway_told(reg, 1, epoch + 1, 3), HF_EFENCED);
	assert_int_equal(hf_registry_gateway_told(reg, 1, epoch, 3), 0);
	assert_int_equal(hf_registry_gateway_told(reg, 1, epoch, 2), 0);
	assert_int_equal(told(), 3);
	assert_int_equal(put(5), 0);
	assert_int_equal(told(), 5);
	assert_int_equal(hf_registry_document_head(reg, 1, &head), 0);
	assert_int_equal(head.told, 5);
	assert_int_equal(hf_registry_gateway_left(reg, 1, epoch, 2), 0);
	assert_int_equal(put(6), 0);
	assert_int_equal(told(), 5);
}

/* What must not be told any more is gone, and does not come back from the signer. */
void test_what_is_never_told(void **state)
{
	struct hf_reg_document head;
	uint64_t epoch;

	(void)state;
	insert_gateway(1, "a");
	assert_int_equal(put(3), 0);
	assert_int_equal(hf_registry_begin(reg), 0);
	assert_int_equal(hf_registry_gateway_untold(reg, 1, 5), 0);
	assert_int_equal(hf_registry_end(reg, 0), 0);
	assert_int_equal(hf_registry_document_head(reg, 1, &head), HF_ENOENT);
	assert_int_equal(put(4), HF_ESTALE);
	assert_int_equal(hf_registry_gateway_grant(reg, 1, 0, 1, "v", &epoch), 0);
	assert_int_equal(hf_registry_gateway_told(reg, 1, epoch, 4), HF_ESTALE);
	assert_int_equal(told(), 0);
	assert_int_equal(put(5), 0);
	assert_int_equal(told(), 5);
}

/* Since when a volume is at a gateway stays, whatever becomes of it there. A database that was
 * restored takes everything for told, and every version above what may have been reported since the
 * backup. */
void test_since_when(void **state)
{
	struct hf_reg_placement p = {.volume = 5, .gateway = 1, .desired = HF_REG_ATTACHED};
	struct hf_reg_volume v = {.id = 5, .size_bytes = 4096, .gateway = 1, .block_size = 512};
	struct hf_reg_gateway g;
	struct hf_reg_info info;

	(void)state;
	insert_gateway(1, "a");
	insert_gateway(2, "never changed");
	assert_int_equal(hf_registry_info(reg, &info), 0);
	v.tenant = info.tenant;
	assert_int_equal(hf_registry_volume_insert(reg, &v), 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(hf_registry_gateway_bump(reg, 1, &p.version), 0);
		assert_int_equal(hf_registry_placement_put(reg, &p), 0);
	}
	assert_int_equal(hf_registry_placement_get(reg, 5, 1, &p), 0);
	assert_int_equal(p.since, 1);
	assert_int_equal(p.version, 3);
	assert_int_equal(hf_registry_new_incarnation(reg, 0), 0);
	assert_int_equal(hf_registry_gateway_get(reg, 1, &g), 0);
	assert_true(g.told == g.generation && g.generation > p.version + 100000);
	assert_int_equal(hf_registry_gateway_get(reg, 2, &g), 0);
	assert_int_equal(g.generation, 0);
	/* … above what followed when this backup was restored before: the clock's milliseconds. */
	assert_int_equal(hf_registry_new_incarnation(reg, 1764000000000), 0);
	assert_int_equal(hf_registry_gateway_get(reg, 1, &g), 0);
	assert_true(g.generation == 1764000000000);
	assert_int_equal(hf_registry_placement_get(reg, 5, 1, &p), 0);
	assert_true(p.version == g.generation);
	assert_int_equal(hf_registry_new_incarnation(reg, 1764000000001), 0);
	assert_int_equal(hf_registry_gateway_get(reg, 1, &g), 0);
	assert_true(g.generation > 1764000100000);
}

/* What gateways say of themselves only rises, within bounds, and of their tenant's volumes only. */
void test_what_a_gateway_says(void **state)
{
	struct hf_reg_volume v = {.id = 5, .attach_epoch = 2, .gateway = 1, .block_size = 512};
	struct hf_reg_gateway g;
	struct hf_reg_info info;

	(void)state;
	insert_gateway(1, "a");
	assert_int_equal(hf_registry_gateway_sequence(reg, 1, 7), 0);
	assert_int_equal(hf_registry_gateway_sequence(reg, 1, 6), 0);
	assert_int_equal(hf_registry_gateway_get(reg, 1, &g), 0);
	assert_int_equal(g.sequence, 7);
	assert_int_equal(hf_registry_info(reg, &info), 0);
	v.tenant = info.tenant;
	assert_int_equal(hf_registry_volume_insert(reg, &v), 0);
	assert_int_equal(hf_registry_volume_epoch(reg, 5, info.tenant + 1, 9), 0);
	assert_int_equal(hf_registry_volume_epoch(reg, 5, info.tenant, 1), 0);
	assert_int_equal(hf_registry_volume_epoch(reg, 5, info.tenant, 1ull << 40), 0);
	assert_int_equal(hf_registry_volume_epoch(reg, 5, info.tenant, UINT64_MAX), 0);
	assert_int_equal(hf_registry_volume_get(reg, 5, &v), 0);
	assert_int_equal(v.attach_epoch, 2);
	assert_int_equal(hf_registry_volume_epoch(reg, 5, info.tenant, 9), 0);
	assert_int_equal(hf_registry_volume_get(reg, 5, &v), 0);
	assert_int_equal(v.attach_epoch, 9);
	assert_int_equal(hf_registry_volume_epoch(reg, 6, info.tenant, 9), 0); /* none */
}
