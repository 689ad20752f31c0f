// SPDX-License-Identifier: GPL-2.0
/*
 * A file that is an alias or a donor has no writers, and one that has becomes
 * neither.  The ways to change a file are in change.c.
 */

#include <sys/swap.h>

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

/* Cloning from either works, and gives an ordinary file. */
TEST_F(fs, clone_from)
{
	size_t i;
	int fd;

	donor_and_alias(_metadata);
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	for (i = 0; i < ARRAY_SIZE(both); i++) {
		clone_file(_metadata, both[i], "new");
		EXPECT_EQ(ORDINARY, state_of(_metadata, "new"));
		fd = xopen(_metadata, "new", O_RDWR);
		write_pattern(_metadata, fd, 0, BLK, 2);
		EXPECT_TRUE(fd_has(_metadata, fd, BLK, PAIR_SIZE - BLK, 1));
		close(fd);
		EXPECT_TRUE(file_has(_metadata, both[i], PAIR_SIZE, 1));
	}
}

/* Make "swap", a file that swapon() takes. */
static void make_swap(struct __test_metadata *_metadata)
{
	unsigned char header[BLK] = {};
	__u32 *v1 = (void *)(header + 1024);
	int fd;

	make_file(_metadata, "swap", 1 << 20, 1);
	v1[0] = 1;				/* version */
	v1[1] = (1 << 20) / BLK - 1;		/* last page */
	memcpy(header + BLK - 10, "SWAPSPACE2", 10);
	fd = xopen(_metadata, "swap", O_WRONLY);
	ASSERT_EQ(BLK, pwrite(fd, header, BLK, 0));
	ASSERT_EQ(0, fsync(fd));
	close(fd);
}

TEST_F(fs, swap_file)
{
	make_swap(_metadata);
	make_file(_metadata, "donor", 1 << 20, 1);
	ASSERT_EQ(0, swapon("swap", 0)) {
		TH_LOG("swapon: %s", strerror(errno));
	}
	EXPECT_EQ(-ETXTBSY, alias_file("swap", "donor", KEEP));
	EXPECT_EQ(-ETXTBSY, alias_file("donor", "swap", KEEP));
	ASSERT_EQ(0, swapoff("swap"));
}

TEST_F(fs, swapon)
{
	make_swap(_metadata);
	clone_file(_metadata, "swap", "alias");
	ASSERT_EQ(0, alias_file("alias", "swap", KEEP));
	EXPECT_EQ(-1, swapon("alias", 0));
	EXPECT_EQ(ETXTBSY, errno);
	EXPECT_EQ(-1, swapon("swap", 0));
	EXPECT_EQ(ETXTBSY, errno);
}

/* A loop device over an alias exists, but only to be read. */
TEST_F(fs, loop)
{
	struct loop_config config = { .info.lo_flags = LO_FLAGS_AUTOCLEAR };
	int control, loop, nr, err;
	char dev[64], byte = 0;

	donor_and_alias(_metadata);
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	control = xopen(_metadata, "/dev/loop-control", O_RDWR);
	config.fd = xopen(_metadata, "alias", O_RDONLY);
	do {
		nr = ioctl(control, LOOP_CTL_GET_FREE);
		ASSERT_LE(0, nr);
		snprintf(dev, sizeof(dev), "/dev/loop%d", nr);
		loop = xopen(_metadata, dev, O_RDWR);
		err = ioctl(loop, LOOP_CONFIGURE, &config) ? errno : 0;
		if (err)
			close(loop);
	} while (err == EBUSY);
	ASSERT_EQ(0, err);
	EXPECT_TRUE(fd_has(_metadata, loop, 0, PAIR_SIZE, 1));
	EXPECT_FALSE(pwrite(loop, &byte, 1, 0) == 1 && fsync(loop) == 0);
	close(loop);
	EXPECT_TRUE(file_has(_metadata, "donor", PAIR_SIZE, 1));
	close(config.fd);
	ASSERT_EQ(0, release_file("alias"));

	/* The writer that a writable one would be. */
	config.fd = xopen(_metadata, "alias", O_RDWR);
	EXPECT_EQ(-ETXTBSY, alias_file("alias", "donor", KEEP));
}

/* Run the shell @name; it must end with 42. */
static int run_shell(struct __test_metadata *_metadata, const char *name)
{
	return run(_metadata,
		   (const char *[]){ name, "-c", "exit 42", NULL });
}

static void copy_shell(struct __test_metadata *_metadata, const char *name)
{
	ASSERT_EQ(0, run(_metadata, (const char *[]){
				"cp", "-L", "/bin/sh", name, NULL }));
	ASSERT_EQ(0, chmod(name, 0755));
}

TEST_F(fs, exec)
{
	copy_shell(_metadata, "donor");
	clone_file(_metadata, "donor", "alias");
	ASSERT_EQ(0, chmod("alias", 0755));
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	EXPECT_EQ(42, run_shell(_metadata, "./alias"));
	EXPECT_EQ(42, run_shell(_metadata, "./donor"));
	ASSERT_EQ(0, release_file("alias"));
	EXPECT_EQ(42, run_shell(_metadata, "./alias"));
	EXPECT_EQ(0, try_open("alias", O_RDWR));
	EXPECT_EQ(0, try_open("donor", O_RDWR));
}

/* A running program denies writing too, which is no obstacle. */
TEST_F(fs, alias_while_running)
{
	static const char * const name[] = { "./donor", "./alias" };
	int pipes[2], i;
	pid_t pid[2];

	copy_shell(_metadata, "donor");
	clone_file(_metadata, "donor", "alias");
	ASSERT_EQ(0, chmod("alias", 0755));
	ASSERT_EQ(0, pipe(pipes));
	for (i = 0; i < 2; i++) {
		pid[i] = fork();
		ASSERT_LE(0, pid[i]);
		if (!pid[i]) {
			dup2(pipes[0], 0);
			close(pipes[1]);
			execl(name[i], name[i], "-c", "read x; exit 42", NULL);
			_exit(255);
		}
	}
	close(pipes[0]);
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
