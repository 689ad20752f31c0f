# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# Whether work that mounts disk images can be done here. To be sourced after
# common.sh.

# check_machine MEMORY DISK DIR: end with advice if this machine lacks what
# mounting XFS and overlayfs takes, MEMORY MiB to use, or DISK MiB in DIR
check_machine()
{
	local memory free module

	((EUID == 0)) || die "mounting disk images needs root: run it with sudo"
	[[ $(uname -m) == x86_64 ]] ||
		die "this is a machine of type $(uname -m), the kernels are for x86-64"
	for module in xfs overlay; do
		grep -qw "$module" /proc/filesystems || modprobe -q "$module" ||
			die "this machine's kernel has no $module to make file systems with:" \
				"take one that has, like Debian's"
	done
	[[ -e /dev/loop-control ]] || modprobe -q loop ||
		die "there are no loop devices here to mount disk images with:" \
			"take a machine, or a container, that has them"
	memory=$(awk '/^MemAvailable:/ { print int($2 / 1024) }' /proc/meminfo)
	((memory >= $1)) ||
		die "$memory MiB of memory are available, and $1 MiB are needed:" \
			"end other programs, or take a larger machine"
	mkdir -p "$3"
	free=$(df -P -k "$3" | awk 'NR == 2 { print int($4 / 1024) }')
	((free >= $2)) ||
		die "$free MiB of disk are free in $3, and $2 MiB are needed even if the" \
			"kernels have been built: make room, or set REFALIAS_CACHE=DIR"
}
