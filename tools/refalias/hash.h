/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Step 4: read what blocks alone don't prove identical.
 */
#ifndef REFALIAS_HASH_H
#define REFALIAS_HASH_H

#include "file.h"

/*
 * Hash the open file @fd, of which fstat() said @st, if no earlier run did, and note
 * what of it was in memory before.  If it can't be read, it gets a reason.  It can be
 * left in another mode (O_DIRECT).  The hash only groups: the kernel compares bytes.
 */
void hash_now(struct file *file, int fd, const struct stat *st);

/*
 * Note the @n files of a group, which @files has @from there on, sorted by
 * blocks, for hash_run(), if their blocks differ and they are not hashed yet.
 */
void hash_add(const struct files *files, size_t from, size_t n);

/*
 * Let the blocks stand for the content of the @n files of a group, so that
 * only those are equal that have the same.
 */
void hash_blocks(struct file **file, size_t n);

/*
 * Hash one file of all with the same blocks that were noted, in the order of
 * their blocks, with up to @threads threads, and give the others the same hash.
 * Files that can't be read get a reason.
 */
void hash_run(unsigned int threads);

/* Sort the @n files of a group by hash, those with a reason last. */
void hash_sort(struct file **file, size_t n);

/* Whether two files of a group have the same hash, and no reason. */
bool hash_equal(const struct file *x, const struct file *y);

#endif
