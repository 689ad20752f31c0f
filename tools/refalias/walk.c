// SPDX-License-Identifier: GPL-2.0
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <linux/magic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "msg.h"
#include "walk.h"

#define NOT_REGULAR "neither a regular file nor a directory; symbolic links are not followed"

/* A directory still to be read, and the device of the one above. */
struct todo {
	struct dir *dir;
	dev_t dev;
};

struct stack {
	struct todo *todo;
	size_t n, space;
};

void patterns_add(struct patterns *patterns, const char *pattern)
{
	patterns->pattern = xrealloc(patterns->pattern, patterns->n + 1,
				     sizeof(*patterns->pattern));
	patterns->pattern[patterns->n++] = pattern;
	patterns->paths |= strchr(pattern, '/') != NULL;
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

static void push(struct stack *stack, struct dir *parent, const char *name, dev_t dev)
{
	stack->todo = xgrow(stack->todo, stack->n, &stack->space, sizeof(*stack->todo));
	stack->todo[stack->n++] = (struct todo){ dir_new(parent, name, strlen(name)), dev };
}

/* Sizes in these are made up, and reading can have effects. */
static bool shows_kernel_state(int fd)
{
	struct statfs fs;

	if (fstatfs(fd, &fs) < 0)
		return false;
	switch ((unsigned long)fs.f_type) {
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

/* A message about @name in @dir, which is not one of the files. */
static void walk_error(struct dir *dir, const char *name, const char *what, int err)
{
	file_error(file_new(dir, name), what, err, describe_open_error(err));
}

static int64_t nanoseconds(struct statx_timestamp t)
{
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static struct file *new_file(struct dir *dir, const char *name, const struct statx *stx)
{
	struct file *file = file_new(dir, name);

	file->dev = (uint32_t)makedev(stx->stx_dev_major, stx->stx_dev_minor);
	file->ino = stx->stx_ino;
	file->size = stx->stx_size;
	file->mtime = mtime_mark(stx->stx_mtime.tv_sec, stx->stx_mtime.tv_nsec);
	file->born = nanoseconds((stx->stx_mask & STATX_BTIME) ? stx->stx_btime :
								 stx->stx_mtime);
	file->uid = stx->stx_uid;
	file->gid = stx->stx_gid;
	file->mode = stx->stx_mode & ALLPERMS;
	file->immutable = stx->stx_attributes & STATX_ATTR_IMMUTABLE;
	return file;
}

/*
 * Take in one name: a file is kept, a directory put off, or left out if there
 * is no @stack, the rest counted.
 */
static int take(struct stack *stack, struct dir *dir, int dirfd, const char *name,
		dev_t dev, const struct selection *selection, struct walked *walked)
{
	struct statx stx;

	if (matches(&selection->exclude, dir, name)) {
		walked->excluded++;
		return 0;
	}
	if (statx(dirfd, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT,
		  STATX_BASIC_STATS | STATX_BTIME, &stx) < 0)
		return -1;
	if (selection->one_file_system && dev &&
	    makedev(stx.stx_dev_major, stx.stx_dev_minor) != dev) {
		walked->mounts++;
	} else if (S_ISDIR(stx.stx_mode)) {
		if (stack)
			push(stack, dir, name, dev);
	} else if (S_ISLNK(stx.stx_mode)) {
		walked->links++;
	} else if (!S_ISREG(stx.stx_mode)) {
		walked->special++;
	} else {
		walked->seen++;
		progress_add(1, 0);
		if (!stx.stx_size) {
			walked->empty++;
		} else if (stx.stx_size < selection->minimum_size) {
			walked->small++;
		} else if (selection->maximum_size && stx.stx_size > selection->maximum_size) {
			walked->large++;
		} else if (selection->include.n && !matches(&selection->include, dir, name)) {
			walked->excluded++;
		} else {
			files_add(&walked->files, new_file(dir, name, &stx));
		}
	}
	return 0;
}

static void walk_dir(struct stack *stack, struct todo todo, const struct selection *selection,
		     struct walked *walked)
{
	struct dirent *entry;
	struct stat st;
	DIR *stream = NULL;
	int fd;

	fd = dir_open(todo.dir);
	if (fd >= 0)
		fd = open_quietly(fd, ".", O_DIRECTORY);
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
		walk_error(todo.dir->parent, todo.dir->name, "can't read the directory", errno);
		return;
	}
	if (fstat(fd, &st) < 0 ||
	    (st.st_dev != todo.dev && (shows_kernel_state(fd) ||
				       (todo.dev && selection->one_file_system)))) {
		closedir(stream);
		return;
	}
	for (errno = 0; !interrupted && (entry = readdir(stream)); errno = 0) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		if (take(stack, todo.dir, fd, entry->d_name, st.st_dev,
			 selection, walked) < 0 && errno != ENOENT)
			walk_error(todo.dir, entry->d_name, "can't stat", errno);
	}
	if (errno)
		walk_error(todo.dir->parent, todo.dir->name, "can't read the directory", errno);
	closedir(stream);
}

void walk(char **paths, int n, const struct selection *selection, struct walked *walked)
{
	struct stack stack = { 0 };
	size_t others;
	int i;

	progress_start("looking for files", 0, 0);
	for (i = 0; i < n && !interrupted; i++) {
		others = walked->links + walked->special;
		if (take(&stack, NULL, AT_FDCWD, paths[i], 0, selection, walked) < 0)
			walk_error(NULL, paths[i], "can't look at it", errno);
		else if (walked->links + walked->special > others)
			walk_error(NULL, paths[i], NOT_REGULAR, 0);
		while (stack.n && !interrupted)
			walk_dir(&stack, stack.todo[--stack.n], selection, walked);
	}
	free(stack.todo);
	progress_end();
}

void walk_known(char *const *paths, size_t n, const struct selection *selection,
		struct walked *walked)
{
	static const struct selection all;
	struct stack stack = { 0 };
	struct dir *dir = NULL;
	size_t i, files;
	int fd;

	progress_start("looking for files", selection ? 0 : n, 0);
	for (i = 0; i < n && !interrupted; i++) {
		dir = dir_known(dir, paths[i]);
		fd = dir_open(dir);
		files = walked->files.n;
		if (fd >= 0)
			fd = take(selection ? &stack : NULL, dir, fd, strrchr(paths[i], '/') + 1, 0,
				  selection ? selection : &all, walked);
		if (fd < 0 && errno != ENOENT && errno != ENOTDIR && errno != ELOOP)
			walk_error(NULL, paths[i], "can't look at it", errno);
		else if (fd < 0 || (!selection && walked->files.n == files))
			walked->gone++;
		while (stack.n && !interrupted)
			walk_dir(&stack, stack.todo[--stack.n], selection, walked);
	}
	free(stack.todo);
	progress_end();
}

struct file *walk_file(const char *path)
{
	struct statx stx;

	if (statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT,
		  STATX_BASIC_STATS | STATX_BTIME, &stx) < 0) {
		walk_error(NULL, path, "can't look at it", errno);
		return NULL;
	}
	if (!S_ISREG(stx.stx_mode)) {
		walk_error(NULL, path, NOT_REGULAR, 0);
		return NULL;
	}
	return new_file(NULL, path, &stx);
}
