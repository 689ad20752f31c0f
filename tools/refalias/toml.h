/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The configuration files of container engines, as far as they are about
 * directories.
 */
#ifndef REFALIAS_TOML_H
#define REFALIAS_TOML_H

#include "store.h"

/*
 * Add to @values what @key has in @table of the TOML document @text: a string or
 * an array of strings.  An empty @table is for keys before the first one.  Of
 * escapes in strings only those of quotes and backslashes are known.
 */
void toml_strings(const char *text, const char *table, const char *key, struct paths *values);

#endif
