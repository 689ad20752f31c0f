// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <libsmartcols.h>
#include <stdio.h>
#include <unistd.h>

#include "cmd.h"
#include "group.h"
#include "immutable.h"
#include "manifest.h"
#include "mapping.h"
#include "msg.h"
#include "sharing.h"
#include "table.h"
#include "volume.h"

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
	table_end(table);
	tables_end(true);
}

/*
 * One inode's @n names, of which the first was released, or not: what is released
 * must not be restored, and is as it was before.
 */
static void forget_inode(struct manifest *manifest, struct file **name, size_t n)
{
	bool immutable = false;
	size_t i;

	/* Any of them may have been there when it was noted. */
	for (i = 0; i < n; i++)
		immutable |= manifest_immutable(manifest, name[i]);
	if (immutable && name[0]->reason == REASON_NONE)
		immutable_set(name[0], false);
	for (i = 0; i < n; i++) {
		if (name[0]->reason == REASON_NONE)
			manifest_remove(manifest, name[i]);
		else if (name[0]->reason != REASON_VANISHED)
			/* There is something left to do. */
			manifest_keep(manifest, name[i]);
	}
}

static void forget(const struct files *names, const struct options *options)
{
	struct manifest manifest;
	size_t from, n;

	/* Nothing to forget, and nothing to complain about to other users. */
	if (access(manifest_name(options->manifest), R_OK) < 0 ||
	    manifest_open(&manifest, options->manifest, true) < 0)
		return;
	/* Of what failed before there was a file, nothing else is known. */
	if (options->all && !msg_failures())
		manifest_clear(&manifest);
	for (from = 0; from < names->n; from += n) {
		struct file **name = names->file + from;

		for (n = 1; from + n < names->n && file_is_same(name[n], name[0]); n++)
			;
		forget_inode(&manifest, name, n);
	}
	manifest_close(&manifest);
}

/* Whether files are no longer what the walk saw, and were left alone. */
static bool some_changed(const struct files *files)
{
	size_t i;

	for (i = 0; i < files->n; i++)
		if (files->file[i]->reason == REASON_CHANGED)
			return true;
	return false;
}

int cmd_release(char **paths, int n, const struct options *options)
{
	struct released released = { .options = options };
	struct walked walked = { 0 };
	struct files names = { 0 };
	const bool supported = mapping_supported();
	bool changed, known;
	size_t i;

	/* Nothing shares then, but may be immutable. */
	if (!supported)
		mapping_missing(true);
	known = cmd_walk(paths, n, options, &walked);
	for (i = 0; i < walked.files.n; i++)
		files_add(&names, walked.files.file[i]);
	group_names(&names);
	if (supported)
		sharing_each(&walked.files, release, &released);
	if (known && !options->dry_run && !interrupted)
		forget(&names, options);
	print_released(&released);
	changed = some_changed(&names);
	files_free(&walked.files);
	files_free(&names);
	if (msg_failures() || interrupted)
		return STATUS_FAILED;
	return changed ? STATUS_LESS : STATUS_OK;
}
