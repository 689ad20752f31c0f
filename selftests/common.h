/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The fixture and the helpers that all mapping_alias tests share.
 *
 * A program makes one file system.  Each test mounts it, is started in a new
 * directory there, and fails if it can't be unmounted afterwards or the kernel
 * complained meanwhile.  MAPPING_ALIAS_DEV names a block device that may be
 * overwritten (default: a loop device over a file in TMPDIR).  It is mounted in
 * a mount namespace that ends with the test, whatever becomes of that.
 *
 * System calls that are expected to work are asserted in the helpers; those
 * under test return 0 or a negative errno.
 */
#ifndef MAPPING_ALIAS_COMMON_H
#define MAPPING_ALIAS_COMMON_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <linux/mapping_alias.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/types.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#include "kselftest_harness.h"

/* Seconds for a test, on an emulated machine with all of the kernel's checks. */
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT 150

/* The unit of the tests' files: a page and a file system block everywhere. */
#define BLK 4096
/* Size of the files that donor_and_alias() makes. */
#define PAIR_BLOCKS 16
#define PAIR_SIZE (PAIR_BLOCKS * BLK)

/* Two users without privileges. */
#define ALICE 1001
#define BOB 1002

#define CAP(c) (1ULL << (c))

#ifndef __NR_cachestat
#define __NR_cachestat 451
#endif

/*
 * Is the running kernel Linux @major.@minor or later?  What is there since then is
 * skipped on others, with a reason that says so: "... since Linux X.Y".
 */
static inline bool linux_since(unsigned int major, unsigned int minor)
{
	struct utsname uts;
	unsigned int x, y;

	if (uname(&uts) || sscanf(uts.release, "%u.%u", &x, &y) != 2)
		abort();
	return x > major || (x == major && y >= minor);
}

/* Where the test's file system is mounted, in the test's mount namespace. */
#define MNT "/mnt"

FIXTURE(fs) {
	char dev[64];
	int kmsg;
};

FIXTURE_VARIANT(fs) {
	const char *type;
	const char *mkfs[8];	/* command, to which the device is added */
};

/*
 * A file system that supports aliases is tested by a line here.  A program that
 * is about one only defines which.
 */
#ifndef ONLY_BTRFS
FIXTURE_VARIANT_ADD(fs, xfs) {
	.type = "xfs",
	.mkfs = { "mkfs.xfs", "-q", "-f", "-K" },
};
#endif

/* No larger than IMAGE_SIZE, for crash_fs(). */
FIXTURE_VARIANT_ADD(fs, btrfs) {
	.type = "btrfs",
	.mkfs = { "mkfs.btrfs", "-q", "-f", "-K", "-b", "320M" },
};

/* Bytes of a loop device's file, and so of a file system without a device. */
#define IMAGE_SIZE (320LL << 20)

/*
 * Make a loop device over @file, and put its name into @dev.  Return a descriptor
 * of the device, open for reading and writing, which vanishes when nobody has it
 * open or mounted.
 */
static inline int attach_loop(struct __test_metadata *_metadata, int file,
			      char dev[64])
{
	struct loop_config config = {
		.fd = file, .info.lo_flags = LO_FLAGS_AUTOCLEAR,
	};
	int control, loop, nr, err;

	control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, control);
	/* Somebody else may take the number that was free a moment ago. */
	do {
		nr = ioctl(control, LOOP_CTL_GET_FREE);
		ASSERT_LE(0, nr);
		snprintf(dev, 64, "/dev/loop%d", nr);
		loop = open(dev, O_RDWR | O_CLOEXEC);
		ASSERT_LE(0, loop) {
			TH_LOG("%s: %s", dev, strerror(errno));
		}
		err = ioctl(loop, LOOP_CONFIGURE, &config) ? errno : 0;
		if (err)
			close(loop);
	} while (err == EBUSY);
	ASSERT_EQ(0, err);
	close(control);
	return loop;
}

/*
 * Make a sparse file of IMAGE_SIZE bytes at @image and a loop device over it.
 * Put the device's name into @dev.  Return a descriptor of the device: it
 * vanishes when nobody has it open or mounted.
 */
static inline int make_loop(struct __test_metadata *_metadata,
			    const char *image, char dev[64])
{
	int file, loop, fd;

	file = open(image, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ASSERT_LE(0, file);
	ASSERT_EQ(0, ftruncate(file, IMAGE_SIZE));
	loop = attach_loop(_metadata, file, dev);
	/* A kernel may refuse to mount what somebody could write to. */
	fd = open(dev, O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, fd);
	close(loop);
	close(file);
	return fd;
}

/* The exit status of @argv, 127 if there is no such command. */
static inline int run(struct __test_metadata *_metadata,
		      const char *const argv[])
{
	pid_t pid = fork();
	int status;

	ASSERT_LE(0, pid);
	if (!pid) {
		execvp(argv[0], (char **)argv);
		_exit(127);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_TRUE(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* Make a file system of the variant on @dev; false if there is no mkfs. */
static inline bool make_fs(struct __test_metadata *_metadata,
			   const struct _fixture_variant_fs *variant, const char *dev)
{
	const char *argv[ARRAY_SIZE(variant->mkfs) + 2] = {};
	int status;
	size_t i;

	for (i = 0; variant->mkfs[i]; i++)
		argv[i] = variant->mkfs[i];
	argv[i] = dev;
	status = run(_metadata, argv);
	ASSERT_TRUE(status == 0 || status == 127) {
		TH_LOG("%s %s failed", argv[0], dev);
	}
	return status == 0;
}

/* What in this line of the kernel log tells of a fault, or NULL. */
static inline const char *kmsg_fault(const char *line)
{
	static const char * const faults[] = {
		"BUG:", "WARNING:", "INFO: task", "INFO: possible",
		"Busy inodes after unmount", "Assertion failed",
		"Metadata corruption", "Corruption of in-memory data",
		"csum failed",
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(faults); i++)
		if (strstr(line, faults[i]))
			return faults[i];
	return NULL;
}

/* Fail the test if the kernel log tells of a fault since the test began. */
static inline void check_kmsg(struct __test_metadata *_metadata, int kmsg)
{
	char line[2048];
	ssize_t n;

	for (;;) {
		n = read(kmsg, line, sizeof(line) - 1);
		if (n < 0 && errno == EPIPE)
			continue;
		if (n <= 0)
			break;
		line[n] = '\0';
		EXPECT_EQ(NULL, kmsg_fault(line)) {
			TH_LOG("kernel log: %s", line);
		}
	}
}

/* What a program's tests, each a process of its own, have in common. */
static struct {
	char fs[16];		/* the file system that was made last */
	char image[256];	/* where, if there is no device */
	char crashed[264];	/* what crash_fs() found on the device */
} *common;

static void __attribute__((constructor)) begin_common(void)
{
	const char *tmp = getenv("TMPDIR");

	common = mmap(NULL, sizeof(*common), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (common == MAP_FAILED)
		abort();
	snprintf(common->image, sizeof(common->image), "%s/mapping_alias.%d",
		 tmp && *tmp ? tmp : "/tmp", getpid());
	snprintf(common->crashed, sizeof(common->crashed), "%s.crashed",
		 common->image);
}

/* Tests end with _exit(), so that this is for the program. */
static void __attribute__((destructor)) end_common(void)
{
	unlink(common->image);
	unlink(common->crashed);
}

FIXTURE_SETUP(fs)
{
	const char *dev = getenv("MAPPING_ALIAS_DEV");
	int loop = -1;

	self->kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	ASSERT_LE(0, self->kmsg);
	ASSERT_EQ(0, lseek(self->kmsg, 0, SEEK_END));
	ASSERT_EQ(0, unshare(CLONE_NEWNS));
	ASSERT_EQ(0, mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));

	if (dev && *dev)
		snprintf(self->dev, sizeof(self->dev), "%s", dev);
	else
		loop = make_loop(_metadata, common->image, self->dev);
	if (strcmp(common->fs, variant->type)) {
		if (!make_fs(_metadata, variant, self->dev))
			SKIP(return, "no %s", variant->mkfs[0]);
		snprintf(common->fs, sizeof(common->fs), "%s", variant->type);
	}
	if (mount(self->dev, MNT, variant->type, 0, NULL)) {
		ASSERT_EQ(ENODEV, errno) {
			TH_LOG("mount: %s", strerror(errno));
		}
		SKIP(return, "the kernel has no %s", variant->type);
	}
	if (loop >= 0)
		close(loop);
	umask(0);
	ASSERT_EQ(0, chdir(MNT));
	ASSERT_EQ(0, mkdir(_metadata->name, 0777));
	ASSERT_EQ(0, chdir(_metadata->name));
	umask(022);
}

FIXTURE_TEARDOWN(fs)
{
	/* Descriptors left open are no fault; mappings and inodes are. */
	close_range(3, self->kmsg - 1, 0);
	close_range(self->kmsg + 1, ~0U, 0);
	EXPECT_EQ(0, chdir("/"));
	EXPECT_EQ(0, umount(MNT)) {
		TH_LOG("umount: %s", strerror(errno));
	}
	check_kmsg(_metadata, self->kmsg);
}

/* What copy_disk() reads and writes at a time */
#define DISK_CHUNK (256 * BLK)

/*
 * Copy IMAGE_SIZE bytes, but what is zero or a hole.  That is nothing that the
 * file system knows of, in a file that is new or on a device that it was on.
 */
static inline void copy_disk(struct __test_metadata *_metadata,
			     const char *from, const char *to)
{
	char *buf = aligned_alloc(BLK, DISK_CHUNK);
	off_t pos, data;
	int in, out;

	ASSERT_NE(NULL, buf);
	/* A device is read and written past its page cache, a file of tmpfs isn't. */
	in = open(from, O_RDONLY | O_CLOEXEC | O_DIRECT);
	if (in < 0)
		in = open(from, O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, in);
	out = open(to, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	ASSERT_LE(0, out);
	for (pos = 0; pos < IMAGE_SIZE; pos += DISK_CHUNK) {
		data = lseek(in, pos, SEEK_DATA);
		if (data < 0)
			break;
		if (data >= pos + DISK_CHUNK)
			continue;
		ASSERT_EQ(DISK_CHUNK, pread(in, buf, DISK_CHUNK, pos));
		if (buf[0] || memcmp(buf, buf + 1, DISK_CHUNK - 1))
			ASSERT_EQ(DISK_CHUNK, pwrite(out, buf, DISK_CHUNK, pos));
	}
	ASSERT_EQ(0, fsync(out));
	close(in);
	close(out);
	free(buf);
}

/*
 * Unmount and mount the test's file system; all files must be closed.  After a
 * crash, nothing is on the disk that was written later.
 */
static inline void remount_fs_with(struct __test_metadata *_metadata,
				   struct _test_data_fs *self,
				   const struct _fixture_variant_fs *variant,
				   const char *options)
{
	int dev;

	/* A loop device would vanish if nobody had it. */
	dev = open(self->dev, O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, dev);
	ASSERT_EQ(0, chdir("/"));
	ASSERT_EQ(0, umount(MNT)) {
		TH_LOG("umount: %s", strerror(errno));
	}
	if (!access(common->crashed, F_OK)) {
		copy_disk(_metadata, common->crashed, self->dev);
		ASSERT_EQ(0, unlink(common->crashed));
	}
	ASSERT_EQ(0, mount(self->dev, MNT, variant->type, 0, options)) {
		TH_LOG("mount: %s", strerror(errno));
	}
	ASSERT_EQ(0, chdir(MNT));
	ASSERT_EQ(0, chdir(_metadata->name));
	close(dev);
}

static inline void remount_fs(struct __test_metadata *_metadata,
			      struct _test_data_fs *self,
			      const struct _fixture_variant_fs *variant)
{
	remount_fs_with(_metadata, self, variant, NULL);
}

/*
 * Stop the test's file system as a crash would: nothing more is written.  btrfs
 * can't be stopped, so put by what is on the disk now.
 */
static inline void crash_fs(struct __test_metadata *_metadata,
			    struct _test_data_fs *self,
			    const struct _fixture_variant_fs *variant)
{
	__u32 no_log_flush = 2;		/* XFS_FSOP_GOING_FLAGS_NOLOGFLUSH */
	int fd;

	if (strcmp(variant->type, "xfs")) {
		copy_disk(_metadata, self->dev, common->crashed);
		return;
	}
	fd = open(MNT, O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ioctl(fd, _IOR('X', 125, __u32), &no_log_flush));
	close(fd);
}

static inline int remount_ro(void)
{
	return mount(NULL, MNT, NULL, MS_REMOUNT | MS_RDONLY, NULL) ?
		-errno : 0;
}

static inline int remount_rw(void)
{
	return mount(NULL, MNT, NULL, MS_REMOUNT, NULL) ? -errno : 0;
}

static inline int xopen(struct __test_metadata *_metadata, const char *name,
			int flags)
{
	int fd = open(name, flags | O_CLOEXEC, 0644);

	ASSERT_LE(0, fd) {
		TH_LOG("open %s: %s", name, strerror(errno));
	}
	return fd;
}

static inline void write_text(struct __test_metadata *_metadata,
			      const char *name, const char *text)
{
	int fd = xopen(_metadata, name, O_WRONLY);

	ASSERT_EQ((ssize_t)strlen(text), write(fd, text, strlen(text))) {
		TH_LOG("write %s: %s", name, strerror(errno));
	}
	close(fd);
}

/* All that a file of /proc, /sys or a cgroup says, as a string. */
static inline const char *read_text(struct __test_metadata *_metadata,
				    const char *name)
{
	static char text[16384];
	int fd = xopen(_metadata, name, O_RDONLY);
	ssize_t len = read(fd, text, sizeof(text) - 1);

	ASSERT_LE(0, len) {
		TH_LOG("read %s: %s", name, strerror(errno));
	}
	text[len] = '\0';
	close(fd);
	return text;
}

/* The state of a process as in /proc/PID/stat. */
static inline char process_state(struct __test_metadata *_metadata, pid_t pid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	/* The name in parentheses, then the state. */
	return strrchr(read_text(_metadata, path), ')')[2];
}

/* An instance of tracefs; the test removes it with rmdir(). */
#define TRACING "/sys/kernel/tracing"
#define TRACE TRACING "/instances/mapping_alias"

static inline void begin_trace(struct __test_metadata *_metadata)
{
	ASSERT_TRUE(!mount("tracefs", TRACING, "tracefs", 0, NULL) ||
		    errno == EBUSY);
	ASSERT_TRUE(!mkdir(TRACE, 0700) || errno == EEXIST);
}

/* A file of the cgroup @name; "" is the root. */
static inline const char *cgroup_file(const char *name, const char *file)
{
	static char path[128];

	snprintf(path, sizeof(path), "/sys/fs/cgroup/%s/%s", name, file);
	return path;
}

/* Make a cgroup with a memory controller.  The mount ends with the test. */
static inline void make_cgroup(struct __test_metadata *_metadata,
			       const char *name)
{
	ASSERT_TRUE(!mount("cgroup2", cgroup_file("", ""), "cgroup2", 0, NULL) ||
		    errno == EBUSY);
	write_text(_metadata, cgroup_file("", "cgroup.subtree_control"),
		   "+memory");
	ASSERT_TRUE(!mkdir(cgroup_file(name, ""), 0755) || errno == EEXIST);
}

/* What the calling process touches from now on is charged to a cgroup. */
static inline void enter_cgroup(struct __test_metadata *_metadata,
				const char *name)
{
	write_text(_metadata, cgroup_file(name, "cgroup.procs"), "0");
}

/* Bytes or events that memory.stat of a cgroup has for @key. */
static inline long cgroup_stat(struct __test_metadata *_metadata,
			       const char *name, const char *key)
{
	const char *line = read_text(_metadata,
				     cgroup_file(name, "memory.stat"));
	size_t len = strlen(key);

	while (line && (strncmp(line, key, len) || line[len] != ' ')) {
		line = strchr(line, '\n');
		if (line)
			line++;
	}
	ASSERT_NE(NULL, line) {
		TH_LOG("no %s in memory.stat", key);
	}
	return atol(line + len);
}

/* Of a clock that only goes on. */
static inline __s64 microseconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

/* From now on the caller runs on that CPU only. */
static inline void stay_on_first_cpu(struct __test_metadata *_metadata)
{
	cpu_set_t first;

	CPU_ZERO(&first);
	CPU_SET(0, &first);
	ASSERT_EQ(0, sched_setaffinity(0, sizeof(first), &first));
}

/* Let a cgroup reclaim all that it can. */
static inline void reclaim_cgroup(struct __test_metadata *_metadata,
				  const char *name)
{
	int fd = xopen(_metadata, cgroup_file(name, "memory.reclaim"), O_WRONLY);

	/* EAGAIN: that was less than what is asked for. */
	ASSERT_TRUE(write(fd, "1G", 2) == 2 || errno == EAGAIN) {
		TH_LOG("memory.reclaim: %s", strerror(errno));
	}
	close(fd);
}

/* A huge page of x86. */
#define HUGE_PAGES 512
#define HUGE_SIZE ((size_t)HUGE_PAGES * BLK)

/* Mode as in drop_caches of Documentation/admin-guide/sysctl/vm.rst. */
static inline void drop_caches(struct __test_metadata *_metadata,
			       const char *mode)
{
	sync();
	write_text(_metadata, "/proc/sys/vm/drop_caches", mode);
}

/* The byte at @offset of a file made with @seed. */
static inline unsigned char pattern(unsigned int seed, size_t offset)
{
	size_t x = offset / 8 + (size_t)seed * 2654435761U;

	x ^= x >> 7;
	return x * 167 + offset + seed;
}

static inline void write_pattern(struct __test_metadata *_metadata, int fd,
				 size_t offset, size_t len, unsigned int seed)
{
	unsigned char *buf = malloc(len);
	size_t i;

	ASSERT_NE(NULL, buf);
	for (i = 0; i < len; i++)
		buf[i] = pattern(seed, offset + i);
	ASSERT_EQ((ssize_t)len, pwrite(fd, buf, len, offset)) {
		TH_LOG("pwrite: %s", strerror(errno));
	}
	free(buf);
}

/* Create @name, @size bytes made with @seed, on the disk. */
static inline void make_file(struct __test_metadata *_metadata,
			     const char *name, size_t size, unsigned int seed)
{
	int fd = xopen(_metadata, name, O_RDWR | O_CREAT | O_TRUNC);

	write_pattern(_metadata, fd, 0, size, seed);
	ASSERT_EQ(0, fsync(fd));
	close(fd);
}

/* Does [@offset, @offset + @len) of @fd read as a file made with @seed? */
static inline bool fd_has(struct __test_metadata *_metadata, int fd,
			  size_t offset, size_t len, unsigned int seed)
{
	unsigned char *buf = malloc(len);
	bool equal = true;
	size_t i;

	ASSERT_NE(NULL, buf);
	ASSERT_EQ((ssize_t)len, pread(fd, buf, len, offset));
	for (i = 0; i < len && equal; i++)
		equal = buf[i] == pattern(seed, offset + i);
	if (!equal)
		TH_LOG("wrong byte at %zu", offset + i - 1);
	free(buf);
	return equal;
}

/* Is @name a file of @size bytes made with @seed? */
static inline bool file_has(struct __test_metadata *_metadata,
			    const char *name, size_t size, unsigned int seed)
{
	int fd = xopen(_metadata, name, O_RDONLY);
	struct stat st;
	bool equal;

	ASSERT_EQ(0, fstat(fd, &st));
	equal = st.st_size == size && fd_has(_metadata, fd, 0, size, seed);
	close(fd);
	return equal;
}

/*
 * New files in the directory @dir are overwritten in place, as swap files have to
 * be, and have no checksums.  Only btrfs knows other files.
 */
static inline void set_nocow(struct __test_metadata *_metadata, const char *dir)
{
	int fd = xopen(_metadata, dir, O_RDONLY), flags;

	ASSERT_EQ(0, ioctl(fd, FS_IOC_GETFLAGS, &flags));
	flags |= FS_NOCOW_FL;
	ASSERT_TRUE(!ioctl(fd, FS_IOC_SETFLAGS, &flags) || errno == EOPNOTSUPP);
	close(fd);
}

/* Create @to with the blocks of @from. */
static inline void clone_file(struct __test_metadata *_metadata,
			      const char *from, const char *to)
{
	int src = xopen(_metadata, from, O_RDONLY);
	int dst = xopen(_metadata, to, O_RDWR | O_CREAT | O_TRUNC);

	ASSERT_EQ(0, ioctl(dst, FICLONE, src)) {
		TH_LOG("FICLONE %s: %s", to, strerror(errno));
	}
	close(src);
	close(dst);
}

/* Create "donor" and its clone "alias", PAIR_SIZE bytes made with seed 1. */
static inline void donor_and_alias(struct __test_metadata *_metadata)
{
	make_file(_metadata, "donor", PAIR_SIZE, 1);
	clone_file(_metadata, "donor", "alias");
}

/* Make "donor" and its clone "alias" of the bytes of @program, executable. */
static inline void copy_program(struct __test_metadata *_metadata,
				const char *program)
{
	ASSERT_EQ(0, run(_metadata, (const char *[]){
				"cp", "-L", program, "donor", NULL }));
	clone_file(_metadata, "donor", "alias");
	ASSERT_EQ(0, chmod("donor", 0755));
	ASSERT_EQ(0, chmod("alias", 0755));
}

/* FS_IOC_MAPPING_ALIAS: 0 or a negative errno. */
static inline int alias_fd(int fd, int donor_fd, unsigned int flags)
{
	struct fs_mapping_alias arg = { .donor_fd = donor_fd, .flags = flags };

	return ioctl(fd, FS_IOC_MAPPING_ALIAS, &arg) ? -errno : 0;
}

/* The same for names; the files are closed afterwards. */
static inline int alias_file(const char *name, const char *donor,
			     unsigned int flags)
{
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	int donor_fd = open(donor, O_RDONLY | O_CLOEXEC);
	int err = fd < 0 || donor_fd < 0 ? -errno :
		  alias_fd(fd, donor_fd, flags);

	close(fd);
	close(donor_fd);
	return err;
}

static inline int release_fd(int fd)
{
	return ioctl(fd, FS_IOC_MAPPING_RELEASE) ? -errno : 0;
}

static inline int release_file(const char *name)
{
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	int err = fd < 0 ? -errno : release_fd(fd);

	close(fd);
	return err;
}

static inline struct fs_mapping_info info_fd(struct __test_metadata *_metadata,
					     int fd)
{
	struct fs_mapping_info info;

	/* Every byte must come from the kernel. */
	memset(&info, 0xff, sizeof(info));
	ASSERT_EQ(0, ioctl(fd, FS_IOC_MAPPING_INFO, &info)) {
		TH_LOG("FS_IOC_MAPPING_INFO: %s", strerror(errno));
	}
	ASSERT_EQ(0, info.reserved[0] | info.reserved[1] | info.reserved[2]);
	return info;
}

static inline struct fs_mapping_info info_file(struct __test_metadata *_metadata,
					       const char *name)
{
	int fd = xopen(_metadata, name, O_RDONLY);
	struct fs_mapping_info info = info_fd(_metadata, fd);

	close(fd);
	return info;
}

/* What FS_IOC_MAPPING_INFO says of a file: FS_MAPPING_INFO_* flags. */
static inline unsigned int state_of(struct __test_metadata *_metadata,
				    const char *name)
{
	return info_file(_metadata, name).state;
}

#define ORDINARY 0U
#define ALIAS FS_MAPPING_INFO_ALIAS
#define KEPT (FS_MAPPING_INFO_ALIAS | FS_MAPPING_INFO_KEPT)
#define DONOR FS_MAPPING_INFO_DONOR
#define KEEP FS_MAPPING_ALIAS_KEEP

static inline ino_t ino_of(struct __test_metadata *_metadata, const char *name)
{
	struct stat st;

	ASSERT_EQ(0, stat(name, &st));
	return st.st_ino;
}

/* open() for @flags and close: 0 or a negative errno. */
static inline int try_open(const char *name, int flags)
{
	int fd = open(name, flags | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

/* A call on @name failed: it and @donor are files like any other. */
static inline void check_untouched(struct __test_metadata *_metadata,
				   const char *name, const char *donor)
{
	EXPECT_EQ(ORDINARY, state_of(_metadata, name));
	EXPECT_EQ(ORDINARY, state_of(_metadata, donor));
	EXPECT_EQ(0, try_open(name, O_RDWR));
	EXPECT_EQ(0, try_open(donor, O_RDWR));
}

static inline unsigned char *map_file(struct __test_metadata *_metadata,
				      const char *name, size_t size)
{
	int fd = xopen(_metadata, name, O_RDONLY);
	void *map = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);

	ASSERT_NE(MAP_FAILED, map);
	close(fd);
	return map;
}

/* Is @map, all @len bytes of it, the file made with @seed? */
static inline bool map_has(const unsigned char *map, size_t len,
			   unsigned int seed)
{
	size_t i;

	for (i = 0; i < len; i++)
		if (__atomic_load_n(&map[i], __ATOMIC_RELAXED) != pattern(seed, i))
			return false;
	return true;
}

/* Page frame number behind @addr, after it was read; needs CAP_SYS_ADMIN. */
static inline __u64 frame_of(struct __test_metadata *_metadata,
			     const unsigned char *addr)
{
	int fd = xopen(_metadata, "/proc/self/pagemap", O_RDONLY);
	__u64 entry;

	(void)__atomic_load_n(addr, __ATOMIC_RELAXED);
	ASSERT_EQ(8, pread(fd, &entry, 8, (unsigned long)addr / BLK * 8));
	close(fd);
	ASSERT_NE(0, entry >> 63);			/* present */
	ASSERT_NE(0, entry & ((1ULL << 55) - 1));	/* not hidden */
	return entry & ((1ULL << 55) - 1);
}

/* cachestat(2): how many pages of the file are cached, or a negative errno. */
static inline long try_cachestat(int fd)
{
	struct { __u64 off, len; } range = { 0, 0 };
	struct {
		__u64 cache, dirty, writeback, evicted, recently_evicted;
	} stat;

	return syscall(__NR_cachestat, fd, &range, &stat, 0) ?
		-errno : (long)stat.cache;
}

/* The same by mincore(2), for kernels without cachestat(2). */
static inline long count_resident(struct __test_metadata *_metadata, int fd)
{
	unsigned char *vec;
	struct stat st;
	size_t pages, i;
	long count = 0;
	void *map;

	ASSERT_EQ(0, fstat(fd, &st));
	pages = (st.st_size + BLK - 1) / BLK;
	if (!pages)
		return 0;
	map = mmap(NULL, pages * BLK, PROT_READ, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, map);
	vec = malloc(pages);
	ASSERT_NE(NULL, vec);
	ASSERT_EQ(0, mincore(map, pages * BLK, vec));
	for (i = 0; i < pages; i++)
		count += vec[i] & 1;
	free(vec);
	ASSERT_EQ(0, munmap(map, pages * BLK));
	return count;
}

/* Number of the file's pages that the mapping behind @fd has cached. */
static inline __u64 cached_pages(struct __test_metadata *_metadata, int fd)
{
	long pages;

	if (!linux_since(6, 5))
		return count_resident(_metadata, fd);
	pages = try_cachestat(fd);
	ASSERT_LE(0, pages) {
		TH_LOG("cachestat: %s", strerror(-pages));
	}
	return pages;
}

static inline __u64 cached_pages_of(struct __test_metadata *_metadata,
				    const char *name)
{
	int fd = xopen(_metadata, name, O_RDONLY);
	__u64 pages = cached_pages(_metadata, fd);

	close(fd);
	return pages;
}

/* What a call that failed must not have changed of a file. */
struct snapshot {
	struct fs_mapping_info info;
	struct stat st;
	int writable;		/* try_open() for writing */
	__u64 cached;		/* pages */
};

static inline struct snapshot take_snapshot(struct __test_metadata *_metadata,
					    const char *name)
{
	struct snapshot snap = {
		.info = info_file(_metadata, name),
		.writable = try_open(name, O_RDWR),
		.cached = cached_pages_of(_metadata, name),
	};

	ASSERT_EQ(0, stat(name, &snap.st));
	/* Readers change the one, and writeback the other. */
	memset(&snap.st.st_atim, 0, sizeof(snap.st.st_atim));
	snap.st.st_blocks = 0;
	return snap;
}

/*
 * Is @name as it was @before?  Its page cache is not looked at: a call that got
 * as far as emptying it may fail.
 */
static inline bool unchanged(struct __test_metadata *_metadata,
			     const char *name, const struct snapshot *before)
{
	struct snapshot now = take_snapshot(_metadata, name);

	if (!memcmp(&now.info, &before->info, sizeof(now.info)) &&
	    !memcmp(&now.st, &before->st, sizeof(now.st)) &&
	    now.writable == before->writable)
		return true;
	TH_LOG("%s: state %u -> %u, aliases %u -> %u, open for writing %d -> %d",
	       name, before->info.state, now.info.state,
	       before->info.nr_aliases, now.info.nr_aliases, before->writable,
	       now.writable);
	return false;
}

/* Give up root for @uid, keeping only the capabilities in the mask @caps. */
static inline int become(uid_t uid, __u64 caps)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[2] = {
		{ .effective = caps, .permitted = caps },
		{ .effective = caps >> 32, .permitted = caps >> 32 },
	};

	if (prctl(PR_SET_KEEPCAPS, 1) ||
	    syscall(__NR_setgroups, 0, NULL) ||
	    syscall(__NR_setresgid, uid, uid, uid) ||
	    syscall(__NR_setresuid, uid, uid, uid) ||
	    syscall(__NR_capset, &header, data))
		return -errno;
	return 0;
}

/*
 * Fork.  In the child, give up root for @uid with @caps and return 0; the child
 * ends with child_exit().  In the parent, return the child's pid.
 */
static inline pid_t fork_as(struct __test_metadata *_metadata, uid_t uid,
			    __u64 caps)
{
	pid_t pid = fork();

	ASSERT_LE(0, pid);
	if (!pid && become(uid, caps))
		_exit(255);
	return pid;
}

/* Has an expectation failed?  The harness before Linux 6.10 counts otherwise. */
static inline bool has_failed(const struct __test_metadata *_metadata)
{
#ifdef XFAIL_ADD
	return _metadata->exit_code;
#else
	return !_metadata->passed;
#endif
}

/* End a child with a result: 0 or a negative errno. */
static inline void child_exit(int err)
{
	_exit(-err);
}

/* The result that @pid gave to child_exit(). */
static inline int child_result(struct __test_metadata *_metadata, pid_t pid)
{
	int status;

	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_TRUE(WIFEXITED(status)) {
		TH_LOG("child killed by signal %d", WTERMSIG(status));
	}
	ASSERT_NE(255, WEXITSTATUS(status));
	return -WEXITSTATUS(status);
}

/* alias_file() as another user. */
static inline int alias_as(struct __test_metadata *_metadata, uid_t uid,
			   __u64 caps, const char *name, const char *donor,
			   unsigned int flags)
{
	pid_t pid = fork_as(_metadata, uid, caps);

	if (!pid)
		child_exit(alias_file(name, donor, flags));
	return child_result(_metadata, pid);
}

/* release_file() as another user. */
static inline int release_as(struct __test_metadata *_metadata, uid_t uid,
			     __u64 caps, const char *name)
{
	pid_t pid = fork_as(_metadata, uid, caps);

	if (!pid)
		child_exit(release_file(name));
	return child_result(_metadata, pid);
}

/*
 * FIDEDUPERANGE of one range.  Return what the kernel says of it: the number of
 * bytes, or a negative errno from the call or from the range's status.
 */
static inline long dedupe(int src, __u64 src_offset, int dst, __u64 dst_offset,
			  __u64 len)
{
	struct {
		struct file_dedupe_range head;
		struct file_dedupe_range_info info;
	} arg = {
		.head = {
			.src_offset = src_offset,
			.src_length = len,
			.dest_count = 1,
		},
		.info = { .dest_fd = dst, .dest_offset = dst_offset },
	};

	if (ioctl(src, FIDEDUPERANGE, &arg))
		return -errno;
	return arg.info.status < 0 ? arg.info.status :
	       arg.info.status ? -EBADE : (long)arg.info.bytes_deduped;
}

/* XFS's online check and repair (struct xfs_scrub_metadata of xfs_fs.h) */
struct xfs_scrub {
	__u32 type, flags;
	__u64 ino;
	__u32 gen, agno;
	__u64 reserved[5];
};

#define XFS_SCRUB_INODE 11
#define XFS_SCRUB_DATA_FORK 12
#define XFS_SCRUB_COW_FORK 14
#define XFS_SCRUB_DIR 15
/* Flags: repair it (1), and if it is sound build it anew all the same (0x100). */
#define XFS_SCRUB_REBUILD 0x101

/*
 * XFS_IOC_SCRUB_METADATA of the file @fd, or of that with @arg's number in its
 * file system.  Return what it found, beside the flags that were given, or a
 * negative errno.
 */
static inline int scrub(int fd, struct xfs_scrub arg)
{
	return ioctl(fd, _IOWR('X', 60, struct xfs_scrub), &arg) ?
		-errno : (int)arg.flags;
}

#endif /* MAPPING_ALIAS_COMMON_H */
