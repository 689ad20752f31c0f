/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Step 1: find the regular files below the given paths.
 */
#ifndef REFALIAS_WALK_H
#define REFALIAS_WALK_H

#include "file.h"

struct walked {
	struct files files;	/* regular, not empty, at least the minimum size */
	size_t seen;		/* names of regular files */
	size_t empty;		/* of these, without content */
	size_t small;		/* of these, below the minimum size */
	size_t links;		/* symbolic links, not followed */
	size_t special;		/* devices, sockets, pipes, not opened */
};

/*
 * Walk the @n @paths, which may be files or directories, into other file
 * systems as well, but not into those that only show kernel state.  What
 * can't be read gets a message, and the rest goes on.
 */
void walk(char **paths, int n, uint64_t minimum_size, struct walked *walked);

/* Look up one regular file; NULL after a message. */
struct file *walk_file(const char *path);

#endif
