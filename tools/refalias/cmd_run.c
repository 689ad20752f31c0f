// SPDX-License-Identifier: GPL-2.0
#include "alias.h"
#include "cmd.h"
#include "dedupe.h"
#include "donor.h"
#include "group.h"
#include "hash.h"
#include "msg.h"
#include "prove.h"
#include "report.h"

/* Identical files: from choosing donors to aliases. */
static void share(struct file **file, size_t n, const struct options *options,
		  struct totals *totals)
{
	struct team team;
	size_t i, used;

	totals->groups++;
	for (i = 0; i < n; i++)
		file[i]->identical = true;
	while ((used = donor_choose(file, n, &team)) && !interrupted) {
		file += used;
		n -= used;
		if (!options->no_reflink)
			totals->disk_saved += dedupe(team.donor, team.member, team.n,
						     options->dry_run);
		for (i = 0; i < team.n && options->no_reflink; i++)
			if (team.member[i]->reason == REASON_NONE &&
			    team.member[i]->layout != team.donor->layout)
				file_skip(team.member[i], REASON_NOT_REFLINKED);
		if (!options->no_alias)
			alias(team.donor, team.member, team.n, options->dry_run);
	}
}

/* Files of one size: from their blocks to sets of identical ones. */
static void share_group(struct file **file, size_t n, const struct options *options,
			struct totals *totals)
{
	size_t good, from, end;

	good = prove(file, n);
	good = hash(file, good);
	for (from = 0; from < good && !interrupted; from = end) {
		end = from + 1;
		while (end < good && XXH128_isEqual(file[end]->hash, file[from]->hash))
			end++;
		if (end - from > 1)
			share(file + from, end - from, options, totals);
	}
	report_count(totals, file, n);
	prove_free(file, n);
}

int cmd_run(char **paths, int n, const struct options *options)
{
	struct walked walked = { 0 };
	struct totals totals = { 0 };
	size_t from = 0, size, i;
	uint64_t bytes = 0;
	int status;

	walk(paths, n, &options->selection, &walked);
	group_sort(&walked.files);
	for (i = 0; i < walked.files.n; i++)
		bytes += walked.files.file[i]->size;
	progress_start("comparing", walked.files.n, bytes);
	while (!interrupted && (size = group_next(&walked.files, &from))) {
		share_group(walked.files.file + from, size, options, &totals);
		progress_add(size, size * walked.files.file[from]->size);
		from += size;
	}
	status = report(&totals, &walked, options->dry_run, options->json);
	files_free(&walked.files);
	return status;
}
