// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hash.h"
#include "msg.h"
#include "resident.h"

enum { CHUNK = 16 << 20, READ_SIZE = 1 << 20 };

/* Hash one chunk; 0, or -1 and errno, which is 0 if the file is shorter now. */
static int hash_chunk(XXH3_state_t *state, int fd, uint64_t offset, uint64_t length)
{
	static char buf[READ_SIZE];
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

static bool hash_file(struct file *file)
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
		ret = hash_chunk(state, fd, offset, length);
		resident_restore(&resident);
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

static int by_hash(const void *a, const void *b)
{
	const struct file *x = *(struct file *const *)a;
	const struct file *y = *(struct file *const *)b;
	int diff = XXH128_cmp(&x->hash, &y->hash);

	return diff ? diff : COMPARE(x->ino, y->ino);
}

size_t hash(struct file **file, size_t n)
{
	const struct file *hashed = NULL;
	size_t i, good = 0;

	if (!n || file[0]->layout == file[n - 1]->layout)
		return n;
	for (i = 0; i < n; i++) {
		/* If one can't be read, the next with these blocks may be. */
		if (hashed && hashed->layout == file[i]->layout)
			file[i]->hash = hashed->hash;
		else if (hash_file(file[i]))
			hashed = file[i];
		if (interrupted)
			return 0;
	}
	for (i = 0; i < n; i++) {
		struct file *this = file[i];

		if (this->reason != REASON_NONE)
			continue;
		file[i] = file[good];
		file[good++] = this;
	}
	qsort(file, good, sizeof(*file), by_hash);
	return good;
}
