/* The box that tgtd runs in (docs/design/containment.md): its own uid without privileges, a file
 * tree of a dozen files, process numbers of its own, no new programs, no outgoing connections.
 * main.c is the launcher outside; the rest runs in the child that becomes tgtd, in the order of the
 * functions here. Each returns 0 or HF_E… with the reason. One thread. */
#ifndef HF_GATEWAY_BOX_BOX_H
#define HF_GATEWAY_BOX_BOX_H

#include <stddef.h>
#include <stdint.h>

#include "base/conf.h"

/* Where things are inside. */
#define HF_BOX_RUN         "/run"  /* of this tgtd alone, and all it can write to */
#define HF_BOX_RING        "/ring" /* of volumed's ring.sock */
#define HF_BOX_PLUGINS     "/usr/lib/tgt/backing-store"
#define HF_BOX_NEEDS_MAX   64u
#define HF_BOX_PORTS_MAX   16u
#define HF_BOX_FOLDER_MAX  94u /* bytes of a path in which a socket is made */
#define HF_BOX_CONTROL_MAX 32767u

struct hf_box_config {
	char *folder, *ring_dir, *plugin_dir;
	char *program;
	char *boot_portal, *portals; /* addr:port; portals: with commas, "": any */
	uint64_t control, uid, gid;
	uint64_t memory_max_bytes, files_max;
	uint64_t landlock_least;
};

/* ---- needs.c ---- */

/* The files without which the program does not start. */
struct hf_box_needs {
	char *paths[HF_BOX_NEEDS_MAX];
	size_t count;
};
/* Asks the program's own loader, without running the program. */
int hf_box_needs_find(const struct hf_box_config *config, struct hf_box_needs *needs,
		      struct hf_errmsg *message);
void hf_box_needs_free(struct hf_box_needs *needs);

/* ---- root.c: needs root and a mount namespace of its own ---- */

/* Makes the run folder (also for those outside) and gives it to the uid. */
int hf_box_folder_make(const struct hf_box_config *config, struct hf_errmsg *message);
/* From here on nothing else can be named. */
int hf_box_root_enter(const struct hf_box_config *config, const struct hf_box_needs *needs,
		      struct hf_errmsg *message);

/* ---- bounds.c ---- */

/* The uid and gid, no capabilities, never again. */
int hf_box_identity_drop(const struct hf_box_config *config, struct hf_errmsg *message);
int hf_box_limits_set(const struct hf_box_config *config, struct hf_errmsg *message);

/* ---- landlock.c ---- */

/* 0: the kernel has none. */
int hf_box_landlock_version(void);
/* What a kernel with this version leaves open, for the journal; NULL: nothing. */
const char *hf_box_landlock_gap(int version);
int hf_box_landlock_enter(const struct hf_box_config *config, int version,
			  struct hf_errmsg *message);

/* ---- filter.c ---- */

/* System calls from here on; starting a program asks `*listener` (hf_box_filter_answer). */
int hf_box_filter_enter(int *listener, struct hf_errmsg *message);
/* Answers one question of the listener outside; `*started` remembers the one start. */
void hf_box_filter_answer(int listener, int *started);

#endif
