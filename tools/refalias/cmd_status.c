// SPDX-License-Identifier: GPL-2.0
#include <inttypes.h>
#include <libsmartcols.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd.h"
#include "mapping.h"
#include "msg.h"
#include "resident.h"
#include "sharing.h"
#include "table.h"
#include "users.h"
#include "volume.h"

enum {
	COL_FILE, COL_STATE, COL_KEPT, COL_ALIASES, COL_SIZE, COL_RESIDENT, COL_DONOR,
	COL_INO, COL_DONOR_INO, COL_FILE_HEX, COL_DONOR_HEX,
	COL_COUNT
};

static const struct column columns[COL_COUNT] = {
	[COL_FILE] = { .name = "FILE", .width = 0.4 },
	[COL_STATE] = { .name = "STATE" },
	[COL_KEPT] = { .name = "KEPT", .json_type = SCOLS_JSON_BOOLEAN },
	[COL_ALIASES] = { .name = "ALIASES", .flags = SCOLS_FL_RIGHT,
			  .json_type = SCOLS_JSON_NUMBER },
	[COL_SIZE] = { .name = "SIZE", .flags = SCOLS_FL_RIGHT,
		       .json_type = SCOLS_JSON_NUMBER },
	[COL_RESIDENT] = { .name = "RESIDENT", .flags = SCOLS_FL_RIGHT,
			   .json_type = SCOLS_JSON_NUMBER },
	[COL_DONOR] = { .name = "DONOR", .width = 0.4 },
	[COL_INO] = { .name = "INO", .json_type = SCOLS_JSON_NUMBER, .json_only = true },
	[COL_DONOR_INO] = { .name = "DONOR_INO", .json_type = SCOLS_JSON_NUMBER,
			    .json_only = true },
	[COL_FILE_HEX] = { .name = "FILE_HEX", .json_only = true },
	[COL_DONOR_HEX] = { .name = "DONOR_HEX", .json_only = true },
};

struct sums {
	uint64_t donors;	/* files found that serve as donor */
	uint64_t aliases;	/* files found that use another one's page cache */
	uint64_t kept;		/* of these, those that stay so */
	uint64_t shared;	/* bytes of the aliases' sizes */
	uint64_t resident;	/* bytes of page cache that aliases read and don't own */
	int64_t opened_before;	/* of the aliases; -1: not known */
};

/* A file that shares its page cache, and what is known about that. */
struct sharing {
	struct file *file;
	struct fs_mapping_info info;
	int64_t resident;
};

struct shown {
	const struct options *options;
	struct sharing *sharing;
	size_t n, space;
	const struct file **donor;	/* all donors, in the order of by_inode() */
	size_t donors;
	struct table *table;
	struct sums sums;
};

static int by_inode(const void *a, const void *b)
{
	const struct file *x = *(const struct file *const *)a;
	const struct file *y = *(const struct file *const *)b;
	int diff = COMPARE(file_fs(x), file_fs(y));

	if (!diff)
		diff = COMPARE(x->size, y->size);
	return diff ? diff : COMPARE(x->cache, y->cache);
}

/*
 * The donor of @alias, or NULL if it was not walked.  Subvolumes of btrfs can have
 * donors with the same inode number: then nobody can tell which it is.
 */
static const struct file *find(const struct shown *shown, const struct file *alias)
{
	const struct file **found = NULL, **end = shown->donor + shown->donors;

	if (shown->donors)
		found = bsearch(&alias, shown->donor, shown->donors, sizeof(*found), by_inode);
	if (!found || (found > shown->donor && !by_inode(found, found - 1)) ||
	    (found + 1 < end && !by_inode(found, found + 1)))
		return NULL;
	return *found;
}

static void set_size(struct table *table, size_t column, uint64_t size, bool json)
{
	char buf[16];

	if (json)
		table_set_number(table, column, size);
	else
		table_set(table, column, xasprintf("%s", format_size(size, buf)));
}

static void add_line(const struct shown *shown, const struct sharing *sharing)
{
	const struct fs_mapping_info *info = &sharing->info;
	const struct file *file = sharing->file;
	struct table *table = shown->table;
	bool json = shown->options->json;
	bool is_alias = info->state & FS_MAPPING_INFO_ALIAS;
	const struct file *donor;
	char *path = file_path(file);

	table_line(table);
	table_set_path(table, COL_FILE, COL_FILE_HEX, path);
	free(path);
	table_set(table, COL_STATE, xasprintf("%s", is_alias ? "alias" : "donor"));
	if (is_alias || json)
		table_set(table, COL_KEPT,
			  xasprintf("%s", !(info->state & FS_MAPPING_INFO_KEPT) ?
					  json ? "0" : "no" : json ? "1" : "yes"));
	if (!is_alias || json)
		table_set_number(table, COL_ALIASES, info->nr_aliases);
	set_size(table, COL_SIZE, file->size, json);
	if (sharing->resident >= 0)
		set_size(table, COL_RESIDENT, (uint64_t)sharing->resident, json);
	table_set_number(table, COL_INO, file->ino);
	if (!is_alias || !info->donor_ino)
		return;
	table_set_number(table, COL_DONOR_INO, info->donor_ino);
	donor = find(shown, file);
	if (donor) {
		path = file_path(donor);
		table_set_path(table, COL_DONOR, COL_DONOR_HEX, path);
		free(path);
	} else if (!json) {
		table_set(table, COL_DONOR, xasprintf("(inode %" PRIu64 ")",
						      (uint64_t)info->donor_ino));
	}
}

static void print_sums_json(const struct sums *sums)
{
	static const struct column sum_columns[] = {
		{ .name = "donors", .json_type = SCOLS_JSON_NUMBER },
		{ .name = "aliases", .json_type = SCOLS_JSON_NUMBER },
		{ .name = "kept", .json_type = SCOLS_JSON_NUMBER },
		{ .name = "shared", .json_type = SCOLS_JSON_NUMBER },
		{ .name = "resident_once", .json_type = SCOLS_JSON_NUMBER },
		{ .name = "errors", .json_type = SCOLS_JSON_NUMBER },
		{ .name = "opened_before", .json_type = SCOLS_JSON_NUMBER },
	};
	const uint64_t values[] = {
		sums->donors, sums->aliases, sums->kept, sums->shared, sums->resident,
		msg_failures(),
	};
	struct table *table = table_new("total", sum_columns, 7, true);
	size_t i;

	table_line(table);
	for (i = 0; i < 6; i++)
		table_set_number(table, i, values[i]);
	if (sums->opened_before >= 0)
		table_set_number(table, 6, (uint64_t)sums->opened_before);
	table_end(table);
}

static void print_sums(const struct sums *sums)
{
	char shared[16], resident[16];

	printf("aliases %" PRIu64 " (kept %" PRIu64 "), donors %" PRIu64 "\n",
	       sums->aliases, sums->kept, sums->donors);
	printf("size of all aliases %s; resident once instead of once more for each alias %s\n",
	       format_size(sums->shared, shared), format_size(sums->resident, resident));
}

static void note(struct file *file, int fd, const struct fs_mapping_info *info, void *data)
{
	struct shown *shown = data;

	shown->sharing = xgrow(shown->sharing, shown->n, &shown->space, sizeof(*shown->sharing));
	shown->sharing[shown->n++] = (struct sharing){ file, *info, resident_bytes(fd, file->size) };
}

static void add_sums(struct sums *sums, const struct sharing *sharing)
{
	if (sharing->info.state & FS_MAPPING_INFO_ALIAS) {
		sums->aliases++;
		sums->kept += !!(sharing->info.state & FS_MAPPING_INFO_KEPT);
		sums->shared += sharing->file->size;
		sums->resident += sharing->resident > 0 ? (uint64_t)sharing->resident : 0;
	} else {
		sums->donors++;
	}
}

/* What was noted, when all donors are known. */
static void show(struct shown *shown)
{
	size_t i;

	shown->donor = xrealloc(NULL, shown->n + 1, sizeof(*shown->donor));
	for (i = 0; i < shown->n; i++)
		if (shown->sharing[i].info.state & FS_MAPPING_INFO_DONOR)
			shown->donor[shown->donors++] = shown->sharing[i].file;
	qsort(shown->donor, shown->donors, sizeof(*shown->donor), by_inode);
	for (i = 0; i < shown->n; i++) {
		add_line(shown, &shown->sharing[i]);
		add_sums(&shown->sums, &shown->sharing[i]);
	}
	free(shown->donor);
	free(shown->sharing);
}

int cmd_status(char **paths, int n, const struct options *options)
{
	struct walked walked = { 0 };
	struct shown shown = { .options = options, .sums.opened_before = -1 };

	if (mapping_supported()) {
		cmd_walk(paths, n, options, &walked);
		sharing_each(&walked.files, note, &shown);
		shown.sums.opened_before = users_count(&walked.files, false);
	} else {
		mapping_missing(true);
		if (!options->json)
			return STATUS_FAILED;
	}
	shown.table = table_new("files", columns, COL_COUNT, options->json);
	show(&shown);
	table_end(shown.table);
	if (options->json) {
		print_sums_json(&shown.sums);
		tables_end(true);
	} else {
		print_sums(&shown.sums);
		users_print(shown.sums.opened_before);
	}
	files_free(&walked.files);
	return msg_failures() || interrupted ? STATUS_FAILED : STATUS_OK;
}
