/* A program's frame for putting a volume into a store through remote/ and nothing else, with no
 * gateway: opens store and volume, lets the caller upload, writes a checkpoint of the map at the
 * end. One volume a process; the loop's thread. */
#ifndef HF_TESTS_LIB_PUT_VOLUME_H
#define HF_TESTS_LIB_PUT_VOLUME_H

#include "gateway/volumed/env_uv.h"
#include "remote/remote.h"

struct put_volume {
	/* The caller's: open.size_bytes, open.advanced, maybe open.claims_look_ms. */
	struct hf_remote_open open;
	void (*begin)(void); /* the volume is open: upload */
	const char *ca_file; /* NULL: none */
	struct hf_remote *remote;
	/* private */
	struct hf_env_uv *env;
	struct hf_env_uv_store_change store;
	struct hf_remote_checkpoint checkpoint;
	int status;
};

/* `argv`: name of the program, STORE_URL, KEY_FILE, VOLUME, TENANT; credentials from the
 * environment. Runs until put_volume_end; the exit status. What fails is said on standard error. */
int put_volume_run(struct put_volume *put, char **argv);
/* Everything counts: writes a checkpoint, then ends. */
void put_volume_finish(struct put_volume *put);
void put_volume_end(struct put_volume *put, int status);

#endif
