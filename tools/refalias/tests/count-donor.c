// SPDX-License-Identifier: GPL-2.0
/*
 * Counts how many functions are called to choose donors among many identical files.
 * donor.c is compiled with -finstrument-functions.
 *
 * count-donor KIND N: the number, for each of N files, and that of teams
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../donor.h"
#include "../msg.h"
#include "../volume.h"

void __cyg_profile_func_enter(void *function, void *caller);
void __cyg_profile_func_exit(void *function, void *caller);

static unsigned long long calls;

void __cyg_profile_func_enter(void *function, void *caller)
{
	(void)function;
	(void)caller;
	calls++;
}

void __cyg_profile_func_exit(void *function, void *caller)
{
	(void)function;
	(void)caller;
}

/* All are on one file system, which is not btrfs. */
dev_t file_dev(const struct file *file)
{
	(void)file;
	return 1;
}

dev_t file_fs(const struct file *file)
{
	return file_dev(file);
}

bool file_on_btrfs(const struct file *file)
{
	(void)file;
	return false;
}

static struct file *make(const char *kind, uint32_t i)
{
	struct file *file = file_new(NULL, "x");

	file->ino = i + 1;
	file->uid = 1000;
	file->gid = 1000;
	file->mode = 0644;
	if (!strcmp(kind, "alone")) {
		file->mode = 0664;
		file->acl = true;
	} else if (!strcmp(kind, "groups")) {
		/* In turn, so that those of a class don't follow each other. */
		file->mode = 0664;
		file->gid = 1000 + i % 2;
		file->acl = i % 3;
	} else if (!strcmp(kind, "users")) {
		file->uid = 1000 + i;
	} else if (!strcmp(kind, "pairs")) {
		file->uid = 1000 + i / 2;
	}
	return file;
}

int main(int argc, char **argv)
{
	size_t n, done = 0, used, teams = 0;
	struct files files = { 0 };
	struct team team;
	uint32_t i;

	if (argc != 3)
		return STATUS_USAGE;
	n = strtoul(argv[2], NULL, 10);
	for (i = 0; i < n; i++)
		files_add(&files, make(argv[1], i));
	donor_sort(files.file, n);
	calls = 0;
	for (; (used = donor_choose(files.file + done, n - done, &team)); done += used)
		teams++;
	printf("%llu %zu\n", calls / n, teams);
	files_free(&files);
	return STATUS_OK;
}
