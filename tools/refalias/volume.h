/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What files are on: device numbers, of which one file system can have several.
 */
#ifndef REFALIAS_VOLUME_H
#define REFALIAS_VOLUME_H

#include "file.h"

/*
 * The volume with the device number @dev, for struct file.  The regular file @name
 * in @dirfd is on it, and is opened to ask for its file system if that is not known
 * yet.  Not for use by several threads.
 */
uint32_t volume_of(dev_t dev, int dirfd, const char *name);

/* The file's device number: with the inode number it tells which file it is. */
dev_t file_dev(const struct file *file);

/*
 * A number that the files of one file system, and no others, have in common: these
 * can share.  On btrfs each subvolume has a device number of its own.
 */
dev_t file_fs(const struct file *file);

/* On btrfs, files of one file system can have the same inode number. */
bool file_on_btrfs(const struct file *file);

/* Whether both are names of one inode. */
bool file_is_same(const struct file *x, const struct file *y);

#endif
