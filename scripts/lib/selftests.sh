# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# Building the selftests out of tree. To be sourced after common.sh.

# For scripts/vm: what some tests need of the kernel, AppArmor and a device with DAX
# shellcheck disable=SC2034 # for those who source this
SELFTEST_CMDLINE="lsm=landlock,apparmor memmap=320M!1G"

# make_selftests OUT ARG...: make in selftests/, where OUT is for what is built
make_selftests()
{
	local out=$1 tree

	shift
	tree=$("$REPO/scripts/kernel" path)
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

# list_selftests OUT: the programs that run on any kernel with the series, a line each
list_selftests()
{
	# shellcheck disable=SC2016 # for make to expand
	make_selftests "$1" --eval='names: ; @printf "%s\n" $(notdir $(TEST_GEN_PROGS))' names
}
