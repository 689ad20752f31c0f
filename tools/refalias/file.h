/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The data that flows through the steps: a file and what is known about it.
 */
#ifndef REFALIAS_FILE_H
#define REFALIAS_FILE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <xxhash.h>

#include <linux/mapping_alias.h>

struct layout;

/* A directory that was walked; names below it are relative to it. */
struct dir {
	struct dir *next;	/* all of them */
	struct dir *parent;	/* NULL: @name is the path as the user gave it */
	int fd;			/* -1, or an O_PATH descriptor kept for a while */
	char name[];
};

/* Why a file with an identical one is not shared. */
enum reason {
	REASON_NONE,
	REASON_FAILED,		/* a message has said it */
	REASON_VANISHED,
	REASON_CHANGED,
	REASON_BEING_WRITTEN,
	REASON_NO_BLOCKS,
	REASON_ENCRYPTED,
	REASON_FILESYSTEM,
	REASON_OWNER,
	REASON_WRITABLE,
	REASON_OTHER_DONOR,
	REASON_IMMUTABLE,
	REASON_NO_KERNEL,
	REASON_COUNT
};

struct file {
	struct dir *dir;	/* NULL: @name is the path as the user gave it */

	/* as the walk saw it */
	size_t order;		/* place in the walk */
	dev_t dev;
	ino_t ino;
	uint64_t size;		/* bytes */
	struct timespec mtime;
	int64_t born;		/* birth in ns since 1970, or mtime where unknown */
	uid_t uid;
	gid_t gid;
	mode_t mode;
	bool immutable;

	/* as its proof saw it */
	bool acl;		/* has an access ACL */
	struct fs_mapping_info info;
	struct layout *layout;	/* the same object for files with the same blocks */

	XXH128_hash_t hash;	/* of the content, or zero if it need not be known */

	/* what became of it */
	struct file *donor;	/* who it shares with; itself for a donor */
	bool identical;		/* counted as one of a group of identical files */
	bool kept;		/* was a kept alias of its donor already */
	bool reflinked;		/* now has the donor's blocks and had not before */
	bool made_immutable;	/* and was not before */
	bool aliased;		/* now uses the donor's page cache */
	enum reason reason;

	char name[];
};

/* A growing list of files. */
struct files {
	struct file **file;
	size_t n, space;
};

void files_add(struct files *files, struct file *file);
void files_free(struct files *files);

/* Words for each reason: a key for machines, an explanation for people. */
extern const struct reason_text {
	const char *key;
	const char *text;
	bool matters;	/* the file could have been shared, and that was asked for */
} reasons[REASON_COUNT];

/*
 * How many descriptors somebody may have open at a time who wants @most, so
 * that several who ask stay below the limit together; at least one.
 */
size_t files_may_open(size_t most);

/*
 * An O_PATH descriptor of @dir, valid until the next call; -1 and errno.  Not
 * for use by several threads.
 */
int dir_open(struct dir *dir);

/*
 * Open @file for reading without following links, waiting, or changing its
 * access time (where that is allowed), and make sure that it is the file that
 * was walked, unchanged.  Returns a descriptor, or -1 after a message, with
 * the file's reason set.  Several threads may do so at a time.
 */
int file_open(struct file *file);

/*
 * openat() with the flags that file_open() needs: @flags are more of them.
 * O_NOATIME is dropped where it is not allowed.
 */
int open_quietly(int dirfd, const char *name, int flags);

/* The path of @name below @below, which may be NULL; to be freed by the caller. */
char *path_of(const struct dir *below, const char *name);

/* The file's path: raw, or for people; to be freed by the caller. */
char *file_path(const struct file *file);
char *file_printable(const struct file *file);

/*
 * Say that something failed with a file: "PATH: what: error; advice".
 * @err may be zero and @advice NULL, if there is no more to say.
 */
void file_error(struct file *file, const char *what, int err, const char *advice);

/* A line about @file in verbose mode. */
void file_verbose(const struct file *file, const char *text);

/*
 * Like file_error() about something that @file's file system can't do, with
 * REASON_FILESYSTEM; said once for each file system, its other files only skip.
 */
void file_unsupported(struct file *file, const char *what, const char *advice);

/* Give up on @file for @reason; told in verbose mode, counted in the summary. */
void file_skip(struct file *file, enum reason reason);

/*
 * What to do about an error: of any call that has no words of its own for it, and
 * of opening or reading a file or directory.  NULL if there is nothing to say.
 */
const char *describe_error(int err);
const char *describe_open_error(int err);

/* For qsort(): less than, equal to, or greater than zero. */
#define COMPARE(a, b) (((a) > (b)) - ((a) < (b)))

#endif
