/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What every step needs: messages, progress, signals, memory, sizes.
 */
#ifndef REFALIAS_MSG_H
#define REFALIAS_MSG_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Exit statuses. */
enum { STATUS_OK = 0, STATUS_FAILED = 1, STATUS_USAGE = 2, STATUS_LESS = 3 };

/* -1: errors only; 0: normal; 1: a line for every file acted upon. */
extern int verbosity;

/* Set by SIGHUP, SIGINT and SIGTERM; long loops end at the next file when they see it. */
extern volatile sig_atomic_t interrupted;

/* Let these set @interrupted; a second one kills as usual.  Ignore SIGPIPE. */
void catch_signals(void);

/*
 * One line on standard error, with the program's name in front and without a
 * newline in @fmt.  msg_error() counts as a failure and is never suppressed,
 * msg_note() is suppressed by -q, msg_verbose() is shown with -v only.
 */
void msg_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void msg_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void msg_verbose(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/*
 * msg_error() about @path, which is made printable: what failed, the error, unless @err is 0,
 * and @advice, unless it is NULL.
 */
void msg_failed(const char *path, const char *what, int err, const char *advice);

/* Number of msg_error() calls so far; not zero means exit status 1. */
size_t msg_failures(void);

/*
 * Tell how far the work is: begin a phase with the number of files and bytes
 * to come, as far as they are known (else 0), and add what was done.  Shows
 * files, bytes, rate and the time left, only if standard error is a terminal,
 * and a few times a second at most.  The next message clears the line; so does
 * progress_end().
 */
void progress_start(const char *what, uint64_t files, uint64_t bytes);
void progress_add(uint64_t files, uint64_t bytes);
void progress_end(void);

/* Allocate or end the program with a message. */
void *xrealloc(void *ptr, size_t n, size_t size);
void *xzalloc(size_t size);

/*
 * Make room for one more element of @size bytes in a growing @list of @n, for
 * *@space of which there is room.  Few more than are needed: lists can be long.
 */
void *xgrow(void *list, size_t n, size_t *space, size_t size);

/* The same for many small objects that live as long as the program; zeroed. */
void *xkeep(size_t size);

char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/*
 * A copy of @name for people: what the locale can't print, invalid bytes and control
 * characters, those for the direction of writing as well, is written as \xHH, as is a
 * backslash before an x.
 * To be freed by the caller.
 */
char *printable(const char *name);

/*
 * Read a number of bytes, with an optional suffix K, M, G, T or P for powers of
 * 1024 ("KiB" and the like are the same).  False if @text is none or too big.
 */
bool parse_size(const char *text, uint64_t *size);

/* Write @size for people, like "1.5M", into @buf. */
const char *format_size(uint64_t size, char buf[16]);

#endif
