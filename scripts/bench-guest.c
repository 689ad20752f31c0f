// SPDX-License-Identifier: GPL-2.0
/*
 * What scripts/bench measures inside of the virtual machine:
 *
 *	bench-guest PART FS DEVICE
 *
 * DEVICE, which is overwritten, gets a file system FS (xfs or btrfs).  Prints one
 * JSON object for each thing that was measured, with every single value, a line
 * each.  scripts/bench-page makes medians, ratios and a page of them.
 *
 * With QEMU's -icount shift=0 and one CPU, the time stamp counter counts executed
 * instructions: one that any clock is computed from by a factor which the kernel
 * finds out anew at each boot.  What runs beside us would be counted, too, so we have
 * a real-time priority, and threads of the kernel wait until we sleep.  A timer
 * interrupt can't be kept off.  Loops are short, so that most of them see none.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <linux/fs.h>
#include <linux/mapping_alias.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <x86intrin.h>

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

#define MNT	"/mnt"
#define BLK	4096
/* Size of an ordinary file: one extent, and as much as a fault maps at once. */
#define SIZE	(16 * BLK)

/* How often each thing is measured, each time with another file. */
#define RUNS	31
/* Aliases elsewhere on the file system of ordinary files. */
#define ELSEWHERE	2000
/* Of many aliases, those that are looked at one by one. */
#define SAMPLE	32
/* What stays in the directory that files are deleted from. */
#define STAY	64

static const char *fs, *dev;
static char buf[SIZE], other[SIZE];

/* The first line of the text that @path begins with, without its end. */
static const char *read_line(const char *path)
{
	static char line[256];
	FILE *file = fopen(path, "re");

	if (!file || !fgets(line, sizeof(line), file))
		err(EXIT_FAILURE, "%s", path);
	fclose(file);
	line[strcspn(line, "\n")] = '\0';
	return line;
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		err(EXIT_FAILURE, "%s", path);
	close(fd);
}

/* Run @argv, which has to succeed. */
static void run(const char *const argv[])
{
	pid_t pid = fork();
	int status;

	if (pid < 0)
		err(EXIT_FAILURE, "fork");
	if (!pid) {
		/* Results only on stdout */
		dup2(STDERR_FILENO, STDOUT_FILENO);
		execvp(argv[0], (char **)argv);
		err(EXIT_FAILURE, "%s", argv[0]);
	}
	if (waitpid(pid, &status, 0) != pid || status) {
		errno = EIO;
		err(EXIT_FAILURE, "%s", argv[0]);
	}
}

static void make_fs(void)
{
	const char *const xfs[] = { "mkfs.xfs", "-q", "-f", "-K", dev, NULL };
	const char *const btrfs[] = { "mkfs.btrfs", "-q", "-f", "-K", dev, NULL };

	run(strcmp(fs, "xfs") ? btrfs : xfs);
}

static void mount_fs(unsigned long flags)
{
	if (mount(dev, MNT, fs, flags, NULL) || chdir(MNT))
		err(EXIT_FAILURE, "mount of %s", fs);
}

static void umount_fs(void)
{
	if (chdir("/") || umount(MNT))
		err(EXIT_FAILURE, "umount of %s", fs);
}

static void drop_caches(void)
{
	sync();
	write_file("/proc/sys/vm/drop_caches", "3");
}

/* No other task runs until we sleep. */
static void begin_priority(void)
{
	struct sched_param param = { .sched_priority = 1 };

	write_file("/proc/sys/kernel/sched_rt_runtime_us", "-1");
	if (sched_setscheduler(0, SCHED_FIFO, &param))
		err(EXIT_FAILURE, "sched_setscheduler");
}

/* Let the kernel do what it has put off: reclaim of inodes, the journal, RCU. */
static void settle(void)
{
	usleep(20000);
}

/*
 * What was read often enough is on the list of active pages, but waits for others of
 * its kind to go there, and until then every read looks for it among these.
 */
static void settle_pages(void)
{
	static char page[BLK] __attribute__((aligned(BLK)));

	if (madvise(page, sizeof(page), MADV_COLD))
		err(EXIT_FAILURE, "madvise");
}

static uint64_t now(void)
{
	return __rdtsc();
}

/* What it costs to ask, which is to be taken off a single measurement. */
static uint64_t overhead(void)
{
	uint64_t start = now();

	return now() - start;
}

/* Files are numbered; they have names of one length, so that lookups cost the same. */
static const char *name(char kind, unsigned int number)
{
	static char names[4][32];
	static unsigned int turn;
	char *text = names[turn++ % ARRAY_SIZE(names)];

	snprintf(text, sizeof(names[0]), "%c%07u", kind, number);
	return text;
}

static int xopen(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0755);

	if (fd < 0)
		err(EXIT_FAILURE, "open %s", path);
	return fd;
}

static void xpread(int fd, void *to, size_t size)
{
	if (pread(fd, to, size, 0) != (ssize_t)size)
		err(EXIT_FAILURE, "pread");
}

static void make_file(const char *path, const void *data, size_t size)
{
	int fd = xopen(path, O_WRONLY | O_CREAT | O_TRUNC);

	if (write(fd, data, size) != (ssize_t)size)
		err(EXIT_FAILURE, "write %s", path);
	close(fd);
}

static void clone_file(const char *path, const char *from)
{
	int fd = xopen(path, O_WRONLY | O_CREAT | O_TRUNC), source = xopen(from, O_RDONLY);

	if (ioctl(fd, FICLONE, source))
		err(EXIT_FAILURE, "FICLONE %s", path);
	close(source);
	close(fd);
}

static int alias_fd(int alias, int donor, unsigned int flags)
{
	struct fs_mapping_alias arg = { .donor_fd = donor, .flags = flags };

	return ioctl(alias, FS_IOC_MAPPING_ALIAS, &arg) ? -errno : 0;
}

/* Make one a kept alias of the other; false on a kernel that has no aliases. */
static bool alias_file(const char *alias, const char *donor)
{
	int fd = xopen(alias, O_RDONLY), source = xopen(donor, O_RDONLY);
	int result = alias_fd(fd, source, FS_MAPPING_ALIAS_KEEP);

	close(source);
	close(fd);
	if (result && result != -ENOTTY) {
		errno = -result;
		err(EXIT_FAILURE, "FS_IOC_MAPPING_ALIAS %s", alias);
	}
	return !result;
}

/*
 * Files d0... with @size bytes, each with contents of its own, and reflinks a0...
 * of them.  Their data is on disk, and not in memory.
 */
static void make_pairs(unsigned int count, size_t size)
{
	unsigned int i;

	for (i = 0; i < count; i++) {
		memcpy(buf, &i, sizeof(i));
		make_file(name('d', i), buf, size);
	}
	/* All at once: a clone would wait for each. */
	sync();
	for (i = 0; i < count; i++)
		clone_file(name('a', i), name('d', i));
	sync();
}

static void fill(void)
{
	unsigned int i;

	for (i = 0; i < SIZE; i++)
		buf[i] = i * 2654435761U >> 24;
}

/* Begin a line with what was measured, as part of which state of things. */
static void begin(const char *what, const char *state)
{
	printf("{\"what\": \"%s\", \"state\": \"%s\", \"values\": [", what, state);
}

static void value(unsigned int number, double v)
{
	printf("%s%.3f", number ? ", " : "", v);
}

static void end(void)
{
	printf("]}\n");
}

static void print_values(const char *what, const char *state, const double *values,
			 unsigned int count)
{
	unsigned int i;

	begin(what, state);
	for (i = 0; i < count; i++)
		value(i, values[i]);
	end();
}

/*
 * Operations, for a path and an open file.
 */

static void op_open(const char *path, int fd __attribute__((unused)))
{
	close(open(path, O_RDONLY));
}

static void op_read4k(const char *path __attribute__((unused)), int fd)
{
	xpread(fd, other, BLK);
}

static void op_read64k(const char *path __attribute__((unused)), int fd)
{
	xpread(fd, other, SIZE);
}

static void op_fault(const char *path __attribute__((unused)), int fd)
{
	volatile char *map = mmap(NULL, SIZE, PROT_READ, MAP_PRIVATE, fd, 0);

	if (map == MAP_FAILED)
		err(EXIT_FAILURE, "mmap");
	other[0] = map[0];
	munmap((void *)map, SIZE);
}

static void op_stat(const char *path, int fd __attribute__((unused)))
{
	struct stat st;

	if (stat(path, &st))
		err(EXIT_FAILURE, "stat");
}

static void op_exec(const char *path, int fd __attribute__((unused)))
{
	char *argv[] = { (char *)path, NULL }, *envp[] = { NULL };
	int status = 0;
	pid_t pid;

	pid = vfork();
	if (!pid) {
		execve(path, argv, envp);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
		err(EXIT_FAILURE, "exec of %s", path);
}

static void op_info(const char *path __attribute__((unused)), int fd)
{
	struct fs_mapping_info info;

	if (ioctl(fd, FS_IOC_MAPPING_INFO, &info))
		err(EXIT_FAILURE, "FS_IOC_MAPPING_INFO");
}

static const struct op {
	const char *name;
	void (*call)(const char *path, int fd);
	/*
	 * How often the shorter loop has it.  The longer one is over before a timer's
	 * next interrupt, which comes all four million instructions, or so long that
	 * one more or less does not matter.
	 */
	unsigned int loops;
} ops[] = {
	{ "open",	op_open,	64 },
	{ "read 4k",	op_read4k,	64 },
	{ "read 64k",	op_read64k,	8 },
	{ "fault",	op_fault,	32 },
	{ "stat",	op_stat,	64 },
	{ "exec",	op_exec,	128 },
};

static uint64_t loop(const struct op *op, const char *path, int fd, unsigned int count)
{
	uint64_t start = now();
	unsigned int i;

	for (i = 0; i < count; i++)
		op->call(path, fd);
	return now() - start;
}

/* So that the next time is like all later ones. */
static void use_often(const struct op *op, const char *path, int fd)
{
	unsigned int i;

	for (i = 0; i < 3; i++) {
		settle_pages();
		loop(op, path, fd, 2);
	}
	settle_pages();
}

/* Files that are executed are other ones than those that are read. */
static char kind_of(const struct op *op)
{
	return op->call == op_exec ? 'x' : 'f';
}

/* Each operation of the table on ordinary files, which are all in memory. */
static void measure_ops(void)
{
	const struct op *op;
	uint64_t shorter, longer;
	const char *path;
	unsigned int i;
	int fd;

	for (op = ops; op < ops + ARRAY_SIZE(ops); op++) {
		begin(op->name, "ordinary");
		for (i = 0; i < RUNS; i++) {
			path = name(kind_of(op), i);
			fd = xopen(path, O_RDONLY);
			use_often(op, path, fd);
			settle();
			shorter = loop(op, path, fd, op->loops);
			settle();
			longer = loop(op, path, fd, 2 * op->loops);
			value(i, (double)(longer - shorter) / op->loops);
			close(fd);
		}
		end();
	}
}

/* Delete the files first, first + 1 ... of a directory with @total new ones. */
static uint64_t delete_files(unsigned int total, unsigned int count)
{
	static char paths[64][32];
	uint64_t start, sum;
	unsigned int i;

	for (i = 0; i < total; i++) {
		snprintf(paths[i], sizeof(paths[i]), "u/%s", name('u', i));
		make_file(paths[i], buf, BLK);
	}
	sync();
	settle();
	start = now();
	for (i = 0; i < count; i++)
		unlink(paths[i]);
	sum = now() - start;
	for (; i < total; i++)
		unlink(paths[i]);
	sync();
	settle();
	return sum;
}

static void measure_unlink(void)
{
	const unsigned int loops = 32;
	unsigned int i;
	uint64_t shorter;

	begin("unlink", "ordinary");
	for (i = 0; i < RUNS; i++) {
		shorter = delete_files(2 * loops, loops);
		value(i, (double)(delete_files(2 * loops, 2 * loops) - shorter) / loops);
	}
	end();
}

/* A static program as small as there is one: it is our own, told to do nothing. */
static void make_program(const char *path)
{
	static const unsigned char code[] = {
		0x31, 0xff,				/* xor %edi, %edi */
		0xb8, 0x3c, 0x00, 0x00, 0x00,		/* mov $60, %eax: _exit */
		0x0f, 0x05,				/* syscall */
	};
	/* Header, program header: text at one page, where everything is loaded. */
	static const unsigned char head[] = {
		0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		2, 0, 62, 0, 1, 0, 0, 0,
		0x78, 0, 0x40, 0, 0, 0, 0, 0,		/* entry */
		0x40, 0, 0, 0, 0, 0, 0, 0,		/* program headers */
		0, 0, 0, 0, 0, 0, 0, 0,
		0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 64, 0, 0, 0, 0, 0,
		1, 0, 0, 0, 5, 0, 0, 0,			/* load, read and execute */
		0, 0, 0, 0, 0, 0, 0, 0,
		0, 0, 0x40, 0, 0, 0, 0, 0,
		0, 0, 0x40, 0, 0, 0, 0, 0,
		0, 0x10, 0, 0, 0, 0, 0, 0,
		0, 0x10, 0, 0, 0, 0, 0, 0,
		0, 0x10, 0, 0, 0, 0, 0, 0,
	};

	memset(other, 0, SIZE);
	memcpy(other, head, sizeof(head));
	memcpy(other + sizeof(head), code, sizeof(code));
	make_file(path, other, SIZE);
}

static void measure_ordinary(bool aliases)
{
	unsigned int i;
	char path[64];

	make_fs();
	mount_fs(0);
	/* There from the beginning, so that the file system is as large in all states. */
	make_pairs(ELSEWHERE, BLK);
	for (i = 0; i < RUNS; i++) {
		make_file(name('f', i), buf, SIZE);
		make_program(name('x', i));
	}
	if (mkdir("u", 0755))
		err(EXIT_FAILURE, "mkdir");
	for (i = 0; i < STAY; i++) {
		snprintf(path, sizeof(path), "u/%s", name('s', i));
		make_file(path, buf, BLK);
	}
	sync();
	for (i = 0; i < ELSEWHERE; i++) {
		if (!aliases)
			close(xopen(name('a', i), O_RDONLY));
		else if (!alias_file(name('a', i), name('d', i)))
			err(EXIT_FAILURE, "no aliases here");
	}
	begin_priority();
	settle();
	measure_ops();
	measure_unlink();
	umount_fs();
}

static void part_ordinary(void)
{
	measure_ordinary(false);
}

static void part_elsewhere(void)
{
	measure_ordinary(true);
}

/* How many requests the device has read so far. */
static unsigned long disk_reads(void)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/block/%s/stat", strrchr(dev, '/') + 1);
	return strtoul(read_line(path), NULL, 10);
}

/* One operation on a file that nobody else has open. */
static double use_once(const struct op *op, const char *path)
{
	int fd = -1;
	double sum;

	/* To open it is what is measured for some. */
	if (op->call != op_open && op->call != op_stat && op->call != op_exec)
		fd = xopen(path, O_RDONLY);
	settle();
	sum = loop(op, path, fd, 1) - overhead();
	if (fd >= 0)
		close(fd);
	return sum;
}

/* The mean of two files: every other one can cost more, whichever that is. */
static double use_two(const struct op *op, char kind, unsigned int number)
{
	double first = use_once(op, name(kind, number));

	return (first + use_once(op, name(kind, number + 1))) / 2;
}

/*
 * Aliases whose donors are in memory, and who are used for the first time, beside
 * their donors, who are not.
 */
static void measure_first(const struct op *op, unsigned int first)
{
	const struct op lookup = { "stat", op_stat, 1 };
	double alias[RUNS], donor[RUNS], later[RUNS];
	unsigned long reads;
	unsigned int i, n;
	const char *path;
	int fd;

	for (i = 0; i < 2 * RUNS; i++) {
		n = first + i;
		path = name('d', n);
		if (op->call == op_exec)
			make_program(path);
		else
			make_file(path, buf, SIZE);
	}
	sync();
	for (i = 0; i < 2 * RUNS; i++)
		clone_file(name('a', first + i), name('d', first + i));
	drop_caches();
	for (i = 0; i < 2 * RUNS; i++) {
		n = first + i;
		if (!alias_file(name('a', n), name('d', n)))
			err(EXIT_FAILURE, "no aliases here");
		path = name('d', n);
		fd = xopen(path, O_RDONLY);
		xpread(fd, other, SIZE);
		use_often(op, path, fd);
		close(fd);
		/* A name that is looked up often costs less, for any file. */
		use_often(&lookup, path, -1);
		use_often(&lookup, name('a', n), -1);
	}
	settle();
	reads = disk_reads();
	for (i = 0; i < RUNS; i++) {
		n = first + 2 * i;
		donor[i] = use_two(op, 'd', n);
		alias[i] = use_two(op, 'a', n);
		/* What differs here as well is not because it was for the first time. */
		later[i] = use_two(op, 'a', n);
	}
	print_values(op->name, "donor", donor, RUNS);
	print_values(op->name, "alias", alias, RUNS);
	print_values(op->name, "later", later, RUNS);
	begin(op->name, "disk reads");
	value(0, disk_reads() - reads);
	end();
}

static void part_alias(void)
{
	unsigned int i;

	make_fs();
	/* The first read of any file has its atime written; that isn't meant here. */
	mount_fs(MS_NOATIME);
	begin_priority();
	for (i = 0; i < ARRAY_SIZE(ops); i++)
		measure_first(&ops[i], i * 2 * RUNS);
	umount_fs();
}

/* One call of the ioctl, whose result has to be @expected. */
static uint64_t time_ioctl(int alias, int donor, unsigned int flags, int expected)
{
	uint64_t start = now(), sum;
	int result = alias_fd(alias, donor, flags);

	sum = now() - start - overhead();
	if (result != expected) {
		errno = -result;
		err(EXIT_FAILURE, "FS_IOC_MAPPING_ALIAS, instead of %s", strerror(-expected));
	}
	return sum;
}

static void evict_pages(int fd)
{
	if (fsync(fd) || posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED))
		err(EXIT_FAILURE, "posix_fadvise");
}

/* Calls for files of one extent; those that end earlier show what its parts cost. */
enum call { OPEN, SIZE_DIFFERS, BLOCKS_DIFFER, FRESH, CACHED, NOT_KEPT, AGAIN, SECOND, INFO,
	    INFO_DONOR, RELEASE, NR_CALLS };
static const char *const call_names[NR_CALLS] = {
	[OPEN]		= "open and close",
	[SIZE_DIFFERS]	= "refused for the size",
	[BLOCKS_DIFFER]	= "refused for the blocks",
	[FRESH]		= "alias",
	[CACHED]	= "alias of a donor with 64 KiB in memory",
	[NOT_KEPT]	= "alias, not kept",
	[AGAIN]		= "alias again",
	[SECOND]	= "second alias",
	[INFO]		= "info of an alias",
	[INFO_DONOR]	= "info of a donor",
	[RELEASE]	= "release",
};
static double calls[NR_CALLS][RUNS];

/* Open a file whose block map is in memory and whose pages are not. */
static int open_mapped(const char *path)
{
	int fd = xopen(path, O_RDONLY);

	xpread(fd, other, SIZE);
	evict_pages(fd);
	return fd;
}

static uint64_t release_fd(int fd)
{
	uint64_t start = now();

	if (ioctl(fd, FS_IOC_MAPPING_RELEASE))
		err(EXIT_FAILURE, "FS_IOC_MAPPING_RELEASE");
	return now() - start;
}

/* From files that are no aliases to the release of one; @longer and @different are others. */
static void measure_life(unsigned int i, int longer, int different)
{
	const struct op open_op = { "open", op_open, 1 }, info_op = { "info", op_info, 1 };
	int alias, donor, second;

	use_often(&open_op, name('a', i), -1);
	calls[OPEN][i] = use_once(&open_op, name('a', i));
	alias = open_mapped(name('a', i));
	donor = open_mapped(name('d', i));
	second = open_mapped(name('b', i));
	settle();
	calls[SIZE_DIFFERS][i] = time_ioctl(alias, longer, FS_MAPPING_ALIAS_KEEP, -EBADE);
	calls[BLOCKS_DIFFER][i] = time_ioctl(alias, different, FS_MAPPING_ALIAS_KEEP, -EBADE);
	calls[FRESH][i] = time_ioctl(alias, donor, FS_MAPPING_ALIAS_KEEP, 0);
	calls[AGAIN][i] = time_ioctl(alias, donor, FS_MAPPING_ALIAS_KEEP, 0);
	calls[SECOND][i] = time_ioctl(second, donor, FS_MAPPING_ALIAS_KEEP, 0);
	calls[INFO][i] = loop(&info_op, NULL, alias, 1) - overhead();
	calls[INFO_DONOR][i] = loop(&info_op, NULL, donor, 1) - overhead();
	calls[RELEASE][i] = release_fd(alias) - overhead();
	close(second);
	close(donor);
	close(alias);
}

/* One call for the pair @number, whose donor may have pages. */
static double measure_pair(unsigned int number, unsigned int flags, bool pages)
{
	int alias = open_mapped(name('a', number)), donor = open_mapped(name('d', number));
	double sum;

	if (pages)
		xpread(donor, other, SIZE);
	settle();
	sum = time_ioctl(alias, donor, flags, 0);
	close(donor);
	close(alias);
	return sum;
}

static void measure_one_extent(void)
{
	int longer, different;
	unsigned int i;

	make_pairs(3 * RUNS, SIZE);
	for (i = 0; i < RUNS; i++)
		clone_file(name('b', i), name('d', i));
	/* Reflinks, as the proof would not look at the blocks of other files. */
	make_file(name('l', 0), buf, SIZE);
	longer = xopen(name('l', 0), O_WRONLY);
	if (pwrite(longer, buf, 1, SIZE) != 1)
		err(EXIT_FAILURE, "pwrite");
	close(longer);
	clone_file(name('l', 1), name('l', 0));
	make_file(name('o', 0), buf, SIZE);
	clone_file(name('o', 1), name('o', 0));
	drop_caches();

	longer = open_mapped(name('l', 0));
	different = open_mapped(name('o', 0));
	for (i = 0; i < RUNS; i++) {
		measure_life(i, longer, different);
		calls[CACHED][i] = measure_pair(RUNS + i, FS_MAPPING_ALIAS_KEEP, true);
		calls[NOT_KEPT][i] = measure_pair(2 * RUNS + i, 0, false);
	}
	close(different);
	close(longer);
	for (i = 0; i < NR_CALLS; i++)
		print_values(call_names[i], "1 extent", calls[i], RUNS);
}

/* Aliases of a file in which @count written blocks and as many holes alternate. */
static void measure_extents(unsigned int count)
{
	const unsigned int runs = 7;
	unsigned int i;
	char text[16];
	int fd, alias;

	fd = xopen(name('e', count), O_WRONLY | O_CREAT);
	for (i = 0; i < count; i++)
		if (pwrite(fd, buf, BLK, (2ULL * i + 1) * BLK) != BLK)
			err(EXIT_FAILURE, "pwrite");
	/* A writer would be a reason to refuse. */
	close(fd);
	sync();
	for (i = 0; i < runs; i++) {
		clone_file(name('k', i), name('e', count));
		/* So that the journal never has to wait for room while we measure. */
		sync();
	}
	fd = xopen(name('e', count), O_RDONLY);
	evict_pages(fd);
	snprintf(text, sizeof(text), "%u", count);
	begin("extents", text);
	for (i = 0; i < runs; i++) {
		alias = xopen(name('k', i), O_RDONLY);
		settle();
		/* The first one fills the block maps of both, and is none of the values. */
		time_ioctl(alias, fd, FS_MAPPING_ALIAS_KEEP, 0);
		close(alias);
	}
	for (i = 0; i < runs; i++) {
		alias = xopen(name('k', i), O_RDONLY);
		release_fd(alias);
		close(alias);
		/* It was the last user: an ordinary file again, whose map is read again. */
		alias = xopen(name('k', i), O_RDONLY);
		xpread(alias, other, BLK);
		evict_pages(alias);
		settle();
		value(i, time_ioctl(alias, fd, FS_MAPPING_ALIAS_KEEP, 0));
		close(alias);
	}
	end();
	close(fd);
	for (i = 0; i < runs; i++)
		unlink(name('k', i));
}

static void part_ioctl(void)
{
	static const unsigned int counts[] = { 1, 3, 10, 30, 100, 300, 1000, 3000, 10000 };
	unsigned int i;

	make_fs();
	mount_fs(MS_NOATIME);
	begin_priority();
	measure_one_extent();
	for (i = 0; i < ARRAY_SIZE(counts); i++)
		measure_extents(counts[i]);
	umount_fs();
}

/*
 * A process that runs whenever nothing else does: the time that it gets is the time
 * in which the machine would have had nothing to do, waiting for a disk or a timer.
 */
static pid_t start_idler(void)
{
	struct sched_param param = { };
	pid_t pid = fork();

	if (pid < 0)
		err(EXIT_FAILURE, "fork");
	if (!pid) {
		/* Not where it would be in the way of an umount */
		if (chdir("/") || sched_setscheduler(0, SCHED_IDLE, &param))
			_exit(1);
		for (;;)
			__asm__ volatile("" ::: "memory");
	}
	return pid;
}

static double idle_time(pid_t idler)
{
	struct timespec t;
	clockid_t clock;

	if (clock_getcpuclockid(idler, &clock) || clock_gettime(clock, &t))
		err(EXIT_FAILURE, "the time of the idle process");
	return t.tv_sec * 1e9 + t.tv_nsec;
}

/*
 * Everything that is executed because of an umount, by whichever thread.  What
 * comes a little later, like memory that RCU frees, belongs to it.
 */
static double time_umount(void)
{
	pid_t idler = start_idler();
	double idle, sum;
	uint64_t start;

	usleep(200000);
	idle = idle_time(idler);
	start = now();
	umount_fs();
	usleep(100000);
	sum = now() - start;
	sum -= idle_time(idler) - idle;
	kill(idler, SIGKILL);
	waitpid(idler, NULL, 0);
	return sum;
}

/* What the caches that aliases or inodes may be in have: "name objects size" */
static void print_slabs(const char *what, const char *state)
{
	FILE *file = fopen("/proc/slabinfo", "re");
	unsigned long long active, all, size;
	char line[512], cache[64];
	bool first = true;

	if (!file)
		err(EXIT_FAILURE, "/proc/slabinfo");
	printf("{\"what\": \"%s\", \"state\": \"%s\", \"caches\": {", what, state);
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%63s %llu %llu %llu", cache, &active, &all, &size) != 4)
			continue;
		printf("%s\"%s\": [%llu, %llu]", first ? "" : ", ", cache, active, size);
		first = false;
	}
	fclose(file);
	printf("}, \"slab\": ");
	file = fopen("/proc/meminfo", "re");
	if (!file)
		err(EXIT_FAILURE, "/proc/meminfo");
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "Slab: %llu", &size) == 1)
			printf("%llu", size * 1024);
	fclose(file);
	printf("}\n");
}

/* Only what is in use is left: the last objects are freed a grace period later. */
static void drop_unused(void)
{
	drop_caches();
	usleep(500000);
	drop_caches();
	usleep(500000);
}

/* All files are looked up and opened, so that they are in core. */
static void open_all(unsigned int count)
{
	unsigned int i;

	for (i = 0; i < count; i++) {
		close(xopen(name('a', i), O_RDONLY));
		close(xopen(name('d', i), O_RDONLY));
	}
}

/* @count kept aliases, each with a donor of its own, from mount to umount. */
static void measure_many(unsigned int count)
{
	const struct op info_op = { "info", op_info, 1 };
	double info[SAMPLE], release[SAMPLE];
	char state[16];
	unsigned int i, n;
	uint64_t start;
	int fd;

	snprintf(state, sizeof(state), "%u", count);
	mount_fs(MS_NOATIME);
	open_all(count);
	begin("umount, no aliases", state);
	value(0, time_umount());
	end();

	mount_fs(MS_NOATIME);
	drop_unused();
	print_slabs("slabs before", state);
	open_all(count);
	drop_unused();
	print_slabs("slabs, no aliases", state);
	for (i = 0; i < count; i++)
		if (!alias_file(name('a', i), name('d', i)))
			err(EXIT_FAILURE, "no aliases here");
	drop_unused();
	print_slabs("slabs", state);
	/* The dentries were dropped, the inodes could not be. */
	open_all(count);
	begin("umount", state);
	value(0, time_umount());
	end();

	mount_fs(MS_NOATIME);
	for (i = 0; i < count; i++)
		alias_file(name('a', i), name('d', i));
	for (i = 0; i < SAMPLE; i++) {
		n = (unsigned long long)i * count / SAMPLE;
		fd = xopen(name('a', n), O_RDONLY);
		info[i] = loop(&info_op, NULL, fd, 1) - overhead();
		start = now();
		release_fd(fd);
		/* It ends when it is closed. */
		close(fd);
		release[i] = now() - start - overhead();
		settle();
	}
	print_values("info", state, info, SAMPLE);
	print_values("release and close", state, release, SAMPLE);
	/* All others, in the order in which they became aliases */
	start = now();
	for (i = 0; i < count; i++) {
		fd = xopen(name('a', i), O_RDONLY);
		release_fd(fd);
		close(fd);
	}
	begin("release of all", state);
	value(0, now() - start);
	end();
	umount_fs();
}

static void part_many(void)
{
	static const unsigned int counts[] = { 1000, 3000, 10000, 30000, 100000 };
	const char *limit = getenv("BENCH_ALIASES");
	unsigned int most = strtoul(limit ? limit : "100000", NULL, 10);
	unsigned int i;

	make_fs();
	mount_fs(MS_NOATIME);
	make_pairs(most, BLK);
	umount_fs();
	begin_priority();
	for (i = 0; i < ARRAY_SIZE(counts) && counts[i] <= most; i++) {
		measure_many(counts[i]);
		fflush(stdout);
	}
}

/* What ordinary inodes cost, on a kernel that may know of no aliases. */
static void part_inodes(void)
{
	make_fs();
	mount_fs(MS_NOATIME);
	make_pairs(100, BLK);
	print_slabs("inodes", "100");
	umount_fs();
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} parts[] = {
		{ "ordinary",	part_ordinary },
		{ "elsewhere",	part_elsewhere },
		{ "alias",	part_alias },
		{ "ioctl",	part_ioctl },
		{ "many",	part_many },
		{ "inodes",	part_inodes },
	};
	unsigned int i;

	if (argc != 4 || (strcmp(argv[2], "xfs") && strcmp(argv[2], "btrfs"))) {
		fprintf(stderr, "Usage: bench-guest PART xfs|btrfs DEVICE\n");
		return 2;
	}
	fs = argv[2];
	dev = argv[3];
	/* Printed when nothing is measured: printing wakes another process. */
	setvbuf(stdout, NULL, _IOFBF, 1 << 20);
	fill();
	for (i = 0; i < ARRAY_SIZE(parts); i++) {
		if (strcmp(parts[i].name, argv[1]))
			continue;
		parts[i].run();
		return fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
	}
	fprintf(stderr, "bench: there is no part %s\n", argv[1]);
	return 2;
}
