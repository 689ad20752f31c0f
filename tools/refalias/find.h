/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Steps 1 to 4 together: find sets of identical files.
 */
#ifndef REFALIAS_FIND_H
#define REFALIAS_FIND_H

#include "walk.h"

/*
 * Find identical files among those that @walked has, or rather sort them so
 * that find_next() finds them; drop those that can't be.  @threads files are
 * read at a time; with zero no data is read, and only files that have the same
 * blocks count as identical.
 */
void find(struct walked *walked, unsigned int threads);

/*
 * The next set of identical files in @files from *@from on: returns its size,
 * at least two, and its place in *@from; 0 at the end.
 */
size_t find_next(const struct files *files, size_t *from);

#endif
