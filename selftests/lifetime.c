// SPDX-License-Identifier: GPL-2.0
/* When an alias ends, and that nothing is left of it then. */

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "common.h"

TEST_F(fs, ends_with_last_user)
{
	int first, second;

	donor_and_alias(_metadata);
	first = xopen(_metadata, "alias", O_RDONLY);
	second = xopen(_metadata, "donor", O_RDONLY);
	ASSERT_EQ(0, alias_fd(first, second, 0));
	close(second);
	second = xopen(_metadata, "alias", O_RDONLY);
	close(first);
	EXPECT_EQ(ALIAS, info_fd(_metadata, second).state);
	close(second);
	EXPECT_EQ(ORDINARY, state_of(_metadata, "alias"));
	EXPECT_EQ(ORDINARY, state_of(_metadata, "donor"));
	EXPECT_TRUE(file_has(_metadata, "alias", PAIR_SIZE, 1));
}

/* A mapping is a user. */
TEST_F(fs, ends_with_last_mapping)
{
	unsigned char *map;

	donor_and_alias(_metadata);
	map = map_file(_metadata, "alias", PAIR_SIZE);
	ASSERT_EQ(0, alias_file("alias", "donor", 0));
	EXPECT_EQ(ALIAS, state_of(_metadata, "alias"));
	EXPECT_TRUE(map_has(map, PAIR_SIZE, 1));
	ASSERT_EQ(0, munmap(map, PAIR_SIZE));
	EXPECT_EQ(ORDINARY, state_of(_metadata, "alias"));
}

/*
 * A name that was looked up and is still in memory is no user.  It is not
 * looked up again before the donor's state: that would get rid of it.
 */
TEST_F(fs, name_known_before_alias)
{
	int fd, donor;

	donor_and_alias(_metadata);
	ASSERT_EQ(0, link("alias", "name"));
	fd = xopen(_metadata, "alias", O_RDONLY);
	donor = xopen(_metadata, "donor", O_RDONLY);
	ino_of(_metadata, "name");
	ASSERT_EQ(0, alias_fd(fd, donor, 0));
	close(fd);
	EXPECT_EQ(ORDINARY, info_fd(_metadata, donor).state);
	EXPECT_EQ(ORDINARY, state_of(_metadata, "name"));
}

TEST_F(fs, name_known_after_alias)
{
	int fd, donor;

	donor_and_alias(_metadata);
	ASSERT_EQ(0, link("alias", "name"));
	drop_caches(_metadata, "2");
	fd = xopen(_metadata, "alias", O_RDONLY);
	donor = xopen(_metadata, "donor", O_RDONLY);
	ASSERT_EQ(0, alias_fd(fd, donor, 0));
	ino_of(_metadata, "name");
	close(fd);
	EXPECT_EQ(ORDINARY, info_fd(_metadata, donor).state);
	EXPECT_EQ(ORDINARY, state_of(_metadata, "name"));
}

TEST_F(fs, name_known_before_release)
{
	int fd;

	donor_and_alias(_metadata);
	ASSERT_EQ(0, link("alias", "name"));
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	fd = xopen(_metadata, "alias", O_RDONLY);
	ino_of(_metadata, "name");
	ASSERT_EQ(0, release_fd(fd));
	close(fd);
	EXPECT_EQ(ORDINARY, state_of(_metadata, "donor"));
	EXPECT_EQ(ORDINARY, state_of(_metadata, "name"));
}

TEST_F(fs, name_known_after_release)
{
	int fd;

	donor_and_alias(_metadata);
	ASSERT_EQ(0, link("alias", "name"));
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	drop_caches(_metadata, "2");
	fd = xopen(_metadata, "alias", O_RDONLY);
	ASSERT_EQ(0, release_fd(fd));
	ino_of(_metadata, "name");
	close(fd);
	EXPECT_EQ(ORDINARY, state_of(_metadata, "donor"));
	EXPECT_EQ(ORDINARY, state_of(_metadata, "name"));
}

TEST_F(fs, kept_without_user)
{
	donor_and_alias(_metadata);
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	EXPECT_EQ(KEPT, state_of(_metadata, "alias"));
	drop_caches(_metadata, "2");
	drop_caches(_metadata, "3");
	EXPECT_EQ(KEPT, state_of(_metadata, "alias"));
	EXPECT_EQ(1, info_file(_metadata, "donor").nr_aliases);
}

/* Release takes nothing from those who use the file. */
TEST_F(fs, release_while_open)
{
	unsigned char *alias, *donor;

	donor_and_alias(_metadata);
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	alias = map_file(_metadata, "alias", PAIR_SIZE);
	donor = map_file(_metadata, "donor", PAIR_SIZE);
	ASSERT_EQ(0, release_file("alias"));
	EXPECT_EQ(ALIAS, state_of(_metadata, "alias"));
	EXPECT_EQ(-ETXTBSY, try_open("alias", O_RDWR));
	EXPECT_EQ(frame_of(_metadata, donor), frame_of(_metadata, alias));
	ASSERT_EQ(0, munmap(alias, PAIR_SIZE));
	EXPECT_EQ(ORDINARY, state_of(_metadata, "alias"));
	ASSERT_EQ(0, munmap(donor, PAIR_SIZE));
}

TEST_F(fs, release_twice)
{
	donor_and_alias(_metadata);
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	ASSERT_EQ(0, release_file("alias"));
	ASSERT_EQ(0, release_file("alias"));
	ASSERT_EQ(0, release_file("donor"));
	EXPECT_EQ(ORDINARY, state_of(_metadata, "alias"));
}

TEST_F(fs, release_donor)
{
	int fd;

	donor_and_alias(_metadata);
	clone_file(_metadata, "donor", "second");
	clone_file(_metadata, "donor", "third");
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	ASSERT_EQ(0, alias_file("second", "donor", KEEP));
	fd = xopen(_metadata, "third", O_RDONLY);
	ASSERT_EQ(0, alias_file("third", "donor", 0));
	EXPECT_EQ(3, info_file(_metadata, "donor").nr_aliases);

	ASSERT_EQ(0, release_file("donor"));
	EXPECT_EQ(ORDINARY, state_of(_metadata, "alias"));
	EXPECT_EQ(ORDINARY, state_of(_metadata, "second"));
	EXPECT_EQ(ALIAS, state_of(_metadata, "third"));
	EXPECT_EQ(1, info_file(_metadata, "donor").nr_aliases);
	close(fd);
	EXPECT_EQ(ORDINARY, state_of(_metadata, "donor"));
}

TEST_F(fs, unlink_alias)
{
	donor_and_alias(_metadata);
	ASSERT_EQ(0, link("alias", "name"));
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	ASSERT_EQ(0, unlink("alias"));
	EXPECT_EQ(KEPT, state_of(_metadata, "name"));
	ASSERT_EQ(0, unlink("name"));
	EXPECT_EQ(ORDINARY, state_of(_metadata, "donor"));
	EXPECT_EQ(0, try_open("donor", O_RDWR));
	EXPECT_EQ(0, remount_ro());
}

TEST_F(fs, unlink_alias_open)
{
	int fd;

	donor_and_alias(_metadata);
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	fd = xopen(_metadata, "alias", O_RDONLY);
	ASSERT_EQ(0, unlink("alias"));
	EXPECT_EQ(ALIAS, info_fd(_metadata, fd).state & ALIAS);
	EXPECT_TRUE(fd_has(_metadata, fd, 0, PAIR_SIZE, 1));
	EXPECT_EQ(-EBUSY, remount_ro());
	close(fd);
	EXPECT_EQ(ORDINARY, state_of(_metadata, "donor"));
	EXPECT_EQ(0, remount_ro());
}

/* No donor without a name is left behind, where nobody could find it. */
TEST_F(fs, unlink_donor)
{
	donor_and_alias(_metadata);
	clone_file(_metadata, "donor", "second");
	ASSERT_EQ(0, link("donor", "name"));
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	ASSERT_EQ(0, alias_file("second", "donor", KEEP));
	ASSERT_EQ(0, unlink("donor"));
	EXPECT_EQ(KEPT, state_of(_metadata, "alias"));
	/* Have names in memory for the files that have no user. */
	ino_of(_metadata, "alias");
	ino_of(_metadata, "second");
	ASSERT_EQ(0, unlink("name"));
	EXPECT_EQ(0, remount_ro());
	EXPECT_EQ(0, remount_rw());
	EXPECT_EQ(ORDINARY, state_of(_metadata, "alias"));
	EXPECT_EQ(ORDINARY, state_of(_metadata, "second"));
	EXPECT_EQ(0, try_open("alias", O_RDWR));
	EXPECT_TRUE(file_has(_metadata, "alias", PAIR_SIZE, 1));
	EXPECT_TRUE(file_has(_metadata, "second", PAIR_SIZE, 1));
}

/* A donor without a name lives as long as an alias is in use, not longer. */
TEST_F(fs, unlink_donor_of_open_alias)
{
	unsigned char *map;
	int fd;

	donor_and_alias(_metadata);
	clone_file(_metadata, "donor", "second");
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	fd = xopen(_metadata, "alias", O_RDONLY);
	map = map_file(_metadata, "alias", PAIR_SIZE);
	ASSERT_EQ(0, unlink("donor"));
	EXPECT_EQ(ALIAS, info_fd(_metadata, fd).state);
	EXPECT_TRUE(fd_has(_metadata, fd, 0, PAIR_SIZE, 1));
	drop_caches(_metadata, "3");
	EXPECT_TRUE(map_has(map, PAIR_SIZE, 1));
	EXPECT_TRUE(fd_has(_metadata, fd, 0, PAIR_SIZE, 1));
	EXPECT_EQ(-EBUSY, remount_ro());

	/* Such a donor takes no more aliases, nor is anything kept for it. */
	EXPECT_EQ(-ENOENT, alias_file("second", "alias", 0));
	EXPECT_EQ(ORDINARY, state_of(_metadata, "second"));
	EXPECT_EQ(-ENOENT, alias_file("alias", "alias", KEEP));
	EXPECT_EQ(ALIAS, info_fd(_metadata, fd).state);
	/* What is true already can be asked for again. */
	EXPECT_EQ(0, alias_file("alias", "alias", 0));

	ASSERT_EQ(0, munmap(map, PAIR_SIZE));
	close(fd);
	EXPECT_EQ(ORDINARY, state_of(_metadata, "alias"));
	EXPECT_EQ(0, remount_ro());
	EXPECT_EQ(0, remount_rw());
	EXPECT_TRUE(file_has(_metadata, "alias", PAIR_SIZE, 1));
}

/* The donor is open while it is unlinked, and is closed last. */
TEST_F(fs, unlink_open_donor)
{
	int alias, donor;

	donor_and_alias(_metadata);
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	alias = xopen(_metadata, "alias", O_RDONLY);
	donor = xopen(_metadata, "donor", O_RDONLY);
	ASSERT_EQ(0, unlink("donor"));
	EXPECT_TRUE(fd_has(_metadata, alias, 0, PAIR_SIZE, 1));
	close(alias);
	EXPECT_TRUE(fd_has(_metadata, donor, 0, PAIR_SIZE, 1));
	close(donor);
	EXPECT_EQ(0, remount_ro());
	EXPECT_EQ(ORDINARY, state_of(_metadata, "alias"));
	EXPECT_TRUE(file_has(_metadata, "alias", PAIR_SIZE, 1));
}

/* Neither has a name: what the last user leaves is freed in the background. */
TEST_F(fs, unlink_both)
{
	char name[16];
	int fd, i;

	make_file(_metadata, "origin", PAIR_SIZE, 1);
	for (i = 0; i < 20; i++) {
		clone_file(_metadata, "origin", "donor");
		snprintf(name, sizeof(name), "alias%d", i);
		clone_file(_metadata, "origin", name);
		ASSERT_EQ(0, alias_file(name, "donor", KEEP));
		fd = xopen(_metadata, name, O_RDONLY);
		ASSERT_EQ(0, unlink(i % 2 ? "donor" : name));
		ASSERT_EQ(0, unlink(i % 2 ? name : "donor"));
		EXPECT_TRUE(fd_has(_metadata, fd, 0, PAIR_SIZE, 1));
		close(fd);
	}
	EXPECT_EQ(0, remount_ro());
	EXPECT_TRUE(file_has(_metadata, "origin", PAIR_SIZE, 1));
}

TEST_F(fs, rename_over_alias)
{
	donor_and_alias(_metadata);
	make_file(_metadata, "new", PAIR_SIZE, 2);
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	ASSERT_EQ(0, rename("new", "alias"));
	EXPECT_EQ(ORDINARY, state_of(_metadata, "alias"));
	EXPECT_EQ(ORDINARY, state_of(_metadata, "donor"));
	EXPECT_TRUE(file_has(_metadata, "alias", PAIR_SIZE, 2));
	EXPECT_TRUE(file_has(_metadata, "donor", PAIR_SIZE, 1));
	EXPECT_EQ(0, remount_ro());
}

/* How a package manager replaces a file. */
TEST_F(fs, rename_over_donor)
{
	donor_and_alias(_metadata);
	make_file(_metadata, "new", PAIR_SIZE, 2);
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	ASSERT_EQ(0, rename("new", "donor"));
	EXPECT_EQ(0, remount_ro());
	EXPECT_EQ(ORDINARY, state_of(_metadata, "alias"));
	EXPECT_EQ(ORDINARY, state_of(_metadata, "donor"));
	EXPECT_TRUE(file_has(_metadata, "alias", PAIR_SIZE, 1));
	EXPECT_TRUE(file_has(_metadata, "donor", PAIR_SIZE, 2));
}

/* Renaming either keeps what it is. */
TEST_F(fs, rename)
{
	donor_and_alias(_metadata);
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	ASSERT_EQ(0, rename("alias", "new alias"));
	ASSERT_EQ(0, rename("donor", "new donor"));
	EXPECT_EQ(KEPT, state_of(_metadata, "new alias"));
	EXPECT_EQ(DONOR, state_of(_metadata, "new donor"));
}

/* A file that never had a name, made an alias while it is open. */
TEST_F(fs, tmpfile_alias)
{
	int alias, donor, writer;
	char path[64];

	make_file(_metadata, "donor", PAIR_SIZE, 1);
	donor = xopen(_metadata, "donor", O_RDONLY);
	writer = xopen(_metadata, ".", O_RDWR | O_TMPFILE);
	ASSERT_EQ(0, ioctl(writer, FICLONE, donor));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", writer);
	alias = xopen(_metadata, path, O_RDONLY);
	close(writer);
	ASSERT_EQ(0, alias_fd(alias, donor, 0));
	close(donor);
	EXPECT_EQ(ALIAS, info_fd(_metadata, alias).state);
	ASSERT_EQ(0, unlink("donor"));
	EXPECT_TRUE(fd_has(_metadata, alias, 0, PAIR_SIZE, 1));
	close(alias);
	EXPECT_EQ(0, remount_ro());
}

/* Donors that were evicted and read again are ordinary files. */
TEST_F(fs, donor_evicted)
{
	donor_and_alias(_metadata);
	ASSERT_EQ(0, alias_file("alias", "donor", 0));
	drop_caches(_metadata, "3");
	EXPECT_EQ(ORDINARY, state_of(_metadata, "donor"));
	EXPECT_TRUE(file_has(_metadata, "donor", PAIR_SIZE, 1));
	EXPECT_EQ(0, alias_file("donor", "alias", KEEP));
	EXPECT_EQ(KEPT, state_of(_metadata, "donor"));
	EXPECT_EQ(DONOR, state_of(_metadata, "alias"));
	EXPECT_TRUE(file_has(_metadata, "donor", PAIR_SIZE, 1));
}

/* An alias in use without the keep flag outlives its donor's last user. */
TEST_F(fs, donor_pinned)
{
	int fd;

	donor_and_alias(_metadata);
	fd = xopen(_metadata, "alias", O_RDONLY);
	ASSERT_EQ(0, alias_file("alias", "donor", 0));
	drop_caches(_metadata, "3");
	EXPECT_EQ(ALIAS, info_fd(_metadata, fd).state);
	EXPECT_EQ(DONOR, state_of(_metadata, "donor"));
	EXPECT_TRUE(fd_has(_metadata, fd, 0, PAIR_SIZE, 1));
}

TEST_F(fs, umount_kept)
{
	donor_and_alias(_metadata);
	clone_file(_metadata, "donor", "second");
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	ASSERT_EQ(0, alias_file("second", "donor", KEEP));
	remount_fs(_metadata, self, variant);
	EXPECT_EQ(ORDINARY, state_of(_metadata, "alias"));
	EXPECT_EQ(ORDINARY, state_of(_metadata, "donor"));
	EXPECT_TRUE(file_has(_metadata, "alias", PAIR_SIZE, 1));
	EXPECT_TRUE(file_has(_metadata, "donor", PAIR_SIZE, 1));
}

TEST_F(fs, umount_unlinked_donor)
{
	int fd;

	donor_and_alias(_metadata);
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	fd = xopen(_metadata, "alias", O_RDONLY);
	ASSERT_EQ(0, unlink("donor"));
	EXPECT_TRUE(fd_has(_metadata, fd, 0, PAIR_SIZE, 1));
	close(fd);
	remount_fs(_metadata, self, variant);
	EXPECT_TRUE(file_has(_metadata, "alias", PAIR_SIZE, 1));
}

/* Threads that keep all CPUs but the first one busy. */
struct busy {
	pthread_t thread[CPU_SETSIZE];
	int n;
	atomic_int running;
	atomic_bool stop;
};

static void *keep_busy(void *arg)
{
	struct busy *busy = arg;

	busy->running++;
	while (!busy->stop)
		;
	return NULL;
}

/* From now on nothing else runs, and none of the kernel's workers, until we sleep. */
static void run_alone(struct __test_metadata *_metadata, struct busy *busy)
{
	struct sched_param param = { .sched_priority = 1 };
	pthread_attr_t attr;
	cpu_set_t cpu;

	*busy = (struct busy){ .n = sysconf(_SC_NPROCESSORS_ONLN) - 1 };
	ASSERT_GT(CPU_SETSIZE, busy->n);
	stay_on_first_cpu(_metadata);
	for (int i = 0; i < busy->n; i++) {
		CPU_ZERO(&cpu);
		CPU_SET(i + 1, &cpu);
		pthread_attr_init(&attr);
		pthread_attr_setaffinity_np(&attr, sizeof(cpu), &cpu);
		pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED);
		pthread_attr_setschedpolicy(&attr, SCHED_FIFO);
		pthread_attr_setschedparam(&attr, &param);
		ASSERT_EQ(0, pthread_create(&busy->thread[i], &attr, keep_busy, busy));
		pthread_attr_destroy(&attr);
	}
	while (busy->running < busy->n)
		usleep(1000);
	ASSERT_EQ(0, sched_setscheduler(0, SCHED_FIFO, &param));
}

static void run_as_before(struct __test_metadata *_metadata, struct busy *busy)
{
	struct sched_param param = { .sched_priority = 0 };

	ASSERT_EQ(0, sched_setscheduler(0, SCHED_OTHER, &param));
	busy->stop = true;
	for (int i = 0; i < busy->n; i++)
		ASSERT_EQ(0, pthread_join(busy->thread[i], NULL));
}

/* It is not refused because of a donor that a worker has not come to drop yet. */
TEST_F(fs, remount_ro_waits)
{
	struct busy busy;
	int fd, err;

	donor_and_alias(_metadata);
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	fd = xopen(_metadata, "alias", O_RDONLY);
	ASSERT_EQ(0, unlink("donor"));
	run_alone(_metadata, &busy);
	close(fd);
	err = remount_ro();
	run_as_before(_metadata, &busy);
	EXPECT_EQ(0, err);
	EXPECT_EQ(ORDINARY, state_of(_metadata, "alias"));
	EXPECT_EQ(0, remount_rw());
}

TEST_F(fs, remount_ro_kept)
{
	donor_and_alias(_metadata);
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	EXPECT_EQ(0, remount_ro());
	EXPECT_EQ(KEPT, state_of(_metadata, "alias"));
	EXPECT_EQ(0, remount_rw());
	EXPECT_EQ(KEPT, state_of(_metadata, "alias"));
}

/* A frozen file system is written to by nothing of all this. */
TEST_F(fs, freeze)
{
	static const char * const names[] = {
		"donor", "alias", "second", "third", "fourth", "other",
	};
	int alias, dir;
	size_t i;

	donor_and_alias(_metadata);
	clone_file(_metadata, "donor", "second");
	clone_file(_metadata, "donor", "third");
	clone_file(_metadata, "donor", "fourth");
	make_file(_metadata, "other", PAIR_SIZE, 1);
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	alias = xopen(_metadata, "second", O_RDONLY);
	ASSERT_EQ(0, alias_file("second", "donor", 0));
	dir = xopen(_metadata, ".", O_RDONLY);
	ASSERT_EQ(0, ioctl(dir, FIFREEZE, 0));
	EXPECT_TRUE(fd_has(_metadata, alias, 0, PAIR_SIZE, 1));
	close(alias);
	EXPECT_EQ(KEPT, state_of(_metadata, "alias"));
	EXPECT_EQ(0, release_file("alias"));
	EXPECT_EQ(ORDINARY, state_of(_metadata, "donor"));

	/* New ones are made, and are proven to be what they are. */
	EXPECT_EQ(-EBADE, alias_file("other", "fourth", KEEP));
	EXPECT_EQ(0, alias_file("third", "fourth", KEEP));
	EXPECT_EQ(KEPT, state_of(_metadata, "third"));
	EXPECT_EQ(DONOR, state_of(_metadata, "fourth"));
	EXPECT_TRUE(file_has(_metadata, "third", PAIR_SIZE, 1));
	ASSERT_EQ(0, ioctl(dir, FITHAW, 0));

	EXPECT_EQ(KEPT, state_of(_metadata, "third"));
	EXPECT_EQ(-ETXTBSY, try_open("third", O_RDWR));
	for (i = 0; i < ARRAY_SIZE(names); i++)
		EXPECT_TRUE(file_has(_metadata, names[i], PAIR_SIZE, 1));
	EXPECT_EQ(0, release_file("third"));
	EXPECT_EQ(ORDINARY, state_of(_metadata, "fourth"));
	EXPECT_EQ(0, alias_file("alias", "donor", KEEP));
}

/*
 * After a shutdown, new aliases can't be proven to be any.  The present ones,
 * about which nothing has to be read, go on as before.
 */
TEST_F(fs, shutdown)
{
	static const char * const names[] = {
		"alias", "second", "third", "fourth", "fifth", "sixth",
	};
	int second, third, fourth, fifth, sixth;
	size_t i;

	if (strcmp(variant->type, "xfs"))
		SKIP(return, "only XFS can be shut down");
	donor_and_alias(_metadata);
	for (i = 1; i < ARRAY_SIZE(names); i++)
		clone_file(_metadata, "donor", names[i]);
	sync();
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	second = xopen(_metadata, "second", O_RDONLY);
	ASSERT_EQ(0, alias_file("second", "donor", 0));
	ASSERT_EQ(0, alias_file("fifth", "sixth", KEEP));
	ASSERT_EQ(0, unlink("donor"));
	sync();
	/* No file can be opened afterwards. */
	third = xopen(_metadata, "third", O_RDONLY);
	fourth = xopen(_metadata, "fourth", O_RDONLY);
	fifth = xopen(_metadata, "fifth", O_RDONLY);
	sixth = xopen(_metadata, "sixth", O_RDONLY);
	crash_fs(_metadata, self, variant);

	EXPECT_EQ(ALIAS, info_fd(_metadata, second).state);
	EXPECT_EQ(KEPT, info_fd(_metadata, fifth).state);
	EXPECT_EQ(DONOR, info_fd(_metadata, sixth).state);
	EXPECT_EQ(-EIO, alias_fd(third, fourth, 0));
	EXPECT_EQ(-EIO, alias_fd(third, fourth, KEEP));
	EXPECT_EQ(-EIO, alias_fd(third, sixth, KEEP));
	EXPECT_EQ(ORDINARY, info_fd(_metadata, third).state);
	EXPECT_EQ(ORDINARY, info_fd(_metadata, fourth).state);
	EXPECT_EQ(1, info_fd(_metadata, sixth).nr_aliases);

	EXPECT_EQ(0, alias_fd(fifth, sixth, 0));
	EXPECT_EQ(0, alias_fd(fifth, sixth, KEEP));
	EXPECT_EQ(KEPT, info_fd(_metadata, fifth).state);
	EXPECT_EQ(0, release_fd(sixth));
	EXPECT_EQ(ALIAS, info_fd(_metadata, fifth).state);
	EXPECT_EQ(0, alias_fd(fifth, sixth, KEEP));
	EXPECT_EQ(KEPT, info_fd(_metadata, fifth).state);
	EXPECT_EQ(0, release_fd(fifth));
	close(fifth);
	EXPECT_EQ(ORDINARY, info_fd(_metadata, sixth).state);
	close(second);
	close(third);
	close(fourth);
	close(sixth);
	remount_fs(_metadata, self, variant);
	for (i = 0; i < ARRAY_SIZE(names); i++) {
		EXPECT_EQ(ORDINARY, state_of(_metadata, names[i]));
		EXPECT_TRUE(file_has(_metadata, names[i], PAIR_SIZE, 1));
		EXPECT_EQ(0, try_open(names[i], O_RDWR));
	}
}

static const char *many_name(int i)
{
	static char name[32];

	snprintf(name, sizeof(name), "many/%d", i);
	return name;
}

/* Make a donor and @n kept aliases. */
static void make_many(struct __test_metadata *_metadata, int n)
{
	int i;

	make_file(_metadata, "donor", PAIR_SIZE, 1);
	ASSERT_EQ(0, mkdir("many", 0755));
	for (i = 0; i < n; i++) {
		clone_file(_metadata, "donor", many_name(i));
		ASSERT_EQ(0, alias_file(many_name(i), "donor", KEEP));
	}
	ASSERT_EQ(n, info_file(_metadata, "donor").nr_aliases);
}

TEST_F(fs, many_umount)
{
	make_many(_metadata, 1000);
	remount_fs(_metadata, self, variant);
	EXPECT_EQ(ORDINARY, state_of(_metadata, "donor"));
	EXPECT_EQ(ORDINARY, state_of(_metadata, many_name(999)));
}

TEST_F(fs, many_release)
{
	int i;

	make_many(_metadata, 100);
	drop_caches(_metadata, "3");
	for (i = 0; i < 100; i += 10)
		EXPECT_EQ(KEPT, state_of(_metadata, many_name(i)));
	ASSERT_EQ(0, release_file("donor"));
	EXPECT_EQ(ORDINARY, state_of(_metadata, "donor"));
	for (i = 0; i < 100; i += 10)
		EXPECT_EQ(0, try_open(many_name(i), O_RDWR));
}

TEST_F(fs, many_unlink_donor)
{
	make_many(_metadata, 100);
	ASSERT_EQ(0, unlink("donor"));
	EXPECT_EQ(0, remount_ro());
	EXPECT_EQ(ORDINARY, state_of(_metadata, many_name(0)));
	EXPECT_TRUE(file_has(_metadata, many_name(1), PAIR_SIZE, 1));
}

/*
 * Threads that do everything to a few files at once.  Each file always has
 * content 1 and a clone's blocks, whoever replaced it last.
 */
#define STRESS_FILES 4
#define STRESS_SECONDS 2

struct stress {
	unsigned int seed;
	__s64 end;		/* microseconds */
	const char *fault;	/* what went wrong, or NULL */
	pthread_t thread;
};

static const char *stress_read(int fd)
{
	static __thread unsigned char buf[PAIR_SIZE];
	size_t i;

	if (pread(fd, buf, sizeof(buf), 0) != sizeof(buf))
		return "read";
	for (i = 0; i < sizeof(buf); i++)
		if (buf[i] != pattern(1, i))
			return "content";
	return NULL;
}

static const char *stress_mapping(int fd)
{
	const char *fault = NULL;
	unsigned char *map;

	map = mmap(NULL, PAIR_SIZE, PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return "mmap";
	if (!map_has(map, PAIR_SIZE, 1))
		fault = "mapped content";
	munmap(map, PAIR_SIZE);
	return fault;
}

/* Replace @name by a new clone of "origin". */
static const char *stress_replace(const char *name, const char *tmp)
{
	const char *fault = NULL;
	int src, dst;

	src = open("origin", O_RDONLY | O_CLOEXEC);
	dst = open(tmp, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (src < 0 || dst < 0 || ioctl(dst, FICLONE, src))
		fault = "clone";
	close(src);
	close(dst);
	if (!fault && rename(tmp, name))
		fault = "rename";
	return fault;
}

static void *stress_thread(void *arg)
{
	struct stress *s = arg;
	struct fs_mapping_info info;
	char names[2][16], tmp[16];
	int fd, err;

	snprintf(tmp, sizeof(tmp), "tmp%u", s->seed);
	do {
		snprintf(names[0], 16, "f%d", rand_r(&s->seed) % STRESS_FILES);
		snprintf(names[1], 16, "f%d", rand_r(&s->seed) % STRESS_FILES);
		fd = open(names[0], O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			s->fault = "open";
		switch (rand_r(&s->seed) % 8) {
		case 0:
		case 1:
			err = alias_file(names[0], names[1], KEEP);
			break;
		case 2:
			err = alias_file(names[0], names[1], 0);
			break;
		case 3:
			err = release_fd(fd);
			if (err)
				s->fault = "release";
			err = 0;
			break;
		case 4:
			s->fault = stress_replace(names[0], tmp);
			err = 0;
			break;
		case 5:
			s->fault = stress_mapping(fd);
			err = 0;
			break;
		default:
			if (ioctl(fd, FS_IOC_MAPPING_INFO, &info))
				s->fault = "info";
			err = 0;
		}
		/*
		 * EINVAL: the same file; EBUSY: in another relation already;
		 * ENOENT: replaced meanwhile.
		 */
		if (err && err != -EINVAL && err != -EBUSY && err != -ENOENT)
			s->fault = strerror(-err);
		if (!s->fault)
			s->fault = stress_read(fd);
		close(fd);
	} while (!s->fault && microseconds() < s->end);
	return NULL;
}

TEST_F(fs, stress)
{
	struct stress s[4] = {};
	char name[16];
	__s64 end;
	size_t i;

	make_file(_metadata, "origin", PAIR_SIZE, 1);
	for (i = 0; i < STRESS_FILES; i++) {
		snprintf(name, sizeof(name), "f%zu", i);
		clone_file(_metadata, "origin", name);
	}
	end = microseconds() + STRESS_SECONDS * 1000000;
	for (i = 0; i < ARRAY_SIZE(s); i++) {
		s[i].seed = i + 1;
		s[i].end = end;
		ASSERT_EQ(0, pthread_create(&s[i].thread, NULL, stress_thread,
					    &s[i]));
	}
	for (i = 0; i < ARRAY_SIZE(s); i++) {
		ASSERT_EQ(0, pthread_join(s[i].thread, NULL));
		EXPECT_EQ(NULL, s[i].fault) {
			TH_LOG("thread %zu: %s", i, s[i].fault);
		}
	}

	/* All can be given back, and nothing is left over. */
	for (i = 0; i < STRESS_FILES; i++) {
		snprintf(name, sizeof(name), "f%zu", i);
		EXPECT_EQ(0, release_file(name));
	}
	for (i = 0; i < STRESS_FILES; i++) {
		snprintf(name, sizeof(name), "f%zu", i);
		EXPECT_EQ(ORDINARY, state_of(_metadata, name));
		EXPECT_EQ(0, try_open(name, O_RDWR));
		EXPECT_TRUE(file_has(_metadata, name, PAIR_SIZE, 1));
	}
	EXPECT_EQ(0, remount_ro());
}

TEST_HARNESS_MAIN
