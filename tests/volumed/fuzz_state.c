/* Any bytes as a remembered store: loaded if whole, else refused by name. */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include "gateway/volumed/state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char folder[] = "/tmp/hf-fuzz-state-XXXXXX";
	struct hf_state state = {.lock_fd = -1};
	Holdfast__VolumedStore *store;
	struct hf_errmsg message = {""};
	int fd;

	if (!mkdtemp(folder))
		abort();
	state.path = folder;
	state.folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fd = openat(state.folder_fd, "store", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	close(fd);
	if (hf_state_load_store(&state, &store, &message) == 0)
		hf_control_store_free(store);
	else if (message.text[0] == '\0')
		abort();
	unlinkat(state.folder_fd, "store", 0);
	hf_state_close(&state);
	rmdir(folder);
	return 0;
}
