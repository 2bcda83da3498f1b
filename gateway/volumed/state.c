/* The folder STATE_DIR (state.h): `lock`, `store`, `store-ca-*.pem`, `volumes/vol-*`,
 * `keys/vol-*.key`, `kept/vol-*`. */
#include "gateway/volumed/state.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/file.h"
#include "base/ids.h"
#include "gateway/volumed/state_file.h"
#include "net/daemon.h"

#define FLAG_DETACHED 0x1u
#define NAME_BYTES    64u
#define CA_PREFIX     "store-ca-"

/* ---- The folder ---- */

static int make_folders(struct hf_state *state, struct hf_errmsg *message)
{
	static const char *const folders[] = {"volumes", "keys", "kept"};

	for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++)
		if (mkdirat(state->folder_fd, folders[i], 0700) != 0 && errno != EEXIST)
			return hf_fail(message, hf_err_from_errno(errno), "%s/%s: %s", state->path,
				       folders[i], strerror(errno));
	return 0;
}

/* What was just made is there after a loss of power too: everything else is kept in it. The folder
 * above may be one that we may not read; then whoever made it there sees to it. */
static int sync_folders(struct hf_state *state, struct hf_errmsg *message)
{
	int above = openat(state->folder_fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int err = fsync(state->folder_fd);

	if (above >= 0) {
		err = fsync(above) != 0 ? -1 : err;
		close(above);
	}
	return err ? hf_fail(message, hf_err_from_errno(errno), "%s: cannot be synced: %s",
			     state->path, strerror(errno))
		   : 0;
}

int hf_state_open(const char *path, struct hf_state *state, struct hf_errmsg *message)
{
	int err = hf_daemon_private_folder(path, message);

	*state = (struct hf_state){.path = path, .folder_fd = -1, .lock_fd = -1};
	if (err)
		return err;
	state->folder_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (state->folder_fd < 0)
		return hf_fail(message, hf_err_from_errno(errno), "%s: %s", path, strerror(errno));
	state->lock_fd =
		openat(state->folder_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (state->lock_fd < 0)
		err = hf_fail(message, hf_err_from_errno(errno), "%s/lock: %s", path,
			      strerror(errno));
	else if (flock(state->lock_fd, LOCK_EX | LOCK_NB) != 0)
		err = hf_fail(message, HF_EBUSY, "%s: another holdfast-volumed uses it", path);
	else
		err = make_folders(state, message);
	if (!err)
		err = sync_folders(state, message);
	if (err)
		hf_state_close(state);
	return err;
}

void hf_state_close(struct hf_state *state)
{
	if (state->lock_fd >= 0)
		close(state->lock_fd);
	if (state->folder_fd >= 0)
		close(state->folder_fd);
	state->lock_fd = state->folder_fd = -1;
}

/* ---- Volumes ---- */

static void volume_names(uint64_t volume, char *state_name, char *key_name)
{
	char id[HF_ID_TEXT_MAX];

	hf_id_format(HF_ID_VOLUME, volume, id);
	snprintf(state_name, NAME_BYTES, "volumes/%s", id);
	snprintf(key_name, NAME_BYTES, "keys/%s.key", id);
}

/* One line: `holdfast-key-1 vol-<16 hex> <64 hex>`, for `holdfast-gateway export --key`. */
static int save_key(const struct hf_state *state, const char *name,
		    const struct hf_volume_config *config, struct hf_errmsg *message)
{
	char id[HF_ID_TEXT_MAX], key[2 * HF_WRAP_KEY_BYTES + 1], line[160];
	int length, err;

	hf_hex_encode(key, config->wrap_key, HF_WRAP_KEY_BYTES);
	length = snprintf(line, sizeof line, "holdfast-key-1 %s %s\n",
			  hf_id_format(HF_ID_VOLUME, config->volume, id), key);
	err = hf_file_replace_at(state->folder_fd, name, line, (size_t)length, 0600, message);
	explicit_bzero(key, sizeof key);
	explicit_bzero(line, sizeof line);
	return err;
}

int hf_state_save_volume(const struct hf_state *state, const struct hf_volume_config *config,
			 bool detached, struct hf_errmsg *message)
{
	Holdfast__VolumedAttach attach = HOLDFAST__VOLUMED_ATTACH__INIT;
	char name[NAME_BYTES], key_name[NAME_BYTES];
	uint8_t body[256], key[HF_WRAP_KEY_BYTES];
	size_t length;
	int err;

	memcpy(key, config->wrap_key, sizeof key);
	attach.tenant = config->tenant;
	attach.volume = config->volume;
	attach.size_bytes = config->size_bytes;
	attach.attach_epoch = config->attach_epoch;
	attach.write_cache = config->write_cache;
	attach.create = config->create;
	attach.tgtd = config->tgtd;
	attach.wrap_key = (ProtobufCBinaryData){.data = key, .len = sizeof key};
	length = holdfast__volumed_attach__get_packed_size(&attach);
	if (length > sizeof body)
		return hf_fail(message, HF_ETOOBIG, "the volume's state is too large");
	holdfast__volumed_attach__pack(&attach, body);
	volume_names(config->volume, name, key_name);
	err = save_key(state, key_name, config, message);
	if (!err)
		err = hf_state_file_save(state->folder_fd, name, detached ? FLAG_DETACHED : 0, body,
					 length, message);
	explicit_bzero(key, sizeof key);
	explicit_bzero(body, sizeof body);
	return err;
}

int hf_state_forget_volume(const struct hf_state *state, uint64_t volume, struct hf_errmsg *message)
{
	char name[NAME_BYTES], key_name[NAME_BYTES];
	int err;

	volume_names(volume, name, key_name);
	err = hf_state_forget_kept(state, volume, message);
	if (!err)
		err = hf_state_file_remove(state->folder_fd, name, message);
	return err ? err : hf_state_file_remove(state->folder_fd, key_name, message);
}

static int load_volume(const struct hf_state *state, uint64_t volume,
		       struct hf_volume_config *config, bool *detached, struct hf_errmsg *message)
{
	char name[NAME_BYTES], key_name[NAME_BYTES];
	Holdfast__VolumedAttach *attach;
	uint32_t flags;
	uint8_t *body;
	size_t length;
	int err;

	volume_names(volume, name, key_name);
	err = hf_state_file_load(state->folder_fd, name, &flags, &body, &length, message);
	if (err)
		return err;
	*detached = flags & FLAG_DETACHED;
	attach = holdfast__volumed_attach__unpack(NULL, length, body);
	if (!attach)
		err = hf_fail(message, HF_ECORRUPT, "%s: cannot be decoded", name);
	else if ((err = hf_control_check_attach(attach, config, message)) != 0)
		err = hf_fail_in(message, HF_ECORRUPT, "%s", name);
	else if (config->volume != volume)
		err = hf_fail(message, HF_ECORRUPT, "%s: is another volume's", name);
	if (attach) {
		if (attach->wrap_key.len > 0)
			explicit_bzero(attach->wrap_key.data, attach->wrap_key.len);
		holdfast__volumed_attach__free_unpacked(attach, NULL);
	}
	explicit_bzero(body, length);
	free(body);
	return err;
}

int hf_state_each_volume(const struct hf_state *state,
			 void (*each)(void *context, int status,
				      const struct hf_volume_config *config, bool detached,
				      const struct hf_errmsg *why),
			 void *context, struct hf_errmsg *message)
{
	int fd = openat(state->folder_fd, "volumes", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *entry;

	if (!folder) {
		if (fd >= 0)
			close(fd);
		return hf_fail(message, HF_EIO, "%s/volumes: %s", state->path, strerror(errno));
	}
	while ((entry = readdir(folder)) != NULL) {
		struct hf_volume_config config = {0};
		struct hf_errmsg why = {""};
		bool detached = false;
		uint64_t volume;
		int err;

		if (hf_id_parse(HF_ID_VOLUME, entry->d_name, &volume) != 0)
			continue; /* `.`, `..`, a temporary file of a crash */
		err = load_volume(state, volume, &config, &detached, &why);
		if (err)
			config = (struct hf_volume_config){.volume = volume};
		each(context, err, &config, detached, &why);
		explicit_bzero(&config, sizeof config);
	}
	closedir(folder);
	return 0;
}

/* ---- What shims left here ---- */

static const char *kept_name(uint64_t volume, char name[NAME_BYTES])
{
	char id[HF_ID_TEXT_MAX];

	snprintf(name, NAME_BYTES, "kept/%s", hf_id_format(HF_ID_VOLUME, volume, id));
	return name;
}

int hf_state_save_kept(const struct hf_state *state, uint64_t volume, const void *bytes,
		       size_t length, struct hf_errmsg *message)
{
	char name[NAME_BYTES];

	return hf_state_file_save(state->folder_fd, kept_name(volume, name), 0, bytes, length,
				  message);
}

int hf_state_load_kept(const struct hf_state *state, uint64_t volume, void **bytes, size_t *length,
		       struct hf_errmsg *message)
{
	char name[NAME_BYTES];
	uint32_t flags;
	uint8_t *body = NULL;
	int err = hf_state_file_load(state->folder_fd, kept_name(volume, name), &flags, &body,
				     length, message);

	*bytes = body;
	if (err)
		*length = 0;
	return err == HF_ENOENT ? 0 : err;
}

int hf_state_forget_kept(const struct hf_state *state, uint64_t volume, struct hf_errmsg *message)
{
	char name[NAME_BYTES];

	return hf_state_file_remove(state->folder_fd, kept_name(volume, name), message);
}

/* ---- The store ---- */

int hf_state_save_store(const struct hf_state *state, const Holdfast__VolumedStore *store,
			struct hf_errmsg *message)
{
	size_t length = holdfast__volumed_store__get_packed_size(store);
	uint8_t *body = malloc(length + 1);
	int err;

	if (!body)
		return hf_fail(message, HF_ENOMEM, "store: out of memory");
	holdfast__volumed_store__pack(store, body);
	err = hf_state_file_save(state->folder_fd, "store", 0, body, length, message);
	explicit_bzero(body, length);
	free(body);
	return err;
}

int hf_state_load_store(const struct hf_state *state, Holdfast__VolumedStore **store,
			struct hf_errmsg *message)
{
	uint32_t flags;
	uint8_t *body;
	size_t length;
	int err = hf_state_file_load(state->folder_fd, "store", &flags, &body, &length, message);

	*store = NULL;
	if (err)
		return err;
	*store = holdfast__volumed_store__unpack(NULL, length, body);
	explicit_bzero(body, length);
	free(body);
	if (!*store)
		return hf_fail(message, HF_ECORRUPT, "store: cannot be decoded");
	err = hf_control_check_store(*store, message);
	if (err) {
		hf_control_store_free(*store);
		*store = NULL;
		return hf_fail_in(message, HF_ECORRUPT, "store");
	}
	return 0;
}

int hf_state_write_ca(const struct hf_state *state, const Holdfast__VolumedStore *store, char *path,
		      struct hf_errmsg *message)
{
	size_t length = strlen(store->ca);
	char name[NAME_BYTES];

	path[0] = '\0';
	if (length == 0)
		return 0;
	snprintf(name, sizeof name, CA_PREFIX "%08x.pem", hf_crc32c(0, store->ca, length));
	if ((size_t)snprintf(path, PATH_MAX, "%s/%s", state->path, name) >= PATH_MAX)
		return hf_fail(message, HF_EINVAL, "%s: the path is too long", state->path);
	return hf_file_replace_at(state->folder_fd, name, store->ca, length, 0600, message);
}

void hf_state_drop_old_ca(const struct hf_state *state, const char *path)
{
	const char *slash = strrchr(path, '/'), *keep = slash ? slash + 1 : "";
	int fd = openat(state->folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *entry;

	if (!folder) {
		if (fd >= 0)
			close(fd);
		return; /* an old CA that stays harms nobody */
	}
	while ((entry = readdir(folder)) != NULL)
		if (strncmp(entry->d_name, CA_PREFIX, strlen(CA_PREFIX)) == 0 &&
		    strcmp(entry->d_name, keep) != 0)
			unlinkat(state->folder_fd, entry->d_name, 0);
	closedir(folder);
}
