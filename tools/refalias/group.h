/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Step 2: group the files that can be identical: same file system, same size.
 */
#ifndef REFALIAS_GROUP_H
#define REFALIAS_GROUP_H

#include "file.h"

/*
 * Sort @files by file system, size, device and inode number and drop all names of an inode
 * but the one whose path sorts first.
 */
void group_sort(struct files *files);

/* Only sort them: the names of an inode follow each other, that one first. */
void group_names(struct files *files);

/*
 * The next group in @files, as group_sort() left them, from *@from on: returns
 * the number of its files, at least two, and its place in *@from; 0 at the end.
 */
size_t group_next(const struct files *files, size_t *from);

/* Drop from @files, as group_sort() left them, those that are in no group. */
void group_only(struct files *files);

/*
 * Sort them by inode number, which is about the order in which they are on disk.
 */
void group_by_inode(struct files *files);

#endif
