// SPDX-License-Identifier: GPL-2.0
/*
 * A file that is an alias or a donor has no writers, and one that has becomes
 * neither.  The ways to change a file are in change.c.
 */

#include <endian.h>
#include <sys/swap.h>
#include <sys/xattr.h>

#include "common.h"

static const char * const both[] = { "alias", "donor" };

/* The last user of an alias that is not kept gives both back. */
TEST_F(fs, writable_after_close)
{
	int alias, donor;

	donor_and_alias(_metadata);
	alias = xopen(_metadata, "alias", O_RDONLY);
	donor = xopen(_metadata, "donor", O_RDONLY);
	/* Calls that add nothing deny nothing twice. */
	ASSERT_EQ(0, alias_fd(alias, donor, 0));
	ASSERT_EQ(0, alias_fd(alias, donor, 0));
	close(donor);
	EXPECT_EQ(-ETXTBSY, try_open("alias", O_RDWR));
	EXPECT_EQ(-ETXTBSY, try_open("donor", O_RDWR));
	close(alias);
	EXPECT_EQ(0, try_open("alias", O_RDWR));
	EXPECT_EQ(0, try_open("donor", O_RDWR));
}

/* A donor is frozen as long as it has one alias. */
TEST_F(fs, donor_of_two)
{
	donor_and_alias(_metadata);
	clone_file(_metadata, "donor", "second");
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	ASSERT_EQ(0, alias_file("second", "donor", KEEP));
	ASSERT_EQ(0, release_file("alias"));
	EXPECT_EQ(0, try_open("alias", O_RDWR));
	EXPECT_EQ(-ETXTBSY, try_open("second", O_RDWR));
	EXPECT_EQ(-ETXTBSY, try_open("donor", O_RDWR));
	ASSERT_EQ(0, release_file("second"));
	EXPECT_EQ(0, try_open("second", O_RDWR));
	EXPECT_EQ(0, try_open("donor", O_RDWR));
}

TEST_F(fs, writer)
{
	size_t i;
	int fd;

	donor_and_alias(_metadata);
	for (i = 0; i < ARRAY_SIZE(both); i++) {
		fd = xopen(_metadata, both[i], O_RDWR);
		EXPECT_EQ(-ETXTBSY, alias_file("alias", "donor", 0));
		EXPECT_EQ(-ETXTBSY, alias_file("alias", "donor", KEEP));
		/* The failed calls denied nothing. */
		EXPECT_EQ(0, try_open("alias", O_RDWR));
		EXPECT_EQ(0, try_open("donor", O_RDWR));
		close(fd);
	}
	EXPECT_EQ(0, alias_file("alias", "donor", KEEP));
}

/* A file that is being written is not compared, so it can't be told to differ. */
TEST_F(fs, writer_of_another)
{
	size_t i;
	int fd;

	make_file(_metadata, "donor", PAIR_SIZE, 1);
	make_file(_metadata, "alias", PAIR_SIZE, 2);
	EXPECT_EQ(-EBADE, alias_file("alias", "donor", 0));
	for (i = 0; i < ARRAY_SIZE(both); i++) {
		fd = xopen(_metadata, both[i], O_RDWR);
		EXPECT_EQ(-ETXTBSY, alias_file("alias", "donor", 0));
		close(fd);
	}
}

/* The caller's own descriptors are writers too. */
TEST_F(fs, caller_is_writer)
{
	int alias, donor;

	donor_and_alias(_metadata);
	alias = xopen(_metadata, "alias", O_RDWR);
	donor = xopen(_metadata, "donor", O_RDONLY);
	EXPECT_EQ(-ETXTBSY, alias_fd(alias, donor, 0));
	EXPECT_EQ(-ETXTBSY, alias_fd(donor, alias, 0));
}

/* A writable mapping outlives the descriptor it was made from. */
TEST_F(fs, writable_mapping)
{
	unsigned char *map;
	size_t i;
	int fd;

	donor_and_alias(_metadata);
	for (i = 0; i < ARRAY_SIZE(both); i++) {
		fd = xopen(_metadata, both[i], O_RDWR);
		map = mmap(NULL, BLK, PROT_READ, MAP_SHARED, fd, 0);
		ASSERT_NE(MAP_FAILED, map);
		close(fd);
		EXPECT_EQ(-ETXTBSY, alias_file("alias", "donor", KEEP));
		ASSERT_EQ(0, mprotect(map, BLK, PROT_READ | PROT_WRITE));
		EXPECT_EQ(-ETXTBSY, alias_file("alias", "donor", KEEP));
		ASSERT_EQ(0, munmap(map, BLK));
	}
	EXPECT_EQ(0, alias_file("alias", "donor", KEEP));
}

/* Let @dst have the block at @offset of @src, or all, in one of three ways. */
static int copy_block(int way, int src, int dst, loff_t offset)
{
	struct file_clone_range range = {
		.src_fd = src, .src_offset = offset, .src_length = BLK,
		.dest_offset = offset,
	};
	loff_t in = offset, out = offset;

	if (way == 0)
		return ioctl(dst, FICLONE, src);
	if (way == 1)
		return ioctl(dst, FICLONERANGE, &range);
	return copy_file_range(src, &in, dst, &out, BLK, 0) == BLK ? 0 : -1;
}

/* Cloning from either works, and gives an ordinary file. */
TEST_F(fs, clone_from)
{
	const size_t offset = 3 * BLK, end = offset + BLK;
	int way, src, dst, around;
	size_t i, j;

	donor_and_alias(_metadata);
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	for (i = 0; i < ARRAY_SIZE(both); i++) {
		for (way = 0; way < 3; way++) {
			make_file(_metadata, "new", PAIR_SIZE, 2);
			src = xopen(_metadata, both[i], O_RDONLY);
			dst = xopen(_metadata, "new", O_RDWR);
			EXPECT_EQ(0, copy_block(way, src, dst, offset)) {
				TH_LOG("way %d: %s", way, strerror(errno));
			}
			around = way == 0 ? 1 : 2;
			EXPECT_TRUE(fd_has(_metadata, dst, 0, offset, around));
			EXPECT_TRUE(fd_has(_metadata, dst, offset, BLK, 1));
			EXPECT_TRUE(fd_has(_metadata, dst, end, PAIR_SIZE - end,
					   around));
			EXPECT_EQ(ORDINARY, state_of(_metadata, "new"));
			write_pattern(_metadata, dst, offset, BLK, 3);
			close(src);
			close(dst);
			drop_caches(_metadata, "3");
			dst = xopen(_metadata, "new", O_RDONLY);
			EXPECT_TRUE(fd_has(_metadata, dst, offset, BLK, 3));
			close(dst);
			for (j = 0; j < ARRAY_SIZE(both); j++)
				EXPECT_TRUE(file_has(_metadata, both[j],
						     PAIR_SIZE, 1));
		}
	}
	EXPECT_EQ(KEPT, state_of(_metadata, "alias"));
	EXPECT_EQ(DONOR, state_of(_metadata, "donor"));
}

/* Make @name, a file that swapon() takes. */
static void make_swap(struct __test_metadata *_metadata, const char *name)
{
	unsigned char header[BLK] = {};
	__u32 *v1 = (void *)(header + 1024);
	int fd;

	make_file(_metadata, name, 1 << 20, 1);
	v1[0] = 1;				/* version */
	v1[1] = (1 << 20) / BLK - 1;		/* last page */
	memcpy(header + BLK - 10, "SWAPSPACE2", 10);
	fd = xopen(_metadata, name, O_WRONLY);
	ASSERT_EQ(BLK, pwrite(fd, header, BLK, 0));
	ASSERT_EQ(0, fsync(fd));
	close(fd);
}

TEST_F(fs, swap_file)
{
	set_nocow(_metadata, ".");
	make_swap(_metadata, "swap");
	make_file(_metadata, "donor", 1 << 20, 1);
	ASSERT_EQ(0, swapon("swap", 0)) {
		TH_LOG("swapon: %s", strerror(errno));
	}
	EXPECT_EQ(-ETXTBSY, alias_file("swap", "donor", KEEP));
	EXPECT_EQ(-ETXTBSY, alias_file("donor", "swap", KEEP));
	ASSERT_EQ(0, swapoff("swap"));
	/* A file like any other, which differs from that one. */
	EXPECT_EQ(-EBADE, alias_file("swap", "donor", KEEP));
	EXPECT_EQ(-EBADE, alias_file("donor", "swap", KEEP));
}

TEST_F(fs, swapon)
{
	static const char * const pair[] = { "alias", "swap" };
	size_t i;

	set_nocow(_metadata, ".");
	make_swap(_metadata, "swap");
	make_swap(_metadata, "copy");
	clone_file(_metadata, "swap", "alias");
	ASSERT_EQ(0, alias_file("alias", "swap", KEEP));
	for (i = 0; i < ARRAY_SIZE(pair); i++) {
		EXPECT_EQ(-1, swapon(pair[i], 0));
		EXPECT_EQ(ETXTBSY, errno);
	}
	EXPECT_EQ(KEPT, state_of(_metadata, "alias"));
	EXPECT_EQ(DONOR, state_of(_metadata, "swap"));
	for (i = 0; i < ARRAY_SIZE(pair); i++)
		EXPECT_EQ(0, run(_metadata, (const char *[]){
				"cmp", "copy", pair[i], NULL }));

	ASSERT_EQ(0, release_file("alias"));
	for (i = 0; i < ARRAY_SIZE(pair); i++) {
		EXPECT_EQ(ORDINARY, state_of(_metadata, pair[i]));
		/* No file can share what is swapped to. */
		make_swap(_metadata, pair[i]);
		EXPECT_EQ(0, swapon(pair[i], 0)) {
			TH_LOG("swapon: %s", strerror(errno));
		}
		EXPECT_EQ(0, swapoff(pair[i]));
	}
}

/*
 * Make a loop device over @name, which is opened for @flags and closed again.
 * The device vanishes when the descriptor that is returned is closed.
 */
static int attach(struct __test_metadata *_metadata, const char *name, int flags)
{
	int file = xopen(_metadata, name, flags), loop;
	char dev[64];

	loop = attach_loop(_metadata, file, dev);
	close(file);
	return loop;
}

static int read_only(struct __test_metadata *_metadata, int loop)
{
	int ro;

	ASSERT_EQ(0, ioctl(loop, BLKROGET, &ro));
	return ro;
}

/* A loop device over an alias or a donor exists, but only to be read. */
TEST_F(fs, loop)
{
	int loops[4], i;
	char byte = 0;

	donor_and_alias(_metadata);
	for (i = 0; i < 2; i++) {
		loops[i] = attach(_metadata, both[i], O_RDONLY);
		EXPECT_TRUE(fd_has(_metadata, loops[i], 0, PAIR_SIZE, 1));
	}
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	for (i = 0; i < 2; i++)
		loops[2 + i] = attach(_metadata, both[i], O_RDONLY);
	for (i = 0; i < 4; i++) {
		EXPECT_EQ(1, read_only(_metadata, loops[i]));
		EXPECT_EQ(-1, pwrite(loops[i], &byte, 1, 0));
		EXPECT_EQ(EPERM, errno);
	}
	drop_caches(_metadata, "3");
	for (i = 0; i < 4; i++)
		EXPECT_TRUE(fd_has(_metadata, loops[i], 0, PAIR_SIZE, 1));
	for (i = 0; i < 2; i++)
		EXPECT_TRUE(file_has(_metadata, both[i], PAIR_SIZE, 1));
	/* The devices are users of the files. */
	ASSERT_EQ(0, release_file("alias"));
	EXPECT_EQ(ALIAS, state_of(_metadata, "alias"));
	for (i = 0; i < 4; i++)
		close(loops[i]);
	EXPECT_EQ(ORDINARY, state_of(_metadata, "alias"));
}

/* One that can be written to is a writer, and nothing else of it is needed. */
TEST_F(fs, loop_writer)
{
	size_t i;
	int loop;

	donor_and_alias(_metadata);
	for (i = 0; i < ARRAY_SIZE(both); i++) {
		loop = attach(_metadata, both[i], O_RDWR);
		EXPECT_EQ(0, read_only(_metadata, loop));
		EXPECT_EQ(-ETXTBSY, alias_file("alias", "donor", KEEP));
		EXPECT_TRUE(fd_has(_metadata, loop, 0, PAIR_SIZE, 1));
		close(loop);
		EXPECT_EQ(0, alias_file("alias", "donor", KEEP));
		ASSERT_EQ(0, release_file("alias"));
	}
	/* It does write. */
	loop = attach(_metadata, "alias", O_RDWR);
	write_pattern(_metadata, loop, 0, PAIR_SIZE, 2);
	ASSERT_EQ(0, fsync(loop));
	close(loop);
	EXPECT_TRUE(file_has(_metadata, "alias", PAIR_SIZE, 2));
	EXPECT_TRUE(file_has(_metadata, "donor", PAIR_SIZE, 1));
}

/* Dedupe into merged/@name and write to it in all ways: each ends with @err. */
static void write_merged(struct __test_metadata *_metadata, const char *name,
			 int err)
{
	static const int flags[] = { O_RDWR, O_WRONLY | O_TRUNC, O_TRUNC };
	static const size_t sizes[] = { PAIR_SIZE, 0 };
	int src, dst;
	char path[64];
	size_t i;

	snprintf(path, sizeof(path), "merged/%s", name);
	src = xopen(_metadata, "merged/source", O_RDONLY);
	dst = xopen(_metadata, path, O_RDONLY);
	EXPECT_TRUE(fd_has(_metadata, dst, 0, PAIR_SIZE, 1));
	EXPECT_EQ(err ?: PAIR_SIZE, dedupe(src, 0, dst, 0, PAIR_SIZE));
	close(src);
	close(dst);
	for (i = 0; i < ARRAY_SIZE(sizes); i++)
		EXPECT_EQ(err, truncate(path, sizes[i]) ? -errno : 0);
	for (i = 0; i < ARRAY_SIZE(flags); i++)
		EXPECT_EQ(err, try_open(path, flags[i]));
}

/* Files of a layer that overlayfs writes to are frozen to it as well. */
TEST_F(fs, overlayfs_upper)
{
	static const char * const dirs[] = { "low", "up", "work", "merged" };
	size_t i;
	int fd;

	for (i = 0; i < ARRAY_SIZE(dirs); i++)
		ASSERT_EQ(0, mkdir(dirs[i], 0755));
	make_file(_metadata, "up/source", PAIR_SIZE, 1);
	make_file(_metadata, "up/donor", PAIR_SIZE, 1);
	clone_file(_metadata, "up/donor", "up/alias");
	ASSERT_EQ(0, alias_file("up/alias", "up/donor", KEEP));
	ASSERT_EQ(0, mount("overlay", "merged", "overlay", 0,
			   "lowerdir=low,upperdir=up,workdir=work"));

	for (i = 0; i < ARRAY_SIZE(both); i++)
		write_merged(_metadata, both[i], -ETXTBSY);
	drop_caches(_metadata, "3");
	EXPECT_TRUE(file_has(_metadata, "up/alias", PAIR_SIZE, 1));
	EXPECT_TRUE(file_has(_metadata, "up/donor", PAIR_SIZE, 1));
	EXPECT_EQ(KEPT, state_of(_metadata, "up/alias"));
	EXPECT_EQ(DONOR, state_of(_metadata, "up/donor"));

	/* A user of the overlay's file is one of the alias. */
	fd = xopen(_metadata, "merged/alias", O_RDONLY);
	ASSERT_EQ(0, release_file("up/donor"));
	for (i = 0; i < ARRAY_SIZE(both); i++)
		write_merged(_metadata, both[i], -ETXTBSY);
	close(fd);
	/* So is what overlayfs caches, which is spared at first. */
	for (i = 0; i < 10; i++)
		drop_caches(_metadata, "2");
	for (i = 0; i < ARRAY_SIZE(both); i++)
		write_merged(_metadata, both[i], 0);
	ASSERT_EQ(0, umount("merged"));
}

/* Run the shell @name; it must end with 42. */
static int run_shell(struct __test_metadata *_metadata, const char *name)
{
	return run(_metadata,
		   (const char *[]){ name, "-c", "exit 42", NULL });
}

TEST_F(fs, exec)
{
	copy_program(_metadata, "/bin/sh");
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	EXPECT_EQ(42, run_shell(_metadata, "./alias"));
	EXPECT_EQ(42, run_shell(_metadata, "./donor"));
	ASSERT_EQ(0, release_file("alias"));
	EXPECT_EQ(42, run_shell(_metadata, "./alias"));
	EXPECT_EQ(0, try_open("alias", O_RDWR));
	EXPECT_EQ(0, try_open("donor", O_RDWR));
}

/* The exit status of the cat(1) in @name, which ALICE lets read @file. */
static int cat_as_alice(struct __test_metadata *_metadata, const char *name,
			const char *file)
{
	pid_t pid = fork_as(_metadata, ALICE, 0);
	int null;

	if (!pid) {
		null = open("/dev/null", O_RDWR | O_CLOEXEC);
		dup2(null, 1);
		dup2(null, 2);
		execl(name, "cat", file, NULL);
		child_exit(-errno);
	}
	return -child_result(_metadata, pid);
}

static int open_as_alice(struct __test_metadata *_metadata, const char *name)
{
	pid_t pid = fork_as(_metadata, ALICE, 0);

	if (!pid)
		child_exit(try_open(name, O_RDONLY));
	return child_result(_metadata, pid);
}

/* What one may do with or by a program is a matter of that file alone. */
TEST_F(fs, exec_as)
{
	const struct vfs_cap_data caps = {
		.magic_etc = htole32(VFS_CAP_REVISION_2 |
				     VFS_CAP_FLAGS_EFFECTIVE),
		.data[0].permitted = htole32(CAP(CAP_DAC_READ_SEARCH)),
	};
	const char *name, *peer;
	size_t i;

	copy_program(_metadata, "/bin/cat");
	make_file(_metadata, "secret", BLK, 1);
	ASSERT_EQ(0, chmod("secret", 0600));
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	for (i = 0; i < ARRAY_SIZE(both); i++) {
		name = both[i];
		peer = both[!i];
		/* cat(1) ends with 1 if it can't open a file. */
		EXPECT_EQ(1, cat_as_alice(_metadata, name, "secret"));
		ASSERT_EQ(0, chmod(name, 04755));
		EXPECT_EQ(0, cat_as_alice(_metadata, name, "secret"));
		EXPECT_EQ(1, cat_as_alice(_metadata, peer, "secret"));
		ASSERT_EQ(0, chmod(name, 0755));

		ASSERT_EQ(0, setxattr(name, "security.capability", &caps,
				      XATTR_CAPS_SZ_2, 0));
		EXPECT_EQ(0, cat_as_alice(_metadata, name, "secret"));
		EXPECT_EQ(1, cat_as_alice(_metadata, peer, "secret"));
		ASSERT_EQ(0, removexattr(name, "security.capability"));

		EXPECT_EQ(0, open_as_alice(_metadata, name));
		EXPECT_EQ(0, cat_as_alice(_metadata, name, "/dev/null"));
		ASSERT_EQ(0, chmod(name, 0700));
		EXPECT_EQ(-EACCES, open_as_alice(_metadata, name));
		EXPECT_EQ(EACCES, cat_as_alice(_metadata, name, "/dev/null"));
		EXPECT_EQ(0, open_as_alice(_metadata, peer));
		EXPECT_EQ(0, cat_as_alice(_metadata, peer, "/dev/null"));
		ASSERT_EQ(0, chmod(name, 0755));
	}
	EXPECT_EQ(KEPT, state_of(_metadata, "alias"));
}

/* A running program denies writing too, which is no obstacle. */
TEST_F(fs, alias_while_running)
{
	static const char * const name[] = { "./donor", "./alias" };
	int pipes[2], started[2], i;
	pid_t pid[2];
	char c;

	copy_program(_metadata, "/bin/sh");
	ASSERT_EQ(0, pipe(pipes));
	ASSERT_EQ(0, pipe(started));
	for (i = 0; i < 2; i++) {
		pid[i] = fork();
		ASSERT_LE(0, pid[i]);
		if (!pid[i]) {
			dup2(pipes[0], 0);
			dup2(started[1], 1);
			close(pipes[1]);
			execl(name[i], name[i], "-c",
			      "printf .; read x; exit 42", NULL);
			_exit(255);
		}
	}
	close(pipes[0]);
	close(started[1]);
	/* Each says so when it runs. */
	for (i = 0; i < 2; i++)
		ASSERT_EQ(1, read(started[0], &c, 1));
	EXPECT_EQ(0, alias_file("alias", "donor", KEEP));
	close(pipes[1]);
	for (i = 0; i < 2; i++)
		EXPECT_EQ(-42, child_result(_metadata, pid[i]));
	EXPECT_EQ(KEPT, state_of(_metadata, "alias"));
	EXPECT_EQ(42, run_shell(_metadata, "./alias"));
	ASSERT_EQ(0, release_file("alias"));
	EXPECT_EQ(0, try_open("alias", O_RDWR));
	EXPECT_EQ(0, try_open("donor", O_RDWR));
}

TEST_HARNESS_MAIN
