// SPDX-License-Identifier: GPL-2.0
#include "find.h"
#include "group.h"
#include "hash.h"
#include "msg.h"
#include "prove.h"
#include "volume.h"
#include "work.h"

void find(struct walked *walked, unsigned int threads)
{
	struct files *files = &walked->files;
	uint64_t bytes = 0;
	size_t from, n, good;

	group_sort(files);
	group_only(files);
	/* In a first run most are read now, so do it about as they are on disk. */
	group_by_inode(files);
	for (n = 0; threads && n < files->n; n++)
		bytes += files->file[n]->size;
	progress_start("looking at blocks", files->n, bytes);
	prove_look(files->file, files->n, threads ? threads : work_processors(),
		   hash_now, threads);
	group_sort(files);
	for (from = 0; !interrupted && (n = group_next(files, &from)); from += n) {
		good = prove_sort(files->file + from, n);
		if (threads)
			hash_add(files, from, good);
		else
			hash_blocks(files->file + from, good);
	}
	hash_run(threads);
	for (from = 0; (n = group_next(files, &from)); from += n)
		hash_sort(files->file + from, n);
}

size_t find_next(const struct files *files, size_t *from)
{
	struct file **file = files->file;
	size_t end;

	for (; *from < files->n && !interrupted; *from = end) {
		const struct file *first = file[*from];

		end = *from + 1;
		while (end < files->n && file_fs(file[end]) == file_fs(first) &&
		       file[end]->size == first->size && hash_equal(file[end], first))
			end++;
		if (end - *from > 1)
			return end - *from;
	}
	return 0;
}
