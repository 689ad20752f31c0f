/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Which parts of compressed extents a file of btrfs has.
 */
#ifndef REFALIAS_PACKED_H
#define REFALIAS_PACKED_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Digest where the compressed data of the open file @fd is: the same for files that
 * have the same parts of the same extents, compressed in the same way.  FIEMAP only
 * tells where an extent begins, of several parts the same place, and takes those
 * together that seem to follow each other.  This takes CAP_SYS_ADMIN; false if it
 * can't be told.
 */
bool packed_digest(int fd, uint64_t *digest);

#endif
