// SPDX-License-Identifier: GPL-2.0
/*
 * Files opened and mapped before the switch keep the page cache that they had.
 * It must stay right, and be found by all who look for a file's pages.
 */

#include <linux/perf_event.h>
#include <sys/socket.h>

#include "common.h"

TEST_F(fs, opened_before)
{
	int fd;

	donor_and_alias(_metadata);
	fd = xopen(_metadata, "alias", O_RDONLY);
	EXPECT_TRUE(fd_has(_metadata, fd, 0, PAIR_SIZE / 2, 1));
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	EXPECT_TRUE(fd_has(_metadata, fd, 0, PAIR_SIZE, 1));
	EXPECT_EQ(0, posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
	EXPECT_EQ(0, posix_fadvise(fd, 0, 0, POSIX_FADV_WILLNEED));
	EXPECT_TRUE(fd_has(_metadata, fd, 0, PAIR_SIZE, 1));
	EXPECT_EQ(0, fsync(fd));
	EXPECT_EQ(PAIR_SIZE, lseek(fd, 0, SEEK_END));
	EXPECT_EQ(KEPT, info_fd(_metadata, fd).state);
	ASSERT_EQ(0, release_fd(fd));
	EXPECT_TRUE(fd_has(_metadata, fd, 0, PAIR_SIZE, 1));
	close(fd);
	EXPECT_EQ(ORDINARY, state_of(_metadata, "alias"));
	EXPECT_TRUE(file_has(_metadata, "alias", PAIR_SIZE, 1));
}

TEST_F(fs, mapped_before)
{
	unsigned char *old, *new, *private;
	int fd;

	donor_and_alias(_metadata);
	old = map_file(_metadata, "alias", PAIR_SIZE);
	fd = xopen(_metadata, "alias", O_RDONLY);
	private = mmap(NULL, PAIR_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE,
		       fd, 0);
	ASSERT_NE(MAP_FAILED, private);
	close(fd);
	private[5] ^= 0xff;
	EXPECT_TRUE(map_has(old, PAIR_SIZE / 2, 1));

	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	new = map_file(_metadata, "alias", PAIR_SIZE);
	EXPECT_TRUE(map_has(new, PAIR_SIZE, 1));
	EXPECT_TRUE(map_has(old, PAIR_SIZE, 1));
	EXPECT_EQ(pattern(1, 5) ^ 0xff, private[5]);
	EXPECT_EQ(pattern(1, PAIR_SIZE - 1), private[PAIR_SIZE - 1]);

	/* What is mapped before is not shared, what is mapped now is. */
	EXPECT_NE(frame_of(_metadata, old), frame_of(_metadata, new));
	drop_caches(_metadata, "3");
	EXPECT_TRUE(map_has(old, PAIR_SIZE, 1));
	EXPECT_TRUE(map_has(new, PAIR_SIZE, 1));

	ASSERT_EQ(0, munmap(private, PAIR_SIZE));
	ASSERT_EQ(0, munmap(new, PAIR_SIZE));
	ASSERT_EQ(0, release_file("alias"));
	EXPECT_TRUE(map_has(old, PAIR_SIZE, 1));
	EXPECT_EQ(ALIAS, state_of(_metadata, "alias"));
	ASSERT_EQ(0, munmap(old, PAIR_SIZE));
	EXPECT_EQ(ORDINARY, state_of(_metadata, "alias"));
}

/* How many kB the machine has locked. */
static long mlocked(struct __test_metadata *_metadata)
{
	static const char key[] = "\nMlocked:";
	const char *line;

	/* Have the CPUs add what each of them has counted. */
	read_text(_metadata, "/proc/sys/vm/stat_refresh");
	line = strstr(read_text(_metadata, "/proc/meminfo"), key);
	ASSERT_NE(NULL, line);
	return atol(line + strlen(key));
}

/* Will the machine have @kb locked?  CPUs unlock pages some at a time. */
static bool will_have_mlocked(struct __test_metadata *_metadata, long kb)
{
	int i;

	for (i = 0; i < 50; i++) {
		drop_caches(_metadata, "1");
		if (mlocked(_metadata) == kb)
			return true;
		usleep(100000);
	}
	TH_LOG("%ld kB locked instead of %ld", mlocked(_metadata), kb);
	return false;
}

static unsigned char *map_locked(struct __test_metadata *_metadata,
				 const char *name)
{
	unsigned char *map = map_file(_metadata, name, PAIR_SIZE);

	/* Small folios: which large ones are locked depends on addresses. */
	ASSERT_EQ(0, madvise(map, PAIR_SIZE, MADV_RANDOM));
	ASSERT_EQ(0, mlock(map, PAIR_SIZE));
	return map;
}

/* Locked pages are dropped as well, and aren't counted as locked for ever. */
TEST_F(fs, locked_before)
{
	long before = mlocked(_metadata);
	unsigned char *old[2], *new[2];
	int i;

	donor_and_alias(_metadata);
	drop_caches(_metadata, "1");
	old[0] = map_locked(_metadata, "alias");
	old[1] = map_locked(_metadata, "donor");
	EXPECT_TRUE(will_have_mlocked(_metadata,
				      before + 2 * PAIR_SIZE / 1024));
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	EXPECT_TRUE(map_has(old[0], PAIR_SIZE, 1));
	EXPECT_TRUE(map_has(old[1], PAIR_SIZE, 1));
	new[0] = map_locked(_metadata, "alias");
	new[1] = map_locked(_metadata, "donor");
	EXPECT_EQ(frame_of(_metadata, new[1]), frame_of(_metadata, new[0]));
	EXPECT_EQ(frame_of(_metadata, old[1]), frame_of(_metadata, new[0]));
	EXPECT_NE(frame_of(_metadata, old[0]), frame_of(_metadata, new[0]));
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, munmap(old[i], PAIR_SIZE));
		ASSERT_EQ(0, munmap(new[i], PAIR_SIZE));
	}
	EXPECT_EQ(KEPT, state_of(_metadata, "alias"));
	EXPECT_TRUE(will_have_mlocked(_metadata, before));
}

/* drop_caches empties both page caches that an alias's users have. */
TEST_F(fs, drop_caches)
{
	int before, after;

	donor_and_alias(_metadata);
	before = xopen(_metadata, "alias", O_RDONLY);
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	after = xopen(_metadata, "alias", O_RDONLY);
	EXPECT_TRUE(fd_has(_metadata, before, 0, PAIR_SIZE, 1));
	EXPECT_TRUE(fd_has(_metadata, after, 0, PAIR_SIZE, 1));
	EXPECT_EQ(PAIR_BLOCKS, cached_pages(_metadata, before));
	EXPECT_EQ(PAIR_BLOCKS, cached_pages(_metadata, after));
	drop_caches(_metadata, "1");
	EXPECT_EQ(0, cached_pages(_metadata, before));
	EXPECT_EQ(0, cached_pages(_metadata, after));

	/* That the donor has nothing doesn't say that the alias has not. */
	EXPECT_TRUE(fd_has(_metadata, before, 0, PAIR_SIZE, 1));
	EXPECT_EQ(PAIR_BLOCKS, cached_pages(_metadata, before));
	ASSERT_EQ(0, cached_pages(_metadata, after));
	drop_caches(_metadata, "1");
	EXPECT_EQ(0, cached_pages(_metadata, before));
	EXPECT_TRUE(fd_has(_metadata, before, 0, PAIR_SIZE, 1));
}

/* What is probed: its machine code is written to a file. */
static void do_nothing(void)
{
	asm volatile("nop\n\tnop");
}

/* Enough for a probe's breakpoint, and for all that is executed. */
#define CODE_SIZE 16

/* Make "donor" and "alias": a function that does nothing, and zeros. */
static void make_code(struct __test_metadata *_metadata)
{
	int fd;

	make_file(_metadata, "donor", 0, 0);
	ASSERT_EQ(0, truncate("donor", BLK));
	fd = xopen(_metadata, "donor", O_WRONLY);
	ASSERT_EQ(CODE_SIZE, write(fd, (void *)do_nothing, CODE_SIZE));
	ASSERT_EQ(0, fsync(fd));
	close(fd);
	clone_file(_metadata, "donor", "alias");
}

/* Map the function in @name as a program's text is mapped, and run it. */
static unsigned char *map_code(struct __test_metadata *_metadata,
			       const char *name)
{
	int fd = xopen(_metadata, name, O_RDONLY);
	void *map = mmap(NULL, BLK, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);

	ASSERT_NE(MAP_FAILED, map);
	close(fd);
	((void (*)(void))map)();
	return map;
}

static bool probed(const unsigned char *map)
{
	return memcmp(map, (void *)do_nothing, CODE_SIZE) != 0;
}

/* Probe the start of @name, in all processes. */
static int probe(struct __test_metadata *_metadata, const char *name)
{
	struct perf_event_attr attr = { .size = sizeof(attr) };
	char path[256], type[16];
	int fd;

	ASSERT_NE(NULL, realpath(name, path));
	fd = xopen(_metadata, "/sys/bus/event_source/devices/uprobe/type",
		   O_RDONLY);
	ASSERT_LT(0, read(fd, type, sizeof(type)));
	close(fd);
	attr.type = atoi(type);
	attr.config1 = (unsigned long)path;
	fd = syscall(__NR_perf_event_open, &attr, -1, 0, -1,
		     PERF_FLAG_FD_CLOEXEC);
	ASSERT_LE(0, fd) {
		TH_LOG("perf_event_open: %s", strerror(errno));
	}
	return fd;
}

/* A probe is a user of the file that it is set in. */
TEST_F(fs, uprobe_holds_alias)
{
	int event, fd;

	make_code(_metadata);
	fd = xopen(_metadata, "alias", O_RDONLY);
	ASSERT_EQ(0, alias_file("alias", "donor", 0));
	event = probe(_metadata, "alias");
	close(fd);
	EXPECT_EQ(ALIAS, state_of(_metadata, "alias"));
	EXPECT_EQ(-ETXTBSY, try_open("donor", O_RDWR));
	close(event);
	EXPECT_EQ(ORDINARY, state_of(_metadata, "alias"));
	EXPECT_EQ(0, try_open("donor", O_RDWR));
}

/* A probe set before the switch goes when it is removed after it. */
TEST_F(fs, uprobe_across_switch)
{
	unsigned char *map;
	int event;

	make_code(_metadata);
	map = map_code(_metadata, "alias");
	event = probe(_metadata, "alias");
	EXPECT_TRUE(probed(map));
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	((void (*)(void))map)();
	close(event);
	EXPECT_FALSE(probed(map));
	((void (*)(void))map)();
	ASSERT_EQ(0, munmap(map, BLK));
}

/* A probe set after the switch is seen by old and new mappings. */
TEST_F(fs, uprobe_after_switch)
{
	unsigned char *old, *new;
	int event;

	make_code(_metadata);
	old = map_code(_metadata, "alias");
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	new = map_code(_metadata, "alias");
	event = probe(_metadata, "alias");
	EXPECT_TRUE(probed(old));
	EXPECT_TRUE(probed(new));
	((void (*)(void))old)();
	((void (*)(void))new)();
	close(event);
	EXPECT_FALSE(probed(old));
	EXPECT_FALSE(probed(new));
	((void (*)(void))old)();
	((void (*)(void))new)();
	ASSERT_EQ(0, munmap(old, BLK));
	ASSERT_EQ(0, munmap(new, BLK));
}

/* A file that is mapped while a probe is set gets it, and loses it again. */
TEST_F(fs, uprobe_mapped_later)
{
	unsigned char *map;
	int event;

	make_code(_metadata);
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	event = probe(_metadata, "alias");
	map = map_code(_metadata, "alias");
	EXPECT_TRUE(probed(map));
	close(event);
	EXPECT_FALSE(probed(map));
	((void (*)(void))map)();
	ASSERT_EQ(0, munmap(map, BLK));
}

/* Probes belong to files, not to the page cache that they share. */
TEST_F(fs, uprobe_of_the_other)
{
	unsigned char *alias, *donor;
	int event;

	make_code(_metadata);
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	alias = map_code(_metadata, "alias");
	donor = map_code(_metadata, "donor");
	EXPECT_EQ(frame_of(_metadata, alias), frame_of(_metadata, donor));

	event = probe(_metadata, "alias");
	EXPECT_TRUE(probed(alias));
	EXPECT_FALSE(probed(donor));
	((void (*)(void))alias)();
	((void (*)(void))donor)();
	close(event);
	EXPECT_FALSE(probed(alias));

	event = probe(_metadata, "donor");
	EXPECT_FALSE(probed(alias));
	EXPECT_TRUE(probed(donor));
	((void (*)(void))alias)();
	((void (*)(void))donor)();
	close(event);
	EXPECT_FALSE(probed(donor));

	ASSERT_EQ(0, munmap(alias, BLK));
	ASSERT_EQ(0, munmap(donor, BLK));
}

/* Another process that has mapped the function, and runs it when asked to. */
static pid_t start_runner(struct __test_metadata *_metadata, const char *name,
			  int *sock)
{
	unsigned char *map, answer;
	pid_t pid;
	int sv[2];

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv));
	pid = fork();
	ASSERT_LE(0, pid);
	*sock = sv[0];
	if (pid) {
		close(sv[1]);
		/* It has run the function once when it answers. */
		ASSERT_EQ(1, read(*sock, &answer, 1));
		return pid;
	}
	ASSERT_EQ(3, dup2(sv[1], 3));
	close_range(4, ~0U, 0);
	map = map_code(_metadata, name);
	do {
		answer = probed(map);
		((void (*)(void))map)();
	} while (write(3, &answer, 1) == 1 && read(3, &answer, 1) == 1);
	_exit(0);
}

/* Let it run the function.  Was that probed? */
static bool ask_runner(struct __test_metadata *_metadata, int sock)
{
	unsigned char answer = 0;

	ASSERT_EQ(1, write(sock, &answer, 1));
	ASSERT_EQ(1, read(sock, &answer, 1));
	return answer;
}

static __u64 hits(struct __test_metadata *_metadata, int event)
{
	__u64 count;

	ASSERT_EQ(sizeof(count), read(event, &count, sizeof(count)));
	return count;
}

/*
 * Processes that mapped the file before and after, a probe that is set before
 * or after: each is hit, and none is left with a breakpoint.
 */
TEST_F(fs, uprobe_processes)
{
	static const char * const names[] = { "alias", "alias", "donor" };
	int event = -1, before, i, sock[3];
	pid_t pid[3];
	__u64 count;

	/* Hits are counted there. */
	stay_on_first_cpu(_metadata);
	for (before = 0; before < 2; before++) {
		make_code(_metadata);
		pid[0] = start_runner(_metadata, names[0], &sock[0]);
		if (before)
			event = probe(_metadata, "alias");
		ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
		if (!before)
			event = probe(_metadata, "alias");
		for (i = 1; i < 3; i++)
			pid[i] = start_runner(_metadata, names[i], &sock[i]);

		for (i = 0; i < 3; i++) {
			count = hits(_metadata, event);
			EXPECT_EQ(i < 2, ask_runner(_metadata, sock[i]));
			EXPECT_EQ(count + (i < 2), hits(_metadata, event));
		}
		close(event);
		for (i = 0; i < 3; i++) {
			EXPECT_FALSE(ask_runner(_metadata, sock[i]));
			close(sock[i]);
			EXPECT_EQ(0, child_result(_metadata, pid[i]));
		}
		ASSERT_EQ(0, release_file("alias"));
	}
}

TEST_HARNESS_MAIN
