/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
#ifndef _UAPI_LINUX_MAPPING_ALIAS_H
#define _UAPI_LINUX_MAPPING_ALIAS_H

/*
 * Share the page cache of a read-only file with an identical one.
 *
 * See Documentation/filesystems/mapping-alias.rst.
 */

#include <linux/ioctl.h>
#include <linux/types.h>

/* Stay an alias although nobody has the file open. */
#define FS_MAPPING_ALIAS_KEEP	(1U << 0)

/**
 * struct fs_mapping_alias - argument of FS_IOC_MAPPING_ALIAS
 * @donor_fd: file whose page cache the called-on file will use, open for
 *            reading; a file that is itself an alias stands for its donor
 * @flags:    FS_MAPPING_ALIAS_* flags
 * @reserved: must be zero
 */
struct fs_mapping_alias {
	__s32 donor_fd;
	__u32 flags;
	__u32 reserved[4];
};

/* The file uses the page cache of another one, its donor. */
#define FS_MAPPING_INFO_ALIAS	(1U << 0)
/* Other files use the page cache of this one; so it is no alias. */
#define FS_MAPPING_INFO_DONOR	(1U << 1)
/* The file stays an alias although nobody has it open. */
#define FS_MAPPING_INFO_KEPT	(1U << 2)

/**
 * struct fs_mapping_info - result of FS_IOC_MAPPING_INFO
 * @state:      FS_MAPPING_INFO_* flags; zero for an ordinary file
 * @nr_aliases: number of files that use the page cache of this one
 * @donor_ino:  inode number of an alias's donor; zero if the file is no alias,
 *              or if the caller neither owns nor may write the file
 * @donor_gen:  inode generation of the donor, zero whenever @donor_ino is
 * @reserved:   zero
 */
struct fs_mapping_info {
	__u32 state;
	__u32 nr_aliases;
	__u64 donor_ino;
	__u32 donor_gen;
	__u32 reserved[3];
};

#define FS_IOC_MAPPING_ALIAS	_IOW(0x15, 0xa0, struct fs_mapping_alias)
#define FS_IOC_MAPPING_RELEASE	_IO(0x15, 0xa1)
#define FS_IOC_MAPPING_INFO	_IOR(0x15, 0xa2, struct fs_mapping_info)

#endif /* _UAPI_LINUX_MAPPING_ALIAS_H */
