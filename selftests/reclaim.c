// SPDX-License-Identifier: GPL-2.0
/*
 * Aliases and donors when memory is scarce and when the file system goes, and
 * that nothing of them is left in the end.
 */

#include <limits.h>
#include <signal.h>
#include <linux/dm-ioctl.h>
#include <linux/landlock.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>

#include "common.h"

#ifndef FAN_MARK_EVICTABLE
#define FAN_MARK_EVICTABLE 0x200
#endif

/* Most of the tests here are about inodes, and their files are small. */
#define SIZE (4 * BLK)

static const char *numbered(const char *name, int i)
{
	static char buf[2][32];
	static unsigned int n;
	char *ret = buf[n++ % 2];

	snprintf(ret, sizeof(buf[0]), "%s%d", name, i);
	return ret;
}

/* How many inodes there are in memory. */
static long nr_inodes(struct __test_metadata *_metadata)
{
	return atol(read_text(_metadata, "/proc/sys/fs/inode-nr"));
}

/* In a cgroup with little memory: reclaim, and read too much, until killed. */
static pid_t start_pressure(struct __test_metadata *_metadata, const char *cgroup,
			    const char *big)
{
	static unsigned char buf[64 * BLK];
	pid_t pid = fork();
	int fd;

	ASSERT_LE(0, pid);
	if (pid)
		return pid;
	/* Be no user of what the test has open. */
	close_range(3, ~0U, 0);
	enter_cgroup(_metadata, cgroup);
	for (;;) {
		reclaim_cgroup(_metadata, cgroup);
		fd = xopen(_metadata, big, O_RDONLY);
		while (read(fd, buf, sizeof(buf)) > 0)
			;
		close(fd);
	}
}

static void end_pressure(struct __test_metadata *_metadata, pid_t pid)
{
	int status;

	ASSERT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
}

/* Files for a test of pressure. */
enum { ALIASES = 200, PLAIN = 400 };

/*
 * Make a donor, ALIASES aliases, of which odd ones are kept and even ones are in
 * use in @fds, and PLAIN other files.  Return the donor's descriptor.
 */
static int make_many(struct __test_metadata *_metadata, int fds[ALIASES])
{
	int i, donor;

	make_file(_metadata, "donor", SIZE, 1);
	for (i = 0; i < PLAIN; i++)
		close(xopen(_metadata, numbered("plain", i),
			    O_RDWR | O_CREAT));
	for (i = 0; i < ALIASES; i++) {
		clone_file(_metadata, "donor", numbered("alias", i));
		fds[i] = xopen(_metadata, numbered("alias", i), O_RDONLY);
		ASSERT_EQ(0, alias_file(numbered("alias", i), "donor",
					i % 2 ? KEEP : 0));
		if (i % 2)
			close(fds[i]);
	}
	sync();
	donor = xopen(_metadata, "donor", O_RDONLY);
	ASSERT_EQ(ALIASES, info_fd(_metadata, donor).nr_aliases);
	return donor;
}

/*
 * See that all aliases are there, then end the use of even ones and the keeping
 * of every other odd one.
 */
static void check_many(struct __test_metadata *_metadata, int donor,
		       const int fds[ALIASES])
{
	int i;

	EXPECT_EQ(ALIASES, info_fd(_metadata, donor).nr_aliases);
	for (i = 0; i < ALIASES; i++) {
		if (i % 2 == 0) {
			EXPECT_EQ(ALIAS, info_fd(_metadata, fds[i]).state);
			EXPECT_TRUE(fd_has(_metadata, fds[i], 0, SIZE, 1));
			close(fds[i]);
		} else if (i % 4 == 1) {
			EXPECT_EQ(KEPT, state_of(_metadata,
						 numbered("alias", i)));
			EXPECT_TRUE(file_has(_metadata, numbered("alias", i),
					     SIZE, 1));
		} else {
			ASSERT_EQ(0, release_file(numbered("alias", i)));
		}
	}
	EXPECT_EQ(ALIASES / 4, info_fd(_metadata, donor).nr_aliases);
	close(donor);
}

/*
 * See that after another time of pressure only those that are kept are left, and
 * the donor, which nobody uses but its aliases, is still what it was.
 */
static void check_kept(struct __test_metadata *_metadata)
{
	int i;

	EXPECT_EQ(ALIASES / 4, info_file(_metadata, "donor").nr_aliases);
	for (i = 0; i < ALIASES; i++)
		EXPECT_EQ(i % 4 == 1 ? KEPT : ORDINARY,
			  state_of(_metadata, numbered("alias", i)));
	ASSERT_EQ(0, release_file("donor"));
	EXPECT_EQ(ORDINARY, state_of(_metadata, "donor"));
	EXPECT_EQ(0, try_open("donor", O_RDWR));
	EXPECT_TRUE(file_has(_metadata, "alias1", SIZE, 1));
}

/*
 * Under pressure, inodes without users go, but kept aliases and their donor
 * stay, and so do those in use, until their last user is gone.
 */
TEST_F(fs, pressure)
{
	int fds[ALIASES], i, donor;
	pid_t pid;
	long inodes;

	make_cgroup(_metadata, "pressure");
	write_text(_metadata, cgroup_file("pressure", "memory.max"), "24M");
	enter_cgroup(_metadata, "pressure");
	close(xopen(_metadata, "big", O_RDWR | O_CREAT));
	ASSERT_EQ(0, truncate("big", 32 << 20));
	donor = make_many(_metadata, fds);
	enter_cgroup(_metadata, "");

	inodes = nr_inodes(_metadata);
	pid = start_pressure(_metadata, "pressure", "big");
	for (i = 0; nr_inodes(_metadata) > inodes - PLAIN / 2 && i < 1000; i++)
		usleep(50000);
	EXPECT_GE(inodes - PLAIN / 2, nr_inodes(_metadata));
	check_many(_metadata, donor, fds);
	end_pressure(_metadata, pid);

	reclaim_cgroup(_metadata, "pressure");
	check_kept(_metadata);
	reclaim_cgroup(_metadata, "pressure");
	ASSERT_EQ(0, rmdir(cgroup_file("pressure", "")));
}

/* Take the machine's memory until @inodes are left in it, and hold it. */
static pid_t start_hog(struct __test_metadata *_metadata, long inodes)
{
	const size_t step = 1 << 20;
	pid_t pid = fork();
	void *map;

	ASSERT_LE(0, pid);
	if (pid)
		return pid;
	close_range(3, ~0U, 0);
	/* Rather this one than the test. */
	write_text(_metadata, "/proc/self/oom_score_adj", "1000");
	while (nr_inodes(_metadata) > inodes) {
		map = mmap(NULL, step, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
		ASSERT_NE(MAP_FAILED, map);
	}
	for (;;)
		pause();
}

/*
 * Take all free memory but @leave bytes, as huge pages, which nobody has to
 * clear.  How much that is, is put into @len.
 */
static void *take_memory(struct __test_metadata *_metadata, size_t leave, size_t *len)
{
	const char *free = strstr(read_text(_metadata, "/proc/meminfo"),
				  "\nMemFree:");
	char pages[32];
	void *map;

	ASSERT_NE(NULL, free);
	*len = strtoul(free + strlen("\nMemFree:"), NULL, 10) * 1024;
	ASSERT_LT(leave + HUGE_SIZE, *len);
	*len -= leave;
	*len -= *len % HUGE_SIZE;
	snprintf(pages, sizeof(pages), "%zu", *len / HUGE_SIZE);
	write_text(_metadata, "/proc/sys/vm/nr_overcommit_hugepages", pages);
	map = mmap(NULL, *len, PROT_READ,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	ASSERT_NE(MAP_FAILED, map) {
		TH_LOG("%s huge pages: %s", pages, strerror(errno));
	}
	return map;
}

static void give_memory_back(struct __test_metadata *_metadata, void *map, size_t len)
{
	ASSERT_EQ(0, munmap(map, len));
	write_text(_metadata, "/proc/sys/vm/nr_overcommit_hugepages", "0");
}

/* The same when the whole machine is short of memory, not just a cgroup. */
TEST_F(fs, pressure_machine)
{
	int fds[ALIASES], i, donor;
	void *taken;
	long inodes;
	size_t len;
	pid_t pid;

	donor = make_many(_metadata, fds);
	/* Have no inodes that could be reclaimed but these. */
	drop_caches(_metadata, "3");
	for (i = 0; i < PLAIN; i++)
		ino_of(_metadata, numbered("plain", i));
	inodes = nr_inodes(_metadata);
	taken = take_memory(_metadata, 160 << 20, &len);
	pid = start_hog(_metadata, inodes - PLAIN / 2);
	for (i = 0; nr_inodes(_metadata) > inodes - PLAIN / 2 && i < 1000; i++)
		usleep(50000);
	EXPECT_GE(inodes - PLAIN / 2, nr_inodes(_metadata));
	check_many(_metadata, donor, fds);
	end_pressure(_metadata, pid);
	give_memory_back(_metadata, taken, len);
	check_kept(_metadata);
}

/* "donor" of @size bytes, and its kept alias "low/alias" for an overlay. */
static void pair_below(struct __test_metadata *_metadata, size_t size)
{
	ASSERT_EQ(0, mkdir("low", 0755));
	make_file(_metadata, "donor", size, 1);
	clone_file(_metadata, "donor", "low/alias");
	ASSERT_EQ(0, alias_file("low/alias", "donor", KEEP));
}

/* Show "low" as "m". */
static void mount_overlay(struct __test_metadata *_metadata)
{
	ASSERT_EQ(0, mkdir("empty", 0755));
	ASSERT_EQ(0, mkdir("m", 0755));
	ASSERT_EQ(0, mount("overlay", "m", "overlay", 0,
			   "lowerdir=low:empty"));
}

/*
 * overlayfs holds the lower inodes of the files that it caches, so that the
 * shrinker may be who drops the last reference to an alias.  The final iput of
 * its donor, which has no name, must not be made there.
 */
enum shrink { SLAB, CGROUP, CGROUP_LAZYTIME, FROZEN };

static void evict_by(struct __test_metadata *_metadata, enum shrink how)
{
	unsigned char *map;
	pid_t pid;
	int dir, i;
	char byte;

	if (how == CGROUP_LAZYTIME)
		ASSERT_EQ(0, mount(NULL, MNT, NULL, MS_REMOUNT | MS_LAZYTIME |
				   MS_STRICTATIME, NULL));
	make_cgroup(_metadata, "shrink");
	pair_below(_metadata, SIZE);
	mount_overlay(_metadata);
	drop_caches(_metadata, "2");

	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		enter_cgroup(_metadata, "shrink");
		map = map_file(_metadata, "m/alias", SIZE);
		_exit(!map_has(map, SIZE, 1));
	}
	ASSERT_EQ(0, child_result(_metadata, pid));
	ASSERT_EQ(0, unlink("donor"));
	EXPECT_EQ(ALIAS, state_of(_metadata, "low/alias"));
	EXPECT_EQ(-ETXTBSY, try_open("low/alias", O_RDWR));
	EXPECT_EQ(-EBUSY, remount_ro());
	/* A time of access that is still to be written. */
	dir = xopen(_metadata, "low/alias", O_RDONLY);
	EXPECT_EQ(1, read(dir, &byte, 1));
	close(dir);

	dir = xopen(_metadata, ".", O_RDONLY);
	if (how == FROZEN)
		ASSERT_EQ(0, ioctl(dir, FIFREEZE, 0));
	/* What was used recently is spared at first. */
	for (i = 0; i < 10; i++) {
		if (how == CGROUP || how == CGROUP_LAZYTIME)
			reclaim_cgroup(_metadata, "shrink");
		else
			write_text(_metadata, "/proc/sys/vm/drop_caches", "2");
	}
	if (how == FROZEN)
		ASSERT_EQ(0, ioctl(dir, FITHAW, 0));
	close(dir);

	EXPECT_EQ(ORDINARY, state_of(_metadata, "low/alias"));
	EXPECT_EQ(0, remount_ro());
	EXPECT_EQ(0, remount_rw());
	EXPECT_TRUE(file_has(_metadata, "low/alias", SIZE, 1));
	EXPECT_TRUE(file_has(_metadata, "m/alias", SIZE, 1));
	ASSERT_EQ(0, umount("m"));
	ASSERT_EQ(0, rmdir(cgroup_file("shrink", "")));
}

TEST_F(fs, evicted_by_drop_caches)
{
	evict_by(_metadata, SLAB);
}

TEST_F(fs, evicted_by_cgroup)
{
	evict_by(_metadata, CGROUP);
}

TEST_F(fs, evicted_by_cgroup_lazytime)
{
	evict_by(_metadata, CGROUP_LAZYTIME);
}

TEST_F(fs, evicted_while_frozen)
{
	evict_by(_metadata, FROZEN);
}

#define DM_NAME "mapping_alias"
#define DM_CONTROL "/dev/mapper/control"

/*
 * A call to the device mapper about the device DM_NAME, which is all of the device
 * @below.  Return the number N of its node /dev/dm-N, or a negative errno.
 */
static int dm_call(struct __test_metadata *_metadata, unsigned long request,
		   __u32 flags, const char *below)
{
	struct {
		struct dm_ioctl head;
		struct dm_target_spec target;
		char below[80];
	} arg = {
		.head = {
			.version = { DM_VERSION_MAJOR },
			.data_size = sizeof(arg),
			.data_start = sizeof(arg.head),
			.target_count = 1,
			.flags = flags,
			.name = DM_NAME,
		},
		.target = {
			.length = IMAGE_SIZE / 512,
			.target_type = "linear",
		},
	};
	int control = xopen(_metadata, DM_CONTROL, O_RDWR), err;

	snprintf(arg.below, sizeof(arg.below), "%s 0", below);
	err = ioctl(control, request, &arg) ? -errno : 0;
	close(control);
	return err ? err : (int)minor(arg.head.dev);
}

/* Let all that is sent to the device wait. */
static void suspend_dm(struct __test_metadata *_metadata)
{
	ASSERT_LE(0, dm_call(_metadata, DM_DEV_SUSPEND, DM_SUSPEND_FLAG |
			     DM_SKIP_LOCKFS_FLAG | DM_NOFLUSH_FLAG, ""));
}

static void resume_dm(struct __test_metadata *_metadata)
{
	ASSERT_LE(0, dm_call(_metadata, DM_DEV_SUSPEND, 0, ""));
}

/* Make it, and put the name of its node into @dev. */
static void make_dm(struct __test_metadata *_metadata, const char *below,
		    char dev[64])
{
	int nr = dm_call(_metadata, DM_DEV_CREATE, 0, below);

	ASSERT_LE(0, nr) {
		TH_LOG("device mapper: %s", strerror(-nr));
	}
	ASSERT_LE(0, dm_call(_metadata, DM_TABLE_LOAD, 0, below));
	resume_dm(_metadata);
	snprintf(dev, 64, "/dev/dm-%d", nr);
}

/* That the alias is in memory is up to overlayfs now, and charged to a cgroup. */
static void leave_to_overlay(struct __test_metadata *_metadata)
{
	pid_t pid;

	make_cgroup(_metadata, "shrink");
	mount_overlay(_metadata);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		enter_cgroup(_metadata, "shrink");
		_exit(try_open("m/alias", O_RDONLY) < 0);
	}
	ASSERT_EQ(0, child_result(_metadata, pid));
	ASSERT_EQ(0, release_file("low/alias"));
}

/* Does @pid end, or, if @end is false, sleep, within some seconds? */
static bool soon(struct __test_metadata *_metadata, pid_t pid, bool end)
{
	int i;

	for (i = 0; i < 1000; i++) {
		if (process_state(_metadata, pid) == (end ? 'Z' : 'D'))
			return true;
		usleep(20000);
	}
	return false;
}

/*
 * Pages of the donor are given up when its last alias ends.  In reclaim nobody
 * waits for that: whoever has such a page locked may itself wait for memory.  Here
 * it is a reader, who waits for a disk that doesn't answer.
 */
TEST_F(fs, evict_does_not_wait)
{
	char loop_dev[64], dev[64];
	pid_t pid, reader;
	int loop, donor, i;
	bool ended;
	char byte;

	if (access(DM_CONTROL, F_OK))
		SKIP(return, "no device mapper");
	loop = make_loop(_metadata, "image", loop_dev);
	make_dm(_metadata, loop_dev, dev);
	ASSERT_TRUE(make_fs(_metadata, variant, dev));
	ASSERT_EQ(0, mkdir("fs", 0755));
	/* Times of access would be something to write. */
	ASSERT_EQ(0, mount(dev, "fs", variant->type, MS_NOATIME, NULL)) {
		TH_LOG("mount %s: %s", dev, strerror(errno));
	}
	ASSERT_EQ(0, chdir("fs"));
	pair_below(_metadata, SIZE);
	leave_to_overlay(_metadata);
	ASSERT_EQ(ALIAS, state_of(_metadata, "low/alias"));
	donor = xopen(_metadata, "donor", O_RDONLY);
	ASSERT_EQ(0, posix_fadvise(donor, 0, 0, POSIX_FADV_DONTNEED));
	ASSERT_EQ(0, cached_pages(_metadata, donor));
	sync();

	/* From here on, nothing may end the test before it is resumed. */
	suspend_dm(_metadata);
	reader = fork();
	if (!reader)
		_exit(pread(donor, &byte, 1, 0) != 1 || byte != pattern(1, 0));
	EXPECT_TRUE(soon(_metadata, reader, false));
	pid = fork();
	if (!pid) {
		/* What was used recently is spared at first. */
		for (i = 0; i < 10; i++)
			reclaim_cgroup(_metadata, "shrink");
		/* The alias is gone... */
		_exit(state_of(_metadata, "low/alias") != ORDINARY);
	}
	ended = soon(_metadata, pid, true);
	EXPECT_TRUE(ended);
	/* ... but not its donor, as long as that has the page. */
	EXPECT_EQ(DONOR, info_fd(_metadata, donor).state);
	EXPECT_EQ(-ETXTBSY, try_open("donor", O_RDWR));
	EXPECT_EQ(0, waitpid(reader, NULL, WNOHANG));
	resume_dm(_metadata);

	EXPECT_EQ(0, child_result(_metadata, reader));
	EXPECT_EQ(0, child_result(_metadata, pid));
	for (i = 0; info_fd(_metadata, donor).state != ORDINARY && i < 500; i++)
		usleep(20000);
	EXPECT_EQ(ORDINARY, info_fd(_metadata, donor).state);
	EXPECT_EQ(0, try_open("donor", O_RDWR));
	EXPECT_TRUE(file_has(_metadata, "donor", SIZE, 1));
	EXPECT_TRUE(file_has(_metadata, "low/alias", SIZE, 1));
	close(donor);
	ASSERT_EQ(0, umount("m"));
	ASSERT_EQ(0, chdir(".."));
	ASSERT_EQ(0, umount("fs"));
	ASSERT_LE(0, dm_call(_metadata, DM_DEV_REMOVE, 0, ""));
	close(loop);
	ASSERT_EQ(0, rmdir(cgroup_file("shrink", "")));
}

/* Have all of @name in a pipe, and the file not open. */
static int take_into_pipe(struct __test_metadata *_metadata, const char *name)
{
	int fd = xopen(_metadata, name, O_RDONLY), pipes[2];
	ssize_t len, left;

	ASSERT_EQ(0, pipe(pipes));
	for (left = PAIR_SIZE; left; left -= len) {
		len = splice(fd, NULL, pipes[1], NULL, left, 0);
		ASSERT_LT(0, len);
	}
	close(pipes[1]);
	close(fd);
	return pipes[0];
}

/* Write something else to all of @name, as soon as that is possible. */
static void overwrite(struct __test_metadata *_metadata, const char *name, bool soon)
{
	int i, fd = -ETXTBSY;

	for (i = 0; fd == -ETXTBSY && (!i || (soon && i < 500)); i++) {
		if (i)
			usleep(20000);
		fd = open(name, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			fd = -errno;
	}
	ASSERT_LE(0, fd) {
		TH_LOG("%s: %s", name, strerror(-fd));
	}
	write_pattern(_metadata, fd, 0, PAIR_SIZE, 7);
	close(fd);
}

/* How the last user of an alias goes. */
enum last { BY_RELEASE, BY_CLOSE, BY_UNLINK, BY_RECLAIM };

/*
 * What was read of an alias without copying must stay as it was when the alias is
 * none any more and its donor, or another file, is written to.
 */
static void late_read(struct __test_metadata *_metadata, enum last how,
		      const char *taken, const char *written)
{
	static unsigned char buf[PAIR_SIZE];
	int user = -1, pipe;
	ssize_t len, got;
	int i;

	pair_below(_metadata, PAIR_SIZE);
	if (how == BY_RECLAIM)
		leave_to_overlay(_metadata);
	pipe = take_into_pipe(_metadata, taken);
	if (how == BY_CLOSE)
		user = xopen(_metadata, "low/alias", O_RDONLY);
	if (how != BY_UNLINK)
		ASSERT_EQ(0, release_file("low/alias"));
	EXPECT_EQ(how == BY_RELEASE ? ORDINARY : DONOR,
		  state_of(_metadata, "donor"));
	close(user);
	if (how == BY_UNLINK)
		ASSERT_EQ(0, unlink("low/alias"));
	for (i = 0; how == BY_RECLAIM && i < 10; i++)
		reclaim_cgroup(_metadata, "shrink");

	overwrite(_metadata, written, how == BY_RECLAIM);
	for (got = 0; got < (ssize_t)PAIR_SIZE; got += len) {
		len = read(pipe, buf + got, PAIR_SIZE - got);
		ASSERT_LT(0, len);
	}
	EXPECT_TRUE(map_has(buf, PAIR_SIZE, 1));
	close(pipe);
	EXPECT_TRUE(file_has(_metadata, written, PAIR_SIZE, 7));
	if (how != BY_UNLINK) {
		EXPECT_TRUE(file_has(_metadata, strcmp(written, "donor") ?
				     "donor" : "low/alias", PAIR_SIZE, 1));
	}
	if (how == BY_RECLAIM) {
		ASSERT_EQ(0, umount("m"));
		ASSERT_EQ(0, rmdir(cgroup_file("shrink", "")));
	}
}

TEST_F(fs, late_read_released)
{
	late_read(_metadata, BY_RELEASE, "low/alias", "donor");
}

TEST_F(fs, late_read_closed)
{
	late_read(_metadata, BY_CLOSE, "low/alias", "donor");
}

TEST_F(fs, late_read_unlinked)
{
	late_read(_metadata, BY_UNLINK, "low/alias", "donor");
}

TEST_F(fs, late_read_reclaimed)
{
	late_read(_metadata, BY_RECLAIM, "low/alias", "donor");
}

TEST_F(fs, late_read_of_donor)
{
	late_read(_metadata, BY_RELEASE, "donor", "low/alias");
}

/* What holds inodes without being an open file or a mapping of it. */
enum watch { INOTIFY, FANOTIFY, EVICTABLE, LANDLOCK, WATCHES };

/* A descriptor with which inodes can be held, as long as it is open. */
static int new_watch(struct __test_metadata *_metadata, enum watch how)
{
	struct landlock_ruleset_attr rules = {
		.handled_access_fs = LANDLOCK_ACCESS_FS_READ_FILE,
	};
	int fd;

	if (how == INOTIFY)
		fd = inotify_init1(IN_CLOEXEC);
	else if (how == LANDLOCK)
		fd = syscall(__NR_landlock_create_ruleset, &rules,
			     sizeof(rules), 0);
	else
		fd = fanotify_init(FAN_CLASS_NOTIF | FAN_CLOEXEC, O_RDONLY);
	ASSERT_LE(0, fd) {
		TH_LOG("watch %d: %s", how, strerror(errno));
	}
	return fd;
}

static void add_watch(struct __test_metadata *_metadata, int watch,
		      enum watch how, const char *name)
{
	struct landlock_path_beneath_attr rule = {
		.allowed_access = LANDLOCK_ACCESS_FS_READ_FILE,
	};
	unsigned int flags = how == EVICTABLE ?
			     FAN_MARK_ADD | FAN_MARK_EVICTABLE : FAN_MARK_ADD;

	switch (how) {
	case INOTIFY:
		ASSERT_LE(0, inotify_add_watch(watch, name, IN_OPEN));
		break;
	case LANDLOCK:
		rule.parent_fd = xopen(_metadata, name, O_PATH);
		ASSERT_EQ(0, syscall(__NR_landlock_add_rule, watch,
				     LANDLOCK_RULE_PATH_BENEATH, &rule, 0));
		close(rule.parent_fd);
		break;
	default:
		/* What never happens: an event that waits has the file open. */
		ASSERT_EQ(0, fanotify_mark(watch, flags, FAN_MODIFY, AT_FDCWD,
					   name));
	}
}

/* In what state a pair of files can be when the file system goes. */
struct combination {
	bool keep;
	enum {
		CLOSED, CLOSED_LAST,
		ALIAS_WATCHED,		/* the first of WATCHES */
		BOTH_WATCHED = ALIAS_WATCHED + WATCHES,	/* again the first */
		OPEN = BOTH_WATCHED + WATCHES, DONOR_OPEN, BOTH_OPEN,
		MAPPED, DONOR_MAPPED, BOTH_MAPPED,
		USERS
	} user;
	enum {
		NEITHER, OF_ALIAS, OF_DONOR, ALIAS_FIRST, DONOR_FIRST, UNLINKS
	} unlinked;
};

#define COMBINATIONS (2 * USERS * UNLINKS)

static struct combination combination(int i)
{
	return (struct combination) {
		.keep = i % 2,
		.user = i / 2 % USERS,
		.unlinked = i / 2 / USERS,
	};
}

/* Alias and donor, in this order. */
static const char * const pair[] = { "alias", "donor" };

/* By what is that one of the pair watched?  WATCHES: nothing. */
static enum watch is_watched(struct combination c, int which)
{
	if (c.user >= BOTH_WATCHED && c.user < BOTH_WATCHED + WATCHES)
		return c.user - BOTH_WATCHED;
	if (!which && c.user >= ALIAS_WATCHED && c.user < BOTH_WATCHED)
		return c.user - ALIAS_WATCHED;
	return WATCHES;
}

/* Is that one of the pair open, or mapped, at the end? */
static bool is_open(struct combination c, int which)
{
	return c.user == BOTH_OPEN || c.user == (which ? DONOR_OPEN : OPEN);
}

static bool is_mapped(struct combination c, int which)
{
	return c.user == BOTH_MAPPED ||
	       c.user == (which ? DONOR_MAPPED : MAPPED);
}

/* The mappings of those that are mapped. */
static unsigned char *maps[COMBINATIONS][ARRAY_SIZE(pair)];

/* See that what is mapped is right, and unmap it. */
static void unmap_combinations(struct __test_metadata *_metadata)
{
	int i, j;

	for (i = 0; i < COMBINATIONS; i++) {
		for (j = 0; j < 2; j++) {
			if (!is_mapped(combination(i), j))
				continue;
			EXPECT_TRUE(map_has(maps[i][j], SIZE, i));
			ASSERT_EQ(0, munmap(maps[i][j], SIZE));
		}
	}
}

/*
 * Make all of them in the present directory.  Those that are to be open or
 * mapped at the end are left so if @leave_open, and aren't otherwise.
 */
static void make_combinations(struct __test_metadata *_metadata, bool leave_open)
{
	static const char * const unlinks[][2] = {
		[NEITHER] = { NULL, NULL },
		[OF_ALIAS] = { "alias", NULL },
		[OF_DONOR] = { "donor", NULL },
		[ALIAS_FIRST] = { "alias", "donor" },
		[DONOR_FIRST] = { "donor", "alias" },
	};
	int fds[COMBINATIONS][ARRAY_SIZE(pair)], watches[WATCHES], i, j;

	for (i = 0; i < WATCHES; i++)
		watches[i] = new_watch(_metadata, i);
	for (i = 0; i < COMBINATIONS; i++) {
		struct combination c = combination(i);

		make_file(_metadata, numbered("donor", i), SIZE, i);
		clone_file(_metadata, numbered("donor", i),
			   numbered("alias", i));
		for (j = 0; j < 2; j++)
			fds[i][j] = xopen(_metadata, numbered(pair[j], i),
					  O_RDONLY);
		ASSERT_EQ(0, alias_fd(fds[i][0], fds[i][1],
				      c.keep ? KEEP : 0));
		for (j = 0; j < 2; j++) {
			const char *name = numbered(pair[j], i);
			enum watch how = is_watched(c, j);

			if (how != WATCHES)
				add_watch(_metadata, watches[how], how, name);
			if (is_mapped(c, j))
				maps[i][j] = map_file(_metadata, name, SIZE);
		}
		for (j = 0; j < 2; j++)
			if (!is_open(c, j) && (j || c.user != CLOSED_LAST))
				close(fds[i][j]);
		for (j = 0; j < 2 && unlinks[c.unlinked][j]; j++)
			ASSERT_EQ(0, unlink(numbered(unlinks[c.unlinked][j],
						     i)));
	}
	for (i = 0; i < COMBINATIONS; i++) {
		struct combination c = combination(i);

		if (c.user == CLOSED_LAST) {
			EXPECT_TRUE(fd_has(_metadata, fds[i][0], 0, SIZE, i));
			close(fds[i][0]);
		}
		for (j = 0; j < 2; j++) {
			if (!is_open(c, j))
				continue;
			EXPECT_TRUE(fd_has(_metadata, fds[i][j], 0, SIZE, i));
			if (!leave_open)
				close(fds[i][j]);
		}
	}
	if (!leave_open)
		unmap_combinations(_metadata);
	/* They let go of the inodes when the file system does. */
	for (i = 0; i < WATCHES; i++) {
		ASSERT_LE(0, fcntl(watches[i], F_DUPFD_CLOEXEC, 1000));
		close(watches[i]);
	}
}

/* After the file system came back: what has a name has its contents. */
static void check_combinations(struct __test_metadata *_metadata)
{
	int i;

	for (i = 0; i < COMBINATIONS; i++) {
		struct combination c = combination(i);
		bool has_alias = c.unlinked == NEITHER ||
				 c.unlinked == OF_DONOR;
		bool has_donor = c.unlinked == NEITHER ||
				 c.unlinked == OF_ALIAS;

		EXPECT_EQ(has_alias ? 0 : -ENOENT,
			  try_open(numbered("alias", i), O_RDWR));
		EXPECT_EQ(has_donor ? 0 : -ENOENT,
			  try_open(numbered("donor", i), O_RDWR));
		if (has_alias)
			EXPECT_TRUE(file_has(_metadata, numbered("alias", i),
					     SIZE, i));
		if (has_donor)
			EXPECT_TRUE(file_has(_metadata, numbered("donor", i),
					     SIZE, i));
	}
}

TEST_F(fs, umount_combinations)
{
	make_combinations(_metadata, false);
	remount_fs(_metadata, self, variant);
	check_combinations(_metadata);
}

/* Unmounted for those who come, while others go on reading. */
TEST_F(fs, umount_lazy)
{
	int dev;

	make_combinations(_metadata, true);
	dev = xopen(_metadata, self->dev, O_RDONLY);
	ASSERT_EQ(0, chdir("/"));
	ASSERT_EQ(0, umount2(MNT, MNT_DETACH));
	drop_caches(_metadata, "3");
	unmap_combinations(_metadata);
	close_range(dev + 1, ~0U, 0);
	close_range(self->kmsg + 1, dev - 1, 0);
	/* Mounting waits for the last one who is about to go. */
	ASSERT_EQ(0, mount(self->dev, MNT, variant->type, 0, NULL));
	ASSERT_EQ(0, chdir(MNT));
	ASSERT_EQ(0, chdir(_metadata->name));
	close(dev);
	check_combinations(_metadata);
}

/* Read-only: refused as long as a file without a name is in use, not longer. */
TEST_F(fs, remount_ro_combinations)
{
	int i;

	make_combinations(_metadata, true);
	EXPECT_EQ(-EBUSY, remount_ro());
	EXPECT_EQ(KEPT, state_of(_metadata, "alias1"));
	close_range(self->kmsg + 1, ~0U, 0);
	EXPECT_EQ(-EBUSY, remount_ro());
	unmap_combinations(_metadata);
	EXPECT_EQ(0, remount_ro());
	EXPECT_EQ(KEPT, state_of(_metadata, "alias1"));
	EXPECT_EQ(0, release_file("alias1"));
	EXPECT_EQ(0, remount_rw());
	for (i = 0; i < COMBINATIONS; i++)
		if (combination(i).unlinked == NEITHER)
			EXPECT_EQ(0, release_file(numbered("donor", i)));
	check_combinations(_metadata);
}

/*
 * What holds an alias is a user of it, and so of a donor without a name: an
 * orphan, which keeps the file system writable.  Nothing is held by a mark that
 * can be evicted.  Marks end with the last name of a file, rules don't.
 */
TEST_F(fs, remount_ro_watched)
{
	enum watch how;
	int fd, watch;
	bool held;

	for (how = 0; how < WATCHES; how++) {
		/* Who looks at the alias... */
		held = how != EVICTABLE;
		watch = new_watch(_metadata, how);
		make_file(_metadata, "donor", SIZE, 1);
		clone_file(_metadata, "donor", "alias");
		fd = xopen(_metadata, "alias", O_RDONLY);
		ASSERT_EQ(0, alias_file("alias", "donor", 0));
		add_watch(_metadata, watch, how, "alias");
		ASSERT_EQ(0, unlink("donor"));
		close(fd);
		EXPECT_EQ(held ? ALIAS : ORDINARY, state_of(_metadata, "alias"))
			TH_LOG("watch %d", how);
		EXPECT_EQ(held ? -ETXTBSY : 0, try_open("alias", O_RDWR));
		EXPECT_EQ(held ? -EBUSY : 0, remount_ro())
			TH_LOG("watch %d", how);
		EXPECT_EQ(0, remount_rw());
		close(watch);
		EXPECT_EQ(ORDINARY, state_of(_metadata, "alias"));
		EXPECT_EQ(0, remount_ro());
		EXPECT_EQ(0, remount_rw());
		EXPECT_TRUE(file_has(_metadata, "alias", SIZE, 1));

		/* ... and who looks at the donor, which doesn't keep the alias. */
		held = how == LANDLOCK;
		watch = new_watch(_metadata, how);
		make_file(_metadata, "donor", SIZE, 1);
		clone_file(_metadata, "donor", "alias");
		ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
		add_watch(_metadata, watch, how, "donor");
		EXPECT_EQ(KEPT, state_of(_metadata, "alias"));
		ASSERT_EQ(0, unlink("donor"));
		EXPECT_EQ(ORDINARY, state_of(_metadata, "alias"));
		EXPECT_EQ(0, try_open("alias", O_RDWR));
		EXPECT_EQ(held ? -EBUSY : 0, remount_ro())
			TH_LOG("watch %d of the donor", how);
		EXPECT_EQ(0, remount_rw());
		close(watch);
		EXPECT_EQ(0, remount_ro());
		EXPECT_EQ(0, remount_rw());
	}
}

/* A user of a file: an open one, or a mapping of it. */
struct holder {
	int fd;			/* or -1 */
	unsigned char *map;
};

static struct holder hold(struct __test_metadata *_metadata, const char *name,
			  bool mapped)
{
	struct holder holder = { .fd = -1 };

	if (mapped)
		holder.map = map_file(_metadata, name, SIZE);
	else
		holder.fd = xopen(_metadata, name, O_RDONLY);
	return holder;
}

/* What is held is what it was, to the end. */
static void let_go(struct __test_metadata *_metadata, struct holder holder)
{
	if (holder.map) {
		EXPECT_TRUE(map_has(holder.map, SIZE, 1));
		ASSERT_EQ(0, munmap(holder.map, SIZE));
	} else {
		EXPECT_TRUE(fd_has(_metadata, holder.fd, 0, SIZE, 1));
		close(holder.fd);
	}
}

/* FS_IOC_MAPPING_INFO of a file that may have no name. */
static struct fs_mapping_info info_held(struct __test_metadata *_metadata,
					struct holder holder)
{
	char path[64];

	if (!holder.map)
		return info_fd(_metadata, holder.fd);
	snprintf(path, sizeof(path), "/proc/self/map_files/%lx-%lx",
		 (unsigned long)holder.map, (unsigned long)holder.map + SIZE);
	return info_file(_metadata, path);
}

/* What is known of one of two files that are used and unlinked. */
struct in_use {
	bool named, held;
	struct holder holder;
};

static bool is_there(const struct in_use *file)
{
	return file->named || file->held;
}

/* Alias and donor, in this order, are as they should be. */
static void check_in_use(struct __test_metadata *_metadata,
			 const struct in_use files[2], bool alias, bool kept)
{
	const unsigned int states[] = {
		!alias ? ORDINARY : kept ? KEPT : ALIAS,
		alias ? DONOR : ORDINARY,
	};
	struct fs_mapping_info info;
	int i;

	for (i = 0; i < 2; i++) {
		if (!is_there(&files[i]))
			continue;
		info = files[i].held ? info_held(_metadata, files[i].holder) :
		       info_file(_metadata, pair[i]);
		EXPECT_EQ(states[i], info.state)
			TH_LOG("%s", pair[i]);
		EXPECT_EQ(i && alias, info.nr_aliases);
		if (files[i].named)
			EXPECT_EQ(alias ? -ETXTBSY : 0,
				  try_open(pair[i], O_RDWR));
	}
}

/*
 * Two files are used, and they have names.  All of that ends, in the @order of
 * that number.
 */
static void end_in_order(struct __test_metadata *_metadata, unsigned int flags,
			 const bool mapped[2], int order)
{
	/* The last user of alias and donor, their last names. */
	int steps[] = { 0, 1, 2, 3 }, n, i, step;
	struct in_use files[ARRAY_SIZE(pair)];
	bool alias = true, kept = flags;
	int fd;

	make_file(_metadata, "donor", SIZE, 1);
	clone_file(_metadata, "donor", "alias");
	fd = xopen(_metadata, "alias", O_RDONLY);
	ASSERT_EQ(0, alias_file("alias", "donor", flags));
	for (i = 0; i < 2; i++)
		files[i] = (struct in_use) {
			true, true, hold(_metadata, pair[i], mapped[i])
		};
	close(fd);
	check_in_use(_metadata, files, alias, kept);

	for (n = 4; n; order /= n, n--) {
		i = order % n;
		step = steps[i];
		steps[i] = steps[n - 1];
		if (step < 2) {
			let_go(_metadata, files[step].holder);
			files[step].held = false;
		} else {
			ASSERT_EQ(0, unlink(pair[step - 2]));
			files[step - 2].named = false;
		}
		/* Unlinking takes effect when the file is no longer open. */
		kept = kept && is_there(&files[0]) && is_there(&files[1]);
		alias = alias && (kept || files[0].held);
		check_in_use(_metadata, files, alias, kept);
	}
}

/* Of a pair that both are in use, what is left is what it should be. */
TEST_F(fs, unlink_in_use)
{
	enum { ORDERS = 4 * 3 * 2 };
	int i, order;

	for (i = 0; i < 8; i++) {
		const bool mapped[] = { i & 1, i & 2 };
		unsigned int flags = i & 4 ? KEEP : 0;

		for (order = 0; order < ORDERS; order++) {
			end_in_order(_metadata, flags, mapped, order);
			ASSERT_FALSE(has_failed(_metadata)) {
				TH_LOG("case %d, order %d", i, order);
			}
		}
	}
}

/* Names that are in memory, wherever they are, don't keep what is released. */
TEST_F(fs, release_many_names)
{
	enum { NAMES = 20 };
	int i, path;

	make_file(_metadata, "donor", SIZE, 1);
	clone_file(_metadata, "donor", "alias");
	for (i = 0; i < NAMES; i++) {
		ASSERT_EQ(0, mkdir(numbered("dir", i), 0755));
		ASSERT_EQ(0, link("alias", numbered("dir0/../name", i)));
	}
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	drop_caches(_metadata, "2");
	for (i = 0; i < NAMES; i++)
		ino_of(_metadata, numbered("name", i));
	/* A user, though one who can't read. */
	path = xopen(_metadata, "name7", O_PATH);
	ASSERT_EQ(0, release_file("name3"));
	EXPECT_EQ(DONOR, state_of(_metadata, "donor"));
	for (i = 0; i < NAMES; i++)
		ino_of(_metadata, numbered("name", i));
	close(path);
	EXPECT_EQ(ORDINARY, state_of(_metadata, "donor"));
	EXPECT_EQ(0, try_open("name5", O_RDWR));
}

/* The inode of a donor that was evicted and read again is a new one. */
TEST_F(fs, donor_read_again)
{
	struct fs_mapping_info info;
	int i, gen, fd;

	make_file(_metadata, "donor", SIZE, 1);
	clone_file(_metadata, "donor", "alias");
	for (i = 0; i < 4; i++) {
		ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
		drop_caches(_metadata, "3");
		info = info_file(_metadata, "alias");
		EXPECT_EQ(KEPT, info.state);
		EXPECT_EQ(ino_of(_metadata, "donor"), info.donor_ino);
		fd = xopen(_metadata, "donor", O_RDONLY);
		ASSERT_EQ(0, ioctl(fd, FS_IOC_GETVERSION, &gen));
		EXPECT_EQ((__u32)gen, info.donor_gen);
		close(fd);
		ASSERT_EQ(0, release_file(i % 2 ? "alias" : "donor"));
		drop_caches(_metadata, "3");
		EXPECT_EQ(ORDINARY, state_of(_metadata, "donor"));
		EXPECT_TRUE(file_has(_metadata, "alias", SIZE, 1));
		EXPECT_TRUE(file_has(_metadata, "donor", SIZE, 1));
	}
}

/*
 * One life of an alias, of a kind that depends on @i, from ioctl to end.  Those
 * that cost a file its name are rarer: they take a new clone each.
 */
static void round_of(struct __test_metadata *_metadata, int i)
{
	const char *first = i % 32 < 16 ? "alias" : "donor";
	const char *second = i % 32 < 16 ? "donor" : "alias";
	int fd, donor, other, watch = -1;
	unsigned char *map;
	bool overlay = false;

	fd = xopen(_metadata, "alias", O_RDONLY);
	donor = xopen(_metadata, "donor", O_RDONLY);
	ASSERT_EQ(0, alias_fd(fd, donor, i % 4 ? KEEP : 0));
	/* It is one already, but this is known after all was allocated. */
	if (i % 8 == 4)
		ASSERT_EQ(0, alias_fd(fd, donor, KEEP));
	map = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, i % 2 ? fd : donor, 0);
	ASSERT_NE(MAP_FAILED, map);
	/* Reading from the disk takes longer than all of the rest. */
	if (i % 5 == 0)
		ASSERT_EQ(pattern(1, BLK), map[BLK]);
	if (i % 3) {
		close(fd);
		close(donor);
	}

	switch (i % 16) {
	case 1:
		/* In vain, both. */
		ASSERT_EQ(-EBUSY, alias_file("alias", "origin", KEEP));
		ASSERT_EQ(-EBADE, alias_file("origin", "other", KEEP));
		break;
	case 3:
		ASSERT_EQ(0, unlink(first));
		clone_file(_metadata, "origin", first);
		break;
	case 5:
		ASSERT_EQ(0, alias_file("third", second, KEEP));
		ASSERT_EQ(0, release_file("third"));
		break;
	case 7:
		clone_file(_metadata, "origin", "new");
		ASSERT_EQ(0, rename("new", first));
		break;
	case 9:
		/* What is still to be written is found by the second proof. */
		other = xopen(_metadata, "third", O_WRONLY);
		write_pattern(_metadata, other, 0, BLK, 2);
		close(other);
		ASSERT_EQ(-EBADE, alias_file("third", "origin", KEEP));
		clone_file(_metadata, "origin", "third");
		break;
	case 11:
		ASSERT_EQ(0, unlink(first));
		ASSERT_EQ(0, unlink(second));
		clone_file(_metadata, "origin", first);
		clone_file(_metadata, "origin", second);
		break;
	case 13:
		watch = new_watch(_metadata, INOTIFY);
		add_watch(_metadata, watch, INOTIFY, first);
		break;
	case 15:
		overlay = i % 32 == 15;
		break;
	}
	if (overlay) {
		ASSERT_EQ(0, mount("overlay", "m", "overlay", 0,
				   "lowerdir=.:../empty"));
		ASSERT_EQ(0, try_open("m/alias", O_RDONLY));
	}
	ASSERT_EQ(0, munmap(map, SIZE));
	if (i % 3 == 0) {
		close(fd);
		close(donor);
	}
	/* Without effect on what has replaced the files meanwhile. */
	ASSERT_EQ(0, release_file(i % 2 ? "alias" : "donor"));
	if (overlay) {
		ASSERT_EQ(ALIAS, state_of(_metadata, "alias"));
		ASSERT_EQ(0, umount("m"));
	}
	close(watch);
}

static const char * const slabs[] = {
	/* Where what relates an alias to its donor comes from, and a donor to all. */
	"kmalloc-cg-64", "kmalloc-cg-32", "xfs_inode", "dentry",
};

struct usage {
	long inodes;
	long objects[ARRAY_SIZE(slabs)];
	long cgroup;
};

/*
 * What is in use when all that nobody needs has been given back.  The caller's
 * own memory, and what its CPU holds in reserve, doesn't count: it has left the
 * cgroup.
 */
static struct usage usage(struct __test_metadata *_metadata)
{
	struct usage usage;
	char path[64];
	size_t i;

	drop_caches(_metadata, "3");
	/* Unlike memory.reclaim, this also returns the CPUs' reserves. */
	write_text(_metadata, cgroup_file("leak", "memory.high"), "0");
	/* Wait for what is freed in the background. */
	sleep(1);
	drop_caches(_metadata, "3");
	write_text(_metadata, cgroup_file("leak", "memory.high"), "0");
	sleep(1);
	usage.inodes = nr_inodes(_metadata);
	for (i = 0; i < ARRAY_SIZE(slabs); i++) {
		snprintf(path, sizeof(path), "/sys/kernel/slab/%s/shrink",
			 slabs[i]);
		write_text(_metadata, path, "1");
		snprintf(path, sizeof(path), "/sys/kernel/slab/%s/objects",
			 slabs[i]);
		usage.objects[i] = atol(read_text(_metadata, path));
	}
	usage.cgroup = atol(read_text(_metadata,
				      cgroup_file("leak", "memory.current")));
	write_text(_metadata, cgroup_file("leak", "memory.high"), "max");
	return usage;
}

/*
 * What is left of many lives must be less than if one in fifty left an inode, a
 * page, or what relates alias to donor.  A kernel with lockdep has, as a rule,
 * the other checks as well: there, a fortieth of the rounds has to do.
 */
TEST_F(fs, no_leak)
{
	const int rounds = access("/proc/lockdep", F_OK) ? 10000 : 250;
	struct usage before, after;
	size_t i;
	int n;

	make_cgroup(_metadata, "leak");
	ASSERT_EQ(0, mkdir("m", 0755));
	ASSERT_EQ(0, mkdir("../empty", 0755));
	make_file(_metadata, "origin", SIZE, 1);
	make_file(_metadata, "other", SIZE, 2);
	clone_file(_metadata, "origin", "alias");
	clone_file(_metadata, "origin", "donor");
	clone_file(_metadata, "origin", "third");
	/* What there is once for all is there after some rounds. */
	enter_cgroup(_metadata, "leak");
	for (n = 0; n < 100; n++)
		round_of(_metadata, n);
	enter_cgroup(_metadata, "");
	before = usage(_metadata);

	enter_cgroup(_metadata, "leak");
	for (n = 0; n < rounds; n++) {
		if (n % 1000 == 999)
			drop_caches(_metadata, "3");
		round_of(_metadata, n);
	}
	enter_cgroup(_metadata, "");
	after = usage(_metadata);

	TH_LOG("%d rounds, %ld -> %ld inodes, %ld -> %ld bytes", rounds,
	       before.inodes, after.inodes, before.cgroup, after.cgroup);
	EXPECT_GT(rounds / 50, after.inodes - before.inodes);
	for (i = 0; i < ARRAY_SIZE(slabs); i++) {
		EXPECT_GT(rounds / 50, after.objects[i] - before.objects[i]) {
			TH_LOG("%s", slabs[i]);
		}
	}
	EXPECT_GT(rounds / 50 * BLK, after.cgroup - before.cgroup);
	ASSERT_EQ(0, rmdir(cgroup_file("leak", "")));
}

TEST_HARNESS_MAIN
