// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "alias.h"
#include "mapping.h"
#include "msg.h"
#include "volume.h"

static void alias_one(struct file *donor, int donor_fd, struct file *file)
{
	char *name, *donor_name;
	int fd = file_open(file);

	if (fd < 0)
		return;
	if (mapping_alias(fd, donor_fd) < 0) {
		file_error(file, "FS_IOC_MAPPING_ALIAS", errno, describe_alias_error(errno));
	} else {
		file->aliased = true;
		if (verbosity > 0) {
			name = file_printable(file);
			donor_name = file_printable(donor);
			msg_verbose("%s: shares the page cache of %s", name, donor_name);
			free(name);
			free(donor_name);
		}
	}
	close(fd);
}

/* Its donor's inode number is not enough on btrfs: is it kept as an alias of another one? */
static void check_kept(int donor_fd, struct file *file)
{
	int fd = file_open(file);

	if (fd < 0)
		return;
	if (mapping_other_donor(fd, donor_fd)) {
		file->kept = false;
		file_skip(file, REASON_OTHER_DONOR);
	}
	close(fd);
}

void alias(struct file *donor, struct file **member, size_t n, bool dry_run)
{
	static atomic_flag told = ATOMIC_FLAG_INIT;
	int donor_fd = -1;
	size_t i;

	for (i = 0; i < n && !interrupted; i++) {
		struct file *file = member[i];

		if (file->reason != REASON_NONE ||
		    (file->kept && (dry_run || !file_on_btrfs(file))))
			continue;
		if (!mapping_supported() && !atomic_flag_test_and_set(&told))
			mapping_missing(!dry_run);
		if (dry_run) {
			file->aliased = true;
			continue;
		}
		if (!mapping_supported()) {
			file_skip(file, REASON_NO_KERNEL);
			continue;
		}
		if (donor_fd < 0 && donor->reason == REASON_NONE)
			donor_fd = file_open(donor);
		if (donor_fd < 0)
			file_skip(file, donor->reason);
		else if (file->kept)
			check_kept(donor_fd, file);
		else
			alias_one(donor, donor_fd, file);
	}
	if (donor_fd >= 0)
		close(donor_fd);
}
