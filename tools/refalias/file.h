/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The data that flows through the steps: a file and what is known about it.
 */
#ifndef REFALIAS_FILE_H
#define REFALIAS_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include <linux/mapping_alias.h>

/* A directory that was walked; names below it are relative to it. */
struct dir {
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

/* What of a file is in the page cache. */
enum cached { CACHED_UNKNOWN, CACHED_NOTHING, CACHED_ALL };

enum { MOST_LINKS = 127 };

/* There may be millions of them, so it is small; file_new() makes one. */
struct file {
	struct dir *dir;	/* NULL: @name is the path as the user gave it */

	/* as its proof saw it */
	uint64_t blocks;	/* the same for files with the same blocks */
	union {
		uint64_t cache;		/* with a state: number of the inode whose page cache it uses */
		uint64_t freeable;	/* else: bytes that are free if nobody has its blocks */
	};
	union {
		uint64_t place;		/* before it is read: its first block's, bytes */
		uint64_t hash;		/* then: of its content */
		struct file *donor;	/* then: who it shares with; itself for a donor */
	};

	/* as the walk saw it */
	uint64_t ino;
	uint64_t size;		/* bytes */
	int64_t born;		/* birth in ns since 1970, or mtime where unknown */
	uint32_t mtime;		/* mtime_mark() of it */
	uint32_t uid;
	uint32_t gid;
	unsigned int volume : 24;	/* volume_of() it; there are fewer device numbers */
	bool immutable : 1;
	unsigned int links : 7;	/* or MOST_LINKS, if it has more */
	unsigned int mode : 12;	/* permissions */

	/* as its proof saw it, too */
	bool acl : 1;		/* has an access ACL */
	unsigned int state : 3;	/* FS_MAPPING_INFO_* */
	bool own_blocks : 1;	/* part of its blocks is in no other file */
	bool hashed : 1;	/* needs not be read any more: see look() */
	bool encoded : 1;	/* compressed, for instance */
	bool inlined : 1;	/* has data among the file system's records */
	enum cached cached : 2;	/* when it was read, before that */

	/* what became of it */
	bool identical : 1;	/* counted as one of a group of identical files */
	bool kept : 1;		/* was a kept alias of its donor already */
	bool reflinked : 1;	/* now has the donor's blocks and had not before */
	bool made_immutable : 1;	/* or to be, and was not before */
	bool aliased : 1;	/* now uses the donor's page cache */
	bool opened_before : 1;	/* and somebody has it open since before */
	enum reason reason : 4;

	char name[];
};

/* What is kept of a time of modification: enough to see that it is another one. */
static inline uint32_t mtime_mark(int64_t seconds, uint32_t nanoseconds)
{
	return (uint32_t)seconds * 1000000000U + nanoseconds;
}

/* Note what the kernel says about its page cache. */
void file_set_state(struct file *file, const struct fs_mapping_info *info);

/* A file with that name, all else zero; it lives as long as the program. */
struct file *file_new(struct dir *dir, const char *name);

/* A growing list of files. */
struct files {
	struct file **file;
	size_t n, space;
};

void files_add(struct files *files, struct file *file);

/* Free the list, not the files. */
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
 * The directory @name, of @length bytes, below @parent.  Directories live as long
 * as the program, since any file may need its own.
 */
struct dir *dir_new(struct dir *parent, const char *name, size_t length);

/* That of @path, an absolute one; @last, the one of another path, is a start or NULL. */
struct dir *dir_known(struct dir *last, const char *path);

/*
 * An O_PATH descriptor of @dir, valid until the next call; -1 and errno.  Not
 * for use by several threads.
 */
int dir_open(struct dir *dir);

/* Another one, to read @dir with; several threads may do so at a time. */
int dir_open_again(struct dir *dir);

/*
 * Open @file for reading without following links, waiting, or changing its
 * access time (where that is allowed), and make sure that it is the file that
 * was walked, unchanged.  Returns a descriptor, or -1 after a message, with
 * the file's reason set.  Several threads may do so at a time.
 */
int file_open(struct file *file);

/* The same; @st is what fstat() said. */
int file_open_stat(struct file *file, struct stat *st);

/*
 * openat() with the flags that file_open() needs: @flags are more of them.
 * O_NOATIME is dropped where it is not allowed.
 */
int open_quietly(int dirfd, const char *name, int flags);

/* The same for an absolute path, none of whose parts may be a link. */
int open_known(const char *path, int flags);

/* The path of @name below @below, which may be NULL; to be freed by the caller. */
char *path_of(const struct dir *below, const char *name);

/* For qsort(): the order of their paths, which is the same in every run. */
int file_compare_paths(const struct file *x, const struct file *y);

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
 * of opening or reading a file or directory.  NULL only if @err is 0.
 */
const char *describe_error(int err);
const char *describe_open_error(int err);

/* For qsort(): less than, equal to, or greater than zero. */
#define COMPARE(a, b) (((a) > (b)) - ((a) < (b)))

#endif
