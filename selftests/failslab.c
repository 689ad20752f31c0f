// SPDX-License-Identifier: GPL-2.0
/*
 * Memory runs out: each allocation that a call makes fails once.
 *
 * Needs a kernel with CONFIG_FAILSLAB, CONFIG_FAIL_PAGE_ALLOC and
 * CONFIG_FAULT_INJECTION_DEBUG_FS, and fails on others.
 */

#include "common.h"

static void set_knob(struct __test_metadata *_metadata, const char *name,
		     const char *value)
{
	char path[128];

	snprintf(path, sizeof(path), "debug/%s", name);
	write_text(_metadata, path, value);
}

/*
 * Let all kinds of allocations fail, silently.  As long as nobody sets a
 * probability, only those that a task asks for do.
 */
static void begin_faults(struct __test_metadata *_metadata)
{
	ASSERT_EQ(0, mkdir("debug", 0755));
	ASSERT_EQ(0, mount("debugfs", "debug", "debugfs", 0, NULL));
	ASSERT_TRUE(!access("debug/failslab", F_OK) &&
		    !access("debug/fail_page_alloc", F_OK)) {
		TH_LOG("the kernel lacks options that this test needs");
	}
	set_knob(_metadata, "failslab/ignore-gfp-wait", "N");
	set_knob(_metadata, "failslab/verbose", "0");
	set_knob(_metadata, "fail_page_alloc/ignore-gfp-wait", "N");
	set_knob(_metadata, "fail_page_alloc/ignore-gfp-highmem", "N");
	set_knob(_metadata, "fail_page_alloc/min-order", "0");
	set_knob(_metadata, "fail_page_alloc/verbose", "0");
	ASSERT_EQ(0, umount("debug"));
	ASSERT_EQ(0, rmdir("debug"));
}

/* The files that a call is about. */
struct files {
	int alias, donor;
};

static int make(struct files *files)
{
	return alias_fd(files->alias, files->donor, 0);
}

static int make_kept(struct files *files)
{
	return alias_fd(files->alias, files->donor, KEEP);
}

static int release(struct files *files)
{
	return release_fd(files->alias);
}

static int release_donor(struct files *files)
{
	return release_fd(files->donor);
}

static int info(struct files *files)
{
	struct fs_mapping_info info;

	return ioctl(files->alias, FS_IOC_MAPPING_INFO, &info) ? -errno : 0;
}

static int close_alias(struct files *files)
{
	return close(files->alias) ? -errno : 0;
}

static int unlink_alias(struct files *files)
{
	(void)files;
	return unlink("alias") ? -errno : 0;
}

static int unlink_donor(struct files *files)
{
	(void)files;
	return unlink("donor") ? -errno : 0;
}

static int rename_over_donor(struct files *files)
{
	(void)files;
	return rename("other", "donor") ? -errno : 0;
}

static int remount(struct files *files)
{
	(void)files;
	return remount_ro();
}

/*
 * That a file system is unmounted, and of btrfs that it couldn't even ask whether
 * there is a transaction to be committed.
 */
static bool may_be_said(const char *line)
{
	return strstr(line, "Unmounting Filesystem") ||
	       strstr(line, "last unmount of filesystem") ||
	       strstr(line, "commit super ret -12");
}

/*
 * Make @call, whose @nth allocation fails.  Return its result; @injected tells
 * whether it made so many.  The kernel must have nothing more to say about it.
 */
static int call_failing(struct __test_metadata *_metadata,
			struct _test_data_fs *self, int (*call)(struct files *),
			struct files *files, int nth, bool *injected)
{
	char text[16], line[2048];
	int fd = xopen(_metadata, "/proc/self/fail-nth", O_RDWR);
	int len = snprintf(text, sizeof(text), "%d", nth);
	ssize_t n;
	int err;

	ASSERT_EQ(0, lseek(self->kmsg, 0, SEEK_END));
	ASSERT_EQ(len, pwrite(fd, text, len, 0));
	err = call(files);
	ASSERT_LT(0, pread(fd, text, sizeof(text), 0));
	*injected = text[0] == '0';
	ASSERT_EQ(1, pwrite(fd, "0", 1, 0));
	close(fd);

	while ((n = read(self->kmsg, line, sizeof(line) - 1)) > 0) {
		line[n] = '\0';
		EXPECT_TRUE(may_be_said(line))
			TH_LOG("allocation %d: %s", nth, line);
	}
	return err;
}

/* A call, the state of the alias in which it is made, and that it leads to. */
static const struct failing {
	const char *name;
	int (*call)(struct files *files);
	unsigned int before, after;
	bool fails;		/* with ENOMEM, unless cold: then it may */
	bool closed;		/* made while nobody has the files open */
	bool cold;		/* with nothing in memory */
	bool commits;		/* writes metadata */
} calls[] = {
	{ "make", make, ORDINARY, ALIAS, .fails = true },
	{ "make kept", make_kept, ORDINARY, KEPT, .fails = true },
	{ "make, cold", make, ORDINARY, ALIAS, .cold = true },
	{ "make kept, cold", make_kept, ORDINARY, KEPT, .cold = true },
	{ "make again", make, ALIAS, ALIAS, .fails = true },
	{ "keep", make_kept, ALIAS, KEPT, .fails = true },
	{ "release", release, KEPT, ALIAS, .fails = false },
	{ "release donor", release_donor, KEPT, ALIAS, .fails = false },
	{ "info", info, KEPT, KEPT, .fails = false },
	{ "close", close_alias, ALIAS, ORDINARY, .fails = false },
	{ "unlink donor", unlink_donor, KEPT, ORDINARY, .fails = true,
	  .closed = true, .commits = true },
	{ "unlink alias", unlink_alias, KEPT, ORDINARY, .fails = true,
	  .closed = true, .commits = true },
	{ "rename over donor", rename_over_donor, KEPT, ORDINARY, .fails = true,
	  .closed = true, .commits = true },
	{ "remount", remount, KEPT, KEPT, .fails = true, .closed = true,
	  .commits = true },
};

/* Files have data in every other one of these blocks. */
#define BLOCKS 60

/* Has @name, if it is there, the right data?  A sample of it. */
static bool sample_is_right(struct __test_metadata *_metadata, const char *name)
{
	static const int blocks[] = { 0, BLOCKS / 2, BLOCKS - 2 };
	bool right = true;
	size_t i;
	int fd;

	if (access(name, F_OK))
		return true;
	fd = xopen(_metadata, name, O_RDONLY);
	for (i = 0; i < ARRAY_SIZE(blocks); i++)
		right &= fd_has(_metadata, fd, blocks[i] * BLK, BLK, 1);
	close(fd);
	return right;
}

/* Have "alias" and "donor", of many extents, in the state for the call. */
static void prepare(struct __test_metadata *_metadata,
		    const struct failing *failing, struct files *files)
{
	int fd, i;

	if (access("donor", F_OK) || access("alias", F_OK) ||
	    access("other", F_OK)) {
		fd = xopen(_metadata, "donor", O_RDWR | O_CREAT | O_TRUNC);
		for (i = 0; i < BLOCKS; i += 2)
			write_pattern(_metadata, fd, i * BLK, BLK, 1);
		close(fd);
		clone_file(_metadata, "donor", "alias");
		clone_file(_metadata, "donor", "other");
		/* Writeback that fails could shut the file system down. */
		sync();
	}
	if (failing->cold)
		drop_caches(_metadata, "3");
	files->alias = xopen(_metadata, "alias", O_RDONLY);
	files->donor = xopen(_metadata, "donor", O_RDONLY);
	if (!failing->cold) {
		EXPECT_TRUE(fd_has(_metadata, files->alias, 0, BLK, 1));
		EXPECT_TRUE(fd_has(_metadata, files->donor, 0, BLK, 1));
	}
	if (failing->before)
		ASSERT_EQ(0, alias_fd(files->alias, files->donor,
				      failing->before == KEPT ? KEEP : 0));
	if (failing->closed) {
		close(files->alias);
		close(files->donor);
	}
}

/* The call succeeded: its effect is there, of those names that still are. */
static void check_done(struct __test_metadata *_metadata,
		       const struct failing *failing)
{
	if (!access("alias", F_OK))
		EXPECT_EQ(failing->after, state_of(_metadata, "alias"));
	if (!access("donor", F_OK))
		EXPECT_EQ(failing->after ? DONOR : ORDINARY,
			  state_of(_metadata, "donor"));
}

/* More allocations than any call makes. */
#define NEVER 1000000

/*
 * btrfs finds no way back from the middle of a transaction: if memory for that is
 * missing, it gives the whole file system up.  What writes metadata is called there
 * all the same, but without a failure.
 */
static void check_call(struct __test_metadata *_metadata,
		       struct _test_data_fs *self,
		       const struct _fixture_variant_fs *variant,
		       const struct failing *failing)
{
	const bool spared = failing->commits && !strcmp(variant->type, "btrfs");
	int nth, err, failed = 0;
	struct snapshot alias, donor;
	struct files files;
	bool injected;

	for (nth = spared ? NEVER : 1;; nth++) {
		prepare(_metadata, failing, &files);
		alias = take_snapshot(_metadata, "alias");
		donor = take_snapshot(_metadata, "donor");
		err = call_failing(_metadata, self, failing->call, &files, nth,
				   &injected);
		if (err) {
			EXPECT_EQ(-ENOMEM, err);
			EXPECT_TRUE(unchanged(_metadata, "alias", &alias));
			EXPECT_TRUE(unchanged(_metadata, "donor", &donor));
			failed++;
		} else {
			check_done(_metadata, failing);
		}
		EXPECT_TRUE(sample_is_right(_metadata, "alias"));
		EXPECT_TRUE(sample_is_right(_metadata, "donor"));
		EXPECT_EQ(0, remount_rw());

		if (!failing->closed) {
			close(files.alias);
			close(files.donor);
		}
		if (!access("alias", F_OK)) {
			EXPECT_EQ(0, release_file("alias"));
			EXPECT_EQ(ORDINARY, state_of(_metadata, "alias"));
			EXPECT_EQ(0, try_open("alias", O_RDWR));
		}
		if (!access("donor", F_OK)) {
			EXPECT_EQ(ORDINARY, state_of(_metadata, "donor"));
			EXPECT_EQ(0, try_open("donor", O_RDWR));
		}
		/* And those that use a page cache of their own again. */
		EXPECT_TRUE(sample_is_right(_metadata, "alias"));
		EXPECT_TRUE(sample_is_right(_metadata, "donor"));
		if (!injected)
			break;
	}
	EXPECT_EQ(0, err);
	/* What is read again, and fails at nothing, differs from call to call. */
	EXPECT_TRUE(failing->cold ||
		    (failing->fails && !spared) == (failed > 0)) {
		TH_LOG("%s: %d allocations, %d failures", failing->name,
		       nth - 1, failed);
	}
}

TEST_F(fs, calls)
{
	size_t i;

	begin_faults(_metadata);
	for (i = 0; i < ARRAY_SIZE(calls); i++)
		check_call(_metadata, self, variant, &calls[i]);
}

static int umount_fs(struct files *files)
{
	(void)files;
	return umount(MNT) ? -errno : 0;
}

/* Unmounting gets rid of all aliases, or fails before it has begun. */
TEST_F(fs, umount)
{
	struct snapshot alias, donor;
	int nth, err, dev;
	bool injected;

	begin_faults(_metadata);
	donor_and_alias(_metadata);
	/* A loop device would vanish if nobody had it. */
	dev = xopen(_metadata, self->dev, O_RDONLY);
	for (nth = 1;; nth++) {
		sync();
		ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
		alias = take_snapshot(_metadata, "alias");
		donor = take_snapshot(_metadata, "donor");
		ASSERT_EQ(0, chdir("/"));
		err = call_failing(_metadata, self, umount_fs, NULL, nth,
				   &injected);
		if (!err)
			ASSERT_EQ(0, mount(self->dev, MNT, variant->type, 0,
					   NULL));
		ASSERT_EQ(0, chdir(MNT));
		ASSERT_EQ(0, chdir(_metadata->name));
		if (err) {
			EXPECT_EQ(-ENOMEM, err);
			EXPECT_TRUE(unchanged(_metadata, "alias", &alias));
			EXPECT_TRUE(unchanged(_metadata, "donor", &donor));
			EXPECT_EQ(0, release_file("alias"));
		}
		EXPECT_EQ(ORDINARY, state_of(_metadata, "alias"));
		EXPECT_EQ(ORDINARY, state_of(_metadata, "donor"));
		EXPECT_EQ(0, try_open("alias", O_RDWR));
		EXPECT_EQ(0, try_open("donor", O_RDWR));
		EXPECT_TRUE(file_has(_metadata, "alias", PAIR_SIZE, 1));
		EXPECT_TRUE(file_has(_metadata, "donor", PAIR_SIZE, 1));
		if (!injected)
			break;
	}
	EXPECT_EQ(0, err);
	EXPECT_LT(1, nth);
	close(dev);
}

TEST_HARNESS_MAIN
