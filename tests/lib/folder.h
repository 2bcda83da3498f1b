/* A test's own folder, when it goes. */
#ifndef HF_TESTS_LIB_FOLDER_H
#define HF_TESTS_LIB_FOLDER_H

#include <ftw.h>
#include <stdio.h>

#include "base/assert.h"

static inline int folder_remove_one(const char *path, const struct stat *info, int type,
				    struct FTW *walk)
{
	(void)info, (void)type, (void)walk;
	return remove(path);
}

/* With everything in it, following no link. */
static inline void folder_remove(const char *path)
{
	HF_ASSERT(nftw(path, folder_remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0);
}

#endif
