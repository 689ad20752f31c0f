// SPDX-License-Identifier: GPL-2.0
/*
 * The store of containerd with the overlayfs snapshotter.
 *
 * snapshots/ID/fs has the files of a layer or what a container writes.  Which
 * one, only the snapshotter's database tells: a committed snapshot never changes
 * again.  Directories and mounts don't: what containers write to and unpacked
 * layers have the same directories, and most layers are mounted nowhere.
 *
 * containerd holds the lock of that bbolt database as long as it runs, so it is
 * read without.  bbolt writes only to pages that are free in the last complete
 * transaction, and that number last of all: what was read while it stayed the
 * same is the state that belongs to it.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bolt.h"
#include "engine.h"
#include "file.h"
#include "msg.h"

#define SNAPSHOTTER "io.containerd.snapshotter.v1.overlayfs"
#define DATABASE SNAPSHOTTER "/metadata.db"

/*
 * It has some hundred bytes for each snapshot, and grows in steps of 16 MiB.  One that
 * somebody made could have the same bytes again and again, or none at all: holes.
 */
#define LARGEST_DATABASE (32 << 20)
#define MOST_SNAPSHOTS (1 << 16)

/* As often as this it may change while it is read. */
#define MOST_TRIES 100

enum { KIND_COMMITTED = 3 };

struct found {
	const char *root;
	const char *namespace;	/* only snapshots of this one, or NULL */
	size_t n;		/* snapshots, of layers or not */
	struct stores *stores;
};

struct snapshot {
	uint64_t id;
	unsigned int kind;
};

/* A number in groups of 7 bits, the lowest first; 0 if it is none. */
static uint64_t varint(struct bolt_bytes bytes)
{
	uint64_t value = 0;
	size_t i;

	for (i = 0; i < bytes.size && i < 10; i++) {
		value |= (uint64_t)(bytes.data[i] & 0x7f) << (7 * i);
		if (!(bytes.data[i] & 0x80))
			return value;
	}
	return 0;
}

static bool take_field(struct bolt *db, struct bolt_bytes key, struct bolt_bytes value,
		       bool is_bucket, void *context)
{
	struct snapshot *snapshot = context;

	(void)db;
	if (!is_bucket && bolt_is(key, "id"))
		snapshot->id = varint(value);
	else if (!is_bucket && bolt_is(key, "kind") && value.size == 1)
		snapshot->kind = *value.data;
	return true;
}

static bool take_snapshot(struct bolt *db, struct bolt_bytes key, struct bolt_bytes value,
			  bool is_bucket, void *context)
{
	struct found *found = context;
	size_t length = found->namespace ? strlen(found->namespace) : 0;
	struct snapshot snapshot = { 0 };

	/* A key is NAMESPACE/NUMBER/NAME. */
	if (!is_bucket || (length && (key.size <= length || key.data[length] != '/' ||
				      memcmp(key.data, found->namespace, length) != 0)))
		return true;
	if (++found->n > MOST_SNAPSHOTS)
		return false;
	if (!bolt_each(db, value, take_field, &snapshot))
		return false;
	if (snapshot.kind == KIND_COMMITTED && snapshot.id)
		paths_append(&found->stores->layers,
			     xasprintf("%s/" SNAPSHOTTER "/snapshots/%" PRIu64 "/fs",
				       found->root, snapshot.id));
	return true;
}

/* Whether all is well. */
static bool read_snapshots(struct bolt *db, struct found *found)
{
	struct bolt_bytes version = { 0 }, snapshots = { 0 };

	/* A new database has no buckets. */
	if (!bolt_bucket(db, db->root, "v1", &version))
		return false;
	if (!version.size)
		return true;
	if (!bolt_bucket(db, version, "snapshots", &snapshots))
		return false;
	return !snapshots.size || bolt_each(db, snapshots, take_snapshot, found);
}

/*
 * A copy of the database in one state, to be freed.  NULL after a message.
 */
static char *load(const char *root, struct bolt *db)
{
	char *copy = NULL, *again;
	struct bolt newer;
	size_t size;
	int i;

	for (i = 0; i < MOST_TRIES; i++) {
		again = store_load(root, DATABASE, LARGEST_DATABASE, &size);
		if (!again) {
			store_error(root, DATABASE, "can't read it", errno, describe_open_error(errno));
			free(copy);
			return NULL;
		}
		if (!bolt_open(&newer, (struct bolt_bytes){ (unsigned char *)again, size })) {
			store_error(root, DATABASE, "is no database of containerd", 0, NULL);
			free(again);
			free(copy);
			return NULL;
		}
		if (copy && newer.transaction == db->transaction) {
			free(again);
			return copy;
		}
		free(copy);
		copy = again;
		*db = newer;
	}
	store_error(root, DATABASE, "changes all the time", 0, "try again");
	free(copy);
	return NULL;
}

bool containerd_layers(const char *root, const char *namespace, struct stores *stores)
{
	struct found found = { .root = root, .namespace = namespace, .stores = stores };
	int fd = store_open(root, DATABASE, 0);
	struct bolt db;
	char *copy;
	bool good;

	if (fd < 0)
		return false;
	close(fd);
	copy = load(root, &db);
	good = copy && read_snapshots(&db, &found);
	if (copy && !good)
		store_error(root, DATABASE, "is damaged, has too many snapshots, or is newer than refalias knows", 0, NULL);
	free(copy);
	/* What is another engine's is no store of this one. */
	if (good && namespace && !found.n) {
		errno = ENOENT;
		return false;
	}
	paths_add(&stores->roots, xasprintf("%s/" SNAPSHOTTER "/snapshots", root));
	return true;
}

static bool containerd_read(const char *root, struct stores *stores)
{
	return containerd_layers(root, NULL, stores);
}

void containerd_configured(struct paths *roots)
{
	if (!roots_add_configured(roots, "/etc/containerd/config.toml", "", "root"))
		roots_add(roots, "/var/lib/containerd");
}

static void containerd_usual(struct paths *roots)
{
	static const char *const others[] = {
		"/var/lib/rancher/k3s/agent/containerd",
		"/var/lib/rancher/rke2/agent/containerd",
		"/var/lib/k0s/containerd",
		"/var/snap/microk8s/common/var/lib/containerd",
	};
	size_t i;

	if (geteuid() == 0) {
		containerd_configured(roots);
		for (i = 0; i < sizeof(others) / sizeof(others[0]); i++)
			roots_add(roots, others[i]);
	}
	roots_add_homes(roots, "containerd");
}

const struct engine containerd = {
	.name = "containerd",
	.missing = "is no store of containerd with the overlayfs snapshotter",
	.hint = "containerd config dump tells the directory as root",
	.usual = containerd_usual,
	.read = containerd_read,
};
