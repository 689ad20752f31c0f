# shellcheck shell=bash disable=SC2034
# SPDX-License-Identifier: GPL-2.0
#
# What the scripts have in common. To be sourced, after set -euo pipefail. (Not
# all of them use all of it: SC2034.)

REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
PROG=scripts/$(basename "$0")

# Everything big or slow to make is kept here, outside of the checkout.
CACHE=${REFALIAS_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/refalias}

# say TEXT...: tell what is going on. On stderr, because stdout is for results.
say()
{
	printf '%s: %s\n' "$PROG" "$*" >&2
}

# die TEXT...: say what failed and what to do about it, and end.
die()
{
	say "$@"
	exit 1
}

# usage_error TEXT...: the arguments are wrong. The script defines usage().
usage_error()
{
	say "$@"
	usage >&2
	exit 2
}

# check_fs NAME: is it a file system that has aliases? A usage error if not
check_fs()
{
	[[ $1 =~ ^(xfs|btrfs)$ ]] || usage_error "no such file system: $1 (there are: xfs, btrfs)"
}

# The series of patches that is meant if none is named
SERIES=6.12

# all_series: those that there are, one a line
all_series()
{
	(cd "$REPO/patches" && printf '%s\n' linux-*) | sed 's/^linux-//' | LC_ALL=C sort
}

# choose_series VERSION: let SERIES be that one, and PATCHES where it is. A usage error if
# there is none
choose_series()
{
	PATCHES=$REPO/patches/linux-$1
	[[ $1 =~ ^[0-9.]+$ && -d $PATCHES ]] ||
		usage_error "there is no series for Linux $1 (there are: $(all_series | xargs))"
	SERIES=$1
}

# duration SECONDS: as minutes and seconds
duration()
{
	printf '%d:%02d min' $(($1 / 60)) $(($1 % 60))
}

# take_lock FD MODE FILE: lock FILE on descriptor FD (MODE -s or -x) until the
# script ends or closes FD; tells if it has to wait.
take_lock()
{
	mkdir -p "$(dirname "$3")"
	eval "exec $1>>\"\$3\""
	flock -n "$2" "$1" && return
	say "waiting for another process that holds $3"
	flock "$2" "$1"
}
