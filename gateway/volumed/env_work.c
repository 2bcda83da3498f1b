/* Worker threads for pure computations (encode, decode): one queue, results through hf_env_arrive.
 */
#include "gateway/volumed/env_impl.h"

#include <stdio.h>

static void *worker_run(void *argument)
{
	struct hf_env_uv *env = argument;
	struct hf_env_workers *workers = &env->workers;
	struct hf_list *link;
	struct hf_work *work;

	for (;;) {
		pthread_mutex_lock(&workers->lock);
		while (hf_list_empty(&workers->queue) && !workers->stop)
			pthread_cond_wait(&workers->filled, &workers->lock);
		link = hf_list_pop_front(&workers->queue);
		pthread_mutex_unlock(&workers->lock);
		if (!link)
			return NULL;
		work = hf_container_of(link, struct hf_work, link);
		work->run(work);
		hf_env_arrive(env, HF_ARRIVAL_WORK, &work->link);
	}
}

int hf_env_workers_start(struct hf_env_uv *env, unsigned count)
{
	struct hf_env_workers *workers = &env->workers;
	char name[16];
	int err = 0;

	pthread_mutex_init(&workers->lock, NULL);
	pthread_cond_init(&workers->filled, NULL);
	hf_list_init(&workers->queue);
	while (!err && workers->count < count) {
		snprintf(name, sizeof name, "hf-work-%u", workers->count % HF_ENV_WORKERS_MAX);
		err = hf_env_thread_start(&workers->threads[workers->count], name, worker_run, env);
		workers->count += err == 0;
	}
	return err;
}

void hf_env_workers_join(struct hf_env_uv *env)
{
	struct hf_env_workers *workers = &env->workers;

	if (workers->count == 0)
		return;
	pthread_mutex_lock(&workers->lock);
	HF_ASSERT(hf_list_empty(&workers->queue));
	workers->stop = true;
	pthread_cond_broadcast(&workers->filled);
	pthread_mutex_unlock(&workers->lock);
	for (unsigned i = 0; i < workers->count; i++)
		pthread_join(workers->threads[i], NULL);
	pthread_cond_destroy(&workers->filled);
	pthread_mutex_destroy(&workers->lock);
}

/* Work goes on while the environment closes: its owner waits for it to free what it holds. */
void hf_env_work_submit_uv(struct hf_env *table, struct hf_work *work)
{
	struct hf_env_uv *env = hf_env_uv_of(table);
	struct hf_env_workers *workers = &env->workers;

	hf_env_began(env);
	pthread_mutex_lock(&workers->lock);
	hf_list_push_back(&workers->queue, &work->link);
	pthread_cond_signal(&workers->filled);
	pthread_mutex_unlock(&workers->lock);
}
