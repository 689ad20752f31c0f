/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Step 7: let files use the page cache of their donor, and keep it so.
 */
#ifndef REFALIAS_ALIAS_H
#define REFALIAS_ALIAS_H

#include "file.h"

/*
 * Make the @n @members kept aliases of @donor; the kernel proves that they
 * have the same blocks.  Those that fail get a reason.  With @dry_run nothing
 * is done, and all that could be tried count as aliased.
 */
void alias(struct file *donor, struct file **member, size_t n, bool dry_run);

#endif
