/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Step 5: choose who shares with whom among identical files.
 */
#ifndef REFALIAS_DONOR_H
#define REFALIAS_DONOR_H

#include "file.h"

/*
 * Whether @donor may be the source of a dedupe into @file, or its donor.
 *
 * FIDEDUPERANGE is not safe with a source that somebody else controls: a read
 * with O_DIRECT into a shared mapping of the source, started before and ending
 * after the comparison, writes over the block that both files share by then.
 * So everybody who can write the source must be able to write @file anyway:
 * the source's owner is root or @file's owner, and group and others may not
 * write the source if they may not write @file.  Returns REASON_NONE if the
 * donor may, else what speaks against it.
 */
enum reason donor_may_serve(const struct file *donor, const struct file *file);

/*
 * Whether @file and @donor use one page cache already.  On btrfs that is likely only,
 * since donors in several subvolumes can have the same inode number.
 */
bool donor_serves(const struct file *donor, const struct file *file);

/* A donor and the files that shall share with it. */
struct team {
	struct file *donor;
	struct file **member;
	size_t n;
};

/* Sort @n identical files for donor_choose(): the best donor first. */
void donor_sort(struct file **file, size_t n);

/*
 * Split @n identical sorted files, of which a part was taken already, into teams:
 * moves the donor's members so that they follow each other from
 * @team->member on, and returns the number of files used up, 0 at the end.
 * Those that nobody may serve get a reason.  Members whose reason is set, or
 * that are kept aliases of the donor already, need no work.
 */
size_t donor_choose(struct file **file, size_t n, struct team *team);

#endif
