/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Step 8: say what was done.
 */
#ifndef REFALIAS_REPORT_H
#define REFALIAS_REPORT_H

#include "walk.h"

struct totals {
	size_t groups;		/* of identical files */
	size_t files;		/* in these */
	size_t aliased;		/* now, and not before */
	size_t kept;		/* before already */
	size_t reflinked;	/* now, and not before */
	uint64_t disk_saved;	/* bytes of blocks that became free */
	uint64_t memory_shared;	/* bytes of page cache needed once less */
	size_t skipped[REASON_COUNT];
};

/* Count what became of @n files, when all steps are done with them. */
void report_count(struct totals *totals, struct file **file, size_t n);

/* Print the summary, as text or JSON, on standard output; returns the exit status. */
int report(const struct totals *totals, const struct walked *walked, bool dry_run, bool json);

#endif
