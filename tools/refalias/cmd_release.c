// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <libsmartcols.h>
#include <stdio.h>
#include <unistd.h>

#include "cmd.h"
#include "immutable.h"
#include "manifest.h"
#include "mapping.h"
#include "msg.h"
#include "sharing.h"
#include "table.h"

struct released {
	const struct options *options;
	size_t aliases, donors;
};

static void release(struct file *file, int fd, const struct fs_mapping_info *info, void *data)
{
	struct released *released = data;

	if (!released->options->dry_run && mapping_release(fd) < 0) {
		file_error(file, "FS_IOC_MAPPING_RELEASE", errno, describe_release_error(errno));
		return;
	}
	if (info->state & FS_MAPPING_INFO_ALIAS)
		released->aliases++;
	else
		released->donors++;
	file_verbose(file, "released");
}

static void print_released(const struct released *released)
{
	const struct options *options = released->options;
	static const struct column columns[] = {
		{ .name = "aliases", .json_type = SCOLS_JSON_NUMBER },
		{ .name = "donors", .json_type = SCOLS_JSON_NUMBER },
		{ .name = "errors", .json_type = SCOLS_JSON_NUMBER },
		{ .name = "dry_run", .json_type = SCOLS_JSON_BOOLEAN },
	};
	struct table *table;

	if (!options->json) {
		if (verbosity >= 0)
			printf("%s: aliases %zu, donors %zu\n",
			       options->dry_run ? "would release" : "released",
			       released->aliases, released->donors);
		return;
	}
	table = table_new("release", columns, 4, true);
	table_line(table);
	table_set_number(table, 0, released->aliases);
	table_set_number(table, 1, released->donors);
	table_set_number(table, 2, msg_failures());
	table_set_number(table, 3, options->dry_run);
	tables_print(&table, 1);
}

/* What is released must not be restored, and is as it was before. */
static void forget(const struct files *files, const struct options *options)
{
	char everything[] = "/", *root = everything;
	struct manifest manifest;
	size_t i;

	/* Nothing to forget, and nothing to complain about to other users. */
	if (access(options->manifest ? options->manifest : MANIFEST_DEFAULT, R_OK) < 0 ||
	    manifest_open(&manifest, options->manifest, true) < 0)
		return;
	for (i = 0; i < files->n; i++) {
		struct file *file = files->file[i];

		if (file->reason == REASON_NONE && manifest_immutable(&manifest, file))
			immutable_set(file, false);
		/* If that failed, there is something left to do. */
		if (file->reason == REASON_NONE)
			manifest_remove(&manifest, file);
	}
	if (options->all)
		manifest_clean(&manifest, &root, 1);
	manifest_close(&manifest);
}

int cmd_release(char **paths, int n, const struct options *options)
{
	struct released released = { .options = options };
	struct walked walked = { 0 };

	if (!sharing_find(paths, n, options, &walked))
		return STATUS_FAILED;
	sharing_each(&walked.files, release, &released);
	if (!options->dry_run && !interrupted)
		forget(&walked.files, options);
	print_released(&released);
	files_free(&walked.files);
	return msg_failures() || interrupted ? STATUS_FAILED : STATUS_OK;
}
