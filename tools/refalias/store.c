// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine.h"
#include "file.h"
#include "msg.h"
#include "toml.h"

/* As many of the places that were looked at are named in a message. */
#define MOST_NAMED 6

static const struct engine *const engines[] = { &podman, &docker, &containerd };

#define ENGINE_COUNT (sizeof(engines) / sizeof(engines[0]))

static bool paths_have(const struct paths *paths, const char *path)
{
	size_t i;

	for (i = 0; i < paths->n; i++)
		if (!strcmp(paths->path[i], path))
			return true;
	return false;
}

void paths_append(struct paths *paths, char *path)
{
	paths->path = xgrow(paths->path, paths->n, &paths->space, sizeof(*paths->path));
	paths->path[paths->n++] = path;
}

void paths_add(struct paths *paths, char *path)
{
	if (paths_have(paths, path))
		free(path);
	else
		paths_append(paths, path);
}

void paths_free(struct paths *paths)
{
	while (paths->n)
		free(paths->path[--paths->n]);
	free(paths->path);
	*paths = (struct paths){ 0 };
}

void roots_add(struct paths *roots, const char *root)
{
	char *real = realpath(root, NULL);

	paths_add(roots, real ? real : xasprintf("%s", root));
}

/* Add @name below @home; only links in the latter are followed, which the user can't make. */
static void add_home(struct paths *roots, const char *home, const char *name)
{
	char *real = realpath(home, NULL);

	/* Those of many users of the system don't exist, or are /. */
	if (real && strcmp(real, "/") != 0)
		paths_add(roots, xasprintf("%s/.local/share/%s", real, name));
	free(real);
}

void roots_add_homes(struct paths *roots, const char *name)
{
	const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
	struct passwd *user;
	char *path;

	if (geteuid() == 0) {
		setpwent();
		while ((user = getpwent()))
			add_home(roots, user->pw_dir, name);
		endpwent();
	} else if (data && *data == '/') {
		path = xasprintf("%s/%s", data, name);
		roots_add(roots, path);
		free(path);
	} else if (home) {
		path = xasprintf("%s/.local/share/%s", home, name);
		roots_add(roots, path);
		free(path);
	}
}

size_t roots_add_configured(struct paths *roots, const char *name, const char *table,
			    const char *key)
{
	FILE *file = fopen(name, "re");
	struct paths values = { 0 };
	char *text = NULL;
	size_t room = 0, i, n = 0;

	if (!file)
		return 0;
	if (getdelim(&text, &room, '\0', file) > 0)
		toml_strings(text, table, key, &values);
	for (i = 0; i < values.n; i++) {
		if (*values.path[i] != '/')
			continue;
		roots_add(roots, values.path[i]);
		n++;
	}
	paths_free(&values);
	free(text);
	fclose(file);
	return n;
}

int store_open(const char *root, const char *name, int flags)
{
	char *path = xasprintf("%s/%s", root, name);
	int fd = open_known(path, flags);

	free(path);
	return fd;
}

char *store_load(const char *root, const char *name, size_t largest, size_t *size)
{
	int fd = store_open(root, name, 0), err = 0;
	char *text = NULL;
	struct stat st;
	ssize_t got = 1;

	*size = 0;
	if (fd < 0)
		return NULL;
	if (fstat(fd, &st) < 0)
		err = errno;
	else if (!S_ISREG(st.st_mode))
		err = EINVAL;
	else if ((uintmax_t)st.st_size > largest)
		err = EFBIG;
	if (!err)
		text = xzalloc((size_t)st.st_size + 1);
	while (!err && got && *size < (size_t)st.st_size) {
		got = read(fd, text + *size, (size_t)st.st_size - *size);
		if (got > 0)
			*size += (size_t)got;
		else if (got < 0 && errno != EINTR)
			err = errno;
	}
	close(fd);
	if (!err)
		return text;
	free(text);
	errno = err;
	return NULL;
}

void store_error(const char *root, const char *name, const char *what, int err,
		 const char *advice)
{
	char *path = xasprintf("%s%s%s", root, *name ? "/" : "", name);

	/* From store_load(): it is nothing that an engine writes. */
	if (err == EFBIG || err == EINVAL)
		advice = NULL;
	msg_failed(path, what, err,
		   advice ? advice : "check it, or give the directories of layers as PATHs");
	free(path);
}

bool store_is_name(const char *name)
{
	return *name && *name != '.' && !strchr(name, '/') && strlen(name) <= NAME_MAX;
}

bool stores_wish(struct stores *stores, const char *text)
{
	struct wish wish = { .dir = strchr(text, '=') };
	size_t length = wish.dir ? (size_t)(wish.dir++ - text) : strlen(text), i;

	for (i = 0; i < ENGINE_COUNT; i++)
		if (length == strlen(engines[i]->name) && !memcmp(text, engines[i]->name, length))
			wish.engine = engines[i];
	if (wish.dir ? !wish.engine || !*wish.dir : !wish.engine && strcmp(text, "auto") != 0)
		return false;
	stores->wish = xrealloc(stores->wish, stores->n + 1, sizeof(*stores->wish));
	stores->wish[stores->n++] = wish;
	return true;
}

/* Read the store in @root; false and errno if there is none. */
static bool read_store(const struct engine *engine, const char *root, struct stores *stores)
{
	size_t before = stores->layers.n;
	char *text;

	if (!engine->read(root, stores))
		return false;
	text = printable(root);
	msg_verbose("%s: store of %s, %zu image layers", text, engine->name,
		    stores->layers.n - before);
	free(text);
	return true;
}

static void find_named(const struct engine *engine, const char *dir, struct stores *stores)
{
	char *root = realpath(dir, NULL);

	if (!root)
		store_error(dir, "", "can't look at it", errno, describe_open_error(errno));
	else if (!read_store(engine, root, stores))
		store_error(root, "", engine->missing, errno, engine->hint);
	free(root);
}

/* Whether there is a store at all in one of the usual places; these are added to @looked. */
static bool find_usual(const struct engine *engine, struct stores *stores, struct paths *looked)
{
	struct paths roots = { 0 };
	bool found = false;
	size_t i;

	engine->usual(&roots);
	for (i = 0; i < roots.n; i++) {
		if (read_store(engine, roots.path[i], stores)) {
			found = true;
		} else if (errno != ENOENT && errno != ENOTDIR && errno != EACCES && errno != ELOOP) {
			store_error(roots.path[i], "", "can't look at it", errno,
				    describe_open_error(errno));
		}
		paths_add(looked, xasprintf("%s", roots.path[i]));
	}
	paths_free(&roots);
	return found;
}

static void nothing_found(const struct wish *wish, const struct paths *looked)
{
	char *names = xasprintf("%s", ""), *more, *text;
	size_t i;

	for (i = 0; i < looked->n && i < MOST_NAMED; i++) {
		text = printable(looked->path[i]);
		more = xasprintf("%s%s%s", names, i ? ", " : "", text);
		free(text);
		free(names);
		names = more;
	}
	if (i < looked->n) {
		more = xasprintf("%s and %zu other places", names, looked->n - i);
		free(names);
		names = more;
	}
	msg_error("no store of %s found: looked at %s; name its directory with --store=%s=DIR",
		  wish->engine ? wish->engine->name : "any container engine", names,
		  wish->engine ? wish->engine->name : "ENGINE");
	free(names);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Sort them, and leave each there once: engines may share a store. */
static void sort(struct paths *paths)
{
	size_t i, n = 0;

	if (!paths->n)
		return;
	qsort(paths->path, paths->n, sizeof(*paths->path), by_name);
	for (i = 1; i < paths->n; i++) {
		if (!strcmp(paths->path[i], paths->path[n]))
			free(paths->path[i]);
		else
			paths->path[++n] = paths->path[i];
	}
	paths->n = n + 1;
}

void stores_find(struct stores *stores)
{
	struct paths looked = { 0 };
	size_t i, k;

	for (i = 0; i < stores->n; i++) {
		const struct wish *wish = &stores->wish[i];
		bool found = false;

		if (wish->dir) {
			find_named(wish->engine, wish->dir, stores);
			continue;
		}
		for (k = 0; k < ENGINE_COUNT; k++)
			if (!wish->engine || wish->engine == engines[k])
				found |= find_usual(engines[k], stores, &looked);
		if (!found)
			nothing_found(wish, &looked);
		paths_free(&looked);
	}
	sort(&stores->layers);
}
