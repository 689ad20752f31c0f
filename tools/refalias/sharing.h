/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The files that share a page cache, for the commands that are about these.
 */
#ifndef REFALIAS_SHARING_H
#define REFALIAS_SHARING_H

#include <linux/mapping_alias.h>

#include "cmd.h"

/* What to do with a file, which is open as @fd. */
typedef void sharing_act(struct file *file, int fd, const struct fs_mapping_info *info, void *data);

/* Do it with each of these that is an alias or a donor, in the order of group_sort(). */
void sharing_each(struct files *files, sharing_act *act, void *data);

#endif
