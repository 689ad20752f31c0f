// SPDX-License-Identifier: GPL-2.0
/* What only btrfs has: inline and compressed extents, subvolumes, relocation. */
#define ONLY_BTRFS
#include "common.h"
#include <pthread.h>
#include <linux/btrfs.h>
#include <linux/fiemap.h>
#include <linux/fsverity.h>
#include <sys/statfs.h>
#include <sys/xattr.h>

/* Less than what btrfs keeps in its metadata, and a whole compressed extent */
#define INLINE_SIZE 1000
#define COMPRESSED_SIZE (128 << 10)

/* The command btrfs with these arguments; it must succeed. */
#define btrfs(...) \
	ASSERT_EQ(0, run(_metadata, (const char *[]){ "btrfs", "-q", \
						      __VA_ARGS__, NULL }))

/* Write @len bytes to a file that exists, and to the disk. */
static void rewrite(struct __test_metadata *_metadata, const char *name,
		    size_t offset, size_t len, unsigned int seed)
{
	int fd = xopen(_metadata, name, O_RDWR);

	write_pattern(_metadata, fd, offset, len, seed);
	ASSERT_EQ(0, fsync(fd));
	close(fd);
}

/* From now on, "zlib", "zstd" or "lzo" compresses what is written to @name. */
static void set_compression(struct __test_metadata *_metadata, const char *name,
			    const char *how)
{
	ASSERT_EQ(0, setxattr(name, "btrfs.compression", how, strlen(how), 0)) {
		TH_LOG("%s: %s", name, strerror(errno));
	}
}

/* Write @size bytes that can be compressed, each block different from others. */
static void write_text_file(struct __test_metadata *_metadata, const char *name,
			    size_t size)
{
	int fd = xopen(_metadata, name, O_RDWR | O_CREAT);
	char *buf = malloc(size);
	size_t i;

	ASSERT_NE(NULL, buf);
	for (i = 0; i < size; i++)
		buf[i] = i % 64 ? 'x' : 'a' + i / BLK % 26;
	ASSERT_EQ((ssize_t)size, pwrite(fd, buf, size, 0));
	ASSERT_EQ(0, fsync(fd));
	free(buf);
	close(fd);
}

static bool equal(struct __test_metadata *_metadata, const char *a, const char *b)
{
	return !run(_metadata, (const char *[]){ "cmp", a, b, NULL });
}

/* The flags and the address of the file's first extent; 0 if it has none. */
static struct fiemap_extent first_extent(struct __test_metadata *_metadata,
					 const char *name)
{
	struct {
		struct fiemap head;
		struct fiemap_extent extent;
	} map = { .head = { .fm_length = ~0ULL, .fm_extent_count = 1 } };
	int fd = xopen(_metadata, name, O_RDONLY);

	ASSERT_EQ(0, ioctl(fd, FS_IOC_FIEMAP, &map));
	close(fd);
	return map.extent;
}

static unsigned int count_extents(struct __test_metadata *_metadata,
				  const char *name)
{
	struct fiemap map = { .fm_length = ~0ULL, .fm_flags = FIEMAP_FLAG_SYNC };
	int fd = xopen(_metadata, name, O_RDONLY);

	ASSERT_EQ(0, ioctl(fd, FS_IOC_FIEMAP, &map));
	close(fd);
	return map.fm_mapped_extents;
}

static void make_inline(struct __test_metadata *_metadata, const char *name,
			size_t size, unsigned int seed)
{
	make_file(_metadata, name, size, seed);
	ASSERT_TRUE(first_extent(_metadata, name).fe_flags &
		    FIEMAP_EXTENT_DATA_INLINE);
}

/* Do two files use the same page? */
static bool share_page(struct __test_metadata *_metadata, const char *a,
		       const char *b)
{
	unsigned char *maps[2] = {
		map_file(_metadata, a, BLK), map_file(_metadata, b, BLK),
	};
	bool same = frame_of(_metadata, maps[0]) == frame_of(_metadata, maps[1]);

	ASSERT_EQ(0, munmap(maps[0], BLK));
	ASSERT_EQ(0, munmap(maps[1], BLK));
	return same;
}

/* Small files are identical if they have the same bytes, wherever they are. */
TEST_F(fs, inline_bytes)
{
	int fd;

	make_inline(_metadata, "donor", INLINE_SIZE, 1);
	make_inline(_metadata, "alias", INLINE_SIZE, 1);
	make_inline(_metadata, "shorter", INLINE_SIZE - 1, 1);
	make_inline(_metadata, "other", INLINE_SIZE, 1);
	fd = xopen(_metadata, "other", O_RDWR);
	ASSERT_EQ(1, pwrite(fd, "?", 1, INLINE_SIZE - 1));
	ASSERT_EQ(0, fsync(fd));
	close(fd);
	clone_file(_metadata, "donor", "clone");

	EXPECT_EQ(-EBADE, alias_file("shorter", "donor", KEEP));
	EXPECT_EQ(-EBADE, alias_file("other", "donor", KEEP));
	check_untouched(_metadata, "other", "donor");
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	ASSERT_EQ(0, alias_file("clone", "donor", KEEP));
	EXPECT_TRUE(share_page(_metadata, "donor", "alias"));
	drop_caches(_metadata, "3");
	EXPECT_TRUE(file_has(_metadata, "alias", INLINE_SIZE, 1));
	EXPECT_TRUE(file_has(_metadata, "donor", INLINE_SIZE, 1));
}

/* What was just written is brought into the tree before it is compared. */
TEST_F(fs, inline_dirty)
{
	int fd;

	fd = xopen(_metadata, "donor", O_RDWR | O_CREAT);
	write_pattern(_metadata, fd, 0, INLINE_SIZE, 1);
	close(fd);
	fd = xopen(_metadata, "alias", O_RDWR | O_CREAT);
	write_pattern(_metadata, fd, 0, INLINE_SIZE, 1);
	close(fd);
	EXPECT_EQ(0, alias_file("alias", "donor", KEEP));
	EXPECT_TRUE(file_has(_metadata, "alias", INLINE_SIZE, 1));
}

/* Inline data is compared as it is stored. */
TEST_F(fs, inline_compressed)
{
	static const char * const names[] = { "zlib", "zlib2", "zstd", "plain" };
	size_t i;
	int fd;

	for (i = 0; i < ARRAY_SIZE(names); i++) {
		fd = xopen(_metadata, names[i], O_RDWR | O_CREAT);
		close(fd);
		if (i < 3)
			set_compression(_metadata, names[i],
					i < 2 ? "zlib" : "zstd");
		write_text_file(_metadata, names[i], i < 3 ? BLK : 2000);
		EXPECT_TRUE(first_extent(_metadata, names[i]).fe_flags &
			    FIEMAP_EXTENT_DATA_INLINE);
	}
	EXPECT_EQ(0, alias_file("zlib2", "zlib", KEEP));
	EXPECT_EQ(-EBADE, alias_file("zstd", "zlib", KEEP));
	EXPECT_EQ(-EBADE, alias_file("plain", "zlib", KEEP));
	drop_caches(_metadata, "3");
	EXPECT_TRUE(equal(_metadata, "zlib2", "zstd"));
	EXPECT_TRUE(equal(_metadata, "zlib", "zstd"));
}

/* Inline data, and extents behind it: FICLONERANGE makes such files. */
TEST_F(fs, inline_and_more)
{
	struct file_clone_range range = {
		.src_length = PAIR_SIZE, .dest_offset = BLK,
	};
	static const char * const names[] = { "donor", "alias" };
	size_t i;
	int fd;

	make_file(_metadata, "blocks", PAIR_SIZE, 1);
	for (i = 0; i < ARRAY_SIZE(names); i++) {
		make_inline(_metadata, names[i], INLINE_SIZE, 2);
		fd = xopen(_metadata, names[i], O_RDWR);
		range.src_fd = xopen(_metadata, "blocks", O_RDONLY);
		ASSERT_EQ(0, ioctl(fd, FICLONERANGE, &range));
		close(range.src_fd);
		close(fd);
	}
	sync();
	EXPECT_EQ(0, alias_file("alias", "donor", KEEP));
	drop_caches(_metadata, "3");
	EXPECT_TRUE(equal(_metadata, "alias", "donor"));
	ASSERT_EQ(0, release_file("alias"));
	/* The second differs only behind the inline data. */
	rewrite(_metadata, "alias", 4 * BLK, BLK, 3);
	EXPECT_EQ(-EBADE, alias_file("alias", "donor", KEEP));
}

static void compressed_pair(struct __test_metadata *_metadata, const char *how)
{
	close(xopen(_metadata, "donor", O_RDWR | O_CREAT));
	set_compression(_metadata, "donor", how);
	write_text_file(_metadata, "donor", 4 * COMPRESSED_SIZE);
	ASSERT_TRUE(first_extent(_metadata, "donor").fe_flags &
		    FIEMAP_EXTENT_ENCODED);
	clone_file(_metadata, "donor", "alias");
	write_text_file(_metadata, "plain", 4 * COMPRESSED_SIZE);
}

TEST_F(fs, compressed)
{
	static const char * const hows[] = { "zlib", "zstd", "lzo" };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(hows); i++) {
		compressed_pair(_metadata, hows[i]);
		EXPECT_EQ(-EBADE, alias_file("plain", "donor", KEEP));
		ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
		drop_caches(_metadata, "3");
		EXPECT_TRUE(equal(_metadata, "alias", "plain"));
		EXPECT_TRUE(equal(_metadata, "donor", "plain"));
		ASSERT_EQ(0, release_file("alias"));

		/* One block less is the same. */
		rewrite(_metadata, "alias", 5 * BLK, BLK, 1);
		EXPECT_EQ(-EBADE, alias_file("alias", "donor", KEEP));
		ASSERT_EQ(0, unlink("alias"));
		ASSERT_EQ(0, unlink("donor"));
		ASSERT_EQ(0, unlink("plain"));
	}
}

/* The same compressed extents, of which other parts are seen */
TEST_F(fs, compressed_offset)
{
	static const struct {
		const char *name;
		__u64 from;
	} parts[] = { { "first", 0 }, { "second", BLK }, { "again", BLK } };
	struct file_clone_range range = { .src_length = COMPRESSED_SIZE / 2 };
	size_t i;
	int fd;

	compressed_pair(_metadata, "zlib");
	range.src_fd = xopen(_metadata, "donor", O_RDONLY);
	for (i = 0; i < ARRAY_SIZE(parts); i++) {
		fd = xopen(_metadata, parts[i].name, O_RDWR | O_CREAT);
		range.src_offset = parts[i].from;
		ASSERT_EQ(0, ioctl(fd, FICLONERANGE, &range));
		close(fd);
	}
	close(range.src_fd);
	sync();
	EXPECT_EQ(-EBADE, alias_file("first", "second", KEEP));
	EXPECT_EQ(0, alias_file("again", "second", KEEP));
	drop_caches(_metadata, "3");
	EXPECT_TRUE(equal(_metadata, "again", "second"));
	EXPECT_FALSE(equal(_metadata, "again", "first"));
}

/*
 * Reading one page of compressed data fills in those behind it: in the page cache
 * of the file that is read, which of one that was opened before is its own.
 */
TEST_F(fs, compressed_opened_before)
{
	unsigned char *map;
	int old;

	compressed_pair(_metadata, "zlib");
	old = xopen(_metadata, "alias", O_RDONLY);
	map = mmap(NULL, BLK, PROT_READ, MAP_SHARED, old, 0);
	ASSERT_NE(MAP_FAILED, map);
	/* One page only */
	ASSERT_EQ(0, madvise(map, BLK, MADV_RANDOM));
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	EXPECT_EQ('a', __atomic_load_n(map, __ATOMIC_RELAXED));
	EXPECT_LT(1, cached_pages(_metadata, old));
	EXPECT_EQ(0, cached_pages_of(_metadata, "donor"));
	ASSERT_EQ(0, munmap(map, BLK));
	close(old);
	EXPECT_TRUE(equal(_metadata, "alias", "plain"));
}

/* Files with and without checksums can't share extents. */
static void check_no_checksums(struct __test_metadata *_metadata)
{
	int cow, donor;

	donor_and_alias(_metadata);
	cow = xopen(_metadata, "cow", O_RDWR);
	donor = xopen(_metadata, "donor", O_RDONLY);
	EXPECT_EQ(-1, ioctl(cow, FICLONE, donor));
	EXPECT_EQ(EINVAL, errno);
	close(cow);
	close(donor);
	EXPECT_EQ(-EBADE, alias_file("cow", "donor", KEEP));
	EXPECT_EQ(0, alias_file("alias", "donor", KEEP));
	drop_caches(_metadata, "3");
	EXPECT_TRUE(file_has(_metadata, "alias", PAIR_SIZE, 1));
	EXPECT_EQ(-ETXTBSY, try_open("donor", O_RDWR));
}

TEST_F(fs, nodatacow)
{
	make_file(_metadata, "cow", PAIR_SIZE, 1);
	set_nocow(_metadata, ".");
	check_no_checksums(_metadata);
	/* Once it shares nothing any more, it is written to in place. */
	ASSERT_EQ(0, unlink("alias"));
	sync();
	rewrite(_metadata, "donor", 0, PAIR_SIZE, 2);
	EXPECT_TRUE(file_has(_metadata, "donor", PAIR_SIZE, 2));
}

TEST_F(fs, nodatasum)
{
	make_file(_metadata, "cow", PAIR_SIZE, 1);
	make_inline(_metadata, "inline", INLINE_SIZE, 1);
	ASSERT_EQ(0, mount(NULL, MNT, NULL, MS_REMOUNT, "nodatasum"));
	make_inline(_metadata, "inline2", INLINE_SIZE, 1);
	check_no_checksums(_metadata);
	/* Inline data has the checksums of metadata. */
	EXPECT_EQ(0, alias_file("inline2", "inline", KEEP));
	drop_caches(_metadata, "3");
	EXPECT_TRUE(file_has(_metadata, "inline2", INLINE_SIZE, 1));
}

/* A subvolume with a file in it, and a snapshot of that */
static void make_subvolumes(struct __test_metadata *_metadata)
{
	btrfs("subvolume", "create", "sub");
	make_file(_metadata, "sub/file", PAIR_SIZE, 1);
	btrfs("subvolume", "snapshot", "sub", "snap");
	btrfs("subvolume", "snapshot", "-r", "sub", "ro");
	clone_file(_metadata, "sub/file", "clone");
	ASSERT_EQ(0, fsync(xopen(_metadata, ".", O_RDONLY)));
}

TEST_F(fs, subvolumes)
{
	make_subvolumes(_metadata);
	ASSERT_EQ(0, alias_file("snap/file", "sub/file", KEEP));
	ASSERT_EQ(0, alias_file("ro/file", "snap/file", KEEP));
	ASSERT_EQ(0, alias_file("clone", "ro/file", KEEP));
	EXPECT_EQ(3, info_file(_metadata, "sub/file").nr_aliases);
	EXPECT_EQ(ino_of(_metadata, "sub/file"),
		  info_file(_metadata, "ro/file").donor_ino);
	EXPECT_TRUE(share_page(_metadata, "sub/file", "ro/file"));
	drop_caches(_metadata, "3");
	EXPECT_TRUE(file_has(_metadata, "ro/file", PAIR_SIZE, 1));
	EXPECT_TRUE(file_has(_metadata, "clone", PAIR_SIZE, 1));

	/* Snapshots have files of their own, which are ordinary. */
	btrfs("subvolume", "snapshot", "snap", "later");
	EXPECT_EQ(ORDINARY, state_of(_metadata, "later/file"));
	EXPECT_EQ(0, try_open("later/file", O_RDWR));
	EXPECT_EQ(0, alias_file("later/file", "sub/file", 0));

	/* Being writable makes no difference for who is frozen. */
	EXPECT_EQ(-EROFS, try_open("ro/file", O_RDWR));
	btrfs("property", "set", "-f", "ro", "ro", "false");
	EXPECT_EQ(-ETXTBSY, try_open("ro/file", O_RDWR));
	EXPECT_EQ(KEPT, state_of(_metadata, "ro/file"));
	btrfs("property", "set", "ro", "ro", "true");
	EXPECT_EQ(KEPT, state_of(_metadata, "ro/file"));
}

/* Bytes that are not in use by files, when what is deleted is gone from disk. */
static __u64 free_bytes(struct __test_metadata *_metadata)
{
	struct statfs st;

	btrfs("filesystem", "sync", ".");
	btrfs("subvolume", "sync", MNT);
	sync();
	ASSERT_EQ(0, statfs(".", &st));
	return (__u64)st.f_bfree * st.f_bsize;
}

#define BALLAST (32 << 20)

/* Deleting a subvolume ends all keeping of and by what is in it. */
static void delete_subvolume(struct __test_metadata *_metadata, const char *alias,
			     const char *donor)
{
	const char *left = strncmp(alias, "sub/", 4) ? alias : donor;
	__u64 before, with;

	before = free_bytes(_metadata);
	make_subvolumes(_metadata);
	make_file(_metadata, "sub/ballast", BALLAST, 1);
	with = free_bytes(_metadata);
	EXPECT_LT(with + BALLAST / 2, before);
	ASSERT_EQ(0, alias_file(alias, donor, KEEP));
	btrfs("subvolume", "delete", "sub");
	/* Or the subvolume would never go. */
	ASSERT_EQ(ORDINARY, state_of(_metadata, left));
	EXPECT_EQ(0, try_open(left, O_RDWR));
	EXPECT_TRUE(file_has(_metadata, left, PAIR_SIZE, 1));
	EXPECT_GT(free_bytes(_metadata), with + BALLAST / 2);
}

TEST_F(fs, delete_subvolume_of_alias)
{
	delete_subvolume(_metadata, "sub/file", "clone");
}

TEST_F(fs, delete_subvolume_of_donor)
{
	delete_subvolume(_metadata, "clone", "sub/file");
}

/* Who has a file open goes on using it, and can't have it kept. */
static void delete_in_use(struct __test_metadata *_metadata, const char *name,
			  const char *donor_name)
{
	int alias, donor, snap, second;
	__u64 with;

	make_subvolumes(_metadata);
	clone_file(_metadata, "clone", "sub/second");
	make_file(_metadata, "sub/ballast", BALLAST, 1);
	with = free_bytes(_metadata);
	alias = xopen(_metadata, name, O_RDONLY);
	donor = xopen(_metadata, donor_name, O_RDONLY);
	second = xopen(_metadata, "sub/second", O_RDONLY);
	snap = xopen(_metadata, "snap/file", O_RDONLY);
	ASSERT_EQ(0, alias_fd(alias, donor, KEEP));
	btrfs("subvolume", "delete", "sub");
	EXPECT_EQ(ALIAS, info_fd(_metadata, alias).state);
	EXPECT_EQ(0, alias_fd(alias, donor, 0));
	EXPECT_EQ(-ENOENT, alias_fd(alias, donor, KEEP));
	EXPECT_EQ(ALIAS, info_fd(_metadata, alias).state);
	/* In the subvolume, no file becomes an alias or a donor any more. */
	EXPECT_EQ(-ENOENT, alias_fd(second, snap, 0));
	EXPECT_EQ(-ENOENT, alias_fd(snap, second, KEEP));
	EXPECT_EQ(ORDINARY, info_fd(_metadata, second).state);
	EXPECT_TRUE(fd_has(_metadata, alias, 0, PAIR_SIZE, 1));
	close(alias);
	close(donor);
	close(second);
	close(snap);
	ASSERT_EQ(ORDINARY, state_of(_metadata, "clone"));
	ASSERT_EQ(ORDINARY, state_of(_metadata, "snap/file"));
	EXPECT_GT(free_bytes(_metadata), with + BALLAST / 2);
}

TEST_F(fs, delete_subvolume_of_open_alias)
{
	delete_in_use(_metadata, "sub/file", "clone");
}

TEST_F(fs, delete_subvolume_of_open_donor)
{
	delete_in_use(_metadata, "clone", "sub/file");
}

struct race {
	int alias, donor, delay, result;
};

static void *keep_later(void *arg)
{
	struct race *race = arg;

	usleep(race->delay);
	race->result = alias_fd(race->alias, race->donor, KEEP);
	return NULL;
}

/* Nothing is kept in a subvolume that is deleted meanwhile. */
TEST_F(fs, delete_subvolume_meanwhile)
{
	static const char * const pair[] = { "sub/file", "clone" };
	struct race race;
	pthread_t thread;
	int i;

	make_file(_metadata, "clone", PAIR_SIZE, 1);
	for (i = 0; i < 40; i++) {
		btrfs("subvolume", "create", "sub");
		clone_file(_metadata, "clone", "sub/file");
		race = (struct race){
			.alias = xopen(_metadata, pair[i % 2], O_RDONLY),
			.donor = xopen(_metadata, pair[!(i % 2)], O_RDONLY),
			.delay = i * 2000,
		};
		ASSERT_EQ(0, pthread_create(&thread, NULL, keep_later, &race));
		btrfs("subvolume", "delete", "sub");
		ASSERT_EQ(0, pthread_join(thread, NULL));
		ASSERT_TRUE(!race.result || race.result == -ENOENT) {
			TH_LOG("%s", strerror(-race.result));
		}
		close(race.alias);
		close(race.donor);
		ASSERT_EQ(ORDINARY, state_of(_metadata, "clone"));
	}
	/* This waits until all are gone from disk. */
	free_bytes(_metadata);
}

/* Defragment @name through a descriptor that isn't open for writing. */
static int defrag(struct __test_metadata *_metadata, const char *name)
{
	struct btrfs_ioctl_defrag_range_args range = {
		.len = ~0ULL, .flags = BTRFS_DEFRAG_RANGE_START_IO,
	};
	int fd = xopen(_metadata, name, O_RDONLY);
	int err = ioctl(fd, BTRFS_IOC_DEFRAG_RANGE, &range) < 0 ? -errno : 0;

	close(fd);
	return err;
}

#define PIECES 32

/* Each block that is written becomes an extent of its own. */
static void make_fragmented(struct __test_metadata *_metadata, const char *name)
{
	int fd = xopen(_metadata, name, O_RDWR | O_CREAT), i;

	for (i = PIECES - 1; i >= 0; i--) {
		write_pattern(_metadata, fd, i * BLK, BLK, 1);
		ASSERT_EQ(0, fdatasync(fd));
	}
	close(fd);
	sync();
}

TEST_F(fs, defragment)
{
	static const char * const names[] = { "alias", "donor" };
	size_t i;

	make_fragmented(_metadata, "donor");
	clone_file(_metadata, "donor", "alias");
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	for (i = 0; i < ARRAY_SIZE(names); i++) {
		EXPECT_EQ(-ETXTBSY, defrag(_metadata, names[i]));
		EXPECT_EQ(PIECES, count_extents(_metadata, names[i]));
		EXPECT_TRUE(file_has(_metadata, names[i], PIECES * BLK, 1));
	}
	ASSERT_EQ(0, release_file("alias"));
	for (i = 0; i < ARRAY_SIZE(names); i++) {
		EXPECT_EQ(0, defrag(_metadata, names[i]));
		EXPECT_GT(PIECES, count_extents(_metadata, names[i]));
		EXPECT_TRUE(file_has(_metadata, names[i], PIECES * BLK, 1));
	}
	/* Defragmenting them copied what they shared. */
	EXPECT_EQ(-EBADE, alias_file("alias", "donor", KEEP));
}

/* What autodefrag remembers of a file is not done when it is frozen. */
TEST_F(fs, autodefrag)
{
	int i, err, tries = 0;

	ASSERT_EQ(0, mount(NULL, MNT, NULL, MS_REMOUNT,
			   "autodefrag,commit=300"));
	/* The thread that does it must not be quicker. */
	do {
		ASSERT_GT(20, tries++);
		unlink("donor");
		make_fragmented(_metadata, "donor");
		clone_file(_metadata, "donor", "alias");
		err = alias_file("alias", "donor", KEEP);
		ASSERT_TRUE(!err || err == -EBADE);
	} while (err || count_extents(_metadata, "donor") < PIECES);
	make_fragmented(_metadata, "ordinary");
	ASSERT_EQ(0, mount(NULL, MNT, NULL, MS_REMOUNT, "autodefrag,commit=1"));
	/* It looks once more after the 30 seconds that it was told first. */
	for (i = 0; i < 120; i++) {
		sync();
		if (count_extents(_metadata, "ordinary") < PIECES)
			break;
		usleep(500000);
		/* The thread that does it wakes up after a commit. */
		close(xopen(_metadata, "touched", O_RDWR | O_CREAT | O_TRUNC));
		ASSERT_EQ(0, unlink("touched"));
	}
	EXPECT_GT(PIECES, count_extents(_metadata, "ordinary"));
	EXPECT_EQ(PIECES, count_extents(_metadata, "donor"));
	EXPECT_EQ(PIECES, count_extents(_metadata, "alias"));
	EXPECT_EQ(KEPT, state_of(_metadata, "alias"));
	EXPECT_TRUE(file_has(_metadata, "alias", PIECES * BLK, 1));
}

static int enable_verity(const char *name)
{
	struct fsverity_enable_arg arg = {
		.version = 1,
		.hash_algorithm = FS_VERITY_HASH_ALG_SHA256,
		.block_size = BLK,
	};
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	int err = ioctl(fd, FS_IOC_ENABLE_VERITY, &arg) ? -errno : 0;

	close(fd);
	return err;
}

TEST_F(fs, verity)
{
	donor_and_alias(_metadata);
	clone_file(_metadata, "donor", "sealed");
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	EXPECT_EQ(-ETXTBSY, enable_verity("alias"));
	EXPECT_EQ(-ETXTBSY, enable_verity("donor"));
	EXPECT_EQ(KEPT, state_of(_metadata, "alias"));
	ASSERT_EQ(0, enable_verity("sealed"));
	EXPECT_EQ(-EOPNOTSUPP, alias_file("sealed", "donor", KEEP));
	EXPECT_EQ(-EOPNOTSUPP, alias_file("donor", "sealed", KEEP));
	ASSERT_EQ(0, release_file("alias"));
	EXPECT_EQ(0, enable_verity("alias"));
	EXPECT_EQ(0, enable_verity("donor"));
	EXPECT_EQ(-EOPNOTSUPP, alias_file("alias", "donor", KEEP));
	drop_caches(_metadata, "3");
	EXPECT_TRUE(file_has(_metadata, "alias", PAIR_SIZE, 1));
}

/* Large enough for its hashes to take a while */
#define VERITY_SIZE (8 << 20)

/* A file becomes an alias or gets its hashes, whichever comes first. */
TEST_F(fs, verity_meanwhile)
{
	struct race race;
	pthread_t thread;
	int i, err;

	make_file(_metadata, "donor", VERITY_SIZE, 1);
	for (i = 0; i < 16; i++) {
		clone_file(_metadata, "donor", "alias");
		race = (struct race){
			.alias = xopen(_metadata, "alias", O_RDONLY),
			.donor = xopen(_metadata, "donor", O_RDONLY),
			.delay = i * 10000,
		};
		ASSERT_EQ(0, pthread_create(&thread, NULL, keep_later, &race));
		err = enable_verity("alias");
		ASSERT_EQ(0, pthread_join(thread, NULL));
		if (err) {
			EXPECT_EQ(-ETXTBSY, err);
			EXPECT_EQ(0, race.result);
		} else {
			EXPECT_EQ(-EOPNOTSUPP, race.result);
		}
		EXPECT_EQ(err ? KEPT : ORDINARY, state_of(_metadata, "alias"));
		EXPECT_TRUE(file_has(_metadata, "alias", VERITY_SIZE, 1));
		close(race.alias);
		close(race.donor);
		ASSERT_EQ(0, unlink("alias"));
	}
}

/* What is sent is what the snapshot has, and what is received are other files. */
TEST_F(fs, send)
{
	make_subvolumes(_metadata);
	ASSERT_EQ(0, alias_file("ro/file", "clone", KEEP));
	drop_caches(_metadata, "3");
	btrfs("send", "-f", "stream", "ro");
	ASSERT_EQ(0, mkdir("received", 0755));
	btrfs("receive", "-f", "stream", "received");
	EXPECT_TRUE(file_has(_metadata, "received/ro/file", PAIR_SIZE, 1));
	EXPECT_EQ(ORDINARY, state_of(_metadata, "received/ro/file"));
	EXPECT_EQ(KEPT, state_of(_metadata, "ro/file"));
	EXPECT_EQ(-EBADE, alias_file("received/ro/file", "clone", KEEP));

	/* In a received subvolume, and between it and a snapshot of it. */
	btrfs("subvolume", "snapshot", "received/ro", "copy");
	EXPECT_EQ(0, alias_file("copy/file", "received/ro/file", KEEP));
	EXPECT_TRUE(file_has(_metadata, "copy/file", PAIR_SIZE, 1));
	/* An increment is found by comparing trees, which haven't changed. */
	btrfs("subvolume", "snapshot", "-r", "sub", "ro2");
	ASSERT_EQ(0, unlink("stream"));
	btrfs("send", "-p", "ro", "-f", "stream", "ro2");
	btrfs("receive", "-f", "stream", "received");
	EXPECT_TRUE(file_has(_metadata, "received/ro2/file", PAIR_SIZE, 1));
}

/*
 * Sending reads ahead with the locks of readers, and must not hold that of a page
 * then, which the making of an alias waits for.
 */
TEST_F_TIMEOUT(fs, send_meanwhile, 300)
{
	const int rounds = access("/proc/lockdep", F_OK) ? 20 : 3;
	const size_t size = 8 << 20;
	int i, err, status, done = 0, tries = 0;
	pid_t pid;

	btrfs("subvolume", "create", "sub");
	make_file(_metadata, "sub/file", size, 1);
	btrfs("subvolume", "snapshot", "-r", "sub", "ro");
	btrfs("send", "-f", "stream", "ro");
	write_text(_metadata, "/proc/sys/kernel/hung_task_timeout_secs", "20");
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		for (i = 0; i < rounds; i++) {
			drop_caches(_metadata, "1");
			if (system("btrfs -q send ro | cmp - stream"))
				_exit(1);
		}
		_exit(0);
	}
	while (!waitpid(pid, &status, WNOHANG)) {
		err = alias_file("ro/file", "sub/file", 0);
		tries++;
		/* Sending can read in what was just taken out of the cache. */
		if (err) {
			EXPECT_EQ(-EBUSY, err);
		} else {
			EXPECT_EQ(0, release_file("ro/file"));
			done++;
		}
		/* Let it get to where it reads ahead. */
		usleep(rand() % 20000);
	}
	EXPECT_EQ(0, status);
	TH_LOG("%d of %d calls", done, tries);
	EXPECT_LT(0, done);
	EXPECT_TRUE(file_has(_metadata, "ro/file", size, 1));
}

/* Quotas count for each subvolume as before. */
TEST_F(fs, quota_groups)
{
	btrfs("quota", "enable", MNT);
	make_subvolumes(_metadata);
	btrfs("qgroup", "limit", "1M", "snap");
	ASSERT_EQ(0, alias_file("snap/file", "sub/file", KEEP));
	EXPECT_TRUE(file_has(_metadata, "snap/file", PAIR_SIZE, 1));
	EXPECT_EQ(0, release_file("snap/file"));
	rewrite(_metadata, "snap/file", 0, PAIR_SIZE, 2);
	EXPECT_TRUE(file_has(_metadata, "sub/file", PAIR_SIZE, 1));
	btrfs("subvolume", "delete", "snap");
	free_bytes(_metadata);
	btrfs("quota", "disable", MNT);
}

#define MANY 24
#define MOVED 2000

static const char *many_name(const char *what, int i)
{
	static char name[2][32];
	static int turn;

	turn = !turn;
	snprintf(name[turn], sizeof(name[turn]), "%s%d", what, i);
	return name[turn];
}

static pid_t start_balance(struct __test_metadata *_metadata)
{
	pid_t pid = fork();

	ASSERT_LE(0, pid);
	if (!pid) {
		execlp("btrfs", "btrfs", "-q", "balance", "start",
		       "--full-balance", MNT, NULL);
		_exit(127);
	}
	return pid;
}

/*
 * Balancing moves all extents meanwhile, and the files are what they were.  As
 * long as it does, it may be impossible to tell that extents are the same; but it
 * is never found that they are not.
 */
TEST_F_TIMEOUT(fs, balance, 600)
{
	const int rounds = access("/proc/lockdep", F_OK) ? 2 : 1;
	int i, fd, round, err, status, done = 0, tries = 0, busy = 0;
	pid_t pid;

	btrfs("subvolume", "create", "sub");
	for (i = 0; i < MANY; i++) {
		make_file(_metadata, many_name("sub/donor", i), PAIR_SIZE, i);
		clone_file(_metadata, many_name("sub/donor", i),
			   many_name("alias", i));
	}
	make_file(_metadata, "kept", PAIR_SIZE, 99);
	clone_file(_metadata, "kept", "sub/kept");
	/* One that has many extents, of which some may be moved and some not */
	fd = xopen(_metadata, many_name("alias", 0), O_RDWR | O_TRUNC);
	for (i = 0; i < 2 * MOVED; i += 2)
		write_pattern(_metadata, fd, i * BLK, BLK, 0);
	close(fd);
	clone_file(_metadata, many_name("alias", 0), many_name("sub/donor", 0));
	sync();
	ASSERT_EQ(0, alias_file("sub/kept", "kept", KEEP));
	for (round = 0; round < rounds; round++) {
		pid = start_balance(_metadata);
		done = 0;
		for (i = 0; !done; i = i ? 0 : 1 + tries % (MANY - 1)) {
			done = waitpid(pid, &status, WNOHANG) == pid;
			tries++;
			err = alias_file(many_name("alias", i),
					 many_name("sub/donor", i), KEEP);
			ASSERT_TRUE(!err || err == -EBUSY) {
				TH_LOG("%s", strerror(-err));
			}
			busy += !!err;
			if (i)
				ASSERT_TRUE(file_has(_metadata,
						     many_name("alias", i),
						     PAIR_SIZE, i));
			ASSERT_EQ(0, release_file(many_name("alias", i)));
			if (tries % 16 == 0)
				drop_caches(_metadata, "1");
			ASSERT_TRUE(file_has(_metadata, "sub/kept", PAIR_SIZE,
					     99));
		}
		ASSERT_EQ(0, status);
	}
	TH_LOG("%d of %d calls found that extents were moving", busy, tries);
	for (i = 0; i < MANY; i++) {
		EXPECT_EQ(0, alias_file(many_name("alias", i),
					many_name("sub/donor", i), KEEP));
	}
	drop_caches(_metadata, "3");
	for (i = 1; i < MANY; i++) {
		EXPECT_TRUE(file_has(_metadata, many_name("alias", i),
				     PAIR_SIZE, i));
	}
	EXPECT_EQ(KEPT, state_of(_metadata, "sub/kept"));
}

/* Another device, and the whole of it read, under aliases that are in use */
TEST_F(fs, replace_and_scrub)
{
	char dev[64], dev2[64];
	unsigned char *map;
	int loop, loop2;

	ASSERT_EQ(0, mkdir("fs", 0755));
	ASSERT_EQ(0, mkdir("ram", 0755));
	ASSERT_EQ(0, mount("tmpfs", "ram", "tmpfs", 0, NULL));
	loop = make_loop(_metadata, "ram/image", dev);
	loop2 = make_loop(_metadata, "ram/image2", dev2);
	ASSERT_TRUE(make_fs(_metadata, variant, dev));
	ASSERT_EQ(0, mount(dev, "fs", variant->type, 0, NULL));
	ASSERT_EQ(0, chdir("fs"));
	donor_and_alias(_metadata);
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));
	map = map_file(_metadata, "alias", PAIR_SIZE);
	btrfs("replace", "start", "-B", "-f", "1", dev2, ".");
	btrfs("scrub", "start", "-B", ".");
	EXPECT_TRUE(map_has(map, PAIR_SIZE, 1));
	ASSERT_EQ(0, munmap(map, PAIR_SIZE));
	drop_caches(_metadata, "3");
	EXPECT_TRUE(file_has(_metadata, "alias", PAIR_SIZE, 1));
	EXPECT_EQ(KEPT, state_of(_metadata, "alias"));
	ASSERT_EQ(0, chdir(".."));
	ASSERT_EQ(0, umount("fs"));
	EXPECT_EQ(0, run(_metadata, (const char *[]){
			"btrfs", "check", dev2, NULL }));
	close(loop);
	close(loop2);
	ASSERT_EQ(0, umount("ram"));
}

/* Look for a hole in @arg, which has none, but many extents, again and again. */
static void *seek_forever(void *arg)
{
	int *fd = arg;

	while (lseek(*fd, 0, SEEK_HOLE) >= 0)
		;
	return NULL;
}

#define SEEK_PIECES 2000

/*
 * While lseek(2) goes through the extents, it holds a lock because of which btrfs
 * gives up no page.  What was taken from an alias has to be given up all the same
 * before its donor can be written to.
 */
TEST_F_TIMEOUT(fs, late_read_locked, 600)
{
	struct file_clone_range range = { .src_length = BLK };
	unsigned char block[BLK];
	const int rounds = access("/proc/lockdep", F_OK) ? 8 : 2;
	int alias, donor, pipes[2], fd, i, round;
	pthread_t thread;
	loff_t pos;

	make_file(_metadata, "block", BLK, 1);
	range.src_fd = xopen(_metadata, "block", O_RDONLY);
	fd = xopen(_metadata, "pieces", O_RDWR | O_CREAT);
	for (i = 0; i < SEEK_PIECES; i++) {
		range.dest_offset = i * BLK;
		ASSERT_EQ(0, ioctl(fd, FICLONERANGE, &range));
	}
	close(range.src_fd);
	close(fd);

	for (round = 0; round < rounds; round++) {
		clone_file(_metadata, "pieces", "donor");
		clone_file(_metadata, "pieces", "alias");
		/* Otherwise its size would tell that it has no hole. */
		fd = xopen(_metadata, "donor", O_RDWR);
		ASSERT_EQ(0, fallocate(fd, FALLOC_FL_KEEP_SIZE,
				       SEEK_PIECES * BLK, BLK));
		ASSERT_EQ(0, fsync(fd));
		close(fd);

		donor = xopen(_metadata, "donor", O_RDONLY);
		fd = xopen(_metadata, "alias", O_RDONLY);
		ASSERT_EQ(0, alias_fd(fd, donor, 0));
		alias = xopen(_metadata, "alias", O_RDONLY);
		close(fd);
		ASSERT_EQ(0, pipe2(pipes, O_CLOEXEC));
		pos = 0;
		ASSERT_EQ(BLK, splice(alias, &pos, pipes[1], NULL, BLK, 0));
		ASSERT_EQ(0, pthread_create(&thread, NULL, seek_forever, &donor));
		usleep(20000);
		close(alias);

		do {
			fd = open("donor", O_RDWR | O_CLOEXEC);
			ASSERT_TRUE(fd >= 0 || errno == ETXTBSY);
		} while (fd < 0);
		write_pattern(_metadata, fd, 0, BLK, 2);
		ASSERT_EQ(BLK, read(pipes[0], block, BLK));
		EXPECT_TRUE(map_has(block, BLK, 1));
		/* Where nothing is, the search ends. */
		ASSERT_EQ(0, ftruncate(fd, 0));
		ASSERT_EQ(0, pthread_join(thread, NULL));
		close(fd);
		close(donor);
		close(pipes[0]);
		close(pipes[1]);
	}
}

TEST_HARNESS_MAIN
