// SPDX-License-Identifier: GPL-2.0
#include <stdlib.h>
#include <string.h>

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
	/* The more names it has, the longer one of them will be there. */
	if (!diff)
		diff = COMPARE(y->links, x->links);
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

void donor_sort(struct file **file, size_t n)
{
	qsort(file, n, sizeof(*file), by_fitness);
}

/* Whether they are the same to donor_may_serve(). */
static bool same_class(const struct file *x, const struct file *y)
{
	const mode_t others = S_IWGRP | S_IWOTH;

	return x->uid == y->uid && x->gid == y->gid && x->acl == y->acl &&
	       (x->mode & others) == (y->mode & others);
}

/* How many of the @n sorted files from the first one on belong to @uid. */
static size_t files_of(struct file **file, size_t n, uint32_t uid)
{
	size_t i = 0;

	while (i < n && file[i]->uid == uid)
		i++;
	return i;
}

/*
 * Move those of @n files that @donor may serve to the front, and keep the order of
 * these and of the others.  Returns how many they are.
 */
static size_t gather(const struct file *donor, struct file **file, size_t n)
{
	struct file **others = xrealloc(NULL, n + 1, sizeof(*others));
	size_t served = 0, left = 0, i;

	for (i = 0; i < n; i++) {
		if (donor_may_serve(donor, file[i]) == REASON_NONE)
			file[served++] = file[i];
		else
			others[left++] = file[i];
	}
	memcpy(file + served, others, left * sizeof(*others));
	free(others);
	return served;
}

/* What the one of @n files that could serve @file best has against it. */
static enum reason why_alone(const struct file *file, struct file **other, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (other[i] != file && donor_may_serve(other[i], file) == REASON_WRITABLE)
			return REASON_WRITABLE;
	return REASON_OWNER;
}

/* Of a class of files that serve nobody and that nobody serves. */
struct alone {
	const struct file *file;	/* one of them */
	enum reason reason;
};

/* The one of @n that @file belongs to, or NULL. */
static const struct alone *find_alone(const struct alone *alone, size_t n, const struct file *file)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (same_class(alone[i].file, file))
			return &alone[i];
	return NULL;
}

size_t donor_choose(struct file **file, size_t n, struct team *team)
{
	const size_t roots = files_of(file, n, 0);
	size_t used = 0, first = 0, own = 0, classes = 0, space = 0, i;
	struct alone *alone = NULL;
	const struct alone *class;
	enum reason reason;

	*team = (struct team){ 0 };
	while (used < n && !interrupted) {
		struct file *donor = file[used];

		if (!own || donor->uid != file[first]->uid) {
			first = used;
			own = files_of(file + first, n - first, donor->uid);
			classes = 0;
		}
		used++;
		class = find_alone(alone, classes, donor);
		if (class) {
			file_skip(donor, class->reason);
			continue;
		}
		*team = (struct team){ .donor = donor, .member = file + used };
		/* Nobody trusts other users than root. */
		team->n = gather(donor, team->member, donor->uid ? first + own - used : n - used);
		if (team->n)
			break;
		reason = why_alone(donor, file, roots);
		if (reason != REASON_WRITABLE && donor->uid)
			reason = why_alone(donor, file + first, own);
		alone = xgrow(alone, classes, &space, sizeof(*alone));
		alone[classes++] = (struct alone){ donor, reason };
		file_skip(donor, reason);
	}
	free(alone);
	if (!team->n)
		return 0;
	team->donor->donor = team->donor;
	for (i = 0; i < team->n; i++)
		join(team->donor, team->member[i]);
	return used + team->n;
}
