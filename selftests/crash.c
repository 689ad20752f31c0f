// SPDX-License-Identifier: GPL-2.0
/*
 * Crash a file system with aliases at a random moment, and see what is left.
 *
 *	crash --dev DEV --state DIR --until N [--fs xfs|btrfs] [--reset-every N]
 *	      [--kill-every N] [--seed N]
 *	crash --dev DEV --state DIR --self-test [--fs xfs|btrfs]
 *
 * Crash number N comes under a load of aliases, kept ones among them, of donors
 * and aliases that are unlinked while in use, and of changes to metadata and to
 * ordinary files.  It is a shutdown of the file system, the log flushed or not,
 * or, every so many times, a reset of the machine, or its end by whoever runs it;
 * then the next start goes on.  btrfs can't be shut down: each crash is one of the
 * machine.  Afterwards the log is recovered, and all that fsync() promised has to be
 * there.
 *
 * What was promised is kept in DIR, which has to survive the machine:
 *	done		number of crashes that were survived
 *	pending		there while a load runs or after a reset: its kind
 *	doomed		there while a load runs: the machine may be killed now
 *	journal-N	struct entry of process N, in order
 *
 * Every name has one process that changes its file, so a process knows what it
 * did; aliasing, releasing and reading go in every direction.  Before a change an
 * entry tells what is intended, and when fsync() has returned, one tells what is
 * promised.  What was intended since the last promise may be there or not.
 */
#include <signal.h>
#include <sys/xattr.h>

/* Where the load has its files. */
#define DIR MNT "/crash"

#include "load.h"

#define PROCESSES 4
#define ROOTS 4			/* never changed */
#define NAMES (ROOTS + 6 * PROCESSES)
#define MAX_BLOCKS 8
#define HANDLES 8

/* XFS_IOC_GOINGDOWN and its flags */
#define GOINGDOWN _IOR('X', 125, __u32)
#define LOG_FLUSH 1
#define NO_LOG_FLUSH 2
/* Not of XFS. */
#define RESET 3
#define KILL 4
#define KILL_SECONDS 300	/* nobody came until then */

struct state {
	__u32 blocks;	/* 0: no such file; else their number */
	__u32 ids[MAX_BLOCKS];
	__u32 mode, uid, xattr;
	__s64 mtime;		/* 0: not known */
};

struct entry {
	__u32 name;
	__u32 promised;	/* else intended */
	struct state state;
};

enum { ALIASED, ALIASED_KEPT, UNLINKED, BUSY, PROMISES, NR_COUNTS };

static const char *const count_names[] = {
	[ALIASED] = "aliases",
	[ALIASED_KEPT] = "kept",
	[UNLINKED] = "unlinked",
	[BUSY] = "busy",
	[PROMISES] = "promises",
};

static struct {
	struct state now[NAMES];	/* each belongs to one process */
	__u32 last_id;
	int down;
	int failed;
	unsigned long counts[NR_COUNTS];	/* of all loads since this start */
} *shared;

static const char *device, *state_dir;
static unsigned int seed = 1;
static int state_dir_fd, journal_fd = -1;
static bool in_the_air[NAMES];	/* a name that wasn't promised yet */
static bool without_aliases;	/* for the self-test */
static double patience = 60;	/* seconds for a load to do something of everything */

static void __noreturn __printf(1, 2) fail(const char *format, ...)
{
	va_list args;

	printf("# ");
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	fflush(stdout);
	shared->failed = 1;
	_exit(1);
}

/* When the file system is down, nothing is expected to work. */
#define need(condition) do {							\
	if (!(condition)) {							\
		if (__atomic_load_n(&shared->down, __ATOMIC_SEQ_CST))		\
			_exit(0);						\
		fail("%s:%d: %s, errno %d (%s)", __FILE__, __LINE__,		\
		     #condition, errno, strerror(errno));			\
	}									\
} while (0)

static __u32 new_id(void)
{
	return __atomic_add_fetch(&shared->last_id, 1, __ATOMIC_SEQ_CST);
}

static void count(int what)
{
	__atomic_add_fetch(&shared->counts[what], 1, __ATOMIC_SEQ_CST);
}

/*
 * The journal
 */

static void put_entry(int n, bool promised)
{
	struct entry e = { .name = n, .promised = promised, .state = shared->now[n] };

	if (write(journal_fd, &e, sizeof(e)) != sizeof(e))
		fail("journal: %s", strerror(errno));
}

static void open_journal(int process, int flags)
{
	char name[32];

	snprintf(name, sizeof(name), "journal-%d", process);
	journal_fd = openat(state_dir_fd, name, flags | O_CLOEXEC, 0600);
	if (journal_fd < 0 && errno != ENOENT)
		fail("%s/%s: %s", state_dir, name, strerror(errno));
}

/* A small number in a file of the state directory, 0 if there is none. */
static unsigned int get_number(const char *name)
{
	char text[16] = "";
	int fd = openat(state_dir_fd, name, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return 0;
	if (read(fd, text, sizeof(text) - 1) < 0)
		ksft_exit_fail_msg("%s/%s: %s\n", state_dir, name, strerror(errno));
	close(fd);
	return strtoul(text, NULL, 10);
}

static void set_number(const char *name, unsigned int n)
{
	char text[16];
	int fd = openat(state_dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	int len = snprintf(text, sizeof(text), "%u\n", n);

	if (fd < 0 || write(fd, text, len) != len)
		ksft_exit_fail_msg("%s/%s: %s\n", state_dir, name, strerror(errno));
	close(fd);
}

/*
 * The load
 */

static const mode_t modes[] = { 0755, 0700, 0644, 0400 };
static const uid_t owners[] = { 0, ALICE, BOB };

/* A file of the process's own that is there, or -1. */
static int own_name(struct rng *r, int process)
{
	int n = ROOTS + process + PROCESSES * below(r, (NAMES - ROOTS) / PROCESSES);

	return shared->now[n].blocks ? n : -1;
}

/*
 * A promise counts if the file system was there when it had been given: fsync() of
 * a directory succeeds after a shutdown as well, since xfs_dir_fsync() finds nothing
 * pinned any more.
 */
static void put_promise(int n)
{
	if (__atomic_load_n(&shared->down, __ATOMIC_SEQ_CST))
		_exit(0);
	put_entry(n, true);
	count(PROMISES);
}

static void sync_dir(void)
{
	int fd = open(DIR, O_RDONLY | O_CLOEXEC);

	need(fd >= 0 && !fsync(fd));
	close(fd);
}

/* What was done to the name becomes a promise, or stays in the air. */
static void promise_name(struct rng *r, int n)
{
	in_the_air[n] = one_in(r, 2);
	if (!in_the_air[n]) {
		sync_dir();
		put_promise(n);
	}
}

/* The same for the file, and then for its name as well. */
static void promise(struct rng *r, int n, int fd)
{
	if (one_in(r, 3))
		return;
	need(!(one_in(r, 4) ? syncfs(fd) : fsync(fd)));
	if (in_the_air[n])
		sync_dir();
	in_the_air[n] = false;
	put_promise(n);
}

/*
 * A clone of a root in the place of this name, with a block of its own at times.
 * What was there is unlinked, whoever uses it.
 */
static void replace(struct rng *r, int n)
{
	int from = n % ROOTS, fd, src;
	struct state state = shared->now[from];
	char temporary[sizeof(DIR) + 16], block[BLK];
	bool differs = one_in(r, 3);
	unsigned int b = below(r, state.blocks);

	state.mode = modes[below(r, ARRAY_SIZE(modes))];
	state.uid = owners[below(r, ARRAY_SIZE(owners))];
	state.mtime = 0;
	state.xattr = 0;
	if (differs)
		state.ids[b] = new_id();
	snprintf(temporary, sizeof(temporary), DIR "/new%d", n);
	fd = open(temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	src = open(path_of(from), O_RDONLY | O_CLOEXEC);
	need(fd >= 0 && src >= 0 && !ioctl(fd, FICLONE, src));
	if (differs) {
		fill_block(block, state.ids[b]);
		need(pwrite(fd, block, BLK, (off_t)b * BLK) == BLK);
	}
	need(!fchown(fd, state.uid, 0) && !fchmod(fd, state.mode) && !fsync(fd));
	close(src);
	shared->now[n] = state;
	put_entry(n, false);
	need(!rename(temporary, path_of(n)));
	count(UNLINKED);
	promise_name(r, n);
	close(fd);
}

static void remove_name(struct rng *r, int n)
{
	memset(&shared->now[n], 0, sizeof(shared->now[n]));
	put_entry(n, false);
	need(!unlink(path_of(n)));
	count(UNLINKED);
	promise_name(r, n);
}

static void change_metadata(struct rng *r, int n)
{
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT } };
	struct state *state = &shared->now[n];
	int fd = open(path_of(n), O_RDONLY | O_CLOEXEC);

	need(fd >= 0);
	switch (below(r, 4)) {
	case 0:
		state->mode = modes[below(r, ARRAY_SIZE(modes))];
		put_entry(n, false);
		need(!fchmod(fd, state->mode));
		break;
	case 1:
		state->uid = owners[below(r, ARRAY_SIZE(owners))];
		put_entry(n, false);
		need(!fchown(fd, state->uid, -1));
		break;
	case 2:
		times[1].tv_sec = 1000000000 + below(r, 1U << 30);
		state->mtime = times[1].tv_sec;
		put_entry(n, false);
		need(!futimens(fd, times));
		break;
	default:
		state->xattr = 1 + below(r, 1U << 30);
		put_entry(n, false);
		need(!fsetxattr(fd, "user.v", &state->xattr, sizeof(state->xattr), 0));
	}
	promise(r, n, fd);
	close(fd);
}

static void change_data(struct rng *r, int n)
{
	struct state *state = &shared->now[n];
	unsigned int b = below(r, state->blocks);
	char block[BLK];
	int fd;

	fd = open(path_of(n), O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		need(errno == ETXTBSY);
		count(BUSY);
		return;
	}
	state->ids[b] = new_id();
	state->mtime = 0;
	put_entry(n, false);
	fill_block(block, state->ids[b]);
	need(pwrite(fd, block, BLK, (off_t)b * BLK) == BLK);
	promise(r, n, fd);
	close(fd);
}

/* Files that are held open keep aliases, and unlinked donors, in use. */
static void alias(struct rng *r, int *handle)
{
	unsigned int flags = one_in(r, 2) ? KEEP : 0;
	int n = below(r, NAMES), fd, donor, err;

	fd = open(path_of(n), O_RDONLY | O_CLOEXEC);
	/* Another clone of the same root, or the root. */
	donor = open(path_of(n % ROOTS + ROOTS * below(r, NAMES / ROOTS)),
		     O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && donor >= 0) {
		err = alias_fd(fd, donor, flags);
		errno = -err;
		need(!err || err == -EBADE || err == -EBUSY || err == -EINVAL ||
		     err == -ENOENT || err == -ETXTBSY);
		if (!err)
			count(flags ? ALIASED_KEPT : ALIASED);
	}
	close(*handle);
	*handle = one_in(r, 2) ? fd : donor;
	close(*handle == fd ? donor : fd);
}

static void work(unsigned int crash, int process)
{
	struct rng r = { mix(mix(seed) + crash) + process };
	int handles[HANDLES], i, n;
	char buf[BLK];

	for (i = 0; i < HANDLES; i++)
		handles[i] = -1;
	open_journal(process, O_WRONLY | O_CREAT | O_APPEND);
	for (;;) {
		n = own_name(&r, process);
		i = below(&r, HANDLES);
		switch (below(&r, 16)) {
		case 0 ... 5:
			if (!without_aliases)
				alias(&r, &handles[i]);
			break;
		case 6:
		case 7:
			release_file(path_of(below(&r, NAMES)));
			break;
		case 8:
		case 9:
			/* Reading fails when all is down. */
			if (handles[i] >= 0)
				need(pread(handles[i], buf, BLK, 0) >= 0);
			break;
		case 10:
		case 11:
			if (n >= 0)
				change_metadata(&r, n);
			break;
		case 12:
			if (n >= 0) {
				release_file(path_of(n));
				change_data(&r, n);
			}
			break;
		case 13:
			if (n >= 0)
				remove_name(&r, n);
			break;
		default:
			replace(&r, ROOTS + process +
				    PROCESSES * below(&r, (NAMES - ROOTS) / PROCESSES));
		}
	}
}

/*
 * Afterwards
 */

/* Contents of a block, or 0 with *torn set if its sectors differ. */
static __u32 id_of(const char *block, const struct state *states, int nr_states,
		   unsigned int b, int n, bool *torn)
{
	__u32 id = 0, first = 0, s;
	char want[SECTOR];
	__u64 word;
	int i;

	for (s = 0; s < BLK / SECTOR; s++) {
		memcpy(&word, block + s * SECTOR, sizeof(word));
		id = word >> 32;
		fill_sector(want, id, s);
		if (memcmp(want, block + s * SECTOR, SECTOR))
			fail("f%d: block %u, sector %u is garbage (%llx)", n, b, s,
			     word);
		for (i = 0; i < nr_states && states[i].ids[b] != id; i++)
			;
		if (i == nr_states)
			fail("f%d: block %u, sector %u has contents %u, and should have %u", n, b,
			     s, id, states[nr_states - 1].ids[b]);
		if (s && id != first)
			*torn = true;
		first = id;
	}
	return id;
}

static void show(const char *what, const struct state *s)
{
	ksft_print_msg("%s: %u blocks, mode %o, uid %u, xattr %u, mtime %lld\n", what,
		       s->blocks, s->mode, s->uid, s->xattr, s->mtime);
}

/* Find @n as it may be: after the first of @states, all or nothing of the others. */
static void compare(int n, const struct state *states, int nr_states, bool *torn)
{
	struct state found = { };
	bool mode = false, uid = false, xattr = false, mtime = false, size = false;
	char block[BLK];
	struct stat st;
	unsigned int b;
	int fd, i;

	fd = open(path_of(n), O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		if (errno != ENOENT)
			fail("f%d: %s", n, strerror(errno));
	} else {
		if (fstat(fd, &st))
			fail("f%d: fstat: %s", n, strerror(errno));
		found.blocks = st.st_size / BLK;
		found.mode = st.st_mode & 07777;
		found.uid = st.st_uid;
		found.mtime = st.st_mtime;
		if (fgetxattr(fd, "user.v", &found.xattr, sizeof(found.xattr)) < 0 &&
		    errno != ENODATA)
			fail("f%d: fgetxattr: %s", n, strerror(errno));
	}
	for (i = 0; i < nr_states; i++) {
		size = size || states[i].blocks == found.blocks;
		mode = mode || states[i].mode == found.mode;
		uid = uid || states[i].uid == found.uid;
		xattr = xattr || states[i].xattr == found.xattr;
		mtime = mtime || !states[i].mtime || states[i].mtime == found.mtime;
	}
	if (!size || !mode || !uid || !xattr || !mtime) {
		show("found", &found);
		for (i = 0; i < nr_states; i++)
			show(i ? "intended" : "promised", &states[i]);
		fail("f%d is neither as promised nor as intended later", n);
	}
	for (b = 0; b < found.blocks; b++) {
		if (pread(fd, block, BLK, (off_t)b * BLK) != BLK)
			fail("f%d: read: %s", n, strerror(errno));
		found.ids[b] = id_of(block, states, nr_states, b, n, torn);
	}
	if (fd >= 0)
		close(fd);
	shared->now[n] = found;
}

/* What the journal says of @n: the last promise, and the intentions after it. */
static int states_of(int n, struct state **states)
{
	int process = (n - ROOTS) % PROCESSES, nr = 0;
	struct entry e;

	*states = NULL;
	open_journal(n < ROOTS ? PROCESSES : process, O_RDONLY);
	while (journal_fd >= 0 && read(journal_fd, &e, sizeof(e)) == sizeof(e)) {
		if ((int)e.name != n)
			continue;
		if (e.promised)
			nr = 0;
		*states = realloc(*states, (nr + 1) * sizeof(e.state));
		(*states)[nr++] = e.state;
	}
	close(journal_fd);
	return nr;
}

/* Everything, in a process that may fail. */
static bool all_as_promised(void)
{
	struct state *states;
	bool torn = false;
	pid_t pid;
	int n, nr, status;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		for (n = 0; n < NAMES; n++) {
			nr = states_of(n, &states);
			if (!nr)
				fail("f%d: nothing is known of it", n);
			compare(n, states, nr, &torn);
			if (torn) {
				/* Nothing that could be promised from now on. */
				if (unlink(path_of(n)))
					fail("f%d: unlink: %s", n, strerror(errno));
				memset(&shared->now[n], 0, sizeof(shared->now[n]));
				torn = false;
			}
			free(states);
		}
		_exit(0);
	}
	return pid > 0 && waitpid(pid, &status, 0) == pid && !status;
}

/*
 * One after the other
 */

static bool mount_dev(void)
{
	if (!mount(device, MNT, file_system->type, 0, NULL))
		return true;
	ksft_print_msg("mount: %s\n", strerror(errno));
	return false;
}

static bool umount_dev(void)
{
	if (!umount(MNT))
		return true;
	ksft_print_msg("umount: %s\n", strerror(errno));
	return false;
}

static void make_roots(void)
{
	char block[BLK];
	unsigned int b;
	int n, fd;

	shared->last_id = 1;
	if (command("%s %s", file_system->mkfs, device) || !mount_dev() || mkdir(DIR, DIR_MODE))
		ksft_exit_fail_msg("no file system on %s\n", device);
	for (n = 0; n < ROOTS; n++) {
		fd = open(path_of(n), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
		shared->now[n] = (struct state){ .blocks = 2 + 2 * n, .mode = 0755 };
		for (b = 0; fd >= 0 && b < shared->now[n].blocks; b++) {
			shared->now[n].ids[b] = new_id();
			fill_block(block, shared->now[n].ids[b]);
			if (write(fd, block, BLK) != BLK)
				ksft_exit_fail_msg("write: %s\n", strerror(errno));
		}
		if (fd < 0 || fsync(fd))
			ksft_exit_fail_msg("%s: %s\n", path_of(n), strerror(errno));
		close(fd);
	}
	sync();
}

/* What is on disk now is what has been promised before the next crash. */
static void begin_journal(void)
{
	__u32 b;
	int i, n;

	for (i = 0; i <= PROCESSES; i++) {
		open_journal(i, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND);
		for (n = 0; n < NAMES; n++) {
			if (i != (n < ROOTS ? PROCESSES : (n - ROOTS) % PROCESSES))
				continue;
			put_entry(n, true);
			for (b = 0; b < MAX_BLOCKS; b++)
				if (shared->last_id < shared->now[n].ids[b])
					shared->last_id = shared->now[n].ids[b];
		}
		close(journal_fd);
	}
}

static const char *const kinds[] = {
	[LOG_FLUSH] = "shutdown, log flushed",
	[NO_LOG_FLUSH] = "shutdown",
	[RESET] = "reset of the machine",
	[KILL] = "kill of the machine",
};

/* Something that no load has done since the start, or NULL. */
static const char *never_done(void)
{
	int i;

	for (i = 0; i < NR_COUNTS; i++)
		if (!__atomic_load_n(&shared->counts[i], __ATOMIC_SEQ_CST))
			return count_names[i];
	return NULL;
}

/* A load that does nothing finds nothing: let it last until all was done once. */
static bool all_were_done(void)
{
	double begin = now();

	while (never_done() && !shared->failed && now() - begin < patience)
		pause_ms(10);
	if (!never_done())
		return true;
	if (!shared->failed)
		ksft_print_msg("no %s: the load is none\n", never_done());
	return false;
}

/* Let the machine be killed; nobody returns from here if all is well. */
static void await_kill(void)
{
	double begin = now();

	set_number("doomed", 1);
	while (!shared->failed && now() - begin < KILL_SECONDS)
		pause_ms(10);
	unlinkat(state_dir_fd, "doomed", 0);
	if (!shared->failed)
		ksft_print_msg("nobody killed the machine\n");
}

/* Run the load and end it; after a reset or a kill nobody returns from here. */
static bool load(unsigned int crash, __u32 kind)
{
	struct rng r = { mix(mix(seed) + crash) };
	int fd = open(MNT, O_RDONLY | O_CLOEXEC), i, status;
	pid_t pids[PROCESSES];
	bool good;

	shared->down = 0;
	fflush(stdout);
	for (i = 0; i < PROCESSES; i++) {
		pids[i] = fork();
		if (!pids[i])
			work(crash, i);
	}
	if (kind != KILL)
		pause_ms(300 + below(&r, 2000));
	good = all_were_done();
	ksft_print_msg("%u: since the start %lu aliases, %lu kept, %lu unlinked, ",
		       crash, shared->counts[ALIASED], shared->counts[ALIASED_KEPT],
		       shared->counts[UNLINKED]);
	printf("%lu busy, %lu promises\n", shared->counts[BUSY],
	       shared->counts[PROMISES]);
	fflush(stdout);
	if (kind == KILL) {
		if (good)
			await_kill();
		good = false;
		kind = NO_LOG_FLUSH;
	}
	if (shared->failed)
		good = false;
	__atomic_store_n(&shared->down, 1, __ATOMIC_SEQ_CST);
	if (kind == RESET && good) {
		write_kernel("/proc/sysrq-trigger", "b");
		good = false;
	} else if (kind != RESET && !is_btrfs() && ioctl(fd, GOINGDOWN, &kind)) {
		ksft_print_msg("shutdown: %s\n", strerror(errno));
		good = false;
	}
	for (i = 0; i < PROCESSES; i++)
		kill(pids[i], SIGKILL);
	for (i = 0; i < PROCESSES; i++)
		waitpid(pids[i], &status, 0);
	close(fd);
	return umount_dev() && good;
}

static bool log_is_silent(int kmsg)
{
	char line[2048];
	bool silent = true;

	while (next_fault(kmsg, line)) {
		ksft_print_msg("kernel log: %s", line);
		silent = false;
	}
	return silent;
}

/* Recover, compare, check; leaves the file system mounted if all is well. */
static bool survived(int kmsg)
{
	bool good = mount_dev() && all_as_promised();

	return umount_dev() && good && !command("%s %s", file_system->check, device) &&
	       log_is_silent(kmsg) && mount_dev();
}

/* Is a broken promise noticed?  As if fsync() had promised what isn't there. */
static void self_test(void)
{
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_sec = 1000000000 } };
	struct timespec other[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_sec = 1000000001 } };
	const __u32 value = 1, wrong_value = 2;
	char byte, wrong;
	int fd, data_fd;

	ksft_print_header();
	ksft_set_plan(9);
	make_roots();
	/* A write changes the time as well: bytes of one, all else of another. */
	data_fd = open(path_of(0), O_RDWR | O_CLOEXEC);
	fd = open(path_of(2), O_RDONLY | O_CLOEXEC);
	shared->now[2].xattr = value;
	shared->now[2].mtime = times[1].tv_sec;
	if (fd < 0 || fsetxattr(fd, "user.v", &value, sizeof(value), 0) ||
	    futimens(fd, times) || pread(data_fd, &byte, 1, 700) != 1)
		ksft_exit_fail_msg("%s, %s: %s\n", path_of(0), path_of(2), strerror(errno));
	begin_journal();
	wrong = ~byte;
	ksft_test_result(all_as_promised(), "promises that were kept\n");
	ksft_test_result(!fchmod(fd, 0600) && !all_as_promised() && !fchmod(fd, 0755),
			 "a wrong mode is noticed\n");
	ksft_test_result(all_as_promised() && !fchown(fd, ALICE, -1) && !all_as_promised() &&
			 !fchown(fd, 0, -1), "a wrong owner is noticed\n");
	ksft_test_result(all_as_promised() &&
			 !fsetxattr(fd, "user.v", &wrong_value, sizeof(wrong_value), 0) &&
			 !all_as_promised() &&
			 !fsetxattr(fd, "user.v", &value, sizeof(value), 0),
			 "a wrong attribute is noticed\n");
	ksft_test_result(all_as_promised() && !futimens(fd, other) && !all_as_promised() &&
			 !futimens(fd, times), "a wrong time is noticed\n");
	ksft_test_result(all_as_promised() && pwrite(data_fd, &wrong, 1, 700) == 1 &&
			 !all_as_promised() && pwrite(data_fd, &byte, 1, 700) == 1,
			 "a wrong byte is noticed\n");
	ksft_test_result(all_as_promised() && !unlink(path_of(1)) && !all_as_promised(),
			 "a missing file is noticed\n");
	close(fd);
	close(data_fd);
	umount_dev();

	/* The same load twice, but once without the aliases. */
	shared->failed = 0;
	memset(shared->now, 0, sizeof(shared->now));
	make_roots();
	begin_journal();
	ksft_test_result(load(1, NO_LOG_FLUSH), "a load that does all\n");
	memset(shared->counts, 0, sizeof(shared->counts));
	memset(shared->now, 0, sizeof(shared->now));
	without_aliases = true;
	patience = 3;
	make_roots();
	begin_journal();
	ksft_test_result(!load(1, NO_LOG_FLUSH) && !shared->failed && !shared->counts[ALIASED],
			 "a load that makes no aliases is noticed\n");
	ksft_finished();
}

int main(int argc, char **argv)
{
	unsigned int done, until = 0, reset_every = 10, kill_every = 0, pending;
	bool good = true, test_self = false;
	int i, kmsg;

	for (i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--self-test")) {
			test_self = true;
			continue;
		}
		if (!strcmp(argv[i], "--fs"))
			choose_file_system(argv[i + 1]);
		else if (!strcmp(argv[i], "--dev"))
			device = argv[i + 1];
		else if (!strcmp(argv[i], "--state"))
			state_dir = argv[i + 1];
		else if (!strcmp(argv[i], "--until"))
			until = parse_number(argv[i], argv[i + 1]);
		else if (!strcmp(argv[i], "--reset-every"))
			reset_every = parse_number(argv[i], argv[i + 1]);
		else if (!strcmp(argv[i], "--kill-every"))
			kill_every = parse_number(argv[i], argv[i + 1]);
		else if (!strcmp(argv[i], "--seed"))
			seed = parse_number(argv[i], argv[i + 1]);
		else
			ksft_exit_fail_msg("unknown argument %s\n", argv[i]);
		i++;
	}
	if (!device || !state_dir || !reset_every)
		ksft_exit_fail_msg("say which device and where to keep the state\n");
	state_dir_fd = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (state_dir_fd < 0)
		ksft_exit_fail_msg("%s: %s\n", state_dir, strerror(errno));
	begin_mounts();
	shared = map_memory(sizeof(*shared), MAP_SHARED);
	kmsg = open_kmsg();
	if (test_self)
		self_test();

	done = get_number("done");
	pending = get_number("pending");
	if (!done && !pending)
		make_roots();
	else if (!pending && !mount_dev())
		return 1;
	/* Without a load that was cut off, see that all is as it was. */
	if (!pending && done)
		good = all_as_promised();
	while (good) {
		if (!pending) {
			if (done >= until)
				break;
			begin_journal();
			if (kill_every && !((done + 1) % kill_every))
				pending = KILL;
			else if (is_btrfs() || !((done + 1) % reset_every))
				pending = RESET;
			else
				pending = 1 + done % 2;
			set_number("pending", pending);
			good = load(done + 1, pending);
		}
		good = good && survived(kmsg);
		done++;
		printf("%s %u - %s\n", good ? "ok" : "not ok", done, kinds[pending]);
		fflush(stdout);
		if (good) {
			/* In this order: a crash in between is checked once more. */
			begin_journal();
			set_number("done", done);
			unlinkat(state_dir_fd, "pending", 0);
			pending = 0;
		}
	}
	return !good || (umount_dev() ? 0 : 1);
}
