// SPDX-License-Identifier: GPL-2.0
#include "alias.h"
#include "cmd.h"
#include "dedupe.h"
#include "donor.h"
#include "find.h"
#include "msg.h"
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
		if (!options->no_alias)
			alias(team.donor, team.member, team.n, options->dry_run);
	}
}

/* Files and bytes in all sets of identical files, to be shown by progress. */
static void start_progress(const struct files *files)
{
	uint64_t count = 0, bytes = 0;
	size_t from, n;

	for (from = 0; (n = find_next(files, &from)); from += n) {
		count += n;
		bytes += n * files->file[from]->size;
	}
	progress_start("sharing", count, bytes);
}

int cmd_run(char **paths, int n, const struct options *options)
{
	struct walked walked = { 0 };
	const struct files *files = &walked.files;
	struct totals totals = { 0 };
	size_t from, size;
	int status;

	walk(paths, n, &options->selection, &walked);
	/* Only what shall be reflinked must be read. */
	find(&walked, options->no_reflink ? 0 : options->threads);
	start_progress(files);
	for (from = 0; (size = find_next(files, &from)); from += size) {
		uint64_t bytes = size * files->file[from]->size;

		share(files->file + from, size, options, &totals);
		progress_add(size, bytes);
	}
	report_count(&totals, files->file, files->n);
	status = report(&totals, &walked, options->dry_run, options->json);
	find_free(&walked);
	return status;
}
