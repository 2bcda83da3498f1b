/* SPDX-License-Identifier: GPL-2.0-only
 * Part of the Holdfast backing store, which tgtd loads; see docs/LICENSING.md. */
/* tgt's interface to backing stores, as far as this one touches it: tgt packages no headers. The
 * layout is that of x86-64 and identical in tgt 1.0.50 to 1.0.97; it is held three times: by the
 * asserts here, against the running tgtd (tgt_calls.c) and against tgt's source package
 * (tests/target/abi_source). Declarations of our own; names are tgt's with `tgt_` in front. */
#ifndef HF_TARGET_TGT_ABI_H
#define HF_TARGET_TGT_ABI_H

#include <stddef.h>
#include <stdint.h>

struct tgt_lu;
struct tgt_cmd;
struct tgt_nexus;

struct tgt_list {
	struct tgt_list *next, *prev;
};

#define TGT_SUCCESS         0
#define TGT_NO_MEMORY       2
#define TGT_INVALID_REQUEST 17

/* scsi_cmd.state bits */
#define TGT_CMD_ASYNC_BIT 0x4ul

/* scsi_cmd.attribute (SAM-5 8.9) */
#define TGT_SIMPLE_TASK 0x20

/* SAM-5 5.3.1 */
#define SAM_GOOD                 0x00
#define SAM_CHECK_CONDITION      0x02
#define SAM_BUSY                 0x08
#define SAM_RESERVATION_CONFLICT 0x18
#define SAM_TASK_SET_FULL        0x28

struct tgt_bst {
	const char *name;
	int data_size;
	int (*open)(struct tgt_lu *lu, char *path, int *fd, uint64_t *size);
	void (*close)(struct tgt_lu *lu);
	int (*init)(struct tgt_lu *lu, char *options);
	void (*exit)(struct tgt_lu *lu);
	int (*submit)(struct tgt_cmd *cmd);
	int open_flags;
	unsigned long supported_ops[4]; /* a bit an operation code */
	struct tgt_list siblings;
};
_Static_assert(sizeof(struct tgt_bst) == 112, "backingstore_template");
_Static_assert(offsetof(struct tgt_bst, supported_ops) == 64, "backingstore_template");

struct tgt_service_action {
	uint32_t action;
	int (*perform)(int host_no, struct tgt_cmd *cmd);
};

struct tgt_operation {
	int (*perform)(int host_no, struct tgt_cmd *cmd);
	struct tgt_service_action *service_actions;
	uint8_t pr_conflict_bits;
};

struct tgt_device_type {
	unsigned char type;
	void (*functions[6])(void);
	struct tgt_operation ops[256];
	struct tgt_list siblings;
};
_Static_assert(sizeof(struct tgt_device_type) == 6216, "device_type_template");

struct tgt_vpd {
	uint16_t size;
	void (*update)(struct tgt_lu *lu, void *data);
	uint8_t data[]; /* the page after its header of 4 bytes */
};

struct tgt_mode_page {
	struct tgt_list siblings;
	uint8_t code, subcode;
	int16_t size;
	uint8_t data[]; /* `size` bytes of the page, then as many of what may be changed */
};
_Static_assert(offsetof(struct tgt_mode_page, data) == 20, "mode_pg");

struct tgt_attributes {
	char scsi_id[37];
	char scsi_sn[37];
	uint64_t numeric_id;
	char vendor_id[9];
	char product_id[17];
	char product_revision[5];
	uint16_t version_descriptors[8];
	unsigned char device_type;
	char qualifier, removable, readonly, software_write_protect, thin_provisioning, online;
	char sense_format; /* descriptor format */
	unsigned char physical_block_exponent;
	char no_auto_physical_block;
	uint16_t lowest_aligned_lba;
	uint16_t rotation_rate;
	struct tgt_vpd *vpd[128]; /* pages 0x80 … 0xff */
};
_Static_assert(sizeof(struct tgt_attributes) == 1176, "lu_phy_attr");

struct tgt_lu {
	int fd;
	uint64_t addr;
	uint64_t size; /* bytes */
	uint64_t lun;
	char *path;
	int open_flags;
	unsigned int block_shift;
	struct tgt_list device_siblings, nexus_list;
	int active_commands;
	unsigned long queue_state;
	struct tgt_list queue;
	uint64_t reserve_id;
	struct tgt_device_type device_type; /* this LUN's own copy */
	struct tgt_bst *bst;
	void *target;
	uint8_t mode_block_descriptor[8];
	struct tgt_list mode_pages;
	struct tgt_attributes attributes;
	struct tgt_list registrations;
	uint32_t reservation_generation;
	void *reservation_holder;
	void *module_data;
	int (*perform)(int tid, struct tgt_cmd *cmd);
	void (*cmd_done)(void *target, struct tgt_cmd *cmd);
};
_Static_assert(sizeof(struct tgt_lu) == 7608, "scsi_lu");
_Static_assert(offsetof(struct tgt_lu, size) == 16, "scsi_lu");
_Static_assert(offsetof(struct tgt_lu, block_shift) == 44, "scsi_lu");
_Static_assert(offsetof(struct tgt_lu, device_type) == 120, "scsi_lu");
_Static_assert(offsetof(struct tgt_lu, bst) == 6336, "scsi_lu");
_Static_assert(offsetof(struct tgt_lu, attributes) == 6376, "scsi_lu");
_Static_assert(offsetof(struct tgt_lu, perform) == 7592, "scsi_lu");

struct tgt_data_buffer {
	uint64_t buffer; /* address */
	uint32_t length; /* bytes the initiator gives or expects */
	uint32_t transfer_length;
	int32_t residual;
};

struct tgt_cmd {
	void *target;
	struct tgt_list hash, queue;
	uint64_t device_id;
	struct tgt_lu *lu;
	unsigned long state;
	int direction;
	struct tgt_data_buffer in, out;
	uint64_t nexus_id;
	uint64_t offset;
	uint32_t transfer_bytes; /* overflows at 4 GiB: not used here */
	uint8_t *cdb;
	int cdb_length;
	uint8_t lun_bytes[8];
	int attribute;
	uint64_t tag;
	int result;
	void *management_request;
	unsigned char sense[252];
	int sense_length;
	struct tgt_list backing_store_list;
	struct tgt_nexus *nexus;
	struct tgt_nexus_lu *nexus_lu;
};
_Static_assert(sizeof(struct tgt_cmd) == 480, "scsi_cmd");
_Static_assert(offsetof(struct tgt_cmd, lu) == 48, "scsi_cmd");
_Static_assert(offsetof(struct tgt_cmd, state) == 56, "scsi_cmd");
_Static_assert(offsetof(struct tgt_cmd, in) == 72, "scsi_cmd");
_Static_assert(offsetof(struct tgt_cmd, out) == 96, "scsi_cmd");
_Static_assert(offsetof(struct tgt_cmd, offset) == 128, "scsi_cmd");
_Static_assert(offsetof(struct tgt_cmd, cdb) == 144, "scsi_cmd");
_Static_assert(offsetof(struct tgt_cmd, result) == 176, "scsi_cmd");
_Static_assert(offsetof(struct tgt_cmd, sense) == 192, "scsi_cmd");
_Static_assert(offsetof(struct tgt_cmd, sense_length) == 444, "scsi_cmd");
_Static_assert(offsetof(struct tgt_cmd, backing_store_list) == 448, "scsi_cmd");

/* A session. */
struct tgt_nexus {
	uint64_t id;
	long created; /* seconds */
};

/* A session's view of a LUN. */
struct tgt_nexus_lu {
	struct tgt_lu *lu;
	uint64_t nexus_id;
	uint64_t statistics[8];
	struct tgt_list nexus_siblings, lu_siblings; /* lu_siblings: in tgt_lu.nexus_list */
};
_Static_assert(offsetof(struct tgt_nexus_lu, lu_siblings) == 96, "it_nexus_lu_info");

struct tgt_event {
	void (*handler)(struct tgt_event *event);
	int scheduled;
	void *data;
	struct tgt_list list;
};
_Static_assert(sizeof(struct tgt_event) == 40, "event_data");

#endif
