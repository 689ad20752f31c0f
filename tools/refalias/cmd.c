// SPDX-License-Identifier: GPL-2.0
#include "cmd.h"
#include "manifest.h"

void cmd_walk(char **paths, int n, const struct options *options, struct walked *walked)
{
	const struct paths *layers = &options->stores.layers;

	if (options->all) {
		manifest_walk(options->manifest, walked);
		return;
	}
	walk(paths, n, &options->selection, options->threads, walked);
	walk_known(layers->path, layers->n, &options->selection, options->threads, walked);
}
