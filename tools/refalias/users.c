// SPDX-License-Identifier: GPL-2.0
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "msg.h"
#include "resident.h"
#include "users.h"
#include "volume.h"

/* See the kernel's documentation of pagemap. */
#define PAGEMAP_FRAME	((1ULL << 55) - 1)
#define PAGEMAP_FILE	(1ULL << 61)
#define PAGEMAP_PRESENT	(1ULL << 63)

enum {
	ENTRIES = 512,		/* of a pagemap, to read at once */
	MOST_COMPARED = 4,	/* the kernel may move a page meanwhile, but not so many */
	MOST_PAGES = 1 << 20,	/* of a file, to look for one that is resident */
};

/* What is known of somebody's use of a file; of several pieces the greatest counts. */
enum use { USE_UNKNOWN, USE_BEFORE, USE_SAME };

/* Who is looked at, and for what. */
struct search {
	struct files aliases;	/* by inode number */
	bool fresh;
	int self;		/* our own pagemap */
	int proc;		/* the process's directory in /proc */
	pid_t pid;
	int64_t found;
};

static int by_ino(const void *a, const void *b)
{
	const struct file *x = *(struct file *const *)a;
	const struct file *y = *(struct file *const *)b;

	return COMPARE(x->ino, y->ino);
}

static bool is_overlay(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 && fs.f_type == OVERLAYFS_SUPER_MAGIC;
}

/* The alias that @path, opened with O_PATH, is, or NULL. */
static struct file *alias_of(const struct files *aliases, int path)
{
	size_t low = 0, high = aliases->n, i;
	struct statx stx;

	/* Without asking a server that may be gone. */
	if (statx(path, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_BASIC_STATS, &stx) < 0 ||
	    !S_ISREG(stx.stx_mode))
		return NULL;
	while (low < high) {
		i = low + (high - low) / 2;
		if (aliases->file[i]->ino < stx.stx_ino)
			low = i + 1;
		else
			high = i;
	}
	for (i = low; i < aliases->n && aliases->file[i]->ino == stx.stx_ino; i++) {
		struct file *file = aliases->file[i];

		if (file->size != stx.stx_size ||
		    file->mtime != mtime_mark(stx.stx_mtime.tv_sec, stx.stx_mtime.tv_nsec))
			continue;
		/* Containers see it with all but the device number. */
		if (file_dev(file) == makedev(stx.stx_dev_major, stx.stx_dev_minor) ||
		    is_overlay(path))
			return file;
	}
	return NULL;
}

/*
 * The alias that @name in @dir, a link of /proc, leads to, or NULL; it is opened as
 * *@path.  The link may lead elsewhere in a moment, and opening can have effects.
 */
static struct file *find_alias(const struct files *aliases, int dir, const char *name, int *path)
{
	struct file *file;

	*path = openat(dir, name, O_PATH | O_CLOEXEC);
	if (*path < 0)
		return NULL;
	file = alias_of(aliases, *path);
	if (!file) {
		close(*path);
		*path = -1;
	}
	return file;
}

/* The frame in a pagemap's @entry, if it is a page of a file, else 0. */
static uint64_t frame_of(uint64_t entry)
{
	return entry & PAGEMAP_PRESENT && entry & PAGEMAP_FILE ? entry & PAGEMAP_FRAME : 0;
}

/* Read up to @n entries from the one of @address on; returns their number. */
static size_t read_pagemap(int pagemap, uint64_t address, uint64_t *entry, size_t n)
{
	ssize_t got = pread(pagemap, entry, n * sizeof(*entry),
			    (off_t)(address / page_size() * sizeof(*entry)));

	return got > 0 ? (size_t)got / sizeof(*entry) : 0;
}

/* Fault in a page of ours that is in memory; never read it, which could be a signal. */
static bool fault_in(void *page)
{
	unsigned char resident = 0;

	return mincore(page, page_size(), &resident) == 0 && (resident & 1) &&
	       madvise(page, page_size(), MADV_POPULATE_READ) == 0;
}

/* The frame at @offset that who opens the file now gets, or 0 if there is none. */
static uint64_t frame_now(const struct search *search, int fd, uint64_t offset)
{
	uint64_t entry = 0;
	void *page;

	page = mmap(NULL, page_size(), PROT_READ, MAP_SHARED, fd, (off_t)offset);
	if (page == MAP_FAILED)
		return 0;
	if (!fault_in(page) || !read_pagemap(search->self, (uintptr_t)page, &entry, 1))
		entry = 0;
	munmap(page, page_size());
	return frame_of(entry);
}

/* Compare what is mapped in a process from @from to @to, with the file opened as @fd. */
static enum use compare(const struct search *search, int pagemap, uint64_t from, uint64_t to,
			int fd, uint64_t offset)
{
	uint64_t entry[ENTRIES];
	enum use use = USE_UNKNOWN;
	size_t compared = 0, n, i;

	for (; from < to && !interrupted; from += n * page_size(), offset += n * page_size()) {
		n = (to - from) / page_size();
		n = read_pagemap(pagemap, from, entry, n < ENTRIES ? n : ENTRIES);
		if (!n)
			break;
		for (i = 0; i < n; i++) {
			if (!frame_of(entry[i]))
				continue;
			if (frame_of(entry[i]) == frame_now(search, fd, offset + i * page_size()))
				return USE_SAME;
			use = USE_BEFORE;
			if (++compared == MOST_COMPARED)
				return use;
		}
	}
	return use;
}

/* Open what is open as @path, as somebody would who does so now. */
static int open_anew(int path)
{
	char name[32];

	snprintf(name, sizeof(name), "/proc/self/fd/%d", path);
	return open(name, O_RDONLY | O_NOATIME | O_NONBLOCK | O_CLOEXEC);
}

static void judge(struct search *search, struct file *file, enum use use)
{
	char name[32] = "", *path, *text;
	int fd;

	if (!file || file->opened_before || use == USE_SAME ||
	    (use == USE_UNKNOWN && !search->fresh))
		return;
	file->opened_before = true;
	search->found++;
	if (verbosity < 1)
		return;
	fd = openat(search->proc, "comm", O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		if (read(fd, name, sizeof(name) - 1) > 0)
			name[strcspn(name, "\n")] = '\0';
		close(fd);
	}
	path = file_printable(file);
	text = printable(name);
	msg_verbose("%s: opened before by process %d (%s): restart it", path, search->pid, text);
	free(text);
	free(path);
}

/* Compare what a descriptor of the process has in memory. */
static enum use use_of_fd(const struct search *search, int pidfd, int number,
			  const struct file *file, int now)
{
	uint64_t most = resident_pages(file->size) * page_size(), at;
	int fd = pidfd_getfd(pidfd, number, 0), found = 0;
	enum use use = USE_UNKNOWN;
	char *map = MAP_FAILED;

	if (fd < 0)
		return use;
	if (most > MOST_PAGES * page_size())
		most = MOST_PAGES * page_size();
	/* It may be another one by now. */
	if (alias_of(&search->aliases, fd) == file)
		map = mmap(NULL, most, PROT_READ, MAP_SHARED, fd, 0);
	if (map != MAP_FAILED) {
		for (at = 0; at < most && found < MOST_COMPARED && !interrupted; at += page_size())
			found += fault_in(map + at);
		use = compare(search, search->self, (uintptr_t)map, (uintptr_t)map + at, now, 0);
		munmap(map, most);
	} else if (fcntl(fd, F_GETFL) & O_PATH) {
		/* Nobody reads with such a descriptor. */
		use = USE_SAME;
	}
	close(fd);
	return use;
}

static void look_at_fds(struct search *search)
{
	int dir = openat(search->proc, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *stream = dir >= 0 ? fdopendir(dir) : NULL;
	int pidfd = stream ? pidfd_open(search->pid, 0) : -1, path, now;
	struct dirent *entry;
	struct file *file;

	while (stream && !interrupted && (entry = readdir(stream))) {
		file = find_alias(&search->aliases, dir, entry->d_name, &path);
		if (!file)
			continue;
		now = file->opened_before ? -1 : open_anew(path);
		if (now >= 0) {
			judge(search, file, use_of_fd(search, pidfd, atoi(entry->d_name), file, now));
			close(now);
		}
		close(path);
	}
	if (pidfd >= 0)
		close(pidfd);
	if (stream)
		closedir(stream);
	else if (dir >= 0)
		close(dir);
}

static void look_at_maps(struct search *search)
{
	int fd = openat(search->proc, "maps", O_RDONLY | O_CLOEXEC), now;
	int pagemap = openat(search->proc, "pagemap", O_RDONLY | O_CLOEXEC), path = -1;
	FILE *maps = fd >= 0 ? fdopen(fd, "r") : NULL;
	char *line = NULL, *last = xasprintf("%s", ""), name[64];
	unsigned long from, to, offset, ino;
	enum use use = USE_UNKNOWN, piece;
	struct file *file = NULL;
	size_t room = 0;
	int rest = 0;

	while (maps && !interrupted && getline(&line, &room, maps) > 0) {
		if (sscanf(line, "%lx-%lx %*s %lx %n%*s %lu", &from, &to, &offset, &rest, &ino) != 4 ||
		    !ino)
			continue;
		snprintf(name, sizeof(name), "map_files/%lx-%lx", from, to);
		/*
		 * The pieces of a file follow each other.  They have a path in common, too:
		 * files of several subvolumes can have the same numbers here.
		 */
		if (strcmp(line + rest, last) != 0) {
			judge(search, file, use);
			use = USE_UNKNOWN;
			free(last);
			last = xasprintf("%s", line + rest);
			if (path >= 0)
				close(path);
			file = find_alias(&search->aliases, search->proc, name, &path);
		}
		if (!file || file->opened_before)
			continue;
		now = open_anew(path);
		if (now < 0)
			continue;
		piece = compare(search, pagemap, from, to, now, offset);
		if (piece > use)
			use = piece;
		close(now);
	}
	judge(search, file, use);
	if (path >= 0)
		close(path);
	free(line);
	free(last);
	if (maps)
		fclose(maps);
	else if (fd >= 0)
		close(fd);
	if (pagemap >= 0)
		close(pagemap);
}

/* Look at the processes one after another. */
static void look_at_all(struct search *search, DIR *proc)
{
	struct dirent *entry;

	while (!interrupted && (entry = readdir(proc))) {
		search->pid = atoi(entry->d_name);
		if (search->pid <= 0 || search->pid == getpid())
			continue;
		search->proc = openat(dirfd(proc), entry->d_name, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (search->proc < 0)
			continue;
		look_at_fds(search);
		look_at_maps(search);
		close(search->proc);
	}
}

int64_t users_count(const struct files *files, bool fresh)
{
	struct search search = { .fresh = fresh };
	DIR *proc = NULL;
	uint64_t own = 0;
	size_t i;

	for (i = 0; i < files->n; i++)
		if (fresh ? files->file[i]->aliased :
			    files->file[i]->state & FS_MAPPING_INFO_ALIAS)
			files_add(&search.aliases, files->file[i]);
	if (!search.aliases.n)
		return 0;
	qsort(search.aliases.file, search.aliases.n, sizeof(*search.aliases.file), by_ino);
	search.self = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	/* Frames are told to those who may know them only; this code has one. */
	if (read_pagemap(search.self, (uintptr_t)users_count, &own, 1) && frame_of(own))
		proc = opendir("/proc");
	if (proc) {
		look_at_all(&search, proc);
		closedir(proc);
	} else {
		search.found = -1;
	}
	if (search.self >= 0)
		close(search.self);
	free(search.aliases.file);
	return search.found;
}

void users_print(int64_t n)
{
	if (n > 0)
		printf("%" PRId64 " aliases are used by programs that opened them before and share only after a restart; --verbose names them\n",
		       n);
}
