// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <xxhash.h>

#include "mapping.h"
#include "msg.h"
#include "packed.h"
#include "prove.h"
#include "volume.h"
#include "work.h"

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

/* Larger files of which a smaller part than one in so many bytes is stored are not read. */
#define SPARSE_SIZE (1ULL << 30)
#define SPARSE_PART 64

/* The blocks of a file. */
struct layout {
	uint64_t digest;	/* of all extents but the last, and but compressed ones */
	struct extent {
		uint64_t logical, physical, length, flags;
	} last;
	uint64_t place;		/* the first one's */
	uint64_t bytes;		/* data in them */
	uint64_t unshared;	/* data in blocks that no other file has */
	bool encoded;		/* part of it */
	bool inlined;		/* part of it */
};

/* The last extent is complete. */
static void add_last(struct layout *layout)
{
	if (layout->last.length)
		layout->digest = XXH3_64bits_withSeed(&layout->last, sizeof(layout->last),
						      layout->digest);
}

/* Record one extent of a file of @size bytes; or the reason why it can't be. */
static enum reason add_extent(struct layout *layout, const struct fiemap_extent *fe, uint64_t size)
{
	uint64_t length = fe->fe_length;
	uint32_t flags = fe->fe_flags & ~(uint32_t)IGNORED_FLAGS;
	struct extent *last = &layout->last;
	bool encoded = flags & FIEMAP_EXTENT_ENCODED;
	bool inlined = flags & FIEMAP_EXTENT_DATA_INLINE;

	if (flags & FIEMAP_EXTENT_DATA_TAIL)
		return REASON_NO_BLOCKS;
	if (flags & FIEMAP_EXTENT_DATA_ENCRYPTED)
		return REASON_ENCRYPTED;
	if (flags & (FIEMAP_EXTENT_DELALLOC | FIEMAP_EXTENT_UNKNOWN))
		return REASON_BEING_WRITTEN;
	/* Reads as zeros like a hole; room beyond the end doesn't matter either. */
	if ((flags & FIEMAP_EXTENT_UNWRITTEN) || fe->fe_logical >= size)
		return REASON_NONE;

	/* An encoded extent's length on disk is unknown: take it as it is. */
	if (!encoded && length > size - fe->fe_logical)
		length = size - fe->fe_logical;
	layout->encoded |= encoded;
	layout->inlined |= inlined;
	/* Inline data is among the file system's records, of which nobody tells the place. */
	if (!inlined) {
		if (!layout->bytes)
			layout->place = fe->fe_physical;
		layout->bytes += length;
		if (!(fe->fe_flags & FIEMAP_EXTENT_SHARED))
			layout->unshared += length;
	}
	/* Which part of it the file has isn't told: see packed_digest(). */
	if (encoded && !inlined)
		return REASON_NONE;
	/* The same blocks may be told in other pieces. */
	if (!encoded && last->length && last->flags == flags &&
	    last->logical + last->length == fe->fe_logical &&
	    last->physical + last->length == fe->fe_physical) {
		last->length += length;
	} else {
		add_last(layout);
		*last = (struct extent){
			fe->fe_logical, inlined ? 0 : fe->fe_physical, length, flags
		};
	}
	return REASON_NONE;
}

/*
 * The layout of an open file of @size bytes; false with either @reason set, or,
 * if FIEMAP failed, REASON_NONE and errno.
 */
static bool get_layout(int fd, uint64_t size, struct layout *layout, enum reason *reason)
{
	enum { RECORDS = 256 };
	static _Thread_local union {
		struct fiemap map;
		char room[sizeof(struct fiemap) + RECORDS * sizeof(struct fiemap_extent)];
	} buf;
	struct fiemap *map = &buf.map;
	const struct fiemap_extent *fe = map->fm_extents;
	uint64_t from = 0;
	uint32_t i;

	*layout = (struct layout){ 0 };
	do {
		memset(map, 0, sizeof(*map));
		map->fm_start = from;
		map->fm_length = size - from;
		map->fm_extent_count = RECORDS;
		/* Have data that is still in memory only put in its place. */
		map->fm_flags = from ? 0 : FIEMAP_FLAG_SYNC;
		*reason = REASON_NONE;
		if (ioctl(fd, FS_IOC_FIEMAP, map) < 0)
			return false;
		for (i = 0; i < map->fm_mapped_extents; i++) {
			fe = &map->fm_extents[i];
			*reason = add_extent(layout, fe, size);
			if (*reason != REASON_NONE)
				return false;
			from = fe->fe_logical + fe->fe_length;
		}
	} while (map->fm_mapped_extents && !(fe->fe_flags & FIEMAP_EXTENT_LAST) &&
		 from < size);
	add_last(layout);
	if (!layout->bytes && !layout->inlined)
		*reason = REASON_NO_BLOCKS;
	return *reason == REASON_NONE;
}

static int by_blocks(const void *a, const void *b)
{
	const struct file *x = *(struct file *const *)a;
	const struct file *y = *(struct file *const *)b;
	int diff = COMPARE(file_fs(x), file_fs(y));

	if (!diff)
		diff = COMPARE(x->blocks, y->blocks);
	return diff ? diff : COMPARE(x->ino, y->ino);
}

/*
 * Nearly all holes: reading them would take longer than anybody has, which a user
 * could make us do.  Nobody else has the blocks of the rest.
 */
static bool too_sparse(const struct file *file, const struct layout *layout)
{
	return file->size > SPARSE_SIZE && layout->bytes < file->size / SPARSE_PART;
}

struct looking {
	struct file **file;
	prove_read *read;
	bool alone;
};

/* Note where the data is; returns whether only the content tells if others have the same. */
static bool note_layout(struct file *file, int fd, const struct layout *layout)
{
	bool by_content = layout->inlined;
	uint64_t packed = 0;

	/* Those of another file system are other ones. */
	file->blocks = XXH3_64bits_withSeed(&layout->digest, sizeof(layout->digest),
					    file_fs(file));
	if (layout->encoded && layout->bytes) {
		by_content |= !packed_digest(fd, &packed);
		file->blocks = XXH3_64bits_withSeed(&packed, sizeof(packed), file->blocks);
	}
	file->place = layout->place;
	file->hashed = false;
	file->encoded = layout->encoded;
	file->inlined = layout->inlined;
	file->own_blocks = layout->unshared;
	file->freeable = layout->unshared ? layout->unshared : layout->bytes;
	/* These are identical only to those with the same blocks. */
	if (too_sparse(file, layout)) {
		file->hash = file->blocks;
		file->hashed = true;
	}
	return by_content;
}

/* Look at one file; returns whether it was read. */
static bool look(const struct looking *looking, struct file *file)
{
	bool read = false, by_content = false;
	struct fs_mapping_info info = { 0 };
	struct layout layout;
	enum reason reason;
	struct stat st;
	int fd = file_open_stat(file, &st);

	if (fd < 0)
		return false;
	if (!get_layout(fd, file->size, &layout, &reason)) {
		if (reason != REASON_NONE)
			file_skip(file, reason);
		else if (errno == EOPNOTSUPP || errno == ENOTTY)
			file_unsupported(file, "its file system can't tell where data is (FIEMAP)",
					 "files there can't share anything: use XFS made with reflink=1 or btrfs, or leave the path out");
		else
			file_error(file, "FS_IOC_FIEMAP", errno, describe_fiemap_error(errno));
	} else if (layout.inlined && (!file_on_btrfs(file) || too_sparse(file, &layout))) {
		file_skip(file, REASON_NO_BLOCKS);
	} else if (mapping_supported() && mapping_info(fd, &info) < 0) {
		file_error(file, "FS_IOC_MAPPING_INFO", errno, describe_info_error(errno));
	} else {
		by_content = note_layout(file, fd, &layout);
		read = !file->hashed &&
		       (by_content || (looking->alone && layout.unshared == layout.bytes));
	}
	file_set_state(file, &info);
	/* Only where the group may write do named users matter. */
	if (file->mode & S_IWGRP)
		file->acl = fgetxattr(fd, "system.posix_acl_access", NULL, 0) > 0;
	if (read)
		looking->read(file, fd, &st);
	if (by_content && file->hashed)
		file->blocks = XXH3_64bits_withSeed(&file->hash, sizeof(file->hash), file->blocks);
	close(fd);
	return read;
}

static void look_job(size_t i, void *data)
{
	const struct looking *looking = data;
	struct file *file = looking->file[i];

	/* Otherwise read() has told of the bytes. */
	progress_add(1, look(looking, file) ? 0 : file->size);
}

void prove_look(struct file **file, size_t n, size_t threads, prove_read *read, bool alone)
{
	struct looking looking = { file, read, alone };

	/* Asked once, and not by several threads. */
	mapping_supported();
	work(n, threads, look_job, &looking);
}

size_t prove_sort(struct file **file, size_t n)
{
	size_t i = 0;

	while (i < n) {
		struct file *last;

		if (file[i]->reason == REASON_NONE) {
			i++;
			continue;
		}
		last = file[--n];
		file[n] = file[i];
		file[i] = last;
	}
	qsort(file, n, sizeof(*file), by_blocks);
	return n;
}

bool prove_again(int fd, int donor_fd, uint64_t size)
{
	uint64_t packed = 0, donors_packed = 0;
	struct layout layout, donors;
	enum reason reason;

	if (!get_layout(fd, size, &layout, &reason) ||
	    !get_layout(donor_fd, size, &donors, &reason) ||
	    layout.digest != donors.digest || layout.encoded != donors.encoded)
		return false;
	/* Where nobody tells, the kernel's word that it is done has to do. */
	return !layout.encoded || !packed_digest(fd, &packed) ||
	       !packed_digest(donor_fd, &donors_packed) || packed == donors_packed;
}
