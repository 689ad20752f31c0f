// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "mapping.h"
#include "msg.h"
#include "prove.h"

/* Neither says where the data is; the rest only describe the neighbourhood. */
#define IGNORED_FLAGS (FIEMAP_EXTENT_SHARED | FIEMAP_EXTENT_LAST | FIEMAP_EXTENT_MERGED)

static const char *describe_fiemap_error(int err)
{
	switch (err) {
	case ENOSPC:
	case EDQUOT:
		return "no room on disk for data that is still to be written: make some and run refalias again";
	default:
		return describe_error(err);
	}
}

/* Record one extent of a file of @size bytes; or the reason why it can't be. */
static enum reason add_extent(struct layout **layout, size_t *space,
			      const struct fiemap_extent *fe, uint64_t size)
{
	struct layout *l = *layout;
	uint64_t length = fe->fe_length;
	uint32_t flags = fe->fe_flags & ~(uint32_t)IGNORED_FLAGS;
	struct extent *last = l->n ? &l->extent[l->n - 1] : NULL;

	if (flags & (FIEMAP_EXTENT_DATA_INLINE | FIEMAP_EXTENT_DATA_TAIL))
		return REASON_NO_BLOCKS;
	if (flags & FIEMAP_EXTENT_DATA_ENCRYPTED)
		return REASON_ENCRYPTED;
	if (flags & (FIEMAP_EXTENT_DELALLOC | FIEMAP_EXTENT_UNKNOWN))
		return REASON_BEING_WRITTEN;
	/* Reads as zeros like a hole; room beyond the end doesn't matter either. */
	if ((flags & FIEMAP_EXTENT_UNWRITTEN) || fe->fe_logical >= size)
		return REASON_NONE;

	/* An encoded extent's length on disk is unknown: take it as it is. */
	if (!(flags & FIEMAP_EXTENT_ENCODED)) {
		if (length > size - fe->fe_logical)
			length = size - fe->fe_logical;
		/* The same blocks may be told in other pieces. */
		if (last && last->flags == flags &&
		    last->logical + last->length == fe->fe_logical &&
		    last->physical + last->length == fe->fe_physical) {
			last->length += length;
			goto count;
		}
	}
	if (l->n == *space) {
		*space = *space ? 2 * *space : 1;
		*layout = l = xrealloc(l, 1, sizeof(*l) + *space * sizeof(*last));
	}
	l->extent[l->n++] = (struct extent){ fe->fe_logical, fe->fe_physical, length, flags };
count:
	l->bytes += length;
	if (!(fe->fe_flags & FIEMAP_EXTENT_SHARED))
		l->unshared += length;
	return REASON_NONE;
}

/*
 * The layout of an open file of @size bytes, or NULL with either @reason set,
 * or, if FIEMAP failed, REASON_NONE and errno.
 */
static struct layout *get_layout(int fd, uint64_t size, enum reason *reason)
{
	enum { RECORDS = 256 };
	static union {
		struct fiemap map;
		char room[sizeof(struct fiemap) + RECORDS * sizeof(struct fiemap_extent)];
	} buf;
	struct fiemap *map = &buf.map;
	const struct fiemap_extent *fe = NULL;
	struct layout *layout = xzalloc(sizeof(*layout));
	size_t space = 0;
	uint64_t from = 0;
	uint32_t i;
	int err;

	layout->users = 1;
	do {
		memset(map, 0, sizeof(*map));
		map->fm_start = from;
		map->fm_length = size - from;
		map->fm_extent_count = RECORDS;
		/* Have data that is still in memory only put in its place. */
		map->fm_flags = from ? 0 : FIEMAP_FLAG_SYNC;
		if (ioctl(fd, FS_IOC_FIEMAP, map) < 0) {
			err = errno;
			free(layout);
			errno = err;
			*reason = REASON_NONE;
			return NULL;
		}
		for (i = 0; i < map->fm_mapped_extents; i++) {
			fe = &map->fm_extents[i];
			*reason = add_extent(&layout, &space, fe, size);
			if (*reason != REASON_NONE) {
				free(layout);
				return NULL;
			}
			from = fe->fe_logical + fe->fe_length;
		}
	} while (map->fm_mapped_extents && !(fe->fe_flags & FIEMAP_EXTENT_LAST) &&
		 from < size);
	if (!layout->n) {
		free(layout);
		*reason = REASON_NO_BLOCKS;
		return NULL;
	}
	return layout;
}

static int compare_layouts(const struct layout *x, const struct layout *y)
{
	size_t i;
	int diff = 0;

	if (x == y)
		return 0;
	if (x->n != y->n)
		return COMPARE(x->n, y->n);
	/* Field by field, since there is padding. */
	for (i = 0; i < x->n && !diff; i++) {
		const struct extent *a = &x->extent[i], *b = &y->extent[i];

		diff = COMPARE(a->physical, b->physical);
		if (!diff)
			diff = COMPARE(a->logical, b->logical);
		if (!diff)
			diff = COMPARE(a->length, b->length);
		if (!diff)
			diff = COMPARE(a->flags, b->flags);
	}
	return diff;
}

static int by_layout(const void *a, const void *b)
{
	const struct file *x = *(struct file *const *)a;
	const struct file *y = *(struct file *const *)b;
	int diff = COMPARE(x->dev, y->dev);

	if (!diff)
		diff = compare_layouts(x->layout, y->layout);
	if (!diff)
		diff = COMPARE(x->ino, y->ino);
	return diff;
}

/* False if there is nothing to prove with @file; its reason is set then. */
static bool look(struct file *file)
{
	enum reason reason;
	int fd = file_open(file);

	if (fd < 0)
		return false;
	file->layout = get_layout(fd, file->size, &reason);
	if (!file->layout) {
		if (reason != REASON_NONE)
			file_skip(file, reason);
		else if (errno == EOPNOTSUPP || errno == ENOTTY)
			file_unsupported(file, "its file system can't tell where data is (FIEMAP)",
					 "files there can't share anything: use XFS made with reflink=1, or leave the path out");
		else
			file_error(file, "FS_IOC_FIEMAP", errno, describe_fiemap_error(errno));
		goto out;
	}
	if (mapping_supported() && mapping_info(fd, &file->info) < 0) {
		file_error(file, "FS_IOC_MAPPING_INFO", errno, describe_info_error(errno));
		free(file->layout);
		file->layout = NULL;
	}
	/* Only where the group may write do named users matter. */
	if (file->mode & S_IWGRP)
		file->acl = fgetxattr(fd, "system.posix_acl_access", NULL, 0) > 0;
out:
	close(fd);
	return file->layout != NULL;
}

size_t prove(struct file **file, size_t n)
{
	size_t i = 0;

	while (i < n && !interrupted) {
		if (look(file[i])) {
			i++;
		} else {
			struct file *last = file[--n];

			file[n] = file[i];
			file[i] = last;
		}
		progress_add(1, 0);
	}
	n = i;
	qsort(file, n, sizeof(*file), by_layout);
	for (i = 1; i < n; i++) {
		if (file[i]->dev == file[i - 1]->dev &&
		    !compare_layouts(file[i]->layout, file[i - 1]->layout)) {
			free(file[i]->layout);
			file[i]->layout = file[i - 1]->layout;
			file[i]->layout->users++;
		}
	}
	return n;
}

bool prove_again(int fd, int donor_fd, uint64_t size)
{
	enum reason reason;
	struct layout *layout = get_layout(fd, size, &reason);
	struct layout *donors = get_layout(donor_fd, size, &reason);
	bool same = layout && donors && !compare_layouts(layout, donors);

	free(layout);
	free(donors);
	return same;
}

void prove_free(struct file **file, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		if (file[i]->layout && --file[i]->layout->users == 0)
			free(file[i]->layout);
		file[i]->layout = NULL;
	}
}
