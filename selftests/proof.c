// SPDX-License-Identifier: GPL-2.0
/*
 * Only identical files become aliases: the same blocks for every byte, and
 * nothing in memory that differs from these blocks or will differ later.
 */

#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <linux/falloc.h>
#include <linux/fuse.h>
#include <sys/eventfd.h>
#include <sys/uio.h>

#include "common.h"

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
 * lseek(2) tells of the file's own extents.  Where the donor has unwritten ones it
 * finds data, as they are in the page cache; the alias has a hole.
 */
TEST_F(fs, hole_stays_hole)
{
	int alias, donor;

	sparse_pair(_metadata);
	change_blocks(_metadata, "donor", 0, 4, 8);
	check_sparse_alias(_metadata);
	alias = xopen(_metadata, "alias", O_RDONLY);
	donor = xopen(_metadata, "donor", O_RDONLY);
	EXPECT_EQ(4 * BLK, lseek(donor, 4 * BLK, SEEK_DATA));
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
 * A FUSE file served by the test, which is read with direct I/O and answers
 * when it is told to: the reader's pages stay pinned as long as the test likes.
 */
struct slow_file {
	int dev;		/* /dev/fuse */
	int reading;		/* eventfd: the read request is here */
	int answer;		/* eventfd: answer it now */
	pid_t server;
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

static void serve_slow_file(struct slow_file *slow)
{
	static char request[FUSE_MIN_READ_BUFFER * 2];
	struct fuse_in_header *in = (void *)request;
	static char data[BLK];
	__u64 one = 1;

	memset(data, SLOW_BYTE, sizeof(data));
	while (read(slow->dev, request, sizeof(request)) > 0) {
		switch (in->opcode) {
		case FUSE_INIT: {
			struct fuse_init_out out = {
				.major = FUSE_KERNEL_VERSION,
				.minor = FUSE_KERNEL_MINOR_VERSION,
				.max_write = BLK,
			};
			fuse_answer(slow, in, 0, &out, sizeof(out));
			break;
		}
		case FUSE_GETATTR: {
			struct fuse_attr_out out = {
				.attr = {
					.ino = FUSE_ROOT_ID, .size = BLK,
					.mode = S_IFREG | 0400, .nlink = 1,
				},
			};
			fuse_answer(slow, in, 0, &out, sizeof(out));
			break;
		}
		case FUSE_OPEN: {
			struct fuse_open_out out = {
				/* A close need not wait for the answer. */
				.open_flags = FOPEN_DIRECT_IO | FOPEN_NOFLUSH,
			};
			fuse_answer(slow, in, 0, &out, sizeof(out));
			break;
		}
		case FUSE_READ:
			if (write(slow->reading, &one, 8) != 8 ||
			    read(slow->answer, &one, 8) != 8)
				return;
			fuse_answer(slow, in, 0, data, sizeof(data));
			break;
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
	slow->dev = xopen(_metadata, "/dev/fuse", O_RDWR);
	slow->reading = eventfd(0, EFD_CLOEXEC);
	slow->answer = eventfd(0, EFD_CLOEXEC);
	ASSERT_LE(0, slow->reading);
	ASSERT_LE(0, slow->answer);
	snprintf(options, sizeof(options),
		 "fd=%d,rootmode=%o,user_id=0,group_id=0", slow->dev,
		 S_IFREG | 0400);
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
	close(slow->reading);
	close(slow->answer);
}

struct slow_read {
	int fd;
	void *buffer;
	ssize_t result;
	pthread_t thread;
};

static void *do_slow_read(void *arg)
{
	struct slow_read *r = arg;

	r->result = read(r->fd, r->buffer, BLK);
	return NULL;
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
static void late_write(struct __test_metadata *_metadata, enum sharing sharing,
		       const char *target, const char *other)
{
	const bool second = !strcmp(target, "second");
	const int n = second ? 3 : 2;
	struct slow_file slow;
	struct slow_read reader;
	unsigned char *map;
	__u64 one = 1;
	int fd, old;

	make_file(_metadata, target, PAIR_SIZE, 1);
	slow_file_begin(_metadata, &slow);

	fd = xopen(_metadata, target, O_RDWR);
	map = mmap(NULL, PAIR_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, map);
	reader.fd = xopen(_metadata, "slow", O_RDONLY);
	reader.buffer = map + 5 * BLK;
	ASSERT_EQ(0, pthread_create(&reader.thread, NULL, do_slow_read,
				    &reader));
	ASSERT_EQ(8, read(slow.reading, &one, 8));
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

	one = 1;
	ASSERT_EQ(8, write(slow.answer, &one, 8));
	ASSERT_EQ(0, pthread_join(reader.thread, NULL));
	ASSERT_EQ(BLK, reader.result);
	close(reader.fd);
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
	late_write(_metadata, CLONE, "donor", "alias");
}

TEST_F(fs, late_write_donor_dedupe_from)
{
	late_write(_metadata, DEDUPE_FROM_TARGET, "donor", "alias");
}

TEST_F(fs, late_write_donor_dedupe_into)
{
	late_write(_metadata, DEDUPE_INTO_TARGET, "donor", "alias");
}

TEST_F(fs, late_write_alias)
{
	late_write(_metadata, CLONE, "alias", "donor");
}

TEST_F(fs, late_write_alias_dedupe_from)
{
	late_write(_metadata, DEDUPE_FROM_TARGET, "alias", "donor");
}

TEST_F(fs, late_write_alias_dedupe_into)
{
	late_write(_metadata, DEDUPE_INTO_TARGET, "alias", "donor");
}

TEST_F(fs, late_write_second_alias)
{
	late_write(_metadata, CLONE, "second", "donor");
}

TEST_F(fs, late_write_second_alias_dedupe_into)
{
	late_write(_metadata, DEDUPE_INTO_TARGET, "second", "donor");
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
	int old;

	write_pattern(_metadata, fd, 0, PAIR_SIZE, 2);
	EXPECT_EQ(-1, fsync(fd));
	close(fd);

	old = xopen(_metadata, name, O_RDONLY);
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	EXPECT_TRUE(fd_has(_metadata, old, 0, PAIR_SIZE, 1));
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
