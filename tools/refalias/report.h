/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Step 10: say what was done.
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
	uint64_t memory_new;	/* bytes of page cache of what is aliased now */
	uint64_t memory_kept;	/* and of what was before already */
	uint64_t memory_now;	/* of the former, what could be freed now */
	size_t unknown;		/* files for which it is not known */
	int64_t opened_before;	/* aliased now, by users_count() */
	size_t skipped[REASON_COUNT];
};

/* Count what became of @n files, when all steps are done with them. */
void report_count(struct totals *totals, struct file **file, size_t n);

/*
 * Print the summary of @command, "scan" or one that shares, as text
 * or JSON, on standard output; in JSON this ends the object, which may have tables
 * already.  Returns the exit status.
 */
int report(const char *command, const struct totals *totals, const struct walked *walked,
	   bool dry_run, bool json);

#endif
