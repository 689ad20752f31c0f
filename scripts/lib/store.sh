# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# Disks with stores of podman, made on this machine for use in a VM. To be sourced after
# common.sh.

MOUNTS=/run/refalias-store

# in_namespace ARG...: start the script again with these arguments, in a mount namespace
# of its own: there no mount can be left behind, however it ends
in_namespace()
{
	[[ ${STORE_NAMESPACE:-} != private ]] || return 0
	STORE_NAMESPACE=private exec unshare --mount --propagation private "$0" "$@"
}

# open_store DISK FS SIZE: make a disk with a file system and mount it; no packages can
# be installed into trees from then on
open_store()
{
	truncate -s "$3" "$1"
	case $2 in
	xfs)	mkfs.xfs -q -m reflink=1 "$1" ;;
	btrfs)	mkfs.btrfs -q "$1" > "$1.mkfs" ;;
	esac
	# What podman writes outside of the store stays in the namespace, too.
	mountpoint -q "$MOUNTS" || {
		mount -t tmpfs tmpfs /run
		mount -t tmpfs tmpfs /var/lib
		mkdir "$MOUNTS"
		mount -t tmpfs tmpfs "$MOUNTS"
	}
	mkdir -p "$MOUNTS/store"
	mount -o loop "$1" "$MOUNTS/store" ||
		die "can't mount $2 through a loop device here"
}

# store_podman COMMAND...: podman on what is open
store_podman()
{
	CONTAINERS_CONF=/dev/null TMPDIR=$WORK \
		podman --root "$MOUNTS/store/graph" --runroot "$MOUNTS/run" \
		--tmpdir "$MOUNTS/tmp" --storage-driver overlay \
		--events-backend none "$@"
}

# import_image ARCHIVE NAME: as an image of one layer
import_image()
{
	say "$2: importing it into the store"
	store_podman import --quiet "$1" "localhost/$2" > /dev/null
}

# close_store: the disk is complete, and may be moved
close_store()
{
	# podman's database tells of this machine; the store is complete without it.
	rm -rf "$MOUNTS/store/graph/libpod" "$MOUNTS/run" "$MOUNTS/tmp"
	# podman may have mounted parts of it once more.
	umount -R "$MOUNTS/store"
}

# file_hashes TREE: hash and name of each regular file, sorted
file_hashes()
{
	(cd "$1" && find . -type f -print0 | xargs -0 sha256sum -z) | LC_ALL=C sort -z
}

# python_times TREE: name and time of each of Python's files, sorted
python_times()
{
	(cd "$1" && find . -type f -name '*.py' -printf '%p %T@\0') | LC_ALL=C sort -z
}

# common_files TREE OTHER: names of the files that both have. Python's need the same time,
# too: what was compiled from them has it, and they would be compiled again.
common_files()
{
	# 64 digits and two spaces before the name
	LC_ALL=C comm -z -12 <(file_hashes "$1") <(file_hashes "$2") | cut -z -c 67- |
		LC_ALL=C sort -z | LC_ALL=C comm -z -23 - <(python_changed "$@")
}

# python_changed TREE OTHER: names of those whose time is another
python_changed()
{
	LC_ALL=C comm -z -23 <(python_times "$1") <(python_times "$2") |
		sed -z 's/ [0-9.]*$//' | LC_ALL=C sort -z
}
