/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Step 0: find the image layers that container engines keep, if that is asked for.
 *
 * Only what an engine names as a layer of an image is taken, never all that is
 * in its directories: the rest may be a container's to write to.  No lock of an
 * engine is taken for that.  Engines replace what is read here as a whole, and
 * what is removed meanwhile is found gone later.
 */
#ifndef REFALIAS_STORE_H
#define REFALIAS_STORE_H

#include <stdbool.h>
#include <stddef.h>

struct paths {
	char **path;
	size_t n, space;
};

struct stores {
	/* what the user wants */
	struct wish {
		const struct engine *engine;	/* NULL: all */
		const char *dir;	/* NULL: the usual ones */
	} *wish;
	size_t n;

	/* what was found: absolute paths that lead over no symbolic links */
	struct paths roots;	/* directories below which layers come and go */
	struct paths layers;	/* directories with the files of a layer */
};

/*
 * Note a wish, ENGINE or ENGINE=DIR, which must live as long as @stores.  False
 * if there is no such engine.
 */
bool stores_wish(struct stores *stores, const char *text);

/*
 * Find the layers of all that is wished.  There is a message about what can't be
 * read, and about a wish for which there is nothing.
 */
void stores_find(struct stores *stores);

#endif
