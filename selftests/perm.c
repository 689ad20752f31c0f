// SPDX-License-Identifier: GPL-2.0
/* Who may alias and release files, and who is told what. */

#include <endian.h>
#include <linux/mount.h>

#include "common.h"

#ifndef MOUNT_ATTR_IDMAP
#define MOUNT_ATTR_IDMAP 0x00100000
#endif
#ifndef OPEN_TREE_CLONE
#define OPEN_TREE_CLONE 1
#endif
#ifndef MOVE_MOUNT_F_EMPTY_PATH
#define MOVE_MOUNT_F_EMPTY_PATH 4
#endif

/* donor_and_alias() for two owners. */
static void owned_pair(struct __test_metadata *_metadata, uid_t donor,
		       uid_t alias)
{
	donor_and_alias(_metadata);
	ASSERT_EQ(0, chown("donor", donor, donor));
	ASSERT_EQ(0, chown("alias", alias, alias));
}

/*
 * Open "alias" and "donor" as root, alias them as @uid with @caps, and return
 * the result; on success, the alias lives until the call returns.
 */
static int alias_opened_as(struct __test_metadata *_metadata, uid_t uid,
			   __u64 caps, unsigned int flags)
{
	int alias = xopen(_metadata, "alias", O_RDONLY);
	int donor = xopen(_metadata, "donor", O_RDONLY);
	pid_t pid = fork_as(_metadata, uid, caps);
	int err;

	if (!pid)
		child_exit(alias_fd(alias, donor, flags));
	err = child_result(_metadata, pid);
	close(alias);
	close(donor);
	return err;
}

/* Calls to be made with this capability and that, or without. */
enum call { MAKE, MAKE_KEPT, RELEASE, RELEASE_DONOR, SEE_DONOR };

/* Files that were opened by root; the state that a call makes or needs. */
static int make_call(enum call call, int alias, int donor)
{
	struct fs_mapping_info info;

	switch (call) {
	case MAKE:
		return alias_fd(alias, donor, 0);
	case MAKE_KEPT:
		return alias_fd(alias, donor, KEEP);
	case RELEASE:
		return release_fd(alias);
	case RELEASE_DONOR:
		return release_fd(donor);
	case SEE_DONOR:
		if (ioctl(alias, FS_IOC_MAPPING_INFO, &info))
			return -errno;
		return info.donor_ino ? 0 : -EPERM;
	}
	return -EINVAL;
}

static int set_effective(__u64 caps)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[2];

	if (syscall(__NR_capget, &header, data))
		return -errno;
	data[0].effective = caps;
	data[1].effective = caps >> 32;
	return syscall(__NR_capset, &header, data) ? -errno : 0;
}

#define ALL_CAPS (CAP(CAP_LAST_CAP + 1) - 1)

/*
 * Every capability alone, and all but one, beside those that each is tried with:
 * only with what is documented, the call works.
 */
static const struct by_cap {
	const char *name;
	enum call call;
	uid_t alias, donor, caller;
	__u64 base;		/* capabilities that are there at all times */
	__u64 enough;		/* each of these, added to them, is enough */
} by_caps[] = {
	{ "stranger", MAKE, ALICE, ALICE, BOB, 0, CAP(CAP_FOWNER) },
	{ "owner, keep", MAKE_KEPT, ALICE, ALICE, ALICE,
	  0, CAP(CAP_SYS_ADMIN) },
	{ "stranger with FOWNER, keep", MAKE_KEPT, ALICE, ALICE, BOB,
	  CAP(CAP_FOWNER), CAP(CAP_SYS_ADMIN) },
	{ "stranger with SYS_ADMIN, keep", MAKE_KEPT, ALICE, ALICE, BOB,
	  CAP(CAP_SYS_ADMIN), CAP(CAP_FOWNER) },
	{ "two owners", MAKE, ALICE, BOB, ALICE,
	  CAP(CAP_FOWNER), CAP(CAP_SYS_ADMIN) },
	{ "owner of the alias", MAKE, ALICE, BOB, ALICE,
	  CAP(CAP_SYS_ADMIN), CAP(CAP_FOWNER) },
	{ "owner of the donor", MAKE, ALICE, BOB, BOB,
	  CAP(CAP_SYS_ADMIN), CAP(CAP_FOWNER) },
	{ "release", RELEASE, ALICE, ALICE, BOB, 0, CAP(CAP_FOWNER) },
	{ "release a donor", RELEASE_DONOR, ALICE, ALICE, BOB,
	  0, CAP(CAP_FOWNER) },
	{ "owner of the alias, release the donor", RELEASE_DONOR, ALICE, BOB,
	  ALICE, 0, CAP(CAP_FOWNER) },
	/* Who may write the file, too. */
	{ "see the donor", SEE_DONOR, ALICE, ALICE, BOB,
	  0, CAP(CAP_FOWNER) | CAP(CAP_DAC_OVERRIDE) },
};

/* Tell in @denied and @allowed by which capabilities the call did what. */
static int try_caps(const struct by_cap *by, int alias, int donor,
		    __u64 *denied, __u64 *allowed)
{
	int cap, err;

	for (cap = 0; cap <= CAP_LAST_CAP; cap++) {
		err = set_effective(by->base | CAP(cap));
		if (err)
			return err;
		err = make_call(by->call, alias, donor);
		if (!err)
			*allowed |= CAP(cap);
		else if (err == -EPERM)
			*denied |= CAP(cap);
		else
			return err;
	}
	return 0;
}

TEST_F(fs, capabilities)
{
	struct { __u64 denied, allowed; } *result;
	struct snapshot before[2];
	const struct by_cap *by;
	int alias, donor, err;
	size_t i;
	pid_t pid;

	result = mmap(NULL, sizeof(*result), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, result);
	for (i = 0; i < ARRAY_SIZE(by_caps); i++) {
		by = &by_caps[i];
		owned_pair(_metadata, by->donor, by->alias);
		alias = xopen(_metadata, "alias", O_RDONLY);
		donor = xopen(_metadata, "donor", O_RDONLY);
		if (by->call >= RELEASE)
			ASSERT_EQ(0, alias_fd(alias, donor, KEEP));
		before[0] = take_snapshot(_metadata, "alias");
		before[1] = take_snapshot(_metadata, "donor");

		/* All that is not enough, together. */
		pid = fork_as(_metadata, by->caller, ALL_CAPS);
		if (!pid) {
			err = set_effective(by->base |
					    (ALL_CAPS & ~by->enough));
			child_exit(err ? -254 :
				   make_call(by->call, alias, donor));
		}
		EXPECT_EQ(-EPERM, child_result(_metadata, pid))
			TH_LOG("%s", by->name);
		EXPECT_TRUE(unchanged(_metadata, "alias", &before[0]));
		EXPECT_TRUE(unchanged(_metadata, "donor", &before[1]));

		memset(result, 0, sizeof(*result));
		pid = fork_as(_metadata, by->caller, ALL_CAPS);
		if (!pid)
			child_exit(try_caps(by, alias, donor, &result->denied,
					    &result->allowed));
		ASSERT_EQ(0, child_result(_metadata, pid));
		EXPECT_EQ(by->enough, result->allowed)
			TH_LOG("%s", by->name);
		EXPECT_EQ(ALL_CAPS & ~by->enough, result->denied)
			TH_LOG("%s", by->name);
		close(alias);
		close(donor);
		ASSERT_EQ(0, release_file("alias"));
	}
	ASSERT_EQ(0, munmap(result, sizeof(*result)));
}

/* A stranger is told the same, whichever of the files is the donor. */
TEST_F(fs, error_hides_donor)
{
	static const char * const names[] = { "donor", "other", "alias" };
	size_t i;

	owned_pair(_metadata, ALICE, ALICE);
	clone_file(_metadata, "donor", "other");
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	for (i = 0; i < ARRAY_SIZE(names); i++)
		EXPECT_EQ(-EPERM, alias_as(_metadata, BOB, 0, names[i],
					   "alias", 0));
	EXPECT_EQ(-EINVAL, alias_as(_metadata, ALICE, 0, "donor", "alias", 0));
	EXPECT_EQ(-EINVAL, alias_as(_metadata, ALICE, 0, "donor", "donor", 0));
}

TEST_F(fs, owner)
{
	owned_pair(_metadata, ALICE, ALICE);
	EXPECT_EQ(0, alias_as(_metadata, ALICE, 0, "alias", "donor", 0));
}

TEST_F(fs, stranger)
{
	owned_pair(_metadata, ALICE, ALICE);
	EXPECT_EQ(-EPERM, alias_as(_metadata, BOB, 0, "alias", "donor", 0));
	/* That root opened the files, or that anybody may write, is no help. */
	EXPECT_EQ(-EPERM, alias_opened_as(_metadata, BOB, 0, 0));
	ASSERT_EQ(0, chmod("alias", 0666));
	ASSERT_EQ(0, chmod("donor", 0666));
	EXPECT_EQ(-EPERM, alias_as(_metadata, BOB, 0, "alias", "donor", 0));
	EXPECT_EQ(ORDINARY, state_of(_metadata, "alias"));
}

TEST_F(fs, owner_of_one)
{
	owned_pair(_metadata, ALICE, BOB);
	EXPECT_EQ(-EPERM, alias_as(_metadata, ALICE, 0, "alias", "donor", 0));
	EXPECT_EQ(-EPERM, alias_as(_metadata, BOB, 0, "alias", "donor", 0));
	EXPECT_EQ(ORDINARY, state_of(_metadata, "donor"));
}

TEST_F(fs, cap_fowner)
{
	owned_pair(_metadata, ALICE, ALICE);
	EXPECT_EQ(0, alias_as(_metadata, BOB, CAP(CAP_FOWNER),
			      "alias", "donor", 0));
	/* CAP_SYS_ADMIN is something else. */
	EXPECT_EQ(-EPERM, alias_as(_metadata, BOB, CAP(CAP_SYS_ADMIN),
				   "alias", "donor", 0));
}

/* A donor's owner could watch what is read of another's file. */
TEST_F(fs, different_owners)
{
	owned_pair(_metadata, ALICE, BOB);
	EXPECT_EQ(-EPERM, alias_as(_metadata, BOB, CAP(CAP_FOWNER),
				   "alias", "donor", 0));
	EXPECT_EQ(-EPERM, alias_as(_metadata, BOB, CAP(CAP_SYS_ADMIN),
				   "alias", "donor", 0));
	EXPECT_EQ(0, alias_as(_metadata, BOB,
			      CAP(CAP_FOWNER) | CAP(CAP_SYS_ADMIN),
			      "alias", "donor", 0));
}

TEST_F(fs, keep)
{
	int fd;

	owned_pair(_metadata, ALICE, ALICE);
	EXPECT_EQ(-EPERM, alias_as(_metadata, ALICE, 0,
				   "alias", "donor", KEEP));
	EXPECT_EQ(-EPERM, alias_as(_metadata, BOB, CAP(CAP_FOWNER),
				   "alias", "donor", KEEP));
	EXPECT_EQ(ORDINARY, state_of(_metadata, "alias"));

	/* Nor can it be added to what the owner made. */
	fd = xopen(_metadata, "alias", O_RDONLY);
	EXPECT_EQ(0, alias_as(_metadata, ALICE, 0, "alias", "donor", 0));
	EXPECT_EQ(-EPERM, alias_as(_metadata, ALICE, 0,
				   "alias", "donor", KEEP));
	EXPECT_EQ(ALIAS, info_fd(_metadata, fd).state);

	EXPECT_EQ(0, alias_as(_metadata, ALICE, CAP(CAP_SYS_ADMIN),
			      "alias", "donor", KEEP));
	EXPECT_EQ(KEPT, info_fd(_metadata, fd).state);
}

/* Not even the owner, if he can't read them. */
TEST_F(fs, not_readable)
{
	owned_pair(_metadata, ALICE, ALICE);
	ASSERT_EQ(0, chmod("donor", 0200));
	EXPECT_EQ(-EACCES, alias_as(_metadata, ALICE, 0, "alias", "donor", 0));
	ASSERT_EQ(0, chmod("donor", 0400));
	EXPECT_EQ(0, alias_as(_metadata, ALICE, 0, "alias", "donor", 0));
}

/* What the parts of a profile of AppArmor begin with; see policy_unpack.c there. */
enum { AA_U32 = 2, AA_NAME = 4, AA_STRING = 5, AA_STRUCT = 7, AA_STRUCTEND = 8 };

static char *pack_u32(char *at, __u32 number)
{
	number = htole32(number);
	*at++ = AA_U32;
	return mempcpy(at, &number, sizeof(number));
}

static char *pack_text(char *at, char what, const char *text)
{
	__u16 size = htole16(strlen(text) + 1);

	*at++ = what;
	at = mempcpy(at, &size, sizeof(size));
	return mempcpy(at, text, strlen(text) + 1);
}

/* No file can be used; or any, as breaking the rules is only logged. */
#define CONFINED "mapping_alias_confined"
#define COMPLAINING "mapping_alias_complaining"

/* Load a profile without rules, packed as apparmor_parser(8) does it. */
static void load_profile(struct __test_metadata *_metadata, const char *name,
			 bool complain)
{
	int fd = xopen(_metadata, "security/apparmor/.replace", O_WRONLY), i;
	char profile[256], *at = profile;

	at = pack_text(at, AA_NAME, "version");
	at = pack_u32(at, 5);
	at = pack_text(at, AA_NAME, "profile");
	*at++ = AA_STRUCT;
	at = pack_text(at, AA_STRING, name);
	at = pack_text(at, AA_NAME, "flags");
	*at++ = AA_STRUCT;
	at = pack_u32(at, 0);
	at = pack_u32(at, complain);
	at = pack_u32(at, 0);
	*at++ = AA_STRUCTEND;
	/* Capabilities */
	for (i = 0; i < 4; i++)
		at = pack_u32(at, 0);
	*at++ = AA_STRUCTEND;
	/* The kernel takes it in one piece. */
	ASSERT_EQ(at - profile, write(fd, profile, at - profile)) {
		TH_LOG("load a profile: %s", strerror(errno));
	}
	close(fd);
}

static int change_profile(const char *name)
{
	FILE *file = fopen("/proc/self/attr/apparmor/current", "w");

	if (!file)
		return -errno;
	fprintf(file, "changeprofile %s", name);
	return fclose(file) ? -errno : 0;
}

/*
 * Alias files as somebody who may not use any.  Those that were opened without
 * a profile may be used nevertheless, the others (@alias, @donor) may not.
 */
static int alias_confined(struct __test_metadata *_metadata, bool alias,
			  bool donor)
{
	int alias_opened = xopen(_metadata, "alias", O_RDONLY);
	int donor_opened = xopen(_metadata, "donor", O_RDONLY);
	pid_t pid = fork();
	int err;

	ASSERT_LE(0, pid);
	if (!pid) {
		err = change_profile(COMPLAINING);
		if (alias)
			alias_opened = open("alias", O_RDONLY);
		if (donor)
			donor_opened = open("donor", O_RDONLY);
		if (err || alias_opened < 0 || donor_opened < 0 ||
		    change_profile(CONFINED))
			_exit(255);
		child_exit(alias_fd(alias_opened, donor_opened, 0));
	}
	close(alias_opened);
	close(donor_opened);
	err = child_result(_metadata, pid);
	check_untouched(_metadata, "alias", "donor");
	return err;
}

/* Nor somebody whom a security module forbids to read one of them. */
TEST_F(fs, security_module)
{
	donor_and_alias(_metadata);
	ASSERT_EQ(0, mkdir("security", 0755));
	if (mount("securityfs", "security", "securityfs", 0, NULL) ||
	    access("security/apparmor/.replace", W_OK))
		SKIP(return, "no AppArmor; lsm=landlock,apparmor turns it on");
	load_profile(_metadata, CONFINED, false);
	load_profile(_metadata, COMPLAINING, true);

	EXPECT_EQ(0, alias_confined(_metadata, false, false));
	EXPECT_EQ(-EACCES, alias_confined(_metadata, true, false));
	EXPECT_EQ(-EACCES, alias_confined(_metadata, false, true));
	EXPECT_EQ(-EACCES, alias_confined(_metadata, true, true));

	write_text(_metadata, "security/apparmor/.remove", CONFINED);
	write_text(_metadata, "security/apparmor/.remove", COMPLAINING);
	ASSERT_EQ(0, umount("security"));
}

/* Donor of the donor argument: who owns an alias does not own its donor. */
TEST_F(fs, donor_behind_alias)
{
	owned_pair(_metadata, BOB, ALICE);
	clone_file(_metadata, "donor", "second");
	ASSERT_EQ(0, chown("second", ALICE, ALICE));
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	EXPECT_EQ(-EPERM, alias_as(_metadata, ALICE, 0, "second", "alias", 0));
	EXPECT_EQ(1, info_file(_metadata, "donor").nr_aliases);
}

TEST_F(fs, release)
{
	owned_pair(_metadata, ALICE, BOB);
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	EXPECT_EQ(-EPERM, release_as(_metadata, 1003, 0, "alias"));
	EXPECT_EQ(-EPERM, release_as(_metadata, 1003, 0, "donor"));
	EXPECT_EQ(KEPT, state_of(_metadata, "alias"));

	/* The owner of either may. */
	EXPECT_EQ(0, release_as(_metadata, ALICE, 0, "alias"));
	EXPECT_EQ(ORDINARY, state_of(_metadata, "alias"));
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	EXPECT_EQ(0, release_as(_metadata, BOB, 0, "alias"));
	EXPECT_EQ(ORDINARY, state_of(_metadata, "alias"));
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	EXPECT_EQ(0, release_as(_metadata, ALICE, 0, "donor"));
	EXPECT_EQ(ORDINARY, state_of(_metadata, "alias"));
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	EXPECT_EQ(0, release_as(_metadata, 1003, CAP(CAP_FOWNER), "alias"));
	EXPECT_EQ(ORDINARY, state_of(_metadata, "alias"));
}

/* A donor is released by its owner, not by that of one of its aliases. */
TEST_F(fs, release_donor)
{
	owned_pair(_metadata, ALICE, BOB);
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	EXPECT_EQ(-EPERM, release_as(_metadata, BOB, 0, "donor"));
	EXPECT_EQ(KEPT, state_of(_metadata, "alias"));
}

TEST_F(fs, release_ordinary)
{
	owned_pair(_metadata, ALICE, ALICE);
	EXPECT_EQ(0, release_as(_metadata, ALICE, 0, "alias"));
	EXPECT_EQ(-EPERM, release_as(_metadata, BOB, 0, "alias"));
}

/* Is @uid told the number of @name's donor? */
static bool donor_shown(struct __test_metadata *_metadata, uid_t uid,
			__u64 caps, const char *name, const char *donor)
{
	ino_t ino = ino_of(_metadata, donor);
	pid_t pid = fork_as(_metadata, uid, caps);
	struct fs_mapping_info info;
	int result;

	if (!pid) {
		info = info_file(_metadata, name);
		/* 1: shown, 2: hidden; all else is seen by everybody. */
		child_exit(info.state != KEPT || info.nr_aliases ? -3 :
			   info.donor_ino == ino ? -1 :
			   info.donor_ino || info.donor_gen ? -3 : -2);
	}
	result = child_result(_metadata, pid);
	EXPECT_NE(-3, result);
	return result == -1;
}

TEST_F(fs, info)
{
	owned_pair(_metadata, ALICE, ALICE);
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	EXPECT_TRUE(donor_shown(_metadata, ALICE, 0, "alias", "donor"));
	EXPECT_FALSE(donor_shown(_metadata, BOB, 0, "alias", "donor"));
	EXPECT_TRUE(donor_shown(_metadata, BOB, CAP(CAP_FOWNER), "alias", "donor"));

	/* Who may write it could find out anyway. */
	ASSERT_EQ(0, chmod("alias", 0666));
	EXPECT_TRUE(donor_shown(_metadata, BOB, 0, "alias", "donor"));
}

/* Root has just that block of @name in memory. */
static void cache_one_block(struct __test_metadata *_metadata, const char *name,
			    int block)
{
	int fd = xopen(_metadata, name, O_RDONLY);

	ASSERT_EQ(0, posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
	ASSERT_EQ(0, posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM));
	EXPECT_TRUE(fd_has(_metadata, fd, block * BLK, BLK, 1));
	ASSERT_EQ(1, cached_pages(_metadata, fd));
	close(fd);
}

/*
 * Is @uid told which pages of @name are in memory, and can he have them paged
 * out?  mincore(2) says to who may not know that all are in memory.
 */
static bool residency_shown(struct __test_metadata *_metadata, uid_t uid,
			    const char *name)
{
	enum { BLOCK = 5, SHOWN = -1, HIDDEN = -2, WRONG = -3 };
	unsigned char vec[PAIR_BLOCKS], *map;
	int fd, i, result, resident = 0;
	long cached;
	pid_t pid;

	cache_one_block(_metadata, name, BLOCK);
	pid = fork_as(_metadata, uid, 0);
	if (!pid) {
		fd = xopen(_metadata, name, O_RDONLY);
		map = map_file(_metadata, name, PAIR_SIZE);
		ASSERT_EQ(0, mincore(map, PAIR_SIZE, vec));
		for (i = 0; i < PAIR_BLOCKS; i++)
			resident += vec[i] & 1;
		/* Without cachestat(2), it is mincore(2) alone that could tell. */
		if (linux_since(6, 5))
			cached = try_cachestat(fd);
		else
			cached = resident == PAIR_BLOCKS ? -EPERM : resident;
		/* Only what is mapped is paged out. */
		ASSERT_EQ(pattern(1, BLOCK * BLK), map[BLOCK * BLK]);
		ASSERT_EQ(0, madvise(map, PAIR_SIZE, MADV_PAGEOUT));
		child_exit(cached == 1 && resident == 1 && (vec[BLOCK] & 1) ?
			   SHOWN :
			   cached == -EPERM && resident == PAIR_BLOCKS ?
			   HIDDEN : WRONG);
	}
	result = child_result(_metadata, pid);
	EXPECT_NE(WRONG, result);
	EXPECT_EQ(result == SHOWN ? 0 : 1, cached_pages_of(_metadata, name));
	return result == SHOWN;
}

/* Who owns the file that is asked about may know, whichever has the pages. */
TEST_F(fs, residency)
{
	/* What was read on another CPU can't be paged out at once. */
	stay_on_first_cpu(_metadata);
	owned_pair(_metadata, BOB, ALICE);
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	EXPECT_TRUE(residency_shown(_metadata, ALICE, "alias"));
	EXPECT_FALSE(residency_shown(_metadata, BOB, "alias"));
	EXPECT_FALSE(residency_shown(_metadata, ALICE, "donor"));
	EXPECT_TRUE(residency_shown(_metadata, BOB, "donor"));

	/* Who may write a file may know as well. */
	ASSERT_EQ(0, chmod("alias", 0666));
	EXPECT_TRUE(residency_shown(_metadata, BOB, "alias"));
	EXPECT_FALSE(residency_shown(_metadata, ALICE, "donor"));

	ASSERT_EQ(0, chmod("alias", 0644));
	EXPECT_FALSE(residency_shown(_metadata, BOB, "alias"));
	ASSERT_EQ(0, chown("alias", BOB, BOB));
	EXPECT_TRUE(residency_shown(_metadata, BOB, "alias"));
	EXPECT_FALSE(residency_shown(_metadata, ALICE, "alias"));
	EXPECT_EQ(KEPT, state_of(_metadata, "alias"));
}

/*
 * A user namespace whose users [0, @count) are @first and so on outside; by a
 * process that lives until @pipe is closed.  Return its pid.
 */
static pid_t make_userns(struct __test_metadata *_metadata, uid_t first,
			 int count, int pipe[2])
{
	static const char * const maps[] = { "uid_map", "gid_map" };
	char path[64], map[64], c;
	int ready[2];
	size_t i;
	pid_t pid;

	ASSERT_EQ(0, pipe2(pipe, O_CLOEXEC));
	ASSERT_EQ(0, pipe2(ready, O_CLOEXEC));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		close(pipe[1]);
		if (unshare(CLONE_NEWUSER) || write(ready[1], "", 1) != 1)
			_exit(1);
		_exit(read(pipe[0], &c, 1) != 0);
	}
	close(pipe[0]);
	close(ready[1]);
	ASSERT_EQ(1, read(ready[0], &c, 1));
	close(ready[0]);
	snprintf(map, sizeof(map), "0 %u %d", first, count);
	for (i = 0; i < ARRAY_SIZE(maps); i++) {
		snprintf(path, sizeof(path), "/proc/%d/%s", pid, maps[i]);
		write_text(_metadata, path, map);
	}
	return pid;
}

static void end_userns(struct __test_metadata *_metadata, pid_t pid,
		       int pipe[2])
{
	close(pipe[1]);
	ASSERT_EQ(0, child_result(_metadata, pid));
}

static int open_userns(struct __test_metadata *_metadata, pid_t pid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/ns/user", pid);
	return xopen(_metadata, path, O_RDONLY);
}

/* make_call() by root of that user namespace. */
static int call_in_userns(struct __test_metadata *_metadata, int ns,
			  enum call call)
{
	pid_t pid = fork();

	ASSERT_LE(0, pid);
	if (!pid) {
		if (setns(ns, CLONE_NEWUSER) ||
		    syscall(__NR_setresgid, 0, 0, 0) ||
		    syscall(__NR_setresuid, 0, 0, 0))
			_exit(255);
		child_exit(make_call(call,
				     xopen(_metadata, "alias", O_RDONLY),
				     xopen(_metadata, "donor", O_RDONLY)));
	}
	return child_result(_metadata, pid);
}

/* Root of a user namespace has power over its users' files only. */
TEST_F(fs, user_namespace)
{
	int pipe[2], ns;
	pid_t pid;

	owned_pair(_metadata, 5001, 5001);
	pid = make_userns(_metadata, 5000, 2, pipe);
	ns = open_userns(_metadata, pid);
	EXPECT_EQ(0, call_in_userns(_metadata, ns, MAKE));

	/* It holds the kernel's memory, of which a namespace has none. */
	EXPECT_EQ(-EPERM, call_in_userns(_metadata, ns, MAKE_KEPT));
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	EXPECT_EQ(0, call_in_userns(_metadata, ns, SEE_DONOR));
	EXPECT_EQ(0, call_in_userns(_metadata, ns, RELEASE));
	EXPECT_EQ(ORDINARY, state_of(_metadata, "alias"));
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	EXPECT_EQ(0, call_in_userns(_metadata, ns, RELEASE_DONOR));
	EXPECT_EQ(ORDINARY, state_of(_metadata, "alias"));
	ASSERT_EQ(0, chown("alias", 5000, 5000));
	EXPECT_EQ(-EPERM, call_in_userns(_metadata, ns, MAKE));

	/* An owner that the namespace does not know. */
	ASSERT_EQ(0, chown("alias", ALICE, ALICE));
	ASSERT_EQ(0, chown("donor", ALICE, ALICE));
	EXPECT_EQ(-EPERM, call_in_userns(_metadata, ns, MAKE));
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	EXPECT_EQ(-EPERM, call_in_userns(_metadata, ns, SEE_DONOR));
	EXPECT_EQ(-EPERM, call_in_userns(_metadata, ns, RELEASE));
	EXPECT_EQ(-EPERM, call_in_userns(_metadata, ns, RELEASE_DONOR));
	EXPECT_EQ(KEPT, state_of(_metadata, "alias"));
	close(ns);
	end_userns(_metadata, pid, pipe);
}

/* On an idmapped mount, the owner is who the mount says. */
TEST_F(fs, idmapped_mount)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_IDMAP };
	int pipe[2], tree;
	pid_t pid;

	owned_pair(_metadata, ALICE, ALICE);
	ASSERT_EQ(0, mkdir("files", 0755));
	ASSERT_EQ(0, mkdir("mapped", 0755));
	ASSERT_EQ(0, rename("alias", "files/alias"));
	ASSERT_EQ(0, rename("donor", "files/donor"));

	/* ALICE on the disk is BOB on this mount. */
	pid = make_userns(_metadata, BOB - ALICE, 65536, pipe);
	attr.userns_fd = open_userns(_metadata, pid);
	tree = syscall(__NR_open_tree, AT_FDCWD, "files",
		       OPEN_TREE_CLONE | O_CLOEXEC);
	ASSERT_LE(0, tree);
	ASSERT_EQ(0, syscall(__NR_mount_setattr, tree, "", AT_EMPTY_PATH,
			     &attr, sizeof(attr))) {
		TH_LOG("mount_setattr: %s", strerror(errno));
	}
	ASSERT_EQ(0, syscall(__NR_move_mount, tree, "", AT_FDCWD, "mapped",
			     MOVE_MOUNT_F_EMPTY_PATH));
	close(tree);

	EXPECT_EQ(-EPERM, alias_as(_metadata, ALICE, 0,
				   "mapped/alias", "mapped/donor", 0));
	EXPECT_EQ(0, alias_as(_metadata, BOB, 0,
			      "mapped/alias", "mapped/donor", 0));
	EXPECT_EQ(-EPERM, alias_as(_metadata, BOB, 0,
				   "files/alias", "files/donor", 0));
	EXPECT_EQ(-EPERM, alias_as(_metadata, BOB, 0,
				   "mapped/alias", "files/donor", 0));
	EXPECT_EQ(-EPERM, alias_as(_metadata, BOB, 0,
				   "files/alias", "mapped/donor", 0));
	EXPECT_EQ(0, alias_as(_metadata, ALICE, 0,
			      "files/alias", "files/donor", 0));

	/* One owner by what the mounts show, two on the disk. */
	clone_file(_metadata, "files/donor", "files/bobs");
	ASSERT_EQ(0, chown("files/bobs", BOB, BOB));
	EXPECT_EQ(-EPERM, alias_as(_metadata, BOB, 0,
				   "mapped/alias", "files/bobs", 0));
	EXPECT_EQ(0, alias_as(_metadata, BOB, CAP(CAP_SYS_ADMIN),
			      "mapped/alias", "files/bobs", 0));

	ASSERT_EQ(0, alias_file("files/alias", "files/donor", KEEP));
	EXPECT_FALSE(donor_shown(_metadata, ALICE, 0, "mapped/alias",
				 "mapped/donor"));
	EXPECT_TRUE(donor_shown(_metadata, BOB, 0, "mapped/alias",
				"mapped/donor"));
	EXPECT_FALSE(donor_shown(_metadata, BOB, 0, "files/alias",
				 "files/donor"));
	EXPECT_EQ(-EPERM, release_as(_metadata, ALICE, 0, "mapped/alias"));
	EXPECT_EQ(0, release_as(_metadata, BOB, 0, "mapped/alias"));
	EXPECT_EQ(ORDINARY, state_of(_metadata, "files/alias"));

	close(attr.userns_fd);
	ASSERT_EQ(0, umount("mapped"));
	end_userns(_metadata, pid, pipe);
}

/* Nothing on the disk changes. */
TEST_F(fs, read_only_mount)
{
	owned_pair(_metadata, ALICE, ALICE);
	ASSERT_EQ(0, remount_ro());
	EXPECT_EQ(0, alias_as(_metadata, ALICE, 0, "alias", "donor", 0));
	EXPECT_EQ(ORDINARY, state_of(_metadata, "alias"));
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	EXPECT_EQ(KEPT, state_of(_metadata, "alias"));
	EXPECT_TRUE(donor_shown(_metadata, ALICE, 0, "alias", "donor"));
	EXPECT_TRUE(file_has(_metadata, "alias", PAIR_SIZE, 1));
	EXPECT_EQ(0, release_file("alias"));
	EXPECT_EQ(ORDINARY, state_of(_metadata, "alias"));
}

/* chattr +i on either is neither needed nor an obstacle. */
TEST_F(fs, immutable)
{
	static const char * const names[] = { "alias", "donor" };
	int flags, fd;
	size_t i;

	donor_and_alias(_metadata);
	for (i = 0; i < ARRAY_SIZE(names); i++) {
		fd = xopen(_metadata, names[i], O_RDONLY);
		flags = FS_IMMUTABLE_FL;
		ASSERT_EQ(0, ioctl(fd, FS_IOC_SETFLAGS, &flags));
		close(fd);
	}
	EXPECT_EQ(0, alias_file("alias", "donor", KEEP));
	EXPECT_EQ(KEPT, state_of(_metadata, "alias"));
	EXPECT_EQ(0, release_file("alias"));
	EXPECT_EQ(ORDINARY, state_of(_metadata, "alias"));
}

TEST_HARNESS_MAIN
