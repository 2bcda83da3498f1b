/* The directory store: an object is a file. This file is its asynchronous half, on the store's
 * loop: each operation becomes one job of libuv's worker threads (store_dir_root.c, _files.c and
 * _list.c do the blocking work). A job that has begun cannot be taken back: a deadline or
 * a close that comes later waits for it. */
#include "remote/store_dir.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "remote/store_impl.h"

#define OP_MAGIC 0x4846444fu

struct dir_store {
	struct hf_store base;
	char *path;
	char id[HF_DIR_ID_MAX];
	struct hf_list ops; /* jobs that have not come back */
};

struct dir_op {
	uint32_t magic;
	struct dir_store *store;
	struct hf_store_io *io;
	uint64_t deadline_ns;
	int status;
	uv_work_t work;
	struct hf_list link;
};

static int execute(int root, struct hf_store_io *io)
{
	switch (io->op) {
	case HF_STORE_PUT:
		return hf_dir_put(root, io->name, io->data, io->length, io->if_absent);
	case HF_STORE_GET:
		return hf_dir_get(root, io->name, io->range_start, io->range_length, &io->body,
				  &io->body_length);
	case HF_STORE_LIST:
		return hf_dir_list(root, io);
	case HF_STORE_DELETE:
		return hf_dir_delete(root, io->name);
	}
	return HF_EINVAL;
}

static void run(uv_work_t *work)
{
	struct dir_op *op = hf_container_of(work, struct dir_op, work);
	int root;

	if (uv_hrtime() >= op->deadline_ns) {
		op->status = HF_ETIMEDOUT;
		return;
	}
	op->status = hf_dir_root(op->store->path, op->store->id, &root);
	if (op->status)
		return;
	op->status = execute(root, op->io);
	close(root);
}

static void ran(uv_work_t *work, int uv_status)
{
	struct dir_op *op = hf_container_of(work, struct dir_op, work);
	struct dir_store *store = op->store;

	HF_CHECK_MAGIC(op, OP_MAGIC);
	hf_list_remove(&op->link);
	hf_store_finish(&store->base, op->io, uv_status == 0 ? op->status : HF_ECANCELED);
	op->magic = 0;
	free(op);
	if (store->base.close_started && hf_list_empty(&store->ops))
		hf_store_closed(&store->base);
}

static void dir_submit(struct hf_store *base, struct hf_store_io *io, uint64_t deadline_ns)
{
	struct dir_store *store = hf_container_of(base, struct dir_store, base);
	struct dir_op *op = calloc(1, sizeof *op);

	HF_ASSERT(op != NULL);
	op->magic = OP_MAGIC;
	op->store = store;
	op->io = io;
	op->deadline_ns = deadline_ns;
	hf_list_push_back(&store->ops, &op->link);
	HF_ASSERT(uv_queue_work(base->loop, &op->work, run, ran) == 0);
}

/* What has not begun is cancelled, what has is waited for. */
static void dir_close(struct hf_store *base)
{
	struct dir_store *store = hf_container_of(base, struct dir_store, base);

	if (hf_list_empty(&store->ops)) {
		hf_store_closed(base);
		return;
	}
	hf_list_for_each (link, &store->ops) {
		struct dir_op *op = hf_container_of(link, struct dir_op, link);

		uv_cancel((uv_req_t *)&op->work);
	}
}

static void dir_destroy(struct hf_store *base)
{
	struct dir_store *store = hf_container_of(base, struct dir_store, base);

	free(store->path);
	free(store);
}

static const struct hf_store_ops dir_ops = {
	.submit = dir_submit,
	.close = dir_close,
	.destroy = dir_destroy,
};

int hf_store_dir_open(uv_loop_t *loop, const char *path, struct hf_store **store,
		      struct hf_errmsg *message)
{
	struct dir_store *dir;
	int err;

	if (path[0] != '/')
		return hf_fail(message, HF_EINVAL, "store dir:%s: the path must begin with /",
			       path);
	dir = calloc(1, sizeof *dir);
	if (!dir)
		return HF_ENOMEM;
	hf_list_init(&dir->ops);
	dir->path = strdup(path);
	err = dir->path ? hf_dir_prepare(path, dir->id, message) : HF_ENOMEM;
	if (err == 0)
		err = hf_store_base_init(&dir->base, &dir_ops, loop);
	if (err) {
		dir_destroy(&dir->base);
		return err;
	}
	*store = &dir->base;
	return 0;
}
