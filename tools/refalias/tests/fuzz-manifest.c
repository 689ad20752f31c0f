// SPDX-License-Identifier: GPL-2.0
/*
 * Fuzzes the reader of manifests (libFuzzer): whatever is in the file, it is
 * refused, or gives plain absolute paths in order, and the walk of these ends
 * without following anything.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool good)
{
	if (!good)
		abort();
}

static void check_path(const char *path)
{
	const size_t length = strlen(path);

	check(path[0] == '/' && length > 1 && path[length - 1] != '/');
	check(!strstr(path, "//") && !strstr(path, "/./") && !strstr(path, "/../"));
	check(strcmp(path + length - 2, "/.") != 0);
	check(length < 3 || strcmp(path + length - 3, "/..") != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct manifest manifest;
	struct walked walked = { 0 };
	char name[32];
	size_t i;
	int fd;

	fd = memfd_create("manifest", MFD_CLOEXEC);
	check(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	if (manifest_open(&manifest, name, false) == 0) {
		for (i = 0; i < manifest.n; i++)
			check_path(manifest.known[i].path);
		for (i = 1; i < manifest.n; i++)
			check(strcmp(manifest.known[i - 1].path, manifest.known[i].path) <= 0);
		manifest_close(&manifest);
		manifest_walk(name, &walked);
		files_free(&walked.files);
	}
	close(fd);
	return 0;
}
