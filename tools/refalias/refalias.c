// SPDX-License-Identifier: GPL-2.0
/*
 * refalias - let identical files use one page cache
 *
 * One table holds every command: help, dispatch and errors come out of it.
 */
#include <errno.h>
#include <getopt.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd.h"
#include "msg.h"

#define DEFAULT_MINIMUM_SIZE (16 << 10)

/* Options without a short form have codes that getopt can't find in optstring. */
#define NO_REFLINK "\1"
#define NO_ALIAS "\2"

static const struct option_text {
	char code;
	const char *name;
	const char *argument;
	const char *text;
} option_texts[] = {
	{ 's', "minimum-size", "SIZE",
	  "leave out files smaller than SIZE bytes; suffixes K, M, G, T\n"
	  "(default 16K: smaller ones are many and save little for the\n"
	  "kernel memory that each alias holds, about 2.5 KiB)" },
	{ 'n', "dry-run", NULL, "change nothing, say what would be done" },
	{ NO_REFLINK[0], "no-reflink", NULL,
	  "share only what has the same disk blocks already" },
	{ NO_ALIAS[0], "no-alias", NULL, "reflink only: save disk, not memory" },
	{ 'j', "json", NULL, "print JSON; sizes are in bytes" },
	{ 'v', "verbose", NULL, "a line on standard error for every file shared or skipped" },
	{ 'q', "quiet", NULL, "errors only" },
	{ 'h', "help", NULL, "show this help" },
	{ 'V', "version", NULL, "show the version" },
};

#define OPTION_COUNT (sizeof(option_texts) / sizeof(option_texts[0]))

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
"file system is unmounted. Run it again after a reboot or for new files; what is\n"
"shared already is found without being read.\n"
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
"CONFIG_MAPPING_ALIAS, and a file system that supports it (XFS with reflink=1).\n"
"On other kernels the files are reflinked, and the exit status is 1.\n",
		.options = "sn" NO_REFLINK NO_ALIAS "jvqhV",
		.least_arguments = 1,
		.run = cmd_run,
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
		.options = "n" NO_REFLINK NO_ALIAS "jvqhV",
		.least_arguments = 2,
		.run = cmd_pair,
	}, {
		.name = "status",
		.arguments = "PATH...",
		.summary = "show which files share a page cache, and what that saves",
		.text =
"List the files below the given files and directories that share a page cache.\n"
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
"Names that can't be printed are shown with \\xHH for such bytes. In JSON, bytes\n"
"that are not UTF-8 become U+FFFD, and file_hex or donor_hex then has the whole\n"
"path in hexadecimal.\n",
		.options = "jhV",
		.least_arguments = 1,
		.run = cmd_status,
	}, {
		.name = "release",
		.arguments = "PATH...",
		.summary = "make aliases ordinary files again",
		.text =
"End the sharing of all files below the given files and directories. A donor\n"
"releases all its aliases. The page cache of a file that is in use stays shared\n"
"until its last user closes it; from then on it can be written again. Disk\n"
"blocks stay shared.\n",
		.options = "njvqhV",
		.least_arguments = 1,
		.run = cmd_release,
	},
};

#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

static void print_options(const char *codes)
{
	const char *line, *end;
	char names[32];
	size_t i;

	puts("\nOptions:");
	for (i = 0; i < OPTION_COUNT; i++) {
		const struct option_text *o = &option_texts[i];

		if (!strchr(codes, o->code))
			continue;
		snprintf(names, sizeof(names), "%c%c%s--%s%s%s",
			 o->code > ' ' ? '-' : ' ', o->code > ' ' ? o->code : ' ',
			 o->code > ' ' ? ", " : "  ", o->name,
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
	puts("\n\"refalias COMMAND --help\" explains a command and its options.\n"
	     "\n"
	     "Exit status: 0 if all was done, 1 if something failed or was interrupted, 2 if\n"
	     "refalias was called in a wrong way.");
}

static void print_command_help(const struct command *command)
{
	printf("Usage: refalias %s [OPTION...] %s\n\n%s", command->name, command->arguments,
	       command->text);
	print_options(command->options);
}

static int usage_error(const struct command *command)
{
	fprintf(stderr, "Try \"refalias%s%s --help\".\n", command ? " " : "",
		command ? command->name : "");
	return STATUS_USAGE;
}

/* What was printed must have arrived, or the caller would trust a part of it. */
static int finish(int status)
{
	if (fflush(stdout) || ferror(stdout)) {
		msg_error("can't write to standard output: %s; make room or close it properly",
			  strerror(errno));
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
		if (o->code > ' ')
			*letters++ = o->code;
		if (o->argument)
			*letters++ = ':';
	}
	*letters = '\0';
	*options = (struct option){ 0 };
}

static int run_command(const struct command *command, int argc, char **argv)
{
	struct options options = { .minimum_size = DEFAULT_MINIMUM_SIZE };
	struct option longs[OPTION_COUNT + 1];
	char letters[2 * OPTION_COUNT + 1];
	char name[32];
	int code;

	/* getopt's own messages start with this. */
	snprintf(name, sizeof(name), "refalias %s", command->name);
	argv[0] = name;
	make_getopt(command->options, letters, longs);
	while ((code = getopt_long(argc, argv, letters, longs, NULL)) != -1) {
		switch (code) {
		case 's':
			if (parse_size(optarg, &options.minimum_size))
				break;
			msg_error("\"%s\" is not a size: give a number of bytes, or like 64K or 1M",
				  optarg);
			return usage_error(command);
		case 'n':
			options.dry_run = true;
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
			if (code == NO_REFLINK[0])
				options.no_reflink = true;
			else if (code == NO_ALIAS[0])
				options.no_alias = true;
			else
				return usage_error(command);
		}
	}
	if (argc - optind < command->least_arguments) {
		msg_error("%s: expected %s", command->name, command->arguments);
		return usage_error(command);
	}
	catch_signals();
	return command->run(argv + optind, argc - optind, &options);
}

int main(int argc, char **argv)
{
	struct option longs[OPTION_COUNT + 1];
	char letters[2 * OPTION_COUNT + 1];
	size_t i;

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
	for (i = 0; i < COMMAND_COUNT; i++)
		if (!strcmp(argv[0], commands[i].name))
			return finish(run_command(&commands[i], argc, argv));
	msg_error("\"%s\" is not a command", argv[0]);
	return usage_error(NULL);
}
