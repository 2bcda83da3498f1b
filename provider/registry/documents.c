/* Table documents: the newest signed document of each gateway. The registry's thread. */
#include "provider/registry/internal.h"

#include <stdlib.h>
#include <string.h>

/* Whoever holds the gateway sends it at once. */
static int put(struct hf_registry *reg, const struct hf_reg_document *d)
{
	int err = hf_db_change(
		reg->db,
		"INSERT INTO documents (gateway, incarnation, generation, hash, bytes) "
		"VALUES ($1, $2, $3, $4, $5) ON CONFLICT (gateway) DO UPDATE SET "
		"incarnation = excluded.incarnation, "
		"generation = excluded.generation, hash = excluded.hash, "
		"bytes = excluded.bytes WHERE (excluded.incarnation, "
		"excluded.generation) > (documents.incarnation, documents.generation)",
		"iiibb", d->gateway, d->incarnation, d->generation, d->hash, sizeof d->hash,
		d->bytes, d->length);

	if (err)
		return err == HF_ENOENT ? HF_ESTALE : err;
	return hf_db_change(reg->db,
			    "UPDATE gateways SET work = work + 1, told = CASE WHEN process != 0 "
			    "AND told < $1 THEN $1 ELSE told END WHERE id = $2",
			    "ii", d->generation, d->gateway);
}

int hf_registry_document_put(struct hf_registry *reg, const struct hf_reg_document *d)
{
	uint64_t least;
	bool own;
	int err = hf_db_enter(reg->db, &own);

	if (err)
		return err;
	err = hf_db_one(reg->db, hf_db_read_u64, &least, "SELECT least FROM gateways WHERE id = $1",
			"i", d->gateway);
	if (!err && d->generation < least)
		err = HF_ESTALE;
	if (!err)
		err = put(reg, d);
	return hf_db_leave(reg->db, own, err);
}

static int read_head(void *context, struct hf_db_row *row)
{
	struct hf_reg_document *d = context;

	d->gateway = hf_db_u64(row);
	d->incarnation = hf_db_u64(row);
	d->generation = hf_db_u64(row);
	hf_db_fixed(row, d->hash, sizeof d->hash);
	return 0;
}

static int read_head_and_told(void *context, struct hf_db_row *row)
{
	struct hf_reg_document *d = context;

	read_head(context, row);
	d->told = hf_db_u64(row);
	return 0;
}

static int read_document(void *context, struct hf_db_row *row)
{
	struct hf_reg_document *d = context;

	read_head(context, row);
	d->bytes = hf_db_copy(row, &d->length);
	return 0;
}

int hf_registry_document_get(struct hf_registry *reg, uint64_t gateway,
			     struct hf_reg_document *document)
{
	int err;

	memset(document, 0, sizeof *document);
	err = hf_db_one(reg->db, read_document, document,
			"SELECT gateway, incarnation, generation, hash, bytes FROM documents "
			"WHERE gateway = $1",
			"i", gateway);
	if (err && document->bytes) {
		free((void *)(uintptr_t)document->bytes);
		document->bytes = NULL;
	}
	return err;
}

int hf_registry_document_head(struct hf_registry *reg, uint64_t gateway,
			      struct hf_reg_document *document)
{
	memset(document, 0, sizeof *document);
	return hf_db_one(reg->db, read_head_and_told, document,
			 "SELECT d.gateway, d.incarnation, d.generation, d.hash, g.told "
			 "FROM documents d JOIN gateways g ON g.id = d.gateway "
			 "WHERE d.gateway = $1",
			 "i", gateway);
}
