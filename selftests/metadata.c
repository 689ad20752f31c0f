// SPDX-License-Identifier: GPL-2.0
/* An alias shares its data's memory, and nothing else of a file. */

#include <limits.h>
#include <poll.h>
#include <stdalign.h>
#include <linux/futex.h>
#include <linux/xattr.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/quota.h>
#include <sys/xattr.h>

#include "common.h"

/* From linux/posix_acl_xattr.h, which can't be used with sys/types.h. */
struct acl_entry {
	__u16 tag;
	__u16 perm;
	__u32 id;
};

struct acl {
	__u32 version;
	struct acl_entry entries[5];
};

/* user::rw-, user:BOB:rwx, group::r--, mask::rwx, other::r-- */
static const struct acl acl_for_bob = {
	.version = 2,
	.entries = {
		{ 0x01, 6, -1 }, { 0x02, 7, BOB }, { 0x04, 4, -1 },
		{ 0x10, 7, -1 }, { 0x20, 4, -1 },
	},
};

/*
 * Changes of a file's metadata: by a descriptor that is open for reading, or by
 * the file's name.  What has to be there beforehand is made by @prepare.
 */
struct change {
	const char *name;
	void (*prepare)(struct __test_metadata *_metadata, const char *name);
	void (*make)(struct __test_metadata *_metadata, int fd,
		     const char *name);
	bool (*made)(struct __test_metadata *_metadata, const char *name);
};

/* The second name of a file, or the one that it gets. */
static const char *second_name(const char *name)
{
	static char buf[64];

	snprintf(buf, sizeof(buf), "%s.second", name);
	return buf;
}

static bool exists(const char *name)
{
	return !access(name, F_OK);
}

static struct stat stat_of(struct __test_metadata *_metadata, const char *name)
{
	struct stat st;

	ASSERT_EQ(0, stat(name, &st));
	return st;
}

static void do_chmod(struct __test_metadata *_metadata, int fd,
		     const char *name)
{
	(void)name;
	ASSERT_EQ(0, fchmod(fd, 0750));
}

static bool has_chmod(struct __test_metadata *_metadata, const char *name)
{
	return (stat_of(_metadata, name).st_mode & 07777) == 0750;
}

static void do_chown(struct __test_metadata *_metadata, int fd,
		     const char *name)
{
	(void)name;
	ASSERT_EQ(0, fchown(fd, ALICE, BOB));
}

static bool has_chown(struct __test_metadata *_metadata, const char *name)
{
	struct stat st = stat_of(_metadata, name);

	return st.st_uid == ALICE && st.st_gid == BOB;
}

static void do_utimens(struct __test_metadata *_metadata, int fd,
		       const char *name)
{
	static const struct timespec times[] = { { 1000, 1 }, { 2000, 2 } };

	(void)name;
	ASSERT_EQ(0, futimens(fd, times));
}

static bool has_utimens(struct __test_metadata *_metadata, const char *name)
{
	struct stat st = stat_of(_metadata, name);

	return st.st_atim.tv_sec == 1000 && st.st_atim.tv_nsec == 1 &&
	       st.st_mtim.tv_sec == 2000 && st.st_mtim.tv_nsec == 2;
}

static void do_xattr(struct __test_metadata *_metadata, int fd,
		     const char *name)
{
	(void)name;
	ASSERT_EQ(0, fsetxattr(fd, "user.alias", "value", 5, 0));
}

static bool has_xattr(struct __test_metadata *_metadata, const char *name)
{
	char value[16];

	(void)_metadata;
	return getxattr(name, "user.alias", value, sizeof(value)) == 5 &&
	       !memcmp(value, "value", 5);
}

static void add_xattr(struct __test_metadata *_metadata, const char *name)
{
	ASSERT_EQ(0, setxattr(name, "user.alias", "value", 5, 0));
}

static void do_removexattr(struct __test_metadata *_metadata, int fd,
			   const char *name)
{
	(void)name;
	ASSERT_EQ(0, fremovexattr(fd, "user.alias"));
}

static bool has_no_xattr(struct __test_metadata *_metadata, const char *name)
{
	return !has_xattr(_metadata, name);
}

static void do_acl(struct __test_metadata *_metadata, int fd, const char *name)
{
	(void)name;
	ASSERT_EQ(0, fsetxattr(fd, XATTR_NAME_POSIX_ACL_ACCESS, &acl_for_bob,
			       sizeof(acl_for_bob), 0));
}

static bool has_acl(struct __test_metadata *_metadata, const char *name)
{
	struct acl acl;

	(void)_metadata;
	return getxattr(name, XATTR_NAME_POSIX_ACL_ACCESS, &acl,
			sizeof(acl)) == sizeof(acl) &&
	       !memcmp(&acl, &acl_for_bob, sizeof(acl));
}

static void set_flags(struct __test_metadata *_metadata, int fd, int flags)
{
	ASSERT_EQ(0, ioctl(fd, FS_IOC_SETFLAGS, &flags)) {
		TH_LOG("FS_IOC_SETFLAGS: %s", strerror(errno));
	}
}

static void set_flags_of(struct __test_metadata *_metadata, const char *name,
			 int flags)
{
	int fd = xopen(_metadata, name, O_RDONLY);

	set_flags(_metadata, fd, flags);
	close(fd);
}

static int flags_of(struct __test_metadata *_metadata, const char *name)
{
	int fd = xopen(_metadata, name, O_RDONLY);
	int flags;

	ASSERT_EQ(0, ioctl(fd, FS_IOC_GETFLAGS, &flags));
	close(fd);
	return flags;
}

static void do_immutable(struct __test_metadata *_metadata, int fd,
			 const char *name)
{
	(void)name;
	set_flags(_metadata, fd, FS_IMMUTABLE_FL);
}

static bool has_immutable(struct __test_metadata *_metadata, const char *name)
{
	return flags_of(_metadata, name) & FS_IMMUTABLE_FL;
}

static void add_immutable(struct __test_metadata *_metadata, const char *name)
{
	set_flags_of(_metadata, name, FS_IMMUTABLE_FL);
}

static void do_append(struct __test_metadata *_metadata, int fd,
		      const char *name)
{
	(void)name;
	set_flags(_metadata, fd, FS_APPEND_FL);
}

static bool has_append(struct __test_metadata *_metadata, const char *name)
{
	return flags_of(_metadata, name) & FS_APPEND_FL;
}

static void add_append(struct __test_metadata *_metadata, const char *name)
{
	set_flags_of(_metadata, name, FS_APPEND_FL);
}

static void do_clear_flags(struct __test_metadata *_metadata, int fd,
			   const char *name)
{
	(void)name;
	set_flags(_metadata, fd, 0);
}

static bool has_no_flags(struct __test_metadata *_metadata, const char *name)
{
	return !(flags_of(_metadata, name) & (FS_IMMUTABLE_FL | FS_APPEND_FL));
}

static void do_project(struct __test_metadata *_metadata, int fd,
		       const char *name)
{
	struct fsxattr attr;

	(void)name;
	ASSERT_EQ(0, ioctl(fd, FS_IOC_FSGETXATTR, &attr));
	attr.fsx_projid = 4711;
	ASSERT_EQ(0, ioctl(fd, FS_IOC_FSSETXATTR, &attr));
}

static bool has_project(struct __test_metadata *_metadata, const char *name)
{
	int fd = xopen(_metadata, name, O_RDONLY);
	struct fsxattr attr;

	ASSERT_EQ(0, ioctl(fd, FS_IOC_FSGETXATTR, &attr));
	close(fd);
	return attr.fsx_projid == 4711;
}

static void do_link(struct __test_metadata *_metadata, int fd, const char *name)
{
	(void)fd;
	ASSERT_EQ(0, link(name, second_name(name)));
}

static bool has_link(struct __test_metadata *_metadata, const char *name)
{
	return exists(second_name(name)) &&
	       stat_of(_metadata, name).st_nlink == 2 &&
	       ino_of(_metadata, second_name(name)) == ino_of(_metadata, name);
}

static void add_link(struct __test_metadata *_metadata, const char *name)
{
	ASSERT_EQ(0, link(name, second_name(name)));
}

static void do_rename(struct __test_metadata *_metadata, int fd,
		      const char *name)
{
	(void)fd;
	ASSERT_EQ(0, rename(name, second_name(name)));
}

static bool has_rename(struct __test_metadata *_metadata, const char *name)
{
	(void)_metadata;
	return exists(second_name(name)) && !exists(name);
}

static void do_unlink(struct __test_metadata *_metadata, int fd,
		      const char *name)
{
	(void)fd;
	ASSERT_EQ(0, unlink(name));
}

static bool has_unlink(struct __test_metadata *_metadata, const char *name)
{
	return !exists(name) &&
	       stat_of(_metadata, second_name(name)).st_nlink == 1;
}

static bool has_no_name(struct __test_metadata *_metadata, const char *name)
{
	(void)_metadata;
	return !exists(name) && !exists(second_name(name));
}

static const struct change changes[] = {
	{ "chmod", NULL, do_chmod, has_chmod },
	{ "chown", NULL, do_chown, has_chown },
	{ "utimens", NULL, do_utimens, has_utimens },
	{ "xattr", NULL, do_xattr, has_xattr },
	{ "removexattr", add_xattr, do_removexattr, has_no_xattr },
	{ "acl", NULL, do_acl, has_acl },
	{ "immutable", NULL, do_immutable, has_immutable },
	{ "immutable-off", add_immutable, do_clear_flags, has_no_flags },
	{ "append", NULL, do_append, has_append },
	{ "append-off", add_append, do_clear_flags, has_no_flags },
	{ "project", NULL, do_project, has_project },
	{ "link", NULL, do_link, has_link },
	{ "rename", NULL, do_rename, has_rename },
	{ "unlink", add_link, do_unlink, has_unlink },
	{ "unlink-last", NULL, do_unlink, has_no_name },
};

/* All that stat() tells of the metadata, access time and blocks left out. */
static struct stat metadata_of(struct __test_metadata *_metadata,
			       const char *name)
{
	struct stat st = stat_of(_metadata, name);

	memset(&st.st_atim, 0, sizeof(st.st_atim));
	st.st_blocks = 0;
	return st;
}

/* btrfs has no projects, and doesn't sync what has no name any more. */
static bool promised(const struct change *change, const char *type)
{
	return !strcmp(type, "xfs") ||
	       (change->make != do_project && change->made != has_no_name);
}

/*
 * Change a file's metadata, fsync() it, crash: what was changed must be there
 * afterwards, and nothing of it in the file that it shares its cache with.
 * @donor: the donor is changed, and not its alias
 * @before: the file is opened before it becomes an alias or a donor
 *
 * Every change is followed by a crash of its own, for what is synced for one
 * file takes along what was logged before for others.
 */
static void check_fsync(struct __test_metadata *_metadata,
			struct _test_data_fs *self,
			const struct _fixture_variant_fs *variant, bool donor,
			bool before)
{
	const struct change *change;
	const char *name, *left;
	struct stat st, st2;
	char other[64];
	size_t i;
	int fd;

	for (i = 0; i < ARRAY_SIZE(changes); i++) {
		name = changes[i].name;
		if (!promised(&changes[i], variant->type))
			continue;
		make_file(_metadata, name, PAIR_SIZE, 1);
		snprintf(other, sizeof(other), "%s.other", name);
		clone_file(_metadata, name, other);
		if (changes[i].prepare) {
			changes[i].prepare(_metadata, name);
			changes[i].prepare(_metadata, other);
		}
	}
	sync();

	for (i = 0; i < ARRAY_SIZE(changes); i++) {
		change = &changes[i];
		name = change->name;
		if (!promised(change, variant->type))
			continue;
		snprintf(other, sizeof(other), "%s.other", name);
		fd = xopen(_metadata, name, O_RDONLY);
		ASSERT_EQ(0, donor ? alias_file(other, name, KEEP) :
			  alias_file(name, other, KEEP));
		if (!before) {
			close(fd);
			fd = xopen(_metadata, name, O_RDONLY);
		}
		EXPECT_FALSE(change->made(_metadata, name));
		st = metadata_of(_metadata, other);
		change->make(_metadata, fd, name);
		EXPECT_TRUE(change->made(_metadata, name))
			TH_LOG("%s was not made", name);
		ASSERT_EQ(0, fsync(fd));
		EXPECT_FALSE(change->made(_metadata, other))
			TH_LOG("%s in the other file", name);
		st2 = metadata_of(_metadata, other);
		EXPECT_EQ(0, memcmp(&st, &st2, sizeof(st)));

		crash_fs(_metadata, self, variant);
		close(fd);
		remount_fs(_metadata, self, variant);
		EXPECT_TRUE(change->made(_metadata, name))
			TH_LOG("%s is lost", name);
		EXPECT_FALSE(change->made(_metadata, other))
			TH_LOG("%s in the other file", name);
		st2 = metadata_of(_metadata, other);
		EXPECT_EQ(0, memcmp(&st, &st2, sizeof(st)));
		left = exists(name) ? name : second_name(name);
		if (exists(left))
			EXPECT_TRUE(file_has(_metadata, left, PAIR_SIZE, 1));
		EXPECT_TRUE(file_has(_metadata, other, PAIR_SIZE, 1));
	}
}

TEST_F(fs, fsync)
{
	check_fsync(_metadata, self, variant, false, false);
}

TEST_F(fs, fsync_opened_before)
{
	check_fsync(_metadata, self, variant, false, true);
}

TEST_F(fs, fsync_donor)
{
	check_fsync(_metadata, self, variant, true, false);
}

TEST_F(fs, fsync_donor_opened_before)
{
	check_fsync(_metadata, self, variant, true, true);
}

/* With lazytime, fsync() also writes a time that nothing else did. */
TEST_F(fs, fsync_lazytime)
{
	static const struct timespec old[] = { { 1000, 0 }, { 2000, 0 } };
	struct stat st;
	int fd;

	ASSERT_EQ(0, mount(NULL, MNT, NULL, MS_REMOUNT | MS_LAZYTIME, NULL));
	donor_and_alias(_metadata);
	ASSERT_EQ(0, utimensat(AT_FDCWD, "alias", old, 0));
	sync();
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	fd = xopen(_metadata, "alias", O_RDONLY);
	EXPECT_TRUE(fd_has(_metadata, fd, 0, PAIR_SIZE, 1));
	ASSERT_EQ(0, fsync(fd));
	crash_fs(_metadata, self, variant);
	close(fd);
	remount_fs(_metadata, self, variant);
	ASSERT_EQ(0, stat("alias", &st));
	EXPECT_LT(1000, st.st_atim.tv_sec);
}

TEST_F(fs, stat)
{
	struct stat alias[2], donor[2];

	donor_and_alias(_metadata);
	ASSERT_EQ(0, chown("alias", ALICE, BOB));
	ASSERT_EQ(0, chmod("alias", 0604));
	ASSERT_EQ(0, link("alias", "name"));
	ASSERT_EQ(0, stat("alias", &alias[0]));
	ASSERT_EQ(0, stat("donor", &donor[0]));
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	ASSERT_EQ(0, stat("alias", &alias[1]));
	ASSERT_EQ(0, stat("donor", &donor[1]));
	EXPECT_EQ(0, memcmp(&alias[0], &alias[1], sizeof(alias[0])));
	EXPECT_EQ(0, memcmp(&donor[0], &donor[1], sizeof(donor[0])));
}

/* Reading sets the time of the file that was read. */
TEST_F(fs, atime)
{
	static const struct timespec old[] = { { 1000, 0 }, { 2000, 0 } };
	struct stat alias, donor;
	unsigned char *map;

	donor_and_alias(_metadata);
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	ASSERT_EQ(0, utimensat(AT_FDCWD, "alias", old, 0));
	ASSERT_EQ(0, utimensat(AT_FDCWD, "donor", old, 0));
	EXPECT_TRUE(file_has(_metadata, "alias", PAIR_SIZE, 1));
	ASSERT_EQ(0, stat("alias", &alias));
	ASSERT_EQ(0, stat("donor", &donor));
	EXPECT_LT(1000, alias.st_atim.tv_sec);
	EXPECT_EQ(1000, donor.st_atim.tv_sec);

	ASSERT_EQ(0, utimensat(AT_FDCWD, "alias", old, 0));
	map = map_file(_metadata, "alias", PAIR_SIZE);
	EXPECT_TRUE(map_has(map, PAIR_SIZE, 1));
	ASSERT_EQ(0, munmap(map, PAIR_SIZE));
	ASSERT_EQ(0, stat("alias", &alias));
	ASSERT_EQ(0, stat("donor", &donor));
	EXPECT_LT(1000, alias.st_atim.tv_sec);
	EXPECT_EQ(1000, donor.st_atim.tv_sec);
	EXPECT_EQ(2000, alias.st_mtim.tv_sec);
}

/*
 * See that /proc/PID/maps and map_files call what is mapped at @map @name, and
 * that what map_files has is this file in this @state.
 */
static void check_mapping(struct __test_metadata *_metadata, const char *type,
			  const unsigned char *map, const char *name,
			  unsigned int state)
{
	char line[512], path[256], link[256], range[64], expected[256];
	struct stat st = stat_of(_metadata, name), mapped;
	unsigned int major, minor;
	unsigned long start, end;
	bool found = false;
	ssize_t n;
	ino_t ino;
	FILE *f;
	int fd;

	ASSERT_NE(NULL, realpath(name, expected));
	f = fopen("/proc/self/maps", "re");
	ASSERT_NE(NULL, f);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx %*s %*s %x:%x %lu %255s", &start,
			   &end, &major, &minor, &ino, path) != 6 ||
		    start != (unsigned long)map)
			continue;
		found = true;
		EXPECT_EQ(st.st_ino, ino);
		/* stat() shows that of a subvolume on btrfs. */
		if (!strcmp(type, "xfs"))
			EXPECT_EQ(st.st_dev, makedev(major, minor));
		EXPECT_STREQ(expected, path);
		break;
	}
	fclose(f);
	EXPECT_TRUE(found);

	snprintf(range, sizeof(range), "/proc/self/map_files/%lx-%lx",
		 (unsigned long)map, (unsigned long)map + PAIR_SIZE);
	n = readlink(range, link, sizeof(link) - 1);
	ASSERT_LT(0, n);
	link[n] = '\0';
	EXPECT_STREQ(expected, link);

	fd = xopen(_metadata, range, O_RDONLY);
	ASSERT_EQ(0, fstat(fd, &mapped));
	EXPECT_EQ(st.st_ino, mapped.st_ino);
	EXPECT_EQ(state, info_fd(_metadata, fd).state);
	EXPECT_TRUE(fd_has(_metadata, fd, 0, PAIR_SIZE, 1));
	close(fd);
}

/* /proc/PID/maps and map_files name the file that was mapped. */
TEST_F(fs, proc_maps)
{
	unsigned char *old, *alias, *donor;

	donor_and_alias(_metadata);
	old = map_file(_metadata, "alias", PAIR_SIZE);
	check_mapping(_metadata, variant->type, old, "alias", ORDINARY);
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	alias = map_file(_metadata, "alias", PAIR_SIZE);
	donor = map_file(_metadata, "donor", PAIR_SIZE);
	EXPECT_EQ(frame_of(_metadata, donor), frame_of(_metadata, alias));
	check_mapping(_metadata, variant->type, old, "alias", KEPT);
	check_mapping(_metadata, variant->type, alias, "alias", KEPT);
	check_mapping(_metadata, variant->type, donor, "donor", DONOR);
	ASSERT_EQ(0, munmap(old, PAIR_SIZE));
	ASSERT_EQ(0, munmap(alias, PAIR_SIZE));
	ASSERT_EQ(0, munmap(donor, PAIR_SIZE));
}

/* Events of all that was done to @watch's file since the last call. */
static __u32 events_of(struct __test_metadata *_metadata, int notify, int watch)
{
	alignas(8) char buf[4096];
	struct inotify_event *event;
	__u32 events = 0;
	ssize_t n, i;

	while ((n = read(notify, buf, sizeof(buf))) > 0) {
		for (i = 0; i < n; i += sizeof(*event) + event->len) {
			event = (void *)(buf + i);
			if (event->wd == watch)
				events |= event->mask;
		}
	}
	ASSERT_EQ(EAGAIN, errno);
	return events;
}

/* Does /proc/self/fdinfo say that @notify watches @name? */
static bool shown_as_watched(struct __test_metadata *_metadata, int notify,
			     const char *name)
{
	char path[64], line[256];
	unsigned long ino;
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", notify);
	f = fopen(path, "re");
	ASSERT_NE(NULL, f);
	while (fgets(line, sizeof(line), f))
		found |= sscanf(line, "inotify wd:%*x ino:%lx", &ino) == 1 &&
			 ino == ino_of(_metadata, name);
	fclose(f);
	return found;
}

TEST_F(fs, inotify)
{
	const __u32 mask = IN_OPEN | IN_ACCESS | IN_CLOSE_NOWRITE | IN_ATTRIB |
			   IN_MODIFY;
	const __u32 expected = mask & ~IN_MODIFY;
	int notify, wd;

	donor_and_alias(_metadata);
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	notify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	ASSERT_LE(0, notify);
	wd = inotify_add_watch(notify, "alias", mask);
	ASSERT_LE(0, wd);
	EXPECT_TRUE(shown_as_watched(_metadata, notify, "alias"));
	EXPECT_FALSE(shown_as_watched(_metadata, notify, "donor"));
	EXPECT_TRUE(file_has(_metadata, "alias", PAIR_SIZE, 1));
	ASSERT_EQ(0, chmod("alias", 0600));
	EXPECT_EQ(expected, events_of(_metadata, notify, wd));
	EXPECT_TRUE(file_has(_metadata, "donor", PAIR_SIZE, 1));
	EXPECT_EQ(0, events_of(_metadata, notify, wd));

	ASSERT_EQ(0, inotify_rm_watch(notify, wd));
	wd = inotify_add_watch(notify, "donor", mask);
	ASSERT_LE(0, wd);
	EXPECT_TRUE(file_has(_metadata, "alias", PAIR_SIZE, 1));
	EXPECT_EQ(0, events_of(_metadata, notify, wd));
	EXPECT_TRUE(file_has(_metadata, "donor", PAIR_SIZE, 1));
	EXPECT_EQ(expected & ~IN_ATTRIB, events_of(_metadata, notify, wd));
}

/* What @uid has on the file system: bytes */
static __u64 charged_to(struct __test_metadata *_metadata, const char *dev,
			uid_t uid)
{
	struct dqblk quota = { };

	ASSERT_TRUE(!quotactl(QCMD(Q_GETQUOTA, USRQUOTA), dev, uid,
			      (void *)&quota) || errno == ENOENT) {
		TH_LOG("quotactl: %s", strerror(errno));
	}
	return quota.dqb_curspace;
}

/* Who pays for the space remains who paid, until the file is gone. */
TEST_F(fs, quota)
{
	const uid_t owner = 4001, other = 4002;
	int fd, i;

	if (strcmp(variant->type, "xfs"))
		SKIP(return, "only XFS has quotas of users");
	donor_and_alias(_metadata);
	ASSERT_EQ(0, chown("donor", owner, owner));
	ASSERT_EQ(0, chown("alias", other, other));
	remount_fs_with(_metadata, self, variant, "usrquota");
	EXPECT_EQ(PAIR_SIZE, charged_to(_metadata, self->dev, owner));
	EXPECT_EQ(PAIR_SIZE, charged_to(_metadata, self->dev, other));

	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	fd = xopen(_metadata, "alias", O_RDONLY);
	EXPECT_TRUE(fd_has(_metadata, fd, 0, PAIR_SIZE, 1));
	EXPECT_EQ(PAIR_SIZE, charged_to(_metadata, self->dev, owner));
	EXPECT_EQ(PAIR_SIZE, charged_to(_metadata, self->dev, other));
	ASSERT_EQ(0, unlink("donor"));
	sync();
	EXPECT_EQ(PAIR_SIZE, charged_to(_metadata, self->dev, owner));
	EXPECT_TRUE(fd_has(_metadata, fd, 0, PAIR_SIZE, 1));
	close(fd);
	/* It is a worker that deletes the donor. */
	for (i = 0; i < 1000 && charged_to(_metadata, self->dev, owner); i++)
		usleep(10000);
	EXPECT_EQ(0, charged_to(_metadata, self->dev, owner));
	EXPECT_EQ(PAIR_SIZE, charged_to(_metadata, self->dev, other));
	EXPECT_TRUE(file_has(_metadata, "alias", PAIR_SIZE, 1));
}

TEST_F(fs, write_hint)
{
	__u64 hint = RWH_WRITE_LIFE_SHORT;
	int alias, donor;

	donor_and_alias(_metadata);
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	alias = xopen(_metadata, "alias", O_RDONLY);
	donor = xopen(_metadata, "donor", O_RDONLY);
	ASSERT_EQ(0, fcntl(alias, F_SET_RW_HINT, &hint));
	hint = 99;
	ASSERT_EQ(0, fcntl(alias, F_GET_RW_HINT, &hint));
	EXPECT_EQ(RWH_WRITE_LIFE_SHORT, hint);
	ASSERT_EQ(0, fcntl(donor, F_GET_RW_HINT, &hint));
	EXPECT_EQ(RWH_WRITE_LIFE_NOT_SET, hint);
}

TEST_F(fs, file_locks)
{
	struct flock lock = { .l_type = F_RDLCK, .l_whence = SEEK_SET };
	int alias, donor, second;

	donor_and_alias(_metadata);
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	alias = xopen(_metadata, "alias", O_RDONLY);
	second = xopen(_metadata, "alias", O_RDONLY);
	donor = xopen(_metadata, "donor", O_RDONLY);

	EXPECT_EQ(0, flock(alias, LOCK_EX | LOCK_NB));
	EXPECT_EQ(-1, flock(second, LOCK_EX | LOCK_NB));
	EXPECT_EQ(0, flock(donor, LOCK_EX | LOCK_NB));

	ASSERT_EQ(0, fcntl(alias, F_OFD_SETLK, &lock));
	lock.l_type = F_WRLCK;
	ASSERT_EQ(0, fcntl(donor, F_OFD_GETLK, &lock));
	EXPECT_EQ(F_UNLCK, lock.l_type);
}

/* A write lease, for an @fd that is the only one of its file: 0 or an error. */
static int lease_for_writing(int fd)
{
	return fcntl(fd, F_SETLEASE, F_WRLCK) ? -errno : 0;
}

TEST_F(fs, leases)
{
	int alias, donor, third;

	donor_and_alias(_metadata);
	clone_file(_metadata, "donor", "third");
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	alias = xopen(_metadata, "alias", O_RDONLY);
	donor = xopen(_metadata, "donor", O_RDONLY);
	third = xopen(_metadata, "third", O_RDONLY);

	/* A write lease is for who could be the one to write. */
	EXPECT_EQ(0, lease_for_writing(third));
	EXPECT_EQ(-EAGAIN, lease_for_writing(alias));
	EXPECT_EQ(-EAGAIN, lease_for_writing(donor));

	ASSERT_EQ(0, fcntl(alias, F_SETLEASE, F_RDLCK));
	EXPECT_EQ(F_RDLCK, fcntl(alias, F_GETLEASE));
	EXPECT_EQ(F_UNLCK, fcntl(donor, F_GETLEASE));

	/* A read lease is broken by writers, and none of them gets in. */
	EXPECT_EQ(-ETXTBSY, try_open("alias", O_RDWR | O_NONBLOCK));
	ASSERT_EQ(0, fcntl(alias, F_SETLEASE, F_UNLCK));

	close(alias);
	EXPECT_EQ(0, release_file("alias"));
	alias = xopen(_metadata, "alias", O_RDONLY);
	EXPECT_EQ(0, lease_for_writing(alias));
	EXPECT_EQ(0, lease_for_writing(donor));
}

/* Who asks for an immutable file is told that first. */
TEST_F(fs, immutable)
{
	static const struct {
		const char *name;
		int err;	/* of opening for writing, otherwise */
	} files[] = {
		{ "alias", -ETXTBSY }, { "donor", -ETXTBSY }, { "third", 0 },
	};
	size_t i;

	donor_and_alias(_metadata);
	clone_file(_metadata, "donor", "third");
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	for (i = 0; i < ARRAY_SIZE(files); i++) {
		set_flags_of(_metadata, files[i].name, FS_IMMUTABLE_FL);
		EXPECT_EQ(-EPERM, try_open(files[i].name, O_RDWR));
		set_flags_of(_metadata, files[i].name, 0);
		EXPECT_EQ(files[i].err, try_open(files[i].name, O_RDWR));
	}
}

/* The futex in the files' mappings that a test is about. */
#define FUTEX_OFFSET (5 * BLK + 64)

/* Wake those who wait in @map.  Return how many that were. */
static long wake(const unsigned char *map)
{
	return syscall(SYS_futex, map + FUTEX_OFFSET, FUTEX_WAKE, INT_MAX, NULL,
		       NULL, 0);
}

/* Fork a child that waits in @map until it is woken. */
static pid_t start_waiter(struct __test_metadata *_metadata,
			  const unsigned char *map)
{
	const __u32 *futex = (const void *)(map + FUTEX_OFFSET);
	pid_t pid = fork();
	char path[64];

	ASSERT_LE(0, pid);
	if (!pid)
		_exit(syscall(SYS_futex, futex, FUTEX_WAIT, *futex, NULL, NULL,
			      0));
	/* Its number is the first thing said of a system call that sleeps. */
	snprintf(path, sizeof(path), "/proc/%d/syscall", pid);
	while (atol(read_text(_metadata, path)) != SYS_futex)
		usleep(10000);
	return pid;
}

/*
 * A shared futex belongs to the page: alias and donor have the same one, and a
 * mapping that the alias had before has another one.
 */
TEST_F(fs, futex)
{
	static const char * const names[] = { "alias", "donor", "third" };
	/* Who wakes those who wait in maps[i]; the last one is from before. */
	static const int waker[] = { 1, 0, 2, 3 };
	unsigned char *maps[4];
	pid_t pid;
	int i, j;

	donor_and_alias(_metadata);
	clone_file(_metadata, "donor", "third");
	maps[3] = map_file(_metadata, "alias", PAIR_SIZE);
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	for (i = 0; i < 3; i++)
		maps[i] = map_file(_metadata, names[i], PAIR_SIZE);

	for (i = 0; i < 4; i++) {
		pid = start_waiter(_metadata, maps[i]);
		for (j = 0; j < 4; j++)
			if (j != i && j != waker[i])
				EXPECT_EQ(0, wake(maps[j]));
		ASSERT_EQ(1, wake(maps[waker[i]]));
		EXPECT_EQ(0, child_result(_metadata, pid));
	}
	for (i = 0; i < 4; i++)
		ASSERT_EQ(0, munmap(maps[i], PAIR_SIZE));
}

/* fsync() and friends work on a file opened at any time. */
TEST_F(fs, sync_calls)
{
	int fds[2], i;

	donor_and_alias(_metadata);
	fds[0] = xopen(_metadata, "alias", O_RDONLY);
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	fds[1] = xopen(_metadata, "alias", O_RDONLY);
	for (i = 0; i < 2; i++) {
		EXPECT_EQ(0, fsync(fds[i]));
		EXPECT_EQ(0, fdatasync(fds[i]));
		EXPECT_EQ(0, syncfs(fds[i]));
		EXPECT_EQ(0, sync_file_range(fds[i], 0, 0,
					     SYNC_FILE_RANGE_WRITE |
					     SYNC_FILE_RANGE_WAIT_AFTER));
	}
}

TEST_HARNESS_MAIN
