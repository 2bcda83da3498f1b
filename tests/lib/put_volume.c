/* See put_volume.h. */
#include "tests/lib/put_volume.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/ids.h"
#include "base/log.h"
#include "gateway/cli/key_file.h"

static void closed(void *context)
{
	(void)context;
}

static void remote_closed(void *context)
{
	struct put_volume *put = context;

	hf_env_uv_close(put->env, closed, NULL);
}

void put_volume_end(struct put_volume *put, int status)
{
	put->status = status;
	if (put->remote)
		hf_remote_close(put->remote, remote_closed, put);
	else
		remote_closed(put);
}

static void checkpointed(struct hf_remote_checkpoint *checkpoint)
{
	struct put_volume *put = hf_container_of(checkpoint, struct put_volume, checkpoint);

	put_volume_end(put, checkpoint->status);
}

void put_volume_finish(struct put_volume *put)
{
	put->checkpoint.done = checkpointed;
	hf_remote_checkpoint(put->remote, &put->checkpoint);
}

static void opened(struct hf_remote_open *open)
{
	struct put_volume *put = hf_container_of(open, struct put_volume, open);

	put->remote = open->remote;
	if (open->status) {
		fprintf(stderr, "%s\n", open->message.text);
		put_volume_end(put, open->status);
		return;
	}
	put->begin();
}

static void store_set(struct hf_env_uv_store_change *change)
{
	struct put_volume *put = hf_container_of(change, struct put_volume, store);

	if (change->status) {
		fprintf(stderr, "%s\n", change->message.text);
		put_volume_end(put, change->status);
		return;
	}
	put->open.env = hf_env_uv_table(put->env);
	put->open.attach_epoch = 1;
	put->open.claim = put->open.create = true;
	put->open.opened = opened;
	hf_remote_open_start(&put->open);
}

int put_volume_run(struct put_volume *put, char **argv)
{
	struct hf_env_uv_config config = {.loop = uv_default_loop()};
	struct hf_errmsg message = {""};

	hf_log_init(argv[0]);
	if (hf_id_parse(HF_ID_VOLUME, argv[3], &put->open.volume) ||
	    hf_id_parse(HF_ID_TENANT, argv[4], &put->open.tenant) ||
	    hf_key_file_read(argv[2], put->open.volume, put->open.wrap_key, &message)) {
		fprintf(stderr, "%s\n", message.text);
		return 1;
	}
	HF_ASSERT(hf_env_uv_open(&config, &put->env, &message) == 0);
	put->store.config = (struct hf_store_config){
		.url = argv[1],
		.access_key = getenv("AWS_ACCESS_KEY_ID"),
		.secret_key = getenv("AWS_SECRET_ACCESS_KEY"),
		.ca_file = put->ca_file,
	};
	put->store.done = store_set;
	hf_env_uv_set_store(put->env, &put->store);
	uv_run(config.loop, UV_RUN_DEFAULT);
	uv_loop_close(config.loop);
	return put->status ? 1 : 0;
}
