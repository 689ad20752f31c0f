/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Step 3: prove files identical without reading them, by their blocks.
 */
#ifndef REFALIAS_PROVE_H
#define REFALIAS_PROVE_H

#include "file.h"

/*
 * Read an open file, of which fstat() said @st, for its @hash, and tell progress of
 * its bytes; or give it a reason.
 */
typedef void prove_read(struct file *file, int fd, const struct stat *st);

/*
 * Look at the blocks of @n files, and at what their page caches share already, with
 * up to @threads threads.  Those with the same blocks get the same number as their
 * @blocks; the @place and what is @freeable are set, too.  Files with nothing to
 * prove get a reason.  Those with inline data are read: for the kernel this is as good
 * as a place.  So are those with compressed data, unless root asks.  With @alone, each
 * file of whose blocks no other file has any is read as well.
 */
void prove_look(struct file **file, size_t n, size_t threads, prove_read *read, bool alone);

/*
 * Move those of @n files of one size and file system that have a reason to the end;
 * returns the number of the others, sorted by blocks.
 */
size_t prove_sort(struct file **file, size_t n);

/*
 * Look again whether the open files @fd and @donor_fd of @size bytes, which have the
 * same content, have the same blocks now, or both have it inline.
 */
bool prove_again(int fd, int donor_fd, uint64_t size);

#endif
