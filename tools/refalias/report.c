// SPDX-License-Identifier: GPL-2.0
#include <inttypes.h>
#include <libsmartcols.h>
#include <stdio.h>
#include <string.h>

#include "msg.h"
#include "report.h"
#include "resident.h"
#include "table.h"
#include "users.h"

void report_count(struct totals *totals, struct file **file, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		totals->files += file[i]->identical;
		totals->aliased += file[i]->aliased;
		totals->kept += file[i]->kept;
		totals->reflinked += file[i]->reflinked;
		*(file[i]->kept ? &totals->memory_kept : &totals->memory_new) +=
			file[i]->aliased || file[i]->kept ?
			resident_pages(file[i]->size) * page_size() : 0;
		totals->skipped[file[i]->reason]++;
	}
}

/* One number of the summary. */
struct figure {
	const char *key;	/* in JSON */
	const char *run, *scan;	/* words for people; "": in JSON only, NULL: not at all */
	bool is_size;
	uint64_t value;
};

enum { MOST_FIGURES = 32 };

static size_t get_figures(struct figure *figure, bool scan, const struct totals *t,
			  const struct walked *walked, bool dry_run)
{
	const struct figure all[] = {
		{ "seen", "files seen", "files seen", false, walked->seen },
		{ "empty", "", "", false, walked->empty },
		{ "small", "", "", false, walked->small },
		{ "large", "", "", false, walked->large },
		{ "excluded", "", "", false, walked->excluded },
		{ "mounts", "", "", false, walked->mounts },
		{ "overlays", "", "", false, walked->overlays },
		{ "gone", "", "", false, walked->gone },
		{ "symlinks", "", "", false, walked->links },
		{ "special", "", "", false, walked->special },
		{ "groups", "groups of identical", "groups of identical", false, t->groups },
		{ "files", "files in them", "files in them", false, t->files },
		{ "reflinked", "newly reflinked", "to be reflinked", false, t->reflinked },
		{ "aliased", "newly aliased", "to be aliased", false, t->aliased },
		{ "already_aliased", "already aliased", "already aliased", false, t->kept },
		{ "opened_before", "", NULL, false,
		  /* Who may alias may know. */
		  t->opened_before > 0 ? (uint64_t)t->opened_before : 0 },
		{ "disk_saved", "disk saved", "disk to be saved", true, t->disk_saved },
		{ "memory_shared", "memory shared, up to", NULL, true,
		  t->memory_new + t->memory_kept },
		{ "memory_now", NULL, "memory to be saved now", true, t->memory_now },
		{ "memory_most", NULL, "memory, at most", true, t->memory_new },
		{ "unknown", NULL, "", false, t->unknown },
		{ "errors", "", "", false, msg_failures() },
		{ "dry_run", "", NULL, false, dry_run },
		{ "interrupted", "", "", false, interrupted },
	};
	size_t i, n = 0;

	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (scan ? all[i].scan : all[i].run)
			figure[n++] = all[i];
	return n;
}

static void report_json(const char *command, const struct figure *figure, size_t n,
			const struct totals *totals)
{
	static const struct column skip_columns[] = {
		{ .name = "reason" },
		{ .name = "files", .json_type = SCOLS_JSON_NUMBER },
		{ .name = "explanation" },
	};
	struct column columns[MOST_FIGURES] = { 0 };
	struct table *table;
	size_t i;

	for (i = 0; i < n; i++) {
		columns[i].name = figure[i].key;
		columns[i].json_type = !strcmp(figure[i].key, "dry_run") ||
				       !strcmp(figure[i].key, "interrupted") ?
				       SCOLS_JSON_BOOLEAN : SCOLS_JSON_NUMBER;
	}
	table = table_new(command, columns, n, true);
	table_line(table);
	for (i = 0; i < n; i++)
		table_set_number(table, i, figure[i].value);
	table_end(table);
	table = table_new("skipped", skip_columns, 3, true);
	for (i = REASON_NONE + 1; i < REASON_COUNT; i++) {
		if (!totals->skipped[i])
			continue;
		table_line(table);
		table_set(table, 0, xasprintf("%s", reasons[i].key));
		table_set_number(table, 1, totals->skipped[i]);
		table_set(table, 2, xasprintf("%s", reasons[i].text));
	}
	table_end(table);
	tables_end(true);
}

static void skipped_line(size_t n, const char *why)
{
	if (n)
		printf("skipped %zu: %s\n", n, why);
}

static void report_text(bool scan, const struct figure *figure, size_t n,
			const struct totals *totals, const struct walked *walked, bool dry_run)
{
	const char *words;
	char size[16];
	size_t i;

	if (interrupted)
		puts("Interrupted; this was done before:");
	if (dry_run && !scan)
		puts("Nothing was changed; this would be done:");
	for (i = 0; i < n; i++) {
		words = scan ? figure[i].scan : figure[i].run;
		if (!*words)
			continue;
		if (figure[i].is_size)
			printf("%-24s %s\n", words, format_size(figure[i].value, size));
		else
			printf("%-24s %" PRIu64 "\n", words, figure[i].value);
	}
	for (i = REASON_NONE + 1; i < REASON_COUNT; i++)
		skipped_line(totals->skipped[i], reasons[i].text);
	skipped_line(walked->small, "smaller than the minimum size");
	skipped_line(walked->large, "larger than the maximum size");
	skipped_line(walked->excluded, "left out by --include or --exclude");
	skipped_line(walked->mounts, "on another file system, see --one-file-system");
	skipped_line(walked->overlays, "mounts of overlayfs, whose files are those of its layers");
	skipped_line(walked->gone, "no longer there");
	if (totals->unknown)
		printf("%zu files are not yours: what of them is in memory is not known\n",
		       totals->unknown);
	users_print(totals->opened_before);
}

int report(const char *command, const struct totals *totals, const struct walked *walked,
	   bool dry_run, bool json)
{
	bool scan = !strcmp(command, "scan");
	struct figure figure[MOST_FIGURES];
	size_t n = get_figures(figure, scan, totals, walked, dry_run), i;

	progress_end();
	if (json)
		report_json(command, figure, n, totals);
	else if (verbosity >= 0)
		report_text(scan, figure, n, totals, walked, dry_run);
	if (msg_failures() || interrupted)
		return STATUS_FAILED;
	for (i = 0; i < REASON_COUNT; i++)
		if (totals->skipped[i] && reasons[i].matters)
			return STATUS_LESS;
	return STATUS_OK;
}
