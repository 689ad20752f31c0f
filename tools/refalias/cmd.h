/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The commands and their options.
 */
#ifndef REFALIAS_CMD_H
#define REFALIAS_CMD_H

#include <stdbool.h>

#include "store.h"
#include "walk.h"

struct options {
	struct selection selection;
	struct stores stores;	/* with layers to walk beside the paths */
	unsigned int threads;	/* to read with */
	const char *manifest;	/* NULL: the default one */
	bool immutable;
	bool all;		/* what the manifest has, instead of paths */
	bool dry_run;
	bool json;
	bool no_reflink;
	bool no_alias;
};

struct command {
	const char *name;
	const char *arguments;	/* as shown in the usage */
	const char *summary;	/* one line, for the list of commands */
	const char *text;	/* for the command's own help */
	const char *options;	/* codes of those it takes, see refalias.c */
	int least_arguments;
	bool no_arguments;	/* takes none at all */
	/* Gets what is left after the options; returns the exit status. */
	int (*run)(char **arguments, int n, const struct options *options);
};

/*
 * Walk what a command is about: the @n @paths and the layers of the stores, or
 * what the manifest lists.  False if that can't be read.
 */
bool cmd_walk(char **paths, int n, const struct options *options, struct walked *walked);

int cmd_run(char **paths, int n, const struct options *options);
int cmd_scan(char **paths, int n, const struct options *options);
int cmd_restore(char **paths, int n, const struct options *options);
int cmd_pair(char **paths, int n, const struct options *options);
int cmd_status(char **paths, int n, const struct options *options);
int cmd_release(char **paths, int n, const struct options *options);

#endif
