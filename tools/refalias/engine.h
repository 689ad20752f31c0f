/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the container engines that store.c knows have in common.
 */
#ifndef REFALIAS_ENGINE_H
#define REFALIAS_ENGINE_H

#include "store.h"

struct engine {
	const char *name;
	const char *missing;	/* what is wrong with a directory that is no store */
	const char *hint;	/* how to find the one that is */

	/* Add the directories in which the engine may have a store on this machine. */
	void (*usual)(struct paths *roots);

	/*
	 * Add the layers of the store in @root, an absolute path that leads
	 * over no symbolic links, to @stores.  False and errno if there is no
	 * such store; else true, maybe after a message.
	 */
	bool (*read)(const char *root, struct stores *stores);
};

extern const struct engine podman, docker, containerd;

/*
 * Like read() of containerd, for docker, which may keep images there: only what
 * is in @namespace, unless it is NULL.
 */
bool containerd_layers(const char *root, const char *namespace, struct stores *stores);

/* Add where the containerd of this machine has its store. */
void containerd_configured(struct paths *roots);

/* Add a path, made by xasprintf(); paths_add() only if it isn't there already. */
void paths_append(struct paths *paths, char *path);
void paths_add(struct paths *paths, char *path);

/* Free all paths. */
void paths_free(struct paths *paths);

/* Add @root with its symbolic links resolved, or as it is if it doesn't exist. */
void roots_add(struct paths *roots, const char *root);

/*
 * Add @name in the directory for application data of the user or, for root, of
 * all users.
 */
void roots_add_homes(struct paths *roots, const char *name);

/*
 * Add the absolute paths that the configuration file @name has for @key, a
 * string or an array of strings, in @table.  Returns how many there were.
 */
size_t roots_add_configured(struct paths *roots, const char *name, const char *table,
			    const char *key);

/*
 * Open @name in the store in @root, following no symbolic links.  Returns a
 * descriptor, or -1 and errno.
 */
int store_open(const char *root, const char *name, int flags);

/*
 * Read all of @name in the store in @root, at most @largest bytes.  Returns memory
 * that is to be freed, with a null byte behind the *@size bytes; NULL and errno.
 */
char *store_load(const char *root, const char *name, size_t largest, size_t *size);

/* A message about @name in the store in @root; @err may be 0. */
void store_error(const char *root, const char *name, const char *what, int err,
		 const char *advice);

/* Whether this is the plain name of a directory, and can't lead elsewhere. */
bool store_is_name(const char *name);

#endif
