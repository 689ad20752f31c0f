// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <unistd.h>

#include "group.h"
#include "mapping.h"
#include "msg.h"
#include "sharing.h"

void sharing_each(struct files *files, sharing_act *act, void *data)
{
	struct fs_mapping_info info;
	size_t i;

	group_sort(files);
	progress_start("looking at files", files->n, 0);
	for (i = 0; i < files->n && !interrupted; i++) {
		struct file *file = files->file[i];
		int fd;

		progress_add(1, 0);
		fd = file_open(file);
		if (fd < 0)
			continue;
		if (mapping_info(fd, &info) < 0) {
			file_error(file, "FS_IOC_MAPPING_INFO", errno, describe_info_error(errno));
		} else if (info.state) {
			file_set_state(file, &info);
			act(file, fd, &info, data);
		}
		close(fd);
	}
	progress_end();
}
