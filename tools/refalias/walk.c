// SPDX-License-Identifier: GPL-2.0
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <linux/magic.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "msg.h"
#include "volume.h"
#include "walk.h"

#define NOT_REGULAR "neither a regular file nor a directory; symbolic links are not followed"

/* How many threads walk at most: what they wait for is the disk. */
enum { MOST_THREADS = 8 };

/* A directory still to be read, and the device of the one above. */
struct todo {
	struct dir *dir;
	dev_t dev;
};

/*
 * A walk, which several threads do together: reading directories and inodes from
 * the disk is waiting, most of the time.
 */
struct walker {
	const struct selection *selection;
	bool deeper;			/* into directories as well */
	pthread_mutex_t lock;		/* for what follows, and all that is never freed */
	pthread_cond_t more;		/* there is another directory, or nothing more */
	struct walked *walked;
	struct todo *todo;
	size_t n, space;
	size_t busy;			/* threads that read a directory now */
	bool ended;			/* no thread shall wait any more */
	pthread_t thread[MOST_THREADS - 1];
	size_t threads, most;		/* of these, that were started and may be */
};

void patterns_add(struct patterns *patterns, const char *pattern)
{
	char *copy = xasprintf("%s", pattern);
	size_t length = strlen(copy);

	/* No path that is looked at ends with one. */
	while (length > 1 && copy[length - 1] == '/')
		copy[--length] = '\0';
	patterns->pattern = xrealloc(patterns->pattern, patterns->n + 1,
				     sizeof(*patterns->pattern));
	patterns->pattern[patterns->n++] = copy;
	patterns->paths |= strchr(copy, '/') != NULL;
}

/* Whether @name in @dir matches one of the patterns. */
static bool matches(const struct patterns *patterns, const struct dir *dir, const char *name)
{
	char *path = patterns->paths ? path_of(dir, name) : NULL;
	const char *slash = strrchr(name, '/');
	bool match = false;
	size_t i;

	for (i = 0; i < patterns->n && !match; i++) {
		const char *pattern = patterns->pattern[i];

		match = !fnmatch(pattern, strchr(pattern, '/') ? path :
				 slash ? slash + 1 : name, 0);
	}
	free(path);
	return match;
}

static void push(struct walker *walker, struct dir *parent, const char *name, dev_t dev)
{
	walker->todo = xgrow(walker->todo, walker->n, &walker->space, sizeof(*walker->todo));
	walker->todo[walker->n++] = (struct todo){ dir_new(parent, name, strlen(name)), dev };
	pthread_cond_signal(&walker->more);
}

/* Of the file system that @fd is on; 0 if it doesn't tell. */
static unsigned long magic_of(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) < 0 ? 0 : (unsigned long)fs.f_type;
}

/* Sizes in these are made up, and reading can have effects. */
static bool shows_kernel_state(unsigned long magic)
{
	switch (magic) {
	case PROC_SUPER_MAGIC:
	case SYSFS_MAGIC:
	case DEBUGFS_MAGIC:
	case TRACEFS_MAGIC:
	case SECURITYFS_MAGIC:
	case CGROUP_SUPER_MAGIC:
	case CGROUP2_SUPER_MAGIC:
		return true;
	default:
		return false;
	}
}

/*
 * Whether @todo, which is open as @fd, is on another file system than the directory above
 * and to be left out for that.
 */
static bool leave_out(struct walker *walker, struct todo todo, int fd)
{
	const unsigned long magic = magic_of(fd);

	if (todo.dev && walker->selection->one_file_system)
		return true;
	/*
	 * Files in there are those of its layers, which share where they are: here they
	 * can't, and would count twice.
	 */
	if (magic == OVERLAYFS_SUPER_MAGIC) {
		pthread_mutex_lock(&walker->lock);
		walker->walked->overlays++;
		pthread_mutex_unlock(&walker->lock);
		return true;
	}
	return shows_kernel_state(magic);
}

/* A message about @name in @dir, which is not one of the files. */
static void path_error(struct dir *dir, const char *name, const char *what, int err)
{
	file_error(file_new(dir, name), what, err, describe_open_error(err));
}

static void walk_error(struct walker *walker, struct dir *dir, const char *name, const char *what,
		       int err)
{
	pthread_mutex_lock(&walker->lock);
	path_error(dir, name, what, err);
	pthread_mutex_unlock(&walker->lock);
}

static int64_t nanoseconds(struct statx_timestamp t)
{
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static struct file *new_file(struct dir *dir, int dirfd, const char *name,
			     const struct statx *stx)
{
	struct file *file = file_new(dir, name);

	file->volume = volume_of(makedev(stx->stx_dev_major, stx->stx_dev_minor), dirfd, name);
	file->ino = stx->stx_ino;
	file->size = stx->stx_size;
	file->mtime = mtime_mark(stx->stx_mtime.tv_sec, stx->stx_mtime.tv_nsec);
	file->born = nanoseconds((stx->stx_mask & STATX_BTIME) ? stx->stx_btime :
								 stx->stx_mtime);
	file->uid = stx->stx_uid;
	file->gid = stx->stx_gid;
	file->mode = stx->stx_mode & ALLPERMS;
	file->links = stx->stx_nlink < MOST_LINKS ? stx->stx_nlink : MOST_LINKS;
	file->immutable = stx->stx_attributes & STATX_ATTR_IMMUTABLE;
	return file;
}

/* What became of a name. */
enum taken {
	TAKEN_FAILED = -1,	/* errno says why */
	TAKEN_FILE,		/* it is one of the files */
	TAKEN_OTHER,		/* it is neither a regular file nor a directory */
	TAKEN_OUT,		/* it was left out, or is a directory */
};

/*
 * Take in one name, with the lock held: a file is kept, a directory put off, or
 * left out, the rest counted.
 */
static enum taken take(struct walker *walker, struct dir *dir, int dirfd, const char *name,
		       dev_t dev, const struct statx *stx)
{
	const struct selection *selection = walker->selection;
	struct walked *walked = walker->walked;

	if (selection->one_file_system && dev &&
	    makedev(stx->stx_dev_major, stx->stx_dev_minor) != dev) {
		walked->mounts++;
		return TAKEN_OUT;
	}
	if (S_ISDIR(stx->stx_mode)) {
		if (walker->deeper)
			push(walker, dir, name, dev);
		return TAKEN_OUT;
	}
	if (S_ISLNK(stx->stx_mode)) {
		walked->links++;
		return TAKEN_OTHER;
	}
	if (!S_ISREG(stx->stx_mode)) {
		walked->special++;
		return TAKEN_OTHER;
	}
	walked->seen++;
	if (!stx->stx_size) {
		walked->empty++;
	} else if (stx->stx_size < selection->minimum_size) {
		walked->small++;
	} else if (selection->maximum_size && stx->stx_size > selection->maximum_size) {
		walked->large++;
	} else if (selection->include.n && !matches(&selection->include, dir, name)) {
		walked->excluded++;
	} else {
		files_add(&walked->files, new_file(dir, dirfd, name, stx));
		return TAKEN_FILE;
	}
	return TAKEN_OUT;
}

/* Look at one name, and take it in. */
static enum taken look_up(struct walker *walker, struct dir *dir, int dirfd, const char *name,
			  dev_t dev)
{
	const bool excluded = matches(&walker->selection->exclude, dir, name);
	enum taken taken = TAKEN_OUT;
	struct statx stx;

	if (!excluded && statx(dirfd, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT,
			       STATX_BASIC_STATS | STATX_BTIME, &stx) < 0)
		return TAKEN_FAILED;
	pthread_mutex_lock(&walker->lock);
	if (excluded)
		walker->walked->excluded++;
	else
		taken = take(walker, dir, dirfd, name, dev, &stx);
	pthread_mutex_unlock(&walker->lock);
	if (!excluded && S_ISREG(stx.stx_mode))
		progress_add(1, 0);
	return taken;
}

static void walk_dir(struct walker *walker, struct todo todo)
{
	struct dirent *entry;
	struct stat st;
	DIR *stream = NULL;
	int fd;

	fd = dir_open_again(todo.dir);
	if (fd >= 0)
		stream = fdopendir(fd);
	if (!stream) {
		if (fd >= 0)
			close(fd);
		if (errno == ENOENT || errno == ELOOP || errno == ENOTDIR) {
			char *text = printable(todo.dir->name);

			msg_note("%s: directory left out: %s", text,
				 reasons[REASON_VANISHED].text);
			free(text);
			return;
		}
		walk_error(walker, todo.dir->parent, todo.dir->name, "can't read the directory", errno);
		return;
	}
	if (fstat(fd, &st) < 0 || (st.st_dev != todo.dev && leave_out(walker, todo, fd))) {
		closedir(stream);
		return;
	}
	for (errno = 0; !interrupted && (entry = readdir(stream)); errno = 0) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		if (look_up(walker, todo.dir, fd, entry->d_name, st.st_dev) == TAKEN_FAILED &&
		    errno != ENOENT)
			walk_error(walker, todo.dir, entry->d_name, "can't stat", errno);
	}
	if (errno)
		walk_error(walker, todo.dir->parent, todo.dir->name, "can't read the directory", errno);
	closedir(stream);
}

/*
 * Read directories, of which each thread has one at a time.  The first thread
 * returns when there are none, and none is being read, which could have others in
 * it; the others wait for more until the walk is ended.
 */
static void walk_dirs(struct walker *walker, bool first)
{
	pthread_mutex_lock(&walker->lock);
	while (!walker->ended && !(first && !walker->n && !walker->busy)) {
		if (!walker->n) {
			pthread_cond_wait(&walker->more, &walker->lock);
			continue;
		}
		struct todo todo = walker->todo[--walker->n];

		walker->busy++;
		pthread_mutex_unlock(&walker->lock);
		if (!interrupted)
			walk_dir(walker, todo);
		pthread_mutex_lock(&walker->lock);
		if (!--walker->busy && !walker->n)
			pthread_cond_broadcast(&walker->more);
	}
	pthread_mutex_unlock(&walker->lock);
}

static void *walk_along(void *arg)
{
	walk_dirs(arg, false);
	return NULL;
}

/* How many threads are to help the caller if there are to be @threads. */
static size_t others_of(size_t threads)
{
	return files_may_open(threads < MOST_THREADS ? threads : MOST_THREADS) - 1;
}

/* All below the directories that were put off; if there are none, alone. */
static void walk_below(struct walker *walker)
{
	bool more;

	pthread_mutex_lock(&walker->lock);
	more = walker->n;
	pthread_mutex_unlock(&walker->lock);
	while (more && walker->threads < walker->most &&
	       !pthread_create(&walker->thread[walker->threads], NULL, walk_along, walker))
		walker->threads++;
	walk_dirs(walker, true);
}

/* Begin to look at so many @files; 0 if that is not known. */
static void walk_begin(struct walker *walker, const struct selection *selection,
		       size_t threads, struct walked *walked, size_t files)
{
	*walker = (struct walker){
		.selection = selection,
		.deeper = true,
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.more = PTHREAD_COND_INITIALIZER,
		.most = others_of(threads),
		.walked = walked,
	};
	progress_start("looking for files", files, 0);
}

static void walk_end(struct walker *walker)
{
	pthread_mutex_lock(&walker->lock);
	walker->ended = true;
	pthread_cond_broadcast(&walker->more);
	pthread_mutex_unlock(&walker->lock);
	while (walker->threads)
		pthread_join(walker->thread[--walker->threads], NULL);
	free(walker->todo);
	progress_end();
}

void walk(char **paths, int n, const struct selection *selection, size_t threads,
	  struct walked *walked)
{
	struct walker walker;
	enum taken taken;
	int i;

	walk_begin(&walker, selection, threads, walked, 0);
	for (i = 0; i < n && !interrupted; i++) {
		taken = look_up(&walker, NULL, AT_FDCWD, paths[i], 0);
		if (taken == TAKEN_FAILED)
			walk_error(&walker, NULL, paths[i], "can't look at it", errno);
		else if (taken == TAKEN_OTHER)
			walk_error(&walker, NULL, paths[i], NOT_REGULAR, 0);
		walk_below(&walker);
	}
	walk_end(&walker);
}

/* Look up a path that leads over no links; @dir is that of the one before. */
static void look_up_known(struct walker *walker, struct dir **dir, const char *path,
			  dev_t dev)
{
	enum taken taken = TAKEN_FAILED;
	int fd;

	*dir = dir_known(*dir, path);
	fd = dir_open(*dir);
	if (fd >= 0)
		taken = look_up(walker, *dir, fd, strrchr(path, '/') + 1, dev);
	if (taken == TAKEN_FAILED && errno != ENOENT && errno != ENOTDIR && errno != ELOOP)
		walk_error(walker, NULL, path, "can't look at it", errno);
	else if (taken == TAKEN_FAILED || (!walker->deeper && taken != TAKEN_FILE))
		walker->walked->gone++;
}

void walk_known(char *const *paths, size_t n, struct walked *walked)
{
	static const struct selection all;
	struct walker walker;
	struct dir *dir = NULL;
	size_t i;

	walk_begin(&walker, &all, 1, walked, n);
	walker.deeper = false;
	for (i = 0; i < n && !interrupted; i++)
		look_up_known(&walker, &dir, paths[i], 0);
	walk_end(&walker);
}

/* Which of @roots the path is below; their number if there is none. */
static size_t root_of(const char *path, const struct paths *roots)
{
	size_t i, length;

	for (i = 0; i < roots->n; i++) {
		length = strlen(roots->path[i]);
		if (!strncmp(path, roots->path[i], length) && path[length] == '/')
			break;
	}
	return i;
}

/* The device number of the directory @path, or 0. */
static dev_t dev_of(const char *path)
{
	int fd = open_known(path, O_DIRECTORY);
	struct stat st = { 0 };

	if (fd < 0)
		return 0;
	if (fstat(fd, &st) < 0)
		st.st_dev = 0;
	close(fd);
	return st.st_dev;
}

void walk_layers(const struct paths *layers, const struct paths *roots,
		 const struct selection *selection, size_t threads, struct walked *walked)
{
	struct walker walker;
	size_t root, last = SIZE_MAX, i;
	struct dir *dir = NULL;
	dev_t dev = 0;

	walk_begin(&walker, selection, threads, walked, 0);
	for (i = 0; i < layers->n && !interrupted; i++) {
		root = root_of(layers->path[i], roots);
		if (root != last)
			dev = root < roots->n ? dev_of(roots->path[root]) : 0;
		last = root;
		look_up_known(&walker, &dir, layers->path[i], dev);
		walk_below(&walker);
	}
	walk_end(&walker);
}

struct file *walk_file(const char *path)
{
	struct statx stx;

	if (statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT,
		  STATX_BASIC_STATS | STATX_BTIME, &stx) < 0) {
		path_error(NULL, path, "can't look at it", errno);
		return NULL;
	}
	if (!S_ISREG(stx.stx_mode)) {
		path_error(NULL, path, NOT_REGULAR, 0);
		return NULL;
	}
	return new_file(NULL, AT_FDCWD, path, &stx);
}
