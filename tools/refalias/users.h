/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Step 9: who had a file open before it became an alias, and so goes on with
 * pages of its own.
 */
#ifndef REFALIAS_USERS_H
#define REFALIAS_USERS_H

#include "file.h"

/*
 * Count those of the @files that a process of this machine has open or mapped
 * since before they became aliases: with @fresh of those that became so just
 * now, else of all aliases.
 *
 * The kernel doesn't tell that, but pages do: who has another page at some
 * place of the file than who opens it now, opened it before.  Of who has no
 * page of the file that isn't known.  Right after aliasing, which empties the
 * page caches, that is everybody, so with @fresh they count, else they don't.
 *
 * Returns -1 if the caller may not know.
 */
int64_t users_count(const struct files *files, bool fresh);

/* Tell people about it, if there is something to tell. */
void users_print(int64_t n);

#endif
