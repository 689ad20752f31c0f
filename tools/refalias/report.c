// SPDX-License-Identifier: GPL-2.0
#include <inttypes.h>
#include <libsmartcols.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "msg.h"
#include "report.h"
#include "table.h"

void report_count(struct totals *totals, struct file **file, size_t n)
{
	const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	size_t i;

	for (i = 0; i < n; i++) {
		totals->files += file[i]->identical;
		totals->aliased += file[i]->aliased;
		totals->kept += file[i]->kept;
		totals->reflinked += file[i]->reflinked;
		if (file[i]->aliased || file[i]->kept)
			totals->memory_shared += (file[i]->size + page - 1) / page * page;
		totals->skipped[file[i]->reason]++;
	}
}

static void report_json(const struct totals *totals, const struct walked *walked, bool dry_run)
{
	enum { N = SCOLS_JSON_NUMBER, B = SCOLS_JSON_BOOLEAN };
	static const struct column columns[] = {
		{ .name = "seen", .json_type = N },
		{ .name = "empty", .json_type = N },
		{ .name = "small", .json_type = N },
		{ .name = "large", .json_type = N },
		{ .name = "excluded", .json_type = N },
		{ .name = "mounts", .json_type = N },
		{ .name = "symlinks", .json_type = N },
		{ .name = "special", .json_type = N },
		{ .name = "groups", .json_type = N },
		{ .name = "files", .json_type = N },
		{ .name = "aliased", .json_type = N },
		{ .name = "already_aliased", .json_type = N },
		{ .name = "reflinked", .json_type = N },
		{ .name = "disk_saved", .json_type = N },
		{ .name = "memory_shared", .json_type = N },
		{ .name = "errors", .json_type = N },
		{ .name = "dry_run", .json_type = B },
		{ .name = "interrupted", .json_type = B },
	};
	static const struct column skip_columns[] = {
		{ .name = "reason" },
		{ .name = "files", .json_type = N },
		{ .name = "explanation" },
	};
	const uint64_t values[] = {
		walked->seen, walked->empty, walked->small, walked->large, walked->excluded,
		walked->mounts, walked->links, walked->special,
		totals->groups, totals->files, totals->aliased, totals->kept, totals->reflinked,
		totals->disk_saved, totals->memory_shared, msg_failures(), dry_run, interrupted,
	};
	struct table *tables[2];
	size_t i;

	tables[0] = table_new("run", columns, sizeof(columns) / sizeof(columns[0]), true);
	table_line(tables[0]);
	for (i = 0; i < sizeof(values) / sizeof(values[0]); i++)
		table_set_number(tables[0], i, values[i]);
	tables[1] = table_new("skipped", skip_columns, 3, true);
	for (i = REASON_NONE + 1; i < REASON_COUNT; i++) {
		if (!totals->skipped[i])
			continue;
		table_line(tables[1]);
		table_set(tables[1], 0, xasprintf("%s", reasons[i].key));
		table_set_number(tables[1], 1, totals->skipped[i]);
		table_set(tables[1], 2, xasprintf("%s", reasons[i].text));
	}
	tables_print(tables, 2);
}

static void count_line(const char *what, size_t n)
{
	printf("%-24s %zu\n", what, n);
}

static void size_line(const char *what, uint64_t size)
{
	char buf[16];

	printf("%-24s %s\n", what, format_size(size, buf));
}

static void skipped_line(size_t n, const char *why)
{
	if (n)
		printf("skipped %zu: %s\n", n, why);
}

static void report_text(const struct totals *totals, const struct walked *walked, bool dry_run)
{
	size_t i;

	if (interrupted)
		puts("Interrupted; this was done before:");
	if (dry_run)
		puts("Nothing was changed; this would be done:");
	count_line("files seen", walked->seen);
	count_line("groups of identical", totals->groups);
	count_line("files in them", totals->files);
	count_line("newly reflinked", totals->reflinked);
	count_line("newly aliased", totals->aliased);
	count_line("already aliased", totals->kept);
	size_line("disk saved", totals->disk_saved);
	size_line("memory shared, up to", totals->memory_shared);
	for (i = REASON_NONE + 1; i < REASON_COUNT; i++)
		skipped_line(totals->skipped[i], reasons[i].text);
	skipped_line(walked->small, "smaller than the minimum size");
	skipped_line(walked->large, "larger than the maximum size");
	skipped_line(walked->excluded, "left out by --include or --exclude");
	skipped_line(walked->mounts, "on another file system, see --one-file-system");
}

int report(const struct totals *totals, const struct walked *walked, bool dry_run, bool json)
{
	size_t i;

	progress_end();
	if (json)
		report_json(totals, walked, dry_run);
	else if (verbosity >= 0)
		report_text(totals, walked, dry_run);
	if (msg_failures() || interrupted)
		return STATUS_FAILED;
	for (i = 0; i < REASON_COUNT; i++)
		if (totals->skipped[i] && reasons[i].matters)
			return STATUS_LESS;
	return STATUS_OK;
}
