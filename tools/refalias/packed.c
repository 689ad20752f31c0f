// SPDX-License-Identifier: GPL-2.0
#include <endian.h>
#include <linux/btrfs.h>
#include <linux/btrfs_tree.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "packed.h"

/* A part of an extent, as the digest takes it. */
struct part {
	uint64_t logical, extent, offset, length, compression;
};

static void add_last(const struct part *last, uint64_t *digest)
{
	if (last->length)
		*digest = XXH3_64bits_withSeed(last, sizeof(*last), *digest);
}

/* Take in the record @item of what is at @logical, @size bytes of it. */
static void add_item(struct part *last, uint64_t logical, const char *item, uint32_t size,
		     uint64_t *digest)
{
	struct btrfs_file_extent_item extent;
	struct part part;

	/* Those of inline data are shorter. */
	if (size < sizeof(extent))
		return;
	memcpy(&extent, item, sizeof(extent));
	if (extent.type != BTRFS_FILE_EXTENT_REG || !extent.compression)
		return;
	part = (struct part){
		logical, le64toh(extent.disk_bytenr), le64toh(extent.offset),
		le64toh(extent.num_bytes), extent.compression
	};
	/* Pieces in which a dedupe was done can cut it. */
	if (last->length && last->extent == part.extent && last->compression == part.compression &&
	    last->logical + last->length == part.logical &&
	    last->offset + last->length == part.offset) {
		last->length += part.length;
	} else {
		add_last(last, digest);
		*last = part;
	}
}

bool packed_digest(int fd, uint64_t *digest)
{
	enum { ROOM = 64 << 10 };
	static _Thread_local union {
		struct btrfs_ioctl_search_args_v2 args;
		char room[sizeof(struct btrfs_ioctl_search_args_v2) + ROOM];
	} search;
	struct btrfs_ioctl_search_key *key = &search.args.key;
	const char *at = search.room + offsetof(struct btrfs_ioctl_search_args_v2, buf);
	struct btrfs_ioctl_search_header header;
	struct part last = { 0 };
	uint64_t from = 0;
	struct stat st;
	size_t done;
	uint32_t i;

	if (fstat(fd, &st) < 0)
		return false;
	*digest = 0;
	do {
		/* Tree 0 is the file's own subvolume. */
		*key = (struct btrfs_ioctl_search_key){
			.min_objectid = st.st_ino, .max_objectid = st.st_ino,
			.min_type = BTRFS_EXTENT_DATA_KEY, .max_type = BTRFS_EXTENT_DATA_KEY,
			.min_offset = from, .max_offset = UINT64_MAX,
			.max_transid = UINT64_MAX, .nr_items = UINT32_MAX,
		};
		search.args.buf_size = ROOM;
		if (ioctl(fd, BTRFS_IOC_TREE_SEARCH_V2, &search.args) < 0)
			return false;
		for (i = 0, done = 0; i < key->nr_items; i++) {
			memcpy(&header, at + done, sizeof(header));
			done += sizeof(header);
			add_item(&last, header.offset, at + done, header.len, digest);
			done += header.len;
			from = header.offset + 1;
		}
	} while (key->nr_items);
	add_last(&last, digest);
	return true;
}
