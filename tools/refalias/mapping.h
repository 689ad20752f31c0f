/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The kernel's three calls for sharing a page cache.
 */
#ifndef REFALIAS_MAPPING_H
#define REFALIAS_MAPPING_H

#include <stdbool.h>

#include <linux/mapping_alias.h>

/* Whether the running kernel has the calls; asked once. */
bool mapping_supported(void);

/* Say that it has not, with what to do, as an error or as a mere note. */
void mapping_missing(bool is_error);

/* Each returns 0, or -1 and errno. */
int mapping_alias(int fd, int donor_fd);
int mapping_release(int fd);
int mapping_info(int fd, struct fs_mapping_info *info);

/* Whether the open file @fd, which is an alias, is one of another donor than @donor_fd. */
bool mapping_other_donor(int fd, int donor_fd);

/* What an error of each call means, and what to do about it. */
const char *describe_alias_error(int err);
const char *describe_release_error(int err);
const char *describe_info_error(int err);

#endif
