// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "file.h"
#include "msg.h"
#include "volume.h"

const struct reason_text reasons[REASON_COUNT] = {
	[REASON_NONE] = { "none", "", false },
	[REASON_FAILED] = { "failed", "failed, as the messages say", true },
	[REASON_VANISHED] = { "vanished", "it was removed or renamed meanwhile", false },
	[REASON_CHANGED] = { "changed", "it was changed or replaced meanwhile", true },
	[REASON_BEING_WRITTEN] = { "being_written",
		"its data has no settled place on disk yet; try again when nobody writes it", true },
	[REASON_NO_BLOCKS] = { "no_blocks",
		"it has no blocks that could be shared (nothing but holes), or only one of it and its donor has (inline data)", false },
	[REASON_ENCRYPTED] = { "encrypted", "its blocks are encrypted, so they prove nothing", true },
	[REASON_FILESYSTEM] = { "filesystem", "its file system can't share blocks", true },
	[REASON_OWNER] = { "owner",
		"neither root nor its own owner owns a copy to share with; another user's file is not trusted", true },
	[REASON_WRITABLE] = { "writable",
		"users who may not write it may write every copy that it could share with", true },
	[REASON_OTHER_DONOR] = { "other_donor",
		"it shares its page cache with other copies already; refalias release ends that", true },
	[REASON_IMMUTABLE] = { "immutable",
		"it is immutable and has blocks of its own; chattr -i it, run refalias, chattr +i it", true },
	[REASON_NO_KERNEL] = { "no_kernel", "the running kernel can't share page caches", true },
};

/* Directories that may be needed again, as many as may be open, overwritten in turn. */
enum { MOST_OPEN_DIRS = 16384 };
static struct dir *open_dirs[MOST_OPEN_DIRS];
static size_t next_dir;
/* Held to use a directory that is open, and alone to open some and close others. */
static pthread_rwlock_t dirs_lock = PTHREAD_RWLOCK_INITIALIZER;

size_t files_may_open(size_t most)
{
	static size_t limit;
	struct rlimit files;

	if (!limit) {
		limit = 1;
		if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
			const rlim_t now = files.rlim_cur;

			files.rlim_cur = files.rlim_max;
			/* More than fs.nr_open is refused. */
			if (setrlimit(RLIMIT_NOFILE, &files) < 0)
				files.rlim_cur = now;
			/* Directories, destinations, threads, and all else. */
			limit = files.rlim_cur / 4 + 1;
		}
	}
	return most < limit ? most : limit;
}

struct file *file_new(struct dir *dir, const char *name)
{
	struct file *file = xkeep(offsetof(struct file, name) + strlen(name) + 1);

	file->dir = dir;
	strcpy(file->name, name);
	return file;
}

void file_set_state(struct file *file, const struct fs_mapping_info *info)
{
	file->state = info->state & (FS_MAPPING_INFO_ALIAS | FS_MAPPING_INFO_DONOR |
				     FS_MAPPING_INFO_KEPT);
	if (file->state)
		file->cache = (file->state & FS_MAPPING_INFO_ALIAS) ? info->donor_ino : file->ino;
}

void files_add(struct files *files, struct file *file)
{
	files->file = xgrow(files->file, files->n, &files->space, sizeof(*files->file));
	files->file[files->n++] = file;
}

void files_free(struct files *files)
{
	free(files->file);
	*files = (struct files){ 0 };
}

struct dir *dir_new(struct dir *parent, const char *name, size_t length)
{
	struct dir *dir = xkeep(offsetof(struct dir, name) + length + 1);

	dir->parent = parent;
	dir->fd = -1;
	memcpy(dir->name, name, length);
	return dir;
}

struct dir *dir_known(struct dir *last, const char *path)
{
	struct dir **chain = NULL, *dir;
	size_t depth = 0, i, length;
	const char *end;

	for (dir = last; dir; dir = dir->parent)
		depth++;
	chain = xrealloc(NULL, depth + 1, sizeof(*chain));
	for (dir = last, i = depth; dir; dir = dir->parent)
		chain[--i] = dir;
	dir = depth ? chain[0] : dir_new(NULL, "/", 1);
	for (i = 1; (end = strchr(++path, '/')); i++, path = end) {
		length = (size_t)(end - path);
		if (i < depth && strlen(chain[i]->name) == length &&
		    !memcmp(chain[i]->name, path, length)) {
			dir = chain[i];
		} else {
			depth = 0;
			dir = dir_new(dir, path, length);
		}
	}
	free(chain);
	return dir;
}

static int dir_open_below(int parent, struct dir *dir)
{
	struct dir **place = &open_dirs[next_dir++ % files_may_open(MOST_OPEN_DIRS)];

	dir->fd = openat(parent, dir->name,
			 O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir->fd < 0)
		return -1;
	if (*place) {
		close((*place)->fd);
		(*place)->fd = -1;
	}
	*place = dir;
	return dir->fd;
}

/*
 * A step at a time from the nearest directory that is open: a path of all names
 * can be longer than the kernel takes, and could lead elsewhere by now.
 */
int dir_open(struct dir *dir)
{
	struct dir **below = NULL;
	size_t depth = 0, space = 0;
	int fd = AT_FDCWD;

	for (; dir; dir = dir->parent) {
		if (dir->fd >= 0) {
			fd = dir->fd;
			break;
		}
		below = xgrow(below, depth, &space, sizeof(*below));
		below[depth++] = dir;
	}
	while (depth && (fd >= 0 || fd == AT_FDCWD))
		fd = dir_open_below(fd, below[--depth]);
	free(below);
	return fd;
}

int open_quietly(int dirfd, const char *name, int flags)
{
	int fd;

	flags |= O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY;
	fd = openat(dirfd, name, flags | O_NOATIME);
	if (fd < 0 && errno == EPERM)
		fd = openat(dirfd, name, flags);
	return fd;
}

int dir_open_again(struct dir *dir)
{
	int fd;

	pthread_rwlock_wrlock(&dirs_lock);
	fd = dir_open(dir);
	if (fd >= 0)
		fd = open_quietly(fd, ".", O_DIRECTORY);
	pthread_rwlock_unlock(&dirs_lock);
	return fd;
}

int open_known(const char *path, int flags)
{
	static struct dir *last;
	int fd;

	/* The next one is likely to be near. */
	last = dir_known(last, path);
	fd = dir_open(last);
	return fd < 0 ? fd : open_quietly(fd, strrchr(path, '/') + 1, flags);
}

const char *describe_error(int err)
{
	switch (err) {
	case EBADF:
		return "the file must be open for reading; this is an error in refalias, please report it";
	case EFAULT:
		return "the kernel can't reach the argument; this is an error in refalias, please report it";
	case EXDEV:
		return "it is on another file system than the donor; only files of one file system can share";
	case EINTR:
		return "a signal ended the call; run refalias again";
	case ENOMEM:
		return "the kernel is out of memory, or the memory limit of this cgroup is reached; free some and run refalias again";
	case EIO:
	case EUCLEAN:
		return "the disk or its file system is damaged: see the kernel's log (dmesg)";
	case 0:
		return NULL;
	default:
		return "refalias does not know why that can be: see the kernel's log (dmesg), try again, or leave this path out";
	}
}

const char *describe_open_error(int err)
{
	switch (err) {
	case EACCES:
	case EPERM:
		return "run refalias as root, or leave this path out";
	case ENOENT:
		return "check the path";
	case ELOOP:
		return "symbolic links are not followed: give what it points to";
	case ENOTDIR:
		return "a part of the path is no directory: check the path";
	case ENAMETOOLONG:
		return "change into a directory above it and give a relative path";
	case EMFILE:
	case ENFILE:
		return "too many files are open: raise the limit (ulimit -n, fs.file-max)";
	case EWOULDBLOCK:
		return "another program holds a lease on it: try again later";
	case ESTALE:
		return "it was removed on the server: try again";
	default:
		return describe_error(err);
	}
}

/* The file is not what was walked, and that is nobody's fault. */
static int file_lost(struct file *file, enum reason reason)
{
	char *path = file_printable(file);

	msg_note("%s: left out: %s", path, reasons[reason].text);
	free(path);
	file->reason = reason;
	return -1;
}

static int open_by_dir(const struct file *file)
{
	int fd;

	pthread_rwlock_rdlock(&dirs_lock);
	fd = file->dir ? file->dir->fd : AT_FDCWD;
	if (fd < 0 && fd != AT_FDCWD) {
		pthread_rwlock_unlock(&dirs_lock);
		pthread_rwlock_wrlock(&dirs_lock);
		fd = dir_open(file->dir);
	}
	if (fd >= 0 || fd == AT_FDCWD)
		fd = open_quietly(fd, file->name, 0);
	pthread_rwlock_unlock(&dirs_lock);
	return fd;
}

int file_open(struct file *file)
{
	struct stat st;

	return file_open_stat(file, &st);
}

int file_open_stat(struct file *file, struct stat *st)
{
	int fd = open_by_dir(file), err;

	if (fd < 0) {
		if (errno == ENOENT)
			return file_lost(file, REASON_VANISHED);
		/* A link, a device without driver or a socket took the name. */
		if (errno == ELOOP || errno == ENXIO || errno == ENOTDIR)
			return file_lost(file, REASON_CHANGED);
		file_error(file, "can't open", errno, describe_open_error(errno));
		return -1;
	}
	if (fstat(fd, st) < 0) {
		err = errno;
		close(fd);
		file_error(file, "can't stat", err, describe_open_error(err));
		return -1;
	}
	if (st->st_dev != file_dev(file) || st->st_ino != file->ino ||
	    (uint64_t)st->st_size != file->size || st->st_uid != file->uid ||
	    st->st_gid != file->gid || st->st_mode != (S_IFREG | file->mode) ||
	    mtime_mark(st->st_mtim.tv_sec, (uint32_t)st->st_mtim.tv_nsec) != file->mtime) {
		close(fd);
		return file_lost(file, REASON_CHANGED);
	}
	return fd;
}

char *path_of(const struct dir *below, const char *name)
{
	size_t len = strlen(name), n;
	const struct dir *dir;
	char *path, *at;

	for (dir = below; dir; dir = dir->parent)
		len += strlen(dir->name) + 1;
	path = xzalloc(len + 1);
	at = path + len - strlen(name);
	memcpy(at, name, strlen(name));
	for (dir = below; dir; dir = dir->parent) {
		n = strlen(dir->name);
		/* The user's own "/" or "dir/" ends with a slash already. */
		if (n && dir->name[n - 1] != '/')
			*--at = '/';
		at -= n;
		memcpy(at, dir->name, n);
	}
	memmove(path, at, strlen(at) + 1);
	return path;
}

char *file_path(const struct file *file)
{
	return path_of(file->dir, file->name);
}

int file_compare_paths(const struct file *x, const struct file *y)
{
	char *a = file_path(x), *b = file_path(y);
	int diff = strcmp(a, b);

	free(a);
	free(b);
	return diff;
}

char *file_printable(const struct file *file)
{
	char *path = file_path(file), *text = printable(path);

	free(path);
	return text;
}

void file_error(struct file *file, const char *what, int err, const char *advice)
{
	char *path = file_path(file);

	file->reason = REASON_FAILED;
	msg_failed(path, what, err, advice);
	free(path);
}

void file_verbose(const struct file *file, const char *text)
{
	char *path;

	if (verbosity < 1)
		return;
	path = file_printable(file);
	msg_verbose("%s: %s", path, text);
	free(path);
}

void file_skip(struct file *file, enum reason reason)
{
	char *text;

	file->reason = reason;
	text = xasprintf("skipped: %s", reasons[reason].text);
	file_verbose(file, text);
	free(text);
}

void file_unsupported(struct file *file, const char *what, const char *advice)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static dev_t told[64];
	static size_t n;
	bool again = false;
	size_t i;

	pthread_mutex_lock(&lock);
	for (i = 0; i < n; i++)
		again |= told[i] == file_fs(file);
	if (!again && n < sizeof(told) / sizeof(told[0]))
		told[n++] = file_fs(file);
	pthread_mutex_unlock(&lock);
	if (again) {
		file_skip(file, REASON_FILESYSTEM);
		return;
	}
	file_error(file, what, 0, advice);
	file->reason = REASON_FILESYSTEM;
}
