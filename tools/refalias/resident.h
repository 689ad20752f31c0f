/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What of a file is in the page cache, and leaving that as it was.
 */
#ifndef REFALIAS_RESIDENT_H
#define REFALIAS_RESIDENT_H

#include <stdint.h>

#include "file.h"

/*
 * Bytes of the page cache that the first @size bytes of the open file @fd
 * occupy; -1 if the caller may not know.
 */
int64_t resident_bytes(int fd, uint64_t size);

/* Pages of @length bytes at @offset of @fd that are; -1 if the caller may not know. */
int64_t resident_count(int fd, uint64_t offset, uint64_t length);

/* Bytes of a page, and the number of pages that @size bytes take. */
uint64_t page_size(void);
uint64_t resident_pages(uint64_t size);

/*
 * Note in @seen, a byte for each page, what is resident of @length bytes at
 * @offset of @fd; returns how many of these pages were noted before, or -1 if
 * the caller may not know.
 */
int64_t resident_again(int fd, uint64_t offset, uint64_t length, unsigned char *seen);

/* The same for a file of which all @length bytes are resident. */
uint64_t resident_all_again(uint64_t length, unsigned char *seen);

/* What was resident of @length bytes at @offset of @fd. */
struct resident {
	int fd;
	uint64_t offset, length;
	unsigned char *pages;	/* as from mincore(2); NULL: all or nothing */
	enum cached cached;	/* if so, which; or unknown */
};

/*
 * Remember what is resident before a range is read, and drop afterwards what
 * was not: reading to compare should not fill the memory.  @offset is a
 * multiple of the page size.
 */
void resident_save(struct resident *resident, int fd, uint64_t offset, uint64_t length);

/* Whether all or nothing was; neither counts as unknown here. */
static inline enum cached resident_cached(const struct resident *resident)
{
	return resident->pages ? CACHED_UNKNOWN : resident->cached;
}

void resident_restore(struct resident *resident);

#endif
