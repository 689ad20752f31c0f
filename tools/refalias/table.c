// SPDX-License-Identifier: GPL-2.0
#include <ctype.h>
#include <inttypes.h>
#include <libsmartcols.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "msg.h"
#include "table.h"

struct table {
	const struct column *columns;
	size_t n;
	/* for people */
	struct libscols_table *scols;
	struct libscols_line *line;
	size_t *place;		/* of each column; SIZE_MAX: not shown */
	/* in JSON */
	char **cell;		/* of the line that is not printed yet, or NULL */
	size_t lines;		/* begun so far */
};

/* In JSON, whether the object has tables already. */
static bool begun;

static void *check(void *ptr)
{
	if (!ptr) {
		msg_error("out of memory for the table: give fewer paths at a time");
		exit(STATUS_FAILED);
	}
	return ptr;
}

static void add_columns(struct table *table)
{
	size_t i, shown = 0;

	scols_init_debug(0);
	table->scols = check(scols_new_table());
	/* printable() does that. */
	scols_table_enable_noencoding(table->scols, true);
	table->place = xrealloc(NULL, table->n, sizeof(*table->place));
	for (i = 0; i < table->n; i++) {
		const struct column *c = &table->columns[i];

		table->place[i] = SIZE_MAX;
		if (c->json_only)
			continue;
		check(scols_table_new_column(table->scols, c->name, c->width, c->flags));
		table->place[i] = shown++;
	}
}

struct table *table_new(const char *name, const struct column *columns, size_t n, bool json)
{
	struct table *table = xzalloc(sizeof(*table));

	table->columns = columns;
	table->n = n;
	if (json) {
		table->cell = xzalloc(n * sizeof(*table->cell));
		printf("%s\n   \"%s\": [", begun ? "," : "{", name);
		begun = true;
	} else {
		add_columns(table);
	}
	return table;
}

/* Print @text, which is UTF-8. */
static void print_string(const char *text)
{
	const char *p;

	putchar('"');
	for (p = text; *p; p++) {
		if (*p == '"' || *p == '\\')
			printf("\\%c", *p);
		else if ((unsigned char)*p < ' ')
			printf("\\u%04x", (unsigned char)*p);
		else
			putchar(*p);
	}
	putchar('"');
}

static void print_value(const char *text, int json_type)
{
	if (!text)
		fputs("null", stdout);
	else if (json_type == SCOLS_JSON_NUMBER)
		fputs(text, stdout);
	else if (json_type == SCOLS_JSON_BOOLEAN)
		fputs(strcmp(text, "0") ? "true" : "false", stdout);
	else
		print_string(text);
}

/* Print the line that was begun last, if there is one. */
static void print_line(struct table *table)
{
	const char *p;
	size_t i;

	if (!table->lines)
		return;
	for (i = 0; i < table->n; i++) {
		fputs(i ? ", \"" : table->lines > 1 ? ",\n      {\"" : "\n      {\"", stdout);
		for (p = table->columns[i].name; *p; p++)
			putchar(tolower((unsigned char)*p));
		fputs("\": ", stdout);
		print_value(table->cell[i], table->columns[i].json_type);
		free(table->cell[i]);
		table->cell[i] = NULL;
	}
	putchar('}');
}

void table_line(struct table *table)
{
	if (table->cell) {
		print_line(table);
		table->lines++;
	} else {
		table->line = check(scols_table_new_line(table->scols, NULL));
	}
}

void table_set(struct table *table, size_t column, char *text)
{
	if (table->cell) {
		free(table->cell[column]);
		table->cell[column] = text;
	} else if (table->place[column] == SIZE_MAX) {
		free(text);
	} else if (scols_line_refer_data(table->line, table->place[column], text) < 0) {
		check(NULL);
	}
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

	if (!table->cell) {
		free(text);
		table_set(table, column, printable(path));
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

void table_end(struct table *table)
{
	if (table->cell) {
		print_line(table);
		fputs(table->lines ? "\n   ]" : "]", stdout);
	} else {
		scols_print_table(table->scols);
		scols_unref_table(table->scols);
	}
	free(table->place);
	free(table->cell);
	free(table);
}

void tables_end(bool json)
{
	if (json)
		puts("\n}");
}
