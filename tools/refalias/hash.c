// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hash.h"
#include "msg.h"
#include "prove.h"
#include "resident.h"

enum { CHUNK = 4 << 20, READ_SIZE = 256 << 10 };

/* What is to be read: the first file of each layout, others follow it. */
static struct {
	struct file ***job;
	size_t n, space;
	atomic_size_t next;
	uint64_t bytes;
} jobs;

/* Hash one chunk; 0, or -1 and errno, which is 0 if the file is shorter now. */
static int hash_chunk(XXH3_state_t *state, int fd, uint64_t offset, uint64_t length, char *buf)
{
	ssize_t got;

	while (length) {
		errno = 0;
		got = pread(fd, buf, length < READ_SIZE ? length : READ_SIZE, (off_t)offset);
		if (got <= 0)
			return -1;
		XXH3_128bits_update(state, buf, (size_t)got);
		offset += (uint64_t)got;
		length -= (uint64_t)got;
	}
	return 0;
}

static bool hash_file(struct file *file, char *buf)
{
	XXH3_state_t *state;
	struct resident resident;
	uint64_t offset, length;
	int fd, ret = 0;

	fd = file_open(file);
	if (fd < 0)
		return false;
	state = XXH3_createState();
	if (!state) {
		errno = ENOMEM;
		ret = -1;
	} else {
		XXH3_128bits_reset(state);
	}
	for (offset = 0; !ret && offset < file->size && !interrupted; offset += length) {
		length = file->size - offset;
		if (length > CHUNK)
			length = CHUNK;
		resident_save(&resident, fd, offset, length);
		posix_fadvise(fd, (off_t)offset, (off_t)length, POSIX_FADV_WILLNEED);
		ret = hash_chunk(state, fd, offset, length, buf);
		resident_restore(&resident);
		progress_add(0, length);
	}
	if (ret < 0) {
		if (errno)
			file_error(file, "can't read", errno, describe_open_error(errno));
		else
			file_skip(file, REASON_CHANGED);
	} else if (state) {
		file->hash = XXH3_128bits_digest(state);
	}
	XXH3_freeState(state);
	close(fd);
	return !ret && !interrupted;
}

void hash_add(struct file **file, size_t n)
{
	size_t i;

	if (!n || file[0]->layout == file[n - 1]->layout)
		return;
	for (i = 0; i < n; i += file[i]->layout->users) {
		if (jobs.n == jobs.space) {
			jobs.space = 2 * jobs.space + 64;
			jobs.job = xrealloc(jobs.job, jobs.space, sizeof(*jobs.job));
		}
		jobs.job[jobs.n++] = file + i;
		jobs.bytes += file[i]->size;
	}
}

void hash_blocks(struct file **file, size_t n)
{
	size_t i;

	/* Files with the same blocks have the same object. */
	for (i = 0; i < n; i++)
		file[i]->hash = (XXH128_hash_t){ .low64 = (uintptr_t)file[i]->layout };
}

static void *work(void *arg)
{
	char *buf = xrealloc(NULL, READ_SIZE, 1);
	size_t i, n, k;

	(void)arg;
	while (!interrupted && (k = atomic_fetch_add(&jobs.next, 1)) < jobs.n) {
		struct file **file = jobs.job[k];

		/* If one can't be read, the next with these blocks may be. */
		n = file[0]->layout->users;
		for (i = 0; i < n && !interrupted && !hash_file(file[i], buf); i++)
			;
		for (k = i + 1; k < n; k++)
			file[k]->hash = file[i]->hash;
		progress_add(1, 0);
	}
	free(buf);
	return NULL;
}

static int by_place(const void *a, const void *b)
{
	const struct file *x = **(struct file **const *)a;
	const struct file *y = **(struct file **const *)b;
	int diff = COMPARE(x->dev, y->dev);

	return diff ? diff : COMPARE(x->layout->extent[0].physical, y->layout->extent[0].physical);
}

void hash_run(unsigned int threads)
{
	pthread_t thread[HASH_MOST_THREADS];
	unsigned int started = 0;

	if (jobs.n) {
		qsort(jobs.job, jobs.n, sizeof(*jobs.job), by_place);
		progress_start("reading", jobs.n, jobs.bytes);
		threads = (unsigned int)files_may_open(threads < jobs.n ? threads : jobs.n);
		/* One of them is this one, so it works with less as well. */
		while (started + 1 < threads &&
		       !pthread_create(&thread[started], NULL, work, NULL))
			started++;
		work(NULL);
		while (started)
			pthread_join(thread[--started], NULL);
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
		diff = XXH128_cmp(&x->hash, &y->hash);
	return diff ? diff : COMPARE(x->ino, y->ino);
}

void hash_sort(struct file **file, size_t n)
{
	qsort(file, n, sizeof(*file), by_hash);
}

bool hash_equal(const struct file *x, const struct file *y)
{
	return x->reason == REASON_NONE && y->reason == REASON_NONE &&
	       XXH128_isEqual(x->hash, y->hash);
}
