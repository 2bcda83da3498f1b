/* SPDX-License-Identifier: GPL-2.0-only
 * Part of the Holdfast backing store, which tgtd loads; see docs/LICENSING.md. */
/* See lun.h. Each scsi_lu has its own copy of the dispatch table, so nothing here touches another
 * backing store. */
#include "target/lun.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"
#include "target/tgt_calls.h"

/* Additional sense of unit attentions (SPC-4 annex F). */
#define MODE_PARAMETERS_CHANGED 0x2a01
#define CAPACITY_DATA_CHANGED   0x2a09

#define PAGE(code) ((code)&0x7f)

#define SUITABLE_SHIFT 12 /* 4 KiB suit log and objects best */

/* ---- Dispatch ---- */

static void override(struct tgt_lu *lu, const uint8_t *codes, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		lu->device_type.ops[codes[i]].perform = hf_command_perform;
}

/* SERVICE ACTION IN(16): READ CAPACITY(16) stays tgt's, GET LBA STATUS is ours. */
static struct tgt_service_action service_actions[] = {
	{0x10, NULL},
	{0x12, hf_command_perform},
	{0, NULL},
};

static void take_dispatch(struct tgt_lu *lu)
{
	static const uint8_t codes[] = {0x08, 0x28, 0xa8, 0x88, 0x0a, 0x2a, 0xaa, 0x8a,
					0x2e, 0xae, 0x8e, 0x41, 0x93, 0x89, 0x2f, 0xaf,
					0x8f, 0x35, 0x91, 0x34, 0x90, 0x42, 0x5e, 0x5f};
	/* FORMAT UNIT, MODE SELECT and SENSE, START STOP, SEND DIAGNOSTIC, PREVENT ALLOW, RESERVE
	 * and RELEASE: tgt's, but a reservation keeps them out. */
	static const uint8_t guarded[] = {0x04, 0x15, 0x55, 0x1a, 0x5a,
					  0x1b, 0x1d, 0x1e, 0x16, 0x17};
	struct tgt_operation *ops = lu->device_type.ops;

	override(lu, codes, sizeof codes);
	for (unsigned i = 0; i < sizeof guarded; i++)
		hf_command_guard(lu, guarded[i]);
	service_actions[0].perform = ops[0x9e].service_actions[0].perform;
	ops[0x9e].service_actions = service_actions;
}

/* ---- VPD pages (SBC-3 6.5); `data` starts at byte 4 of the page ---- */

static void update_block_limits(struct tgt_lu *lu, void *unused)
{
	uint8_t *data = lu->attributes.vpd[PAGE(0xb0)]->data;
	bool thin = lu->attributes.thin_provisioning;
	uint32_t transfer_max = HF_RING_TRANSFER_MAX >> lu->block_shift;
	uint32_t suitable = (1u << SUITABLE_SHIFT) >> lu->block_shift;

	(void)unused;
	data[1] = HF_COMPARE_BLOCKS_MAX;
	hf_put_be16(data + 2, (uint16_t)suitable); /* optimal granularity */
	hf_put_be32(data + 4, transfer_max);
	hf_put_be32(data + 8, (1u << 20) >> lu->block_shift); /* optimal length */
	hf_put_be32(data + 16, thin ? UINT32_MAX : 0);
	hf_put_be32(data + 20, thin ? HF_RING_UNMAP_RANGES_MAX : 0);
	hf_put_be32(data + 24, thin ? suitable : 0);    /* unmap granularity */
	hf_put_be32(data + 28, thin ? 0x80000000u : 0); /* from block 0 on: UGAVALID */
	hf_put_be64(data + 32, transfer_max);           /* WRITE SAME */
}

static void update_provisioning(struct tgt_lu *lu, void *unused)
{
	uint8_t *data = lu->attributes.vpd[PAGE(0xb2)]->data;
	bool thin = lu->attributes.thin_provisioning;

	(void)unused;
	data[0] = 0;
	data[1] = thin ? 0xe4 : 0; /* LBPU, LBPWS, LBPWS10, LBPRZ: unmapped blocks read as zeros */
	data[2] = thin ? 0x02 : 0;
	data[3] = 0;
}

static void take_pages(struct tgt_lu *lu)
{
	struct tgt_vpd **vpd = lu->attributes.vpd;

	lu->attributes.thin_provisioning = 1;
	lu->attributes.physical_block_exponent = (unsigned char)(SUITABLE_SHIFT - lu->block_shift);
	lu->attributes.no_auto_physical_block = 1;
	lu->attributes.rotation_rate = 1; /* no rotating medium: nothing to arrange blocks for */
	if (vpd[PAGE(0xb1)] && vpd[PAGE(0xb1)]->update)
		vpd[PAGE(0xb1)]->update(lu, NULL);
	vpd[PAGE(0xb0)]->update = update_block_limits;
	vpd[PAGE(0xb2)]->update = update_provisioning;
	update_block_limits(lu, NULL);
	update_provisioning(lu, NULL);
}

/* ---- Write cache ---- */

/* WCE says what the volume is configured for, and nobody may change it: the durability of a write
 * is volumed's, so a page that an initiator could toggle would lie. */
static void set_write_cache(struct tgt_lu *lu, bool write_cache)
{
	struct tgt_mode_page *page = hf_tgt.find_mode_page(lu, 0x08, 0);
	uint8_t before;

	if (!page || page->size != 18)
		return;
	before = page->data[0];
	page->data[0] = (uint8_t)((before & ~0x04) | (write_cache ? 0x04 : 0));
	memset(page->data + page->size, 0, (size_t)page->size);
	if (page->data[0] != before)
		hf_tgt.ua_sense_add_other_it_nexus(0, lu, MODE_PARAMETERS_CHANGED);
}

/* ---- Size ---- */

void hf_lun_set_size(struct tgt_lu *lu, uint64_t size_bytes)
{
	uint64_t blocks = size_bytes >> lu->block_shift;

	lu->size = size_bytes;
	hf_put_be32(lu->mode_block_descriptor, blocks > UINT32_MAX ? UINT32_MAX : (uint32_t)blocks);
}

void hf_lun_changed(void *owner, uint64_t size_bytes, uint32_t flags)
{
	struct hf_lun *lun = owner;
	struct tgt_lu *lu = lun->lu;

	lu->attributes.online = !(flags & HF_VOLUME_NOT_READY);
	if (flags & HF_VOLUME_NOT_READY) {
		hf_reservations_forget(&lun->reservations);
		return;
	}
	set_write_cache(lu, flags & HF_VOLUME_WRITE_CACHE);
	if (size_bytes <= lu->size) {
		if (size_bytes < lu->size)
			hf_warn("%s is smaller than its LUN", lu->path ? lu->path : "volume");
		return;
	}
	hf_lun_set_size(lu, size_bytes);
	hf_tgt.ua_sense_add_other_it_nexus(0, lu, CAPACITY_DATA_CHANGED);
}

/* ---- Identity ---- */

void hf_lun_identify(struct tgt_lu *lu, uint64_t volume)
{
	struct tgt_attributes *attributes = &lu->attributes;
	struct tgt_vpd *serial = attributes->vpd[PAGE(0x80)], *names = attributes->vpd[PAGE(0x83)];

	snprintf(attributes->vendor_id, sizeof attributes->vendor_id, "HOLDFAST");
	snprintf(attributes->product_id, sizeof attributes->product_id, "Volume");
	snprintf(attributes->scsi_id, sizeof attributes->scsi_id, "%016" PRIx64, volume);
	snprintf(attributes->scsi_sn, sizeof attributes->scsi_sn, "%016" PRIx64, volume);
	attributes->numeric_id = volume & 0x0fffffffffffffffull;
	if (serial && serial->update)
		serial->update(lu, attributes->scsi_sn);
	if (names && names->update)
		names->update(lu, attributes->scsi_id);
}

void hf_lun_take_over(struct tgt_lu *lu, uint32_t block_bytes, bool write_cache)
{
	lu->block_shift = (unsigned)__builtin_ctz(block_bytes);
	hf_put_be32(lu->mode_block_descriptor + 4, block_bytes);
	take_dispatch(lu);
	take_pages(lu);
	set_write_cache(lu, write_cache);
}
