// SPDX-License-Identifier: GPL-2.0
/*
 * A file that is an alias or a donor can't be changed, and one that can be
 * changed becomes neither.
 */

#include <sys/swap.h>
#include <sys/time.h>

#include "common.h"

static const char * const both[] = { "alias", "donor" };

/* Open a file by its handle, which needs no name. */
static int try_open_handle(struct __test_metadata *_metadata, const char *name,
			   int flags)
{
	union {
		struct file_handle handle;
		char space[sizeof(struct file_handle) + MAX_HANDLE_SZ];
	} u;
	int mnt_id, mnt, fd, err;

	u.handle.handle_bytes = MAX_HANDLE_SZ;
	ASSERT_EQ(0, name_to_handle_at(AT_FDCWD, name, &u.handle, &mnt_id, 0));
	mnt = xopen(_metadata, ".", O_RDONLY);
	fd = open_by_handle_at(mnt, &u.handle, flags | O_CLOEXEC);
	err = fd < 0 ? -errno : 0;
	close(fd);
	close(mnt);
	return err;
}

/* Open for @flags what @fd is, through /proc. */
static int try_reopen(int fd, int flags)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return try_open(path, flags);
}

/* Try all ways to open or cut @name; each must end with @expected. */
static void check_opens(struct __test_metadata *_metadata, const char *name,
			int expected)
{
	int fd = xopen(_metadata, name, O_PATH);

	EXPECT_EQ(expected, try_open(name, O_WRONLY));
	EXPECT_EQ(expected, try_open(name, O_RDWR));
	EXPECT_EQ(expected, try_open(name, O_RDWR | O_APPEND));
	EXPECT_EQ(expected, try_reopen(fd, O_WRONLY));
	EXPECT_EQ(expected, try_open_handle(_metadata, name, O_RDWR));
	EXPECT_EQ(expected, truncate(name, PAIR_SIZE) ? -errno : 0);
	EXPECT_EQ(expected, truncate(name, 2 * PAIR_SIZE) ? -errno : 0);
	EXPECT_EQ(expected, truncate(name, 0) ? -errno : 0);
	EXPECT_EQ(expected, try_open(name, O_RDONLY | O_TRUNC));
	EXPECT_EQ(expected, try_open(name, O_WRONLY | O_CREAT | O_TRUNC));
	close(fd);
}

TEST_F(fs, open_for_write)
{
	size_t i;

	donor_and_alias(_metadata);
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	for (i = 0; i < ARRAY_SIZE(both); i++) {
		check_opens(_metadata, both[i], -ETXTBSY);
		EXPECT_TRUE(file_has(_metadata, both[i], PAIR_SIZE, 1));
	}

	ASSERT_EQ(0, release_file("alias"));
	for (i = 0; i < ARRAY_SIZE(both); i++)
		check_opens(_metadata, both[i], 0);
}

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
	check_opens(_metadata, "alias", 0);
	check_opens(_metadata, "donor", 0);
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

/* The one way to write that needs no write access to the file. */
static void check_dedupe(struct __test_metadata *_metadata)
{
	int alias = xopen(_metadata, "alias", O_RDONLY);
	int donor = xopen(_metadata, "donor", O_RDONLY);
	int other = xopen(_metadata, "other", O_RDONLY);
	size_t i;

	for (i = 0; i < PAIR_BLOCKS; i += PAIR_BLOCKS / 2) {
		EXPECT_EQ(-ETXTBSY, dedupe(other, 0, alias, i * BLK, BLK));
		EXPECT_EQ(-ETXTBSY, dedupe(other, 0, donor, i * BLK, BLK));
		EXPECT_EQ(-ETXTBSY, dedupe(donor, 0, alias, i * BLK, BLK));
		EXPECT_EQ(-ETXTBSY, dedupe(alias, 0, donor, i * BLK, BLK));
	}
	EXPECT_EQ(-ETXTBSY, dedupe(alias, 0, alias, BLK, BLK));
	EXPECT_EQ(-ETXTBSY, dedupe(donor, 0, donor, BLK, BLK));
	close(alias);
	close(donor);
	close(other);
}

/* Make @name, PAIR_BLOCKS equal blocks, owned by ALICE. */
static void make_equal_blocks(struct __test_metadata *_metadata,
			      const char *name)
{
	char block[BLK];
	int fd, i;

	memset(block, 'x', sizeof(block));
	fd = xopen(_metadata, name, O_WRONLY | O_CREAT);
	for (i = 0; i < PAIR_BLOCKS; i++)
		ASSERT_EQ(BLK, write(fd, block, BLK));
	ASSERT_EQ(0, fchown(fd, ALICE, ALICE));
	ASSERT_EQ(0, fsync(fd));
	close(fd);
}

TEST_F(fs, dedupe_into)
{
	int alias, other;
	pid_t pid;

	make_equal_blocks(_metadata, "donor");
	make_equal_blocks(_metadata, "other");
	clone_file(_metadata, "donor", "alias");
	ASSERT_EQ(0, chown("alias", ALICE, ALICE));
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));

	check_dedupe(_metadata);
	pid = fork_as(_metadata, ALICE, 0);
	if (!pid) {
		check_dedupe(_metadata);
		child_exit(0);
	}
	ASSERT_EQ(0, child_result(_metadata, pid));

	/* As sources they are as good as any file. */
	alias = xopen(_metadata, "alias", O_RDONLY);
	other = xopen(_metadata, "other", O_RDONLY);
	EXPECT_EQ(BLK, dedupe(alias, 0, other, BLK, BLK));

	ASSERT_EQ(0, release_fd(alias));
	close(alias);
	alias = xopen(_metadata, "alias", O_RDONLY);
	EXPECT_EQ(BLK, dedupe(other, 0, alias, BLK, BLK));
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

/* Both exchange ioctls of XFS want files that are open for writing. */
TEST_F(fs, exchange)
{
	struct {
		__s64 version, fdtarget, fdtmp, offset, length;
		char pad[16];
		char stat[136];
	} swapext = { .length = PAIR_SIZE };
	struct {
		__s32 file1_fd;
		__u32 pad;
		__u64 file1_offset, file2_offset, length, flags;
	} exchange = { .length = PAIR_SIZE };
	int alias, other;

	donor_and_alias(_metadata);
	make_file(_metadata, "other", PAIR_SIZE, 2);
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	alias = xopen(_metadata, "alias", O_RDONLY);
	other = xopen(_metadata, "other", O_RDWR);

	swapext.fdtarget = alias;
	swapext.fdtmp = other;
	EXPECT_EQ(-1, ioctl(alias, _IOC(_IOC_READ | _IOC_WRITE, 'X', 109,
					sizeof(swapext)), &swapext));
	EXPECT_EQ(EBADF, errno);
	exchange.file1_fd = other;
	EXPECT_EQ(-1, ioctl(alias, _IOC(_IOC_WRITE, 'X', 129, sizeof(exchange)),
			    &exchange));
	EXPECT_TRUE(file_has(_metadata, "alias", PAIR_SIZE, 1));
	EXPECT_TRUE(file_has(_metadata, "other", PAIR_SIZE, 2));
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

/* Read-only descriptors write nothing, however they are mapped. */
TEST_F(fs, no_writable_mapping)
{
	void *map;
	int fd;

	donor_and_alias(_metadata);
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	fd = xopen(_metadata, "alias", O_RDONLY);
	map = mmap(NULL, BLK, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	EXPECT_EQ(MAP_FAILED, map);
	map = mmap(NULL, BLK, PROT_READ, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ(-1, mprotect(map, BLK, PROT_READ | PROT_WRITE));
	ASSERT_EQ(0, munmap(map, BLK));
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
