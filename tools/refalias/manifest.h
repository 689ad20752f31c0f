/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The manifest: which files share their page caches, to bring that back.
 *
 * It is a list of absolute paths, each ended by a null byte, after a line that
 * says what it is; with +INODE:BIRTH in front of those that were made immutable, since
 * another file may have the path by now, which somebody else made so.  It need
 * not say who shared with whom: the blocks tell, and the kernel proves it.  So
 * whatever else it says, it can at worst make files share that are identical.
 */
#ifndef REFALIAS_MANIFEST_H
#define REFALIAS_MANIFEST_H

#include "walk.h"

#define MANIFEST_DEFAULT "/var/lib/refalias/manifest"

/* @name, or with NULL the default one. */
static inline const char *manifest_name(const char *name)
{
	return name ? name : MANIFEST_DEFAULT;
}

/* Make the directory of the manifest @name, if it is the default one. */
void manifest_make_dir(const char *name);

struct manifest {
	const char *name;
	int dir;		/* -1, or its directory, which is locked */
	struct known {
		char *path;
		uint64_t ino;	/* of the file that was made immutable; 0: not noted */
		int64_t born;	/* of that, as in struct file */
		bool immutable;	/* made so by refalias */
		bool gone;	/* not to be written */
	} *known;
	size_t n, space;
	size_t sorted;		/* of these; later ones were added */
	bool changed;
};

/*
 * Read the manifest @name, or with NULL the default one, which need not exist.
 * For it to be changed it must be opened for @update; then others wait until it
 * is closed, and none need exist yet.  Returns 0, or -1 after a message.
 */
int manifest_open(struct manifest *manifest, const char *name, bool update);

/* Walk the files that the manifest @name, or the default one, lists; false after a message. */
bool manifest_walk(const char *name, struct walked *walked);

/* Add a file, and whether it was made immutable just now. */
void manifest_add(struct manifest *manifest, const struct file *file);

/*
 * Whether refalias made the file immutable, and not another one that had its path.
 * A note if it is immutable and an older manifest doesn't tell.
 */
bool manifest_immutable(const struct manifest *manifest, const struct file *file);

void manifest_remove(struct manifest *manifest, const struct file *file);

/* Don't remove it, whatever was said before. */
void manifest_keep(struct manifest *manifest, const struct file *file);

/*
 * Remove what is gone of the files below the @n @roots, in which links may be if
 * @resolve.
 */
void manifest_clean(struct manifest *manifest, char **roots, int n, bool resolve);

/* Remove all. */
void manifest_clear(struct manifest *manifest);

/* Write it if it was changed; false after a message.  Free it. */
bool manifest_close(struct manifest *manifest);

#endif
