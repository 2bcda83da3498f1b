/* hf_remote_load: brings the leaves that a range touches into memory, a few at a time, each by way
 * of its page of the index. What is there already costs nothing. Core's thread. */
#include "remote/maps.h"

#include <stdlib.h>

#define LOADING_MAGIC 0x4c4f4144u
#define LEAVES_MAX    4u /* wanted at once */

struct want {
	struct hf_loading *loading;
	struct hf_block_wait wait;
	uint64_t leaf;
};

struct hf_loading {
	uint32_t magic;
	struct hf_remote *remote;
	struct hf_remote_load *load;
	struct hf_timer deadline;
	uint64_t next_leaf, last_leaf;
	unsigned wanting;
	int status;
	struct want wants[LEAVES_MAX];
};

static void loading_end(struct hf_loading *loading)
{
	struct hf_remote_load *load = loading->load;
	struct hf_remote_maps *maps = loading->remote->maps;

	hf_env_timer_cancel(loading->remote->env, &loading->deadline);
	load->impl = NULL;
	load->status = loading->status;
	loading->magic = 0;
	free(loading);
	load->done(load);
	if (--maps->loading == 0)
		hf_maps_balance(maps);
}

static void go_on(struct hf_loading *loading);

static void want_there(struct hf_block_wait *wait, int status)
{
	struct want *want = hf_container_of(wait, struct want, wait);
	struct hf_loading *loading = want->loading;

	HF_CHECK_MAGIC(loading, LOADING_MAGIC);
	loading->wanting--;
	want->loading = NULL;
	if (status && !loading->status)
		loading->status = status;
	else if (!status && want->leaf < loading->next_leaf)
		loading->next_leaf = want->leaf; /* perhaps it was its page */
	go_on(loading);
	if (loading->wanting == 0)
		loading_end(loading);
}

static void leave_all(struct hf_loading *loading)
{
	for (unsigned i = 0; i < LEAVES_MAX; i++) {
		if (!loading->wants[i].loading)
			continue;
		hf_block_leave(&loading->wants[i].wait);
		loading->wants[i].loading = NULL;
		loading->wanting--;
	}
}

/* Wants the next leaves, as far as there are slots. */
static void go_on(struct hf_loading *loading)
{
	struct want *want = loading->wants;

	while (!loading->status && loading->next_leaf <= loading->last_leaf) {
		int err;

		while (want < loading->wants + LEAVES_MAX && want->loading)
			want++;
		if (want == loading->wants + LEAVES_MAX)
			return;
		want->wait.done = want_there;
		want->leaf = loading->next_leaf;
		err = hf_leaf_need(loading->remote, want->leaf, &want->wait,
				   loading->load->deadline_ns);
		loading->next_leaf++;
		if (err == HF_EAGAIN) {
			want->loading = loading;
			loading->wanting++;
		} else if (err) {
			loading->status = err;
		}
	}
	if (loading->status)
		leave_all(loading);
}

static void load_deadline_fired(struct hf_timer *timer)
{
	struct hf_loading *loading = hf_container_of(timer, struct hf_loading, deadline);

	HF_CHECK_MAGIC(loading, LOADING_MAGIC);
	leave_all(loading);
	loading->status = HF_ETIMEDOUT;
	loading_end(loading);
}

void hf_remote_load(struct hf_remote *remote, struct hf_remote_load *load)
{
	struct hf_loading *loading = calloc(1, sizeof *loading);

	HF_CHECK_MAGIC(remote, HF_REMOTE_MAGIC);
	HF_ASSERT(load->length > 0);
	load->impl = loading;
	if (!loading || remote->closing) {
		free(loading);
		hf_remote_finish_load(remote, load, loading ? HF_ECANCELED : HF_ENOMEM);
		return;
	}
	loading->magic = LOADING_MAGIC;
	loading->remote = remote;
	loading->load = load;
	loading->next_leaf = hf_extmap_leaf_of(load->lba);
	loading->last_leaf = hf_extmap_leaf_of(load->lba + load->length - 1);
	loading->deadline.fired = load_deadline_fired;
	go_on(loading);
	if (loading->wanting == 0) {
		load->impl = NULL;
		hf_remote_finish_load(remote, load, loading->status);
		free(loading);
		return;
	}
	remote->maps->loading++;
	if (load->deadline_ns)
		hf_env_timer_set(remote->env, &loading->deadline, load->deadline_ns);
}
