/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Step 6: give identical files the same blocks.
 */
#ifndef REFALIAS_DEDUPE_H
#define REFALIAS_DEDUPE_H

#include "file.h"

/*
 * Make the @n @members that have other blocks than @donor reflinks of it: the
 * kernel compares the bytes and does it.  Those that don't have its blocks
 * afterwards get a reason.  With @dry_run nothing is done, and all that could
 * be tried count as reflinked.  Returns the bytes of disk that no file of the
 * group uses any more.
 */
uint64_t dedupe(struct file *donor, struct file **member, size_t n, bool dry_run);

#endif
