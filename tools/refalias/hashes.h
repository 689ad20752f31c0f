/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What earlier runs read: the hashes of files, so that a file of the same size as
 * others, but with content of its own, is read once and not in every run.
 *
 * A file is known by its inode number, size, and times of modification and change:
 * whatever writes to it changes the last one.  What is wrong here can at worst hide
 * identical files from each other, or have the kernel compare different ones.
 *
 * The hashes depend on a seed that nobody else can know: who knows how they are made
 * could make different files with the same one, which each run would compare in vain.
 */
#ifndef REFALIAS_HASHES_H
#define REFALIAS_HASHES_H

#include <stdbool.h>
#include <stdint.h>

/*
 * From now on use the hashes that are noted beside the manifest @name, in the file
 * @name.hashes; with @add, take more.  If it is not there, is damaged, or is somebody
 * else's, there are none.
 */
void hashes_open(const char *name, bool add);

/*
 * What hashes are to be made with: that of the noted ones, else a random number.
 * Several threads may call this.
 */
uint64_t hashes_seed(void);

/*
 * What the file with this @st is known by; 0 without hashes_open(), or if it was
 * changed too recently for its times to tell.
 */
uint64_t hashes_key(const struct stat *st);

/*
 * The hash of the file with that @key, into *@hash; false if it is not known: then the
 * file is to be read and its hash to be added.  With key 0 nothing is known or noted.
 * Several threads may call these.
 */
bool hashes_find(uint64_t key, uint64_t *hash);
void hashes_add(uint64_t key, uint64_t hash);

/* Note no hash of the file with that @key: it is wrong, or of no use. */
void hashes_forget(uint64_t key);

/*
 * Write them to @name.hashes if there are other ones than before, without those
 * that nobody asked for in two months.  Can fail: then files are only read again.
 */
void hashes_write(const char *name);

#endif
