// SPDX-License-Identifier: GPL-2.0
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "msg.h"
#include "toml.h"

static const char *skip_blanks(const char *at)
{
	return at + strspn(at, " \t");
}

/* Skip the ends of lines and comments, too. */
static const char *skip_lines(const char *at)
{
	for (;;) {
		at += strspn(at, " \t\r\n");
		if (*at != '#')
			return at;
		at += strcspn(at, "\n");
	}
}

/* Add the string that begins at @at; returns what follows it, NULL if it is none. */
static const char *take_string(const char *at, struct paths *values)
{
	const char quote = *at;
	char *value, *to;

	if (quote != '"' && quote != '\'')
		return NULL;
	value = to = xzalloc(strcspn(at, "\n") + 1);
	for (at++; *at && *at != '\n' && *at != quote; at++) {
		if (quote == '"' && *at == '\\' && (at[1] == '"' || at[1] == '\\'))
			at++;
		*to++ = *at;
	}
	if (*at == quote) {
		paths_add(values, value);
		return at + 1;
	}
	free(value);
	return NULL;
}

static void take_value(const char *at, struct paths *values)
{
	bool array = *at == '[';

	do
		at = take_string(array ? skip_lines(at + 1) : at, values);
	while (array && at && *(at = skip_lines(at)) == ',');
}

/* Whether the @length bytes at @text are @name, with blanks around them. */
static bool is_name(const char *text, size_t length, const char *name)
{
	size_t n = strlen(name), blanks = strspn(text, " \t");

	if (blanks > length)
		blanks = length;
	text += blanks;
	length -= blanks;
	return length >= n && !memcmp(text, name, n) && strspn(text + n, " \t") >= length - n;
}

void toml_strings(const char *text, const char *table, const char *key, struct paths *values)
{
	bool here = !*table;
	const char *at;
	size_t n;

	for (at = skip_lines(text); *at; at = skip_lines(at + strcspn(at, "\n"))) {
		if (*at == '[') {
			n = strcspn(++at, "]\n");
			here = *table && is_name(at, n, table);
			continue;
		}
		n = strcspn(at, "=\n");
		if (here && at[n] == '=' && is_name(at, n, key))
			take_value(skip_blanks(at + n + 1), values);
	}
}
