// SPDX-License-Identifier: GPL-2.0
/*
 * Every way to change the data of a file, tried on aliases and donors: none may
 * work, whoever tries, and the same goes for what only looks like a way.
 */

#include <stdalign.h>
#include <linux/aio_abi.h>
#include <linux/falloc.h>
#include <linux/fiemap.h>
#include <linux/fsverity.h>
#include <sys/ptrace.h>
#include <sys/sendfile.h>
#include <sys/statvfs.h>
#include <sys/uio.h>

#include "common.h"
#include "uring.h"

/* What younger systems' headers have. */
#define OP_FTRUNCATE 55			/* IORING_OP_FTRUNCATE */
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/* An attempt: on which file, and with what. */
struct try {
	struct __test_metadata *_metadata;
	const char *name;
	int fd;			/* of that file, open for reading */
	int peer;		/* the donor of an alias, an alias of the donor */
	int second;		/* another alias of the same donor */
	int other;		/* an ordinary file of the same content */
	int shifted;		/* the same content, a block later; ordinary too */
	void *shared;		/* a block of the file, mapped for reading */
	unsigned char *private;	/* two blocks, the second one written to */
	int arg;
};

/* What must not get into the file */
static alignas(BLK) unsigned char junk[BLK] = "junk";

static int result(long ret)
{
	return ret < 0 ? -errno : 0;
}

static int result_fd(int fd)
{
	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

/* Opening for writing */

static int open_name(struct try *t)
{
	return try_open(t->name, t->arg);
}

/* Open again, through /proc, what is open already. */
static int open_proc_fd(struct try *t)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", t->fd);
	return try_open(path, t->arg);
}

static int open_proc_map(struct try *t)
{
	struct __test_metadata *_metadata = t->_metadata;
	char path[64];
	char *map;
	int err;

	map = mmap(NULL, BLK, PROT_READ, MAP_SHARED, t->fd, 0);
	ASSERT_NE(MAP_FAILED, map);
	snprintf(path, sizeof(path), "/proc/self/map_files/%lx-%lx",
		 (unsigned long)map, (unsigned long)map + BLK);
	err = try_open(path, t->arg);
	munmap(map, BLK);
	return err;
}

static int open_handle(struct try *t)
{
	struct __test_metadata *_metadata = t->_metadata;
	union {
		struct file_handle handle;
		char space[sizeof(struct file_handle) + MAX_HANDLE_SZ];
	} u;
	int mnt_id;

	u.handle.handle_bytes = MAX_HANDLE_SZ;
	ASSERT_EQ(0, name_to_handle_at(t->fd, "", &u.handle, &mnt_id,
				       AT_EMPTY_PATH));
	return result_fd(open_by_handle_at(t->other, &u.handle,
					   t->arg | O_CLOEXEC));
}

/* XFS has handles of its own, whose files don't even change the times. */
struct xfs_handlereq {
	__u32 fd;
	const char *path;
	__u32 oflags;
	void *ihandle;
	__u32 ihandlen;
	void *ohandle;
	__u32 *ohandlen;
};

static int open_xfs_handle(struct try *t)
{
	struct __test_metadata *_metadata = t->_metadata;
	char handle[64];
	__u32 len = sizeof(handle);
	int dir = xopen(_metadata, ".", O_RDONLY), err;
	struct xfs_handlereq req = {
		.fd = t->fd, .ohandle = handle, .ohandlen = &len,
	};

	ASSERT_EQ(0, ioctl(dir, _IOWR('X', 106, struct xfs_handlereq), &req));
	req.ihandle = handle;
	req.ihandlen = len;
	req.oflags = t->arg;
	err = result_fd(ioctl(dir, _IOWR('X', 107, struct xfs_handlereq), &req));
	close(dir);
	return err;
}

static int truncate_name(struct try *t)
{
	return result(truncate(t->name, t->arg));
}

/* Writing to a descriptor that is open for reading */

static int do_ftruncate(struct try *t)
{
	return result(ftruncate(t->fd, t->arg));
}

static int do_pwrite(struct try *t)
{
	return result(pwrite(t->fd, junk, BLK, t->arg));
}

static int do_pwritev2(struct try *t)
{
	struct iovec iov = { junk, BLK };

	return result(pwritev2(t->fd, &iov, 1, 0, t->arg));
}

static int do_aio_write(struct try *t)
{
	struct __test_metadata *_metadata = t->_metadata;
	struct iocb cb = {
		.aio_lio_opcode = IOCB_CMD_PWRITE, .aio_fildes = t->fd,
		.aio_buf = (unsigned long)junk, .aio_nbytes = BLK,
	};
	struct iocb *cbs = &cb;
	aio_context_t context = 0;
	int err;

	ASSERT_EQ(0, syscall(__NR_io_setup, 1, &context));
	err = result(syscall(__NR_io_submit, context, 1, &cbs));
	ASSERT_EQ(0, syscall(__NR_io_destroy, context));
	return err;
}

static int uring_open(struct try *t)
{
	struct io_uring_sqe sqe = {
		.opcode = IORING_OP_OPENAT, .fd = AT_FDCWD,
		.addr = (unsigned long)t->name, .open_flags = t->arg,
	};
	int fd = uring(&sqe);

	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

static int uring_write(struct try *t)
{
	struct io_uring_sqe sqe = {
		.opcode = IORING_OP_WRITE, .fd = t->fd,
		.addr = (unsigned long)junk, .len = BLK,
	};

	return uring(&sqe);
}

static int uring_fallocate(struct try *t)
{
	struct io_uring_sqe sqe = {
		.opcode = IORING_OP_FALLOCATE, .fd = t->fd,
		.len = t->arg, .addr = BLK,
	};

	return uring(&sqe);
}

static int uring_ftruncate(struct try *t)
{
	struct io_uring_sqe sqe = { .opcode = OP_FTRUNCATE, .fd = t->fd };

	return uring(&sqe);
}

/* Make a pipe with a block of junk in it. */
static void make_pipe(struct try *t, int pipes[2])
{
	struct __test_metadata *_metadata = t->_metadata;

	ASSERT_EQ(0, pipe(pipes));
	ASSERT_EQ(BLK, write(pipes[1], junk, BLK));
}

static void close_pipe(int pipes[2])
{
	close(pipes[0]);
	close(pipes[1]);
}

static int splice_into(struct try *t)
{
	loff_t offset = 0;
	int pipes[2], err;

	make_pipe(t, pipes);
	err = result(splice(pipes[0], NULL, t->fd, &offset, BLK, 0));
	close_pipe(pipes);
	return err;
}

static int uring_splice(struct try *t)
{
	struct io_uring_sqe sqe = {
		.opcode = IORING_OP_SPLICE, .fd = t->fd, .len = BLK,
		.splice_off_in = -1,
	};
	int pipes[2], err;

	make_pipe(t, pipes);
	sqe.splice_fd_in = pipes[0];
	err = uring(&sqe);
	close_pipe(pipes);
	return err;
}

static int sendfile_into(struct try *t)
{
	off_t offset = BLK;

	return result(sendfile(t->fd, t->shifted, &offset, BLK));
}

static int copy_into(struct try *t)
{
	loff_t in = 0, out = 0;

	return result(copy_file_range(t->shifted, &in, t->fd, &out, BLK, 0));
}

static int do_fallocate(struct try *t)
{
	return result(fallocate(t->fd, t->arg, BLK, BLK));
}

/* struct space_resv, what was there before fallocate() */
struct space {
	__s16 type, whence;
	__s64 start, len;
	__s32 sysid;
	__u32 pid, pad[4];
};

static int do_space(struct try *t)
{
	struct space space = { .start = BLK, .len = BLK };

	return result(ioctl(t->fd, _IOW('X', t->arg, struct space), &space));
}

/* Replacing blocks */

static int clone_into(struct try *t)
{
	return result(ioctl(t->fd, FICLONE, t->shifted));
}

static int clone_range_into(struct try *t)
{
	struct file_clone_range range = {
		.src_fd = t->shifted, .src_length = BLK, .dest_offset = BLK,
	};

	return result(ioctl(t->fd, FICLONERANGE, &range));
}

/* The result of dedupe() */
static int deduped(long bytes)
{
	return bytes < 0 ? bytes : bytes == BLK ? 0 : -EIO;
}

static int dedupe_into(struct try *t)
{
	return deduped(dedupe(t->other, t->arg, t->fd, t->arg, BLK));
}

/* Equal bytes at different offsets */
static int dedupe_shifted_into(struct try *t)
{
	return deduped(dedupe(t->shifted, t->arg + BLK, t->fd, t->arg, BLK));
}

static int dedupe_peer_into(struct try *t)
{
	return deduped(dedupe(t->peer, t->arg, t->fd, BLK, BLK));
}

static int dedupe_second_into(struct try *t)
{
	return deduped(dedupe(t->second, t->arg, t->fd, BLK, BLK));
}

static int dedupe_within(struct try *t)
{
	return deduped(dedupe(t->fd, t->arg, t->fd, BLK, BLK));
}

/* As a source, it is as good as any file. */
static int dedupe_from(struct try *t)
{
	return deduped(dedupe(t->fd, BLK, t->other, BLK, BLK));
}

static int dedupe_from_shifted(struct try *t)
{
	return deduped(dedupe(t->fd, BLK, t->shifted, 2 * BLK, BLK));
}

/*
 * These demand that both files are open for writing.  The other one is, so that
 * it is not what they refuse.
 */
static int open_shifted(struct try *t)
{
	struct __test_metadata *_metadata = t->_metadata;

	return xopen(_metadata, "shifted", O_RDWR);
}

struct xfs_swap {
	__s64 version, target, tmp, offset, length;
	char pad[16];
	char stat[136];
};

/* arg: is it the target? */
static int do_swapext(struct try *t)
{
	int shifted = open_shifted(t), err;
	struct xfs_swap swap = {
		.target = t->arg ? t->fd : shifted,
		.tmp = t->arg ? shifted : t->fd, .length = PAIR_SIZE,
	};

	err = result(ioctl(t->fd, _IOWR('X', 109, struct xfs_swap), &swap));
	close(shifted);
	return err;
}

struct xfs_bulkreq {
	const __u64 *ino;
	__s32 count;
	void *stats;
	__s32 *done;
};

/* Swap all extents of @target with those of @tmp, as xfs_fsr(8) does. */
static int swap_all(struct __test_metadata *_metadata, int target, int tmp)
{
	struct xfs_swap swap = {
		.target = target, .tmp = tmp, .length = PAIR_SIZE,
	};
	struct xfs_bulkreq req = { .count = 1, .stats = swap.stat };
	struct stat st;
	__u64 ino;

	ASSERT_EQ(0, fstat(target, &st));
	ino = st.st_ino;
	req.ino = &ino;
	ASSERT_EQ(0, ioctl(target, _IOWR('X', 102, struct xfs_bulkreq), &req));
	return result(ioctl(target, _IOWR('X', 109, struct xfs_swap), &swap));
}

struct xfs_exchange {
	__s32 file1_fd;
	__u32 pad;
	__u64 file1_offset, file2_offset, length, flags;
};

/* arg: is it the file that the ioctl is called on? */
static int do_exchange(struct try *t)
{
	int shifted = open_shifted(t), err;
	struct xfs_exchange range = {
		.file1_fd = t->arg ? shifted : t->fd, .length = BLK,
	};

	err = result(ioctl(t->arg ? t->fd : shifted,
			   _IOW('X', 129, struct xfs_exchange), &range));
	close(shifted);
	return err;
}

struct xfs_commit {
	struct xfs_exchange range;
	__u64 freshness[6];
};

/* arg: as in do_exchange() */
static int do_commit(struct try *t)
{
	struct __test_metadata *_metadata = t->_metadata;
	int shifted = open_shifted(t), err;
	int fd = t->arg ? t->fd : shifted;
	struct xfs_commit arg = {};

	ASSERT_EQ(0, ioctl(fd, _IOR('X', 130, struct xfs_commit), &arg));
	arg.range.file1_fd = t->arg ? shifted : t->fd;
	arg.range.length = BLK;
	err = result(ioctl(fd, _IOW('X', 131, struct xfs_commit), &arg));
	close(shifted);
	return err;
}

/* Maintenance */

static int free_eofblocks(struct try *t)
{
	struct {
		__u32 version, flags, uid, gid, prid, pad32;
		__u64 min_file_size, pad64[12];
	} arg = { .version = 1, .flags = 1 };	/* wait for it */

	return result(ioctl(t->fd, _IOC(_IOC_READ, 'X', 58, sizeof(arg)),
			    &arg));
}

static int set_xflags(struct try *t)
{
	struct __test_metadata *_metadata = t->_metadata;
	struct fsxattr x;

	ASSERT_EQ(0, ioctl(t->fd, FS_IOC_FSGETXATTR, &x));
	x.fsx_xflags |= t->arg;
	if (t->arg == FS_XFLAG_EXTSIZE)
		x.fsx_extsize = 4 * BLK;
	if (t->arg == FS_XFLAG_COWEXTSIZE)
		x.fsx_cowextsize = 4 * BLK;
	return result(ioctl(t->fd, FS_IOC_FSSETXATTR, &x));
}

static int set_flags(struct try *t)
{
	struct __test_metadata *_metadata = t->_metadata;
	int flags;

	ASSERT_EQ(0, ioctl(t->fd, FS_IOC_GETFLAGS, &flags));
	flags |= t->arg;
	return result(ioctl(t->fd, FS_IOC_SETFLAGS, &flags));
}

static int enable_verity(struct try *t)
{
	struct fsverity_enable_arg arg = {
		.version = 1, .hash_algorithm = FS_VERITY_HASH_ALG_SHA256,
		.block_size = BLK,
	};

	return result(ioctl(t->fd, FS_IOC_ENABLE_VERITY, &arg));
}

/* Through memory; arg is how it is mapped. */

static void *map_fd(struct try *t, int prot)
{
	struct __test_metadata *_metadata = t->_metadata;
	void *map = mmap(NULL, BLK, prot, t->arg, t->fd, 0);

	ASSERT_NE(MAP_FAILED, map);
	return map;
}

static int mmap_writable(struct try *t)
{
	char *map = mmap(NULL, BLK, PROT_READ | PROT_WRITE, t->arg, t->fd, 0);

	if (map == MAP_FAILED)
		return -errno;
	*map ^= 0xff;
	munmap(map, BLK);
	return 0;
}

static int mprotect_writable(struct try *t)
{
	char *map = map_fd(t, PROT_READ);
	int err = result(mprotect(map, BLK, PROT_READ | PROT_WRITE));

	if (!err)
		*map ^= 0xff;
	munmap(map, BLK);
	return err;
}

static int madvise_remove(struct try *t)
{
	void *map = map_fd(t, PROT_READ);
	int err = result(madvise(map, BLK, MADV_REMOVE));

	munmap(map, BLK);
	return err;
}

static int madvise_populate_write(struct try *t)
{
	void *map = map_fd(t, PROT_READ);
	int err = result(madvise(map, BLK, MADV_POPULATE_WRITE));

	munmap(map, BLK);
	return err;
}

static int read_to_map(struct try *t)
{
	void *map = map_fd(t, PROT_READ);
	int err = result(pread(t->shifted, map, BLK, 0));

	munmap(map, BLK);
	return err;
}

static int direct_read_to_map(struct try *t)
{
	struct __test_metadata *_metadata = t->_metadata;
	int fd = xopen(_metadata, "shifted", O_RDONLY | O_DIRECT);
	void *map = map_fd(t, PROT_READ);
	int err = result(pread(fd, map, BLK, 0));

	munmap(map, BLK);
	close(fd);
	return err;
}

static int vmsplice_to_map(struct try *t)
{
	struct iovec iov = { map_fd(t, PROT_READ), BLK };
	int pipes[2], err;

	make_pipe(t, pipes);
	err = result(vmsplice(pipes[0], &iov, 1, 0));
	close_pipe(pipes);
	munmap(iov.iov_base, BLK);
	return err;
}

/* io_uring could write later, and often, to what it has registered. */
static int uring_register(struct try *t)
{
	struct __test_metadata *_metadata = t->_metadata;
	struct iovec iov = { map_fd(t, PROT_READ), BLK };
	struct io_uring_params p = {};
	int fd, err;

	fd = syscall(__NR_io_uring_setup, 1, &p);
	ASSERT_LE(0, fd);
	err = result(syscall(__NR_io_uring_register, fd,
			     IORING_REGISTER_BUFFERS, &iov, 1));
	close(fd);
	munmap(iov.iov_base, BLK);
	return err;
}

/* The same with what was mapped when the descriptors were opened */

static int mprotect_earlier(struct try *t)
{
	return result(mprotect(t->shared, BLK, PROT_READ | PROT_WRITE));
}

static int read_to_earlier(struct try *t)
{
	return result(pread(t->shifted, t->shared, BLK, 0));
}

/* Writing makes a copy, and giving it up leaves what the file has. */
static int write_earlier(struct try *t)
{
	struct __test_metadata *_metadata = t->_metadata;

	memcpy(t->private, junk, BLK);
	EXPECT_EQ(0, madvise(t->private, BLK, MADV_DONTNEED));
	EXPECT_EQ(pattern(1, 0), t->private[0]);
	EXPECT_EQ(pattern(1, BLK - 1), t->private[BLK - 1]);
	return 0;
}

static int proc_mem_write(struct try *t)
{
	struct __test_metadata *_metadata = t->_metadata;
	int fd = xopen(_metadata, "/proc/self/mem", O_RDWR);
	void *map = map_fd(t, PROT_READ);
	int err = result(pwrite(fd, junk, BLK, (unsigned long)map));

	EXPECT_EQ(!err, !memcmp(map, junk, BLK));
	munmap(map, BLK);
	close(fd);
	return err;
}

static int vm_writev(struct try *t)
{
	struct iovec from = { junk, BLK };
	struct iovec to = { map_fd(t, PROT_READ), BLK };
	int err = result(process_vm_writev(getpid(), &from, 1, &to, 1, 0));

	munmap(to.iov_base, BLK);
	return err;
}

/* Set a breakpoint in another process. */
static int ptrace_poke(struct try *t)
{
	struct __test_metadata *_metadata = t->_metadata;
	long *map = map_fd(t, PROT_READ | PROT_EXEC), poked = *map ^ 0xff;
	int status, err;
	pid_t pid;

	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		_exit(255);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_TRUE(WIFSTOPPED(status));
	err = result(ptrace(PTRACE_POKETEXT, pid, map, poked));
	errno = 0;
	EXPECT_EQ(err ? *map : poked, ptrace(PTRACE_PEEKTEXT, pid, map, NULL));
	EXPECT_EQ(0, errno);
	kill(pid, SIGKILL);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	munmap(map, BLK);
	return err;
}

/* Through a pipe that holds a page of the file, not a copy of it */

static int append_to_pipe_page(struct try *t)
{
	struct __test_metadata *_metadata = t->_metadata;
	loff_t offset = 0;
	int pipes[2], i;
	char byte;

	ASSERT_EQ(0, pipe(pipes));
	/* Let all of the pipe's buffers have been used for writing. */
	for (i = 0; i < 16; i++) {
		ASSERT_EQ(BLK, write(pipes[1], junk, BLK));
		ASSERT_EQ(BLK, read(pipes[0], junk, BLK));
	}
	ASSERT_EQ(1, splice(t->fd, &offset, pipes[1], NULL, 1, 0));
	ASSERT_EQ(BLK - 1, write(pipes[1], junk, BLK - 1));
	ASSERT_EQ(1, read(pipes[0], &byte, 1));
	EXPECT_EQ(pattern(1, 0), (unsigned char)byte);
	close_pipe(pipes);
	return 0;
}

/* Who can make an attempt, and where */
#define ROOT 1			/* others get EPERM */
#define XFS 2			/* which has it alone */
#define OWNER 4			/* and root; others get EPERM */
#define MODE 8			/* who may write to it; others get EACCES */
#define MODE_EPERM 16		/* the same, but EPERM */
#define SINCE_6_2 32		/* XFS, which has all of these since then */
#define SINCE_6_12 64

/*
 * What is tried, and how it ends on an ordinary file and on a frozen one.  Where
 * this is no different, the manual page of the call says so: EBADF, or EINVAL
 * for ftruncate(2), for a descriptor that isn't open for writing, which the VFS
 * finds before anything else; EACCES for making memory writable that such a
 * descriptor was mapped to; EFAULT, or EIO by ptrace(2) and /proc/PID/mem, for
 * writing to memory that is not writable.
 */
static const struct attempt {
	const char *name;
	int (*try)(struct try *t);
	int arg;
	int ordinary, frozen;
	int only;		/* ROOT, XFS ...; 0: everybody, everywhere */
} attempts[] = {
	{ "open O_WRONLY", open_name, O_WRONLY, 0, -ETXTBSY, MODE },
	{ "open O_RDWR", open_name, O_RDWR, 0, -ETXTBSY, MODE },
	{ "open O_APPEND", open_name, O_RDWR | O_APPEND, 0, -ETXTBSY, MODE },
	{ "open O_DIRECT", open_name, O_RDWR | O_DIRECT, 0, -ETXTBSY, MODE },
	{ "open O_TRUNC", open_name, O_WRONLY | O_CREAT | O_TRUNC,
	  0, -ETXTBSY, MODE },
	{ "open O_RDONLY | O_TRUNC", open_name, O_TRUNC, 0, -ETXTBSY, MODE },
	{ "open for ioctl, O_TRUNC", open_name, O_ACCMODE | O_TRUNC,
	  0, -ETXTBSY, MODE },
	{ "/proc/self/fd O_RDWR", open_proc_fd, O_RDWR, 0, -ETXTBSY, MODE },
	{ "/proc/self/fd O_TRUNC", open_proc_fd, O_TRUNC, 0, -ETXTBSY, MODE },
	{ "/proc/self/map_files", open_proc_map, O_RDWR, 0, -ETXTBSY, ROOT },
	{ "open_by_handle_at", open_handle, O_RDWR, 0, -ETXTBSY, ROOT },
	{ "XFS_IOC_OPEN_BY_HANDLE", open_xfs_handle, O_RDWR,
	  0, -ETXTBSY, ROOT | XFS },
	{ "io_uring openat", uring_open, O_RDWR, 0, -ETXTBSY, MODE },
	{ "io_uring openat O_TRUNC", uring_open, O_TRUNC, 0, -ETXTBSY, MODE },
	{ "truncate to nothing", truncate_name, 0, 0, -ETXTBSY, MODE },
	{ "truncate", truncate_name, PAIR_SIZE / 2 + 1, 0, -ETXTBSY, MODE },
	{ "truncate to its size", truncate_name, PAIR_SIZE, 0, -ETXTBSY, MODE },
	{ "truncate to more", truncate_name, 2 * PAIR_SIZE, 0, -ETXTBSY, MODE },

	{ "ftruncate", do_ftruncate, 0, -EINVAL, -EINVAL, 0 },
	{ "ftruncate to more", do_ftruncate, 2 * PAIR_SIZE,
	  -EINVAL, -EINVAL, 0 },
	{ "pwrite", do_pwrite, 0, -EBADF, -EBADF, 0 },
	{ "pwrite behind the end", do_pwrite, PAIR_SIZE, -EBADF, -EBADF, 0 },
	{ "pwritev2 RWF_APPEND", do_pwritev2, RWF_APPEND, -EBADF, -EBADF, 0 },
	{ "io_submit", do_aio_write, 0, -EBADF, -EBADF, 0 },
	{ "io_uring write", uring_write, 0, -EBADF, -EBADF, 0 },
	{ "io_uring fallocate", uring_fallocate, 0, -EBADF, -EBADF, 0 },
	{ "io_uring ftruncate", uring_ftruncate, 0, -EINVAL, -EINVAL, 0 },
	{ "io_uring splice", uring_splice, 0, -EBADF, -EBADF, 0 },
	{ "splice", splice_into, 0, -EBADF, -EBADF, 0 },
	{ "sendfile", sendfile_into, 0, -EBADF, -EBADF, 0 },
	{ "copy_file_range", copy_into, 0, -EBADF, -EBADF, 0 },

	{ "fallocate", do_fallocate, 0, -EBADF, -EBADF, 0 },
	{ "fallocate, size kept", do_fallocate, FALLOC_FL_KEEP_SIZE,
	  -EBADF, -EBADF, 0 },
	{ "punch hole", do_fallocate,
	  FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, -EBADF, -EBADF, 0 },
	{ "zero range", do_fallocate, FALLOC_FL_ZERO_RANGE, -EBADF, -EBADF, 0 },
	{ "zero range, size kept", do_fallocate,
	  FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, -EBADF, -EBADF, 0 },
	{ "collapse range", do_fallocate, FALLOC_FL_COLLAPSE_RANGE,
	  -EBADF, -EBADF, 0 },
	{ "insert range", do_fallocate, FALLOC_FL_INSERT_RANGE,
	  -EBADF, -EBADF, 0 },
	{ "unshare range", do_fallocate, FALLOC_FL_UNSHARE_RANGE,
	  -EBADF, -EBADF, 0 },
	{ "FS_IOC_RESVSP", do_space, 40, -EBADF, -EBADF, 0 },
	{ "FS_IOC_UNRESVSP", do_space, 41, -EBADF, -EBADF, 0 },
	{ "FS_IOC_RESVSP64", do_space, 42, -EBADF, -EBADF, 0 },
	{ "FS_IOC_UNRESVSP64", do_space, 43, -EBADF, -EBADF, 0 },
	{ "FS_IOC_ZERO_RANGE", do_space, 57, -EBADF, -EBADF, 0 },
	/* These are gone since 5.17. */
	{ "XFS_IOC_ALLOCSP64", do_space, 36, -ENOTTY, -ENOTTY, XFS },
	{ "XFS_IOC_FREESP64", do_space, 37, -ENOTTY, -ENOTTY, XFS },

	{ "FICLONE", clone_into, 0, -EBADF, -EBADF, 0 },
	{ "FICLONERANGE", clone_range_into, 0, -EBADF, -EBADF, 0 },
	/* The one way that needs no write access to the file. */
	{ "dedupe", dedupe_into, 0, 0, -ETXTBSY, MODE_EPERM },
	{ "dedupe in the middle", dedupe_into, 3 * BLK,
	  0, -ETXTBSY, MODE_EPERM },
	{ "dedupe at the end", dedupe_into, PAIR_SIZE - BLK,
	  0, -ETXTBSY, MODE_EPERM },
	{ "dedupe, other offset", dedupe_shifted_into, 0,
	  0, -ETXTBSY, MODE_EPERM },
	{ "dedupe, other offset in the middle", dedupe_shifted_into, 5 * BLK,
	  0, -ETXTBSY, MODE_EPERM },
	{ "dedupe from its peer", dedupe_peer_into, BLK,
	  0, -ETXTBSY, MODE_EPERM },
	{ "dedupe from another alias", dedupe_second_into, BLK,
	  0, -ETXTBSY, MODE_EPERM },
	/* EBADE is dedupe() telling that the bytes differ. */
	{ "dedupe from its peer, other offset", dedupe_peer_into, 2 * BLK,
	  -EBADE, -ETXTBSY, MODE_EPERM },
	{ "dedupe from another alias, other offset", dedupe_second_into, 0,
	  -EBADE, -ETXTBSY, MODE_EPERM },
	{ "dedupe within", dedupe_within, 4 * BLK,
	  -EBADE, -ETXTBSY, MODE_EPERM },
	{ "dedupe from it", dedupe_from, 0, 0, 0, 0 },
	{ "dedupe from it, other offset", dedupe_from_shifted, 0, 0, 0, 0 },

	{ "XFS_IOC_SWAPEXT, as target", do_swapext, true, -EBADF, -EBADF, XFS },
	{ "XFS_IOC_SWAPEXT", do_swapext, false, -EBADF, -EBADF, XFS },
	{ "XFS_IOC_EXCHANGE_RANGE", do_exchange, true,
	  -EBADF, -EBADF, SINCE_6_12 },
	{ "XFS_IOC_EXCHANGE_RANGE, given", do_exchange, false,
	  -EBADF, -EBADF, SINCE_6_12 },
	{ "XFS_IOC_COMMIT_RANGE", do_commit, true, -EBADF, -EBADF, SINCE_6_12 },
	{ "XFS_IOC_COMMIT_RANGE, given", do_commit, false,
	  -EBADF, -EBADF, SINCE_6_12 },
	{ "XFS_IOC_FREE_EOFBLOCKS", free_eofblocks, 0, 0, 0, ROOT | XFS },
	/* XFS refuses these for files with blocks. */
	{ "realtime flag", set_xflags, FS_XFLAG_REALTIME,
	  -EINVAL, -EINVAL, XFS | OWNER },
	{ "extent size", set_xflags, FS_XFLAG_EXTSIZE,
	  -EINVAL, -EINVAL, XFS | OWNER },
	/* XFS has no fs-verity. */
	{ "FS_IOC_ENABLE_VERITY", enable_verity, 0, -ENOTTY, -ENOTTY, XFS },
	/* Metadata is no data.  DAX is for when the inode is read next. */
	{ "FS_XFLAG_DAX", set_xflags, FS_XFLAG_DAX, 0, 0, SINCE_6_2 | OWNER },
	{ "copy-on-write extent size", set_xflags, FS_XFLAG_COWEXTSIZE,
	  0, 0, XFS | OWNER },
	{ "FS_IOC_SETFLAGS", set_flags, FS_NODUMP_FL | FS_SYNC_FL,
	  0, 0, OWNER },

	{ "mmap", mmap_writable, MAP_SHARED, -EACCES, -EACCES, 0 },
	{ "mmap private", mmap_writable, MAP_PRIVATE, 0, 0, 0 },
	{ "mprotect", mprotect_writable, MAP_SHARED, -EACCES, -EACCES, 0 },
	{ "mprotect private", mprotect_writable, MAP_PRIVATE, 0, 0, 0 },
	{ "MADV_REMOVE", madvise_remove, MAP_SHARED, -EACCES, -EACCES, 0 },
	{ "MADV_REMOVE private", madvise_remove, MAP_PRIVATE,
	  -EACCES, -EACCES, 0 },
	{ "MADV_POPULATE_WRITE", madvise_populate_write, MAP_SHARED,
	  -EINVAL, -EINVAL, 0 },
	{ "read to mapping", read_to_map, MAP_SHARED, -EFAULT, -EFAULT, 0 },
	{ "O_DIRECT read to mapping", direct_read_to_map, MAP_SHARED,
	  -EFAULT, -EFAULT, 0 },
	{ "vmsplice to mapping", vmsplice_to_map, MAP_SHARED,
	  -EFAULT, -EFAULT, 0 },
	{ "IORING_REGISTER_BUFFERS", uring_register, MAP_SHARED,
	  -EFAULT, -EFAULT, 0 },
	{ "IORING_REGISTER_BUFFERS private", uring_register, MAP_PRIVATE,
	  -EFAULT, -EFAULT, 0 },
	{ "process_vm_writev", vm_writev, MAP_SHARED, -EFAULT, -EFAULT, 0 },
	{ "process_vm_writev private", vm_writev, MAP_PRIVATE,
	  -EFAULT, -EFAULT, 0 },
	/* Debuggers may write to read-only memory, if it is a copy. */
	{ "/proc/self/mem", proc_mem_write, MAP_SHARED, -EIO, -EIO, 0 },
	{ "/proc/self/mem private", proc_mem_write, MAP_PRIVATE, 0, 0, 0 },
	{ "PTRACE_POKETEXT", ptrace_poke, MAP_SHARED, -EIO, -EIO, 0 },
	{ "PTRACE_POKETEXT private", ptrace_poke, MAP_PRIVATE, 0, 0, 0 },

	{ "mprotect of an earlier mapping", mprotect_earlier, 0,
	  -EACCES, -EACCES, 0 },
	{ "read to an earlier mapping", read_to_earlier, 0,
	  -EFAULT, -EFAULT, 0 },
	{ "write to an earlier private mapping", write_earlier, 0, 0, 0, 0 },

	{ "append to a page in a pipe", append_to_pipe_page, 0, 0, 0, 0 },
};

static const char * const names[] = { "donor", "alias", "second" };

/* The content of all of them */
static unsigned char content[PAIR_SIZE];

/* Does @fd read, from @offset on, as content and not a byte more? */
static bool reads_right_from(int fd, off_t offset)
{
	static alignas(BLK) unsigned char buf[PAIR_SIZE + BLK];

	return pread(fd, buf, sizeof(buf), offset) == PAIR_SIZE &&
	       !memcmp(buf, content, PAIR_SIZE);
}

static bool reads_right(int fd)
{
	return reads_right_from(fd, 0);
}

#define MAX_EXTENTS 16

struct block_map {
	struct fiemap head;
	struct fiemap_extent extents[MAX_EXTENTS];
};

static struct block_map blocks_of(struct __test_metadata *_metadata, int fd)
{
	struct block_map map = {
		.head.fm_length = FIEMAP_MAX_OFFSET,
		.head.fm_extent_count = MAX_EXTENTS,
	};

	ASSERT_EQ(0, ioctl(fd, FS_IOC_FIEMAP, &map));
	ASSERT_GT(MAX_EXTENTS, map.head.fm_mapped_extents);
	return map;
}

/* Have all three kept their content, in memory and on disk, blocks and state? */
static bool unharmed(struct try *t, const struct block_map *blocks)
{
	struct __test_metadata *_metadata = t->_metadata;
	bool right = reads_right(t->fd);
	struct block_map map;
	size_t i;
	int fd;

	for (i = 0; i < ARRAY_SIZE(names); i++) {
		fd = xopen(_metadata, names[i], O_RDONLY);
		right &= reads_right(fd);
		map = blocks_of(_metadata, fd);
		right &= !memcmp(&map, blocks, sizeof(map));
		close(fd);
		fd = xopen(_metadata, names[i], O_RDONLY | O_DIRECT);
		right &= reads_right(fd);
		close(fd);
		right &= state_of(_metadata, names[i]) == (i ? KEPT : DONOR);
	}
	return right && info_file(_metadata, "donor").nr_aliases == 2;
}

/* Who makes the attempts: the last two are strangers, to mode 0666 and 0644. */
enum caller { AS_ROOT, AS_OWNER, AS_WRITER, AS_READER };

static const char * const callers[] = {
	"root", "its owner", "one who may write to it",
	"one who may read it",
};

/* How an attempt ends. */
static int due_result(const struct attempt *a, enum caller who, bool frozen)
{
	if (who != AS_ROOT && (a->only & ROOT))
		return -EPERM;
	if (who > AS_OWNER && (a->only & OWNER))
		return -EPERM;
	if (who == AS_READER && (a->only & MODE))
		return -EACCES;
	if (who == AS_READER && (a->only & MODE_EPERM))
		return -EPERM;
	return frozen ? a->frozen : a->ordinary;
}

/* Make all attempts.  @blocks: those of the frozen files; else it is ordinary. */
static void try_all(struct try *t, const char *type,
		    const struct block_map *blocks, enum caller who)
{
	struct __test_metadata *_metadata = t->_metadata;
	const struct attempt *a;

	for (a = attempts; a < attempts + ARRAY_SIZE(attempts); a++) {
		if ((a->only & (XFS | SINCE_6_2 | SINCE_6_12)) &&
		    strcmp(type, "xfs"))
			continue;
		if ((a->only & SINCE_6_2) && !linux_since(6, 2))
			continue;
		if ((a->only & SINCE_6_12) && !linux_since(6, 12))
			continue;
		if (!blocks)
			clone_file(_metadata, "pristine", t->name);
		t->arg = a->arg;
		EXPECT_EQ(due_result(a, who, blocks), a->try(t)) {
			TH_LOG("%s of %s as %s", a->name, t->name,
			       callers[who]);
		}
		if (!blocks)
			continue;
		EXPECT_TRUE(unharmed(t, blocks)) {
			TH_LOG("%s of %s as %s", a->name, t->name,
			       callers[who]);
		}
	}
}

static void try_all_as(struct try *t, const char *type,
		       const struct block_map *blocks, enum caller who)
{
	struct __test_metadata *_metadata = t->_metadata;
	pid_t pid;

	pid = fork_as(_metadata, who == AS_OWNER ? ALICE : BOB, 0);
	if (!pid) {
		/* Or it could not trace itself. */
		ASSERT_EQ(0, prctl(PR_SET_DUMPABLE, 1));
		try_all(t, type, blocks, who);
		child_exit(has_failed(_metadata) ? -1 : 0);
	}
	EXPECT_EQ(0, child_result(_metadata, pid));
}

/* As root, as the files' owner and as a stranger. */
static void try_all_callers(struct try *t, const char *type,
			    const struct block_map *blocks)
{
	struct __test_metadata *_metadata = t->_metadata;

	try_all(t, type, blocks, AS_ROOT);
	try_all_as(t, type, blocks, AS_OWNER);
	/* Of ordinary files, a reader could not undo what was done. */
	if (blocks)
		try_all_as(t, type, blocks, AS_READER);
	ASSERT_EQ(0, chmod(t->name, 0666));
	try_all_as(t, type, blocks, AS_WRITER);
	ASSERT_EQ(0, chmod(t->name, 0644));
}

static void open_all(struct try *t)
{
	struct __test_metadata *_metadata = t->_metadata;
	bool donor = !strcmp(t->name, "donor");

	t->fd = xopen(_metadata, t->name, O_RDONLY);
	t->peer = xopen(_metadata, donor ? "alias" : "donor", O_RDONLY);
	t->second = xopen(_metadata, "second", O_RDONLY);
	t->other = xopen(_metadata, "other", O_RDONLY);
	t->shifted = xopen(_metadata, "shifted", O_RDONLY);
	t->shared = mmap(NULL, BLK, PROT_READ, MAP_SHARED | MAP_POPULATE, t->fd,
			 0);
	ASSERT_NE(MAP_FAILED, t->shared);
	t->private = mmap(NULL, 2 * BLK, PROT_READ | PROT_WRITE, MAP_PRIVATE,
			  t->fd, 0);
	ASSERT_NE(MAP_FAILED, t->private);
	EXPECT_EQ(pattern(1, 0), t->private[0]);
	memcpy(t->private + BLK, junk, BLK);
}

static void close_all(struct try *t)
{
	munmap(t->shared, BLK);
	munmap(t->private, 2 * BLK);
	close(t->fd);
	close(t->peer);
	close(t->second);
	close(t->other);
	close(t->shifted);
}

/* Make the files of struct try, ALICE's. */
static void make_all(struct __test_metadata *_metadata)
{
	static const char * const all[] = {
		"donor", "alias", "second", "other", "shifted", "pristine",
	};
	size_t i;
	int fd;

	for (i = 0; i < PAIR_SIZE; i++)
		content[i] = pattern(1, i);
	donor_and_alias(_metadata);
	clone_file(_metadata, "donor", "second");
	make_file(_metadata, "other", PAIR_SIZE, 1);
	make_file(_metadata, "pristine", PAIR_SIZE, 1);
	make_file(_metadata, "shifted", BLK, 2);
	fd = xopen(_metadata, "shifted", O_WRONLY | O_APPEND);
	ASSERT_EQ(PAIR_SIZE, write(fd, content, PAIR_SIZE));
	ASSERT_EQ(0, fsync(fd));
	close(fd);
	for (i = 0; i < ARRAY_SIZE(all); i++)
		ASSERT_EQ(0, chown(all[i], ALICE, ALICE));
	/* What is not under test is no obstacle. */
	ASSERT_EQ(0, chmod("other", 0666));
	ASSERT_EQ(0, chmod("shifted", 0666));
}

/* The same with both aliases made.  Opens "alias"; returns what it has on the disk. */
static struct block_map make_aliases(struct try *t)
{
	struct __test_metadata *_metadata = t->_metadata;

	make_all(_metadata);
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	ASSERT_EQ(0, alias_file("second", "donor", KEEP));
	t->fd = xopen(_metadata, "alias", O_RDONLY);
	return blocks_of(_metadata, t->fd);
}

/* Released, they are three files like any other. */
static void check_released(struct __test_metadata *_metadata)
{
	size_t i;

	ASSERT_EQ(0, release_file("donor"));
	for (i = 0; i < ARRAY_SIZE(names); i++) {
		EXPECT_EQ(ORDINARY, state_of(_metadata, names[i]));
		EXPECT_EQ(0, try_open(names[i], O_RDWR));
		EXPECT_TRUE(file_has(_metadata, names[i], PAIR_SIZE, 1));
	}
}

/* Try all on "alias" or "donor", by descriptors of before or after the switch. */
static void check_frozen(struct __test_metadata *_metadata, const char *type,
			 const char *name, bool before)
{
	struct try t = { ._metadata = _metadata, .name = name };
	struct block_map blocks;

	make_all(_metadata);
	if (before)
		open_all(&t);
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	ASSERT_EQ(0, alias_file("second", "donor", KEEP));
	if (!before)
		open_all(&t);
	blocks = blocks_of(_metadata, t.fd);
	ASSERT_TRUE(unharmed(&t, &blocks));
	try_all_callers(&t, type, &blocks);
	drop_caches(_metadata, "3");
	EXPECT_TRUE(unharmed(&t, &blocks));
	EXPECT_TRUE(reads_right(t.other));
	EXPECT_TRUE(fd_has(_metadata, t.shifted, 0, BLK, 2));
	EXPECT_TRUE(reads_right_from(t.shifted, BLK));
	/* Truncating would have taken it away. */
	EXPECT_EQ(0, memcmp(t.private + BLK, junk, BLK));
	close_all(&t);

	check_released(_metadata);
}

TEST_F(fs, alias)
{
	check_frozen(_metadata, variant->type, "alias", false);
}

TEST_F(fs, alias_opened_before)
{
	check_frozen(_metadata, variant->type, "alias", true);
}

TEST_F(fs, donor)
{
	check_frozen(_metadata, variant->type, "donor", false);
}

TEST_F(fs, donor_opened_before)
{
	check_frozen(_metadata, variant->type, "donor", true);
}

/* What has been frozen is a file like any other, to which the attempts apply. */
TEST_F(fs, released)
{
	static const char * const both[] = { "alias", "donor" };
	struct try t = { ._metadata = _metadata };
	size_t i;

	make_all(_metadata);
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	ASSERT_EQ(0, release_file("alias"));
	for (i = 0; i < ARRAY_SIZE(both); i++) {
		t.name = both[i];
		open_all(&t);
		try_all_callers(&t, variant->type, NULL);
		close_all(&t);
		clone_file(_metadata, "pristine", t.name);
	}
}

/* Deduplicate with one call into many files: each gets what is due to it. */
static void dedupe_into_all(struct __test_metadata *_metadata,
			    const char *source)
{
	static const char * const dests[] = {
		"alias", "ordinary", "donor", "second", "other",
	};
	static const int status[] = {
		-ETXTBSY, FILE_DEDUPE_RANGE_SAME, -ETXTBSY, -ETXTBSY,
		FILE_DEDUPE_RANGE_DIFFERS, -EBADF, FILE_DEDUPE_RANGE_SAME,
	};
	struct {
		struct file_dedupe_range head;
		struct file_dedupe_range_info info[ARRAY_SIZE(status)];
	} arg = {
		.head = {
			.src_length = PAIR_SIZE, .dest_count = ARRAY_SIZE(status),
		},
	};
	struct try t = { ._metadata = _metadata };
	struct block_map blocks;
	size_t i;
	int src;

	/* Blocks of their own, which those of the source can replace. */
	make_file(_metadata, "ordinary", PAIR_SIZE, 1);
	make_file(_metadata, "last", PAIR_SIZE, 1);
	for (i = 0; i < ARRAY_SIZE(dests); i++)
		arg.info[i].dest_fd = xopen(_metadata, dests[i], O_RDONLY);
	arg.info[5].dest_fd = -1;
	arg.info[6].dest_fd = xopen(_metadata, "last", O_RDONLY);
	src = xopen(_metadata, source, O_RDONLY);
	t.fd = arg.info[0].dest_fd;
	blocks = blocks_of(_metadata, t.fd);

	EXPECT_EQ(0, ioctl(src, FIDEDUPERANGE, &arg));
	for (i = 0; i < ARRAY_SIZE(status); i++) {
		EXPECT_EQ(status[i], arg.info[i].status) {
			TH_LOG("from %s, destination %zu", source, i);
		}
		EXPECT_EQ(status[i] == FILE_DEDUPE_RANGE_SAME ? PAIR_SIZE : 0,
			  arg.info[i].bytes_deduped);
		close(arg.info[i].dest_fd);
	}
	close(src);
	t.fd = xopen(_metadata, "alias", O_RDONLY);
	EXPECT_TRUE(unharmed(&t, &blocks));
	close(t.fd);
	EXPECT_TRUE(file_has(_metadata, "ordinary", PAIR_SIZE, 1));
	EXPECT_TRUE(file_has(_metadata, "last", PAIR_SIZE, 1));
	EXPECT_TRUE(file_has(_metadata, "other", PAIR_SIZE, 2));
}

/* From an ordinary file and from frozen ones, as root and as the files' owner */
TEST_F(fs, dedupe_into_many)
{
	static const char * const sources[] = {
		"pristine", "alias", "second", "donor",
	};
	static const char * const more[] = { "ordinary", "last", "other" };
	size_t i;
	pid_t pid;

	make_all(_metadata);
	for (i = 0; i < ARRAY_SIZE(more); i++) {
		make_file(_metadata, more[i], PAIR_SIZE, 2);
		ASSERT_EQ(0, chown(more[i], ALICE, ALICE));
	}
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	ASSERT_EQ(0, alias_file("second", "donor", KEEP));

	for (i = 0; i < ARRAY_SIZE(sources); i++) {
		dedupe_into_all(_metadata, sources[i]);
		pid = fork_as(_metadata, ALICE, 0);
		if (!pid) {
			dedupe_into_all(_metadata, sources[i]);
			child_exit(has_failed(_metadata) ? -1 : 0);
		}
		EXPECT_EQ(0, child_result(_metadata, pid));
	}
	check_released(_metadata);
}

/* The address at which the program that @pid executes begins */
static unsigned long entry_of(struct __test_metadata *_metadata, pid_t pid)
{
	unsigned long auxv[128];
	char path[32];
	ssize_t len;
	size_t i;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/auxv", pid);
	fd = xopen(_metadata, path, O_RDONLY);
	len = read(fd, auxv, sizeof(auxv));
	close(fd);
	for (i = 0; i + 1 < len / sizeof(*auxv); i += 2)
		if (auxv[i] == 9)		/* AT_ENTRY */
			return auxv[i + 1];
	ASSERT_TRUE(false);
	return 0;
}

/* Have the shell @name executed by a process that stops before it begins. */
static pid_t start_shell(struct __test_metadata *_metadata, const char *name)
{
	int status;
	pid_t pid;

	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		execl(name, name, "-c", "exit 42", NULL);
		_exit(255);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_TRUE(WIFSTOPPED(status));
	return pid;
}

/* Let it go on, with a breakpoint that kills it, if @debugged. */
static int finish_shell(struct __test_metadata *_metadata, pid_t pid,
			bool debugged)
{
	int status;

	if (debugged) {
		/* 0xcc: the breakpoint of x86, and nonsense elsewhere. */
		ASSERT_EQ(0, ptrace(PTRACE_POKETEXT, pid,
				    entry_of(_metadata, pid), ~0UL / 5 * 4));
	}
	ASSERT_EQ(0, ptrace(PTRACE_CONT, pid, NULL, NULL));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	if (WIFSTOPPED(status)) {
		kill(pid, SIGKILL);
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		return -WTERMSIG(status);
	}
	return WEXITSTATUS(status);
}

static int run_shell(struct __test_metadata *_metadata, const char *name,
		     bool debugged)
{
	return finish_shell(_metadata, start_shell(_metadata, name), debugged);
}

static const char * const shells[] = { "./alias", "./donor" };

/* Both run, and are on the disk, as they were copied. */
static void check_shells(struct __test_metadata *_metadata)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(shells); i++) {
		EXPECT_EQ(42, run_shell(_metadata, shells[i], false));
		EXPECT_EQ(0, run(_metadata, (const char *[]){
				"cmp", "/bin/sh", shells[i], NULL }));
	}
}

/* A breakpoint is in the process that is debugged, and nowhere else. */
TEST_F(fs, breakpoint)
{
	size_t i;

	copy_program(_metadata, "/bin/sh");
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	for (i = 0; i < ARRAY_SIZE(shells); i++) {
		EXPECT_EQ(-SIGKILL, run_shell(_metadata, shells[i], true));
		check_shells(_metadata);
	}
	EXPECT_EQ(KEPT, state_of(_metadata, "alias"));
}

/* As above, where the process has executed the file since before the switch. */
TEST_F(fs, breakpoint_executed_before)
{
	pid_t pids[ARRAY_SIZE(shells)][2];
	size_t i, j;

	copy_program(_metadata, "/bin/sh");
	for (i = 0; i < ARRAY_SIZE(shells); i++)
		for (j = 0; j < 2; j++)
			pids[i][j] = start_shell(_metadata, shells[i]);
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	for (i = 0; i < ARRAY_SIZE(shells); i++) {
		EXPECT_EQ(-SIGKILL, finish_shell(_metadata, pids[i][0], true));
		check_shells(_metadata);
		EXPECT_EQ(42, finish_shell(_metadata, pids[i][1], false));
	}
	EXPECT_EQ(KEPT, state_of(_metadata, "alias"));
}

/* All that could let somebody write to a file through a loop device over it */
static void check_loop(struct __test_metadata *_metadata, int loop)
{
	__u64 range[2] = { 0, BLK };
	int writable = 0, flags;
	struct loop_info64 info;

	/* Lifts what the same ioctl set; only the driver can lift its own. */
	EXPECT_EQ(0, ioctl(loop, BLKROSET, &writable));
	EXPECT_EQ(-EPERM, result(pwrite(loop, junk, BLK, 0)));
	EXPECT_EQ(-EPERM, result(ioctl(loop, BLKZEROOUT, range)));
	EXPECT_EQ(-EPERM, result(ioctl(loop, BLKDISCARD, range)));
	flags = fcntl(loop, F_GETFL);
	ASSERT_EQ(0, fcntl(loop, F_SETFL, flags | O_DIRECT));
	EXPECT_EQ(-EPERM, result(pwrite(loop, junk, BLK, 0)));
	ASSERT_EQ(0, fcntl(loop, F_SETFL, flags));
	/* The driver takes this flag from the file, not from who asks. */
	ASSERT_EQ(0, ioctl(loop, LOOP_GET_STATUS64, &info));
	EXPECT_TRUE(info.lo_flags & LO_FLAGS_READ_ONLY);
	info.lo_flags &= ~LO_FLAGS_READ_ONLY;
	EXPECT_EQ(0, ioctl(loop, LOOP_SET_STATUS64, &info));
	EXPECT_EQ(-EPERM, result(pwrite(loop, junk, BLK, 0)));
	EXPECT_TRUE(reads_right(loop));
}

/* A loop device over a frozen file is for reading, whatever is asked of it. */
TEST_F(fs, loop_device)
{
	struct try t = { ._metadata = _metadata };
	struct block_map blocks;
	int loop, ordinary, fd;
	char dev[64];
	size_t i;

	blocks = make_aliases(&t);
	ordinary = xopen(_metadata, "other", O_RDWR);
	for (i = 0; i < ARRAY_SIZE(names); i++) {
		fd = xopen(_metadata, names[i], O_RDONLY);
		loop = attach_loop(_metadata, fd, dev);
		check_loop(_metadata, loop);
		EXPECT_TRUE(unharmed(&t, &blocks));
		/* To a file that could be written to, and back again */
		EXPECT_EQ(0, ioctl(loop, LOOP_CHANGE_FD, ordinary));
		check_loop(_metadata, loop);
		EXPECT_EQ(0, ioctl(loop, LOOP_CHANGE_FD, fd));
		check_loop(_metadata, loop);
		EXPECT_TRUE(unharmed(&t, &blocks));
		close(loop);
		/* What can be written to can't be changed for a frozen file. */
		loop = attach_loop(_metadata, ordinary, dev);
		EXPECT_EQ(-EINVAL, result(ioctl(loop, LOOP_CHANGE_FD, fd)));
		close(loop);
		close(fd);
	}
	close(ordinary);
	EXPECT_TRUE(file_has(_metadata, "other", PAIR_SIZE, 1));
	close(t.fd);
	check_released(_metadata);
}

/*
 * Files with DAX have no page cache.  To ask for that, which is to make the inode
 * leave memory soon, does nothing to a file as long as it is frozen.
 */
TEST_F(fs, xfs_dax_flag)
{
	const struct _fixture_variant_fs xfs = {
		.mkfs = { "mkfs.xfs", "-q", "-f", "-K" },
	};
	const char *dev = "/dev/pmem0";
	struct try t = { ._metadata = _metadata };
	struct block_map blocks;
	struct fsxattr x;
	struct statx stx;
	size_t i, j;
	int fd;

	if (strcmp(variant->type, "xfs"))
		SKIP(return, "only XFS has that");
	if (!linux_since(6, 2))
		SKIP(return, "a reflinked file can have that flag since Linux 6.2");
	if (access(dev, F_OK))
		SKIP(return, "no %s: memmap=320M!1G makes one", dev);
	ASSERT_EQ(0, mkdir("fs", 0755));
	ASSERT_TRUE(make_fs(_metadata, &xfs, dev));
	ASSERT_EQ(0, mount(dev, "fs", "xfs", 0, "dax=inode"));
	ASSERT_EQ(0, chdir("fs"));
	blocks = make_aliases(&t);

	/* On, off and on again */
	for (i = 0; i < ARRAY_SIZE(names); i++) {
		for (j = 0; j < 3; j++) {
			fd = xopen(_metadata, names[i], O_RDONLY);
			ASSERT_EQ(0, ioctl(fd, FS_IOC_FSGETXATTR, &x));
			EXPECT_EQ(j % 2, !!(x.fsx_xflags & FS_XFLAG_DAX));
			x.fsx_xflags ^= FS_XFLAG_DAX;
			EXPECT_EQ(0, ioctl(fd, FS_IOC_FSSETXATTR, &x));
			close(fd);
			EXPECT_TRUE(unharmed(&t, &blocks));
			drop_caches(_metadata, "3");
			EXPECT_TRUE(unharmed(&t, &blocks));
			ASSERT_EQ(0, statx(AT_FDCWD, names[i], 0, 0, &stx));
			EXPECT_FALSE(stx.stx_attributes & STATX_ATTR_DAX);
		}
	}
	close(t.fd);
	check_released(_metadata);

	/* Now that they may, they become what they were told to. */
	drop_caches(_metadata, "3");
	for (i = 0; i < ARRAY_SIZE(names); i++) {
		ASSERT_EQ(0, statx(AT_FDCWD, names[i], 0, 0, &stx));
		EXPECT_TRUE(stx.stx_attributes & STATX_ATTR_DAX);
		EXPECT_TRUE(file_has(_metadata, names[i], PAIR_SIZE, 1));
	}
	EXPECT_EQ(-EOPNOTSUPP, alias_file("alias", "donor", KEEP));
	ASSERT_EQ(0, chdir(".."));
	ASSERT_EQ(0, umount("fs"));
}

/*
 * XFS builds the block map of a file anew, from the reverse mappings, which it
 * has if the file system is made so.
 */
TEST_F(fs, xfs_repair_map)
{
	const struct _fixture_variant_fs rmapbt = {
		.mkfs = { "mkfs.xfs", "-q", "-f", "-K", "-mrmapbt=1" },
	};
	static const struct {
		__u32 type;
		bool refused;
	} repairs[] = {
		{ XFS_SCRUB_INODE, false },
		{ XFS_SCRUB_DATA_FORK, true },
		{ XFS_SCRUB_COW_FORK, true },
	};
	struct try t = { ._metadata = _metadata };
	struct xfs_scrub arg = { .flags = XFS_SCRUB_REBUILD };
	struct block_map blocks;
	char dev[64];
	int loop, fd, dir, result;
	size_t i, j;

	if (strcmp(variant->type, "xfs"))
		SKIP(return, "only XFS has that");
	if (!linux_since(6, 8))
		SKIP(return, "the block map is repaired since Linux 6.8");
	ASSERT_EQ(0, mkdir("fs", 0755));
	loop = make_loop(_metadata, "image", dev);
	ASSERT_TRUE(make_fs(_metadata, &rmapbt, dev));
	ASSERT_EQ(0, mount(dev, "fs", "xfs", 0, NULL));
	ASSERT_EQ(0, chdir("fs"));
	dir = xopen(_metadata, ".", O_RDONLY);
	blocks = make_aliases(&t);

	for (i = 0; i < ARRAY_SIZE(names); i++) {
		fd = xopen(_metadata, names[i], O_RDONLY);
		for (j = 0; j < ARRAY_SIZE(repairs); j++) {
			arg.type = repairs[j].type;
			/* The open file, and any file by its number */
			arg.ino = 0;
			arg.gen = 0;
			result = scrub(fd, arg);
			EXPECT_EQ(repairs[j].refused ? -ETXTBSY :
				  XFS_SCRUB_REBUILD, result) {
				TH_LOG("repair %u of %s", arg.type, names[i]);
			}
			arg.ino = ino_of(_metadata, names[i]);
			ASSERT_EQ(0, ioctl(fd, FS_IOC_GETVERSION, &arg.gen));
			EXPECT_EQ(result, scrub(dir, arg));
			EXPECT_TRUE(unharmed(&t, &blocks));
		}
		close(fd);
	}
	close(t.fd);

	/* It is no repair to look at it, and others can be repaired. */
	arg = (struct xfs_scrub){ .type = XFS_SCRUB_DATA_FORK };
	fd = xopen(_metadata, "donor", O_RDONLY);
	EXPECT_EQ(0, scrub(fd, arg));
	close(fd);
	ASSERT_EQ(0, release_file("donor"));
	for (i = 0; i < ARRAY_SIZE(names); i++) {
		fd = xopen(_metadata, names[i], O_RDONLY);
		for (j = 0; j < ARRAY_SIZE(repairs); j++) {
			arg = (struct xfs_scrub){
				.type = repairs[j].type,
				.flags = XFS_SCRUB_REBUILD,
			};
			EXPECT_EQ(XFS_SCRUB_REBUILD, scrub(fd, arg)) {
				TH_LOG("repair %u of %s", arg.type, names[i]);
			}
		}
		EXPECT_TRUE(reads_right(fd));
		close(fd);
	}
	/* What was repaired is as good as it was. */
	EXPECT_EQ(0, alias_file("alias", "donor", KEEP));
	EXPECT_TRUE(file_has(_metadata, "alias", PAIR_SIZE, 1));

	close(dir);
	ASSERT_EQ(0, chdir(".."));
	ASSERT_EQ(0, umount("fs"));
	close(loop);
}

static __u64 free_blocks(struct __test_metadata *_metadata)
{
	struct statvfs st;

	ASSERT_EQ(0, statvfs(".", &st));
	return st.f_bfree;
}

/*
 * Write to a block of each file that is shared, and share it again.  XFS reserves
 * some blocks at once for that, and the file keeps those that are left.
 */
static void leave_cow_blocks(struct __test_metadata *_metadata)
{
	struct try t = { ._metadata = _metadata, .arg = FS_XFLAG_COWEXTSIZE };
	int donor;
	size_t i;

	/* Before Linux 6.6 more than that is written, if it is in a large folio. */
	drop_caches(_metadata, "1");
	/* With this, it is shared up to the last one. */
	clone_file(_metadata, "donor", "other");
	donor = xopen(_metadata, "donor", O_RDONLY);
	for (i = 0; i < ARRAY_SIZE(names); i++) {
		t.fd = xopen(_metadata, names[i], O_RDWR);
		ASSERT_EQ(0, set_xflags(&t));
		write_pattern(_metadata, t.fd, 3 * BLK, BLK, 1);
		ASSERT_EQ(0, fsync(t.fd));
		if (strcmp(names[i], "donor"))
			ASSERT_EQ(BLK, dedupe(donor, 3 * BLK, t.fd, 3 * BLK,
					      BLK));
		close(t.fd);
	}
	close(donor);
}

/*
 * Frozen files lose them as ordinary ones do: if they are asked to, and when they
 * are evicted.
 */
TEST_F(fs, cow_leftovers)
{
	struct try t = { ._metadata = _metadata };
	struct block_map blocks;
	__u64 before, leftover;
	int i, j;

	if (strcmp(variant->type, "xfs"))
		SKIP(return, "only XFS has that");
	make_all(_metadata);
	leave_cow_blocks(_metadata);
	/* XFS passes over inodes that may have something to be written. */
	sync();
	t.fd = xopen(_metadata, "alias", O_RDONLY);
	before = free_blocks(_metadata);
	EXPECT_EQ(0, free_eofblocks(&t));
	leftover = free_blocks(_metadata) - before;
	EXPECT_EQ(3 * ARRAY_SIZE(names), leftover);
	close(t.fd);

	for (i = 0; i < 2; i++) {
		leave_cow_blocks(_metadata);
		ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
		ASSERT_EQ(0, alias_file("second", "donor", KEEP));
		t.fd = xopen(_metadata, "alias", O_RDONLY);
		blocks = blocks_of(_metadata, t.fd);
		EXPECT_TRUE(unharmed(&t, &blocks));
		sync();
		before = free_blocks(_metadata);
		if (i == 0) {
			EXPECT_EQ(0, free_eofblocks(&t));
			EXPECT_EQ(leftover, free_blocks(_metadata) - before);
			EXPECT_TRUE(unharmed(&t, &blocks));
		}
		close(t.fd);
		ASSERT_EQ(0, release_file("donor"));
		/* What was used recently is spared at first. */
		for (j = 0; j < 10; j++)
			drop_caches(_metadata, "3");
		/* Opening a file waits until XFS has done what eviction left. */
		check_released(_metadata);
		EXPECT_EQ(leftover, free_blocks(_metadata) - before);
	}
}

/* Of ordinary files, also if they were aliases, caches follow the blocks. */
TEST_F(fs, swap_extents)
{
	unsigned char *map;
	int fds[2], i;

	if (strcmp(variant->type, "xfs"))
		SKIP(return, "only XFS has that");
	donor_and_alias(_metadata);
	make_file(_metadata, "shifted", PAIR_SIZE, 2);
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	map = map_file(_metadata, "alias", PAIR_SIZE);
	EXPECT_TRUE(map_has(map, PAIR_SIZE, 1));
	munmap(map, PAIR_SIZE);
	ASSERT_EQ(0, release_file("alias"));

	map = map_file(_metadata, "alias", PAIR_SIZE);
	fds[0] = xopen(_metadata, "alias", O_RDWR);
	fds[1] = xopen(_metadata, "shifted", O_RDWR);
	for (i = 0; i < 2; i++) {
		EXPECT_TRUE(map_has(map, PAIR_SIZE, i ? 2 : 1));
		ASSERT_EQ(0, swap_all(_metadata, fds[0], fds[1]));
		EXPECT_TRUE(fd_has(_metadata, fds[0], 0, PAIR_SIZE, i ? 1 : 2));
		EXPECT_TRUE(fd_has(_metadata, fds[1], 0, PAIR_SIZE, i ? 2 : 1));
	}
	EXPECT_TRUE(map_has(map, PAIR_SIZE, 1));
	EXPECT_TRUE(file_has(_metadata, "donor", PAIR_SIZE, 1));
	munmap(map, PAIR_SIZE);
	close(fds[0]);
	close(fds[1]);
	/* They have the same blocks again. */
	EXPECT_EQ(0, alias_file("alias", "donor", KEEP));
	EXPECT_EQ(0, release_file("alias"));
}

TEST_HARNESS_MAIN
