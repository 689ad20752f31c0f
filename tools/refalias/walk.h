/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Step 1: find the regular files below the given paths.
 */
#ifndef REFALIAS_WALK_H
#define REFALIAS_WALK_H

#include "file.h"
#include "store.h"

/*
 * Patterns as in fnmatch(3): with a slash, unless it is the last character, for whole
 * paths, else for names.
 */
struct patterns {
	const char **pattern;
	size_t n;
	bool paths;		/* one of them has a slash */
};

void patterns_add(struct patterns *patterns, const char *pattern);

/* Which files are wanted. */
struct selection {
	uint64_t minimum_size;	/* bytes */
	uint64_t maximum_size;	/* bytes; 0: no limit */
	struct patterns include;	/* if there are any, only files that match one */
	struct patterns exclude;	/* no files and directories that match one */
	bool one_file_system;	/* as each of the paths */
};

struct walked {
	struct files files;	/* regular, not empty, as selected */
	size_t seen;		/* names of regular files */
	size_t empty;		/* of these, without content */
	size_t small;		/* of these, below the minimum size */
	size_t large;		/* of these, above the maximum size */
	size_t excluded;	/* files and directories, by patterns */
	size_t gone;		/* known files that are no more */
	size_t mounts;		/* files and directories of other file systems */
	size_t links;		/* symbolic links, not followed */
	size_t special;		/* devices, sockets, pipes, not opened */
	size_t overlays;	/* mounts of overlayfs, not entered */
};

/*
 * Walk the @n @paths, which may be files or directories, into other file
 * systems as well unless @selection denies that, but not into those that only
 * show kernel state, nor into mounts of overlayfs, which show files that are elsewhere.
 * What can't be read gets a message, and the rest goes on.
 * Up to @threads threads do it together, if these are of use.
 */
void walk(char **paths, int n, const struct selection *selection, size_t threads,
	  struct walked *walked);

/*
 * Look up the @n files with these absolute paths, following no links at all.
 * What is gone is counted, and so is what is no regular file any more.
 */
void walk_known(char *const *paths, size_t n, struct walked *walked);

/*
 * The same for @layers, which are directories to be walked, as walk() does.  What they
 * have to be on with one_file_system is the file system of those @roots that they are
 * below.
 */
void walk_layers(const struct paths *layers, const struct paths *roots,
		 const struct selection *selection, size_t threads, struct walked *walked);

/* Look up one regular file; NULL after a message. */
struct file *walk_file(const char *path);

#endif
