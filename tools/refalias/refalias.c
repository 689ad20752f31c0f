// SPDX-License-Identifier: GPL-2.0
/*
 * refalias - let identical files use one page cache
 *
 * One table holds every command: help, dispatch and errors come out of it.
 */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd.h"
#include "manifest.h"
#include "msg.h"
#include "work.h"

#define DEFAULT_MINIMUM_SIZE (16 << 10)
#define DEFAULT_THREADS 32

/* The options that say which of the files below the paths are meant. */
#define PATTERNS "IXxEF0"

/* Options without a short form. */
#define ONLY_LONG "EIXFTRACML"

static const struct option_text {
	char code;		/* the short form as well, unless ONLY_LONG has it */
	const char *name;
	const char *argument;
	const char *text;
} option_texts[] = {
	{ 's', "minimum-size", "SIZE",
	  "leave out files smaller than SIZE bytes; suffixes K, M, G, T\n"
	  "(default 16K: smaller ones are many and save little for the\n"
	  "kernel memory that each alias holds)" },
	{ 'S', "maximum-size", "SIZE", "leave out files larger than SIZE bytes" },
	{ 'I', "include", "GLOB", "only files that match GLOB; may be repeated" },
	{ 'X', "exclude", "GLOB",
	  "no files and directories that match GLOB; may be repeated.\n"
	  "A GLOB with a slash, but at its end, is matched with the\n"
	  "whole path, else with the name; * matches slashes, too" },
	{ 'x', "one-file-system", NULL, "don't enter other file systems than that of each PATH, nor\n"
	  "subvolumes of btrfs" },
	{ 'E', "store", "NAME",
	  "take the layers of all images of podman, docker, containerd,\n"
	  "or with auto of all of them, where they are usually; NAME=DIR\n"
	  "for the store in DIR; may be repeated" },
	{ 'F', "files-from", "FILE",
	  "more PATHs are in FILE, one a line; - is standard input" },
	{ '0', "null", NULL, "the PATHs in FILE end with a null byte each" },
	{ 'n', "dry-run", NULL, "change nothing, say what would be done" },
	{ 'T', "threads", "N",
	  "files to read at the same time (default 32, which suits disks\n"
	  "of all kinds)" },
	{ 'R', "no-reflink", NULL,
	  "share only what has the same disk blocks already; reads nothing\n"
	  "but inline files of btrfs" },
	{ 'A', "no-alias", NULL, "reflink only: save disk, not memory" },
	{ 'C', "immutable", NULL,
	  "make what is shared immutable, as chattr +i does; release\n"
	  "takes back what this did" },
	{ 'M', "manifest", "FILE",
	  "what shares is noted in FILE (default\n" MANIFEST_DEFAULT ")" },
	{ 'L', "all", NULL, "release all files that are noted in the manifest" },
	{ 'j', "json", NULL, "print JSON; sizes are in bytes" },
	{ 'v', "verbose", NULL, "a line on standard error for every file shared or skipped, or\n"
	  "that a program opened before it became an alias" },
	{ 'q', "quiet", NULL, "errors only" },
	{ 'h', "help", NULL, "show this help" },
	{ 'V', "version", NULL, "show the version" },
};

#define OPTION_COUNT (sizeof(option_texts) / sizeof(option_texts[0]))

static int cmd_help(char **arguments, int n, const struct options *options);

static const struct command commands[] = {
	{
		.name = "run",
		.arguments = "PATH...",
		.summary = "find identical files and let them share disk and memory",
		.text =
"Find regular files below the given files and directories that are identical as\n"
"a whole, and let them use one page cache, so that their content is in memory\n"
"once. Files that are not reflinks of each other are made so first, which saves\n"
"the disk space, too. It stays so until the files are released or deleted, or the\n"
"file system is unmounted. \"restore\" brings it back after a reboot. Run it again\n"
"for new files; what is shared already is found without being read.\n"
"\n"
"The kernel compares the files itself. Owner, mode, times, attributes and content\n"
"of all files stay as they are. As long as files share a page cache, they can't\n"
"be written in place: that fails with \"Text file busy\", as with a running\n"
"program. Removing them, or renaming another file over them, works. So give it\n"
"what is not written in place: container images, file systems of containers,\n"
"/usr. Programs that have a file open share it after they open it again.\n"
"\n"
"A file serves others only if root or their own owner owns it, and nobody can\n"
"write it who can't write them. Symbolic links are not followed; of hard links\n"
"one name is looked at. Sharing page caches needs root, a kernel with\n"
"CONFIG_MAPPING_ALIAS, and a file system that supports it (XFS, btrfs).\n"
"On other kernels the files are reflinked, and the exit status is 1.\n",
		.options = "sS" PATTERNS "nTRACMjvqhV",
		.least_arguments = 1,
		.run = cmd_run,
	}, {
		.name = "scan",
		.arguments = "PATH...",
		.summary = "show what run would find, and what that would save",
		.text =
"Find identical files as \"run\" does, on any kernel, and change nothing. Each set\n"
"of identical files is listed, each file with what \"run\" would make of it:\n"
"\n"
"  donor    the others would use its page cache, and its disk blocks\n"
"  copy     would be reflinked, then aliased\n"
"  reflink  has its donor's disk blocks already, would be aliased\n"
"  alias    uses its donor's page cache already\n"
"\n"
"or else with the reason why it would be left out. The totals say how much disk\n"
"reflinks would save, and how much memory aliases would save: of what is in the\n"
"page cache now, and at most, if all files were read.\n",
		.options = "sS" PATTERNS "nTjvqhV",
		.least_arguments = 1,
		.run = cmd_scan,
	}, {
		.name = "restore",
		.arguments = "",
		.summary = "share again what was shared before a reboot",
		.text =
"Let the files that are noted in the manifest share their page caches again, as\n"
"far as they are still there and still have the same disk blocks. Nothing is\n"
"read and nothing is reflinked, so this is quick. \"run\" notes what it shares,\n"
"\"release\" takes out what it releases.\n",
		.options = "nMjvqhV",
		.no_arguments = true,
		.run = cmd_restore,
	}, {
		.name = "pair",
		.arguments = "DONOR FILE...",
		.summary = "let FILEs use the page cache of DONOR",
		.text =
"Do with the given files what \"run\" does with those it finds: make each FILE a\n"
"reflink of DONOR if it is none, and let it use DONOR's page cache. The files\n"
"must be identical; the kernel compares them. With --no-reflink the disk is left\n"
"as it is, and files with other blocks than DONOR's fail. The minimum size of\n"
"\"run\" does not apply.\n",
		.options = "nRAjvqhV",
		.least_arguments = 2,
		.run = cmd_pair,
	}, {
		.name = "status",
		.arguments = "[PATH...]",
		.summary = "show which files share a page cache, and what that saves",
		.text =
"List the files below the given files and directories that share a page cache;\n"
"without a PATH, of those that are noted in the manifest.\n"
"\n"
"  FILE      path\n"
"  STATE     donor: others use its page cache; alias: it uses its donor's\n"
"  KEPT      whether the alias stays one although nobody has it open\n"
"  ALIASES   number of files that use this donor's page cache, wherever they are\n"
"  SIZE      size of the file\n"
"  RESIDENT  part of it that is in memory now; for an alias, its donor's pages\n"
"  DONOR     the alias's donor, by inode number if it is not below a given path\n"
"\n"
"The totals say how much memory aliases use without having it to themselves: each\n"
"alias counts with what is resident of its donor.\n"
"\n"
"Programs that opened a file before it became an alias go on with pages of their\n"
"own until they are restarted. Root is told how many files that are, and with\n"
"--verbose which.\n"
"\n"
"Names that can't be printed are shown with \\xHH for such bytes. In JSON, bytes\n"
"that are not UTF-8 become U+FFFD, and file_hex or donor_hex then has the whole\n"
"path in hexadecimal.\n",
		.options = PATTERNS "MjvhV",
		.least_arguments = 0,
		.run = cmd_status,
	}, {
		.name = "release",
		.arguments = "PATH...|--all",
		.summary = "make aliases ordinary files again",
		.text =
"End the sharing of all files below the given files and directories. A donor\n"
"releases all its aliases. The page cache of a file that is in use stays shared\n"
"until its last user closes it; from then on it can be written again. Disk\n"
"blocks stay shared. \"restore\" won't bring these files back. What \"run\n"
"--immutable\" made immutable becomes changeable again.\n",
		.options = PATTERNS "nLMjvqhV",
		.least_arguments = 1,
		.run = cmd_release,
	}, {
		.name = "help",
		.arguments = "[COMMAND]",
		.summary = "explain a command and its options",
		.text =
"Explain COMMAND and its options, as \"refalias COMMAND --help\" does; without a\n"
"COMMAND, list all of them.\n",
		.options = "hV",
		.least_arguments = 0,
		.run = cmd_help,
	},
};

#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

static void print_options(const char *codes)
{
	const char *line, *end;
	char names[32];
	bool only_long;
	size_t i;

	puts("\nOptions:");
	for (i = 0; i < OPTION_COUNT; i++) {
		const struct option_text *o = &option_texts[i];

		if (!strchr(codes, o->code))
			continue;
		only_long = strchr(ONLY_LONG, o->code);
		snprintf(names, sizeof(names), "%c%c%s--%s%s%s", only_long ? ' ' : '-',
			 only_long ? ' ' : o->code, only_long ? "  " : ", ", o->name,
			 o->argument ? "=" : "", o->argument ? o->argument : "");
		for (line = o->text; *line; line = *end ? end + 1 : end) {
			end = strchrnul(line, '\n');
			printf("  %-23s %.*s\n", line == o->text ? names : "",
			       (int)(end - line), line);
		}
	}
}

static void print_help(void)
{
	size_t i;

	puts("Usage: refalias COMMAND [OPTION...] ARGUMENT...\n"
	     "\n"
	     "Let identical files share one page cache: their content is in memory once.\n"
	     "\n"
	     "Commands:");
	for (i = 0; i < COMMAND_COUNT; i++)
		printf("  %-8s %-14s %s\n", commands[i].name, commands[i].arguments,
		       commands[i].summary);
	print_options("hV");
	puts("\n\"refalias help COMMAND\" explains a command and its options.\n"
	     "\n"
	     "Exit status: 0 if all was done, 1 if something failed or was interrupted, 2 if\n"
	     "refalias was called in a wrong way, 3 if all went well, but files were left out\n"
	     "that have identical copies; the summary says why.");
}

static void print_command_help(const struct command *command)
{
	printf("Usage: refalias %s [OPTION...]%s%s\n\n%s", command->name,
	       *command->arguments ? " " : "", command->arguments, command->text);
	print_options(command->options);
}

static int usage_error(const struct command *command)
{
	fprintf(stderr, "Try \"refalias%s%s --help\".\n", command ? " " : "",
		command ? command->name : "");
	return STATUS_USAGE;
}

static const struct command *find_command(const char *name)
{
	size_t i;

	for (i = 0; i < COMMAND_COUNT; i++)
		if (!strcmp(name, commands[i].name))
			return &commands[i];
	msg_error("\"%s\" is not a command", name);
	return NULL;
}

static int cmd_help(char **arguments, int n, const struct options *options)
{
	const struct command *command;

	(void)options;
	if (n > 1) {
		msg_error("help: explains one command at a time");
		return usage_error(find_command("help"));
	}
	if (!n) {
		print_help();
		return STATUS_OK;
	}
	command = find_command(*arguments);
	if (!command)
		return usage_error(NULL);
	print_command_help(command);
	return STATUS_OK;
}

/* What was printed must have arrived, or the caller would trust a part of it. */
static int finish(int status)
{
	if (fflush(stdout) || ferror(stdout)) {
		struct pollfd out = { .fd = STDOUT_FILENO };
		const int err = errno;

		/* Who has seen enough wants no message; what was to be done is done. */
		if (poll(&out, 1, 0) == 1 && (out.revents & POLLERR)) {
			signal(SIGPIPE, SIG_DFL);
			raise(SIGPIPE);
		}
		msg_error("can't write to standard output: %s; make room or close it properly",
			  strerror(err));
		return STATUS_FAILED;
	}
	return status;
}

/* Translate the table for getopt_long(): the options in @codes. */
static void make_getopt(const char *codes, char *letters, struct option *options)
{
	size_t i;

	for (i = 0; i < OPTION_COUNT; i++) {
		const struct option_text *o = &option_texts[i];

		if (!strchr(codes, o->code))
			continue;
		*options++ = (struct option){ o->name, o->argument != NULL, NULL, o->code };
		if (strchr(ONLY_LONG, o->code))
			continue;
		*letters++ = o->code;
		if (o->argument)
			*letters++ = ':';
	}
	*letters = '\0';
	*options = (struct option){ 0 };
}

/*
 * Add the paths in @name, each ended by @delimiter, to the @n @arguments;
 * they live as long as the program.  NULL after a message.
 */
static char **add_paths(char **arguments, int *n, const char *name, int delimiter)
{
	static char **paths;
	FILE *from = strcmp(name, "-") ? fopen(name, "re") : stdin;
	size_t count = (size_t)*n, space = count, room = 0;
	char *line = NULL;
	ssize_t length;

	paths = xrealloc(NULL, space + 1, sizeof(*paths));
	memcpy(paths, arguments, count * sizeof(*paths));
	while (from && (length = getdelim(&line, &room, delimiter, from)) > 0) {
		if (line[length - 1] == delimiter)
			line[--length] = '\0';
		if (!length)
			continue;
		/* A null byte would hide the rest of the name. */
		if (strlen(line) != (size_t)length || count == INT_MAX) {
			msg_error("%s: has null bytes; give --null", name);
			free(line);
			return NULL;
		}
		paths = xgrow(paths, count, &space, sizeof(*paths));
		paths[count++] = xasprintf("%s", line);
	}
	free(line);
	if (!from || ferror(from)) {
		msg_error("%s: can't read the list of paths: %s; check its name", name,
			  strerror(errno));
		return NULL;
	}
	*n = (int)count;
	return paths;
}

/* The number in @text, or 0 if it is none that is allowed. */
static unsigned int parse_threads(const char *text)
{
	uint64_t n;

	return parse_size(text, &n) && n <= WORK_MOST_THREADS ? (unsigned int)n : 0;
}

static int run_command(const struct command *command, int argc, char **argv)
{
	static struct options options = {
		.selection.minimum_size = DEFAULT_MINIMUM_SIZE,
		.threads = DEFAULT_THREADS,
	};
	struct selection *selection = &options.selection;
	struct option longs[OPTION_COUNT + 1];
	char letters[2 * OPTION_COUNT + 1];
	const char *files_from = NULL;
	bool null = false, more;
	char name[32];
	int code;

	/* Without the option, all sizes. */
	if (!strchr(command->options, 's'))
		selection->minimum_size = 0;
	/* getopt's own messages start with this. */
	snprintf(name, sizeof(name), "refalias %s", command->name);
	argv[0] = name;
	make_getopt(command->options, letters, longs);
	while ((code = getopt_long(argc, argv, letters, longs, NULL)) != -1) {
		switch (code) {
		case 's':
		case 'S':
			if (parse_size(optarg, code == 's' ? &selection->minimum_size :
							     &selection->maximum_size))
				break;
			msg_error("\"%s\" is not a size: give a number of bytes, or like 64K or 1M",
				  optarg);
			return usage_error(command);
		case 'I':
			patterns_add(&selection->include, optarg);
			break;
		case 'X':
			patterns_add(&selection->exclude, optarg);
			break;
		case 'x':
			selection->one_file_system = true;
			break;
		case 'E':
			if (stores_wish(&options.stores, optarg))
				break;
			msg_error("\"%s\" is not a store: give podman, docker, containerd or auto, or like podman=DIR",
				  optarg);
			return usage_error(command);
		case 'F':
			if (!files_from) {
				files_from = optarg;
				break;
			}
			msg_error("--files-from is given twice: put all paths into one list, which can come from standard input (-)");
			return usage_error(command);
		case '0':
			null = true;
			break;
		case 'T':
			options.threads = parse_threads(optarg);
			if (options.threads)
				break;
			msg_error("\"%s\" is not a number of threads: give one from 1 to %d",
				  optarg, WORK_MOST_THREADS);
			return usage_error(command);
		case 'C':
			options.immutable = true;
			break;
		case 'M':
			options.manifest = optarg;
			break;
		case 'L':
			options.all = true;
			break;
		case 'n':
			options.dry_run = true;
			break;
		case 'R':
			options.no_reflink = true;
			break;
		case 'A':
			options.no_alias = true;
			break;
		case 'j':
			options.json = true;
			break;
		case 'v':
			verbosity = 1;
			break;
		case 'q':
			verbosity = -1;
			break;
		case 'h':
			print_command_help(command);
			return STATUS_OK;
		case 'V':
			puts("refalias " VERSION);
			return STATUS_OK;
		default:
			return usage_error(command);
		}
	}
	argc -= optind;
	argv += optind;
	more = files_from || options.stores.n;
	if (null && !files_from) {
		msg_error("--null is about the list of paths: give --files-from=FILE, too, or - for standard input");
		return usage_error(command);
	}
	if (selection->maximum_size && selection->maximum_size < selection->minimum_size) {
		msg_error("no file is as large as --minimum-size (default 16K) and as small as --maximum-size: give a smaller minimum or a larger maximum");
		return usage_error(command);
	}
	if (options.all ? argc || more :
	    command->no_arguments ? argc : argc < command->least_arguments && !more) {
		msg_error("%s: expected %s", command->name,
			  command->no_arguments ? "no arguments" : command->arguments);
		return usage_error(command);
	}
	options.all |= !argc && !more;
	if (options.immutable && options.stores.n) {
		msg_error("--immutable would keep the engine from removing images: leave it out with --store");
		return usage_error(command);
	}
	if (files_from) {
		argv = add_paths(argv, &argc, files_from, null ? '\0' : '\n');
		if (!argv && !options.json)
			return STATUS_FAILED;
		/* Who reads JSON gets it, about nothing. */
		if (!argv) {
			argc = 0;
			options.stores.n = 0;
		}
	}
	catch_signals();
	stores_find(&options.stores);
	return command->run(argv, argc, &options);
}

int main(int argc, char **argv)
{
	struct option longs[OPTION_COUNT + 1];
	char letters[2 * OPTION_COUNT + 1];
	const struct command *command;

	setlocale(LC_ALL, "");
	/* Up to the command only; the rest is the command's. */
	make_getopt("hV", letters + 1, longs);
	letters[0] = '+';
	switch (getopt_long(argc, argv, letters, longs, NULL)) {
	case 'h':
		print_help();
		return finish(STATUS_OK);
	case 'V':
		puts("refalias " VERSION);
		return finish(STATUS_OK);
	case -1:
		break;
	default:
		return usage_error(NULL);
	}
	if (optind == argc) {
		msg_error("no command given");
		return usage_error(NULL);
	}
	argc -= optind;
	argv += optind;
	/* Start over with the command's own options. */
	optind = 0;
	command = find_command(argv[0]);
	return command ? finish(run_command(command, argc, argv)) : usage_error(NULL);
}
