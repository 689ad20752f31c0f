// SPDX-License-Identifier: GPL-2.0
#include <stdlib.h>
#include <unistd.h>

#include "measure.h"
#include "msg.h"
#include "resident.h"

/* Sparse files can be larger than any memory: look at pieces of this size. */
#define PIECE (1ULL << 30)
/* As many are looked at without knowing whether anything is in memory. */
#define MOST_PIECES 16384

/* What of one piece is in memory more than once, in pages. */
static uint64_t measure_piece(const struct team *team, uint64_t offset, uint64_t length,
			      unsigned char *seen, size_t *unknown)
{
	uint64_t twice = 0;
	size_t i;

	for (i = 0; i <= team->n && !interrupted; i++) {
		struct file *file = i ? team->member[i - 1] : team->donor;
		int64_t pages;
		int fd;

		/* Who shares already has no pages of its own. */
		if (file->reason != REASON_NONE || (i && donor_serves(team->donor, file)))
			continue;
		/* Known of those that were read, unless they are in memory in part. */
		if (file->cached == CACHED_ALL)
			twice += resident_all_again(length, seen);
		if (file->cached != CACHED_UNKNOWN)
			continue;
		fd = file_open(file);
		if (fd < 0)
			continue;
		pages = resident_again(fd, offset, length, seen);
		if (pages >= 0)
			twice += (uint64_t)pages;
		else if (!offset)
			(*unknown)++;
		close(fd);
	}
	return twice;
}

/* Whether something of a range may be in memory. */
static bool any_resident(const struct team *team, uint64_t offset, uint64_t length)
{
	bool any = false;
	size_t i;

	for (i = 0; i <= team->n && !any && !interrupted; i++) {
		struct file *file = i ? team->member[i - 1] : team->donor;
		int64_t pages;
		int fd;

		if (file->reason != REASON_NONE)
			continue;
		fd = file_open(file);
		if (fd < 0)
			continue;
		pages = resident_count(fd, offset, length);
		/* That may not be known, or not of so much at once. */
		any = pages > 0 || (pages < 0 && length <= MOST_PIECES * PIECE);
		close(fd);
	}
	return any;
}

static uint64_t measure_range(const struct team *team, uint64_t offset, uint64_t length,
			      size_t *unknown)
{
	uint64_t half, twice;
	unsigned char *seen;

	if (length > PIECE) {
		/* The first piece tells whose pages may not be known. */
		if (offset && !any_resident(team, offset, length))
			return 0;
		half = (length / 2 + PIECE - 1) / PIECE * PIECE;
		return measure_range(team, offset, half, unknown) +
		       measure_range(team, offset + half, length - half, unknown);
	}
	seen = xzalloc(resident_pages(length));
	twice = measure_piece(team, offset, length, seen, unknown);
	free(seen);
	return twice;
}

uint64_t measure(const struct team *team, size_t *unknown)
{
	return measure_range(team, 0, team->donor->size, unknown) * page_size();
}
