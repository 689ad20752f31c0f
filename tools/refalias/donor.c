// SPDX-License-Identifier: GPL-2.0
#include <stdlib.h>

#include "donor.h"
#include "msg.h"
#include "volume.h"

enum reason donor_may_serve(const struct file *donor, const struct file *file)
{
	const mode_t others = S_IWGRP | S_IWOTH;
	/*
	 * Bits for others say nothing of the group.  An ACL can let in or keep out
	 * anybody; the mode's group bits are its mask then.
	 */
	bool all_write = (file->mode & others) == others && !file->acl;
	bool group_writes = all_write ||
			    ((file->mode & S_IWGRP) && !file->acl && file->gid == donor->gid);

	if (donor->uid != 0 && donor->uid != file->uid)
		return REASON_OWNER;
	if ((donor->mode & S_IWOTH) && !all_write)
		return REASON_WRITABLE;
	if ((donor->mode & S_IWGRP) && (donor->acl ? !all_write : !group_writes))
		return REASON_WRITABLE;
	return REASON_NONE;
}

/* The inode whose page cache it uses. */
static uint64_t cache_of(const struct file *file)
{
	return file->state ? file->cache : file->ino;
}

bool donor_serves(const struct file *donor, const struct file *file)
{
	if (cache_of(file) != cache_of(donor))
		return false;
	/* What shares has a state, and the same data as what it shares with. */
	if (file_on_btrfs(file))
		return file->state && donor->state && file->blocks == donor->blocks &&
		       !(file->state & donor->state & FS_MAPPING_INFO_DONOR);
	return file->state || donor->state;
}

/* The best donor first; the order depends on nothing but the files. */
static int by_fitness(const void *a, const void *b)
{
	const struct file *x = *(struct file *const *)a;
	const struct file *y = *(struct file *const *)b;
	const uint32_t donor = FS_MAPPING_INFO_DONOR, alias = FS_MAPPING_INFO_ALIAS;
	int diff = COMPARE(x->uid, y->uid);	/* root serves all */

	/* Whom fewer can write serves more. */
	if (!diff)
		diff = COMPARE(x->mode & S_IWOTH, y->mode & S_IWOTH);
	if (!diff)
		diff = COMPARE(x->mode & S_IWGRP, y->mode & S_IWGRP);
	if (!diff)
		diff = COMPARE(x->acl, y->acl);
	if (!diff)
		diff = COMPARE(y->state & donor, x->state & donor);
	if (!diff)
		diff = COMPARE(y->state & alias, x->state & alias);
	/* Blocks can be shared, but what is inline only with what is inline, too. */
	if (!diff)
		diff = COMPARE(x->inlined, y->inlined);
	/* The kernel never changes the blocks of an immutable file. */
	if (!diff)
		diff = COMPARE(y->immutable, x->immutable);
	if (!diff)
		diff = COMPARE(x->born, y->born);
	if (!diff)
		diff = COMPARE(x->ino, y->ino);
	/* A snapshot has all of it from what it was made of. */
	return diff ? diff : file_compare_paths(x, y);
}

/* Take @file into the team of @donor, with what that means for it. */
static void join(struct file *donor, struct file *file)
{
	file->donor = donor;
	if (donor_serves(donor, file))
		file->kept = file->state & FS_MAPPING_INFO_KEPT;
	else if (file->state)
		file_skip(file, REASON_OTHER_DONOR);
}

size_t donor_choose(struct file **file, size_t n, struct team *team)
{
	enum reason reason, kept = REASON_OWNER;
	size_t used = 0, i, k;

	qsort(file, n, sizeof(*file), by_fitness);
	while (used < n && !interrupted) {
		struct file *donor = file[used++];

		*team = (struct team){ .donor = donor, .member = file + used };
		for (i = used; i < n; i++) {
			struct file *this = file[i];

			if (donor_may_serve(donor, this) != REASON_NONE)
				continue;
			join(donor, this);
			/* Keep the order of the rest. */
			for (k = i; k > used; k--)
				file[k] = file[k - 1];
			file[used++] = this;
			team->n++;
		}
		if (team->n) {
			donor->donor = donor;
			return used;
		}
		/* Alone; say what the nearest copy has against it. */
		for (i = 0; i < n; i++) {
			if (file[i] == donor)
				continue;
			reason = donor_may_serve(file[i], donor);
			if (reason != REASON_NONE)
				kept = reason;
			if (reason == REASON_WRITABLE)
				break;
		}
		file_skip(donor, kept);
		kept = REASON_OWNER;
	}
	return 0;
}
