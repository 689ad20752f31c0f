# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# What in a kernel's log is a report of a fault. To be sourced after tap.sh.

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
OURS+='|iomap_identical|xfs_fs_mapping_identical|btrfs_mapping_identical'

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

# log_result CONFIG STATUS LOG: the kernel log, as a test of its own, after scripts/vm
# has ended with that status and left that console. From 123 on no end was reached, or
# there is a report; the latter can be of a run in which programs failed as well.
# With KCSAN only the reports that races() chooses count.
log_result()
{
	local config=$1 status=$2 log=$3 found

	found=$(< "$log.reports")
	if [[ $config == kcsan ]]; then
		found=$(races "$log")
		((status != 123)) || status=0
		[[ -z $found ]] || printf '# %s\n' "${found//$'\n'/$'\n# '}"
	fi
	if ((status >= 123)) || [[ $found ]]; then
		tap_result 1 "kernel log of the $config kernel (status $2, see $log)"
	else
		tap_result 0 "kernel log of the $config kernel"
	fi
	tap_end
}
