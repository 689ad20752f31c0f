// SPDX-License-Identifier: GPL-2.0
#include <string.h>

#include "bolt.h"

/*
 * Places of the fields, in bytes.  Numbers are written as the processor has
 * them.  A page: number (8), flags (2), count (2), further pages (4), elements.
 */
enum {
	PAGE_FLAGS = 8, PAGE_COUNT = 10, PAGE_MORE = 12, PAGE_HEADER = 16,
	/* elements of a leaf: flags (4), place of key and value (4), their sizes (4, 4) */
	LEAF_FLAGS = 0, LEAF_PLACE = 4, LEAF_KEY = 8, LEAF_VALUE = 12,
	/* elements of a branch: place of its key (4), its size (4), page (8) */
	BRANCH_PAGE = 8,
	ELEMENT = 16,
	/* a bucket: page or 0 (8), sequence (8), and the page itself if it is 0 */
	BUCKET_HEADER = 16,
	/* behind the headers of the first two pages */
	META_MAGIC = 0, META_FORMAT = 4, META_PAGE_SIZE = 8, META_ROOT = 16,
	META_TRANSACTION = 48, META_CHECKSUM = 56, META_SIZE = 64,
};

enum { IS_BRANCH = 1, IS_LEAF = 2, IS_BUCKET = 1 };
enum { FORMAT = 2, SMALLEST_PAGE = 1024, LARGEST_PAGE = 16 << 20, DEEPEST = 32 };

#define MAGIC 0xed0cdaedU

static uint16_t get16(const unsigned char *at)
{
	uint16_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

static uint32_t get32(const unsigned char *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

static uint64_t get64(const unsigned char *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

/* FNV-1a */
static uint64_t checksum(const unsigned char *at, size_t size)
{
	uint64_t sum = 0xcbf29ce484222325;

	while (size--)
		sum = (sum ^ *at++) * 0x100000001b3;
	return sum;
}

/* Take over the meta page at @place, if it is valid and newer than what is known. */
static void take_meta(struct bolt *db, size_t place)
{
	const unsigned char *meta;
	uint32_t page_size;
	uint64_t transaction;

	if (place + PAGE_HEADER + META_SIZE > db->file.size)
		return;
	meta = db->file.data + place + PAGE_HEADER;
	if (get32(meta + META_MAGIC) != MAGIC || get32(meta + META_FORMAT) != FORMAT ||
	    get64(meta + META_CHECKSUM) != checksum(meta, META_CHECKSUM))
		return;
	page_size = get32(meta + META_PAGE_SIZE);
	transaction = get64(meta + META_TRANSACTION);
	if (page_size < SMALLEST_PAGE || page_size > LARGEST_PAGE || page_size & (page_size - 1) ||
	    (db->page_size && transaction <= db->transaction))
		return;
	db->page_size = page_size;
	db->transaction = transaction;
	db->root = (struct bolt_bytes){ meta + META_ROOT, BUCKET_HEADER };
}

bool bolt_open(struct bolt *db, struct bolt_bytes file)
{
	size_t place;

	/* Twice as many as there can be, and each is looked at once. */
	*db = (struct bolt){ .file = file, .budget = file.size / ELEMENT * 2 };
	take_meta(db, 0);
	/* The second page: where, only the first one tells, which may be invalid. */
	for (place = SMALLEST_PAGE; place <= LARGEST_PAGE; place *= 2)
		if (!db->page_size || place == db->page_size)
			take_meta(db, place);
	return db->page_size;
}

/* The page with this number, and those that belong to it; no bytes if there is none. */
static struct bolt_bytes page_at(const struct bolt *db, uint64_t number)
{
	struct bolt_bytes page = { 0 };
	size_t pages = db->file.size / db->page_size, more;

	if (number >= pages)
		return page;
	page.data = db->file.data + number * db->page_size;
	more = get32(page.data + PAGE_MORE);
	if (more < pages - number)
		page.size = (more + 1) * db->page_size;
	return page;
}

static bool each_in_page(struct bolt *db, struct bolt_bytes page, bolt_take *take, void *context,
			 unsigned int depth)
{
	struct bolt_bytes key, value;
	size_t count, i, left;
	const unsigned char *element;
	uint16_t flags;

	if (page.size < PAGE_HEADER || depth > DEEPEST)
		return false;
	flags = get16(page.data + PAGE_FLAGS);
	count = get16(page.data + PAGE_COUNT);
	if ((flags != IS_BRANCH && flags != IS_LEAF) ||
	    count > (page.size - PAGE_HEADER) / ELEMENT || count > db->budget)
		return false;
	db->budget -= count;
	for (i = 0; i < count; i++) {
		element = page.data + PAGE_HEADER + i * ELEMENT;
		left = page.size - PAGE_HEADER - i * ELEMENT;
		if (flags == IS_BRANCH) {
			if (!each_in_page(db, page_at(db, get64(element + BRANCH_PAGE)), take,
					  context, depth + 1))
				return false;
			continue;
		}
		key.size = get32(element + LEAF_KEY);
		value.size = get32(element + LEAF_VALUE);
		if (get32(element + LEAF_PLACE) > left)
			return false;
		left -= get32(element + LEAF_PLACE);
		if (key.size > left || value.size > left - key.size)
			return false;
		key.data = element + get32(element + LEAF_PLACE);
		value.data = key.data + key.size;
		if (!take(db, key, value, get32(element + LEAF_FLAGS) & IS_BUCKET, context))
			return false;
	}
	return true;
}

bool bolt_each(struct bolt *db, struct bolt_bytes bucket, bolt_take *take, void *context)
{
	struct bolt_bytes page;
	uint64_t number;

	if (bucket.size < BUCKET_HEADER)
		return false;
	number = get64(bucket.data);
	if (number)
		page = page_at(db, number);
	else
		page = (struct bolt_bytes){ bucket.data + BUCKET_HEADER, bucket.size - BUCKET_HEADER };
	return each_in_page(db, page, take, context, 0);
}

bool bolt_is(struct bolt_bytes key, const char *name)
{
	return key.size == strlen(name) && !memcmp(key.data, name, key.size);
}

struct wanted {
	const char *name;
	struct bolt_bytes *value;
};

static bool take_wanted(struct bolt *db, struct bolt_bytes key, struct bolt_bytes value,
			bool is_bucket, void *context)
{
	const struct wanted *wanted = context;

	(void)db;
	if (is_bucket && bolt_is(key, wanted->name))
		*wanted->value = value;
	return true;
}

bool bolt_bucket(struct bolt *db, struct bolt_bytes bucket, const char *name,
		 struct bolt_bytes *value)
{
	struct wanted wanted = { name, value };

	return bolt_each(db, bucket, take_wanted, &wanted);
}
