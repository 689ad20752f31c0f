/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Reader of bbolt's databases, as far as containerd's snapshots need it.
 *
 * A database is a tree of buckets, which have keys with values, or with more
 * buckets.  Whatever is in the file, nothing outside of it is read, and it ends.
 */
#ifndef REFALIAS_BOLT_H
#define REFALIAS_BOLT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bolt_bytes {
	const unsigned char *data;
	size_t size;
};

struct bolt {
	struct bolt_bytes file;
	struct bolt_bytes root;	/* bucket */
	size_t page_size;	/* bytes */
	uint64_t transaction;	/* number of the last one */
	size_t budget;		/* of keys to come, since pages could go round */
};

/* Set up @db for the copy @file of a database; false if it is none. */
bool bolt_open(struct bolt *db, struct bolt_bytes file);

/*
 * Call @take for each key in @bucket with its value, which is a bucket as well
 * if @is_bucket.  Ends with false as soon as that returns false, or if the
 * database is damaged.
 */
typedef bool bolt_take(struct bolt *db, struct bolt_bytes key, struct bolt_bytes value,
		       bool is_bucket, void *context);
bool bolt_each(struct bolt *db, struct bolt_bytes bucket, bolt_take *take, void *context);

/* Whether @key is @name. */
bool bolt_is(struct bolt_bytes key, const char *name);

/*
 * Set *@value to the bucket @name in @bucket, if there is one.  False if the
 * database is damaged.
 */
bool bolt_bucket(struct bolt *db, struct bolt_bytes bucket, const char *name,
		 struct bolt_bytes *value);

#endif
