// SPDX-License-Identifier: GPL-2.0
/*
 * Memory management on pages that several files share.  What an ordinary file
 * does for two users that have it open is what an alias and its donor do for
 * theirs.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <linux/aio_abi.h>
#include <linux/fiemap.h>
#include <linux/kernel-page-flags.h>
#include <linux/userfaultfd.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "common.h"
#include "uring.h"

#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC 0x8000
#endif
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

#ifndef MADV_SOFT_OFFLINE
#define MADV_SOFT_OFFLINE 101
#endif

/* Who acts, and who is to notice; both ways. */
static const char * const both_ways[][2] = {
	{ "alias", "donor" },
	{ "donor", "alias" },
};

/*
 * "alias", kept, and "donor" of @size bytes.  From now on all runs on one CPU:
 * pages that wait in the batch of another one can't be reclaimed or moved.
 */
static void kept_pair(struct __test_metadata *_metadata, size_t size)
{
	stay_on_first_cpu(_metadata);
	make_file(_metadata, "donor", size, 1);
	clone_file(_metadata, "donor", "alias");
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
}

/* Have the pages that are not cached read one by one: no large folios. */
static void read_small(struct __test_metadata *_metadata, const char *name,
		       size_t offset, size_t len)
{
	int fd = xopen(_metadata, name, O_RDONLY);

	ASSERT_EQ(0, posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM));
	ASSERT_TRUE(fd_has(_metadata, fd, offset, len, 1));
	close(fd);
}

/* Give up all of the file's pages that nobody has mapped. */
static void forget(struct __test_metadata *_metadata, const char *name)
{
	int fd = xopen(_metadata, name, O_RDONLY);

	ASSERT_EQ(0, posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
	close(fd);
}

/* frame_of() for @n pages at once, in memory to be freed. */
static __u64 *frames_of(struct __test_metadata *_metadata,
			const unsigned char *addr, size_t n)
{
	int fd = xopen(_metadata, "/proc/self/pagemap", O_RDONLY);
	__u64 *frames = calloc(n, sizeof(*frames));
	size_t i;

	ASSERT_NE(NULL, frames);
	for (i = 0; i < n; i++)
		(void)__atomic_load_n(&addr[i * BLK], __ATOMIC_RELAXED);
	ASSERT_EQ((ssize_t)(n * 8), pread(fd, frames, n * 8,
					  (unsigned long)addr / BLK * 8));
	close(fd);
	for (i = 0; i < n; i++) {
		ASSERT_NE(0, frames[i] >> 63);		/* present */
		frames[i] &= (1ULL << 55) - 1;
		ASSERT_NE(0, frames[i]);		/* not hidden */
	}
	return frames;
}

/*
 * Do both have the same memory?  The kernel may move it while we look: then look
 * again.
 */
static bool same_frames(struct __test_metadata *_metadata,
			const unsigned char *a, const unsigned char *b, size_t n)
{
	bool same = false, moved = true;
	int tries;

	for (tries = 0; tries < 10 && !same && moved; tries++) {
		__u64 *before = frames_of(_metadata, a, n);
		__u64 *other = frames_of(_metadata, b, n);
		__u64 *after = frames_of(_metadata, a, n);

		same = !memcmp(before, other, n * sizeof(*before));
		moved = memcmp(before, after, n * sizeof(*before));
		free(before);
		free(other);
		free(after);
	}
	return same;
}

/* Are all @n pages from @addr on parts of one piece of memory? */
static bool contiguous(struct __test_metadata *_metadata,
		       const unsigned char *addr, size_t n)
{
	__u64 *frames = frames_of(_metadata, addr, n);
	size_t i;

	for (i = 1; i < n && frames[i] == frames[0] + i; i++)
		;
	free(frames);
	return i == n;
}

/* Is the page a part of a large folio? */
static bool in_large_folio(struct __test_metadata *_metadata, __u64 frame)
{
	int fd = xopen(_metadata, "/proc/kpageflags", O_RDONLY);
	__u64 flags;

	ASSERT_EQ(8, pread(fd, &flags, 8, frame * 8));
	close(fd);
	return flags & (1 << KPF_COMPOUND_HEAD | 1 << KPF_COMPOUND_TAIL);
}

/* Map @name so that it can be mapped by huge pages. */
static unsigned char *map_aligned(struct __test_metadata *_metadata,
				  const char *name, size_t size, int prot)
{
	int fd = xopen(_metadata, name, O_RDONLY);
	unsigned long area;
	void *map;

	map = mmap(NULL, size + HUGE_SIZE, PROT_NONE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, map);
	area = (unsigned long)map;
	ASSERT_EQ(0, munmap(map, size + HUGE_SIZE));
	area = (area + HUGE_SIZE - 1) & ~(HUGE_SIZE - 1);
	map = mmap((void *)area, size, prot, MAP_SHARED | MAP_FIXED_NOREPLACE,
		   fd, 0);
	ASSERT_EQ((void *)area, map);
	close(fd);
	return map;
}

/* Another process that has a file mapped and looks at it when asked to. */
struct user {
	pid_t pid;
	int sock;
};

struct view {
	__u64 frame;
	bool right;
};

/* @cgroup may be NULL. */
static struct user start_user(struct __test_metadata *_metadata,
			      const char *cgroup, const char *name, size_t size)
{
	struct user user;
	struct view view;
	unsigned char *map;
	size_t offset;
	int sv[2];

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv));
	user.pid = fork();
	ASSERT_LE(0, user.pid);
	user.sock = sv[0];
	if (user.pid) {
		close(sv[1]);
		return user;
	}

	/* Not only sv[0]: another user must see its own end. */
	close_range(3, sv[1] - 1, 0);
	close_range(sv[1] + 1, ~0U, 0);
	if (cgroup)
		enter_cgroup(_metadata, cgroup);
	map = map_file(_metadata, name, size);
	while (read(sv[1], &offset, sizeof(offset)) == sizeof(offset)) {
		view.right = map_has(map, size, 1);
		view.frame = frame_of(_metadata, map + offset);
		if (write(sv[1], &view, sizeof(view)) != sizeof(view))
			break;
	}
	_exit(0);
}

/* Is all right for that user, and which frame does it have at @offset? */
static __u64 ask_user(struct __test_metadata *_metadata, struct user *user,
		      size_t offset)
{
	struct view view;

	ASSERT_EQ(sizeof(offset), write(user->sock, &offset, sizeof(offset)));
	ASSERT_EQ(sizeof(view), read(user->sock, &view, sizeof(view)));
	EXPECT_TRUE(view.right);
	return view.frame;
}

/* It must end by itself and not by a signal. */
static void end_user(struct __test_metadata *_metadata, struct user *user)
{
	close(user->sock);
	EXPECT_EQ(0, child_result(_metadata, user->pid));
}

/* Writing to private mappings of either file copies, for the writer alone. */
TEST_F(fs, copy_on_write)
{
	static const unsigned char byte = 0x5a;
	unsigned char *private, *shared;
	struct user user;
	int fd, mem;
	size_t i;
	pid_t pid;

	kept_pair(_metadata, PAIR_SIZE);
	for (i = 0; i < ARRAY_SIZE(both_ways); i++) {
		user = start_user(_metadata, NULL, both_ways[i][1], PAIR_SIZE);
		shared = map_file(_metadata, both_ways[i][1], PAIR_SIZE);
		fd = xopen(_metadata, both_ways[i][0], O_RDONLY);
		private = mmap(NULL, PAIR_SIZE, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE, fd, 0);
		ASSERT_NE(MAP_FAILED, private);
		close(fd);
		EXPECT_TRUE(same_frames(_metadata, private, shared,
					PAIR_BLOCKS));

		private[2 * BLK] ^= 0xff;
		EXPECT_NE(frame_of(_metadata, private + 2 * BLK),
			  frame_of(_metadata, shared + 2 * BLK));
		EXPECT_TRUE(same_frames(_metadata, private, shared, 2));
		EXPECT_TRUE(same_frames(_metadata, private + 3 * BLK,
					shared + 3 * BLK, PAIR_BLOCKS - 3));

		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			memset(private, 0, PAIR_SIZE);
			_exit(!map_has(shared, PAIR_SIZE, 1));
		}
		EXPECT_EQ(0, child_result(_metadata, pid));
		EXPECT_EQ(pattern(1, 0), private[0]);
		EXPECT_EQ(pattern(1, 2 * BLK) ^ 0xff, private[2 * BLK]);

		/* As a debugger sets its breakpoints. */
		ASSERT_EQ(0, mprotect(private, PAIR_SIZE, PROT_READ));
		mem = xopen(_metadata, "/proc/self/mem", O_RDWR);
		ASSERT_EQ(1, pwrite(mem, &byte, 1,
				    (unsigned long)private + 5 * BLK));
		close(mem);
		EXPECT_EQ(byte, private[5 * BLK]);
		EXPECT_NE(frame_of(_metadata, private + 5 * BLK),
			  frame_of(_metadata, shared + 5 * BLK));

		EXPECT_TRUE(map_has(shared, PAIR_SIZE, 1));
		ask_user(_metadata, &user, 0);
		ASSERT_EQ(0, madvise(private, PAIR_SIZE, MADV_DONTNEED));
		EXPECT_TRUE(same_frames(_metadata, private, shared,
					PAIR_BLOCKS));
		end_user(_metadata, &user);
		ASSERT_EQ(0, munmap(private, PAIR_SIZE));
		ASSERT_EQ(0, munmap(shared, PAIR_SIZE));
	}
	EXPECT_TRUE(file_has(_metadata, "alias", PAIR_SIZE, 1));
	EXPECT_TRUE(file_has(_metadata, "donor", PAIR_SIZE, 1));
}

/* Folios of several pages, up to huge ones, are shared as a whole. */
TEST_F(fs, large_folios)
{
	const size_t size = 2 * HUGE_SIZE;
	unsigned char *maps[2];
	char range[64];
	size_t i;

	if (strcmp(variant->type, "xfs"))
		SKIP(return, "only XFS reads into large folios");
	kept_pair(_metadata, size);
	for (i = 0; i < ARRAY_SIZE(both_ways); i++) {
		forget(_metadata, "donor");
		maps[0] = map_aligned(_metadata, both_ways[i][0], size,
				      PROT_READ);
		maps[1] = map_aligned(_metadata, both_ways[i][1], size,
				      PROT_READ);
		ASSERT_EQ(0, madvise(maps[0], size, MADV_HUGEPAGE));
		EXPECT_TRUE(contiguous(_metadata, maps[0], HUGE_PAGES));
		/* What is split below must not be made one again. */
		ASSERT_EQ(0, madvise(maps[0], size, MADV_NOHUGEPAGE));
		EXPECT_TRUE(in_large_folio(_metadata,
					   frame_of(_metadata, maps[0])));
		EXPECT_TRUE(same_frames(_metadata, maps[0], maps[1],
					HUGE_PAGES));
		EXPECT_TRUE(map_has(maps[0], size, 1));
		EXPECT_TRUE(map_has(maps[1], size, 1));

		/*
		 * Splitting them is seen by all who have mapped them.  Before
		 * Linux 6.9 this is not done to those with private data.
		 */
		snprintf(range, sizeof(range), "%d,0x%lx,0x%lx", getpid(),
			 (unsigned long)maps[0], (unsigned long)maps[0] + size);
		write_text(_metadata, "/sys/kernel/debug/split_huge_pages",
			   range);
		EXPECT_EQ(!linux_since(6, 9),
			  in_large_folio(_metadata,
					 frame_of(_metadata, maps[1])));
		EXPECT_TRUE(same_frames(_metadata, maps[0], maps[1],
					HUGE_PAGES));
		EXPECT_TRUE(map_has(maps[0], size, 1));
		EXPECT_TRUE(map_has(maps[1], size, 1));
		ASSERT_EQ(0, munmap(maps[0], size));
		ASSERT_EQ(0, munmap(maps[1], size));
	}
}

/* Small folios that are made a huge one, as for a program's text. */
TEST_F(fs, collapse)
{
	unsigned char *maps[2];
	size_t i;

	kept_pair(_metadata, HUGE_SIZE);
	for (i = 0; i < ARRAY_SIZE(both_ways); i++) {
		forget(_metadata, "donor");
		read_small(_metadata, both_ways[i][1], 0, HUGE_SIZE);
		maps[0] = map_aligned(_metadata, both_ways[i][0], HUGE_SIZE,
				      PROT_READ | PROT_EXEC);
		maps[1] = map_aligned(_metadata, both_ways[i][1], HUGE_SIZE,
				      PROT_READ);
		/* Older versions want to find a page table. */
		EXPECT_TRUE(map_has(maps[0], HUGE_SIZE, 1));
		EXPECT_FALSE(in_large_folio(_metadata,
					    frame_of(_metadata, maps[1])));
		ASSERT_EQ(0, madvise(maps[0], HUGE_SIZE, MADV_COLLAPSE)) {
			TH_LOG("MADV_COLLAPSE: %s", strerror(errno));
		}
		EXPECT_TRUE(in_large_folio(_metadata,
					   frame_of(_metadata, maps[1])));
		EXPECT_TRUE(contiguous(_metadata, maps[1], HUGE_PAGES));
		EXPECT_TRUE(same_frames(_metadata, maps[0], maps[1],
					HUGE_PAGES));
		EXPECT_TRUE(map_has(maps[0], HUGE_SIZE, 1));
		EXPECT_TRUE(map_has(maps[1], HUGE_SIZE, 1));
		ASSERT_EQ(0, munmap(maps[0], HUGE_SIZE));
		ASSERT_EQ(0, munmap(maps[1], HUGE_SIZE));
	}
	/* Not being frozen any more, they can be written to. */
	ASSERT_EQ(0, release_file("alias"));
	EXPECT_EQ(0, try_open("alias", O_RDWR));
	EXPECT_EQ(0, try_open("donor", O_RDWR));
	EXPECT_TRUE(file_has(_metadata, "alias", HUGE_SIZE, 1));
}

/* Where the first block of a file is on disk. */
static off_t first_block(struct __test_metadata *_metadata, int fd)
{
	struct {
		struct fiemap head;
		struct fiemap_extent extent;
	} map = { .head = { .fm_length = BLK, .fm_extent_count = 1 } };

	ASSERT_EQ(0, ioctl(fd, FS_IOC_FIEMAP, &map));
	ASSERT_EQ(1, map.head.fm_mapped_extents);
	return map.extent.fe_physical;
}

struct collapse {
	void *map;
	atomic_bool begin;
	long duration;		/* microseconds */
};

static void *do_collapse(void *arg)
{
	struct collapse *collapse = arg;
	long start;

	while (!collapse->begin)
		;
	start = microseconds();
	madvise(collapse->map, HUGE_SIZE, MADV_COLLAPSE);
	collapse->duration = microseconds() - start;
	return NULL;
}

/*
 * A huge page that is made from a page cache while that is emptied has what was
 * there, and what is read afterwards has to come from the disk.  So make the two
 * differ, at some moment or other of the collapse.
 */
TEST_F(fs, collapse_while_emptied)
{
	int round, donor, alias, disk, err, successes = 0;
	long start, longest = 1000, delay;
	struct collapse collapse;
	pthread_t thread;
	unsigned char *block;

	if (strcmp(variant->type, "xfs"))
		SKIP(return, "only XFS has no checksums that tell");
	block = aligned_alloc(BLK, BLK);
	ASSERT_NE(NULL, block);
	disk = xopen(_metadata, self->dev, O_RDWR | O_DIRECT);
	for (round = 0; round < 40; round++) {
		donor = xopen(_metadata, "donor", O_RDWR | O_CREAT | O_TRUNC);
		/* At once it would be a huge page. */
		write_pattern(_metadata, donor, 0, HUGE_SIZE / 2, 1);
		write_pattern(_metadata, donor, HUGE_SIZE / 2, HUGE_SIZE / 2, 1);
		ASSERT_EQ(0, fsync(donor));
		clone_file(_metadata, "donor", "alias");
		memset(block, round, BLK);
		ASSERT_EQ(BLK, pwrite(disk, block, BLK, first_block(_metadata, donor)));
		close(donor);

		collapse = (struct collapse){
			.map = map_aligned(_metadata, "donor", HUGE_SIZE,
					   PROT_READ | PROT_EXEC),
		};
		donor = xopen(_metadata, "donor", O_RDONLY);
		alias = xopen(_metadata, "alias", O_RDONLY);
		ASSERT_EQ(0, pthread_create(&thread, NULL, do_collapse, &collapse));
		delay = rand() % longest;
		collapse.begin = true;
		for (start = microseconds(); microseconds() - start < delay; )
			;
		err = alias_fd(alias, donor, 0);
		EXPECT_TRUE(!err || err == -EBUSY);
		ASSERT_EQ(0, pthread_join(thread, NULL));
		longest = (longest + collapse.duration) / 2 + 1;
		if (!err) {
			successes++;
			ASSERT_EQ(BLK, pread(donor, block, BLK, 0));
			EXPECT_EQ(round, block[0]);
			EXPECT_EQ(round, block[BLK - 1]);
		}
		ASSERT_EQ(0, munmap(collapse.map, HUGE_SIZE));
		close(alias);
		close(donor);
		ASSERT_EQ(0, unlink("alias"));
		ASSERT_EQ(0, unlink("donor"));
	}
	EXPECT_LT(0, successes);
	close(disk);
	free(block);
}

struct reader {
	const char *name;
	void *(*read)(void *reader);
	unsigned char *map;
	pthread_t thread;
	atomic_bool *stop;
};

/* Have the file read in by MADV_COLLAPSE, with pages of it locked, again and again. */
static void *collapse_holes(void *arg)
{
	struct reader *reader = arg;
	int fd = open(reader->name, O_RDONLY | O_CLOEXEC);
	char byte;

	posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
	while (!*reader->stop) {
		madvise(reader->map, HUGE_SIZE, MADV_DONTNEED);
		posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
		if (pread(fd, &byte, 1, 0) != 1)
			break;
		madvise(reader->map, HUGE_SIZE, MADV_COLLAPSE);
	}
	close(fd);
	return NULL;
}

/* Have all of the file read in by page faults, again and again. */
static void *fault_in(void *arg)
{
	struct reader *reader = arg;
	int fd = open(reader->name, O_RDONLY | O_CLOEXEC);
	size_t i;

	while (!*reader->stop) {
		for (i = 0; i < HUGE_PAGES; i++)
			(void)__atomic_load_n(&reader->map[i * BLK],
					      __ATOMIC_RELAXED);
		madvise(reader->map, HUGE_SIZE, MADV_DONTNEED);
		posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	}
	close(fd);
	return NULL;
}

/*
 * Let files become aliases while both are read in these ways.  It must not hang
 * them, which the kernel notices, nor keep them from it.
 */
static void alias_while(struct __test_metadata *_metadata,
			void *(*one)(void *reader),
			void *(*other)(void *reader))
{
	struct reader readers[] = {
		{ .name = "donor", .read = one },
		{ .name = "alias", .read = one },
		{ .name = "donor", .read = other },
		{ .name = "alias", .read = other },
		{ .name = "donor", .read = other },
		{ .name = "alias", .read = other },
	};
	int round, donor, alias, tries, err;
	atomic_bool stop;
	size_t i;

	write_text(_metadata, "/proc/sys/kernel/hung_task_timeout_secs", "20");
	for (round = 0; round < 20; round++) {
		make_file(_metadata, "donor", HUGE_SIZE, 1);
		clone_file(_metadata, "donor", "alias");
		stop = false;
		for (i = 0; i < ARRAY_SIZE(readers); i++) {
			readers[i].stop = &stop;
			readers[i].map = map_aligned(_metadata, readers[i].name,
						     HUGE_SIZE,
						     PROT_READ | PROT_EXEC);
			ASSERT_EQ(0, pthread_create(&readers[i].thread, NULL,
						    readers[i].read,
						    &readers[i]));
		}
		donor = xopen(_metadata, "donor", O_RDONLY);
		alias = xopen(_metadata, "alias", O_RDONLY);
		usleep(rand() % 20000);
		/* What becomes a huge page just then can't be emptied: EBUSY. */
		tries = one == collapse_holes ? 100 : 1;
		do
			err = alias_fd(alias, donor, 0);
		while (err == -EBUSY && --tries);
		EXPECT_EQ(0, err);
		stop = true;
		for (i = 0; i < ARRAY_SIZE(readers); i++) {
			ASSERT_EQ(0, pthread_join(readers[i].thread, NULL));
			ASSERT_EQ(0, munmap(readers[i].map, HUGE_SIZE));
		}
		EXPECT_TRUE(fd_has(_metadata, alias, 0, HUGE_SIZE, 1));
		close(alias);
		close(donor);
		ASSERT_EQ(0, unlink("alias"));
		ASSERT_EQ(0, unlink("donor"));
	}
	write_text(_metadata, "/proc/sys/kernel/hung_task_timeout_secs", "120");
}

TEST_F_TIMEOUT(fs, alias_while_collapsing, 120)
{
	alias_while(_metadata, collapse_holes, collapse_holes);
}

TEST_F_TIMEOUT(fs, alias_while_faulting, 120)
{
	alias_while(_metadata, fault_in, fault_in);
}

TEST_F_TIMEOUT(fs, alias_while_both, 120)
{
	alias_while(_metadata, collapse_holes, fault_in);
}

/* What /proc/self/smaps says of @what in the mapping at @map, in KiB. */
static long usage_of(struct __test_metadata *_metadata,
		     const unsigned char *map, const char *what)
{
	unsigned long start, end;
	long value, found = -1;
	char line[512], name[32];
	bool here = false;
	FILE *f;

	f = fopen("/proc/self/smaps", "re");
	ASSERT_NE(NULL, f);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			here = start == (unsigned long)map;
		if (here && sscanf(line, "%31[^:]: %ld kB", name, &value) == 2 &&
		    !strcmp(name, what))
			found = value;
	}
	fclose(f);
	return found;
}

/* Pages that are mapped through an alias and its donor are counted as shared. */
TEST_F(fs, smaps)
{
	const long all = PAIR_SIZE / 1024;	/* KiB */
	unsigned char *maps[2];
	int i;

	kept_pair(_metadata, PAIR_SIZE);
	for (i = 0; i < 2; i++) {
		maps[i] = map_file(_metadata, i ? "donor" : "alias", PAIR_SIZE);
		EXPECT_TRUE(map_has(maps[i], PAIR_SIZE, 1));
		EXPECT_EQ(all, usage_of(_metadata, maps[0], "Rss"));
		EXPECT_EQ(i ? all / 2 : all,
			  usage_of(_metadata, maps[0], "Pss"));
		EXPECT_EQ(i ? all : 0,
			  usage_of(_metadata, maps[0], "Shared_Clean"));
		EXPECT_EQ(i ? 0 : all,
			  usage_of(_metadata, maps[0], "Private_Clean"));
	}
	ASSERT_EQ(0, munmap(maps[0], PAIR_SIZE));
	EXPECT_EQ(all, usage_of(_metadata, maps[1], "Pss"));
	EXPECT_EQ(all, usage_of(_metadata, maps[1], "Private_Clean"));
	ASSERT_EQ(0, munmap(maps[1], PAIR_SIZE));
}

/* Memory that is locked through one file stays, for the other one as well. */
TEST_F(fs, mlock)
{
	__u64 *before, *after;
	unsigned char *map;
	struct user user;
	size_t i;

	make_cgroup(_metadata, "mlock");
	kept_pair(_metadata, PAIR_SIZE);
	for (i = 0; i < ARRAY_SIZE(both_ways); i++) {
		forget(_metadata, "donor");
		user = start_user(_metadata, "mlock", both_ways[i][1],
				  PAIR_SIZE);
		enter_cgroup(_metadata, "mlock");
		read_small(_metadata, both_ways[i][0], 0, PAIR_SIZE);
		enter_cgroup(_metadata, "");
		map = map_file(_metadata, both_ways[i][0], PAIR_SIZE);
		ASSERT_EQ(0, mlock(map, PAIR_SIZE / 2));
		ask_user(_metadata, &user, 0);
		before = frames_of(_metadata, map, PAIR_BLOCKS / 2);

		/* All of the rest goes, though it is mapped. */
		reclaim_cgroup(_metadata, "mlock");
		drop_caches(_metadata, "3");
		EXPECT_EQ(PAIR_BLOCKS / 2,
			  cached_pages_of(_metadata, both_ways[i][1]));
		after = frames_of(_metadata, map, PAIR_BLOCKS / 2);
		EXPECT_EQ(0, memcmp(before, after,
				    PAIR_BLOCKS / 2 * sizeof(*before)));
		EXPECT_EQ(before[1], ask_user(_metadata, &user, BLK));
		free(before);
		free(after);

		ASSERT_EQ(0, munlock(map, PAIR_SIZE / 2));
		reclaim_cgroup(_metadata, "mlock");
		drop_caches(_metadata, "3");
		EXPECT_EQ(0, cached_pages_of(_metadata, both_ways[i][1]));
		EXPECT_TRUE(map_has(map, PAIR_SIZE, 1));
		ASSERT_EQ(0, munmap(map, PAIR_SIZE));
		end_user(_metadata, &user);
	}
	ASSERT_EQ(0, rmdir(cgroup_file("mlock", "")));
}

/* Let a page be used again that an error was injected into. */
static void put_back(struct __test_metadata *_metadata, __u64 frame)
{
	char pfn[32];

	snprintf(pfn, sizeof(pfn), "%llu", (unsigned long long)frame);
	write_text(_metadata, "/sys/kernel/debug/hwpoison/unpoison-pfn", pfn);
}

/*
 * Have the file's first pages read, as pages of their own or as a huge folio,
 * and return a mapping of them.
 */
static unsigned char *map_read(struct __test_metadata *_metadata,
			       const char *name, bool large)
{
	unsigned char *map = map_aligned(_metadata, name, HUGE_SIZE, PROT_READ);

	forget(_metadata, name);
	if (!large)
		read_small(_metadata, name, 0, HUGE_SIZE);
	ASSERT_EQ(0, madvise(map, HUGE_SIZE,
			     large ? MADV_HUGEPAGE : MADV_NORMAL));
	EXPECT_EQ(large, in_large_folio(_metadata, frame_of(_metadata, map)));
	/* What is split now must not be made one again. */
	ASSERT_EQ(0, madvise(map, HUGE_SIZE, MADV_NOHUGEPAGE));
	return map;
}

/*
 * A page that is lost or is taken out of use through one file has another frame
 * then, for the users of both: it is moved, or being clean, it is read again.
 */
static void lose_page(struct __test_metadata *_metadata, int advice, bool xfs)
{
	const size_t victim = 3 * BLK;
	unsigned char *map;
	struct user user;
	__u64 old, new;
	size_t i;

	kept_pair(_metadata, HUGE_SIZE);
	/* Large folios, which XFS alone reads, come second. */
	for (i = 0; i < (xfs ? 2 : 1) * ARRAY_SIZE(both_ways); i++) {
		const char * const *way = both_ways[i % ARRAY_SIZE(both_ways)];

		map = map_read(_metadata, way[0], i >= ARRAY_SIZE(both_ways));
		user = start_user(_metadata, NULL, way[1], HUGE_SIZE);
		old = frame_of(_metadata, map + victim);
		ASSERT_EQ(old, ask_user(_metadata, &user, victim));

		ASSERT_EQ(0, madvise(map + victim, BLK, advice)) {
			TH_LOG("madvise: %s", strerror(errno));
		}
		new = frame_of(_metadata, map + victim);
		EXPECT_NE(old, new);
		EXPECT_TRUE(map_has(map, HUGE_SIZE, 1));
		EXPECT_EQ(new, ask_user(_metadata, &user, victim));
		EXPECT_EQ(frame_of(_metadata, map),
			  ask_user(_metadata, &user, 0));
		put_back(_metadata, old);

		end_user(_metadata, &user);
		ASSERT_EQ(0, munmap(map, HUGE_SIZE));
	}
	EXPECT_EQ(KEPT, state_of(_metadata, "alias"));
	EXPECT_TRUE(file_has(_metadata, "alias", HUGE_SIZE, 1));
	EXPECT_TRUE(file_has(_metadata, "donor", HUGE_SIZE, 1));
}

TEST_F(fs, memory_failure)
{
	lose_page(_metadata, MADV_HWPOISON, !strcmp(variant->type, "xfs"));
}

/* Taking a page out of use moves its contents, that is, migrates it. */
TEST_F(fs, soft_offline)
{
	lose_page(_metadata, MADV_SOFT_OFFLINE, !strcmp(variant->type, "xfs"));
}

/*
 * Who mapped the file before it became an alias has pages of its own.  If one is
 * lost, all such users have another one then, and who came later has what he had;
 * and the other way round.
 */
TEST_F(fs, memory_failure_mapped_before)
{
	const size_t victim = 3 * BLK;
	struct user early, late;
	unsigned char *maps[2];
	__u64 old, other;
	int i;

	make_file(_metadata, "donor", PAIR_SIZE, 1);
	clone_file(_metadata, "donor", "alias");
	maps[0] = map_file(_metadata, "alias", PAIR_SIZE);
	early = start_user(_metadata, NULL, "alias", PAIR_SIZE);
	ask_user(_metadata, &early, 0);
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	forget(_metadata, "donor");
	read_small(_metadata, "alias", 0, PAIR_SIZE);
	maps[1] = map_file(_metadata, "alias", PAIR_SIZE);
	late = start_user(_metadata, NULL, "donor", PAIR_SIZE);

	for (i = 0; i < 2; i++) {
		struct user *same = i ? &late : &early;
		struct user *another = i ? &early : &late;

		old = frame_of(_metadata, maps[i] + victim);
		other = frame_of(_metadata, maps[!i] + victim);
		ASSERT_NE(old, other);
		ASSERT_EQ(old, ask_user(_metadata, same, victim));
		ASSERT_EQ(other, ask_user(_metadata, another, victim));

		ASSERT_EQ(0, madvise(maps[i] + victim, BLK, MADV_HWPOISON)) {
			TH_LOG("madvise: %s", strerror(errno));
		}
		EXPECT_NE(old, frame_of(_metadata, maps[i] + victim));
		EXPECT_EQ(frame_of(_metadata, maps[i] + victim),
			  ask_user(_metadata, same, victim));
		EXPECT_EQ(other, frame_of(_metadata, maps[!i] + victim));
		EXPECT_EQ(other, ask_user(_metadata, another, victim));
		EXPECT_TRUE(map_has(maps[0], PAIR_SIZE, 1));
		EXPECT_TRUE(map_has(maps[1], PAIR_SIZE, 1));
		put_back(_metadata, old);
	}
	end_user(_metadata, &early);
	end_user(_metadata, &late);
	ASSERT_EQ(0, munmap(maps[0], PAIR_SIZE));
	ASSERT_EQ(0, munmap(maps[1], PAIR_SIZE));
	EXPECT_EQ(KEPT, state_of(_metadata, "alias"));
}

/* How many pages have been moved since the machine was started. */
static long pages_migrated(struct __test_metadata *_metadata)
{
	const char *key = "\npgmigrate_success ";
	const char *line = strstr(read_text(_metadata, "/proc/vmstat"), key);

	ASSERT_NE(NULL, line);
	return atol(line + strlen(key));
}

/* Memory in pages of the smallest size, which migration moves. */
static void *take_pages(struct __test_metadata *_metadata, size_t len)
{
	char *map = mmap(NULL, len, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t i;

	ASSERT_NE(MAP_FAILED, map);
	ASSERT_EQ(0, madvise(map, len, MADV_NOHUGEPAGE));
	for (i = 0; i < len; i += BLK)
		map[i] = 1;
	return map;
}

/* Give all but each 16th of these pages back. */
static void thin_out(struct __test_metadata *_metadata, char *map, size_t len)
{
	size_t i;

	for (i = 0; i < len; i += 16 * BLK)
		ASSERT_EQ(0, madvise(map + i, 15 * BLK, MADV_DONTNEED));
}

/*
 * Compaction moves what is in use up into free pages, but not into blocks that are
 * free as a whole (see suitable_migration_target() in mm/compaction.c). So the files
 * are read between two pieces of memory that get holes; unless they are higher than
 * both, they are moved. That is tried with pieces of other sizes then.
 */
TEST_F(fs, compaction)
{
	enum { PAGES = 2048, TRIES = 8 };
	const size_t size = PAGES * BLK;
	int i, tries, moved = 0;
	unsigned char *maps[2];
	__u64 *before, *after;
	struct user user;
	void *holes[2];
	long migrated;
	size_t len;

	kept_pair(_metadata, size);
	for (tries = 0; !moved && tries < TRIES; tries++) {
		forget(_metadata, "donor");
		len = (tries + 2) * (32 << 20);
		holes[0] = take_pages(_metadata, len);
		read_small(_metadata, "alias", 0, size);
		holes[1] = take_pages(_metadata, len);
		for (i = 0; i < 2; i++)
			thin_out(_metadata, holes[i], len);
		maps[0] = map_file(_metadata, "alias", size);
		maps[1] = map_file(_metadata, "donor", size);
		user = start_user(_metadata, NULL, "donor", size);
		ask_user(_metadata, &user, 0);
		before = frames_of(_metadata, maps[0], PAGES);
		migrated = pages_migrated(_metadata);
		write_text(_metadata, "/proc/sys/vm/compact_memory", "1");
		migrated = pages_migrated(_metadata) - migrated;
		after = frames_of(_metadata, maps[0], PAGES);
		for (i = 0; i < PAGES; i++)
			moved += before[i] != after[i];
		free(before);
		free(after);
		EXPECT_LE(moved, migrated);
		EXPECT_TRUE(same_frames(_metadata, maps[0], maps[1], PAGES));
		EXPECT_EQ(frame_of(_metadata, maps[0] + size - BLK),
			  ask_user(_metadata, &user, size - BLK));
		EXPECT_TRUE(map_has(maps[0], size, 1));
		EXPECT_TRUE(map_has(maps[1], size, 1));
		for (i = 0; i < 2; i++) {
			ASSERT_EQ(0, munmap(maps[i], size));
			ASSERT_EQ(0, munmap(holes[i], len));
		}
		end_user(_metadata, &user);
	}
	TH_LOG("%d of %d pages were moved in try %d", moved, PAGES, tries);
	EXPECT_LT(0, moved);
}

struct cached {
	__u64 cache, dirty, writeback, evicted, recently_evicted;
};

static struct cached cached_of(struct __test_metadata *_metadata,
			       const char *name)
{
	struct { __u64 off, len; } range = { 0, 0 };
	int fd = xopen(_metadata, name, O_RDONLY);
	struct cached cached;

	ASSERT_EQ(0, syscall(__NR_cachestat, fd, &range, &cached, 0));
	close(fd);
	return cached;
}

/* Pressure on who read the pages takes them from all; who comes next pays. */
TEST_F(fs, reclaim)
{
	const size_t size = 1 << 20;
	struct user first, second;
	size_t i;

	make_cgroup(_metadata, "first");
	make_cgroup(_metadata, "second");
	kept_pair(_metadata, size);
	for (i = 0; i < ARRAY_SIZE(both_ways); i++) {
		forget(_metadata, "donor");
		first = start_user(_metadata, "first", both_ways[i][0], size);
		second = start_user(_metadata, "second", both_ways[i][1], size);
		ASSERT_EQ(ask_user(_metadata, &first, BLK),
			  ask_user(_metadata, &second, BLK));
		EXPECT_LT(size / 2, cgroup_stat(_metadata, "first", "file"));

		reclaim_cgroup(_metadata, "second");
		EXPECT_EQ(size / BLK, cached_pages_of(_metadata, "alias"));
		reclaim_cgroup(_metadata, "first");
		EXPECT_EQ(0, cached_pages_of(_metadata, "alias"));
		EXPECT_EQ(0, cached_pages_of(_metadata, "donor"));

		EXPECT_EQ(ask_user(_metadata, &second, 0),
			  ask_user(_metadata, &first, 0));
		EXPECT_LT(size / 2, cgroup_stat(_metadata, "second", "file"));
		EXPECT_GT(size / 2, cgroup_stat(_metadata, "first", "file"));
		end_user(_metadata, &first);
		end_user(_metadata, &second);
	}
	ASSERT_EQ(0, rmdir(cgroup_file("first", "")));
	ASSERT_EQ(0, rmdir(cgroup_file("second", "")));
}

/*
 * Pages that went for want of memory are remembered, for both files.  A large folio
 * that lies across two page tables would be split, and stay.
 */
TEST_F(fs, refault)
{
	struct cached cached[2];
	unsigned char *map;
	size_t i, j;

	if (!linux_since(6, 5))
		SKIP(return, "cachestat(2) tells of that since Linux 6.5");
	kept_pair(_metadata, PAIR_SIZE);
	for (i = 0; i < ARRAY_SIZE(both_ways); i++) {
		forget(_metadata, "donor");
		map = map_aligned(_metadata, both_ways[i][0], PAIR_SIZE,
				  PROT_READ);
		EXPECT_TRUE(map_has(map, PAIR_SIZE, 1));
		ASSERT_EQ(0, madvise(map, PAIR_SIZE, MADV_PAGEOUT));
		for (j = 0; j < 2; j++) {
			cached[j] = cached_of(_metadata, both_ways[i][j]);
			EXPECT_EQ(0, cached[j].cache);
			EXPECT_EQ(PAIR_BLOCKS, cached[j].evicted);
			EXPECT_EQ(PAIR_BLOCKS, cached[j].recently_evicted);
		}
		EXPECT_TRUE(file_has(_metadata, both_ways[i][1], PAIR_SIZE, 1));
		for (j = 0; j < 2; j++) {
			cached[j] = cached_of(_metadata, both_ways[i][j]);
			EXPECT_EQ(PAIR_BLOCKS, cached[j].cache);
			EXPECT_EQ(0, cached[j].evicted);
		}
		EXPECT_TRUE(map_has(map, PAIR_SIZE, 1));
		ASSERT_EQ(0, munmap(map, PAIR_SIZE));
	}
}

/* What advice does: what it answers, and how many pages are there then. */
struct outcome {
	int error;
	__u64 cached[2];
	bool same;
};

/* Wait until all is read in: what counts pages before Linux 6.5 wants that. */
static void wait_for_readahead(struct __test_metadata *_metadata, int fd)
{
	__u64 pages = cached_pages(_metadata, fd), before;

	do {
		before = pages;
		usleep(100000);
		pages = cached_pages(_metadata, fd);
	} while (pages != before);
}

/*
 * Advise on a mapping of @name.  Of @other some pages were read before; it may
 * be mapped as well.
 */
static struct outcome advise(struct __test_metadata *_metadata,
			     const char *name, const char *other, int advice,
			     int flags, bool other_maps)
{
	struct outcome outcome;
	unsigned char *map, *other_map = NULL;
	int fd = xopen(_metadata, name, O_RDONLY);

	forget(_metadata, name);
	read_small(_metadata, other, 0, PAIR_SIZE / 2);
	if (other_maps) {
		other_map = map_file(_metadata, other, PAIR_SIZE);
		ASSERT_TRUE(map_has(other_map, PAIR_SIZE / 4, 1));
	}
	map = mmap(NULL, PAIR_SIZE, PROT_READ, flags, fd, 0);
	ASSERT_NE(MAP_FAILED, map);
	ASSERT_EQ(0, madvise(map, PAIR_SIZE, MADV_RANDOM));
	ASSERT_TRUE(map_has(map, PAIR_SIZE / 4, 1));

	outcome.error = madvise(map, PAIR_SIZE, advice) ? errno : 0;
	if (advice == MADV_WILLNEED && !linux_since(6, 5))
		wait_for_readahead(_metadata, fd);
	outcome.cached[0] = cached_pages(_metadata, fd);
	outcome.cached[1] = cached_pages_of(_metadata, other);
	EXPECT_TRUE(map_has(map, PAIR_SIZE, 1));
	outcome.same = true;
	if (other_map) {
		EXPECT_TRUE(map_has(other_map, PAIR_SIZE, 1));
		outcome.same = same_frames(_metadata, map, other_map,
					   PAIR_BLOCKS);
		ASSERT_EQ(0, munmap(other_map, PAIR_SIZE));
	}
	ASSERT_EQ(0, munmap(map, PAIR_SIZE));
	close(fd);
	return outcome;
}

/* Advice on either file does what it does on a file that is opened twice. */
TEST_F(fs, madvise)
{
	static const struct {
		const char *name;
		int advice;
		int error;	/* as the manual page has it */
	} advices[] = {
		{ "NORMAL", MADV_NORMAL, 0 },
		{ "SEQUENTIAL", MADV_SEQUENTIAL, 0 },
		{ "WILLNEED", MADV_WILLNEED, 0 },
		{ "DONTNEED", MADV_DONTNEED, 0 },
		{ "DONTNEED_LOCKED", MADV_DONTNEED_LOCKED, 0 },
		{ "FREE", MADV_FREE, EINVAL },
		{ "REMOVE", MADV_REMOVE, EACCES },
		{ "DONTFORK", MADV_DONTFORK, 0 },
		{ "DOFORK", MADV_DOFORK, 0 },
		{ "WIPEONFORK", MADV_WIPEONFORK, EINVAL },
		{ "KEEPONFORK", MADV_KEEPONFORK, 0 },
		{ "COLD", MADV_COLD, 0 },
		{ "PAGEOUT", MADV_PAGEOUT, 0 },
		{ "POPULATE_READ", MADV_POPULATE_READ, 0 },
		{ "DONTDUMP", MADV_DONTDUMP, 0 },
		{ "DODUMP", MADV_DODUMP, 0 },
		{ "MERGEABLE", MADV_MERGEABLE, 0 },
		{ "UNMERGEABLE", MADV_UNMERGEABLE, 0 },
	};
	static const int flags[] = { MAP_SHARED, MAP_PRIVATE };
	struct outcome plain, outcome;
	size_t i, j, k;

	kept_pair(_metadata, PAIR_SIZE);
	make_file(_metadata, "plain", PAIR_SIZE, 1);
	for (i = 0; i < ARRAY_SIZE(advices); i++) {
		/* Mapped shared or private, by one file or by both. */
		for (j = 0; j < 4; j++) {
			plain = advise(_metadata, "plain", "plain",
				       advices[i].advice, flags[j % 2], j / 2);
			EXPECT_EQ(advices[i].error, plain.error);
			for (k = 0; k < ARRAY_SIZE(both_ways); k++) {
				outcome = advise(_metadata, both_ways[k][0],
						 both_ways[k][1],
						 advices[i].advice,
						 flags[j % 2], j / 2);
				EXPECT_EQ(plain.error, outcome.error);
				EXPECT_EQ(plain.cached[0], outcome.cached[0]);
				EXPECT_EQ(plain.cached[1], outcome.cached[1]);
				EXPECT_EQ(plain.same, outcome.same);
			}
		}
		EXPECT_EQ(advices[i].error, plain.error) {
			TH_LOG("MADV_%s", advices[i].name);
		}
	}

	/* What the comparison is worth: pages do come and go. */
	outcome = advise(_metadata, "alias", "donor", MADV_PAGEOUT, MAP_SHARED,
			 false);
	EXPECT_GT(PAIR_BLOCKS / 2, outcome.cached[1]);
	outcome = advise(_metadata, "alias", "donor", MADV_POPULATE_READ,
			 MAP_SHARED, false);
	EXPECT_EQ(PAIR_BLOCKS, outcome.cached[1]);
}

/* Try to have faults of a mapping of @name handled by userspace. */
static int uffd_register(struct __test_metadata *_metadata, const char *name,
			 int flags, __u64 features, __u64 mode)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	struct uffdio_register range = {
		.range.len = PAIR_SIZE,
		.mode = mode,
	};
	int uffd, fd, err;
	unsigned char *map;

	fd = xopen(_metadata, name, O_RDONLY);
	map = mmap(NULL, PAIR_SIZE, PROT_READ | PROT_WRITE, flags, fd, 0);
	if (map == MAP_FAILED) {
		close(fd);
		return -errno;
	}
	uffd = syscall(__NR_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	ASSERT_LE(0, uffd);
	range.range.start = (unsigned long)map;
	err = ioctl(uffd, UFFDIO_API, &api) ||
	      ioctl(uffd, UFFDIO_REGISTER, &range) ? -errno : 0;
	if (!err) {
		struct uffdio_writeprotect wp = {
			.range = range.range,
			.mode = UFFDIO_WRITEPROTECT_MODE_WP,
		};

		EXPECT_TRUE(map_has(map, PAIR_SIZE, 1));
		err = ioctl(uffd, UFFDIO_WRITEPROTECT, &wp) ? -errno : 0;
		map[BLK] ^= 0xff;
		EXPECT_EQ(pattern(1, BLK) ^ 0xff, map[BLK]);
	}
	ASSERT_EQ(0, munmap(map, PAIR_SIZE));
	close(uffd);
	close(fd);
	return err;
}

/* Neither can more than an ordinary file, nor less. */
TEST_F(fs, userfaultfd)
{
	const struct {
		int flags;
		__u64 features, mode;
		int error;
	} tries[] = {
		{ MAP_PRIVATE, 0, UFFDIO_REGISTER_MODE_MISSING, -EINVAL },
		{ MAP_PRIVATE, 0, UFFDIO_REGISTER_MODE_WP, -EINVAL },
		{ MAP_PRIVATE, 0, UFFDIO_REGISTER_MODE_MINOR, -EINVAL },
		/* Mapped so, it would be writable. */
		{ MAP_SHARED, 0, UFFDIO_REGISTER_MODE_MISSING, -EACCES },
		/* The one that files can have: who has written is tracked. */
		{ MAP_PRIVATE, UFFD_FEATURE_WP_ASYNC,
		  UFFDIO_REGISTER_MODE_WP, linux_since(6, 7) ? 0 : -EINVAL },
	};
	size_t i, j;
	int error;

	kept_pair(_metadata, PAIR_SIZE);
	make_file(_metadata, "plain", PAIR_SIZE, 1);
	for (i = 0; i < ARRAY_SIZE(tries); i++) {
		error = uffd_register(_metadata, "plain", tries[i].flags,
				      tries[i].features, tries[i].mode);
		EXPECT_EQ(tries[i].error, error)
			TH_LOG("try %zu", i);
		for (j = 0; j < 2; j++) {
			EXPECT_EQ(error,
				  uffd_register(_metadata, both_ways[0][j],
						tries[i].flags,
						tries[i].features,
						tries[i].mode));
			EXPECT_TRUE(file_has(_metadata, both_ways[0][j],
					     PAIR_SIZE, 1));
		}
	}
}

/* What is in memory is told alike for both. */
TEST_F(fs, residency)
{
	unsigned char in[2][PAIR_BLOCKS], *map;
	struct cached cached[2] = {};
	size_t i, j, k;

	kept_pair(_metadata, PAIR_SIZE);
	for (i = 0; i < ARRAY_SIZE(both_ways); i++) {
		forget(_metadata, "donor");
		read_small(_metadata, both_ways[i][0], BLK, 3 * BLK);
		for (j = 0; j < 2; j++) {
			map = map_file(_metadata, both_ways[i][j], PAIR_SIZE);
			ASSERT_EQ(0, mincore(map, PAIR_SIZE, in[j]));
			ASSERT_EQ(0, munmap(map, PAIR_SIZE));
			for (k = 0; k < PAIR_BLOCKS; k++)
				EXPECT_EQ(k >= 1 && k <= 3, in[j][k] & 1);
			/* cachestat(2) */
			if (!linux_since(6, 5))
				continue;
			cached[j] = cached_of(_metadata, both_ways[i][j]);
			EXPECT_EQ(3, cached[j].cache);
			EXPECT_EQ(0, cached[j].dirty);
			EXPECT_EQ(0, cached[j].writeback);
		}
		if (linux_since(6, 5))
			EXPECT_EQ(0, memcmp(&cached[0], &cached[1],
					    sizeof(cached[0])));
	}
}

/* What fincore(1) says of @name: pages and bytes that are in memory. */
static void ask_fincore(struct __test_metadata *_metadata, const char *name,
			long *pages, long *bytes)
{
	char command[64];
	FILE *pipe;

	snprintf(command, sizeof(command), "fincore -nb -o PAGES,RES %s", name);
	pipe = popen(command, "re");
	ASSERT_NE(NULL, pipe);
	ASSERT_EQ(2, fscanf(pipe, "%ld %ld", pages, bytes)) {
		TH_LOG("%s", command);
	}
	ASSERT_EQ(0, pclose(pipe));
}

/* Who asks with a program that knows nothing of aliases is told the same. */
TEST_F(fs, fincore)
{
	static const struct {
		size_t read;	/* bytes */
		long pages;	/* that are in memory then */
	} steps[] = {
		{ 0, 0 }, { 3 * BLK, 3 }, { PAIR_SIZE, PAIR_BLOCKS },
	};
	long pages, bytes;
	size_t i, j, k;

	if (system("fincore --version > /dev/null 2>&1"))
		SKIP(return, "no fincore");
	kept_pair(_metadata, PAIR_SIZE);
	for (i = 0; i < ARRAY_SIZE(both_ways); i++) {
		for (j = 0; j < ARRAY_SIZE(steps); j++) {
			/* The one gives up what the other has read. */
			forget(_metadata, both_ways[i][1]);
			read_small(_metadata, both_ways[i][0], 0,
				   steps[j].read);
			for (k = 0; k < 2; k++) {
				ask_fincore(_metadata, both_ways[i][k],
					    &pages, &bytes);
				EXPECT_EQ(steps[j].pages, pages)
					TH_LOG("%s", both_ways[i][k]);
				EXPECT_EQ(steps[j].pages * BLK, bytes);
			}
		}
	}
}

static int advise_willneed(int fd)
{
	return posix_fadvise(fd, 0, PAIR_SIZE, POSIX_FADV_WILLNEED);
}

static int advise_dontneed(int fd)
{
	return posix_fadvise(fd, 0, PAIR_SIZE, POSIX_FADV_DONTNEED);
}

static int read_ahead(int fd)
{
	return readahead(fd, 0, PAIR_SIZE);
}

/* What one asks for is there for the other, and what it gives up is gone. */
TEST_F(fs, fadvise)
{
	static const struct {
		int (*act)(int fd);
		__u64 pages;
	} acts[] = {
		{ advise_dontneed, 0 },
		{ advise_willneed, PAIR_BLOCKS },
		{ advise_dontneed, 0 },
		{ read_ahead, PAIR_BLOCKS },
		{ advise_dontneed, 0 },
	};
	size_t i, j;
	int fd;

	kept_pair(_metadata, PAIR_SIZE);
	for (i = 0; i < ARRAY_SIZE(both_ways); i++) {
		fd = xopen(_metadata, both_ways[i][0], O_RDONLY);
		read_small(_metadata, both_ways[i][1], 0, PAIR_SIZE);
		for (j = 0; j < ARRAY_SIZE(acts); j++) {
			EXPECT_EQ(0, acts[j].act(fd));
			/* Pages that are still being read can't be dropped. */
			if (acts[j].pages)
				EXPECT_TRUE(file_has(_metadata,
						     both_ways[i][1],
						     PAIR_SIZE, 1));
			EXPECT_EQ(acts[j].pages,
				  cached_pages_of(_metadata, both_ways[i][1]));
		}
		close(fd);
	}
}

/* Ways to read PAIR_SIZE bytes of @fd into @buf: 0 or a negative errno. */

static int by_pread(int fd, void *buf)
{
	ssize_t n = pread(fd, buf, PAIR_SIZE, 0);

	return n == PAIR_SIZE ? 0 : n < 0 ? -errno : -EIO;
}

/* What is not there at once is read ahead, and may be there in part. */
static int by_preadv2(int fd, void *buf)
{
	struct iovec iov = { .iov_base = buf, .iov_len = PAIR_SIZE };
	ssize_t n = preadv2(fd, &iov, 1, 0, RWF_NOWAIT);

	return n == PAIR_SIZE ? 0 : n < 0 ? -errno : -EAGAIN;
}

static int by_mmap(int fd, void *buf)
{
	void *map = mmap(NULL, PAIR_SIZE, PROT_READ, MAP_SHARED, fd, 0);

	if (map == MAP_FAILED)
		return -errno;
	memcpy(buf, map, PAIR_SIZE);
	return munmap(map, PAIR_SIZE) ? -errno : 0;
}

/* Another process's memory, or this one's, that is a mapping of the file. */
static int by_process_vm_readv(int fd, void *buf)
{
	struct iovec local = { .iov_base = buf, .iov_len = PAIR_SIZE };
	struct iovec remote = { .iov_len = PAIR_SIZE };
	ssize_t n;

	remote.iov_base = mmap(NULL, PAIR_SIZE, PROT_READ, MAP_PRIVATE, fd, 0);
	if (remote.iov_base == MAP_FAILED)
		return -errno;
	n = process_vm_readv(getpid(), &local, 1, &remote, 1, 0);
	munmap(remote.iov_base, PAIR_SIZE);
	return n == PAIR_SIZE ? 0 : -EIO;
}

static int by_sendfile(int fd, void *buf)
{
	int mem = memfd_create("sendfile", MFD_CLOEXEC);
	off_t offset = 0;
	ssize_t n;

	if (mem < 0)
		return -errno;
	do {
		n = sendfile(mem, fd, &offset, PAIR_SIZE - offset);
	} while (n > 0 && offset < PAIR_SIZE);
	n = n < 0 ? -errno : by_pread(mem, buf);
	close(mem);
	return n;
}

/* The pages themselves go through the pipe. */
static int by_splice(int fd, void *buf)
{
	loff_t offset = 0;
	ssize_t n = 1;
	int pipes[2];

	if (pipe2(pipes, O_CLOEXEC))
		return -errno;
	while (n > 0 && offset < PAIR_SIZE) {
		n = splice(fd, &offset, pipes[1], NULL, 4 * BLK, 0);
		if (n > 0 && read(pipes[0], buf + offset - n, n) != n)
			n = -1;
	}
	close(pipes[0]);
	close(pipes[1]);
	return n <= 0 ? -EIO : 0;
}

static int by_aio(int fd, void *buf)
{
	struct iocb cb = {
		.aio_lio_opcode = IOCB_CMD_PREAD,
		.aio_fildes = fd,
		.aio_buf = (unsigned long)buf,
		.aio_nbytes = PAIR_SIZE,
	};
	struct iocb *cbs = &cb;
	aio_context_t context = 0;
	struct io_event event = {};

	if (syscall(__NR_io_setup, 1, &context))
		return -errno;
	if (syscall(__NR_io_submit, context, 1, &cbs) != 1 ||
	    syscall(__NR_io_getevents, context, 1, 1, &event, NULL) != 1)
		event.res = -errno;
	syscall(__NR_io_destroy, context);
	return event.res == PAIR_SIZE ? 0 : -EIO;
}

static int by_io_uring(int fd, void *buf)
{
	struct io_uring_sqe sqe = {
		.opcode = IORING_OP_READ, .fd = fd,
		.addr = (unsigned long)buf, .len = PAIR_SIZE,
	};
	int res = uring(&sqe);

	return res == PAIR_SIZE ? 0 : res < 0 ? res : -EIO;
}

/* Bytes that this process has had read from disks. */
static long disk_bytes(struct __test_metadata *_metadata)
{
	const char *io = read_text(_metadata, "/proc/self/io");

	io = strstr(io, "\nread_bytes: ");
	ASSERT_NE(NULL, io);
	return atol(io + strlen("\nread_bytes: "));
}

/* However it is read, it is right, and what one has read the other finds. */
TEST_F(fs, ways_to_read)
{
	static const struct {
		const char *name;
		int (*read)(int fd, void *buf);
		int cold;	/* what may be answered if it is not in memory */
	} ways[] = {
		{ "pread", by_pread, 0 },
		{ "preadv2", by_preadv2, -EAGAIN },
		{ "mmap", by_mmap, 0 },
		{ "process_vm_readv", by_process_vm_readv, 0 },
		{ "sendfile", by_sendfile, 0 },
		{ "splice", by_splice, 0 },
		{ "aio", by_aio, 0 },
		{ "io_uring", by_io_uring, 0 },
	};
	unsigned char *buf = malloc(PAIR_SIZE);
	size_t i, j;
	int fd, err;
	long bytes;

	ASSERT_NE(NULL, buf);
	kept_pair(_metadata, PAIR_SIZE);
	for (i = 0; i < 2 * ARRAY_SIZE(ways); i++) {
		const char * const *way = both_ways[i % 2];

		j = i / 2;
		forget(_metadata, way[1]);
		fd = xopen(_metadata, way[0], O_RDONLY);
		memset(buf, 0, PAIR_SIZE);
		err = ways[j].read(fd, buf);
		EXPECT_TRUE(err ? err == ways[j].cold :
				  map_has(buf, PAIR_SIZE, 1)) {
			TH_LOG("%s of %s: %d", ways[j].name, way[0], err);
		}

		forget(_metadata, way[0]);
		EXPECT_TRUE(file_has(_metadata, way[1], PAIR_SIZE, 1));
		memset(buf, 0, PAIR_SIZE);
		bytes = disk_bytes(_metadata);
		EXPECT_EQ(0, ways[j].read(fd, buf)) {
			TH_LOG("%s of %s", ways[j].name, way[0]);
		}
		EXPECT_EQ(bytes, disk_bytes(_metadata));
		EXPECT_TRUE(map_has(buf, PAIR_SIZE, 1));
		close(fd);
	}
	free(buf);
}

/* Direct reads go to the disk, whatever is in memory, and leave it there. */
TEST_F(fs, direct_read)
{
	static int (* const reads[])(int fd, void *buf) = {
		by_pread, by_aio, by_io_uring,
	};
	unsigned char *buf = aligned_alloc(BLK, PAIR_SIZE);
	size_t i;
	long bytes;
	int fd;

	ASSERT_NE(NULL, buf);
	kept_pair(_metadata, PAIR_SIZE);
	for (i = 0; i < 2 * ARRAY_SIZE(reads); i++) {
		const char * const *way = both_ways[i % 2];

		forget(_metadata, way[1]);
		read_small(_metadata, way[1], 0, 3 * BLK);
		fd = xopen(_metadata, way[0], O_RDONLY | O_DIRECT);
		memset(buf, 0, PAIR_SIZE);
		bytes = disk_bytes(_metadata);
		EXPECT_EQ(0, reads[i / 2](fd, buf));
		EXPECT_EQ(bytes + PAIR_SIZE, disk_bytes(_metadata));
		EXPECT_TRUE(map_has(buf, PAIR_SIZE, 1));
		EXPECT_EQ(3, cached_pages_of(_metadata, way[1]));
		close(fd);
	}
	free(buf);
}

/* Whose extents does a read of all of @fd look up?  Of one of both, please. */
static const char *extents_of(struct __test_metadata *_metadata, int fd, bool xfs)
{
	unsigned char *buf = aligned_alloc(BLK, PAIR_SIZE);
	const char *trace;
	char alias[32], donor[32];
	bool found[2];

	ASSERT_NE(NULL, buf);
	snprintf(alias, sizeof(alias), xfs ? " ino 0x%lx " : " ino=%lu ",
		 (unsigned long)ino_of(_metadata, "alias"));
	snprintf(donor, sizeof(donor), xfs ? " ino 0x%lx " : " ino=%lu ",
		 (unsigned long)ino_of(_metadata, "donor"));
	close(xopen(_metadata, TRACE "/trace", O_WRONLY | O_TRUNC));
	EXPECT_EQ(0, by_pread(fd, buf));
	EXPECT_TRUE(map_has(buf, PAIR_SIZE, 1));
	free(buf);
	trace = read_text(_metadata, TRACE "/trace");
	found[0] = strstr(trace, alias);
	found[1] = strstr(trace, donor);
	return found[0] && found[1] ? "both" : found[0] ? "alias" :
	       found[1] ? "donor" : "none";
}

/* Direct reads of an alias see its own extents, others those of the donor. */
TEST_F(fs, whose_extents)
{
	const bool xfs = !strcmp(variant->type, "xfs");
	int fd;

	begin_trace(_metadata);
	write_text(_metadata, xfs ? TRACE "/events/iomap/iomap_iter/enable" :
		   TRACE "/events/btrfs/btrfs_get_extent/enable", "1");
	kept_pair(_metadata, PAIR_SIZE);

	forget(_metadata, "donor");
	fd = xopen(_metadata, "alias", O_RDONLY | O_DIRECT);
	EXPECT_STREQ("alias", extents_of(_metadata, fd, xfs));
	close(fd);
	fd = xopen(_metadata, "donor", O_RDONLY | O_DIRECT);
	EXPECT_STREQ("donor", extents_of(_metadata, fd, xfs));
	close(fd);
	fd = xopen(_metadata, "alias", O_RDONLY);
	EXPECT_STREQ("donor", extents_of(_metadata, fd, xfs));
	EXPECT_STREQ("none", extents_of(_metadata, fd, xfs));
	close(fd);

	ASSERT_EQ(0, rmdir(TRACE));
}

TEST_HARNESS_MAIN
