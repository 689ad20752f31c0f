# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# Building the kernel. Sourced by scripts/kernel after kernel-tree.sh.

# shellcheck disable=SC2034 # not all of the scripts use it
CONFIGS=(release debug kcsan kmemleak)
FRAGMENTS=$REPO/scripts/config
# How many built kernels are kept; one takes about 15 MB
KEEP_IMAGES=36

# kmake SRC OBJ ARG...: make in a kernel tree. Nothing that changes from one
# build to the next gets into the result.
kmake()
{
	local src=$1 obj=$2 cc=${CROSS_COMPILE:-}gcc

	shift 2
	if command -v ccache >/dev/null; then
		export CCACHE_DIR=$CACHE/ccache
		cc="ccache $cc"
	fi
	nice make -C "$src" O="$obj" -j$(($(nproc) + 1)) CC="$cc" LOCALVERSION= \
		KBUILD_BUILD_TIMESTAMP=@0 KBUILD_BUILD_VERSION=1 \
		KBUILD_BUILD_USER=refalias KBUILD_BUILD_HOST=localhost "$@"
}

# Show how long the log grows, as long as this script runs
progress()
{
	local start=$SECONDS

	while kill -0 $$ 2>/dev/null; do
		printf '\r%6d steps, %s ' "$(wc -l < "$1")" "$(duration $((SECONDS - start)))" >&2
		sleep 1
	done
}

# Objects of these directories are compiled without their tracepoints, which
# nothing here uses: the headers that define them take longer to compile than
# all else in there.
# shellcheck disable=SC2016 # it's make that expands this
NO_TRACEPOINTS='$(if $(filter fs/xfs fs/ext4,$(obj)),-DNOTRACE)'

# kmake_image SRC OBJ: the kernel as it is booted here
kmake_image()
{
	kmake "$1" "$2" CFLAGS_KERNEL="$NO_TRACEPOINTS" bzImage
}

# logged LOG COMMAND...: run COMMAND with its output in LOG, on a terminal with
# a counter of its lines; if it fails, show what went wrong.
logged()
{
	local log=$1 status=0 ticker=

	shift
	mkdir -p "$(dirname "$log")"
	: > "$log"
	if [[ -t 2 ]]; then
		progress "$log" &
		ticker=$!
	fi
	"$@" > "$log" 2>&1 < /dev/null || status=$?
	if [[ $ticker ]]; then
		kill "$ticker"
		wait "$ticker" 2>/dev/null || :
		printf '\r\033[K' >&2
	fi
	((status)) || return 0
	# The first error can be far from the end: other jobs go on for a while
	{
		grep -E -m 10 -B 2 -A 8 '(error|Error [0-9]+|\*\*\*|undefined reference)' "$log" ||
			tail -n 40 "$log"
	} >&2
	say "$* failed; all of its output is in $log"
	return 1
}

# configure SRC OBJ FRAGMENT...: write OBJ/.config and make sure that all that
# the fragments ask for is in it. It isn't touched if nothing changed.
configure()
{
	local src=$1 obj=$2 want=$TMP/config fragment line name missing=()

	shift 2
	rm -rf "$want"
	mkdir -p "$want" "$obj"
	for fragment; do
		[[ -r $fragment ]] || die "$fragment is missing"
	done
	(cd "$src" && MAKEFLAGS='' \
		bash scripts/kconfig/merge_config.sh -m -O "$want" "$@") > "$want/log" 2>&1 ||
		{ cat "$want/log" >&2; die "can't merge the configuration fragments"; }
	logged "$want/log" kmake "$src" "$obj" KCONFIG_ALLCONFIG="$want/.config" \
		KCONFIG_CONFIG="$want/new" allnoconfig || exit 1
	while read -r line; do
		grep -qxF -- "$line" "$want/new" && continue
		name=${line%%=*}
		[[ $line != *=n ]] || { grep -q "^$name=" "$want/new" || continue; }
		missing+=("$line")
	done < <(grep '^CONFIG_' "$want/.config")
	if ((${#missing[@]})); then
		die "the kernel in $src can't be configured with: ${missing[*]}" \
			"(unknown, or something that it depends on is off; see $FRAGMENTS)"
	fi
	cmp -s "$want/new" "$obj/.config" || cp "$want/new" "$obj/.config"
}

# source_hash SRC: names everything in the work tree that a kernel is built from,
# committed or not
source_hash()
{
	local index=$TMP/hash-index

	cp "$(tgit -C "$1" rev-parse --absolute-git-dir)/index" "$index"
	(
		export GIT_INDEX_FILE=$index
		tgit -C "$1" add -A
		tgit -C "$1" rm -q -r --cached --ignore-unmatch -- Documentation tools/testing
		tgit -C "$1" write-tree
	)
	rm -f "$index"
}

# image_key SRC FRAGMENT...: names a kernel by all that goes into it
image_key()
{
	local src=$1 hash

	shift
	hash=$(source_hash "$src")
	{
		echo "$hash"
		gcc --version
		declare -f kmake kmake_image configure
		echo "$NO_TRACEPOINTS"
		cat "$@"
	} | sha256sum | cut -c 1-16
}

# choose_kernel CONFIG WHAT: what such a kernel is built from, and where. WHAT is patched,
# disabled (the series applied, its option off) or unpatched. Sets src, name, obj and
# fragments, which are the caller's.
choose_kernel()
{
	src=$TREE
	fragments=("$FRAGMENTS/base.config" "$FRAGMENTS/linux-$SERIES.config"
		"$FRAGMENTS/$1.config")
	if [[ $2 == unpatched ]]; then
		src=$TREE_UNPATCHED
		take_lock 8 -x "$TREE.lock"
		unpatched_tree "$src"
		exec 8>&-
	elif [[ $2 == patched ]]; then
		fragments+=("$FRAGMENTS/patched.config")
	fi
	name=$TREE_NAME-$1-$2
	obj=$CACHE/obj/$name
}

# build_objects CONFIG WHAT FILE...: compile these files only and print the directory
build_objects()
{
	local src name obj
	local -a fragments

	choose_kernel "$1" "$2"
	shift 2
	take_lock 9 -x "$CACHE/obj/$name.lock"
	configure "$src" "$obj" "${fragments[@]}"
	logged "$obj.log" kmake "$src" "$obj" CFLAGS_KERNEL="$NO_TRACEPOINTS" "$@" || exit 1
	printf '%s\n' "$obj"
}

# build_image CONFIG WHAT: build and print the path of the bzImage
build_image()
{
	local config=$1 what=$2 src name obj image key start guess
	local -a fragments

	choose_kernel "$config" "$what"
	if ! tree_is_git; then
		# No way to name its state: let make find what is new
		take_lock 9 -x "$CACHE/obj/$name.lock"
		image=$CACHE/images/$name/bzImage
		make_image "$src" "$obj" "$image" "${fragments[@]}"
		printf '%s\n' "$image"
		return
	fi

	key=$(image_key "$src" "${fragments[@]}")
	image=$CACHE/images/$name-$key/bzImage
	if [[ ! -e $image ]]; then
		take_lock 9 -x "$CACHE/obj/$name.lock"
	fi
	while [[ ! -e $image ]]; do
		guess='10 to 40'
		[[ -e $obj/vmlinux.o ]] && guess='1 to 40'
		say "building the $what $config kernel, $guess minutes on 2 cores; log: $obj.log"
		start=$SECONDS
		make_image "$src" "$obj" "$TMP/bzImage" "${fragments[@]}"
		say "built the $what $config kernel in $(duration $((SECONDS - start)))"
		# Somebody may have edited the source meanwhile
		if [[ $(image_key "$src" "${fragments[@]}") == "$key" ]]; then
			mkdir -p "$(dirname "$image")"
			mv "$TMP/bzImage" "$image.new"
			cp "$obj/.config" "$(dirname "$image")/config"
			mv "$image.new" "$image"
		else
			say "$src changed during the build: building again"
			key=$(image_key "$src" "${fragments[@]}")
			image=$CACHE/images/$name-$key/bzImage
		fi
	done
	touch "$(dirname "$image")"
	prune_images
	printf '%s\n' "$image"
}

make_image()
{
	local src=$1 obj=$2 image=$3

	shift 3
	configure "$src" "$obj" "$@"
	logged "$obj.log" kmake_image "$src" "$obj" || exit 1
	mkdir -p "$(dirname "$image")"
	cp "$obj/arch/x86/boot/bzImage" "$image"
}

# Remove the built kernels that were not asked for since the last $KEEP_IMAGES
prune_images()
{
	local -a dirs=()
	local dir

	mapfile -t dirs < <(find "$CACHE/images" -mindepth 1 -maxdepth 1 -type d -printf '%T@ %p\n' |
		sort -rn | cut -d ' ' -f 2-)
	for dir in "${dirs[@]:$KEEP_IMAGES}"; do
		rm -rf "$dir"
	done
}

# build_deb CONFIG_FILE: make a linux-image package from the user's own
# configuration and print its path
build_deb()
{
	local config=$1 obj=$CACHE/obj/$TREE_NAME-deb/build dir deb key
	local out=$REPO/build/deb

	dir=$(dirname "$obj")
	mkdir -p "$obj" "$out"
	take_lock 9 -x "$dir.lock"
	cp "$config" "$obj/.config"
	"$TREE/scripts/config" --file "$obj/.config" --enable MAPPING_ALIAS \
		--set-str LOCALVERSION -refalias --disable LOCALVERSION_AUTO
	# A distribution's configuration names files that only its own build has
	for key in SYSTEM_TRUSTED_KEYS SYSTEM_REVOCATION_KEYS; do
		"$TREE/scripts/config" --file "$obj/.config" --set-str "$key" ''
	done
	"$TREE/scripts/config" --file "$obj/.config" --set-str MODULE_SIG_KEY certs/signing_key.pem
	logged "$dir/config.log" kmake "$TREE" "$obj" olddefconfig || exit 1
	grep -qx CONFIG_MAPPING_ALIAS=y "$obj/.config" ||
		die "$config does not allow CONFIG_MAPPING_ALIAS, or $TREE has not the series"
	say "building a package from $config: minutes for a small configuration," \
		"hours for a distribution's; log: $dir/build.log"
	find "$dir" -maxdepth 1 -name '*.deb' -delete
	# Only the image is wanted, no package of headers
	export DEB_BUILD_PROFILES=pkg.linux-upstream.nokernelheaders
	logged "$dir/build.log" kmake "$TREE" "$obj" bindeb-pkg || exit 1
	deb=$(find "$dir" -maxdepth 1 -name 'linux-image-*.deb' ! -name '*-dbg_*')
	[[ -f $deb ]] || die "the build made no linux-image package; see $dir/build.log"
	cp "$deb" "$out/"
	printf '%s\n' "$out/$(basename "$deb")"
}
