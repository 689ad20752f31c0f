# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# Parts of scripts/bench. To be sourced.

# What is executed for ordinary files, and is to be the same with the series and
# without: object and functions
HOT_PATHS="
fs/open.o do_sys_openat2 vfs_open do_dentry_open filp_close
fs/namei.o do_filp_open path_openat link_path_walk lookup_fast vfs_unlink do_unlinkat
fs/file_table.o alloc_empty_file __fput
fs/dcache.o __d_lookup_rcu dput __dentry_kill dentry_unlink_inode
fs/inode.o iput evict __destroy_inode touch_atime
fs/read_write.o vfs_read ksys_pread64
fs/stat.o vfs_statx vfs_fstatat
fs/exec.o do_execveat_common bprm_execve begin_new_exec __x64_sys_execve
fs/binfmt_elf.o load_elf_binary
mm/filemap.o filemap_read filemap_get_pages filemap_fault filemap_map_pages generic_file_mmap
mm/mmap.o do_mmap mmap_region
mm/memory.o handle_mm_fault do_fault
fs/xfs/xfs_file.o xfs_file_open xfs_file_read_iter xfs_file_mmap xfs_filemap_fault
fs/xfs/xfs_inode.o xfs_ilock xfs_iunlock xfs_remove xfs_lookup
fs/xfs/xfs_super.o xfs_fs_destroy_inode
fs/btrfs/file.o btrfs_file_open btrfs_file_read_iter btrfs_file_mmap
fs/btrfs/inode.o btrfs_lookup btrfs_unlink btrfs_evict_inode btrfs_destroy_inode
"

hot_objects()
{
	awk 'NF { print $1 }' <<< "$HOT_PATHS"
}

# hot_functions OBJECT
hot_functions()
{
	awk -v object="$1" '$1 == object { for (i = 2; i <= NF; i++) print $i }' <<< "$HOT_PATHS"
}

# The pairs of images whose memory is measured, and what is installed into each; what they
# run is in scripts/bench-memory
PAIRS=(redis postgresql nginx mariadb tomcat10 python)
declare -A PAIR_PACKAGES=(
	[redis]="redis-server"
	[postgresql]="postgresql-15"
	[nginx]="nginx,apache2-utils"
	[mariadb]="mariadb-server"
	[tomcat10]="tomcat10,openjdk-17-jre-headless,tomcat10-examples,apache2-utils"
	[python]="python3.11,python3-numpy,python3-scipy,python3-pandas"
)

# file_id FILE...: names what is in them
file_id()
{
	cat -- "$@" | sha256sum | cut -c 1-16
}

# details PART [PAIR]: what the results of a part depend on besides, as members of JSON
details()
{
	case $1 in
	many)		printf ', "aliases": %d' "$ALIASES" ;;
	memory)		printf ', "pair": "%s", "packages": "%s", "samples": %d' \
				"$2" "${PAIR_PACKAGES[$2]}" "$SAMPLES" ;;
	containers)	printf ', "containers": %d, "samples": %d' "$CONTAINERS" "$SAMPLES" ;;
	esac
}

# run_header PART FS WHICH BOOT IMAGE PROGRAM [PAIR]: the first line of a run's results
run_header()
{
	printf '{"part": "%s", "fs": "%s", "kernel": "%s", "boot": %s, "image": "%s", "program": "%s"%s}\n' \
		"${@:1:6}" "$(details "$1" "${@:7}")"
}

# is_run_of FILE IMAGE PROGRAM: are these results of that kernel, by that program?
is_run_of()
{
	head -n 1 "$1" | grep -qF "\"image\": \"$2\", \"program\": \"$3\""
}

# code_of OBJECT FUNCTION: its instructions, without what depends on where it is: addresses,
# what fills the room to the next function and, in relocations, offsets of strings, of data
# and of other functions in the same section. What the compiler made a part of its own
# (.cold, .part.0) belongs to it.
code_of()
{
	objdump -dr --no-show-raw-insn --no-addresses "$1" | awk -v name="$2" '
	/^<.*>:$/ {
		symbol = substr($0, 2, length($0) - 3)
		sub(/\.(cold|part|isra|constprop)(\.[0-9]+)*.*$/, "", symbol)
		inside = symbol == name
		held = ""
	}
	!inside || !NF { next }
	# Only what follows shows whether this is the end
	/^[[:space:]]+((cs |data16 )*nop|xchg +%ax,%ax|int3)/ { held = held $0 "\n"; next }
	{ printf "%s", held; held = ""; print }' | sed -E '
		s/^[[:space:]]+//
		# "jmp 1a2b <name+0x10>": only the latter says where to
		s/\b[0-9a-f]+ (<[^>]*>)/\1/
		s/\.LC[0-9]+[+-]0x[0-9a-f]+/.LC/
		s/(\.(text|rodata|data|bss|init|exit)[-.a-z0-9_]*)[+-]0x[0-9a-f]+/\1/
		s/[[:space:]]+#.*$//
		s/[[:space:]]+/ /g'
}

# compare_function WHICH OBJECT FUNCTION PATCHED OTHER: a line of JSON about this function
# in the objects of two directories
compare_function()
{
	local which=$1 object=$2 name=$3 patched other

	patched=$(code_of "$4/$object" "$name")
	other=$(code_of "$5/$object" "$name")
	if [[ ! $patched && ! $other ]]; then
		say "$name in $object is left out: it is a part of its callers in both kernels"
		return
	fi
	printf '{"what": "%s", "object": "%s", "state": "%s", "same": %s, "instructions": [%d, %d]}\n' \
		"$name" "$object" "$which" "$([[ $patched == "$other" ]] && echo true || echo false)" \
		"$(count_instructions <<< "$patched")" "$(count_instructions <<< "$other")"
}

# count_instructions: of stdin, which is neither relocations nor names
count_instructions()
{
	grep -cvE '^(R_X86_64|<|$)' || :
}
