// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <inttypes.h>
#include <libsmartcols.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd.h"
#include "group.h"
#include "manifest.h"
#include "mapping.h"
#include "msg.h"
#include "resident.h"
#include "table.h"
#include "walk.h"

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
};

/* The file's state into @file->info and its resident bytes; false: ordinary. */
static bool look(struct file *file, int64_t *resident)
{
	int fd = file_open(file);

	if (fd < 0)
		return false;
	if (mapping_info(fd, &file->info) < 0)
		file_error(file, "FS_IOC_MAPPING_INFO", errno, describe_info_error(errno));
	else if (file->info.state)
		*resident = resident_bytes(fd, file->size);
	close(fd);
	return file->info.state != 0;
}

/* The walked file with this inode number on @like's device, or NULL. */
static const struct file *find(const struct files *files, const struct file *like, uint64_t ino)
{
	size_t low = 0, high = files->n, i;
	const struct file *at;

	/* Donor and alias are of one size; group_sort() made this the order. */
	while (low < high) {
		i = low + (high - low) / 2;
		at = files->file[i];
		if (at->dev < like->dev ||
		    (at->dev == like->dev &&
		     (at->size < like->size || (at->size == like->size && at->ino < ino))))
			low = i + 1;
		else
			high = i;
	}
	if (low == files->n)
		return NULL;
	at = files->file[low];
	return at->dev == like->dev && at->ino == ino ? at : NULL;
}

static void set_size(struct table *table, size_t column, uint64_t size, bool json)
{
	char buf[16];

	if (json)
		table_set_number(table, column, size);
	else
		table_set(table, column, xasprintf("%s", format_size(size, buf)));
}

static void add_line(struct table *table, const struct files *files, const struct file *file,
		     int64_t resident, bool json)
{
	bool is_alias = file->info.state & FS_MAPPING_INFO_ALIAS;
	const struct file *donor;
	char *path = file_path(file);

	table_line(table);
	table_set_path(table, COL_FILE, COL_FILE_HEX, path);
	free(path);
	table_set(table, COL_STATE, xasprintf("%s", is_alias ? "alias" : "donor"));
	if (is_alias || json)
		table_set(table, COL_KEPT,
			  xasprintf("%s", !(file->info.state & FS_MAPPING_INFO_KEPT) ?
					  json ? "0" : "no" : json ? "1" : "yes"));
	if (!is_alias || json)
		table_set_number(table, COL_ALIASES, file->info.nr_aliases);
	set_size(table, COL_SIZE, file->size, json);
	if (resident >= 0)
		set_size(table, COL_RESIDENT, (uint64_t)resident, json);
	table_set_number(table, COL_INO, file->ino);
	if (!is_alias || !file->info.donor_ino)
		return;
	table_set_number(table, COL_DONOR_INO, file->info.donor_ino);
	donor = find(files, file, file->info.donor_ino);
	if (donor) {
		path = file_path(donor);
		table_set_path(table, COL_DONOR, COL_DONOR_HEX, path);
		free(path);
	} else if (!json) {
		table_set(table, COL_DONOR, xasprintf("(inode %" PRIu64 ")",
						      (uint64_t)file->info.donor_ino));
	}
}

static struct table *sums_table(const struct sums *sums)
{
	static const struct column sum_columns[] = {
		{ .name = "donors", .json_type = SCOLS_JSON_NUMBER },
		{ .name = "aliases", .json_type = SCOLS_JSON_NUMBER },
		{ .name = "kept", .json_type = SCOLS_JSON_NUMBER },
		{ .name = "shared", .json_type = SCOLS_JSON_NUMBER },
		{ .name = "resident_once", .json_type = SCOLS_JSON_NUMBER },
	};
	const uint64_t values[] = {
		sums->donors, sums->aliases, sums->kept, sums->shared, sums->resident,
	};
	struct table *table = table_new("total", sum_columns, 5, true);
	size_t i;

	table_line(table);
	for (i = 0; i < 5; i++)
		table_set_number(table, i, values[i]);
	return table;
}

static void print_sums(const struct sums *sums)
{
	char shared[16], resident[16];

	printf("aliases %" PRIu64 " (kept %" PRIu64 "), donors %" PRIu64 "\n",
	       sums->aliases, sums->kept, sums->donors);
	printf("size of all aliases %s; resident once instead of once more for each alias %s\n",
	       format_size(sums->shared, shared), format_size(sums->resident, resident));
}

int cmd_status(char **paths, int n, const struct options *options)
{
	struct walked walked = { 0 };
	struct sums sums = { 0 };
	struct table *tables[2];
	size_t i;

	if (!mapping_supported()) {
		mapping_missing(true);
		return STATUS_FAILED;
	}
	if (options->all)
		manifest_walk(options->manifest, &walked);
	else
		walk(paths, n, &options->selection, &walked);
	group_sort(&walked.files);
	tables[0] = table_new("files", columns, COL_COUNT, options->json);
	progress_start("looking at files", walked.files.n, 0);
	for (i = 0; i < walked.files.n && !interrupted; i++) {
		struct file *file = walked.files.file[i];
		int64_t resident = -1;

		progress_add(1, 0);
		if (!look(file, &resident))
			continue;
		add_line(tables[0], &walked.files, file, resident, options->json);
		if (file->info.state & FS_MAPPING_INFO_ALIAS) {
			sums.aliases++;
			sums.kept += !!(file->info.state & FS_MAPPING_INFO_KEPT);
			sums.shared += file->size;
			sums.resident += resident > 0 ? (uint64_t)resident : 0;
		} else {
			sums.donors++;
		}
	}
	progress_end();
	if (options->json) {
		tables[1] = sums_table(&sums);
		tables_print(tables, 2);
	} else {
		tables_print(tables, 1);
		print_sums(&sums);
	}
	files_free(&walked.files);
	return msg_failures() || interrupted ? STATUS_FAILED : STATUS_OK;
}
