/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Step 6: give identical files the same blocks.
 */
#ifndef REFALIAS_DEDUPE_H
#define REFALIAS_DEDUPE_H

#include "file.h"

/* How many threads may do it at a time, with different files; at least one. */
size_t dedupe_threads(void);

/*
 * Make the @n @members that have other blocks than @donor reflinks of it: the
 * kernel compares the bytes and does it.  Those that don't have its blocks
 * afterwards get a reason.  With @dry_run nothing is done, and all that could
 * be tried count as reflinked.
 */
void dedupe(struct file *donor, struct file **member, size_t n, bool dry_run);

/*
 * Bytes of disk that none of these @n files, all that are identical, uses any
 * more, after all of them were deduped.  Changes their order.
 */
uint64_t dedupe_freed(struct file **file, size_t n);

#endif
