// SPDX-License-Identifier: GPL-2.0
/*
 * The store of podman, CRI-O and buildah, with the overlay driver.
 *
 * overlay-images/images.json names the top layer of each image, and
 * overlay-layers/layers.json each layer's parent: from these two follows what
 * belongs to an image.  The layers of containers are in layers.json as well, and
 * those that are being made, so the images are read first: they are entered when
 * all their layers are complete.  Both files are replaced by renaming.
 */
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine.h"
#include "file.h"
#include "msg.h"

#define IMAGES "overlay-images/images.json"
#define LAYERS "overlay-layers/layers.json"

/*
 * What podman keeps about a layer or an image takes some hundred bytes.  Parsed it is
 * more: somebody who wants us to run out of memory would make a list of nothing but
 * what grows most.  So as much is allowed as some ten thousand layers need.
 */
#define LARGEST_LIST (8 << 20)
#define LARGEST_PARSED (64 << 20)
#define BYTES_AN_OBJECT 1024	/* or an array, even if it is empty */
#define BYTES_A_MEMBER 128	/* beside the first one of these */

struct layer {
	const char *id;
	const char *parent;	/* or NULL */
	bool image;		/* belongs to one */
};

struct layers {
	struct layer *layer;	/* sorted by id */
	size_t n;
};

static const char *string_of(struct json_object *object, const char *key)
{
	struct json_object *value;

	return json_object_object_get_ex(object, key, &value) &&
	       json_object_is_type(value, json_type_string) ?
	       json_object_get_string(value) : NULL;
}

/* About how many bytes @text will take when it is parsed. */
static size_t parsed_size(const char *text, size_t size)
{
	size_t objects = 0, members = 0, i;

	for (i = 0; i < size; i++) {
		objects += text[i] == '{' || text[i] == '[';
		members += text[i] == ',';
	}
	return objects * BYTES_AN_OBJECT + members * BYTES_A_MEMBER;
}

/*
 * The array in the file @name, to be put by the caller.  NULL if there is none,
 * which is so as long as there was nothing to write, or after a message.
 */
static struct json_object *load_array(const char *root, const char *name)
{
	struct json_tokener *tokener;
	struct json_object *array;
	enum json_tokener_error err;
	size_t size;
	char *text = store_load(root, name, LARGEST_LIST, &size);

	if (!text) {
		if (errno != ENOENT)
			store_error(root, name, "can't read it", errno, describe_open_error(errno));
		return NULL;
	}
	if (parsed_size(text, size) > LARGEST_PARSED) {
		store_error(root, name, "is not the list that podman keeps", 0, NULL);
		free(text);
		return NULL;
	}
	tokener = json_tokener_new();
	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT);
	array = json_tokener_parse_ex(tokener, text, (int)size + 1);
	err = json_tokener_get_error(tokener);
	json_tokener_free(tokener);
	free(text);
	if (err == json_tokener_success && (!array || json_object_is_type(array, json_type_array)))
		return array;
	store_error(root, name, "is not the list that podman keeps", 0, NULL);
	json_object_put(array);
	return NULL;
}

static int by_id(const void *a, const void *b)
{
	const struct layer *x = a, *y = b;

	return strcmp(x->id, y->id);
}

static struct layers layers_of(struct json_object *array)
{
	size_t n = array ? json_object_array_length(array) : 0, i;
	struct layers layers = { .layer = xrealloc(NULL, n + 1, sizeof(*layers.layer)) };

	for (i = 0; i < n; i++) {
		struct json_object *object = json_object_array_get_idx(array, i);
		const char *id = string_of(object, "id");

		if (id && store_is_name(id))
			layers.layer[layers.n++] = (struct layer){ id, string_of(object, "parent"), false };
	}
	qsort(layers.layer, layers.n, sizeof(*layers.layer), by_id);
	return layers;
}

/* Mark the layer @id and all below it. */
static void mark(const struct layers *layers, const char *id)
{
	while (id) {
		struct layer key = { .id = id }, *layer;

		layer = bsearch(&key, layers->layer, layers->n, sizeof(key), by_id);
		if (!layer || layer->image)
			return;
		layer->image = true;
		id = layer->parent;
	}
}

static void add_top(struct paths *tops, const char *id)
{
	if (id)
		paths_append(tops, xasprintf("%s", id));
}

/* The top layers of all images, for which there need be no layers. */
static struct paths tops_of(struct json_object *images)
{
	size_t n = images ? json_object_array_length(images) : 0, i, k;
	struct json_object *mapped, *id;
	struct paths tops = { 0 };

	for (i = 0; i < n; i++) {
		struct json_object *image = json_object_array_get_idx(images, i);

		add_top(&tops, string_of(image, "layer"));
		/* Copies of the top layer for user namespaces. */
		if (!json_object_object_get_ex(image, "mapped-layers", &mapped) ||
		    !json_object_is_type(mapped, json_type_array))
			continue;
		for (k = 0; k < json_object_array_length(mapped); k++) {
			id = json_object_array_get_idx(mapped, k);
			if (json_object_is_type(id, json_type_string))
				add_top(&tops, json_object_get_string(id));
		}
	}
	return tops;
}

static bool podman_read(const char *root, struct stores *stores)
{
	int fd = store_open(root, "overlay", O_DIRECTORY);
	struct json_object *images, *array;
	struct layers layers;
	struct paths tops;
	size_t i;

	if (fd < 0)
		return false;
	close(fd);
	paths_add(&stores->roots, xasprintf("%s/overlay", root));
	images = load_array(root, IMAGES);
	tops = tops_of(images);
	/* One list at a time, since both can be large. */
	json_object_put(images);
	array = images ? load_array(root, LAYERS) : NULL;
	layers = layers_of(array);
	for (i = 0; i < tops.n; i++)
		mark(&layers, tops.path[i]);
	for (i = 0; i < layers.n; i++)
		if (layers.layer[i].image)
			paths_append(&stores->layers, xasprintf("%s/overlay/%s/diff", root,
								layers.layer[i].id));
	free(layers.layer);
	paths_free(&tops);
	json_object_put(array);
	return true;
}

/* The configuration file, to be freed. */
static char *configuration(void)
{
	const char *name = getenv("CONTAINERS_STORAGE_CONF"), *config = getenv("XDG_CONFIG_HOME");
	const char *home = getenv("HOME");

	if (name)
		return xasprintf("%s", name);
	if (geteuid() == 0)
		return xasprintf("%s", access("/etc/containers/storage.conf", F_OK) == 0 ?
				       "/etc/containers/storage.conf" :
				       "/usr/share/containers/storage.conf");
	return xasprintf("%s%s/containers/storage.conf", config ? config : home ? home : "",
			 config ? "" : "/.config");
}

static void podman_usual(struct paths *roots)
{
	char *name = configuration();

	if (!roots_add_configured(roots, name, "storage", "graphroot") && geteuid() == 0)
		roots_add(roots, "/var/lib/containers/storage");
	roots_add_configured(roots, name, "storage", "imagestore");
	roots_add_configured(roots, name, "storage.options", "additionalimagestores");
	/* What other users configure could be anybody's directory. */
	roots_add_homes(roots, "containers/storage");
	free(name);
}

const struct engine podman = {
	.name = "podman",
	.missing = "is no store of podman with the overlay driver",
	.hint = "podman info tells the directory as graphRoot",
	.usual = podman_usual,
	.read = podman_read,
};
