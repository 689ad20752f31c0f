/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the programs that put a load on a file system share: numbers that a seed
 * determines, blocks that tell what they are, running commands, and the kernel
 * log.
 */
#ifndef MAPPING_ALIAS_LOAD_H
#define MAPPING_ALIAS_LOAD_H

#include <limits.h>
#include <stdarg.h>

#include "common.h"

#define SECTOR 512
#define DIR_MODE 0755

/*
 * The file systems that the programs can use.  The commands get the device as their
 * last argument; the check is of one that isn't mounted, and changes nothing.
 */
static const struct file_system {
	const char *type, *mkfs, *check;
} file_systems[] = {
	{ "xfs", "mkfs.xfs -q -f -K", "xfs_repair -n" },
	{ "btrfs", "mkfs.btrfs -q -f -K", "btrfs check --check-data-csum" },
}, *file_system = &file_systems[0];

static inline bool is_btrfs(void)
{
	return file_system == &file_systems[1];
}

/*
 * Path of file number @n, in DIR, which the program defines before it includes this.
 * The results of two calls can be used together.
 */
static inline const char *path_of(int n)
{
	static char paths[2][sizeof(DIR) + 16];
	static int turn;

	turn = !turn;
	snprintf(paths[turn], sizeof(paths[turn]), DIR "/f%d", n);
	return paths[turn];
}

/* Numbers that depend on the seed, and on whatever else it was mixed with. */
struct rng {
	__u64 state;
};

static inline __u64 mix(__u64 x)
{
	x += 0x9e3779b97f4a7c15ULL;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

static inline unsigned int below(struct rng *r, unsigned int limit)
{
	r->state = mix(r->state);
	return (r->state >> 32) * limit >> 32;
}

static inline bool one_in(struct rng *r, unsigned int n)
{
	return !below(r, n);
}

/*
 * Contents number @id of a block.  Each sector begins with its number and that
 * of the contents, and the rest follows from these two, so that a foreign, an
 * old or a torn block tells what it is.  Number 0 is zeros.
 */
static inline void fill_sector(void *buf, __u32 id, __u32 sector)
{
	__u64 *word = buf, x;
	size_t i;

	if (!id) {
		memset(buf, 0, SECTOR);
		return;
	}
	x = mix((__u64)id << 32 | sector);
	word[0] = (__u64)id << 32 | sector;
	for (i = 1; i < SECTOR / sizeof(*word); i++)
		word[i] = x += 0x9e3779b97f4a7c15ULL;
}

static inline void fill_block(void *buf, __u32 id)
{
	__u32 i;

	for (i = 0; i < BLK / SECTOR; i++)
		fill_sector(buf + i * SECTOR, id, i);
}

/* Exit status of a shell command; what it said if that isn't 0, as comments. */
static inline int __printf(1, 2) command(const char *format, ...)
{
	char line[1024];
	va_list args;
	int n, status;

	va_start(args, format);
	n = snprintf(line, sizeof(line), "{ ");
	n += vsnprintf(line + n, sizeof(line) - n, format, args);
	va_end(args);
	snprintf(line + n, sizeof(line) - n,
		 "; } > /tmp/load.%d 2>&1 && s=0 || { s=$?; sed 's/^/# /' /tmp/load.%d; }; rm /tmp/load.%d; exit $s",
		 getpid(), getpid(), getpid());
	fflush(NULL);
	status = system(line);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

static inline void *map_memory(size_t size, int flags)
{
	void *map = mmap(NULL, size, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);

	if (map == MAP_FAILED)
		ksft_exit_fail_msg("mmap: %s\n", strerror(errno));
	return map;
}

/* A mount namespace of our own. */
static inline void begin_mounts(void)
{
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		ksft_exit_fail_msg("unshare: %s\n", strerror(errno));
	umask(0);
}

static inline unsigned int parse_number(const char *name, const char *value)
{
	char *end;
	unsigned long n = value ? strtoul(value, &end, 10) : 0;

	if (!value || !*value || *end || n > UINT_MAX)
		ksft_exit_fail_msg("%s needs a number\n", name);
	return n;
}

/* From now on, file_system is the one called @type. */
static inline void choose_file_system(const char *type)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(file_systems); i++) {
		if (type && !strcmp(type, file_systems[i].type)) {
			file_system = &file_systems[i];
			return;
		}
	}
	ksft_exit_fail_msg("no such file system: %s\n", type ? type : "none");
}

static inline double now(void)
{
	return microseconds() / 1e6;
}

static inline void pause_ms(unsigned int ms)
{
	usleep(ms * 1000);
}

/* write() to a file of the kernel's own: 0 or a negative errno. */
static inline int write_kernel(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), err = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		err = -errno;
	close(fd);
	return err;
}

/* The kernel log from now on. */
static inline int open_kmsg(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0 || lseek(fd, 0, SEEK_END))
		ksft_exit_fail_msg("/dev/kmsg: %s\n", strerror(errno));
	return fd;
}

/* Copy the next line that tells of a fault to @line; false if there is none. */
static inline bool next_fault(int kmsg, char line[2048])
{
	ssize_t n;

	for (;;) {
		n = read(kmsg, line, 2047);
		if (n < 0 && errno == EPIPE)
			continue;
		if (n <= 0)
			return false;
		line[n] = '\0';
		/* Nobody lets a device fail here, which is what some tests do. */
		if (kmsg_fault(line) || strstr(line, "BTRFS error") ||
		    strstr(line, "BTRFS critical") || strstr(line, "BTRFS: error"))
			return true;
	}
}

#endif /* MAPPING_ALIAS_LOAD_H */
