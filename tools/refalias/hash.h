/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Step 4: read what blocks alone don't prove identical.
 */
#ifndef REFALIAS_HASH_H
#define REFALIAS_HASH_H

#include "file.h"

/* More make no difference to any device. */
enum { HASH_MOST_THREADS = 256 };

/*
 * Note the @n files of a group, sorted by layout, for hash_run(), if their
 * layouts differ.  The hash only groups: the kernel compares bytes.
 */
void hash_add(struct file **file, size_t n);

/*
 * Let the blocks stand for the content of the @n files of a group, so that
 * only those are equal that have the same.
 */
void hash_blocks(struct file **file, size_t n);

/*
 * Hash one file of each layout that was noted, in the order of their blocks,
 * with up to @threads threads, and give the others of that layout the same
 * hash.  Files that can't be read get a reason.
 */
void hash_run(unsigned int threads);

/* Sort the @n files of a group by hash, those with a reason last. */
void hash_sort(struct file **file, size_t n);

/* Whether two files of a group have the same hash, and no reason. */
bool hash_equal(const struct file *x, const struct file *y);

#endif
