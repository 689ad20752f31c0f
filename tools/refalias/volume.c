// SPDX-License-Identifier: GPL-2.0
#include <linux/btrfs.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "msg.h"
#include "volume.h"

struct volume {
	dev_t dev;
	dev_t fs;	/* the lowest @dev of the file system, of those that were seen */
	bool known;	/* what follows, and @fs */
	bool btrfs;
	unsigned char id[BTRFS_FSID_SIZE];
};

static struct {
	struct volume *volume;
	size_t n, space;
} volumes;

/* Take it as one with those that have the same ID. */
static void unite(const struct volume *volume)
{
	dev_t lowest = volume->dev;
	size_t i, round;

	for (round = 0; round < 2; round++) {
		for (i = 0; i < volumes.n; i++) {
			struct volume *other = &volumes.volume[i];

			if (!other->btrfs || memcmp(other->id, volume->id, sizeof(volume->id)) != 0)
				continue;
			if (other->fs < lowest)
				lowest = other->fs;
			other->fs = lowest;
		}
	}
}

/*
 * Ask for the file system.  No two that are mounted have the same ID: the kernel
 * gives a copy of one a temporary ID.  That of statfs(2) is another one for each
 * subvolume.
 */
static void look(struct volume *volume, int dirfd, const char *name)
{
	struct btrfs_ioctl_fs_info_args info = { 0 };
	struct statfs fs;
	struct stat st;
	int fd;

	/* The number of a block device: all of the file system has it. */
	volume->known = major(volume->dev);
	if (volume->known)
		return;
	fd = open_quietly(dirfd, name, 0);
	/* Who may not read this one may read the next one. */
	if (fd < 0)
		return;
	if (fstat(fd, &st) == 0 && st.st_dev == volume->dev && fstatfs(fd, &fs) == 0) {
		volume->known = true;
		volume->btrfs = fs.f_type == BTRFS_SUPER_MAGIC &&
				ioctl(fd, BTRFS_IOC_FS_INFO, &info) == 0;
	}
	close(fd);
	if (volume->btrfs) {
		memcpy(volume->id, info.fsid, sizeof(volume->id));
		unite(volume);
	}
}

uint32_t volume_of(dev_t dev, int dirfd, const char *name)
{
	static size_t last;
	struct volume *volume;

	/* Most files are on the same one as the one before. */
	if (last == volumes.n || volumes.volume[last].dev != dev)
		for (last = 0; last < volumes.n && volumes.volume[last].dev != dev; last++)
			;
	if (last == volumes.n) {
		volumes.volume = xgrow(volumes.volume, volumes.n, &volumes.space, sizeof(*volume));
		volumes.volume[volumes.n++] = (struct volume){ .dev = dev, .fs = dev };
	}
	volume = &volumes.volume[last];
	if (!volume->known)
		look(volume, dirfd, name);
	return (uint32_t)last;
}

dev_t file_dev(const struct file *file)
{
	return volumes.volume[file->volume].dev;
}

dev_t file_fs(const struct file *file)
{
	return volumes.volume[file->volume].fs;
}

bool file_on_btrfs(const struct file *file)
{
	return volumes.volume[file->volume].btrfs;
}

bool file_is_same(const struct file *x, const struct file *y)
{
	return x->volume == y->volume && x->ino == y->ino;
}
