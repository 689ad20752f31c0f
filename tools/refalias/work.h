/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Do the same with many things, by several threads.
 */
#ifndef REFALIAS_WORK_H
#define REFALIAS_WORK_H

#include <stddef.h>

/* More make no difference to any device. */
enum { WORK_MOST_THREADS = 256 };

/*
 * Call @job for each number below @n, in order, with up to @threads threads,
 * as far as files may be open; no new one is begun when interrupted.  One of
 * the threads is the caller, so that it works with less as well.
 */
void work(size_t n, size_t threads, void (*job)(size_t i, void *data), void *data);

/* Processors that this program may use. */
size_t work_processors(void);

#endif
