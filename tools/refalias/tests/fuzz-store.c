// SPDX-License-Identifier: GPL-2.0
/*
 * Fuzzes the readers of what container engines keep (libFuzzer): whatever is in
 * the file, it is refused, or gives layers that are below the store, and nothing
 * follows a link.  The first byte says which file of a store it is.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../engine.h"
#include "../msg.h"
#include "../toml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct {
	const struct engine *engine;	/* NULL: configuration */
	const char *name;
	const char *other, *text;	/* one more file that it needs */
} files[] = {
	{ &podman, "overlay-images/images.json", "overlay-layers/layers.json",
	  "[{\"id\":\"a\",\"parent\":\"b\"},{\"id\":\"b\",\"parent\":\"a\"}]" },
	{ &podman, "overlay-layers/layers.json", "overlay-images/images.json",
	  "[{\"layer\":\"a\"},{\"layer\":\"b\",\"mapped-layers\":[\"c\"]}]" },
	{ &docker, "image/overlay2/layerdb/sha256/a/cache-id", NULL, NULL },
	{ &containerd, "io.containerd.snapshotter.v1.overlayfs/metadata.db", NULL, NULL },
	{ NULL, NULL, NULL, NULL },
};

static char store[] = "/dev/shm/refalias-fuzz.XXXXXX";

static void check(bool good)
{
	if (!good)
		abort();
}

static void remove_all(void)
{
	char *command = xasprintf("rm -r '%s'", store);

	check(system(command) == 0);
	free(command);
}

static void put(const char *name, const void *data, size_t size)
{
	char *path = xasprintf("%s/%s", store, name), *slash;
	int fd;

	for (slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(path, 0700);
		*slash = '/';
	}
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	check(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	close(fd);
	free(path);
}

/* Fix the checksums of a database, which no fuzzer would find. */
static void sign(unsigned char *data, size_t size)
{
	size_t place, i;

	for (place = 16; place + 64 <= size; place += place == 16 ? 4096 : size) {
		uint64_t sum = 0xcbf29ce484222325;

		for (i = 0; i < 56; i++)
			sum = (sum ^ data[place + i]) * 0x100000001b3;
		memcpy(data + place + 56, &sum, sizeof(sum));
	}
}

static void check_layer(const char *path)
{
	const size_t length = strlen(store);

	check(!strncmp(path, store, length) && path[length] == '/');
	check(!strstr(path, "//") && !strstr(path, "/./") && !strstr(path, "/../"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool ready;
	struct stores stores = { 0 };
	struct paths values = { 0 };
	unsigned char *copy;
	size_t i, which;

	if (!size)
		return 0;
	if (!ready) {
		check(mkdtemp(store));
		put("overlay/x", "", 0);
		atexit(remove_all);
		ready = true;
	}
	which = *data++ % (sizeof(files) / sizeof(files[0]));
	copy = xzalloc(size);
	memcpy(copy, data, --size);
	if (files[which].engine) {
		if (files[which].engine == &containerd)
			sign(copy, size);
		if (files[which].other)
			put(files[which].other, files[which].text, strlen(files[which].text));
		put(files[which].name, copy, size);
		check(files[which].engine->read(store, &stores));
		for (i = 0; i < stores.layers.n; i++)
			check_layer(stores.layers.path[i]);
	} else {
		toml_strings((char *)copy, "storage", "graphroot", &values);
	}
	paths_free(&stores.layers);
	paths_free(&stores.roots);
	paths_free(&values);
	free(copy);
	return 0;
}
