// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>
#include <wctype.h>

#include "msg.h"

int verbosity;
volatile sig_atomic_t interrupted;

static atomic_size_t failures;
/* Of messages and progress, which several threads may have to tell. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool progress_shown;
static uint64_t progress_last;	/* milliseconds() */

static struct phase {
	const char *what;
	atomic_uint_fast64_t files, bytes;
	uint64_t files_total, bytes_total;
	uint64_t start;		/* milliseconds() */
} phase;

static uint64_t milliseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void on_signal(int sig)
{
	/* Another one, of whichever kind, ends it at once. */
	signal(SIGHUP, SIG_DFL);
	signal(SIGINT, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
	(void)sig;
	interrupted = 1;
}

void catch_signals(void)
{
	struct sigaction act = { .sa_handler = on_signal }, old;

	/* nohup(1) has it ignored. */
	if (sigaction(SIGHUP, NULL, &old) == 0 && old.sa_handler != SIG_IGN)
		sigaction(SIGHUP, &act, NULL);
	sigaction(SIGINT, &act, NULL);
	sigaction(SIGTERM, &act, NULL);
	/* What is done must be noted, whether or not somebody still reads. */
	signal(SIGPIPE, SIG_IGN);
}

static void clear_line(void)
{
	if (progress_shown)
		fputs("\r\033[K", stderr);
	progress_shown = false;
}

static void __attribute__((format(printf, 1, 0))) message(const char *fmt, va_list ap)
{
	pthread_mutex_lock(&lock);
	clear_line();
	fputs("refalias: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	pthread_mutex_unlock(&lock);
}

void msg_error(const char *fmt, ...)
{
	va_list ap;

	failures++;
	va_start(ap, fmt);
	message(fmt, ap);
	va_end(ap);
}

void msg_note(const char *fmt, ...)
{
	va_list ap;

	if (verbosity < 0)
		return;
	va_start(ap, fmt);
	message(fmt, ap);
	va_end(ap);
}

void msg_verbose(const char *fmt, ...)
{
	va_list ap;

	if (verbosity < 1)
		return;
	va_start(ap, fmt);
	message(fmt, ap);
	va_end(ap);
}

void msg_failed(const char *path, const char *what, int err, const char *advice)
{
	char *text = printable(path);

	msg_error("%s: %s%s%s%s%s", text, what, err ? ": " : "", err ? strerror(err) : "",
		  advice ? "; " : "", advice ? advice : "");
	free(text);
}

size_t msg_failures(void)
{
	return failures;
}

void progress_start(const char *what, uint64_t files, uint64_t bytes)
{
	phase.what = what;
	phase.files = phase.bytes = 0;
	phase.files_total = files;
	phase.bytes_total = bytes;
	phase.start = milliseconds();
	/* Each phase is shown at least once. */
	progress_last = 0;
}

/* The line of progress, as it is put together. */
struct line {
	char text[160];
	size_t length;
};

static void __attribute__((format(printf, 2, 3))) add(struct line *line, const char *fmt, ...)
{
	const size_t room = sizeof(line->text) - line->length;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line->text + line->length, room, fmt, ap);
	va_end(ap);
	if (n > 0)
		line->length += (size_t)n < room ? (size_t)n : room - 1;
}

/* "done" or "done of total" */
static void add_part(struct line *line, const char *done, const char *total)
{
	add(line, "%s%s%s", done, *total ? " of " : "", total);
}

/* What fits the terminal: a longer line would leave a part of it on the screen. */
static int width(const struct line *line)
{
	struct winsize size;

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) < 0 || !size.ws_col ||
	    line->length < size.ws_col)
		return (int)line->length;
	return size.ws_col - 1;
}

static void print_progress(uint64_t elapsed)
{
	/* What says more about how long it takes. */
	bool by_bytes = phase.bytes_total;
	uint64_t done = by_bytes ? phase.bytes : phase.files;
	uint64_t total = by_bytes ? phase.bytes_total : phase.files_total;
	char text[24], total_text[24] = "";
	/* In less time than this, a rate means nothing. */
	uint64_t rate = elapsed >= 100 ? done * 1000 / elapsed : 0, left;
	struct line line = { .length = 0 };

	add(&line, "%s: ", phase.what);
	snprintf(text, sizeof(text), "%" PRIu64, (uint64_t)phase.files);
	if (phase.files_total)
		snprintf(total_text, sizeof(total_text), "%" PRIu64, phase.files_total);
	add_part(&line, text, total_text);
	add(&line, " files");
	if (phase.bytes) {
		add(&line, ", ");
		if (by_bytes)
			format_size(phase.bytes_total, total_text);
		else
			*total_text = '\0';
		add_part(&line, format_size(phase.bytes, text), total_text);
	}
	if (rate && by_bytes)
		add(&line, ", %s/s", format_size(rate, text));
	else if (rate)
		add(&line, ", %" PRIu64 "/s", rate);
	if (rate && done < total) {
		left = (total - done) / rate;
		add(&line, ", %" PRIu64 ":%02" PRIu64 " left", left / 60, left % 60);
	}
	fprintf(stderr, "\r\033[K%.*s", width(&line), line.text);
}

void progress_add(uint64_t files, uint64_t bytes)
{
	static atomic_int terminal = -1;
	uint64_t now;

	phase.files += files;
	phase.bytes += bytes;
	if (terminal < 0)
		terminal = isatty(STDERR_FILENO) && verbosity >= 0;
	if (!terminal)
		return;
	pthread_mutex_lock(&lock);
	now = milliseconds();
	if (now - progress_last >= 200) {
		progress_last = now;
		print_progress(now - phase.start);
		progress_shown = true;
	}
	pthread_mutex_unlock(&lock);
}

void progress_end(void)
{
	pthread_mutex_lock(&lock);
	clear_line();
	pthread_mutex_unlock(&lock);
}

static void *check_alloc(void *ptr)
{
	if (!ptr) {
		msg_error("out of memory: give fewer paths at a time, or a larger --minimum-size");
		exit(STATUS_FAILED);
	}
	return ptr;
}

void *xrealloc(void *ptr, size_t n, size_t size)
{
	return check_alloc(reallocarray(ptr, n, size));
}

void *xgrow(void *list, size_t n, size_t *space, size_t size)
{
	if (n < *space)
		return list;
	*space += *space / 8 + 16;
	return xrealloc(list, *space, size);
}

void *xzalloc(size_t size)
{
	return check_alloc(calloc(1, size));
}

void *xkeep(size_t size)
{
	enum { CHUNK = 1 << 20, ALIGN = sizeof(uint64_t) };
	static struct chunk {
		struct chunk *before;
		char room[];
	} *chunk;
	static size_t left;

	size = (size + ALIGN - 1) / ALIGN * ALIGN;
	if (size > left) {
		struct chunk *new;

		left = size > CHUNK ? size : CHUNK;
		new = xzalloc(sizeof(*new) + left);
		new->before = chunk;
		chunk = new;
	}
	left -= size;
	/* From the end on, so that nothing else need be known. */
	return chunk->room + left;
}

char *xasprintf(const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	return check_alloc(text);
}

/*
 * Whether it changes the order in which a terminal shows what follows, so that one name
 * looks like another one.
 */
static bool changes_direction(wint_t c)
{
	return c == 0x061c || c == 0x200e || c == 0x200f || (c >= 0x202a && c <= 0x202e) ||
	       (c >= 0x2066 && c <= 0x2069);
}

char *printable(const char *name)
{
	size_t left = strlen(name), n;
	char *text = xzalloc(4 * left + 1), *to = text;
	mbstate_t state = { 0 };
	wchar_t wc;

	for (; left; name += n, left -= n) {
		n = mbrtowc(&wc, name, left, &state);
		if (n == (size_t)-1 || n == (size_t)-2 || !iswprint((wint_t)wc) ||
		    changes_direction((wint_t)wc) ||
		    (name[0] == '\\' && name[1] == 'x')) {
			to += sprintf(to, "\\x%02x", (unsigned char)*name);
			memset(&state, 0, sizeof(state));
			n = 1;
		} else {
			memcpy(to, name, n);
			to += n;
		}
	}
	return text;
}

bool parse_size(const char *text, uint64_t *size)
{
	static const char units[] = "KMGTP";
	unsigned long long value;
	unsigned int shift = 0;
	const char *unit;
	char *end;

	/* strtoull() would take a sign or spaces as well. */
	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno)
		return false;
	if (*end) {
		unit = strchr(units, *end >= 'a' ? *end - 'a' + 'A' : *end);
		if (!unit)
			return false;
		shift = 10 * (unsigned int)(unit - units + 1);
		end++;
		if (*end && strcmp(end, "iB") != 0)
			return false;
	}
	if (value > (UINT64_MAX >> 1) >> shift)
		return false;
	*size = (uint64_t)value << shift;
	return true;
}

const char *format_size(uint64_t size, char buf[16])
{
	static const char units[] = "BKMGTPE";
	double value = (double)size;
	size_t unit = 0;

	/* 1023.95K would be printed as 1024.0K. */
	while (value >= 1023.95 && unit + 2 < sizeof(units)) {
		value /= 1024;
		unit++;
	}
	if (unit)
		snprintf(buf, 16, "%.1f%c", value, units[unit]);
	else
		snprintf(buf, 16, "%u", (unsigned int)size);
	return buf;
}
