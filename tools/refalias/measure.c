// SPDX-License-Identifier: GPL-2.0
#include <stdlib.h>
#include <unistd.h>

#include "measure.h"
#include "msg.h"
#include "resident.h"

uint64_t measure(const struct team *team, size_t *unknown)
{
	unsigned char *seen = xzalloc(resident_pages(team->donor->size));
	uint64_t twice = 0;
	size_t i;

	for (i = 0; i <= team->n && !interrupted; i++) {
		struct file *file = i ? team->member[i - 1] : team->donor;
		int64_t pages;
		int fd;

		/* Who shares already has no pages of its own. */
		if (file->reason != REASON_NONE || (i && donor_serves(team->donor, file)))
			continue;
		fd = file_open(file);
		if (fd < 0)
			continue;
		pages = resident_again(fd, file->size, seen);
		if (pages < 0)
			(*unknown)++;
		else
			twice += (uint64_t)pages;
		close(fd);
	}
	free(seen);
	return twice * (uint64_t)sysconf(_SC_PAGESIZE);
}
