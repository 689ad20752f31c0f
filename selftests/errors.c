// SPDX-License-Identifier: GPL-2.0
/*
 * The errors that the documentation promises, and that a call that failed
 * changed nothing.  ETXTBSY is in frozen.c, EPERM and EACCES in perm.c, EBUSY
 * for a cache that can't be emptied in proof.c, ENOMEM in failslab.c.
 */

#include <endian.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <linux/falloc.h>
#include <linux/userfaultfd.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "common.h"

/* alias_file() for a file and a donor that must stay ordinary ones. */
static int fails(struct __test_metadata *_metadata, const char *name,
		 const char *donor)
{
	struct snapshot file = take_snapshot(_metadata, name);
	struct snapshot other = take_snapshot(_metadata, donor);
	int err = alias_file(name, donor, 0);

	EXPECT_EQ(err, alias_file(name, donor, KEEP));
	check_untouched(_metadata, name, donor);
	EXPECT_TRUE(unchanged(_metadata, name, &file));
	EXPECT_TRUE(unchanged(_metadata, donor, &other));
	return err;
}

static int open_closed(struct __test_metadata *_metadata)
{
	int fd = xopen(_metadata, "other", O_RDONLY);
	int closed = fcntl(fd, F_DUPFD, 900);

	close(fd);
	close(closed);
	return closed;
}

static int open_none(struct __test_metadata *_metadata)
{
	(void)_metadata;
	return AT_FDCWD;
}

static int open_pipe(struct __test_metadata *_metadata)
{
	int fds[2];

	ASSERT_EQ(0, pipe(fds));
	close(fds[1]);
	return fds[0];
}

static int open_socket(struct __test_metadata *_metadata)
{
	(void)_metadata;
	return socket(AF_UNIX, SOCK_STREAM, 0);
}

static int open_epoll(struct __test_metadata *_metadata)
{
	(void)_metadata;
	return epoll_create1(0);
}

static int open_eventfd(struct __test_metadata *_metadata)
{
	(void)_metadata;
	return eventfd(0, 0);
}

static int open_memfd(struct __test_metadata *_metadata)
{
	int fd = memfd_create("memfd", 0);

	write_pattern(_metadata, fd, 0, PAIR_SIZE, 1);
	return fd;
}

/* A clone without a name, open for reading and writing. */
static int open_tmpfile(struct __test_metadata *_metadata)
{
	int donor = xopen(_metadata, "donor", O_RDONLY);
	int fd = xopen(_metadata, ".", O_RDWR | O_TMPFILE);

	ASSERT_EQ(0, ioctl(fd, FICLONE, donor));
	close(donor);
	return fd;
}

/* What the calls answer where the other file is all right. */
struct answers {
	int target, keep;	/* alias_fd() on it, without and with KEEP */
	int donor;		/* alias_fd() with it as the donor */
	int release, info;
};

#define NO_FILE { -EBADF, -EBADF, -EBADF, -EBADF, -EBADF }
#define NOT_REGULAR { -EINVAL, -EINVAL, -EINVAL, -EINVAL, -EINVAL }
/* Regular files of elsewhere are ordinary ones. */
#define ELSEWHERE { -EXDEV, -EXDEV, -EXDEV, 0, 0 }

/* All kinds of descriptors; "other" is a clone of "donor". */
static const struct fd_type {
	const char *name;
	const char *path;
	int flags;
	int (*open)(struct __test_metadata *_metadata);	/* without a path */
	struct answers is;
} fd_types[] = {
	{ "no number", .open = open_none, .is = NO_FILE },
	{ "closed", .open = open_closed, .is = NO_FILE },
	{ "O_PATH", "other", O_PATH, .is = NO_FILE },
	{ "symlink", "symlink", O_PATH | O_NOFOLLOW, .is = NO_FILE },
	{ "directory", ".", O_RDONLY, .is = NOT_REGULAR },
	{ "fifo", "fifo", O_RDWR, .is = NOT_REGULAR },
	{ "pipe", .open = open_pipe, .is = NOT_REGULAR },
	{ "socket", .open = open_socket, .is = NOT_REGULAR },
	{ "character device", "/dev/null", O_RDONLY, .is = NOT_REGULAR },
	{ "block device", "block", O_RDONLY, .is = NOT_REGULAR },
	{ "epoll", .open = open_epoll, .is = NOT_REGULAR },
	{ "eventfd", .open = open_eventfd, .is = NOT_REGULAR },
	{ "overlayfs", "merged/other", O_RDONLY, .is = ELSEWHERE },
	{ "tmpfs", "ram/file", O_RDONLY, .is = ELSEWHERE },
	{ "memfd", .open = open_memfd, .is = ELSEWHERE },
	{ "proc", "/proc/self/status", O_RDONLY, .is = ELSEWHERE },
	/* In the project's virtual machines that is 9p. */
	{ "root file system", "/proc/self/exe", O_RDONLY, .is = ELSEWHERE },
	/* Not open for reading: not what a writer gets. */
	{ "write-only", "other", O_WRONLY,
	  .is = { -EBADF, -EBADF, -EBADF, 0, 0 } },
	{ "O_TMPFILE", .open = open_tmpfile,
	  .is = { -ETXTBSY, -ENOENT, -ENOENT, 0, 0 } },
};

#define FD_TYPES ARRAY_SIZE(fd_types)

static int info_errno(int fd, struct fs_mapping_info *info)
{
	return ioctl(fd, FS_IOC_MAPPING_INFO, info) ? -errno : 0;
}

/* "alias" and "donor", unlike all @fds, are what the calls are meant for. */
static void check_fd_types(struct __test_metadata *_metadata,
			   const int fds[FD_TYPES])
{
	int alias = xopen(_metadata, "alias", O_RDONLY);
	int donor = xopen(_metadata, "donor", O_RDONLY);
	struct snapshot alias_before, donor_before, now;
	const struct fd_type *type;
	struct fs_mapping_info info;
	int expected;
	size_t i;

	EXPECT_TRUE(fd_has(_metadata, alias, 0, PAIR_SIZE, 1));
	EXPECT_TRUE(fd_has(_metadata, donor, 0, PAIR_SIZE, 1));
	alias_before = take_snapshot(_metadata, "alias");
	donor_before = take_snapshot(_metadata, "donor");
	ASSERT_EQ(PAIR_BLOCKS, alias_before.cached);
	for (i = 0; i < FD_TYPES; i++) {
		type = &fd_types[i];
		/* Of several reasons in the state, this is the first. */
		expected = type->is.donor == -ENOENT &&
			   alias_before.info.state == KEPT ? -EBUSY :
			   type->is.donor;

		EXPECT_EQ(type->is.target, alias_fd(fds[i], donor, 0))
			TH_LOG("%s as target", type->name);
		EXPECT_EQ(type->is.keep, alias_fd(fds[i], donor, KEEP))
			TH_LOG("%s as target, keep", type->name);
		EXPECT_EQ(expected, alias_fd(alias, fds[i], 0))
			TH_LOG("%s as donor", type->name);
		EXPECT_EQ(expected, alias_fd(alias, fds[i], KEEP))
			TH_LOG("%s as donor, keep", type->name);
		EXPECT_EQ(type->is.release, release_fd(fds[i]))
			TH_LOG("release %s", type->name);
		EXPECT_EQ(type->is.info, info_errno(fds[i], &info))
			TH_LOG("info of %s", type->name);
		if (!type->is.info) {
			info = info_fd(_metadata, fds[i]);
			EXPECT_TRUE(!info.state && !info.nr_aliases &&
				    !info.donor_ino && !info.donor_gen)
				TH_LOG("%s is not ordinary", type->name);
		}

		EXPECT_TRUE(unchanged(_metadata, "alias", &alias_before))
			TH_LOG("after %s", type->name);
		EXPECT_TRUE(unchanged(_metadata, "donor", &donor_before))
			TH_LOG("after %s", type->name);
		/* Nor has anything gone so far as to empty the caches. */
		now = take_snapshot(_metadata, "alias");
		EXPECT_EQ(alias_before.cached, now.cached);
		now = take_snapshot(_metadata, "donor");
		EXPECT_EQ(donor_before.cached, now.cached);
	}
	close(alias);
	close(donor);
}

/* Is @err what the documentation says of @target with @donor? */
static bool fd_types_answer(const struct fd_type *target,
			    const struct fd_type *donor, int err)
{
	if (err == target->is.target || err == donor->is.donor)
		return true;
	/* The file systems may be the same one, and so may be the files. */
	return (target == donor && err == -EINVAL) ||
	       (target->is.target == -EXDEV && donor->is.donor == -EXDEV &&
		(err == -EOPNOTSUPP || err == -EINVAL));
}

TEST_F(fs, fd_types)
{
	int fds[FD_TYPES], err;
	size_t i, j;

	donor_and_alias(_metadata);
	clone_file(_metadata, "donor", "other");
	ASSERT_EQ(0, symlink("other", "symlink"));
	ASSERT_EQ(0, symlink(self->dev, "block"));
	ASSERT_EQ(0, mkfifo("fifo", 0600));
	ASSERT_EQ(0, mkdir("ram", 0755));
	ASSERT_EQ(0, mount("tmpfs", "ram", "tmpfs", 0, NULL));
	make_file(_metadata, "ram/file", PAIR_SIZE, 1);
	ASSERT_EQ(0, mkdir("low", 0755));
	ASSERT_EQ(0, mkdir("merged", 0755));
	ASSERT_EQ(0, link("other", "low/other"));
	ASSERT_EQ(0, mount("overlay", "merged", "overlay", 0,
			   "lowerdir=low:ram"));
	for (i = 0; i < FD_TYPES; i++) {
		fds[i] = fd_types[i].open ? fd_types[i].open(_metadata) :
			 xopen(_metadata, fd_types[i].path, fd_types[i].flags);
		if (fd_types[i].is.info != -EBADF)
			ASSERT_LE(0, fds[i])
				TH_LOG("%s", fd_types[i].name);
	}

	check_fd_types(_metadata, fds);
	for (i = 0; i < FD_TYPES; i++) {
		for (j = 0; j < FD_TYPES; j++) {
			err = alias_fd(fds[i], fds[j], 0);
			EXPECT_TRUE(fd_types_answer(&fd_types[i], &fd_types[j],
						    err))
				TH_LOG("%s, donor %s: %d", fd_types[i].name,
				       fd_types[j].name, err);
		}
	}

	/* The same with what can't become more of an alias or a donor. */
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	check_fd_types(_metadata, fds);

	for (i = 0; i < FD_TYPES; i++)
		close(fds[i]);
	ASSERT_EQ(0, umount("merged"));
	ASSERT_EQ(0, umount("ram"));
}

TEST_F(fs, bad_numbers)
{
	static const int numbers[] = { -1, AT_FDCWD, 1000000, INT_MAX, INT_MIN };
	int alias, donor;
	size_t i;

	donor_and_alias(_metadata);
	alias = xopen(_metadata, "alias", O_RDONLY);
	donor = xopen(_metadata, "donor", O_RDONLY);
	for (i = 0; i < ARRAY_SIZE(numbers); i++) {
		EXPECT_EQ(-EBADF, alias_fd(numbers[i], donor, 0));
		EXPECT_EQ(-EBADF, alias_fd(alias, numbers[i], 0));
	}
	check_untouched(_metadata, "alias", "donor");
}

/* What a later version with larger structures would send. */
TEST_F(fs, unknown_size)
{
	char arg[256] = {};
	int fd;

	donor_and_alias(_metadata);
	fd = xopen(_metadata, "alias", O_RDONLY);
	EXPECT_EQ(-1, ioctl(fd, _IOW(0x15, 0xa0, char[32]), arg));
	EXPECT_EQ(ENOTTY, errno);
	EXPECT_EQ(-1, ioctl(fd, _IOW(0x15, 0xa1, char[32]), arg));
	EXPECT_EQ(ENOTTY, errno);
	EXPECT_EQ(-1, ioctl(fd, _IOR(0x15, 0xa2, char[64]), arg));
	EXPECT_EQ(ENOTTY, errno);
	check_untouched(_metadata, "alias", "donor");
}

TEST_F(fs, unknown_flags)
{
	unsigned int bit;
	int alias, donor;

	donor_and_alias(_metadata);
	alias = xopen(_metadata, "alias", O_RDONLY);
	donor = xopen(_metadata, "donor", O_RDONLY);
	for (bit = 1; bit < 32; bit++) {
		EXPECT_EQ(-EINVAL, alias_fd(alias, donor, 1U << bit));
		EXPECT_EQ(-EINVAL, alias_fd(alias, donor, KEEP | 1U << bit));
	}
	check_untouched(_metadata, "alias", "donor");
}

TEST_F(fs, reserved_not_zero)
{
	struct fs_mapping_alias arg;
	int alias, donor;
	size_t i;

	donor_and_alias(_metadata);
	alias = xopen(_metadata, "alias", O_RDONLY);
	donor = xopen(_metadata, "donor", O_RDONLY);
	for (i = 0; i < ARRAY_SIZE(arg.reserved); i++) {
		memset(&arg, 0, sizeof(arg));
		arg.donor_fd = donor;
		arg.reserved[i] = 1;
		EXPECT_EQ(-1, ioctl(alias, FS_IOC_MAPPING_ALIAS, &arg));
		EXPECT_EQ(EINVAL, errno);
	}
	check_untouched(_metadata, "alias", "donor");
}

TEST_F(fs, bad_address)
{
	struct fs_mapping_alias *arg;
	struct fs_mapping_info *info;
	char *map = mmap(NULL, 2 * BLK, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int alias;

	ASSERT_NE(MAP_FAILED, map);
	donor_and_alias(_metadata);
	alias = xopen(_metadata, "alias", O_RDONLY);
	/* Whole, but for the last byte. */
	arg = (void *)(map + BLK - sizeof(*arg) + 1);
	info = (void *)(map + BLK - sizeof(*info) + 1);
	memset(arg, 0, sizeof(*arg));
	arg->donor_fd = xopen(_metadata, "donor", O_RDONLY);
	ASSERT_EQ(0, mprotect(map + BLK, BLK, PROT_NONE));
	EXPECT_EQ(-1, ioctl(alias, FS_IOC_MAPPING_ALIAS, arg));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(-EFAULT, info_errno(alias, info));

	ASSERT_EQ(0, mprotect(map, BLK, PROT_READ));
	EXPECT_EQ(-EFAULT, info_errno(alias, (void *)map));
	EXPECT_EQ(-1, ioctl(alias, FS_IOC_MAPPING_ALIAS, NULL));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(-EFAULT, info_errno(alias, NULL));
	check_untouched(_metadata, "alias", "donor");
	ASSERT_EQ(0, munmap(map, 2 * BLK));
}

TEST_F(fs, same_file)
{
	donor_and_alias(_metadata);
	EXPECT_EQ(-EINVAL, alias_file("donor", "donor", 0));
	ASSERT_EQ(0, link("donor", "link"));
	EXPECT_EQ(-EINVAL, alias_file("link", "donor", KEEP));
	check_untouched(_metadata, "alias", "donor");
}

TEST_F(fs, empty_files)
{
	make_file(_metadata, "donor", 0, 1);
	make_file(_metadata, "alias", 0, 1);
	EXPECT_EQ(-EINVAL, fails(_metadata, "alias", "donor"));
}

TEST_F(fs, other_file_system)
{
	char dev[64];
	int loop;

	donor_and_alias(_metadata);
	ASSERT_EQ(0, mkdir("other", 0755));

	/* Another kind of file system. */
	ASSERT_EQ(0, mount("tmpfs", "other", "tmpfs", 0, NULL));
	make_file(_metadata, "other/file", PAIR_SIZE, 1);
	EXPECT_EQ(-EXDEV, fails(_metadata, "alias", "other/file"));
	ASSERT_EQ(0, umount("other"));

	/* One more of the same kind. */
	loop = make_loop(_metadata, "image", dev);
	ASSERT_TRUE(make_fs(_metadata, variant, dev));
	ASSERT_EQ(0, mount(dev, "other", variant->type, 0, NULL)) {
		TH_LOG("mount %s: %s", dev, strerror(errno));
	}
	make_file(_metadata, "other/file", PAIR_SIZE, 1);
	EXPECT_EQ(-EXDEV, fails(_metadata, "alias", "other/file"));
	EXPECT_EQ(-EXDEV, fails(_metadata, "other/file", "donor"));
	ASSERT_EQ(0, umount("other"));
	close(loop);
}

TEST_F(fs, no_support)
{
	ASSERT_EQ(0, mkdir("other", 0755));
	ASSERT_EQ(0, mount("tmpfs", "other", "tmpfs", 0, NULL));
	make_file(_metadata, "other/donor", PAIR_SIZE, 1);
	make_file(_metadata, "other/alias", PAIR_SIZE, 1);
	EXPECT_EQ(-EOPNOTSUPP, fails(_metadata, "other/alias", "other/donor"));
	ASSERT_EQ(0, umount("other"));
}

/*
 * Other file systems use the fields that donors have their aliases in: without
 * a journal, ext4 lists the buffers there that fsync() of a file has to write.
 */
TEST_F(fs, no_support_fields_in_use)
{
	const struct _fixture_variant_fs ext4 = {
		.mkfs = { "mkfs.ext4", "-q", "-F", "-O", "^has_journal" },
	};
	static const char * const names[] = { "other/donor", "other/alias" };
	char dev[64];
	int loop, fd, i;
	size_t n;

	ASSERT_EQ(0, mkdir("other", 0755));
	loop = make_loop(_metadata, "image", dev);
	if (!make_fs(_metadata, &ext4, dev))
		SKIP(return, "no %s", ext4.mkfs[0]);
	ASSERT_EQ(0, mount(dev, "other", "ext4", 0, NULL)) {
		TH_LOG("mount %s: %s", dev, strerror(errno));
	}
	for (n = 0; n < ARRAY_SIZE(names); n++) {
		fd = xopen(_metadata, names[n], O_RDWR | O_CREAT);
		/* More extents than the inode has room for */
		for (i = 0; i < 20; i++)
			ASSERT_EQ(0, fallocate(fd, 0, 2 * i * BLK, BLK));
		close(fd);
	}
	EXPECT_EQ(-EOPNOTSUPP, fails(_metadata, "other/alias", "other/donor"));
	for (n = 0; n < ARRAY_SIZE(names); n++) {
		EXPECT_EQ(0, release_file(names[n]));
		EXPECT_EQ(ORDINARY, state_of(_metadata, names[n]));
		fd = xopen(_metadata, names[n], O_RDONLY);
		EXPECT_EQ(0, fsync(fd));
		close(fd);
	}
	ASSERT_EQ(0, umount("other"));
	close(loop);
}

/* Files in persistent memory have no page cache to share. */
TEST_F(fs, no_support_dax)
{
	const struct _fixture_variant_fs xfs = {
		.mkfs = { "mkfs.xfs", "-q", "-f", "-K" },
	};
	const char *dev = "/dev/pmem0";
	struct statx stx;

	if (access(dev, F_OK))
		SKIP(return, "no %s: memmap=320M!1G makes one", dev);
	ASSERT_EQ(0, mkdir("other", 0755));
	if (!make_fs(_metadata, &xfs, dev))
		SKIP(return, "no %s", xfs.mkfs[0]);
	ASSERT_EQ(0, mount(dev, "other", "xfs", 0, "dax=always")) {
		TH_LOG("mount %s: %s", dev, strerror(errno));
	}
	make_file(_metadata, "other/donor", PAIR_SIZE, 1);
	clone_file(_metadata, "other/donor", "other/alias");
	ASSERT_EQ(0, statx(AT_FDCWD, "other/donor", 0, 0, &stx));
	ASSERT_TRUE(stx.stx_attributes & STATX_ATTR_DAX);
	EXPECT_EQ(-EOPNOTSUPP, fails(_metadata, "other/alias", "other/donor"));
	ASSERT_EQ(0, umount("other"));
}

/* An overlay's inode has no page cache: the layers' files are to be aliased. */
TEST_F(fs, no_support_overlayfs)
{
	donor_and_alias(_metadata);
	ASSERT_EQ(0, mkdir("up", 0755));
	ASSERT_EQ(0, mkdir("work", 0755));
	ASSERT_EQ(0, mkdir("low", 0755));
	ASSERT_EQ(0, mkdir("merged", 0755));
	ASSERT_EQ(0, rename("donor", "low/donor"));
	ASSERT_EQ(0, rename("alias", "low/alias"));
	ASSERT_EQ(0, mount("overlay", "merged", "overlay", 0,
			   "lowerdir=low,upperdir=up,workdir=work"));
	EXPECT_EQ(-EOPNOTSUPP,
		  alias_file("merged/alias", "merged/donor", KEEP));
	EXPECT_EQ(-EXDEV, alias_file("merged/alias", "low/donor", KEEP));
	EXPECT_EQ(ORDINARY, state_of(_metadata, "low/alias"));
	ASSERT_EQ(0, umount("merged"));
	check_untouched(_metadata, "low/alias", "low/donor");
}

TEST_F(fs, sizes_differ)
{
	int fd;

	donor_and_alias(_metadata);
	/* All blocks are the same, only the last one's use differs. */
	ASSERT_EQ(0, truncate("alias", PAIR_SIZE - 1));
	EXPECT_EQ(-EBADE, fails(_metadata, "alias", "donor"));
	EXPECT_EQ(-EBADE, fails(_metadata, "donor", "alias"));

	clone_file(_metadata, "donor", "longer");
	fd = xopen(_metadata, "longer", O_RDWR);
	write_pattern(_metadata, fd, PAIR_SIZE, BLK, 1);
	close(fd);
	EXPECT_EQ(-EBADE, fails(_metadata, "longer", "donor"));
}

/* The kernel looks at blocks: that the bytes are equal is not enough. */
TEST_F(fs, copies)
{
	make_file(_metadata, "donor", PAIR_SIZE, 1);
	make_file(_metadata, "alias", PAIR_SIZE, 1);
	EXPECT_EQ(-EBADE, fails(_metadata, "alias", "donor"));

	/* Nor if both are shared with a file each. */
	clone_file(_metadata, "donor", "donor2");
	clone_file(_metadata, "alias", "alias2");
	EXPECT_EQ(-EBADE, fails(_metadata, "alias", "donor"));
}

TEST_F(fs, one_block_differs)
{
	static const size_t blocks[] = { 0, PAIR_BLOCKS / 2, PAIR_BLOCKS - 1 };
	size_t i;
	int fd;

	donor_and_alias(_metadata);
	for (i = 0; i < ARRAY_SIZE(blocks); i++) {
		clone_file(_metadata, "donor", "alias");
		fd = xopen(_metadata, "alias", O_RDWR);
		write_pattern(_metadata, fd, blocks[i] * BLK, BLK, 2);
		close(fd);
		EXPECT_EQ(-EBADE, fails(_metadata, "alias", "donor"));
		EXPECT_EQ(-EBADE, fails(_metadata, "donor", "alias"));
	}
}

/* The first half is shared, the second half equal but not shared. */
TEST_F(fs, half_shared)
{
	struct file_clone_range range = { .src_length = PAIR_SIZE / 2 };
	int fd;

	make_file(_metadata, "donor", PAIR_SIZE, 1);
	make_file(_metadata, "alias", PAIR_SIZE, 1);
	range.src_fd = xopen(_metadata, "donor", O_RDONLY);
	fd = xopen(_metadata, "alias", O_RDWR);
	ASSERT_EQ(0, ioctl(fd, FICLONERANGE, &range));
	close(fd);
	EXPECT_EQ(-EBADE, fails(_metadata, "alias", "donor"));
	EXPECT_EQ(-EBADE, fails(_metadata, "donor", "alias"));
}

/* The same blocks in another order. */
TEST_F(fs, blocks_swapped)
{
	struct file_clone_range range = {
		.src_length = PAIR_SIZE / 2,
		.dest_offset = PAIR_SIZE / 2,
	};
	int fd;

	make_file(_metadata, "donor", PAIR_SIZE, 1);
	make_file(_metadata, "alias", 0, 1);
	range.src_fd = xopen(_metadata, "donor", O_RDONLY);
	fd = xopen(_metadata, "alias", O_RDWR);
	ASSERT_EQ(0, ioctl(fd, FICLONERANGE, &range));
	range.src_offset = PAIR_SIZE / 2;
	range.dest_offset = 0;
	ASSERT_EQ(0, ioctl(fd, FICLONERANGE, &range));
	close(fd);
	EXPECT_EQ(-EBADE, fails(_metadata, "alias", "donor"));
}

/* Nothing is shared between two files of zeros without blocks. */
TEST_F(fs, holes_only)
{
	make_file(_metadata, "donor", 0, 1);
	make_file(_metadata, "alias", 0, 1);
	ASSERT_EQ(0, truncate("donor", PAIR_SIZE));
	ASSERT_EQ(0, truncate("alias", PAIR_SIZE));
	EXPECT_EQ(-EBADE, fails(_metadata, "alias", "donor"));
}

/* The same, of files that have shared blocks with others before. */
TEST_F(fs, holes_only_after_clone)
{
	static const char * const names[] = { "alias", "donor" };
	size_t i;
	int fd;

	donor_and_alias(_metadata);
	for (i = 0; i < ARRAY_SIZE(names); i++) {
		fd = xopen(_metadata, names[i], O_RDWR);
		ASSERT_EQ(0, fallocate(fd, FALLOC_FL_PUNCH_HOLE |
				       FALLOC_FL_KEEP_SIZE, 0, PAIR_SIZE));
		ASSERT_EQ(0, fsync(fd));
		close(fd);
	}
	EXPECT_EQ(-EBADE, fails(_metadata, "alias", "donor"));
}

TEST_F(fs, no_name)
{
	int alias, donor, tmp;

	donor_and_alias(_metadata);
	alias = xopen(_metadata, "alias", O_RDONLY);
	donor = xopen(_metadata, "donor", O_RDONLY);

	/* A donor that never had a name. */
	tmp = xopen(_metadata, ".", O_RDWR | O_TMPFILE);
	ASSERT_EQ(0, ioctl(tmp, FICLONE, donor));
	EXPECT_EQ(-ENOENT, alias_fd(alias, tmp, 0));
	EXPECT_EQ(-ENOENT, alias_fd(alias, tmp, KEEP));
	close(tmp);
	check_untouched(_metadata, "alias", "donor");

	/* A donor that has lost it. */
	ASSERT_EQ(0, link("donor", "name"));
	ASSERT_EQ(0, unlink("donor"));
	ASSERT_EQ(0, unlink("name"));
	EXPECT_EQ(-ENOENT, alias_fd(alias, donor, 0));
	EXPECT_EQ(ORDINARY, info_fd(_metadata, alias).state);
	EXPECT_EQ(ORDINARY, info_fd(_metadata, donor).state);
	EXPECT_EQ(0, try_open("alias", O_RDWR));
}

/* A file without a name can be an alias, but there is nothing to keep. */
TEST_F(fs, keep_no_name)
{
	int alias, donor;

	donor_and_alias(_metadata);
	alias = xopen(_metadata, "alias", O_RDONLY);
	donor = xopen(_metadata, "donor", O_RDONLY);
	ASSERT_EQ(0, unlink("alias"));
	EXPECT_EQ(-ENOENT, alias_fd(alias, donor, KEEP));
	EXPECT_EQ(ORDINARY, info_fd(_metadata, alias).state);
	EXPECT_EQ(0, try_open("donor", O_RDWR));
	EXPECT_EQ(0, alias_fd(alias, donor, 0));
	EXPECT_EQ(-ENOENT, alias_fd(alias, donor, KEEP));
	EXPECT_EQ(ALIAS, info_fd(_metadata, alias).state);
}

TEST_F(fs, alias_of_another)
{
	donor_and_alias(_metadata);
	clone_file(_metadata, "donor", "other");
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	EXPECT_EQ(-EBUSY, alias_file("alias", "other", 0));
	EXPECT_EQ(-EBUSY, alias_file("alias", "other", KEEP));
	EXPECT_EQ(KEPT, state_of(_metadata, "alias"));
	EXPECT_EQ(ino_of(_metadata, "donor"),
		  info_file(_metadata, "alias").donor_ino);
	EXPECT_EQ(ORDINARY, state_of(_metadata, "other"));
	EXPECT_EQ(0, try_open("other", O_RDWR));
}

TEST_F(fs, has_aliases)
{
	donor_and_alias(_metadata);
	clone_file(_metadata, "donor", "other");
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	EXPECT_EQ(-EBUSY, alias_file("donor", "other", 0));
	EXPECT_EQ(DONOR, state_of(_metadata, "donor"));
	EXPECT_EQ(1, info_file(_metadata, "donor").nr_aliases);
	EXPECT_EQ(KEPT, state_of(_metadata, "alias"));
	EXPECT_EQ(ORDINARY, state_of(_metadata, "other"));
	EXPECT_EQ(0, try_open("other", O_RDWR));
}

/* An alias stands for its donor, so these two are the same file. */
TEST_F(fs, donor_onto_its_alias)
{
	donor_and_alias(_metadata);
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	EXPECT_EQ(-EINVAL, alias_file("donor", "alias", 0));
	EXPECT_EQ(DONOR, state_of(_metadata, "donor"));
	EXPECT_EQ(KEPT, state_of(_metadata, "alias"));
}

/* Make "donor" and its clone "alias", every other block of @n a hole. */
static void fragmented_pair(struct __test_metadata *_metadata, size_t n)
{
	int fd = xopen(_metadata, "donor", O_RDWR | O_CREAT);
	size_t i;

	for (i = 0; i < n; i += 2)
		write_pattern(_metadata, fd, i * BLK, BLK, 1);
	ASSERT_EQ(0, fsync(fd));
	close(fd);
	clone_file(_metadata, "donor", "alias");
	sync();
}

/* Wait until @pid sleeps where no signal reaches it. */
static void wait_until_stuck(struct __test_metadata *_metadata, pid_t pid)
{
	char state;

	do {
		usleep(10000);
		state = process_state(_metadata, pid);
		ASSERT_NE('Z', state);
	} while (state != 'D');
}

/* A reader who waits for memory to read into, and on XFS locks the file. */
struct reader {
	int fd, uffd;
	void *page;
	ssize_t result;
	pthread_t thread;
};

static void *do_read(void *arg)
{
	struct reader *reader = arg;

	reader->result = pread(reader->fd, reader->page, BLK, 0);
	return NULL;
}

static void start_reader(struct __test_metadata *_metadata,
			 struct reader *reader, const char *name)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register area = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct pollfd event = { .events = POLLIN };

	reader->page = mmap(NULL, BLK, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, reader->page);
	reader->uffd = syscall(__NR_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	ASSERT_LE(0, reader->uffd) {
		TH_LOG("userfaultfd: %s", strerror(errno));
	}
	ASSERT_EQ(0, ioctl(reader->uffd, UFFDIO_API, &api));
	area.range.start = (unsigned long)reader->page;
	area.range.len = BLK;
	ASSERT_EQ(0, ioctl(reader->uffd, UFFDIO_REGISTER, &area));
	reader->fd = xopen(_metadata, name, O_RDONLY);
	ASSERT_EQ(0, pthread_create(&reader->thread, NULL, do_read, reader));
	event.fd = reader->uffd;
	ASSERT_EQ(1, poll(&event, 1, -1));
}

static void finish_reader(struct __test_metadata *_metadata,
			  struct reader *reader)
{
	struct uffdio_zeropage zero = {
		.range = { (unsigned long)reader->page, BLK },
	};

	ASSERT_EQ(0, ioctl(reader->uffd, UFFDIO_ZEROPAGE, &zero));
	ASSERT_EQ(0, pthread_join(reader->thread, NULL));
	EXPECT_EQ(BLK, reader->result);
	ASSERT_EQ(0, munmap(reader->page, BLK));
	close(reader->uffd);
	close(reader->fd);
}

/*
 * Killed while it waits for the locks, with writers denied: the proof that
 * comes next is not begun.  Nobody is there to see the EINTR.
 */
TEST_F(fs, killed_before_proof)
{
	struct snapshot alias, donor;
	struct reader reader;
	int status;
	pid_t pid;

	if (strcmp(variant->type, "xfs"))
		SKIP(return, "only XFS locks a file that is read");
	donor_and_alias(_metadata);
	alias = take_snapshot(_metadata, "alias");
	donor = take_snapshot(_metadata, "donor");
	start_reader(_metadata, &reader, "alias");
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		child_exit(alias_file("alias", "donor", KEEP));
	wait_until_stuck(_metadata, pid);
	ASSERT_EQ(0, kill(pid, SIGKILL));
	EXPECT_EQ(-ETXTBSY, try_open("alias", O_RDWR));
	EXPECT_EQ(-ETXTBSY, try_open("donor", O_RDWR));
	finish_reader(_metadata, &reader);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_TRUE(unchanged(_metadata, "alias", &alias));
	EXPECT_TRUE(unchanged(_metadata, "donor", &donor));
	EXPECT_EQ(0, alias_file("alias", "donor", KEEP));
}

/* Kill a process @delay microseconds after it has begun to alias the pair. */
static void kill_aliasing(struct __test_metadata *_metadata, useconds_t delay)
{
	pid_t pid = fork();
	int status;

	ASSERT_LE(0, pid);
	if (!pid) {
		alias_file("alias", "donor", KEEP);
		for (;;)
			pause();
	}
	usleep(delay);
	ASSERT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_TRUE(WIFSIGNALED(status));
}

/* Killed at any time, the state is the one before or the one after. */
TEST_F(fs, killed)
{
	struct fs_mapping_info donor;
	int i, writable, kept;
	unsigned int state;

	fragmented_pair(_metadata, 300);
	for (i = 0; i < 24; i++) {
		/* On any machine, some of these are in the midst of it. */
		kill_aliasing(_metadata, 200 << i % 8);

		state = state_of(_metadata, "alias");
		kept = state == KEPT;
		EXPECT_EQ(kept ? KEPT : ORDINARY, state);
		donor = info_file(_metadata, "donor");
		EXPECT_EQ(kept ? DONOR : ORDINARY, donor.state);
		EXPECT_EQ(kept, donor.nr_aliases);
		writable = kept ? -ETXTBSY : 0;
		EXPECT_EQ(writable, try_open("alias", O_RDWR));
		EXPECT_EQ(writable, try_open("donor", O_RDWR));
		ASSERT_EQ(0, release_file("alias"));
		check_untouched(_metadata, "alias", "donor");
	}
}

/*
 * Make "donor", whose map changes with every block, and its clone "alias", of as
 * many blocks as can be had in some seconds, if that is fewer than @max.
 */
static void many_extents(struct __test_metadata *_metadata, size_t max)
{
	const __s64 end = microseconds() + 8000000;
	struct file_clone_range range = {};
	size_t blocks, n;

	make_file(_metadata, "donor", BLK, 1);
	range.src_fd = xopen(_metadata, "donor", O_RDWR);
	/* It is the same block everywhere. */
	for (blocks = 1; blocks < max && microseconds() < end; blocks += n) {
		/* No more at once than takes a moment. */
		n = blocks < 1024 ? blocks : 1024;
		range.src_length = n * BLK;
		range.dest_offset = blocks * BLK;
		ASSERT_EQ(0, ioctl(range.src_fd, FICLONERANGE, &range));
	}
	ASSERT_EQ(0, fsync(range.src_fd));
	close(range.src_fd);
	clone_file(_metadata, "donor", "alias");
	sync();
	TH_LOG("%zu extents", blocks);
}

/*
 * Killed in the midst of a proof, the call ends early, and with EINTR: the one who
 * made it can't tell, but the trace of system calls does.
 */
TEST_F(fs, killed_in_proof)
{
	struct snapshot alias, donor;
	__s64 whole;	/* microseconds */
	bool seen = false;
	char filter[64];
	int i;

	begin_trace(_metadata);
	snprintf(filter, sizeof(filter), "id == %d && ret == %d", __NR_ioctl,
		 -EINTR);
	write_text(_metadata, TRACE "/events/raw_syscalls/sys_exit/filter",
		   filter);
	many_extents(_metadata, 100000);
	whole = microseconds();
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	whole = microseconds() - whole;
	ASSERT_EQ(0, release_file("alias"));
	alias = take_snapshot(_metadata, "alias");
	donor = take_snapshot(_metadata, "donor");
	write_text(_metadata, TRACE "/events/raw_syscalls/sys_exit/enable",
		   "1");

	/* On a busy machine it may take longer, or have ended before. */
	for (i = 0; i < 50 && !seen; i++) {
		kill_aliasing(_metadata, whole * (i % 10 + 1) / 10);
		seen = strstr(read_text(_metadata, TRACE "/trace"),
			      "sys_exit: NR ");
		if (!seen)
			ASSERT_EQ(0, release_file("alias"));
		EXPECT_TRUE(unchanged(_metadata, "alias", &alias));
		EXPECT_TRUE(unchanged(_metadata, "donor", &donor));
	}
	TH_LOG("killed in try %d, of %lld ms", i, (long long)whole / 1000);
	EXPECT_TRUE(seen);
	ASSERT_EQ(0, rmdir(TRACE));
}

/* A call for which two things are wrong at once. */
struct order {
	const char *name;
	const char *target;
	const char *donor;	/* NULL: none, or one without a name */
	bool no_name;
	int donor_flags;	/* of open() */
	unsigned int flags;	/* of the call */
	uid_t uid;		/* of the caller */
	const char *writer;	/* what is open for writing meanwhile */
	int err;
};

static int call_of(struct __test_metadata *_metadata, const struct order *row)
{
	int target = xopen(_metadata, row->target, O_RDONLY);
	int donor = -1, writer = -1, err;
	pid_t pid;

	if (row->donor)
		donor = xopen(_metadata, row->donor, row->donor_flags);
	else if (row->no_name)
		donor = open_tmpfile(_metadata);
	if (row->writer)
		writer = xopen(_metadata, row->writer, O_RDWR);
	if (row->uid) {
		pid = fork_as(_metadata, row->uid, 0);
		if (!pid)
			child_exit(alias_fd(target, donor, row->flags));
		err = child_result(_metadata, pid);
	} else {
		err = alias_fd(target, donor, row->flags);
	}
	close(writer);
	close(donor);
	close(target);
	return err;
}

/*
 * Arguments, permission, state, proof, and in the order of the documentation among
 * those: what is told is the first of the two.
 */
TEST_F(fs, order)
{
	static const struct order rows[] = {
		{ "unknown flag, no descriptor", "alias", .flags = 2,
		  .err = -EINVAL },
		{ "no descriptor, directory", ".", .err = -EBADF },
		{ "not for reading, directory", ".", "donor",
		  .donor_flags = O_WRONLY, .err = -EBADF },
		{ "directory, other file system", ".", "ram/file",
		  .err = -EINVAL },
		{ "other file system, no support", "ram/file", "donor",
		  .err = -EXDEV },
		{ "no support, empty", "ram/empty", "ram/empty2",
		  .err = -EOPNOTSUPP },
		{ "no support, same file", "ram/file", "ram/file",
		  .err = -EOPNOTSUPP },
		{ "empty, stranger", "empty", "donor", .uid = BOB,
		  .err = -EINVAL },
		{ "stranger, same file", "donor", "donor", .uid = BOB,
		  .err = -EPERM },
		{ "stranger, alias of another", "kept", "donor", .uid = BOB,
		  .err = -EPERM },
		{ "stranger, no name", "alias", .no_name = true, .uid = BOB,
		  .err = -EPERM },
		{ "stranger, writer", "alias", "donor", .uid = BOB,
		  .writer = "donor", .err = -EPERM },
		{ "stranger, differs", "differs", "donor", .uid = BOB,
		  .err = -EPERM },
		{ "may not keep, writer", "alias", "donor", .flags = KEEP,
		  .uid = ALICE, .writer = "donor", .err = -EPERM },
		{ "same file, writer", "donor", "donor", .writer = "donor",
		  .err = -EINVAL },
		{ "alias of another, no name", "kept", .no_name = true,
		  .err = -EBUSY },
		{ "alias of another, writer", "kept", "donor",
		  .writer = "donor", .err = -EBUSY },
		{ "has aliases, differs", "kept-of", "differs", .err = -EBUSY },
		{ "no name, writer", "alias", .no_name = true,
		  .writer = "alias", .err = -ENOENT },
		{ "no name, differs", "differs", .no_name = true,
		  .err = -ENOENT },
		{ "writer, size differs", "longer", "donor",
		  .writer = "longer", .err = -ETXTBSY },
		{ "writer, differs", "differs", "donor", .writer = "donor",
		  .err = -ETXTBSY },
	};
	int err;
	size_t i;

	ASSERT_EQ(0, chown(".", ALICE, ALICE));
	ASSERT_EQ(0, mkdir("ram", 0755));
	ASSERT_EQ(0, mount("tmpfs", "ram", "tmpfs", 0, NULL));
	donor_and_alias(_metadata);
	clone_file(_metadata, "donor", "kept");
	clone_file(_metadata, "donor", "kept-of");
	make_file(_metadata, "differs", PAIR_SIZE, 2);
	make_file(_metadata, "longer", PAIR_SIZE + 1, 1);
	make_file(_metadata, "empty", 0, 1);
	make_file(_metadata, "ram/file", PAIR_SIZE, 1);
	make_file(_metadata, "ram/empty", 0, 1);
	make_file(_metadata, "ram/empty2", 0, 1);
	ASSERT_EQ(0, chown("alias", ALICE, ALICE));
	ASSERT_EQ(0, chown("donor", ALICE, ALICE));
	ASSERT_EQ(0, alias_file("kept", "kept-of", KEEP));
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		err = call_of(_metadata, &rows[i]);
		EXPECT_EQ(rows[i].err, err)
			TH_LOG("%s", rows[i].name);
		check_untouched(_metadata, "alias", "donor");
	}
	EXPECT_EQ(KEPT, state_of(_metadata, "kept"));
	ASSERT_EQ(0, umount("ram"));
}

/*
 * Tell @loop that its file has another size now.  (To limit it by its status
 * instead, the kernel allocates memory while it holds up all requests, of which
 * lockdep reminds whoever reclaims inodes later.)
 */
static void update_size(struct __test_metadata *_metadata, int loop)
{
	ASSERT_EQ(0, ioctl(loop, LOOP_SET_CAPACITY)) {
		TH_LOG("LOOP_SET_CAPACITY: %s", strerror(errno));
	}
}

/* So that the extents fill several blocks of metadata on each file system */
#define MANY_BLOCKS_OF_MAP 2000

/* A disk that can't be read, of a file system that has nothing to write. */
TEST_F(fs, unreadable)
{
	struct fs_mapping_info info;
	int loop, alias, donor, image, whole;
	char dev[64];

	ASSERT_EQ(0, mkdir("fs", 0755));
	loop = make_loop(_metadata, "image", dev);
	ASSERT_TRUE(make_fs(_metadata, variant, dev));
	ASSERT_EQ(0, mount(dev, "fs", variant->type, 0, NULL));
	ASSERT_EQ(0, chdir("fs"));
	fragmented_pair(_metadata, MANY_BLOCKS_OF_MAP);
	ASSERT_EQ(0, chdir(".."));
	ASSERT_EQ(0, umount("fs"));
	clone_file(_metadata, "image", "whole");
	ASSERT_EQ(0, mount(dev, "fs", variant->type, MS_RDONLY, NULL));

	alias = xopen(_metadata, "fs/alias", O_RDONLY);
	donor = xopen(_metadata, "fs/donor", O_RDONLY);
	ASSERT_EQ(0, truncate("image", BLK));
	update_size(_metadata, loop);
	EXPECT_EQ(-EIO, alias_fd(alias, donor, 0));
	EXPECT_EQ(-EIO, alias_fd(alias, donor, KEEP));
	info = info_fd(_metadata, alias);
	EXPECT_EQ(ORDINARY, info.state);
	info = info_fd(_metadata, donor);
	EXPECT_EQ(ORDINARY, info.state);
	image = xopen(_metadata, "image", O_WRONLY);
	whole = xopen(_metadata, "whole", O_RDONLY);
	ASSERT_EQ(0, ioctl(image, FICLONE, whole));
	update_size(_metadata, loop);
	EXPECT_EQ(0, alias_fd(alias, donor, KEEP));
	EXPECT_EQ(KEPT, info_fd(_metadata, alias).state);
	EXPECT_TRUE(fd_has(_metadata, alias, 0, BLK, 1));

	close(alias);
	close(donor);
	ASSERT_EQ(0, umount("fs"));
	close(loop);
}

/* A block of XFS that begins like struct xfs_btree_block, owned by @ino? */
static bool xfs_map_block(const unsigned char *block, ino_t ino)
{
	__be64 owner;

	memcpy(&owner, block + 56, sizeof(owner));
	return !memcmp(block, "BMA3", 4) && be64toh(owner) == ino;
}

/*
 * A leaf of btrfs (struct btrfs_header, then struct btrfs_item) with nothing but
 * file extents of @ino?  The tree of the files that are tested is number 5.
 */
static bool btrfs_map_block(const unsigned char *block, ino_t ino)
{
	__le64 owner, objectid;
	__le32 n;
	size_t i;

	memcpy(&owner, block + 88, sizeof(owner));
	memcpy(&n, block + 96, sizeof(n));
	if (le64toh(owner) != 5 || block[100] || !n ||
	    le32toh(n) > (2 * BLK - 101) / 25)
		return false;
	for (i = 0; i < le32toh(n); i++) {
		memcpy(&objectid, block + 101 + i * 25, sizeof(objectid));
		if (le64toh(objectid) != ino || block[101 + i * 25 + 8] != 108)
			return false;
	}
	return true;
}

/*
 * Change a byte of each block of the block map of inode @ino in the file system
 * that is in the file @image.
 */
static void damage_map(struct __test_metadata *_metadata, const char *image,
		       bool (*is_map)(const unsigned char *block, ino_t ino),
		       ino_t ino)
{
	static unsigned char block[2 * BLK];
	int fd = xopen(_metadata, image, O_RDWR);
	unsigned int damaged = 0;
	off_t pos;

	for (pos = lseek(fd, 0, SEEK_DATA); pos >= 0;
	     pos = lseek(fd, pos + BLK, SEEK_DATA)) {
		ASSERT_LE(BLK, pread(fd, block, sizeof(block), pos));
		if (!is_map(block, ino))
			continue;
		block[100] ^= 1;
		ASSERT_EQ(BLK, pwrite(fd, block, BLK, pos));
		damaged++;
	}
	ASSERT_LT(0, damaged);
	close(fd);
}

/* A block map that can be read, but not believed. */
TEST_F(fs, damaged)
{
	static const char * const names[] = { "alias", "donor" };
	const bool xfs = !strcmp(variant->type, "xfs");
	const int error = xfs ? -EUCLEAN : -EIO;
	int loop, alias, donor;
	char dev[64];
	ino_t ino;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(names); i++) {
		ASSERT_TRUE(!mkdir("fs", 0755) || errno == EEXIST);
		loop = make_loop(_metadata, "image", dev);
		ASSERT_TRUE(make_fs(_metadata, variant, dev));
		ASSERT_EQ(0, mount(dev, "fs", variant->type, 0, NULL));
		ASSERT_EQ(0, chdir("fs"));
		fragmented_pair(_metadata, MANY_BLOCKS_OF_MAP);
		/* To mount it, btrfs reads the last block of the tree. */
		make_file(_metadata, "last", BLK, 1);
		ino = ino_of(_metadata, names[i]);
		ASSERT_EQ(0, chdir(".."));
		ASSERT_EQ(0, umount("fs"));
		damage_map(_metadata, "image",
			   xfs ? xfs_map_block : btrfs_map_block, ino);
		ASSERT_EQ(0, mount(dev, "fs", variant->type, 0, NULL));

		alias = xopen(_metadata, "fs/alias", O_RDONLY);
		donor = xopen(_metadata, "fs/donor", O_RDONLY);
		EXPECT_EQ(error, alias_fd(alias, donor, 0));
		EXPECT_EQ(error, alias_fd(alias, donor, KEEP));
		EXPECT_EQ(ORDINARY, info_fd(_metadata, alias).state);
		EXPECT_EQ(ORDINARY, info_fd(_metadata, donor).state);
		EXPECT_EQ(0, try_open("fs/alias", O_RDWR));
		EXPECT_EQ(0, try_open("fs/donor", O_RDWR));
		close(alias);
		close(donor);
		ASSERT_EQ(0, umount("fs"));
		close(loop);
	}
}

TEST_HARNESS_MAIN
