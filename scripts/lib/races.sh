# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# Reading what KCSAN reports. To be sourced.

# Functions of the series; those that are inlined are named by their callers
OURS='mapping_alias|ioctl_mapping|inode_(deny|allow)_write'
OURS+='|iomap_identical|xfs_fs_mapping_identical'

# races LOG: the data races on the console in which one of them takes part
races()
{
	tr -d '\r' < "$1" | awk -v ours="$OURS" '
	/BUG: KCSAN: / { report = ""; found = 0; inside = 1 }
	!inside { next }
	$0 ~ ours { found = 1 }
	!/={20}/ { report = report $0 "\n"; next }
	{ if (found) printf "%s", report; inside = 0 }
	END { if (inside && found) printf "%s", report }'
}
