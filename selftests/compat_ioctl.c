// SPDX-License-Identifier: GPL-2.0
/* The ioctls as a 32-bit program calls them on a 64-bit kernel. */

#include <assert.h>

#include "common.h"

static_assert(sizeof(long) == 4, "to be compiled for 32 bits");

TEST_F(fs, compat)
{
	struct fs_mapping_info info;
	int fd, gen;

	donor_and_alias(_metadata);
	ASSERT_EQ(0, alias_file("alias", "donor", KEEP));

	fd = xopen(_metadata, "donor", O_RDONLY);
	ASSERT_EQ(0, ioctl(fd, _IOR('v', 1, int), &gen)); /* GETVERSION */
	info = info_fd(_metadata, fd);
	EXPECT_EQ(DONOR, info.state);
	EXPECT_EQ(1, info.nr_aliases);
	info = info_file(_metadata, "alias");
	EXPECT_EQ(KEPT, info.state);
	EXPECT_EQ(ino_of(_metadata, "donor"), info.donor_ino);
	EXPECT_EQ(gen, (int)info.donor_gen);

	EXPECT_EQ(-EINVAL, alias_file("alias", "donor", 2));
	ASSERT_EQ(0, release_file("alias"));
	EXPECT_EQ(ORDINARY, state_of(_metadata, "alias"));
}

/* Pointers above 2 GiB are not to be taken for negative numbers. */
TEST_F(fs, high_pointer)
{
	struct fs_mapping_info *info;
	int fd;

	donor_and_alias(_metadata);
	info = mmap((void *)0xf0000000UL, BLK, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	ASSERT_EQ((void *)0xf0000000UL, info);
	fd = xopen(_metadata, "alias", O_RDONLY);
	info->state = 99;
	ASSERT_EQ(0, ioctl(fd, FS_IOC_MAPPING_INFO, info));
	EXPECT_EQ(ORDINARY, info->state);
}

TEST_HARNESS_MAIN
