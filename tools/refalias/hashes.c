// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include "file.h"
#include "hashes.h"
#include "manifest.h"
#include "msg.h"

/* Use is noted to the week, so that most runs need not write. */
enum { DAY = 24 * 60 * 60, KEPT_DAYS = 60, NOTED_DAYS = 7, KEPT_MOST = 1 << 28 };

/* As in the file, behind the header, sorted by key. */
struct record {
	uint64_t key;	/* digest of what the file is known by */
	uint64_t hash;
	uint64_t day;	/* on which it was used, since 1970; 0: to be forgotten */
};

struct header {
	char magic[24];
	uint64_t n;	/* records */
	uint64_t digest;	/* of them, with the seed */
	uint64_t seed;		/* of their hashes */
};

static const char magic[sizeof(((struct header *)0)->magic)] = "refalias hashes 2\n";

static struct {
	bool open, add;
	atomic_bool used;	/* one of them, for which that is to be noted */
	uint64_t day;
	struct record *known;	/* in the file, sorted */
	size_t n_known;
	pthread_mutex_t lock;	/* for what follows */
	bool seeded;
	uint64_t seed;
	struct record *added;
	size_t n_added, space;
} hashes = { .lock = PTHREAD_MUTEX_INITIALIZER };

static int by_key(const void *a, const void *b)
{
	const struct record *x = a, *y = b;

	return COMPARE(x->key, y->key);
}

static int by_key_and_day(const void *a, const void *b)
{
	const struct record *x = a, *y = b;
	int diff = by_key(a, b);

	return diff ? diff : COMPARE(x->day, y->day);
}

/* The records in the open file @fd; false if it isn't ours or isn't whole. */
static bool read_all(int fd)
{
	struct header header;
	struct record *record;
	struct stat st;
	size_t bytes, i;
	bool good;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid() ||
	    read(fd, &header, sizeof(header)) != (ssize_t)sizeof(header) ||
	    memcmp(header.magic, magic, sizeof(magic)) != 0 || header.n > KEPT_MOST ||
	    (uint64_t)st.st_size != sizeof(header) + header.n * sizeof(*record))
		return false;
	bytes = (size_t)header.n * sizeof(*record);
	record = xrealloc(NULL, (size_t)header.n + 1, sizeof(*record));
	/* One read() gives up to 2 GiB. */
	for (i = 0; i < bytes;) {
		ssize_t got = read(fd, (char *)record + i, bytes - i);

		if (got <= 0)
			break;
		i += (size_t)got;
	}
	good = i == bytes && XXH3_64bits_withSeed(record, bytes, header.seed) == header.digest;
	for (i = 1; good && i < header.n; i++)
		good = record[i - 1].key < record[i].key;
	if (good) {
		hashes.known = record;
		hashes.n_known = (size_t)header.n;
		hashes.seed = header.seed;
		hashes.seeded = true;
	} else {
		free(record);
	}
	return good;
}

void hashes_open(const char *name, bool add)
{
	char *path = xasprintf("%s.hashes", name);
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	free(hashes.known);
	hashes.known = NULL;
	hashes.n_known = 0;
	hashes.seeded = false;
	hashes.open = true;
	hashes.add = add;
	hashes.day = (uint64_t)time(NULL) / DAY;
	if (fd >= 0) {
		if (!read_all(fd))
			msg_verbose("%s: is damaged or not ours; files are read again", path);
		close(fd);
	}
	free(path);
}

uint64_t hashes_seed(void)
{
	uint64_t seed;

	pthread_mutex_lock(&hashes.lock);
	/* So few bytes are always given whole. */
	if (!hashes.seeded && getrandom(&hashes.seed, sizeof(hashes.seed), 0) < 0)
		hashes.seed = (uint64_t)time(NULL) ^ (uint64_t)getpid() << 32;
	hashes.seeded = true;
	seed = hashes.seed;
	pthread_mutex_unlock(&hashes.lock);
	return seed;
}

uint64_t hashes_key(const struct stat *st)
{
	if (!hashes.open)
		return 0;
	/*
	 * A file that is written twice in one tick of the clock shows the same times
	 * both times: wait until that can't be any more.
	 */
	if (st->st_ctim.tv_sec + 1 >= time(NULL))
		return 0;
	const uint64_t known_by[] = {
		st->st_ino, (uint64_t)st->st_size,
		(uint64_t)st->st_mtim.tv_sec, (uint64_t)st->st_mtim.tv_nsec,
		(uint64_t)st->st_ctim.tv_sec, (uint64_t)st->st_ctim.tv_nsec,
	};

	return XXH3_64bits_withSeed(known_by, sizeof(known_by), hashes_seed());
}

bool hashes_find(uint64_t key, uint64_t *hash)
{
	const struct record wanted = { .key = key };
	struct record *record;

	if (!key || !hashes.n_known)
		return false;
	record = bsearch(&wanted, hashes.known, hashes.n_known, sizeof(wanted), by_key);
	if (!record)
		return false;
	*hash = record->hash;
	/* No other thread looks for the same file. */
	if (record->day + NOTED_DAYS < hashes.day) {
		record->day = hashes.day;
		hashes.used = true;
	}
	return true;
}

static void add(struct record record)
{
	if (!record.key || !hashes.add)
		return;
	pthread_mutex_lock(&hashes.lock);
	hashes.added = xgrow(hashes.added, hashes.n_added, &hashes.space, sizeof(*hashes.added));
	hashes.added[hashes.n_added++] = record;
	pthread_mutex_unlock(&hashes.lock);
}

void hashes_add(uint64_t key, uint64_t hash)
{
	add((struct record){ key, hash, hashes.day });
}

void hashes_forget(uint64_t key)
{
	add((struct record){ .key = key });
}

/* Known and added ones as one sorted list, in @known. */
static void merge(void)
{
	struct record *all = xrealloc(NULL, hashes.n_known + hashes.n_added + 1, sizeof(*all));
	size_t i, n = 0, same;

	for (i = 0; i < hashes.n_known; i++) {
		if (hashes.known[i].day + KEPT_DAYS >= hashes.day)
			all[n++] = hashes.known[i];
	}
	if (hashes.n_added)
		memcpy(all + n, hashes.added, hashes.n_added * sizeof(*all));
	n += hashes.n_added;
	/* So what is to be forgotten comes first of its key. */
	qsort(all, n, sizeof(*all), by_key_and_day);
	free(hashes.known);
	free(hashes.added);
	hashes.known = all;
	hashes.n_known = 0;
	for (i = 0; i < n; i += same) {
		for (same = 1; i + same < n && all[i + same].key == all[i].key; same++)
			;
		if (all[i].day)
			all[hashes.n_known++] = all[i];
	}
	hashes.added = NULL;
	hashes.n_added = hashes.space = 0;
}

/* Write @known to @fd; false and errno. */
static bool write_all(int fd)
{
	const size_t bytes = hashes.n_known * sizeof(*hashes.known);
	struct header header = { .n = hashes.n_known, .seed = hashes_seed() };
	FILE *file = fdopen(fd, "w");
	bool good;

	if (!file) {
		close(fd);
		return false;
	}
	memcpy(header.magic, magic, sizeof(magic));
	header.digest = XXH3_64bits_withSeed(hashes.known, bytes, header.seed);
	fwrite(&header, sizeof(header), 1, file);
	fwrite(hashes.known, sizeof(*hashes.known), hashes.n_known, file);
	good = !ferror(file);
	return !fclose(file) && good;
}

void hashes_write(const char *name)
{
	char *path, *new_path;
	int fd;

	if (!hashes.n_added && !hashes.used)
		return;
	merge();
	manifest_make_dir(name);
	path = xasprintf("%s.hashes", name);
	new_path = xasprintf("%s.XXXXXX", path);
	/* Who runs at the same time replaces it as well: then some are read again. */
	fd = mkostemp(new_path, O_CLOEXEC);
	if (fd < 0 || !write_all(fd) || rename(new_path, path) < 0) {
		msg_verbose("%s: %s; files are read again", path, strerror(errno));
		if (fd >= 0)
			unlink(new_path);
	}
	free(new_path);
	free(path);
}
