// SPDX-License-Identifier: GPL-2.0
/*
 * The first process in the guest of scripts/vm: makes a usable system out of
 * the host's read-only root, runs one command, and turns the machine off.
 *
 * It is a static C program and not a shell script because a debug kernel under
 * emulation needs nearly half a second for each program a script starts.
 *
 * The guest is given three 9p exports:
 *   hostroot  the host's root, read-only; the kernel has mounted it on /
 *   control   what to run: the files argv and env (strings ended by NUL), cwd
 *             and share (one path each); and what came of it: stdout, stderr
 *             and status (the exit status in decimal on the first line; the
 *             word end on the second one when everything is done)
 *   share     the directory that is shared with the host; it is mounted on the
 *             path it has there
 *
 * What goes wrong before the command runs is told on the console, and no status
 * is written: the host then shows the console.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <mntent.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

#define CONTROL		"/run/vm/control"
#define OVERLAYS	"/run/vm/overlay"
/* The host's root without what the guest mounts over it. */
#define HOST		"/run/host"
#define KMEMLEAK	"/sys/kernel/debug/kmemleak"

/* kmemleak takes nothing for leaked that is younger than 5 seconds. */
#define KMEMLEAK_AGE	6

/* What dying processes held may be let go of a little after they are gone. */
#define UNMOUNT_TRIES	10
#define UNMOUNT_WAIT_US	200000

/* The same numbers as a shell and env(1) use. */
#define STATUS_CANNOT_RUN	126
#define STATUS_NOT_FOUND	127
#define STATUS_SIGNAL		128

#define P9_OPTIONS	"trans=virtio,version=9p2000.L,cache=none"

/* A file system of the guest; mounted in the order of the table. */
struct guest_mount {
	const char *type;
	const char *target;
	const char *options;
	/* Many kernels lack it; whoever needs it will notice. */
	bool optional;
};

static const struct guest_mount guest_mounts[] = {
	{ "proc",	"/proc",		NULL,				false },
	{ "sysfs",	"/sys",			NULL,				false },
	{ "devtmpfs",	"/dev",			"mode=755",			false },
	{ "devpts",	"/dev/pts",		"gid=5,mode=620,ptmxmode=666",	true },
	{ "tmpfs",	"/dev/shm",		"mode=1777",			false },
	{ "mqueue",	"/dev/mqueue",		NULL,				true },
	{ "cgroup2",	"/sys/fs/cgroup",	NULL,				true },
	{ "debugfs",	"/sys/kernel/debug",	NULL,				true },
	{ "tracefs",	"/sys/kernel/tracing",	NULL,				true },
	{ "tmpfs",	"/run",			"mode=755",			false },
	{ "tmpfs",	"/tmp",			"mode=1777",			false },
	{ "tmpfs",	"/mnt",			"mode=755",			false },
};

/* A directory of the host that programs want to write to. */
struct guest_overlay {
	const char *target;
	const char *upper;
	const char *work;
	const char *options;
};

#define OVERLAY(name) {							\
	"/" name, OVERLAYS "/" name "/upper", OVERLAYS "/" name "/work",	\
	"lowerdir=/" name ",upperdir=" OVERLAYS "/" name "/upper"	\
	",workdir=" OVERLAYS "/" name "/work,xino=off" }

static const struct guest_overlay overlays[] = { OVERLAY("etc"), OVERLAY("var") };

/* Names that programs expect in /dev and devtmpfs does not make. */
static const char * const dev_links[][2] = {
	{ "/proc/self/fd",	"/dev/fd" },
	{ "/proc/self/fd/0",	"/dev/stdin" },
	{ "/proc/self/fd/1",	"/dev/stdout" },
	{ "/proc/self/fd/2",	"/dev/stderr" },
};

/* One output of the command: a pipe, and the host's file it goes to. */
struct stream {
	int pipe;	/* read end */
	int file;
};

/* Ends the machine. The host's QEMU exits at a reset. */
static void __attribute__((noreturn)) power_off(void)
{
	sync();
	reboot(RB_AUTOBOOT);
	/* Exiting from PID 1 is a kernel panic, which the host notices too. */
	exit(EXIT_FAILURE);
}

/* Says on the console what failed, with errno's reason; powers off. */
static void __attribute__((noreturn, format(printf, 1, 2)))
die(const char *format, ...)
{
	int err = errno;
	va_list args;

	dprintf(STDERR_FILENO, "vm-init: ");
	va_start(args, format);
	vdprintf(STDERR_FILENO, format, args);
	va_end(args);
	dprintf(STDERR_FILENO, ": %s\n", strerror(err));
	power_off();
}

/* realloc() that doesn't fail. */
static void *xrealloc(void *old, size_t size)
{
	void *new = realloc(old, size);

	if (!new)
		die("cannot allocate %zu bytes", size);
	return new;
}

/* Makes the directory @path and those above it that don't exist. */
static void make_directories(const char *path)
{
	char buf[PATH_MAX];
	char *slash;

	if (snprintf(buf, sizeof(buf), "%s", path) >= (int)sizeof(buf)) {
		errno = ENAMETOOLONG;
		die("%s", path);
	}
	for (slash = strchr(buf + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(buf, 0755);	/* the last one tells */
		*slash = '/';
	}
	if (mkdir(buf, 0755) && errno != EEXIST)
		die("cannot make the directory %s", buf);
}

static void mount_or_die(const char *source, const char *target, const char *type,
			 unsigned long flags, const char *options)
{
	if (!mount(source, target, type, flags, options))
		return;
	if (errno == ENODEV)
		die("cannot mount on %s, the kernel lacks the file system %s", target, type);
	die("cannot mount %s (%s) on %s", source, type ? type : "bind", target);
}

/*
 * The whole content of the control file @name, with a NUL after it that is not
 * counted in *@size. The memory is never freed.
 */
static char *read_control(const char *name, size_t *size)
{
	char path[PATH_MAX];
	size_t room = 4096;
	char *buf = xrealloc(NULL, room);
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), CONTROL "/%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		die("cannot open %s", path);
	*size = 0;
	for (;;) {
		n = read(fd, buf + *size, room - *size - 1);
		if (n < 0)
			die("cannot read %s", path);
		if (!n)
			break;
		*size += n;
		if (*size == room - 1) {
			room *= 2;
			buf = xrealloc(buf, room);
		}
	}
	close(fd);
	buf[*size] = '\0';
	return buf;
}

/* The NUL-ended strings of the control file @name, as a NULL-ended array. */
static char **read_control_strings(const char *name)
{
	size_t size, count = 0, i;
	char *buf = read_control(name, &size);
	char **strings;
	char *s;

	for (i = 0; i < size; i++)
		count += !buf[i];
	strings = calloc(count + 1, sizeof(*strings));
	if (!strings)
		die("cannot hold %s in memory", name);
	for (i = 0, s = buf; i < count; i++, s += strlen(s) + 1)
		strings[i] = s;
	return strings;
}

/* Mounts what a program expects to find on a running system. */
static void mount_system(void)
{
	const struct guest_mount *m;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(guest_mounts); i++) {
		m = &guest_mounts[i];
		/* Fails where it exists already, and where mount() will tell why. */
		mkdir(m->target, 0755);
		if (m->optional)
			mount(m->type, m->target, m->type, 0, m->options);
		/* The kernel may have mounted devtmpfs by itself. */
		else if (mount(m->type, m->target, m->type, 0, m->options) && errno != EBUSY)
			mount_or_die(m->type, m->target, m->type, 0, m->options);
	}

	/* Not recursive: shows what the mounts above hide, /tmp for instance. */
	make_directories(HOST);
	mount_or_die("/", HOST, NULL, MS_BIND, NULL);

	for (i = 0; i < ARRAY_SIZE(overlays); i++) {
		make_directories(overlays[i].upper);
		make_directories(overlays[i].work);
		mount_or_die("overlay", overlays[i].target, "overlay", 0, overlays[i].options);
	}
	mount_or_die("tmpfs", "/var/tmp", "tmpfs", 0, "mode=1777");
	mkdir("/run/lock", 01777);

	for (i = 0; i < ARRAY_SIZE(dev_links); i++)
		if (symlink(dev_links[i][0], dev_links[i][1]) && errno != EEXIST)
			die("cannot make %s", dev_links[i][1]);

	make_directories(CONTROL);
	mount_or_die("control", CONTROL, "9p", 0, P9_OPTIONS);
}

/*
 * Makes a cgroup that stays. With the first one, the kernel replaces instructions
 * where it allocates memory, and QEMU's other CPUs do not always see that in time:
 * better now, while they have nothing to do.
 */
static void make_first_cgroup(void)
{
	int fd = open("/sys/fs/cgroup/cgroup.subtree_control", O_WRONLY | O_CLOEXEC);

	/* A kernel may lack cgroups, or count no memory. */
	if (fd < 0)
		return;
	if (write(fd, "+memory", 7) == 7)
		mkdir("/sys/fs/cgroup/first", 0755);
	close(fd);
}

/* Brings the loopback interface up; a kernel without IPv4 has none. */
static void loopback_up(void)
{
	struct ifreq ifr = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return;
	if (ioctl(fd, SIOCSIFFLAGS, &ifr))
		die("cannot bring up the interface lo");
	close(fd);
}

/*
 * Puts the shared directory in its place and enters the caller's directory,
 * also where a file system of the guest hides that.
 */
static void enter_directory(void)
{
	char source[PATH_MAX + sizeof(HOST)];
	size_t size;
	const char *cwd = read_control("cwd", &size);
	const char *share = read_control("share", &size);
	struct stat st;

	if (stat(cwd, &st)) {
		make_directories(cwd);
		snprintf(source, sizeof(source), HOST "%s", cwd);
		mount_or_die(source, cwd, NULL, MS_BIND, NULL);
	}
	if (stat(share, &st))
		make_directories(share);
	mount_or_die("share", share, "9p", 0, P9_OPTIONS);
	if (chdir(cwd))
		die("cannot enter the directory %s", cwd);
}

static void on_child(int sig)
{
	(void)sig;	/* it is enough that ppoll() returns */
}

/* A pipe whose write end is *@writer, and the control file @name. */
static struct stream open_stream(const char *name, int *writer)
{
	char path[PATH_MAX];
	struct stream s;
	int fds[2];

	snprintf(path, sizeof(path), CONTROL "/%s", name);
	s.file = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
	if (s.file < 0)
		die("cannot open %s", path);
	if (pipe2(fds, O_CLOEXEC))
		die("cannot make a pipe");
	s.pipe = fds[0];
	*writer = fds[1];
	return s;
}

/* Writes all @len bytes at @buf to @fd; an output that is lost ends the run. */
static void write_all(int fd, const char *buf, size_t len)
{
	ssize_t n;

	while (len) {
		n = write(fd, buf, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			die("cannot write the command's output to the host");
		buf += n;
		len -= n;
	}
}

/*
 * Moves what is in the pipe of @s, at most one buffer of it, to the host.
 * Returns false at the end, when all writers are gone.
 */
static bool move_output(struct stream *s)
{
	static char buf[65536];
	ssize_t n = read(s->pipe, buf, sizeof(buf));

	if (n < 0 && errno == EINTR)
		return true;
	if (n < 0)
		die("cannot read the command's output");
	write_all(s->file, buf, n);
	return n > 0;
}

/*
 * Collects the processes that ended. Returns true if @command was among them,
 * with its exit status as a shell would tell it in *@status.
 */
static bool reap(pid_t command, int *status)
{
	bool found = false;
	pid_t pid;
	int ws;

	while ((pid = waitpid(-1, &ws, WNOHANG)) > 0) {
		if (pid != command)
			continue;
		found = true;
		*status = WIFSIGNALED(ws) ? STATUS_SIGNAL + WTERMSIG(ws) : WEXITSTATUS(ws);
	}
	return found;
}

/* The command's own process, up to its exec. */
static void __attribute__((noreturn))
become_command(char **argv, char **env, int out, int err, const sigset_t *mask)
{
	int in = open("/dev/null", O_RDONLY | O_CLOEXEC);

	setsid();
	if (in < 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0)
		_exit(STATUS_CANNOT_RUN);
	sigprocmask(SIG_SETMASK, mask, NULL);
	environ = env;
	execvp(argv[0], argv);
	err = errno;
	dprintf(STDERR_FILENO, "vm: cannot run %s: %s\n", argv[0], strerror(err));
	_exit(err == ENOENT ? STATUS_NOT_FOUND : STATUS_CANNOT_RUN);
}

/*
 * Runs the command to its end, then ends all that it left behind. Returns its
 * exit status, or 128 plus the number of the signal that killed it.
 */
static int run_command(void)
{
	struct sigaction sa = { .sa_handler = on_child };
	struct stream streams[2];
	struct pollfd fds[2];
	sigset_t blocked, before;
	char **argv = read_control_strings("argv");
	char **env = read_control_strings("env");
	int out, err, status = 0;
	pid_t command;
	size_t i;

	sigemptyset(&blocked);
	sigaddset(&blocked, SIGCHLD);
	sigprocmask(SIG_BLOCK, &blocked, &before);
	sigaction(SIGCHLD, &sa, NULL);

	streams[0] = open_stream("stdout", &out);
	streams[1] = open_stream("stderr", &err);
	command = fork();
	if (command < 0)
		die("cannot fork");
	if (!command)
		become_command(argv, env, out, err, &before);
	close(out);
	close(err);

	for (i = 0; i < ARRAY_SIZE(streams); i++)
		fds[i] = (struct pollfd){ .fd = streams[i].pipe, .events = POLLIN };
	while (!reap(command, &status)) {
		/* SIGCHLD comes only here, so none is missed. */
		if (ppoll(fds, ARRAY_SIZE(fds), NULL, &before) < 0) {
			if (errno == EINTR)
				continue;
			die("cannot wait for the command");
		}
		for (i = 0; i < ARRAY_SIZE(streams); i++)
			if (fds[i].revents && !move_output(&streams[i]))
				fds[i].fd = -1;
	}

	/* A daemon may hold the pipes: only without it do they end. */
	kill(-1, SIGKILL);
	while (wait(NULL) > 0 || errno == EINTR)
		;
	for (i = 0; i < ARRAY_SIZE(streams); i++)
		while (move_output(&streams[i]))
			;
	return status;
}

/* Adds a line to what the host learns about the run. */
static void __attribute__((format(printf, 1, 2))) tell_host(const char *format, ...)
{
	int fd = open(CONTROL "/status", O_WRONLY | O_APPEND | O_CLOEXEC);
	va_list args;

	va_start(args, format);
	if (fd < 0 || vdprintf(fd, format, args) < 0 || close(fd))
		die("cannot tell the host the exit status");
	va_end(args);
}

/*
 * The number of mounts there are, and in *@paths where they are, the oldest
 * first. The memory is never freed.
 */
static size_t list_mounts(char ***paths)
{
	FILE *f = setmntent("/proc/self/mounts", "r");
	struct mntent *m;
	size_t count;

	if (!f)
		die("cannot read /proc/self/mounts");
	*paths = NULL;
	for (count = 0; (m = getmntent(f)); count++) {
		*paths = xrealloc(*paths, (count + 1) * sizeof(**paths));
		(*paths)[count] = strdup(m->mnt_dir);
		if (!(*paths)[count])
			die("cannot hold the list of mounts in memory");
	}
	endmntent(f);
	return count;
}

/*
 * Unmounts what the command left mounted beyond the first @keep mounts, the
 * last one first, so that the kernel can complain about what is leaked there.
 */
static void unmount_beyond(size_t keep)
{
	char **paths;
	size_t count = list_mounts(&paths);
	int tries;

	while (count-- > keep) {
		for (tries = UNMOUNT_TRIES; umount2(paths[count], UMOUNT_NOFOLLOW); tries--) {
			if (errno != EBUSY || !tries) {
				dprintf(STDERR_FILENO, "vm-init: cannot unmount %s: %s\n",
					paths[count], strerror(errno));
				break;
			}
			usleep(UNMOUNT_WAIT_US);
		}
	}
}

/* Has a kernel with kmemleak look for leaks, and puts them into its log. */
static void report_leaks(void)
{
	int fd = open(KMEMLEAK, O_WRONLY | O_CLOEXEC);
	char *line = NULL;
	size_t room = 0;
	FILE *leaks;
	int log;

	if (fd < 0)
		return;
	/* The first scan finds what is not referenced, the second one confirms it. */
	if (write(fd, "scan", 4) < 0) {
		if (errno == EPERM)	/* switched off at boot */
			return;
		die("cannot scan for leaks");
	}
	sleep(KMEMLEAK_AGE);
	if (write(fd, "scan", 4) < 0)
		die("cannot scan for leaks");
	close(fd);

	leaks = fopen(KMEMLEAK, "re");
	log = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
	if (!leaks || log < 0)
		die("cannot report leaks");
	while (getline(&line, &room, leaks) > 0)
		dprintf(log, "<4>%s", line);
}

int main(void)
{
	char **paths;
	size_t mounts;

	umask(0);
	mount_system();
	umask(022);
	if (sethostname("vm", 2))
		die("cannot set the host name");
	make_first_cgroup();
	loopback_up();
	enter_directory();
	mounts = list_mounts(&paths);
	tell_host("%d\n", run_command());
	if (chdir("/"))
		die("cannot enter /");
	unmount_beyond(mounts);
	report_leaks();
	tell_host("end\n");
	power_off();
}
