# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# Checks of the patch series, as TAP. Sourced by scripts/kernel after
# kernel-build.sh and tap.sh. A check is a function
# check_NAME_WITH_UNDERSCORES: it prints what is wrong and fails, or succeeds
# silently.
#
# Warnings are compared with those of the unpatched tree, without line numbers:
# the series must add none.

QUICK_CHECKS=(apply copies checkpatch kernel-doc)
SLOW_CHECKS=(releases each-builds sparse option-off i386 arm64 kselftest htmldocs debian)
# The least of x86 on which the series can be built
SMALL=("$FRAGMENTS/small.config" "$FRAGMENTS/small-x86.config")

check_names()
{
	echo "${QUICK_CHECKS[*]} ${SLOW_CHECKS[*]}"
}

# touched GLOB...: files that the series changes or adds
touched()
{
	tgit diff --name-only --diff-filter=d "$BASE_TAG" HEAD -- "$@"
}

# touched_objects: what the C files of the kernel among them are compiled to
touched_objects()
{
	touched '*.c' ':!tools' | sed 's/c$/o/'
}

# A third work tree, to step through the series in; $1: the commit to be at
check_tree()
{
	work_tree "$TREE_CHECK" "$1"
	tgit -C "$TREE_CHECK" am --abort 2>/dev/null || true
	tgit -C "$TREE_CHECK" reset -q --hard
	tgit -C "$TREE_CHECK" clean -q -fd
	tgit -C "$TREE_CHECK" checkout -q --detach "$1"
}

# warnings LOG: the warnings in a build log, without line numbers, sorted
warnings()
{
	grep -E '(warning|error|WARNING|ERROR):|^Warning: ' "$1" |
		sed -E -e "s,($TREE_CHECK|$TREE)/,,g" -e 's,\.\./,,g' \
			-e 's/:[0-9]+(:[0-9]+)?:/:/g' | LC_ALL=C sort -u
}

# new_warnings BEFORE AFTER: those in the log AFTER that BEFORE has not; fails if any
new_warnings()
{
	local new

	new=$(LC_ALL=C comm -13 <(warnings "$1") <(warnings "$2"))
	[[ -z $new ]] || { printf '%s\n' "$new"; return 1; }
}

# check_config OBJ FRAGMENT...: configure the check tree, with the series' option
# as soon as there is one
check_config()
{
	local obj=$1

	shift
	grep -qs '^config MAPPING_ALIAS' "$TREE_CHECK/fs/Kconfig" &&
		set -- "$@" "$FRAGMENTS/patched.config"
	configure "$TREE_CHECK" "$obj" "$@"
}

# compile LOG MAKE_ARG...: fails after telling where its output is
compile()
{
	local log=$CHECK_LOGS/$1

	shift
	logged "$log" kmake "$TREE_CHECK" "$@" 2>&1
}

check_apply()
{
	local patch

	check_tree "$BASE_TAG"
	while read -r patch; do
		tgit -C "$TREE_CHECK" am -q "$patch" 2>&1 || return
	done < <(series_patches)
}

# The first point releases that have all that the series changes: before 6.12.111, btrfs
# has other names for its locks, and no stable pages
declare -A FIRST_RELEASE=([6.1]=6.1.170 [6.12]=6.12.111)

# Point releases move: it applies to each that Debian's archive has
check_releases()
{
	local source=linux-source-$SERIES dir=$TMP/release version rc=0
	local -a patches=() versions=()

	mapfile -t patches < <(series_patches)
	tgit diff --name-only --diff-filter=MD "$BASE_TAG" "$HEAD" |
		sed "s,^,$source/," > "$TMP/files"
	mapfile -t versions < <(apt-cache madison "$source" | cut -d '|' -f 2 | tr -d ' ')
	((${#versions[@]})) || { echo "apt knows no version of $source"; return 1; }
	for version in "${versions[@]}"; do
		dpkg --compare-versions "$version" ge "${FIRST_RELEASE[$SERIES]}" || continue
		rm -rf "$dir"
		mkdir -p "$dir/tree"
		logged "$CHECK_LOGS/releases" env -C "$dir" apt-get -o APT::Sandbox::User=root \
			download "$source=$version" || return
		dpkg-deb --fsys-tarfile "$dir"/*.deb | tar -xO "./usr/src/$source.tar.xz" |
			tar -xJ -C "$dir/tree" --strip-components=1 -T "$TMP/files" || return
		tgit -C "$dir/tree" init -q
		tgit -C "$dir/tree" add -A -f
		tgit -C "$dir/tree" commit -q -m "$version"
		if tgit -C "$dir/tree" am -q --ignore-whitespace "${patches[@]}" 2>&1; then
			say "it applies to $version"
		else
			echo "it does not apply to $version"
			rc=1
		fi
	done
	return "$rc"
}

check_copies_differ()
{
	(check_copies) 2>&1
}

check_checkpatch()
{
	local -a patches=()

	mapfile -t patches < <(series_patches)
	((${#patches[@]})) || return 0
	# PATH: its helper wants Debian's python3, which has the modules
	(cd "$TREE" && PATH=/usr/bin:$PATH perl scripts/checkpatch.pl --strict --quiet --show-types \
		--no-summary "${patches[@]}") 2>&1
}

check_kernel_doc()
{
	local -a files=()

	mapfile -t files < <(touched '*.c' '*.h' ':!tools')
	((${#files[@]})) || return 0
	check_tree "$BASE_TAG"
	(cd "$TREE_CHECK" && for file in "${files[@]}"; do
		[[ ! -e $file ]] || perl scripts/kernel-doc -none "$file" || true
	done) > "$CHECK_LOGS/kernel-doc-base" 2>&1
	check_tree "$HEAD"
	(cd "$TREE_CHECK" && perl scripts/kernel-doc -none "${files[@]}" || true) \
		> "$CHECK_LOGS/kernel-doc" 2>&1
	new_warnings "$CHECK_LOGS/kernel-doc-base" "$CHECK_LOGS/kernel-doc"
}

# Every commit makes a whole kernel, and no warnings with W=1
check_each_builds()
{
	local commit n=0 obj=$CHECK_OBJ-each rc=0

	check_tree "$BASE_TAG"
	check_config "$obj" "${SMALL[@]}"
	# From scratch: what is up to date gives no warnings to compare with
	compile each-0 "$obj" W=1 clean || return
	say "building the unpatched kernel and then each patch"
	compile each-0 "$obj" W=1 vmlinux || return
	for commit in $(tgit rev-list --reverse "$BASE_TAG..$HEAD"); do
		n=$((n + 1))
		check_tree "$commit"
		check_config "$obj" "${SMALL[@]}"
		compile "each-$n" "$obj" W=1 vmlinux &&
			new_warnings "$CHECK_LOGS/each-0" "$CHECK_LOGS/each-$n" || {
			echo "in patch $n, $(tgit log -1 --format=%s "$commit")"
			rc=1
		}
	done
	return "$rc"
}

check_sparse()
{
	local -a before=() after=()
	local object obj=$CHECK_OBJ-sparse

	mapfile -t after < <(touched_objects)
	((${#after[@]})) || return 0
	for object in "${after[@]}"; do
		! tgit cat-file -e "$BASE_TAG:${object%.o}.c" 2>/dev/null || before+=("$object")
	done
	check_tree "$BASE_TAG"
	check_config "$obj" "${SMALL[@]}"
	compile sparse-base "$obj" C=2 "${before[@]}" || return
	check_tree "$HEAD"
	check_config "$obj" "${SMALL[@]}"
	compile sparse "$obj" C=2 "${after[@]}" || return
	new_warnings "$CHECK_LOGS/sparse-base" "$CHECK_LOGS/sparse"
}

check_option_off()
{
	local obj=$CHECK_OBJ-off

	check_tree "$HEAD"
	configure "$TREE_CHECK" "$obj" "${SMALL[@]}"
	! grep -q '^CONFIG_MAPPING_ALIAS=' "$obj/.config" || { echo "the option is on by default"; return 1; }
	compile option-off "$obj" vmlinux
}

# cross ARCH PREFIX: compile what the series touches for another architecture,
# with no warnings
cross()
{
	local arch=$1 prefix=$2 obj=$CHECK_OBJ-$1
	local -a objects=()

	mapfile -t objects < <(touched_objects)
	((${#objects[@]})) || return 0
	check_tree "$HEAD"
	(
		export ARCH=$arch CROSS_COMPILE=$prefix
		check_config "$obj" "$FRAGMENTS/small.config"
		compile "$arch" "$obj" "${objects[@]}"
	) || return
	! warnings "$CHECK_LOGS/$arch" | grep .
}

check_i386()
{
	cross i386 i686-linux-gnu-
}

check_arm64()
{
	cross arm64 aarch64-linux-gnu-
}

# The selftests as the kernel tree builds its own, for which their own fragment is
# all that has to be configured
check_kselftest()
{
	local dir=tools/testing/selftests/filesystems/mapping_alias obj=$CHECK_OBJ-kselftest
	local -a sources=()
	local source

	check_tree "$HEAD"
	# It is that of all series, which not all have all of it
	cat "$FRAGMENTS"/linux-*.config | grep '^CONFIG_' | sort -u |
		grep -vxF -f "$FRAGMENTS/linux-$SERIES.config" > "$TMP/others" || :
	grep -vxF -f "$TMP/others" "$TREE_CHECK/$dir/config" > "$TMP/kselftest.config"
	check_config "$obj" "$FRAGMENTS/base.config" "$FRAGMENTS/linux-$SERIES.config" \
		"$FRAGMENTS/debug.config" "$TMP/kselftest.config"
	compile kselftest "$obj" TARGETS=filesystems/mapping_alias kselftest-all || return
	! warnings "$CHECK_LOGS/kselftest" | grep . || return
	mapfile -t sources < <(cd "$TREE_CHECK/$dir" && printf '%s\n' *.c)
	for source in "${sources[@]}"; do
		[[ -x $obj/kselftest/filesystems/mapping_alias/${source%.c} ]] ||
			{ echo "$dir/$source was not built"; return 1; }
	done
}

# htmldocs LOG COMMIT: make what documentation the series touches at COMMIT
htmldocs()
{
	check_tree "$2"
	# Without cached pages: only what is read again gives its warnings again
	rm -rf "$CHECK_OBJ-docs"
	compile "$1" "$CHECK_OBJ-docs" SPHINXDIRS="filesystems userspace-api" htmldocs
}

check_htmldocs()
{
	local page=Documentation/filesystems/mapping-alias.rst

	tgit cat-file -e "$HEAD:$page" 2>/dev/null || { echo "there is no $page"; return 1; }
	htmldocs htmldocs-base "$BASE_TAG" || return
	htmldocs htmldocs "$HEAD" || return
	find "$CHECK_OBJ-docs/Documentation/output" -name mapping-alias.html | grep -q . ||
		{ echo "no page was made from $page"; return 1; }
	new_warnings "$CHECK_LOGS/htmldocs-base" "$CHECK_LOGS/htmldocs"
}

# An installable package from Debian's configuration, cut down to a few modules, of
# which the file systems are some
check_debian()
{
	local dir=$CHECK_OBJ-debian deb file

	check_tree "$HEAD"
	mkdir -p "$dir"
	xzcat "/usr/src/linux-config-$SERIES/config.amd64_none_cloud-amd64.xz" > "$dir/.config"
	printf '%s 1 0\n' Module xfs btrfs overlay loop virtio_blk virtio_net ext4 > "$dir/lsmod"
	compile debian-config "$dir" olddefconfig || return
	# It asks for what it can't find out: the default is right
	kmake "$TREE_CHECK" "$dir" LSMOD="$dir/lsmod" localmodconfig < <(yes '') \
		> "$CHECK_LOGS/debian-config" 2>&1 || return
	"$TREE/scripts/config" --file "$dir/.config" --disable DEBUG_INFO_DWARF_TOOLCHAIN_DEFAULT \
		--enable DEBUG_INFO_NONE
	deb=$(build_deb "$dir/.config") || return
	dpkg-deb -c "$deb" > "$dir/list" || return
	for file in '/boot/vmlinuz-[^ ]*-refalias$' '/kernel/fs/xfs/xfs\.ko' \
		'/kernel/fs/btrfs/btrfs\.ko'; do
		grep -qE "$file" "$dir/list" || { echo "$deb has no $file"; return 1; }
	done
	dpkg-deb --fsys-tarfile "$deb" | tar -xO --wildcards './boot/config-*' |
		grep -qx CONFIG_MAPPING_ALIAS=y ||
		{ echo "the kernel in $deb was configured without the series"; return 1; }
}

# check_series NAME...: run all checks, or those named
check_series()
{
	local -a names=("$@")
	local name status output start function

	tree_is_git && tgit rev-parse -q --verify "$BASE_TAG" >/dev/null ||
		die "$TREE has no tag $BASE_TAG that names the commit before the series"
	HEAD=$(tgit rev-parse HEAD)
	TREE_CHECK=$CACHE/linux-$TREE_NAME-check
	CHECK_OBJ=$CACHE/obj/$TREE_NAME-check
	CHECK_LOGS=$CACHE/obj/$TREE_NAME-check-logs
	if ((${#names[@]} == 0)); then
		names=("${QUICK_CHECKS[@]}")
		((QUICK)) || names+=("${SLOW_CHECKS[@]}")
	fi
	for name in "${names[@]}"; do
		[[ " $(check_names) " == *" $name "* ]] ||
			usage_error "no such check: $name (there are: $(check_names))"
	done
	mkdir -p "$CHECK_LOGS"
	take_lock 9 -x "$TREE_CHECK.lock"

	echo "TAP version 13"
	echo "1..${#names[@]}"
	for name in "${names[@]}"; do
		start=$SECONDS
		function=check_${name//-/_}
		[[ $name != copies ]] || function=check_copies_differ
		# Not as a condition: then set -e would have no effect in there
		set +e
		output=$(set -e; $function)
		status=$?
		set -e
		tap_result $status "$name"
		[[ -z $output ]] || printf '%s\n' "$output" | sed 's/^/# /'
		say "$name took $(duration $((SECONDS - start)))"
	done
	return $TAP_FAILED
}
