// SPDX-License-Identifier: GPL-2.0
/*
 * The errors that the documentation promises, and that a call that failed
 * changed nothing.  ETXTBSY is in frozen.c, EPERM in perm.c.
 */

#include <linux/falloc.h>

#include "common.h"

/* A call on @name failed: it and @donor are files like any other. */
static void check_untouched(struct __test_metadata *_metadata,
			    const char *name, const char *donor)
{
	EXPECT_EQ(ORDINARY, state_of(_metadata, name));
	EXPECT_EQ(ORDINARY, state_of(_metadata, donor));
	EXPECT_EQ(0, try_open(name, O_RDWR));
	EXPECT_EQ(0, try_open(donor, O_RDWR));
}

/* alias_file() for a file and a donor that must stay ordinary ones. */
static int fails(struct __test_metadata *_metadata, const char *name,
		 const char *donor)
{
	int err = alias_file(name, donor, 0);

	EXPECT_EQ(err, alias_file(name, donor, KEEP));
	check_untouched(_metadata, name, donor);
	return err;
}

TEST_F(fs, bad_descriptors)
{
	int alias, donor, fd;

	donor_and_alias(_metadata);
	alias = xopen(_metadata, "alias", O_RDONLY);
	donor = xopen(_metadata, "donor", O_RDONLY);

	EXPECT_EQ(-EBADF, alias_fd(-1, donor, 0));
	EXPECT_EQ(-EBADF, alias_fd(alias, -1, 0));
	EXPECT_EQ(-EBADF, alias_fd(alias, 1000000, 0));

	/* Not open for reading: not what a writer gets. */
	fd = xopen(_metadata, "alias", O_WRONLY);
	EXPECT_EQ(-EBADF, alias_fd(fd, donor, 0));
	close(fd);
	fd = xopen(_metadata, "donor", O_WRONLY);
	EXPECT_EQ(-EBADF, alias_fd(alias, fd, 0));
	close(fd);

	fd = xopen(_metadata, "alias", O_PATH);
	EXPECT_EQ(-EBADF, alias_fd(fd, donor, 0));
	EXPECT_EQ(-EBADF, release_fd(fd));
	close(fd);
	fd = xopen(_metadata, "donor", O_PATH);
	EXPECT_EQ(-EBADF, alias_fd(alias, fd, 0));
	close(fd);

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
	void *unmapped = mmap(NULL, BLK, PROT_NONE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int alias;

	ASSERT_NE(MAP_FAILED, unmapped);
	donor_and_alias(_metadata);
	alias = xopen(_metadata, "alias", O_RDONLY);
	EXPECT_EQ(-1, ioctl(alias, FS_IOC_MAPPING_ALIAS, unmapped));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(-1, ioctl(alias, FS_IOC_MAPPING_INFO, unmapped));
	EXPECT_EQ(EFAULT, errno);
	check_untouched(_metadata, "alias", "donor");
}

TEST_F(fs, not_regular)
{
	struct fs_mapping_info info;
	int alias, donor, dir, pipes[2], fifo, null;

	donor_and_alias(_metadata);
	alias = xopen(_metadata, "alias", O_RDONLY);
	donor = xopen(_metadata, "donor", O_RDONLY);
	dir = xopen(_metadata, ".", O_RDONLY);
	ASSERT_EQ(0, mkfifo("fifo", 0600));
	fifo = xopen(_metadata, "fifo", O_RDWR);
	null = xopen(_metadata, "/dev/null", O_RDONLY);
	ASSERT_EQ(0, pipe(pipes));

	EXPECT_EQ(-EINVAL, alias_fd(dir, donor, 0));
	EXPECT_EQ(-EINVAL, alias_fd(alias, dir, 0));
	EXPECT_EQ(-EINVAL, alias_fd(fifo, donor, 0));
	EXPECT_EQ(-EINVAL, alias_fd(alias, fifo, 0));
	EXPECT_EQ(-EINVAL, alias_fd(pipes[0], donor, 0));
	EXPECT_EQ(-EINVAL, alias_fd(alias, pipes[0], 0));
	EXPECT_EQ(-EINVAL, alias_fd(null, donor, 0));
	EXPECT_EQ(-EINVAL, alias_fd(alias, null, 0));

	EXPECT_EQ(-EINVAL, release_fd(dir));
	EXPECT_EQ(-EINVAL, release_fd(pipes[0]));
	EXPECT_EQ(-1, ioctl(dir, FS_IOC_MAPPING_INFO, &info));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, ioctl(pipes[0], FS_IOC_MAPPING_INFO, &info));
	EXPECT_EQ(EINVAL, errno);
	check_untouched(_metadata, "alias", "donor");
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

TEST_HARNESS_MAIN
