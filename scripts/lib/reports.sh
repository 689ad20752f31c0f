# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# What in a kernel's log is a report of a fault. To be sourced.

# What makes a kernel log a failed run. Lockdep prints words like MAX_LOCKDEP at
# every boot, so these are the beginnings of reports and not just words. Only a
# WARNING that starts its line is one: "Spectre V2 : WARNING: ..." is advice.
REPORTS='^(\[[^]]*\])* ?WARNING:'
REPORTS+='|BUG:|kernel BUG at|Oops:|Kernel panic|general protection fault'
REPORTS+='|INFO: .*(blocked|stall|possible|trying to register non-static key)'
REPORTS+='|KASAN:|KCSAN:|UBSAN:|bad unlock balance'
REPORTS+='|unreferenced object|new suspected memory leaks'

# Functions of the series; those that are inlined are named by their callers
OURS='mapping_alias|ioctl_mapping|inode_(deny|allow)_write'
OURS+='|iomap_identical|xfs_fs_mapping_identical'

# races LOG: the data races on the console in which one of them takes part, and the
# first line of each report that is of something else than a race
races()
{
	tr -d '\r' < "$1" | REPORTS=$REPORTS awk -v ours="$OURS" '
	/BUG: KCSAN: / { report = ""; found = 0; inside = 1 }
	$0 ~ ENVIRON["REPORTS"] && !/BUG: KCSAN: / { print }
	!inside { next }
	$0 ~ ours { found = 1 }
	!/={20}/ { report = report $0 "\n"; next }
	{ if (found) printf "%s", report; inside = 0 }
	END { if (inside && found) printf "%s", report }'
}
