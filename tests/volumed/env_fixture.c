/* The fixture of env_fixture.h. */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "tests/lib/folder.h"
#include "tests/volumed/env_fixture.h"

#define DEADLINE_MS 20000u

static void on_closed(void *context)
{
	struct fixture *fixture = context;

	fixture->closed = true;
}

void fixture_open(struct fixture *fixture, const char *path, uint64_t size_bytes)
{
	char own[96];
	struct hf_env_uv_disk disk = {.size_bytes = size_bytes};
	struct hf_env_uv_config config = {
		.loop = &fixture->loop, .disks = &disk, .disk_count = 1, .workers = 2};
	struct hf_errmsg message;
	int err;

	if (!path) {
		snprintf(own, sizeof own, "%s/disk", fixture->directory);
		path = own;
	}
	fixture->fd = open(path, O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC, 0600);
	if (fixture->fd < 0)
		fixture->fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fixture->fd >= 0);
	if (path == own)
		assert_int_equal(ftruncate(fixture->fd, (off_t)size_bytes), 0);
	disk.fd = fixture->fd;
	err = hf_env_uv_open(&config, &fixture->uv, &message);
	if (err)
		fail_msg("the environment does not open: %s", message.text);
	fixture->env = hf_env_uv_table(fixture->uv);
	fixture->closed = false;
}

void fixture_close(struct fixture *fixture)
{
	hf_env_uv_close(fixture->uv, on_closed, fixture);
	assert_false(fixture->closed);
	uv_run(&fixture->loop, UV_RUN_DEFAULT);
	assert_true(fixture->closed);
	fixture->uv = NULL;
	close(fixture->fd);
}

static void on_tick(uv_timer_t *timer)
{
	unsigned *ticks = timer->data;

	(*ticks)++;
}

void fixture_run(struct fixture *fixture, const unsigned *done, unsigned wanted)
{
	uint64_t start_ms = uv_hrtime() / 1000000;
	unsigned ticks = 0;
	uv_timer_t timer;

	uv_timer_init(&fixture->loop, &timer);
	timer.data = &ticks;
	uv_timer_start(&timer, on_tick, 50, 50);
	while (*done < wanted && uv_hrtime() / 1000000 - start_ms < DEADLINE_MS)
		uv_run(&fixture->loop, UV_RUN_ONCE);
	uv_close((uv_handle_t *)&timer, NULL);
	uv_run(&fixture->loop, UV_RUN_NOWAIT);
	assert_int_equal(*done, wanted);
}

int fixture_setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof *fixture);

	snprintf(fixture->directory, sizeof fixture->directory, "/tmp/hf-env-XXXXXX");
	assert_non_null(mkdtemp(fixture->directory));
	assert_int_equal(uv_loop_init(&fixture->loop), 0);
	fixture->thread = pthread_self();
	fixture_open(fixture, NULL, FIXTURE_DISK_BYTES);
	*state = fixture;
	return 0;
}

int fixture_teardown(void **state)
{
	struct fixture *fixture = *state;

	if (fixture->uv)
		fixture_close(fixture);
	assert_int_equal(uv_loop_close(&fixture->loop), 0);
	folder_remove(fixture->directory);
	free(fixture);
	return 0;
}
