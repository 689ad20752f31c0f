/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Tables for people, and the same as JSON for machines, by libsmartcols.
 */
#ifndef REFALIAS_TABLE_H
#define REFALIAS_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct column {
	const char *name;	/* heading; in lower case the key */
	double width;		/* as libsmartcols' hint; below 1: share of the width */
	int flags;		/* SCOLS_FL_* */
	int json_type;		/* SCOLS_JSON_* */
	bool json_only;
};

struct table;

/* A table with @n columns, which is an array called @name in JSON. */
struct table *table_new(const char *name, const struct column *columns, size_t n, bool json);

void table_line(struct table *table);

/* Fill a cell of the last line, to be freed by the table if @text was allocated. */
void table_set(struct table *table, size_t column, char *text);
void table_set_number(struct table *table, size_t column, uint64_t number);

/*
 * Fill cells with a path.  In a JSON string what is not UTF-8 is replaced by
 * U+FFFD; then column @hex gets all bytes of the path, as hexadecimal digits.
 */
void table_set_path(struct table *table, size_t column, size_t hex, const char *path);

/* Print tables, as one object if they are JSON, and free them. */
void tables_print(struct table **tables, size_t n);

#endif
