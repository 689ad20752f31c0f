// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "hash.h"
#include "hashes.h"
#include "msg.h"
#include "resident.h"
#include "volume.h"
#include "work.h"

enum { CHUNK = 4 << 20, READ_SIZE = 256 << 10, READ_AHEAD = 128 << 10 };

/* Of direct I/O: the largest logical block there is, in a file system and a disk. */
enum { ALIGNMENT = 4096 };

/* Each thread reads into its own. */
static _Thread_local char buf[READ_SIZE] __attribute__((aligned(ALIGNMENT)));

/* What is to be read: the first file of each layout, others follow it. */
static struct {
	const struct files *files;
	uint32_t *job;		/* places in @files; there are no more files than that */
	size_t n, space;
	uint64_t bytes;
} jobs;

/*
 * Read a file that fits into the buffer past the page cache, which has nothing of
 * it and would have to be emptied again.  False if that is not possible.
 */
static bool read_direct(int fd, uint64_t size)
{
	/* What it was opened with, as far as it can be changed and matters. */
	const int flags = O_NOATIME;

	if (fcntl(fd, F_SETFL, flags | O_DIRECT) < 0 && fcntl(fd, F_SETFL, O_DIRECT) < 0)
		return false;
	if (pread(fd, buf, (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT, 0) == (ssize_t)size)
		return true;
	if (fcntl(fd, F_SETFL, flags) < 0)
		fcntl(fd, F_SETFL, 0);
	return false;
}

/* Hash one chunk; 0, or -1 and errno, which is 0 if the file is shorter now. */
static int hash_chunk(XXH3_state_t *state, int fd, uint64_t offset, uint64_t length)
{
	ssize_t got;

	while (length) {
		errno = 0;
		got = pread(fd, buf, length < READ_SIZE ? length : READ_SIZE, (off_t)offset);
		if (got <= 0)
			return -1;
		XXH3_64bits_update(state, buf, (size_t)got);
		offset += (uint64_t)got;
		length -= (uint64_t)got;
	}
	return 0;
}

void hash_now(struct file *file, int fd, const struct stat *st)
{
	XXH3_state_t *state;
	struct resident resident;
	uint64_t offset, length;
	const uint64_t key = hashes_key(st);
	int ret = 0;

	file->hashed = hashes_find(key, &file->hash);
	if (file->hashed) {
		progress_add(0, file->size);
		return;
	}
	state = XXH3_createState();
	if (!state) {
		errno = ENOMEM;
		ret = -1;
	} else {
		XXH3_64bits_reset_withSeed(state, hashes_seed());
	}
	for (offset = 0; !ret && offset < file->size && !interrupted; offset += length) {
		length = file->size - offset;
		if (length > CHUNK)
			length = CHUNK;
		resident_save(&resident, fd, offset, length);
		if (length == file->size)
			file->cached = resident_cached(&resident);
		/* What is compressed or inline goes through the page cache all the same. */
		if (file->size <= READ_SIZE && !file->encoded && !file->inlined &&
		    resident_cached(&resident) == CACHED_NOTHING && read_direct(fd, length)) {
			XXH3_64bits_update(state, buf, (size_t)length);
		} else {
			/* Less than that is read ahead anyway. */
			if (length > READ_AHEAD && resident_cached(&resident) != CACHED_ALL)
				posix_fadvise(fd, (off_t)offset, (off_t)length,
					      POSIX_FADV_WILLNEED);
			ret = hash_chunk(state, fd, offset, length);
			resident_restore(&resident);
		}
		progress_add(0, length);
	}
	if (ret < 0) {
		if (errno)
			file_error(file, "can't read", errno, describe_open_error(errno));
		else
			file_skip(file, REASON_CHANGED);
	} else if (state && !interrupted) {
		file->hash = XXH3_64bits_digest(state);
		file->hashed = true;
		hashes_add(key, file->hash);
	}
	XXH3_freeState(state);
}

static bool hash_file(struct file *file)
{
	struct stat st;
	int fd = file_open_stat(file, &st);

	if (fd < 0)
		return false;
	hash_now(file, fd, &st);
	close(fd);
	return file->hashed;
}

/* How many files from the @i-th on have the same blocks as that. */
static size_t same_blocks(const struct files *files, size_t i)
{
	const struct file *file = files->file[i];
	size_t n = 1;

	while (i + n < files->n && files->file[i + n]->blocks == file->blocks &&
	       files->file[i + n]->size == file->size &&
	       file_fs(files->file[i + n]) == file_fs(file))
		n++;
	return n;
}

void hash_add(const struct files *files, size_t from, size_t n)
{
	size_t i;

	jobs.files = files;
	if (!n || files->file[from]->blocks == files->file[from + n - 1]->blocks)
		return;
	for (i = from; i < from + n; i += same_blocks(files, i)) {
		if (files->file[i]->hashed)
			continue;
		jobs.job = xgrow(jobs.job, jobs.n, &jobs.space, sizeof(*jobs.job));
		jobs.job[jobs.n++] = (uint32_t)i;
		jobs.bytes += files->file[i]->size;
	}
}

void hash_blocks(struct file **file, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		file[i]->hash = file[i]->blocks;
}

/* If one can't be read, the next with these blocks may be. */
static void hash_job(size_t k, void *unused)
{
	struct file **file = jobs.files->file + jobs.job[k];
	size_t n = same_blocks(jobs.files, jobs.job[k]), i;

	(void)unused;
	for (i = 0; i < n && !interrupted && !hash_file(file[i]); i++)
		;
	for (k = i + 1; k < n; k++)
		file[k]->hash = file[i]->hash;
	progress_add(1, 0);
}

static int by_place(const void *a, const void *b)
{
	const struct file *x = jobs.files->file[*(const uint32_t *)a];
	const struct file *y = jobs.files->file[*(const uint32_t *)b];
	int diff = COMPARE(file_fs(x), file_fs(y));

	return diff ? diff : COMPARE(x->place, y->place);
}

void hash_run(unsigned int threads)
{
	if (jobs.n) {
		qsort(jobs.job, jobs.n, sizeof(*jobs.job), by_place);
		progress_start("reading", jobs.n, jobs.bytes);
		work(jobs.n, threads, hash_job, NULL);
	}
	free(jobs.job);
	memset(&jobs, 0, sizeof(jobs));
}

static int by_hash(const void *a, const void *b)
{
	const struct file *x = *(struct file *const *)a;
	const struct file *y = *(struct file *const *)b;
	int diff = COMPARE(x->reason != REASON_NONE, y->reason != REASON_NONE);

	if (!diff)
		diff = COMPARE(x->hash, y->hash);
	return diff ? diff : COMPARE(x->ino, y->ino);
}

void hash_sort(struct file **file, size_t n)
{
	qsort(file, n, sizeof(*file), by_hash);
}

bool hash_equal(const struct file *x, const struct file *y)
{
	return x->reason == REASON_NONE && y->reason == REASON_NONE &&
	       x->hash == y->hash;
}
