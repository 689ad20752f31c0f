// SPDX-License-Identifier: GPL-2.0
/*
 * Calls that cross each other or the files' users.  A kernel with lockdep says
 * most here, and its log is looked at after each test.
 */

#include <pthread.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <sys/resource.h>

#include "common.h"

#define ROUNDS 100

/* Aliases that end at once, and by how many threads. */
#define MANY_ALIASES 1024
#define ENDERS 2

struct call {
	pthread_barrier_t *barrier;
	const char *name;
	const char *donor;
	unsigned int flags;
	int err;
	pthread_t thread;
};

static void *make_call(void *arg)
{
	struct call *call = arg;

	pthread_barrier_wait(call->barrier);
	call->err = alias_file(call->name, call->donor, call->flags);
	return NULL;
}

/* Make @n calls at the same time. */
static void cross(struct __test_metadata *_metadata, struct call *calls, int n)
{
	pthread_barrier_t barrier;
	int i;

	ASSERT_EQ(0, pthread_barrier_init(&barrier, NULL, n));
	for (i = 0; i < n; i++) {
		calls[i].barrier = &barrier;
		ASSERT_EQ(0, pthread_create(&calls[i].thread, NULL, make_call,
					    &calls[i]));
	}
	for (i = 0; i < n; i++)
		ASSERT_EQ(0, pthread_join(calls[i].thread, NULL));
	ASSERT_EQ(0, pthread_barrier_destroy(&barrier));
}

/* Two files, each to be the other's alias: one of them becomes it. */
TEST_F(fs, crossing)
{
	struct call calls[] = {
		{ .name = "alias", .donor = "donor", .flags = KEEP },
		{ .name = "donor", .donor = "alias", .flags = KEEP },
	};
	unsigned int states[2];
	int i, winner;

	donor_and_alias(_metadata);
	for (i = 0; i < ROUNDS; i++) {
		cross(_metadata, calls, 2);
		ASSERT_EQ(1, (calls[0].err == 0) + (calls[1].err == 0));
		winner = calls[0].err ? 1 : 0;
		/* The other came late, or saw a file that is just changing. */
		ASSERT_TRUE(calls[!winner].err == -EINVAL ||
			    calls[!winner].err == -EBUSY) {
			TH_LOG("%s", strerror(-calls[!winner].err));
		}
		states[0] = state_of(_metadata, "alias");
		states[1] = state_of(_metadata, "donor");
		ASSERT_EQ(KEPT, states[winner]);
		ASSERT_EQ(DONOR, states[!winner]);
		ASSERT_EQ(0, release_file("alias"));
		ASSERT_EQ(ORDINARY, state_of(_metadata, "alias"));
		ASSERT_EQ(ORDINARY, state_of(_metadata, "donor"));
	}
}

/* Three files in a ring: whatever comes out of it, it is no ring and no chain. */
TEST_F(fs, ring)
{
	static const char * const names[] = { "alias", "donor", "third" };
	struct call calls[] = {
		{ .name = "alias", .donor = "donor", .flags = KEEP },
		{ .name = "donor", .donor = "third", .flags = KEEP },
		{ .name = "third", .donor = "alias", .flags = KEEP },
	};
	int i, j, k, aliases, donors, works;
	struct fs_mapping_info info;

	donor_and_alias(_metadata);
	clone_file(_metadata, "donor", "third");
	for (i = 0; i < ROUNDS; i++) {
		cross(_metadata, calls, 3);
		aliases = 0;
		donors = 0;
		works = 0;
		for (j = 0; j < 3; j++) {
			works += !calls[j].err;
			info = info_file(_metadata, names[j]);
			ASSERT_NE(ALIAS | DONOR, info.state & (ALIAS | DONOR));
			donors += info.nr_aliases;
			if (!(info.state & ALIAS))
				continue;
			aliases++;
			for (k = 0; k < 3; k++)
				if (ino_of(_metadata, names[k]) ==
				    info.donor_ino)
					break;
			ASSERT_GT(3, k);
			ASSERT_EQ(DONOR, state_of(_metadata, names[k]));
		}
		ASSERT_LE(1, aliases);
		ASSERT_EQ(works, aliases);
		ASSERT_EQ(donors, aliases);
		for (j = 0; j < 3; j++)
			ASSERT_EQ(0, release_file(names[j]));
		for (j = 0; j < 3; j++)
			ASSERT_EQ(ORDINARY, state_of(_metadata, names[j]));
	}
}

/* The same call from all sides is one alias, and all succeed. */
TEST_F(fs, same_call)
{
	struct call calls[] = {
		{ .name = "alias", .donor = "donor", .flags = KEEP },
		{ .name = "alias", .donor = "donor", .flags = 0 },
		{ .name = "alias", .donor = "donor", .flags = KEEP },
	};
	int i, j;

	donor_and_alias(_metadata);
	for (i = 0; i < ROUNDS; i++) {
		cross(_metadata, calls, 3);
		for (j = 0; j < 3; j++) {
			ASSERT_EQ(0, calls[j].err) {
				TH_LOG("%s", strerror(-calls[j].err));
			}
		}
		ASSERT_EQ(KEPT, state_of(_metadata, "alias"));
		ASSERT_EQ(1, info_file(_metadata, "donor").nr_aliases);
		ASSERT_EQ(0, release_file("alias"));
		ASSERT_EQ(ORDINARY, state_of(_metadata, "donor"));
		ASSERT_EQ(0, try_open("alias", O_RDWR));
		ASSERT_EQ(0, try_open("donor", O_RDWR));
	}
}

/* Two donors want the same file. */
TEST_F(fs, two_donors)
{
	struct call calls[] = {
		{ .name = "alias", .donor = "donor", .flags = KEEP },
		{ .name = "alias", .donor = "third", .flags = KEEP },
	};
	int i, winner;

	donor_and_alias(_metadata);
	clone_file(_metadata, "donor", "third");
	for (i = 0; i < ROUNDS; i++) {
		cross(_metadata, calls, 2);
		winner = calls[0].err ? 1 : 0;
		ASSERT_EQ(0, calls[winner].err);
		ASSERT_EQ(-EBUSY, calls[!winner].err);
		ASSERT_EQ(ino_of(_metadata, calls[winner].donor),
			  info_file(_metadata, "alias").donor_ino);
		ASSERT_EQ(0, release_file("alias"));
		ASSERT_EQ(0, try_open("donor", O_RDWR));
		ASSERT_EQ(0, try_open("third", O_RDWR));
	}
}

static const char same_block[BLK] = "the same in each block";

/* Make @name of equal blocks, owned by ALICE. */
static void make_equal_blocks(struct __test_metadata *_metadata,
			      const char *name)
{
	int fd = xopen(_metadata, name, O_WRONLY | O_CREAT);
	int i;

	for (i = 0; i < PAIR_BLOCKS; i++)
		ASSERT_EQ(BLK, write(fd, same_block, BLK));
	ASSERT_EQ(0, fchown(fd, ALICE, ALICE));
	ASSERT_EQ(0, fsync(fd));
	close(fd);
}

/*
 * FIDEDUPERANGE locks two inodes in full, and it is refused so late that all
 * locks were taken.  If two inodes named the same lock, it would be out of
 * balance, and what comes next on either file would hang or warn.
 */
TEST_F(fs, dedupe_locks_both)
{
	int alias, donor, i, j, fd, others = 0;
	unsigned char *map;
	pid_t pid;

	make_equal_blocks(_metadata, "donor");
	clone_file(_metadata, "donor", "alias");
	ASSERT_EQ(0, chown("alias", ALICE, ALICE));
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));

	pid = fork_as(_metadata, ALICE, 0);
	if (!pid) {
		alias = xopen(_metadata, "alias", O_RDONLY);
		donor = xopen(_metadata, "donor", O_RDONLY);
		for (i = 0; i < PAIR_BLOCKS; i += 3) {
			for (j = 0; j < PAIR_BLOCKS; j += 5) {
				others += dedupe(donor, i * BLK, alias, j * BLK,
						 BLK) != -ETXTBSY;
				others += dedupe(alias, i * BLK, donor, j * BLK,
						 BLK) != -ETXTBSY;
			}
		}
		child_exit(-others);
	}
	ASSERT_EQ(0, child_result(_metadata, pid));

	/* Faults take the lock shared, all of these take it exclusive. */
	map = map_file(_metadata, "alias", BLK);
	EXPECT_EQ(0, memcmp(map, same_block, BLK));
	ASSERT_EQ(0, munmap(map, BLK));
	clone_file(_metadata, "donor", "third");
	EXPECT_EQ(0, alias_file("third", "alias", KEEP));
	ASSERT_EQ(0, release_file("donor"));
	for (i = 0; i < 2; i++) {
		fd = xopen(_metadata, i ? "alias" : "donor", O_RDWR);
		ASSERT_EQ(0, ftruncate(fd, BLK));
		ASSERT_EQ(BLK, pwrite(fd, same_block, BLK, 0));
		map = mmap(NULL, BLK, PROT_READ | PROT_WRITE, MAP_SHARED,
			   fd, 0);
		ASSERT_NE(MAP_FAILED, map);
		map[0] = 'T';
		ASSERT_EQ(0, munmap(map, BLK));
		ASSERT_EQ(0, fsync(fd));
		close(fd);
	}
}

/* A call that is made by a thread of its own while something else happens. */
struct meanwhile {
	long (*call)(int from, int to);
	int from, to;
	__s64 delay;		/* microseconds, before the call */
	long result;
	pthread_t thread;
};

static void *make_meanwhile(void *arg)
{
	struct meanwhile *meanwhile = arg;

	if (meanwhile->delay)
		usleep(meanwhile->delay);
	meanwhile->result = meanwhile->call(meanwhile->from, meanwhile->to);
	return NULL;
}

/* Make a call; how many microseconds does it take? */
static __s64 time_call(struct meanwhile *meanwhile)
{
	__s64 began = microseconds();

	make_meanwhile(meanwhile);
	return microseconds() - began;
}

/* Make a call, and go on after so many microseconds. */
static void begin(struct __test_metadata *_metadata,
		  struct meanwhile *meanwhile, __s64 wait)
{
	ASSERT_EQ(0, pthread_create(&meanwhile->thread, NULL, make_meanwhile,
				    meanwhile));
	usleep(wait);
}

/* In each of these parts of the time that a call takes, something happens once. */
#define PARTS 10
/* How often a race is tried, at most, until each side has won it. */
#define TRIES (10 * PARTS)
#define MANY_EXTENTS 256
#define MANY_BLOCKS 1024

/* Make "many" of so many extents that comparing its clones takes its time. */
static void make_many_extents(struct __test_metadata *_metadata)
{
	int fd, i;

	fd = xopen(_metadata, "many", O_WRONLY | O_CREAT);
	for (i = 0; i < MANY_EXTENTS; i++)
		ASSERT_EQ(BLK, pwrite(fd, same_block, BLK, 2 * i * BLK));
	ASSERT_EQ(0, fsync(fd));
	close(fd);
}

/* Three clones of it. */
static void clone_many(struct __test_metadata *_metadata)
{
	clone_file(_metadata, "many", "donor");
	clone_file(_metadata, "many", "alias");
	clone_file(_metadata, "many", "third");
}

static long keep_alias(int from, int to)
{
	return alias_fd(to, from, KEEP);
}

/*
 * A donor that is named by one of its aliases loses its name while the files
 * are compared: it had none, or the keeping ends.
 */
TEST_F(fs, unlink_donor_meanwhile)
{
	struct meanwhile meanwhile = { .call = keep_alias };
	__s64 whole = 0;	/* microseconds */
	int i;

	make_many_extents(_metadata);
	for (i = 0; i <= PARTS; i++) {
		clone_many(_metadata);
		meanwhile.from = xopen(_metadata, "alias", O_RDONLY);
		meanwhile.to = xopen(_metadata, "third", O_RDONLY);
		ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
		if (!i) {
			whole = time_call(&meanwhile);
			ASSERT_EQ(0, meanwhile.result);
		} else {
			begin(_metadata, &meanwhile, whole * i / PARTS);
		}
		ASSERT_EQ(0, unlink("donor"));
		if (i) {
			ASSERT_EQ(0, pthread_join(meanwhile.thread, NULL));
			ASSERT_TRUE(!meanwhile.result ||
				    meanwhile.result == -ENOENT) {
				TH_LOG("%s", strerror(-meanwhile.result));
			}
		}
		close(meanwhile.from);
		close(meanwhile.to);
		ASSERT_EQ(ORDINARY, state_of(_metadata, "third"));
		ASSERT_EQ(ORDINARY, state_of(_metadata, "alias"));
		ASSERT_EQ(0, unlink("alias"));
		ASSERT_EQ(0, unlink("third"));
	}
}

/*
 * A donor becomes an alias itself while it is compared with its own: what is
 * made then is no chain.
 */
TEST_F(fs, donor_becomes_alias_meanwhile)
{
	struct meanwhile meanwhile = { .call = keep_alias };
	__s64 whole = 0;	/* microseconds */
	struct fs_mapping_info info;
	int i, err;

	make_many_extents(_metadata);
	for (i = 0; i <= PARTS; i++) {
		clone_many(_metadata);
		meanwhile.from = xopen(_metadata, "third", O_RDONLY);
		meanwhile.to = xopen(_metadata, "donor", O_RDONLY);
		if (!i) {
			whole = time_call(&meanwhile);
			ASSERT_EQ(0, meanwhile.result);
		} else {
			begin(_metadata, &meanwhile, whole * i / PARTS);
		}
		err = alias_file("alias", "donor", KEEP);
		if (i)
			ASSERT_EQ(0, pthread_join(meanwhile.thread, NULL));
		info = info_fd(_metadata, meanwhile.to);
		if (info.state == KEPT) {
			/* It stood for its donor, or for nobody. */
			ASSERT_TRUE(!err || err == -EBUSY) {
				TH_LOG("%s", strerror(-err));
			}
			ASSERT_EQ(0, info.nr_aliases);
			info = info_fd(_metadata, meanwhile.from);
			ASSERT_EQ(DONOR, info.state);
			ASSERT_EQ(err ? 1 : 2, info.nr_aliases);
		} else {
			ASSERT_EQ(-EBUSY, meanwhile.result);
			ASSERT_EQ(0, err);
			ASSERT_EQ(DONOR, info.state);
		}
		if (!err) {
			info = info_file(_metadata, "alias");
			ASSERT_EQ(KEPT, info.state);
			ASSERT_EQ(ino_of(_metadata,
					 meanwhile.result ? "donor" : "third"),
				  info.donor_ino);
		}
		close(meanwhile.from);
		close(meanwhile.to);
		ASSERT_EQ(0, unlink("donor"));
		ASSERT_EQ(0, unlink("alias"));
		ASSERT_EQ(0, unlink("third"));
	}
}

static const char other_block[BLK] = "not the same as the others";

/* The block in the middle of "many" is the one that is written to. */
#define WRITTEN ((size_t)MANY_EXTENTS * BLK)

/* Open and write: the descriptor or a negative errno. */
static int write_other(const char *name)
{
	int fd = open(name, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (pwrite(fd, other_block, BLK, WRITTEN) != BLK) {
		close(fd);
		return -EIO;
	}
	return fd;
}

/*
 * Open the donor, whose last alias was released: 0 or a negative errno.  In Linux
 * 6.1 btrfs lets go of pages later than of their locks; it is frozen until then.
 */
static int open_donor(const char *type)
{
	int tries = strcmp(type, "btrfs") || linux_since(6, 2) ? 1 : 1000;
	int err;

	while ((err = try_open("donor", O_RDWR)) == -ETXTBSY && --tries)
		usleep(10000);
	return err;
}

/* Open, write, close: 0 or a negative errno. */
static int write_and_close(const char *name)
{
	int fd = write_other(name);

	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

/* Is @name as "many", and was written to if @written, and else was not? */
static bool many_has(struct __test_metadata *_metadata, const char *name,
		     bool written)
{
	int fd = xopen(_metadata, name, O_RDONLY);
	char buf[BLK];
	bool equal;

	ASSERT_EQ(BLK, pread(fd, buf, BLK, WRITTEN));
	equal = !memcmp(buf, written ? other_block : same_block, BLK);
	ASSERT_EQ(BLK, pread(fd, buf, BLK, 0));
	equal = equal && !memcmp(buf, same_block, BLK);
	close(fd);
	return equal;
}

/*
 * Make "alias" an alias of "donor", and write to @name before, in each part of
 * the time that this takes, and after.  The one that comes first succeeds, the
 * other doesn't; in the midst, each of them does at least once.  Every other
 * writer is still there when the other call ends.
 */
static void race_writer(struct __test_metadata *_metadata, const char *type,
			const char *name)
{
	const char *other = strcmp(name, "donor") ? "donor" : "alias";
	struct meanwhile meanwhile = { .call = keep_alias };
	__s64 whole = 0;	/* microseconds */
	int err, fd, i, first = 0, tries = 0;
	bool last;

	clone_file(_metadata, "many", other);
	clone_file(_metadata, "many", name);
	for (i = 0, last = false; !last; i++) {
		last = tries == TRIES ||
		       (tries >= PARTS && first && first < tries);
		meanwhile.from = xopen(_metadata, "donor", O_RDONLY);
		meanwhile.to = xopen(_metadata, "alias", O_RDONLY);
		if (!i) {
			whole = time_call(&meanwhile);
			err = write_and_close(name);
			ASSERT_EQ(-ETXTBSY, err);
		} else if (!last) {
			/* It may take longer than it took once: wait longer. */
			begin(_metadata, &meanwhile,
			      whole * (tries % (2 * PARTS)) / PARTS);
			fd = write_other(name);
			if (fd >= 0 && tries % 2)
				close(fd);
			ASSERT_EQ(0, pthread_join(meanwhile.thread, NULL));
			if (fd >= 0 && !(tries % 2))
				close(fd);
			err = fd < 0 ? fd : 0;
			first += !err;
			tries++;
		} else {
			err = write_and_close(name);
			ASSERT_EQ(0, err);
			make_meanwhile(&meanwhile);
			ASSERT_EQ(-EBADE, meanwhile.result);
		}
		close(meanwhile.from);
		close(meanwhile.to);

		if (err) {
			ASSERT_EQ(-ETXTBSY, err);
			ASSERT_EQ(0, meanwhile.result) {
				TH_LOG("%s", strerror(-meanwhile.result));
			}
		} else {
			/* EBUSY: btrfs was still writing it to the disk. */
			ASSERT_TRUE(meanwhile.result == -ETXTBSY ||
				    meanwhile.result == -EBADE ||
				    (strcmp(type, "xfs") &&
				     meanwhile.result == -EBUSY)) {
				TH_LOG("%s", strerror(-meanwhile.result));
			}
		}
		ASSERT_EQ(err ? KEPT : ORDINARY, state_of(_metadata, "alias"));
		ASSERT_TRUE(many_has(_metadata, name, !err));
		ASSERT_TRUE(many_has(_metadata, other, false));
		ASSERT_EQ(0, release_file("alias"));
		ASSERT_EQ(0, try_open("alias", O_RDWR));
		ASSERT_EQ(0, open_donor(type));
		ASSERT_TRUE(many_has(_metadata, name, !err));
		ASSERT_TRUE(many_has(_metadata, other, false));
		if (!err)
			clone_file(_metadata, "many", name);
	}
	TH_LOG("%s: the writer came first %d times of %d", name, first, tries);
	EXPECT_LT(0, first);
	EXPECT_GT(tries, first);
}

TEST_F(fs, write_meanwhile)
{
	make_many_extents(_metadata);
	race_writer(_metadata, variant->type, "alias");
	race_writer(_metadata, variant->type, "donor");
}

static long dedupe_all(int from, int to)
{
	return dedupe(from, 0, to, 0, MANY_BLOCKS * BLK);
}

/*
 * A file gets other blocks from FIDEDUPERANGE, which compares them first, while
 * it is made an alias: either it has them before, or it stays as it is.  In every
 * other turn of PARTS, the one that is begun later is the dedupe.
 */
TEST_F(fs, dedupe_meanwhile)
{
	struct meanwhile meanwhile = { .call = dedupe_all };
	__s64 whole, whole_alias;	/* microseconds */
	int err, i, first = 0;

	make_file(_metadata, "donor", MANY_BLOCKS * BLK, 1);
	make_file(_metadata, "third", MANY_BLOCKS * BLK, 1);
	clone_file(_metadata, "donor", "alias");
	meanwhile.from = xopen(_metadata, "third", O_RDONLY);
	meanwhile.to = xopen(_metadata, "alias", O_RDONLY);
	whole = time_call(&meanwhile);
	ASSERT_EQ(MANY_BLOCKS * BLK, meanwhile.result);
	close(meanwhile.to);
	clone_file(_metadata, "donor", "alias");
	whole_alias = microseconds();
	ASSERT_EQ(0, alias_file("alias", "donor", 0));
	whole_alias = microseconds() - whole_alias;

	for (i = 0; i < 2 * PARTS || (i < TRIES && (!first || first == i));
	     i++) {
		/* A new inode, whose pages have to be read. */
		clone_file(_metadata, "donor", "new");
		ASSERT_EQ(0, rename("new", "alias"));
		meanwhile.to = xopen(_metadata, "alias", O_RDONLY);
		meanwhile.delay = i / PARTS % 2 ?
				  whole_alias * (i % PARTS + 1) / PARTS : 0;
		begin(_metadata, &meanwhile,
		      meanwhile.delay ? 0 : whole * (i % PARTS) / PARTS);
		err = alias_file("alias", "donor", KEEP);
		ASSERT_EQ(0, pthread_join(meanwhile.thread, NULL));
		close(meanwhile.to);
		first += !err;
		if (err) {
			ASSERT_EQ(-EBADE, err);
			ASSERT_EQ(MANY_BLOCKS * BLK, meanwhile.result);
			continue;
		}
		ASSERT_EQ(-ETXTBSY, meanwhile.result);
		/* They are compared once more. */
		ASSERT_EQ(0, release_file("alias"));
		ASSERT_EQ(ORDINARY, state_of(_metadata, "alias"));
		ASSERT_EQ(0, alias_file("alias", "donor", 0));
	}
	close(meanwhile.from);
	TH_LOG("the alias came first %d times of %d", first, i);
	EXPECT_LT(0, first);
	EXPECT_GT(i, first);
}

/* XFS's online check locks a file's page cache, and may find nothing wrong. */
TEST_F(fs, scrub)
{
	static const char * const names[] = { "alias", "donor" };
	static const __u32 types[] = {
		XFS_SCRUB_INODE, XFS_SCRUB_DATA_FORK, XFS_SCRUB_COW_FORK,
	};
	struct xfs_scrub arg = {};
	size_t i, j;
	int fd;

	if (strcmp(variant->type, "xfs"))
		SKIP(return, "only XFS has it");
	donor_and_alias(_metadata);
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	for (i = 0; i < ARRAY_SIZE(names); i++) {
		fd = xopen(_metadata, names[i], O_RDONLY);
		for (j = 0; j < ARRAY_SIZE(types); j++) {
			arg.type = types[j];
			EXPECT_EQ(0, scrub(fd, arg))
				TH_LOG("scrub %u of %s", types[j], names[i]);
		}
		close(fd);
		EXPECT_TRUE(file_has(_metadata, names[i], PAIR_SIZE, 1));
	}
	EXPECT_EQ(KEPT, state_of(_metadata, "alias"));
}

/* Scrubbing a directory takes and drops all inodes in it, in a transaction. */
TEST_F(fs, scrub_lets_alias_end)
{
	struct xfs_scrub arg = { .type = XFS_SCRUB_DIR };
	int alias, dir;

	if (strcmp(variant->type, "xfs"))
		SKIP(return, "only XFS has it");
	donor_and_alias(_metadata);
	alias = xopen(_metadata, "alias", O_RDONLY);
	ASSERT_EQ(0, alias_file("alias", "donor", 0));
	dir = xopen(_metadata, ".", O_RDONLY | O_DIRECTORY);
	EXPECT_EQ(0, scrub(dir, arg));
	close(dir);
	EXPECT_EQ(ALIAS, state_of(_metadata, "alias"));
	close(alias);
	EXPECT_EQ(ORDINARY, state_of(_metadata, "alias"));
}

/* Users of the files, who are there while they become and cease to be aliases. */
struct user {
	void (*use)(struct user *user);
	const char *name;
	int flags;			/* of open(), for use_read */
	atomic_bool *stop;
	bool wrong;
	unsigned long rounds;
	pthread_t thread;
};

static void use_read(struct user *user)
{
	alignas(BLK) unsigned char buf[PAIR_SIZE];
	int fd = open(user->name, O_RDONLY | O_CLOEXEC | user->flags);
	size_t i;

	if (pread(fd, buf, sizeof(buf), 0) != sizeof(buf))
		user->wrong = true;
	for (i = 0; i < sizeof(buf) && !user->wrong; i += 64)
		user->wrong = buf[i] != pattern(1, i);
	close(fd);
}

static void use_faults(struct user *user)
{
	int fd = open(user->name, O_RDONLY | O_CLOEXEC);
	unsigned char *map;

	map = mmap(NULL, PAIR_SIZE, PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED) {
		user->wrong = true;
	} else {
		user->wrong = !map_has(map, PAIR_SIZE, 1);
		madvise(map, PAIR_SIZE, MADV_DONTNEED);
		posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
		user->wrong |= !map_has(map, PAIR_SIZE, 1);
		munmap(map, PAIR_SIZE);
	}
	close(fd);
}

/* Work on a file that shares the blocks, but has nothing to do with aliases. */
static void use_truncate(struct user *user)
{
	int fd = open(user->name, O_RDWR | O_CLOEXEC);
	char c = 'x';

	if (ftruncate(fd, BLK) || ftruncate(fd, PAIR_SIZE) ||
	    pwrite(fd, &c, 1, PAIR_SIZE / 2) != 1)
		user->wrong = true;
	close(fd);
}

static void *be_user(void *arg)
{
	struct user *user = arg;

	while (!atomic_load(user->stop) && !user->wrong) {
		user->use(user);
		user->rounds++;
	}
	return NULL;
}

TEST_F(fs, users_meanwhile)
{
	atomic_bool stop = false;
	struct user users[] = {
		{ .use = use_read, .name = "alias" },
		{ .use = use_faults, .name = "alias" },
		{ .use = use_read, .name = "donor" },
		{ .use = use_faults, .name = "donor" },
		{ .use = use_read, .name = "alias", .flags = O_DIRECT },
		{ .use = use_truncate, .name = "third" },
	};
	size_t i;

	donor_and_alias(_metadata);
	clone_file(_metadata, "donor", "third");
	for (i = 0; i < ARRAY_SIZE(users); i++) {
		users[i].stop = &stop;
		ASSERT_EQ(0, pthread_create(&users[i].thread, NULL, be_user,
					    &users[i]));
	}
	for (i = 0; i < ROUNDS; i++) {
		/* A new inode each time: an inode in use is an alias for long. */
		clone_file(_metadata, "donor", "new");
		EXPECT_EQ(0, rename("new", "alias"));
		EXPECT_EQ(0, alias_file("alias", "donor", i % 2 ? KEEP : 0));
		if (i % 4 == 1)
			EXPECT_EQ(0, release_file("alias"));
	}
	atomic_store(&stop, true);
	for (i = 0; i < ARRAY_SIZE(users); i++) {
		ASSERT_EQ(0, pthread_join(users[i].thread, NULL));
		EXPECT_FALSE(users[i].wrong);
		EXPECT_LT(0, users[i].rounds);
	}
	EXPECT_EQ(0, release_file("donor"));
	EXPECT_EQ(0, try_open("alias", O_RDWR));
	EXPECT_EQ(0, try_open("donor", O_RDWR));
	EXPECT_TRUE(file_has(_metadata, "donor", PAIR_SIZE, 1));
}

struct ender {
	pthread_barrier_t *barrier;
	const int *fds;
	int first;
	pthread_t thread;
};

/*
 * Close some aliases, which nobody else has open: those that were made beside
 * the ones that others close, so that they are neighbours in the donor's list.
 */
static void *end_aliases(void *arg)
{
	struct ender *ender = arg;
	int i;

	pthread_barrier_wait(ender->barrier);
	for (i = ender->first; i < MANY_ALIASES; i += ENDERS)
		close(ender->fds[i]);
	return NULL;
}

/* Aliases of one donor end at the same time: it loses every one of them. */
TEST_F(fs, end_together)
{
	struct rlimit limit = { MANY_ALIASES + 64, MANY_ALIASES + 64 };
	struct ender enders[ENDERS];
	pthread_barrier_t barrier;
	int fds[MANY_ALIASES];
	char name[16];
	int donor, i;

	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &limit));
	make_file(_metadata, "donor", BLK, 1);
	donor = xopen(_metadata, "donor", O_RDONLY);
	for (i = 0; i < MANY_ALIASES; i++) {
		snprintf(name, sizeof(name), "alias%d", i);
		clone_file(_metadata, "donor", name);
		fds[i] = xopen(_metadata, name, O_RDONLY);
		ASSERT_EQ(0, alias_fd(fds[i], donor, 0));
	}
	EXPECT_EQ(MANY_ALIASES, info_fd(_metadata, donor).nr_aliases);
	close(donor);

	ASSERT_EQ(0, pthread_barrier_init(&barrier, NULL, ENDERS));
	for (i = 0; i < ENDERS; i++) {
		enders[i].barrier = &barrier;
		enders[i].fds = fds;
		enders[i].first = i;
		ASSERT_EQ(0, pthread_create(&enders[i].thread, NULL,
					    end_aliases, &enders[i]));
	}
	for (i = 0; i < ENDERS; i++)
		ASSERT_EQ(0, pthread_join(enders[i].thread, NULL));
	ASSERT_EQ(0, pthread_barrier_destroy(&barrier));

	EXPECT_EQ(0, info_file(_metadata, "donor").nr_aliases);
	EXPECT_EQ(ORDINARY, state_of(_metadata, "donor"));
	EXPECT_EQ(0, try_open("donor", O_RDWR));
}

TEST_HARNESS_MAIN
