# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# Building the selftests out of tree, and running them. To be sourced after common.sh.

# make_selftests OUT ARG...: make in selftests/, where OUT is for what is built. They are
# the same for all series: the harness and the header are taken from one tree.
make_selftests()
{
	local out=$1 tree

	shift
	tree=$("$REPO/scripts/kernel" path)
	[[ -e $tree/include/uapi/linux/mapping_alias.h ]] || "$REPO/scripts/kernel" import
	make -s -C "$REPO/selftests" KSFT_ROOT="$tree/tools/testing/selftests" OUTPUT="$out" "$@"
}

# build_selftests OUT: all programs
build_selftests()
{
	mkdir -p "$1"
	make_selftests "$1" all > "$1/make.log" 2>&1 || {
		cat "$1/make.log" >&2
		die "the selftests can't be compiled"
	}
}

# selftest_vm IMAGE CMDLINE ARG...: scripts/vm as the tests need it, with ARG... and more
# options for the kernel: an empty disk, AppArmor, and a part of the memory with DAX
selftest_vm()
{
	local image=$1 cmdline=$2

	shift 2
	"$REPO/scripts/vm" --kernel "$image" --memory 3G --disk 2G \
		--cmdline "lsm=landlock,apparmor memmap=320M!1G $cmdline" \
		--env MAPPING_ALIAS_DEV=/dev/vda "$@"
}

# list_selftests OUT: the programs that run on any kernel with the series, a line each
list_selftests()
{
	# shellcheck disable=SC2016 # for make to expand
	make_selftests "$1" --eval='names: ; @printf "%s\n" $(notdir $(TEST_GEN_PROGS))' names
}
