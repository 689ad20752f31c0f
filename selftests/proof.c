// SPDX-License-Identifier: GPL-2.0
/*
 * Only identical files become aliases: the same blocks for every byte, and
 * nothing in memory that differs from these blocks or will differ later.
 */

#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdalign.h>
#include <linux/aio_abi.h>
#include <linux/falloc.h>
#include <linux/fuse.h>
#include <sys/eventfd.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "common.h"
#include "uring.h"

static void write_blocks(struct __test_metadata *_metadata, const char *name,
			 size_t block, size_t n, unsigned int seed)
{
	int fd = xopen(_metadata, name, O_RDWR | O_CREAT);

	write_pattern(_metadata, fd, block * BLK, n * BLK, seed);
	ASSERT_EQ(0, fsync(fd));
	close(fd);
}

static void change_blocks(struct __test_metadata *_metadata, const char *name,
			  int mode, size_t block, size_t n)
{
	int fd = xopen(_metadata, name, O_RDWR);

	ASSERT_EQ(0, fallocate(fd, mode, block * BLK, n * BLK)) {
		TH_LOG("fallocate: %s", strerror(errno));
	}
	ASSERT_EQ(0, fsync(fd));
	close(fd);
}

/* Make "donor": 4 blocks of data, 8 without, 4 of data; and its clone. */
static void sparse_pair(struct __test_metadata *_metadata)
{
	write_blocks(_metadata, "donor", 0, 4, 1);
	write_blocks(_metadata, "donor", 12, 4, 1);
	clone_file(_metadata, "donor", "alias");
}

static bool sparse_has(struct __test_metadata *_metadata, const char *name)
{
	static const unsigned char zeros[8 * BLK];
	unsigned char hole[8 * BLK];
	int fd = xopen(_metadata, name, O_RDONLY);
	bool equal;

	ASSERT_EQ(sizeof(hole), pread(fd, hole, sizeof(hole), 4 * BLK));
	equal = fd_has(_metadata, fd, 0, 4 * BLK, 1) &&
		!memcmp(hole, zeros, sizeof(hole)) &&
		fd_has(_metadata, fd, 12 * BLK, 4 * BLK, 1);
	close(fd);
	return equal;
}

static void check_sparse_alias(struct __test_metadata *_metadata)
{
	EXPECT_EQ(0, alias_file("alias", "donor", KEEP));
	EXPECT_TRUE(sparse_has(_metadata, "alias"));
	EXPECT_TRUE(sparse_has(_metadata, "donor"));
	EXPECT_EQ(KEPT, state_of(_metadata, "alias"));
}

static void check_refused(struct __test_metadata *_metadata)
{
	EXPECT_EQ(-EBADE, alias_file("alias", "donor", KEEP));
	EXPECT_EQ(-EBADE, alias_file("donor", "alias", KEEP));
	check_untouched(_metadata, "alias", "donor");
}

TEST_F(fs, holes)
{
	sparse_pair(_metadata);
	check_sparse_alias(_metadata);
}

/* A hole and blocks that were never written read as the same zeros. */
TEST_F(fs, hole_unwritten)
{
	sparse_pair(_metadata);
	change_blocks(_metadata, "donor", 0, 4, 8);
	check_sparse_alias(_metadata);
}

TEST_F(fs, unwritten_hole)
{
	sparse_pair(_metadata);
	change_blocks(_metadata, "alias", 0, 4, 8);
	check_sparse_alias(_metadata);
}

/*
 * lseek(2) tells of the file's own extents.  The alias has a hole where the donor
 * has unwritten ones; there XFS finds data, as they are in the page cache.
 */
TEST_F(fs, hole_stays_hole)
{
	int alias, donor;

	sparse_pair(_metadata);
	change_blocks(_metadata, "donor", 0, 4, 8);
	check_sparse_alias(_metadata);
	alias = xopen(_metadata, "alias", O_RDONLY);
	donor = xopen(_metadata, "donor", O_RDONLY);
	EXPECT_EQ(strcmp(variant->type, "xfs") ? 12 * BLK : 4 * BLK,
		  lseek(donor, 4 * BLK, SEEK_DATA));
	EXPECT_EQ(12 * BLK, lseek(alias, 4 * BLK, SEEK_DATA));
	EXPECT_EQ(4 * BLK, lseek(alias, 0, SEEK_HOLE));
	close(alias);
	close(donor);
}

/* As above, where neither's extents end where the other's do. */
TEST_F(fs, hole_unwritten_interleaved)
{
	sparse_pair(_metadata);
	change_blocks(_metadata, "donor", 0, 5, 3);
	change_blocks(_metadata, "donor", 0, 10, 1);
	change_blocks(_metadata, "alias", 0, 4, 2);
	change_blocks(_metadata, "alias", 0, 7, 5);
	check_sparse_alias(_metadata);
}

/* Blocks behind the end are nobody's bytes. */
TEST_F(fs, blocks_behind_the_end)
{
	sparse_pair(_metadata);
	change_blocks(_metadata, "donor", FALLOC_FL_KEEP_SIZE, 16, 8);
	check_sparse_alias(_metadata);
}

TEST_F(fs, hole_at_the_end)
{
	sparse_pair(_metadata);
	ASSERT_EQ(0, truncate("donor", 32 * BLK));
	ASSERT_EQ(0, truncate("alias", 32 * BLK));
	change_blocks(_metadata, "donor", 0, 20, 2);
	check_sparse_alias(_metadata);
}

/* Zeros that were written have blocks, and only one of the files has them. */
TEST_F(fs, hole_written_zeros)
{
	static const char zeros[BLK];
	int fd;

	sparse_pair(_metadata);
	fd = xopen(_metadata, "donor", O_WRONLY);
	ASSERT_EQ(BLK, pwrite(fd, zeros, BLK, 6 * BLK));
	ASSERT_EQ(0, fsync(fd));
	close(fd);
	check_refused(_metadata);
}

/* Data that is still on its way into a hole. */
TEST_F(fs, hole_dirty)
{
	int fd;

	sparse_pair(_metadata);
	fd = xopen(_metadata, "donor", O_WRONLY);
	write_pattern(_metadata, fd, 6 * BLK, BLK, 2);
	close(fd);
	check_refused(_metadata);
	fd = xopen(_metadata, "donor", O_RDONLY);
	EXPECT_TRUE(fd_has(_metadata, fd, 6 * BLK, BLK, 2));
	close(fd);
	EXPECT_TRUE(sparse_has(_metadata, "alias"));
}

/* Data that is still on its way into blocks that were never written. */
TEST_F(fs, unwritten_dirty)
{
	int fd;

	sparse_pair(_metadata);
	change_blocks(_metadata, "alias", 0, 4, 8);
	fd = xopen(_metadata, "alias", O_WRONLY);
	write_pattern(_metadata, fd, 6 * BLK, BLK, 2);
	close(fd);
	check_refused(_metadata);
	fd = xopen(_metadata, "alias", O_RDONLY);
	EXPECT_TRUE(fd_has(_metadata, fd, 6 * BLK, BLK, 2));
	close(fd);
}

/* Blocks still shared on the disk, but pages that will go elsewhere. */
TEST_F(fs, dirty_mapping)
{
	unsigned char *map, byte;
	int fd;

	donor_and_alias(_metadata);
	fd = xopen(_metadata, "alias", O_RDWR);
	map = mmap(NULL, PAIR_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, map);
	map[3 * BLK] ^= 0xff;
	ASSERT_EQ(0, munmap(map, PAIR_SIZE));
	close(fd);
	check_refused(_metadata);
	EXPECT_TRUE(file_has(_metadata, "donor", PAIR_SIZE, 1));
	fd = xopen(_metadata, "alias", O_RDONLY);
	ASSERT_EQ(1, pread(fd, &byte, 1, 3 * BLK));
	EXPECT_EQ(pattern(1, 3 * BLK) ^ 0xff, byte);
	close(fd);
}

/* The same bytes, written again into new blocks. */
TEST_F(fs, rewritten)
{
	donor_and_alias(_metadata);
	write_blocks(_metadata, "donor", 7, 1, 1);
	check_refused(_metadata);
}

TEST_F(fs, tail)
{
	size_t size = 3 * BLK + 123;
	unsigned char *map;
	size_t i;

	make_file(_metadata, "donor", size, 1);
	clone_file(_metadata, "donor", "alias");
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	EXPECT_TRUE(file_has(_metadata, "alias", size, 1));
	map = map_file(_metadata, "alias", 4 * BLK);
	EXPECT_TRUE(map_has(map, size, 1));
	for (i = size; i < 4 * BLK; i++)
		EXPECT_EQ(0, map[i]);
	ASSERT_EQ(0, munmap(map, 4 * BLK));
}

TEST_F(fs, one_byte)
{
	make_file(_metadata, "donor", 1, 1);
	clone_file(_metadata, "donor", "alias");
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	EXPECT_TRUE(file_has(_metadata, "alias", 1, 1));
}

TEST_F(fs, large)
{
	size_t size = 8 << 20;

	make_file(_metadata, "donor", size, 1);
	clone_file(_metadata, "donor", "alias");
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	EXPECT_TRUE(file_has(_metadata, "alias", size, 1));
	EXPECT_EQ(size / BLK, cached_pages_of(_metadata, "donor"));
}

/* More extents than an inode or a block of the file system's tree holds. */
TEST_F(fs, many_extents)
{
	size_t i, n = 300;
	int fd;

	fd = xopen(_metadata, "donor", O_RDWR | O_CREAT);
	for (i = 0; i < n; i++)
		write_pattern(_metadata, fd, 2 * i * BLK, BLK, 1);
	ASSERT_EQ(0, fsync(fd));
	close(fd);
	clone_file(_metadata, "donor", "alias");
	clone_file(_metadata, "donor", "other");

	write_blocks(_metadata, "other", 2 * (n - 1), 1, 1);
	EXPECT_EQ(-EBADE, alias_file("other", "donor", KEEP));

	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	fd = xopen(_metadata, "alias", O_RDONLY);
	for (i = 0; i < n; i++)
		ASSERT_TRUE(fd_has(_metadata, fd, 2 * i * BLK, BLK, 1));
	close(fd);
}

/* A file of the largest size there is, of which @data has two blocks. */
static void make_largest(struct __test_metadata *_metadata, const char *name,
			 const char *data)
{
	struct file_clone_range range = { .src_length = BLK };
	int fd = xopen(_metadata, name, O_RDWR | O_CREAT);

	range.src_fd = xopen(_metadata, data, O_RDONLY);
	ASSERT_EQ(0, ioctl(fd, FICLONERANGE, &range));
	ASSERT_EQ(0, ftruncate(fd, LLONG_MAX)) {
		TH_LOG("ftruncate: %s", strerror(errno));
	}
	close(range.src_fd);
	close(fd);
}

/* The offset of the last block that such a file has all of. */
#define LAST_WHOLE (LLONG_MAX - 2 * BLK + 1)

TEST_F(fs, largest)
{
	struct file_clone_range range = {
		.src_offset = BLK, .src_length = BLK, .dest_offset = LAST_WHOLE,
	};
	unsigned char byte;
	int fd;

	make_file(_metadata, "data", 2 * BLK, 1);
	make_largest(_metadata, "donor", "data");
	make_largest(_metadata, "alias", "data");
	make_largest(_metadata, "second", "data");
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	fd = xopen(_metadata, "alias", O_RDONLY);
	EXPECT_TRUE(fd_has(_metadata, fd, 0, BLK, 1));
	EXPECT_EQ(1, pread(fd, &byte, 1, LLONG_MAX - 1));
	EXPECT_EQ(0, byte);
	EXPECT_EQ(LLONG_MAX, lseek(fd, 0, SEEK_END));
	close(fd);
	ASSERT_EQ(0, release_file("alias"));

	/* A difference at the very end, in one byte of the last block. */
	fd = xopen(_metadata, "alias", O_RDWR);
	ASSERT_EQ(1, pwrite(fd, "x", 1, LLONG_MAX - 1));
	close(fd);
	check_refused(_metadata);

	/* Blocks that end nowhere near the start, and nearly at the end. */
	fd = xopen(_metadata, "donor", O_RDWR);
	range.src_fd = xopen(_metadata, "data", O_RDONLY);
	ASSERT_EQ(0, ioctl(fd, FICLONERANGE, &range));
	close(fd);
	EXPECT_EQ(-EBADE, alias_file("second", "donor", KEEP));
	fd = xopen(_metadata, "second", O_RDWR);
	ASSERT_EQ(0, ioctl(fd, FICLONERANGE, &range));
	close(fd);
	close(range.src_fd);
	EXPECT_EQ(0, alias_file("second", "donor", KEEP));
	EXPECT_EQ(KEPT, state_of(_metadata, "second"));
}

/* The blocks were shared piece by piece, out of order. */
TEST_F(fs, deduped_in_pieces)
{
	int donor, alias, i;

	make_file(_metadata, "donor", PAIR_SIZE, 1);
	make_file(_metadata, "alias", PAIR_SIZE, 1);
	donor = xopen(_metadata, "donor", O_RDONLY);
	alias = xopen(_metadata, "alias", O_RDONLY);
	for (i = PAIR_BLOCKS - 1; i > 0; i--)
		ASSERT_EQ(BLK, dedupe(donor, i * BLK, alias, i * BLK, BLK));
	check_refused(_metadata);
	ASSERT_EQ(BLK, dedupe(donor, 0, alias, 0, BLK));
	EXPECT_EQ(0, alias_file("alias", "donor", KEEP));
	EXPECT_TRUE(file_has(_metadata, "alias", PAIR_SIZE, 1));
	close(donor);
	close(alias);
}

/* What FUSE calls "function not implemented" (fs/fuse/dev.c) */
#define FUSE_UNKNOWN_REQUEST (-38)

/*
 * A FUSE file served by the test, which is read and written with direct I/O and
 * answers when it is told to: the pages of who reads or writes stay pinned as
 * long as the test likes.
 */
struct slow_file {
	int dev;		/* /dev/fuse */
	int reading;		/* eventfd: the request is here */
	int answer;		/* eventfd: answer it now */
	unsigned char *written;	/* what the server got to be written */
	/* What it reads as, at once and into its page cache, if not NULL */
	const struct gift *gift;
	pid_t server;
};

/* The first page of another file: from @fd, or, if not NULL, mapped at @map */
struct gift {
	int fd;
	void *map;
};

#define SLOW_BYTE 0xa5

/* Send @len bytes of @body in answer to @in; false if the reader is gone. */
static bool fuse_answer(struct slow_file *slow, struct fuse_in_header *in,
			int error, void *body, size_t len)
{
	struct fuse_out_header out = {
		.len = sizeof(out) + len, .error = error, .unique = in->unique,
	};
	struct iovec iov[] = { { &out, sizeof(out) }, { body, len } };

	return writev(slow->dev, iov, 2) == out.len;
}

/* As above, with a page that FUSE is invited to take for its own. */
static bool fuse_give(struct slow_file *slow, struct fuse_in_header *in)
{
	const size_t len = sizeof(struct fuse_out_header) + BLK;
	struct fuse_out_header out = { .len = len, .unique = in->unique };
	struct iovec iov = { slow->gift->map, BLK };
	loff_t offset = 0;
	int pipes[2];
	bool given;

	if (pipe(pipes) || write(pipes[1], &out, sizeof(out)) != sizeof(out))
		return false;
	if (iov.iov_base)
		given = vmsplice(pipes[1], &iov, 1, SPLICE_F_GIFT) == BLK;
	else
		given = splice(slow->gift->fd, &offset, pipes[1], NULL, BLK,
			       0) == BLK;
	given = given && splice(pipes[0], NULL, slow->dev, NULL, len,
				SPLICE_F_MOVE) == len;
	close(pipes[0]);
	close(pipes[1]);
	return given;
}

/* Tell that there is a request, and wait until it may be answered. */
static bool wait_for_answer(struct slow_file *slow)
{
	__u64 one = 1;

	return write(slow->reading, &one, 8) == 8 &&
	       read(slow->answer, &one, 8) == 8;
}

static void serve_slow_file(struct slow_file *slow)
{
	static char request[FUSE_MIN_READ_BUFFER * 2];
	struct fuse_in_header *in = (void *)request;
	static char data[BLK];

	memset(data, SLOW_BYTE, sizeof(data));
	while (read(slow->dev, request, sizeof(request)) > 0) {
		switch (in->opcode) {
		case FUSE_INIT: {
			struct fuse_init_out out = {
				.major = FUSE_KERNEL_VERSION,
				.minor = FUSE_KERNEL_MINOR_VERSION,
				.max_readahead = BLK, .max_write = BLK,
			};
			fuse_answer(slow, in, 0, &out, sizeof(out));
			break;
		}
		case FUSE_GETATTR: {
			struct fuse_attr_out out = {
				.attr = {
					.ino = FUSE_ROOT_ID, .size = BLK,
					.mode = S_IFREG | 0600, .nlink = 1,
				},
			};
			fuse_answer(slow, in, 0, &out, sizeof(out));
			break;
		}
		case FUSE_OPEN: {
			const struct fuse_open_in *open = (void *)(in + 1);
			struct pollfd dev = {
				.fd = slow->dev, .events = POLLIN,
			};
			struct fuse_open_out out = {
				/* A close need not wait for the answer. */
				.open_flags = FOPEN_NOFLUSH |
					(slow->gift ? 0 : FOPEN_DIRECT_IO),
			};
			bool writes = (open->flags & O_ACCMODE) == O_WRONLY;

			fuse_answer(slow, in, 0, &out, sizeof(out));
			/* Reading the request copies the writer's pages. */
			if (writes && (poll(&dev, 1, -1) != 1 ||
				       !wait_for_answer(slow)))
				return;
			break;
		}
		case FUSE_READ:
			if (slow->gift) {
				if (!fuse_give(slow, in))
					return;
				break;
			}
			if (!wait_for_answer(slow))
				return;
			fuse_answer(slow, in, 0, data, sizeof(data));
			break;
		case FUSE_WRITE: {
			const struct fuse_write_in *write = (void *)(in + 1);
			struct fuse_write_out out = { .size = write->size };

			memcpy(slow->written, write + 1, write->size);
			fuse_answer(slow, in, 0, &out, sizeof(out));
			break;
		}
		case FUSE_RELEASE:
			fuse_answer(slow, in, 0, NULL, 0);
			break;
		case FUSE_FORGET:
		case FUSE_BATCH_FORGET:
		case FUSE_INTERRUPT:
			break;
		default:
			fuse_answer(slow, in, FUSE_UNKNOWN_REQUEST, NULL, 0);
		}
	}
}

/*
 * Mount the slow file over "slow".  The server is a process, so that it can end,
 * and with it the wait of a reader that can't be killed, when the test dies.
 */
static void slow_file_begin(struct __test_metadata *_metadata,
			    struct slow_file *slow)
{
	char options[128];

	make_file(_metadata, "slow", 0, 0);
	slow->written = mmap(NULL, BLK, PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, slow->written);
	slow->dev = xopen(_metadata, "/dev/fuse", O_RDWR);
	slow->reading = eventfd(0, EFD_CLOEXEC);
	slow->answer = eventfd(0, EFD_CLOEXEC);
	ASSERT_LE(0, slow->reading);
	ASSERT_LE(0, slow->answer);
	snprintf(options, sizeof(options),
		 "fd=%d,rootmode=%o,user_id=0,group_id=0", slow->dev,
		 S_IFREG | 0600);
	ASSERT_EQ(0, mount("slow", "slow", "fuse", 0, options)) {
		TH_LOG("mount fuse: %s", strerror(errno));
	}
	slow->server = fork();
	ASSERT_LE(0, slow->server);
	if (!slow->server) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		serve_slow_file(slow);
		_exit(0);
	}
	close(slow->dev);
}

static void slow_file_end(struct __test_metadata *_metadata,
			  struct slow_file *slow)
{
	/* The server's read fails with ENODEV. */
	ASSERT_EQ(0, umount("slow"));
	ASSERT_EQ(0, child_result(_metadata, slow->server));
	ASSERT_EQ(0, munmap(slow->written, BLK));
	close(slow->reading);
	close(slow->answer);
}

static void answer_now(struct __test_metadata *_metadata, struct slow_file *slow)
{
	__u64 one = 1;

	ASSERT_EQ(8, write(slow->answer, &one, 8));
}

/*
 * How the slow file is read or written: by a thread that waits in there; or by a
 * request of io_submit(2) or io_uring, which is on its own.  These read a loop
 * device over it, for FUSE would make its callers wait all the same.
 */
enum slow_how { READ, WRITE, AIO_READ, URING_READ };

/* One block of the slow file on its way to or from @buffer. */
struct slow_io {
	enum slow_how how;
	int fd, loop;
	void *buffer;
	ssize_t result;
	pthread_t thread;
	aio_context_t context;
};

static void *do_slow_io(void *arg)
{
	struct slow_io *io = arg;
	struct io_uring_sqe sqe = {
		.opcode = IORING_OP_READ, .fd = io->fd,
		.addr = (unsigned long)io->buffer, .len = BLK,
	};

	io->result = io->how == READ ? read(io->fd, io->buffer, BLK) :
		     io->how == WRITE ? write(io->fd, io->buffer, BLK) :
		     uring(&sqe);
	return NULL;
}

/* Begin, and wait until the server has the request. */
static void slow_io_begin(struct __test_metadata *_metadata,
			  struct slow_file *slow, struct slow_io *io)
{
	struct stat st;
	char dev[64];
	__u64 count;

	/* FUSE learns the size that the device is to have when it is asked. */
	ASSERT_EQ(0, stat("slow", &st));
	io->loop = -1;
	io->fd = xopen(_metadata, "slow",
		       io->how == WRITE ? O_WRONLY : O_RDONLY);
	if (io->how == AIO_READ || io->how == URING_READ) {
		io->loop = attach_loop(_metadata, io->fd, dev);
		close(io->fd);
		io->fd = xopen(_metadata, dev, O_RDONLY | O_DIRECT);
	}
	if (io->how == AIO_READ) {
		struct iocb cb = {
			.aio_lio_opcode = IOCB_CMD_PREAD, .aio_fildes = io->fd,
			.aio_buf = (unsigned long)io->buffer, .aio_nbytes = BLK,
		};
		struct iocb *cbs = &cb;

		io->context = 0;
		ASSERT_EQ(0, syscall(__NR_io_setup, 1, &io->context));
		ASSERT_EQ(1, syscall(__NR_io_submit, io->context, 1, &cbs));
	} else {
		ASSERT_EQ(0, pthread_create(&io->thread, NULL, do_slow_io, io));
	}
	ASSERT_EQ(8, read(slow->reading, &count, 8));
}

/* Let the server answer, and wait until that has been done. */
static void slow_io_end(struct __test_metadata *_metadata,
			struct slow_file *slow, struct slow_io *io)
{
	struct io_event event = {};

	answer_now(_metadata, slow);
	if (io->how == AIO_READ) {
		ASSERT_EQ(1, syscall(__NR_io_getevents, io->context, 1, 1,
				     &event, NULL));
		io->result = event.res;
		ASSERT_EQ(0, syscall(__NR_io_destroy, io->context));
	} else {
		ASSERT_EQ(0, pthread_join(io->thread, NULL));
	}
	ASSERT_EQ(BLK, io->result);
	close(io->fd);
	close(io->loop);
}

/* Deduplicate all of @name with @from, an equal file. */
static void dedupe_file(struct __test_metadata *_metadata, const char *from,
			const char *name)
{
	int src = xopen(_metadata, from, O_RDONLY);
	int dst = xopen(_metadata, name, O_RDONLY);

	ASSERT_EQ(PAIR_SIZE, dedupe(src, 0, dst, 0, PAIR_SIZE));
	close(src);
	close(dst);
}

/* How two files come to share their blocks. */
enum sharing { CLONE, DEDUPE_FROM_TARGET, DEDUPE_INTO_TARGET };

/* See that what is read of the first @n of a late write's files is right. */
static void check_late_write(struct __test_metadata *_metadata, int n)
{
	static const char * const names[] = { "donor", "alias", "second" };
	int i;

	for (i = 0; i < n; i++) {
		EXPECT_TRUE(file_has(_metadata, names[i], PAIR_SIZE, 1)) {
			TH_LOG("%s", names[i]);
		}
	}
}

/*
 * @target is a file that nobody has open or mapped for writing, but one of its
 * pages in memory is the target of a read that will end some time.  @other
 * shares its blocks.  Whoever of them is the donor: what is read must be, and
 * must stay, what the blocks have.  If the target is "second", it becomes one
 * more alias, of a donor that keeps the pages that it has in memory.
 */
static void late_write(struct __test_metadata *_metadata, enum slow_how how,
		       enum sharing sharing, const char *target,
		       const char *other)
{
	const bool second = !strcmp(target, "second");
	const int n = second ? 3 : 2;
	struct slow_file slow = {};
	struct slow_io reader = { .how = how };
	unsigned char *map;
	int fd, old;

	make_file(_metadata, target, PAIR_SIZE, 1);
	slow_file_begin(_metadata, &slow);

	fd = xopen(_metadata, target, O_RDWR);
	map = mmap(NULL, PAIR_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, map);
	reader.buffer = map + 5 * BLK;
	slow_io_begin(_metadata, &slow, &reader);
	ASSERT_EQ(0, munmap(map, PAIR_SIZE));
	close(fd);

	/* Writes the page back, and but for the last leaves it where it is. */
	switch (sharing) {
	case CLONE:
		clone_file(_metadata, target, other);
		break;
	case DEDUPE_FROM_TARGET:
		make_file(_metadata, other, PAIR_SIZE, 1);
		dedupe_file(_metadata, target, other);
		break;
	case DEDUPE_INTO_TARGET:
		make_file(_metadata, other, PAIR_SIZE, 1);
		dedupe_file(_metadata, other, target);
		break;
	}
	if (second)
		clone_file(_metadata, other, "alias");

	/* The alias's own page cache is still seen by this one. */
	old = xopen(_metadata, target, O_RDONLY);
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	if (second) {
		check_late_write(_metadata, 2);
		ASSERT_EQ(0, alias_file("second", "donor", KEEP));
		EXPECT_EQ(PAIR_BLOCKS, cached_pages_of(_metadata, "donor"));
	}
	EXPECT_TRUE(fd_has(_metadata, old, 0, PAIR_SIZE, 1));
	/* Have the pages in memory before the late write. */
	check_late_write(_metadata, n);

	slow_io_end(_metadata, &slow, &reader);
	slow_file_end(_metadata, &slow);

	EXPECT_TRUE(fd_has(_metadata, old, 0, PAIR_SIZE, 1));
	EXPECT_EQ(0, fsync(old));
	close(old);
	check_late_write(_metadata, n);
	drop_caches(_metadata, "3");
	check_late_write(_metadata, n);
	EXPECT_EQ(0, release_file("donor"));
	drop_caches(_metadata, "3");
	EXPECT_EQ(ORDINARY, state_of(_metadata, "alias"));
	EXPECT_EQ(ORDINARY, state_of(_metadata, "donor"));
	check_late_write(_metadata, n);
}

/* An attacker's file as the donor of a victim's. */
TEST_F(fs, late_write_donor)
{
	late_write(_metadata, READ, CLONE, "donor", "alias");
}

TEST_F(fs, late_write_donor_dedupe_from)
{
	late_write(_metadata, READ, DEDUPE_FROM_TARGET, "donor", "alias");
}

TEST_F(fs, late_write_donor_dedupe_into)
{
	late_write(_metadata, READ, DEDUPE_INTO_TARGET, "donor", "alias");
}

TEST_F(fs, late_write_alias)
{
	late_write(_metadata, READ, CLONE, "alias", "donor");
}

TEST_F(fs, late_write_alias_dedupe_from)
{
	late_write(_metadata, READ, DEDUPE_FROM_TARGET, "alias", "donor");
}

TEST_F(fs, late_write_alias_dedupe_into)
{
	late_write(_metadata, READ, DEDUPE_INTO_TARGET, "alias", "donor");
}

TEST_F(fs, late_write_second_alias)
{
	late_write(_metadata, READ, CLONE, "second", "donor");
}

TEST_F(fs, late_write_second_alias_dedupe_into)
{
	late_write(_metadata, READ, DEDUPE_INTO_TARGET, "second", "donor");
}

/* The same with requests that nobody waits for. */
TEST_F(fs, late_write_aio_donor)
{
	late_write(_metadata, AIO_READ, CLONE, "donor", "alias");
}

TEST_F(fs, late_write_aio_donor_dedupe_from)
{
	late_write(_metadata, AIO_READ, DEDUPE_FROM_TARGET, "donor", "alias");
}

TEST_F(fs, late_write_aio_donor_dedupe_into)
{
	late_write(_metadata, AIO_READ, DEDUPE_INTO_TARGET, "donor", "alias");
}

TEST_F(fs, late_write_aio_alias)
{
	late_write(_metadata, AIO_READ, CLONE, "alias", "donor");
}

TEST_F(fs, late_write_aio_alias_dedupe_from)
{
	late_write(_metadata, AIO_READ, DEDUPE_FROM_TARGET, "alias", "donor");
}

TEST_F(fs, late_write_aio_alias_dedupe_into)
{
	late_write(_metadata, AIO_READ, DEDUPE_INTO_TARGET, "alias", "donor");
}

TEST_F(fs, late_write_aio_second_alias)
{
	late_write(_metadata, AIO_READ, CLONE, "second", "donor");
}

TEST_F(fs, late_write_aio_second_alias_dedupe_into)
{
	late_write(_metadata, AIO_READ, DEDUPE_INTO_TARGET, "second", "donor");
}

TEST_F(fs, late_write_uring_donor)
{
	late_write(_metadata, URING_READ, CLONE, "donor", "alias");
}

TEST_F(fs, late_write_uring_alias)
{
	late_write(_metadata, URING_READ, CLONE, "alias", "donor");
}

TEST_F(fs, late_write_uring_second_alias)
{
	late_write(_metadata, URING_READ, CLONE, "second", "donor");
}

/* Who has pages of an alias, and reads them late */
enum holder { BY_SOCKET, BY_PIPE, BY_DIRECT_WRITE };

/*
 * What somebody took of an alias without copying must stay as it was when the
 * alias is none any more and its donor is written to.
 */
static void late_read(struct __test_metadata *_metadata, enum holder holder)
{
	static unsigned char buf[PAIR_SIZE];
	struct slow_io writer = { .how = WRITE };
	const bool direct = holder == BY_DIRECT_WRITE;
	const size_t len = direct ? BLK : PAIR_SIZE;
	struct slow_file slow = {};
	int ends[2] = { -1, -1 };
	unsigned char *map;
	struct iovec iov;
	ssize_t got, n;
	int fd;

	donor_and_alias(_metadata);
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	if (direct)
		slow_file_begin(_metadata, &slow);
	fd = xopen(_metadata, "alias", O_RDONLY);
	map = map_file(_metadata, "alias", PAIR_SIZE);
	switch (holder) {
	case BY_SOCKET:
		ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
		ASSERT_EQ(PAIR_SIZE, sendfile(ends[1], fd, NULL, PAIR_SIZE));
		break;
	case BY_PIPE:
		ASSERT_EQ(0, pipe(ends));
		iov = (struct iovec){ map, PAIR_SIZE };
		ASSERT_EQ(PAIR_SIZE, vmsplice(ends[1], &iov, 1, 0));
		break;
	case BY_DIRECT_WRITE:
		writer.buffer = map;
		slow_io_begin(_metadata, &slow, &writer);
		break;
	}
	ASSERT_EQ(0, munmap(map, PAIR_SIZE));
	close(fd);
	ASSERT_EQ(0, release_file("alias"));
	ASSERT_EQ(ORDINARY, state_of(_metadata, "donor"));

	write_blocks(_metadata, "donor", 0, PAIR_BLOCKS, 7);
	if (direct) {
		slow_io_end(_metadata, &slow, &writer);
		memcpy(buf, slow.written, BLK);
		slow_file_end(_metadata, &slow);
	}
	for (got = 0; !direct && got < (ssize_t)PAIR_SIZE; got += n) {
		n = read(ends[0], buf + got, PAIR_SIZE - got);
		ASSERT_LT(0, n);
	}
	EXPECT_TRUE(map_has(buf, len, 1));
	close(ends[0]);
	close(ends[1]);
	EXPECT_TRUE(file_has(_metadata, "donor", PAIR_SIZE, 7));
	EXPECT_TRUE(file_has(_metadata, "alias", PAIR_SIZE, 1));
}

TEST_F(fs, late_read_socket)
{
	late_read(_metadata, BY_SOCKET);
}

TEST_F(fs, late_read_vmsplice)
{
	late_read(_metadata, BY_PIPE);
}

TEST_F(fs, late_read_direct_write)
{
	late_read(_metadata, BY_DIRECT_WRITE);
}

/* Is @name still the file of seed 1, in memory and on the disk? */
static bool is_intact(struct __test_metadata *_metadata, const char *name)
{
	static alignas(BLK) unsigned char buf[PAIR_SIZE];
	int fd = xopen(_metadata, name, O_RDONLY | O_DIRECT);

	ASSERT_EQ(PAIR_SIZE, pread(fd, buf, PAIR_SIZE, 0));
	close(fd);
	return map_has(buf, PAIR_SIZE, 1) &&
	       file_has(_metadata, name, PAIR_SIZE, 1);
}

/* How a page gets into a pipe, whence FUSE may move it into its page cache. */
enum giving {
	SPLICED,		/* which is possible, */
	SPLICED_MAPPED,		/* but not if others use it, */
	GIVEN_MAPPED,		/* be it given away by who has it mapped */
};

/*
 * Only FUSE takes pages away from the page caches of others.  A file may lose its
 * page so, as by reclaim, and must not see what is written to that afterwards.
 */
static void page_stolen(struct __test_metadata *_metadata, const char *type,
			const char *name, enum giving giving)
{
	struct gift gift = {};
	struct slow_file slow = { .gift = &gift };
	unsigned char *map, *stolen;
	__u64 frame;
	int fd;

	donor_and_alias(_metadata);
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	gift.fd = xopen(_metadata, name, O_RDONLY);
	map = map_file(_metadata, name, BLK);
	/* FUSE wants single pages, which nobody is about to note the use of. */
	ASSERT_EQ(0, madvise(map, BLK, MADV_RANDOM));
	frame = frame_of(_metadata, map);
	/* Leaves what is mapped where it is, but gives up other references. */
	ASSERT_EQ(0, posix_fadvise(gift.fd, 0, 0, POSIX_FADV_DONTNEED));
	ASSERT_EQ(frame, frame_of(_metadata, map));
	if (giving == SPLICED) {
		/* Before Linux 6.3 only this keeps munmap() from noting it. */
		ASSERT_EQ(0, madvise(map, BLK, MADV_SEQUENTIAL));
		ASSERT_EQ(0, munmap(map, BLK));
	}
	if (giving == GIVEN_MAPPED)
		gift.map = map;
	slow_file_begin(_metadata, &slow);

	fd = xopen(_metadata, "slow", O_RDWR);
	EXPECT_TRUE(fd_has(_metadata, fd, 0, BLK, 1));
	stolen = map_file(_metadata, "slow", BLK);
	/* Of btrfs FUSE gets a copy; in Linux 6.1 only while the extent is locked. */
	if (giving != SPLICED || !strcmp(type, "xfs") || linux_since(6, 2))
		EXPECT_EQ(giving == SPLICED && !strcmp(type, "xfs"),
			  frame_of(_metadata, stolen) == frame);
	EXPECT_TRUE(is_intact(_metadata, "alias"));
	write_pattern(_metadata, fd, 0, BLK, 2);
	EXPECT_EQ(0, fsync(fd));
	EXPECT_TRUE(map_has(stolen, BLK, 2));
	EXPECT_TRUE(map_has(slow.written, BLK, 2));
	EXPECT_TRUE(is_intact(_metadata, "alias"));
	EXPECT_TRUE(is_intact(_metadata, "donor"));
	EXPECT_EQ(KEPT, state_of(_metadata, "alias"));
	EXPECT_EQ(DONOR, state_of(_metadata, "donor"));
	if (giving != SPLICED) {
		EXPECT_TRUE(map_has(map, BLK, 1));
		EXPECT_EQ(frame, frame_of(_metadata, map));
		ASSERT_EQ(0, munmap(map, BLK));
	}
	ASSERT_EQ(0, munmap(stolen, BLK));
	close(fd);
	close(gift.fd);
	slow_file_end(_metadata, &slow);

	drop_caches(_metadata, "3");
	EXPECT_TRUE(is_intact(_metadata, "alias"));
	EXPECT_TRUE(is_intact(_metadata, "donor"));
}

TEST_F(fs, page_stolen)
{
	page_stolen(_metadata, variant->type, "alias", SPLICED);
}

TEST_F(fs, page_stolen_mapped)
{
	page_stolen(_metadata, variant->type, "alias", SPLICED_MAPPED);
}

TEST_F(fs, page_stolen_given)
{
	page_stolen(_metadata, variant->type, "alias", GIVEN_MAPPED);
}

TEST_F(fs, page_stolen_of_donor)
{
	page_stolen(_metadata, variant->type, "donor", SPLICED);
}

TEST_F(fs, page_stolen_of_donor_mapped)
{
	page_stolen(_metadata, variant->type, "donor", SPLICED_MAPPED);
}

/*
 * A file system in "fs" whose disk is a loop device over a tmpfs file, with a
 * donor and an alias; and the tmpfs is full, so that new blocks can't be written.
 */
static int full_disk_begin(struct __test_metadata *_metadata,
			   const struct _fixture_variant_fs *variant)
{
	static char ballast[1 << 20];
	char dev[64];
	int loop, fd;

	ASSERT_EQ(0, mkdir("ram", 0755));
	ASSERT_EQ(0, mkdir("fs", 0755));
	ASSERT_EQ(0, mount("tmpfs", "ram", "tmpfs", 0, "size=160m"));
	loop = make_loop(_metadata, "ram/image", dev);
	ASSERT_TRUE(make_fs(_metadata, variant, dev));
	ASSERT_EQ(0, mount(dev, "fs", variant->type, 0, NULL));
	ASSERT_EQ(0, chdir("fs"));
	donor_and_alias(_metadata);
	sync();

	fd = xopen(_metadata, "../ram/ballast", O_WRONLY | O_CREAT);
	while (write(fd, ballast, sizeof(ballast)) > 0)
		;
	ASSERT_EQ(ENOSPC, errno);
	close(fd);
	return loop;
}

static void full_disk_end(struct __test_metadata *_metadata, int loop)
{
	ASSERT_EQ(0, unlink("../ram/ballast"));
	ASSERT_EQ(0, chdir(".."));
	ASSERT_EQ(0, umount("fs"));
	close(loop);
	ASSERT_EQ(0, umount("ram"));
}

/*
 * A write that failed leaves a clean page which the disk never saw, while the
 * blocks are still the shared ones.
 */
static void check_failed_write(struct __test_metadata *_metadata,
			       const struct _fixture_variant_fs *variant,
			       const char *name)
{
	int loop = full_disk_begin(_metadata, variant);
	int fd = xopen(_metadata, name, O_RDWR);
	int old, alias;

	write_pattern(_metadata, fd, 0, PAIR_SIZE, 2);
	EXPECT_EQ(-1, fsync(fd));
	close(fd);

	old = xopen(_metadata, name, O_RDONLY);
	alias = xopen(_metadata, "alias", O_RDONLY);
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	EXPECT_TRUE(fd_has(_metadata, old, 0, PAIR_SIZE, 1));
	/*
	 * Who has his own pages is told nothing of errors in the donor's.  (With
	 * this disk, what was written to can't be synced on btrfs.)
	 */
	if (strcmp(name, "alias"))
		EXPECT_EQ(0, fsync(alias));
	close(alias);
	close(old);
	EXPECT_TRUE(file_has(_metadata, "alias", PAIR_SIZE, 1));
	EXPECT_TRUE(file_has(_metadata, "donor", PAIR_SIZE, 1));
	full_disk_end(_metadata, loop);
}

TEST_F(fs, failed_write_donor)
{
	check_failed_write(_metadata, variant, "donor");
}

TEST_F(fs, failed_write_alias)
{
	check_failed_write(_metadata, variant, "alias");
}

/* The write fails when the cache is to be emptied. */
static void check_failing_write(struct __test_metadata *_metadata,
				const struct _fixture_variant_fs *variant,
				const char *name)
{
	int loop = full_disk_begin(_metadata, variant);
	int fd = xopen(_metadata, name, O_RDWR), i;

	write_pattern(_metadata, fd, 0, PAIR_SIZE, 2);
	close(fd);
	for (i = 0; i < 2; i++) {
		EXPECT_EQ(-EBUSY, alias_file("alias", "donor", KEEP));
		check_untouched(_metadata, "alias", "donor");
	}
	/* The error is for who opens the file to ask whether all is well. */
	fd = xopen(_metadata, name, O_RDONLY);
	EXPECT_EQ(-1, fsync(fd));
	EXPECT_EQ(0, fsync(fd));
	close(fd);
	EXPECT_EQ(0, alias_file("alias", "donor", KEEP));
	EXPECT_TRUE(file_has(_metadata, "alias", PAIR_SIZE, 1));
	full_disk_end(_metadata, loop);
}

TEST_F(fs, failing_write_donor)
{
	check_failing_write(_metadata, variant, "donor");
}

TEST_F(fs, failing_write_alias)
{
	check_failing_write(_metadata, variant, "alias");
}

TEST_HARNESS_MAIN
