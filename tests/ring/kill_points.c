/* See kill_points.h. */
#include "tests/ring/kill_points.h"

#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct kill_switch *kill_switch;

__attribute__((constructor)) static void find_switch(void)
{
	const char *path = getenv("HOLDFAST_KILL_SWITCH");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *map;

	if (fd < 0)
		return;
	map = mmap(NULL, sizeof *kill_switch, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (map != MAP_FAILED)
		kill_switch = map;
}

void kill_point_reached(enum kill_point point)
{
	if (!kill_switch || kill_switch->point != (uint32_t)point || kill_switch->countdown == 0)
		return;
	if (--kill_switch->countdown > 0)
		return;
	kill_switch->kills++;
	raise(SIGKILL);
}
