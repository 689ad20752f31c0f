// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "dedupe.h"
#include "msg.h"
#include "prove.h"
#include "resident.h"

enum {
	PIECE = 16 << 20,	/* bytes for each call; btrfs does no more at once */
	MOST_DESTS = 127,	/* the kernel's limit: the argument must fit a page */
	MOST_CACHE = 256 << 20,	/* bytes of page cache to fill for one call */
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
		return "the file system can't share blocks between these two, or one of them changed: run refalias again; btrfs wants both with or both without checksums (chattr +C)";
	case EXDEV:
		return "it is on another file system than the donor; only files of one file system can share";
	case EOPNOTSUPP:
	case ENOTTY:
		return "files there that have blocks of their own can't share anything: use XFS made with reflink=1, or leave the path out";
	case EPERM:
	case EACCES:
		return "only its owner or root may reflink it, and nobody while it is immutable (chattr -i)";
	case EROFS:
		return "the file system is mounted read-only: remount it writable, or give --no-reflink to share what is reflinked already";
	case ETXTBSY:
		return "it shares its page cache already (refalias release ends that), or is a swap file";
	case EBADE:
		return "the contents differ, so it changed just now or never was identical";
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

/* Dedupe one piece into all destinations that had no error so far. */
static void dedupe_piece(int donor_fd, struct dest *dest, size_t n, uint64_t offset,
			 uint64_t length)
{
	static union {
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
			dedupe_error(which[k], EBADE);
		else if (range->info[k].status < 0)
			dedupe_error(which[k], -range->info[k].status);
	}
	resident_restore(&resident);
}

/* Count @file as moved to other blocks; returns the bytes that became free. */
static uint64_t moved(struct file *file)
{
	struct layout *layout = file->layout;

	file->reflinked = true;
	file_verbose(file, "has its donor's disk blocks");
	/* Blocks that several files had are free when the last one moved. */
	if (++layout->moved < layout->users)
		return 0;
	return layout->users > 1 ? layout->bytes : layout->unshared;
}

static uint64_t dedupe_batch(struct file *donor, int donor_fd, struct file **member,
			     size_t n)
{
	static struct dest dest[MOST_DESTS];
	uint64_t offset, length, freed = 0;
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
				freed += moved(file);
			else
				file_error(file, "still has other blocks than its donor after FIDEDUPERANGE", 0,
					   "it changed just now, or its file system keeps its data elsewhere: run refalias again, and leave it out if that does not help");
		}
		close(dest[i].fd);
	}
	return freed;
}

uint64_t dedupe(struct file *donor, struct file **member, size_t n, bool dry_run)
{
	uint64_t piece = donor->size < PIECE ? donor->size : PIECE;
	size_t most = MOST_CACHE / piece, i, count = 0;
	struct file *batch[MOST_DESTS];
	uint64_t freed = 0;
	int donor_fd = -1;

	most = files_may_open(most < MOST_DESTS ? most : MOST_DESTS);
	for (i = 0; i < n && !interrupted; i++) {
		struct file *file = member[i];

		if (file->reason == REASON_NONE && file->layout != donor->layout) {
			if (file->immutable)
				file_skip(file, REASON_IMMUTABLE);
			else if (dry_run)
				freed += moved(file);
			else
				batch[count++] = file;
		}
		if (count && (count == most || i + 1 == n)) {
			if (donor_fd < 0)
				donor_fd = file_open(donor);
			if (donor_fd < 0)
				break;
			freed += dedupe_batch(donor, donor_fd, batch, count);
			count = 0;
		}
	}
	if (donor_fd >= 0)
		close(donor_fd);
	/* A donor that is lost takes those with it that still need it. */
	for (i = 0; i < n && donor->reason != REASON_NONE; i++)
		if (member[i]->reason == REASON_NONE && !member[i]->reflinked &&
		    member[i]->layout != donor->layout)
			file_skip(member[i], donor->reason);
	return freed;
}
