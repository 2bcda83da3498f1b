/* The headers behind remote/table.h. Core's thread; what is ready is owned by the table, and lies
 * in the process's list of struct hf_remote_maps. */
#include "remote/remote_impl.h"
#include "base/log.h"
#include "remote/maps.h"

#include <stdlib.h>

#define TABLE_MAGIC 0x5441424cu

static struct hf_list *bucket_of(struct hf_remote *remote, uint64_t index)
{
	return &remote->tables[index % HF_TABLE_BUCKETS];
}

static struct hf_table *find(struct hf_remote *remote, uint64_t index)
{
	struct hf_list *bucket = bucket_of(remote, index);

	hf_list_for_each (at, bucket) {
		struct hf_table *table = hf_container_of(at, struct hf_table, in_bucket);

		if (table->index == index)
			return table;
	}
	return NULL;
}

static size_t table_bytes(const struct hf_table *table)
{
	return sizeof *table + table->object.chunk_count * sizeof *table->object.chunks;
}

/* ---- Memory ---------------------------------------------------------------------------------- */

static void drop(struct hf_table *table)
{
	struct hf_remote_maps *maps = table->remote->maps;

	HF_CHECK_MAGIC(table, TABLE_MAGIC);
	HF_ASSERT(table->pins == 0 && hf_list_empty(&table->waits));
	if (table->ready)
		maps->table_bytes -= table_bytes(table);
	hf_list_remove(&table->in_bucket);
	hf_list_remove(&table->in_order);
	free(table->object.chunks);
	table->magic = 0;
	free(table);
}

void hf_maps_shrink_tables(struct hf_remote_maps *maps)
{
	uint64_t limit_bytes = maps->limit_bytes / 4;

	if (maps->table_bytes <= limit_bytes)
		return;
	hf_list_for_each_safe (at, &maps->tables) {
		struct hf_table *table = hf_container_of(at, struct hf_table, in_order);

		if (maps->table_bytes <= limit_bytes)
			return;
		if (table->pins == 0)
			drop(table);
	}
}

static void become_ready(struct hf_table *table, const struct hf_object *object)
{
	struct hf_remote_maps *maps = table->remote->maps;

	table->object = *object;
	table->ready = true;
	maps->table_bytes += table_bytes(table);
	hf_list_push_back(&maps->tables, &table->in_order);
}

static struct hf_table *make(struct hf_remote *remote, uint64_t index)
{
	struct hf_table *table = calloc(1, sizeof *table);

	if (!table)
		return NULL;
	table->magic = TABLE_MAGIC;
	table->remote = remote;
	table->index = index;
	hf_list_init(&table->waits);
	hf_list_init(&table->in_order);
	hf_list_push_back(bucket_of(remote, index), &table->in_bucket);
	return table;
}

void hf_tables_init(struct hf_remote *remote)
{
	for (unsigned i = 0; i < HF_TABLE_BUCKETS; i++)
		hf_list_init(&remote->tables[i]);
}

struct hf_table *hf_table_pin(struct hf_table *table)
{
	HF_CHECK_MAGIC(table, TABLE_MAGIC);
	HF_ASSERT(table->ready);
	table->pins++;
	return table;
}

void hf_table_unpin(struct hf_table *table)
{
	HF_CHECK_MAGIC(table, TABLE_MAGIC);
	HF_ASSERT(table->pins > 0);
	if (--table->pins == 0)
		hf_maps_shrink_tables(table->remote->maps);
}

void hf_table_add(struct hf_remote *remote, uint64_t index, struct hf_object *object)
{
	struct hf_table *table = find(remote, index) ? NULL : make(remote, index);

	if (table)
		become_ready(table, object);
	else
		free(object->chunks);
	object->chunks = NULL;
	hf_maps_shrink_tables(remote->maps);
}

/* ---- Fetching -------------------------------------------------------------------------------- */

static void get(struct hf_table *table, size_t length)
{
	struct hf_store_io *io = &table->retry.io;

	*io = (struct hf_store_io){.op = HF_STORE_GET, .range_length = length};
	hf_name_object(io->name, &table->object.id);
	hf_remote_busy(table->remote);
	hf_retry_start(&table->retry);
}

/* Those who wait are told; they may ask again from inside, and then find another table. */
static void settle(struct hf_table *table, int status)
{
	struct hf_list *link;

	if (status)
		hf_list_remove(&table->in_bucket);
	else
		table->pins++;
	while ((link = hf_list_pop_front(&table->waits)) != NULL) {
		struct hf_table_wait *wait = hf_container_of(link, struct hf_table_wait, link);

		if (status)
			wait->table = NULL;
		else
			hf_table_pin(table);
		wait->done(wait, status);
	}
	if (status)
		drop(table);
	else
		hf_table_unpin(table);
}

/* 0; HF_EAGAIN: a longer header is being fetched; or what is wrong with it. */
static int take(struct hf_table *table)
{
	const struct hf_store_io *io = &table->retry.io;
	const struct hf_object_id id = table->object.id;
	struct hf_object_header header;
	struct hf_object object;
	struct hf_errmsg message = {""};
	size_t header_bytes;
	int err = hf_sealed_header_bytes(&id, HF_SEALED_OBJECT, io->body, io->body_length,
					 &header_bytes, &message);

	if (!err && header_bytes > io->body_length && io->body_length == HF_OBJECT_FIRST_GET) {
		free(table->retry.io.body);
		get(table, header_bytes);
		return HF_EAGAIN;
	}
	if (!err)
		err = hf_object_decode_header(&id, table->remote->data_key, io->body,
					      io->body_length, &header, &object, &message);
	if (!err) {
		free(header.extents);
		become_ready(table, &object);
	} else if (err != HF_ENOMEM) {
		if (table->again)
			hf_error("object %s: %s", io->name, message.text);
		err = HF_ECORRUPT;
	}
	return err;
}

static void table_got(struct hf_retry *retry, int status)
{
	struct hf_table *table = hf_container_of(retry, struct hf_table, retry);
	struct hf_remote *remote = table->remote;

	HF_CHECK_MAGIC(table, TABLE_MAGIC);
	if (status == HF_ENOENT)
		hf_error("object %s is missing", retry->io.name);
	else if (status == 0)
		status = remote->closing ? HF_ECANCELED : take(table);
	if (status != HF_EAGAIN) {
		free(retry->io.body);
		retry->io.body = NULL;
	}
	if (status == HF_ECORRUPT && !table->again && !hf_list_empty(&table->waits)) {
		table->again = true; /* it may have been the way */
		get(table, HF_OBJECT_FIRST_GET);
	} else if (status != HF_EAGAIN) {
		settle(table, status);
	}
	hf_remote_idle(remote);
}

int hf_table_need(struct hf_remote *remote, uint64_t index, struct hf_table_wait *wait,
		  uint64_t deadline_ns)
{
	struct hf_table *table = find(remote, index);
	bool fresh = !table;

	if (table && table->ready) {
		hf_list_remove(&table->in_order);
		hf_list_push_back(&remote->maps->tables, &table->in_order);
		wait->table = hf_table_pin(table);
		return 0;
	}
	if (fresh && !(table = make(remote, index)))
		return HF_ENOMEM;
	wait->table = table;
	hf_list_push_back(&table->waits, &wait->link);
	if (fresh) {
		hf_remote_object_id(remote, index, &table->object.id);
		table->retry = (struct hf_retry){.env = remote->env,
						 .trouble = &remote->trouble,
						 .deadline_ns = deadline_ns,
						 .done = table_got};
		get(table, HF_OBJECT_FIRST_GET);
	} else if (!deadline_ns ||
		   (table->retry.deadline_ns && deadline_ns > table->retry.deadline_ns)) {
		table->retry.deadline_ns = deadline_ns;
	}
	return HF_EAGAIN;
}

void hf_table_leave(struct hf_table_wait *wait)
{
	struct hf_table *table = wait->table;

	HF_CHECK_MAGIC(table, TABLE_MAGIC);
	hf_list_remove(&wait->link);
	wait->table = NULL;
	if (!hf_list_empty(&table->waits))
		return;
	/* Nobody joins a GET that was given up: it may be waiting for a store that is away. */
	hf_list_remove(&table->in_bucket);
	hf_retry_cancel(&table->retry);
}

/* ---- Ending ---------------------------------------------------------------------------------- */

void hf_tables_cancel_all(struct hf_remote *remote)
{
	for (unsigned i = 0; i < HF_TABLE_BUCKETS; i++) {
		hf_list_for_each (at, &remote->tables[i]) {
			struct hf_table *table = hf_container_of(at, struct hf_table, in_bucket);

			if (!table->ready)
				hf_retry_cancel(&table->retry);
		}
	}
}

void hf_tables_free(struct hf_remote *remote)
{
	for (unsigned i = 0; i < HF_TABLE_BUCKETS; i++)
		while (!hf_list_empty(&remote->tables[i]))
			drop(hf_container_of(remote->tables[i].next, struct hf_table, in_bucket));
}
