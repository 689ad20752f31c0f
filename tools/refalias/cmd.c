// SPDX-License-Identifier: GPL-2.0
#include "cmd.h"
#include "manifest.h"

bool cmd_walk(char **paths, int n, const struct options *options, struct walked *walked)
{
	if (options->all)
		return manifest_walk(options->manifest, walked);
	walk(paths, n, &options->selection, options->threads, walked);
	walk_layers(&options->stores.layers, &options->stores.roots, &options->selection,
		    options->threads, walked);
	return true;
}
