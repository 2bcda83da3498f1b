/* Landlock: what the file tree and the filter cannot say. No writing outside the run folder even if
 * the tree were left, no outgoing TCP connection, no listening but on the portals, no signals and
 * no abstract sockets to the outside. Numbers are the kernel's (include/uapi/linux/landlock.h);
 * Debian's headers do not have the later ones. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "gateway/box/box.h"

#define CREATE_RULESET 444
#define ADD_RULE       445
#define RESTRICT_SELF  446
#define VERSION_FLAG   1u
#define RULE_PATH      1
#define RULE_PORT      2
#define RIGHT(bit)     (1ull << (bit))
#define EXECUTE        RIGHT(0)
#define WRITE_FILE     RIGHT(1)
#define READ_FILE      RIGHT(2)
#define READ_DIR       RIGHT(3)
#define REMOVE_FILE    RIGHT(5)
#define MAKE_REG       RIGHT(8)
#define MAKE_SOCK      RIGHT(9)
#define REFER          RIGHT(13) /* since version 2 */
#define TRUNCATE       RIGHT(14) /* 3 */
#define IOCTL_DEV      RIGHT(15) /* 5 */
#define ALL_OF_1       (RIGHT(13) - 1)
#define BIND_TCP       RIGHT(0) /* 4 */
#define CONNECT_TCP    RIGHT(1)
#define SCOPE_ABSTRACT RIGHT(0) /* 6 */
#define SCOPE_SIGNAL   RIGHT(1)
#define VERSION_TCP    4
#define VERSION_SCOPES 6

struct ruleset {
	uint64_t files, ports, scopes;
};

struct path_rule {
	uint64_t allowed;
	int32_t folder_fd;
} __attribute__((packed));

struct port_rule {
	uint64_t allowed, port;
};

int hf_box_landlock_version(void)
{
	long version = syscall(CREATE_RULESET, NULL, 0, VERSION_FLAG);

	return version > 0 ? (int)version : 0;
}

const char *hf_box_landlock_gap(int version)
{
	if (version == 0)
		return "tgtd could open TCP connections, listen on other ports and reach abstract "
		       "sockets";
	if (version < VERSION_TCP)
		return "tgtd could open TCP connections, listen on other ports and reach abstract "
		       "sockets (versions 4 and 6 deny that)";
	if (version < VERSION_SCOPES)
		return "tgtd could reach abstract sockets (version 6 denies that)";
	return NULL;
}

static int allow_path(int rules, const char *path, uint64_t rights, struct hf_errmsg *message)
{
	struct path_rule rule = {.allowed = rights};
	int err = 0;

	rule.folder_fd = open(path, O_PATH | O_CLOEXEC);
	if (rule.folder_fd < 0 || syscall(ADD_RULE, rules, RULE_PATH, &rule, 0) != 0)
		err = hf_fail(message, hf_err_from_errno(errno), "Landlock: %s: %s", path,
			      strerror(errno));
	if (rule.folder_fd >= 0)
		close(rule.folder_fd);
	return err;
}

static int allow_port(int rules, const char *portal, struct hf_errmsg *message)
{
	struct port_rule rule = {.allowed = BIND_TCP};
	const char *colon = strrchr(portal, ':');

	rule.port = colon ? strtoul(colon + 1, NULL, 10) : 0;
	if (rule.port == 0 || rule.port > UINT16_MAX)
		return hf_fail(message, HF_EINVAL, "`%.60s` is not addr:port", portal);
	if (syscall(ADD_RULE, rules, RULE_PORT, &rule, 0) != 0)
		return hf_fail(message, hf_err_from_errno(errno), "Landlock: port %u: %s",
			       (unsigned)rule.port, strerror(errno));
	return 0;
}

static int allow_portals(int rules, const struct hf_box_config *config, struct hf_errmsg *message)
{
	char *copy = strdup(config->portals), *rest = copy, *portal;
	int err = copy ? allow_port(rules, config->boot_portal, message)
		       : hf_fail(message, HF_ENOMEM, "out of memory");

	while (!err && (portal = strsep(&rest, ", ")) != NULL)
		if (*portal)
			err = allow_port(rules, portal, message);
	free(copy);
	return err;
}

static int add_rules(int rules, const struct ruleset *set, const struct hf_box_config *config,
		     struct hf_errmsg *message)
{
	int err = allow_path(rules, "/", EXECUTE | READ_FILE | READ_DIR, message);

	if (!err)
		err = allow_path(rules, HF_BOX_RUN,
				 (WRITE_FILE | REMOVE_FILE | MAKE_REG | MAKE_SOCK | TRUNCATE) &
					 set->files,
				 message);
	if (!err)
		err = allow_path(rules, "/dev/null", WRITE_FILE, message);
	return err || !(set->ports & BIND_TCP) ? err : allow_portals(rules, config, message);
}

int hf_box_landlock_enter(const struct hf_box_config *config, int version,
			  struct hf_errmsg *message)
{
	struct ruleset set = {.files = ALL_OF_1};
	size_t size = sizeof set.files;
	int rules, err;

	if (version == 0)
		return 0;
	set.files |= version >= 2 ? REFER : 0;
	set.files |= version >= 3 ? TRUNCATE : 0;
	set.files |= version >= 5 ? IOCTL_DEV : 0;
	if (version >= VERSION_TCP) {
		set.ports = CONNECT_TCP | (config->portals[0] ? BIND_TCP : 0);
		size = offsetof(struct ruleset, scopes);
	}
	if (version >= VERSION_SCOPES) {
		set.scopes = SCOPE_ABSTRACT | SCOPE_SIGNAL;
		size = sizeof set;
	}
	rules = (int)syscall(CREATE_RULESET, &set, size, 0);
	if (rules < 0)
		return hf_fail(message, hf_err_from_errno(errno), "Landlock: %s", strerror(errno));
	err = add_rules(rules, &set, config, message);
	if (!err && syscall(RESTRICT_SELF, rules, 0) != 0)
		err = hf_fail(message, hf_err_from_errno(errno), "Landlock: %s", strerror(errno));
	close(rules);
	return err;
}
