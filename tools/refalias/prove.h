/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Step 3: prove files identical without reading them, by their blocks.
 */
#ifndef REFALIAS_PROVE_H
#define REFALIAS_PROVE_H

#include "file.h"

/* Where a piece of a file's data is; all in bytes. */
struct extent {
	uint64_t logical;
	uint64_t physical;
	uint64_t length;
	uint32_t flags;		/* FIEMAP_EXTENT_*, those that make a difference */
};

/* The blocks of a file, and of all others of its group that have the same. */
struct layout {
	size_t users;		/* files of the group with these blocks */
	size_t moved;		/* of these, now deduped to other blocks */
	uint64_t bytes;		/* data in them */
	uint64_t unshared;	/* data in blocks that no other file has */
	size_t n;
	struct extent extent[];
};

/*
 * Look at the blocks of @n files of one size and device, and at what their
 * page caches share already.  Those with the same blocks get the same layout
 * object.  Files with nothing to prove get a reason and move to the end;
 * returns the number of the others, sorted by layout.
 */
size_t prove(struct file **file, size_t n);

/*
 * Look again whether the open files @fd and @donor_fd of @size bytes have
 * the same blocks now.
 */
bool prove_again(int fd, int donor_fd, uint64_t size);

/* End of the group: free its layouts. */
void prove_free(struct file **file, size_t n);

#endif
