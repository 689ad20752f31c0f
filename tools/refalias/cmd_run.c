// SPDX-License-Identifier: GPL-2.0
#include <libsmartcols.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "alias.h"
#include "cmd.h"
#include "dedupe.h"
#include "donor.h"
#include "find.h"
#include "hashes.h"
#include "immutable.h"
#include "manifest.h"
#include "measure.h"
#include "msg.h"
#include "report.h"
#include "table.h"
#include "users.h"
#include "volume.h"
#include "work.h"

enum { COL_GROUP, COL_FILE, COL_SIZE, COL_ROLE, COL_FILE_HEX, COL_COUNT };

static const struct column columns[COL_COUNT] = {
	[COL_GROUP] = { .name = "group", .json_type = SCOLS_JSON_NUMBER },
	[COL_FILE] = { .name = "file" },
	[COL_SIZE] = { .name = "size", .json_type = SCOLS_JSON_NUMBER },
	[COL_ROLE] = { .name = "role" },
	[COL_FILE_HEX] = { .name = "file_hex" },
};

static void share(const struct team *team, const struct options *options)
{
	if (!options->no_reflink)
		dedupe(team->donor, team->member, team->n, options->dry_run);
	if (!options->no_alias)
		alias(team->donor, team->member, team->n, options->dry_run);
}

enum what { RUN, SCAN, RESTORE };

/* What is to be done with which files. */
struct act {
	enum what what;
	const struct options *options;
	const struct files *files;
	struct set {
		uint32_t from, size;	/* identical files in @files */
	} *set;
	size_t n, space;
	uint64_t count, bytes;	/* of the files in these */
	atomic_uint_fast64_t freed, memory_now;
	atomic_size_t unknown;
};

/* Find out what share() would do, and what that would save. */
static void plan(const struct team *team, struct act *act)
{
	size_t i, unknown = 0;

	dedupe(team->donor, team->member, team->n, true);
	act->memory_now += measure(team, &unknown);
	act->unknown += unknown;
	for (i = 0; i < team->n; i++)
		team->member[i]->aliased = team->member[i]->reason == REASON_NONE &&
					   !team->member[i]->kept;
}

/* What scan has to say about a file. */
static const char *role(const struct file *file)
{
	if (file->reason != REASON_NONE)
		return reasons[file->reason].key;
	if (file->donor == file)
		return "donor";
	return file->kept ? "alias" : file->reflinked ? "copy" : "reflink";
}

static int by_inode(const struct file *x, const struct file *y)
{
	int diff = COMPARE(x->ino, y->ino);

	/* Those of several subvolumes of btrfs can have the same number. */
	return diff || x == y ? diff : file_compare_paths(x, y);
}

/* Each donor, then who would share with it; last what is left out. */
static int by_team(const void *a, const void *b)
{
	const struct file *x = *(struct file *const *)a;
	const struct file *y = *(struct file *const *)b;
	int diff = COMPARE(x->reason != REASON_NONE, y->reason != REASON_NONE);

	if (!diff && x->reason == REASON_NONE) {
		diff = by_inode(x->donor, y->donor);
		if (!diff)
			diff = COMPARE(x != x->donor, y != y->donor);
	}
	return diff ? diff : by_inode(x, y);
}

/* Show @n identical files, as text or, in JSON, as lines of @table. */
static void list(struct file **file, size_t n, size_t group, struct table *table)
{
	char size[16], *path;
	size_t i;

	if (!table && verbosity >= 0)
		printf("%zu files of %s:\n", n, format_size(file[0]->size, size));
	/* Else some may have no donor yet. */
	if (!interrupted)
		qsort(file, n, sizeof(*file), by_team);
	for (i = 0; i < n; i++) {
		if (table) {
			path = file_path(file[i]);
			table_line(table);
			table_set_number(table, COL_GROUP, group);
			table_set_path(table, COL_FILE, COL_FILE_HEX, path);
			table_set_number(table, COL_SIZE, file[i]->size);
			table_set(table, COL_ROLE, xasprintf("%s", role(file[i])));
			free(path);
		} else if (verbosity >= 0) {
			path = file_printable(file[i]);
			printf("  %-8s %s\n", role(file[i]), path);
			free(path);
		}
	}
}

static bool shares(const struct file *file)
{
	return file->aliased || file->kept;
}

/* What shares, and its donors, is to be made immutable, unless it is so. */
static void plan_immutable(const struct files *files)
{
	size_t i;

	for (i = 0; i < files->n; i++) {
		struct file *file = files->file[i];

		if (!shares(file))
			continue;
		file->made_immutable = !file->immutable;
		file->donor->made_immutable = !file->donor->immutable;
	}
}

static void make_immutable(const struct files *files)
{
	size_t i;

	for (i = 0; i < files->n && !interrupted; i++)
		if (files->file[i]->made_immutable)
			immutable_set(files->file[i], true);
}

/*
 * Note what shares its page cache now, and forget what is gone below the paths;
 * false after a message.
 */
static bool remember(const struct files *files, char **paths, int n,
		     const struct options *options)
{
	const struct file *donor = NULL;
	struct manifest manifest;
	size_t i, sharing = 0;

	for (i = 0; i < files->n; i++)
		sharing += shares(files->file[i]);
	/* Who only reflinks needs no manifest. */
	if (!sharing && access(manifest_name(options->manifest), F_OK) < 0)
		return true;
	if (manifest_open(&manifest, options->manifest, true) < 0)
		return false;
	manifest_clean(&manifest, paths, n, true);
	/* These are without links, or were when they were found. */
	manifest_clean(&manifest, options->stores.roots.path, (int)options->stores.roots.n, false);
	for (i = 0; i < files->n; i++) {
		struct file *file = files->file[i];

		if (!shares(file))
			continue;
		manifest_add(&manifest, file);
		/* Most of its aliases follow each other. */
		if (file->donor != donor)
			manifest_add(&manifest, file->donor);
		donor = file->donor;
	}
	return manifest_close(&manifest);
}

/* Of sets in @files: hashes, and so what find() gives, are in another order each time. */
static int by_first(const void *a, const void *b, void *files)
{
	const struct file *x = ((const struct files *)files)->file[((const struct set *)a)->from];
	const struct file *y = ((const struct files *)files)->file[((const struct set *)b)->from];
	int diff = COMPARE(file_fs(x), file_fs(y));

	if (!diff)
		diff = COMPARE(x->size, y->size);
	return diff ? diff : COMPARE(x->ino, y->ino);
}

static void collect(struct act *act)
{
	const struct files *files = act->files;
	size_t from, size;

	for (from = 0; (size = find_next(files, &from)); from += size) {
		act->set = xgrow(act->set, act->n, &act->space, sizeof(*act->set));
		act->set[act->n++] = (struct set){ (uint32_t)from, (uint32_t)size };
		act->count += size;
		act->bytes += size * files->file[from]->size;
	}
	if (act->n)
		qsort_r(act->set, act->n, sizeof(*act->set), by_first, (void *)files);
}

/* With one set; those that may share with each other are used in turn. */
static void act_on(size_t k, void *data)
{
	struct act *act = data;
	struct file **file = act->files->file + act->set[k].from;
	size_t size = act->set[k].size, done, used, i;
	uint64_t bytes = size * file[0]->size;
	struct team team;

	for (i = 0; i < size; i++)
		file[i]->identical = true;
	donor_sort(file, size);
	for (done = 0; !interrupted && (used = donor_choose(file + done, size - done, &team));
	     done += used) {
		if (act->what == SCAN)
			plan(&team, act);
		else
			share(&team, act->options);
	}
	act->freed += dedupe_freed(file, size);
	progress_add(size, bytes);
}

/* How many sets at a time: aliasing waits for no disk. */
static size_t act_threads(const struct act *act)
{
	if (act->what == SCAN)
		return act->options->threads;
	if (act->options->no_reflink)
		return 1;
	return act->options->threads < dedupe_threads() ? act->options->threads : dedupe_threads();
}

/* Show what was found, as far as it was looked at. */
static void list_all(const struct act *act)
{
	struct table *table = act->options->json ?
			      table_new("files", columns, COL_COUNT, true) : NULL;
	size_t k;

	progress_end();
	for (k = 0; k < act->n; k++) {
		struct file **file = act->files->file + act->set[k].from;

		if (file[0]->identical)
			list(file, act->set[k].size, k + 1, table);
	}
	if (table)
		table_end(table);
}

static int find_and_act(char **paths, int n, const struct options *options, enum what what)
{
	static const char *const names[] = { "run", "scan", "restore" };
	struct walked walked = { 0 };
	const struct files *files = &walked.files;
	struct totals totals = { 0 };
	struct act act = { .what = what, .options = options, .files = files };
	const char *manifest = manifest_name(options->manifest);
	const bool is_root = geteuid() == 0, root_runs = is_root && what == RUN;
	bool noted = true;
	int status;

	cmd_walk(paths, n, options, &walked);
	/* Only root keeps aliases, and what is noted about them. */
	if (is_root && what != SCAN)
		hashes_open(manifest, root_runs && !options->dry_run);
	/* Only what shall be reflinked must be read. */
	find(&walked, options->no_reflink ? 0 : options->threads);
	collect(&act);
	progress_start(what == SCAN ? "measuring" : "sharing", act.count, act.bytes);
	work(act.n, act_threads(&act), act_on, &act);
	totals.groups = act.n;
	totals.disk_saved = act.freed;
	totals.memory_now = act.memory_now;
	totals.unknown = act.unknown;
	if (what == SCAN)
		list_all(&act);
	free(act.set);
	if (options->immutable && !options->dry_run && !interrupted)
		plan_immutable(files);
	if (root_runs && !options->dry_run) {
		noted = remember(files, paths, n, options);
		hashes_write(manifest);
	}
	/* What is not noted would stay immutable when it is released. */
	if (noted)
		make_immutable(files);
	if (what != SCAN && !options->dry_run)
		totals.opened_before = users_count(files, true);
	report_count(&totals, files->file, files->n);
	status = report(names[what], &totals, &walked, options->dry_run, options->json);
	files_free(&walked.files);
	return status;
}

int cmd_run(char **paths, int n, const struct options *options)
{
	return find_and_act(paths, n, options, RUN);
}

int cmd_scan(char **paths, int n, const struct options *options)
{
	return find_and_act(paths, n, options, SCAN);
}

int cmd_restore(char **paths, int n, const struct options *options)
{
	struct options restoring = *options;

	restoring.no_reflink = true;
	return find_and_act(paths, n, &restoring, RESTORE);
}
