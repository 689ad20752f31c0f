# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# The git tree of the kernel: Debian's source as one commit, tagged
# refalias-base, with the series on top. Sourced by scripts/kernel.
#
# refs/refalias/applied is the commit that import or export left; while HEAD is
# still there, the tree holds nothing that patches/ does not. What HEAD was before
# the last import stays in refs/refalias/before-import.

BASE_TAG=refalias-base
APPLIED_REF=refs/refalias/applied

# copies: what the patches carry copies of: source in this repository, path in the
# kernel. Each series has all of these, and a page of its own if there is one.
copies()
{
	local own=docs/mapping-alias-$SERIES.rst

	cat <<-EOF
	uapi/linux/mapping_alias.h include/uapi/linux/mapping_alias.h
	selftests tools/testing/selftests/filesystems/mapping_alias
	docs/mapping-alias.rst Documentation/filesystems/mapping-alias.rst
	EOF
	[[ ! -e $REPO/$own ]] || echo "$own Documentation/filesystems/$(basename "$own")"
}

# tgit ARG...: git in the kernel tree, with none of the user's configuration,
# so that patches come out the same everywhere, but with a name for commits.
tgit()
{
	GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null \
	GIT_COMMITTER_NAME=refalias GIT_COMMITTER_EMAIL=refalias@localhost \
		git -c safe.directory='*' -c commit.gpgSign=false -c gc.auto=0 \
		-c advice.detachedHead=false -c user.name=refalias \
		-c user.email=refalias@localhost -C "$TREE" "$@"
}

tree_is_git()
{
	[[ -e $TREE/.git ]]
}

# The version of Debian's source package that the tree is, or should be, made of
package_version()
{
	dpkg-query -W -f '${Version}' "linux-source-$SERIES"
}

base_version()
{
	tgit log -1 --format=%s "$BASE_TAG" | sed "s/^linux-source-$SERIES //"
}

series_patches()
{
	find "$PATCHES" -maxdepth 1 -name '*.patch' 2>/dev/null | LC_ALL=C sort
}

# write_patches COMMIT DIR: the commits base..COMMIT as patches. Nothing in them
# depends on the time, the git version or the length of abbreviated hashes.
write_patches()
{
	tgit format-patch -q --zero-commit --no-signature --full-index \
		--no-renames --no-ext-diff --diff-algorithm=myers --numbered \
		-o "$2" "$BASE_TAG..$1"
}

# same_patches DIR: does DIR hold what the repository's series is?
same_patches()
{
	local -a given=() series=()
	local i

	mapfile -t given < <(find "$1" -name '*.patch' | LC_ALL=C sort)
	mapfile -t series < <(series_patches)
	((${#given[@]} == ${#series[@]})) || return 1
	for i in "${!given[@]}"; do
		[[ $(basename "${given[i]}") == "$(basename "${series[i]}")" ]] &&
			cmp -s "${given[i]}" "${series[i]}" || return 1
	done
}

# Is the series in patches/ what the commit $1 is made of?
commit_is_series()
{
	local dir rc=0

	dir=$(mktemp -d "$TMP/series.XXXXXX")
	write_patches "$1" "$dir"
	same_patches "$dir" || rc=1
	rm -rf "$dir"
	return "$rc"
}

# Does the tree hold commits or changes that are nowhere else?
tree_has_own_work()
{
	[[ $(tgit rev-parse HEAD) == "$(tgit rev-parse -q --verify "$APPLIED_REF")" ]] || return 0
	[[ -n $(tgit status --porcelain --untracked-files=no) ]]
}

# init_tree DIR VERSION: make the git repository; its commit depends on nothing
# but the source
init_tree()
{
	local TREE=$1
	local -x GIT_AUTHOR_NAME=refalias GIT_AUTHOR_EMAIL=refalias@localhost
	local -x GIT_AUTHOR_DATE='@0 +0000' GIT_COMMITTER_DATE='@0 +0000'

	# Debian's ignores everything that is not Debian's, new source files too
	sed -i -e '\,^/\*$,d' -e '\,^!/debian/$,d' "$TREE/.gitignore"
	tgit init -q -b refalias
	tgit add -A -f
	tgit commit -q -m "linux-source-$SERIES $2"
	tgit tag "$BASE_TAG"
	tgit update-ref "$APPLIED_REF" HEAD
}

extract_source()
{
	local tarball=/usr/src/linux-source-$SERIES.tar.xz version new=$TREE.new

	version=$(package_version)
	[[ -r $tarball ]] || die "$tarball is missing: reinstall the package linux-source-$SERIES"
	say "extracting Debian's linux-source-$SERIES $version (1-2 minutes)"
	rm -rf "$new"
	mkdir -p "$new"
	# -m: what is newer than an object file must look so
	tar -m -C "$new" --strip-components=1 -xf "$tarball"
	init_tree "$new" "$version"
	rm -rf "$TREE" "$TREE"-{unpatched,check,mutants} "$CACHE/obj/$SERIES"-*
	mv "$new" "$TREE"
}

apply_series()
{
	local -a patches=()

	mapfile -t patches < <(series_patches)
	if ((${#patches[@]} == 0)); then
		say "$PATCHES has no patches"
		return
	fi
	# Tables of the documentation are aligned anew from one point release to another
	if ! tgit am -q --3way --ignore-whitespace --committer-date-is-author-date \
		"${patches[@]}" >&2; then
		tgit am --abort
		die "the series in $PATCHES does not apply to $TREE ($(tgit log -1 --format=%s))"
	fi
	say "applied ${#patches[@]} patches to $TREE"
}

# Is our own tree the series on top of the installed source package?
tree_is_series()
{
	[[ -e $TREE/.git && $(base_version) == "$(package_version)" ]] && commit_is_series HEAD
}

# Bring our own tree to the source package and the series, or refuse if that
# would throw work away ($1: 1 to do it all the same).
import_own()
{
	local force=$1 mode

	"$REPO/scripts/setup" build "linux-$SERIES"
	# Reading it is enough in most cases, which others may do as well
	for mode in -s -x; do
		take_lock 8 "$mode" "$TREE.lock"
		tree_is_series || continue
		[[ -z $(tgit status --porcelain --untracked-files=no) ]] ||
			say "$TREE has uncommitted changes, which are left alone"
		tgit update-ref "$APPLIED_REF" HEAD
		exec 8>&-
		return
	done
	if [[ ! -e $TREE/.git ]]; then
		[[ ! -e $TREE ]] || die "$TREE is not a git tree: move it away"
		extract_source
	else
		if ((!force)) && tree_has_own_work; then
			die "$TREE has work that $PATCHES has not:" \
				"save it with 'scripts/kernel export', or throw it away with 'scripts/kernel import --force'"
		fi
		if [[ $(base_version) != "$(package_version)" ]]; then
			extract_source
		else
			tgit am --abort 2>/dev/null || true
			tgit update-ref refs/refalias/before-import HEAD
			tgit reset -q --hard "$BASE_TAG"
		fi
	fi
	apply_series
	tgit update-ref "$APPLIED_REF" HEAD
	exec 8>&-
}

# Apply the series to the tree that the user gave with KERNEL_SRC.
import_users()
{
	[[ -f $TREE/Kbuild && -d $TREE/fs ]] || die "KERNEL_SRC=$TREE is not a kernel source tree"
	if [[ -e $TREE/fs/mapping_alias.c ]]; then
		say "$TREE has the series already"
		return
	fi
	tree_is_git || die "$TREE is not a git tree: apply the series yourself with" \
		"'cd $TREE && for p in $PATCHES/*.patch; do patch -p1 < \$p; done'"
	[[ -z $(tgit status --porcelain --untracked-files=no) ]] ||
		die "$TREE has uncommitted changes: commit or stash them first"
	tgit tag -f "$BASE_TAG" HEAD >/dev/null
	apply_series
	tgit update-ref "$APPLIED_REF" HEAD
}

# work_tree DIR COMMIT: make DIR a work tree at COMMIT, unless it is one of this tree;
# it may be that of a tree that was there before
work_tree()
{
	! tgit -C "$1" rev-parse -q --verify HEAD > /dev/null 2>&1 || return 0
	say "checking out the source into $1"
	rm -rf "$1"
	tgit worktree prune
	tgit worktree add -q --detach "$1" "$2" >&2
}

# unpatched_tree DIR: make, if necessary, a second work tree of the base commit
unpatched_tree()
{
	local dir=$1

	tree_is_git && tgit rev-parse -q --verify "$BASE_TAG" >/dev/null ||
		die "$TREE has no tag $BASE_TAG that names the commit before the series:" \
			"set it with 'git tag $BASE_TAG COMMIT'"
	work_tree "$dir" "$BASE_TAG"
	[[ $(tgit -C "$dir" rev-parse HEAD) == "$(tgit rev-parse "$BASE_TAG^{commit}")" ]] ||
		tgit -C "$dir" checkout -q --detach "$BASE_TAG"
}

# repo_files PATH: the files of the repository at or below PATH, without what a
# build leaves there
repo_files()
{
	(cd "$REPO" && git -c safe.directory='*' ls-files -co --exclude-standard -- "$1") |
		LC_ALL=C sort -u | while read -r file; do
			[[ ! -f $REPO/$file ]] || printf '%s\n' "$file"
		done
}

# refresh_copies TREE_OBJECT: the tree object with the copies that are in it
# replaced by what the repository has now; prints its name
refresh_copies()
{
	local from to file mode blob name
	local index=$TMP/index

	rm -f "$index"
	GIT_INDEX_FILE=$index tgit read-tree "$1"
	while read -r from to; do
		tgit cat-file -e "$1:$to" 2>/dev/null || continue
		[[ -n $(repo_files "$from") ]] ||
			die "$REPO/$from is missing, but the series has its copy $to"
		GIT_INDEX_FILE=$index tgit rm -q -r --cached -- "$to"
		while read -r file; do
			mode=100644
			[[ ! -x $REPO/$file ]] || mode=100755
			blob=$(tgit hash-object -w --no-filters "$REPO/$file")
			name=$to${file#"$from"}
			GIT_INDEX_FILE=$index tgit update-index --add \
				--cacheinfo "$mode,$blob,$name"
		done < <(repo_files "$from")
	done < <(copies)
	GIT_INDEX_FILE=$index tgit write-tree
	rm -f "$index"
}

# Write the tree's commits to patches/, each with fresh copies of what comes
# from this repository, and leave the tree at the commits so made.
export_series()
{
	local commit tree new parent dir old

	tree_is_git && tgit rev-parse -q --verify "$BASE_TAG" >/dev/null ||
		die "$TREE has no tag $BASE_TAG: run 'scripts/kernel import' first"
	take_lock 8 -x "$TREE.lock"
	[[ ! -e $(tgit rev-parse --absolute-git-dir)/rebase-merge &&
	   ! -e $(tgit rev-parse --absolute-git-dir)/rebase-apply ]] ||
		die "$TREE is in the middle of a rebase or 'git am': finish that first"
	[[ -z $(tgit rev-list --merges "$BASE_TAG..HEAD") ]] ||
		die "$TREE has merge commits after $BASE_TAG: a series is linear, rebase it"
	[[ -z $(tgit status --porcelain --untracked-files=no) ]] ||
		say "warning: $TREE has uncommitted changes, which are not exported"

	parent=$(tgit rev-parse "$BASE_TAG^{commit}")
	for commit in $(tgit rev-list --reverse "$BASE_TAG..HEAD"); do
		tree=$(tgit rev-parse "$commit^{tree}")
		new=$(refresh_copies "$tree")
		if [[ $new == "$tree" && $(tgit rev-parse "$commit^") == "$parent" ]]; then
			parent=$commit
			continue
		fi
		if [[ $new == "$(tgit rev-parse "$parent^{tree}")" ]]; then
			say "dropped, because nothing is left in it: $(tgit log -1 --format=%s "$commit")"
			continue
		fi
		parent=$(
			GIT_AUTHOR_NAME=$(tgit log -1 --format=%an "$commit")
			GIT_AUTHOR_EMAIL=$(tgit log -1 --format=%ae "$commit")
			GIT_AUTHOR_DATE=$(tgit log -1 --format=%ad --date=raw "$commit")
			GIT_COMMITTER_DATE=$GIT_AUTHOR_DATE
			export GIT_AUTHOR_NAME GIT_AUTHOR_EMAIL GIT_AUTHOR_DATE GIT_COMMITTER_DATE
			tgit log -1 --format=%B "$commit" | tgit commit-tree "$new" -p "$parent"
		)
	done
	if [[ $parent != "$(tgit rev-parse HEAD)" ]]; then
		tgit reset -q --keep "$parent" >&2 ||
			die "uncommitted changes in $TREE touch generated copies:" \
				"make them in $REPO instead and 'git checkout' them there"
	fi
	dir=$(mktemp -d "$TMP/export.XXXXXX")
	write_patches "$parent" "$dir"
	mkdir -p "$PATCHES"
	if ! same_patches "$dir"; then
		while read -r old; do
			rm "$old"
		done < <(series_patches)
		find "$dir" -name '*.patch' -exec cp -t "$PATCHES" {} +
	fi
	tgit update-ref "$APPLIED_REF" "$parent"
	exec 8>&-
	say "$PATCHES has $(series_patches | wc -l) patches"
}

# Are the copies in the patches what the repository has? Names each that isn't.
check_copies()
{
	local from to file name path bad=0 tree

	tree_is_git || die "$TREE is not a git tree: copies can't be compared"
	if [[ -z ${KERNEL_SRC:-} ]]; then
		commit_is_series HEAD ||
			die "$TREE has commits that $PATCHES has not: run 'scripts/kernel export'"
		[[ -z $(tgit status --porcelain --untracked-files=no) ]] ||
			die "$TREE has uncommitted changes: commit and export them," \
				"or 'git checkout' them"
	fi
	tree=$(tgit rev-parse 'HEAD^{tree}')
	while read -r from to; do
		while read -r path; do
			file=$from${path#"$to"}
			if [[ ! -f $REPO/$file ]]; then
				say "$file is missing here, but the series has it as $path"
				bad=1
			fi
		done < <(tgit ls-tree -r --name-only "$tree" -- "$to")
		while read -r file; do
			name=$to${file#"$from"}
			if ! tgit cat-file -e "$tree:$name" 2>/dev/null; then
				say "$file is not in the series (as $name)"
				bad=1
			elif ! tgit cat-file blob "$tree:$name" | cmp -s - "$REPO/$file"; then
				say "$file differs from its copy in the series, $name"
				bad=1
			fi
		done < <(repo_files "$from")
	done < <(copies)
	((!bad)) || die "the patches carry other copies than the repository: run 'scripts/kernel export'"
}
