// SPDX-License-Identifier: GPL-2.0
#include <stdlib.h>
#include <unistd.h>

#include "measure.h"
#include "msg.h"
#include "resident.h"

/* Sparse files can be larger than any memory: look at pieces of this size. */
#define PIECE (1ULL << 30)

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

uint64_t measure(const struct team *team, size_t *unknown)
{
	uint64_t size = team->donor->size, twice = 0, offset, length;
	unsigned char *seen;

	for (offset = 0; offset < size && !interrupted; offset += length) {
		length = size - offset < PIECE ? size - offset : PIECE;
		seen = xzalloc(resident_pages(length));
		twice += measure_piece(team, offset, length, seen, unknown);
		free(seen);
	}
	return twice * (uint64_t)sysconf(_SC_PAGESIZE);
}
