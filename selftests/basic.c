// SPDX-License-Identifier: GPL-2.0
/* What an alias is for: the same page cache for both, and what is told of it. */

#include "common.h"

TEST_F(fs, ordinary)
{
	struct fs_mapping_info info;

	donor_and_alias(_metadata);
	info = info_file(_metadata, "alias");
	EXPECT_EQ(ORDINARY, info.state);
	EXPECT_EQ(0, info.nr_aliases);
	EXPECT_EQ(0, info.donor_ino);
	EXPECT_EQ(0, info.donor_gen);
	EXPECT_EQ(0, release_file("alias"));
}

TEST_F(fs, info)
{
	struct fs_mapping_info info;
	int fd, gen;

	donor_and_alias(_metadata);
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));

	info = info_file(_metadata, "donor");
	EXPECT_EQ(DONOR, info.state);
	EXPECT_EQ(1, info.nr_aliases);
	EXPECT_EQ(0, info.donor_ino);
	EXPECT_EQ(0, info.donor_gen);

	fd = xopen(_metadata, "donor", O_RDONLY);
	ASSERT_EQ(0, ioctl(fd, FS_IOC_GETVERSION, &gen));
	info = info_file(_metadata, "alias");
	EXPECT_EQ(KEPT, info.state);
	EXPECT_EQ(0, info.nr_aliases);
	EXPECT_EQ(ino_of(_metadata, "donor"), info.donor_ino);
	EXPECT_EQ((__u32)gen, info.donor_gen);
}

TEST_F(fs, contents)
{
	size_t size = PAIR_SIZE - 100;

	make_file(_metadata, "donor", size, 1);
	clone_file(_metadata, "donor", "alias");
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	EXPECT_TRUE(file_has(_metadata, "alias", size, 1));
	EXPECT_TRUE(file_has(_metadata, "donor", size, 1));
	drop_caches(_metadata, "3");
	EXPECT_EQ(KEPT, state_of(_metadata, "alias"));
	EXPECT_TRUE(file_has(_metadata, "alias", size, 1));
	EXPECT_TRUE(file_has(_metadata, "donor", size, 1));
}

TEST_F(fs, same_frames)
{
	unsigned char *donor, *alias;
	size_t i;

	donor_and_alias(_metadata);

	/* Without aliasing they are two copies. */
	donor = map_file(_metadata, "donor", PAIR_SIZE);
	alias = map_file(_metadata, "alias", PAIR_SIZE);
	EXPECT_NE(frame_of(_metadata, donor), frame_of(_metadata, alias));
	ASSERT_EQ(0, munmap(donor, PAIR_SIZE));
	ASSERT_EQ(0, munmap(alias, PAIR_SIZE));

	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	donor = map_file(_metadata, "donor", PAIR_SIZE);
	alias = map_file(_metadata, "alias", PAIR_SIZE);
	for (i = 0; i < PAIR_SIZE; i += BLK)
		EXPECT_EQ(frame_of(_metadata, donor + i),
			  frame_of(_metadata, alias + i));
	EXPECT_TRUE(map_has(alias, PAIR_SIZE, 1));
	ASSERT_EQ(0, munmap(donor, PAIR_SIZE));
	ASSERT_EQ(0, munmap(alias, PAIR_SIZE));
}

TEST_F(fs, private_mapping)
{
	unsigned char *map;
	int fd;

	donor_and_alias(_metadata);
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	fd = xopen(_metadata, "alias", O_RDONLY);
	map = mmap(NULL, PAIR_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	ASSERT_NE(MAP_FAILED, map);
	map[BLK] ^= 0xff;
	EXPECT_EQ(pattern(1, BLK) ^ 0xff, map[BLK]);
	EXPECT_TRUE(file_has(_metadata, "donor", PAIR_SIZE, 1));
	EXPECT_TRUE(file_has(_metadata, "alias", PAIR_SIZE, 1));
	ASSERT_EQ(0, munmap(map, PAIR_SIZE));
}

/* An alias that was never read has all that its donor has in memory. */
TEST_F(fs, cold_alias_is_warm)
{
	unsigned char resident[PAIR_BLOCKS];
	unsigned char *map;
	size_t i;

	donor_and_alias(_metadata);
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	drop_caches(_metadata, "1");
	EXPECT_EQ(0, cached_pages_of(_metadata, "alias"));
	EXPECT_TRUE(file_has(_metadata, "donor", PAIR_SIZE, 1));
	EXPECT_EQ(PAIR_BLOCKS, cached_pages_of(_metadata, "alias"));

	map = map_file(_metadata, "alias", PAIR_SIZE);
	ASSERT_EQ(0, mincore(map, PAIR_SIZE, resident));
	for (i = 0; i < PAIR_BLOCKS; i++)
		EXPECT_EQ(1, resident[i] & 1);
	ASSERT_EQ(0, munmap(map, PAIR_SIZE));
}

/* Only the first alias may cost the donor its cache. */
TEST_F(fs, donor_stays_warm)
{
	donor_and_alias(_metadata);
	clone_file(_metadata, "donor", "second");
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	EXPECT_TRUE(file_has(_metadata, "donor", PAIR_SIZE, 1));
	ASSERT_EQ(0, alias_file("second", "donor", KEEP));
	EXPECT_EQ(PAIR_BLOCKS, cached_pages_of(_metadata, "donor"));
	EXPECT_EQ(PAIR_BLOCKS, cached_pages_of(_metadata, "second"));
}

TEST_F(fs, idempotent)
{
	int alias, donor;

	donor_and_alias(_metadata);
	alias = xopen(_metadata, "alias", O_RDONLY);
	donor = xopen(_metadata, "donor", O_RDONLY);
	ASSERT_EQ(0, alias_fd(alias, donor, 0));
	ASSERT_EQ(0, alias_fd(alias, donor, 0));
	EXPECT_EQ(ALIAS, info_fd(_metadata, alias).state);
	EXPECT_EQ(1, info_fd(_metadata, donor).nr_aliases);
}

/* KEEP can be added later; a call without it does not take it away. */
TEST_F(fs, keep_later)
{
	int alias, donor;

	donor_and_alias(_metadata);
	alias = xopen(_metadata, "alias", O_RDONLY);
	donor = xopen(_metadata, "donor", O_RDONLY);
	ASSERT_EQ(0, alias_fd(alias, donor, 0));
	ASSERT_EQ(0, alias_fd(alias, donor, KEEP));
	EXPECT_EQ(KEPT, info_fd(_metadata, alias).state);
	ASSERT_EQ(0, alias_fd(alias, donor, 0));
	EXPECT_EQ(KEPT, info_fd(_metadata, alias).state);
	ASSERT_EQ(0, alias_fd(alias, donor, KEEP));
	EXPECT_EQ(1, info_fd(_metadata, donor).nr_aliases);
	close(alias);
	close(donor);
	EXPECT_EQ(KEPT, state_of(_metadata, "alias"));
}

/* KEEP again after a release that had no effect yet. */
TEST_F(fs, keep_after_release)
{
	int alias;

	donor_and_alias(_metadata);
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	alias = xopen(_metadata, "alias", O_RDONLY);
	ASSERT_EQ(0, release_fd(alias));
	EXPECT_EQ(ALIAS, info_fd(_metadata, alias).state);
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	close(alias);
	EXPECT_EQ(KEPT, state_of(_metadata, "alias"));
	EXPECT_EQ(1, info_file(_metadata, "donor").nr_aliases);
}

TEST_F(fs, release)
{
	int fd;

	donor_and_alias(_metadata);
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	ASSERT_EQ(0, release_file("alias"));
	EXPECT_EQ(ORDINARY, state_of(_metadata, "alias"));
	EXPECT_EQ(ORDINARY, state_of(_metadata, "donor"));

	/* What the files do now is their own. */
	fd = xopen(_metadata, "alias", O_RDWR);
	write_pattern(_metadata, fd, 0, PAIR_SIZE, 2);
	EXPECT_TRUE(file_has(_metadata, "alias", PAIR_SIZE, 2));
	EXPECT_TRUE(file_has(_metadata, "donor", PAIR_SIZE, 1));
	close(fd);

	/* And it can begin again. */
	clone_file(_metadata, "alias", "third");
	ASSERT_EQ(0, alias_file("alias", "third", KEEP));
	EXPECT_EQ(KEPT, state_of(_metadata, "alias"));
}

/* A donor argument that is an alias stands for its donor: no chains. */
TEST_F(fs, alias_as_donor)
{
	struct fs_mapping_info info;

	donor_and_alias(_metadata);
	clone_file(_metadata, "donor", "second");
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	ASSERT_EQ(0, alias_file("second", "alias", KEEP));
	info = info_file(_metadata, "second");
	EXPECT_EQ(KEPT, info.state);
	EXPECT_EQ(ino_of(_metadata, "donor"), info.donor_ino);
	EXPECT_EQ(2, info_file(_metadata, "donor").nr_aliases);
	EXPECT_EQ(KEPT, state_of(_metadata, "alias"));

	/* Named so, the donor is still the same one. */
	ASSERT_EQ(0, alias_file("second", "alias", 0));
	EXPECT_EQ(2, info_file(_metadata, "donor").nr_aliases);
}

/* Two ways to the same file system are one file system. */
TEST_F(fs, bind_mount)
{
	donor_and_alias(_metadata);
	ASSERT_EQ(0, mkdir("bind", 0755));
	ASSERT_EQ(0, mkdir("tree", 0755));
	ASSERT_EQ(0, rename("donor", "tree/donor"));
	ASSERT_EQ(0, mount("tree", "bind", NULL, MS_BIND, NULL));
	EXPECT_EQ(0, alias_file("alias", "bind/donor", KEEP));
	EXPECT_EQ(KEPT, state_of(_metadata, "alias"));
	EXPECT_EQ(DONOR, state_of(_metadata, "tree/donor"));
	ASSERT_EQ(0, umount("bind"));
}

/* What it is for: two container images, their layers below overlayfs. */
TEST_F(fs, overlayfs)
{
	static const char * const dirs[] = {
		"a", "b", "up", "up/a", "up/b", "wk", "wk/a", "wk/b", "m", "n",
	};
	unsigned char *first, *second;
	size_t i;
	int fd;

	for (i = 0; i < ARRAY_SIZE(dirs); i++)
		ASSERT_EQ(0, mkdir(dirs[i], 0755));
	make_file(_metadata, "a/file", PAIR_SIZE, 1);
	clone_file(_metadata, "a/file", "b/file");
	ASSERT_EQ(0, alias_file("b/file", "a/file", KEEP));
	ASSERT_EQ(0, mount("overlay", "m", "overlay", 0,
			   "lowerdir=a,upperdir=up/a,workdir=wk/a"));
	ASSERT_EQ(0, mount("overlay", "n", "overlay", 0,
			   "lowerdir=b,upperdir=up/b,workdir=wk/b"));

	first = map_file(_metadata, "m/file", PAIR_SIZE);
	second = map_file(_metadata, "n/file", PAIR_SIZE);
	for (i = 0; i < PAIR_SIZE; i += BLK)
		EXPECT_EQ(frame_of(_metadata, first + i),
			  frame_of(_metadata, second + i));
	ASSERT_EQ(0, munmap(first, PAIR_SIZE));
	ASSERT_EQ(0, munmap(second, PAIR_SIZE));

	/* Copy-up of an alias takes its content and leaves it alone. */
	fd = xopen(_metadata, "n/file", O_RDWR);
	write_pattern(_metadata, fd, 0, BLK, 2);
	EXPECT_TRUE(fd_has(_metadata, fd, 0, BLK, 2));
	EXPECT_TRUE(fd_has(_metadata, fd, BLK, PAIR_SIZE - BLK, 1));
	close(fd);
	EXPECT_TRUE(file_has(_metadata, "m/file", PAIR_SIZE, 1));
	EXPECT_TRUE(file_has(_metadata, "b/file", PAIR_SIZE, 1));
	EXPECT_EQ(KEPT, state_of(_metadata, "b/file"));

	ASSERT_EQ(0, umount("m"));
	ASSERT_EQ(0, umount("n"));
}

/* Read all of @file as a process of a cgroup. */
static void read_charged(struct __test_metadata *_metadata, const char *name,
			 const char *file, size_t size)
{
	pid_t pid = fork();

	ASSERT_LE(0, pid);
	if (!pid) {
		enter_cgroup(_metadata, name);
		child_exit(file_has(_metadata, file, size, 1) ? 0 : -EIO);
	}
	ASSERT_EQ(0, child_result(_metadata, pid));
}

/* Who reads first pays.  The counters lag behind by some pages a CPU. */
TEST_F(fs, first_reader_is_charged)
{
	const size_t size = 16 << 20;

	make_file(_metadata, "donor", size, 1);
	clone_file(_metadata, "donor", "alias");
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	make_cgroup(_metadata, "first");
	make_cgroup(_metadata, "second");

	read_charged(_metadata, "first", "alias", size);
	read_charged(_metadata, "second", "donor", size);
	EXPECT_LT(size / 2, cgroup_stat(_metadata, "first", "file"));
	EXPECT_GT(size / 2, cgroup_stat(_metadata, "second", "file"));

	ASSERT_EQ(0, rmdir(cgroup_file("first", "")));
	ASSERT_EQ(0, rmdir(cgroup_file("second", "")));
}

static const char *numbered(const char *name, int nr)
{
	static char text[32];

	snprintf(text, sizeof(text), "%s%d", name, nr);
	return text;
}

/* Keep the first @nr aliases of "donor"; 0 or a negative errno. */
static int alias_all(int nr)
{
	int i, err = 0;

	for (i = 0; !err && i < nr; i++)
		err = alias_file(numbered("alias", i), "donor", KEEP);
	return err;
}

/* What a kept alias holds is charged to who made it. */
TEST_F(fs, maker_is_charged)
{
	const int nr = 1000, least = nr * 64;
	long charged = 0;
	int i, tries;
	pid_t pid;

	make_file(_metadata, "donor", 4096, 1);
	for (i = 0; i < nr; i++)
		clone_file(_metadata, "donor", numbered("alias", i));
	make_cgroup(_metadata, "first");
	make_cgroup(_metadata, "second");

	/* Twice, of which the second call has nothing left to do. */
	for (i = 0; i < 2; i++) {
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			enter_cgroup(_metadata, i ? "second" : "first");
			child_exit(alias_all(nr));
		}
		ASSERT_EQ(0, child_result(_metadata, pid));
	}
	/* The counters are brought up to date every two seconds. */
	for (tries = 0; charged < least && tries < 20; tries++) {
		usleep(500000);
		charged = cgroup_stat(_metadata, "first", "slab");
	}
	EXPECT_LE(least, charged);
	EXPECT_GT(least, cgroup_stat(_metadata, "second", "slab"));

	ASSERT_EQ(0, release_file("donor"));
	ASSERT_EQ(0, rmdir(cgroup_file("first", "")));
	ASSERT_EQ(0, rmdir(cgroup_file("second", "")));
}

TEST_HARNESS_MAIN
