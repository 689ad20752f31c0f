// SPDX-License-Identifier: GPL-2.0
#include <stdlib.h>

#include "alias.h"
#include "cmd.h"
#include "dedupe.h"
#include "donor.h"
#include "hash.h"
#include "msg.h"
#include "prove.h"
#include "report.h"
#include "users.h"
#include "volume.h"

/* Whether it makes sense to try @file with @donor; a message if not. */
static bool fits(const struct file *donor, struct file *file)
{
	if (file_is_same(file, donor))
		file_error(file, "is the donor itself under another name", 0,
			   "hard links share their page cache anyway: leave it out");
	else if (file->size != donor->size)
		file_error(file, "has another size than the donor", 0,
			   "only identical files can share");
	else if (!file->size)
		file_error(file, "is empty", 0, "there is nothing to share");
	return file->reason == REASON_NONE;
}

/* The same for what only an open file tells. */
static bool may_share(const struct file *donor, struct file *file)
{
	switch (donor_may_serve(donor, file)) {
	case REASON_OWNER:
		file_error(file, "the donor belongs to another user", 0,
			   "name a copy as donor that root or this file's owner owns");
		return false;
	case REASON_WRITABLE:
		file_error(file, "users who may not write it may write the donor", 0,
			   "name another donor, or take that permission away (chmod go-w)");
		return false;
	default:
		return true;
	}
}

/* Whether they are identical, for a dry run; else the kernel compares. */
static bool same_content(struct file *donor, struct file *file, const struct options *options)
{
	struct file *both[] = { donor, file };
	const struct files files = { .file = both, .n = 2 };

	if (donor->blocks == file->blocks)
		return true;
	if (options->no_reflink) {
		file_error(file, "has other blocks than the donor", 0,
			   "leave out --no-reflink to make it a reflink of it");
		return false;
	}
	hash_add(&files, 0, 2);
	hash_run(1);
	if (hash_equal(donor, file))
		return true;
	if (file->reason == REASON_NONE && donor->reason == REASON_NONE)
		file_error(file, "has other content than the donor", 0,
			   "only identical files can share");
	return false;
}

static void pair(struct file *donor, struct file *file, const struct options *options,
		 struct totals *totals)
{
	struct file *both[] = { donor, file };

	prove_look(both, 2, 1, hash_now, false);
	if (prove_sort(both, 2) < 2 || !may_share(donor, file))
		return;
	if (options->dry_run && !same_content(donor, file, options))
		return;
	file->identical = true;
	donor->identical = true;
	file->donor = donor;
	file->kept = donor_serves(donor, file) && file->state & FS_MAPPING_INFO_KEPT;
	if (!options->no_reflink)
		dedupe(donor, &file, 1, options->dry_run);
	totals->disk_saved += dedupe_freed(both, 2);
	if (!options->no_alias)
		alias(donor, &file, 1, options->dry_run);
}

/* What run may pass over silently is an error with a file that was named. */
static void insist(struct file *file)
{
	if (file->reason == REASON_CHANGED)
		file_error(file, "has other content than the donor, or changed meanwhile", 0,
			   "only identical files can share: compare them, or try again");
	else if (file->reason > REASON_FAILED && file->reason != REASON_NO_KERNEL)
		file_error(file, "can't share its page cache", 0, reasons[file->reason].text);
}

int cmd_pair(char **paths, int n, const struct options *options)
{
	struct file *donor = walk_file(paths[0]), *file;
	struct walked walked = { 0 };
	struct totals totals = { 0 };
	int i, status;

	if (!donor && !options->json)
		return STATUS_FAILED;
	walked.seen = donor != NULL;
	progress_start("comparing", (uint64_t)n - 1, 0);
	for (i = 1; donor && i < n && donor->reason == REASON_NONE && !interrupted; i++) {
		progress_add(1, 0);
		file = walk_file(paths[i]);
		if (!file)
			continue;
		walked.seen++;
		if (fits(donor, file))
			pair(donor, file, options, &totals);
		if (donor->reason == REASON_NONE)
			insist(file);
		files_add(&walked.files, file);
	}
	if (donor) {
		insist(donor);
		totals.groups = donor->identical;
		files_add(&walked.files, donor);
	}
	report_count(&totals, walked.files.file, walked.files.n);
	if (!options->dry_run)
		totals.opened_before = users_count(&walked.files, true);
	status = report("pair", &totals, &walked, options->dry_run, options->json);
	files_free(&walked.files);
	return status;
}
