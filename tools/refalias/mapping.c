// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "file.h"
#include "mapping.h"
#include "msg.h"

bool mapping_supported(void)
{
	static int supported = -1;
	struct fs_mapping_info info;
	int fd;

	if (supported >= 0)
		return supported;
	/* Any regular file will do; without /proc each call tells by itself. */
	supported = 1;
	fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		if (mapping_info(fd, &info) < 0 && errno == ENOTTY)
			supported = 0;
		close(fd);
	}
	return supported;
}

void mapping_missing(bool is_error)
{
	static const char text[] = "the running kernel, %s %s, can't share page caches: it lacks FS_IOC_MAPPING_ALIAS; boot one built with the mapping-alias patches and CONFIG_MAPPING_ALIAS=y";
	struct utsname uts = { 0 };

	uname(&uts);
	if (is_error)
		msg_error(text, uts.sysname, uts.release);
	else
		msg_note(text, uts.sysname, uts.release);
}

int mapping_alias(int fd, int donor_fd)
{
	struct fs_mapping_alias arg = {
		.donor_fd = donor_fd,
		.flags = FS_MAPPING_ALIAS_KEEP,
	};

	return ioctl(fd, FS_IOC_MAPPING_ALIAS, &arg);
}

bool mapping_other_donor(int fd, int donor_fd)
{
	/* What shares already may do so again, and nothing is changed. */
	struct fs_mapping_alias arg = { .donor_fd = donor_fd };

	return ioctl(fd, FS_IOC_MAPPING_ALIAS, &arg) < 0 && errno == EBUSY;
}

int mapping_release(int fd)
{
	return ioctl(fd, FS_IOC_MAPPING_RELEASE);
}

int mapping_info(int fd, struct fs_mapping_info *info)
{
	return ioctl(fd, FS_IOC_MAPPING_INFO, info);
}

static const char *describe_common_error(int err)
{
	switch (err) {
	case ENOTTY:
		return "the running kernel can't share page caches: boot one with CONFIG_MAPPING_ALIAS";
	case EACCES:
	case EPERM:
		return "a security module (SELinux, AppArmor) denies it: see its log, or leave this path out";
	default:
		return describe_error(err);
	}
}

const char *describe_alias_error(int err)
{
	switch (err) {
	case EINVAL:
		return "both must be different regular files that are not empty";
	case EOPNOTSUPP:
		return "its file system can't prove files identical (XFS made with reflink=1 and btrfs can), or the file uses DAX, encryption or fs-verity";
	case EPERM:
		return "keeping needs root (CAP_SYS_ADMIN), and so do files of different owners: run refalias as root";
	case ETXTBSY:
		return "it or the donor is open for writing, mapped writable and shared, or a swap file: end that program (fuser -v FILE shows it), then run refalias again";
	case EBADE:
		return "sizes or blocks differ from the donor's, or it changed just now: run refalias again without --no-reflink";
	case EBUSY:
		return "it shares with another donor or serves as one (refalias release ends that), or its page cache is in use by running I/O (try again) or could not be written (sync FILE tells)";
	case ENOENT:
		return "it or the donor was deleted meanwhile: run refalias again";
	default:
		return describe_common_error(err);
	}
}

const char *describe_release_error(int err)
{
	switch (err) {
	case EINVAL:
		return "only regular files can share a page cache";
	case EPERM:
		return "only the owner of the file or of its donor, or root, may release it";
	default:
		return describe_common_error(err);
	}
}

const char *describe_info_error(int err)
{
	if (err == EINVAL)
		return "only regular files can share a page cache";
	return describe_common_error(err);
}
