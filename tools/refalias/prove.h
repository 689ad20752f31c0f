/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Step 3: prove files identical without reading them, by their blocks.
 */
#ifndef REFALIAS_PROVE_H
#define REFALIAS_PROVE_H

#include "file.h"

/*
 * Look at the blocks of @n files, and at what their page caches share already, with
 * up to @threads threads.  Those with the same blocks get the same number as their
 * @blocks; the @place and what is @freeable are set, too.  Files with nothing to
 * prove get a reason.  If @alone is not NULL, it is called for each file of whose
 * blocks no other file has any, with a descriptor, and tells progress of its bytes.
 */
void prove_look(struct file **file, size_t n, size_t threads,
		void (*alone)(struct file *file, int fd, const struct stat *st));

/*
 * Move those of @n files of one size and file system that have a reason to the end;
 * returns the number of the others, sorted by blocks.
 */
size_t prove_sort(struct file **file, size_t n);

/*
 * Look again whether the open files @fd and @donor_fd of @size bytes have
 * the same blocks now.
 */
bool prove_again(int fd, int donor_fd, uint64_t size);

#endif
