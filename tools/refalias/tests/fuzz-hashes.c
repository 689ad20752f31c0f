// SPDX-License-Identifier: GPL-2.0
/*
 * Fuzzes the reader of noted hashes (libFuzzer): whatever is in the file, none is
 * found for a file that has none there.  The digest is made right for half of the
 * inputs, or else hardly any would come as far as to the records.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

#include "../hashes.h"

enum { DIGEST = 32, SEED = 40, RECORDS = 48, RECORD = 24 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool good)
{
	if (!good)
		abort();
}

static bool is_there(const uint8_t *data, size_t size, uint64_t hash)
{
	size_t at;

	for (at = RECORDS; at + RECORD <= size; at += RECORD) {
		if (!memcmp(data + at + 8, &hash, sizeof(hash)))
			return true;
	}
	return false;
}

static char dir[] = "/dev/shm/fuzz-hashes.XXXXXX";
static char name[64], file[80];

static void clean_up(void)
{
	unlink(file);
	rmdir(dir);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint64_t key = 1;
	uint64_t hash, digest, seed;
	int fd;

	if (!*name) {
		check(mkdtemp(dir));
		snprintf(name, sizeof(name), "%s/m", dir);
		snprintf(file, sizeof(file), "%s.hashes", name);
		atexit(clean_up);
	}
	fd = open(file, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	check(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	if (size >= RECORDS && data[size - 1] % 2) {
		memcpy(&seed, data + SEED, sizeof(seed));
		digest = XXH3_64bits_withSeed(data + RECORDS, size - RECORDS, seed);
		check(pwrite(fd, &digest, sizeof(digest), DIGEST) == sizeof(digest));
	}
	close(fd);
	hashes_open(name, true);
	if (hashes_find(key, &hash))
		check(is_there(data, size, hash));
	hashes_add(key, size);
	hashes_write(name);
	/* What was written is read, and has what was added, whatever was there before. */
	hashes_open(name, true);
	check(hashes_find(key, &hash));
	return 0;
}
