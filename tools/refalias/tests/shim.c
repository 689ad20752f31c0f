// SPDX-License-Identifier: GPL-2.0
/*
 * To be preloaded into refalias by its tests: makes things happen between
 * two of its steps that else depend on timing or on broken hardware.
 *
 * SHIM_COMMAND  shell command, run once before the first FIEMAP call
 * SHIM_CALL     name of a call that fails: alias, release, info, fiemap or
 *               dedupe (for each destination)
 * SHIM_ERRNO    the number of its error; 0: it claims success, but does nothing
 * SHIM_SIGNAL   NUMBER:COUNT, a signal that comes when FIDEDUPERANGE was called so often
 * SHIM_DEDUPE   shell command, run once before the first FIDEDUPERANGE
 * SHIM_FSYNC    the number of the error with which fsync(2) fails
 * SHIM_READ     shell command, run once after the first read(2) of 4096 bytes and more
 * SHIM_OLD      if set, there is no cachestat(2)
 * SHIM_DAYS     so many days later than it is
 * SHIM_KERNEL   if set, and the kernel has no mapping calls, INFO succeeds and
 *               calls every file ordinary
 * SHIM_INFO     then INFO says this of some of them: PATH:STATE:DONOR_INO, with commas
 *               between them
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include <linux/mapping_alias.h>

enum { CACHESTAT = 451 };	/* system call number, newer than many headers */

static const char *name_of(unsigned long request)
{
	switch (request) {
	case FS_IOC_MAPPING_ALIAS:
		return "alias";
	case FS_IOC_MAPPING_RELEASE:
		return "release";
	case FS_IOC_MAPPING_INFO:
		return "info";
	case FS_IOC_FIEMAP:
		return "fiemap";
	case FIDEDUPERANGE:
		return "dedupe";
	default:
		return "";
	}
}

/* Run the command in the environment's @variable, once; other threads wait for it. */
static void run_command(const char *variable)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	const char *command;

	pthread_mutex_lock(&lock);
	command = getenv(variable);
	if (command) {
		unsetenv("LD_PRELOAD");
		if (system(command) != 0)
			abort();
		unsetenv(variable);
	}
	pthread_mutex_unlock(&lock);
}

/* Not by a command, since system() ignores SIGINT meanwhile. */
static void send_signal(void)
{
	static atomic_int calls;
	const char *when = getenv("SHIM_SIGNAL");
	int number, count;

	if (when && sscanf(when, "%d:%d", &number, &count) == 2 && ++calls == count)
		kill(getpid(), number);
}

ssize_t read(int fd, void *buf, size_t size)
{
	ssize_t (*next)(int, void *, size_t) =
		(ssize_t (*)(int, void *, size_t))dlsym(RTLD_NEXT, "read");
	ssize_t got = next(fd, buf, size);

	if (got >= 4096)
		run_command("SHIM_READ");
	return got;
}

int fsync(int fd)
{
	int (*next)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
	const char *number = getenv("SHIM_FSYNC");

	if (!number)
		return next(fd);
	errno = atoi(number);
	return -1;
}

time_t time(time_t *result)
{
	const char *days = getenv("SHIM_DAYS");
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	now.tv_sec += days ? atol(days) * 24 * 60 * 60 : 0;
	if (result)
		*result = now.tv_sec;
	return now.tv_sec;
}

long syscall(long number, ...)
{
	long (*next)(long, long, long, long, long, long, long) =
		(long (*)(long, long, long, long, long, long, long))dlsym(RTLD_NEXT, "syscall");
	long a[6];
	va_list ap;
	int i;

	va_start(ap, number);
	for (i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	if (number == CACHESTAT && getenv("SHIM_OLD")) {
		errno = ENOSYS;
		return -1;
	}
	return next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* What SHIM_INFO has about the file that is open as @fd, or zeros. */
static void get_info(int fd, struct fs_mapping_info *info)
{
	const char *list = getenv("SHIM_INFO"), *found;
	char link[32], path[4096];
	unsigned long long ino;
	ssize_t length;

	memset(info, 0, sizeof(*info));
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	length = readlink(link, path, sizeof(path) - 2);
	if (!list || length <= 0)
		return;
	strcpy(path + length++, ":");
	found = strstr(list, path);
	if (found && sscanf(found + length, "%u:%llu", &info->state, &ino) == 2)
		info->donor_ino = ino;
}

int ioctl(int fd, unsigned long request, ...)
{
	int (*next)(int, unsigned long, void *) =
		(int (*)(int, unsigned long, void *))dlsym(RTLD_NEXT, "ioctl");
	const char *call = getenv("SHIM_CALL"), *number = getenv("SHIM_ERRNO");
	struct file_dedupe_range *range;
	void *argument;
	va_list ap;
	int ret, i;

	va_start(ap, request);
	argument = va_arg(ap, void *);
	va_end(ap);

	if (request == FS_IOC_FIEMAP)
		run_command("SHIM_COMMAND");
	if (request == FIDEDUPERANGE)
		run_command("SHIM_DEDUPE");
	if (call && number && !strcmp(name_of(request), call)) {
		if (request != FIDEDUPERANGE) {
			errno = atoi(number);
			return errno ? -1 : 0;
		}
		range = argument;
		for (i = 0; i < range->dest_count; i++)
			range->info[i].status = -atoi(number);
		return 0;
	}
	ret = next(fd, request, argument);
	if (request == FIDEDUPERANGE)
		send_signal();
	if (ret < 0 && errno == ENOTTY && request == FS_IOC_MAPPING_INFO &&
	    getenv("SHIM_KERNEL")) {
		get_info(fd, argument);
		ret = 0;
	}
	return ret;
}
