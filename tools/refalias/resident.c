// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "msg.h"
#include "resident.h"

/* Linux 6.5; the C library's headers may be older. */
#ifndef __NR_cachestat
#define __NR_cachestat 451
#endif

struct cache_range {
	uint64_t offset, length;
};

struct cache_counts {
	uint64_t cached, dirty, writeback, evicted, recently_evicted;
};

/* Without it, mincore(2) wants a byte for each page: no more bytes at a time. */
#define MOST_AT_ONCE (1ULL << 30)

uint64_t page_size(void)
{
	return (uint64_t)sysconf(_SC_PAGESIZE);
}

uint64_t resident_pages(uint64_t length)
{
	return (length + page_size() - 1) / page_size();
}

/* The mincore(2) vector of a range, or NULL and errno. */
static unsigned char *get_pages(int fd, uint64_t offset, uint64_t length)
{
	unsigned char *pages = NULL;
	void *map;

	map = mmap(NULL, length, PROT_READ, MAP_SHARED, fd, (off_t)offset);
	if (map == MAP_FAILED)
		return NULL;
	pages = xrealloc(NULL, resident_pages(length), 1);
	if (mincore(map, length, pages) < 0) {
		free(pages);
		pages = NULL;
	}
	munmap(map, length);
	return pages;
}

/* mincore(2) tells others than these that everything is resident. */
static bool may_use_mincore(int fd)
{
	struct stat st;

	return geteuid() == 0 || (fstat(fd, &st) == 0 && st.st_uid == geteuid());
}

int64_t resident_count(int fd, uint64_t offset, uint64_t length)
{
	struct cache_range range = { offset, length };
	struct cache_counts counts;
	unsigned char *pages;
	int64_t n = 0;
	uint64_t i;

	if (syscall(__NR_cachestat, fd, &range, &counts, 0) == 0)
		return (int64_t)counts.cached;
	if (errno != ENOSYS || length > MOST_AT_ONCE || !may_use_mincore(fd))
		return -1;
	pages = get_pages(fd, offset, length);
	if (!pages)
		return -1;
	for (i = 0; i < resident_pages(length); i++)
		n += pages[i] & 1;
	free(pages);
	return n;
}

int64_t resident_bytes(int fd, uint64_t size)
{
	int64_t n = size ? resident_count(fd, 0, size) : 0;

	return n < 0 ? n : n * (int64_t)page_size();
}

/* Note @pages, or all of them if NULL, in @seen; how many were noted before? */
static uint64_t note(const unsigned char *pages, uint64_t total, unsigned char *seen)
{
	uint64_t again = 0, i;

	for (i = 0; i < total; i++) {
		if (pages && !(pages[i] & 1))
			continue;
		again += seen[i];
		seen[i] = 1;
	}
	return again;
}

int64_t resident_again(int fd, uint64_t offset, uint64_t length, unsigned char *seen)
{
	int64_t n = resident_count(fd, offset, length);
	uint64_t total = resident_pages(length);
	unsigned char *pages = NULL;

	if (n <= 0)
		return n;
	if ((uint64_t)n < total) {
		pages = may_use_mincore(fd) ? get_pages(fd, offset, length) : NULL;
		if (!pages)
			return -1;
	}
	n = (int64_t)note(pages, total, seen);
	free(pages);
	return n;
}

uint64_t resident_all_again(uint64_t length, unsigned char *seen)
{
	return note(NULL, resident_pages(length), seen);
}

void resident_save(struct resident *resident, int fd, uint64_t offset, uint64_t length)
{
	int64_t n = resident_count(fd, offset, length);

	*resident = (struct resident){ .fd = fd, .offset = offset, .length = length };
	if (n == 0)
		resident->cached = CACHED_NOTHING;
	else if (n > 0 && (uint64_t)n >= resident_pages(length))
		resident->cached = CACHED_ALL;
	else if (n > 0)
		resident->pages = get_pages(fd, offset, length);
}

static void drop(const struct resident *resident, uint64_t first, uint64_t end)
{
	uint64_t from = first * page_size(), to = end * page_size();

	/* The kernel spares a last page that is given in part, except at EOF. */
	if (to > resident->length)
		to = resident->length;
	posix_fadvise(resident->fd, (off_t)(resident->offset + from), (off_t)(to - from),
		      POSIX_FADV_DONTNEED);
}

void resident_restore(struct resident *resident)
{
	uint64_t n = resident_pages(resident->length), i, from;

	if (!resident->pages) {
		/* What isn't known stays. */
		if (resident->cached == CACHED_NOTHING)
			drop(resident, 0, n);
		return;
	}
	for (i = 0; i < n; i++) {
		from = i;
		while (i < n && !(resident->pages[i] & 1))
			i++;
		if (i > from)
			drop(resident, from, i);
	}
	free(resident->pages);
	resident->pages = NULL;
}
