// SPDX-License-Identifier: GPL-2.0
#include <stdlib.h>
#include <string.h>

#include "group.h"
#include "volume.h"

static int by_size(const void *a, const void *b)
{
	const struct file *x = *(struct file *const *)a;
	const struct file *y = *(struct file *const *)b;
	int diff = COMPARE(file_fs(x), file_fs(y));

	if (!diff)
		diff = COMPARE(x->size, y->size);
	if (!diff)
		diff = COMPARE(file_dev(x), file_dev(y));
	if (!diff)
		diff = COMPARE(x->ino, y->ino);
	/* Names of one inode, so that the same one is first every time. */
	return diff ? diff : file_compare_paths(x, y);
}

static int by_inode(const void *a, const void *b)
{
	const struct file *x = *(struct file *const *)a;
	const struct file *y = *(struct file *const *)b;
	int diff = COMPARE(file_dev(x), file_dev(y));

	return diff ? diff : COMPARE(x->ino, y->ino);
}

void group_by_inode(struct files *files)
{
	if (files->n)
		qsort(files->file, files->n, sizeof(*files->file), by_inode);
}

void group_names(struct files *files)
{
	if (files->n)
		qsort(files->file, files->n, sizeof(*files->file), by_size);
}

void group_sort(struct files *files)
{
	struct file **file = files->file;
	size_t i, n = 0;

	if (!files->n)
		return;
	group_names(files);
	for (i = 1; i < files->n; i++) {
		if (!file_is_same(file[i], file[n]))
			file[++n] = file[i];
	}
	files->n = n + 1;
}

size_t group_next(const struct files *files, size_t *from)
{
	struct file **file = files->file;
	size_t end;

	for (; *from < files->n; *from = end) {
		end = *from + 1;
		while (end < files->n && file_fs(file[end]) == file_fs(file[*from]) &&
		       file[end]->size == file[*from]->size)
			end++;
		if (end - *from > 1)
			return end - *from;
	}
	return 0;
}

void group_only(struct files *files)
{
	size_t from, n, kept = 0;

	for (from = 0; (n = group_next(files, &from)); from += n) {
		memmove(files->file + kept, files->file + from, n * sizeof(*files->file));
		kept += n;
	}
	files->n = kept;
}
