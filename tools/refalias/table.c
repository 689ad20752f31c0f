// SPDX-License-Identifier: GPL-2.0
#include <inttypes.h>
#include <libsmartcols.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "msg.h"
#include "table.h"

struct table {
	struct libscols_table *scols;
	struct libscols_line *line;
	size_t *place;		/* of each column; SIZE_MAX: not shown */
	bool json;
};

static void *check(void *ptr)
{
	if (!ptr) {
		msg_error("out of memory for the table: give fewer paths at a time");
		exit(STATUS_FAILED);
	}
	return ptr;
}

struct table *table_new(const char *name, const struct column *columns, size_t n, bool json)
{
	struct table *table = xzalloc(sizeof(*table));
	struct libscols_column *column;
	size_t i, shown = 0;

	scols_init_debug(0);
	table->scols = check(scols_new_table());
	table->json = json;
	table->place = xrealloc(NULL, n, sizeof(*table->place));
	scols_table_set_name(table->scols, name);
	scols_table_enable_json(table->scols, json);
	for (i = 0; i < n; i++) {
		table->place[i] = SIZE_MAX;
		if (columns[i].json_only && !json)
			continue;
		column = check(scols_table_new_column(table->scols, columns[i].name,
						      columns[i].width, columns[i].flags));
		scols_column_set_json_type(column, columns[i].json_type);
		table->place[i] = shown++;
	}
	return table;
}

void table_line(struct table *table)
{
	table->line = check(scols_table_new_line(table->scols, NULL));
}

void table_set(struct table *table, size_t column, char *text)
{
	if (table->place[column] == SIZE_MAX)
		free(text);
	else if (scols_line_refer_data(table->line, table->place[column], text) < 0)
		check(NULL);
}

void table_set_number(struct table *table, size_t column, uint64_t number)
{
	table_set(table, column, xasprintf("%" PRIu64, number));
}

/* Length of the valid UTF-8 character at @p, or 0. */
static size_t utf8_length(const unsigned char *p)
{
	size_t n = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 :
		   p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0, i;

	for (i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	/* Overlong forms, surrogates, and what is above U+10FFFF. */
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
	    (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return n;
}

void table_set_path(struct table *table, size_t column, size_t hex, const char *path)
{
	size_t left = strlen(path), n;
	char *text = xzalloc(3 * left + 1), *to = text;
	const char *p = path;
	bool valid = true;

	if (!table->json) {
		/* libsmartcols takes care of what can't be printed. */
		strcpy(text, path);
		table_set(table, column, text);
		return;
	}
	for (; left; p += n, left -= n) {
		n = utf8_length((const unsigned char *)p);
		if (n) {
			memcpy(to, p, n);
			to += n;
		} else {
			to = stpcpy(to, "\xef\xbf\xbd");
			valid = false;
			n = 1;
		}
	}
	table_set(table, column, text);
	if (valid)
		return;
	text = xzalloc(2 * strlen(path) + 1);
	for (p = path, to = text; *p; p++)
		to += sprintf(to, "%02x", (unsigned char)*p);
	table_set(table, hex, text);
}

void tables_print(struct table **tables, size_t n)
{
	size_t i, len;
	char *text;

	for (i = 0; i < n; i++) {
		struct table *table = tables[i];

		if (!table->json) {
			scols_print_table(table->scols);
		} else {
			/* Each is an object of one array: make them one object. */
			if (scols_print_table_to_string(table->scols, &text) < 0)
				check(NULL);
			len = strlen(text);
			while (len && text[len - 1] != ']')
				len--;
			text[len] = '\0';
			printf("%s%s%s", i ? "," : "{", strchr(text, '{') + 1,
			       i + 1 < n ? "" : "\n}\n");
			free(text);
		}
		scols_unref_table(table->scols);
		free(table->place);
		free(table);
	}
}
