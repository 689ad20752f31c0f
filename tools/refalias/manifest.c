// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "manifest.h"
#include "msg.h"

#define HEADER "refalias manifest 2\n"
/* It had nothing but the plus sign in front of what was made immutable. */
#define HEADER_BEFORE "refalias manifest 1\n"

static const char *describe_manifest_error(int err)
{
	switch (err) {
	case EACCES:
	case EPERM:
	case EROFS:
		return "run refalias as root, or name another one with --manifest";
	case ENOENT:
	case ENOTDIR:
		return "check the path, or make the directory";
	case ENOSPC:
	case EDQUOT:
		return "make room there, or name another one with --manifest";
	case EIO:
	case EUCLEAN:
		return "see the kernel's log (dmesg): the disk or its file system is damaged; name another one with --manifest meanwhile";
	default:
		return "name another one with --manifest";
	}
}

/* A message about errno, which @what failed with. */
static void manifest_error(const struct manifest *manifest, const char *what)
{
	msg_failed(manifest->name, what, errno, describe_manifest_error(errno));
}

static int by_path(const void *a, const void *b)
{
	const struct known *x = a, *y = b;

	return strcmp(x->path, y->path);
}

static struct known *find_known(const struct manifest *manifest, char *path)
{
	struct known key = { .path = path };

	if (!manifest->sorted)
		return NULL;
	return bsearch(&key, manifest->known, manifest->sorted, sizeof(key), by_path);
}

static void append(struct manifest *manifest, struct known known)
{
	manifest->known = xgrow(manifest->known, manifest->n, &manifest->space,
				sizeof(*manifest->known));
	manifest->known[manifest->n++] = known;
}

static void sort(struct manifest *manifest)
{
	if (manifest->n)
		qsort(manifest->known, manifest->n, sizeof(*manifest->known), by_path);
	manifest->sorted = manifest->n;
}

/* An absolute path in its plain form: nothing else was ever written. */
static bool is_plain(const char *path, size_t length)
{
	const char *at, *end;

	if (*path != '/' || strlen(path) != length)
		return false;
	for (at = path; *at; at = end) {
		at++;
		end = strchrnul(at, '/');
		if (end == at || (*at == '.' && (end == at + 1 || (at[1] == '.' && end == at + 2))))
			return false;
	}
	return true;
}

/*
 * Read what may be in front of a path, into @known, which is zeroed.  Returns where the
 * path begins, or anything else that is no path.
 */
static char *read_mark(char *line, struct known *known)
{
	char *end;

	if (*line != '+')
		return line;
	known->immutable = true;
	if (*++line == '/')
		return line;
	known->ino = strtoull(line, &end, 10);
	if (*end == ':')
		known->born = strtoll(end + 1, &end, 10);
	return end;
}

/* Read the open manifest; false after a message. */
static bool read_all(struct manifest *manifest, FILE *file)
{
	char *line = NULL;
	size_t room = 0;
	ssize_t length;
	bool good;

	good = getline(&line, &room, file) > 0 &&
	       (!strcmp(line, HEADER) || !strcmp(line, HEADER_BEFORE));
	while (good && (length = getdelim(&line, &room, '\0', file)) > 0) {
		struct known known = { 0 };
		char *path = read_mark(line, &known);

		/* The last byte must be the null byte: a part may be missing. */
		good = line[length - 1] == '\0' &&
		       is_plain(path, (size_t)(line + length - 1 - path));
		if (good) {
			known.path = xasprintf("%s", path);
			append(manifest, known);
		}
	}
	if (ferror(file))
		manifest_error(manifest, "can't read the manifest");
	else if (!good)
		msg_failed(manifest->name, "is no manifest of refalias, or is damaged", 0,
			   "check the name, or move it away and let refalias run write a new one");
	good = good && !ferror(file);
	free(line);
	return good;
}

void manifest_make_dir(const char *name)
{
	char copy[] = MANIFEST_DEFAULT;

	/* Who can open it could hold the lock for ever. */
	if (!strcmp(name, MANIFEST_DEFAULT))
		mkdir(dirname(copy), 0700);
}

/* Lock the directory of the manifest, since the file itself is replaced. */
static int lock_dir(const struct manifest *manifest)
{
	char *copy = xasprintf("%s", manifest->name);
	int fd;

	manifest_make_dir(manifest->name);
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	free(copy);
	if (fd >= 0 && flock(fd, LOCK_EX) < 0) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static bool is_ours(int fd)
{
	struct stat st;

	return geteuid() != 0 || (fstat(fd, &st) == 0 && st.st_uid == 0);
}

int manifest_open(struct manifest *manifest, const char *name, bool update)
{
	bool may_miss = update || !name, good = true;
	FILE *file;

	*manifest = (struct manifest){ .name = manifest_name(name), .dir = -1 };
	if (update) {
		manifest->dir = lock_dir(manifest);
		if (manifest->dir < 0) {
			manifest_error(manifest, "can't lock the directory of the manifest");
			return -1;
		}
	}
	file = fopen(manifest->name, "re");
	if (file && update && !is_ours(fileno(file))) {
		/* It can ask for any file to become changeable. */
		msg_failed(manifest->name, "belongs to another user, whom root would serve", 0,
			   "chown it to root if it is right, or name another one with --manifest");
		good = false;
	} else if (file) {
		good = read_all(manifest, file);
	} else if (errno != ENOENT || !may_miss) {
		manifest_error(manifest, "can't open the manifest");
		good = false;
	}
	if (file)
		fclose(file);
	/* So that it can be searched, whoever wrote it. */
	sort(manifest);
	if (good)
		return 0;
	manifest_close(manifest);
	return -1;
}

/* The file's absolute path without symbolic links, or NULL. */
static char *absolute(const struct file *file)
{
	static const struct dir *last;
	static char *real;
	const struct dir *top = file->dir;
	char *path, *result;
	const char *root, *rest;

	while (top && top->parent)
		top = top->parent;
	root = top ? top->name : file->name;
	/* Most files are below the same root as the one before. */
	if (!top || top != last) {
		free(real);
		real = realpath(root, NULL);
		last = top;
	}
	if (!real)
		return NULL;
	path = file_path(file);
	/* Below the root there were no links when it was walked. */
	rest = path + strlen(root);
	rest += strspn(rest, "/");
	result = xasprintf("%s%s%s", strcmp(real, "/") ? real : "", *rest ? "/" : "", rest);
	free(path);
	return result;
}

static struct known *find_file(const struct manifest *manifest, const struct file *file)
{
	char *path = absolute(file);
	struct known *known = path ? find_known(manifest, path) : NULL;

	free(path);
	return known;
}

/* Whether @file is the one that was made immutable when it was noted. */
static bool is_same(const struct known *known, const struct file *file)
{
	return known->ino == file->ino && known->born == file->born;
}

void manifest_add(struct manifest *manifest, const struct file *file)
{
	struct known *known = find_file(manifest, file);
	struct known new = { .path = known ? known->path : NULL };

	if (known && (known->immutable ? is_same(known, file) ||
					 (!known->ino && !file->made_immutable) :
					 !file->made_immutable))
		return;
	if (file->made_immutable) {
		new.immutable = true;
		new.ino = file->ino;
		new.born = file->born;
	}
	if (known) {
		*known = new;
	} else {
		new.path = absolute(file);
		if (!new.path)
			return;
		/* A donor may be added again and again: writing sorts that out. */
		append(manifest, new);
	}
	manifest->changed = true;
}

bool manifest_immutable(const struct manifest *manifest, const struct file *file)
{
	const struct known *known = find_file(manifest, file);
	char *name;

	if (!known || !known->immutable)
		return false;
	if (!known->ino && file->immutable) {
		name = file_printable(file);
		msg_note("%s: stays immutable: an older manifest does not tell whether this very file was made so; chattr -i it if you want to change it",
			 name);
		free(name);
	}
	return is_same(known, file);
}

static void forget(struct manifest *manifest, struct known *known)
{
	known->gone = true;
	manifest->changed = true;
}

void manifest_remove(struct manifest *manifest, const struct file *file)
{
	struct known *known = find_file(manifest, file);

	if (known)
		forget(manifest, known);
}

void manifest_keep(struct manifest *manifest, const struct file *file)
{
	struct known *known = find_file(manifest, file);

	if (known)
		known->gone = false;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Whether @path is one of the @n sorted @roots or below one. */
static bool is_below(char *path, char **roots, size_t n)
{
	char *end = path, *found = NULL;
	char kept;

	do {
		end = strchrnul(end + 1, '/');
		kept = *end;
		*end = '\0';
		found = bsearch(&path, roots, n, sizeof(*roots), by_name);
		*end = kept;
	} while (!found && kept);
	return found;
}

void manifest_clean(struct manifest *manifest, char **roots, int n, bool resolve)
{
	char **real = xrealloc(NULL, (size_t)n + 1, sizeof(*real));
	size_t count = 0, i;
	bool all = false;
	struct stat st;
	int k;

	for (k = 0; k < n; k++) {
		real[count] = resolve ? realpath(roots[k], NULL) : xasprintf("%s", roots[k]);
		if (!real[count])
			continue;
		all |= !strcmp(real[count], "/");
		count++;
	}
	qsort(real, count, sizeof(*real), by_name);
	for (i = 0; i < manifest->sorted; i++) {
		struct known *known = &manifest->known[i];

		if ((all || is_below(known->path, real, count)) &&
		    lstat(known->path, &st) < 0 && (errno == ENOENT || errno == ENOTDIR))
			forget(manifest, known);
	}
	while (count)
		free(real[--count]);
	free(real);
}

/* Write what is not gone to @fd; -1 and errno. */
static int write_all(struct manifest *manifest, int fd)
{
	FILE *file = fdopen(fd, "w");
	int ret = 0, err = 0;
	size_t i;

	if (!file) {
		close(fd);
		return -1;
	}
	sort(manifest);
	fputs(HEADER, file);
	for (i = 0; i < manifest->n; i++) {
		const struct known *known = &manifest->known[i];

		if (known->gone || (i && !strcmp(known->path, known[-1].path)))
			continue;
		if (known->immutable)
			fputc('+', file);
		if (known->ino)
			fprintf(file, "%" PRIu64 ":%" PRId64, known->ino, known->born);
		fprintf(file, "%s%c", known->path, '\0');
	}
	/* After a crash there must be the old one or the new one. */
	if (fflush(file) || fsync(fd) || ferror(file)) {
		err = errno;
		ret = -1;
	}
	fclose(file);
	errno = err;
	return ret;
}

static bool replace(struct manifest *manifest)
{
	char *copy = xasprintf("%s", manifest->name);
	char *name = basename(copy), *new_name = xasprintf("%s.new", name);
	bool good;
	int fd;

	/* Left behind by a crash, or whatever somebody has put there. */
	if (unlinkat(manifest->dir, new_name, 0) < 0 && errno != ENOENT)
		fd = -1;
	else
		fd = openat(manifest->dir, new_name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	good = fd >= 0 && write_all(manifest, fd) == 0 &&
	       renameat(manifest->dir, new_name, manifest->dir, name) == 0;
	if (!good) {
		manifest_error(manifest, "can't write the manifest");
		if (fd >= 0)
			unlinkat(manifest->dir, new_name, 0);
	}
	free(new_name);
	free(copy);
	return good;
}

bool manifest_walk(const char *name, struct walked *walked)
{
	struct manifest manifest;
	char **paths;
	size_t i;

	if (manifest_open(&manifest, name, false) < 0)
		return false;
	paths = xrealloc(NULL, manifest.n + 1, sizeof(*paths));
	for (i = 0; i < manifest.n; i++)
		paths[i] = manifest.known[i].path;
	walk_known(paths, manifest.n, walked);
	free(paths);
	return manifest_close(&manifest);
}

void manifest_clear(struct manifest *manifest)
{
	size_t i;

	for (i = 0; i < manifest->sorted; i++)
		forget(manifest, &manifest->known[i]);
}

bool manifest_close(struct manifest *manifest)
{
	bool good = true;

	if (manifest->dir >= 0) {
		if (manifest->changed)
			good = replace(manifest);
		close(manifest->dir);
	}
	while (manifest->n)
		free(manifest->known[--manifest->n].path);
	free(manifest->known);
	*manifest = (struct manifest){ .dir = -1 };
	return good;
}
