// SPDX-License-Identifier: GPL-2.0
/*
 * Many processes do seeded random operations on a set of files, aliasing and
 * releasing them in every direction at once, against a model that knows what is
 * in each file.
 *
 *	stress [--fs xfs|btrfs] [--seed N] [--seconds N] [--processes N] [--hang N]
 *	       [--dev DEV]
 *	stress --self-test [--fs xfs|btrfs] [--dev DEV]
 *
 * The device (default: MAPPING_ALIAS_DEV) gets a new file system (default: XFS).
 *
 * The model is in shared memory: names, and the files that they lead to.  A file
 * has a lock.  Whoever changes its data or metadata holds it for writing and
 * writes down what was done; whoever compares holds it for reading.  Aliasing,
 * releasing and asking take no lock at all, unless their result is foretold.
 * What an operation does depends on the seed, the process and the number of the
 * step only; what it meets depends on the others.
 *
 * Operations return 0, or the negative errno with which they were refused.
 * Anything that isn't as it should be ends the run with a report.
 */
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <linux/btrfs.h>
#include <sys/inotify.h>
#include <sys/sendfile.h>
#include <sys/swap.h>
#include <sys/uio.h>
#include <sys/xattr.h>

/* Where the load has its files. */
#define DIR MNT "/stress"
/* Of all of it, for a while, on btrfs. */
#define SNAPSHOT "snapshot"

#include "load.h"
#include "uring.h"

#define FAMILIES 7
#define NAMES (FAMILIES * 9)
#define FILES 1024
#define MAX_BLOCKS 96
#define HANDLES 6
#define MAX_PROCESSES 64
#define SLOW 5			/* times longer than asked for */
#define MAX_ERRNO 135		/* those that are counted */

#define CGROUP "/sys/fs/cgroup/mapping_alias_stress"

#ifndef MADV_COLD
#define MADV_COLD 20
#endif
#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif

#ifndef MADV_SOFT_OFFLINE
#define MADV_SOFT_OFFLINE 101
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#ifndef __NR_cachestat
#define __NR_cachestat 451
#endif

/* Contents 1 ... MAX_BLOCKS are the blocks of this program, which can be executed. */
#define FIRST_ID (MAX_BLOCKS + 1)
#define PROBE_STATUS 42

struct block {
	__u32 id;		/* contents, see fill_block() */
	__u32 place;		/* equal where reflinked; 0: a hole or unwritten */
};

struct file {
	pthread_rwlock_t lock;
	int users;		/* names and handles; 0: not in use */
	ino_t ino;
	off_t size;
	struct block blocks[MAX_BLOCKS];
	bool scattered;		/* some places are not known */
	bool nocow;		/* btrfs overwrites it in place, without checksums */
	uid_t uid;
	mode_t mode;
	nlink_t nlink;
	time_t mtime;		/* 0: not known */
	unsigned int xattr;	/* 0: none */
	unsigned int cuts;	/* how often private copies of pages may have gone */
	unsigned int chattrs;	/* odd: may be immutable */
};

struct name {
	pthread_rwlock_t lock;
	int file;		/* -1: none */
};

enum failure { NONE, MISMATCH, METADATA, REFUSED, HANG, KERNEL_LOG, DIED };

struct process {
	pid_t pid;
	__u64 step;
	int op;
	int file_name;		/* the name that the operation is about, or -1 */
	int is_quiet;
	__u64 counts[64][MAX_ERRNO];
};

static struct {
	struct name names[NAMES];
	struct file files[FILES];
	struct process processes[MAX_PROCESSES];
	__u32 last_id;
	unsigned int remounts;	/* odd: may be read-only */
	int stop;
	int quiet;		/* nobody may have a file open */
	int failure;		/* enum failure, set once */
	char report[1024];
} *shared;

/* The process's own. */
struct handle {
	enum { FREE, READER, WRITER, MAP, PRIVATE } kind;
	int name;
	struct file *file;
	int fd;
	unsigned char *map;
	size_t len;
	bool locked;		/* in memory */
	unsigned int cuts;
	__u32 block, id;	/* what was written to a private mapping */
};

static struct handle handles[HANDLES];
static struct process *self;
static unsigned int remounts_before;
static unsigned char *buffer;	/* MAX_BLOCKS blocks, aligned */
static unsigned char *program;	/* the same */
static off_t program_size;

static __u64 seed = 1;
static unsigned int seconds = 60, nr_processes = 8, hang = 180;
static const char *device;

/* The families of identical files: blocks, bytes missing at the end, hole. */
static const struct {
	unsigned int blocks, tail;
	int hole;
} families[FAMILIES] = {
	{ 0 },			/* this program */
	{ 1, 0, -1 },
	{ 4, 0, 2 },
	{ 9, 100, -1 },
	{ 17, 0, -1 },
	{ 32, 1, 5 },
	{ 1, 2600, -1 },	/* btrfs keeps it in its metadata */
};

/* On btrfs, the first is compressed, and one is not copied on write. */
#define NOCOW_FAMILY 4

static const mode_t modes[] = { 0755, 0700, 0555, 0511, 0750 };
static const uid_t owners[] = { 0, ALICE, BOB };

static const char *op_name(int op);

/*
 * Failing
 */

/* Note the first failure of all processes; the report says where it was. */
static void note_args(enum failure kind, const char *format, va_list args)
{
	int none = NONE, n = 0;

	if (!__atomic_compare_exchange_n(&shared->failure, &none, kind, false,
					 __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		return;
	if (self) {
		n = snprintf(shared->report, sizeof(shared->report),
			     "seed %llu process %ld step %llu, %s", seed,
			     (long)(self - shared->processes),
			     self->step, op_name(self->op));
		if (self->file_name >= 0)
			n += snprintf(shared->report + n, sizeof(shared->report) - n,
				      " of f%d", self->file_name);
		n += snprintf(shared->report + n, sizeof(shared->report) - n, ": ");
	}
	vsnprintf(shared->report + n, sizeof(shared->report) - n, format, args);
	__atomic_store_n(&shared->stop, 1, __ATOMIC_SEQ_CST);
}

static void __printf(2, 3)
note(enum failure kind, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	note_args(kind, format, args);
	va_end(args);
}

/* The same, and end this process. */
static void __noreturn __printf(2, 3)
fail(enum failure kind, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	note_args(kind, format, args);
	va_end(args);
	_exit(1);
}

#define need(kind, condition) do {						\
	if (!(condition))							\
		fail(kind, "%s:%d: %s, errno %d (%s)", __FILE__, __LINE__,	\
		     #condition, errno, strerror(errno));			\
} while (0)

/* This may have met a file system that was mounted read-only. */
static bool maybe_readonly(void)
{
	return (remounts_before & 1) ||
	       __atomic_load_n(&shared->remounts, __ATOMIC_SEQ_CST) != remounts_before;
}

/* Pass on @err if it is 0 or one of those that the contract has for this case. */
#define allow(err, ...) allow_these(err, (const int[]){ __VA_ARGS__, 0 })

static int allow_these(int err, const int *allowed)
{
	if (!err || (err == -EROFS && maybe_readonly()))
		return err;
	for (; *allowed; allowed++)
		if (err == -*allowed)
			return err;
	fail(REFUSED, "unexpected errno %d (%s)", -err, strerror(-err));
}

/* The same for what nothing but a read-only file system may refuse. */
static int allow_readonly(int err)
{
	static const int none[] = { 0 };

	return allow_these(err, none);
}

static int result(long ret)
{
	return ret < 0 ? -errno : 0;
}

/*
 * The model
 */

static const char *path_of_fd(int fd)
{
	static char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return path;
}

static __u32 new_id(void)
{
	return __atomic_add_fetch(&shared->last_id, 1, __ATOMIC_SEQ_CST);
}

static unsigned int blocks_of(const struct file *f)
{
	return (f->size + BLK - 1) / BLK;
}

static void fill(void *buf, __u32 id)
{
	if (id && id < FIRST_ID)
		memcpy(buf, program + (size_t)(id - 1) * BLK, BLK);
	else
		fill_block(buf, id);
}

static void init_lock(pthread_rwlock_t *lock)
{
	pthread_rwlockattr_t attr;

	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_rwlock_init(lock, &attr);
}

static void take(pthread_rwlock_t *lock, bool write)
{
	int err = write ? pthread_rwlock_wrlock(lock) : pthread_rwlock_rdlock(lock);

	need(REFUSED, !err);
}

static void drop(pthread_rwlock_t *lock)
{
	pthread_rwlock_unlock(lock);
}

/* Names in order, then files in order, @b after or before @a; once if equal. */
static void take_two(pthread_rwlock_t *a, bool write_a, pthread_rwlock_t *b, bool write_b)
{
	if (a == b) {
		take(a, write_a || write_b);
	} else if (a < b) {
		take(a, write_a);
		take(b, write_b);
	} else {
		take(b, write_b);
		take(a, write_a);
	}
}

static void drop_two(pthread_rwlock_t *a, pthread_rwlock_t *b)
{
	drop(a);
	if (a != b)
		drop(b);
}

static struct file *file_of(int n)
{
	return shared->names[n].file < 0 ? NULL : &shared->files[shared->names[n].file];
}

static void hold_file(struct file *f)
{
	__atomic_add_fetch(&f->users, 1, __ATOMIC_SEQ_CST);
}

static void put_file(struct file *f)
{
	__atomic_sub_fetch(&f->users, 1, __ATOMIC_SEQ_CST);
}

/* A new file of the model, locked for writing and with one user. */
static struct file *new_file(void)
{
	static unsigned int next;
	struct file *f;
	int none, i;

	for (i = 0; i < FILES; i++) {
		f = &shared->files[(next += 7) % FILES];
		none = 0;
		if (!__atomic_compare_exchange_n(&f->users, &none, 1, false,
						 __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
			continue;
		take(&f->lock, true);
		memset(&f->ino, 0, sizeof(*f) - offsetof(struct file, ino));
		return f;
	}
	fail(DIED, "the model has no room for one more file");
}

/* The file may have been immutable since it had so many changes of that. */
static bool maybe_immutable(const struct file *f, unsigned int before)
{
	return f && ((before & 1) ||
		     __atomic_load_n(&f->chattrs, __ATOMIC_SEQ_CST) != before);
}

static unsigned int chattrs_of(const struct file *f)
{
	return f ? __atomic_load_n(&f->chattrs, __ATOMIC_SEQ_CST) : 0;
}

/* Open name @n.  The file of the model comes with it, held. */
static int open_name(int n, int flags, struct file **f)
{
	unsigned int chattrs;
	bool immutable;
	int fd, err = 0;

	self->file_name = n;
	take(&shared->names[n].lock, false);
	*f = file_of(n);
	chattrs = chattrs_of(*f);
	fd = open(path_of(n), flags | O_CLOEXEC);
	if (fd < 0)
		err = -errno;
	if (!*f) {
		need(METADATA, err == -ENOENT);
	} else {
		need(METADATA, err != -ENOENT);
		if (fd >= 0)
			hold_file(*f);
	}
	immutable = maybe_immutable(*f, chattrs);
	drop(&shared->names[n].lock);
	if (err)
		return flags & O_ACCMODE ?
		       allow(err, ENOENT, ETXTBSY, immutable ? EPERM : ETXTBSY) :
		       allow(err, ENOENT);
	return fd;
}

static void close_file(int fd, struct file *f)
{
	close(fd);
	put_file(f);
}

/* Are @len bytes from @offset what the file should have there? */
static void compare(const struct file *f, const void *buf, off_t offset, size_t len,
		    const char *how)
{
	unsigned char want[BLK];
	const unsigned char *have;
	size_t n, i;
	__u64 word;
	off_t pos;

	for (pos = offset; pos < offset + (off_t)len; pos += n) {
		n = offset + len - pos < BLK ? offset + len - pos : BLK;
		have = buf + (pos - offset);
		fill(want, f->blocks[pos / BLK].id);
		if (!memcmp(have, want, n))
			continue;
		for (i = 0; i < n && have[i] == want[i]; i++)
			;
		memcpy(&word, have, n < sizeof(word) ? n : sizeof(word));
		fail(MISMATCH,
		     "%s of inode %lu (%zd bytes) at %zd: should be contents %u and is %u (first word %llx)",
		     how, (unsigned long)f->ino, (ssize_t)f->size, (ssize_t)(pos + i),
		     f->blocks[pos / BLK].id, (unsigned int)(word >> 32),
		     word);
	}
}

/* Some blocks of a file that isn't empty, in @offset; at most what @buf holds. */
static size_t some_range(struct rng *r, const struct file *f, off_t *offset)
{
	unsigned int blocks = blocks_of(f);
	unsigned int first = below(r, blocks), count = 1 + below(r, 8);

	*offset = (off_t)first * BLK;
	if (f->size - *offset < (off_t)count * BLK)
		return f->size - *offset;
	return (size_t)count * BLK;
}

static void compare_read(struct file *f, int fd, off_t offset, size_t len, const char *how)
{
	ssize_t n = pread(fd, buffer, (len + BLK - 1) / BLK * BLK, offset);

	need(REFUSED, n >= 0);
	if (n != (ssize_t)len)
		fail(MISMATCH, "%s of inode %lu, size %zd: %zd bytes at %zd instead of %zu",
		     how, (unsigned long)f->ino, (ssize_t)f->size, n, (ssize_t)offset, len);
	compare(f, buffer, offset, len, how);
}

/* Whatever stat tells of the file, and its extended attribute. */
static void compare_metadata(const struct file *f, int fd)
{
	unsigned int xattr = 0;
	struct stat st;
	ssize_t n;

	need(REFUSED, !fstat(fd, &st));
	n = fgetxattr(fd, "user.v", &xattr, sizeof(xattr));
	need(REFUSED, n == sizeof(xattr) || errno == ENODATA);
	if (st.st_ino != f->ino || st.st_size != f->size || st.st_uid != f->uid ||
	    (st.st_mode & 07777) != f->mode || st.st_nlink != f->nlink ||
	    (f->mtime && st.st_mtime != f->mtime) || xattr != f->xattr)
		fail(METADATA,
		     "inode %lu (should be %lu), size %zd (%zd), uid %u (%u), mode %o (%o), nlink %lu (%lu), mtime %ld (%ld), xattr %u (%u)",
		     (unsigned long)st.st_ino, (unsigned long)f->ino, (ssize_t)st.st_size,
		     (ssize_t)f->size, st.st_uid, f->uid, st.st_mode & 07777, f->mode,
		     (unsigned long)st.st_nlink, (unsigned long)f->nlink,
		     (long)st.st_mtime, (long)f->mtime, xattr, f->xattr);
}

/* Has the kernel to find the two identical, as far as their blocks go? */
static bool same_places(const struct file *a, const struct file *b)
{
	bool some = false;
	unsigned int i;

	if (a->size != b->size)
		return false;
	for (i = 0; i < blocks_of(a); i++) {
		if (a->blocks[i].place != b->blocks[i].place)
			return false;
		some = some || a->blocks[i].place;
	}
	return some;
}

static bool same_contents(const struct file *a, const struct file *b)
{
	unsigned int i;

	if (a->size != b->size)
		return false;
	for (i = 0; i < blocks_of(a); i++)
		if (a->blocks[i].id != b->blocks[i].id)
			return false;
	return true;
}

static void copy_blocks(struct file *dst, unsigned int to, const struct file *src,
			unsigned int from, unsigned int count)
{
	dst->scattered = dst->scattered || src->scattered;
	memmove(&dst->blocks[to], &src->blocks[from], count * sizeof(dst->blocks[0]));
}

static void clear_blocks(struct file *f, unsigned int from, unsigned int count)
{
	memset(&f->blocks[from], 0, count * sizeof(f->blocks[0]));
}

/*
 * Choosing
 */

static int any_name(struct rng *r)
{
	return below(r, NAMES);
}

/* The first of a family always keeps its data and its name. */
static int changeable_name(struct rng *r)
{
	return FAMILIES + below(r, NAMES - FAMILIES);
}

/* Most often one of the same family. */
static int relative(struct rng *r, int n)
{
	return one_in(r, 25) ? any_name(r) :
	       n % FAMILIES + FAMILIES * below(r, NAMES / FAMILIES);
}

/* An aligned range within the file's whole blocks; false if there is none. */
static bool whole_blocks(struct rng *r, off_t size, unsigned int *first, unsigned int *count)
{
	unsigned int blocks = size / BLK;

	if (!blocks)
		return false;
	*first = below(r, blocks);
	*count = 1 + below(r, blocks - *first);
	return true;
}

/*
 * Aliases
 */

/* While @fd, an alias, is open, neither can change: all of it can be compared. */
static void compare_frozen(struct rng *r, int fd, int donor_fd)
{
	static unsigned char other[8 * BLK];
	struct fs_mapping_info info;
	const double begin = now();
	struct stat st, donor;
	ssize_t n, m;
	off_t offset;
	int again, either, err;

	need(REFUSED, !ioctl(fd, FS_IOC_MAPPING_INFO, &info));
	need(METADATA, info.state & ALIAS);
	need(METADATA, info.donor_ino);
	need(REFUSED, !fstat(fd, &st) && !fstat(donor_fd, &donor));
	need(MISMATCH, st.st_size == donor.st_size);
	/* @fd itself was opened before and may have pages of its own. */
	again = open(path_of_fd(fd), O_RDONLY | O_CLOEXEC);
	need(REFUSED, again >= 0);
	offset = (off_t)below(r, (st.st_size + BLK - 1) / BLK) * BLK;
	n = pread(again, buffer, sizeof(other), offset);
	m = pread(donor_fd, other, sizeof(other), offset);
	need(REFUSED, n > 0);
	if (n != m || memcmp(buffer, other, n))
		fail(MISMATCH, "alias %lu and donor %lu differ at %zd", (unsigned long)st.st_ino,
		     (unsigned long)donor.st_ino, (ssize_t)offset);
	close(again);
	either = one_in(r, 2) ? fd : donor_fd;
	/* It may be immutable for a moment, which is told first. */
	while ((err = try_open(path_of_fd(either), O_WRONLY)) == -EPERM &&
	       now() - begin < hang / 2)
		pause_ms(1);
	need(REFUSED, err == -ETXTBSY || (err == -EROFS && maybe_readonly()));
}

static unsigned int some_flags(struct rng *r)
{
	return one_in(r, 2) ? KEEP : 0;
}

/* Nothing is locked: names come and go, files change, others do the same. */
static int op_alias(struct rng *r)
{
	int n = any_name(r), donor_name = relative(r, n), fd, donor_fd, err;
	unsigned int flags = some_flags(r);

	self->file_name = n;
	fd = open(path_of(n), O_RDONLY | O_CLOEXEC);
	err = fd < 0 ? -errno : 0;
	donor_fd = open(path_of(donor_name), O_RDONLY | O_CLOEXEC);
	if (donor_fd < 0)
		err = -errno;
	if (!err)
		err = alias_fd(fd, donor_fd, flags);
	if (!err)
		compare_frozen(r, fd, donor_fd);
	close(fd);
	close(donor_fd);
	return allow(err, EBADE, EBUSY, EINVAL, ENOENT, ETXTBSY);
}

static int alias_by(uid_t uid, int fd, int donor_fd, unsigned int flags)
{
	int err;

	need(REFUSED, !seteuid(uid));
	err = alias_fd(fd, donor_fd, flags);
	need(REFUSED, !seteuid(0));
	return err;
}

/*
 * Both are locked against changes, so what has to come out is known: pass on @err of a
 * call by @uid that made @f an alias of @donor.
 */
static int foretold(int err, const struct file *f, const struct file *donor, uid_t uid)
{
	if (f->scattered || donor->scattered) {
		allow(err, EBADE, EBUSY, ENOENT, ETXTBSY, EINVAL, uid ? EPERM : EBADE);
		need(MISMATCH, err || same_contents(f, donor));
	} else if (same_places(f, donor)) {
		allow(err, EBUSY, ENOENT, ETXTBSY, EINVAL, uid ? EPERM : EBUSY);
	} else {
		allow(err, EBADE, EBUSY, ENOENT, ETXTBSY,
		      f->size && donor->size ? EBADE : EINVAL, uid ? EPERM : EBADE);
		need(MISMATCH, err);
	}
	return err;
}

static int op_alias_foretold(struct rng *r)
{
	int n = any_name(r), donor_name = relative(r, n), fd, donor_fd, err = -ENOENT;
	uid_t uid = one_in(r, 3) ? owners[1 + below(r, 2)] : 0;
	unsigned int flags = some_flags(r);
	struct file *f, *donor;

	fd = open_name(n, O_RDONLY, &f);
	if (fd < 0)
		return fd;
	donor_fd = open_name(donor_name, O_RDONLY, &donor);
	if (donor_fd < 0) {
		close_file(fd, f);
		return donor_fd;
	}
	self->file_name = n;
	take_two(&f->lock, false, &donor->lock, false);
	err = alias_by(uid, fd, donor_fd, flags);
	if (f == donor) {
		/* An alias stands for its donor, which is another file. */
		allow(err, EINVAL, ENOENT, ETXTBSY, uid ? EPERM : EINVAL);
	} else if (uid && (flags || f->uid != uid)) {
		/* A donor that is an alias may stand for this file: EINVAL. */
		allow(err, EPERM, EINVAL);
		need(REFUSED, err);
	} else {
		foretold(err, f, donor, uid);
	}
	if (!err)
		compare_frozen(r, fd, donor_fd);
	drop_two(&f->lock, &donor->lock);
	close_file(fd, f);
	close_file(donor_fd, donor);
	return err;
}

/* n <- n+1 <- n+2 ... and round again: no chain and no loop may come of it. */
static int op_alias_ring(struct rng *r)
{
	int n = any_name(r), step = FAMILIES * (1 + below(r, NAMES / FAMILIES - 1));
	unsigned int count = 2 + below(r, 5);
	int err = 0, some = -EBUSY;

	self->file_name = n;
	for (; count; count--) {
		err = alias_file(path_of(n), path_of((n + step) % NAMES), some_flags(r));
		allow(err, EBADE, EBUSY, EINVAL, ENOENT, ETXTBSY);
		some = err ? some : 0;
		n = (n + step) % NAMES;
	}
	return some;
}

static int op_release(struct rng *r)
{
	self->file_name = any_name(r);
	return allow(release_file(path_of(self->file_name)), ENOENT);
}

static int op_info(struct rng *r)
{
	int n = any_name(r), fd;
	struct fs_mapping_info info;
	struct file *f;

	fd = open_name(n, O_RDONLY, &f);
	if (fd < 0)
		return fd;
	need(REFUSED, !ioctl(fd, FS_IOC_MAPPING_INFO, &info));
	need(METADATA, info.state == ORDINARY || info.state == ALIAS ||
	     info.state == KEPT || info.state == DONOR);
	need(METADATA, !!info.nr_aliases == (info.state == DONOR));
	need(METADATA, !!info.donor_ino == !!(info.state & ALIAS));
	/* On btrfs, a file in a snapshot has the number of the one that it was made from. */
	need(METADATA, is_btrfs() || info.donor_ino != f->ino);
	close_file(fd, f);
	return 0;
}

/*
 * Reading
 */

/* Open a name and lock its file for reading; an empty one counts as none. */
static int begin_read(struct rng *r, int flags, struct file **f, off_t *offset, size_t *len)
{
	int fd = open_name(any_name(r), flags, f);

	if (fd < 0)
		return fd;
	take(&(*f)->lock, false);
	if ((*f)->size) {
		*len = some_range(r, *f, offset);
		return fd;
	}
	drop(&(*f)->lock);
	close_file(fd, *f);
	return -ENODATA;
}

static int end_read(int fd, struct file *f)
{
	drop(&f->lock);
	close_file(fd, f);
	return 0;
}

static int read_by(struct rng *r, int flags, const char *what)
{
	struct file *f;
	off_t offset;
	size_t len;
	int fd = begin_read(r, flags, &f, &offset, &len);

	if (fd < 0)
		return fd;
	compare_read(f, fd, offset, len, what);
	return end_read(fd, f);
}

static int op_read(struct rng *r)
{
	return read_by(r, O_RDONLY, "read");
}

static int op_read_direct(struct rng *r)
{
	return read_by(r, O_RDONLY | O_DIRECT, "direct read");
}

static int op_read_map(struct rng *r)
{
	struct file *f;
	off_t offset;
	void *map;
	size_t len;
	int fd = begin_read(r, O_RDONLY, &f, &offset, &len);

	if (fd < 0)
		return fd;
	map = mmap(NULL, len, PROT_READ, one_in(r, 2) ? MAP_SHARED : MAP_PRIVATE, fd, offset);
	need(REFUSED, map != MAP_FAILED);
	compare(f, map, offset, len, "mapping");
	need(REFUSED, !munmap(map, len));
	return end_read(fd, f);
}

/* What is in the page cache already; that may be nothing. */
static int op_read_nowait(struct rng *r)
{
	struct iovec iov = { .iov_base = buffer };
	struct file *f;
	off_t offset;
	size_t len;
	ssize_t n;
	int fd = begin_read(r, O_RDONLY, &f, &offset, &len);

	if (fd < 0)
		return fd;
	iov.iov_len = len;
	n = preadv2(fd, &iov, 1, offset, RWF_NOWAIT);
	if (n < 0)
		n = -errno;
	else
		compare(f, buffer, offset, n, "preadv2");
	need(MISMATCH, n && n <= (ssize_t)len);
	end_read(fd, f);
	return allow(n < 0 ? n : 0, EAGAIN);
}

static int op_splice(struct rng *r)
{
	bool send = one_in(r, 2);
	struct file *f;
	off_t offset;
	ssize_t n;
	size_t len;
	int pipe_fd[2], fd = begin_read(r, O_RDONLY, &f, &offset, &len);
	off_t pos;

	if (fd < 0)
		return fd;
	pos = offset;
	need(REFUSED, !pipe2(pipe_fd, O_CLOEXEC));
	n = send ? sendfile(pipe_fd[1], fd, &pos, len) :
		   splice(fd, &pos, pipe_fd[1], NULL, len, 0);
	need(REFUSED, n > 0 && n <= (ssize_t)len);
	need(REFUSED, read(pipe_fd[0], buffer, n) == n);
	compare(f, buffer, offset, n, send ? "sendfile" : "splice");
	close(pipe_fd[0]);
	close(pipe_fd[1]);
	return end_read(fd, f);
}

/* Half of the time not by this process, but by a thread of the kernel. */
static int op_read_uring(struct rng *r)
{
	struct file *f;
	off_t offset;
	size_t len;
	int res, fd = begin_read(r, O_RDONLY, &f, &offset, &len);

	if (fd < 0)
		return fd;
	res = uring(&(struct io_uring_sqe){
		.opcode = IORING_OP_READ, .flags = one_in(r, 2) ? IOSQE_ASYNC : 0,
		.fd = fd, .off = offset, .addr = (unsigned long)buffer, .len = len,
	});
	need(REFUSED, res > 0 && res <= (int)len);
	compare(f, buffer, offset, res, "io_uring read");
	return end_read(fd, f);
}

static int op_advise(struct rng *r)
{
	static const int advice[] = {
		POSIX_FADV_DONTNEED, POSIX_FADV_WILLNEED, POSIX_FADV_RANDOM,
	};
	struct file *f;
	int fd = open_name(any_name(r), O_RDONLY, &f);

	if (fd < 0)
		return fd;
	need(REFUSED, !posix_fadvise(fd, 0, 0, advice[below(r, ARRAY_SIZE(advice))]));
	close_file(fd, f);
	return 0;
}

static int op_stat(struct rng *r)
{
	struct file *f;
	int fd = open_name(any_name(r), O_RDONLY, &f);

	if (fd < 0)
		return fd;
	take(&f->lock, false);
	compare_metadata(f, fd);
	return end_read(fd, f);
}

/* Through a device that reads the file as the kernel does. */
static int op_read_loop(struct rng *r)
{
	struct loop_config config = {
		.info.lo_flags = LO_FLAGS_AUTOCLEAR | LO_FLAGS_READ_ONLY,
	};
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), loop, nr, err;
	struct file *f;
	char dev[32];
	off_t offset;
	size_t len;
	ssize_t n;
	int fd = begin_read(r, O_RDONLY, &f, &offset, &len);

	need(REFUSED, control >= 0);
	if (fd < 0) {
		close(control);
		return fd;
	}
	config.fd = fd;
	/* Somebody else may take the number that was free a moment ago. */
	do {
		nr = ioctl(control, LOOP_CTL_GET_FREE);
		need(REFUSED, nr >= 0);
		snprintf(dev, sizeof(dev), "/dev/loop%d", nr);
		loop = open(dev, O_RDONLY | O_CLOEXEC);
		need(REFUSED, loop >= 0);
		err = result(ioctl(loop, LOOP_CONFIGURE, &config));
		if (err)
			close(loop);
	} while (err == -EBUSY);
	errno = -err;
	need(REFUSED, !err);
	n = pread(loop, buffer, len, offset);
	/* A device consists of whole sectors, a file need not. */
	if (offset + (off_t)len > f->size / SECTOR * SECTOR)
		len = f->size / SECTOR * SECTOR - offset;
	if (n != (ssize_t)len)
		fail(MISMATCH, "loop device: %zd bytes at %zd instead of %zu", n,
		     (ssize_t)offset, len);
	compare(f, buffer, offset, n, "loop device");
	close(loop);
	close(control);
	return end_read(fd, f);
}

/* Who watches the file is told that somebody else opens and reads it. */
static int op_watch(struct rng *r)
{
	struct file *f;
	int fd = open_name(any_name(r), O_RDONLY, &f), notify, again;
	__u32 seen = 0;
	char *event;
	ssize_t n;

	if (fd < 0)
		return fd;
	notify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	need(REFUSED, notify >= 0);
	need(REFUSED, inotify_add_watch(notify, path_of_fd(fd),
					IN_OPEN | IN_ACCESS | IN_CLOSE_NOWRITE) >= 0);
	again = open(path_of_fd(fd), O_RDONLY | O_CLOEXEC);
	need(REFUSED, again >= 0 && pread(again, buffer, 1, 0) >= 0 && !close(again));
	n = read(notify, buffer, (size_t)MAX_BLOCKS * BLK);
	need(REFUSED, n > 0);
	for (event = (char *)buffer; event < (char *)buffer + n;
	     event += sizeof(struct inotify_event) + ((struct inotify_event *)event)->len)
		seen |= ((struct inotify_event *)event)->mask;
	need(METADATA, (seen & IN_OPEN) && (seen & IN_CLOSE_NOWRITE));
	close(notify);
	close_file(fd, f);
	return 0;
}

/* How much is cached: never more than there is. */
static int op_ask_cache(struct rng *r)
{
	struct {
		__u64 cache, dirty, writeback, evicted, recently_evicted;
	} stat = { };
	struct {
		__u64 off, len;
	} range = { };
	unsigned char pages[MAX_BLOCKS];
	struct file *f;
	off_t offset;
	void *map;
	size_t len;
	int fd = begin_read(r, O_RDONLY, &f, &offset, &len);

	if (fd < 0)
		return fd;
	range.off = offset;
	range.len = len;
	if (linux_since(6, 5))
		need(REFUSED, !syscall(__NR_cachestat, fd, &range, &stat, 0));
	need(METADATA, stat.cache <= (len + BLK - 1) / BLK && stat.dirty <= stat.cache);
	map = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, offset);
	need(REFUSED, map != MAP_FAILED);
	need(REFUSED, !mincore(map, len, pages));
	need(REFUSED, !munmap(map, len));
	return end_read(fd, f);
}

static bool is_program(const struct file *f)
{
	unsigned int i;

	if (f->size != program_size)
		return false;
	for (i = 0; i < blocks_of(f); i++)
		if (f->blocks[i].id != i + 1)
			return false;
	return true;
}

static int op_exec(struct rng *r)
{
	int n = one_in(r, 2) ? 0 : relative(r, 0), status, fd, err;
	char *const argv[] = { "stress", "--probe", NULL };
	struct file *f;
	pid_t pid;

	fd = open_name(n, O_RDONLY, &f);
	if (fd < 0)
		return fd;
	take(&f->lock, false);
	if (!is_program(f)) {
		end_read(fd, f);
		return -ENOEXEC;
	}
	pid = vfork();
	need(REFUSED, pid >= 0);
	if (!pid) {
		fexecve(fd, argv, environ);
		_exit(errno);
	}
	need(REFUSED, waitpid(pid, &status, 0) == pid);
	if (!WIFEXITED(status))
		fail(MISMATCH, "the program died of signal %d", WTERMSIG(status));
	err = WEXITSTATUS(status) == PROBE_STATUS ? 0 : -WEXITSTATUS(status);
	end_read(fd, f);
	/* Somebody has it open for writing. */
	return allow(err, ETXTBSY);
}

/*
 * Holding files open, and mapped
 */

static void drop_handle(struct handle *h)
{
	if (h->kind == MAP || h->kind == PRIVATE)
		need(REFUSED, !munmap(h->map, h->len));
	else if (h->kind != FREE)
		close(h->fd);
	if (h->kind != FREE)
		put_file(h->file);
	h->kind = FREE;
	h->locked = false;
}

static void hold_map(struct rng *r, struct handle *h)
{
	bool private = h->kind == PRIVATE;

	h->len = (h->file->size + BLK - 1) / BLK * BLK;
	h->map = mmap(NULL, h->len, private ? PROT_READ | PROT_WRITE : PROT_READ,
		      private ? MAP_PRIVATE : MAP_SHARED, h->fd, 0);
	need(REFUSED, h->map != MAP_FAILED);
	if (private) {
		h->block = below(r, h->len / BLK);
		h->id = new_id();
		h->cuts = h->file->cuts;
		fill(h->map + (size_t)h->block * BLK, h->id);
	}
	close(h->fd);
}

static int op_hold(struct rng *r)
{
	struct handle *h = &handles[below(r, HANDLES)];
	int kind = one_in(r, 8) ? WRITER : READER + 2 * below(r, 2);
	int n = kind == WRITER ? changeable_name(r) : any_name(r);

	if (kind == MAP && one_in(r, 2))
		kind = PRIVATE;
	drop_handle(h);
	h->name = n;
	h->fd = open_name(n, kind == WRITER ? O_RDWR : O_RDONLY, &h->file);
	if (h->fd < 0)
		return h->fd;
	h->kind = kind;
	if (kind != MAP && kind != PRIVATE)
		return 0;
	take(&h->file->lock, false);
	if (h->file->size) {
		hold_map(r, h);
	} else {
		close_file(h->fd, h->file);
		h->kind = FREE;
	}
	drop(&h->file->lock);
	return h->kind == FREE ? -ENODATA : 0;
}

/* A random part of what a held mapping shows; the file may be shorter by now. */
static void check_map(struct rng *r, struct handle *h)
{
	struct file *f = h->file;
	unsigned char own[BLK];
	off_t offset;
	size_t len;

	if (h->kind == PRIVATE && h->cuts != f->cuts)
		return;
	len = some_range(r, f, &offset);
	if (offset >= (off_t)h->len)
		return;
	if (offset + len > h->len)
		len = h->len - offset;
	if (h->kind == MAP) {
		compare(f, h->map + offset, offset, len, "held mapping");
		return;
	}
	fill(own, h->id);
	if (memcmp(h->map + (size_t)h->block * BLK, own, BLK))
		fail(MISMATCH, "private page %u of inode %lu was changed by others",
		     h->block, (unsigned long)f->ino);
	if (offset / BLK <= h->block && h->block < (offset + len + BLK - 1) / BLK)
		len = (size_t)h->block * BLK - offset;
	compare(f, h->map + offset, offset, len, "held private mapping");
}

static int op_check_held(struct rng *r)
{
	struct handle *h = &handles[below(r, HANDLES)];
	struct file *f = h->file;
	off_t offset;
	size_t len;

	if (h->kind == FREE)
		return -EBADF;
	take(&f->lock, false);
	if (h->kind == READER || h->kind == WRITER)
		compare_metadata(f, h->fd);
	if (!f->size) {
		drop(&f->lock);
		return 0;
	}
	if (h->kind == READER || h->kind == WRITER) {
		len = some_range(r, f, &offset);
		compare_read(f, h->fd, offset, len, "held file");
	} else {
		check_map(r, h);
	}
	drop(&f->lock);
	return 0;
}

static int op_pageout(struct rng *r)
{
	struct handle *h = &handles[below(r, HANDLES)];
	int advice = one_in(r, 2) ? MADV_PAGEOUT : MADV_COLD;

	if (h->kind != MAP && h->kind != PRIVATE)
		return -EBADF;
	return allow(result(madvise(h->map, h->len, advice)), EAGAIN,
		     h->locked ? EINVAL : EAGAIN);
}

/* A file that is shorter by now has no pages to lock or to offline. */
static int op_mlock(struct rng *r)
{
	struct handle *h = &handles[below(r, HANDLES)];
	int err;

	/* Of a private mapping, copies of all pages would be made. */
	if (h->kind != MAP)
		return -EBADF;
	err = result(mlock(h->map, h->len));
	h->locked = one_in(r, 2);
	if (!h->locked)
		need(REFUSED, !munlock(h->map, h->len));
	return allow(err, ENOMEM, EAGAIN);
}

/*
 * Have the contents of a page moved.  The page is lost for good: not too often.
 * Whoever uses it just now is an obstacle.
 */
static int op_offline(struct rng *r)
{
	struct handle *h = &handles[below(r, HANDLES)];
	size_t offset;

	if (h->kind != MAP || !one_in(r, 4))
		return -EBADF;
	offset = (size_t)below(r, h->len / BLK) * BLK;
	return allow(result(madvise(h->map + offset, BLK, MADV_SOFT_OFFLINE)),
		     EBUSY, EIO, EFAULT);
}

/* The files are too small for huge pages, but khugepaged looks at the mappings. */
static int op_huge(struct rng *r)
{
	struct handle *h = &handles[below(r, HANDLES)];

	if (h->kind != MAP && h->kind != PRIVATE)
		return -EBADF;
	if (one_in(r, 2))
		return allow_readonly(result(madvise(h->map, h->len, MADV_HUGEPAGE)));
	return allow(result(madvise(h->map, h->len, MADV_COLLAPSE)), EINVAL);
}

static int op_drop_held(struct rng *r)
{
	struct handle *h = &handles[below(r, HANDLES)];

	if (h->kind == FREE)
		return -EBADF;
	drop_handle(h);
	return 0;
}

/* Alias what is held open already, perhaps unlinked, and read on. */
static int op_alias_held(struct rng *r)
{
	struct handle *h = &handles[below(r, HANDLES)];
	int donor = relative(r, h->name), fd, err;

	if (h->kind != READER)
		return -EBADF;
	fd = open(path_of(donor), O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return allow(-errno, ENOENT);
	err = one_in(r, 2) ? alias_fd(h->fd, fd, some_flags(r)) :
			     alias_fd(fd, h->fd, some_flags(r));
	close(fd);
	return allow(err, EBADE, EBUSY, EINVAL, ENOENT, ETXTBSY);
}

/*
 * Changing data
 */

/* The data of @f has changed, or may have. */
static void data_changed(struct file *f)
{
	f->mtime = 0;
}

static void write_block(struct rng *r, struct file *f, int fd, unsigned int block,
			struct block to, bool direct)
{
	void *map;

	fill(buffer, to.id);
	if (direct || one_in(r, 2)) {
		need(REFUSED, pwrite(fd, buffer, BLK, (off_t)block * BLK) == BLK);
	} else {
		if ((off_t)block * BLK == f->size)
			need(REFUSED, !ftruncate(fd, f->size + BLK));
		map = mmap(NULL, BLK, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)block * BLK);
		need(REFUSED, map != MAP_FAILED);
		memcpy(map, buffer, BLK);
		need(REFUSED, !munmap(map, BLK));
		/* All of a large folio becomes dirty, and gets new blocks. */
		f->scattered = true;
	}
	f->blocks[block] = to;
	if (f->size < (off_t)(block + 1) * BLK)
		f->size = (off_t)(block + 1) * BLK;
	data_changed(f);
}

static int op_write(struct rng *r)
{
	bool direct = one_in(r, 4);
	unsigned int blocks, block;
	struct file *f;
	int fd = open_name(changeable_name(r), direct ? O_RDWR | O_DIRECT : O_RDWR, &f);
	__u32 id;

	if (fd < 0)
		return fd;
	take(&f->lock, true);
	blocks = f->size / BLK;
	/* One more, unless that would be beyond a last block that isn't full. */
	if (f->size % BLK == 0 && blocks < MAX_BLOCKS)
		blocks++;
	if (blocks) {
		block = below(r, blocks);
		id = new_id();
		write_block(r, f, fd, block, (struct block){ id, id }, direct);
	}
	return end_read(fd, f);
}

static int op_write_held(struct rng *r)
{
	struct handle *h = &handles[below(r, HANDLES)];
	struct file *f = h->file;
	unsigned int first, count;
	__u32 id;

	if (h->kind != WRITER)
		return -EBADF;
	take(&f->lock, true);
	if (whole_blocks(r, f->size, &first, &count)) {
		id = new_id();
		write_block(r, f, h->fd, first, (struct block){ id, id }, false);
	}
	drop(&f->lock);
	return 0;
}

/* A file that isn't the file system's, with what is to be written. */
static int source_of(__u32 id)
{
	int fd = memfd_create("stress", MFD_CLOEXEC);

	fill(buffer, id);
	need(REFUSED, fd >= 0 && pwrite(fd, buffer, BLK, 0) == BLK);
	return fd;
}

enum { SPLICE, SENDFILE, URING, PWRITEV2 };

static ssize_t write_block_by(struct rng *r, int way, int fd, off_t offset, __u32 id)
{
	struct iovec iov = { .iov_base = buffer, .iov_len = BLK };
	int pipe_fd[2], src;
	ssize_t n;

	fill(buffer, id);
	switch (way) {
	case SPLICE:
		need(REFUSED, !pipe2(pipe_fd, O_CLOEXEC));
		need(REFUSED, write(pipe_fd[1], buffer, BLK) == BLK);
		n = splice(pipe_fd[0], NULL, fd, &offset, BLK, 0);
		close(pipe_fd[0]);
		close(pipe_fd[1]);
		return n;
	case SENDFILE:
		src = source_of(id);
		need(REFUSED, lseek(fd, offset, SEEK_SET) == offset);
		n = sendfile(fd, src, &(off_t){ 0 }, BLK);
		close(src);
		return n;
	case URING:
		return uring(&(struct io_uring_sqe){
			.opcode = IORING_OP_WRITE, .flags = one_in(r, 2) ? IOSQE_ASYNC : 0,
			.fd = fd, .off = offset, .addr = (unsigned long)buffer, .len = BLK,
		});
	default:
		return pwritev2(fd, &iov, 1, offset, one_in(r, 2) ? RWF_DSYNC : 0);
	}
}

/* The same as op_write() in all other ways that the kernel has. */
static int write_by(struct rng *r, int way)
{
	unsigned int blocks, block;
	struct file *f;
	int fd = open_name(changeable_name(r), O_RDWR, &f);
	__u32 id;

	if (fd < 0)
		return fd;
	take(&f->lock, true);
	blocks = f->size / BLK;
	if (blocks) {
		block = below(r, blocks);
		id = new_id();
		need(REFUSED, write_block_by(r, way, fd, (off_t)block * BLK, id) == BLK);
		f->blocks[block] = (struct block){ id, id };
		data_changed(f);
	}
	return end_read(fd, f);
}

static int op_write_splice(struct rng *r)
{
	return write_by(r, SPLICE);
}

static int op_write_sendfile(struct rng *r)
{
	return write_by(r, SENDFILE);
}

static int op_write_uring(struct rng *r)
{
	return write_by(r, URING);
}

static int op_write_pwritev2(struct rng *r)
{
	return write_by(r, PWRITEV2);
}

/* Was the name unlinked by which @fd was opened?  swapon(2) looks at that. */
static bool lost_name(int fd)
{
	static const char deleted[] = " (deleted)";
	char target[PATH_MAX];
	ssize_t len = readlink(path_of_fd(fd), target, sizeof(target) - 1);

	need(REFUSED, len >= 0);
	target[len] = '\0';
	return len > (ssize_t)strlen(deleted) &&
	       !strcmp(target + len - strlen(deleted), deleted);
}

/*
 * A file of ours is no area for swapping, which is found out in what it begins with;
 * a frozen one is refused before.
 */
static int op_swapon(struct rng *r)
{
	struct file *f;
	int fd = open_name(changeable_name(r), O_RDONLY, &f), err;
	unsigned int chattrs;

	if (fd < 0)
		return fd;
	chattrs = chattrs_of(f);
	err = result(swapon(path_of_fd(fd), 0));
	need(REFUSED, err);
	allow(err, EINVAL, EBUSY, ETXTBSY, maybe_immutable(f, chattrs) ? EPERM : EINVAL,
	      lost_name(fd) ? ENOENT : EINVAL);
	close_file(fd, f);
	return err;
}

/* Write what is there already: equal contents on other blocks. */
static int op_rewrite(struct rng *r)
{
	struct file *f;
	int fd = open_name(changeable_name(r), O_RDWR, &f);
	unsigned int first, count, i;

	if (fd < 0)
		return fd;
	take(&f->lock, true);
	if (whole_blocks(r, f->size, &first, &count)) {
		for (i = first; i < first + count; i++)
			write_block(r, f, fd, i, (struct block){ f->blocks[i].id, new_id() },
				    false);
	}
	return end_read(fd, f);
}

static void set_size(struct file *f, off_t size)
{
	unsigned int blocks = (size + BLK - 1) / BLK;

	clear_blocks(f, blocks, MAX_BLOCKS - blocks);
	f->size = size;
	f->scattered = f->scattered && size;
	f->cuts++;
	data_changed(f);
}

/* By name, as ftruncate() needs a descriptor for writing. */
static int op_truncate(struct rng *r)
{
	struct file *f;
	int fd = open_name(changeable_name(r), O_RDONLY, &f), err;
	off_t size;

	if (fd < 0)
		return fd;
	take(&f->lock, true);
	size = (off_t)below(r, blocks_of(f) + (f->size % BLK ? 0 : 3)) * BLK;
	if (size > (off_t)MAX_BLOCKS * BLK)
		size = 0;
	err = result(truncate(path_of_fd(fd), size));
	if (!err)
		set_size(f, size);
	end_read(fd, f);
	return allow(err, ETXTBSY);
}

static int op_open_trunc(struct rng *r)
{
	struct file *f;
	int fd = open_name(changeable_name(r), O_RDONLY, &f), err;

	if (fd < 0)
		return fd;
	take(&f->lock, true);
	err = try_open(path_of_fd(fd), O_WRONLY | O_TRUNC);
	if (!err)
		set_size(f, 0);
	end_read(fd, f);
	return allow(err, ETXTBSY);
}

static int op_fallocate(struct rng *r)
{
	static const int fallocate_modes[] = {
		FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_UNSHARE_RANGE | FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_COLLAPSE_RANGE,
		FALLOC_FL_INSERT_RANGE,
	};
	const int not_of_btrfs = FALLOC_FL_UNSHARE_RANGE | FALLOC_FL_COLLAPSE_RANGE |
				 FALLOC_FL_INSERT_RANGE;
	int mode = fallocate_modes[below(r, ARRAY_SIZE(fallocate_modes))];
	unsigned int first, count, i;
	struct file *f;
	int fd = open_name(changeable_name(r), O_RDWR, &f), err;

	if (fd < 0)
		return fd;
	take(&f->lock, true);
	if (!whole_blocks(r, f->size, &first, &count) ||
	    (mode == FALLOC_FL_COLLAPSE_RANGE && (off_t)(first + count) * BLK >= f->size) ||
	    (mode == FALLOC_FL_INSERT_RANGE && blocks_of(f) + count > MAX_BLOCKS)) {
		end_read(fd, f);
		return -ENODATA;
	}
	err = result(fallocate(fd, mode, (off_t)first * BLK, (off_t)count * BLK));
	if (is_btrfs() && (mode & not_of_btrfs)) {
		need(REFUSED, err == -EOPNOTSUPP);
		end_read(fd, f);
		return err;
	}
	need(REFUSED, !err);
	switch (mode) {
	case FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE:
	case FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE:
		clear_blocks(f, first, count);
		break;
	case FALLOC_FL_UNSHARE_RANGE | FALLOC_FL_KEEP_SIZE:
		for (i = first; i < first + count; i++)
			if (f->blocks[i].place)
				f->blocks[i].place = new_id();
		break;
	case FALLOC_FL_COLLAPSE_RANGE:
		copy_blocks(f, first, f, first + count, blocks_of(f) - first - count);
		set_size(f, f->size - (off_t)count * BLK);
		break;
	case FALLOC_FL_INSERT_RANGE:
		copy_blocks(f, first + count, f, first, blocks_of(f) - first);
		clear_blocks(f, first, count);
		set_size(f, f->size + (off_t)count * BLK);
		break;
	}
	f->cuts++;
	data_changed(f);
	return end_read(fd, f);
}

/* Open two names and lock their files, the first one for writing. */
static int begin_pair(int n, int flags, int from, int *fd, struct file **f,
		      int *src_fd, struct file **src)
{
	*src_fd = open_name(from, O_RDONLY, src);
	if (*src_fd < 0)
		return *src_fd;
	*fd = open_name(n, flags, f);
	if (*fd < 0) {
		close_file(*src_fd, *src);
		return *fd;
	}
	take_two(&(*f)->lock, true, &(*src)->lock, false);
	return 0;
}

static int end_pair(int fd, struct file *f, int src_fd, struct file *src, int err)
{
	drop_two(&f->lock, &src->lock);
	close_file(fd, f);
	close_file(src_fd, src);
	return err;
}

/*
 * On btrfs, extents have checksums or not, whichever file they are in: files of which
 * one has checksums and the other doesn't can't share any.
 */
static bool can_share(const struct file *f, const struct file *src)
{
	return f->nocow == src->nocow;
}

/* As a whole, so that the families don't fall apart. */
static int op_clone(struct rng *r)
{
	int n = changeable_name(r), from = one_in(r, 3) ? relative(r, n) : n % FAMILIES;
	int fd, src_fd, err;
	struct file *f, *src;

	err = begin_pair(n, O_RDWR, from, &fd, &f, &src_fd, &src);
	if (err)
		return err;
	if (f == src)
		return end_pair(fd, f, src_fd, src, -ENODATA);
	if (!can_share(f, src)) {
		need(REFUSED, ioctl(fd, FICLONE, src_fd) && errno == EINVAL);
		return end_pair(fd, f, src_fd, src, -EINVAL);
	}
	need(REFUSED, !ftruncate(fd, 0));
	need(REFUSED, !ioctl(fd, FICLONE, src_fd));
	set_size(f, 0);
	set_size(f, src->size);
	copy_blocks(f, 0, src, 0, MAX_BLOCKS);
	return end_pair(fd, f, src_fd, src, 0);
}

static int op_clone_range(struct rng *r)
{
	int n = changeable_name(r), from = any_name(r), fd, src_fd, err;
	struct file_clone_range range = { };
	unsigned int first, count, to;
	struct file *f, *src;

	err = begin_pair(n, O_RDWR, from, &fd, &f, &src_fd, &src);
	if (err)
		return err;
	if (f == src || !f->size || !whole_blocks(r, src->size, &first, &count))
		return end_pair(fd, f, src_fd, src, -ENODATA);
	if (count > f->size / BLK)
		count = f->size / BLK;
	to = below(r, f->size / BLK - count + 1);
	if (!count)
		return end_pair(fd, f, src_fd, src, -ENODATA);
	range.src_fd = src_fd;
	range.src_offset = (off_t)first * BLK;
	range.src_length = (off_t)count * BLK;
	range.dest_offset = (off_t)to * BLK;
	if (!can_share(f, src)) {
		need(REFUSED, ioctl(fd, FICLONERANGE, &range) && errno == EINVAL);
		return end_pair(fd, f, src_fd, src, -EINVAL);
	}
	need(REFUSED, !ioctl(fd, FICLONERANGE, &range));
	copy_blocks(f, to, src, first, count);
	f->cuts++;
	data_changed(f);
	return end_pair(fd, f, src_fd, src, 0);
}

static int op_copy_range(struct rng *r)
{
	int n = changeable_name(r), from = any_name(r), fd, src_fd, err;
	unsigned int first, count, to;
	struct file *f, *src;
	loff_t in, out;
	ssize_t len, done;

	err = begin_pair(n, O_RDWR, from, &fd, &f, &src_fd, &src);
	if (err)
		return err;
	if (f == src || !whole_blocks(r, src->size, &first, &count))
		return end_pair(fd, f, src_fd, src, -ENODATA);
	if (count > f->size / BLK)
		count = f->size / BLK;
	if (!count)
		return end_pair(fd, f, src_fd, src, -ENODATA);
	to = below(r, f->size / BLK - count + 1);
	in = (off_t)first * BLK;
	out = (off_t)to * BLK;
	for (len = (ssize_t)count * BLK; len; len -= done) {
		done = copy_file_range(src_fd, &in, fd, &out, len, 0);
		need(REFUSED, done > 0);
	}
	copy_blocks(f, to, src, first, count);
	/* It's a clone, if that can be done. */
	f->scattered = true;
	f->cuts++;
	data_changed(f);
	return end_pair(fd, f, src_fd, src, 0);
}

/* Through a descriptor for reading, which is all that root needs. */
static int op_dedupe(struct rng *r)
{
	int n = changeable_name(r), from = relative(r, n), fd, src_fd, err;
	unsigned int first, count, to, i;
	struct file *f, *src;
	bool equal = true;
	int tries = 0;
	long ret;

	err = begin_pair(n, O_RDONLY, from, &fd, &f, &src_fd, &src);
	if (err)
		return err;
	if (f == src || !whole_blocks(r, src->size, &first, &count))
		return end_pair(fd, f, src_fd, src, -ENODATA);
	to = one_in(r, 8) ? 0 : first;
	if (to + count > f->size / BLK)
		return end_pair(fd, f, src_fd, src, -ENODATA);
	for (i = 0; i < count; i++)
		equal = equal && src->blocks[first + i].id == f->blocks[to + i].id;
	/* Pages that are detached meanwhile, for the last alias of a donor, count as differing. */
	do
		ret = dedupe(src_fd, (off_t)first * BLK, fd, (off_t)to * BLK, (off_t)count * BLK);
	while (ret == -EBADE && equal && tries++ < 50);
	if (!can_share(f, src)) {
		allow(ret, EINVAL, ETXTBSY);
		need(REFUSED, ret < 0);
	} else if (ret >= 0) {
		need(MISMATCH, equal && ret == (long)count * BLK);
		copy_blocks(f, to, src, first, count);
	} else {
		allow(ret, ETXTBSY, equal ? ETXTBSY : EBADE);
	}
	return end_pair(fd, f, src_fd, src, ret < 0 ? ret : 0);
}

/*
 * Names and metadata
 */

/* A name that leads to @f, if to any, is about to be lost ... */
static void begin_lose(struct file *f)
{
	if (f)
		take(&f->lock, true);
}

/* ... and was, unless there was an error. */
static void end_lose(struct file *f, int err)
{
	if (!f)
		return;
	if (!err)
		f->nlink--;
	drop(&f->lock);
	if (!err)
		put_file(f);
}

static int lose_name(int n)
{
	struct file *f = file_of(n);
	int err;

	begin_lose(f);
	err = result(unlink(path_of(n)));
	end_lose(f, err);
	if (err == -ENOENT) {
		need(METADATA, !f);
		return err;
	}
	if (!err)
		shared->names[n].file = -1;
	return allow_readonly(err);
}

static void note_new(struct file *f, int fd)
{
	struct stat st;

	need(REFUSED, !fstat(fd, &st));
	f->ino = st.st_ino;
	f->nlink = 1;
}

/* Only a file that is empty can become so, or become another one again. */
static void make_nocow(struct file *f, int fd)
{
	int flags;

	need(REFUSED, !ioctl(fd, FS_IOC_GETFLAGS, &flags));
	flags |= FS_NOCOW_FL;
	need(REFUSED, !ioctl(fd, FS_IOC_SETFLAGS, &flags));
	f->nocow = true;
}

/*
 * A new file of the family in the place of an old one: a clone, or one that
 * differs in a block.
 */
static int replace(struct rng *r, int n, int from)
{
	bool over = one_in(r, 2), differs = one_in(r, 8);
	struct file *f, *old, *src;
	int fd, src_fd, err;
	unsigned int first, count;
	char temporary[sizeof(DIR) + 32];
	const char *path;
	__u32 id;

	src_fd = open_name(from, O_RDONLY, &src);
	if (src_fd < 0)
		return src_fd;
	self->file_name = n;
	snprintf(temporary, sizeof(temporary), DIR "/new%d", getpid());
	take(&shared->names[n].lock, true);
	path = over ? temporary : path_of(n);
	old = file_of(n);
	if (old && !over) {
		err = lose_name(n);
		if (err)
			goto out;
	}
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	err = allow_readonly(result(fd));
	if (err)
		goto out;
	f = new_file();
	note_new(f, fd);
	f->uid = owners[n / FAMILIES % ARRAY_SIZE(owners)];
	f->mode = modes[below(r, ARRAY_SIZE(modes))];
	need(REFUSED, !fchown(fd, f->uid, 0) && !fchmod(fd, f->mode));
	take(&src->lock, false);
	if (src->nocow)
		make_nocow(f, fd);
	need(REFUSED, !ioctl(fd, FICLONE, src_fd));
	f->size = src->size;
	copy_blocks(f, 0, src, 0, MAX_BLOCKS);
	drop(&src->lock);
	if (differs && whole_blocks(r, f->size, &first, &count)) {
		id = new_id();
		write_block(r, f, fd, first, (struct block){ id, id }, false);
	}
	if (over) {
		/* As long as the file is open, it can't become read-only. */
		begin_lose(old);
		need(REFUSED, !rename(temporary, path_of(n)));
		end_lose(old, 0);
	}
	close(fd);
	shared->names[n].file = f - shared->files;
	drop(&f->lock);
out:
	drop(&shared->names[n].lock);
	close_file(src_fd, src);
	return err;
}

static int op_replace(struct rng *r)
{
	int n = changeable_name(r);

	return replace(r, n, one_in(r, 6) ? relative(r, n) : n % FAMILIES);
}

/* Lock two different names for changing where they lead to. */
static void begin_names(int a, int b)
{
	self->file_name = b;
	take_two(&shared->names[a].lock, true, &shared->names[b].lock, true);
}

static int end_names(int a, int b, int err)
{
	drop_two(&shared->names[a].lock, &shared->names[b].lock);
	return err;
}

static int op_link(struct rng *r)
{
	int b = changeable_name(r), a = relative(r, b), err = 0;
	struct file *f;

	/* By another name, the first of a family could be changed. */
	if (a == b || a < FAMILIES)
		return -ENODATA;
	begin_names(a, b);
	f = file_of(a);
	if (!f)
		return end_names(a, b, -ENOENT);
	if (file_of(b))
		err = lose_name(b);
	if (err)
		return end_names(a, b, err);
	take(&f->lock, true);
	err = allow_readonly(result(link(path_of(a), path_of(b))));
	if (!err) {
		f->nlink++;
		hold_file(f);
		shared->names[b].file = f - shared->files;
	}
	drop(&f->lock);
	return end_names(a, b, err);
}

static int op_rename(struct rng *r)
{
	int b = changeable_name(r), a = relative(r, b), err, file;
	bool exchange = below(r, 3), immutable;
	unsigned int chattrs, old_chattrs;
	struct file *f, *old, *loses;

	if (a == b || a < FAMILIES)
		return -ENODATA;
	begin_names(a, b);
	f = file_of(a);
	old = file_of(b);
	/* With two names of one file nothing happens, says rename(2). */
	loses = exchange || f == old ? NULL : old;
	begin_lose(loses);
	chattrs = chattrs_of(f);
	old_chattrs = chattrs_of(old);
	err = result(renameat2(AT_FDCWD, path_of(a), AT_FDCWD, path_of(b),
			       exchange ? RENAME_EXCHANGE : 0));
	immutable = maybe_immutable(f, chattrs) || maybe_immutable(old, old_chattrs);
	end_lose(loses, err);
	if (err == -ENOENT) {
		need(METADATA, !f || (exchange && !old));
		return end_names(a, b, err);
	}
	if (immutable ? allow(err, EPERM) : allow_readonly(err))
		return end_names(a, b, err);
	need(METADATA, f && (old || !exchange));
	file = shared->names[b].file;
	if (exchange) {
		shared->names[b].file = shared->names[a].file;
		shared->names[a].file = file;
	} else if (f != old) {
		shared->names[b].file = shared->names[a].file;
		shared->names[a].file = -1;
	}
	return end_names(a, b, 0);
}

static int op_unlink(struct rng *r)
{
	int n = changeable_name(r), err;

	self->file_name = n;
	take(&shared->names[n].lock, true);
	err = lose_name(n);
	drop(&shared->names[n].lock);
	return err;
}

/*
 * Immutable for a moment, in which nobody changes it, also by the fd of @f that is
 * open already.  Aliasing and releasing are not for it to refuse.
 */
static int op_chattr(struct rng *r)
{
	struct file *f;
	int fd = open_name(changeable_name(r), O_RDONLY, &f), err, flags, immutable;

	if (fd < 0)
		return fd;
	take(&f->lock, true);
	need(REFUSED, !ioctl(fd, FS_IOC_GETFLAGS, &flags));
	need(METADATA, !(flags & FS_IMMUTABLE_FL));
	immutable = flags | FS_IMMUTABLE_FL;
	__atomic_add_fetch(&f->chattrs, 1, __ATOMIC_SEQ_CST);
	err = result(ioctl(fd, FS_IOC_SETFLAGS, &immutable));
	if (!err) {
		int opened = try_open(path_of_fd(fd), O_WRONLY);

		need(REFUSED, opened == -EPERM || (opened == -EROFS && maybe_readonly()));
		need(REFUSED, fchmod(fd, 0700) && (errno == EPERM || errno == EROFS));
		release_fd(fd);
		/* Until then it is not to become read-only. */
		while ((err = result(ioctl(fd, FS_IOC_SETFLAGS, &flags))) == -EROFS &&
		       maybe_readonly())
			pause_ms(1);
		need(REFUSED, !err);
	}
	__atomic_add_fetch(&f->chattrs, 1, __ATOMIC_SEQ_CST);
	compare_metadata(f, fd);
	end_read(fd, f);
	return allow_readonly(err);
}

/* An ACL that gives what @mode gives, and something to one more user. */
static int set_acl(int fd, mode_t mode)
{
	struct {
		__u32 version;
		struct {
			__u16 tag, perm;
			__u32 id;
		} entries[5];
	} acl = {
		.version = 2,
		.entries = {
			{ 0x01, mode >> 6 & 7, -1 },	/* owner */
			{ 0x02, 7, ALICE },		/* user, as far as the mask goes */
			{ 0x04, mode >> 3 & 7, -1 },	/* group */
			{ 0x10, mode >> 3 & 7, -1 },	/* mask */
			{ 0x20, mode & 7, -1 },		/* others */
		},
	};

	return result(fsetxattr(fd, "system.posix_acl_access", &acl, sizeof(acl), 0));
}

enum { MODE, OWNER, TIME, XATTR, ACL };

static int change_metadata(struct rng *r, int what)
{
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT } };
	unsigned int xattr = 1 + below(r, 1U << 30);
	mode_t mode = modes[below(r, ARRAY_SIZE(modes))];
	uid_t uid = owners[below(r, ARRAY_SIZE(owners))];
	bool sync_it = one_in(r, 3);
	struct file *f;
	int fd = open_name(any_name(r), O_RDONLY, &f), err = 0;

	if (fd < 0)
		return fd;
	times[1].tv_sec = 1000000000 + below(r, 1U << 30);
	take(&f->lock, true);
	switch (what) {
	case MODE:
		err = result(fchmod(fd, mode));
		f->mode = err ? f->mode : mode;
		break;
	case OWNER:
		err = result(fchown(fd, uid, -1));
		f->uid = err ? f->uid : uid;
		break;
	case TIME:
		err = result(futimens(fd, times));
		f->mtime = err ? f->mtime : times[1].tv_sec;
		break;
	case XATTR:
		err = result(fsetxattr(fd, "user.v", &xattr, sizeof(xattr), 0));
		f->xattr = err ? f->xattr : xattr;
		break;
	case ACL:
		err = set_acl(fd, mode);
		f->mode = err ? f->mode : mode;
		break;
	}
	if (sync_it)
		need(REFUSED, !fsync(fd));
	compare_metadata(f, fd);
	end_read(fd, f);
	return allow_readonly(err);
}

static int op_chmod(struct rng *r)
{
	return change_metadata(r, MODE);
}

static int op_chown(struct rng *r)
{
	return change_metadata(r, OWNER);
}

static int op_utimes(struct rng *r)
{
	return change_metadata(r, TIME);
}

static int op_setxattr(struct rng *r)
{
	return change_metadata(r, XATTR);
}

static int op_setfacl(struct rng *r)
{
	return change_metadata(r, ACL);
}

static int op_fsync(struct rng *r)
{
	struct file *f;
	int fd = open_name(any_name(r), O_RDONLY, &f);

	if (fd < 0)
		return fd;
	need(REFUSED, !(one_in(r, 2) ? fsync(fd) : fdatasync(fd)));
	close_file(fd, f);
	return 0;
}

/*
 * What concerns the whole file system; one process does it
 */

static int op_drop_caches(struct rng *r)
{
	static const char * const what[] = { "1", "2", "3" };

	return allow_readonly(write_kernel("/proc/sys/vm/drop_caches",
					   what[below(r, ARRAY_SIZE(what))]));
}

static int op_reclaim(struct rng *r)
{
	static const char * const amounts[] = { "256K", "1M", "4M" };
	const char *amount = amounts[below(r, ARRAY_SIZE(amounts))];

	/* EAGAIN: there was less to reclaim. */
	return allow(write_kernel(CGROUP "/memory.reclaim", amount), EAGAIN);
}

static bool stopped(void)
{
	return __atomic_load_n(&shared->stop, __ATOMIC_SEQ_CST);
}

static void set_quiet(int quiet)
{
	unsigned int i;

	__atomic_store_n(&shared->quiet, quiet, __ATOMIC_SEQ_CST);
	for (i = 1; i < nr_processes && quiet; i++)
		while (!__atomic_load_n(&shared->processes[i].is_quiet, __ATOMIC_SEQ_CST) &&
		       !stopped())
			pause_ms(1);
}

/*
 * While others have files open; or not, and then aliases are no obstacle.  Neither are
 * unlinked files that nobody has open any more; but btrfs holds those that are being
 * written back until that has ended and a thread of its own has come to them.
 */
static int op_remount(struct rng *r)
{
	unsigned int ms = below(r, 20);
	bool quiet = one_in(r, 2);
	double begin;
	int err;

	if (quiet)
		set_quiet(1);
	begin = now();
	__atomic_add_fetch(&shared->remounts, 1, __ATOMIC_SEQ_CST);
	err = remount_ro();
	while (err == -EBUSY && quiet && is_btrfs() && now() - begin < hang / 2) {
		pause_ms(10);
		err = remount_ro();
	}
	if (!stopped())
		need(REFUSED, !err || (err == -EBUSY && !quiet));
	set_quiet(0);
	if (!err) {
		pause_ms(ms);
		need(REFUSED, !remount_rw());
	}
	__atomic_add_fetch(&shared->remounts, 1, __ATOMIC_SEQ_CST);
	return err;
}

static int op_freeze(struct rng *r)
{
	int fd = open(MNT, O_RDONLY | O_CLOEXEC);
	unsigned int ms = below(r, 50);

	need(REFUSED, fd >= 0 && !ioctl(fd, FIFREEZE, 0));
	pause_ms(ms);
	need(REFUSED, !ioctl(fd, FITHAW, 0));
	close(fd);
	return 0;
}

static int op_sync(struct rng *r)
{
	int fd = open(MNT, O_RDONLY | O_CLOEXEC);

	need(REFUSED, fd >= 0 && !syncfs(fd));
	close(fd);
	pause_ms(below(r, 50));
	return 0;
}

/*
 * What only btrfs has
 */

/*
 * Copy what is in many pieces to where there are fewer, perhaps compressed; through a
 * descriptor for reading, which is all that root needs.
 */
static int op_defrag(struct rng *r)
{
	struct btrfs_ioctl_defrag_range_args range = { .len = ~0ULL };
	struct file *f;
	int fd = open_name(changeable_name(r), O_RDONLY, &f), err, tries = 0;

	if (fd < 0)
		return fd;
	if (one_in(r, 2))
		range.flags |= BTRFS_DEFRAG_RANGE_START_IO;
	if (one_in(r, 2)) {
		range.flags |= BTRFS_DEFRAG_RANGE_COMPRESS;
		range.compress_type = 1 + below(r, 3);
	}
	take(&f->lock, true);
	/* A signal cancels it, and so does what an io_uring that was closed leaves to do. */
	do
		err = result(ioctl(fd, BTRFS_IOC_DEFRAG_RANGE, &range));
	while (err == -EAGAIN && tries++ < 50);
	if (!err)
		f->scattered = f->size > 0;
	compare_metadata(f, fd);
	end_read(fd, f);
	return allow(err, ETXTBSY);
}

/* The file of name @n in the snapshot */
static int open_in_snapshot(int n)
{
	const char *path = path_of(n) + strlen(MNT);
	char there[sizeof(MNT "/" SNAPSHOT DIR) + 16];

	snprintf(there, sizeof(there), MNT "/" SNAPSHOT "%s", path);
	return open(there, O_RDONLY | O_CLOEXEC);
}

static void delete_snapshot(int mnt)
{
	struct btrfs_ioctl_vol_args args = { .name = SNAPSHOT };

	need(REFUSED, !ioctl(mnt, BTRFS_IOC_SNAP_DESTROY, &args));
}

/*
 * A file in a snapshot is what its original is at that moment, without being an alias,
 * and shares its blocks: with a relative @g of that, @f, it has to become identical or
 * not.  Deleting the snapshot ends all keeping, and takes nothing from users.
 */
static void use_snapshot(struct rng *r, int mnt, int n, struct file *f, int live, struct file *g)
{
	unsigned int flags = some_flags(r);
	bool is_donor = one_in(r, 2);
	struct fs_mapping_info info;
	int fd = open_in_snapshot(n), err;
	int alias = is_donor ? live : fd, donor = is_donor ? fd : live;

	need(METADATA, fd >= 0);
	need(REFUSED, !ioctl(fd, FS_IOC_MAPPING_INFO, &info));
	need(METADATA, info.state == ORDINARY);
	compare_metadata(f, fd);
	compare_read(f, fd, 0, f->size, "snapshot");
	err = alias_fd(alias, donor, flags);
	foretold(err, is_donor ? g : f, is_donor ? f : g, 0);
	if (!err)
		compare_frozen(r, alias, donor);
	if (one_in(r, 2)) {
		close(fd);
		delete_snapshot(mnt);
		return;
	}
	delete_snapshot(mnt);
	need(REFUSED, alias_fd(alias, donor, KEEP));
	if (!err)
		compare_frozen(r, alias, donor);
	need(REFUSED, !ioctl(alias, FS_IOC_MAPPING_INFO, &info));
	need(METADATA, err || info.state == ALIAS);
	compare_read(f, fd, 0, f->size, "deleted snapshot");
	close(fd);
}

static int op_snapshot(struct rng *r)
{
	struct btrfs_ioctl_vol_args_v2 args = { .name = SNAPSHOT };
	int n = any_name(r), m = relative(r, n), live;
	struct file *f, *g;

	take_two(&shared->names[n].lock, false, &shared->names[m].lock, false);
	f = file_of(n);
	g = file_of(m);
	if (!f || !g) {
		drop_two(&shared->names[n].lock, &shared->names[m].lock);
		return -ENOENT;
	}
	self->file_name = n;
	hold_file(f);
	hold_file(g);
	live = open(path_of(m), O_RDONLY | O_CLOEXEC);
	need(REFUSED, live >= 0);
	take_two(&f->lock, false, &g->lock, false);
	args.fd = open(MNT, O_RDONLY | O_CLOEXEC);
	need(REFUSED, args.fd >= 0);
	need(REFUSED, !ioctl(args.fd, BTRFS_IOC_SNAP_CREATE_V2, &args));
	drop_two(&shared->names[n].lock, &shared->names[m].lock);
	use_snapshot(r, args.fd, n, f, live, g);
	drop_two(&f->lock, &g->lock);
	close(args.fd);
	close_file(live, g);
	put_file(f);
	return 0;
}

/* Move what is in a chunk or two. */
static int op_balance(struct rng *r)
{
	static const __u64 what[] = {
		BTRFS_BALANCE_DATA, BTRFS_BALANCE_METADATA,
		BTRFS_BALANCE_DATA | BTRFS_BALANCE_METADATA,
	};
	struct btrfs_balance_args one = { .flags = BTRFS_BALANCE_ARGS_LIMIT, .limit = 1 };
	struct btrfs_ioctl_balance_args args = { .data = one, .meta = one };
	int fd = open(MNT, O_RDONLY | O_CLOEXEC);

	args.flags = what[below(r, ARRAY_SIZE(what))];
	need(REFUSED, fd >= 0 && !ioctl(fd, BTRFS_IOC_BALANCE_V2, &args));
	need(REFUSED, args.stat.completed && args.stat.completed == args.stat.expected);
	close(fd);
	return 0;
}

/* Read all that is on the disk and compare it with its checksums. */
static int op_scrub(struct rng *r)
{
	struct btrfs_ioctl_scrub_args args = {
		.devid = 1, .end = ~0ULL, .flags = one_in(r, 2) ? BTRFS_SCRUB_READONLY : 0,
	};
	const struct btrfs_scrub_progress *found = &args.progress;
	int fd = open(MNT, O_RDONLY | O_CLOEXEC);

	need(REFUSED, fd >= 0 && !syncfs(fd) && !ioctl(fd, BTRFS_IOC_SCRUB, &args));
	need(REFUSED, found->data_bytes_scrubbed && found->tree_bytes_scrubbed);
	need(MISMATCH, !found->read_errors && !found->csum_errors && !found->verify_errors &&
	     !found->super_errors && !found->uncorrectable_errors);
	close(fd);
	return 0;
}

/*
 * The load
 */

#define DOES 1		/* has to have succeeded */
#define IS_BUSY 2	/* has to have been refused with ETXTBSY */
#define BTRFS 4		/* is for that file system only */

struct op {
	const char *name;
	int (*func)(struct rng *r);
	unsigned int weight, must;
};

static const struct op file_ops[] = {
	{ "alias",		op_alias,		24, DOES },
	{ "alias-foretold",	op_alias_foretold,	15, DOES },
	{ "alias-ring",		op_alias_ring,		4, DOES },
	{ "alias-held",		op_alias_held,		8, DOES },
	{ "release",		op_release,		14, DOES },
	{ "info",		op_info,		4, DOES },
	{ "read",		op_read,		8, DOES },
	{ "read-direct",	op_read_direct,		4, DOES },
	{ "read-map",		op_read_map,		8, DOES },
	{ "read-nowait",	op_read_nowait,		3, DOES },
	{ "splice",		op_splice,		3, DOES },
	{ "read-loop",		op_read_loop,		1, DOES },
	{ "watch",		op_watch,		2, DOES },
	{ "ask-cache",		op_ask_cache,		2, DOES },
	{ "read-io_uring",	op_read_uring,		3, DOES },
	{ "advise",		op_advise,		2, DOES },
	{ "stat",		op_stat,		4, DOES },
	{ "exec",		op_exec,		1, DOES },
	{ "hold",		op_hold,		14, DOES },
	{ "check-held",		op_check_held,		14, DOES },
	{ "pageout",		op_pageout,		3, DOES },
	{ "mlock",		op_mlock,		2, DOES },
	{ "huge",		op_huge,		1, DOES },
	{ "offline",		op_offline,		1, DOES },
	{ "drop-held",		op_drop_held,		6, DOES },
	{ "write",		op_write,		5, DOES | IS_BUSY },
	{ "write-held",		op_write_held,		4, DOES },
	{ "write-splice",	op_write_splice,	1, DOES | IS_BUSY },
	{ "write-sendfile",	op_write_sendfile,	1, DOES | IS_BUSY },
	{ "write-io_uring",	op_write_uring,		1, DOES | IS_BUSY },
	{ "write-pwritev2",	op_write_pwritev2,	1, DOES | IS_BUSY },
	{ "swapon",		op_swapon,		1, IS_BUSY },
	{ "rewrite",		op_rewrite,		2, DOES | IS_BUSY },
	{ "truncate",		op_truncate,		2, DOES | IS_BUSY },
	{ "open-trunc",		op_open_trunc,		1, DOES | IS_BUSY },
	{ "fallocate",		op_fallocate,		3, DOES | IS_BUSY },
	{ "clone",		op_clone,		12, DOES | IS_BUSY },
	{ "clone-range",	op_clone_range,		2, DOES | IS_BUSY },
	{ "copy-range",		op_copy_range,		1, DOES | IS_BUSY },
	{ "dedupe",		op_dedupe,		6, DOES | IS_BUSY },
	{ "replace",		op_replace,		16, DOES },
	{ "link",		op_link,		2, DOES },
	{ "rename",		op_rename,		3, DOES },
	{ "unlink",		op_unlink,		1, DOES },
	{ "chmod",		op_chmod,		2, DOES },
	{ "chown",		op_chown,		1, DOES },
	{ "utimes",		op_utimes,		2, DOES },
	{ "setxattr",		op_setxattr,		2, DOES },
	{ "setfacl",		op_setfacl,		1, DOES },
	{ "chattr",		op_chattr,		1, DOES },
	{ "fsync",		op_fsync,		1, DOES },
	{ "defrag",		op_defrag,		2, DOES | IS_BUSY | BTRFS },
}, fs_ops[] = {
	{ "drop-caches",	op_drop_caches,		4, DOES },
	{ "reclaim",		op_reclaim,		8, DOES },
	{ "remount",		op_remount,		6, DOES },
	{ "freeze",		op_freeze,		4, DOES },
	{ "sync",		op_sync,		4, DOES },
	{ "snapshot",		op_snapshot,		5, DOES | BTRFS },
	{ "balance",		op_balance,		2, DOES | BTRFS },
	{ "scrub",		op_scrub,		2, DOES | BTRFS },
};

/* Numbered one after the other. */
#define FILE_OPS ((int)ARRAY_SIZE(file_ops))
#define NR_OPS (FILE_OPS + (int)ARRAY_SIZE(fs_ops))

static const struct op *op_of(int op)
{
	return op < FILE_OPS ? &file_ops[op] : &fs_ops[op - FILE_OPS];
}

static const char *op_name(int op)
{
	return op_of(op)->name;
}

/* Is it one that this file system has? */
static bool can_be_done(int op)
{
	return is_btrfs() || !(op_of(op)->must & BTRFS);
}

static unsigned int weight_of(int op)
{
	return can_be_done(op) ? op_of(op)->weight : 0;
}

static int choose_op(struct rng *r, int from, int to)
{
	unsigned int sum = 0, x;
	int op;

	for (op = from; op < to; op++)
		sum += weight_of(op);
	x = below(r, sum);
	for (op = from; x >= weight_of(op); op++)
		x -= weight_of(op);
	return op;
}

static void drop_handles(void)
{
	int i;

	for (i = 0; i < HANDLES; i++)
		drop_handle(&handles[i]);
}

static void keep_quiet(void)
{
	drop_handles();
	__atomic_store_n(&self->is_quiet, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&shared->quiet, __ATOMIC_SEQ_CST) && !stopped())
		pause_ms(1);
	__atomic_store_n(&self->is_quiet, 0, __ATOMIC_SEQ_CST);
}

/* Process number @nr until all have to stop. */
static void work(int nr)
{
	struct rng r;
	double begin;
	int err;

	self = &shared->processes[nr];
	for (; !stopped(); self->step++) {
		if (nr && __atomic_load_n(&shared->quiet, __ATOMIC_SEQ_CST))
			keep_quiet();
		r.state = mix(mix(mix(seed) + nr) + self->step);
		self->file_name = -1;
		remounts_before = __atomic_load_n(&shared->remounts, __ATOMIC_SEQ_CST);
		if (nr)
			self->op = choose_op(&r, 0, FILE_OPS);
		else
			self->op = choose_op(&r, FILE_OPS, NR_OPS);
		begin = now();
		err = op_of(self->op)->func(&r);
		need(REFUSED, err <= 0 && err > -MAX_ERRNO);
		self->counts[self->op][-err]++;
		/* Most of the time has to be left to the others. */
		if (!nr)
			pause_ms(50 + below(&r, 100) + (now() - begin) * 3000);
	}
	drop_handles();
	_exit(0);
}

/*
 * Beginning and end
 */

static void make_root(int family)
{
	unsigned int i, blocks = families[family].blocks;
	struct file *f = new_file();
	int fd, n = family;

	self->file_name = n;
	fd = open(path_of(n), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
	need(REFUSED, fd >= 0);
	note_new(f, fd);
	f->size = blocks ? (off_t)blocks * BLK - families[family].tail : program_size;
	f->mode = 0755;
	need(REFUSED, !fchmod(fd, f->mode));
	if (is_btrfs() && !family)
		need(REFUSED, !fsetxattr(fd, "btrfs.compression", "zstd", 4, 0));
	if (is_btrfs() && family == NOCOW_FAMILY)
		make_nocow(f, fd);
	need(REFUSED, !ftruncate(fd, f->size));
	for (i = 0; i < blocks_of(f); i++) {
		size_t len = f->size - (off_t)i * BLK < BLK ? f->size % BLK : BLK;

		if (blocks && families[family].hole == (int)i)
			continue;
		f->blocks[i].place = new_id();
		f->blocks[i].id = blocks ? f->blocks[i].place : i + 1;
		fill(buffer, f->blocks[i].id);
		need(REFUSED, pwrite(fd, buffer, len, (off_t)i * BLK) == (ssize_t)len);
	}
	close(fd);
	shared->names[n].file = f - shared->files;
	drop(&f->lock);
}

static void make_clones(void)
{
	struct rng r = { mix(seed) };
	int n;

	for (n = FAMILIES; n < NAMES; n++) {
		shared->names[n].file = -1;
		need(REFUSED, !replace(&r, n, n % FAMILIES));
	}
}

/* In a control group of their own, so that memory can be taken from them. */
static void begin_cgroup(void)
{
	write_kernel("/sys/fs/cgroup/cgroup.subtree_control", "+memory");
	if (mkdir(CGROUP, 0755) && errno != EEXIST)
		ksft_exit_fail_msg("%s: %s\n", CGROUP, strerror(errno));
}

static void make_model(void)
{
	int i;

	memset(shared, 0, sizeof(*shared));
	shared->last_id = FIRST_ID;
	for (i = 0; i < NAMES; i++)
		init_lock(&shared->names[i].lock);
	for (i = 0; i < FILES; i++)
		init_lock(&shared->files[i].lock);
}

static void make_files(void)
{
	int i;

	self = &shared->processes[0];
	for (i = 0; i < FAMILIES; i++)
		make_root(i);
	make_clones();
	self = NULL;
}

static void read_program(void)
{
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	buffer = map_memory(MAX_BLOCKS * BLK, MAP_PRIVATE);
	program = map_memory(MAX_BLOCKS * BLK, MAP_PRIVATE);
	program_size = fd < 0 ? -1 : read(fd, program, (size_t)MAX_BLOCKS * BLK);
	if (program_size <= 0 || program_size >= (off_t)(MAX_BLOCKS - 16) * BLK)
		ksft_exit_fail_msg("this program can't be read, or is too large\n");
	close(fd);
}

static void make_mount(void)
{
	if (command("%s %s", file_system->mkfs, device))
		ksft_exit_fail_msg("%s %s failed\n", file_system->mkfs, device);
	if (mount(device, MNT, file_system->type, 0, NULL) || mkdir(DIR, DIR_MODE))
		ksft_exit_fail_msg("mount %s: %s\n", device, strerror(errno));
}

static pid_t start(int nr)
{
	pid_t pid = fork();

	if (pid < 0)
		ksft_exit_fail_msg("fork: %s\n", strerror(errno));
	if (!pid) {
		write_kernel(CGROUP "/cgroup.procs", "0");
		work(nr);
	}
	return pid;
}

/* Note what ended, and see whether the others go on; false if all have ended. */
static bool watch(void)
{
	static __u64 steps[MAX_PROCESSES];
	static double since[MAX_PROCESSES];
	struct process *p;
	int status, alive = 0;
	unsigned int i;

	for (i = 0; i < nr_processes; i++) {
		p = &shared->processes[i];
		if (!p->pid)
			continue;
		if (waitpid(p->pid, &status, WNOHANG) == p->pid) {
			p->pid = 0;
			self = p;
			if (status && !shared->failure)
				note(DIED, "the process ended with status %x", status);
			self = NULL;
			continue;
		}
		alive++;
		if (steps[i] != p->step || !since[i] || p->is_quiet) {
			steps[i] = p->step;
			since[i] = now();
		} else if (now() - since[i] > hang) {
			self = p;
			note(HANG, "no end for %u seconds", hang);
			self = NULL;
		}
	}
	if (!alive)
		memset(since, 0, sizeof(since));
	return alive;
}

/* Fails if it isn't frozen, which is as well. */
static void thaw(void)
{
	int fd = open(MNT, O_RDONLY | O_CLOEXEC);

	ioctl(fd, FITHAW, 0);
	close(fd);
}

/*
 * Whoever still runs after a failure may wait for a lock of one that is dead, or,
 * where no signal gets, for one to thaw the file system that is dead.
 */
static void end_all(void)
{
	unsigned int i;

	/* Whether it waits or runs */
	if (shared->failure == HANG) {
		write_kernel("/proc/sysrq-trigger", "w");
		write_kernel("/proc/sysrq-trigger", "l");
	}
	for (i = 0; i < nr_processes; i++)
		if (shared->processes[i].pid)
			kill(shared->processes[i].pid, SIGKILL);
	thaw();
}

static void watch_log(int kmsg)
{
	char line[2048];

	while (next_fault(kmsg, line))
		if (!strstr(line, "KCSAN:"))	/* most are about other code */
			note(KERNEL_LOG, "kernel log: %s", line);
}

/* Something that the model doesn't know of, for the self-test. */
static void break_something(enum failure what)
{
	char byte;
	int n, fd;

	for (n = 0; n < NAMES; n++) {
		switch (what) {
		case MISMATCH:
			fd = open(path_of(n), O_RDWR | O_CLOEXEC);
			if (fd < 0)
				break;
			if (pread(fd, &byte, 1, 77) == 1) {
				byte ^= 1;
				need(REFUSED, pwrite(fd, &byte, 1, 77) == 1);
			}
			close(fd);
			break;
		case METADATA:
			chmod(path_of(n), 0600);
			break;
		case REFUSED:
			command("chattr +i %s", path_of(n));
			break;
		default:
			break;
		}
	}
	if (what == HANG)
		kill(shared->processes[1].pid, SIGSTOP);
	if (what == KERNEL_LOG)
		write_kernel("/dev/kmsg", "<4>stress: made up: Assertion failed");
	if (what == DIED)
		kill(shared->processes[1].pid, SIGSEGV);
}

static __u64 count_of(int op, int err)
{
	__u64 sum = 0;
	unsigned int i;

	for (i = 0; i < nr_processes; i++)
		sum += shared->processes[i].counts[op][err];
	return sum;
}

/* Has the operation done what it is for, if this file system has it? */
static bool was_done(int op)
{
	unsigned int must = can_be_done(op) ? op_of(op)->must : 0;

	return (!(must & DOES) || count_of(op, 0)) &&
	       (!(must & IS_BUSY) || count_of(op, ETXTBSY));
}

static bool all_were_done(void)
{
	int op;

	for (op = 0; op < NR_OPS; op++)
		if (!was_done(op))
			return false;
	return true;
}

/*
 * The load, for @duration seconds, or longer if the machine is so slow that not
 * every operation was done by then.  With @fault something goes wrong.
 */
static void run_load(double duration, enum failure fault)
{
	int kmsg = open_kmsg();
	double begin = now();
	bool done = false;
	unsigned int i;

	for (i = 0; i < nr_processes; i++)
		shared->processes[i].pid = start(i);
	while (watch()) {
		if (fault && !done && now() - begin > 1) {
			break_something(fault);
			done = true;
		}
		watch_log(kmsg);
		if (shared->failure)
			end_all();
		else if (now() - begin > duration &&
			 (all_were_done() || now() - begin > SLOW * duration))
			__atomic_store_n(&shared->stop, 1, __ATOMIC_SEQ_CST);
		pause_ms(shared->failure ? 1000 : 100);
	}
	/* Who was killed may have been about to freeze it. */
	if (shared->failure)
		thaw();
	watch_log(kmsg);
	close(kmsg);
}

/* Show how often each operation had each result. */
static void show_counts(void)
{
	__u64 all = 0, n;
	char line[1024];
	int op, err, len;

	for (op = 0; op < NR_OPS; op++) {
		if (!can_be_done(op))
			continue;
		len = snprintf(line, sizeof(line), "%-15s", op_name(op));
		for (err = 0; err < MAX_ERRNO; err++) {
			n = count_of(op, err);
			all += n;
			if (n || !err)
				len += snprintf(line + len, sizeof(line) - len, " %s %llu",
						err ? strerrorname_np(err) : "ok",
						n);
		}
		ksft_print_msg("%s%s\n", line, was_done(op) ? "" : ": NEVER WHAT IT IS FOR");
	}
	ksft_print_msg("%llu operations\n", all);
}

/* Release all.  Inodes that something else holds for a moment need a moment. */
static bool all_ordinary(void)
{
	struct fs_mapping_info info;
	double begin = now();
	int n, fd, left;

	do {
		left = 0;
		for (n = 0; n < NAMES; n++) {
			fd = open(path_of(n), O_RDONLY | O_CLOEXEC);
			if (fd < 0)
				continue;
			if (ioctl(fd, FS_IOC_MAPPING_INFO, &info) || info.state ||
			    release_fd(fd)) {
				release_fd(fd);
				left++;
			}
			close(fd);
		}
		if (left)
			pause_ms(100);
	} while (left && now() - begin < 30);
	if (left)
		ksft_print_msg("%d files are no ordinary ones\n", left);
	return !left;
}

static bool all_writable(void)
{
	int n, err;

	for (n = 0; n < NAMES; n++) {
		err = try_open(path_of(n), O_WRONLY);
		if (err && err != -ENOENT) {
			ksft_print_msg("f%d: %s\n", n, strerror(-err));
			return false;
		}
	}
	return true;
}

/* All files, in full, against the model, by a process that may fail. */
static bool all_equal(void)
{
	pid_t pid = fork();
	struct file *f;
	int n, fd, status;

	if (pid < 0)
		ksft_exit_fail_msg("fork: %s\n", strerror(errno));
	if (!pid) {
		self = &shared->processes[0];
		for (n = 0; n < NAMES; n++) {
			fd = open_name(n, O_RDONLY, &f);
			if (fd < 0)
				continue;
			compare_metadata(f, fd);
			compare_read(f, fd, 0, f->size, "last read");
			close_file(fd, f);
		}
		_exit(0);
	}
	if (waitpid(pid, &status, 0) != pid || status) {
		ksft_print_msg("%s\n", shared->report);
		return false;
	}
	return true;
}

static void end_mount(void)
{
	ksft_test_result(!umount(MNT), "umount\n");
	ksft_test_result(!command("%s %s", file_system->check, device), "%s\n",
			 file_system->check);
}

static void stress(void)
{
	int kmsg = open_kmsg();
	char line[2048];
	bool silent = true;

	ksft_set_plan(10);
	ksft_print_msg("%s, seed %llu, %u processes, %u seconds\n", file_system->type,
		       seed, nr_processes, seconds);
	run_load(seconds, NONE);
	if (shared->failure)
		ksft_print_msg("%s\n", shared->report);
	ksft_test_result(!shared->failure, "load\n");
	show_counts();
	ksft_test_result(all_were_done(), "every operation was done\n");
	if (shared->failure)
		ksft_exit_fail_msg("the model is of no use any more\n");
	ksft_test_result(all_equal(), "contents and metadata\n");
	ksft_test_result(all_ordinary(), "released\n");
	ksft_test_result(all_writable(), "writable\n");
	end_mount();
	if (mount(device, MNT, file_system->type, 0, NULL))
		ksft_exit_fail_msg("mount %s: %s\n", device, strerror(errno));
	ksft_test_result(all_equal(), "contents and metadata after mounting again\n");
	ksft_test_result(!umount(MNT), "umount again\n");
	while (next_fault(kmsg, line)) {
		if (!strstr(line, "KCSAN:")) {
			ksft_print_msg("%s", line);
			silent = false;
		}
	}
	ksft_test_result(silent, "kernel log\n");
}

/*
 * Was it noticed?  What is wrong with a file can be so in several ways: a changed
 * mode also lets a call fail that should not.
 */
static bool was_noticed(enum failure fault)
{
	switch (fault) {
	case MISMATCH:
	case METADATA:
	case REFUSED:
		return shared->failure == MISMATCH || shared->failure == METADATA ||
		       shared->failure == REFUSED;
	default:
		return shared->failure == (int)fault;
	}
}

/* What processes that were killed have started may need a moment to end. */
static void umount_after_failure(void)
{
	int i;

	for (i = 0; umount(MNT); i++) {
		if (errno != EBUSY || i == 1000)
			ksft_exit_fail_msg("umount: %s\n", strerror(errno));
		pause_ms(20);
	}
}

/* Is everything noticed that is there to be noticed? */
static void self_test(void)
{
	static const struct {
		enum failure fault;
		const char *name;
	} faults[] = {
		{ MISMATCH, "a wrong byte is noticed" },
		{ METADATA, "a wrong mode is noticed" },
		{ REFUSED, "an unexpected errno is noticed" },
		{ HANG, "a hang is noticed" },
		{ KERNEL_LOG, "a line in the kernel log is noticed" },
		{ DIED, "a process that dies is noticed" },
	};
	const unsigned int usual = hang;
	size_t i;

	ksft_set_plan(ARRAY_SIZE(faults));
	for (i = 0; i < ARRAY_SIZE(faults); i++) {
		/* A slow machine must not look like a hang where there is none. */
		hang = faults[i].fault == HANG ? 10 : usual;
		if (i) {
			make_mount();
			make_model();
			make_files();
		}
		run_load(60, faults[i].fault);
		ksft_print_msg("%s\n", shared->report);
		ksft_test_result(was_noticed(faults[i].fault), "%s\n", faults[i].name);
		umount_after_failure();
	}
}

int main(int argc, char **argv)
{
	bool test_self = false;
	int i;

	if (argc == 2 && !strcmp(argv[1], "--probe"))
		return PROBE_STATUS;

	device = getenv("MAPPING_ALIAS_DEV");
	for (i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--self-test")) {
			test_self = true;
			continue;
		}
		if (!strcmp(argv[i], "--fs"))
			choose_file_system(argv[i + 1]);
		else if (!strcmp(argv[i], "--seed"))
			seed = parse_number(argv[i], argv[i + 1]);
		else if (!strcmp(argv[i], "--seconds"))
			seconds = parse_number(argv[i], argv[i + 1]);
		else if (!strcmp(argv[i], "--processes"))
			nr_processes = parse_number(argv[i], argv[i + 1]);
		else if (!strcmp(argv[i], "--hang"))
			hang = parse_number(argv[i], argv[i + 1]);
		else if (!strcmp(argv[i], "--dev"))
			device = argv[i + 1];
		else
			ksft_exit_fail_msg("unknown argument %s\n", argv[i]);
		i++;
	}
	if (!device || !*device)
		ksft_exit_fail_msg("say which device: --dev or MAPPING_ALIAS_DEV\n");
	if (nr_processes < 2 || nr_processes > MAX_PROCESSES)
		ksft_exit_fail_msg("2 to %d processes\n", MAX_PROCESSES);

	ksft_print_header();
	begin_mounts();
	read_program();
	begin_cgroup();
	shared = map_memory(sizeof(*shared), MAP_SHARED);
	make_mount();
	make_model();
	make_files();
	if (test_self)
		self_test();
	else
		stress();
	rmdir(CGROUP);
	ksft_finished();
}
