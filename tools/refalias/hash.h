/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Step 4: read what blocks alone don't prove identical.
 */
#ifndef REFALIAS_HASH_H
#define REFALIAS_HASH_H

#include "file.h"

/*
 * Hash one file of each layout among the @n files, sorted by layout, if there
 * are several; give the others of that layout the same hash; and sort by it.
 * Files that can't be read get a reason and move to the end; returns the
 * number of the others.  The hash only groups: the kernel compares bytes.
 */
size_t hash(struct file **file, size_t n);

#endif
