// SPDX-License-Identifier: GPL-2.0
/*
 * The store of docker, with the overlay2 driver or, as it is the default since
 * version 29, in a store of containerd.  That is docker's own one, or that of
 * the machine, in which docker's namespace is "moby".
 *
 * With overlay2, image/overlay2/layerdb/sha256 has a directory for each layer of an image, in
 * it cache-id, the name of the directory in overlay2 that has its files.  It is
 * moved there when the layer is complete.  What containers write to is listed in
 * layerdb/mounts instead.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine.h"
#include "file.h"
#include "msg.h"

#define CONFIGURATION "/etc/docker/daemon.json"
#define LAYERS "image/overlay2/layerdb/sha256"

/* A cache-id is a name of 64 digits. */
#define LARGEST_ID 1024

/* The layer whose record is the directory @record, which may be gone by now. */
static void add_layer(const char *root, const char *record, struct stores *stores)
{
	char *name = xasprintf(LAYERS "/%s/cache-id", record), *id;
	size_t size;

	id = store_load(root, name, LARGEST_ID, &size);
	if (id)
		id[strcspn(id, "\n")] = '\0';
	if (id && store_is_name(id))
		paths_append(&stores->layers, xasprintf("%s/overlay2/%s/diff", root, id));
	else if (id)
		store_error(root, name, "does not name a layer as docker does", 0, NULL);
	else if (errno != ENOENT && errno != ENOTDIR)
		store_error(root, name, "can't read it", errno, describe_open_error(errno));
	free(id);
	free(name);
}

static bool read_overlay2(const char *root, struct stores *stores)
{
	int fd = store_open(root, LAYERS, O_DIRECTORY);
	struct dirent *entry;
	DIR *records;

	if (fd < 0)
		return false;
	paths_add(&stores->roots, xasprintf("%s/overlay2", root));
	records = fdopendir(fd);
	while (records && (entry = readdir(records)))
		if (store_is_name(entry->d_name))
			add_layer(root, entry->d_name, stores);
	if (records)
		closedir(records);
	return true;
}

static bool docker_read(const char *root, struct stores *stores)
{
	char *own = xasprintf("%s/containerd/daemon", root);
	bool found = containerd_layers(root, "moby", stores);

	found |= containerd_layers(own, NULL, stores);
	/* The last one, for errno if there is none. */
	found |= read_overlay2(root, stores);
	free(own);
	return found;
}

/* With user namespaces, docker keeps its data in directories like 100000.100000. */
static void add_root(struct paths *roots, const char *root)
{
	char *pattern = xasprintf("%s/[0-9]*.[0-9]*", root);
	glob_t found;
	size_t i;

	roots_add(roots, root);
	if (glob(pattern, GLOB_NOSORT, NULL, &found) == 0) {
		for (i = 0; i < found.gl_pathc; i++)
			roots_add(roots, found.gl_pathv[i]);
		globfree(&found);
	}
	free(pattern);
}

static void docker_usual(struct paths *roots)
{
	struct json_object *configuration, *value;
	const char *root;

	if (geteuid() == 0) {
		configuration = json_object_from_file(CONFIGURATION);
		root = json_object_object_get_ex(configuration, "data-root", &value) ?
		       json_object_get_string(value) : NULL;
		add_root(roots, root && *root == '/' ? root : "/var/lib/docker");
		json_object_put(configuration);
		add_root(roots, "/var/snap/docker/common/var-lib-docker");
		containerd_configured(roots);
	}
	roots_add_homes(roots, "docker");
}

const struct engine docker = {
	.name = "docker",
	.missing = "is no store of docker with overlay file systems",
	.hint = "docker info tells the directory as Docker Root Dir",
	.usual = docker_usual,
	.read = docker_read,
};
