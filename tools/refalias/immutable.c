// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "immutable.h"

static const char *describe_flags_error(int err)
{
	switch (err) {
	case EPERM:
	case EACCES:
		return "only root (CAP_LINUX_IMMUTABLE) may change that: run refalias as root";
	case EROFS:
		return "the file system is mounted read-only: remount it writable, or leave out --immutable";
	case EOPNOTSUPP:
	case ENOTTY:
		return "its file system knows no immutable files: leave out --immutable";
	default:
		return describe_error(err);
	}
}

void immutable_set(struct file *file, bool on)
{
	int fd = file_open(file), flags, wanted;

	if (fd < 0)
		return;
	if (ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0) {
		file_error(file, "FS_IOC_GETFLAGS", errno, describe_flags_error(errno));
	} else {
		wanted = on ? flags | FS_IMMUTABLE_FL : flags & ~FS_IMMUTABLE_FL;
		if (wanted != flags) {
			if (ioctl(fd, FS_IOC_SETFLAGS, &wanted) < 0)
				file_error(file, "FS_IOC_SETFLAGS", errno,
					   describe_flags_error(errno));
			else
				file_verbose(file, on ? "immutable now" : "not immutable any more");
		}
	}
	close(fd);
}
