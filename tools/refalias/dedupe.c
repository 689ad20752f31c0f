// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "dedupe.h"
#include "hashes.h"
#include "msg.h"
#include "prove.h"
#include "resident.h"

enum {
	MOST_THREADS = 8,	/* more gain little, as each has many files to read */
	PIECE = 16 << 20,	/* bytes for each call; btrfs does no more at once */
	MOST_DESTS = 127,	/* the kernel's limit: the argument must fit a page */
	MOST_CACHE = (256 << 20) / MOST_THREADS,	/* bytes of page cache to fill for one call */
};

struct dest {
	struct file *file;
	int fd;
	struct resident resident;
};

static const char *describe_dedupe_error(int err)
{
	switch (err) {
	case EINVAL:
		return "the file system can't share blocks between these two, or one of them changed: run refalias again; on btrfs both must have checksums, or both none (chattr +C, mount -o nodatasum): copy the one that differs";
	case EOPNOTSUPP:
	case ENOTTY:
		return "files there that have blocks of their own can't share anything: use XFS made with reflink=1 or btrfs, or leave the path out";
	case EPERM:
	case EACCES:
		return "only its owner or root may reflink it, and nobody while it is immutable (chattr -i)";
	case EROFS:
		return "the file system is mounted read-only: remount it writable, or give --no-reflink to share what is reflinked already";
	case EAGAIN:
		return "btrfs send reads its subvolume: run refalias again when that has ended";
	case ETXTBSY:
		return "it shares its page cache already (refalias release ends that), or is a swap file";
	case ENOSPC:
	case EDQUOT:
		return "no room for the file system's own records: make some on the disk or in the quota, and run refalias again";
	default:
		return describe_error(err);
	}
}

static void dedupe_error(struct dest *dest, int err)
{
	if (err == EOPNOTSUPP || err == ENOTTY)
		file_unsupported(dest->file, "its file system can't share disk blocks (FIDEDUPERANGE)",
				 describe_dedupe_error(err));
	else
		file_error(dest->file, "FIDEDUPERANGE", err, describe_dedupe_error(err));
}

/* Whatever told that it is as the donor must not tell so again. */
static void differs(struct dest *dest, int donor_fd)
{
	struct stat st;

	if (fstat(dest->fd, &st) == 0)
		hashes_forget(hashes_key(&st));
	if (fstat(donor_fd, &st) == 0)
		hashes_forget(hashes_key(&st));
	file_skip(dest->file, REASON_CHANGED);
}

/*
 * Who runs at the same time may have let it share meanwhile: then it can't be written,
 * and needs no more.
 */
static bool is_done(const struct dest *dest, int donor_fd, int err)
{
	return err == ETXTBSY && prove_again(dest->fd, donor_fd, dest->file->size);
}

/* Dedupe one piece into all destinations that had no error so far. */
static void dedupe_piece(int donor_fd, struct dest *dest, size_t n, uint64_t offset,
			 uint64_t length)
{
	static _Thread_local union {
		struct file_dedupe_range range;
		char room[sizeof(struct file_dedupe_range) +
			  MOST_DESTS * sizeof(struct file_dedupe_range_info)];
	} buf;
	struct file_dedupe_range *range = &buf.range;
	struct resident resident;
	struct dest *which[MOST_DESTS];
	uint16_t count = 0, k;
	int err = 0;
	size_t i;

	*range = (struct file_dedupe_range){ .src_offset = offset, .src_length = length };
	for (i = 0; i < n; i++) {
		if (dest[i].file->reason != REASON_NONE)
			continue;
		resident_save(&dest[i].resident, dest[i].fd, offset, length);
		/* The kernel would read page by page. */
		posix_fadvise(dest[i].fd, (off_t)offset, (off_t)length, POSIX_FADV_WILLNEED);
		range->info[count] = (struct file_dedupe_range_info){
			.dest_fd = dest[i].fd,
			.dest_offset = offset,
		};
		which[count++] = &dest[i];
	}
	if (!count)
		return;
	resident_save(&resident, donor_fd, offset, length);
	posix_fadvise(donor_fd, (off_t)offset, (off_t)length, POSIX_FADV_WILLNEED);
	range->dest_count = count;
	if (ioctl(donor_fd, FIDEDUPERANGE, range) < 0)
		err = errno;
	for (k = 0; k < count; k++) {
		resident_restore(&which[k]->resident);
		if (err)
			dedupe_error(which[k], err);
		else if (range->info[k].status == FILE_DEDUPE_RANGE_DIFFERS)
			differs(which[k], donor_fd);
		else if (range->info[k].status < 0 &&
			 !is_done(which[k], donor_fd, -range->info[k].status))
			dedupe_error(which[k], -range->info[k].status);
	}
	resident_restore(&resident);
}

static void moved(struct file *file)
{
	file->reflinked = true;
	file_verbose(file, "has its donor's disk blocks");
}

static void dedupe_batch(struct file *donor, int donor_fd, struct file **member, size_t n)
{
	static _Thread_local struct dest dest[MOST_DESTS];
	uint64_t offset, length;
	size_t i, opened = 0;

	for (i = 0; i < n; i++) {
		int fd = file_open(member[i]);

		if (fd >= 0)
			dest[opened++] = (struct dest){ .file = member[i], .fd = fd };
	}
	for (offset = 0; offset < donor->size && !interrupted; offset += length) {
		length = donor->size - offset;
		/* An end within a block is fine: both files end there. */
		if (length > PIECE)
			length = PIECE;
		dedupe_piece(donor_fd, dest, opened, offset, length);
	}
	for (i = 0; i < opened; i++) {
		struct file *file = dest[i].file;

		/* The call reports success for what it left out as well. */
		if (file->reason == REASON_NONE && offset >= donor->size) {
			if (prove_again(dest[i].fd, donor_fd, donor->size))
				moved(file);
			else
				file_error(file, "still has other blocks than its donor after FIDEDUPERANGE", 0,
					   "it changed just now, or its file system keeps its data elsewhere: run refalias again, and leave it out if that does not help");
		}
		close(dest[i].fd);
	}
}

size_t dedupe_threads(void)
{
	/* Each has a donor and a destination open at least. */
	size_t threads = files_may_open((size_t)2 * MOST_THREADS) / 2;

	return threads ? threads : 1;
}

/* How many destinations of @size bytes a thread may have open at a time. */
static size_t most_destinations(uint64_t size)
{
	size_t open = files_may_open((size_t)MOST_THREADS * (MOST_DESTS + 1)) / dedupe_threads();
	size_t most = MOST_CACHE / (size < PIECE ? size : PIECE);

	/* One of them is the donor. */
	if (most > open - 1)
		most = open - 1;
	return most ? most : 1;
}

void dedupe(struct file *donor, struct file **member, size_t n, bool dry_run)
{
	size_t most = most_destinations(donor->size), i, count = 0;
	struct file *batch[MOST_DESTS];
	int donor_fd = -1;

	for (i = 0; i < n && !interrupted; i++) {
		struct file *file = member[i];

		if (file->reason == REASON_NONE && file->blocks != donor->blocks) {
			if (file->immutable)
				file_skip(file, REASON_IMMUTABLE);
			else if (donor->inlined && !file->inlined)
				/* That would only write another copy. */
				file_skip(file, REASON_NO_BLOCKS);
			else if (dry_run)
				moved(file);
			else
				batch[count++] = file;
		}
		if (count && (count == most || i + 1 == n)) {
			if (donor_fd < 0)
				donor_fd = file_open(donor);
			if (donor_fd < 0)
				break;
			dedupe_batch(donor, donor_fd, batch, count);
			count = 0;
		}
	}
	if (donor_fd >= 0)
		close(donor_fd);
	/* A donor that is lost takes those with it that still need it. */
	for (i = 0; i < n && donor->reason != REASON_NONE; i++)
		if (member[i]->reason == REASON_NONE && !member[i]->reflinked &&
		    member[i]->blocks != donor->blocks)
			file_skip(member[i], donor->reason);
}

static int by_blocks(const void *a, const void *b)
{
	const struct file *x = *(struct file *const *)a;
	const struct file *y = *(struct file *const *)b;

	return COMPARE(x->blocks, y->blocks);
}

uint64_t dedupe_freed(struct file **file, size_t n)
{
	uint64_t freed = 0;
	size_t from, to, moves;

	qsort(file, n, sizeof(*file), by_blocks);
	for (from = 0; from < n; from = to) {
		const struct file *first = file[from];

		moves = 0;
		for (to = from; to < n && file[to]->blocks == first->blocks; to++)
			moves += file[to]->reflinked && !file[to]->state;
		/* The last one has moved; others could have what one alone shared. */
		if (moves == to - from && (moves > 1 || first->own_blocks))
			freed += first->freeable;
	}
	return freed;
}
