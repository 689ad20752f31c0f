/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Tables for people, by libsmartcols, and the same as JSON for machines, which is
 * printed as it comes: there may be millions of lines.
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

/*
 * Begin a table with @n @columns, which are used until its end.  In JSON it is an array
 * called @name of the one object that is printed; then one table must end before the
 * next one begins.
 */
struct table *table_new(const char *name, const struct column *columns, size_t n, bool json);

/* Begin a line. */
void table_line(struct table *table);

/* Fill a cell of the last line, to be freed by the table if @text was allocated. */
void table_set(struct table *table, size_t column, char *text);
void table_set_number(struct table *table, size_t column, uint64_t number);

/*
 * Fill cells with a path.  In a JSON string what is not UTF-8 is replaced by
 * U+FFFD; then column @hex gets all bytes of the path, as hexadecimal digits.
 */
void table_set_path(struct table *table, size_t column, size_t hex, const char *path);

/* Print what was not printed yet, and free it. */
void table_end(struct table *table);

/* After the last table: end the object if they are JSON. */
void tables_end(bool json);

#endif
